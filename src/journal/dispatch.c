/*
 * dispatch.c
 *	  Hands the journal to its consumers, in the background.
 *
 * The work itself is done by SQL functions (sql/journal.sql); here are the
 * rounds of the conductor, and what SQL cannot know of transactions.
 */
#include "postgres.h"

#include "journal/journal.h"
#include "base/clock.h"
#include "infra/spi.h"
#include "infra/worker.h"

#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

/* acts in a batch */
#define BATCH 20000

/* how long a round goes on when there is much to do */
#define ROUND_MS 2000

/* how often segments are looked at */
#define RETIRE_MS 5000

static Statement dispatch = {"SELECT _taskex.dispatch($1)", 1, {INT4OID}};
static Statement retire = {"SELECT _taskex.journal_retire() + _taskex.event_retire()", 0, {0}};

static int64
run(Statement *statement, int32 argument)
{
	Datum		value = Int32GetDatum(argument);
	SpiScope	scope;
	int64		result;

	spi_begin(&scope);
	if (spi_run(statement, 0, &value, NULL, SPI_VIEW_CURRENT, 0) != 1)
		elog(ERROR, "a function of the journal returned no row");
	result = spi_int32(0, 1);
	spi_end(&scope);
	return result;
}

static void
dispatch_batch(void *arg)
{
	*(int64 *) arg = run(&dispatch, BATCH);
}

static void
retire_segments(void *arg)
{
	(void) run(&retire, 0);
}

static bool
journal_round(void)
{
	static TimestampTz retired_at = 0;
	TimestampTz start = GetCurrentTimestamp();
	int64		count;

	do
	{
		if (!worker_try_transaction("dispatching the journal", dispatch_batch, &count))
			return false;
	} while (count >= BATCH && !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), ROUND_MS));

	if (TimestampDifferenceExceeds(retired_at, start, RETIRE_MS))
	{
		(void) worker_try_transaction("truncating segments", retire_segments, NULL);
		retired_at = start;
	}
	return count >= BATCH;
}

bool
journal_maintain(void)
{
	bool		more;

	round_begin();
	more = journal_round();
	round_end();
	return more;
}

void
journal_dispatch(void)
{
	int64		count;

	/* a cursor moves by what is committed now, not by an old snapshot */
	if (IsolationUsesXactSnapshot())
		return;
	if (!clock_is_set() && round_await())
		return;
	do
	{
		CHECK_FOR_INTERRUPTS();
		count = run(&dispatch, BATCH);
	} while (count >= BATCH);
	(void) run(&retire, 0);
}

PG_FUNCTION_INFO_V1(taskex_incarnation);

/* incarnation() -> text */
Datum
taskex_incarnation(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%llu/%u", (unsigned long long) GetSystemIdentifier(), MyDatabaseId)));
}

PG_FUNCTION_INFO_V1(taskex_horizon);

/* horizon() -> xid8 */
Datum
taskex_horizon(PG_FUNCTION_ARGS)
{
	Oid			relid = get_relname_relid("journal_act", get_namespace_oid("_taskex", false));
	Relation	rel = table_open(relid, AccessShareLock);
	TransactionId oldest = GetOldestNonRemovableTransactionId(rel);
	FullTransactionId next = ReadNextFullTransactionId();
	uint64		horizon = U64FromFullTransactionId(next) - (uint32) (XidFromFullTransactionId(next) - oldest);

	table_close(rel, AccessShareLock);
	PG_RETURN_FULLTRANSACTIONID(FullTransactionIdFromU64(horizon));
}
