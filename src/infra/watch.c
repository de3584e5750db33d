/*
 * watch.c
 *	  What a session remembers of a table's rows, and when that is out of date.
 *
 * One callback serves all watches: PostgreSQL has room for ten in a session.
 */
#include "postgres.h"

#include "infra/watch.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

static TableWatch *watches = NULL;

static void
relation_changed(Datum arg, Oid relid)
{
	for (TableWatch *watch = watches; watch != NULL; watch = watch->next)
		if (relid == InvalidOid || relid == watch->relid)
		{
			watch->fresh = false;
			watch->changed = true;
		}
}

bool
watch_fresh(TableWatch *watch)
{
	AcceptInvalidationMessages();
	return watch->fresh;
}

Relation
watch_begin(TableWatch *watch, Snapshot *snapshot)
{
	Oid			relid = get_relname_relid(watch->name, get_namespace_oid("_taskex", false));
	Relation	rel;

	if (!OidIsValid(relid))
		elog(ERROR, "table _taskex.%s is missing", watch->name);
	rel = table_open(relid, AccessShareLock);
	if (watches == NULL)
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	if (!OidIsValid(watch->relid))
	{
		watch->next = watches;
		watches = watch;
	}
	watch->relid = relid;

	/* a change that this snapshot does not see will be told of after this */
	watch->changed = false;
	*snapshot = RegisterSnapshot(GetLatestSnapshot());
	return rel;
}

void
watch_end(TableWatch *watch, Relation rel, Snapshot snapshot)
{
	UnregisterSnapshot(snapshot);
	table_close(rel, AccessShareLock);
	watch->fresh = !watch->changed;
}

PG_FUNCTION_INFO_V1(taskex_table_changed);

/* trigger, for each statement, on tables that are watched */
Datum
taskex_table_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "table_changed is a trigger function");
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
}
