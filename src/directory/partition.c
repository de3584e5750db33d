/*
 * partition.c
 *	  Storage partitions: names, nodes, and the load that placement looks at.
 *
 * PURPOSE	Chooses the least loaded partition for a new user without counting
 *			users in a table, and tells sessions when their knowledge of the
 *			partitions is out of date.
 * LAYOUT	For each realm slot a header and an array of taskex.max_partitions
 *			loads, in the order of partition_id.
 * WRITES	All fields under the slot's LWLock, exclusive.
 * CRASH	"loaded" is false after a restart; the first placement counts the
 *			users in the directory once.
 * INVARIANT  generation rises with each committed change of the topology.
 *			Loads are a guide for placement, not a truth: a count read while
 *			another session registers may be off by that user.
 */
#include "postgres.h"

#include "directory/directory.h"
#include "directory/internal.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/worker.h"
#include "infra/xact.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/lmgr.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* partitions of which a session learns one by one */
#define LEARN_SINGLY 8

typedef struct PartitionLoad
{
	int32		partition_id;
	bool		active;			/* takes new users */
	bool		anonymous;		/* anonymous ones, and no others */
	bool		standard;		/* its tier is that of users who have none */
	int64		users;
} PartitionLoad;

typedef struct PartitionMap
{
	uint32		generation;
	bool		loaded;
	bool		tiers;			/* is there another tier than standard? */
	bool		locations;		/* is there a location? */
	bool		classes;		/* are there several storage classes? */
	int			count;
	PartitionLoad loads[FLEXIBLE_ARRAY_MEMBER];
} PartitionMap;

static char *maps = NULL;
static LWLockPadded *map_locks = NULL;

static Statement select_partition = {
	"SELECT p.partition_id, p.name::text, n.name::text, p.node_id FROM _taskex.partition p"
	" JOIN _taskex.node n USING (node_id) WHERE p.partition_id = $1",
	1, {INT4OID}
};

static Statement select_partitions = {
	"SELECT p.partition_id, p.name::text, n.name::text, p.node_id FROM _taskex.partition p"
	" JOIN _taskex.node n USING (node_id)",
	0, {0}
};

static Statement select_by_name = {
	"SELECT p.partition_id, p.node_id, CASE WHEN n.state = 'active' THEN p.state ELSE n.state END,"
	" n.name::text FROM _taskex.partition p"
	" JOIN _taskex.node n USING (node_id) WHERE p.name = $1",
	1, {TEXTOID}
};

static Statement select_loads = {
	"SELECT p.partition_id, p.state = 'active' AND p.node_id = 0 AND n.state = 'active', coalesce(d.users, 0),"
	" p.storage_class = '" ANONYMOUS_CLASS "',"
	" coalesce(p.tier, n.tier) = 'standard', coalesce(p.location, n.location) IS NOT NULL,"
	" p.storage_class <> min(p.storage_class) FILTER (WHERE p.storage_class <> '" ANONYMOUS_CLASS "') OVER ()"
	" AND p.storage_class <> '" ANONYMOUS_CLASS "'"
	" FROM _taskex.partition p JOIN _taskex.node n USING (node_id) LEFT JOIN"
	" (SELECT partition_id, count(*) AS users FROM _taskex.directory GROUP BY 1) d"
	" USING (partition_id) ORDER BY 1",
	0, {0}
};

static Statement select_local = {
	"SELECT partition_id FROM _taskex.partition WHERE node_id = 0"
	" AND partition_id % $2 = $1 ORDER BY 1",
	2, {INT4OID, INT4OID}
};

static Size
map_size(void)
{
	return MAXALIGN(offsetof(PartitionMap, loads) +
					sizeof(PartitionLoad) * (Size) guc_max_partitions);
}

static Size
maps_size(void)
{
	return mul_size(map_size(), guc_max_databases);
}

static int
map_lock_count(void)
{
	return guc_max_databases;
}

static inline PartitionMap *
map_of(int slot)
{
	return (PartitionMap *) (maps + map_size() * slot);
}

/* a new realm took the slot: sessions must not trust an equal generation */
static void
map_reset(int slot)
{
	LWLockAcquire(&map_locks[slot].lock, LW_EXCLUSIVE);
	map_of(slot)->generation++;
	map_of(slot)->loaded = false;
	LWLockRelease(&map_locks[slot].lock);
}

static void
maps_attach(void *block, LWLockPadded *locks, bool found)
{
	maps = block;
	map_locks = locks;
	realm_on_reset(map_reset);
}

const ShmemPart partition_map_shmem = {
	"taskex partition maps", maps_size, NULL, map_lock_count, maps_attach
};

/* ---- changes of the topology ---- */

typedef struct TopologyChange
{
	int			slot;
} TopologyChange;

/* records of this session that are not settled; a look at them all costs time in a long transaction */
static int	topology_changes = 0;

static void
topology_commit(void *record)
{
	topology_changes--;
	map_reset(((TopologyChange *) record)->slot);
}

static HTAB *infos = NULL;		/* partition_id -> PartitionInfo */
static uint32 infos_generation = 0;
static uint32 infos_serial = 0;

static void
topology_abort(void *record)
{
	topology_changes--;
	infos_serial = 0;			/* what we read of our own change is void */
}

static const XactKind topology_kind = {topology_commit, topology_abort};

static bool
always(void *record, void *arg)
{
	return true;
}

static bool
topology_changed_here(void)
{
	return topology_changes > 0 && xact_scan(&topology_kind, always, NULL);
}

PG_FUNCTION_INFO_V1(taskex_topology_changed);

/* trigger on _taskex.node and _taskex.partition, for each statement */
Datum
taskex_topology_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "topology_changed is a trigger function");
	if (shmem_ready())
	{
		TopologyChange *change = xact_add(&topology_kind, sizeof(TopologyChange));

		change->slot = realm_current()->slot;
		topology_changes++;
		infos_serial = 0;
	}
	PG_RETURN_POINTER(NULL);
}

/* ---- what this session knows ---- */

/* enters a row of the last result */
static void
learn(uint64 row)
{
	int32		partition_id = spi_int32(row, 1);
	PartitionInfo *info = hash_search(infos, &partition_id, HASH_ENTER, NULL);
	bool		isnull;

	strlcpy(info->name, TextDatumGetCString(spi_value(row, 2, &isnull)), NAMEDATALEN);
	strlcpy(info->node, TextDatumGetCString(spi_value(row, 3, &isnull)), NAMEDATALEN);
	info->node_id = spi_int32(row, 4);
}

/* a session that asks for one partition after the other learns all at once */
static void
learn_partition(int32 partition_id)
{
	Datum		value = Int32GetDatum(partition_id);
	SpiScope	scope;
	uint64		count;

	spi_begin(&scope);
	if (hash_get_num_entries(infos) == LEARN_SINGLY)
		count = spi_run(&select_partitions, 0, NULL, NULL, SPI_VIEW_CURRENT, 0);
	else
		count = spi_run(&select_partition, 0, &value, NULL, SPI_VIEW_CURRENT, 1);
	for (uint64 row = 0; row < count; row++)
		learn(row);
	spi_end(&scope);
}

/* NULL: there is none */
static const PartitionInfo *
find_info(int32 partition_id)
{
	const Realm *realm = realm_current();
	uint32		generation = map_of(realm->slot)->generation;
	PartitionInfo *info;

	if (unlikely(infos == NULL || infos_generation != generation || infos_serial != realm->serial))
	{
		HASHCTL		ctl = {0};

		if (infos)
			hash_destroy(infos);
		infos = NULL;
		ctl.keysize = sizeof(int32);
		ctl.entrysize = sizeof(PartitionInfo);
		infos = hash_create("taskex partitions", 64, &ctl, HASH_ELEM | HASH_BLOBS);
		infos_generation = generation;
		infos_serial = realm->serial;
	}
	info = hash_search(infos, &partition_id, HASH_FIND, NULL);
	if (likely(info != NULL))
		return info;

	learn_partition(partition_id);
	return hash_search(infos, &partition_id, HASH_FIND, NULL);
}

bool
directory_has_partition(int32 partition_id)
{
	return find_info(partition_id) != NULL;
}

const PartitionInfo *
partition_info(int32 partition_id)
{
	const PartitionInfo *info = find_info(partition_id);

	if (info == NULL)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_PARTITION),
				 errmsg("storage partition %d does not exist", partition_id)));
	return info;
}

void
partition_require_local(int32 partition_id, const text *login)
{
	const PartitionInfo *info = partition_info(partition_id);

	if (unlikely(info->node_id != NODE_LOCAL))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_OTHER_NODE),
				 errmsg("user \"%s\" lives on node \"%s\"", text_to_cstring(login), info->node),
				 errhint("Connect to that node; taskex.route() tells where a user lives.")));
}

void
directory_lock_partitions(void)
{
	Oid			table = get_relname_relid("partition", get_namespace_oid("_taskex", false));

	/* conflicts with the lock of taskex.drop_partition() */
	LockRelationOid(table, RowShareLock);
}

int
directory_partitions(int32 **partitions)
{
	return directory_partitions_like(0, 1, partitions);
}

int
directory_partitions_like(int32 residue, int32 step, int32 **partitions)
{
	Datum		values[2] = {Int32GetDatum(residue), Int32GetDatum(step)};
	SpiScope	scope;
	int			count;
	int32	   *ids;
	MemoryContext context = CurrentMemoryContext;

	spi_begin(&scope);
	count = (int) spi_run(&select_local, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	ids = MemoryContextAlloc(context, sizeof(int32) * Max(count, 1));
	for (int i = 0; i < count; i++)
		ids[i] = spi_int32(i, 1);
	spi_end(&scope);
	*partitions = ids;
	return count;
}

typedef struct ListRequest
{
	PartitionList *list;
	MemoryContext context;
} ListRequest;

static void
list_partitions(void *arg)
{
	ListRequest *request = arg;
	MemoryContext old = MemoryContextSwitchTo(request->context);

	request->list->count = directory_readable_partitions(&request->list->ids);
	MemoryContextSwitchTo(old);
}

void
directory_list_partitions(PartitionList *list, bool own_transaction)
{
	ListRequest request = {list, CurrentMemoryContext};

	if (own_transaction)
		worker_transaction("listing partitions", list_partitions, &request);
	else
		list_partitions(&request);
}

/* ---- placement ---- */

typedef struct Placed
{
	int			slot;
	int32		partition_id;
} Placed;

/* adds to the number of users of a partition */
static void
count_users(int slot, int32 partition_id, int64 delta)
{
	PartitionMap *map = map_of(slot);

	LWLockAcquire(&map_locks[slot].lock, LW_EXCLUSIVE);
	for (int i = 0; map->loaded && i < map->count; i++)
		if (map->loads[i].partition_id == partition_id)
		{
			map->loads[i].users += delta;
			break;
		}
	LWLockRelease(&map_locks[slot].lock);
}

static void
placed_commit(void *record)
{
}

static void
placed_abort(void *record)
{
	count_users(((Placed *) record)->slot, ((Placed *) record)->partition_id, -1);
}

static const XactKind placed_kind = {placed_commit, placed_abort};

void
partition_user_moved(int slot, int32 source, int32 target)
{
	count_users(slot, source, -1);
	count_users(slot, target, 1);
}

/* the other way round: he goes at commit */
static const XactKind left_kind = {placed_abort, placed_commit};

void
partition_user_left(int32 partition_id)
{
	Placed	   *left = xact_add(&left_kind, sizeof(Placed));

	left->slot = realm_current()->slot;
	left->partition_id = partition_id;
}

/* counts the users of all partitions into the map, unless it changed meanwhile */
static void
load_map(int slot)
{
	PartitionMap *map = map_of(slot);
	uint32		generation = map->generation;
	PartitionLoad *loads;
	SpiScope	scope;
	int			count;
	bool		tiers = false;
	bool		locations = false;
	bool		classes = false;
	bool		isnull;

	spi_begin(&scope);
	count = (int) spi_run(&select_loads, 0, NULL, NULL, SPI_VIEW_LATEST, guc_max_partitions);
	loads = palloc(sizeof(PartitionLoad) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		loads[i].partition_id = spi_int32(i, 1);
		loads[i].active = DatumGetBool(spi_value(i, 2, &isnull));
		loads[i].users = spi_int64(i, 3);
		loads[i].anonymous = DatumGetBool(spi_value(i, 4, &isnull));
		loads[i].standard = DatumGetBool(spi_value(i, 5, &isnull));
		tiers |= !loads[i].standard;
		locations |= DatumGetBool(spi_value(i, 6, &isnull));
		classes |= DatumGetBool(spi_value(i, 7, &isnull));
	}

	LWLockAcquire(&map_locks[slot].lock, LW_EXCLUSIVE);
	if (map->generation == generation)
	{
		memcpy(map->loads, loads, sizeof(PartitionLoad) * count);
		map->count = count;
		map->tiers = tiers;
		map->locations = locations;
		map->classes = classes;
		map->loaded = true;
	}
	LWLockRelease(&map_locks[slot].lock);
	spi_end(&scope);
}

/* takes the least loaded active partition and counts a user in; 0: none */
static int32
take_least_loaded(int slot, bool anonymous, bool *loaded)
{
	PartitionMap *map = map_of(slot);
	PartitionLoad *best = NULL;
	int32		partition_id = 0;

	LWLockAcquire(&map_locks[slot].lock, LW_EXCLUSIVE);
	*loaded = map->loaded;
	for (int i = 0; map->loaded && i < map->count; i++)
	{
		PartitionLoad *load = &map->loads[i];

		if (load->active && load->anonymous == anonymous && directory_readable(load->partition_id) && (best == NULL || load->standard > best->standard ||
							 (load->standard == best->standard && load->users < best->users)))
			best = load;
	}
	if (best)
	{
		best->users++;
		partition_id = best->partition_id;
	}
	LWLockRelease(&map_locks[slot].lock);
	return partition_id;
}

/* the same from the tables, for a transaction that changed the topology itself */
static int32
least_loaded_by_table(bool anonymous)
{
	SpiScope	scope;
	int32		best = 0;
	int64		best_users = 0;
	bool		best_standard = false;
	bool		isnull;
	uint64		count;

	spi_begin(&scope);
	count = spi_run(&select_loads, 0, NULL, NULL, SPI_VIEW_CURRENT, 0);
	for (uint64 i = 0; i < count; i++)
	{
		bool		standard = DatumGetBool(spi_value(i, 5, &isnull));

		if (DatumGetBool(spi_value(i, 2, &isnull)) && DatumGetBool(spi_value(i, 4, &isnull)) == anonymous && directory_readable(spi_int32(i, 1)) &&
			(best == 0 || standard > best_standard || (standard == best_standard && spi_int64(i, 3) < best_users)))
		{
			best = spi_int32(i, 1);
			best_users = spi_int64(i, 3);
			best_standard = standard;
		}
	}
	spi_end(&scope);
	return best;
}

static int32
named_partition(const text *name)
{
	SpiScope	scope;
	Datum		value = PointerGetDatum(name);
	int32		partition_id;
	char	   *state;
	bool		isnull;

	spi_begin(&scope);
	if (spi_run(&select_by_name, 0, &value, NULL,
				topology_changed_here() ? SPI_VIEW_CURRENT : SPI_VIEW_LATEST, 1) == 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_PARTITION),
				 errmsg("storage partition \"%s\" does not exist", text_to_cstring(name)),
				 errhint("The view taskex.partitions lists them; taskex.add_partition() makes one.")));
	partition_id = spi_int32(0, 1);
	state = TextDatumGetCString(spi_value(0, 3, &isnull));
	if (spi_int32(0, 2) != NODE_LOCAL)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_OTHER_NODE),
				 errmsg("storage partition \"%s\" is on node \"%s\"", text_to_cstring(name),
						TextDatumGetCString(spi_value(0, 4, &isnull))),
				 errhint("Register the user there.")));
	if (strcmp(state, "active") != 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_PARTITION_NOT_ACTIVE),
				 errmsg("storage partition \"%s\" takes no new users", text_to_cstring(name)),
				 errdetail("It or its node is \"%s\".", state)));
	spi_end(&scope);
	return partition_id;
}

/* so that the map is loaded, unless the topology changes under our hands */
static bool
require_map(int slot)
{
	if (!map_of(slot)->loaded)
		load_map(slot);
	return map_of(slot)->loaded;
}

bool
partition_hints_matter(const text *tier, bool location, bool storage_class)
{
	const PartitionMap *map = map_of(realm_current()->slot);

	/* flags that are read without the lock may be those of a moment ago, as any placement */
	if (topology_changed_here() || !require_map(realm_current()->slot))
		return tier || location || storage_class;
	return (tier && (map->tiers || strcmp(text_to_cstring(tier), "standard") != 0)) ||
		(location && map->locations) || (storage_class && map->classes);
}

PG_FUNCTION_INFO_V1(taskex_partition_users);

/* partition_users() -> setof (partition_id, users) */
Datum
taskex_partition_users(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int			slot;
	int			count = 0;
	PartitionLoad *loads;

	InitMaterializedSRF(fcinfo, 0);
	shmem_require();
	slot = realm_current()->slot;
	loads = palloc(sizeof(PartitionLoad) * guc_max_partitions);
	if (!topology_changed_here() && require_map(slot))
	{
		LWLockAcquire(&map_locks[slot].lock, LW_SHARED);
		count = map_of(slot)->loaded ? map_of(slot)->count : 0;
		memcpy(loads, map_of(slot)->loads, sizeof(PartitionLoad) * count);
		LWLockRelease(&map_locks[slot].lock);
	}
	if (count == 0)
	{
		SpiScope	scope;

		spi_begin(&scope);
		count = (int) spi_run(&select_loads, 0, NULL, NULL, SPI_VIEW_CURRENT, guc_max_partitions);
		for (int i = 0; i < count; i++)
		{
			loads[i].partition_id = spi_int32(i, 1);
			loads[i].users = spi_int64(i, 3);
		}
		spi_end(&scope);
	}
	for (int i = 0; i < count; i++)
	{
		Datum		values[2] = {Int32GetDatum(loads[i].partition_id), Int64GetDatum(loads[i].users)};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

int32
partition_for_new_user(const text *name, int32 chosen, bool anonymous)
{
	int			slot = realm_current()->slot;
	int32		partition_id = 0;
	bool		counted = false;

	if (name)
		partition_id = named_partition(name);
	else if (chosen)
		partition_id = chosen;
	else if (topology_changed_here())
		partition_id = least_loaded_by_table(anonymous);
	else
	{
		bool		loaded;

		partition_id = take_least_loaded(slot, anonymous, &loaded);
		if (!loaded)
		{
			load_map(slot);
			partition_id = take_least_loaded(slot, anonymous, &loaded);
			if (!loaded)		/* the topology changes under our hands */
				partition_id = least_loaded_by_table(anonymous);
		}
		counted = loaded;
	}
	if (partition_id == 0 && anonymous)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_PARTITION_NOT_ACTIVE),
				 errmsg("there is no active storage partition for anonymous users"),
				 errhint("Operators make one with taskex.add_partition(..., storage_class => '%s').", ANONYMOUS_CLASS)));
	if (partition_id == 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_PARTITION_NOT_ACTIVE),
				 errmsg("there is no active storage partition"),
				 errhint("Use taskex.add_partition() to make one, or taskex.resume_partition() and taskex.resume_node() if they are drained.")));
	if (!counted)
		count_users(slot, partition_id, 1);

	{
		Placed	   *placed = xact_add(&placed_kind, sizeof(Placed));

		placed->slot = slot;
		placed->partition_id = partition_id;
	}
	return partition_id;
}
