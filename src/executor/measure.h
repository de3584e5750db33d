/*
 * measure.h
 *	  What a run uses.
 */
#ifndef TASKEX_EXECUTOR_MEASURE_H
#define TASKEX_EXECUTOR_MEASURE_H

#include "postgres.h"

#include "workload/usage.h"

/* installs the hooks; once in the life of an executor */
extern void measure_install(void);

/* from now on, until measure_end, all that the process does is the run's */
extern void measure_begin(int64 max_rows);
extern void measure_end(RunUsage *usage);

/* what it is so far; may be called by a signal handler */
extern void measure_live(RunUsage *usage);
extern bool measure_too_many_rows(void);

/* raises rows_limit_exceeded */
extern void measure_check_rows(void);

/* have tables been written that have deferrable triggers or constraints? */
extern bool measure_deferrable(void);

#endif							/* TASKEX_EXECUTOR_MEASURE_H */
