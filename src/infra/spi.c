/*
 * spi.c
 *	  Kept SPI plans, run as the extension's owner with a locked search_path.
 *
 * Plans of statements without a partition live as long as the session (they
 * are as many as the code has statements).  Plans per partition are in a hash
 * table with a list in order of use; the least used gives way.  PostgreSQL's
 * plan cache itself notices when a table changed.
 */
#include "postgres.h"

#include "infra/spi.h"
#include "base/guc.h"
#include "infra/realm.h"

#include "jit/jit.h"
#include "lib/ilist.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

typedef struct PlanKey
{
	uint32		statement;
	int32		partition;
} PlanKey;

typedef struct PlanEntry
{
	PlanKey		key;
	SPIPlanPtr	plan;
	int			running;		/* do not evict */
	dlist_node	node;
} PlanEntry;

static HTAB *plans = NULL;
static dlist_head used = DLIST_STATIC_INIT(used);	/* newest first */
static uint32 last_number = 0;

void
spi_begin(SpiScope *scope)
{
	GetUserIdAndSecContext(&scope->user, &scope->security_context);
	SetUserIdAndSecContext(realm_owner(),
						   scope->security_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_NOFORCE_RLS);
	search_path_lock(&scope->search_path);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

void
spi_end(SpiScope *scope)
{
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	search_path_unlock(&scope->search_path);
	SetUserIdAndSecContext(scope->user, scope->security_context);
}

/* the statement's text with the partition's id in place of %p */
static char *
text_for(const Statement *statement, int partition)
{
	StringInfoData text;

	initStringInfo(&text);
	for (const char *c = statement->sql; *c; c++)
	{
		if (c[0] == '%' && c[1] == 'p')
		{
			appendStringInfo(&text, "%d", partition);
			c++;
		}
		else
			appendStringInfoChar(&text, *c);
	}
	return text.data;
}

static SPIPlanPtr
prepare(Statement *statement, const char *sql)
{
	SPIPlanPtr	plan = SPI_prepare_cursor(sql, statement->nargs, statement->argtypes,
										  CURSOR_OPT_GENERIC_PLAN);

	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	if (SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_keepplan failed");
	return plan;
}

static void
evict(void)
{
	while (hash_get_num_entries(plans) >= guc_plan_cache_size)
	{
		dlist_node *node = dlist_tail_node(&used);
		PlanEntry  *entry = dlist_container(PlanEntry, node, node);

		if (entry->running > 0)
			break;
		dlist_delete(node);
		SPI_freeplan(entry->plan);
		hash_search(plans, &entry->key, HASH_REMOVE, NULL);
	}
}

static PlanEntry *
plan_for(Statement *statement, int partition)
{
	PlanKey		key;
	PlanEntry  *entry;
	SPIPlanPtr	plan;
	bool		found;

	if (plans == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(PlanKey);
		ctl.entrysize = sizeof(PlanEntry);
		plans = hash_create("taskex plans", 256, &ctl, HASH_ELEM | HASH_BLOBS);
	}
	if (statement->number == 0)
		statement->number = ++last_number;

	key.statement = statement->number;
	key.partition = partition;
	entry = hash_search(plans, &key, HASH_FIND, NULL);
	if (likely(entry != NULL))
	{
		dlist_move_head(&used, &entry->node);
		return entry;
	}

	evict();
	plan = prepare(statement, text_for(statement, partition));
	entry = hash_search(plans, &key, HASH_ENTER, &found);
	entry->plan = plan;
	entry->running = 0;
	dlist_push_head(&used, &entry->node);
	return entry;
}

static int
execute(SPIPlanPtr plan, Datum *values, const char *nulls, SpiView view, long limit)
{
	int			result;

	if (view == SPI_VIEW_CURRENT)
		return SPI_execute_plan(plan, values, nulls, false, limit);
	if (view == SPI_VIEW_SNAPSHOT)
		return SPI_execute_plan(plan, values, nulls, true, limit);

	/*
	 * Make the snapshot blind to our own transaction by rewinding its command
	 * counter, so that what is read can be published to others.
	 */
	PushCopiedSnapshot(GetLatestSnapshot());
	if (view == SPI_VIEW_LATEST)
		GetActiveSnapshot()->curcid = FirstCommandId;
	result = SPI_execute_plan(plan, values, nulls, true, limit);
	PopActiveSnapshot();
	return result;
}

/*
 * Our statements read by key or along an index, from tables whose statistics
 * are always out of date: a plan made while a table was small must not scan it
 * whole when it has grown.  These are the planner's settings while a plan is
 * (re)made, which happens inside SPI_execute_plan.
 */
typedef struct PlannerSettings
{
	bool		seqscan;
	bool		bitmapscan;
	bool		sort;
	bool		jit;
} PlannerSettings;

static void
prefer_indexes(PlannerSettings *saved)
{
	saved->seqscan = enable_seqscan;
	saved->bitmapscan = enable_bitmapscan;
	saved->sort = enable_sort;
	saved->jit = jit_enabled;
	enable_seqscan = enable_bitmapscan = enable_sort = jit_enabled = false;
}

static void
restore_settings(const PlannerSettings *saved)
{
	enable_seqscan = saved->seqscan;
	enable_bitmapscan = saved->bitmapscan;
	enable_sort = saved->sort;
	jit_enabled = saved->jit;
}

uint64
spi_run(Statement *statement, int partition,
		Datum *values, const char *nulls, SpiView view, long limit)
{
	PlannerSettings settings;
	PlanEntry  *entry = NULL;
	SPIPlanPtr	plan;
	int			result;

	if (partition == 0)
	{
		if (unlikely(statement->plan == NULL))
			statement->plan = prepare(statement, statement->sql);
		plan = statement->plan;
	}
	else
	{
		entry = plan_for(statement, partition);
		entry->running++;
		plan = entry->plan;
	}

	prefer_indexes(&settings);
	PG_TRY();
	{
		result = execute(plan, values, nulls, view, limit);
	}
	PG_FINALLY();
	{
		restore_settings(&settings);
		if (entry)
			entry->running--;
	}
	PG_END_TRY();

	if (result < 0)
		elog(ERROR, "SPI_execute_plan failed: %s", SPI_result_code_string(result));
	return SPI_processed;
}

Datum
spi_value(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

int64
spi_int64(uint64 row, int column)
{
	bool		isnull;
	Datum		value = spi_value(row, column, &isnull);

	return isnull ? 0 : DatumGetInt64(value);
}

int32
spi_int32(uint64 row, int column)
{
	bool		isnull;
	Datum		value = spi_value(row, column, &isnull);

	return isnull ? 0 : DatumGetInt32(value);
}
