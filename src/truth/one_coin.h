/*
 * one_coin.h
 *	  The one-coin model: what some labels say when each performer is right
 *	  with a probability of his own.  README.md has the formulas.
 *
 * Used label by label, while a task is under way.  inference.h is for whole
 * sets of labels.
 */
#ifndef TASKEX_ONE_COIN_H
#define TASKEX_ONE_COIN_H

#include "postgres.h"

/*
 * A performer of whom nothing is known is taken for one who was right in 4 of
 * 5 cases: Beta(4, 1), mean 0.8.  Nobody counts for more than 0.99, so no
 * single label decides a task at the usual confidence, nor for less than
 * guessing does.
 */
#define ONE_COIN_PRIOR_AGREED 4.0
#define ONE_COIN_PRIOR_DISAGREED 1.0
#define ONE_COIN_MAX_RELIABILITY 0.99

/* labels that a task should have before its posterior is believed */
#define ONE_COIN_MIN_LABELS 3

/*
 * The labels of one task.  label[i] is 0 .. seen - 1; reliability[i] that of
 * the performer who gave it, as it is known now.  "possible" is the number of
 * labels that could have been given: as declared, or 0 where nothing is; it
 * counts as 2 or "seen" where that is more.  Where it is not declared the
 * posterior is too low rather than too high.
 */
typedef struct OneCoinVotes
{
	int			count;
	const int  *label;
	const double *reliability;
	int			seen;
	int			possible;
} OneCoinVotes;

/* the mean of Beta(4 + agreed, 1 + compared - agreed) */
extern double one_coin_reliability(double agreed, double compared);

/*
 * posterior[c] for the labels c that were seen; what is missing to 1 is spread
 * over the others that are possible.  Without votes there is nothing to do.
 */
extern void one_coin_posterior(const OneCoinVotes *votes, double *posterior);

/*
 * How many further votes for label c, by performers of the reliability, give it
 * a posterior of "target" at least; "most" if so many do not.
 */
extern int	one_coin_needed(const OneCoinVotes *votes, int c, double reliability,
							double target, int most);

/*
 * When a task is decided: agreement[i] is the probability, 0 .. 1, that vote i
 * is right as far as the other votes tell.  It is what is added to "agreed" of
 * the performer, and 1 to his "compared".  False, and nothing is set, if there
 * are fewer than two votes: then nobody has been compared.
 */
extern bool one_coin_agreement(const OneCoinVotes *votes, double *agreement);

#endif							/* TASKEX_ONE_COIN_H */
