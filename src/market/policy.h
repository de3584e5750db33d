/*
 * policy.h
 *	  Carrying out what review policies have decided.
 */
#ifndef TASKEX_POLICY_H
#define TASKEX_POLICY_H

#include "postgres.h"

/*
 * One round of background work, outside any transaction; returns whether there
 * is more to do at once.
 */
extern bool policy_maintain(void);

/* all that is pending, in the caller's transaction */
extern void policy_run(void);

#endif							/* TASKEX_POLICY_H */
