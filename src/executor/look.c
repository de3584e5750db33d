/*
 * look.c
 *	  Executors as SQL sees them: what they do, draining, acknowledging.
 */
#include "postgres.h"

#include "executor/internal.h"
#include "base/args.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "infra/xact.h"
#include "workload/options.h"
#include "workload/run.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"

#define DRAIN_LOOK_MS 20

static const char *
state_name(const ExecutorSlot *slot)
{
	if (slot->leave)
		return "stopping";
	switch (slot->state)
	{
		case EXECUTOR_STARTING:
			return "starting";
		case EXECUTOR_IDLE:
			return "idle";
		case EXECUTOR_BUSY:
			return "busy";
		case EXECUTOR_RESERVED:
			return "reserved";
		case EXECUTOR_DEAD:
			return "dead";
		case EXECUTOR_FREE:
			break;
	}
	return "free";
}

static Datum
shown(int64 value, bool *isnull)
{
	*isnull = value < 0;
	return Int64GetDatum(value);
}

static void
put_slot(ReturnSetInfo *rsinfo, const ExecutorSlot *slot)
{
	bool		runs = slot->current >= 0;
	TimestampTz until = pool_kept_until(slot);
	bool		busy = slot->state == EXECUTOR_BUSY && slot->last_run != 0;
	bool		nulls[22] = {
		[0] = slot->pid == 0,[7] = !runs,[8] = !runs,[9] = !runs,[10] = !runs,[13] = until == 0,[14] = until == 0 || until == DT_NOEND,[20] = !busy,[21] = !busy
	};
	Datum		values[22] = {
		Int32GetDatum(slot->pid), Int32GetDatum(slot->kind.name.environment_id), ObjectIdGetDatum(slot->kind.name.role),
		CStringGetTextDatum(state_name(slot)), TimestampTzGetDatum(slot->started_at), TimestampTzGetDatum(slot->idle_since),
		Int32GetDatum(slot->held_count), Int64GetDatum(runs ? slot->held[slot->current].run_id : 0), Int32GetDatum(slot->attempt),
		Int64GetDatum(slot->customer_id), TimestampTzGetDatum(slot->run_since), Int64GetDatum(slot->taken),
		Int64GetDatum(slot->ended), Int64GetDatum(slot->dedicated_to), TimestampTzGetDatum(until)
	};

	values[15] = shown(runs ? slot->usage.cpu_us : -1, &nulls[15]);
	values[16] = shown(runs ? slot->usage.rows : -1, &nulls[16]);
	values[17] = shown(runs ? slot->usage.blocks_read : -1, &nulls[17]);
	values[18] = shown(runs ? slot->usage.wal_bytes : -1, &nulls[18]);
	values[19] = shown(runs ? slot->usage.memory : -1, &nulls[19]);
	values[20] = Int64GetDatum(slot->last_run);
	values[21] = Int64GetDatum(slot->customer_id);
	tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(taskex_executor_slots);

/* _taskex.executor_slots() -> setof record */
Datum
taskex_executor_slots(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	uint32		realm;
	ExecutorSlot *slots;
	int			count = 0;

	InitMaterializedSRF(fcinfo, 0);
	realm = realm_current()->serial;
	slots = palloc(sizeof(ExecutorSlot) * Max(guc_max_executors, 1));
	LWLockAcquire(pool.lock, LW_SHARED);
	for (int i = 0; i < guc_max_executors; i++)
	{
		ExecutorSlot *slot = &pool.slots[i];

		if (slot->state == EXECUTOR_FREE || slot->kind.realm != realm)
			continue;
		SpinLockAcquire(&slot->mutex);
		slots[count++] = *slot;
		SpinLockRelease(&slot->mutex);
	}
	LWLockRelease(pool.lock);
	for (int i = 0; i < count; i++)
		put_slot(rsinfo, &slots[i]);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(taskex_pool_state);

/* _taskex.pool_state() -> record */
Datum
taskex_pool_state(PG_FUNCTION_ARGS)
{
	const Realm *realm = realm_current();
	TupleDesc	desc;
	PoolGroup	worst = {.failures = 0};
	int			used = 0;
	int			failing = 0;
	Datum		values[8];
	bool		nulls[8] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	for (int i = 0; i < guc_max_executors; i++)
		used += pool.slots[i].state != EXECUTOR_FREE;
	for (int i = 0; i < POOL_GROUPS; i++)
	{
		const PoolGroup *group = &pool.header->groups[i];

		if (group->kind.realm != realm->serial || group->failures == 0)
			continue;
		failing++;
		if (group->failures > worst.failures)
			worst = *group;
	}
	values[2] = BoolGetDatum(pool_realm(realm)->draining);
	values[3] = Int32GetDatum(pool_realm(realm)->wanting);
	values[4] = BoolGetDatum(pool.header->no_worker_since != 0);
	LWLockRelease(pool.lock);
	values[0] = Int32GetDatum(guc_max_executors);
	values[1] = Int32GetDatum(used);
	values[5] = Int32GetDatum(failing);
	values[6] = Int32GetDatum(worst.kind.name.environment_id);
	values[7] = CStringGetTextDatum(worst.message);
	nulls[6] = nulls[7] = failing == 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* ---- draining ---- */

static int
count_busy(uint32 realm)
{
	int			busy = 0;

	LWLockAcquire(pool.lock, LW_SHARED);
	for (int i = 0; i < guc_max_executors; i++)
		busy += pool.slots[i].state != EXECUTOR_FREE && pool.slots[i].kind.realm == realm &&
			(pool.slots[i].held_count > 0 || pool.slots[i].pid != 0);
	LWLockRelease(pool.lock);
	return busy;
}

static void
set_draining(bool draining)
{
	const Realm *realm = realm_current();

	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	pool_realm(realm)->draining = draining;
	for (int i = 0; draining && i < guc_max_executors; i++)
		if (pool.slots[i].state != EXECUTOR_FREE && pool.slots[i].kind.realm == realm->serial)
			pool_let_go(&pool.slots[i]);
	LWLockRelease(pool.lock);
	queue_poke_all(realm->serial);
	queue_call_keeper(realm->slot, realm->serial);
}

PG_FUNCTION_INFO_V1(taskex_drain_executors);

/* drain_executors(timeout) -> int */
Datum
taskex_drain_executors(PG_FUNCTION_ARGS)
{
	uint32		realm;
	TimestampTz until;
	int			left;

	require_arg(fcinfo, 0, "timeout");
	directory_require_admin("drain executors");
	until = GetCurrentTimestamp() + check_duration(PG_GETARG_INTERVAL_P(0), "timeout", 0, USECS_PER_DAY);
	queue_require_loaded();
	realm = realm_current()->serial;
	set_draining(true);
	while ((left = count_busy(realm)) > 0 && GetCurrentTimestamp() < until)
	{
		CHECK_FOR_INTERRUPTS();
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, DRAIN_LOOK_MS, PG_WAIT_EXTENSION);
		ResetLatch(MyLatch);
	}
	PG_RETURN_INT32(left);
}

PG_FUNCTION_INFO_V1(taskex_resume_executors);

/* resume_executors() */
Datum
taskex_resume_executors(PG_FUNCTION_ARGS)
{
	directory_require_admin("resume executors");
	queue_require_loaded();
	set_draining(false);
	PG_RETURN_VOID();
}

/* ---- an environment that goes on ---- */

typedef struct Resumption
{
	uint32		realm;
} Resumption;

static void
resumption_commit(void *record)
{
	queue_poke_all(((const Resumption *) record)->realm);
}

static void
resumption_abort(void *record)
{
}

static const XactKind resumption_kind = {resumption_commit, resumption_abort};

PG_FUNCTION_INFO_V1(taskex_wake_executors);

/* _taskex.wake_executors(): those who sleep look for runs again when the transaction has committed */
Datum
taskex_wake_executors(PG_FUNCTION_ARGS)
{
	if (shmem_ready() && xact_find(&resumption_kind) == NULL)
		((Resumption *) xact_add(&resumption_kind, sizeof(Resumption)))->realm = realm_current()->serial;
	PG_RETURN_VOID();
}

/* ---- dedicated ---- */

typedef struct Acknowledgement
{
	uint32		realm;
	int64		run_id;
} Acknowledgement;

static void
acknowledgement_commit(void *record)
{
	const Acknowledgement *given = record;
	QueueName	name;
	bool		found = false;

	LWLockAcquire(pool.lock, LW_EXCLUSIVE);
	for (int i = 0; i < guc_max_executors; i++)
	{
		ExecutorSlot *slot = &pool.slots[i];

		if (slot->kind.realm == given->realm && pool_kept_remove(slot, given->run_id) && slot->kept_count == 0)
		{
			name = slot->kind.name;
			found = true;
		}
	}
	LWLockRelease(pool.lock);
	if (found)
		queue_poke(given->realm, &name);
}

static void
acknowledgement_abort(void *record)
{
}

static const XactKind acknowledgement_kind = {acknowledgement_commit, acknowledgement_abort};

PG_FUNCTION_INFO_V1(taskex_acknowledge_run);

/* acknowledge_run(run_id) -> boolean */
Datum
taskex_acknowledge_run(PG_FUNCTION_ARGS)
{
	RunTables	tables;
	UserHome	home;
	Acknowledgement *given;
	uint32		realm = realm_current()->serial;
	int64		run_id;
	bool		kept = false;

	require_arg(fcinfo, 0, "run_id");
	run_id = PG_GETARG_INT64(0);
	run_tables_begin(&tables);
	if (run_read(&tables, run_id, &home) == NULL)
		run_report_unknown(run_id);
	run_tables_end(&tables);
	run_require_customer(&home, run_id);
	LWLockAcquire(pool.lock, LW_SHARED);
	for (int i = 0; i < guc_max_executors; i++)
		kept |= pool.slots[i].kind.realm == realm && pool_kept_for(&pool.slots[i], run_id);
	LWLockRelease(pool.lock);
	if (kept)
	{
		given = xact_add(&acknowledgement_kind, sizeof(Acknowledgement));
		given->realm = realm;
		given->run_id = run_id;
	}
	PG_RETURN_BOOL(kept);
}

/* ---- libraries ---- */

PG_FUNCTION_INFO_V1(taskex_check_libraries);

/*
 * _taskex.check_libraries(text[]).  The file has to be there, and who is no
 * superuser may name only what LOAD allows him: executors load it without asking.
 */
Datum
taskex_check_libraries(PG_FUNCTION_ARGS)
{
	Datum	   *names;
	bool	   *nulls;
	int			count;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &names, &nulls, &count);
	for (int i = 0; i < count; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("the name of a library must not be null")));
		load_file(TextDatumGetCString(names[i]), !superuser_arg(GetOuterUserId()));
	}
	PG_RETURN_VOID();
}
