/*
 * accrue.c
 *	  What is paid when it is used up, not before: the use of the exchange itself.
 *
 * What was used is set aside when it is known (entries of the kind usage), and
 * paid with the invoice (charge, program), exactly.  Nobody can be kept from
 * having used something, so both go below 0 if they must; who may begin to use
 * more is decided by ledger_exceeds().
 *
 * Who uses much has something set aside ahead (usage_ahead), so that not each
 * attempt needs an entry: see README.md, "Ahead".
 */
#include "postgres.h"

#include "ledger/entry.h"
#include "ledger/funds.h"
#include "ledger/internal.h"
#include "ledger/ledger.h"
#include "ledger/purse.h"
#include "infra/realm.h"
#include "infra/worker.h"

#include "fmgr.h"
#include "utils/timestamp.h"

/* what was set aside ahead and is used by nobody for so long comes back; how often that is looked for, of how many at once */
#define IDLE_US (INT64CONST(30) * USECS_PER_SEC)
#define IDLE_LOOK_US (INT64CONST(10) * USECS_PER_SEC)
#define IDLE_ROUND 100

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

static Entry
entry_of(const UserHome *customer, int64 account, int64 amount, int64 subject)
{
	EntryKind	kind = account != customer->user_id ? ENTRY_RUN_BUDGET : subject != 0 ? ENTRY_USAGE : ENTRY_USAGE_AHEAD;

	return (Entry) {
		.partition = customer->partition,
		.account = account,
		.kind = kind,
		.available = -amount,
		.held = amount,
		.counterparty = customer->user_id,
		.subject = subject
	};
}

/*
 * What others have set aside ahead costs no entry.  Who finds too little of it
 * sets aside what he needs, and now and then more, for those who come after him.
 */
void
ledger_accrue(const Accrual *accruals, int count)
{
	Entry	   *entries = palloc(sizeof(Entry) * 2 * count);
	int			entry_count = 0;

	for (int i = 0; i < count; i++)
	{
		const Accrual *accrual = &accruals[i];
		const UserHome *customer = accrual->customer;
		int64		ahead;

		if (funds_use(accrual->account, accrual->amount))
			continue;
		ahead = funds_ahead(accrual->account, customer->user_id, accrual->amount, accrual->floor);
		take(accrual->account, customer->partition, accrual->amount + ahead);
		entries[entry_count++] = entry_of(customer, accrual->account, accrual->amount, accrual->subject);
		if (ahead > 0)
			entries[entry_count++] = entry_of(customer, accrual->account, ahead, 0);
	}
	if (entry_count > 0)
		entry_add(entries, entry_count);
	pfree(entries);
}

/* ---- what is ahead comes back ---- */

static void
give_back(const UserHome *customer, int64 account)
{
	int64		amount = funds_use_all(account);
	Entry		entry = entry_of(customer, account, -amount, 0);

	if (amount == 0)
		return;
	entry_add(&entry, 1);
	funds_earn(account, amount);
}

void
ledger_recover(const UserHome *customer, int64 (*read) (const UserHome *customer))
{
	PurseLook	look;
	int64		lost;
	Entry		entry;

	if (!funds_look(customer->user_id, &look))
		return;
	lost = read(customer) - look.ahead;
	if (!funds_whole(customer->user_id, &look) || lost <= 0)
		return;
	entry = entry_of(customer, customer->user_id, -lost, 0);
	entry_add(&entry, 1);
	funds_earn(customer->user_id, lost);
}

typedef struct IdleRound
{
	int64		idle_us;
	int			count;			/* of accounts that gave something back */
} IdleRound;

static void
give_back_idle(void *arg)
{
	IdleRound  *round = arg;
	IdlePurse	idle[IDLE_ROUND];

	round->count = purse_find_idle(realm_current()->serial, GetCurrentTimestamp(), round->idle_us, idle, IDLE_ROUND);
	for (int i = 0; i < round->count; i++)
	{
		UserHome	customer;

		if (directory_find_home_by_id(idle[i].owner, &customer))
			give_back(&customer, idle[i].account);
	}
}

void
accrue_maintain(void)
{
	static TimestampTz looked = 0;
	TimestampTz now = GetCurrentTimestamp();
	IdleRound	round = {IDLE_US};

	if (now - looked < IDLE_LOOK_US)
		return;
	looked = now;
	(void) worker_try_transaction("giving back what was set aside for runs", give_back_idle, &round);
}

PG_FUNCTION_INFO_V1(taskex_give_back_ahead);

/* _taskex.give_back_ahead() -> number of accounts: all that is ahead, used just now or not */
Datum
taskex_give_back_ahead(PG_FUNCTION_ARGS)
{
	IdleRound	round = {0};
	int			count = 0;

	directory_require_admin("give back what was set aside");
	do
	{
		give_back_idle(&round);
		count += round.count;
	} while (round.count == IDLE_ROUND);
	PG_RETURN_INT32(count);
}

/* ---- invoices ---- */

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

	/* what comes back pays first, also what was set aside ahead: those who come next set aside anew */
	if (accrued > 0)
	{
		give_back(customer, customer->user_id);
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
