/*
 * follow.h
 *	  Runs of a customer who moves to another storage partition.
 */
#ifndef TASKEX_WORKLOAD_FOLLOW_H
#define TASKEX_WORKLOAD_FOLLOW_H

#include "postgres.h"

#include "directory/follower.h"

extern const MoveFollower workload_follower;

#endif							/* TASKEX_WORKLOAD_FOLLOW_H */
