/*
 * json_schema.h
 *	  JSON values checked against a schema: a subset of JSON Schema 2020-12.
 *
 * What the subset has is in README.md.  A schema with anything else is refused
 * when it is compiled: a rule that is not enforced would be worse than an error.
 */
#ifndef TASKEX_JSON_SCHEMA_H
#define TASKEX_JSON_SCHEMA_H

#include "postgres.h"

#include "nodes/pg_list.h"
#include "utils/jsonb.h"

typedef struct JsonSchema JsonSchema;

typedef struct JsonProblem
{
	const char *path;			/* JSON pointer to the value; "" is the whole */
	const char *what;
} JsonProblem;

/*
 * Compiles a schema into the current memory context, where it may be kept; it
 * does not refer to the argument.  Raises invalid_parameter_value, or
 * invalid_regular_expression, naming the schema by "what".
 */
extern JsonSchema *json_schema_compile(Jsonb *schema, const char *what);

/*
 * What is wrong with the value: a list of JsonProblem, at most "limit" long;
 * NIL: nothing is.  Can be cancelled; raises program_limit_exceeded when
 * schema and value together take too many steps.
 */
extern List *json_schema_validate(const JsonSchema *schema, Jsonb *value, int limit);

#endif							/* TASKEX_JSON_SCHEMA_H */
