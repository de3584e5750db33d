/*
 * follow.c
 *	  What changed at the source while it was copied.
 *
 * The log has keys only.  A pass reads some of them and the rows that they are
 * of as of one moment: each is deleted at the target, and what the source has
 * is copied.  What else committed later is logged as well, and comes later.
 */
#include "postgres.h"

#include "migration/move.h"
#include "directory/moves.h"
#include "infra/spi.h"
#include "market/market.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static Statement select_log = {
	"SELECT ctid, position, key, key::text FROM _taskex.migration_log WHERE migration_id = $1 LIMIT $2",
	2, {INT8OID, INT8OID}
};

static Statement delete_log = {
	"DELETE FROM _taskex.migration_log WHERE ctid = ANY ($1)",
	1, {TIDARRAYOID}
};

static Statement count_log = {
	"SELECT count(*) FROM _taskex.migration_log WHERE migration_id = $1 AND ($2 = 0 OR position = $2)",
	2, {INT8OID, INT4OID}
};

static Statement forget_log = {
	"DELETE FROM _taskex.migration_log WHERE migration_id = $1",
	1, {INT8OID}
};

static Statement insert_forwards = {
	"INSERT INTO _taskex.forward (id, owner_id, kind) SELECT i, $3, $1 FROM unnest($2) i ON CONFLICT DO NOTHING",
	3, {TEXTOID, INT8ARRAYOID, INT8OID}
};

static Statement delete_forwards = {
	"DELETE FROM _taskex.forward WHERE kind = $1 AND id = ANY ($2) AND owner_id = $3",
	3, {TEXTOID, INT8ARRAYOID, INT8OID}
};

/* ---- things whose ids tell where they lie ---- */

void
forward_begin(ForwardIds *forward, const MoveTable *table)
{
	forward->kind = table->forwarded;
	forward->ids = NULL;
}

/* the row's id, if it tells (or does not tell) that it lies on the partition */
void
forward_note(ForwardIds *forward, const MoveChild *row, int32 partition, bool told)
{
	bool		isnull;
	int64		id;

	if (forward->kind == NULL)
		return;
	id = DatumGetInt64(slot_getattr(row->slot, row->key->rd_index->indkey.values[0], &isnull));
	if ((id % TASK_ID_STEP == partition % TASK_ID_STEP) == told)
		forward->ids = accumArrayResult(forward->ids, Int64GetDatum(id), false, INT8OID, CurrentMemoryContext);
}

static void
run_forwards(Statement *statement, ForwardIds *forward, int64 user)
{
	SpiScope	scope;
	Datum		values[3];

	if (forward->ids == NULL)
		return;
	values[0] = CStringGetTextDatum(forward->kind);
	values[1] = makeArrayResult(forward->ids, CurrentMemoryContext);
	values[2] = Int64GetDatum(user);
	spi_begin(&scope);
	spi_run(statement, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

void
forward_write(ForwardIds *forward, int64 user)
{
	run_forwards(&insert_forwards, forward, user);
}

void
forward_remove(ForwardIds *forward, int64 user)
{
	run_forwards(&delete_forwards, forward, user);
}

/* ---- a pass ---- */


static int
compare_keys(const void *a, const void *b)
{
	const LoggedKey *x = a;
	const LoggedKey *y = b;

	if (x->position != y->position)
		return x->position < y->position ? -1 : 1;
	return strcmp(x->text, y->text);
}

static int64
read_log(Move *move, int64 limit, LoggedKey **keys, Datum *tids)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		values[2] = {Int64GetDatum(move->id), Int64GetDatum(limit)};
	ArrayBuildState *found = NULL;
	SpiScope	scope;
	int64		count;

	spi_begin(&scope);
	count = (int64) spi_run(&select_log, 0, values, NULL, SPI_VIEW_SNAPSHOT, 0);
	*keys = MemoryContextAllocHuge(context, sizeof(LoggedKey) * Max(count, 1));
	for (int64 i = 0; i < count; i++)
	{
		LoggedKey  *key = &(*keys)[i];
		bool		isnull;
		MemoryContext old;

		found = accumArrayResult(found, spi_value(i, 1, &isnull), false, TIDOID, CurrentMemoryContext);
		key->position = spi_int32(i, 2);
		old = MemoryContextSwitchTo(context);
		key->key = DatumGetArrayTypePCopy(spi_value(i, 3, &isnull));
		key->text = TextDatumGetCString(spi_value(i, 4, &isnull));
		MemoryContextSwitchTo(old);
	}
	if (found)
		*tids = makeArrayResult(found, context);
	spi_end(&scope);
	return count;
}

static const MoveTable *
table_at(const Move *move, int position)
{
	for (int i = 0; i < move->ntables; i++)
		if (move->tables[i].position == position)
			return &move->tables[i];
	elog(ERROR, "no table is registered at position %d", position);
}

/* those whose before_switch has begun */
static void
tell_followers(Move *move, const MoveChild *source)
{
	for (int i = 0; move->state == MOVE_SWITCHING && i <= move->follower && move_followers[i]; i++)
		if (move_followers[i]->row_changed)
			move_followers[i]->row_changed(move->user, source->table->name, source->slot);
}

/* makes the target have what the source has under the keys of one table */
static void
follow_table(Move *move, const LoggedKey *keys, int64 count)
{
	const MoveTable *table = table_at(move, keys[0].position);
	Snapshot	snapshot = GetActiveSnapshot();
	MoveChild	source;
	MoveTarget	target;
	ForwardIds	forward;

	child_of_move(&source, table, move->source, AccessShareLock);
	target_begin(&target, table, move->target, &source, true);
	forward_begin(&forward, table);
	for (int64 i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (i > 0 && strcmp(keys[i].text, keys[i - 1].text) == 0)
			continue;
		if (move_find_text(&target.child, keys[i].key, SnapshotSelf) && move_owned(&target.child, move->user) &&
			!move_delete(&target.child, &target.child.slot->tts_tid))
			elog(ERROR, "a row of table \"%s_%d\" is held by somebody", table->name, move->target);
		CommandCounterIncrement();
		if (move_find_text(&source, keys[i].key, snapshot) && move_owned(&source, move->user))
		{
			forward_note(&forward, &source, move->target, false);
			(void) target_put(&target, &source, true);
			tell_followers(move, &source);
		}
	}
	target_end(&target);
	child_of_move_end(&source);
	forward_write(&forward, move->user);
}

static void
delete_keys(Datum tids)
{
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&delete_log, 0, &tids, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

int64
follow_pass(Move *move, int64 limit)
{
	LoggedKey  *keys;
	Datum		tids = (Datum) 0;
	int64		count = read_log(move, limit, &keys, &tids);
	int64		first = 0;

	if (count == 0)
		return 0;
	qsort(keys, count, sizeof(LoggedKey), compare_keys);
	for (int64 i = 1; i <= count; i++)
		if (i == count || keys[i].position != keys[first].position)
		{
			follow_table(move, keys + first, i - first);
			first = i;
		}
	delete_keys(tids);
	return count;
}

int64
follow_waiting(Move *move, int position)
{
	Datum		values[2] = {Int64GetDatum(move->id), Int32GetDatum(position)};
	SpiScope	scope;
	int64		count;

	spi_begin(&scope);
	spi_run(&count_log, 0, values, NULL, SPI_VIEW_SNAPSHOT, 0);
	count = spi_int64(0, 1);
	spi_end(&scope);
	return count;
}

/*
 * Was the row with the key of "row", of the table, deleted at the new home since the
 * home changed?  *log is read once; it is from before what the row is missed in.
 */
bool
follow_deleted(Move *move, const MoveChild *row, LoggedKeys **log)
{
	LoggedKey	sought;
	Datum		values[MOVE_KEYS];
	int			n = row->key->rd_index->indnkeyatts;
	FmgrInfo	output;
	Datum		tids;

	if (*log == NULL)
	{
		*log = palloc(sizeof(LoggedKeys));
		(*log)->count = read_log(move, PG_INT64_MAX, &(*log)->keys, &tids);
		qsort((*log)->keys, (*log)->count, sizeof(LoggedKey), compare_keys);
	}
	for (int i = 0; i < n; i++)
	{
		AttrNumber	column = row->key->rd_index->indkey.values[i];
		bool		isnull;
		Datum		value = slot_getattr(row->slot, column, &isnull);

		values[i] = moves_key_text(value, TupleDescAttr(RelationGetDescr(row->rel), column - 1)->atttypid);
	}
	fmgr_info(F_ARRAY_OUT, &output);
	sought.position = row->table->position;
	sought.text = OutputFunctionCall(&output, PointerGetDatum(construct_array(values, n, TEXTOID, -1, false, TYPALIGN_INT)));
	return bsearch(&sought, (*log)->keys, (*log)->count, sizeof(LoggedKey), compare_keys) != NULL;
}

void
follow_forget(Move *move)
{
	Datum		value = Int64GetDatum(move->id);
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&forget_log, 0, &value, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}
