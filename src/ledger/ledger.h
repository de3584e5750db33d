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

/*
 * Moves funds of the requester from available to held; raises
 * insufficient_funds.  Sessions that spend from one account do not wait for
 * each other.
 */
extern void ledger_hold(const UserHome *requester, int64 amount, int64 subject);

/* gives held funds back */
extern void ledger_release(const UserHome *requester, int64 amount, int64 subject);

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
 * One round of background work for the current database: folds entries into
 * balances.  Runs outside any transaction.
 */
extern void ledger_maintain(void);

#endif							/* TASKEX_LEDGER_H */
