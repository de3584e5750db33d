/*
 * logit.h
 *	  An online conditional logit: which of several alternatives is chosen.
 *
 * Each alternative is a row of values, one for each factor; its utility is their
 * weighted sum, and the chance that it is chosen is in proportion to the
 * utility's exponential (McFadden 1974).  After a choice the weights make one
 * step along the gradient of its log-likelihood, each factor at a rate of its own
 * that falls with what it has learned (AdaGrad: Duchi, Hazan, Singer 2011).
 *
 * Nothing here can fail, and nothing leaves its bounds, whatever comes in: a
 * value that is not a number counts as 0, and values, steps and weights are cut.
 */
#ifndef TASKEX_LOGIT_H
#define TASKEX_LOGIT_H

#include "postgres.h"

#define LOGIT_RATE 0.3			/* of the first steps */
#define LOGIT_VALUE_MAX 20.0	/* of values, to both sides */
#define LOGIT_WEIGHT_MAX 20.0	/* of weights, to both sides */

/* squares begin and end with these, so no step is wild and learning never stops */
#define LOGIT_SQUARES_MIN 1.0
#define LOGIT_SQUARES_MAX 1000.0

typedef struct Logit
{
	int			factors;
	double	   *weight;
	double	   *squares;		/* of each factor's gradients, summed; for learning alone */
} Logit;

/* weights and squares into their bounds */
extern void logit_repair(Logit *logit);

/* chance[n], from value[n][factors]; they add up to 1 */
extern void logit_chances(const Logit *logit, const double *value, int n, double *chance);

/* one step, after the alternative "chosen" (0 ..) was chosen among n */
extern void logit_learn(Logit *logit, const double *value, int n, int chosen);

#endif							/* TASKEX_LOGIT_H */
