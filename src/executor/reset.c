/*
 * reset.c
 *	  Nothing that a run leaves behind reaches the next one.
 *
 * Hooks note what leaves something behind, so that a run that leaves nothing
 * costs next to nothing.  What the environment's set-up has made stays; who
 * destroys that, or leaves what cannot be found again, wears the process out: it
 * is replaced when the transaction has ended.
 *
 *		parameters, roles		an own level of settings, which is rolled back
 *		cursors					all are closed
 *		temporary objects		those that were made during the run are dropped
 *		prepared statements		the same
 *		LISTEN					UNLISTEN *
 *		session advisory locks	released
 *		large objects			descriptors are closed
 *		currval(), lastval()	forgotten
 *		random()				another seed
 *
 * Interpreters of languages keep what was left in them (interpreter.c).  Connections
 * of dblink outlive all of this: who makes one wears the process out.
 */
#include "postgres.h"

#include "executor/reset.h"
#include "base/compat.h"
#include "executor/interpreter.h"
#include "infra/realm.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_conversion.h"
#include "catalog/pg_opclass.h"
#include "catalog/pg_operator.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_statistic_ext.h"
#include "catalog/pg_ts_config.h"
#include "catalog/pg_ts_dict.h"
#include "catalog/pg_type.h"
#include "catalog/pg_language.h"
#include "commands/async.h"
#include "commands/prepare.h"
#include "commands/proclang.h"
#include "commands/sequence.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "libpq/be-fsstubs.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lock.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/syscache.h"

/* who makes more objects than this has his process replaced */
#define CREATED_MAX 4096

static ProcessUtility_hook_type previous_utility = NULL;
static object_access_hook_type previous_access = NULL;
static bool watching = false;
static bool worn = false;
static bool constraints_used;
static bool listened;
static int	settings_level;
static Oid	user;
static int	security_context;
static MemoryContext context;	/* of what follows */
static List *prepared;			/* names of statements */
static ObjectAddress *created;	/* perhaps temporary */
static int	created_count;

/* ---- what happens during a run ---- */

static bool
is_prepared_here(const char *name)
{
	ListCell   *cell;

	foreach(cell, prepared)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

/* DO in a language that has an interpreter */
static void
note_block(const DoStmt *block)
{
	ListCell   *cell;

	foreach(cell, block->args)
	{
		const DefElem *item = lfirst(cell);

		if (strcmp(item->defname, "language") == 0 && interpreter_keeps(get_language_oid(strVal(item->arg), true)))
			interpreter_used();
	}
}

/* after the command has succeeded */
static void
note_command(Node *command)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	switch (nodeTag(command))
	{
		case T_PrepareStmt:
			prepared = lappend(prepared, pstrdup(castNode(PrepareStmt, command)->name));
			break;
		case T_DeallocateStmt:
			{
				const char *name = castNode(DeallocateStmt, command)->name;

				/* all, or one of the set-up */
				if (name == NULL || !is_prepared_here(name))
					worn = true;
				break;
			}
		case T_DiscardStmt:
			if (castNode(DiscardStmt, command)->target != DISCARD_PLANS &&
				castNode(DiscardStmt, command)->target != DISCARD_SEQUENCES)
				worn = true;
			break;
		case T_ListenStmt:
			listened = true;
			break;
		case T_ConstraintsSetStmt:
		case T_CopyStmt:
			constraints_used = true;
			break;
		case T_LoadStmt:
			worn = true;
			break;
		case T_DoStmt:
			note_block(castNode(DoStmt, command));
			break;
		default:
			break;
	}
	MemoryContextSwitchTo(old);
}

static void
on_utility(PlannedStmt *statement, const char *query, bool read_only, ProcessUtilityContext where, ParamListInfo params,
		   QueryEnvironment *environment, DestReceiver *dest, QueryCompletion *completion)
{
	(previous_utility ? previous_utility : standard_ProcessUtility) (statement, query, read_only, where, params,
																	 environment, dest, completion);
	if (watching)
		note_command(statement->utilityStmt);
}

static bool
is_created_here(Oid class, Oid object)
{
	for (int i = 0; i < created_count; i++)
		if (created[i].objectId == object && created[i].classId == class)
			return true;
	return false;
}

static void
note_created(Oid class, Oid object)
{
	if (created_count == CREATED_MAX)
	{
		worn = true;
		return;
	}
	if (created == NULL)
		created = MemoryContextAlloc(context, sizeof(ObjectAddress) * CREATED_MAX);
	ObjectAddressSet(created[created_count], class, object);
	created_count++;
}

static bool
has_schema(Oid class)
{
	switch (class)
	{
		case RelationRelationId:
		case TypeRelationId:
		case ProcedureRelationId:
		case OperatorRelationId:
		case OperatorClassRelationId:
		case OperatorFamilyRelationId:
		case CollationRelationId:
		case ConversionRelationId:
		case StatisticExtRelationId:
		case TSConfigRelationId:
		case TSDictionaryRelationId:
			return true;
		default:
			return false;
	}
}

/* functions of the extension's owner are the code of programs: body.c looks after them */
static bool
is_code(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	bool		code = HeapTupleIsValid(tuple) && ((Form_pg_proc) GETSTRUCT(tuple))->proowner == realm_owner();

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return code;
}

/* is it a temporary object that was there before the run? */
static bool
is_setup(Oid class, Oid object)
{
	if (class == RelationRelationId)
		return isTempNamespace(get_rel_namespace(object)) && !is_created_here(class, object);
	if (class == ProcedureRelationId)
		return isTempNamespace(get_func_namespace(object)) && !is_created_here(class, object) && !is_code(object);
	return false;
}

/* a function that is not PostgreSQL's own is about to be called */
static void
note_function(Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid			language;

	if (!HeapTupleIsValid(tuple))
		return;
	language = ((Form_pg_proc) GETSTRUCT(tuple))->prolang;
	if (language == ClanguageId)
	{
		bool		isnull;
		char	   *symbol = TextDatumGetCString(SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &isnull));

		worn |= strcmp(symbol, "dblink_connect") == 0;
		pfree(symbol);
	}
	else if (interpreter_keeps(language))
		interpreter_used();
	ReleaseSysCache(tuple);
}

static void
on_access(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	if (previous_access)
		previous_access(access, class, object, sub, arg);
	if (!watching)
		return;
	if (access == OAT_FUNCTION_EXECUTE)
	{
		if (object >= FirstNormalObjectId)
			note_function(object);
		return;
	}

	/* what replaces something is created, too, and there already */
	if (access == OAT_DROP || access == OAT_POST_ALTER || (access == OAT_POST_CREATE && class == ProcedureRelationId))
		worn |= is_setup(class, object);
	if (access == OAT_POST_CREATE && sub == 0 && has_schema(class))
		note_created(class, object);
}

void
reset_install(void)
{
	previous_utility = ProcessUtility_hook;
	ProcessUtility_hook = on_utility;
	previous_access = object_access_hook;
	object_access_hook = on_access;
	context = AllocSetContextCreate(TopMemoryContext, "taskex reset", ALLOCSET_SMALL_SIZES);
}

/* ---- before and after ---- */

void
reset_begin(void)
{
	GetUserIdAndSecContext(&user, &security_context);
	settings_level = NewGUCNestLevel();
	constraints_used = listened = false;
	watching = true;
}

/* has it a schema, and is that the session's own for temporary objects? */
static bool
is_temporary(const ObjectAddress *object)
{
	if (!SearchSysCacheExists1(get_object_catcache_oid(object->classId), ObjectIdGetDatum(object->objectId)))
		return false;
	return isTempNamespace(get_object_namespace(object)) &&
		!(object->classId == ProcedureRelationId && is_code(object->objectId));
}

static void
drop_created(void)
{
	ObjectAddresses *temporary;
	bool		any = false;

	if (created_count == 0)
		return;
	CommandCounterIncrement();
	temporary = new_object_addresses();
	for (int i = 0; i < created_count; i++)
		if (is_temporary(&created[i]))
		{
			add_exact_object_address(&created[i], temporary);
			any = true;
		}
	if (any)
		performMultipleDeletions(temporary, DROP_CASCADE, PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY);
	free_object_addresses(temporary);
}

void
reset_in_transaction(void)
{
	watching = false;
	AtEOXact_GUC(false, settings_level);
	SetUserIdAndSecContext(user, security_context);
	PortalHashTableDeleteAll();
	AtEOXact_LargeObject(true);
	drop_created();
	if (listened)
		Async_UnlistenAll();
}

void
reset_session(void)
{
	ListCell   *cell;

	watching = false;
	foreach(cell, prepared)
		DropPreparedStatement(lfirst(cell), false);
	LockReleaseSession(USER_LOCKMETHOD);
	ResetSequenceCaches();
	(void) DirectFunctionCall1(setseed, Float8GetDatum(2 * pg_prng_double(&pg_global_prng_state) - 1));
	if (prepared || created)
		MemoryContextReset(context);
	prepared = NIL;
	created = NULL;
	created_count = 0;
}

bool
reset_constraints_used(void)
{
	return constraints_used;
}

bool
reset_worn(void)
{
	return worn || interpreter_mixed();
}

void
reset_wear(void)
{
	worn = true;
}
