/*
 * take.c
 *	  Runs are taken from the queue by who will do them.
 */
#include "postgres.h"

#include "workload/take.h"
#include "infra/ids.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "workload/environment.h"
#include "workload/run.h"
#include "workload/suspend.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

const RunHolder *run_holder = NULL;

static Statement select_version = {
	"SELECT CASE WHEN p.owner_id = $3 THEN p.name ELSE o.login || '/' || p.name END, v.version, v.source, p.suspended"
	" FROM _taskex.program p JOIN _taskex.directory o ON o.user_id = p.owner_id"
	" JOIN _taskex.program_version v ON v.program_id = p.program_id AND v.version = coalesce($2, p.newest,"
	" (SELECT max(w.version) FROM _taskex.program_version w WHERE w.program_id = p.program_id))"
	" WHERE p.program_id = $1",
	3, {INT8OID, INT4OID, INT8OID}
};

/* one call's constants */
typedef struct Take
{
	const RunTaker *taker;
	RunTables	tables;
	Reservation *reservation;
	void		(*taken) (const TakenRun *run, void *arg);
	void	   *arg;
} Take;

/* ---- one run ---- */

/* program, version and code of the run, as of now; false: the program is suspended */
static bool
find_version(Child *run, TakenRun *result)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	bool		isnull;
	Datum		arguments[3] = {Int64GetDatum(result->program_id), slot_getattr(run->slot, RUN_VERSION, &isnull),
	Int64GetDatum(result->customer.user_id)};
	char		argument_nulls[3] = {' ', run_is_null(run, RUN_VERSION) ? 'n' : ' ', ' '};
	SpiScope	scope;
	bool		suspended;

	spi_begin(&scope);
	/* as of now: who suspends the program counts on it, whatever the isolation level (_taskex.sweep_runs) */
	if (spi_run(&select_version, 0, arguments, argument_nulls, SPI_VIEW_NOW, 1) != 1)
		elog(ERROR, "the program of run %lld is missing", (long long) result->run_id);
	old = MemoryContextSwitchTo(context);
	result->program = DatumGetTextPCopy(spi_value(0, 1, &isnull));
	result->version = spi_int32(0, 2);
	result->code = DatumGetTextPCopy(spi_value(0, 3, &isnull));
	MemoryContextSwitchTo(old);
	suspended = DatumGetBool(spi_value(0, 4, &isnull));
	spi_end(&scope);
	return !suspended;
}

static void *
value_of(Child *run, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(run->slot, column, &isnull);

	return isnull ? NULL : DatumGetPointer(value);
}

/* false: it is not to run */
static bool
describe(Child *run, const UserHome *home, TakenRun *result)
{
	bool		isnull;

	memset(result, 0, sizeof(TakenRun));
	result->run_id = child_int64(run, RUN_RUN_ID);
	result->attempt = child_int32(run, RUN_ATTEMPTS) + 1;
	result->max_attempts = child_int32(run, RUN_MAX_ATTEMPTS);
	result->environment_id = child_int32(run, RUN_ENVIRONMENT_ID);
	result->priority = child_int32(run, RUN_PRIORITY);
	result->customer = *home;
	result->code = value_of(run, RUN_CODE);
	result->data = value_of(run, RUN_DATA);
	result->data_ref = value_of(run, RUN_DATA_REF);
	result->options = value_of(run, RUN_OPTIONS);
	result->progress = value_of(run, RUN_PROGRESS);
	result->state = value_of(run, RUN_STATE_DATA);
	if (run_is_null(run, RUN_PROGRAM_ID))
		return true;
	result->program_id = DatumGetInt64(slot_getattr(run->slot, RUN_PROGRAM_ID, &isnull));
	return find_version(run, result);
}

/* the described run is the worker's; false: it was not locked, and has changed, or is locked */
static bool
store(const Take *call, Child *run, TakenRun *taken, TimestampTz at, bool locked)
{
	static const int columns[7] = {RUN_STATE, RUN_ATTEMPTS, RUN_STARTED_AT, RUN_LEASE_UNTIL, RUN_LEASE_TOKEN, RUN_WORKER,
	RUN_VERSION};
	bool		nulls[7] = {false};
	Datum		values[7];
	int			count = taken->program_id != 0 ? 7 : 6;

	taken->token = ids_next(ID_LEASE, 1);
	taken->started_at = at;
	taken->lease_until = call->taker->lease_until;
	values[0] = CStringGetTextDatum("running");
	values[1] = Int32GetDatum(taken->attempt);
	values[2] = TimestampTzGetDatum(taken->started_at);
	values[3] = TimestampTzGetDatum(taken->lease_until);
	values[4] = Int64GetDatum(taken->token);
	values[5] = CStringGetTextDatum(call->taker->worker);
	values[6] = Int32GetDatum(taken->version);
	if (!locked)
		return child_update_at_once(run, count, columns, values, nulls);
	child_update(run, count, columns, values, nulls);
	return true;
}

static void *
kept(void *value)
{
	return value ? memcpy(palloc(VARSIZE_ANY(value)), value, VARSIZE_ANY(value)) : NULL;
}

/* what it is described by is in the slot that an update changes */
static void
keep(TakenRun *taken)
{
	taken->code = kept(taken->code);
	taken->data = kept(taken->data);
	taken->data_ref = kept(taken->data_ref);
	taken->options = kept(taken->options);
	taken->progress = kept(taken->progress);
	taken->state = kept(taken->state);
}

/* the locked run is the worker's; false: it is held, because its program is */
static bool
take(Take *call, Child *run, const UserHome *home, TimestampTz at)
{
	TakenRun	taken;

	if (!describe(run, home, &taken))
	{
		run_hold(run);
		return false;
	}
	keep(&taken);
	(void) store(call, run, &taken, at, true);
	call->taken(&taken, call->arg);
	return true;
}

/* the locked run, which is ready, is not now */
static void
postpone(Child *run, const UserHome *home, TimestampTz until)
{
	static const int columns[2] = {RUN_STATE, RUN_RUN_AT};
	Datum		values[2] = {CStringGetTextDatum("delayed"), TimestampTzGetDatum(until)};
	bool		nulls[2] = {false, false};

	child_update(run, 2, columns, values, nulls);
	run_make_ready_at(run, home, until);
}

/* may it be started, as far as its customer's money is concerned? */
static bool
may_start(Take *call, const Taken *reserved, Child *run, const UserHome *home)
{
	TimestampTz until;

	switch (usage_starting(home, run_is_null(run, RUN_PROGRAM_ID) ? 0 : child_int64(run, RUN_PROGRAM_ID), reserved->at, &until))
	{
		case RUN_STARTS:
			return true;
		case RUN_WAITS:
			postpone(run, home, until);
			queue_refuse(call->reservation, reserved, true);
			return false;
		case RUN_CUSTOMER_WAITS:
			queue_rest(home->user_id, reserved->at, until);
			queue_refuse(call->reservation, reserved, false);
			return false;
	}
	return false;
}

/*
 * Nearly always nobody else is at it: then no lock is needed besides the update's
 * own.  A run of a program is locked first, for who suspends the program looks for
 * that (taskex_ask_run).  false: it is to be locked, and looked at again.
 */
static bool
take_at_once(Take *call, const Taken *reserved, Child *run, const UserHome *home)
{
	TakenRun	taken;
	TimestampTz until;

	if (!child_find_as(run, reserved->run_id, run_tables_snapshot(&call->tables), reserved->tid) ||
		!child_text_is(run, RUN_STATE, "ready") || !run_is_null(run, RUN_PROGRAM_ID) ||
		usage_starting(home, 0, reserved->at, &until) != RUN_STARTS)
		return false;
	slot_getallattrs(run->slot);	/* at once is cheaper */
	(void) describe(run, home, &taken);
	keep(&taken);
	if (!store(call, run, &taken, reserved->at, false))
		return false;
	call->taken(&taken, call->arg);
	return true;
}

/* takes the reserved run, if its row is what the queue took it for */
static bool
try_take(Take *call, const Taken *reserved)
{
	UserHome	home;
	Child	   *run;
	RowLock		lock;

	run_home_of(&call->tables, reserved->customer_id, &home);

	/* his runs go to another queue at the commit that changed his role */
	if (call->taker->name.role != QUEUE_OUTSIDE && home.db_role != call->taker->name.role)
	{
		queue_refuse(call->reservation, reserved, false);
		return false;
	}
	run = run_table_of(&call->tables, home.partition);
	wait_point("pulled");
	if (take_at_once(call, reserved, run, &home))
	{
		queue_took(call->reservation, reserved);
		return true;
	}
	lock = child_lock(run, reserved->run_id, false);
	if (lock != ROW_LOCKED)
	{
		/* an old snapshot does not see new ones; who has moved is found next time */
		queue_refuse(call->reservation, reserved, false);
		return false;
	}
	if (!child_text_is(run, RUN_STATE, "ready"))
	{
		queue_refuse(call->reservation, reserved, true);
		return false;
	}
	if (!may_start(call, reserved, run, &home))
		return false;
	if (!take(call, run, &home, reserved->at))
	{
		queue_refuse(call->reservation, reserved, true);
		return false;
	}
	queue_took(call->reservation, reserved);
	return true;
}

/* ---- all of them ---- */

/* so many refusals in one call are enough: the rest is others' work */
#define REFUSED_MAX 100

int
run_take(const RunTaker *taker, void (*taken) (const TakenRun *run, void *arg), void *arg)
{
	Take		call = {taker,.taken = taken,.arg = arg};
	int			count = 0;
	int			refused = 0;
	double		cost = 0;
	MemoryContext context;
	MemoryContext old;
	Taken		reserved;

	/* it may have changed while we waited */
	if (environment_by_id(taker->name.environment_id)->paused)
		return 0;
	context = AllocSetContextCreate(CurrentMemoryContext, "taskex take", ALLOCSET_DEFAULT_SIZES);
	call.reservation = queue_reserve_begin(taker->count + REFUSED_MAX, taker->lease_until);
	run_tables_begin_seen(&call.tables);
	while (count < taker->count && refused < REFUSED_MAX && (taker->cost_us == 0 || cost * USECS_PER_SEC < taker->cost_us) &&
		   queue_reserve(call.reservation, &taker->name, taker->customer_id, &reserved))
	{
		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(context);
		if (try_take(&call, &reserved))
		{
			cost += reserved.cost;
			count++;
		}
		else
			refused++;
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	run_tables_end(&call.tables);
	MemoryContextDelete(context);
	return count;
}

static void *
copy_of(void *value)
{
	return value ? PG_DETOAST_DATUM_COPY(PointerGetDatum(value)) : NULL;
}

void
run_copy(TakenRun *copy, const TakenRun *run)
{
	*copy = *run;
	copy->program = copy_of(run->program);
	copy->code = copy_of(run->code);
	copy->data = copy_of(run->data);
	copy->data_ref = copy_of(run->data_ref);
	copy->options = copy_of(run->options);
	copy->progress = copy_of(run->progress);
	copy->state = copy_of(run->state);
}

void
run_revoke(Child *run)
{
	if (run_holder)
		run_holder->revoked(child_int64(run, RUN_RUN_ID), child_int64(run, RUN_LEASE_TOKEN));
}
