/*
 * follow.c
 *	  What is offered and what is due of a user who moves.
 *
 * The tasks of a requester that are open are on shelves of his old storage
 * partition, and must be on those of the new one when he lives there; so must
 * leases, reviews and expiries be within reach of the cursors there.
 *
 * Which tasks are open is read before the switch, from all of his rows; what
 * changes afterwards the mover tells row by row.  At the switch a range of task
 * ids for each type is offered on the new partition, as for tasks that are opened
 * again.  Other tasks in the range are passed by, once.  On the old partition
 * nobody takes his tasks any more for available (moves_lives), so that its shelves
 * forget them by themselves.
 */
#include "postgres.h"

#include "market/follow.h"
#include "directory/moves.h"
#include "infra/spi.h"
#include "market/market.h"
#include "market/rows.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

static Statement select_open = {
	"SELECT task_type_id, min(task_id), max(task_id) FROM _taskex.task_%p"
	" WHERE requester_id = $1 AND state = 'open' GROUP BY 1",
	1, {INT8OID}
};

/* open tasks of a type lie between these */
typedef struct OpenTasks
{
	int64		task_type;		/* hash key; negative: golden ones */
	int64		first;
	int64		last;
} OpenTasks;

/* of a user whose home is about to change */
typedef struct Following
{
	int64		user_id;
	MemoryContext context;		/* of this and its table */
	HTAB	   *types;
	struct Following *next;
} Following;

static Following *followings = NULL;

static Following *
find_following(int64 user_id)
{
	for (Following *following = followings; following; following = following->next)
		if (following->user_id == user_id)
			return following;
	return NULL;
}

/* those of this user, and of others who do not move any more */
static void
forget_followings(int64 user_id)
{
	Following **link = &followings;

	while (*link)
	{
		Following  *following = *link;

		if (following->user_id == user_id || !moves_moving(following->user_id))
		{
			*link = following->next;
			MemoryContextDelete(following->context);
		}
		else
			link = &following->next;
	}
}

static void
add_open(Following *following, int64 task_type, int64 first, int64 last)
{
	bool		found;
	OpenTasks  *open = hash_search(following->types, &task_type, HASH_ENTER, &found);

	open->first = found ? Min(open->first, first) : first;
	open->last = found ? Max(open->last, last) : last;
}

static Following *
follow(int64 user_id, int32 source)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "taskex open tasks", ALLOCSET_SMALL_SIZES);
	Following  *following = MemoryContextAlloc(context, sizeof(Following));
	HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(OpenTasks),.hcxt = context};
	Datum		value = Int64GetDatum(user_id);
	SpiScope	scope;
	uint64		count;

	forget_followings(user_id);
	following->user_id = user_id;
	following->context = context;
	following->types = hash_create("taskex open tasks", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	following->next = followings;
	followings = following;

	spi_begin(&scope);
	count = spi_run(&select_open, source, &value, NULL, SPI_VIEW_CURRENT, 0);
	for (uint64 i = 0; i < count; i++)
		add_open(following, spi_int64(i, 1), spi_int64(i, 2), spi_int64(i, 3));
	spi_end(&scope);
	return following;
}

/* an error leaves what is not complete: it must not be taken for all */
static bool
before_switch(int64 user_id, int32 source, int32 target)
{
	PG_TRY();
	{
		(void) follow(user_id, source);
	}
	PG_CATCH();
	{
		forget_followings(user_id);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return true;
}

static void
row_changed(int64 user_id, const char *table, TupleTableSlot *row)
{
	Following  *following = find_following(user_id);
	bool		isnull;
	int64		task_id;

	if (following == NULL || strcmp(table, task_table.name) != 0 ||
		strcmp(TextDatumGetCString(slot_getattr(row, TASK_STATE, &isnull)), "open") != 0)
		return;
	task_id = DatumGetInt64(slot_getattr(row, TASK_TASK_ID, &isnull));
	add_open(following, DatumGetInt64(slot_getattr(row, TASK_TASK_TYPE_ID, &isnull)), task_id, task_id);
}

static void
at_switch(int64 user_id, int32 source, int32 target)
{
	Following  *following = find_following(user_id);
	HASH_SEQ_STATUS status;
	OpenTasks  *open;
	FeedMove	move;

	if (following == NULL)
		following = follow(user_id, source);	/* slow, but right */
	feed_move_begin(&move, target, hash_get_num_entries(following->types));
	hash_seq_init(&status, following->types);
	while ((open = hash_seq_search(&status)) != NULL)
		feed_move_add(&move, open->task_type, open->first, open->last);
	feed_move_end(&move);
	for (int kind = 0; kind < DUE_KINDS; kind++)
		due_follow(source, target, kind);
}

const MoveFollower market_follower = {"market", before_switch, row_changed, at_switch};

PG_FUNCTION_INFO_V1(taskex_lives);

/* _taskex.lives(user_id, partition_id) -> boolean */
Datum
taskex_lives(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(moves_lives(PG_GETARG_INT64(0), PG_GETARG_INT32(1),
							   ActiveSnapshotSet() ? GetActiveSnapshot() : NULL));
}
