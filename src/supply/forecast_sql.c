/*
 * forecast_sql.c
 *	  The forecast in SQL, for functions in PL/pgSQL: a series is an array of
 *	  numbers, which mean something here alone.
 */
#include "postgres.h"

#include "supply/forecast.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#define MAX_COUNTED 1e15		/* accepts of an hour; squares stay exact enough */
#define MAX_SECONDS (366.0 * 86400)

/* the numbers of an array without NULLs */
static double *
numbers(ArrayType *array, int *count)
{
	if (ARR_NDIM(array) > 1 || array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("array must have one dimension and no null values")));
	*count = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
	return (double *) ARR_DATA_PTR(array);
}

static Datum
number_array(const double *values, int count)
{
	Datum	   *elements = palloc(count * sizeof(Datum));

	for (int i = 0; i < count; i++)
		elements[i] = Float8GetDatum(values[i]);
	return PointerGetDatum(construct_array(elements, count, FLOAT8OID,
										   sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
read_series(ArrayType *array, Forecast *f)
{
	int			count;
	double	   *values = numbers(array, &count);

	if (count == FORECAST_NUMBERS)
		memcpy(f, values, sizeof(Forecast));
	if (count != FORECAST_NUMBERS || !forecast_is_valid(f))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("array is no series of this version's forecasts")));
}

static double
checked(double value, const char *what, double low, double high)
{
	if (!(value >= low && value <= high))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between %g and %g", what, low, high)));
	return value;
}

/* of the day, UTC */
static int
hour_of_day(TimestampTz at)
{
	int64		hour = at / USECS_PER_HOUR - (at % USECS_PER_HOUR < 0 ? 1 : 0);

	return (int) ((hour % FORECAST_HOURS + FORECAST_HOURS) % FORECAST_HOURS);
}

/* forecast_count(series float8[], first_hour timestamptz, accepts float8[]) */
PG_FUNCTION_INFO_V1(taskex_forecast_count);
Datum
taskex_forecast_count(PG_FUNCTION_ARGS)
{
	TimestampTz hour = PG_GETARG_TIMESTAMPTZ(1);
	int			count;
	double	   *accepts = numbers(PG_GETARG_ARRAYTYPE_P(2), &count);
	Forecast	f;

	if (ARR_NDIM(PG_GETARG_ARRAYTYPE_P(0)) == 0)
		forecast_init(&f);
	else
		read_series(PG_GETARG_ARRAYTYPE_P(0), &f);
	if (TIMESTAMP_NOT_FINITE(hour) || hour % USECS_PER_HOUR != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("hour must be the beginning of an hour")));
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		forecast_count(&f, (hour_of_day(hour) + i) % FORECAST_HOURS,
					   checked(accepts[i], "accepts of an hour", 0, MAX_COUNTED));
	}
	PG_RETURN_DATUM(number_array((const double *) &f, FORECAST_NUMBERS));
}

/* forecast_within(series float8[], at timestamptz, seconds float8, accepts float8, pace float8) */
PG_FUNCTION_INFO_V1(taskex_forecast_within);
Datum
taskex_forecast_within(PG_FUNCTION_ARGS)
{
	Forecast	f;
	TimestampTz at;
	double		hours;
	int64		passed;
	ForecastNow now;

	/* not strict, for a pace that is not known */
	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		PG_RETURN_NULL();
	at = PG_GETARG_TIMESTAMPTZ(1);
	hours = checked(PG_GETARG_FLOAT8(2), "seconds", 0, MAX_SECONDS) / SECS_PER_HOUR;
	if (TIMESTAMP_NOT_FINITE(at))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	read_series(PG_GETARG_ARRAYTYPE_P(0), &f);
	passed = at % USECS_PER_HOUR;
	now.elapsed = (passed < 0 ? passed + USECS_PER_HOUR : passed) / (double) USECS_PER_HOUR;
	now.accepts = checked(PG_GETARG_FLOAT8(3), "accepts of an hour", 0, MAX_COUNTED);
	now.pace = PG_ARGISNULL(4) ? -1 : checked(PG_GETARG_FLOAT8(4), "pace", 0, MAX_COUNTED);
	PG_RETURN_FLOAT8(forecast_within(&f, hour_of_day(at), &now, hours));
}

/* forecast_facts(series float8[], at timestamptz) */
PG_FUNCTION_INFO_V1(taskex_forecast_facts);
Datum
taskex_forecast_facts(PG_FUNCTION_ARGS)
{
	Forecast	f;
	TupleDesc	desc;
	double		levels[FORECAST_EXPERTS];
	double		weights[FORECAST_EXPERTS];
	double		level = 0;
	Datum		values[7];
	bool		nulls[7] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	read_series(PG_GETARG_ARRAYTYPE_P(0), &f);
	forecast_experts(&f, levels, weights);
	for (int i = 0; i < FORECAST_EXPERTS; i++)
		level += levels[i] * weights[i];
	values[0] = Float8GetDatum(f.hours);
	values[1] = Float8GetDatum(level);
	values[2] = Float8GetDatum(forecast_usual(&f));
	values[3] = Float8GetDatum(forecast_profile(&f, hour_of_day(PG_GETARG_TIMESTAMPTZ(1))));
	values[4] = Float8GetDatum(forecast_dispersion(&f));
	values[5] = number_array(levels, FORECAST_EXPERTS);
	values[6] = number_array(weights, FORECAST_EXPERTS);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* negbin_quantile(mean float8, dispersion float8, share float8) */
PG_FUNCTION_INFO_V1(taskex_negbin_quantile);
Datum
taskex_negbin_quantile(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(negbin_quantile(checked(PG_GETARG_FLOAT8(0), "mean", 0, MAX_COUNTED),
									 checked(PG_GETARG_FLOAT8(1), "dispersion", MIN_DISPERSION, MAX_DISPERSION),
									 checked(PG_GETARG_FLOAT8(2), "share", 0.001, 0.999)));
}

/* counts_reach(means float8[], quantities float8[], dispersion float8) */
PG_FUNCTION_INFO_V1(taskex_counts_reach);
Datum
taskex_counts_reach(PG_FUNCTION_ARGS)
{
	int			count;
	int			quantities;
	double	   *mean = numbers(PG_GETARG_ARRAYTYPE_P(0), &count);
	double	   *quantity = numbers(PG_GETARG_ARRAYTYPE_P(1), &quantities);
	double		dispersion = checked(PG_GETARG_FLOAT8(2), "dispersion", MIN_DISPERSION, MAX_DISPERSION);

	if (count != quantities)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("as many quantities as means are needed")));
	for (int i = 0; i < count; i++)
	{
		checked(mean[i], "mean", 0, MAX_COUNTED);
		checked(quantity[i], "quantity", 0, MAX_COUNTED);
	}
	PG_RETURN_FLOAT8(counts_reach(count, mean, quantity, dispersion));
}
