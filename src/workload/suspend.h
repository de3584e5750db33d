/*
 * suspend.h
 *	  Runs that give way before they have ended, and go on later.
 */
#ifndef TASKEX_WORKLOAD_SUSPEND_H
#define TASKEX_WORKLOAD_SUSPEND_H

#include "postgres.h"

#include "workload/run.h"

/* what a run that is running is asked for (column asked) */
#define ASK_SUSPEND "suspend"	/* to be suspended */
#define ASK_YIELD "yield"		/* to be ready again, and perhaps not be taken for long */

/*
 * The locked run, which is running, gives way: its attempt ends as suspended, and
 * does not count.  It is suspended if that was asked, else ready.  Returns its state.
 */
extern const char *attempt_suspend(Child *run, const UserHome *home, const AttemptEnd *end);

/* the same for a worker outside, with its state */
extern const char *attempt_yield(Child *run, const UserHome *home, Jsonb *state);

/* how far the locked run is (NULL: as it was), a checkpoint (the same), its lease (0: the same) */
extern void run_note(Child *run, Jsonb *progress, Jsonb *state, TimestampTz lease_until);

/* attempts of it that ended as suspended */
extern int32 run_suspensions(Child *run);

/* the locked run, which was running, needs not be stopped any more */
extern void stops_forget(Child *run);

/* the locked run, which is about to be taken, is suspended because its program is */
extern void run_hold(Child *run);

/* due_work.c: those that were asked to stop and did not in time; in the caller's transaction, or own ones */
extern int	stops_work(void);
extern void stops_maintain(void);

#endif							/* TASKEX_WORKLOAD_SUSPEND_H */
