/*
 * limits.h
 *	  What a run may use, and how it is stopped.
 */
#ifndef TASKEX_EXECUTOR_LIMITS_H
#define TASKEX_EXECUTOR_LIMITS_H

#include "postgres.h"

#include "executor/execute.h"

/* 0: none */
typedef struct ExecutionLimits
{
	int64		timeout_us;
	int64		memory;			/* bytes that the process may grow by */
	int64		temp_files;		/* bytes at a time */
	int64		rows;
	int64		result_size;	/* bytes */
} ExecutionLimits;

/* why a run was stopped */
typedef enum StopCause
{
	STOP_NONE,
	STOP_TIMEOUT,
	STOP_CANCELLED,				/* its row says so, too */
	STOP_ROWS
} StopCause;

/* once in the life of an executor: limits of its environment */
extern void limits_start(const Jsonb *limits);
extern const ExecutionLimits *limits_get(void);

/* around runs that share a transaction */
extern void limits_open(void);
extern void limits_close(void);

/* around the code of one run */
extern void limits_begin(const TakenRun *run);
extern StopCause limits_end(void);

/* what the run may take, or might; 0: any time */
extern int64 limits_timeout(void);

/*
 * interrupted.c: may the process end where the signal of the timers found it?
 * Asked at each tick, from their handlers.
 */
extern void interrupted_install(void);
extern void interrupted_begin(void);	/* with each run */
extern bool interrupted_may_leave(void);

#endif							/* TASKEX_EXECUTOR_LIMITS_H */
