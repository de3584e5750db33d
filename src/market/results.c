/*
 * results.c
 *	  Results for the requester, single and combined.
 */
#include "postgres.h"

#include "market/market.h"
#include "base/args.h"
#include "base/errcodes.h"
#include "directory/meter.h"
#include "infra/spi.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

static Statement select_task = {
	"SELECT consensus, answer FROM _taskex.task_%p WHERE task_id = $1 AND requester_id = $2 AND state <> 'disposed'",
	2, {INT8OID, INT8OID}
};

static Statement select_results = {
	"SELECT r.assignment_id, d.login, r.state, r.submitted_at, r.judged_at, r.result, r.feedback"
	" FROM _taskex.result_%p r JOIN _taskex.directory d ON d.user_id = r.performer_id"
	" WHERE r.task_id = $1 ORDER BY r.submitted_at, r.assignment_id",
	1, {INT8OID}
};

/* raises unknown_task; leaves the task's consensus and answer in the SPI result */
static void
require_own_task(const UserHome *requester, int64 task_id, const text *login)
{
	Datum		values[2] = {Int64GetDatum(task_id), Int64GetDatum(requester->user_id)};

	if (spi_run(&select_task, requester->partition, values, NULL, SPI_VIEW_CURRENT, 1) == 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_TASK),
				 errmsg("user \"%s\" has no task %lld", text_to_cstring(login), (long long) task_id)));
}

METERED(taskex_task_results)
{
	static const char *const names[] = {"requester", "task_id", NULL};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	UserHome	requester;
	Datum		task_id;
	SpiScope	scope;
	uint64		count;

	require_args(fcinfo, names);
	directory_steady_reader(PG_GETARG_TEXT_PP(0), &requester);
	task_id = PG_GETARG_DATUM(1);
	InitMaterializedSRF(fcinfo, 0);

	spi_begin(&scope);
	require_own_task(&requester, DatumGetInt64(task_id), PG_GETARG_TEXT_PP(0));
	count = spi_run(&select_results, requester.partition, &task_id, NULL, SPI_VIEW_CURRENT, 0);
	for (uint64 i = 0; i < count; i++)
	{
		Datum		values[7];
		bool		nulls[7];

		for (int column = 0; column < 7; column++)
			values[column] = spi_value(i, column + 1, &nulls[column]);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	spi_end(&scope);
	return (Datum) 0;
}

METERED(taskex_task_consensus)
{
	static const char *const names[] = {"requester", "task_id", NULL};
	UserHome	requester;
	Datum		task_id;
	Datum		result = (Datum) 0;
	SpiScope	scope;
	bool		isnull = true;

	require_args(fcinfo, names);
	directory_steady_reader(PG_GETARG_TEXT_PP(0), &requester);
	task_id = PG_GETARG_DATUM(1);

	spi_begin(&scope);
	require_own_task(&requester, DatumGetInt64(task_id), PG_GETARG_TEXT_PP(0));
	result = spi_value(0, 1, &isnull);
	if (isnull)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_WRONG_STATE),
				 errmsg("task %lld has no consensus", (long long) PG_GETARG_INT64(1)),
				 errhint("Name one when the task is supplied.")));
	result = spi_value(0, 2, &isnull);
	if (!isnull)
		result = SPI_datumTransfer(PointerGetDatum(PG_DETOAST_DATUM(result)), false, -1);
	spi_end(&scope);
	if (isnull)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(result);
}
