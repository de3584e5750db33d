/*
 * writers.c
 *	  Who writes usage now, and with which number.
 *
 * PURPOSE	A closing must know which usage it cannot see, and wait for nobody:
 *			a session that is idle in its transaction may stay so for days.
 * LAYOUT	For each backend, at its number: the number with which its transaction
 *			writes usage, and the database.
 * WRITES	The backend alone writes its slot.  It says that it is about to take a
 *			number, then takes it, then says which; the number goes when the
 *			transaction has become visible, or is undone.
 * CRASH	Shared memory is new, and so nobody writes.
 * INVARIANT  A number that was taken before the bound of a closing, and is not in a
 *			slot when that is looked at afterwards, is one whose transaction has
 *			ended: any later snapshot sees its rows, or it was rolled back.
 */
#include "postgres.h"

#include "billing/writers.h"
#include "base/compat.h"
#include "infra/ids.h"
#include "infra/xact.h"

#include "miscadmin.h"
#include "port/atomics.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "utils/wait_event.h"

#define SEQ_NONE 0
#define SEQ_COMING PG_UINT64_MAX	/* about to take one */

typedef struct WriterSlot
{
	pg_atomic_uint64 seq;
	Oid			database;
} WriterSlot;

static WriterSlot *slots = NULL;
static int64 mine = SEQ_NONE;	/* of this transaction */

static Size
writers_size(void)
{
	return mul_size(MaxBackends, sizeof(WriterSlot));
}

static void
writers_attach(void *block, LWLockPadded *locks, bool found)
{
	slots = block;
	if (!found)
		for (int i = 0; i < MaxBackends; i++)
			pg_atomic_init_u64(&slots[i].seq, SEQ_NONE);
}

const ShmemPart writers_shmem = {"taskex writers of usage", writers_size, NULL, NULL, writers_attach};

static void
ended(void *record)
{
	mine = SEQ_NONE;
	pg_atomic_write_u64(&slots[MyProcNumber].seq, SEQ_NONE);
}

static const XactKind writing = {ended, ended};

int64
writers_seq(void)
{
	WriterSlot *slot = &slots[MyProcNumber];

	if (mine != SEQ_NONE)
		return mine;
	(void) xact_add(&writing, 0);
	slot->database = MyDatabaseId;
	pg_write_barrier();
	pg_atomic_write_u64(&slot->seq, SEQ_COMING);
	pg_memory_barrier();
	mine = ids_next(ID_USAGE, 1);
	pg_atomic_write_u64(&slot->seq, mine);
	return mine;
}

/* the number of a slot; waits while it is being taken, which is soon over */
static uint64
read_slot(WriterSlot *slot)
{
	uint64		seq;

	while ((seq = pg_atomic_read_u64(&slot->seq)) == SEQ_COMING)
	{
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 1, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
	}
	return seq;
}

int64
writers_bound(int64 **late, int *count)
{
	int64		bound = ids_next(ID_USAGE, 1);

	pg_memory_barrier();
	*late = palloc(sizeof(int64) * MaxBackends);
	*count = 0;
	for (int i = 0; i < MaxBackends; i++)
	{
		uint64		seq = read_slot(&slots[i]);

		pg_read_barrier();
		if (seq != SEQ_NONE && seq < (uint64) bound && slots[i].database == MyDatabaseId)
			(*late)[(*count)++] = (int64) seq;
	}
	return bound;
}
