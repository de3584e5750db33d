/*
 * refill.h
 *	  What a refill of a supply begins with.
 */
#ifndef TASKEX_REFILL_H
#define TASKEX_REFILL_H

#include "postgres.h"

#include "market/source.h"

typedef enum RefillTurnKind
{
	TURN_PRESENT,				/* whose turn it is, or was last, and the slots that are left of it */
	TURN_AHEAD,					/* who was given slots before his turn, and how many his turns have not made up for */
	TURN_KINDS
} RefillTurnKind;

typedef struct RefillTurn
{
	int64		requester;		/* 0: nobody */
	int32		slots;
} RefillTurn;

extern RefillTurn stock_turn(int32 group, int64 task_type, RefillTurnKind kind);
extern void stock_set_turn(int32 group, int64 task_type, RefillTurnKind kind, int64 requester, int32 slots);

/*
 * Where the next refill of the supply begins among the tasks of a requester or
 * (0) of a partition: after "cursor", and it comes back to the oldest task after
 * "upto".  A cache: false if nothing is known.
 */
typedef struct RefillCursor
{
	int64		cursor;
	int64		upto;
} RefillCursor;

extern bool stock_cursor(int32 group, int64 task_type, int32 partition, int64 requester, RefillCursor *at);
extern void stock_set_cursor(int32 group, int64 task_type, int32 partition, int64 requester, const RefillCursor *at);

/* a member got the task, of the type, elsewhere; true: though there are slots */
extern bool stock_missed(int32 group, int64 performer, const SourceMiss *miss);

#endif							/* TASKEX_REFILL_H */
