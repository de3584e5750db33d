/*
 * template.c
 *	  Inputs of tasks from templates: a JSON value with placeholders.
 *
 * "${name}" in a string stands for a parameter.  A string that is nothing but
 * one placeholder becomes the parameter's JSON value; elsewhere its text is put
 * in.  "$${" is a "${" that means nothing.  Names of properties stay as they are.
 */
#include "postgres.h"

#include "base/args.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "base/json_schema.h"

#include "fmgr.h"
#include "funcapi.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#define NAME_MAX_LENGTH 63

/* the next piece of a string: text, and then a placeholder, or the end */
typedef struct Piece
{
	StringInfoData text;
	const char *name;			/* NULL: the string ends here */
	int			length;
} Piece;

static bool
name_character(char c, bool first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (!first && c >= '0' && c <= '9');
}

/* reads from *at, which moves on */
static void
next_piece(const char **at, const char *end, Piece *piece)
{
	const char *p = *at;

	initStringInfo(&piece->text);
	piece->name = NULL;
	while (p < end)
	{
		if (end - p >= 3 && p[0] == '$' && p[1] == '$' && p[2] == '{')
		{
			appendStringInfoString(&piece->text, "${");
			p += 3;
		}
		else if (end - p >= 2 && p[0] == '$' && p[1] == '{')
		{
			const char *name = p + 2;

			for (p = name; p < end && name_character(*p, p == name); p++)
				;
			if (p == end || *p != '}' || p == name || p - name > NAME_MAX_LENGTH)
				ereport(ERROR,
						(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						 errmsg("a placeholder in the template is not valid"),
						 errdetail("It begins with \"${%.*s\".", (int) Min(p - name, NAME_MAX_LENGTH), name),
						 errhint("It is ${name}, with letters, digits and underscores, at most %d; $${ stands for ${.", NAME_MAX_LENGTH)));
			piece->name = name;
			piece->length = (int) (p - name);
			p++;
			break;
		}
		else
			appendStringInfoChar(&piece->text, *p++);
	}
	*at = p;
}

/* the parameter's value; raises an error if there is none */
static void
parameter(Jsonb *parameters, const Piece *piece, JsonbValue *value)
{
	if (getKeyJsonValueFromContainer(&parameters->root, piece->name, piece->length, value) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("parameter \"%.*s\" of the template is missing", piece->length, piece->name)));
}

static void
append_value(StringInfo buffer, JsonbValue *value)
{
	if (value->type == jbvString)
		appendBinaryStringInfo(buffer, value->val.string.val, value->val.string.len);
	else
	{
		Jsonb	   *json = JsonbValueToJsonb(value);

		(void) JsonbToCString(buffer, &json->root, VARSIZE(json));
	}
}

/* what a template may make of its parameters, and has made so far */
typedef struct Room
{
	Size		used;
	Size		limit;
} Room;

/* what is made is bounded while it is made: a few lines can stand for gigabytes */
static void
count_size(Room *room, Size more)
{
	room->used += more;
	if (room->used > room->limit)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_INPUT_TOO_LARGE),
				 errmsg("what the template makes of the parameters is too large"),
				 errdetail("The limit is %zu bytes.", room->limit),
				 errhint("Store large data elsewhere and refer to them, or raise taskex.max_input_size.")));
}

static Size
size_of(const JsonbValue *value)
{
	return value->type == jbvString ? value->val.string.len :
		value->type == jbvBinary ? value->val.binary.len :
		value->type == jbvNumeric ? VARSIZE_ANY(value->val.numeric) : 0;
}

/* the string with its placeholders filled in */
static void
render_string(Jsonb *parameters, const JsonbValue *string, JsonbValue *result, Room *room)
{
	const char *at = string->val.string.val;
	const char *end = at + string->val.string.len;
	StringInfoData buffer;
	Piece		piece;

	initStringInfo(&buffer);
	next_piece(&at, end, &piece);
	if (piece.name && piece.text.len == 0 && at == end)
	{
		parameter(parameters, &piece, result);
		count_size(room, size_of(result));
		return;
	}
	for (;;)
	{
		JsonbValue	value;
		int			had;

		had = buffer.len;
		appendBinaryStringInfo(&buffer, piece.text.data, piece.text.len);
		pfree(piece.text.data);
		if (piece.name)
		{
			parameter(parameters, &piece, &value);
			append_value(&buffer, &value);
		}
		count_size(room, buffer.len - had);
		if (piece.name == NULL)
			break;
		next_piece(&at, end, &piece);
	}
	result->type = jbvString;
	result->val.string.val = buffer.data;
	result->val.string.len = buffer.len;
}

static Jsonb *
render(Jsonb *body, Jsonb *parameters, Size limit)
{
	JsonbIterator *it = JsonbIteratorInit(&body->root);
	JsonbParseState *state = NULL;
	JsonbValue *result = NULL;
	JsonbIteratorToken token;
	JsonbValue	value;
	Room		room = {.limit = limit};

	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		CHECK_FOR_INTERRUPTS();
		if ((token == WJB_VALUE || token == WJB_ELEM) && value.type == jbvString)
		{
			JsonbValue	rendered;

			render_string(parameters, &value, &rendered, &room);
			result = pushJsonbValue(&state, token, &rendered);
		}
		else
			result = pushJsonbValue(&state, token,
									token < WJB_BEGIN_ARRAY || (token == WJB_BEGIN_ARRAY && value.val.array.rawScalar) ? &value : NULL);
	}

	/* a template that is one placeholder alone is the value itself */
	if (JB_ROOT_IS_SCALAR(body) && !IsAJsonbScalar(&result->val.array.elems[0]))
		return JsonbValueToJsonb(&result->val.array.elems[0]);
	return JsonbValueToJsonb(result);
}

PG_FUNCTION_INFO_V1(taskex_render);

/* _taskex.render(body, parameters) -> jsonb */
Datum
taskex_render(PG_FUNCTION_ARGS)
{
	Jsonb	   *result = render(PG_GETARG_JSONB_P(0), PG_GETARG_JSONB_P(1), (Size) guc_max_input_size * 1024);

	PG_RETURN_JSONB_P(result);
}

PG_FUNCTION_INFO_V1(taskex_render_core);

/*
 * _taskex.render_core(core, contents) -> jsonb: the same for a layout, whose
 * sizes were checked when it was made: nobody must fail to get a task for them,
 * also if taskex.max_input_size is lower now.
 */
Datum
taskex_render_core(PG_FUNCTION_ARGS)
{
	Jsonb	   *result = render(PG_GETARG_JSONB_P(0), PG_GETARG_JSONB_P(1), MaxAllocSize / 4);

	PG_RETURN_JSONB_P(result);
}

PG_FUNCTION_INFO_V1(taskex_placeholders);

/* _taskex.placeholders(body) -> setof text, as often as they occur */
Datum
taskex_placeholders(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	JsonbIterator *it = JsonbIteratorInit(&PG_GETARG_JSONB_P(0)->root);
	JsonbIteratorToken token;
	JsonbValue	value;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	while ((token = JsonbIteratorNext(&it, &value, false)) != WJB_DONE)
	{
		const char *at = value.val.string.val;
		Piece		piece;

		if ((token != WJB_VALUE && token != WJB_ELEM) || value.type != jbvString)
			continue;
		do
		{
			next_piece(&at, value.val.string.val + value.val.string.len, &piece);
			if (piece.name)
			{
				Datum		name = PointerGetDatum(cstring_to_text_with_len(piece.name, piece.length));
				bool		isnull = false;

				tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &name, &isnull);
			}
		} while (piece.name);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(taskex_check_schema);

/* _taskex.check_schema(schema, what): raises an error unless it can be enforced */
Datum
taskex_check_schema(PG_FUNCTION_ARGS)
{
	(void) json_schema_compile(PG_GETARG_JSONB_P(0), text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(taskex_schema_problem);

/* _taskex.schema_problem(schema, value) -> text: the first thing that is wrong, or NULL */
Datum
taskex_schema_problem(PG_FUNCTION_ARGS)
{
	JsonSchema *schema = json_schema_compile(PG_GETARG_JSONB_P(0), "schema");
	List	   *problems = json_schema_validate(schema, PG_GETARG_JSONB_P(1), 1);
	JsonProblem *problem;

	if (problems == NIL)
		PG_RETURN_NULL();
	problem = linitial(problems);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%s %s", *problem->path ? problem->path : "The value", problem->what)));
}
