/*
 * clock.c
 *	  The one source of time, with taskex.clock to set it.
 *
 * Recorded histories are replayed, and deadlines tested, by setting
 * taskex.clock (superuser only) in each session that takes part.  It stands
 * still until it is set again; an empty value means real time.  Nothing in
 * the project asks PostgreSQL for the time by another way.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/compat.h"
#include "base/guc.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

static bool fixed = false;
static TimestampTz fixed_now;

TimestampTz
clock_now(void)
{
	return fixed ? fixed_now : GetCurrentTimestamp();
}

bool
clock_is_set(void)
{
	return fixed;
}

/* GUC check hook: the value must be a finite timestamptz, or empty */
bool
clock_check(char **newval, void **extra, GucSource source)
{
	TimestampTz *value;
	MemoryContext context = CurrentMemoryContext;
	volatile bool ok = true;
	volatile TimestampTz t = 0;

	if (*newval == NULL || **newval == '\0')
		return true;

	PG_TRY();
	{
		t = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
													CStringGetDatum(*newval),
													ObjectIdGetDatum(InvalidOid),
													Int32GetDatum(-1)));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		FlushErrorState();
		ok = false;
	}
	PG_END_TRY();

	if (!ok || TIMESTAMP_NOT_FINITE(t))
	{
		GUC_check_errdetail("The clock must be a finite timestamp with time zone, or empty for real time.");
		return false;
	}
	value = (TimestampTz *) guc_malloc(LOG, sizeof(TimestampTz));
	if (value == NULL)
		return false;
	*value = t;
	*extra = value;
	return true;
}

void
clock_assign(const char *newval, void *extra)
{
	fixed = extra != NULL;
	if (fixed)
		fixed_now = *(TimestampTz *) extra;
}

PG_FUNCTION_INFO_V1(taskex_clock_now);

/* _taskex.now(): the exchange's time, for SQL functions and views */
Datum
taskex_clock_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(clock_now());
}
