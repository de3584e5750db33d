/*
 * slot.c
 *	  A slot of a task that is no longer taken.
 */
#include "postgres.h"

#include "market/market.h"
#include "market/source.h"
#include "infra/spi.h"
#include "journal/journal.h"
#include "ledger/ledger.h"
#include "market/rows.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

/*
 * An open task offers the slot again, a closed one gives its money back; that
 * may have been the last one that a decided task waited for.
 */
static Statement free_slot = {
	"UPDATE _taskex.task_%p SET live = live - $2,"
	" released = released + CASE WHEN state = 'open' THEN 0 ELSE $2 END,"
	" state = CASE WHEN state = 'decided' AND judged + released + $2 = performers THEN 'complete' ELSE state END"
	" WHERE task_id = $1 RETURNING state = 'open', (reward + fee) * $2, task_type_id,"
	" state = 'complete'",
	2, {INT8OID, INT4OID}
};

static Statement give_up_slots = {
	"UPDATE _taskex.task_%p SET live = live - $2, released = released + $2"
	" WHERE task_id = $1 RETURNING (reward + fee) * $2",
	2, {INT8OID, INT4OID}
};

int32
source_recall_locked(Child *tasks, int64 task_id)
{
	static const int live[1] = {TASK_LIVE};
	int32		slots = task_source ? task_source->recall(task_id) : 0;

	if (slots > 0)
	{
		Datum		value = Int32GetDatum(child_int32(tasks, TASK_LIVE) - slots);
		bool		isnull = false;

		feed_reoffer(child_int64(tasks, TASK_TASK_TYPE_ID), child_int32(tasks, TASK_PARTITION_ID), task_id);
		child_update(tasks, 1, live, &value, &isnull);
	}
	return slots;
}

void
source_recall_closed(const UserHome *requester, int64 task_id, int32 *slots, int64 *amount)
{
	int32		recalled = task_source ? task_source->recall(task_id) : 0;
	Datum		values[2] = {Int64GetDatum(task_id), Int32GetDatum(recalled)};
	SpiScope	scope;

	if (recalled == 0)
		return;
	spi_begin(&scope);
	if (spi_run(&give_up_slots, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0) != 1)
		elog(ERROR, "task %lld is missing", (long long) task_id);
	*slots += recalled;
	*amount += spi_int64(0, 1);
	spi_end(&scope);
}

int64
slots_free(const UserHome *requester, int64 task_id, int32 count)
{
	Datum		values[2] = {Int64GetDatum(task_id), Int32GetDatum(count)};
	SpiScope	scope;
	bool		open;
	int64		amount;
	int64		task_type;
	bool		completed;
	bool		isnull;

	spi_begin(&scope);
	if (spi_run(&free_slot, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0) != 1)
		elog(ERROR, "task %lld is missing", (long long) task_id);
	open = DatumGetBool(spi_value(0, 1, &isnull));
	amount = spi_int64(0, 2);
	task_type = spi_int64(0, 3);
	completed = DatumGetBool(spi_value(0, 4, &isnull));
	if (open)
		feed_reoffer(task_type, requester->partition, task_id);
	else if (amount > 0)
		ledger_release(requester, amount, task_id);
	if (completed)
	{
		JournalAct	act = {.kind = "completed", .requester_id = requester->user_id,
		.task_type_id = task_type, .task_id = task_id};

		journal_write(&act);
	}
	spi_end(&scope);
	return open ? -1 : amount;
}

int64
slot_free(const FreedSlot *slot)
{
	return slots_free(&slot->requester, slot->task_id, 1);
}
