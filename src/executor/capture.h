/*
 * capture.h
 *	  What a run says: its messages and its error.
 */
#ifndef TASKEX_EXECUTOR_CAPTURE_H
#define TASKEX_EXECUTOR_CAPTURE_H

#include "postgres.h"

#include "executor/execute.h"

/* installs the hook; once in the life of an executor */
extern void capture_install(void);

/* from now on messages are the run's output, and not the server's log's */
extern void capture_begin(void);
extern void capture_end(void);

/* what it said since capture_begin; NULL: nothing */
extern const char *capture_output(void);

/* the error as it is kept with the attempt */
extern Jsonb *capture_error(const ErrorData *error, const TakenRun *run);

#endif							/* TASKEX_EXECUTOR_CAPTURE_H */
