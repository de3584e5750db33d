/*
 * worker.h
 *	  One way to register a background worker and one main loop for all.
 */
#ifndef TASKEX_WORKER_H
#define TASKEX_WORKER_H

#include "postgres.h"

#include "postmaster/bgworker.h"
#include "storage/ipc.h"

typedef struct WorkerKind
{
	const char *name;			/* "conductor": as in pg_stat_activity */
	const char *function;		/* exported symbol, the worker's main */

	/*
	 * One round of work, outside any transaction; returns the milliseconds to
	 * sleep at most, or -1 to end the worker.
	 */
	long		(*round) (void);
} WorkerKind;

/* registers a worker that the postmaster starts and restarts */
extern void worker_register_static(const WorkerKind *kind);

/*
 * Starts a worker connected to a database (InvalidOid: none); false when no
 * worker slot is free.  The worker finds the database in MyBgworkerEntry.
 */
extern bool worker_start(const WorkerKind *kind, Oid database,
						 BackgroundWorkerHandle **handle);

/* the same with an argument of its own, for a worker that connects by itself */
extern bool worker_start_with(const WorkerKind *kind, Datum arg, BackgroundWorkerHandle **handle);

/*
 * The whole life of a worker: signals, connection to the database of
 * worker_start (if any), then rounds until told to stop.  on_exit may be NULL;
 * it runs at any exit but a crash.
 */
extern void worker_loop(WorkerKind *kind, Datum main_arg, pg_on_exit_callback on_exit);

/* runs one unit of work in a transaction of its own, as "activity" */
extern void worker_transaction(const char *activity, void (*work) (void *arg), void *arg);

/*
 * The same, but an error undoes the transaction and is the result, in the
 * caller's memory context; NULL if there is none.
 */
extern ErrorData *worker_catch_transaction(const char *activity, void (*work) (void *arg), void *arg);

/*
 * The same, but an error is logged (unless it is only that a lock was not to be
 * had in time) and makes the result false.
 */
extern bool worker_try_transaction(const char *activity, void (*work) (void *arg), void *arg);

#endif							/* TASKEX_WORKER_H */
