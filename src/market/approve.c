/*
 * approve.c
 *	  Approving after all what was rejected, and several results at once.
 */
#include "postgres.h"

#include "market/consensus.h"
#include "market/market.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "directory/meter.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "journal/journal.h"
#include "ledger/ledger.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define APPROVE_MAX 10000

/* disputes come before results in the order of row locks */
static Statement lock_dispute = {
	"SELECT FROM _taskex.dispute_%p WHERE assignment_id = $1 FOR NO KEY UPDATE",
	1, {INT8OID}
};

static Statement override_result = {
	"UPDATE _taskex.result_%p SET state = 'approved', judged_at = $3, feedback = $4, judged_by = NULL"
	" WHERE assignment_id = $1 AND requester_id = $2 AND state = 'rejected' AND judged_at >= $5"
	" RETURNING task_id, task_type_id, performer_id",
	5, {INT8OID, INT8OID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID}
};

static Statement override_assignment = {
	"UPDATE _taskex.assignment_%p SET state = 'approved' WHERE assignment_id = $1 AND state = 'rejected'",
	1, {INT8OID}
};

static Statement select_price = {
	"SELECT reward, fee, consensus IS NOT NULL FROM _taskex.task_%p WHERE task_id = $1",
	1, {INT8OID}
};

static Statement close_dispute = {
	"WITH closed AS (UPDATE _taskex.dispute_%p SET state = 'upheld', resolved_at = $2,"
	" resolution = 'The requester has approved the assignment.'"
	" WHERE assignment_id = $1 AND state IN ('open', 'answered') RETURNING *)"
	" SELECT _taskex.journal('dispute_closed', requester_id, performer_id, task_type_id, task_id,"
	" assignment_id, 0, jsonb_build_object('dispute', dispute_id, 'outcome', state)) FROM closed",
	2, {INT8OID, TIMESTAMPTZOID}
};

static Statement select_own_task = {
	"SELECT FROM _taskex.task_%p WHERE task_id = $1 AND requester_id = $2",
	2, {INT8OID, INT8OID}
};

static Statement select_submitted = {
	"SELECT assignment_id FROM _taskex.result_%p WHERE task_id = $1 AND state = 'submitted'"
	" ORDER BY assignment_id",
	1, {INT8OID}
};

static void
journal_override(const UserHome *requester, const Payment *payment, int64 task_type, int64 task_id)
{
	static const char *const names[] = {"fee", "held"};
	int64		numbers[2] = {payment->fee, payment->reward + payment->fee};
	JournalAct	act = {.kind = "overridden",.requester_id = requester->user_id,
		.performer_id = payment->performer.user_id,.task_type_id = task_type,.task_id = task_id,
	.assignment_id = payment->assignment_id,.amount = payment->reward};

	if (numbers[1] > 0)
		act.detail = journal_numbers(2, names, numbers);
	journal_write(&act);
}

/*
 * Approves what was rejected.  The money that was held for it has gone back,
 * or on to whoever took the slot that was offered again: the requester pays
 * from what is available, and the task's slots stay as they are.  False if
 * there is no such result, or it was not rejected within the period.
 */
bool
review_override(const UserHome *requester, const Judgement *judgement)
{
	TimestampTz now = clock_now();
	TimestampTz since = judgement->late ? DT_NOBEGIN :
		now - (TimestampTz) guc_override_period * USECS_PER_SEC;
	Datum		values[5] = {Int64GetDatum(judgement->assignment_id), Int64GetDatum(requester->user_id),
	TimestampTzGetDatum(now), PointerGetDatum(judgement->feedback), TimestampTzGetDatum(since)};
	char		nulls[5] = {' ', ' ', ' ', judgement->feedback ? ' ' : 'n', ' '};
	SpiScope	scope;
	Payment		payment;
	int64		task_id;
	int64		task_type;
	bool		counted;
	bool		isnull;

	spi_begin(&scope);
	spi_run(&lock_dispute, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0);
	wait_point("override");
	if (spi_run(&override_result, requester->partition, values, nulls, SPI_VIEW_CURRENT, 0) == 0)
	{
		spi_end(&scope);
		return false;
	}
	task_id = spi_int64(0, 1);
	task_type = spi_int64(0, 2);
	directory_home_by_id(spi_int64(0, 3), &payment.performer);
	if (spi_run(&override_assignment, payment.performer.partition, values, NULL, SPI_VIEW_CURRENT, 0) != 1)
		elog(ERROR, "assignment %lld does not match its result", (long long) judgement->assignment_id);

	/* also one that was opened while we waited for the result */
	values[1] = values[2];
	spi_run(&close_dispute, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0);

	values[0] = Int64GetDatum(task_id);
	if (spi_run(&select_price, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0) != 1)
		elog(ERROR, "task %lld is missing", (long long) task_id);
	payment.assignment_id = judgement->assignment_id;
	payment.reward = spi_int64(0, 1);
	payment.fee = spi_int64(0, 2);
	counted = DatumGetBool(spi_value(0, 3, &isnull));
	ledger_hold_paid(requester, task_type, payment.reward + payment.fee, task_id);
	ledger_pay(requester, &payment, 1);
	spi_end(&scope);
	if (counted)
		consensus_update(requester, task_id, 0, 0);
	journal_override(requester, &payment, task_type, task_id);
	return true;
}

/* ---- several at once ---- */

static int
compare_ids(const void *a, const void *b)
{
	int64		x = DatumGetInt64(*(const Datum *) a);
	int64		y = DatumGetInt64(*(const Datum *) b);

	return x < y ? -1 : x > y;
}

/* sorted: rows are locked in the order of their ids, as by everybody else */
static int
read_ids(ArrayType *array, Datum **ids)
{
	bool	   *nulls;
	int			count;

	deconstruct_array(array, INT8OID, 8, true, TYPALIGN_DOUBLE, ids, &nulls, &count);
	if (count > APPROVE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many assignments: %d", count),
				 errhint("Approve at most %d with one call.", APPROVE_MAX)));
	for (int i = 0; i < count; i++)
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("assignment_ids must not contain nulls"),
					 errdetail("Element %d is null.", i + 1)));
	qsort(*ids, count, sizeof(Datum), compare_ids);
	return count;
}

/* approve_assignments(requester, assignment_ids, feedback) -> their number */
METERED(taskex_approve_assignments)
{
	static const char *const names[] = {"requester", "assignment_ids", NULL};
	Judgement	judgement = {.state = "approved"};
	UserHome	requester;
	Datum	   *ids;
	int			count;

	require_args(fcinfo, names);
	judgement.feedback = review_feedback(fcinfo, 2);
	directory_actor(PG_GETARG_TEXT_PP(0), &requester);
	PreventCommandIfReadOnly("approve_assignments()");
	count = read_ids(PG_GETARG_ARRAYTYPE_P(1), &ids);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		judgement.assignment_id = DatumGetInt64(ids[i]);
		review_judge_or_fail(&requester, &judgement);
	}
	PG_RETURN_INT32(count);
}

/* palloc'd; raises unknown_task */
static uint64
submitted_of(const UserHome *requester, int64 task_id, const text *login, int64 **ids)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		values[2] = {Int64GetDatum(task_id), Int64GetDatum(requester->user_id)};
	SpiScope	scope;
	uint64		count;

	spi_begin(&scope);
	if (spi_run(&select_own_task, requester->partition, values, NULL, SPI_VIEW_CURRENT, 1) == 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_TASK),
				 errmsg("user \"%s\" has no task %lld", text_to_cstring(login), (long long) task_id)));
	count = spi_run(&select_submitted, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0);
	*ids = MemoryContextAlloc(context, sizeof(int64) * Max(count, 1));
	for (uint64 i = 0; i < count; i++)
		(*ids)[i] = spi_int64(i, 1);
	spi_end(&scope);
	return count;
}

/* approve_task(requester, task_id, feedback) -> number of results approved */
METERED(taskex_approve_task)
{
	static const char *const names[] = {"requester", "task_id", NULL};
	Judgement	judgement = {.state = "approved"};
	UserHome	requester;
	int64	   *ids;
	uint64		count;
	int32		approved = 0;

	require_args(fcinfo, names);
	judgement.feedback = review_feedback(fcinfo, 2);
	directory_actor(PG_GETARG_TEXT_PP(0), &requester);
	PreventCommandIfReadOnly("approve_task()");
	count = submitted_of(&requester, PG_GETARG_INT64(1), PG_GETARG_TEXT_PP(0), &ids);
	for (uint64 i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		judgement.assignment_id = ids[i];
		approved += review_judge(&requester, &judgement);
	}
	PG_RETURN_INT32(approved);
}

/* ---- for the functions in sql/review.sql ---- */

PG_FUNCTION_INFO_V1(taskex_judge);

/*
 * _taskex.judge(requester_id, assignment_id, state, feedback, reopen, policy_id):
 * what a review policy does; false if there is nothing to judge (any more)
 */
Datum
taskex_judge(PG_FUNCTION_ARGS)
{
	Judgement	judgement = {0};
	UserHome	requester;

	judgement.assignment_id = PG_GETARG_INT64(1);
	judgement.state = text_to_cstring(PG_GETARG_TEXT_PP(2));
	judgement.feedback = PG_GETARG_TEXT_PP(3);
	judgement.reopen = PG_GETARG_BOOL(4);
	judgement.policy = PG_GETARG_INT64(5);
	directory_home_by_id(PG_GETARG_INT64(0), &requester);
	PG_RETURN_BOOL(review_judge(&requester, &judgement));
}

PG_FUNCTION_INFO_V1(taskex_override);

/*
 * _taskex.override(requester_id, assignment_id, feedback): what an operator
 * decides, however long ago the rejection was
 */
Datum
taskex_override(PG_FUNCTION_ARGS)
{
	Judgement	judgement = {.state = "approved", .override = true, .late = true};
	UserHome	requester;

	judgement.assignment_id = PG_GETARG_INT64(1);
	judgement.feedback = PG_GETARG_TEXT_PP(2);
	directory_home_by_id(PG_GETARG_INT64(0), &requester);
	PG_RETURN_BOOL(review_override(&requester, &judgement));
}
