/*
 * infer.c
 *	  SQL: infer_truth and infer_performers.
 */
#include "postgres.h"

#include "truth/inference.h"
#include "truth/progress.h"
#include "base/args.h"

#include <math.h>

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* where rows go */
typedef struct Output
{
	ReturnSetInfo *rsinfo;
	MemoryContext row_context;
} Output;

static void
put_row(Output *output, Datum *values, bool *nulls)
{
	tuplestore_putvalues(output->rsinfo->setResult, output->rsinfo->setDesc, values, nulls);
	MemoryContextReset(output->row_context);
}

/* ---- one row, or some, for each task ---- */

static void
put_answer(Output *output, Inference *inference, uint32 task, int64 label, double confidence)
{
	Datum		values[3] = {names_text(&inference->set->tasks, task)};
	bool		nulls[3] = {false, label < 0, isnan(confidence)};

	if (label >= 0)
		values[1] = names_text(&inference->set->labels, (uint32) label);
	values[2] = Float8GetDatum(confidence);
	put_row(output, values, nulls);
}

static void
put_number(Output *output, Inference *inference, uint32 task)
{
	Datum		values[3] = {names_text(&inference->set->tasks, task)};
	bool		nulls[3] = {false, false, isnan(inference->tally.confidence)};

	values[1] = CStringGetTextDatum(DatumGetCString(DirectFunctionCall1(float8out, Float8GetDatum(inference->tally.value))));
	values[2] = Float8GetDatum(inference->tally.confidence);
	put_row(output, values, nulls);
}

static int
compare_labels(const void *a, const void *b, void *names)
{
	CHECK_FOR_INTERRUPTS();
	return names_compare(names, *(const uint32 *) a, *(const uint32 *) b);
}

/* all labels in the order of their bytes; made when it is needed first */
static const uint32 *
label_order(Inference *inference)
{
	LabelSet   *set = inference->set;

	if (inference->order == NULL)
	{
		inference->order = budget_array(set->budget, uint32, set->labels.count);
		for (uint32 label = 0; label < set->labels.count; label++)
			inference->order[label] = label;
		qsort_arg(inference->order, set->labels.count, sizeof(uint32), compare_labels, &set->labels);
	}
	return inference->order;
}

static bool
in_tally(const Tally *tally, uint32 label)
{
	uint32		position = tally->position[label];

	return position < tally->count && tally->label[position] == label;
}

/*
 * The answer can be a label that nobody has given for this task, when those who
 * have answered are wrong more often than by guessing.
 */
static void
put_unseen(Output *output, Inference *inference, uint32 task, double best)
{
	Tally	   *tally = &inference->tally;
	const uint32 *order = label_order(inference);
	double		least = best - best * TIE_TOLERANCE;

	for (uint32 i = 0; i < inference->set->labels.count; i++)
	{
		uint32		label = order[i];
		double		posterior = in_tally(tally, label) ? tally->score[tally->position[label]] : tally->rest;

		CHECK_FOR_INTERRUPTS();
		if (posterior < least)
			continue;
		put_answer(output, inference, task, label, posterior);
		if (inference->options.ties == TIES_FIRST)
			return;
	}
}

static void
put_answers(Output *output, Inference *inference, uint32 task)
{
	LabelSet   *set = inference->set;
	Tally	   *tally = &inference->tally;
	bool		unseen = tally->count < set->labels.count;
	double		best = unseen ? tally->rest : 0.0;
	double		least;
	uint32		winners = 0;
	uint32		winner = 0;

	for (uint32 i = 0; i < tally->count; i++)
		best = Max(best, tally->score[i]);
	least = best - best * TIE_TOLERANCE;
	unseen = unseen && tally->rest >= least;
	for (uint32 i = 0; i < tally->count; i++)
	{
		if (tally->score[i] < least)
			continue;
		if (winners == 0 || names_compare(&set->labels, tally->label[i], winner) < 0)
			winner = tally->label[i];
		winners++;
	}
	if (unseen)
		winners += set->labels.count - tally->count;

	if (winners > 1 && inference->options.ties == TIES_NONE)
		put_answer(output, inference, task, -1, best);
	else if (unseen || (winners > 1 && inference->options.ties == TIES_ALL))
		put_unseen(output, inference, task, best);
	else
		put_answer(output, inference, task, winner, best);
}

static void
put_truth(Output *output, Inference *inference)
{
	for (uint32 task = 0; task < inference->set->tasks.count; task++)
	{
		MemoryContext caller = MemoryContextSwitchTo(output->row_context);

		CHECK_FOR_INTERRUPTS();
		inference->method->judge(inference, task);
		if (inference->method->numeric)
			put_number(output, inference, task);
		else
			put_answers(output, inference, task);
		MemoryContextSwitchTo(caller);
	}
}

/* ---- a row for each performer ---- */

static uint64 *
count_answers(const LabelSet *set)
{
	uint64	   *answers = budget_array_zero(set->budget, uint64, set->performers.count);

	for (uint64 i = 0; i < set->count; i++)
	{
		if ((i & 0xffff) == 0)
			CHECK_FOR_INTERRUPTS();
		answers[set->votes[i].performer]++;
	}
	return answers;
}

static void
put_performers(Output *output, Inference *inference)
{
	LabelSet   *set = inference->set;
	const TruthMethod *method = inference->method;
	uint64	   *answers = count_answers(set);

	for (uint32 performer = 0; performer < set->performers.count; performer++)
	{
		MemoryContext caller = MemoryContextSwitchTo(output->row_context);
		double		reliability = method->reliability(inference, performer);
		Jsonb	   *parameters = method->parameters ? method->parameters(inference, performer) : NULL;
		Datum		values[4] = {names_text(&set->performers, performer)};
		bool		nulls[4] = {false, isnan(reliability), false, parameters == NULL};

		CHECK_FOR_INTERRUPTS();
		values[1] = Float8GetDatum(reliability);
		values[2] = Int64GetDatum(answers[performer]);
		values[3] = JsonbPGetDatum(parameters);
		put_row(output, values, nulls);
		MemoryContextSwitchTo(caller);
	}
}

/* ---- the inference ---- */

/*
 * An answer is what an E step finds, so the last round of infer_truth is one
 * without M step: that is what put_truth does.
 */
static void
run_rounds(Inference *inference, int rounds)
{
	for (int round = 1; round <= rounds; round++)
	{
		CHECK_FOR_INTERRUPTS();
		progress_phase("inferring", round, inference->options.rounds);
		if (inference->method->round(inference) <= inference->options.tolerance)
			break;
	}
}

static void
infer(Inference *inference, const char *query, Output *output, bool performers)
{
	inference->set = label_set_read(query);
	inference->possible = Max(Max(inference->options.possible, inference->set->labels.count), 2);
	if (inference->set->tasks.count > 0)
	{
		if (!inference->method->numeric)
			tally_init(inference);
		progress_phase("inferring", 0, inference->options.rounds);
		inference->method->start(inference);
		run_rounds(inference, inference->options.rounds - (performers ? 0 : 1));
		progress_phase("returning", inference->options.rounds, inference->options.rounds);
		output->row_context = AllocSetContextCreate(inference->set->budget->context, "taskex inference result",
													ALLOCSET_DEFAULT_SIZES);
		if (performers)
			put_performers(output, inference);
		else
			put_truth(output, inference);
	}
	MemoryContextDelete(inference->set->budget->context);
}

/* both functions: (query, method, options) */
static void
infer_call(FunctionCallInfo fcinfo, bool performers)
{
	static const char *const names[] = {"query", "method", "options", NULL};
	Inference	inference = {0};
	Output		output = {(ReturnSetInfo *) fcinfo->resultinfo};
	char	   *query;
	ProgressSaved *saved;

	require_args(fcinfo, names);
	query = text_to_cstring(PG_GETARG_TEXT_PP(0));
	inference.method = method_named(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	options_read(PG_GETARG_JSONB_P(2), inference.method, &inference.options);
	InitMaterializedSRF(fcinfo, 0);
	saved = progress_begin(inference.method->name);
	PG_TRY();
	{
		infer(&inference, query, &output, performers);
	}
	PG_FINALLY();
	{
		progress_end(saved);
	}
	PG_END_TRY();
}

PG_FUNCTION_INFO_V1(taskex_infer_truth);

/* infer_truth(query, method, options) -> setof (task, label, confidence) */
Datum
taskex_infer_truth(PG_FUNCTION_ARGS)
{
	infer_call(fcinfo, false);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(taskex_infer_performers);

/* infer_performers(query, method, options) -> setof (performer, reliability, answers, parameters) */
Datum
taskex_infer_performers(PG_FUNCTION_ARGS)
{
	infer_call(fcinfo, true);
	return (Datum) 0;
}
