/*
 * due_work.c
 *	  Leases that end, runs whose time comes, and what else the conductor does for runs.
 *
 * The conductor works in small transactions of its own; what is locked is tried
 * again later.  taskex.run_due_runs() does the same in the caller's transaction.
 */
#include "postgres.h"

#include "workload/split.h"
#include "workload/suspend.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "infra/ids.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/worker.h"
#include "lease/due.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define BATCH 500
#define RETRY_MS 10000			/* until what was locked is tried again */
#define PRUNE_PARTITIONS 8		/* in one round */
#define PRUNE_PAGES 10			/* of a partition in one round, while there is something to remove */

static Statement select_due = {
	"SELECT run_id, due_at FROM _taskex.run_wait_%p WHERE due_at >= $1 AND (due_at > $1 OR run_id > $2) AND due_at <= $3"
	" ORDER BY due_at, run_id LIMIT 500",
	3, {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID}
};

static Statement select_next = {
	"SELECT due_at FROM _taskex.run_wait_%p WHERE due_at > $1 ORDER BY 1 LIMIT 1",
	1, {TIMESTAMPTZOID}
};

static Statement delete_wait = {
	"DELETE FROM _taskex.run_wait_%p WHERE due_at = $1 AND run_id = $2",
	2, {TIMESTAMPTZOID, INT8OID}
};

static Statement prune_page = {
	"SELECT removed, last FROM _taskex.prune_runs($1, $2, $3)",
	3, {INT4OID, INT8OID, INT4OID}
};

/* ---- leases ---- */

/* true: an attempt was ended */
static bool
end_lease(int64 run_id, bool wait)
{
	RunTables	tables;
	UserHome	home;
	bool		busy;
	bool		ended = false;
	Child	   *run;
	AttemptEnd	end = {.outcome = "expired",.retry = true};

	run_tables_begin(&tables);
	run = run_lock(&tables, run_id, wait, &home, &busy);
	if (run == NULL && !busy)
		queue_ended_at_commit(run_id, 0);	/* it is gone */
	else if (run && !child_text_is(run, RUN_STATE, "running"))
		queue_ended_at_commit(run_id, 0);
	else if (run && child_int64(run, RUN_LEASE_UNTIL) > clock_now())
		queue_lease_at_commit(run_id, child_int64(run, RUN_LEASE_UNTIL));
	else if (run)
	{
		end.error = run_error(psprintf("the lease of worker \"%s\" has expired", run_text(run, RUN_WORKER)));
		(void) attempt_end(run, &home, &end);
		ended = true;
	}
	run_tables_end(&tables);
	return ended;
}

typedef struct Leases
{
	bool		wait;
	int			count;
	int			done;
	int64		ids[BATCH];
} Leases;

static void
end_leases(void *arg)
{
	Leases	   *leases = arg;

	leases->count = queue_expired(clock_now(), leases->ids, BATCH);
	leases->done = 0;
	qsort(leases->ids, leases->count, sizeof(int64), ids_compare);
	for (int i = 0; i < leases->count; i++)
		leases->done += end_lease(leases->ids[i], leases->wait);
}

static void
end_one_lease(void *arg)
{
	(void) end_lease(*(int64 *) arg, false);
}

static void
postpone_lease(void *arg)
{
	queue_lease_at_commit(*(int64 *) arg, TimestampTzPlusMilliseconds(clock_now(), RETRY_MS));
}

/* in transactions; if one fails, each lease by itself, and those that still fail later */
static void
end_leases_in_transactions(Leases *leases)
{
	do
	{
		if (worker_try_transaction("ending leases of runs", end_leases, leases))
			continue;
		leases->done = 0;
		for (int i = 0; i < leases->count; i++)
		{
			if (worker_try_transaction("ending leases of runs, one by one", end_one_lease, &leases->ids[i]))
				leases->done++;
			else if (!worker_try_transaction("putting a lease off", postpone_lease, &leases->ids[i]))
				return;
		}
	} while (leases->count == BATCH && leases->done > 0);
}

/* ---- runs whose time comes ---- */

typedef struct DueRun
{
	int64		run_id;
	TimestampTz due;
} DueRun;

typedef struct DueBatch
{
	int32		partition;
	bool		wait;
	TimestampTz now;
	TimestampTz after;
	int64		after_id;
	TimestampTz next;
	TimestampTz postponed;		/* the earliest that was locked */
	bool		exhausted;
	int			count;
	int			done;
	DueRun		runs[BATCH];
} DueBatch;

static void
read_batch(DueBatch *batch)
{
	Datum		values[3] = {TimestampTzGetDatum(batch->after), Int64GetDatum(batch->after_id), TimestampTzGetDatum(batch->now)};
	Datum		now = TimestampTzGetDatum(batch->now);
	SpiScope	scope;
	bool		isnull;

	spi_begin(&scope);
	batch->count = (int) spi_run(&select_due, batch->partition, values, NULL, SPI_VIEW_CURRENT, BATCH);
	for (int i = 0; i < batch->count; i++)
	{
		batch->runs[i].run_id = spi_int64(i, 1);
		batch->runs[i].due = DatumGetTimestampTz(spi_value(i, 2, &isnull));
	}
	batch->exhausted = batch->count < BATCH;
	if (batch->count > 0)
	{
		batch->after = batch->runs[batch->count - 1].due;
		batch->after_id = batch->runs[batch->count - 1].run_id;
	}
	if (batch->exhausted)
		batch->next = spi_run(&select_next, batch->partition, &now, NULL, SPI_VIEW_CURRENT, 1) == 1
			? DatumGetTimestampTz(spi_value(0, 1, &isnull)) : DT_NOEND;
	spi_end(&scope);
}

/* false: its row is locked */
static bool
make_due(DueBatch *batch, Child *table, const DueRun *due)
{
	static const int columns[1] = {RUN_STATE};
	Datum		state = CStringGetTextDatum("ready");
	Datum		values[2] = {TimestampTzGetDatum(due->due), Int64GetDatum(due->run_id)};
	bool		isnull = false;
	RowLock		lock = child_lock(table, due->run_id, batch->wait);
	UserHome	home;
	SpiScope	scope;

	if (lock == ROW_BUSY)
		return false;
	if (lock == ROW_LOCKED)
	{
		/* the rows of who has moved are where he is */
		directory_home_by_id(child_int64(table, RUN_CUSTOMER_ID), &home);
		if (home.partition != batch->partition)
			return true;
		if (child_text_is(table, RUN_STATE, "delayed") && child_int64(table, RUN_RUN_AT) <= batch->now)
		{
			child_update(table, 1, columns, &state, &isnull);
			run_make_ready(table);
			batch->done++;
		}
	}
	spi_begin(&scope);
	spi_run(&delete_wait, batch->partition, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
	return true;
}

static int
compare_due(const void *a, const void *b)
{
	return ids_compare(&((const DueRun *) a)->run_id, &((const DueRun *) b)->run_id);
}

static void
work_batch(void *arg)
{
	DueBatch   *batch = arg;
	Child		table;

	read_batch(batch);
	qsort(batch->runs, batch->count, sizeof(DueRun), compare_due);
	child_open(&table, &run_table, batch->partition);
	for (int i = 0; i < batch->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!make_due(batch, &table, &batch->runs[i]))
			batch->postponed = Min(batch->postponed, batch->runs[i].due);
	}
	child_close(&table);
}

typedef struct StoredCursor
{
	int32		partition;
	TimestampTz position;
} StoredCursor;

static void
read_stored(void *arg)
{
	StoredCursor *cursor = arg;

	cursor->position = due_stored(cursor->partition, DUE_RUN);
}

static void
work_off(DueBatch *batch, bool own_transactions)
{
	batch->after_id = 0;
	batch->postponed = DT_NOEND;
	do
	{
		if (!own_transactions)
			work_batch(batch);
		else if (!worker_try_transaction("making runs ready", work_batch, batch))
		{
			due_abandon(batch->partition, DUE_RUN);
			return;
		}
	} while (!batch->exhausted);
	if (own_transactions)
		due_end(batch->partition, DUE_RUN, batch->next, batch->postponed, TimestampTzPlusMilliseconds(batch->now, RETRY_MS));
	else
		due_end_at_commit(batch->partition, DUE_RUN, batch->next);
}

static int64
work_partition(DueBatch *batch, int32 partition, bool own_transactions)
{
	StoredCursor stored = {partition, DT_NOBEGIN};

	batch->partition = partition;
	batch->wait = !own_transactions;
	batch->now = clock_now();
	batch->done = 0;
	if (!due_known(partition, DUE_RUN))
	{
		if (!own_transactions)
			read_stored(&stored);
		else if (!worker_try_transaction("reading a cursor", read_stored, &stored))
			return 0;
	}
	if (!due_begin(partition, DUE_RUN, batch->now, stored.position, &batch->after))
		return 0;
	PG_TRY();
	{
		work_off(batch, own_transactions);
	}
	PG_CATCH();
	{
		due_abandon(partition, DUE_RUN);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return batch->done;
}

/* ---- what has ended long ago ---- */

typedef struct Prune
{
	int32		partition;
	int64		after;
	int64		removed;
} Prune;

static void
prune(void *arg)
{
	Prune	   *page = arg;
	Datum		values[3] = {Int32GetDatum(page->partition), Int64GetDatum(page->after), Int32GetDatum(guc_run_retention)};
	SpiScope	scope;

	spi_begin(&scope);
	if (spi_run(&prune_page, 0, values, NULL, SPI_VIEW_CURRENT, 1) != 1)
		elog(ERROR, "prune_runs returned nothing");
	page->removed = spi_int64(0, 1);
	page->after = spi_int64(0, 2);	/* 0: the end */
	spi_end(&scope);
}

/* a few partitions' worth in each round; where it stands is known to this process only */
static void
prune_some(const int32 *partitions, int count)
{
	static int	next = 0;
	static Prune page = {-1, 0, 0};

	for (int i = 0; i < Min(count, PRUNE_PARTITIONS); i++)
	{
		int			pages = 0;

		if (next >= count)
			next = 0;
		if (page.partition != partitions[next])
			page.after = 0;
		page.partition = partitions[next];
		do
		{
			if (!worker_try_transaction("removing old runs", prune, &page))
			{
				/* the others' turn */
				page.after = 0;
				next++;
				return;
			}
		} while (page.after > 0 && page.removed > 0 && ++pages < PRUNE_PAGES);

		/* one page each, and on with the next partition when this one has been gone through */
		if (page.after > 0 && count > 1 && page.removed == 0)
			continue;
		if (page.after == 0)
			next++;
	}
}

/* ---- all of it ---- */

static void
adopt(void *arg)
{
	queue_adopt();
}

void
workload_maintain(void)
{
	Leases	   *leases = palloc(sizeof(Leases));
	DueBatch   *batch = palloc(sizeof(DueBatch));
	PartitionList partitions;

	/* what fails here and below does not keep the rest from being done */
	(void) worker_try_transaction("loading the queue", adopt, NULL);
	leases->wait = false;
	leases->count = 0;
	end_leases_in_transactions(leases);
	stops_maintain();
	splits_maintain();
	directory_list_partitions(&partitions, true);
	for (int i = 0; i < partitions.count; i++)
		(void) work_partition(batch, partitions.ids[i], true);
	queue_store_low();
	if (guc_run_retention > 0 && !clock_is_set())
		prune_some(partitions.ids, partitions.count);
	pfree(partitions.ids);
	pfree(leases);
	pfree(batch);
}

TimestampTz
workload_next(void)
{
	/* those that are over and locked are tried again in the next round, not at once */
	TimestampTz next = queue_next_lease();

	return next > clock_now() ? next : DT_NOEND;
}

PG_FUNCTION_INFO_V1(taskex_run_due_runs);

/* run_due_runs() -> setof (what, count) */
Datum
taskex_run_due_runs(PG_FUNCTION_ARGS)
{
	static const char *const what[2] = {"leases ended", "runs made ready"};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Leases	   *leases = palloc(sizeof(Leases));
	DueBatch   *batch = palloc(sizeof(DueBatch));
	PartitionList partitions;
	int64		counts[2] = {0, 0};

	directory_require_admin("run due work");
	PreventCommandIfReadOnly("run_due_runs()");
	if (realm_state() == REALM_RESTORING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the exchange is not complete"),
				 errdetail("A dump is being restored, or that was broken off.")));
	InitMaterializedSRF(fcinfo, 0);
	leases->wait = true;
	end_leases(leases);
	counts[0] = leases->done + stops_work();
	directory_list_partitions(&partitions, false);
	for (int i = 0; i < partitions.count; i++)
		counts[1] += work_partition(batch, partitions.ids[i], false);
	pfree(partitions.ids);
	(void) splits_work();
	for (int i = 0; i < 2; i++)
	{
		Datum		values[2] = {CStringGetTextDatum(what[i]), Int64GetDatum(counts[i])};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
