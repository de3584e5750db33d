/*
 * accept.c
 *	  Performers take tasks: a given one, or the next one from the feed.
 *
 * Either way the task's row is locked, its count of live slots is raised under
 * the bound, and the assignment is inserted.  The unique index on (performer,
 * task) sees to it that nobody has a task twice.
 */
#include "postgres.h"

#include "market/market.h"
#include "market/choice.h"
#include "directory/moves.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "directory/meter.h"
#include "infra/ids.h"
#include "infra/waitpoint.h"
#include "infra/xact.h"
#include "journal/journal.h"
#include "ledger/ledger.h"
#include "market/consensus.h"
#include "market/golden.h"
#include "market/eligible.h"
#include "market/layout.h"
#include "market/rows.h"
#include "market/shelf.h"
#include "market/source.h"

#include "access/xact.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"

#define COUNT_MAX 1000

const TaskSource *task_source = NULL;

/* columns of taskex.assignment */
typedef struct Accepted
{
	Datum		values[7];
	bool		nulls[7];
} Accepted;

/* one call's constants */
typedef struct Taker
{
	UserHome	performer;
	TimestampTz now;
	Eligibility eligibility;
	Child		assignments;	/* on the performer's partition */
	Choice		choice;			/* of accept_next */
	MemoryContext context;		/* for what is returned */
	int64		candidate_of;	/* requester of the task claimed last */
	int32		candidate_on;	/* its partition */
	ItemPointerData candidate_at;	/* its row, as it was then */
	bool		candidate_new;	/* and it was looked up then that he has not had it */
	int64		golden_of;		/* looking for a golden task of this requester, or 0 */
} Taker;

static void
taker_begin(Taker *taker, const text *login, const char *function)
{
	PreventCommandIfReadOnly(function);
	directory_actor(login, &taker->performer);
	if (guc_async_accept)
		xact_async_begin();
	taker->now = clock_now();
	taker->context = CurrentMemoryContext;
	taker->golden_of = 0;
	eligibility_begin(&taker->eligibility, &taker->performer, taker->now);
	child_open(&taker->assignments, &assignment_table, taker->performer.partition);
}

static void
taker_end(Taker *taker)
{
	if (guc_async_accept)
		xact_async_end();
	child_close(&taker->assignments);
}

static bool
had_before(Taker *taker, int64 task_id)
{
	int64		keys[2] = {taker->performer.user_id, task_id};

	return child_find(&taker->assignments, ASSIGNMENT_BY_PERFORMER, 2, keys);
}

/* does the task in the slot have a free slot?  As of the snapshot. */
static bool
has_free_slot(Child *tasks)
{
	return child_int32(tasks, TASK_LIVE) < consensus_wanted(tasks) &&
		child_text_is(tasks, TASK_STATE, "open");
}

static bool
available(Child *tasks, TimestampTz now)
{
	return has_free_slot(tasks) && child_int64(tasks, TASK_EXPIRES_AT) > now;
}

/* for those who asked for it */
static void
journal_accept(const Taker *taker, const Datum *row)
{
	JournalAct	act = {.kind = "accepted",.performer_id = taker->performer.user_id};

	act.requester_id = DatumGetInt64(row[ASSIGNMENT_REQUESTER_ID - 1]);
	if (!journal_wants_accepted(act.requester_id, act.performer_id))
		return;
	act.task_type_id = DatumGetInt64(row[ASSIGNMENT_TASK_TYPE_ID - 1]);
	act.task_id = DatumGetInt64(row[ASSIGNMENT_TASK_ID - 1]);
	act.assignment_id = DatumGetInt64(row[ASSIGNMENT_ASSIGNMENT_ID - 1]);
	journal_write(&act);
}

/* the input as the requester wants it to look to this performer */
static void
dress(const Taker *taker, int64 requester, Accepted *accepted)
{
	int64		task_type = DatumGetInt64(accepted->values[2]);
	Datum		input = accepted->values[3];
	MemoryContext old;

	if (likely(!layout_is_used(requester, task_type)))
		return;
	old = MemoryContextSwitchTo(taker->context);
	accepted->values[3] = layout_fill(&taker->performer, requester, task_type, input, taker->now, 0, false);
	MemoryContextSwitchTo(old);
	pfree(DatumGetPointer(input));
}

static void
report_had(int64 task_id)
{
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_ALREADY_ASSIGNED),
			 errmsg("the performer has or had task %lld already", (long long) task_id),
			 errdetail("A task is given to the same performer once.")));
}

/* what the assignment of a slot needs */
typedef struct Slot
{
	int64		task_id;
	int64		task_type;
	int64		requester;
	int64		reward;
	int64		group_lease;	/* that it is from; 0: none */
	bool		counted;
	Datum		input;
} Slot;

/*
 * Two sessions of a performer may be at the same task, one of them with a slot
 * that is at hand, for which the task's row is not locked.  Waits until the other is done.
 */
static void
insert_assignment(Taker *taker, const Datum *row, const bool *nulls)
{
	MemoryContext context = CurrentMemoryContext;

	PG_TRY();
	{
		child_insert(&taker->assignments, row, nulls);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
			PG_RE_THROW();
		FlushErrorState();
		report_had(DatumGetInt64(row[ASSIGNMENT_TASK_ID - 1]));
	}
	PG_END_TRY();
}

/* try: if he has or had the task, perhaps in another session that has not ended, false; else an error */
static bool
assign(Taker *taker, const Slot *slot, bool try, Accepted *accepted)
{
	TimestampTz lease_until = after_interval(taker->now, &task_type_get(slot->task_type)->lease);
	Datum		row[ASSIGNMENT_COLUMNS] = {0};
	bool		nulls[ASSIGNMENT_COLUMNS] = {false};
	MemoryContext old = MemoryContextSwitchTo(taker->context);

	accepted->values[3] = datumCopy(slot->input, false, -1);
	accepted->values[4] = NumericGetDatum(ledger_numeric(slot->reward));
	MemoryContextSwitchTo(old);

	row[ASSIGNMENT_PARTITION_ID - 1] = Int32GetDatum(taker->performer.partition);
	row[ASSIGNMENT_ASSIGNMENT_ID - 1] = Int64GetDatum(ids_next(ID_ASSIGNMENT, 1));
	row[ASSIGNMENT_PERFORMER_ID - 1] = Int64GetDatum(taker->performer.user_id);
	row[ASSIGNMENT_TASK_ID - 1] = Int64GetDatum(slot->task_id);
	row[ASSIGNMENT_TASK_TYPE_ID - 1] = Int64GetDatum(slot->task_type);
	row[ASSIGNMENT_REQUESTER_ID - 1] = Int64GetDatum(slot->requester);
	row[ASSIGNMENT_REWARD - 1] = Int64GetDatum(slot->reward);
	row[ASSIGNMENT_LEASE_TOKEN - 1] = Int64GetDatum(ids_next(ID_LEASE, 1));
	row[ASSIGNMENT_ACCEPTED_AT - 1] = TimestampTzGetDatum(taker->now);
	row[ASSIGNMENT_LEASE_UNTIL - 1] = TimestampTzGetDatum(lease_until);
	nulls[ASSIGNMENT_FINISHED_AT - 1] = true;
	row[ASSIGNMENT_GROUP_LEASE_ID - 1] = Int64GetDatum(slot->group_lease);
	nulls[ASSIGNMENT_GROUP_LEASE_ID - 1] = slot->group_lease == 0;
	row[ASSIGNMENT_COUNTED - 1] = BoolGetDatum(slot->counted);
	row[ASSIGNMENT_STATE - 1] = CStringGetTextDatum("accepted");

	if (!try)
		insert_assignment(taker, row, nulls);
	else if (!child_try_insert(&taker->assignments, ASSIGNMENT_BY_PERFORMER, row, nulls))
		return false;
	due_note(taker->performer.partition, DUE_LEASE, lease_until);
	journal_accept(taker, row);

	accepted->values[0] = row[ASSIGNMENT_ASSIGNMENT_ID - 1];
	accepted->values[1] = row[ASSIGNMENT_TASK_ID - 1];
	accepted->values[2] = row[ASSIGNMENT_TASK_TYPE_ID - 1];
	accepted->values[5] = row[ASSIGNMENT_LEASE_TOKEN - 1];
	accepted->values[6] = row[ASSIGNMENT_LEASE_UNTIL - 1];
	memset(accepted->nulls, 0, sizeof(accepted->nulls));
	dress(taker, slot->requester, accepted);
	return true;
}

/*
 * Takes a slot of the task whose row is locked and in tasks->slot, and makes
 * the assignment; returns the number of slots that are left.
 */
static int32
take(Taker *taker, Child *tasks, Accepted *accepted)
{
	static const int live[1] = {TASK_LIVE};
	int32		left = consensus_wanted(tasks) - child_int32(tasks, TASK_LIVE) - 1;
	Datum		value = Int32GetDatum(child_int32(tasks, TASK_LIVE) + 1);
	bool		isnull = false;
	Slot		slot = {
		.task_id = child_int64(tasks, TASK_TASK_ID),
		.task_type = Abs(child_int64(tasks, TASK_TASK_TYPE_ID)),	/* nobody tells a golden one */
		.requester = child_int64(tasks, TASK_REQUESTER_ID),
		.reward = child_int64(tasks, TASK_REWARD),
		.counted = consensus_counts(tasks),
	};

	slot.input = slot_getattr(tasks->slot, TASK_INPUT, &isnull);
	(void) assign(taker, &slot, false, accepted);
	child_update(tasks, 1, live, &value, &isnull);
	return left;
}

/* is the row of a task that is at hand there for the caller's snapshot? */
static bool
open_at_hand(const SourceTask *task, Child *tasks)
{
	UserHome	home;

	directory_home_by_id(task->requester, &home);
	child_open_mode(tasks, &task_table, home.partition, AccessShareLock);
	return child_find(tasks, TASK_BY_ID, 1, &task->task_id);
}

/* the same for a slot that is at hand: it is counted in the task's row already */
static bool
take_at_hand(Taker *taker, const SourceTask *task, bool try, Accepted *accepted)
{
	Slot		slot = {
		.task_id = task->task_id,
		.task_type = task->task_type,
		.requester = task->requester,
		.reward = task->reward,
		.group_lease = task->lease_id,
		.counted = task->counted,
		.input = PointerGetDatum(task->input),
	};
	Child		tasks;
	bool		taken;

	if (task->input == NULL)
	{
		bool		isnull;

		if (!open_at_hand(task, &tasks))
			elog(ERROR, "task %lld is missing", (long long) task->task_id);
		slot.input = slot_getattr(tasks.slot, TASK_INPUT, &isnull);
	}
	taken = assign(taker, &slot, try, accepted);
	if (task->input == NULL)
		child_close(&tasks);
	return taken;
}

/* ---- a given task ---- */

/* raises an error unless the locked task can be taken by the performer */
static void
check_acceptable(Taker *taker, Child *tasks, int64 task_id)
{
	if (child_int64(tasks, TASK_REQUESTER_ID) == taker->performer.user_id)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_OWN_TASK),
				 errmsg("task %lld is the performer's own", (long long) task_id)));
	if (had_before(taker, task_id))
		report_had(task_id);
	eligible_require(&taker->eligibility, child_int64(tasks, TASK_TASK_TYPE_ID),
					 child_int64(tasks, TASK_REQUESTER_ID), task_id);
}

static void
check_available(Taker *taker, Child *tasks, int64 task_id)
{
	bool		isnull;

	if (available(tasks, taker->now))
		return;
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_TASK_NOT_AVAILABLE),
			 errmsg("task %lld is not available", (long long) task_id),
			 !child_text_is(tasks, TASK_STATE, "open") ?
			 errdetail("Its state is \"%s\".",
					   TextDatumGetCString(slot_getattr(tasks->slot, TASK_STATE, &isnull))) :
			 child_int64(tasks, TASK_EXPIRES_AT) <= taker->now ? errdetail("It has expired.") :
			 child_int32(tasks, TASK_LIVE) < child_int32(tasks, TASK_PERFORMERS) ?
			 errdetail("As many performers as it may need have it at present.") :
			 errdetail("As many performers as it wants have it."),
			 errhint("taskex.accept_next() takes a task that is available.")));
}

/* a slot of the locked task that is kept for the performer, or for others who share it */
static bool
named_at_hand(Taker *taker, Child *tasks, SourceTask *task)
{
	int64		task_id = child_int64(tasks, TASK_TASK_ID);
	SourceAnswer answer = SOURCE_NONE;

	if (task_source && child_text_is(tasks, TASK_STATE, "open") && child_int64(tasks, TASK_EXPIRES_AT) > taker->now)
		answer = task_source->take(&taker->performer, task_id, taker->now, task);
	if (answer == SOURCE_EXCLUSIVE)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_EXCLUSIVE_SUPPLY),
				 errmsg("task %lld is kept for others", (long long) task_id),
				 errdetail("A group of performers, to which this one does not belong, has its free slots to itself."),
				 errhint("taskex.accept_next() takes a task that is available.")));
	return answer == SOURCE_TAKEN;
}

/* takes the task if it is on the partition */
static bool
take_named(Taker *taker, int32 partition, int64 task_id, Accepted *accepted)
{
	Child		tasks;
	bool		found;

	child_open(&tasks, &task_table, partition);
	wait_point("accept_task");
	found = child_lock(&tasks, task_id, true) == ROW_LOCKED;
	if (found)
	{
		int64		task_type = child_int64(&tasks, TASK_TASK_TYPE_ID);
		SourceTask	task;

		check_acceptable(taker, &tasks, task_id);
		if (!has_free_slot(&tasks) && named_at_hand(taker, &tasks, &task))
			(void) take_at_hand(taker, &task, false, accepted);
		else
		{
			check_available(taker, &tasks, task_id);
			feed_took(task_type, partition, task_id, take(taker, &tasks, accepted));
		}
	}
	child_close(&tasks);
	return found;
}

/* is a task that is found on the partition there for good, or a copy of one that lives elsewhere? */
static bool
lives_there(int32 partition, int64 task_id)
{
	Child		tasks;
	UserHome	home;
	bool		lives = true;

	if (likely(!moves_ghosts(partition)))
		return true;
	child_open_mode(&tasks, &task_table, partition, AccessShareLock);
	if (child_find(&tasks, TASK_BY_ID, 1, &task_id))
	{
		directory_home_by_id(child_int64(&tasks, TASK_REQUESTER_ID), &home);
		lives = home.partition == partition;
	}
	child_close(&tasks);
	return lives;
}

/* finds the task by its id, also where its requester has moved to; false: there is none */
static bool
take_wherever(Taker *taker, int64 task_id, Accepted *accepted)
{
	int32	   *partitions;
	int			count = task_id <= 0 ? 0 : directory_partitions_like(task_id % TASK_ID_STEP, TASK_ID_STEP, &partitions);
	UserHome	home;
	int64		requester;

	for (int i = 0; i < count; i++)
		if (lives_there(partitions[i], task_id) && take_named(taker, partitions[i], task_id, accepted))
			return true;
	requester = directory_forwarded("task", task_id);
	if (requester == 0)
		return false;
	directory_home_by_id(requester, &home);
	return take_named(taker, home.partition, task_id, accepted);
}

/* accept_task(performer, task_id) -> assignment */
METERED(taskex_accept_task)
{
	static const char *const names[] = {"performer", "task_id", NULL};
	Taker		taker;
	int64		task_id;
	Accepted	accepted;
	TupleDesc	desc;

	require_args(fcinfo, names);
	taker_begin(&taker, PG_GETARG_TEXT_PP(0), "accept_task()");
	task_id = PG_GETARG_INT64(1);
	if (!take_wherever(&taker, task_id, &accepted))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_TASK),
				 errmsg("task %lld does not exist", (long long) task_id)));
	taker_end(&taker);

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc),
													  accepted.values, accepted.nulls)));
}

/* ---- the next task ---- */

/* tasks that the first look at a window reads, and how the next ones grow */
#define LOOK_TASKS 16
#define LOOK_GROWTH 8

/* is the task in tasks->slot, which has a free slot, for this performer? */
static bool
suits(Taker *taker, FeedScan *scan, Child *tasks, int64 task_id)
{
	if (!available(tasks, taker->now) ||
		child_int64(tasks, TASK_REQUESTER_ID) == taker->performer.user_id ||
		eligibility_block(&taker->eligibility, child_int64(tasks, TASK_REQUESTER_ID)))
		return false;
	if (taker->golden_of != 0 && child_int64(tasks, TASK_REQUESTER_ID) != taker->golden_of)
	{
		scan->forget = true;
		return false;
	}

	/* a free task that wants one performer was had only if it came back */
	taker->candidate_new = scan->in_range || child_int32(tasks, TASK_PERFORMERS) > 1;
	return !taker->candidate_new || !had_before(taker, task_id);
}

/*
 * The first task in the scan's window that is available, is for this
 * performer, and is now claimed for him; 0: there is none.
 *
 * An index scan reads all entries of a page that are in its bounds before it
 * returns the first one, so the window is read in pieces, small ones first.
 */
static int64
claim_candidate(Taker *taker, FeedScan *scan, Child *tasks)
{
	int64		candidate = 0;
	int64		first = 0;
	int64		after = scan->after;
	int64		step = LOOK_TASKS * TASK_ID_STEP;
	bool		ghosts = moves_ghosts(scan->partition);

	while (candidate == 0 && after < scan->upto)
	{
		int64		upto = scan->upto - after > step ? after + step : scan->upto;
		ChildScan	rows;

		child_scan_begin(&rows, tasks, TASK_BY_TYPE, scan->task_type, after, upto);
		while (candidate == 0 && child_scan_next(&rows))
		{
			CHECK_FOR_INTERRUPTS();
			if (has_free_slot(tasks) &&
				likely(!ghosts || moves_lives(child_int64(tasks, TASK_REQUESTER_ID), scan->partition, rows.snapshot)))
			{
				int64		task_id = child_int64(tasks, TASK_TASK_ID);
				bool		suitable = suits(taker, scan, tasks, task_id);

				if (suitable && feed_claim(scan->shelf, task_id))
				{
					candidate = task_id;
					taker->candidate_at = tasks->slot->tts_tid;
					taker->candidate_of = child_int64(tasks, TASK_REQUESTER_ID);
					taker->candidate_on = scan->partition;
				}

				/* one that another transaction claims comes back as a range */
				if (first == 0 && (!suitable || candidate != 0))
					first = task_id;
			}
		}
		child_scan_end(&rows);
		after = upto;
		step *= LOOK_GROWTH;
	}
	feed_scan_saw(scan, first);
	return candidate;
}

/* takes the claimed task if it still can be had */
static bool
take_claimed(Taker *taker, FeedScan *scan, Child *tasks, int64 task_id, Accepted *accepted)
{
	int32		left;

	wait_point("claimed");

	/* its requester may be moving away: then it is on another shelf, or will be */
	moves_fence(taker->candidate_of);

	/*
	 * Assignments of a task are made under its row lock, so this look at what
	 * other sessions of the performer did is the last word; if the row is still
	 * as it was, so was the look before the claim.  The task may have got another
	 * type meanwhile: then it is on another shelf.
	 */
	if (!moves_lives(taker->candidate_of, scan->partition, NULL) ||
		child_lock_at(tasks, taker->candidate_at, false) != ROW_LOCKED ||
		child_int64(tasks, TASK_TASK_TYPE_ID) != scan->task_type ||
		!available(tasks, taker->now) ||
		(!(taker->candidate_new && ItemPointerEquals(&taker->candidate_at, &tasks->slot->tts_tid)) &&
		 had_before(taker, task_id)))
	{
		feed_scan_missed(scan, task_id);
		feed_claim_failed(task_id);
		return false;
	}
	left = take(taker, tasks, accepted);

	/*
	 * Of a task for several, another may end, and somebody pass it by for our
	 * claim, between our commit and the end of the claim.
	 */
	feed_claimed(task_id, child_int32(tasks, TASK_PERFORMERS) > 1 ? Max(left, 1) : left);
	return true;
}

static bool take_from_shelf(Taker *taker, Shelf *shelf, int64 task_type, Accepted *accepted);

/* a golden task of the requester instead of one from the scan's shelf */
static bool
take_golden(Taker *taker, const FeedScan *scan, int64 requester, Accepted *accepted)
{
	Shelf	   *shelf = golden_shelf(scan);
	bool		taken;

	if (shelf == NULL)
		return false;
	taker->golden_of = requester;
	taken = take_from_shelf(taker, shelf, -scan->task_type, accepted);
	taker->golden_of = 0;
	return taken;
}

/* looks through the windows of a shelf until a task is taken */
static bool
take_from_shelf(Taker *taker, Shelf *shelf, int64 task_type, Accepted *accepted)
{
	FeedScan	scan;
	Child		tasks;
	int64		type = feed_shelf_type(shelf);
	bool		more;
	bool		taken = false;
	bool		may_divert = taker->golden_of == 0;

	/* a look at the type alone, before the shelf is touched: there may be thousands */
	if (type == 0 || (task_type != 0 && type != task_type) ||
		!eligible_for_type(&taker->eligibility, type, GUARD_ACCEPT))
		return false;
	more = feed_scan_begin(&scan, shelf, type, taker->performer.user_id,
						   eligibility_blocks_mark(&taker->eligibility));
	if (!more)
		return false;
	if (!child_try_open(&tasks, &task_table, scan.partition))
	{
		shelf_release(shelf);	/* everybody has moved away, and it was dropped */
		return false;
	}
	while (more && !taken)
	{
		int64		task_id = claim_candidate(taker, &scan, &tasks);

		if (task_id == 0)
			more = feed_scan_next(&scan);
		else if (may_divert && golden_turn(&scan, taker->candidate_of))
		{
			feed_unclaim(task_id);
			may_divert = false;
			taken = take_golden(taker, &scan, taker->candidate_of, accepted);
		}
		else if (take_claimed(taker, &scan, &tasks, task_id, accepted))
		{
			feed_scan_took(&scan, task_id);
			choice_took(&taker->choice, shelf, child_int64(&tasks, TASK_CREATED_AT),
						child_int64(&tasks, TASK_EXPIRES_AT));
			taken = true;
		}
	}
	child_close(&tasks);
	return taken;
}

/* up to "wanted" tasks from the shelves; returns how many are still wanted */
static int32
take_from_shelves(Taker *taker, Shelf **shelves, int count, int64 task_type,
				  int32 wanted, ReturnSetInfo *rsinfo)
{
	for (int i = 0; i < count && wanted > 0; i++)
	{
		Accepted	accepted;

		eligible_prepare(shelves + i, count - i);
		while (wanted > 0 && take_from_shelf(taker, shelves[i], task_type, &accepted))
		{
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc,
								 accepted.values, accepted.nulls);
			wanted--;
			if (task_source)
			{
				SourceMiss	miss = {.task_id = DatumGetInt64(accepted.values[1]),.task_type = DatumGetInt64(accepted.values[2]),
				.requester = taker->candidate_of,.partition = taker->candidate_on};

				task_source->missed(&taker->performer, &miss);
			}
		}
	}
	pfree(shelves);
	return wanted;
}

/* ---- the next task, from what is at hand ---- */

/* a golden task of the requester, if it is his turn, instead of the one at hand */
static bool
take_golden_instead(Taker *taker, const SourceTask *task, Accepted *accepted)
{
	bool		idle;
	UserHome	home;
	FeedScan	scan = {.task_type = task->task_type};

	directory_home_by_id(task->requester, &home);
	scan.partition = home.partition;
	scan.shelf = feed_known_shelf(task->task_type, home.partition, &idle);
	return scan.shelf != NULL && golden_turn(&scan, task->requester) &&
		take_golden(taker, &scan, task->requester, accepted);
}

/*
 * A slot can be at hand of a task that was supplied since the snapshot of a
 * transaction with REPEATABLE READ, whose further acts would not find the task.
 */
static bool
too_new(const SourceTask *task)
{
	Child		tasks;
	bool		found;

	if (!IsolationUsesXactSnapshot())
		return false;
	found = open_at_hand(task, &tasks);
	child_close(&tasks);
	return !found;
}

/* is the task on a storage partition that cannot be read?  Its requester could not take a result. */
static bool
out_of_reach(const SourceTask *task)
{
	UserHome	home;

	directory_present_home_by_id(task->requester, &home);
	return !directory_readable(home.partition);
}

static bool
take_from_source(Taker *taker, SourceScan *scan, Accepted *accepted)
{
	SourceTask	task;

	while (task_source->next(scan, &task))
	{
		bool		golden = false;

		wait_point("at_hand");
		if (task.several && had_before(taker, task.task_id))
			task_source->refuse(scan, false);
		else if (out_of_reach(&task) || too_new(&task))
			task_source->refuse(scan, true);
		else if ((golden = take_golden_instead(taker, &task, accepted)) || take_at_hand(taker, &task, true, accepted))
		{
			if (golden)
				task_source->refuse(scan, true);
			choice_took_type(&taker->choice, task.task_type);
			return true;
		}
		else
			task_source->refuse(scan, false);	/* he has it in another session, or had it and it came back */
	}
	return false;
}

/* up to "wanted" of the tasks that are at hand; returns how many are still wanted */
static int32
take_all_at_hand(Taker *taker, SourceScan *scan, int32 wanted, ReturnSetInfo *rsinfo)
{
	Accepted	accepted;

	while (scan && wanted > 0 && take_from_source(taker, scan, &accepted))
	{
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, accepted.values, accepted.nulls);
		wanted--;
	}
	return wanted;
}

/* accept_next(performer, task_type, count) -> setof assignment */
METERED(taskex_accept_next)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Taker		taker;
	int64		task_type = 0;
	int32		wanted;
	Shelf	  **shelves;
	SourceScan *scan;
	bool		elsewhere;
	int			count;

	require_arg(fcinfo, 0, "performer");
	require_arg(fcinfo, 2, "count");
	taker_begin(&taker, PG_GETARG_TEXT_PP(0), "accept_next()");
	if (!PG_ARGISNULL(1))
	{
		task_type = PG_GETARG_INT64(1);
		task_type_get(task_type);
	}
	wanted = PG_GETARG_INT32(2);
	if (wanted < 1 || wanted > COUNT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("count must be between 1 and %d", COUNT_MAX)));
	InitMaterializedSRF(fcinfo, 0);

	eligibility_require_unblocked(&taker.eligibility, 0);
	choice_begin(&taker.choice, &taker.eligibility, task_type, taker.now);
	scan = task_source ? task_source->begin(&taker.choice, task_type) : NULL;
	elsewhere = taker.choice.stage == CHOICE_ELSEWHERE;
	if (!elsewhere)
		wanted = take_all_at_hand(&taker, scan, wanted, rsinfo);
	while (wanted > 0 && (count = choice_next(&taker.choice, &shelves)) > 0)
		wanted = take_from_shelves(&taker, shelves, count, task_type, wanted, rsinfo);
	if (unlikely(wanted > 0 && feed_crowded()))
	{
		FeedWalk	walk = {.task_type = task_type};

		while (wanted > 0 && (count = feed_walk(&walk, &shelves)) > 0)
			wanted = take_from_shelves(&taker, shelves, count, task_type, wanted, rsinfo);
	}
	if (elsewhere)
		wanted = take_all_at_hand(&taker, scan, wanted, rsinfo);
	if (unlikely(scan && wanted > 0))
	{
		task_source->others(scan);
		wanted = take_all_at_hand(&taker, scan, wanted, rsinfo);
	}
	taker_end(&taker);
	return (Datum) 0;
}
