/*
 * demand.h
 *	  What a user, or all users of a partition, need: a vector of numbers.
 *
 * Four resources by hour of the day (UTC), then the stored bytes.  In SQL it is
 * a float8[] of that length.
 */
#ifndef TASKEX_DEMAND_H
#define TASKEX_DEMAND_H

#include "postgres.h"

#include "utils/array.h"

#define DEMAND_HOURS 24

typedef enum Resource
{
	RESOURCE_CPU,				/* cores: seconds of CPU a second */
	RESOURCE_MEMORY,			/* bytes */
	RESOURCE_IO,				/* blocks of 8 kB read and written a second */
	RESOURCE_NETWORK,			/* bytes a second */
	RESOURCE_STORAGE,			/* bytes; the last one, without hours */
	RESOURCES
} Resource;

#define DEMAND_SIZE (RESOURCE_STORAGE * DEMAND_HOURS + 1)

extern const char *const resource_names[RESOURCES];

static inline Resource
demand_resource(int element)
{
	return element / DEMAND_HOURS;
}

/* -1 for stored bytes */
static inline int
demand_hour(int element)
{
	return element < RESOURCE_STORAGE * DEMAND_HOURS ? element % DEMAND_HOURS : -1;
}

/* the numbers of a float8[] without NULLs that must have so many; whatever its dimensions */
extern const double *demand_numbers(ArrayType *array, int count, const char *what);

#endif							/* TASKEX_DEMAND_H */
