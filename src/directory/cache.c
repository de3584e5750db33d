/*
 * cache.c
 *	  The directory's lookup table in shared memory.
 *
 * PURPOSE	Answers login -> home and user_id -> home without touching a table.
 * LAYOUT	A set-associative cache: an array of sets of CACHE_WAYS entries of
 *			one cache line each, so its size is fixed (the setting
 *			taskex.directory_cache_size), nothing is allocated and a look-up
 *			costs the same however many users there are.  Then an array with
 *			the state of each set, its version and its hand, which a look-up
 *			that finds its entry need not touch.  A login of up to 32 bytes is
 *			its own key, a longer one is represented by its SHA-256; keys are
 *			compared whole, so a look-up cannot find somebody else.
 * WRITES	Entries and versions under the set's LWLock (set modulo
 *			CACHE_LOCKS), exclusive; "used" also under the shared lock, where a
 *			lost update only makes eviction less exact.
 * CRASH	Empty after a restart, and filled on demand.
 * INVARIANT  An entry equals the committed directory row, or its change is
 *			between becoming visible and its commit callback.  A home read
 *			before a change and filled after it is refused by the version.
 */
#include "postgres.h"

#include "directory/cache.h"
#include "base/guc.h"
#include "infra/realm.h"

#include "common/cryptohash.h"
#include "common/hashfn.h"
#include "common/sha2.h"
#include "storage/shmem.h"

#define CACHE_WAYS 8
#define CACHE_LOCKS 128
#define CACHE_LINE 64

/* kinds of key beside the lengths 1 .. 32 */
#define KEY_FREE 0
#define KEY_ID 254
#define KEY_DIGEST 255

typedef struct CacheEntry
{
	uint8		bytes[CACHE_KEY_SIZE];
	int64		user_id;
	uint32		realm;
	uint32		epoch;
	int32		partition;
	Oid			db_role;
	uint8		kind;
	uint8		used;			/* since the clock's hand passed */
	bool		anonymous;
} CacheEntry;

/* shared memory is handed out in multiples of cache lines, and so begins on one */
StaticAssertDecl(sizeof(CacheEntry) == CACHE_LINE, "an entry of the cache is a cache line");
StaticAssertDecl(PG_CACHE_LINE_SIZE % CACHE_LINE == 0, "shared memory begins on a cache line");

typedef struct CacheSet
{
	CacheEntry	entries[CACHE_WAYS];
} CacheSet;

typedef struct SetState
{
	uint32		version;		/* rises when an entry is forgotten */
	uint32		hand;			/* where the search for a victim goes on */
} SetState;

static CacheSet *sets = NULL;
static SetState *states = NULL;
static LWLockPadded *set_locks = NULL;

static uint32
set_count(void)
{
	return Max((Size) guc_directory_cache_size * 1024 / (sizeof(CacheSet) + sizeof(SetState)), 1);
}

static Size
cache_size(void)
{
	return mul_size(set_count(), sizeof(CacheSet) + sizeof(SetState));
}

static int
cache_lock_count(void)
{
	return CACHE_LOCKS;
}

static void
cache_attach(void *block, LWLockPadded *locks, bool found)
{
	Assert((uintptr_t) block % CACHE_LINE == 0);
	sets = block;
	states = (SetState *) (sets + set_count());
	set_locks = locks;
}

const ShmemPart directory_cache_shmem = {
	"taskex directory cache", cache_size, NULL, cache_lock_count, cache_attach
};

static inline LWLock *
set_lock(const CacheKey *key)
{
	return &set_locks[key->set % CACHE_LOCKS].lock;
}

static void
place(CacheKey *key)
{
	uint32		hash = hash_bytes(key->bytes, CACHE_KEY_SIZE);

	key->realm = realm_current()->serial;
	key->set = hash_combine(hash, key->realm ^ key->kind) % set_count();
}

void
cache_key_login(CacheKey *key, const text *login)
{
	Size		length = VARSIZE_ANY_EXHDR(login);

	memset(key->bytes, 0, CACHE_KEY_SIZE);
	if (length <= CACHE_KEY_SIZE)
	{
		memcpy(key->bytes, VARDATA_ANY(login), length);
		key->kind = (uint8) length;
	}
	else
	{
		pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

		if (pg_cryptohash_init(context) < 0 ||
			pg_cryptohash_update(context, (const uint8 *) VARDATA_ANY(login), length) < 0 ||
			pg_cryptohash_final(context, key->bytes, PG_SHA256_DIGEST_LENGTH) < 0)
			elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(context));
		pg_cryptohash_free(context);
		key->kind = KEY_DIGEST;
	}
	place(key);
}

void
cache_key_id(CacheKey *key, int64 user_id)
{
	memset(key->bytes, 0, CACHE_KEY_SIZE);
	memcpy(key->bytes, &user_id, sizeof(user_id));
	key->kind = KEY_ID;
	place(key);
}

static CacheEntry *
find(const CacheKey *key)
{
	CacheSet   *set = &sets[key->set];

	for (int i = 0; i < CACHE_WAYS; i++)
	{
		CacheEntry *entry = &set->entries[i];

		if (entry->kind == key->kind && entry->realm == key->realm &&
			memcmp(entry->bytes, key->bytes, CACHE_KEY_SIZE) == 0)
			return entry;
	}
	return NULL;
}

bool
cache_find(const CacheKey *key, UserHome *home, uint32 *version)
{
	CacheEntry *entry;

	LWLockAcquire(set_lock(key), LW_SHARED);
	entry = find(key);
	if (entry)
	{
		home->user_id = entry->user_id;
		home->partition = entry->partition;
		home->epoch = entry->epoch;
		home->db_role = entry->db_role;
		home->anonymous = entry->anonymous;
		if (!entry->used)
			entry->used = 1;
	}
	else
		*version = states[key->set].version;
	LWLockRelease(set_lock(key));
	return entry != NULL;
}

/* the entry to overwrite: a free one, or the first not used since last time */
static CacheEntry *
victim(CacheSet *set, SetState *state)
{
	for (int i = 0; i < CACHE_WAYS; i++)
		if (set->entries[i].kind == KEY_FREE)
			return &set->entries[i];

	for (;;)
	{
		CacheEntry *entry = &set->entries[state->hand++ % CACHE_WAYS];

		if (!entry->used)
			return entry;
		entry->used = 0;
	}
}

void
cache_fill(const CacheKey *key, const UserHome *home, uint32 version)
{
	SetState   *state = &states[key->set];

	LWLockAcquire(set_lock(key), LW_EXCLUSIVE);
	if (state->version == version && find(key) == NULL)
	{
		CacheEntry *entry = victim(&sets[key->set], state);

		memcpy(entry->bytes, key->bytes, CACHE_KEY_SIZE);
		entry->kind = key->kind;
		entry->realm = key->realm;
		entry->user_id = home->user_id;
		entry->epoch = home->epoch;
		entry->partition = home->partition;
		entry->db_role = home->db_role;
		entry->anonymous = home->anonymous;
		entry->used = 1;
	}
	LWLockRelease(set_lock(key));
}

void
cache_forget(const CacheKey *key)
{
	CacheEntry *entry;

	LWLockAcquire(set_lock(key), LW_EXCLUSIVE);
	states[key->set].version++;
	entry = find(key);
	if (entry)
		memset(entry, 0, sizeof(CacheEntry));
	LWLockRelease(set_lock(key));
}
