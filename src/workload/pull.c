/*
 * pull.c
 *	  Workers take runs.
 */
#include "postgres.h"

#include "workload/suspend.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "infra/ids.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/xact.h"
#include "workload/environment.h"
#include "workload/options.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define COUNT_MAX 1000
#define WORKER_MAX 255
#define LOGINS_MAX 4096

static Statement select_login = {
	"SELECT login FROM _taskex.directory WHERE user_id = $1",
	1, {INT8OID}
};

static Statement select_version = {
	"SELECT CASE WHEN p.owner_id = $3 THEN p.name ELSE o.login || '/' || p.name END, v.version, v.source, p.suspended"
	" FROM _taskex.program p JOIN _taskex.directory o ON o.user_id = p.owner_id"
	" JOIN _taskex.program_version v ON v.program_id = p.program_id AND v.version = coalesce($2, p.newest,"
	" (SELECT max(w.version) FROM _taskex.program_version w WHERE w.program_id = p.program_id))"
	" WHERE p.program_id = $1",
	3, {INT8OID, INT4OID, INT8OID}
};

/* columns of taskex.leased_run */
enum LeasedColumn
{
	LEASED_RUN_ID,
	LEASED_TOKEN,
	LEASED_UNTIL,
	LEASED_CUSTOMER,
	LEASED_PRIORITY,
	LEASED_ATTEMPT,
	LEASED_PROGRAM,
	LEASED_VERSION,
	LEASED_CODE,
	LEASED_DATA,
	LEASED_DATA_REF,
	LEASED_TIMEOUT,
	LEASED_PROGRESS,
	LEASED_STATE,
	LEASED_COLUMNS
};

/* one call's constants */
typedef struct Puller
{
	KnownEnvironment environment;
	Datum		worker;
	int32		count;
	int64		lease_us;
	TimestampTz now;
	TimestampTz lease_until;
	RunTables	tables;
	Reservation *reservation;
	ReturnSetInfo *rsinfo;
	int			taken;
} Puller;

/* ---- logins, which never change ---- */

typedef struct KnownLogin
{
	int64		user_id;
	uint32		realm;
	text	   *login;
} KnownLogin;

static HTAB *logins = NULL;
static MemoryContext logins_context = NULL;

static text *
login_of(int64 user_id)
{
	KnownLogin *known;
	bool		found;
	text	   *login;
	Datum		value = Int64GetDatum(user_id);
	SpiScope	scope;
	bool		isnull;

	if (logins && hash_get_num_entries(logins) >= LOGINS_MAX)
	{
		MemoryContextDelete(logins_context);
		logins = NULL;
	}
	if (logins == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(KnownLogin)};

		logins_context = AllocSetContextCreate(TopMemoryContext, "taskex logins", ALLOCSET_DEFAULT_SIZES);
		ctl.hcxt = logins_context;
		logins = hash_create("taskex logins", 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	known = hash_search(logins, &user_id, HASH_FIND, NULL);
	if (likely(known != NULL && known->realm == realm_current()->serial))
		return known->login;

	spi_begin(&scope);
	if (spi_run(&select_login, 0, &value, NULL, SPI_VIEW_CURRENT, 1) != 1)
		elog(ERROR, "user %lld is missing", (long long) user_id);
	login = (text *) MemoryContextAlloc(logins_context, VARSIZE_ANY(DatumGetPointer(spi_value(0, 1, &isnull))));
	memcpy(login, DatumGetPointer(spi_value(0, 1, &isnull)), VARSIZE_ANY(DatumGetPointer(spi_value(0, 1, &isnull))));
	spi_end(&scope);
	known = hash_search(logins, &user_id, HASH_ENTER, &found);
	known->realm = realm_current()->serial;
	known->login = login;
	return login;
}

/* ---- one run ---- */

/* program, version and code of the run, as of now; false: the program is suspended */
static bool
find_version(Child *run, Datum *values, bool *nulls)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	bool		isnull;
	Datum		arguments[3] = {slot_getattr(run->slot, RUN_PROGRAM_ID, &isnull), slot_getattr(run->slot, RUN_VERSION, &isnull),
	slot_getattr(run->slot, RUN_CUSTOMER_ID, &isnull)};
	char		argument_nulls[3] = {' ', run_is_null(run, RUN_VERSION) ? 'n' : ' ', ' '};
	SpiScope	scope;
	bool		suspended;

	spi_begin(&scope);
	if (spi_run(&select_version, 0, arguments, argument_nulls, SPI_VIEW_CURRENT, 1) != 1)
		elog(ERROR, "the program of run %lld is missing", (long long) child_int64(run, RUN_RUN_ID));
	old = MemoryContextSwitchTo(context);
	values[LEASED_PROGRAM] = PointerGetDatum(DatumGetTextPCopy(spi_value(0, 1, &isnull)));
	values[LEASED_VERSION] = spi_value(0, 2, &isnull);
	values[LEASED_CODE] = PointerGetDatum(DatumGetTextPCopy(spi_value(0, 3, &isnull)));
	MemoryContextSwitchTo(old);
	suspended = DatumGetBool(spi_value(0, 4, &isnull));
	spi_end(&scope);
	nulls[LEASED_PROGRAM] = nulls[LEASED_VERSION] = nulls[LEASED_CODE] = false;
	return !suspended;
}

/* what the worker gets of the locked run; the token and the attempt are set already.  false: it is not to run */
static bool
describe(Child *run, Datum *values, bool *nulls)
{
	static const int columns[LEASED_COLUMNS] = {
		[LEASED_RUN_ID] = RUN_RUN_ID,[LEASED_PRIORITY] = RUN_PRIORITY,[LEASED_CODE] = RUN_CODE,
		[LEASED_DATA] = RUN_DATA,[LEASED_DATA_REF] = RUN_DATA_REF,[LEASED_PROGRESS] = RUN_PROGRESS,
		[LEASED_STATE] = RUN_STATE_DATA
	};
	Jsonb	   *options;
	JsonbValue	value;

	for (int i = 0; i < LEASED_COLUMNS; i++)
		if (columns[i] != 0)
			values[i] = slot_getattr(run->slot, columns[i], &nulls[i]);
	values[LEASED_CUSTOMER] = PointerGetDatum(login_of(child_int64(run, RUN_CUSTOMER_ID)));
	nulls[LEASED_CUSTOMER] = false;
	nulls[LEASED_PROGRAM] = nulls[LEASED_VERSION] = nulls[LEASED_TIMEOUT] = true;
	if (!run_is_null(run, RUN_PROGRAM_ID) && !find_version(run, values, nulls))
		return false;
	options = run_is_null(run, RUN_OPTIONS) ? NULL : run_jsonb(run, RUN_OPTIONS);
	if (options && json_field(options, "timeout", &value))
	{
		char	   *timeout = pnstrdup(value.val.string.val, value.val.string.len);

		values[LEASED_TIMEOUT] = DirectFunctionCall3(interval_in, CStringGetDatum(timeout),
													 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
		nulls[LEASED_TIMEOUT] = false;
	}
	return true;
}

/* the locked run is the worker's; false: it is held, because its program is */
static bool
take(Puller *puller, Child *run)
{
	static const int columns[7] = {RUN_STATE, RUN_ATTEMPTS, RUN_STARTED_AT, RUN_LEASE_UNTIL, RUN_LEASE_TOKEN, RUN_WORKER,
	RUN_VERSION};
	Datum		leased[LEASED_COLUMNS] = {0};
	bool		nulls[LEASED_COLUMNS] = {false};
	Datum		values[7];
	bool		value_nulls[7] = {false};
	bool		program = !run_is_null(run, RUN_PROGRAM_ID);

	leased[LEASED_TOKEN] = Int64GetDatum(ids_next(ID_LEASE, 1));
	leased[LEASED_UNTIL] = TimestampTzGetDatum(puller->lease_until);
	leased[LEASED_ATTEMPT] = Int32GetDatum(child_int32(run, RUN_ATTEMPTS) + 1);
	if (!describe(run, leased, nulls))
	{
		run_hold(run);
		return false;
	}

	values[0] = CStringGetTextDatum("running");
	values[1] = leased[LEASED_ATTEMPT];
	values[2] = TimestampTzGetDatum(puller->now);
	values[3] = leased[LEASED_UNTIL];
	values[4] = leased[LEASED_TOKEN];
	values[5] = puller->worker;
	values[6] = leased[LEASED_VERSION];
	tuplestore_putvalues(puller->rsinfo->setResult, puller->rsinfo->setDesc, leased, nulls);
	child_update(run, program ? 7 : 6, columns, values, value_nulls);
	return true;
}

/* takes the reserved run, if its row is what the queue took it for */
static bool
try_take(Puller *puller, const Taken *taken)
{
	UserHome	home;
	Child	   *run;
	RowLock		lock;

	directory_home_by_id(taken->customer_id, &home);
	run = run_table_of(&puller->tables, home.partition);
	wait_point("pulled");
	lock = child_lock(run, taken->run_id, false);
	if (lock != ROW_LOCKED)
	{
		/* an old snapshot does not see new ones; who has moved is found next time */
		queue_refuse(puller->reservation, taken, false);
		return false;
	}
	if (!child_text_is(run, RUN_STATE, "ready"))
	{
		queue_refuse(puller->reservation, taken, true);
		return false;
	}
	if (!take(puller, run))
	{
		queue_refuse(puller->reservation, taken, true);
		return false;
	}
	queue_took(puller->reservation, taken);
	return true;
}

/* ---- all of them ---- */

/* so many refusals in one call are enough: the rest is others' work */
#define REFUSED_MAX 100

static bool
pull(void *arg)
{
	Puller	   *puller = arg;
	int			refused = 0;
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "taskex pull", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;
	Taken		taken;

	/* it may have changed while we waited */
	puller->environment = *environment_by_id(puller->environment.environment_id);
	if (puller->environment.paused)
		return false;
	puller->now = clock_now();
	puller->lease_until = puller->now + puller->lease_us;
	puller->reservation = queue_reserve_begin(puller->count + REFUSED_MAX, puller->lease_until);
	run_tables_begin(&puller->tables);
	while (puller->taken < puller->count && refused < REFUSED_MAX &&
		   queue_reserve(puller->reservation, puller->environment.environment_id, puller->now, &taken))
	{
		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(context);
		if (try_take(puller, &taken))
			puller->taken++;
		else
			refused++;
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	run_tables_end(&puller->tables);
	MemoryContextDelete(context);
	return puller->taken > 0;
}

static void
read_arguments(FunctionCallInfo fcinfo, Puller *puller)
{
	static const char *const names[] = {"worker", "environment", "count", "lease", "wait", NULL};
	const text *worker;

	require_args(fcinfo, names);
	PreventCommandIfReadOnly("pull_runs()");
	memset(puller, 0, sizeof(Puller));
	worker = PG_GETARG_TEXT_PP(0);
	if (VARSIZE_ANY_EXHDR(worker) == 0 || VARSIZE_ANY_EXHDR(worker) > WORKER_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("worker must have between 1 and %d bytes", WORKER_MAX)));
	puller->worker = PointerGetDatum(worker);
	puller->environment = *environment_get(PG_GETARG_TEXT_PP(1));
	environment_require_worker(&puller->environment);
	puller->count = PG_GETARG_INT32(2);
	if (puller->count < 1 || puller->count > COUNT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("count must be between 1 and %d", COUNT_MAX)));
	puller->lease_us = check_duration(PG_GETARG_INTERVAL_P(3), "lease", USECS_PER_SEC, 7 * USECS_PER_DAY);
}

PG_FUNCTION_INFO_V1(taskex_pull_runs);

/* pull_runs(worker, environment, count, lease, wait) -> setof leased_run */
Datum
taskex_pull_runs(PG_FUNCTION_ARGS)
{
	Puller		puller;
	int64		wait_us;

	read_arguments(fcinfo, &puller);
	wait_us = check_duration(PG_GETARG_INTERVAL_P(4), "wait", 0, INT64CONST(3600) * USECS_PER_SEC);
	InitMaterializedSRF(fcinfo, 0);
	puller.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	if (guc_async_accept)
		xact_async_begin();
	if (wait_us == 0)
		(void) pull(&puller);
	else
		(void) environment_wait(puller.environment.environment_id, GetCurrentTimestamp() + wait_us, pull, &puller);
	if (guc_async_accept)
		xact_async_end();
	return (Datum) 0;
}
