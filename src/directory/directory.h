/*
 * directory.h
 *	  Users, storage partitions and nodes: who lives where, who may act.
 */
#ifndef TASKEX_DIRECTORY_H
#define TASKEX_DIRECTORY_H

#include "postgres.h"

#include "infra/shmem.h"

/* longest login, in bytes */
#define LOGIN_MAX 255

/* logins that start with this are those of anonymous users */
#define ANONYMOUS_PREFIX "anonymous:"

/* partitions of this storage class are for them alone */
#define ANONYMOUS_CLASS "temporary"

/* a user's home, as the directory has it */
typedef struct UserHome
{
	int64		user_id;
	int32		partition;
	uint32		epoch;			/* raised by each migration */
	Oid			db_role;		/* role that may act as the user, or InvalidOid */
	bool		anonymous;		/* his number may give way to another's (anonymous.c) */
} UserHome;

extern const ShmemPart directory_cache_shmem;
extern const ShmemPart partition_map_shmem;
extern const ShmemPart unreadable_shmem;

/*
 * The home of a user, for who will write there, or for him; raises unknown_user.
 * It is what is committed now, and stays what it is until the transaction ends:
 * this waits for a change of it that is under way, and raises
 * serialization_failure if the transaction's snapshot is older than the last one.
 */
extern void directory_home(const text *login, UserHome *home);
extern void directory_home_by_id(int64 user_id, UserHome *home);

/* the same, if there is such a user */
extern bool directory_find_home_by_id(int64 user_id, UserHome *home);

/*
 * The home of a user for who only reads, with the active snapshot: where his
 * rows are in that snapshot.  Waits for nothing.
 */
extern void directory_seen_home(const text *login, UserHome *home);
extern void directory_seen_home_by_id(int64 user_id, UserHome *home);

/*
 * The same for who reads with one snapshot after the other: in READ COMMITTED
 * that of directory_home, so that it stays the same; else that of the
 * transaction's snapshot.
 */
extern void directory_steady_home_by_id(int64 user_id, UserHome *home);

/* the home as committed now, which may be another the next moment */
extern void directory_present_home_by_id(int64 user_id, UserHome *home);

/*
 * The home of a user on whose behalf the caller wants to act: raises
 * unknown_user, other_node, or insufficient_privilege unless the caller is
 * trusted or is the user's db_role.  The home is as directory_home has it, as
 * directory_seen_home, or as directory_steady_home_by_id.
 */
extern void directory_actor(const text *login, UserHome *home);
extern void directory_reader(const text *login, UserHome *home);
extern void directory_steady_reader(const text *login, UserHome *home);

/* may the caller act for anybody (superuser, taskex_admin, taskex_app)? */
extern bool directory_caller_trusted(void);

/* raise insufficient_privilege unless the caller is trusted, or an operator */
extern void directory_require_trusted(const char *what);
extern void directory_require_admin(const char *what);

/*
 * Keeps storage partitions from being dropped until the transaction ends; to
 * be called before they are looked up.  For whoever puts a user on a partition
 * or uses one on which nobody may live: that of a user is not dropped.
 */
extern void directory_lock_partitions(void);

/*
 * anonymous.c: removes anonymous users who have done nothing that lasts, some
 * at a time; for the conductor, outside any transaction.
 */
extern void anonymous_maintain(void);

/* is there such a partition?  For who has its number from somewhere else than a user's home */
extern bool directory_has_partition(int32 partition_id);

/* ids of the local partitions, as committed; returns their number */
extern int	directory_partitions(int32 **partitions);

/*
 * unreadable.c: can the files of the partition be read, as the conductor saw
 * when it last looked?  For whoever looks through partitions, or what lies on
 * several of them, and had rather pass one by than fail.
 */
extern bool directory_readable(int32 partition_id);

/* are all of them? */
extern bool directory_all_readable(void);

/* those of directory_partitions that are readable */
extern int	directory_readable_partitions(int32 **partitions);

/* for the conductor, outside any transaction */
extern void directory_look_for_unreadable(void);

/*
 * For who reads all partitions once and keeps what he finds: he passes this one
 * by, and is told by directory_returned when it can be read again.
 */
extern void directory_missed(int32 partition_id);
extern bool directory_returned(int32 *partition_id);

/*
 * The readable ones, for the conductor, which asks outside any transaction
 * (own_transaction), and for those who do its work within theirs.  In the
 * current memory context.
 */
typedef struct PartitionList
{
	int			count;
	int32	   *ids;
} PartitionList;

extern void directory_list_partitions(PartitionList *list, bool own_transaction);

/* those of them whose id is "residue" modulo "step" */
extern int	directory_partitions_like(int32 residue, int32 step, int32 **partitions);

/* called once, in _PG_init: the planner hook of the views (visible.c) */
extern void visible_install(void);

#endif							/* TASKEX_DIRECTORY_H */
