/*
 * shmem.c
 *	  Requests and attaches the shared memory of all modules.
 */
#include "postgres.h"

#include "infra/shmem.h"
#include "base/errcodes.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/shmem.h"

static const ShmemPart *const *parts = NULL;
static bool ready = false;

static shmem_request_hook_type previous_request = NULL;
static shmem_startup_hook_type previous_startup = NULL;

static void
request(void)
{
	if (previous_request)
		previous_request();

	for (const ShmemPart *const *part = parts; *part; part++)
	{
		RequestAddinShmemSpace(MAXALIGN((*part)->size()));
		if ((*part)->extra)
			RequestAddinShmemSpace((*part)->extra());
		if ((*part)->lock_count)
			RequestNamedLWLockTranche((*part)->name, (*part)->lock_count());
	}
}

static void
startup(void)
{
	if (previous_startup)
		previous_startup();

	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	for (const ShmemPart *const *part = parts; *part; part++)
	{
		bool		found;
		Size		size = (*part)->size();
		void	   *block = ShmemInitStruct((*part)->name, size, &found);
		LWLockPadded *locks = NULL;

		if (!found)
			memset(block, 0, size);
		if ((*part)->lock_count)
			locks = GetNamedLWLockTranche((*part)->name);
		(*part)->attach(block, locks, found);
	}
	LWLockRelease(AddinShmemInitLock);
	ready = true;
}

void
shmem_install(const ShmemPart *const *all)
{
	parts = all;
	previous_request = shmem_request_hook;
	shmem_request_hook = request;
	previous_startup = shmem_startup_hook;
	shmem_startup_hook = startup;
}

bool
shmem_ready(void)
{
	return ready;
}

void
shmem_require(void)
{
	if (!ready)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_NOT_LOADED),
				 errmsg("taskex is not loaded by the server"),
				 errdetail("This function needs the shared memory and the workers of taskex."),
				 errhint("Add taskex to shared_preload_libraries and restart the server.")));
}

PG_FUNCTION_INFO_V1(taskex_loaded);

/* _taskex.loaded() */
Datum
taskex_loaded(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(ready);
}
