/*
 * environment.c
 *	  What a session knows of environments, and who may work for them.
 */
#include "postgres.h"

#include "workload/environment.h"
#include "base/errcodes.h"
#include "directory/directory.h"
#include "infra/realm.h"
#include "infra/watch.h"
#include "workload/options.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

/* the first columns of _taskex.environment */
enum EnvironmentColumn
{
	ENVIRONMENT_ID = 1,
	ENVIRONMENT_NAME,
	ENVIRONMENT_PAUSED,
	ENVIRONMENT_RETIRED,
	ENVIRONMENT_WORKER_ROLE,
	ENVIRONMENT_MAX_ATTEMPTS,
	ENVIRONMENT_LANGUAGE,
	ENVIRONMENT_CUSTOMERS,
	ENVIRONMENT_VERSION,
	ENVIRONMENT_LIBRARIES,
	ENVIRONMENT_SETUP,
	ENVIRONMENT_GENERATION,
	ENVIRONMENT_MIN_EXECUTORS,
	ENVIRONMENT_MAX_EXECUTORS,
	ENVIRONMENT_IDLE_TIME
};

void		(*environment_check_code) (const UserHome *, const KnownEnvironment *, const text *) = NULL;

static TableWatch watch = {"environment"};
static KnownEnvironment *known = NULL;	/* in the order of their names */
static int	known_count = 0;
static uint32 known_realm = 0;
static MemoryContext context = NULL;

static int
compare_names(const void *a, const void *b)
{
	return strcmp(((const KnownEnvironment *) a)->name, ((const KnownEnvironment *) b)->name);
}

static void
describe(TupleTableSlot *slot, KnownEnvironment *environment)
{
	bool		isnull;
	Datum		role = slot_getattr(slot, ENVIRONMENT_WORKER_ROLE, &isnull);
	Datum		customers;

	environment->worker_role = isnull ? InvalidOid : DatumGetObjectId(role);
	environment->environment_id = DatumGetInt32(slot_getattr(slot, ENVIRONMENT_ID, &isnull));
	strlcpy(environment->name, TextDatumGetCString(slot_getattr(slot, ENVIRONMENT_NAME, &isnull)), NAMEDATALEN);
	environment->paused = DatumGetBool(slot_getattr(slot, ENVIRONMENT_PAUSED, &isnull));
	environment->retired = DatumGetBool(slot_getattr(slot, ENVIRONMENT_RETIRED, &isnull));
	environment->max_attempts = DatumGetInt32(slot_getattr(slot, ENVIRONMENT_MAX_ATTEMPTS, &isnull));
	strlcpy(environment->language, TextDatumGetCString(slot_getattr(slot, ENVIRONMENT_LANGUAGE, &isnull)), NAMEDATALEN);
	environment->external = strcmp(environment->language, "external") == 0;
	environment->set_up = !slot_attisnull(slot, ENVIRONMENT_SETUP);
	environment->generation = DatumGetInt32(slot_getattr(slot, ENVIRONMENT_GENERATION, &isnull));
	environment->min_executors = DatumGetInt32(slot_getattr(slot, ENVIRONMENT_MIN_EXECUTORS, &isnull));
	environment->max_executors = DatumGetInt32(slot_getattr(slot, ENVIRONMENT_MAX_EXECUTORS, &isnull));
	environment->idle_us = interval_us(DatumGetIntervalP(slot_getattr(slot, ENVIRONMENT_IDLE_TIME, &isnull)));
	environment->customers = NULL;
	environment->customer_count = 0;
	customers = slot_getattr(slot, ENVIRONMENT_CUSTOMERS, &isnull);
	environment->restricted = !isnull;
	if (!isnull)
	{
		Datum	   *ids;
		int			count;

		deconstruct_array(DatumGetArrayTypeP(customers), INT8OID, 8, true, TYPALIGN_DOUBLE, &ids, NULL, &count);
		environment->customers = MemoryContextAlloc(context, sizeof(int64) * Max(count, 1));
		environment->customer_count = count;
		for (int i = 0; i < count; i++)
			environment->customers[i] = DatumGetInt64(ids[i]);
	}
}

static void
read_all(void)
{
	Snapshot	snapshot;
	Relation	rel = watch_begin(&watch, &snapshot);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	int			room = 16;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "taskex environments", ALLOCSET_SMALL_SIZES);
	MemoryContextReset(context);
	known_count = 0;
	known = MemoryContextAlloc(context, sizeof(KnownEnvironment) * room);
	while (table_scan_getnextslot(scan, ForwardScanDirection, slot))
	{
		if (known_count == room)
			known = repalloc(known, sizeof(KnownEnvironment) * (room *= 2));
		describe(slot, &known[known_count++]);
	}
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	watch_end(&watch, rel, snapshot);
	known_realm = realm_current()->serial;
	qsort(known, known_count, sizeof(KnownEnvironment), compare_names);
}

static void
require_known(void)
{
	if (!watch_fresh(&watch) || known_realm != realm_current()->serial)
		read_all();
}

const KnownEnvironment *
environment_get(const text *name)
{
	KnownEnvironment key;
	const KnownEnvironment *found = NULL;

	require_known();
	if (VARSIZE_ANY_EXHDR(name) < NAMEDATALEN)
	{
		memcpy(key.name, VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name));
		key.name[VARSIZE_ANY_EXHDR(name)] = '\0';
		found = bsearch(&key, known, known_count, sizeof(KnownEnvironment), compare_names);
	}
	if (found == NULL)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_ENVIRONMENT),
				 errmsg("environment \"%s\" does not exist", text_to_cstring(name)),
				 errhint("The view taskex.environments lists them; taskex.create_environment() makes one.")));
	return found;
}

int
environment_list(const KnownEnvironment **environments)
{
	require_known();
	*environments = known;
	return known_count;
}

const KnownEnvironment *
environment_by_id(int32 environment_id)
{
	require_known();
	for (int i = 0; i < known_count; i++)
		if (known[i].environment_id == environment_id)
			return &known[i];
	elog(ERROR, "environment %d is missing", environment_id);
}

bool
environment_has_worker(const KnownEnvironment *environment)
{
	return directory_caller_trusted() ||
		(OidIsValid(environment->worker_role) && has_privs_of_role(GetUserId(), environment->worker_role));
}

void
environment_require_worker(const KnownEnvironment *environment)
{
	if (environment_has_worker(environment))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to work for environment \"%s\"", environment->name),
			 errdetail("Members of taskex_app and of the environment's worker_role may do this."),
			 errhint("An operator changes the worker_role with taskex.alter_environment().")));
}

bool
environment_names(const KnownEnvironment *environment, int64 customer_id)
{
	for (int i = 0; i < environment->customer_count; i++)
		if (environment->customers[i] == customer_id)
			return true;
	return false;
}

void
environment_require_customer(const KnownEnvironment *environment, int64 customer_id)
{
	if (environment->retired)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_ENVIRONMENT_RETIRED),
				 errmsg("environment \"%s\" is retired", environment->name),
				 errdetail("It takes no new runs.")));
	if (!environment->restricted || environment_names(environment, customer_id))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied for environment \"%s\"", environment->name),
			 errdetail("The operator has named the customers who may have runs in it."),
			 errhint("The view taskex.environments lists other environments; an operator changes the customers of one with taskex.alter_environment().")));
}
