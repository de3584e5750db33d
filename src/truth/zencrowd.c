/*
 * zencrowd.c
 *	  zencrowd and one_coin: one reliability for each performer.
 *
 * ZenCrowd (Demartini, Difallah, Cudre-Mauroux, "ZenCrowd: leveraging
 * probabilistic reasoning and crowdsourcing techniques for large-scale entity
 * linking", WWW 2012), as in "Truth inference in crowdsourcing: is the problem
 * solved?" (VLDB 2017): without a prior of the labels.
 *
 *		E	posterior(c)  ~  product over votes of c of  p (k - 1) / (1 - p)
 *		M	p = mean posterior of the labels that the performer gave
 *
 * one_coin is the same with a prior of the reliability and the bounds that the
 * market uses (one_coin.h): what a dynamic plurality would know in the end.
 *
 * The M step needs the posteriors of labels that were given, and no others, so
 * nothing is kept for a task, however many labels there are.
 */
#include "postgres.h"

#include "truth/inference.h"
#include "truth/one_coin.h"

#include <float.h>
#include <math.h>

#include "miscadmin.h"

typedef struct CoinState
{
	double		low;			/* bounds of a reliability */
	double		high;
	double	   *reliability;	/* by performer */
	double	   *weight;			/* logarithm of the odds, of that */
	double	   *agreed;
	uint32	   *answers;
} CoinState;

static void
set_weights(Inference *inference)
{
	CoinState  *state = inference->state;
	double		others = (double) (inference->possible - 1);

	for (uint32 performer = 0; performer < inference->set->performers.count; performer++)
	{
		double		p = state->reliability[performer];

		p = Min(Max(p, state->low), state->high);
		state->weight[performer] = log(p / (1.0 - p) * others);
	}
}

static void
coin_start(Inference *inference, double low, double high)
{
	LabelSet   *set = inference->set;
	CoinState  *state = palloc0(sizeof(CoinState));
	uint32		performers = set->performers.count;

	inference->state = state;
	state->low = low;
	state->high = high;
	state->reliability = budget_array(set->budget, double, performers);
	state->weight = budget_array(set->budget, double, performers);
	state->agreed = budget_array(set->budget, double, performers);
	state->answers = budget_array(set->budget, uint32, performers);
	for (uint32 performer = 0; performer < performers; performer++)
		state->reliability[performer] = inference->options.reliability;
	set_weights(inference);
}

/* always right, or always wrong, must not make an infinite score */
static void
zencrowd_start(Inference *inference)
{
	coin_start(inference, DBL_EPSILON, 1.0 - DBL_EPSILON);
}

static void
one_coin_start(Inference *inference)
{
	coin_start(inference, 1.0 / inference->possible, ONE_COIN_MAX_RELIABILITY);
}

static void
coin_judge(Inference *inference, uint32 task)
{
	CoinState  *state = inference->state;
	Tally	   *tally = &inference->tally;
	uint32		count;
	const Vote *votes = task_votes(inference->set, task, &count);

	tally->count = 0;
	for (uint32 i = 0; i < count; i++)
		*tally_score(tally, votes[i].label) += state->weight[votes[i].performer];
	tally_softmax(inference);
}

static double
coin_round(Inference *inference)
{
	LabelSet   *set = inference->set;
	CoinState  *state = inference->state;
	Tally	   *tally = &inference->tally;
	TruthOptions *options = &inference->options;
	double		change = 0.0;

	memset(state->agreed, 0, set->performers.count * sizeof(double));
	memset(state->answers, 0, set->performers.count * sizeof(uint32));
	for (uint32 task = 0; task < set->tasks.count; task++)
	{
		uint32		count;
		const Vote *votes = task_votes(set, task, &count);

		CHECK_FOR_INTERRUPTS();
		coin_judge(inference, task);
		for (uint32 i = 0; i < count; i++)
		{
			state->agreed[votes[i].performer] += tally->score[tally->position[votes[i].label]];
			state->answers[votes[i].performer]++;
		}
	}
	for (uint32 performer = 0; performer < set->performers.count; performer++)
	{
		double		p = (options->prior_weight * options->reliability + state->agreed[performer]) /
			(options->prior_weight + state->answers[performer]);

		change = Max(change, fabs(p - state->reliability[performer]));
		state->reliability[performer] = p;
	}
	set_weights(inference);
	return change;
}

static double
coin_reliability(Inference *inference, uint32 performer)
{
	return ((CoinState *) inference->state)->reliability[performer];
}

const TruthMethod method_zencrowd = {
	.name = "zencrowd",
	.takes = OPTION_ROUNDS | OPTION_RELIABILITY | OPTION_POSSIBLE | OPTION_TIES,
	.defaults = {.rounds = 20, .reliability = 0.8},
	.start = zencrowd_start,
	.judge = coin_judge,
	.round = coin_round,
	.reliability = coin_reliability,
};

const TruthMethod method_one_coin = {
	.name = "one_coin",
	.takes = OPTION_ROUNDS | OPTION_RELIABILITY | OPTION_POSSIBLE | OPTION_TIES,
	.defaults = {.rounds = 100, .tolerance = 1e-6,
		.reliability = ONE_COIN_PRIOR_AGREED / (ONE_COIN_PRIOR_AGREED + ONE_COIN_PRIOR_DISAGREED),
	.prior_weight = ONE_COIN_PRIOR_AGREED + ONE_COIN_PRIOR_DISAGREED},
	.start = one_coin_start,
	.judge = coin_judge,
	.round = coin_round,
	.reliability = coin_reliability,
};
