/*
 * internal.h
 *	  What pool.c, keep.c, settle.c, executor.c and look.c share.
 */
#ifndef TASKEX_EXECUTOR_INTERNAL_H
#define TASKEX_EXECUTOR_INTERNAL_H

#include "postgres.h"

#include "executor/pool.h"
#include "infra/realm.h"
#include "infra/worker.h"
#include "workload/demand.h"

#include "storage/lwlock.h"

/* what is remembered of how many kinds of executors */
#define POOL_GROUPS 512
#define GROUP_MESSAGE 256

/* after so many failures to make one ready its runs fail */
#define SETUP_PATIENCE 3

/* what is known of a role's executors in an environment, also when there are none */
typedef struct PoolGroup
{
	ExecutorKind kind;			/* realm 0: free */
	int			failures;		/* to make one ready, in a row */
	TimestampTz next_try;
	TimestampTz used_at;		/* there was work */
	TimestampTz wanting_since;	/* there is work, and no executor; 0: not so */
	char		message[GROUP_MESSAGE]; /* of the last failure */
} PoolGroup;

typedef struct PoolRealm
{
	uint32		serial;			/* whose the rest is */
	bool		recovered;		/* what ran when the server ended is settled */
	bool		draining;		/* no run is taken */
	int			wanting;		/* roles with work and without executors, at the last look */
} PoolRealm;

typedef struct PoolHeader
{
	TimestampTz begun;
	bool		after_crash;	/* a process has crashed, not the postmaster */
	uint32		last_nonce;
	TimestampTz no_worker_since;	/* there was no free worker slot; 0: all that was wanted was started */
	TimestampTz no_worker_at;	/* the last time */
	int			no_worker_live; /* with so many executors */
	PoolGroup	groups[POOL_GROUPS];
	PoolRealm	realms[FLEXIBLE_ARRAY_MEMBER];	/* by slot */
} PoolHeader;

typedef struct Pool
{
	PoolHeader *header;
	ExecutorSlot *slots;
	LWLock	   *lock;
} Pool;

extern Pool pool;

extern WorkerKind executor_kind;

/* all of these: the lock is held, exclusive */

/* NULL: nothing is known of it, and unless make is false there is no room */
extern PoolGroup *pool_group(const ExecutorKind *kind, bool make);
extern PoolRealm *pool_realm(const Realm *realm);

/* it could not be made ready; the next try is later each time */
extern void pool_failed(ExecutorSlot *slot, const char *message);

/* it is to end as soon as it does nothing; who holds the lock pokes its queue afterwards */
extern void pool_let_go(ExecutorSlot *slot);

/* of an executor that is kept for the customer of these runs: one more, one less, those whose time is over */
extern void pool_kept_add(ExecutorSlot *slot, int64 customer_id, int64 run_id, TimestampTz until);
extern bool pool_kept_remove(ExecutorSlot *slot, int64 run_id);
extern bool pool_kept_for(const ExecutorSlot *slot, int64 run_id);
extern void pool_kept_expire(ExecutorSlot *slot, TimestampTz now);

/* DT_NOEND: one of them has not ended; 0: there is none */
extern TimestampTz pool_kept_until(const ExecutorSlot *slot);

static inline bool
kind_equal(const ExecutorKind *a, const ExecutorKind *b)
{
	return a->realm == b->realm && a->name.environment_id == b->name.environment_id && a->name.role == b->name.role;
}

/* runs are to be taken one by one, and on record: one of them may have made the server crash */
extern bool pool_careful(void);

/* ---- settle.c ---- */

/*
 * Held runs that nobody works on any more: that which ran has crashed, the
 * others go back.  In a transaction; false: a row is locked.
 */
typedef struct Settlement
{
	int			count;
	int			current;		/* -1: none */
	const char *reason;
	HeldRun		held[EXECUTOR_RUNS_MAX];
} Settlement;

extern void settle(void *settlement);

/* what was running when the server ended; in a transaction */
extern void settle_server(void *unused);

#endif							/* TASKEX_EXECUTOR_INTERNAL_H */
