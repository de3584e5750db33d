/*
 * queue.h
 *	  The queue of runs as it lies in shared memory.  README.md explains the words.
 */
#ifndef TASKEX_WORKLOAD_QUEUE_H
#define TASKEX_WORKLOAD_QUEUE_H

#include "postgres.h"

#include "base/guc.h"
#include "infra/realm.h"
#include "workload/heap.h"
#include "workload/workload.h"

#include "port/atomics.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"

#define PRIORITIES 10

/* most ready entries of a lane; it is refilled when this part of them is left */
#define LANE_ENTRIES 1024
#define LANE_REFILL (LANE_ENTRIES / 4)

#define NO_LIMIT PG_INT32_MAX

typedef enum EntryState
{
	ENTRY_FREE,
	ENTRY_READY,				/* in its lane's list */
	ENTRY_PARKED,				/* in its key's list: too many with the key run */
	ENTRY_RESERVED,				/* a transaction is taking it */
	ENTRY_RUNNING
} EntryState;

/* what is known before the reservation of an entry ends */
typedef enum EntryFate
{
	FATE_OPEN,
	FATE_FREE,					/* its run has ended, or waits for something else */
	FATE_READY					/* its run is ready again */
} EntryFate;

typedef struct Entry
{
	int64		run_id;
	uint32		realm;
	uint8		state;			/* EntryState */
	uint8		fate;			/* EntryFate */
	bool		urgent;			/* in its lane's heap of deadlines */
	ItemPointerData tid;		/* where its row was when it became ready, a hint; or not valid */
	float		charge;			/* what its lane's virtual time was moved by */
	TimestampTz submitted;
	TimestampTz deadline;		/* DT_NOEND: none */
	TimestampTz lease_until;	/* while it is running */
	int32		lane;
	int32		key;			/* -1: none */
	int32		chain;			/* of the hash table */
	int32		next;			/* of its lane or key; free list */
	int32		previous;
	HeapNode	by_deadline;
} Entry;

typedef struct Lane
{
	uint32		realm;			/* 0: free */
	int32		environment;	/* index */
	int32		customer;		/* index */
	int32		priority;
	int32		chain;
	int32		next_of_customer;
	int32		previous_of_customer;
	int32		pins;			/* transactions that will make runs ready */
	int32		entries;		/* in any state */
	int32		listed;			/* in the list */
	int32		parked;			/* behind their keys */
	int32		first;			/* ready ones, by run_id */
	int32		last;
	int32		urgent;			/* root of ready ones with a deadline */
	int32		urgents;		/* how many these are */
	int64		waiting;		/* ready runs, in memory and in the table */
	int64		low;			/* window: low < run_id <= high; none if they are equal */
	int64		high;
	bool		refilling;		/* somebody reads what was its window, from ... on */
	int64		refill_low;
	bool		stuck;			/* there was no entry for what is in its window */
	bool		in_turn;		/* in the heap of its priority */
	bool		in_urgent;		/* in the heap of its environment's deadlines */
	double		time;			/* virtual, seconds */
	double		mean_cost;
	HeapNode	by_time;
	HeapNode	by_deadline;
} Lane;

typedef struct Environment
{
	uint32		realm;			/* 0: free */
	int32		slot;			/* of the realm */
	QueueName	name;
	int32		chain;
	int32		lanes;
	int32		refilling;		/* lanes that are being refilled */
	bool		called;			/* the keeper of executors has been told that runs wait */
	pg_atomic_uint32 waiters;	/* for runs */
	pg_atomic_uint32 reserved;	/* executors that wait for runs of one customer each */
	int32		turns[PRIORITIES];	/* roots of lanes */
	int32		urgent;			/* root of lanes */
	double		time[PRIORITIES];
	ConditionVariable appeared;
	ConditionVariable appeared_reserved;
	ConditionVariable refilled;
} Environment;

typedef struct Customer
{
	uint32		realm;			/* 0: free */
	int32		slot;			/* of the realm */
	int32		chain;
	int64		customer_id;
	int32		first_lane;		/* -1: it goes when nobody needs it */
	int32		running;
	RunLimits	limits;
	double		tokens;			/* of the rate, at ... */
	TimestampTz tokens_at;
	bool		blocked;		/* its lanes are in no heap */
	bool		sleeping;		/* in the heap of those whose rate lets them go on at ... */
	TimestampTz wake_at;
	TimestampTz rest_until;		/* nothing is started before */
	HeapNode	by_wake;
} Customer;

typedef struct RunKey
{
	uint32		realm;			/* 0: free */
	int32		chain;
	int64		customer_id;
	uint64		hash;			/* of its name */
	int32		limit;
	int32		running;
	int32		entries;		/* that have it */
	int32		pins;
	int32		first;			/* parked, by run_id */
	int32		last;
} RunKey;

typedef struct QueueRealm
{
	uint32		serial;			/* of whom anything is here */
	bool		loaded;			/* all of it */
	TimestampTz standby;		/* when it was loaded, on a standby; else 0 */
	bool		crowded;		/* a run found no lane */
	TimestampTz next_lease;		/* none ends before */
	int32		sleeping;		/* root of customers */
	int64		running;
	Latch	   *keeper;			/* who starts executors, or NULL */
	int			keeper_pid;
} QueueRealm;

typedef struct QueueHeader
{
	int32		free_entry;
	int32		free_entries;
	int32		hand_environment;	/* where the search for a free one goes on */
	int32		hand_customer;
	int32		hand_lane;
	int32		hand_key;
	uint64		limits_changed;	/* counts changes of limits */
	bool		stuck;			/* some lane may be */
	QueueRealm	realms[FLEXIBLE_ARRAY_MEMBER];	/* by slot */
} QueueHeader;

/* where it lies, in this process */
typedef struct Queue
{
	QueueHeader *header;
	int32	   *entry_chains;
	int32	   *lane_chains;
	int32	   *environment_chains;
	int32	   *customer_chains;
	int32	   *key_chains;
	Entry	   *entries;
	Lane	   *lanes;
	Environment *environments;
	Customer   *customers;
	RunKey	   *keys;
	LWLock	   *lock;
} Queue;

extern Queue queue;

#endif							/* TASKEX_WORKLOAD_QUEUE_H */
