/*
 * round.c
 *	  Rounds of the conductor, for who wants to wait for one.
 *
 * PURPOSE	Who asks for a dispatch by hand lets the conductor do it: whoever
 *			dispatches holds a lock to the end of his transaction.
 * LAYOUT	A place for each realm: the latch of its conductor, and how many
 *			rounds it has begun and ended.
 * WRITES	The conductor of the realm, under the place's spinlock.
 * CRASH	All is zero: there is no conductor until one begins a round.
 * INVARIANT  A round that is begun after a commit sees what was committed.
 */
#include "postgres.h"

#include "journal/journal.h"
#include "base/guc.h"
#include "infra/realm.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/shmem.h"
#include "storage/spin.h"

/* how long a round is waited for, in steps of 10 ms */
#define WAITS 500

typedef struct RoundPlace
{
	slock_t		mutex;
	Latch	   *conductor;		/* NULL: none is running */
	uint64		begun;
	uint64		ended;
} RoundPlace;

static RoundPlace *places = NULL;

/* where this process, a conductor, has its latch; -1: nowhere */
static int	mine = -1;

static Size
round_size(void)
{
	return mul_size(guc_max_databases, sizeof(RoundPlace));
}

static void
round_attach(void *block, LWLockPadded *locks, bool found)
{
	places = block;
	if (!found)
		for (int i = 0; i < guc_max_databases; i++)
			SpinLockInit(&places[i].mutex);
}

const ShmemPart journal_shmem = {"taskex journal rounds", round_size, NULL, NULL, round_attach};

static void
leave(int code, Datum arg)
{
	RoundPlace *place;

	if (mine < 0)
		return;
	place = &places[mine];
	SpinLockAcquire(&place->mutex);
	if (place->conductor == MyLatch)
		place->conductor = NULL;
	SpinLockRelease(&place->mutex);
	mine = -1;
}

void
round_begin(void)
{
	static bool registered = false;
	int			slot = realm_current()->slot;
	RoundPlace *place = &places[slot];

	if (!registered)
	{
		before_shmem_exit(leave, (Datum) 0);
		registered = true;
	}
	if (mine != slot)
		leave(0, (Datum) 0);
	mine = slot;
	SpinLockAcquire(&place->mutex);
	place->conductor = MyLatch;
	place->begun++;
	SpinLockRelease(&place->mutex);
}

void
round_end(void)
{
	RoundPlace *place = &places[mine];

	SpinLockAcquire(&place->mutex);
	place->ended = place->begun;
	SpinLockRelease(&place->mutex);
}

bool
round_await(void)
{
	RoundPlace *place = &places[realm_current()->slot];
	uint64		wanted = 0;

	if (!guc_conductor)
		return false;
	for (int i = 0; i < WAITS; i++)
	{
		Latch	   *conductor;
		uint64		ended;

		CHECK_FOR_INTERRUPTS();
		SpinLockAcquire(&place->mutex);
		conductor = place->conductor;
		ended = place->ended;
		if (wanted == 0)
			wanted = place->begun + 1;
		SpinLockRelease(&place->mutex);
		if (conductor == NULL)
			return false;
		if (ended >= wanted)
			return true;
		if (i == 0)
			SetLatch(conductor);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 10, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	return true;
}
