/*
 * transfer.c
 *	  Transfers of the exchange's own business: holds, releases, payments.
 *
 * What these functions move out of "held" they do not check against a
 * balance: the market holds an amount for each task and pays or releases it
 * under the task's row lock.  taskex.check_ledger() would show it going wrong.
 */
#include "postgres.h"

#include "ledger/entry.h"
#include "ledger/funds.h"
#include "ledger/ledger.h"

#include "miscadmin.h"

/* moves an amount between the two sides of one account */
static void
move(const UserHome *home, EntryKind kind, int64 available, int64 held, int64 subject)
{
	SpiScope	scope;
	Entry		entry;

	spi_begin(&scope);
	entry.partition = home->partition;
	entry.account = home->user_id;
	entry.transfer_id = entry_ids(home->partition, 1);
	entry.kind = kind;
	entry.available = available;
	entry.held = held;
	entry.counterparty = home->user_id;
	entry.subject = subject;
	entry_insert(&entry, 1);
	spi_end(&scope);
}

void
ledger_hold(const UserHome *requester, int64 amount, int64 subject)
{
	Assert(amount >= 0);
	if (amount == 0)
		return;
	funds_spend(requester->user_id, requester->partition, amount);
	move(requester, ENTRY_HOLD, -amount, amount, subject);
}

void
ledger_release(const UserHome *requester, int64 amount, int64 subject)
{
	Assert(amount >= 0);
	if (amount == 0)
		return;
	move(requester, ENTRY_RELEASE, amount, -amount, subject);
	funds_earn(requester->user_id, amount);
}

/* the two entries of one transfer out of the requester's held funds */
static int
pay(Entry *entries, const UserHome *requester, int64 id, EntryKind kind,
	int64 amount, int32 to_partition, int64 to_account, int64 subject)
{
	Entry	   *from = &entries[0];
	Entry	   *to = &entries[1];

	from->partition = requester->partition;
	from->account = requester->user_id;
	from->available = 0;
	from->held = -amount;
	from->counterparty = to_account;
	to->partition = to_partition;
	to->account = to_account;
	to->available = amount;
	to->held = 0;
	to->counterparty = requester->user_id;
	from->transfer_id = to->transfer_id = id;
	from->kind = to->kind = kind;
	from->subject = to->subject = subject;
	return 2;
}

static void
pay_one(const UserHome *requester, const Payment *payment)
{
	Entry		entries[4];
	int			used = 0;
	int64		id;

	Assert(payment->reward >= 0 && payment->fee >= 0);
	if (payment->performer.partition != requester->partition)
		entry_lock(payment->performer.partition);
	id = entry_ids(requester->partition, 2);
	if (payment->reward > 0)
		used += pay(entries + used, requester, id++, ENTRY_REWARD, payment->reward,
					payment->performer.partition, payment->performer.user_id,
					payment->assignment_id);
	if (payment->fee > 0)
		used += pay(entries + used, requester, id, ENTRY_FEE, payment->fee,
					requester->partition, ACCOUNT_EXCHANGE, payment->assignment_id);
	entry_insert(entries, used);

	/* nobody spends from the exchange but taskex.withdraw(), which reads anew */
	if (payment->reward > 0)
		funds_earn(payment->performer.user_id, payment->reward);
}

void
ledger_pay(const UserHome *requester, const Payment *payments, int count)
{
	SpiScope	scope;

	spi_begin(&scope);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		pay_one(requester, &payments[i]);
	}
	spi_end(&scope);
}
