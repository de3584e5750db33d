/*
 * recommend.c
 *	  The conditional logit for sql/recommend.sql.
 */
#include "postgres.h"

#include "supply/logit.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

/* an array of float8, without nulls */
static double *
doubles(Datum array, const char *what, int *count)
{
	ArrayType  *a = DatumGetArrayTypeP(array);

	if (ARR_ELEMTYPE(a) != FLOAT8OID || ARR_NDIM(a) > 1 || array_contains_nulls(a))
		elog(ERROR, "%s must be an array of float8 with one dimension and no nulls", what);
	*count = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
	return (double *) ARR_DATA_PTR(a);
}

static Datum
array_of(const double *values, int count)
{
	Datum	   *items = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		items[i] = Float8GetDatum(values[i]);
	return PointerGetDatum(construct_array(items, count, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* how many alternatives there are */
static int
alternatives(int values, int factors)
{
	if (factors == 0 || values == 0 || values % factors != 0)
		elog(ERROR, "%d values are no alternatives of %d factors", values, factors);
	return values / factors;
}

PG_FUNCTION_INFO_V1(taskex_logit_chances);

/* logit_chances(weights, values) -> chance of each alternative */
Datum
taskex_logit_chances(PG_FUNCTION_ARGS)
{
	Logit		logit = {0};
	int			count;
	double	   *value;
	double	   *chance;
	int			n;

	logit.weight = doubles(PG_GETARG_DATUM(0), "weights", &logit.factors);
	value = doubles(PG_GETARG_DATUM(1), "values", &count);
	n = alternatives(count, logit.factors);
	chance = palloc(sizeof(double) * n);
	logit_chances(&logit, value, n, chance);
	PG_RETURN_DATUM(array_of(chance, n));
}

PG_FUNCTION_INFO_V1(taskex_logit_learn);

/* logit_learn(state, values, chosen) -> state: weights, then squares */
Datum
taskex_logit_learn(PG_FUNCTION_ARGS)
{
	Logit		logit;
	int			size;
	int			count;
	double	   *old = doubles(PG_GETARG_DATUM(0), "state", &size);
	double	   *value = doubles(PG_GETARG_DATUM(1), "values", &count);
	int			chosen = PG_GETARG_INT32(2);
	int			n = alternatives(count, size / 2);
	double	   *state = palloc(sizeof(double) * size);

	if (size % 2 != 0 || chosen < 1 || chosen > n)
		elog(ERROR, "there is no alternative %d among %d", chosen, n);
	memcpy(state, old, sizeof(double) * size);
	logit.factors = size / 2;
	logit.weight = state;
	logit.squares = state + logit.factors;
	logit_learn(&logit, value, n, chosen - 1);
	PG_RETURN_DATUM(array_of(state, size));
}
