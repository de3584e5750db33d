/*
 * json_schema.c
 *	  Compiling a JSON schema.
 *
 * Each keyword is read as the table at the end says; one that is not in the
 * table is an error.  What a schema refers to ($ref) is a definition at its top
 * ($defs, definitions) or the whole, so the nodes may form circles: a value is
 * finite, but a circle that does not go down into the value would never end,
 * and is an error, too.
 */
#include "postgres.h"

#include "base/json_schema.h"
#include "base/json_schema_node.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#define DEPTH_MAX 64
#define NODES_MAX 10000
#define COUNT_MAX 1000000000
#define PATTERN_MAX 1000
#define ENUM_MAX 10000

/* a definition, or what was referred to and is still to come */
typedef struct Definition
{
	char	   *pointer;		/* without "#" */
	bool		compiled;
	SchemaNode *node;
	struct Definition *next;
} Definition;

typedef struct Compiler
{
	const char *what;
	SchemaNode *root;
	Definition *definitions;
	int			nodes;
	int			depth;
} Compiler;

typedef enum KeywordKind
{
	ANNOTATION,					/* allowed, and means nothing here */
	NUMBER,						/* Numeric */
	COUNT,						/* int64 */
	SCHEMA,						/* SchemaNode * */
	SCHEMAS,					/* SchemaList */
	SPECIAL						/* read() does it */
} KeywordKind;

typedef struct Keyword
{
	const char *name;
	KeywordKind kind;
	size_t		offset;			/* of a field of SchemaNode */
	void		(*read) (Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path);
} Keyword;

static void compile_node(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path);

static void
refuse(Compiler *compiler, const JsonPath *path, const char *problem)
{
	char	   *pointer = json_path_string(path);

	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("%s is not a schema that can be enforced", compiler->what),
			 *pointer ? errdetail("At %s: %s.", pointer, problem) : errdetail("At the top: %s.", problem),
			 errhint("The reference lists the parts of JSON Schema that are known.")));
}

static SchemaNode *
new_node(Compiler *compiler, const JsonPath *path)
{
	SchemaNode *node;

	if (++compiler->nodes > NODES_MAX)
		refuse(compiler, path, psprintf("there are more than %d schemas in it", NODES_MAX));
	node = palloc0(sizeof(SchemaNode));
	node->kinds = KIND_ANY;
	node->min_length = node->max_length = NO_COUNT;
	node->min_items = node->max_items = NO_COUNT;
	node->min_properties = node->max_properties = NO_COUNT;
	return node;
}

static bool
is_container(const JsonbValue *value, bool object)
{
	return value->type == jbvBinary &&
		(object ? JsonContainerIsObject(value->val.binary.data) : JsonContainerIsArray(value->val.binary.data));
}

static SchemaNode *
compile_new(Compiler *compiler, JsonbValue *value, const JsonPath *path)
{
	SchemaNode *node = new_node(compiler, path);

	compile_node(compiler, node, value, path);
	return node;
}

/* ---- walking through arrays and objects ---- */

typedef void (*ElementReader) (Compiler *compiler, SchemaNode *node, JsonbValue *value,
							   const JsonPath *path, void *arg);

static void
each_element(Compiler *compiler, SchemaNode *node, JsonbValue *array, const JsonPath *path,
			 ElementReader read, void *arg)
{
	JsonbIterator *it;
	JsonbIteratorToken token;
	JsonbValue	value;
	JsonPath	here = {.parent = path};

	if (!is_container(array, false))
		refuse(compiler, path, "it must be an array");
	it = JsonbIteratorInit(array->val.binary.data);
	(void) JsonbIteratorNext(&it, &value, true);
	while ((token = JsonbIteratorNext(&it, &value, true)) == WJB_ELEM)
	{
		read(compiler, node, &value, &here, arg);
		here.index++;
	}
}

static void
each_member(Compiler *compiler, SchemaNode *node, JsonbValue *object, const JsonPath *path,
			ElementReader read, void *arg)
{
	JsonbIterator *it;
	JsonbValue	key;
	JsonbValue	value;
	JsonPath	here = {.parent = path};

	if (!is_container(object, true))
		refuse(compiler, path, "it must be an object");
	it = JsonbIteratorInit(object->val.binary.data);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		here.name = key.val.string.val;
		here.length = key.val.string.len;
		read(compiler, node, &value, &here, arg);
	}
}

static int
length_of(const JsonbValue *container)
{
	return container->type == jbvBinary ? JsonContainerSize(container->val.binary.data) : 0;
}

/* ---- the keywords that need more than a field ---- */

static int
kind_named(const char *name, int length)
{
	static const struct
	{
		const char *name;
		int			kind;
	}			kinds[] = {
		{"null", KIND_NULL}, {"boolean", KIND_BOOLEAN}, {"integer", KIND_INTEGER},
		{"number", KIND_NUMBER | KIND_INTEGER}, {"string", KIND_STRING},
		{"array", KIND_ARRAY}, {"object", KIND_OBJECT},
	};

	for (int i = 0; i < lengthof(kinds); i++)
		if (strlen(kinds[i].name) == length && memcmp(kinds[i].name, name, length) == 0)
			return kinds[i].kind;
	return 0;
}

static void
read_type_name(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path, void *arg)
{
	int			kind = value->type == jbvString ? kind_named(value->val.string.val, value->val.string.len) : 0;

	if (kind == 0)
		refuse(compiler, path, "a type is null, boolean, integer, number, string, array or object");
	*(int *) arg |= kind;
}

static void
read_type(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	int			kinds = 0;

	if (is_container(value, false))
		each_element(compiler, node, value, path, read_type_name, &kinds);
	else
		read_type_name(compiler, node, value, path, &kinds);
	if (kinds == 0)
		refuse(compiler, path, "it names no type");
	node->kinds = kinds;
}

static void
read_enum_value(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path, void *arg)
{
	node->enum_values[node->enum_count++] = JsonbValueToJsonb(value);
}

static void
read_enum(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	int			count = length_of(value);

	if (is_container(value, false) && (count == 0 || count > ENUM_MAX))
		refuse(compiler, path, psprintf("it must have between 1 and %d values", ENUM_MAX));
	node->enum_values = palloc(sizeof(Jsonb *) * Max(count, 1));
	each_element(compiler, node, value, path, read_enum_value, NULL);
}

static void
read_const(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	node->constant = JsonbValueToJsonb(value);
}

static void
pattern_context(void *arg)
{
	errcontext("pattern at %s of a JSON schema", json_path_string(arg));
}

static text *
compile_pattern(Compiler *compiler, const char *string, int length, const JsonPath *path)
{
	text	   *pattern = cstring_to_text_with_len(string, length);
	ErrorContextCallback context = {.previous = error_context_stack,
		.callback = pattern_context,
	.arg = unconstify(JsonPath *, path)};

	if (length > PATTERN_MAX)
		refuse(compiler, path, psprintf("a pattern must have at most %d bytes", PATTERN_MAX));
	error_context_stack = &context;
	json_pattern_check(pattern);
	error_context_stack = context.previous;
	return pattern;
}

static void
read_pattern(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	if (value->type != jbvString)
		refuse(compiler, path, "it must be a string");
	node->pattern = compile_pattern(compiler, value->val.string.val, value->val.string.len, path);
}

static void
read_format(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	if (value->type == jbvString)
		node->format = json_format_find(value->val.string.val, value->val.string.len);
	if (node->format == NULL)
		refuse(compiler, path, psprintf("formats that are checked are %s", json_format_names()));
}

static void
read_unique_items(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	if (value->type != jbvBool)
		refuse(compiler, path, "it must be true or false");
	node->unique_items = value->val.boolean;
}

static void
read_items(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	if (is_container(value, false))
		refuse(compiler, path, "it must be a schema; several, one for each place, are prefixItems");
	node->items = compile_new(compiler, value, path);
}

static void
read_name(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path, void *arg)
{
	NamedSchema *name;

	if (value->type != jbvString)
		refuse(compiler, path, "it must be the name of a property");
	name = &node->required[node->required_count++];
	name->length = value->val.string.len;
	name->name = pnstrdup(value->val.string.val, name->length);
}

static void
read_required(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	node->required = palloc0(sizeof(NamedSchema) * Max(length_of(value), 1));
	each_element(compiler, node, value, path, read_name, NULL);
}

static void
read_property(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path, void *arg)
{
	NamedSchemas *list = arg;
	NamedSchema *item = &list->items[list->count++];

	item->length = path->length;
	item->name = pnstrdup(path->name, path->length);
	if (list == &node->pattern_properties)
		item->pattern = compile_pattern(compiler, path->name, path->length, path);
	item->node = compile_new(compiler, value, path);
}

static int
compare_named(const void *a, const void *b)
{
	const NamedSchema *x = a;
	const NamedSchema *y = b;

	return name_compare(x->name, x->length, y->name, y->length);
}

static void
read_named(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path, NamedSchemas *list)
{
	list->items = palloc0(sizeof(NamedSchema) * Max(length_of(value), 1));
	each_member(compiler, node, value, path, read_property, list);
	qsort(list->items, list->count, sizeof(NamedSchema), compare_named);
}

static void
read_properties(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	read_named(compiler, node, value, path, &node->properties);
}

static void
read_pattern_properties(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	read_named(compiler, node, value, path, &node->pattern_properties);
}

/* ---- definitions ---- */

static Definition *
definition(Compiler *compiler, const char *pointer, const JsonPath *path)
{
	Definition *found;

	for (found = compiler->definitions; found; found = found->next)
		if (strcmp(found->pointer, pointer) == 0)
			return found;
	found = palloc0(sizeof(Definition));
	found->pointer = pstrdup(pointer);
	found->node = new_node(compiler, path);
	found->next = compiler->definitions;
	compiler->definitions = found;
	return found;
}

static void
read_definition(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path, void *arg)
{
	Definition *target = definition(compiler, json_path_string(path), path);

	if (target->compiled)
		refuse(compiler, path, "there are two definitions that look alike");
	target->compiled = true;
	compile_node(compiler, target->node, value, path);
}

static void
read_definitions(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	if (node != compiler->root)
		refuse(compiler, path, "definitions are at the top of a schema");
	each_member(compiler, node, value, path, read_definition, NULL);
}

static void
read_ref(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	char	   *pointer = value->type == jbvString ? pnstrdup(value->val.string.val, value->val.string.len) : "";

	if (strcmp(pointer, "#") == 0)
		node->ref = compiler->root;
	else if (strncmp(pointer, "#/$defs/", 8) == 0 || strncmp(pointer, "#/definitions/", 14) == 0)
		node->ref = definition(compiler, pointer + 1, path)->node;
	else
		refuse(compiler, path, "it must be #, #/$defs/name or #/definitions/name");
}

/* ---- the table ---- */

#define FIELD(name) offsetof(SchemaNode, name)

static const Keyword keywords[] = {
	{"$comment", ANNOTATION}, {"$defs", SPECIAL, 0, read_definitions},
	{"$ref", SPECIAL, 0, read_ref}, {"$schema", ANNOTATION},
	{"additionalProperties", SCHEMA, FIELD(additional)},
	{"allOf", SCHEMAS, FIELD(all_of)}, {"anyOf", SCHEMAS, FIELD(any_of)},
	{"const", SPECIAL, 0, read_const}, {"default", ANNOTATION},
	{"definitions", SPECIAL, 0, read_definitions}, {"deprecated", ANNOTATION},
	{"description", ANNOTATION}, {"enum", SPECIAL, 0, read_enum},
	{"examples", ANNOTATION},
	{"exclusiveMaximum", NUMBER, FIELD(exclusive_maximum)},
	{"exclusiveMinimum", NUMBER, FIELD(exclusive_minimum)},
	{"format", SPECIAL, 0, read_format}, {"items", SPECIAL, 0, read_items},
	{"maxItems", COUNT, FIELD(max_items)}, {"maxLength", COUNT, FIELD(max_length)},
	{"maxProperties", COUNT, FIELD(max_properties)}, {"maximum", NUMBER, FIELD(maximum)},
	{"minItems", COUNT, FIELD(min_items)}, {"minLength", COUNT, FIELD(min_length)},
	{"minProperties", COUNT, FIELD(min_properties)}, {"minimum", NUMBER, FIELD(minimum)},
	{"multipleOf", NUMBER, FIELD(multiple_of)}, {"not", SCHEMA, FIELD(negated)},
	{"oneOf", SCHEMAS, FIELD(one_of)}, {"pattern", SPECIAL, 0, read_pattern},
	{"patternProperties", SPECIAL, 0, read_pattern_properties},
	{"prefixItems", SCHEMAS, FIELD(prefix_items)},
	{"properties", SPECIAL, 0, read_properties},
	{"readOnly", ANNOTATION}, {"required", SPECIAL, 0, read_required},
	{"title", ANNOTATION}, {"type", SPECIAL, 0, read_type},
	{"uniqueItems", SPECIAL, 0, read_unique_items}, {"writeOnly", ANNOTATION},
};

static void
read_number(Compiler *compiler, const JsonbValue *value, const JsonPath *path, Numeric *field)
{
	if (value->type != jbvNumeric)
		refuse(compiler, path, "it must be a number");
	*field = DatumGetNumericCopy(NumericGetDatum(value->val.numeric));
}

static void
read_count(Compiler *compiler, const JsonbValue *value, const JsonPath *path, int64 *field)
{
	Datum		number;
	bool		whole;

	if (value->type != jbvNumeric)
		refuse(compiler, path, "it must be a number");
	number = NumericGetDatum(value->val.numeric);
	whole = DatumGetBool(DirectFunctionCall2(numeric_eq, number, DirectFunctionCall2(numeric_trunc, number, Int32GetDatum(0)))) &&
		DatumGetBool(DirectFunctionCall2(numeric_ge, number, NumericGetDatum(int64_to_numeric(0)))) &&
		DatumGetBool(DirectFunctionCall2(numeric_le, number, NumericGetDatum(int64_to_numeric(COUNT_MAX))));
	if (!whole)
		refuse(compiler, path, psprintf("it must be an integer between 0 and %d", COUNT_MAX));
	*field = DatumGetInt64(DirectFunctionCall1(numeric_int8, number));
}

static void
read_schema(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path, void *arg)
{
	SchemaList *list = arg;

	list->nodes[list->count++] = compile_new(compiler, value, path);
}

static void
read_keyword(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path, void *arg)
{
	const Keyword *keyword = NULL;
	void	   *field;

	for (int i = 0; i < lengthof(keywords) && keyword == NULL; i++)
		if (strlen(keywords[i].name) == path->length &&
			memcmp(keywords[i].name, path->name, path->length) == 0)
			keyword = &keywords[i];
	if (keyword == NULL)
		refuse(compiler, path, "this keyword is not known here");

	field = (char *) node + keyword->offset;
	switch (keyword->kind)
	{
		case ANNOTATION:
			break;
		case NUMBER:
			read_number(compiler, value, path, field);
			break;
		case COUNT:
			read_count(compiler, value, path, field);
			break;
		case SCHEMA:
			*(SchemaNode **) field = compile_new(compiler, value, path);
			break;
		case SCHEMAS:
			if (is_container(value, false) && length_of(value) == 0)
				refuse(compiler, path, "it must not be empty");
			((SchemaList *) field)->nodes = palloc(sizeof(SchemaNode *) * Max(length_of(value), 1));
			each_element(compiler, node, value, path, read_schema, field);
			break;
		case SPECIAL:
			keyword->read(compiler, node, value, path);
			break;
	}
}

static void
compile_node(Compiler *compiler, SchemaNode *node, JsonbValue *value, const JsonPath *path)
{
	check_stack_depth();
	CHECK_FOR_INTERRUPTS();
	if (value->type == jbvBool)
	{
		node->never = !value->val.boolean;
		return;
	}
	if (!is_container(value, true))
		refuse(compiler, path, "a schema is an object, true or false");
	if (++compiler->depth > DEPTH_MAX)
		refuse(compiler, path, psprintf("it is nested deeper than %d schemas", DEPTH_MAX));
	each_member(compiler, node, value, path, read_keyword, NULL);
	compiler->depth--;
	if (node->multiple_of &&
		!DatumGetBool(DirectFunctionCall2(numeric_gt, NumericGetDatum(node->multiple_of),
										  NumericGetDatum(int64_to_numeric(0)))))
		refuse(compiler, path, "multipleOf must be greater than 0");
}

/* ---- circles ---- */

static bool leads_to_itself(SchemaNode *node);

static bool
one_leads_to_itself(const SchemaList *list)
{
	for (int i = 0; i < list->count; i++)
		if (leads_to_itself(list->nodes[i]))
			return true;
	return false;
}

/* is there a circle of schemas that all apply to the same value? */
static bool
leads_to_itself(SchemaNode *node)
{
	bool		found;

	check_stack_depth();
	if (node->visit != 0)
		return node->visit == 1;
	node->visit = 1;
	found = (node->ref && leads_to_itself(node->ref)) ||
		(node->negated && leads_to_itself(node->negated)) ||
		one_leads_to_itself(&node->any_of) || one_leads_to_itself(&node->all_of) ||
		one_leads_to_itself(&node->one_of);
	node->visit = 2;
	return found;
}

JsonSchema *
json_schema_compile(Jsonb *schema, const char *what)
{
	Compiler	compiler = {.what = what};
	JsonPath	top = {0};
	JsonSchema *result = palloc(sizeof(JsonSchema));
	JsonbValue	value;
	bool		circle;

	compiler.root = result->root = new_node(&compiler, &top);
	if (!JB_ROOT_IS_SCALAR(schema))
	{
		value.type = jbvBinary;
		value.val.binary.data = &schema->root;
		value.val.binary.len = VARSIZE(schema) - VARHDRSZ;
	}
	else
		(void) JsonbExtractScalar(&schema->root, &value);
	compile_node(&compiler, compiler.root, &value, &top);

	/* a circle has a $ref in it, which leads to the top or to a definition */
	circle = leads_to_itself(compiler.root);
	for (Definition *d = compiler.definitions; d; d = d->next)
	{
		if (!d->compiled)
			refuse(&compiler, &top, psprintf("$ref leads to #%s, which is not there", d->pointer));
		circle = circle || leads_to_itself(d->node);
	}
	if (circle)
		refuse(&compiler, &top, "a $ref leads back to itself without going into the value");
	return result;
}
