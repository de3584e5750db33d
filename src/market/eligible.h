/*
 * eligible.h
 *	  Whom a task is for: requirements of its type, blocks of its requester.
 */
#ifndef TASKEX_ELIGIBLE_H
#define TASKEX_ELIGIBLE_H

#include "postgres.h"

#include "market/feed.h"
#include "qualification/eligibility.h"

/*
 * The session is about to ask for the types of these shelves: unless it knows
 * the first one, it learns those of all that it does not know.
 */
extern void eligible_prepare(Shelf *const *shelves, int count);

/* may he do this with tasks of the type?  From memory, but for the first of its kind */
extern bool eligible_for_type(Eligibility *eligibility, int64 task_type, Guard act);

/* raises performer_blocked or not_qualified unless he may take the task */
extern void eligible_require(Eligibility *eligibility, int64 task_type, int64 requester, int64 task_id);

#endif							/* TASKEX_ELIGIBLE_H */
