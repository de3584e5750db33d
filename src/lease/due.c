/*
 * due.c
 *	  Finding work whose time has come, by forward-only cursors.
 *
 * PURPOSE	Leases that end, results to approve and tasks to expire are found
 *			by scanning an index on the due time from where the last scan
 *			ended, so no scan meets finished work twice and no hot update
 *			touches the index.
 * LAYOUT	A hash table with a cursor for each (realm, partition, kind).
 *			"next" is a time before which everything is handled; "retry" is an
 *			earlier one to which the scan must go back after retry_at, because
 *			a row was locked.
 * WRITES	The table under its LWLock, exclusive; a cursor's fields under its
 *			spinlock.
 * CRASH	Cursors start again at their stored positions (_taskex.due_cursor),
 *			which are never ahead of a running transaction's start.
 * INVARIANT  A committed row that is due before "next" is handled, or "retry"
 *			is not after it, or a scan is under way and "late" is not.
 */
#include "postgres.h"

#include "lease/due.h"
#include "base/clock.h"
#include "base/guc.h"
#include "infra/realm.h"
#include "infra/xact.h"

#include "miscadmin.h"
#include "storage/procarray.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/hsearch.h"
#include "utils/timestamp.h"

typedef struct DueKey
{
	uint32		realm;
	int32		partition;
	int32		kind;
} DueKey;

typedef struct DueCursor
{
	DueKey		key;
	slock_t		mutex;
	bool		known;			/* next was set by a scan */
	int			scanner;		/* pid of who is scanning, or 0 */
	TimestampTz next;
	TimestampTz late;			/* earliest that committed during the scan */
	TimestampTz retry;			/* DT_NOEND: none */
	TimestampTz retry_at;
} DueCursor;

static HTAB *cursors = NULL;
static LWLock *lock = NULL;

/* those of dropped partitions stay, but ids of partitions are never so many */
static long
cursor_count(void)
{
	return (long) guc_max_partitions * guc_max_databases * DUE_KINDS;
}

static Size
due_size(void)
{
	return sizeof(int);			/* all is in the hash table */
}

static Size
due_extra(void)
{
	return hash_estimate_size(cursor_count(), sizeof(DueCursor));
}

static int
due_locks(void)
{
	return 1;
}

static void
due_attach(void *block, LWLockPadded *locks, bool found)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(DueKey);
	ctl.entrysize = sizeof(DueCursor);
	cursors = ShmemInitHash("taskex due cursors", cursor_count(), cursor_count(),
							&ctl, HASH_ELEM | HASH_BLOBS);
	lock = &locks[0].lock;
}

const ShmemPart due_shmem = {"taskex due", due_size, due_extra, due_locks, due_attach};

/* where this process has found cursors; they stay where they are */
#define FOUND 64

static DueCursor *
cursor_of(int32 partition, DueKind kind)
{
	static DueCursor *known[FOUND];
	DueKey		key = {realm_current()->serial, partition, kind};
	DueCursor **place = &known[((uint32) partition * DUE_KINDS + kind) % FOUND];
	DueCursor  *cursor;
	bool		found;

	if (*place && memcmp(&(*place)->key, &key, sizeof(key)) == 0)
		return *place;
	LWLockAcquire(lock, LW_SHARED);
	cursor = hash_search(cursors, &key, HASH_FIND, NULL);
	LWLockRelease(lock);
	if (likely(cursor != NULL))
		return *place = cursor;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	cursor = hash_search(cursors, &key, HASH_ENTER_NULL, &found);
	if (cursor && !found)
	{
		SpinLockInit(&cursor->mutex);
		cursor->known = false;
		cursor->scanner = 0;
		cursor->next = DT_NOEND;
		cursor->late = DT_NOEND;
		cursor->retry = DT_NOEND;
		cursor->retry_at = 0;
	}
	LWLockRelease(lock);
	if (cursor == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("out of due cursors in shared memory"),
				 errhint("Raise taskex.max_partitions and restart the server.")));
	return cursor;
}

/* ---- noting, at commit ---- */

typedef struct DueNote
{
	DueCursor  *cursor;
	TimestampTz due;
} DueNote;

static void
note_commit(void *record)
{
	DueNote    *note = record;
	DueCursor  *cursor = note->cursor;

	SpinLockAcquire(&cursor->mutex);
	if (cursor->scanner != 0)
		cursor->late = Min(cursor->late, note->due);
	else
		cursor->next = Min(cursor->next, note->due);
	SpinLockRelease(&cursor->mutex);
}

static void
note_abort(void *record)
{
}

/* one kind of record per kind of cursor, so that most notes can be merged */
static const XactKind note_kinds[DUE_KINDS] = {
	{note_commit, note_abort},
	{note_commit, note_abort},
	{note_commit, note_abort},
	{note_commit, note_abort},
};

void
due_note(int32 partition, DueKind kind, TimestampTz due)
{
	DueCursor  *cursor = cursor_of(partition, kind);
	DueNote    *note = xact_find(&note_kinds[kind]);

	if (unlikely(clock_is_set()))
		due_lower_stored(partition, kind, due);
	if (note == NULL || note->cursor != cursor)
	{
		note = xact_add(&note_kinds[kind], sizeof(DueNote));
		note->cursor = cursor;
		note->due = due;
	}
	else
		note->due = Min(note->due, due);
}

/*
 * Whatever is due of his before the source's cursor is handled.  Where that lags
 * behind, the target's stored position may be further on.
 */
void
due_follow(int32 source, int32 target, DueKind kind)
{
	DueCursor  *cursor = cursor_of(source, kind);
	TimestampTz due;
	bool		known;

	SpinLockAcquire(&cursor->mutex);
	due = Min(cursor->next, cursor->retry);
	if (cursor->scanner != 0)
		due = Min(due, cursor->late);
	known = cursor->known;
	SpinLockRelease(&cursor->mutex);
	if (!known)
		due = Min(due, due_stored(source, kind));
	if (due == DT_NOEND)
		return;
	due_note(target, kind, due);
	if (!clock_is_set() && due < TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -DUE_MARGIN_MS))
		due_lower_stored(target, kind, due);
}

/* ---- scanning ---- */

bool
due_begin(int32 partition, DueKind kind, TimestampTz now,
		  TimestampTz stored, TimestampTz *from)
{
	DueCursor  *cursor = cursor_of(partition, kind);
	bool		begin = false;
	int			scanner = cursor->scanner;
	bool		again = scanner == MyProcPid;	/* in the same transaction */

	/* who left without a word (FATAL) is not waited for */
	if (due_busy(partition, kind))
		return false;

	SpinLockAcquire(&cursor->mutex);
	if (cursor->scanner != 0 && cursor->scanner == scanner)
	{
		cursor->scanner = 0;
		cursor->next = Min(cursor->next, cursor->late);
	}
	if (!cursor->known)
	{
		cursor->next = Min(cursor->next, stored);
		cursor->known = true;
	}
	if (cursor->scanner == 0)
	{
		*from = cursor->next;
		if (cursor->retry != DT_NOEND && cursor->retry_at <= now)
		{
			*from = Min(*from, cursor->retry);
			cursor->next = *from;
			cursor->retry = DT_NOEND;
		}
		if (*from <= now)
		{
			begin = true;
			cursor->scanner = MyProcPid;
			if (!again)
				cursor->late = DT_NOEND;
		}
	}
	SpinLockRelease(&cursor->mutex);
	return begin;
}

/*
 * When a transaction has scanned more than once, its last scan is ended first
 * and others go on from there; what the ones before it found must not take the
 * cursor further than that.
 */
static void
end_scan(DueCursor *cursor, TimestampTz next)
{
	SpinLockAcquire(&cursor->mutex);
	if (cursor->scanner == MyProcPid)
	{
		cursor->scanner = 0;
		cursor->next = Min(next, cursor->late);
	}
	else
		cursor->next = Min(cursor->next, next);
	SpinLockRelease(&cursor->mutex);
}

/* next has not moved since the scan began */
static void
abandon_scan(DueCursor *cursor)
{
	end_scan(cursor, cursor->next);
}

void
due_end(int32 partition, DueKind kind, TimestampTz next,
		TimestampTz postponed, TimestampTz retry_at)
{
	DueCursor  *cursor = cursor_of(partition, kind);

	if (postponed != DT_NOEND)
	{
		SpinLockAcquire(&cursor->mutex);
		cursor->retry = Min(cursor->retry, postponed);
		cursor->retry_at = retry_at;
		SpinLockRelease(&cursor->mutex);
	}
	end_scan(cursor, next);
}

void
due_abandon(int32 partition, DueKind kind)
{
	abandon_scan(cursor_of(partition, kind));
}

typedef struct DueEnd
{
	DueCursor  *cursor;
	TimestampTz next;
} DueEnd;

static void
end_commit(void *record)
{
	end_scan(((DueEnd *) record)->cursor, ((DueEnd *) record)->next);
}

static void
end_abort(void *record)
{
	abandon_scan(((DueEnd *) record)->cursor);
}

static const XactKind end_kind = {end_commit, end_abort};

void
due_end_at_commit(int32 partition, DueKind kind, TimestampTz next)
{
	DueEnd	   *end = xact_add(&end_kind, sizeof(DueEnd));

	end->cursor = cursor_of(partition, kind);
	end->next = next;
}

bool
due_busy(int32 partition, DueKind kind)
{
	int			scanner = cursor_of(partition, kind)->scanner;

	return scanner != 0 && scanner != MyProcPid && BackendPidGetProc(scanner) != NULL;
}

bool
due_known(int32 partition, DueKind kind)
{
	return cursor_of(partition, kind)->known;
}

TimestampTz
due_position(int32 partition, DueKind kind)
{
	DueCursor  *cursor = cursor_of(partition, kind);
	TimestampTz position;

	SpinLockAcquire(&cursor->mutex);
	position = Min(cursor->next, cursor->retry);
	SpinLockRelease(&cursor->mutex);
	return position;
}

TimestampTz
due_next(int32 partition)
{
	TimestampTz next = DT_NOEND;

	for (int kind = 0; kind < DUE_KINDS; kind++)
	{
		DueCursor  *cursor = cursor_of(partition, kind);

		SpinLockAcquire(&cursor->mutex);
		next = Min(next, cursor->next);
		if (cursor->retry != DT_NOEND)
			next = Min(next, cursor->retry_at);
		SpinLockRelease(&cursor->mutex);
	}
	return next;
}
