/*
 * over.c
 *	  Which transactions were over when a user's home changed.
 *
 * A row at the new home that differs from what was left behind has changed
 * since then, if what wrote it was not over.  Rows bear the numbers of
 * subtransactions, and a snapshot does not know all of them once a session has
 * more than 64: then the log of commits is asked for each number, for most of
 * them before the writers are held up.
 */
#include "postgres.h"

#include "migration/move.h"
#include "infra/spi.h"

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* more than so many are not noted: then nothing is over from the oldest on */
#define OPEN_MAX 100000

static Statement select_before_switch = {
	"SELECT switched_xid = x OR pg_visible_in_snapshot(x, (detail ->> 'snapshot')::pg_snapshot)"
	" FROM _taskex.migration, CAST($2::text AS xid8) x WHERE migration_id = $1",
	2, {INT8OID, INT8OID}
};

/* xid is not in the future */
static uint64
whole_xid(TransactionId xid)
{
	FullTransactionId next = ReadNextFullTransactionId();
	uint32		epoch = EpochFromFullTransactionId(next);

	return U64FromFullTransactionId(FullTransactionIdFromEpochAndXid(xid > XidFromFullTransactionId(next) ? epoch - 1 : epoch, xid));
}

static int
compare_xids(const void *a, const void *b)
{
	uint64		left = *(const uint64 *) a;
	uint64		right = *(const uint64 *) b;

	return left < right ? -1 : left > right;
}

static void
add(OpenXids *open, uint64 xid)
{
	if (open->count < OPEN_MAX)
		open->xids[open->count] = xid;
	open->count++;
}

/* a transaction or subtransaction that may still write */
static bool
under_way(uint64 whole)
{
	TransactionId xid = (TransactionId) whole;

	return TransactionIdIsNormal(xid) && !TransactionIdDidCommit(xid) && !TransactionIdDidAbort(xid);
}

/* of those noted what is still under way, and what has begun since */
static void
look_anew(OpenXids *open, Snapshot snapshot)
{
	uint64		from = Max(whole_xid(snapshot->xmin), open->upto);
	uint64		upto = whole_xid(snapshot->xmax);
	int			noted = open->count;

	open->count = 0;
	for (int i = 0; i < noted; i++)
		if (under_way(open->xids[i]))
			open->xids[open->count++] = open->xids[i];
	for (uint64 xid = from; xid < upto && open->count <= OPEN_MAX; xid++)
	{
		CHECK_FOR_INTERRUPTS();
		if (under_way(xid))
			add(open, xid);
	}
	open->upto = upto;
}

void
over_prepare(Move *move)
{
	Snapshot	snapshot = GetLatestSnapshot();

	if (move->open.xids == NULL)
		move->open.xids = MemoryContextAlloc(move->context, sizeof(uint64) * OPEN_MAX);
	move->open.count = 0;
	move->open.upto = 0;
	if (snapshot->suboverflowed)
		look_anew(&move->open, snapshot);
}

/* what the snapshot knows; pg_current_snapshot() leaves subtransactions out */
static void
take_from(OpenXids *open, Snapshot snapshot)
{
	open->count = 0;
	for (uint32 i = 0; i < snapshot->xcnt; i++)
		add(open, whole_xid(snapshot->xip[i]));
	for (int32 i = 0; i < snapshot->subxcnt; i++)
		if (NormalTransactionIdPrecedes(snapshot->subxip[i], snapshot->xmax))	/* else it may not stand there */
			add(open, whole_xid(snapshot->subxip[i]));
	qsort(open->xids, Min(open->count, OPEN_MAX), sizeof(uint64), compare_xids);
}

char *
over_now(Move *move)
{
	Snapshot	snapshot = GetLatestSnapshot();
	uint64		xmin = whole_xid(snapshot->xmin);
	OpenXids   *open = &move->open;
	StringInfoData text;

	if (snapshot->suboverflowed && open->count <= OPEN_MAX)
		look_anew(open, snapshot);
	else if (!snapshot->suboverflowed)
		take_from(open, snapshot);
	initStringInfo(&text);
	appendStringInfo(&text, UINT64_FORMAT ":" UINT64_FORMAT ":", xmin,
					 open->count > OPEN_MAX ? xmin : whole_xid(snapshot->xmax));
	for (int i = 0; i < open->count && open->count <= OPEN_MAX; i++)
		appendStringInfo(&text, "%s" UINT64_FORMAT, i > 0 ? "," : "", open->xids[i]);
	return text.data;
}

bool
move_before_switch(Move *move, TransactionId xid)
{
	Datum		values[2];
	SpiScope	scope;
	bool		isnull;
	bool		result;

	if (!TransactionIdIsNormal(xid))
		return true;			/* frozen: long over */
	values[0] = Int64GetDatum(move->id);
	values[1] = Int64GetDatum((int64) whole_xid(xid));
	spi_begin(&scope);
	spi_run(&select_before_switch, 0, values, NULL, SPI_VIEW_CURRENT, 1);
	result = DatumGetBool(spi_value(0, 1, &isnull)) && !isnull;
	spi_end(&scope);
	return result;
}
