/*
 * pull.c
 *	  Workers take runs.
 */
#include "postgres.h"

#include "workload/take.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "infra/realm.h"
#include "infra/spi.h"
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
	RunTaker	taker;
	int64		lease_us;
	ReturnSetInfo *rsinfo;
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

/* what the worker gets of it */
static void
put(const TakenRun *run, void *arg)
{
	Puller	   *puller = arg;
	Datum		values[LEASED_COLUMNS] = {
		[LEASED_RUN_ID] = Int64GetDatum(run->run_id),
		[LEASED_TOKEN] = Int64GetDatum(run->token),
		[LEASED_UNTIL] = TimestampTzGetDatum(run->lease_until),
		[LEASED_CUSTOMER] = PointerGetDatum(login_of(run->customer.user_id)),
		[LEASED_PRIORITY] = Int32GetDatum(run->priority),
		[LEASED_ATTEMPT] = Int32GetDatum(run->attempt),
		[LEASED_PROGRAM] = PointerGetDatum(run->program),
		[LEASED_VERSION] = Int32GetDatum(run->version),
		[LEASED_CODE] = PointerGetDatum(run->code),
		[LEASED_DATA] = PointerGetDatum(run->data),
		[LEASED_DATA_REF] = PointerGetDatum(run->data_ref),
		[LEASED_PROGRESS] = PointerGetDatum(run->progress),
		[LEASED_STATE] = PointerGetDatum(run->state)
	};
	bool		nulls[LEASED_COLUMNS] = {
		[LEASED_PROGRAM] = run->program == NULL,
		[LEASED_VERSION] = run->version == 0,
		[LEASED_CODE] = run->code == NULL,
		[LEASED_DATA] = run->data == NULL,
		[LEASED_DATA_REF] = run->data_ref == NULL,
		[LEASED_TIMEOUT] = true,
		[LEASED_PROGRESS] = run->progress == NULL,
		[LEASED_STATE] = run->state == NULL
	};
	JsonbValue	value;

	if (run->options && json_field(DatumGetJsonbP(PointerGetDatum(run->options)), "timeout", &value))
	{
		char	   *timeout = pnstrdup(value.val.string.val, value.val.string.len);

		values[LEASED_TIMEOUT] = DirectFunctionCall3(interval_in, CStringGetDatum(timeout),
													 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
		nulls[LEASED_TIMEOUT] = false;
	}
	tuplestore_putvalues(puller->rsinfo->setResult, puller->rsinfo->setDesc, values, nulls);
}

static bool
pull(void *arg)
{
	Puller	   *puller = arg;

	puller->taker.lease_until = clock_now() + puller->lease_us;
	return run_take(&puller->taker, put, puller) > 0;
}

static void
read_arguments(FunctionCallInfo fcinfo, Puller *puller)
{
	static const char *const names[] = {"worker", "environment", "count", "lease", "wait", NULL};
	const KnownEnvironment *environment;
	const text *worker;

	require_args(fcinfo, names);
	PreventCommandIfReadOnly("pull_runs()");
	memset(puller, 0, sizeof(Puller));
	worker = PG_GETARG_TEXT_PP(0);
	if (VARSIZE_ANY_EXHDR(worker) == 0 || VARSIZE_ANY_EXHDR(worker) > WORKER_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("worker must have between 1 and %d bytes", WORKER_MAX)));
	puller->taker.worker = text_to_cstring(worker);
	environment = environment_get(PG_GETARG_TEXT_PP(1));
	environment_require_worker(environment);
	if (!environment->external)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_SERVER_ENVIRONMENT),
				 errmsg("runs of environment \"%s\" cannot be pulled", environment->name),
				 errdetail("Executors of the server run its code, as the role of each customer.")));
	puller->taker.name.environment_id = environment->environment_id;
	puller->taker.name.role = QUEUE_OUTSIDE;
	puller->taker.count = PG_GETARG_INT32(2);
	if (puller->taker.count < 1 || puller->taker.count > COUNT_MAX)
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
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	puller.rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	if (guc_async_accept)
		xact_async_begin();
	if (wait_us == 0)
		(void) pull(&puller);
	else
		(void) environment_wait(&puller.taker.name, GetCurrentTimestamp() + wait_us, pull, &puller);
	if (guc_async_accept)
		xact_async_end();
	return (Datum) 0;
}
