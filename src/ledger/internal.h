/*
 * internal.h
 *	  What the files of the ledger share among themselves.
 */
#ifndef TASKEX_LEDGER_INTERNAL_H
#define TASKEX_LEDGER_INTERNAL_H

#include "postgres.h"

#include "directory/directory.h"

/* of a round of the conductor: what was set aside ahead comes back where nobody uses it */
extern void accrue_maintain(void);

/* an amount for a message */
extern char *amount_text(int64 nano);

/*
 * The account that a caller wants to read; true for the exchange's own
 * accounts, which are on all partitions (home->partition is 0) and which only
 * operators read.
 */
extern bool account_for_reading(const text *login, UserHome *home);

#endif							/* TASKEX_LEDGER_INTERNAL_H */
