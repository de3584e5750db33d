/*
 * internal.h
 *	  What the files of the directory share among themselves.
 */
#ifndef TASKEX_DIRECTORY_INTERNAL_H
#define TASKEX_DIRECTORY_INTERNAL_H

#include "postgres.h"

#include "directory/directory.h"

/* the node on which this server's own partitions are */
#define NODE_LOCAL 0

/* a storage partition, as this session knows it */
typedef struct PartitionInfo
{
	int32		partition_id;	/* hash key */
	int32		node_id;
	char		name[NAMEDATALEN];
	char		node[NAMEDATALEN];
} PartitionInfo;

/* partition.c */
extern const PartitionInfo *partition_info(int32 partition_id);
extern void partition_require_local(int32 partition_id, const text *login);

/*
 * The partition for a new user: the named one, or the least loaded active one
 * of this node.  Counts the user in until the transaction aborts.
 */
extern int32 partition_for_new_user(const text *name);

/* directory.c: this transaction changed a user's directory row */
extern void directory_changed(const text *login, int64 user_id);

/* visible.c: what is remembered of the caller's roles is out of date */
extern void visible_roles_changed(void);

#endif							/* TASKEX_DIRECTORY_INTERNAL_H */
