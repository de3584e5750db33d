/*
 * dispose.c
 *	  Erasing what a closed task contains.
 *
 * Nothing of it may be under way or wait for judgement.  The rows stay, for
 * the counters, the money and the performers' histories refer to them.
 */
#include "postgres.h"

#include "market/change.h"
#include "base/args.h"
#include "infra/spi.h"
#include "market/rows.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

static Statement lock_results = {
	"SELECT assignment_id, performer_id FROM _taskex.result_%p WHERE task_id = $1 AND requester_id = $2 ORDER BY assignment_id FOR UPDATE",
	2, {INT8OID, INT8OID}
};

static Statement erase_results = {
	"UPDATE _taskex.result_%p SET result = 'null', feedback = NULL WHERE task_id = $1 AND requester_id = $2",
	2, {INT8OID, INT8OID}
};

static Statement erase_attachments = {
	"DELETE FROM _taskex.attachment_%p WHERE subject_id = $1 AND is_task = $2",
	2, {INT8OID, BOOLOID}
};

typedef struct Submitted
{
	int64		assignment_id;
	int64		performer_id;
} Submitted;

/* locks the results of a task, before the task itself */
static Submitted *
lock_submitted(const Change *change, int64 task_id, uint64 *count)
{
	Datum		values[2] = {Int64GetDatum(task_id), Int64GetDatum(change->requester.user_id)};
	MemoryContext context = CurrentMemoryContext;
	SpiScope	scope;
	Submitted  *results;

	spi_begin(&scope);
	*count = spi_run(&lock_results, change->requester.partition, values, NULL, SPI_VIEW_CURRENT, 0);
	results = MemoryContextAlloc(context, sizeof(Submitted) * Max(*count, 1));
	for (uint64 i = 0; i < *count; i++)
	{
		results[i].assignment_id = spi_int64(i, 1);
		results[i].performer_id = spi_int64(i, 2);
	}
	spi_end(&scope);
	return results;
}

/* what the task and its assignments refer to */
static void
detach_all(const Change *change, const Submitted *results, uint64 count)
{
	Datum		values[2] = {Int64GetDatum(change->task_id), BoolGetDatum(true)};
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&erase_attachments, change->requester.partition, values, NULL, SPI_VIEW_CURRENT, 0);
	values[1] = BoolGetDatum(false);
	for (uint64 i = 0; i < count; i++)
	{
		UserHome	performer;

		CHECK_FOR_INTERRUPTS();
		directory_home_by_id(results[i].performer_id, &performer);
		values[0] = Int64GetDatum(results[i].assignment_id);
		spi_run(&erase_attachments, performer.partition, values, NULL, SPI_VIEW_CURRENT, 0);
	}
	spi_end(&scope);
}

/* the columns that become NULL, and those that get another value */
static void
erase_task(Change *change)
{
	static const int columns[] = {TASK_STATE, TASK_INPUT, TASK_ANSWER, TASK_TALLY, TASK_KNOWN_ANSWER, TASK_MATCH,
	TASK_ANNOTATION, TASK_REVIEWING};
	Datum		values[lengthof(columns)] = {CStringGetTextDatum("disposed"),
		DirectFunctionCall1(jsonb_in, CStringGetDatum("null")), (Datum) 0, (Datum) 0, (Datum) 0, (Datum) 0, (Datum) 0,
	BoolGetDatum(false)};
	bool		nulls[lengthof(columns)] = {false, false, true, true, true, true, true, false};

	child_update(&change->tasks, lengthof(columns), columns, values, nulls);
}

static void
erase_submitted(const Change *change)
{
	Datum		values[2] = {Int64GetDatum(change->task_id), Int64GetDatum(change->requester.user_id)};
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&erase_results, change->requester.partition, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

PG_FUNCTION_INFO_V1(taskex_dispose_task);

/* dispose_task(requester, task_id) */
Datum
taskex_dispose_task(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"requester", "task_id", NULL};
	Change		change;
	Submitted  *results;
	uint64		count;

	require_args(fcinfo, names);
	change_open(&change, fcinfo, "dispose_task()");
	results = lock_submitted(&change, PG_GETARG_INT64(1), &count);
	change_lock(&change, PG_GETARG_INT64(1));
	if (change_in_state(&change, "disposed"))
		change_wrong_state(&change, "is disposed already", NULL);
	if (change_in_state(&change, "open"))
		change_wrong_state(&change, "is still open", "taskex.cancel_task() closes it.");
	if (change.live > change.judged)
		change_wrong_state(&change, "has work that is not judged yet", "Wait for what is under way, and approve or reject the results.");
	detach_all(&change, results, count);
	erase_submitted(&change);
	erase_task(&change);
	change_journal(&change, "disposed", 0, NULL);
	child_close(&change.tasks);
	PG_RETURN_VOID();
}
