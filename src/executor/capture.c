/*
 * capture.c
 *	  What a run says: its messages and its error.
 *
 * Messages that would go to a client are the run's output, of which the first
 * taskex.run_output_size are kept.  None of them goes to the server's log: that
 * is not for customers to fill.
 */
#include "postgres.h"

#include "executor/capture.h"
#include "base/guc.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"

/* the longest field of an error that is kept, in bytes */
#define FIELD_MAX 8192

static emit_log_hook_type previous_emit = NULL;
static bool capturing = false;
static int	configured_level;
static StringInfoData output;
static int64 omitted;			/* messages, or their ends */

/* ---- output ---- */

static void
append(const char *label, const char *value)
{
	int			room = guc_run_output_size * 1024 - output.len;
	int			length = strlen(value);

	if (omitted > 0 || room < (int) strlen(label) + 2)
	{
		omitted++;
		return;
	}
	appendStringInfoString(&output, label);
	room -= strlen(label) + 1;
	if (length > room)
	{
		length = pg_mbcliplen(value, length, room);
		omitted++;
	}
	appendBinaryStringInfo(&output, value, length);
	appendStringInfoChar(&output, '\n');
}

static void
on_emit(ErrorData *error)
{
	/* a message of the message would come back here; errors are kept otherwise */
	if (capturing && error->elevel < ERROR && error->elevel != LOG_SERVER_ONLY)
	{
		error->output_to_server = false;
		if (error->elevel == INFO || error->elevel >= client_min_messages)
		{
			append(psprintf("%s:  ", error_severity(error->elevel)), error->message ? error->message : "");
			if (error->detail)
				append("DETAIL:  ", error->detail);
			if (error->hint)
				append("HINT:  ", error->hint);
		}
		return;
	}
	if (previous_emit)
		previous_emit(error);
}

void
capture_install(void)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	initStringInfo(&output);
	MemoryContextSwitchTo(old);
	previous_emit = emit_log_hook;
	emit_log_hook = on_emit;
}

void
capture_begin(void)
{
	resetStringInfo(&output);
	omitted = 0;
	configured_level = log_min_messages;

	/* the hook hears only what would go to the log */
	log_min_messages = Min(client_min_messages, INFO);
	capturing = true;
}

void
capture_end(void)
{
	if (!capturing)
		return;
	capturing = false;
	log_min_messages = configured_level;
}

const char *
capture_output(void)
{
	if (output.len == 0 && omitted == 0)
		return NULL;
	if (omitted > 0)
	{
		appendStringInfo(&output, "(%lld more)\n", (long long) omitted);
		omitted = 0;
	}
	if (!pg_verifymbstr(output.data, output.len, true))
		return "(not in the encoding of the database)\n";
	return output.data;
}

/* ---- the error ---- */

static void
push_text(JsonbParseState **state, const char *name, const char *text)
{
	JsonbValue	key = {.type = jbvString,.val.string = {(int) strlen(name), unconstify(char *, name)}};
	JsonbValue	value = {.type = jbvString};
	int			length;

	if (text == NULL || text[0] == '\0')
		return;
	length = strlen(text);
	if (length > FIELD_MAX)
		length = pg_mbcliplen(text, length, FIELD_MAX);
	if (!pg_verifymbstr(text, length, true))
	{
		text = "(not in the encoding of the database)";
		length = strlen(text);
	}
	value.val.string.val = pnstrdup(text, length);
	value.val.string.len = length;
	(void) pushJsonbValue(state, WJB_KEY, &key);
	(void) pushJsonbValue(state, WJB_VALUE, &value);
}

Jsonb *
capture_error(const ErrorData *error, const TakenRun *run)
{
	JsonbParseState *state = NULL;

	(void) pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	push_text(&state, "sqlstate", unpack_sql_state(error->sqlerrcode));
	push_text(&state, "message", error->message);
	push_text(&state, "detail", error->detail);
	push_text(&state, "hint", error->hint);
	push_text(&state, "context", error->context);
	push_text(&state, "statement", error->internalquery);
	push_text(&state, "schema", error->schema_name);
	push_text(&state, "table", error->table_name);
	push_text(&state, "column", error->column_name);
	push_text(&state, "datatype", error->datatype_name);
	push_text(&state, "constraint", error->constraint_name);
	if (run->data_ref)
	{
		JsonbValue	key = {.type = jbvString,.val.string = {sizeof("data_ref") - 1, "data_ref"}};
		JsonbValue	value;

		JsonbToJsonbValue(run->data_ref, &value);
		(void) pushJsonbValue(&state, WJB_KEY, &key);
		(void) pushJsonbValue(&state, WJB_VALUE, &value);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_OBJECT, NULL));
}
