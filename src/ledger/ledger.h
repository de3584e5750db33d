/*
 * ledger.h
 *	  Money: double-entry transfers, escrow, and the funds that may be spent.
 *
 * Amounts are nano-units (1e-9), never negative.  "subject" is the id of what
 * the money is for: a task (hold, release), an assignment (payment).
 */
#ifndef TASKEX_LEDGER_H
#define TASKEX_LEDGER_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "directory/directory.h"
#include "infra/shmem.h"
#include "utils/numeric.h"

/* system accounts */
#define ACCOUNT_EXCHANGE INT64CONST(0)
#define ACCOUNT_OUTSIDE INT64CONST(-1)

extern const ShmemPart purse_shmem;

/*
 * numeric -> nano-units and back.  ledger_nano raises amount_out_of_range for
 * NaN, infinities, negative amounts, amounts finer than a nano-unit and
 * amounts of 9e9 units or more; "what" names the amount in the message.
 */
extern int64 ledger_nano(Numeric amount, const char *what);
extern Numeric ledger_numeric(int64 nano);

/* amount * count, raising amount_out_of_range on overflow */
extern int64 ledger_multiply(int64 amount, int64 count, const char *what);

/* what a fee is taken for */
typedef enum FeeKind
{
	FEE_REWARD,					/* an assignment */
	FEE_BONUS
} FeeKind;

/*
 * The exchange's fee for one assignment (or one bonus) that pays the amount,
 * by the rules that hold now, rounded down to the nano-unit.  performers is
 * the task's plurality; 1 for a bonus.
 */
extern int64 ledger_fee(FeeKind kind, int64 requester_id, int64 task_type,
						int32 performers, int64 amount);

/*
 * Moves funds of the requester from available to held, for new tasks whose ids
 * are first .. last; raises insufficient_funds or budget_exceeded.  Sessions
 * that spend from one account do not wait for each other.
 */
extern void ledger_hold(const UserHome *requester, int64 task_type, int64 amount,
						int64 first_task, int64 last_task);

/* the same, more for a task that there is already; and what is paid at once, none of which comes back */
extern void ledger_hold_more(const UserHome *requester, int64 task_type, int64 amount, int64 task);
extern void ledger_hold_paid(const UserHome *requester, int64 task_type, int64 amount, int64 task);

/* the same for one that got another type: later releases go to the budgets of that */
extern void ledger_hold_moved(const UserHome *requester, int64 task_type, int64 amount, int64 task);

/* gives held funds of a task back, also to the budgets that it was charged to, last first */
extern void ledger_release(const UserHome *requester, int64 amount, int64 task);

/* one payment out of held funds, for ledger_pay */
typedef struct Payment
{
	int64		assignment_id;
	UserHome	performer;
	int64		reward;
	int64		fee;			/* to the exchange */
} Payment;

/* pays rewards and fees out of the requester's held funds */
extern void ledger_pay(const UserHome *requester, const Payment *payments, int count);

/*
 * Pays a bonus and its fee out of the requester's available funds; raises
 * insufficient_funds or budget_exceeded.  id is the first of two taken by
 * ledger_bonus_id, and becomes that of the bonus's transfer.
 */
extern int64 ledger_bonus_id(const UserHome *requester, const UserHome *performer);
extern void ledger_bonus(const UserHome *requester, int64 task_type, int64 id, const Payment *bonus);

/* ---- accrue.c: what is paid when it is used up, not before ---- */

/* as far below 0 as an account can be */
#define LEDGER_NO_FLOOR (-INT64CONST(9000000000000000000))

/*
 * Has the account more than the floor to spend?  Sessions that ask and spend do
 * not wait for each other.  *left, if not: what there is above the floor.
 */
extern bool ledger_exceeds(int64 account, int32 partition, int64 floor, int64 *left);

/* the account of the period of a budget in which a time lies */
extern int64 ledger_period_account(int64 budget_id, char period, TimestampTz at);

/* an amount (> 0) that a customer has used up */
typedef struct Accrual
{
	const UserHome *customer;
	int64		account;		/* his own, or a budget's: what was spent of that rises */
	int64		amount;
	int64		subject;
	int64		floor;			/* below which nothing more is begun */
} Accrual;

/* sets them aside, also more than there is */
extern void ledger_accrue(const Accrual *accruals, int count);

/* whose programs a customer has used, and what they get of it */
typedef struct OwnerShare
{
	UserHome	owner;
	int64		amount;
} OwnerShare;

/*
 * Gives back what a crash has left set aside for runs to come.  read: what is set
 * aside for the customer beyond what he has used, by the tables; it is called only if that was not looked for yet, and
 * nobody else changes it now.
 */
extern void ledger_recover(const UserHome *customer, int64 (*read) (const UserHome *customer));

/*
 * Gives back what was set aside (0 or more) and pays the total, which may be
 * negative, and more than there is: shares to their owners, the rest to the
 * exchange.
 */
extern void ledger_charge(const UserHome *customer, int64 accrued, int64 total, const OwnerShare *shares, int count,
						  int64 subject);

/*
 * One round of background work for the current database: folds entries into
 * balances, and gives back what was set aside and nobody uses.  Runs outside any transaction.
 */
extern void ledger_maintain(void);

#endif							/* TASKEX_LEDGER_H */
