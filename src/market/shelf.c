/*
 * shelf.c
 *	  The shelves in shared memory: making them, finding them, and listing
 *	  those that are on record.
 *
 * PURPOSE	A session finds available tasks by reading an index on
 *			(task_type_id, task_id) forward from a remembered place, never by
 *			searching among finished ones.
 * LAYOUT	A header with two hash tables of places, by key and by task type, an
 *			array of taskex.feed_size places (key, idle or not) and, in
 *			parallel, of shelves; then the cache of performers' places (place.c).
 * WRITES	Places and hash chains under the feed lock, exclusive; "idle" and a
 *			shelf's other fields under its spinlock.  A pinned shelf keeps its
 *			key.
 * CRASH	Shelves are listed again from _taskex.offer, whose "low" is never
 *			beyond a task that is still open.
 * INVARIANT  A committed task with a free slot is after "low", or in a range,
 *			or claimed by a running transaction, or in "busy"; a shelf that has
 *			any of these is not idle.
 */
#include "postgres.h"

#include "market/shelf.h"
#include "base/guc.h"
#include "directory/directory.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "market/golden.h"
#include "market/place.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "storage/shmem.h"
#include "utils/memutils.h"

typedef struct ShelfPlace
{
	ShelfKey	key;			/* as in the shelf */
	int32		next;			/* in its hash chain; -1: the end */
	int32		next_of_type;	/* in that of its task type */
	bool		idle;			/* nothing can be had there */
} ShelfPlace;

/* what is kept of each exchange, by realm slot */
typedef struct FeedRealm
{
	uint32		listed;			/* the realm's serial, when its shelves were made */
	uint32		walked;			/* "missing" when the last whole walk began */
} FeedRealm;

typedef struct FeedShared
{
	uint32		last_incarnation;
	int			used;			/* places 0 .. used - 1 have been in use */
	uint32		hand;			/* of the eviction clock */

	/* how often something could be had on a shelf that had to give way */
	pg_atomic_uint32 missing;
	FeedRealm	realms[FLEXIBLE_ARRAY_MEMBER];
} FeedShared;

static FeedShared *feed = NULL;
static int32 *chains = NULL;	/* taskex.feed_size heads */
static int32 *type_chains = NULL;	/* as many, by realm and task type */
static ShelfPlace *places = NULL;
static Shelf *shelves = NULL;
static LWLock *lock = NULL;

static Statement select_offers = {
	"SELECT task_type_id, partition_id FROM"
	" (SELECT task_type_id, partition_id FROM _taskex.offer WHERE NOT idle"
	" UNION SELECT task_type_id, partition_id FROM _taskex.offer_note) o"
	" WHERE ($1 = 0 OR task_type_id = $1) AND (task_type_id, partition_id) > ($2, $3)"
	" ORDER BY task_type_id, partition_id LIMIT $4",
	4, {INT8OID, INT8OID, INT4OID, INT8OID}
};

static Statement select_low = {
	"SELECT least(o.low, n.low) FROM _taskex.offer o CROSS JOIN"
	" (SELECT min(low) AS low FROM _taskex.offer_note WHERE task_type_id = $1 AND partition_id = $2) n"
	" WHERE o.task_type_id = $1 AND o.partition_id = $2",
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
	return MAXALIGN(offsetof(FeedShared, realms) + sizeof(FeedRealm) * (Size) guc_max_databases);
}

static Size
chains_size(void)
{
	return MAXALIGN(sizeof(int32) * (Size) guc_feed_size);
}

static Size
places_size(void)
{
	return MAXALIGN(sizeof(ShelfPlace) * (Size) guc_feed_size);
}

static Size
feed_size(void)
{
	Size		size = add_size(header_size(), mul_size(2, chains_size()));

	size = add_size(size, places_size());
	size = add_size(size, mul_size(guc_feed_size, sizeof(Shelf)));
	return add_size(size, place_size());
}

static int
feed_lock_count(void)
{
	return 1;
}

static void
feed_attach(void *block, LWLockPadded *locks, bool found)
{
	char	   *at = block;

	feed = block;
	at += header_size();
	chains = (int32 *) at;
	at += chains_size();
	type_chains = (int32 *) at;
	at += chains_size();
	places = (ShelfPlace *) at;
	at += places_size();
	shelves = (Shelf *) at;
	lock = &locks[0].lock;
	if (!found)
	{
		pg_atomic_init_u32(&feed->missing, 0);
		for (int i = 0; i < guc_feed_size; i++)
		{
			chains[i] = type_chains[i] = -1;
			SpinLockInit(&shelves[i].mutex);
		}
	}
	place_attach((char *) (shelves + guc_feed_size), found);
}

const ShmemPart feed_shmem = {"taskex feed", feed_size, NULL, feed_lock_count, feed_attach};

/* ---- finding shelves ---- */

static int32 *
chain_of(const ShelfKey *key)
{
	return &chains[hash_bytes((const unsigned char *) key, sizeof(ShelfKey)) % guc_feed_size];
}

static int32 *
type_chain_of(uint32 realm, int64 task_type)
{
	return &type_chains[hash_bytes_uint32_extended(realm, (uint64) task_type) % guc_feed_size];
}

static bool
same_key(const ShelfKey *a, const ShelfKey *b)
{
	return a->task_type == b->task_type && a->partition == b->partition && a->realm == b->realm;
}

static Shelf *
find(const ShelfKey *key)
{
	for (int32 i = *chain_of(key); i >= 0; i = places[i].next)
		if (same_key(&places[i].key, key))
			return &shelves[i];
	return NULL;
}

void
shelf_pin(Shelf *shelf)
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

/* puts a place into its chains */
static void
link_place(int32 i, const ShelfKey *key)
{
	int32	   *head = chain_of(key);
	int32	   *type_head = type_chain_of(key->realm, key->task_type);

	places[i].key = *key;
	places[i].next = *head;
	*head = i;
	places[i].next_of_type = *type_head;
	*type_head = i;
}

/* takes a place out of its chains */
static void
unlink_place(int32 i)
{
	int32	   *link = chain_of(&places[i].key);

	while (*link != i)
		link = &places[*link].next;
	*link = places[i].next;
	link = type_chain_of(places[i].key.realm, places[i].key.task_type);
	while (*link != i)
		link = &places[*link].next_of_type;
	*link = places[i].next_of_type;
}

/*
 * A place for a new shelf, -1 if all are pinned: a new one, or an idle shelf's,
 * or else any.  Feed lock held exclusive, so nobody can pin meanwhile.
 */
static int32
free_place(void)
{
	int32		victim = -1;

	if (feed->used < guc_feed_size)
		return feed->used++;
	for (int n = 0; n < guc_feed_size; n++)
	{
		int32		i = feed->hand++ % guc_feed_size;

		if (shelves[i].pins > 0)
			continue;
		if (victim < 0 || places[i].idle)
			victim = i;
		if (places[i].idle)
			break;
	}
	if (victim >= 0)
	{
		feed->hand = victim + 1;	/* the next one is another */
		if (!places[victim].idle)
			pg_atomic_fetch_add_u32(&feed->missing, 1);
		unlink_place(victim);
	}
	return victim;
}

void
shelf_key(ShelfKey *key, int64 task_type, int32 partition)
{
	memset(key, 0, sizeof(ShelfKey));
	key->realm = realm_current()->serial;
	key->partition = partition;
	key->task_type = task_type;
}

Shelf *
shelf_try_get(int64 task_type, int32 partition)
{
	ShelfKey	key;
	Shelf	   *shelf;

	shelf_key(&key, task_type, partition);
	LWLockAcquire(lock, LW_SHARED);
	shelf = find(&key);
	if (likely(shelf != NULL))
		shelf_pin(shelf);
	LWLockRelease(lock);
	if (likely(shelf != NULL))
		return shelf;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	shelf = find(&key);
	if (shelf == NULL)
	{
		int32		i = free_place();

		if (i >= 0)
		{
			link_place(i, &key);
			places[i].idle = false;

			shelf = &shelves[i];
			SpinLockAcquire(&shelf->mutex);
			memset((char *) shelf + offsetof(Shelf, key), 0, sizeof(Shelf) - offsetof(Shelf, key));
			shelf->key = key;
			shelf->incarnation = ++feed->last_incarnation;
			shelf->lowered = PG_INT64_MAX;
			SpinLockRelease(&shelf->mutex);
		}
	}
	if (shelf)
		shelf_pin(shelf);
	LWLockRelease(lock);
	return shelf;
}

Shelf *
shelf_pin_known(const ShelfKey *key)
{
	Shelf	   *shelf;

	LWLockAcquire(lock, LW_SHARED);
	shelf = find(key);
	if (shelf)
		shelf_pin(shelf);
	LWLockRelease(lock);
	return shelf;
}

Shelf *
shelf_pin_to_tell(const ShelfKey *key)
{
	Shelf	   *shelf = shelf_pin_known(key);

	/* one of golden tasks is made by who wants one */
	if (shelf == NULL && key->task_type > 0)
		pg_atomic_fetch_add_u32(&feed->missing, 1);
	return shelf;
}

Shelf *
shelf_get(int64 task_type, int32 partition)
{
	Shelf	   *shelf = shelf_try_get(task_type, partition);

	if (shelf == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("all shelves of the feed are in use by running transactions"),
				 errhint("Raise taskex.feed_size and restart the server.")));
	return shelf;
}

void
shelf_changed(Shelf *shelf)
{
	places[shelf - shelves].idle = shelf->loaded && shelf->low >= shelf->high &&
		shelf->open_ranges == 0 && shelf->claim_count == 0 && shelf->busy_count == 0;
}

bool
shelf_is_idle(const Shelf *shelf)
{
	return places[shelf - shelves].idle;
}

void
shelf_strike_range(Shelf *shelf, Range *range)
{
	range->lo = range->hi = 0;
	shelf->open_ranges--;
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
	else
		shelf->open_ranges++;
	range->lo = lo;
	range->hi = hi;
	shelf_changed(shelf);
}

void
shelf_lower_durable(Shelf *shelf, int64 low)
{
	if (shelf->loaded)
		shelf->durable = Min(shelf->durable, low);
	else
		shelf->lowered = Min(shelf->lowered, low);
}

/* reads where the shelf begins and ends, if nobody has yet; it is pinned */
void
shelf_load(Shelf *shelf)
{
	SpiScope	scope;
	Datum		values[2] = {Int64GetDatum(shelf->key.task_type), Int32GetDatum(shelf->key.partition)};
	int64		low = 0;
	int64		high = 0;
	bool		golden;

	if (likely(shelf->loaded))
		return;
	golden = shelf->key.task_type > 0 && golden_any_rate(shelf->key.task_type);

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
		shelf->golden |= golden;	/* a rate may have been set meanwhile */
		shelf->low = low;
		shelf->durable = Min(low, shelf->lowered);
		shelf->high = Max(shelf->high, high);
		shelf->taken_durable = TAKEN_DURABLE;	/* have a look at the stored low */
		shelf_changed(shelf);
	}
	SpinLockRelease(&shelf->mutex);
}

int
feed_walk(FeedWalk *walk, Shelf ***result)
{
	SpiScope	scope;
	Datum		values[4] = {Int64GetDatum(walk->task_type), Int64GetDatum(walk->after_type),
	Int32GetDatum(walk->after_partition), Int64GetDatum(Max(guc_feed_size / 4, 4))};
	Shelf	  **array;
	uint64		count;
	int			known = 0;
	MemoryContext context = CurrentMemoryContext;

	if (walk->after_type == 0)
		walk->missing = pg_atomic_read_u32(&feed->missing);
	spi_begin(&scope);
	count = spi_run(&select_offers, 0, values, NULL, SPI_VIEW_LATEST, 0);
	array = MemoryContextAlloc(context, sizeof(Shelf *) * Max(count, 1));
	for (uint64 i = 0; i < count; i++)
	{
		Shelf	   *shelf;

		walk->after_type = spi_int64(i, 1);
		walk->after_partition = spi_int32(i, 2);
		shelf = shelf_try_get(walk->after_type, walk->after_partition);
		if (shelf == NULL)
			continue;			/* this transaction itself holds all of them */
		shelf_unpin(shelf);
		array[known++] = shelf;
	}
	spi_end(&scope);

	/* all of them were seen, and there is room for them again */
	walk->total += count;
	if (count == 0 && walk->task_type == 0 && walk->total < guc_feed_size * 3 / 4)
		feed->realms[realm_current()->slot].walked = walk->missing;
	*result = array;
	return known;
}

/* makes shelves of all that is on record, after a restart */
static void
list_offers(void)
{
	FeedWalk	walk = {0};
	Shelf	  **array;

	while (feed_walk(&walk, &array) > 0)
		pfree(array);
	pfree(array);
}

bool
feed_crowded(void)
{
	return pg_atomic_read_u32(&feed->missing) != feed->realms[realm_current()->slot].walked;
}

/* sees to it that shelves of all that is on record have been made once */
static void
require_listed(const Realm *realm)
{
	FeedRealm  *mine = &feed->realms[realm->slot];

	if (unlikely(mine->listed != realm->serial))
	{
		list_offers();
		mine->listed = realm->serial;
	}
}

Shelf *
feed_known_shelf(int64 task_type, int32 partition, bool *idle)
{
	ShelfKey	key;
	Shelf	   *shelf;

	require_listed(realm_current());
	shelf_key(&key, task_type, partition);
	LWLockAcquire(lock, LW_SHARED);
	shelf = find(&key);
	*idle = shelf != NULL && places[shelf - shelves].idle;
	LWLockRelease(lock);
	return shelf;
}

/* places that a sample takes together: reading them one after the other is cheap */
#define SAMPLE_BLOCK 8

static uint32
common_divisor(uint32 a, uint32 b)
{
	while (b != 0)
	{
		uint32		rest = a % b;

		a = b;
		b = rest;
	}
	return a;
}

static void
begin_sample(FeedSample *sample)
{
	require_listed(realm_current());
	sample->blocks = (feed->used + SAMPLE_BLOCK - 1) / SAMPLE_BLOCK;
	if (sample->blocks == 0)
		return;
	sample->block = (uint32) pg_prng_uint64_range(&pg_global_prng_state, 0, sample->blocks - 1);
	sample->step = (uint32) pg_prng_uint64_range(&pg_global_prng_state, 1, sample->blocks);
	while (common_divisor(sample->step, sample->blocks) != 1)
		sample->step++;
}

int
feed_sample(FeedSample *sample, Shelf **result, int max)
{
	uint32		realm = realm_current()->serial;
	int			count = 0;

	if (sample->blocks == 0)
		begin_sample(sample);
	LWLockAcquire(lock, LW_SHARED);
	while (sample->seen < sample->blocks && count + SAMPLE_BLOCK <= max)
	{
		int			first = (int) sample->block * SAMPLE_BLOCK;

		for (int i = first; i < Min(first + SAMPLE_BLOCK, feed->used); i++)
			if (!places[i].idle && places[i].key.realm == realm && places[i].key.task_type > 0)
				result[count++] = &shelves[i];
		sample->block = (sample->block + sample->step) % sample->blocks;
		sample->seen++;
	}
	LWLockRelease(lock);
	return count;
}

/*
 * Those of one task type, up to max of them; returns their number, which may
 * be higher.  Feed lock held.
 */
static int
shelves_of_type(uint32 realm, int64 task_type, Shelf **result, int max)
{
	int			count = 0;

	for (int32 i = *type_chain_of(realm, task_type); i >= 0; i = places[i].next_of_type)
		if (places[i].key.task_type == task_type && places[i].key.realm == realm && !places[i].idle)
		{
			if (count < max)
				result[count] = &shelves[i];
			count++;
		}
	return count;
}

int
feed_shelves(int64 task_type, Shelf ***result)
{
	const Realm *realm = realm_current();
	FeedSample	all = {0};
	Shelf	  **array;
	int			count;

	require_listed(realm);
	if (task_type == 0)
	{
		int			room = feed->used + SAMPLE_BLOCK;

		*result = palloc(sizeof(Shelf *) * room);
		return feed_sample(&all, *result, room);
	}

	LWLockAcquire(lock, LW_SHARED);
	count = shelves_of_type(realm->serial, task_type, NULL, 0);
	LWLockRelease(lock);
	*result = array = palloc(sizeof(Shelf *) * Max(count, 1));
	LWLockAcquire(lock, LW_SHARED);
	count = Min(count, shelves_of_type(realm->serial, task_type, array, count));
	LWLockRelease(lock);

	/* no storage partition is always the first */
	if (count > 1)
	{
		int			other = (int) pg_prng_uint64_range(&pg_global_prng_state, 0, count - 1);
		Shelf	   *first = array[0];

		array[0] = array[other];
		array[other] = first;
	}
	return count;
}

bool
shelf_pin_ours(Shelf *shelf, int64 task_type)
{
	uint32		realm = realm_current()->serial;
	bool		ours;

	LWLockAcquire(lock, LW_SHARED);
	ours = shelf->key.realm == realm && (task_type == 0 || shelf->key.task_type == task_type);
	if (ours)
		shelf_pin(shelf);
	LWLockRelease(lock);
	return ours;
}

int64
feed_shelf_type(const Shelf *shelf)
{
	uint32		realm = realm_current()->serial;
	int64		task_type;

	LWLockAcquire(lock, LW_SHARED);
	task_type = shelf->key.realm == realm ? shelf->key.task_type : 0;
	LWLockRelease(lock);
	return task_type;
}

/* of a storage partition that was dropped, when everybody had moved away: nothing can be had there */
static void
forget_dropped(Shelf *shelf)
{
	/* an old snapshot does not show what partitions there are now */
	if (IsolationUsesXactSnapshot() || !shelf_pin_ours(shelf, 0))
		return;
	if (!directory_has_partition(shelf->key.partition))
	{
		SpinLockAcquire(&shelf->mutex);
		shelf->loaded = shelf->retired = true;
		shelf->registered = false;
		shelf->low = shelf->durable = shelf->high;
		shelf->busy_count = 0;
		memset(shelf->ranges, 0, sizeof(shelf->ranges));
		shelf->open_ranges = 0;
		shelf_changed(shelf);
		SpinLockRelease(&shelf->mutex);
	}
	shelf_unpin(shelf);
}

void
shelf_each(void (*visit) (Shelf *shelf))
{
	uint32		realm = realm_current()->serial;

	for (int i = 0; i < feed->used; i++)
	{
		if (places[i].key.realm != realm)
			continue;
		if (!shelf_hold(&shelves[i], 0))
		{
			forget_dropped(&shelves[i]);
			continue;
		}
		visit(&shelves[i]);
		shelf_release(&shelves[i]);
	}
}

bool
feed_extent(int64 task_type, int32 partition, int64 *after, int64 *upto)
{
	Shelf	   *shelf = shelf_try_get(task_type, partition);

	if (shelf == NULL)
		return false;
	shelf_unpin(shelf);
	if (!shelf_hold(shelf, task_type))
		return false;
	shelf_load(shelf);
	SpinLockAcquire(&shelf->mutex);
	*after = shelf->low;
	for (int i = 0; i < SHELF_RANGES && shelf->open_ranges > 0; i++)
		if (shelf->ranges[i].hi != 0)
			*after = Min(*after, shelf->ranges[i].lo - 1);
	*upto = shelf->high;
	SpinLockRelease(&shelf->mutex);
	shelf_release(shelf);
	return true;
}
