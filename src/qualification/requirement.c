/*
 * requirement.c
 *	  What a task type requires of its performers: reading, writing, comparing.
 */
#include "postgres.h"

#include "qualification/requirement.h"
#include "base/errcodes.h"

#include <math.h>

#include "common/shortest_dec.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/numeric.h"

#define STRING_MAX 100

static const char *const comparator_names[COMPARATORS + 1] = {
	"<", "<=", "=", "!=", ">=", ">", "in", "not in", "exists", "not exists", NULL
};

const char *const guard_names[GUARDS + 1] = {"discover", "preview", "accept", NULL};

static const char *const member_names[] = {
	"qualification", "comparator", "value", "values", "guard", NULL
};

enum Member
{
	MEMBER_QUALIFICATION,
	MEMBER_COMPARATOR,
	MEMBER_VALUE,
	MEMBER_VALUES,
	MEMBER_GUARD,
	MEMBERS
};

/* what there is to compare: its name and its values */
typedef struct SubjectKind
{
	const char *name;			/* NULL: goes by its id */
	bool		text;
	bool		integer;
	double		low;
	double		high;
} SubjectKind;

static const SubjectKind subject_kinds[SUBJECTS] = {
	[SUBJECT_QUALIFICATION] = {NULL, false, true, PG_INT32_MIN, PG_INT32_MAX},
	[SUBJECT_SUBMITTED] = {"assignments_submitted", false, true, 0, 1e15},
	[SUBJECT_APPROVED] = {"assignments_approved", false, true, 0, 1e15},
	[SUBJECT_APPROVAL_PERCENT] = {"approval_percent", false, false, 0, 100},
	[SUBJECT_RETURN_PERCENT] = {"return_percent", false, false, 0, 100},
	[SUBJECT_ABANDON_PERCENT] = {"abandon_percent", false, false, 0, 100},
	[SUBJECT_LOCATION] = {"location", true},
	[SUBJECT_DEVICE] = {"device", true},
	[SUBJECT_MEMBER_SINCE] = {"member_since", false, false, 0, 36600},
};

bool
subject_is_text(Subject subject)
{
	return subject_kinds[subject].text;
}

bool
subject_is_integer(Subject subject)
{
	return subject_kinds[subject].integer;
}

int
name_index(const char *const *names, const char *name, int length)
{
	for (int i = 0; names[i]; i++)
		if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
			return i;
	return -1;
}

/*
 * Locations are codes as of ISO 3166 ("US-CA"), devices are words; letters
 * beyond ASCII are left as they are.
 */
void
subject_fold(Subject subject, char *string)
{
	for (char *c = string; *c; c++)
		*c = subject == SUBJECT_LOCATION ? pg_ascii_toupper((unsigned char) *c) :
			pg_ascii_tolower((unsigned char) *c);
}

/* ---- reading ---- */

/* where an error is: the number of the requirement, from 1 on */
static void pg_attribute_noreturn() pg_attribute_printf(2, 3)
refuse(int number, const char *format,...)
{
	char		detail[512];
	va_list		args;

	va_start(args, format);
	vsnprintf(detail, sizeof(detail), format, args);
	va_end(args);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("requirement %d of qualifications is wrong", number),
			 errdetail("%s", detail),
			 errhint("A requirement is like {\"qualification\": \"approval_percent\", \"comparator\": \">=\", \"value\": 95, \"guard\": \"accept\"}.")));
}

/* a string that the user wrote, cut where it is long */
static char *
quote(const JsonbValue *string)
{
	int			length = pg_mbcliplen(string->val.string.val, string->val.string.len, 60);

	return psprintf("\"%.*s\"", length, string->val.string.val);
}

/* the members of a requirement; type jbvNull where there is none */
static void
read_members(JsonbValue *element, int number, JsonbValue *members)
{
	JsonbIterator *iterator;
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	if (element->type != jbvBinary || !JsonContainerIsObject(element->val.binary.data))
		refuse(number, "It must be a JSON object.");
	for (int i = 0; i < MEMBERS; i++)
		members[i].type = jbvNull;
	iterator = JsonbIteratorInit(element->val.binary.data);
	JsonbIteratorNext(&iterator, &key, true);	/* WJB_BEGIN_OBJECT */
	while ((token = JsonbIteratorNext(&iterator, &key, true)) == WJB_KEY)
	{
		int			member = name_index(member_names, key.val.string.val, key.val.string.len);

		JsonbIteratorNext(&iterator, &value, true);
		if (member < 0)
			refuse(number, "It has an unknown key, %s.", quote(&key));
		if (value.type == jbvNull)
			refuse(number, "Its key %s must not be null.", quote(&key));
		members[member] = value;
	}
}

/* a JSON number; infinite if it is too large */
static double
to_double(const JsonbValue *number)
{
	return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow,
											  NumericGetDatum(number->val.numeric)));
}

static void
read_subject(const JsonbValue *value, int number, Requirement *requirement)
{
	if (value->type == jbvNumeric)
	{
		double		id = to_double(value);

		if (id < 1 || id >= 9.2e18 || id != floor(id))
			refuse(number, "\"qualification\" must be the id of a qualification or the name of a built-in one.");
		requirement->subject = SUBJECT_QUALIFICATION;
		requirement->qualification = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric)));
		return;
	}
	if (value->type != jbvString)
		refuse(number, "\"qualification\" must be the id of a qualification or the name of a built-in one.");
	for (Subject subject = 0; subject < SUBJECTS; subject++)
	{
		const char *name = subject_kinds[subject].name;

		if (name && strlen(name) == value->val.string.len &&
			memcmp(name, value->val.string.val, value->val.string.len) == 0)
		{
			requirement->subject = subject;
			return;
		}
	}
	refuse(number, "No built-in qualification is named %s.", quote(value));
}

static void
read_comparator(const JsonbValue *value, int number, Requirement *requirement)
{
	int			comparator = value->type != jbvString ? -1 :
	name_index(comparator_names, value->val.string.val, value->val.string.len);

	if (comparator < 0)
		refuse(number, "\"comparator\" must be one of \"<\", \"<=\", \"=\", \"!=\", \">=\", \">\", \"in\", \"not in\", \"exists\", \"not exists\".");
	requirement->comparator = comparator;
	if (subject_is_text(requirement->subject) &&
		(comparator <= COMPARE_LESS_EQUAL || comparator == COMPARE_GREATER_EQUAL || comparator == COMPARE_GREATER))
		refuse(number, "\"%s\" has no order: \"%s\" cannot compare it.",
			   subject_kinds[requirement->subject].name, comparator_names[comparator]);
}

static void
read_value(const JsonbValue *value, int number, Requirement *requirement)
{
	const SubjectKind *kind = &subject_kinds[requirement->subject];
	int			n = requirement->count++;

	if (kind->text)
	{
		char	   *string;

		if (value->type != jbvString || value->val.string.len == 0 || value->val.string.len > STRING_MAX)
			refuse(number, "A value for \"%s\" must be a string of 1 to %d bytes.", kind->name, STRING_MAX);
		string = pnstrdup(value->val.string.val, value->val.string.len);
		subject_fold(requirement->subject, string);
		requirement->strings[n] = string;
	}
	else
	{
		double		x = value->type == jbvNumeric ? to_double(value) : NAN;

		if (isnan(x) || x < kind->low || x > kind->high || (kind->integer && x != floor(x)))
			refuse(number, "A value for %s must be %s between %.0f and %.0f.",
				   kind->name ? psprintf("\"%s\"", kind->name) : "a score",
				   kind->integer ? "a whole number" : "a number", kind->low, kind->high);
		requirement->numbers[n] = x == 0 ? 0 : x;	/* no -0 */
	}
}

static int
compare_numbers(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

static int
compare_strings(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* sorts the values and removes what is there twice */
static void
sort_values(Requirement *requirement)
{
	int			kept = 0;

	if (requirement->count < 2)
		return;
	if (requirement->strings)
		qsort(requirement->strings, requirement->count, sizeof(char *), compare_strings);
	else
		qsort(requirement->numbers, requirement->count, sizeof(double), compare_numbers);
	for (int i = 1; i < requirement->count; i++)
		if (requirement->strings && strcmp(requirement->strings[i], requirement->strings[kept]) != 0)
			requirement->strings[++kept] = requirement->strings[i];
		else if (requirement->numbers && requirement->numbers[i] != requirement->numbers[kept])
			requirement->numbers[++kept] = requirement->numbers[i];
	requirement->count = kept + 1;
}

static void
read_values(const JsonbValue *value, const JsonbValue *values, int number, Requirement *requirement)
{
	Comparator	comparator = requirement->comparator;
	bool		list = comparator == COMPARE_IN || comparator == COMPARE_NOT_IN;
	bool		none = comparator == COMPARE_EXISTS || comparator == COMPARE_NOT_EXISTS;
	JsonbIterator *iterator;
	JsonbValue	element;
	int			count;

	if (values->type != jbvNull && !list)
		refuse(number, "\"%s\" has no list of \"values\".", comparator_names[comparator]);
	if (value->type != jbvNull && (list || none))
		refuse(number, "\"%s\" has no \"value\"%s.", comparator_names[comparator],
			   list ? ", but a list of \"values\"" : "");
	if (none)
		return;
	if (!list && value->type == jbvNull)
		refuse(number, "\"%s\" needs a \"value\".", comparator_names[comparator]);
	if (list && (values->type != jbvBinary || !JsonContainerIsArray(values->val.binary.data) ||
				 JsonContainerIsScalar(values->val.binary.data)))
		refuse(number, "\"%s\" needs a JSON array of \"values\".", comparator_names[comparator]);

	count = list ? JsonContainerSize(values->val.binary.data) : 1;
	if (count < 1 || count > REQUIREMENT_VALUES_MAX)
		refuse(number, "There must be between 1 and %d \"values\".", REQUIREMENT_VALUES_MAX);
	if (subject_is_text(requirement->subject))
		requirement->strings = palloc(count * sizeof(char *));
	else
		requirement->numbers = palloc(count * sizeof(double));
	if (!list)
	{
		read_value(value, number, requirement);
		return;
	}
	iterator = JsonbIteratorInit(values->val.binary.data);
	JsonbIteratorNext(&iterator, &element, true);	/* WJB_BEGIN_ARRAY */
	while (JsonbIteratorNext(&iterator, &element, true) == WJB_ELEM)
		read_value(&element, number, requirement);
	sort_values(requirement);
}

static void
read_requirement(JsonbValue *element, int number, Requirement *requirement)
{
	JsonbValue	members[MEMBERS];
	const JsonbValue *guard = &members[MEMBER_GUARD];
	int			found;

	read_members(element, number, members);
	if (members[MEMBER_QUALIFICATION].type == jbvNull || members[MEMBER_COMPARATOR].type == jbvNull)
		refuse(number, "It needs the keys \"qualification\" and \"comparator\".");
	read_subject(&members[MEMBER_QUALIFICATION], number, requirement);
	read_comparator(&members[MEMBER_COMPARATOR], number, requirement);
	read_values(&members[MEMBER_VALUE], &members[MEMBER_VALUES], number, requirement);

	found = guard->type == jbvNull ? GUARD_ACCEPT :
		guard->type != jbvString ? -1 :
		name_index(guard_names, guard->val.string.val, guard->val.string.len);
	if (found < 0)
		refuse(number, "\"guard\" must be \"accept\", \"preview\" or \"discover\".");
	requirement->guard = found;
}

static int
compare_requirements(const void *a, const void *b)
{
	const Requirement *x = a;
	const Requirement *y = b;

	if (x->subject != y->subject)
		return x->subject < y->subject ? -1 : 1;
	if (x->qualification != y->qualification)
		return x->qualification < y->qualification ? -1 : 1;
	return (int) x->comparator - (int) y->comparator;
}

Requirements *
requirements_parse(Jsonb *json)
{
	Requirements *requirements;
	JsonbIterator *iterator;
	JsonbValue	element;
	int			count;

	if (!JB_ROOT_IS_ARRAY(json) || JB_ROOT_IS_SCALAR(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("qualifications must be a JSON array")));
	count = JB_ROOT_COUNT(json);
	if (count == 0)
		return NULL;
	if (count > REQUIREMENTS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there must be at most %d requirements in qualifications", REQUIREMENTS_MAX)));

	requirements = palloc0(offsetof(Requirements, items) + count * sizeof(Requirement));
	iterator = JsonbIteratorInit(&json->root);
	JsonbIteratorNext(&iterator, &element, true);	/* WJB_BEGIN_ARRAY */
	while (JsonbIteratorNext(&iterator, &element, true) == WJB_ELEM)
	{
		read_requirement(&element, requirements->count + 1, &requirements->items[requirements->count]);
		requirements->count++;
	}
	qsort(requirements->items, count, sizeof(Requirement), compare_requirements);
	for (int i = 1; i < count; i++)
		if (compare_requirements(&requirements->items[i - 1], &requirements->items[i]) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("qualifications have two requirements with the same qualification and comparator"),
					 errdetail("They are \"%s\" and \"%s\".", requirement_text(&requirements->items[i - 1]),
							   requirement_text(&requirements->items[i]))));
	return requirements;
}

/* ---- writing ---- */

static void
push_string(JsonbParseState **state, JsonbIteratorToken token, const char *string)
{
	JsonbValue	value;

	value.type = jbvString;
	value.val.string.val = unconstify(char *, string);
	value.val.string.len = strlen(string);
	pushJsonbValue(state, token, &value);
}

static void
push_number(JsonbParseState **state, JsonbIteratorToken token, Datum numeric)
{
	JsonbValue	value;

	value.type = jbvNumeric;
	value.val.numeric = DatumGetNumeric(numeric);
	pushJsonbValue(state, token, &value);
}

static void
push_value(JsonbParseState **state, JsonbIteratorToken token, const Requirement *requirement, int n)
{
	if (requirement->strings)
		push_string(state, token, requirement->strings[n]);
	else
		push_number(state, token, DirectFunctionCall1(float8_numeric, Float8GetDatum(requirement->numbers[n])));
}

static JsonbValue *
push_requirement(JsonbParseState **state, const Requirement *requirement)
{
	pushJsonbValue(state, WJB_BEGIN_OBJECT, NULL);
	push_string(state, WJB_KEY, "qualification");
	if (requirement->subject == SUBJECT_QUALIFICATION)
		push_number(state, WJB_VALUE, NumericGetDatum(int64_to_numeric(requirement->qualification)));
	else
		push_string(state, WJB_VALUE, subject_kinds[requirement->subject].name);
	push_string(state, WJB_KEY, "comparator");
	push_string(state, WJB_VALUE, comparator_names[requirement->comparator]);
	if (requirement->comparator == COMPARE_IN || requirement->comparator == COMPARE_NOT_IN)
	{
		push_string(state, WJB_KEY, "values");
		pushJsonbValue(state, WJB_BEGIN_ARRAY, NULL);
		for (int i = 0; i < requirement->count; i++)
			push_value(state, WJB_ELEM, requirement, i);
		pushJsonbValue(state, WJB_END_ARRAY, NULL);
	}
	else if (requirement->count > 0)
	{
		push_string(state, WJB_KEY, "value");
		push_value(state, WJB_VALUE, requirement, 0);
	}
	push_string(state, WJB_KEY, "guard");
	push_string(state, WJB_VALUE, guard_names[requirement->guard]);
	return pushJsonbValue(state, WJB_END_OBJECT, NULL);
}

Jsonb *
requirements_json(const Requirements *requirements)
{
	JsonbParseState *state = NULL;

	pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; requirements && i < requirements->count; i++)
		push_requirement(&state, &requirements->items[i]);
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

Jsonb *
requirement_json(const Requirement *requirement)
{
	JsonbParseState *state = NULL;

	return JsonbValueToJsonb(push_requirement(&state, requirement));
}

char *
number_text(double number)
{
	char	   *text = palloc(DOUBLE_SHORTEST_DECIMAL_LEN);

	if (number == floor(number) && fabs(number) < 1e15)
		return psprintf("%.0f", number);
	double_to_shortest_decimal_buf(number, text);
	return text;
}

char *
requirement_text(const Requirement *requirement)
{
	StringInfoData text;
	bool		list = requirement->comparator == COMPARE_IN || requirement->comparator == COMPARE_NOT_IN;

	initStringInfo(&text);
	if (requirement->subject == SUBJECT_QUALIFICATION)
		appendStringInfo(&text, "qualification %lld", (long long) requirement->qualification);
	else
		appendStringInfoString(&text, subject_kinds[requirement->subject].name);
	appendStringInfo(&text, " %s", comparator_names[requirement->comparator]);
	if (requirement->count > 0)
		appendStringInfoString(&text, list ? " (" : " ");
	for (int i = 0; i < requirement->count; i++)
		appendStringInfo(&text, "%s%s", i > 0 ? ", " : "",
						 requirement->strings ? requirement->strings[i] : number_text(requirement->numbers[i]));
	if (list)
		appendStringInfoChar(&text, ')');
	return text.data;
}

/* ---- comparing ---- */

static bool
number_in(const Requirement *requirement, double number)
{
	return bsearch(&number, requirement->numbers, requirement->count,
				   sizeof(double), compare_numbers) != NULL;
}

bool
requirement_number_met(const Requirement *requirement, double number, bool known)
{
	if (requirement->comparator == COMPARE_EXISTS)
		return known;
	if (requirement->comparator == COMPARE_NOT_EXISTS)
		return !known;
	switch (requirement->comparator)
	{
		case COMPARE_LESS:
			return number < requirement->numbers[0];
		case COMPARE_LESS_EQUAL:
			return number <= requirement->numbers[0];
		case COMPARE_EQUAL:
			return number == requirement->numbers[0];
		case COMPARE_NOT_EQUAL:
			return number != requirement->numbers[0];
		case COMPARE_GREATER_EQUAL:
			return number >= requirement->numbers[0];
		case COMPARE_GREATER:
			return number > requirement->numbers[0];
		case COMPARE_IN:
			return number_in(requirement, number);
		case COMPARE_NOT_IN:
			return !number_in(requirement, number);
		default:
			return false;
	}
}

/* "US" is also where US-CA is */
static bool
string_matches(Subject subject, const char *have, const char *want)
{
	size_t		length;

	if (subject != SUBJECT_LOCATION)
		return strcmp(have, want) == 0;
	length = strlen(want);
	return strncmp(have, want, length) == 0 && (have[length] == '\0' || have[length] == '-');
}

bool
requirement_strings_met(const Requirement *requirement, char *const *have, int count)
{
	bool		matches = false;

	if (requirement->comparator == COMPARE_EXISTS)
		return count > 0;
	if (requirement->comparator == COMPARE_NOT_EXISTS)
		return count == 0;
	if (count == 0)
		return false;
	for (int i = 0; i < count && !matches; i++)
		for (int j = 0; j < requirement->count && !matches; j++)
			matches = string_matches(requirement->subject, have[i], requirement->strings[j]);
	return matches == (requirement->comparator == COMPARE_EQUAL || requirement->comparator == COMPARE_IN);
}
