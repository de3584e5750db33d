/*
 * look.c
 *	  What others want to know of what is at hand, and what they count.
 */
#include "postgres.h"

#include "supply/stock.h"
#include "base/clock.h"
#include "infra/xact.h"

#include <math.h>

bool
stock_any(void)
{
	return stock.header != NULL && stock.header->free_entries < guc_supply_size;
}

StockState
stock_load_state(void)
{
	const Realm *realm = realm_current();

	if (stock.header->realms[realm->slot].serial != realm->serial)
		return STOCK_UNKNOWN;
	return stock.header->realms[realm->slot].partly ? STOCK_PARTLY : STOCK_LOADED;
}

void
stock_set_loaded(bool all)
{
	const Realm *realm = realm_current();

	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	stock.header->realms[realm->slot].partly = !all;
	stock.header->realms[realm->slot].serial = realm->serial;
	LWLockRelease(stock.lock);
}


int32
stock_held(int64 task_id)
{
	uint32		realm = realm_current()->serial;
	int32		held = 0;

	if (!stock_any())
		return 0;
	LWLockAcquire(stock.lock, LW_SHARED);
	for (int32 i = *stock_task_chain(task_id); i >= 0; i = entry_at(i)->next)
	{
		const StockEntry *entry = entry_at(i);

		if (entry->task_id == task_id && stock.supplies[stock.batches[entry->batch].supply].realm == realm)
			held += entry->ready + entry->withdrawn;
	}
	LWLockRelease(stock.lock);
	return held;
}

/* may members of the groups (NULL: of some) have what is in the supply? */
static bool
is_for(const Supply *supply, const Groups *groups)
{
	if (groups == NULL || !supply->exclusive)
		return true;
	for (int i = 0; i < groups->count; i++)
		if (groups->ids[i] == supply->group)
			return true;
	return false;
}

static bool
is_over(const StockEntry *entry, TimestampTz now)
{
	return entry->expires <= now || stock.batches[entry->batch].lease_until <= now;
}

/* entries that a glance looks at */
#define GLANCE_ENTRIES 256

void
stock_glance(const Groups *groups, int64 task_type, int64 requester,
			 TimestampTz now, SourceGlance *seen)
{
	uint32		realm = realm_current()->serial;
	int			left = GLANCE_ENTRIES;

	LWLockAcquire(stock.lock, LW_SHARED);
	for (int32 n = 0; n < stock.header->used_supplies && left > 0; n++)
	{
		const Supply *supply = &stock.supplies[n];

		if (supply->realm != realm || supply->task_type != task_type || supply->ready == 0 || !is_for(supply, groups))
			continue;
		for (uint64 at = supply->head; at < supply->tail && left > 0; at++)
		{
			int32		i = ring_of(supply)[at % SUPPLY_RING];
			const StockEntry *entry;

			if (i < 0)
				continue;
			left--;
			entry = entry_at(i);
			if (entry->ready == 0 || entry->requester != requester || is_over(entry, now))
				continue;
			seen->slots += entry->ready;
			if (seen->first == 0 || entry->task_id < seen->first)
				seen->first = entry->task_id;
		}
	}
	LWLockRelease(stock.lock);
	seen->whole = left > 0;
}

int32
stock_offered(const Groups *groups, int64 task_id, TimestampTz now)
{
	uint32		realm = realm_current()->serial;
	int32		slots = 0;

	LWLockAcquire(stock.lock, LW_SHARED);
	for (int32 i = *stock_task_chain(task_id); i >= 0; i = entry_at(i)->next)
	{
		const StockEntry *entry = entry_at(i);
		const Supply *supply = stock_supply_of(entry);

		if (entry->task_id == task_id && supply->realm == realm && entry->in_ring && is_for(supply, groups) && !is_over(entry, now))
			slots += entry->ready;
	}
	LWLockRelease(stock.lock);
	return slots;
}

/* accepts a second, as the last minutes were; a half counts what is a minute ago */
#define PACE_HALF_LIFE (60.0 * USECS_PER_SEC)

static double
pace_now(const Supply *supply, TimestampTz now)
{
	int64		accepts = supply->counts.hits + supply->counts.misses - supply->flushed.hits - supply->flushed.misses;
	double		seconds = (double) (now - supply->pace_at) / USECS_PER_SEC;
	double		keep = exp2(-(double) (now - supply->pace_at) / PACE_HALF_LIFE);

	if (supply->pace_at == 0)
		return accepts / 60.0;
	return seconds <= 0 ? supply->pace : supply->pace * keep + (accepts / seconds) * (1 - keep);
}

/*
 * Whoever leases commits soon, but for a requester who pushes his tasks: while he
 * keeps his transaction open, others' refills do not wait for what he has.
 */
#define COMING_SECONDS 5

static bool
batch_is_young(const StockBatch *batch, TimestampTz now)
{
	return now < batch->added + COMING_SECONDS * USECS_PER_SEC;
}

/* the lock is held */
static void
tell(const Supply *supply, TimestampTz now, SupplyInfo *info)
{
	TimestampTz soon = now + guc_supply_lease * USECS_PER_SEC / 2;

	info->group = supply->group;
	info->task_type = supply->task_type;
	info->tasks = supply->entries;
	info->target = supply->target;
	info->counts = supply->counts;
	info->flushed = supply->flushed;
	info->pace = pace_now(supply, now);
	for (int32 i = supply->first_entry; i >= 0; i = entry_at(i)->next_of_supply)
	{
		const StockEntry *entry = entry_at(i);

		info->ending |= stock.batches[entry->batch].lease_until <= soon;
		info->reserved += entry->reserved;
		if (!stock.batches[entry->batch].published)
		{
			info->pending += entry->ready;
			if (batch_is_young(&stock.batches[entry->batch], now))
				info->coming += entry->ready;
		}
		else if (entry->barred > 0)
			info->ended += entry->ready;
		else if (entry->expires <= now || stock.batches[entry->batch].lease_until <= now)
			info->stale += entry->ready;
		else
		{
			info->ready += entry->ready;
			if (entry->in_ring && entry->seq >= supply->seen)
				info->fresh += entry->ready;
		}
	}
}

bool
supply_is_low(int32 have, int32 target)
{
	return have <= target * 3 / 4;
}

/* slots of what a member of late has gone past in vain; mostly nothing of that is left */
static int32
seen_slots(const Supply *supply)
{
	int32		slots = 0;

	for (uint64 at = supply->head; at < Min(supply->seen, supply->tail); at++)
	{
		int32		i = ring_of(supply)[at % SUPPLY_RING];

		if (i >= 0)
			slots += entry_at(i)->ready;
	}
	return slots;
}

/* without looking at all its tasks: may a refill be due? */
static bool
may_be_low(const Supply *supply)
{
	return supply->target > 0 && supply_is_low(supply->ready - seen_slots(supply), supply->target);
}

int
stock_list(bool low, SupplyInfo **list)
{
	uint32		realm = realm_current()->serial;
	TimestampTz now = clock_now();
	int			used = stock.header->used_supplies; /* only rises; a later one is seen the next time */
	SupplyInfo *infos = palloc0(sizeof(SupplyInfo) * Max(used, 1));
	int			count = 0;

	for (int n = 0; n < used; n++)
	{
		const Supply *supply = &stock.supplies[n];

		/* one at a time, so that nobody waits for a walk through all that is at hand */
		LWLockAcquire(stock.lock, LW_SHARED);
		if (supply->realm == realm && (!low || may_be_low(supply)))
			tell(supply, now, &infos[count++]);
		LWLockRelease(stock.lock);
	}
	*list = infos;
	return count;
}

typedef struct Flush
{
	uint32		realm;
	TimestampTz now;
	SupplyInfo	info;
} Flush;

static void
flush_commit(void *record)
{
	Flush	   *flush = record;
	Supply	   *supply;

	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	supply = stock_find_supply(flush->realm, flush->info.group, flush->info.task_type);
	if (supply)
	{
		supply->flushed = flush->info.counts;
		supply->pace = flush->info.pace;
		supply->pace_at = flush->now;
	}
	LWLockRelease(stock.lock);
}

static void
flush_abort(void *record)
{
}

static const XactKind flush_kind = {flush_commit, flush_abort};

void
stock_flushed(const SupplyInfo *info)
{
	Flush	   *flush = xact_add(&flush_kind, sizeof(Flush));

	flush->realm = realm_current()->serial;
	flush->now = clock_now();
	flush->info = *info;
}

void
stock_set_target(const SupplyInfo *info)
{
	uint32		realm = realm_current()->serial;
	Supply	   *supply;

	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	supply = stock_find_supply(realm, info->group, info->task_type);
	if (supply)
	{
		supply->target = info->target;
		supply->exclusive = info->exclusive;
	}
	LWLockRelease(stock.lock);
}

int
stock_options(const int32 *groups, int group_count, bool others, int64 task_type, StockOption *options, int max)
{
	uint32		realm = realm_current()->serial;
	int			count = 0;

	LWLockAcquire(stock.lock, LW_SHARED);
	for (int32 i = 0; i < stock.header->used_supplies && count < max; i++)
	{
		const Supply *supply = &stock.supplies[i];
		bool		member = false;
		int32		first;

		if (supply->realm != realm || supply->ready == 0 || (task_type != 0 && supply->task_type != task_type))
			continue;
		for (int g = 0; g < group_count; g++)
			member |= groups[g] == supply->group;
		if (member == others || (others && supply->exclusive))
			continue;
		first = ring_of(supply)[supply->head % SUPPLY_RING];
		options[count].group = supply->group;
		options[count].task_type = supply->task_type;
		options[count].created = first >= 0 ? entry_at(first)->created : 0;
		options[count++].expires = first >= 0 ? entry_at(first)->expires : 0;
	}
	LWLockRelease(stock.lock);
	return count;
}
