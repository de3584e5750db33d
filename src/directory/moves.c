/*
 * moves.c
 *	  Users who are being moved to another storage partition: the table of them
 *	  in shared memory (movetable.h), and its changes by the movers' transactions.
 */
#include "postgres.h"

#include "directory/moves.h"
#include "directory/movetable.h"
#include "base/guc.h"
#include "infra/xact.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"

static char *all_moves = NULL;
static LWLockPadded *move_locks = NULL;

Moves	   *moves_mine = NULL;
KnownMoves	moves_known;

static Statement select_moves = {
	"SELECT m.migration_id, m.user_id, m.source, m.target, d.epoch, m.state = 'cleaning'"
	" FROM _taskex.migration m JOIN _taskex.directory d USING (user_id)"
	" WHERE m.finished_at IS NULL AND m.state <> 'queued' ORDER BY m.migration_id",
	0, {0}
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

Moves *
moves_of(int slot)
{
	return (Moves *) (all_moves + MAXALIGN(sizeof(Moves)) * slot);
}

LWLock *
moves_lock(int slot)
{
	return &move_locks[slot].lock;
}

static void
moves_reset(int slot)
{
	LWLockAcquire(moves_lock(slot), LW_EXCLUSIVE);
	moves_of(slot)->loaded = false;
	moves_of(slot)->count = 0;
	moves_of(slot)->forgotten = InvalidFullTransactionId;
	pg_atomic_fetch_add_u64(&moves_of(slot)->generation, 1);
	LWLockRelease(moves_lock(slot));
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
	LWLockAcquire(moves_lock(slot), LW_EXCLUSIVE);
	if (!moves->loaded)
	{
		memcpy(moves->moves, found, sizeof(Move) * count);
		moves->count = count;
		moves->loaded = true;
		pg_atomic_fetch_add_u64(&moves->generation, 1);
	}
	LWLockRelease(moves_lock(slot));
	spi_end(&scope);
}

void
moves_learn(void)
{
	const Realm *realm = realm_current();
	int			slot = realm->slot;
	uint32		serial = realm->serial;
	Moves	   *moves = moves_of(slot);
	bool		loaded;

	do
	{
		LWLockAcquire(moves_lock(slot), LW_SHARED);
		loaded = moves->loaded;
		if (loaded)
		{
			moves_known.count = 0;
			for (int i = 0; i < moves->count; i++)
				if (moves->moves[i].state != MOVE_PLANNED)
					moves_known.moves[moves_known.count++] = moves->moves[i];
			moves_known.forgotten = moves->forgotten;
			moves_known.generation = pg_atomic_read_u64(&moves->generation);
			moves_known.realm = serial;
			moves_mine = moves;
		}
		LWLockRelease(moves_lock(slot));
		if (!loaded)
			load(slot);
	} while (!loaded);
}

const Move *
moves_present(int64 user_id)
{
	for (int i = moves_known.count - 1; i >= 0; i--)
		if (moves_known.moves[i].user_id == user_id)
			return moves_known.moves[i].ended ? NULL : &moves_known.moves[i];
	return NULL;
}

bool
moves_moving(int64 user_id)
{
	const Move *move;

	moves_look();
	move = moves_present(user_id);
	return move != NULL && move->state != MOVE_SWITCHED;
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

	LWLockAcquire(moves_lock(change->slot), LW_EXCLUSIVE);
	move = find_move(change->slot, change->migration);
	if (move)
		move->state = state;
	pg_atomic_fetch_add_u64(&moves_of(change->slot)->generation, 1);
	LWLockRelease(moves_lock(change->slot));
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

	LWLockAcquire(moves_lock(change->slot), LW_EXCLUSIVE);
	move = find_move(change->slot, change->migration);
	if (move && move->state == MOVE_PLANNED)
	{
		memmove(move, move + 1, sizeof(Move) * (moves->moves + moves->count - move - 1));
		moves->count--;
	}
	pg_atomic_fetch_add_u64(&moves->generation, 1);
	LWLockRelease(moves_lock(change->slot));
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

	LWLockAcquire(moves_lock(change->slot), LW_EXCLUSIVE);
	move = find_move(change->slot, change->migration);
	if (move)
	{
		move->ended = true;
		move->retired = next;
	}
	pg_atomic_fetch_add_u64(&moves_of(change->slot)->generation, 1);
	LWLockRelease(moves_lock(change->slot));
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

/* the user lives at the source: as of now, not by an old snapshot */
static uint32
check_home(int64 user_id, int32 source)
{
	int32		home = 0;
	uint32		epoch = 0;

	(void) moves_read_home(user_id, SPI_VIEW_NOW, &home, &epoch);
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
	moves_look();						/* so that what a crash left is loaded */
	before = moves_present(user_id);
	if (before && before->migration == migration)
		return;					/* that was left by a crash, or by a mover who was stopped */

	(void) add_change(&publish_kind, slot, migration);
	LWLockAcquire(moves_lock(slot), LW_EXCLUSIVE);
	for (int i = 0; i < moves->count; i++)
		busy |= moves->moves[i].user_id == user_id && !moves->moves[i].ended;
	if (!busy && moves->count == MOVES_MAX)
		moves_forget_oldest(moves);
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
	LWLockRelease(moves_lock(slot));

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

void
moves_switch(int64 migration, int64 user_id, int32 source, int32 target)
{
	int			slot = realm_current()->slot;
	Datum		values[3] = {Int64GetDatum(user_id), Int32GetDatum(source), Int32GetDatum(target)};
	TransactionId xid = GetTopTransactionId();
	SpiScope	scope;
	MoveChange *change;
	Move	   *move;
	bool		isnull;

	moves_fence_everybody();
	moves_look();
	change = add_change(&switch_kind, slot, 0);
	change->source = source;
	change->target = target;

	/* from here on it counts when this transaction is seen to have committed */
	LWLockAcquire(moves_lock(slot), LW_EXCLUSIVE);
	move = find_move(slot, migration);
	if (move && move->state == MOVE_UNDER_WAY && !move->ended && move->user_id == user_id &&
		move->source == source && move->target == target)
	{
		move->switched = xid;
		move->state = MOVE_SWITCHING;
		pg_atomic_fetch_add_u64(&moves_of(slot)->generation, 1);
		change->migration = migration;
	}
	LWLockRelease(moves_lock(slot));
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

	moves_look();
	(void) add_change(&end_kind, slot, migration);
	LWLockAcquire(moves_lock(slot), LW_SHARED);
	move = find_move(slot, migration);
	if (move)
	{
		source = move->source;
		target = move->target;
	}
	LWLockRelease(moves_lock(slot));
	if (move == NULL)
		elog(ERROR, "migration %lld is not under way", (long long) migration);
	forget_plans(source);
	forget_plans(target);
}
