/*
 * move.h
 *	  A migration, as the process has it that works on it.
 *
 * The states, and what a crash in each of them leaves, are drawn in README.md.
 */
#ifndef TASKEX_MIGRATION_MOVE_H
#define TASKEX_MIGRATION_MOVE_H

#include "postgres.h"

#include "directory/follower.h"
#include "migration/rows.h"

#include "datatype/timestamp.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "storage/lock.h"

typedef enum MoveState
{
	MOVE_QUEUED,
	MOVE_PREPARING,
	MOVE_COPYING,
	MOVE_FOLLOWING,
	MOVE_SWITCHING,
	MOVE_CLEANING,
	MOVE_UNDOING,
	MOVE_DONE,
	MOVE_CANCELLED,
	MOVE_FAILED
} MoveState;

/* whom a move waits for, at most so many are told */
#define MOVE_WAITS 8

typedef struct MoveProgress
{
	int64		rows;			/* copied so far */
	int64		bytes;
	int64		rows_total;		/* 0: not known yet */
	int64		bytes_total;
	int64		cleaned;		/* rows taken away where they are not needed */
	int64		stall;			/* longest time for which his writers were held up, microseconds */
	int			nwaits;
	int			waits[MOVE_WAITS];	/* pids; 0: a prepared transaction */
} MoveProgress;

/* transactions and subtransactions that are under way */
typedef struct OpenXids
{
	uint64	   *xids;			/* in their order; NULL: never looked */
	int			count;			/* more than there is room for: not all are known */
	uint64		upto;			/* the first that was not looked at; 0: none was */
} OpenXids;

typedef struct Move
{
	int64		id;
	int64		user;
	int32		source;
	int32		target;
	MoveState	state;
	bool		cancel;			/* somebody wants it to be undone */
	int			attempts;
	MoveProgress progress;

	/* from here on: what this process has found out, lost with it */
	MemoryContext context;		/* of all below */
	MoveTable  *tables;
	int			ntables;
	bool		listed;			/* tables have the rows to work on */
	int			table;			/* the present one */
	bool		resumed;		/* some rows may have been copied before */
	bool		ready;			/* the next step switches */
	OpenXids	open;			/* as of the last look */
	int			follower;		/* the first one that is not ready for the switch */
	struct
	{
		int			table;
		ItemPointerData tid;
	}		   *doubts;			/* rows that seemed to differ */
	int			ndoubts;
	VirtualTransactionId *waits;	/* transactions that may not know of the move */
	int			nwaits;			/* -1: not looked for yet */
	TimestampTz saved;			/* when the progress was last written */
	TimestampTz began;			/* this state, here */
	uint32		failure;		/* of the error that was logged last ... */
	TimestampTz failure_told;	/* ... and when; 0: none was */
	bool		fenced;			/* this step holds up the user's writers ... */
	TimestampTz fenced_at;		/* ... since */
} Move;

/* wait, in milliseconds, before the next step */
#define STEP_AT_ONCE 0
#define STEP_FINISHED (-1)
#define STEP_LATER (-2)			/* its turn has not come */

/* row.c: the move as the table has it, all inside a transaction; NULL: there is none */
extern Move *move_load(int64 id);
extern void move_free(Move *move);
extern void move_look(Move *move, bool lock);
extern bool move_has_error(Move *move);
extern const char *move_state_name(MoveState state);
extern void move_wait_point(MoveState state);

/* the new state, with the progress; what was found out for the old one is forgotten */
extern void move_set_state(Move *move, MoveState state);
extern void move_save(Move *move);
extern void move_set_error(Move *move, const char *error, int attempts, long wait, bool undo);

/* over.c: looks, as long as nobody waits, at what will be asked for under the fence */
extern void over_prepare(Move *move);

/* what is over, as a pg_snapshot that has subtransactions too; after over_prepare() */
extern char *over_now(Move *move);

/* was the transaction over when the home changed, or the one that changed it? */
extern bool move_before_switch(Move *move, TransactionId xid);

/* step.c: a transaction's worth of work, in a transaction */
extern long move_step(Move *move);

/* what is to be done after a step that failed, in another one; how long to wait */
extern long move_failed(Move *move, const ErrorData *error);

/* prepare.c: have all transactions ended that may not know of the move? */
extern bool prepare_waited(Move *move);

/* copy.c */
extern void move_list_tables(Move *move, int32 partition, bool backwards);
extern bool copy_batch(Move *move);
extern bool verify_batch(Move *move);
extern void verify_counts(Move *move);
extern void verify_doubts(Move *move);
extern bool clean_batch(Move *move, int32 partition, bool switched);

/* follow.c: ids that do not tell any more where things lie */
typedef struct ForwardIds
{
	const char *kind;			/* NULL: no such table */
	struct ArrayBuildState *ids;
} ForwardIds;

extern void forward_begin(ForwardIds *forward, const MoveTable *table);
extern void forward_note(ForwardIds *forward, const MoveChild *row, int32 partition, bool told);
extern void forward_write(ForwardIds *forward, int64 user);
extern void forward_remove(ForwardIds *forward, int64 user);

/* applies at most so many logged keys; the number of them */
extern int64 follow_pass(Move *move, int64 limit);
typedef struct LoggedKey
{
	int			position;
	ArrayType  *key;
	char	   *text;
} LoggedKey;

typedef struct LoggedKeys
{
	LoggedKey  *keys;
	int64		count;
} LoggedKeys;

extern bool follow_deleted(Move *move, const MoveChild *row, LoggedKeys **log);
extern int64 follow_waiting(Move *move, int position);
extern void follow_forget(Move *move);

/* pace.c: how fast a mover writes */
typedef struct Pace
{
	instr_time	begun;
	uint64		wal;			/* bytes that this process had written */
} Pace;

extern void pace_rest(long milliseconds);

/* in a transaction, before a step: the next file of the WAL */
extern void pace_make_files(void);

/* around a step; "gently": nobody waits for it, so it may take its time */
extern void pace_begin(Pace *pace);
extern void pace_end(Pace *pace, bool gently, pg_atomic_uint64 *room_at);

/* mover.c: NULL-terminated */
extern const MoveFollower *const *move_followers;

#endif							/* TASKEX_MIGRATION_MOVE_H */
