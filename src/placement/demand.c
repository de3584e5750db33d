/*
 * demand.c
 *	  What users and partitions need, in SQL: vectors and what is done with them.
 */
#include "postgres.h"

#include "placement/demand.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"

#define BLOCK_BYTES 8192.0
#define SECONDS_AN_HOUR 3600.0
#define MICROSECONDS 1000000.0

const char *const resource_names[RESOURCES] = {"cpu", "memory", "io", "network", "storage"};

const double *
demand_numbers(ArrayType *array, int count, const char *what)
{
	if (array_contains_nulls(array) || ARR_ELEMTYPE(array) != FLOAT8OID ||
		ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) != count)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be an array of %d numbers", what, count)));
	return (const double *) ARR_DATA_PTR(array);
}

static ArrayType *
number_array(const double *values, int count)
{
	Datum	   *elements = palloc(count * sizeof(Datum));

	for (int i = 0; i < count; i++)
		elements[i] = Float8GetDatum(values[i]);
	return construct_array(elements, count, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

static const double *
hours_arg(FunctionCallInfo fcinfo, int n, const char *what)
{
	static const double nothing[DEMAND_HOURS];

	return PG_ARGISNULL(n) ? nothing : demand_numbers(PG_GETARG_ARRAYTYPE_P(n), DEMAND_HOURS, what);
}

PG_FUNCTION_INFO_V1(taskex_demand);

/*
 * demand(stored_bytes, cpu_us, blocks_hit, blocks_read, blocks_written,
 * wal_bytes): from what was measured by hour of the day, each an hour.
 *
 * Memory is what the busiest use touches, as far as it can be told: no more
 * than is stored, no more than the blocks that were asked for.
 */
Datum
taskex_demand(PG_FUNCTION_ARGS)
{
	double		stored = PG_ARGISNULL(0) ? 0 : PG_GETARG_FLOAT8(0);
	const double *cpu = hours_arg(fcinfo, 1, "cpu_us");
	const double *hit = hours_arg(fcinfo, 2, "blocks_hit");
	const double *read = hours_arg(fcinfo, 3, "blocks_read");
	const double *written = hours_arg(fcinfo, 4, "blocks_written");
	const double *wal = hours_arg(fcinfo, 5, "wal_bytes");
	double		demand[DEMAND_SIZE];

	for (int h = 0; h < DEMAND_HOURS; h++)
	{
		demand[RESOURCE_CPU * DEMAND_HOURS + h] = cpu[h] / SECONDS_AN_HOUR / MICROSECONDS;
		demand[RESOURCE_MEMORY * DEMAND_HOURS + h] = Min(stored, (hit[h] + read[h]) * BLOCK_BYTES);
		demand[RESOURCE_IO * DEMAND_HOURS + h] = (read[h] + written[h]) / SECONDS_AN_HOUR;
		demand[RESOURCE_NETWORK * DEMAND_HOURS + h] = wal[h] / SECONDS_AN_HOUR;
	}
	demand[DEMAND_SIZE - 1] = stored;
	PG_RETURN_ARRAYTYPE_P(number_array(demand, DEMAND_SIZE));
}

PG_FUNCTION_INFO_V1(taskex_demand_add);

/* demand_add(sum, demand): of the aggregate demand_sum; NULLs count as nothing */
Datum
taskex_demand_add(PG_FUNCTION_ARGS)
{
	double	   *sum;
	const double *demand;

	if (PG_ARGISNULL(0))
	{
		if (PG_ARGISNULL(1))
			PG_RETURN_NULL();
		PG_RETURN_DATUM(PG_GETARG_DATUM(1));
	}
	if (PG_ARGISNULL(1))
		PG_RETURN_DATUM(PG_GETARG_DATUM(0));
	demand = demand_numbers(PG_GETARG_ARRAYTYPE_P(1), DEMAND_SIZE, "a demand");
	sum = palloc(sizeof(double) * DEMAND_SIZE);
	memcpy(sum, demand_numbers(PG_GETARG_ARRAYTYPE_P(0), DEMAND_SIZE, "a demand"), sizeof(double) * DEMAND_SIZE);
	for (int i = 0; i < DEMAND_SIZE; i++)
		sum[i] += demand[i];
	PG_RETURN_ARRAYTYPE_P(number_array(sum, DEMAND_SIZE));
}

PG_FUNCTION_INFO_V1(taskex_demand_peaks);

/*
 * demand_peaks(demand, more, sign) -> float8[5]: for each resource the highest
 * hour of demand + sign * more
 */
Datum
taskex_demand_peaks(PG_FUNCTION_ARGS)
{
	const double *demand = demand_numbers(PG_GETARG_ARRAYTYPE_P(0), DEMAND_SIZE, "a demand");
	const double *more = demand_numbers(PG_GETARG_ARRAYTYPE_P(1), DEMAND_SIZE, "a demand");
	int			sign = PG_GETARG_INT32(2);
	double		peaks[RESOURCES] = {0};

	for (int i = 0; i < DEMAND_SIZE; i++)
		peaks[demand_resource(i)] = Max(peaks[demand_resource(i)], demand[i] + sign * more[i]);
	PG_RETURN_ARRAYTYPE_P(number_array(peaks, RESOURCES));
}

PG_FUNCTION_INFO_V1(taskex_demand_likeness);

/*
 * demand_likeness(one, other, sign): how alike the days of the two are, -1 to
 * 1: the correlation of their hours, each resource that both use by its own, on
 * the mean.  With sign -1 the first is taken out of the other before.  NULL if
 * one of them does nothing, or always the same.
 */
Datum
taskex_demand_likeness(PG_FUNCTION_ARGS)
{
	const double *one = demand_numbers(PG_GETARG_ARRAYTYPE_P(0), DEMAND_SIZE, "a demand");
	const double *other = demand_numbers(PG_GETARG_ARRAYTYPE_P(1), DEMAND_SIZE, "a demand");
	int			sign = PG_GETARG_INT32(2);
	double		sum = 0;
	int			resources = 0;

	for (int r = 0; r < RESOURCE_STORAGE; r++)
	{
		const double *x = one + r * DEMAND_HOURS;
		double		y[DEMAND_HOURS];
		double		mean_x = 0;
		double		mean_y = 0;
		double		xx = 0;
		double		yy = 0;
		double		xy = 0;

		for (int h = 0; h < DEMAND_HOURS; h++)
		{
			y[h] = other[r * DEMAND_HOURS + h] + Min(sign, 0) * x[h];
			mean_x += x[h] / DEMAND_HOURS;
			mean_y += y[h] / DEMAND_HOURS;
		}
		for (int h = 0; h < DEMAND_HOURS; h++)
		{
			xx += (x[h] - mean_x) * (x[h] - mean_x);
			yy += (y[h] - mean_y) * (y[h] - mean_y);
			xy += (x[h] - mean_x) * (y[h] - mean_y);
		}
		if (xx > 1e-9 * mean_x * mean_x && yy > 1e-9 * mean_y * mean_y)
		{
			sum += Max(-1.0, Min(1.0, xy / sqrt(xx * yy)));
			resources++;
		}
	}
	if (resources == 0)
		PG_RETURN_NULL();
	PG_RETURN_FLOAT8(sum / resources);
}
