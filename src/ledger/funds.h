/*
 * funds.h
 *	  What the current transaction spends and earns.
 */
#ifndef TASKEX_FUNDS_H
#define TASKEX_FUNDS_H

#include "postgres.h"

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

/* this transaction has brought an amount (> 0) to the account */
extern void funds_earn(int64 account, int64 amount);

#endif							/* TASKEX_FUNDS_H */
