/*
 * charge.h
 *	  Which budgets' accounts a task was charged to, so that what is released
 *	  goes back there.
 *
 * All of it is written and read under the row locks of the tasks concerned
 * (but for the charge of new tasks, which nobody else knows yet).
 */
#ifndef TASKEX_CHARGE_H
#define TASKEX_CHARGE_H

#include "postgres.h"

#include "directory/directory.h"

/* budgets that one charge can fall under: of all types and of one, each of three periods */
#define CHARGE_MAX 6

typedef struct Charge
{
	int64		amount;			/* of each account */
	int			count;
	int64		accounts[CHARGE_MAX];
} Charge;

/* new tasks first .. last */
extern void charge_supplied(const UserHome *requester, const Charge *charge, int64 first, int64 last);

/* a task that has no charge left, whatever it had */
extern void charge_moved(const UserHome *requester, const Charge *charge, int64 task);

/* more for a task */
extern void charge_added(const UserHome *requester, const Charge *charge, int64 task);

/*
 * Takes off what was charged last, at most the given amount; returns it.  The
 * rest was charged before, to other accounts: the caller asks again.
 */
extern Charge charge_take(const UserHome *requester, int64 amount, int64 task);

#endif							/* TASKEX_CHARGE_H */
