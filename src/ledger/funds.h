/*
 * funds.h
 *	  What the current transaction spends and earns.
 */
#ifndef TASKEX_FUNDS_H
#define TASKEX_FUNDS_H

#include "postgres.h"

#include "ledger/purse.h"

/*
 * Takes an amount (> 0) from the account's available funds, those first that
 * this transaction brought itself; raises insufficient_funds.  The caller
 * writes the entry.  partition is the account's, or 0 for the exchange.
 */
extern void funds_spend(int64 account, int32 partition, int64 amount);

/*
 * The same, unless that leaves less than the floor (0 or less): then takes
 * nothing, sets what there is above the floor, and returns false.
 */
extern bool funds_take(int64 account, int32 partition, int64 amount, int64 floor, int64 *available);

/*
 * Is there more than the floor?  Takes nothing; if not, *available is what
 * there is above the floor.
 */
extern bool funds_exceed(int64 account, int32 partition, int64 floor, int64 *available);

/*
 * Uses up an amount of what was set aside ahead; false: there is not as much.
 * funds_use_all: all of it, which is then given back.
 */
extern bool funds_use(int64 account, int64 amount);
extern int64 funds_use_all(int64 account);

/*
 * Is it to be looked for what a crash has left ahead?  Then funds_whole(), after
 * the tables were read: true if what was read holds, and that is done.
 */
extern bool funds_look(int64 account, PurseLook *look);
extern bool funds_whole(int64 account, const PurseLook *look);

/*
 * How much more than the amount the owner is to set aside now, for what is used
 * up next, by anybody after the commit.  Who asks takes it.
 */
extern int64 funds_ahead(int64 account, int64 owner, int64 amount, int64 floor);

/* this transaction has brought an amount (> 0) to the account */
extern void funds_earn(int64 account, int64 amount);

#endif							/* TASKEX_FUNDS_H */
