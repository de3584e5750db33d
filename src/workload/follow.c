/*
 * follow.c
 *	  Runs of a customer who moves to another storage partition.
 *
 * The queue knows runs by their customers, so it has nothing to learn of a move.
 * But a start looks for open runs only after run_low, or in run_open, and the
 * ids of those that come from elsewhere may be before run_low of the new
 * partition: so they are noted in run_open there, in the transactions that copy
 * them or before.  One noted for nothing does no harm.
 */
#include "postgres.h"

#include "workload/follow.h"
#include "infra/spi.h"
#include "workload/rows.h"

#include "catalog/pg_type.h"
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
