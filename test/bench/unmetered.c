/*
 * unmetered.c
 *	  Sessions that have this library meter nothing: what test/bench/Billing.pm compares with.
 */
#include "postgres.h"

#include "fmgr.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

extern PGDLLIMPORT const struct RunObserver *run_observer;

void
_PG_init(void)
{
	run_observer = NULL;
}
