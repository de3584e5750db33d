/*
 * layout.c
 *	  What a task looks like to one performer: core content and filled slots.
 *
 * Which requester uses a layout for which task type is known to the session, so
 * the others pay a test of a flag.  What is made of an input is in layout.sql.
 */
#include "postgres.h"

#include "market/layout.h"
#include "infra/spi.h"
#include "infra/watch.h"

#include "access/genam.h"
#include "access/skey.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/fmgroids.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* pairs that a session remembers; when there are more, it starts over */
#define PAIRS_MAX 10000

/* columns of _taskex.layout_use */
enum
{
	USE_REQUESTER_ID = 1,
	USE_TASK_TYPE_ID
};

typedef struct PairKey
{
	int64		requester;
	int64		task_type;
} PairKey;

typedef struct Pair
{
	PairKey		key;
	bool		used;
	char		status;
} Pair;

#define SH_PREFIX pairs
#define SH_ELEMENT_TYPE Pair
#define SH_KEY_TYPE PairKey
#define SH_KEY key
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) &(key), sizeof(PairKey))
#define SH_EQUAL(table, a, b) ((a).requester == (b).requester && (a).task_type == (b).task_type)
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

static TableWatch uses = {"layout_use"};
static MemoryContext pair_context = NULL;
static pairs_hash *pairs = NULL;
static bool any_uses = false;

static Statement lay_out = {
	"SELECT _taskex.lay_out($1, $2, $3, $4, $5, p.profile || coalesce("
	" (SELECT jsonb_build_object('preferences', e.preferences) FROM _taskex.preference e WHERE e.performer_id = $1), '{}') || $6, $7)"
	" FROM _taskex.profile_%p p WHERE p.user_id = $1",
	7, {INT8OID, INT8OID, INT8OID, JSONBOID, TIMESTAMPTZOID, JSONBOID, BOOLOID}
};

/* forgets all pairs; does anybody use a layout? */
static void
start_over(Relation rel, Snapshot snapshot)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);

	if (pair_context == NULL)
		pair_context = AllocSetContextCreate(TopMemoryContext, "taskex layouts", ALLOCSET_DEFAULT_SIZES);
	uses.fresh = false;			/* until all of this has gone well */
	pairs = NULL;
	MemoryContextReset(pair_context);
	any_uses = table_scan_getnextslot(scan, ForwardScanDirection, slot);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	pairs = pairs_create(pair_context, 16, NULL);
}

static bool
read_used(Relation rel, Snapshot snapshot, const PairKey *key)
{
	Oid			index = get_relname_relid("layout_use_pkey", RelationGetNamespace(rel));
	ScanKeyData keys[2];
	SysScanDesc scan;
	bool		found;

	ScanKeyInit(&keys[0], USE_REQUESTER_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(key->requester));
	ScanKeyInit(&keys[1], USE_TASK_TYPE_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(key->task_type));
	scan = systable_beginscan(rel, index, OidIsValid(index), snapshot, 2, keys);
	found = HeapTupleIsValid(systable_getnext(scan));
	systable_endscan(scan);
	return found;
}

static bool
read_pair(PairKey key)
{
	Snapshot	snapshot;
	Relation	rel = watch_begin(&uses, &snapshot);
	bool		used;
	bool		found;

	/* opening the table may have heard of a change */
	if (!uses.fresh || pairs->members >= PAIRS_MAX)
		start_over(rel, snapshot);
	used = any_uses && read_used(rel, snapshot, &key);
	pairs_insert(pairs, key, &found)->used = used;
	watch_end(&uses, rel, snapshot);
	return used;
}

bool
layout_is_used(int64 requester, int64 task_type)
{
	PairKey		key = {requester, task_type};
	bool		fresh = watch_fresh(&uses);
	Pair	   *pair;

	if (likely(fresh && !any_uses))
		return false;
	pair = fresh ? pairs_lookup(pairs, key) : NULL;
	return pair ? pair->used : read_pair(key);
}

Datum
layout_fill(const UserHome *performer, int64 requester, int64 task_type,
			Datum input, TimestampTz at, Datum context, bool search)
{
	MemoryContext own = CurrentMemoryContext;
	Datum		values[7];
	SpiScope	scope;
	MemoryContext old;
	bool		isnull;
	Datum		result;

	values[0] = Int64GetDatum(performer->user_id);
	values[1] = Int64GetDatum(requester);
	values[2] = Int64GetDatum(task_type);
	values[3] = input;
	values[4] = TimestampTzGetDatum(at);
	values[5] = context ? context : DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	values[6] = BoolGetDatum(search);
	spi_begin(&scope);
	if (spi_run(&lay_out, performer->partition, values, NULL, SPI_VIEW_NOW, 0) != 1)
		elog(ERROR, "user %lld has no profile", (long long) performer->user_id);
	result = spi_value(0, 1, &isnull);
	if (isnull)
		elog(ERROR, "nothing was laid out");
	old = MemoryContextSwitchTo(own);
	result = datumCopy(result, false, -1);
	MemoryContextSwitchTo(old);
	spi_end(&scope);
	return result;
}

PG_FUNCTION_INFO_V1(taskex_laid_out);

/* _taskex.laid_out(performer, requester, task_type, input, at, context, search) -> jsonb */
Datum
taskex_laid_out(PG_FUNCTION_ARGS)
{
	UserHome	performer;

	if (!layout_is_used(PG_GETARG_INT64(1), PG_GETARG_INT64(2)))
		PG_RETURN_DATUM(PG_GETARG_DATUM(3));
	directory_steady_home_by_id(PG_GETARG_INT64(0), &performer);
	PG_RETURN_DATUM(layout_fill(&performer, PG_GETARG_INT64(1), PG_GETARG_INT64(2), PG_GETARG_DATUM(3),
								PG_GETARG_TIMESTAMPTZ(4), PG_GETARG_DATUM(5), PG_GETARG_BOOL(6)));
}
