/*
 * votes.h
 *	  The results of one task, as its consensus looks at them.
 */
#ifndef TASKEX_VOTES_H
#define TASKEX_VOTES_H

#include "postgres.h"

#include "infra/child.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

/* results that are equal as jsonb have one label */
typedef struct Label
{
	uint64		hash;
	Jsonb	   *value;			/* NULL: too large to be kept in memory */
	int64		bearer;			/* assignment of the first result with it */
	int			votes;
} Label;

/* a result that is not rejected */
typedef struct Vote
{
	int64		assignment_id;
	int64		performer_id;
	int			label;			/* if labels were asked for */
	Numeric		number;			/* if numbers were; NULL: it is none */
} Vote;

typedef struct Votes
{
	int			count;
	Vote	   *votes;			/* in the order of their assignments' ids */
	int			waiting;		/* of these, not judged yet */
	int			nlabels;
	Label	   *labels;
	int			room;			/* of both arrays */
} Votes;

/* reads the results of a task; numbers: as numbers, else as labels */
extern void votes_read(Votes *votes, Child *results, int64 task_id, bool numbers);

/* the result that a label stands for: a palloc'd jsonb */
extern Datum votes_value(const Votes *votes, Child *results, int label);

/* the label with most votes; -1 if there is none, or another one has as many */
extern int	votes_leader(const Votes *votes);

/* mean and median of the numbers, exact, as jsonb; false: there are none */
extern bool votes_mean(const Votes *votes, Datum *value);
extern bool votes_median(const Votes *votes, Datum *value);

/*
 * How the votes are spread, for people: those for the first labels, with their
 * probabilities if there are any (NULL: none).
 */
extern Datum votes_tally(const Votes *votes, const double *probability, bool final);

#endif							/* TASKEX_VOTES_H */
