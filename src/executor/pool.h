/*
 * pool.h
 *	  Executors: processes that run code inside the server, and their places in
 *	  shared memory.  README.md draws the states.
 */
#ifndef TASKEX_EXECUTOR_POOL_H
#define TASKEX_EXECUTOR_POOL_H

#include "postgres.h"

#include "infra/shmem.h"
#include "workload/environment.h"
#include "workload/take.h"
#include "workload/usage.h"

#include "storage/spin.h"

extern const ShmemPart pool_shmem;

/* most runs that an executor takes at a time */
#define EXECUTOR_RUNS_MAX 256

/* so many runs that are not acknowledged keep an executor for their customer: of more, those whose time ends last */
#define EXECUTOR_KEPT_MAX 256

typedef enum ExecutorState
{
	EXECUTOR_FREE,
	EXECUTOR_STARTING,			/* asked for, connecting, or being set up */
	EXECUTOR_IDLE,
	EXECUTOR_BUSY,
	EXECUTOR_RESERVED,			/* idle, but for one customer */
	EXECUTOR_DEAD				/* it has ended; what it had is still to be settled */
} ExecutorState;

typedef struct HeldRun
{
	int64		run_id;
	int64		token;
	bool		revoked;		/* its lease was taken away */
	bool		begun;
} HeldRun;

/* a run for whose customer the executor is kept when it has ended */
typedef struct KeptRun
{
	int64		run_id;
	TimestampTz until;			/* DT_NOEND: it has not ended */
} KeptRun;

/* how an executor differs from another: one customer's role in one environment */
typedef struct ExecutorKind
{
	uint32		realm;
	Oid			database;
	QueueName	name;
} ExecutorKind;

typedef struct ExecutorSlot
{
	/* under the lock of the pool */
	ExecutorState state;
	uint32		nonce;			/* of this use of the slot */
	int			realm_slot;
	ExecutorKind kind;
	int32		generation;		/* of the environment, at its start */
	int			pid;			/* 0: no process */
	bool		leave;			/* it is to end when it has done what it does */
	bool		failed;			/* it could not be made ready */
	TimestampTz started_at;
	TimestampTz idle_since;		/* or since when it is busy */
	int64		dedicated_to;	/* 0: nobody */
	int			kept_count;		/* 0 exactly if that is nobody */
	KeptRun		kept[EXECUTOR_KEPT_MAX];
	int64		taken;			/* runs, since its start */
	int64		ended;

	/* under its mutex: what runs */
	slock_t		mutex;
	int			held_count;
	int			current;		/* in held: that which runs; -1: none */
	HeldRun		held[EXECUTOR_RUNS_MAX];
	int32		attempt;		/* of the current one */
	int64		customer_id;
	int64		last_run;		/* the current one, or that which ended last */
	TimestampTz run_since;
	bool		overdue;		/* the process ends because the current one goes on after its timeout */
	RunUsage	usage;			/* of the current one, as last told */
	int			nice;			/* how it is throttled; steering sets it, execute.c obeys */
	int			pause_us;
	int			io_rate;		/* pages in a second; 0: any */
} ExecutorSlot;

/* ---- for execute.c, in the executor's process ---- */

/* the slot of this process; NULL: it is no executor */
extern ExecutorSlot *executor_current(void);

/* what the environment was at the executor's start */
typedef struct ExecutorSetup
{
	KnownEnvironment environment;	/* without customers */
	char	   *language;
	char	   *resource_class;
	Jsonb	   *limits;
	int			library_count;
	char	  **libraries;
	char	   *setup;			/* SQL, or NULL */
} ExecutorSetup;

extern const ExecutorSetup *executor_setup(void);

/*
 * A run begins; false: its lease was taken away, and it is not to be executed.
 * Until its end a revocation of it, and of no other, cancels the query.
 */
extern bool executor_begin_run(const TakenRun *run);
extern void executor_end_run(void);

/*
 * Between two runs: is it time to leave the rest of what was taken to others?
 * The process is to end, or those before took much longer than was expected.
 * Those not begun go back, and do not count.
 */
extern bool executor_to_yield(void);

/* was the current run's lease taken away?  Then its cancellation is no failure */
extern bool executor_revoked(void);

/* what the current run has used so far: for those who look */
extern void executor_tell_usage(const RunUsage *usage);

/* ---- for the conductor ---- */

/* outside any transaction */
extern void pool_maintain(void);

/* when to come again; DT_NOEND: not before the usual time */
extern TimestampTz pool_next(void);

/* the conductor ends */
extern void pool_leave(void);

/* ends those in the database that are idle, so that it can be dropped; how many are left */
extern int	pool_send_away(Oid database);

extern const RunHolder pool_holder;

#endif							/* TASKEX_EXECUTOR_POOL_H */
