/*
 * choice.c
 *	  Which shelves a performer who names no task type looks at, in which order.
 *
 * One call in OLDEST_EVERY goes to the shelf, of a random sample, whose first
 * task was supplied first.  With S shelves that have something on them the
 * oldest one is in a sample with probability SAMPLE / S, so it is tried once in
 * OLDEST_EVERY * S / SAMPLE calls on average, however little it is worth to
 * everybody: nothing starves.
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
 *			his N approved assignments were of it and k shelves are in the
 *			sample.  On recorded choices it is the best single predictor
 *			(hits 0.64 of first choices, where the newest has 0.51), and a logit
 *			fitted to eight counters does no better.
 * reward	of the task of the shelf that was taken last, by its root: recorded workers follow pay but little (Dube et al.,
 *			Monopsony in Online Labor Markets, 2020), though what they get matters.
 * pressure	the part of the time between supply and expiry that was over, 0 to 1,
 *			for the same task.  Of a shelf where nothing was taken since the
 *			start-up neither is known: mean and half are taken.
 */
#include "postgres.h"

#include <math.h>

#include "market/choice.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "market/market.h"
#include "market/place.h"
#include "market/shelf.h"

#include "catalog/pg_type.h"
#include "common/pg_prng.h"

#define SAMPLE 32
#define OLDEST_EVERY 16
#define PRIOR 10.0

/* a performer's last type is kept as a place on a shelf that cannot exist */
#define LAST_TYPE 0x80000000U

typedef struct Candidate
{
	Shelf	   *shelf;
	int64		task_type;
	int64		low;			/* ids rise with time */
	int64		reward;			/* -1: not known */
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
choice_took(const Choice *choice, Shelf *shelf, int64 reward,
			TimestampTz created, TimestampTz expires)
{
	SpinLockAcquire(&shelf->mutex);
	shelf->front_reward = reward;
	shelf->front_created = created;
	shelf->front_expires = expires;
	SpinLockRelease(&shelf->mutex);

	/* he comes back from what he did not choose */
	if (!choice->diverted && shelf->key.task_type > 0)
		remember_type(choice->performer.user_id, shelf->key.task_type);
}

/* ---- samples ---- */

static double
pressure_of(const Choice *choice, TimestampTz created, TimestampTz expires)
{
	if (created == 0 || expires <= created)
		return 0.5;
	return Min(Max((double) (choice->now - created) / (double) (expires - created), 0.0), 1.0);
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
		candidate->low = shelf->low;
		candidate->reward = shelf->front_reward;
		created = shelf->front_created;
		expires = shelf->front_expires;
		SpinLockRelease(&shelf->mutex);
		if (!ours)
			continue;
		candidate->shelf = shelf;
		candidate->pressure = pressure_of(choice, created, expires);
		if (created == 0)
			candidate->reward = -1;
		known++;
	}
	return known;
}

/*
 * His approved assignments of the type; returns those of all types.  Nothing is
 * counted yet, so all types are equal to him.
 */
static double
history_of(Choice *choice, int64 task_type, double *done)
{
	*done = 0;
	return 0;
}

static int
oldest_first(const void *a, const void *b)
{
	const Candidate *left = a;
	const Candidate *right = b;

	return left->low < right->low ? -1 : left->low > right->low;
}

static int
best_first(const void *a, const void *b)
{
	const Candidate *left = a;
	const Candidate *right = b;

	return left->value > right->value ? -1 : left->value < right->value;
}

/* the next SAMPLE shelves of the walk */
static int
draw(Choice *choice, Candidate *candidates)
{
	Shelf	   *shelves[SAMPLE];
	int			known = 0;

	/* none of a sample may be left, and there is more to come */
	while (known == 0)
	{
		int			count = feed_sample(&choice->sample, shelves, SAMPLE);

		if (count == 0)
			break;
		known = describe(choice, shelves, count, candidates);
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

static int
oldest_shelf(Choice *choice, Shelf ***shelves)
{
	FeedSample	walk = choice->sample;
	Candidate	candidates[SAMPLE];
	int			count = draw(choice, candidates);

	choice->sample = walk;		/* the walk proper begins with the rest of this sample */
	if (count == 0)
		return 0;
	qsort(candidates, count, sizeof(Candidate), oldest_first);
	*shelves = shelves_of(candidates, 1);
	return 1;
}

/* the mean of those that are known */
static double
mean_reward(const Candidate *candidates, int count)
{
	double		sum = 0;
	int			known = 0;

	for (int i = 0; i < count; i++)
		if (candidates[i].reward >= 0)
		{
			sum += candidates[i].reward;
			known++;
		}
	return known > 0 ? sum / known : 0;
}

static void
set_values(Choice *choice, Candidate *candidates, int count)
{
	double		mean = mean_reward(candidates, count);

	for (int i = 0; i < count; i++)
	{
		Candidate  *c = &candidates[i];
		double		done;
		double		all = history_of(choice, c->task_type, &done);
		double		share = (done + PRIOR / count) / (all + PRIOR);
		double		pay = 1;

		/* unpaid work has a value too */
		if (c->reward >= 0 && mean > 0)
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

/* ---- a choice, stage by stage ---- */

void
choice_begin(Choice *choice, const UserHome *performer, int64 task_type, TimestampTz now)
{
	memset(choice, 0, sizeof(Choice));
	choice->performer = *performer;
	choice->task_type = task_type;
	choice->now = now;
	if (task_type != 0)
		choice->stage = CHOICE_NAMED;
	else if (pg_prng_uint64_range(&pg_global_prng_state, 1, OLDEST_EVERY) == 1)
		choice->stage = CHOICE_OLDEST;
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
			case CHOICE_OLDEST:
				count = oldest_shelf(choice, shelves);
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
