/*
 * finish.c
 *	  What the holder of a run's lease does: complete, fail, release, prolong.
 */
#include "postgres.h"

#include "workload/run.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "infra/ids.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/xact.h"
#include "workload/environment.h"
#include "workload/options.h"
#include "workload/suspend.h"
#include "workload/take.h"
#include "workload/usage.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define COMPLETE_MAX 10000

static Statement insert_attempt = {
	"INSERT INTO _taskex.run_attempt_%p (partition_id, attempt, run_id, customer_id, started_at, finished_at, version, outcome, worker,"
	" error, measured, output) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
	12, {INT4OID, INT4OID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, TEXTOID, TEXTOID, JSONBOID, JSONBOID, TEXTOID}
};

/* ---- the lease ---- */

/* may who has the token change the run? */
static bool
is_held(Child *run, int64 token, TimestampTz now)
{
	return child_text_is(run, RUN_STATE, "running") && child_int64(run, RUN_LEASE_TOKEN) == token &&
		child_int64(run, RUN_LEASE_UNTIL) > now;
}

Child *
run_lock_held(RunTables *tables, int64 run_id, int64 token, UserHome *home, TimestampTz now)
{
	Child	   *run = run_lock(tables, run_id, true, home, NULL);

	if (run == NULL)
		run_report_unknown(run_id);
	environment_require_worker(environment_by_id(child_int32(run, RUN_ENVIRONMENT_ID)));
	if (is_held(run, token, now))
		return run;
	if (child_text_is(run, RUN_STATE, "cancelled") || child_text_is(run, RUN_STATE, "succeeded"))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_WRONG_STATE),
				 errmsg("run %lld is not running", (long long) run_id),
				 errdetail("Its state is \"%s\".", run_text(run, RUN_STATE))));
	if (!child_text_is(run, RUN_STATE, "running") || child_int64(run, RUN_LEASE_TOKEN) != token)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_STALE_TOKEN),
				 errmsg("the lease token for run %lld is not valid", (long long) run_id),
				 errdetail("The lease has ended, or it never was one.")));
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_LEASE_EXPIRED),
			 errmsg("the lease on run %lld has expired", (long long) run_id),
			 errdetail("It ended at %s.", timestamptz_to_str(child_int64(run, RUN_LEASE_UNTIL))),
			 errhint("taskex.heartbeat_run() makes a lease longer before it ends.")));
	return NULL;				/* keep the compiler quiet */
}

double
run_cost(Child *run)
{
	return Max((clock_now() - child_int64(run, RUN_STARTED_AT)) / 1000000.0, 0.0001);
}

/* of one that an executor took with others, only the time that was its own */
static double
cost_of(Child *run, const RunUsage *usage)
{
	return usage && usage->wall_us >= 0 ? Max(usage->wall_us / 1000000.0, 0.0001) : run_cost(run);
}

/* ---- success ---- */

typedef struct Finished
{
	int64		run_id;
	int64		token;
	Datum		result;
	bool		no_result;
	bool		followed;
	UserHome	home;
	AttemptFacts facts;
	RunUsage	usage;
} Finished;

/* false: the run was not locked, and is not what it was any more */
static bool
store_success(Child *run, bool locked, TimestampTz now, Datum result, bool no_result, const RunUsage *usage,
			  const char *output)
{
	static const int columns[8] = {RUN_STATE, RUN_FINISHED_AT, RUN_LEASE_TOKEN, RUN_LEASE_UNTIL, RUN_RESULT, RUN_ERROR,
	RUN_MEASURED, RUN_OUTPUT};
	Jsonb	   *measured = usage_measured(usage);
	Datum		values[8] = {CStringGetTextDatum("succeeded"), TimestampTzGetDatum(now), 0, 0, result, 0,
	PointerGetDatum(measured), output ? CStringGetTextDatum(output) : 0};
	bool		nulls[8] = {false, false, true, true, no_result, true, measured == NULL, output == NULL};
	int			count = output ? 8 : measured || !run_is_null(run, RUN_MEASURED) ? 7 : 6;

	if (!locked)
		return child_try_update(run, count, columns, values, nulls);
	child_update(run, count, columns, values, nulls);
	return true;
}

/* what follows from it; true: others come after it */
static bool
tell_success(Child *run, const RunUsage *usage)
{
	bool		isnull;

	queue_ended_at_commit(child_int64(run, RUN_RUN_ID), cost_of(run, usage));
	stops_forget(run);
	run_tell_ended(run, "succeeded");
	return DatumGetBool(slot_getattr(run->slot, RUN_FOLLOWED, &isnull));
}

void
attempt_succeed(RunTables *tables, Child *run, const UserHome *home, Datum result, bool no_result, const RunUsage *usage,
				const char *output)
{
	TimestampTz now = clock_now();
	int64		run_id = child_int64(run, RUN_RUN_ID);
	bool		followed;
	AttemptFacts facts;
	RunUsage	own;
	RunSaid		said;

	if (run_holder && run_holder->said(run_id, &said))
	{
		if (said.yield == YIELD_AT_END)
		{
			AttemptEnd	end = {.outcome = "suspended",.usage = usage,.output = output,.state = said.state};

			run_note(run, said.progress, NULL, 0);
			(void) attempt_suspend(run, home, &end);
			return;
		}

		/* of what was said last the conductor may not have written anything */
		run_note(run, said.progress, said.state, 0);
	}
	(void) store_success(run, true, now, result, no_result, usage, output);
	followed = tell_success(run, usage);
	usage_facts(&facts, &own, run, home, now, "succeeded", usage);
	usage_ended(&facts, 1);
	if (followed)
		links_settle(home, run_id, true);
}

static bool
try_success(Child *run, const Finished *finished, TimestampTz now)
{
	wait_point("completing");
	return store_success(run, false, now, finished->result, finished->no_result, NULL, NULL);
}

static void
complete(RunTables *tables, Finished *finished, TimestampTz now)
{
	Child	   *run;

	wait_point("complete");

	/* nearly always nobody else is at it: then no lock is needed besides the update's own */
	run = run_find(tables, finished->run_id, &finished->home);
	if (run == NULL || !is_held(run, finished->token, now) ||
		!environment_has_worker(environment_by_id(child_int32(run, RUN_ENVIRONMENT_ID))) ||
		!try_success(run, finished, now))
	{
		run = run_lock_held(tables, finished->run_id, finished->token, &finished->home, now);
		(void) store_success(run, true, now, finished->result, finished->no_result, NULL, NULL);
	}
	finished->followed = tell_success(run, NULL);
	usage_facts(&finished->facts, &finished->usage, run, &finished->home, now, "succeeded", NULL);
}

/* all of a call */
static void
complete_all(Finished *finished, int count, TimestampTz now)
{
	AttemptFacts *facts = palloc(sizeof(AttemptFacts) * Max(count, 1));
	RunTables	tables;

	run_tables_begin_seen(&tables);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		complete(&tables, &finished[i], now);
		facts[i] = finished[i].facts;
	}
	run_tables_end(&tables);
	usage_ended(facts, count);
	for (int i = 0; i < count; i++)
		if (finished[i].followed)
			links_settle(&finished[i].home, finished[i].run_id, true);
}

PG_FUNCTION_INFO_V1(taskex_complete_run);

/* complete_run(run_id, lease_token, result) */
Datum
taskex_complete_run(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"run_id", "lease_token", NULL};
	Finished	finished = {0};

	require_args(fcinfo, names);
	PreventCommandIfReadOnly("complete_run()");
	finished.run_id = PG_GETARG_INT64(0);
	finished.token = PG_GETARG_INT64(1);
	finished.no_result = PG_ARGISNULL(2);
	if (!finished.no_result)
	{
		check_json_size(PG_GETARG_DATUM(2), "result");
		finished.result = PG_GETARG_DATUM(2);
	}
	complete_all(&finished, 1, clock_now());
	PG_RETURN_VOID();
}

/* an element of the arrays */
typedef struct Element
{
	int64		run_id;
	int			index;
} Element;

static int
compare_elements(const void *a, const void *b)
{
	return ids_compare(&((const Element *) a)->run_id, &((const Element *) b)->run_id);
}

static Finished *
read_finished(FunctionCallInfo fcinfo, int *count)
{
	Datum	   *ids;
	Datum	   *tokens;
	Datum	   *results = NULL;
	bool	   *id_nulls;
	bool	   *token_nulls;
	bool	   *result_nulls = NULL;
	int			token_count;
	int			result_count;
	Finished   *finished;
	Element    *order;

	for (int i = 0; i < 3; i++)
		if (!PG_ARGISNULL(i) && ARR_NDIM(PG_GETARG_ARRAYTYPE_P(i)) > 1)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("run_ids, lease_tokens and results must be one-dimensional arrays")));
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), INT8OID, 8, true, TYPALIGN_DOUBLE, &ids, &id_nulls, count);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), INT8OID, 8, true, TYPALIGN_DOUBLE, &tokens, &token_nulls, &token_count);
	result_count = *count;
	if (!PG_ARGISNULL(2))
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), JSONBOID, -1, false, TYPALIGN_INT, &results, &result_nulls, &result_count);
	if (*count != token_count || *count != result_count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("run_ids, lease_tokens and results must have the same length")));
	if (*count > COMPLETE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many runs: %d", *count),
				 errhint("Complete at most %d runs with one call.", COMPLETE_MAX)));
	finished = palloc0(sizeof(Finished) * Max(*count, 1));
	order = palloc(sizeof(Element) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		if (id_nulls[i] || token_nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("run_ids and lease_tokens must not contain nulls"),
					 errdetail("Element %d is null.", i + 1)));
		order[i] = (Element) {DatumGetInt64(ids[i]), i};
		if (results && !result_nulls[i])
			check_json_size(results[i], "result");
	}

	/* rows are locked in the order of their ids, as by everybody else */
	qsort(order, *count, sizeof(Element), compare_elements);
	for (int i = 0; i < *count; i++)
	{
		int			at = order[i].index;

		if (i > 0 && order[i].run_id == order[i - 1].run_id)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("run_ids names run %lld twice", (long long) order[i].run_id)));
		finished[i].run_id = order[i].run_id;
		finished[i].token = DatumGetInt64(tokens[at]);
		finished[i].no_result = results == NULL || result_nulls[at];
		if (!finished[i].no_result)
			finished[i].result = results[at];
	}
	pfree(order);
	return finished;
}

PG_FUNCTION_INFO_V1(taskex_complete_runs);

/* complete_runs(run_ids, lease_tokens, results) -> int */
Datum
taskex_complete_runs(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"run_ids", "lease_tokens", NULL};
	Finished   *finished;
	TimestampTz now = clock_now();
	int			count;

	require_args(fcinfo, names);
	PreventCommandIfReadOnly("complete_runs()");
	finished = read_finished(fcinfo, &count);
	complete_all(finished, count, now);
	PG_RETURN_INT32(count);
}

/* ---- attempts that do not succeed ---- */

static void
record(Child *run, const AttemptEnd *end, Jsonb *measured, TimestampTz now)
{
	bool		isnull;
	int32		partition = child_int32(run, RUN_PARTITION_ID);
	Datum		values[12] = {Int32GetDatum(partition), Int32GetDatum(child_int32(run, RUN_ATTEMPTS)),
		Int64GetDatum(child_int64(run, RUN_RUN_ID)), Int64GetDatum(child_int64(run, RUN_CUSTOMER_ID)),
		slot_getattr(run->slot, RUN_STARTED_AT, &isnull), TimestampTzGetDatum(now),
		slot_getattr(run->slot, RUN_VERSION, &isnull), CStringGetTextDatum(end->outcome),
	slot_getattr(run->slot, RUN_WORKER, &isnull), PointerGetDatum(end->error), PointerGetDatum(measured),
	end->output ? CStringGetTextDatum(end->output) : 0};
	char		nulls[12] = {' ', ' ', ' ', ' ', ' ', ' ', run_is_null(run, RUN_VERSION) ? 'n' : ' ', ' ', ' ',
	end->error ? ' ' : 'n', measured ? ' ' : 'n', end->output ? ' ' : 'n'};
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&insert_attempt, partition, values, nulls, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

void
attempt_record(Child *run, const UserHome *home, const AttemptEnd *end)
{
	TimestampTz now = clock_now();
	AttemptFacts facts;
	RunUsage	own;

	record(run, end, usage_measured(end->usage), now);
	usage_facts(&facts, &own, run, home, now, end->outcome, end->usage);
	usage_ended(&facts, 1);
}

/* SQLSTATE of an error, or NULL */
static char *
sqlstate_of(Jsonb *error)
{
	JsonbValue	value;

	if (error == NULL || !json_field(error, "sqlstate", &value) || value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

static const char *
end_attempt(Child *run, const UserHome *home, const AttemptEnd *end)
{
	static const int columns[9] = {RUN_STATE, RUN_FINISHED_AT, RUN_LEASE_TOKEN, RUN_LEASE_UNTIL, RUN_RUN_AT, RUN_ERROR,
	RUN_MEASURED, RUN_ASKED, RUN_STATE_DATA};
	TimestampTz now = clock_now();
	Jsonb	   *measured = usage_measured(end->usage);
	int64		run_id = child_int64(run, RUN_RUN_ID);
	int32		attempt = child_int32(run, RUN_ATTEMPTS);
	Jsonb	   *options = run_jsonb(run, RUN_OPTIONS);
	bool		again = end->retry && run_options_retryable(options, sqlstate_of(end->error));
	bool		left = attempt < child_int32(run, RUN_MAX_ATTEMPTS);
	int64		wait = again && left ? run_options_backoff(options, attempt - run_suspensions(run)) : 0;
	double		cost = cost_of(run, end->usage);
	bool		hold = run_is(run, RUN_ASKED, ASK_SUSPEND);
	const char *state = !left ? "dead" : !again ? "failed" : hold ? "suspended" : wait > 0 ? "delayed" : "ready";
	Datum		values[9] = {CStringGetTextDatum(state), TimestampTzGetDatum(now), 0, 0, TimestampTzGetDatum(now + wait),
	PointerGetDatum(end->error), PointerGetDatum(measured), 0, PointerGetDatum(end->state)};
	bool		nulls[9] = {false, again && left, true, true, wait == 0, end->error == NULL, measured == NULL, true, false};

	attempt_record(run, home, end);
	stops_forget(run);
	child_update(run, end->state ? 9 : 8, columns, values, nulls);
	if (strcmp(state, "ready") == 0)
	{
		PinnedLane	pinned;
		ReadyRun	ready;

		run_describe(run, &pinned, &ready);
		queue_pin(&pinned);
		queue_again_at_commit(&pinned, &ready, cost);
		return state;
	}
	queue_ended_at_commit(run_id, cost);
	if (strcmp(state, "suspended") == 0)
		return state;
	if (wait > 0)
		run_make_ready_at(run, home, now + wait);
	else
		run_tell_ended(run, state);
	return state;
}

const char *
attempt_end(Child *run, const UserHome *home, const AttemptEnd *end)
{
	AttemptEnd	whole = *end;
	RunSaid		said;

	/* what its code has said of it outlives the attempt */
	if (run_holder && run_holder->said(child_int64(run, RUN_RUN_ID), &said))
	{
		if (whole.state == NULL)
			whole.state = said.state;
		run_note(run, said.progress, NULL, 0);
		if (said.yield == YIELD_BY_ERROR && strcmp(whole.outcome, "failed") == 0)
		{
			whole.outcome = "suspended";
			whole.error = NULL;
			return attempt_suspend(run, home, &whole);
		}
	}
	return end_attempt(run, home, &whole);
}

PG_FUNCTION_INFO_V1(taskex_fail_run);

/* fail_run(run_id, lease_token, error, retry) -> text */
Datum
taskex_fail_run(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"run_id", "lease_token", "error", "retry", NULL};
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	AttemptEnd	end = {.outcome = "failed"};
	const char *state;

	require_args(fcinfo, names);
	PreventCommandIfReadOnly("fail_run()");
	check_json_size(PG_GETARG_DATUM(2), "error");
	end.error = PG_GETARG_JSONB_P(2);
	if (!JB_ROOT_IS_OBJECT(end.error))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("error must be a JSON object")));
	end.retry = PG_GETARG_BOOL(3);
	wait_point("fail");
	run_tables_begin(&tables);
	run = run_lock_held(&tables, PG_GETARG_INT64(0), PG_GETARG_INT64(1), &home, clock_now());
	state = attempt_end(run, &home, &end);
	run_tables_end(&tables);
	if (strcmp(state, "delayed") == 0 || strcmp(state, "ready") == 0)
		state = "waiting";
	PG_RETURN_TEXT_P(cstring_to_text(state));
}

void
attempt_release(Child *run, double cost)
{
	static const int columns[5] = {RUN_STATE, RUN_ATTEMPTS, RUN_LEASE_TOKEN, RUN_LEASE_UNTIL, RUN_ASKED};
	bool		hold = run_is(run, RUN_ASKED, ASK_SUSPEND);
	Datum		values[5] = {CStringGetTextDatum(hold ? "suspended" : "ready"), Int32GetDatum(child_int32(run, RUN_ATTEMPTS) - 1)};
	bool		nulls[5] = {false, false, true, true, true};
	PinnedLane	pinned;
	ReadyRun	ready;

	queue_unstarted_at_commit(child_int64(run, RUN_RUN_ID));
	if (hold)
		queue_ended_at_commit(child_int64(run, RUN_RUN_ID), cost);
	else
	{
		run_describe(run, &pinned, &ready);
		queue_pin(&pinned);
		queue_again_at_commit(&pinned, &ready, cost);
	}
	stops_forget(run);
	child_update(run, 5, columns, values, nulls);
}

PG_FUNCTION_INFO_V1(taskex_release_run);

/* release_run(run_id, lease_token) */
Datum
taskex_release_run(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"run_id", "lease_token", NULL};
	RunTables	tables;
	UserHome	home;
	Child	   *run;

	require_args(fcinfo, names);
	PreventCommandIfReadOnly("release_run()");
	run_tables_begin(&tables);
	run = run_lock_held(&tables, PG_GETARG_INT64(0), PG_GETARG_INT64(1), &home, clock_now());
	attempt_release(run, run_cost(run));
	run_tables_end(&tables);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(taskex_heartbeat_run);

/* heartbeat_run(run_id, lease_token, lease, progress, state) -> timestamptz */
Datum
taskex_heartbeat_run(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"run_id", "lease_token", "lease", NULL};
	bool		progress = !PG_ARGISNULL(3);
	bool		state = !PG_ARGISNULL(4);
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	TimestampTz now = clock_now();
	TimestampTz until;

	require_args(fcinfo, names);
	PreventCommandIfReadOnly("heartbeat_run()");
	until = now + check_duration(PG_GETARG_INTERVAL_P(2), "lease", USECS_PER_SEC, 7 * USECS_PER_DAY);
	if (progress)
		check_json_size(PG_GETARG_DATUM(3), "progress");
	if (state)
		check_json_size(PG_GETARG_DATUM(4), "state");

	/* the worst that a crash does is that the lease ends when it did before; a checkpoint is to last */
	if (!state)
		xact_async_begin();
	run_tables_begin(&tables);
	run = run_lock_held(&tables, PG_GETARG_INT64(0), PG_GETARG_INT64(1), &home, now);
	if (state && !run_is_null(run, RUN_ASKED))
	{
		run_note(run, progress ? PG_GETARG_JSONB_P(3) : NULL, NULL, 0);
		attempt_yield(run, &home, PG_GETARG_JSONB_P(4));
		until = DT_NOBEGIN;
	}
	else
	{
		run_note(run, progress ? PG_GETARG_JSONB_P(3) : NULL, state ? PG_GETARG_JSONB_P(4) : NULL, until);
		queue_lease_at_commit(PG_GETARG_INT64(0), until);
	}
	run_tables_end(&tables);
	if (!state)
		xact_async_end();
	PG_RETURN_TIMESTAMPTZ(until);
}
