/*
 * eligible.c
 *	  Whom a task is for: requirements of its type, blocks of its requester.
 */
#include "postgres.h"

#include "market/eligible.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/compat.h"
#include "directory/meter.h"
#include "market/market.h"

#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

bool
eligible_for_type(Eligibility *eligibility, int64 task_type, Guard act)
{
	const TaskType *type = task_type_find(Abs(task_type));	/* golden ones require the same */

	/* a type that is not committed has nothing to be had */
	if (type == NULL)
		return false;
	return type->requirements == NULL || eligibility_meets(eligibility, type->requirements, act);
}

/* types that are read in one statement */
#define LEARN_MAX 256

void
eligible_prepare(Shelf *const *shelves, int count)
{
	int64		unknown[LEARN_MAX];
	int			n = 0;

	for (int i = 0; i < count && n < LEARN_MAX; i++)
	{
		int64		type = Abs(feed_shelf_type(shelves[i]));

		if (type != 0 && !task_type_known(type))
			unknown[n++] = type;
		else if (i == 0)
			return;
	}
	if (n > 1)
		task_types_learn(unknown, n);
}

void
eligible_require(Eligibility *eligibility, int64 task_type, int64 requester, int64 task_id)
{
	const TaskType *type = task_type_get(Abs(task_type));

	eligibility_require_unblocked(eligibility, requester);
	if (type->requirements)
		eligibility_require(eligibility, type->requirements, psprintf("task %lld", (long long) task_id));
}

/* ---- SQL ---- */

/* check_qualifications(performer, task_type) -> setof (requirement, value, met) */
METERED(taskex_check_qualifications)
{
	static const char *const names[] = {"performer", "task_type", NULL};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const Requirements *requirements;
	UserHome	performer;
	Eligibility eligibility;

	require_args(fcinfo, names);
	directory_steady_reader(PG_GETARG_TEXT_PP(0), &performer);
	requirements = task_type_get(PG_GETARG_INT64(1))->requirements;
	InitMaterializedSRF(fcinfo, 0);
	eligibility_begin(&eligibility, &performer, clock_now());
	for (int i = 0; requirements && i < requirements->count; i++)
	{
		const Requirement *requirement = &requirements->items[i];
		char	   *value = eligibility_value(&eligibility, requirement);
		Datum		values[3];
		bool		nulls[3] = {false, value == NULL, false};

		values[0] = JsonbPGetDatum(requirement_json(requirement));
		values[1] = value ? CStringGetTextDatum(value) : (Datum) 0;
		values[2] = BoolGetDatum(eligibility_meets_one(&eligibility, requirement));
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/*
 * What a query asks for thousands of tasks and one performer: kept until
 * another performer is asked for, or another statement begins.
 */
static Eligibility *
eligibility_of_statement(int64 performer_id)
{
	static MemoryContext context = NULL;
	static Eligibility kept;
	static LocalTransactionId transaction = InvalidLocalTransactionId;
	static TimestampTz statement;
	static CommandId command;
	UserHome	performer;
	MemoryContext old;

	if (transaction == MyLocalXid && kept.performer.user_id == performer_id &&
		statement == GetCurrentStatementStartTimestamp() &&
		command == GetCurrentCommandId(false) &&
		(!clock_is_set() || kept.now == clock_now()))
		return &kept;

	transaction = InvalidLocalTransactionId;
	directory_steady_home_by_id(performer_id, &performer);
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "taskex eligibility", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	old = MemoryContextSwitchTo(context);
	eligibility_begin(&kept, &performer, clock_now());
	MemoryContextSwitchTo(old);
	statement = GetCurrentStatementStartTimestamp();
	command = GetCurrentCommandId(false);
	transaction = MyLocalXid;
	return &kept;
}

PG_FUNCTION_INFO_V1(taskex_qualifies);

/* _taskex.qualifies(performer_id, task_type_id, guard) */
Datum
taskex_qualifies(PG_FUNCTION_ARGS)
{
	text	   *guard = PG_GETARG_TEXT_PP(2);
	int			act = name_index(guard_names, VARDATA_ANY(guard), VARSIZE_ANY_EXHDR(guard));

	if (act < 0)
		elog(ERROR, "no guard is named \"%s\"", text_to_cstring(guard));
	PG_RETURN_BOOL(eligible_for_type(eligibility_of_statement(PG_GETARG_INT64(0)),
									 PG_GETARG_INT64(1), act));
}

PG_FUNCTION_INFO_V1(taskex_is_blocked);

/* _taskex.is_blocked(performer_id, requester_id) */
Datum
taskex_is_blocked(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(eligibility_block(eligibility_of_statement(PG_GETARG_INT64(0)),
									 PG_GETARG_INT64(1)) != NULL);
}
