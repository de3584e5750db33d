/*
 * purse.h
 *	  The funds that may be spent from an account, in shared memory.
 *
 * For the files of the ledger; others call ledger.h.  The protocol of debits,
 * credits and loads is told in README.md.
 */
#ifndef TASKEX_PURSE_H
#define TASKEX_PURSE_H

#include "postgres.h"

#include "access/transam.h"
#include "datatype/timestamp.h"

typedef struct Purse Purse;

/*
 * The purse of an account, made (empty) if there is none; it stays until
 * purse_unpin.  NULL when every place is pinned.
 */
extern Purse *purse_pin(uint32 realm, int64 account);
extern void purse_unpin(Purse *purse);

/*
 * Takes an amount for this transaction, unless that leaves less than the floor:
 * 0 for an account of money, less for a budget (see README.md).
 */
extern bool purse_reserve(Purse *purse, int64 amount, int64 floor);

/* has the account certainly more than the floor? */
extern bool purse_exceeds(uint32 realm, int64 account, int64 floor);

/* the reservation is undone */
extern void purse_cancel(Purse *purse, int64 amount);

/*
 * The transaction has committed: what it had reserved is spent, and what it
 * earned on top is there for all.  "purse" is NULL if it reserved nothing.
 */
extern void purse_settle(Purse *purse, uint32 realm, int64 account,
						 int64 reserved, int64 earned, FullTransactionId fxid);

/*
 * What was set aside ahead is used up before anything is set aside: true if
 * there is as much.  purse_use_all takes all of it, to give it back.  Both are
 * undone by purse_unuse.
 */
extern bool purse_use(Purse *purse, int64 amount);
extern int64 purse_use_all(Purse *purse);
extern void purse_unuse(Purse *purse, int64 amount);

/*
 * How much to set aside ahead with an amount that is used now, by who is the
 * owner; 0: nothing.  Else purse_ahead_end must follow: when it is committed, or
 * with 0 when it is not.
 */
extern int64 purse_ahead(Purse *purse, int64 owner, int64 amount, int64 floor);
extern void purse_ahead_end(Purse *purse, int64 ahead);

/*
 * What was ahead when the server crashed is looked for once, while nobody but
 * the caller, who has pinned it once, has a part in the purse: true if that is so, and it
 * was not done.  It counts if purse_same() after the tables were read.
 */
typedef struct PurseLook
{
	uint32		uses;
	int64		ahead;
} PurseLook;

extern bool purse_look(Purse *purse, PurseLook *look);
extern bool purse_same(Purse *purse, const PurseLook *look);
extern void purse_whole(Purse *purse);

/* accounts with something ahead that nobody has used for so long; returns how many */
typedef struct IdlePurse
{
	int64		account;
	int64		owner;
} IdlePurse;

extern int	purse_find_idle(uint32 realm, TimestampTz now, int64 idle_us, IdlePurse *found, int max);

/* one reading of the tables; begin must come before their snapshot is taken */
typedef struct PurseLoad
{
	Purse	   *purse;			/* NULL: ended */
	int64		spent;			/* purse->spent at the beginning */
	uint64		missed;			/* purse->missed at the beginning */
} PurseLoad;

/* what purse_load_end found */
typedef struct PurseState
{
	int64		available;
	int64		inflight;		/* of all transactions, this one too */
	bool		moved;			/* others settled during the load: the amount may be
								 * too low */
} PurseState;

extern void purse_load_begin(PurseLoad *load, Purse *purse);

/*
 * Publishes funds that were read with a snapshot of the given xmax, and takes
 * an amount at the same time; false: that would leave less than the floor.
 */
extern bool purse_load_end(PurseLoad *load, int64 funds, FullTransactionId xmax,
						   int64 amount, int64 floor, PurseState *state);
extern void purse_load_cancel(PurseLoad *load);

/* a purse as it is now, for tests and the curious; false: there is none */
typedef struct PurseView
{
	int64		available;
	int64		inflight;
	int64		ahead;
	int32		pins;
	int32		loading;
	bool		valid;
} PurseView;

extern bool purse_peek(uint32 realm, int64 account, PurseView *view);

/* an account with so many entries to read that they should be folded */
typedef struct LongAccount
{
	uint32		realm;
	int32		partition;
	int64		account;
} LongAccount;

/* so many unfolded entries */
#define LONG_READ 1000

#define LONG_ACCOUNTS 256

extern void purse_note_long(uint32 realm, int32 partition, int64 account);

/* takes the noted accounts of a realm; at most LONG_ACCOUNTS */
extern int	purse_take_long(uint32 realm, LongAccount *accounts);

#endif							/* TASKEX_PURSE_H */
