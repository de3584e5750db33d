/*
 * glad.c
 *	  glad: an ability for each performer, and a difficulty for each task.
 *
 * Whitehill, Ruvolo, Wu, Bergsma, Movellan, "Whose vote should count more:
 * optimal integration of labels from labelers of unknown expertise", NIPS 2009.
 * A performer of ability a labels a task of easiness e^b rightly with
 * probability s = 1 / (1 + exp(-a e^b)), and each wrong label is as likely as
 * another; a and b have normal priors with mean 1 and variance 1, from which
 * both begin.
 *
 *		E	posterior(c)  ~  product over votes of c of  (k - 1) s / (1 - s)
 *		M	one step of Fisher scoring for each b, then for each a, on the
 *			expected log likelihood with its priors: with q the posterior of
 *			the label that was given,
 *				db = (sum (q - s) a e^b  -  (b - 1)) / (sum s (1 - s) (a e^b)^2 + 1)
 *				da = (sum (q - s) e^b  -  (a - 1)) / (sum s (1 - s) e^2b + 1)
 *			and no step longer than 1
 *
 * The authors climb to the top in each M step; a step towards it converges to
 * the same points (generalized EM: Dempster, Laird, Rubin, JRSS B 39, 1977).
 */
#include "postgres.h"

#include "truth/inference.h"

#include <math.h>

#include "miscadmin.h"

typedef struct GladState
{
	double		others;			/* log(k - 1) */
	double	   *ability;		/* a, by performer */
	double	   *easiness;		/* b, by task */
	/* of the present round, by performer */
	double	   *gradient;
	double	   *information;
	double	   *right;			/* sum of s */
	uint32	   *answers;
} GladState;

static void
glad_start(Inference *inference)
{
	LabelSet   *set = inference->set;
	GladState  *state = palloc0(sizeof(GladState));
	uint32		performers = set->performers.count;

	inference->state = state;
	state->others = log((double) (inference->possible - 1));
	state->ability = budget_array(set->budget, double, performers);
	state->easiness = budget_array(set->budget, double, set->tasks.count);
	state->gradient = budget_array(set->budget, double, performers);
	state->information = budget_array(set->budget, double, performers);
	state->right = budget_array(set->budget, double, performers);
	state->answers = budget_array(set->budget, uint32, performers);
	for (uint32 performer = 0; performer < performers; performer++)
		state->ability[performer] = 1.0;
	for (uint32 task = 0; task < set->tasks.count; task++)
		state->easiness[task] = 1.0;
}

static void
glad_judge(Inference *inference, uint32 task)
{
	GladState  *state = inference->state;
	Tally	   *tally = &inference->tally;
	double		easiness = exp(state->easiness[task]);
	uint32		count;
	const Vote *votes = task_votes(inference->set, task, &count);

	tally->count = 0;
	for (uint32 i = 0; i < count; i++)
		*tally_score(tally, votes[i].label) += state->ability[votes[i].performer] * easiness + state->others;
	tally_softmax(inference);
}

static double
logistic(double x)
{
	return 1.0 / (1.0 + exp(-x));
}

static double
step(double gradient, double information)
{
	return Min(Max(gradient / information, -1.0), 1.0);
}

/* the M step of one task: its easiness, and what it says of its performers */
static double
glad_task(Inference *inference, uint32 task)
{
	GladState  *state = inference->state;
	Tally	   *tally = &inference->tally;
	double	   *b = &state->easiness[task];
	double		easiness = exp(*b);
	double		gradient = 1.0 - *b;
	double		information = 1.0;
	double		change;
	uint32		count;
	const Vote *votes = task_votes(inference->set, task, &count);

	for (uint32 i = 0; i < count; i++)
	{
		double		x = state->ability[votes[i].performer] * easiness;
		double		s = logistic(x);

		gradient += (tally->score[tally->position[votes[i].label]] - s) * x;
		information += s * (1.0 - s) * x * x;
	}
	change = step(gradient, information);
	*b += change;
	easiness = exp(*b);
	for (uint32 i = 0; i < count; i++)
	{
		uint32		performer = votes[i].performer;
		double		s = logistic(state->ability[performer] * easiness);

		state->gradient[performer] += (tally->score[tally->position[votes[i].label]] - s) * easiness;
		state->information[performer] += s * (1.0 - s) * easiness * easiness;
		state->right[performer] += s;
		state->answers[performer]++;
	}
	return fabs(change);
}

static double
glad_round(Inference *inference)
{
	LabelSet   *set = inference->set;
	GladState  *state = inference->state;
	double		change = 0.0;

	for (uint32 performer = 0; performer < set->performers.count; performer++)
	{
		state->gradient[performer] = 1.0 - state->ability[performer];
		state->information[performer] = 1.0;
		state->right[performer] = 0.0;
		state->answers[performer] = 0;
	}
	for (uint32 task = 0; task < set->tasks.count; task++)
	{
		double		moved;

		CHECK_FOR_INTERRUPTS();
		glad_judge(inference, task);
		moved = glad_task(inference, task);
		change = Max(change, moved);
	}
	for (uint32 performer = 0; performer < set->performers.count; performer++)
	{
		double		moved = step(state->gradient[performer], state->information[performer]);

		state->ability[performer] += moved;
		change = Max(change, fabs(moved));
	}
	return change;
}

/* how likely he was right, over the tasks that he had */
static double
glad_reliability(Inference *inference, uint32 performer)
{
	GladState  *state = inference->state;

	return state->right[performer] / state->answers[performer];
}

static Jsonb *
glad_parameters(Inference *inference, uint32 performer)
{
	static const char *const keys[] = {"ability"};

	return numbers_json(1, keys, &((GladState *) inference->state)->ability[performer]);
}

const TruthMethod method_glad = {
	.name = "glad",
	.takes = OPTION_ROUNDS | OPTION_POSSIBLE | OPTION_TIES,
	.defaults = {.rounds = 100, .tolerance = 1e-4},
	.start = glad_start,
	.judge = glad_judge,
	.round = glad_round,
	.reliability = glad_reliability,
	.parameters = glad_parameters,
};
