/*
 * label_set.h
 *	  The labels that an inference is about, in memory.
 */
#ifndef TASKEX_LABEL_SET_H
#define TASKEX_LABEL_SET_H

#include "postgres.h"

#include "truth/names.h"

typedef struct Vote
{
	uint32		performer;
	uint32		label;
} Vote;

typedef struct LabelSet
{
	Budget	   *budget;
	Names		performers;
	Names		tasks;
	Names		labels;
	uint64		count;			/* votes, without exact duplicates */
	uint32		most;			/* votes of the task that has most of them */
	Vote	   *votes;			/* sorted by task, performer, label */
	uint64	   *first;			/* by task, and one beyond the last */
} LabelSet;

/* the votes of a task, and how many there are */
static inline const Vote *
task_votes(const LabelSet *set, uint32 task, uint32 *count)
{
	*count = (uint32) (set->first[task + 1] - set->first[task]);
	return &set->votes[set->first[task]];
}

/*
 * Runs a query that yields columns worker, task and label, of any types, with
 * the rights of the caller, in his snapshot and read-only.
 */
extern LabelSet *label_set_read(const char *query);

#endif							/* TASKEX_LABEL_SET_H */
