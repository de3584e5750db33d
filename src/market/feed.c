/*
 * feed.c
 *	  The shelves in shared memory: finding them, and what transactions that
 *	  supply, take and give back tasks do to them.
 *
 * PURPOSE	A session finds available tasks by reading an index on
 *			(task_type_id, task_id) forward from a remembered place, never by
 *			searching among finished ones.
 * LAYOUT	An array of taskex.feed_size shelves, found by a linear look
 *			through their keys (they are few, and the look is rare); a cache of
 *			performers' places (feed_scan.c).
 * WRITES	Keys under the feed lock, exclusive; a shelf's other fields under
 *			its spinlock.  A pinned shelf keeps its key.
 * CRASH	Shelves are listed again from _taskex.offer, whose "low" is never
 *			beyond a task that is still open.
 * INVARIANT  A committed task with a free slot is after "low", or in a range,
 *			or claimed by a running transaction, or in "busy".
 */
#include "postgres.h"

#include "market/shelf.h"
#include "base/guc.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/xact.h"
#include "market/place.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

typedef struct FeedShared
{
	uint32		last_incarnation;
	int			used;			/* shelves 0 .. used - 1 have been in use */
	int			hand;			/* of the eviction clock */
	bool		crowded;		/* a shelf had to give way */
	uint32		listed[FLEXIBLE_ARRAY_MEMBER];	/* by realm slot: its serial */
} FeedShared;

static FeedShared *feed = NULL;
static Shelf *shelves = NULL;
static LWLock *lock = NULL;

static Statement insert_offer = {
	"INSERT INTO _taskex.offer (task_type_id, partition_id) VALUES ($1, $2)"
	" ON CONFLICT DO NOTHING",
	2, {INT8OID, INT4OID}
};

static Statement select_offers = {
	"SELECT task_type_id, partition_id FROM _taskex.offer"
	" WHERE $1 = 0 OR task_type_id = $1 ORDER BY random() LIMIT $2",
	2, {INT8OID, INT8OID}
};

static Statement select_low = {
	"SELECT low FROM _taskex.offer WHERE task_type_id = $1 AND partition_id = $2",
	2, {INT8OID, INT4OID}
};

static Statement select_high = {
	"SELECT task_id FROM _taskex.task_%p WHERE task_type_id = $1"
	" ORDER BY task_id DESC LIMIT 1",
	1, {INT8OID}
};

static Size
header_size(void)
{
	return MAXALIGN(offsetof(FeedShared, listed) + sizeof(uint32) * (Size) guc_max_databases);
}

static Size
feed_size(void)
{
	return add_size(add_size(header_size(), mul_size(guc_feed_size, sizeof(Shelf))),
					place_size());
}

static int
feed_lock_count(void)
{
	return 1;
}

static void
feed_attach(void *block, LWLockPadded *locks, bool found)
{
	feed = block;
	shelves = (Shelf *) ((char *) block + header_size());
	lock = &locks[0].lock;
	if (!found)
		for (int i = 0; i < guc_feed_size; i++)
			SpinLockInit(&shelves[i].mutex);
	place_attach((char *) (shelves + guc_feed_size), found);
}

const ShmemPart feed_shmem = {"taskex feed", feed_size, NULL, feed_lock_count, feed_attach};

/* ---- finding shelves ---- */

static Shelf *
find(const ShelfKey *key)
{
	for (int i = 0; i < feed->used; i++)
		if (shelves[i].key.task_type == key->task_type &&
			shelves[i].key.partition == key->partition &&
			shelves[i].key.realm == key->realm)
			return &shelves[i];
	return NULL;
}

static void
pin(Shelf *shelf)
{
	SpinLockAcquire(&shelf->mutex);
	shelf->pins++;
	SpinLockRelease(&shelf->mutex);
}

void
shelf_unpin(Shelf *shelf)
{
	SpinLockAcquire(&shelf->mutex);
	shelf->pins--;
	SpinLockRelease(&shelf->mutex);
}

/* a shelf that nobody refers to, emptied; feed lock held exclusive */
static Shelf *
take_shelf(void)
{
	if (feed->used < guc_feed_size)
		return &shelves[feed->used++];
	for (int i = 0; i < guc_feed_size; i++)
	{
		Shelf	   *shelf = &shelves[feed->hand++ % guc_feed_size];

		if (shelf->pins == 0)
		{
			feed->crowded = true;
			return shelf;
		}
	}
	return NULL;
}

/* the shelf, made if need be, and pinned */
Shelf *
shelf_get(int64 task_type, int32 partition)
{
	ShelfKey	key = {realm_current()->serial, partition, task_type};
	Shelf	   *shelf;

	LWLockAcquire(lock, LW_SHARED);
	shelf = find(&key);
	if (likely(shelf != NULL))
		pin(shelf);
	LWLockRelease(lock);
	if (likely(shelf != NULL))
		return shelf;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	shelf = find(&key);
	if (shelf == NULL && (shelf = take_shelf()) != NULL)
	{
		SpinLockAcquire(&shelf->mutex);
		memset((char *) shelf + offsetof(Shelf, key), 0, sizeof(Shelf) - offsetof(Shelf, key));
		shelf->key = key;
		shelf->incarnation = ++feed->last_incarnation;
		SpinLockRelease(&shelf->mutex);
	}
	if (shelf)
		pin(shelf);
	LWLockRelease(lock);
	if (shelf == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("all shelves of the feed are in use by running transactions"),
				 errhint("Raise taskex.feed_size and restart the server.")));
	return shelf;
}

/*
 * Adds a range of tasks that are offered again.  The one that must give way
 * takes the shelf's low down with it.
 */
void
shelf_add_range(Shelf *shelf, int64 lo, int64 hi)
{
	Range	   *range = &shelf->ranges[++shelf->generation % SHELF_RANGES];

	if (range->hi != 0)
		shelf->low = Min(shelf->low, range->lo - 1);
	range->lo = lo;
	range->hi = hi;
}

/* reads where the shelf begins and ends, if nobody has yet */
void
shelf_load(Shelf *shelf)
{
	SpiScope	scope;
	Datum		values[2] = {Int64GetDatum(shelf->key.task_type), Int32GetDatum(shelf->key.partition)};
	int64		low = 0;
	int64		high = 0;

	if (likely(shelf->loaded))
		return;

	spi_begin(&scope);
	if (spi_run(&select_low, 0, values, NULL, SPI_VIEW_LATEST, 1) > 0)
		low = spi_int64(0, 1);
	if (spi_run(&select_high, shelf->key.partition, values, NULL, SPI_VIEW_LATEST, 1) > 0)
		high = spi_int64(0, 1);
	spi_end(&scope);

	SpinLockAcquire(&shelf->mutex);
	if (!shelf->loaded)
	{
		shelf->loaded = true;
		shelf->low = shelf->durable = low;
		shelf->high = Max(shelf->high, high);
	}
	SpinLockRelease(&shelf->mutex);
}

/* makes shelves of the offers that are on record */
static void
list_offers(int64 task_type)
{
	SpiScope	scope;
	Datum		values[2] = {Int64GetDatum(task_type), Int64GetDatum(guc_feed_size)};
	uint64		count;

	spi_begin(&scope);
	count = spi_run(&select_offers, 0, values, NULL, SPI_VIEW_LATEST, 0);
	for (uint64 i = 0; i < count; i++)
	{
		Shelf	   *shelf = shelf_get(spi_int64(i, 1), spi_int32(i, 2));

		shelf->registered = true;
		shelf_unpin(shelf);
	}
	spi_end(&scope);
}

int
feed_shelves(int64 task_type, Shelf ***result)
{
	const Realm *realm = realm_current();
	int			count = 0;
	int			used;
	int			start;
	Shelf	  **array;

	if (unlikely(feed->listed[realm->slot] != realm->serial))
	{
		list_offers(0);
		feed->listed[realm->slot] = realm->serial;
	}
	else if (unlikely(feed->crowded))
		list_offers(task_type);

	LWLockAcquire(lock, LW_SHARED);
	used = feed->used;
	LWLockRelease(lock);
	array = palloc(sizeof(Shelf *) * Max(used, 1));
	start = used > 1 ? (int) pg_prng_uint64_range(&pg_global_prng_state, 0, used - 1) : 0;

	LWLockAcquire(lock, LW_SHARED);
	for (int i = 0; i < used; i++)
	{
		Shelf	   *shelf = &shelves[(start + i) % used];

		if (shelf->key.realm == realm->serial &&
			(task_type == 0 || shelf->key.task_type == task_type))
			array[count++] = shelf;
	}
	LWLockRelease(lock);
	*result = array;
	return count;
}

void
shelf_each(void (*visit) (Shelf *shelf))
{
	Shelf	  **all;
	int			count = feed_shelves(0, &all);
	uint32		realm = realm_current()->serial;

	for (int i = 0; i < count; i++)
	{
		/* pin it where it still is ours */
		LWLockAcquire(lock, LW_SHARED);
		if (all[i]->key.realm != realm)
		{
			LWLockRelease(lock);
			continue;
		}
		pin(all[i]);
		LWLockRelease(lock);

		PG_TRY();
		{
			visit(all[i]);
		}
		PG_FINALLY();
		{
			shelf_unpin(all[i]);
		}
		PG_END_TRY();
	}
	pfree(all);
}

/* ---- supplying ---- */

typedef struct Supplying
{
	Shelf	   *shelf;
	int			epoch;			/* index into shelf->supplying */
	int64		first;			/* 0: nothing supplied yet */
	int64		last;
} Supplying;

static void
supplying_commit(void *record)
{
	Supplying  *supplying = record;
	Shelf	   *shelf = supplying->shelf;

	SpinLockAcquire(&shelf->mutex);
	shelf->registered = true;
	if (supplying->first != 0)
	{
		/* a session may have read past ids that were not committed */
		if (supplying->first <= shelf->high)
			shelf_add_range(shelf, supplying->first, supplying->last);
		shelf->high = Max(shelf->high, supplying->last);
	}
	shelf->supplying[supplying->epoch]--;
	shelf->pins--;
	SpinLockRelease(&shelf->mutex);
}

static void
supplying_abort(void *record)
{
	Supplying  *supplying = record;
	Shelf	   *shelf = supplying->shelf;

	SpinLockAcquire(&shelf->mutex);
	shelf->supplying[supplying->epoch]--;
	shelf->pins--;
	SpinLockRelease(&shelf->mutex);
}

static const XactKind supplying_kind = {supplying_commit, supplying_abort};

Shelf *
feed_supply_begin(int64 task_type, int32 partition)
{
	Shelf	   *shelf = shelf_get(task_type, partition);
	Supplying  *supplying = xact_find(&supplying_kind);

	if (supplying && supplying->shelf == shelf)
	{
		shelf_unpin(shelf);		/* the record's pin is enough */
		return shelf;
	}

	supplying = xact_add(&supplying_kind, sizeof(Supplying));
	supplying->shelf = shelf;
	SpinLockAcquire(&shelf->mutex);
	supplying->epoch = shelf->epoch % 2;
	shelf->supplying[supplying->epoch]++;
	SpinLockRelease(&shelf->mutex);

	if (unlikely(!shelf->registered))
	{
		SpiScope	scope;
		Datum		values[2] = {Int64GetDatum(task_type), Int32GetDatum(partition)};

		spi_begin(&scope);
		spi_run(&insert_offer, 0, values, NULL, SPI_VIEW_CURRENT, 0);
		spi_end(&scope);
	}
	return shelf;
}

void
feed_supply(Shelf *shelf, int64 first, int64 last)
{
	Supplying  *supplying = xact_find(&supplying_kind);

	Assert(supplying && supplying->shelf == shelf);
	supplying->first = supplying->first ? Min(supplying->first, first) : first;
	supplying->last = Max(supplying->last, last);
}

/* ---- giving back ---- */

typedef struct Reoffer
{
	Shelf	   *shelf;
	int64		task_id;
} Reoffer;

static void
reoffer_commit(void *record)
{
	Reoffer    *reoffer = record;

	SpinLockAcquire(&reoffer->shelf->mutex);
	shelf_add_range(reoffer->shelf, reoffer->task_id, reoffer->task_id);
	reoffer->shelf->pins--;
	SpinLockRelease(&reoffer->shelf->mutex);
}

static void
reoffer_abort(void *record)
{
	shelf_unpin(((Reoffer *) record)->shelf);
}

static const XactKind reoffer_kind = {reoffer_commit, reoffer_abort};

void
feed_reoffer(int64 task_type, int32 partition, int64 task_id)
{
	Shelf	   *shelf = shelf_get(task_type, partition);
	Reoffer    *reoffer = xact_add(&reoffer_kind, sizeof(Reoffer));

	reoffer->shelf = shelf;
	reoffer->task_id = task_id;
}

/* ---- claiming ---- */

/* a scan that found a window holds the shelf until the transaction ends */
typedef struct Claiming
{
	Shelf	   *shelf;
	int64		task_id;		/* 0: none, or given up */
	int32		left;			/* slots that the task has beside this one */
} Claiming;

/* removes the claim; was it passed by somebody?  mutex held */
static bool
remove_claim(Shelf *shelf, int64 task_id)
{
	for (int i = 0; i < shelf->claim_count; i++)
		if (shelf->claims[i].task_id == task_id)
		{
			bool		passed = shelf->claims[i].passed;

			shelf->claims[i] = shelf->claims[--shelf->claim_count];
			return passed;
		}
	return true;				/* there was no room for it: nobody knows */
}

static void
end_claim(Claiming *claiming, bool committed)
{
	Shelf	   *shelf = claiming->shelf;

	SpinLockAcquire(&shelf->mutex);
	if (claiming->task_id != 0)
	{
		bool		passed = remove_claim(shelf, claiming->task_id);

		if (!committed || (passed && claiming->left > 0))
			shelf_add_range(shelf, claiming->task_id, claiming->task_id);
		if (committed)
		{
			shelf->taken++;
			shelf->taken_durable++;
		}
	}
	shelf->pins--;
	SpinLockRelease(&shelf->mutex);
}

static void
claiming_commit(void *record)
{
	end_claim(record, true);
}

static void
claiming_abort(void *record)
{
	end_claim(record, false);
}

static const XactKind claiming_kind = {claiming_commit, claiming_abort};

/* a record for the shelf that is free for a claim */
static Claiming *
claiming_for(Shelf *shelf)
{
	Claiming   *claiming = xact_find(&claiming_kind);

	if (claiming && claiming->shelf == shelf && claiming->task_id == 0)
		return claiming;

	claiming = xact_add(&claiming_kind, sizeof(Claiming));
	claiming->shelf = shelf;
	pin(shelf);
	return claiming;
}

/*
 * Keeps the shelf in place until the transaction ends; false if it has given
 * way to another one since feed_shelves named it.
 */
bool
shelf_hold(Shelf *shelf, int64 task_type)
{
	uint32		realm = realm_current()->serial;
	bool		ours;

	LWLockAcquire(lock, LW_SHARED);
	ours = shelf->key.realm == realm && (task_type == 0 || shelf->key.task_type == task_type);
	if (ours)
		pin(shelf);
	LWLockRelease(lock);
	if (ours)
	{
		claiming_for(shelf);
		shelf_unpin(shelf);
	}
	return ours;
}

bool
feed_claim(Shelf *shelf, int64 task_id)
{
	Claiming   *claiming = claiming_for(shelf);
	bool		free_to_claim = true;

	SpinLockAcquire(&shelf->mutex);
	for (int i = 0; i < shelf->claim_count; i++)
		if (shelf->claims[i].task_id == task_id)
		{
			shelf->claims[i].passed = true;
			free_to_claim = false;
			break;
		}
	if (free_to_claim)
	{
		claiming->task_id = task_id;
		claiming->left = 1;		/* until feed_claimed knows better */
		if (shelf->claim_count < SHELF_CLAIMS)
		{
			shelf->claims[shelf->claim_count].task_id = task_id;
			shelf->claims[shelf->claim_count++].passed = false;
		}
	}
	SpinLockRelease(&shelf->mutex);
	return free_to_claim;
}

void
feed_claimed(int64 task_id, int32 left)
{
	Claiming   *claiming = xact_find(&claiming_kind);

	if (claiming && claiming->task_id == task_id)
		claiming->left = left;
}

void
feed_claim_failed(int64 task_id)
{
	Claiming   *claiming = xact_find(&claiming_kind);
	Shelf	   *shelf;

	if (claiming == NULL || claiming->task_id != task_id)
		return;
	claiming->task_id = 0;
	shelf = claiming->shelf;

	SpinLockAcquire(&shelf->mutex);
	if (remove_claim(shelf, task_id) || shelf->busy_count == SHELF_BUSY)
		shelf_add_range(shelf, task_id, task_id);
	else
		shelf->busy[shelf->busy_count++] = task_id;
	SpinLockRelease(&shelf->mutex);
}
