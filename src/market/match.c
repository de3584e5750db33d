/*
 * match.c
 *	  How right a result is, beside one that is known to be right.
 *
 * Golden tasks, review policies and the consensus that performers are compared
 * with all come here.
 */
#include "postgres.h"

#include "market/match.h"

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/formatting.h"
#include "utils/numeric.h"

#define KEYS_MAX 100
#define ANSWERS_MAX 1000
#define TOLERANCE_MAX "1e15"

/* beyond this none is near another: differences would take too long */
#define NUMBER_MAX "1e1000"

typedef struct Rule
{
	bool		any;
	bool		ignore_case;
	Numeric		tolerance;		/* NULL: none */
	int			nkeys;			/* 0: all */
	JsonbValue *keys;
} Rule;

static void
root_value(Jsonb *jb, JsonbValue *value)
{
	if (JB_ROOT_IS_SCALAR(jb) && JsonbExtractScalar(&jb->root, value))
		return;
	value->type = jbvBinary;
	value->val.binary.data = &jb->root;
	value->val.binary.len = VARSIZE(jb) - VARHDRSZ;
}

static bool
is_object(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data);
}

static bool
is_array(const JsonbValue *value)
{
	return value->type == jbvBinary && JsonContainerIsArray(value->val.binary.data) &&
		!JsonContainerIsScalar(value->val.binary.data);
}

static bool
find_key(const JsonbValue *object, const JsonbValue *key, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(object->val.binary.data, key->val.string.val,
										key->val.string.len, value) != NULL;
}

/* the next key and value of an object, whose iterator stands at its beginning or at a key */
static bool
next_pair(JsonbIterator **it, JsonbValue *key, JsonbValue *value)
{
	JsonbIteratorToken token = JsonbIteratorNext(it, key, true);

	if (token == WJB_BEGIN_OBJECT)
		token = JsonbIteratorNext(it, key, true);
	if (token != WJB_KEY)
		return false;
	(void) JsonbIteratorNext(it, value, true);
	return true;
}

/* ---- rules ---- */

static Numeric
number_from(const char *text)
{
	return DatumGetNumeric(DirectFunctionCall3(numeric_in, CStringGetDatum(text),
											   ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
}

static int
compare_numbers(Numeric a, Numeric b)
{
	return DatumGetInt32(DirectFunctionCall2(numeric_cmp, NumericGetDatum(a), NumericGetDatum(b)));
}

static void
bad_rule(const char *what, const char *hint)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("match%s", what),
			 hint ? errhint("%s", hint) : 0));
}

static bool
read_flag(const JsonbValue *value, const char *what)
{
	if (value->type != jbvBool)
		bad_rule(what, NULL);
	return value->val.boolean;
}

static void
read_tolerance(Rule *rule, const JsonbValue *value)
{
	if (value->type != jbvNumeric || numeric_is_nan(value->val.numeric) ||
		compare_numbers(value->val.numeric, number_from("0")) < 0 ||
		compare_numbers(value->val.numeric, number_from(TOLERANCE_MAX)) > 0)
		bad_rule(".tolerance must be a number between 0 and " TOLERANCE_MAX, NULL);
	rule->tolerance = value->val.numeric;
}

static void
read_keys(Rule *rule, const JsonbValue *value)
{
	int			count = is_array(value) ? JsonContainerSize(value->val.binary.data) : 0;

	if (count < 1 || count > KEYS_MAX)
		bad_rule(".keys must be an array of 1 to 100 different strings", NULL);
	rule->keys = palloc(sizeof(JsonbValue) * count);
	for (int i = 0; i < count; i++)
	{
		JsonbValue *key = getIthJsonbValueFromContainer(value->val.binary.data, i);

		if (key->type != jbvString)
			bad_rule(".keys must be an array of 1 to 100 different strings", NULL);
		for (int j = 0; j < i; j++)
			if (key->val.string.len == rule->keys[j].val.string.len &&
				memcmp(key->val.string.val, rule->keys[j].val.string.val, key->val.string.len) == 0)
				bad_rule(".keys must be an array of 1 to 100 different strings", NULL);
		rule->keys[rule->nkeys++] = *key;
	}
}

static bool
key_is(const JsonbValue *key, const char *name)
{
	return key->val.string.len == strlen(name) && memcmp(key->val.string.val, name, strlen(name)) == 0;
}

static void
read_rule(Jsonb *data, Rule *rule)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	memset(rule, 0, sizeof(Rule));
	if (data == NULL)
		return;
	if (!JB_ROOT_IS_OBJECT(data))
		bad_rule(" must be a JSON object", NULL);
	it = JsonbIteratorInit(&data->root);
	while (next_pair(&it, &key, &value))
	{
		if (key_is(&key, "any"))
			rule->any = read_flag(&value, ".any must be true or false");
		else if (key_is(&key, "ignore_case"))
			rule->ignore_case = read_flag(&value, ".ignore_case must be true or false");
		else if (key_is(&key, "tolerance"))
			read_tolerance(rule, &value);
		else if (key_is(&key, "keys"))
			read_keys(rule, &value);
		else
			bad_rule(psprintf(" has an unknown key \"%s\"", pnstrdup(key.val.string.val, Min(key.val.string.len, 60))),
					 "The keys are any, keys, tolerance, ignore_case.");
	}
}

/* ---- comparing ---- */

static bool
numbers_equal(Numeric a, Numeric b, const Rule *rule)
{
	Numeric		most;
	Numeric		least;

	if (compare_numbers(a, b) == 0)
		return true;
	if (rule->tolerance == NULL)
		return false;
	most = number_from(NUMBER_MAX);
	least = number_from("-" NUMBER_MAX);
	if (compare_numbers(a, most) > 0 || compare_numbers(a, least) < 0 ||
		compare_numbers(b, most) > 0 || compare_numbers(b, least) < 0)
		return false;
	return compare_numbers(DatumGetNumeric(DirectFunctionCall1(numeric_abs,
															   DirectFunctionCall2(numeric_sub, NumericGetDatum(a), NumericGetDatum(b)))),
						   rule->tolerance) <= 0;
}

/* case takes a character to another of at most so many times the bytes */
#define CASE_GROWTH 4

static bool
texts_equal(const JsonbValue *a, const JsonbValue *b, const Rule *rule)
{
	char	   *lower[2];
	bool		equal;

	if (a->val.string.len == b->val.string.len &&
		memcmp(a->val.string.val, b->val.string.val, a->val.string.len) == 0)
		return true;
	/* a long text may be compared with each of 1000 short ones */
	if (!rule->ignore_case ||
		Max(a->val.string.len, b->val.string.len) / CASE_GROWTH > Min(a->val.string.len, b->val.string.len))
		return false;
	lower[0] = str_tolower(a->val.string.val, a->val.string.len, DEFAULT_COLLATION_OID);
	lower[1] = str_tolower(b->val.string.val, b->val.string.len, DEFAULT_COLLATION_OID);
	equal = strcmp(lower[0], lower[1]) == 0;
	pfree(lower[0]);
	pfree(lower[1]);
	return equal;
}

static bool values_equal(const JsonbValue *a, const JsonbValue *b, const Rule *rule);

static bool
arrays_equal(const JsonbValue *a, const JsonbValue *b, const Rule *rule)
{
	uint32		count = JsonContainerSize(a->val.binary.data);

	if (count != JsonContainerSize(b->val.binary.data))
		return false;
	for (uint32 i = 0; i < count; i++)
		if (!values_equal(getIthJsonbValueFromContainer(a->val.binary.data, i),
						  getIthJsonbValueFromContainer(b->val.binary.data, i), rule))
			return false;
	return true;
}

static bool
objects_equal(const JsonbValue *a, const JsonbValue *b, const Rule *rule)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;
	JsonbValue	other;

	if (JsonContainerSize(a->val.binary.data) != JsonContainerSize(b->val.binary.data))
		return false;
	it = JsonbIteratorInit(a->val.binary.data);
	while (next_pair(&it, &key, &value))
		if (!find_key(b, &key, &other) || !values_equal(&value, &other, rule))
			return false;
	return true;
}

static bool
values_equal(const JsonbValue *a, const JsonbValue *b, const Rule *rule)
{
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (a->type != b->type)
		return false;
	switch (a->type)
	{
		case jbvNull:
			return true;
		case jbvBool:
			return a->val.boolean == b->val.boolean;
		case jbvNumeric:
			return numbers_equal(a->val.numeric, b->val.numeric, rule);
		case jbvString:
			return texts_equal(a, b, rule);
		default:
			if (is_array(a) && is_array(b))
				return arrays_equal(a, b, rule);
			return is_object(a) && is_object(b) && objects_equal(a, b, rule);
	}
}

static void
score_key(MatchScore *score, const JsonbValue *result, const JsonbValue *key,
		  const JsonbValue *known, const Rule *rule)
{
	JsonbValue	value;

	score->parts++;
	score->right += is_object(result) && find_key(result, key, &value) && values_equal(&value, known, rule);
}

static MatchScore
score_answer(const JsonbValue *result, const JsonbValue *known, const Rule *rule)
{
	MatchScore	score = {0, 0};
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;

	if (rule->nkeys > 0)
	{
		for (int i = 0; i < rule->nkeys; i++)
			if (is_object(known) && find_key(known, &rule->keys[i], &value))
				score_key(&score, result, &rule->keys[i], &value, rule);
			else
				score.parts++;
		return score;
	}
	if (values_equal(result, known, rule))
		return (MatchScore) {1, 1};
	if (!is_object(result) || !is_object(known) || JsonContainerSize(known->val.binary.data) == 0)
		return (MatchScore) {0, 1};
	it = JsonbIteratorInit(known->val.binary.data);
	while (next_pair(&it, &key, &value))
		score_key(&score, result, &key, &value, rule);
	return score;
}

MatchScore
match_score(Jsonb *result, Jsonb *known, Jsonb *data)
{
	MatchScore	best = {0, 1};
	Rule		rule;
	JsonbValue	given;
	JsonbValue	right;
	uint32		count;

	read_rule(data, &rule);
	root_value(result, &given);
	root_value(known, &right);
	if (!rule.any || !is_array(&right))
		return score_answer(&given, &right, &rule);
	count = JsonContainerSize(right.val.binary.data);
	for (uint32 i = 0; i < count; i++)
	{
		MatchScore	score = score_answer(&given, getIthJsonbValueFromContainer(right.val.binary.data, i), &rule);

		if ((int64) score.right * best.parts > (int64) best.right * score.parts)
			best = score;
	}
	return best;
}

/* ---- checking ---- */

/* is there a value of the type in it? */
static bool
holds(const JsonbValue *value, enum jbvType type)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	part;

	if (value->type != jbvBinary)
		return value->type == type;
	it = JsonbIteratorInit(value->val.binary.data);
	while ((token = JsonbIteratorNext(&it, &part, false)) != WJB_DONE)
		if ((token == WJB_ELEM || token == WJB_VALUE) && part.type == type)
			return true;
	return false;
}

/* of one right answer: what of it is compared must be there */
static void
check_answer(const TaskType *type, const Rule *rule, JsonbValue *known, bool *number, bool *text)
{
	JsonbValue	value;

	format_check_result(type, 0, JsonbPGetDatum(JsonbValueToJsonb(known)));
	for (int i = 0; i < rule->nkeys; i++)
	{
		if (!is_object(known) || !find_key(known, &rule->keys[i], &value))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("match.keys has a key that known_answer has not: \"%s\"",
							pnstrdup(rule->keys[i].val.string.val, Min(rule->keys[i].val.string.len, 60)))));
		*number |= holds(&value, jbvNumeric);
		*text |= holds(&value, jbvString);
	}
	if (rule->nkeys == 0)
	{
		*number |= holds(known, jbvNumeric);
		*text |= holds(known, jbvString);
	}
}

void
match_check(const TaskType *type, Jsonb *data, Jsonb *known)
{
	Rule		rule;
	JsonbValue	right;
	bool		number = false;
	bool		text = false;

	read_rule(data, &rule);
	root_value(known, &right);
	if (!rule.any)
		check_answer(type, &rule, &right, &number, &text);
	else
	{
		uint32		count = is_array(&right) ? JsonContainerSize(right.val.binary.data) : 0;

		if (count < 1 || count > ANSWERS_MAX)
			bad_rule(".any needs an array of 1 to 1000 right answers as known_answer", NULL);
		for (uint32 i = 0; i < count; i++)
			check_answer(type, &rule, getIthJsonbValueFromContainer(right.val.binary.data, i), &number, &text);
	}
	if (rule.tolerance && !number)
		bad_rule(".tolerance needs a number in known_answer", NULL);
	if (rule.ignore_case && !text)
		bad_rule(".ignore_case needs a text in known_answer", NULL);
}

PG_FUNCTION_INFO_V1(taskex_answer_score);

/* answer_score(result, answer, rule) -> percent; NULL if result or answer are */
Datum
taskex_answer_score(PG_FUNCTION_ARGS)
{
	MatchScore	score;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	score = match_score(PG_GETARG_JSONB_P(0), PG_GETARG_JSONB_P(1), PG_ARGISNULL(2) ? NULL : PG_GETARG_JSONB_P(2));
	PG_RETURN_DATUM(DirectFunctionCall2(numeric_div, NumericGetDatum(int64_to_numeric((int64) 100 * score.right)),
										NumericGetDatum(int64_to_numeric(score.parts))));
}
