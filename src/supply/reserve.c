/*
 * reserve.c
 *	  Slots that running transactions are taking: for a performer who looks along
 *	  a supply, or names a task.
 */
#include "postgres.h"

#include "supply/stock.h"
#include "infra/xact.h"
#include "market/place.h"
#include "supply/wait.h"

#include "access/xact.h"

typedef struct Reservation
{
	int32		entry;			/* -1: none */
	int64		performer;
	TimestampTz now;
} Reservation;

static void
drop_holder(StockEntry *entry, int64 performer)
{
	for (int i = 0; i < SUPPLY_HOLDERS; i++)
		if (entry->holders[i] == performer)
		{
			entry->holders[i] = 0;
			return;
		}
}

static void
end_reservation(Reservation *reservation, bool committed, bool wanted)
{
	StockEntry	   *entry;

	if (reservation->entry < 0)
		return;
	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	entry = entry_at(reservation->entry);
	drop_holder(entry, reservation->performer);
	entry->reserved--;
	if (committed)
	{
		Supply	   *supply = stock_supply_of(entry);

		supply->counts.hits++;
		supply->counts.waited += Max(reservation->now - entry->created, 0);
	}
	else
	{
		stock_add_ready(entry, 1);
		entry->passed |= wanted;	/* by himself: he may want it another time */
	}
	stock_settle(entry);
	LWLockRelease(stock.lock);
	reservation->entry = -1;
	if (!committed && wanted)
		wait_appeared(1);
}

static void
reservation_commit(void *record)
{
	end_reservation(record, true, true);
}

static void
reservation_abort(void *record)
{
	end_reservation(record, false, true);
}

static const XactKind reservation_kind = {reservation_commit, reservation_abort};

/* a record that is free; may raise an error, so nothing is reserved before.  Lock not held */
static Reservation *
new_reservation(int64 performer, TimestampTz now)
{
	Reservation *reservation = xact_find(&reservation_kind);

	if (reservation == NULL || reservation->entry >= 0)
		reservation = xact_add(&reservation_kind, sizeof(Reservation));
	reservation->entry = -1;
	reservation->performer = performer;
	reservation->now = now;
	return reservation;
}

static bool
holds(const StockEntry *entry, int64 performer)
{
	for (int i = 0; i < SUPPLY_HOLDERS; i++)
		if (entry->holders[i] == performer)
			return true;
	return false;
}

/*
 * Where a performer with a reservation is to be noted; -1: there is no room, or
 * he has one of the task already, perhaps from another supply.
 */
static int
place_for(const StockEntry *entry, int64 performer)
{
	for (int32 i = *stock_task_chain(entry->task_id); i >= 0; i = entry_at(i)->next)
		if (entry_at(i)->task_id == entry->task_id && stock_supply_of(entry_at(i))->realm == stock_supply_of(entry)->realm &&
			holds(entry_at(i), performer))
			return -1;
	for (int i = 0; i < SUPPLY_HOLDERS; i++)
		if (entry->holders[i] == 0)
			return i;
	return -1;
}

static bool
reserve(Reservation *reservation, StockEntry *entry)
{
	int			place = place_for(entry, reservation->performer);

	if (place < 0 || entry->ready == 0)
	{
		entry->passed = true;
		return false;
	}
	entry->holders[place] = reservation->performer;
	entry->ready--;
	entry->reserved++;
	if (entry->in_ring)
		stock_supply_of(entry)->ready--;
	reservation->entry = index_of(entry);
	return true;
}

/* what is reserved stays as it is, so the lock is not needed */
static void
describe(const StockEntry *entry, SourceTask *task)
{
	const StockBatch *batch = &stock.batches[entry->batch];

	task->task_id = entry->task_id;
	task->task_type = stock.supplies[batch->supply].task_type;
	task->requester = entry->requester;
	task->reward = entry->reward;
	task->lease_id = batch->lease_id;
	task->counted = entry->counted;
	task->several = entry->several;
	task->input = NULL;
	if (entry->input_size > 0)
	{
		task->input = palloc(entry->input_size);
		memcpy(task->input, entry->input, entry->input_size);
	}
}

static void
place_look(StockLook *look, uint32 incarnation, const Supply *supply)
{
	Place		place;

	look->incarnation = incarnation;
	look->limit = supply->tail;
	look->cursor = 0;
	if (place_find(look->performer, incarnation, &place) && place.blocks == look->blocks)
		look->cursor = (uint64) place.cursor;
}

/* he need not look again at what lies before his cursor */
static void
remember(const StockLook *look)
{
	Place		place = {.cursor = (int64) look->cursor, .blocks = look->blocks};

	if (!IsolationUsesXactSnapshot())
		place_store(look->performer, look->incarnation, &place);
}

static bool
may_have(const StockEntry *entry, const StockLook *look)
{
	return entry->requester != look->performer && entry->expires > look->now &&
		stock.batches[entry->batch].lease_until > look->now;
}

bool
stock_pop(StockLook *look, SourceTask *task)
{
	Reservation *reservation = new_reservation(look->performer, look->now);
	uint32		realm = realm_current()->serial;
	Supply	   *supply;
	bool		more = false;
	bool		passed = false;		/* what others may still have lies behind him */
	bool		wake = false;

	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	supply = stock_find_supply(realm, look->group, look->task_type);
	if (supply && supply->ready > 0)
	{
		uint64		begin;

		if (look->limit == 0 || look->incarnation != supply->incarnation)
			place_look(look, supply->incarnation, supply);
		begin = look->cursor;
		look->cursor = Max(look->cursor, supply->head);
		while (look->cursor < look->limit && reservation->entry < 0)
		{
			int32		index = ring_of(supply)[look->cursor % SUPPLY_RING];
			StockEntry	   *entry = index >= 0 ? entry_at(index) : NULL;

			if (entry && entry->seq == look->cursor && may_have(entry, look) && reserve(reservation, entry))
				more = entry->ready > 0;
			look->cursor++;
		}
		passed = more || look->cursor > begin + 1;
		wake = supply->ready * 2 < supply->target;
	}
	LWLockRelease(stock.lock);

	if (passed)
		remember(look);
	if (wake)
		supplier_wake();
	if (reservation->entry < 0)
		return false;
	describe(entry_at(reservation->entry), task);
	return true;
}

bool
stock_has(StockLook *look)
{
	uint32		realm = realm_current()->serial;
	Supply	   *supply;
	bool		found = false;

	LWLockAcquire(stock.lock, LW_SHARED);
	supply = stock_find_supply(realm, look->group, look->task_type);
	if (supply && supply->ready > 0)
	{
		place_look(look, supply->incarnation, supply);
		for (uint64 seq = Max(look->cursor, supply->head); seq < look->limit && !found; seq++)
		{
			int32		index = ring_of(supply)[seq % SUPPLY_RING];
			const StockEntry *entry = index >= 0 ? entry_at(index) : NULL;

			found = entry && entry->seq == seq && may_have(entry, look) && entry->ready > 0 && place_for(entry, look->performer) >= 0;
		}
	}
	LWLockRelease(stock.lock);
	return found;
}

void
stock_refuse(const StockLook *look, bool later)
{
	Reservation *reservation = xact_find(&reservation_kind);

	if (reservation)
		end_reservation(reservation, false, later);
	if (!later)
		remember(look);			/* it stays behind him */
}

SourceAnswer
stock_take(int64 performer, const int32 *groups, int group_count, int64 task_id,
		   TimestampTz now, SourceTask *task)
{
	Reservation *reservation = new_reservation(performer, now);
	uint32		realm = realm_current()->serial;
	SourceAnswer answer = SOURCE_NONE;

	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	for (int32 i = *stock_task_chain(task_id); i >= 0 && answer != SOURCE_TAKEN; i = entry_at(i)->next)
	{
		StockEntry	   *entry = entry_at(i);
		const StockBatch *batch = &stock.batches[entry->batch];
		const Supply *supply = &stock.supplies[batch->supply];
		bool		member = false;

		if (entry->task_id != task_id || supply->realm != realm || !batch->published || entry->barred > 0 ||
			entry->ready == 0 || batch->lease_until <= now)
			continue;
		for (int g = 0; g < group_count; g++)
			member |= groups[g] == supply->group;
		if (supply->exclusive && !member)
			answer = SOURCE_EXCLUSIVE;
		else if (reserve(reservation, entry))
			answer = SOURCE_TAKEN;
	}
	LWLockRelease(stock.lock);
	if (answer == SOURCE_TAKEN)
		describe(entry_at(reservation->entry), task);
	return answer;
}
