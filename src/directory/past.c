/*
 * past.c
 *	  Which of two copies of a row counts in a snapshot: moves that are under way,
 *	  and those that have ended but are remembered for old snapshots.
 *
 * The table of moves is explained in movetable.h.
 */
#include "postgres.h"

#include "directory/moves.h"
#include "directory/movetable.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "storage/procarray.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* least time between two looks whether ended moves can be forgotten, in ms */
#define PRUNE_INTERVAL 1000

static Statement select_home = {
	"SELECT partition_id, epoch FROM _taskex.directory WHERE user_id = $1",
	1, {INT8OID}
};

/* ---- where somebody lives ---- */

bool
moves_too_old(Snapshot snapshot)
{
	return snapshot != NULL && FullTransactionIdIsValid(moves_known.forgotten) &&
		TransactionIdPrecedes(snapshot->xmin, XidFromFullTransactionId(moves_known.forgotten));
}

bool
moves_read_home(int64 user_id, SpiView view, int32 *partition, uint32 *epoch)
{
	Datum		value = Int64GetDatum(user_id);
	SpiScope	scope;
	bool		found;

	spi_begin(&scope);
	found = spi_run(&select_home, 0, &value, NULL, view, 1) == 1;
	if (found)
	{
		*partition = spi_int32(0, 1);
		*epoch = (uint32) spi_int64(0, 2);
	}
	spi_end(&scope);
	return found;
}

bool
moves_home_in_directory(int64 user_id, Snapshot snapshot, int32 *partition, uint32 *epoch)
{
	bool		found;

	PushActiveSnapshot(snapshot);
	found = moves_read_home(user_id, SPI_VIEW_SNAPSHOT, partition, epoch);
	PopActiveSnapshot();
	return found;
}

bool
moves_switch_visible(const Move *move, Snapshot snapshot)
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

bool
moves_home_at(int64 user_id, Snapshot snapshot, int32 *partition, uint32 *epoch)
{
	bool		found = false;

	moves_look();
	if (unlikely(moves_too_old(snapshot)) && moves_home_in_directory(user_id, snapshot, partition, epoch))
		return true;
	for (int i = 0; i < moves_known.count; i++)
	{
		const Move *move = &moves_known.moves[i];

		if (move->user_id != user_id)
			continue;
		if (found && *partition != move->source)
			continue;			/* the snapshot does not see an earlier one */
		found = true;
		if (moves_switch_visible(move, snapshot))
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

bool
moves_lives(int64 user_id, int32 partition, Snapshot snapshot)
{
	int32		home;
	uint32		epoch;

	moves_look();
	return moves_nobody() || !moves_home_at(user_id, snapshot, &home, &epoch) || home == partition;
}

bool
moves_ghosts(int32 partition)
{
	moves_look();
	if (FullTransactionIdIsValid(moves_known.forgotten))
		return true;
	for (int i = 0; i < moves_known.count; i++)
		if (moves_known.moves[i].source == partition || moves_known.moves[i].target == partition)
			return true;
	return false;
}

/* ---- what is remembered ---- */

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
	LWLockAcquire(moves_lock(slot), LW_EXCLUSIVE);
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
	LWLockRelease(moves_lock(slot));
}

void
moves_prune_now_and_then(void)
{
	static TimestampTz last = 0;
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < moves_known.count; i++)
		if (!moves_known.moves[i].ended)
			return;
	if (TimestampDifferenceExceeds(last, now, PRUNE_INTERVAL))
	{
		last = now;
		moves_prune();
	}
}

void
moves_forget_oldest(Moves *moves)
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
