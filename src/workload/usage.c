/*
 * usage.c
 *	  What attempts use: told to the observer, and kept with the run.
 */
#include "postgres.h"

#include "workload/usage.h"
#include "base/compat.h"
#include "workload/rows.h"

#include "access/xact.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

const RunObserver *run_observer = NULL;

RunStart
usage_starting(const UserHome *customer, int64 program_id, TimestampTz now, TimestampTz *until)
{
	if (run_observer && run_observer->starting)
		return run_observer->starting(customer, program_id, now, until);
	return RUN_STARTS;
}

void
usage_submitting(const UserHome *customer, int32 environment_id, int64 program_id, int32 priority, int32 count)
{
	if (run_observer && run_observer->submitting)
		run_observer->submitting(customer, environment_id, program_id, priority, count);
}

static bool
is_watched(void)
{
	return run_observer && run_observer->attempts_ended;
}

/* ---- ends that are told together ---- */

/* with what the facts point to */
typedef struct GatheredEnd
{
	AttemptFacts facts;
	UserHome	customer;
	RunUsage	usage;
} GatheredEnd;

static LocalTransactionId gathering = InvalidLocalTransactionId;	/* in which transaction */
static GatheredEnd *gathered = NULL;	/* of that transaction; gone with it */
static int	gathered_count = 0;
static int	gathered_room = 0;

void
usage_gather(void)
{
	gathering = MyLocalXid;
	gathered = NULL;
	gathered_count = gathered_room = 0;
}

static void
gather(const AttemptFacts *facts)
{
	GatheredEnd *end;

	if (gathered_count == gathered_room)
	{
		gathered_room = Max(16, 2 * gathered_room);
		gathered = gathered ? repalloc(gathered, sizeof(GatheredEnd) * gathered_room) :
			MemoryContextAlloc(TopTransactionContext, sizeof(GatheredEnd) * gathered_room);
	}
	end = &gathered[gathered_count++];
	end->facts = *facts;
	end->customer = *facts->customer;
	end->usage = *facts->usage;
	if (end->usage.pieces > 0)
	{
		Size		size = sizeof(int64) * end->usage.pieces;

		end->usage.piece_us = memcpy(MemoryContextAlloc(TopTransactionContext, size), facts->usage->piece_us, size);
	}
}

void
usage_tell_gathered(void)
{
	AttemptFacts *facts;

	Assert(gathering == MyLocalXid);
	gathering = InvalidLocalTransactionId;
	if (gathered_count == 0)
		return;
	facts = palloc(sizeof(AttemptFacts) * gathered_count);
	for (int i = 0; i < gathered_count; i++)
	{
		facts[i] = gathered[i].facts;
		facts[i].customer = &gathered[i].customer;
		facts[i].usage = &gathered[i].usage;
	}
	run_observer->attempts_ended(facts, gathered_count);
	pfree(facts);
}

void
usage_ended(const AttemptFacts *facts, int32 count)
{
	if (!is_watched() || count == 0)
		return;
	if (gathering == MyLocalXid && GetCurrentTransactionNestLevel() == 1)
		for (int i = 0; i < count; i++)
			gather(&facts[i]);
	else
		run_observer->attempts_ended(facts, count);
}

void
usage_facts(AttemptFacts *facts, RunUsage *own, Child *run, const UserHome *customer,
			TimestampTz finished_at, const char *outcome, const RunUsage *usage)
{
	facts->run_id = child_int64(run, RUN_RUN_ID);
	facts->attempt = child_int32(run, RUN_ATTEMPTS);
	facts->customer = customer;
	facts->environment_id = child_int32(run, RUN_ENVIRONMENT_ID);
	facts->priority = child_int32(run, RUN_PRIORITY);
	facts->program_id = run_is_null(run, RUN_PROGRAM_ID) ? 0 : child_int64(run, RUN_PROGRAM_ID);
	facts->version = run_is_null(run, RUN_VERSION) ? 0 : child_int32(run, RUN_VERSION);
	facts->submitted_at = child_int64(run, RUN_SUBMITTED_AT);
	facts->started_at = child_int64(run, RUN_STARTED_AT);
	facts->finished_at = finished_at;
	facts->outcome = outcome;
	facts->usage = usage;
	if (usage == NULL)
	{
		memset(own, 0xff, sizeof(RunUsage));	/* -1: not known */
		own->wall_us = Max(finished_at - facts->started_at, 0);
		facts->usage = own;
	}
}

static void
push_number(JsonbParseState **state, const char *name, int64 number)
{
	JsonbValue	key = {.type = jbvString,.val.string = {(int) strlen(name), unconstify(char *, name)}};
	JsonbValue	value = {.type = jbvNumeric};

	if (number < 0)
		return;
	value.val.numeric = DatumGetNumeric(DirectFunctionCall1(int8_numeric, Int64GetDatum(number)));
	(void) pushJsonbValue(state, WJB_KEY, &key);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

Jsonb *
usage_measured(const RunUsage *usage)
{
	JsonbParseState *state = NULL;

	if (usage == NULL)
		return NULL;
	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_number(&state, "wall_us", usage->wall_us);
	push_number(&state, "cpu_us", usage->cpu_us);
	push_number(&state, "rows", usage->rows);
	push_number(&state, "blocks_read", usage->blocks_read);
	push_number(&state, "blocks_written", usage->blocks_written);
	push_number(&state, "wal_bytes", usage->wal_bytes);
	push_number(&state, "memory", usage->memory);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
