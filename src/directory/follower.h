/*
 * follower.h
 *	  Who must do something when a user's home changes.
 *
 * Modules that keep more than rows of a user (what is due, what is offered)
 * describe it in a const MoveFollower; the list stands in taskex.c.  Any of the
 * functions may be NULL: nothing to do.
 */
#ifndef TASKEX_FOLLOWER_H
#define TASKEX_FOLLOWER_H

#include "postgres.h"

#include "executor/tuptable.h"

typedef struct MoveFollower
{
	const char *name;			/* for messages */

	/*
	 * Called when all rows are copied and before the home changes, each time
	 * in a transaction of its own, until it returns true; the user goes on
	 * working meanwhile.  What it finds out may stay in this process's memory:
	 * another process, after a crash, calls it anew.  May be called again
	 * after an attempt that came to nothing.
	 */
	bool		(*before_switch) (int64 user_id, int32 source, int32 target);

	/*
	 * Called for each row of his that was written at the source since
	 * before_switch began, when it is copied anew: so the last calls come just
	 * before at_switch, in its transaction.
	 */
	void		(*row_changed) (int64 user_id, const char *table, TupleTableSlot *row);

	/*
	 * Called in the transaction that changes the home, while nobody can write for
	 * the user: short, and without waiting for anything.
	 */
	void		(*at_switch) (int64 user_id, int32 source, int32 target);
} MoveFollower;

#endif							/* TASKEX_FOLLOWER_H */
