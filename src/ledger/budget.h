/*
 * budget.h
 *	  Bounds on what a requester's tasks and bonuses may cost.
 *
 * For the files of the ledger: ledger_hold, ledger_release and ledger_bonus
 * keep budgets by themselves.  How they count is told in README.md.
 */
#ifndef TASKEX_BUDGET_H
#define TASKEX_BUDGET_H

#include "postgres.h"

#include "directory/directory.h"

/* a requester has at most so many */
#define BUDGETS_MAX 1000

/*
 * Takes an amount from each budget that it falls under; raises
 * budget_exceeded.  subject is what the entries name, a task or an assignment.
 */
extern void budget_charge(const UserHome *requester, int64 task_type, int64 amount, int64 subject);

/* budget_charge for tasks first .. last, whose money may come back */
extern void budget_charge_tasks(const UserHome *requester, int64 task_type, int64 amount,
								int64 first, int64 last);

/* budget_charge for more of a task that there is: it comes back first */
extern void budget_charge_more(const UserHome *requester, int64 task_type, int64 amount, int64 task);

/*
 * budget_charge for a task whose money has come back and which has another
 * type now: what is returned from now on goes where this was taken from.
 */
extern void budget_charge_moved(const UserHome *requester, int64 task_type, int64 amount, int64 task);

/* gives an amount of a task back to those budgets that it was taken from; what was taken last first */
extern void budget_return(const UserHome *requester, int64 amount, int64 task);

#endif							/* TASKEX_BUDGET_H */
