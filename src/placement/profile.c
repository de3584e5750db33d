/*
 * profile.c
 *	  Load by hour of the day.
 *
 * Of each hour of the day there is a sum over all days, in which a day weighs
 * w = 2 ^ -(age / half-life).  Sums are as of the last hour in them; to add a
 * later hour they fade until then.  A mean is the sum over the weights of all
 * days on which that hour has ended since the first one that was measured,
 * also those on which nothing was done:  1 + q + ... + q^(n-1), where q is the
 * weight of yesterday.
 */
#include "postgres.h"

#include "base/guc.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define HOURS 24

/* hours since 2000; sums are of whole ones */
static int64
hour_of(TimestampTz at)
{
	int64		hour = at / USECS_PER_HOUR;

	return at % USECS_PER_HOUR < 0 ? hour - 1 : hour;
}

static int
hour_of_day(int64 hour)
{
	return (int) (((hour % HOURS) + HOURS) % HOURS);
}

/* what an hour weighs that many hours later */
static double
weight(double hours)
{
	return exp2(-hours * 3600.0 / guc_load_half_life);
}

static TimestampTz
get_time(FunctionCallInfo fcinfo, int arg)
{
	TimestampTz at = PG_GETARG_TIMESTAMPTZ(arg);

	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a time of load must be finite")));
	return at;
}

static const float4 *
get_sums(FunctionCallInfo fcinfo, int arg)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(arg);

	if (ARR_NDIM(array) != 1 || ARR_DIMS(array)[0] != HOURS || ARR_HASNULL(array) || ARR_ELEMTYPE(array) != FLOAT4OID)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sums of load must be an array of %d numbers", HOURS)));
	return (const float4 *) ARR_DATA_PTR(array);
}

static Datum
make_sums(const float4 *sums)
{
	Datum		values[HOURS];

	for (int i = 0; i < HOURS; i++)
		values[i] = Float4GetDatum(sums[i]);
	return PointerGetDatum(construct_array(values, HOURS, FLOAT4OID, sizeof(float4), true, TYPALIGN_INT));
}

PG_FUNCTION_INFO_V1(taskex_load_one);

/* load_one(hour, value) -> sums */
Datum
taskex_load_one(PG_FUNCTION_ARGS)
{
	float4		sums[HOURS] = {0};

	sums[hour_of_day(hour_of(get_time(fcinfo, 0)))] = (float4) PG_GETARG_FLOAT8(1);
	return make_sums(sums);
}

PG_FUNCTION_INFO_V1(taskex_load_merge);

/* load_merge(a, a_as_of, b, b_as_of) -> sums */
Datum
taskex_load_merge(PG_FUNCTION_ARGS)
{
	const float4 *a = get_sums(fcinfo, 0);
	const float4 *b = get_sums(fcinfo, 2);
	int64		a_hour = hour_of(get_time(fcinfo, 1));
	int64		b_hour = hour_of(get_time(fcinfo, 3));
	int64		as_of = Max(a_hour, b_hour);
	double		a_weight = weight((double) (as_of - a_hour));
	double		b_weight = weight((double) (as_of - b_hour));
	float4		sums[HOURS];

	for (int i = 0; i < HOURS; i++)
		sums[i] = (float4) (a[i] * a_weight + b[i] * b_weight);
	return make_sums(sums);
}

PG_FUNCTION_INFO_V1(taskex_load_means);

/* load_means(sums, since, as_of, at) -> means */
Datum
taskex_load_means(PG_FUNCTION_ARGS)
{
	const float4 *sums = get_sums(fcinfo, 0);
	int64		since = hour_of(get_time(fcinfo, 1));
	int64		as_of = hour_of(get_time(fcinfo, 2));
	int64		last = hour_of(get_time(fcinfo, 3)) - 1;	/* that is over */
	double		yesterday = weight(HOURS);
	Datum		means[HOURS];

	for (int i = 0; i < HOURS; i++)
		means[i] = Float8GetDatum(0);
	for (int64 hour = last; hour > last - HOURS && hour >= since; hour--)
	{
		int			i = hour_of_day(hour);
		double		days = (double) ((hour - since) / HOURS + 1);

		/* both are as of the last time that it was this hour */
		means[i] = Float8GetDatum(sums[i] * weight((double) (hour - as_of)) *
								  (1 - yesterday) / (1 - pow(yesterday, days)));
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(means, HOURS, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}
