/*
 * forecast.c
 *	  Hourly accepts of a series, forecast from the hours before.
 *
 * Five experts see the same model with another memory each: accepts of an hour
 * are Poisson with mean level * profile[hour of the day], and the level drifts.
 * An expert of discount w estimates it by
 *
 *		level = (sum of w^age accepts) / (sum of w^age profile)
 *
 * (the gamma-Poisson filter of Harvey and Fernandes, "Time series models for
 * count or qualitative observations", J. Business & Economic Statistics 7
 * (1989), without prior).  The forecast is their mean, weighted by the inverse
 * of what each has missed of late: Bates and Granger, "The combination of
 * forecasts", Operational Research Quarterly 20 (1969), with the Poisson
 * deviance in the place of the squared error.
 */
#include "postgres.h"

#include "supply/forecast.h"

#include <math.h>

static const double discounts[FORECAST_EXPERTS] = {0.1, 0.3, 0.5, 0.7, 0.9};

#define DEVIANCE_DISCOUNT 0.99	/* an hour: four days or so count */
#define SLOW_DISCOUNT 0.998		/* an hour: three weeks or so */
#define PROFILE_DISCOUNT 0.97	/* a day: a month or so */

/* a flat profile is believed as if it had been seen for three days */
#define PROFILE_FLAT_DAYS 3.0

/*
 * What is added to each forecast, at most: an hour in which nothing is expected
 * would otherwise be impossible.  It goes down as the series stays silent.
 */
#define MAX_FLOOR 0.05

/* a level that differs from the usual one keeps so much of the difference an hour ahead */
#define REVERSION 0.9

/* the pace of the last minutes loses its meaning within so much time, in hours */
#define PACE_MEMORY 0.25

void
forecast_init(Forecast *f)
{
	memset(f, 0, sizeof(Forecast));
	f->version = FORECAST_VERSION;
}

bool
forecast_is_valid(const Forecast *f)
{
	const double *number = (const double *) f;

	if (f->version != FORECAST_VERSION)
		return false;
	for (int i = 0; i < FORECAST_NUMBERS; i++)
	{
		/* only the errors beyond Poisson's can be fewer than none */
		if (isnan(number[i]) || isinf(number[i]) || (number[i] < 0 && &number[i] != &f->excess))
			return false;
	}
	return true;
}

static double
smoothed(const Forecast *f, int hour, double mean)
{
	return (f->profile_accepts[hour] + PROFILE_FLAT_DAYS * mean) / (f->profile_days[hour] + PROFILE_FLAT_DAYS);
}

/* how busy an hour of the day is; 1: as all are on average */
double
forecast_profile(const Forecast *f, int hour_of_day)
{
	double		accepts = 0;
	double		days = 0;
	double		sum = 0;

	for (int h = 0; h < FORECAST_HOURS; h++)
	{
		accepts += f->profile_accepts[h];
		days += f->profile_days[h];
	}
	if (!(accepts > 0))
		return 1.0;
	for (int h = 0; h < FORECAST_HOURS; h++)
		sum += smoothed(f, h, accepts / days);
	return FORECAST_HOURS * smoothed(f, hour_of_day, accepts / days) / sum;
}

static double
floor_of(const Forecast *f)
{
	return Min(MAX_FLOOR, (f->slow_accepts + 0.5) / (f->slow_hours + 10.0));
}

/* accepts an hour over the last weeks */
double
forecast_usual(const Forecast *f)
{
	return (f->slow_accepts + 0.5) / (f->slow_hours + 10.0);
}

void
forecast_experts(const Forecast *f, double *levels, double *weights)
{
	double		sum = 0;

	for (int i = 0; i < FORECAST_EXPERTS; i++)
	{
		levels[i] = f->exposure[i] > 0 ? f->accepts[i] / f->exposure[i] : 0;
		weights[i] = 1.0 / (f->deviance[i] + 1.0);
		sum += weights[i];
	}
	for (int i = 0; i < FORECAST_EXPERTS; i++)
		weights[i] /= sum;
}

static double
level_of(const Forecast *f)
{
	double		levels[FORECAST_EXPERTS];
	double		weights[FORECAST_EXPERTS];
	double		level = 0;

	forecast_experts(f, levels, weights);
	for (int i = 0; i < FORECAST_EXPERTS; i++)
		level += weights[i] * levels[i];
	return level;
}

double
forecast_next(const Forecast *f, int hour_of_day)
{
	return level_of(f) * forecast_profile(f, hour_of_day) + floor_of(f);
}

static double
deviance(double y, double mean)
{
	return 2.0 * ((y > 0 ? y * log(y / mean) : 0.0) - (y - mean));
}

/* a part of an hour of such a profile is over */
static void
discount(Forecast *f, double profile, double accepts, double part)
{
	for (int i = 0; i < FORECAST_EXPERTS; i++)
	{
		double		kept = pow(discounts[i], part);

		f->accepts[i] = kept * f->accepts[i] + accepts;
		f->exposure[i] = kept * f->exposure[i] + profile * part;
	}
}

void
forecast_count(Forecast *f, int hour_of_day, double accepts)
{
	double		profile = forecast_profile(f, hour_of_day);
	double		floor = floor_of(f);
	double		mean = forecast_next(f, hour_of_day);
	double		levels[FORECAST_EXPERTS];
	double		weights[FORECAST_EXPERTS];

	Assert(hour_of_day >= 0 && hour_of_day < FORECAST_HOURS && accepts >= 0);
	forecast_experts(f, levels, weights);
	for (int i = 0; i < FORECAST_EXPERTS; i++)
		f->deviance[i] = DEVIANCE_DISCOUNT * f->deviance[i] + deviance(accepts, levels[i] * profile + floor);
	f->excess = DEVIANCE_DISCOUNT * f->excess + (accepts - mean) * (accepts - mean) - mean;
	f->square = DEVIANCE_DISCOUNT * f->square + mean * mean;
	discount(f, profile, accepts, 1.0);
	f->slow_accepts = SLOW_DISCOUNT * f->slow_accepts + accepts;
	f->slow_hours = SLOW_DISCOUNT * f->slow_hours + 1.0;
	f->profile_accepts[hour_of_day] = PROFILE_DISCOUNT * f->profile_accepts[hour_of_day] + accepts;
	f->profile_days[hour_of_day] = PROFILE_DISCOUNT * f->profile_days[hour_of_day] + 1.0;
	f->hours += 1.0;
}

/*
 * Moments: the squared errors that Poisson's variance does not explain.  With
 * the weight of one hour of ten accepts, 0.5 is believed from the outset.
 */
double
forecast_dispersion(const Forecast *f)
{
	double		dispersion = (f->excess + 50.0) / (f->square + 100.0);

	return Min(Max(dispersion, MIN_DISPERSION), MAX_DISPERSION);
}

/*
 * The level goes back to the usual one; the part that the last minutes know
 * better fades within PACE_MEMORY.
 */
double
forecast_within(const Forecast *f, int hour_of_day, const ForecastNow *now, double hours)
{
	Forecast	present = *f;
	double		profile = forecast_profile(f, hour_of_day);
	double		floor = floor_of(f);
	double		usual = forecast_usual(f);
	double		level;
	double		rate;
	double		sum = 0;
	double		done = 0;
	double		kept = 1.0;

	discount(&present, profile, now->accepts, now->elapsed);
	level = level_of(&present);
	rate = level * profile + floor;
	for (int h = 0; done < hours; h++)
	{
		double		part = Min(hours - done, h == 0 ? 1.0 - now->elapsed : 1.0);

		sum += part * ((usual + (level - usual) * kept) *
					   (h == 0 ? profile : forecast_profile(f, (hour_of_day + h) % FORECAST_HOURS)) + floor);
		done += part;
		kept *= REVERSION;
	}
	if (now->pace >= 0)
		sum += (now->pace - rate) * PACE_MEMORY * (1.0 - exp(-hours / PACE_MEMORY));
	return Max(sum, floor * hours);
}
