/*
 * act.c
 *	  Functions that act for a user and are written in PL/pgSQL.
 *
 * A SECURITY DEFINER function does not know who called it, and one without
 * cannot touch the tables.  So such a function has two parts: its public face
 * in the schema taskex is this C function, which sees the caller as he is; the
 * body is a function of the same name in _taskex, run as the extension's owner
 * and callable by nobody else, whose first argument is the acting user's id
 * instead of his login.
 */
#include "postgres.h"

#include "directory/directory.h"
#include "directory/internal.h"
#include "base/args.h"
#include "directory/meter.h"
#include "infra/realm.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/value.h"
#include "optimizer/optimizer.h"
#include "parser/parse_func.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* what a call site keeps of its function, in fn_extra */
typedef struct Face
{
	FmgrInfo	body;
	char	  **names;			/* of the arguments */
	bool		nullable[FUNC_MAX_ARGS];
	bool		reading;		/* the body has the caller's snapshot, and writes nothing */
} Face;

/* who called, while we are the extension's owner */
typedef struct Owner
{
	Oid			caller;
	int			security_context;
} Owner;

static void
become_owner(Owner *owner)
{
	GetUserIdAndSecContext(&owner->caller, &owner->security_context);
	SetUserIdAndSecContext(realm_owner(),
						   owner->security_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
}

/* an error leaves this to the end of its (sub)transaction */
static void
become_caller(const Owner *owner)
{
	SetUserIdAndSecContext(owner->caller, owner->security_context);
}

/* an argument may be NULL if that is its default */
static void
find_nullable(Face *face, HeapTuple proc)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(proc);
	int			n = form->pronargs - form->pronargdefaults;
	bool		isnull;
	Datum		defaults = SysCacheGetAttr(PROCOID, proc, Anum_pg_proc_proargdefaults, &isnull);
	ListCell   *cell;

	if (isnull)
		return;
	foreach(cell, castNode(List, stringToNode(TextDatumGetCString(defaults))))
	{
		Node	   *value = eval_const_expressions(NULL, lfirst(cell));

		face->nullable[n++] = IsA(value, Const) && ((Const *) value)->constisnull;
	}
}

static void
find_names(Face *face, HeapTuple proc)
{
	bool		isnull;
	bool		no_modes;
	Datum		names = SysCacheGetAttr(PROCOID, proc, Anum_pg_proc_proargnames, &isnull);
	Datum		modes = SysCacheGetAttr(PROCOID, proc, Anum_pg_proc_proargmodes, &no_modes);

	get_func_input_arg_names(isnull ? (Datum) 0 : names, no_modes ? (Datum) 0 : modes, &face->names);
}

/* the body's FmgrInfo; callers have no rights on its schema */
static void
find_body(Face *face, HeapTuple proc, MemoryContext context)
{
	Form_pg_proc form = (Form_pg_proc) GETSTRUCT(proc);
	Oid			types[FUNC_MAX_ARGS];
	Owner		owner;
	Oid			body;

	become_owner(&owner);
	memcpy(types, form->proargtypes.values, sizeof(Oid) * form->pronargs);
	types[0] = INT8OID;
	body = LookupFuncName(list_make2(makeString("_taskex"), makeString(pstrdup(NameStr(form->proname)))),
						  form->pronargs, types, false);
	fmgr_info_cxt(body, &face->body, context);
	face->reading = func_volatile(body) != PROVOLATILE_VOLATILE;
	become_caller(&owner);
}

static Face *
find_face(FmgrInfo *flinfo)
{
	MemoryContext old = MemoryContextSwitchTo(flinfo->fn_mcxt);
	Face	   *face = palloc0(sizeof(Face));
	HeapTuple	proc = SearchSysCache1(PROCOID, ObjectIdGetDatum(flinfo->fn_oid));

	if (!HeapTupleIsValid(proc))
		elog(ERROR, "function %u is missing", flinfo->fn_oid);
	find_names(face, proc);
	find_nullable(face, proc);
	find_body(face, proc, flinfo->fn_mcxt);
	ReleaseSysCache(proc);
	MemoryContextSwitchTo(old);
	return face;
}

/* the innermost body that runs only reads */
static bool reading = false;

static Datum
call_body(Face *face, FunctionCallInfo inner)
{
	bool		outer = reading;
	Datum		result;

	PG_TRY();
	{
		reading = face->reading;
		result = FunctionCallInvoke(inner);
	}
	PG_FINALLY();
	{
		reading = outer;
	}
	PG_END_TRY();
	return result;
}

/*
 * act(login, ...): checks that the caller may act for the user (for all, if the
 * login is NULL) and that only arguments whose default is NULL are NULL, then
 * calls the body.
 */
METERED(taskex_act)
{
	LOCAL_FCINFO(inner, FUNC_MAX_ARGS);
	Face	   *face = fcinfo->flinfo->fn_extra;
	UserHome	home = {0};
	Owner		owner;
	int			settings;
	Datum		result;

	if (face == NULL)
		face = fcinfo->flinfo->fn_extra = find_face(fcinfo->flinfo);
	for (int i = 0; i < PG_NARGS(); i++)
		if (!face->nullable[i])
			require_arg(fcinfo, i, face->names[i]);
	if (PG_ARGISNULL(0))
		directory_require_trusted("act for all users");
	else if (face->reading)
		directory_reader(PG_GETARG_TEXT_PP(0), &home);
	else
		directory_actor(PG_GETARG_TEXT_PP(0), &home);

	become_owner(&owner);

	/* a look at many partitions seems costly, and would be compiled for seconds */
	settings = NewGUCNestLevel();
	(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);

	InitFunctionCallInfoData(*inner, &face->body, PG_NARGS(), fcinfo->fncollation,
							 fcinfo->context, fcinfo->resultinfo);
	memcpy(inner->args, fcinfo->args, sizeof(NullableDatum) * PG_NARGS());
	inner->args[0].value = Int64GetDatum(home.user_id);
	result = call_body(face, inner);
	fcinfo->isnull = inner->isnull;

	AtEOXact_GUC(true, settings);
	become_caller(&owner);
	return result;
}

/* ---- what the bodies need of the directory ---- */

PG_FUNCTION_INFO_V1(taskex_user_id);

/* user_id(login) -> bigint */
Datum
taskex_user_id(PG_FUNCTION_ARGS)
{
	UserHome	home;

	require_arg(fcinfo, 0, "login");
	directory_seen_home(PG_GETARG_TEXT_PP(0), &home);
	PG_RETURN_INT64(home.user_id);
}

PG_FUNCTION_INFO_V1(taskex_kept_user_id);

/* kept_user_id(login) -> bigint, which is his until the transaction ends */
Datum
taskex_kept_user_id(PG_FUNCTION_ARGS)
{
	UserHome	home;

	require_arg(fcinfo, 0, "login");
	directory_home(PG_GETARG_TEXT_PP(0), &home);
	PG_RETURN_INT64(home.user_id);
}

PG_FUNCTION_INFO_V1(taskex_home);

/*
 * home(user_id) -> partition id on this node, for a body that writes: to stay
 * until the transaction ends.  A STABLE one gets that of the caller's snapshot.
 */
Datum
taskex_home(PG_FUNCTION_ARGS)
{
	UserHome	home;

	if (reading || XactReadOnly)
		directory_seen_home_by_id(PG_GETARG_INT64(0), &home);
	else
		directory_home_by_id(PG_GETARG_INT64(0), &home);
	partition_require_local(home.partition, cstring_to_text(psprintf("%lld", (long long) home.user_id)));
	PG_RETURN_INT32(home.partition);
}
