/*
 * follower.h
 *	  What a module does when a user moves to another storage partition.
 *
 * His rows are moved by src/migration.  A module that knows more of him than
 * his rows say, by their partition, gives the mover such a descriptor; they are
 * listed in taskex.c.
 */
#ifndef TASKEX_FOLLOWER_H
#define TASKEX_FOLLOWER_H

#include "postgres.h"

#include "executor/tuptable.h"

typedef struct MoveFollower
{
	/*
	 * Prepares the change of the home, in a transaction of the mover's, when
	 * all rows have been copied: true if that is done, else it is called again
	 * in a further one.  What it notes is in this process's memory, and good
	 * for any number of attempts to switch; another process begins anew.
	 */
	bool		(*before_switch) (int64 user_id, int32 source, int32 target);

	/*
	 * A row of his that was written since then, as it is at the source now and
	 * will be at the target.
	 */
	void		(*row_changed) (int64 user_id, const char *table, TupleTableSlot *row);

	/*
	 * In the transaction that changes the home, after the last change: nobody
	 * else writes for the user until it ends.  To be quick, and to wait for
	 * nobody.
	 */
	void		(*at_switch) (int64 user_id, int32 source, int32 target);
} MoveFollower;

#endif							/* TASKEX_FOLLOWER_H */
