/*
 * wait.c
 *	  Performers who wait until there is a task for them.
 *
 * PURPOSE	Who has nothing to do sleeps instead of asking again and again.
 * LAYOUT	By realm slot a condition variable, how many wait, how many tasks
 *			appeared that no waiter has come for, and how often the signal may
 *			still be passed on.
 * WRITES	Atomically.
 * CRASH	Nobody waits any more.
 * INVARIANT  Each task that appears signals one waiter.  If it is nothing for him,
 *			or there are more, he signals the next, until all who waited have
 *			looked; with nobody waiting it costs a look at a counter.
 */
#include "postgres.h"

#include "supply/supply.h"
#include "supply/wait.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/guc.h"
#include "directory/directory.h"
#include "directory/meter.h"
#include "infra/realm.h"
#include "market/eligible.h"
#include "market/market.h"
#include "market/shelf.h"
#include "supply/group.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

typedef struct Waiting
{
	ConditionVariable variable;
	pg_atomic_uint32 waiters;
	pg_atomic_uint32 tasks;		/* that appeared, and that nobody has come for */
	pg_atomic_uint32 hops;		/* waiters who may still be told */
} Waiting;

static Waiting *waitings = NULL;

static Size
wait_size(void)
{
	return mul_size(guc_max_databases, sizeof(Waiting));
}

static void
wait_attach(void *block, LWLockPadded *locks, bool found)
{
	waitings = block;
	if (found)
		return;
	for (int i = 0; i < guc_max_databases; i++)
	{
		ConditionVariableInit(&waitings[i].variable);
		pg_atomic_init_u32(&waitings[i].waiters, 0);
		pg_atomic_init_u32(&waitings[i].tasks, 0);
		pg_atomic_init_u32(&waitings[i].hops, 0);
	}
}

const ShmemPart wait_shmem = {"taskex waiting", wait_size, NULL, NULL, wait_attach};

void
wait_appeared(int64 tasks)
{
	Waiting    *waiting = &waitings[realm_current()->slot];
	uint32		waiters = pg_atomic_read_u32(&waiting->waiters);

	if (likely(waiters == 0))
		return;
	pg_atomic_write_u32(&waiting->tasks, (uint32) Min(tasks, 1000000));
	pg_atomic_write_u32(&waiting->hops, waiters);
	ConditionVariableSignal(&waiting->variable);
}

/* a waiter was told, and has looked; is the next one to be told? */
static void
pass_on(Waiting *waiting, bool found)
{
	uint32		hops = pg_atomic_read_u32(&waiting->hops);
	uint32		tasks = pg_atomic_read_u32(&waiting->tasks);

	if (found && tasks > 0)
		pg_atomic_write_u32(&waiting->tasks, --tasks);
	if (hops == 0 || (found && tasks == 0))
		return;
	pg_atomic_write_u32(&waiting->hops, hops - 1);
	ConditionVariableSignal(&waiting->variable);
}

/* ---- is there something for him? ---- */

#define OPTIONS_MAX 64

static bool
at_hand(Eligibility *eligibility, int64 task_type)
{
	const Groups *groups = groups_of(&eligibility->performer);
	StockOption options[OPTIONS_MAX];

	if (!guc_supply)
		return false;
	supply_require_loaded();
	for (int others = 0; others < 2; others++)
	{
		int			count = stock_options(groups->ids, groups->count, others == 1, task_type, options, OPTIONS_MAX);

		for (int i = 0; i < count; i++)
		{
			StockLook	look = {.group = options[i].group,.task_type = options[i].task_type,
				.performer = eligibility->performer.user_id,.now = eligibility->now,
			.blocks = eligibility_blocks_mark(eligibility)};

			if (eligible_for_type(eligibility, options[i].task_type, GUARD_ACCEPT) && stock_has(&look))
				return true;
		}
	}
	return false;
}

/* is there anything on a shelf that he has not looked at yet? */
static bool
on_shelves(Eligibility *eligibility, int64 task_type)
{
	Shelf	  **shelves;
	int			count = feed_shelves(task_type, &shelves);
	bool		found = false;

	eligible_prepare(shelves, count);
	for (int i = 0; i < count && !found; i++)
	{
		int64		type = feed_shelf_type(shelves[i]);
		FeedScan	scan;

		if (type > 0 && (task_type == 0 || type == task_type) && eligible_for_type(eligibility, type, GUARD_ACCEPT))
		{
			found = feed_scan_begin(&scan, shelves[i], type, eligibility->performer.user_id,
									eligibility_blocks_mark(eligibility));
			shelf_release(shelves[i]);
		}
	}
	return found;
}

static bool
something(const UserHome *performer, int64 task_type, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	Eligibility eligibility;
	UserHome	home;
	bool		found;

	/* he may have moved while he waited */
	directory_present_home_by_id(performer->user_id, &home);
	eligibility_begin(&eligibility, &home, clock_now());
	found = eligibility_block(&eligibility, 0) == NULL &&
		(at_hand(&eligibility, task_type) || on_shelves(&eligibility, task_type));
	MemoryContextSwitchTo(old);
	MemoryContextReset(context);
	return found;
}

/* also when the session is ended while it waits */
static void
stop_waiting(int code, Datum waiting)
{
	ConditionVariableCancelSleep();
	pg_atomic_fetch_sub_u32(&((Waiting *) DatumGetPointer(waiting))->waiters, 1);
}

static bool
wait_until(const UserHome *performer, int64 task_type, TimestampTz end)
{
	Waiting    *waiting = &waitings[realm_current()->slot];
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "taskex waiting", ALLOCSET_DEFAULT_SIZES);
	volatile bool found = false;
	volatile bool told = false;

	/* from here on whoever makes a task available tells us */
	pg_atomic_fetch_add_u32(&waiting->waiters, 1);
	PG_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(waiting));
	{
		ConditionVariablePrepareToSleep(&waiting->variable);
		for (;;)
		{
			long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);

			CHECK_FOR_INTERRUPTS();
			found = something(performer, task_type, context);
			if (told)
				pass_on(waiting, found);
			told = false;
			if (found || left <= 0)
				break;
			told = !ConditionVariableTimedSleep(&waiting->variable, left, PG_WAIT_EXTENSION);
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(waiting));
	stop_waiting(0, PointerGetDatum(waiting));
	MemoryContextDelete(context);
	return found;
}

/* wait_for_task(performer, timeout, task_type) -> boolean */
METERED(taskex_wait_for_task)
{
	static const char *const names[] = {"performer", "timeout", NULL};
	int64		task_type = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2);
	UserHome	performer;
	Interval   *timeout;

	require_args(fcinfo, names);
	directory_reader(PG_GETARG_TEXT_PP(0), &performer);
	timeout = PG_GETARG_INTERVAL_P(1);
	check_interval(timeout, "timeout", 0, 1);
	if (task_type != 0)
		task_type_get(task_type);
	PG_RETURN_BOOL(wait_until(&performer, task_type, after_interval(GetCurrentTimestamp(), timeout)));
}
