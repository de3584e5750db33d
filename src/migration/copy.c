/*
 * copy.c
 *	  Small batches of a user's rows: copied, compared, deleted.
 *
 * A batch is so small that the WAL it makes holds up nobody who waits for his
 * own.  Rows that changed since they were listed are not where they were; they
 * were logged and follow.c looks after them.
 */
#include "postgres.h"

#include "migration/move.h"
#include "infra/spi.h"

#include "access/htup_details.h"
#include "access/transam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "executor/instrument.h"
#include "miscadmin.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* bytes of rows that a batch copies */
#define BATCH_BYTES (256 * 1024)

/* rows that a batch copies, compares or deletes */
#define COPY_ROWS MOVE_SLOTS
#define VERIFY_ROWS 2000
#define CLEAN_ROWS 1000

/* WAL after which a batch deletes no more: each page that is touched the first time since a checkpoint is in it */
#define CLEAN_BYTES (128 * 1024)

/* rows that may seem to differ before it is taken for more than changes meanwhile */
#define DOUBTS_MAX 100000

static int64
table_bytes(const MoveTable *table, int32 partition)
{
	MoveChild	child;
	double		rows;
	double		blocks;

	if (table->count == 0)
		return 0;
	child_of_move(&child, table, partition, AccessShareLock);
	rows = child.rel->rd_rel->reltuples;
	blocks = RelationGetNumberOfBlocks(child.rel);
	child_of_move_end(&child);
	return (int64) (blocks * BLCKSZ / Max(rows, (double) table->count) * table->count);
}

static int
earlier_first(const void *a, const void *b)
{
	return ((const MoveTable *) a)->position - ((const MoveTable *) b)->position;
}

static int
later_first(const void *a, const void *b)
{
	return earlier_first(b, a);
}

/* backwards: to be deleted; what tells whose a row of another table is goes last */
void
move_list_tables(Move *move, int32 partition, bool backwards)
{
	int64		rows = 0;
	int64		bytes = 0;

	qsort(move->tables, move->ntables, sizeof(MoveTable), backwards ? later_first : earlier_first);
	for (int i = 0; i < move->ntables; i++)
	{
		MoveTable  *table = &move->tables[i];

		if (table->tids)
			pfree(table->tids);
		table->tids = NULL;
		move_list(table, partition, move->user, move->context);
		table->careful = move->resumed;
		rows += table->count;
		bytes += table_bytes(table, partition);
	}
	move->listed = true;
	move->table = 0;
	if (move->state == MOVE_COPYING)
	{
		move->progress.rows = move->progress.bytes = 0;
		move->progress.rows_total = rows;
		move->progress.bytes_total = bytes;
	}
}

/* the next table with rows that are not done; NULL: there is none */
static MoveTable *
present_table(Move *move)
{
	while (move->table < move->ntables)
	{
		MoveTable  *table = &move->tables[move->table];

		if (table->next < table->count)
			return table;
		move->table++;
	}
	return NULL;
}

/* copies until the batch is full; how far it has come */
static int64
copy_rows(Move *move, MoveTable *table, MoveChild *source, MoveTarget *target, ForwardIds *forward)
{
	Snapshot	snapshot = GetActiveSnapshot();
	Size		bytes = 0;
	int64		rows = 0;
	int64		i;

	for (i = table->next; i < table->count && bytes < BATCH_BYTES && rows < COPY_ROWS; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (!move_fetch(source, &table->tids[i], snapshot) || !move_owned(source, move->user))
			continue;
		bytes += move_size(source);
		rows++;
		forward_note(forward, source, move->target, false);
		if (table->careful)
			(void) target_put(target, source, false);
		else
			target_add(target, source);
	}
	target_flush(target);
	move->progress.rows += rows;
	move->progress.bytes += bytes;
	return i;
}

/* false: all is copied */
bool
copy_batch(Move *move)
{
	MoveTable  *table = present_table(move);
	MoveChild	source;
	MoveTarget	target;
	ForwardIds	forward;
	int64		done;

	if (table == NULL)
		return false;
	child_of_move(&source, table, move->source, AccessShareLock);
	target_begin(&target, table, move->target, &source, table->careful);
	forward_begin(&forward, table);
	done = copy_rows(move, table, &source, &target, &forward);
	target_end(&target);
	child_of_move_end(&source);
	forward_write(&forward, move->user);
	table->next = done;
	return true;
}

/* ---- are the copies what they should be? ---- */

static void
add_doubt(Move *move, ItemPointer tid)
{
	MemoryContext old;

	if (move->ndoubts == DOUBTS_MAX)
		return;
	old = MemoryContextSwitchTo(move->context);
	if (move->doubts == NULL)
		move->doubts = palloc(sizeof(move->doubts[0]) * DOUBTS_MAX);
	MemoryContextSwitchTo(old);
	move->doubts[move->ndoubts].table = move->table;
	move->doubts[move->ndoubts].tid = *tid;
	move->ndoubts++;
}

/*
 * Compares rows of the source with their copies, each batch as of one moment.
 * What differs may have changed and not been followed yet: it is noted.
 */
bool
verify_batch(Move *move)
{
	MoveTable  *table = present_table(move);
	Snapshot	snapshot = GetActiveSnapshot();
	MoveChild	source;
	MoveChild	copy;
	int64		upto;

	if (table == NULL)
		return false;
	child_of_move(&source, table, move->source, AccessShareLock);
	child_of_move(&copy, table, move->target, AccessShareLock);
	upto = Min(table->count, table->next + VERIFY_ROWS);
	for (; table->next < upto; table->next++)
	{
		ItemPointer tid = &table->tids[table->next];

		CHECK_FOR_INTERRUPTS();
		if (move_fetch(&source, tid, snapshot) && move_owned(&source, move->user) &&
			!(move_find_same(&copy, &source, snapshot) && move_equal(&copy, &source)))
			add_doubt(move, tid);
	}
	child_of_move_end(&copy);
	child_of_move_end(&source);
	return true;
}

/*
 * Are there as many copies as rows?  The lists of the source were made as of the
 * active snapshot; what was logged up to it may explain a difference.
 */
void
verify_counts(Move *move)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "taskex copies", ALLOCSET_DEFAULT_SIZES);

	for (int i = 0; i < move->ntables; i++)
	{
		const MoveTable *table = &move->tables[i];
		MoveTable	copies = *table;
		int64		differ;

		copies.tids = NULL;
		move_list(&copies, move->target, move->user, context);
		differ = copies.count > table->count ? copies.count - table->count : table->count - copies.count;
		if (differ > 0 && differ > follow_waiting(move, table->position))
			ereport(ERROR,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("table \"%s_%d\" has %lld rows of the user, and its copy %lld", table->name,
							move->source, (long long) table->count, (long long) copies.count)));
		MemoryContextReset(context);
	}
	MemoryContextDelete(context);
}

static void
report_difference(Move *move, const MoveTable *table, ItemPointer tid)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATA_CORRUPTED),
			 errmsg("the copy of a row of table \"%s_%d\" differs", table->name, move->source),
			 errdetail("It is at (%u,%u).", ItemPointerGetBlockNumber(tid), ItemPointerGetOffsetNumber(tid))));
}

/*
 * Looks again at what differed, when all that was logged up to the active
 * snapshot has been followed, the last of it in this transaction.
 */
void
verify_doubts(Move *move)
{
	Snapshot	snapshot = GetActiveSnapshot();

	for (int i = 0; i < move->ndoubts; i++)
	{
		const MoveTable *table = &move->tables[move->doubts[i].table];
		ItemPointer tid = &move->doubts[i].tid;
		MoveChild	source;
		MoveChild	copy;

		CHECK_FOR_INTERRUPTS();
		child_of_move(&source, table, move->source, AccessShareLock);
		child_of_move(&copy, table, move->target, AccessShareLock);
		if (move_fetch(&source, tid, snapshot) && move_owned(&source, move->user) &&
			!(move_find_same(&copy, &source, SnapshotSelf) && move_equal(&copy, &source)))
			report_difference(move, table, tid);
		child_of_move_end(&copy);
		child_of_move_end(&source);
	}
	move->ndoubts = 0;
}

/* ---- taking away what is not needed ---- */

/* the transaction that wrote the row */
static TransactionId
written_by(MoveChild *copy)
{
	bool		free_tuple;
	HeapTuple	tuple = ExecFetchSlotHeapTuple(copy->slot, false, &free_tuple);
	TransactionId xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);	/* frozen or not */

	if (free_tuple)
		heap_freetuple(tuple);
	return xmin;
}

/*
 * Each row that the user left behind is at his home, equal to it unless it was
 * changed there since; or it was deleted there since.
 */
static void
verify_left(Move *move, const MoveTable *table, MoveChild *left, MoveChild *home, ItemPointer tid, LoggedKeys **log)
{
	if (move_find_same(home, left, GetActiveSnapshot()))
	{
		if (move_equal(home, left) || !move_before_switch(move, written_by(home)))
			return;
	}
	else if (follow_deleted(move, left, log))
		return;
	report_difference(move, table, tid);
}

/*
 * Deletes rows of the user where he does not live, at the source once he has
 * switched, else at the target.  False: there are none left.
 */
bool
clean_batch(Move *move, int32 partition, bool switched)
{
	MoveTable  *table = present_table(move);
	Snapshot	snapshot = GetActiveSnapshot();
	MoveChild	left;
	MoveChild	home;
	ForwardIds	forward;
	LoggedKeys *log = NULL;
	uint64		wal = pgWalUsage.wal_bytes;
	int64		rows = 0;

	if (table == NULL)
		return false;
	child_of_move(&left, table, partition, RowExclusiveLock);
	if (switched)
		child_of_move(&home, table, move->target, AccessShareLock);
	forward_begin(&forward, table);
	for (; table->next < table->count && rows < CLEAN_ROWS && pgWalUsage.wal_bytes - wal < CLEAN_BYTES; table->next++)
	{
		ItemPointer tid = &table->tids[table->next];

		CHECK_FOR_INTERRUPTS();
		if (!move_fetch(&left, tid, snapshot) || !move_owned(&left, move->user))
			continue;
		if (switched)
			verify_left(move, table, &left, &home, tid, &log);

		/* whose ids tell where they are from now on need no other way */
		forward_note(&forward, &left, switched ? move->target : move->source, true);
		if (!move_delete(&left, tid))
			ereport(ERROR,
					(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
					 errmsg("a row of table \"%s_%d\" is locked", table->name, partition)));
		rows++;
	}
	if (switched)
		child_of_move_end(&home);
	child_of_move_end(&left);
	forward_remove(&forward, move->user);
	move->progress.cleaned += rows;
	return true;
}
