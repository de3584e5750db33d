/*
 * steer.c
 *	  What the code of a run says of it while it is executed, and how it is slowed
 *	  down.
 *
 * The run's own transaction is open when its code says from where it can go on.
 * So the state lies in shared memory, and the conductor, which is called at
 * once, writes it in a transaction of its own.  The executor keeps it too, and
 * stores it with the attempt's end.
 *
 * PURPOSE	A checkpoint outlives the attempt, however that ends.
 * LAYOUT	A place for each slot of the pool: whose checkpoint, how often one was said
 *			and stored, and taskex.checkpoint_size for the last one.
 * WRITES	Under its lock: by the slot's executor, and (what was stored) the conductor.
 * CRASH	It is empty: what the conductor had not written yet is lost, and the run
 *			goes on from the checkpoint before.
 * INVARIANT  stored <= said; the data are those of "said".
 */
#include "postgres.h"

#include "executor/steer.h"
#include "executor/execute.h"
#include "executor/internal.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "infra/spi.h"
#include "workload/suspend.h"

#include <sys/resource.h>

#include "executor/executor.h"
#include "executor/instrument.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

typedef struct Place
{
	uint32		realm;
	int64		run_id;
	int64		token;
	uint64		said;
	uint64		stored;
	int32		state_size;		/* 0: none */
	int32		progress_size;
	char		data[FLEXIBLE_ARRAY_MEMBER];	/* the state, then (aligned) the progress */
} Place;

static char *places = NULL;
static LWLockPadded *locks = NULL;

static Size
place_size(void)
{
	return MAXALIGN(offsetof(Place, data) + (Size) guc_checkpoint_size * 1024);
}

static Size
steer_size(void)
{
	return mul_size(place_size(), guc_max_executors);
}

static int
steer_locks(void)
{
	return Max(guc_max_executors, 1);
}

static void
steer_attach(void *block, LWLockPadded *lock, bool found)
{
	places = block;
	locks = lock;
}

const ShmemPart steer_shmem = {"taskex checkpoints", steer_size, NULL, steer_locks, steer_attach};

static Place *
place_of(int slot)
{
	return (Place *) (places + place_size() * slot);
}

/* ---- in the executor ---- */

static int64 current_run = 0;
static int64 current_token;
static RunSaid last;			/* of the current run */
static MemoryContext last_context = NULL;

static int
my_slot(void)
{
	return (int) (executor_current() - pool.slots);
}

void
steer_begin(const TakenRun *run)
{
	if (last_context == NULL)
		last_context = AllocSetContextCreate(TopMemoryContext, "taskex checkpoint", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(last_context);
	memset(&last, 0, sizeof(last));
	last.begun_with = run->state;
	current_run = run->run_id;
	current_token = run->token;
}

bool
steer_holding(int64 *run_id)
{
	if (current_run == 0 || executor_current() == NULL || execute_current() == NULL)
		return false;
	*run_id = current_run;
	return true;
}

bool
steer_said(int64 run_id, RunSaid *said)
{
	if (current_run == 0 || current_run != run_id)
		return false;
	*said = last;
	return true;
}

static Jsonb *
copy(Jsonb *value)
{
	Jsonb	   *result;

	if (value == NULL)
		return NULL;
	result = MemoryContextAlloc(last_context, VARSIZE(value));
	memcpy(result, value, VARSIZE(value));
	return result;
}

static void
publish(void)
{
	Size		state = last.state ? VARSIZE(last.state) : 0;
	Size		progress = last.progress ? VARSIZE(last.progress) : 0;
	int			slot = my_slot();
	Place	   *place = place_of(slot);

	if (MAXALIGN(state) + progress > (Size) guc_checkpoint_size * 1024)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_INPUT_TOO_LARGE),
				 errmsg("the checkpoint is too large"),
				 errdetail("It has %zu bytes, the limit is %zu.", MAXALIGN(state) + progress, (Size) guc_checkpoint_size * 1024),
				 errhint("Raise taskex.checkpoint_size and restart the server.")));
	LWLockAcquire(&locks[slot].lock, LW_EXCLUSIVE);
	place->realm = executor_current()->kind.realm;
	place->run_id = current_run;
	place->token = current_token;
	place->said++;
	place->state_size = (int32) state;
	place->progress_size = (int32) progress;
	if (state > 0)
		memcpy(place->data, last.state, state);
	if (progress > 0)
		memcpy(place->data + MAXALIGN(state), last.progress, progress);
	LWLockRelease(&locks[slot].lock);
	queue_call_keeper(executor_current()->realm_slot, executor_current()->kind.realm);
}

void
steer_say(Jsonb *state, Jsonb *progress, RunYield yield)
{
	/* what was said before stays, where nothing new is said */
	if (state)
		last.state = copy(state);
	if (progress)
		last.progress = copy(progress);
	last.yield = yield;
	if (yield == YIELD_NOT && (state || progress))
		publish();
}

/* ---- slowed down: its priority for the processor ---- */

void
steer_obey(void)
{
	static int	applied = 0;
	static int	usual = 0;		/* the server's own */
	ExecutorSlot *slot = executor_current();
	int			nice = slot->nice;
	int			saved = errno;

	if (nice == applied)
		return;
	if (applied == 0)
		usual = getpriority(PRIO_PROCESS, 0);

	/* who may not have his priority back ends, and another one begins */
	if (setpriority(PRIO_PROCESS, 0, Min(usual + nice, 19)) != 0)
		slot->leave = true;
	applied = nice;
	errno = saved;
}

/* ---- slowed down: at the end of each statement, also of those inside of functions ---- */

static ExecutorRun_hook_type previous_run = NULL;
static int64 pages_seen = -1;
static TimestampTz pages_at;

static int64
pages_now(void)
{
	return pgBufferUsage.shared_blks_read + pgBufferUsage.local_blks_read + pgBufferUsage.temp_blks_read +
		pgBufferUsage.shared_blks_dirtied + pgBufferUsage.local_blks_dirtied + pgBufferUsage.temp_blks_written;
}

static void
rest(long ms)
{
	while (ms > 0)
	{
		long		now = Min(ms, 1000);

		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, now, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		ms -= now;
	}
}

/* as many pages as the rate allows: what is beyond is waited for */
static void
safe_point(void)
{
	const ExecutorSlot *slot = executor_current();
	int64		pages;
	int64		due_us;

	if (slot == NULL || execute_current() == NULL || slot->io_rate == 0)
	{
		pages_seen = -1;
		return;
	}
	pages = pages_now();
	if (pages_seen < 0)
	{
		pages_seen = pages;
		pages_at = GetCurrentTimestamp();
		return;
	}
	due_us = (pages - pages_seen) * INT64CONST(1000000) / slot->io_rate - (GetCurrentTimestamp() - pages_at);
	if (due_us >= 1000)
		rest((long) Min(due_us / 1000, 10000));
	else if (due_us > -1000000)
		return;					/* rests are not shorter, and nobody saves up more than a second */
	pages_seen = pages_now();
	pages_at = GetCurrentTimestamp();
}

static void
on_executor_run(QueryDesc *queryDesc, ScanDirection direction, uint64 count EXECUTOR_RUN_ONCE_ARG)
{
	(previous_run ? previous_run : standard_ExecutorRun) (queryDesc, direction, count EXECUTOR_RUN_ONCE);
	safe_point();
}

void
steer_install(void)
{
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = on_executor_run;
}

/* ---- in the conductor ---- */

typedef struct Stored
{
	int64		run_id;
	int64		token;
	uint64		said;
	Jsonb	   *state;
	Jsonb	   *progress;
	bool		busy;
} Stored;

static void
store(void *arg)
{
	Stored	   *stored = arg;
	RunTables	tables;
	UserHome	home;
	Child	   *run;

	run_tables_begin(&tables);
	run = run_lock(&tables, stored->run_id, false, &home, &stored->busy);
	if (run && child_text_is(run, RUN_STATE, "running") && child_int64(run, RUN_LEASE_TOKEN) == stored->token)
		run_note(run, stored->progress, stored->state, 0);
	run_tables_end(&tables);
}

/* a copy of what was said and is not stored; false: there is nothing */
static bool
unstored(int slot, uint32 realm, Stored *stored, char *data)
{
	Place	   *place = place_of(slot);
	bool		found;

	LWLockAcquire(&locks[slot].lock, LW_SHARED);
	found = place->realm == realm && place->said != place->stored;
	if (found)
	{
		stored->run_id = place->run_id;
		stored->token = place->token;
		stored->said = place->said;
		memcpy(data, place->data, MAXALIGN(place->state_size) + place->progress_size);
		stored->state = place->state_size > 0 ? (Jsonb *) data : NULL;
		stored->progress = place->progress_size > 0 ? (Jsonb *) (data + MAXALIGN(place->state_size)) : NULL;
	}
	LWLockRelease(&locks[slot].lock);
	return found;
}

static void
set_stored(int slot, const Stored *stored)
{
	Place	   *place = place_of(slot);

	LWLockAcquire(&locks[slot].lock, LW_EXCLUSIVE);
	if (place->run_id == stored->run_id && place->token == stored->token)
		place->stored = stored->said;
	LWLockRelease(&locks[slot].lock);
}

/* ---- slowed down: the conductor's part ---- */

static Statement apply = {
	"SELECT _taskex.apply_throttles()",
	0, {InvalidOid}
};

static Statement select_any = {
	"SELECT EXISTS (SELECT FROM _taskex.throttle) OR EXISTS (SELECT FROM _taskex.throttle_policy)",
	0, {InvalidOid}
};

/* something is slowed down, or was in the last round */
static bool slowed = true;

static void
apply_throttles(void *arg)
{
	SpiScope	scope;
	bool		isnull;

	spi_begin(&scope);
	(void) spi_run(&select_any, 0, NULL, NULL, SPI_VIEW_CURRENT, 1);
	if (slowed || DatumGetBool(spi_value(0, 1, &isnull)))
	{
		(void) spi_run(&apply, 0, NULL, NULL, SPI_VIEW_CURRENT, 1);
		slowed = DatumGetBool(spi_value(0, 1, &isnull));
		for (int i = 0; i < guc_max_executors; i++)
			slowed |= pool.slots[i].nice > 0 || pool.slots[i].pause_us > 0 || pool.slots[i].io_rate > 0;
	}
	spi_end(&scope);
}

PG_FUNCTION_INFO_V1(taskex_set_slot);

/* _taskex.set_slot(pid, nice, pause_us, io_rate) */
Datum
taskex_set_slot(PG_FUNCTION_ARGS)
{
	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	for (int i = 0; i < guc_max_executors; i++)
	{
		ExecutorSlot *slot = &pool.slots[i];

		if (slot->pid == 0 || slot->pid != PG_GETARG_INT32(0))
			continue;
		slot->nice = PG_GETARG_INT32(1);
		slot->pause_us = PG_GETARG_INT32(2);
		slot->io_rate = PG_GETARG_INT32(3);
	}
	LWLockRelease(pool.lock);
	PG_RETURN_VOID();
}

void
steer_maintain(void)
{
	uint32		realm = realm_current()->serial;
	char	   *data = NULL;

	for (int slot = 0; slot < guc_max_executors; slot++)
	{
		Stored		stored = {0};

		/* looked at without the lock first: most have nothing to say */
		if (place_of(slot)->said == place_of(slot)->stored)
			continue;
		if (data == NULL)
			data = MemoryContextAllocHuge(CurrentMemoryContext, (Size) guc_checkpoint_size * 1024);
		if (unstored(slot, realm, &stored, data) &&
			worker_try_transaction("storing a checkpoint", store, &stored) && !stored.busy)
			set_stored(slot, &stored);
	}
	if (data)
		pfree(data);
	if (guc_max_executors > 0)
		(void) worker_try_transaction("slowing executors down", apply_throttles, NULL);
}
