/*
 * policy.c
 *	  Carries out what review policies have decided.
 *
 * The dispatch of the journal queues actions in the order of their ids
 * (sql/policy_work.sql); dispatches follow each other, so what is committed later
 * has higher ids.  The conductor goes along them with a cursor of its own and
 * does each in a small transaction.  One that meets a lock is put off, and
 * tried again by its id; the cursor goes on.  Now and then the cursor is
 * stored, below everything that is put off, and what it has passed is deleted:
 * a crash makes the next conductor look at some finished actions again, and
 * none is searched for among them otherwise.
 *
 * taskex.run_due() does the same in the caller's transaction.
 */
#include "postgres.h"

#include "market/policy.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/worker.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define BATCH 200
#define PUT_OFF_MAX 1000
#define RETRY_MS 10000
#define STORE_MS 60000
#define ROUND_MS 2000

typedef struct Action
{
	int64		id;
	int32		partition;
	TimestampTz retry_at;		/* of one that was put off */
} Action;

typedef struct ActionBatch
{
	uint32		realm;
	int64		after;
	int			count;
	Action		actions[BATCH];
} ActionBatch;

static Statement select_cursor = {"SELECT handled_until FROM _taskex.policy_cursor", 0, {0}};

static Statement store_cursor = {
	"UPDATE _taskex.policy_cursor SET handled_until = $1 WHERE handled_until < $1",
	1, {INT8OID}
};

static Statement delete_passed = {
	"DELETE FROM _taskex.policy_pending WHERE action_id <= $1",
	1, {INT8OID}
};

static Statement select_pending = {
	"SELECT action_id, partition_id FROM _taskex.policy_pending WHERE action_id > $1"
	" ORDER BY action_id LIMIT 200",
	1, {INT8OID}
};

static Statement carry_out = {"SELECT _taskex.carry_out($1, $2)", 2, {INT4OID, INT8OID}};

/* the conductor's cursor, in the exchange with this serial */
static uint32 cursor_realm = 0;
static int64 cursor = 0;
static int64 stored = 0;
static TimestampTz stored_at = 0;
static Action put_off[PUT_OFF_MAX];
static int	put_off_count = 0;

static void
read_cursor(void *arg)
{
	SpiScope	scope;

	spi_begin(&scope);
	*(int64 *) arg = spi_run(&select_cursor, 0, NULL, NULL, SPI_VIEW_CURRENT, 1) == 1 ? spi_int64(0, 1) : 0;
	spi_end(&scope);
}

static void
read_pending(void *arg)
{
	ActionBatch *batch = arg;
	Datum		after = Int64GetDatum(batch->after);
	SpiScope	scope;

	batch->realm = realm_current()->serial;
	spi_begin(&scope);
	batch->count = (int) spi_run(&select_pending, 0, &after, NULL, SPI_VIEW_CURRENT, BATCH);
	for (int i = 0; i < batch->count; i++)
	{
		batch->actions[i].id = spi_int64(i, 1);
		batch->actions[i].partition = spi_int32(i, 2);
	}
	spi_end(&scope);
	if (batch->count > 0)
		batch->after = batch->actions[batch->count - 1].id;
}

/* one action; true if it has to be tried again later */
static bool
act(const Action *action)
{
	Datum		values[2] = {Int32GetDatum(action->partition), Int64GetDatum(action->id)};
	SpiScope	scope;
	bool		busy;
	bool		isnull;

	wait_point("carry_out");
	spi_begin(&scope);
	spi_run(&carry_out, 0, values, NULL, SPI_VIEW_CURRENT, 1);
	busy = strcmp(TextDatumGetCString(spi_value(0, 1, &isnull)), "busy") == 0;
	spi_end(&scope);
	return busy;
}

typedef struct SingleAction
{
	const Action *action;
	bool		busy;
} SingleAction;

static void
act_work(void *arg)
{
	SingleAction *single = arg;

	single->busy = act(single->action);
}

static bool
act_in_transaction(const Action *action)
{
	SingleAction single = {action, false};

	return worker_try_transaction("carrying out review policies", act_work, &single) && !single.busy;
}

static void
put_off_action(const Action *action, TimestampTz now)
{
	put_off[put_off_count] = *action;
	put_off[put_off_count++].retry_at = TimestampTzPlusMilliseconds(now, RETRY_MS);
}

static void
try_again(TimestampTz now)
{
	int			kept = 0;
	int			count = put_off_count;

	for (int i = 0; i < count; i++)
	{
		Action		action = put_off[i];

		CHECK_FOR_INTERRUPTS();
		if (action.retry_at <= now)
		{
			if (act_in_transaction(&action))
				continue;
			action.retry_at = TimestampTzPlusMilliseconds(now, RETRY_MS);
		}
		put_off[kept++] = action;
	}
	put_off_count = kept;
}

static void
store(void *arg)
{
	Datum		value = Int64GetDatum(*(int64 *) arg);
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&store_cursor, 0, &value, NULL, SPI_VIEW_CURRENT, 0);
	spi_run(&delete_passed, 0, &value, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

/* below everything that is put off */
static void
store_step(TimestampTz now)
{
	int64		low = cursor;

	for (int i = 0; i < put_off_count; i++)
		low = Min(low, put_off[i].id - 1);
	if (low > stored && TimestampDifferenceExceeds(stored_at, now, STORE_MS))
	{
		if (worker_try_transaction("storing the cursor of review policies", store, &low))
			stored = low;
		stored_at = now;
	}
}

/* at the start, and when the extension was dropped and made again */
static void
begin_anew(uint32 realm, TimestampTz now)
{
	worker_transaction("reading the cursor of review policies", read_cursor, &cursor);
	cursor_realm = realm;
	stored = cursor;
	stored_at = now;
	put_off_count = 0;
}

bool
policy_maintain(void)
{
	ActionBatch *batch = palloc(sizeof(ActionBatch));
	TimestampTz start = GetCurrentTimestamp();
	bool		more;

	try_again(start);
	do
	{
		batch->after = cursor;
		worker_transaction("looking for what review policies decided", read_pending, batch);
		if (batch->realm != cursor_realm)
		{
			begin_anew(batch->realm, start);
			more = true;
			continue;
		}
		more = batch->count == BATCH;
		for (int i = 0; i < batch->count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			if (put_off_count == PUT_OFF_MAX)
			{
				more = false;
				break;
			}
			if (!act_in_transaction(&batch->actions[i]))
				put_off_action(&batch->actions[i], start);
			cursor = batch->actions[i].id;
		}
	} while (more && !TimestampDifferenceExceeds(start, GetCurrentTimestamp(), ROUND_MS));
	store_step(start);
	pfree(batch);
	return more;
}

void
policy_run(void)
{
	ActionBatch *batch;

	/* as the dispatch: what others have done is to be seen */
	if (IsolationUsesXactSnapshot())
		return;
	batch = palloc(sizeof(ActionBatch));
	read_cursor(&batch->after);
	do
	{
		read_pending(batch);
		for (int i = 0; i < batch->count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			(void) act(&batch->actions[i]);
		}
	} while (batch->count == BATCH);
	pfree(batch);
}
