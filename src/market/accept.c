/*
 * accept.c
 *	  Performers take tasks: a given one, or the next one from the feed.
 *
 * Either way the task's row is locked, its count of live slots is raised under
 * the bound, and the assignment is inserted.  The unique index on (performer,
 * task) sees to it that nobody has a task twice.
 */
#include "postgres.h"

#include "market/market.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "infra/ids.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "ledger/ledger.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#define COUNT_MAX 1000

/* rows that one look at a window reads */
#define CANDIDATES 16

static Statement select_candidates = {
	"SELECT task_id, performers FROM _taskex.task_%p t"
	" WHERE task_type_id = $1 AND task_id > $2 AND task_id <= $3"
	" AND state = 'open' AND live < performers AND expires_at > $4 AND requester_id <> $5"
	" ORDER BY task_id LIMIT 16",
	5, {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID}
};

static Statement select_had = {
	"SELECT 1 FROM _taskex.assignment_%p WHERE performer_id = $1 AND task_id = $2",
	2, {INT8OID, INT8OID}
};

/* takes a slot; a row that is locked is left to who has it */
static Statement take_slot = {
	"UPDATE _taskex.task_%p SET live = live + 1 WHERE task_id ="
	" (SELECT task_id FROM _taskex.task_%p WHERE task_id = $1 AND state = 'open'"
	" AND live < performers AND expires_at > $2 FOR NO KEY UPDATE SKIP LOCKED)"
	" RETURNING task_type_id, requester_id, reward, input, performers - live",
	2, {INT8OID, TIMESTAMPTZOID}
};

/* takes a slot of a named task; waits for its row */
static Statement take_named_slot = {
	"UPDATE _taskex.task_%p SET live = live + 1 WHERE task_id = $1 AND state = 'open'"
	" AND live < performers AND expires_at > $2"
	" RETURNING task_type_id, requester_id, reward, input, performers - live",
	2, {INT8OID, TIMESTAMPTZOID}
};

static Statement give_slot_back = {
	"UPDATE _taskex.task_%p SET live = live - 1 WHERE task_id = $1",
	1, {INT8OID}
};

static Statement select_task = {
	"SELECT requester_id, state, expires_at FROM _taskex.task_%p WHERE task_id = $1",
	1, {INT8OID}
};

static Statement insert_assignment = {
	"INSERT INTO _taskex.assignment_%p (partition_id, assignment_id, performer_id, task_id,"
	" task_type_id, requester_id, reward, lease_token, accepted_at, lease_until)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
	" ON CONFLICT (performer_id, task_id) DO NOTHING",
	10, {INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
	TIMESTAMPTZOID, TIMESTAMPTZOID}
};

/* columns of taskex.assignment */
typedef struct Accepted
{
	Datum		values[7];
	bool		nulls[7];
} Accepted;

/* the slot just taken, as RETURNING has it: copied to the given context */
typedef struct Slot
{
	int64		task_id;
	int64		task_type;
	int64		requester_id;
	int64		reward;
	Datum		input;
	int32		left;
} Slot;

static void
read_slot(Slot *slot, int64 task_id)
{
	bool		isnull;

	slot->task_id = task_id;
	slot->task_type = spi_int64(0, 1);
	slot->requester_id = spi_int64(0, 2);
	slot->reward = spi_int64(0, 3);
	slot->input = SPI_datumTransfer(spi_value(0, 4, &isnull), false, -1);
	slot->left = spi_int32(0, 5);
}

/* inserts the assignment; false if the performer had the task before */
static bool
insert(const UserHome *performer, const Slot *slot, TimestampTz now, Accepted *accepted)
{
	const TaskType *type = task_type_get(slot->task_type);
	TimestampTz lease_until = after_interval(now, &type->lease);
	int64		assignment_id = ids_next(ID_ASSIGNMENT, 1);
	int64		token = ids_next(ID_LEASE, 1);
	Datum		values[10] = {Int32GetDatum(performer->partition), Int64GetDatum(assignment_id),
		Int64GetDatum(performer->user_id), Int64GetDatum(slot->task_id),
		Int64GetDatum(slot->task_type), Int64GetDatum(slot->requester_id),
		Int64GetDatum(slot->reward), Int64GetDatum(token),
	TimestampTzGetDatum(now), TimestampTzGetDatum(lease_until)};

	if (spi_run(&insert_assignment, performer->partition, values, NULL, SPI_VIEW_CURRENT, 0) == 0)
		return false;
	due_note(performer->partition, DUE_LEASE, lease_until);

	accepted->values[0] = Int64GetDatum(assignment_id);
	accepted->values[1] = Int64GetDatum(slot->task_id);
	accepted->values[2] = Int64GetDatum(slot->task_type);
	accepted->values[3] = slot->input;
	accepted->values[4] = NumericGetDatum(ledger_numeric(slot->reward));
	accepted->values[5] = Int64GetDatum(token);
	accepted->values[6] = TimestampTzGetDatum(lease_until);
	memset(accepted->nulls, 0, sizeof(accepted->nulls));
	return true;
}

/* ---- a given task ---- */

/* says why the task could not be taken */
static void
report_unavailable(const UserHome *performer, int32 partition, int64 task_id, TimestampTz now)
{
	Datum		values[1] = {Int64GetDatum(task_id)};
	char	   *state;
	bool		isnull;
	bool		expired;

	if (spi_run(&select_task, partition, values, NULL, SPI_VIEW_CURRENT, 1) == 0)
		return;
	state = TextDatumGetCString(spi_value(0, 2, &isnull));
	expired = DatumGetTimestampTz(spi_value(0, 3, &isnull)) <= now;
	ereport(ERROR,
			(errcode(ERRCODE_TX_TASK_NOT_AVAILABLE),
			 errmsg("task %lld is not available", (long long) task_id),
			 strcmp(state, "open") != 0 ? errdetail("Its state is \"%s\".", state) :
			 expired ? errdetail("It has expired.") :
			 errdetail("As many performers as it wants have it."),
			 errhint("taskex.accept_next() takes a task that is available.")));
}

static void
check_acceptable(const UserHome *performer, int32 partition, int64 task_id)
{
	Datum		values[2] = {Int64GetDatum(performer->user_id), Int64GetDatum(task_id)};

	if (spi_run(&select_task, partition, &values[1], NULL, SPI_VIEW_CURRENT, 1) == 1 &&
		spi_int64(0, 1) == performer->user_id)
		ereport(ERROR,
				(errcode(ERRCODE_TX_OWN_TASK),
				 errmsg("task %lld is the performer's own", (long long) task_id)));
	if (spi_run(&select_had, performer->partition, values, NULL, SPI_VIEW_CURRENT, 1) == 1)
		ereport(ERROR,
				(errcode(ERRCODE_TX_ALREADY_ASSIGNED),
				 errmsg("the performer has or had task %lld already", (long long) task_id),
				 errdetail("A task is given to the same performer once.")));
}

/* takes the task on one of the partitions where its id says that it may be */
static bool
take_named(const UserHome *performer, int64 task_id, TimestampTz now, Slot *slot)
{
	int32	   *partitions;
	int			count = directory_partitions_like(task_id % TASK_ID_STEP, TASK_ID_STEP, &partitions);
	Datum		values[2] = {Int64GetDatum(task_id), TimestampTzGetDatum(now)};

	for (int i = 0; i < count; i++)
	{
		check_acceptable(performer, partitions[i], task_id);
		if (spi_run(&take_named_slot, partitions[i], values, NULL, SPI_VIEW_CURRENT, 0) == 1)
		{
			read_slot(slot, task_id);
			return true;
		}
		report_unavailable(performer, partitions[i], task_id, now);
	}
	return false;
}

PG_FUNCTION_INFO_V1(taskex_accept_task);

Datum
taskex_accept_task(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"performer", "task_id", NULL};
	UserHome	performer;
	int64		task_id;
	TimestampTz now = clock_now();
	Accepted	accepted;
	TupleDesc	desc;
	Slot		slot;
	SpiScope	scope;

	require_args(fcinfo, names);
	directory_actor(PG_GETARG_TEXT_PP(0), &performer);
	task_id = PG_GETARG_INT64(1);

	spi_begin(&scope);
	if (task_id <= 0 || !take_named(&performer, task_id, now, &slot))
		ereport(ERROR,
				(errcode(ERRCODE_TX_UNKNOWN_TASK),
				 errmsg("task %lld does not exist", (long long) task_id)));
	if (!insert(&performer, &slot, now, &accepted))
		ereport(ERROR,
				(errcode(ERRCODE_TX_ALREADY_ASSIGNED),
				 errmsg("the performer has or had task %lld already", (long long) task_id),
				 errdetail("A task is given to the same performer once.")));
	spi_end(&scope);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	accepted.values[4] = NumericGetDatum(ledger_numeric(slot.reward));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  accepted.values, accepted.nulls)));
}

/* ---- the next task ---- */

/* tries one candidate */
static bool
try_candidate(const UserHome *performer, FeedScan *scan, int64 task_id, bool maybe_had,
			  TimestampTz now, Slot *slot, Accepted *accepted)
{
	Datum		values[2] = {Int64GetDatum(task_id), TimestampTzGetDatum(now)};
	Datum		had[2] = {Int64GetDatum(performer->user_id), Int64GetDatum(task_id)};

	if (maybe_had &&
		spi_run(&select_had, performer->partition, had, NULL, SPI_VIEW_CURRENT, 1) == 1)
		return false;
	if (!feed_claim(scan->shelf, task_id))
		return false;
	wait_point("claimed");
	if (spi_run(&take_slot, scan->partition, values, NULL, SPI_VIEW_CURRENT, 0) == 0)
	{
		feed_claim_failed(task_id);
		return false;
	}
	read_slot(slot, task_id);
	feed_claimed(task_id, slot->left);
	if (!insert(performer, slot, now, accepted))
	{
		/* another session of his took it just now */
		spi_run(&give_slot_back, scan->partition, values, NULL, SPI_VIEW_CURRENT, 0);
		feed_claimed(task_id, slot->left + 1);
		return false;
	}
	return true;
}

/* looks through the windows of a shelf until a task is taken */
static bool
take_from_shelf(const UserHome *performer, Shelf *shelf, int64 task_type,
				TimestampTz now, Slot *slot, Accepted *accepted)
{
	FeedScan	scan;
	bool		more = feed_scan_begin(&scan, shelf, task_type, performer->user_id);

	while (more)
	{
		Datum		values[5] = {Int64GetDatum(scan.task_type), Int64GetDatum(scan.after),
			Int64GetDatum(scan.upto), TimestampTzGetDatum(now), Int64GetDatum(performer->user_id)};
		uint64		count = spi_run(&select_candidates, scan.partition, values, NULL, SPI_VIEW_CURRENT, 0);
		int64		candidates[CANDIDATES];
		bool		maybe_had[CANDIDATES];

		CHECK_FOR_INTERRUPTS();
		for (uint64 i = 0; i < count; i++)
		{
			/* a free task that wants one performer was had only if it came back */
			candidates[i] = spi_int64(i, 1);
			maybe_had[i] = scan.in_range || spi_int32(i, 2) > 1;
		}
		for (uint64 i = 0; i < count; i++)
			if (try_candidate(performer, &scan, candidates[i], maybe_had[i], now, slot, accepted))
			{
				feed_scan_took(&scan, candidates[i]);
				return true;
			}
		if (count == CANDIDATES && candidates[CANDIDATES - 1] < scan.upto)
			scan.after = candidates[CANDIDATES - 1];
		else
			more = feed_scan_next(&scan);
	}
	return false;
}

PG_FUNCTION_INFO_V1(taskex_accept_next);

Datum
taskex_accept_next(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	UserHome	performer;
	int64		task_type = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
	int32		wanted;
	TimestampTz now = clock_now();
	Shelf	  **shelves;
	int			shelf_count;
	SpiScope	scope;

	require_arg(fcinfo, 0, "performer");
	require_arg(fcinfo, 2, "count");
	directory_actor(PG_GETARG_TEXT_PP(0), &performer);
	if (!PG_ARGISNULL(1))
		task_type_get(task_type);
	wanted = PG_GETARG_INT32(2);
	if (wanted < 1 || wanted > COUNT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("count must be between 1 and %d", COUNT_MAX)));
	InitMaterializedSRF(fcinfo, 0);

	shelf_count = feed_shelves(task_type, &shelves);
	spi_begin(&scope);
	for (int i = 0; i < shelf_count && wanted > 0; i++)
	{
		Slot		slot;
		Accepted	accepted;

		while (wanted > 0 &&
			   take_from_shelf(&performer, shelves[i], task_type, now, &slot, &accepted))
		{
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc,
								 accepted.values, accepted.nulls);
			wanted--;
		}
	}
	spi_end(&scope);
	return (Datum) 0;
}
