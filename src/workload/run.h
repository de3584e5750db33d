/*
 * run.h
 *	  Rows of run: found, and changed from one state to another.
 */
#ifndef TASKEX_WORKLOAD_RUN_H
#define TASKEX_WORKLOAD_RUN_H

#include "postgres.h"

#include "workload/rows.h"
#include "workload/usage.h"
#include "workload/workload.h"

#include "utils/jsonb.h"

/* ---- find.c ---- */

/* homes that a call remembers */
#define RUN_HOMES 8

/* children of run that a call has open, one for each partition */
typedef struct RunTables
{
	int			count;
	int			room;
	struct RunTable *tables;
	MemoryContext context;		/* where they are, and what they read */
	Snapshot	snapshot;		/* of all of the call, registered; NULL: a new one each time */
	int			homes;			/* that it has asked for, to write there: they stay */
	UserHome	home[RUN_HOMES];
} RunTables;

extern void run_tables_begin(RunTables *tables);

/*
 * What is only found, and not locked, is as it was at the beginning: for who looks
 * again, in another way, at what is not there or changes meanwhile.
 */
extern void run_tables_begin_seen(RunTables *tables);
extern Snapshot run_tables_snapshot(RunTables *tables);

/* directory_home_by_id(), asked once in a call for each customer, if they are few */
extern void run_home_of(RunTables *tables, int64 customer, UserHome *home);
extern Child *run_table_of(RunTables *tables, int32 partition);
extern void run_tables_end(RunTables *tables);

/*
 * Finds and locks a run; NULL: there is none or, unless it is to wait, somebody
 * else has it locked (*busy).  home is its customer's.
 */
extern Child *run_lock(RunTables *tables, int64 run_id, bool wait, UserHome *home, bool *busy);

/* the same without a lock, for who is about to change it */
extern Child *run_find(RunTables *tables, int64 run_id, UserHome *home);

/* the same without a lock, as the transaction sees it */
extern Child *run_read(RunTables *tables, int64 run_id, UserHome *home);

extern void run_report_unknown(int64 run_id) pg_attribute_noreturn();

/* raises unknown_run unless the caller may act for the customer: he need not know of it */
extern void run_require_customer(const UserHome *home, int64 run_id);

/* ---- change.c: the locked run ---- */

/* its lane and what the queue needs of it */
extern void run_describe(Child *run, PinnedLane *pinned, ReadyRun *ready);
extern Jsonb *run_jsonb(Child *run, int column);

/* its state is that of one whose time has come: ready from the commit on */
extern void run_make_ready(Child *run);

/* ready, or delayed until run_at */
extern void run_make_ready_at(Child *run, const UserHome *home, TimestampTz run_at);

/* has it got to its end with this state?  Tells who waits */
extern void run_tell_ended(Child *run, const char *state);
extern void run_cancel(Child *run, const UserHome *home, Jsonb *error);

/* locks the run of a customer for whom the caller may act */
extern Child *run_lock_own(RunTables *tables, int64 run_id, UserHome *home);
extern void run_report_state(Child *run, int64 run_id, const char *must) pg_attribute_noreturn();

/* waiting instead of blocked, delayed and ready */
extern const char *run_shown_state(Child *run);

/*
 * Has it ended?  The result is NULL if there is none.  Raises unknown_run, also
 * if the caller may not act for its customer, and run_failed.
 */
extern bool run_read_result(int64 run_id, Jsonb **result);

/* an object with a message */
extern Jsonb *run_error(const char *message);

/* ---- finish.c: attempts of the locked run, which is running ---- */

typedef struct AttemptEnd
{
	const char *outcome;		/* failed, expired, crashed, cancelled or suspended */
	Jsonb	   *error;
	const RunUsage *usage;		/* NULL: that of a worker outside */
	const char *output;			/* what it said, or NULL */
	bool		retry;			/* if attempts are left */
	Jsonb	   *state;			/* its last checkpoint; NULL: the one that is stored */
} AttemptEnd;

/* its row in run_attempt; the observer is told of it */
extern void attempt_record(Child *run, const UserHome *home, const AttemptEnd *end);

/* records it, and makes the run ready, delayed, failed or dead; returns which */
extern const char *attempt_end(Child *run, const UserHome *home, const AttemptEnd *end);

/*
 * It has succeeded: its row, those that come after it, and the observer.  For
 * executors; a worker outside calls complete_run().
 */
extern void attempt_succeed(RunTables *tables, Child *run, const UserHome *home, Datum result, bool no_result,
							const RunUsage *usage, const char *output);

/* it is given back, and was no attempt; cost: seconds that it took all the same */
extern void attempt_release(Child *run, double cost);

/* the locked run, which is running, is taken from its holder: one that is an executor stops it at the commit */
extern void run_revoke(Child *run);

/* how long it has run so far, in seconds */
extern double run_cost(Child *run);

/* locks a run of which the caller has the lease, or raises what is wrong */
extern Child *run_lock_held(RunTables *tables, int64 run_id, int64 token, UserHome *home, TimestampTz now);

/* ---- link.c ---- */

/* the run has succeeded, or was cancelled: so go on, or are cancelled, those that come after it */
extern void links_settle(const UserHome *customer, int64 run_id, bool succeeded);

/* it waits for others no more */
extern void links_forget(const UserHome *customer, int64 run_id);

#endif							/* TASKEX_WORKLOAD_RUN_H */
