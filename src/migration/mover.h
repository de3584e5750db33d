/*
 * mover.h
 *	  The workers that move users, and what they tell of it.
 */
#ifndef TASKEX_MIGRATION_MOVER_H
#define TASKEX_MIGRATION_MOVER_H

#include "postgres.h"

#include "directory/follower.h"
#include "infra/shmem.h"

extern const ShmemPart mover_shmem;

/* called once, in _PG_init, with the NULL-terminated list of those who must follow */
extern void mover_install(const MoveFollower *const *followers);

/* the conductor's part: sees to it that movers run while there is something to move */
extern void mover_ensure(void);

/* the conductor, when it ends: who comes after it does not know of these */
extern void mover_leave(void);

/* nobody else works on the migration until the session, or the transaction, ends; false: somebody does */
extern bool mover_claim(int64 migration, bool session);

extern bool mover_window_open(void);

#endif							/* TASKEX_MIGRATION_MOVER_H */
