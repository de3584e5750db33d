/*
 * supply.h
 *	  What is at hand for groups of performers: supplies in shared memory (README.md).
 */
#ifndef TASKEX_SUPPLY_H
#define TASKEX_SUPPLY_H

#include "postgres.h"

#include "access/transam.h"
#include "infra/shmem.h"
#include "market/source.h"
#include "supply/group.h"
#include "utils/timestamp.h"

/* what a supply was used for since the start-up */
typedef struct SupplyCounts
{
	int64		hits;			/* accepts from it */
	int64		misses;			/* accepts of members that it did not serve */
	int64		leased;			/* slots */
	int64		returned;		/* slots that went back unused */
	int64		refills;
	int64		waited;			/* microseconds from supply of a task to its accept, of the hits */
} SupplyCounts;

typedef struct SupplyInfo
{
	int32		group;
	int64		task_type;
	bool		exclusive;
	int32		tasks;
	int32		target;
	int32		ready;			/* slots that can be had */
	int32		fresh;			/* ... and were not passed in vain by a member of late */
	int32		reserved;		/* ... that running transactions are taking */
	int32		pending;		/* ... of leases that are not committed */
	int32		coming;			/* ... of these: by transactions that have not gone on for long */
	int32		ended;			/* ... of closed tasks */
	int32		stale;			/* ... that have expired, or whose lease is over */
	bool		ending;			/* a lease is over soon */
	double		pace;			/* accepts a second, of late */
	SupplyCounts counts;
	SupplyCounts flushed;
} SupplyInfo;

/* a slot that is to go back */
typedef struct SupplyReturn
{
	int64		task_id;
	int64		lease_id;
	int64		requester;
	int32		partition;		/* where he lives, for who has looked it up */
	int32		slots;
	int32		item;			/* in the withdrawal */
} SupplyReturn;

typedef struct NewTask
{
	int64		task_id;
	int64		requester;
	int64		reward;
	TimestampTz created;
	TimestampTz expires;
	int32		slots;
	bool		counted;
	bool		several;		/* it wants several performers */
	bool		barred;			/* it is closed */
	Jsonb	   *input;			/* NULL: not kept */
} NewTask;

typedef struct NewBatch
{
	int64		lease_id;
	int32		group;
	int64		task_type;
	bool		exclusive;
	TimestampTz lease_until;
	int			count;
	NewTask    *tasks;
} NewBatch;

extern const ShmemPart supply_shmem;
extern const TaskSource supply_source;

/* reserve.c, withdraw.c, lease.c, look.c: what is at hand (stock.h) */

/* is anything at all kept for anybody in this exchange? */
extern bool stock_any(void);

typedef enum StockState
{
	STOCK_UNKNOWN,				/* nobody has read the leases since the start-up */
	STOCK_PARTLY,				/* there was no room for all of them */
	STOCK_LOADED
} StockState;

extern StockState stock_load_state(void);
extern void stock_set_loaded(bool all);
extern bool stock_knows(int64 lease_id);

/* how many tasks of the type can be added for the group, at most wanted */
extern int	stock_room(int32 group, int64 task_type, int wanted);

/*
 * Adds a batch: pending until this transaction commits, or, if committed, at
 * once.  False: there is no room (any more).
 */
extern bool stock_add(const NewBatch *batch, bool committed);

/* in so far as a supply has no more than this it is to be filled up: batches should not be too small */
extern bool supply_is_low(int32 have, int32 target);

/* all supplies of the exchange, or only those that may be low */
extern int	stock_list(bool low, SupplyInfo **list);

/* slots of the task that are at hand, or about to be */
extern int32 stock_held(int64 task_id);

/* when this transaction commits: its counts are in the tables, its pace is this */
extern void stock_flushed(const SupplyInfo *info);

/* at once */
extern void stock_set_target(const SupplyInfo *info);

/* a slot for the performer; exclusive: set if there is one that he may not have */
typedef struct StockLook
{
	int32		group;
	int64		task_type;
	int64		performer;
	uint32		blocks;
	TimestampTz now;
	uint64		limit;			/* 0: begins; else where it ends */
	uint32		incarnation;
	uint64		cursor;
} StockLook;

extern bool stock_pop(StockLook *look, SourceTask *task);

/* is there one?  He may have it or not */
extern bool stock_has(StockLook *look);

/*
 * Looks at what of the type is ready of the requester, for members of the groups or,
 * if it is shared, for everybody; no groups (NULL): for whoever.
 */
extern void stock_glance(const Groups *groups, int64 task_type, int64 requester,
						 TimestampTz now, SourceGlance *seen);

/* slots of the task that the members of the groups may have */
extern int32 stock_offered(const Groups *groups, int64 task_id, TimestampTz now);

/* the slot popped last is not taken; later: he may want it another time */
extern void stock_refuse(const StockLook *look, bool later);
extern SourceAnswer stock_take(int64 performer, const int32 *groups, int group_count, int64 task_id,
							   TimestampTz now, SourceTask *task);
extern int	stock_recall(int64 task_id, SupplyReturn *returns, int max);


/* what groups have of the type (0: of any), and how it looks from outside */
typedef struct StockOption
{
	int32		group;
	int64		task_type;
	TimestampTz created;
	TimestampTz expires;
} StockOption;

extern int	stock_options(const int32 *groups, int group_count, bool others, int64 task_type,
						  StockOption *options, int max);

/*
 * Takes ready slots out of the supply of the group for the type that can no
 * longer be had, and all beyond "keep"; returns how many tasks, at most max.
 */
extern int	stock_withdraw(int32 group, int64 task_type, int32 keep, TimestampTz now,
						   SupplyReturn *returns, int max);
extern void stock_put_back(int32 item);

/* leases with nothing left */
extern int	stock_done(int64 *lease_ids, int max);
extern void stock_forget(const int64 *lease_ids, int count);	/* at commit */

/* leases of the supply that end before the time */
extern int	stock_ending(int32 group, int64 task_type, TimestampTz before, int64 *lease_ids, int max);
extern void stock_renew(const int64 *lease_ids, int count, TimestampTz lease_until);	/* at commit */

/* load.c: leases that were taken before the start-up */
extern void supply_require_loaded(void);
extern void supply_load_missing(void);	/* those for which there was no room */

/* until the transaction ends nobody loads leases, or removes them from the record */
extern bool supply_lock_leases(bool wait);

/* supplier.c */
extern void supplier_wake(void);

#endif							/* TASKEX_SUPPLY_H */
