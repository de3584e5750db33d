/*
 * choice.h
 *	  Which shelves a performer who names no task type looks at, in which order.
 */
#ifndef TASKEX_CHOICE_H
#define TASKEX_CHOICE_H

#include "postgres.h"

#include "directory/directory.h"
#include "market/feed.h"
#include "qualification/eligibility.h"
#include "utils/timestamp.h"

typedef enum ChoiceStage
{
	CHOICE_ELSEWHERE,			/* a share of the calls: what waits longest, or anything */
	CHOICE_LAST,				/* the type that he worked on last */
	CHOICE_BEST,				/* samples, best first, until all were seen */
	CHOICE_NAMED,				/* he named a type */
	CHOICE_DONE
} ChoiceStage;

typedef struct Choice
{
	UserHome	performer;
	Eligibility *eligibility;
	TimestampTz now;
	ChoiceStage stage;
	bool		diverted;		/* the shelves given last were not of his choosing */
	int64		task_type;		/* named, or 0 */
	FeedSample	sample;
	struct ChoiceHistory *history;	/* NULL: not read yet */
} Choice;

/* task_type 0: none is named */
extern void choice_begin(Choice *choice, Eligibility *eligibility, int64 task_type, TimestampTz now);

/* the next shelves to look at, best first, in a palloc'd array; 0 at the end */
extern int	choice_next(Choice *choice, Shelf ***shelves);

/* he has taken a task from the shelf, which is pinned */
extern void choice_took(const Choice *choice, Shelf *shelf,
						TimestampTz created, TimestampTz expires);

/* the same where it is not a shelf that he took it from */
extern void choice_took_type(const Choice *choice, int64 task_type);

/* the type that he worked on last, or 0 */
extern int64 choice_last(const Choice *choice);

/* something to choose: a type, and when the first task of it was supplied and expires */
typedef struct ChoiceOption
{
	int64		task_type;
	TimestampTz created;
	TimestampTz expires;
	int			index;			/* the caller's */
} ChoiceOption;

/* best first */
extern void choice_rank(Choice *choice, ChoiceOption *options, int count);

#endif							/* TASKEX_CHOICE_H */
