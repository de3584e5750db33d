/*
 * args.c
 *	  Checks of SQL arguments that every function makes.
 *
 * The user-facing functions are not STRICT: a NULL where a value is needed is
 * an error there, not a silent NULL result.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/errcodes.h"
#include "base/guc.h"

#include "access/detoast.h"

void
require_arg(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (unlikely(PG_ARGISNULL(n)))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("%s must not be null", name)));
}

void
require_args(FunctionCallInfo fcinfo, const char *const *names)
{
	for (int n = 0; names[n]; n++)
		require_arg(fcinfo, n, names[n]);
}

void
check_json_size(Datum value, const char *what)
{
	Size		size = toast_raw_datum_size(value);

	if (size > (Size) guc_max_input_size * 1024)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_INPUT_TOO_LARGE),
				 errmsg("%s is too large", what),
				 errdetail("It has %zu bytes, the limit is %zu.", size,
						   (Size) guc_max_input_size * 1024),
				 errhint("Store large data elsewhere and refer to them, or raise taskex.max_input_size.")));
}
