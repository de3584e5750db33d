/*
 * write.c
 *	  Rows of the journal.
 *
 * A row goes directly into a segment, without the executor: every act of the
 * market pays for it.  The segment follows from the transaction's id, so that
 * writers need no common state to agree on it, and nobody writes to a segment
 * that has had its time but transactions that have been open since.
 */
#include "postgres.h"

#include "journal/journal.h"
#include "base/args.h"
#include "base/clock.h"
#include "infra/child.h"
#include "infra/ids.h"

#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/xid8.h"

#define SEGMENTS 3
#define SEGMENT_SHIFT 18		/* 262,144 transactions each, then the next */

enum JournalColumn
{
	JOURNAL_ID = 1,
	JOURNAL_XID,
	JOURNAL_AT,
	JOURNAL_REQUESTER_ID,
	JOURNAL_PERFORMER_ID,
	JOURNAL_TASK_TYPE_ID,
	JOURNAL_TASK_ID,
	JOURNAL_ASSIGNMENT_ID,
	JOURNAL_AMOUNT,
	JOURNAL_KIND,
	JOURNAL_DETAIL,
	JOURNAL_COLUMNS = JOURNAL_DETAIL
};

static const char *const journal_columns[JOURNAL_COLUMNS] = {
	"id", "xid", "at", "requester_id", "performer_id", "task_type_id", "task_id",
	"assignment_id", "amount", "kind", "detail"
};

static const ChildTable journal_table = {"journal", JOURNAL_COLUMNS, journal_columns, 0, {{0}}};

static void
set_id(Datum *row, bool *nulls, int column, int64 id)
{
	row[column - 1] = Int64GetDatum(id);
	nulls[column - 1] = id == 0;
}

void
journal_write(const JournalAct *act)
{
	Datum		row[JOURNAL_COLUMNS] = {0};
	bool		nulls[JOURNAL_COLUMNS] = {false};
	FullTransactionId xid = GetTopFullTransactionId();
	Child		segment;

	set_id(row, nulls, JOURNAL_ID, ids_next(ID_JOURNAL, 1));
	row[JOURNAL_XID - 1] = FullTransactionIdGetDatum(xid);
	row[JOURNAL_AT - 1] = TimestampTzGetDatum(clock_now());
	set_id(row, nulls, JOURNAL_REQUESTER_ID, act->requester_id);
	set_id(row, nulls, JOURNAL_PERFORMER_ID, act->performer_id);
	set_id(row, nulls, JOURNAL_TASK_TYPE_ID, Abs(act->task_type_id));
	set_id(row, nulls, JOURNAL_TASK_ID, act->task_id);
	set_id(row, nulls, JOURNAL_ASSIGNMENT_ID, act->assignment_id);
	row[JOURNAL_AMOUNT - 1] = Int64GetDatum(act->amount);
	row[JOURNAL_KIND - 1] = CStringGetTextDatum(act->kind);
	row[JOURNAL_DETAIL - 1] = PointerGetDatum(act->detail);
	nulls[JOURNAL_DETAIL - 1] = act->detail == NULL;

	child_open(&segment, &journal_table,
			   (int32) ((U64FromFullTransactionId(xid) >> SEGMENT_SHIFT) % SEGMENTS));
	child_insert(&segment, row, nulls);
	child_close(&segment);
}

Jsonb *
journal_numbers(int count, const char *const *names, const int64 *values)
{
	JsonbParseState *state = NULL;
	JsonbValue *result;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < count; i++)
	{
		JsonbValue	item;

		item.type = jbvString;
		item.val.string.val = unconstify(char *, names[i]);
		item.val.string.len = strlen(names[i]);
		pushJsonbValue(&state, WJB_KEY, &item);
		item.type = jbvNumeric;
		item.val.numeric = int64_to_numeric(values[i]);
		pushJsonbValue(&state, WJB_VALUE, &item);
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(result);
}

Jsonb *
journal_slots(int64 count)
{
	static const char *const names[1] = {"slots"};

	return journal_numbers(1, names, &count);
}

PG_FUNCTION_INFO_V1(taskex_journal);

/* journal(kind, requester_id, performer_id, task_type_id, task_id, assignment_id, amount, detail) */
Datum
taskex_journal(PG_FUNCTION_ARGS)
{
	JournalAct	act;

	require_arg(fcinfo, 0, "kind");
	PreventCommandIfReadOnly("journal()");
	act.kind = text_to_cstring(PG_GETARG_TEXT_PP(0));
	act.requester_id = PG_ARGISNULL(1) ? 0 : PG_GETARG_INT64(1);
	act.performer_id = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2);
	act.task_type_id = PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3);
	act.task_id = PG_ARGISNULL(4) ? 0 : PG_GETARG_INT64(4);
	act.assignment_id = PG_ARGISNULL(5) ? 0 : PG_GETARG_INT64(5);
	act.amount = PG_ARGISNULL(6) ? 0 : PG_GETARG_INT64(6);
	act.detail = PG_ARGISNULL(7) ? NULL : PG_GETARG_JSONB_P(7);
	journal_write(&act);
	PG_RETURN_VOID();
}
