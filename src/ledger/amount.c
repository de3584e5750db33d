/*
 * amount.c
 *	  Amounts of money: numeric outside, nano-units inside.
 */
#include "postgres.h"

#include "ledger/internal.h"
#include "ledger/ledger.h"
#include "base/errcodes.h"

#include "common/int.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#define NANO_DIGITS 9
#define NANO INT64CONST(1000000000)

/* amounts stay below this, so that a few of them can be added */
#define UNITS_MAX INT64CONST(9000000000)

static void
out_of_range(Numeric amount, const char *what, const char *detail)
{
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_AMOUNT_OUT_OF_RANGE),
			 errmsg("%s is out of range: %.100s", what,
					DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(amount)))),
			 errdetail_internal("%s", detail)));
}

int64
ledger_nano(Numeric amount, const char *what)
{
	Datum		value = NumericGetDatum(amount);
	Datum		nano;

	if (numeric_is_nan(amount) || numeric_is_inf(amount))
		out_of_range(amount, what, "An amount of money must be a finite number.");
	if (DatumGetBool(DirectFunctionCall2(numeric_lt, value,
										 NumericGetDatum(int64_to_numeric(0)))))
		out_of_range(amount, what, "An amount of money must not be negative.");
	if (DatumGetBool(DirectFunctionCall2(numeric_ge, value,
										 NumericGetDatum(int64_to_numeric(UNITS_MAX)))))
		out_of_range(amount, what, "An amount of money must be less than 9000000000.");

	nano = DirectFunctionCall2(numeric_mul, value, NumericGetDatum(int64_to_numeric(NANO)));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, nano,
										  DirectFunctionCall2(numeric_trunc, nano, Int32GetDatum(0)))))
		out_of_range(amount, what, "An amount of money must not be finer than 0.000000001.");
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, nano));
}

Numeric
ledger_numeric(int64 nano)
{
	return DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale,
											   NumericGetDatum(int64_div_fast_to_numeric(nano, NANO_DIGITS))));
}

char *
amount_text(int64 nano)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(ledger_numeric(nano))));
}

int64
ledger_multiply(int64 amount, int64 count, const char *what)
{
	int64		product;

	if (pg_mul_s64_overflow(amount, count, &product) ||
		product >= UNITS_MAX * NANO || product <= -UNITS_MAX * NANO)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_AMOUNT_OUT_OF_RANGE),
				 errmsg("%s is out of range", what),
				 errdetail("An amount of money must be less than 9000000000.")));
	return product;
}

PG_FUNCTION_INFO_V1(taskex_amount);

/* _taskex.amount(nano bigint) -> numeric */
Datum
taskex_amount(PG_FUNCTION_ARGS)
{
	PG_RETURN_NUMERIC(ledger_numeric(PG_GETARG_INT64(0)));
}

PG_FUNCTION_INFO_V1(taskex_nano);

/* _taskex.nano(amount, name) -> nano-units */
Datum
taskex_nano(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(ledger_nano(PG_GETARG_NUMERIC(0), text_to_cstring(PG_GETARG_TEXT_PP(1))));
}
