/*
 * queue.c
 *	  The queue of runs in shared memory: where it lies, and how things are found.
 *
 * PURPOSE	The next run is found without searching a table.
 * LAYOUT	Arrays of environments, customers, lanes, keys and entries, linked by
 *			indexes; hash chains; what is known of each realm slot.
 * WRITES	All under the queue lock, exclusive; the count of those who wait
 *			for runs of an environment atomically.
 * CRASH	It is empty, and is loaded from the tables (load.c).
 * INVARIANT  See README.md.
 */
#include "postgres.h"

#include "workload/lane.h"

#include "common/hashfn.h"
#include "storage/shmem.h"

Queue		queue;

/* chains of a hash table for so many things */
static int32
chain_count(int32 things)
{
	return things;
}

static Size
header_size(void)
{
	return MAXALIGN(offsetof(QueueHeader, realms) + sizeof(QueueRealm) * guc_max_databases);
}

static Size
queue_size(void)
{
	Size		size = header_size();

	size = add_size(size, MAXALIGN(mul_size(sizeof(int32), chain_count(guc_ready_runs))));
	size = add_size(size, MAXALIGN(mul_size(4 * sizeof(int32), chain_count(guc_max_lanes))));
	size = add_size(size, MAXALIGN(mul_size(sizeof(Entry), guc_ready_runs)));
	size = add_size(size, MAXALIGN(mul_size(sizeof(Lane), guc_max_lanes)));
	size = add_size(size, MAXALIGN(mul_size(sizeof(Environment), guc_max_lanes)));
	size = add_size(size, MAXALIGN(mul_size(sizeof(Customer), guc_max_lanes)));
	return add_size(size, MAXALIGN(mul_size(sizeof(RunKey), guc_max_lanes)));
}

static int
queue_locks(void)
{
	return 1;
}

static void *
carve(char **at, Size size)
{
	void	   *place = *at;

	*at += MAXALIGN(size);
	return place;
}

void
queue_clear(int slot, uint32 serial)
{
	QueueRealm *realm = &queue.header->realms[slot];

	if (serial != 0)
	{
		for (int i = 0; i < guc_ready_runs; i++)
			if (queue.entries[i].state != ENTRY_FREE && queue.entries[i].realm == serial)
				queue_free_entry(i);
		queue_forget(serial);
	}
	memset(realm, 0, sizeof(QueueRealm));
	realm->sleeping = -1;
	realm->next_lease = DT_NOEND;
}

static void
free_realm(int slot)
{
	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	queue_clear(slot, queue.header->realms[slot].serial);
	LWLockRelease(queue.lock);
}

static void
fill(int32 *chains, int32 count)
{
	for (int32 i = 0; i < count; i++)
		chains[i] = -1;
}

static void
queue_attach(void *block, LWLockPadded *locks, bool found)
{
	char	   *at = block;

	queue.lock = &locks[0].lock;
	queue.header = carve(&at, header_size());
	queue.entry_chains = carve(&at, sizeof(int32) * chain_count(guc_ready_runs));
	queue.lane_chains = carve(&at, 4 * sizeof(int32) * chain_count(guc_max_lanes));
	queue.environment_chains = queue.lane_chains + chain_count(guc_max_lanes);
	queue.customer_chains = queue.environment_chains + chain_count(guc_max_lanes);
	queue.key_chains = queue.customer_chains + chain_count(guc_max_lanes);
	queue.entries = carve(&at, sizeof(Entry) * guc_ready_runs);
	queue.lanes = carve(&at, sizeof(Lane) * guc_max_lanes);
	queue.environments = carve(&at, sizeof(Environment) * guc_max_lanes);
	queue.customers = carve(&at, sizeof(Customer) * guc_max_lanes);
	queue.keys = carve(&at, sizeof(RunKey) * guc_max_lanes);
	if (!found)
	{
		fill(queue.entry_chains, chain_count(guc_ready_runs));
		fill(queue.lane_chains, 4 * chain_count(guc_max_lanes));
		queue.header->free_entry = -1;
		for (int32 i = guc_ready_runs - 1; i >= 0; i--)
		{
			queue.entries[i].next = queue.header->free_entry;
			queue.header->free_entry = i;
		}
		queue.header->free_entries = guc_ready_runs;
		for (int32 i = 0; i < guc_max_lanes; i++)
		{
			pg_atomic_init_u32(&queue.environments[i].waiters, 0);
			pg_atomic_init_u32(&queue.environments[i].reserved, 0);
			ConditionVariableInit(&queue.environments[i].appeared);
			ConditionVariableInit(&queue.environments[i].appeared_reserved);
			ConditionVariableInit(&queue.environments[i].refilled);
		}
		for (int slot = 0; slot < guc_max_databases; slot++)
		{
			queue.header->realms[slot].sleeping = -1;
			queue.header->realms[slot].next_lease = DT_NOEND;
		}
	}
	realm_on_reset(free_realm);
}

const ShmemPart queue_shmem = {"taskex queue", queue_size, NULL, queue_locks, queue_attach};

/* ---- hash chains ---- */

static int32 *
entry_chain(uint32 realm, int64 run_id)
{
	uint32		hash = hash_combine(realm, run_hash((uint64) run_id));

	return &queue.entry_chains[hash % chain_count(guc_ready_runs)];
}

int32 *
queue_environment_chain(uint32 realm, const QueueName *name)
{
	uint32		hash = hash_combine(realm, murmurhash32((uint32) name->environment_id));

	hash = hash_combine(hash, murmurhash32(name->role));
	return &queue.environment_chains[hash % chain_count(guc_max_lanes)];
}

int32 *
queue_customer_chain(uint32 realm, int64 customer_id)
{
	uint32		hash = hash_combine(realm, run_hash((uint64) customer_id));

	return &queue.customer_chains[hash % chain_count(guc_max_lanes)];
}

int32 *
queue_lane_chain(uint32 realm, const LaneName *name)
{
	uint32		hash = hash_combine(realm, run_hash((uint64) name->customer_id));

	hash = hash_combine(hash, murmurhash32((uint32) name->environment_id * 16 + name->priority));
	return &queue.lane_chains[hash % chain_count(guc_max_lanes)];
}

int32 *
queue_key_chain(uint32 realm, int64 customer_id, uint64 key_hash)
{
	uint32		hash = hash_combine(realm, run_hash((uint64) customer_id ^ key_hash));

	return &queue.key_chains[hash % chain_count(guc_max_lanes)];
}

/* ---- entries ---- */

int32
queue_find_entry(uint32 realm, int64 run_id)
{
	int32		i = *entry_chain(realm, run_id);

	while (i >= 0 && !(queue.entries[i].run_id == run_id && queue.entries[i].realm == realm))
		i = queue.entries[i].chain;
	return i;
}

int32
queue_new_entry(uint32 realm, int64 run_id, int32 lane, int32 key)
{
	int32		index = queue.header->free_entry;
	Entry	   *entry;
	int32	   *chain;

	if (index < 0)
		return -1;
	entry = &queue.entries[index];
	queue.header->free_entry = entry->next;
	queue.header->free_entries--;
	memset(entry, 0, sizeof(Entry));
	entry->run_id = run_id;
	entry->realm = realm;
	entry->lane = lane;
	entry->key = key;
	entry->next = entry->previous = -1;
	chain = entry_chain(realm, run_id);
	entry->chain = *chain;
	*chain = index;
	queue.lanes[lane].entries++;
	if (key >= 0)
		queue.keys[key].entries++;
	return index;
}

/* it is in no list any more */
void
queue_free_entry(int32 index)
{
	Entry	   *entry = &queue.entries[index];
	int32	   *at = entry_chain(entry->realm, entry->run_id);

	while (*at != index)
		at = &queue.entries[*at].chain;
	*at = entry->chain;
	queue.lanes[entry->lane].entries--;
	if (entry->key >= 0)
		queue.keys[entry->key].entries--;
	entry->state = ENTRY_FREE;
	entry->realm = 0;
	entry->next = queue.header->free_entry;
	queue.header->free_entry = index;
	queue.header->free_entries++;
}
