/*
 * balance.h
 *	  Who should live where so that no partition has too much to do: a pure
 *	  function of arrays.
 *
 * A user's load is a vector, for instance one number for each hour of the day.
 * What a partition has to do is the sum of its users' vectors; divided by what
 * it can do, the largest element is its peak.  The planner lowers the peaks,
 * the highest first, by steps of one move, a swap, or moves that help only
 * together.
 */
#ifndef TASKEX_BALANCE_H
#define TASKEX_BALANCE_H

#include "postgres.h"

typedef struct BalanceProblem
{
	int			users;
	int			partitions;
	int			dims;			/* elements of a load */
	const float *load;			/* [users][dims], not negative */
	const float *price;			/* [partitions][dims]: 1 / capacity; 0: no limit */
	const float *full;			/* [dims]: no user comes who would make load * price
								 * exceed this; NULL: no such limit */
	const bool *open;			/* [partitions]: takes users */
	const int  *home;			/* [users]: where they live */
	const bool *fixed;			/* [users]: not to be moved; NULL: none */
	const float *fit;			/* [users][partitions]: how well he would live there,
								 * 0 to 1, -INFINITY: not at all; NULL: all alike */
	double		load_weight;	/* what the peaks count beside the fit */
	double		fit_weight;
	double		start;			/* peaks so far above the bound (0.2: a fifth) are
								 * lowered */
	double		target;			/* until they are only so far above it */
	double		least_gain;		/* of a move that lowers no peak above the target */
	int			max_moves;
	int64		effort;			/* comparisons of vectors, about */
} BalanceProblem;

typedef enum BalanceReason
{
	BALANCE_MUST,				/* he cannot stay */
	BALANCE_PEAK,				/* the partition that he leaves has too much to do */
	BALANCE_TOGETHER,			/* the same, with the other moves of the step */
	BALANCE_SPREAD,				/* the loads are spread more evenly */
	BALANCE_FIT,				/* he fits better there */
} BalanceReason;

typedef struct BalanceMove
{
	int			step;			/* 1 ..; moves that improve only together share one */
	int			user;
	int			source;
	int			target;
	BalanceReason reason;
	int			dim;			/* of the highest peak of the step, before it */
	double		before;			/* the highest peak of its partitions, over the bound */
	double		after;
	double		fit;			/* change of the user's fit */
	double		gain;			/* of the step, shared by its moves */
} BalanceMove;

typedef struct BalancePlan
{
	int			count;
	BalanceMove *moves;
	double		bound;			/* no placement has a lower highest peak */
	double		before;			/* the highest peak */
	double		after;
} BalancePlan;

extern void balance_plan(const BalanceProblem *problem, BalancePlan *plan);

#endif							/* TASKEX_BALANCE_H */
