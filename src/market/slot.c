/*
 * slot.c
 *	  A slot of a task that is no longer taken.
 */
#include "postgres.h"

#include "market/market.h"
#include "infra/spi.h"
#include "journal/journal.h"
#include "ledger/ledger.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

/*
 * An open task offers the slot again, a closed one gives its money back; that
 * may have been the last one that a decided task waited for.
 */
static Statement free_slot = {
	"UPDATE _taskex.task_%p SET live = live - 1,"
	" released = released + CASE WHEN state = 'open' THEN 0 ELSE 1 END,"
	" state = CASE WHEN state = 'decided' AND judged + released + 1 = performers THEN 'complete' ELSE state END"
	" WHERE task_id = $1 RETURNING state = 'open', reward + fee, task_type_id,"
	" state = 'complete'",
	1, {INT8OID}
};

int64
slot_free(const FreedSlot *slot)
{
	Datum		value = Int64GetDatum(slot->task_id);
	SpiScope	scope;
	bool		open;
	int64		amount;
	int64		task_type;
	bool		completed;
	bool		isnull;

	spi_begin(&scope);
	if (spi_run(&free_slot, slot->requester.partition, &value, NULL, SPI_VIEW_CURRENT, 0) != 1)
		elog(ERROR, "task %lld is missing", (long long) slot->task_id);
	open = DatumGetBool(spi_value(0, 1, &isnull));
	amount = spi_int64(0, 2);
	task_type = spi_int64(0, 3);
	completed = DatumGetBool(spi_value(0, 4, &isnull));
	if (open)
		feed_reoffer(task_type, slot->requester.partition, slot->task_id);
	else if (amount > 0)
		ledger_release(&slot->requester, amount, slot->task_id);
	if (completed)
	{
		JournalAct	act = {.kind = "completed", .requester_id = slot->requester.user_id,
		.task_type_id = task_type, .task_id = slot->task_id};

		journal_write(&act);
	}
	spi_end(&scope);
	return open ? -1 : amount;
}
