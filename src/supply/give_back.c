/*
 * give_back.c
 *	  Slots that groups have leased go back to their tasks, leases that are used
 *	  up are forgotten, and others prolonged.
 *
 * All of it happens in the caller's transaction: rows first, then a record that
 * makes shared memory follow at commit.
 */
#include "postgres.h"

#include "supply/supply.h"
#include "base/clock.h"
#include "infra/child.h"
#include "infra/spi.h"
#include "journal/journal.h"
#include "market/feed.h"
#include "market/market.h"
#include "market/rows.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"

static Statement give_back_open = {
	"WITH g AS MATERIALIZED (SELECT task_id, sum(n)::int AS n FROM unnest($1, $2) AS u (task_id, n) GROUP BY task_id),"
	" l AS MATERIALIZED (SELECT t.task_id FROM _taskex.task_%p t WHERE t.task_id = ANY ($1) AND t.state = 'open' AND t.task_type_id = $3"
	"  ORDER BY t.task_id FOR NO KEY UPDATE SKIP LOCKED)"
	" UPDATE _taskex.task_%p t SET live = live - g.n FROM g, l WHERE l.task_id = g.task_id AND t.task_id = g.task_id"
	" RETURNING t.task_id",
	3, {INT8ARRAYOID, INT4ARRAYOID, INT8OID}
};

static Statement insert_recalls = {
	"INSERT INTO _taskex.group_recall (lease_id, task_ids, slots)"
	" SELECT lease_id, array_agg(task_id), array_agg(n) FROM unnest($1, $2, $3) AS u (lease_id, task_id, n) WHERE n > 0 GROUP BY lease_id",
	3, {INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID}
};

#define GIVE_BACK_MAX 500

static ArrayType *
int8_array(const int64 *values, int count)
{
	Datum	   *datums = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		datums[i] = Int64GetDatum(values[i]);
	return construct_array(datums, count, INT8OID, 8, true, TYPALIGN_DOUBLE);
}

static ArrayType *
int4_array(const int64 *values, int count)
{
	Datum	   *datums = palloc(sizeof(Datum) * Max(count, 1));

	for (int i = 0; i < count; i++)
		datums[i] = Int32GetDatum((int32) values[i]);
	return construct_array(datums, count, INT4OID, 4, true, TYPALIGN_INT);
}

/* marks those of the partition whose tasks are open and whose rows could be had */
static void
give_back_on(int32 partition, int64 task_type, const SupplyReturn *returns, bool *done, int count)
{
	int64		ids[GIVE_BACK_MAX];
	int64		slots[GIVE_BACK_MAX];
	Datum		values[3];
	SpiScope	scope;
	uint64		found;
	int64		first = PG_INT64_MAX;
	int64		last = 0;
	int			n = 0;

	for (int i = 0; i < count; i++)
		if (returns[i].partition == partition)
		{
			ids[n] = returns[i].task_id;
			slots[n++] = returns[i].slots;
		}
	values[0] = PointerGetDatum(int8_array(ids, n));
	values[1] = PointerGetDatum(int4_array(slots, n));
	values[2] = Int64GetDatum(task_type);
	spi_begin(&scope);
	found = spi_run(&give_back_open, partition, values, NULL, SPI_VIEW_CURRENT, 0);
	for (uint64 row = 0; row < found; row++)
	{
		int64		task_id = spi_int64(row, 1);

		for (int i = 0; i < count; i++)
			if (returns[i].task_id == task_id)
				done[i] = true;
		first = Min(first, task_id);
		last = Max(last, task_id);
	}
	if (found > 0)
		feed_reoffer_some(task_type, partition, first, last);
	spi_end(&scope);
}

/* of a task that is closed, or whose row was busy a moment ago */
static bool
give_back_one(const SupplyReturn *back)
{
	Child		tasks;
	bool		had;

	child_open(&tasks, &task_table, back->partition);
	had = child_lock(&tasks, back->task_id, false) == ROW_LOCKED;
	if (had)
	{
		UserHome	requester;
		JournalAct	act = {.kind = "released",.task_id = back->task_id};

		directory_home_by_id(child_int64(&tasks, TASK_REQUESTER_ID), &requester);
		act.requester_id = requester.user_id;
		act.task_type_id = child_int64(&tasks, TASK_TASK_TYPE_ID);
		act.amount = slots_free(&requester, back->task_id, back->slots);
		if (act.amount >= 0)
		{
			act.detail = journal_slots(back->slots);
			journal_write(&act);
		}
	}
	child_close(&tasks);
	return had;
}

static void
record_returns(const SupplyReturn *returns, const bool *done, int count)
{
	int64		leases[GIVE_BACK_MAX];
	int64		ids[GIVE_BACK_MAX];
	int64		slots[GIVE_BACK_MAX];
	Datum		values[3];
	SpiScope	scope;
	int			n = 0;

	for (int i = 0; i < count; i++)
		if (done[i])
		{
			leases[n] = returns[i].lease_id;
			ids[n] = returns[i].task_id;
			slots[n++] = returns[i].slots;
		}
	if (n == 0)
		return;
	values[0] = PointerGetDatum(int8_array(leases, n));
	values[1] = PointerGetDatum(int8_array(ids, n));
	values[2] = PointerGetDatum(int4_array(slots, n));
	spi_begin(&scope);
	spi_run(&insert_recalls, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

PG_FUNCTION_INFO_V1(taskex_supply_give_back);

/* _taskex.supply_give_back(group_id, task_type_id, keep) -> int: slots */
Datum
taskex_supply_give_back(PG_FUNCTION_ARGS)
{
	SupplyReturn *returns = palloc(sizeof(SupplyReturn) * GIVE_BACK_MAX);
	bool	   *done = palloc0(sizeof(bool) * GIVE_BACK_MAX);
	bool	   *seen = palloc0(sizeof(bool) * GIVE_BACK_MAX);
	int32		slots = 0;
	int			count;

	supply_require_loaded();
	count = stock_withdraw(PG_GETARG_INT32(0), PG_GETARG_INT64(1), PG_GETARG_INT32(2), clock_now(), returns, GIVE_BACK_MAX);
	for (int i = 0; i < count; i++)
	{
		UserHome	requester;

		directory_home_by_id(returns[i].requester, &requester);
		returns[i].partition = requester.partition;
	}
	for (int i = 0; i < count; i++)
		if (!seen[i])
		{
			give_back_on(returns[i].partition, PG_GETARG_INT64(1), returns, done, count);
			for (int k = i; k < count; k++)
				seen[k] |= returns[k].partition == returns[i].partition;
		}
	for (int i = 0; i < count; i++)
	{
		if (!done[i])
			done[i] = give_back_one(&returns[i]);
		if (done[i])
			slots += returns[i].slots;
		else
			stock_put_back(returns[i].item);
	}
	record_returns(returns, done, count);
	PG_RETURN_INT32(slots);
}

/* ---- leases ---- */

static Statement delete_leases = {
	"WITH r AS (DELETE FROM _taskex.group_recall WHERE lease_id = ANY ($1)) DELETE FROM _taskex.group_lease WHERE lease_id = ANY ($1)",
	1, {INT8ARRAYOID}
};

static Statement renew_leases = {
	"UPDATE _taskex.group_lease SET lease_until = $2 WHERE lease_id = ANY ($1) AND taken_at > $2 - 4 * ($2 - $3) RETURNING lease_id",
	3, {INT8ARRAYOID, TIMESTAMPTZOID, TIMESTAMPTZOID}
};

#define LEASES_MAX 1000

PG_FUNCTION_INFO_V1(taskex_supply_forget_leases);

/* _taskex.supply_forget_leases() -> int: those with nothing left */
Datum
taskex_supply_forget_leases(PG_FUNCTION_ARGS)
{
	int64	   *leases = palloc(sizeof(int64) * LEASES_MAX);
	int			count;

	supply_require_loaded();
	count = stock_done(leases, LEASES_MAX);
	if (count > 0 && !supply_lock_leases(false))
		count = 0;				/* somebody else is at it */
	if (count > 0)
	{
		Datum		value = PointerGetDatum(int8_array(leases, count));
		SpiScope	scope;

		spi_begin(&scope);
		spi_run(&delete_leases, 0, &value, NULL, SPI_VIEW_CURRENT, 0);
		spi_end(&scope);
		stock_forget(leases, count);
	}
	PG_RETURN_INT32(count);
}

PG_FUNCTION_INFO_V1(taskex_supply_renew);

/*
 * _taskex.supply_renew(group_id, task_type_id, before, lease_until) -> int
 *
 * What was not taken for so long goes back: perhaps nobody of the group can have it.
 */
Datum
taskex_supply_renew(PG_FUNCTION_ARGS)
{
	TimestampTz until = PG_GETARG_TIMESTAMPTZ(3);
	int64	   *leases = palloc(sizeof(int64) * LEASES_MAX);
	int			count;

	supply_require_loaded();
	count = stock_ending(PG_GETARG_INT32(0), PG_GETARG_INT64(1), PG_GETARG_TIMESTAMPTZ(2), leases, LEASES_MAX);
	if (count > 0)
	{
		Datum		values[3] = {PointerGetDatum(int8_array(leases, count)), TimestampTzGetDatum(until), TimestampTzGetDatum(clock_now())};
		SpiScope	scope;

		spi_begin(&scope);
		count = (int) spi_run(&renew_leases, 0, values, NULL, SPI_VIEW_CURRENT, 0);
		for (int i = 0; i < count; i++)
			leases[i] = spi_int64(i, 1);
		spi_end(&scope);
		stock_renew(leases, count, until);
	}
	PG_RETURN_INT32(count);
}
