/*
 * waitpoint.c
 *	  Places where a test can stop a session.
 */
#include "postgres.h"

#include "infra/waitpoint.h"

#include "fmgr.h"
#include "utils/fmgrprotos.h"

void
wait_point_stop(void)
{
	DirectFunctionCall1(pg_advisory_lock_int8, Int64GetDatum(WAIT_POINT_LOCK));
	DirectFunctionCall1(pg_advisory_unlock_int8, Int64GetDatum(WAIT_POINT_LOCK));
}
