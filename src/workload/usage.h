/*
 * usage.h
 *	  What attempts use, and who wants to know of it.
 *
 * Who must do something when a run is submitted or an attempt ends (what is
 * charged, and who may not spend more) describes it in the const RunObserver
 * that taskex.c sets.  Every end of an attempt passes there: succeeded, failed,
 * expired, crashed, cancelled, suspended.  A run that is given back has had no
 * attempt.
 */
#ifndef TASKEX_WORKLOAD_USAGE_H
#define TASKEX_WORKLOAD_USAGE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "directory/directory.h"
#include "infra/child.h"

#include "utils/jsonb.h"

/* what an attempt used; -1: not known */
typedef struct RunUsage
{
	int64		wall_us;
	int64		cpu_us;
	int64		rows;
	int64		blocks_read;
	int64		blocks_written;
	int64		wal_bytes;
	int64		memory;			/* bytes, at most at a time */
	int			pieces;			/* of a chain, whose own times are known; not more than 0: none is */
	const int64 *piece_us;
} RunUsage;

typedef struct AttemptFacts
{
	int64		run_id;
	int32		attempt;
	const UserHome *customer;
	int32		environment_id;
	int32		priority;
	int64		program_id;		/* 0: none */
	int32		version;		/* of the program; 0: none */
	TimestampTz submitted_at;
	TimestampTz started_at;
	TimestampTz finished_at;
	const char *outcome;
	const RunUsage *usage;		/* of workers outside: the time only */
} AttemptFacts;

/* may a run that is ready be started? */
typedef enum RunStart
{
	RUN_STARTS,
	RUN_CUSTOMER_WAITS,			/* no run of the customer, until then */
	RUN_WAITS					/* this one not, until then */
} RunStart;

/* any of the functions may be NULL */
typedef struct RunObserver
{
	/* a worker is about to take a run of the program (0: none) */
	RunStart	(*starting) (const UserHome *customer, int64 program_id, TimestampTz now, TimestampTz *until);

	/* so many runs are about to be queued; may raise an error */
	void		(*submitting) (const UserHome *customer, int32 environment_id, int64 program_id, int32 priority, int32 count);

	/* in the transaction that ends them; all of a call's at once.  Errors keep them from ending */
	void		(*attempts_ended) (const AttemptFacts *facts, int32 count);
} RunObserver;

extern PGDLLIMPORT const RunObserver *run_observer;

/* what is kept as "measured": an object without what is not known; NULL: nothing is */
extern Jsonb *usage_measured(const RunUsage *usage);

/*
 * Facts of the locked run's attempt; usage: NULL for a worker outside.  *own is
 * where its time goes then.
 */
extern void usage_facts(AttemptFacts *facts, RunUsage *own, Child *run, const UserHome *customer,
						TimestampTz finished_at, const char *outcome, const RunUsage *usage);

extern RunStart usage_starting(const UserHome *customer, int64 program_id, TimestampTz now, TimestampTz *until);
extern void usage_submitting(const UserHome *customer, int32 environment_id, int64 program_id, int32 priority, int32 count);
extern void usage_ended(const AttemptFacts *facts, int32 count);

/*
 * From here to the end of this transaction usage_ended() only notes what it is
 * given, if it is called outside of subtransactions.  usage_tell_gathered() tells
 * all of it at once, and who has called usage_gather() must call it before he commits.
 */
extern void usage_gather(void);
extern void usage_tell_gathered(void);

#endif							/* TASKEX_WORKLOAD_USAGE_H */
