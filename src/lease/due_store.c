/*
 * due_store.c
 *	  Where the due cursors stood, for the start after a crash.
 *
 * A stored position must not be after anything that is due and not handled.
 * What a running transaction will commit is not known yet, so a position is
 * stored in three steps, a minute apart: it is noted with the next xid; then
 * all transactions with older xids must have ended; then their callbacks have
 * run too, and the lower one of the noted and the present position is stored.
 * A due time that is earlier than now when it is noted, which only a clock set
 * by taskex.clock can give, lowers the stored position by itself.
 */
#include "postgres.h"

#include "lease/due.h"
#include "infra/spi.h"
#include "infra/worker.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define STORE_MS 60000

static Statement select_position = {
	"SELECT handled_until FROM _taskex.due_cursor WHERE partition_id = $1 AND kind = $2",
	2, {INT4OID, INT4OID}
};

static Statement lower_position = {
	"UPDATE _taskex.due_cursor SET handled_until = $3"
	" WHERE partition_id = $1 AND kind = $2 AND handled_until > $3",
	3, {INT4OID, INT4OID, TIMESTAMPTZOID}
};

static Statement raise_position = {
	"INSERT INTO _taskex.due_cursor AS c (partition_id, kind, handled_until) VALUES ($1, $2, $3)"
	" ON CONFLICT (partition_id, kind) DO UPDATE SET handled_until = excluded.handled_until"
	" WHERE excluded.handled_until > c.handled_until",
	3, {INT4OID, INT4OID, TIMESTAMPTZOID}
};

TimestampTz
due_stored(int32 partition, DueKind kind)
{
	Datum		values[2] = {Int32GetDatum(partition), Int32GetDatum(kind)};
	TimestampTz position = DT_NOBEGIN;
	SpiScope	scope;
	bool		isnull;

	spi_begin(&scope);
	if (spi_run(&select_position, 0, values, NULL, SPI_VIEW_CURRENT, 1) == 1)
		position = DatumGetTimestampTz(spi_value(0, 1, &isnull));
	spi_end(&scope);
	return position;
}

static void
run(Statement *statement, int32 partition, DueKind kind, TimestampTz position)
{
	Datum		values[3] = {Int32GetDatum(partition), Int32GetDatum(kind), TimestampTzGetDatum(position)};
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(statement, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

void
due_lower_stored(int32 partition, DueKind kind, TimestampTz due)
{
	run(&lower_position, partition, kind, due);
}

/* ---- the three steps ---- */

typedef struct Noted
{
	int32		partition;
	DueKind		kind;
	TimestampTz position;
} Noted;

static Noted *noted = NULL;
static int	noted_count = 0;
static bool noted_ripe = false; /* the older transactions have ended */
static TransactionId noted_xid;
static TimestampTz last_step = 0;

static void
note_all(const int32 *partitions, int count)
{
	TimestampTz limit = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), -DUE_MARGIN_MS);

	noted = MemoryContextAlloc(TopMemoryContext, sizeof(Noted) * Max(count, 1) * DUE_KINDS);
	noted_count = 0;
	noted_ripe = false;
	noted_xid = XidFromFullTransactionId(ReadNextFullTransactionId());
	for (int i = 0; i < count; i++)
		for (int kind = 0; kind < DUE_KINDS; kind++)
		{
			Noted	   *note = &noted[noted_count++];

			note->partition = partitions[i];
			note->kind = kind;
			note->position = Min(due_position(partitions[i], kind), limit);
		}
}

static void
look_whether_ripe(void *arg)
{
	noted_ripe = !TransactionIdPrecedes(GetTransactionSnapshot()->xmin, noted_xid);
}

static void
store_all(void *arg)
{
	for (int i = 0; i < noted_count; i++)
		run(&raise_position, noted[i].partition, noted[i].kind,
			Min(noted[i].position, due_position(noted[i].partition, noted[i].kind)));
}

void
due_store_step(const int32 *partitions, int count)
{
	if (!TimestampDifferenceExceeds(last_step, GetCurrentTimestamp(), STORE_MS))
		return;
	last_step = GetCurrentTimestamp();

	if (noted == NULL)
		note_all(partitions, count);
	else if (!noted_ripe)
		worker_transaction("looking at running transactions", look_whether_ripe, NULL);
	else
	{
		(void) worker_try_transaction("storing due cursors", store_all, NULL);
		pfree(noted);
		noted = NULL;
	}
}
