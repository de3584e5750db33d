/*
 * find.c
 *	  Runs found by their ids.
 */
#include "postgres.h"

#include "workload/run.h"
#include "base/errcodes.h"
#include "directory/moves.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/snapmgr.h"

typedef struct RunTable
{
	int32		partition;
	Child	   *child;
} RunTable;

void
run_tables_begin(RunTables *tables)
{
	memset(tables, 0, offsetof(RunTables, home));
	tables->context = CurrentMemoryContext;
}

void
run_tables_begin_seen(RunTables *tables)
{
	run_tables_begin(tables);
	tables->snapshot = RegisterSnapshot(GetTransactionSnapshot());
}

Snapshot
run_tables_snapshot(RunTables *tables)
{
	/* with what this call has done itself */
	tables->snapshot->curcid = GetCurrentCommandId(false);
	return tables->snapshot;
}

void
run_home_of(RunTables *tables, int64 customer, UserHome *home)
{
	for (int i = 0; i < tables->homes; i++)
		if (tables->home[i].user_id == customer)
		{
			*home = tables->home[i];
			return;
		}
	directory_home_by_id(customer, home);
	if (tables->homes < RUN_HOMES)
		tables->home[tables->homes++] = *home;
}

Child *
run_table_of(RunTables *tables, int32 partition)
{
	RunTable   *table;
	MemoryContext old;

	for (int i = 0; i < tables->count; i++)
		if (tables->tables[i].partition == partition)
			return tables->tables[i].child;
	old = MemoryContextSwitchTo(tables->context);
	if (tables->count == tables->room)
	{
		tables->room = tables->room == 0 ? 4 : tables->room * 2;
		tables->tables = tables->tables ? repalloc(tables->tables, sizeof(RunTable) * tables->room) :
			palloc(sizeof(RunTable) * tables->room);
	}
	table = &tables->tables[tables->count];
	table->partition = partition;
	table->child = palloc0(sizeof(Child));
	child_open(table->child, &run_table, partition);
	tables->count++;
	MemoryContextSwitchTo(old);
	return table->child;
}

void
run_tables_end(RunTables *tables)
{
	for (int i = 0; i < tables->count; i++)
		child_close(tables->tables[i].child);
	tables->count = 0;
	if (tables->snapshot)
		UnregisterSnapshot(tables->snapshot);
	tables->snapshot = NULL;
}

typedef struct Search
{
	bool		write;
	bool		(*look) (Child *run, int64 run_id, void *arg);
	void	   *arg;
} Search;

/*
 * Who writes keeps the home where it is.  Who reads keeps nobody from moving it,
 * and may wait for long.
 */
static void
home_of(RunTables *tables, const Search *search, int64 customer, UserHome *home)
{
	if (search->write)
		run_home_of(tables, customer, home);
	else if (IsolationUsesXactSnapshot())
		directory_steady_home_by_id(customer, home);
	else
		directory_present_home_by_id(customer, home);
}

/* is it there, and lives its customer there? */
static Child *
look_at(RunTables *tables, int32 partition, int64 run_id, UserHome *home, const Search *search)
{
	Child	   *run = run_table_of(tables, partition);

	if (!search->look(run, run_id, search->arg))
		return NULL;
	home_of(tables, search, child_int64(run, RUN_CUSTOMER_ID), home);
	return home->partition == partition ? run : NULL;
}

/*
 * The queue knows most that have not ended; the others are on the partition that
 * the id names, or on record as moved.
 */
static Child *
find(RunTables *tables, int64 run_id, UserHome *home, const Search *search)
{
	int64		customer = queue_customer_of(run_id);
	int32	   *partitions;
	Child	   *run = NULL;
	int			count;

	if (customer != 0)
	{
		home_of(tables, search, customer, home);
		run = look_at(tables, home->partition, run_id, home, search);
	}
	if (run || run_id <= 0)
		return run;
	count = directory_partitions_like(run_id % RUN_ID_STEP, RUN_ID_STEP, &partitions);
	for (int i = 0; i < count && run == NULL; i++)
	{
		/* it may be what its customer has left behind: that is neither locked nor looked at */
		run = run_table_of(tables, partitions[i]);
		if (child_find(run, 0, 1, &run_id))
		{
			home_of(tables, search, child_int64(run, RUN_CUSTOMER_ID), home);
			run = look_at(tables, home->partition, run_id, home, search);
		}
		else
			run = NULL;
	}
	if (run == NULL && (customer = directory_forwarded("run", run_id)) != 0)
	{
		home_of(tables, search, customer, home);
		run = look_at(tables, home->partition, run_id, home, search);
	}
	return run;
}

typedef struct Locking
{
	bool		wait;
	bool		busy;
} Locking;

static bool
try_lock(Child *run, int64 run_id, void *arg)
{
	Locking    *locking = arg;
	RowLock		lock = child_lock(run, run_id, locking->wait);

	locking->busy |= lock == ROW_BUSY;
	return lock == ROW_LOCKED;
}

Child *
run_lock(RunTables *tables, int64 run_id, bool wait, UserHome *home, bool *busy)
{
	Locking		locking = {wait, false};
	Search		search = {true, try_lock, &locking};
	Child	   *run = find(tables, run_id, home, &search);

	if (busy)
		*busy = locking.busy;
	return run;
}

static bool
try_read(Child *run, int64 run_id, void *arg)
{
	return child_find(run, 0, 1, &run_id);
}

static bool
try_find(Child *run, int64 run_id, void *arg)
{
	ItemPointerData none;

	ItemPointerSetInvalid(&none);
	return child_find_as(run, run_id, (Snapshot) arg, none);
}

Child *
run_find(RunTables *tables, int64 run_id, UserHome *home)
{
	Search		search = {true, try_read, NULL};

	if (tables->snapshot)
		search = (Search) {true, try_find, run_tables_snapshot(tables)};
	return find(tables, run_id, home, &search);
}

Child *
run_read(RunTables *tables, int64 run_id, UserHome *home)
{
	Search		search = {false, try_read, NULL};

	return find(tables, run_id, home, &search);
}

void
run_report_unknown(int64 run_id)
{
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_UNKNOWN_RUN),
			 errmsg("run %lld does not exist", (long long) run_id),
			 errdetail("Or it is not one of a customer for whom the caller may act.")));
}

void
run_require_customer(const UserHome *home, int64 run_id)
{
	if (!directory_caller_trusted() &&
		!(OidIsValid(home->db_role) && has_privs_of_role(GetUserId(), home->db_role)))
		run_report_unknown(run_id);
}
