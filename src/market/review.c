/*
 * review.c
 *	  Judging results: approve and pay, or reject.
 */
#include "postgres.h"

#include "market/market.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "directory/meter.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "journal/journal.h"
#include "ledger/ledger.h"
#include "market/consensus.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

#define FEEDBACK_MAX 10000

/* $6: only what is due for automatic approval */
static Statement judge_result = {
	"UPDATE _taskex.result_%p SET state = $3, judged_at = $4, feedback = $5, judged_by = $7"
	" WHERE assignment_id = $1 AND requester_id = $2 AND state = 'submitted'"
	" AND auto_approve_at <= $6 RETURNING task_id, performer_id",
	7, {INT8OID, INT8OID, TEXTOID, TIMESTAMPTZOID, TEXTOID, TIMESTAMPTZOID, INT8OID}
};

static Statement judge_assignment = {
	"UPDATE _taskex.assignment_%p SET state = $2 WHERE assignment_id = $1 AND state = 'submitted'",
	2, {INT8OID, TEXTOID}
};

/* $2: the slot is offered again if the task is open, else it is judged */
static Statement judge_task = {
	"UPDATE _taskex.task_%p SET"
	" live = live - CASE WHEN $2 AND state = 'open' THEN 1 ELSE 0 END,"
	" judged = judged + CASE WHEN $2 AND state = 'open' THEN 0 ELSE 1 END,"
	" state = CASE WHEN (state = 'decided' OR state = 'open' AND NOT $2) AND judged + released + 1 = performers"
	" THEN 'complete' ELSE state END"
	" WHERE task_id = $1 RETURNING reward, fee, $2 AND state = 'open', state = 'complete', task_type_id,"
	" consensus IS NOT NULL",
	2, {INT8OID, BOOLOID}
};

static Statement note_reopened = {
	"UPDATE _taskex.result_%p SET reopened = true WHERE assignment_id = $1",
	1, {INT8OID}
};

static Statement select_state = {
	"SELECT state, judged_at FROM _taskex.result_%p WHERE assignment_id = $1 AND requester_id = $2",
	2, {INT8OID, INT8OID}
};

static void
add_key(JsonbParseState **state, const char *name)
{
	JsonbValue	item = {.type = jbvString};

	item.val.string.val = unconstify(char *, name);
	item.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &item);
}

static void
add_flag(JsonbParseState **state, const char *name)
{
	JsonbValue	item = {.type = jbvBool};

	add_key(state, name);
	item.val.boolean = true;
	pushJsonbValue(state, WJB_VALUE, &item);
}

static void
add_number(JsonbParseState **state, const char *name, int64 number)
{
	JsonbValue	item = {.type = jbvNumeric};

	add_key(state, name);
	item.val.numeric = int64_to_numeric(number);
	pushJsonbValue(state, WJB_VALUE, &item);
}

/* what the exchange earned goes into the detail, and what else is so */
static Jsonb *
judgement_detail(const Judgement *judgement, int64 fee, bool reopened, bool completed)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	if (fee > 0)
		add_number(&state, "fee", fee);
	if (judgement->policy != 0)
		add_number(&state, "policy", judgement->policy);
	if (judgement->automatic)
		add_flag(&state, "automatic");
	if (reopened)
		add_flag(&state, "reopened");
	if (completed)
		add_flag(&state, "completed");
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}

static void
journal_judgement(const UserHome *requester, const Judgement *judgement, const Payment *payment,
				  int64 task_type, int64 task_id, bool reopened, bool completed)
{
	bool		approved = strcmp(judgement->state, "approved") == 0;
	int64		fee = approved ? payment->fee : 0;
	JournalAct	act = {.kind = judgement->state,.requester_id = requester->user_id,
		.performer_id = payment->performer.user_id,.task_type_id = task_type,
	.task_id = task_id,.assignment_id = judgement->assignment_id};

	if (approved)
		act.amount = payment->reward;
	else if (!reopened)
		act.amount = payment->reward + payment->fee;
	if (fee > 0 || judgement->automatic || judgement->policy != 0 || reopened || completed)
		act.detail = judgement_detail(judgement, fee, reopened, completed);
	journal_write(&act);
}

/*
 * Judges one submitted result and moves the money; false if there is no such
 * result, or nothing to judge.
 */
bool
review_judge(const UserHome *requester, const Judgement *judgement)
{
	TimestampTz now = clock_now();
	bool		approved = strcmp(judgement->state, "approved") == 0;
	Datum		values[7] = {Int64GetDatum(judgement->assignment_id), Int64GetDatum(requester->user_id),
		CStringGetTextDatum(judgement->state), TimestampTzGetDatum(now),
		PointerGetDatum(judgement->feedback),
		TimestampTzGetDatum(judgement->automatic ? now : DT_NOEND),
	Int64GetDatum(judgement->policy)};
	char		nulls[7] = {' ', ' ', ' ', ' ', judgement->feedback ? ' ' : 'n', ' ',
	judgement->automatic || judgement->policy != 0 ? ' ' : 'n'};
	SpiScope	scope;
	Payment		payment;
	int64		task_id;
	int64		task_type;
	bool		reopened;
	bool		completed;
	bool		counted;
	bool		isnull;

	spi_begin(&scope);
	wait_point("judge");
	if (spi_run(&judge_result, requester->partition, values, nulls, SPI_VIEW_CURRENT, 0) == 0)
	{
		spi_end(&scope);
		return false;
	}
	task_id = spi_int64(0, 1);
	directory_home_by_id(spi_int64(0, 2), &payment.performer);

	values[1] = values[2];
	if (spi_run(&judge_assignment, payment.performer.partition, values, NULL, SPI_VIEW_CURRENT, 0) != 1)
		elog(ERROR, "assignment %lld does not match its result", (long long) judgement->assignment_id);

	values[0] = Int64GetDatum(task_id);
	values[1] = BoolGetDatum(judgement->reopen);
	if (spi_run(&judge_task, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0) != 1)
		elog(ERROR, "task %lld is missing", (long long) task_id);
	payment.assignment_id = judgement->assignment_id;
	payment.reward = spi_int64(0, 1);
	payment.fee = spi_int64(0, 2);
	reopened = DatumGetBool(spi_value(0, 3, &isnull));
	completed = DatumGetBool(spi_value(0, 4, &isnull));
	task_type = spi_int64(0, 5);
	counted = DatumGetBool(spi_value(0, 6, &isnull));

	if (approved)
		ledger_pay(requester, &payment, 1);
	else if (reopened)
	{
		values[0] = Int64GetDatum(judgement->assignment_id);
		spi_run(&note_reopened, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0);
		feed_reoffer(task_type, requester->partition, task_id);
	}
	else if (payment.reward + payment.fee > 0)
		ledger_release(requester, payment.reward + payment.fee, task_id);
	spi_end(&scope);

	/* what is rejected counts no more */
	if (counted && !approved)
		consensus_update(requester, task_id, 0, 0);
	journal_judgement(requester, judgement, &payment, task_type, task_id, reopened, completed);
	return true;
}

/* the same, and review_override where that is allowed; explains a failure */
void
review_judge_or_fail(const UserHome *requester, const Judgement *judgement)
{
	Datum		values[2] = {Int64GetDatum(judgement->assignment_id), Int64GetDatum(requester->user_id)};
	SpiScope	scope;
	bool		isnull;
	char	   *state;

	if (review_judge(requester, judgement) ||
		(judgement->override && review_override(requester, judgement)))
		return;

	spi_begin(&scope);
	if (spi_run(&select_state, requester->partition, values, NULL, SPI_VIEW_CURRENT, 1) == 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_ASSIGNMENT),
				 errmsg("no result of assignment %lld was submitted to the requester",
						(long long) judgement->assignment_id)));
	state = TextDatumGetCString(spi_value(0, 1, &isnull));
	if (judgement->override && strcmp(state, "rejected") == 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_TOO_LATE),
				 errmsg("the rejection of assignment %lld is final", (long long) judgement->assignment_id),
				 errdetail("It was rejected at %s.", timestamptz_to_str(DatumGetTimestampTz(spi_value(0, 2, &isnull)))),
				 errhint("taskex.override_period is the time in which a rejection can be overridden.")));
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_WRONG_STATE),
			 errmsg("assignment %lld is not to be judged", (long long) judgement->assignment_id),
			 errdetail("Its state is \"%s\".", state),
			 strcmp(state, "rejected") == 0 && strcmp(judgement->state, "approved") == 0 ?
			 errhint("With override => true a rejected assignment is approved after all.") : 0));
}

/* an argument that may be NULL */
text *
review_feedback(FunctionCallInfo fcinfo, int arg)
{
	text	   *feedback = PG_ARGISNULL(arg) ? NULL : PG_GETARG_TEXT_PP(arg);

	if (feedback && VARSIZE_ANY_EXHDR(feedback) > FEEDBACK_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("feedback must have at most %d bytes", FEEDBACK_MAX)));
	return feedback;
}

/* what both functions have in common */
static void
judge(FunctionCallInfo fcinfo, Judgement *judgement)
{
	UserHome	requester;

	judgement->feedback = review_feedback(fcinfo, 2);
	directory_actor(PG_GETARG_TEXT_PP(0), &requester);
	judgement->assignment_id = PG_GETARG_INT64(1);
	review_judge_or_fail(&requester, judgement);
}

/* approve_assignment(requester, assignment_id, feedback, override) */
METERED(taskex_approve_assignment)
{
	static const char *const names[] = {"requester", "assignment_id", NULL};
	Judgement	judgement = {.state = "approved"};

	require_args(fcinfo, names);
	require_arg(fcinfo, 3, "override");
	judgement.override = PG_GETARG_BOOL(3);
	judge(fcinfo, &judgement);
	PG_RETURN_VOID();
}

METERED(taskex_reject_assignment)
{
	static const char *const names[] = {"requester", "assignment_id", "reason", "reopen", NULL};
	Judgement	judgement = {.state = "rejected"};

	require_args(fcinfo, names);
	if (VARSIZE_ANY_EXHDR(PG_GETARG_TEXT_PP(2)) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("reason must not be empty")));
	judgement.reopen = PG_GETARG_BOOL(3);
	judge(fcinfo, &judgement);
	PG_RETURN_VOID();
}
