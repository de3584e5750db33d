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
#include "base/clock.h"
#include "infra/ids.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"

/* entries are prepared and inserted by so many transfers at most */
#define CHUNK 5000

/*
 * One payment of a reward and a fee, which is what an approval makes: without
 * the arrays of entry_insert.  The performer's own entry is in the first
 * statement if he lives where the requester does.
 */
#define PAYMENT_ROWS(performer) \
	"INSERT INTO _taskex.entry_%p (partition_id, at, subject_id, kind, transfer_id," \
	" account_id, available, held, counterparty) VALUES" \
	" ($1, $2, $3, 'reward', $4, $5, 0, -$7, $6)," performer \
	" ($1, $2, $3, 'fee', $4 + 1, $5, 0, -$8, 0)," \
	" ($1, $2, $3, 'fee', $4 + 1, 0, $8, 0, $5)"

#define PAYMENT_ARGS \
	8, {INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID}

static Statement pay_near = {
	PAYMENT_ROWS(" ($1, $2, $3, 'reward', $4, $6, $7, 0, $5),"), PAYMENT_ARGS
};

static Statement pay_far = {PAYMENT_ROWS(""), PAYMENT_ARGS};

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
pay_chunk(const UserHome *requester, const Payment *payments, int count, Entry *entries)
{
	int64		id;
	int			used = 0;

	entry_lock(requester->partition);
	for (int i = 0; i < count; i++)
		if (payments[i].performer.partition != requester->partition &&
			(i == 0 || payments[i].performer.partition != payments[i - 1].performer.partition))
			entry_lock(payments[i].performer.partition);

	id = ids_next(ID_TRANSFER, 2 * count);
	for (int i = 0; i < count; i++)
	{
		const Payment *payment = &payments[i];

		Assert(payment->reward >= 0 && payment->fee >= 0);
		if (payment->reward > 0)
			used += pay(entries + used, requester, id++, ENTRY_REWARD, payment->reward,
						payment->performer.partition, payment->performer.user_id,
						payment->assignment_id);
		if (payment->fee > 0)
			used += pay(entries + used, requester, id++, ENTRY_FEE, payment->fee,
						requester->partition, ACCOUNT_EXCHANGE, payment->assignment_id);
	}
	entry_insert(entries, used);

	/* nobody spends from the exchange but taskex.withdraw(), which reads anew */
	for (int i = 0; i < count; i++)
		if (payments[i].reward > 0)
			funds_earn(payments[i].performer.user_id, payments[i].reward);
}

static void
pay_one(const UserHome *requester, const Payment *payment)
{
	bool		together = payment->performer.partition == requester->partition;
	Datum		values[8];
	int64		id;

	if (!together)
		entry_lock(payment->performer.partition);
	id = entry_ids(requester->partition, 2);
	values[0] = Int32GetDatum(requester->partition);
	values[1] = TimestampTzGetDatum(clock_now());
	values[2] = Int64GetDatum(payment->assignment_id);
	values[3] = Int64GetDatum(id);
	values[4] = Int64GetDatum(requester->user_id);
	values[5] = Int64GetDatum(payment->performer.user_id);
	values[6] = Int64GetDatum(payment->reward);
	values[7] = Int64GetDatum(payment->fee);
	spi_run(together ? &pay_near : &pay_far, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0);
	if (!together)
	{
		Entry		entries[2];

		pay(entries, requester, id, ENTRY_REWARD, payment->reward,
			payment->performer.partition, payment->performer.user_id, payment->assignment_id);
		entry_insert(&entries[1], 1);
	}
	funds_earn(payment->performer.user_id, payment->reward);
}

void
ledger_pay(const UserHome *requester, const Payment *payments, int count)
{
	SpiScope	scope;
	Entry	   *entries;

	spi_begin(&scope);
	if (count == 1 && payments->reward > 0 && payments->fee > 0)
	{
		pay_one(requester, payments);
		spi_end(&scope);
		return;
	}
	entries = palloc(sizeof(Entry) * 4 * Min(count, CHUNK));
	for (int first = 0; first < count; first += CHUNK)
	{
		CHECK_FOR_INTERRUPTS();
		pay_chunk(requester, payments + first, Min(count - first, CHUNK), entries);
	}
	spi_end(&scope);
}
