/*
 * ready.c
 *	  Runs become ready, come back, end: what commits do to the queue.
 */
#include "postgres.h"

#include "workload/lane.h"
#include "base/clock.h"
#include "infra/xact.h"

#include "common/pg_prng.h"

/* entries that are looked at for one whose lane can spare one */
#define SAMPLE 64

/* how fast the average cost of a lane's runs follows */
#define COST_SHARE 0.1

void
queue_signal(Environment *environment, int32 runs)
{
	if (unlikely(pg_atomic_read_u32(&environment->reserved) > 0))
		ConditionVariableBroadcast(&environment->appeared_reserved);
	if (likely(pg_atomic_read_u32(&environment->waiters) == 0))
	{
		QueueRealm *realm = &queue.header->realms[environment->slot];

		if (environment->name.role != QUEUE_OUTSIDE && !environment->called && realm->keeper)
		{
			environment->called = true;
			SetLatch(realm->keeper);
		}
		return;
	}
	if (runs > 1)
		ConditionVariableBroadcast(&environment->appeared);
	else
		ConditionVariableSignal(&environment->appeared);
}

/* ---- entries ---- */

/* it waits in the table again */
static void
give_back(int32 index)
{
	Entry	   *entry = &queue.entries[index];
	int32		lane = entry->lane;
	int64		run_id = entry->run_id;

	if (entry->state == ENTRY_PARKED)
		key_take(index);
	else
		lane_take(index);
	queue_free_entry(index);
	lane_leave(lane);
	lane_widen(&queue.lanes[lane], run_id - 1, run_id);
	lane_settle(lane);
}

/* so many runs with deadlines of one lane stay here whatever others have */
static int64
urgent_share(void)
{
	return guc_ready_runs / 8;
}

/* what a lane holds that others may want */
static int64
counted(const Lane *lane)
{
	return lane->listed + lane->parked - Min(lane->urgents, urgent_share());
}

/*
 * All entries are in use: a lane that holds many has one less.  Who has more does
 * not take from who has less, and the only one of a lane goes to one whose turn it
 * is, not to one that has just come.  Those parked behind a key are spared twice as
 * long as others.  A run with a deadline is missed by nobody until its lane's turn
 * once it is gone: it gives way to nobody, and anybody to it, unless its lane has many, or
 * there is nobody else.
 */
bool
queue_make_room(int32 for_lane, bool urgent)
{
	const Lane *own = for_lane >= 0 ? &queue.lanes[for_lane] : NULL;
	bool		before_all = urgent && own && own->urgents < urgent_share();
	int64		most = own && !before_all ? 2 * counted(own) : 0;
	int32		victim = -1;
	int32		spared = -1;	/* one with a deadline; there are others if it is -2 */

	for (int i = 0; i < SAMPLE; i++)
	{
		int32		index = pg_prng_uint64_range(&pg_global_prng_state, 0, guc_ready_runs - 1);
		const Entry *sample = &queue.entries[index];
		const Lane *lane;
		int64		held;

		if ((sample->state != ENTRY_READY && sample->state != ENTRY_PARKED) || sample->lane == for_lane)
			continue;
		lane = &queue.lanes[sample->lane];
		/* of a list and of a key the last one */
		if (sample->state == ENTRY_READY)
			index = lane->last;
		else if (queue.entries[queue.keys[sample->key].last].lane == sample->lane)
			index = queue.keys[sample->key].last;
		if (sample->state == ENTRY_READY && queue.entries[index].urgent && lane->urgents <= urgent_share())
		{
			if (spared == -1)
				spared = index;
			continue;
		}
		spared = -2;
		held = counted(lane);
		if (held == 1 && own && !own->refilling && !before_all)
			continue;
		if (sample->state == ENTRY_READY && !queue.entries[index].urgent)
			held *= 2;
		if (held > most)
		{
			most = held;
			victim = index;
		}
	}
	if (victim < 0)
		victim = spared;
	if (victim < 0)
		return false;
	give_back(victim);
	return true;
}

/* the lane's own last one gives way to one that comes before it */
static bool
give_back_later(int32 lane, int64 run_id)
{
	int32		last = queue.lanes[lane].last;

	if (last < 0 || queue.entries[last].run_id < run_id ||
		(queue.entries[last].urgent && queue.lanes[lane].urgents <= urgent_share()))
		return false;
	give_back(last);
	return true;
}

bool
queue_unstick(void)
{
	if (!queue.header->stuck)
		return false;
	queue.header->stuck = false;
	for (int32 i = 0; i < guc_max_lanes; i++)
	{
		Lane	   *lane = &queue.lanes[i];

		if (lane->realm == 0 || !lane->stuck)
			continue;
		lane->stuck = false;
		lane_settle(i);
		if (lane->in_turn)
			queue_signal(&queue.environments[lane->environment], 1);
	}
	return true;
}

bool
queue_place_found(int32 index, int32 key, const ReadyRun *run)
{
	uint32		realm = queue.lanes[index].realm;
	int32		entry;

	if (queue_find_entry(realm, run->run_id) >= 0)
		return true;
	if (queue.header->free_entry < 0 && !queue_make_room(index, run->deadline != DT_NOEND) && !give_back_later(index, run->run_id))
		return false;
	entry = queue_new_entry(realm, run->run_id, index, key);
	queue.entries[entry].submitted = run->submitted;
	queue.entries[entry].deadline = run->deadline;
	queue.entries[entry].tid = run->tid;
	lane_append(index, entry);
	return true;
}

void
queue_place(int32 index, int32 key, const ReadyRun *run)
{
	Lane	   *lane = &queue.lanes[index];
	Environment *environment = &queue.environments[lane->environment];

	lane_leave(index);
	/* who was away has not saved up turns */
	if (lane->waiting == 0)
		lane->time = Max(lane->time, environment->time[lane->priority]);
	lane->waiting++;
	if ((run->deadline == DT_NOEND &&
		 (lane_has_window(lane) || lane->refilling || lane->listed >= LANE_ENTRIES)) ||
		(queue.header->free_entry < 0 && lane->listed + lane->parked >= LANE_ENTRIES) ||
		!queue_place_found(index, key, run))
		lane_widen(lane, run->run_id - 1, run->run_id);
	lane_settle(index);
	queue_signal(environment, 1);
}

void
entry_uncount(Entry *entry)
{
	Lane	   *lane = &queue.lanes[entry->lane];
	Customer   *customer = &queue.customers[lane->customer];

	queue.header->realms[customer->slot].running--;
	customer->running--;
	if (customer->blocked)
		customer_settle(lane->customer, clock_now());
	if (entry->key >= 0)
		queue.keys[entry->key].running--;
}

void
entry_free(int32 index)
{
	Entry	   *entry = &queue.entries[index];
	int32		key = entry->key;

	switch ((EntryState) entry->state)
	{
		case ENTRY_READY:
			lane_take(index);
			queue.lanes[entry->lane].waiting--;
			break;
		case ENTRY_PARKED:
			key_take(index);
			queue.lanes[entry->lane].waiting--;
			break;
		case ENTRY_RESERVED:
		case ENTRY_RUNNING:
			entry_uncount(entry);
			break;
		case ENTRY_FREE:
			return;
	}
	queue_free_entry(index);
	if (key >= 0)
		key_unpark(key, 1);
}

void
entry_back(int32 index)
{
	Entry	   *entry = &queue.entries[index];
	Lane	   *lane = &queue.lanes[entry->lane];
	int32		key = entry->key;

	entry_uncount(entry);
	entry->fate = FATE_OPEN;
	lane->waiting++;
	lane_append(entry->lane, index);
	queue_signal(&queue.environments[lane->environment], 1);
	if (key >= 0)
		key_unpark(key, 1);
}

/* what a run has cost beyond, or below, what its lane was charged for it */
static void
charge(Entry *entry, double cost)
{
	Lane	   *lane = &queue.lanes[entry->lane];

	lane_leave(entry->lane);
	lane->time += cost - entry->charge;
	lane->mean_cost += (cost - lane->mean_cost) * COST_SHARE;
	lane_settle(entry->lane);
	entry->charge = cost;
}

/* ---- at commit ---- */

typedef enum ChangeKind
{
	CHANGE_READY,
	CHANGE_ENDED,
	CHANGE_AGAIN,
	CHANGE_GONE,
	CHANGE_LEASE,
	CHANGE_UNSTARTED
} ChangeKind;

typedef struct Change
{
	ChangeKind	kind;
	PinnedLane	pinned;
	ReadyRun	run;
	int32		count;
	double		cost;
	TimestampTz lease_until;
} Change;

/*
 * What one subtransaction changes, in its order.  A record that is full is
 * followed by a larger one, so that they stay few.  At commit all are applied in
 * the order in which they were made, and whoever waits for the lock gets it
 * between two records.
 */
typedef struct Changes
{
	struct Changes *older;		/* of this transaction */
	struct Changes *newer;		/* while they are applied */
	bool		applied;
	uint32		realm;
	int			slot;
	int32		room;
	int32		count;
	Change		changes[FLEXIBLE_ARRAY_MEMBER];
} Changes;

#define CHANGES_LEAST 1
#define CHANGES_MOST 128

static void
apply_ready(const Changes *of, const Change *change)
{
	ReadyRun	run = change->run;
	Lane	   *lane;

	if (change->pinned.lane < 0)
	{
		queue.header->realms[of->slot].crowded = true;
		return;
	}
	lane = &queue.lanes[change->pinned.lane];
	if (lane->realm != of->realm)
		return;
	for (int32 i = 0; i < change->count; i++)
	{
		int32		entry = change->count == 1 ? queue_find_entry(of->realm, run.run_id) : -1;

		/* this transaction has taken it, ended it, and made it ready */
		if (entry >= 0 && queue.entries[entry].state == ENTRY_RESERVED && queue.entries[entry].fate == FATE_FREE)
		{
			queue.entries[entry].fate = FATE_READY;
			return;
		}
		queue_place(change->pinned.lane, change->pinned.key, &run);
		run.run_id += RUN_ID_STEP;
		ItemPointerSetInvalid(&run.tid);
		if (lane_has_window(lane) && run.deadline == DT_NOEND && i + 1 < change->count)
		{
			/* the rest waits in the table */
			lane_widen(lane, run.run_id - 1, change->run.run_id + (int64) (change->count - 1) * RUN_ID_STEP);
			lane->waiting += change->count - i - 1;
			queue_signal(&queue.environments[lane->environment], change->count);
			return;
		}
	}
}

static void
apply_gone(const Changes *of, const Change *change)
{
	int32		entry = queue_find_entry(of->realm, change->run.run_id);
	int32		lane;

	if (entry >= 0 && queue.entries[entry].state == ENTRY_RESERVED)
		queue.entries[entry].fate = FATE_FREE;
	else if (entry >= 0)
		entry_free(entry);
	else if ((lane = queue_find_lane(of->realm, &change->pinned.name)) >= 0 &&
			 ((lane_has_window(&queue.lanes[lane]) && change->run.run_id > queue.lanes[lane].low &&
			   change->run.run_id <= queue.lanes[lane].high) || queue.lanes[lane].refilling))
		queue.lanes[lane].waiting--;
}

static void
apply_to_running(const Changes *of, const Change *change)
{
	int32		index = queue_find_entry(of->realm, change->run.run_id);
	Entry	   *entry = &queue.entries[index];

	if (index < 0)
	{
		if (change->kind == CHANGE_AGAIN)
			apply_ready(of, change);
		return;
	}
	if (change->kind == CHANGE_LEASE)
	{
		QueueRealm *realm = &queue.header->realms[of->slot];

		entry->lease_until = change->lease_until;
		realm->next_lease = Min(realm->next_lease, change->lease_until);
		return;
	}
	if (change->kind == CHANGE_UNSTARTED)
	{
		customer_unstart(queue.lanes[entry->lane].customer);
		return;
	}
	charge(entry, change->cost);
	if (entry->state == ENTRY_RESERVED)
		entry->fate = change->kind == CHANGE_AGAIN ? FATE_READY : FATE_FREE;
	else if (change->kind == CHANGE_ENDED)
		entry_free(index);
	else if (entry->state == ENTRY_RUNNING)
		entry_back(index);
}

static void
apply(const Changes *of)
{
	if (queue.header->realms[of->slot].serial != of->realm)
		return;
	for (int32 i = 0; i < of->count; i++)
	{
		const Change *change = &of->changes[i];

		if (change->kind == CHANGE_READY)
			apply_ready(of, change);
		else if (change->kind == CHANGE_GONE)
			apply_gone(of, change);
		else
			apply_to_running(of, change);
	}
}

/* the newest comes first */
static void
changes_commit(void *record)
{
	Changes    *of = record;

	if (of->applied)
		return;
	for (; of->older; of = of->older)
		of->older->newer = of;

	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	for (; of; of = of->newer)
	{
		apply(of);
		of->applied = true;
		if (of->newer)
		{
			LWLockRelease(queue.lock);
			LWLockAcquire(queue.lock, LW_EXCLUSIVE);
		}
	}
	LWLockRelease(queue.lock);
}

static void
changes_abort(void *record)
{
}

static const XactKind changes_kind = {changes_commit, changes_abort};

static bool
is_newest(void *record, void *arg)
{
	*(void **) arg = record;
	return true;
}

static Change *
new_change(ChangeKind kind, int64 run_id)
{
	const Realm *realm = realm_current();
	Changes    *of = xact_find(&changes_kind);
	Change	   *change;

	if (of == NULL || of->count == of->room || of->realm != realm->serial)
	{
		int32		room = of ? Min(4 * of->room, CHANGES_MOST) : CHANGES_LEAST;
		void	   *older = NULL;

		(void) xact_scan(&changes_kind, is_newest, &older);
		of = xact_add(&changes_kind, offsetof(Changes, changes) + sizeof(Change) * room);
		of->older = older;
		of->realm = realm->serial;
		of->slot = realm->slot;
		of->room = room;
	}
	change = &of->changes[of->count++];
	change->kind = kind;
	change->run.run_id = run_id;
	return change;
}

void
queue_ready_at_commit(const PinnedLane *pinned, const ReadyRun *first, int32 count)
{
	Change	   *change = new_change(CHANGE_READY, 0);

	change->pinned = *pinned;
	change->run = *first;
	change->count = count;
}

void
queue_ended_at_commit(int64 run_id, double cost)
{
	new_change(CHANGE_ENDED, run_id)->cost = cost;
}

void
queue_again_at_commit(const PinnedLane *pinned, const ReadyRun *run, double cost)
{
	Change	   *change = new_change(CHANGE_AGAIN, 0);

	change->pinned = *pinned;
	change->run = *run;
	change->count = 1;
	change->cost = cost;
}

void
queue_unstarted_at_commit(int64 run_id)
{
	(void) new_change(CHANGE_UNSTARTED, run_id);
}

void
queue_gone_at_commit(const LaneName *name, int64 run_id)
{
	new_change(CHANGE_GONE, run_id)->pinned.name = *name;
}

void
queue_lease_at_commit(int64 run_id, TimestampTz until)
{
	new_change(CHANGE_LEASE, run_id)->lease_until = until;
}
