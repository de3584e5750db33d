/*
 * purse.c
 *	  The funds that may be spent from an account, in shared memory.
 *
 * PURPOSE	Many sessions spend from one account without waiting for each
 *			other: a session takes its amount out of the purse, and the entry
 *			that it inserts touches no row of anybody else.
 * LAYOUT	A header with a ring of accounts that want folding; then shards,
 *			each with its share of the places and of the hash buckets.  An
 *			account belongs to one shard.
 * WRITES	The chains, a place's key and its reuse: under the shard's LWLock,
 *			exclusive.  A purse is looked up and pinned under it, shared; a
 *			pinned purse stays what it is without any lock.  The other fields
 *			of a purse: under its spinlock.  The ring: under its spinlock.
 * CRASH	Purses are empty after a restart and are read from the tables when
 *			funds are needed.  A backend that exits cancels its reservations
 *			while it aborts its transaction.
 * INVARIANT  available + inflight never exceeds the sum of the committed
 *			entries of the account, less what is spent after they were read.
 *			It may be less: then a load heals it.  What is ahead is in committed
			entries, and in no row of usage.
 */
#include "postgres.h"

#include "ledger/ledger.h"
#include "ledger/purse.h"
#include "base/guc.h"

#include "common/hashfn.h"
#include "port/pg_bitutils.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#define SHARD_TARGET 1024		/* places of a shard */
#define SHARDS_MAX 64

/* what is set aside ahead: after so many uses, for so many more, and not more than a share of what is left */
#define AHEAD_AFTER 16
#define AHEAD_USES 63
#define AHEAD_SHARE 1024

struct Purse
{
	uint32		realm;			/* 0: never used */
	int32		next;			/* in the chain, -1: last */
	int64		account;
	slock_t		mutex;
	bool		valid;			/* was loaded once */
	bool		used;			/* since the clock hand came by */
	int32		pins;			/* transactions that refer to the purse */
	int32		loading;		/* loads under way */
	int64		available;
	int64		inflight;		/* reserved by running transactions */
	int64		spent;			/* by committed ones, ever */
	int64		ahead;			/* set aside by entries, and used up by nobody yet */
	int64		owner;			/* the customer for whom it was */
	bool		coming;			/* somebody is setting aside more */
	bool		whole;			/* what a crash left ahead was given back since */
	uint32		uses;			/* how often something was used up */
	uint32		seen_uses;		/* by who looks for idle ones */
	TimestampTz seen_at;
	uint64		missed;			/* credits that available does not contain */
	FullTransactionId horizon;	/* credits from here on were not in the load */
};

typedef struct PurseHeader
{
	slock_t		mutex;
	int			count;			/* of noted accounts */
	LongAccount noted[LONG_ACCOUNTS];
	int			hands[SHARDS_MAX];	/* clock hands; under the shard's lock */
} PurseHeader;

static PurseHeader *header = NULL;
static Purse *purses = NULL;
static int32 *buckets = NULL;
static LWLockPadded *shard_locks = NULL;
static int	shard_places;
static uint32 shard_buckets;

/* ---- shared memory ---- */

static int
shard_count(void)
{
	return Min(Max(guc_purse_cache_size / SHARD_TARGET, 1), SHARDS_MAX);
}

static int
places_of_shard(void)
{
	return (guc_purse_cache_size + shard_count() - 1) / shard_count();
}

static uint32
buckets_of_shard(void)
{
	return pg_nextpower2_32(places_of_shard());
}

static Size
purse_size(void)
{
	Size		size = MAXALIGN(sizeof(PurseHeader));

	size = add_size(size, mul_size(mul_size(shard_count(), places_of_shard()), sizeof(Purse)));
	return add_size(size, mul_size(mul_size(shard_count(), buckets_of_shard()), sizeof(int32)));
}

static void
purse_attach(void *block, LWLockPadded *locks, bool found)
{
	header = block;
	purses = (Purse *) ((char *) block + MAXALIGN(sizeof(PurseHeader)));
	shard_places = places_of_shard();
	shard_buckets = buckets_of_shard();
	buckets = (int32 *) (purses + (Size) shard_count() * shard_places);
	shard_locks = locks;
	if (found)
		return;
	SpinLockInit(&header->mutex);
	for (Size i = 0; i < (Size) shard_count() * shard_places; i++)
		SpinLockInit(&purses[i].mutex);
	for (Size i = 0; i < (Size) shard_count() * shard_buckets; i++)
		buckets[i] = -1;
}

const ShmemPart purse_shmem = {
	.name = "taskex purses",
	.size = purse_size,
	.lock_count = shard_count,
	.attach = purse_attach,
};

/* ---- finding ---- */

typedef struct Place
{
	int			shard;
	int32	   *bucket;
} Place;

static Place
place_of(uint32 realm, int64 account)
{
	uint32		hash = hash_combine(hash_bytes((unsigned char *) &account, sizeof(account)), realm);
	Place		place;

	place.shard = hash % shard_count();
	place.bucket = &buckets[(Size) place.shard * shard_buckets +
							((hash / shard_count()) & (shard_buckets - 1))];
	return place;
}

/* the shard's lock is held */
static Purse *
find(Place place, uint32 realm, int64 account)
{
	for (int32 i = *place.bucket; i >= 0; i = purses[i].next)
		if (purses[i].account == account && purses[i].realm == realm)
			return &purses[i];
	return NULL;
}

static inline void
pin(Purse *purse)
{
	SpinLockAcquire(&purse->mutex);
	purse->pins++;
	purse->used = true;
	SpinLockRelease(&purse->mutex);
}

/* may this place be taken?  The hand gives a used purse a second chance, and what is ahead several. */
static bool
victim(Purse *purse, bool in_need)
{
	bool		free;

	SpinLockAcquire(&purse->mutex);
	free = purse->pins == 0 && purse->loading == 0 && !purse->used && (purse->ahead == 0 || in_need);
	if (purse->pins == 0)
		purse->used = false;
	SpinLockRelease(&purse->mutex);
	return free;
}

static void
unlink_purse(Purse *purse)
{
	int32	   *link;

	if (purse->realm == 0)
		return;
	link = place_of(purse->realm, purse->account).bucket;
	while (&purses[*link] != purse)
		link = &purses[*link].next;
	*link = purse->next;
}

/* a free place of the shard, out of its chain; its lock is held exclusively */
static Purse *
take_place(int shard)
{
	for (int tries = 0; tries < 3 * shard_places; tries++)
	{
		int			hand = header->hands[shard];
		Purse	   *purse = &purses[(Size) shard * shard_places + hand];

		header->hands[shard] = (hand + 1) % shard_places;
		if (victim(purse, tries >= 2 * shard_places))
		{
			unlink_purse(purse);
			return purse;
		}
	}
	return NULL;
}

static void
fill_place(Purse *purse, Place place, uint32 realm, int64 account)
{
	purse->realm = realm;
	purse->account = account;
	purse->next = *place.bucket;
	*place.bucket = (int32) (purse - purses);

	/* nobody else can have found it yet */
	purse->valid = false;
	purse->used = true;
	purse->pins = 1;
	purse->loading = 0;
	purse->available = purse->inflight = purse->spent = purse->ahead = purse->owner = 0;
	purse->coming = purse->whole = false;
	purse->uses = purse->seen_uses = 0;
	purse->seen_at = 0;
	purse->missed = 0;
	purse->horizon = InvalidFullTransactionId;
}

Purse *
purse_pin(uint32 realm, int64 account)
{
	Place		place = place_of(realm, account);
	LWLock	   *lock = &shard_locks[place.shard].lock;
	Purse	   *purse;

	LWLockAcquire(lock, LW_SHARED);
	purse = find(place, realm, account);
	if (likely(purse != NULL))
		pin(purse);
	LWLockRelease(lock);
	if (likely(purse != NULL))
		return purse;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	purse = find(place, realm, account);
	if (purse != NULL)
		pin(purse);
	else if ((purse = take_place(place.shard)) != NULL)
		fill_place(purse, place, realm, account);
	LWLockRelease(lock);
	return purse;
}

void
purse_unpin(Purse *purse)
{
	SpinLockAcquire(&purse->mutex);
	purse->pins--;
	SpinLockRelease(&purse->mutex);
}

/* ---- spending ---- */

bool
purse_reserve(Purse *purse, int64 amount, int64 floor)
{
	bool		enough;

	SpinLockAcquire(&purse->mutex);
	enough = purse->valid && purse->available >= amount + floor;
	if (enough)
	{
		purse->available -= amount;
		purse->inflight += amount;
	}
	SpinLockRelease(&purse->mutex);
	return enough;
}

bool
purse_exceeds(uint32 realm, int64 account, int64 floor)
{
	Place		place = place_of(realm, account);
	LWLock	   *lock = &shard_locks[place.shard].lock;
	Purse	   *purse;
	bool		exceeds = false;

	LWLockAcquire(lock, LW_SHARED);
	purse = find(place, realm, account);
	if (purse != NULL)
	{
		SpinLockAcquire(&purse->mutex);
		exceeds = purse->valid && purse->available > floor;
		purse->used = true;
		SpinLockRelease(&purse->mutex);
	}
	LWLockRelease(lock);
	return exceeds;
}

void
purse_cancel(Purse *purse, int64 amount)
{
	SpinLockAcquire(&purse->mutex);
	purse->available += amount;
	purse->inflight -= amount;
	SpinLockRelease(&purse->mutex);
}

/*
 * A credit is added only if the tables were certainly read without it: by a
 * snapshot that ended before its transaction began.  Otherwise it is left to
 * the next load, so that it is never counted twice.
 */
static void
settle(Purse *purse, int64 reserved, int64 earned, FullTransactionId fxid)
{
	SpinLockAcquire(&purse->mutex);
	purse->inflight -= reserved;
	purse->spent += reserved;
	if (earned > 0)
	{
		if (purse->valid && purse->loading == 0 &&
			FullTransactionIdFollowsOrEquals(fxid, purse->horizon) &&
			purse->available <= PG_INT64_MAX - earned)
			purse->available += earned;
		else
			purse->missed++;
	}
	SpinLockRelease(&purse->mutex);
}

void
purse_settle(Purse *purse, uint32 realm, int64 account,
			 int64 reserved, int64 earned, FullTransactionId fxid)
{
	Place		place;
	LWLock	   *lock;

	if (purse != NULL)
	{
		settle(purse, reserved, earned, fxid);
		return;
	}
	if (earned == 0)
		return;

	place = place_of(realm, account);
	lock = &shard_locks[place.shard].lock;
	LWLockAcquire(lock, LW_SHARED);
	purse = find(place, realm, account);
	if (purse != NULL)
		settle(purse, 0, earned, fxid);
	LWLockRelease(lock);
}

/* ---- using up what was set aside ahead ---- */

bool
purse_use(Purse *purse, int64 amount)
{
	bool		enough;

	SpinLockAcquire(&purse->mutex);
	purse->uses++;
	enough = purse->ahead >= amount;
	if (enough)
		purse->ahead -= amount;
	SpinLockRelease(&purse->mutex);
	return enough;
}

int64
purse_use_all(Purse *purse)
{
	int64		all;

	SpinLockAcquire(&purse->mutex);
	all = purse->ahead;
	purse->ahead = 0;
	purse->uses = purse->seen_uses = 0;
	SpinLockRelease(&purse->mutex);
	return all;
}

void
purse_unuse(Purse *purse, int64 amount)
{
	SpinLockAcquire(&purse->mutex);
	purse->ahead += amount;
	SpinLockRelease(&purse->mutex);
}

/*
 * A small share of what is left, so that nobody is refused for what nobody uses;
 * nothing for who uses little, and nothing while somebody else sets aside.
 * (Halves: the difference may be too large a number.)
 */
int64
purse_ahead(Purse *purse, int64 owner, int64 amount, int64 floor)
{
	int64		ahead = 0;

	SpinLockAcquire(&purse->mutex);
	if (purse->valid && !purse->coming && purse->uses > AHEAD_AFTER)
	{
		int64		share = (purse->available / 2 - floor / 2) / (AHEAD_SHARE / 2);

		if (share >= amount)
		{
			ahead = share / AHEAD_USES >= amount ? amount * AHEAD_USES : share;
			purse->coming = true;
			purse->owner = owner;
		}
	}
	SpinLockRelease(&purse->mutex);
	return ahead;
}

void
purse_ahead_end(Purse *purse, int64 ahead)
{
	SpinLockAcquire(&purse->mutex);
	purse->coming = false;
	purse->ahead += ahead;
	SpinLockRelease(&purse->mutex);
}

bool
purse_look(Purse *purse, PurseLook *look)
{
	bool		wanted;

	SpinLockAcquire(&purse->mutex);
	wanted = !purse->whole && purse->pins == 1 && !purse->coming;
	look->uses = purse->uses;
	look->ahead = purse->ahead;
	SpinLockRelease(&purse->mutex);
	return wanted;
}

bool
purse_same(Purse *purse, const PurseLook *look)
{
	bool		same;

	SpinLockAcquire(&purse->mutex);
	same = purse->uses == look->uses && purse->ahead == look->ahead;
	SpinLockRelease(&purse->mutex);
	return same;
}

void
purse_whole(Purse *purse)
{
	SpinLockAcquire(&purse->mutex);
	purse->whole = true;
	SpinLockRelease(&purse->mutex);
}

/* something is ahead that has not been used since the time; called now and then */
static bool
is_idle(Purse *purse, TimestampTz now, int64 idle_us)
{
	bool		idle = false;

	SpinLockAcquire(&purse->mutex);
	if (purse->ahead > 0)
	{
		if (purse->uses != purse->seen_uses || purse->seen_at == 0)
		{
			purse->seen_uses = purse->uses;
			purse->seen_at = now;
		}
		idle = now - purse->seen_at >= idle_us;
	}
	SpinLockRelease(&purse->mutex);
	return idle;
}

int
purse_find_idle(uint32 realm, TimestampTz now, int64 idle_us, IdlePurse *found, int max)
{
	int			count = 0;

	for (int shard = 0; shard < shard_count() && count < max; shard++)
	{
		LWLockAcquire(&shard_locks[shard].lock, LW_SHARED);
		for (int i = shard * shard_places; i < (shard + 1) * shard_places && count < max; i++)
			if (purses[i].realm == realm && is_idle(&purses[i], now, idle_us))
				found[count++] = (IdlePurse) {purses[i].account, purses[i].owner};
		LWLockRelease(&shard_locks[shard].lock);
	}
	return count;
}

/* ---- loading ---- */

void
purse_load_begin(PurseLoad *load, Purse *purse)
{
	SpinLockAcquire(&purse->mutex);
	purse->loading++;
	load->spent = purse->spent;
	load->missed = purse->missed;
	SpinLockRelease(&purse->mutex);
	load->purse = purse;
}

/*
 * A debit that settled before the load began is in the funds that were read.
 * One that settled since may be or not, and one in flight is not, or is just
 * about to settle: taking both off never leaves too much.
 */
bool
purse_load_end(PurseLoad *load, int64 funds, FullTransactionId xmax,
			   int64 amount, int64 floor, PurseState *state)
{
	Purse	   *purse = load->purse;
	bool		enough;

	SpinLockAcquire(&purse->mutex);
	purse->loading--;
	purse->available = funds - purse->inflight - (purse->spent - load->spent);
	purse->horizon = xmax;
	purse->valid = true;
	state->available = purse->available;
	state->inflight = purse->inflight;
	state->moved = purse->spent != load->spent || purse->missed != load->missed;
	enough = purse->available >= amount + floor;
	if (enough)
	{
		purse->available -= amount;
		purse->inflight += amount;
	}
	SpinLockRelease(&purse->mutex);
	load->purse = NULL;
	return enough;
}

void
purse_load_cancel(PurseLoad *load)
{
	Purse	   *purse = load->purse;

	load->purse = NULL;
	SpinLockAcquire(&purse->mutex);
	purse->loading--;
	SpinLockRelease(&purse->mutex);
}

bool
purse_peek(uint32 realm, int64 account, PurseView *view)
{
	Place		place = place_of(realm, account);
	LWLock	   *lock = &shard_locks[place.shard].lock;
	Purse	   *purse;

	LWLockAcquire(lock, LW_SHARED);
	purse = find(place, realm, account);
	if (purse != NULL)
	{
		SpinLockAcquire(&purse->mutex);
		view->available = purse->available;
		view->inflight = purse->inflight;
		view->ahead = purse->ahead;
		view->pins = purse->pins;
		view->loading = purse->loading;
		view->valid = purse->valid;
		SpinLockRelease(&purse->mutex);
	}
	LWLockRelease(lock);
	return purse != NULL;
}

/* ---- accounts that want folding ---- */

void
purse_note_long(uint32 realm, int32 partition, int64 account)
{
	LongAccount wanted = {realm, partition, account};
	bool		known = false;

	SpinLockAcquire(&header->mutex);
	for (int i = 0; i < header->count && !known; i++)
		known = header->noted[i].account == account &&
			header->noted[i].realm == realm && header->noted[i].partition == partition;
	if (!known)
	{
		/* full: forget them all, whoever is still long will be noted again */
		if (header->count == LONG_ACCOUNTS)
			header->count = 0;
		header->noted[header->count++] = wanted;
	}
	SpinLockRelease(&header->mutex);
}

int
purse_take_long(uint32 realm, LongAccount *accounts)
{
	int			taken = 0;
	int			left = 0;

	SpinLockAcquire(&header->mutex);
	for (int i = 0; i < header->count; i++)
	{
		if (header->noted[i].realm == realm)
			accounts[taken++] = header->noted[i];
		else
			header->noted[left++] = header->noted[i];
	}
	header->count = left;
	SpinLockRelease(&header->mutex);
	return taken;
}
