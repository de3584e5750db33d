/*
 * follow.h
 *	  What is offered and what is due of a user who moves.
 */
#ifndef TASKEX_FOLLOW_H
#define TASKEX_FOLLOW_H

#include "postgres.h"

#include "directory/follower.h"

extern const MoveFollower market_follower;

#endif							/* TASKEX_FOLLOW_H */
