/*
 * statement.c
 *	  SQL: an account's transfers, newest first.
 */
#include "postgres.h"

#include "ledger/internal.h"
#include "ledger/ledger.h"
#include "base/args.h"
#include "directory/meter.h"
#include "infra/spi.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/timestamp.h"

/* entries that are read at a time */
#define PAGE 1000

#define COLUMNS 8
#define COLUMN_ID 1
#define COLUMN_AT 2

#define SELECT_PAGE(table) \
	"SELECT transfer_id, at, kind, trim_scale(available * 0.000000001)," \
	" trim_scale(held * 0.000000001)," \
	" CASE counterparty WHEN 0 THEN 'exchange' WHEN -1 THEN 'outside' ELSE" \
	" CASE WHEN at >= $3 THEN _taskex.login(counterparty) END END," \
	" subject_id, reference FROM " table \
	" WHERE account_id = $1 AND transfer_id < $2" \
	" ORDER BY transfer_id DESC LIMIT $4"

static Statement select_page = {
	SELECT_PAGE("_taskex.entry_%p"), 4, {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID}
};

/* a system account has a part on every partition */
static Statement select_system_page = {
	SELECT_PAGE("_taskex.entry"), 4, {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID}
};

/* hands out rows from "since" on; returns how many */
static int
put_rows(ReturnSetInfo *rsinfo, uint64 rows, TimestampTz since, int max_rows)
{
	int			put = 0;

	for (uint64 row = 0; row < rows && put < max_rows; row++)
	{
		Datum		values[COLUMNS];
		bool		nulls[COLUMNS];

		for (int c = 0; c < COLUMNS; c++)
			values[c] = spi_value(row, c + 1, &nulls[c]);
		if (DatumGetTimestampTz(values[COLUMN_AT - 1]) < since)
			continue;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		put++;
	}
	return put;
}

/*
 * statement(login, since, max_rows).  Ids rise with time, but not strictly:
 * a whole page of entries before "since" ends the search.
 */
METERED(taskex_statement)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TimestampTz since = PG_ARGISNULL(1) ? DT_NOBEGIN : PG_GETARG_TIMESTAMPTZ(1);
	Datum		values[4];
	SpiScope	scope;
	UserHome	home;
	int			max_rows;
	bool		system;

	require_arg(fcinfo, 0, "login");
	require_arg(fcinfo, 2, "max_rows");
	max_rows = PG_GETARG_INT32(2);
	if (max_rows < 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("max_rows must be greater than zero")));
	system = account_for_reading(PG_GETARG_TEXT_PP(0), &home);
	InitMaterializedSRF(fcinfo, 0);

	values[0] = Int64GetDatum(home.user_id);
	values[1] = Int64GetDatum(PG_INT64_MAX);
	values[2] = TimestampTzGetDatum(since);
	spi_begin(&scope);
	while (max_rows > 0)
	{
		int64		page = TIMESTAMP_IS_NOBEGIN(since) ? Min(max_rows, PAGE) : PAGE;
		uint64		rows;
		int			put;

		CHECK_FOR_INTERRUPTS();
		values[3] = Int64GetDatum(page);
		rows = spi_run(system ? &select_system_page : &select_page, home.partition,
					   values, NULL, SPI_VIEW_SNAPSHOT, 0);
		put = put_rows(rsinfo, rows, since, max_rows);
		max_rows -= put;
		if (rows < page || put == 0)
			break;
		values[1] = Int64GetDatum(spi_int64(rows - 1, COLUMN_ID));
		SPI_freetuptable(SPI_tuptable);
	}
	spi_end(&scope);
	return (Datum) 0;
}
