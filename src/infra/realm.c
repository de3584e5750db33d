/*
 * realm.c
 *	  Slots of shared memory for the exchanges of this server.
 *
 * PURPOSE	Gives each (database, extension) a slot number and a serial.
 * LAYOUT	A header with the last serial, then taskex.max_databases slots.
 * WRITES	All fields under the realm lock, exclusively; read under it,
 *			shared, by processes that have not cached their realm.
 * CRASH	The slots are empty after a restart and are taken again by the
 *			first call in each database.
 * INVARIANT  A serial is used by one slot, once.
 */
#include "postgres.h"

#include "infra/realm.h"
#include "base/errcodes.h"
#include "base/guc.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "miscadmin.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

typedef struct RealmSlot
{
	Oid			database;		/* InvalidOid: free */
	Oid			extension;
	uint32		serial;
} RealmSlot;

typedef struct RealmShared
{
	uint32		last_serial;
	RealmSlot	slots[FLEXIBLE_ARRAY_MEMBER];
} RealmShared;

static RealmShared *shared = NULL;
static LWLock *lock = NULL;

/* the cached realm of this process, dropped at invalidation of its anchor */
static Realm current;
static bool current_valid = false;
static Oid	anchor = InvalidOid;	/* OID of _taskex.directory */
static bool callback_registered = false;

static RealmReset resets[16];
static int	reset_count = 0;

static Size
realm_size(void)
{
	return add_size(offsetof(RealmShared, slots),
					mul_size(guc_max_databases, sizeof(RealmSlot)));
}

static int
realm_locks(void)
{
	return 1;
}

static void
realm_attach(void *block, LWLockPadded *locks, bool found)
{
	shared = block;
	lock = &locks[0].lock;
}

const ShmemPart realm_shmem = {"taskex realms", realm_size, NULL, realm_locks, realm_attach};

void
realm_on_reset(RealmReset reset)
{
	/* after a crash the postmaster attaches again, in the same process */
	for (int i = 0; i < reset_count; i++)
		if (resets[i] == reset)
			return;
	if (reset_count == lengthof(resets))
		elog(ERROR, "too many callbacks for a new realm");
	resets[reset_count++] = reset;
}

static void
anchor_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == anchor)
		current_valid = false;
}

/* the extension's oid and owner, from pg_extension; false: not installed */
static bool
read_extension(Oid *extension, Oid *owner)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum("taskex"));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
	{
		*extension = ((Form_pg_extension) GETSTRUCT(tuple))->oid;
		*owner = ((Form_pg_extension) GETSTRUCT(tuple))->extowner;
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return HeapTupleIsValid(tuple);
}

/* finds or takes the slot of (this database, extension) */
static void
take_slot(Oid extension, Realm *realm)
{
	int			free_slot = -1;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < guc_max_databases; i++)
	{
		RealmSlot  *slot = &shared->slots[i];

		if (slot->database == MyDatabaseId)
		{
			if (slot->extension == extension)
			{
				realm->slot = i;
				realm->serial = slot->serial;
				LWLockRelease(lock);
				return;
			}
			free_slot = i;		/* an earlier incarnation: its place is ours */
			break;
		}
		if (slot->database == InvalidOid && free_slot < 0)
			free_slot = i;
	}
	if (free_slot >= 0)
	{
		RealmSlot  *slot = &shared->slots[free_slot];

		slot->database = MyDatabaseId;
		slot->extension = extension;
		slot->serial = ++shared->last_serial;
		realm->slot = free_slot;
		realm->serial = slot->serial;
		for (int i = 0; i < reset_count; i++)
			resets[i] (free_slot);
	}
	LWLockRelease(lock);

	if (free_slot < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many databases of this server hold an exchange"),
				 errhint("Raise taskex.max_databases and restart the server.")));
}

static bool
resolve(void)
{
	Oid			extension;
	Oid			owner;

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(anchor_changed, (Datum) 0);
		callback_registered = true;
	}
	if (!read_extension(&extension, &owner))
		return false;
	anchor = get_relname_relid("directory", get_namespace_oid("_taskex", true));
	current.extension = extension;
	current.owner = owner;
	if (shmem_ready())
		take_slot(extension, &current);

	/* while the extension is being created its anchor may be still to come */
	current_valid = OidIsValid(anchor);
	return true;
}

const Realm *
realm_find(void)
{
	if (!shmem_ready())
		return NULL;

	/* the serial moves if a DROP and CREATE EXTENSION was rolled back */
	if (likely(current_valid && shared->slots[current.slot].serial == current.serial))
		return &current;

	/* where no catalog can be read, a process goes on with what it knew last */
	if (unlikely(!IsTransactionState()))
		return current.serial != 0 ? &current : NULL;
	return resolve() ? &current : NULL;
}

uint32
realm_serial(uint32 slot)
{
	return shared->slots[slot].serial;
}

const Realm *
realm_current(void)
{
	const Realm *realm;

	shmem_require();
	realm = realm_find();
	if (realm == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"taskex\" is not installed in this database"),
				 errhint("Use CREATE EXTENSION taskex.")));
	return realm;
}

/*
 * taskex.add_partition() makes the materialized view _taskex.complete.  A dump
 * has it, empty at first: it is filled after everything else, also by parallel
 * jobs of pg_restore, which keep no other order.
 */
RealmState
realm_state(void)
{
	Oid			relid = get_relname_relid("complete", get_namespace_oid("_taskex", true));
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		filled;

	if (!HeapTupleIsValid(tuple))
		return REALM_EMPTY;
	filled = ((Form_pg_class) GETSTRUCT(tuple))->relispopulated;
	ReleaseSysCache(tuple);
	return filled ? REALM_COMPLETE : REALM_RESTORING;
}

Oid
realm_owner(void)
{
	if (!current_valid && !resolve())
		elog(ERROR, "extension \"taskex\" is not installed in this database");
	return current.owner;
}

void
realm_release(Oid database)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	for (int i = 0; i < guc_max_databases; i++)
		if (shared->slots[i].database == database)
		{
			memset(&shared->slots[i], 0, sizeof(RealmSlot));
			/* what it had is for others, who need not be new */
			for (int j = 0; j < reset_count; j++)
				resets[j] (i);
		}
	LWLockRelease(lock);
}
