/*
 * billing.h
 *	  What runs and users use, and what they pay for it.
 */
#ifndef TASKEX_BILLING_H
#define TASKEX_BILLING_H

#include "postgres.h"

#include "workload/usage.h"

/* set by taskex.c */
extern const RunObserver billing_observer;

#endif							/* TASKEX_BILLING_H */
