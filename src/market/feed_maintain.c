/*
 * feed_maintain.c
 *	  Background work on the shelves.
 *
 * For each shelf where tasks were taken: its low moves on to the first task
 * that still has a slot, ranges in which nothing is left are struck off, busy
 * tasks are offered again, and now and then the stored low moves on to the
 * first task that is still open.  A shelf where all is closed is marked idle on
 * record, so that a restart does not list it.
 */
#include "postgres.h"

#include "market/shelf.h"
#include "infra/ids.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "market/market.h"

#include "catalog/pg_type.h"

/* rounds after which the stored low of an idle shelf is looked at */
#define IDLE_ROUNDS 60

static Statement first_available = {
	"SELECT task_id FROM _taskex.task_%p WHERE task_type_id = $1"
	" AND task_id > $2 AND task_id <= $3 AND state = 'open' AND live < coalesce(wanted, performers)"
	" AND _taskex.lives(requester_id, partition_id) ORDER BY task_id LIMIT 1",
	3, {INT8OID, INT8OID, INT8OID}
};

static Statement first_open = {
	"SELECT task_id FROM _taskex.task_%p WHERE task_type_id = $1"
	" AND task_id > $2 AND task_id <= $3 AND state = 'open'"
	" AND _taskex.lives(requester_id, partition_id) ORDER BY task_id LIMIT 1",
	3, {INT8OID, INT8OID, INT8OID}
};

static Statement store_low = {
	"UPDATE _taskex.offer SET low = greatest(low, $3)"
	" WHERE task_type_id = $1 AND partition_id = $2 AND merged = $4",
	4, {INT8OID, INT4OID, INT8OID, INT8OID}
};

static Statement select_merged = {
	"SELECT merged FROM _taskex.offer WHERE task_type_id = $1 AND partition_id = $2",
	2, {INT8OID, INT4OID}
};

static Statement store_idle = {
	"UPDATE _taskex.offer SET idle = true"
	" WHERE task_type_id = $1 AND partition_id = $2 AND merged = $3",
	3, {INT8OID, INT4OID, INT8OID}
};

static Statement any_note = {
	"SELECT 1 FROM _taskex.offer_note LIMIT 1", 0, {0}
};

static Statement merge_notes = {
	"WITH notes AS (DELETE FROM _taskex.offer_note RETURNING task_type_id, partition_id, low)"
	" INSERT INTO _taskex.offer AS o (task_type_id, partition_id, low)"
	" SELECT n.task_type_id, n.partition_id,"
	"  CASE WHEN count(p.task_type_id) = 0 THEN 0 ELSE coalesce(min(n.low), 9223372036854775807) END"
	" FROM notes n LEFT JOIN _taskex.offer p USING (task_type_id, partition_id) GROUP BY 1, 2"
	" ON CONFLICT (task_type_id, partition_id)"
	" DO UPDATE SET idle = false, merged = o.merged + 1, low = least(o.low, excluded.low)"
	" RETURNING task_type_id, partition_id, low",
	0, {0}
};

/* the first id in the window that the statement finds, else upto + 1 */
static int64
first_in(Statement *statement, const Shelf *shelf, int64 after, int64 upto)
{
	Datum		values[3] = {Int64GetDatum(shelf->key.task_type),
	Int64GetDatum(after), Int64GetDatum(upto)};
	SpiScope	scope;
	int64		id = upto + 1;

	if (after >= upto)
		return id;
	spi_begin(&scope);
	if (spi_run(statement, shelf->key.partition, values, NULL, SPI_VIEW_LATEST, 1) > 0)
		id = spi_int64(0, 1);
	spi_end(&scope);
	return id;
}

static void
move_low(Shelf *shelf)
{
	int64		low;
	int64		high;
	int64		first;
	uint64		generation;

	SpinLockAcquire(&shelf->mutex);
	low = shelf->low;
	high = shelf->high;
	generation = shelf->generation;
	shelf->taken = 0;
	SpinLockRelease(&shelf->mutex);

	first = first_in(&first_available, shelf, low, high);

	/* a range of later than our snapshot may have given way already */
	SpinLockAcquire(&shelf->mutex);
	if (shelf->low == low && shelf->generation - generation < SHELF_RANGES)
		shelf->low = Max(low, first - 1);
	shelf_changed(shelf);
	SpinLockRelease(&shelf->mutex);
}

/* which of all ranges is at place i of the ring; mutex held */
static uint64
range_number(const Shelf *shelf, int i)
{
	return shelf->generation - (shelf->generation - i) % SHELF_RANGES;
}

/* narrows the ranges to what is left of them */
static void
clean_ranges(Shelf *shelf)
{
	for (int i = 0; i < SHELF_RANGES; i++)
	{
		Range		range;
		int64		first;
		uint64		number;

		SpinLockAcquire(&shelf->mutex);
		range = shelf->ranges[i];
		number = range_number(shelf, i);
		SpinLockRelease(&shelf->mutex);
		if (range.hi == 0)
			continue;

		first = first_in(&first_available, shelf, range.lo - 1, range.hi);
		if (first == range.lo)
			continue;

		SpinLockAcquire(&shelf->mutex);
		if (range_number(shelf, i) == number &&
			shelf->ranges[i].lo == range.lo && shelf->ranges[i].hi == range.hi)
		{
			if (first > range.hi)
				shelf_strike_range(shelf, &shelf->ranges[i]);
			else
				shelf->ranges[i].lo = first;
			shelf_changed(shelf);
		}
		SpinLockRelease(&shelf->mutex);
	}
}

static void
offer_busy(Shelf *shelf)
{
	SpinLockAcquire(&shelf->mutex);
	for (int i = 0; i < shelf->busy_count; i++)
		shelf_add_range(shelf, shelf->busy[i], shelf->busy[i]);
	shelf->busy_count = 0;
	shelf_changed(shelf);
	SpinLockRelease(&shelf->mutex);
}

/* raises the stored low as far as all is closed, up to the barrier */
static void
store_durable(Shelf *shelf, int64 barrier)
{
	Datum		values[4] = {Int64GetDatum(shelf->key.task_type), Int32GetDatum(shelf->key.partition)};
	SpiScope	scope;
	int64		durable;
	int64		low;

	spi_begin(&scope);
	if (spi_run(&select_merged, 0, values, NULL, SPI_VIEW_LATEST, 1) == 1)
	{
		/*
		 * In this order: a task that was reopened, and merged, since is seen by
		 * "merged"; one that was merged before is seen in the table.
		 */
		values[3] = Int64GetDatum(spi_int64(0, 1));
		SpinLockAcquire(&shelf->mutex);
		durable = shelf->durable;
		SpinLockRelease(&shelf->mutex);
		low = first_in(&first_open, shelf, durable, barrier) - 1;
		wait_point("store_low");
		if (low > durable)
		{
			values[2] = Int64GetDatum(low);
			if (spi_run(&store_low, 0, values, NULL, SPI_VIEW_CURRENT, 0) == 1)
			{
				SpinLockAcquire(&shelf->mutex);
				if (shelf->durable == durable)
					shelf->durable = low;
				SpinLockRelease(&shelf->mutex);
			}
		}
	}
	spi_end(&scope);
}

/*
 * Moves the stored low, in two rounds.  The first one begins a new epoch of
 * supplying transactions and notes the highest id allocated before; when all
 * transactions of the old epoch have ended, the ids up to that one are decided
 * and the stored low may pass them as far as they are closed.
 */
static void
move_durable(Shelf *shelf)
{
	int64		allocated = task_id_bound(ids_peek(ID_TASK));
	int64		barrier = 0;
	int64		durable;

	SpinLockAcquire(&shelf->mutex);
	durable = shelf->durable;
	if (shelf->barrier == 0)
	{
		/* begin only when the bucket of the new epoch is empty */
		if (shelf->supplying[(shelf->epoch + 1) % 2] == 0)
		{
			shelf->epoch++;
			shelf->barrier = allocated;
		}
	}
	else if (shelf->supplying[(shelf->epoch + 1) % 2] == 0)
	{
		barrier = Min(shelf->barrier, shelf->high);
		shelf->barrier = 0;
		shelf->taken_durable = 0;
	}
	SpinLockRelease(&shelf->mutex);

	if (barrier > durable)
		store_durable(shelf, barrier);
}

/*
 * Takes the shelf off the record when all its tasks are closed; whoever
 * supplies there notes it again.  A note that is merged meanwhile is seen by
 * "merged", one that is not yet outlives this.
 */
static void
retire(Shelf *shelf)
{
	Datum		values[3] = {Int64GetDatum(shelf->key.task_type), Int32GetDatum(shelf->key.partition)};
	SpiScope	scope;
	bool		unused = false;

	spi_begin(&scope);
	if (spi_run(&select_merged, 0, values, NULL, SPI_VIEW_LATEST, 1) == 1)
	{
		values[2] = Int64GetDatum(spi_int64(0, 1));

		SpinLockAcquire(&shelf->mutex);
		unused = shelf->durable >= shelf->high &&
			shelf->supplying[0] == 0 && shelf->supplying[1] == 0;
		if (unused)
		{
			shelf->registered = false;
			shelf->retired = true;
		}
		SpinLockRelease(&shelf->mutex);
	}
	if (unused)
		spi_run(&store_idle, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

/*
 * Merges the notes.  Who reopened a task has perhaps not come to tell its shelf
 * yet, so what he lowered is lowered here, too, before anybody raises it.
 */
static void
merge(void)
{
	SpiScope	scope;
	uint64		count = 0;

	spi_begin(&scope);
	if (spi_run(&any_note, 0, NULL, NULL, SPI_VIEW_LATEST, 1) > 0)
		count = spi_run(&merge_notes, 0, NULL, NULL, SPI_VIEW_CURRENT, 0);
	for (uint64 i = 0; i < count; i++)
	{
		ShelfKey	key;
		Shelf	   *shelf;

		shelf_key(&key, spi_int64(i, 1), spi_int32(i, 2));
		shelf = shelf_pin_known(&key);
		if (shelf == NULL)
			continue;
		SpinLockAcquire(&shelf->mutex);
		shelf_lower_durable(shelf, spi_int64(i, 3));
		shelf->retired = false;
		shelf->pins--;
		SpinLockRelease(&shelf->mutex);
	}
	spi_end(&scope);
}

static void
maintain(Shelf *shelf)
{
	if (!shelf->loaded)
		return;
	if (shelf->busy_count > 0)
		offer_busy(shelf);
	if (shelf->taken > 0)
	{
		move_low(shelf);
		clean_ranges(shelf);
	}
	/* a shelf that rests is looked at now and then until all is closed */
	if (shelf_is_idle(shelf) && shelf->durable < shelf->high)
		shelf->taken_durable += TAKEN_DURABLE / IDLE_ROUNDS;
	if (shelf->taken_durable >= TAKEN_DURABLE || shelf->barrier != 0)
		move_durable(shelf);
	if (!shelf->retired && shelf->durable >= shelf->high)
		retire(shelf);
}

void
feed_maintain(void)
{
	merge();
	shelf_each(maintain);
}
