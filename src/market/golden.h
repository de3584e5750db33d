/*
 * golden.h
 *	  Golden tasks, whose answers are known, mixed in among the others.
 */
#ifndef TASKEX_GOLDEN_H
#define TASKEX_GOLDEN_H

#include "postgres.h"

#include "market/feed.h"

/*
 * A performer is about to take a task of the requester from the scan's shelf:
 * shall he get a golden one instead?  Decided by lot, at the requester's rate.
 */
extern bool golden_turn(const FeedScan *scan, int64 requester);

/* the shelf of golden tasks beside the scan's, NULL if there is no room for it */
extern Shelf *golden_shelf(const FeedScan *scan);

/* has anybody a rate for tasks of the type?  As committed */
extern bool golden_any_rate(int64 task_type);

#endif							/* TASKEX_GOLDEN_H */
