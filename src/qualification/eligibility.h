/*
 * eligibility.h
 *	  What a performer is qualified for, and who has blocked him.
 *
 * An Eligibility holds what is known of one performer during one call.  Each
 * part is read when it is first asked for, once, and as it is committed at that
 * moment (with the caller's own changes), whatever his isolation level: an
 * old snapshot must not let anybody do what he no longer may.
 */
#ifndef TASKEX_ELIGIBILITY_H
#define TASKEX_ELIGIBILITY_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "directory/directory.h"
#include "qualification/requirement.h"

/* a qualification that the performer has */
typedef struct Grant
{
	int64		qualification;
	int32		score;
} Grant;

/* who keeps him from working, and until when */
typedef struct Block
{
	int64		requester;		/* 0: the exchange, he is suspended */
	TimestampTz until;			/* DT_NOEND: until it is taken back */
	char	   *reason;
} Block;

typedef struct Eligibility
{
	UserHome	performer;
	TimestampTz now;
	MemoryContext context;		/* of what follows */

	Block	   *blocks;			/* NULL: not read; by requester */
	int			block_count;
	uint32		blocks_mark;

	Grant	   *grants;			/* NULL: not read; by qualification */
	int			grant_count;

	bool		standing_read;
	double		numbers[SUBJECTS];	/* of the subjects that are numbers */
	bool		known[SUBJECTS];

	bool		profile_read;
	char	   *location;		/* or NULL */
	char	  **devices;
	int			device_count;
} Eligibility;

/* what is read stays in the current memory context */
extern void eligibility_begin(Eligibility *eligibility, const UserHome *performer, TimestampTz now);

extern bool eligibility_meets(Eligibility *eligibility, const Requirements *requirements, Guard act);
extern bool eligibility_meets_one(Eligibility *eligibility, const Requirement *requirement);

/* the performer's value for a requirement, as text, or NULL if there is none */
extern char *eligibility_value(Eligibility *eligibility, const Requirement *requirement);

/* raises not_qualified, saying what is missing, unless all are met */
extern void eligibility_require(Eligibility *eligibility, const Requirements *requirements,
								const char *what);

/* the block that is in force between the two, or the suspension, or NULL */
extern const Block *eligibility_block(Eligibility *eligibility, int64 requester);

/* raises performer_blocked if there is one; requester 0: only the exchange's */
extern void eligibility_require_unblocked(Eligibility *eligibility, int64 requester);

/*
 * A number that changes when those who block him change: what he was passed by
 * for may be had again then.  0: nobody does.
 */
extern uint32 eligibility_blocks_mark(Eligibility *eligibility);

#endif							/* TASKEX_ELIGIBILITY_H */
