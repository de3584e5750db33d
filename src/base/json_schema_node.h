/*
 * json_schema_node.h
 *	  A compiled schema, as json_schema.c, json_validate.c and json_format.c
 *	  share it.
 */
#ifndef TASKEX_JSON_SCHEMA_NODE_H
#define TASKEX_JSON_SCHEMA_NODE_H

#include "postgres.h"

#include "utils/jsonb.h"
#include "utils/numeric.h"

/* kinds of JSON values; an integer is a number, too */
#define KIND_NULL		0x01
#define KIND_BOOLEAN	0x02
#define KIND_INTEGER	0x04
#define KIND_NUMBER		0x08
#define KIND_STRING		0x10
#define KIND_ARRAY		0x20
#define KIND_OBJECT		0x40
#define KIND_ANY		0x7f

typedef struct SchemaNode SchemaNode;

/* several schemas */
typedef struct SchemaList
{
	int			count;
	SchemaNode **nodes;
} SchemaList;

/* schemas of properties, by name or by pattern */
typedef struct NamedSchema
{
	char	   *name;
	int			length;
	text	   *pattern;		/* patternProperties: the name as a text */
	SchemaNode *node;
} NamedSchema;

typedef struct NamedSchemas
{
	int			count;
	NamedSchema *items;
} NamedSchemas;

/* one format: what strings must be; json_format.c */
typedef struct JsonFormat
{
	const char *name;
	bool		(*matches) (const char *string, int length);
} JsonFormat;

#define NO_COUNT INT64CONST(-1)

struct SchemaNode
{
	bool		never;			/* the schema false */
	int			kinds;			/* the values' allowed kinds */
	int			enum_count;		/* enum and const */
	Jsonb	  **enum_values;
	Jsonb	   *constant;
	Numeric		minimum;		/* or NULL */
	Numeric		maximum;
	Numeric		exclusive_minimum;
	Numeric		exclusive_maximum;
	Numeric		multiple_of;
	int64		min_length;		/* or NO_COUNT */
	int64		max_length;
	int64		min_items;
	int64		max_items;
	int64		min_properties;
	int64		max_properties;
	text	   *pattern;		/* or NULL */
	const JsonFormat *format;	/* or NULL */
	bool		unique_items;
	SchemaNode *items;			/* of an array, after the prefix */
	SchemaList	prefix_items;
	NamedSchemas properties;	/* in the order of name_compare */
	NamedSchemas pattern_properties;
	SchemaNode *additional;		/* of other properties */
	int			required_count;
	NamedSchema *required;		/* names only */
	SchemaList	any_of;
	SchemaList	all_of;
	SchemaList	one_of;
	SchemaNode *negated;		/* not */
	SchemaNode *ref;

	/* while compiling: looking for a schema that only leads back to itself */
	int			visit;
};

struct JsonSchema
{
	SchemaNode *root;
};

/* a way into a value or a schema, from its end to its beginning */
typedef struct JsonPath
{
	const struct JsonPath *parent;	/* NULL: this is the beginning */
	const char *name;			/* NULL: an element of an array */
	int			length;
	int			index;
} JsonPath;

/* json_format.c */
extern char *json_path_string(const JsonPath *path);
extern const JsonFormat *json_format_find(const char *name, int length);
extern const char *json_format_names(void);

/* does a pattern occur in the string? */
extern bool json_pattern_matches(text *pattern, const char *string, int length);

/* raises invalid_regular_expression */
extern void json_pattern_check(text *pattern);

/* the order of names of properties */
static inline int
name_compare(const char *a, int a_length, const char *b, int b_length)
{
	int			order = memcmp(a, b, Min(a_length, b_length));

	return order != 0 ? order : a_length - b_length;
}

#endif							/* TASKEX_JSON_SCHEMA_NODE_H */
