/*
 * json_format.c
 *	  What strings in JSON look like: formats and patterns; and JSON pointers.
 *
 * Patterns are PostgreSQL's advanced regular expressions, and compared
 * byte for byte (collation C), so that a schema means the same in every
 * database.  PostgreSQL keeps the compiled ones.
 */
#include "postgres.h"

#include "base/json_schema_node.h"

#include "catalog/pg_collation.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "regex/regex.h"
#include "utils/builtins.h"
#include "utils/datetime.h"

/* parts of a path that are too long are cut off in messages */
#define NAME_SHOWN 100

/* ---- patterns ---- */

void
json_pattern_check(text *pattern)
{
	(void) RE_compile_and_cache(pattern, REG_ADVANCED, C_COLLATION_OID);
}

bool
json_pattern_matches(text *pattern, const char *string, int length)
{
	return RE_compile_and_execute(pattern, unconstify(char *, string), length,
								  REG_ADVANCED | REG_NOSUB, C_COLLATION_OID, 0, NULL);
}

static bool
looks_like(const char *pattern, const char *string, int length)
{
	text	   *expression = cstring_to_text(pattern);
	bool		matches = json_pattern_matches(expression, string, length);

	pfree(expression);
	return matches;
}

/* ---- formats ---- */

static int
digits(const char *string, int count)
{
	int			value = 0;

	for (int i = 0; i < count; i++)
		value = value * 10 + (string[i] - '0');
	return value;
}

/* a day that there is, YYYY-MM-DD at the beginning of the string */
static bool
day_exists(const char *string)
{
	int			year = digits(string, 4);
	int			month = digits(string + 5, 2);
	int			day = digits(string + 8, 2);

	return month >= 1 && month <= MONTHS_PER_YEAR &&
		day >= 1 && day <= day_tab[isleap(year)][month - 1];
}

static bool
is_date(const char *string, int length)
{
	return looks_like("^[0-9]{4}-[0-9]{2}-[0-9]{2}$", string, length) && day_exists(string);
}

#define TIME_PATTERN "([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)([.][0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"

static bool
is_time(const char *string, int length)
{
	return looks_like("^" TIME_PATTERN, string, length);
}

static bool
is_date_time(const char *string, int length)
{
	return looks_like("^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]" TIME_PATTERN, string, length) && day_exists(string);
}

#define LABEL_PATTERN "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

/* as an input field of HTML has it */
static bool
is_email(const char *string, int length)
{
	return looks_like("^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@" LABEL_PATTERN "([.]" LABEL_PATTERN ")*$",
					  string, length);
}

#define URI_CHARACTER "([][A-Za-z0-9._~:/?@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})"

/* a scheme and at least one more character, of those of RFC 3986 */
static bool
is_uri(const char *string, int length)
{
	return looks_like("^[A-Za-z][A-Za-z0-9+.-]*:" URI_CHARACTER "+(#" URI_CHARACTER "*)?$", string, length);
}

static bool
is_uuid(const char *string, int length)
{
	return looks_like("^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$", string, length);
}

static const JsonFormat formats[] = {
	{"date", is_date},
	{"date-time", is_date_time},
	{"email", is_email},
	{"time", is_time},
	{"uri", is_uri},
	{"uuid", is_uuid},
};

const JsonFormat *
json_format_find(const char *name, int length)
{
	for (int i = 0; i < lengthof(formats); i++)
		if (strlen(formats[i].name) == length && memcmp(formats[i].name, name, length) == 0)
			return &formats[i];
	return NULL;
}

const char *
json_format_names(void)
{
	return "date, date-time, email, time, uri, uuid";
}

/* ---- JSON pointers ---- */

static void
append_name(StringInfo buffer, const char *name, int length)
{
	int			shown = pg_mbcliplen(name, length, NAME_SHOWN);

	for (int i = 0; i < shown; i++)
	{
		if (name[i] == '~')
			appendStringInfoString(buffer, "~0");
		else if (name[i] == '/')
			appendStringInfoString(buffer, "~1");
		else
			appendStringInfoChar(buffer, name[i]);
	}
	if (shown < length)
		appendStringInfoString(buffer, "...");
}

char *
json_path_string(const JsonPath *path)
{
	const JsonPath *steps[64];
	int			count = 0;
	int			depth = 0;
	StringInfoData buffer;

	/* of a deep path the beginning is left out */
	for (const JsonPath *p = path; p->parent != NULL; p = p->parent)
	{
		if (count < lengthof(steps))
			steps[count++] = p;
		depth++;
	}
	initStringInfo(&buffer);
	if (depth > count)
		appendStringInfoString(&buffer, "...");
	while (--count >= 0)
	{
		appendStringInfoChar(&buffer, '/');
		if (steps[count]->name)
			append_name(&buffer, steps[count]->name, steps[count]->length);
		else
			appendStringInfo(&buffer, "%d", steps[count]->index);
	}
	return buffer.data;
}
