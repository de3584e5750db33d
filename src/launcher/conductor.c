/*
 * conductor.c
 *	  The background work of one exchange.
 */
#include "postgres.h"

#include "base/clock.h"
#include "base/guc.h"
#include "directory/directory.h"
#include "executor/pool.h"
#include "executor/steer.h"
#include "infra/realm.h"
#include "infra/worker.h"
#include "journal/journal.h"
#include "launcher/internal.h"
#include "ledger/ledger.h"
#include "market/market.h"
#include "market/policy.h"
#include "placement/load.h"
#include "migration/mover.h"
#include "supply/supplier.h"
#include "workload/workload.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

/* the shortest sleep: deadlines that follow closely are handled together */
#define SLEEP_MIN_MS 100

static bool no_exchange = false;
static bool begun = false;

typedef struct Look
{
	bool		found;
	bool		complete;		/* else rows that we might write are still to come */
} Look;

static void
look_for_exchange(void *arg)
{
	Look	   *look = arg;

	look->found = realm_find() != NULL;
	look->complete = look->found && realm_state() == REALM_COMPLETE;
}

static void
maintain_feed(void *arg)
{
	feed_maintain();
}

static long
until_next(void)
{
	TimestampTz next = Min(due_work_next(), workload_next());
	long		wait = guc_conductor_interval;

	if (next != DT_NOEND)
		wait = Min(wait, TimestampDifferenceMilliseconds(clock_now(), next));
	if (splits_next() != DT_NOEND)
		wait = Min(wait, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), splits_next()));
	if (pool_next() != DT_NOEND)
		wait = Min(wait, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), pool_next()));
	return Max(wait, Min(SLEEP_MIN_MS, guc_conductor_interval));
}

static long
conductor_round(void)
{
	Look		look;
	bool		more;
	int64		counts[DUE_MARKET_KINDS];

	if (!begun)
	{
		/* whoever holds a row for long is not waited for */
		SetConfigOption("lock_timeout", "100ms", PGC_SUSET, PGC_S_OVERRIDE);

		/* what ALTER DATABASE sets for sessions is not meant for this one */
		SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
		SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
		if (!conductor_begins())
			return -1;
		begun = true;
	}
	worker_transaction("looking for the exchange", look_for_exchange, &look);
	if (!look.found)
	{
		no_exchange = true;
		return -1;
	}
	if (!guc_conductor || !look.complete)
		return guc_conductor_interval;

	directory_look_for_unreadable();

	/* first: due_work looks when the next of all cursors is due */
	steer_maintain();
	workload_maintain();
	pool_maintain();
	due_work(true, counts);
	(void) worker_try_transaction("looking after the feed", maintain_feed, NULL);
	ledger_maintain();
	supplier_ensure();
	mover_ensure();
	more = journal_maintain();
	more |= policy_maintain();
	more |= load_maintain();
	anonymous_maintain();
	return more ? 0 : until_next();
}

static void
conductor_exit(int code, Datum arg)
{
	if (begun)
	{
		pool_leave();
		supplier_leave();
		mover_leave();
		conductor_ends(no_exchange);
	}
}

WorkerKind	conductor_kind = {"conductor", "taskex_conductor_main", conductor_round};

PGDLLEXPORT void taskex_conductor_main(Datum main_arg);

void
taskex_conductor_main(Datum main_arg)
{
	worker_loop(&conductor_kind, main_arg, conductor_exit);
}
