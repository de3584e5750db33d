/*
 * follow.c
 *	  Runs of a customer who moves to another storage partition, or gets another role.
 *
 * The queue knows runs by their customers, so it has nothing to learn of a move.
 * But a start looks for open runs only after run_low, or in run_open, and the
 * ids of those that come from elsewhere may be before run_low of the new
 * partition: so they are noted in run_open there, in the transactions that copy
 * them or before.  One noted for nothing does no harm.
 */
#include "postgres.h"

#include "workload/follow.h"
#include "infra/shmem.h"
#include "infra/spi.h"
#include "workload/rows.h"
#include "workload/workload.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"

static Statement note_open = {
	"INSERT INTO _taskex.run_open (partition_id, run_id) SELECT $2, run_id FROM _taskex.run_%p"
	" WHERE customer_id = $1 AND NOT _taskex.run_ended(state)",
	2, {INT8OID, INT4OID}
};

static Statement note_one = {
	"INSERT INTO _taskex.run_open (partition_id, run_id) VALUES ($1, $2)",
	2, {INT4OID, INT8OID}
};

/* where to those go who are about to move */
typedef struct Destination
{
	int64		user_id;		/* hash key */
	int32		target;
} Destination;

static HTAB *destinations = NULL;

static bool
before_switch(int64 user_id, int32 source, int32 target)
{
	Datum		values[2] = {Int64GetDatum(user_id), Int32GetDatum(target)};
	Destination *destination;
	SpiScope	scope;

	if (destinations == NULL)
	{
		HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(Destination)};

		destinations = hash_create("taskex moves of runs", 16, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	destination = hash_search(destinations, &user_id, HASH_ENTER, NULL);
	destination->target = target;
	spi_begin(&scope);
	spi_run(&note_open, source, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
	return true;
}

static void
row_changed(int64 user_id, const char *table, TupleTableSlot *row)
{
	Destination *destination;
	Datum		values[2];
	SpiScope	scope;
	bool		ended;
	bool		isnull;

	if (destinations == NULL || strcmp(table, run_table.name) != 0)
		return;
	destination = hash_search(destinations, &user_id, HASH_FIND, NULL);
	(void) slot_getattr(row, RUN_FINISHED_AT, &isnull);
	ended = !isnull;
	if (destination == NULL || ended)
		return;
	values[0] = Int32GetDatum(destination->target);
	values[1] = slot_getattr(row, RUN_RUN_ID, &isnull);
	spi_begin(&scope);
	spi_run(&note_one, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

const MoveFollower workload_follower = {"workload", before_switch, row_changed, NULL};

/* ---- roles ---- */

PG_FUNCTION_INFO_V1(taskex_queue_role);

/* trigger on _taskex.directory, after an update of db_role */
Datum
taskex_queue_role(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	Datum		user;
	Datum		role;
	bool		no_role;
	bool		isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		elog(ERROR, "not called as a trigger of an update");
	if (!shmem_ready())
		return PointerGetDatum(NULL);
	desc = RelationGetDescr(trigger->tg_relation);
	user = SPI_getbinval(trigger->tg_newtuple, desc, SPI_fnumber(desc, "user_id"), &isnull);
	role = SPI_getbinval(trigger->tg_newtuple, desc, SPI_fnumber(desc, "db_role"), &no_role);
	queue_role_at_commit(DatumGetInt64(user), no_role ? InvalidOid : DatumGetObjectId(role));
	return PointerGetDatum(NULL);
}
