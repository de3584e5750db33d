/*
 * task.c
 *	  Supplying tasks, and closing them.
 */
#include "postgres.h"

#include "market/market.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "directory/meter.h"
#include "directory/moves.h"
#include "infra/ids.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "journal/journal.h"
#include "ledger/ledger.h"
#include "market/consensus.h"
#include "market/match.h"
#include "market/rows.h"
#include "market/source.h"
#include "qualification/requirement.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"

#define KEY_MAX 255
#define ANNOTATION_MAX 1024

static Statement insert_tasks = {
	"INSERT INTO _taskex.task_%p (partition_id, performers, task_id, task_type_id, requester_id,"
	" reward, fee, created_at, expires_at, consensus, input, min_performers, wanted, target, annotation)"
	" SELECT $1, $2, $3 + (n - 1) * 1024, $4, $5, $6, $7, $8, $9, $10, input, $12, $15, $13, $14"
	" FROM unnest($11) WITH ORDINALITY AS u (input, n)",
	15, {INT4OID, INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTOID, JSONBARRAYOID, INT4OID, FLOAT8OID, TEXTOID, INT4OID}
};

static Statement insert_golden_tasks = {
	"INSERT INTO _taskex.task_%p (partition_id, performers, task_id, task_type_id, requester_id,"
	" reward, fee, created_at, expires_at, input, known_answer, match, annotation)"
	" SELECT $1, $2, $3 + (n - 1) * 1024, $4, $5, $6, $7, $8, $9, input, known_answer, $12, $13"
	" FROM unnest($10, $11) WITH ORDINALITY AS u (input, known_answer, n)",
	13, {INT4OID, INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID,
	TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBARRAYOID, JSONBARRAYOID, JSONBOID, TEXTOID}
};

StaticAssertDecl(TASK_ID_STEP == 1024, "insert_tasks spells out TASK_ID_STEP");

static Statement insert_supply = {
	"INSERT INTO _taskex.supply_%p (partition_id, task_count, requester_id, first_task_id,"
	" idempotency_key, request_hash) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
	6, {INT4OID, INT4OID, INT8OID, INT8OID, TEXTOID, BYTEAOID}
};

static Statement select_supply = {
	"SELECT first_task_id, request_hash FROM _taskex.supply_%p"
	" WHERE requester_id = $1 AND idempotency_key = $2",
	2, {INT8OID, TEXTOID}
};

/* an open task's unused slots are given up with its closing */
static Statement close_task = {
	"UPDATE _taskex.task_%p SET state = $2, released = released + performers - live"
	" WHERE task_id = $1 AND state = 'open' AND requester_id = $3 AND expires_at <= $4"
	" RETURNING (reward + fee) * (performers - live), task_type_id, performers - live",
	4, {INT8OID, TEXTOID, INT8OID, TIMESTAMPTZOID}
};

static Statement select_task_state = {
	"SELECT state FROM _taskex.task_%p WHERE task_id = $1 AND requester_id = $2",
	2, {INT8OID, INT8OID}
};

/* what a call of create_task or create_tasks asks for */
typedef struct Request
{
	UserHome	requester;
	const TaskType *type;
	Datum		inputs;			/* jsonb, or jsonb[] if bulk */
	bool		bulk;
	int32		count;
	int32		performers;
	Interval   *expires_in;
	text	   *consensus;		/* or NULL */
	text	   *key;			/* or NULL */
	int32		min_performers; /* 0: plurality is not dynamic */
	int32		wanted;			/* slots to be offered at first, if it is */
	float8		target;			/* of the consensus; 0: none given */
	text	   *annotation;		/* or NULL */
	bool		golden;
	Datum		known_answers;	/* of golden tasks: jsonb, or jsonb[] if bulk */
	Jsonb	   *match;			/* or NULL */
} Request;

/* checks all inputs and counts them */
static int32
check_inputs(ArrayType *inputs)
{
	Datum	   *values;
	bool	   *nulls;
	int			count;

	if (ARR_NDIM(inputs) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("inputs must be a one-dimensional array")));
	deconstruct_array(inputs, JSONBOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	if (count > IDS_MAX_COUNT)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many inputs: %d", count),
				 errhint("Supply at most %d tasks with one call.", IDS_MAX_COUNT)));
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("inputs must not contain nulls"),
					 errdetail("Element %d is null.", i + 1)));
		check_json_size(values[i], "input");
	}
	pfree(values);
	pfree(nulls);
	return count;
}

/* what golden tasks and others have in common */
static void
check_request(const Request *request)
{
	if (request->performers < 1 || request->performers > PERFORMERS_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("performers must be between 1 and %d", PERFORMERS_MAX)));
	check_interval(request->expires_in, "expires_in", 1000, 3660);
	if (request->annotation && VARSIZE_ANY_EXHDR(request->annotation) > ANNOTATION_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("annotation must have at most %d bytes", ANNOTATION_MAX)));
}

static void
read_plurality(FunctionCallInfo fcinfo, Request *request)
{
	ConsensusWish wish = {request->consensus, request->performers,
		PG_ARGISNULL(7) ? 0 : PG_GETARG_INT32(7),
	PG_ARGISNULL(8) ? 0 : PG_GETARG_FLOAT8(8)};

	if (!PG_ARGISNULL(7) && wish.min_performers == 0)
		wish.min_performers = -1;	/* not the same as NULL */
	if (!PG_ARGISNULL(8) && wish.target == 0)
		wish.target = -1;
	consensus_check(&wish);
	request->min_performers = wish.min_performers;
	request->wanted = wish.wanted;
	request->target = wish.target;
}

static void
read_request(FunctionCallInfo fcinfo, Request *request, bool bulk)
{
	static const char *const names[] = {"requester", "task_type", "input", "performers", "expires_in", NULL};
	static const char *const bulk_names[] = {"requester", "task_type", "inputs", "performers", "expires_in", NULL};

	require_args(fcinfo, bulk ? bulk_names : names);
	PreventCommandIfReadOnly(bulk ? "create_tasks()" : "create_task()");
	directory_actor(PG_GETARG_TEXT_PP(0), &request->requester);
	request->type = task_type_get(PG_GETARG_INT64(1));
	request->bulk = bulk;
	if (bulk)
	{
		request->inputs = PointerGetDatum(PG_GETARG_ARRAYTYPE_P(2));
		request->count = check_inputs(DatumGetArrayTypeP(request->inputs));
	}
	else
	{
		request->inputs = PointerGetDatum(PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(2)));
		request->count = 1;
		check_json_size(request->inputs, "input");
	}
	request->performers = PG_GETARG_INT32(3);
	request->expires_in = PG_GETARG_INTERVAL_P(4);
	request->consensus = PG_ARGISNULL(5) ? NULL : PG_GETARG_TEXT_PP(5);
	request->key = PG_ARGISNULL(6) ? NULL : PG_GETARG_TEXT_PP(6);
	request->annotation = PG_ARGISNULL(9) ? NULL : PG_GETARG_TEXT_PP(9);
	request->golden = false;
	request->known_answers = PointerGetDatum(NULL);
	request->match = NULL;
	check_request(request);
	read_plurality(fcinfo, request);
}

/* one known answer for each input */
static void
check_known_answers(const Request *request)
{
	ArrayType  *array = DatumGetArrayTypeP(request->known_answers);
	Datum	   *values;
	bool	   *nulls;
	int			count;

	if (ARR_NDIM(array) > 1)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("known_answers must be a one-dimensional array")));
	deconstruct_array(array, JSONBOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	if (count != request->count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("inputs and known_answers must have the same length"),
				 errdetail("There are %d inputs and %d known answers.", request->count, count)));
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("known_answers must not contain nulls"),
					 errdetail("Element %d is null.", i + 1)));
		check_json_size(values[i], "known_answer");
		match_check(request->type, request->match, DatumGetJsonbP(values[i]));
	}
}

/*
 * create_golden_task(s)(requester, task_type, input(s), known_answer(s), performers, expires_in,
 * idempotency_key, annotation, match)
 */
static void
read_golden_request(FunctionCallInfo fcinfo, Request *request, bool bulk)
{
	static const char *const names[] = {"requester", "task_type", "input", "known_answer", "performers",
	"expires_in", NULL};
	static const char *const bulk_names[] = {"requester", "task_type", "inputs", "known_answers", "performers",
	"expires_in", NULL};

	memset(request, 0, sizeof(Request));
	require_args(fcinfo, bulk ? bulk_names : names);
	PreventCommandIfReadOnly(bulk ? "create_golden_tasks()" : "create_golden_task()");
	directory_actor(PG_GETARG_TEXT_PP(0), &request->requester);
	request->type = task_type_get(PG_GETARG_INT64(1));
	request->golden = true;
	request->bulk = bulk;
	request->match = PG_ARGISNULL(8) ? NULL : PG_GETARG_JSONB_P(8);
	if (request->match)
		check_json_size(PG_GETARG_DATUM(8), "match");
	if (bulk)
	{
		request->inputs = PointerGetDatum(PG_GETARG_ARRAYTYPE_P(2));
		request->count = check_inputs(DatumGetArrayTypeP(request->inputs));
		request->known_answers = PointerGetDatum(PG_GETARG_ARRAYTYPE_P(3));
		check_known_answers(request);
	}
	else
	{
		request->inputs = PointerGetDatum(PG_DETOAST_DATUM_PACKED(PG_GETARG_DATUM(2)));
		request->count = 1;
		check_json_size(request->inputs, "input");
		check_json_size(PG_GETARG_DATUM(3), "known_answer");
		request->known_answers = PointerGetDatum(PG_GETARG_JSONB_P(3));
		match_check(request->type, request->match, PG_GETARG_JSONB_P(3));
	}
	request->performers = PG_GETARG_INT32(4);
	request->expires_in = PG_GETARG_INTERVAL_P(5);
	request->key = PG_ARGISNULL(6) ? NULL : PG_GETARG_TEXT_PP(6);
	request->annotation = PG_ARGISNULL(7) ? NULL : PG_GETARG_TEXT_PP(7);
	check_request(request);
}

/* what all the tasks cost; raises amount_out_of_range */
static int64
total_of(const Request *request, int64 fee)
{
	int64		each;

	if (pg_add_s64_overflow(request->type->reward, fee, &each))
		each = PG_INT64_MAX;	/* for ledger_multiply to refuse */
	return ledger_multiply(ledger_multiply(each, request->performers, "total reward"),
						   request->count, "total reward");
}

static bytea *
hash_of(const Request *request)
{
	const text *texts[2] = {request->consensus, request->annotation};
	const void *known = DatumGetPointer(request->known_answers);
	const Jsonb *match = request->match;
	const void *data[10] = {&request->type->task_type, &request->performers,
		request->expires_in, VARDATA_ANY(DatumGetPointer(request->inputs)),
	&request->min_performers, &request->target, "", "", known ? VARDATA_ANY(known) : "", match ? VARDATA_ANY(match) : ""};
	Size		sizes[10] = {sizeof(int64), sizeof(int32), sizeof(Interval),
		VARSIZE_ANY_EXHDR(DatumGetPointer(request->inputs)),
	sizeof(int32), sizeof(float8), 0, 0, known ? VARSIZE_ANY_EXHDR(known) : 0, match ? VARSIZE_ANY_EXHDR(match) : 0};

	for (int i = 0; i < 2; i++)
		if (texts[i])
		{
			data[6 + i] = VARDATA_ANY(texts[i]);
			sizes[6 + i] = VARSIZE_ANY_EXHDR(texts[i]);
		}
	return request_hash(data, sizes, 10);
}

/* the first task that a key, used before, stands for */
static int64
task_of_key(const UserHome *requester, const text *key, Datum *look, const bytea *hash)
{
	bytea	   *old;
	bool		isnull;

	if (spi_run(&select_supply, requester->partition, look, NULL, SPI_VIEW_CURRENT, 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("could not serialize access due to concurrent use of an idempotency key"),
				 errhint("Retry the transaction.")));
	old = DatumGetByteaPP(spi_value(0, 2, &isnull));
	if (VARSIZE_ANY_EXHDR(old) != VARSIZE_ANY_EXHDR(hash) ||
		memcmp(VARDATA_ANY(old), VARDATA_ANY(hash), VARSIZE_ANY_EXHDR(hash)) != 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_IDEMPOTENCY_MISMATCH),
				 errmsg("idempotency key \"%s\" was used with other arguments", text_to_cstring(key)),
				 errhint("Use a new key for a new request.")));
	return spi_int64(0, 1);
}

bool
supply_key_used(const UserHome *requester, const text *key, const bytea *hash, int32 count, int64 *first)
{
	Datum		values[6] = {Int32GetDatum(requester->partition), Int32GetDatum(count),
		Int64GetDatum(requester->user_id), Int64GetDatum(*first), PointerGetDatum(key),
	PointerGetDatum(hash)};
	Datum		look[2] = {values[2], values[4]};
	SpiScope	scope;
	bool		used;

	if (VARSIZE_ANY_EXHDR(key) == 0 || VARSIZE_ANY_EXHDR(key) > KEY_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("an idempotency key must have between 1 and %d bytes", KEY_MAX)));
	spi_begin(&scope);
	wait_point("idempotency_key");
	used = spi_run(&insert_supply, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0) == 0;
	if (used)
		*first = task_of_key(requester, key, look, hash);
	spi_end(&scope);
	return used;
}

/* of golden tasks the negative type, so that they are on shelves of their own */
static int64
shelf_type(const Request *request)
{
	return request->golden ? -request->type->task_type : request->type->task_type;
}

static void
insert_golden_rows(const Request *request, int64 first, int64 fee, TimestampTz now, TimestampTz expires)
{
	const UserHome *requester = &request->requester;
	Datum		values[13] = {Int32GetDatum(requester->partition), Int32GetDatum(request->performers),
		Int64GetDatum(first), Int64GetDatum(shelf_type(request)), Int64GetDatum(requester->user_id),
		Int64GetDatum(request->type->reward), Int64GetDatum(fee), TimestampTzGetDatum(now),
		TimestampTzGetDatum(expires), request->inputs, request->known_answers,
	PointerGetDatum(request->match), PointerGetDatum(request->annotation)};
	char		nulls[13] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ',
	request->match ? ' ' : 'n', request->annotation ? ' ' : 'n'};
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&insert_golden_tasks, requester->partition, values, nulls, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

/* the tasks' rows: one directly, many with one statement */
static void
insert_rows(const Request *request, int64 first, int64 fee, TimestampTz now, TimestampTz expires)
{
	const UserHome *requester = &request->requester;

	if (request->bulk && request->golden)
		insert_golden_rows(request, first, fee, now, expires);
	else if (request->bulk)
	{
		Datum		values[15] = {Int32GetDatum(requester->partition), Int32GetDatum(request->performers),
			Int64GetDatum(first), Int64GetDatum(request->type->task_type),
			Int64GetDatum(requester->user_id), Int64GetDatum(request->type->reward),
			Int64GetDatum(fee), TimestampTzGetDatum(now), TimestampTzGetDatum(expires),
			PointerGetDatum(request->consensus), request->inputs,
			Int32GetDatum(request->min_performers), Float8GetDatum(request->target),
		PointerGetDatum(request->annotation), Int32GetDatum(request->wanted)};
		char		nulls[15] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', request->consensus ? ' ' : 'n', ' ',
			request->min_performers ? ' ' : 'n', request->target != 0 ? ' ' : 'n', request->annotation ? ' ' : 'n',
		request->wanted ? ' ' : 'n'};

		SpiScope	scope;

		spi_begin(&scope);
		spi_run(&insert_tasks, requester->partition, values, nulls, SPI_VIEW_CURRENT, 0);
		spi_end(&scope);
	}
	else
	{
		Child		tasks;
		Datum		row[TASK_COLUMNS] = {0};
		bool		nulls[TASK_COLUMNS] = {false};

		row[TASK_PARTITION_ID - 1] = Int32GetDatum(requester->partition);
		row[TASK_PERFORMERS - 1] = Int32GetDatum(request->performers);
		row[TASK_TASK_ID - 1] = Int64GetDatum(first);
		row[TASK_TASK_TYPE_ID - 1] = Int64GetDatum(shelf_type(request));
		row[TASK_REQUESTER_ID - 1] = Int64GetDatum(requester->user_id);
		row[TASK_REWARD - 1] = Int64GetDatum(request->type->reward);
		row[TASK_FEE - 1] = Int64GetDatum(fee);
		row[TASK_CREATED_AT - 1] = TimestampTzGetDatum(now);
		row[TASK_EXPIRES_AT - 1] = TimestampTzGetDatum(expires);
		row[TASK_STATE - 1] = CStringGetTextDatum("open");
		row[TASK_CONSENSUS - 1] = PointerGetDatum(request->consensus);
		nulls[TASK_CONSENSUS - 1] = request->consensus == NULL;
		row[TASK_INPUT - 1] = request->inputs;
		row[TASK_MIN_PERFORMERS - 1] = Int32GetDatum(request->min_performers);
		nulls[TASK_MIN_PERFORMERS - 1] = request->min_performers == 0;
		row[TASK_WANTED - 1] = Int32GetDatum(request->wanted);
		nulls[TASK_WANTED - 1] = request->wanted == 0;
		row[TASK_TARGET - 1] = Float8GetDatum(request->target);
		nulls[TASK_TARGET - 1] = request->target == 0;
		nulls[TASK_CONFIDENCE - 1] = true;
		nulls[TASK_ANSWER - 1] = true;
		nulls[TASK_TALLY - 1] = true;
		row[TASK_KNOWN_ANSWER - 1] = request->known_answers;
		nulls[TASK_KNOWN_ANSWER - 1] = !request->golden;
		row[TASK_MATCH - 1] = PointerGetDatum(request->match);
		nulls[TASK_MATCH - 1] = request->match == NULL;
		row[TASK_ANNOTATION - 1] = PointerGetDatum(request->annotation);
		nulls[TASK_ANNOTATION - 1] = request->annotation == NULL;
		row[TASK_REVIEWING - 1] = BoolGetDatum(false);
		child_open(&tasks, &task_table, requester->partition);
		child_insert(&tasks, row, nulls);
		child_close(&tasks);
	}
	if (request->bulk)
		moves_inserted(requester->user_id, requester->partition, "task", first, request->count, TASK_ID_STEP);
}

static void
journal_supply(const Request *request, int64 first, int64 total)
{
	static const char *const names[4] = {"count", "performers", "last_task_id", "golden"};
	int64		values[4] = {request->count, request->performers,
	first + (int64) (request->count - 1) * TASK_ID_STEP, 1};
	JournalAct	act = {.kind = "created",.requester_id = request->requester.user_id,
		.task_type_id = request->type->task_type,.task_id = first,.amount = total,
	.detail = journal_numbers(shelf_type(request) < 0 ? 4 : 3, names, values)};

	journal_write(&act);
}

/* makes the tasks and returns the first one's id; the others follow by steps */
static int64
supply(const Request *request)
{
	const UserHome *requester = &request->requester;
	int64		fee = ledger_fee(FEE_REWARD, requester->user_id, request->type->task_type,
								 request->performers, request->type->reward);
	int64		total = total_of(request, fee);
	TimestampTz now = clock_now();
	TimestampTz expires = after_interval(now, request->expires_in);
	Shelf	   *shelf = feed_supply_begin(shelf_type(request), requester->partition);
	int64		first = task_id_make(ids_next(ID_TASK, request->count), requester->partition);
	int64		last;

	if (request->key && supply_key_used(requester, request->key, hash_of(request), request->count, &first))
		return first;
	requirements_check_supply(request->type->requirements, requester->user_id);
	last = first + (int64) (request->count - 1) * TASK_ID_STEP;
	ledger_hold(requester, request->type->task_type, total, first, last);
	insert_rows(request, first, fee, now, expires);
	feed_supply(shelf, first, last);
	due_note(requester->partition, DUE_EXPIRY, expires);
	journal_supply(request, first, total);
	return first;
}

METERED(taskex_create_task)
{
	Request		request;

	read_request(fcinfo, &request, false);
	PG_RETURN_INT64(supply(&request));
}

METERED(taskex_create_golden_task)
{
	Request		request;

	read_golden_request(fcinfo, &request, false);
	PG_RETURN_INT64(supply(&request));
}

/* supplies several and returns the set of their ids */
static void
supply_all(FunctionCallInfo fcinfo, const Request *request)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	int64		first;

	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	if (request->count == 0)
		return;
	first = supply(request);
	for (int32 i = 0; i < request->count; i++)
	{
		Datum		value = Int64GetDatum(first + (int64) i * TASK_ID_STEP);
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, &value, &isnull);
	}
}

METERED(taskex_create_tasks)
{
	Request		request;

	read_request(fcinfo, &request, true);
	supply_all(fcinfo, &request);
	return (Datum) 0;
}

METERED(taskex_create_golden_tasks)
{
	Request		request;

	read_golden_request(fcinfo, &request, true);
	supply_all(fcinfo, &request);
	return (Datum) 0;
}

/* ---- closing ---- */

bool
task_close(const UserHome *requester, int64 task_id, const char *state, bool only_due)
{
	Datum		values[4] = {Int64GetDatum(task_id), CStringGetTextDatum(state),
		Int64GetDatum(requester->user_id),
	TimestampTzGetDatum(only_due ? clock_now() : DT_NOEND)};
	JournalAct	act = {.kind = state,.requester_id = requester->user_id,.task_id = task_id};
	SpiScope	scope;
	bool		closed;

	spi_begin(&scope);
	closed = spi_run(&close_task, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0) == 1;
	if (closed)
	{
		int64		amount = spi_int64(0, 1);
		int32		slots = spi_int32(0, 3);

		act.task_type_id = spi_int64(0, 2);
		source_recall_closed(requester, task_id, &slots, &amount);
		act.amount = amount;
		act.detail = journal_slots(slots);
		feed_took(act.task_type_id, requester->partition, task_id, 0);
		if (amount > 0)
			ledger_release(requester, amount, task_id);
		journal_write(&act);
	}
	spi_end(&scope);
	return closed;
}

METERED(taskex_expire_task)
{
	static const char *const names[] = {"requester", "task_id", NULL};
	UserHome	requester;
	int64		task_id;

	require_args(fcinfo, names);
	directory_actor(PG_GETARG_TEXT_PP(0), &requester);
	task_id = PG_GETARG_INT64(1);
	if (!task_close(&requester, task_id, "expired", false))
	{
		Datum		values[2] = {Int64GetDatum(task_id), Int64GetDatum(requester.user_id)};
		SpiScope	scope;
		bool		isnull;

		spi_begin(&scope);
		if (spi_run(&select_task_state, requester.partition, values, NULL, SPI_VIEW_CURRENT, 1) == 0)
			ereport(ERROR,
					(tx_errcode(ERRCODE_TX_UNKNOWN_TASK),
					 errmsg("user \"%s\" has no task %lld",
							text_to_cstring(PG_GETARG_TEXT_PP(0)), (long long) task_id)));
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_WRONG_STATE),
				 errmsg("task %lld is closed already", (long long) task_id),
				 errdetail("Its state is \"%s\".", TextDatumGetCString(spi_value(0, 1, &isnull)))));
	}
	PG_RETURN_VOID();
}
