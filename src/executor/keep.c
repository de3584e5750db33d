/*
 * keep.c
 *	  The conductor's part: which executors there are to be.
 *
 * A round looks at what waits and at what there is, then decides under the lock,
 * then tells: starts processes, and lets others go.  README.md has the rules.
 */
#include "postgres.h"

#include "executor/internal.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "directory/directory.h"
#include "infra/worker.h"

#include "access/htup_details.h"
#include "catalog/pg_authid.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include <math.h>
#include <signal.h>

#define WANTS_MAX 4096

/* a role that has used an environment is one for which executors are prepared, for so long */
#define REMEMBER_MS (3600 * 1000)

/* one more executor is started if what waits takes the others so long */
#define BACKLOG_S 0.05

/* so much of what waits is worth one more executor */
#define SHARE_S 0.25

#define START_MS 60000
#define BUSY_ROUND_MS 100
#define NO_WORKER_MS 300

/* executors of one kind, as they are and as they are to be */
typedef struct Want
{
	ExecutorKind kind;
	const KnownEnvironment *environment;	/* NULL: there is none any more */
	bool		may_login;
	bool		role_gone;
	bool		prepared;		/* before there is work */
	int64		waiting;
	double		cost;
	int			count;			/* executors that are not about to end */
	int			leaving;		/* those that are */
	int			promised;		/* places of its environment's leaving ones that are its */
	int			idle;
	int			starting;
	TimestampTz wanting_since;
} Want;

typedef struct Round
{
	const Realm *realm;
	int			count;
	int			room;
	Want	   *wants;
	bool		again;			/* come again soon */
	bool		off;
} Round;

static MemoryContext round_context = NULL;
static TimestampTz next_round = DT_NOEND;
static TimestampTz listened_at = 0;

/* ---- what is wanted ---- */

static Want *
want_of(Round *round, const QueueName *name)
{
	Want	   *want;

	for (int i = 0; i < round->count; i++)
		if (round->wants[i].kind.name.environment_id == name->environment_id && round->wants[i].kind.name.role == name->role)
			return &round->wants[i];
	if (round->count == round->room)
		round->wants = repalloc(round->wants, sizeof(Want) * (round->room *= 2));
	want = &round->wants[round->count++];
	memset(want, 0, sizeof(Want));
	want->kind.realm = round->realm->serial;
	want->kind.database = MyDatabaseId;
	want->kind.name = *name;
	return want;
}

static void
look_at_demand(Round *round)
{
	QueueDemand *demands = palloc(sizeof(QueueDemand) * WANTS_MAX);
	bool		listen = TimestampDifferenceExceeds(listened_at, GetCurrentTimestamp(), BUSY_ROUND_MS);
	int			count = queue_demands(demands, WANTS_MAX, listen);

	if (listen)
		listened_at = GetCurrentTimestamp();
	for (int i = 0; i < count; i++)
	{
		Want	   *want = want_of(round, &demands[i].name);

		want->waiting = demands[i].waiting;
		want->cost = demands[i].cost;
	}
}

static void
look_at_slots(Round *round)
{
	for (int i = 0; i < guc_max_executors; i++)
	{
		ExecutorKind kind;
		bool		used;

		LWLockAcquire(pool.lock, LW_SHARED);
		kind = pool.slots[i].kind;
		used = pool.slots[i].state != EXECUTOR_FREE && pool.slots[i].state != EXECUTOR_DEAD;
		LWLockRelease(pool.lock);
		if (used && kind.realm == round->realm->serial)
			(void) want_of(round, &kind.name);
	}
}

/* for customers whom the environment names, and roles that have used it lately */
static void
look_at_prepared(Round *round)
{
	const KnownEnvironment *environments;
	int			count = environment_list(&environments);
	TimestampTz since = GetCurrentTimestamp() - (int64) REMEMBER_MS * 1000;

	for (int i = 0; i < count; i++)
	{
		const KnownEnvironment *environment = &environments[i];

		if (environment->external || environment->min_executors == 0 || environment->paused || environment->retired)
			continue;
		for (int j = 0; j < environment->customer_count; j++)
		{
			UserHome	home;

			directory_present_home_by_id(environment->customers[j], &home);
			if (OidIsValid(home.db_role))
			{
				QueueName	name = {environment->environment_id, home.db_role};

				want_of(round, &name)->prepared = true;
			}
		}
		for (int j = 0; j < POOL_GROUPS; j++)
		{
			PoolGroup	group;

			LWLockAcquire(pool.lock, LW_SHARED);
			group = pool.header->groups[j];
			LWLockRelease(pool.lock);
			if (group.kind.realm == round->realm->serial && group.used_at > since &&
				group.kind.name.environment_id == environment->environment_id)
				want_of(round, &group.kind.name)->prepared = true;
		}
	}
}

static void
look_up(Round *round)
{
	const KnownEnvironment *environments;
	int			count = environment_list(&environments);

	for (int i = 0; i < round->count; i++)
	{
		Want	   *want = &round->wants[i];
		HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(want->kind.name.role));

		for (int j = 0; j < count; j++)
			if (environments[j].environment_id == want->kind.name.environment_id)
				want->environment = &environments[j];
		want->role_gone = !HeapTupleIsValid(tuple);
		if (HeapTupleIsValid(tuple))
		{
			want->may_login = ((Form_pg_authid) GETSTRUCT(tuple))->rolcanlogin;
			ReleaseSysCache(tuple);
		}
	}
}

static void
look(void *arg)
{
	Round	   *round = arg;
	MemoryContext old = MemoryContextSwitchTo(round_context);

	round->realm = realm_current();
	queue_require_loaded();
	queue_keep(true);
	round->room = 64;
	round->wants = palloc(sizeof(Want) * round->room);
	look_at_demand(round);
	look_at_slots(round);
	look_at_prepared(round);
	look_up(round);
	MemoryContextSwitchTo(old);
}

/* ---- who goes; the lock is held ---- */

static Want *
want_of_slot(Round *round, const ExecutorSlot *slot)
{
	if (slot->kind.realm != round->realm->serial)
		return NULL;
	for (int i = 0; i < round->count; i++)
		if (kind_equal(&round->wants[i].kind, &slot->kind))
			return &round->wants[i];
	return NULL;
}

static bool
lives(const ExecutorSlot *slot)
{
	return slot->state != EXECUTOR_FREE && slot->state != EXECUTOR_DEAD;
}

/* has it no right to be any more? */
static bool
is_obsolete(const ExecutorSlot *slot, const Want *want)
{
	if (want == NULL)
		return false;			/* it came after the look */
	if (want->environment == NULL || want->role_gone || !want->may_login)
		return true;
	if (slot->state != EXECUTOR_STARTING && slot->generation != want->environment->generation)
		return true;
	return want->environment->retired && want->waiting == 0 && slot->state == EXECUTOR_IDLE;
}

static void
let_obsolete_go(Round *round)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < guc_max_executors; i++)
	{
		ExecutorSlot *slot = &pool.slots[i];
		Want	   *want = want_of_slot(round, slot);

		if (!lives(slot) || slot->kind.realm != round->realm->serial)
			continue;
		if (slot->state == EXECUTOR_STARTING && TimestampDifferenceExceeds(slot->started_at, now, START_MS))
		{
			/* one that never came finds another nonce */
			if (slot->pid != 0)
				kill(slot->pid, SIGTERM);
			else
				slot->state = EXECUTOR_FREE;
			continue;
		}
		if (is_obsolete(slot, want))
		{
			pool_let_go(slot);
			if (want->role_gone && slot->pid != 0)
				kill(slot->pid, SIGTERM);
		}
	}
}

static void
count_slots(Round *round)
{
	for (int i = 0; i < guc_max_executors; i++)
	{
		ExecutorSlot *slot = &pool.slots[i];
		Want	   *want = lives(slot) ? want_of_slot(round, slot) : NULL;

		if (want == NULL)
			continue;
		if (slot->leave)
		{
			want->leaving++;
			continue;
		}
		want->count++;
		want->idle += slot->state == EXECUTOR_IDLE;
		want->starting += slot->state == EXECUTOR_STARTING;
	}
}

/* those that have been idle for long, but for those that are to be prepared */
static void
shrink(Round *round)
{
	TimestampTz now = GetCurrentTimestamp();

	for (int i = 0; i < guc_max_executors; i++)
	{
		ExecutorSlot *slot = &pool.slots[i];
		Want	   *want = slot->state == EXECUTOR_IDLE && !slot->leave ? want_of_slot(round, slot) : NULL;
		int			least;

		if (want == NULL || want->environment == NULL || want->waiting > 0)
			continue;
		least = want->prepared ? want->environment->min_executors : 0;
		if (want->count > least && slot->idle_since + want->environment->idle_us <= now)
		{
			pool_let_go(slot);
			want->count--;
			want->idle--;
		}
	}
}

/* ---- who comes; the lock is held ---- */

/* has it as many as it may have?  coming: places that will be free, and are promised to nobody */
static bool
is_full(const Round *round, const KnownEnvironment *environment, int *coming)
{
	int			count = 0;

	*coming = 0;
	for (int i = 0; i < round->count; i++)
		if (round->wants[i].kind.name.environment_id == environment->environment_id)
		{
			count += round->wants[i].count + round->wants[i].leaving;
			*coming += round->wants[i].leaving - round->wants[i].promised;
		}
	return count >= environment->max_executors;
}

static void
note_work(Round *round)
{
	TimestampTz now = GetCurrentTimestamp();
	PoolRealm  *realm = pool_realm(round->realm);

	realm->wanting = 0;
	for (int i = 0; i < round->count; i++)
	{
		Want	   *want = &round->wants[i];
		bool		busy = want->count > want->idle + want->starting;
		PoolGroup  *group = pool_group(&want->kind, want->waiting > 0 || busy);

		if (group == NULL)
			continue;
		if (want->waiting > 0 || busy)
			group->used_at = now;
		if (want->waiting == 0 || want->count > 0)
			group->wanting_since = 0;
		else if (group->wanting_since == 0)
			group->wanting_since = now;
		want->wanting_since = group->wanting_since;
		realm->wanting += group->wanting_since != 0;
		if (group->failures > 0 && group->next_try > now)
			want->may_login = false;	/* not yet */
	}
}

/* what it wants more: 0 nothing, 1 to be prepared, 2 one more, 3 the first one */
static int
urgency(const Want *want)
{
	const KnownEnvironment *environment = want->environment;

	if (environment == NULL || environment->paused || !want->may_login || want->role_gone)
		return 0;
	if (want->waiting > 0 && want->count == 0)
		return 3;
	if (want->waiting > 0 && want->idle == 0 && want->cost > BACKLOG_S && want->starting < ceil(want->cost / SHARE_S))
		return 2;
	return want->prepared && want->count < environment->min_executors ? 1 : 0;
}

static bool
goes_before(const Want *a, const Want *b)
{
	int			x = urgency(a);
	int			y = urgency(b);

	if (x != y)
		return x > y;
	/* who has just lost one (0) comes last */
	if (x == 3)
		return (uint64) (a->wanting_since - 1) < (uint64) (b->wanting_since - 1);
	return a->count < b->count;
}

static int
count_live(void)
{
	int			count = 0;

	for (int i = 0; i < guc_max_executors; i++)
		count += lives(&pool.slots[i]);
	return count;
}

/* NULL: there is none, or there was no worker slot for one, and none has become free since, as far as is known */
static ExecutorSlot *
free_slot(void)
{
	if (pool.header->no_worker_since != 0 && count_live() >= pool.header->no_worker_live &&
		!TimestampDifferenceExceeds(pool.header->no_worker_at, GetCurrentTimestamp(), NO_WORKER_MS))
		return NULL;
	for (int i = 0; i < guc_max_executors; i++)
		if (pool.slots[i].state == EXECUTOR_FREE)
			return &pool.slots[i];
	return NULL;
}

/*
 * Who gives way for it: one that is idle and has nothing to do; else, once its
 * slice is over, one of a kind that has two more, or one more if it has none.
 */
static ExecutorSlot *
victim(Round *round, const Want *want, bool of_environment)
{
	TimestampTz slice_over = GetCurrentTimestamp() - (int64) guc_executor_slice * 1000;
	ExecutorSlot *best = NULL;
	int			best_count = 0;

	if (urgency(want) < 2)
		return NULL;
	for (int i = 0; i < guc_max_executors; i++)
	{
		ExecutorSlot *slot = &pool.slots[i];
		Want	   *other = want_of_slot(round, slot);
		bool		idle = slot->state == EXECUTOR_IDLE && (other == NULL || other->waiting == 0);
		int			count = idle ? PG_INT32_MAX : other ? other->count : 0;

		if (!lives(slot) || slot->leave || other == want || slot->state == EXECUTOR_STARTING ||
			slot->state == EXECUTOR_RESERVED)
			continue;
		if (of_environment && (other == NULL || other->kind.name.environment_id != want->kind.name.environment_id))
			continue;
		if (!idle && (other == NULL || slot->started_at > slice_over || count <= want->count + (want->count > 0)))
			continue;
		if (best == NULL || count > best_count || (count == best_count && slot->started_at < best->started_at))
		{
			best = slot;
			best_count = count;
		}
	}
	return best;
}

typedef struct Start
{
	int			slot;
	uint32		nonce;
} Start;

/* which slots are to be filled; what gives way is told so */
static int
decide(Round *round, Start *starts)
{
	int			count = 0;
	bool		satisfied = true;
	int			coming = 0;		/* free places to be, of those that are about to end */

	for (int i = 0; i < guc_max_executors; i++)
		coming += lives(&pool.slots[i]) && pool.slots[i].leave;
	for (int tries = 0; tries < guc_max_executors + round->count; tries++)
	{
		Want	   *want = NULL;
		ExecutorSlot *slot;
		bool		full;
		int			leaving;

		for (int i = 0; i < round->count; i++)
			if (urgency(&round->wants[i]) > 0 && (want == NULL || goes_before(&round->wants[i], want)))
				want = &round->wants[i];
		if (want == NULL)
			break;
		satisfied &= urgency(want) < 2;
		round->again |= urgency(want) >= 2;
		full = is_full(round, want->environment, &leaving);
		if (full && leaving > 0)
		{
			want->promised++;
			want->may_login = false;
			continue;
		}
		slot = full ? NULL : free_slot();
		if (slot == NULL && !full && coming > 0)
		{
			/* when it has ended, in a later round */
			coming--;
			want->may_login = false;
			continue;
		}
		if (slot == NULL)
		{
			ExecutorSlot *other = victim(round, want, full);

			if (other)
			{
				Want	   *loser = want_of_slot(round, other);

				pool_let_go(other);
				if (loser)
				{
					loser->count--;
					loser->leaving++;
					want->promised++;
				}
			}
			want->may_login = false;
			continue;
		}
		slot->state = EXECUTOR_STARTING;
		slot->nonce = ++pool.header->last_nonce;
		slot->realm_slot = round->realm->slot;
		slot->kind = want->kind;
		slot->generation = 0;
		slot->pid = 0;
		slot->leave = slot->failed = false;
		slot->started_at = slot->idle_since = GetCurrentTimestamp();
		slot->dedicated_to = slot->kept_count = 0;
		slot->taken = slot->ended = 0;
		slot->last_run = 0;
		slot->nice = slot->pause_us = slot->io_rate = 0;
		want->count++;
		want->starting++;
		starts[count].slot = slot - pool.slots;
		starts[count++].nonce = slot->nonce;
	}
	if (satisfied)
		pool.header->no_worker_since = 0;
	return count;
}

/* ---- told; no lock is held ---- */

static void
start(const Start *start)
{
	uint64		arg = (uint64) start->slot << 32 | start->nonce;
	BackgroundWorkerHandle *handle;
	bool		told = false;

	if (worker_start_with(&executor_kind, UInt64GetDatum(arg), &handle))
	{
		pfree(handle);
		return;
	}
	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	if (pool.slots[start->slot].nonce == start->nonce)
		pool.slots[start->slot].state = EXECUTOR_FREE;
	pool.header->no_worker_at = GetCurrentTimestamp();
	pool.header->no_worker_live = count_live();
	if (pool.header->no_worker_since == 0)
	{
		pool.header->no_worker_since = GetCurrentTimestamp();
		told = true;
	}
	LWLockRelease(pool.lock);
	if (told)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("taskex could not start an executor: no worker slot is free"),
				 errdetail("Runs wait for those that there are."),
				 errhint("Raise max_worker_processes and restart the server.")));
}

static void
tell_idle(const Round *round)
{
	for (int i = 0; i < round->count; i++)
	{
		bool		leaves = false;

		LWLockAcquire(pool.lock, LW_SHARED);
		for (int j = 0; j < guc_max_executors; j++)
			leaves |= pool.slots[j].leave && lives(&pool.slots[j]) && kind_equal(&pool.slots[j].kind, &round->wants[i].kind);
		LWLockRelease(pool.lock);
		if (leaves)
			queue_poke(round->realm->serial, &round->wants[i].kind.name);
	}
}

/* ---- those that have ended ---- */

static void
settle_dead(const Realm *realm)
{
	for (int i = 0; i < guc_max_executors; i++)
	{
		ExecutorSlot *slot = &pool.slots[i];
		Settlement	settlement = {.reason = "the executor ended while it ran the run"};
		bool		dead;

		LWLockAcquire(pool.lock, LW_SHARED);
		dead = slot->state == EXECUTOR_DEAD && slot->kind.realm == realm->serial;
		settlement.count = slot->held_count;
		settlement.current = slot->current;
		if (slot->overdue)
			settlement.reason = "the run went on after its timeout, and its executor was ended";
		memcpy(settlement.held, slot->held, sizeof(settlement.held));
		LWLockRelease(pool.lock);
		if (!dead)
			continue;
		if (!worker_try_transaction("settling runs of an executor that has ended", settle, &settlement))
		{
			next_round = Min(next_round, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), BUSY_ROUND_MS));
			continue;
		}
		LWLockAcquire(pool.lock, LW_EXCLUSIVE);
		slot->held_count = 0;
		slot->current = -1;
		slot->state = EXECUTOR_FREE;
		LWLockRelease(pool.lock);
	}
	/* what executors of an exchange that is gone have left behind */
	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	for (int i = 0; i < guc_max_executors; i++)
		if (pool.slots[i].state == EXECUTOR_DEAD && realm_serial(pool.slots[i].realm_slot) != pool.slots[i].kind.realm)
		{
			pool.slots[i].held_count = 0;
			pool.slots[i].current = -1;
			pool.slots[i].state = EXECUTOR_FREE;
		}
	LWLockRelease(pool.lock);
}

/* once after a start of the server */
static bool
recover(const Realm *realm)
{
	bool		recovered;

	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	recovered = pool_realm(realm)->recovered;
	LWLockRelease(pool.lock);
	if (recovered)
		return true;
	if (!worker_try_transaction("settling what executors ran when the server ended", settle_server, NULL))
		return false;
	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	pool_realm(realm)->recovered = true;
	LWLockRelease(pool.lock);
	return true;
}

/* ---- all of it ---- */

void
pool_maintain(void)
{
	Round		round = {0};
	Start	   *starts;
	int			count = 0;
	const Realm *realm = realm_current();

	next_round = DT_NOEND;
	if (!recover(realm))
	{
		next_round = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), BUSY_ROUND_MS);
		return;
	}
	if (guc_max_executors == 0)
		return;
	settle_dead(realm);
	if (round_context == NULL)
		round_context = AllocSetContextCreate(TopMemoryContext, "taskex executors", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(round_context);
	if (!worker_try_transaction("looking after executors", look, &round))
		return;
	starts = MemoryContextAlloc(round_context, sizeof(Start) * guc_max_executors);

	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	let_obsolete_go(&round);
	count_slots(&round);
	note_work(&round);
	shrink(&round);
	if (!pool_realm(realm)->draining)
		count = decide(&round, starts);
	LWLockRelease(pool.lock);

	for (int i = 0; i < count; i++)
		start(&starts[i]);
	tell_idle(&round);
	if (round.again || count > 0)
		next_round = Min(next_round, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), BUSY_ROUND_MS));
}

TimestampTz
pool_next(void)
{
	return next_round;
}

void
pool_leave(void)
{
	if (shmem_ready())
		queue_keep(false);
}
