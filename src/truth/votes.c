/*
 * votes.c
 *	  majority and weighted_majority.
 *
 * Weighted majority is the iterative weighted majority voting of Li and Yu,
 * "Error rate bounds and iterative weighted majority voting for crowdsourcing"
 * (arXiv:1411.4086, 2014): a performer's weight is k p - 1, with k possible
 * labels and p the share of his labels that agree with the present answers, so
 * that whoever only guesses counts for nothing.  It begins with equal weights,
 * which is the majority.  An answer that several labels share counts for each
 * as its share.
 */
#include "postgres.h"

#include "truth/inference.h"

#include <math.h>

#include "miscadmin.h"

typedef struct VoteState
{
	double	   *weight;			/* by performer; NULL: all are 1 */
	double	   *agreed;
	uint32	   *answers;
} VoteState;

static void
majority_start(Inference *inference)
{
	LabelSet   *set = inference->set;
	VoteState  *state = palloc0(sizeof(VoteState));

	state->agreed = budget_array_zero(set->budget, double, set->performers.count);
	state->answers = budget_array_zero(set->budget, uint32, set->performers.count);
	inference->state = state;
}

static void
weighted_start(Inference *inference)
{
	LabelSet   *set = inference->set;
	VoteState  *state;

	majority_start(inference);
	state = inference->state;
	state->weight = budget_array(set->budget, double, set->performers.count);
	for (uint32 performer = 0; performer < set->performers.count; performer++)
		state->weight[performer] = 1.0;
}

/* scores become shares of all that is positive */
static void
take_shares(Inference *inference)
{
	Tally	   *tally = &inference->tally;
	double		unseen = (double) (inference->possible - tally->count);
	double		best = unseen > 0 ? 0.0 : -INFINITY;
	double		sum = 0.0;
	uint32		equal = 0;

	for (uint32 i = 0; i < tally->count; i++)
		best = Max(best, tally->score[i]);
	for (uint32 i = 0; i < tally->count; i++)
	{
		sum += Max(tally->score[i], 0.0);
		equal += tally->score[i] >= best - TIE_TOLERANCE;
	}
	tally->rest = 0.0;
	if (sum > TIE_TOLERANCE)
	{
		for (uint32 i = 0; i < tally->count; i++)
			tally->score[i] = Max(tally->score[i], 0.0) / sum;
		return;
	}
	/* all votes are from those who are wrong more often than by guessing */
	if (best > -TIE_TOLERANCE)
		tally->rest = 1.0 / (unseen + equal);
	for (uint32 i = 0; i < tally->count; i++)
		tally->score[i] = tally->score[i] < best - TIE_TOLERANCE ? 0.0 :
			tally->rest > 0.0 ? tally->rest : 1.0 / equal;
}

static void
votes_judge(Inference *inference, uint32 task)
{
	VoteState  *state = inference->state;
	Tally	   *tally = &inference->tally;
	uint32		count;
	const Vote *votes = task_votes(inference->set, task, &count);

	tally->count = 0;
	for (uint32 i = 0; i < count; i++)
		*tally_score(tally, votes[i].label) += state->weight ? state->weight[votes[i].performer] : 1.0;
	take_shares(inference);
}

/* how much of the answer is this label? */
static double
share_of_answer(const Tally *tally, double best, uint32 winners, uint32 label)
{
	return tally->score[tally->position[label]] >= best - TIE_TOLERANCE ? 1.0 / winners : 0.0;
}

static double
votes_round(Inference *inference)
{
	LabelSet   *set = inference->set;
	VoteState  *state = inference->state;
	Tally	   *tally = &inference->tally;
	double		change = 0.0;

	memset(state->agreed, 0, set->performers.count * sizeof(double));
	memset(state->answers, 0, set->performers.count * sizeof(uint32));
	for (uint32 task = 0; task < set->tasks.count; task++)
	{
		uint32		count;
		const Vote *votes = task_votes(set, task, &count);
		double		best = 0.0;
		int64		winners = 0;

		CHECK_FOR_INTERRUPTS();
		votes_judge(inference, task);
		best = tally->rest;
		for (uint32 i = 0; i < tally->count; i++)
			best = Max(best, tally->score[i]);
		for (uint32 i = 0; i < tally->count; i++)
			winners += tally->score[i] >= best - TIE_TOLERANCE;
		if (tally->rest >= best - TIE_TOLERANCE)
			winners += inference->possible - tally->count;
		for (uint32 i = 0; i < count; i++)
		{
			state->agreed[votes[i].performer] += share_of_answer(tally, best, winners, votes[i].label);
			state->answers[votes[i].performer]++;
		}
	}
	if (state->weight == NULL)
		return 0.0;
	for (uint32 performer = 0; performer < set->performers.count; performer++)
	{
		double		weight = inference->possible * state->agreed[performer] / state->answers[performer] - 1.0;

		change = Max(change, fabs(weight - state->weight[performer]));
		state->weight[performer] = weight;
	}
	return change;
}

static double
votes_reliability(Inference *inference, uint32 performer)
{
	VoteState  *state = inference->state;

	return state->agreed[performer] / state->answers[performer];
}

static Jsonb *
votes_parameters(Inference *inference, uint32 performer)
{
	static const char *const keys[] = {"weight"};
	VoteState  *state = inference->state;

	return numbers_json(1, keys, &state->weight[performer]);
}

const TruthMethod method_majority = {
	.name = "majority",
	.takes = OPTION_TIES,
	.defaults = {.rounds = 1},
	.start = majority_start,
	.judge = votes_judge,
	.round = votes_round,
	.reliability = votes_reliability,
};

const TruthMethod method_weighted_majority = {
	.name = "weighted_majority",
	.takes = OPTION_ROUNDS | OPTION_POSSIBLE | OPTION_TIES,
	.defaults = {.rounds = 20},
	.start = weighted_start,
	.judge = votes_judge,
	.round = votes_round,
	.reliability = votes_reliability,
	.parameters = votes_parameters,
};
