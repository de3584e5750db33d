/*
 * body.h
 *	  The code of runs as functions, and the data that they are called with.
 *
 * Code is the body of a function (data jsonb) RETURNS jsonb in its environment's
 * language.  Where it is run there is such a function among the session's
 * temporary objects, made when the code is first needed.
 */
#ifndef TASKEX_EXECUTOR_BODY_H
#define TASKEX_EXECUTOR_BODY_H

#include "postgres.h"

#include "directory/directory.h"
#include "utils/jsonb.h"
#include "workload/environment.h"

/* ---- body.c ---- */

/*
 * The function of a program's version or, if program_id is 0, of this code; made
 * as the current user, unless this session has it.  A program's source may be
 * NULL: then it is looked up.  Errors of the compiler are raised as they are.
 */
extern Oid	body_function(const char *language, int64 program_id, int32 version, const char *source);

/* makes a function in a schema and lets its language look at it, as the current user */
extern Oid	body_create(const char *language, Oid schema, const char *name, const char *source);

/* is it a language whose code can do all that the server can? */
extern bool body_untrusted(const char *language);

/* ---- body_check.c ---- */

/*
 * Raises code_invalid unless the code compiles as the user's role, and an error
 * unless he may have code in the environment.  For submit_run, too.
 */
extern void body_check(const UserHome *owner, const KnownEnvironment *environment, const char *source);
extern void body_check_submitted(const UserHome *customer, const KnownEnvironment *environment, const text *code);

/* ---- body_call.c ---- */

/* what a run runs */
typedef struct BodyRun
{
	int32		environment_id;
	int64		customer_id;
	int64		program_id;		/* 0: none */
	int32		version;
	const char *code;			/* of a run without a program, or NULL */
	Jsonb	   *options;		/* the run's, or NULL */
} BodyRun;

/* is all of its code this user's?  In a transaction, as somebody who may read programs. */
extern bool body_is_by(const BodyRun *run, int64 user_id);

/*
 * Runs it as the current user, all pieces of a chain one after the other; errors
 * are raised as they are.  The result is in the current memory context.
 */
extern Datum body_call(const BodyRun *run, Datum data, bool no_data, bool *no_result);

/*
 * How many us the pieces of the chain that was called last have taken, until now
 * if one is being executed; count 0: it was no chain, or nothing was called
 * since body_times_reset.  Good until the next call.
 */
extern void body_times_reset(void);
extern const int64 *body_times(int *count);

/* ---- data.c ---- */

/*
 * What a data_ref points to, read as the current user.  Raises data_unavailable
 * if it is not what its checksum says, too large, or no JSON.
 */
extern Jsonb *data_resolve(Jsonb *data_ref);

#endif							/* TASKEX_EXECUTOR_BODY_H */
