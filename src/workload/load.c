/*
 * load.c
 *	  The queue after a start; lanes that wait in the table; how far a start must
 *	  look back.
 */
#include "postgres.h"

#include "workload/lane.h"
#include "directory/directory.h"
#include "infra/ids.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/worker.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define LOAD_ROWS 5000
#define REFILL_ROWS 512
#define LOW_MS 60000
#define QUEUE_LOCK 0x74787175
#define STANDBY_MS 1000

/* what lives elsewhere is no part of it */
#define RUN_ROW \
	"SELECT r.run_id, r.customer_id, r.environment_id, r.priority, r.submitted_at, r.deadline," \
	" r.concurrency_key, r.state = 'running', r.lease_until, r.ctid" \
	" FROM _taskex.run_%p r JOIN _taskex.directory d ON d.user_id = r.customer_id AND d.partition_id = r.partition_id"

static Statement select_after = {
	RUN_ROW " WHERE r.run_id > $1 AND r.state IN ('ready', 'running') ORDER BY r.run_id LIMIT 5000",
	1, {INT8OID}
};

static Statement select_open = {
	RUN_ROW " WHERE r.run_id = ANY (ARRAY(SELECT o.run_id FROM _taskex.run_open o"
	" WHERE o.partition_id = $1 AND o.run_id > $2 ORDER BY o.run_id LIMIT 5000)) AND r.state IN ('ready', 'running') ORDER BY r.run_id",
	2, {INT4OID, INT8OID}
};

static Statement select_open_last = {
	"SELECT max(run_id) FROM (SELECT o.run_id FROM _taskex.run_open o"
	" WHERE o.partition_id = $1 AND o.run_id > $2 ORDER BY o.run_id LIMIT 5000) u",
	2, {INT4OID, INT8OID}
};

static Statement select_window = {
	"SELECT r.run_id, r.customer_id, r.environment_id, r.priority, r.submitted_at, r.deadline,"
	" r.concurrency_key, r.state = 'running', r.lease_until, r.ctid FROM _taskex.run_%p r"
	" WHERE r.customer_id = $1 AND r.environment_id = $2 AND r.priority = $3 AND r.run_id > $4 AND r.run_id <= $5"
	" AND r.state = 'ready' ORDER BY r.run_id LIMIT 512",
	5, {INT8OID, INT4OID, INT4OID, INT8OID, INT8OID}
};

static Statement select_low = {
	"SELECT low FROM _taskex.run_low WHERE partition_id = $1",
	1, {INT4OID}
};

/* a row of run, as the queue needs it */
typedef struct RunRow
{
	ReadyRun	run;
	PinnedLane	pinned;
	bool		running;
	TimestampTz lease_until;
} RunRow;

static TimestampTz
value_or(uint64 row, int column, TimestampTz otherwise)
{
	bool		isnull;
	Datum		value = spi_value(row, column, &isnull);

	return isnull ? otherwise : DatumGetTimestampTz(value);
}

/* the rows of the last result, in the current memory context */
static RunRow *
read_rows(uint64 count, MemoryContext context)
{
	RunRow	   *rows = MemoryContextAllocHuge(context, sizeof(RunRow) * Max(count, 1));

	for (uint64 i = 0; i < count; i++)
	{
		RunRow	   *row = &rows[i];
		bool		isnull;
		Datum		key = spi_value(i, 7, &isnull);

		row->pinned.key_hash = isnull ? 0 :
			run_key_hash(VARDATA_ANY(DatumGetTextPP(key)), VARSIZE_ANY_EXHDR(DatumGetTextPP(key)));
		row->run.run_id = spi_int64(i, 1);
		row->pinned.name.customer_id = spi_int64(i, 2);
		row->pinned.name.environment_id = spi_int32(i, 3);
		row->pinned.name.priority = spi_int32(i, 4);
		row->run.submitted = value_or(i, 5, 0);
		row->run.deadline = value_or(i, 6, DT_NOEND);
		row->running = DatumGetBool(spi_value(i, 8, &isnull));
		row->lease_until = value_or(i, 9, 0);
		row->run.tid = *(ItemPointer) DatumGetPointer(spi_value(i, 10, &isnull));
	}
	return rows;
}

/* ---- after a start ---- */

/* the lock is held; the row's run was running before the start */
static bool
place_running(const Realm *realm, const RunRow *row)
{
	QueueRealm *known = &queue.header->realms[realm->slot];
	int32		index = queue_new_entry(realm->serial, row->run.run_id, row->pinned.lane, row->pinned.key);
	Entry	   *entry;
	Lane	   *lane;

	if (index < 0)
		return false;
	entry = &queue.entries[index];
	entry->state = ENTRY_RUNNING;
	entry->submitted = row->run.submitted;
	entry->deadline = row->run.deadline;
	entry->lease_until = row->lease_until;
	lane = &queue.lanes[entry->lane];
	queue.customers[lane->customer].running++;
	known->running++;
	if (entry->key >= 0)
		queue.keys[entry->key].running++;
	if (queue.customers[lane->customer].running >= queue.customers[lane->customer].limits.max_running)
		customer_settle(lane->customer, GetCurrentTimestamp());
	known->next_lease = Min(known->next_lease, row->lease_until);
	return true;
}

static void
place_row(const Realm *realm, RunRow *row)
{
	KnownLimits limits = {false};
	bool		done = false;
	bool		room = true;

	while (!done)
	{
		LWLockAcquire(queue.lock, LW_EXCLUSIVE);
		if (queue_find_entry(realm->serial, row->run.run_id) >= 0)
		{
			/* its partition could not be read at the start, and it came since */
			LWLockRelease(queue.lock);
			return;
		}
		done = queue_get(realm, &row->pinned, &limits);
		if (done && row->pinned.lane < 0)
			room = false;
		else if (done && row->running)
		{
			/* ready ones give way to what runs */
			room = place_running(realm, row) || (queue_make_room(-1, false) && place_running(realm, row));
		}
		else if (done)
			queue_place(row->pinned.lane, row->pinned.key, &row->run);
		if (!room && !row->running)
			queue.header->realms[realm->slot].crowded = true;
		LWLockRelease(queue.lock);
		if (!done)
			queue_learn_limits(&row->pinned, &limits);
	}
	if (!room && row->running)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("more runs were running than the queue has room for"),
				 errhint("Raise taskex.ready_runs and taskex.max_lanes and restart the server.")));
}

/* reads and places a statement's rows; the last id, or 0 if there are none */
static int64
load_rows(const Realm *realm, Statement *statement, int32 partition, Datum *values, MemoryContext context)
{
	SpiScope	scope;
	RunRow	   *rows;
	uint64		count;

	spi_begin(&scope);
	count = spi_run(statement, partition, values, NULL, SPI_VIEW_LATEST, 0);
	rows = read_rows(count, context);
	spi_end(&scope);
	for (uint64 i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		place_row(realm, &rows[i]);
	}
	return count < LOAD_ROWS ? 0 : rows[count - 1].run.run_id;
}

static int64
read_low(int32 partition)
{
	Datum		value = Int32GetDatum(partition);
	SpiScope	scope;
	int64		low = 0;

	spi_begin(&scope);
	if (spi_run(&select_low, 0, &value, NULL, SPI_VIEW_LATEST, 1) == 1)
		low = spi_int64(0, 1);
	spi_end(&scope);
	return low;
}

static void
load_open(const Realm *realm, int32 partition, MemoryContext context)
{
	Datum		values[2] = {Int32GetDatum(partition), Int64GetDatum(0)};

	for (;;)
	{
		SpiScope	scope;
		int64		last;

		spi_begin(&scope);
		last = spi_run(&select_open_last, 0, values, NULL, SPI_VIEW_LATEST, 1) == 1 ? spi_int64(0, 1) : 0;
		spi_end(&scope);
		if (last == 0)
			return;
		(void) load_rows(realm, &select_open, partition, values, context);
		MemoryContextReset(context);
		values[1] = Int64GetDatum(last);
	}
}

static void
load_partition(const Realm *realm, int32 partition)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "taskex queue", ALLOCSET_DEFAULT_SIZES);
	int64		after = read_low(partition);
	Datum		value;

	load_open(realm, partition, context);
	do
	{
		value = Int64GetDatum(after);
		after = load_rows(realm, &select_after, partition, &value, context);
		MemoryContextReset(context);
	} while (after != 0);
	MemoryContextDelete(context);
}

/* what cannot be read follows when it can (queue_adopt) */
static void
load(const Realm *realm)
{
	int32	   *partitions;
	int			count = directory_partitions(&partitions);

	for (int i = 0; i < count; i++)
	{
		if (directory_readable(partitions[i]))
			load_partition(realm, partitions[i]);
		else
			directory_missed(partitions[i]);
	}
}

/* nobody tells a standby what changes: what it has read is good for a moment, and not after its promotion */
static bool
is_loaded(const Realm *realm)
{
	const QueueRealm *known = &queue.header->realms[realm->slot];

	if (known->serial != realm->serial || !known->loaded)
		return false;
	return likely(known->standby == 0) ||
		(RecoveryInProgress() && !TimestampDifferenceExceeds(known->standby, GetCurrentTimestamp(), STANDBY_MS));
}

/* is all of it here?  If not, what there is of an earlier try goes */
static bool
begin_load(const Realm *realm)
{
	QueueRealm *known = &queue.header->realms[realm->slot];
	bool		loaded;

	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	loaded = is_loaded(realm);
	if (!loaded)
	{
		queue_clear(realm->slot, known->serial);
		known->serial = realm->serial;
		known->standby = RecoveryInProgress() ? GetCurrentTimestamp() : 0;
	}
	LWLockRelease(queue.lock);
	return loaded;
}

void
queue_require_loaded(void)
{
	const Realm *realm = realm_current();
	QueueRealm *known = &queue.header->realms[realm->slot];
	LOCKTAG		tag;

	if (likely(is_loaded(realm)))
		return;
	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, QUEUE_LOCK, realm->serial, 3);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	if (!begin_load(realm))
	{
		wait_point("load_queue");
		load(realm);
		LWLockAcquire(queue.lock, LW_EXCLUSIVE);
		known->loaded = true;
		LWLockRelease(queue.lock);
	}
	LockRelease(&tag, ExclusiveLock, false);
}

/* ---- windows ---- */

void
queue_refill_end(Refill *refill)
{
	Lane	   *lane;
	Environment *environment;

	if (refill->lane < 0)
		return;
	lane = &queue.lanes[refill->lane];
	if (lane->realm == refill->realm && lane->refilling)
	{
		environment = &queue.environments[lane->environment];
		lane_leave(refill->lane);
		lane->refilling = false;
		if (refill->high > refill->low)
			lane_widen(lane, refill->low, refill->high);
		lane_settle(refill->lane);
		environment->refilling--;
		ConditionVariableBroadcast(&environment->refilled);

		/* who looked meanwhile saw none */
		if (lane->in_turn)
			queue_signal(environment, 2);
	}
	refill->lane = -1;
}

/* what a key needs is kept by the transaction: a refill has few of them */
static void
pin_keys(RunRow *rows, uint64 count, const Refill *refill)
{
	for (uint64 i = 0; i < count; i++)
	{
		rows[i].pinned.lane = refill->lane;
		rows[i].pinned.key = -1;
		if (rows[i].pinned.key_hash == 0)
			continue;
		if (i > 0 && rows[i - 1].pinned.key_hash == rows[i].pinned.key_hash)
			rows[i].pinned = rows[i - 1].pinned;
		else
			queue_pin(&rows[i].pinned);
	}
}

void
queue_refill(Refill *refill)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "taskex refill", ALLOCSET_DEFAULT_SIZES);
	Datum		values[5] = {Int64GetDatum(refill->name.customer_id), Int32GetDatum(refill->name.environment_id),
	Int32GetDatum(refill->name.priority), Int64GetDatum(refill->low), Int64GetDatum(refill->high)};
	SpiScope	scope;
	UserHome	home;
	RunRow	   *rows;
	uint64		count;
	uint64		placed = 0;
	bool		all;

	directory_home_by_id(refill->name.customer_id, &home);
	for (;;)
	{
		int32		partition = home.partition;

		wait_point("refill");
		spi_begin(&scope);
		count = spi_run(&select_window, partition, values, NULL, SPI_VIEW_LATEST, 0);
		rows = read_rows(count, context);
		spi_end(&scope);

		/* who moves meanwhile leaves nothing behind */
		directory_home_by_id(refill->name.customer_id, &home);
		if (home.partition == partition)
			break;
	}
	pin_keys(rows, count, refill);

	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	if (queue.lanes[refill->lane].realm == refill->realm)
		while (placed < count && rows[placed].pinned.lane >= 0 &&
			   queue_place_found(refill->lane, rows[placed].pinned.key, &rows[placed].run))
			placed++;
	all = placed == count && count < REFILL_ROWS;
	if (!all && placed == 0 && queue.lanes[refill->lane].realm == refill->realm)
		queue.lanes[refill->lane].stuck = queue.header->stuck = true;
	refill->low = all ? refill->high : placed > 0 ? rows[placed - 1].run.run_id : refill->low;
	queue_refill_end(refill);
	LWLockRelease(queue.lock);
	MemoryContextDelete(context);
}

/* ---- lanes that found no room ---- */

static Statement select_lanes = {
	"SELECT r.customer_id, r.environment_id, r.priority, min(r.run_id) - 1, max(r.run_id), count(*)"
	" FROM _taskex.run_%p r JOIN _taskex.directory d ON d.user_id = r.customer_id AND d.partition_id = r.partition_id"
	" WHERE (r.run_id > $1 OR r.run_id IN (SELECT o.run_id FROM _taskex.run_open o WHERE o.partition_id = $2))"
	" AND r.state = 'ready' GROUP BY 1, 2, 3",
	2, {INT8OID, INT4OID}
};

typedef struct FoundLane
{
	PinnedLane	pinned;
	int64		low;
	int64		high;
	int64		waiting;
} FoundLane;

static void
adopt_lane(const Realm *realm, FoundLane *found)
{
	KnownLimits limits = {false};
	bool		done = false;

	while (!done)
	{
		LWLockAcquire(queue.lock, LW_EXCLUSIVE);
		if (queue_find_lane(realm->serial, &found->pinned.name) >= 0)
			done = true;
		else if ((done = queue_get(realm, &found->pinned, &limits)))
		{
			if (found->pinned.lane >= 0)
			{
				Lane	   *lane = &queue.lanes[found->pinned.lane];

				lane_widen(lane, found->low, found->high);
				lane->waiting = found->waiting;
				lane_settle(found->pinned.lane);
				queue_signal(&queue.environments[lane->environment], 2);
			}
			else
				queue.header->realms[realm->slot].crowded = true;
		}
		LWLockRelease(queue.lock);
		if (!done)
			queue_learn_limits(&found->pinned, &limits);
	}
}

static void
adopt_partition(const Realm *realm, int32 partition, MemoryContext context)
{
	Datum		values[2] = {Int64GetDatum(read_low(partition)), Int32GetDatum(partition)};
	SpiScope	scope;
	uint64		count;
	FoundLane  *lanes;

	spi_begin(&scope);
	count = spi_run(&select_lanes, partition, values, NULL, SPI_VIEW_LATEST, 0);
	lanes = MemoryContextAllocExtended(context, sizeof(FoundLane) * Max(count, 1), MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	for (uint64 i = 0; i < count; i++)
	{
		lanes[i].pinned.name.customer_id = spi_int64(i, 1);
		lanes[i].pinned.name.environment_id = spi_int32(i, 2);
		lanes[i].pinned.name.priority = spi_int32(i, 3);
		lanes[i].low = spi_int64(i, 4);
		lanes[i].high = spi_int64(i, 5);
		lanes[i].waiting = spi_int64(i, 6);
	}
	spi_end(&scope);
	for (uint64 i = 0; i < count; i++)
		adopt_lane(realm, &lanes[i]);
}

/* a partition that could not be read when the queue was loaded; if it fails, next time */
static void
load_returned(const Realm *realm, int32 partition)
{
	PG_TRY();
	{
		load_partition(realm, partition);
	}
	PG_CATCH();
	{
		directory_missed(partition);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

void
queue_adopt(void)
{
	const Realm *realm = realm_current();
	QueueRealm *known = &queue.header->realms[realm->slot];
	MemoryContext context;
	int32	   *partitions;
	int32		returned;
	int			count;

	queue_require_loaded();
	if (unlikely(queue.header->stuck))
	{
		LWLockAcquire(queue.lock, LW_EXCLUSIVE);
		(void) queue_unstick();
		LWLockRelease(queue.lock);
	}
	while (unlikely(directory_returned(&returned)))
		load_returned(realm, returned);
	if (likely(!known->crowded))
		return;
	known->crowded = false;
	context = AllocSetContextCreate(CurrentMemoryContext, "taskex queue", ALLOCSET_DEFAULT_SIZES);
	count = directory_readable_partitions(&partitions);
	for (int i = 0; i < count; i++)
	{
		adopt_partition(realm, partitions[i], context);
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
}

/* ---- how far a start must look back ---- */

static Statement store_low = {
	"SELECT _taskex.store_run_low($1, $2)",
	2, {INT4OID, INT8OID}
};

/* ids up to "bound" are decided when the transactions before "xid" have ended */
static int64 noted_bound = 0;
static TransactionId noted_xid;
static TimestampTz last_step = 0;

static void
store_all(void *arg)
{
	int32	   *partitions;
	int			count;

	if (TransactionIdPrecedes(GetTransactionSnapshot()->xmin, noted_xid))
		return;
	count = directory_readable_partitions(&partitions);
	for (int i = 0; i < count; i++)
	{
		Datum		values[2] = {Int32GetDatum(partitions[i]), Int64GetDatum(noted_bound)};
		SpiScope	scope;

		spi_begin(&scope);
		spi_run(&store_low, 0, values, NULL, SPI_VIEW_CURRENT, 0);
		spi_end(&scope);
	}
	noted_bound = 0;
}

static void
note(void *arg)
{
	noted_bound = run_id_bound(ids_peek(ID_RUN));
	noted_xid = XidFromFullTransactionId(ReadNextFullTransactionId());
}

void
queue_store_low(void)
{
	if (!TimestampDifferenceExceeds(last_step, GetCurrentTimestamp(), LOW_MS))
		return;
	last_step = GetCurrentTimestamp();
	if (noted_bound == 0)
		worker_transaction("noting ids of runs", note, NULL);
	else
		(void) worker_try_transaction("storing how far runs have ended", store_all, NULL);
}
