/*
 * find.h
 *	  What the feed tells those who look for work.
 */
#ifndef TASKEX_FIND_H
#define TASKEX_FIND_H

#include "postgres.h"

/* is there something on the shelf, as far as shared memory knows? */
extern bool find_is_live(int64 task_type, int32 partition);

#endif							/* TASKEX_FIND_H */
