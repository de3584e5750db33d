/*
 * child.h
 *	  Rows of the child tables of a storage partition, without the executor.
 *
 * The hottest calls read, lock, update and insert single rows by key.  Doing so
 * through the table and index interfaces costs a fraction of a kept SPI plan.
 * What the executor would do besides is not done: no rights are checked (the
 * caller has), no triggers, CHECK constraints or partition constraints run.
 * Everything else, visibility, row locks, isolation levels and indexes, works
 * as in SQL.
 */
#ifndef TASKEX_CHILD_H
#define TASKEX_CHILD_H

#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "executor/tuptable.h"
#include "storage/itemptr.h"
#include "utils/rel.h"
#include "utils/snapshot.h"

#define CHILD_INDEXES 3
#define CHILD_INDEX_KEYS 2

/* a partitioned table, as its module's SQL file declares it */
typedef struct ChildTable
{
	const char *name;			/* without schema and partition */
	int			ncolumns;
	const char *const *columns; /* all of them, in order */
	int			nindexes;		/* the ones that are used here; [0]: primary key */
	AttrNumber	indexes[CHILD_INDEXES][CHILD_INDEX_KEYS];	/* leading columns; 0: none */
	bool		found_again;	/* sessions look for rows that they have inserted, by the primary key */
} ChildTable;

/* the child of a partition, open and locked for writing */
typedef struct Child
{
	Relation	rel;
	bool		keeps_indexes;	/* the table is locked so that its indexes need no lock */
	Oid			indexes[CHILD_INDEXES];
	struct KnownChild *known;	/* what the session remembers of the table */
	TupleTableSlot *slot;		/* the row found or locked last */
	BlockNumber blocks;			/* of the table, at least; 0: not asked yet */
	ItemPointerData inserted;	/* where child_insert() has put the last row */
} Child;

typedef enum RowLock
{
	ROW_LOCKED,
	ROW_NONE,					/* there is no such row */
	ROW_BUSY					/* somebody else has it locked */
} RowLock;

extern void child_open(Child *child, const ChildTable *table, int32 partition);

/* the same; false: the partition does not exist (any more) */
extern bool child_try_open(Child *child, const ChildTable *table, int32 partition);

/* the same with another lock: AccessShareLock for who only reads */
extern void child_open_mode(Child *child, const ChildTable *table, int32 partition, LOCKMODE mode);

/* the lock stays until the transaction ends */
extern void child_close(Child *child);

/*
 * Has the table never had a row, or lost all of them and been vacuumed since?
 * If so, nothing that is committed before the call is in it, for any snapshot
 * that looks at what is committed now.
 */
extern bool child_is_void(Child *child);

/* finds the row whose index columns equal the bigint keys */
extern bool child_find(Child *child, int index, int nkeys, const int64 *keys);

/*
 * Finds the row with that bigint primary key, as the snapshot sees it.  hint, if it
 * is valid: where it may be, which needs no index if it is there.
 */
extern bool child_find_as(Child *child, int64 key, Snapshot snapshot, ItemPointerData hint);

/*
 * Finds a row by its bigint primary key and locks its newest version, waiting
 * for others or not.  Under REPEATABLE READ a row that changed since the
 * snapshot raises a serialization failure.
 */
extern RowLock child_lock(Child *child, int64 key, bool wait);

/*
 * The same for the row that child_find or a scan had in the slot there, in this
 * statement, which keeps the version it saw: no look into the index again.
 */
extern RowLock child_lock_at(Child *child, ItemPointerData tid, bool wait);

/* changes columns (1..) of the locked row */
extern void child_update(Child *child, int ncolumns, const int *columns,
						 const Datum *values, const bool *nulls);

/*
 * The same of a row that was found and not locked.  If it is what the caller
 * found, and so until the transaction ends, it is changed: true.  Else it must be
 * locked, and looked at again.  Waits for others who change it.
 */
extern bool child_try_update(Child *child, int ncolumns, const int *columns,
							 const Datum *values, const bool *nulls);

/* the same; waits for nobody: false also if somebody else, or the caller, has it locked */
extern bool child_update_at_once(Child *child, int ncolumns, const int *columns,
								 const Datum *values, const bool *nulls);

extern void child_insert(Child *child, const Datum *values, const bool *nulls);

/*
 * The same, unless a row with the same columns of this unique index is there, also
 * one that the caller's snapshot does not show, or another transaction inserts it
 * just now: then false, and no row is inserted.
 */
extern bool child_try_insert(Child *child, int index, const Datum *values, const bool *nulls);

/*
 * Many rows at a time.  fill makes the values of a row (0 ..) of those of the one
 * before; all are null at first.
 */
extern void child_insert_many(Child *child, int count,
							  void (*fill) (int row, Datum *values, bool *nulls, void *arg), void *arg);

/* a forward scan of an index; the row is in child->slot */
typedef struct ChildScan
{
	Child	   *child;
	IndexScanDesc scan;
	Relation	index;
	Snapshot	snapshot;
} ChildScan;

/* column 1 of the index = equal, after < column 2 <= upto */
extern void child_scan_begin(ChildScan *scan, Child *child, int index,
							 int64 equal, int64 after, int64 upto);

/* column 1 of the index = equal */
extern void child_scan_begin_equal(ChildScan *scan, Child *child, int index, int64 equal);

/*
 * The same, but of the rows that are committed now, and the caller's own,
 * whatever his isolation level.
 */
extern void child_scan_latest(ChildScan *scan, Child *child, int index, int64 equal);
extern bool child_scan_next(ChildScan *scan);

/*
 * For many rows one after the other: child_lookup finds the first one whose
 * leading nkeys columns of the index equal the keys, as of the beginning.
 */
extern void child_lookup_begin(ChildScan *scan, Child *child, int index, int nkeys);
extern bool child_lookup(ChildScan *scan, ScanKey keys);
extern void child_scan_end(ChildScan *scan);

/*
 * Who wants to know which rows are locked and written; NULL: nobody.  He is
 * told with the row, unless he is quiet.  He may raise errors.
 */
typedef struct ChildWatch
{
	bool		(*quiet) (void);
	void		(*touched) (Relation rel, HeapTuple tuple, bool written);
	void		(*changed) (Relation rel, HeapTuple old, HeapTuple new);
} ChildWatch;

extern PGDLLIMPORT const ChildWatch *child_watch;

/* at the load: see child_hook.c */
extern void child_hook_install(void);

/* columns of child->slot that are not null */
extern int64 child_int64(Child *child, int column);
extern int32 child_int32(Child *child, int column);
extern bool child_text_is(Child *child, int column, const char *value);

#endif							/* TASKEX_CHILD_H */
