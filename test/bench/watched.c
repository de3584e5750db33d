/*
 * watched.c
 *	  A session that calls taskex_watch() looks at its statements as an executor
 *	  does while it executes a run: for test/bench/watching.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;

PGDLLEXPORT PG_FUNCTION_INFO_V1(taskex_watch);

Datum
taskex_watch(PG_FUNCTION_ARGS)
{
	void		(*install) (void) = (void (*) (void)) load_external_function("$libdir/taskex", "measure_install", true, NULL);
	void		(*begin) (int64) = (void (*) (int64)) load_external_function("$libdir/taskex", "measure_begin", true, NULL);

	install();
	begin(0);
	PG_RETURN_VOID();
}
