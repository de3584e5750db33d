/*
 * feed_scan.c
 *	  A performer's look along a shelf.
 *
 * The windows of a scan are the ranges added since the performer's last scan,
 * as far as they lie behind his cursor, and then what lies between his cursor
 * and the end of the shelf.  The end is read before the caller takes the
 * snapshot with which he reads rows; what commits later with lower ids comes
 * back as a range.
 */
#include "postgres.h"

#include "market/shelf.h"
#include "market/place.h"

#include "access/xact.h"

/* where the performer is; mutex held */
static void
find_place(FeedScan *scan, const Shelf *shelf, bool known, const Place *place)
{
	uint64		oldest = shelf->generation > SHELF_RANGES ? shelf->generation - SHELF_RANGES : 0;

	scan->generation = shelf->generation;
	scan->high = shelf->high;
	scan->low = shelf->low;
	if (known && place->seen >= oldest)
	{
		scan->cursor = Max(place->cursor, shelf->low);
		scan->seen = place->seen;
	}
	else
	{
		/* new here, or away so long that ranges gave way */
		scan->cursor = shelf->low;
		scan->seen = oldest;
	}
}

static void
store_place(const FeedScan *scan)
{
	Place		place = {scan->cursor, scan->seen, scan->blocks};

	/* who reads with an old snapshot has not seen all that he went past */
	if (IsolationUsesXactSnapshot() || scan->forget)
		return;
	place_store(scan->performer, scan->incarnation, &place);
}

bool
feed_scan_begin(FeedScan *scan, Shelf *shelf, int64 task_type, int64 performer, uint32 blocks)
{
	Place		place;
	bool		known;
	bool		nothing;

	scan->shelf = shelf;
	scan->performer = performer;
	scan->forget = false;
	scan->incarnation = shelf->incarnation;
	scan->blocks = blocks;
	known = place_find(performer, scan->incarnation, &place) && place.blocks == blocks;

	/* the usual end of a look at an exhausted shelf */
	SpinLockAcquire(&shelf->mutex);
	nothing = known && shelf->incarnation == scan->incarnation && shelf->loaded &&
		place.cursor >= shelf->high && place.seen == shelf->generation;
	SpinLockRelease(&shelf->mutex);
	if (nothing)
		return false;

	if (!shelf_hold(shelf, task_type))
		return false;
	shelf_load(shelf);

	scan->partition = shelf->key.partition;
	scan->task_type = shelf->key.task_type;
	scan->incarnation = shelf->incarnation;
	scan->in_range = true;
	SpinLockAcquire(&shelf->mutex);
	find_place(scan, shelf, known, &place);
	SpinLockRelease(&shelf->mutex);
	return feed_scan_next(scan);
}

bool
feed_scan_next(FeedScan *scan)
{
	Shelf	   *shelf = scan->shelf;

	while (scan->in_range && scan->seen < scan->generation)
	{
		Range		range;

		SpinLockAcquire(&shelf->mutex);
		if (shelf->generation - scan->seen > SHELF_RANGES)
			find_place(scan, shelf, false, NULL);	/* overtaken: start over */
		range = shelf->ranges[++scan->seen % SHELF_RANGES];
		SpinLockRelease(&shelf->mutex);

		if (range.hi != 0 && range.lo <= scan->cursor)
		{
			scan->after = range.lo - 1;
			scan->upto = Min(range.hi, scan->cursor);
			return true;
		}
	}
	if (scan->in_range && scan->cursor < scan->high)
	{
		scan->in_range = false;
		scan->after = scan->cursor;
		scan->upto = scan->high;
		return true;
	}

	scan->in_range = false;
	scan->cursor = Max(scan->cursor, scan->high);
	store_place(scan);
	shelf_release(shelf);
	return false;
}

void
feed_scan_saw(FeedScan *scan, int64 first)
{
	Shelf	   *shelf = scan->shelf;
	bool		current;

	/* an old snapshot proves nothing about now */
	if (IsolationUsesXactSnapshot())
		return;

	SpinLockAcquire(&shelf->mutex);

	/* a range that came after the snapshot may have given way already */
	current = shelf->generation - scan->generation < SHELF_RANGES;
	if (current && scan->in_range)
	{
		Range	   *range = &shelf->ranges[scan->seen % SHELF_RANGES];

		if (shelf->generation - scan->seen < SHELF_RANGES &&
			range->lo == scan->after + 1 && range->hi == scan->upto)
		{
			if (first == 0)
				shelf_strike_range(shelf, range);
			else
				range->lo = first;
		}
	}
	else if (current && scan->after == scan->low && shelf->low == scan->low)
		shelf->low = scan->low = first ? first - 1 : scan->upto;
	shelf_changed(shelf);
	SpinLockRelease(&shelf->mutex);
}

/*
 * A row may stay locked for hours.  What is behind it must not have to be
 * searched from there all that time, so the low, or the range, leaves it behind
 * while it is claimed.
 */
void
feed_scan_missed(FeedScan *scan, int64 task_id)
{
	Shelf	   *shelf = scan->shelf;

	scan->after = task_id;
	SpinLockAcquire(&shelf->mutex);
	if (!scan->in_range)
	{
		if (shelf->low == task_id - 1)
			shelf->low = scan->low = task_id;
	}
	else if (shelf->generation - scan->seen < SHELF_RANGES)
	{
		Range	   *range = &shelf->ranges[scan->seen % SHELF_RANGES];

		if (range->lo == task_id && range->hi == task_id)
			shelf_strike_range(shelf, range);
		else if (range->lo == task_id)
			range->lo = task_id + 1;
	}
	SpinLockRelease(&shelf->mutex);
}

void
feed_scan_took(FeedScan *scan, int64 task_id)
{
	if (scan->in_range)
	{
		/* the rest of the range is for next time */
		if (task_id < scan->upto)
			scan->seen--;
	}
	else
		scan->cursor = task_id;
	store_place(scan);
}
