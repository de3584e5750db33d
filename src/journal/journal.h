/*
 * journal.h
 *	  The journal of acts: what happened, in the transaction in which it did.
 *
 * Who changes something that others want to know of (summaries, events, review
 * policies) writes one row; the conductor hands the rows to the consumers some
 * moments after the commit.  README.md tells how.
 */
#ifndef TASKEX_JOURNAL_H
#define TASKEX_JOURNAL_H

#include "postgres.h"

#include "infra/shmem.h"

#include "utils/jsonb.h"

typedef struct JournalAct
{
	const char *kind;			/* one of _taskex.event_kind */
	int64		requester_id;	/* these five: 0 is none */
	int64		performer_id;
	int64		task_type_id;	/* written as positive, also of golden tasks */
	int64		task_id;
	int64		assignment_id;
	int64		amount;			/* nano-units; which, the kind tells */
	Jsonb	   *detail;			/* or NULL */
} JournalAct;

/*
 * write.c: writes one row in the caller's transaction.  After the row locks
 * that the act needs have been taken, so that ids are in the order of causes.
 */
extern void journal_write(const JournalAct *act);

/* a detail of whole numbers: names and values */
extern Jsonb *journal_numbers(int count, const char *const *names, const int64 *values);

/* the detail of an act that gave up slots of a closed task */
extern Jsonb *journal_slots(int64 count);

/*
 * wanted.c: does anybody want to hear of this user's or that user's accepts?
 * They are the one kind that is not written unless somebody does.
 */
extern bool journal_wants_accepted(int64 requester_id, int64 performer_id);

/*
 * dispatch.c: the conductor's part: hands over what was committed, outside any
 * transaction; returns whether there is more to do at once.
 */
extern bool journal_maintain(void);

/*
 * By hand: has the conductor do it and waits for it, 5 s at most.  Without a
 * conductor, or with a clock of one's own, it is done in the caller's
 * transaction, which keeps others from it until it ends.
 */
extern void journal_dispatch(void);

/*
 * round.c: the conductor tells of its rounds; round_await() waits for one that
 * begins now, for a while, or returns false if no conductor is at work.
 */
extern const ShmemPart journal_shmem;
extern void round_begin(void);
extern void round_end(void);
extern bool round_await(void);

#endif							/* TASKEX_JOURNAL_H */
