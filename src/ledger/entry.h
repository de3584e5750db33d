/*
 * entry.h
 *	  Rows of the table entry: the two sides of each transfer.
 */
#ifndef TASKEX_ENTRY_H
#define TASKEX_ENTRY_H

#include "postgres.h"

#include "infra/spi.h"

typedef enum EntryKind
{
	ENTRY_DEPOSIT,
	ENTRY_WITHDRAWAL,
	ENTRY_HOLD,
	ENTRY_RELEASE,
	ENTRY_REWARD,
	ENTRY_FEE,
	ENTRY_BONUS,
	ENTRY_BONUS_FEE,
	ENTRY_BUDGET,
	ENTRY_MERGE,
	ENTRY_MERGE_EARNED,
	ENTRY_RUN_BUDGET,
	ENTRY_USAGE,
	ENTRY_USAGE_AHEAD,
	ENTRY_USAGE_RETURN,
	ENTRY_CHARGE,
	ENTRY_PROGRAM,
	ENTRY_KINDS
} EntryKind;

/* what one transfer changes in one account */
typedef struct Entry
{
	int32		partition;
	int64		account;
	int64		transfer_id;
	EntryKind	kind;
	int64		available;
	int64		held;
	int64		counterparty;
	int64		subject;		/* 0: none */
} Entry;

/*
 * Keeps the fold of a partition's entries away until this transaction ends.
 * Must come before ids of transfers on that partition are taken (fold.c).
 */
extern void entry_lock(int32 partition);

/* entry_lock, then ids of transfers */
extern int64 entry_ids(int32 partition, int64 count);

/* inserts entries; between spi_begin and spi_end, and after entry_lock */
extern void entry_insert(Entry *entries, int count);

/* the same of entries that are transfers of their own: locks, and gives each its id; SPI is not needed */
extern void entry_add(Entry *entries, int count);

#endif							/* TASKEX_ENTRY_H */
