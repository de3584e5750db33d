/*
 * tally.c
 *	  Scores of the labels of one task.
 */
#include "postgres.h"

#include "truth/inference.h"

#include <math.h>

#include "utils/builtins.h"
#include "utils/numeric.h"

void
tally_init(Inference *inference)
{
	LabelSet   *set = inference->set;
	Tally	   *tally = &inference->tally;
	uint32		labels = set->labels.count;
	uint32		size = inference->method->dense ? labels : Min(labels, set->most);

	tally->label = budget_array(set->budget, uint32, size);
	tally->score = budget_array(set->budget, double, size);
	tally->position = budget_array_zero(set->budget, uint32, labels);
	if (inference->method->dense)
	{
		tally->count = labels;
		for (uint32 label = 0; label < labels; label++)
			tally->label[label] = label;
	}
}

/* the score of a label, which is 0 if it had none */
double *
tally_score(Tally *tally, uint32 label)
{
	uint32		position = tally->position[label];

	if (position >= tally->count || tally->label[position] != label)
	{
		position = tally->count++;
		tally->position[label] = position;
		tally->label[position] = label;
		tally->score[position] = 0.0;
	}
	return &tally->score[position];
}

/*
 * Turns scores, which are logarithms of what posteriors are proportional to,
 * into posteriors; that of the labels without a score is 0.
 */
void
tally_softmax(Inference *inference)
{
	Tally	   *tally = &inference->tally;
	double		unseen = (double) (inference->possible - tally->count);
	double		highest = unseen > 0 ? 0.0 : -INFINITY;
	double		sum = 0.0;

	for (uint32 i = 0; i < tally->count; i++)
		highest = Max(highest, tally->score[i]);
	for (uint32 i = 0; i < tally->count; i++)
	{
		tally->score[i] = exp(tally->score[i] - highest);
		sum += tally->score[i];
	}
	tally->rest = unseen > 0 ? exp(-highest) : 0.0;
	sum += unseen * tally->rest;
	for (uint32 i = 0; i < tally->count; i++)
		tally->score[i] /= sum;
	tally->rest /= sum;
}

Jsonb *
numbers_json(int count, const char *const *keys, const double *values)
{
	JsonbParseState *state = NULL;
	JsonbValue *object;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < count; i++)
	{
		JsonbValue	key;
		JsonbValue	value;

		key.type = jbvString;
		key.val.string.val = unconstify(char *, keys[i]);
		key.val.string.len = strlen(keys[i]);
		value.type = isfinite(values[i]) ? jbvNumeric : jbvNull;
		if (value.type == jbvNumeric)
			value.val.numeric = DatumGetNumeric(DirectFunctionCall1(float8_numeric, Float8GetDatum(values[i])));
		pushJsonbValue(&state, WJB_KEY, &key);
		pushJsonbValue(&state, WJB_VALUE, &value);
	}
	object = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(object);
}
