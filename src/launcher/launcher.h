/*
 * launcher.h
 *	  The processes of taskex: one launcher, and one conductor per exchange.
 */
#ifndef TASKEX_LAUNCHER_H
#define TASKEX_LAUNCHER_H

#include "postgres.h"

#include "infra/shmem.h"

extern const ShmemPart launcher_shmem;

/* registers the launcher and the hook; called in _PG_init while preloading */
extern void launcher_install(void);

#endif							/* TASKEX_LAUNCHER_H */
