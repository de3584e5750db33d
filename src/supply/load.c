/*
 * load.c
 *	  Leases that were taken before the start-up.
 *
 * Whoever needs supplies first after a start-up reads the leases on record.  Of
 * each leased slot there is an assignment that names the lease, or a recall, or
 * it is still to be had.
 */
#include "postgres.h"

#include "supply/supply.h"
#include "base/guc.h"
#include "directory/directory.h"
#include "infra/realm.h"
#include "infra/spi.h"

#include "access/detoast.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

static Statement select_leases = {
	"SELECT l.lease_id, l.group_id, l.task_type_id, l.watermark, l.lease_until,"
	" coalesce(g.sharing = 'exclusive', false), l.task_ids, l.requester_ids, l.slots"
	" FROM _taskex.group_lease l LEFT JOIN _taskex.performer_group g USING (group_id) ORDER BY l.lease_id",
	0, {0}
};

static Statement select_recalled = {
	"SELECT r.lease_id, u.task_id, sum(u.n)::int8 FROM _taskex.group_recall r CROSS JOIN unnest(r.task_ids, r.slots) AS u (task_id, n)"
	" GROUP BY 1, 2",
	0, {0}
};

/* of all partitions in one snapshot: a performer may be moved from one to another meanwhile */
static Statement select_assigned = {
	"SELECT group_lease_id, task_id, count(*) FROM _taskex.assignment_at_home"
	" WHERE assignment_id > $1 AND group_lease_id IS NOT NULL GROUP BY 1, 2",
	1, {INT8OID}
};

static Statement select_tasks = {
	"SELECT task_id, requester_id, reward, created_at, expires_at, consensus IS NOT NULL, state = 'open', input, performers > 1"
	" FROM _taskex.task_%p WHERE task_id = ANY ($1) ORDER BY task_id",
	1, {INT8ARRAYOID}
};

typedef struct Lease
{
	NewBatch	batch;
	int64		watermark;
	int			count;			/* of tasks that it had */
	Datum	   *task_ids;
	Datum	   *slots;
	int32	   *homes;			/* partitions on which the tasks are */
} Lease;

typedef struct UsedKey
{
	int64		lease_id;
	int64		task_id;
} UsedKey;

typedef struct Used
{
	UsedKey		key;
	int64		slots;
} Used;

#define LEASES_LOCK 0x74786c64

/* who loads, and who removes leases from the record, exclude each other */
static void
load_tag(LOCKTAG *tag)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, LEASES_LOCK, realm_current()->serial, 3);
}

bool
supply_lock_leases(bool wait)
{
	LOCKTAG		tag;

	load_tag(&tag);
	return LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL;
}

static void
unlock_leases(void)
{
	LOCKTAG		tag;

	load_tag(&tag);
	LockRelease(&tag, ExclusiveLock, false);
}

/* which tasks the lease in the row has, in the current memory context; their requesters stay where they are */
static void
read_arrays(Lease *lease, uint64 row)
{
	Datum	   *requesters;
	bool		isnull;
	int			requester_count;
	int			slot_count;

	deconstruct_array(DatumGetArrayTypePCopy(spi_value(row, 7, &isnull)), INT8OID, 8, true, TYPALIGN_DOUBLE,
					  &lease->task_ids, NULL, &lease->count);
	deconstruct_array(DatumGetArrayTypePCopy(spi_value(row, 8, &isnull)), INT8OID, 8, true, TYPALIGN_DOUBLE,
					  &requesters, NULL, &requester_count);
	deconstruct_array(DatumGetArrayTypePCopy(spi_value(row, 9, &isnull)), INT4OID, 4, true, TYPALIGN_INT,
					  &lease->slots, NULL, &slot_count);
	if (lease->count != slot_count || lease->count != requester_count)
		elog(ERROR, "lease %lld has %d tasks, %d requesters and %d counts", (long long) lease->batch.lease_id,
			 lease->count, requester_count, slot_count);
	lease->homes = palloc(sizeof(int32) * Max(lease->count, 1));
	for (int i = 0; i < lease->count; i++)
	{
		UserHome	home;

		directory_home_by_id(DatumGetInt64(requesters[i]), &home);
		lease->homes[i] = home.partition;
	}
}

static int
read_leases(Lease **result, MemoryContext context)
{
	SpiScope	scope;
	int			count;
	int			kept = 0;
	bool		isnull;
	MemoryContext old;

	spi_begin(&scope);
	count = (int) spi_run(&select_leases, 0, NULL, NULL, SPI_VIEW_LATEST, 0);
	*result = MemoryContextAllocZero(context, sizeof(Lease) * Max(count, 1));
	old = MemoryContextSwitchTo(context);
	for (int i = 0; i < count; i++)
	{
		Lease	   *lease = &(*result)[kept];

		lease->batch.lease_id = spi_int64(i, 1);
		if (stock_knows(lease->batch.lease_id))
			continue;
		lease->batch.group = spi_int32(i, 2);
		lease->batch.task_type = spi_int64(i, 3);
		lease->watermark = spi_int64(i, 4);
		lease->batch.lease_until = DatumGetTimestampTz(spi_value(i, 5, &isnull));
		lease->batch.exclusive = DatumGetBool(spi_value(i, 6, &isnull));
		read_arrays(lease, i);
		kept++;
	}
	MemoryContextSwitchTo(old);
	spi_end(&scope);
	return kept;
}

/* adds what the last result says was used */
static void
add_used(HTAB *used, uint64 count)
{
	for (uint64 i = 0; i < count; i++)
	{
		UsedKey		key = {spi_int64(i, 1), spi_int64(i, 2)};
		bool		found;
		Used	   *entry = hash_search(used, &key, HASH_ENTER, &found);

		entry->slots = (found ? entry->slots : 0) + spi_int64(i, 3);
	}
}

static HTAB *
read_used(int64 watermark, MemoryContext context)
{
	HASHCTL		ctl = {.keysize = sizeof(UsedKey),.entrysize = sizeof(Used),.hcxt = context};
	HTAB	   *used = hash_create("taskex used slots", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	Datum		value = Int64GetDatum(watermark);
	SpiScope	scope;

	spi_begin(&scope);
	add_used(used, spi_run(&select_recalled, 0, NULL, NULL, SPI_VIEW_LATEST, 0));
	add_used(used, spi_run(&select_assigned, 0, &value, NULL, SPI_VIEW_LATEST, 0));
	spi_end(&scope);
	return used;
}

static int64
slots_left(const Lease *lease, HTAB *used, int64 task_id, int32 slots)
{
	UsedKey		key = {lease->batch.lease_id, task_id};
	Used	   *entry = hash_search(used, &key, HASH_FIND, NULL);

	return slots - (entry ? entry->slots : 0);
}

/* those of the lease's tasks on the partition that have slots left, as they are now */
static void
read_tasks_on(Lease *lease, int32 partition, HTAB *used, MemoryContext context)
{
	Datum	   *ids = palloc(sizeof(Datum) * lease->count);
	int			n = 0;
	Datum		value;
	SpiScope	scope;
	uint64		found;
	bool		isnull;
	MemoryContext old;

	for (int k = 0; k < lease->count; k++)
		if (lease->homes[k] == partition)
			ids[n++] = lease->task_ids[k];
	value = PointerGetDatum(construct_array(ids, n, INT8OID, 8, true, TYPALIGN_DOUBLE));
	spi_begin(&scope);
	found = spi_run(&select_tasks, partition, &value, NULL, SPI_VIEW_LATEST, 0);
	old = MemoryContextSwitchTo(context);
	for (uint64 i = 0; i < found; i++)
	{
		NewTask    *task = &lease->batch.tasks[lease->batch.count];
		Datum		input = spi_value(i, 8, &isnull);

		task->task_id = spi_int64(i, 1);
		for (int k = 0; k < lease->count; k++)
			if (DatumGetInt64(lease->task_ids[k]) == task->task_id)
				task->slots = (int32) slots_left(lease, used, task->task_id, DatumGetInt32(lease->slots[k]));
		if (task->slots <= 0)
			continue;
		task->requester = spi_int64(i, 2);
		task->reward = spi_int64(i, 3);
		task->created = DatumGetTimestampTz(spi_value(i, 4, &isnull));
		task->expires = DatumGetTimestampTz(spi_value(i, 5, &isnull));
		task->counted = DatumGetBool(spi_value(i, 6, &isnull));
		task->several = DatumGetBool(spi_value(i, 9, &isnull));
		task->barred = !DatumGetBool(spi_value(i, 7, &isnull));
		task->input = toast_raw_datum_size(input) <= guc_supply_input ? (Jsonb *) PG_DETOAST_DATUM_COPY(input) : NULL;
		lease->batch.count++;
	}
	MemoryContextSwitchTo(old);
	spi_end(&scope);
}

static void
read_tasks(Lease *lease, HTAB *used, MemoryContext context)
{
	lease->batch.tasks = MemoryContextAllocZero(context, sizeof(NewTask) * Max(lease->count, 1));
	for (int i = 0; i < lease->count; i++)
	{
		bool		seen = false;

		for (int k = 0; k < i && !seen; k++)
			seen = lease->homes[k] == lease->homes[i];
		if (!seen)
			read_tasks_on(lease, lease->homes[i], used, context);
	}
}

/* loads what is not loaded yet; is that all? */
static bool
load(void)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "taskex supply", ALLOCSET_DEFAULT_SIZES);
	Lease	   *leases;
	int			count = read_leases(&leases, context);
	int64		watermark = PG_INT64_MAX;
	bool		all = true;

	for (int i = 0; i < count; i++)
		watermark = Min(watermark, leases[i].watermark);
	if (count > 0)
	{
		HTAB	   *used = read_used(watermark, context);

		for (int i = 0; i < count; i++)
		{
			read_tasks(&leases[i], used, context);
			all &= stock_add(&leases[i].batch, true);
		}
	}
	MemoryContextDelete(context);
	return all;
}

static void
load_locked(bool missing)
{
	(void) supply_lock_leases(true);
	if (stock_load_state() != STOCK_LOADED && (missing || stock_load_state() == STOCK_UNKNOWN))
		stock_set_loaded(load());
	unlock_leases();
}

void
supply_require_loaded(void)
{
	if (unlikely(stock_load_state() == STOCK_UNKNOWN))
		load_locked(false);
}

void
supply_load_missing(void)
{
	if (unlikely(stock_load_state() != STOCK_LOADED))
		load_locked(true);
}
