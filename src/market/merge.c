/*
 * merge.c
 *	  What the market keeps in shared memory of an anonymous user, when what he
 *	  has becomes another user's (sql/anonymous.sql).
 */
#include "postgres.h"

#include "market/market.h"
#include "market/source.h"
#include "base/clock.h"
#include "market/rows.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(taskex_lease_moved);

/* _taskex.lease_moved(partition_id, lease_until): a lease that runs is on the partition now */
Datum
taskex_lease_moved(PG_FUNCTION_ARGS)
{
	int32		partition = PG_GETARG_INT32(0);
	TimestampTz until = PG_GETARG_TIMESTAMPTZ(1);

	due_note(partition, DUE_LEASE, until);
	if (until <= clock_now())	/* those before it are handled there, perhaps on record */
		due_lower_stored(partition, DUE_LEASE, until);
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(taskex_recall_slots);

/*
 * _taskex.recall_slots(partition_id, task_id): locks an open task; what was at
 * hand of it is free again, for it is not known there whose task it will be
 */
Datum
taskex_recall_slots(PG_FUNCTION_ARGS)
{
	Child		tasks;
	int32		slots = 0;
	bool		isnull;

	child_open(&tasks, &task_table, PG_GETARG_INT32(0));
	if (child_lock(&tasks, PG_GETARG_INT64(1), true) != ROW_LOCKED)
		elog(ERROR, "task %lld is missing", (long long) PG_GETARG_INT64(1));
	if (strcmp(TextDatumGetCString(slot_getattr(tasks.slot, TASK_STATE, &isnull)), "open") == 0)
		slots = source_recall_locked(&tasks, PG_GETARG_INT64(1));
	child_close(&tasks);
	PG_RETURN_INT32(slots);
}
