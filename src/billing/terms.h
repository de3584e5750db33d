/*
 * terms.h
 *	  The terms of customers: tier, credit, budgets.
 */
#ifndef TASKEX_BILLING_TERMS_H
#define TASKEX_BILLING_TERMS_H

#include "postgres.h"

#include "billing/rate.h"

typedef struct RunBudget
{
	int64		budget_id;
	int64		program_id;		/* 0: all */
	int64		amount;			/* nano-units */
	int64		warn;			/* from then on it is told; 0: never */
	char		period;			/* n(one), d(ay), m(onth) */
} RunBudget;

typedef struct Terms
{
	int64		customer_id;
	bool		limited;		/* by ... */
	int64		credit;			/* nano-units; 0: what he has paid in */
	char		tier[TIER_MAX]; /* empty: none */
	int			budgets;
	RunBudget  *budget;
	char		status;			/* of the hash table */
} Terms;

/* good until the next call */
extern const Terms *terms_of(int64 customer_id);

/* is the program's use to be counted in the budget? */
static inline bool
budget_covers(const RunBudget *budget, int64 program_id)
{
	return budget->program_id == 0 || budget->program_id == program_id;
}

#endif							/* TASKEX_BILLING_TERMS_H */
