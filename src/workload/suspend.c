/*
 * suspend.c
 *	  Runs are suspended and resumed, give way, and are stopped when they do not.
 *
 * A run that waits is suspended at once.  One that is running is asked: its row
 * says so (column asked), and run_stop when its time to obey is over.  It obeys
 * at its next checkpoint, or when it gives way by itself (yield_run).
 */
#include "postgres.h"

#include "workload/suspend.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/worker.h"
#include "workload/environment.h"
#include "workload/options.h"
#include "workload/split.h"
#include "workload/take.h"

#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define STOP_AFTER_MAX (INT64CONST(366) * USECS_PER_DAY)
#define STOPS 100

/* attempts that gave way whose rows are kept, the last ones */
#define YIELDS_KEPT 100

static Statement insert_stop = {
	"INSERT INTO _taskex.run_stop AS s (run_id, force_at) VALUES ($1, $2)"
	" ON CONFLICT (run_id) DO UPDATE SET force_at = least(s.force_at, excluded.force_at)",
	2, {INT8OID, TIMESTAMPTZOID}
};

static Statement delete_stop = {
	"DELETE FROM _taskex.run_stop WHERE run_id = $1",
	1, {INT8OID}
};

static Statement select_stops = {
	"SELECT run_id FROM _taskex.run_stop WHERE force_at <= $1 ORDER BY run_id LIMIT 100",
	1, {TIMESTAMPTZOID}
};

static Statement sweep = {
	"SELECT count(_taskex.sweep_runs()) FROM (SELECT FROM _taskex.run_sweep LIMIT 1) s",
	0, {InvalidOid}
};

static Statement delete_yield = {
	"DELETE FROM _taskex.run_attempt_%p WHERE run_id = $1 AND attempt = $2 AND outcome = 'suspended' AND error IS NULL",
	2, {INT8OID, INT4OID}
};

static Statement insert_held = {
	"INSERT INTO _taskex.run_held (run_id, program_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
	2, {INT8OID, INT8OID}
};

static Statement delete_held = {
	"DELETE FROM _taskex.run_held WHERE run_id = $1",
	1, {INT8OID}
};

static void
run_statement(Statement *statement, Datum first, Datum second)
{
	Datum		values[2] = {first, second};
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(statement, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

/* ---- a run that is running ---- */

/*
 * One that gives way again and again leaves no row each time for ever: of the times
 * that it was suspended in order the last are kept.  Each was metered when it ended.
 */
static void
forget_yield(Child *run, const UserHome *home)
{
	Datum		values[2] = {Int64GetDatum(child_int64(run, RUN_RUN_ID)),
	Int32GetDatum(child_int32(run, RUN_ATTEMPTS) - YIELDS_KEPT)};
	SpiScope	scope;

	if (run_suspensions(run) < YIELDS_KEPT)
		return;
	spi_begin(&scope);
	spi_run(&delete_yield, home->partition, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

const char *
attempt_suspend(Child *run, const UserHome *home, const AttemptEnd *end)
{
	static const int columns[7] = {RUN_STATE, RUN_LEASE_TOKEN, RUN_LEASE_UNTIL, RUN_MAX_ATTEMPTS, RUN_SUSPENSIONS, RUN_ASKED,
	RUN_STATE_DATA};
	int64		run_id = child_int64(run, RUN_RUN_ID);
	bool		hold = run_is(run, RUN_ASKED, ASK_SUSPEND);
	const char *state = hold ? "suspended" : "ready";
	double		cost = run_cost(run);
	Datum		values[7] = {CStringGetTextDatum(state), 0, 0, Int32GetDatum(child_int32(run, RUN_MAX_ATTEMPTS) + 1),
	Int32GetDatum(run_suspensions(run) + 1), 0, PointerGetDatum(end->state)};
	bool		nulls[7] = {false, true, true, false, false, true, false};

	stops_forget(run);
	attempt_record(run, home, end);
	forget_yield(run, home);
	child_update(run, end->state ? 7 : 6, columns, values, nulls);
	if (hold)
		queue_ended_at_commit(run_id, cost);
	else
	{
		PinnedLane	pinned;
		ReadyRun	ready;

		run_describe(run, &pinned, &ready);
		queue_pin(&pinned);
		queue_again_at_commit(&pinned, &ready, cost);
	}
	return state;
}

const char *
attempt_yield(Child *run, const UserHome *home, Jsonb *state)
{
	AttemptEnd	end = {.outcome = "suspended",.state = state};

	return attempt_suspend(run, home, &end);
}

void
stops_forget(Child *run)
{
	if (!run_is_null(run, RUN_ASKED))
		run_statement(&delete_stop, Int64GetDatum(child_int64(run, RUN_RUN_ID)), 0);
}

void
run_note(Child *run, Jsonb *progress, Jsonb *state, TimestampTz lease_until)
{
	int			columns[3];
	Datum		values[3];
	bool		nulls[3] = {false};
	int			n = 0;

	if (progress)
	{
		columns[n] = RUN_PROGRESS;
		values[n++] = JsonbPGetDatum(progress);
	}
	if (state)
	{
		columns[n] = RUN_STATE_DATA;
		values[n++] = JsonbPGetDatum(state);
	}
	if (lease_until != 0)
	{
		columns[n] = RUN_LEASE_UNTIL;
		values[n++] = TimestampTzGetDatum(lease_until);
	}
	if (n > 0)
		child_update(run, n, columns, values, nulls);
}

int32
run_suspensions(Child *run)
{
	return run_is_null(run, RUN_SUSPENSIONS) ? 0 : child_int32(run, RUN_SUSPENSIONS);
}

/* force_us 0: at once; -1: never by force */
static const char *
ask(Child *run, const UserHome *home, const char *what, int64 force_us)
{
	static const int columns[1] = {RUN_ASKED};
	Datum		value = CStringGetTextDatum(what);
	bool		isnull = false;
	int64		run_id = child_int64(run, RUN_RUN_ID);

	/* who is to be suspended is not to be ready again instead */
	if (!run_is(run, RUN_ASKED, ASK_SUSPEND) && !run_is(run, RUN_ASKED, what))
		child_update(run, 1, columns, &value, &isnull);
	if (force_us == 0)
	{
		AttemptEnd	end = {.outcome = "suspended",.error = run_error("the run was suspended by force")};

		run_revoke(run);
		return attempt_suspend(run, home, &end);
	}
	if (force_us > 0)
		run_statement(&insert_stop, Int64GetDatum(run_id), TimestampTzGetDatum(clock_now() + force_us));
	return "running";
}

/* ---- a run that waits ---- */

static void
suspend_waiting(Child *run)
{
	static const int columns[1] = {RUN_STATE};
	Datum		value = CStringGetTextDatum("suspended");
	bool		isnull = false;

	if (child_text_is(run, RUN_STATE, "ready"))
	{
		PinnedLane	pinned;
		ReadyRun	ready;

		run_describe(run, &pinned, &ready);
		queue_gone_at_commit(&pinned.name, ready.run_id);
	}
	child_update(run, 1, columns, &value, &isnull);
}

void
run_hold(Child *run)
{
	static const int columns[1] = {RUN_STATE};
	Datum		value = CStringGetTextDatum("suspended");
	bool		isnull = false;

	run_statement(&insert_held, Int64GetDatum(child_int64(run, RUN_RUN_ID)), Int64GetDatum(child_int64(run, RUN_PROGRAM_ID)));
	child_update(run, 1, columns, &value, &isnull);
}

/* the locked run, which is suspended, goes on from where it was */
static const char *
resume(Child *run, const UserHome *home)
{
	static const int columns[1] = {RUN_STATE};
	bool		isnull = false;
	bool		later = !run_is_null(run, RUN_RUN_AT) && child_int64(run, RUN_RUN_AT) > clock_now();
	const char *state = child_int32(run, RUN_BLOCKERS) > 0 || split_is_open(run) ? "blocked" : later ? "delayed" : "ready";
	Datum		value = CStringGetTextDatum(state);

	run_statement(&delete_held, Int64GetDatum(child_int64(run, RUN_RUN_ID)), 0);
	child_update(run, 1, columns, &value, &isnull);
	if (strcmp(state, "delayed") == 0)
		run_make_ready_at(run, home, child_int64(run, RUN_RUN_AT));
	else if (strcmp(state, "ready") == 0)
		run_make_ready(run);
	return "waiting";
}

/* ---- what customers and operators say ---- */

static int64
force_after(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? -1 : check_duration(PG_GETARG_INTERVAL_P(n), "stop_after", 0, STOP_AFTER_MAX);
}

static const char *
suspend(Child *run, const UserHome *home, int64 force_us)
{
	if (child_text_is(run, RUN_STATE, "running"))
		return ask(run, home, ASK_SUSPEND, force_us);
	if (!child_text_is(run, RUN_STATE, "suspended"))
		suspend_waiting(run);
	else
		run_statement(&delete_held, Int64GetDatum(child_int64(run, RUN_RUN_ID)), 0);
	return "suspended";
}

PG_FUNCTION_INFO_V1(taskex_suspend_run);

/* suspend_run(run_id, stop_after) -> text */
Datum
taskex_suspend_run(PG_FUNCTION_ARGS)
{
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	int64		force_us;
	int64		own;
	const char *state;
	bool		whole;

	require_arg(fcinfo, 0, "run_id");
	PreventCommandIfReadOnly("suspend_run()");
	force_us = force_after(fcinfo, 1);
	if (run_holder && run_holder->holding(&own) && own == PG_GETARG_INT64(0))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_WRONG_STATE),
				 errmsg("run %lld cannot suspend itself", (long long) own),
				 errdetail("What its code asks for is undone when it stops."),
				 errhint("taskex.yield_run() gives way, to go on later.")));
	wait_point("suspend_run");
	run_tables_begin(&tables);
	run = run_lock_own(&tables, PG_GETARG_INT64(0), &home);
	if (!run_is_null(run, RUN_FINISHED_AT))
		run_report_state(run, PG_GETARG_INT64(0), "has ended");
	state = suspend(run, &home, force_us);
	whole = split_is_open(run);
	run_tables_end(&tables);
	if (whole)
		split_steer(PG_GETARG_INT64(0), home.user_id, "suspend", force_us);
	PG_RETURN_TEXT_P(cstring_to_text(state));
}

PG_FUNCTION_INFO_V1(taskex_resume_run);

/* resume_run(run_id) -> text */
Datum
taskex_resume_run(PG_FUNCTION_ARGS)
{
	static const int columns[1] = {RUN_ASKED};
	Datum		value = 0;
	bool		isnull = true;
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	const char *state;
	bool		whole;

	require_arg(fcinfo, 0, "run_id");
	PreventCommandIfReadOnly("resume_run()");
	run_tables_begin(&tables);
	run = run_lock_own(&tables, PG_GETARG_INT64(0), &home);
	state = run_shown_state(run);
	if (!run_is_null(run, RUN_FINISHED_AT))
		run_report_state(run, PG_GETARG_INT64(0), "has ended");
	if (child_text_is(run, RUN_STATE, "suspended"))
		state = resume(run, &home);
	else if (child_text_is(run, RUN_STATE, "running") && !run_is_null(run, RUN_ASKED))
	{
		run_statement(&delete_stop, Int64GetDatum(PG_GETARG_INT64(0)), 0);
		child_update(run, 1, columns, &value, &isnull);
	}
	whole = split_is_open(run);
	run_tables_end(&tables);
	if (whole)
		split_steer(PG_GETARG_INT64(0), home.user_id, "resume", -1);
	PG_RETURN_TEXT_P(cstring_to_text(state));
}

/* ---- what workers outside say and ask ---- */

static Statement select_slice = {
	"SELECT limits ->> 'slice' FROM _taskex.environment WHERE environment_id = $1",
	1, {INT4OID}
};

/* how long a run of the environment may run before others have a turn; 0: any time */
static int64
slice_of(int32 environment_id)
{
	Datum		value = Int32GetDatum(environment_id);
	SpiScope	scope;
	int64		us = 0;

	spi_begin(&scope);
	if (spi_run(&select_slice, 0, &value, NULL, SPI_VIEW_CURRENT, 1) == 1)
	{
		char	   *text = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);

		if (text)
			us = interval_us(DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(text),
																   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1))));
	}
	spi_end(&scope);
	return us;
}

static bool
turn_is_over(Child *run)
{
	int64		slice = slice_of(child_int32(run, RUN_ENVIRONMENT_ID));

	return slice > 0 && clock_now() - child_int64(run, RUN_STARTED_AT) >= slice;
}

/* was the row written by this transaction? */
static bool
is_written_here(Child *run)
{
	bool		isnull;
	Datum		xmin = slot_getsysattr(run->slot, MinTransactionIdAttributeNumber, &isnull);

	return TransactionIdIsCurrentTransactionId(DatumGetTransactionId(xmin));
}

/* the run whose code calls */
static int64
own_run(void)
{
	int64		run_id;

	if (run_holder == NULL || !run_holder->holding(&run_id))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_NOT_EXECUTED),
				 errmsg("there is no run whose code is being executed here"),
				 errdetail("The code of a run may call this, in an executor."),
				 errhint("Workers outside give the run's id and lease_token.")));
	return run_id;
}

/* its row is not locked: the conductor writes its checkpoints there */
static bool
own_should_yield(bool asked_only)
{
	int64		run_id = own_run();
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	bool		yes;

	PushActiveSnapshot(GetLatestSnapshot());
	run_tables_begin(&tables);
	run = run_read(&tables, run_id, &home);
	/* what it has asked itself is undone when it stops: it would never end */
	yes = run != NULL && ((!run_is_null(run, RUN_ASKED) && !is_written_here(run)) || (!asked_only && turn_is_over(run)));
	run_tables_end(&tables);
	PopActiveSnapshot();
	return yes;
}

PG_FUNCTION_INFO_V1(taskex_should_yield);

/* should_yield(run_id, lease_token) -> boolean */
Datum
taskex_should_yield(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"run_id", "lease_token", NULL};
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	bool		yes;

	if (PG_ARGISNULL(0) && PG_ARGISNULL(1))
		PG_RETURN_BOOL(own_should_yield(false));
	PreventCommandIfReadOnly("should_yield()");
	require_args(fcinfo, names);
	run_tables_begin(&tables);
	run = run_lock_held(&tables, PG_GETARG_INT64(0), PG_GETARG_INT64(1), &home, clock_now());
	yes = !run_is_null(run, RUN_ASKED) || turn_is_over(run);
	run_tables_end(&tables);
	PG_RETURN_BOOL(yes);
}

/* NULL: none is given */
static Jsonb *
jsonb_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		return NULL;
	check_json_size(PG_GETARG_DATUM(n), name);
	return PG_GETARG_JSONB_P(n);
}

PG_FUNCTION_INFO_V1(taskex_yield_run);

/* yield_run(run_id, lease_token, state, progress) -> text */
Datum
taskex_yield_run(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"run_id", "lease_token", NULL};
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	Jsonb	   *data = jsonb_argument(fcinfo, 2, "state");
	Jsonb	   *progress = jsonb_argument(fcinfo, 3, "progress");
	const char *state;

	PreventCommandIfReadOnly("yield_run()");
	if (PG_ARGISNULL(0) && PG_ARGISNULL(1))
	{
		(void) own_run();
		run_holder->say(data, progress, YIELD_AT_END);
		PG_RETURN_TEXT_P(cstring_to_text("running"));
	}
	require_args(fcinfo, names);
	wait_point("yield_run");
	run_tables_begin(&tables);
	run = run_lock_held(&tables, PG_GETARG_INT64(0), PG_GETARG_INT64(1), &home, clock_now());
	run_note(run, progress, NULL, 0);
	state = attempt_yield(run, &home, data);
	run_tables_end(&tables);
	PG_RETURN_TEXT_P(cstring_to_text(strcmp(state, "ready") == 0 ? "waiting" : state));
}

/* ---- what the code of a run says, in an executor ---- */

PG_FUNCTION_INFO_V1(taskex_checkpoint);

/* checkpoint(state, progress) */
Datum
taskex_checkpoint(PG_FUNCTION_ARGS)
{
	Jsonb	   *state;
	Jsonb	   *progress = jsonb_argument(fcinfo, 1, "progress");
	int64		run_id;

	require_arg(fcinfo, 0, "state");
	state = jsonb_argument(fcinfo, 0, "state");
	run_id = own_run();
	if (own_should_yield(true))
	{
		run_holder->say(state, progress, YIELD_BY_ERROR);
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_RUN_SUSPENDED),
				 errmsg("run %lld stops at this checkpoint", (long long) run_id),
				 errdetail("It was asked to; it will go on from here.")));
	}
	run_holder->say(state, progress, YIELD_NOT);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(taskex_progress);

/* progress(progress) */
Datum
taskex_progress(PG_FUNCTION_ARGS)
{
	require_arg(fcinfo, 0, "progress");
	(void) own_run();
	run_holder->say(NULL, jsonb_argument(fcinfo, 0, "progress"), YIELD_NOT);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(taskex_run_state);

/* run_state() -> jsonb */
Datum
taskex_run_state(PG_FUNCTION_ARGS)
{
	RunSaid		said;

	if (!run_holder || !run_holder->said(own_run(), &said))
		PG_RETURN_NULL();
	if (said.state == NULL && said.begun_with == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(said.state ? said.state : said.begun_with);
}

/* ---- programs and customers: _taskex; who was missed is asked by _taskex.sweep_runs() ---- */

PG_FUNCTION_INFO_V1(taskex_ask_run);

/*
 * _taskex.ask_run(run_id, program_id, stop_after, wait) -> boolean: a run that is
 * running is to give way, if it is one of this program (NULL: any).  Without waiting:
 * if it was not asked yet; NULL: it is to be looked at again, because its row is
 * locked, or somebody is about to take it who does not look at its customer any more.
 */
Datum
taskex_ask_run(PG_FUNCTION_ARGS)
{
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	bool		wait = PG_GETARG_BOOL(3);
	bool		busy = false;
	bool		asked;

	run_tables_begin(&tables);
	run = run_lock(&tables, PG_GETARG_INT64(0), wait, &home, &busy);
	busy = run == NULL ? busy : !wait && PG_ARGISNULL(1) && child_text_is(run, RUN_STATE, "ready");
	asked = run != NULL && child_text_is(run, RUN_STATE, "running") && (wait || run_is_null(run, RUN_ASKED)) &&
		(PG_ARGISNULL(1) || (!run_is_null(run, RUN_PROGRAM_ID) && child_int64(run, RUN_PROGRAM_ID) == PG_GETARG_INT64(1)));
	if (asked)
		(void) ask(run, &home, ASK_YIELD, force_after(fcinfo, 2));
	run_tables_end(&tables);
	if (busy)
		PG_RETURN_NULL();
	PG_RETURN_BOOL(asked);
}

PG_FUNCTION_INFO_V1(taskex_unhold_run);

/* _taskex.unhold_run(run_id) -> boolean: a run that was held because of its program goes on */
Datum
taskex_unhold_run(PG_FUNCTION_ARGS)
{
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	bool		done;

	run_tables_begin(&tables);
	run = run_lock(&tables, PG_GETARG_INT64(0), true, &home, NULL);
	done = run != NULL && child_text_is(run, RUN_STATE, "suspended");
	if (done)
		(void) resume(run, &home);
	run_tables_end(&tables);
	PG_RETURN_BOOL(done);
}

/* ---- by force ---- */

static int64
read_stops(TimestampTz now, int64 *ids)
{
	Datum		value = TimestampTzGetDatum(now);
	SpiScope	scope;
	uint64		count;

	spi_begin(&scope);
	count = spi_run(&select_stops, 0, &value, NULL, SPI_VIEW_CURRENT, STOPS);
	for (uint64 i = 0; i < count; i++)
		ids[i] = spi_int64(i, 1);
	spi_end(&scope);
	return (int64) count;
}

/* true: it was running still */
static bool
stop(int64 run_id, bool wait)
{
	RunTables	tables;
	UserHome	home;
	bool		busy;
	bool		stopped;
	Child	   *run;
	AttemptEnd	end = {.outcome = "suspended"};

	run_tables_begin(&tables);
	run = run_lock(&tables, run_id, wait, &home, &busy);
	stopped = run != NULL && child_text_is(run, RUN_STATE, "running") && !run_is_null(run, RUN_ASKED);
	if (stopped)
	{
		end.error = run_error(psprintf("worker \"%s\" did not suspend the run in time", run_text(run, RUN_WORKER)));
		run_revoke(run);
		(void) attempt_suspend(run, &home, &end);
	}
	else if (!busy)
		run_statement(&delete_stop, Int64GetDatum(run_id), 0);
	run_tables_end(&tables);
	return stopped;
}

typedef struct Stops
{
	bool		wait;
	int			count;
	int			done;
	int64		ids[STOPS];
} Stops;

static void
work_stops(void *arg)
{
	Stops	   *stops = arg;

	stops->done = 0;
	stops->count = (int) read_stops(clock_now(), stops->ids);
	for (int i = 0; i < stops->count; i++)
		stops->done += stop(stops->ids[i], stops->wait);
}

/* runs that were being taken when their program or customer was suspended */
static void
work_sweeps(void *arg)
{
	run_statement(&sweep, 0, 0);
}

int
stops_work(void)
{
	Stops		stops = {.wait = true};
	int			done = 0;

	work_sweeps(NULL);
	do
	{
		work_stops(&stops);
		done += stops.done;
	} while (stops.count == STOPS);
	return done;
}

void
stops_maintain(void)
{
	Stops		stops = {.wait = false};

	(void) worker_try_transaction("asking runs to give way", work_sweeps, NULL);
	do
	{
		if (!worker_try_transaction("stopping runs", work_stops, &stops))
			break;
	} while (stops.count == STOPS && stops.done > 0);
}
