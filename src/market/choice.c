/*
 * choice.c
 *	  Which shelves a performer who names no task type looks at, in which order.
 *
 * One call in ELSEWHERE_EVERY goes elsewhere, so that nothing starves however
 * little it is worth to everybody: by turns of chance to the shelf, of a random
 * sample, whose first task was supplied first, so that the oldest work gets
 * done, or to any shelf of the sample, so that what came later need not wait
 * until all that is older is done.  With S shelves that have something on them
 * one is in a sample with probability SAMPLE / S.
 *
 * Else he stays with the task type that he worked on last while it lasts, for
 * people are faster in what they have just done.  The type is a hint in shared
 * memory (place.c), kept at once: an undone accept leaves a hint, no more.
 *
 * Else the shelves are taken from the random walk, SAMPLE at a time, each sample
 * best first, until one has something for him.  So the usual call costs the
 * same with ten types and with ten thousand, and the last resort is still to
 * have tried them all.
 *
 * What a shelf is worth to a performer is a conditional logit (McFadden 1974)
 * with fixed weights over the logarithms of three counters:
 *
 *		share * sqrt(reward / mean reward of the sample) * (1 + pressure)
 *
 * share	his own share of the type: (n + PRIOR / k) / (N + PRIOR), where n of
 *			his N approved assignments of late were of it and k shelves are in the
 *			sample.  On recorded choices it is the best single predictor
 *			(hits 0.64 of first choices, where the newest has 0.51), and a logit
 *			fitted to eight counters does no better.
 * reward	by its root: recorded workers follow pay but little (Dube et al.,
 *			Monopsony in Online Labor Markets, 2020), though what they get matters.
 * pressure	the part of the time between supply and expiry that was over, 0 to 1,
 *			for the task of the shelf that was taken last; 0 where nothing was
 *			taken since the start-up.
 */
#include "postgres.h"

#include <math.h>

#include "market/choice.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "market/eligible.h"
#include "market/market.h"
#include "market/place.h"
#include "market/shelf.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"
#include "miscadmin.h"

#define SAMPLE 32
#define ELSEWHERE_EVERY 16
#define PRIOR 10.0

/* rows of a performer's earnings by day and type that are looked at, newest first */
#define HISTORY_ROWS 200

/* a performer's last type is kept as a place on a shelf that cannot exist */
#define LAST_TYPE 0x80000000U

static Statement select_history = {
	"SELECT task_type_id, sum(approved)::int8 FROM (SELECT task_type_id, approved FROM _taskex.earning_%p"
	" WHERE performer_id = $1 ORDER BY day DESC LIMIT 200) e GROUP BY task_type_id",
	1, {INT8OID}
};

StaticAssertDecl(HISTORY_ROWS == 200, "select_history spells out HISTORY_ROWS");

typedef struct Candidate
{
	Shelf	   *shelf;
	int64		task_type;
	int64		front;			/* no task to be had has a lower id; ids rise with time */
	int64		reward;
	double		pressure;
	double		value;
} Candidate;

/* ---- the type he worked on last ---- */

static int64
last_type(int64 performer)
{
	Place		place;

	if (place_find(performer, LAST_TYPE | realm_current()->serial, &place))
		return place.cursor;
	return 0;
}

static void
remember_type(int64 performer, int64 task_type)
{
	Place		place = {.cursor = task_type};

	place_store(performer, LAST_TYPE | realm_current()->serial, &place);
}

void
choice_took(const Choice *choice, Shelf *shelf, TimestampTz created, TimestampTz expires)
{
	SpinLockAcquire(&shelf->mutex);
	shelf->front_created = created;
	shelf->front_expires = expires;
	SpinLockRelease(&shelf->mutex);

	/* he comes back from what he did not choose */
	if (!choice->diverted && shelf->key.task_type > 0)
		remember_type(choice->performer.user_id, shelf->key.task_type);
}

void
choice_took_type(const Choice *choice, int64 task_type)
{
	if (!choice->diverted)
		remember_type(choice->performer.user_id, task_type);
}

int64
choice_last(const Choice *choice)
{
	return last_type(choice->performer.user_id);
}

/* ---- samples ---- */

static double
pressure_of(const Choice *choice, TimestampTz created, TimestampTz expires)
{
	if (created == 0 || expires <= created)
		return 0;
	return Min(Max((double) (choice->now - created) / (double) (expires - created), 0.0), 1.0);
}

/* mutex held */
static int64
front_of(const Shelf *shelf)
{
	int64		front = Max(shelf->low + 1, shelf->first);

	for (int i = 0; i < SHELF_RANGES && shelf->open_ranges > 0; i++)
		if (shelf->ranges[i].hi != 0 && shelf->ranges[i].lo < front)
			front = shelf->ranges[i].lo;
	return front;
}

/* what shared memory knows of the shelves; those that are gone are left out */
static int
describe(const Choice *choice, Shelf **shelves, int count, Candidate *candidates)
{
	uint32		realm = realm_current()->serial;
	int			known = 0;

	for (int i = 0; i < count; i++)
	{
		Shelf	   *shelf = shelves[i];
		Candidate  *candidate = &candidates[known];
		TimestampTz created;
		TimestampTz expires;
		bool		ours;

		SpinLockAcquire(&shelf->mutex);
		ours = shelf->key.realm == realm && shelf->key.task_type > 0;
		candidate->task_type = shelf->key.task_type;
		candidate->front = front_of(shelf);
		created = shelf->front_created;
		expires = shelf->front_expires;
		SpinLockRelease(&shelf->mutex);
		if (!ours)
			continue;
		candidate->shelf = shelf;
		candidate->pressure = pressure_of(choice, created, expires);
		known++;
	}
	return known;
}

/* ---- what he has done ---- */

typedef struct ChoiceHistory
{
	double		all;
	int			count;
	struct
	{
		int64		task_type;
		double		approved;
	}			types[HISTORY_ROWS];
} ChoiceHistory;

static ChoiceHistory *
read_history(const Choice *choice)
{
	ChoiceHistory *history = palloc0(sizeof(ChoiceHistory));
	Datum		value = Int64GetDatum(choice->performer.user_id);
	SpiScope	scope;

	spi_begin(&scope);
	history->count = (int) spi_run(&select_history, choice->performer.partition, &value, NULL,
								   SPI_VIEW_LATEST, HISTORY_ROWS);
	for (int i = 0; i < history->count; i++)
	{
		history->types[i].task_type = spi_int64(i, 1);
		history->types[i].approved = (double) spi_int64(i, 2);
		history->all += history->types[i].approved;
	}
	spi_end(&scope);
	return history;
}

/* his approved assignments of the type */
static double
approved_of(const ChoiceHistory *history, int64 task_type)
{
	for (int i = 0; i < history->count; i++)
		if (history->types[i].task_type == task_type)
			return history->types[i].approved;
	return 0;
}

static int
oldest_first(const void *a, const void *b)
{
	const Candidate *left = a;
	const Candidate *right = b;

	return left->front < right->front ? -1 : left->front > right->front;
}

static int
best_first(const void *a, const void *b)
{
	const Candidate *left = a;
	const Candidate *right = b;

	return left->value > right->value ? -1 : left->value < right->value;
}

/* leaves out types that are not for him, or not committed; returns the others' number */
static int
keep_eligible(Choice *choice, Candidate *candidates, int count)
{
	int			kept = 0;

	for (int i = 0; i < count; i++)
		if (eligible_for_type(choice->eligibility, candidates[i].task_type, GUARD_ACCEPT))
		{
			candidates[kept] = candidates[i];
			candidates[kept++].reward = task_type_find(candidates[i].task_type)->reward;
		}
	return kept;
}

/* those of the next SAMPLE shelves of the walk that may have something for him */
static int
draw(Choice *choice, Candidate *candidates)
{
	Shelf	   *shelves[SAMPLE];
	int			known = 0;

	/* nothing of a sample may be for him, and there is more to come */
	while (known == 0)
	{
		int			count = feed_sample(&choice->sample, shelves, SAMPLE);

		CHECK_FOR_INTERRUPTS();
		if (count == 0)
			break;
		known = keep_eligible(choice, candidates, describe(choice, shelves, count, candidates));
	}
	return known;
}

static Shelf **
shelves_of(const Candidate *candidates, int count)
{
	Shelf	  **shelves = palloc(sizeof(Shelf *) * count);

	for (int i = 0; i < count; i++)
		shelves[i] = candidates[i].shelf;
	return shelves;
}

/* a sample, oldest first or at random: he may have had all of the first one */
static int
elsewhere_shelves(Choice *choice, Shelf ***shelves)
{
	FeedSample	walk = choice->sample;
	Candidate	candidates[SAMPLE];
	int			count = draw(choice, candidates);

	choice->sample = walk;		/* the walk proper begins with a sample of its own */
	if (count == 0)
		return 0;
	if (pg_prng_bool(&pg_global_prng_state))
		qsort(candidates, count, sizeof(Candidate), oldest_first);
	else
	{
		int			any = (int) pg_prng_uint64_range(&pg_global_prng_state, 0, count - 1);
		Candidate	first = candidates[any];

		candidates[any] = candidates[0];
		candidates[0] = first;
	}
	*shelves = shelves_of(candidates, count);
	return count;
}

static void
set_values(Choice *choice, Candidate *candidates, int count)
{
	double		mean = 0;

	for (int i = 0; i < count; i++)
		mean += (double) candidates[i].reward / count;
	if (choice->history == NULL)
		choice->history = read_history(choice);
	for (int i = 0; i < count; i++)
	{
		Candidate  *c = &candidates[i];
		double		share = (approved_of(choice->history, c->task_type) + PRIOR / count) /
			(choice->history->all + PRIOR);
		double		pay = 1;

		/* unpaid work has a value too */
		if (mean > 0)
			pay = sqrt((c->reward + mean / 100) / mean);
		c->value = share * pay * (1 + c->pressure);
	}
}

static int
best_shelves(Choice *choice, Shelf ***shelves)
{
	Candidate	candidates[SAMPLE];
	int			count = draw(choice, candidates);

	if (count == 0)
		return 0;
	set_values(choice, candidates, count);
	qsort(candidates, count, sizeof(Candidate), best_first);
	*shelves = shelves_of(candidates, count);
	return count;
}

void
choice_rank(Choice *choice, ChoiceOption *options, int count)
{
	Candidate  *candidates;
	ChoiceOption *ranked;

	if (count < 2)
		return;
	candidates = palloc0(sizeof(Candidate) * count);
	ranked = palloc(sizeof(ChoiceOption) * count);
	for (int i = 0; i < count; i++)
	{
		candidates[i].task_type = options[i].task_type;
		candidates[i].front = i;
		candidates[i].reward = task_type_get(options[i].task_type)->reward;
		candidates[i].pressure = pressure_of(choice, options[i].created, options[i].expires);
	}
	set_values(choice, candidates, count);
	qsort(candidates, count, sizeof(Candidate), best_first);
	for (int i = 0; i < count; i++)
		ranked[i] = options[candidates[i].front];
	memcpy(options, ranked, sizeof(ChoiceOption) * count);
	pfree(candidates);
	pfree(ranked);
}

/* ---- a choice, stage by stage ---- */

void
choice_begin(Choice *choice, Eligibility *eligibility, int64 task_type, TimestampTz now)
{
	memset(choice, 0, sizeof(Choice));
	choice->performer = eligibility->performer;
	choice->eligibility = eligibility;
	choice->task_type = task_type;
	choice->now = now;
	if (task_type != 0)
		choice->stage = CHOICE_NAMED;
	else if (pg_prng_uint64_range(&pg_global_prng_state, 1, ELSEWHERE_EVERY) == 1)
		choice->stage = CHOICE_ELSEWHERE;
	else
		choice->stage = CHOICE_LAST;
}

int
choice_next(Choice *choice, Shelf ***shelves)
{
	int			count = 0;
	int64		last;

	while (count == 0 && choice->stage != CHOICE_DONE)
	{
		switch (choice->stage)
		{
			case CHOICE_NAMED:
				count = feed_shelves(choice->task_type, shelves);
				choice->stage = CHOICE_DONE;
				break;
			case CHOICE_ELSEWHERE:
				count = elsewhere_shelves(choice, shelves);
				choice->diverted = true;
				choice->stage = CHOICE_LAST;
				break;
			case CHOICE_LAST:
				last = last_type(choice->performer.user_id);
				if (last != 0)
					count = feed_shelves(last, shelves);
				choice->diverted = false;
				choice->stage = CHOICE_BEST;
				break;
			case CHOICE_BEST:
				count = best_shelves(choice, shelves);
				choice->diverted = false;
				if (count == 0)
					choice->stage = CHOICE_DONE;
				break;
			case CHOICE_DONE:
				break;
		}
	}
	return count;
}
