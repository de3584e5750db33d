/*
 * fee.c
 *	  What the exchange takes for an assignment or a bonus.
 *
 * The rules of the table fee_rule are remembered by the session, sorted so
 * that those of one requester and task type stand together.  Where no rule
 * fits, taskex.exchange_fee is the share.
 */
#include "postgres.h"

#include <math.h>

#include "ledger/ledger.h"
#include "base/clock.h"
#include "base/guc.h"
#include "infra/watch.h"

#include "access/tableam.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define PPM 1000000

/* columns of _taskex.fee_rule */
enum
{
	FEE_RULE_ID = 1,
	FEE_REQUESTER_ID,
	FEE_TASK_TYPE_ID,
	FEE_SHARE,
	FEE_MINIMUM,
	FEE_VALID_FROM,
	FEE_MIN_PERFORMERS,
	FEE_KIND,
	FEE_COLUMNS = FEE_KIND
};

typedef struct FeeRule
{
	FeeKind		kind;
	int64		requester_id;	/* 0: any */
	int64		task_type;		/* 0: any */
	int32		min_performers;
	TimestampTz valid_from;
	int64		share;			/* in millionths */
	int64		minimum;		/* nano-units */
} FeeRule;

static TableWatch fee_rules = {"fee_rule"};
static MemoryContext rule_context = NULL;
static FeeRule *rules = NULL;
static int	rule_count = 0;

static int
compare(int64 a, int64 b)
{
	return a < b ? -1 : a > b;
}

/* whose rule it is, and for what */
static int
compare_scope(const void *a, const void *b)
{
	const FeeRule *x = a;
	const FeeRule *y = b;
	int			order = compare(x->kind, y->kind);

	if (order == 0)
		order = compare(x->requester_id, y->requester_id);
	if (order == 0)
		order = compare(x->task_type, y->task_type);
	return order;
}

/* of one scope, the rule that goes before comes first */
static int
compare_rules(const void *a, const void *b)
{
	const FeeRule *x = a;
	const FeeRule *y = b;
	int			order = compare_scope(a, b);

	if (order == 0)
		order = compare(y->min_performers, x->min_performers);
	if (order == 0)
		order = compare(y->valid_from, x->valid_from);
	return order;
}

static void
add_rule(TupleTableSlot *slot, int *room)
{
	FeeRule    *rule;

	if (rule_count == *room)
	{
		*room *= 2;
		rules = repalloc_huge(rules, sizeof(FeeRule) * *room);
	}
	rule = &rules[rule_count++];
	slot_getsomeattrs(slot, FEE_COLUMNS);
	rule->requester_id = DatumGetInt64(slot->tts_values[FEE_REQUESTER_ID - 1]);
	rule->task_type = DatumGetInt64(slot->tts_values[FEE_TASK_TYPE_ID - 1]);
	rule->share = DatumGetInt64(slot->tts_values[FEE_SHARE - 1]);
	rule->minimum = DatumGetInt64(slot->tts_values[FEE_MINIMUM - 1]);
	rule->valid_from = DatumGetTimestampTz(slot->tts_values[FEE_VALID_FROM - 1]);
	rule->min_performers = DatumGetInt32(slot->tts_values[FEE_MIN_PERFORMERS - 1]);
	rule->kind = strcmp(TextDatumGetCString(slot->tts_values[FEE_KIND - 1]), "bonus") == 0
		? FEE_BONUS : FEE_REWARD;
}

static void
load_rules(void)
{
	Snapshot	snapshot;
	Relation	rel = watch_begin(&fee_rules, &snapshot);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	int			room = 16;

	if (rule_context == NULL)
		rule_context = AllocSetContextCreate(TopMemoryContext, "taskex fee rules",
											 ALLOCSET_SMALL_SIZES);
	rule_count = 0;
	MemoryContextReset(rule_context);
	rules = MemoryContextAlloc(rule_context, sizeof(FeeRule) * room);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
		add_rule(slot, &room);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	qsort(rules, rule_count, sizeof(FeeRule), compare_rules);
	watch_end(&fee_rules, rel, snapshot);
}

/* the rule of exactly this scope that holds now, or NULL */
static const FeeRule *
rule_of(FeeKind kind, int64 requester_id, int64 task_type, int32 performers, TimestampTz now)
{
	FeeRule		key = {.kind = kind,.requester_id = requester_id,.task_type = task_type};
	int			low = 0;
	int			high = rule_count;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (compare_scope(&rules[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < rule_count && compare_scope(&rules[low], &key) == 0; low++)
		if (rules[low].min_performers <= performers && rules[low].valid_from <= now)
			return &rules[low];
	return NULL;
}

/* the most particular one: a requester's before a task type's, a task type's before anybody's */
static const FeeRule *
find_rule(FeeKind kind, int64 requester_id, int64 task_type, int32 performers)
{
	TimestampTz now;
	const FeeRule *rule;

	if (rule_count == 0)
		return NULL;
	now = clock_now();
	rule = rule_of(kind, requester_id, task_type, performers, now);
	if (rule == NULL)
		rule = rule_of(kind, requester_id, 0, performers, now);
	if (rule == NULL)
		rule = rule_of(kind, 0, task_type, performers, now);
	if (rule == NULL)
		rule = rule_of(kind, 0, 0, performers, now);
	return rule;
}

int64
ledger_fee(FeeKind kind, int64 requester_id, int64 task_type, int32 performers, int64 amount)
{
	const FeeRule *rule;
	int64		share;
	int64		fee;

	if (!watch_fresh(&fee_rules))
		load_rules();

	/* golden tasks have their type's number, negative */
	rule = find_rule(kind, requester_id, task_type < 0 ? -task_type : task_type, performers);
	share = rule ? rule->share : (int64) rint(guc_exchange_fee * PPM);
	fee = (int64) ((int128) amount * share / PPM);
	return rule ? Max(fee, rule->minimum) : fee;
}

PG_FUNCTION_INFO_V1(taskex_fee);

/* _taskex.fee(kind, requester_id, task_type, performers, amount) -> nano-units */
Datum
taskex_fee(PG_FUNCTION_ARGS)
{
	FeeKind		kind = strcmp(text_to_cstring(PG_GETARG_TEXT_PP(0)), "bonus") == 0 ? FEE_BONUS : FEE_REWARD;

	PG_RETURN_INT64(ledger_fee(kind, PG_GETARG_INT64(1), PG_GETARG_INT64(2),
							   PG_GETARG_INT32(3), PG_GETARG_INT64(4)));
}
