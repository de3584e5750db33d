/*
 * mover.c
 *	  The workers that move users.
 *
 * PURPOSE	Each worker takes one migration after the other, and works on it until
 *			it must wait; what it has come to is told while it does.
 * LAYOUT	By realm slot: room for what all movers write, as the time when there
 *			is room again, since when a mover could not be started, and a place
 *			for each mover.
 * WRITES	A mover its own place, under its mutex; who reads takes that too.  The
 *			conductor since when one is lacking.
 * CRASH	The conductor starts other movers; the table has the migrations.
 * INVARIANT  One process at a time works on a migration: it holds an advisory lock
 *			on it, which ends with the process.
 */
#include "postgres.h"

#include "migration/move.h"
#include "migration/mover.h"
#include "base/clock.h"
#include "base/guc.h"
#include "directory/moves.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/worker.h"

#include "access/xact.h"
#include "common/hashfn.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "port/atomics.h"
#include "postmaster/interrupt.h"
#include "postmaster/bgworker.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/spin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define CLAIM_LOCK 0x74786d76

/* a mover with nothing to do looks so often, and so many times, before it ends */
#define IDLE_MS 200
#define IDLE_ROUNDS 25

/* between two looks at what is drained, and two times that progress is written */
#define TEND_MS 500
#define SAVE_MS 1000

/* so much of what it has written to tables is flushed together */
#define FLUSH_AFTER "256kB"

/* so long a mover clears where a user does not live, before it looks for what is more urgent */
#define TURN_MS 500

/* between two times that it is logged that a migration fails with one and the same error */
#define FAILURE_LOG_MS (10 * 60 * 1000)

/* migrations that a mover has: it works on one while the others must wait */
#define MOVER_MOVES 8

typedef struct MoveTold
{
	int64		migration;		/* 0: none */
	TimestampTz began;			/* with the state that it is in, here */
	int64		began_with;		/* bytes copied, or rows cleaned, by then */
	MoveProgress progress;
} MoveTold;

typedef struct MoverPlace
{
	slock_t		mutex;
	uint32		realm;			/* whose it is; 0: free */
	int			pid;
	MoveTold	moves[MOVER_MOVES];
} MoverPlace;

typedef struct MoverSlot
{
	pg_atomic_uint64 room_at;	/* when more may be written (TimestampTz) */
	pg_atomic_uint64 lacking_since;	/* a mover is wanted, and no worker slot is free (TimestampTz); 0: not so */
	MoverPlace	places[MAX_MOVERS];
} MoverSlot;

static MoverSlot *slots = NULL;
static MoverPlace *place = NULL;	/* this mover's */

static const MoveFollower *const no_followers[] = {NULL};
const MoveFollower *const *move_followers = no_followers;

static Size
mover_size(void)
{
	return mul_size(guc_max_databases, sizeof(MoverSlot));
}

static void
mover_attach(void *block, LWLockPadded *locks, bool found)
{
	slots = block;
	for (int i = 0; !found && i < guc_max_databases; i++)
	{
		pg_atomic_init_u64(&slots[i].room_at, 0);
		pg_atomic_init_u64(&slots[i].lacking_since, 0);
		for (int k = 0; k < MAX_MOVERS; k++)
			SpinLockInit(&slots[i].places[k].mutex);
	}
}

const ShmemPart mover_shmem = {"taskex movers", mover_size, NULL, NULL, mover_attach};

void
mover_install(const MoveFollower *const *followers)
{
	move_followers = followers;
}

bool
mover_claim(int64 migration, bool session)
{
	LOCKTAG		tag;
	LockAcquireResult result;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, CLAIM_LOCK, (uint32) migration, 3);
	result = LockAcquire(&tag, ExclusiveLock, session, true);
	return result == LOCKACQUIRE_OK || (result == LOCKACQUIRE_ALREADY_HELD && !session);
}

static void
release_claim(int64 migration)
{
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, CLAIM_LOCK, (uint32) migration, 3);
	LockRelease(&tag, ExclusiveLock, true);
}

/* ---- what is told ---- */

static int64
work_done(const MoveProgress *progress)
{
	return progress->cleaned > 0 ? progress->cleaned : progress->bytes;
}

static void
publish(int number, const Move *move)
{
	MoveTold   *told = &place->moves[number];

	SpinLockAcquire(&place->mutex);
	if (move == NULL)
		told->migration = 0;
	else
	{
		if (told->migration != move->id || told->began != move->began)
		{
			told->began = move->began;
			told->began_with = work_done(&move->progress);
		}
		told->migration = move->id;
		told->progress = move->progress;
	}
	SpinLockRelease(&place->mutex);
}

static bool
take_place(MoverSlot *slot, uint32 realm)
{
	for (int i = 0; place == NULL && i < MAX_MOVERS; i++)
	{
		MoverPlace *candidate = &slot->places[i];

		SpinLockAcquire(&candidate->mutex);
		if (candidate->pid == 0)
		{
			candidate->pid = MyProcPid;
			candidate->realm = realm;
			memset(candidate->moves, 0, sizeof(candidate->moves));
			place = candidate;
		}
		SpinLockRelease(&candidate->mutex);
	}
	return place != NULL;
}

static void
mover_exit(int code, Datum arg)
{
	if (place)
	{
		SpinLockAcquire(&place->mutex);
		place->pid = 0;
		place->realm = 0;
		SpinLockRelease(&place->mutex);
	}
}

/* what it does in a second, of what it does now */
static double
rate_of(const MoveTold *told)
{
	double		seconds = (GetCurrentTimestamp() - told->began) / (double) USECS_PER_SEC;

	return seconds > 0 ? Max(work_done(&told->progress) - told->began_with, 0) / seconds : 0;
}

/* ---- one migration ---- */

typedef struct Attempt
{
	Move	   *move;
	long		wait;
	ErrorData  *error;
} Attempt;

/* the ids of an exchange that is gone mean others in the next one of the database */
static void
require_exchange(void)
{
	const Realm *realm = realm_find();

	if (realm == NULL || realm->serial != place->realm)
		ereport(FATAL,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the exchange whose users were moved was dropped")));
}

static void
step_work(void *arg)
{
	Attempt    *attempt = arg;
	Move	   *move = attempt->move;

	require_exchange();
	pace_make_files();
	attempt->wait = move_step(move);
	if (TimestampDifferenceExceeds(move->saved, GetCurrentTimestamp(), SAVE_MS) && attempt->wait != STEP_FINISHED &&
		(move->state == MOVE_COPYING || move->state == MOVE_CLEANING))
		move_save(move);
}

static void
failed_work(void *arg)
{
	Attempt    *attempt = arg;

	require_exchange();
	attempt->wait = move_failed(attempt->move, attempt->error);
}

static void
note_stall(Move *move)
{
	int64		stall;

	if (!move->fenced)
		return;
	stall = GetCurrentTimestamp() - move->fenced_at;
	move->progress.stall = Max(move->progress.stall, stall);
	move->fenced = false;
}

/* is it not only another try that fails like the one before? */
static bool
failure_is_news(Move *move, const ErrorData *error)
{
	uint32		failure = hash_bytes((const unsigned char *) error->message, strlen(error->message));
	TimestampTz now = GetCurrentTimestamp();

	if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		return false;
	if (move->failure_told != 0 && move->failure == failure && !TimestampDifferenceExceeds(move->failure_told, now, FAILURE_LOG_MS))
		return false;
	move->failure = failure;
	move->failure_told = now;
	return true;
}

static void
step_failed(Attempt *attempt)
{
	ereport(failure_is_news(attempt->move, attempt->error) ? LOG : DEBUG1,
			(errcode(attempt->error->sqlerrcode),
			 errmsg("migration %lld failed in a step: %s", (long long) attempt->move->id, attempt->error->message)));
	if (!worker_try_transaction("noting an error", failed_work, attempt))
		attempt->wait = IDLE_MS;
}

/* those steps that nobody waits for */
static bool
clears(const Move *move)
{
	return move->state == MOVE_CLEANING || move->state == MOVE_UNDOING;
}

/* does a step, and rests as long as others need; the wait before the next one */
static long
do_step(int number, Move *move)
{
	Attempt		attempt = {move, 0, NULL};
	bool		gently = clears(move);
	Pace		pace;

	pace_begin(&pace);
	attempt.error = worker_catch_transaction("moving a user", step_work, &attempt);
	note_stall(move);
	if (attempt.error)
		step_failed(&attempt);
	publish(number, move);
	pace_end(&pace, gently, &slots[realm_current()->slot].room_at);
	return attempt.wait;
}

typedef struct Choice
{
	MemoryContext context;
	Move	   *move;			/* NULL: there is nothing to do now */
	bool		any;			/* but there will be */
} Choice;

static Statement select_due = {
	"SELECT migration_id, not_before <= clock_timestamp() FROM _taskex.migration"
	" WHERE finished_at IS NULL AND (state <> 'queued' OR _taskex.may_move())"
	" ORDER BY state = 'queued', migration_id LIMIT 1000",
	0, {0}
};

/* takes the first migration on which nobody works */
static void
choose_work(void *arg)
{
	Choice	   *choice = arg;
	SpiScope	scope;
	int64		count;
	int64	   *ids = NULL;
	int			due = 0;

	spi_begin(&scope);
	count = (int64) spi_run(&select_due, 0, NULL, NULL, SPI_VIEW_CURRENT, 0);
	ids = MemoryContextAlloc(choice->context, sizeof(int64) * Max(count, 1));
	for (int64 i = 0; i < count; i++)
	{
		bool		isnull;

		if (DatumGetBool(spi_value(i, 2, &isnull)))
			ids[due++] = spi_int64(i, 1);
	}
	spi_end(&scope);
	choice->any = count > 0;
	for (int i = 0; i < due && choice->move == NULL; i++)
		if (mover_claim(ids[i], true))
		{
			choice->move = move_load(ids[i]);
			if (choice->move == NULL || choice->move->state >= MOVE_DONE)
			{
				if (choice->move)
					move_free(choice->move);
				choice->move = NULL;
				release_claim(ids[i]);
			}
		}
}

/* the migrations of this mover, and when each can go on */
static struct
{
	Move	   *move;
	TimestampTz due;
}			mine[MOVER_MOVES];

/* whether there are as many movers as may be without this one */
static bool
is_one_too_many(void)
{
	return place - slots[realm_current()->slot].places >= guc_max_movers;
}

/* clearing is urgent for nobody: after a while those come whose users have not switched */
static bool
gives_way(const Move *move, TimestampTz begun)
{
	return clears(move) && TimestampDifferenceExceeds(begun, GetCurrentTimestamp(), TURN_MS);
}

/* works on a migration until it has ended, must wait or give way, or settings have changed */
static void
work_on(int number)
{
	TimestampTz begun = GetCurrentTimestamp();
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "taskex step", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Move	   *move = mine[number].move;
	int64		id = move->id;
	long		wait;

	do
	{
		CHECK_FOR_INTERRUPTS();
		MemoryContextReset(context);
		wait = do_step(number, move);
	} while (wait == STEP_AT_ONCE && !ConfigReloadPending && !gives_way(move, begun));
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	if (wait >= 0)
	{
		mine[number].due = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), wait);
		return;
	}
	publish(number, NULL);
	mine[number].move = NULL;
	move_free(move);
	release_claim(id);
}

/* goes on with what can go on; how long nothing can */
static long
work_on_mine(void)
{
	long		wait = IDLE_MS;

	for (int i = 0; i < MOVER_MOVES; i++)
	{
		if (mine[i].move == NULL)
			continue;
		if (mine[i].due <= GetCurrentTimestamp())
			work_on(i);
		if (mine[i].move)
			wait = Min(wait, TimestampDifferenceMilliseconds(GetCurrentTimestamp(), mine[i].due));
	}
	return wait;
}

/* a place for one more; -1: there is none */
static int
free_number(void)
{
	for (int i = 0; i < MOVER_MOVES; i++)
		if (mine[i].move == NULL)
			return i;
	return -1;
}

static bool
have_none(void)
{
	for (int i = 0; i < MOVER_MOVES; i++)
		if (mine[i].move)
			return false;
	return true;
}

/* ---- the worker ---- */

static Statement tend_migrations = {"SELECT _taskex.tend_migrations()", 0, {0}};

static void
tend_work(void *arg)
{
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&tend_migrations, 0, NULL, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
	moves_prune();
}

static void
look_for_exchange(void *arg)
{
	const Realm *realm = realm_find();

	*(bool *) arg = realm && realm_state() == REALM_COMPLETE && take_place(&slots[realm->slot], realm->serial) &&
		place->realm == realm->serial;
}

static void
begin(void)
{
	static bool begun = false;

	if (begun)
		return;
	SetConfigOption("lock_timeout", "100ms", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("jit", "off", PGC_SUSET, PGC_S_OVERRIDE);

	/* the mover flushes what it has written itself, but not while others wait for it */
	SetConfigOption("synchronous_commit", "off", PGC_SUSET, PGC_S_OVERRIDE);

	/* what it writes goes to the disk at once: else the kernel writes it all when it is 30 s old, and the WAL waits */
	SetConfigOption("backend_flush_after", FLUSH_AFTER, PGC_SUSET, PGC_S_OVERRIDE);
	begun = true;
}

static long
mover_round(void)
{
	static int	idle = 0;
	static TimestampTz tended = 0;
	Choice		choice = {CurrentMemoryContext, NULL, false};
	bool		exchange;
	long		wait;
	int			number;

	begin();
	worker_transaction("looking for the exchange", look_for_exchange, &exchange);
	if (!exchange || !guc_conductor || is_one_too_many())
		return -1;
	if (TimestampDifferenceExceeds(tended, GetCurrentTimestamp(), TEND_MS))
	{
		(void) worker_try_transaction("tending migrations", tend_work, NULL);
		tended = GetCurrentTimestamp();
	}
	wait = work_on_mine();
	number = free_number();
	if (number >= 0 && worker_try_transaction("choosing a migration", choose_work, &choice) && choice.move)
	{
		idle = 0;
		mine[number].move = choice.move;
		mine[number].due = GetCurrentTimestamp();
		return 0;
	}
	return have_none() && !choice.any && ++idle > IDLE_ROUNDS ? -1 : wait;
}

static WorkerKind mover_kind = {"mover", "taskex_mover_main", mover_round};

PGDLLEXPORT void taskex_mover_main(Datum main_arg);

void
taskex_mover_main(Datum main_arg)
{
	worker_loop(&mover_kind, main_arg, mover_exit);
}

/* ---- the conductor's part ---- */

static BackgroundWorkerHandle *handles[MAX_MOVERS];

static Statement count_work = {
	"SELECT _taskex.movers_wanted()",
	0, {0}
};

/* also by movers that another conductor started */
static int
places_taken(void)
{
	MoverSlot  *slot = &slots[realm_current()->slot];
	int			taken = 0;

	for (int i = 0; i < MAX_MOVERS; i++)
	{
		SpinLockAcquire(&slot->places[i].mutex);
		taken += slot->places[i].pid != 0;
		SpinLockRelease(&slot->places[i].mutex);
	}
	return taken;
}

typedef struct WorkSeen
{
	int			wanted;			/* movers */
	int			running;
} WorkSeen;

static void
look_for_work(void *arg)
{
	WorkSeen   *work = arg;
	SpiScope	scope;

	spi_begin(&scope);
	spi_run(&count_work, 0, NULL, NULL, SPI_VIEW_CURRENT, 1);
	work->wanted = spi_int32(0, 1);
	spi_end(&scope);
	work->running = places_taken();
}

/* told once, until there is a slot again or nothing to be done */
static void
note_lacking(bool lacking)
{
	pg_atomic_uint64 *since = &slots[realm_current()->slot].lacking_since;
	bool		known = pg_atomic_read_u64(since) != 0;

	if (lacking == known)
		return;
	pg_atomic_write_u64(since, lacking ? (uint64) GetCurrentTimestamp() : 0);
	if (lacking)
		ereport(LOG,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("taskex could not start a mover: no worker slot is free"),
				 errdetail("Moves of users wait for those movers that there are."),
				 errhint("Raise max_worker_processes and restart the server.")));
}

void
mover_ensure(void)
{
	WorkSeen	work = {0, 0};
	int			running = 0;
	bool		lacking = false;

	for (int i = 0; i < MAX_MOVERS; i++)
	{
		pid_t		pid;

		if (handles[i] && GetBackgroundWorkerPid(handles[i], &pid) == BGWH_STOPPED)
		{
			pfree(handles[i]);
			handles[i] = NULL;
		}
		running += handles[i] != NULL;
	}
	if (!worker_try_transaction("looking for migrations", look_for_work, &work))
		return;
	running = Max(running, work.running);
	for (int i = 0; i < MAX_MOVERS && !lacking && running < Min(work.wanted, guc_max_movers); i++)
	{
		MemoryContext old;

		if (handles[i])
			continue;
		old = MemoryContextSwitchTo(TopMemoryContext);
		if (!worker_start(&mover_kind, MyDatabaseId, &handles[i]))
			handles[i] = NULL;
		MemoryContextSwitchTo(old);
		lacking = handles[i] == NULL;
		running++;
	}
	note_lacking(lacking);
}

void
mover_leave(void)
{
	for (int i = 0; i < MAX_MOVERS; i++)
		if (handles[i])
			TerminateBackgroundWorker(handles[i]);
}

/* ---- SQL ---- */

/* is it the time of the day at which users are moved? */
bool
mover_window_open(void)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			zone;
	int			from;
	int			to;
	int			now;

	if (!guc_parse_window(guc_move_window, &from, &to) || from == to)
		return true;
	if (timestamp2tm(clock_now(), &zone, &tm, &fsec, NULL, NULL) != 0)
		return true;
	now = tm.tm_hour * 60 + tm.tm_min;
	return from < to ? now >= from && now < to : now >= from || now < to;
}

PG_FUNCTION_INFO_V1(taskex_may_move);

Datum
taskex_may_move(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(mover_window_open());
}

PG_FUNCTION_INFO_V1(taskex_mover_lacking);

/* _taskex.mover_lacking() -> timestamptz */
Datum
taskex_mover_lacking(PG_FUNCTION_ARGS)
{
	uint64		since;

	shmem_require();
	since = pg_atomic_read_u64(&slots[realm_current()->slot].lacking_since);
	if (since == 0)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ((TimestampTz) since);
}

static Datum
pids_of(const MoveProgress *progress)
{
	Datum		pids[MOVE_WAITS];

	for (int i = 0; i < progress->nwaits; i++)
		pids[i] = Int32GetDatum(progress->waits[i]);
	return PointerGetDatum(construct_array(pids, progress->nwaits, INT4OID, 4, true, TYPALIGN_INT));
}

static void
put_progress(ReturnSetInfo *rsinfo, int pid, const MoveTold *told)
{
	const MoveProgress *progress = &told->progress;
	bool		nulls[10] = {false};
	Datum		values[10] = {
		Int64GetDatum(told->migration), Int32GetDatum(pid), Int64GetDatum(progress->rows), Int64GetDatum(progress->bytes),
		Int64GetDatum(progress->rows_total), Int64GetDatum(progress->bytes_total), Int64GetDatum(progress->cleaned),
		Int64GetDatum(progress->stall), pids_of(progress), Float8GetDatum(rate_of(told))
	};

	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(taskex_move_progress);

/* _taskex.move_progress() -> setof record: what the movers of this exchange do now */
Datum
taskex_move_progress(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	const Realm *realm;

	InitMaterializedSRF(fcinfo, 0);
	shmem_require();
	realm = realm_current();
	for (int i = 0; i < MAX_MOVERS; i++)
	{
		MoverPlace *other = &slots[realm->slot].places[i];
		MoverPlace	seen;

		SpinLockAcquire(&other->mutex);
		seen = *other;
		SpinLockRelease(&other->mutex);
		for (int k = 0; k < MOVER_MOVES && seen.realm == realm->serial; k++)
			if (seen.moves[k].migration != 0)
				put_progress(rsinfo, seen.pid, &seen.moves[k]);
	}
	return (Datum) 0;
}
