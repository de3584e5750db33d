/*
 * child_hook.c
 *	  Keeps commands that move indexes away from writers of child tables.
 *
 * child.c enters rows into indexes without a lock of theirs: the table's lock is
 * enough against all commands but those that put an index into another
 * tablespace.  These lock the index alone.  So before they do the table is locked
 * here, in the order that REINDEX has: the table, then the index.
 */
#include "postgres.h"

#include "infra/child.h"
#include "base/compat.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/tablespace.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

static ProcessUtility_hook_type previous = NULL;

/* is it an index of one of our tables, and the caller's own? */
static bool
is_ours(Oid relid, char relkind)
{
	Oid			schema = get_namespace_oid("_taskex", true);

	return relkind == RELKIND_INDEX && OidIsValid(schema) && get_rel_namespace(relid) == schema &&
		object_ownercheck(RelationRelationId, relid, GetUserId());
}

static void
lock_table_of(Oid index, bool nowait)
{
	Oid			table = IndexGetRelation(index, true);

	if (!OidIsValid(table))
		return;
	if (!nowait)
		LockRelationOid(table, ShareLock);
	else if (!ConditionalLockRelationOid(table, ShareLock))
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("could not obtain lock on relation \"%s\"", get_rel_name(table))));
}

/* ALTER INDEX (or TABLE) name SET TABLESPACE */
static void
before_alter(const AlterTableStmt *statement)
{
	ListCell   *cell;
	Oid			relid = InvalidOid;
	Oid			locked;

	foreach(cell, statement->cmds)
		if (lfirst_node(AlterTableCmd, cell)->subtype == AT_SetTableSpace)
			relid = RangeVarGetRelid(statement->relation, NoLock, true);
	do
	{
		if (!OidIsValid(relid) || !is_ours(relid, get_rel_relkind(relid)))
			return;
		locked = relid;
		lock_table_of(relid, false);
		relid = RangeVarGetRelid(statement->relation, NoLock, true);
	} while (relid != locked);	/* it was renamed meanwhile */
}

/* ALTER INDEX ALL IN TABLESPACE name SET TABLESPACE */
static void
before_move_all(const AlterTableMoveAllStmt *statement)
{
	Oid			tablespace = get_tablespace_oid(statement->orig_tablespacename, true);
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	if (statement->objtype != OBJECT_INDEX || !OidIsValid(tablespace))
		return;
	if (tablespace == MyDatabaseTableSpace)
		tablespace = InvalidOid;
	rel = table_open(RelationRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_class form = (Form_pg_class) GETSTRUCT(tuple);

		if (form->reltablespace == tablespace && is_ours(form->oid, form->relkind))
			lock_table_of(form->oid, statement->nowait);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
}

static void
hook(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
	 ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *queryEnv,
	 DestReceiver *dest, QueryCompletion *qc)
{
	if (IsA(pstmt->utilityStmt, AlterTableStmt))
		before_alter((AlterTableStmt *) pstmt->utilityStmt);
	else if (IsA(pstmt->utilityStmt, AlterTableMoveAllStmt))
		before_move_all((AlterTableMoveAllStmt *) pstmt->utilityStmt);
	if (previous)
		previous(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
	else
		standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc);
}

void
child_hook_install(void)
{
	previous = ProcessUtility_hook;
	ProcessUtility_hook = hook;
}
