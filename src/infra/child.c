/*
 * child.c
 *	  Rows of the child tables of a storage partition, without the executor.
 */
#include "postgres.h"

#include "infra/child.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "infra/realm.h"

#include "access/heapam.h"
#include "access/heaptoast.h"
#include "access/nbtree.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupmacs.h"
#include "access/xact.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_opfamily.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "pgstat.h"
#include "storage/bufmgr.h"
#include "storage/predicate.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"

const ChildWatch *child_watch = NULL;

/* ---- which table is which ---- */

typedef struct KnownKey
{
	const ChildTable *table;
	int32		partition;
	uint32		realm;
} KnownKey;

typedef struct KnownChild KnownChild;

struct KnownChild
{
	KnownKey	key;
	Oid			relid;			/* InvalidOid: not looked up yet */
	uint64		checked;		/* relcache_changes when it was examined */
	Oid			indexes[CHILD_INDEXES];
	struct ChildWrites *writes; /* NULL: not looked up yet, or out of date */
};

/* what to enter a row into: all indexes of a table */
struct ChildWrites
{
	MemoryContext context;		/* where all of this is */
	int			count;
	struct
	{
		Oid			relid;
		IndexInfo  *info;		/* NULL: not a plain one, made anew each time */
	}			indexes[FLEXIBLE_ARRAY_MEMBER];
};

static HTAB *known = NULL;

/*
 * Changes of any table or index that this process has heard of.  An index can
 * be replaced while its table stays (REINDEX CONCURRENTLY), so what is known of
 * a table is examined again after such a change.
 */
static uint64 relcache_changes = 0;

static void
relation_changed(Datum arg, Oid relid)
{
	relcache_changes++;
}

/* can the index be scanned as an ascending btree of bigints with these leading columns? */
static bool
index_fits(Relation index, const AttrNumber *columns)
{
	if (!index->rd_index->indisvalid || index->rd_rel->relam != BTREE_AM_OID ||
		RelationGetIndexPredicate(index) != NIL)
		return false;
	for (int n = 0; n < CHILD_INDEX_KEYS && columns[n] != 0; n++)
		if (n >= index->rd_index->indnkeyatts ||
			index->rd_index->indkey.values[n] != columns[n] ||
			index->rd_opfamily[n] != INTEGER_BTREE_FAM_OID ||
			index->rd_indoption[n] != 0)
			return false;
	return true;
}

static Oid
find_index(Relation rel, const AttrNumber *columns)
{
	List	   *list = RelationGetIndexList(rel);
	ListCell   *cell;
	Oid			result = InvalidOid;

	foreach(cell, list)
	{
		Relation	index = index_open(lfirst_oid(cell), AccessShareLock);

		if (index_fits(index, columns))
			result = RelationGetRelid(index);
		index_close(index, AccessShareLock);
	}
	list_free(list);
	return result;
}

/* looks at the open table, that it is what the code expects, and at its indexes */
static void
examine(KnownChild *child, Relation rel)
{
	const ChildTable *table = child->key.table;
	const char *name = RelationGetRelationName(rel);
	uint64		changes = relcache_changes;

	child->relid = InvalidOid;
	if (child->writes)
		MemoryContextDelete(child->writes->context);
	child->writes = NULL;
	if (RelationGetNumberOfAttributes(rel) != table->ncolumns)
		elog(ERROR, "table %s has %d columns, not %d", name,
			 RelationGetNumberOfAttributes(rel), table->ncolumns);
	for (int i = 0; i < table->ncolumns; i++)
		if (strcmp(NameStr(TupleDescAttr(RelationGetDescr(rel), i)->attname), table->columns[i]) != 0)
			elog(ERROR, "column %d of table %s is not %s", i + 1, name, table->columns[i]);
	for (int i = 0; i < table->nindexes; i++)
	{
		child->indexes[i] = find_index(rel, table->indexes[i]);
		if (!OidIsValid(child->indexes[i]))
			elog(ERROR, "table %s lacks index %d", name, i);
	}

	/* last: an error on the way leaves nothing that looks known */
	child->checked = changes;
	child->relid = RelationGetRelid(rel);
}

static KnownChild *
find_known(const ChildTable *table, int32 partition)
{
	KnownKey	key;
	KnownChild *child;
	bool		found;

	if (unlikely(known == NULL))
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(KnownKey);
		ctl.entrysize = sizeof(KnownChild);
		known = hash_create("taskex child tables", 128, &ctl, HASH_ELEM | HASH_BLOBS);
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
	}
	memset(&key, 0, sizeof(key));
	key.table = table;
	key.partition = partition;
	key.realm = realm_current()->serial;
	child = hash_search(known, &key, HASH_ENTER, &found);
	if (!found)
	{
		child->relid = InvalidOid;
		child->writes = NULL;
	}
	return child;
}

/* opens the table by its name; NULL: there is none */
static Relation
open_by_name(const ChildTable *table, int32 partition, LOCKMODE mode)
{
	char		name[NAMEDATALEN];
	Oid			relid;
	Relation	rel = NULL;

	snprintf(name, sizeof(name), "%s_%d", table->name, partition);
	relid = get_relname_relid(name, get_namespace_oid("_taskex", false));
	if (OidIsValid(relid))
		rel = try_table_open(relid, mode);
	return rel;
}

static bool
open_child(Child *child, const ChildTable *table, int32 partition, LOCKMODE mode)
{
	KnownChild *entry = find_known(table, partition);

	child->rel = OidIsValid(entry->relid) ? try_table_open(entry->relid, mode) : NULL;
	if (unlikely(child->rel == NULL))
	{
		entry->relid = InvalidOid;
		child->rel = open_by_name(table, partition, mode);
		if (child->rel == NULL)
			return false;
	}

	/* with the lock, its indexes stay what they are until the transaction ends */
	if (unlikely(!OidIsValid(entry->relid) || entry->checked != relcache_changes))
		examine(entry, child->rel);
	memcpy(child->indexes, entry->indexes, sizeof(child->indexes));
	child->keeps_indexes = mode == RowExclusiveLock;
	child->known = entry;
	child->slot = table_slot_create(child->rel, NULL);
	child->blocks = 0;
	return true;
}

void
child_open(Child *child, const ChildTable *table, int32 partition)
{
	child_open_mode(child, table, partition, RowExclusiveLock);
}

void
child_open_mode(Child *child, const ChildTable *table, int32 partition, LOCKMODE mode)
{
	if (!open_child(child, table, partition, mode))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_PARTITION),
				 errmsg("storage partition %d does not exist", partition)));
}

bool
child_try_open(Child *child, const ChildTable *table, int32 partition)
{
	return open_child(child, table, partition, RowExclusiveLock);
}

void
child_close(Child *child)
{
	ExecDropSingleTupleTableSlot(child->slot);
	table_close(child->rel, NoLock);
}

/* ---- its indexes ---- */

/*
 * An index of an open table.  Who has locked the table for writing needs no lock of
 * its indexes: whatever drops or replaces one locks the table against writers, or
 * waits until all who have locked it since have ended, before it touches the index
 * (DROP and REINDEX INDEX CONCURRENTLY); and for ALTER INDEX SET TABLESPACE, which
 * locks the index alone, child_hook.c locks the table.  index_open() would assert
 * a lock in a server that was built for that.
 */
static Relation
open_index(Child *child, Oid relid, LOCKMODE mode)
{
	Relation	index;

	if (!child->keeps_indexes)
		return index_open(relid, mode);
	index = RelationIdGetRelation(relid);
	if (!RelationIsValid(index))
		elog(ERROR, "could not open index %u of table %s", relid, RelationGetRelationName(child->rel));
	pgstat_init_relation(index);
	return index;
}

/* ---- reading ---- */

bool
child_is_void(Child *child)
{
	return RelationGetNumberOfBlocks(child->rel) == 0;
}

/*
 * PostgreSQL removes dead versions of rows from a page when it comes to the page
 * and less is free than the table's fillfactor leaves, that is, of our pages in use
 * nearly each time, for one dead version.  It is done here when another version of
 * any row might find no room, so it is done for several at once.
 */
#define ROOM_MIN (BLCKSZ / 4)

StaticAssertDecl(ROOM_MIN >= TOAST_TUPLE_THRESHOLD, "a page needs room for any row");

static bool
next_row(IndexScanDesc scan, TupleTableSlot *slot)
{
	IndexFetchHeapData *fetch = (IndexFetchHeapData *) scan->xs_heapfetch;
	ItemPointer tid;

	while ((tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		Buffer		before = fetch->xs_cbuf;

		/* with the page in its hands already, index_fetch_heap() does not tidy it */
		fetch->xs_cbuf = ReleaseAndReadBuffer(before, scan->heapRelation, ItemPointerGetBlockNumber(tid));
		if (fetch->xs_cbuf != before && PageGetHeapFreeSpace(BufferGetPage(fetch->xs_cbuf)) < ROOM_MIN)
			heap_page_prune_opt(scan->heapRelation, fetch->xs_cbuf);
		if (index_fetch_heap(scan, slot))
			return true;
	}
	return false;
}

/*
 * Where rows went that this process has changed last, or inserted (found_again), by
 * their primary keys: who has pulled a run completes it, and needs no index to find it again.  Only a hint:
 * the page must still be in that buffer, and what is found there be the row.
 */
typedef struct Place
{
	Oid			relid;
	Buffer		buffer;
	int64		key;
	ItemPointerData tid;
} Place;

#define PLACES 1024

static Place places[PLACES];

static Place *
place_of(int64 key)
{
	return &places[(uint64) key * UINT64CONST(0x9E3779B97F4A7C15) >> 54];
}

StaticAssertDecl(PLACES == 1 << (64 - 54), "a place for each hash");

/* the primary key, if it is one column; 0: it is not */
static AttrNumber
key_column(const Child *child)
{
	const ChildTable *table = child->known->key.table;

	return table->nindexes > 0 && table->indexes[0][1] == 0 ? table->indexes[0][0] : 0;
}

/* the row in the slot was changed, and is here now; its last version was in the buffer */
static void
note_place(Child *child, Buffer buffer, BlockNumber block, ItemPointer tid)
{
	int64		key;
	Place	   *place;

	if (!BufferIsValid(buffer) || ItemPointerGetBlockNumber(tid) != block || key_column(child) == 0)
		return;
	key = child_int64(child, key_column(child));
	place = place_of(key);
	place->relid = RelationGetRelid(child->rel);
	place->buffer = buffer;
	place->key = key;
	place->tid = *tid;
}

/* the same of a row that was inserted */
static void
note_inserted(Child *child, ItemPointer tid)
{
	BlockNumber block = ItemPointerGetBlockNumber(tid);
	Buffer		buffer = ReadBuffer(child->rel, block);

	note_place(child, buffer, block, tid);
	ReleaseBuffer(buffer);
}

/*
 * Is the version of a row there that with the key, and does the snapshot see it?
 * heap_fetch() from a page that is pinned; the slot keeps the pin, or it is given up.
 */
static bool
fetch_version(Child *child, int64 key, Buffer buffer, ItemPointerData tid, Snapshot snapshot)
{
	TupleTableSlot *slot = child->slot;
	HeapTuple	tuple = &((BufferHeapTupleTableSlot *) slot)->base.tupdata;
	Page		page = BufferGetPage(buffer);
	OffsetNumber offset = ItemPointerGetOffsetNumber(&tid);
	bool		visible = false;

	if (PageGetHeapFreeSpace(page) < ROOM_MIN)
		heap_page_prune_opt(child->rel, buffer);
	ExecClearTuple(slot);
	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	if (offset <= PageGetMaxOffsetNumber(page) && ItemIdIsNormal(PageGetItemId(page, offset)))
	{
		tuple->t_data = (HeapTupleHeader) PageGetItem(page, PageGetItemId(page, offset));
		tuple->t_len = ItemIdGetLength(PageGetItemId(page, offset));
		tuple->t_tableOid = RelationGetRelid(child->rel);
		tuple->t_self = tid;
		visible = HeapTupleSatisfiesVisibility(tuple, snapshot, buffer);
		if (visible)
			PredicateLockTID(child->rel, &tid, snapshot, HeapTupleHeaderGetXmin(tuple->t_data));
		HeapCheckForSerializableConflictOut(visible, child->rel, tuple, buffer, snapshot);
	}
	LockBuffer(buffer, BUFFER_LOCK_UNLOCK);
	if (!visible)
	{
		ReleaseBuffer(buffer);
		return false;
	}
	ExecStorePinnedBufferHeapTuple(tuple, slot, buffer);
	if (child_int64(child, key_column(child)) == key)
		return true;
	ExecClearTuple(slot);
	return false;
}

static bool
find_in_place(Child *child, int64 key, Snapshot snapshot)
{
	const Place *place = place_of(key);
	Buffer		buffer = place->buffer;
	ItemPointerData tid = place->tid;

	if (place->key != key || place->relid != RelationGetRelid(child->rel) ||
		!read_recent_buffer(child->rel, ItemPointerGetBlockNumber(&tid), buffer))
		return false;
	return fetch_version(child, key, buffer, tid, snapshot);
}

static bool
find_in_index(Child *child, int index, int nkeys, const int64 *keys, Snapshot snapshot)
{
	Relation	rel = open_index(child, child->indexes[index], AccessShareLock);
	IndexScanDesc scan = index_beginscan(child->rel, rel, snapshot, NULL, nkeys, 0);
	ScanKeyData scankeys[CHILD_INDEX_KEYS];
	bool		found;

	for (int i = 0; i < nkeys; i++)
		ScanKeyInit(&scankeys[i], i + 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(keys[i]));
	index_rescan(scan, scankeys, nkeys, NULL, 0);
	found = next_row(scan, child->slot);
	index_endscan(scan);
	index_close(rel, NoLock);
	return found;
}

/*
 * Is the row with the key there?  Nobody shortens a table that is open: what a block
 * is now, it is until then.
 */
static bool
find_at(Child *child, int64 key, Snapshot snapshot, ItemPointerData tid)
{
	BlockNumber block = ItemPointerGetBlockNumber(&tid);
	Buffer		buffer;

	if (block >= child->blocks)
	{
		child->blocks = RelationGetNumberOfBlocks(child->rel);
		if (block >= child->blocks)
			return false;
	}
	buffer = ReadBuffer(child->rel, block);
	return fetch_version(child, key, buffer, tid, snapshot);
}

bool
child_find_as(Child *child, int64 key, Snapshot snapshot, ItemPointerData hint)
{
	Assert(key_column(child) != 0);
	return (ItemPointerIsValid(&hint) && find_at(child, key, snapshot, hint)) ||
		find_in_place(child, key, snapshot) || find_in_index(child, 0, 1, &key, snapshot);
}

bool
child_find(Child *child, int index, int nkeys, const int64 *keys)
{
	Snapshot	snapshot = RegisterSnapshot(GetTransactionSnapshot());
	bool		found = (index == 0 && nkeys == 1 && key_column(child) != 0 && find_in_place(child, keys[0], snapshot)) ||
		find_in_index(child, index, nkeys, keys, snapshot);

	UnregisterSnapshot(snapshot);
	return found;
}

static void
scan_begin(ChildScan *scan, Child *child, int index, ScanKey keys, int nkeys, Snapshot snapshot)
{
	scan->child = child;
	scan->index = open_index(child, child->indexes[index], AccessShareLock);
	scan->snapshot = RegisterSnapshot(snapshot);
	scan->scan = index_beginscan(child->rel, scan->index, scan->snapshot, NULL, nkeys, 0);
	index_rescan(scan->scan, keys, nkeys, NULL, 0);
}

void
child_scan_begin(ChildScan *scan, Child *child, int index,
				 int64 equal, int64 after, int64 upto)
{
	ScanKeyData keys[3];

	ScanKeyInit(&keys[0], 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(equal));
	ScanKeyInit(&keys[1], 2, BTGreaterStrategyNumber, F_INT8GT, Int64GetDatum(after));
	ScanKeyInit(&keys[2], 2, BTLessEqualStrategyNumber, F_INT8LE, Int64GetDatum(upto));
	scan_begin(scan, child, index, keys, 3, GetTransactionSnapshot());
}

static void
scan_begin_equal(ChildScan *scan, Child *child, int index, int64 equal, Snapshot snapshot)
{
	ScanKeyData key;

	ScanKeyInit(&key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(equal));
	scan_begin(scan, child, index, &key, 1, snapshot);
}

void
child_scan_begin_equal(ChildScan *scan, Child *child, int index, int64 equal)
{
	scan_begin_equal(scan, child, index, equal, GetTransactionSnapshot());
}

void
child_scan_latest(ChildScan *scan, Child *child, int index, int64 equal)
{
	scan_begin_equal(scan, child, index, equal, GetLatestSnapshot());
}

void
child_lookup_begin(ChildScan *scan, Child *child, int index, int nkeys)
{
	scan->child = child;
	scan->index = open_index(child, child->indexes[index], AccessShareLock);
	scan->snapshot = RegisterSnapshot(GetLatestSnapshot());
	scan->scan = index_beginscan(child->rel, scan->index, scan->snapshot, NULL, nkeys, 0);
}

bool
child_lookup(ChildScan *scan, ScanKey keys)
{
	index_rescan(scan->scan, keys, scan->scan->numberOfKeys, NULL, 0);
	return child_scan_next(scan);
}

bool
child_scan_next(ChildScan *scan)
{
	return next_row(scan->scan, scan->child->slot);
}

void
child_scan_end(ChildScan *scan)
{
	ExecClearTuple(scan->child->slot);
	index_endscan(scan->scan);
	UnregisterSnapshot(scan->snapshot);
	index_close(scan->index, NoLock);
}

/* ---- writing ---- */

static inline void
tell(Child *child, HeapTuple tuple)
{
	if (child_watch && !child_watch->quiet())
		child_watch->touched(child->rel, tuple, true);
}

static inline void
tell_changed(Child *child, HeapTuple old, HeapTuple new)
{
	if (child_watch && !child_watch->quiet())
		child_watch->changed(child->rel, old, new);
}

/* of the row in the slot */
static inline void
tell_locked(Child *child)
{
	if (child_watch && !child_watch->quiet())
	{
		bool		free_tuple;
		HeapTuple	tuple = ExecFetchSlotHeapTuple(child->slot, false, &free_tuple);

		child_watch->touched(child->rel, tuple, false);
		if (free_tuple)
			heap_freetuple(tuple);
	}
}

RowLock
child_lock_at(Child *child, ItemPointerData tid, bool wait)
{
	TM_FailureData failure;
	TM_Result	result;
	uint8		flags = IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION;

	/* a heap asks no snapshot which version it is to lock */
	result = table_tuple_lock(child->rel, &tid, SnapshotAny, child->slot,
							  GetCurrentCommandId(false), LockTupleNoKeyExclusive,
							  wait ? LockWaitBlock : LockWaitSkip, flags, &failure);
	switch (result)
	{
		case TM_Ok:
			tell_locked(child);
			return ROW_LOCKED;
		case TM_WouldBlock:
			return ROW_BUSY;
		case TM_Deleted:
			if (!IsolationUsesXactSnapshot())
				return ROW_NONE;
			/* FALLTHROUGH */
		case TM_Updated:
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to concurrent update")));
			break;
		default:
			elog(ERROR, "unexpected result %d of a row lock", result);
	}
	return ROW_NONE;			/* keep the compiler quiet */
}

RowLock
child_lock(Child *child, int64 key, bool wait)
{
	if (!child_find(child, 0, 1, &key))
		return ROW_NONE;
	return child_lock_at(child, child->slot->tts_tid, wait);
}

/* is the row outside of a partial index because a column is null? */
static bool
left_out(IndexInfo *info, TupleTableSlot *slot)
{
	ListCell   *cell;

	foreach(cell, info->ii_Predicate)
	{
		NullTest   *test = lfirst(cell);

		if (IsA(test, NullTest) && test->nulltesttype == IS_NOT_NULL &&
			IsA(test->arg, Var) && slot_attisnull(slot, ((Var *) test->arg)->varattno))
			return true;
	}
	return false;
}

/* enters the row in the slot into one index; estate is made when an expression needs it */
static void
insert_index_entry(Child *child, TupleTableSlot *slot, Relation index, IndexInfo *info,
				   bool is_update, EState **estate)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	if (info->ii_Predicate != NIL && left_out(info, slot))
		return;
	if (unlikely(info->ii_Predicate != NIL || info->ii_Expressions != NIL))
	{
		if (*estate == NULL)
			*estate = CreateExecutorState();
		GetPerTupleExprContext(*estate)->ecxt_scantuple = slot;
		if (!ExecQual(ExecPrepareQual(info->ii_Predicate, *estate),
					  GetPerTupleExprContext(*estate)))
			return;
	}
	FormIndexDatum(info, slot, *estate, values, nulls);
	index_insert(index, values, nulls, &slot->tts_tid, child->rel,
				 info->ii_Unique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
				 is_update, info);
}

/*
 * The same of a new row of these values, into an index that needs no more than them.
 * perhaps: of an entry that is there already tell (false) instead of raising an error.
 */
static bool
insert_plain_entry(Child *child, const Datum *row, const bool *row_nulls, ItemPointer tid, Relation index, IndexInfo *info,
				   bool perhaps)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		nulls[INDEX_MAX_KEYS];

	for (int i = 0; i < info->ii_NumIndexAttrs; i++)
	{
		int			column = info->ii_IndexAttrNumbers[i] - 1;

		values[i] = row[column];
		nulls[i] = row_nulls[column];
	}
	return index_insert(index, values, nulls, tid, child->rel,
						!info->ii_Unique ? UNIQUE_CHECK_NO : perhaps ? UNIQUE_CHECK_PARTIAL : UNIQUE_CHECK_YES,
						false, info) || !perhaps;
}

/* is all that is to be known of the index the same for each row? */
static bool
is_plain(Relation index, const IndexInfo *info)
{
	return index->rd_rel->relam == BTREE_AM_OID && info->ii_ReadyForInserts &&
		info->ii_Predicate == NIL && info->ii_Expressions == NIL;
}

/*
 * The table's indexes, those that an operator added too; remembered like the
 * rest of what is known of the table, until a table or an index changes.
 */
static const struct ChildWrites *
find_writes(Child *child)
{
	struct ChildWrites *writes = child->known->writes;
	MemoryContext context;
	MemoryContext old;
	List	   *list;
	ListCell   *cell;

	if (likely(writes != NULL))
		return writes;
	list = RelationGetIndexList(child->rel);
	context = AllocSetContextCreate(CurrentMemoryContext, "taskex indexes", ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	writes = palloc0(offsetof(struct ChildWrites, indexes) + sizeof(writes->indexes[0]) * list_length(list));
	writes->context = context;
	foreach(cell, list)
	{
		Relation	index = open_index(child, lfirst_oid(cell), RowExclusiveLock);
		IndexInfo  *info = BuildIndexInfo(index);

		writes->indexes[writes->count].relid = lfirst_oid(cell);
		if (is_plain(index, info))
			writes->indexes[writes->count].info = info;
		writes->count++;
		index_close(index, NoLock);
	}
	MemoryContextSwitchTo(old);
	list_free(list);
	MemoryContextSetParent(context, TopMemoryContext);
	child->known->writes = writes;
	return writes;
}

/*
 * Enters the rows into an index that is not plain.  One that is
 * being built concurrently may not be ready for it yet.
 */
static void
insert_special_entries(Child *child, TupleTableSlot **slots, int count, Oid relid,
					   TU_UpdateIndexes which, bool is_update, EState **estate)
{
	Relation	index = open_index(child, relid, RowExclusiveLock);
	IndexInfo  *info = BuildIndexInfo(index);

	if (info->ii_ReadyForInserts && (which == TU_All || index_info_summarizing(info)))
		for (int i = 0; i < count; i++)
			insert_index_entry(child, slots[i], index, info, is_update, estate);
	index_insert_cleanup(index, info);
	index_close(index, NoLock);
	pfree(info);
}

/*
 * Enters rows into the table's indexes; each slot knows where its row is.  values,
 * nulls: the columns of new rows, one row after the other; NULL: they are in the slots only.
 * perhaps: a unique index that may have an entry of new rows already: then false.
 */
static bool
insert_index_entries(Child *child, TupleTableSlot **slots, int count, const Datum *values, const bool *nulls,
					 TU_UpdateIndexes which, Oid perhaps)
{
	int			natts = RelationGetNumberOfAttributes(child->rel);
	const struct ChildWrites *writes = find_writes(child);
	EState	   *estate = NULL;
	List	   *special = NIL;
	ListCell   *cell;
	bool		inserted = true;

	for (int i = 0; i < writes->count; i++)
	{
		IndexInfo  *info = writes->indexes[i].info;
		Relation	index;

		if (unlikely(info == NULL))
			special = lappend_oid(special, writes->indexes[i].relid);
		else if (which == TU_All)
		{
			index = open_index(child, writes->indexes[i].relid, RowExclusiveLock);
			for (int n = 0; n < count; n++)
			{
				if (values)
					inserted &= insert_plain_entry(child, values + n * natts, nulls + n * natts, &slots[n]->tts_tid, index, info,
												   writes->indexes[i].relid == perhaps);
				else
					insert_index_entry(child, slots[n], index, info, true, &estate);
			}
			index_insert_cleanup(index, info);
			index_close(index, NoLock);
		}
	}

	/* last: an expression may run anything, and then "writes" may be no more */
	foreach(cell, special)
		insert_special_entries(child, slots, count, lfirst_oid(cell), which, values == NULL, &estate);
	list_free(special);
	if (estate)
		FreeExecutorState(estate);
	return inserted;
}

/* ---- rows made ---- */

/* so many bytes of data at most, and may they be copied as they are? */
static bool
find_size(TupleDesc desc, const Datum *values, const bool *nulls, Size *size, bool *has_nulls)
{
	*size = 0;
	*has_nulls = false;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (nulls[i])
			*has_nulls = true;
		else if (att->attlen > 0)
			*size += att->attlen + MAXIMUM_ALIGNOF;
		else if (att->attlen == -1 && !VARATT_IS_EXTERNAL_EXPANDED(DatumGetPointer(values[i])))
			*size += VARSIZE_ANY(DatumGetPointer(values[i])) + MAXIMUM_ALIGNOF;
		else
			return false;
	}
	return true;
}

/* a value of variable size at data, or after it, where it is aligned; where it ends */
static char *
put_variable(Form_pg_attribute att, char *data, Datum *value, uint16 *infomask)
{
	char	   *source = DatumGetPointer(*value);
	Size		size;

	*infomask |= HEAP_HASVARWIDTH;
	if (VARATT_IS_1B(source) || VARATT_IS_EXTERNAL(source))
	{
		if (VARATT_IS_EXTERNAL(source))
			*infomask |= HEAP_HASEXTERNAL;
		size = VARSIZE_ANY(source);
		memcpy(data, source, size);
	}
	else if (att->attstorage != TYPSTORAGE_PLAIN && VARATT_CAN_MAKE_SHORT(source))
	{
		size = VARATT_CONVERTED_SHORT_SIZE(source);
		SET_VARSIZE_SHORT(data, size);
		memcpy(data + 1, VARDATA(source), size - 1);
	}
	else
	{
		data = (char *) att_align_nominal(data, att->attalign);
		size = VARSIZE(source);
		memcpy(data, source, size);
	}
	*value = PointerGetDatum(data);
	return data + size;
}

/*
 * heap_form_tuple(), in one go over the columns.  The values are those in the row
 * from then on; false: they are what they were.
 */
static bool
form_row_in_place(TupleDesc desc, Datum *values, const bool *nulls, HeapTuple *result)
{
	bool		has_nulls;
	Size		size;
	Size		header;
	HeapTuple	tuple;
	uint16		infomask = 0;
	char	   *data;

	if (!find_size(desc, values, nulls, &size, &has_nulls))
	{
		*result = heap_form_tuple(desc, values, unconstify(bool *, nulls));
		return false;
	}
	header = MAXALIGN(SizeofHeapTupleHeader + (has_nulls ? BITMAPLEN(desc->natts) : 0));
	tuple = palloc0(HEAPTUPLESIZE + header + size);
	tuple->t_tableOid = InvalidOid;
	ItemPointerSetInvalid(&tuple->t_self);
	tuple->t_data = (HeapTupleHeader) ((char *) tuple + HEAPTUPLESIZE);
	data = (char *) tuple->t_data + header;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute att = TupleDescAttr(desc, i);

		if (nulls[i])
			continue;
		if (has_nulls)
			tuple->t_data->t_bits[i >> 3] |= 1 << (i & 7);
		if (att->attbyval)
		{
			data = (char *) att_align_nominal(data, att->attalign);
			store_att_byval(data, values[i], att->attlen);
			data += att->attlen;
		}
		else if (att->attlen == -1)
			data = put_variable(att, data, &values[i], &infomask);
		else
		{
			data = (char *) att_align_nominal(data, att->attalign);
			memcpy(data, DatumGetPointer(values[i]), att->attlen);
			values[i] = PointerGetDatum(data);
			data += att->attlen;
		}
	}
	tuple->t_len = data - (char *) tuple->t_data;
	HeapTupleHeaderSetDatumLength(tuple->t_data, tuple->t_len);
	HeapTupleHeaderSetTypeId(tuple->t_data, desc->tdtypeid);
	HeapTupleHeaderSetTypMod(tuple->t_data, desc->tdtypmod);
	ItemPointerSetInvalid(&tuple->t_data->t_ctid);
	HeapTupleHeaderSetNatts(tuple->t_data, desc->natts);
	tuple->t_data->t_infomask |= infomask | (has_nulls ? HEAP_HASNULL : 0);
	tuple->t_data->t_hoff = header;
	*result = tuple;
	return true;
}

static HeapTuple
form_row(TupleDesc desc, const Datum *values, const bool *nulls)
{
	Datum		placed[MaxTupleAttributeNumber];
	HeapTuple	tuple;

	memcpy(placed, values, sizeof(Datum) * desc->natts);
	(void) form_row_in_place(desc, placed, nulls, &tuple);
	return tuple;
}

/* ---- rows changed ---- */

/*
 * The row is in the slot, which keeps it; the values are known, if they are those
 * in the row.
 */
static void
keep_row(TupleTableSlot *slot, HeapTuple tuple, const Datum *values, const bool *nulls, bool known)
{
	int			natts = slot->tts_tupleDescriptor->natts;

	Assert(TTS_IS_BUFFERTUPLE(slot));
	ExecClearTuple(slot);
	slot->tts_flags = (slot->tts_flags & ~TTS_FLAG_EMPTY) | TTS_FLAG_SHOULDFREE;
	((BufferHeapTupleTableSlot *) slot)->base.tuple = tuple;
	slot->tts_tid = tuple->t_self;
	slot->tts_tableOid = tuple->t_tableOid;
	if (known)
	{
		memcpy(slot->tts_values, values, sizeof(Datum) * natts);
		memcpy(slot->tts_isnull, nulls, sizeof(bool) * natts);
		slot->tts_nvalid = natts;
	}
}

typedef enum UpdateKind
{
	UPDATE_LOCKED,
	UPDATE_SEEN,				/* the row was not locked, and may have changed */
	UPDATE_AT_ONCE				/* the same, and somebody who has it locked is not waited for */
} UpdateKind;

/* the row in the slot with other values; false: it was not locked, and has changed */
static bool
update(Child *child, UpdateKind kind, int ncolumns, const int *columns,
	   const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot = child->slot;
	TupleDesc	desc = RelationGetDescr(child->rel);
	Buffer		buffer = TTS_IS_BUFFERTUPLE(slot) ? ((BufferHeapTupleTableSlot *) slot)->buffer : InvalidBuffer;
	bool		free_old;
	HeapTuple	old = ExecFetchSlotHeapTuple(slot, false, &free_old);
	BlockNumber block = ItemPointerGetBlockNumber(&old->t_self);
	Datum		row[MaxTupleAttributeNumber];
	bool		row_nulls[MaxTupleAttributeNumber];
	HeapTuple	tuple;
	bool		known;
	TU_UpdateIndexes which;
	MemoryContext context;

	Assert(!free_old);
	slot_getallattrs(slot);
	memcpy(row, slot->tts_values, sizeof(Datum) * desc->natts);
	memcpy(row_nulls, slot->tts_isnull, sizeof(bool) * desc->natts);
	for (int i = 0; i < ncolumns; i++)
	{
		row[columns[i] - 1] = values[i];
		row_nulls[columns[i] - 1] = nulls[i];
	}
	context = MemoryContextSwitchTo(slot->tts_mcxt);
	known = form_row_in_place(desc, row, row_nulls, &tuple);
	MemoryContextSwitchTo(context);

	/* the old row stays where it is on its page, which the slot has pinned */
	if (kind == UPDATE_LOCKED)
		which = update_heap_tuple(child->rel, &old->t_self, tuple);
	else if (!try_update_heap_tuple(child->rel, &old->t_self, tuple, kind == UPDATE_SEEN, &which))
	{
		heap_freetuple(tuple);
		return false;
	}
	tell_changed(child, old, tuple);
	keep_row(slot, tuple, row, row_nulls, known);
	if (which != TU_None)
		(void) insert_index_entries(child, &child->slot, 1, NULL, NULL, which, InvalidOid);
	CommandCounterIncrement();
	note_place(child, buffer, block, &tuple->t_self);
	return true;
}

void
child_update(Child *child, int ncolumns, const int *columns,
			 const Datum *values, const bool *nulls)
{
	(void) update(child, UPDATE_LOCKED, ncolumns, columns, values, nulls);
}

bool
child_try_update(Child *child, int ncolumns, const int *columns,
				 const Datum *values, const bool *nulls)
{
	return update(child, UPDATE_SEEN, ncolumns, columns, values, nulls);
}

bool
child_update_at_once(Child *child, int ncolumns, const int *columns,
					 const Datum *values, const bool *nulls)
{
	return update(child, UPDATE_AT_ONCE, ncolumns, columns, values, nulls);
}

static bool
insert(Child *child, const Datum *values, const bool *nulls, Oid perhaps)
{
	HeapTuple	tuple = form_row(RelationGetDescr(child->rel), values, nulls);
	bool		inserted;

	heap_insert(child->rel, tuple, GetCurrentCommandId(true), 0, NULL);
	ExecForceStoreHeapTuple(tuple, child->slot, false);
	child->slot->tts_tid = tuple->t_self;
	inserted = insert_index_entries(child, &child->slot, 1, values, nulls, TU_All, perhaps);
	CommandCounterIncrement();
	if (inserted)
	{
		child->inserted = tuple->t_self;
		if (child->known->key.table->found_again)
			note_inserted(child, &tuple->t_self);
		tell(child, tuple);
	}
	else
		simple_heap_delete(child->rel, &tuple->t_self);
	ExecClearTuple(child->slot);
	heap_freetuple(tuple);
	return inserted;
}

void
child_insert(Child *child, const Datum *values, const bool *nulls)
{
	(void) insert(child, values, nulls, InvalidOid);
}

bool
child_try_insert(Child *child, int index, const Datum *values, const bool *nulls)
{
	return insert(child, values, nulls, child->indexes[index]);
}

/* rows that share a visit to a page, and one to each index */
#define INSERT_ROWS 100

void
child_insert_many(Child *child, int count,
				  void (*fill) (int row, Datum *values, bool *nulls, void *arg), void *arg)
{
	TupleDesc	desc = RelationGetDescr(child->rel);
	int			natts = desc->natts;
	int			room = Min(count, INSERT_ROWS);
	Datum	   *values = palloc0(sizeof(Datum) * natts * room);
	bool	   *nulls = palloc(sizeof(bool) * natts * room);
	int			last = 0;
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * room);
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "taskex rows", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old;

	memset(nulls, true, sizeof(bool) * natts);
	for (int i = 0; i < room; i++)
		slots[i] = MakeSingleTupleTableSlot(desc, &TTSOpsHeapTuple);
	for (int first = 0; first < count; first += INSERT_ROWS)
	{
		int			n = Min(count - first, INSERT_ROWS);

		CHECK_FOR_INTERRUPTS();
		old = MemoryContextSwitchTo(context);
		for (int i = 0; i < n; i++)
		{
			Datum	   *row = values + i * natts;
			bool	   *row_nulls = nulls + i * natts;

			if (i != last)
			{
				memcpy(row, values + last * natts, sizeof(Datum) * natts);
				memcpy(row_nulls, nulls + last * natts, sizeof(bool) * natts);
			}
			last = i;
			fill(first + i, row, row_nulls, arg);
			ExecStoreHeapTuple(form_row(desc, row, row_nulls), slots[i], false);
		}
		table_multi_insert(child->rel, slots, n, GetCurrentCommandId(true), 0, NULL);
		(void) insert_index_entries(child, slots, n, values, nulls, TU_All, InvalidOid);
		for (int i = 0; i < n; i++)
		{
			tell(child, ExecFetchSlotHeapTuple(slots[i], false, NULL));
			ExecClearTuple(slots[i]);
		}
		MemoryContextSwitchTo(old);
		MemoryContextReset(context);
	}
	CommandCounterIncrement();
	for (int i = 0; i < room; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	MemoryContextDelete(context);
	pfree(slots);
	pfree(nulls);
	pfree(values);
}

/* ---- columns ---- */

int64
child_int64(Child *child, int column)
{
	bool		isnull;

	return DatumGetInt64(slot_getattr(child->slot, column, &isnull));
}

int32
child_int32(Child *child, int column)
{
	bool		isnull;

	return DatumGetInt32(slot_getattr(child->slot, column, &isnull));
}

bool
child_text_is(Child *child, int column, const char *value)
{
	bool		isnull;
	text	   *string = DatumGetTextPP(slot_getattr(child->slot, column, &isnull));

	return VARSIZE_ANY_EXHDR(string) == strlen(value) &&
		memcmp(VARDATA_ANY(string), value, strlen(value)) == 0;
}
