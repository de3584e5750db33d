/*
 * body_call.c
 *	  The code of a run is called with its data.
 */
#include "postgres.h"

#include "executor/body.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "executor/interpreter.h"
#include "infra/spi.h"
#include "workload/options.h"
#include "workload/pieces.h"
#include "workload/run.h"

#include "access/htup_details.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/proclang.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "parser/parse_func.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/regproc.h"
#include "utils/timestamp.h"

/* ---- who may run and write code that can do everything ---- */

static void
require_named(const KnownEnvironment *environment, int64 user_id)
{
	if (!environment_names(environment, user_id))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for environment \"%s\"", environment->name),
				 errdetail("Code in language \"%s\" can do all that the server can; user %lld is not among those who may run it, or have written it.",
						   environment->language, (long long) user_id),
				 errhint("The operator names them with option \"customers\" of taskex.alter_environment().")));
}

/* ---- calling ---- */

static Datum
call(Oid function, int nargs, const NullableDatum *args, bool *no_result)
{
	LOCAL_FCINFO(inner, 2);
	FmgrInfo	flinfo;
	Datum		result;
	bool		skip = false;

	fmgr_info(function, &flinfo);
	InitFunctionCallInfoData(*inner, &flinfo, nargs, InvalidOid, NULL, NULL);
	for (int i = 0; i < nargs; i++)
	{
		inner->args[i] = args[i];
		skip |= flinfo.fn_strict && args[i].isnull;
	}
	/* no_result may be that of an argument */
	*no_result = true;
	if (skip)
		return (Datum) 0;
	result = FunctionCallInvoke(inner);
	*no_result = inner->isnull;
	return result;
}

/* ---- a customer's function gets a result ---- */

static int64
result_of(Jsonb *options)
{
	JsonbValue	value;

	if (options == NULL || !json_field(options, "result_of", &value) || value.type != jbvNumeric)
		return 0;
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

static Oid
find_function(const char *name, int *nargs)
{
	Oid			types[2] = {INT8OID, JSONBOID};
	List	   *names = qualified_name_list(name);
	Oid			function = LookupFuncName(names, 2, types, true);
	AclResult	allowed;

	*nargs = 2;
	if (!OidIsValid(function))
	{
		*nargs = 1;
		function = LookupFuncName(names, 1, &types[1], true);
	}
	if (!OidIsValid(function) || get_func_retset(function) || get_func_prokind(function) != PROKIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function %s(bigint, jsonb) does not exist", name),
				 errdetail("It is the result_function of a run. It may have the arguments (run_id bigint, result jsonb), or (result jsonb), and returns no set."),
				 errhint("Make one of them, or give the run the option \"result_function\" with the name of one that exists.")));
	allowed = object_aclcheck(ProcedureRelationId, function, GetUserId(), ACL_EXECUTE);
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_FUNCTION, name);
	return function;
}

static Datum
call_with_result(Jsonb *options, int64 run_id, bool *no_result)
{
	JsonbValue	name;
	int			nargs;
	Oid			function;
	NullableDatum args[2] = {{Int64GetDatum(run_id), false}};
	Jsonb	   *given;
	Datum		result;

	(void) json_field(options, "result_function", &name);
	function = find_function(pnstrdup(name.val.string.val, name.val.string.len), &nargs);
	(void) run_read_result(run_id, &given);
	args[1].value = PointerGetDatum(given);
	args[1].isnull = given == NULL;
	result = call(function, nargs, nargs == 2 ? args : &args[1], no_result);
	if (get_func_rettype(function) != JSONBOID)
		*no_result = true;
	return result;
}

/* ---- a run ---- */

/* code of this user is about to be called */
static void
begin_code_of(int64 user_id, bool keeps)
{
	interpreter_author(user_id);
	if (keeps)
		interpreter_used();
}

bool
body_is_by(const BodyRun *run, int64 user_id)
{
	const Pieces *pieces;

	if (run->program_id == 0)
		return run->customer_id == user_id;
	pieces = pieces_of(run->program_id, run->version);
	for (int i = 0; i < pieces->count; i++)
		if (pieces->pieces[i].owner_id != user_id)
			return false;
	return true;
}

/* ---- how long each piece has taken ---- */

static struct
{
	int			count;			/* of pieces that are known of: 0, unless it is a chain */
	int			room;
	int			current;		/* that is executed; -1: none */
	TimestampTz since;
	int64	   *us;				/* 0: it was not executed */
}			times = {.current = -1};

void
body_times_reset(void)
{
	times.count = 0;
	times.current = -1;
}

static void
begin_times(int count)
{
	if (count > times.room)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		times.us = times.us ? repalloc(times.us, sizeof(int64) * count) : palloc(sizeof(int64) * count);
		times.room = count;
		MemoryContextSwitchTo(old);
	}
	memset(times.us, 0, sizeof(int64) * count);
	times.count = count;
}

static void
end_piece(void)
{
	if (times.current >= 0)
		times.us[times.current] = Max(GetCurrentTimestamp() - times.since, 1);
	times.current = -1;
}

static void
begin_piece(int number)
{
	times.current = number;
	times.since = GetCurrentTimestamp();
}

const int64 *
body_times(int *count)
{
	/* one that has failed has not come to its end */
	end_piece();
	*count = times.count;
	return times.us;
}

/* ---- all of it ---- */

Datum
body_call(const BodyRun *run, Datum data, bool no_data, bool *no_result)
{
	const KnownEnvironment environment = *environment_by_id(run->environment_id);
	bool		untrusted = body_untrusted(environment.language);
	bool		keeps = interpreter_keeps(get_language_oid(environment.language, false));
	int64		earlier = result_of(run->options);
	NullableDatum value = {data, no_data};
	int			count;

	begin_code_of(run->customer_id, keeps && run->program_id == 0);
	if (earlier != 0)
		return call_with_result(run->options, earlier, no_result);
	if (untrusted)
		require_named(environment_by_id(run->environment_id), run->customer_id);
	if (run->program_id == 0)
		return call(body_function(environment.language, 0, 0, run->code), 1, &value, no_result);
	count = pieces_of(run->program_id, run->version)->count;
	if (count == 0)
		elog(ERROR, "version %d of program %lld is missing", run->version, (long long) run->program_id);
	if (count > 1)
		begin_times(count);
	for (int i = 0; i < count; i++)
	{
		/* what the one before did may have let go of the others */
		Piece		piece = pieces_of(run->program_id, run->version)->pieces[i];

		if (untrusted)
			require_named(environment_by_id(run->environment_id), piece.owner_id);
		begin_code_of(piece.owner_id, keeps);
		if (count > 1)
			begin_piece(i);
		value.value = call(body_function(environment.language, piece.program_id, piece.version, NULL), 1, &value, &value.isnull);
		end_piece();
	}
	*no_result = value.isnull;
	return value.value;
}
