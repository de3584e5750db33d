/*
 * distribution.c
 *	  Negative binomial counts: Poisson counts of a mean that is gamma
 *	  distributed, which is how accepts vary about their forecast.
 */
#include "postgres.h"

#include "supply/forecast.h"

#include <math.h>

#include "miscadmin.h"

#define LARGE 1000.0			/* from here on normal approximations do */
#define STEPS 1000				/* of the integral over the gamma variable, even */

/* P(X <= x), X gamma distributed of the given shape and scale 1 */
static double
gamma_below(double shape, double x)
{
	double		scale;

	if (!(x > 0))
		return 0.0;
	if (shape > LARGE)
	{
		/* Wilson and Hilferty, "The distribution of chi-square" (1931) */
		double		z = (cbrt(x / shape) - (1.0 - 1.0 / (9.0 * shape))) * 3.0 * sqrt(shape);

		return 0.5 * erfc(-z / sqrt(2.0));
	}
	scale = exp(shape * log(x) - x - lgamma(shape));
	if (x < shape + 1.0)
	{
		/* power series */
		double		term = 1.0 / shape;
		double		sum = term;

		for (double a = shape + 1.0; term > sum * 1e-15; a += 1.0)
		{
			term *= x / a;
			sum += term;
		}
		return Min(scale * sum, 1.0);
	}
	else
	{
		/* continued fraction of the upper tail, by Lentz's method */
		double		b = x + 1.0 - shape;
		double		c = 1e300;
		double		d = 1.0 / b;
		double		h = d;

		for (int i = 1; i < 10000; i++)
		{
			double		a = -i * (i - shape);
			double		change;

			b += 2.0;
			d = a * d + b;
			d = 1.0 / (fabs(d) < 1e-300 ? 1e-300 : d);
			c = b + a / c;
			c = fabs(c) < 1e-300 ? 1e-300 : c;
			change = c * d;
			h *= change;
			if (fabs(change - 1.0) < 1e-14)
				break;
		}
		return Max(1.0 - scale * h, 0.0);
	}
}

/* P(N >= n), N Poisson */
static double
poisson_reaches(double n, double mean)
{
	return n <= 0 ? 1.0 : gamma_below(n, mean);
}

double
negbin_quantile(double mean, double dispersion, double share)
{
	double		shape = 1.0 / dispersion;

	if (!(mean > 0))
		return 0;
	if (mean < LARGE)
	{
		double		q = mean / (shape + mean);
		double		p = exp(shape * log(shape / (shape + mean)));
		double		sum = p;
		double		n = 0;

		/* the bound is beyond any share that can be asked for */
		while (sum < share && n < 1000.0 * LARGE)
		{
			p *= q * (shape + n) / (n + 1.0);
			n += 1.0;
			sum += p;
		}
		return n;
	}
	else
	{
		/* that of the mean, of which the counts differ but little now */
		double		low = 0;
		double		high = 1;

		while (gamma_below(shape, shape * high) < share && high < 1e6)
			high *= 2;
		for (int i = 0; i < 60; i++)
		{
			double		middle = (low + high) / 2;

			if (gamma_below(shape, shape * middle) < share)
				low = middle;
			else
				high = middle;
		}
		return ceil(mean * high);
	}
}

/*
 * Simpson's rule over u = log of the gamma variable; the density of u is
 * shape^shape / Gamma(shape) * exp(shape * (u - exp(u))).
 */
double
counts_reach(int count, const double *mean, const double *quantity, double dispersion)
{
	double		shape = 1.0 / dispersion;
	double		constant = shape * log(shape) - lgamma(shape);
	double		from = -(1.0 + 40.0 / shape);
	double		until = log1p(80.0 / shape + 2.0 * sqrt(40.0 / shape));
	double		sum = 0;
	bool		any = false;

	for (int i = 0; i < count; i++)
	{
		if (quantity[i] <= 0)
			continue;
		if (!(mean[i] > 0))
			return 0.0;
		any = true;
		/* below this not even one is reached */
		from = Max(from, log(1e-12 / mean[i]));
	}
	if (!any)
		return 1.0;
	if (from >= until)
		return 0.0;
	for (int step = 0; step <= STEPS; step++)
	{
		double		u = from + (until - from) * step / STEPS;
		double		value = exp(constant + shape * (u - exp(u)));

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < count && value > 1e-18; i++)
			value *= poisson_reaches(quantity[i], mean[i] * exp(u));
		sum += value * (step == 0 || step == STEPS ? 1 : step % 2 == 1 ? 4 : 2);
	}
	return Min(sum * (until - from) / STEPS / 3.0, 1.0);
}
