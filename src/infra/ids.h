/*
 * ids.h
 *	  Ids that are unique in the exchange and rise in the order of allocation.
 */
#ifndef TASKEX_IDS_H
#define TASKEX_IDS_H

#include "postgres.h"

#include "infra/shmem.h"

typedef enum IdKind
{
	ID_USER,
	ID_TASK_TYPE,
	ID_TASK,
	ID_ASSIGNMENT,
	ID_TRANSFER,
	ID_LEASE,
	ID_JOURNAL,
	ID_RUN,
	ID_USAGE,
	ID_KINDS
} IdKind;

/* most ids that one call can ask for */
#define IDS_MAX_COUNT 100000

extern const ShmemPart ids_shmem;

/* the first of count consecutive ids, 1 <= count <= IDS_MAX_COUNT */
extern int64 ids_next(IdKind kind, int64 count);

/* no id handed out so far is higher; 0 if none was since the restart */
extern int64 ids_peek(IdKind kind);

/* for qsort and bsearch: which of two ids is the higher one */
extern int	ids_compare(const void *a, const void *b);

#endif							/* TASKEX_IDS_H */
