/*
 * accrue.c
 *	  What is paid when it is used up, not before: the use of the exchange itself.
 *
 * What was used is set aside when it is known (entries of the kind usage), and
 * paid with the invoice (charge, program), exactly.  Nobody can be kept from
 * having used something, so both go below 0 if they must; who may begin to use
 * more is decided by ledger_exceeds().
 */
#include "postgres.h"

#include "ledger/entry.h"
#include "ledger/funds.h"
#include "ledger/ledger.h"

bool
ledger_exceeds(int64 account, int32 partition, int64 floor, int64 *left)
{
	return funds_exceed(account, partition, floor, left);
}

/* takes it whatever there is */
static void
take(int64 account, int32 partition, int64 amount)
{
	int64		left;

	if (!funds_take(account, partition, amount, LEDGER_NO_FLOOR, &left))
		elog(ERROR, "account " INT64_FORMAT " is overdrawn beyond all bounds", account);
}

/* one account: available to held, or back */
static void
write_entry(const UserHome *home, int64 account, EntryKind kind, int64 amount, int64 subject)
{
	SpiScope	scope;
	Entry		entry = {
		.partition = home->partition,
		.account = account,
		.kind = kind,
		.available = -amount,
		.held = amount,
		.counterparty = home->user_id,
		.subject = subject
	};

	spi_begin(&scope);
	entry.transfer_id = entry_ids(home->partition, 1);
	entry_insert(&entry, 1);
	spi_end(&scope);
}

void
ledger_accrue(const Accrual *accruals, int count)
{
	Entry	   *entries = palloc(sizeof(Entry) * count);

	for (int i = 0; i < count; i++)
	{
		const Accrual *accrual = &accruals[i];

		take(accrual->account, accrual->customer->partition, accrual->amount);
		entries[i] = (Entry) {
			.partition = accrual->customer->partition,
			.account = accrual->account,
			.kind = accrual->account == accrual->customer->user_id ? ENTRY_USAGE : ENTRY_RUN_BUDGET,
			.available = -accrual->amount,
			.held = accrual->amount,
			.counterparty = accrual->customer->user_id,
			.subject = accrual->subject
		};
	}
	entry_add(entries, count);
	pfree(entries);
}

/* moves an amount, which may be negative, between two accounts */
static void
transfer(const UserHome *customer, EntryKind kind, int64 amount, int32 to_partition, int64 to, int64 subject)
{
	SpiScope	scope;
	Entry		entries[2] = {
		{customer->partition, customer->user_id, 0, kind, -amount, 0, to, subject},
		{to_partition, to, 0, kind, amount, 0, customer->user_id, subject}
	};

	if (amount == 0)
		return;
	spi_begin(&scope);
	if (to_partition != customer->partition)
		entry_lock(to_partition);
	entries[0].transfer_id = entries[1].transfer_id = entry_ids(customer->partition, 1);
	entry_insert(entries, 2);
	spi_end(&scope);
}

void
ledger_charge(const UserHome *customer, int64 accrued, int64 total, const OwnerShare *shares, int count, int64 subject)
{
	int64		rest = total;

	/* what comes back pays first */
	if (accrued > 0)
	{
		write_entry(customer, customer->user_id, ENTRY_USAGE_RETURN, -accrued, subject);
		funds_earn(customer->user_id, accrued);
	}
	if (total > 0)
		take(customer->user_id, customer->partition, total);
	else if (total < 0)
		funds_earn(customer->user_id, -total);
	for (int i = 0; i < count; i++)
	{
		const OwnerShare *share = &shares[i];

		transfer(customer, ENTRY_PROGRAM, share->amount, share->owner.partition, share->owner.user_id, subject);
		if (share->amount > 0)
			funds_earn(share->owner.user_id, share->amount);
		else if (share->amount < 0)
			take(share->owner.user_id, share->owner.partition, -share->amount);
		rest -= share->amount;
	}

	/* nobody spends from the exchange but taskex.withdraw(), which reads anew */
	transfer(customer, ENTRY_CHARGE, rest, customer->partition, ACCOUNT_EXCHANGE, subject);
}
