/*
 * ids.c
 *	  Ids from shared memory, backed by sequences.
 *
 * PURPOSE	An id costs an addition under a spinlock instead of a sequence
 *			call, a bulk call gets consecutive ids, and ids rise in the order
 *			of allocation over all sessions.
 * LAYOUT	For each realm slot and kind the next id and the end of the block
 *			that was taken from the sequence _taskex.KIND_id_seq.  A sequence
 *			step is IDS_BLOCK ids.  The local node's sequences start at 1; a
 *			further node's will be started at its own offset when it joins,
 *			which does not exist yet.
 * WRITES	next and end under the entry's spinlock.
 * CRASH	The rest of the block is skipped; the sequence is WAL-logged before
 *			an id of its block can be in any committed row.
 * INVARIANT  next <= end; a block is handed out once.
 */
#include "postgres.h"

#include "infra/ids.h"
#include "base/guc.h"
#include "infra/realm.h"

#include "access/xlog.h"
#include "catalog/namespace.h"
#include "commands/sequence.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/lsyscache.h"

#define IDS_BLOCK 131072		/* the sequences' INCREMENT */

typedef struct IdBlock
{
	slock_t		mutex;
	int64		next;
	int64		end;
} IdBlock;

static IdBlock *blocks = NULL;

static const char *const sequences[ID_KINDS] = {
	[ID_USER] = "user_id_seq",
	[ID_TASK_TYPE] = "task_type_id_seq",
	[ID_TASK] = "task_id_seq",
	[ID_ASSIGNMENT] = "assignment_id_seq",
	[ID_TRANSFER] = "transfer_id_seq",
	[ID_LEASE] = "lease_token_seq",
	[ID_JOURNAL] = "journal_id_seq",
	[ID_RUN] = "run_id_seq",
	[ID_USAGE] = "usage_id_seq",
};

static Size
ids_size(void)
{
	return mul_size(mul_size(guc_max_databases, ID_KINDS), sizeof(IdBlock));
}

static void
ids_reset(int slot)
{
	for (int kind = 0; kind < ID_KINDS; kind++)
	{
		IdBlock    *block = &blocks[slot * ID_KINDS + kind];

		SpinLockAcquire(&block->mutex);
		block->next = block->end = 0;
		SpinLockRelease(&block->mutex);
	}
}

static void
ids_attach(void *block, LWLockPadded *locks, bool found)
{
	blocks = block;
	if (!found)
		for (int i = 0; i < guc_max_databases * ID_KINDS; i++)
			SpinLockInit(&blocks[i].mutex);
	realm_on_reset(ids_reset);
}

const ShmemPart ids_shmem = {"taskex ids", ids_size, NULL, NULL, ids_attach};

/* takes a new block unless another session just did */
static void
refill(IdBlock *block, IdKind kind, int64 count)
{
	Oid			sequence = get_relname_relid(sequences[kind],
											 get_namespace_oid("_taskex", false));
	int64		start = nextval_internal(sequence, false);

	/* an id must not be given twice, even if its first use was lost in a crash */
	XLogFlush(XactLastRecEnd);

	SpinLockAcquire(&block->mutex);
	if (block->end == start)
		block->end = start + IDS_BLOCK;
	else if (start > block->end && block->end - block->next < count)
	{
		block->next = start;
		block->end = start + IDS_BLOCK;
	}
	SpinLockRelease(&block->mutex);
}

int64
ids_next(IdKind kind, int64 count)
{
	IdBlock    *block = &blocks[realm_current()->slot * ID_KINDS + kind];

	Assert(count >= 1 && count <= IDS_MAX_COUNT);
	for (;;)
	{
		int64		first = 0;

		SpinLockAcquire(&block->mutex);
		if (block->end - block->next >= count)
		{
			first = block->next;
			block->next += count;
		}
		SpinLockRelease(&block->mutex);
		if (first > 0)
			return first;
		refill(block, kind, count);
	}
}

int64
ids_peek(IdKind kind)
{
	IdBlock    *block = &blocks[realm_current()->slot * ID_KINDS + kind];
	int64		last;

	SpinLockAcquire(&block->mutex);
	last = block->next > 0 ? block->next - 1 : 0;
	SpinLockRelease(&block->mutex);
	return last;
}

int
ids_compare(const void *a, const void *b)
{
	int64		x = *(const int64 *) a;
	int64		y = *(const int64 *) b;

	return x < y ? -1 : x > y;
}
