/*
 * change.c
 *	  What customers do with runs that are queued; changes of a run's state that several
 *	  acts have in common.
 */
#include "postgres.h"

#include "workload/run.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "directory/directory.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "journal/journal.h"
#include "lease/due.h"
#include "workload/environment.h"
#include "workload/options.h"
#include "workload/split.h"
#include "workload/suspend.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

/* so much of an error goes into an event, in bytes */
#define MESSAGE_MAX 1000

static Statement insert_wait = {
	"INSERT INTO _taskex.run_wait_%p (partition_id, due_at, run_id, customer_id) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
	4, {INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID}
};

/* where a start looks for runs whose ids are below run_low */
static Statement insert_open = {
	"INSERT INTO _taskex.run_open (partition_id, run_id) VALUES ($1, $2)",
	2, {INT4OID, INT8OID}
};

static Statement select_limits = {
	"SELECT max_running, rate, rate_us, paused FROM _taskex.run_limit WHERE customer_id = $1 AND key_hash = $2",
	2, {INT8OID, INT8OID}
};

/* ---- rows ---- */

void
run_describe(Child *run, PinnedLane *pinned, ReadyRun *ready)
{
	bool		isnull;
	Datum		value;

	memset(pinned, 0, sizeof(PinnedLane));
	pinned->name.customer_id = child_int64(run, RUN_CUSTOMER_ID);
	pinned->name.environment_id = child_int32(run, RUN_ENVIRONMENT_ID);
	pinned->name.priority = child_int32(run, RUN_PRIORITY);
	value = slot_getattr(run->slot, RUN_CONCURRENCY_KEY, &isnull);
	if (!isnull)
		pinned->key_hash = run_key_hash(VARDATA_ANY(DatumGetTextPP(value)), VARSIZE_ANY_EXHDR(DatumGetTextPP(value)));
	ready->run_id = child_int64(run, RUN_RUN_ID);
	ready->submitted = child_int64(run, RUN_SUBMITTED_AT);
	value = slot_getattr(run->slot, RUN_DEADLINE, &isnull);
	ready->deadline = isnull ? DT_NOEND : DatumGetTimestampTz(value);
	/* it is about to be changed */
	ItemPointerSetInvalid(&ready->tid);
}

Jsonb *
run_jsonb(Child *run, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(run->slot, column, &isnull);

	return isnull ? NULL : DatumGetJsonbPCopy(value);
}

Jsonb *
run_error(const char *message)
{
	JsonbParseState *state = NULL;
	JsonbValue	key = {.type = jbvString,.val.string = {sizeof("message") - 1, "message"}};
	JsonbValue	value = {.type = jbvString,.val.string = {(int) strlen(message), unconstify(char *, message)}};

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	(void) pushJsonbValue(&state, WJB_KEY, &key);
	(void) pushJsonbValue(&state, WJB_VALUE, &value);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

void
run_make_ready(Child *run)
{
	PinnedLane	pinned;
	ReadyRun	ready;

	run_describe(run, &pinned, &ready);
	queue_pin(&pinned);
	queue_ready_at_commit(&pinned, &ready, 1);
}

void
run_make_ready_at(Child *run, const UserHome *home, TimestampTz run_at)
{
	Datum		values[4] = {Int32GetDatum(home->partition), TimestampTzGetDatum(run_at),
	Int64GetDatum(child_int64(run, RUN_RUN_ID)), Int64GetDatum(home->user_id)};
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&insert_wait, home->partition, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
	due_note(home->partition, DUE_RUN, run_at);
}

static void
push_pair(JsonbParseState **json, char *name, JsonbValue *value)
{
	JsonbValue	key = {.type = jbvString};

	key.val.string.val = name;
	key.val.string.len = strlen(name);
	(void) pushJsonbValue(json, WJB_KEY, &key);
	(void) pushJsonbValue(json, WJB_VALUE, value);
}

static void
push_text(JsonbParseState **json, char *name, const char *text)
{
	JsonbValue	value = {.type = jbvString};

	value.val.string.val = unconstify(char *, text);
	value.val.string.len = strlen(text);
	push_pair(json, name, &value);
}

/* its customer hears of a dead letter, if he has subscribed to events */
static void
tell_failed(Child *run, const char *state)
{
	JournalAct	act = {.kind = "run_failed",.requester_id = child_int64(run, RUN_CUSTOMER_ID)};
	Jsonb	   *error = run_jsonb(run, RUN_ERROR);
	JsonbParseState *json = NULL;
	JsonbValue	value = {.type = jbvNumeric};

	(void) pushJsonbValue(&json, WJB_BEGIN_OBJECT, NULL);
	value.val.numeric = int64_to_numeric(child_int64(run, RUN_RUN_ID));
	push_pair(&json, "run_id", &value);
	push_text(&json, "state", state);
	push_text(&json, "environment", environment_by_id(child_int32(run, RUN_ENVIRONMENT_ID))->name);
	if (error && json_field(error, "sqlstate", &value) && value.type == jbvString)
		push_pair(&json, "sqlstate", &value);
	if (error && json_field(error, "message", &value) && value.type == jbvString)
	{
		value.val.string.len = pg_mbcliplen(value.val.string.val, value.val.string.len, MESSAGE_MAX);
		push_pair(&json, "message", &value);
	}
	act.detail = JsonbValueToJsonb(pushJsonbValue(&json, WJB_END_OBJECT, NULL));
	journal_write(&act);
}

void
run_tell_ended(Child *run, const char *state)
{
	int64		run_id = child_int64(run, RUN_RUN_ID);
	Jsonb	   *options = run_jsonb(run, RUN_OPTIONS);
	char	   *channel = run_options_notify(options);

	run_ended_at_commit(run_id);
	if (strcmp(state, "failed") == 0 || strcmp(state, "dead") == 0)
		tell_failed(run, state);
	if (channel)
		Async_Notify(channel, psprintf("{\"run_id\": %lld, \"state\": \"%s\"}", (long long) run_id, state));
}

void
run_cancel(Child *run, const UserHome *home, Jsonb *error)
{
	static const int columns[6] = {RUN_STATE, RUN_FINISHED_AT, RUN_LEASE_TOKEN, RUN_LEASE_UNTIL, RUN_BLOCKERS, RUN_ERROR};
	Datum		values[6] = {CStringGetTextDatum("cancelled"), TimestampTzGetDatum(clock_now()), 0, 0, Int32GetDatum(0),
	PointerGetDatum(error)};
	bool		nulls[6] = {false, false, true, true, false, error == NULL};
	int64		run_id = child_int64(run, RUN_RUN_ID);

	if (child_text_is(run, RUN_STATE, "running"))
	{
		AttemptEnd	end = {.outcome = "cancelled",.error = error};

		attempt_record(run, home, &end);
		stops_forget(run);
		run_revoke(run);
		queue_ended_at_commit(run_id, run_cost(run));
	}
	else if (child_text_is(run, RUN_STATE, "ready"))
	{
		PinnedLane	pinned;
		ReadyRun	ready;

		run_describe(run, &pinned, &ready);
		queue_gone_at_commit(&pinned.name, run_id);
	}
	child_update(run, 6, columns, values, nulls);
	run_tell_ended(run, "cancelled");
}

/* ---- cancel ---- */

void
run_report_state(Child *run, int64 run_id, const char *must)
{
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_WRONG_STATE),
			 errmsg("run %lld %s", (long long) run_id, must),
			 errdetail("Its state is \"%s\".", run_text(run, RUN_STATE))));
}

Child *
run_lock_own(RunTables *tables, int64 run_id, UserHome *home)
{
	Child	   *run = run_lock(tables, run_id, true, home, NULL);

	if (run == NULL)
		run_report_unknown(run_id);
	run_require_customer(home, run_id);
	return run;
}

PG_FUNCTION_INFO_V1(taskex_cancel_run);

/* cancel_run(run_id) -> boolean */
Datum
taskex_cancel_run(PG_FUNCTION_ARGS)
{
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	int64		run_id;
	bool		followed;
	bool		isnull;
	bool		done;
	bool		whole;

	require_arg(fcinfo, 0, "run_id");
	PreventCommandIfReadOnly("cancel_run()");
	run_id = PG_GETARG_INT64(0);
	wait_point("cancel_run");
	run_tables_begin(&tables);
	run = run_lock_own(&tables, run_id, &home);
	done = !child_text_is(run, RUN_STATE, "cancelled");
	if (done && !run_is_null(run, RUN_FINISHED_AT))
		run_report_state(run, run_id, "has ended");
	followed = done && DatumGetBool(slot_getattr(run->slot, RUN_FOLLOWED, &isnull));
	if (done)
	{
		if (child_int32(run, RUN_BLOCKERS) > 0)
			links_forget(&home, run_id);
		run_cancel(run, &home, NULL);
	}
	whole = done && split_is_open(run);
	run_tables_end(&tables);
	if (whole)
		split_steer(run_id, home.user_id, "cancel", -1);
	if (followed)
		links_settle(&home, run_id, false);
	PG_RETURN_BOOL(done);
}

/* ---- again ---- */

static bool
requeue(Child *run, const UserHome *home, int32 attempts)
{
	static const int columns[5] = {RUN_STATE, RUN_MAX_ATTEMPTS, RUN_FINISHED_AT, RUN_DEADLINE, RUN_RUN_AT};
	bool		whole = split_is_open(run);
	Datum		values[5] = {CStringGetTextDatum(whole ? "blocked" : "ready"), Int32GetDatum(child_int32(run, RUN_ATTEMPTS) + attempts), 0,
	0, 0};
	bool		nulls[5] = {false, false, true, run_is_null(run, RUN_DEADLINE), true};
	TimestampTz now = clock_now();
	Datum		open[2] = {Int32GetDatum(home->partition), Int64GetDatum(child_int64(run, RUN_RUN_ID))};
	SpiScope	scope;

	if (!child_text_is(run, RUN_STATE, "failed") && !child_text_is(run, RUN_STATE, "dead"))
		return false;
	environment_require_customer(environment_by_id(child_int32(run, RUN_ENVIRONMENT_ID)), home->user_id);

	/* its deadline is as far away as it was */
	if (!nulls[3])
		values[3] = TimestampTzGetDatum(now + Max(child_int64(run, RUN_DEADLINE) - child_int64(run, RUN_SUBMITTED_AT), 0));
	child_update(run, 5, columns, values, nulls);
	if (!whole)
		run_make_ready(run);
	spi_begin(&scope);
	spi_run(&insert_open, 0, open, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
	return true;
}

PG_FUNCTION_INFO_V1(taskex_retry_run);

/* retry_run(run_id, attempts) */
Datum
taskex_retry_run(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"run_id", "attempts", NULL};
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	int64		run_id;
	bool		whole;

	require_args(fcinfo, names);
	PreventCommandIfReadOnly("retry_run()");
	run_id = PG_GETARG_INT64(0);
	if (PG_GETARG_INT32(1) < 1 || PG_GETARG_INT32(1) > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("attempts must be between 1 and 1000")));
	run_tables_begin(&tables);
	run = run_lock_own(&tables, run_id, &home);
	if (!requeue(run, &home, PG_GETARG_INT32(1)))
		run_report_state(run, run_id, "is not a dead letter");
	whole = split_is_open(run);
	run_tables_end(&tables);
	if (whole)
		split_again(run_id, home.user_id, PG_GETARG_INT32(1));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(taskex_requeue_run);

/* _taskex.requeue_run(run_id, attempts) -> boolean */
Datum
taskex_requeue_run(PG_FUNCTION_ARGS)
{
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	bool		done;
	bool		whole;

	run_tables_begin(&tables);
	run = run_lock(&tables, PG_GETARG_INT64(0), true, &home, NULL);
	done = run != NULL && requeue(run, &home, PG_GETARG_INT32(1));
	whole = done && split_is_open(run);
	run_tables_end(&tables);
	if (whole)
		split_again(PG_GETARG_INT64(0), home.user_id, PG_GETARG_INT32(1));
	PG_RETURN_BOOL(done);
}

/* ---- status and result ---- */

static Child *
read_own(RunTables *tables, int64 run_id, UserHome *home)
{
	Child	   *run = run_read(tables, run_id, home);

	if (run == NULL)
		run_report_unknown(run_id);
	run_require_customer(home, run_id);
	return run;
}

const char *
run_shown_state(Child *run)
{
	char	   *state = run_text(run, RUN_STATE);

	if (strcmp(state, "blocked") == 0 || strcmp(state, "delayed") == 0 || strcmp(state, "ready") == 0)
		return "waiting";
	return state;
}

PG_FUNCTION_INFO_V1(taskex_run_status);

/* run_status(run_id) -> record */
Datum
taskex_run_status(PG_FUNCTION_ARGS)
{
	static const int columns[12] = {RUN_STATE, RUN_ATTEMPTS, RUN_MAX_ATTEMPTS, RUN_PRIORITY, RUN_WORKER, RUN_SUBMITTED_AT,
	RUN_RUN_AT, RUN_STARTED_AT, RUN_LEASE_UNTIL, RUN_FINISHED_AT, RUN_PROGRESS, RUN_ERROR};
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	TupleDesc	desc;
	Datum		values[12];
	bool		nulls[12];
	HeapTuple	tuple;

	require_arg(fcinfo, 0, "run_id");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	run_tables_begin(&tables);
	run = read_own(&tables, PG_GETARG_INT64(0), &home);
	for (int i = 0; i < 12; i++)
		values[i] = slot_getattr(run->slot, columns[i], &nulls[i]);
	values[0] = CStringGetTextDatum(run_shown_state(run));
	tuple = heap_form_tuple(BlessTupleDesc(desc), values, nulls);
	run_tables_end(&tables);
	PG_RETURN_DATUM(HeapTupleGetDatum(tuple));
}

/* the result, if the run has ended; false: it has not */
bool
run_read_result(int64 run_id, Jsonb **result)
{
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	bool		ended;

	run_tables_begin(&tables);
	run = read_own(&tables, run_id, &home);
	ended = !run_is_null(run, RUN_FINISHED_AT);
	*result = ended ? run_jsonb(run, RUN_RESULT) : NULL;
	if (ended && !child_text_is(run, RUN_STATE, "succeeded"))
	{
		Jsonb	   *error = run_jsonb(run, RUN_ERROR);
		JsonbValue	message;

		if (!(error && json_field(error, "message", &message) && message.type == jbvString))
			message.type = jbvNull;
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_RUN_FAILED),
				 errmsg("run %lld has no result", (long long) run_id),
				 message.type == jbvString ?
				 errdetail("Its state is \"%s\": %.*s", run_text(run, RUN_STATE), Min(message.val.string.len, 1000), message.val.string.val) :
				 errdetail("Its state is \"%s\".", run_text(run, RUN_STATE)),
				 errhint("The view taskex.run_attempts tells what happened.")));
	}
	run_tables_end(&tables);
	return ended;
}

PG_FUNCTION_INFO_V1(taskex_run_result);

/* run_result(run_id) -> jsonb */
Datum
taskex_run_result(PG_FUNCTION_ARGS)
{
	Jsonb	   *result;

	require_arg(fcinfo, 0, "run_id");
	(void) run_read_result(PG_GETARG_INT64(0), &result);
	if (result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(result);
}

typedef struct ResultLook
{
	int64		run_id;
	Jsonb	   *result;
} ResultLook;

static bool
look_for_result(void *arg)
{
	ResultLook *look = arg;

	return run_read_result(look->run_id, &look->result);
}

/* nobody can end one before this transaction is over that has submitted it, or changed it */
static void
require_committed(int64 run_id)
{
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	bool		isnull;
	bool		own;

	run_tables_begin(&tables);
	run = run_read(&tables, run_id, &home);
	own = run && TransactionIdIsCurrentTransactionId(DatumGetTransactionId(slot_getsysattr(run->slot, MinTransactionIdAttributeNumber, &isnull)));
	run_tables_end(&tables);
	if (own)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_WRONG_STATE),
				 errmsg("run %lld cannot end while this transaction is open", (long long) run_id),
				 errdetail("The transaction has submitted or changed it, which nobody sees before it has committed."),
				 errhint("Commit, and wait for the run in a transaction of its own.")));
}

PG_FUNCTION_INFO_V1(taskex_wait_for_run);

/* wait_for_run(run_id, timeout) -> jsonb */
Datum
taskex_wait_for_run(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"run_id", "timeout", NULL};
	ResultLook	look = {0, NULL};
	int64		us;

	require_args(fcinfo, names);
	us = check_duration(PG_GETARG_INTERVAL_P(1), "timeout", 0, INT64CONST(3600) * USECS_PER_SEC);
	look.run_id = PG_GETARG_INT64(0);
	shmem_require();
	if (!look_for_result(&look) && us > 0)
	{
		require_committed(look.run_id);
		(void) run_wait(look.run_id, GetCurrentTimestamp() + us, look_for_result, &look);
	}
	if (look.result == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(look.result);
}

/* ---- limits ---- */

PG_FUNCTION_INFO_V1(taskex_key_hash);

/* _taskex.key_hash(key) -> bigint */
Datum
taskex_key_hash(PG_FUNCTION_ARGS)
{
	text	   *key = PG_GETARG_TEXT_PP(0);

	PG_RETURN_INT64((int64) run_key_hash(VARDATA_ANY(key), VARSIZE_ANY_EXHDR(key)));
}

PG_FUNCTION_INFO_V1(taskex_limits_changed);

/* _taskex.limits_changed(customer_id, key) */
Datum
taskex_limits_changed(PG_FUNCTION_ARGS)
{
	uint64		hash = 0;
	Datum		values[2];
	RunLimits	limits = {PG_INT32_MAX};
	SpiScope	scope;
	bool		isnull;

	if (!PG_ARGISNULL(1))
		hash = run_key_hash(VARDATA_ANY(PG_GETARG_TEXT_PP(1)), VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(1)));
	values[0] = PG_GETARG_DATUM(0);
	values[1] = Int64GetDatum((int64) hash);
	spi_begin(&scope);
	if (spi_run(&select_limits, 0, values, NULL, SPI_VIEW_CURRENT, 1) == 1)
	{
		Datum		max_running = spi_value(0, 1, &isnull);

		if (!isnull)
			limits.max_running = DatumGetInt32(max_running);
		limits.rate = spi_int32(0, 2);
		limits.rate_us = spi_int64(0, 3);
		limits.paused = DatumGetBool(spi_value(0, 4, &isnull));
	}
	spi_end(&scope);
	queue_limits_at_commit(PG_GETARG_INT64(0), hash, &limits);
	PG_RETURN_VOID();
}
