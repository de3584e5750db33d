/*
 * feed.c
 *	  What transactions that supply, take and give back tasks do to shelves.
 *
 * Each of these acts is a record of the transaction (infra/xact.h): shelves
 * change when it ends.
 */
#include "postgres.h"

#include "market/shelf.h"
#include "infra/spi.h"
#include "infra/xact.h"
#include "market/market.h"
#include "market/source.h"

#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/array.h"

static Statement insert_note = {
	"INSERT INTO _taskex.offer_note (task_type_id, partition_id, low) VALUES ($1, $2, $3)",
	3, {INT8OID, INT4OID, INT8OID}
};

static Statement insert_notes = {
	"INSERT INTO _taskex.offer_note (task_type_id, partition_id, low) SELECT n.task_type_id, $2, n.low FROM unnest($1, $3) n (task_type_id, low)",
	3, {INT8ARRAYOID, INT4OID, INT8ARRAYOID}
};

/* who waits for tasks is told */
static void
appeared(int64 tasks)
{
	if (task_source)
		task_source->appeared(tasks);
}

/* ---- supplying ---- */

typedef struct Supplying
{
	Shelf	   *shelf;
	int			epoch;			/* index into shelf->supplying */
	int64		first;			/* 0: nothing supplied yet */
	int64		last;
} Supplying;

static void
supplying_commit(void *record)
{
	Supplying  *supplying = record;
	Shelf	   *shelf = supplying->shelf;

	SpinLockAcquire(&shelf->mutex);
	shelf->registered = true;
	if (supplying->first != 0)
	{
		shelf->retired = false;
		if (shelf->first == 0 || shelf_is_idle(shelf))
			shelf->first = supplying->first;

		/* a session may have read past ids that were not committed */
		if (supplying->first <= shelf->high)
			shelf_add_range(shelf, supplying->first, supplying->last);
		shelf->high = Max(shelf->high, supplying->last);
		shelf_changed(shelf);
	}
	shelf->supplying[supplying->epoch]--;
	shelf->pins--;
	SpinLockRelease(&shelf->mutex);
	if (supplying->first != 0)
		appeared((supplying->last - supplying->first) / TASK_ID_STEP + 1);
}

static void
supplying_abort(void *record)
{
	Supplying  *supplying = record;
	Shelf	   *shelf = supplying->shelf;

	SpinLockAcquire(&shelf->mutex);
	shelf->supplying[supplying->epoch]--;
	shelf->pins--;
	SpinLockRelease(&shelf->mutex);
}

static const XactKind supplying_kind = {supplying_commit, supplying_abort};

/*
 * Notes, for a restart, that there are tasks of the type on the partition, new
 * ones (low 0) or some that are open again from low on.
 */
static void
note_offer(int64 task_type, int32 partition, int64 low)
{
	SpiScope	scope;
	Datum		values[3] = {Int64GetDatum(task_type), Int32GetDatum(partition), Int64GetDatum(low)};
	char		nulls[3] = {' ', ' ', low == 0 ? 'n' : ' '};

	spi_begin(&scope);
	spi_run(&insert_note, 0, values, nulls, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

Shelf *
feed_supply_begin(int64 task_type, int32 partition)
{
	Shelf	   *shelf = shelf_get(task_type, partition);
	Supplying  *supplying = xact_find(&supplying_kind);

	if (supplying && supplying->shelf == shelf)
	{
		shelf_unpin(shelf);		/* the record's pin is enough */
		return shelf;
	}

	supplying = xact_add(&supplying_kind, sizeof(Supplying));
	supplying->shelf = shelf;
	SpinLockAcquire(&shelf->mutex);
	supplying->epoch = shelf->epoch % 2;
	shelf->supplying[supplying->epoch]++;
	SpinLockRelease(&shelf->mutex);

	if (unlikely(!shelf->registered))
		note_offer(task_type, partition, 0);
	return shelf;
}

void
feed_supply(Shelf *shelf, int64 first, int64 last)
{
	Supplying  *supplying = xact_find(&supplying_kind);

	Assert(supplying && supplying->shelf == shelf);
	supplying->first = supplying->first ? Min(supplying->first, first) : first;
	supplying->last = Max(supplying->last, last);
}

/* ---- what others are to hear of when the transaction ends ---- */

/*
 * Only the key is kept: a shelf that is not in shared memory then is made by
 * who walks through all of them, and reads what was committed.
 */
typedef struct Notice
{
	ShelfKey	key;
	int64		task_id;
	int64		last;			/* they are between the two */
	int32		count;
	bool		at_commit;		/* the task is offered again at commit */
	bool		at_abort;		/* ... at abort */
	bool		taken;			/* a commit takes a slot, or closes it */
} Notice;

static void
give_notice(Notice *notice, bool offer, bool taken)
{
	Shelf	   *shelf = offer ? shelf_pin_to_tell(&notice->key) : shelf_pin_known(&notice->key);

	if (shelf == NULL)
		return;
	SpinLockAcquire(&shelf->mutex);
	if (offer)
		shelf_add_range(shelf, notice->task_id, notice->last);
	if (taken)
	{
		shelf->taken += notice->count;
		shelf->taken_durable += notice->count;
	}
	shelf->pins--;
	SpinLockRelease(&shelf->mutex);
	if (offer)
		appeared(notice->count);
}

static void
notice_commit(void *record)
{
	Notice	   *notice = record;

	give_notice(notice, notice->at_commit, notice->taken);
}

static void
notice_abort(void *record)
{
	Notice	   *notice = record;

	if (notice->at_abort)
		give_notice(notice, true, false);
}

static const XactKind notice_kind = {notice_commit, notice_abort};

static Notice *
add_notice(int64 task_type, int32 partition, int64 task_id)
{
	Notice	   *notice = xact_add(&notice_kind, sizeof(Notice));

	shelf_key(&notice->key, task_type, partition);
	notice->task_id = notice->last = task_id;
	notice->count = 1;
	return notice;
}

void
feed_reoffer(int64 task_type, int32 partition, int64 task_id)
{
	add_notice(task_type, partition, task_id)->at_commit = true;
}

void
feed_took(int64 task_type, int32 partition, int64 task_id, int32 left)
{
	Notice	   *notice = add_notice(task_type, partition, task_id);

	notice->at_commit = left > 0;	/* somebody may have gone past it */
	notice->at_abort = true;
	notice->taken = true;
}

void
feed_took_some(int64 task_type, int32 partition, int64 first, int64 last, int count, bool left)
{
	Notice	   *notice = add_notice(task_type, partition, first);

	notice->last = last;
	notice->count = count;
	notice->at_commit = left;
	notice->at_abort = true;
	notice->taken = true;
}

void
feed_reoffer_some(int64 task_type, int32 partition, int64 first, int64 last)
{
	Notice	   *notice = add_notice(task_type, partition, first);

	notice->last = last;
	notice->at_commit = true;
}

/* ---- opening again ---- */

typedef struct Reopening
{
	Shelf	   *shelf;			/* pinned: nobody would make it, to look there */
	int64		first;
	int64		last;			/* they are between the two */
} Reopening;

static void
reopening_commit(void *record)
{
	Reopening  *reopening = record;
	Shelf	   *shelf = reopening->shelf;

	SpinLockAcquire(&shelf->mutex);
	shelf->retired = false;
	shelf_lower_durable(shelf, reopening->first - 1);

	/* as if they were supplied: on this shelf it may be the last one */
	if (reopening->first <= shelf->high)
		shelf_add_range(shelf, reopening->first, reopening->last);
	shelf->high = Max(shelf->high, reopening->last);
	shelf_changed(shelf);
	shelf->pins--;
	SpinLockRelease(&shelf->mutex);
	appeared((reopening->last - reopening->first) / TASK_ID_STEP + 1);
}

static void
reopening_abort(void *record)
{
	Reopening  *reopening = record;

	if (reopening->shelf)		/* it was made */
		shelf_unpin(reopening->shelf);
}

static const XactKind reopening_kind = {reopening_commit, reopening_abort};

static void
reopen(int64 task_type, int32 partition, int64 first, int64 last)
{
	Reopening  *reopening = xact_add(&reopening_kind, sizeof(Reopening));

	reopening->first = first;
	reopening->last = last;
	reopening->shelf = shelf_get(task_type, partition);
}

/*
 * The stored low may be past the task.  The offer itself is not written: who
 * holds his transaction open would hold up the conductor and others who
 * reopen.  The conductor lowers the offer by the note, before it raises any.
 */
void
feed_reopen(int64 task_type, int32 partition, int64 task_id)
{
	note_offer(task_type, partition, task_id - 1);
	reopen(task_type, partition, task_id, task_id);
}

void
feed_move_begin(FeedMove *move, int32 partition, int max_types)
{
	move->partition = partition;
	move->count = 0;
	move->types = palloc(sizeof(Datum) * Max(max_types, 1));
	move->lows = palloc(sizeof(Datum) * Max(max_types, 1));
}

void
feed_move_add(FeedMove *move, int64 task_type, int64 first, int64 last)
{
	move->types[move->count] = Int64GetDatum(task_type);
	move->lows[move->count++] = Int64GetDatum(first - 1);
	reopen(task_type, move->partition, first, last);
}

/* all notes at once: somebody waits for the end of the transaction */
void
feed_move_end(FeedMove *move)
{
	Datum		values[3];
	SpiScope	scope;

	if (move->count == 0)
		return;
	values[0] = PointerGetDatum(construct_array(move->types, move->count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	values[1] = Int32GetDatum(move->partition);
	values[2] = PointerGetDatum(construct_array(move->lows, move->count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
	spi_begin(&scope);
	spi_run(&insert_notes, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

/* ---- claiming ---- */

/* a scan holds its shelf; if it takes a task, until the transaction ends */
typedef struct Claiming
{
	Shelf	   *shelf;			/* NULL: released */
	int64		task_id;		/* 0: none, or given up */
	int32		left;			/* slots that the task has beside this one */
} Claiming;

/* removes the claim; was it passed by somebody?  mutex held */
static bool
remove_claim(Shelf *shelf, int64 task_id)
{
	for (int i = 0; i < shelf->claim_count; i++)
		if (shelf->claims[i].task_id == task_id && shelf->claims[i].pid == MyProcPid)
		{
			bool		passed = shelf->claims[i].passed;

			shelf->claims[i] = shelf->claims[--shelf->claim_count];
			return passed;
		}
	return true;				/* there was no room for it: nobody knows */
}

static void
end_claim(Claiming *claiming, bool committed)
{
	Shelf	   *shelf = claiming->shelf;

	if (shelf == NULL)
		return;
	SpinLockAcquire(&shelf->mutex);
	if (claiming->task_id != 0)
	{
		bool		passed = remove_claim(shelf, claiming->task_id);

		if (!committed || (passed && claiming->left > 0))
			shelf_add_range(shelf, claiming->task_id, claiming->task_id);
		if (committed)
		{
			shelf->taken++;
			shelf->taken_durable++;
		}
		shelf_changed(shelf);
	}
	shelf->pins--;
	SpinLockRelease(&shelf->mutex);
	if (claiming->task_id != 0 && !committed)
		appeared(1);
}

static void
claiming_commit(void *record)
{
	end_claim(record, true);
}

static void
claiming_abort(void *record)
{
	end_claim(record, false);
}

static const XactKind claiming_kind = {claiming_commit, claiming_abort};

/* a record for the shelf that is free for a claim */
static Claiming *
claiming_for(Shelf *shelf)
{
	Claiming   *claiming = xact_find(&claiming_kind);

	if (claiming && claiming->shelf == shelf && claiming->task_id == 0)
		return claiming;

	if (claiming == NULL || claiming->shelf != NULL)
		claiming = xact_add(&claiming_kind, sizeof(Claiming));
	claiming->shelf = shelf;
	shelf_pin(shelf);
	return claiming;
}

/*
 * Keeps the shelf in place until it is released or the transaction ends; false
 * if it has given way to another one since feed_shelves named it, or its storage
 * partition was dropped, or cannot be read.
 */
bool
shelf_hold(Shelf *shelf, int64 task_type)
{
	if (!shelf_pin_ours(shelf, task_type))
		return false;
	if (unlikely(!directory_has_partition(shelf->key.partition) || !directory_readable(shelf->key.partition)))
	{
		shelf_unpin(shelf);
		return false;
	}
	claiming_for(shelf);
	shelf_unpin(shelf);			/* the record's pin is enough */
	return true;
}

/*
 * A scan took nothing.  Where shelves are few, one that looks through many must
 * not keep all of them in place.
 */
void
shelf_release(Shelf *shelf)
{
	Claiming   *claiming = xact_find(&claiming_kind);

	if (claiming && claiming->shelf == shelf && claiming->task_id == 0)
	{
		shelf_unpin(shelf);
		claiming->shelf = NULL;
	}
}

bool
feed_claim(Shelf *shelf, int64 task_id)
{
	Claiming   *claiming = claiming_for(shelf);
	bool		free_to_claim = true;

	SpinLockAcquire(&shelf->mutex);
	for (int i = 0; i < shelf->claim_count; i++)
		if (shelf->claims[i].task_id == task_id && shelf->claims[i].pid != MyProcPid)
		{
			shelf->claims[i].passed = true;
			free_to_claim = false;
			break;
		}
	if (free_to_claim)
	{
		claiming->task_id = task_id;
		claiming->left = 1;		/* until feed_claimed knows better */
		if (shelf->claim_count < SHELF_CLAIMS)
		{
			shelf->claims[shelf->claim_count].task_id = task_id;
			shelf->claims[shelf->claim_count].pid = MyProcPid;
			shelf->claims[shelf->claim_count++].passed = false;
		}
	}
	SpinLockRelease(&shelf->mutex);
	return free_to_claim;
}

void
feed_claimed(int64 task_id, int32 left)
{
	Claiming   *claiming = xact_find(&claiming_kind);

	if (claiming && claiming->task_id == task_id)
		claiming->left = left;
}

/* this transaction's claim on the task is over; NULL: it has none */
static Shelf *
end_own_claim(int64 task_id)
{
	Claiming   *claiming = xact_find(&claiming_kind);

	if (claiming == NULL || claiming->task_id != task_id)
		return NULL;
	claiming->task_id = 0;
	return claiming->shelf;
}

void
feed_unclaim(int64 task_id)
{
	Shelf	   *shelf = end_own_claim(task_id);

	if (shelf == NULL)
		return;
	SpinLockAcquire(&shelf->mutex);
	if (remove_claim(shelf, task_id))
		shelf_add_range(shelf, task_id, task_id);
	shelf_changed(shelf);
	SpinLockRelease(&shelf->mutex);
}

void
feed_claim_failed(int64 task_id)
{
	Shelf	   *shelf = end_own_claim(task_id);

	if (shelf == NULL)
		return;
	SpinLockAcquire(&shelf->mutex);
	if (remove_claim(shelf, task_id) || shelf->busy_count == SHELF_BUSY)
		shelf_add_range(shelf, task_id, task_id);
	else
		shelf->busy[shelf->busy_count++] = task_id;
	SpinLockRelease(&shelf->mutex);
}
