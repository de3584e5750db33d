/*
 * dawid_skene.c
 *	  dawid_skene: a confusion matrix for each performer.
 *
 * Dawid and Skene, "Maximum likelihood estimation of observer error-rates using
 * the EM algorithm", Applied Statistics 28 (1979), with the start values of
 * "Truth inference in crowdsourcing: is the problem solved?" (VLDB 2017):
 *
 *		E	posterior(c)  ~  prior(c) * product over votes of  m[c][label]
 *		M	m[c][l] = posterior of c, summed over the votes for l of the
 *			performer, as a share of the same over all his votes;
 *			prior(c) = mean posterior of c over the tasks
 *
 * A row of a matrix without any weight keeps its start value.  With
 * prior_weight, the start values count as that many votes of each class.
 *
 * Both steps are made in one pass, so no posterior is kept: memory is 16 bytes
 * a performer and cell of the matrix.
 */
#include "postgres.h"

#include "truth/inference.h"

#include <math.h>

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/numeric.h"

typedef struct DsState
{
	uint32		k;
	/* by performer, label, class: a vote adds to all classes of a label */
	double	   *logs;
	double	   *counts;
	double	   *log_prior;		/* by class */
	double	   *class_count;
} DsState;

#define cell(array, state, performer, label) \
	(&(array)[((Size) (performer) * (state)->k + (label)) * (state)->k])

static double
start_value(const Inference *inference, uint32 k, uint32 label, uint32 class)
{
	double		right = inference->options.reliability;

	return label == class ? right : (1.0 - right) / (k - 1);
}

static void
ds_start(Inference *inference)
{
	LabelSet   *set = inference->set;
	DsState    *state = palloc0(sizeof(DsState));
	uint32		k = set->labels.count;
	Size		cells;

	/* the budget is far below what would not fit */
	if (k > 0 && (double) set->performers.count * k * k > (double) MaxAllocHugeSize / sizeof(double))
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many labels for confusion matrices"),
				 errdetail("There are %u performers and %u different labels.", set->performers.count, k),
				 errhint("Use zencrowd or one_coin.")));
	inference->state = state;
	state->k = k;
	cells = (Size) set->performers.count * k * k;
	state->logs = budget_array(set->budget, double, cells);
	state->counts = budget_array(set->budget, double, cells);
	state->log_prior = budget_array(set->budget, double, k);
	state->class_count = budget_array(set->budget, double, k);
	for (uint32 class = 0; class < k; class++)
		state->log_prior[class] = -log(k);
	for (uint32 performer = 0; performer < set->performers.count; performer++)
	{
		CHECK_FOR_INTERRUPTS();
		for (uint32 label = 0; label < k; label++)
			for (uint32 class = 0; class < k; class++)
				cell(state->logs, state, performer, label)[class] = log(start_value(inference, k, label, class));
	}
}

/* the E step, without interrupts: a task has few votes */
static void
ds_judge(Inference *inference, uint32 task)
{
	DsState    *state = inference->state;
	double	   *score = inference->tally.score;
	uint32		k = state->k;
	uint32		count;
	const Vote *votes = task_votes(inference->set, task, &count);
	double		highest = -INFINITY;
	double		sum = 0.0;

	memcpy(score, state->log_prior, k * sizeof(double));
	for (uint32 i = 0; i < count; i++)
	{
		const double *logs = cell(state->logs, state, votes[i].performer, votes[i].label);

		for (uint32 class = 0; class < k; class++)
			score[class] += logs[class];
	}
	for (uint32 class = 0; class < k; class++)
		highest = Max(highest, score[class]);
	/* no class can explain the votes: then all are as likely */
	if (highest == -INFINITY)
	{
		for (uint32 class = 0; class < k; class++)
			score[class] = 1.0 / k;
		return;
	}
	for (uint32 class = 0; class < k; class++)
	{
		score[class] = exp(score[class] - highest);
		sum += score[class];
	}
	for (uint32 class = 0; class < k; class++)
		score[class] /= sum;
}

/* the M step for one performer; returns the largest change */
static double
new_matrix(Inference *inference, uint32 performer)
{
	DsState    *state = inference->state;
	uint32		k = state->k;
	double		weight = inference->options.prior_weight;
	double		change = 0.0;

	for (uint32 class = 0; class < k; class++)
	{
		double		sum = 0.0;

		for (uint32 label = 0; label < k; label++)
			sum += cell(state->counts, state, performer, label)[class];
		for (uint32 label = 0; label < k; label++)
		{
			double		start = start_value(inference, k, label, class);
			double	   *was = &cell(state->logs, state, performer, label)[class];
			double		p = start;

			if (sum + weight > 0.0)
				p = (cell(state->counts, state, performer, label)[class] + weight * start) / (sum + weight);
			change = Max(change, fabs(p - exp(*was)));
			*was = log(p);
		}
	}
	return change;
}

static double
ds_round(Inference *inference)
{
	LabelSet   *set = inference->set;
	DsState    *state = inference->state;
	double	   *posterior = inference->tally.score;
	uint32		k = state->k;
	double		change = 0.0;

	memset(state->counts, 0, (Size) set->performers.count * k * k * sizeof(double));
	memset(state->class_count, 0, k * sizeof(double));
	for (uint32 task = 0; task < set->tasks.count; task++)
	{
		uint32		count;
		const Vote *votes = task_votes(set, task, &count);

		CHECK_FOR_INTERRUPTS();
		ds_judge(inference, task);
		for (uint32 i = 0; i < count; i++)
		{
			double	   *counts = cell(state->counts, state, votes[i].performer, votes[i].label);

			for (uint32 class = 0; class < k; class++)
				counts[class] += posterior[class];
		}
		for (uint32 class = 0; class < k; class++)
			state->class_count[class] += posterior[class];
	}
	for (uint32 performer = 0; performer < set->performers.count; performer++)
	{
		double		moved = new_matrix(inference, performer);

		CHECK_FOR_INTERRUPTS();
		change = Max(change, moved);
	}
	for (uint32 class = 0; class < k; class++)
		state->log_prior[class] = log(state->class_count[class] / set->tasks.count);
	return change;
}

/* how often he is right, over tasks of all classes as they occur */
static double
ds_reliability(Inference *inference, uint32 performer)
{
	DsState    *state = inference->state;
	double		right = 0.0;

	for (uint32 class = 0; class < state->k; class++)
		right += exp(state->log_prior[class] + cell(state->logs, state, performer, class)[class]);
	return Min(right, 1.0);
}

static void
push_key(JsonbParseState **parse, const Names *names, uint32 number)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = names_cstring(names, number);
	key.val.string.len = strlen(key.val.string.val);
	pushJsonbValue(parse, WJB_KEY, &key);
}

/* {"confusion": {true label: {given label: probability}}} */
static Jsonb *
ds_parameters(Inference *inference, uint32 performer)
{
	DsState    *state = inference->state;
	const Names *names = &inference->set->labels;
	JsonbParseState *parse = NULL;
	JsonbValue	value;

	pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
	value.type = jbvString;
	value.val.string.val = "confusion";
	value.val.string.len = strlen("confusion");
	pushJsonbValue(&parse, WJB_KEY, &value);
	pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
	for (uint32 class = 0; class < state->k; class++)
	{
		CHECK_FOR_INTERRUPTS();
		push_key(&parse, names, class);
		pushJsonbValue(&parse, WJB_BEGIN_OBJECT, NULL);
		for (uint32 label = 0; label < state->k; label++)
		{
			double		p = exp(cell(state->logs, state, performer, label)[class]);

			push_key(&parse, names, label);
			value.type = jbvNumeric;
			value.val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric, Float8GetDatum(p)));
			pushJsonbValue(&parse, WJB_VALUE, &value);
		}
		pushJsonbValue(&parse, WJB_END_OBJECT, NULL);
	}
	pushJsonbValue(&parse, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&parse, WJB_END_OBJECT, NULL));
}

const TruthMethod method_dawid_skene = {
	.name = "dawid_skene",
	.takes = OPTION_ROUNDS | OPTION_RELIABILITY | OPTION_TIES,
	.dense = true,
	.defaults = {.rounds = 20, .reliability = 0.7},
	.start = ds_start,
	.judge = ds_judge,
	.round = ds_round,
	.reliability = ds_reliability,
	.parameters = ds_parameters,
};
