/*
 * transfer.c
 *	  Transfers of the exchange's own business: holds, releases, payments,
 *	  bonuses.
 *
 * What these functions move out of "held" they do not check against a
 * balance: the market holds an amount for each task and pays or releases it
 * under the task's row lock.  taskex.check_ledger() would show it going wrong.
 */
#include "postgres.h"

#include "ledger/budget.h"
#include "ledger/entry.h"
#include "ledger/funds.h"
#include "ledger/ledger.h"

#include "common/int.h"
#include "fmgr.h"
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
ledger_hold(const UserHome *requester, int64 task_type, int64 amount,
			int64 first_task, int64 last_task)
{
	Assert(amount >= 0);
	if (amount == 0)
		return;
	budget_charge_tasks(requester, task_type, amount, first_task, last_task);
	funds_spend(requester->user_id, requester->partition, amount);
	move(requester, ENTRY_HOLD, -amount, amount, first_task);
}

void
ledger_hold_more(const UserHome *requester, int64 task_type, int64 amount, int64 task)
{
	Assert(amount >= 0);
	if (amount == 0)
		return;
	budget_charge_more(requester, task_type, amount, task);
	funds_spend(requester->user_id, requester->partition, amount);
	move(requester, ENTRY_HOLD, -amount, amount, task);
}

void
ledger_hold_paid(const UserHome *requester, int64 task_type, int64 amount, int64 task)
{
	Assert(amount >= 0);
	if (amount == 0)
		return;
	budget_charge(requester, task_type, amount, task);
	funds_spend(requester->user_id, requester->partition, amount);
	move(requester, ENTRY_HOLD, -amount, amount, task);
}

void
ledger_hold_moved(const UserHome *requester, int64 task_type, int64 amount, int64 task)
{
	Assert(amount >= 0);
	budget_charge_moved(requester, task_type, amount, task);
	if (amount == 0)
		return;
	funds_spend(requester->user_id, requester->partition, amount);
	move(requester, ENTRY_HOLD, -amount, amount, task);
}

void
ledger_release(const UserHome *requester, int64 amount, int64 task)
{
	Assert(amount >= 0);
	if (amount == 0)
		return;
	move(requester, ENTRY_RELEASE, amount, -amount, task);
	funds_earn(requester->user_id, amount);
	budget_return(requester, amount, task);
}

/* the two entries of one transfer out of the requester's held funds, or available ones */
static int
pay(Entry *entries, const UserHome *requester, int64 id, EntryKind kind,
	int64 amount, int32 to_partition, int64 to_account, int64 subject)
{
	Entry	   *from = &entries[0];
	Entry	   *to = &entries[1];
	bool		is_bonus = kind == ENTRY_BONUS || kind == ENTRY_BONUS_FEE;

	from->partition = requester->partition;
	from->account = requester->user_id;
	from->available = is_bonus ? -amount : 0;
	from->held = is_bonus ? 0 : -amount;
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

int64
ledger_bonus_id(const UserHome *requester, const UserHome *performer)
{
	if (performer->partition != requester->partition)
		entry_lock(performer->partition);
	return entry_ids(requester->partition, 2);
}

void
ledger_bonus(const UserHome *requester, int64 task_type, int64 id, const Payment *bonus)
{
	Entry		entries[4];
	SpiScope	scope;
	int64		total;
	int			used;

	Assert(bonus->reward > 0 && bonus->fee >= 0);
	if (pg_add_s64_overflow(bonus->reward, bonus->fee, &total))
		total = PG_INT64_MAX;	/* for ledger_multiply to refuse */
	total = ledger_multiply(total, 1, "the bonus with its fee");
	budget_charge(requester, task_type, total, bonus->assignment_id);
	funds_spend(requester->user_id, requester->partition, total);
	spi_begin(&scope);
	used = pay(entries, requester, id, ENTRY_BONUS, bonus->reward,
			   bonus->performer.partition, bonus->performer.user_id, bonus->assignment_id);
	if (bonus->fee > 0)
		used += pay(entries + used, requester, id + 1, ENTRY_BONUS_FEE, bonus->fee,
					requester->partition, ACCOUNT_EXCHANGE, bonus->assignment_id);
	entry_insert(entries, used);
	spi_end(&scope);
	funds_earn(bonus->performer.user_id, bonus->reward);
}

/* moves both sides of an account to another one's */
static void
merge(const UserHome *from, const UserHome *to, EntryKind kind, int64 available, int64 held)
{
	Entry		entries[2] = {
		{from->partition, from->user_id, 0, kind, -available, -held, to->user_id, 0},
		{to->partition, to->user_id, 0, kind, available, held, from->user_id, 0}
	};
	SpiScope	scope;

	Assert(available >= 0 && held >= 0);
	if (available == 0 && held == 0)
		return;
	if (available > 0)
		funds_spend(from->user_id, from->partition, available);
	spi_begin(&scope);
	if (from->partition != to->partition)
		entry_lock(from->partition);
	entries[0].transfer_id = entries[1].transfer_id = entry_ids(to->partition, 1);
	entry_insert(entries, 2);
	spi_end(&scope);
	if (available > 0)
		funds_earn(to->user_id, available);
}

/* ---- for functions written in PL/pgSQL; amounts in nano-units ---- */

PG_FUNCTION_INFO_V1(taskex_merge_account);

/* _taskex.merge_account(from_id, to_id, earned, available, held) */
Datum
taskex_merge_account(PG_FUNCTION_ARGS)
{
	UserHome	from;
	UserHome	to;
	int64		earned = PG_GETARG_INT64(2);

	directory_home_by_id(PG_GETARG_INT64(0), &from);
	directory_home_by_id(PG_GETARG_INT64(1), &to);
	merge(&from, &to, ENTRY_MERGE_EARNED, earned, 0);
	merge(&from, &to, ENTRY_MERGE, PG_GETARG_INT64(3) - earned, PG_GETARG_INT64(4));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(taskex_hold_more);

/* _taskex.hold_more(requester_id, task_type, amount, task_id) */
Datum
taskex_hold_more(PG_FUNCTION_ARGS)
{
	UserHome	requester;

	directory_home_by_id(PG_GETARG_INT64(0), &requester);
	ledger_hold_more(&requester, PG_GETARG_INT64(1), PG_GETARG_INT64(2), PG_GETARG_INT64(3));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(taskex_release);

/* _taskex.release(requester_id, amount, task_id) */
Datum
taskex_release(PG_FUNCTION_ARGS)
{
	UserHome	requester;

	directory_home_by_id(PG_GETARG_INT64(0), &requester);
	ledger_release(&requester, PG_GETARG_INT64(1), PG_GETARG_INT64(2));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(taskex_bonus_id);

/* _taskex.bonus_id(requester_id, performer_id) -> id for a bonus */
Datum
taskex_bonus_id(PG_FUNCTION_ARGS)
{
	UserHome	requester;
	UserHome	performer;

	directory_home_by_id(PG_GETARG_INT64(0), &requester);
	directory_home_by_id(PG_GETARG_INT64(1), &performer);
	PG_RETURN_INT64(ledger_bonus_id(&requester, &performer));
}

PG_FUNCTION_INFO_V1(taskex_pay_bonus);

/* _taskex.pay_bonus(bonus_id, requester_id, performer_id, task_type, assignment_id, amount, fee) */
Datum
taskex_pay_bonus(PG_FUNCTION_ARGS)
{
	UserHome	requester;
	Payment		bonus;

	directory_home_by_id(PG_GETARG_INT64(1), &requester);
	directory_home_by_id(PG_GETARG_INT64(2), &bonus.performer);
	bonus.assignment_id = PG_GETARG_INT64(4);
	bonus.reward = PG_GETARG_INT64(5);
	bonus.fee = PG_GETARG_INT64(6);
	ledger_bonus(&requester, PG_GETARG_INT64(3), PG_GETARG_INT64(0), &bonus);
	PG_RETURN_VOID();
}
