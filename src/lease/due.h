/*
 * due.h
 *	  Finding work whose time has come, by forward-only cursors.
 */
#ifndef TASKEX_DUE_H
#define TASKEX_DUE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "infra/shmem.h"

/* what becomes due on a storage partition; each is a column with an index */
typedef enum DueKind
{
	DUE_LEASE,					/* assignment.lease_until, not submitted */
	DUE_REVIEW,					/* result.auto_approve_at, not judged */
	DUE_EXPIRY,					/* task.expires_at, still open */
	DUE_RUN,					/* run_wait.due_at */
	DUE_KINDS
} DueKind;

/* a call may look at the clock this long before its transaction has an xid */
#define DUE_MARGIN_MS 60000
/* those before it are the market's */
#define DUE_MARKET_KINDS DUE_RUN

extern const ShmemPart due_shmem;

/* at commit: something on the partition becomes due then */
extern void due_note(int32 partition, DueKind kind, TimestampTz due);

/*
 * At commit: somebody has moved from one partition to the other, and what becomes due
 * of his there was not handled here.
 */
extern void due_follow(int32 source, int32 target, DueKind kind);

/* due_store.c: the position stored for the start, DT_NOBEGIN if there is none */
extern TimestampTz due_stored(int32 partition, DueKind kind);

/* lowers it in this transaction */
extern void due_lower_stored(int32 partition, DueKind kind, TimestampTz due);

/*
 * One of the steps that store the positions of these partitions' cursors; to
 * be called by the conductor in each round, outside any transaction.
 */
extern void due_store_step(const int32 *partitions, int count);

/* is somebody else scanning? */
extern bool due_busy(int32 partition, DueKind kind);

/* has a cursor begun? */
extern bool due_known(int32 partition, DueKind kind);

/*
 * Is anything due by now?  Then *from is where to start, and due_end must
 * follow.  A cursor that shared memory does not know yet starts at "stored".
 */
extern bool due_begin(int32 partition, DueKind kind, TimestampTz now,
					  TimestampTz stored, TimestampTz *from);

/*
 * Everything up to now is handled; the next is due at "next" (DT_NOEND:
 * nothing is).  With postponed (else DT_NOEND), something due then could not
 * be handled and is to be tried again after retry_at.
 */
extern void due_end(int32 partition, DueKind kind, TimestampTz next,
					TimestampTz postponed, TimestampTz retry_at);

/* the same at the commit of this transaction; its abort handles nothing */
extern void due_end_at_commit(int32 partition, DueKind kind, TimestampTz next);

/* the round failed: nothing is handled */
extern void due_abandon(int32 partition, DueKind kind);

/* where the cursor stands: everything before is handled */
extern TimestampTz due_position(int32 partition, DueKind kind);

/* when to look again: the earliest due time of the partition's cursors */
extern TimestampTz due_next(int32 partition);

#endif							/* TASKEX_DUE_H */
