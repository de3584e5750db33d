/*
 * launcher.c
 *	  Keeps one conductor running in each database that has an exchange.
 *
 * PURPOSE	The launcher looks through pg_database and starts a conductor in
 *			each database that it does not know; a conductor that finds no
 *			exchange says so and ends, and is started again only when the
 *			extension is created there.
 * LAYOUT	An entry for each database with a conductor or a request to do
 *			without one, and a list of databases where the extension was
 *			created.
 * WRITES	All fields under the launcher lock, exclusive.
 * CRASH	Everything is looked up again.
 * INVARIANT  No conductor is started in a database before leave_until.
 */
#include "postgres.h"

#include "launcher/launcher.h"
#include "base/compat.h"
#include "base/guc.h"
#include "infra/realm.h"
#include "infra/worker.h"
#include "infra/xact.h"
#include "launcher/internal.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#define ANNOUNCEMENTS 64

typedef struct DatabaseEntry
{
	Oid			database;		/* InvalidOid: free */
	pid_t		conductor;		/* 0: none is running */
	bool		no_exchange;	/* its last conductor found none */
	TimestampTz leave_until;	/* no conductor before this time */
} DatabaseEntry;

typedef struct LauncherShared
{
	Latch	   *latch;			/* the launcher's, while it runs */
	bool		all_announced;	/* there were too many announcements */
	int			announced_count;
	Oid			announced[ANNOUNCEMENTS];
	DatabaseEntry entries[FLEXIBLE_ARRAY_MEMBER];
} LauncherShared;

static LauncherShared *shared = NULL;
static LWLock *lock = NULL;

/* conductors are some more than exchanges: they also look for them */
static int
entry_count(void)
{
	return guc_max_databases + 32;
}

static Size
launcher_size(void)
{
	return add_size(offsetof(LauncherShared, entries),
					mul_size(entry_count(), sizeof(DatabaseEntry)));
}

static int
launcher_locks(void)
{
	return 1;
}

static void
launcher_attach(void *block, LWLockPadded *locks, bool found)
{
	shared = block;
	lock = &locks[0].lock;
}

const ShmemPart launcher_shmem = {"taskex launcher", launcher_size, NULL, launcher_locks, launcher_attach};

/*
 * Does the entry say nothing any more?  The launcher gives back only those of
 * databases that it has listed, and some are dropped before it can.
 */
static bool
is_spent(const DatabaseEntry *entry)
{
	return entry->conductor == 0 && !entry->no_exchange &&
		entry->leave_until <= GetCurrentTimestamp();
}

/* the entry of a database; lock held exclusive if it may be made; NULL: none */
static DatabaseEntry *
entry_of(Oid database, bool make)
{
	DatabaseEntry *free_entry = NULL;

	for (int i = 0; i < entry_count(); i++)
	{
		DatabaseEntry *entry = &shared->entries[i];

		if (entry->database == database)
			return entry;
		if (make && free_entry == NULL && (entry->database == InvalidOid || is_spent(entry)))
			free_entry = entry;
	}
	if (make && free_entry)
	{
		memset(free_entry, 0, sizeof(DatabaseEntry));
		free_entry->database = database;
		return free_entry;
	}
	return NULL;
}

static void
wake_launcher(void)
{
	if (shared->latch)
		SetLatch(shared->latch);
}

/* ---- what conductors say ---- */

bool
conductor_begins(void)
{
	DatabaseEntry *entry;
	bool		welcome;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry = entry_of(MyDatabaseId, true);
	welcome = entry != NULL && entry->conductor == 0 && entry->leave_until <= GetCurrentTimestamp();
	if (welcome)
	{
		entry->conductor = MyProcPid;
		entry->no_exchange = false;
	}
	LWLockRelease(lock);
	return welcome;
}

void
conductor_ends(bool no_exchange)
{
	DatabaseEntry *entry;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry = entry_of(MyDatabaseId, false);
	if (entry && entry->conductor == MyProcPid)
	{
		entry->conductor = 0;
		entry->no_exchange = no_exchange;
	}
	LWLockRelease(lock);
	wake_launcher();
}

/* ---- doing without a conductor for a while ---- */

pid_t
launcher_hold_off(Oid database, TimestampTz until)
{
	DatabaseEntry *entry;
	pid_t		pid = 0;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry = entry_of(database, until != 0);
	if (entry)
	{
		entry->leave_until = until;
		pid = entry->conductor;
	}
	LWLockRelease(lock);
	if (until == 0)
		wake_launcher();
	return pid;
}

/* ---- announcing a new exchange ---- */

static void
announce_commit(void *record)
{
	Oid			database = *(Oid *) record;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	if (shared->announced_count < ANNOUNCEMENTS)
		shared->announced[shared->announced_count++] = database;
	else
		shared->all_announced = true;
	LWLockRelease(lock);
	wake_launcher();
}

static void
announce_abort(void *record)
{
}

static const XactKind announce_kind = {announce_commit, announce_abort};

PG_FUNCTION_INFO_V1(taskex_announce);

/* _taskex.announce(): called by the install script */
Datum
taskex_announce(PG_FUNCTION_ARGS)
{
	if (shmem_ready())
		*(Oid *) xact_add(&announce_kind, sizeof(Oid)) = MyDatabaseId;
	PG_RETURN_VOID();
}

/* ---- the launcher's own knowledge ---- */

typedef struct KnownDatabase
{
	Oid			database;		/* hash key */
	bool		no_exchange;
	bool		announced;		/* an exchange was, since its conductor was started */
	bool		listed;			/* in the present look through pg_database */
	BackgroundWorkerHandle *handle; /* of its conductor, or NULL */
} KnownDatabase;

static HTAB *known = NULL;
static bool told_full = false;

/* takes in what was announced since the last round */
static void
hear_announcements(void)
{
	Oid			announced[ANNOUNCEMENTS];
	int			count;
	bool		all;
	HASH_SEQ_STATUS status;
	KnownDatabase *database;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	count = shared->announced_count;
	memcpy(announced, shared->announced, sizeof(Oid) * count);
	all = shared->all_announced;
	shared->announced_count = 0;
	shared->all_announced = false;
	LWLockRelease(lock);

	hash_seq_init(&status, known);
	while ((database = hash_seq_search(&status)) != NULL)
		for (int i = 0; i < count || all; i++)
			if (all || database->database == announced[i])
			{
				database->no_exchange = false;
				database->announced = true;
				break;
			}
}

/* lists the databases that can have a conductor */
static void
list_databases(void *arg)
{
	Relation	rel = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
	HASH_SEQ_STATUS status;
	KnownDatabase *database;
	HeapTuple	tuple;

	hash_seq_init(&status, known);
	while ((database = hash_seq_search(&status)) != NULL)
		database->listed = false;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database form = (Form_pg_database) GETSTRUCT(tuple);
		bool		found;

		/* nobody can connect to what an interrupted DROP DATABASE left */
		if (!form->datallowconn || form->datistemplate ||
			form->datconnlimit == DATCONNLIMIT_INVALID_DB)
			continue;
		database = hash_search(known, &form->oid, HASH_ENTER, &found);
		if (!found)
		{
			database->no_exchange = false;
			database->announced = false;
			database->handle = NULL;
		}
		database->listed = true;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* the shared entry of a database that is gone, or does without, is given up */
static void
forget_entry(Oid database)
{
	DatabaseEntry *entry;

	LWLockAcquire(lock, LW_EXCLUSIVE);
	entry = entry_of(database, false);
	if (entry && entry->conductor == 0 && entry->leave_until <= GetCurrentTimestamp())
		entry->database = InvalidOid;
	LWLockRelease(lock);
}

/* looks after one database */
static void
attend(KnownDatabase *database)
{
	pid_t		pid;

	if (database->handle)
	{
		DatabaseEntry *entry;

		if (GetBackgroundWorkerPid(database->handle, &pid) != BGWH_STOPPED)
			return;
		pfree(database->handle);
		database->handle = NULL;

		LWLockAcquire(lock, LW_EXCLUSIVE);
		entry = entry_of(database->database, false);
		if (entry)
		{
			/* a conductor may have looked before the exchange was made */
			database->no_exchange = entry->no_exchange && !database->announced;
			entry->conductor = 0;
		}
		LWLockRelease(lock);
		if (database->no_exchange)
			realm_release(database->database);
		return;					/* if need be, started again next round */
	}

	if (!database->listed || database->no_exchange)
	{
		forget_entry(database->database);
		if (!database->listed)
		{
			realm_release(database->database);
			hash_search(known, &database->database, HASH_REMOVE, NULL);
		}
		return;
	}
	if (launcher_held_off(database->database))
		return;

	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		bool		started = worker_start(&conductor_kind, database->database, &database->handle);

		MemoryContextSwitchTo(old);
		if (!started && !told_full)
			ereport(WARNING,
					(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					 errmsg("no worker slot is free for a conductor of taskex"),
					 errhint("Raise max_worker_processes.")));
		told_full = !started;
		if (started)
			database->announced = false;
		else
			database->handle = NULL;
	}
}

bool
launcher_held_off(Oid database)
{
	DatabaseEntry *entry;
	bool		held_off;

	LWLockAcquire(lock, LW_SHARED);
	entry = entry_of(database, false);
	held_off = entry != NULL && entry->leave_until > GetCurrentTimestamp();
	LWLockRelease(lock);
	return held_off;
}

static long
launcher_round(void)
{
	HASH_SEQ_STATUS status;
	KnownDatabase *database;

	if (known == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(KnownDatabase);
		known = hash_create("taskex databases", 32, &ctl, HASH_ELEM | HASH_BLOBS);
		LWLockAcquire(lock, LW_EXCLUSIVE);
		shared->latch = MyLatch;
		LWLockRelease(lock);
	}
	worker_transaction("looking for databases", list_databases, NULL);
	hear_announcements();

	hash_seq_init(&status, known);
	while ((database = hash_seq_search(&status)) != NULL)
		attend(database);
	return 1000;
}

static void
launcher_exit(int code, Datum arg)
{
	LWLockAcquire(lock, LW_EXCLUSIVE);
	shared->latch = NULL;
	LWLockRelease(lock);
}

static WorkerKind launcher_kind = {"launcher", "taskex_launcher_main", launcher_round};

PGDLLEXPORT void taskex_launcher_main(Datum main_arg);

void
taskex_launcher_main(Datum main_arg)
{
	worker_loop(&launcher_kind, ObjectIdGetDatum(InvalidOid), launcher_exit);
}

void
launcher_install(void)
{
	if (IsBinaryUpgrade)
		return;
	worker_register_static(&launcher_kind);
	database_hook_install();
}
