/*
 * link.c
 *	  Runs that wait for others to succeed.
 */
#include "postgres.h"

#include "workload/run.h"
#include "base/clock.h"
#include "infra/spi.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static Statement take_links = {
	"WITH gone AS (DELETE FROM _taskex.run_link_%p WHERE run_id = $1 RETURNING follower_id)"
	" SELECT follower_id FROM gone ORDER BY 1",
	1, {INT8OID}
};

static Statement delete_links = {
	"DELETE FROM _taskex.run_link_%p WHERE follower_id = $1",
	1, {INT8OID}
};

/* those that wait for the run, which do so no more */
static int64 *
followers_of(const UserHome *customer, int64 run_id, uint64 *count)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		value = Int64GetDatum(run_id);
	SpiScope	scope;
	int64	   *ids;

	spi_begin(&scope);
	*count = spi_run(&take_links, customer->partition, &value, NULL, SPI_VIEW_CURRENT, 0);
	ids = MemoryContextAlloc(context, sizeof(int64) * Max(*count, 1));
	for (uint64 i = 0; i < *count; i++)
		ids[i] = spi_int64(i, 1);
	spi_end(&scope);
	return ids;
}

void
links_forget(const UserHome *customer, int64 run_id)
{
	Datum		value = Int64GetDatum(run_id);
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&delete_links, customer->partition, &value, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

/* one of those that it waited for has succeeded */
static void
unblock(Child *run, const UserHome *customer)
{
	static const int columns[2] = {RUN_BLOCKERS, RUN_STATE};
	int32		blockers = child_int32(run, RUN_BLOCKERS) - 1;
	bool		later = !run_is_null(run, RUN_RUN_AT) && child_int64(run, RUN_RUN_AT) > clock_now();
	bool		goes = blockers == 0 && child_text_is(run, RUN_STATE, "blocked");
	Datum		values[2] = {Int32GetDatum(blockers), CStringGetTextDatum(later ? "delayed" : "ready")};
	bool		nulls[2] = {false, false};

	/* one that is suspended is resumed by nobody but who may */
	child_update(run, goes ? 2 : 1, columns, values, nulls);
	if (!goes)
		return;
	if (later)
		run_make_ready_at(run, customer, child_int64(run, RUN_RUN_AT));
	else
		run_make_ready(run);
}

/* true: it was cancelled with it, and has followers itself */
static bool
settle_one(Child *table, const UserHome *customer, int64 follower, int64 run_id, bool succeeded)
{
	bool		isnull;

	if (child_lock(table, follower, true) != ROW_LOCKED || child_int32(table, RUN_BLOCKERS) == 0)
		return false;
	if (succeeded)
	{
		unblock(table, customer);
		return false;
	}
	links_forget(customer, follower);
	run_cancel(table, customer, run_error(psprintf("run %lld, after which it was to come, was cancelled", (long long) run_id)));
	return DatumGetBool(slot_getattr(table->slot, RUN_FOLLOWED, &isnull));
}

void
links_settle(const UserHome *customer, int64 run_id, bool succeeded)
{
	int64	   *ids = palloc(sizeof(int64));
	int			room = 1;
	int			count = 1;
	Child		table;

	ids[0] = run_id;
	child_open(&table, &run_table, customer->partition);
	for (int next = 0; next < count; next++)
	{
		uint64		follower_count;
		int64	   *followers = followers_of(customer, ids[next], &follower_count);

		for (uint64 i = 0; i < follower_count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (!settle_one(&table, customer, followers[i], ids[next], succeeded))
				continue;
			if (count == room)
				ids = repalloc(ids, sizeof(int64) * (room *= 2));
			ids[count++] = followers[i];
		}
	}
	child_close(&table);
}
