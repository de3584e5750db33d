/*
 * moved.c
 *	  What is written for a user who is being moved is told to the mover.
 *
 * Every write to a child table comes by here: those of SQL by the row triggers
 * moved_row, those of infra/child.h by its hook.  The trigger of a table says
 * which column names the owner of a row.  What is logged is the key of the row,
 * by the writing transaction itself; the mover looks what has become of the row.
 */
#include "postgres.h"

#include "directory/moves.h"
#include "directory/internal.h"
#include "infra/child.h"
#include "infra/realm.h"
#include "infra/spi.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/datum.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#define KEY_COLUMNS_MAX 8
#define LOG_COLUMNS 3

static Statement select_owner = {
	"SELECT _taskex.account_owner($1, $2)",
	2, {INT4OID, INT8OID}
};

static Statement select_forward = {
	"SELECT owner_id FROM _taskex.forward WHERE id = $1 AND kind = $2",
	2, {INT8OID, TEXTOID}
};

static Statement select_position = {
	"SELECT position FROM _taskex.child_table WHERE table_name = $1::text::name",
	1, {TEXTOID}
};

/* the trigger's arguments: the owner's column, and which table this is */
static bool
find_arguments(Relation rel, char **owner, int32 *position)
{
	TriggerDesc *triggers = rel->trigdesc;

	for (int i = 0; triggers && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if (strcmp(trigger->tgname, "moved_row") == 0 && trigger->tgnargs == 2)
		{
			*owner = trigger->tgargs[0];
			*position = pg_strtoint32(trigger->tgargs[1]);
			return true;
		}
	}
	return false;
}

static Datum
column(HeapTuple tuple, TupleDesc desc, const char *name)
{
	int			number = SPI_fnumber(desc, name);
	bool		isnull;
	Datum		value;

	if (number <= 0)
		elog(ERROR, "a child table lacks the column \"%s\"", name);
	value = heap_getattr(tuple, number, desc, &isnull);
	if (isnull)
		elog(ERROR, "column \"%s\" of a child table is null", name);
	return value;
}

/* accounts below -1 belong to budgets, and those to requesters; 0 and -1 to nobody */
static int64
user_of(int64 owner, int32 partition)
{
	SpiScope	scope;
	Datum		values[2] = {Int32GetDatum(partition), Int64GetDatum(owner)};
	int64		user;

	if (owner >= -1)
		return Max(owner, 0);
	spi_begin(&scope);
	spi_run(&select_owner, 0, values, NULL, SPI_VIEW_CURRENT, 1);
	user = spi_int64(0, 1);
	spi_end(&scope);
	return user;
}

static void
log_key(int64 migration, int32 position, ArrayType *key)
{
	Relation	log = table_open(get_relname_relid("migration_log", get_namespace_oid("_taskex", false)),
								 RowExclusiveLock);
	Datum		values[LOG_COLUMNS] = {Int64GetDatum(migration), Int32GetDatum(position), PointerGetDatum(key)};
	bool		nulls[LOG_COLUMNS] = {false, false, false};
	HeapTuple	row;

	if (RelationGetNumberOfAttributes(log) != LOG_COLUMNS)
		elog(ERROR, "table migration_log has %d columns, not %d", RelationGetNumberOfAttributes(log), LOG_COLUMNS);
	row = heap_form_tuple(RelationGetDescr(log), values, nulls);
	heap_insert(log, row, GetCurrentCommandId(true), 0, NULL);
	heap_freetuple(row);
	table_close(log, NoLock);
}

Datum
moves_key_text(Datum value, Oid type)
{
	const int	utc = 0;		/* not the session's */
	char		buffer[MAXDATELEN + 1];
	Oid			output;
	bool		varlena;

	if (type == DATEOID || type == TIMESTAMPTZOID)
		return CStringGetTextDatum(JsonEncodeDateTime(buffer, value, type, &utc));
	getTypeOutputInfo(type, &output, &varlena);
	return CStringGetTextDatum(OidOutputFunctionCall(output, value));
}

/* the values of the primary key */
static ArrayType *
key_of(Relation rel, HeapTuple tuple)
{
	Oid			oid = primary_key_index(rel);
	Relation	index;
	Datum		values[KEY_COLUMNS_MAX];
	int			count;

	if (!OidIsValid(oid))
		elog(ERROR, "table %s has no primary key", RelationGetRelationName(rel));
	index = index_open(oid, AccessShareLock);
	count = index->rd_index->indnkeyatts;
	if (count > KEY_COLUMNS_MAX)
		elog(ERROR, "the primary key of %s has %d columns", RelationGetRelationName(rel), count);
	for (int i = 0; i < count; i++)
	{
		AttrNumber	number = index->rd_index->indkey.values[i];
		Oid			type = TupleDescAttr(RelationGetDescr(rel), number - 1)->atttypid;
		bool		isnull;
		Datum		value = heap_getattr(tuple, number, RelationGetDescr(rel), &isnull);

		values[i] = moves_key_text(value, type);
	}
	index_close(index, NoLock);
	return construct_array(values, count, TEXTOID, -1, false, TYPALIGN_INT);
}

/* the row was written, or only locked */
static void
touched(Relation rel, HeapTuple tuple, bool written, bool deleted)
{
	TupleDesc	desc = RelationGetDescr(rel);
	char	   *owner;
	int32		position;
	int32		partition;
	int64		user;
	int64		migration;

	if (!find_arguments(rel, &owner, &position))
		return;					/* not a table with users' rows */
	partition = DatumGetInt32(column(tuple, desc, "partition_id"));
	user = user_of(DatumGetInt64(column(tuple, desc, owner)), partition);
	if (user == 0)
		return;
	migration = moves_written(user, partition, deleted);
	if (migration != 0 && written)
		log_key(migration, position, key_of(rel, tuple));
}

static void
child_row_touched(Relation rel, HeapTuple tuple, bool written)
{
	touched(rel, tuple, written, false);
}

/* did an update make another row of it? */
static bool
same_row(Relation rel, HeapTuple old, HeapTuple new)
{
	Bitmapset  *key = RelationGetIndexAttrBitmap(rel, INDEX_ATTR_BITMAP_PRIMARY_KEY);
	char	   *owner;
	int32		position;
	int			number = -1;

	if (!find_arguments(rel, &owner, &position))
		return true;
	key = bms_add_member(key, SPI_fnumber(RelationGetDescr(rel), owner) - FirstLowInvalidHeapAttributeNumber);
	while ((number = bms_next_member(key, number)) >= 0)
	{
		AttrNumber	attribute = number + FirstLowInvalidHeapAttributeNumber;
		Form_pg_attribute form = TupleDescAttr(RelationGetDescr(rel), attribute - 1);
		bool		null_old;
		bool		null_new;
		Datum		value_old = heap_getattr(old, attribute, RelationGetDescr(rel), &null_old);
		Datum		value_new = heap_getattr(new, attribute, RelationGetDescr(rel), &null_new);

		if (null_old || null_new || !datumIsEqual(value_old, value_new, form->attbyval, form->attlen))
			return false;
	}
	return true;
}

/* what was under the old key is gone */
static void
changed(Relation rel, HeapTuple old, HeapTuple new)
{
	touched(rel, new, true, false);
	if (!same_row(rel, old, new))
		touched(rel, old, true, true);
}

const ChildWatch moved_watch = {moves_quiet, child_row_touched, changed};

PG_FUNCTION_INFO_V1(taskex_moved_row);

/* trigger on all child tables, after each row */
Datum
taskex_moved_row(PG_FUNCTION_ARGS)
{
	TriggerData *data = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "moved_row is a trigger function");
	/* where taskex is not loaded nobody moves */
	if (!shmem_ready() || moves_quiet())
		PG_RETURN_POINTER(NULL);
	if (TRIGGER_FIRED_BY_UPDATE(data->tg_event))
		changed(data->tg_relation, data->tg_trigtuple, data->tg_newtuple);
	else
		touched(data->tg_relation, data->tg_trigtuple, true, TRIGGER_FIRED_BY_DELETE(data->tg_event));
	PG_RETURN_POINTER(NULL);
}

void
moves_require_home(int64 owner, int32 partition)
{
	int64		user;

	if (moves_quiet())
		return;
	user = user_of(owner, partition);
	if (user != 0)
		(void) moves_written(user, partition, false);
}

bool
moves_at_home(int64 owner, int32 partition)
{
	int64		user = user_of(owner, partition);
	UserHome	home;

	return user == 0 || (directory_find_home_by_id(user, &home) && home.partition == partition);
}

void
moves_inserted(int64 user_id, int32 partition, const char *table, int64 first, int32 count, int64 step)
{
	SpiScope	scope;
	Datum		value;
	int64		migration;
	int32		position;

	if (moves_quiet())
		return;
	migration = moves_written(user_id, partition, false);
	if (migration == 0)
		return;
	spi_begin(&scope);
	value = CStringGetTextDatum(table);
	if (spi_run(&select_position, 0, &value, NULL, SPI_VIEW_CURRENT, 1) != 1)
		elog(ERROR, "\"%s\" is not a child table", table);
	position = spi_int32(0, 1);
	for (int32 i = 0; i < count; i++)
	{
		Datum		key = CStringGetTextDatum(psprintf(INT64_FORMAT, first + i * step));

		log_key(migration, position, construct_array(&key, 1, TEXTOID, -1, false, TYPALIGN_INT));
	}
	spi_end(&scope);
}

/* ---- where is what has an id ---- */

int64
directory_forwarded(const char *kind, int64 id)
{
	SpiScope	scope;
	Datum		values[2] = {Int64GetDatum(id), CStringGetTextDatum(kind)};
	int64		owner = 0;

	spi_begin(&scope);
	if (spi_run(&select_forward, 0, values, NULL, SPI_VIEW_CURRENT, 1) == 1)
		owner = spi_int64(0, 1);
	spi_end(&scope);
	return owner;
}
