/*
 * placed.c
 *	  A placement of users, with the sums that it means; what it can be at best,
 *	  and what changes of it are worth.
 */
#include "postgres.h"

#include "placement/placed.h"

double
fit_change(const BalanceProblem *problem, int user, int source, int target)
{
	double		from = fit_of(problem, user, source);

	return fit_of(problem, user, target) - (from > -INFINITY ? from : 0);
}

/* ---- placements ---- */

static double
peak_of(const Placement *placement, int partition)
{
	const BalanceProblem *problem = placement->problem;
	const float *sum = placement->sum + (Size) partition * problem->dims;
	const float *price = price_of(problem, partition);
	float		peak = 0;

	for (int d = 0; d < problem->dims; d++)
		peak = Max(peak, sum[d] * price[d]);
	return peak;
}

int
placement_peak_dim(const Placement *placement, int partition)
{
	const BalanceProblem *problem = placement->problem;
	const float *sum = placement->sum + (Size) partition * problem->dims;
	const float *price = price_of(problem, partition);
	int			best = 0;

	for (int d = 1; d < problem->dims; d++)
		if (sum[d] * price[d] > sum[best] * price[best])
			best = d;
	return best;
}

void
placement_enter(Placement *placement, int user, int partition)
{
	const BalanceProblem *problem = placement->problem;
	float	   *sum = placement->sum + (Size) partition * problem->dims;
	const float *load = load_of(problem, user);
	int			first = placement->first[partition];

	for (int d = 0; d < problem->dims; d++)
		sum[d] += load[d];
	placement->place[user] = partition;
	placement->moved += partition != problem->home[user];
	placement->next[user] = first;
	placement->prev[user] = -1;
	if (first >= 0)
		placement->prev[first] = user;
	placement->first[partition] = user;
	placement->peak[partition] = peak_of(placement, partition);
}

static void
leave(Placement *placement, int user)
{
	const BalanceProblem *problem = placement->problem;
	int			partition = placement->place[user];
	float	   *sum = placement->sum + (Size) partition * problem->dims;
	const float *load = load_of(problem, user);
	int			next = placement->next[user];
	int			prev = placement->prev[user];

	for (int d = 0; d < problem->dims; d++)
		sum[d] = Max(sum[d] - load[d], 0);
	placement->moved -= partition != problem->home[user];
	if (next >= 0)
		placement->prev[next] = prev;
	if (prev >= 0)
		placement->next[prev] = next;
	else
		placement->first[partition] = next;
	placement->peak[partition] = peak_of(placement, partition);
}

void
placement_move(Placement *placement, int user, int target)
{
	leave(placement, user);
	placement_enter(placement, user, target);
}

Placement *
placement_make(const BalanceProblem *problem, const int *place)
{
	Placement  *placement = palloc(sizeof(Placement));

	placement->problem = problem;
	placement->place = palloc(sizeof(int) * Max(problem->users, 1));
	placement->next = palloc(sizeof(int) * Max(problem->users, 1));
	placement->prev = palloc(sizeof(int) * Max(problem->users, 1));
	placement->first = palloc(sizeof(int) * problem->partitions);
	placement->sum = palloc0(sizeof(float) * problem->partitions * (Size) problem->dims);
	placement->peak = palloc0(sizeof(double) * problem->partitions);
	placement->moved = 0;
	for (int p = 0; p < problem->partitions; p++)
		placement->first[p] = -1;
	for (int u = problem->users - 1; u >= 0; u--)
		if (place[u] >= 0)
			placement_enter(placement, u, place[u]);
	return placement;
}

void
placement_free(Placement *placement)
{
	pfree(placement->place);
	pfree(placement->next);
	pfree(placement->prev);
	pfree(placement->first);
	pfree(placement->sum);
	pfree(placement->peak);
	pfree(placement);
}

double
placement_highest(const Placement *placement)
{
	double		highest = 0;

	for (int p = 0; p < placement->problem->partitions; p++)
		highest = Max(highest, placement->peak[p]);
	return highest;
}

double
placement_with(const Placement *placement, int partition, int user, double limit)
{
	const BalanceProblem *problem = placement->problem;
	const float *sum = placement->sum + (Size) partition * problem->dims;
	const float *price = price_of(problem, partition);
	const float *load = load_of(problem, user);
	float		peak = 0;

	if (problem->full)
	{
		for (int d = 0; d < problem->dims; d++)
		{
			float		x = (sum[d] + load[d]) * price[d];

			if (x > problem->full[d] && load[d] > 0)
				return INFINITY;
			peak = Max(peak, x);
		}
		return peak;
	}
	for (int d = 0; d < problem->dims; d++)
	{
		peak = Max(peak, (sum[d] + load[d]) * price[d]);
		if ((d & 7) == 7 && peak > limit)
			break;
	}
	return peak;
}

double
placement_without(const Placement *placement, int partition, int user)
{
	const BalanceProblem *problem = placement->problem;
	const float *sum = placement->sum + (Size) partition * problem->dims;
	const float *price = price_of(problem, partition);
	const float *load = load_of(problem, user);
	float		peak = 0;

	for (int d = 0; d < problem->dims; d++)
		peak = Max(peak, (sum[d] - load[d]) * price[d]);
	return peak;
}

double
placement_swapped(const Placement *placement, int partition, int comes, int goes, double limit)
{
	const BalanceProblem *problem = placement->problem;
	const float *sum = placement->sum + (Size) partition * problem->dims;
	const float *price = price_of(problem, partition);
	const float *plus = load_of(problem, comes);
	const float *minus = load_of(problem, goes);
	float		peak = 0;

	for (int d = 0; d < problem->dims; d++)
	{
		float		x = (sum[d] + plus[d] - minus[d]) * price[d];

		if (x >= limit || (problem->full && x > problem->full[d] && plus[d] > minus[d]))
			return INFINITY;
		peak = Max(peak, x);
	}
	return peak;
}

/* ---- bounds ---- */

/* of an element: what all users do, and what the open partitions can do */
static double
total_load(const BalanceProblem *problem, int dim, double *capacity)
{
	double		total = 0;

	*capacity = 0;
	for (int p = 0; p < problem->partitions; p++)
		if (problem->open[p])
			*capacity += 1.0 / price_of(problem, p)[dim];
	for (int u = 0; u < problem->users; u++)
		total += load_of(problem, u)[dim];
	return total;
}

static int
compare_descending(const void *a, const void *b)
{
	float		x = *(const float *) a;
	float		y = *(const float *) b;

	return x < y ? 1 : x > y ? -1 : 0;
}

/*
 * No placement has a lower highest peak than this: in each element the mean,
 * the largest user alone, and two of the largest m + 1 users on m partitions
 * together.
 */
double
lower_bound(const BalanceProblem *problem)
{
	float	   *loads = palloc(sizeof(float) * Max(problem->users, 1));
	double		bound = 0;
	int			open = 0;

	for (int p = 0; p < problem->partitions; p++)
		open += problem->open[p];
	for (int d = 0; d < problem->dims && open > 0; d++)
	{
		double		total = 0;
		double		capacity = 0;
		double		largest = 0;

		for (int p = 0; p < problem->partitions; p++)
			if (problem->open[p])
			{
				double		c = 1.0 / price_of(problem, p)[d];

				capacity += c;
				largest = Max(largest, c);
			}
		if (isinf(capacity))
			continue;
		for (int u = 0; u < problem->users; u++)
			total += loads[u] = load_of(problem, u)[d];
		if (total == 0)
			continue;
		qsort(loads, problem->users, sizeof(float), compare_descending);
		bound = Max(bound, Max(total / capacity, loads[0] / largest));
		if (problem->users > open)
			bound = Max(bound, (loads[open - 1] + loads[open]) / largest);
	}
	pfree(loads);
	return bound;
}

double
highest_mean(const BalanceProblem *problem)
{
	double		highest = 0;

	for (int d = 0; d < problem->dims; d++)
	{
		double		capacity;
		double		total = total_load(problem, d, &capacity);

		if (capacity > 0)
			highest = Max(highest, total / capacity);
	}
	return highest;
}

/* ---- what changes are worth ---- */

double
peak_gain(const BalanceProblem *problem, double bound, double before, double after)
{
	return (before - after) / bound * problem->users / problem->partitions;
}

/*
 * Users over twice the least possible sum of load * load / capacity over all
 * partitions and elements: so moving a user of the mean size from a partition
 * that has a tenth too much to one that has a tenth too little counts 0.2.
 */
double
spread_scale(const BalanceProblem *problem)
{
	double		least = 0;

	for (int d = 0; d < problem->dims; d++)
	{
		double		capacity;
		double		total = total_load(problem, d, &capacity);

		if (capacity > 0)
			least += total * total / capacity;
	}
	return least > 0 ? problem->users / least / 2 : 0;
}

/*
 * By how much the loads are spread more evenly when the user moves, and another
 * one (-1: nobody) the other way.
 */
double
spread_gain(const Placement *placement, double scale, int user, int back, int target)
{
	const BalanceProblem *problem = placement->problem;
	int			source = placement->place[user];
	const float *from = placement->sum + (Size) source * problem->dims;
	const float *to = placement->sum + (Size) target * problem->dims;
	const float *price = price_of(problem, source);
	const float *other_price = price_of(problem, target);
	const float *load = load_of(problem, user);
	const float *other = back >= 0 ? load_of(problem, back) : NULL;
	float		sum = 0;

	for (int d = 0; d < problem->dims; d++)
	{
		float		x = other ? load[d] - other[d] : load[d];

		sum += x * (2 * (from[d] * price[d] - to[d] * other_price[d]) - x * (price[d] + other_price[d]));
	}
	return sum * scale;
}
