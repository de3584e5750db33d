/*
 * demand.h
 *	  What the queue tells to executors and to who starts them: that runs wait.
 */
#ifndef TASKEX_WORKLOAD_DEMAND_H
#define TASKEX_WORKLOAD_DEMAND_H

#include "postgres.h"

#include "workload/workload.h"

/*
 * Waits, outside any transaction, for a run that may begin: of the queue, or of
 * one customer.
 */
typedef struct QueueSleep
{
	const QueueName *name;
	int64		customer_id;	/* 0: any */
	long		milliseconds;	/* at most */
	bool		empty;			/* there was one that could not be taken */
	bool		closed;			/* none may be taken before the next poke */
	bool		(*over) (void); /* is there something else to do?  Asked again after each poke */
} QueueSleep;

extern void queue_sleep(const QueueSleep *sleep);

/*
 * Those who sleep so look again; who has been woken for a run that he does not
 * take says so.  Takes the queue lock.
 */
extern void queue_poke(uint32 realm, const QueueName *name);
extern void queue_poke_all(uint32 realm);

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
