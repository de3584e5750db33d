/*
 * fold.c
 *	  Folding entries into balances.
 *
 * A balance is the row of the table balance plus the entries after its
 * folded_to.  Folding moves that bound forward, so that reading a balance
 * stays short.  An id below the bound must not turn up later, and ids are not
 * committed in their order.  So writers lock the table of entries before they
 * take an id (entry_lock): when a bound is chosen, those who may hold an id
 * below it are among those who hold the lock then, and once their
 * transactions have ended the bound is final.  Nobody is ever waited for:
 * a later round looks again.
 *
 * All state is the process's own.  Two processes may fold at once; a lock on
 * the table of balances keeps them apart on a partition.
 */
#include "postgres.h"

#include "ledger/internal.h"
#include "ledger/ledger.h"
#include "ledger/purse.h"
#include "directory/moves.h"
#include "infra/ids.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/worker.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* transfers after which the exchange's own accounts are folded */
#define FOLD_TRANSFERS 1000

/* not more often than this on one partition, unless an account is long */
#define FOLD_INTERVAL_MS 10000

/* partitions that a round folds at most */
#define FOLD_ROUND 32

typedef struct Fold
{
	int32		partition;
	int64		folded;			/* the last bound that was folded to */
	TimestampTz folded_at;
	int64		bound;			/* the next bound, or 0 */
	VirtualTransactionId *writers;	/* that may have ids up to bound */
	int			writer_count;
} Fold;

/* of one realm: ids of an exchange that is gone mean nothing in the next */
static uint32 folds_realm = 0;
static Fold *folds = NULL;
static int	fold_count = 0;
static int	fold_next = 0;		/* where the next round begins */

/* long accounts that were taken from shared memory, not folded yet */
static LongAccount longs[LONG_ACCOUNTS];
static int	long_count = 0;

static Statement fold_accounts = {
	"INSERT INTO _taskex.balance_%p AS b (partition_id, account_id, available, held, folded_to)"
	" SELECT $1, a, n.available, n.held, $2"
	" FROM unnest($3) AS a"
	" LEFT JOIN _taskex.balance_%p o ON o.account_id = a"
	" CROSS JOIN LATERAL (SELECT count(*) AS entries,"
	"   coalesce(o.available, 0) + sum(e.available) AS available,"
	"   coalesce(o.held, 0) + sum(e.held) AS held"
	"  FROM _taskex.entry_%p e WHERE e.account_id = a"
	"  AND e.transfer_id > coalesce(o.folded_to, 0) AND e.transfer_id <= $2) n"
	" WHERE n.entries > 0"
	/* a balance that does not fit stays as it is: reading adds numerics */
	" AND abs(n.available) < 9000000000000000000 AND abs(n.held) < 9000000000000000000"
	" ON CONFLICT (account_id) DO UPDATE"
	" SET available = excluded.available, held = excluded.held, folded_to = excluded.folded_to",
	3, {INT4OID, INT8OID, INT8ARRAYOID}
};

static Oid
child_table(const char *table, int32 partition)
{
	char		name[NAMEDATALEN];

	snprintf(name, sizeof(name), "%s_%d", table, partition);
	return get_relname_relid(name, get_namespace_oid("_taskex", false));
}

static Fold *
fold_of(int32 partition)
{
	for (int i = 0; i < fold_count; i++)
		if (folds[i].partition == partition)
			return &folds[i];

	if (folds == NULL)
		folds = MemoryContextAlloc(TopMemoryContext, sizeof(Fold));
	else
		folds = repalloc(folds, sizeof(Fold) * (fold_count + 1));
	memset(&folds[fold_count], 0, sizeof(Fold));
	folds[fold_count].partition = partition;
	return &folds[fold_count++];
}

static void
forget_other_realm(void)
{
	uint32		realm = realm_current()->serial;

	if (folds_realm == realm)
		return;
	for (int i = 0; i < fold_count; i++)
		if (folds[i].writers != NULL)
			pfree(folds[i].writers);
	fold_count = long_count = 0;
	folds_realm = realm;
}

/* ---- bounds ---- */

static bool
has_long(int32 partition)
{
	for (int i = 0; i < long_count; i++)
		if (longs[i].partition == partition)
			return true;
	return false;
}

/* chooses "last" as the bound, and finds who may still write below it */
static void
choose_bound(Fold *fold, int64 last)
{
	Oid			child = child_table("entry", fold->partition);
	VirtualTransactionId *writers;
	LOCKTAG		tag;
	int			count;
	Size		size;

	if (!OidIsValid(child))
		return;
	SET_LOCKTAG_RELATION(tag, MyDatabaseId, child);
	writers = GetLockConflicts(&tag, ShareLock, &count);
	size = sizeof(VirtualTransactionId) * Max(count, 1);
	fold->writers = MemoryContextAlloc(TopMemoryContext, size);
	memcpy(fold->writers, writers, sizeof(VirtualTransactionId) * count);
	fold->writer_count = count;
	fold->bound = last;
}

/* have all writers below the bound ended? */
static bool
bound_is_final(Fold *fold)
{
	int			left = 0;

	for (int i = 0; i < fold->writer_count; i++)
		if (!VirtualXactLock(fold->writers[i], false))
			fold->writers[left++] = fold->writers[i];
	fold->writer_count = left;
	return left == 0;
}

static void
drop_bound(Fold *fold)
{
	pfree(fold->writers);
	fold->writers = NULL;
	fold->bound = 0;
}

static bool
wants_fold(Fold *fold, int64 last, bool eager)
{
	if (eager || has_long(fold->partition))
		return last > fold->folded;
	return last - fold->folded > FOLD_TRANSFERS &&
		TimestampDifferenceExceeds(fold->folded_at, GetCurrentTimestamp(), FOLD_INTERVAL_MS);
}

/* ---- folding ---- */

/* the accounts of the partition that are worth folding; who was noted may have moved since */
static ArrayType *
accounts_of(int32 partition)
{
	Datum		accounts[2 + LONG_ACCOUNTS];
	int			count = 0;

	accounts[count++] = Int64GetDatum(ACCOUNT_OUTSIDE);
	accounts[count++] = Int64GetDatum(ACCOUNT_EXCHANGE);
	for (int i = 0; i < long_count; i++)
		if (longs[i].partition == partition &&
			longs[i].account != ACCOUNT_OUTSIDE && longs[i].account != ACCOUNT_EXCHANGE &&
			moves_at_home(longs[i].account, partition))
			accounts[count++] = Int64GetDatum(longs[i].account);
	return construct_array(accounts, count, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE);
}

static void
forget_longs(int32 partition)
{
	int			left = 0;

	for (int i = 0; i < long_count; i++)
		if (longs[i].partition != partition)
			longs[left++] = longs[i];
	long_count = left;
}

/* folds up to the partition's final bound; returns the number of accounts */
static int
fold_to_bound(Fold *fold)
{
	Oid			child = child_table("balance", fold->partition);
	Datum		values[3];
	SpiScope	scope;
	int			folded;

	if (!OidIsValid(child) || !ConditionalLockRelationOid(child, ShareUpdateExclusiveLock))
		return 0;
	values[0] = Int32GetDatum(fold->partition);
	values[1] = Int64GetDatum(fold->bound);
	spi_begin(&scope);
	values[2] = PointerGetDatum(accounts_of(fold->partition));
	folded = (int) spi_run(&fold_accounts, fold->partition, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);

	fold->folded = fold->bound;
	fold->folded_at = GetCurrentTimestamp();
	forget_longs(fold->partition);
	drop_bound(fold);
	return folded;
}

/* ---- rounds ---- */

typedef struct Round
{
	bool		eager;			/* fold whatever there is */
	int			limit;			/* of partitions */
	int			ready_count;
	int32	   *ready;			/* partitions whose bound is final */
} Round;

/* chooses and checks bounds; in a transaction */
static void
look_round(void *arg)
{
	Round	   *round = arg;
	int32	   *partitions;
	int			count = directory_readable_partitions(&partitions);
	int64		last;
	int			i;

	forget_other_realm();
	if (count == 0)
		return;
	if (long_count == 0)
		long_count = purse_take_long(realm_current()->serial, longs);

	/*
	 * The conductor takes no id for a bound: in a database that is being
	 * restored it would be from before the sequence is set.  All ids up to the
	 * last one have been handed out, to writers who hold the lock already.
	 */
	last = round->eager ? ids_next(ID_TRANSFER, 1) : ids_peek(ID_TRANSFER);
	if (last == 0)
		return;
	for (i = 0; i < count && round->ready_count < round->limit; i++)
	{
		Fold	   *fold = fold_of(partitions[(fold_next + i) % count]);

		if (fold->bound == 0 && wants_fold(fold, last, round->eager))
			choose_bound(fold, last);
		if (fold->bound != 0 && bound_is_final(fold))
			round->ready[round->ready_count++] = fold->partition;
	}
	fold_next = (fold_next + i) % count;
}

/* in a transaction of its own, so that its snapshot is newer than the look */
static void
fold_one(void *arg)
{
	Fold	   *fold;

	forget_other_realm();
	fold = fold_of(*(int32 *) arg);
	if (fold->bound != 0)
		fold_to_bound(fold);
}

void
ledger_maintain(void)
{
	int32		ready[FOLD_ROUND];
	Round		round = {.limit = FOLD_ROUND,.ready = ready};

	accrue_maintain();
	if (!worker_try_transaction("looking for ledger entries to fold", look_round, &round))
		return;
	for (int i = 0; i < round.ready_count; i++)
		(void) worker_try_transaction("folding ledger entries", fold_one, &ready[i]);
}

PG_FUNCTION_INFO_V1(taskex_fold_ledger);

/*
 * _taskex.fold_ledger() -> number of accounts: one round in this transaction,
 * wherever no other transaction is in the way.
 */
Datum
taskex_fold_ledger(PG_FUNCTION_ARGS)
{
	Round		round = {.eager = true};
	int32	   *partitions;
	int			folded = 0;

	directory_require_admin("fold the ledger");

	/* the snapshot that sums up must be newer than the bound is final */
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_TRANSACTION_STATE),
				 errmsg("the ledger is folded in READ COMMITTED transactions only")));
	round.limit = directory_readable_partitions(&partitions);
	round.ready = palloc(sizeof(int32) * Max(round.limit, 1));
	look_round(&round);
	for (int i = 0; i < round.ready_count; i++)
		folded += fold_to_bound(fold_of(round.ready[i]));
	PG_RETURN_INT32(folded);
}
