/*
 * market.h
 *	  Tasks and assignments: what the files of the market share.
 *
 * The states and the order of row locks (result, assignment, task) are drawn
 * in README.md.
 */
#ifndef TASKEX_MARKET_H
#define TASKEX_MARKET_H

#include "postgres.h"

#include "directory/directory.h"
#include "fmgr.h"
#include "lease/due.h"
#include "market/feed.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/*
 * A task id is a counter times TASK_ID_STEP plus the number, modulo
 * TASK_ID_STEP, of the storage partition where the task was supplied: whoever
 * knows only the id finds the row without asking every partition.
 */
#define TASK_ID_STEP 1024

static inline int64
task_id_make(int64 counter, int32 partition)
{
	return counter * TASK_ID_STEP + partition % TASK_ID_STEP;
}

/* no task whose counter is up to this one has a higher id */
static inline int64
task_id_bound(int64 counter)
{
	return counter == 0 ? 0 : counter * TASK_ID_STEP + TASK_ID_STEP - 1;
}

/* the properties of a task type that the hot paths need; they never change */
typedef struct TaskType
{
	int64		task_type;		/* hash key */
	int64		reward;			/* nano-units */
	Interval	lease;
	Interval	auto_approve;
	bool		has_schema;		/* results must have a format */
	int32		labels;			/* different results that it allows; 0: not known */
	const struct Requirements *requirements;	/* of performers; NULL: none */
} TaskType;

/*
 * task_type.c: what there is to know of a type; NULL, or unknown_task_type, if
 * there is none.  Valid until the next call.
 */
extern const TaskType *task_type_find(int64 task_type);
extern const TaskType *task_type_get(int64 task_type);

/* reads several at once; the session need not ask for them one by one then */
extern bool task_type_known(int64 task_type);
extern void task_types_learn(const int64 *task_types, int count);

/* format.c: raises an error unless a schema of results can be enforced */
extern void format_check_schema(Jsonb *schema);

/*
 * Raises result_invalid unless the result (jsonb) has the type's format;
 * assignment 0: a known answer.
 */
extern void format_check_result(const TaskType *type, int64 assignment_id, Datum result);

/* SHA-256 over the given pieces, each with its length */
extern bytea *request_hash(const void *const *data, const Size *sizes, int count);

/* now + interval */
extern TimestampTz after_interval(TimestampTz now, const Interval *interval);

/* raises an error unless low <= interval <= high, in days of 24 hours */
extern void check_interval(const Interval *interval, const char *name,
						   int64 min_usecs, int64 max_days);

/* a slot of the task that is no longer taken: one lease has ended */
typedef struct FreedSlot
{
	int64		task_id;
	int64		task_type;
	UserHome	requester;
} FreedSlot;

/*
 * slot.c: gives the slot to the next performer or, when the task is closed,
 * its money back to the requester, and returns how much that is, or -1.  The
 * assignment's row is locked already.
 */
extern int64 slot_free(const FreedSlot *slot);

/* the same for several of a task; whose they were the caller knows */
extern int64 slots_free(const UserHome *requester, int64 task_id, int32 count);

/* review.c */
typedef struct Judgement
{
	int64		assignment_id;
	const char *state;			/* approved or rejected */
	text	   *feedback;
	bool		reopen;			/* rejected: offer the slot again */
	bool		automatic;		/* only if it is due, else skip */
	bool		override;		/* approved: also if it was rejected */
	bool		late;			/* ... however long ago */
	int64		policy;			/* the review policy that judges, or 0 */
} Judgement;

extern bool review_judge(const UserHome *requester, const Judgement *judgement);
extern void review_judge_or_fail(const UserHome *requester, const Judgement *judgement);

/* an argument of type text that may be NULL, checked */
extern text *review_feedback(FunctionCallInfo fcinfo, int arg);

/* approve.c: approves what was rejected, if it may */
extern bool review_override(const UserHome *requester, const Judgement *judgement);

/* most performers that a task can want */
#define PERFORMERS_MAX 100000

/*
 * task.c: records the idempotency key of a request, which makes or changes "count"
 * tasks of which *first is the first one.  If it was used before, returns true
 * and in *first what it stands for; with another hash raises
 * idempotency_mismatch.
 */
extern bool supply_key_used(const UserHome *requester, const text *key, const bytea *hash,
							int32 count, int64 *first);

/* closes an open task, returns false if it was not open (or due) */
extern bool task_close(const UserHome *requester, int64 task_id, const char *state, bool only_due);

/*
 * due_work.c: handles what is due in the current database, all partitions;
 * counts by kind.  With own_transactions (a worker, outside any transaction)
 * work goes in small transactions and what is locked is put off.
 */
extern void due_work(bool own_transactions, int64 counts[DUE_MARKET_KINDS]);

/* when the next thing becomes due, as the last round of due_work saw it */
extern TimestampTz due_work_next(void);

#endif							/* TASKEX_MARKET_H */
