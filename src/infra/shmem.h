/*
 * shmem.h
 *	  Shared memory from descriptors.
 *
 * A module that needs shared memory describes it in a const ShmemPart; the
 * list of all parts stands in taskex.c.  Each part gets a zeroed block and,
 * if it asks, a named tranche of LWLocks.
 */
#ifndef TASKEX_SHMEM_H
#define TASKEX_SHMEM_H

#include "postgres.h"

#include "storage/lwlock.h"

typedef struct ShmemPart
{
	const char *name;			/* of the block and of its LWLock tranche */
	Size		(*size) (void); /* of the block */
	Size		(*extra) (void);	/* what attach allocates besides, or NULL */
	int			(*lock_count) (void);	/* NULL: no locks */

	/*
	 * Called in every process that attaches (in the postmaster, on fork-only
	 * platforms) with the block and its first lock; "found" is false when the
	 * block is new and zeroed.
	 */
	void		(*attach) (void *block, LWLockPadded *locks, bool found);
} ShmemPart;

/* NULL-terminated; called once, in _PG_init while preloading */
extern void shmem_install(const ShmemPart *const *parts);

/* is shared memory there? */
extern bool shmem_ready(void);

/* raises not_loaded unless it is */
extern void shmem_require(void);

#endif							/* TASKEX_SHMEM_H */
