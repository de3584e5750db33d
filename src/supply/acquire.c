/*
 * acquire.c
 *	  Leasing slots of tasks for groups; give_back.c undoes it.
 *
 * All of it happens in the caller's transaction: rows first, then a record that
 * makes shared memory follow at commit.
 */
#include "postgres.h"

#include "supply/supply.h"
#include "supply/refill.h"
#include "base/clock.h"
#include "base/guc.h"
#include "infra/ids.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "market/market.h"
#include "market/shelf.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

/* $6: most slots in all, $7: of one task */
#define TAKE(condition) \
	"WITH l AS MATERIALIZED (SELECT task_id, least(coalesce(wanted, performers) - live, $7) AS n FROM _taskex.task_%p" \
	" WHERE task_id > $2 AND task_id <= $3 AND " condition \
	" AND state = 'open' AND live < coalesce(wanted, performers) AND expires_at > $4" \
	" AND _taskex.lives(requester_id, partition_id)" \
	" ORDER BY task_id LIMIT $5 FOR NO KEY UPDATE SKIP LOCKED)," \
	" c AS MATERIALIZED (SELECT task_id, least(n, $6 - before)::int AS n FROM" \
	"  (SELECT task_id, n, sum(n) OVER (ORDER BY task_id) - n AS before FROM l) s WHERE before < $6)" \
	" UPDATE _taskex.task_%p t SET live = live + c.n FROM c WHERE t.task_id = c.task_id" \
	" RETURNING t.task_id, c.n, t.requester_id, t.reward, t.created_at, t.expires_at, t.consensus IS NOT NULL," \
	" t.live < coalesce(t.wanted, t.performers), t.input, t.performers > 1"

static Statement take_of_type = {
	TAKE("task_type_id = $1"),
	7, {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT4OID}
};

static Statement take_of_requester = {
	TAKE("requester_id = $8 AND task_type_id = $1"),
	8, {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT4OID, INT8OID}
};

static Statement insert_lease = {
	"INSERT INTO _taskex.group_lease (group_id, task_type_id, watermark, task_ids, requester_ids, slots, taken_at, lease_until)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING lease_id",
	8, {INT4OID, INT8OID, INT8OID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

static Statement select_group = {
	"SELECT sharing = 'exclusive', coalesce(extract(epoch FROM lease)::float8, $2) FROM _taskex.performer_group WHERE group_id = $1",
	2, {INT4OID, FLOAT8OID}
};

/* beginning with whose turn it is, and their weights */
static Statement select_requesters = {
	"SELECT c.requester_id, coalesce(w.weight, 1) FROM (SELECT requester_id, requester_id < $2 AS later FROM _taskex.catalogue"
	" WHERE task_type_id = $1 AND magnitude >= 0 ORDER BY later, requester_id LIMIT $3) c"
	" LEFT JOIN _taskex.requester_weight w USING (requester_id) ORDER BY c.later, c.requester_id",
	3, {INT8OID, INT8OID, INT8OID}
};

/* most tasks that one statement takes */
#define TAKE_MAX 500

typedef struct Acquisition
{
	int32		group;
	int64		task_type;
	TimestampTz now;
	TimestampTz lease_until;
	bool		exclusive;
	int32		each;			/* most slots of one task */
	int32		taken;
	int			room;			/* tasks that can be added */
} Acquisition;

/*
 * Tasks that are taken along: of a requester or (0) of anybody on a partition.
 * From where the last refill ended to the end of its round, and then a new round up
 * to where that was.
 */
typedef struct TakeSource
{
	int64		requester;
	int32		partition;
	int32		weight;
	bool		begun;
	bool		done;			/* there is no more */
	int			part;			/* of the ways, the present one */
	struct
	{
		int64		after;
		int64		upto;
	}			ways[3];
} TakeSource;

static int
by_task(const void *a, const void *b)
{
	const NewTask *x = a;
	const NewTask *y = b;

	return x->task_id < y->task_id ? -1 : x->task_id > y->task_id;
}

/* one row of the last result */
static void
read_task(uint64 row, NewTask *task, MemoryContext context, bool *left)
{
	bool		isnull;
	Datum		input = spi_value(row, 9, &isnull);
	MemoryContext old;

	task->task_id = spi_int64(row, 1);
	task->slots = spi_int32(row, 2);
	task->requester = spi_int64(row, 3);
	task->reward = spi_int64(row, 4);
	task->created = DatumGetTimestampTz(spi_value(row, 5, &isnull));
	task->expires = DatumGetTimestampTz(spi_value(row, 6, &isnull));
	task->counted = DatumGetBool(spi_value(row, 7, &isnull));
	task->several = DatumGetBool(spi_value(row, 10, &isnull));
	task->barred = false;
	*left |= DatumGetBool(spi_value(row, 8, &isnull));
	task->input = NULL;
	old = MemoryContextSwitchTo(context);
	if (toast_raw_datum_size(input) <= guc_supply_input)
		task->input = (Jsonb *) PG_DETOAST_DATUM_COPY(input);
	MemoryContextSwitchTo(old);
}

static int64
record_lease(const Acquisition *a, const NewTask *tasks, int count)
{
	Datum	   *ids = palloc(sizeof(Datum) * count);
	Datum	   *slots = palloc(sizeof(Datum) * count);
	Datum	   *requesters = palloc(sizeof(Datum) * count);
	Datum		values[8];
	SpiScope	scope;
	int64		lease_id;

	for (int i = 0; i < count; i++)
	{
		ids[i] = Int64GetDatum(tasks[i].task_id);
		requesters[i] = Int64GetDatum(tasks[i].requester);
		slots[i] = Int32GetDatum(tasks[i].slots);
	}
	values[0] = Int32GetDatum(a->group);
	values[1] = Int64GetDatum(a->task_type);
	/* assignments from this lease have higher ids */
	values[2] = Int64GetDatum(ids_next(ID_ASSIGNMENT, 1));
	values[3] = PointerGetDatum(construct_array(ids, count, INT8OID, 8, true, TYPALIGN_DOUBLE));
	values[4] = PointerGetDatum(construct_array(requesters, count, INT8OID, 8, true, TYPALIGN_DOUBLE));
	values[5] = PointerGetDatum(construct_array(slots, count, INT4OID, 4, true, TYPALIGN_INT));
	values[6] = TimestampTzGetDatum(a->now);
	values[7] = TimestampTzGetDatum(a->lease_until);
	spi_begin(&scope);
	spi_run(&insert_lease, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	lease_id = spi_int64(0, 1);
	spi_end(&scope);
	return lease_id;
}

/* false: nothing can be had there */
static bool
source_begin(const Acquisition *a, TakeSource *source)
{
	RefillCursor at;
	int64		low;
	int64		high;

	if (source->begun)
		return !source->done;
	source->begun = true;
	source->done = !feed_extent(a->task_type, source->partition, &low, &high);
	if (source->done)
		return false;
	if (!stock_cursor(a->group, a->task_type, source->partition, source->requester, &at))
		at.cursor = at.upto = low;
	at.upto = Max(Min(at.upto, high), low);
	at.cursor = Min(Max(at.cursor, low), at.upto);
	source->ways[0].after = at.cursor;
	source->ways[0].upto = at.upto;
	source->ways[1].after = low;
	source->ways[1].upto = at.cursor;
	source->ways[2].after = at.upto;
	source->ways[2].upto = high;
	return true;
}

/* the next refill goes on from here; a new round comes to what is there now */
static void
source_end(const Acquisition *a, const TakeSource *source)
{
	int			part = Min(source->part, 2);
	RefillCursor at = {source->ways[part].after, source->ways[part == 0 ? 0 : 2].upto};

	stock_set_cursor(a->group, a->task_type, source->partition, source->requester, &at);
}

/* takes along the source; returns how many tasks, and adds to the slots */
static int
take_along(const Acquisition *a, TakeSource *source, NewTask *tasks, int room, int32 wanted, int32 *slots, bool *left,
		   MemoryContext context)
{
	int			count = 0;

	while (*slots < wanted && count < room && source->part < 3)
	{
		Datum		values[8];
		SpiScope	scope;
		int			limit = Min(Min((wanted - *slots + a->each - 1) / a->each, TAKE_MAX), room - count);
		int			found = 0;

		if (source->ways[source->part].after < source->ways[source->part].upto)
		{
			values[0] = Int64GetDatum(a->task_type);
			values[1] = Int64GetDatum(source->ways[source->part].after);
			values[2] = Int64GetDatum(source->ways[source->part].upto);
			values[3] = TimestampTzGetDatum(a->now);
			values[4] = Int64GetDatum(limit);
			values[5] = Int64GetDatum(wanted - *slots);
			values[6] = Int32GetDatum(a->each);
			values[7] = Int64GetDatum(source->requester);
			spi_begin(&scope);
			found = (int) spi_run(source->requester ? &take_of_requester : &take_of_type, source->partition, values, NULL, SPI_VIEW_CURRENT, 0);
			for (int i = 0; i < found; i++, count++)
			{
				read_task(i, &tasks[count], context, left);
				*slots += tasks[count].slots;
				source->ways[source->part].after = Max(source->ways[source->part].after, tasks[count].task_id);
			}
			spi_end(&scope);
		}
		if (found < limit && *slots < wanted)
			source->part++;
	}
	source->done = source->part == 3;
	return count;
}

/* takes slots as one batch; returns how many */
static int32
take_on(Acquisition *a, TakeSource *source, int32 wanted)
{
	NewBatch	batch = {.group = a->group,.task_type = a->task_type,
	.exclusive = a->exclusive,.lease_until = a->lease_until};
	int			room = Min(wanted, a->room);
	int32		taken = 0;
	bool		left = false;

	if (room <= 0 || !source_begin(a, source))
		return 0;
	batch.tasks = palloc(sizeof(NewTask) * room);
	batch.count = take_along(a, source, batch.tasks, room, wanted, &taken, &left, CurrentMemoryContext);
	source_end(a, source);
	if (batch.count > 0)
	{
		qsort(batch.tasks, batch.count, sizeof(NewTask), by_task);
		feed_took_some(a->task_type, source->partition, batch.tasks[0].task_id, batch.tasks[batch.count - 1].task_id,
					   batch.count, left);
		batch.lease_id = record_lease(a, batch.tasks, batch.count);
		wait_point("group_lease");
		if (!stock_add(&batch, false))
			ereport(ERROR,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("there is no room for more supplies"),
					 errhint("Raise taskex.supply_size or taskex.max_supplies and restart the server.")));
	}
	a->taken += taken;
	a->room -= batch.count;
	return taken;
}

/* those that the catalogue knows, beginning with whose turn it is */
static int
list_requesters(const Acquisition *a, int64 turn, int32 wanted, TakeSource **sources)
{
	Datum		values[3] = {Int64GetDatum(a->task_type), Int64GetDatum(turn), Int64GetDatum(wanted)};
	MemoryContext context = CurrentMemoryContext;
	SpiScope	scope;
	int			count;

	spi_begin(&scope);
	count = (int) spi_run(&select_requesters, 0, values, NULL, SPI_VIEW_LATEST, wanted);
	*sources = MemoryContextAllocZero(context, sizeof(TakeSource) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		(*sources)[i].requester = spi_int64(i, 1);
		(*sources)[i].weight = spi_int32(i, 2);
	}
	spi_end(&scope);
	return count;
}

/* what is left of a requester's turn once it has made up for what he had before it */
static int32
make_up(const Acquisition *a, int64 requester, int32 share)
{
	RefillTurn	ahead = stock_turn(a->group, a->task_type, TURN_AHEAD);

	if (ahead.requester != requester || ahead.slots == 0)
		return share;
	stock_set_turn(a->group, a->task_type, TURN_AHEAD, requester, Max(ahead.slots - share, 0));
	return Max(share - ahead.slots, 0);
}

/* one turn of each; false: nobody had anything */
static bool
take_turns(Acquisition *a, TakeSource *sources, int count, int32 wanted, int32 times, RefillTurn turn)
{
	bool		any = false;

	for (int i = 0; i < count && a->taken < wanted && a->room > 0; i++)
	{
		TakeSource *source = &sources[i];
		int32		share = source->weight * times;
		int32		got;

		if (source->done)
			continue;
		if (turn.slots > 0 && source->requester == turn.requester)
			share = Min(share, turn.slots);
		share = make_up(a, source->requester, share);
		if (share == 0)
		{
			stock_set_turn(a->group, a->task_type, TURN_PRESENT, source->requester, 0);
			continue;
		}
		if (!source->begun)
		{
			UserHome	home;

			directory_home_by_id(source->requester, &home);
			source->partition = home.partition;
		}
		got = take_on(a, source, Min(share, wanted - a->taken));
		any |= got > 0;
		/* who has no more tasks gives up what is left of his turn */
		stock_set_turn(a->group, a->task_type, TURN_PRESENT, source->requester, source->done ? 0 : share - got);
	}
	return any;
}

/*
 * A turn is worth the requester's weight in slots, or so many times that as lets
 * all have one in the batch; what is left of one when the batch is full comes first in the next.
 * So nobody with tasks of the type waits while another gets more than his
 * weighted share and one batch.
 */
static void
take_by_requesters(Acquisition *a, int32 wanted)
{
	bool		any = true;

	while (any && a->taken < wanted && a->room > 0)
	{
		TakeSource *sources;
		RefillTurn	turn = stock_turn(a->group, a->task_type, TURN_PRESENT);
		int			count = list_requesters(a, turn.slots > 0 ? turn.requester : turn.requester + 1, wanted, &sources);
		int64		weights = 0;
		int32		times;

		for (int i = 0; i < count; i++)
			weights += sources[i].weight;
		times = (int32) Max(wanted / Max(weights, 1), 1);
		any = count > 1;		/* else there is nobody to be fair to */
		while (any && a->taken < wanted && a->room > 0)
		{
			any = take_turns(a, sources, count, wanted, times, turn);
			turn.slots = 0;
			if (count == wanted)
				break;			/* there are more, who come first */
		}
		pfree(sources);
	}
}

/* whoever's they are, from all storage partitions */
static void
take_rest(Acquisition *a, int32 wanted)
{
	Shelf	  **shelves;
	int			count = feed_shelves(a->task_type, &shelves);
	TakeSource *sources = palloc0(sizeof(TakeSource) * Max(count, 1));

	for (int round = 0; round < 2; round++)
		for (int i = 0; i < count && a->taken < wanted; i++)
		{
			int32		share = round > 0 ? wanted - a->taken : (wanted - a->taken + count - i - 1) / (count - i);

			sources[i].partition = shelves[i]->key.partition;
			if (feed_shelf_type(shelves[i]) == a->task_type)
				(void) take_on(a, &sources[i], share);
		}
	pfree(sources);
	pfree(shelves);
}

static void
acquisition_begin(Acquisition *a, int32 wanted)
{
	Datum		values[2] = {Int32GetDatum(a->group), Float8GetDatum(guc_supply_lease)};
	SpiScope	scope;
	double		seconds;
	bool		isnull;

	supply_require_loaded();
	a->now = clock_now();
	spi_begin(&scope);
	if (spi_run(&select_group, 0, values, NULL, SPI_VIEW_CURRENT, 1) == 0)
		elog(ERROR, "group %d does not exist", a->group);
	a->exclusive = DatumGetBool(spi_value(0, 1, &isnull));
	seconds = DatumGetFloat8(spi_value(0, 2, &isnull));
	spi_end(&scope);
	a->lease_until = a->now + (int64) (seconds * USECS_PER_SEC);
	a->room = stock_room(a->group, a->task_type, wanted);
}

PG_FUNCTION_INFO_V1(taskex_supply_acquire_of);

/*
 * _taskex.supply_acquire_of(group_id, task_type_id, slots, each, requester_id) -> int
 *
 * Before his turn, so his next ones make up for it; until they have, nobody else
 * gets something before his.
 */
Datum
taskex_supply_acquire_of(PG_FUNCTION_ARGS)
{
	Acquisition a = {.group = PG_GETARG_INT32(0),.task_type = PG_GETARG_INT64(1),.each = Max(PG_GETARG_INT32(3), 1)};
	int32		wanted = PG_GETARG_INT32(2);
	TakeSource	source = {.requester = PG_GETARG_INT64(4)};
	UserHome	home;
	TakeSource *all;
	bool		others;

	acquisition_begin(&a, wanted);
	others = list_requesters(&a, 0, 2, &all) > 1;
	if (others && stock_turn(a.group, a.task_type, TURN_AHEAD).slots > 0)
		PG_RETURN_INT32(0);
	directory_home_by_id(source.requester, &home);
	source.partition = home.partition;
	(void) take_on(&a, &source, wanted);
	stock_set_turn(a.group, a.task_type, TURN_AHEAD, source.requester, others ? a.taken : 0);
	PG_RETURN_INT32(a.taken);
}

PG_FUNCTION_INFO_V1(taskex_supply_acquire);

/* _taskex.supply_acquire(group_id, task_type_id, slots, each) -> int */
Datum
taskex_supply_acquire(PG_FUNCTION_ARGS)
{
	Acquisition a = {.group = PG_GETARG_INT32(0),.task_type = PG_GETARG_INT64(1),.each = Max(PG_GETARG_INT32(3), 1)};
	int32		wanted = PG_GETARG_INT32(2);

	acquisition_begin(&a, wanted);
	if (a.room > 0)
		take_by_requesters(&a, wanted);
	if (a.taken < wanted)
		take_rest(&a, wanted);
	PG_RETURN_INT32(a.taken);
}
