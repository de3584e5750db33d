/*
 * group.c
 *	  Which groups a performer belongs to.
 *
 * PURPOSE	A session remembers the groups of the performers that it serves and
 *			hears, before it uses them, that they have changed.
 * LAYOUT	Generations, one for each SHARDS-th user.
 * WRITES	Raised atomically at the end of a transaction that changed groups or
 *			members.
 * CRASH	Sessions are gone, and with them what they remember.
 * INVARIANT  What was read after a generation was is good as long as the
 *			generation stays.
 */
#include "postgres.h"

#include "supply/group.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/xact.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "port/atomics.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/rel.h"

#define SHARDS 256

/* performers that a session remembers */
#define KNOWN_MAX 4096

static pg_atomic_uint32 *generations = NULL;

static Statement select_groups = {
	"SELECT group_id FROM (SELECT g.group_id, g.weight FROM _taskex.group_member m JOIN _taskex.performer_group g USING (group_id)"
	" WHERE m.user_id = $1 UNION SELECT g.group_id, g.weight FROM _taskex.performer_group g"
	" WHERE g.group_id > 0 AND g.partition_ids @> ARRAY[$2]) g ORDER BY weight DESC, group_id LIMIT $3",
	3, {INT8OID, INT4OID, INT8OID}
};

static Statement select_any = {"SELECT FROM _taskex.performer_group WHERE group_id > 0 LIMIT 1", 0, {0}};

static Size
group_size(void)
{
	return sizeof(pg_atomic_uint32) * SHARDS;
}

static void
group_attach(void *block, LWLockPadded *locks, bool found)
{
	generations = block;
	if (!found)
		for (int i = 0; i < SHARDS; i++)
			pg_atomic_init_u32(&generations[i], 1);
}

const ShmemPart group_shmem = {"taskex groups", group_size, NULL, NULL, group_attach};

/* ---- what a session remembers ---- */

typedef struct KnownKey
{
	int64		user_id;
	int32		partition;
	uint32		realm;
} KnownKey;

typedef struct Known
{
	KnownKey	key;
	uint32		generation;		/* 0: not read yet */
	Groups		groups;
} Known;

static HTAB *known = NULL;

/* what all_plain() found, of which exchange, and the generation of the first users then */
static bool plain = false;
static uint32 plain_realm = 0;
static uint32 plain_generation = 0;

static Known *
find_known(const UserHome *performer)
{
	KnownKey	key = {performer->user_id, performer->partition, realm_current()->serial};
	Known	   *entry;
	bool		found;

	if (known && hash_get_num_entries(known) >= KNOWN_MAX)
	{
		hash_destroy(known);
		known = NULL;
	}
	if (known == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(KnownKey);
		ctl.entrysize = sizeof(Known);
		known = hash_create("taskex groups", 256, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	entry = hash_search(known, &key, HASH_ENTER, &found);
	if (!found)
		entry->generation = 0;
	return entry;
}

/* is there no group but those of the partitions? A change of groups raises all generations. */
static bool
all_plain(void)
{
	uint32		realm = realm_current()->serial;
	uint32		generation = pg_atomic_read_u32(&generations[0]);
	SpiScope	scope;

	if (plain_realm != realm || plain_generation != generation)
	{
		plain_realm = 0;
		pg_read_barrier();
		spi_begin(&scope);
		plain = spi_run(&select_any, 0, NULL, NULL, SPI_VIEW_LATEST, 1) == 0;
		spi_end(&scope);
		plain_realm = realm;
		plain_generation = generation;
	}
	return plain;
}

static void
read_groups(const UserHome *performer, Groups *groups)
{
	Datum		values[3] = {Int64GetDatum(performer->user_id), Int32GetDatum(performer->partition),
	Int64GetDatum(GROUPS_MAX - 1)};
	SpiScope	scope;

	spi_begin(&scope);
	groups->count = (int) spi_run(&select_groups, 0, values, NULL, SPI_VIEW_LATEST, GROUPS_MAX - 1);
	for (int i = 0; i < groups->count; i++)
		groups->ids[i] = spi_int32(i, 1);
	spi_end(&scope);
}

const Groups *
groups_of(const UserHome *performer)
{
	uint32		generation = pg_atomic_read_u32(&generations[performer->user_id % SHARDS]);
	Known	   *entry = find_known(performer);

	if (unlikely(entry->generation != generation))
	{
		entry->generation = 0;
		pg_read_barrier();
		entry->groups.count = 0;
		if (!all_plain())
			read_groups(performer, &entry->groups);
		entry->groups.ids[entry->groups.count++] = -performer->partition;
		entry->generation = generation;
	}
	return &entry->groups;
}

PG_FUNCTION_INFO_V1(taskex_groups_of);

/* _taskex.groups_of(performer) -> int[] */
Datum
taskex_groups_of(PG_FUNCTION_ARGS)
{
	UserHome	performer;
	const Groups *groups;
	Datum		ids[GROUPS_MAX];

	directory_steady_home_by_id(PG_GETARG_INT64(0), &performer);
	groups = groups_of(&performer);
	for (int i = 0; i < groups->count; i++)
		ids[i] = Int32GetDatum(groups->ids[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(ids, groups->count, INT4OID, 4, true, TYPALIGN_INT));
}

/* ---- what was changed ---- */

typedef struct Changed
{
	bool		shards[SHARDS];
} Changed;

static void
changed_end(void *record)
{
	const Changed *changed = record;

	for (int i = 0; i < SHARDS; i++)
		if (changed->shards[i])
			pg_atomic_fetch_add_u32(&generations[i], 2);	/* odd, so never 0 */
}

/* nobody has read it: also this session reads what is committed (SPI_VIEW_LATEST) */
static void
changed_undone(void *record)
{
}

static const XactKind changed_kind = {changed_end, changed_undone};

/* of a row of group_member */
static int64
user_of(const TriggerData *trigger, HeapTuple row)
{
	bool		isnull;

	return DatumGetInt64(heap_getattr(row, 1, RelationGetDescr(trigger->tg_relation), &isnull));
}

PG_FUNCTION_INFO_V1(taskex_group_changed);

/* trigger, for each statement of performer_group, for each row of group_member */
Datum
taskex_group_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Changed    *changed;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "group_changed() is a trigger");
	if (generations == NULL)
		return PointerGetDatum(NULL);	/* no shared memory: nobody remembers anything */
	changed = xact_find(&changed_kind);
	if (changed == NULL)
		changed = xact_add(&changed_kind, sizeof(Changed));
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		memset(changed->shards, true, sizeof(changed->shards));
	else
		changed->shards[user_of(trigger, trigger->tg_trigtuple) % SHARDS] = true;
	return PointerGetDatum(NULL);
}
