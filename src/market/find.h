/*
 * find.h
 *	  What the feed tells those who look for work.
 */
#ifndef TASKEX_FIND_H
#define TASKEX_FIND_H

#include "postgres.h"

/*
 * Is there something on the shelf, or at hand for the performer (0: for anybody),
 * as far as shared memory knows?
 */
extern bool find_is_live(int64 task_type, int64 requester, int64 performer);

#endif							/* TASKEX_FIND_H */
