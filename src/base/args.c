/*
 * args.c
 *	  Checks of SQL arguments that every function makes.
 *
 * The user-facing functions are not STRICT: a NULL where a value is needed is
 * an error there, not a silent NULL result.
 */
#include "postgres.h"

#include "base/args.h"

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
