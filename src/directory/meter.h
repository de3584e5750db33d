/*
 * meter.h
 *	  What users' calls cost: counted by the calls themselves.
 *
 * A public C function that acts for a user is written
 *
 *		METERED(taskex_f)
 *		{
 *			...
 *			PG_RETURN_...;
 *		}
 *
 * in place of PG_FUNCTION_INFO_V1(taskex_f) and its head.  What happens in it
 * is the load of the user whom directory_actor() finds first; a metered
 * function that is called from within counts as part of the outer one.
 */
#ifndef TASKEX_DIRECTORY_METER_H
#define TASKEX_DIRECTORY_METER_H

#include "postgres.h"

#include "fmgr.h"
#include "infra/shmem.h"

/* what was counted for a user, or (user_id 0) for users who found no place */
typedef struct MeterEntry
{
	int64		user_id;
	uint32		serial;			/* of the realm; 0: free */
	int32		partition;		/* where the user lived */
	uint32		slot;			/* of the realm */
	uint32		calls;
	int64		blocks_hit;
	int64		blocks_read;
	int64		blocks_written; /* made dirty, or spilled */
	int64		wal_bytes;
	int64		cpu_ns;
} MeterEntry;

extern const ShmemPart meter_shmem;

/* true: this is the outermost metered function, which has to leave */
extern bool meter_enter(void);
extern void meter_leave(void);

/* says for whom the call is; the first to say it counts */
extern void meter_user(int64 user_id, int32 partition);

#define METERED(function) \
	static Datum function##_metered(PG_FUNCTION_ARGS); \
	PG_FUNCTION_INFO_V1(function); \
	Datum \
	function(PG_FUNCTION_ARGS) \
	{ \
		bool		outermost = meter_enter(); \
		Datum		result = function##_metered(fcinfo); \
		if (outermost) \
			meter_leave(); \
		return result; \
	} \
	static Datum \
	function##_metered(PG_FUNCTION_ARGS)

/*
 * Takes what was counted in this exchange, from *place (at first 0) on, and
 * moves *place; returns the number of entries, at most max (8 at least), and
 * sets *more.
 */
extern int	meter_take(MeterEntry *entries, int max, uint32 *place, bool *more);

/* counts again what was taken and could not be stored; cannot fail */
extern void meter_give_back(const MeterEntry *entries, int count);

/*
 * What was counted and not taken yet; and the calls since the start that were
 * counted for their partition only, or not at all.
 */
extern void meter_look(int64 *users, int64 *calls, int64 *unnamed, int64 *lost);

/* called once, in _PG_init while preloading */
extern void meter_install(void);

#endif							/* TASKEX_DIRECTORY_METER_H */
