/*
 * demand.h
 *	  What the queue tells to executors and to who starts them: that runs wait.
 */
#ifndef TASKEX_WORKLOAD_DEMAND_H
#define TASKEX_WORKLOAD_DEMAND_H

#include "postgres.h"

#include "workload/workload.h"

/*
 * Waits for the next run, or so many milliseconds, outside any transaction; true:
 * there is one.  empty: there was one that could not be taken.
 */
extern bool queue_sleep(const QueueName *name, long milliseconds, bool empty);

/* those who sleep so look again; who has been woken for a run that he does not take says so */
extern void queue_poke(const QueueName *name);
extern void queue_poke_all(void);

/* ---- for who starts executors ---- */

typedef struct QueueDemand
{
	QueueName	name;
	int64		waiting;		/* runs that could begin */
	double		cost;			/* seconds that they will take together */
} QueueDemand;

/* queues of roles in which runs wait, at most max; listen: be called from now on when more come */
extern int	queue_demands(QueueDemand *demands, int max, bool listen);

/* this process is called; or nobody */
extern void queue_keep(bool keep);

/* the process that keeps the realm's executors has to look; takes the queue lock */
extern void queue_call_keeper(int realm_slot, uint32 realm);

/* runs that are running without a time when their lease ends */
extern int32 queue_unlimited(int64 **run_ids);

#endif							/* TASKEX_WORKLOAD_DEMAND_H */
