/*
 * group.h
 *	  Which groups a performer belongs to.
 */
#ifndef TASKEX_GROUP_H
#define TASKEX_GROUP_H

#include "postgres.h"

#include "directory/directory.h"
#include "infra/shmem.h"

/* groups of one performer that are heeded, the heaviest ones */
#define GROUPS_MAX 16

typedef struct Groups
{
	int			count;
	int32		ids[GROUPS_MAX];	/* the last one: his storage partition's */
} Groups;

extern const ShmemPart group_shmem;

/* valid until the next call */
extern const Groups *groups_of(const UserHome *performer);

#endif							/* TASKEX_GROUP_H */
