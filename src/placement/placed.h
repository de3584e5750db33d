/*
 * placed.h
 *	  A placement of users, with the sums that it means; for balance.c and steps.c.
 */
#ifndef TASKEX_PLACED_H
#define TASKEX_PLACED_H

#include "postgres.h"

#include "placement/balance.h"

#include <math.h>

typedef struct Placement
{
	const BalanceProblem *problem;
	int		   *place;			/* [users] */
	int		   *next;			/* [users]: chains of those of a partition; -1 ends */
	int		   *prev;
	int		   *first;			/* [partitions] */
	float	   *sum;			/* [partitions][dims] */
	double	   *peak;			/* [partitions] */
	int			moved;			/* users who are not where they live */
} Placement;

static inline const float *
load_of(const BalanceProblem *problem, int user)
{
	return problem->load + (Size) user * problem->dims;
}

static inline const float *
price_of(const BalanceProblem *problem, int partition)
{
	return problem->price + (Size) partition * problem->dims;
}

static inline double
fit_of(const BalanceProblem *problem, int user, int partition)
{
	return problem->fit ? problem->fit[(Size) user * problem->partitions + partition] : 0;
}

static inline bool
may_live(const BalanceProblem *problem, int user, int partition)
{
	return problem->open[partition] && fit_of(problem, user, partition) > -INFINITY;
}

static inline bool
may_move(const BalanceProblem *problem, int user)
{
	return problem->fixed == NULL || !problem->fixed[user];
}

/* place: -1 for users who are nowhere yet; placement_enter() tells where they are */
extern Placement *placement_make(const BalanceProblem *problem, const int *place);
extern void placement_free(Placement *placement);
extern void placement_enter(Placement *placement, int user, int partition);
extern void placement_move(Placement *placement, int user, int target);
extern double placement_highest(const Placement *placement);
extern int	placement_peak_dim(const Placement *placement, int partition);

/*
 * The peak of a partition with the user, without him, or with one who comes when
 * another one goes.  Not worked out any further once it is beyond the limit;
 * INFINITY: no room.
 */
extern double placement_with(const Placement *placement, int partition, int user, double limit);
extern double placement_without(const Placement *placement, int partition, int user);
extern double placement_swapped(const Placement *placement, int partition, int comes, int goes, double limit);

/* no placement has a lower highest peak; the highest mean of all partitions in an element */
extern double lower_bound(const BalanceProblem *problem);
extern double highest_mean(const BalanceProblem *problem);

/* what a change is worth: of the users of a partition, the share by which the peak falls */
extern double peak_gain(const BalanceProblem *problem, double bound, double before, double after);
extern double spread_scale(const BalanceProblem *problem);
extern double spread_gain(const Placement *placement, double scale, int user, int back, int target);
extern double fit_change(const BalanceProblem *problem, int user, int source, int target);

/* the moves from the homes to a placement, in steps each of which improves (steps.c) */
extern void plan_steps(const BalanceProblem *problem, const int *place, BalancePlan *plan);

#endif							/* TASKEX_PLACED_H */
