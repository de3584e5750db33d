/*
 * watch.h
 *	  What a session remembers of a table's rows, and when that is out of date.
 *
 * For small tables that are read on hot paths and seldom changed.  The table
 * has the trigger _taskex.table_changed(), for each statement, ENABLE ALWAYS:
 * it invalidates the table's relation cache entry, which PostgreSQL tells all
 * sessions at commit, and the own one at the end of the command and after a
 * rollback.
 *
 *		if (!watch_fresh(&watch))
 *		{
 *			rel = watch_begin(&watch, &snapshot);
 *			... read rows ...
 *			watch_end(&watch, rel, snapshot);
 *		}
 */
#ifndef TASKEX_WATCH_H
#define TASKEX_WATCH_H

#include "postgres.h"

#include "utils/rel.h"
#include "utils/snapshot.h"

/* a static variable: only the name is given, the rest is kept by watch.c */
typedef struct TableWatch
{
	const char *name;			/* of a table of _taskex */
	Oid			relid;
	bool		fresh;
	bool		changed;		/* while it was being read */
	struct TableWatch *next;
} TableWatch;

/*
 * Is what was read from the table still so?  Hears of every change whose
 * COMMIT had returned before the call.
 */
extern bool watch_fresh(TableWatch *watch);

/*
 * Opens the table and gives a snapshot of what is committed now, with this
 * transaction's own changes, whatever its isolation level.  An error before
 * watch_end leaves the watch stale.
 */
extern Relation watch_begin(TableWatch *watch, Snapshot *snapshot);
extern void watch_end(TableWatch *watch, Relation rel, Snapshot snapshot);

#endif							/* TASKEX_WATCH_H */
