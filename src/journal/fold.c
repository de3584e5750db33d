/*
 * fold.c
 *	  Summaries: what acts add up to, by performer, requester, task type and day.
 *
 * A consumer of the journal.  Every act of the market passes here, so it is
 * done without the executor and without plans: the acts of a batch are added up
 * in memory, and then each row that changes is changed once, in the order of
 * the keys.  What a batch costs beyond its acts depends on the rows that they
 * change, not on how many users or storage partitions there are.
 *
 * Rows have a version in their key that goes down (README.md, "Summaries").
 */
#include "postgres.h"

#include <math.h>

#include "directory/directory.h"
#include "infra/child.h"
#include "infra/spi.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

/* ---- kinds of acts, as far as they are summed up ---- */

/* what may become of an assignment, each counted */
enum
{
	SUBMITTED,
	APPROVED,
	REJECTED,
	RETURNED,
	ABANDONED,
	OUTCOMES
};

/* what else an act tells */
#define TASKS		0x01		/* detail.count tasks are supplied */
#define SLOTS		0x02		/* detail.performers of each wanted */
#define HELD		0x04		/* the amount was set aside */
#define HELD_AGAIN	0x08		/* detail.held was */
#define REWARD		0x10		/* the amount was paid for a result, with detail.fee */
#define BONUS		0x20		/* the amount was paid besides, with detail.fee */
#define RELEASED	0x40		/* the amount was given back */
#define GIVEN_UP	0x80		/* detail.slots are wanted no more */
#define MOVED		0x100		/* a task with detail.slots, and detail.held for them, was of type detail.from */

typedef struct Kind
{
	const char *name;
	int			outcomes[OUTCOMES];
	int			flags;
} Kind;

static const Kind kinds[] = {
	{"submitted", {[SUBMITTED] = 1}, 0},
	{"approved", {[APPROVED] = 1}, REWARD},
	{"created", {0}, TASKS | SLOTS | HELD},
	{"extended", {0}, SLOTS | HELD},
	{"rejected", {[REJECTED] = 1}, RELEASED},
	{"overridden", {[APPROVED] = 1, [REJECTED] = -1}, REWARD | HELD_AGAIN},
	{"returned", {[RETURNED] = 1}, RELEASED | GIVEN_UP},
	{"abandoned", {[ABANDONED] = 1}, RELEASED | GIVEN_UP},
	{"expired", {0}, RELEASED | GIVEN_UP},
	{"cancelled", {0}, RELEASED | GIVEN_UP},
	{"decided", {0}, RELEASED | GIVEN_UP},
	{"released", {0}, RELEASED},
	{"type_changed", {0}, HELD | HELD_AGAIN | MOVED},
	{"bonus", {0}, BONUS},
	{"paid", {0}, BONUS},
};

static const Kind *
find_kind(const text *name)
{
	Size		length = VARSIZE_ANY_EXHDR(name);

	for (int i = 0; i < lengthof(kinds); i++)
		if (strlen(kinds[i].name) == length && memcmp(kinds[i].name, VARDATA_ANY(name), length) == 0)
			return &kinds[i];
	return NULL;
}

static bool
has_outcome(const Kind *kind)
{
	for (int i = 0; i < OUTCOMES; i++)
		if (kind->outcomes[i] != 0)
			return true;
	return false;
}

/* ---- summaries ---- */

#define KEYS_MAX 3
#define SUMS_MAX 14
#define COLUMNS_MAX 22

/*
 * A table.  Its columns: partition_id, the keys, version, the sums, and then
 * either last_at or rate, rate_at, first_at, last_at.
 */
typedef struct Summary
{
	ChildTable	table;
	int			nkeys;
	int			owner;			/* the key whose partition the row is on */
	int			day;			/* the key that is a date, or -1 */
	int			by_index[KEYS_MAX];	/* the keys in the order of the index */
	int			nsums;
	bool		rated;
} Summary;

/* a row of it, or what is added to one */
typedef struct Delta
{
	int64		keys[KEYS_MAX]; /* the hash key */
	int32		partition;
	int64		sums[SUMS_MAX];
	double		rate;
	TimestampTz rate_at;
	TimestampTz first_at;
	TimestampTz last_at;
} Delta;

static const char *const standing_columns[] = {
	"partition_id", "performer_id", "version", "submitted", "approved", "rejected", "returned",
	"abandoned", "agreed", "compared", "last_at"
};

static const Summary standing = {
	{"standing", lengthof(standing_columns), standing_columns, 1, {{2}}},
	1, 0, -1, {0}, 7, false
};

enum
{
	EARNING_APPROVED,
	EARNING_REWARD,
	EARNING_BONUS
};

static const char *const earning_columns[] = {
	"partition_id", "day", "performer_id", "task_type_id", "version", "approved", "reward", "bonus", "last_at"
};

static const Summary earning = {
	{"earning", lengthof(earning_columns), earning_columns, 1, {{3}}},
	3, 1, 0, {1, 0, 2}, 3, false
};

enum
{
	PROGRESS_TASKS,
	PROGRESS_SLOTS,
	PROGRESS_SUBMITTED,
	PROGRESS_APPROVED,
	PROGRESS_REJECTED,
	PROGRESS_RELEASED_SLOTS,
	PROGRESS_RETURNED,
	PROGRESS_ABANDONED,
	PROGRESS_HELD,
	PROGRESS_PAID,
	PROGRESS_FEES,
	PROGRESS_BONUSES,
	PROGRESS_BONUS_FEES,
	PROGRESS_RELEASED
};

static const char *const progress_columns[COLUMNS_MAX] = {
	"partition_id", "requester_id", "task_type_id", "version", "tasks", "slots", "submitted", "approved",
	"rejected", "released_slots", "returned", "abandoned", "held", "paid", "fees", "bonuses", "bonus_fees",
	"released", "rate", "rate_at", "first_at", "last_at"
};

static const Summary progress = {
	{"progress", lengthof(progress_columns), progress_columns, 1, {{2, 3}}},
	2, 0, -1, {0, 1}, 14, true
};

#define WORKING_PAID OUTCOMES

static const char *const working_columns[] = {
	"partition_id", "requester_id", "performer_id", "version", "submitted", "approved", "rejected",
	"returned", "abandoned", "paid", "last_at"
};

static const Summary working = {
	{"working", lengthof(working_columns), working_columns, 1, {{2, 3}}},
	2, 0, -1, {0, 1}, 6, false
};

/* ---- adding up ---- */

/* Sums stop where they would not be bigints any more: a batch never fails by them. */
#define SUM_MAX INT64CONST(9000000000000000000)

static int64
plus(int64 a, int64 b)
{
	int64		sum;

	if (pg_add_s64_overflow(a, b, &sum))
		return b > 0 ? SUM_MAX : -SUM_MAX;
	return Min(Max(sum, -SUM_MAX), SUM_MAX);
}

static void
add(Delta *delta, int column, int64 value)
{
	delta->sums[column] = plus(delta->sums[column], value);
}

/*
 * What is left of an hourly rate after a time: an exponentially decayed
 * counter, as _taskex.decayed() in SQL.
 */
static double
decayed(double rate, TimestampTz from, TimestampTz upto)
{
	if (rate == 0 || upto <= from)
		return rate;
	if (rate < 1e-200 || upto - from > 100 * USECS_PER_HOUR)
		return 0;
	return rate * exp(-(double) (upto - from) / USECS_PER_HOUR);
}

static void
add_rate(Delta *delta, double rate, TimestampTz at)
{
	TimestampTz newest = Max(delta->rate_at, at);

	delta->rate = decayed(delta->rate, delta->rate_at, newest) + decayed(rate, at, newest);
	delta->rate_at = newest;
}

/* what a batch adds to each table */
typedef struct Fold
{
	HTAB	   *standing;
	HTAB	   *earning;
	HTAB	   *progress;
	HTAB	   *working;
	HTAB	   *offers;
} Fold;

static HTAB *
make_deltas(const Summary *summary)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(int64) * KEYS_MAX;
	ctl.entrysize = sizeof(Delta);
	ctl.hcxt = CurrentMemoryContext;
	return hash_create(summary->table.name, 256, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/* the sums of the keys, or NULL: they are those of a user whom nobody knows */
static Delta *
delta_of(HTAB *deltas, const Summary *summary, TimestampTz at, int64 key0, int64 key1, int64 key2)
{
	int64		keys[KEYS_MAX] = {key0, key1, key2};
	bool		found;
	Delta	   *delta = hash_search(deltas, keys, HASH_ENTER, &found);

	if (!found)
	{
		UserHome	home;

		memset((char *) delta + sizeof(keys), 0, sizeof(Delta) - sizeof(keys));
		delta->partition = directory_find_home_by_id(keys[summary->owner], &home) ? home.partition : 0;
		delta->first_at = delta->last_at = delta->rate_at = at;
	}
	delta->first_at = Min(delta->first_at, at);
	delta->last_at = Max(delta->last_at, at);
	return delta;
}

/* ---- acts ---- */

enum
{
	ACT_ID = 1,
	ACT_XID,
	ACT_AT,
	ACT_REQUESTER_ID,
	ACT_PERFORMER_ID,
	ACT_TASK_TYPE_ID,
	ACT_TASK_ID,
	ACT_ASSIGNMENT_ID,
	ACT_AMOUNT,
	ACT_KIND,
	ACT_DETAIL,
	ACT_COLUMNS = ACT_DETAIL
};

typedef struct Act
{
	const Kind *kind;
	TimestampTz at;
	int64		requester;		/* 0: none */
	int64		performer;
	int64		task_type;
	int64		task;
	int64		amount;
	Jsonb	   *detail;			/* or NULL */
} Act;

static int64
number_of(const Act *act, const char *key, int64 otherwise)
{
	JsonbValue	value;

	if (act->detail == NULL || !JB_ROOT_IS_OBJECT(act->detail) ||
		getKeyJsonValueFromContainer(&act->detail->root, key, strlen(key), &value) == NULL ||
		value.type == jbvNull)
		return otherwise;
	if (value.type != jbvNumeric)
		elog(ERROR, "\"%s\" of an act is not a number", key);
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

/* ---- golden tasks ---- */

/*
 * The journal writes the type of golden tasks as that of others; progress keeps
 * them apart, by the negative type.  Where a requester has supplied some of a
 * type, which progress knows by then, the tasks of the acts are looked up.
 */
typedef struct Offer
{
	int64		keys[2];		/* requester, task type */
	int32		partition;		/* 0: nobody knows the requester */
	bool		golden;			/* may have golden tasks */
} Offer;

static Statement select_golden = {
	"SELECT 1 FROM _taskex.task_%p WHERE task_id = $1 AND task_type_id < 0", 1, {INT8OID}
};

static HTAB *
make_offers(void)
{
	HASHCTL		ctl = {0};

	ctl.keysize = sizeof(int64) * 2;
	ctl.entrysize = sizeof(Offer);
	ctl.hcxt = CurrentMemoryContext;
	return hash_create("taskex offers of a batch", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static bool
had_golden(int32 partition, int64 requester, int64 task_type)
{
	int64		keys[2] = {requester, -task_type};
	Child		child;
	bool		found;

	child_open(&child, &progress.table, partition);
	found = child_find(&child, 0, 2, keys);
	child_close(&child);
	return found;
}

static Offer *
offer_of(Fold *fold, const Act *act)
{
	int64		keys[2] = {act->requester, act->task_type};
	bool		found;
	Offer	   *offer = hash_search(fold->offers, keys, HASH_ENTER, &found);

	if (!found)
	{
		UserHome	home;

		offer->partition = directory_find_home_by_id(act->requester, &home) ? home.partition : 0;
		offer->golden = offer->partition != 0 && had_golden(home.partition, act->requester, act->task_type);
	}
	return offer;
}

/* looks whether an act tells of golden tasks */
static void
note_golden(Fold *fold, const Act *act)
{
	JsonbValue	value;

	if (act->detail != NULL && JB_ROOT_IS_OBJECT(act->detail) && act->requester != 0 && act->task_type != 0 &&
		getKeyJsonValueFromContainer(&act->detail->root, "golden", strlen("golden"), &value) != NULL)
	{
		Offer	   *offer = offer_of(fold, act);

		offer->golden = offer->partition != 0;
	}
}

static bool
is_golden(Fold *fold, const Act *act)
{
	Offer	   *offer;
	Datum		task = Int64GetDatum(act->task);
	SpiScope	scope;
	bool		found;

	if (act->task == 0 || act->task_type == 0)
		return false;
	offer = offer_of(fold, act);
	if (likely(!offer->golden))
		return false;
	spi_begin(&scope);
	found = spi_run(&select_golden, offer->partition, &task, NULL, SPI_VIEW_CURRENT, 1) == 1;
	spi_end(&scope);
	return found;
}

/* ---- adding acts ---- */

static void
add_standing(Fold *fold, const Act *act)
{
	Delta	   *delta = delta_of(fold->standing, &standing, act->at, act->performer, 0, 0);

	for (int i = 0; i < OUTCOMES; i++)
		add(delta, i, act->kind->outcomes[i]);
}

static void
add_earning(Fold *fold, const Act *act)
{
	int64		day = act->at / USECS_PER_DAY - (act->at % USECS_PER_DAY < 0);
	Delta	   *delta = delta_of(fold->earning, &earning, act->at, day, act->performer, act->task_type);

	add(delta, EARNING_APPROVED, act->kind->outcomes[APPROVED]);
	add(delta, act->kind->flags & REWARD ? EARNING_REWARD : EARNING_BONUS, act->amount);
}

static void
add_working(Fold *fold, const Act *act)
{
	Delta	   *delta = delta_of(fold->working, &working, act->at, act->requester, act->performer, 0);

	for (int i = 0; i < OUTCOMES; i++)
		add(delta, i, act->kind->outcomes[i]);
	if (act->kind->flags & (REWARD | BONUS))
		add(delta, WORKING_PAID, act->amount);
}

/* what was counted by the type that a task had goes to its new one */
static void
add_moved(Fold *fold, const Act *act, Delta *to, bool golden)
{
	int64		from = number_of(act, "from", 0);
	int64		slots = number_of(act, "slots", 1);
	Delta	   *left;

	add(to, PROGRESS_TASKS, 1);
	add(to, PROGRESS_SLOTS, slots);
	left = delta_of(fold->progress, &progress, act->at, act->requester, golden ? -from : from, 0);
	add(left, PROGRESS_TASKS, -1);
	add(left, PROGRESS_SLOTS, -slots);
	add(left, PROGRESS_HELD, -number_of(act, "held", 0));
}

/* a golden task may be the first one of its new type */
static bool
moved_golden(Fold *fold, const Act *act)
{
	Act			left = *act;

	left.task_type = number_of(act, "from", 0);
	if (!is_golden(fold, &left))
		return false;
	offer_of(fold, act)->golden = true;
	return true;
}

static void
add_progress(Fold *fold, const Act *act)
{
	static const int columns[OUTCOMES] = {
		PROGRESS_SUBMITTED, PROGRESS_APPROVED, PROGRESS_REJECTED, PROGRESS_RETURNED, PROGRESS_ABANDONED
	};
	int			flags = act->kind->flags;
	bool		golden = is_golden(fold, act) || (flags & MOVED && moved_golden(fold, act));
	int64		task_type = golden ? -act->task_type : act->task_type;
	Delta	   *delta = delta_of(fold->progress, &progress, act->at, act->requester, task_type, 0);

	for (int i = 0; i < OUTCOMES; i++)
		add(delta, columns[i], act->kind->outcomes[i]);
	add_rate(delta, act->kind->outcomes[SUBMITTED], act->at);
	if (flags & TASKS)
		add(delta, PROGRESS_TASKS, number_of(act, "count", 0));
	if (flags & SLOTS)
	{
		int64		slots;

		if (pg_mul_s64_overflow(number_of(act, "performers", 0), number_of(act, "count", 1), &slots))
			slots = SUM_MAX;
		add(delta, PROGRESS_SLOTS, slots);
	}
	if (flags & HELD)
		add(delta, PROGRESS_HELD, act->amount);
	if (flags & HELD_AGAIN)
		add(delta, PROGRESS_HELD, number_of(act, "held", 0));
	if (flags & REWARD)
	{
		add(delta, PROGRESS_PAID, act->amount);
		add(delta, PROGRESS_FEES, number_of(act, "fee", 0));
	}
	if (flags & BONUS)
	{
		add(delta, PROGRESS_BONUSES, act->amount);
		add(delta, PROGRESS_BONUS_FEES, number_of(act, "fee", 0));
	}
	if (flags & RELEASED)
		add(delta, PROGRESS_RELEASED, act->amount);
	if (flags & GIVEN_UP)
		add(delta, PROGRESS_RELEASED_SLOTS, number_of(act, "slots", 0));
	if (flags & MOVED)
		add_moved(fold, act, delta, golden);
}

static void
add_act(Fold *fold, const Act *act)
{
	bool		outcome = has_outcome(act->kind);
	bool		paid = (act->kind->flags & (REWARD | BONUS)) != 0;

	if (act->performer != 0 && outcome)
		add_standing(fold, act);
	if (act->performer != 0 && paid)
		add_earning(fold, act);
	if (act->requester != 0)
		add_progress(fold, act);
	if (act->requester != 0 && act->performer != 0 && (outcome || paid))
		add_working(fold, act);
}

/* returns whether acts of the kind are summed up */
static bool
read_act(HeapTupleHeader header, TupleDesc desc, Act *act)
{
	HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header),.t_data = header};
	Datum		values[ACT_COLUMNS];
	bool		nulls[ACT_COLUMNS];

	heap_deform_tuple(&tuple, desc, values, nulls);
	act->kind = find_kind(DatumGetTextPP(values[ACT_KIND - 1]));
	if (act->kind == NULL)
		return false;
	act->at = DatumGetTimestampTz(values[ACT_AT - 1]);
	act->requester = nulls[ACT_REQUESTER_ID - 1] ? 0 : DatumGetInt64(values[ACT_REQUESTER_ID - 1]);
	act->performer = nulls[ACT_PERFORMER_ID - 1] ? 0 : DatumGetInt64(values[ACT_PERFORMER_ID - 1]);
	act->task_type = nulls[ACT_TASK_TYPE_ID - 1] ? 0 : DatumGetInt64(values[ACT_TASK_TYPE_ID - 1]);
	act->task = nulls[ACT_TASK_ID - 1] ? 0 : DatumGetInt64(values[ACT_TASK_ID - 1]);
	act->amount = DatumGetInt64(values[ACT_AMOUNT - 1]);
	act->detail = nulls[ACT_DETAIL - 1] ? NULL : DatumGetJsonbP(values[ACT_DETAIL - 1]);
	return true;
}

static void
add_batch(Fold *fold, ArrayType *batch)
{
	Oid			type = get_rel_type_id(get_relname_relid("journal_act", get_namespace_oid("_taskex", false)));
	TupleDesc	desc = lookup_rowtype_tupdesc(type, -1);
	ArrayIterator iterator = array_create_iterator(batch, 0, NULL);
	Act		   *acts = palloc(sizeof(Act) * Max(ArrayGetNItems(ARR_NDIM(batch), ARR_DIMS(batch)), 1));
	int			count = 0;
	Datum		element;
	bool		isnull;

	if (desc->natts != ACT_COLUMNS || ARR_ELEMTYPE(batch) != type)
		elog(ERROR, "a batch of the journal is not of acts");
	while (array_iterate(iterator, &element, &isnull))
		if (!isnull && read_act(DatumGetHeapTupleHeader(element), desc, &acts[count]))
			note_golden(fold, &acts[count++]);
	array_free_iterator(iterator);
	ReleaseTupleDesc(desc);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		add_act(fold, &acts[i]);
	}
}

/* ---- changing rows ---- */

static int
compare_deltas(const void *a, const void *b)
{
	const Delta *left = *(Delta *const *) a;
	const Delta *right = *(Delta *const *) b;

	if (left->partition != right->partition)
		return left->partition < right->partition ? -1 : 1;
	for (int i = 0; i < KEYS_MAX; i++)
		if (left->keys[i] != right->keys[i])
			return left->keys[i] < right->keys[i] ? -1 : 1;
	return 0;
}

/* adds the row that was found, all but its keys and version */
static void
add_row(const Summary *summary, Child *child, Delta *delta)
{
	int			column = summary->nkeys + 3;
	bool		isnull;

	for (int i = 0; i < summary->nsums; i++)
		add(delta, i, child_int64(child, column++));
	if (summary->rated)
	{
		double		rate = DatumGetFloat8(slot_getattr(child->slot, column, &isnull));
		TimestampTz first_at = child_int64(child, column + 2);

		add_rate(delta, rate, child_int64(child, column + 1));
		delta->first_at = Min(delta->first_at, first_at);
	}
	delta->last_at = Max(delta->last_at, child_int64(child, summary->table.ncolumns));
}

/* the whole row */
static void
make_row(const Summary *summary, const Delta *delta, int64 version, Datum *row)
{
	int			column = 0;

	row[column++] = Int32GetDatum(delta->partition);
	for (int i = 0; i < summary->nkeys; i++)
		row[column++] = i == summary->day ? DateADTGetDatum((DateADT) delta->keys[i]) : Int64GetDatum(delta->keys[i]);
	row[column++] = Int64GetDatum(version);
	for (int i = 0; i < summary->nsums; i++)
		row[column++] = Int64GetDatum(delta->sums[i]);
	if (summary->rated)
	{
		row[column++] = Float8GetDatum(delta->rate);
		row[column++] = TimestampTzGetDatum(delta->rate_at);
		row[column++] = TimestampTzGetDatum(delta->first_at);
	}
	row[column++] = TimestampTzGetDatum(delta->last_at);
	Assert(column == summary->table.ncolumns);
}

static void
change_row(const Summary *summary, Child *child, ChildScan *newest, Delta *delta)
{
	static const bool nulls[COLUMNS_MAX] = {false};
	int			first = summary->nkeys + 2; /* version and what follows change */
	int			columns[COLUMNS_MAX];
	ScanKeyData keys[KEYS_MAX];
	Datum		row[COLUMNS_MAX];
	int64		version;

	for (int i = 0; i < summary->nkeys; i++)
	{
		int			key = summary->by_index[i];

		if (key == summary->day)
			ScanKeyInit(&keys[i], i + 1, BTEqualStrategyNumber, F_DATE_EQ, DateADTGetDatum((DateADT) delta->keys[key]));
		else
			ScanKeyInit(&keys[i], i + 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(delta->keys[key]));
	}
	if (!child_lookup(newest, keys))
	{
		make_row(summary, delta, 0, row);
		child_insert(child, row, nulls);
		return;
	}
	version = child_int64(child, first);
	add_row(summary, child, delta);
	make_row(summary, delta, version - 1, row);
	for (int column = first; column <= summary->table.ncolumns; column++)
		columns[column - first] = column;
	child_update(child, summary->table.ncolumns - first + 1, columns, row + first - 1, nulls);
}

/* deltas of one partition */
static void
change_partition(const Summary *summary, Delta **deltas, int count)
{
	Child		child;
	ChildScan	newest;

	child_open(&child, &summary->table, deltas[0]->partition);
	child_lookup_begin(&newest, &child, 0, summary->nkeys);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		change_row(summary, &child, &newest, deltas[i]);
	}
	child_scan_end(&newest);
	child_close(&child);
}

static void
change_summary(const Summary *summary, HTAB *all)
{
	Delta	  **deltas = palloc(sizeof(Delta *) * Max(hash_get_num_entries(all), 1));
	int			count = 0;
	HASH_SEQ_STATUS status;
	Delta	   *delta;

	hash_seq_init(&status, all);
	while ((delta = hash_seq_search(&status)) != NULL)
		if (delta->partition != 0)
			deltas[count++] = delta;
	qsort(deltas, count, sizeof(Delta *), compare_deltas);
	for (int first = 0, next; first < count; first = next)
	{
		for (next = first + 1; next < count && deltas[next]->partition == deltas[first]->partition;)
			next++;
		change_partition(summary, deltas + first, next - first);
	}
}

PG_FUNCTION_INFO_V1(taskex_fold_summaries);

/* _taskex.fold_summaries(batch _taskex.journal_act[]) */
Datum
taskex_fold_summaries(PG_FUNCTION_ARGS)
{
	Fold		fold = {make_deltas(&standing), make_deltas(&earning), make_deltas(&progress), make_deltas(&working), make_offers()};

	add_batch(&fold, PG_GETARG_ARRAYTYPE_P(0));
	change_summary(&standing, fold.standing);
	change_summary(&earning, fold.earning);
	change_summary(&progress, fold.progress);
	change_summary(&working, fold.working);
	PG_RETURN_VOID();
}
