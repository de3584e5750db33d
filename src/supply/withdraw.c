/*
 * withdraw.c
 *	  Slots that are taken out of supplies, to go back: recalled by who closes or
 *	  changes the task, or given back by the supplier.
 */
#include "postgres.h"

#include "supply/stock.h"
#include "infra/xact.h"

#include "access/xact.h"

typedef struct WithdrawnItem
{
	int32		entry;			/* -1: put back */
	int32		slots;
} WithdrawnItem;

typedef struct Withdrawal
{
	bool		recall;			/* nobody gets what comes back of the others */
	int			count;
	WithdrawnItem items[FLEXIBLE_ARRAY_MEMBER];
} Withdrawal;

static void
put_back(Withdrawal *withdrawal, WithdrawnItem *item, bool committed)
{
	StockEntry	   *entry = entry_at(item->entry);

	entry->withdrawn -= item->slots;
	entry->pins--;
	if (committed)
		stock_supply_of(entry)->counts.returned += item->slots;
	else
	{
		stock_add_ready(entry, item->slots);
		entry->barred -= withdrawal->recall;
	}
	stock_settle(entry);
	item->entry = -1;
}

static void
end_withdrawal(Withdrawal *withdrawal, bool committed)
{
	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	for (int i = 0; i < withdrawal->count; i++)
		if (withdrawal->items[i].entry >= 0)
			put_back(withdrawal, &withdrawal->items[i], committed);
	LWLockRelease(stock.lock);
}

static void
withdrawal_commit(void *record)
{
	end_withdrawal(record, true);
}

static void
withdrawal_abort(void *record)
{
	end_withdrawal(record, false);
}

static const XactKind withdrawal_kind = {withdrawal_commit, withdrawal_abort};

static Withdrawal *
new_withdrawal(bool recall, int max)
{
	Withdrawal *withdrawal = xact_add(&withdrawal_kind, offsetof(Withdrawal, items) + sizeof(WithdrawnItem) * max);

	withdrawal->recall = recall;
	return withdrawal;
}

static void
withdraw(Withdrawal *withdrawal, StockEntry *entry, SupplyReturn *back)
{
	WithdrawnItem *item = &withdrawal->items[withdrawal->count];

	item->entry = index_of(entry);
	item->slots = entry->ready;
	back->task_id = entry->task_id;
	back->lease_id = stock.batches[entry->batch].lease_id;
	back->requester = entry->requester;
	back->slots = entry->ready;
	back->item = withdrawal->count++;
	if (withdrawal->recall)
	{
		stock_ring_remove(stock_supply_of(entry), entry);
		entry->barred++;
	}
	entry->withdrawn += entry->ready;
	entry->pins++;
	stock_add_ready(entry, -entry->ready);
	stock_settle(entry);
}

/*
 * The caller has the task's row locked.  So who leased slots of it has either
 * committed, and they count in the row, even if he has not come to publish
 * them; or he has not had the row yet, or gives it back, and what is here of his
 * does not count.
 */
int
stock_recall(int64 task_id, SupplyReturn *returns, int max)
{
	uint32		realm = realm_current()->serial;
	Withdrawal *withdrawal = NULL;
	TransactionId committed = InvalidTransactionId;
	TransactionId pending;
	bool		found;
	bool		again;

	LWLockAcquire(stock.lock, LW_SHARED);
	found = *stock_task_chain(task_id) >= 0;
	LWLockRelease(stock.lock);
	if (!found)
		return 0;

	withdrawal = new_withdrawal(true, max);
	do
	{
		again = false;
		pending = InvalidTransactionId;
		LWLockAcquire(stock.lock, LW_EXCLUSIVE);
		for (int32 i = *stock_task_chain(task_id), next; i >= 0 && withdrawal->count < max; i = next)
		{
			StockEntry	   *entry = entry_at(i);
			StockBatch	   *batch = &stock.batches[entry->batch];
			bool		ours = false;

			next = entry->next;
			if (entry->task_id != task_id || stock.supplies[batch->supply].realm != realm)
				continue;
			for (int k = 0; k < withdrawal->count; k++)
				ours |= withdrawal->items[k].entry == i;
			if (ours)
				continue;
			if (!batch->published && TransactionIdIsValid(committed) && TransactionIdEquals(batch->xid, committed))
				stock_publish(batch);
			if (batch->published || TransactionIdIsCurrentTransactionId(batch->xid))
				withdraw(withdrawal, entry, &returns[withdrawal->count]);
			else
				pending = batch->xid;
		}
		LWLockRelease(stock.lock);
		if (TransactionIdIsValid(pending) && !TransactionIdEquals(pending, committed) && TransactionIdDidCommit(pending))
		{
			committed = pending;
			again = true;
		}
	} while (again);
	return withdrawal->count;
}

int
stock_withdraw(int32 group, int64 task_type, int32 keep, TimestampTz now, SupplyReturn *returns, int max)
{
	Withdrawal *withdrawal = new_withdrawal(false, max);
	uint32		realm = realm_current()->serial;
	Supply	   *supply;
	int32		surplus;

	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	supply = stock_find_supply(realm, group, task_type);
	surplus = supply ? supply->ready - keep : 0;
	for (int round = 0; round < 2; round++)
		for (int32 i = supply ? supply->first_entry : -1; i >= 0 && withdrawal->count < max; i = entry_at(i)->next_of_supply)
		{
			StockEntry	   *entry = entry_at(i);
			const StockBatch *batch = &stock.batches[entry->batch];

			if (entry->ready == 0 || !batch->published)
				continue;
			if (entry->barred > 0 || entry->expires <= now || batch->lease_until <= now)
				withdraw(withdrawal, entry, &returns[withdrawal->count]);
			/* rather what members have gone past than what is new */
			else if (surplus >= entry->ready && (round > 0 || entry->seq < supply->seen))
			{
				surplus -= entry->ready;
				withdraw(withdrawal, entry, &returns[withdrawal->count]);
			}
		}
	LWLockRelease(stock.lock);
	return withdrawal->count;
}

void
stock_put_back(int32 item)
{
	Withdrawal *withdrawal = xact_find(&withdrawal_kind);

	Assert(withdrawal && item < withdrawal->count);
	LWLockAcquire(stock.lock, LW_EXCLUSIVE);
	put_back(withdrawal, &withdrawal->items[item], false);
	LWLockRelease(stock.lock);
}
