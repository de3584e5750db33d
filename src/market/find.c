/*
 * find.c
 *	  What sql/find.sql asks the feed: where something is to be had, what comes
 *	  first there, and from where to read a performer's assignments.
 */
#include "postgres.h"

#include "market/find.h"
#include "base/clock.h"
#include "infra/ids.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "market/eligible.h"
#include "market/market.h"
#include "market/place.h"
#include "market/shelf.h"
#include "market/source.h"

#include "access/transam.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

/* tasks that a glance at a shelf reads, and ranges that it looks into */
#define GLANCE_TASKS 64
#define GLANCE_RANGES 8

/* how far a performer's queue was looked through, kept as places on no shelf */
#define QUEUE_FLOOR 0xC0000000U
#define QUEUE_BARRIER 0xA0000000U
#define QUEUE_OPEN(serial, n) (0xE0000000U | (uint32) (n) << 25 | (serial))

/* open assignments below the floor that are remembered, two in a place */
#define QUEUE_OPEN_MAX 16

/* what is at hand, apart from the shelves */
static SourceGlance
glance_at_hand(int64 performer, int64 task_type, int64 requester)
{
	SourceGlance seen = {.whole = true};

	if (task_source)
		task_source->glance(performer, task_type, requester, &seen);
	return seen;
}

bool
find_is_live(int64 task_type, int64 requester, int64 performer)
{
	UserHome	home;
	bool		idle;

	/* the feed of a standby hears of nothing */
	if (RecoveryInProgress())
		return true;
	directory_seen_home_by_id(requester, &home);
	if (!directory_readable(home.partition))
		return false;
	if (feed_known_shelf(task_type, home.partition, &idle) == NULL)
		return feed_crowded();
	return !idle || glance_at_hand(performer, task_type, requester).slots > 0;
}

PG_FUNCTION_INFO_V1(taskex_shelf_is_live);

/* shelf_is_live(task_type_id, requester_id, performer_id) -> boolean; performer as for TaskSource */
Datum
taskex_shelf_is_live(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(find_is_live(PG_GETARG_INT64(0), PG_GETARG_INT64(1), PG_GETARG_INT64(2)));
}

/* ---- a glance at a shelf ---- */

static Statement select_glance = {
	"SELECT min(task_id) FILTER (WHERE free > 0), coalesce(sum(free), 0)::int8, count(*) FROM"
	" (SELECT task_id, CASE WHEN requester_id = $4 AND state = 'open' AND expires_at > $5"
	" THEN greatest(coalesce(wanted, performers) - live, 0) ELSE 0 END AS free FROM _taskex.task_%p"
	" WHERE task_type_id = $1 AND task_id > $2 AND task_id <= $3 ORDER BY task_id LIMIT 64) t",
	5, {INT8OID, INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID}
};

StaticAssertDecl(GLANCE_TASKS == 64, "select_glance spells out GLANCE_TASKS");

static Statement select_last = {
	"SELECT 1 FROM _taskex.task_%p WHERE task_id = $1 AND task_type_id = $2 AND requester_id = $3"
	" AND state = 'open' AND live < coalesce(wanted, performers) AND expires_at > $4",
	4, {INT8OID, INT8OID, INT8OID, TIMESTAMPTZOID}
};

typedef struct Glance
{
	int64		task_type;
	int32		partition;
	int64		requester;
	TimestampTz now;
	int			windows;		/* after < task_id <= upto */
	int64		after[GLANCE_RANGES + 1];
	int64		upto[GLANCE_RANGES + 1];
	bool		whole;			/* they hold all there is */
	int64		left;			/* tasks that may still be read */
	int64		first;			/* 0: none was seen */
	int64		slots;
} Glance;

/* a window that meets one before it would be counted twice */
static void
add_window(Glance *glance, int64 after, int64 upto)
{
	for (int n = 0; n < glance->windows; n++)
		if (after < glance->upto[n] && glance->after[n] < upto)
			glance->whole = false;
	glance->after[glance->windows] = after;
	glance->upto[glance->windows++] = upto;
}

/* reads where the shelf begins and ends, if nobody has yet */
static void
load(Shelf *shelf, int64 task_type)
{
	if (likely(shelf->loaded) || !shelf_pin_ours(shelf, task_type))
		return;
	PG_TRY();
	{
		shelf_load(shelf);
	}
	PG_FINALLY();
	{
		shelf_unpin(shelf);
	}
	PG_END_TRY();
}

/* the windows in which there are tasks to be had */
static void
find_windows(Glance *glance)
{
	bool		idle;
	Shelf	   *shelf = feed_known_shelf(glance->task_type, glance->partition, &idle);

	if (shelf == NULL || RecoveryInProgress())
		return;
	load(shelf, glance->task_type);
	SpinLockAcquire(&shelf->mutex);
	if (shelf->key.task_type == glance->task_type && shelf->key.partition == glance->partition &&
		shelf->loaded)
	{
		glance->whole = shelf->open_ranges < GLANCE_RANGES && shelf->busy_count == 0;
		for (int i = 0; i < SHELF_RANGES && glance->windows < GLANCE_RANGES; i++)
			if (shelf->ranges[i].hi != 0 && shelf->ranges[i].lo <= shelf->low)
				add_window(glance, shelf->ranges[i].lo - 1, Min(shelf->ranges[i].hi, shelf->low));
		add_window(glance, shelf->low, shelf->high);
	}
	SpinLockRelease(&shelf->mutex);
}

/* adds what is in the window */
static void
read_window(Glance *glance, int n)
{
	Datum		values[5] = {Int64GetDatum(glance->task_type), Int64GetDatum(glance->after[n]),
		Int64GetDatum(glance->upto[n]), Int64GetDatum(glance->requester),
	TimestampTzGetDatum(glance->now)};
	int64		rows;
	bool		isnull;
	Datum		first;

	spi_run(&select_glance, glance->partition, values, NULL, SPI_VIEW_LATEST, 1);
	first = spi_value(0, 1, &isnull);
	if (!isnull && (glance->first == 0 || DatumGetInt64(first) < glance->first))
		glance->first = DatumGetInt64(first);
	glance->slots += spi_int64(0, 2);
	rows = spi_int64(0, 3);
	if (rows == GLANCE_TASKS || rows > glance->left)
		glance->whole = false;
	glance->left -= rows;
}

PG_FUNCTION_INFO_V1(taskex_glance);

/* glance(task_type_id, requester_id, last_task_id, performer_id) -> (task_id, slots, exact) */
Datum
taskex_glance(PG_FUNCTION_ARGS)
{
	Glance		glance = {.task_type = PG_GETARG_INT64(0),.requester = PG_GETARG_INT64(1),
	.now = clock_now(),.left = GLANCE_TASKS};
	int64		last = PG_GETARG_INT64(2);
	int64		performer = PG_GETARG_INT64(3);
	UserHome	home;
	bool		readable;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};
	SpiScope	scope;

	directory_seen_home_by_id(glance.requester, &home);
	glance.partition = home.partition;
	readable = directory_readable(home.partition);
	if (readable)
		find_windows(&glance);
	spi_begin(&scope);
	for (int n = 0; n < glance.windows && glance.left > 0; n++)
		read_window(&glance, n);
	if (glance.first == 0 && !glance.whole && readable)
	{
		Datum		look[4] = {Int64GetDatum(last), Int64GetDatum(glance.task_type),
		Int64GetDatum(glance.requester), TimestampTzGetDatum(glance.now)};

		if (spi_run(&select_last, glance.partition, look, NULL, SPI_VIEW_LATEST, 1) > 0)
			glance.first = last;
	}
	spi_end(&scope);
	if (performer >= 0 && readable && !RecoveryInProgress())
	{
		SourceGlance seen = glance_at_hand(performer, glance.task_type, glance.requester);

		if (seen.first != 0 && (glance.first == 0 || seen.first < glance.first))
			glance.first = seen.first;
		glance.slots += seen.slots;
		glance.whole &= seen.whole;
	}

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = Int64GetDatum(glance.first);
	nulls[0] = glance.first == 0;
	values[1] = Int64GetDatum(glance.slots);
	values[2] = BoolGetDatum(glance.whole);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- a performer's queue ---- */

/*
 * A performer's assignments are read from a floor on: all of them up to it are
 * finished, but for a few that are remembered.  An id is taken by a transaction
 * that has its xid (it has locked the task's row), so when those that were
 * running when the ids up to a barrier had been given out have ended, none up
 * to the barrier will appear any more.
 *
 * The floor's place has the floor, the number of those that are open below it
 * and a hash of their ids.  These are in places of their own, which can be lost,
 * or be of another session's floor: then the hash is another one, and all is
 * read anew.
 */

static uint32
open_hash(const int64 *ids, int count)
{
	return hash_bytes((const unsigned char *) ids, sizeof(int64) * count);
}

/* the floor, and what is open below it */
static int64
read_floor(int64 performer, uint32 serial, int64 *open, int *count)
{
	Place		floor;

	*count = 0;
	if (!place_find(performer, QUEUE_FLOOR | serial, &floor) || floor.seen > QUEUE_OPEN_MAX)
		return 0;
	for (int i = 0; i < (int) floor.seen; i += 2)
	{
		Place		pair;

		if (!place_find(performer, QUEUE_OPEN(serial, i / 2), &pair))
			return 0;
		open[i] = pair.cursor;
		open[i + 1] = (int64) pair.seen;
	}
	if (open_hash(open, (int) floor.seen) != floor.blocks)
		return 0;
	*count = (int) floor.seen;
	return floor.cursor;
}

PG_FUNCTION_INFO_V1(taskex_queue_floor);

/* queue_floor(performer_id) -> (floor, decided, open) */
Datum
taskex_queue_floor(PG_FUNCTION_ARGS)
{
	int64		performer = PG_GETARG_INT64(0);
	uint32		serial = realm_current()->serial;
	int64		open[QUEUE_OPEN_MAX];
	Datum		elements[QUEUE_OPEN_MAX];
	int			count;
	Place		barrier = {0};
	int64		decided = 0;
	TransactionId xmin = GetActiveSnapshot()->xmin;
	TupleDesc	desc;
	Datum		values[3];
	bool		nulls[3] = {false, false, false};

	values[0] = Int64GetDatum(read_floor(performer, serial, open, &count));
	if (!place_find(performer, QUEUE_BARRIER | serial, &barrier) ||
		TransactionIdPrecedesOrEquals(XidFromFullTransactionId(FullTransactionIdFromU64(barrier.seen)), xmin))
	{
		decided = barrier.cursor;
		barrier.cursor = RecoveryInProgress() ? 0 : ids_peek(ID_ASSIGNMENT);
		barrier.seen = U64FromFullTransactionId(ReadNextFullTransactionId());
		place_store(performer, QUEUE_BARRIER | serial, &barrier);
	}
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	for (int i = 0; i < count; i++)
		elements[i] = Int64GetDatum(open[i]);
	values[1] = Int64GetDatum(decided);
	values[2] = PointerGetDatum(construct_array(elements, count, INT8OID, sizeof(int64),
												FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(taskex_queue_seen);

/* queue_seen(performer_id, floor, open), open in order */
Datum
taskex_queue_seen(PG_FUNCTION_ARGS)
{
	int64		performer = PG_GETARG_INT64(0);
	uint32		serial = realm_current()->serial;
	Place		floor = {.cursor = PG_GETARG_INT64(1)};
	int64		open[QUEUE_OPEN_MAX] = {0};
	Datum	   *elements;
	int			count;

	/* what this transaction has finished may yet be open again */
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		PG_RETURN_VOID();
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(2), INT8OID, sizeof(int64),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, NULL, &count);
	if (count > QUEUE_OPEN_MAX)
	{
		count = QUEUE_OPEN_MAX;
		floor.cursor = DatumGetInt64(elements[count]) - 1;
	}
	for (int i = 0; i < count; i++)
		open[i] = DatumGetInt64(elements[i]);
	floor.seen = count;
	floor.blocks = open_hash(open, count);
	for (int i = 0; i < count; i += 2)
	{
		Place		pair = {.cursor = open[i], .seen = (uint64) open[i + 1]};

		place_store(performer, QUEUE_OPEN(serial, i / 2), &pair);
	}
	place_store(performer, QUEUE_FLOOR | serial, &floor);
	PG_RETURN_VOID();
}

/* ---- who may find what ---- */

/* what a call site knows of one performer, as long as its statement runs */
typedef struct Finder
{
	Eligibility eligibility;
	MemoryContext context;
	text	   *location;		/* as if he were there; NULL: as his profile says */
	text	   *device;
} Finder;

static bool
same_text(const text *a, const text *b)
{
	if (a == NULL || b == NULL)
		return a == b;
	return VARSIZE_ANY_EXHDR(a) == VARSIZE_ANY_EXHDR(b) &&
		memcmp(VARDATA_ANY(a), VARDATA_ANY(b), VARSIZE_ANY_EXHDR(a)) == 0;
}

static char *
folded(Subject subject, const text *value)
{
	char	   *string = text_to_cstring(value);

	subject_fold(subject, string);
	return string;
}

/* puts him to another place, with another device, than his profile says */
static void
pretend(Finder *finder)
{
	Eligibility *eligibility = &finder->eligibility;
	Requirement any = {.subject = SUBJECT_LOCATION};

	/* so that the profile is not read later */
	eligibility_value(eligibility, &any);
	if (finder->location)
		eligibility->location = folded(SUBJECT_LOCATION, finder->location);
	if (finder->device)
	{
		eligibility->devices = palloc(sizeof(char *));
		eligibility->devices[0] = folded(SUBJECT_DEVICE, finder->device);
		eligibility->device_count = 1;
	}
}

static Finder *
finder_for(FunctionCallInfo fcinfo, int64 performer_id, text *location, text *device)
{
	Finder	   *finder = fcinfo->flinfo->fn_extra;
	UserHome	performer;
	MemoryContext old;

	if (finder && finder->eligibility.performer.user_id == performer_id &&
		same_text(finder->location, location) && same_text(finder->device, device))
		return finder;
	directory_steady_home_by_id(performer_id, &performer);
	if (finder == NULL)
	{
		finder = MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(Finder));
		finder->context = AllocSetContextCreate(fcinfo->flinfo->fn_mcxt, "taskex finder", ALLOCSET_SMALL_SIZES);
	}
	fcinfo->flinfo->fn_extra = NULL;	/* until it is whole */
	MemoryContextReset(finder->context);
	old = MemoryContextSwitchTo(finder->context);
	eligibility_begin(&finder->eligibility, &performer, clock_now());
	finder->location = location ? DatumGetTextPCopy(PointerGetDatum(location)) : NULL;
	finder->device = device ? DatumGetTextPCopy(PointerGetDatum(device)) : NULL;
	if (location || device)
		pretend(finder);
	MemoryContextSwitchTo(old);
	fcinfo->flinfo->fn_extra = finder;
	return finder;
}

PG_FUNCTION_INFO_V1(taskex_may_find);

/* may_find(performer_id, requester_id, task_type_id, guard, location, device) -> boolean */
Datum
taskex_may_find(PG_FUNCTION_ARGS)
{
	text	   *guard = PG_GETARG_TEXT_PP(3);
	int			act = name_index(guard_names, VARDATA_ANY(guard), VARSIZE_ANY_EXHDR(guard));
	Finder	   *finder = finder_for(fcinfo, PG_GETARG_INT64(0),
									PG_ARGISNULL(4) ? NULL : PG_GETARG_TEXT_PP(4),
									PG_ARGISNULL(5) ? NULL : PG_GETARG_TEXT_PP(5));

	if (act < 0)
		elog(ERROR, "no guard is named \"%s\"", text_to_cstring(guard));
	if (act == GUARD_ACCEPT && eligibility_block(&finder->eligibility, PG_GETARG_INT64(1)))
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(eligible_for_type(&finder->eligibility, PG_GETARG_INT64(2), act));
}

/* the requirement as JSON, with what he has */
static void
append_missing(StringInfo array, Eligibility *eligibility, const Requirement *requirement)
{
	Jsonb	   *json = requirement_json(requirement);
	char	   *value = eligibility_value(eligibility, requirement);

	if (array->len > 1)
		appendStringInfoString(array, ", ");
	JsonbToCString(array, &json->root, VARSIZE(json));
	array->data[--array->len] = '\0';	/* the brace, for one member more */
	appendStringInfoString(array, ", \"has\": ");
	if (value)
		escape_json(array, value);
	else
		appendStringInfoString(array, "null");
	appendStringInfoChar(array, '}');
}

PG_FUNCTION_INFO_V1(taskex_missing);

/* missing(performer_id, requester_id, task_type_id, location, device) -> jsonb */
Datum
taskex_missing(PG_FUNCTION_ARGS)
{
	Finder	   *finder = finder_for(fcinfo, PG_GETARG_INT64(0),
									PG_ARGISNULL(3) ? NULL : PG_GETARG_TEXT_PP(3),
									PG_ARGISNULL(4) ? NULL : PG_GETARG_TEXT_PP(4));
	const Requirements *requirements = task_type_get(PG_GETARG_INT64(2))->requirements;
	const Block *block = eligibility_block(&finder->eligibility, PG_GETARG_INT64(1));
	StringInfoData array;

	initStringInfo(&array);
	appendStringInfoChar(&array, '[');
	if (block)
	{
		appendStringInfoString(&array, "{\"blocked\": ");
		escape_json(&array, block->reason);
		appendStringInfoChar(&array, '}');
	}
	for (int i = 0; requirements && i < requirements->count; i++)
		if (!eligibility_meets_one(&finder->eligibility, &requirements->items[i]))
			append_missing(&array, &finder->eligibility, &requirements->items[i]);
	appendStringInfoChar(&array, ']');
	return DirectFunctionCall1(jsonb_in, CStringGetDatum(array.data));
}

PG_FUNCTION_INFO_V1(taskex_require_preview);

/* require_preview(performer_id, requester_id, task_type_id, task_id) */
Datum
taskex_require_preview(PG_FUNCTION_ARGS)
{
	const TaskType *type = task_type_get(PG_GETARG_INT64(2));
	UserHome	performer;
	Eligibility eligibility;

	directory_steady_home_by_id(PG_GETARG_INT64(0), &performer);
	eligibility_begin(&eligibility, &performer, clock_now());
	eligibility_require_unblocked(&eligibility, PG_GETARG_INT64(1));
	if (type->requirements && !eligibility_meets(&eligibility, type->requirements, GUARD_PREVIEW))
		eligibility_require(&eligibility, type->requirements,
							psprintf("a preview of task %lld", (long long) PG_GETARG_INT64(3)));
	PG_RETURN_VOID();
}
