/*
 * serve.c
 *	  What performers get from supplies (market/source.h).
 *
 * In this order: what is kept for his groups, of the type that he names or of
 * the one that he worked on last, else of all types, best first by the formula
 * of market/choice.c; and after the shelves what is kept for others and shared.
 */
#include "postgres.h"

#include "supply/supply.h"
#include "supply/refill.h"
#include "base/clock.h"
#include "base/guc.h"
#include "infra/spi.h"
#include "market/eligible.h"
#include "supply/group.h"
#include "supply/wait.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"

/* supplies that are compared */
#define OPTIONS_MAX 64

typedef enum Stage
{
	STAGE_NAMED,				/* of his groups, the type that he names */
	STAGE_LAST,					/* ... that he worked on last */
	STAGE_BEST,					/* ... of all types */
	STAGE_OWN_DONE,
	STAGE_OTHERS,				/* of others */
	STAGE_DONE
} Stage;

struct SourceScan
{
	Choice	   *choice;
	int64		task_type;		/* or 0 */
	Groups		groups;
	Stage		stage;			/* the options are of this one */
	int			count;
	int			at;				/* the option that is being looked at */
	StockOption options[OPTIONS_MAX];
	StockLook	look;
};

/* the type in each of his groups */
static int
of_groups(SourceScan *scan, int64 task_type)
{
	for (int i = 0; i < scan->groups.count; i++)
	{
		scan->options[i].group = scan->groups.ids[i];
		scan->options[i].task_type = task_type;
	}
	return task_type == 0 ? 0 : scan->groups.count;
}

static int
best_first(SourceScan *scan)
{
	ChoiceOption options[OPTIONS_MAX];
	StockOption found[OPTIONS_MAX];
	int			count = stock_options(scan->groups.ids, scan->groups.count, false, 0, found, OPTIONS_MAX);
	int			kept = 0;

	for (int i = 0; i < count; i++)
		if (eligible_for_type(scan->choice->eligibility, found[i].task_type, GUARD_ACCEPT))
		{
			options[kept].task_type = found[i].task_type;
			options[kept].created = found[i].created;
			options[kept].expires = found[i].expires;
			options[kept++].index = i;
		}
	choice_rank(scan->choice, options, kept);
	for (int i = 0; i < kept; i++)
		scan->options[i] = found[options[i].index];
	return kept;
}

/* the options of the present stage */
static void
list_options(SourceScan *scan)
{
	switch (scan->stage)
	{
		case STAGE_NAMED:
			scan->count = of_groups(scan, scan->task_type);
			break;
		case STAGE_LAST:
			scan->count = of_groups(scan, choice_last(scan->choice));
			break;
		case STAGE_BEST:
			scan->count = best_first(scan);
			break;
		case STAGE_OTHERS:
			scan->count = stock_options(scan->groups.ids, scan->groups.count, true, scan->task_type,
										scan->options, OPTIONS_MAX);
			break;
		case STAGE_OWN_DONE:
		case STAGE_DONE:
			scan->count = 0;
			break;
	}
	scan->at = 0;
	scan->look.limit = 0;
}

static bool
next_stage(SourceScan *scan)
{
	static const Stage after[] = {
		[STAGE_NAMED] = STAGE_OWN_DONE,
		[STAGE_LAST] = STAGE_BEST,
		[STAGE_BEST] = STAGE_OWN_DONE,
		[STAGE_OWN_DONE] = STAGE_OWN_DONE,
		[STAGE_OTHERS] = STAGE_DONE,
		[STAGE_DONE] = STAGE_DONE,
	};

	if (scan->stage == STAGE_OWN_DONE || scan->stage == STAGE_DONE)
		return false;
	scan->stage = after[scan->stage];
	list_options(scan);
	return true;
}

static SourceScan *
begin(Choice *choice, int64 task_type)
{
	SourceScan *scan;

	if (!guc_supply)
		return NULL;
	supply_require_loaded();
	if (!stock_any())
		return NULL;
	scan = palloc(sizeof(SourceScan));
	scan->choice = choice;
	scan->task_type = task_type;
	scan->groups = *groups_of(&choice->performer);
	scan->stage = task_type != 0 ? STAGE_NAMED : STAGE_LAST;
	scan->look.performer = choice->performer.user_id;
	scan->look.blocks = eligibility_blocks_mark(choice->eligibility);
	scan->look.now = choice->now;
	list_options(scan);
	return scan;
}

static bool
next(SourceScan *scan, SourceTask *task)
{
	for (;;)
	{
		const StockOption *option = &scan->options[scan->at];

		CHECK_FOR_INTERRUPTS();
		if (scan->at >= scan->count)
		{
			if (!next_stage(scan))
				return false;
			continue;
		}
		scan->look.group = option->group;
		scan->look.task_type = option->task_type;
		if (!eligible_for_type(scan->choice->eligibility, option->task_type, GUARD_ACCEPT) ||
			!stock_pop(&scan->look, task))
		{
			scan->at++;
			scan->look.limit = 0;
		}
		else if (eligibility_block(scan->choice->eligibility, task->requester))
			stock_refuse(&scan->look, false);
		else
			return true;
	}
}

static void
refuse(SourceScan *scan, bool later)
{
	stock_refuse(&scan->look, later);
}

static void
others(SourceScan *scan)
{
	scan->stage = STAGE_OTHERS;
	list_options(scan);
}

static void
missed(const UserHome *performer, const SourceMiss *miss)
{
	if (guc_supply && stock_missed(groups_of(performer)->ids[0], performer->user_id, miss))
		supplier_wake();
}

static SourceAnswer
take(const UserHome *performer, int64 task_id, TimestampTz now, SourceTask *task)
{
	const Groups *groups;

	if (!stock_any())
		return SOURCE_NONE;
	groups = groups_of(performer);
	return stock_take(performer->user_id, groups->ids, groups->count, task_id, now, task);
}

static Statement insert_recall = {
	"INSERT INTO _taskex.group_recall (lease_id, task_ids, slots) VALUES ($1, ARRAY[$2], ARRAY[$3])",
	3, {INT8OID, INT8OID, INT4OID}
};

/* groups that have the same task; more are told apart by calling again */
#define RECALL_MAX 64

static int32
recall(int64 task_id)
{
	SupplyReturn returns[RECALL_MAX];
	SpiScope	scope;
	int32		slots = 0;
	int			count;

	supply_require_loaded();
	if (!stock_any())
		return 0;
	count = stock_recall(task_id, returns, RECALL_MAX);
	for (int i = 0; i < count; i++)
	{
		Datum		values[3] = {Int64GetDatum(returns[i].lease_id), Int64GetDatum(task_id), Int32GetDatum(returns[i].slots)};

		if (returns[i].slots == 0)
			continue;
		slots += returns[i].slots;
		spi_begin(&scope);
		spi_run(&insert_recall, 0, values, NULL, SPI_VIEW_CURRENT, 0);
		spi_end(&scope);
	}
	return slots;
}

/* performer 0: NULL, whosever it is */
static const Groups *
groups_of_id(int64 performer)
{
	static const Groups none = {0};
	UserHome	home;

	if (performer == 0)
		return NULL;
	if (performer == SOURCE_STRANGER)
		return &none;
	directory_steady_home_by_id(performer, &home);
	return groups_of(&home);
}

static void
glance(int64 performer, int64 task_type, int64 requester, SourceGlance *seen)
{
	supply_require_loaded();
	if (stock_any())
		stock_glance(groups_of_id(performer), task_type, requester, clock_now(), seen);
}

PG_FUNCTION_INFO_V1(taskex_offered);

/* _taskex.offered(task_id, performer_id) -> int */
Datum
taskex_offered(PG_FUNCTION_ARGS)
{
	int32		slots = 0;

	supply_require_loaded();
	if (stock_any())
		slots = stock_offered(groups_of_id(PG_GETARG_INT64(1)), PG_GETARG_INT64(0), clock_now());
	PG_RETURN_INT32(slots);
}

const TaskSource supply_source = {begin, next, refuse, others, missed, take, recall, glance, wait_appeared};
