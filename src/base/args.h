/*
 * args.h
 *	  Checks of SQL arguments that every function makes.
 */
#ifndef TASKEX_ARGS_H
#define TASKEX_ARGS_H

#include "postgres.h"

#include "fmgr.h"

/* raises null_value_not_allowed if argument n (0..) is NULL */
extern void require_arg(FunctionCallInfo fcinfo, int n, const char *name);

/* the same for arguments 0 .. of which the names are given, up to NULL */
extern void require_args(FunctionCallInfo fcinfo, const char *const *names);

/* input_too_large if a JSON value is beyond taskex.max_input_size */
extern void check_json_size(Datum value, const char *what);

#endif							/* TASKEX_ARGS_H */
