/*
 * central.c
 *	  mean and median of numeric labels.
 *
 * Confidence is the share of the variance of an answer that is due to the
 * tasks being different, not to the performers: A / (A + V), with V the
 * variance of this answer and A that of the tasks' true values.  It is the
 * reliability of a mean, ICC(1,k) of Shrout and Fleiss, "Intraclass
 * correlations", Psychological Bulletin 86 (1979), with a variance for each
 * task as in Morris, "Parametric empirical Bayes inference", JASA 78 (1983):
 *
 *		s2 = (S + w2) / n		S: sum of squared deviations of the n labels
 *								w2: the same of all tasks / (labels - tasks)
 *		V  = s2 / n
 *		A  = variance of the answers over the tasks - mean V, 0 at least
 *
 * so the common variance counts as one more label.  For the median, S is
 * (n - 1) (1.4826 MAD)^2 (Rousseeuw and Croux, JASA 88, 1993) and V is pi / 2
 * times as much from 3 labels on (the median's variance in large samples).
 * A performer's reliability is A / (A + d2), d2 his mean squared deviation from
 * the answers of tasks that others have answered too.
 */
#include "postgres.h"

#include "truth/inference.h"

#include <errno.h>
#include <math.h>

#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/float.h"

typedef struct CentralState
{
	bool		median;
	double	   *number;			/* by label */
	double	   *sorted;			/* the numbers of one task */
	double	   *deviation;
	double		common;			/* w2; NaN: no task has two labels */
	double		between;		/* A; NaN: cannot be told */
	/* of the round, by performer */
	double	   *sum;
	double	   *square;
	uint32	   *answers;
} CentralState;

#define ST_SORT sort_numbers
#define ST_ELEMENT_TYPE double
#define ST_COMPARE(a, b) (*(a) < *(b) ? -1 : *(a) > *(b))
#define ST_SCOPE static
#define ST_CHECK_FOR_INTERRUPTS
#define ST_DECLARE
#define ST_DEFINE
#include "lib/sort_template.h"

static double
number_of(const char *label)
{
	char	   *shown = pnstrdup(label, pg_mbcliplen(label, strlen(label), 64));
	char	   *end;
	double		number;

	errno = 0;
	number = strtod(label, &end);
	if (end == label || *end != '\0' || strpbrk(label, "xX") || isnan(number))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
				 errmsg("label \"%s\" is not a number", shown),
				 errhint("Methods mean and median need numeric labels; for others there are majority and dawid_skene.")));
	if (isinf(number))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("label \"%s\" is out of range", shown)));
	pfree(shown);
	return number;
}

static double
middle(const double *sorted, uint32 count)
{
	double		low = sorted[(count - 1) / 2];
	double		high = sorted[count / 2];

	return low == high ? low : low / 2 + high / 2;
}

/* the answer for a task; *spread becomes S */
static double
answer(CentralState *state, const Vote *votes, uint32 count, double *spread)
{
	double		value = 0.0;
	double		mad;

	for (uint32 i = 0; i < count; i++)
		state->sorted[i] = state->number[votes[i].label];
	*spread = 0.0;
	if (!state->median)
	{
		for (uint32 i = 0; i < count; i++)
			value += state->sorted[i];
		value /= count;
		for (uint32 i = 0; i < count; i++)
			*spread += (state->sorted[i] - value) * (state->sorted[i] - value);
		return value;
	}
	sort_numbers(state->sorted, count);
	value = middle(state->sorted, count);
	for (uint32 i = 0; i < count; i++)
		state->deviation[i] = fabs(state->sorted[i] - value);
	sort_numbers(state->deviation, count);
	mad = 1.4826 * middle(state->deviation, count);
	*spread = (count - 1) * mad * mad;
	return value;
}

static double
median_factor(const CentralState *state, uint32 count)
{
	return state->median && count >= 3 ? M_PI / 2 : 1.0;
}

/* variance within and between the tasks */
static void
find_variances(Inference *inference)
{
	LabelSet   *set = inference->set;
	CentralState *state = inference->state;
	double		spreads = 0.0;
	double		own = 0.0;		/* sum of V, the part of S */
	double		shared = 0.0;	/* ... and that of w2, without w2 */
	double		mean = 0.0;
	double		squares = 0.0;

	for (uint32 task = 0; task < set->tasks.count; task++)
	{
		uint32		count;
		const Vote *votes = task_votes(set, task, &count);
		double		spread;
		double		value;
		double		step;
		double		factor = median_factor(state, count) / ((double) count * count);

		CHECK_FOR_INTERRUPTS();
		value = answer(state, votes, count, &spread);
		spreads += spread;
		own += spread * factor;
		shared += factor;
		step = value - mean;
		mean += step / (task + 1);
		squares += step * (value - mean);
	}
	state->common = state->between = get_float8_nan();
	if (set->count > set->tasks.count)
		state->common = spreads / (set->count - set->tasks.count);
	if (set->count > set->tasks.count && set->tasks.count > 1)
		state->between = Max(squares / (set->tasks.count - 1) -
							 (own + state->common * shared) / set->tasks.count, 0.0);
}

static void
central_start(Inference *inference, bool median)
{
	LabelSet   *set = inference->set;
	CentralState *state = palloc0(sizeof(CentralState));
	uint32		performers = set->performers.count;

	inference->state = state;
	state->median = median;
	state->number = budget_array(set->budget, double, set->labels.count);
	state->sorted = budget_array(set->budget, double, set->most);
	state->deviation = budget_array(set->budget, double, set->most);
	state->sum = budget_array(set->budget, double, performers);
	state->square = budget_array(set->budget, double, performers);
	state->answers = budget_array(set->budget, uint32, performers);
	for (uint32 label = 0; label < set->labels.count; label++)
	{
		char	   *text = names_cstring(&set->labels, label);

		CHECK_FOR_INTERRUPTS();
		state->number[label] = number_of(text);
		pfree(text);
	}
	find_variances(inference);
}

static void
mean_start(Inference *inference)
{
	central_start(inference, false);
}

static void
median_start(Inference *inference)
{
	central_start(inference, true);
}

static double
share_between(const CentralState *state, double variance)
{
	/* no differences at all, of tasks nor of performers */
	if (state->between == 0.0 && variance == 0.0)
		return 1.0;
	return state->between / (state->between + variance);
}

static void
central_judge(Inference *inference, uint32 task)
{
	CentralState *state = inference->state;
	uint32		count;
	const Vote *votes = task_votes(inference->set, task, &count);
	double		spread;
	double		value = answer(state, votes, count, &spread);
	double		variance = (spread + state->common) / ((double) count * count) * median_factor(state, count);

	if (isinf(value))
		ereport(ERROR,
				(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
				 errmsg("the sum of the labels is out of range")));
	inference->tally.value = value;
	inference->tally.confidence = share_between(state, variance);
}

static double
central_round(Inference *inference)
{
	LabelSet   *set = inference->set;
	CentralState *state = inference->state;

	memset(state->sum, 0, set->performers.count * sizeof(double));
	memset(state->square, 0, set->performers.count * sizeof(double));
	memset(state->answers, 0, set->performers.count * sizeof(uint32));
	for (uint32 task = 0; task < set->tasks.count; task++)
	{
		uint32		count;
		const Vote *votes = task_votes(set, task, &count);

		CHECK_FOR_INTERRUPTS();
		central_judge(inference, task);
		for (uint32 i = 0; i < count; i++)
		{
			double		deviation = state->number[votes[i].label] - inference->tally.value;

			if (count < 2)
				continue;
			state->sum[votes[i].performer] += deviation;
			state->square[votes[i].performer] += deviation * deviation;
			state->answers[votes[i].performer]++;
		}
	}
	return 0.0;
}

static double
central_reliability(Inference *inference, uint32 performer)
{
	CentralState *state = inference->state;

	if (state->answers[performer] == 0)
		return get_float8_nan();
	return share_between(state, state->square[performer] / state->answers[performer]);
}

/* how far his labels are from the answers, on average and in size */
static Jsonb *
central_parameters(Inference *inference, uint32 performer)
{
	static const char *const keys[] = {"bias", "deviation"};
	CentralState *state = inference->state;
	double		answers = state->answers[performer];
	double		values[2];

	if (state->answers[performer] == 0)
		return NULL;
	values[0] = state->sum[performer] / answers;
	values[1] = sqrt(state->square[performer] / answers);
	return numbers_json(2, keys, values);
}

const TruthMethod method_mean = {
	.name = "mean",
	.numeric = true,
	.defaults = {.rounds = 1},
	.start = mean_start,
	.judge = central_judge,
	.round = central_round,
	.reliability = central_reliability,
	.parameters = central_parameters,
};

const TruthMethod method_median = {
	.name = "median",
	.numeric = true,
	.defaults = {.rounds = 1},
	.start = median_start,
	.judge = central_judge,
	.round = central_round,
	.reliability = central_reliability,
	.parameters = central_parameters,
};
