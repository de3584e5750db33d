/*
 * xact.h
 *	  Things to do when the transaction ends.
 *
 * A module that changes shared memory on behalf of a transaction adds a
 * record: "commit" then publishes the change, "abort" takes the reservation
 * back.  A record belongs to the subtransaction that added it and aborts with
 * it.  Neither callback may fail, allocate, or look anything up.
 */
#ifndef TASKEX_XACT_H
#define TASKEX_XACT_H

#include "postgres.h"

typedef struct XactKind
{
	void		(*commit) (void *record);	/* the transaction is visible */
	void		(*abort) (void *record);	/* the (sub)transaction is undone */
} XactKind;

/* a zeroed record of the given size, owned by the current subtransaction */
extern void *xact_add(const XactKind *kind, Size size);

/*
 * The newest record of a kind that the current subtransaction itself owns, or
 * NULL.  Lets a module gather many changes in one record.
 */
extern void *xact_find(const XactKind *kind);

/* calls visit on every live record of the kind, newest first, until true */
extern bool xact_scan(const XactKind *kind, bool (*visit) (void *record, void *arg), void *arg);

/*
 * Work whose commit need not be waited for (it may be lost in a crash, whole)
 * goes between these two.  If nothing else writes WAL in the transaction, and
 * the client did not begin it with BEGIN, then it commits asynchronously;
 * otherwise nothing changes.
 */
extern void xact_async_begin(void);
extern void xact_async_end(void);

/* called once, in _PG_init */
extern void xact_install(void);

#endif							/* TASKEX_XACT_H */
