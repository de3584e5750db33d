/*
 * internal.h
 *	  What the files of the directory share among themselves.
 */
#ifndef TASKEX_DIRECTORY_INTERNAL_H
#define TASKEX_DIRECTORY_INTERNAL_H

#include "postgres.h"

#include "directory/directory.h"

#include "utils/jsonb.h"

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
 * of this node, of those for anonymous users or of the others.  Counts the user
 * in until the transaction aborts.
 */
extern int32 partition_for_new_user(const text *name, int32 chosen, bool anonymous);

/* locate.c: raises stale_epoch, with the place where he is now */
extern void directory_report_moved(const text *login, const UserHome *home, int64 epoch) pg_attribute_noreturn();

/* does what a profile asks for make a difference between partitions? */
extern bool partition_hints_matter(const text *tier, bool location, bool storage_class);

/* at commit a user has left the partition */
extern void partition_user_left(int32 partition_id);

/* directory.c: this transaction changed a user's directory row */
extern void directory_changed(const text *login, int64 user_id);

/* partition.c: a user counts on another partition now; cannot fail */
extern void partition_user_moved(int slot, int32 source, int32 target);

/* for whom a home is looked up: see directory.h */
typedef enum HomeView
{
	HOME_KEPT,					/* who writes: as committed now, and fenced */
	HOME_PRESENT,				/* as committed now */
	HOME_SEEN,					/* as the active snapshot has it */
} HomeView;

/* fence.c: makes the home that was looked up what it is in that view */
extern void moves_settle(UserHome *home, HomeView view);

/* does nobody move, and has nobody since this transaction looked up homes? */
extern bool moves_quiet(void);

/*
 * A row of the user was written on the partition: the migration for which that
 * is to be logged, or 0.  Raises serialization_failure if he does not live there.
 */
extern int64 moves_written(int64 user_id, int32 partition, bool deleted);

/* the table on which plans depend that spell out homes on the partition */
extern Oid	moves_anchor(int32 partition);

/* the user, if there is one, for writing; an anonymous one is held, or not */
extern bool directory_find_home(const text *login, bool hold, UserHome *home);

/* raises insufficient_privilege unless the caller may act for the user */
extern void directory_check_may_act(const text *login, const UserHome *home);

/* user.c: is this a login, and what is known of who would have it? */
extern void user_check_login(const text *login);

/* an error unless what a profile says about placement can be understood */
extern void user_check_hints(Jsonb *profile);
extern int64 user_register(const text *login, Jsonb *profile, Oid db_role, int32 partition);
extern Oid	user_db_role(Jsonb *profile);

/*
 * anonymous.c: keeps an anonymous user from being identified or removed until
 * this transaction ends; false: he may have been meanwhile.
 */
extern bool anonymous_hold(int64 user_id);

/* raise an error if the user who was not found has been identified */
extern void anonymous_gone(const text *login);
extern void anonymous_gone_by_id(int64 user_id);

/* visible.c: what is remembered of the caller's roles is out of date */
extern void visible_roles_changed(void);

#endif							/* TASKEX_DIRECTORY_INTERNAL_H */
