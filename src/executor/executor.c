/*
 * executor.c
 *	  The process that runs code as a customer's role.
 */
#include "postgres.h"

#include "executor/execute.h"
#include "executor/internal.h"
#include "executor/steer.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/xact.h"
#include "workload/options.h"
#include "workload/run.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* longest sleep of an idle executor: limits by time wake nobody */
#define SLEEP_MS 1000
#define ERROR_MS 1000

/* runs that take so many times what was expected are others' to take */
#define YIELD_TIMES 5

WorkerKind	executor_kind = {"executor", "taskex_executor_main", NULL};

static ExecutorSlot *mine = NULL;
static uint32 my_nonce;
static ExecutorKind kind;
static ExecutorSetup setup;
static bool setup_known = false;
static char worker_name[NAMEDATALEN];
static TimestampTz taken_at;

/* which of the held runs is being executed; -1: none */
static volatile sig_atomic_t current_run = -1;

/* ---- the slot ---- */

ExecutorSlot *
executor_current(void)
{
	return mine;
}

const ExecutorSetup *
executor_setup(void)
{
	return &setup;
}

/* false: the slot is not for this process any more */
static bool
claim(uint32 slot, uint32 nonce)
{
	bool		claimed = false;

	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	if (slot < (uint32) guc_max_executors && pool.slots[slot].state == EXECUTOR_STARTING &&
		pool.slots[slot].nonce == nonce && pool.slots[slot].pid == 0)
	{
		mine = &pool.slots[slot];
		my_nonce = nonce;
		mine->pid = MyProcPid;
		kind = mine->kind;
		claimed = true;
	}
	LWLockRelease(pool.lock);
	return claimed;
}

static void
set_state(ExecutorState state)
{
	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	mine->state = state;
	mine->idle_since = GetCurrentTimestamp();
	LWLockRelease(pool.lock);
}

/* after the transaction, if there is one, was undone */
static void
leave_slot(int code, Datum arg)
{
	int			realm_slot = mine->realm_slot;

	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	if (mine->nonce == my_nonce)
	{
		if (mine->state == EXECUTOR_STARTING && !mine->leave && !mine->failed)
			pool_failed(mine, "the process ended before it was ready; the server's log has the reason");
		mine->pid = 0;
		mine->dedicated_to = mine->kept_count = 0;
		mine->state = mine->held_count > 0 ? EXECUTOR_DEAD : EXECUTOR_FREE;
	}
	LWLockRelease(pool.lock);
	queue_call_keeper(realm_slot, kind.realm);
}

/* ---- what runs ---- */

static void
cancel_handler(SIGNAL_ARGS)
{
	int			saved = errno;
	int			current = current_run;

	/* one that comes late, and is not for the present run, does nothing */
	if (current >= 0 && mine->held[current].revoked)
	{
		InterruptPending = true;
		QueryCancelPending = true;
	}
	SetLatch(MyLatch);
	errno = saved;
}

bool
executor_begin_run(const TakenRun *run)
{
	static const RunUsage unknown = {-1, -1, -1, -1, -1, -1, -1};
	int			found = -1;
	bool		revoked = true;

	SpinLockAcquire(&mine->mutex);
	for (int i = 0; i < mine->held_count; i++)
		if (mine->held[i].token == run->token)
		{
			found = i;
			revoked = mine->held[i].revoked;
		}
	if (found >= 0 && !revoked)
	{
		mine->current = found;
		mine->held[found].begun = true;
		mine->attempt = run->attempt;
		mine->customer_id = run->customer.user_id;
		mine->last_run = run->run_id;
		mine->run_since = GetCurrentTimestamp();
		mine->overdue = false;
		mine->usage = unknown;
		current_run = found;
	}
	SpinLockRelease(&mine->mutex);
	steer_begin(run);
	if (found < 0)
		elog(ERROR, "run %lld is not one that the executor has taken", (long long) run->run_id);
	return !revoked;
}

void
executor_end_run(void)
{
	bool		revoked;

	if (current_run < 0)
		return;
	SpinLockAcquire(&mine->mutex);
	revoked = mine->held[current_run].revoked;
	mine->current = -1;
	current_run = -1;
	mine->ended++;
	SpinLockRelease(&mine->mutex);

	/* what cancelled this one is not for the next */
	if (revoked)
		QueryCancelPending = false;
}

bool
executor_to_yield(void)
{
	return mine->leave || TimestampDifferenceExceeds(taken_at, GetCurrentTimestamp(), YIELD_TIMES * guc_executor_batch_time);
}

bool
executor_revoked(void)
{
	return current_run >= 0 && mine->held[current_run].revoked;
}

void
executor_tell_usage(const RunUsage *usage)
{
	mine->usage = *usage;
}

static void
hold(const TakenRun *runs, int count)
{
	SpinLockAcquire(&mine->mutex);
	for (int i = 0; i < count; i++)
	{
		mine->held[i].run_id = runs[i].run_id;
		mine->held[i].token = runs[i].token;
		mine->held[i].revoked = mine->held[i].begun = false;
	}
	mine->held_count = count;
	mine->current = -1;
	SpinLockRelease(&mine->mutex);
}

/* ---- made ready ---- */

static Statement select_setup = {
	"SELECT language, resource_class, limits, libraries, setup FROM _taskex.environment WHERE environment_id = $1",
	1, {INT4OID}
};

static void
read_setup(void *unused)
{
	Datum		value = Int32GetDatum(kind.name.environment_id);
	MemoryContext old;
	const Realm *realm = realm_find();
	SpiScope	scope;
	Datum		setup_text;
	Datum	   *libraries;
	bool		isnull;

	setup_known = false;
	if (realm == NULL || realm->serial != kind.realm)
		return;
	setup.environment = *environment_by_id(kind.name.environment_id);
	setup.environment.customers = NULL;
	setup.environment.customer_count = 0;
	spi_begin(&scope);
	if (spi_run(&select_setup, 0, &value, NULL, SPI_VIEW_CURRENT, 1) != 1)
		elog(ERROR, "environment %d is missing", kind.name.environment_id);
	old = MemoryContextSwitchTo(TopMemoryContext);
	setup.language = TextDatumGetCString(spi_value(0, 1, &isnull));
	setup.resource_class = TextDatumGetCString(spi_value(0, 2, &isnull));
	setup.limits = DatumGetJsonbPCopy(spi_value(0, 3, &isnull));
	deconstruct_array(DatumGetArrayTypePCopy(spi_value(0, 4, &isnull)), TEXTOID, -1, false, TYPALIGN_INT,
					  &libraries, NULL, &setup.library_count);
	setup.libraries = palloc(sizeof(char *) * Max(setup.library_count, 1));
	for (int i = 0; i < setup.library_count; i++)
		setup.libraries[i] = TextDatumGetCString(libraries[i]);
	setup_text = spi_value(0, 5, &isnull);
	setup.setup = isnull ? NULL : TextDatumGetCString(setup_text);
	MemoryContextSwitchTo(old);
	spi_end(&scope);
	setup_known = true;
}

static void
prepare(void *unused)
{
	execute_prepare();
	steer_install();

	/* who made the environment was allowed to name them */
	for (int i = 0; i < setup.library_count; i++)
		load_file(setup.libraries[i], false);
}

/* as the role, in a transaction of its own */
static void
set_up(void *unused)
{
	if (setup.setup == NULL)
		return;
	wait_point("set_up");
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	(void) SPI_execute(setup.setup, false, 0);
	SPI_finish();
}

/* ---- when it cannot be made ready ---- */

typedef struct Batch
{
	MemoryContext context;
	int			count;
	int			first_dedicated;	/* from there on they keep the executor for their customer */
	TakenRun	runs[EXECUTOR_RUNS_MAX];
} Batch;

static Batch batch;
static bool outdated = false;
static bool paused = false;		/* the environment, when runs were to be taken last */

static void
keep(const TakenRun *run, void *arg)
{
	MemoryContext old = MemoryContextSwitchTo(batch.context);

	run_copy(&batch.runs[batch.count++], run);
	MemoryContextSwitchTo(old);
}

/* takes what comes next, so many at most; what is taken is held before it is committed */
static void
take(int count, int64 customer_id)
{
	RunTaker	taker = {
		.name = kind.name,.customer_id = customer_id,.worker = worker_name,.count = count,
		.cost_us = (int64) guc_executor_batch_time * 1000,.lease_until = LEASE_OF_EXECUTOR
	};

	MemoryContextReset(batch.context);
	batch.count = 0;
	taken_at = GetCurrentTimestamp();
	(void) run_take(&taker, keep, NULL);
	hold(batch.runs, batch.count);
}

/* some of the runs that wait have failed: nothing can run them */
static void
fail_runs(void *arg)
{
	AttemptEnd	end = {.outcome = "failed",.retry = true};
	RunTables	tables;

	take(EXECUTOR_RUNS_MAX, 0);
	run_tables_begin(&tables);
	for (int i = 0; i < batch.count; i++)
	{
		UserHome	home;
		Child	   *run = run_lock(&tables, batch.runs[i].run_id, true, &home, NULL);

		if (run == NULL)
			elog(ERROR, "run %lld is missing", (long long) batch.runs[i].run_id);
		end.error = run_error(arg);
		(void) attempt_end(run, &home, &end);
	}
	run_tables_end(&tables);
}

static void
give_up(const char *what, const ErrorData *error)
{
	PoolGroup  *group;
	char	   *full = psprintf("%s failed: %s: %s", what, unpack_sql_state(error->sqlerrcode), error->message);
	int			failures;

	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	pool_failed(mine, full);
	group = pool_group(&kind, false);
	failures = group ? group->failures : SETUP_PATIENCE;
	LWLockRelease(pool.lock);
	ereport(LOG,
			(tx_errcode(ERRCODE_TX_EXECUTOR_FAILED),
			 errmsg("taskex executor of environment \"%s\" could not be made ready: %s", setup.environment.name, full)));
	if (failures >= SETUP_PATIENCE)
	{
		(void) worker_try_transaction("ending runs that cannot be executed", fail_runs,
									  psprintf("no executor could be made ready: %s", full));
		hold(NULL, 0);
	}
}

/* false: it cannot be */
static bool
make_ready(void)
{
	ErrorData  *error;
	PoolGroup  *group;

	/* what ALTER DATABASE or ALTER ROLE sets for sessions is not meant for the executor's own work */
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	worker_transaction("reading the environment", read_setup, NULL);
	if (!setup_known)
		return false;
	error = worker_catch_transaction("loading libraries", prepare, NULL);
	if (error)
		give_up("loading the environment's libraries", error);
	else if ((error = worker_catch_transaction("running the environment's set-up", set_up, NULL)))
		give_up("the environment's set-up", error);
	if (error)
		return false;

	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	mine->state = EXECUTOR_IDLE;
	mine->idle_since = GetCurrentTimestamp();
	mine->generation = setup.environment.generation;
	group = pool_group(&kind, true);
	if (group)
	{
		group->failures = 0;
		group->wanting_since = 0;
		group->message[0] = '\0';
	}
	LWLockRelease(pool.lock);
	return true;
}

/* ---- runs ---- */

static void
take_next(void *arg)
{
	const Realm *realm = realm_find();
	const KnownEnvironment *environment = NULL;
	bool		careful = pool_careful();

	if (realm && realm->serial == kind.realm)
		environment = environment_by_id(kind.name.environment_id);
	outdated = environment == NULL || environment->generation != setup.environment.generation;
	batch.count = 0;
	if (outdated)
		return;
	paused = environment->paused;
	if (paused)
		return;
	if (!careful)
		xact_async_begin();
	take(careful ? 1 : Min(guc_executor_batch, EXECUTOR_RUNS_MAX), *(int64 *) arg);
	if (!careful)
		xact_async_end();
}

/* what it had is settled: by itself, because an error has left them */
static void
settle_own(void)
{
	Settlement	settlement = {.reason = "an error of the executor ended the run; the server's log has it"};

	SpinLockAcquire(&mine->mutex);
	settlement.count = mine->held_count;
	settlement.current = mine->current;
	memcpy(settlement.held, mine->held, sizeof(HeldRun) * settlement.count);
	SpinLockRelease(&mine->mutex);
	executor_end_run();
	worker_transaction("settling runs", settle, &settlement);
}

/* what has not begun */
static void
give_back(void)
{
	Settlement	back = {.current = -1};

	for (int i = 0; i < mine->held_count; i++)
		if (!mine->held[i].begun && !mine->held[i].revoked)
			back.held[back.count++] = mine->held[i];
	if (back.count > 0)
		worker_transaction("giving runs back", settle, &back);
}

/* those for which it is reserved come last, and are one customer's: others' go back */
static void
order_dedicated(void)
{
	TakenRun   *ordered = MemoryContextAlloc(batch.context, sizeof(TakenRun) * Max(batch.count, 1));
	int64		customer = 0;
	int			count = 0;
	Settlement	back = {.current = -1};

	for (int i = 0; i < batch.count; i++)
		if (run_options_dedicated(batch.runs[i].options) == 0)
			ordered[count++] = batch.runs[i];
	batch.first_dedicated = count;
	if (count == batch.count)
		return;
	for (int i = 0; i < batch.count; i++)
	{
		const TakenRun *run = &batch.runs[i];

		if (run_options_dedicated(run->options) == 0)
			continue;
		if (customer == 0)
			customer = run->customer.user_id;
		if (run->customer.user_id == customer)
			ordered[count++] = *run;
		else
		{
			back.held[back.count].run_id = run->run_id;
			back.held[back.count++].token = run->token;
		}
	}
	memcpy(batch.runs, ordered, sizeof(TakenRun) * count);
	batch.count = count;
	if (back.count > 0)
		worker_transaction("giving runs back", settle, &back);
}

/* those that keep it for their customer do so from now on, so that he may acknowledge them as soon as they have ended */
static void
keep_for_customer(void)
{
	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	for (int i = batch.first_dedicated; i < batch.count; i++)
		pool_kept_add(mine, batch.runs[i].customer.user_id, batch.runs[i].run_id, DT_NOEND);
	LWLockRelease(pool.lock);
}

static bool
has_begun(const TakenRun *run)
{
	for (int i = 0; i < mine->held_count; i++)
		if (mine->held[i].token == run->token)
			return mine->held[i].begun;
	return false;
}

/* for so long after their end; what has gone back is for others to run */
static void
keep_for_a_time(void)
{
	for (int i = batch.first_dedicated; i < batch.count; i++)
	{
		const TakenRun *run = &batch.runs[i];
		TimestampTz until = GetCurrentTimestamp() + run_options_dedicated(run->options);

		LWLockAcquire(pool.lock, LW_EXCLUSIVE);
		if (pool_kept_remove(mine, run->run_id) && has_begun(run))
			pool_kept_add(mine, run->customer.user_id, run->run_id, until);
		LWLockRelease(pool.lock);
	}
}

static void
execute(void)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		order_dedicated();
		keep_for_customer();
		execute_runs(batch.runs, batch.count);
		give_back();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		EmitErrorReport();
		FlushErrorState();
		HOLD_INTERRUPTS();
		AbortCurrentTransaction();
		RESUME_INTERRUPTS();
		MemoryContextSwitchTo(context);
		settle_own();
	}
	PG_END_TRY();
	keep_for_a_time();
	hold(NULL, 0);
}

static TimestampTz kept_until;	/* when it was looked last */

/* is it to end, or for whom is it reserved? */
static bool
to_leave(int64 *customer)
{
	PoolRealm  *realm = &pool.header->realms[mine->realm_slot];
	bool		leave;

	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	pool_kept_expire(mine, GetCurrentTimestamp());
	*customer = mine->dedicated_to;
	kept_until = pool_kept_until(mine);
	leave = mine->leave || realm->serial != kind.realm || realm->draining || realm_serial(mine->realm_slot) != kind.realm;
	LWLockRelease(pool.lock);
	return leave;
}

/* whose runs it waits for */
static int64 resting_for;

static bool
to_do_otherwise(void)
{
	int64		reserved;

	return to_leave(&reserved) || reserved != resting_for;
}

static void
rest(int64 reserved, bool empty)
{
	QueueSleep	sleep = {&kind.name, reserved, SLEEP_MS, empty, paused, to_do_otherwise};

	if (reserved != 0)
		sleep.milliseconds = Min(SLEEP_MS, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), kept_until) + 1);
	resting_for = reserved;
	queue_sleep(&sleep);
}

static void
work(void)
{
	bool		busy = false;
	bool		empty = false;
	int64		reserved;

	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (to_leave(&reserved))
			break;
		if (!worker_try_transaction("taking runs", take_next, &reserved))
		{
			hold(NULL, 0);
			(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, ERROR_MS, PG_WAIT_EXTENSION);
			continue;
		}
		if (outdated)
			break;
		if (batch.count == 0)
		{
			if (busy || (mine->state == EXECUTOR_RESERVED) != (reserved != 0))
				set_state(reserved != 0 ? EXECUTOR_RESERVED : EXECUTOR_IDLE);
			busy = false;
			rest(reserved, empty);
			empty = true;
			continue;
		}
		if (!busy)
			set_state(EXECUTOR_BUSY);
		busy = true;
		empty = false;
		mine->taken += batch.count;
		execute();
		if (execute_worn())
			break;
	}

	/* it may have been woken for a run that somebody else must take now */
	queue_poke(kind.realm, &kind.name);
}

PGDLLEXPORT void taskex_executor_main(Datum main_arg);

void
taskex_executor_main(Datum main_arg)
{
	uint64		arg = DatumGetUInt64(main_arg);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	if (!claim((uint32) (arg >> 32), (uint32) arg))
		return;
	pqsignal(SIGUSR2, cancel_handler);
	BackgroundWorkerUnblockSignals();
	before_shmem_exit(leave_slot, 0);
	BackgroundWorkerInitializeConnectionByOid(kind.database, kind.name.role, 0);

	snprintf(worker_name, sizeof(worker_name), "executor %d", MyProcPid);
	batch.context = AllocSetContextCreate(TopMemoryContext, "taskex runs", ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(AllocSetContextCreate(TopMemoryContext, "taskex executor", ALLOCSET_DEFAULT_SIZES));
	if (make_ready())
		work();
}
