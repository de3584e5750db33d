/*
 * taskex.c
 *	  _PG_init: settings, hooks, and the lists of module descriptors.
 */
#include "postgres.h"

#include "base/guc.h"
#include "billing/billing.h"
#include "billing/writers.h"
#include "directory/directory.h"
#include "directory/meter.h"
#include "directory/moves.h"
#include "executor/body.h"
#include "executor/pool.h"
#include "executor/steer.h"
#include "infra/ids.h"
#include "infra/realm.h"
#include "infra/shmem.h"
#include "infra/xact.h"
#include "journal/journal.h"
#include "launcher/launcher.h"
#include "ledger/ledger.h"
#include "market/follow.h"
#include "market/market.h"
#include "market/source.h"
#include "migration/mover.h"
#include "supply/group.h"
#include "supply/supplier.h"
#include "supply/supply.h"
#include "supply/wait.h"
#include "truth/progress.h"
#include "workload/environment.h"
#include "workload/follow.h"
#include "workload/usage.h"
#include "workload/workload.h"

#include "fmgr.h"
#include "miscadmin.h"

PG_MODULE_MAGIC;

void		_PG_init(void);

static const ShmemPart *const shmem_parts[] = {
	&realm_shmem,
	&ids_shmem,
	&directory_cache_shmem,
	&partition_map_shmem,
	&unreadable_shmem,
	&moves_shmem,
	&meter_shmem,
	&purse_shmem,
	&feed_shmem,
	&due_shmem,
	&journal_shmem,
	&progress_shmem,
	&group_shmem,
	&supply_shmem,
	&supplier_shmem,
	&wait_shmem,
	&mover_shmem,
	&queue_shmem,
	&run_wait_shmem,
	&pool_shmem,
	&steer_shmem,
	&writers_shmem,
	&launcher_shmem,
	NULL
};

/* who must do something when a user's home changes */
static const MoveFollower *const followers[] = {
	&market_follower,
	&workload_follower,
	NULL
};

void
_PG_init(void)
{
	guc_define();
	xact_install();
	visible_install();
	environment_check_code = body_check_submitted;
	if (!process_shared_preload_libraries_in_progress)
		return;
	shmem_install(shmem_parts);
	task_source = &supply_source;
	child_watch = &moved_watch;
	child_hook_install();
	run_holder = &pool_holder;
	run_observer = &billing_observer;
	moves_install();
	meter_install();
	mover_install(followers);
	launcher_install();
}
