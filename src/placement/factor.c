/*
 * factor.c
 *	  Factors of fitness that operators have written: calls of their functions.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/errcodes.h"
#include "directory/directory.h"
#include "infra/spi.h"

#include <math.h>

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
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
				(tx_errcode(ERRCODE_TX_FACTOR_FAILED),
				 errmsg("the function of a factor does not exist any more"),
				 errhint("The view taskex.factors shows it without a function; give the fitness functions that have it other weights, then remove it with taskex.drop_factor().")));
	owner = ((Form_pg_proc) GETSTRUCT(proc))->proowner;
	ReleaseSysCache(proc);
	return owner;
}

static Statement add_factor = {
	"SELECT _taskex.add_factor($1, $2, $3)", 3, {TEXTOID, REGPROCEDUREOID, TEXTOID}
};

PG_FUNCTION_INFO_V1(taskex_add_factor);

/*
 * add_factor(name, function, description).  The function will run as its owner:
 * who may not execute it must not have it executed.
 */
Datum
taskex_add_factor(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"name", "function", "description", NULL};
	Datum		values[3];
	Oid			function;
	SpiScope	scope;

	require_args(fcinfo, names);
	directory_require_admin("add factors");
	function = PG_GETARG_OID(1);
	if (SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(function)) &&
		!DatumGetBool(DirectFunctionCall2(has_function_privilege_id, ObjectIdGetDatum(function), CStringGetTextDatum("EXECUTE"))))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for function %s", format_procedure(function)),
				 errdetail("A factor is called with the rights of its owner, so who adds it must have the right to call it."),
				 errhint("Its owner can grant EXECUTE.")));
	for (int i = 0; i < 3; i++)
		values[i] = PG_GETARG_DATUM(i);
	spi_begin(&scope);
	spi_run(&add_factor, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
	PG_RETURN_VOID();
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
				(tx_errcode(ERRCODE_TX_FACTOR_FAILED),
				 errmsg("function %s gave no number between 0 and 1", format_procedure(function)),
				 errdetail("It gave %s, for user \"%s\" and storage partition \"%s\".",
						   inner->isnull ? "null" : psprintf("%g", value),
						   text_to_cstring(PG_GETARG_TEXT_PP(1)), text_to_cstring(PG_GETARG_TEXT_PP(2)))));
	PG_RETURN_FLOAT8(value);
}
