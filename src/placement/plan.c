/*
 * plan.c
 *	  The planner in SQL: from the arrays that taskex.plan_rebalance() has
 *	  gathered to the moves.
 */
#include "postgres.h"

#include "placement/balance.h"
#include "placement/demand.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

/* numbers that the planner may touch: about a tenth of a second */
#define EFFORT INT64CONST(50000000)

/* a resource that does not count is held to its capacity only */
#define SMALL_WEIGHT 1e-3

/* arguments of _taskex.plan_moves(), in their order */
enum
{
	ARG_HOMES,
	ARG_DEMANDS,
	ARG_FIXED,
	ARG_OPEN,
	ARG_CAPACITIES,
	ARG_WEIGHTS,
	ARG_CLASSES,
	ARG_CLASS_FITS,
	ARG_PAIR_USERS,
	ARG_PAIR_PARTITIONS,
	ARG_PAIR_FITS,
	ARG_COSTS,
	ARG_LOAD_WEIGHT,
	ARG_START,
	ARG_TARGET,
	ARG_LEAST_GAIN,
	ARG_MAX_MOVES
};

typedef struct Question
{
	BalanceProblem problem;
	int		   *element;		/* of a demand, for each dimension of the problem */
} Question;

static const void *
elements(FunctionCallInfo fcinfo, int arg, int *count, const char *what)
{
	ArrayType  *array = PG_GETARG_ARRAYTYPE_P(arg);
	int			n = ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));

	if (array_contains_nulls(array) || (*count >= 0 && n != *count))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be an array of %d values that are not null", what, *count)));
	*count = n;
	return ARR_DATA_PTR(array);
}

static const void *
elements_of(FunctionCallInfo fcinfo, int arg, int count, const char *what)
{
	return elements(fcinfo, arg, &count, what);
}

/* a partition, as SQL counts */
static int
partition_number(int number, int partitions, const char *what)
{
	if (number < 1 || number > partitions)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s must be between 1 and %d", what, partitions)));
	return number - 1;
}

static void
read_homes(FunctionCallInfo fcinfo, BalanceProblem *problem)
{
	const int32 *homes;
	int		   *home;

	problem->users = problem->partitions = -1;
	problem->open = elements(fcinfo, ARG_OPEN, &problem->partitions, "open");
	homes = elements(fcinfo, ARG_HOMES, &problem->users, "homes");
	problem->fixed = elements_of(fcinfo, ARG_FIXED, problem->users, "fixed");
	home = palloc(sizeof(int) * Max(problem->users, 1));
	for (int u = 0; u < problem->users; u++)
		home[u] = partition_number(homes[u], problem->partitions, "a home");
	problem->home = home;
}

/*
 * What a partition can do of each resource.  0 says that nothing is known:
 * then it can do what the others can on the mean.  Returns whether anything
 * is known.
 */
static bool
read_capacity(const double *capacities, int partitions, Resource resource, double *capacity)
{
	double		known = 0;
	int			count = 0;

	for (int p = 0; p < partitions; p++)
	{
		capacity[p] = capacities[p * RESOURCES + resource];
		if (capacity[p] > 0)
		{
			known += capacity[p];
			count++;
		}
	}
	for (int p = 0; p < partitions; p++)
		if (!(capacity[p] > 0))
			capacity[p] = count > 0 ? known / count : 1;
	return count > 0;
}

/*
 * Loads and prices.  Of each resource the prices are such that a perfectly
 * even spread has its weight as its peak.
 */
static void
read_demands(FunctionCallInfo fcinfo, Question *question)
{
	BalanceProblem *problem = &question->problem;
	const double *demands = elements_of(fcinfo, ARG_DEMANDS, problem->users * DEMAND_SIZE, "demands");
	const double *capacities = elements_of(fcinfo, ARG_CAPACITIES, problem->partitions * RESOURCES, "capacities");
	const double *weights = elements_of(fcinfo, ARG_WEIGHTS, RESOURCES, "weights");
	double		total[DEMAND_SIZE] = {0};
	double		capacity_sum[RESOURCES] = {0};
	double		peak[RESOURCES] = {0};
	bool		known[RESOURCES];
	double	   *capacity = palloc(sizeof(double) * problem->partitions * RESOURCES);
	double		heaviest = 0;
	float	   *load;
	float	   *price;
	float	   *full;
	int			dims = 0;

	for (int r = 0; r < RESOURCES; r++)
	{
		heaviest = Max(heaviest, weights[r]);
		known[r] = read_capacity(capacities, problem->partitions, r, capacity + r * problem->partitions);
		for (int p = 0; p < problem->partitions; p++)
			if (problem->open[p])
				capacity_sum[r] += capacity[r * problem->partitions + p];
	}
	for (int u = 0; u < problem->users; u++)
		for (int i = 0; i < DEMAND_SIZE; i++)
		{
			double		x = demands[(Size) u * DEMAND_SIZE + i];

			if (!(x >= 0) || isinf(x))
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("a demand must be finite and not negative")));
			total[i] += x;
		}
	question->element = palloc(sizeof(int) * DEMAND_SIZE);
	for (int i = 0; i < DEMAND_SIZE; i++)
	{
		Resource	r = demand_resource(i);

		if (total[i] > 0 && capacity_sum[r] > 0 && (weights[r] > 0 || known[r]))
		{
			peak[r] = Max(peak[r], total[i] / capacity_sum[r]);
			question->element[dims++] = i;
		}
	}

	problem->dims = dims;
	problem->load = load = palloc_extended(sizeof(float) * Max((Size) problem->users * dims, 1), MCXT_ALLOC_HUGE);
	problem->price = price = palloc(sizeof(float) * Max(problem->partitions * dims, 1));
	problem->full = full = palloc(sizeof(float) * Max(dims, 1));
	for (int d = 0; d < dims; d++)
	{
		Resource	r = demand_resource(question->element[d]);
		double		weight = Max(heaviest > 0 ? weights[r] / heaviest : 0, SMALL_WEIGHT);

		full[d] = known[r] ? weight / peak[r] : INFINITY;
		/* loads in units of the total, so that floats are exact enough whatever they are */
		for (int p = 0; p < problem->partitions; p++)
			price[p * dims + d] = weight * capacity_sum[r] / capacity[r * problem->partitions + p];
		for (int u = 0; u < problem->users; u++)
			load[(Size) u * dims + d] = demands[(Size) u * DEMAND_SIZE + question->element[d]] / peak[r] / capacity_sum[r];
	}
}

/* fit[users][partitions]: that of the user's class, and of pairs, less what a move costs */
static void
read_fits(FunctionCallInfo fcinfo, BalanceProblem *problem)
{
	int			partitions = problem->partitions;
	const int32 *classes = elements_of(fcinfo, ARG_CLASSES, problem->users, "classes");
	const double *costs = elements_of(fcinfo, ARG_COSTS, problem->users, "costs");
	int			fits = -1;
	const double *class_fits = elements(fcinfo, ARG_CLASS_FITS, &fits, "class_fits");
	int			pairs = -1;
	const int32 *users = elements(fcinfo, ARG_PAIR_USERS, &pairs, "pair_users");
	const int32 *places = elements_of(fcinfo, ARG_PAIR_PARTITIONS, pairs, "pair_partitions");
	const double *pair_fits = elements_of(fcinfo, ARG_PAIR_FITS, pairs, "pair_fits");
	float	   *fit = palloc_extended(sizeof(float) * Max((Size) problem->users * partitions, 1), MCXT_ALLOC_HUGE);

	for (int u = 0; u < problem->users; u++)
	{
		int			class = partition_number(classes[u], fits / Max(partitions, 1), "a class");

		for (int p = 0; p < partitions; p++)
			fit[(Size) u * partitions + p] = class_fits[class * partitions + p] - (p == problem->home[u] ? 0 : costs[u]);
	}
	for (int i = 0; i < pairs; i++)
		fit[(Size) partition_number(users[i], problem->users, "a user") * partitions +
			partition_number(places[i], partitions, "a partition")] += pair_fits[i];
	problem->fit = fit;
}

static const char *
reason_name(BalanceReason reason)
{
	switch (reason)
	{
		case BALANCE_MUST:
			return "must";
		case BALANCE_PEAK:
			return "peak";
		case BALANCE_TOGETHER:
			return "together";
		case BALANCE_SPREAD:
			return "spread";
		case BALANCE_FIT:
			return "fit";
	}
	return NULL;
}

PG_FUNCTION_INFO_V1(taskex_plan_moves);

/*
 * plan_moves(...) -> setof (step, user_number, source, target, reason,
 * resource, hour, before, after, fit, gain); numbers begin with 1
 */
Datum
taskex_plan_moves(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Question	question;
	BalanceProblem *problem = &question.problem;
	BalancePlan plan;

	memset(&question, 0, sizeof(question));
	read_homes(fcinfo, problem);
	read_demands(fcinfo, &question);
	read_fits(fcinfo, problem);
	problem->load_weight = PG_GETARG_FLOAT8(ARG_LOAD_WEIGHT);
	problem->fit_weight = 1;
	problem->start = PG_GETARG_FLOAT8(ARG_START);
	problem->target = PG_GETARG_FLOAT8(ARG_TARGET);
	problem->least_gain = PG_GETARG_FLOAT8(ARG_LEAST_GAIN);
	problem->max_moves = PG_GETARG_INT32(ARG_MAX_MOVES);
	problem->effort = EFFORT / (problem->dims + 4);

	InitMaterializedSRF(fcinfo, 0);
	if (problem->users == 0)
		return (Datum) 0;
	balance_plan(problem, &plan);
	for (int i = 0; i < plan.count; i++)
	{
		const BalanceMove *move = &plan.moves[i];
		int			element = problem->dims > 0 ? question.element[move->dim] : 0;
		Datum		values[11] = {Int32GetDatum(move->step), Int32GetDatum(move->user + 1),
			Int32GetDatum(move->source + 1), Int32GetDatum(move->target + 1),
			CStringGetTextDatum(reason_name(move->reason)),
			CStringGetTextDatum(resource_names[demand_resource(element)]), Int32GetDatum(demand_hour(element)),
			Float8GetDatum(move->before), Float8GetDatum(move->after),
			Float8GetDatum(move->fit), Float8GetDatum(move->gain)
		};
		bool		nulls[11] = {false};

		nulls[5] = problem->dims == 0;
		nulls[6] = problem->dims == 0 || demand_hour(element) < 0;
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
