/*
 * moves.c
 *	  Users who are being moved to another storage partition: who is, whom that
 *	  holds up, and which of two copies of a row counts.
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
#include "postgres.h"

#include "directory/moves.h"
#include "directory/internal.h"
#include "base/compat.h"
#include "base/guc.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/xact.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* moves that are under way or remembered for old snapshots, in one exchange; most of them have ended */
#define MOVES_MAX 256

/* distinguishes the lock of a user from advisory locks, which have 1 and 2 there */
#define FENCE_CLASS 7412

/* the same lock of nobody: no serializable transaction that has written commits meanwhile */
#define EVERYBODY 0

/* how often to look whether statements have ended, in ms */
#define STATEMENTS_POLL 2

/* least time between two looks whether ended moves can be forgotten, in ms */
#define PRUNE_INTERVAL 1000

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

static char *all_moves = NULL;
static LWLockPadded *move_locks = NULL;
static Moves *mine = NULL;		/* of the exchange of which there is a copy */

/* this process's copy */
static struct
{
	uint32		realm;			/* 0: there is no copy */
	uint64		generation;
	int			count;
	FullTransactionId forgotten;
	Move		moves[MOVES_MAX];
} known;

/* since when this transaction relies on homes that it has looked up */
static LocalTransactionId looked_in = InvalidLocalTransactionId;
static uint64 looked_generation;

static LocalTransactionId mover_in = InvalidLocalTransactionId;

static Statement select_moves = {
	"SELECT m.migration_id, m.user_id, m.source, m.target, d.epoch, m.state = 'cleaning'"
	" FROM _taskex.migration m JOIN _taskex.directory d USING (user_id)"
	" WHERE m.finished_at IS NULL AND m.state <> 'queued' ORDER BY m.migration_id",
	0, {0}
};

static Statement select_home = {
	"SELECT partition_id, epoch FROM _taskex.directory WHERE user_id = $1",
	1, {INT8OID}
};

static Statement update_home = {
	"UPDATE _taskex.directory SET partition_id = $3, epoch = epoch + 1"
	" WHERE user_id = $1 AND partition_id = $2 RETURNING login",
	3, {INT8OID, INT4OID, INT4OID}
};

/* ---- shared memory ---- */

static Size
moves_size(void)
{
	return mul_size(MAXALIGN(sizeof(Moves)), guc_max_databases);
}

static int
moves_lock_count(void)
{
	return guc_max_databases;
}

static inline Moves *
moves_of(int slot)
{
	return (Moves *) (all_moves + MAXALIGN(sizeof(Moves)) * slot);
}

static void
moves_reset(int slot)
{
	LWLockAcquire(&move_locks[slot].lock, LW_EXCLUSIVE);
	moves_of(slot)->loaded = false;
	moves_of(slot)->count = 0;
	moves_of(slot)->forgotten = InvalidFullTransactionId;
	pg_atomic_fetch_add_u64(&moves_of(slot)->generation, 1);
	LWLockRelease(&move_locks[slot].lock);
}

static void
moves_attach(void *block, LWLockPadded *locks, bool found)
{
	all_moves = block;
	move_locks = locks;
	if (!found)
		for (int slot = 0; slot < guc_max_databases; slot++)
			pg_atomic_init_u64(&moves_of(slot)->generation, 0);
	realm_on_reset(moves_reset);
}

const ShmemPart moves_shmem = {
	"taskex moves", moves_size, NULL, moves_lock_count, moves_attach
};

/* reads the moves that a crash, or a restart, left; within a transaction */
static void
load(int slot)
{
	Moves	   *moves = moves_of(slot);
	Move	   *found;
	SpiScope	scope;
	int			count;
	bool		isnull;

	spi_begin(&scope);
	count = (int) spi_run(&select_moves, 0, NULL, NULL, SPI_VIEW_LATEST, 0);
	if (count > MOVES_MAX)
		elog(ERROR, "there are %d moves under way, at most %d can be", count, MOVES_MAX);
	found = palloc0(sizeof(Move) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		bool		switched = DatumGetBool(spi_value(i, 6, &isnull));

		found[i].migration = spi_int64(i, 1);
		found[i].user_id = spi_int64(i, 2);
		found[i].source = spi_int32(i, 3);
		found[i].target = spi_int32(i, 4);
		found[i].epoch = (uint32) spi_int64(i, 5) - (switched ? 1 : 0);
		found[i].state = switched ? MOVE_SWITCHED : MOVE_UNDER_WAY;
	}

	/* who publishes loads first: if it is not loaded yet, nothing is new since */
	LWLockAcquire(&move_locks[slot].lock, LW_EXCLUSIVE);
	if (!moves->loaded)
	{
		memcpy(moves->moves, found, sizeof(Move) * count);
		moves->count = count;
		moves->loaded = true;
		pg_atomic_fetch_add_u64(&moves->generation, 1);
	}
	LWLockRelease(&move_locks[slot].lock);
	spi_end(&scope);
}

/* makes the process's copy anew */
static void
learn(void)
{
	const Realm *realm = realm_current();
	int			slot = realm->slot;
	uint32		serial = realm->serial;
	Moves	   *moves = moves_of(slot);
	bool		loaded;

	do
	{
		LWLockAcquire(&move_locks[slot].lock, LW_SHARED);
		loaded = moves->loaded;
		if (loaded)
		{
			known.count = 0;
			for (int i = 0; i < moves->count; i++)
				if (moves->moves[i].state != MOVE_PLANNED)
					known.moves[known.count++] = moves->moves[i];
			known.forgotten = moves->forgotten;
			known.generation = pg_atomic_read_u64(&moves->generation);
			known.realm = serial;
			mine = moves;
		}
		LWLockRelease(&move_locks[slot].lock);
		if (!loaded)
			load(slot);
	} while (!loaded);
}

/* serials of realms are not 0 */
static inline bool
up_to_date(void)
{
	return known.realm == realm_current()->serial &&
		known.generation == pg_atomic_read_u64(&mine->generation);
}

/* the copy, as new as the call */
static inline void
look(void)
{
	if (unlikely(!up_to_date()))
		learn();
}

/* nobody moves, nor has anybody as far as any snapshot can tell */
static inline bool
nobody(void)
{
	return likely(known.count == 0 && !FullTransactionIdIsValid(known.forgotten));
}

/* ---- where somebody lives ---- */

/* may the snapshot be from before a move that is forgotten? */
static bool
too_old(Snapshot snapshot)
{
	return snapshot != NULL && FullTransactionIdIsValid(known.forgotten) &&
		TransactionIdPrecedes(snapshot->xmin, XidFromFullTransactionId(known.forgotten));
}

/* the home as the directory has it in the snapshot; false: it does not have him */
static bool
home_in_table(int64 user_id, Snapshot snapshot, int32 *partition, uint32 *epoch)
{
	Datum		value = Int64GetDatum(user_id);
	SpiScope	scope;
	bool		found;

	PushActiveSnapshot(snapshot);
	spi_begin(&scope);
	found = spi_run(&select_home, 0, &value, NULL, SPI_VIEW_SNAPSHOT, 1) == 1;
	if (found)
	{
		*partition = spi_int32(0, 1);
		*epoch = (uint32) spi_int64(0, 2);
	}
	spi_end(&scope);
	PopActiveSnapshot();
	return found;
}

/* is a change of the home by that transaction part of the snapshot? */
static bool
switch_visible(const Move *move, Snapshot snapshot)
{
	TransactionId xid = move->switched;

	if (move->state == MOVE_SWITCHED)
		return snapshot == NULL || !TransactionIdIsValid(xid) || !XidInMVCCSnapshot(xid, snapshot);
	if (move->state != MOVE_SWITCHING)
		return false;
	if (TransactionIdIsCurrentTransactionId(xid))
		return true;
	if (snapshot == NULL ? TransactionIdIsInProgress(xid) : XidInMVCCSnapshot(xid, snapshot))
		return false;
	return TransactionIdDidCommit(xid);
}

/* the user's home as his moves have it; false: he has none that matters */
static bool
moved_home(int64 user_id, Snapshot snapshot, int32 *partition, uint32 *epoch)
{
	bool		found = false;

	look();
	if (unlikely(too_old(snapshot)) && home_in_table(user_id, snapshot, partition, epoch))
		return true;
	for (int i = 0; i < known.count; i++)
	{
		const Move *move = &known.moves[i];

		if (move->user_id != user_id)
			continue;
		if (found && *partition != move->source)
			continue;			/* the snapshot does not see an earlier one */
		found = true;
		if (switch_visible(move, snapshot))
		{
			*partition = move->target;
			*epoch = move->epoch + 1;
		}
		else
		{
			*partition = move->source;
			*epoch = move->epoch;
		}
	}
	return found;
}

/* the latest move, unless it has ended */
static const Move *
present_move(int64 user_id)
{
	for (int i = known.count - 1; i >= 0; i--)
		if (known.moves[i].user_id == user_id)
			return known.moves[i].ended ? NULL : &known.moves[i];
	return NULL;
}

static void
prune_now_and_then(void)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < known.count; i++)
		if (!known.moves[i].ended)
			return;
	if (TimestampDifferenceExceeds(last, now, PRUNE_INTERVAL))
	{
		last = now;
		moves_prune();
	}
}

bool
moves_moving(int64 user_id)
{
	const Move *move;

	look();
	move = present_move(user_id);
	return move != NULL && move->state != MOVE_SWITCHED;
}

bool
moves_lives(int64 user_id, int32 partition, Snapshot snapshot)
{
	int32		home;
	uint32		epoch;

	look();
	return nobody() || !moved_home(user_id, snapshot, &home, &epoch) || home == partition;
}

bool
moves_ghosts(int32 partition)
{
	look();
	if (FullTransactionIdIsValid(known.forgotten))
		return true;
	for (int i = 0; i < known.count; i++)
		if (known.moves[i].source == partition || known.moves[i].target == partition)
			return true;
	return false;
}

/* ---- who writes ---- */

static void
set_fence(LOCKTAG *tag, int64 user_id)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) (user_id >> 32), (uint32) user_id, FENCE_CLASS);
}

void
moves_fence(int64 user_id)
{
	LOCKTAG		tag;

	look();
	if (nobody())
		return;
	prune_now_and_then();
	if (!moves_moving(user_id) || mover_in == MyLocalXid)
		return;
	set_fence(&tag, user_id);
	(void) LockAcquire(&tag, ShareLock, false, false);
	look();
}

static void
fail_moved(int64 user_id)
{
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("user %lld has moved to another storage partition meanwhile", (long long) user_id),
			 errhint("Retry the transaction.")));
}

/*
 * Raises serialization_failure if he, whose present home this is, has moved since
 * the snapshot by which this transaction sees everything.  A serializable one
 * writes nothing once anybody has: PostgreSQL would not see that what it has read
 * where he was is being changed where he is.
 */
static void
require_seen(const UserHome *home)
{
	Snapshot	snapshot = GetTransactionSnapshot();
	int32		partition;
	uint32		epoch;

	for (int i = 0; i < known.count; i++)
	{
		const Move *move = &known.moves[i];

		if ((move->user_id == home->user_id || IsolationIsSerializable()) &&
			switch_visible(move, NULL) && !switch_visible(move, snapshot))
			fail_moved(move->user_id);
	}
	if (unlikely(too_old(snapshot)) &&
		(IsolationIsSerializable() ||
		 (home_in_table(home->user_id, snapshot, &partition, &epoch) && epoch != home->epoch)))
		fail_moved(home->user_id);
}

/*
 * A serializable transaction that has written commits only if nobody has moved
 * since its snapshot: what it has read where he was, before it wrote or after,
 * somebody may have changed where he is, and read what it has changed before it
 * did.  PostgreSQL sees that conflict in one table only.  The switch holds the
 * lock exclusively (moves_switch), so it comes before this look or after the commit.
 */
static void
before_commit(XactEvent event, void *arg)
{
	Snapshot	snapshot;
	LOCKTAG		tag;
	bool		moved;

	if (event != XACT_EVENT_PRE_COMMIT || likely(!IsolationIsSerializable()) || !FirstSnapshotSet ||
		!TransactionIdIsValid(GetTopTransactionIdIfAny()) || realm_find() == NULL)
		return;
	look();
	if (nobody())
		return;
	set_fence(&tag, EVERYBODY);
	(void) LockAcquire(&tag, ShareLock, false, false);
	look();
	snapshot = GetTransactionSnapshot();
	moved = too_old(snapshot);
	for (int i = 0; i < known.count && !moved; i++)
		moved = switch_visible(&known.moves[i], NULL) && !switch_visible(&known.moves[i], snapshot);
	if (moved)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access: a user has moved to another storage partition meanwhile"),
				 errhint("Retry the transaction.")));
}

void
moves_install(void)
{
	RegisterXactCallback(before_commit, NULL);
}

/* relies on a home that was looked up: a move that begins from now on must be noticed */
static inline void
rely(void)
{
	if (looked_in != MyLocalXid)
	{
		looked_in = MyLocalXid;
		looked_generation = known.generation;
	}
}

void
moves_settle(UserHome *home, HomeView view)
{
	Snapshot	snapshot = NULL;

	look();
	if (view == HOME_KEPT)
		rely();
	if (nobody())
		return;
	if (view == HOME_KEPT)
		moves_fence(home->user_id);
	else if (view == HOME_SEEN && ActiveSnapshotSet())
		snapshot = GetActiveSnapshot();
	(void) moved_home(home->user_id, snapshot, &home->partition, &home->epoch);
	if (view == HOME_KEPT && IsolationUsesXactSnapshot())
		require_seen(home);
}

bool
moves_quiet(void)
{
	return likely(looked_in == MyLocalXid && nobody() && looked_generation == known.generation &&
				  known.generation == pg_atomic_read_u64(&mine->generation));
}

/*
 * A row of the user was written, or locked, on the partition, of which the table
 * is locked.  Returns the migration for which that is to be logged, or 0.  The
 * home may have been looked up before anybody knew of the move, or the row come
 * upon by a scan: so it is verified now, and kept.
 */
int64
moves_written(int64 user_id, int32 partition, bool deleted)
{
	const Move *move;
	int32		home_partition;
	uint32		epoch;

	if (mover_in == MyLocalXid)
		return 0;
	look();
	if (looked_in != MyLocalXid || looked_generation != known.generation)
	{
		LocalTransactionId saved_in = looked_in;
		uint64		saved_generation = looked_generation;
		UserHome	home;

		if (directory_find_home_by_id(user_id, &home) && home.partition != partition)
			fail_moved(user_id);
		/* that says nothing of other users */
		looked_in = saved_in;
		looked_generation = saved_generation;
	}
	if (known.count == 0)
		return 0;
	moves_fence(user_id);
	if (moved_home(user_id, NULL, &home_partition, &epoch) && home_partition != partition)
		fail_moved(user_id);
	move = present_move(user_id);
	if (move == NULL)
		return 0;
	if (move->state == MOVE_SWITCHED ? deleted && partition == move->target : partition == move->source)
		return move->migration;
	return 0;
}

/* ---- the mover ---- */

typedef struct MoveChange
{
	int			slot;
	int64		migration;
	int64		user_id;
	int32		source;
	int32		target;
} MoveChange;

/* of the slot's array, with its lock held */
static Move *
find_move(int slot, int64 migration)
{
	Moves	   *moves = moves_of(slot);

	for (int i = moves->count - 1; i >= 0; i--)
		if (moves->moves[i].migration == migration)
			return &moves->moves[i];
	return NULL;
}

static MoveChange *
add_change(const XactKind *kind, int slot, int64 migration)
{
	MoveChange *change = xact_add(kind, sizeof(MoveChange));

	change->slot = slot;
	change->migration = migration;
	return change;
}

static void
set_state(const MoveChange *change, MoveState state)
{
	Move	   *move;

	LWLockAcquire(&move_locks[change->slot].lock, LW_EXCLUSIVE);
	move = find_move(change->slot, change->migration);
	if (move)
		move->state = state;
	pg_atomic_fetch_add_u64(&moves_of(change->slot)->generation, 1);
	LWLockRelease(&move_locks[change->slot].lock);
}

static void
publish_commit(void *record)
{
	set_state(record, MOVE_UNDER_WAY);
}

static void
publish_abort(void *record)
{
	MoveChange *change = record;
	Moves	   *moves = moves_of(change->slot);
	Move	   *move;

	LWLockAcquire(&move_locks[change->slot].lock, LW_EXCLUSIVE);
	move = find_move(change->slot, change->migration);
	if (move && move->state == MOVE_PLANNED)
	{
		memmove(move, move + 1, sizeof(Move) * (moves->moves + moves->count - move - 1));
		moves->count--;
	}
	pg_atomic_fetch_add_u64(&moves->generation, 1);
	LWLockRelease(&move_locks[change->slot].lock);
}

static const XactKind publish_kind = {publish_commit, publish_abort};

static void
switch_commit(void *record)
{
	MoveChange *change = record;

	set_state(change, MOVE_SWITCHED);
	partition_user_moved(change->slot, change->source, change->target);
}

static void
switch_abort(void *record)
{
	set_state(record, MOVE_UNDER_WAY);
}

static const XactKind switch_kind = {switch_commit, switch_abort};

static void
end_commit(void *record)
{
	MoveChange *change = record;
	FullTransactionId next = ReadNextFullTransactionId();
	Move	   *move;

	LWLockAcquire(&move_locks[change->slot].lock, LW_EXCLUSIVE);
	move = find_move(change->slot, change->migration);
	if (move)
	{
		move->ended = true;
		move->retired = next;
	}
	pg_atomic_fetch_add_u64(&moves_of(change->slot)->generation, 1);
	LWLockRelease(&move_locks[change->slot].lock);
}

static void
end_abort(void *record)
{
}

static const XactKind end_kind = {end_commit, end_abort};

/* plans that spell out homes on the partition (visible.c) are made anew */
static void
forget_plans(int32 partition)
{
	Oid			table = moves_anchor(partition);

	if (OidIsValid(table))
		CacheInvalidateRelcacheByRelid(table);
}

Oid
moves_anchor(int32 partition)
{
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), "profile_%d", partition);
	return get_relname_relid(name, get_namespace_oid("_taskex", false));
}

void
moves_prune(void)
{
	int			slot = realm_current()->slot;
	Moves	   *moves = moves_of(slot);
	Relation	directory = table_open(get_relname_relid("directory", get_namespace_oid("_taskex", false)),
									   AccessShareLock);
	TransactionId horizon = GetOldestNonRemovableTransactionId(directory);
	int			kept = 0;
	bool		changed = false;

	table_close(directory, AccessShareLock);
	LWLockAcquire(&move_locks[slot].lock, LW_EXCLUSIVE);
	for (int i = 0; i < moves->count; i++)
	{
		const Move *move = &moves->moves[i];

		if (!move->ended || TransactionIdPrecedes(horizon, XidFromFullTransactionId(move->retired)))
			moves->moves[kept++] = *move;
	}
	if (FullTransactionIdIsValid(moves->forgotten) &&
		!TransactionIdPrecedes(horizon, XidFromFullTransactionId(moves->forgotten)))
	{
		moves->forgotten = InvalidFullTransactionId;
		changed = true;
	}
	if (kept != moves->count || changed)
	{
		moves->count = kept;
		pg_atomic_fetch_add_u64(&moves->generation, 1);
	}
	LWLockRelease(&move_locks[slot].lock);
}

/* makes room for a move, at the expense of old snapshots; the lock is held */
static void
forget_oldest(Moves *moves)
{
	for (int i = 0; i < moves->count; i++)
	{
		Move	   *move = &moves->moves[i];

		if (!move->ended)
			continue;
		if (!FullTransactionIdIsValid(moves->forgotten) ||
			FullTransactionIdPrecedes(moves->forgotten, move->retired))
			moves->forgotten = move->retired;
		memmove(move, move + 1, sizeof(Move) * (moves->count - i - 1));
		moves->count--;
		pg_atomic_fetch_add_u64(&moves->generation, 1);
		return;
	}
}

/* the user lives at the source: as of now, not by an old snapshot */
static uint32
check_home(int64 user_id, int32 source)
{
	SpiScope	scope;
	Datum		value = Int64GetDatum(user_id);
	int32		home = 0;
	uint32		epoch = 0;

	spi_begin(&scope);
	if (spi_run(&select_home, 0, &value, NULL, SPI_VIEW_NOW, 1) == 1)
	{
		home = spi_int32(0, 1);
		epoch = (uint32) spi_int64(0, 2);
	}
	spi_end(&scope);
	if (home != source)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("user %lld does not live on storage partition %d", (long long) user_id, source)));
	return epoch;
}

void
moves_publish(int64 migration, int64 user_id, int32 source, int32 target)
{
	int			slot = realm_current()->slot;
	Moves	   *moves = moves_of(slot);
	uint32		epoch = check_home(user_id, source);
	const Move *before;
	bool		busy = false;
	bool		added = false;

	if (source == target)
		elog(ERROR, "a user cannot be moved to where he is");
	moves_prune();
	look();						/* so that what a crash left is loaded */
	before = present_move(user_id);
	if (before && before->migration == migration)
		return;					/* that was left by a crash, or by a mover who was stopped */

	(void) add_change(&publish_kind, slot, migration);
	LWLockAcquire(&move_locks[slot].lock, LW_EXCLUSIVE);
	for (int i = 0; i < moves->count; i++)
		busy |= moves->moves[i].user_id == user_id && !moves->moves[i].ended;
	if (!busy && moves->count == MOVES_MAX)
		forget_oldest(moves);
	if (!busy && moves->count < MOVES_MAX)
	{
		Move	   *move = &moves->moves[moves->count++];

		memset(move, 0, sizeof(Move));
		move->migration = migration;
		move->user_id = user_id;
		move->source = source;
		move->target = target;
		move->epoch = epoch;
		move->state = MOVE_PLANNED;
		added = true;
	}
	LWLockRelease(&move_locks[slot].lock);

	if (busy)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_IN_USE),
				 errmsg("user %lld is being moved already", (long long) user_id)));
	if (!added)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many moves are under way"),
				 errdetail("There are %d.", MOVES_MAX),
				 errhint("Lower taskex.max_movers.")));
	forget_plans(source);
	forget_plans(target);
}

/* is the transaction still there, with a snapshot that it may have had before? */
static bool
still_there(VirtualTransactionId vxid, const VirtualTransactionId *now, int count)
{
	for (int i = 0; i < count; i++)
		if (VirtualTransactionIdEquals(vxid, now[i]))
			return true;
	return false;
}

bool
moves_wait_for_statements(int timeout_ms)
{
	TransactionId limit = ReadNextTransactionId();
	TimestampTz begin = GetCurrentTimestamp();
	VirtualTransactionId *vxids;
	int			count;

	vxids = GetCurrentVirtualXIDs(limit, true, false, PROC_IS_AUTOVACUUM | PROC_IN_VACUUM, &count);
	while (count > 0)
	{
		VirtualTransactionId *now;
		int			now_count;
		int			kept = 0;

		CHECK_FOR_INTERRUPTS();
		now = GetCurrentVirtualXIDs(limit, true, false, PROC_IS_AUTOVACUUM | PROC_IN_VACUUM, &now_count);
		for (int i = 0; i < count; i++)
			if (still_there(vxids[i], now, now_count))
				vxids[kept++] = vxids[i];
		count = kept;
		pfree(now);
		if (count == 0)
			break;
		if (TimestampDifferenceExceeds(begin, GetCurrentTimestamp(), timeout_ms))
			return false;
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 STATEMENTS_POLL, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	return true;
}

bool
moves_fence_exclusive(int64 user_id, int timeout_ms)
{
	LOCKTAG		tag;
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	int			saved = LockTimeout;
	volatile bool got = false;

	set_fence(&tag, user_id);
	if (timeout_ms == 0)
		return LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL;
	BeginInternalSubTransaction(NULL);
	PG_TRY();
	{
		LockTimeout = timeout_ms;
		(void) LockAcquire(&tag, ExclusiveLock, false, false);
		got = true;
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		LockTimeout = saved;
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE &&
			error->sqlerrcode != ERRCODE_T_R_DEADLOCK_DETECTED)
			PG_RE_THROW();
		FlushErrorState();
		FreeErrorData(error);
		RollbackAndReleaseCurrentSubTransaction();
		got = false;
	}
	PG_END_TRY();
	LockTimeout = saved;
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return got;
}

void
moves_switch(int64 migration, int64 user_id, int32 source, int32 target)
{
	int			slot = realm_current()->slot;
	Datum		values[3] = {Int64GetDatum(user_id), Int32GetDatum(source), Int32GetDatum(target)};
	TransactionId xid = GetTopTransactionId();
	LOCKTAG		tag;
	SpiScope	scope;
	MoveChange *change;
	Move	   *move;
	bool		isnull;

	set_fence(&tag, EVERYBODY);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	look();
	change = add_change(&switch_kind, slot, 0);
	change->source = source;
	change->target = target;

	/* from here on it counts when this transaction is seen to have committed */
	LWLockAcquire(&move_locks[slot].lock, LW_EXCLUSIVE);
	move = find_move(slot, migration);
	if (move && move->state == MOVE_UNDER_WAY && !move->ended && move->user_id == user_id &&
		move->source == source && move->target == target)
	{
		move->switched = xid;
		move->state = MOVE_SWITCHING;
		pg_atomic_fetch_add_u64(&moves_of(slot)->generation, 1);
		change->migration = migration;
	}
	LWLockRelease(&move_locks[slot].lock);
	if (change->migration == 0)
		elog(ERROR, "migration %lld is not one that can be switched", (long long) migration);

	spi_begin(&scope);
	if (spi_run(&update_home, 0, values, NULL, SPI_VIEW_CURRENT, 0) != 1)
		elog(ERROR, "user %lld does not live on storage partition %d", (long long) user_id, source);
	directory_changed(DatumGetTextPP(spi_value(0, 1, &isnull)), user_id);
	spi_end(&scope);
}

void
moves_end(int64 migration)
{
	int			slot = realm_current()->slot;
	int32		source = 0;
	int32		target = 0;
	const Move *move;

	look();
	(void) add_change(&end_kind, slot, migration);
	LWLockAcquire(&move_locks[slot].lock, LW_SHARED);
	move = find_move(slot, migration);
	if (move)
	{
		source = move->source;
		target = move->target;
	}
	LWLockRelease(&move_locks[slot].lock);
	if (move == NULL)
		elog(ERROR, "migration %lld is not under way", (long long) migration);
	forget_plans(source);
	forget_plans(target);
}

void
moves_act_as_mover(void)
{
	mover_in = MyLocalXid;
}
