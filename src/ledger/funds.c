/*
 * funds.c
 *	  What the current transaction spends and earns.
 *
 * A transaction keeps one LocalPurse for each account that it touches: what
 * it has reserved in the shared purse, and what it earned itself and has not
 * spent.  Its own earnings are spent first, and are there for nobody else
 * before it commits.  Each subtransaction that changes a LocalPurse has a
 * FundsChange; a rollback takes exactly that change back.  Subtransactions
 * nest, so after a rollback the LocalPurse is what it was at the savepoint:
 * what was earned inside can only have been spent inside, later.
 *
 * A commit publishes each LocalPurse at once, as a net amount: published in
 * parts, an earning could pass a load that the matching expense did not.
 */
#include "postgres.h"

#include "ledger/funds.h"
#include "ledger/internal.h"
#include "ledger/ledger.h"
#include "ledger/purse.h"
#include "base/errcodes.h"
#include "directory/moves.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/xact.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "utils/memutils.h"
#include "utils/wait_event.h"
#include "utils/xid8.h"

/* loads that others may spoil, before the funds are called insufficient */
#define LOADS_MAX 10

/* pauses for debits that are just about to settle */
#define PAUSES_MAX 2
#define PAUSE_MS 1

typedef struct LocalPurse
{
	int64		account;
	uint32		realm;
	bool		settled;		/* at commit: published */
	Purse	   *purse;			/* pinned, or NULL */
	int64		reserved;		/* in the shared purse */
	int64		earned;			/* by this transaction, not spent */
	int64		ahead;			/* of what is reserved, for others after the commit */
} LocalPurse;

/* the share that one subtransaction has in a LocalPurse */
typedef struct FundsChange
{
	LocalPurse *local;
	int64		reserved;
	int64		earned;			/* negative if it spent its parent's */
	int64		used;			/* of what was ahead in the shared purse */
	int64		ahead;			/* reserved for others; this subtransaction's turn to do so */
	bool		whole;			/* what a crash left ahead was given back */
	bool		pinned;			/* this subtransaction pinned the purse */
} FundsChange;

typedef struct LocalEntry
{
	int64		account;
	LocalPurse *local;
	char		status;
} LocalEntry;

#define SH_PREFIX locals
#define SH_ELEMENT_TYPE LocalEntry
#define SH_KEY_TYPE int64
#define SH_KEY account
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) &(key), sizeof(int64))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

/* lives in TopTransactionContext; out of date while there are no changes */
static locals_hash *locals = NULL;
static long changes = 0;

static Statement select_funds = {
	"SELECT greatest(least(coalesce(b.available, 0) + coalesce(e.available, 0),"
	" 9000000000000000000), -9000000000000000000)::bigint,"
	" e.n, pg_snapshot_xmax(pg_current_snapshot())"
	" FROM (SELECT) one"
	" LEFT JOIN _taskex.balance_%p b ON b.account_id = $1"
	" CROSS JOIN LATERAL (SELECT sum(available) AS available, count(*) AS n"
	"  FROM _taskex.entry_%p WHERE account_id = $1"
	"  AND transfer_id > coalesce(b.folded_to, 0)) e",
	1, {INT8OID}
};

/* a system account has a part on every partition */
static Statement select_system_funds = {
	"SELECT greatest(least(coalesce(sum(b.available), 0) + coalesce(sum(e.available), 0),"
	" 9000000000000000000), -9000000000000000000)::bigint,"
	" 0::bigint, pg_snapshot_xmax(pg_current_snapshot())"
	" FROM _taskex.partition p"
	" LEFT JOIN _taskex.balance b ON b.partition_id = p.partition_id AND b.account_id = $1"
	" CROSS JOIN LATERAL (SELECT sum(available) AS available"
	"  FROM _taskex.entry WHERE partition_id = p.partition_id AND account_id = $1"
	"  AND transfer_id > coalesce(b.folded_to, 0)) e",
	1, {INT8OID}
};

/* ---- the end of a (sub)transaction ---- */

static void
commit_change(void *record)
{
	FundsChange *change = record;
	LocalPurse *local = change->local;

	/* the newest change comes first and publishes for all; the oldest unpins */
	if (!local->settled)
	{
		local->settled = true;
		purse_settle(local->purse, local->realm, local->account,
					 local->reserved, local->earned, GetTopFullTransactionIdIfAny());
		if (local->ahead > 0)
			purse_ahead_end(local->purse, local->ahead);
	}
	if (change->whole)
		purse_whole(local->purse);
	if (change->pinned)
		purse_unpin(local->purse);
	changes--;
}

static void
abort_change(void *record)
{
	FundsChange *change = record;
	LocalPurse *local = change->local;

	local->reserved -= change->reserved;
	local->earned -= change->earned;
	if (change->reserved > 0)
		purse_cancel(local->purse, change->reserved);
	if (change->used > 0)
		purse_unuse(local->purse, change->used);
	if (change->ahead > 0)
	{
		local->ahead -= change->ahead;
		purse_ahead_end(local->purse, 0);
	}
	if (change->pinned)
	{
		purse_unpin(local->purse);
		local->purse = NULL;
	}
	changes--;
}

static const XactKind change_kind = {commit_change, abort_change};

/* a load that an error or the end of the process broke off */
static void
end_load(void *record)
{
	PurseLoad  *load = record;

	if (load->purse != NULL)
		purse_load_cancel(load);
}

static const XactKind load_kind = {end_load, end_load};

/* ---- the transaction's own purses ---- */

static LocalPurse *
local_purse(int64 account)
{
	const Realm *realm = realm_current();
	LocalEntry *entry;
	bool		found;

	if (changes == 0)
		locals = locals_create(TopTransactionContext, 8, NULL);
	entry = locals_insert(locals, account, &found);
	if (!found)
	{
		entry->local = NULL;
		entry->local = MemoryContextAllocZero(TopTransactionContext, sizeof(LocalPurse));
		entry->local->account = account;
		entry->local->realm = realm->serial;
	}
	else if (entry->local == NULL || entry->local->realm != realm->serial)
		elog(ERROR, "account " INT64_FORMAT " has changed its exchange", account);
	return entry->local;
}

/* the current subtransaction's share in a purse */
static FundsChange *
change_of(LocalPurse *local)
{
	FundsChange *change = xact_find(&change_kind);

	if (change == NULL || change->local != local)
	{
		change = xact_add(&change_kind, sizeof(FundsChange));
		change->local = local;
		changes++;
	}
	return change;
}

/* ---- reading the tables ---- */

static int64
read_funds(int64 account, int32 partition, FullTransactionId *xmax)
{
	Datum		value = Int64GetDatum(account);
	SpiScope	scope;
	int64		funds;
	bool		isnull;

	spi_begin(&scope);
	if (spi_run(partition == 0 ? &select_system_funds : &select_funds, partition,
				&value, NULL, SPI_VIEW_LATEST, 1) != 1)
		elog(ERROR, "funds of account " INT64_FORMAT " cannot be read", account);
	funds = spi_int64(0, 1);
	if (spi_int64(0, 2) > LONG_READ)
		purse_note_long(realm_current()->serial, partition, account);
	*xmax = DatumGetFullTransactionId(spi_value(0, 3, &isnull));
	spi_end(&scope);
	return funds;
}

/* loads the shared purse and takes the amount, if it is there */
static bool
load_and_reserve(LocalPurse *local, int32 partition, int64 amount, int64 floor, PurseState *state)
{
	PurseLoad  *load = xact_add(&load_kind, sizeof(PurseLoad));
	FullTransactionId xmax;
	int64		funds;

	purse_load_begin(load, local->purse);
	wait_point("purse_read");
	funds = read_funds(local->account, partition, &xmax);
	moves_require_home(local->account, partition);
	wait_point("purse_publish");
	return purse_load_end(load, funds, xmax, amount, floor, state);
}

/* ---- spending and earning ---- */

static void
pin_purse(LocalPurse *local, FundsChange *change)
{
	local->purse = purse_pin(local->realm, local->account);
	if (local->purse == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many accounts are being spent from at once"),
				 errhint("Raise taskex.purse_cache_size and restart the server, or touch fewer accounts in one transaction.")));
	change->pinned = true;
}

/*
 * Reserves in the shared purse, from the tables if it seems to hold too
 * little; false: it does.  When a load says so too, and nothing moved while it ran, the only
 * doubt are debits that others have in flight: one that has committed but not
 * settled yet was taken off twice, so give them an instant.
 */
static bool
reserve(LocalPurse *local, int32 partition, int64 amount, int64 floor, int64 *available)
{
	PurseState	state;
	int			pauses = 0;

	if (likely(purse_reserve(local->purse, amount, floor)))
		return true;

	for (int loads = 1;; loads++)
	{
		if (load_and_reserve(local, partition, amount, floor, &state))
			return true;
		if (loads >= LOADS_MAX)
			break;
		if (!state.moved)
		{
			if (state.inflight == local->reserved || pauses++ >= PAUSES_MAX)
				break;
			(void) WaitLatch(NULL, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 PAUSE_MS, WAIT_EVENT_PG_SLEEP);
		}
		CHECK_FOR_INTERRUPTS();
	}
	*available = Max(state.available - floor, 0) + local->earned;
	return false;
}

bool
funds_take(int64 account, int32 partition, int64 amount, int64 floor, int64 *available)
{
	LocalPurse *local;
	FundsChange *change;
	int64		own;
	int64		rest;

	/* a standby's purses would not hear of the changes that it replays */
	PreventCommandIfReadOnly("a transfer of money");
	PreventCommandDuringRecovery("a transfer of money");
	if (amount < 0)
		elog(ERROR, "cannot take " INT64_FORMAT " from account " INT64_FORMAT, amount, account);

	local = local_purse(account);
	change = change_of(local);
	own = Min(local->earned, amount);
	rest = amount - own;
	if (rest > 0)
	{
		if (local->purse == NULL)
			pin_purse(local, change);
		if (!reserve(local, partition, rest, floor, available))
			return false;
	}

	/* a load may have added records above, but none of a subtransaction */
	change->reserved += rest;
	local->reserved += rest;
	change->earned -= own;
	local->earned -= own;
	return true;
}

/* the account's purse, pinned, and the current subtransaction's share in it */
static LocalPurse *
pinned_purse(int64 account, FundsChange **change)
{
	LocalPurse *local = local_purse(account);

	*change = change_of(local);
	if (local->purse == NULL)
		pin_purse(local, *change);
	return local;
}

bool
funds_use(int64 account, int64 amount)
{
	FundsChange *change;
	LocalPurse *local = pinned_purse(account, &change);

	if (!purse_use(local->purse, amount))
		return false;
	change->used += amount;
	return true;
}

int64
funds_use_all(int64 account)
{
	FundsChange *change;
	LocalPurse *local = pinned_purse(account, &change);
	int64		all = purse_use_all(local->purse);

	change->used += all;
	return all;
}

bool
funds_look(int64 account, PurseLook *look)
{
	FundsChange *change;
	LocalPurse *local = pinned_purse(account, &change);

	/* what this transaction did before is not what others see */
	return local->reserved == 0 && local->earned == 0 && purse_look(local->purse, look);
}

bool
funds_whole(int64 account, const PurseLook *look)
{
	FundsChange *change;
	LocalPurse *local = pinned_purse(account, &change);

	change->whole = purse_same(local->purse, look);
	return change->whole;
}

int64
funds_ahead(int64 account, int64 owner, int64 amount, int64 floor)
{
	FundsChange *change;
	LocalPurse *local = pinned_purse(account, &change);
	int64		ahead = purse_ahead(local->purse, owner, amount, floor);

	change->ahead += ahead;
	local->ahead += ahead;
	return ahead;
}

bool
funds_exceed(int64 account, int32 partition, int64 floor, int64 *available)
{
	LocalPurse *local;
	FundsChange *change;

	PreventCommandIfReadOnly("a look at money that may be spent");
	PreventCommandDuringRecovery("a look at money that may be spent");

	/* nearly always there is more, and this transaction has no part in it */
	if (changes == 0 && purse_exceeds(realm_current()->serial, account, floor))
		return true;
	local = local_purse(account);
	change = change_of(local);
	if (local->purse == NULL)
		pin_purse(local, change);
	return reserve(local, partition, 0, floor + 1 - local->earned, available);
}

void
funds_spend(int64 account, int32 partition, int64 amount)
{
	int64		available;

	if (!funds_take(account, partition, amount, 0, &available))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_INSUFFICIENT_FUNDS),
				 errmsg("insufficient funds"),
				 errdetail("Available are %s, needed are %s.",
						   amount_text(available), amount_text(amount)),
				 errhint("Use taskex.deposit() to bring money in, or wait until held money is released.")));
}

void
funds_earn(int64 account, int64 amount)
{
	LocalPurse *local = local_purse(account);

	change_of(local)->earned += amount;
	local->earned += amount;
}
