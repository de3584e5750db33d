/*
 * look.c
 *	  What others want to know of the queue.
 */
#include "postgres.h"

#include "workload/demand.h"
#include "base/clock.h"
#include "workload/lane.h"

#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* the conductor comes at least so often to leases that are over */
#define LATE_US (60 * USECS_PER_SEC)

int64
queue_customer_of(int64 run_id)
{
	const Realm *realm = realm_current();
	int64		customer = 0;
	int32		entry;

	LWLockAcquire(queue.lock, LW_SHARED);
	entry = queue_find_entry(realm->serial, run_id);
	if (entry >= 0)
		customer = queue.customers[queue.lanes[queue.entries[entry].lane].customer].customer_id;
	LWLockRelease(queue.lock);
	return customer;
}

TimestampTz
queue_next_lease(void)
{
	return queue.header->realms[realm_current()->slot].next_lease;
}

int32
queue_expired(TimestampTz now, int64 *run_ids, int32 max)
{
	const Realm *realm = realm_current();
	QueueRealm *known = &queue.header->realms[realm->slot];
	TimestampTz next = DT_NOEND;
	int32		count = 0;

	queue_require_loaded();
	if (known->next_lease > now)
		return 0;
	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	for (int32 i = 0; i < guc_ready_runs && count < max; i++)
	{
		const Entry *entry = &queue.entries[i];

		if (entry->state != ENTRY_RUNNING || entry->realm != realm->serial)
			continue;
		next = Min(next, entry->lease_until);
		if (entry->lease_until <= now)
			run_ids[count++] = entry->run_id;
	}
	/* those that are over stay until they are ended: then this look is repeated */
	known->next_lease = count == max ? now : next;
	LWLockRelease(queue.lock);
	return count;
}

int
queue_demands(QueueDemand *demands, int max, bool listen)
{
	uint32		realm = realm_current()->serial;
	int32	   *places = palloc(sizeof(int32) * guc_max_lanes);
	int			count = 0;

	memset(places, -1, sizeof(int32) * guc_max_lanes);
	LWLockAcquire(queue.lock, listen ? LW_EXCLUSIVE : LW_SHARED);
	for (int32 i = 0; i < guc_max_lanes; i++)
	{
		const Lane *lane = &queue.lanes[i];
		const Environment *environment = &queue.environments[lane->environment];
		QueueDemand *demand;

		if (lane->realm != realm || !(lane->in_turn || lane->in_urgent) || environment->name.role == QUEUE_OUTSIDE ||
			environment->name.role == QUEUE_NO_ROLE)
			continue;
		if (places[lane->environment] < 0)
		{
			if (count == max)
				continue;
			places[lane->environment] = count;
			demand = &demands[count++];
			demand->name = environment->name;
			demand->waiting = 0;
			demand->cost = 0;
		}
		demand = &demands[places[lane->environment]];
		demand->waiting += Max(lane->waiting, 1);
		demand->cost += Max(lane->waiting, 1) * lane->mean_cost;
	}
	for (int32 i = 0; listen && i < guc_max_lanes; i++)
		if (queue.environments[i].realm == realm)
			queue.environments[i].called = false;
	LWLockRelease(queue.lock);
	pfree(places);
	return count;
}

void
queue_keep(bool keep)
{
	QueueRealm *known = keep ? &queue.header->realms[realm_current()->slot] : NULL;

	LWLockAcquire(queue.lock, LW_EXCLUSIVE);
	if (keep)
	{
		known->keeper = MyLatch;
		known->keeper_pid = MyProcPid;
	}
	else
		for (int i = 0; i < guc_max_databases; i++)
			if (queue.header->realms[i].keeper_pid == MyProcPid)
			{
				queue.header->realms[i].keeper = NULL;
				queue.header->realms[i].keeper_pid = 0;
			}
	LWLockRelease(queue.lock);
}

void
queue_call_keeper(int realm_slot, uint32 realm)
{
	QueueRealm *known = &queue.header->realms[realm_slot];

	LWLockAcquire(queue.lock, LW_SHARED);
	if (known->serial == realm && known->keeper)
		SetLatch(known->keeper);
	LWLockRelease(queue.lock);
}

int32
queue_unlimited(int64 **run_ids)
{
	uint32		realm;
	int32		count = 0;

	queue_require_loaded();
	realm = realm_current()->serial;
	*run_ids = palloc(sizeof(int64) * guc_ready_runs);
	LWLockAcquire(queue.lock, LW_SHARED);
	for (int32 i = 0; i < guc_ready_runs; i++)
		if (queue.entries[i].state == ENTRY_RUNNING && queue.entries[i].realm == realm &&
			queue.entries[i].lease_until == DT_NOEND)
			(*run_ids)[count++] = queue.entries[i].run_id;
	LWLockRelease(queue.lock);
	return count;
}

PG_FUNCTION_INFO_V1(taskex_lanes);

/* _taskex.lanes() -> setof record */
Datum
taskex_lanes(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	uint32		realm;
	int32	   *running;
	Lane	   *lanes;
	TimestampTz *oldest;
	int64	   *customers;
	int32	   *environments;
	bool	   *blocked;

	InitMaterializedSRF(fcinfo, 0);
	queue_require_loaded();
	realm = realm_current()->serial;
	running = palloc0(sizeof(int32) * guc_max_lanes);
	lanes = palloc(sizeof(Lane) * guc_max_lanes);
	oldest = palloc(sizeof(TimestampTz) * guc_max_lanes);
	customers = palloc(sizeof(int64) * guc_max_lanes);
	environments = palloc(sizeof(int32) * guc_max_lanes);
	blocked = palloc(sizeof(bool) * guc_max_lanes);
	LWLockAcquire(queue.lock, LW_SHARED);
	memcpy(lanes, queue.lanes, sizeof(Lane) * guc_max_lanes);
	for (int32 i = 0; i < guc_max_lanes; i++)
		if (lanes[i].realm == realm)
		{
			oldest[i] = lanes[i].first >= 0 ? queue.entries[lanes[i].first].submitted : DT_NOEND;
			customers[i] = queue.customers[lanes[i].customer].customer_id;
			environments[i] = queue.environments[lanes[i].environment].name.environment_id;
			blocked[i] = queue.customers[lanes[i].customer].blocked;
		}
	for (int32 i = 0; i < guc_ready_runs; i++)
		if (queue.entries[i].state == ENTRY_RUNNING || queue.entries[i].state == ENTRY_RESERVED)
			running[queue.entries[i].lane]++;
	LWLockRelease(queue.lock);
	for (int32 i = 0; i < guc_max_lanes; i++)
		if (lanes[i].realm == realm)
		{
			Datum		values[9] = {Int32GetDatum(environments[i]), Int64GetDatum(customers[i]), Int32GetDatum(lanes[i].priority),
				Int64GetDatum(lanes[i].waiting), Int32GetDatum(running[i]), Int32GetDatum(lanes[i].entries),
			TimestampTzGetDatum(oldest[i]), BoolGetDatum(blocked[i]), Float8GetDatum(lanes[i].time)};
			bool		nulls[9] = {[6] = oldest[i] == DT_NOEND};

			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
		}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(taskex_queue_state);

/* _taskex.queue_state() -> record */
Datum
taskex_queue_state(PG_FUNCTION_ARGS)
{
	const Realm *realm;
	TupleDesc	desc;
	TimestampTz late = clock_now() - LATE_US;
	int32		lane_count = 0;
	int64		late_count = 0;
	Datum		values[6];
	bool		nulls[6] = {false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	queue_require_loaded();
	realm = realm_current();
	LWLockAcquire(queue.lock, LW_SHARED);
	for (int32 i = 0; i < guc_max_lanes; i++)
		lane_count += queue.lanes[i].realm == realm->serial;
	for (int32 i = 0; i < guc_ready_runs; i++)
		late_count += queue.entries[i].state == ENTRY_RUNNING && queue.entries[i].realm == realm->serial &&
			queue.entries[i].lease_until < late;
	values[0] = Int32GetDatum(guc_ready_runs);
	values[1] = Int32GetDatum(queue.header->free_entries);
	values[2] = Int32GetDatum(lane_count);
	values[3] = Int64GetDatum(queue.header->realms[realm->slot].running);
	values[4] = BoolGetDatum(queue.header->realms[realm->slot].crowded);
	values[5] = Int64GetDatum(late_count);
	LWLockRelease(queue.lock);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(taskex_in_queue);

/* _taskex.in_queue(run_id, customer_id, environment_id, priority, state) -> boolean */
Datum
taskex_in_queue(PG_FUNCTION_ARGS)
{
	LaneName	name = {PG_GETARG_INT64(1), PG_GETARG_INT32(2), PG_GETARG_INT32(3)};
	bool		running = strcmp(text_to_cstring(PG_GETARG_TEXT_PP(4)), "running") == 0;
	int64		run_id = PG_GETARG_INT64(0);
	const Realm *realm;
	int32		index;
	bool		found;

	queue_require_loaded();
	realm = realm_current();
	LWLockAcquire(queue.lock, LW_SHARED);
	index = queue_find_entry(realm->serial, run_id);
	if (index >= 0)
	{
		EntryState	state = queue.entries[index].state;

		found = state == ENTRY_RESERVED || running == (state == ENTRY_RUNNING);
	}
	else
	{
		index = running ? -1 : queue_find_lane(realm->serial, &name);
		found = index < 0 ? !running && queue.header->realms[realm->slot].crowded :
			queue.lanes[index].refilling || (run_id > queue.lanes[index].low && run_id <= queue.lanes[index].high);
	}
	LWLockRelease(queue.lock);
	PG_RETURN_BOOL(found);
}

PG_FUNCTION_INFO_V1(taskex_running_runs);

/* _taskex.running_runs(also_taken) -> setof (run_id, customer_id, environment_id) */
Datum
taskex_running_runs(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum		(*found)[3];
	bool		also_taken = PG_GETARG_BOOL(0);
	uint32		realm;
	int64		count = 0;
	int64		room;

	InitMaterializedSRF(fcinfo, 0);
	queue_require_loaded();
	realm = realm_current()->serial;

	/* those that begin to run meanwhile begin later */
	room = also_taken ? guc_ready_runs : queue.header->realms[realm_current()->slot].running + 1000;
	found = palloc(sizeof(*found) * room);
	LWLockAcquire(queue.lock, LW_SHARED);
	for (int32 i = 0; i < guc_ready_runs && count < room; i++)
	{
		const Entry *entry = &queue.entries[i];
		const Lane *lane = &queue.lanes[entry->lane];

		if (!(entry->state == ENTRY_RUNNING || (also_taken && entry->state == ENTRY_RESERVED)) || entry->realm != realm)
			continue;
		found[count][0] = Int64GetDatum(entry->run_id);
		found[count][1] = Int64GetDatum(queue.customers[lane->customer].customer_id);
		found[count++][2] = Int32GetDatum(queue.environments[lane->environment].name.environment_id);
	}
	LWLockRelease(queue.lock);
	for (int64 i = 0; i < count; i++)
	{
		bool		nulls[3] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, found[i], nulls);
	}
	return (Datum) 0;
}
