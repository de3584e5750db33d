/*
 * execute.c
 *	  Runs that an executor has taken, executed.
 *
 * Each run has a subtransaction of its own.  Its code runs there, as the role
 * that the process is connected as, and so does what it has deferred; then the
 * subtransaction ends, and what became of the run is stored in the transaction
 * around it, by C code that looks nothing up with the role's settings.  So runs
 * that end soon share a commit: one that fails undoes its own work only.
 *
 * If the transaction itself cannot be ended (a run has lost its lease, or the
 * commit fails), it is undone and its runs are executed again, each in a
 * transaction of its own; who fails there has failed.
 */
#include "postgres.h"

#include "executor/execute.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "executor/body.h"
#include "executor/capture.h"
#include "executor/interpreter.h"
#include "executor/limits.h"
#include "executor/measure.h"
#include "executor/pool.h"
#include "executor/reset.h"
#include "executor/steer.h"
#include "infra/realm.h"
#include "workload/run.h"
#include "workload/usage.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/*
 * So many runs of a transaction may have written: more subtransactions than
 * PGPROC_MAX_CACHED_SUBXIDS would slow down everybody's snapshots.
 */
#define WRITERS_MAX 48

/* a run being executed */
typedef struct Execution
{
	const TakenRun *run;
	Datum		result;
	bool		no_result;
	ErrorData  *error;			/* NULL: it succeeded */
	RunUsage	usage;
	bool		wrote;			/* its subtransaction has an id */
	bool		last;			/* no other run may follow it in the transaction */
} Execution;

static const TakenRun *current = NULL;
static MemoryContext run_context = NULL;	/* of one run */
static int64 spent_token = 0;	/* whose usage the next is */
static RunUsage spent;			/* of the code that was executed last */

const TakenRun *
execute_current(void)
{
	return current;
}

bool
execute_worn(void)
{
	return reset_worn();
}

void
execute_prepare(void)
{
	limits_start(executor_setup()->limits);
	measure_install();
	capture_install();
	reset_install();
	run_context = AllocSetContextCreate(TopMemoryContext, "taskex run", ALLOCSET_DEFAULT_SIZES);
}

/* ---- how long programs take ---- */

#define PACES 256

/* the longest of the last times that a program took, fading away */
typedef struct Pace
{
	uint64		code;
	int64		us;
} Pace;

static Pace paces[PACES];

static Pace *
pace_of(const TakenRun *run)
{
	uint64		code = 0;
	Pace	   *pace;

	if (run->program_id != 0)
		code = hash_combine64(run->program_id, run->version);
	else if (run->code)
		code = hash_bytes_extended((const unsigned char *) VARDATA_ANY(run->code), VARSIZE_ANY_EXHDR(run->code), 0);
	pace = &paces[code % PACES];
	if (pace->code != code)
		*pace = (Pace) {code, -1};
	return pace;
}

/* has this process seen that it ends soon? */
static bool
is_short(const TakenRun *run)
{
	const Pace *pace = pace_of(run);

	return pace->us >= 0 && pace->us <= guc_executor_batch_time * INT64CONST(1000) / 2;
}

static void
note_pace(const TakenRun *run, int64 us)
{
	Pace	   *pace = pace_of(run);

	pace->us = Max(us, pace->us - pace->us / 8);
}

/* ---- the code ---- */

static void
report_stopped(StopCause cause)
{
	switch (cause)
	{
		case STOP_NONE:
			return;
		case STOP_TIMEOUT:
			ereport(ERROR,
					(tx_errcode(ERRCODE_TX_RUN_TIMEOUT),
					 errmsg("the run was stopped after its timeout"),
					 errdetail("It may take %g seconds.", limits_timeout() / 1000000.0)));
			break;
		case STOP_CANCELLED:
			ereport(ERROR,
					(errcode(ERRCODE_QUERY_CANCELED),
					 errmsg("the run was cancelled")));
			break;
		case STOP_ROWS:
			measure_check_rows();
			break;
	}
}

static void
check_result(Execution *execution)
{
	int64		limit = limits_get()->result_size;
	Size		size;

	if (execution->no_result)
		return;
	size = toast_raw_datum_size(execution->result);
	if (size - VARHDRSZ > limit)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_RESULT_TOO_LARGE),
				 errmsg("the result of the run is too large"),
				 errdetail("It has %zu bytes; the limit is %lld.", size - VARHDRSZ, (long long) limit),
				 errhint("Store large results in a table or a large object, and return where they are.")));

	/* what it is may be in a table that goes with the run */
	execution->result = PointerGetDatum(PG_DETOAST_DATUM(execution->result));
}

/* what would wait for the commit is done now: it may fail, and then only this run fails */
static void
end_deferred(Execution *execution)
{
	ConstraintsSetStmt all = {.type = T_ConstraintsSetStmt};

	if (!measure_deferrable() && !reset_constraints_used())
		return;
	AfterTriggerSetState(&all);

	/* constraints are not deferred any more in this transaction */
	execution->last = true;
}

static BodyRun
body_of(const TakenRun *run)
{
	return (BodyRun) {run->environment_id, run->customer.user_id, run->program_id, run->version,
		run->program_id == 0 && run->code ? text_to_cstring(run->code) : NULL, run->options};
}

static void
call(Execution *execution)
{
	const TakenRun *run = execution->run;
	BodyRun		body = body_of(run);
	Jsonb	   *data = run->data;

	if (run->data_ref)
		data = data_resolve(run->data_ref);
	execution->result = body_call(&body, PointerGetDatum(data), data == NULL, &execution->no_result);
	check_result(execution);
	end_deferred(execution);
	measure_check_rows();
}

static void
begin_code(const TakenRun *run)
{
	body_times_reset();
	measure_begin(limits_get()->rows);
	capture_begin();
	limits_begin(run);
}

/* of several calls the first one counts */
static StopCause
end_code(Execution *execution)
{
	StopCause	cause = limits_end();

	if (current == NULL)
		return cause;
	capture_end();
	current = NULL;
	measure_end(&execution->usage);
	execution->usage.piece_us = body_times(&execution->usage.pieces);
	executor_end_run();
	return cause;
}

static void
run_code(Execution *execution)
{
	StopCause	cause;

	begin_code(execution->run);
	reset_begin();
	PushActiveSnapshot(GetTransactionSnapshot());
	call(execution);

	/* it may have caught what was to stop it */
	cause = limits_end();
	report_stopped(cause);
	execution->wrote = TransactionIdIsValid(GetCurrentTransactionIdIfAny());
	reset_in_transaction();
	PopActiveSnapshot();
	(void) end_code(execution);
}

/* the error that was raised, for who catches it */
static ErrorData *
take_error(Execution *execution, StopCause cause)
{
	ErrorData  *error;

	MemoryContextSwitchTo(run_context);
	error = CopyErrorData();
	FlushErrorState();
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && cause == STOP_TIMEOUT)
	{
		error->sqlerrcode = ERRCODE_TX_RUN_TIMEOUT;
		error->hint = unconstify(char *, tx_errhint(error->sqlerrcode));
		error->message = "the run was stopped after its timeout";
		error->detail = psprintf("It may take %g seconds.", limits_timeout() / 1000000.0);
	}
	else if (error->sqlerrcode == ERRCODE_QUERY_CANCELED && cause == STOP_ROWS)
	{
		error->sqlerrcode = ERRCODE_TX_ROWS_LIMIT_EXCEEDED;
		error->hint = unconstify(char *, tx_errhint(error->sqlerrcode));
		error->message = "the run has processed too many rows";
		error->detail = psprintf("The limit of its environment is %lld.", (long long) limits_get()->rows);
	}
	return error;
}

/* in a subtransaction; what happens there is in *execution */
static void
execute_code(Execution *execution)
{
	ResourceOwner owner = CurrentResourceOwner;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(run_context);
	PG_TRY();
	{
		run_code(execution);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		/* first of all: memory is to be had again */
		StopCause	cause = limits_end();

		execution->error = take_error(execution, cause);
		(void) end_code(execution);
		RollbackAndReleaseCurrentSubTransaction();
		execution->wrote = false;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(run_context);
	CurrentResourceOwner = owner;
	reset_session();
}

/* ---- what became of it ---- */

/* the run, locked, if it is still ours; NULL: it is not */
static Child *
lock_ours(RunTables *tables, const TakenRun *run, UserHome *home)
{
	Child	   *row = run_lock(tables, run->run_id, true, home, NULL);

	if (row == NULL || !child_text_is(row, RUN_STATE, "running") || child_int64(row, RUN_LEASE_TOKEN) != run->token)
		return NULL;
	return row;
}

/*
 * The run's code has no part in this: settings, user and what it had made are
 * gone, and from here to spi.c all is named with its schema.
 */
static void
store_as_owner(void *arg)
{
	Execution  *execution = arg;
	RunTables	tables;
	UserHome	home;
	Child	   *row;

	run_tables_begin(&tables);
	row = lock_ours(&tables, execution->run, &home);
	if (row && execution->error)
	{
		AttemptEnd	end = {.outcome = "failed",.error = capture_error(execution->error, execution->run),
		.usage = &execution->usage,.output = capture_output(),.retry = true};

		(void) attempt_end(row, &home, &end);
	}
	else if (row)
		attempt_succeed(&tables, row, &home, execution->result, execution->no_result, &execution->usage, capture_output());
	run_tables_end(&tables);

	/* what it has done must not stay: somebody else may do it again */
	if (row == NULL && execution->error == NULL)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_STALE_TOKEN),
				 errmsg("run %lld has ended, or was taken away, while its code was executed", (long long) execution->run->run_id)));
}

static void
as_owner(void (*work) (void *arg), void *arg)
{
	SearchPathScope search_path;
	Oid			user;
	int			security_context;

	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(realm_owner(), security_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	search_path_lock(&search_path);
	PushActiveSnapshot(GetTransactionSnapshot());
	work(arg);
	PopActiveSnapshot();
	search_path_unlock(&search_path);
	SetUserIdAndSecContext(user, security_context);
}

static void
store(Execution *execution)
{
	as_owner(store_as_owner, execution);
}

/* what all runs of the transaction have used is written at once */
static void
store_usage(void *unused)
{
	usage_tell_gathered();
}

/* ---- transactions ---- */

static void
begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();

	/* whatever the role's defaults are */
	XactIsoLevel = XACT_READ_COMMITTED;
	XactReadOnly = XactDeferrable = false;
	limits_open();
	usage_gather();
}

static void
commit(void)
{
	as_owner(store_usage, NULL);
	limits_close();
	CommitTransactionCommand();
	pgstat_report_stat(false);
}

/* the error that was raised is undone, and is in the given context */
static ErrorData *
undo(MemoryContext context)
{
	Execution	abandoned;
	ErrorData  *error;

	(void) end_code(&abandoned);

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	limits_close();
	HOLD_INTERRUPTS();
	AbortCurrentTransaction();
	RESUME_INTERRUPTS();
	MemoryContextSwitchTo(context);
	reset_session();
	return error;
}

/* obeys who steers this executor, between two transactions */
static void
throttle(void)
{
	const ExecutorSlot *slot = executor_current();

	steer_obey();
	if (slot->pause_us > 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Max(slot->pause_us / 1000, 1),
						 PG_WAIT_EXTENSION);
		CHECK_FOR_INTERRUPTS();
	}
}

typedef struct Stranger
{
	const TakenRun *run;
	bool		is;
} Stranger;

static void
look_whose(void *arg)
{
	Stranger   *stranger = arg;
	BodyRun		body = body_of(stranger->run);

	stranger->is = !body_is_by(&body, interpreter_owner());
}

/* would it meet what code of somebody else has left in an interpreter? */
static bool
is_stranger(const TakenRun *run)
{
	Stranger	stranger = {run, false};

	if (interpreter_owner() != 0)
		as_owner(look_whose, &stranger);
	return stranger.is;
}

/* returns whether another run may follow it in the transaction */
static bool
execute_one(const TakenRun *run, bool *wrote)
{
	Execution	execution = {.run = run,.no_result = true};
	char		activity[64];

	CHECK_FOR_INTERRUPTS();
	*wrote = false;
	if (is_stranger(run))
	{
		/* it goes back, for another process */
		reset_wear();
		return false;
	}
	if (!executor_begin_run(run))
		return true;
	current = run;
	SetCurrentStatementStartTimestamp();
	snprintf(activity, sizeof(activity), "run %lld", (long long) run->run_id);
	pgstat_report_activity(STATE_RUNNING, activity);
	execute_code(&execution);
	note_pace(run, execution.usage.wall_us);
	spent_token = run->token;
	spent = execution.usage;
	store(&execution);
	*wrote = execution.wrote;
	MemoryContextReset(run_context);
	return !execution.last && !reset_worn();
}

/*
 * The first of the runs, and what may follow it in its transaction.  *done is how
 * many have been begun, also if an error is raised.
 */
static void
execute_together(const TakenRun *runs, int count, volatile int *done)
{
	TimestampTz until;
	int			writers = 0;
	bool		more;
	bool		wrote;

	begin();
	until = GetCurrentStatementStartTimestamp() + guc_executor_batch_time * INT64CONST(1000);
	do
	{
		(*done)++;
		more = execute_one(&runs[*done - 1], &wrote);
		writers += wrote;
	} while (more && *done < count && writers < WRITERS_MAX && is_short(&runs[*done]) &&
			 GetCurrentTimestamp() < until);
	commit();
}

/* its transaction cannot be ended, not even alone */
static void
fail(const TakenRun *run, ErrorData *error)
{
	Execution	execution = {.run = run,.no_result = true,.error = error,.usage = {-1, -1, -1, -1, -1, -1, -1}};

	/* what it used was used, though it is undone */
	if (spent_token == run->token)
		execution.usage = spent;
	begin();
	store(&execution);
	commit();
}

static void
execute_alone(const TakenRun *run)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;
	volatile int done = 0;

	PG_TRY();
	{
		execute_together(run, 1, &done);
	}
	PG_CATCH();
	{
		error = undo(context);
	}
	PG_END_TRY();
	if (error)
		fail(run, error);
}

void
execute_runs(const TakenRun *runs, int count)
{
	MemoryContext context = CurrentMemoryContext;
	volatile int next = 0;

	while (next < count && (next == 0 || !(executor_to_yield() || reset_worn())))
	{
		volatile int done = 0;
		volatile bool undone = false;

		PG_TRY();
		{
			execute_together(&runs[next], count - next, &done);
		}
		PG_CATCH();
		{
			/* without a transaction there is nothing to be done again */
			if (done == 0)
				PG_RE_THROW();
			FreeErrorData(undo(context));
			undone = true;
		}
		PG_END_TRY();
		MemoryContextSwitchTo(context);
		throttle();
		for (int i = 0; undone && i < done; i++)
			execute_alone(&runs[next + i]);
		next += done;
	}
	pgstat_report_activity(STATE_IDLE, NULL);
}
