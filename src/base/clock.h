/*
 * clock.h
 *	  The one source of time.
 */
#ifndef TASKEX_CLOCK_H
#define TASKEX_CLOCK_H

#include "postgres.h"

#include "datatype/timestamp.h"

/* now, or what taskex.clock says */
extern TimestampTz clock_now(void);

/* does taskex.clock stand still in this process? */
extern bool clock_is_set(void);

#endif							/* TASKEX_CLOCK_H */
