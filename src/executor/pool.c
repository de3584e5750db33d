/*
 * pool.c
 *	  The places of executors in shared memory.
 *
 * PURPOSE	Everybody knows which executors there are, what they do, and to whom
 *			to tell that it is to stop.
 * LAYOUT	A header with what is remembered of kinds of executors and of realms,
 *			then taskex.max_executors slots.
 * WRITES	The header and a slot's first part under the lock, exclusive; what runs in
 *			a slot under its mutex, by its executor, and "revoked" by who takes a lease away.
 *			Usage is written and read without a lock: it is shown, no more.
 * CRASH	It is empty; settle_server() finds in the tables what was running.
 * INVARIANT  A run that an executor has taken is among those that its slot holds
 *			before the commit that takes it, until its end is committed.
 */
#include "postgres.h"

#include "executor/internal.h"
#include "executor/steer.h"
#include "base/guc.h"
#include "infra/xact.h"

#include "miscadmin.h"
#include "utils/timestamp.h"

#include <signal.h>

/* for so long what a crash may have been caused by is taken with care */
#define CAREFUL_MS 600000

/* between two tries to make an executor ready */
#define RETRY_FIRST_MS 500
#define RETRY_MAX_MS 60000

Pool		pool;

static Size
header_size(void)
{
	return MAXALIGN(offsetof(PoolHeader, realms) + sizeof(PoolRealm) * guc_max_databases);
}

static Size
pool_size(void)
{
	return add_size(header_size(), mul_size(sizeof(ExecutorSlot), guc_max_executors));
}

static int
pool_locks(void)
{
	return 1;
}

static void
pool_attach(void *block, LWLockPadded *locks, bool found)
{
	/* the postmaster attaches again after each crash */
	static int	attached = 0;

	pool.lock = &locks[0].lock;
	pool.header = block;
	pool.slots = (ExecutorSlot *) ((char *) block + header_size());
	if (found)
		return;
	pool.header->begun = GetCurrentTimestamp();
	pool.header->after_crash = attached++ > 0;
	for (int i = 0; i < guc_max_executors; i++)
	{
		SpinLockInit(&pool.slots[i].mutex);
		pool.slots[i].current = -1;
	}
}

const ShmemPart pool_shmem = {"taskex executors", pool_size, NULL, pool_locks, pool_attach};

bool
pool_careful(void)
{
	return pool.header->after_crash && !TimestampDifferenceExceeds(pool.header->begun, GetCurrentTimestamp(), CAREFUL_MS);
}

/* ---- what is remembered ---- */

PoolRealm *
pool_realm(const Realm *realm)
{
	PoolRealm  *known = &pool.header->realms[realm->slot];

	if (known->serial != realm->serial)
	{
		memset(known, 0, sizeof(PoolRealm));
		known->serial = realm->serial;
	}
	return known;
}

/* that which was used longest ago gives way, but not one that fails */
PoolGroup *
pool_group(const ExecutorKind *kind, bool make)
{
	PoolGroup  *oldest = NULL;

	for (int i = 0; i < POOL_GROUPS; i++)
	{
		PoolGroup  *group = &pool.header->groups[i];

		if (group->kind.realm != 0 && kind_equal(&group->kind, kind))
			return group;
		if (group->kind.realm == 0)
		{
			if (oldest == NULL || oldest->kind.realm != 0)
				oldest = group;
		}
		else if (group->failures == 0 &&
				 (oldest == NULL || (oldest->kind.realm != 0 && group->used_at < oldest->used_at)))
			oldest = group;
	}
	if (!make || oldest == NULL)
		return NULL;
	memset(oldest, 0, sizeof(PoolGroup));
	oldest->kind = *kind;
	oldest->used_at = GetCurrentTimestamp();
	return oldest;
}

void
pool_failed(ExecutorSlot *slot, const char *message)
{
	PoolGroup  *group = pool_group(&slot->kind, true);

	slot->failed = true;
	if (group == NULL)
		return;
	group->failures++;
	group->next_try = TimestampTzPlusMilliseconds(GetCurrentTimestamp(),
												  Min(RETRY_MAX_MS, RETRY_FIRST_MS << Min(group->failures - 1, 10)));
	strlcpy(group->message, message, GROUP_MESSAGE);
}

/* ---- kept for a customer ---- */

static int
kept_find(const ExecutorSlot *slot, int64 run_id)
{
	for (int i = 0; i < slot->kept_count; i++)
		if (slot->kept[i].run_id == run_id)
			return i;
	return -1;
}

static void
kept_take_off(ExecutorSlot *slot, int i)
{
	slot->kept[i] = slot->kept[--slot->kept_count];
	if (slot->kept_count == 0)
		slot->dedicated_to = 0;
}

void
pool_kept_add(ExecutorSlot *slot, int64 customer_id, int64 run_id, TimestampTz until)
{
	int			at = kept_find(slot, run_id);

	if (at < 0 && slot->kept_count < EXECUTOR_KEPT_MAX)
		at = slot->kept_count++;
	else if (at < 0)
	{
		at = 0;
		for (int i = 1; i < slot->kept_count; i++)
			if (slot->kept[i].until < slot->kept[at].until)
				at = i;
	}
	slot->dedicated_to = customer_id;
	slot->kept[at].run_id = run_id;
	slot->kept[at].until = until;
}

bool
pool_kept_for(const ExecutorSlot *slot, int64 run_id)
{
	return kept_find(slot, run_id) >= 0;
}

bool
pool_kept_remove(ExecutorSlot *slot, int64 run_id)
{
	int			at = kept_find(slot, run_id);

	if (at >= 0)
		kept_take_off(slot, at);
	return at >= 0;
}

void
pool_kept_expire(ExecutorSlot *slot, TimestampTz now)
{
	for (int i = slot->kept_count - 1; i >= 0; i--)
		if (slot->kept[i].until <= now)
			kept_take_off(slot, i);
}

TimestampTz
pool_kept_until(const ExecutorSlot *slot)
{
	TimestampTz until = 0;

	for (int i = 0; i < slot->kept_count; i++)
		until = Max(until, slot->kept[i].until);
	return until;
}

/* ---- ending ---- */

void
pool_let_go(ExecutorSlot *slot)
{
	slot->leave = true;
}

int
pool_send_away(Oid database)
{
	int			left = 0;

	if (!shmem_ready())
		return 0;
	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	for (int i = 0; i < guc_max_executors; i++)
	{
		ExecutorSlot *slot = &pool.slots[i];

		if (slot->state == EXECUTOR_FREE || slot->kind.database != database)
			continue;
		slot->leave = true;
		if (slot->pid != 0)
		{
			left++;
			if (slot->state != EXECUTOR_BUSY)
				kill(slot->pid, SIGTERM);
		}
	}
	LWLockRelease(pool.lock);
	return left;
}

/* ---- leases that are taken away ---- */

typedef struct Revocation
{
	uint32		realm;			/* ids and tokens are unique within it only */
	int64		run_id;
	int64		token;
} Revocation;

static void
revocation_commit(void *record)
{
	const Revocation *revocation = record;

	/* a process whose pid stands in its slot does not end while the lock is held */
	LWLockAcquire(pool.lock, LW_SHARED);
	for (int i = 0; i < guc_max_executors; i++)
	{
		ExecutorSlot *slot = &pool.slots[i];
		bool		current = false;

		if (slot->pid == 0 || slot->kind.realm != revocation->realm)
			continue;
		SpinLockAcquire(&slot->mutex);
		for (int j = 0; j < slot->held_count; j++)
			if (slot->held[j].token == revocation->token && slot->held[j].run_id == revocation->run_id)
			{
				slot->held[j].revoked = true;
				current = slot->current == j;
			}
		SpinLockRelease(&slot->mutex);
		if (current)
			kill(slot->pid, SIGUSR2);
	}
	LWLockRelease(pool.lock);
}

static void
revocation_abort(void *record)
{
}

static const XactKind revocation_kind = {revocation_commit, revocation_abort};

static void
revoked(int64 run_id, int64 token)
{
	uint32		realm = realm_current()->serial;
	Revocation *revocation = xact_add(&revocation_kind, sizeof(Revocation));

	revocation->realm = realm;
	revocation->run_id = run_id;
	revocation->token = token;
}

const RunHolder pool_holder = {steer_holding, steer_say, steer_said, revoked};
