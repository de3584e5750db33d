/*
 * forecast.h
 *	  How many tasks will be accepted: a forecast of a series of hourly counts.
 *
 * Pure arithmetic: no table, no clock, no state but the caller's.  README.md
 * tells the method and its sources.
 */
#ifndef TASKEX_FORECAST_H
#define TASKEX_FORECAST_H

#include "postgres.h"

#define FORECAST_EXPERTS 5
#define FORECAST_HOURS 24

/*
 * What is kept of a series.  An array of doubles, stored as such: a change of
 * its meaning needs another FORECAST_VERSION.
 */
typedef struct Forecast
{
	double		version;
	double		hours;			/* that were counted */
	double		accepts[FORECAST_EXPERTS];	/* discounted sums, one an expert */
	double		exposure[FORECAST_EXPERTS]; /* of the profile, likewise */
	double		deviance[FORECAST_EXPERTS]; /* what the experts' forecasts missed */
	double		slow_accepts;	/* discounted by the week: the usual level */
	double		slow_hours;
	double		excess;			/* squared errors beyond Poisson's */
	double		square;			/* of the forecasts */
	double		profile_accepts[FORECAST_HOURS];	/* by hour of the day, UTC */
	double		profile_days[FORECAST_HOURS];
} Forecast;

#define FORECAST_VERSION 1
#define FORECAST_NUMBERS ((int) (sizeof(Forecast) / sizeof(double)))

/* a series from now on: part of the present hour, and the pace of the last minutes */
typedef struct ForecastNow
{
	double		elapsed;		/* share of the present hour that has passed, below 1 */
	double		accepts;		/* in that part of the hour */
	double		pace;			/* accepts an hour; less than 0: not known */
} ForecastNow;

extern void forecast_init(Forecast *f);
extern bool forecast_is_valid(const Forecast *f);

/* one more hour is over */
extern void forecast_count(Forecast *f, int hour_of_day, double accepts);

/* expected accepts in the next whole hour */
extern double forecast_next(const Forecast *f, int hour_of_day);

/* the same within so many hours from now on; hour_of_day is the present one */
extern double forecast_within(const Forecast *f, int hour_of_day, const ForecastNow *now, double hours);

/* variance = mean + dispersion * mean^2 */
extern double forecast_dispersion(const Forecast *f);

/* for explanations */
extern double forecast_profile(const Forecast *f, int hour_of_day);
extern double forecast_usual(const Forecast *f);
extern void forecast_experts(const Forecast *f, double *levels, double *weights);

/* distribution.c */

/* the smallest n with P(N <= n) >= share, N negative binomial */
extern double negbin_quantile(double mean, double dispersion, double share);

/*
 * P(N1 >= q1 and N2 >= q2 ...): Poisson counts whose means are all multiplied
 * by one gamma variable of mean 1 and variance dispersion.
 */
extern double counts_reach(int count, const double *mean, const double *quantity, double dispersion);

#define MIN_DISPERSION 0.02
#define MAX_DISPERSION 10.0

#endif							/* TASKEX_FORECAST_H */
