/*
 * take.h
 *	  Runs taken by who will do them: workers outside, executors.
 */
#ifndef TASKEX_WORKLOAD_TAKE_H
#define TASKEX_WORKLOAD_TAKE_H

#include "postgres.h"

#include "directory/directory.h"
#include "workload/workload.h"

#include "utils/jsonb.h"

/* a lease that ends with the process that has it, not at a time */
#define LEASE_OF_EXECUTOR DT_NOEND

/* a run that is running from the commit on */
typedef struct TakenRun
{
	int64		run_id;
	int64		token;
	int32		attempt;		/* this one */
	int32		max_attempts;
	int32		environment_id;
	int32		priority;
	UserHome	customer;
	int64		program_id;		/* 0: none */
	int32		version;		/* of the program; 0: none */
	TimestampTz started_at;
	TimestampTz lease_until;

	/* NULL: none */
	text	   *program;		/* its name, as the customer writes it */
	text	   *code;			/* of the version, or the run's own */
	Jsonb	   *data;
	Jsonb	   *data_ref;
	Jsonb	   *options;
	Jsonb	   *progress;
	Jsonb	   *state;			/* its last checkpoint */
} TakenRun;

typedef struct RunTaker
{
	QueueName	name;
	int64		customer_id;	/* 0: anybody's runs */
	const char *worker;
	int32		count;			/* so many at most */
	int64		cost_us;		/* fewer, if they take longer together; 0: whatever they take */
	TimestampTz lease_until;
} RunTaker;

/*
 * Takes the next runs, in the caller's transaction, and calls taken for each.
 * Values may be toasted, and are the caller's until taken returns (run_copy
 * keeps them).  Returns how many.
 */
extern int	run_take(const RunTaker *taker, void (*taken) (const TakenRun *run, void *arg), void *arg);

/* a copy in the current memory context, nothing of it toasted */
extern void run_copy(TakenRun *copy, const TakenRun *run);

/* who has to stop what he does when his lease is taken away */
/* does the code of a run want to give way? */
typedef enum RunYield
{
	YIELD_NOT,
	YIELD_AT_END,				/* when it returns: what it has written stays */
	YIELD_BY_ERROR				/* it was ended by the error run_suspended */
} RunYield;

/* what the code of a run has said of it in this attempt; NULL: nothing */
typedef struct RunSaid
{
	RunYield	yield;
	Jsonb	   *state;
	Jsonb	   *progress;
	Jsonb	   *begun_with;		/* the state that the attempt got */
} RunSaid;

typedef struct RunHolder
{
	/* the run whose code this process is executing; false: none */
	bool		(*holding) (int64 *run_id);
	void		(*say) (Jsonb *state, Jsonb *progress, RunYield yield);

	/* false: this process has not executed it last */
	bool		(*said) (int64 run_id, RunSaid *said);
	void		(*revoked) (int64 run_id, int64 token); /* in the transaction that takes it */
} RunHolder;

extern PGDLLIMPORT const RunHolder *run_holder;

#endif							/* TASKEX_WORKLOAD_TAKE_H */
