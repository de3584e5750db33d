/*
 * worker.c
 *	  One way to register a background worker and one main loop for all.
 */
#include "postgres.h"

#include "infra/worker.h"

#include "access/xact.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/wait_event.h"

static void
describe(const WorkerKind *kind, BackgroundWorker *worker)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	strlcpy(worker->bgw_library_name, "taskex", BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, kind->function, BGW_MAXLEN);
	snprintf(worker->bgw_name, BGW_MAXLEN, "taskex %s", kind->name);
	snprintf(worker->bgw_type, BGW_MAXLEN, "taskex %s", kind->name);
}

void
worker_register_static(const WorkerKind *kind)
{
	BackgroundWorker worker;

	describe(kind, &worker);
	worker.bgw_restart_time = 1;
	RegisterBackgroundWorker(&worker);
}

bool
worker_start_with(const WorkerKind *kind, Datum arg, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	describe(kind, &worker);
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_main_arg = arg;
	worker.bgw_notify_pid = MyProcPid;
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

bool
worker_start(const WorkerKind *kind, Oid database, BackgroundWorkerHandle **handle)
{
	return worker_start_with(kind, ObjectIdGetDatum(database), handle);
}

void
worker_transaction(const char *activity, void (*work) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;

	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, activity);
	work(arg);
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	pgstat_report_stat(false);
	pgstat_report_activity(STATE_IDLE, NULL);
}

ErrorData *
worker_catch_transaction(const char *activity, void (*work) (void *arg), void *arg)
{
	MemoryContext context = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		worker_transaction(activity, work, arg);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		HOLD_INTERRUPTS();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		MemoryContextSwitchTo(context);
		pgstat_report_activity(STATE_IDLE, NULL);
	}
	PG_END_TRY();
	return error;
}

bool
worker_try_transaction(const char *activity, void (*work) (void *arg), void *arg)
{
	ErrorData  *error = worker_catch_transaction(activity, work, arg);

	if (error == NULL)
		return true;
	ereport(error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
			error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ? DEBUG1 : LOG,
			(errcode(error->sqlerrcode),
			 errmsg("%s failed while %s: %s", MyBgworkerEntry->bgw_name, activity, error->message),
			 error->detail ? errdetail("%s", error->detail) : 0));
	FreeErrorData(error);
	return false;
}

void
worker_loop(WorkerKind *kind, Datum main_arg, pg_on_exit_callback on_exit)
{
	Oid			database = DatumGetObjectId(main_arg);
	MemoryContext context;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();

	if (on_exit)
		before_shmem_exit(on_exit, main_arg);
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);

	context = AllocSetContextCreate(TopMemoryContext, "taskex worker round",
									ALLOCSET_DEFAULT_SIZES);
	for (;;)
	{
		long		timeout;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}

		MemoryContextSwitchTo(context);
		MemoryContextReset(context);
		timeout = kind->round();
		if (timeout < 0)
			return;

		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 timeout, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}
