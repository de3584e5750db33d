/*
 * refill.c
 *	  What a refill of a supply begins with: whose turn it is, where it goes on,
 *	  and what its members have gone past.
 *
 * Members who work have had the tasks that were at hand some time ago.  So a
 * refill goes on where the one before ended, until it comes round; and when a member
 * had to take a task from the shelves, the next one begins there.
 */
#include "postgres.h"

#include "supply/stock.h"
#include "supply/refill.h"
#include "market/place.h"

RefillTurn
stock_turn(int32 group, int64 task_type, RefillTurnKind kind)
{
	uint32		realm = realm_current()->serial;
	const Supply *supply;
	RefillTurn	turn = {0};

	LWLockAcquire(stock.lock, LW_SHARED);
	supply = stock_find_supply(realm, group, task_type);
	if (supply)
		turn = supply->turns[kind];
	LWLockRelease(stock.lock);
	return turn;
}

void
stock_set_turn(int32 group, int64 task_type, RefillTurnKind kind, int64 requester, int32 slots)
{
	uint32		realm = realm_current()->serial;
	Supply	   *supply;

	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	supply = stock_find_supply(realm, group, task_type);
	if (supply)
	{
		supply->turns[kind].requester = requester;
		supply->turns[kind].slots = slots;
	}
	LWLockRelease(stock.lock);
}

/* kept as places of performers who cannot exist, with "seen" for the end of the round */
static int64
cursor_key(int32 partition, int64 requester)
{
	return requester != 0 ? -requester : PG_INT64_MIN + partition;
}

static uint32
incarnation_of(int32 group, int64 task_type)
{
	uint32		realm = realm_current()->serial;
	const Supply *supply;
	uint32		incarnation;

	LWLockAcquire(stock.lock, LW_SHARED);
	supply = stock_find_supply(realm, group, task_type);
	incarnation = supply ? supply->incarnation : 0;
	LWLockRelease(stock.lock);
	return incarnation;
}

static void
store_cursor(uint32 incarnation, int32 partition, int64 requester, int64 cursor, int64 upto)
{
	Place		place = {.cursor = cursor,.seen = (uint64) upto};

	place_store(cursor_key(partition, requester), incarnation, &place);
}

bool
stock_cursor(int32 group, int64 task_type, int32 partition, int64 requester, RefillCursor *at)
{
	uint32		incarnation = incarnation_of(group, task_type);
	Place		place;

	if (incarnation == 0 || !place_find(cursor_key(partition, requester), incarnation, &place))
		return false;
	at->cursor = place.cursor;
	at->upto = (int64) place.seen;
	return true;
}

void
stock_set_cursor(int32 group, int64 task_type, int32 partition, int64 requester, const RefillCursor *at)
{
	uint32		incarnation = incarnation_of(group, task_type);

	if (incarnation != 0)
		store_cursor(incarnation, partition, requester, at->cursor, at->upto);
}

bool
stock_missed(int32 group, int64 performer, const SourceMiss *miss)
{
	const Realm *realm = realm_current();
	Supply	   *supply;
	uint32		incarnation = 0;
	bool		passed = false;
	Place		place;

	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	supply = stock_get_supply(realm, group, miss->task_type);
	if (supply)
	{
		supply->counts.misses++;
		incarnation = supply->incarnation;
		passed = supply->ready > 0;
		if (passed && place_find(performer, incarnation, &place))
			supply->seen = Max(supply->seen, (uint64) place.cursor);
	}
	LWLockRelease(stock.lock);
	if (incarnation != 0)
	{
		store_cursor(incarnation, miss->partition, 0, miss->task_id, PG_INT64_MAX);
		store_cursor(incarnation, miss->partition, miss->requester, miss->task_id, PG_INT64_MAX);
	}
	return passed;
}
