/*
 * internal.h
 *	  What launcher, conductor and the hook on databases share.
 */
#ifndef TASKEX_LAUNCHER_INTERNAL_H
#define TASKEX_LAUNCHER_INTERNAL_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "infra/worker.h"

/* conductor.c */
extern WorkerKind conductor_kind;

/* launcher.c: a conductor reports; false: it is not wanted */
extern bool conductor_begins(void);
extern void conductor_ends(bool no_exchange);

/*
 * launcher.c: no conductor in the database until then (0: as soon as may be);
 * returns the pid of the one that runs, or 0.
 */
extern pid_t launcher_hold_off(Oid database, TimestampTz until);
extern bool launcher_held_off(Oid database);

/* database_hook.c */
extern void database_hook_install(void);

#endif							/* TASKEX_LAUNCHER_INTERNAL_H */
