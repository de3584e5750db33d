/*
 * place.c
 *	  How far each performer is on each shelf.
 *
 * PURPOSE	A performer's next scan begins where his last one ended.
 * LAYOUT	A set-associative cache, part of the feed's block.  Its size follows
 *			taskex.feed_size.  Keys are the performer and the shelf's
 *			incarnation, so a shelf that gave way takes its places with it.
 * WRITES	A set's entries under its spinlock.
 * CRASH	Lost; a performer without a place begins at the shelf's low.
 * INVARIANT  Every task up to "cursor" that a performer might still take, with
 *			those blocks, is in a range after "seen", claimed, or busy.
 */
#include "postgres.h"

#include "market/place.h"
#include "base/guc.h"

#include "common/hashfn.h"
#include "storage/shmem.h"
#include "storage/spin.h"

#define PLACE_WAYS 7
#define PLACES_PER_SHELF 16

typedef struct PlaceEntry
{
	int64		performer;
	uint32		incarnation;	/* 0: free */
	uint32		used;
	Place		place;
} PlaceEntry;

typedef struct PlaceSet
{
	slock_t		mutex;
	uint32		hand;
	PlaceEntry	entries[PLACE_WAYS];
} PlaceSet;

static PlaceSet *sets = NULL;

static uint32
set_count(void)
{
	return (uint32) guc_feed_size * PLACES_PER_SHELF / PLACE_WAYS + 1;
}

Size
place_size(void)
{
	return mul_size(set_count(), sizeof(PlaceSet));
}

void
place_attach(void *block, bool found)
{
	sets = block;
	if (!found)
		for (uint32 i = 0; i < set_count(); i++)
			SpinLockInit(&sets[i].mutex);
}

static PlaceSet *
set_of(int64 performer, uint32 incarnation)
{
	return &sets[hash_bytes_uint32_extended(incarnation, (uint64) performer) % set_count()];
}

static PlaceEntry *
find(PlaceSet *set, int64 performer, uint32 incarnation)
{
	for (int i = 0; i < PLACE_WAYS; i++)
		if (set->entries[i].performer == performer &&
			set->entries[i].incarnation == incarnation)
			return &set->entries[i];
	return NULL;
}

bool
place_find(int64 performer, uint32 incarnation, Place *place)
{
	PlaceSet   *set = set_of(performer, incarnation);
	PlaceEntry *entry;

	SpinLockAcquire(&set->mutex);
	entry = find(set, performer, incarnation);
	if (entry)
	{
		*place = entry->place;
		entry->used = 1;
	}
	SpinLockRelease(&set->mutex);
	return entry != NULL;
}

void
place_store(int64 performer, uint32 incarnation, const Place *place)
{
	PlaceSet   *set = set_of(performer, incarnation);
	PlaceEntry *entry;

	SpinLockAcquire(&set->mutex);
	entry = find(set, performer, incarnation);
	while (entry == NULL)
	{
		PlaceEntry *candidate = &set->entries[set->hand++ % PLACE_WAYS];

		if (candidate->incarnation == 0 || candidate->used == 0)
			entry = candidate;
		else
			candidate->used = 0;
	}
	entry->performer = performer;
	entry->incarnation = incarnation;
	entry->used = 1;
	entry->place = *place;
	SpinLockRelease(&set->mutex);
}
