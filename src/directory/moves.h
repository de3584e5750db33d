/*
 * moves.h
 *	  Users who are being moved to another storage partition.
 *
 * What everybody must know of a move: that changes are to be told, who waits
 * for whom when the home changes, and which of two copies of a row counts.  The
 * mover itself is src/migration.  See "Moves" in README.md.
 */
#ifndef TASKEX_MOVES_H
#define TASKEX_MOVES_H

#include "postgres.h"

#include "directory/directory.h"
#include "infra/child.h"

#include "access/htup.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

extern const ShmemPart moves_shmem;

/* called once, in _PG_init */
extern void moves_install(void);

/* ---- for whoever looks up, reads and writes ---- */

/*
 * Is the user being moved, and his home not changed yet?  Nobody moves at most
 * times: then this and the functions below cost the look at one number.
 */
extern bool moves_moving(int64 user_id);

/*
 * Keeps the home of a user who is being moved where it is until the
 * transaction ends, and waits for a change of it that is under way.  A look-up
 * of a home for writing does so (directory_actor, directory_home...).
 */
extern void moves_fence(int64 user_id);

/*
 * Does a row of the user on the partition count, in the snapshot (NULL: as
 * committed now), or is it a copy that is not valid yet or no longer?  For
 * whoever comes upon rows by scanning a partition instead of asking for the
 * user's home.
 */
extern bool moves_lives(int64 user_id, int32 partition, Snapshot snapshot);

/* may there be such copies on the partition at all? */
extern bool moves_ghosts(int32 partition);

/*
 * Raises serialization_failure if what was just read on the partition for the
 * user, or for an account of his (less than -1), lies elsewhere by now.  For
 * whoever publishes it, or cannot undo what he makes of it.
 */
extern void moves_require_home(int64 owner, int32 partition);

/*
 * Do rows of the user, or of the account, on the partition count?  If so they
 * do until the transaction ends.  System accounts live nowhere: true.
 */
extern bool moves_at_home(int64 owner, int32 partition);

/*
 * This transaction inserted "count" rows of the user into a child table that is
 * marked as bulk, so that inserts have no trigger: their keys are first, first
 * + step, ...  All other writes are noticed, by the triggers moved_row and by
 * infra/child.h.
 */
extern void moves_inserted(int64 user_id, int32 partition, const char *table,
						   int64 first, int32 count, int64 step);

/*
 * The owner's id of a thing (a task, a dispute, a request) that does not lie on
 * a partition which its id tells, since he was moved; 0: there is none on record.
 */
extern int64 directory_forwarded(const char *kind, int64 id);

/* for infra/child.h: who is told of the rows that are locked and written */
extern const ChildWatch moved_watch;

/* ---- for the mover, in his transactions ---- */

/*
 * From the commit on, writers tell what they change at the source.  Those that
 * may not know yet hold locks on tables of the source: the mover waits for
 * them before he copies.  Errors: object_in_use if the user is being moved,
 * invalid_parameter_value if he does not live at the source,
 * configuration_limit_exceeded if too many moves are under way.
 */
extern void moves_publish(int64 migration, int64 user_id, int32 source, int32 target);

/*
 * After the commit of moves_publish, in a transaction without a snapshot of its
 * own: waits until the statements that run now are over, so that none goes on
 * with a home, or a plan, from before.  False: not all are, within the time.
 */
extern bool moves_wait_for_statements(int timeout_ms);

/*
 * Waits until nobody writes for the user, and keeps all from it until the
 * transaction ends.  False: not within the time (0: not without waiting).
 */
extern bool moves_fence_exclusive(int64 user_id, int timeout_ms);

/*
 * Changes the home, in the directory and for all who look it up, at the commit.
 * The caller has the fence exclusively, and the target has all there is.
 */
extern void moves_switch(int64 migration, int64 user_id, int32 source, int32 target);

/* the user's rows are at his home alone, from the commit on */
extern void moves_end(int64 migration);

/* a value of a logged key, as text that is the same in all sessions, whatever their DateStyle and TimeZone */
extern Datum moves_key_text(Datum value, Oid type);

/* forgets ended moves that no snapshot remembers; also done by others now and then */
extern void moves_prune(void);

/* until the transaction ends, its writes to child tables are the mover's: they change nothing */
extern void moves_act_as_mover(void);

#endif							/* TASKEX_MOVES_H */
