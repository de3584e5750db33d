/*
 * split.h
 *	  Runs in parts.
 */
#ifndef TASKEX_WORKLOAD_SPLIT_H
#define TASKEX_WORKLOAD_SPLIT_H

#include "postgres.h"

#include "workload/run.h"

/* does the run stand for a whole whose parts have not all ended? */
extern bool split_is_open(Child *run);

/*
 * What is done to the whole is done to its parts: "suspend", "resume", "cancel".
 * force_us: as for suspend_run; -1: never.  Its row must not be in use.
 */
extern void split_steer(int64 run_id, int64 customer_id, const char *what, int64 force_us);

/* parts that have failed are queued again, so many times more */
extern void split_again(int64 run_id, int64 customer_id, int32 attempts);

/* what the conductor does, outside any transaction; in the caller's: how many have ended */
extern void splits_maintain(void);
extern int	splits_work(void);

#endif							/* TASKEX_WORKLOAD_SPLIT_H */
