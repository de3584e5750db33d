/*
 * submit.c
 *	  Runs are queued.
 */
#include "postgres.h"

#include "workload/run.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "infra/ids.h"
#include "infra/spi.h"
#include "lease/due.h"
#include "workload/environment.h"
#include "workload/options.h"
#include "workload/usage.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

static Statement find_program = {
	"SELECT program_id, environment FROM _taskex.find_program($1, $2, $3)",
	3, {INT8OID, TEXTOID, INT4OID}
};

static Statement insert_waits = {
	"INSERT INTO _taskex.run_wait_%p (partition_id, due_at, run_id, customer_id)"
	" SELECT $1, $2, $3 + n * 1024, $4 FROM generate_series(0, $5 - 1) n",
	5, {INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT4OID}
};

static Statement insert_links = {
	"INSERT INTO _taskex.run_link_%p (partition_id, run_id, follower_id, customer_id)"
	" SELECT $1, a, $2 + n * 1024, $3 FROM unnest($4) a, generate_series(0, $5 - 1) n",
	5, {INT4OID, INT8OID, INT8OID, INT8ARRAYOID, INT4OID}
};

static Statement insert_key = {
	"INSERT INTO _taskex.run_key_%p (partition_id, run_count, run_id, customer_id, deduplication_key, request_hash)"
	" VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
	6, {INT4OID, INT4OID, INT8OID, INT8OID, TEXTOID, BYTEAOID}
};

static Statement select_key = {
	"SELECT run_id, request_hash FROM _taskex.run_key_%p WHERE customer_id = $1 AND deduplication_key = $2",
	2, {INT8OID, TEXTOID}
};

StaticAssertDecl(RUN_ID_STEP == 1024, "statements spell out RUN_ID_STEP");

#define MAX_DELAY_US (INT64CONST(3660) * USECS_PER_DAY)

/* what a call of submit_run or submit_runs asks for */
typedef struct Request
{
	UserHome	customer;
	KnownEnvironment environment;
	RunOptions	options;
	KnownEnvironment result_environment;	/* where the result_function is called */
	int64		id;				/* that it has already; 0: none */
	int64		program_id;		/* 0: none */
	bool		bulk;
	int32		count;
	Datum		data;			/* jsonb or, if bulk, jsonb[] */
	bool		no_data;
	int32		priority;
	int64		max_delay;		/* us; -1: none */
	bytea	   *hash;			/* if there is a deduplication key */
	TimestampTz now;
	const char *state;
	Datum		state_text;
	int			blockers;
	int64	   *blocked_by;
} Request;

/* ---- what is asked for ---- */

static void
read_data(FunctionCallInfo fcinfo, Request *request)
{
	ArrayType  *array;
	Datum	   *values;
	bool	   *nulls;

	request->no_data = PG_ARGISNULL(2);
	request->count = 1;
	if (!request->bulk)
	{
		if (request->no_data)
			return;
		request->data = PointerGetDatum(PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(2)));
		check_json_size(request->data, "data");
		return;
	}
	require_arg(fcinfo, 2, "data");
	array = PG_GETARG_ARRAYTYPE_P(2);
	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("data must be a one-dimensional array")));
	request->data = PointerGetDatum(array);
	deconstruct_array(array, JSONBOID, -1, false, TYPALIGN_INT, &values, &nulls, &request->count);
	if (request->count > IDS_MAX_COUNT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many runs: %d", request->count),
				 errhint("Submit at most %d runs with one call.", IDS_MAX_COUNT)));
	for (int i = 0; i < request->count; i++)
		if (!nulls[i])
			check_json_size(values[i], "data");
	pfree(values);
	pfree(nulls);
}

/* executors log in as the customer's role */
static void
require_role(const UserHome *customer, const KnownEnvironment *environment)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(customer->db_role));
	bool		login = false;
	char	   *name = NULL;

	if (HeapTupleIsValid(tuple))
	{
		login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
		name = pstrdup(NameStr(((Form_pg_authid) GETSTRUCT(tuple))->rolname));
		ReleaseSysCache(tuple);
	}
	if (login)
		return;
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_NO_EXECUTOR_ROLE),
			 errmsg("the customer has no role that runs of environment \"%s\" could have", environment->name),
			 name ? errdetail("The server runs its code as the customer's db_role, and role \"%s\" may not log in.", name) :
			 OidIsValid(customer->db_role) ? errdetail("The server runs its code as the customer's db_role, and that was dropped.") :
			 errdetail("The server runs its code as the customer's db_role, and he has none."),
			 name ? errhint("Use ALTER ROLE %s LOGIN; it needs no password.", quote_identifier(name)) :
			 errhint("Name a role with LOGIN as db_role in his profile (taskex.update_user()).")));
}

/* the program, if one is named, and its environment */
static void
find_environment(FunctionCallInfo fcinfo, Request *request)
{
	const text *name = request->options.environment;
	Datum		values[3] = {Int64GetDatum(request->customer.user_id), 0, Int32GetDatum(request->options.version)};
	char		nulls[3] = {' ', ' ', request->options.version == 0 ? 'n' : ' '};
	const KnownEnvironment *environment;
	SpiScope	scope;
	bool		isnull;

	if (!PG_ARGISNULL(1))
	{
		if (name || request->options.code)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a run of a program has its environment and its code"),
					 errhint("Leave the options environment and code, or the program, out.")));
		values[1] = PG_GETARG_DATUM(1);
		spi_begin(&scope);
		if (spi_run(&find_program, 0, values, nulls, SPI_VIEW_CURRENT, 1) != 1)
			elog(ERROR, "find_program returned nothing");
		request->program_id = spi_int64(0, 1);
		environment = environment_get(DatumGetTextPP(spi_value(0, 2, &isnull)));
		request->environment = *environment;
		spi_end(&scope);
	}
	else
	{
		if (name == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a run needs a program, or an environment"),
					 errhint("Name a program, or give the option environment and, for code that the server runs, code.")));
		request->environment = *environment_get(name);
		if (request->options.version != 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"version\" is that of a program")));
		if (request->options.code == NULL && !request->environment.external)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a run in environment \"%s\" needs a program, or code", request->environment.name)));
	}
	environment_require_customer(&request->environment, request->customer.user_id);
	if (!request->environment.external)
		require_role(&request->customer, &request->environment);
	if (request->options.code && !request->environment.external)
		environment_check_code(&request->customer, &request->environment, request->options.code);
}

static void
find_result_environment(Request *request)
{
	const RunOptions *options = &request->options;

	if (options->result_function == NULL)
	{
		if (options->result_environment)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("option \"result_environment\" is that of a result_function")));
		return;
	}
	if (request->bulk)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("runs submitted together have no result_function")));
	request->result_environment = options->result_environment ? *environment_get(options->result_environment) : request->environment;
	if (request->result_environment.external)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a result_function needs an environment whose code the server runs"),
				 errdetail("Workers outside run that of environment \"%s\".", request->result_environment.name),
				 errhint("Name one with the option result_environment.")));
	environment_require_customer(&request->result_environment, request->customer.user_id);
	require_role(&request->customer, &request->result_environment);
}

static void
hash_value(uint64 hash[2], const void *data, Size length)
{
	hash[0] = hash_bytes_extended(data, (int) length, hash[0] ^ length);
	hash[1] = hash_bytes_extended(data, (int) length, hash[1] + 0x9e3779b97f4a7c15 + length);
}

/* of all that makes the request what it is */
static bytea *
hash_of(FunctionCallInfo fcinfo, const Request *request)
{
	uint64		hash[2] = {0, 1};
	bytea	   *result = palloc(VARHDRSZ + sizeof(hash));
	Jsonb	   *options = PG_GETARG_JSONB_P(5);

	if (!PG_ARGISNULL(1))
		hash_value(hash, VARDATA_ANY(PG_GETARG_TEXT_PP(1)), VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)));
	if (!request->no_data)
		hash_value(hash, VARDATA_ANY(DatumGetPointer(request->data)), VARSIZE_ANY_EXHDR(DatumGetPointer(request->data)));
	hash_value(hash, &request->priority, sizeof(request->priority));
	hash_value(hash, &request->max_delay, sizeof(request->max_delay));
	hash_value(hash, VARDATA_ANY(options), VARSIZE_ANY_EXHDR(options));
	SET_VARSIZE(result, VARHDRSZ + sizeof(hash));
	memcpy(VARDATA(result), hash, sizeof(hash));
	return result;
}

/* who he is may be said at any time, and the queue knows runs by their customers */
static void
refuse_anonymous(const text *login)
{
	static const char prefix[] = "anonymous:";

	if (VARSIZE_ANY_EXHDR(login) >= sizeof(prefix) - 1 && memcmp(VARDATA_ANY(login), prefix, sizeof(prefix) - 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("an anonymous user has no runs"),
				 errhint("Say who he is with taskex.identify() first.")));
}

static void
read_request(FunctionCallInfo fcinfo, Request *request, bool bulk)
{
	memset(request, 0, sizeof(Request));
	require_arg(fcinfo, 0, "customer");
	require_arg(fcinfo, 3, "priority");
	require_arg(fcinfo, 5, "options");
	PreventCommandIfReadOnly(bulk ? "submit_runs()" : "submit_run()");
	directory_actor(PG_GETARG_TEXT_PP(0), &request->customer);
	refuse_anonymous(PG_GETARG_TEXT_PP(0));
	request->bulk = bulk;
	request->priority = PG_GETARG_INT32(3);
	if (request->priority < 0 || request->priority > 9)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("priority must be between 0 and 9")));
	request->max_delay = PG_ARGISNULL(4) ? -1 : check_duration(PG_GETARG_INTERVAL_P(4), "max_delay", 0, MAX_DELAY_US);
	check_json_size(PG_GETARG_DATUM(5), "options");
	run_options_read(PG_GETARG_JSONB_P(5), &request->options);
	read_data(fcinfo, request);
	if (request->options.data_ref && !request->no_data && !bulk)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a run has data or data_ref, not both")));
	if (request->options.data_ref && bulk)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("runs submitted together have data, not data_ref")));
	find_environment(fcinfo, request);
	find_result_environment(request);
	if (request->options.deduplication_key)
		request->hash = hash_of(fcinfo, request);
	request->now = clock_now();
	if (request->max_delay >= 0 && Max(request->now, request->options.run_at) >= END_TIMESTAMP - request->max_delay)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("option \"run_at\" is out of range"),
				 errdetail("Its max_delay would be over after the last time that there is.")));
}

/* ---- deduplication ---- */

/* true: the key stands for runs that are there, from *first on */
static bool
key_used(const Request *request, int64 *first)
{
	const UserHome *customer = &request->customer;
	Datum		values[6] = {Int32GetDatum(customer->partition), Int32GetDatum(request->count), Int64GetDatum(*first),
		Int64GetDatum(customer->user_id), PointerGetDatum(request->options.deduplication_key), PointerGetDatum(request->hash)};
	Datum		look[2] = {values[3], values[4]};
	SpiScope	scope;
	bool		used;
	bool		isnull;

	spi_begin(&scope);
	used = spi_run(&insert_key, customer->partition, values, NULL, SPI_VIEW_CURRENT, 0) == 0;
	if (used)
	{
		bytea	   *old;

		if (spi_run(&select_key, customer->partition, look, NULL, SPI_VIEW_CURRENT, 1) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent use of a deduplication key"),
					 errhint("Retry the transaction.")));
		*first = spi_int64(0, 1);
		old = DatumGetByteaPP(spi_value(0, 2, &isnull));
		if (VARSIZE_ANY_EXHDR(old) != VARSIZE_ANY_EXHDR(request->hash) ||
			memcmp(VARDATA_ANY(old), VARDATA_ANY(request->hash), VARSIZE_ANY_EXHDR(old)) != 0)
			ereport(ERROR,
					(tx_errcode(ERRCODE_TX_IDEMPOTENCY_MISMATCH),
					 errmsg("deduplication key \"%s\" was used with other arguments",
							text_to_cstring(request->options.deduplication_key)),
					 errhint("Use a new key for a new request.")));
	}
	spi_end(&scope);
	return used;
}

/* ---- what it comes after ---- */

/* those that have not succeeded are followed from now on */
static void
lock_blockers(Request *request)
{
	static const int columns[1] = {RUN_FOLLOWED};
	Datum		value = BoolGetDatum(true);
	bool		isnull = false;
	Child		run;

	if (request->options.after_count == 0)
		return;
	request->blocked_by = palloc(sizeof(int64) * request->options.after_count);
	child_open(&run, &run_table, request->customer.partition);
	for (int i = 0; i < request->options.after_count; i++)
	{
		int64		id = request->options.after[i];

		if (child_lock(&run, id, true) != ROW_LOCKED ||
			child_int64(&run, RUN_CUSTOMER_ID) != request->customer.user_id)
			ereport(ERROR,
					(tx_errcode(ERRCODE_TX_UNKNOWN_RUN),
					 errmsg("the customer has no run %lld", (long long) id)));
		if (child_text_is(&run, RUN_STATE, "cancelled"))
			ereport(ERROR,
					(tx_errcode(ERRCODE_TX_WRONG_STATE),
					 errmsg("run %lld is cancelled", (long long) id),
					 errdetail("No run can come after it.")));
		if (child_text_is(&run, RUN_STATE, "succeeded"))
			continue;
		if (!DatumGetBool(slot_getattr(run.slot, RUN_FOLLOWED, &isnull)))
			child_update(&run, 1, columns, &value, &isnull);
		request->blocked_by[request->blockers++] = id;
	}
	child_close(&run);
}

static void
insert_link_rows(const Request *request, int64 first)
{
	Datum	   *ids = palloc(sizeof(Datum) * request->blockers);
	Datum		values[5] = {Int32GetDatum(request->customer.partition), Int64GetDatum(first),
		Int64GetDatum(request->customer.user_id), 0, Int32GetDatum(request->count)};
	SpiScope	scope;

	for (int i = 0; i < request->blockers; i++)
		ids[i] = Int64GetDatum(request->blocked_by[i]);
	values[3] = PointerGetDatum(construct_array(ids, request->blockers, INT8OID, 8, true, TYPALIGN_DOUBLE));
	spi_begin(&scope);
	spi_run(&insert_links, request->customer.partition, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

/* ---- rows ---- */

static TimestampTz
deadline_of(const Request *request)
{
	if (request->max_delay < 0)
		return DT_NOEND;
	return Max(request->now, request->options.run_at) + request->max_delay;
}

typedef struct Rows
{
	const Request *request;
	int64		first;
	Datum	   *data;
	bool	   *no_data;
} Rows;

#define SET(column, value) (values[(column) - 1] = (value), nulls[(column) - 1] = false)

/* what all runs of a request have in common */
static void
fill_common(const Request *request, Datum *values, bool *nulls)
{
	const RunOptions *options = &request->options;

	SET(RUN_PARTITION_ID, Int32GetDatum(request->customer.partition));
	SET(RUN_ENVIRONMENT_ID, Int32GetDatum(request->environment.environment_id));
	SET(RUN_CUSTOMER_ID, Int64GetDatum(request->customer.user_id));
	SET(RUN_SUBMITTED_AT, TimestampTzGetDatum(request->now));
	SET(RUN_PRIORITY, Int32GetDatum(request->priority));
	SET(RUN_FOLLOWED, BoolGetDatum(false));
	SET(RUN_ATTEMPTS, Int32GetDatum(0));
	SET(RUN_MAX_ATTEMPTS, Int32GetDatum(options->max_attempts ? options->max_attempts : request->environment.max_attempts));
	SET(RUN_BLOCKERS, Int32GetDatum(request->blockers));
	SET(RUN_STATE, request->state_text);
	if (request->program_id != 0)
		SET(RUN_PROGRAM_ID, Int64GetDatum(request->program_id));
	if (options->version != 0)
		SET(RUN_VERSION, Int32GetDatum(options->version));
	if (request->max_delay >= 0)
		SET(RUN_DEADLINE, TimestampTzGetDatum(deadline_of(request)));
	if (options->run_at != DT_NOBEGIN)
		SET(RUN_RUN_AT, TimestampTzGetDatum(options->run_at));
	if (options->concurrency_key)
		SET(RUN_CONCURRENCY_KEY, PointerGetDatum(options->concurrency_key));
	if (options->code)
		SET(RUN_CODE, PointerGetDatum(options->code));
	if (options->data_ref)
		SET(RUN_DATA_REF, PointerGetDatum(options->data_ref));
	if (options->rest)
		SET(RUN_OPTIONS, PointerGetDatum(options->rest));
}

static void
fill_row(int row, Datum *values, bool *nulls, void *arg)
{
	const Rows *rows = arg;

	if (row == 0)
		fill_common(rows->request, values, nulls);
	SET(RUN_RUN_ID, Int64GetDatum(rows->first + (int64) row * RUN_ID_STEP));
	SET(RUN_DATA, rows->data[row]);
	nulls[RUN_DATA - 1] = rows->no_data[row];
}

#undef SET

/* where the row is, if it is one; else not valid */
static ItemPointerData
insert_rows(Request *request, int64 first)
{
	Rows		rows = {request, first, &request->data, &request->no_data};
	Datum		values[RUN_COLUMNS] = {0};
	bool		nulls[RUN_COLUMNS];
	Child		run;
	ItemPointerData tid;
	int			count;

	ItemPointerSetInvalid(&tid);
	request->state_text = CStringGetTextDatum(request->state);
	child_open(&run, &run_table, request->customer.partition);
	if (request->bulk)
	{
		deconstruct_array(DatumGetArrayTypeP(request->data), JSONBOID, -1, false, TYPALIGN_INT,
						  &rows.data, &rows.no_data, &count);
		child_insert_many(&run, request->count, fill_row, &rows);
	}
	else
	{
		memset(nulls, true, sizeof(nulls));
		fill_row(0, values, nulls, &rows);
		child_insert(&run, values, nulls);
		tid = run.inserted;
	}
	child_close(&run);
	return tid;
}

static void
insert_wait_rows(const Request *request, int64 first)
{
	Datum		values[5] = {Int32GetDatum(request->customer.partition), TimestampTzGetDatum(request->options.run_at),
	Int64GetDatum(first), Int64GetDatum(request->customer.user_id), Int32GetDatum(request->count)};
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&insert_waits, request->customer.partition, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
	due_note(request->customer.partition, DUE_RUN, request->options.run_at);
}

static void
note_ready(const Request *request, int64 first, ItemPointerData tid)
{
	PinnedLane	pinned = {.name = {request->customer.user_id, request->environment.environment_id, request->priority}};
	ReadyRun	ready = {first, request->now, deadline_of(request), tid};
	const text *key = request->options.concurrency_key;

	if (key)
		pinned.key_hash = run_key_hash(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key));
	queue_pin(&pinned);
	queue_ready_at_commit(&pinned, &ready, request->count);
}

static int64 submit(Request *request);

/* the last call has found what its deduplication key stands for, and made nothing */
static bool deduplicated = false;

static void
push_key(JsonbParseState **state, char *name)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = name;
	key.val.string.len = strlen(name);
	(void) pushJsonbValue(state, WJB_KEY, &key);
}

/*
 * A run of its own takes the result to the customer's function, when the run has
 * succeeded: once, tried again and shown as any other.  What prunes runs
 * (prune_runs) knows that its id is the next one.
 */
static void
submit_result_run(const Request *request, int64 run_id)
{
	Request		follower = *request;
	RunOptions *options = &follower.options;
	JsonbParseState *state = NULL;
	JsonbValue	value;

	memset(options, 0, sizeof(RunOptions));
	options->run_at = DT_NOBEGIN;
	options->after_count = 1;
	options->after = &run_id;
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_key(&state, "result_of");
	value.type = jbvNumeric;
	value.val.numeric = int64_to_numeric(run_id);
	(void) pushJsonbValue(&state, WJB_VALUE, &value);
	push_key(&state, "result_function");
	value.type = jbvString;
	value.val.string.val = request->options.result_function;
	value.val.string.len = strlen(request->options.result_function);
	(void) pushJsonbValue(&state, WJB_VALUE, &value);
	options->rest = JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));

	follower.environment = request->result_environment;
	follower.id = run_id + RUN_ID_STEP;
	follower.program_id = 0;
	follower.no_data = true;
	follower.max_delay = -1;
	follower.blockers = 0;
	CommandCounterIncrement();	/* it locks the run that it comes after */
	(void) submit(&follower);
}

/* makes the runs and returns the first one's id; the others follow by steps */
static int64
submit(Request *request)
{
	int64		first = request->id;
	ItemPointerData tid;

	/* whoever has no id of its own yet is not waited for by load.c, which asks what ids are decided */
	(void) GetTopTransactionId();
	if (first == 0)
		first = run_id_make(ids_next(ID_RUN, request->count + (request->options.result_function ? 1 : 0)), request->customer.partition);
	deduplicated = request->options.deduplication_key && key_used(request, &first);
	if (deduplicated)
		return first;
	usage_submitting(&request->customer, request->environment.environment_id, request->program_id, request->priority,
					 request->count);
	lock_blockers(request);
	request->state = request->blockers > 0 ? "blocked" : request->options.run_at > request->now ? "delayed" : "ready";
	tid = insert_rows(request, first);
	if (request->blockers > 0)
		insert_link_rows(request, first);
	else if (request->options.run_at > request->now)
		insert_wait_rows(request, first);
	else
		note_ready(request, first, tid);
	if (request->options.result_function)
		submit_result_run(request, first);
	return first;
}

PG_FUNCTION_INFO_V1(taskex_submit_run);

/* submit_run(customer, program, data, priority, max_delay, options) -> bigint */
Datum
taskex_submit_run(PG_FUNCTION_ARGS)
{
	Request		request;

	read_request(fcinfo, &request, false);
	PG_RETURN_INT64(submit(&request));
}

PG_FUNCTION_INFO_V1(taskex_deduplicated);

/* _taskex.deduplicated() -> boolean */
Datum
taskex_deduplicated(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(deduplicated);
}

PG_FUNCTION_INFO_V1(taskex_submit_runs);

/* submit_runs(customer, program, data[], priority, max_delay, options) -> setof bigint */
Datum
taskex_submit_runs(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Request		request;
	int64		first;

	read_request(fcinfo, &request, true);
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (request.count == 0)
		return (Datum) 0;
	first = submit(&request);
	for (int32 i = 0; i < request.count; i++)
	{
		Datum		value = Int64GetDatum(first + (int64) i * RUN_ID_STEP);
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
	return (Datum) 0;
}
