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

/* this transaction has brought an amount (> 0) to the account */
extern void funds_earn(int64 account, int64 amount);

#endif							/* TASKEX_FUNDS_H */
