/*
 * meter.c
 *	  What users' calls cost: counted by the calls themselves.
 *
 * PURPOSE	Collects the calls of each user, their blocks, WAL and CPU time, until
 *			they are taken and stored (src/placement/load.c).
 * LAYOUT	An array of sets of METER_WAYS entries of one cache line each, in
 *			which a user has a place by the hash of his id (taskex.max_loaded_users
 *			in all); then for each realm slot the rest: an array of
 *			taskex.max_partitions entries, for users who find their set full.
 * WRITES	A set, and a slot's rest, under its spinlock.  A call takes one
 *			spinlock, once, at its end; another one only if its set is full.
 * CRASH	All is zero.  What was not taken yet is lost: the calls of the last
 *			taskex.load_interval.
 * INVARIANT  A call is counted once, for its user and with him for the partition
 *			where he lived, or in the rest for the partition alone; also a
 *			call whose transaction is undone, for it has used what it used.
 */
#include "postgres.h"

#include "directory/meter.h"
#include "base/guc.h"
#include "infra/realm.h"

#include <time.h>

#include "access/xact.h"
#include "access/xlog.h"
#include "common/hashfn.h"
#include "common/pg_prng.h"
#include "executor/instrument.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#define METER_WAYS 8
#define CACHE_LINE 64

/* a clock of CPU time is a system call: one call in so many looks at it */
#define CPU_SAMPLE 16

/* places of the rest that a partition can have; ids are dense, so one is the rule */
#define REST_PROBES 8

typedef struct MeterHead
{
	slock_t		mutex;
	uint32		used;			/* entries in use; looked at without the spinlock, too */
} MeterHead;

typedef struct MeterSet
{
	MeterHead	head;
	char		padding[CACHE_LINE - sizeof(MeterHead)];
	MeterEntry	entries[METER_WAYS];
} MeterSet;

typedef struct MeterRest
{
	slock_t		mutex;
	uint32		used;
	int64		unnamed;		/* calls counted here, ever */
	int64		lost;			/* calls for which there was no room even here */
	MeterEntry	entries[FLEXIBLE_ARRAY_MEMBER];
} MeterRest;

StaticAssertDecl(sizeof(MeterEntry) == CACHE_LINE, "an entry of the meter is a cache line");

/* the metered call that this process is in */
typedef struct MeteredCall
{
	bool		open;
	bool		timed;
	int			level;			/* nest level of the transaction at its begin */
	int64		user_id;		/* 0: not known yet */
	int32		partition;
	uint32		slot;
	uint32		serial;
	int64		hit;
	int64		read;
	int64		written;
	uint64		wal;
	int64		cpu;
} MeteredCall;

static MeteredCall call;

static MeterSet *sets = NULL;
static char *rests = NULL;

/* ---- shared memory ---- */

static uint32
set_count(void)
{
	return (guc_max_loaded_users + METER_WAYS - 1) / METER_WAYS;
}

static Size
rest_size(void)
{
	return MAXALIGN(offsetof(MeterRest, entries) + sizeof(MeterEntry) * (Size) guc_max_partitions);
}

static Size
meter_size(void)
{
	return add_size(mul_size(set_count(), sizeof(MeterSet)), mul_size(guc_max_databases, rest_size()));
}

static inline MeterRest *
rest_of(uint32 slot)
{
	return (MeterRest *) (rests + rest_size() * slot);
}

static void
meter_attach(void *block, LWLockPadded *locks, bool found)
{
	sets = block;
	rests = (char *) (sets + set_count());
	if (found)
		return;
	for (uint32 i = 0; i < set_count(); i++)
		SpinLockInit(&sets[i].head.mutex);
	for (int i = 0; i < guc_max_databases; i++)
		SpinLockInit(&rest_of(i)->mutex);
}

const ShmemPart meter_shmem = {"taskex load", meter_size, NULL, NULL, meter_attach};

/* ---- adding ---- */

static inline void
add_up(MeterEntry *to, const MeterEntry *entry)
{
	to->calls += entry->calls;
	to->blocks_hit += entry->blocks_hit;
	to->blocks_read += entry->blocks_read;
	to->blocks_written += entry->blocks_written;
	to->wal_bytes += entry->wal_bytes;
	to->cpu_ns += entry->cpu_ns;
}

static inline bool
same(const MeterEntry *a, const MeterEntry *b)
{
	return a->user_id == b->user_id && a->serial == b->serial && a->partition == b->partition;
}

/* the user's set is full: what he does counts for his partition alone */
static void
add_to_rest(const MeterEntry *entry)
{
	MeterRest  *rest = rest_of(entry->slot);
	MeterEntry	unnamed = *entry;
	bool		added = false;

	unnamed.user_id = 0;
	SpinLockAcquire(&rest->mutex);
	for (int i = 0; i < REST_PROBES && !added; i++)
	{
		MeterEntry *place = &rest->entries[((uint32) entry->partition + i) % (uint32) guc_max_partitions];

		/* what an earlier realm of the slot left is nobody's */
		if (place->serial != entry->serial)
		{
			if (place->serial == 0)
				rest->used++;
			*place = unnamed;
			added = true;
		}
		else if (same(place, &unnamed))
		{
			add_up(place, &unnamed);
			added = true;
		}
	}
	if (!added)
		rest->lost += entry->calls;
	else if (entry->user_id != 0)
		rest->unnamed += entry->calls;
	SpinLockRelease(&rest->mutex);
}

static void
add(const MeterEntry *entry)
{
	MeterSet   *set = &sets[(murmurhash32((uint32) entry->user_id ^ (uint32) (entry->user_id >> 32)) ^
							 entry->serial) % set_count()];
	MeterEntry *place = NULL;

	SpinLockAcquire(&set->head.mutex);
	for (int i = 0; i < METER_WAYS; i++)
	{
		MeterEntry *other = &set->entries[i];

		if (same(other, entry))
		{
			place = other;
			break;
		}
		if (other->serial == 0 && place == NULL)
			place = other;
	}
	if (place != NULL && place->serial != 0)
		add_up(place, entry);
	else if (place != NULL)
	{
		*place = *entry;
		set->head.used++;
	}
	SpinLockRelease(&set->head.mutex);
	if (unlikely(place == NULL))
		add_to_rest(entry);
}

/* ---- the call ---- */

static inline int64
cpu_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64) now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64
blocks_read(void)
{
	return pgBufferUsage.shared_blks_read + pgBufferUsage.local_blks_read + pgBufferUsage.temp_blks_read;
}

static inline int64
blocks_written(void)
{
	return pgBufferUsage.shared_blks_dirtied + pgBufferUsage.local_blks_written + pgBufferUsage.temp_blks_written;
}

bool
meter_enter(void)
{
	if (call.open || !guc_measure_load)
		return false;
	call.open = true;
	call.level = GetCurrentTransactionNestLevel();
	call.user_id = 0;
	call.hit = pgBufferUsage.shared_blks_hit;
	call.read = blocks_read();
	call.written = blocks_written();
	call.wal = pgWalUsage.wal_bytes;
	call.timed = pg_prng_uint32(&pg_global_prng_state) % CPU_SAMPLE == 0;
	if (call.timed)
		call.cpu = cpu_now();
	return true;
}

void
meter_user(int64 user_id, int32 partition)
{
	const Realm *realm;

	if (!call.open || call.user_id != 0)
		return;
	realm = realm_current();
	call.slot = realm->slot;
	call.serial = realm->serial;
	call.partition = partition;
	call.user_id = user_id;
}

void
meter_leave(void)
{
	MeterEntry	entry;

	call.open = false;

	/* a standby has nobody to store it */
	if (call.user_id == 0 || RecoveryInProgress())
		return;
	entry.user_id = call.user_id;
	entry.serial = call.serial;
	entry.partition = call.partition;
	entry.slot = call.slot;
	entry.calls = 1;
	entry.blocks_hit = pgBufferUsage.shared_blks_hit - call.hit;
	entry.blocks_read = blocks_read() - call.read;
	entry.blocks_written = blocks_written() - call.written;
	entry.wal_bytes = pgWalUsage.wal_bytes - call.wal;
	entry.cpu_ns = call.timed ? (cpu_now() - call.cpu) * CPU_SAMPLE : 0;
	add(&entry);
}

/* an error has left the call; also when it only ended unusually */
static void
on_xact(XactEvent event, void *arg)
{
	if (call.open && event != XACT_EVENT_PRE_COMMIT && event != XACT_EVENT_PRE_PREPARE)
		meter_leave();
}

static void
on_subxact(SubXactEvent event, SubTransactionId mySubid, SubTransactionId parentSubid, void *arg)
{
	if (call.open && event == SUBXACT_EVENT_ABORT_SUB && call.level >= GetCurrentTransactionNestLevel())
		meter_leave();
}

void
meter_install(void)
{
	RegisterXactCallback(on_xact, NULL);
	RegisterSubXactCallback(on_subxact, NULL);
}

/* ---- taking ---- */

/* moves the realm's entries to "taken", and forgets those of realms that are gone */
static int
take_entries(MeterEntry *entries, int count, uint32 *used, const Realm *realm, MeterEntry *taken)
{
	int			n = 0;

	for (int i = 0; i < count; i++)
	{
		MeterEntry *entry = &entries[i];

		if (entry->serial == 0)
			continue;
		if (entry->serial == realm->serial)
			taken[n++] = *entry;
		else if (realm_serial(entry->slot) == entry->serial)
			continue;
		entry->serial = 0;
		(*used)--;
	}
	return n;
}

int
meter_take(MeterEntry *entries, int max, uint32 *place, bool *more)
{
	const Realm *realm = realm_current();
	MeterRest  *rest = rest_of(realm->slot);
	int			count = 0;

	Assert(max >= METER_WAYS);
	for (; *place < set_count() && count + METER_WAYS <= max; (*place)++)
	{
		MeterSet   *set = &sets[*place];

		if (set->head.used == 0)
			continue;
		SpinLockAcquire(&set->head.mutex);
		count += take_entries(set->entries, METER_WAYS, &set->head.used, realm, entries + count);
		SpinLockRelease(&set->head.mutex);
	}
	/* the rest, in pieces as small */
	for (; *place >= set_count() && *place - set_count() < guc_max_partitions && count + METER_WAYS <= max;
		 *place += METER_WAYS)
	{
		uint32		first = *place - set_count();

		if (rest->used == 0)
			continue;
		SpinLockAcquire(&rest->mutex);
		count += take_entries(rest->entries + first, Min(METER_WAYS, guc_max_partitions - first), &rest->used,
							  realm, entries + count);
		SpinLockRelease(&rest->mutex);
	}
	*more = *place < set_count() || *place - set_count() < guc_max_partitions;
	return count;
}

void
meter_give_back(const MeterEntry *entries, int count)
{
	for (int i = 0; i < count; i++)
	{
		if (entries[i].user_id != 0)
			add(&entries[i]);
		else
			add_to_rest(&entries[i]);
	}
}

void
meter_look(int64 *users, int64 *calls, int64 *unnamed, int64 *lost)
{
	const Realm *realm = realm_current();
	MeterRest  *rest = rest_of(realm->slot);

	*users = *calls = 0;
	for (uint32 i = 0; i < set_count(); i++)
	{
		if (sets[i].head.used == 0)
			continue;
		SpinLockAcquire(&sets[i].head.mutex);
		for (int j = 0; j < METER_WAYS; j++)
			if (sets[i].entries[j].serial == realm->serial)
			{
				(*users)++;
				*calls += sets[i].entries[j].calls;
			}
		SpinLockRelease(&sets[i].head.mutex);
	}
	SpinLockAcquire(&rest->mutex);
	for (int i = 0; rest->used > 0 && i < guc_max_partitions; i++)
		if (rest->entries[i].serial == realm->serial)
			*calls += rest->entries[i].calls;
	*unnamed = rest->unnamed;
	*lost = rest->lost;
	SpinLockRelease(&rest->mutex);
}
