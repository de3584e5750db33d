/*
 * factor.c
 *	  Factors of fitness that operators have written: calls of their functions.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/errcodes.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"

static Oid
owner_of(Oid function)
{
	HeapTuple	proc = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			owner;

	if (!HeapTupleIsValid(proc))
		ereport(ERROR,
				(errcode(ERRCODE_TX_FACTOR_FAILED),
				 errmsg("the function of a factor does not exist any more"),
				 errhint("taskex.drop_factor() removes the factor.")));
	owner = ((Form_pg_proc) GETSTRUCT(proc))->proowner;
	ReleaseSysCache(proc);
	return owner;
}

PG_FUNCTION_INFO_V1(taskex_call_factor);

/*
 * call_factor(function, login, partition) -> float8, between 0 and 1.  The
 * function runs as its owner, as those of an index do: nothing of our rights is
 * lent to it, and it cannot leave anything behind in the session.
 */
Datum
taskex_call_factor(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"function", "login", "partition", NULL};
	LOCAL_FCINFO(inner, 2);
	FmgrInfo	flinfo;
	Oid			function;
	Oid			caller;
	int			security_context;
	int			settings;
	double		value;

	require_args(fcinfo, names);
	function = PG_GETARG_OID(0);
	GetUserIdAndSecContext(&caller, &security_context);
	SetUserIdAndSecContext(owner_of(function), security_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	settings = NewGUCNestLevel();

	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*inner, &flinfo, 2, DEFAULT_COLLATION_OID, NULL, NULL);
	inner->args[0].value = PG_GETARG_DATUM(1);
	inner->args[0].isnull = false;
	inner->args[1].value = PG_GETARG_DATUM(2);
	inner->args[1].isnull = false;
	value = DatumGetFloat8(FunctionCallInvoke(inner));

	AtEOXact_GUC(false, settings);
	SetUserIdAndSecContext(caller, security_context);
	if (inner->isnull || !(value >= 0 && value <= 1))
		ereport(ERROR,
				(errcode(ERRCODE_TX_FACTOR_FAILED),
				 errmsg("function %s gave no number between 0 and 1", format_procedure(function)),
				 errdetail("It gave %s, for user \"%s\" and storage partition \"%s\".",
						   inner->isnull ? "null" : psprintf("%g", value),
						   text_to_cstring(PG_GETARG_TEXT_PP(1)), text_to_cstring(PG_GETARG_TEXT_PP(2)))));
	PG_RETURN_FLOAT8(value);
}
