/*
 * lane.h
 *	  What queue.c, lane.c, ready.c, reserve.c, load.c, look.c and wait.c do with the
 *	  queue in shared memory.
 */
#ifndef TASKEX_WORKLOAD_LANE_H
#define TASKEX_WORKLOAD_LANE_H

#include "postgres.h"

#include "workload/queue.h"

/* what a session has read of limits */
typedef struct KnownLimits
{
	bool		customer_known;
	bool		key_known;
	bool		role_known;
	Oid			role;			/* of the lane's queue */
	uint64		changes;		/* limits_changed before it was read */
	RunLimits	customer;
	RunLimits	key;
} KnownLimits;

/* all of these: the lock is held, exclusive if anything changes */

/* queue.c */
extern int32 queue_find_entry(uint32 realm, int64 run_id);

/* -1: all are in use */
extern int32 queue_new_entry(uint32 realm, int64 run_id, int32 lane, int32 key);
extern void queue_free_entry(int32 index);
extern int32 *queue_lane_chain(uint32 realm, const LaneName *name);
extern int32 *queue_environment_chain(uint32 realm, const QueueName *name);
extern int32 *queue_customer_chain(uint32 realm, int64 customer_id);
extern int32 *queue_key_chain(uint32 realm, int64 customer_id, uint64 hash);

/* lane.c */
extern int32 queue_find_lane(uint32 realm, const LaneName *name);
extern int32 queue_find_environment(uint32 realm, const QueueName *name);
extern int32 queue_find_customer(uint32 realm, int64 customer_id);
extern int32 queue_find_key(uint32 realm, int64 customer_id, uint64 hash);

/*
 * The lane and the key, made if need be (-1: there is no room).  false: limits
 * must be learnt first, without the lock.
 */
extern bool queue_get(const Realm *realm, PinnedLane *pinned, KnownLimits *known);
extern void queue_learn_limits(const PinnedLane *pinned, KnownLimits *known);	/* no lock */

extern int32 queue_get_environment(const Realm *realm, const QueueName *name);

/* into the heaps, or out of them, as it has to be now */
extern void lane_settle(int32 lane);

/* the first of its ready entries, the urgent root or what it costs changes in between */
extern void lane_leave(int32 lane);
extern void lane_append(int32 lane, int32 entry);	/* in its place by run_id */
extern void lane_take(int32 entry); /* out of its lane's list */
extern void lane_widen(Lane *lane, int64 low, int64 high);
extern void customer_settle(int32 customer, TimestampTz now);
extern void key_park(int32 entry);
extern void key_take(int32 entry);
extern void key_unpark(int32 key, int32 count);

/* all lanes, keys, customers and environments of a realm, whose entries are gone */
extern void queue_forget(uint32 realm);

/* a start that was none after all does not count for its rate; the lock is held */
extern void customer_unstart(int32 customer);

/* ready.c: signals those who wait for runs of an environment */
extern void queue_signal(Environment *environment, int32 runs);

/* a run that is ready gets an entry, or widens its lane's window */
extern void queue_place(int32 lane, int32 key, const ReadyRun *run);

/* the same for one that was found in the window: false: there is no entry to be had */
extern bool queue_place_found(int32 lane, int32 key, const ReadyRun *run);

/* for an entry of this lane (-1: none), urgent: with a deadline, one of another goes back to the table; false: there is none */
extern bool queue_make_room(int32 for_lane, bool urgent);

/* lanes that found no entries try again; false: there was none */
extern bool queue_unstick(void);

/* of one that is running, or reserved, and is no more */
extern void entry_uncount(Entry *entry);
extern void entry_free(int32 entry);

/* one that is reserved or running is ready again */
extern void entry_back(int32 entry);

/* load.c: a lane's window, which somebody reads */
typedef struct Refill
{
	uint32		realm;
	int32		lane;			/* -1: none */
	LaneName	name;
	int64		low;
	int64		high;
} Refill;

/* reads it, without the lock; the lane is stuck if nothing was found room for */
extern void queue_refill(Refill *refill);

/* what is left of it is the lane's again */
extern void queue_refill_end(Refill *refill);

/* empties what a realm has in the queue */
extern void queue_clear(int slot, uint32 serial);

static inline bool
lane_has_window(const Lane *lane)
{
	return lane->high > lane->low;
}

/*
 * Is the first of its ready entries the next one?  Not if the table may have
 * one before it.
 */
static inline bool
lane_has_next(const Lane *lane)
{
	int64		run_id;

	if (lane->first < 0)
		return false;
	run_id = queue.entries[lane->first].run_id;
	return !(lane_has_window(lane) && run_id > lane->low) && !(lane->refilling && run_id > lane->refill_low);
}

#endif							/* TASKEX_WORKLOAD_LANE_H */
