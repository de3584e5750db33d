/*
 * stock.c
 *	  The slots that groups have leased, in shared memory.
 *
 * PURPOSE	Who asks for a task gets one that is at hand, without touching its
 *			row or searching a table.
 * LAYOUT	A header, hash chains, and three arrays: supplies (a task type for a
 *			group), batches (a lease: one row of _taskex.group_lease) and
 *			entries (a task of a batch), each entry with room for
 *			taskex.supply_input bytes.
 * WRITES	All under the supply lock, exclusive, but for an entry's task and
 *			input, which do not change while a slot of it is reserved.
 * CRASH	Read again from _taskex.group_lease, group_recall and assignment
 *			(load.c).
 * INVARIANT  Of each leased slot that is not in a committed assignment or
 *			recall there is one in ready, reserved or withdrawn of its entry.
 */
#include "postgres.h"

#include "supply/stock.h"

#include "common/hashfn.h"

Stock		stock = {NULL};

static Size
stock_size(void)
{
	Size		size = MAXALIGN(offsetof(StockHeader, realms) + sizeof(stock.header->realms[0]) * (Size) guc_max_databases);

	size = add_size(size, MAXALIGN(sizeof(int32) * (Size) guc_max_supplies));
	size = add_size(size, MAXALIGN(sizeof(int32) * (Size) guc_supply_size));
	size = add_size(size, mul_size(guc_max_supplies, sizeof(Supply)));
	size = add_size(size, mul_size(guc_max_supplies, sizeof(stock.rings[0])));
	size = add_size(size, mul_size(guc_supply_size, sizeof(StockBatch)));
	return add_size(size, mul_size(guc_supply_size, entry_size()));
}

static int
stock_locks(void)
{
	return 1;
}

static void free_realm(int slot);

static void
stock_attach(void *block, LWLockPadded *locks, bool found)
{
	char	   *at = block;

	stock.header = block;
	at += MAXALIGN(offsetof(StockHeader, realms) + sizeof(stock.header->realms[0]) * (Size) guc_max_databases);
	stock.supply_chains = (int32 *) at;
	at += MAXALIGN(sizeof(int32) * (Size) guc_max_supplies);
	stock.task_chains = (int32 *) at;
	at += MAXALIGN(sizeof(int32) * (Size) guc_supply_size);
	stock.supplies = (Supply *) at;
	at += (Size) guc_max_supplies * sizeof(Supply);
	stock.rings = (int32 (*)[SUPPLY_RING]) at;
	at += (Size) guc_max_supplies * sizeof(stock.rings[0]);
	stock.batches = (StockBatch *) at;
	at += (Size) guc_supply_size * sizeof(StockBatch);
	stock.entries = at;
	stock.lock = &locks[0].lock;
	realm_on_reset(free_realm);
	if (found)
		return;
	for (int i = 0; i < guc_max_supplies; i++)
		stock.supply_chains[i] = -1;
	for (int i = 0; i < guc_supply_size; i++)
	{
		stock.task_chains[i] = -1;
		stock.batches[i].supply = -1;
		stock.batches[i].next = i + 1 < guc_supply_size ? i + 1 : -1;
		entry_at(i)->batch = -1;
		entry_at(i)->next = i + 1 < guc_supply_size ? i + 1 : -1;
	}
	stock.header->free_entries = guc_supply_size;
}

const ShmemPart supply_shmem = {"taskex supply", stock_size, NULL, stock_locks, stock_attach};

/* ---- supplies; the lock is held in what follows, unless it says otherwise ---- */

static int32 *
supply_chain(uint32 realm, int32 group, int64 task_type)
{
	return &stock.supply_chains[hash_bytes_uint32_extended((uint32) group ^ (realm << 16), (uint64) task_type) % guc_max_supplies];
}

Supply *
stock_find_supply(uint32 realm, int32 group, int64 task_type)
{
	for (int32 i = *supply_chain(realm, group, task_type); i >= 0; i = stock.supplies[i].next)
		if (stock.supplies[i].task_type == task_type && stock.supplies[i].group == group && stock.supplies[i].realm == realm)
			return &stock.supplies[i];
	return NULL;
}

static void
unlink_supply(Supply *supply)
{
	int32	   *link = supply_chain(supply->realm, supply->group, supply->task_type);

	while (*link != supply - stock.supplies)
		link = &stock.supplies[*link].next;
	*link = supply->next;
	supply->realm = 0;
}

/* a supply that has something unwritten is the last to give way */
static bool
is_unflushed(const Supply *supply)
{
	return memcmp(&supply->counts, &supply->flushed, sizeof(SupplyCounts)) != 0;
}

Supply *
stock_get_supply(const Realm *realm, int32 group, int64 task_type)
{
	Supply	   *supply = stock_find_supply(realm->serial, group, task_type);
	int32		place = -1;
	int32	   *head;

	if (supply)
		return supply;
	for (int32 i = 0; i < guc_max_supplies; i++)
	{
		if (stock.supplies[i].realm == 0)
		{
			place = i;
			break;
		}
		if (stock.supplies[i].first_batch < 0 && (place < 0 || !is_unflushed(&stock.supplies[i])))
			place = i;
	}
	if (place < 0)
		return NULL;
	supply = &stock.supplies[place];
	if (supply->realm != 0)
		unlink_supply(supply);
	memset(supply, 0, sizeof(Supply));
	memset(stock.rings[place], -1, sizeof(stock.rings[place]));
	supply->first_entry = supply->first_batch = -1;
	stock.header->used_supplies = Max(stock.header->used_supplies, place + 1);
	supply->realm = realm->serial;
	supply->slot = realm->slot;
	supply->group = group;
	supply->task_type = task_type;
	supply->incarnation = SUPPLY_PLACE | (++stock.header->last_incarnation % SUPPLY_PLACE);
	head = supply_chain(realm->serial, group, task_type);
	supply->next = *head;
	*head = place;
	return supply;
}

/* ---- the ring ---- */

void
stock_ring_remove(Supply *supply, StockEntry *entry)
{
	if (!entry->in_ring)
		return;
	ring_of(supply)[entry->seq % SUPPLY_RING] = -1;
	entry->in_ring = false;
	supply->ready -= entry->ready;
	while (supply->head < supply->tail && ring_of(supply)[supply->head % SUPPLY_RING] < 0)
		supply->head++;
}

/*
 * At the end of the ring.  When it is full what is oldest moves to the end too:
 * there are fewer entries than places, so this comes to an end.
 */
static void
ring_append(Supply *supply, StockEntry *entry)
{
	int32		index = index_of(entry);

	while (supply->tail - supply->head == SUPPLY_RING)
	{
		int32		oldest = ring_of(supply)[supply->head % SUPPLY_RING];

		supply->head++;
		if (oldest >= 0)
			entry_at(oldest)->seq = supply->tail++;
	}
	entry->seq = supply->tail++;
	entry->in_ring = true;
	entry->passed = false;
	ring_of(supply)[entry->seq % SUPPLY_RING] = index;
	supply->ready += entry->ready;
}

/* ---- entries ---- */

Supply *
stock_supply_of(const StockEntry *entry)
{
	return &stock.supplies[stock.batches[entry->batch].supply];
}

int32 *
stock_task_chain(int64 task_id)
{
	return &stock.task_chains[hash_bytes_uint32_extended(0, (uint64) task_id) % guc_supply_size];
}

void
stock_free_entry(StockEntry *entry)
{
	int32		index = index_of(entry);
	int32	   *link = stock_task_chain(entry->task_id);
	Supply	   *supply = stock_supply_of(entry);

	stock_ring_remove(supply, entry);
	while (*link != index)
		link = &entry_at(*link)->next;
	*link = entry->next;
	if (entry->previous_of_supply >= 0)
		entry_at(entry->previous_of_supply)->next_of_supply = entry->next_of_supply;
	else
		supply->first_entry = entry->next_of_supply;
	if (entry->next_of_supply >= 0)
		entry_at(entry->next_of_supply)->previous_of_supply = entry->previous_of_supply;
	supply->entries--;
	stock.batches[entry->batch].entries--;
	entry->batch = -1;
	entry->next = stock.header->free_entry;
	stock.header->free_entry = index;
	stock.header->free_entries++;
}

void
stock_free_batch(StockBatch *batch)
{
	if (batch->previous >= 0)
		stock.batches[batch->previous].next = batch->next;
	else
		stock.supplies[batch->supply].first_batch = batch->next;
	if (batch->next >= 0)
		stock.batches[batch->next].previous = batch->previous;
	batch->supply = -1;
	batch->next = stock.header->free_batch;
	stock.header->free_batch = (int32) (batch - stock.batches);
}

/* nobody is left of the exchange that had the slot; the realm lock is held, this one not */
static void
free_realm(int slot)
{
	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	for (int32 i = 0; i < guc_supply_size; i++)
	{
		StockEntry	   *entry = entry_at(i);

		if (entry->batch >= 0 && stock_supply_of(entry)->slot == slot)
			stock_free_entry(entry);
	}
	for (int32 i = 0; i < guc_supply_size; i++)
		if (stock.batches[i].supply >= 0 && stock.supplies[stock.batches[i].supply].slot == slot)
			stock_free_batch(&stock.batches[i]);
	for (int32 i = 0; i < guc_max_supplies; i++)
		if (stock.supplies[i].realm != 0 && stock.supplies[i].slot == slot)
			unlink_supply(&stock.supplies[i]);
	stock.header->realms[slot].serial = 0;
	LWLockRelease(stock.lock);
}

/* after a change of its slots: may it be had, is it used up? */
void
stock_settle(StockEntry *entry)
{
	bool		offered = stock.batches[entry->batch].published && entry->barred == 0;

	if (entry->ready == 0 && entry->reserved == 0 && entry->pins == 0)
		stock_free_entry(entry);
	else if (!offered)
		stock_ring_remove(stock_supply_of(entry), entry);
	else if (!entry->in_ring && entry->ready > 0)
		ring_append(stock_supply_of(entry), entry);
	else if (entry->in_ring && entry->passed && entry->ready > 0)
	{
		stock_ring_remove(stock_supply_of(entry), entry);
		ring_append(stock_supply_of(entry), entry);
	}
}

void
stock_add_ready(StockEntry *entry, int32 slots)
{
	entry->ready += slots;
	if (entry->in_ring)
		stock_supply_of(entry)->ready += slots;
}
