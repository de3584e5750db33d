/*
 * golden.c
 *	  Golden tasks, whose answers are known, mixed in among the others.
 *
 * Golden tasks of type T have the type -T in their rows, so they lie on shelves
 * of their own, where nobody looks who asks for work.  Who is about to take a
 * task of a requester who has a rate for its type gets, at that rate, one of the
 * requester's golden tasks from the same storage partition instead, as long as
 * there is one that he has not had.  In all that he sees the type is T.
 *
 * A shelf knows whether anybody has a rate for its type, so other types cost
 * nothing; the rates themselves are read from the table.
 */
#include "postgres.h"

#include "market/golden.h"
#include "infra/spi.h"
#include "infra/xact.h"
#include "market/market.h"
#include "market/shelf.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "fmgr.h"

static Statement select_rate = {
	"SELECT rate FROM _taskex.golden_rate WHERE task_type_id = $1 AND requester_id = $2",
	2, {INT8OID, INT8OID}
};

static Statement select_any_rate = {
	"SELECT 1 FROM _taskex.golden_rate WHERE task_type_id = $1 LIMIT 1",
	1, {INT8OID}
};

bool
golden_any_rate(int64 task_type)
{
	Datum		value = Int64GetDatum(task_type);
	SpiScope	scope;
	bool		any;

	spi_begin(&scope);
	any = spi_run(&select_any_rate, 0, &value, NULL, SPI_VIEW_LATEST, 1) > 0;
	spi_end(&scope);
	return any;
}

bool
golden_turn(const FeedScan *scan, int64 requester)
{
	Datum		values[2] = {Int64GetDatum(scan->task_type), Int64GetDatum(requester)};
	SpiScope	scope;
	double		rate = 0;
	bool		isnull;

	if (likely(!scan->shelf->golden))
		return false;
	spi_begin(&scope);
	if (spi_run(&select_rate, 0, values, NULL, SPI_VIEW_LATEST, 1) > 0)
		rate = DatumGetFloat8(spi_value(0, 1, &isnull));
	spi_end(&scope);
	return pg_prng_double(&pg_global_prng_state) < rate;
}

Shelf *
golden_shelf(const FeedScan *scan)
{
	Shelf	   *shelf = shelf_try_get(-scan->task_type, scan->partition);

	if (shelf)
		shelf_unpin(shelf);		/* a scan pins it again */
	return shelf;
}

/* ---- a rate was set ---- */

typedef struct RateSet
{
	ShelfKey	key;
} RateSet;

static void
rate_set_commit(void *record)
{
	Shelf	   *shelf = shelf_pin_known(&((RateSet *) record)->key);

	/* one that is not known reads the table when it is loaded */
	if (shelf)
	{
		SpinLockAcquire(&shelf->mutex);
		shelf->golden = true;
		shelf->pins--;
		SpinLockRelease(&shelf->mutex);
	}
}

static void
rate_set_abort(void *record)
{
}

static const XactKind rate_set_kind = {rate_set_commit, rate_set_abort};

PG_FUNCTION_INFO_V1(taskex_golden_rate_set);

/* golden_rate_set(task_type, partition): at commit, the shelf hears of it */
Datum
taskex_golden_rate_set(PG_FUNCTION_ARGS)
{
	RateSet    *set = xact_add(&rate_set_kind, sizeof(RateSet));

	shelf_key(&set->key, PG_GETARG_INT64(0), PG_GETARG_INT32(1));
	PG_RETURN_VOID();
}
