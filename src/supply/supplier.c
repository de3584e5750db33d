/*
 * supplier.c
 *	  The worker that keeps supplies at their targets, one for each exchange.
 *
 * PURPOSE	Rounds: count, remove used up leases, then each supply in a
 *			transaction of its own, so that what one holds up does not hold up
 *			the others. Who is woken before the next round is due only fills up
 *			what is low.
 * LAYOUT	By realm slot its latch, and when its last round was.
 * WRITES	The supplier itself; read by those who wake it.
 * CRASH	The conductor starts another one.
 * INVARIANT  A latch that is there is a process's own: it takes it away when it ends.
 */
#include "postgres.h"

#include "supply/supply.h"
#include "supply/supplier.h"
#include "base/guc.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/worker.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/spin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

/* the shortest time between two rounds */
#define ROUND_MIN_MS 20
#define COUNTS_LOCK 0x74786363

/* between two looks at what is to be pushed */
#define PUSH_MS 10000

typedef struct SupplierSlot
{
	slock_t		mutex;
	uint32		realm;			/* whose it is; 0: none runs */
	int			pid;
	Latch	   *latch;
} SupplierSlot;

static SupplierSlot *slots = NULL;
static bool begun = false;
static TimestampTz counted_at = 0;
static TimestampTz pushed_at = 0;

static Size
supplier_size(void)
{
	return mul_size(guc_max_databases, sizeof(SupplierSlot));
}

static void
supplier_attach(void *block, LWLockPadded *locks, bool found)
{
	slots = block;
	if (!found)
		for (int i = 0; i < guc_max_databases; i++)
			SpinLockInit(&slots[i].mutex);
}

const ShmemPart supplier_shmem = {"taskex supplier", supplier_size, NULL, NULL, supplier_attach};

void
supplier_wake(void)
{
	const Realm *realm = realm_current();
	SupplierSlot *slot = &slots[realm->slot];
	Latch	   *latch;

	SpinLockAcquire(&slot->mutex);
	latch = slot->realm == realm->serial ? slot->latch : NULL;
	SpinLockRelease(&slot->mutex);
	if (latch)
		SetLatch(latch);
}

/* ---- a round ---- */

static Statement count_all = {"SELECT _taskex.supply_count()", 0, {0}};
static Statement compute_targets = {"SELECT _taskex.compute_targets()", 0, {0}};
static Statement push_tasks = {"SELECT _taskex.push_tasks(NULL)", 0, {0}};
static Statement forget_leases = {"SELECT _taskex.supply_forget_leases()", 0, {0}};
static Statement tend = {
	"SELECT _taskex.supply_tend($1, $2, $3, $4, $5)",
	5, {INT4OID, INT8OID, INT4OID, INT4OID, BOOLOID}
};

static void
run(Statement *statement, Datum *values)
{
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(statement, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

static void
count_work(void *arg)
{
	supply_require_loaded();
	supply_load_missing();
	run(&count_all, NULL);
}

static void
target_work(void *arg)
{
	run(&compute_targets, NULL);
}

static void
push_work(void *arg)
{
	run(&push_tasks, NULL);
}

static void
forget_work(void *arg)
{
	run(&forget_leases, NULL);
}

typedef struct Listing
{
	MemoryContext context;
	bool		low;			/* only those that may be low */
	SupplyInfo *infos;
	int			count;
} Listing;

static void
list_work(void *arg)
{
	Listing    *listing = arg;
	MemoryContext old = MemoryContextSwitchTo(listing->context);

	listing->count = stock_list(listing->low, &listing->infos);
	MemoryContextSwitchTo(old);
}

static void
tend_work(void *arg)
{
	const SupplyInfo *info = arg;
	Datum		values[5];

	values[0] = Int32GetDatum(info->group);
	values[1] = Int64GetDatum(info->task_type);
	values[2] = Int32GetDatum(info->target);
	values[3] = Int32GetDatum(info->fresh + info->coming);
	values[4] = BoolGetDatum(info->ended > 0 || info->stale > 0 || info->ready > 2 * info->target);
	run(&tend, values);
}

/* is there anything to do for it? */
static bool
needs_work(const SupplyInfo *info)
{
	return info->ended > 0 || info->stale > 0 || info->ready > 2 * info->target ||
		(info->target > 0 && (info->ending || supply_is_low(info->fresh + info->coming, info->target)));
}

static bool no_exchange = false;

static void
look_for_exchange(void *arg)
{
	const Realm *realm = realm_find();

	no_exchange = realm == NULL;
	if (realm)
	{
		SupplierSlot *slot = &slots[realm->slot];

		SpinLockAcquire(&slot->mutex);
		slot->realm = realm->serial;
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		SpinLockRelease(&slot->mutex);
	}
}

static long
supplier_round(void)
{
	TimestampTz now = GetCurrentTimestamp();
	Listing		listing = {CurrentMemoryContext};
	bool		kept = false;

	if (!begun)
	{
		SetConfigOption("lock_timeout", "100ms", PGC_SUSET, PGC_S_OVERRIDE);
		SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
		SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);

		/*
		 * Nobody is told of a lease.  If its commit is lost so are the accepts from
		 * it: WAL has them later.
		 */
		SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);
		begun = true;
	}
	worker_transaction("looking for the exchange", look_for_exchange, NULL);
	if (no_exchange || guc_supply_interval == 0)
		return -1;

	listing.low = !TimestampDifferenceExceeds(counted_at, now, guc_supply_interval);
	if (!listing.low)
	{
		if (guc_supply)
			(void) worker_try_transaction("computing targets", target_work, NULL);
		(void) worker_try_transaction("counting accepts", count_work, NULL);
		(void) worker_try_transaction("looking through leases", forget_work, NULL);
		counted_at = now;
	}
	if (guc_supply && TimestampDifferenceExceeds(pushed_at, now, PUSH_MS))
	{
		(void) worker_try_transaction("pushing tasks", push_work, NULL);
		pushed_at = now;
	}
	worker_transaction("listing supplies", list_work, &listing);
	for (int i = 0; i < listing.count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		kept |= listing.infos[i].tasks > 0;
		if (needs_work(&listing.infos[i]))
			(void) worker_try_transaction("tending a supply", tend_work, &listing.infos[i]);
	}
	if (!guc_supply && !kept && !listing.low)
		return -1;

	/* who wakes us does not wear us out: the latch is not listened to for a moment */
	(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, Min(ROUND_MIN_MS, guc_supply_interval),
					 PG_WAIT_EXTENSION);
	CHECK_FOR_INTERRUPTS();
	return Max(guc_supply_interval - (long) TimestampDifferenceMilliseconds(counted_at, GetCurrentTimestamp()), 0);
}

static void
supplier_exit(int code, Datum arg)
{
	for (int i = 0; i < guc_max_databases; i++)
	{
		SpinLockAcquire(&slots[i].mutex);
		if (slots[i].pid == MyProcPid)
		{
			slots[i].realm = 0;
			slots[i].pid = 0;
			slots[i].latch = NULL;
		}
		SpinLockRelease(&slots[i].mutex);
	}
}

static WorkerKind supplier_kind = {"supplier", "taskex_supplier_main", supplier_round};

PGDLLEXPORT void taskex_supplier_main(Datum main_arg);

void
taskex_supplier_main(Datum main_arg)
{
	worker_loop(&supplier_kind, main_arg, supplier_exit);
}

/* ---- the conductor's part: sees to it that one runs ---- */

static BackgroundWorkerHandle *handle = NULL;

static void
look_for_leases(void *arg)
{
	supply_require_loaded();
	*(bool *) arg = stock_any();
}

void
supplier_ensure(void)
{
	static bool looked = false;
	pid_t		pid;
	bool		kept = false;

	if (guc_supply_interval == 0)
		return;
	if (handle)
	{
		if (GetBackgroundWorkerPid(handle, &pid) != BGWH_STOPPED)
			return;
		pfree(handle);
		handle = NULL;
	}

	/* without supplies what was leased before the start-up must go back yet */
	if (!guc_supply && looked && !stock_any())
		return;
	if (!worker_try_transaction("looking for leases", look_for_leases, &kept))
		return;
	looked = true;
	if (guc_supply || kept)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		if (!worker_start(&supplier_kind, MyDatabaseId, &handle))
			handle = NULL;
		MemoryContextSwitchTo(old);
	}
}

void
supplier_leave(void)
{
	if (handle)
		TerminateBackgroundWorker(handle);
}

/* ---- SQL ---- */

static Statement add_counts = {
	"SELECT _taskex.supply_counted($1, $2, $3, $4, $5, $6, $7, $8)",
	8, {INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, FLOAT8OID}
};

/* supplies that are to be made before anybody asks */
static Statement select_targets = {
	"SELECT group_id, task_type_id FROM _taskex.supply_target WHERE target > 0 AND $1",
	1, {BOOLOID}
};

static Statement select_target = {
	"SELECT coalesce(_taskex.wanted_slots($1, $2, $3), 0),"
	" coalesce((SELECT sharing = 'exclusive' FROM _taskex.performer_group WHERE group_id = $1), false)",
	3, {INT4OID, INT8OID, FLOAT8OID}
};

/*
 * May this transaction write what was counted?  Until it ends it is the only
 * one, and does so once: what is written is known in memory when it commits.
 */
static bool
may_write_counts(void)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, COUNTS_LOCK, realm_current()->serial, 3);
	return LockAcquire(&tag, ExclusiveLock, false, true) == LOCKACQUIRE_OK;
}

PG_FUNCTION_INFO_V1(taskex_supply_count);

/* _taskex.supply_count() -> int */
Datum
taskex_supply_count(PG_FUNCTION_ARGS)
{
	SupplyInfo *infos;
	int			count;
	Datum		enabled = BoolGetDatum(guc_supply);
	SpiScope	scope;
	bool		isnull;
	bool		write = may_write_counts();

	supply_require_loaded();
	spi_begin(&scope);
	count = (int) spi_run(&select_targets, 0, &enabled, NULL, SPI_VIEW_CURRENT, 0);
	for (int i = 0; i < count; i++)
		(void) stock_room(spi_int32(i, 1), spi_int64(i, 2), 0);
	spi_end(&scope);
	count = stock_list(false, &infos);
	for (int i = 0; i < count; i++)
	{
		SupplyInfo *info = &infos[i];
		Datum		values[8];

		CHECK_FOR_INTERRUPTS();
		values[0] = Int32GetDatum(info->group);
		values[1] = Int64GetDatum(info->task_type);
		values[2] = Float8GetDatum(info->pace);
		spi_begin(&scope);
		spi_run(&select_target, 0, values, NULL, SPI_VIEW_CURRENT, 1);
		info->target = spi_int32(0, 1);
		info->exclusive = DatumGetBool(spi_value(0, 2, &isnull));
		if (write && memcmp(&info->counts, &info->flushed, sizeof(SupplyCounts)) != 0)
		{
			values[2] = Int64GetDatum(info->counts.hits - info->flushed.hits);
			values[3] = Int64GetDatum(info->counts.misses - info->flushed.misses);
			values[4] = Int64GetDatum(info->counts.leased - info->flushed.leased);
			values[5] = Int64GetDatum(info->counts.returned - info->flushed.returned);
			values[6] = Int64GetDatum(info->counts.refills - info->flushed.refills);
			values[7] = Float8GetDatum((double) (info->counts.waited - info->flushed.waited) / USECS_PER_SEC);
			spi_run(&add_counts, 0, values, NULL, SPI_VIEW_CURRENT, 0);
		}
		spi_end(&scope);
		stock_set_target(info);
		if (write)
			stock_flushed(info);
	}
	pfree(infos);
	PG_RETURN_INT32(count);
}

PG_FUNCTION_INFO_V1(taskex_supply_list);

/* _taskex.supply_list() -> setof record */
Datum
taskex_supply_list(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SupplyInfo *infos;
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	supply_require_loaded();
	count = stock_list(false, &infos);
	for (int i = 0; i < count; i++)
	{
		const SupplyInfo *info = &infos[i];
		bool		nulls[17] = {false};
		Datum		values[17] = {
			Int32GetDatum(info->group), Int64GetDatum(info->task_type), Int32GetDatum(info->tasks), Int32GetDatum(info->target),
			Int32GetDatum(info->ready), Int32GetDatum(info->fresh), Int32GetDatum(info->reserved), Int32GetDatum(info->pending), Int32GetDatum(info->coming),
			Int32GetDatum(info->ended + info->stale), Float8GetDatum(info->pace), Int64GetDatum(info->counts.hits), Int64GetDatum(info->counts.misses),
			Int64GetDatum(info->counts.leased), Int64GetDatum(info->counts.returned), Int64GetDatum(info->counts.refills),
		Float8GetDatum((double) info->counts.waited / USECS_PER_SEC)};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(taskex_at_hand);

/* _taskex.at_hand(task_id) -> int */
Datum
taskex_at_hand(PG_FUNCTION_ARGS)
{
	supply_require_loaded();
	PG_RETURN_INT32(stock_held(PG_GETARG_INT64(0)));
}
