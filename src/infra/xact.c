/*
 * xact.c
 *	  Things to do when the transaction ends.
 *
 * The records form a stack in TopTransactionContext; each carries the nest
 * level of its subtransaction, which never grows towards the bottom.  The
 * PostgreSQL callbacks are registered once per process, so a transaction that
 * does not use taskex pays one test of a pointer.
 */
#include "postgres.h"

#include "infra/xact.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "utils/memutils.h"

typedef struct Record
{
	struct Record *next;
	const XactKind *kind;
	int			level;
	/* the module's part follows, MAXALIGNed */
} Record;

#define RECORD_HEADER MAXALIGN(sizeof(Record))
#define PAYLOAD(record) ((char *) (record) + RECORD_HEADER)

static Record *records = NULL;

void *
xact_add(const XactKind *kind, Size size)
{
	Record	   *record = MemoryContextAllocZero(TopTransactionContext,
												RECORD_HEADER + size);

	record->kind = kind;
	record->level = GetCurrentTransactionNestLevel();
	record->next = records;
	records = record;
	return PAYLOAD(record);
}

void *
xact_find(const XactKind *kind)
{
	int			level = GetCurrentTransactionNestLevel();

	for (Record *record = records; record && record->level == level; record = record->next)
		if (record->kind == kind)
			return PAYLOAD(record);
	return NULL;
}

bool
xact_scan(const XactKind *kind, bool (*visit) (void *record, void *arg), void *arg)
{
	for (Record *record = records; record; record = record->next)
		if (record->kind == kind && visit(PAYLOAD(record), arg))
			return true;
	return false;
}

/* ---- asynchronous commit ---- */

/*
 * Where the WAL of this transaction ended after its last asynchronous work, if
 * that is all it wrote; 0: there was none, or something else wrote.
 */
static XLogRecPtr async_upto = 0;
static bool async_possible = false;
static int	configured_commit;
static bool commit_changed = false;

void
xact_async_begin(void)
{
	async_possible = !IsTransactionBlock() && GetCurrentTransactionNestLevel() == 1 &&
		XactLastRecEnd == async_upto;
}

void
xact_async_end(void)
{
	async_upto = async_possible ? XactLastRecEnd : 0;
}

/* just before the commit record is written, and just after */
static void
choose_commit(void)
{
	if (async_upto != 0 && async_upto == XactLastRecEnd &&
		synchronous_commit > SYNCHRONOUS_COMMIT_OFF)
	{
		configured_commit = synchronous_commit;
		synchronous_commit = SYNCHRONOUS_COMMIT_OFF;
		commit_changed = true;
	}
}

static void
restore_commit(void)
{
	if (commit_changed)
		synchronous_commit = configured_commit;
	commit_changed = false;
	async_upto = 0;
}

/* ---- the callbacks ---- */

static void
end_all(bool committed)
{
	Record	   *record = records;

	records = NULL;
	for (; record; record = record->next)
	{
		if (committed)
			record->kind->commit(PAYLOAD(record));
		else
			record->kind->abort(PAYLOAD(record));
	}
}

static void
on_xact(XactEvent event, void *arg)
{
	if (records == NULL)
		return;

	switch (event)
	{
		case XACT_EVENT_PRE_COMMIT:
			choose_commit();
			break;
		case XACT_EVENT_COMMIT:
			restore_commit();
			end_all(true);
			break;
		case XACT_EVENT_ABORT:
			restore_commit();
			end_all(false);
			break;
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR,
					(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
					 errmsg("cannot PREPARE a transaction that has changed the task exchange"),
					 errhint("Use COMMIT, or prepare a transaction that does not call taskex functions.")));
			break;
		default:
			break;
	}
}

static void
on_subxact(SubXactEvent event, SubTransactionId mySubid,
		   SubTransactionId parentSubid, void *arg)
{
	int			level;

	if (records == NULL)
		return;

	level = GetCurrentTransactionNestLevel();
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		while (records && records->level >= level)
		{
			Record	   *record = records;

			records = record->next;
			record->kind->abort(PAYLOAD(record));
		}
	}
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
	{
		for (Record *record = records; record && record->level >= level; record = record->next)
			record->level = level - 1;
	}
}

void
xact_install(void)
{
	RegisterXactCallback(on_xact, NULL);
	RegisterSubXactCallback(on_subxact, NULL);
}
