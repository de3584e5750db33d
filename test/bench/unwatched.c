/*
 * unwatched.c
 *	  Executors whose environment has this library do not look at statements:
 *	  what test/bench/Split.pm compares with.
 */
#include "postgres.h"

#include "executor/executor.h"
#include "fmgr.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

void
_PG_init(void)
{
	ExecutorRun_hook = NULL;
	ExecutorFinish_hook = NULL;
}
