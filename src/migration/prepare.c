/*
 * prepare.c
 *	  Waiting for transactions that may write without knowing of a move.
 *
 * Whoever looks a user up after the move was published takes his fence and logs
 * what he changes.  Who did so before holds locks on tables of the source, or
 * will be told when he opens one (directory/moves.h).
 */
#include "postgres.h"

#include "migration/move.h"
#include "base/compat.h"

#include "catalog/namespace.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

static int
locker_pid(VirtualTransactionId vxid)
{
	PGPROC	   *proc = vxid_proc(vxid);

	return proc ? proc->pid : 0;
}

/* vacuum changes no row, and may take long */
static bool
writes_nothing(VirtualTransactionId vxid)
{
	PGPROC	   *proc = vxid_proc(vxid);

	return proc && (proc->statusFlags & PROC_IN_VACUUM) != 0;
}

static void
add_lockers(Move *move, const MoveTable *table)
{
	char		name[NAMEDATALEN];
	Oid			relid;
	LOCKTAG		tag;
	VirtualTransactionId *lockers;
	int			count;
	MemoryContext old = MemoryContextSwitchTo(move->context);

	snprintf(name, sizeof(name), "%s_%d", table->name, move->source);
	relid = get_relname_relid(name, get_namespace_oid("_taskex", false));
	if (!OidIsValid(relid))
		elog(ERROR, "table %s does not exist", name);
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	lockers = GetLockConflicts(&tag, ExclusiveLock, &count);
	move->waits = move->waits ?
		repalloc(move->waits, sizeof(VirtualTransactionId) * (move->nwaits + count + 1)) :
		palloc(sizeof(VirtualTransactionId) * (count + 1));
	MemoryContextSwitchTo(old);
	for (int i = 0; i < count; i++)
	{
		bool		known = writes_nothing(lockers[i]);

		for (int k = 0; k < move->nwaits && !known; k++)
			known = VirtualTransactionIdEquals(move->waits[k], lockers[i]);
		if (!known)
			move->waits[move->nwaits++] = lockers[i];
	}
}

bool
prepare_waited(Move *move)
{
	MoveProgress *progress = &move->progress;
	int			left = 0;

	if (move->nwaits < 0)
	{
		move->nwaits = 0;
		for (int i = 0; i < move->ntables; i++)
			add_lockers(move, &move->tables[i]);
	}
	progress->nwaits = 0;
	for (int i = 0; i < move->nwaits; i++)
	{
		if (VirtualXactLock(move->waits[i], false))
			continue;
		move->waits[left++] = move->waits[i];
		if (progress->nwaits < MOVE_WAITS)
			progress->waits[progress->nwaits++] = locker_pid(move->waits[left - 1]);
	}
	move->nwaits = left;
	return left == 0;
}
