/*
 * split.c
 *	  Runs in parts: the run that stands for the whole.
 *
 * The parts are runs like others, which know nothing of each other.  The
 * conductor looks at them (split_step in sql/split.sql) and ends the whole: so
 * parts that end at the same time wait for nobody.
 */
#include "postgres.h"

#include "workload/split.h"
#include "workload/workload.h"
#include "base/args.h"
#include "base/clock.h"
#include "infra/spi.h"
#include "infra/worker.h"
#include "workload/options.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#define SPLITS 100

/* while there are runs in parts the conductor looks at them so often, for this share of its time at most */
#define LOOK_US (200 * INT64CONST(1000))
#define LOOK_SHARE 20

static Statement select_open = {
	"SELECT split_id, customer_id FROM _taskex.split_open WHERE split_id > $1 ORDER BY split_id LIMIT 100",
	1, {INT8OID}
};

static Statement step = {
	"SELECT _taskex.split_step($1, $2)",
	2, {INT8OID, INT8OID}
};

static Statement steer = {
	"SELECT _taskex.split_steer($1, $2, $3, make_interval(secs => $4 / 1000000.0))",
	4, {INT8OID, INT8OID, TEXTOID, INT8OID}
};

static Statement again = {
	"SELECT _taskex.split_again($1, $2, $3)",
	3, {INT8OID, INT8OID, INT4OID}
};

bool
split_is_open(Child *run)
{
	return !run_is_null(run, RUN_SPLIT_ID) && child_int64(run, RUN_SPLIT_ID) == child_int64(run, RUN_RUN_ID) &&
		run_is_null(run, RUN_DATA);
}

static void
call(Statement *statement, Datum *values, const char *nulls)
{
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(statement, 0, values, nulls, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

void
split_steer(int64 run_id, int64 customer_id, const char *what, int64 force_us)
{
	Datum		values[4] = {Int64GetDatum(run_id), Int64GetDatum(customer_id), CStringGetTextDatum(what), Int64GetDatum(force_us)};
	char		nulls[4] = {' ', ' ', ' ', force_us < 0 ? 'n' : ' '};

	call(&steer, values, nulls);
}

void
split_again(int64 run_id, int64 customer_id, int32 attempts)
{
	Datum		values[3] = {Int64GetDatum(run_id), Int64GetDatum(customer_id), Int32GetDatum(attempts)};

	call(&again, values, NULL);
}

/* ---- the end of the whole ---- */

static void
make_ready(Child *run, Datum data)
{
	static const int columns[2] = {RUN_DATA, RUN_STATE};
	bool		waits = child_text_is(run, RUN_STATE, "blocked");
	Datum		values[2] = {data, CStringGetTextDatum("ready")};
	bool		nulls[2] = {false, false};

	/* one that is suspended waits for resume_run */
	child_update(run, waits ? 2 : 1, columns, values, nulls);
	if (waits)
		run_make_ready(run);
}

PG_FUNCTION_INFO_V1(taskex_split_end);

/* _taskex.split_end(split_id, outcome, value) -> boolean */
Datum
taskex_split_end(PG_FUNCTION_ARGS)
{
	int			columns[3] = {RUN_STATE, RUN_FINISHED_AT, RUN_RESULT};
	int64		run_id = PG_GETARG_INT64(0);
	char	   *outcome = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool		succeeded = strcmp(outcome, "succeeded") == 0;
	Datum		values[3] = {CStringGetTextDatum(outcome), TimestampTzGetDatum(clock_now()), PG_GETARG_DATUM(2)};
	bool		nulls[3] = {false, false, PG_ARGISNULL(2)};
	RunTables	tables;
	UserHome	home;
	Child	   *run;
	bool		open;
	bool		followed = false;
	bool		isnull;

	run_tables_begin(&tables);
	run = run_lock(&tables, run_id, true, &home, NULL);
	open = run != NULL && run_is_null(run, RUN_FINISHED_AT) && split_is_open(run);
	if (open && strcmp(outcome, "ready") == 0)
		make_ready(run, PG_GETARG_DATUM(2));
	else if (open)
	{
		if (!succeeded)
			columns[2] = RUN_ERROR;
		child_update(run, 3, columns, values, nulls);
		run_tell_ended(run, outcome);
		followed = succeeded && DatumGetBool(slot_getattr(run->slot, RUN_FOLLOWED, &isnull));
	}
	run_tables_end(&tables);
	if (followed)
		links_settle(&home, run_id, true);
	PG_RETURN_BOOL(open);
}

/* ---- inputs: a query that the caller runs himself, with his rights and his search_path ---- */

/* the only column of a row, as it is */
static Datum
input_of(Jsonb *row)
{
	JsonbIterator *it;
	JsonbValue	value;

	if (JB_ROOT_COUNT(row) != 1)
		return JsonbPGetDatum(row);
	it = JsonbIteratorInit(&row->root);
	(void) JsonbIteratorNext(&it, &value, true);
	(void) JsonbIteratorNext(&it, &value, true);
	(void) JsonbIteratorNext(&it, &value, true);
	return JsonbPGetDatum(JsonbValueToJsonb(&value));
}

/*
 * Rows of the query; SPI is connected.  limit 0: all.  Text that closes our
 * parenthesis and goes on is refused: a cursor has one statement, and what it
 * adds to our rows has another form, or is one that it could have as well.
 */
static Datum
read_inputs(const char *query, long limit)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(rows_of_query(query), 0, NULL, CURSOR_OPT_NO_SCROLL);
	Portal		portal;
	Datum	   *inputs;
	Datum		result;

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	SPI_cursor_fetch(portal, true, limit > 0 ? limit : LONG_MAX);
	inputs = palloc(sizeof(Datum) * Max(SPI_processed, 1));
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		bool		isnull;
		Datum		row = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);

		CHECK_FOR_INTERRUPTS();
		if (isnull || SPI_gettypeid(SPI_tuptable->tupdesc, 1) != JSONBOID || !JB_ROOT_IS_OBJECT(DatumGetJsonbP(row)))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("inputs must be one query")));
		inputs[i] = input_of(DatumGetJsonbP(row));
	}
	result = PointerGetDatum(construct_array(inputs, (int) SPI_processed, JSONBOID, -1, false, TYPALIGN_INT));
	SPI_cursor_close(portal);
	return result;
}

static int64
call_with_inputs(const char *sql, int count, Oid *types, Datum *values, const char *nulls)
{
	bool		isnull;

	if (SPI_execute_with_args(sql, count, types, values, nulls, false, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "%s gave no row", sql);
	return DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

PG_FUNCTION_INFO_V1(taskex_submit_split);

/* submit_split(customer, program, inputs, parts, combine, options) -> bigint */
Datum
taskex_submit_split(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"customer", "program", "inputs", NULL};
	Oid			types[6] = {TEXTOID, TEXTOID, JSONBARRAYOID, INT4OID, TEXTOID, JSONBOID};
	Datum		values[6];
	char		nulls[6];
	int64		split_id;

	require_args(fcinfo, names);
	require_arg(fcinfo, 5, "options");
	PreventCommandIfReadOnly("submit_split()");
	for (int i = 0; i < 6; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	values[2] = read_inputs(text_to_cstring(PG_GETARG_TEXT_PP(2)), 0);
	split_id = call_with_inputs("SELECT taskex.submit_parts($1, $2, $3, $4, $5, $6)", 6, types, values, nulls);
	SPI_finish();
	PG_RETURN_INT64(split_id);
}

PG_FUNCTION_INFO_V1(taskex_measure_program);

/* measure_program(customer, program, inputs, sample) -> bigint */
Datum
taskex_measure_program(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"customer", "program", "inputs", "sample", NULL};
	Oid			types[3] = {TEXTOID, TEXTOID, JSONBARRAYOID};
	Datum		values[3];
	int64		split_id;

	require_args(fcinfo, names);
	PreventCommandIfReadOnly("measure_program()");
	if (PG_GETARG_INT32(3) < 2 || PG_GETARG_INT32(3) > 1000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("sample must be between 2 and 1000")));
	for (int i = 0; i < 2; i++)
		values[i] = PG_GETARG_DATUM(i);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	values[2] = read_inputs(text_to_cstring(PG_GETARG_TEXT_PP(2)), PG_GETARG_INT32(3));
	split_id = call_with_inputs("SELECT taskex.measure_inputs($1, $2, $3)", 3, types, values, NULL);
	SPI_finish();
	PG_RETURN_INT64(split_id);
}

/* ---- the conductor ---- */

typedef struct OpenSplit
{
	int64		split_id;
	int64		customer_id;
} OpenSplit;

typedef struct OpenSplits
{
	int64		after;
	int			count;
	OpenSplit	splits[SPLITS];
} OpenSplits;

static void
read_open(void *arg)
{
	OpenSplits *open = arg;
	Datum		value = Int64GetDatum(open->after);
	SpiScope	scope;

	spi_begin(&scope);
	open->count = (int) spi_run(&select_open, 0, &value, NULL, SPI_VIEW_CURRENT, SPLITS);
	for (int i = 0; i < open->count; i++)
	{
		open->splits[i].split_id = spi_int64(i, 1);
		open->splits[i].customer_id = spi_int64(i, 2);
		open->after = open->splits[i].split_id;
	}
	spi_end(&scope);
}

static void
work_one(void *arg)
{
	const OpenSplit *split = arg;
	Datum		values[2] = {Int64GetDatum(split->split_id), Int64GetDatum(split->customer_id)};

	call(&step, values, NULL);
}

/* when the conductor looks at them again, by the real clock; DT_NOEND: there is none */
static TimestampTz next_look = DT_NOEND;

void
splits_maintain(void)
{
	OpenSplits	open = {0};
	TimestampTz begun = GetCurrentTimestamp();
	TimestampTz now;
	int			count = 0;

	do
	{
		if (!worker_try_transaction("listing runs in parts", read_open, &open))
			return;
		for (int i = 0; i < open.count; i++)
			(void) worker_try_transaction("looking after a run in parts", work_one, &open.splits[i]);
		count += open.count;
	} while (open.count == SPLITS);

	/* nobody is told when the last part has ended; but many parts are not to keep the conductor busy */
	now = GetCurrentTimestamp();
	next_look = count == 0 ? DT_NOEND : now + Max(LOOK_US, LOOK_SHARE * (now - begun));
}

TimestampTz
splits_next(void)
{
	return next_look;
}

int
splits_work(void)
{
	OpenSplits	open = {0};
	int			done = 0;

	do
	{
		read_open(&open);
		for (int i = 0; i < open.count; i++)
			work_one(&open.splits[i]);
		done += open.count;
	} while (open.count == SPLITS);
	return done;
}
