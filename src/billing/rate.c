/*
 * rate.c
 *	  What things cost: the rates that a session knows.
 *
 * Rows of _taskex.rate are never changed, so a number stands for one rate for
 * ever.  A session reads all of them when any was added (infra/watch.h).
 */
#include "postgres.h"

#include "billing/rate.h"
#include "infra/realm.h"
#include "infra/watch.h"

#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* columns of _taskex.rate */
enum RateColumn
{
	RATE_ID = 1,
	RATE_PROGRAM_ID,
	RATE_OWNER_ID,
	RATE_PER,
	RATE_GRANULARITY,
	RATE_MINIMUM,
	RATE_VALID_FROM,
	RATE_METER,
	RATE_ENVIRONMENT_ID,
	RATE_OUTCOMES,
	RATE_GRADUATED,
	RATE_TIER,
	RATE_UPTO,
	RATE_PRICES,
	RATE_FACTORS
};

#define NANO_DIGITS 9

/* as much as a charge can be in nano-units */
#define CHARGE_MAX_NANO INT64CONST(4000000000000000000)

/* of prices in whole numbers */
#define DIGITS_MAX 18
#define UNITS_MAX INT64CONST(1000000000000000000)

static TableWatch watch = {"rate"};
static Rate *rates = NULL;		/* by key, then by time */
static Rate **by_id = NULL;
static int	count = 0;
static uint32 realm = 0;
static uint32 meters = 0;		/* bits of those that have a rate */
static MemoryContext context = NULL;

static int
compare_int64(int64 a, int64 b)
{
	return a < b ? -1 : a > b;
}

static int
compare_key(int32 meter, int64 program_id, int32 environment_id, const char *tier, const Rate *rate)
{
	int			result = compare_int64(meter, rate->meter);

	if (result == 0)
		result = compare_int64(program_id, rate->program_id);
	if (result == 0)
		result = compare_int64(environment_id, rate->environment_id);
	if (result == 0)
		result = strcmp(tier, rate->tier);
	return result;
}

static int
compare_rates(const void *a, const void *b)
{
	const Rate *x = a;
	const Rate *y = b;
	int			result = compare_key(x->meter, x->program_id, x->environment_id, x->tier, y);

	if (result == 0)
		result = compare_int64(x->valid_from, y->valid_from);
	return result != 0 ? result : compare_int64(x->rate_id, y->rate_id);
}

static int
compare_ids(const void *a, const void *b)
{
	return compare_int64((*(Rate *const *) a)->rate_id, (*(Rate *const *) b)->rate_id);
}

static Numeric
multiply(Numeric a, Numeric b)
{
	return DatumGetNumeric(DirectFunctionCall2(numeric_mul, NumericGetDatum(a), NumericGetDatum(b)));
}

static Numeric
of_int64(int64 value)
{
	return DatumGetNumeric(DirectFunctionCall1(int8_numeric, Int64GetDatum(value)));
}

/* digits after the point that each of the numbers needs at most; more than DIGITS_MAX: too many */
static int
digits_of(const Numeric *numbers, int count)
{
	int			digits = 0;

	for (int i = 0; i < count; i++)
		digits = Max(digits, DatumGetInt32(DirectFunctionCall1(numeric_min_scale, NumericGetDatum(numbers[i]))));
	return digits;
}

static int64
power_of_ten(int digits)
{
	int64		power = 1;

	while (digits-- > 0)
		power *= 10;
	return power;
}

/* nearly all prices are small enough for whole numbers: each attempt would have to compute with decimals */
static void
count_units(Rate *rate)
{
	int			count = rate->brackets * RATE_PRIORITIES;
	Datum		limit = NumericGetDatum(of_int64(UNITS_MAX));
	Numeric		power;

	rate->digits = digits_of(rate->prices, count);
	if (rate->digits > DIGITS_MAX)
		return;
	power = of_int64(power_of_ten(rate->digits));
	rate->units = palloc(sizeof(int64) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		Datum		units = NumericGetDatum(multiply(rate->prices[i], power));

		if (DatumGetBool(DirectFunctionCall2(numeric_gt, units, limit)))
		{
			rate->units = NULL;
			return;
		}
		rate->units[i] = DatumGetInt64(DirectFunctionCall1(numeric_int8, units));
	}
}

/* prices of its brackets at each priority */
static void
read_prices(TupleTableSlot *slot, Rate *rate)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, RATE_UPTO, &isnull);
	Datum	   *upto;
	Datum	   *prices;
	Datum	   *factors;
	int			factor_count;
	int			price_count;

	deconstruct_array(DatumGetArrayTypeP(value), INT8OID, 8, true, TYPALIGN_DOUBLE, &upto, NULL, &rate->brackets);
	value = slot_getattr(slot, RATE_PRICES, &isnull);
	deconstruct_array(DatumGetArrayTypeP(value), NUMERICOID, -1, false, TYPALIGN_INT, &prices, NULL, &price_count);
	value = slot_getattr(slot, RATE_FACTORS, &isnull);
	deconstruct_array(DatumGetArrayTypeP(value), NUMERICOID, -1, false, TYPALIGN_INT, &factors, NULL, &factor_count);
	if (price_count != rate->brackets || factor_count != RATE_PRIORITIES)
		elog(ERROR, "rate " INT64_FORMAT " is not complete", rate->rate_id);
	rate->upto = palloc(sizeof(int64) * Max(rate->brackets, 1));
	rate->prices = palloc(sizeof(Numeric) * Max(rate->brackets, 1) * RATE_PRIORITIES);
	for (int i = 0; i < rate->brackets; i++)
	{
		rate->upto[i] = DatumGetInt64(upto[i]);
		for (int j = 0; j < RATE_PRIORITIES; j++)
			rate->prices[i * RATE_PRIORITIES + j] = multiply(DatumGetNumeric(prices[i]), DatumGetNumeric(factors[j]));
	}
	rate->ended = rate->brackets == 0;
	count_units(rate);
}

static void
describe(TupleTableSlot *slot, Rate *rate)
{
	bool		isnull;
	char	   *tier;

	memset(rate, 0, sizeof(Rate));
	rate->rate_id = DatumGetInt64(slot_getattr(slot, RATE_ID, &isnull));
	rate->program_id = DatumGetInt64(slot_getattr(slot, RATE_PROGRAM_ID, &isnull));
	rate->owner_id = DatumGetInt64(slot_getattr(slot, RATE_OWNER_ID, &isnull));
	rate->per = DatumGetInt64(slot_getattr(slot, RATE_PER, &isnull));
	rate->granularity = DatumGetInt64(slot_getattr(slot, RATE_GRANULARITY, &isnull));
	rate->minimum = DatumGetInt64(slot_getattr(slot, RATE_MINIMUM, &isnull));
	rate->valid_from = DatumGetTimestampTz(slot_getattr(slot, RATE_VALID_FROM, &isnull));
	rate->meter = DatumGetInt32(slot_getattr(slot, RATE_METER, &isnull));
	rate->environment_id = DatumGetInt32(slot_getattr(slot, RATE_ENVIRONMENT_ID, &isnull));
	rate->outcomes = DatumGetInt32(slot_getattr(slot, RATE_OUTCOMES, &isnull));
	rate->graduated = DatumGetBool(slot_getattr(slot, RATE_GRADUATED, &isnull));
	tier = TextDatumGetCString(slot_getattr(slot, RATE_TIER, &isnull));
	strlcpy(rate->tier, tier, TIER_MAX);
	read_prices(slot, rate);
}

static void
read_all(void)
{
	Snapshot	snapshot;
	Relation	rel = watch_begin(&watch, &snapshot);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	MemoryContext old;
	int			room = 16;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "taskex rates", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(context);
	old = MemoryContextSwitchTo(context);
	count = 0;
	meters = 0;
	rates = palloc(sizeof(Rate) * room);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (count == room)
			rates = repalloc(rates, sizeof(Rate) * (room *= 2));
		describe(slot, &rates[count]);
		meters |= 1U << rates[count].meter;
		count++;
	}
	qsort(rates, count, sizeof(Rate), compare_rates);
	by_id = palloc(sizeof(Rate *) * Max(count, 1));
	for (int i = 0; i < count; i++)
		by_id[i] = &rates[i];
	qsort(by_id, count, sizeof(Rate *), compare_ids);
	MemoryContextSwitchTo(old);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	watch_end(&watch, rel, snapshot);
	realm = realm_current()->serial;
}

static void
require_known(void)
{
	if (!watch_fresh(&watch) || realm != realm_current()->serial)
		read_all();
}

/* the newest one with exactly this key that holds then */
static const Rate *
find_exact(int32 meter, int64 program_id, int32 environment_id, const char *tier, TimestampTz at)
{
	int			low = 0;
	int			high = count;

	/* the first one after it */
	while (low < high)
	{
		int			middle = low + (high - low) / 2;
		int			result = compare_key(meter, program_id, environment_id, tier, &rates[middle]);

		if (result > 0 || (result == 0 && rates[middle].valid_from <= at))
			low = middle + 1;
		else
			high = middle;
	}
	if (low == 0 || compare_key(meter, program_id, environment_id, tier, &rates[low - 1]) != 0)
		return NULL;
	return rates[low - 1].ended ? NULL : &rates[low - 1];
}

bool
rate_any(int32 meter)
{
	require_known();
	return (meters & (1U << meter)) != 0;
}

const Rate *
rate_find(const RateKey *key)
{
	require_known();
	if ((meters & (1U << key->meter)) == 0)
		return NULL;
	for (int without = 0; without < 8; without++)
	{
		const Rate *rate;

		if ((key->program_id == 0 && !(without & 4)) || (key->environment_id == 0 && !(without & 2)) ||
			(key->tier[0] == '\0' && !(without & 1)))
			continue;
		rate = find_exact(key->meter, without & 4 ? 0 : key->program_id, without & 2 ? 0 : key->environment_id,
						  without & 1 ? "" : key->tier, key->at);
		if (rate)
			return rate;
	}
	return NULL;
}

const Rate *
rate_by_id(int64 rate_id)
{
	int			low = 0;
	int			high;

	require_known();
	for (high = count; low < high;)
	{
		int			middle = low + (high - low) / 2;

		if (by_id[middle]->rate_id < rate_id)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && by_id[low]->rate_id == rate_id ? by_id[low] : NULL;
}

int
outcome_bit(const char *outcome)
{
	static const char *const names[] = {"succeeded", "failed", "expired", "crashed", "cancelled", "suspended"};

	for (int i = 0; i < (int) lengthof(names); i++)
		if (strcmp(outcome, names[i]) == 0)
			return 1 << i;
	elog(ERROR, "no outcome is called \"%s\"", outcome);
}

int64
rate_billed(const Rate *rate, int64 quantity, int outcome_bit)
{
	int64		steps;

	if ((rate->outcomes & outcome_bit) == 0)
		return 0;
	quantity = Max(Max(quantity, rate->minimum), 0);
	steps = quantity / rate->granularity + (quantity % rate->granularity != 0);
	if (pg_mul_s64_overflow(steps, rate->granularity, &quantity))
		quantity = PG_INT64_MAX;
	return quantity;
}

/* of a billed quantity that is not negative */
static Numeric
charge_of(const Rate *rate, int priority, int64 billed)
{
	Numeric		sum = NULL;
	int64		done = 0;

	for (int i = 0; i < rate->brackets; i++)
	{
		Numeric		price = rate->prices[i * RATE_PRIORITIES + priority];
		bool		last = i == rate->brackets - 1 || billed <= rate->upto[i];
		int64		part = last ? billed - done : rate->upto[i] - done;

		if (!rate->graduated)
		{
			if (last)
				return multiply(of_int64(billed), price);
			continue;
		}
		price = multiply(of_int64(part), price);
		sum = sum ? DatumGetNumeric(DirectFunctionCall2(numeric_add, NumericGetDatum(sum), NumericGetDatum(price))) : price;
		if (last)
			break;
		done = rate->upto[i];
	}
	return sum ? sum : of_int64(0);
}

Numeric
rate_charge(const Rate *rate, int priority, int64 billed)
{
	if (billed >= 0)
		return charge_of(rate, priority, billed);
	return DatumGetNumeric(DirectFunctionCall1(numeric_uminus, NumericGetDatum(charge_of(rate, priority, -billed))));
}

/* in whole numbers; false: they are too large for that */
static bool
count_nano(const Rate *rate, int priority, int64 billed, int64 *nano)
{
	int128		sum = 0;
	int128		per = rate->per;
	int64		done = 0;

	if (rate->units == NULL || billed < 0)
		return false;
	for (int i = 0; i < rate->brackets; i++)
	{
		bool		last = i == rate->brackets - 1 || billed <= rate->upto[i];
		int64		from = rate->graduated ? done : 0;

		if (last || rate->graduated)
			sum += (int128) ((last ? billed : rate->upto[i]) - from) * rate->units[i * RATE_PRIORITIES + priority];
		if (last)
			break;
		done = rate->upto[i];
	}
	if (rate->digits > NANO_DIGITS)
		per *= power_of_ten(rate->digits - NANO_DIGITS);
	else if (__builtin_mul_overflow(sum, (int128) power_of_ten(NANO_DIGITS - rate->digits), &sum))
		return false;
	sum = sum / per + (sum % per != 0);
	*nano = sum > CHARGE_MAX_NANO ? CHARGE_MAX_NANO : (int64) sum;
	return true;
}

int64
rate_charge_nano(const Rate *rate, int priority, int64 billed)
{
	int64		result;
	Numeric		nano;
	Numeric		per;
	Numeric		whole;

	if (likely(count_nano(rate, priority, billed, &result)))
		return result;
	nano = multiply(rate_charge(rate, priority, billed), of_int64(power_of_ten(NANO_DIGITS)));
	per = of_int64(rate->per);
	whole = DatumGetNumeric(DirectFunctionCall2(numeric_div_trunc, NumericGetDatum(nano), NumericGetDatum(per)));
	if (DatumGetBool(DirectFunctionCall2(numeric_ge, NumericGetDatum(whole), NumericGetDatum(of_int64(CHARGE_MAX_NANO)))))
		return CHARGE_MAX_NANO;
	result = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(whole)));
	if (DatumGetBool(DirectFunctionCall2(numeric_lt, NumericGetDatum(multiply(whole, per)), NumericGetDatum(nano))))
		result++;
	return result;
}
