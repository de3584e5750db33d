/*
 * votes.c
 *	  The results of one task, as its consensus looks at them.
 */
#include "postgres.h"

#include "market/votes.h"
#include "market/rows.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"

/* larger results are compared by a hash of 64 bits */
#define LABEL_KEPT 2048

/* a tally is small: it is written with each result */
#define TALLY_LABELS 10
#define TALLY_LABEL_SIZE 200

/* ---- reading ---- */

static int
label_of(Votes *votes, Jsonb *value, int64 assignment_id, MemoryContext context)
{
	uint64		hash = DatumGetUInt64(DirectFunctionCall2(jsonb_hash_extended, JsonbPGetDatum(value),
														  Int64GetDatum(1)));
	bool		small = VARSIZE(value) <= LABEL_KEPT;
	Label	   *label;

	for (int i = 0; i < votes->nlabels; i++)
	{
		label = &votes->labels[i];
		if (label->hash == hash && small == (label->value != NULL) &&
			(!small || compareJsonbContainers(&label->value->root, &value->root) == 0))
			return i;
	}
	label = &votes->labels[votes->nlabels];
	label->hash = hash;
	label->value = NULL;
	if (small)
	{
		label->value = MemoryContextAlloc(context, VARSIZE(value));
		memcpy(label->value, value, VARSIZE(value));
	}
	label->bearer = assignment_id;
	label->votes = 0;
	return votes->nlabels++;
}

static Numeric
number_of(Jsonb *value, MemoryContext context)
{
	JsonbValue	scalar;
	Numeric		number;

	if (!JB_ROOT_IS_SCALAR(value) || !JsonbExtractScalar(&value->root, &scalar) ||
		scalar.type != jbvNumeric)
		return NULL;
	number = MemoryContextAlloc(context, VARSIZE_ANY(scalar.val.numeric));
	memcpy(number, scalar.val.numeric, VARSIZE_ANY(scalar.val.numeric));
	return number;
}

static int
compare_votes(const void *a, const void *b)
{
	int64		x = ((const Vote *) a)->assignment_id;
	int64		y = ((const Vote *) b)->assignment_id;

	return x < y ? -1 : x > y;
}

static void
make_room(Votes *votes, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	if (votes->count == votes->room)
	{
		votes->room *= 2;
		votes->votes = repalloc(votes->votes, sizeof(Vote) * votes->room);
		votes->labels = repalloc(votes->labels, sizeof(Label) * votes->room);
	}
	MemoryContextSwitchTo(old);
}

void
votes_read(Votes *votes, Child *results, int64 task_id, bool numbers)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext each = AllocSetContextCreate(context, "taskex results", ALLOCSET_DEFAULT_SIZES);
	ChildScan	scan;

	memset(votes, 0, sizeof(Votes));
	votes->room = 16;
	votes->votes = palloc(sizeof(Vote) * votes->room);
	votes->labels = palloc(sizeof(Label) * votes->room);
	child_scan_begin_equal(&scan, results, RESULT_BY_TASK, task_id);
	while (child_scan_next(&scan))
	{
		Vote	   *vote;
		Jsonb	   *value;
		bool		isnull;

		CHECK_FOR_INTERRUPTS();
		if (child_text_is(results, RESULT_STATE, "rejected"))
			continue;
		make_room(votes, context);
		vote = &votes->votes[votes->count++];
		vote->assignment_id = child_int64(results, RESULT_ASSIGNMENT_ID);
		vote->performer_id = child_int64(results, RESULT_PERFORMER_ID);
		votes->waiting += child_text_is(results, RESULT_STATE, "submitted");

		MemoryContextSwitchTo(each);
		value = DatumGetJsonbP(slot_getattr(results->slot, RESULT_RESULT, &isnull));
		vote->label = numbers ? 0 : label_of(votes, value, vote->assignment_id, context);
		vote->number = numbers ? number_of(value, context) : NULL;
		if (!numbers)
			votes->labels[vote->label].votes++;
		MemoryContextSwitchTo(context);
		MemoryContextReset(each);
	}
	child_scan_end(&scan);
	MemoryContextDelete(each);
	qsort(votes->votes, votes->count, sizeof(Vote), compare_votes);
}

Datum
votes_value(const Votes *votes, Child *results, int label)
{
	const Label *found = &votes->labels[label];
	bool		isnull;

	if (found->value)
		return JsonbPGetDatum(found->value);
	if (!child_find(results, RESULT_BY_ID, 1, &found->bearer))
		elog(ERROR, "result of assignment %lld is missing", (long long) found->bearer);
	return JsonbPGetDatum(DatumGetJsonbPCopy(slot_getattr(results->slot, RESULT_RESULT, &isnull)));
}

/* ---- combining ---- */

int
votes_leader(const Votes *votes)
{
	int			leader = -1;
	int			most = 0;

	for (int i = 0; i < votes->nlabels; i++)
	{
		if (votes->labels[i].votes > most)
		{
			leader = i;
			most = votes->labels[i].votes;
		}
		else if (votes->labels[i].votes == most)
			leader = -1;
	}
	return leader;
}

/* the quotient as jsonb, without the zeros that a division adds */
static Datum
quotient(Datum sum, int count)
{
	Datum		divisor = DirectFunctionCall1(int4_numeric, Int32GetDatum(count));
	Datum		value = DirectFunctionCall2(numeric_div, sum, divisor);
	JsonbValue	scalar;

	scalar.type = jbvNumeric;
	scalar.val.numeric = DatumGetNumeric(DirectFunctionCall1(numeric_trim_scale, value));
	return JsonbPGetDatum(JsonbValueToJsonb(&scalar));
}

/* the votes that are numbers; returns how many */
static int
numbers_of(const Votes *votes, Datum *numbers)
{
	int			count = 0;

	for (int i = 0; i < votes->count; i++)
		if (votes->votes[i].number)
			numbers[count++] = NumericGetDatum(votes->votes[i].number);
	return count;
}

bool
votes_mean(const Votes *votes, Datum *value)
{
	Datum	   *numbers = palloc(sizeof(Datum) * (votes->count + 1));
	int			count = numbers_of(votes, numbers);
	Datum		sum;

	if (count == 0)
		return false;
	sum = numbers[0];
	for (int i = 1; i < count; i++)
		sum = DirectFunctionCall2(numeric_add, sum, numbers[i]);
	*value = quotient(sum, count);
	return true;
}

static int
compare_numbers(const void *a, const void *b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, *(const Datum *) a, *(const Datum *) b));
}

bool
votes_median(const Votes *votes, Datum *value)
{
	Datum	   *numbers = palloc(sizeof(Datum) * (votes->count + 1));
	int			count = numbers_of(votes, numbers);

	if (count == 0)
		return false;
	qsort(numbers, count, sizeof(Datum), compare_numbers);
	*value = quotient(DirectFunctionCall2(numeric_add, numbers[(count - 1) / 2], numbers[count / 2]), 2);
	return true;
}

/* ---- the tally ---- */

static void
push_key(JsonbParseState **state, const char *name)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	pushJsonbValue(state, WJB_KEY, &key);
}

static void
push_number(JsonbParseState **state, const char *name, Datum number)
{
	JsonbValue	value;

	push_key(state, name);
	value.type = jbvNumeric;
	value.val.numeric = DatumGetNumeric(number);
	pushJsonbValue(state, WJB_VALUE, &value);
}

static void
push_label(JsonbParseState **state, const Label *label, const double *probability)
{
	JsonbValue	value;

	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	if (label->value && VARSIZE(label->value) <= TALLY_LABEL_SIZE)
	{
		push_key(state, "answer");
		if (!JB_ROOT_IS_SCALAR(label->value) || !JsonbExtractScalar(&label->value->root, &value))
		{
			value.type = jbvBinary;
			value.val.binary.data = &label->value->root;
			value.val.binary.len = VARSIZE(label->value) - VARHDRSZ;
		}
		pushJsonbValue(state, WJB_VALUE, &value);
	}
	push_number(state, "results", DirectFunctionCall1(int4_numeric, Int32GetDatum(label->votes)));
	if (probability)
		push_number(state, "probability",
					DirectFunctionCall2(numeric_round,
										DirectFunctionCall1(float8_numeric, Float8GetDatum(*probability)),
										Int32GetDatum(6)));
	pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

/* the first label that is not used yet */
static int
nth_label(const Votes *votes, const double *probability, bool *used)
{
	int			best = -1;

	for (int i = 0; i < votes->nlabels; i++)
		if (!used[i] &&
			(best < 0 ||
			 (probability ? probability[i] > probability[best] :
			  votes->labels[i].votes > votes->labels[best].votes)))
			best = i;
	if (best >= 0)
		used[best] = true;
	return best;
}

Datum
votes_tally(const Votes *votes, const double *probability, bool final)
{
	JsonbParseState *state = NULL;
	JsonbValue	value;
	bool	   *used = palloc0(votes->nlabels + 1);

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_number(&state, "results", DirectFunctionCall1(int4_numeric, Int32GetDatum(votes->count)));
	push_key(&state, "final");
	value.type = jbvBool;
	value.val.boolean = final;
	pushJsonbValue(&state, WJB_VALUE, &value);
	if (votes->nlabels > 0)
	{
		push_key(&state, "votes");
		pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
		for (int n = 0; n < Min(votes->nlabels, TALLY_LABELS); n++)
		{
			int			i = nth_label(votes, probability, used);

			push_label(&state, &votes->labels[i], probability ? &probability[i] : NULL);
		}
		pushJsonbValue(&state, WJB_END_ARRAY, NULL);
	}
	return JsonbPGetDatum(JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL)));
}
