/*
 * json_validate.c
 *	  Checking a JSON value against a compiled schema.
 *
 * The numbers of JSON are compared as numeric, strings byte for byte, lengths
 * of strings in characters.  A schema and a value can be made so that together
 * they take very long (allOf of allOf of ..., going down into each other), so
 * steps are counted.
 */
#include "postgres.h"

#include "base/json_schema.h"
#include "base/json_schema_node.h"

#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#define STEPS_MAX 10000000

/* how much of a constant is shown in a message */
#define CONSTANT_SHOWN 60
#define CONSTANTS_SHOWN 5

typedef struct Validator
{
	int			limit;
	int			count;			/* problems found */
	List	   *problems;		/* NULL and quiet: only counted */
	bool		quiet;
	int64	   *steps;
	MemoryContext context;		/* for the problems */
} Validator;

static void check_value(Validator *validator, const SchemaNode *node, JsonbValue *value, const JsonPath *path);

static void
problem(Validator *validator, const JsonPath *path, const char *what)
{
	validator->count++;
	if (!validator->quiet)
	{
		MemoryContext old = MemoryContextSwitchTo(validator->context);
		JsonProblem *item = palloc(sizeof(JsonProblem));

		item->path = json_path_string(path);
		item->what = pstrdup(what);
		validator->problems = lappend(validator->problems, item);
		MemoryContextSwitchTo(old);
	}
}

static bool
enough(const Validator *validator)
{
	return validator->count >= validator->limit;
}

static void
count_step(Validator *validator)
{
	CHECK_FOR_INTERRUPTS();
	if (++*validator->steps > STEPS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("checking a JSON value against its schema takes too long"),
				 errdetail("The limit is %d steps.", STEPS_MAX)));
}

static bool
is_valid(Validator *validator, const SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	Validator	inner = *validator;

	inner.limit = 1;
	inner.count = 0;
	inner.quiet = true;
	check_value(&inner, node, value, path);
	return inner.count == 0;
}

/* ---- kinds ---- */

static bool
is_whole(Numeric number)
{
	Datum		value = NumericGetDatum(number);

	return DatumGetBool(DirectFunctionCall2(numeric_eq, value,
											DirectFunctionCall2(numeric_trunc, value, Int32GetDatum(0))));
}

static int
kind_of(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvNull:
			return KIND_NULL;
		case jbvBool:
			return KIND_BOOLEAN;
		case jbvNumeric:
			return is_whole(value->val.numeric) ? KIND_INTEGER : KIND_NUMBER;
		case jbvString:
			return KIND_STRING;
		default:
			return JsonContainerIsObject(value->val.binary.data) ? KIND_OBJECT : KIND_ARRAY;
	}
}

static const char *
kind_names(int kinds)
{
	static const char *const names[] = {"null", "boolean", "integer", "number", "string", "array", "object"};
	StringInfoData buffer;

	initStringInfo(&buffer);
	for (int i = 0; i < lengthof(names); i++)
		if ((kinds & (1 << i)) && !((kinds & KIND_NUMBER) && (1 << i) == KIND_INTEGER))
			appendStringInfo(&buffer, "%s%s", buffer.len ? " or " : "", names[i]);
	return buffer.data;
}

/* ---- equality ---- */

static bool
same_value(Jsonb *a, Jsonb *b)
{
	return JB_ROOT_IS_SCALAR(a) == JB_ROOT_IS_SCALAR(b) &&
		compareJsonbContainers(&a->root, &b->root) == 0;
}

static int
compare_items(const void *a, const void *b, void *arg)
{
	return compareJsonbContainers(&(*(Jsonb *const *) a)->root, &(*(Jsonb *const *) b)->root);
}

static void
append_constant(StringInfo buffer, Jsonb *constant)
{
	char	   *string = JsonbToCString(NULL, &constant->root, VARSIZE(constant));
	int			length = strlen(string);
	int			shown = pg_mbcliplen(string, length, CONSTANT_SHOWN);

	appendBinaryStringInfo(buffer, string, shown);
	if (shown < length)
		appendStringInfoString(buffer, "...");
}

static void
check_equal(Validator *validator, const SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	Jsonb	   *own = JsonbValueToJsonb(value);
	StringInfoData buffer;

	initStringInfo(&buffer);
	if (node->constant && !same_value(own, node->constant))
	{
		appendStringInfoString(&buffer, "must be ");
		append_constant(&buffer, node->constant);
		problem(validator, path, buffer.data);
	}
	if (node->enum_count > 0)
	{
		for (int i = 0; i < node->enum_count; i++)
		{
			if (same_value(own, node->enum_values[i]))
				return;
			count_step(validator);
		}
		resetStringInfo(&buffer);
		appendStringInfoString(&buffer, "must be one of ");
		for (int i = 0; i < Min(node->enum_count, CONSTANTS_SHOWN); i++)
		{
			appendStringInfoString(&buffer, i > 0 ? ", " : "");
			append_constant(&buffer, node->enum_values[i]);
		}
		if (node->enum_count > CONSTANTS_SHOWN)
			appendStringInfoString(&buffer, ", ...");
		problem(validator, path, buffer.data);
	}
}

/* ---- numbers and strings ---- */

static void
check_bound(Validator *validator, Numeric number, PGFunction holds, Numeric bound,
			const char *what, const JsonPath *path)
{
	if (bound && !DatumGetBool(DirectFunctionCall2(holds, NumericGetDatum(number), NumericGetDatum(bound))))
		problem(validator, path, psprintf("must be %s %s", what,
										  DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(bound)))));
}

static void
check_number(Validator *validator, const SchemaNode *node, Numeric number, const JsonPath *path)
{
	check_bound(validator, number, numeric_ge, node->minimum, "at least", path);
	check_bound(validator, number, numeric_le, node->maximum, "at most", path);
	check_bound(validator, number, numeric_gt, node->exclusive_minimum, "more than", path);
	check_bound(validator, number, numeric_lt, node->exclusive_maximum, "less than", path);
	if (node->multiple_of)
	{
		Datum		rest = DirectFunctionCall2(numeric_mod, NumericGetDatum(number), NumericGetDatum(node->multiple_of));

		if (!DatumGetBool(DirectFunctionCall2(numeric_eq, rest, NumericGetDatum(int64_to_numeric(0)))))
			problem(validator, path, psprintf("must be a multiple of %s",
											  DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(node->multiple_of)))));
	}
}

static void
check_count(Validator *validator, int64 count, int64 least, int64 most, const char *what, const JsonPath *path)
{
	if (least != NO_COUNT && count < least)
		problem(validator, path, psprintf("must have at least " INT64_FORMAT " %s, not " INT64_FORMAT, least, what, count));
	if (most != NO_COUNT && count > most)
		problem(validator, path, psprintf("must have at most " INT64_FORMAT " %s, not " INT64_FORMAT, most, what, count));
}

static void
check_string(Validator *validator, const SchemaNode *node, const char *string, int length, const JsonPath *path)
{
	if (node->min_length != NO_COUNT || node->max_length != NO_COUNT)
		check_count(validator, pg_mbstrlen_with_len(string, length), node->min_length, node->max_length,
					"characters", path);
	if (node->pattern && !json_pattern_matches(node->pattern, string, length))
		problem(validator, path, psprintf("must match the pattern %s", text_to_cstring(node->pattern)));
	if (node->format && !node->format->matches(string, length))
		problem(validator, path, psprintf("must have the format %s", node->format->name));
}

/* ---- arrays and objects ---- */

static void
check_unique(Validator *validator, JsonbContainer *array, const JsonPath *path)
{
	int			count = JsonContainerSize(array);
	Jsonb	  **items = palloc(sizeof(Jsonb *) * Max(count, 1));
	JsonbIterator *it = JsonbIteratorInit(array);
	JsonbValue	value;
	int			n = 0;

	(void) JsonbIteratorNext(&it, &value, true);
	while (JsonbIteratorNext(&it, &value, true) == WJB_ELEM)
	{
		count_step(validator);
		items[n++] = JsonbValueToJsonb(&value);
	}
	qsort_interruptible((void *) items, n, sizeof(Jsonb *), compare_items, NULL);
	for (int i = 1; i < n; i++)
		if (same_value(items[i - 1], items[i]))
		{
			problem(validator, path, "must not have an element twice");
			return;
		}
}

static void
check_array(Validator *validator, const SchemaNode *node, JsonbContainer *array, const JsonPath *path)
{
	JsonbIterator *it;
	JsonbValue	value;
	JsonPath	here = {.parent = path};

	check_count(validator, JsonContainerSize(array), node->min_items, node->max_items, "elements", path);
	if (node->unique_items && !enough(validator))
		check_unique(validator, array, path);
	if (node->items == NULL && node->prefix_items.count == 0)
		return;
	it = JsonbIteratorInit(array);
	(void) JsonbIteratorNext(&it, &value, true);
	while (JsonbIteratorNext(&it, &value, true) == WJB_ELEM && !enough(validator))
	{
		if (here.index < node->prefix_items.count)
			check_value(validator, node->prefix_items.nodes[here.index], &value, &here);
		else if (node->items)
			check_value(validator, node->items, &value, &here);
		else
			break;
		here.index++;
	}
}

static const SchemaNode *
property_named(const NamedSchemas *list, const char *name, int length)
{
	int			low = 0;
	int			high = list->count;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		const NamedSchema *item = &list->items[middle];
		int			order = name_compare(name, length, item->name, item->length);

		if (order == 0)
			return item->node;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static void
check_property(Validator *validator, const SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	const SchemaNode *own = property_named(&node->properties, path->name, path->length);
	bool		known = own != NULL;

	if (own)
		check_value(validator, own, value, path);
	for (int i = 0; i < node->pattern_properties.count; i++)
	{
		const NamedSchema *item = &node->pattern_properties.items[i];

		count_step(validator);
		if (json_pattern_matches(item->pattern, path->name, path->length))
		{
			known = true;
			check_value(validator, item->node, value, path);
		}
	}
	if (known || node->additional == NULL)
		return;
	if (node->additional->never)
		problem(validator, path, "must not be there");
	else
		check_value(validator, node->additional, value, path);
}

static void
check_object(Validator *validator, const SchemaNode *node, JsonbContainer *object, const JsonPath *path)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;
	JsonPath	here = {.parent = path};

	check_count(validator, JsonContainerSize(object), node->min_properties, node->max_properties, "properties", path);
	for (int i = 0; i < node->required_count && !enough(validator); i++)
	{
		here.name = node->required[i].name;
		here.length = node->required[i].length;
		count_step(validator);
		if (!getKeyJsonValueFromContainer(object, here.name, here.length, &value))
			problem(validator, &here, "is missing");
	}
	if (node->properties.count == 0 && node->pattern_properties.count == 0 && node->additional == NULL)
		return;
	it = JsonbIteratorInit(object);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY && !enough(validator))
	{
		(void) JsonbIteratorNext(&it, &value, true);
		here.name = key.val.string.val;
		here.length = key.val.string.len;
		check_property(validator, node, &value, &here);
	}
}

/* ---- schemas of schemas ---- */

static int
count_valid(Validator *validator, const SchemaList *list, JsonbValue *value, const JsonPath *path, int limit)
{
	int			valid = 0;

	for (int i = 0; i < list->count && valid < limit; i++)
		if (is_valid(validator, list->nodes[i], value, path))
			valid++;
	return valid;
}

static void
check_combinations(Validator *validator, const SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	if (node->ref)
		check_value(validator, node->ref, value, path);
	for (int i = 0; i < node->all_of.count && !enough(validator); i++)
		check_value(validator, node->all_of.nodes[i], value, path);
	if (enough(validator))
		return;
	if (node->any_of.count > 0 && count_valid(validator, &node->any_of, value, path, 1) == 0)
		problem(validator, path, "must meet at least one of the schemas of anyOf");
	if (node->one_of.count > 0)
	{
		int			valid = count_valid(validator, &node->one_of, value, path, 2);

		if (valid != 1)
			problem(validator, path, psprintf("must meet exactly one of the schemas of oneOf, and meets %s",
											  valid == 0 ? "none" : "several"));
	}
	if (node->negated && is_valid(validator, node->negated, value, path))
		problem(validator, path, "must not meet the schema of not");
}

static void
check_value(Validator *validator, const SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	int			kind;

	check_stack_depth();
	count_step(validator);
	if (enough(validator))
		return;
	if (node->never)
	{
		problem(validator, path, "must not be there");
		return;
	}
	kind = kind_of(value);
	if (!(node->kinds & kind))
	{
		problem(validator, path, psprintf("must be %s, not %s", kind_names(node->kinds), kind_names(kind)));
		return;
	}
	if (node->constant || node->enum_count > 0)
		check_equal(validator, node, value, path);
	if (kind & (KIND_INTEGER | KIND_NUMBER))
		check_number(validator, node, value->val.numeric, path);
	else if (kind == KIND_STRING)
		check_string(validator, node, value->val.string.val, value->val.string.len, path);
	else if (kind == KIND_ARRAY)
		check_array(validator, node, value->val.binary.data, path);
	else if (kind == KIND_OBJECT)
		check_object(validator, node, value->val.binary.data, path);
	if (!enough(validator))
		check_combinations(validator, node, value, path);
}

List *
json_schema_validate(const JsonSchema *schema, Jsonb *value, int limit)
{
	int64		steps = 0;
	Validator	validator = {.limit = limit, .steps = &steps, .context = CurrentMemoryContext};
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "taskex JSON schema", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);
	JsonPath	top = {0};
	JsonbValue	root;

	if (!JB_ROOT_IS_SCALAR(value))
	{
		root.type = jbvBinary;
		root.val.binary.data = &value->root;
		root.val.binary.len = VARSIZE(value) - VARHDRSZ;
	}
	else
		(void) JsonbExtractScalar(&value->root, &root);
	check_value(&validator, schema->root, &root, &top);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);

	/* one value may have several problems at once */
	return list_truncate(validator.problems, limit);
}
