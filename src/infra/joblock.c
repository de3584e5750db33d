/*
 * joblock.c
 *	  Jobs that one session at a time does.
 *
 * A job is claimed by a heavyweight lock until the transaction ends.  It is in a
 * key space that pg_advisory_lock() does not reach, whose keys anybody may take.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"
#include "utils/builtins.h"

/* distinguishes it from advisory locks, which have 1 and 2 there, and from our other locks */
#define JOB_CLASS 5

PG_FUNCTION_INFO_V1(taskex_claim_job);

Datum
taskex_claim_job(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	uint64		key = hash_bytes_extended((const unsigned char *) VARDATA_ANY(name), VARSIZE_ANY_EXHDR(name), (uint64) PG_GETARG_INT64(1));
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, JOB_CLASS);
	PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL);
}
