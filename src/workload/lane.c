/*
 * lane.c
 *	  Environments, customers, lanes and keys in shared memory: found and made; what
 *	  may run now.
 */
#include "postgres.h"

#include "workload/lane.h"
#include "base/clock.h"
#include "infra/spi.h"
#include "infra/xact.h"
#include "workload/environment.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* how many elements a search for a free one looks at */
#define SEARCH 256

static Statement select_limits = {
	"SELECT max_running, rate, rate_us, paused FROM _taskex.run_limit WHERE customer_id = $1 AND key_hash = $2",
	2, {INT8OID, INT8OID}
};

/* runs of a key that may run unless its customer says otherwise */
#define KEY_LIMIT 1

uint64
run_key_hash(const char *key, Size length)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) key, (int) length, 0);

	return hash == 0 ? 1 : hash;
}

/* ---- heaps ---- */

static HeapNode *
turn_node(int32 lane)
{
	return &queue.lanes[lane].by_time;
}

static bool
turn_before(int32 a, int32 b)
{
	const Lane *x = &queue.lanes[a];
	const Lane *y = &queue.lanes[b];

	return x->time < y->time || (x->time == y->time && a < b);
}

static const HeapKind turns = {turn_node, turn_before};

static HeapNode *
urgent_node(int32 lane)
{
	return &queue.lanes[lane].by_deadline;
}

static bool
urgent_before(int32 a, int32 b)
{
	return queue.entries[queue.lanes[a].urgent].deadline < queue.entries[queue.lanes[b].urgent].deadline;
}

static const HeapKind urgents = {urgent_node, urgent_before};

static HeapNode *
deadline_node(int32 entry)
{
	return &queue.entries[entry].by_deadline;
}

static bool
deadline_before(int32 a, int32 b)
{
	const Entry *x = &queue.entries[a];
	const Entry *y = &queue.entries[b];

	return x->deadline < y->deadline || (x->deadline == y->deadline && x->run_id < y->run_id);
}

static const HeapKind deadlines = {deadline_node, deadline_before};

static HeapNode *
wake_node(int32 customer)
{
	return &queue.customers[customer].by_wake;
}

static bool
wake_before(int32 a, int32 b)
{
	return queue.customers[a].wake_at < queue.customers[b].wake_at;
}

static const HeapKind wakes = {wake_node, wake_before};

/* ---- lanes in their heaps ---- */

void
lane_leave(int32 index)
{
	Lane	   *lane = &queue.lanes[index];
	Environment *environment = &queue.environments[lane->environment];

	if (lane->in_turn)
		environment->turns[lane->priority] = heap_remove(&turns, environment->turns[lane->priority], index);
	if (lane->in_urgent)
		environment->urgent = heap_remove(&urgents, environment->urgent, index);
	lane->in_turn = lane->in_urgent = false;
}

/* a lane with so many behind their keys reads no more: one customer's do not take all entries */
static int32
parked_most(void)
{
	return Max(LANE_ENTRIES, guc_ready_runs / 8);
}

/* may what is in its window be read? */
static bool
may_refill(const Lane *lane)
{
	return lane_has_window(lane) && !lane->refilling && !lane->stuck && lane->parked < parked_most();
}

void
lane_settle(int32 index)
{
	Lane	   *lane = &queue.lanes[index];
	Environment *environment = &queue.environments[lane->environment];
	bool		blocked = queue.customers[lane->customer].blocked;
	bool		turn = !blocked && (lane_has_next(lane) || may_refill(lane));
	bool		urgent = !blocked && lane->urgent >= 0;

	if (turn && !lane->in_turn)
		environment->turns[lane->priority] = heap_add(&turns, environment->turns[lane->priority], index);
	else if (!turn && lane->in_turn)
		environment->turns[lane->priority] = heap_remove(&turns, environment->turns[lane->priority], index);
	lane->in_turn = turn;
	if (urgent && !lane->in_urgent)
		environment->urgent = heap_add(&urgents, environment->urgent, index);
	else if (!urgent && lane->in_urgent)
		environment->urgent = heap_remove(&urgents, environment->urgent, index);
	lane->in_urgent = urgent;
}

void
lane_append(int32 index, int32 entry_index)
{
	Lane	   *lane = &queue.lanes[index];
	Entry	   *entry = &queue.entries[entry_index];
	int32		before = lane->last;

	lane_leave(index);
	/* what comes back belongs near the beginning */
	if (before >= 0 && queue.entries[lane->first].run_id > entry->run_id)
		before = -1;
	while (before >= 0 && queue.entries[before].run_id > entry->run_id)
		before = queue.entries[before].previous;
	entry->previous = before;
	entry->next = before >= 0 ? queue.entries[before].next : lane->first;
	if (entry->next >= 0)
		queue.entries[entry->next].previous = entry_index;
	else
		lane->last = entry_index;
	if (before >= 0)
		queue.entries[before].next = entry_index;
	else
		lane->first = entry_index;
	lane->listed++;
	entry->state = ENTRY_READY;
	entry->urgent = entry->deadline != DT_NOEND;
	if (entry->urgent)
	{
		lane->urgent = heap_add(&deadlines, lane->urgent, entry_index);
		lane->urgents++;
	}
	lane_settle(index);
}

void
lane_take(int32 entry_index)
{
	Entry	   *entry = &queue.entries[entry_index];
	Lane	   *lane = &queue.lanes[entry->lane];

	lane_leave(entry->lane);
	if (entry->previous >= 0)
		queue.entries[entry->previous].next = entry->next;
	else
		lane->first = entry->next;
	if (entry->next >= 0)
		queue.entries[entry->next].previous = entry->previous;
	else
		lane->last = entry->previous;
	entry->next = entry->previous = -1;
	lane->listed--;
	if (entry->urgent)
	{
		lane->urgent = heap_remove(&deadlines, lane->urgent, entry_index);
		lane->urgents--;
	}
	entry->urgent = false;
	lane_settle(entry->lane);
}

void
lane_widen(Lane *lane, int64 low, int64 high)
{
	if (lane_has_window(lane))
	{
		lane->low = Min(lane->low, low);
		lane->high = Max(lane->high, high);
	}
	else
	{
		lane->low = low;
		lane->high = high;
	}
}

/* ---- keys ---- */

void
key_park(int32 entry_index)
{
	Entry	   *entry = &queue.entries[entry_index];
	RunKey	   *key = &queue.keys[entry->key];
	int32		before = key->last;

	while (before >= 0 && queue.entries[before].run_id > entry->run_id)
		before = queue.entries[before].previous;
	entry->previous = before;
	entry->next = before >= 0 ? queue.entries[before].next : key->first;
	if (entry->next >= 0)
		queue.entries[entry->next].previous = entry_index;
	else
		key->last = entry_index;
	if (before >= 0)
		queue.entries[before].next = entry_index;
	else
		key->first = entry_index;
	entry->state = ENTRY_PARKED;
	if (++queue.lanes[entry->lane].parked == parked_most())
		lane_settle(entry->lane);
}

void
key_take(int32 entry_index)
{
	Entry	   *entry = &queue.entries[entry_index];
	RunKey	   *key = &queue.keys[entry->key];

	if (entry->previous >= 0)
		queue.entries[entry->previous].next = entry->next;
	else
		key->first = entry->next;
	if (entry->next >= 0)
		queue.entries[entry->next].previous = entry->previous;
	else
		key->last = entry->previous;
	entry->next = entry->previous = -1;
	if (queue.lanes[entry->lane].parked-- == parked_most())
		lane_settle(entry->lane);
}

/*
 * Whoever leaves the key, or was to run next and is gone, lets one go on; one too
 * many is parked again when its turn comes.
 */
void
key_unpark(int32 index, int32 count)
{
	RunKey	   *key = &queue.keys[index];

	count = Min(count, key->limit - key->running);
	while (count-- > 0 && key->first >= 0)
	{
		int32		entry = key->first;

		key_take(entry);
		lane_append(queue.entries[entry].lane, entry);
		queue_signal(&queue.environments[queue.lanes[queue.entries[entry].lane].environment], 1);
	}
}

/* ---- what customers may do ---- */

static void
refill_tokens(Customer *customer, TimestampTz now)
{
	const RunLimits *limits = &customer->limits;

	/* taskex.clock may set time back */
	if (now > customer->tokens_at)
		customer->tokens = Min((double) limits->rate,
							   customer->tokens + (double) (now - customer->tokens_at) * limits->rate / limits->rate_us);
	customer->tokens_at = now;
}

void
customer_unstart(int32 index)
{
	Customer   *customer = &queue.customers[index];

	if (customer->limits.rate > 0)
		customer->tokens = Min((double) customer->limits.rate, customer->tokens + 1);
}

static void
set_blocked(int32 index, bool blocked)
{
	Customer   *customer = &queue.customers[index];

	if (customer->blocked == blocked)
		return;
	customer->blocked = blocked;
	for (int32 i = customer->first_lane; i >= 0; i = queue.lanes[i].next_of_customer)
	{
		lane_settle(i);
		if (!blocked && queue.lanes[i].in_turn)
			queue_signal(&queue.environments[queue.lanes[i].environment], queue.lanes[i].listed);
	}
}

void
customer_settle(int32 index, TimestampTz now)
{
	Customer   *customer = &queue.customers[index];
	const RunLimits *limits = &customer->limits;
	QueueRealm *realm = &queue.header->realms[customer->slot];
	bool		sleep = false;

	if (limits->rate > 0)
	{
		refill_tokens(customer, now);
		sleep = customer->tokens < 1;
	}
	if (customer->sleeping)
		realm->sleeping = heap_remove(&wakes, realm->sleeping, index);
	customer->sleeping = sleep;
	if (sleep)
		customer->wake_at = now + (TimestampTz) ((1 - customer->tokens) * limits->rate_us / limits->rate) + 1;
	if (customer->rest_until > now)
	{
		customer->wake_at = sleep ? Max(customer->wake_at, customer->rest_until) : customer->rest_until;
		customer->sleeping = sleep = true;
	}
	if (sleep)
	{
		realm->sleeping = heap_add(&wakes, realm->sleeping, index);
	}
	set_blocked(index, sleep || limits->paused || customer->running >= limits->max_running);
}

/* ---- found ---- */

int32
queue_find_environment(uint32 realm, const QueueName *name)
{
	int32		i = *queue_environment_chain(realm, name);

	while (i >= 0 && !(queue.environments[i].name.environment_id == name->environment_id &&
					   queue.environments[i].name.role == name->role && queue.environments[i].realm == realm))
		i = queue.environments[i].chain;
	return i;
}

int32
queue_find_customer(uint32 realm, int64 customer_id)
{
	int32		i = *queue_customer_chain(realm, customer_id);

	while (i >= 0 && !(queue.customers[i].customer_id == customer_id && queue.customers[i].realm == realm))
		i = queue.customers[i].chain;
	return i;
}

int32
queue_find_key(uint32 realm, int64 customer_id, uint64 hash)
{
	int32		i = *queue_key_chain(realm, customer_id, hash);

	while (i >= 0 && !(queue.keys[i].hash == hash && queue.keys[i].customer_id == customer_id && queue.keys[i].realm == realm))
		i = queue.keys[i].chain;
	return i;
}

static bool
lane_is(const Lane *lane, uint32 realm, const LaneName *name)
{
	return lane->realm == realm && lane->priority == name->priority &&
		queue.environments[lane->environment].name.environment_id == name->environment_id &&
		queue.customers[lane->customer].customer_id == name->customer_id;
}

int32
queue_find_lane(uint32 realm, const LaneName *name)
{
	int32		i = *queue_lane_chain(realm, name);

	while (i >= 0 && !lane_is(&queue.lanes[i], realm, name))
		i = queue.lanes[i].chain;
	return i;
}

/* ---- made; what nobody needs gives way ---- */

#define UNLINK(chain_head, array, index) \
	do { \
		int32	   *at_ = (chain_head); \
		while (*at_ != (index)) \
			at_ = &(array)[*at_].chain; \
		*at_ = (array)[index].chain; \
	} while (0)

static bool
free_environment(int32 index)
{
	Environment *environment = &queue.environments[index];

	if (environment->realm == 0)
		return true;
	if (environment->lanes > 0 || environment->refilling > 0 || pg_atomic_read_u32(&environment->waiters) > 0 ||
		pg_atomic_read_u32(&environment->reserved) > 0)
		return false;
	UNLINK(queue_environment_chain(environment->realm, &environment->name), queue.environments, index);
	environment->realm = 0;
	return true;
}

static bool
free_customer(int32 index)
{
	Customer   *customer = &queue.customers[index];

	if (customer->realm == 0)
		return true;
	/* one whose rate is used up must not begin anew */
	if (customer->first_lane >= 0 || customer->running > 0 || customer->sleeping)
		return false;
	UNLINK(queue_customer_chain(customer->realm, customer->customer_id), queue.customers, index);
	customer->realm = 0;
	return true;
}

static bool
free_key(int32 index)
{
	RunKey	   *key = &queue.keys[index];

	if (key->realm == 0)
		return true;
	if (key->entries > 0 || key->pins > 0)
		return false;
	UNLINK(queue_key_chain(key->realm, key->customer_id, key->hash), queue.keys, index);
	key->realm = 0;
	return true;
}

static bool
free_lane(int32 index)
{
	Lane	   *lane = &queue.lanes[index];
	Customer   *customer;
	LaneName	name;

	if (lane->realm == 0)
		return true;
	if (lane->entries > 0 || lane->pins > 0 || lane_has_window(lane) || lane->refilling)
		return false;
	lane_leave(index);
	customer = &queue.customers[lane->customer];
	name.customer_id = customer->customer_id;
	name.environment_id = queue.environments[lane->environment].name.environment_id;
	name.priority = lane->priority;
	UNLINK(queue_lane_chain(lane->realm, &name), queue.lanes, index);
	if (lane->previous_of_customer >= 0)
		queue.lanes[lane->previous_of_customer].next_of_customer = lane->next_of_customer;
	else
		customer->first_lane = lane->next_of_customer;
	if (lane->next_of_customer >= 0)
		queue.lanes[lane->next_of_customer].previous_of_customer = lane->previous_of_customer;
	queue.environments[lane->environment].lanes--;
	lane->realm = 0;
	return true;
}

/* a free place: one that nobody uses, or needs any more; -1: none was found */
static int32
find_place(int32 *hand, bool (*try_free) (int32 index), int32 search)
{
	for (int i = 0; i < Min(search, guc_max_lanes); i++)
	{
		int32		index = *hand;

		*hand = (*hand + 1) % guc_max_lanes;
		if (try_free(index))
			return index;
	}
	return -1;
}

void
queue_forget(uint32 realm)
{
	for (int32 i = 0; i < guc_max_lanes; i++)
		if (queue.lanes[i].realm == realm)
		{
			Lane	   *lane = &queue.lanes[i];

			/* out of the heaps whatever is in it: its entries are gone */
			lane_leave(i);
			lane->entries = lane->pins = lane->listed = lane->urgents = 0;
			lane->low = lane->high = 0;
			lane->refilling = false;
			lane->first = lane->last = lane->urgent = -1;
			(void) free_lane(i);
		}
	for (int32 i = 0; i < guc_max_lanes; i++)
	{
		if (queue.keys[i].realm == realm)
		{
			queue.keys[i].entries = queue.keys[i].pins = 0;
			(void) free_key(i);
		}
		if (queue.customers[i].realm == realm)
		{
			queue.customers[i].first_lane = -1;
			queue.customers[i].running = 0;
			queue.customers[i].sleeping = false;
			(void) free_customer(i);
		}
		if (queue.environments[i].realm == realm)
		{
			queue.environments[i].lanes = queue.environments[i].refilling = 0;
			(void) free_environment(i);
		}
	}
}

int32
queue_get_environment(const Realm *realm, const QueueName *name)
{
	int32		index = queue_find_environment(realm->serial, name);
	Environment *environment;
	int32	   *chain;

	if (index >= 0)
		return index;
	index = find_place(&queue.header->hand_environment, free_environment, guc_max_lanes);
	if (index < 0)
		return -1;
	environment = &queue.environments[index];
	environment->realm = realm->serial;
	environment->slot = realm->slot;
	environment->name = *name;
	environment->lanes = environment->refilling = 0;
	environment->called = false;
	environment->urgent = -1;
	for (int i = 0; i < PRIORITIES; i++)
	{
		environment->turns[i] = -1;
		environment->time[i] = 0;
	}
	chain = queue_environment_chain(realm->serial, name);
	environment->chain = *chain;
	*chain = index;
	return index;
}

static int32
get_customer(const Realm *realm, int64 customer_id, const RunLimits *limits)
{
	int32		index = queue_find_customer(realm->serial, customer_id);
	Customer   *customer;
	int32	   *chain;

	if (index >= 0)
		return index;
	index = find_place(&queue.header->hand_customer, free_customer, SEARCH);
	if (index < 0)
		return -1;
	customer = &queue.customers[index];
	memset(customer, 0, sizeof(Customer));
	customer->realm = realm->serial;
	customer->slot = realm->slot;
	customer->customer_id = customer_id;
	customer->first_lane = -1;
	customer->limits = *limits;
	customer->tokens = limits->rate;
	customer->tokens_at = clock_now();
	chain = queue_customer_chain(realm->serial, customer_id);
	customer->chain = *chain;
	*chain = index;
	customer_settle(index, customer->tokens_at);
	return index;
}

static int32
get_key(uint32 realm, int64 customer_id, uint64 hash, const RunLimits *limits)
{
	int32		index = queue_find_key(realm, customer_id, hash);
	RunKey	   *key;
	int32	   *chain;

	if (index >= 0)
		return index;
	index = find_place(&queue.header->hand_key, free_key, SEARCH);
	if (index < 0)
		return -1;
	key = &queue.keys[index];
	memset(key, 0, sizeof(RunKey));
	key->realm = realm;
	key->customer_id = customer_id;
	key->hash = hash;
	key->limit = limits->max_running;
	key->first = key->last = -1;
	chain = queue_key_chain(realm, customer_id, hash);
	key->chain = *chain;
	*chain = index;
	return index;
}

static int32
get_lane(const Realm *realm, const LaneName *name, Oid role, const RunLimits *limits)
{
	int32		index = queue_find_lane(realm->serial, name);
	QueueName	queue_name = {name->environment_id, role};
	int32		environment;
	int32		customer;
	Lane	   *lane;
	int32	   *chain;

	if (index >= 0)
		return index;
	index = find_place(&queue.header->hand_lane, free_lane, SEARCH);
	environment = index < 0 ? -1 : queue_get_environment(realm, &queue_name);
	customer = environment < 0 ? -1 : get_customer(realm, name->customer_id, limits);
	if (customer < 0)
		return -1;
	lane = &queue.lanes[index];
	memset(lane, 0, sizeof(Lane));
	lane->realm = realm->serial;
	lane->environment = environment;
	lane->customer = customer;
	lane->priority = name->priority;
	lane->first = lane->last = lane->urgent = -1;
	lane->time = queue.environments[environment].time[name->priority];
	lane->mean_cost = 0.01;
	lane->previous_of_customer = -1;
	lane->next_of_customer = queue.customers[customer].first_lane;
	if (lane->next_of_customer >= 0)
		queue.lanes[lane->next_of_customer].previous_of_customer = index;
	queue.customers[customer].first_lane = index;
	queue.environments[environment].lanes++;
	chain = queue_lane_chain(realm->serial, name);
	lane->chain = *chain;
	*chain = index;
	return index;
}

/* ---- kept by a transaction ---- */

typedef struct Pin
{
	int32		lane;
	int32		key;
	uint32		realm;
} Pin;

static void
end_pin(void *record)
{
	Pin		   *pin = record;

	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	if (pin->lane >= 0 && queue.lanes[pin->lane].realm == pin->realm)
		queue.lanes[pin->lane].pins--;
	if (pin->key >= 0 && queue.keys[pin->key].realm == pin->realm)
		queue.keys[pin->key].pins--;
	LWLockRelease(queue.lock);
}

static const XactKind pin_kind = {end_pin, end_pin};

static void
read_limits(int64 customer_id, uint64 key_hash, RunLimits *limits)
{
	Datum		values[2] = {Int64GetDatum(customer_id), Int64GetDatum((int64) key_hash)};
	SpiScope	scope;
	bool		isnull;

	memset(limits, 0, sizeof(RunLimits));
	limits->max_running = key_hash == 0 ? NO_LIMIT : KEY_LIMIT;
	spi_begin(&scope);
	if (spi_run(&select_limits, 0, values, NULL, SPI_VIEW_LATEST, 1) == 1)
	{
		Datum		max_running = spi_value(0, 1, &isnull);

		limits->max_running = isnull ? NO_LIMIT : DatumGetInt32(max_running);
		limits->rate = spi_int32(0, 2);
		limits->rate_us = spi_int64(0, 3);
		limits->paused = DatumGetBool(spi_value(0, 4, &isnull));
	}
	spi_end(&scope);
}

/* whose executors may take the lane's runs, as committed now */
static Oid
role_of(const LaneName *name)
{
	UserHome	home;

	if (environment_by_id(name->environment_id)->external)
		return QUEUE_OUTSIDE;
	directory_present_home_by_id(name->customer_id, &home);
	return OidIsValid(home.db_role) ? home.db_role : QUEUE_NO_ROLE;
}

bool
queue_get(const Realm *realm, PinnedLane *pinned, KnownLimits *known)
{
	bool		fresh = known->changes == queue.header->limits_changed;

	pinned->lane = pinned->key = -1;
	known->changes = queue.header->limits_changed;
	if (!(known->customer_known && fresh) && queue_find_customer(realm->serial, pinned->name.customer_id) < 0)
		return false;
	if (pinned->key_hash != 0 && !(known->key_known && fresh) &&
		queue_find_key(realm->serial, pinned->name.customer_id, pinned->key_hash) < 0)
		return false;
	if (!(known->role_known && fresh) && queue_find_lane(realm->serial, &pinned->name) < 0)
		return false;
	pinned->lane = get_lane(realm, &pinned->name, known->role, &known->customer);
	if (pinned->lane >= 0 && pinned->key_hash != 0)
	{
		pinned->key = get_key(realm->serial, pinned->name.customer_id, pinned->key_hash, &known->key);
		if (pinned->key < 0)
			pinned->lane = -1;
	}
	return true;
}

void
queue_learn_limits(const PinnedLane *pinned, KnownLimits *known)
{
	read_limits(pinned->name.customer_id, 0, &known->customer);
	known->customer_known = true;
	known->role = role_of(&pinned->name);
	known->role_known = true;
	known->key_known = pinned->key_hash != 0;
	if (known->key_known)
		read_limits(pinned->name.customer_id, pinned->key_hash, &known->key);
}

void
queue_pin(PinnedLane *pinned)
{
	const Realm *realm = realm_current();
	KnownLimits known = {false};
	Pin		   *pin;
	bool		done;

	queue_require_loaded();
	pin = xact_add(&pin_kind, sizeof(Pin));
	pin->lane = pin->key = -1;
	pin->realm = realm->serial;
	for (;;)
	{
		LWLockAcquire(queue.lock, LW_EXCLUSIVE);
		done = queue_get(realm, pinned, &known);
		if (done && pinned->lane >= 0)
		{
			queue.lanes[pinned->lane].pins++;
			if (pinned->key >= 0)
				queue.keys[pinned->key].pins++;
			pin->lane = pinned->lane;
			pin->key = pinned->key;
		}
		LWLockRelease(queue.lock);
		if (done)
			return;
		queue_learn_limits(pinned, &known);
	}
}

/* ---- limits change ---- */

typedef struct LimitsChange
{
	uint32		realm;
	int64		customer_id;
	uint64		key_hash;
	RunLimits	limits;
	TimestampTz now;
	struct LimitsChange *before;	/* what this transaction changed of the same earlier, or NULL */
	bool		superseded;
} LimitsChange;

static void
limits_commit(void *record)
{
	LimitsChange *change = record;
	int32		index;

	/* the newest comes first */
	if (change->before)
		change->before->superseded = true;
	if (change->superseded)
		return;
	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	queue.header->limits_changed++;
	if (change->key_hash == 0)
	{
		index = queue_find_customer(change->realm, change->customer_id);
		if (index >= 0)
		{
			Customer   *customer = &queue.customers[index];

			if (customer->limits.rate != change->limits.rate || customer->limits.rate_us != change->limits.rate_us)
			{
				customer->tokens = change->limits.rate;
				customer->tokens_at = change->now;
			}
			customer->limits = change->limits;
			customer_settle(index, change->now);
		}
	}
	else
	{
		index = queue_find_key(change->realm, change->customer_id, change->key_hash);
		if (index >= 0)
		{
			queue.keys[index].limit = change->limits.max_running;
			key_unpark(index, PG_INT32_MAX);
		}
	}
	LWLockRelease(queue.lock);
}

/* at once: nothing depends on what becomes of the transaction */
void
queue_rest(int64 customer_id, TimestampTz now, TimestampTz until)
{
	int32		index;

	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	index = queue_find_customer(realm_current()->serial, customer_id);
	if (index >= 0)
	{
		queue.customers[index].rest_until = until;
		customer_settle(index, now);
	}
	LWLockRelease(queue.lock);
}

static void
limits_abort(void *record)
{
}

static const XactKind limits_kind = {limits_commit, limits_abort};

/* the newest change of the same limits */
static bool
find_change(void *record, void *arg)
{
	LimitsChange *change = record;
	LimitsChange *wanted = arg;

	if (change == wanted || change->customer_id != wanted->customer_id || change->key_hash != wanted->key_hash)
		return false;
	wanted->before = change;
	return true;
}

void
queue_limits_at_commit(int64 customer_id, uint64 key_hash, const RunLimits *limits)
{
	uint32		realm = realm_current()->serial;
	LimitsChange *change = xact_add(&limits_kind, sizeof(LimitsChange));

	change->realm = realm;
	change->customer_id = customer_id;
	change->key_hash = key_hash;
	change->limits = *limits;
	change->now = clock_now();
	(void) xact_scan(&limits_kind, find_change, change);
}

/* ---- a customer's role changes ---- */

typedef struct RoleChange
{
	uint32		realm;
	int			slot;
	int64		customer_id;
	Oid			role;
} RoleChange;

/*
 * To the queue of another role.  Environments are as many as lanes, so there is
 * room but where waiting sessions keep queues without lanes; then it stays, and
 * its runs wait for the next start.
 */
static void
move_lane(const Realm *realm, int32 index, Oid role)
{
	Lane	   *lane = &queue.lanes[index];
	Environment *old = &queue.environments[lane->environment];
	QueueName	name = {old->name.environment_id, role};
	Environment *new;
	int32		environment = queue_get_environment(realm, &name);

	if (environment < 0)
		return;
	new = &queue.environments[environment];
	lane_leave(index);
	if (lane->refilling)
	{
		old->refilling--;
		new->refilling++;
		ConditionVariableBroadcast(&old->refilled);
	}
	old->lanes--;
	new->lanes++;
	lane->environment = environment;
	lane->time = Max(lane->time, new->time[lane->priority]);
	lane_settle(index);
	if (lane->in_turn || lane->in_urgent)
		queue_signal(new, 2);
}

static void
role_commit(void *record)
{
	RoleChange *change = record;
	Realm		realm = {change->slot, change->realm};
	int32		customer;

	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	queue.header->limits_changed++;
	customer = queue_find_customer(change->realm, change->customer_id);
	for (int32 i = customer >= 0 ? queue.customers[customer].first_lane : -1; i >= 0; i = queue.lanes[i].next_of_customer)
		if (queue.environments[queue.lanes[i].environment].name.role != QUEUE_OUTSIDE &&
			queue.environments[queue.lanes[i].environment].name.role != change->role)
			move_lane(&realm, i, change->role);
	LWLockRelease(queue.lock);
}

static void
role_abort(void *record)
{
}

static const XactKind role_kind = {role_commit, role_abort};

void
queue_role_at_commit(int64 customer_id, Oid role)
{
	const Realm *realm = realm_current();
	RoleChange *change = xact_add(&role_kind, sizeof(RoleChange));

	change->realm = realm->serial;
	change->slot = realm->slot;
	change->customer_id = customer_id;
	change->role = OidIsValid(role) ? role : QUEUE_NO_ROLE;
}
