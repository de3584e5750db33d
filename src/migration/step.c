/*
 * step.c
 *	  What is done in each state of a migration, one transaction at a time.
 */
#include "postgres.h"

#include "migration/move.h"
#include "migration/mover.h"
#include "base/guc.h"
#include "directory/moves.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* logged keys that a pass applies, and those that are few */
#define PASS_KEYS 2000
#define PASS_SHORT 200

/* logged keys for which the writers are held up, at most */
#define LAST_KEYS 1000

/* how often a step is tried that fails for other reasons than locks */
#define MAX_ATTEMPTS 5

#define SECOND_MS 1000L
#define STATEMENTS_MS 300
#define WAIT_MAX_MS (10 * SECOND_MS)
#define STUCK_MAX_MS (60 * SECOND_MS)
#define BUSY_MS 100L

static Statement begin_migration = {
	"SELECT _taskex.begin_migration($1)",
	1, {INT8OID}
};

static Statement select_source = {
	"SELECT source FROM _taskex.migration WHERE migration_id = $1",
	1, {INT8OID}
};

/* a moment whose rows the rest of the step works on; the caller ends it */
static void
fresh_snapshot(void)
{
	PushActiveSnapshot(GetTransactionSnapshot());
}

static void
enter(Move *move, MoveState state)
{
	move_set_state(move, state);
	move_wait_point(state);
}

/* ---- the states ---- */

static long
step_queued(Move *move)
{
	Datum		value = Int64GetDatum(move->id);
	SpiScope	scope;
	bool		isnull;
	char	   *answer;

	move_look(move, true);
	if (move->cancel)
	{
		enter(move, MOVE_CANCELLED);
		return STEP_FINISHED;
	}
	spi_begin(&scope);
	spi_run(&begin_migration, 0, &value, NULL, SPI_VIEW_CURRENT, 1);
	answer = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
	if (strcmp(answer, "go") == 0)
	{
		spi_run(&select_source, 0, &value, NULL, SPI_VIEW_CURRENT, 1);
		move->source = DatumGetInt32(spi_value(0, 1, &isnull));
		spi_end(&scope);
		moves_publish(move->id, move->user, move->source, move->target);
		move->resumed = false;
		enter(move, MOVE_PREPARING);
		return STEP_AT_ONCE;
	}
	spi_end(&scope);
	if (strcmp(answer, "wait") == 0)
		return STEP_LATER;
	move_look(move, false);
	return STEP_FINISHED;
}

static long
step_preparing(Move *move)
{
	/* calls and plans from before the publication: they hold no lock yet, perhaps */
	if (move->nwaits < 0)
		(void) moves_wait_for_statements(STATEMENTS_MS);
	if (!prepare_waited(move))
		return TimestampDifferenceExceeds(move->began, GetCurrentTimestamp(), SECOND_MS) ? BUSY_MS : 2;
	enter(move, MOVE_COPYING);
	return STEP_AT_ONCE;
}

static long
step_copying(Move *move)
{
	if (!mover_window_open())
		return WAIT_MAX_MS;
	if (!move->listed)
	{
		move_list_tables(move, move->source, false);
		move_save(move);
	}
	else if (!copy_batch(move))
		enter(move, MOVE_FOLLOWING);
	else
		wait_point("move_batch");
	return STEP_AT_ONCE;
}

static long
step_following(Move *move)
{
	if (move->listed && verify_batch(move))
		return STEP_AT_ONCE;
	if (move->listed)
	{
		/* each with a snapshot of its own: in this one what was applied is still in the log */
		if (follow_pass(move, PASS_KEYS) == PASS_KEYS)
			return STEP_AT_ONCE;
		verify_doubts(move);
		move->follower = 0;
		enter(move, MOVE_SWITCHING);
		return STEP_AT_ONCE;
	}
	if (follow_pass(move, PASS_KEYS) <= PASS_SHORT)
	{
		move_list_tables(move, move->source, false);
		verify_counts(move);
	}
	return STEP_AT_ONCE;
}

/* the instant for which the user's writers wait */
static long
switch_home(Move *move)
{
	move_look(move, true);
	if (move->cancel)
		return STEP_AT_ONCE;
	move->ready = false;
	move->fenced_at = GetCurrentTimestamp();
	if (!moves_fence_exclusive(move->user, guc_move_stall))
	{
		long		wait = Min(BUSY_MS << Min(move->attempts, 10), WAIT_MAX_MS);

		move_set_error(move, NULL, move->attempts + 1, wait, false);
		return wait;
	}
	move->fenced = true;
	fresh_snapshot();
	if (follow_pass(move, LAST_KEYS) == LAST_KEYS)
		ereport(ERROR,
				(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
				 errmsg("too much has changed at once")));
	for (int i = 0; move_followers[i]; i++)
		if (move_followers[i]->at_switch)
			move_followers[i]->at_switch(move->user, move->source, move->target);
	moves_switch(move->id, move->user, move->source, move->target);
	enter(move, MOVE_CLEANING);
	PopActiveSnapshot();
	return STEP_AT_ONCE;
}

static long
step_switching(Move *move)
{
	const MoveFollower *follower = move_followers[move->follower];

	if (move->ready)
		return switch_home(move);
	if (follower)
	{
		if (follower->before_switch == NULL ||
			follower->before_switch(move->user, move->source, move->target))
			move->follower++;
		return STEP_AT_ONCE;
	}
	move->ready = follow_pass(move, PASS_KEYS) <= PASS_SHORT;
	if (move->ready)
		over_prepare(move);
	return STEP_AT_ONCE;
}

/* deletes what is on the partition; true: nothing is, any more */
static bool
clear_partition(Move *move, int32 partition, bool switched)
{
	if (!move->listed)
	{
		int64		left = 0;

		move_list_tables(move, partition, true);
		for (int i = 0; i < move->ntables; i++)
			left += move->tables[i].count;
		return left == 0;
	}
	if (clean_batch(move, partition, switched))
		wait_point("move_batch");
	else
		move->listed = false;	/* look once more */
	return false;
}

static long
step_cleaning(Move *move)
{
	if (!clear_partition(move, move->source, true))
		return STEP_AT_ONCE;
	follow_forget(move);
	moves_end(move->id);
	enter(move, MOVE_DONE);
	return STEP_FINISHED;
}

static long
step_undoing(Move *move)
{
	if (!clear_partition(move, move->target, false))
		return STEP_AT_ONCE;
	follow_forget(move);
	moves_end(move->id);
	enter(move, move_has_error(move) ? MOVE_FAILED : MOVE_CANCELLED);
	return STEP_FINISHED;
}

static bool
may_be_undone(MoveState state)
{
	return state >= MOVE_PREPARING && state <= MOVE_SWITCHING;
}

long
move_step(Move *move)
{
	MoveState	state = move->state;

	moves_act_as_mover();
	move_look(move, false);
	if (move->state != state)
		move->listed = false;
	if (move->cancel && may_be_undone(move->state))
	{
		enter(move, MOVE_UNDOING);
		return STEP_AT_ONCE;
	}
	switch (move->state)
	{
		case MOVE_QUEUED:
			return step_queued(move);
		case MOVE_PREPARING:
			return step_preparing(move);
		case MOVE_COPYING:
			return step_copying(move);
		case MOVE_FOLLOWING:
			return step_following(move);
		case MOVE_SWITCHING:
			return step_switching(move);
		case MOVE_CLEANING:
			return step_cleaning(move);
		case MOVE_UNDOING:
			return step_undoing(move);
		case MOVE_DONE:
		case MOVE_CANCELLED:
		case MOVE_FAILED:
			break;
	}
	return STEP_FINISHED;
}

/* ---- when a step fails ---- */

/* others were in the way: it will work when they are gone */
static bool
will_pass(int sqlstate)
{
	return ERRCODE_TO_CATEGORY(sqlstate) == ERRCODE_TRANSACTION_ROLLBACK ||
		sqlstate == ERRCODE_LOCK_NOT_AVAILABLE || sqlstate == ERRCODE_OBJECT_IN_USE ||
		sqlstate == ERRCODE_CONFIGURATION_LIMIT_EXCEEDED;
}

long
move_failed(Move *move, const ErrorData *error)
{
	bool		passes = will_pass(error->sqlerrcode);
	long		wait = Min((passes ? BUSY_MS : SECOND_MS) << Min(move->attempts, 10), passes ? WAIT_MAX_MS : STUCK_MAX_MS);
	bool		give_up = !passes && (move->attempts + 1 >= MAX_ATTEMPTS || error->sqlerrcode == ERRCODE_DATA_CORRUPTED);

	move->listed = false;
	move->resumed = true;
	move->fenced = false;
	move->ready = false;
	move->ndoubts = 0;
	move_look(move, true);
	move_set_error(move, passes ? NULL : error->message, move->attempts + 1, wait,
				   give_up && may_be_undone(move->state));
	if (give_up && move->state == MOVE_QUEUED)
	{
		move_set_state(move, MOVE_FAILED);
		return STEP_FINISHED;
	}
	return move->state == MOVE_UNDOING && give_up ? STEP_AT_ONCE : wait;
}

/* ---- by hand, for tests and where no conductor works ---- */

static Move *by_hand = NULL;

PG_FUNCTION_INFO_V1(taskex_move_step);

/* _taskex.move_step(migration_id) -> what it is in then */
Datum
taskex_move_step(PG_FUNCTION_ARGS)
{
	int64		id = PG_GETARG_INT64(0);

	if (!mover_claim(id, false))
		PG_RETURN_TEXT_P(cstring_to_text("busy"));
	if (by_hand && by_hand->id != id)
	{
		move_free(by_hand);
		by_hand = NULL;
	}
	if (by_hand == NULL)
		by_hand = move_load(id);
	if (by_hand == NULL)
		PG_RETURN_NULL();
	PG_TRY();
	{
		fresh_snapshot();
		(void) move_step(by_hand);
		PopActiveSnapshot();
	}
	PG_CATCH();
	{
		move_free(by_hand);
		by_hand = NULL;
		PG_RE_THROW();
	}
	PG_END_TRY();
	PG_RETURN_TEXT_P(cstring_to_text(move_state_name(by_hand->state)));
}
