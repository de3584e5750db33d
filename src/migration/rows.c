/*
 * rows.c
 *	  The rows of one user in one table on two storage partitions.
 */
#include "postgres.h"

#include "migration/rows.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "infra/spi.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/hio.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "access/detoast.h"
#include "executor/executor.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* rows of which the TIDs are fetched at once */
#define LIST_ROWS 10000

/* ---- a child ---- */

static AttrNumber
column_of(Relation rel, const char *name)
{
	AttrNumber	column = get_attnum(RelationGetRelid(rel), name);

	if (column == InvalidAttrNumber)
		elog(ERROR, "table %s has no column %s", RelationGetRelationName(rel), name);
	return column;
}

static void
init_keys(MoveChild *child)
{
	for (int i = 0; i < child->key->rd_index->indnkeyatts; i++)
	{
		Oid			type = child->key->rd_opcintype[i];
		Oid			operator = get_opfamily_member(child->key->rd_opfamily[i], type, type, BTEqualStrategyNumber);

		ScanKeyEntryInitialize(&child->keys[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid,
							   child->key->rd_indcollation[i], get_opcode(operator), (Datum) 0);
	}
}

void
child_of_move(MoveChild *child, const MoveTable *table, int32 partition, LOCKMODE mode)
{
	char		name[NAMEDATALEN];
	Oid			relid;
	Oid			key;

	snprintf(name, sizeof(name), "%s_%d", table->name, partition);
	relid = get_relname_relid(name, get_namespace_oid("_taskex", false));
	child->rel = OidIsValid(relid) ? try_table_open(relid, mode) : NULL;
	if (child->rel == NULL)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_PARTITION),
				 errmsg("storage partition %d does not exist", partition)));
	child->table = table;
	child->partition = partition;
	(void) RelationGetIndexList(child->rel);
	key = child->rel->rd_pkindex;
	if (!OidIsValid(key))
		elog(ERROR, "table %s has no primary key", name);
	child->key = index_open(key, AccessShareLock);
	if (child->key->rd_index->indnkeyatts > MOVE_KEYS)
		elog(ERROR, "the primary key of table %s has too many columns", name);
	child->owner = column_of(child->rel, table->owner);
	child->place = column_of(child->rel, "partition_id");
	child->slot = table_slot_create(child->rel, NULL);
	init_keys(child);
	child->scan = NULL;
	child->like = NULL;
}

void
child_of_move_end(MoveChild *child)
{
	if (child->scan)
		index_endscan(child->scan);
	ExecDropSingleTupleTableSlot(child->slot);
	index_close(child->key, NoLock);
	table_close(child->rel, NoLock);
}

/* ---- reading ---- */

bool
move_fetch(MoveChild *child, ItemPointer tid, Snapshot snapshot)
{
	return table_tuple_fetch_row_version(child->rel, tid, snapshot, child->slot);
}

/* asks the condition of the table, for rows that do not name their owner */
static bool
owned_by_condition(MoveChild *child, int64 user)
{
	Oid			types[2] = {INT8OID, TIDOID};
	Datum		values[2] = {Int64GetDatum(user), PointerGetDatum(&child->slot->tts_tid)};
	char	   *sql = psprintf("SELECT 1 FROM _taskex.%s x WHERE x.ctid = $2 AND (%s)",
							   quote_identifier(RelationGetRelationName(child->rel)), child->table->owned);
	SpiScope	scope;
	bool		found;

	spi_begin(&scope);
	if (SPI_execute_with_args(sql, 2, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "the owner of a row could not be looked up");
	found = SPI_processed == 1;
	spi_end(&scope);
	return found;
}

bool
move_owned(MoveChild *child, int64 user)
{
	bool		isnull;
	Datum		owner = slot_getattr(child->slot, child->owner, &isnull);

	if (!isnull && DatumGetInt64(owner) == user)
		return true;
	return child->table->owned != NULL && owned_by_condition(child, user);
}

/* finds the row whose primary key is in child->keys; many are sought by one snapshot */
static bool
find(MoveChild *child, Snapshot snapshot)
{
	int			n = child->key->rd_index->indnkeyatts;
	bool		found;

	if (child->scan && child->scan->xs_snapshot != snapshot)
	{
		index_endscan(child->scan);
		child->scan = NULL;
	}
	if (child->scan == NULL)
		child->scan = index_beginscan(child->rel, child->key, snapshot, NULL, n, 0);
	index_rescan(child->scan, child->keys, n, NULL, 0);
	found = index_getnext_slot(child->scan, ForwardScanDirection, child->slot);
	if (!IsMVCCSnapshot(snapshot))
	{
		/* it would go on holding a page of the index */
		index_endscan(child->scan);
		child->scan = NULL;
	}
	return found;
}

bool
move_find_text(MoveChild *child, ArrayType *key, Snapshot snapshot)
{
	int			n = child->key->rd_index->indnkeyatts;
	Datum	   *values;
	bool	   *nulls;
	int			count;

	deconstruct_array(key, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	if (count != n)
		elog(ERROR, "a logged key of table %s has %d columns, not %d", child->table->name, count, n);
	for (int i = 0; i < n; i++)
	{
		Form_pg_attribute column = TupleDescAttr(RelationGetDescr(child->rel),
												 child->key->rd_index->indkey.values[i] - 1);
		Oid			input;
		Oid			param;

		if (nulls[i])
			elog(ERROR, "a logged key of table %s is null", child->table->name);
		getTypeInputInfo(column->atttypid, &input, &param);
		child->keys[i].sk_argument = OidInputFunctionCall(input, TextDatumGetCString(values[i]), param, column->atttypmod);
	}
	return find(child, snapshot);
}

bool
move_find_same(MoveChild *child, const MoveChild *other, Snapshot snapshot)
{
	for (int i = 0; i < child->key->rd_index->indnkeyatts; i++)
	{
		bool		isnull;

		child->keys[i].sk_argument = slot_getattr(other->slot, other->key->rd_index->indkey.values[i], &isnull);
	}
	return find(child, snapshot);
}

/* the columns of another child that are ours, or NULL where all are the same */
static AttrNumber *
map_columns(Relation rel, Relation other)
{
	TupleDesc	ours = RelationGetDescr(rel);
	TupleDesc	theirs = RelationGetDescr(other);
	AttrNumber *map;
	bool		same = ours->natts == theirs->natts;

	for (int i = 0; same && i < ours->natts; i++)
		same = TupleDescAttr(ours, i)->attisdropped == TupleDescAttr(theirs, i)->attisdropped &&
			strcmp(NameStr(TupleDescAttr(ours, i)->attname), NameStr(TupleDescAttr(theirs, i)->attname)) == 0;
	if (same)
		return NULL;
	map = palloc0(sizeof(AttrNumber) * ours->natts);
	for (int i = 0; i < ours->natts; i++)
		if (!TupleDescAttr(ours, i)->attisdropped)
			map[i] = column_of(other, NameStr(TupleDescAttr(ours, i)->attname));
	return map;
}

bool
move_equal(MoveChild *child, const MoveChild *other)
{
	TupleDesc	desc = RelationGetDescr(child->rel);

	if (child->like != other)
	{
		child->from = map_columns(child->rel, other->rel);
		child->like = other;
	}

	slot_getallattrs(child->slot);
	slot_getallattrs(other->slot);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute column = TupleDescAttr(desc, i);
		int			theirs = child->from ? child->from[i] - 1 : i;

		if (column->attisdropped || i + 1 == child->place)
			continue;
		if (child->slot->tts_isnull[i] != other->slot->tts_isnull[theirs])
			return false;
		if (!child->slot->tts_isnull[i] &&
			!datum_image_eq(child->slot->tts_values[i], other->slot->tts_values[theirs],
							column->attbyval, column->attlen))
			return false;
	}
	return true;
}

Size
move_size(const MoveChild *child)
{
	bool		free_tuple;
	HeapTuple	tuple = ExecFetchSlotHeapTuple(child->slot, false, &free_tuple);
	Size		size = tuple->t_len;
	TupleDesc	desc = RelationGetDescr(child->rel);

	/* what is stored out of line counts as well */
	if (HeapTupleHasExternal(tuple))
	{
		slot_getallattrs(child->slot);
		for (int i = 0; i < desc->natts; i++)
			if (TupleDescAttr(desc, i)->attlen == -1 && !child->slot->tts_isnull[i] &&
				VARATT_IS_EXTERNAL(DatumGetPointer(child->slot->tts_values[i])))
				size += toast_datum_size(child->slot->tts_values[i]);
	}
	if (free_tuple)
		heap_freetuple(tuple);
	return size;
}

bool
move_delete(MoveChild *child, ItemPointer tid)
{
	TM_FailureData failure;
	TM_Result	result = table_tuple_delete(child->rel, tid, GetCurrentCommandId(true), GetActiveSnapshot(),
											InvalidSnapshot, false, &failure, false);

	switch (result)
	{
		case TM_Ok:
		case TM_Deleted:
		case TM_SelfModified:
			return true;
		case TM_BeingModified:
		case TM_Updated:
		case TM_WouldBlock:
			return false;
		default:
			elog(ERROR, "unexpected result %d of a deletion", result);
	}
	return false;				/* keep the compiler quiet */
}

/* ---- writing ---- */

/*
 * A few buffers that all batches of this process fill in turn.  So what is copied is
 * written by the mover itself, soon and steadily, and the pages of others stay in memory.
 */
static BulkInsertState
kept_ring(void)
{
	static BulkInsertState ring = NULL;

	if (ring == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		ring = GetBulkInsertState();
		MemoryContextSwitchTo(old);
	}
	ring->current_buf = InvalidBuffer;	/* a batch that failed has given back its pin */
	return ring;
}

void
target_begin(MoveTarget *target, const MoveTable *table, int32 partition,
			 const MoveChild *source, bool conflicts)
{
	child_of_move(&target->child, table, partition, RowExclusiveLock);
	target->estate = CreateExecutorState();
	target->info = makeNode(ResultRelInfo);
	InitResultRelInfo(target->info, target->child.rel, 1, NULL, 0);
	ExecOpenIndices(target->info, conflicts);
	target->from = map_columns(target->child.rel, source->rel);
	target->slots = palloc0(sizeof(TupleTableSlot *) * MOVE_SLOTS);
	target->nslots = 0;
	target->bulk = kept_ring();
}

void
target_end(MoveTarget *target)
{
	ReleaseBulkInsertStatePin(target->bulk);
	for (int i = 0; i < MOVE_SLOTS && target->slots[i]; i++)
		ExecDropSingleTupleTableSlot(target->slots[i]);
	pfree(target->slots);
	ExecCloseIndices(target->info);
	FreeExecutorState(target->estate);
	child_of_move_end(&target->child);
}

/* the source's row as one of the target */
static void
fill_slot(MoveTarget *target, TupleTableSlot *slot, const MoveChild *source)
{
	TupleDesc	desc = RelationGetDescr(target->child.rel);

	ExecClearTuple(slot);
	slot_getallattrs(source->slot);
	for (int i = 0; i < desc->natts; i++)
	{
		int			theirs = target->from ? target->from[i] - 1 : i;

		if (TupleDescAttr(desc, i)->attisdropped)
		{
			slot->tts_isnull[i] = true;
			slot->tts_values[i] = (Datum) 0;
			continue;
		}
		slot->tts_isnull[i] = source->slot->tts_isnull[theirs];
		slot->tts_values[i] = source->slot->tts_values[theirs];
	}
	slot->tts_values[target->child.place - 1] = Int32GetDatum(target->child.partition);
	ExecStoreVirtualTuple(slot);
	ExecMaterializeSlot(slot);
}

static TupleTableSlot *
next_slot(MoveTarget *target)
{
	TupleTableSlot **slot = &target->slots[target->nslots];

	if (*slot == NULL)
		*slot = table_slot_create(target->child.rel, NULL);
	return *slot;
}

void
target_add(MoveTarget *target, const MoveChild *source)
{
	if (target->nslots == MOVE_SLOTS)
		target_flush(target);
	fill_slot(target, next_slot(target), source);
	target->nslots++;
}

static void
insert_entries(MoveTarget *target, TupleTableSlot *slot)
{
	List	   *recheck = insert_index_tuples(target->info, slot, target->estate);

	list_free(recheck);
	ResetPerTupleExprContext(target->estate);
}

void
target_flush(MoveTarget *target)
{
	if (target->nslots == 0)
		return;
	table_multi_insert(target->child.rel, target->slots, target->nslots, GetCurrentCommandId(true), 0, target->bulk);
	for (int i = 0; i < target->nslots; i++)
	{
		insert_entries(target, target->slots[i]);
		ExecClearTuple(target->slots[i]);
	}
	target->nslots = 0;
}

bool
target_put(MoveTarget *target, const MoveChild *source, bool replace)
{
	TupleTableSlot *slot = next_slot(target);
	ItemPointerData other;

	fill_slot(target, slot, source);
	while (!check_index_constraints(target->info, slot, target->estate, &other))
	{
		if (!replace)
		{
			ExecClearTuple(slot);
			return false;
		}
		if (!move_delete(&target->child, &other))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("a row of table \"%s\" is locked", RelationGetRelationName(target->child.rel))));
		CommandCounterIncrement();
	}
	table_tuple_insert(target->child.rel, slot, GetCurrentCommandId(true), 0, target->bulk);
	insert_entries(target, slot);
	ExecClearTuple(slot);
	return true;
}

/* ---- listing ---- */

static int
compare_tids(const void *a, const void *b)
{
	return ItemPointerCompare((ItemPointer) a, (ItemPointer) b);
}

void
move_list(MoveTable *table, int32 partition, int64 user, MemoryContext context)
{
	Oid			types[1] = {INT8OID};
	Datum		values[1] = {Int64GetDatum(user)};
	StringInfoData sql;
	int64		room = 0;
	SpiScope	scope;
	Portal		portal;

	initStringInfo(&sql);
	appendStringInfo(&sql, "SELECT x.ctid FROM _taskex.%s x WHERE ",
					 quote_identifier(psprintf("%s_%d", table->name, partition)));
	if (table->owned)
		appendStringInfoString(&sql, table->owned);
	else
		appendStringInfo(&sql, "x.%s = $1", quote_identifier(table->owner));
	table->tids = NULL;
	table->count = table->next = 0;

	spi_begin(&scope);
	portal = SPI_cursor_open_with_args(NULL, sql.data, 1, types, values, NULL, true, CURSOR_OPT_NO_SCROLL);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		SPI_cursor_fetch(portal, true, LIST_ROWS);
		if (SPI_processed == 0)
			break;
		if (table->count + (int64) SPI_processed > room)
		{
			room = Max(table->count + (int64) SPI_processed, room * 2);
			table->tids = table->tids ? repalloc_huge(table->tids, room * sizeof(ItemPointerData)) :
				MemoryContextAllocHuge(context, room * sizeof(ItemPointerData));
		}
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;

			table->tids[table->count++] = *(ItemPointer) DatumGetPointer(spi_value(i, 1, &isnull));
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	spi_end(&scope);
	if (table->count > 0)
		qsort(table->tids, table->count, sizeof(ItemPointerData), compare_tids);
}
