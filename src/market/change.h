/*
 * change.h
 *	  What change.c and dispose.c share: one call's task.
 */
#ifndef TASKEX_CHANGE_H
#define TASKEX_CHANGE_H

#include "postgres.h"

#include "fmgr.h"
#include "infra/child.h"
#include "market/market.h"
#include "utils/jsonb.h"

#define CHANGES_MAX 8

/* its row is locked and in tasks.slot */
typedef struct Change
{
	UserHome	requester;
	TimestampTz now;
	int64		task_id;
	Child		tasks;
	char	   *state;
	int32		performers;
	int32		live;
	int32		judged;
	int32		released;
	int64		task_type;		/* negative: golden */
	int64		each;			/* reward and fee for one performer */
	int64		reward;
	TimestampTz expires_at;
	bool		counted;		/* its results are combined */
	bool		dynamic;		/* ... until they are sure enough */
	/* what is to be changed */
	int			count;
	int			columns[CHANGES_MAX];
	Datum		values[CHANGES_MAX];
	bool		nulls[CHANGES_MAX];
} Change;

/* the requester (argument 0) and the tables on his partition */
extern void change_open(Change *change, FunctionCallInfo fcinfo, const char *function);

/* raises unknown_task unless the row, now locked, is the requester's */
extern void change_lock(Change *change, int64 task_id);

extern bool change_in_state(const Change *change, const char *state);

/* raises wrong_state: the task ... */
extern void change_wrong_state(const Change *change, const char *what, const char *hint);

/* what all changes have in the journal */
extern void change_journal(const Change *change, const char *kind, int64 amount, Jsonb *detail);

#endif							/* TASKEX_CHANGE_H */
