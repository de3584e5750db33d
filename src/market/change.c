/*
 * change.c
 *	  What a requester changes about a task that he has supplied: more
 *	  performers, another expiry, another type; cancelling.
 *
 * Each act locks the task's row and then looks whether it may happen.  What a
 * task needs in escrow follows from its row (README.md), so each act knows
 * what to hold in addition, or to give back.
 */
#include "postgres.h"

#include "market/change.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "directory/meter.h"
#include "infra/ids.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "journal/journal.h"
#include "ledger/ledger.h"
#include "market/consensus.h"
#include "market/rows.h"
#include "market/source.h"
#include "qualification/requirement.h"

#include "catalog/pg_type.h"
#include "common/int.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"

#define EXPIRES_IN_MAX_DAYS 3660
#define CANCEL_MAX 100000

void
change_lock(Change *change, int64 task_id)
{
	Child	   *tasks = &change->tasks;
	bool		isnull;

	change->task_id = task_id;
	wait_point("change");
	if (child_lock(tasks, task_id, true) != ROW_LOCKED ||
		child_int64(tasks, TASK_REQUESTER_ID) != change->requester.user_id)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_TASK),
				 errmsg("the requester has no task %lld", (long long) task_id)));
	change->state = TextDatumGetCString(slot_getattr(tasks->slot, TASK_STATE, &isnull));
	if (change_in_state(change, "open"))
		(void) source_recall_locked(tasks, task_id);
	change->performers = child_int32(tasks, TASK_PERFORMERS);
	change->live = child_int32(tasks, TASK_LIVE);
	change->judged = child_int32(tasks, TASK_JUDGED);
	change->released = child_int32(tasks, TASK_RELEASED);
	change->task_type = child_int64(tasks, TASK_TASK_TYPE_ID);
	change->reward = child_int64(tasks, TASK_REWARD);
	change->each = change->reward + child_int64(tasks, TASK_FEE);
	change->expires_at = child_int64(tasks, TASK_EXPIRES_AT);
	(void) slot_getattr(tasks->slot, TASK_CONSENSUS, &isnull);
	change->counted = !isnull;
	(void) slot_getattr(tasks->slot, TASK_MIN_PERFORMERS, &isnull);
	change->dynamic = !isnull;
	change->count = 0;
}

void
change_open(Change *change, FunctionCallInfo fcinfo, const char *function)
{
	PreventCommandIfReadOnly(function);
	directory_actor(PG_GETARG_TEXT_PP(0), &change->requester);
	change->now = clock_now();
	child_open(&change->tasks, &task_table, change->requester.partition);
}

static void
change_begin(Change *change, FunctionCallInfo fcinfo, const char *function)
{
	change_open(change, fcinfo, function);
	change_lock(change, PG_GETARG_INT64(1));
}

static void
change_column(Change *change, int column, Datum value)
{
	Assert(change->count < CHANGES_MAX);
	change->columns[change->count] = column;
	change->nulls[change->count] = false;
	change->values[change->count++] = value;
}

static void
change_to_null(Change *change, int column)
{
	change_column(change, column, (Datum) 0);
	change->nulls[change->count - 1] = true;
}

static void
change_store(Change *change)
{
	child_update(&change->tasks, change->count, change->columns, change->values, change->nulls);
}

bool
change_in_state(const Change *change, const char *state)
{
	return strcmp(change->state, state) == 0;
}

void
change_wrong_state(const Change *change, const char *what, const char *hint)
{
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_WRONG_STATE),
			 errmsg("task %lld %s", (long long) change->task_id, what),
			 errdetail("Its state is \"%s\", and %d of %d slots are taken, %d of them judged.",
					   change_in_state(change, "open") ? change->expires_at <= change->now ? "expired" : "available" : change->state,
					   change->live, change->performers, change->judged),
			 hint ? errhint("%s", hint) : 0));
}

void
change_journal(const Change *change, const char *kind, int64 amount, Jsonb *detail)
{
	JournalAct	act = {.kind = kind, .requester_id = change->requester.user_id,
		.task_type_id = change->task_type, .task_id = change->task_id,
	.amount = amount, .detail = detail};

	journal_write(&act);
}

/* money for more slots of the task */
static void
change_hold(const Change *change, int64 amount)
{
	int64		type = change->task_type < 0 ? -change->task_type : change->task_type;

	if (amount > 0)
		ledger_hold_more(&change->requester, type, amount, change->task_id);
}

static void
change_release(const Change *change, int64 amount)
{
	if (amount > 0)
		ledger_release(&change->requester, amount, change->task_id);
}

/* ---- opening a closed task ---- */

/*
 * The row as it is to be when the task is open again, or complete if nothing
 * is left to do.
 */
static void
reopen_begin(Change *change, bool complete)
{
	change_column(change, TASK_RELEASED, Int32GetDatum(0));
	change_column(change, TASK_STATE, CStringGetTextDatum(complete ? "complete" : "open"));
	change_column(change, TASK_REVIEWING, BoolGetDatum(false));

	/* it said that no further result would come */
	if (change->counted && !complete)
		change_to_null(change, TASK_TALLY);
}

/* when the row is stored */
static void
reopen_end(Change *change)
{
	if (change->counted)
		consensus_update(&change->requester, change->task_id, 0, 0);
	feed_reopen(change->task_type, change->requester.partition, change->task_id);
}

/* ---- more performers ---- */

static bytea *
performers_hash(int64 task_id, int32 count)
{
	const void *data[3] = {"add_performers", &task_id, &count};
	const Size	sizes[3] = {strlen("add_performers"), sizeof(int64), sizeof(int32)};

	return request_hash(data, sizes, 3);
}

/*
 * The task's fee is that of its plurality when it was supplied: nobody gets the
 * fee of few performers for many by asking for them one after another.
 */
static void
check_fee(const Change *change, int32 before, int32 performers)
{
	int64		requester = change->requester.user_id;
	int64		fee = ledger_fee(FEE_REWARD, requester, change->task_type, performers, change->reward);

	if (fee > change->each - change->reward &&
		fee > ledger_fee(FEE_REWARD, requester, change->task_type, before, change->reward))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("task %lld cannot have so many performers", (long long) change->task_id),
				 errdetail("The exchange's fee is higher for tasks with %d performers.", performers),
				 errhint("Supply a new task.")));
}

/*
 * A task that was closed with slots to spare is opened for just so many as are
 * added: it then wants those who have it, or had it to the end, and these.
 */
static int32
add_to(Change *change, int32 count)
{
	bool		open = change_in_state(change, "open");
	int32		performers = (open ? change->performers : change->live) + count;
	int64		amount = ledger_multiply(change->each, count, "total reward");
	int32		most = change->counted ? CONSENSUS_MAX_PERFORMERS : PERFORMERS_MAX;
	static const char *const names[] = {"performers"};
	int64		added = count;

	if (performers > most)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a task%s can have at most %d performers",
						change->counted ? " with a consensus" : "", most),
				 errdetail("It would have %d.", performers)));

	/* all that the task may give back at once can be counted */
	(void) ledger_multiply(change->each, performers, "total reward");
	check_fee(change, change->performers, performers);
	change_hold(change, amount);
	change_column(change, TASK_PERFORMERS, Int32GetDatum(performers));
	if (!open)
	{
		reopen_begin(change, false);

		/* who asks for more is not to be told that it is sure enough already */
		if (change->dynamic)
			change_column(change, TASK_MIN_PERFORMERS, Int32GetDatum(performers));
	}
	change_store(change);
	if (open)
	{
		feed_reoffer(change->task_type, change->requester.partition, change->task_id);

		/* more may be needed now, and an answer that was final is so no more */
		if (change->counted)
			consensus_update(&change->requester, change->task_id, 0, 0);
	}
	else
	{
		reopen_end(change);
		due_note(change->requester.partition, DUE_EXPIRY, change->expires_at);
	}
	change_journal(change, "extended", amount, journal_numbers(1, names, &added));
	return performers;
}

/* add_performers(requester, task_id, count, idempotency_key) -> int */
METERED(taskex_add_performers)
{
	static const char *const names[] = {"requester", "task_id", "count", NULL};
	Change		change;
	int32		count;
	int64		task_id;
	int32		performers;
	bool		again = false;

	require_args(fcinfo, names);
	count = PG_GETARG_INT32(2);
	if (count < 1 || count > PERFORMERS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("count must be between 1 and %d", PERFORMERS_MAX)));
	change_open(&change, fcinfo, "add_performers()");
	task_id = PG_GETARG_INT64(1);
	if (!PG_ARGISNULL(3))
		again = supply_key_used(&change.requester, PG_GETARG_TEXT_PP(3),
								performers_hash(task_id, count), 1, &task_id);
	change_lock(&change, task_id);
	if (again)
		performers = change.performers;
	else
	{
		if (change.expires_at <= change.now)
			change_wrong_state(&change, "has expired", "taskex.set_expiry() gives it more time.");
		if (change_in_state(&change, "cancelled") || change_in_state(&change, "disposed"))
			change_wrong_state(&change, "is closed for good", "Supply a new task.");
		performers = add_to(&change, count);
	}
	child_close(&change.tasks);
	PG_RETURN_INT32(performers);
}

/* ---- another expiry ---- */

static Jsonb *
expiry_detail(TimestampTz expires_at, int32 slots)
{
	char		buffer[MAXDATELEN + 1];
	char	   *json = psprintf("{%s\"expires_at\": \"%s\"}",
								slots > 0 ? psprintf("\"performers\": %d, ", slots) : "",
								JsonEncodeDateTime(buffer, TimestampTzGetDatum(expires_at), TIMESTAMPTZOID, NULL));

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
}

/* an expired task is open again, with all the slots that it had left */
static void
move_expiry(Change *change, TimestampTz expires_at)
{
	int32		partition = change->requester.partition;
	bool		expired = change_in_state(change, "expired");
	bool		complete = change->judged == change->performers;
	int64		amount = expired ? ledger_multiply(change->each, change->released, "total reward") : 0;

	change_hold(change, amount);
	change_column(change, TASK_EXPIRES_AT, TimestampTzGetDatum(expires_at));
	if (expired)
		reopen_begin(change, complete);
	change_store(change);
	if (expired && !complete)
		reopen_end(change);
	else if (change_in_state(change, "open") && change->expires_at <= change->now)
		feed_reoffer(change->task_type, partition, change->task_id);	/* performers have passed it */
	due_note(partition, DUE_EXPIRY, expires_at);
	change_journal(change, "extended", amount, expiry_detail(expires_at, expired ? change->released : 0));
}

/* set_expiry(requester, task_id, expires_at) */
METERED(taskex_set_expiry)
{
	static const char *const names[] = {"requester", "task_id", "expires_at", NULL};
	Change		change;
	TimestampTz expires_at;

	require_args(fcinfo, names);
	expires_at = PG_GETARG_TIMESTAMPTZ(2);
	change_begin(&change, fcinfo, "set_expiry()");
	if (expires_at > change.now + EXPIRES_IN_MAX_DAYS * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("expires_at is out of range"),
				 errdetail("It must be at most %d days from now.", EXPIRES_IN_MAX_DAYS)));
	if (change_in_state(&change, "cancelled") || change_in_state(&change, "disposed"))
		change_wrong_state(&change, "is closed for good", "Supply a new task.");
	if (expires_at > change.now)
		move_expiry(&change, expires_at);
	else if (change_in_state(&change, "open"))
		task_close(&change.requester, change.task_id, "expired", false);
	else
		change_wrong_state(&change, "is closed already", "A time to come opens an expired task again.");
	child_close(&change.tasks);
	PG_RETURN_VOID();
}

/* ---- cancelling ---- */

static void
cancel(Change *change)
{
	int32		free = change_in_state(change, "open") ? change->performers - change->live : 0;
	int64		amount = change->each * free;

	change_column(change, TASK_RELEASED, Int32GetDatum(change->released + free));
	change_column(change, TASK_STATE, CStringGetTextDatum("cancelled"));
	change_store(change);
	if (change_in_state(change, "open"))
		feed_took(change->task_type, change->requester.partition, change->task_id, 0);
	change_release(change, amount);
	change_journal(change, "cancelled", amount, free > 0 ? journal_slots(free) : NULL);
}

/* cancel_task(requester, task_id) */
METERED(taskex_cancel_task)
{
	static const char *const names[] = {"requester", "task_id", NULL};
	Change		change;

	require_args(fcinfo, names);
	change_begin(&change, fcinfo, "cancel_task()");
	if (!change_in_state(&change, "open") && !change_in_state(&change, "expired") && !change_in_state(&change, "decided"))
		change_wrong_state(&change, "is closed for good already", NULL);
	cancel(&change);
	child_close(&change.tasks);
	PG_RETURN_VOID();
}

/*
 * $2, $3: of a type, of these; NULL: any.  No open task is up to the stored
 * low, so finished ones need not be searched.
 */
static Statement select_open = {
	"SELECT task_id FROM _taskex.task_%p t WHERE requester_id = $1 AND state = 'open'"
	" AND task_type_id = $2 AND task_id > coalesce((SELECT least(o.low, n.low) FROM _taskex.offer o CROSS JOIN"
	"  (SELECT min(low) AS low FROM _taskex.offer_note WHERE task_type_id = $2 AND partition_id = $3) n"
	"  WHERE o.task_type_id = $2 AND o.partition_id = $3), 0)"
	" ORDER BY task_id",
	3, {INT8OID, INT8OID, INT4OID}
};

/* the requester's open tasks of a type */
static int64 *
open_tasks(const UserHome *requester, int64 task_type, int *count)
{
	Datum		values[3] = {Int64GetDatum(requester->user_id), Int64GetDatum(task_type),
	Int32GetDatum(requester->partition)};
	MemoryContext context = CurrentMemoryContext;
	SpiScope	scope;
	int64	   *ids;

	spi_begin(&scope);
	*count = (int) spi_run(&select_open, requester->partition, values, NULL, SPI_VIEW_CURRENT, CANCEL_MAX + 1);
	ids = MemoryContextAlloc(context, sizeof(int64) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
		ids[i] = spi_int64(i, 1);
	spi_end(&scope);
	return ids;
}

static int64 *
given_tasks(ArrayType *array, int *count)
{
	Datum	   *values;
	bool	   *nulls;
	int64	   *ids;

	deconstruct_array(array, INT8OID, 8, true, TYPALIGN_DOUBLE, &values, &nulls, count);
	ids = palloc(sizeof(int64) * Max(*count, 1));
	for (int i = 0; i < *count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("task_ids must not contain nulls"),
					 errdetail("Element %d is null.", i + 1)));
		ids[i] = DatumGetInt64(values[i]);
	}
	/* rows are locked in the order of their ids, as by everybody else */
	qsort(ids, *count, sizeof(int64), ids_compare);
	return ids;
}

/* cancel_tasks(requester, task_type, task_ids) -> int */
METERED(taskex_cancel_tasks)
{
	Change		change;
	int64	   *ids;
	int			count;
	int32		cancelled = 0;

	require_arg(fcinfo, 0, "requester");
	if (PG_ARGISNULL(1) == PG_ARGISNULL(2))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("either task_type or task_ids must be given")));
	change_open(&change, fcinfo, "cancel_tasks()");
	if (PG_ARGISNULL(2))
	{
		task_type_get(PG_GETARG_INT64(1));
		ids = open_tasks(&change.requester, PG_GETARG_INT64(1), &count);
	}
	else
		ids = given_tasks(PG_GETARG_ARRAYTYPE_P(2), &count);
	if (count > CANCEL_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("there are more than %d tasks to cancel", CANCEL_MAX),
				 errhint("Cancel them by task_ids, at most %d with one call.", CANCEL_MAX)));
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		change_lock(&change, ids[i]);
		if (change_in_state(&change, "open"))
		{
			cancel(&change);
			cancelled++;
		}
	}
	child_close(&change.tasks);
	PG_RETURN_INT32(cancelled);
}

/* ---- another type ---- */

static Statement select_result = {
	"SELECT 1 FROM _taskex.result_%p WHERE task_id = $1 LIMIT 1",
	1, {INT8OID}
};

/* one that was rejected and may yet be paid what the task says */
static bool
has_result(const Change *change)
{
	Datum		value = Int64GetDatum(change->task_id);
	SpiScope	scope;
	bool		found;

	spi_begin(&scope);
	found = spi_run(&select_result, change->requester.partition, &value, NULL, SPI_VIEW_CURRENT, 1) > 0;
	spi_end(&scope);
	return found;
}

static void
move_to_type(Change *change, const TaskType *type)
{
	static const char *const names[] = {"from", "slots", "held"};
	int64		old = change->task_type;
	int64		fee = ledger_fee(FEE_REWARD, change->requester.user_id, type->task_type,
								 change->performers, type->reward);
	int32		partition = change->requester.partition;
	int64		needed = change->each * change->performers;
	int64		moved[3] = {old < 0 ? -old : old, change->performers, needed};
	int64		each;
	int64		amount;

	if (pg_add_s64_overflow(type->reward, fee, &each))
		each = PG_INT64_MAX;	/* for ledger_multiply to refuse */
	amount = ledger_multiply(each, change->performers, "total reward");
	change->task_type = old < 0 ? -type->task_type : type->task_type;
	change_column(change, TASK_TASK_TYPE_ID, Int64GetDatum(change->task_type));
	change_column(change, TASK_REWARD, Int64GetDatum(type->reward));
	change_column(change, TASK_FEE, Int64GetDatum(fee));
	change_store(change);
	feed_took(old, partition, change->task_id, 0);
	feed_reopen(change->task_type, partition, change->task_id);

	/* budgets can be of a type, so the money goes all the way */
	change_release(change, needed);
	ledger_hold_moved(&change->requester, type->task_type, amount, change->task_id);
	change_journal(change, "type_changed", amount - needed, journal_numbers(3, names, moved));
}

/* change_task_type(requester, task_id, task_type) */
METERED(taskex_change_task_type)
{
	static const char *const names[] = {"requester", "task_id", "task_type", NULL};
	Change		change;
	TaskType	type;

	require_args(fcinfo, names);
	type = *task_type_get(PG_GETARG_INT64(2));
	change_begin(&change, fcinfo, "change_task_type()");
	if (!change_in_state(&change, "open") || change.expires_at <= change.now)
		change_wrong_state(&change, "is closed", "taskex.set_expiry() opens a task that has expired.");
	if (change.live > 0)
		change_wrong_state(&change, "is under way", "Its type is what those performers agreed to.");
	if (has_result(&change))
		change_wrong_state(&change, "has results already", "They may be approved yet, for the reward of the type.");
	if (type.task_type != change.task_type && type.task_type != -change.task_type)
	{
		requirements_check_supply(type.requirements, change.requester.user_id);
		move_to_type(&change, &type);
	}
	child_close(&change.tasks);
	PG_RETURN_VOID();
}
