/*
 * waitpoint.h
 *	  Places where a test can stop a session.
 *
 * wait_point("x") does nothing unless taskex.wait_point is 'x'; then it takes
 * and releases the advisory lock WAIT_POINT_LOCK, so that a test which holds
 * that lock decides when the session goes on.
 */
#ifndef TASKEX_WAITPOINT_H
#define TASKEX_WAITPOINT_H

#include "postgres.h"

#include "base/guc.h"

#define WAIT_POINT_LOCK 7411

extern void wait_point_stop(void);

#define wait_point(name) \
	do { \
		if (unlikely(guc_wait_point[0] != '\0') && strcmp(guc_wait_point, (name)) == 0) \
			wait_point_stop(); \
	} while (0)

#endif							/* TASKEX_WAITPOINT_H */
