/*
 * wait.c
 *	  Who waits for a run to end, or for runs of an environment.
 *
 * PURPOSE	Who waits sleeps instead of asking again and again.
 * LAYOUT	WAIT_SLOTS condition variables with a count of who waits; a run's is
 *			that of its id's hash.  Those of environments lie in the queue.
 * WRITES	Atomically.
 * CRASH	Nobody waits any more.
 * INVARIANT  Who has counted himself in before he looks is woken by each end that
 *			his look did not see.
 */
#include "postgres.h"

#include "workload/demand.h"
#include "infra/xact.h"
#include "workload/lane.h"

#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define WAIT_SLOTS 128

/* a run that could not be taken is tried again after */
#define AGAIN_MS 10

typedef struct WaitSlot
{
	ConditionVariable ended;
	pg_atomic_uint32 waiters;
} WaitSlot;

static WaitSlot *slots = NULL;

static Size
wait_size(void)
{
	return sizeof(WaitSlot) * WAIT_SLOTS;
}

static void
wait_attach(void *block, LWLockPadded *locks, bool found)
{
	slots = block;
	for (int i = 0; !found && i < WAIT_SLOTS; i++)
	{
		ConditionVariableInit(&slots[i].ended);
		pg_atomic_init_u32(&slots[i].waiters, 0);
	}
}

const ShmemPart run_wait_shmem = {"taskex waiting for runs", wait_size, NULL, NULL, wait_attach};

static WaitSlot *
slot_of(int64 run_id)
{
	return &slots[run_hash((uint64) run_id) % WAIT_SLOTS];
}

/* ---- a run ends ---- */

/* slots of the runs that a subtransaction ended */
typedef struct Ended
{
	bool		slots[WAIT_SLOTS];
} Ended;

static void
ended_commit(void *record)
{
	const Ended *ended = record;

	for (int i = 0; i < WAIT_SLOTS; i++)
		if (ended->slots[i] && unlikely(pg_atomic_read_u32(&slots[i].waiters) > 0))
			ConditionVariableBroadcast(&slots[i].ended);
}

static void
ended_abort(void *record)
{
}

static const XactKind ended_kind = {ended_commit, ended_abort};

void
run_ended_at_commit(int64 run_id)
{
	Ended	   *ended = xact_find(&ended_kind);

	if (ended == NULL)
		ended = xact_add(&ended_kind, sizeof(Ended));
	ended->slots[slot_of(run_id) - slots] = true;
}

/* ---- waiting ---- */

typedef struct Waiter
{
	ConditionVariable *variable;
	pg_atomic_uint32 *waiters;
} Waiter;

/* also when the session is ended while it waits */
static void
stop_waiting(int code, Datum arg)
{
	Waiter	   *waiter = (Waiter *) DatumGetPointer(arg);

	ConditionVariableCancelSleep();
	pg_atomic_fetch_sub_u32(waiter->waiters, 1);
}

/* the waiter is counted already */
static bool
wait_for(Waiter *waiter, TimestampTz until, bool (*look) (void *arg), long longest, void *arg)
{
	volatile bool found = false;

	PG_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(waiter));
	{
		for (;;)
		{
			long		left;

			CHECK_FOR_INTERRUPTS();
			ConditionVariablePrepareToSleep(waiter->variable);
			found = look(arg);
			left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
			if (found || left <= 0)
				break;
			(void) ConditionVariableTimedSleep(waiter->variable, Min(left, longest), PG_WAIT_EXTENSION);
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(waiter));
	stop_waiting(0, PointerGetDatum(waiter));
	return found;
}

bool
run_wait(int64 run_id, TimestampTz until, bool (*look) (void *arg), void *arg)
{
	WaitSlot   *slot = slot_of(run_id);
	Waiter		waiter = {&slot->ended, &slot->waiters};

	pg_atomic_fetch_add_u32(waiter.waiters, 1);
	return wait_for(&waiter, until, look, 60000, arg);
}

/*
 * For runs of an environment to appear, or of one customer in it; its index, -1:
 * there are too many.  Who is signalled that one has appeared must take any.
 */
static int32
begin_waiting(const QueueName *name, int64 customer_id, Waiter *waiter)
{
	const Realm *realm = realm_current();
	int32		index;

	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	index = queue_get_environment(realm, name);
	if (index >= 0)
	{
		Environment *environment = &queue.environments[index];

		waiter->variable = customer_id == 0 ? &environment->appeared : &environment->appeared_reserved;
		waiter->waiters = customer_id == 0 ? &environment->waiters : &environment->reserved;
		pg_atomic_fetch_add_u32(waiter->waiters, 1);
	}
	LWLockRelease(queue.lock);
	return index;
}

bool
environment_wait(const QueueName *name, TimestampTz until, bool (*look) (void *arg), void *arg)
{
	int32		index;
	Waiter		waiter = {NULL, NULL};

	queue_require_loaded();
	index = begin_waiting(name, 0, &waiter);
	if (index < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many environments are in use"),
				 errhint("Raise taskex.max_lanes and restart the server.")));
	return wait_for(&waiter, until, look, 1000, arg);
}

/* may the next run of the queue begin, one customer's if customer_id is not 0? */
static bool
has_next(int32 index, int64 customer_id)
{
	const Environment *environment = &queue.environments[index];
	int32		customer;

	if (customer_id == 0)
	{
		if (environment->urgent >= 0)
			return true;
		for (int i = 0; i < PRIORITIES; i++)
			if (environment->turns[i] >= 0)
				return true;
		return false;
	}
	customer = queue_find_customer(environment->realm, customer_id);
	for (int32 i = customer >= 0 ? queue.customers[customer].first_lane : -1; i >= 0; i = queue.lanes[i].next_of_customer)
		if (queue.lanes[i].environment == index && (queue.lanes[i].in_turn || queue.lanes[i].in_urgent))
			return true;
	return false;
}

static void
sleep_for(const QueueSleep *sleep, int32 index, ConditionVariable *variable)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), sleep->milliseconds);
	bool		empty = sleep->empty;

	for (;;)
	{
		long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		bool		found;

		ConditionVariablePrepareToSleep(variable);
		LWLockAcquire(queue.lock, LW_SHARED);
		found = !sleep->closed && has_next(index, sleep->customer_id);
		LWLockRelease(queue.lock);
		if ((found && !empty) || left <= 0 || sleep->over())
			return;

		/* what is there and could not be taken is tried again in a moment */
		if (ConditionVariableTimedSleep(variable, found ? Min(left, AGAIN_MS) : left, PG_WAIT_EXTENSION))
			return;
		empty = false;
	}
}

void
queue_sleep(const QueueSleep *sleep)
{
	Waiter		waiter = {NULL, NULL};
	int32		index;

	index = begin_waiting(sleep->name, sleep->customer_id, &waiter);
	if (index < 0)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(sleep->milliseconds, 100), PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		return;
	}
	PG_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(&waiter));
	{
		sleep_for(sleep, index, waiter.variable);
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(&waiter));
	stop_waiting(0, PointerGetDatum(&waiter));
}

static void
poke(Environment *environment)
{
	ConditionVariableBroadcast(&environment->appeared);
	ConditionVariableBroadcast(&environment->appeared_reserved);
}

void
queue_poke(uint32 realm, const QueueName *name)
{
	int32		index;

	LWLockAcquire(queue.lock, LW_SHARED);
	index = queue_find_environment(realm, name);
	if (index >= 0)
		poke(&queue.environments[index]);
	LWLockRelease(queue.lock);
}

void
queue_poke_all(uint32 realm)
{
	LWLockAcquire(queue.lock, LW_SHARED);
	for (int32 i = 0; i < guc_max_lanes; i++)
		if (queue.environments[i].realm == realm)
			poke(&queue.environments[i]);
	LWLockRelease(queue.lock);
}
