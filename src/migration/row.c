/*
 * row.c
 *	  Migrations as the table _taskex.migration has them.
 */
#include "postgres.h"

#include "migration/move.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* in the order of MoveState */
static const char *const state_names[] = {
	"queued", "preparing", "copying", "following", "switching", "cleaning", "undoing", "done", "cancelled", "failed"
};

static Statement select_migration = {
	"SELECT user_id, source, target, state, cancel, attempts, rows, bytes, rows_total, bytes_total, cleaned, stall_us FROM _taskex.migration WHERE migration_id = $1",
	1, {INT8OID}
};

static Statement lock_migration = {
	"SELECT state, cancel FROM _taskex.migration WHERE migration_id = $1 FOR UPDATE NOWAIT",
	1, {INT8OID}
};

static Statement look_at_migration = {
	"SELECT state, cancel FROM _taskex.migration WHERE migration_id = $1",
	1, {INT8OID}
};

static Statement select_tables = {
	"SELECT table_name::text, position, owner::text, owned, forwarded FROM _taskex.child_table ORDER BY position",
	0, {0}
};

static Statement update_state = {
	"UPDATE _taskex.migration SET state = $2, rows = $3, bytes = $4, rows_total = $5, bytes_total = $6, cleaned = $7,"
	" stall_us = $8, started_at = CASE WHEN $2 <> 'queued' THEN coalesce(started_at, clock_timestamp()) END,"
	" finished_at = CASE WHEN $2 IN ('done', 'cancelled', 'failed') THEN clock_timestamp() END,"
	" error = CASE WHEN $2 IN ('undoing', 'cancelled', 'failed') OR state = $2 THEN error END,"
	" attempts = CASE WHEN state = $2 THEN attempts ELSE 0 END"
	" WHERE migration_id = $1",
	8, {INT8OID, TEXTOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID}
};

/* with what was over by then: writes of others at the new home come later */
static Statement note_switch = {
	"UPDATE _taskex.migration SET switched_at = clock_timestamp(), switched_xid = pg_current_xact_id(),"
	" detail = detail || jsonb_build_object('snapshot', $2) WHERE migration_id = $1",
	2, {INT8OID, TEXTOID}
};

static Statement update_error = {
	"UPDATE _taskex.migration SET error = coalesce($2, error), attempts = $3,"
	" not_before = clock_timestamp() + make_interval(secs => $4), state = CASE WHEN $5 THEN 'undoing' ELSE state END"
	" WHERE migration_id = $1",
	5, {INT8OID, TEXTOID, INT4OID, FLOAT8OID, BOOLOID}
};

static Statement select_error = {
	"SELECT error IS NOT NULL FROM _taskex.migration WHERE migration_id = $1",
	1, {INT8OID}
};

const char *
move_state_name(MoveState state)
{
	return state_names[state];
}

/* a place where a test can stop the mover: just before it is committed that the state is this */
void
move_wait_point(MoveState state)
{
	char		name[32];

	snprintf(name, sizeof(name), "move_%s", state_names[state]);
	wait_point(name);
}

static MoveState
state_of(Datum name)
{
	char	   *string = TextDatumGetCString(name);

	for (int i = 0; i < lengthof(state_names); i++)
		if (strcmp(string, state_names[i]) == 0)
			return i;
	elog(ERROR, "a migration has the state \"%s\"", string);
	return MOVE_QUEUED;			/* keep the compiler quiet */
}

static void
load_tables(Move *move)
{
	MemoryContext old;

	move->ntables = (int) spi_run(&select_tables, 0, NULL, NULL, SPI_VIEW_CURRENT, 0);
	move->tables = MemoryContextAllocZero(move->context, sizeof(MoveTable) * Max(move->ntables, 1));
	old = MemoryContextSwitchTo(move->context);
	for (int i = 0; i < move->ntables; i++)
	{
		MoveTable  *table = &move->tables[i];
		bool		isnull;
		Datum		value;

		strlcpy(table->name, TextDatumGetCString(spi_value(i, 1, &isnull)), NAMEDATALEN);
		table->position = spi_int32(i, 2);
		strlcpy(table->owner, TextDatumGetCString(spi_value(i, 3, &isnull)), NAMEDATALEN);
		value = spi_value(i, 4, &isnull);
		table->owned = isnull ? NULL : TextDatumGetCString(value);
		value = spi_value(i, 5, &isnull);
		table->forwarded = isnull ? NULL : TextDatumGetCString(value);
	}
	MemoryContextSwitchTo(old);
}

Move *
move_load(int64 id)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "taskex move", ALLOCSET_DEFAULT_SIZES);
	Move	   *move = MemoryContextAllocZero(context, sizeof(Move));
	Datum		value = Int64GetDatum(id);
	SpiScope	scope;
	bool		found;
	bool		isnull;

	move->context = context;
	spi_begin(&scope);
	found = spi_run(&select_migration, 0, &value, NULL, SPI_VIEW_CURRENT, 1) == 1;
	if (found)
	{
		move->id = id;
		move->user = spi_int64(0, 1);
		move->source = spi_int32(0, 2);
		move->target = spi_int32(0, 3);
		move->state = state_of(spi_value(0, 4, &isnull));
		move->cancel = DatumGetBool(spi_value(0, 5, &isnull));
		move->attempts = spi_int32(0, 6);
		move->progress.rows = spi_int64(0, 7);
		move->progress.bytes = spi_int64(0, 8);
		move->progress.rows_total = spi_int64(0, 9);
		move->progress.bytes_total = spi_int64(0, 10);
		move->progress.cleaned = spi_int64(0, 11);
		move->progress.stall = spi_int64(0, 12);
		move->nwaits = -1;
		move->resumed = true;
		move->began = GetCurrentTimestamp();
		load_tables(move);
	}
	spi_end(&scope);
	if (!found)
	{
		MemoryContextDelete(context);
		return NULL;
	}
	return move;
}

void
move_free(Move *move)
{
	MemoryContextDelete(move->context);
}

void
move_look(Move *move, bool lock)
{
	Datum		value = Int64GetDatum(move->id);
	SpiScope	scope;
	bool		isnull;

	spi_begin(&scope);
	if (spi_run(lock ? &lock_migration : &look_at_migration, 0, &value, NULL, SPI_VIEW_CURRENT, 1) == 0)
		elog(ERROR, "migration %lld is gone", (long long) move->id);
	move->state = state_of(spi_value(0, 1, &isnull));
	move->cancel = DatumGetBool(spi_value(0, 2, &isnull));
	spi_end(&scope);
}

bool
move_has_error(Move *move)
{
	Datum		value = Int64GetDatum(move->id);
	SpiScope	scope;
	bool		isnull;
	bool		result;

	spi_begin(&scope);
	result = spi_run(&select_error, 0, &value, NULL, SPI_VIEW_CURRENT, 1) == 1 &&
		DatumGetBool(spi_value(0, 1, &isnull));
	spi_end(&scope);
	return result;
}

/* writes the state and the progress */
static void
write_row(Move *move, MoveState state)
{
	const MoveProgress *progress = &move->progress;
	Datum		values[8] = {
		Int64GetDatum(move->id), CStringGetTextDatum(state_names[state]), Int64GetDatum(progress->rows),
		Int64GetDatum(progress->bytes), Int64GetDatum(progress->rows_total), Int64GetDatum(progress->bytes_total),
		Int64GetDatum(progress->cleaned), Int64GetDatum(progress->stall)
	};
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&update_state, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	if (state == MOVE_CLEANING && move->state != MOVE_CLEANING)
	{
		values[1] = CStringGetTextDatum(over_now(move));
		spi_run(&note_switch, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	}
	spi_end(&scope);
	move->saved = GetCurrentTimestamp();
}

void
move_set_state(Move *move, MoveState state)
{
	write_row(move, state);
	move->state = state;
	move->listed = false;
	move->attempts = 0;
	move->progress.nwaits = 0;
	move->nwaits = -1;
	move->began = GetCurrentTimestamp();
}

void
move_save(Move *move)
{
	write_row(move, move->state);
}

void
move_set_error(Move *move, const char *error, int attempts, long wait, bool undo)
{
	Datum		values[5] = {
		Int64GetDatum(move->id), (Datum) 0, Int32GetDatum(attempts), Float8GetDatum(wait / 1000.0), BoolGetDatum(undo)
	};
	char		nulls[5] = {' ', error ? ' ' : 'n', ' ', ' ', ' '};
	SpiScope	scope;

	if (error)
		values[1] = CStringGetTextDatum(error);
	spi_begin(&scope);
	spi_run(&update_error, 0, values, nulls, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
	move->attempts = attempts;
	if (undo)
	{
		move->state = MOVE_UNDOING;
		move->listed = false;
	}
}
