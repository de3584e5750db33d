/*
 * steps.c
 *	  The way from where the users live to a better placement: in which order
 *	  they move, and what each step is good for.
 *
 * A plan may be carried out in part only.  So the moves come in steps, and
 * after each step things are better than before it: the highest peak of the
 * partitions that it touches is lower, or its users fit better without any
 * peak rising above the highest one.  What does not help in any step is left out.
 */
#include "postgres.h"

#include "placement/placed.h"

#include <math.h>

#include "miscadmin.h"

#define EPSILON 1e-9

typedef struct Steps
{
	const BalanceProblem *problem;
	const int  *place;			/* where they are to go */
	BalancePlan *plan;
	Placement  *now;
	double		bound;
	double		limit;			/* peaks up to this one are fine */
	double		scale;
	double		spread;			/* gain of the step so far */
	double		least;			/* what is worth less does not help */
	bool	   *pending;		/* [users] */
	double	   *before;			/* [partitions]: peak before the step if it touches
								 * the partition, else -1 */
	int			step;
	int			begun;			/* number of moves before this step */
} Steps;

static void
touch(Steps *steps, int partition)
{
	if (steps->before[partition] < 0)
		steps->before[partition] = steps->now->peak[partition];
}

static void
apply(Steps *steps, int user)
{
	BalancePlan *plan = steps->plan;
	int			source = steps->now->place[user];
	int			target = steps->place[user];

	touch(steps, source);
	touch(steps, target);
	steps->spread += spread_gain(steps->now, steps->scale, user, -1, target);
	placement_move(steps->now, user, target);
	steps->pending[user] = false;
	plan->moves[plan->count++] = (BalanceMove) {
		.step = steps->step, .user = user, .source = source, .target = target,
		.fit = fit_change(steps->problem, user, source, target)
	};
}

/* what the step that has been applied so far is worth; > 0: it can end here */
static double
step_value(const Steps *steps, double *before, double *after)
{
	double		fit = 0;
	double		peaks;

	*before = *after = 0;
	for (int p = 0; p < steps->problem->partitions; p++)
		if (steps->before[p] >= 0)
		{
			*before = Max(*before, steps->before[p]);
			*after = Max(*after, steps->now->peak[p]);
		}
	for (int i = steps->begun; i < steps->plan->count; i++)
		fit += steps->plan->moves[i].fit;
	peaks = peak_gain(steps->problem, steps->bound, Max(*before, steps->limit), Max(*after, steps->limit));
	/* lower peaks may be worth less even loads */
	return steps->problem->load_weight * (peaks + (peaks > 0 ? Max(steps->spread, 0) : steps->spread)) +
		steps->problem->fit_weight * fit;
}

static void
begin_step(Steps *steps)
{
	steps->step++;
	steps->begun = steps->plan->count;
	steps->spread = 0;
	for (int p = 0; p < steps->problem->partitions; p++)
		steps->before[p] = -1;
}

static bool
must_go(const BalanceProblem *problem, int user)
{
	int			home = problem->home[user];

	return !problem->open[home] ||
		(problem->fit && isinf(problem->fit[(Size) user * problem->partitions + home]));
}

/* why a single move is worth while */
static BalanceReason
reason_of(const Steps *steps, const BalanceMove *move, double before, double after)
{
	if (must_go(steps->problem, move->user))
		return BALANCE_MUST;
	if (before > steps->limit && after < before)
		return BALANCE_PEAK;
	if (steps->problem->fit_weight * move->fit > steps->problem->load_weight * steps->spread)
		return BALANCE_FIT;
	return BALANCE_SPREAD;
}

static void
end_step(Steps *steps, int dim)
{
	BalancePlan *plan = steps->plan;
	int			moves = plan->count - steps->begun;
	double		before;
	double		after;
	double		value = step_value(steps, &before, &after);

	for (int i = steps->begun; i < plan->count; i++)
	{
		BalanceMove *move = &plan->moves[i];

		move->dim = dim;
		move->before = before / steps->bound;
		move->after = after / steps->bound;
		move->gain = value / moves;
		move->reason = moves > 1 ? BALANCE_TOGETHER : reason_of(steps, move, before, after);
	}
}

static void
undo_step(Steps *steps)
{
	BalancePlan *plan = steps->plan;

	while (plan->count > steps->begun)
	{
		const BalanceMove *move = &plan->moves[--plan->count];

		placement_move(steps->now, move->user, move->source);
	}
	steps->step--;
}

/* of the pending moves out of a partition the one after which the higher of two peaks is lowest */
static int
next_out_of(const Steps *steps, int source, double *lowest)
{
	const Placement *now = steps->now;
	int			best = -1;

	*lowest = INFINITY;
	for (int u = now->first[source]; u >= 0; u = now->next[u])
	{
		double		after;

		if (!steps->pending[u])
			continue;
		after = Max(placement_without(now, source, u), placement_with(now, steps->place[u], u, INFINITY));
		if (best < 0 || after < *lowest)
		{
			best = u;
			*lowest = after;
		}
	}
	return best;
}

/* the partition with the highest peak that somebody is still to leave; of those of the step, if any */
static int
next_source(const Steps *steps, const int *leaving)
{
	int			best = -1;
	bool		touched = false;

	for (int p = 0; p < steps->problem->partitions; p++)
	{
		bool		here = steps->before[p] >= 0;

		if (leaving[p] == 0 || (touched && !here))
			continue;
		if (best < 0 || (here && !touched) || steps->now->peak[p] > steps->now->peak[best])
			best = p;
		touched |= here;
	}
	return best;
}

/* what helps only together: moves out of the partitions that the step has touched, until it helps */
static void
common_steps(Steps *steps)
{
	int		   *leaving = palloc0(sizeof(int) * steps->problem->partitions);
	int			source;
	int			dim = 0;

	for (int u = 0; u < steps->problem->users; u++)
		if (steps->pending[u])
			leaving[steps->now->place[u]]++;
	begin_step(steps);
	while ((source = next_source(steps, leaving)) >= 0)
	{
		double		before;
		double		after;

		CHECK_FOR_INTERRUPTS();
		if (steps->plan->count == steps->begun)
			dim = placement_peak_dim(steps->now, source);
		leaving[source]--;
		apply(steps, next_out_of(steps, source, &after));
		if (step_value(steps, &before, &after) > steps->least * (steps->plan->count - steps->begun))
		{
			end_step(steps, dim);
			begin_step(steps);
		}
	}
	undo_step(steps);
	pfree(leaving);
}

/* what a move would be worth as a step of its own */
static double
single_value(const Steps *steps, int user)
{
	const BalanceProblem *problem = steps->problem;
	const Placement *now = steps->now;
	int			source = now->place[user];
	int			target = steps->place[user];
	double		before = Max(now->peak[source], now->peak[target]);
	double		after = Max(placement_without(now, source, user), placement_with(now, target, user, INFINITY));
	double		peaks = peak_gain(problem, steps->bound, Max(before, steps->limit), Max(after, steps->limit));
	double		spread = spread_gain(now, steps->scale, user, -1, target);

	return problem->load_weight * (peaks + (peaks > 0 ? Max(spread, 0) : spread)) +
		problem->fit_weight * fit_change(problem, user, source, target);
}

static void
single_step(Steps *steps, int user)
{
	int			dim = placement_peak_dim(steps->now, steps->now->place[user]);

	begin_step(steps);
	apply(steps, user);
	end_step(steps, dim);
}

typedef struct Valued
{
	double		value;
	int			user;
} Valued;

static int
compare_valued(const void *a, const void *b)
{
	const Valued *x = a;
	const Valued *y = b;

	if (x->value != y->value)
		return x->value < y->value ? 1 : -1;
	return x->user - y->user;
}

/* the pending moves that help alone, the most valuable first; returns whether there was one */
static bool
single_steps(Steps *steps)
{
	const BalanceProblem *problem = steps->problem;
	Valued	   *valued = palloc(sizeof(Valued) * Max(problem->users, 1));
	int			count = 0;
	int			taken = 0;

	CHECK_FOR_INTERRUPTS();
	for (int u = 0; u < problem->users; u++)
		if (steps->pending[u])
		{
			double		value = single_value(steps, u);

			if (value > steps->least)
				valued[count++] = (Valued) {value, u};
		}
	qsort(valued, count, sizeof(Valued), compare_valued);
	for (int i = 0; i < count; i++)
		/* the first is worth what it was; others may be worth less by now */
		if (i == 0 || single_value(steps, valued[i].user) > Max(steps->least, 0.8 * valued[i].value))
		{
			single_step(steps, valued[i].user);
			taken++;
		}
	pfree(valued);
	return taken > 0;
}

void
plan_steps(const BalanceProblem *problem, const int *place, BalancePlan *plan)
{
	Steps		steps = {.problem = problem, .place = place, .plan = plan, .now = placement_make(problem, problem->home)};
	int			moves = 0;

	steps.bound = plan->bound > 0 ? plan->bound : 1;
	steps.limit = steps.bound * (1 + problem->target);
	steps.scale = spread_scale(problem);
	steps.least = 1e-7;
	steps.pending = palloc0(sizeof(bool) * Max(problem->users, 1));
	steps.before = palloc(sizeof(double) * problem->partitions);
	for (int u = 0; u < problem->users; u++)
		moves += steps.pending[u] = place[u] != problem->home[u];
	plan->moves = palloc(sizeof(BalanceMove) * Max(moves, 1));
	plan->count = 0;

	for (int u = 0; u < problem->users; u++)
		if (steps.pending[u] && must_go(problem, u))
			single_step(&steps, u);
	while (single_steps(&steps))
		;
	common_steps(&steps);
	while (single_steps(&steps))
		;
	plan->after = placement_highest(steps.now);
}
