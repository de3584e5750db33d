/*
 * assignment.c
 *	  What a performer does with an assignment: extend, return, submit.
 *
 * Each act locks the assignment's row and then looks whether it may happen, so
 * that of two sessions, or of a performer and the conductor that ends his
 * lease, one wins.  A submission looks first and changes the row without locking it,
 * if nobody has changed it since.
 */
#include "postgres.h"

#include "market/market.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "directory/meter.h"
#include "infra/waitpoint.h"
#include "journal/journal.h"
#include "market/consensus.h"
#include "market/rows.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"

#define SUBMIT_MAX 10000

/* one call's constants */
typedef struct Holder
{
	UserHome	performer;
	TimestampTz now;
	Child		assignments;	/* on the performer's partition */
	List	   *counted;		/* of CountedTask: they get a new answer */
} Holder;

/* a task whose results are combined when they are submitted */
typedef struct CountedTask
{
	UserHome	requester;
	int64		task_id;
	int64		assignment_id;
} CountedTask;

static void
holder_begin(Holder *holder, const text *login, const char *function)
{
	PreventCommandIfReadOnly(function);
	directory_actor(login, &holder->performer);
	holder->now = clock_now();
	holder->counted = NIL;
	child_open(&holder->assignments, &assignment_table, holder->performer.partition);
}

static void
holder_end(Holder *holder)
{
	child_close(&holder->assignments);
}

/* is what was found the performer's, under way, and with this token?  As of the snapshot. */
static bool
find_held(Holder *holder, int64 assignment_id, const int64 *token)
{
	Child	   *row = &holder->assignments;

	return child_find(row, ASSIGNMENT_BY_ID, 1, &assignment_id) &&
		child_int64(row, ASSIGNMENT_PERFORMER_ID) == holder->performer.user_id &&
		child_int64(row, ASSIGNMENT_LEASE_UNTIL) > holder->now &&
		child_text_is(row, ASSIGNMENT_STATE, "accepted") &&
		(token == NULL || *token == child_int64(row, ASSIGNMENT_LEASE_TOKEN));
}

/*
 * Locks the performer's assignment, raising an error unless its lease lasts.
 * token: NULL, or what the lease token must be.
 */
static void
lock_held(Holder *holder, int64 assignment_id, const int64 *token)
{
	Child	   *row = &holder->assignments;
	TimestampTz until;
	bool		isnull;

	if (child_lock(row, assignment_id, true) != ROW_LOCKED ||
		child_int64(row, ASSIGNMENT_PERFORMER_ID) != holder->performer.user_id)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_ASSIGNMENT),
				 errmsg("the performer has no assignment %lld", (long long) assignment_id)));

	until = child_int64(row, ASSIGNMENT_LEASE_UNTIL);
	if (child_text_is(row, ASSIGNMENT_STATE, "abandoned") ||
		(child_text_is(row, ASSIGNMENT_STATE, "accepted") && until <= holder->now))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_LEASE_EXPIRED),
				 errmsg("the lease on assignment %lld has expired", (long long) assignment_id),
				 errdetail("It ended at %s.", timestamptz_to_str(until)),
				 errhint("taskex.extend_assignment() makes a lease longer before it ends.")));
	if (!child_text_is(row, ASSIGNMENT_STATE, "accepted"))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_WRONG_STATE),
				 errmsg("assignment %lld is not under way", (long long) assignment_id),
				 errdetail("Its state is \"%s\".",
						   TextDatumGetCString(slot_getattr(row->slot, ASSIGNMENT_STATE, &isnull)))));
	if (token && *token != child_int64(row, ASSIGNMENT_LEASE_TOKEN))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_STALE_TOKEN),
				 errmsg("the lease token for assignment %lld is not valid", (long long) assignment_id),
				 errdetail("Another lease has taken its place, or it never was one.")));
}

/* amount: what the slot of a closed task gave back to the requester, else -1 */
static void
journal_end(Child *assignment, const char *kind, int64 amount)
{
	JournalAct	act = {.kind = kind,.amount = Max(amount, 0)};

	act.requester_id = child_int64(assignment, ASSIGNMENT_REQUESTER_ID);
	act.performer_id = child_int64(assignment, ASSIGNMENT_PERFORMER_ID);
	act.task_type_id = child_int64(assignment, ASSIGNMENT_TASK_TYPE_ID);
	act.task_id = child_int64(assignment, ASSIGNMENT_TASK_ID);
	act.assignment_id = child_int64(assignment, ASSIGNMENT_ASSIGNMENT_ID);
	if (amount >= 0)
		act.detail = journal_slots(1);
	journal_write(&act);
}

/* the end of the assignment that was found, as the performer wants it; false: it was not locked, and has changed */
static bool
finish(Holder *holder, bool locked, const char *state)
{
	static const int columns[2] = {ASSIGNMENT_FINISHED_AT, ASSIGNMENT_STATE};
	Datum		values[2] = {TimestampTzGetDatum(holder->now), CStringGetTextDatum(state)};
	bool		nulls[2] = {false, false};

	if (!locked)
		return child_try_update(&holder->assignments, 2, columns, values, nulls);
	child_update(&holder->assignments, 2, columns, values, nulls);
	return true;
}

/* extend_assignment(performer, assignment_id, by) -> timestamptz */
METERED(taskex_extend_assignment)
{
	static const char *const names[] = {"performer", "assignment_id", "by", NULL};
	static const int columns[1] = {ASSIGNMENT_LEASE_UNTIL};
	Holder		holder;
	TimestampTz until;
	Datum		value;
	bool		isnull = false;

	require_args(fcinfo, names);
	check_interval(PG_GETARG_INTERVAL_P(2), "by", 1000, 366);
	holder_begin(&holder, PG_GETARG_TEXT_PP(0), "extend_assignment()");
	wait_point("extend");
	lock_held(&holder, PG_GETARG_INT64(1), NULL);
	until = after_interval(child_int64(&holder.assignments, ASSIGNMENT_LEASE_UNTIL),
						   PG_GETARG_INTERVAL_P(2));
	value = TimestampTzGetDatum(until);
	child_update(&holder.assignments, 1, columns, &value, &isnull);
	due_note(holder.performer.partition, DUE_LEASE, until);
	holder_end(&holder);
	PG_RETURN_TIMESTAMPTZ(until);
}

/* return_assignment(performer, assignment_id) */
METERED(taskex_return_assignment)
{
	static const char *const names[] = {"performer", "assignment_id", NULL};
	Holder		holder;
	FreedSlot	slot;

	require_args(fcinfo, names);
	holder_begin(&holder, PG_GETARG_TEXT_PP(0), "return_assignment()");
	wait_point("return");
	lock_held(&holder, PG_GETARG_INT64(1), NULL);
	slot.task_id = child_int64(&holder.assignments, ASSIGNMENT_TASK_ID);
	slot.task_type = child_int64(&holder.assignments, ASSIGNMENT_TASK_TYPE_ID);
	directory_home_by_id(child_int64(&holder.assignments, ASSIGNMENT_REQUESTER_ID), &slot.requester);
	(void) finish(&holder, true, "returned");
	journal_end(&holder.assignments, "returned", slot_free(&slot));
	holder_end(&holder);
	PG_RETURN_VOID();
}

static int
compare_counted(const ListCell *a, const ListCell *b)
{
	int64		x = ((const CountedTask *) lfirst(a))->task_id;
	int64		y = ((const CountedTask *) lfirst(b))->task_id;

	return x < y ? -1 : x > y;
}

/* new answers of the tasks, locked in the order of their ids as by everybody else */
static void
count_results(Holder *holder)
{
	ListCell   *cell;

	list_sort(holder->counted, compare_counted);
	foreach(cell, holder->counted)
	{
		CountedTask *task = lfirst(cell);

		consensus_update(&task->requester, task->task_id, holder->performer.user_id, task->assignment_id);
	}
}

static void
note_counted(Holder *holder, const UserHome *requester)
{
	CountedTask *task = palloc(sizeof(CountedTask));

	task->requester = *requester;
	task->task_id = child_int64(&holder->assignments, ASSIGNMENT_TASK_ID);
	task->assignment_id = child_int64(&holder->assignments, ASSIGNMENT_ASSIGNMENT_ID);
	holder->counted = lappend(holder->counted, task);
}

/* the result of the locked assignment, to the requester's partition */
static void
forward_result(Holder *holder, Datum result)
{
	Child	   *assignment = &holder->assignments;
	int64		task_type = child_int64(assignment, ASSIGNMENT_TASK_TYPE_ID);
	TimestampTz approve_at = after_interval(holder->now, &task_type_get(task_type)->auto_approve);
	bool		isnull;
	bool		counted = DatumGetBool(slot_getattr(assignment->slot, ASSIGNMENT_COUNTED, &isnull));
	UserHome	requester;
	Child		results;
	Datum		row[RESULT_COLUMNS] = {0};
	bool		nulls[RESULT_COLUMNS] = {false};

	directory_home_by_id(child_int64(assignment, ASSIGNMENT_REQUESTER_ID), &requester);
	row[RESULT_PARTITION_ID - 1] = Int32GetDatum(requester.partition);
	row[RESULT_ASSIGNMENT_ID - 1] = Int64GetDatum(child_int64(assignment, ASSIGNMENT_ASSIGNMENT_ID));
	row[RESULT_TASK_ID - 1] = Int64GetDatum(child_int64(assignment, ASSIGNMENT_TASK_ID));
	row[RESULT_TASK_TYPE_ID - 1] = Int64GetDatum(task_type);
	row[RESULT_REQUESTER_ID - 1] = Int64GetDatum(requester.user_id);
	row[RESULT_PERFORMER_ID - 1] = Int64GetDatum(holder->performer.user_id);
	row[RESULT_SUBMITTED_AT - 1] = TimestampTzGetDatum(holder->now);
	row[RESULT_AUTO_APPROVE_AT - 1] = TimestampTzGetDatum(approve_at);
	nulls[RESULT_JUDGED_AT - 1] = true;
	nulls[RESULT_JUDGED_BY - 1] = true;
	nulls[RESULT_RELIABILITY - 1] = !counted;
	if (counted)
	{
		row[RESULT_RELIABILITY - 1] = Float8GetDatum(consensus_reliability(&holder->performer, task_type));
		note_counted(holder, &requester);
	}
	row[RESULT_REOPENED - 1] = BoolGetDatum(false);
	row[RESULT_STATE - 1] = CStringGetTextDatum("submitted");
	nulls[RESULT_FEEDBACK - 1] = true;
	row[RESULT_RESULT - 1] = result;

	child_open(&results, &result_table, requester.partition);
	child_insert(&results, row, nulls);
	child_close(&results);
	due_note(requester.partition, DUE_REVIEW, approve_at);
}

static void
submit(Holder *holder, int64 assignment_id, Datum result, const int64 *token)
{
	bool		locked;

	wait_point("submit");
	locked = !find_held(holder, assignment_id, token);
	if (locked)
		lock_held(holder, assignment_id, token);	/* perhaps it says why not */

	/* nobody but the performer waits for this row, and nothing has changed yet */
	format_check_result(task_type_get(child_int64(&holder->assignments, ASSIGNMENT_TASK_TYPE_ID)),
						assignment_id, result);
	if (!finish(holder, locked, "submitted"))
	{
		lock_held(holder, assignment_id, token);
		(void) finish(holder, true, "submitted");
	}
	forward_result(holder, result);
	journal_end(&holder->assignments, "submitted", -1);
}

/* submit_assignment(performer, assignment_id, result, lease_token) */
METERED(taskex_submit_assignment)
{
	static const char *const names[] = {"performer", "assignment_id", "result", NULL};
	Holder		holder;
	int64		token = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3);

	require_args(fcinfo, names);
	check_json_size(PG_GETARG_DATUM(2), "result");
	holder_begin(&holder, PG_GETARG_TEXT_PP(0), "submit_assignment()");
	submit(&holder, PG_GETARG_INT64(1), PG_GETARG_DATUM(2), PG_ARGISNULL(3) ? NULL : &token);
	count_results(&holder);
	holder_end(&holder);
	PG_RETURN_VOID();
}

static int
compare_ids(const void *a, const void *b)
{
	int64		x = DatumGetInt64(*(const Datum *) a);
	int64		y = DatumGetInt64(*(const Datum *) b);

	return x < y ? -1 : x > y;
}

METERED(taskex_submit_assignments)
{
	static const char *const names[] = {"performer", "assignment_ids", "results", NULL};
	Holder		holder;
	Datum	   *ids;
	Datum	   *results;
	bool	   *id_nulls;
	bool	   *result_nulls;
	int			count;
	int			result_count;
	Datum	   *pairs;

	require_args(fcinfo, names);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), INT8OID, 8, true, TYPALIGN_DOUBLE, &ids, &id_nulls, &count);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), JSONBOID, -1, false, TYPALIGN_INT,
					  &results, &result_nulls, &result_count);
	if (count != result_count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("assignment_ids and results must have the same length"),
				 errdetail("There are %d ids and %d results.", count, result_count)));
	if (count > SUBMIT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many results: %d", count),
				 errhint("Submit at most %d results with one call.", SUBMIT_MAX)));

	pairs = palloc(sizeof(Datum) * 2 * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (id_nulls[i] || result_nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("assignment_ids and results must not contain nulls"),
					 errdetail("Element %d is null.", i + 1)));
		check_json_size(results[i], "result");
		pairs[2 * i] = ids[i];
		pairs[2 * i + 1] = results[i];
	}
	/* rows are locked in the order of their ids, as by everybody else */
	qsort(pairs, count, sizeof(Datum) * 2, compare_ids);

	holder_begin(&holder, PG_GETARG_TEXT_PP(0), "submit_assignments()");
	for (int i = 0; i < count; i++)
		submit(&holder, DatumGetInt64(pairs[2 * i]), pairs[2 * i + 1], NULL);
	count_results(&holder);
	holder_end(&holder);
	PG_RETURN_INT32(count);
}
