/*
 * realm.h
 *	  Which exchange this is: a database that has the extension.
 *
 * All shared memory of taskex is shared by all databases of the server.  A
 * realm is one incarnation of the extension in one database; its serial is
 * part of every key in shared memory, so that what a dropped exchange left
 * behind is never found by its successor.
 */
#ifndef TASKEX_REALM_H
#define TASKEX_REALM_H

#include "postgres.h"

#include "infra/shmem.h"

typedef struct Realm
{
	int			slot;			/* 0 .. taskex.max_databases - 1 */
	uint32		serial;			/* never 0, never used again before restart */
	Oid			extension;
	Oid			owner;			/* role that owns the extension */
} Realm;

extern const ShmemPart realm_shmem;

/*
 * The realm of this database; raises not_loaded without shared memory.
 * Outside a transaction it is the one that the process knew last.
 */
extern const Realm *realm_current(void);

/* the same, or NULL where this database has no exchange */
extern const Realm *realm_find(void);

typedef enum RealmState
{
	REALM_EMPTY,				/* no storage partition yet */
	REALM_RESTORING,			/* a dump is being restored: rows are missing */
	REALM_COMPLETE
} RealmState;

/* the serial of the realm that has a slot now, 0: none; takes no lock */
extern uint32 realm_serial(uint32 slot);

/* is all of the exchange here? */
extern RealmState realm_state(void);

/* the extension's owner, also without shared memory */
extern Oid	realm_owner(void);

/* the conductor found that the exchange of this slot is gone */
extern void realm_release(Oid database);

/*
 * Callbacks for parts of shared memory that are arrays indexed by slot: called
 * with the realm lock held when a slot gets a new realm.
 */
typedef void (*RealmReset) (int slot);
extern void realm_on_reset(RealmReset reset);

#endif							/* TASKEX_REALM_H */
