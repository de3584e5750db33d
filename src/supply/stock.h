/*
 * stock.h
 *	  What is at hand, as it lies in shared memory: for stock.c, reserve.c,
 *	  withdraw.c, lease.c and look.c.
 */
#ifndef TASKEX_STOCK_H
#define TASKEX_STOCK_H

#include "postgres.h"

#include "base/guc.h"
#include "infra/realm.h"
#include "supply/refill.h"
#include "supply/supply.h"

#include "storage/lwlock.h"

/* places in a supply's ring; more than the tasks that it can have */
#define SUPPLY_RING 1024
#define SUPPLY_HOLDERS 8

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
	RefillTurn	turns[TURN_KINDS];
	uint64		seen;			/* members of late found nothing for them at positions before this one */
	int32		first_entry;	/* -1: none */
	int32		first_batch;
	uint64		head;			/* its ring: positions head .. tail - 1 */
	uint64		tail;
	double		pace;
	TimestampTz pace_at;
	SupplyCounts counts;
	SupplyCounts flushed;
} Supply;

typedef struct StockBatch
{
	int64		lease_id;
	int32		supply;			/* -1: free */
	int32		next;			/* of its supply, or free list */
	int32		previous;
	int32		entries;		/* that are left */
	bool		published;
	TransactionId xid;			/* whose it is until it is published */
	TimestampTz added;
	TimestampTz lease_until;
} StockBatch;

typedef struct StockEntry
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
	bool		several;
	bool		passed;			/* somebody went past it who might have had it */
	int32		barred;			/* so many have recalled it */
	int32		ready;
	int32		reserved;
	int32		withdrawn;
	int32		pins;			/* withdrawals that refer to it, with slots or (recalls) without */
	int64		holders[SUPPLY_HOLDERS];	/* performers with a slot reserved; 0: free */
	int32		input_size;		/* 0: not kept */
	char		input[FLEXIBLE_ARRAY_MEMBER];
} StockEntry;

typedef struct StockHeader
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
} StockHeader;

/* where it lies, in this process */
typedef struct Stock
{
	StockHeader *header;
	int32	   *supply_chains;
	int32	   *task_chains;
	Supply	   *supplies;
	int32		(*rings)[SUPPLY_RING];	/* of each supply: entry, or -1 */
	StockBatch *batches;
	char	   *entries;
	LWLock	   *lock;
} Stock;

extern Stock stock;

static inline Size
entry_size(void)
{
	return MAXALIGN(offsetof(StockEntry, input) + guc_supply_input);
}

static inline StockEntry *
entry_at(int32 i)
{
	return (StockEntry *) (stock.entries + (Size) i * entry_size());
}

static inline int32
index_of(const StockEntry *entry)
{
	return (int32) (((const char *) entry - stock.entries) / entry_size());
}

static inline int32 *
ring_of(const Supply *supply)
{
	return stock.rings[supply - stock.supplies];
}

/* stock.c; the lock is held, exclusive if anything changes */

/* NULL: there is none */
extern Supply *stock_find_supply(uint32 realm, int32 group, int64 task_type);

/* made if need be; NULL: there is no room */
extern Supply *stock_get_supply(const Realm *realm, int32 group, int64 task_type);
extern Supply *stock_supply_of(const StockEntry *entry);

/* where the chain of the entries of a task begins */
extern int32 *stock_task_chain(int64 task_id);
extern void stock_free_entry(StockEntry *entry);
extern void stock_free_batch(StockBatch *batch);

/* after a change of its slots: may it be had, is it used up? */
extern void stock_settle(StockEntry *entry);
extern void stock_add_ready(StockEntry *entry, int32 slots);
extern void stock_ring_remove(Supply *supply, StockEntry *entry);

/* lease.c; the lock is held: its slots can be had from now on */
extern void stock_publish(StockBatch *batch);

#endif							/* TASKEX_STOCK_H */
