/*
 * consensus.h
 *	  The answer of a task: its results combined as its consensus says.
 */
#ifndef TASKEX_CONSENSUS_H
#define TASKEX_CONSENSUS_H

#include "postgres.h"

#include "directory/directory.h"
#include "infra/child.h"

/*
 * A task with a consensus wants at most so many performers: each result is
 * combined with all the others, while the task's row is locked.
 */
#define CONSENSUS_MAX_PERFORMERS 1000

/* what create_task is told of how results are to be combined */
typedef struct ConsensusWish
{
	const text *method;			/* NULL: not at all */
	int32		performers;
	int32		min_performers; /* 0: not given, or plurality is not dynamic */
	float8		target;			/* 0: not given */
	int32		wanted;			/* slots to be offered at first; 0: all */
} ConsensusWish;

/* raises an error unless it makes sense; fills in the default minimum, and wanted */
extern void consensus_check(ConsensusWish *wish);

/*
 * How many slots of the task in tasks->slot may be taken at present: all of its
 * performers or, with a dynamic plurality, those that may be enough.
 */
extern int32 consensus_wanted(Child *tasks);

/* is a result of the task in tasks->slot to be counted when it is submitted? */
extern bool consensus_counts(Child *tasks);

/* how reliable the performer is taken to be in tasks of the type */
extern double consensus_reliability(const UserHome *performer, int64 task_type);

/*
 * Combines the results of a task anew; performer, assignment: who has just
 * submitted one (0: another one was rejected, or counts again).  The task's row is locked,
 * and if the answer is sure enough the task is decided.  To be called after
 * the rows of results and assignments have been written.
 */
extern void consensus_update(const UserHome *requester, int64 task_id,
							 int64 performer, int64 assignment_id);

#endif							/* TASKEX_CONSENSUS_H */
