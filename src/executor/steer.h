/*
 * steer.h
 *	  What the code of a run says of it while it is executed, and how it is slowed down.
 */
#ifndef TASKEX_EXECUTOR_STEER_H
#define TASKEX_EXECUTOR_STEER_H

#include "postgres.h"

#include "infra/shmem.h"
#include "workload/take.h"

extern const ShmemPart steer_shmem;

/* in the executor: once; and when a run begins */
extern void steer_install(void);
extern void steer_begin(const TakenRun *run);

/* takes the priority that it is told to have; may be called by a signal handler */
extern void steer_obey(void);

/* of RunHolder */
extern bool steer_holding(int64 *run_id);
extern void steer_say(Jsonb *state, Jsonb *progress, RunYield yield);
extern bool steer_said(int64 run_id, RunSaid *said);

/* in the conductor, outside any transaction: checkpoints go to the tables, executors are slowed down */
extern void steer_maintain(void);

#endif							/* TASKEX_EXECUTOR_STEER_H */
