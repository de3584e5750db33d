/*
 * shelf.h
 *	  The shelf as shelf.c, feed.c, feed_scan.c and feed_maintain.c share it.
 */
#ifndef TASKEX_SHELF_H
#define TASKEX_SHELF_H

#include "postgres.h"

#include "market/feed.h"
#include "storage/lwlock.h"
#include "storage/spin.h"
#include "utils/timestamp.h"

#define SHELF_RANGES 128
#define SHELF_CLAIMS 64
#define SHELF_BUSY 32

/* tasks taken between two moves of the stored low */
#define TAKEN_DURABLE 1000

/* tasks that are offered again: lo <= task_id <= hi; hi 0: nothing left */
typedef struct Range
{
	int64		lo;
	int64		hi;
} Range;

typedef struct Claim
{
	int64		task_id;
	int			pid;			/* whose it is */
	bool		passed;			/* somebody went past it meanwhile */
} Claim;

typedef struct ShelfKey
{
	uint32		realm;			/* 0: free */
	int32		partition;
	int64		task_type;
} ShelfKey;

struct Shelf
{
	slock_t		mutex;
	ShelfKey	key;			/* changes under the feed lock, exclusive */
	uint32		incarnation;	/* unique over all shelves since start-up */
	int			pins;			/* transactions and scans that refer to it */
	bool		registered;		/* a note or offer of it is committed, not idle */
	bool		retired;		/* its offer is idle */
	bool		loaded;			/* low and high are known */
	bool		golden;			/* somebody has a rate of golden tasks for the type */

	int64		low;			/* all tasks up to it are taken, or in a range */
	int64		high;			/* the highest task known to be committed */
	uint64		generation;		/* ranges added so far */
	int			open_ranges;	/* ranges with something left */
	Range		ranges[SHELF_RANGES];	/* range n is at n % SHELF_RANGES */

	int			claim_count;
	Claim		claims[SHELF_CLAIMS];
	int			busy_count;
	int64		busy[SHELF_BUSY];	/* to be offered again a little later */

	/* for those who choose: the first task supplied since nothing was to be had */
	int64		first;
	/* ... and of the task taken last; created 0: none was */
	TimestampTz front_created;
	TimestampTz front_expires;

	/* background work */
	int64		taken;			/* tasks taken since the last round */
	int64		taken_durable;	/* ... since the stored low was moved */
	int64		durable;		/* low as stored in _taskex.offer */
	int64		lowered;		/* ... as lowered before it was loaded */
	uint32		epoch;			/* of supplying transactions */
	int			supplying[2];	/* how many of them, of even and odd epochs */
	int64		barrier;		/* ids up to it were allocated before epoch; 0: none set */
};

/* shelf.c; "mutex held" is the shelf's */
extern void shelf_key(ShelfKey *key, int64 task_type, int32 partition);

/* the shelf, made if need be, and pinned */
extern Shelf *shelf_get(int64 task_type, int32 partition);

/* the same; NULL if there is no room */
extern Shelf *shelf_try_get(int64 task_type, int32 partition);

/* the same if it is in shared memory, else NULL; cannot fail */
extern Shelf *shelf_pin_known(const ShelfKey *key);

/*
 * The same for who has something to offer on it: where the shelf has given
 * way, those who find nothing are made to look through all that is on record.
 */
extern Shelf *shelf_pin_to_tell(const ShelfKey *key);

/* pins a shelf if it is still of this realm (and type, unless 0) */
extern bool shelf_pin_ours(Shelf *shelf, int64 task_type);
extern void shelf_pin(Shelf *shelf);
extern void shelf_unpin(Shelf *shelf);
extern void shelf_load(Shelf *shelf);

/* the stored low is, or is about to be, this or less; mutex held */
extern void shelf_lower_durable(Shelf *shelf, int64 low);
extern void shelf_add_range(Shelf *shelf, int64 lo, int64 hi);	/* mutex held */
extern void shelf_strike_range(Shelf *shelf, Range *range); /* mutex held */
extern void shelf_changed(Shelf *shelf);	/* mutex held: is it idle now? */
extern bool shelf_is_idle(const Shelf *shelf);

/* feed.c: shelf_pin_ours until released, or the transaction ends */
extern bool shelf_hold(Shelf *shelf, int64 task_type);
extern void shelf_release(Shelf *shelf);

/* visits the shelves of this realm; the shelf is held during the visit */
extern void shelf_each(void (*visit) (Shelf *shelf));

#endif							/* TASKEX_SHELF_H */
