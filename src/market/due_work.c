/*
 * due_work.c
 *	  Ends leases, approves results and expires tasks when their time comes.
 *
 * The conductor works in small transactions of its own.  If one fails (a row
 * is locked longer than its lock_timeout, say), its items are tried again one
 * by one, and those that still fail are put off, so that nobody's open
 * transaction stops the exchange.  taskex.run_due() does the same work in the
 * caller's transaction.
 */
#include "postgres.h"

#include "market/market.h"
#include "market/policy.h"
#include "base/clock.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/worker.h"
#include "journal/journal.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"

#define BATCH 500
#define RETRY_MS 30000			/* until what was locked is tried again */
#define SCANNER_WAITS 500		/* of 10 ms */

typedef struct DueItem
{
	int64		id;				/* assignment or task */
	int64		user_id;		/* whose row it is: performer of a lease, else requester */
	TimestampTz due;
} DueItem;

typedef struct DueBatch
{
	DueKind		kind;
	int32		partition;
	TimestampTz now;
	TimestampTz after;			/* the last item of the batch before */
	int64		after_id;
	int			count;
	int			done;
	bool		exhausted;		/* there are no more items */
	TimestampTz next;			/* when the next is due, if exhausted */
	DueItem		items[BATCH];
} DueBatch;

static Statement select_due[DUE_MARKET_KINDS] = {
	[DUE_LEASE] = {
		"SELECT assignment_id, performer_id, lease_until FROM _taskex.assignment_%p"
		" WHERE lease_until >= $1 AND (lease_until > $1 OR assignment_id > $2) AND lease_until <= $3"
		" AND state = 'accepted' ORDER BY lease_until, assignment_id LIMIT 500",
		3, {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID}
	},
	[DUE_REVIEW] = {
		"SELECT assignment_id, requester_id, auto_approve_at FROM _taskex.result_%p"
		" WHERE auto_approve_at >= $1 AND (auto_approve_at > $1 OR assignment_id > $2) AND auto_approve_at <= $3"
		" AND state = 'submitted' ORDER BY auto_approve_at, assignment_id LIMIT 500",
		3, {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID}
	},
	[DUE_EXPIRY] = {
		"SELECT task_id, requester_id, expires_at FROM _taskex.task_%p"
		" WHERE expires_at >= $1 AND (expires_at > $1 OR task_id > $2) AND expires_at <= $3"
		" AND state = 'open' ORDER BY expires_at, task_id LIMIT 500",
		3, {TIMESTAMPTZOID, INT8OID, TIMESTAMPTZOID}
	},
};

static Statement select_next[DUE_MARKET_KINDS] = {
	[DUE_LEASE] = {"SELECT lease_until FROM _taskex.assignment_%p WHERE lease_until > $1 ORDER BY 1 LIMIT 1", 1, {TIMESTAMPTZOID}},
	[DUE_REVIEW] = {"SELECT auto_approve_at FROM _taskex.result_%p WHERE auto_approve_at > $1 ORDER BY 1 LIMIT 1", 1, {TIMESTAMPTZOID}},
	[DUE_EXPIRY] = {"SELECT expires_at FROM _taskex.task_%p WHERE expires_at > $1 ORDER BY 1 LIMIT 1", 1, {TIMESTAMPTZOID}},
};

static Statement end_lease = {
	"UPDATE _taskex.assignment_%p SET state = 'abandoned', finished_at = $2"
	" WHERE assignment_id = $1 AND state = 'accepted' AND lease_until <= $2"
	" RETURNING task_id, task_type_id, requester_id, performer_id",
	2, {INT8OID, TIMESTAMPTZOID}
};

/* ---- one item ---- */

static bool
abandon(const DueBatch *batch, const DueItem *item)
{
	Datum		values[2] = {Int64GetDatum(item->id), TimestampTzGetDatum(batch->now)};
	JournalAct	act = {.kind = "abandoned",.assignment_id = item->id};
	FreedSlot	slot;
	SpiScope	scope;
	bool		ended;

	spi_begin(&scope);
	ended = spi_run(&end_lease, batch->partition, values, NULL, SPI_VIEW_CURRENT, 0) == 1;
	if (ended)
	{
		slot.task_id = spi_int64(0, 1);
		slot.task_type = spi_int64(0, 2);
		directory_home_by_id(spi_int64(0, 3), &slot.requester);
		act.requester_id = slot.requester.user_id;
		act.performer_id = spi_int64(0, 4);
		act.task_type_id = slot.task_type;
		act.task_id = slot.task_id;
		act.amount = slot_free(&slot);
		if (act.amount >= 0)
			act.detail = journal_slots(1);
		act.amount = Max(act.amount, 0);
		journal_write(&act);
	}
	spi_end(&scope);
	return ended;
}

static bool
handle(const DueBatch *batch, const DueItem *item)
{
	UserHome	home;
	Judgement	judgement = {.state = "approved", .automatic = true, .assignment_id = item->id};

	/* what lies elsewhere than its user lives is a copy, of one who is being moved */
	directory_home_by_id(item->user_id, &home);
	if (home.partition != batch->partition)
		return false;
	if (batch->kind == DUE_LEASE)
		return abandon(batch, item);
	if (batch->kind == DUE_REVIEW)
		return review_judge(&home, &judgement);
	return task_close(&home, item->id, "expired", true);
}

/* ---- a batch ---- */

static int
compare_items(const void *a, const void *b)
{
	int64		x = ((const DueItem *) a)->id;
	int64		y = ((const DueItem *) b)->id;

	return x < y ? -1 : x > y;
}

static void
read_batch(DueBatch *batch)
{
	Datum		values[3] = {TimestampTzGetDatum(batch->after), Int64GetDatum(batch->after_id),
	TimestampTzGetDatum(batch->now)};
	Datum		now = TimestampTzGetDatum(batch->now);
	SpiScope	scope;
	bool		isnull;

	spi_begin(&scope);
	batch->count = (int) spi_run(&select_due[batch->kind], batch->partition, values, NULL, SPI_VIEW_CURRENT, BATCH);
	for (int i = 0; i < batch->count; i++)
	{
		batch->items[i].id = spi_int64(i, 1);
		batch->items[i].user_id = spi_int64(i, 2);
		batch->items[i].due = DatumGetTimestampTz(spi_value(i, 3, &isnull));
	}
	batch->exhausted = batch->count < BATCH;
	if (batch->count > 0)
	{
		batch->after = batch->items[batch->count - 1].due;
		batch->after_id = batch->items[batch->count - 1].id;
	}
	if (batch->exhausted)
		batch->next = spi_run(&select_next[batch->kind], batch->partition, &now, NULL, SPI_VIEW_CURRENT, 1) == 1
			? DatumGetTimestampTz(spi_value(0, 1, &isnull)) : DT_NOEND;
	spi_end(&scope);

	/* rows are locked in the order of their ids, as by everybody else */
	qsort(batch->items, batch->count, sizeof(DueItem), compare_items);
}

static void
handle_batch(void *arg)
{
	DueBatch   *batch = arg;

	batch->done = 0;
	wait_point("due");
	for (int i = 0; i < batch->count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		batch->done += handle(batch, &batch->items[i]);
	}
}

static void
read_batch_work(void *arg)
{
	read_batch(arg);
}

typedef struct SingleItem
{
	DueBatch   *batch;
	DueItem    *item;
	bool		done;
} SingleItem;

static void
handle_single(void *arg)
{
	SingleItem *single = arg;

	single->done = handle(single->batch, single->item);
}

/* all items of the batch, in transactions; the due time of the earliest that failed */
static TimestampTz
handle_in_transactions(DueBatch *batch)
{
	TimestampTz postponed = DT_NOEND;

	if (batch->count == 0 || worker_try_transaction("handling what is due", handle_batch, batch))
		return postponed;

	batch->done = 0;
	for (int i = 0; i < batch->count; i++)
	{
		SingleItem	single = {batch, &batch->items[i], false};

		if (worker_try_transaction("handling what is due, one by one", handle_single, &single))
			batch->done += single.done;
		else
			postponed = Min(postponed, batch->items[i].due);
	}
	return postponed;
}

/* ---- all of them ---- */

/* the earliest due time that the last round left */
static TimestampTz due_next_known = DT_NOBEGIN;

typedef struct StoredCursor
{
	int32		partition;
	DueKind		kind;
	TimestampTz position;
} StoredCursor;

static void
read_stored(void *arg)
{
	StoredCursor *cursor = arg;

	cursor->position = due_stored(cursor->partition, cursor->kind);
}

/* scans one index from its cursor up to now; false: it cannot be read, perhaps its partition is being dropped */
static bool
work_off(DueBatch *batch, bool own_transactions, int64 counts[DUE_MARKET_KINDS])
{
	TimestampTz postponed = DT_NOEND;

	batch->after_id = 0;
	do
	{
		if (own_transactions)
		{
			if (!worker_try_transaction("looking for what is due", read_batch_work, batch))
				return false;
			postponed = Min(postponed, handle_in_transactions(batch));
		}
		else
		{
			read_batch(batch);
			handle_batch(batch);
		}
		counts[batch->kind] += batch->done;
	} while (!batch->exhausted);

	if (own_transactions)
		due_end(batch->partition, batch->kind, batch->next, postponed,
				TimestampTzPlusMilliseconds(batch->now, RETRY_MS));
	else
		due_end_at_commit(batch->partition, batch->kind, batch->next);
	return true;
}

/* one cursor: begins it where it was stored if need be, and works it off */
static void
work_cursor(DueBatch *batch, bool own_transactions, int64 counts[DUE_MARKET_KINDS])
{
	StoredCursor stored = {batch->partition, batch->kind, DT_NOBEGIN};

	if (!due_known(batch->partition, batch->kind))
	{
		if (!own_transactions)
			read_stored(&stored);
		else if (!worker_try_transaction("reading a cursor", read_stored, &stored))
			return;
	}
	if (!due_begin(batch->partition, batch->kind, batch->now, stored.position, &batch->after))
		return;

	PG_TRY();
	{
		if (!work_off(batch, own_transactions, counts))
			due_abandon(batch->partition, batch->kind);
	}
	PG_CATCH();
	{
		due_abandon(batch->partition, batch->kind);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/*
 * A call of run_due() does not overlook what the conductor is handling just
 * now, nor does it wait for ever.
 */
static void
wait_for_scanner(int32 partition, DueKind kind)
{
	for (int i = 0; i < SCANNER_WAITS && due_busy(partition, kind); i++)
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	if (due_busy(partition, kind))
		ereport(NOTICE,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("the conductor is still at work on what is due"),
				 errdetail("It was waited for as long as %d seconds; what it has not come to is not done yet.", SCANNER_WAITS / 100),
				 errhint("Call taskex.run_due() again.")));
}

void
due_work(bool own_transactions, int64 counts[DUE_MARKET_KINDS])
{
	PartitionList partitions;
	DueBatch   *batch = palloc(sizeof(DueBatch));

	memset(counts, 0, sizeof(int64) * DUE_MARKET_KINDS);
	directory_list_partitions(&partitions, own_transactions);

	due_next_known = DT_NOEND;
	for (int i = 0; i < partitions.count; i++)
	{
		for (int kind = 0; kind < DUE_MARKET_KINDS; kind++)
		{
			CHECK_FOR_INTERRUPTS();
			batch->kind = kind;
			batch->partition = partitions.ids[i];
			batch->now = clock_now();
			if (!own_transactions)
				wait_for_scanner(batch->partition, kind);
			work_cursor(batch, own_transactions, counts);
		}
		due_next_known = Min(due_next_known, due_next(partitions.ids[i]));
	}
	if (own_transactions && !clock_is_set())
		due_store_step(partitions.ids, partitions.count);
	pfree(partitions.ids);
	pfree(batch);
}

TimestampTz
due_work_next(void)
{
	return due_next_known;
}

PG_FUNCTION_INFO_V1(taskex_run_due);

/* run_due() -> setof (what, count) */
Datum
taskex_run_due(PG_FUNCTION_ARGS)
{
	static const char *const what[DUE_MARKET_KINDS] = {
		[DUE_LEASE] = "leases ended",
		[DUE_REVIEW] = "results approved",
		[DUE_EXPIRY] = "tasks expired",
	};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		counts[DUE_MARKET_KINDS];

	directory_require_admin("run due work");
	PreventCommandIfReadOnly("run_due()");
	if (realm_state() == REALM_RESTORING)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the exchange is not complete"),
				 errdetail("A dump is being restored, or that was broken off."),
				 errhint("Wait for pg_restore to end; see taskex.health.")));
	InitMaterializedSRF(fcinfo, 0);
	directory_lock_partitions();	/* none is dropped meanwhile */
	due_work(false, counts);
	feed_maintain();
	journal_dispatch();
	policy_run();
	for (int kind = 0; kind < DUE_MARKET_KINDS; kind++)
	{
		Datum		values[2] = {CStringGetTextDatum(what[kind]), Int64GetDatum(counts[kind])};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
