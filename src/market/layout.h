/*
 * layout.h
 *	  What a task looks like to one performer: core content and filled slots.
 */
#ifndef TASKEX_LAYOUT_H
#define TASKEX_LAYOUT_H

#include "postgres.h"

#include "directory/directory.h"
#include "utils/timestamp.h"

/* has the requester ever used a layout for the type?  Cheap if nobody uses any */
extern bool layout_is_used(int64 requester, int64 task_type);

/*
 * The input of a task, a jsonb, laid out for the performer as at the given time,
 * in the current memory context; the input itself if no layout was used then.
 * context: what counts instead of attributes of his profile, a jsonb, or 0.
 * search: fill slots for which the exchange must be searched, too.
 */
extern Datum layout_fill(const UserHome *performer, int64 requester, int64 task_type,
						 Datum input, TimestampTz at, Datum context, bool search);

#endif							/* TASKEX_LAYOUT_H */
