/*
 * data.c
 *	  What a run's data_ref points to.
 *
 * It is read as the current user, with the rights that he has now.  A query or
 * a table becomes an array of objects, one for each row, a stored object what
 * is in it.
 */
#include "postgres.h"

#include "executor/body.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "workload/options.h"

#include "common/cryptohash.h"
#include "common/sha2.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/regproc.h"
#include "utils/snapmgr.h"
#include "utils/varlena.h"
#include "catalog/namespace.h"

#define ROWS_AT_A_TIME 100

static void
too_large(void)
{
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_DATA_UNAVAILABLE),
			 errmsg("what data_ref points to is too large"),
			 errdetail("The limit is %d kB.", guc_max_input_size),
			 errhint("Let it point to less, or raise taskex.max_input_size.")));
}

static char *
field(Jsonb *data_ref, const char *name)
{
	JsonbValue	value;

	if (!json_field(data_ref, name, &value) || value.type != jbvString)
		return NULL;
	return pnstrdup(value.val.string.val, value.val.string.len);
}

/* ---- rows ---- */

static int
compare_rows(const void *a, const void *b)
{
	return compareJsonbContainers(&(*(Jsonb *const *) a)->root, &(*(Jsonb *const *) b)->root);
}

static Jsonb *
array_of(Jsonb **rows, int count)
{
	JsonbParseState *state = NULL;
	JsonbValue	element;

	(void) pushJsonbValue(&state, WJB_BEGIN_ARRAY, NULL);
	for (int i = 0; i < count; i++)
	{
		JsonbToJsonbValue(rows[i], &element);
		(void) pushJsonbValue(&state, WJB_ELEM, &element);
	}
	return JsonbValueToJsonb(pushJsonbValue(&state, WJB_END_ARRAY, NULL));
}

/* sorted: a table has no order of its own */
static Jsonb *
read_rows(const char *query, bool sorted)
{
	MemoryContext old = CurrentMemoryContext;
	Size		limit = (Size) guc_max_input_size * 1024;
	Size		size = 0;
	int			room = ROWS_AT_A_TIME;
	int			count = 0;
	Jsonb	  **rows = palloc(sizeof(Jsonb *) * room);
	SPIPlanPtr	plan;
	Portal		portal;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	plan = SPI_prepare_cursor(query, 0, NULL, CURSOR_OPT_NO_SCROLL);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	portal = SPI_cursor_open(NULL, plan, NULL, NULL, false);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, ROWS_AT_A_TIME);
		if (SPI_processed == 0)
			break;
		while (count + (int) SPI_processed > room)
			rows = repalloc(rows, sizeof(Jsonb *) * (room *= 2));
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			bool		isnull;
			Datum		value = SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &isnull);
			MemoryContext spi = MemoryContextSwitchTo(old);

			/* a query may close our parenthesis, and go on */
			if (isnull)
				ereport(ERROR,
						(tx_errcode(ERRCODE_TX_DATA_UNAVAILABLE),
						 errmsg("the query of data_ref is more than one query")));
			rows[count] = DatumGetJsonbPCopy(value);
			MemoryContextSwitchTo(spi);
			size += VARSIZE(rows[count++]);
			if (size > limit)
				too_large();
		}
		SPI_freetuptable(SPI_tuptable);
	}
	SPI_cursor_close(portal);
	if (SPI_finish() != SPI_OK_FINISH)
		elog(ERROR, "SPI_finish failed");
	if (sorted)
		qsort(rows, count, sizeof(Jsonb *), compare_rows);
	return array_of(rows, count);
}

static Jsonb *
read_query(const char *query)
{
	return read_rows(rows_of_query(query), false);
}

static Jsonb *
read_table(const char *name)
{
	List	   *names = qualified_name_list(name);
	RangeVar   *range = makeRangeVarFromNameList(names);

	(void) RangeVarGetRelid(range, NoLock, false);
	return read_rows(psprintf("SELECT pg_catalog.to_jsonb(q.*) FROM %s q",
							  quote_qualified_identifier(range->schemaname, range->relname)), true);
}

/* ---- objects ---- */

static Jsonb *
json_of(char *bytes, int length, const char *format)
{
	JsonbValue	string = {.type = jbvString};

	if (strcmp(format, "base64") == 0)
	{
		bytea	   *data = palloc(VARHDRSZ + length);
		char	   *encoded;

		SET_VARSIZE(data, VARHDRSZ + length);
		memcpy(VARDATA(data), bytes, length);
		encoded = text_to_cstring(DatumGetTextPP(DirectFunctionCall2(binary_encode, PointerGetDatum(data), CStringGetTextDatum("base64"))));
		string.val.string.val = encoded;
		string.val.string.len = strlen(encoded);
		return JsonbValueToJsonb(&string);
	}
	if (!pg_verifymbstr(bytes, length, true))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_DATA_UNAVAILABLE),
				 errmsg("the object that data_ref points to is no text"),
				 errhint("Give data_ref the key \"format\" with the value \"base64\".")));
	if (strcmp(format, "text") == 0)
	{
		string.val.string.val = bytes;
		string.val.string.len = length;
		return JsonbValueToJsonb(&string);
	}
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(bytes)));
}

static Jsonb *
read_object(const char *id, const char *format)
{
	int32		limit = guc_max_input_size * 1024;
	Datum		object = DirectFunctionCall1(oidin, CStringGetDatum(id));
	bytea	   *data = DatumGetByteaPP(DirectFunctionCall3(be_lo_get_fragment, object, Int64GetDatum(0), Int32GetDatum(limit + 1)));
	int			length = VARSIZE_ANY_EXHDR(data);
	char	   *bytes;

	if (length > limit)
		too_large();
	bytes = palloc(length + 1);
	memcpy(bytes, VARDATA_ANY(data), length);
	bytes[length] = '\0';
	return json_of(bytes, length, format);
}

/* ---- all of them ---- */

static Jsonb *
read_data(Jsonb *data_ref)
{
	char	   *query = field(data_ref, "query");
	char	   *table = field(data_ref, "table");
	char	   *object = field(data_ref, "object");
	char	   *format = field(data_ref, "format");

	if (query)
		return read_query(query);
	if (table)
		return read_table(table);
	return read_object(object, format ? format : "json");
}

/* sha256 of its text, in hexadecimal digits */
static char *
checksum_of(Jsonb *data)
{
	char	   *text = JsonbToCString(NULL, &data->root, VARSIZE(data));
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	char	   *hex = palloc(2 * sizeof(digest) + 1);
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (context == NULL || pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (uint8 *) text, strlen(text)) < 0 ||
		pg_cryptohash_final(context, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not compute a checksum: %s", pg_cryptohash_error(context));
	pg_cryptohash_free(context);
	for (int i = 0; i < lengthof(digest); i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
	return hex;
}

static void
say_where(void *arg)
{
	errcontext("data of the run");
}

Jsonb *
data_resolve(Jsonb *data_ref)
{
	ErrorContextCallback where = {error_context_stack, say_where, NULL};
	char	   *wanted = field(data_ref, "checksum");
	Jsonb	   *data;

	error_context_stack = &where;
	data = read_data(data_ref);
	if (VARSIZE(data) > (Size) guc_max_input_size * 1024)
		too_large();
	if (wanted)
	{
		char	   *found = checksum_of(data);

		if (strcmp(wanted, found) != 0)
			ereport(ERROR,
					(tx_errcode(ERRCODE_TX_DATA_UNAVAILABLE),
					 errmsg("what data_ref points to has changed"),
					 errdetail("Its checksum is %s, not %s.", found, wanted)));
	}
	error_context_stack = where.previous;
	return data;
}

PG_FUNCTION_INFO_V1(taskex_data_checksum);

/* data_checksum(data_ref) -> text */
Datum
taskex_data_checksum(PG_FUNCTION_ARGS)
{
	Jsonb	   *data_ref;

	require_arg(fcinfo, 0, "data_ref");
	data_ref = PG_GETARG_JSONB_P(0);
	check_data_ref(data_ref);
	PG_RETURN_TEXT_P(cstring_to_text(checksum_of(data_resolve(data_ref))));
}
