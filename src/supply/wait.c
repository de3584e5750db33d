/*
 * wait.c
 *	  Performers who wait until there is a task for them.
 *
 * PURPOSE	Who has nothing to do sleeps instead of asking again and again.
 * LAYOUT	By realm slot a condition variable, how many wait, and in one word how
 *			many tasks appeared that no waiter was told of, and how often the
 *			signal may still be passed on.  Two counters tell what it cost.
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
#include "funcapi.h"
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
	pg_atomic_uint64 signals;	/* what is still to be signalled: see Signals */
	pg_atomic_uint64 woken;		/* waiters that were told, ... */
	pg_atomic_uint64 looks;		/* ... and looks of waiters for tasks, since the start-up */
} Waiting;

/* as one word, so that nobody's tasks get lost among others' */
typedef struct Signals
{
	uint32		tasks;			/* that appeared, and that nobody was told of */
	uint32		hops;			/* waiters who may still be told */
} Signals;

#define SIGNALS_WORD(signals) ((uint64) (signals).hops << 32 | (signals).tasks)

#define TASKS_MAX 1000000

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
		pg_atomic_init_u64(&waitings[i].signals, 0);
		pg_atomic_init_u64(&waitings[i].woken, 0);
		pg_atomic_init_u64(&waitings[i].looks, 0);
	}
}

const ShmemPart wait_shmem = {"taskex waiting", wait_size, NULL, NULL, wait_attach};

static Signals
signals_of(uint64 word)
{
	return (Signals) {.tasks = (uint32) word,.hops = (uint32) (word >> 32)};
}

/* the signal is for one of them; those of an earlier signal that still goes round are not forgotten */
void
wait_appeared(int64 tasks)
{
	Waiting    *waiting = &waitings[realm_current()->slot];
	uint32		waiters = pg_atomic_read_u32(&waiting->waiters);
	uint64		word;
	Signals		signals;

	if (likely(waiters == 0))
		return;
	word = pg_atomic_read_u64(&waiting->signals);
	do
	{
		signals = signals_of(word);
		signals.tasks = (uint32) Min(signals.tasks + tasks - 1, TASKS_MAX);
		signals.hops = waiters - 1;
	} while (!pg_atomic_compare_exchange_u64(&waiting->signals, &word, SIGNALS_WORD(signals)));
	ConditionVariableSignal(&waiting->variable);
}

/* a waiter was told, and has looked; the next one is told of what was nothing for him, or of the next task */
static void
pass_on(Waiting *waiting, bool found)
{
	uint64		word = pg_atomic_read_u64(&waiting->signals);
	Signals		signals;
	bool		on;

	do
	{
		signals = signals_of(word);
		on = signals.hops > 0 && (!found || signals.tasks > 0);
		if (signals.hops == 0)
			signals.tasks = 0;	/* all have looked: they are for nobody who waits */
		else if (on)
			signals.hops--;
		if (on && found)
			signals.tasks--;
	} while (!pg_atomic_compare_exchange_u64(&waiting->signals, &word, SIGNALS_WORD(signals)));
	if (on)
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

typedef struct Waiter
{
	Waiting    *waiting;
	bool		told;			/* and he has not passed it on */
} Waiter;

/* also when the session is ended while it waits, or looks */
static void
stop_waiting(int code, Datum arg)
{
	Waiter	   *waiter = (Waiter *) DatumGetPointer(arg);

	ConditionVariableCancelSleep();
	pg_atomic_fetch_sub_u32(&waiter->waiting->waiters, 1);
	if (waiter->told)
		pass_on(waiter->waiting, false);
}

static bool
wait_until(const UserHome *performer, int64 task_type, TimestampTz end)
{
	Waiter	   *waiter = palloc0(sizeof(Waiter));
	Waiting    *waiting = &waitings[realm_current()->slot];
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "taskex waiting", ALLOCSET_DEFAULT_SIZES);
	volatile bool found = false;

	/* from here on whoever makes a task available tells us */
	waiter->waiting = waiting;
	pg_atomic_fetch_add_u32(&waiting->waiters, 1);
	PG_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(waiter));
	{
		ConditionVariablePrepareToSleep(&waiting->variable);
		for (;;)
		{
			long		left = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), end);

			CHECK_FOR_INTERRUPTS();
			pg_atomic_fetch_add_u64(&waiting->looks, 1);
			found = something(performer, task_type, context);
			if (waiter->told)
				pass_on(waiting, found);
			waiter->told = false;
			if (found || left <= 0)
				break;
			waiter->told = !ConditionVariableTimedSleep(&waiting->variable, left, PG_WAIT_EXTENSION);
			if (waiter->told)
				pg_atomic_fetch_add_u64(&waiting->woken, 1);
		}
	}
	PG_END_ENSURE_ERROR_CLEANUP(stop_waiting, PointerGetDatum(waiter));
	stop_waiting(0, PointerGetDatum(waiter));
	pfree(waiter);
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
	if (!PG_ARGISNULL(2))
		task_type_get(task_type);
	PG_RETURN_BOOL(wait_until(&performer, task_type, after_interval(GetCurrentTimestamp(), timeout)));
}

PG_FUNCTION_INFO_V1(taskex_waiting);

/* _taskex.waiting() -> (waiters, woken, looks) */
Datum
taskex_waiting(PG_FUNCTION_ARGS)
{
	Waiting    *waiting = &waitings[realm_current()->slot];
	TupleDesc	desc;
	Datum		values[3] = {
		Int32GetDatum((int32) pg_atomic_read_u32(&waiting->waiters)),
		Int64GetDatum((int64) pg_atomic_read_u64(&waiting->woken)),
		Int64GetDatum((int64) pg_atomic_read_u64(&waiting->looks)),
	};
	bool		nulls[3] = {false, false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
