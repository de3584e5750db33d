/*
 * pace.c
 *	  How fast a mover writes: so that nobody waits long for its WAL.
 *
 * A commit waits for all that was written to the WAL before it.  So a mover has
 * little under way, has the disk take it in its own time, and rests when the
 * disk is busy.  And where a new file of the WAL is needed, whoever comes first
 * makes it while everybody who commits waits for him, for tens of milliseconds;
 * so a mover, that fills one after the other, makes them before.
 */
#include "postgres.h"

#include "migration/move.h"
#include "base/guc.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "access/xlog_internal.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include <unistd.h>

/* waiting longer than this for the disk shows that it is busy with others */
#define SLOW_FLUSH_US 10000
#define REST_MAX_MS 50

/* a step of cleaning that wrote more than this is followed by a rest */
#define CLEAN_REST_BYTES (32 * 1024)
#define CLEAN_REST_MAX_MS 200

/* what one mover may owe at most: so that a rate that was low is soon forgotten */
#define OWED_BYTES (1024 * 1024)

/* the mover's last step but one, in the WAL: copying goes on while it is flushed */
static XLogRecPtr unflushed = InvalidXLogRecPtr;

void
pace_rest(long milliseconds)
{
	if (milliseconds <= 0 || ConfigReloadPending)
		return;					/* new settings may be that there is no need */
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

void
pace_make_files(void)
{
	static XLogSegNo made = 0;
	XLogSegNo	next;
	int			file;

	XLByteToSeg(GetXLogInsertRecPtr() + wal_segment_size, next, wal_segment_size);
	if (next <= made)
		return;
	file = XLogFileInit(next, GetWALInsertionTimeLine());
	if (close(file) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not close a file of the WAL: %m")));
	made = next;
}

void
pace_begin(Pace *pace)
{
	INSTR_TIME_SET_CURRENT(pace->begun);
	pace->wal = pgWalUsage.wal_bytes;
}

static uint64
microseconds_since(instr_time begun)
{
	instr_time	now;

	INSTR_TIME_SET_CURRENT(now);
	INSTR_TIME_SUBTRACT(now, begun);
	return INSTR_TIME_GET_MICROSEC(now);
}

/* has the disk take the WAL up to a point; how long that took, in microseconds */
static uint64
flush(XLogRecPtr upto)
{
	instr_time	begun;

	INSTR_TIME_SET_CURRENT(begun);
	XLogFlush(upto);
	return microseconds_since(begun);
}

/* takes room for bytes that were written; in how many milliseconds there is some again */
static long
keep_rate(pg_atomic_uint64 *shared, uint64 bytes)
{
	uint64		now = (uint64) GetCurrentTimestamp();
	uint64		rate = (uint64) guc_move_rate * 1024;
	uint64		room_at;
	uint64		next;

	if (rate == 0)
		return 0;
	room_at = pg_atomic_read_u64(shared);
	do
		next = Min(Max(room_at, now), now + OWED_BYTES * (uint64) guc_max_movers * USECS_PER_SEC / rate) + bytes * USECS_PER_SEC / rate;
	while (!pg_atomic_compare_exchange_u64(shared, &room_at, next));
	return (long) ((next - now) / 1000);
}

void
pace_end(Pace *pace, bool gently, pg_atomic_uint64 *room_at)
{
	uint64		bytes = pgWalUsage.wal_bytes - pace->wal;
	uint64		flushed;
	long		rest;

	if (gently)
	{
		flushed = flush(XactLastCommitEnd);
		rest = 0;
		if (bytes > CLEAN_REST_BYTES)
			rest = Min((long) (microseconds_since(pace->begun) / 1000) * (flushed > SLOW_FLUSH_US ? 3 : 1) + 1, CLEAN_REST_MAX_MS);
	}
	else
	{
		flushed = flush(unflushed);
		rest = flushed > SLOW_FLUSH_US ? Min((long) (flushed / 1000), REST_MAX_MS) : 0;
	}
	unflushed = XactLastCommitEnd;
	pace_rest(Max(rest, keep_rate(room_at, bytes)));
}
