/*
 * options.c
 *	  The options of submit_run: read, checked, and what follows from them.
 */
#include "postgres.h"

#include "workload/options.h"
#include "base/args.h"
#include "base/compat.h"
#include "infra/ids.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/regproc.h"
#include "utils/timestamp.h"

#define KEY_MAX 255
#define ATTEMPTS_MAX 1000

#define FOREVER_US (INT64CONST(3660) * USECS_PER_DAY)

/* ---- values ---- */

static void
bad_option(const char *name, const char *must)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("option \"%s\" must be %s", name, must)));
}

JsonbValue *
json_field(Jsonb *object, const char *name, JsonbValue *value)
{
	return getKeyJsonValueFromContainer(&object->root, name, strlen(name), value);
}

static char *
string_of(const JsonbValue *value, const char *name, int longest)
{
	if (value->type != jbvString || value->val.string.len == 0 || value->val.string.len > longest)
		bad_option(name, psprintf("a string of 1 to %d bytes", longest));
	return pnstrdup(value->val.string.val, value->val.string.len);
}

static text *
text_of(const JsonbValue *value, const char *name, int longest)
{
	return cstring_to_text(string_of(value, name, longest));
}

static int64
integer_of(const JsonbValue *value, const char *name, int64 low, int64 high)
{
	bool		whole = false;
	int64		number = 0;

	if (value->type == jbvNumeric)
	{
		Numeric		numeric = value->val.numeric;
		Datum		trunc = DirectFunctionCall2(numeric_trunc, NumericGetDatum(numeric), Int32GetDatum(0));

		whole = !numeric_is_nan(numeric) && !numeric_is_inf(numeric) &&
			DatumGetBool(DirectFunctionCall2(numeric_eq, trunc, NumericGetDatum(numeric))) &&
			DatumGetBool(DirectFunctionCall2(numeric_ge, trunc, NumericGetDatum(int64_to_numeric(low)))) &&
			DatumGetBool(DirectFunctionCall2(numeric_le, trunc, NumericGetDatum(int64_to_numeric(high))));
		if (whole)
			number = DatumGetInt64(DirectFunctionCall1(numeric_int8, trunc));
	}
	if (!whole)
		bad_option(name, psprintf("a whole number from %lld to %lld", (long long) low, (long long) high));
	return number;
}

static double
number_of(const JsonbValue *value, const char *name, double low, double high)
{
	double		number = -1;

	if (value->type == jbvNumeric)
		number = DatumGetFloat8(DirectFunctionCall1(numeric_float8, NumericGetDatum(value->val.numeric)));
	if (!(number >= low && number <= high))
		bad_option(name, psprintf("a number from %g to %g", low, high));
	return number;
}

int64
interval_us(const Interval *interval)
{
	return interval->time + ((int64) interval->month * DAYS_PER_MONTH + interval->day) * USECS_PER_DAY;
}

/* as people say it */
static const char *
in_words(int64 us)
{
	bool		days = us > 0 && us % USECS_PER_DAY == 0;
	bool		hours = us > 0 && us % USECS_PER_HOUR == 0;
	double		number = (double) us / (days ? USECS_PER_DAY : hours ? USECS_PER_HOUR : USECS_PER_SEC);

	return psprintf("%g %s%s", number, days ? "day" : hours ? "hour" : "second", number == 1 ? "" : "s");
}

int64
check_duration(const Interval *interval, const char *name, int64 low_us, int64 high_us)
{
	/* parts that are too long each, or of different signs, are refused before they are added */
	if (interval->month < 0 || interval->day < 0 || interval->time < 0 || interval->month > 1200 ||
		interval->day > 36600 || interval->time > FOREVER_US ||
		interval_us(interval) < low_us || interval_us(interval) > high_us)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is out of range", name),
				 errdetail("It must be between %s and %s.", in_words(low_us), in_words(high_us))));
	return interval_us(interval);
}

/* a string that is an interval */
static int64
duration_of(const JsonbValue *value, const char *name, int64 low_us, int64 high_us)
{
	char	   *string = string_of(value, name, 100);
	Interval   *interval = DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(string),
																 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));

	return check_duration(interval, psprintf("option \"%s\"", name), low_us, high_us);
}

/* ---- backoff ---- */

typedef struct Backoff
{
	int64		initial;		/* us */
	double		factor;
	int64		max;			/* us */
	double		jitter;			/* share of it that is random */
} Backoff;

static void
read_backoff(const JsonbValue *value, Backoff *backoff)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	item;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		bad_option("backoff", "an object");
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &key, false);
	while ((token = JsonbIteratorNext(&it, &key, true)) == WJB_KEY)
	{
		char	   *name = pnstrdup(key.val.string.val, key.val.string.len);

		(void) JsonbIteratorNext(&it, &item, true);
		if (strcmp(name, "initial") == 0)
			backoff->initial = duration_of(&item, "backoff.initial", 0, FOREVER_US);
		else if (strcmp(name, "max") == 0)
			backoff->max = duration_of(&item, "backoff.max", 0, FOREVER_US);
		else if (strcmp(name, "factor") == 0)
			backoff->factor = number_of(&item, "backoff.factor", 1, 100);
		else if (strcmp(name, "jitter") == 0)
			backoff->jitter = number_of(&item, "backoff.jitter", 0, 1);
		else
			bad_option("backoff", "an object of initial, factor, max and jitter");
	}
}

#define DEFAULT_BACKOFF {USECS_PER_SEC, 2, INT64CONST(3600) * USECS_PER_SEC, 0.1}

int64
run_options_backoff(Jsonb *rest, int32 attempt)
{
	Backoff		backoff = DEFAULT_BACKOFF;
	JsonbValue	value;
	double		wait;

	if (rest && json_field(rest, "backoff", &value))
		read_backoff(&value, &backoff);
	wait = backoff.initial;
	for (int i = 1; i < attempt && wait < backoff.max; i++)
		wait *= backoff.factor;
	wait = Min(wait, (double) backoff.max);
	wait *= 1 - backoff.jitter * pg_prng_double(&pg_global_prng_state);
	return (int64) wait;
}

/* ---- SQLSTATEs ---- */

static void
check_retryable(const JsonbValue *value)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	item;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data))
		bad_option("retryable", "an array of SQLSTATEs, or of their classes");
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &item, false);
	while ((token = JsonbIteratorNext(&it, &item, true)) == WJB_ELEM)
	{
		int			length = item.type == jbvString ? item.val.string.len : 0;

		if (length != 2 && length != 5)
			bad_option("retryable", "an array of SQLSTATEs, or of their classes");
		for (int i = 0; i < length; i++)
		{
			char		c = item.val.string.val[i];

			if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z')))
				bad_option("retryable", "an array of SQLSTATEs, or of their classes");
		}
	}
}

bool
run_options_retryable(Jsonb *rest, const char *sqlstate)
{
	JsonbIterator *it;
	JsonbValue	value;
	JsonbValue	item;

	if (rest == NULL || !json_field(rest, "retryable", &value))
		return true;
	if (sqlstate == NULL)
		return false;
	it = JsonbIteratorInit(value.val.binary.data);
	(void) JsonbIteratorNext(&it, &item, false);
	while (JsonbIteratorNext(&it, &item, true) == WJB_ELEM)
		if (strncmp(item.val.string.val, sqlstate, item.val.string.len) == 0)
			return true;
	return false;
}

int64
run_options_dedicated(Jsonb *rest)
{
	JsonbValue	value;

	return rest && json_field(rest, "dedicated", &value) ? duration_of(&value, "dedicated", 1000, USECS_PER_DAY) : 0;
}

char *
run_options_notify(Jsonb *rest)
{
	JsonbValue	value;

	if (rest == NULL || !json_field(rest, "notify", &value))
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* ---- queries ---- */

char *
rows_of_query(const char *query)
{
	/* a last line may be a comment, and a last semicolon is usual */
	char	   *text = pstrdup(query);

	for (Size n = strlen(text); n > 0 && (text[n - 1] == ';' || isspace((unsigned char) text[n - 1])); n--)
		text[n - 1] = '\0';
	return psprintf("SELECT pg_catalog.to_jsonb(q.*) FROM (%s\n) q", text);
}

/* ---- all of them ---- */

static void
read_after(const JsonbValue *value, RunOptions *result)
{
	JsonbIterator *it;
	JsonbValue	item;
	int			count = 0;

	if (value->type != jbvBinary || !JsonContainerIsArray(value->val.binary.data) ||
		JsonContainerSize(value->val.binary.data) > AFTER_MAX)
		bad_option("after", psprintf("an array of at most %d ids of runs", AFTER_MAX));
	result->after = palloc(sizeof(int64) * (JsonContainerSize(value->val.binary.data) + 1));
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &item, false);
	while (JsonbIteratorNext(&it, &item, true) == WJB_ELEM)
		result->after[count++] = integer_of(&item, "after", 1, PG_INT64_MAX);
	qsort(result->after, count, sizeof(int64), ids_compare);
	for (int i = 0; i < count; i++)
		if (i == 0 || result->after[i] != result->after[i - 1])
			result->after[result->after_count++] = result->after[i];
}

static void
read_data_ref(const JsonbValue *value)
{
	static const char *const must = "an object with one of query, table and object, a string, and perhaps checksum and, of an object, format";
	bool		object = false;
	bool		format = false;
	int			given = 0;
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	item;

	if (value->type != jbvBinary || !JsonContainerIsObject(value->val.binary.data))
		bad_option("data_ref", must);
	it = JsonbIteratorInit(value->val.binary.data);
	(void) JsonbIteratorNext(&it, &key, false);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		char	   *name = pnstrdup(key.val.string.val, key.val.string.len);
		char	   *string;

		(void) JsonbIteratorNext(&it, &item, true);
		string = string_of(&item, psprintf("data_ref.%.20s", name), 1000000);
		if (strcmp(name, "query") == 0 || strcmp(name, "table") == 0)
			given++;
		else if (strcmp(name, "object") == 0)
		{
			object = true;
			given++;
			if (strspn(string, "0123456789") != strlen(string) || strlen(string) > 10)
				bad_option("data_ref.object", "the number of a large object");
		}
		else if (strcmp(name, "checksum") == 0)
		{
			if (strspn(string, "0123456789abcdef") != 64 || strlen(string) != 64)
				bad_option("data_ref.checksum", "64 hexadecimal digits, as of taskex.data_checksum()");
		}
		else if (strcmp(name, "format") == 0)
		{
			format = true;
			if (strcmp(string, "json") != 0 && strcmp(string, "text") != 0 && strcmp(string, "base64") != 0)
				bad_option("data_ref.format", "json, text or base64");
		}
		else
			given = 2;
	}
	if (given != 1 || (format && !object))
		bad_option("data_ref", must);
}

void
check_data_ref(Jsonb *data_ref)
{
	JsonbValue	value = {.type = jbvBinary};

	value.val.binary.data = &data_ref->root;
	value.val.binary.len = VARSIZE(data_ref) - VARHDRSZ;
	read_data_ref(&value);
}

/* true: the run keeps it with its other options */
static bool
read_option(const char *name, const JsonbValue *value, RunOptions *result)
{
	Backoff		backoff = DEFAULT_BACKOFF;

	if (strcmp(name, "environment") == 0)
		result->environment = text_of(value, name, NAMEDATALEN - 1);
	else if (strcmp(name, "code") == 0)
		result->code = text_of(value, name, PG_INT32_MAX);
	else if (strcmp(name, "version") == 0)
		result->version = (int32) integer_of(value, name, 1, PG_INT32_MAX);
	else if (strcmp(name, "run_at") == 0)
	{
		result->run_at = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(string_of(value, name, 100)),
																 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
		if (TIMESTAMP_NOT_FINITE(result->run_at))
			bad_option(name, "a finite time");
	}
	else if (strcmp(name, "max_attempts") == 0)
		result->max_attempts = (int32) integer_of(value, name, 1, ATTEMPTS_MAX);
	else if (strcmp(name, "deduplication_key") == 0)
		result->deduplication_key = text_of(value, name, KEY_MAX);
	else if (strcmp(name, "concurrency_key") == 0)
		result->concurrency_key = text_of(value, name, KEY_MAX);
	else if (strcmp(name, "after") == 0)
		read_after(value, result);
	else if (strcmp(name, "data_ref") == 0)
	{
		read_data_ref(value);
		result->data_ref = JsonbValueToJsonb(unconstify(JsonbValue *, value));
	}
	else
	{
		if (strcmp(name, "dedicated") == 0)
			(void) duration_of(value, name, 1000, USECS_PER_DAY);
		else if (strcmp(name, "timeout") == 0)
			(void) duration_of(value, name, 1000, FOREVER_US);
		else if (strcmp(name, "retention") == 0)
			(void) duration_of(value, name, 0, FOREVER_US);
		else if (strcmp(name, "backoff") == 0)
			read_backoff(value, &backoff);
		else if (strcmp(name, "retryable") == 0)
			check_retryable(value);
		else if (strcmp(name, "notify") == 0)
			(void) string_of(value, name, NAMEDATALEN - 1);
		else if (strcmp(name, "result_function") == 0)
		{
			result->result_function = string_of(value, name, 3 * NAMEDATALEN);
			(void) qualified_name_list(result->result_function);
		}
		else if (strcmp(name, "result_environment") == 0)
			result->result_environment = text_of(value, name, NAMEDATALEN - 1);
		else
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%.60s\" is not an option of a run", name),
					 errhint("The options are after, backoff, code, concurrency_key, data_ref, dedicated, deduplication_key,"
							   " environment, max_attempts, notify, result_environment, result_function, retention, retryable, run_at,"
							   " timeout and version.")));
		return true;
	}
	return false;
}

void
run_options_read(Jsonb *options, RunOptions *result)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;
	JsonbParseState *state = NULL;
	JsonbValue *rest = NULL;

	memset(result, 0, sizeof(RunOptions));
	result->run_at = DT_NOBEGIN;
	if (!JB_ROOT_IS_OBJECT(options))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("options must be a JSON object")));
	if (JB_ROOT_COUNT(options) == 0)
		return;
	it = JsonbIteratorInit(&options->root);
	(void) JsonbIteratorNext(&it, &key, false);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		if (value.type == jbvNull)
			continue;			/* as if it were not there */
		if (!read_option(pnstrdup(key.val.string.val, key.val.string.len), &value, result))
			continue;
		if (state == NULL)
			(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
		(void) pushJsonbValue(&state, WJB_KEY, &key);
		(void) pushJsonbValue(&state, WJB_VALUE, &value);
	}
	if (state)
	{
		rest = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
		result->rest = JsonbValueToJsonb(rest);
	}
}
