/*
 * reserve.c
 *	  Runs that a transaction is taking.
 */
#include "postgres.h"

#include "workload/lane.h"
#include "base/clock.h"
#include "infra/xact.h"

#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

typedef enum ItemEnd
{
	ITEM_BACK,					/* its row is locked, or nothing is known yet */
	ITEM_TAKEN,
	ITEM_GONE
} ItemEnd;

typedef struct Reserved
{
	int32		entry;
	int64		run_id;
	uint8		end;			/* ItemEnd */
} Reserved;

struct Reservation
{
	uint32		realm;
	int			slot;
	TimestampTz lease_until;
	Refill		refill;
	int32		capacity;
	int32		count;
	Reserved   *items;			/* of the transaction */
};

static void
end_item(Reservation *reservation, const Reserved *item, bool committed)
{
	Entry	   *entry = &queue.entries[item->entry];
	QueueRealm *realm = &queue.header->realms[reservation->slot];

	if (entry->state != ENTRY_RESERVED || entry->run_id != item->run_id || entry->realm != reservation->realm)
		return;
	if (entry->fate == FATE_FREE || (committed && item->end == ITEM_GONE))
		entry_free(item->entry);
	else if (committed && item->end == ITEM_TAKEN && entry->fate == FATE_OPEN)
	{
		entry->state = ENTRY_RUNNING;
		ItemPointerSetInvalid(&entry->tid);
		if (entry->lease_until == 0)
			entry->lease_until = reservation->lease_until;
		realm->next_lease = Min(realm->next_lease, entry->lease_until);
	}
	else
	{
		/* it was not started after all */
		Lane	   *lane = &queue.lanes[entry->lane];

		if (entry->fate == FATE_OPEN)
		{
			lane_leave(entry->lane);
			lane->time -= entry->charge;
			customer_unstart(lane->customer);
		}
		entry->lease_until = 0;
		entry_back(item->entry);
	}
}

static void
end_reservation(Reservation *reservation, bool committed)
{
	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	queue_refill_end(&reservation->refill);
	if (queue.header->realms[reservation->slot].serial == reservation->realm)
		for (int32 i = 0; i < reservation->count; i++)
			end_item(reservation, &reservation->items[i], committed);
	LWLockRelease(queue.lock);
}

static void
reservation_commit(void *record)
{
	end_reservation(record, true);
}

static void
reservation_abort(void *record)
{
	end_reservation(record, false);
}

static const XactKind reservation_kind = {reservation_commit, reservation_abort};

Reservation *
queue_reserve_begin(int32 count, TimestampTz lease_until)
{
	const Realm *realm;
	Reservation *reservation;

	queue_require_loaded();
	realm = realm_current();
	reservation = xact_add(&reservation_kind, sizeof(Reservation));
	reservation->items = MemoryContextAlloc(TopTransactionContext, sizeof(Reserved) * count);
	reservation->realm = realm->serial;
	reservation->slot = realm->slot;
	reservation->lease_until = lease_until;
	reservation->refill.lane = -1;
	reservation->capacity = count;
	return reservation;
}

/* ---- the next one; the lock is held ---- */

/* customers whose rate lets them go on */
static void
wake_customers(QueueRealm *realm, TimestampTz now)
{
	while (realm->sleeping >= 0 && queue.customers[realm->sleeping].wake_at <= now)
	{
		int32		customer = realm->sleeping;

		customer_settle(customer, now);
		if (realm->sleeping == customer)
			break;				/* the clock was set back: not yet */
	}
}

/* is the key of the entry, which is in its lane's list, full?  Then it is parked */
static bool
park_if_full(int32 index)
{
	Entry	   *entry = &queue.entries[index];
	RunKey	   *key = entry->key >= 0 ? &queue.keys[entry->key] : NULL;

	if (key == NULL || key->running < key->limit)
		return false;
	lane_take(index);
	key_park(index);
	return true;
}

/* the entry that comes next, still in its lane's list, or the lane that must be refilled */
static int32
find_next(Environment *environment, TimestampTz now, int32 *refill)
{
	*refill = -1;
	while (environment->urgent >= 0)
	{
		int32		entry = queue.lanes[environment->urgent].urgent;

		if (queue.entries[entry].deadline > now)
			break;
		if (!park_if_full(entry))
			return entry;
	}
	for (int priority = PRIORITIES - 1; priority >= 0; priority--)
		while (environment->turns[priority] >= 0)
		{
			int32		lane = environment->turns[priority];
			int32		entry = queue.lanes[lane].first;

			if (!lane_has_next(&queue.lanes[lane]))
			{
				*refill = lane;
				return -1;
			}
			if (!park_if_full(entry))
				return entry;
		}
	return -1;
}

/* the same among the lanes of one customer */
static int32
find_next_of(int32 environment, int32 customer, TimestampTz now, int32 *refill)
{
	*refill = -1;
	if (customer < 0 || queue.customers[customer].blocked)
		return -1;
	for (;;)
	{
		int32		best = -1;
		bool		overdue = false;

		for (int32 i = queue.customers[customer].first_lane; i >= 0; i = queue.lanes[i].next_of_customer)
		{
			const Lane *lane = &queue.lanes[i];
			bool		late = lane->urgent >= 0 && queue.entries[lane->urgent].deadline <= now;

			if (lane->environment == environment && (lane->in_turn || late) &&
				(best < 0 || (late && !overdue) || (late == overdue && lane->priority > queue.lanes[best].priority)))
			{
				best = i;
				overdue = late;
			}
		}
		if (best < 0)
			return -1;
		if (!overdue && !lane_has_next(&queue.lanes[best]))
		{
			*refill = best;
			return -1;
		}
		if (!park_if_full(overdue ? queue.lanes[best].urgent : queue.lanes[best].first))
			return overdue ? queue.lanes[best].urgent : queue.lanes[best].first;
	}
}

static void
take(Reservation *reservation, int32 index, TimestampTz now)
{
	Entry	   *entry = &queue.entries[index];
	Lane	   *lane = &queue.lanes[entry->lane];
	Environment *environment = &queue.environments[lane->environment];
	Customer   *customer = &queue.customers[lane->customer];
	Reserved	   *item = &reservation->items[reservation->count++];

	lane_take(index);
	lane_leave(entry->lane);
	environment->time[lane->priority] = Max(environment->time[lane->priority], lane->time);
	entry->charge = lane->mean_cost;
	lane->time += entry->charge;
	lane->waiting--;
	lane_settle(entry->lane);

	entry->state = ENTRY_RESERVED;
	entry->fate = FATE_OPEN;
	entry->lease_until = 0;
	queue.header->realms[reservation->slot].running++;
	if (entry->key >= 0)
		queue.keys[entry->key].running++;
	customer->running++;
	if (customer->limits.rate > 0)
		customer->tokens--;
	if (customer->limits.rate > 0 || customer->running >= customer->limits.max_running)
		customer_settle(lane->customer, now);

	item->entry = index;
	item->run_id = entry->run_id;
	item->end = ITEM_BACK;
}

/* the window of the lane is ours to read */
static void
begin_refill(Reservation *reservation, int32 index)
{
	Lane	   *lane = &queue.lanes[index];
	Refill	   *refill = &reservation->refill;

	refill->realm = lane->realm;
	refill->lane = index;
	refill->name.customer_id = queue.customers[lane->customer].customer_id;
	refill->name.environment_id = queue.environments[lane->environment].name.environment_id;
	refill->name.priority = lane->priority;
	refill->low = lane->low;
	refill->high = lane->high;
	lane->refilling = true;
	lane->refill_low = lane->low;
	lane->low = lane->high = 0;
	queue.environments[lane->environment].refilling++;
	lane_settle(index);
}

typedef enum Found
{
	FOUND_NONE,
	FOUND_ENTRY,
	FOUND_REFILL,				/* read the window, and look again */
	FOUND_AGAIN,				/* look again: lanes that were stuck may find entries now */
	FOUND_BUSY					/* somebody reads a window; wait, and look again */
} Found;

static Found
try_reserve(Reservation *reservation, const QueueName *name, int64 customer_id, Taken *taken)
{
	int32		index = queue_find_environment(reservation->realm, name);
	Environment *environment;
	int32		refill;
	int32		entry;

	if (index < 0)
		return FOUND_NONE;
	environment = &queue.environments[index];
	wake_customers(&queue.header->realms[reservation->slot], taken->at);
	entry = customer_id == 0 ? find_next(environment, taken->at, &refill) :
		find_next_of(index, queue_find_customer(reservation->realm, customer_id), taken->at, &refill);
	if (entry >= 0)
	{
		Lane	   *lane = &queue.lanes[queue.entries[entry].lane];

		taken->run_id = queue.entries[entry].run_id;
		taken->customer_id = queue.customers[lane->customer].customer_id;
		taken->priority = lane->priority;
		taken->place = reservation->count;
		taken->tid = queue.entries[entry].tid;
		taken->cost = lane->mean_cost;
		refill = queue.entries[entry].lane;
		take(reservation, entry, taken->at);
		if (lane_has_window(lane) && !lane->refilling && !lane->stuck && lane->listed <= LANE_REFILL)
			begin_refill(reservation, refill);
		return FOUND_ENTRY;
	}
	if (refill >= 0)
	{
		begin_refill(reservation, refill);
		return FOUND_REFILL;
	}
	return environment->refilling > 0 ? FOUND_BUSY : FOUND_NONE;
}

/* until a lane that somebody refills is; he waits for nobody */
static void
wait_for_refill(Reservation *reservation, const QueueName *name)
{
	int32		index;
	Environment *environment;

	LWLockAcquire(queue.lock, LW_SHARED);
	index = queue_find_environment(reservation->realm, name);
	LWLockRelease(queue.lock);
	if (index < 0)
		return;
	environment = &queue.environments[index];
	ConditionVariablePrepareToSleep(&environment->refilled);
	if (environment->refilling > 0)
		(void) ConditionVariableTimedSleep(&environment->refilled, 10, PG_WAIT_EXTENSION);
	ConditionVariableCancelSleep();
}

bool
queue_reserve(Reservation *reservation, const QueueName *name, int64 customer_id, Taken *taken)
{
	bool		tried = false;

	Assert(reservation->count < reservation->capacity);
	for (;;)
	{
		Found		found;

		CHECK_FOR_INTERRUPTS();
		LWLockAcquire(queue.lock, LW_EXCLUSIVE);
		taken->at = clock_now();
		found = try_reserve(reservation, name, customer_id, taken);
		if (found == FOUND_NONE && !tried && queue.header->free_entry >= 0 && queue_unstick())
		{
			tried = true;
			found = FOUND_AGAIN;
		}
		LWLockRelease(queue.lock);
		if (reservation->refill.lane >= 0)
			queue_refill(&reservation->refill);
		else if (found == FOUND_BUSY)
			wait_for_refill(reservation, name);
		if (found == FOUND_ENTRY)
			return true;
		if (found == FOUND_NONE)
			return false;
	}
}

void
queue_took(Reservation *reservation, const Taken *taken)
{
	reservation->items[taken->place].end = ITEM_TAKEN;
}

void
queue_refuse(Reservation *reservation, const Taken *taken, bool gone)
{
	reservation->items[taken->place].end = gone ? ITEM_GONE : ITEM_BACK;
}
