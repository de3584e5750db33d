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

#include "supply/supply.h"
#include "base/clock.h"
#include "base/guc.h"
#include "infra/realm.h"
#include "infra/xact.h"
#include "market/place.h"
#include "supply/wait.h"

#include <math.h>

#include "access/xact.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lwlock.h"

/* cursors are kept as places on shelves that cannot exist */
#define SUPPLY_PLACE 0x40000000U

typedef struct Supply
{
	uint32		realm;			/* 0: free */
	int32		slot;			/* of the realm */
	int32		group;
	int64		task_type;
	int32		next;			/* in its hash chain */
	uint32		incarnation;
	bool		exclusive;
	int32		entries;
	int32		ready;			/* slots that the ring offers */
	int32		target;			/* slots that it is to have */
	int64		turn;			/* the requester who was served last */
	int32		first_entry;	/* -1: none */
	int32		first_batch;
	uint64		head;			/* its ring: positions head .. tail - 1 */
	uint64		tail;
	double		pace;
	TimestampTz pace_at;
	SupplyCounts counts;
	SupplyCounts flushed;
} Supply;

typedef struct Batch
{
	int64		lease_id;
	int32		supply;			/* -1: free */
	int32		next;			/* of its supply, or free list */
	int32		previous;
	int32		partition;
	int32		entries;		/* that are left */
	bool		published;
	TransactionId xid;			/* whose it is until it is published */
	TimestampTz lease_until;
} Batch;

typedef struct Entry
{
	int64		task_id;
	int64		requester;
	int64		reward;
	TimestampTz created;
	TimestampTz expires;
	int32		batch;			/* -1: free */
	int32		next;			/* hash chain, or free list */
	int32		next_of_supply;
	int32		previous_of_supply;
	uint64		seq;			/* its position in the ring, if it is there */
	bool		in_ring;
	bool		counted;
	bool		passed;			/* somebody went past it who might have had it */
	int32		barred;			/* so many have recalled it */
	int32		ready;
	int32		reserved;
	int32		withdrawn;
	int32		pins;			/* withdrawals that refer to it, with slots or (recalls) without */
	int64		holders[SUPPLY_HOLDERS];	/* performers with a slot reserved; 0: free */
	int32		input_size;		/* 0: not kept */
	char		input[FLEXIBLE_ARRAY_MEMBER];
} Entry;

typedef struct Header
{
	uint32		last_incarnation;
	int32		free_batch;
	int32		free_entry;
	int32		free_entries;
	int32		used_supplies;	/* places from here on were never in use */
	int32		used_batches;
	struct
	{
		uint32		serial;		/* of whom the leases were read; 0: of nobody */
		bool		partly;
	}			realms[FLEXIBLE_ARRAY_MEMBER];	/* by slot */
} Header;

static Header *header = NULL;
static int32 *supply_chains = NULL;
static int32 *task_chains = NULL;
static Supply *supplies = NULL;
static int32 (*rings)[SUPPLY_RING] = NULL;	/* of each supply: entry, or -1 */
static Batch *batches = NULL;
static char *entries = NULL;
static LWLock *lock = NULL;

static Size
entry_size(void)
{
	return MAXALIGN(offsetof(Entry, input) + guc_supply_input);
}

static inline Entry *
entry_at(int32 i)
{
	return (Entry *) (entries + (Size) i * entry_size());
}

static inline int32
index_of(const Entry *entry)
{
	return (int32) (((const char *) entry - entries) / entry_size());
}

static Size
stock_size(void)
{
	Size		size = MAXALIGN(offsetof(Header, realms) + sizeof(header->realms[0]) * (Size) guc_max_databases);

	size = add_size(size, MAXALIGN(sizeof(int32) * (Size) guc_max_supplies));
	size = add_size(size, MAXALIGN(sizeof(int32) * (Size) guc_supply_size));
	size = add_size(size, mul_size(guc_max_supplies, sizeof(Supply)));
	size = add_size(size, mul_size(guc_max_supplies, sizeof(rings[0])));
	size = add_size(size, mul_size(guc_supply_size, sizeof(Batch)));
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

	header = block;
	at += MAXALIGN(offsetof(Header, realms) + sizeof(header->realms[0]) * (Size) guc_max_databases);
	supply_chains = (int32 *) at;
	at += MAXALIGN(sizeof(int32) * (Size) guc_max_supplies);
	task_chains = (int32 *) at;
	at += MAXALIGN(sizeof(int32) * (Size) guc_supply_size);
	supplies = (Supply *) at;
	at += (Size) guc_max_supplies * sizeof(Supply);
	rings = (int32 (*)[SUPPLY_RING]) at;
	at += (Size) guc_max_supplies * sizeof(rings[0]);
	batches = (Batch *) at;
	at += (Size) guc_supply_size * sizeof(Batch);
	entries = at;
	lock = &locks[0].lock;
	realm_on_reset(free_realm);
	if (found)
		return;
	for (int i = 0; i < guc_max_supplies; i++)
		supply_chains[i] = -1;
	for (int i = 0; i < guc_supply_size; i++)
	{
		task_chains[i] = -1;
		batches[i].supply = -1;
		batches[i].next = i + 1 < guc_supply_size ? i + 1 : -1;
		entry_at(i)->batch = -1;
		entry_at(i)->next = i + 1 < guc_supply_size ? i + 1 : -1;
	}
	header->free_entries = guc_supply_size;
}

const ShmemPart supply_shmem = {"taskex supply", stock_size, NULL, stock_locks, stock_attach};

/* ---- supplies; the lock is held in what follows, unless it says otherwise ---- */

static int32 *
supply_chain(uint32 realm, int32 group, int64 task_type)
{
	return &supply_chains[hash_bytes_uint32_extended((uint32) group ^ (realm << 16), (uint64) task_type) % guc_max_supplies];
}

static Supply *
find_supply(uint32 realm, int32 group, int64 task_type)
{
	for (int32 i = *supply_chain(realm, group, task_type); i >= 0; i = supplies[i].next)
		if (supplies[i].task_type == task_type && supplies[i].group == group && supplies[i].realm == realm)
			return &supplies[i];
	return NULL;
}

static void
unlink_supply(Supply *supply)
{
	int32	   *link = supply_chain(supply->realm, supply->group, supply->task_type);

	while (*link != supply - supplies)
		link = &supplies[*link].next;
	*link = supply->next;
	supply->realm = 0;
}

/* a supply that has something unwritten is the last to give way */
static bool
is_unflushed(const Supply *supply)
{
	return memcmp(&supply->counts, &supply->flushed, sizeof(SupplyCounts)) != 0;
}

static Supply *
get_supply(const Realm *realm, int32 group, int64 task_type)
{
	Supply	   *supply = find_supply(realm->serial, group, task_type);
	int32		place = -1;
	int32	   *head;

	if (supply)
		return supply;
	for (int32 i = 0; i < guc_max_supplies; i++)
	{
		if (supplies[i].realm == 0)
		{
			place = i;
			break;
		}
		if (supplies[i].first_batch < 0 && (place < 0 || !is_unflushed(&supplies[i])))
			place = i;
	}
	if (place < 0)
		return NULL;
	supply = &supplies[place];
	if (supply->realm != 0)
		unlink_supply(supply);
	memset(supply, 0, sizeof(Supply));
	memset(rings[place], -1, sizeof(rings[place]));
	supply->first_entry = supply->first_batch = -1;
	header->used_supplies = Max(header->used_supplies, place + 1);
	supply->realm = realm->serial;
	supply->slot = realm->slot;
	supply->group = group;
	supply->task_type = task_type;
	supply->incarnation = SUPPLY_PLACE | (++header->last_incarnation % SUPPLY_PLACE);
	head = supply_chain(realm->serial, group, task_type);
	supply->next = *head;
	*head = place;
	return supply;
}

/* ---- the ring ---- */

static inline int32 *
ring_of(const Supply *supply)
{
	return rings[supply - supplies];
}

static void
ring_remove(Supply *supply, Entry *entry)
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
ring_append(Supply *supply, Entry *entry)
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

static Supply *
supply_of(const Entry *entry)
{
	return &supplies[batches[entry->batch].supply];
}

static int32 *
task_chain(int64 task_id)
{
	return &task_chains[hash_bytes_uint32_extended(0, (uint64) task_id) % guc_supply_size];
}

static void
free_entry(Entry *entry)
{
	int32		index = index_of(entry);
	int32	   *link = task_chain(entry->task_id);
	Supply	   *supply = supply_of(entry);

	ring_remove(supply, entry);
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
	batches[entry->batch].entries--;
	entry->batch = -1;
	entry->next = header->free_entry;
	header->free_entry = index;
	header->free_entries++;
}

static void
free_batch(Batch *batch)
{
	if (batch->previous >= 0)
		batches[batch->previous].next = batch->next;
	else
		supplies[batch->supply].first_batch = batch->next;
	if (batch->next >= 0)
		batches[batch->next].previous = batch->previous;
	batch->supply = -1;
	batch->next = header->free_batch;
	header->free_batch = (int32) (batch - batches);
}

/* nobody is left of the exchange that had the slot; the realm lock is held, this one not */
static void
free_realm(int slot)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int32 i = 0; i < guc_supply_size; i++)
	{
		Entry	   *entry = entry_at(i);

		if (entry->batch >= 0 && supply_of(entry)->slot == slot)
			free_entry(entry);
	}
	for (int32 i = 0; i < guc_supply_size; i++)
		if (batches[i].supply >= 0 && supplies[batches[i].supply].slot == slot)
			free_batch(&batches[i]);
	for (int32 i = 0; i < guc_max_supplies; i++)
		if (supplies[i].realm != 0 && supplies[i].slot == slot)
			unlink_supply(&supplies[i]);
	header->realms[slot].serial = 0;
	LWLockRelease(lock);
}

/* after a change of its slots: may it be had, is it used up? */
static void
settle(Entry *entry)
{
	bool		offered = batches[entry->batch].published && entry->barred == 0;

	if (entry->ready == 0 && entry->reserved == 0 && entry->pins == 0)
		free_entry(entry);
	else if (!offered)
		ring_remove(supply_of(entry), entry);
	else if (!entry->in_ring && entry->ready > 0)
		ring_append(supply_of(entry), entry);
	else if (entry->in_ring && entry->passed && entry->ready > 0)
	{
		ring_remove(supply_of(entry), entry);
		ring_append(supply_of(entry), entry);
	}
}

static void
add_ready(Entry *entry, int32 slots)
{
	entry->ready += slots;
	if (entry->in_ring)
		supply_of(entry)->ready += slots;
}

/* ---- reserving ---- */

typedef struct Reservation
{
	int32		entry;			/* -1: none */
	int64		performer;
	TimestampTz now;
} Reservation;

static void
drop_holder(Entry *entry, int64 performer)
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
	Entry	   *entry;

	if (reservation->entry < 0)
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry = entry_at(reservation->entry);
	drop_holder(entry, reservation->performer);
	entry->reserved--;
	if (committed)
	{
		Supply	   *supply = supply_of(entry);

		supply->counts.hits++;
		supply->counts.waited += Max(reservation->now - entry->created, 0);
	}
	else
	{
		add_ready(entry, 1);
		entry->passed |= wanted;	/* by himself: he may want it another time */
	}
	settle(entry);
	LWLockRelease(lock);
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
holds(const Entry *entry, int64 performer)
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
place_for(const Entry *entry, int64 performer)
{
	for (int32 i = *task_chain(entry->task_id); i >= 0; i = entry_at(i)->next)
		if (entry_at(i)->task_id == entry->task_id && supply_of(entry_at(i))->realm == supply_of(entry)->realm &&
			holds(entry_at(i), performer))
			return -1;
	for (int i = 0; i < SUPPLY_HOLDERS; i++)
		if (entry->holders[i] == 0)
			return i;
	return -1;
}

static bool
reserve(Reservation *reservation, Entry *entry)
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
		supply_of(entry)->ready--;
	reservation->entry = index_of(entry);
	return true;
}

/* what is reserved stays as it is, so the lock is not needed */
static void
describe(const Entry *entry, SourceTask *task)
{
	const Batch *batch = &batches[entry->batch];

	task->task_id = entry->task_id;
	task->task_type = supplies[batch->supply].task_type;
	task->requester = entry->requester;
	task->reward = entry->reward;
	task->lease_id = batch->lease_id;
	task->partition = batch->partition;
	task->counted = entry->counted;
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

static bool
may_have(const Entry *entry, const StockLook *look)
{
	return entry->requester != look->performer && entry->expires > look->now &&
		batches[entry->batch].lease_until > look->now;
}

bool
stock_pop(StockLook *look, SourceTask *task)
{
	Reservation *reservation = new_reservation(look->performer, look->now);
	uint32		realm = realm_current()->serial;
	Supply	   *supply;
	uint64		begin = 0;
	uint64		end = 0;
	bool		more = false;
	bool		wake = false;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	supply = find_supply(realm, look->group, look->task_type);
	if (supply && supply->ready > 0)
	{
		if (look->limit == 0 || look->incarnation != supply->incarnation)
			place_look(look, supply->incarnation, supply);
		begin = look->cursor;
		look->cursor = Max(look->cursor, supply->head);
		while (look->cursor < look->limit && reservation->entry < 0)
		{
			int32		index = ring_of(supply)[look->cursor % SUPPLY_RING];
			Entry	   *entry = index >= 0 ? entry_at(index) : NULL;

			if (entry && entry->seq == look->cursor && may_have(entry, look) && reserve(reservation, entry))
				more = entry->ready > 0;
			look->cursor++;
		}
		end = look->cursor;
		wake = supply->ready * 2 < supply->target;
	}
	LWLockRelease(lock);

	/* what others may still have lies behind him: he need not look at it again */
	if (end > begin && (more || end - begin > 1) && !IsolationUsesXactSnapshot())
	{
		Place		place = {.cursor = (int64) end, .blocks = look->blocks};

		place_store(look->performer, look->incarnation, &place);
	}
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

	LWLockAcquire(lock, LW_SHARED);
	supply = find_supply(realm, look->group, look->task_type);
	if (supply && supply->ready > 0)
	{
		place_look(look, supply->incarnation, supply);
		for (uint64 seq = Max(look->cursor, supply->head); seq < look->limit && !found; seq++)
		{
			int32		index = ring_of(supply)[seq % SUPPLY_RING];
			const Entry *entry = index >= 0 ? entry_at(index) : NULL;

			found = entry && entry->seq == seq && may_have(entry, look) && entry->ready > 0 && place_for(entry, look->performer) >= 0;
		}
	}
	LWLockRelease(lock);
	return found;
}

void
stock_refuse(bool later)
{
	Reservation *reservation = xact_find(&reservation_kind);

	if (reservation)
		end_reservation(reservation, false, later);
}

/* ---- what a batch is before and after its transaction ---- */

static void
publish(Batch *batch)
{
	if (batch->published)
		return;
	batch->published = true;
	for (int32 i = supplies[batch->supply].first_entry; i >= 0; i = entry_at(i)->next_of_supply)
		if (entry_at(i)->batch == batch - batches)
			settle(entry_at(i));
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
	Batch	   *batch;

	if (addition->batch < 0)
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	batch = &batches[addition->batch];

	/*
	 * Who recalled one of its tasks may have come first, and then all of it may
	 * be used up and gone; or this transaction itself did.
	 */
	if (batch->supply >= 0 && batch->lease_id == addition->lease_id)
		publish(batch);
	LWLockRelease(lock);
	wait_appeared(addition->count);
}

static void
addition_abort(void *record)
{
	Addition   *addition = record;

	if (addition->batch < 0)
		return;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < addition->count; i++)
		free_entry(entry_at(addition->entries[i]));
	free_batch(&batches[addition->batch]);
	LWLockRelease(lock);
}

static const XactKind addition_kind = {addition_commit, addition_abort};

static void
fill_entry(Entry *entry, int32 batch, const NewTask *task)
{
	Supply	   *supply = &supplies[batches[batch].supply];
	int32		index = index_of(entry);
	int32	   *head = task_chain(task->task_id);

	memset(entry, 0, offsetof(Entry, input));
	entry->task_id = task->task_id;
	entry->requester = task->requester;
	entry->reward = task->reward;
	entry->created = task->created;
	entry->expires = task->expires;
	entry->counted = task->counted;
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
	Supply	   *supply;
	bool		room;

	addition->batch = -1;
	LWLockAcquire(lock, LW_EXCLUSIVE);
	supply = get_supply(realm, new->group, new->task_type);
	room = supply != NULL && header->free_batch >= 0 && header->free_entries >= new->count &&
		supply->entries + new->count < SUPPLY_RING;
	if (room)
	{
		int32		b = header->free_batch;
		Batch	   *batch = &batches[b];

		header->free_batch = batch->next;
		batch->lease_id = new->lease_id;
		batch->supply = (int32) (supply - supplies);
		batch->partition = new->partition;
		batch->entries = new->count;
		batch->published = false;
		batch->previous = -1;
		batch->next = supply->first_batch;
		if (supply->first_batch >= 0)
			batches[supply->first_batch].previous = b;
		supply->first_batch = b;
		header->used_batches = Max(header->used_batches, b + 1);
		batch->xid = xid;
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
			int32		e = header->free_entry;

			header->free_entry = entry_at(e)->next;
			header->free_entries--;
			fill_entry(entry_at(e), b, &new->tasks[i]);
			addition->entries[i] = e;
		}
		addition->count = new->count;
		addition->lease_id = new->lease_id;
		if (committed)
			publish(batch);
		else
			addition->batch = b;
	}
	LWLockRelease(lock);
	return room;
}

int
stock_room(int32 group, int64 task_type, int wanted)
{
	const Realm *realm = realm_current();
	Supply	   *supply;
	int			room = 0;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	supply = get_supply(realm, group, task_type);
	if (supply && header->free_batch >= 0)
		room = Min(Min(wanted, SUPPLY_RING - 1 - supply->entries), header->free_entries);
	LWLockRelease(lock);
	return Max(room, 0);
}

bool
stock_knows(int64 lease_id)
{
	uint32		realm = realm_current()->serial;
	bool		known = false;

	LWLockAcquire(lock, LW_SHARED);
	for (int32 i = 0; i < header->used_batches && !known; i++)
		known = batches[i].supply >= 0 && batches[i].lease_id == lease_id &&
			supplies[batches[i].supply].realm == realm;
	LWLockRelease(lock);
	return known;
}

/* ---- taking slots out ---- */

typedef struct WithdrawnItem
{
	int32		entry;			/* -1: put back */
	int32		slots;
} WithdrawnItem;

typedef struct Withdrawal
{
	bool		recall;			/* nobody gets what comes back of the others */
	int			count;
	WithdrawnItem items[FLEXIBLE_ARRAY_MEMBER];
} Withdrawal;

static void
put_back(Withdrawal *withdrawal, WithdrawnItem *item, bool committed)
{
	Entry	   *entry = entry_at(item->entry);

	entry->withdrawn -= item->slots;
	entry->pins--;
	if (committed)
		supply_of(entry)->counts.returned += item->slots;
	else
	{
		add_ready(entry, item->slots);
		entry->barred -= withdrawal->recall;
	}
	settle(entry);
	item->entry = -1;
}

static void
end_withdrawal(Withdrawal *withdrawal, bool committed)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < withdrawal->count; i++)
		if (withdrawal->items[i].entry >= 0)
			put_back(withdrawal, &withdrawal->items[i], committed);
	LWLockRelease(lock);
}

static void
withdrawal_commit(void *record)
{
	end_withdrawal(record, true);
}

static void
withdrawal_abort(void *record)
{
	end_withdrawal(record, false);
}

static const XactKind withdrawal_kind = {withdrawal_commit, withdrawal_abort};

static Withdrawal *
new_withdrawal(bool recall, int max)
{
	Withdrawal *withdrawal = xact_add(&withdrawal_kind, offsetof(Withdrawal, items) + sizeof(WithdrawnItem) * max);

	withdrawal->recall = recall;
	return withdrawal;
}

static void
withdraw(Withdrawal *withdrawal, Entry *entry, SupplyReturn *back)
{
	WithdrawnItem *item = &withdrawal->items[withdrawal->count];

	item->entry = index_of(entry);
	item->slots = entry->ready;
	back->task_id = entry->task_id;
	back->lease_id = batches[entry->batch].lease_id;
	back->partition = batches[entry->batch].partition;
	back->slots = entry->ready;
	back->item = withdrawal->count++;
	if (withdrawal->recall)
	{
		ring_remove(supply_of(entry), entry);
		entry->barred++;
	}
	entry->withdrawn += entry->ready;
	entry->pins++;
	add_ready(entry, -entry->ready);
	settle(entry);
}

/*
 * The caller has the task's row locked.  So who leased slots of it has either
 * committed, and they count in the row, even if he has not come to publish
 * them; or he has not had the row yet, or gives it back, and what is here of his
 * does not count.
 */
int
stock_recall(int64 task_id, SupplyReturn *returns, int max)
{
	uint32		realm = realm_current()->serial;
	Withdrawal *withdrawal = NULL;
	TransactionId committed = InvalidTransactionId;
	TransactionId pending;
	bool		found;
	bool		again;

	LWLockAcquire(lock, LW_SHARED);
	found = *task_chain(task_id) >= 0;
	LWLockRelease(lock);
	if (!found)
		return 0;

	withdrawal = new_withdrawal(true, max);
	do
	{
		again = false;
		pending = InvalidTransactionId;
		LWLockAcquire(lock, LW_EXCLUSIVE);
		for (int32 i = *task_chain(task_id), next; i >= 0 && withdrawal->count < max; i = next)
		{
			Entry	   *entry = entry_at(i);
			Batch	   *batch = &batches[entry->batch];
			bool		ours = false;

			next = entry->next;
			if (entry->task_id != task_id || supplies[batch->supply].realm != realm)
				continue;
			for (int k = 0; k < withdrawal->count; k++)
				ours |= withdrawal->items[k].entry == i;
			if (ours)
				continue;
			if (!batch->published && TransactionIdIsValid(committed) && TransactionIdEquals(batch->xid, committed))
				publish(batch);
			if (batch->published || TransactionIdIsCurrentTransactionId(batch->xid))
				withdraw(withdrawal, entry, &returns[withdrawal->count]);
			else
				pending = batch->xid;
		}
		LWLockRelease(lock);
		if (TransactionIdIsValid(pending) && !TransactionIdEquals(pending, committed) && TransactionIdDidCommit(pending))
		{
			committed = pending;
			again = true;
		}
	} while (again);
	return withdrawal->count;
}

SourceAnswer
stock_take(int64 performer, const int32 *groups, int group_count, int64 task_id,
		   TimestampTz now, SourceTask *task)
{
	Reservation *reservation = new_reservation(performer, now);
	uint32		realm = realm_current()->serial;
	SourceAnswer answer = SOURCE_NONE;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int32 i = *task_chain(task_id); i >= 0 && answer != SOURCE_TAKEN; i = entry_at(i)->next)
	{
		Entry	   *entry = entry_at(i);
		const Batch *batch = &batches[entry->batch];
		const Supply *supply = &supplies[batch->supply];
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
	LWLockRelease(lock);
	if (answer == SOURCE_TAKEN)
		describe(entry_at(reservation->entry), task);
	return answer;
}

int
stock_withdraw(int32 group, int64 task_type, int32 keep, TimestampTz now, SupplyReturn *returns, int max)
{
	Withdrawal *withdrawal = new_withdrawal(false, max);
	uint32		realm = realm_current()->serial;
	Supply	   *supply;
	int32		surplus;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	supply = find_supply(realm, group, task_type);
	surplus = supply ? supply->ready - keep : 0;
	for (int32 i = supply ? supply->first_entry : -1; i >= 0 && withdrawal->count < max; i = entry_at(i)->next_of_supply)
	{
		Entry	   *entry = entry_at(i);
		const Batch *batch = &batches[entry->batch];

		if (entry->ready == 0 || !batch->published)
			continue;
		if (entry->barred > 0 || entry->expires <= now || batch->lease_until <= now)
			withdraw(withdrawal, entry, &returns[withdrawal->count]);
		else if (surplus >= entry->ready)
		{
			surplus -= entry->ready;
			withdraw(withdrawal, entry, &returns[withdrawal->count]);
		}
	}
	LWLockRelease(lock);
	return withdrawal->count;
}

void
stock_put_back(int32 item)
{
	Withdrawal *withdrawal = xact_find(&withdrawal_kind);

	Assert(withdrawal && item < withdrawal->count);
	LWLockAcquire(lock, LW_EXCLUSIVE);
	put_back(withdrawal, &withdrawal->items[item], false);
	LWLockRelease(lock);
}

/* ---- leases that are over ---- */

int
stock_done(int64 *lease_ids, int max)
{
	uint32		realm = realm_current()->serial;
	int			count = 0;

	LWLockAcquire(lock, LW_SHARED);
	for (int32 i = 0; i < header->used_batches && count < max; i++)
		if (batches[i].supply >= 0 && batches[i].published && batches[i].entries == 0 &&
			supplies[batches[i].supply].realm == realm)
			lease_ids[count++] = batches[i].lease_id;
	LWLockRelease(lock);
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

static int
compare_leases(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}

static void
lease_change_commit(void *record)
{
	LeaseChange *change = record;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int32 i = 0; i < header->used_batches; i++)
	{
		Batch	   *batch = &batches[i];

		if (batch->supply < 0 || supplies[batch->supply].realm != change->realm ||
			bsearch(&batch->lease_id, change->lease_ids, change->count, sizeof(int64), compare_leases) == NULL)
			continue;
		if (!change->forget)
			batch->lease_until = change->lease_until;
		else if (batch->entries == 0)
			free_batch(batch);
	}
	LWLockRelease(lock);
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
	qsort(change->lease_ids, count, sizeof(int64), compare_leases);
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

	LWLockAcquire(lock, LW_SHARED);
	supply = find_supply(realm, group, task_type);
	for (int32 i = supply ? supply->first_batch : -1; i >= 0 && count < max; i = batches[i].next)
		if (batches[i].published && batches[i].entries > 0 && batches[i].lease_until < before)
			lease_ids[count++] = batches[i].lease_id;
	LWLockRelease(lock);
	return count;
}

/* ---- looking from outside ---- */

bool
stock_any(void)
{
	return header != NULL && header->free_entries < guc_supply_size;
}

StockState
stock_load_state(void)
{
	const Realm *realm = realm_current();

	if (header->realms[realm->slot].serial != realm->serial)
		return STOCK_UNKNOWN;
	return header->realms[realm->slot].partly ? STOCK_PARTLY : STOCK_LOADED;
}

void
stock_set_loaded(bool all)
{
	const Realm *realm = realm_current();

	LWLockAcquire(lock, LW_EXCLUSIVE);
	header->realms[realm->slot].partly = !all;
	header->realms[realm->slot].serial = realm->serial;
	LWLockRelease(lock);
}

int64
stock_turn(int32 group, int64 task_type, int64 requester)
{
	uint32		realm = realm_current()->serial;
	Supply	   *supply;
	int64		turn = 0;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	supply = find_supply(realm, group, task_type);
	if (supply && requester != 0)
		supply->turn = requester;
	if (supply)
		turn = supply->turn;
	LWLockRelease(lock);
	return turn;
}

int32
stock_held(int64 task_id)
{
	uint32		realm = realm_current()->serial;
	int32		held = 0;

	if (!stock_any())
		return 0;
	LWLockAcquire(lock, LW_SHARED);
	for (int32 i = *task_chain(task_id); i >= 0; i = entry_at(i)->next)
	{
		const Entry *entry = entry_at(i);

		if (entry->task_id == task_id && supplies[batches[entry->batch].supply].realm == realm)
			held += entry->ready + entry->withdrawn;
	}
	LWLockRelease(lock);
	return held;
}

/* may members of the groups have what is in the supply? */
static bool
is_for(const Supply *supply, const Groups *groups)
{
	if (groups == NULL || !supply->exclusive)
		return true;
	for (int i = 0; i < groups->count; i++)
		if (groups->ids[i] == supply->group)
			return true;
	return false;
}

static bool
is_over(const Entry *entry, TimestampTz now)
{
	return entry->expires <= now || batches[entry->batch].lease_until <= now;
}

/* entries that a glance looks at */
#define GLANCE_ENTRIES 256

void
stock_glance(const Groups *groups, int64 task_type, int32 partition, int64 requester,
			 TimestampTz now, SourceGlance *seen)
{
	uint32		realm = realm_current()->serial;
	int			left = GLANCE_ENTRIES;

	LWLockAcquire(lock, LW_SHARED);
	for (int32 n = 0; n < header->used_supplies && left > 0; n++)
	{
		const Supply *supply = &supplies[n];

		if (supply->realm != realm || supply->task_type != task_type || supply->ready == 0 || !is_for(supply, groups))
			continue;
		for (uint64 at = supply->head; at < supply->tail && left > 0; at++)
		{
			int32		i = ring_of(supply)[at % SUPPLY_RING];
			const Entry *entry;

			if (i < 0)
				continue;
			left--;
			entry = entry_at(i);
			if (entry->ready == 0 || batches[entry->batch].partition != partition ||
				(requester != 0 && entry->requester != requester) || is_over(entry, now))
				continue;
			seen->slots += entry->ready;
			if (seen->first == 0 || entry->task_id < seen->first)
				seen->first = entry->task_id;
		}
	}
	LWLockRelease(lock);
	seen->whole = left > 0;
}

int32
stock_offered(const Groups *groups, int64 task_id, TimestampTz now)
{
	uint32		realm = realm_current()->serial;
	int32		slots = 0;

	LWLockAcquire(lock, LW_SHARED);
	for (int32 i = *task_chain(task_id); i >= 0; i = entry_at(i)->next)
	{
		const Entry *entry = entry_at(i);
		const Supply *supply = supply_of(entry);

		if (entry->task_id == task_id && supply->realm == realm && entry->in_ring && is_for(supply, groups) && !is_over(entry, now))
			slots += entry->ready;
	}
	LWLockRelease(lock);
	return slots;
}

/* accepts a second, as the last minutes were; a half counts what is a minute ago */
#define PACE_HALF_LIFE (60.0 * USECS_PER_SEC)

static double
pace_now(const Supply *supply, TimestampTz now)
{
	int64		accepts = supply->counts.hits + supply->counts.misses - supply->flushed.hits - supply->flushed.misses;
	double		seconds = (double) (now - supply->pace_at) / USECS_PER_SEC;
	double		keep = exp2(-(double) (now - supply->pace_at) / PACE_HALF_LIFE);

	if (supply->pace_at == 0)
		return accepts / 60.0;
	return seconds <= 0 ? supply->pace : supply->pace * keep + (accepts / seconds) * (1 - keep);
}

int
stock_list(SupplyInfo **list)
{
	uint32		realm = realm_current()->serial;
	TimestampTz now = clock_now();
	TimestampTz soon = now + guc_supply_lease * USECS_PER_SEC / 2;
	SupplyInfo *infos = palloc0(sizeof(SupplyInfo) * guc_max_supplies);
	int			count = 0;

	LWLockAcquire(lock, LW_SHARED);
	for (int32 n = 0; n < header->used_supplies; n++)
	{
		const Supply *supply = &supplies[n];
		SupplyInfo *info = &infos[count];

		if (supply->realm != realm)
			continue;
		info->group = supply->group;
		info->task_type = supply->task_type;
		info->tasks = supply->entries;
		info->target = supply->target;
		info->counts = supply->counts;
		info->flushed = supply->flushed;
		info->pace = pace_now(supply, now);
		for (int32 i = supply->first_entry; i >= 0; i = entry_at(i)->next_of_supply)
		{
			const Entry *entry = entry_at(i);

			info->ending |= batches[entry->batch].lease_until < soon;
			info->reserved += entry->reserved;
			if (!batches[entry->batch].published)
				info->pending += entry->ready;
			else if (entry->barred > 0)
				info->ended += entry->ready;
			else if (entry->expires <= now || batches[entry->batch].lease_until <= now)
				info->stale += entry->ready;
			else
				info->ready += entry->ready;
		}
		count++;
	}
	LWLockRelease(lock);
	*list = infos;
	return count;
}

typedef struct Flush
{
	uint32		realm;
	TimestampTz now;
	SupplyInfo	info;
} Flush;

static void
flush_commit(void *record)
{
	Flush	   *flush = record;
	Supply	   *supply;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	supply = find_supply(flush->realm, flush->info.group, flush->info.task_type);
	if (supply)
	{
		supply->flushed = flush->info.counts;
		supply->pace = flush->info.pace;
		supply->pace_at = flush->now;
	}
	LWLockRelease(lock);
}

static void
flush_abort(void *record)
{
}

static const XactKind flush_kind = {flush_commit, flush_abort};

void
stock_flushed(const SupplyInfo *info)
{
	Flush	   *flush = xact_add(&flush_kind, sizeof(Flush));

	flush->realm = realm_current()->serial;
	flush->now = clock_now();
	flush->info = *info;
}

void
stock_set_target(const SupplyInfo *info)
{
	uint32		realm = realm_current()->serial;
	Supply	   *supply;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	supply = find_supply(realm, info->group, info->task_type);
	if (supply)
	{
		supply->target = info->target;
		supply->exclusive = info->exclusive;
	}
	LWLockRelease(lock);
}

void
stock_missed(int32 group, int64 task_type)
{
	const Realm *realm = realm_current();
	Supply	   *supply;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	supply = get_supply(realm, group, task_type);
	if (supply)
		supply->counts.misses++;
	LWLockRelease(lock);
}

int
stock_options(const int32 *groups, int group_count, bool others, int64 task_type, StockOption *options, int max)
{
	uint32		realm = realm_current()->serial;
	int			count = 0;

	LWLockAcquire(lock, LW_SHARED);
	for (int32 i = 0; i < header->used_supplies && count < max; i++)
	{
		const Supply *supply = &supplies[i];
		bool		member = false;
		int32		first;

		if (supply->realm != realm || supply->ready == 0 || (task_type != 0 && supply->task_type != task_type))
			continue;
		for (int g = 0; g < group_count; g++)
			member |= groups[g] == supply->group;
		if (member == others || (others && supply->exclusive))
			continue;
		first = ring_of(supply)[supply->head % SUPPLY_RING];
		options[count].group = supply->group;
		options[count].task_type = supply->task_type;
		options[count].created = first >= 0 ? entry_at(first)->created : 0;
		options[count++].expires = first >= 0 ? entry_at(first)->expires : 0;
	}
	LWLockRelease(lock);
	return count;
}
