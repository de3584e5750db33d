/*
 * assignment.c
 *	  What a performer does with an assignment: extend, return, submit.
 *
 * Each act is one conditional update of the assignment's row, so that of two
 * sessions, or of a performer and the conductor that ends his lease, one wins.
 * When the update finds no row, the row tells what was wrong.
 */
#include "postgres.h"

#include "market/market.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define SUBMIT_MAX 10000

static Statement extend_lease = {
	"UPDATE _taskex.assignment_%p SET lease_until = lease_until + $4"
	" WHERE assignment_id = $1 AND performer_id = $2 AND state = 'accepted' AND lease_until > $3"
	" RETURNING lease_until",
	4, {INT8OID, INT8OID, TIMESTAMPTZOID, INTERVALOID}
};

static Statement return_lease = {
	"UPDATE _taskex.assignment_%p SET state = 'returned', finished_at = $3"
	" WHERE assignment_id = $1 AND performer_id = $2 AND state = 'accepted' AND lease_until > $3"
	" RETURNING task_id, task_type_id, requester_id",
	3, {INT8OID, INT8OID, TIMESTAMPTZOID}
};

static Statement submit = {
	"UPDATE _taskex.assignment_%p SET state = 'submitted', finished_at = $3"
	" WHERE assignment_id = $1 AND performer_id = $2 AND state = 'accepted' AND lease_until > $3"
	" AND lease_token = coalesce($4, lease_token)"
	" RETURNING task_id, task_type_id, requester_id",
	4, {INT8OID, INT8OID, TIMESTAMPTZOID, INT8OID}
};

static Statement select_assignment = {
	"SELECT state, lease_until, lease_token FROM _taskex.assignment_%p"
	" WHERE assignment_id = $1 AND performer_id = $2",
	2, {INT8OID, INT8OID}
};

static Statement insert_result = {
	"INSERT INTO _taskex.result_%p (partition_id, assignment_id, task_id, task_type_id, requester_id,"
	" performer_id, submitted_at, auto_approve_at, result)"
	" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
	9, {INT4OID, INT8OID, INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID, TIMESTAMPTZOID, JSONBOID}
};

/* says why the assignment could not be changed; does not return */
static void
report(const UserHome *performer, int64 assignment_id, TimestampTz now, int64 token, bool check_token)
{
	Datum		values[2] = {Int64GetDatum(assignment_id), Int64GetDatum(performer->user_id)};
	char	   *state;
	TimestampTz until;
	bool		isnull;

	if (spi_run(&select_assignment, performer->partition, values, NULL, SPI_VIEW_CURRENT, 1) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_TX_UNKNOWN_ASSIGNMENT),
				 errmsg("the performer has no assignment %lld", (long long) assignment_id)));
	state = TextDatumGetCString(spi_value(0, 1, &isnull));
	until = DatumGetTimestampTz(spi_value(0, 2, &isnull));
	if (strcmp(state, "abandoned") == 0 || (strcmp(state, "accepted") == 0 && until <= now))
		ereport(ERROR,
				(errcode(ERRCODE_TX_LEASE_EXPIRED),
				 errmsg("the lease on assignment %lld has expired", (long long) assignment_id),
				 errdetail("It ended at %s.", timestamptz_to_str(until)),
				 errhint("taskex.extend_assignment() makes a lease longer before it ends.")));
	if (strcmp(state, "accepted") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_TX_WRONG_STATE),
				 errmsg("assignment %lld is not under way", (long long) assignment_id),
				 errdetail("Its state is \"%s\".", state)));
	if (check_token && token != spi_int64(0, 3))
		ereport(ERROR,
				(errcode(ERRCODE_TX_STALE_TOKEN),
				 errmsg("the lease token for assignment %lld is not valid", (long long) assignment_id),
				 errdetail("Another lease has taken its place, or it never was one.")));

	/* it changed between the update and this look */
	ereport(ERROR,
			(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
			 errmsg("could not serialize access to assignment %lld", (long long) assignment_id),
			 errhint("Retry the transaction.")));
}

PG_FUNCTION_INFO_V1(taskex_extend_assignment);

Datum
taskex_extend_assignment(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"performer", "assignment_id", "by", NULL};
	UserHome	performer;
	TimestampTz now = clock_now();
	TimestampTz until;
	SpiScope	scope;
	bool		isnull;
	Datum		values[4];

	require_args(fcinfo, names);
	directory_actor(PG_GETARG_TEXT_PP(0), &performer);
	check_interval(PG_GETARG_INTERVAL_P(2), "by", 1000, 366);
	values[0] = PG_GETARG_DATUM(1);
	values[1] = Int64GetDatum(performer.user_id);
	values[2] = TimestampTzGetDatum(now);
	values[3] = PG_GETARG_DATUM(2);

	spi_begin(&scope);
	wait_point("extend");
	if (spi_run(&extend_lease, performer.partition, values, NULL, SPI_VIEW_CURRENT, 0) == 0)
		report(&performer, PG_GETARG_INT64(1), now, 0, false);
	until = DatumGetTimestampTz(spi_value(0, 1, &isnull));
	due_note(performer.partition, DUE_LEASE, until);
	spi_end(&scope);
	PG_RETURN_TIMESTAMPTZ(until);
}

PG_FUNCTION_INFO_V1(taskex_return_assignment);

Datum
taskex_return_assignment(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"performer", "assignment_id", NULL};
	UserHome	performer;
	TimestampTz now = clock_now();
	FreedSlot	slot;
	SpiScope	scope;
	Datum		values[3];

	require_args(fcinfo, names);
	directory_actor(PG_GETARG_TEXT_PP(0), &performer);
	values[0] = PG_GETARG_DATUM(1);
	values[1] = Int64GetDatum(performer.user_id);
	values[2] = TimestampTzGetDatum(now);

	spi_begin(&scope);
	wait_point("return");
	if (spi_run(&return_lease, performer.partition, values, NULL, SPI_VIEW_CURRENT, 0) == 0)
		report(&performer, PG_GETARG_INT64(1), now, 0, false);
	slot.task_id = spi_int64(0, 1);
	slot.task_type = spi_int64(0, 2);
	directory_home_by_id(spi_int64(0, 3), &slot.requester);
	slot_free(&slot);
	spi_end(&scope);
	PG_RETURN_VOID();
}

/* one result; token is checked unless null */
static void
submit_one(const UserHome *performer, int64 assignment_id, Datum result,
		   int64 token, bool token_null, TimestampTz now)
{
	Datum		values[4] = {Int64GetDatum(assignment_id), Int64GetDatum(performer->user_id),
	TimestampTzGetDatum(now), Int64GetDatum(token)};
	char		nulls[4] = {' ', ' ', ' ', token_null ? 'n' : ' '};
	int64		task_id;
	int64		task_type;
	UserHome	requester;
	TimestampTz approve_at;

	wait_point("submit");
	if (spi_run(&submit, performer->partition, values, nulls, SPI_VIEW_CURRENT, 0) == 0)
		report(performer, assignment_id, now, token, !token_null);
	task_id = spi_int64(0, 1);
	task_type = spi_int64(0, 2);
	directory_home_by_id(spi_int64(0, 3), &requester);
	approve_at = after_interval(now, &task_type_get(task_type)->auto_approve);
	{
		Datum		row[9] = {Int32GetDatum(requester.partition), Int64GetDatum(assignment_id),
			Int64GetDatum(task_id), Int64GetDatum(task_type), Int64GetDatum(requester.user_id),
			Int64GetDatum(performer->user_id), TimestampTzGetDatum(now),
		TimestampTzGetDatum(approve_at), result};

		spi_run(&insert_result, requester.partition, row, NULL, SPI_VIEW_CURRENT, 0);
	}
	due_note(requester.partition, DUE_REVIEW, approve_at);
}

PG_FUNCTION_INFO_V1(taskex_submit_assignment);

Datum
taskex_submit_assignment(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"performer", "assignment_id", "result", NULL};
	UserHome	performer;
	SpiScope	scope;

	require_args(fcinfo, names);
	directory_actor(PG_GETARG_TEXT_PP(0), &performer);
	check_json_size(PG_GETARG_DATUM(2), "result");

	spi_begin(&scope);
	submit_one(&performer, PG_GETARG_INT64(1), PG_GETARG_DATUM(2),
			   PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3), PG_ARGISNULL(3), clock_now());
	spi_end(&scope);
	PG_RETURN_VOID();
}

static int
compare_ids(const void *a, const void *b)
{
	int64		x = DatumGetInt64(*(const Datum *) a);
	int64		y = DatumGetInt64(*(const Datum *) b);

	return x < y ? -1 : x > y;
}

PG_FUNCTION_INFO_V1(taskex_submit_assignments);

Datum
taskex_submit_assignments(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"performer", "assignment_ids", "results", NULL};
	UserHome	performer;
	Datum	   *ids;
	Datum	   *results;
	bool	   *id_nulls;
	bool	   *result_nulls;
	int			count;
	int			result_count;
	Datum	   *pairs;
	TimestampTz now = clock_now();
	SpiScope	scope;

	require_args(fcinfo, names);
	directory_actor(PG_GETARG_TEXT_PP(0), &performer);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), INT8OID, 8, true, TYPALIGN_DOUBLE, &ids, &id_nulls, &count);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), JSONBOID, -1, false, TYPALIGN_INT,
					  &results, &result_nulls, &result_count);
	if (count != result_count)
		ereport(ERROR,
				(errcode(ERRCODE_ARRAY_SUBSCRIPT_ERROR),
				 errmsg("assignment_ids and results must have the same length"),
				 errdetail("There are %d ids and %d results.", count, result_count)));
	if (count > SUBMIT_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("too many results: %d", count),
				 errhint("Submit at most %d results with one call.", SUBMIT_MAX)));

	pairs = palloc(sizeof(Datum) * 2 * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		if (id_nulls[i] || result_nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("assignment_ids and results must not contain nulls"),
					 errdetail("Element %d is null.", i + 1)));
		check_json_size(results[i], "result");
		pairs[2 * i] = ids[i];
		pairs[2 * i + 1] = results[i];
	}
	/* rows are locked in the order of their ids, as by everybody else */
	qsort(pairs, count, sizeof(Datum) * 2, compare_ids);

	spi_begin(&scope);
	for (int i = 0; i < count; i++)
		submit_one(&performer, DatumGetInt64(pairs[2 * i]), pairs[2 * i + 1], 0, true, now);
	spi_end(&scope);
	PG_RETURN_INT32(count);
}
