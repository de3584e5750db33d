/*
 * feed.h
 *	  Where the available tasks are: one shelf for each task type on each
 *	  storage partition, read by forward-only cursors.
 *
 * The rows themselves are in _taskex.task_N; the feed knows from where to read
 * them.  README.md explains the protocol.
 */
#ifndef TASKEX_FEED_H
#define TASKEX_FEED_H

#include "postgres.h"

#include "infra/shmem.h"

typedef struct Shelf Shelf;

/*
 * A performer's look along a shelf: a sequence of windows of task ids, first
 * those offered again since he looked last, then what lies ahead of him.
 */
typedef struct FeedScan
{
	Shelf	   *shelf;
	int32		partition;
	int64		task_type;
	int64		after;			/* the window: after < task_id <= upto */
	int64		upto;
	/* kept by feed.c */
	int64		performer;
	uint32		blocks;			/* who blocks him */
	uint32		incarnation;
	uint64		seen;			/* ranges that he has looked through */
	uint64		generation;		/* ranges there were when the scan began */
	int64		cursor;			/* how far he is on the shelf */
	int64		high;			/* where the shelf ended when the scan began */
	int64		low;			/* the shelf's low when the scan began */
	bool		in_range;
	bool		forget;			/* he went past what he may want another time: his
								 * place is not remembered */
} FeedScan;

extern const ShmemPart feed_shmem;

/*
 * This transaction is going to supply tasks of the type on the partition: to
 * be called before their ids are allocated.
 */
extern Shelf *feed_supply_begin(int64 task_type, int32 partition);

/* ... and these are the ids: readers learn of them at commit */
extern void feed_supply(Shelf *shelf, int64 first, int64 last);

/* at commit: the task has a free slot again */
extern void feed_reoffer(int64 task_type, int32 partition, int64 task_id);

/*
 * At commit: the task, which was closed, or on another shelf, can be had there.
 * Unlike a task that feed_reoffer is for, a restart might not look for it.
 */
extern void feed_reopen(int64 task_type, int32 partition, int64 task_id);

/*
 * The same for tasks of one user who moves to the partition: at commit, what is
 * open of a type between two ids can be had there.
 */
typedef struct FeedMove
{
	int32		partition;
	int			count;
	Datum	   *types;
	Datum	   *lows;
} FeedMove;

extern void feed_move_begin(FeedMove *move, int32 partition, int max_types);
extern void feed_move_add(FeedMove *move, int64 task_type, int64 first, int64 last);
extern void feed_move_end(FeedMove *move);

/*
 * The shelves of a task type (0: of all types, golden ones left out) that are
 * not idle, each once, beginning anywhere; returns their number and a palloc'd
 * array.
 */
extern int	feed_shelves(int64 task_type, Shelf ***shelves);

/*
 * There may be something on shelves that shared memory has no room for, so
 * that feed_shelves does not know them.
 */
extern bool feed_crowded(void);

/*
 * A walk through the shelves of all types that are not idle, in an order that
 * differs from walk to walk, so that its beginning is a sample of them.
 */
typedef struct FeedSample
{
	uint32		blocks;			/* of places, when it began; 0: begins now */
	uint32		block;			/* the next one */
	uint32		step;			/* to the one after, prime to blocks */
	uint32		seen;			/* blocks so far */
} FeedSample;

/* up to max shelves that the walk has not come to yet; 0 at the end */
extern int	feed_sample(FeedSample *sample, Shelf **shelves, int max);

/* the shelf if shared memory has it; it may be gone, or idle, a moment later */
extern Shelf *feed_known_shelf(int64 task_type, int32 partition, bool *idle);

/* a walk through all that are on record, some at a time */
typedef struct FeedWalk
{
	int64		task_type;		/* 0: of all types */
	int64		after_type;		/* start with zeros */
	int32		after_partition;
	int64		total;
	uint32		missing;		/* shelf.c: offers nobody was told of, when it began */
} FeedWalk;

/* the next shelves; 0 at the end */
extern int	feed_walk(FeedWalk *walk, Shelf ***shelves);

/* a shelf's task type, as long as it does not give way; 0: it is not ours any more */
extern int64 feed_shelf_type(const Shelf *shelf);

/*
 * Begins a performer's scan of a shelf (of the task type, unless 0) with its
 * first window; false: there is nothing for him.  blocks: a number that changes
 * with those who block him, because what he was passed by for their sake is
 * behind his cursor.
 */
extern bool feed_scan_begin(FeedScan *scan, Shelf *shelf, int64 task_type, int64 performer,
							uint32 blocks);

/* the window holds nothing (more) for him: the next one, or false at the end */
extern bool feed_scan_next(FeedScan *scan);

/*
 * What a look from the beginning of the present window saw, with a snapshot
 * taken since feed_scan_begin: the first task with a free slot, whoever may
 * take it, that feed_claim did not refuse; 0: there is none in the window.
 */
extern void feed_scan_saw(FeedScan *scan, int64 first);

/*
 * The task just claimed cannot be had, and feed_claim_failed is about to have
 * it offered again: the rest of the window is behind it.
 */
extern void feed_scan_missed(FeedScan *scan, int64 task_id);

/* he takes a task from the present window; the scan is over */
extern void feed_scan_took(FeedScan *scan, int64 task_id);

/*
 * Claims a task until the transaction ends, so that others pass it by without
 * touching its row; false: somebody else is at it, and when he is done it will
 * be offered again if it has a slot left.
 */
extern bool feed_claim(Shelf *shelf, int64 task_id);

/*
 * The caller changed the row of a task so that it is taken, or closed, without
 * having claimed it: when the transaction ends, others hear of slots that are
 * left, or left again.
 */
extern void feed_took(int64 task_type, int32 partition, int64 task_id, int32 left);

/*
 * The task just claimed was taken, and has this many slots left, or may have
 * some again before others hear of this
 */
extern void feed_claimed(int64 task_id, int32 left);

/* at commit: so have tasks between the two */
extern void feed_reoffer_some(int64 task_type, int32 partition, int64 first, int64 last);

/* as feed_took, for "count" tasks between the two; left: some have slots left */
extern void feed_took_some(int64 task_type, int32 partition, int64 first, int64 last, int count, bool left);

/*
 * Where tasks of the type may be had on the partition: after < task_id <= upto;
 * false: the shelf cannot be in shared memory now.
 */
extern bool feed_extent(int64 task_type, int32 partition, int64 *after, int64 *upto);

/* the task just claimed is not taken after all, and may be claimed again */
extern void feed_unclaim(int64 task_id);

/* the row of the task just claimed could not be had: busy, or taken */
extern void feed_claim_failed(int64 task_id);

/* one round of background work on the shelves of this exchange */
extern void feed_maintain(void);

#endif							/* TASKEX_FEED_H */
