/*
 * rows.h
 *	  The rows of one user in one table on two storage partitions.
 *
 * Rows are read, copied and deleted through the table and index interfaces: no
 * plans, no triggers, so nothing that the mover does is taken for a change.
 */
#ifndef TASKEX_MIGRATION_ROWS_H
#define TASKEX_MIGRATION_ROWS_H

#include "postgres.h"

#include "access/genam.h"
#include "access/skey.h"
#include "nodes/execnodes.h"
#include "storage/lockdefs.h"
#include "utils/array.h"
#include "storage/itemptr.h"
#include "utils/relcache.h"
#include "utils/snapshot.h"

#define MOVE_KEYS 8				/* columns of a primary key, at most */

/* what is known of a registered table (_taskex.child_table) */
typedef struct MoveTable
{
	char		name[NAMEDATALEN];
	int			position;
	char		owner[NAMEDATALEN]; /* column with the user the row belongs to */
	char	   *owned;			/* condition on "x", $1 the user; NULL: x.owner = $1 */
	char	   *forwarded;		/* what its ids, the primary key, are of, if they tell where a row lies; or NULL */
	ItemPointerData *tids;		/* his rows, where they are read or deleted */
	int64		count;
	int64		next;			/* first one that is not done */
	bool		careful;		/* rows may be at the target already */
} MoveTable;

/* one child of it, open in this transaction */
typedef struct MoveChild
{
	const MoveTable *table;
	int32		partition;
	Relation	rel;
	Relation	key;			/* its primary key */
	TupleTableSlot *slot;		/* the row that was found last */
	ScanKeyData keys[MOVE_KEYS];	/* "column of the primary key = ..." */
	IndexScanDesc scan;			/* kept from one search to the next; or NULL */
	const struct MoveChild *like;	/* whose columns "from" tells of */
	AttrNumber *from;			/* column of it for each of ours, or NULL: the same */
	AttrNumber	owner;
	AttrNumber	place;			/* partition_id */
} MoveChild;

/* a child into which rows are copied */
typedef struct MoveTarget
{
	MoveChild	child;
	EState	   *estate;
	ResultRelInfo *info;
	AttrNumber *from;			/* column of the source for each of ours, or NULL: the same */
	TupleTableSlot **slots;
	int			nslots;			/* that are filled */
	struct BulkInsertStateData *bulk;
} MoveTarget;

/* rows that one call of target_flush writes */
#define MOVE_SLOTS 1000

extern void child_of_move(MoveChild *child, const MoveTable *table, int32 partition, LOCKMODE mode);
extern void child_of_move_end(MoveChild *child);

/* the row that the TID is of, if the snapshot sees it */
extern bool move_fetch(MoveChild *child, ItemPointer tid, Snapshot snapshot);

/* does the row in the slot belong to the user? */
extern bool move_owned(MoveChild *child, int64 user);

/* finds a row by its primary key: as text, or that of a row of another child */
extern bool move_find_text(MoveChild *child, ArrayType *key, Snapshot snapshot);
extern bool move_find_same(MoveChild *child, const MoveChild *other, Snapshot snapshot);

/* are the rows in the two slots equal, but for the partition? */
extern bool move_equal(MoveChild *child, const MoveChild *other);

/* bytes of the row in the slot */
extern Size move_size(const MoveChild *child);

/* deletes the row; false: somebody holds it */
extern bool move_delete(MoveChild *child, ItemPointer tid);

extern void target_begin(MoveTarget *target, const MoveTable *table, int32 partition,
						 const MoveChild *source, bool conflicts);
extern void target_end(MoveTarget *target);

/* adds a copy of the source's row; with target_flush they are written at once */
extern void target_add(MoveTarget *target, const MoveChild *source);
extern void target_flush(MoveTarget *target);

/*
 * Writes a copy of the source's row now.  Where a unique index has a row already that
 * one is replaced, or the source's is left out (false).  For targets begun with
 * "conflicts".
 */
extern bool target_put(MoveTarget *target, const MoveChild *source, bool replace);

/* the TIDs of all rows of the user on the partition, in their order, into the context */
extern void move_list(MoveTable *table, int32 partition, int64 user, MemoryContext context);

#endif							/* TASKEX_MIGRATION_ROWS_H */
