/*
 * workload.h
 *	  Programs that are queued and run: what the files of the workload share.
 */
#ifndef TASKEX_WORKLOAD_H
#define TASKEX_WORKLOAD_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "directory/directory.h"
#include "infra/shmem.h"

#include "storage/itemptr.h"

extern const ShmemPart queue_shmem;
extern const ShmemPart run_wait_shmem;

/*
 * A run's id is a counter times RUN_ID_STEP plus the number, modulo RUN_ID_STEP,
 * of the storage partition where it was submitted.
 */
#define RUN_ID_STEP 1024

static inline int64
run_id_make(int64 counter, int32 partition)
{
	return counter * RUN_ID_STEP + partition % RUN_ID_STEP;
}

/* no run whose counter is up to this one has a higher id */
static inline int64
run_id_bound(int64 counter)
{
	return counter == 0 ? 0 : counter * RUN_ID_STEP + RUN_ID_STEP - 1;
}

/* spreads ids over chains */
static inline uint32
run_hash(uint64 id)
{
	id ^= id >> 33;
	id *= UINT64CONST(0xff51afd7ed558ccd);
	id ^= id >> 33;
	return (uint32) id;
}

/* ---- the queue, as transactions see it: lane.c, ready.c, reserve.c, load.c ---- */

typedef struct LaneName
{
	int64		customer_id;
	int32		environment_id;
	int32		priority;		/* 0 .. 9 */
} LaneName;

/*
 * For whom runs wait: those of an environment whose code workers outside run, or
 * those of an environment that one role's executors may take.
 */
typedef struct QueueName
{
	int32		environment_id;
	Oid			role;			/* QUEUE_OUTSIDE, QUEUE_NO_ROLE or the customer's db_role */
} QueueName;

#define QUEUE_OUTSIDE InvalidOid
#define QUEUE_NO_ROLE ((Oid) 1) /* whose customer has no role: nobody may take them */

/* how much of a customer's runs may run */
typedef struct RunLimits
{
	int32		max_running;
	int32		rate;			/* starts in rate_us; 0: any */
	int64		rate_us;
	bool		paused;
} RunLimits;

/* what the queue has to know of a run that is ready */
typedef struct ReadyRun
{
	int64		run_id;
	TimestampTz submitted;
	TimestampTz deadline;		/* DT_NOEND: none */
	ItemPointerData tid;		/* a hint where its row is, or not valid */
} ReadyRun;

/*
 * A lane, kept to the end of the transaction, with a key (hash of its name; 0:
 * none).  Where there is no room it says so, and what becomes ready is read from
 * the table later.
 */
typedef struct PinnedLane
{
	LaneName	name;
	uint64		key_hash;
	int32		lane;			/* -1: there was no room */
	int32		key;			/* -1: none is wanted */
} PinnedLane;

extern void queue_pin(PinnedLane *pinned);
extern uint64 run_key_hash(const char *key, Size length);

/* the queue has what was there at the start; anybody who uses it calls this first */
extern void queue_require_loaded(void);

/* at commit: count runs with ids at steps of RUN_ID_STEP are ready */
extern void queue_ready_at_commit(const PinnedLane *pinned, const ReadyRun *first, int32 count);

/* at commit: one that was running ended, or waits for something else; seconds it took */
extern void queue_ended_at_commit(int64 run_id, double cost);

/* at commit: one that was running is ready again */
extern void queue_again_at_commit(const PinnedLane *pinned, const ReadyRun *run, double cost);

/* at commit: the start of one that is running does not count for its customer's rate; called before what follows from it */
extern void queue_unstarted_at_commit(int64 run_id);

/* at commit: one that was ready is no more */
extern void queue_gone_at_commit(const LaneName *name, int64 run_id);

/* at commit: the lease of one that is running lasts until then */
extern void queue_lease_at_commit(int64 run_id, TimestampTz until);

/* at commit: limits of a customer, or of one of his keys */
extern void queue_limits_at_commit(int64 customer_id, uint64 key_hash, const RunLimits *limits);

/* at commit: the customer's role is another one */
extern void queue_role_at_commit(int64 customer_id, Oid role);

/* ---- taking ---- */

typedef struct Taken
{
	int64		run_id;
	int64		customer_id;
	int32		priority;
	int32		place;			/* in the reservation */
	ItemPointerData tid;		/* a hint where its row is, or not valid */
	TimestampTz at;				/* when: not before all that has made it ready */
	float		cost;			/* seconds that runs of its lane take on average */
} Taken;

typedef struct Reservation Reservation;

/* room for so many */
extern Reservation *queue_reserve_begin(int32 count, TimestampTz lease_until);

/* the next run, of one customer (0: anybody's), reserved; false: there is none */
extern bool queue_reserve(Reservation *reservation, const QueueName *name, int64 customer_id, Taken *taken);

/* what became of it: at commit it is running, goes, or is put back */
extern void queue_took(Reservation *reservation, const Taken *taken);
extern void queue_refuse(Reservation *reservation, const Taken *taken, bool gone);

/* no run of the customer is started before then */
extern void queue_rest(int64 customer_id, TimestampTz now, TimestampTz until);

/* ---- looking ---- */

/* ids of runs whose leases are over by now, at most max */
extern int32 queue_expired(TimestampTz now, int64 *run_ids, int32 max);

/* when to look again for leases that are over */
extern TimestampTz queue_next_lease(void);

/* whose run it is, if it is running or ready in memory; 0: not known */
extern int64 queue_customer_of(int64 run_id);

/* ---- waiting: wait.c ---- */

extern void run_ended_at_commit(int64 run_id);

/*
 * Calls look until it is true, or until then: at once, and whenever the run
 * may have ended, or the environment may have runs.
 */
extern bool run_wait(int64 run_id, TimestampTz until, bool (*look) (void *arg), void *arg);
extern bool environment_wait(const QueueName *name, TimestampTz until, bool (*look) (void *arg), void *arg);

/* due_work.c: what the conductor does, outside any transaction */
extern void workload_maintain(void);

/* when the next thing becomes due, as the last round saw it */
extern TimestampTz workload_next(void);

/* when the conductor should look at runs in parts again, by the real clock; DT_NOEND: there are none */
extern TimestampTz splits_next(void);

/* load.c */
extern void queue_store_low(void);
extern void queue_adopt(void);

#endif							/* TASKEX_WORKLOAD_H */
