/*
 * balance.c
 *	  Search for a better placement.  src/placement/README.md tells how.
 *
 * Everything here depends on the problem alone: no clock, no chance (the
 * random numbers begin anew with each plan), no table.
 */
#include "postgres.h"

#include "placement/balance.h"
#include "placement/placed.h"

#include <math.h>

#include "common/pg_prng.h"
#include "miscadmin.h"

/* what is less than this is no improvement */
#define EPSILON 1e-9

typedef struct Search
{
	const BalanceProblem *problem;
	double		bound;			/* see lower_bound() */
	double		limit;			/* peaks up to this one are fine */
	double		scale;			/* of spread_gain() */
	int64		effort;			/* left */
	pg_prng_state random;
} Search;

typedef struct Change
{
	double		value;
	double		other;			/* peak of the target: of equal ones, the lowest */
	int			user;
	int			back;			/* who goes the other way, or -1 */
	int			target;
} Change;

/* ---- local search: peaks ---- */

static inline bool
within_moves(const Placement *placement, int user, int target)
{
	const BalanceProblem *problem = placement->problem;
	int			home = problem->home[user];

	return placement->moved + (placement->place[user] == home) - (target == home) <= problem->max_moves;
}

/* what a step is worth: see README.md, "Gain" */
static inline double
value_of(const Search *search, double before, double after, double fit)
{
	return search->problem->load_weight * peak_gain(search->problem, search->bound, before, after) +
		search->problem->fit_weight * fit;
}

static inline void
offer(Change *best, double value, double other, int user, int back, int target)
{
	if (value > best->value + EPSILON || (value > best->value - EPSILON && other < best->other - EPSILON))
		*best = (Change) {value, other, user, back, target};
}

/* the move out of a partition that lowers the higher peak of the two most */
static void
best_move(Search *search, const Placement *placement, int source, Change *best)
{
	const BalanceProblem *problem = search->problem;
	double		before = placement->peak[source];

	for (int u = placement->first[source]; u >= 0; u = placement->next[u])
	{
		double		lowered;

		if (!may_move(problem, u))
			continue;
		search->effort--;
		lowered = placement_without(placement, source, u);
		if (lowered > before - before * EPSILON - EPSILON)
			continue;
		for (int p = 0; p < problem->partitions; p++)
		{
			double		other;
			double		after;

			if (p == source || !may_live(problem, u, p) || !within_moves(placement, u, p))
				continue;
			search->effort--;
			other = placement_with(placement, p, u, before);
			after = Max(lowered, other);
			if (after < before - before * EPSILON - EPSILON)
				offer(best, value_of(search, before, after, fit_change(problem, u, source, p)), other, u, -1, p);
		}
	}
}

static bool
may_swap(const Placement *placement, int user, int back, int source, int target)
{
	const BalanceProblem *problem = placement->problem;
	int			moved = placement->moved;

	if (!may_move(problem, back) || !may_live(problem, user, target) || !may_live(problem, back, source))
		return false;
	moved += (source == problem->home[user]) - (target == problem->home[user]);
	moved += (target == problem->home[back]) - (source == problem->home[back]);
	return moved <= problem->max_moves;
}

/* the same with two users who change places */
static void
best_swap(Search *search, const Placement *placement, int source, Change *best)
{
	const BalanceProblem *problem = search->problem;
	double		before = placement->peak[source];
	double		limit = before - before * EPSILON - EPSILON;
	int			dim = placement_peak_dim(placement, source);
	float		price = price_of(problem, source)[dim];

	for (int u = placement->first[source]; u >= 0 && search->effort > 0; u = placement->next[u])
	{
		float		mine = load_of(problem, u)[dim];

		if (mine == 0 || !may_move(problem, u))
			continue;
		for (int v = 0; v < problem->users; v++)
		{
			int			p = placement->place[v];
			double		after;
			double		other;

			/* a little for the glance at the one element that must fall */
			search->effort -= (v & 15) == 0;
			if ((mine - load_of(problem, v)[dim]) * price <= EPSILON || p == source || placement->peak[p] >= before ||
				!may_swap(placement, u, v, source, p))
				continue;
			search->effort--;
			after = placement_swapped(placement, source, v, u, limit);
			if (after >= limit || value_of(search, before, after, 2) < best->value)
				continue;
			search->effort--;
			other = placement_swapped(placement, p, u, v, limit);
			if (other < limit)
				offer(best, value_of(search, before, Max(after, other),
									 fit_change(problem, u, source, p) + fit_change(problem, v, p, source)),
					  other, u, v, p);
		}
	}
}

/* lowers the peaks above the limit, the highest first, as long as it can */
static void
lower_peaks(Search *search, Placement *placement)
{
	const BalanceProblem *problem = search->problem;
	bool	   *tried = palloc(sizeof(bool) * problem->partitions);

	memset(tried, 0, sizeof(bool) * problem->partitions);
	while (search->effort > 0 && placement->moved < problem->max_moves)
	{
		Change		best = {0, INFINITY, -1, -1, -1};
		int			source = -1;

		CHECK_FOR_INTERRUPTS();
		for (int p = 0; p < problem->partitions; p++)
			if (!tried[p] && placement->peak[p] > search->limit + EPSILON &&
				(source < 0 || placement->peak[p] > placement->peak[source]))
				source = p;
		if (source < 0)
			break;
		best_move(search, placement, source, &best);
		if (best.user < 0)
			best_swap(search, placement, source, &best);
		if (best.user < 0)
		{
			tried[source] = true;
			continue;
		}
		placement_move(placement, best.user, best.target);
		if (best.back >= 0)
			placement_move(placement, best.back, source);
		memset(tried, 0, sizeof(bool) * problem->partitions);
	}
	pfree(tried);
}

/* ---- local search: spread ---- */

typedef struct Sized
{
	float		size;
	int			user;
	int			target;
} Sized;

static int
compare_sized(const void *a, const void *b)
{
	const Sized *x = a;
	const Sized *y = b;

	if (x->size != y->size)
		return x->size < y->size ? 1 : -1;
	return x->user - y->user;
}

/* what a move is worth that lowers no peak above the limit */
static double
spread_value(Search *search, const Placement *placement, int user, int target)
{
	const BalanceProblem *problem = search->problem;

	search->effort--;
	return problem->load_weight * spread_gain(placement, search->scale, user, -1, target) +
		problem->fit_weight * fit_change(problem, user, placement->place[user], target);
}

/* the best place for a user as things are, if it is so much better; -1: where he is */
static int
better_place(Search *search, const Placement *placement, int user, double least, double *value)
{
	const BalanceProblem *problem = search->problem;
	int			best = -1;

	*value = least;
	for (int p = 0; p < problem->partitions; p++)
	{
		double		here;

		if (p == placement->place[user] || !may_live(problem, user, p) || !within_moves(placement, user, p))
			continue;
		here = spread_value(search, placement, user, p);
		if (here > *value && placement_with(placement, p, user, search->limit) <= search->limit)
		{
			best = p;
			*value = here;
		}
	}
	return best;
}

/*
 * One round: each user's best move, the most valuable first, those that are
 * still worth nearly what they were.  Returns how many moved.
 */
static int
spread_moves(Search *search, Placement *placement, double least)
{
	const BalanceProblem *problem = search->problem;
	Sized	   *sized = palloc(sizeof(Sized) * Max(problem->users, 1));
	int			count = 0;
	int			moves = 0;

	for (int u = 0; u < problem->users && search->effort > 0; u++)
	{
		double		value;
		int			target;

		CHECK_FOR_INTERRUPTS();
		if (!may_move(problem, u))
			continue;
		target = better_place(search, placement, u, least, &value);
		if (target >= 0)
			sized[count++] = (Sized) {value, u, target};
	}
	qsort(sized, count, sizeof(Sized), compare_sized);
	for (int i = 0; i < count; i++)
	{
		int			u = sized[i].user;
		int			target = sized[i].target;

		if (within_moves(placement, u, target) &&
			spread_value(search, placement, u, target) > Max(least, 0.7 * sized[i].size) &&
			placement_with(placement, target, u, search->limit) <= search->limit)
		{
			placement_move(placement, u, target);
			moves++;
		}
	}
	pfree(sized);
	return moves;
}

/* swaps of users, each with the best partner */
static int
spread_swaps(Search *search, Placement *placement, double least)
{
	const BalanceProblem *problem = search->problem;
	int			swaps = 0;

	for (int u = 0; u < problem->users && search->effort > 0; u++)
	{
		int			source = placement->place[u];
		int			partner = -1;
		double		best = 2 * least;

		CHECK_FOR_INTERRUPTS();
		if (!may_move(problem, u))
			continue;
		for (int v = 0; v < problem->users; v++)
		{
			int			target = placement->place[v];
			double		value;

			if (target == source || !may_swap(placement, u, v, source, target))
				continue;
			search->effort--;
			value = problem->load_weight * spread_gain(placement, search->scale, u, v, target) +
				problem->fit_weight * (fit_change(problem, u, source, target) + fit_change(problem, v, target, source));
			if (value > best &&
				placement_swapped(placement, target, u, v, Max(search->limit, placement->peak[target]) + EPSILON) < INFINITY &&
				placement_swapped(placement, source, v, u, Max(search->limit, placement->peak[source]) + EPSILON) < INFINITY)
			{
				partner = v;
				best = value;
			}
		}
		if (partner >= 0)
		{
			int			target = placement->place[partner];

			placement_move(placement, u, target);
			placement_move(placement, partner, source);
			swaps++;
		}
	}
	return swaps;
}

/* spreads the loads more evenly, and lets users go where they fit better */
static void
spread(Search *search, Placement *placement)
{
	double		least = Max(search->problem->least_gain, 1e-6);

	for (int round = 0; round < 100 && search->effort > 0 && placement->moved < search->problem->max_moves; round++)
		if (spread_moves(search, placement, least) == 0 && spread_swaps(search, placement, least) == 0)
			break;
}

/* ---- where to begin ---- */

/* the open partition that is best for him as things are; -1: none */
static int
best_partition(Search *search, const Placement *placement, int user)
{
	const BalanceProblem *problem = search->problem;
	int			best = -1;
	double		best_value = 0;

	for (int p = 0; p < problem->partitions; p++)
	{
		double		value;
		double		peak;

		if (!may_live(problem, user, p))
			continue;
		search->effort--;
		peak = placement_with(placement, p, user, INFINITY);
		if (isinf(peak))
			continue;
		value = problem->fit_weight * fit_of(problem, user, p) - problem->load_weight * peak / search->bound;
		if (best < 0 || value > best_value)
		{
			best = p;
			best_value = value;
		}
	}
	return best;
}

/* those who cannot stay where they live go, the largest first */
static void
move_who_must(Search *search, Placement *placement)
{
	const BalanceProblem *problem = search->problem;
	Sized	   *sized = palloc(sizeof(Sized) * Max(problem->users, 1));
	int			count = 0;

	for (int u = 0; u < problem->users; u++)
		if (may_move(problem, u) && !may_live(problem, u, problem->home[u]))
			sized[count++] = (Sized) {placement->peak[problem->home[u]] - placement_without(placement, problem->home[u], u), u, -1};
	qsort(sized, count, sizeof(Sized), compare_sized);
	for (int i = 0; i < count && placement->moved < problem->max_moves; i++)
	{
		int			target = best_partition(search, placement, sized[i].user);

		if (target >= 0)
			placement_move(placement, sized[i].user, target);
	}
	pfree(sized);
}

/* largest first, each to where the peak stays lowest; those who may not move stay */
static Placement *
largest_first(Search *search)
{
	const BalanceProblem *problem = search->problem;
	Sized	   *sized = palloc(sizeof(Sized) * Max(problem->users, 1));
	int		   *place = palloc(sizeof(int) * Max(problem->users, 1));
	int			count = 0;
	Placement  *placement;

	for (int u = 0; u < problem->users; u++)
	{
		float		size = 0;

		for (int d = 0; d < problem->dims; d++)
			size = Max(size, load_of(problem, u)[d] * price_of(problem, problem->home[u])[d]);
		place[u] = may_move(problem, u) ? -1 : problem->home[u];
		if (place[u] < 0)
			sized[count++] = (Sized) {size, u, -1};
	}
	qsort(sized, count, sizeof(Sized), compare_sized);
	placement = placement_make(problem, place);
	for (int i = 0; i < count; i++)
	{
		int			target = best_partition(search, placement, sized[i].user);

		placement_enter(placement, sized[i].user, target >= 0 ? target : problem->home[sized[i].user]);
	}
	pfree(sized);
	pfree(place);
	return placement;
}

/* some users, more likely large ones than not, go where chance has it */
static void
shake(Search *search, Placement *placement)
{
	const BalanceProblem *problem = search->problem;
	int			kicks = 2 + (int) pg_prng_uint64_range(&search->random, 0, 4);

	for (int i = 0; i < kicks; i++)
	{
		int			u = (int) pg_prng_uint64_range(&search->random, 0, problem->users - 1);
		int			p = (int) pg_prng_uint64_range(&search->random, 0, problem->partitions - 1);

		if (p != placement->place[u] && may_move(problem, u) && may_live(problem, u, p) &&
			!isinf(placement_with(placement, p, u, INFINITY)))
			placement_move(placement, u, p);
	}
}

/* how unevenly the loads are spread */
static double
unevenness(const Search *search, const Placement *placement)
{
	const BalanceProblem *problem = search->problem;
	double		sum = 0;

	for (int p = 0; p < problem->partitions; p++)
		for (int d = 0; d < problem->dims; d++)
		{
			double		load = placement->sum[(Size) p * problem->dims + d];

			sum += load * load * price_of(problem, p)[d];
		}
	return sum * search->scale;
}

static double
total_fit(const BalanceProblem *problem, const Placement *placement)
{
	double		sum = 0;

	for (int u = 0; u < problem->users; u++)
		if (fit_of(problem, u, placement->place[u]) > -INFINITY)
			sum += fit_of(problem, u, placement->place[u]);
	return sum;
}

/* is the placement better than the best so far?  then it is the best, else it is freed */
static Placement *
better_of(Search *search, Placement *best, Placement *other)
{
	const BalanceProblem *problem = search->problem;
	double		x = Max(placement_highest(best), search->limit);
	double		y = Max(placement_highest(other), search->limit);
	bool		better = y < x - EPSILON;

	if (!better && y <= x + EPSILON)
	{
		/* many more moves must be worth it */
		double		gain = problem->load_weight * (unevenness(search, best) - unevenness(search, other)) +
		problem->fit_weight * (total_fit(problem, other) - total_fit(problem, best));

		better = gain > Max(problem->least_gain * (other->moved - best->moved), 1e-6);
	}
	if (other->moved > problem->max_moves)
		better = false;
	placement_free(better ? best : other);
	return better ? other : best;
}

/* other beginnings than the present one, as long as there is effort left */
static Placement *
begin_anew(Search *search, Placement *best)
{
	const BalanceProblem *problem = search->problem;
	Placement  *fresh = largest_first(search);

	lower_peaks(search, fresh);
	spread(search, fresh);
	best = better_of(search, best, fresh);
	for (int i = 0; search->effort > 0 && i < (placement_highest(best) > search->limit + EPSILON ? 60 : 24); i++)
	{
		fresh = placement_make(problem, best->place);
		shake(search, fresh);
		lower_peaks(search, fresh);
		spread(search, fresh);
		search->effort--;
		best = better_of(search, best, fresh);
	}
	return best;
}

void
balance_plan(const BalanceProblem *problem, BalancePlan *plan)
{
	Search		search = {.problem = problem, .bound = lower_bound(problem), .scale = spread_scale(problem), .effort = problem->effort};
	Placement  *placement = placement_make(problem, problem->home);

	pg_prng_seed(&search.random, 5);
	plan->bound = search.bound;
	plan->before = placement_highest(placement);
	if (search.bound == 0)
		search.bound = 1;
	search.limit = search.bound * (1 + problem->target);
	move_who_must(&search, placement);
	if (placement_highest(placement) > highest_mean(problem) * (1 + problem->start) + EPSILON)
	{
		lower_peaks(&search, placement);
		spread(&search, placement);
		if (problem->max_moves >= problem->users && problem->users > 1)
			placement = begin_anew(&search, placement);
	}
	else
	{
		/* loads are well as they are: they need not be spread, but the limit holds */
		search.scale = 0;
		if (problem->fit && problem->fit_weight > 0)
			spread(&search, placement);
	}
	plan_steps(problem, placement->place, plan);
	placement_free(placement);
}
