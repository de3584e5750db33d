/*
 * format.c
 *	  The format that a task type asks results to have.
 *
 * A type's schema is compiled once in each session that submits results of
 * that type.  Types never change, so what is kept stays right.
 */
#include "postgres.h"

#include "market/market.h"
#include "base/args.h"
#include "base/errcodes.h"
#include "base/json_schema.h"
#include "infra/realm.h"
#include "infra/spi.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#define KNOWN_MAX 512

/* problems that validate_result() lists */
#define PROBLEMS_MAX 100

typedef struct KnownFormat
{
	int64		task_type;		/* hash key */
	JsonSchema *schema;			/* in the context of all of them */
} KnownFormat;

static Statement select_schema = {
	"SELECT result_schema FROM _taskex.task_type WHERE task_type_id = $1",
	1, {INT8OID}
};

void
format_check_schema(Jsonb *schema)
{
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext, "taskex JSON schema", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(work);

	(void) json_schema_compile(schema, "result_schema");
	MemoryContextSwitchTo(old);
	MemoryContextDelete(work);
}

/* the schema of a type in the given view, compiled in the context; NULL: not visible */
static JsonSchema *
read_schema(int64 task_type, SpiView view, MemoryContext context)
{
	Datum		value = Int64GetDatum(task_type);
	JsonSchema *schema = NULL;
	SpiScope	scope;
	bool		isnull;

	spi_begin(&scope);
	if (spi_run(&select_schema, 0, &value, NULL, view, 1) == 1)
	{
		Datum		text = spi_value(0, 1, &isnull);

		if (!isnull)
		{
			Jsonb	   *json = DatumGetJsonbP(text);
			MemoryContext old = MemoryContextSwitchTo(context);

			schema = json_schema_compile(json, "result_schema");
			MemoryContextSwitchTo(old);
		}
	}
	spi_end(&scope);
	return schema;
}

static JsonSchema *
format_of(int64 task_type)
{
	static MemoryContext context = NULL;
	static HTAB *known = NULL;
	static uint32 serial = 0;
	const Realm *realm = realm_current();
	KnownFormat *entry;
	JsonSchema *schema;

	if (context == NULL || serial != realm->serial || hash_get_num_entries(known) >= KNOWN_MAX)
	{
		HASHCTL		ctl = {0};

		if (context)
			MemoryContextDelete(context);
		context = AllocSetContextCreate(TopMemoryContext, "taskex formats", ALLOCSET_DEFAULT_SIZES);
		ctl.keysize = sizeof(int64);
		ctl.entrysize = sizeof(KnownFormat);
		ctl.hcxt = context;
		known = hash_create("taskex formats", 16, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
		serial = realm->serial;
	}
	entry = hash_search(known, &task_type, HASH_FIND, NULL);
	if (entry)
		return entry->schema;

	/* what this transaction made may be undone: it must not be remembered */
	schema = read_schema(task_type, SPI_VIEW_LATEST, context);
	if (schema == NULL)
		return read_schema(task_type, SPI_VIEW_CURRENT, CurrentMemoryContext);
	entry = hash_search(known, &task_type, HASH_ENTER, NULL);
	entry->schema = schema;
	return schema;
}

void
format_check_result(const TaskType *type, int64 assignment_id, Datum result)
{
	JsonSchema *schema;
	List	   *problems;
	JsonProblem *problem;

	if (likely(!type->has_schema))
		return;
	schema = format_of(type->task_type);
	problems = schema ? json_schema_validate(schema, DatumGetJsonbP(result), 1) : NIL;
	if (problems == NIL)
		return;
	problem = linitial(problems);
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_RESULT_INVALID),
			 assignment_id == 0 ?
			 errmsg("the known answer is not of the format that the task type asks for") :
			 errmsg("the result of assignment %lld is not of the format that its task type asks for",
					(long long) assignment_id),
			 errdetail("%s %s.", *problem->path ? problem->path : "The result", problem->what),
			 errhint("taskex.validate_result() lists all that is wrong.")));
}

PG_FUNCTION_INFO_V1(taskex_validate_result);

/* validate_result(task_type, result) -> setof (path, problem) */
Datum
taskex_validate_result(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"task_type", "result", NULL};
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const TaskType *type;
	JsonSchema *schema;
	ListCell   *cell;

	require_args(fcinfo, names);
	check_json_size(PG_GETARG_DATUM(1), "result");
	type = task_type_get(PG_GETARG_INT64(0));
	InitMaterializedSRF(fcinfo, 0);
	schema = type->has_schema ? format_of(type->task_type) : NULL;
	if (schema == NULL)
		return (Datum) 0;
	foreach(cell, json_schema_validate(schema, PG_GETARG_JSONB_P(1), PROBLEMS_MAX))
	{
		JsonProblem *problem = lfirst(cell);
		Datum		values[2] = {CStringGetTextDatum(problem->path), CStringGetTextDatum(problem->what)};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
