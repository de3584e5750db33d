/*
 * interpreter.h
 *	  Whose code has run in an interpreter of this process.
 */
#ifndef TASKEX_EXECUTOR_INTERPRETER_H
#define TASKEX_EXECUTOR_INTERPRETER_H

#include "postgres.h"

/* may code of the language leave something behind in its interpreter? */
extern bool interpreter_keeps(Oid language);

/* code of this user is about to run, in whatever language */
extern void interpreter_author(int64 user_id);

/* it runs in an interpreter, now */
extern void interpreter_used(void);

/* whose code has been in one; 0: nobody's.  If several have, interpreter_mixed(). */
extern int64 interpreter_owner(void);
extern bool interpreter_mixed(void);

#endif							/* TASKEX_EXECUTOR_INTERPRETER_H */
