/*
 * writers.h
 *	  Who writes usage now, and with which number.
 */
#ifndef TASKEX_BILLING_WRITERS_H
#define TASKEX_BILLING_WRITERS_H

#include "postgres.h"

#include "infra/shmem.h"

extern const ShmemPart writers_shmem;

/* of all rows of usage that this transaction writes */
extern int64 writers_seq(void);

/*
 * A number above that of all usage that is committed or rolled back now, and below
 * that of all that nobody writes yet; *late: numbers below it whose transactions
 * have not ended, palloc'd.  Who takes a snapshot afterwards sees all usage up to
 * the bound, but for the late.
 */
extern int64 writers_bound(int64 **late, int *count);

#endif							/* TASKEX_BILLING_WRITERS_H */
