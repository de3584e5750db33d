/*
 * task_type.c
 *	  Task types: made once for each set of properties, and never changed.
 */
#include "postgres.h"

#include "market/market.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "directory/meter.h"
#include "infra/ids.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "ledger/ledger.h"
#include "qualification/requirement.h"

#include "catalog/pg_type.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#define TITLE_MAX 256
#define DESCRIPTION_MAX 10000
#define KEYWORDS_MAX 100
#define KEYWORD_MAX 100
/*
 * A session knows so many types at most, and what they require takes so much
 * memory at most.  Beyond that it starts anew.
 */
#define KNOWN_TYPES_MAX 32768
#define KNOWN_MEMORY_MAX (64 * 1024 * 1024)

static Statement insert_type = {
	"INSERT INTO _taskex.task_type (task_type_id, reward, lease, auto_approve, title,"
	" description, keywords, properties_hash, created_at, qualifications, result_schema)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING",
	11, {INT8OID, INT8OID, INTERVALOID, INTERVALOID, TEXTOID, TEXTOID, TEXTARRAYOID, BYTEAOID, TIMESTAMPTZOID,
	JSONBOID, JSONBOID}
};

static Statement select_by_hash = {
	"SELECT task_type_id FROM _taskex.task_type WHERE properties_hash = $1",
	1, {BYTEAOID}
};

#define TYPE_COLUMNS "task_type_id, reward, lease, auto_approve, result_schema IS NOT NULL, qualifications," \
	" CASE WHEN jsonb_typeof(result_schema -> 'enum') = 'array' THEN jsonb_array_length(result_schema -> 'enum')" \
	" WHEN result_schema ->> 'type' = 'boolean' THEN 2 ELSE 0 END"

static Statement select_type = {
	"SELECT " TYPE_COLUMNS " FROM _taskex.task_type WHERE task_type_id = $1",
	1, {INT8OID}
};

static Statement select_types = {
	"SELECT " TYPE_COLUMNS " FROM _taskex.task_type WHERE task_type_id = ANY ($1)",
	1, {INT8ARRAYOID}
};

/* ---- intervals ---- */

TimestampTz
after_interval(TimestampTz now, const Interval *interval)
{
	return DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval,
												   TimestampTzGetDatum(now),
												   IntervalPGetDatum(interval)));
}

void
check_interval(const Interval *interval, const char *name, int64 min_usecs, int64 max_days)
{
	/*
	 * A month counts 30 days and a day 24 hours here, as they do when intervals
	 * are compared, but at the lower end the shortest or, to take off, the
	 * longest that there is: the interval leads forward from every date.
	 */
	double		shortest = interval->month > 0 ? 28.0 : 31.0;
	double		shortest_day = interval->day > 0 ? 23.0 / 24.0 : 25.0 / 24.0;
	double		usecs = (double) interval->time +
		((double) interval->day + 30.0 * interval->month) * USECS_PER_DAY;
	double		least = (double) interval->time +
		(shortest_day * interval->day + shortest * interval->month) * USECS_PER_DAY;

	if (least < (double) min_usecs || usecs > (double) max_days * USECS_PER_DAY)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("%s is out of range", name),
				 errdetail("It must be %s and at most %lld days.",
						   min_usecs == 0 ? "0 or more" : "1 millisecond or more",
						   (long long) max_days)));
}

/* ---- what this session knows of types ---- */

static HTAB *known = NULL;
static MemoryContext known_context = NULL;

static void
forget_known(void)
{
	HASHCTL		ctl = {0};

	if (known_context == NULL)
		known_context = AllocSetContextCreate(TopMemoryContext, "taskex task types", ALLOCSET_DEFAULT_SIZES);
	known = NULL;
	MemoryContextReset(known_context);
	ctl.keysize = sizeof(int64);
	ctl.entrysize = sizeof(TaskType);
	ctl.hcxt = known_context;
	known = hash_create("taskex task types", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* takes the type from a row that was read; what it refers to goes into the context */
static void
read_type(TaskType *type, uint64 row, MemoryContext context)
{
	MemoryContext old;
	bool		isnull;
	Jsonb	   *requirements;

	type->task_type = spi_int64(row, 1);
	type->reward = spi_int64(row, 2);
	type->lease = *DatumGetIntervalP(spi_value(row, 3, &isnull));
	type->auto_approve = *DatumGetIntervalP(spi_value(row, 4, &isnull));
	type->has_schema = DatumGetBool(spi_value(row, 5, &isnull));
	requirements = DatumGetJsonbP(spi_value(row, 6, &isnull));
	type->labels = spi_int32(row, 7);
	old = MemoryContextSwitchTo(context);
	type->requirements = requirements_parse(requirements);
	MemoryContextSwitchTo(old);
}

/* remembers the committed type in a row that was read */
static const TaskType *
remember_type(uint64 row)
{
	TaskType	read;
	TaskType   *entry;

	read_type(&read, row, known_context);
	entry = hash_search(known, &read.task_type, HASH_ENTER, NULL);
	*entry = read;
	return entry;
}

/* a type that only this transaction sees, or NULL: it must not be remembered */
static const TaskType *
own_type(Datum value)
{
	static TaskType own;
	static MemoryContext context = NULL;

	if (spi_run(&select_type, 0, &value, NULL, SPI_VIEW_CURRENT, 1) == 0)
		return NULL;
	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "taskex own task type", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	read_type(&own, 0, context);
	return &own;
}

/* makes the table of known types if need be, anew if it is full */
static void
open_known(bool for_more)
{
	static uint32 serial = 0;
	const Realm *realm = realm_current();

	if (unlikely(known == NULL || serial != realm->serial))
	{
		forget_known();
		serial = realm->serial;
	}
	else if (for_more && (hash_get_num_entries(known) >= KNOWN_TYPES_MAX ||
						  MemoryContextMemAllocated(known_context, true) >= KNOWN_MEMORY_MAX))
		forget_known();
}

const TaskType *
task_type_find(int64 task_type)
{
	const TaskType *type;
	SpiScope	scope;
	Datum		value = Int64GetDatum(task_type);

	open_known(false);
	type = hash_search(known, &task_type, HASH_FIND, NULL);
	if (likely(type != NULL))
		return type;

	open_known(true);
	spi_begin(&scope);
	if (spi_run(&select_type, 0, &value, NULL, SPI_VIEW_LATEST, 1) == 1)
		type = remember_type(0);
	else
		type = own_type(value);
	spi_end(&scope);
	return type;
}

bool
task_type_known(int64 task_type)
{
	open_known(false);
	return hash_search(known, &task_type, HASH_FIND, NULL) != NULL;
}

void
task_types_learn(const int64 *task_types, int count)
{
	Datum	   *ids = palloc(count * sizeof(Datum));
	Datum		array;
	SpiScope	scope;
	uint64		found;

	open_known(true);
	for (int i = 0; i < count; i++)
		ids[i] = Int64GetDatum(task_types[i]);
	array = PointerGetDatum(construct_array(ids, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	spi_begin(&scope);
	found = spi_run(&select_types, 0, &array, NULL, SPI_VIEW_LATEST, 0);
	for (uint64 row = 0; row < found; row++)
		remember_type(row);
	spi_end(&scope);
	pfree(ids);
}

const TaskType *
task_type_get(int64 task_type)
{
	const TaskType *type = task_type_find(task_type);

	if (unlikely(type == NULL))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_TASK_TYPE),
				 errmsg("task type %lld does not exist", (long long) task_type),
				 errhint("taskex.create_task_type() makes task types, the view taskex.task_types lists them.")));
	return type;
}

/* ---- making one ---- */

static void
add_field(StringInfo buffer, const void *data, Size size)
{
	appendBinaryStringInfo(buffer, (const char *) &size, sizeof(size));
	appendBinaryStringInfo(buffer, data, size);
}

static void
add_interval(StringInfo buffer, const Interval *interval)
{
	add_field(buffer, &interval->time, sizeof(interval->time));
	add_field(buffer, &interval->day, sizeof(interval->day));
	add_field(buffer, &interval->month, sizeof(interval->month));
}

static bytea *
sha256(StringInfo buffer)
{
	bytea	   *hash = palloc(VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	pg_cryptohash_ctx *context = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(context) < 0 ||
		pg_cryptohash_update(context, (uint8 *) buffer->data, buffer->len) < 0 ||
		pg_cryptohash_final(context, (uint8 *) VARDATA(hash), PG_SHA256_DIGEST_LENGTH) < 0)
		elog(ERROR, "could not compute SHA-256: %s", pg_cryptohash_error(context));
	pg_cryptohash_free(context);
	SET_VARSIZE(hash, VARHDRSZ + PG_SHA256_DIGEST_LENGTH);
	return hash;
}

bytea *
request_hash(const void *const *data, const Size *sizes, int count)
{
	StringInfoData buffer;

	initStringInfo(&buffer);
	for (int i = 0; i < count; i++)
		add_field(&buffer, data[i], sizes[i]);
	return sha256(&buffer);
}

static int
characters(const text *string)
{
	return pg_mbstrlen_with_len(VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
}

static void
check_title(const text *title)
{
	int			length = characters(title);

	if (length < 1 || length > TITLE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("title must have between 1 and %d characters", TITLE_MAX)));
}

static void
check_description(const text *description)
{
	if (characters(description) > DESCRIPTION_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("description must have at most %d characters", DESCRIPTION_MAX)));
}

static void
check_keywords(ArrayType *keywords)
{
	Datum	   *values;
	int			count;

	if (array_contains_nulls(keywords) || ARR_NDIM(keywords) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("keywords must be a one-dimensional array without nulls")));
	if (ArrayGetNItems(ARR_NDIM(keywords), ARR_DIMS(keywords)) > KEYWORDS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there must be at most %d keywords", KEYWORDS_MAX)));
	deconstruct_array(keywords, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &count);
	for (int i = 0; i < count; i++)
		if (characters(DatumGetTextPP(values[i])) > KEYWORD_MAX)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a keyword must have at most %d characters", KEYWORD_MAX),
					 errdetail("Element %d has more.", i + 1)));
	pfree(values);
}

/*
 * create_task_type(requester, title, reward, description, keywords, lease,
 * auto_approve, qualifications, result_schema)
 */
METERED(taskex_create_task_type)
{
	static const char *const names[] = {"requester", "title", "reward", "description",
	"keywords", "lease", "auto_approve", "qualifications", NULL};
	UserHome	requester;
	int64		reward;
	text	   *title;
	text	   *description;
	ArrayType  *keywords;
	Interval   *lease;
	Interval   *auto_approve;
	StringInfoData properties;
	SpiScope	scope;
	int64		id;
	Requirements *requirements;
	Jsonb	   *qualifications;
	Jsonb	   *schema;
	Datum		values[11];
	char		nulls[11];

	require_args(fcinfo, names);
	directory_actor(PG_GETARG_TEXT_PP(0), &requester);
	title = PG_GETARG_TEXT_PP(1);
	check_title(title);
	reward = ledger_nano(PG_GETARG_NUMERIC(2), "reward");
	description = PG_GETARG_TEXT_PP(3);
	check_description(description);
	keywords = PG_GETARG_ARRAYTYPE_P(4);
	check_keywords(keywords);
	lease = PG_GETARG_INTERVAL_P(5);
	check_interval(lease, "lease", 1000, 366);
	auto_approve = PG_GETARG_INTERVAL_P(6);
	check_interval(auto_approve, "auto_approve", 0, 366);
	requirements = requirements_parse(PG_GETARG_JSONB_P(7));
	qualifications = requirements_json(requirements);
	schema = PG_ARGISNULL(8) ? NULL : PG_GETARG_JSONB_P(8);
	if (schema)
	{
		check_json_size(JsonbPGetDatum(schema), "result_schema");
		format_check_schema(schema);
	}

	initStringInfo(&properties);
	add_field(&properties, VARDATA_ANY(title), VARSIZE_ANY_EXHDR(title));
	add_field(&properties, &reward, sizeof(reward));
	add_field(&properties, VARDATA_ANY(description), VARSIZE_ANY_EXHDR(description));
	add_field(&properties, VARDATA(keywords), VARSIZE(keywords) - VARHDRSZ);
	add_interval(&properties, lease);
	add_interval(&properties, auto_approve);
	add_field(&properties, VARDATA(qualifications), VARSIZE(qualifications) - VARHDRSZ);
	add_field(&properties, schema ? VARDATA(schema) : "", schema ? VARSIZE(schema) - VARHDRSZ : 0);
	values[7] = PointerGetDatum(sha256(&properties));

	requirements_check_usable(requirements, requester.user_id);
	spi_begin(&scope);
	if (spi_run(&select_by_hash, 0, &values[7], NULL, SPI_VIEW_CURRENT, 1) == 0)
	{
		values[0] = Int64GetDatum(ids_next(ID_TASK_TYPE, 1));
		values[1] = Int64GetDatum(reward);
		values[2] = IntervalPGetDatum(lease);
		values[3] = IntervalPGetDatum(auto_approve);
		values[4] = PointerGetDatum(title);
		values[5] = PointerGetDatum(description);
		values[6] = PointerGetDatum(keywords);
		values[8] = TimestampTzGetDatum(clock_now());
		values[9] = JsonbPGetDatum(qualifications);
		values[10] = PointerGetDatum(schema);
		memset(nulls, ' ', sizeof(nulls));
		nulls[10] = schema ? ' ' : 'n';
		spi_run(&insert_type, 0, values, nulls, SPI_VIEW_CURRENT, 0);
		if (spi_run(&select_by_hash, 0, &values[7], NULL, SPI_VIEW_CURRENT, 1) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
					 errmsg("could not serialize access due to a concurrent task type"),
					 errhint("Retry the transaction.")));
	}
	id = spi_int64(0, 1);
	spi_end(&scope);
	PG_RETURN_INT64(id);
}
