/*
 * level.c
 *	  How well a performer's groups are supplied with a task type, for searches and
 *	  recommendations.
 *
 * PURPOSE	A search asks for hundreds of types: supplies are looked at once in each
 *			statement that a client sends, and what they have is remembered by type.
 */
#include "postgres.h"

#include "supply/group.h"
#include "supply/supply.h"
#include "base/guc.h"
#include "directory/directory.h"
#include "infra/realm.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "fmgr.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

typedef struct Level
{
	int64		task_type;		/* key */
	int64		own;			/* slots at hand for the performer's groups */
	int64		wanted;			/* ... that they are to have */
	bool		others;			/* others have some, for whoever gets nothing else */
	bool		exclusive;		/* others have some for themselves */
} Level;

/* what was looked at last, for whom */
static HTAB *levels = NULL;
static TimestampTz looked_at = 0;
static CommandId looked_by = InvalidCommandId;
static int64 looked_for = 0;
static uint32 looked_in = 0;

static void
look(int64 performer)
{
	HASHCTL		ctl = {.keysize = sizeof(int64),.entrysize = sizeof(Level),.hcxt = TopMemoryContext};
	UserHome	home;
	Groups		groups;
	SupplyInfo *infos;
	StockOption *shared;
	int			count;
	int			shared_count;

	if (levels)
		hash_destroy(levels);
	levels = NULL;
	directory_steady_home_by_id(performer, &home);
	groups = *groups_of(&home);
	count = stock_list(false, &infos);
	/* what others have and share */
	shared = palloc(sizeof(StockOption) * guc_max_supplies);
	shared_count = stock_options(groups.ids, groups.count, true, 0, shared, guc_max_supplies);
	levels = hash_create("taskex supply levels", Max(count, 16), &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	for (int i = 0; i < count; i++)
	{
		const SupplyInfo *info = &infos[i];
		bool		member = false;
		bool		found;
		Level	   *level;

		for (int g = 0; g < groups.count; g++)
			member |= groups.ids[g] == info->group;
		level = hash_search(levels, &info->task_type, HASH_ENTER, &found);
		if (!found)
			memset((char *) level + sizeof(int64), 0, sizeof(Level) - sizeof(int64));
		if (member)
		{
			level->own += info->ready;
			level->wanted += info->target;
		}
		else if (info->ready > 0)
		{
			bool		is_shared = false;

			for (int s = 0; s < shared_count && !is_shared; s++)
				is_shared = shared[s].group == info->group && shared[s].task_type == info->task_type;
			level->others |= is_shared;
			level->exclusive |= !is_shared;
		}
	}
	pfree(shared);
	pfree(infos);
}

/* NULL: nothing is known of the type */
static const Level *
level_of(int64 performer, int64 task_type)
{
	TimestampTz now = GetCurrentStatementStartTimestamp();
	CommandId	command = GetCurrentCommandId(false);
	uint32		realm;

	/* a standby knows of no supplies */
	if (!guc_supply || RecoveryInProgress())
		return NULL;
	realm = realm_current()->serial;
	supply_require_loaded();
	if (!stock_any())
		return NULL;
	if (levels == NULL || looked_at != now || looked_by != command || looked_for != performer || looked_in != realm)
	{
		look(performer);
		looked_at = now;
		looked_by = command;
		looked_for = performer;
		looked_in = realm;
	}
	return hash_search(levels, &task_type, HASH_FIND, NULL);
}

static float4
own_level(const Level *level)
{
	if (level == NULL || level->own == 0)
		return 0;
	return (float4) level->own / Max(level->own, level->wanted);
}

PG_FUNCTION_INFO_V1(taskex_supply_level);

/* _taskex.supply_level(performer, task_type) -> real */
Datum
taskex_supply_level(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT4(own_level(level_of(PG_GETARG_INT64(0), PG_GETARG_INT64(1))));
}

PG_FUNCTION_INFO_V1(taskex_supply_favour);

/* _taskex.supply_favour(performer, task_type) -> real */
Datum
taskex_supply_favour(PG_FUNCTION_ARGS)
{
	const Level *level = level_of(PG_GETARG_INT64(0), PG_GETARG_INT64(1));
	float4		own;

	if (level == NULL)
		PG_RETURN_FLOAT4(0);
	own = own_level(level);
	PG_RETURN_FLOAT4(own - (1 - own) * (level->exclusive ? 1.0f : level->others ? 0.5f : 0.0f));
}
