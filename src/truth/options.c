/*
 * options.c
 *	  Methods by name, and their options.
 */
#include "postgres.h"

#include "truth/inference.h"

#include <math.h>

#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

static const TruthMethod *const methods[] = {
	&method_majority, &method_weighted_majority, &method_mean, &method_median,
	&method_dawid_skene, &method_zencrowd, &method_glad, &method_one_coin,
};

typedef struct Option
{
	const char *name;
	int			bit;
} Option;

static const Option known[] = {
	{"rounds", OPTION_ROUNDS},
	{"tolerance", OPTION_ROUNDS},
	{"reliability", OPTION_RELIABILITY},
	{"prior_weight", OPTION_RELIABILITY},
	{"possible", OPTION_POSSIBLE},
	{"ties", OPTION_TIES},
};

const TruthMethod *
method_named(const char *name)
{
	for (int i = 0; i < lengthof(methods); i++)
		if (strcmp(methods[i]->name, name) == 0)
			return methods[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("there is no method \"%s\"", name),
			 errhint("Methods are majority, weighted_majority, mean, median, dawid_skene, zencrowd, glad, one_coin.")));
}

static const Option *
option_named(const TruthMethod *method, const char *key)
{
	StringInfoData hint;

	initStringInfo(&hint);
	for (int i = 0; i < lengthof(known); i++)
	{
		if (!(method->takes & known[i].bit))
			continue;
		if (strcmp(known[i].name, key) == 0)
			return &known[i];
		appendStringInfo(&hint, "%s%s", hint.len ? ", " : "", known[i].name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("method %s has no option \"%s\"", method->name, key),
			 hint.len ? errhint("Its options are %s.", hint.data) : errhint("It has no options.")));
}

static void
refuse_value(const char *key, const char *wanted)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" must be %s", key, wanted)));
}

static double
number_between(const char *key, const JsonbValue *value, double low, double high, const char *wanted)
{
	double		number;

	if (value->type != jbvNumeric)
		refuse_value(key, wanted);
	number = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!(number >= low && number <= high))
		refuse_value(key, wanted);
	return number;
}

static int
integer_between(const char *key, const JsonbValue *value, int low, int high, const char *wanted)
{
	double		number = number_between(key, value, low, high, wanted);

	if (number != floor(number))
		refuse_value(key, wanted);
	return (int) number;
}

static Ties
ties_of(const JsonbValue *value)
{
	static const char *const names[] = {"first", "all", "none"};

	if (value->type == jbvString)
		for (int i = 0; i < lengthof(names); i++)
			if (value->val.string.len == strlen(names[i]) &&
				memcmp(value->val.string.val, names[i], value->val.string.len) == 0)
				return (Ties) i;
	refuse_value("ties", "\"first\", \"all\" or \"none\"");
	return TIES_FIRST;
}

static void
set_option(TruthOptions *options, const char *key, const JsonbValue *value)
{
	if (strcmp(key, "rounds") == 0)
		options->rounds = integer_between(key, value, 1, 1000000, "a whole number, 1 to 1000000");
	else if (strcmp(key, "tolerance") == 0)
		options->tolerance = number_between(key, value, 0, 1, "a number, 0 to 1");
	else if (strcmp(key, "reliability") == 0)
		options->reliability = number_between(key, value, 0.01, 0.99, "a number, 0.01 to 0.99");
	else if (strcmp(key, "prior_weight") == 0)
		options->prior_weight = number_between(key, value, 0, 1e9, "a number, 0 to 1000000000");
	else if (strcmp(key, "possible") == 0)
		options->possible = integer_between(key, value, 2, PG_INT32_MAX, "a whole number, 2 or more");
	else if (strcmp(key, "ties") == 0)
		options->ties = ties_of(value);
}

void
options_read(Jsonb *json, const TruthMethod *method, TruthOptions *options)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	value;

	*options = method->defaults;
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object")));
	iterator = JsonbIteratorInit(&json->root);
	while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE)
	{
		char	   *key;

		if (token != WJB_KEY)
			continue;
		key = pnstrdup(value.val.string.val, value.val.string.len);
		(void) option_named(method, key);
		(void) JsonbIteratorNext(&iterator, &value, true);
		set_option(options, key, &value);
	}
}
