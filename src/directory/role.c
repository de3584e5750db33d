/*
 * role.c
 *	  The type _taskex.role: a database role in a column of a table.
 *
 * As regrole, but for roles that were dropped: regrole writes their numbers, so a
 * dump has them, and where it is restored another role may have the number and the
 * rights with it.  Here such a one is written as none ("-"), and no number is read as a role.
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/syscache.h"

#define NO_ROLE "-"

PG_FUNCTION_INFO_V1(taskex_role_in);

Datum
taskex_role_in(PG_FUNCTION_ARGS)
{
	const char *name = PG_GETARG_CSTRING(0);

	/* the name of a role that is a number is quoted */
	if (strspn(name, "0123456789") == strlen(name))
		PG_RETURN_OID(InvalidOid);
	return DirectFunctionCall1(regrolein, CStringGetDatum(name));
}

PG_FUNCTION_INFO_V1(taskex_role_out);

Datum
taskex_role_out(PG_FUNCTION_ARGS)
{
	Oid			role = PG_GETARG_OID(0);

	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
		PG_RETURN_CSTRING(pstrdup(NO_ROLE));
	return DirectFunctionCall1(regroleout, ObjectIdGetDatum(role));
}
