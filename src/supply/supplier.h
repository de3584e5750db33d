/*
 * supplier.h
 *	  The worker that keeps supplies at their targets.
 */
#ifndef TASKEX_SUPPLIER_H
#define TASKEX_SUPPLIER_H

#include "postgres.h"

#include "infra/shmem.h"

extern const ShmemPart supplier_shmem;

/* the conductor, now and then: starts one if there should be one and is none */
extern void supplier_ensure(void);

/* the conductor, when it ends: who comes after it does not know of this one */
extern void supplier_leave(void);

#endif							/* TASKEX_SUPPLIER_H */
