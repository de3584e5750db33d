/*
 * wait.h
 *	  Performers who wait until there is a task for them.
 */
#ifndef TASKEX_WAIT_H
#define TASKEX_WAIT_H

#include "postgres.h"

#include "infra/shmem.h"

extern const ShmemPart wait_shmem;

/* so many tasks can be had that could not before, or slots of them; cannot fail */
extern void wait_appeared(int64 tasks);

#endif							/* TASKEX_WAIT_H */
