/*
 * movetable.h
 *	  What the files about moves share: the table of those who are being moved,
 *	  and this process's copy of it.
 *
 * PURPOSE	While a user moves, his rows are at two places.  Those count that are
 *			where the directory has him in the reader's snapshot.  Here
 *			everybody finds out without looking into the directory, and at no
 *			cost while nobody moves.
 * LAYOUT	For each realm slot a generation and an array of moves, oldest first.
 *			A process has a copy of the array, with the generation of it.
 * WRITES	All fields under the slot's LWLock, exclusively; the generation is
 *			read without.
 * CRASH	"loaded" is false after a restart; the first look-up of a home, or
 *			write to a child table, reads the moves from _taskex.migration.
 *			Snapshots do not outlive a crash: ended moves need not be known.
 * INVARIANT  generation rises with each change of the array.  A move is in it
 *			from the commit that publishes it until it has ended and no snapshot
 *			is left that is older than its end.  If there is no room for another
 *			one, the oldest that has ended goes before: "forgotten" tells which
 *			snapshots are so old that they must look into the directory.
 */
#ifndef TASKEX_MOVETABLE_H
#define TASKEX_MOVETABLE_H

#include "postgres.h"

#include "directory/internal.h"
#include "infra/realm.h"
#include "infra/spi.h"

#include "access/transam.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "utils/snapshot.h"

/* moves that are under way or remembered for old snapshots, in one exchange; most of them have ended */
#define MOVES_MAX 256

typedef enum MoveState
{
	MOVE_PLANNED,				/* its publication is not committed */
	MOVE_UNDER_WAY,
	MOVE_SWITCHING,				/* the transaction "switched" changes the home */
	MOVE_SWITCHED
} MoveState;

typedef struct Move
{
	int64		migration;
	int64		user_id;
	int32		source;
	int32		target;
	uint32		epoch;			/* of the home at the source */
	MoveState	state;
	bool		ended;
	TransactionId switched;		/* InvalidTransactionId: before any snapshot */
	FullTransactionId retired;	/* the next transaction when it ended */
} Move;

typedef struct Moves
{
	pg_atomic_uint64 generation;
	bool		loaded;
	int			count;
	FullTransactionId forgotten;	/* older snapshots may be older than a move that is not here; invalid: none is */
	Move		moves[MOVES_MAX];
} Moves;

/* a process's copy */
typedef struct KnownMoves
{
	uint32		realm;			/* 0: there is no copy */
	uint64		generation;
	int			count;
	FullTransactionId forgotten;
	Move		moves[MOVES_MAX];
} KnownMoves;

/* ---- moves.c: the table ---- */

extern KnownMoves moves_known;

/* the table of the exchange of which there is a copy */
extern Moves *moves_mine;

extern Moves *moves_of(int slot);
extern LWLock *moves_lock(int slot);

/* makes the process's copy anew */
extern void moves_learn(void);

/* the latest move of the user, unless it has ended */
extern const Move *moves_present(int64 user_id);

/* serials of realms are not 0 */
static inline bool
moves_up_to_date(void)
{
	return moves_known.realm == realm_current()->serial &&
		moves_known.generation == pg_atomic_read_u64(&moves_mine->generation);
}

/* the copy, as new as the call */
static inline void
moves_look(void)
{
	if (unlikely(!moves_up_to_date()))
		moves_learn();
}

/* nobody moves, nor has anybody as far as any snapshot can tell */
static inline bool
moves_nobody(void)
{
	return likely(moves_known.count == 0 && !FullTransactionIdIsValid(moves_known.forgotten));
}

/* ---- past.c: what old snapshots see ---- */

/* may the snapshot be from before a move that is forgotten? */
extern bool moves_too_old(Snapshot snapshot);

/* is a change of the home by that move part of the snapshot (NULL: is it committed)? */
extern bool moves_switch_visible(const Move *move, Snapshot snapshot);

/* the user's home as his moves have it; false: he has none that matters */
extern bool moves_home_at(int64 user_id, Snapshot snapshot, int32 *partition, uint32 *epoch);

/* the home as the directory has it; false: it does not have him */
extern bool moves_read_home(int64 user_id, SpiView view, int32 *partition, uint32 *epoch);
extern bool moves_home_in_directory(int64 user_id, Snapshot snapshot, int32 *partition, uint32 *epoch);

/* makes room for a move, at the expense of old snapshots; the lock is held */
extern void moves_forget_oldest(Moves *moves);

/* moves_prune() if it has not been done for a second, and all moves have ended */
extern void moves_prune_now_and_then(void);

/* ---- fence.c: who waits for whom ---- */

/* from here on no serializable transaction that has written commits until this one is over */
extern void moves_fence_everybody(void);

#endif							/* TASKEX_MOVETABLE_H */
