/*
 * reset.h
 *	  Nothing that a run leaves behind reaches the next one.
 */
#ifndef TASKEX_EXECUTOR_RESET_H
#define TASKEX_EXECUTOR_RESET_H

#include "postgres.h"

/* installs the hooks; once in the life of an executor, after its set-up */
extern void reset_install(void);

/* in the subtransaction of a run, before and after its code */
extern void reset_begin(void);
extern void reset_in_transaction(void);

/* when the subtransaction has ended, in one way or the other */
extern void reset_session(void);

/* has the run used SET CONSTRAINTS, or COPY? */
extern bool reset_constraints_used(void);

/* something cannot be undone */
extern bool reset_worn(void);
extern void reset_wear(void);

#endif							/* TASKEX_EXECUTOR_RESET_H */
