/*
 * logit.c
 *	  Arithmetic of the online conditional logit.
 */
#include "postgres.h"

#include "supply/logit.h"

#include <math.h>

static double
bounded(double value, double limit)
{
	if (isnan(value))
		return 0.0;
	return Max(-limit, Min(limit, value));
}

void
logit_repair(Logit *logit)
{
	for (int f = 0; f < logit->factors; f++)
	{
		logit->weight[f] = bounded(logit->weight[f], LOGIT_WEIGHT_MAX);
		logit->squares[f] = Max(LOGIT_SQUARES_MIN, bounded(logit->squares[f], LOGIT_SQUARES_MAX));
	}
}

static double
utility(const Logit *logit, const double *value)
{
	double		sum = 0.0;

	for (int f = 0; f < logit->factors; f++)
		sum += bounded(logit->weight[f], LOGIT_WEIGHT_MAX) * bounded(value[f], LOGIT_VALUE_MAX);
	return sum;
}

void
logit_chances(const Logit *logit, const double *value, int n, double *chance)
{
	double		highest = -INFINITY;
	double		sum = 0.0;

	for (int i = 0; i < n; i++)
	{
		chance[i] = utility(logit, value + i * logit->factors);
		highest = Max(highest, chance[i]);
	}
	for (int i = 0; i < n; i++)
		sum += chance[i] = exp(chance[i] - highest);
	for (int i = 0; i < n; i++)
		chance[i] /= sum;
}

/* of the factor: what the chosen one had more than was expected */
static double
surprise(const Logit *logit, const double *value, int n, int chosen, const double *chance, int factor)
{
	double		expected = 0.0;

	for (int i = 0; i < n; i++)
		expected += chance[i] * bounded(value[i * logit->factors + factor], LOGIT_VALUE_MAX);
	return bounded(value[chosen * logit->factors + factor], LOGIT_VALUE_MAX) - expected;
}

void
logit_learn(Logit *logit, const double *value, int n, int chosen)
{
	double	   *chance = palloc(sizeof(double) * n);

	logit_repair(logit);
	logit_chances(logit, value, n, chance);
	for (int f = 0; f < logit->factors; f++)
	{
		double		gradient = surprise(logit, value, n, chosen, chance, f);

		logit->squares[f] = Min(logit->squares[f] + gradient * gradient, LOGIT_SQUARES_MAX);
		logit->weight[f] = bounded(logit->weight[f] + LOGIT_RATE * gradient / sqrt(logit->squares[f]),
								   LOGIT_WEIGHT_MAX);
	}
	pfree(chance);
}
