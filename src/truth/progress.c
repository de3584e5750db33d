/*
 * progress.c
 *	  What the inferences that are under way are doing.
 *
 * PURPOSE	An inference can take minutes; others see in taskex.inferences how
 *			far it is.  Nothing is decided by it.
 * LAYOUT	A slot for each backend, at the backend's number.
 * WRITES	The backend alone writes its slot, under the slot's spinlock.
 * CRASH	Shared memory is new, and so all slots are free.
 * INVARIANT  pid is 0 unless the backend of the slot is in an inference: it is
 *			taken back on errors, and when the backend exits.
 *
 * Keys are the database, not the realm: a slot outlives no statement.
 */
#include "postgres.h"

#include "truth/progress.h"
#include "base/compat.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/proc.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define NAME_SIZE 32

typedef struct ProgressState
{
	int			pid;
	Oid			database;
	Oid			role;
	TimestampTz started_at;
	char		method[NAME_SIZE];
	char		phase[NAME_SIZE];
	int			round;
	int			rounds;
	uint64		labels;
	uint64		tasks;
	uint64		performers;
} ProgressState;

typedef struct ProgressSlot
{
	slock_t		mutex;
	ProgressState state;
} ProgressSlot;

struct ProgressSaved
{
	ProgressState state;
};

static ProgressSlot *slots = NULL;
static ProgressSlot *mine = NULL;	/* while in an inference */

static Size
progress_size(void)
{
	return mul_size(MaxBackends, sizeof(ProgressSlot));
}

static void
progress_attach(void *block, LWLockPadded *locks, bool found)
{
	slots = block;
	if (!found)
		for (int i = 0; i < MaxBackends; i++)
			SpinLockInit(&slots[i].mutex);
}

const ShmemPart progress_shmem = {"taskex inferences", progress_size, NULL, NULL, progress_attach};

static void
store_state(ProgressSlot *slot, const ProgressState *state)
{
	SpinLockAcquire(&slot->mutex);
	slot->state = *state;
	SpinLockRelease(&slot->mutex);
}

/* a backend that is terminated runs no PG_FINALLY */
static void
progress_exit(int code, Datum arg)
{
	ProgressState none = {0};

	if (mine)
		store_state(mine, &none);
	mine = NULL;
}

ProgressSaved *
progress_begin(const char *method)
{
	static bool exit_known = false;
	ProgressSaved *saved = palloc0(sizeof(ProgressSaved));
	ProgressState state = {0};

	if (!shmem_ready())
		return saved;
	if (!exit_known)
		before_shmem_exit(progress_exit, (Datum) 0);
	exit_known = true;
	if (mine)
		saved->state = mine->state;
	mine = &slots[MyProcNumber];
	state.pid = MyProcPid;
	state.database = MyDatabaseId;
	state.role = GetUserId();
	state.started_at = GetCurrentTimestamp();
	strlcpy(state.method, method, NAME_SIZE);
	store_state(mine, &state);
	return saved;
}

void
progress_end(ProgressSaved *saved)
{
	if (mine == NULL)
		return;
	store_state(mine, &saved->state);
	if (saved->state.pid == 0)
		mine = NULL;
}

void
progress_phase(const char *phase, int round, int rounds)
{
	if (mine == NULL)
		return;
	SpinLockAcquire(&mine->mutex);
	if (strcmp(mine->state.phase, phase) != 0)
		strlcpy(mine->state.phase, phase, NAME_SIZE);
	mine->state.round = round;
	mine->state.rounds = rounds;
	SpinLockRelease(&mine->mutex);
}

void
progress_labels(uint64 labels)
{
	if (mine == NULL)
		return;
	SpinLockAcquire(&mine->mutex);
	mine->state.labels = labels;
	SpinLockRelease(&mine->mutex);
}

void
progress_counts(uint64 labels, uint64 tasks, uint64 performers)
{
	if (mine == NULL)
		return;
	SpinLockAcquire(&mine->mutex);
	mine->state.labels = labels;
	mine->state.tasks = tasks;
	mine->state.performers = performers;
	SpinLockRelease(&mine->mutex);
}

PG_FUNCTION_INFO_V1(taskex_inferences);

/* inferences() -> setof (pid, role, method, phase, round, rounds, labels, tasks, performers, started_at) */
Datum
taskex_inferences(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; shmem_ready() && i < MaxBackends; i++)
	{
		ProgressState state;
		Datum		values[10];
		bool		nulls[10] = {false};

		SpinLockAcquire(&slots[i].mutex);
		state = slots[i].state;
		SpinLockRelease(&slots[i].mutex);
		if (state.pid == 0 || state.database != MyDatabaseId)
			continue;
		values[0] = Int32GetDatum(state.pid);
		values[1] = ObjectIdGetDatum(state.role);
		values[2] = CStringGetTextDatum(state.method);
		values[3] = CStringGetTextDatum(state.phase);
		values[4] = Int32GetDatum(state.round);
		values[5] = Int32GetDatum(state.rounds);
		/* 0 is what is not known yet */
		nulls[4] = nulls[5] = state.rounds == 0;
		values[6] = Int64GetDatum(state.labels);
		values[7] = Int64GetDatum(state.tasks);
		values[8] = Int64GetDatum(state.performers);
		nulls[7] = nulls[8] = state.tasks == 0;
		values[9] = TimestampTzGetDatum(state.started_at);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
