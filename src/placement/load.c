/*
 * load.c
 *	  What users' calls and rows cost, stored.
 *
 * Calls count in shared memory (directory/meter.c).  Here the counts are taken
 * from there, batch by batch, each in a transaction that adds them to the rows
 * of the present hour; one that fails gives its batch back.  So a count is
 * stored once; a crash loses what was not taken, and the batch under way.  The
 * rest is in sql/load.sql.
 */
#include "postgres.h"

#include "placement/load.h"
#include "base/guc.h"
#include "directory/meter.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/worker.h"
#include "infra/xact.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/timestamp.h"

#define BATCH 1024				/* entries of the meter that a transaction stores */
#define BATCHES 8				/* of these in a round */
#define FOLD_ROWS 1000			/* rows of hours that a transaction folds */
#define FOLD_TRANSACTIONS 2		/* of these in a round */
#define PRUNE_ROWS 10000
#define PARTITIONS 16			/* of which a round measures the size */
#define COLUMNS 8

static Statement store_load = {
	"SELECT _taskex.store_load($1, $2, $3, $4, $5, $6, $7, $8)",
	COLUMNS, {INT8ARRAYOID, INT4ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID, FLOAT8ARRAYOID,
	FLOAT8ARRAYOID, FLOAT8ARRAYOID}
};

static Statement fold_load = {
	"SELECT _taskex.fold_load(max_rows => $1)",
	1, {INT8OID}
};

static Statement prune_load = {"SELECT _taskex.prune_load($1)", 1, {INT4OID}};

static Statement sample_storage = {"SELECT _taskex.sample_storage($1)", 1, {INT4OID}};

static Statement measure_partitions = {"SELECT _taskex.measure_partitions($1)", 1, {INT4OID}};

static int64
run(Statement *statement, Datum *values)
{
	SpiScope	scope;
	int64		result;

	spi_begin(&scope);
	spi_run(statement, 0, values, NULL, SPI_VIEW_CURRENT, 1);
	result = spi_int64(0, 1);
	spi_end(&scope);
	return result;
}

/* ---- storing ---- */

/* what a transaction has taken and is to store */
typedef struct Taken
{
	int			count;
	MeterEntry	entries[BATCH];
} Taken;

static void
taken_commit(void *record)
{
}

static void
taken_abort(void *record)
{
	Taken	   *taken = record;

	meter_give_back(taken->entries, taken->count);
}

static const XactKind taken_kind = {taken_commit, taken_abort};

typedef struct Storing
{
	uint32		place;			/* in the meter */
	bool		more;
	int64		users;
	int64		calls;
} Storing;

static Datum
make_array(Datum *values, int count, Oid type)
{
	int			size = type == INT4OID ? sizeof(int32) : sizeof(int64);

	return PointerGetDatum(construct_array(values, count, type, size,
										   type == INT4OID || FLOAT8PASSBYVAL,
										   type == INT4OID ? TYPALIGN_INT : TYPALIGN_DOUBLE));
}

static void
store_batch(void *arg)
{
	Storing    *storing = arg;
	Taken	   *taken = xact_add(&taken_kind, sizeof(Taken));
	Datum	   *columns[COLUMNS];
	Datum		values[COLUMNS];

	for (int i = 0; i < COLUMNS; i++)
		columns[i] = palloc(sizeof(Datum) * BATCH);
	taken->count = meter_take(taken->entries, BATCH, &storing->place, &storing->more);
	wait_point("store_load");
	for (int i = 0; i < taken->count; i++)
	{
		const MeterEntry *entry = &taken->entries[i];

		columns[0][i] = Int64GetDatum(entry->user_id);
		columns[1][i] = Int32GetDatum(entry->partition);
		columns[2][i] = Float8GetDatum(entry->calls);
		columns[3][i] = Float8GetDatum((float8) entry->blocks_hit);
		columns[4][i] = Float8GetDatum((float8) entry->blocks_read);
		columns[5][i] = Float8GetDatum((float8) entry->blocks_written);
		columns[6][i] = Float8GetDatum((float8) entry->wal_bytes);
		columns[7][i] = Float8GetDatum(entry->cpu_ns / 1000.0);
		storing->calls += entry->calls;
	}
	for (int i = 0; i < COLUMNS; i++)
		values[i] = make_array(columns[i], taken->count, i == 0 ? INT8OID : i == 1 ? INT4OID : FLOAT8OID);
	storing->users += run(&store_load, values);
}

/* ---- the rounds of the conductor ---- */

static void
fold_some(void *arg)
{
	Datum		value = Int64GetDatum(FOLD_ROWS);

	*(int64 *) arg = run(&fold_load, &value);
}

static void
prune_some(void *arg)
{
	Datum		value = Int32GetDatum(PRUNE_ROWS);

	*(int64 *) arg = run(&prune_load, &value);
}

static void
sample_some(void *arg)
{
	Datum		value = Int32GetDatum(guc_load_sample);

	*(int64 *) arg = run(&sample_storage, &value);
}

static void
measure_some(void *arg)
{
	Datum		value = Int32GetDatum(PARTITIONS);

	*(int64 *) arg = run(&measure_partitions, &value);
}

/* stores some batches; what cannot be stored now waits for the next interval */
static void
store_some(Storing *storing)
{
	for (int i = 0; i < BATCHES && storing->more; i++)
		if (!worker_try_transaction("storing load", store_batch, storing))
			storing->more = false;
}

/* once an interval, what is bounded by itself */
static void
look_around(void)
{
	int64		n;

	(void) worker_try_transaction("removing old load", prune_some, &n);
	(void) worker_try_transaction("measuring storage partitions", measure_some, &n);
	if (guc_load_sample > 0)
		(void) worker_try_transaction("sampling what is stored", sample_some, &n);
}

/* true: there is more to fold */
static bool
fold_rows(void)
{
	int64		n = FOLD_ROWS;

	for (int i = 0; i < FOLD_TRANSACTIONS && n == FOLD_ROWS; i++)
		if (!worker_try_transaction("folding load", fold_some, &n))
			return false;
	return n == FOLD_ROWS;
}

bool
load_maintain(void)
{
	static uint32 realm = 0;
	static TimestampTz stored_at = 0;
	static Storing storing;
	static bool folding = false;
	uint32		serial = realm_current()->serial;
	TimestampTz now = GetCurrentTimestamp();

	if (realm != serial)
	{
		realm = serial;
		stored_at = now;
		storing.more = false;
		folding = true;
	}
	if (TimestampDifferenceExceeds(stored_at, now, guc_load_interval))
	{
		stored_at = now;
		storing.place = 0;
		storing.more = true;
		store_some(&storing);
		look_around();
		folding = true;
	}
	else
		store_some(&storing);
	if (folding)
		folding = fold_rows();
	return storing.more || folding;
}

/* ---- SQL ---- */

PG_FUNCTION_INFO_V1(taskex_measure_load);

/* measure_load() -> (users, calls, hours, tables) */
Datum
taskex_measure_load(PG_FUNCTION_ARGS)
{
	Storing		storing = {0};
	int64		folded = 0;
	int64		n;
	int64		sampled = 0;
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};

	PreventCommandIfReadOnly("measure_load()");
	realm_current();
	do
	{
		CHECK_FOR_INTERRUPTS();
		store_batch(&storing);
	} while (storing.more);
	do
	{
		CHECK_FOR_INTERRUPTS();
		fold_some(&n);
		folded += n;
	} while (n == FOLD_ROWS);
	prune_some(&n);
	measure_some(&n);
	if (guc_load_sample > 0)
		sample_some(&sampled);

	values[0] = Int64GetDatum(storing.users);
	values[1] = Int64GetDatum(storing.calls);
	values[2] = Int64GetDatum(folded);
	values[3] = Int64GetDatum(sampled);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(taskex_meter);

/* meter() -> (users, calls, unnamed, lost) */
Datum
taskex_meter(PG_FUNCTION_ARGS)
{
	int64		counts[4];
	TupleDesc	desc;
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};

	if (!shmem_ready())
		PG_RETURN_NULL();
	meter_look(&counts[0], &counts[1], &counts[2], &counts[3]);
	for (int i = 0; i < 4; i++)
		values[i] = Int64GetDatum(counts[i]);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
