/*
 * entry.c
 *	  Rows of the table entry: the two sides of each transfer.
 *
 * Entries are only ever inserted.
 */
#include "postgres.h"

#include "ledger/entry.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "infra/child.h"
#include "infra/ids.h"

#include "catalog/namespace.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

static const char *const kind_names[ENTRY_KINDS] = {
	[ENTRY_DEPOSIT] = "deposit",
	[ENTRY_WITHDRAWAL] = "withdrawal",
	[ENTRY_HOLD] = "hold",
	[ENTRY_RELEASE] = "release",
	[ENTRY_REWARD] = "reward",
	[ENTRY_FEE] = "fee",
	[ENTRY_BONUS] = "bonus",
	[ENTRY_BONUS_FEE] = "bonus_fee",
	[ENTRY_BUDGET] = "budget",
	[ENTRY_MERGE] = "merge",
	[ENTRY_MERGE_EARNED] = "merge_earned",
	[ENTRY_RUN_BUDGET] = "run_budget",
	[ENTRY_USAGE] = "usage",
	[ENTRY_USAGE_AHEAD] = "usage_ahead",
	[ENTRY_USAGE_RETURN] = "usage_return",
	[ENTRY_CHARGE] = "charge",
	[ENTRY_PROGRAM] = "program",
};

enum EntryColumn
{
	ENTRY_ACCOUNT_ID = 1,
	ENTRY_TRANSFER_ID,
	ENTRY_AVAILABLE,
	ENTRY_HELD,
	ENTRY_COUNTERPARTY,
	ENTRY_SUBJECT_ID,
	ENTRY_AT,
	ENTRY_PARTITION_ID,
	ENTRY_KIND,
	ENTRY_REFERENCE,
	ENTRY_COLUMNS = ENTRY_REFERENCE
};

static const char *const entry_columns[ENTRY_COLUMNS] = {
	"account_id", "transfer_id", "available", "held", "counterparty",
	"subject_id", "at", "partition_id", "kind", "reference"
};

/* so few are not worth the preparations for several at once */
#define ROWS_ONE_BY_ONE 2

static const ChildTable entry_table = {
	"entry", ENTRY_COLUMNS, entry_columns,
	1, {{ENTRY_ACCOUNT_ID, ENTRY_TRANSFER_ID}}
};

void
entry_lock(int32 partition)
{
	char		name[NAMEDATALEN];
	Oid			child;

	snprintf(name, sizeof(name), "entry_%d", partition);
	child = get_relname_relid(name, get_namespace_oid("_taskex", false));
	if (!OidIsValid(child))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_PARTITION),
				 errmsg("storage partition %d does not exist", partition)));
	LockRelationOid(child, RowExclusiveLock);
}

int64
entry_ids(int32 partition, int64 count)
{
	entry_lock(partition);
	return ids_next(ID_TRANSFER, count);
}

/* the names of kinds as datums, made once */
static const Datum *
kind_datums(void)
{
	static Datum kinds[ENTRY_KINDS];

	if (unlikely(kinds[0] == (Datum) 0))
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		for (int i = ENTRY_KINDS - 1; i >= 0; i--)
			kinds[i] = CStringGetTextDatum(kind_names[i]);
		MemoryContextSwitchTo(old);
	}
	return kinds;
}

/* the columns of an entry, at a time */
typedef struct EntryRows
{
	const Entry *entries;
	TimestampTz at;
} EntryRows;

static void
fill_row(int number, Datum *row, bool *nulls, void *arg)
{
	const EntryRows *rows = arg;
	const Entry *entry = &rows->entries[number];

	memset(nulls, false, sizeof(bool) * ENTRY_COLUMNS);
	row[ENTRY_PARTITION_ID - 1] = Int32GetDatum(entry->partition);
	row[ENTRY_ACCOUNT_ID - 1] = Int64GetDatum(entry->account);
	row[ENTRY_TRANSFER_ID - 1] = Int64GetDatum(entry->transfer_id);
	row[ENTRY_KIND - 1] = kind_datums()[entry->kind];
	row[ENTRY_AVAILABLE - 1] = Int64GetDatum(entry->available);
	row[ENTRY_HELD - 1] = Int64GetDatum(entry->held);
	row[ENTRY_SUBJECT_ID - 1] = Int64GetDatum(entry->subject);
	nulls[ENTRY_SUBJECT_ID - 1] = entry->subject == 0;
	row[ENTRY_COUNTERPARTY - 1] = Int64GetDatum(entry->counterparty);
	row[ENTRY_REFERENCE - 1] = 0;
	nulls[ENTRY_REFERENCE - 1] = true;
	row[ENTRY_AT - 1] = TimestampTzGetDatum(rows->at);
}

/* entries of the open child's partition */
static void
insert_rows(Child *child, const Entry *entries, int count, TimestampTz at)
{
	EntryRows	rows = {entries, at};
	Datum		row[ENTRY_COLUMNS];
	bool		nulls[ENTRY_COLUMNS];

	if (count > ROWS_ONE_BY_ONE)
	{
		child_insert_many(child, count, fill_row, &rows);
		return;
	}
	for (int i = 0; i < count; i++)
	{
		fill_row(i, row, nulls, &rows);
		child_insert(child, row, nulls);
	}
}

static void
insert_run(const Entry *entries, int count, TimestampTz at)
{
	Child		child;

	child_open(&child, &entry_table, entries[0].partition);
	insert_rows(&child, entries, count, at);
	child_close(&child);
}

/* by partition, then as the index has them */
static int
compare_entries(const void *a, const void *b)
{
	const Entry *x = a;
	const Entry *y = b;

	if (x->partition != y->partition)
		return x->partition < y->partition ? -1 : 1;
	if (x->account != y->account)
		return x->account < y->account ? -1 : 1;
	return x->transfer_id < y->transfer_id ? -1 : x->transfer_id > y->transfer_id;
}

void
entry_insert(Entry *entries, int count)
{
	TimestampTz at = clock_now();
	int			first = 0;

	if (count > 1)
		qsort(entries, count, sizeof(Entry), compare_entries);
	while (first < count)
	{
		int			end = first + 1;

		while (end < count && entries[end].partition == entries[first].partition)
			end++;
		insert_run(entries + first, end - first, at);
		first = end;
	}
}

void
entry_add(Entry *entries, int count)
{
	TimestampTz at = clock_now();
	int			first = 0;

	if (count > 1)
		qsort(entries, count, sizeof(Entry), compare_entries);
	while (first < count)
	{
		Child		child;
		int			end = first + 1;
		int64		id;

		while (end < count && end - first < IDS_MAX_COUNT && entries[end].partition == entries[first].partition)
			end++;

		/* its lock is that of entry_lock() */
		child_open(&child, &entry_table, entries[first].partition);
		id = ids_next(ID_TRANSFER, end - first);
		for (int i = first; i < end; i++)
			entries[i].transfer_id = id++;
		insert_rows(&child, entries + first, end - first, at);
		child_close(&child);
		first = end;
	}
}
