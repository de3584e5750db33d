/*
 * lease.c
 *	  Batches: leases that running transactions make, end and prolong.
 */
#include "postgres.h"

#include "supply/stock.h"
#include "base/clock.h"
#include "infra/ids.h"
#include "infra/xact.h"
#include "supply/wait.h"

#include "access/xact.h"

void
stock_publish(StockBatch *batch)
{
	if (batch->published)
		return;
	batch->published = true;
	for (int32 i = stock.supplies[batch->supply].first_entry; i >= 0; i = entry_at(i)->next_of_supply)
		if (entry_at(i)->batch == batch - stock.batches)
			stock_settle(entry_at(i));
}

typedef struct Addition
{
	int32		batch;			/* -1: none */
	int64		lease_id;
	int			count;
	int32		entries[FLEXIBLE_ARRAY_MEMBER];
} Addition;

static void
addition_commit(void *record)
{
	Addition   *addition = record;
	StockBatch	   *batch;

	if (addition->batch < 0)
		return;
	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	batch = &stock.batches[addition->batch];

	/*
	 * Who recalled one of its tasks may have come first, and then all of it may
	 * be used up and gone; or this transaction itself did.
	 */
	if (batch->supply >= 0 && batch->lease_id == addition->lease_id)
		stock_publish(batch);
	LWLockRelease(stock.lock);
	wait_appeared(addition->count);
}

static void
addition_abort(void *record)
{
	Addition   *addition = record;

	if (addition->batch < 0)
		return;
	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	for (int i = 0; i < addition->count; i++)
		stock_free_entry(entry_at(addition->entries[i]));
	stock_free_batch(&stock.batches[addition->batch]);
	LWLockRelease(stock.lock);
}

static const XactKind addition_kind = {addition_commit, addition_abort};

static void
fill_entry(StockEntry *entry, int32 batch, const NewTask *task)
{
	Supply	   *supply = &stock.supplies[stock.batches[batch].supply];
	int32		index = index_of(entry);
	int32	   *head = stock_task_chain(task->task_id);

	memset(entry, 0, offsetof(StockEntry, input));
	entry->task_id = task->task_id;
	entry->requester = task->requester;
	entry->reward = task->reward;
	entry->created = task->created;
	entry->expires = task->expires;
	entry->counted = task->counted;
	entry->several = task->several;
	entry->barred = task->barred ? 1 : 0;
	entry->ready = task->slots;
	entry->batch = batch;
	if (task->input && VARSIZE(task->input) <= guc_supply_input)
	{
		entry->input_size = VARSIZE(task->input);
		memcpy(entry->input, task->input, entry->input_size);
	}
	entry->next = *head;
	*head = index;
	entry->previous_of_supply = -1;
	entry->next_of_supply = supply->first_entry;
	if (supply->first_entry >= 0)
		entry_at(supply->first_entry)->previous_of_supply = index;
	supply->first_entry = index;
}

bool
stock_add(const NewBatch *new, bool committed)
{
	Addition   *addition = xact_add(&addition_kind, offsetof(Addition, entries) + sizeof(int32) * Max(new->count, 1));
	TransactionId xid = committed ? InvalidTransactionId : GetTopTransactionId();
	const Realm *realm = realm_current();
	TimestampTz now = clock_now();
	Supply	   *supply;
	bool		room;

	addition->batch = -1;
	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	supply = stock_get_supply(realm, new->group, new->task_type);
	room = supply != NULL && stock.header->free_batch >= 0 && stock.header->free_entries >= new->count &&
		supply->entries + new->count < SUPPLY_RING;
	if (room)
	{
		int32		b = stock.header->free_batch;
		StockBatch	   *batch = &stock.batches[b];

		stock.header->free_batch = batch->next;
		batch->lease_id = new->lease_id;
		batch->supply = (int32) (supply - stock.supplies);
		batch->entries = new->count;
		batch->published = false;
		batch->previous = -1;
		batch->next = supply->first_batch;
		if (supply->first_batch >= 0)
			stock.batches[supply->first_batch].previous = b;
		supply->first_batch = b;
		stock.header->used_batches = Max(stock.header->used_batches, b + 1);
		batch->xid = xid;
		batch->added = now;
		batch->lease_until = new->lease_until;
		supply->exclusive = new->exclusive;
		supply->entries += new->count;
		if (!committed)
		{
			supply->counts.refills++;
			for (int i = 0; i < new->count; i++)
				supply->counts.leased += new->tasks[i].slots;
		}
		/* the list begins with what was added last: the oldest task */
		for (int i = new->count - 1; i >= 0; i--)
		{
			int32		e = stock.header->free_entry;

			stock.header->free_entry = entry_at(e)->next;
			stock.header->free_entries--;
			fill_entry(entry_at(e), b, &new->tasks[i]);
			addition->entries[i] = e;
		}
		addition->count = new->count;
		addition->lease_id = new->lease_id;
		if (committed)
			stock_publish(batch);
		else
			addition->batch = b;
	}
	LWLockRelease(stock.lock);
	return room;
}

int
stock_room(int32 group, int64 task_type, int wanted)
{
	const Realm *realm = realm_current();
	Supply	   *supply;
	int			room = 0;

	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	supply = stock_get_supply(realm, group, task_type);
	if (supply && stock.header->free_batch >= 0)
		room = Min(Min(wanted, SUPPLY_RING - 1 - supply->entries), stock.header->free_entries);
	LWLockRelease(stock.lock);
	return Max(room, 0);
}

bool
stock_knows(int64 lease_id)
{
	uint32		realm = realm_current()->serial;
	bool		known = false;

	LWLockAcquire(stock.lock, LW_SHARED);
	for (int32 i = 0; i < stock.header->used_batches && !known; i++)
		known = stock.batches[i].supply >= 0 && stock.batches[i].lease_id == lease_id &&
			stock.supplies[stock.batches[i].supply].realm == realm;
	LWLockRelease(stock.lock);
	return known;
}

/* ---- leases that are over ---- */

int
stock_done(int64 *lease_ids, int max)
{
	uint32		realm = realm_current()->serial;
	int			count = 0;

	LWLockAcquire(stock.lock, LW_SHARED);
	for (int32 i = 0; i < stock.header->used_batches && count < max; i++)
		if (stock.batches[i].supply >= 0 && stock.batches[i].published && stock.batches[i].entries == 0 &&
			stock.supplies[stock.batches[i].supply].realm == realm)
			lease_ids[count++] = stock.batches[i].lease_id;
	LWLockRelease(stock.lock);
	return count;
}

typedef struct LeaseChange
{
	bool		forget;
	TimestampTz lease_until;
	uint32		realm;
	int			count;
	int64		lease_ids[FLEXIBLE_ARRAY_MEMBER];
} LeaseChange;

static void
lease_change_commit(void *record)
{
	LeaseChange *change = record;

	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	for (int32 i = 0; i < stock.header->used_batches; i++)
	{
		StockBatch	   *batch = &stock.batches[i];

		if (batch->supply < 0 || stock.supplies[batch->supply].realm != change->realm ||
			bsearch(&batch->lease_id, change->lease_ids, change->count, sizeof(int64), ids_compare) == NULL)
			continue;
		if (!change->forget)
			batch->lease_until = change->lease_until;
		else if (batch->entries == 0)
			stock_free_batch(batch);
	}
	LWLockRelease(stock.lock);
}

static void
lease_change_abort(void *record)
{
}

static const XactKind lease_change_kind = {lease_change_commit, lease_change_abort};

static LeaseChange *
change_leases(const int64 *lease_ids, int count)
{
	LeaseChange *change = xact_add(&lease_change_kind, offsetof(LeaseChange, lease_ids) + sizeof(int64) * Max(count, 1));

	change->realm = realm_current()->serial;
	change->count = count;
	memcpy(change->lease_ids, lease_ids, sizeof(int64) * count);
	qsort(change->lease_ids, count, sizeof(int64), ids_compare);
	return change;
}

void
stock_forget(const int64 *lease_ids, int count)
{
	change_leases(lease_ids, count)->forget = true;
}

void
stock_renew(const int64 *lease_ids, int count, TimestampTz lease_until)
{
	change_leases(lease_ids, count)->lease_until = lease_until;
}

int
stock_ending(int32 group, int64 task_type, TimestampTz before, int64 *lease_ids, int max)
{
	uint32		realm = realm_current()->serial;
	Supply	   *supply;
	int			count = 0;

	LWLockAcquire(stock.lock, LW_SHARED);
	supply = stock_find_supply(realm, group, task_type);
	for (int32 i = supply ? supply->first_batch : -1; i >= 0 && count < max; i = stock.batches[i].next)
		if (stock.batches[i].published && stock.batches[i].entries > 0 && stock.batches[i].lease_until <= before)
			lease_ids[count++] = stock.batches[i].lease_id;
	LWLockRelease(stock.lock);
	return count;
}
