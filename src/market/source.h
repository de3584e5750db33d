/*
 * source.h
 *	  Another place where performers get tasks from, before the shelves.
 *
 * A layer above the market keeps slots of tasks at hand.  They are counted as
 * live in the tasks' rows already, so who takes one writes his assignment only.
 * The market knows that layer by this descriptor (taskex.c names it).
 */
#ifndef TASKEX_SOURCE_H
#define TASKEX_SOURCE_H

#include "postgres.h"

#include "infra/child.h"
#include "market/choice.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* a slot, which is the caller's until he refuses it or the transaction ends */
typedef struct SourceTask
{
	int64		task_id;
	int64		task_type;
	int64		requester;
	int64		reward;
	int64		lease_id;		/* of the lease that it is from */
	bool		counted;		/* as in the assignment */
	bool		several;		/* it wanted several performers: he may well have had it */
	Jsonb	   *input;			/* palloc'd; NULL: it is in the task's row */
} SourceTask;

typedef enum SourceAnswer
{
	SOURCE_NONE,
	SOURCE_TAKEN,
	SOURCE_EXCLUSIVE			/* kept for others alone */
} SourceAnswer;

typedef struct SourceGlance
{
	int64		first;			/* the task with the lowest id that was seen; 0: none */
	int64		slots;			/* of what was seen */
	bool		whole;			/* that is all */
} SourceGlance;

/* a task that was not at hand */
typedef struct SourceMiss
{
	int64		task_id;
	int64		task_type;
	int64		requester;
	int32		partition;
} SourceMiss;

typedef struct SourceScan SourceScan;

typedef struct TaskSource
{
	/* NULL: nothing is kept for anybody; task_type 0: of any type */
	SourceScan *(*begin) (Choice *choice, int64 task_type);

	/* the next slot that may be for him, reserved; false: there is none */
	bool		(*next) (SourceScan *scan, SourceTask *task);

	/*
	 * The one given last is not for him, or he is given another instead; later:
	 * he may want it another time.
	 */
	void		(*refuse) (SourceScan *scan, bool later);

	/* from now on also what is kept for others, if they share it */
	void		(*others) (SourceScan *scan);

	/* he got a task that was not at hand */
	void		(*missed) (const UserHome *performer, const SourceMiss *miss);

	/* a slot of the task, whose row the caller has locked */
	SourceAnswer (*take) (const UserHome *performer, int64 task_id, TimestampTz now, SourceTask *task);

	/*
	 * The slots of the task that are at hand are the caller's again, who has
	 * its row locked; nobody gets one any more.  Returns how many; live is to
	 * be lowered by that.
	 */
	int32		(*recall) (int64 task_id);

	/*
	 * Looks at what is at hand of the type and requester, for the performer (0: for
	 * whomever it is; SOURCE_STRANGER: for one who is in no group).
	 */
	void		(*glance) (int64 performer, int64 task_type, int64 requester, SourceGlance *seen);

	/* at the end of a transaction: so many tasks may be had on a shelf; cannot fail */
	void		(*appeared) (int64 tasks);
} TaskSource;

#define SOURCE_STRANGER INT64CONST(-1)

extern const TaskSource *task_source;	/* NULL: there is none */

/*
 * slot.c: for who is about to change or close the open task in tasks->slot, whose
 * row he has locked: what is at hand of it is free again.  Returns how many.
 */
extern int32 source_recall_locked(Child *tasks, int64 task_id);

/*
 * For who has closed the task in this transaction: what was at hand is given up
 * too.  Adds to the slots and the money that are.
 */
extern void source_recall_closed(const UserHome *requester, int64 task_id, int32 *slots, int64 *amount);

#endif							/* TASKEX_SOURCE_H */
