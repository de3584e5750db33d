/*
 * fence.c
 *	  The fence of a user who is being moved: who writes for him, who waits for
 *	  whom when his home changes, and who must not commit after that.
 *
 * The table of moves is explained in movetable.h, the races in README.md.
 */
#include "postgres.h"

#include "directory/moves.h"
#include "directory/movetable.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* distinguishes the lock of a user from advisory locks, which have 1 and 2 there */
#define FENCE_CLASS 7412

/* the same lock of nobody: no serializable transaction that has written commits meanwhile */
#define EVERYBODY 0

/* how often to look whether statements have ended, in ms */
#define STATEMENTS_POLL 2

/* since when this transaction relies on homes that it has looked up */
static LocalTransactionId looked_in = InvalidLocalTransactionId;
static uint64 looked_generation;

static LocalTransactionId mover_in = InvalidLocalTransactionId;

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

	moves_look();
	if (moves_nobody())
		return;
	moves_prune_now_and_then();
	if (!moves_moving(user_id) || mover_in == MyLocalXid)
		return;
	set_fence(&tag, user_id);
	(void) LockAcquire(&tag, ShareLock, false, false);
	moves_look();
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

	for (int i = 0; i < moves_known.count; i++)
	{
		const Move *move = &moves_known.moves[i];

		if ((move->user_id == home->user_id || IsolationIsSerializable()) &&
			moves_switch_visible(move, NULL) && !moves_switch_visible(move, snapshot))
			fail_moved(move->user_id);
	}
	if (unlikely(moves_too_old(snapshot)) &&
		(IsolationIsSerializable() ||
		 (moves_home_in_directory(home->user_id, snapshot, &partition, &epoch) && epoch != home->epoch)))
		fail_moved(home->user_id);
}

/*
 * A serializable transaction that has written commits only if nobody has moved
 * since its snapshot: what it has read where he was, before it wrote or after,
 * somebody may have changed where he is, and read what it has changed before it
 * did.  PostgreSQL sees that conflict in one table only.  The switch holds the
 * lock exclusively (moves_fence_everybody), so it comes before this look or after the commit.
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
	moves_look();
	if (moves_nobody())
		return;
	set_fence(&tag, EVERYBODY);
	(void) LockAcquire(&tag, ShareLock, false, false);
	moves_look();
	snapshot = GetTransactionSnapshot();
	moved = moves_too_old(snapshot);
	for (int i = 0; i < moves_known.count && !moved; i++)
		moved = moves_switch_visible(&moves_known.moves[i], NULL) && !moves_switch_visible(&moves_known.moves[i], snapshot);
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
		looked_generation = moves_known.generation;
	}
}

void
moves_settle(UserHome *home, HomeView view)
{
	Snapshot	snapshot = NULL;

	moves_look();
	if (view == HOME_KEPT)
		rely();
	if (moves_nobody())
		return;
	if (view == HOME_KEPT)
		moves_fence(home->user_id);
	else if (view == HOME_SEEN && ActiveSnapshotSet())
		snapshot = GetActiveSnapshot();
	(void) moves_home_at(home->user_id, snapshot, &home->partition, &home->epoch);
	if (view == HOME_KEPT && IsolationUsesXactSnapshot())
		require_seen(home);
}

bool
moves_quiet(void)
{
	return likely(looked_in == MyLocalXid && moves_nobody() && looked_generation == moves_known.generation &&
				  moves_known.generation == pg_atomic_read_u64(&moves_mine->generation));
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
	moves_look();
	if (looked_in != MyLocalXid || looked_generation != moves_known.generation)
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
	if (moves_known.count == 0)
		return 0;
	moves_fence(user_id);
	if (moves_home_at(user_id, NULL, &home_partition, &epoch) && home_partition != partition)
		fail_moved(user_id);
	move = moves_present(user_id);
	if (move == NULL)
		return 0;
	if (move->state == MOVE_SWITCHED ? deleted && partition == move->target : partition == move->source)
		return move->migration;
	return 0;
}

/* ---- the mover ---- */

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
moves_fence_everybody(void)
{
	LOCKTAG		tag;

	set_fence(&tag, EVERYBODY);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

void
moves_act_as_mover(void)
{
	mover_in = MyLocalXid;
}
