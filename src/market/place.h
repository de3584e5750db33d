/*
 * place.h
 *	  How far each performer is on each shelf.
 */
#ifndef TASKEX_PLACE_H
#define TASKEX_PLACE_H

#include "postgres.h"

typedef struct Place
{
	int64		cursor;			/* he has looked at all tasks up to it */
	uint64		seen;			/* ... and at the ranges up to this one */
	uint32		blocks;			/* who blocked him then: eligibility_blocks_mark */
} Place;

extern Size place_size(void);
extern void place_attach(void *block, bool found);

extern bool place_find(int64 performer, uint32 incarnation, Place *place);
extern void place_store(int64 performer, uint32 incarnation, const Place *place);

#endif							/* TASKEX_PLACE_H */
