/*
 * unreadable.c
 *	  Storage partitions of which the files cannot be read.
 *
 * PURPOSE	A disk that is not mounted, or fails, must not stop those who live
 *			elsewhere: who looks through all partitions passes by the ones that
 *			are noted here.  Who asks for somebody on one of them gets
 *			PostgreSQL's own error.
 * LAYOUT	For each realm slot a count and an array of partitions.
 * WRITES	All fields under the slot's spinlock, by the exchange's conductor, but
 *			"missed", which others set; "count" is read without: zero at most
 *			times, or that of a moment ago.
 * CRASH	Nothing is noted after a restart; the conductor looks before it does
 *			anything else.
 */
#include "postgres.h"

#include "directory/directory.h"
#include "directory/internal.h"
#include "base/guc.h"
#include "infra/realm.h"
#include "infra/worker.h"

#include "catalog/namespace.h"
#include "fmgr.h"
#include "funcapi.h"
#include "storage/fd.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include <fcntl.h>
#include <unistd.h>

/* least time between two looks, in ms */
#define LOOK_MS 500

typedef struct Unreadable
{
	int32		partition_id;
	int32		error;			/* errno; 0: it can be read again, and was missed */
	bool		missed;			/* somebody is to be told when it can be read */
	TimestampTz since;
} Unreadable;

typedef struct UnreadableMap
{
	slock_t		mutex;
	int			count;
	Unreadable	partitions[FLEXIBLE_ARRAY_MEMBER];
} UnreadableMap;

static char *maps = NULL;

static Size
map_size(void)
{
	return MAXALIGN(offsetof(UnreadableMap, partitions) + sizeof(Unreadable) * (Size) guc_max_partitions);
}

static Size
maps_size(void)
{
	return mul_size(map_size(), guc_max_databases);
}

static inline UnreadableMap *
map_of(int slot)
{
	return (UnreadableMap *) (maps + map_size() * slot);
}

static void
map_reset(int slot)
{
	SpinLockAcquire(&map_of(slot)->mutex);
	map_of(slot)->count = 0;
	SpinLockRelease(&map_of(slot)->mutex);
}

static void
maps_attach(void *block, LWLockPadded *locks, bool found)
{
	maps = block;
	if (!found)
		for (int slot = 0; slot < guc_max_databases; slot++)
			SpinLockInit(&map_of(slot)->mutex);
	realm_on_reset(map_reset);
}

const ShmemPart unreadable_shmem = {
	"taskex unreadable partitions", maps_size, NULL, NULL, maps_attach
};

/* ---- who asks ---- */

/* the place of a partition in the map, or -1; mutex held */
static int
find(const UnreadableMap *map, int32 partition_id)
{
	for (int i = 0; i < map->count; i++)
		if (map->partitions[i].partition_id == partition_id)
			return i;
	return -1;
}

bool
directory_readable(int32 partition_id)
{
	UnreadableMap *map = map_of(realm_current()->slot);
	bool		readable;
	int			place;

	if (likely(map->count == 0))
		return true;
	SpinLockAcquire(&map->mutex);
	place = find(map, partition_id);
	readable = place < 0 || map->partitions[place].error == 0;
	SpinLockRelease(&map->mutex);
	return readable;
}

bool
directory_all_readable(void)
{
	return map_of(realm_current()->slot)->count == 0;
}

int
directory_readable_partitions(int32 **partitions)
{
	int			count = directory_partitions(partitions);
	int			kept = 0;

	for (int i = 0; i < count; i++)
		if (directory_readable((*partitions)[i]))
			(*partitions)[kept++] = (*partitions)[i];
	return kept;
}

void
directory_missed(int32 partition_id)
{
	UnreadableMap *map = map_of(realm_current()->slot);
	int			place;

	SpinLockAcquire(&map->mutex);
	place = find(map, partition_id);
	if (place < 0 && map->count < guc_max_partitions)
	{
		/* it has come back just now */
		place = map->count++;
		memset(&map->partitions[place], 0, sizeof(Unreadable));
		map->partitions[place].partition_id = partition_id;
	}
	if (place >= 0)
		map->partitions[place].missed = true;
	SpinLockRelease(&map->mutex);
}

bool
directory_returned(int32 *partition_id)
{
	UnreadableMap *map = map_of(realm_current()->slot);
	bool		found = false;

	if (likely(map->count == 0))
		return false;
	SpinLockAcquire(&map->mutex);
	for (int i = 0; i < map->count && !found; i++)
		if (map->partitions[i].error == 0 && map->partitions[i].missed)
		{
			*partition_id = map->partitions[i].partition_id;
			map->partitions[i] = map->partitions[--map->count];
			found = true;
		}
	SpinLockRelease(&map->mutex);
	return found;
}

/* ---- the conductor ---- */

/* errno of an attempt to read the first block of the file, or 0; what tells nothing of the file is no error */
static int
try_file(const char *path)
{
	PGAlignedBlock block;
	int			fd = OpenTransientFile(path, O_RDONLY | PG_BINARY);
	int			error = 0;

	if (fd < 0)
		return errno == EMFILE || errno == ENFILE || errno == EINTR || errno == ENOMEM ? 0 : errno;
	if (read(fd, block.data, BLCKSZ) < 0 && errno != EINTR)
		error = errno;
	(void) CloseTransientFile(fd);
	return error;
}

/* of a small table of the partition; NULL: there is none (it is being dropped) */
static char *
path_of(Oid table)
{
	LOCAL_FCINFO(fcinfo, 1);
	Datum		path;

	if (!OidIsValid(table))
		return NULL;
	InitFunctionCallInfoData(*fcinfo, NULL, 1, InvalidOid, NULL, NULL);
	fcinfo->args[0].value = ObjectIdGetDatum(table);
	fcinfo->args[0].isnull = false;
	path = pg_relation_filepath(fcinfo);
	return fcinfo->isnull ? NULL : text_to_cstring(DatumGetTextPP(path));
}

/* without a lock on it: so a file that is gone may have been replaced by another */
static int
try_partition(int32 partition_id)
{
	char	   *before = path_of(moves_anchor(partition_id));

	while (before)
	{
		int			error = try_file(before);
		char	   *now;

		if (error == 0)
			return 0;
		AcceptInvalidationMessages();
		now = path_of(moves_anchor(partition_id));
		if (now && strcmp(now, before) == 0)
			return error;
		before = now;
	}
	return 0;
}

/* notes what was found; true: it was not known */
static bool
note(int32 partition_id, int error)
{
	UnreadableMap *map = map_of(realm_current()->slot);
	TimestampTz now = GetCurrentTimestamp();
	bool		changed = false;
	int			place;

	SpinLockAcquire(&map->mutex);
	place = find(map, partition_id);
	if (place < 0 && error != 0 && map->count < guc_max_partitions)
	{
		place = map->count++;
		memset(&map->partitions[place], 0, sizeof(Unreadable));
		map->partitions[place].partition_id = partition_id;
	}
	if (place >= 0)
	{
		changed = (map->partitions[place].error == 0) != (error == 0);
		map->partitions[place].error = error;
		if (changed)
			map->partitions[place].since = now;
		if (error == 0 && !map->partitions[place].missed)
			map->partitions[place] = map->partitions[--map->count];
	}
	SpinLockRelease(&map->mutex);
	return changed;
}

/* those that were dropped meanwhile */
static void
forget_dropped(const int32 *partitions, int count)
{
	UnreadableMap *map = map_of(realm_current()->slot);

	SpinLockAcquire(&map->mutex);
	for (int i = map->count - 1; i >= 0; i--)
	{
		bool		found = false;

		for (int k = 0; k < count && !found; k++)
			found = partitions[k] == map->partitions[i].partition_id;
		if (!found)
			map->partitions[i] = map->partitions[--map->count];
	}
	SpinLockRelease(&map->mutex);
}

static void
look(void *arg)
{
	int32	   *partitions;
	int			count = directory_partitions(&partitions);

	for (int i = 0; i < count; i++)
	{
		int			error = try_partition(partitions[i]);

		if (!note(partitions[i], error))
			continue;
		errno = error;
		if (error != 0)
			ereport(LOG,
					(errcode_for_file_access(),
					 errmsg("storage partition \"%s\" cannot be read: %m", partition_info(partitions[i])->name),
					 errdetail("Who lives there cannot work; what goes through all partitions passes it by."),
					 errhint("Look after its disk; taskex.health tells its tablespace.")));
		else
			ereport(LOG,
					(errmsg("storage partition \"%s\" can be read again", partition_info(partitions[i])->name)));
	}
	if (map_of(realm_current()->slot)->count > 0)
		forget_dropped(partitions, count);
}

void
directory_look_for_unreadable(void)
{
	static TimestampTz last = 0;

	if (!TimestampDifferenceExceeds(last, GetCurrentTimestamp(), LOOK_MS))
		return;
	last = GetCurrentTimestamp();
	(void) worker_try_transaction("looking whether storage partitions can be read", look, NULL);
}

PG_FUNCTION_INFO_V1(taskex_readable);

/* readable(partition_id) -> boolean */
Datum
taskex_readable(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!shmem_ready() || directory_readable(PG_GETARG_INT32(0)));
}

PG_FUNCTION_INFO_V1(taskex_unreadable_partitions);

/* unreadable_partitions() -> setof (partition_id, since, error) */
Datum
taskex_unreadable_partitions(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	UnreadableMap *map;
	Unreadable *copy;
	int			count;

	InitMaterializedSRF(fcinfo, 0);
	if (!shmem_ready())			/* taskex.health is there all the same */
		return (Datum) 0;
	map = map_of(realm_current()->slot);
	copy = palloc(sizeof(Unreadable) * guc_max_partitions);
	SpinLockAcquire(&map->mutex);
	count = map->count;
	memcpy(copy, map->partitions, sizeof(Unreadable) * count);
	SpinLockRelease(&map->mutex);
	for (int i = 0; i < count; i++)
	{
		Datum		values[3] = {Int32GetDatum(copy[i].partition_id), TimestampTzGetDatum(copy[i].since),
		CStringGetTextDatum(strerror(copy[i].error))};
		bool		nulls[3] = {false, false, false};

		if (copy[i].error != 0)
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}
