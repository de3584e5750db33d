/*
 * database_hook.c
 *	  Sends conductor and executors away before a command that wants a database for itself.
 *
 * DROP, RENAME and ALTER DATABASE SET TABLESPACE, and CREATE DATABASE with the
 * database as template, fail while anybody is connected to it.  The conductor
 * would be; so it is asked to leave, and comes back afterwards if the database
 * is still there.  It leaves only for those who may do what they try: others
 * would hold up an exchange that is not theirs.
 */
#include "postgres.h"

#include "base/compat.h"
#include "executor/pool.h"
#include "launcher/internal.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#include <signal.h>

/* a session that dies in the command holds the conductor off no longer */
#define HOLD_OFF_MS 60000
#define LEAVE_MS 5000
#define COMMIT_MS 1000

static ProcessUtility_hook_type previous = NULL;

/* the database that the statement wants for itself, or NULL */
static const char *
wanted_database(Node *statement)
{
	ListCell   *cell;

	switch (nodeTag(statement))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) statement)->dbname;
		case T_RenameStmt:
			return ((RenameStmt *) statement)->renameType == OBJECT_DATABASE ?
				((RenameStmt *) statement)->subname : NULL;
		case T_AlterDatabaseStmt:
			foreach(cell, ((AlterDatabaseStmt *) statement)->options)
				if (strcmp(((DefElem *) lfirst(cell))->defname, "tablespace") == 0)
					return ((AlterDatabaseStmt *) statement)->dbname;
			return NULL;
		case T_CreatedbStmt:
			foreach(cell, ((CreatedbStmt *) statement)->options)
			{
				DefElem    *option = lfirst(cell);

				if (strcmp(option->defname, "template") == 0 && option->arg)
					return defGetString(option);
			}
			return NULL;
		default:
			return NULL;
	}
}

static bool
may_create_databases(void)
{
	HeapTuple	tuple;
	bool		may = superuser();

	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(GetUserId()));
	if (HeapTupleIsValid(tuple))
	{
		may = may || ((Form_pg_authid) GETSTRUCT(tuple))->rolcreatedb;
		ReleaseSysCache(tuple);
	}
	return may;
}

static bool
is_template(Oid database)
{
	HeapTuple	tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
	bool		result = false;

	if (HeapTupleIsValid(tuple))
	{
		result = ((Form_pg_database) GETSTRUCT(tuple))->datistemplate;
		ReleaseSysCache(tuple);
	}
	return result;
}

/* may the caller do what the statement does to the database? as PostgreSQL checks it */
static bool
may_have(Node *statement, Oid database)
{
	bool		owns = object_ownercheck(DatabaseRelationId, database, GetUserId());

	switch (nodeTag(statement))
	{
		case T_CreatedbStmt:
			return may_create_databases() && (owns || is_template(database));
		case T_RenameStmt:
			return may_create_databases() && owns;
		default:
			return owns;
	}
}

/*
 * Asks the conductor, and executors as soon as they do nothing, to leave and waits
 * until they have, for a while.
 */
static void
send_away(Oid database)
{
	TimestampTz start = GetCurrentTimestamp();
	pid_t		pid = launcher_hold_off(database, TimestampTzPlusMilliseconds(start, HOLD_OFF_MS));

	if (pid != 0)
		kill(pid, SIGTERM);
	while (((pid != 0 && BackendPidGetProc(pid) != NULL) || pool_send_away(database) > 0) &&
		   !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), LEAVE_MS))
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
}

static void
run(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
	ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *queryEnv,
	DestReceiver *dest, QueryCompletion *qc)
{
	if (previous)
		previous(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
}

static void
hook(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
	 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *queryEnv,
	 DestReceiver *dest, QueryCompletion *qc)
{
	const char *name = wanted_database(pstmt->utilityStmt);
	Oid			database = name ? get_database_oid(name, true) : InvalidOid;

	if (!OidIsValid(database) || database == MyDatabaseId ||
		!may_have(pstmt->utilityStmt, database))
	{
		run(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
		return;
	}

	send_away(database);
	PG_TRY();
	{
		run(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	}
	PG_CATCH();
	{
		launcher_hold_off(database, 0);
		PG_RE_THROW();
	}
	PG_END_TRY();

	/* a database that is dropped is gone only after the commit */
	launcher_hold_off(database, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), COMMIT_MS));
}

void
database_hook_install(void)
{
	previous = ProcessUtility_hook;
	ProcessUtility_hook = hook;
}
