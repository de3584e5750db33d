/*
 * execute.h
 *	  Runs that an executor has taken, executed.
 */
#ifndef TASKEX_EXECUTOR_EXECUTE_H
#define TASKEX_EXECUTOR_EXECUTE_H

#include "postgres.h"

#include "workload/take.h"

/*
 * Once, after the executor has connected as the role and before its libraries
 * and set-up: limits of the environment (executor_setup()).  In a transaction.
 */
extern void execute_prepare(void);

/*
 * Executes runs that this process has taken, outside any transaction, in the
 * order given, until executor_to_yield() or execute_worn().  Each one's end is committed when it returns (succeeded, failed,
 * or it had been revoked); executor_begin_run() and executor_end_run() stand around
 * each.  Where an error leaves it, its current transaction is undone, the current
 * run's attempt counts as crashed, and those not begun go back.
 */
extern void execute_runs(const TakenRun *runs, int count);

/* something that cannot be undone is left: the process is to be replaced */
extern bool execute_worn(void);

/* the run whose code this process is executing; NULL: none */
extern const TakenRun *execute_current(void);

#endif							/* TASKEX_EXECUTOR_EXECUTE_H */
