/*
 * budget.c
 *	  Bounds on what a requester's tasks and bonuses may cost.
 *
 * A budget's account is a ledger account of its own for each of its periods,
 * whose entries move money from its available to its held side: available is
 * what was spent, negative.  So the purses bound it as they bound the funds of
 * a user, only that the floor is not 0 but the budget's amount below 0.
 *
 * The budgets of a requester are remembered by the session until anybody's
 * change; where nobody has one, that costs the look at a flag.
 */
#include "postgres.h"

#include "ledger/budget.h"
#include "ledger/charge.h"
#include "ledger/entry.h"
#include "ledger/funds.h"
#include "ledger/internal.h"
#include "ledger/ledger.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "infra/spi.h"
#include "infra/watch.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* requesters that a session remembers */
#define LISTS_MAX 4096

/* an account's number: the budget's above these bits, its period's in them */
#define PERIOD_BITS 20
#define PERIOD_MASK ((INT64CONST(1) << PERIOD_BITS) - 1)

/* columns of _taskex.budget */
enum
{
	BUDGET_ID = 1,
	BUDGET_REQUESTER_ID,
	BUDGET_TASK_TYPE_ID,
	BUDGET_AMOUNT,
	BUDGET_SINCE,
	BUDGET_PERIOD
};

typedef struct Budget
{
	int64		id;
	int64		task_type;		/* 0: all */
	int64		amount;			/* nano-units */
	char		period;			/* n(one), d(ay), m(onth) */
} Budget;

typedef struct BudgetList
{
	int64		requester;
	int			count;
	Budget	   *budgets;
	char		status;
} BudgetList;

#define SH_PREFIX lists
#define SH_ELEMENT_TYPE BudgetList
#define SH_KEY_TYPE int64
#define SH_KEY requester
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) &(key), sizeof(int64))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

static TableWatch budget_table = {"budget"};
static MemoryContext list_context = NULL;
static lists_hash *lists = NULL;
static bool any_budgets = false;

/* ---- which budgets there are ---- */

/* forgets all lists; is there any budget at all? */
static void
start_over(Relation rel, Snapshot snapshot)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);

	if (list_context == NULL)
		list_context = AllocSetContextCreate(TopMemoryContext, "taskex budgets",
											 ALLOCSET_DEFAULT_SIZES);
	budget_table.fresh = false; /* until all of this has gone well */
	lists = NULL;
	MemoryContextReset(list_context);
	any_budgets = table_scan_getnextslot(scan, ForwardScanDirection, slot);
	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	lists = lists_create(list_context, 16, NULL);
}

static void
read_list(Relation rel, Snapshot snapshot, int64 requester, Budget *budgets, int *count)
{
	Oid			index = get_relname_relid("budget_key", RelationGetNamespace(rel));
	TupleDesc	desc = RelationGetDescr(rel);
	SysScanDesc scan;
	ScanKeyData key;
	HeapTuple	tuple;

	ScanKeyInit(&key, BUDGET_REQUESTER_ID, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(requester));
	scan = systable_beginscan(rel, index, OidIsValid(index), snapshot, 1, &key);
	*count = 0;
	while (*count < BUDGETS_MAX && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Budget	   *budget = &budgets[(*count)++];
		bool		isnull;

		budget->id = DatumGetInt64(heap_getattr(tuple, BUDGET_ID, desc, &isnull));
		budget->task_type = DatumGetInt64(heap_getattr(tuple, BUDGET_TASK_TYPE_ID, desc, &isnull));
		budget->amount = DatumGetInt64(heap_getattr(tuple, BUDGET_AMOUNT, desc, &isnull));
		budget->period = TextDatumGetCString(heap_getattr(tuple, BUDGET_PERIOD, desc, &isnull))[0];
	}
	systable_endscan(scan);
}

static const BudgetList *
read_budgets(int64 requester)
{
	Budget	   *budgets;
	BudgetList *list;
	Snapshot	snapshot;
	Relation	rel = watch_begin(&budget_table, &snapshot);
	int			count = 0;
	bool		found;

	/* opening the table may have heard of a change */
	if (!budget_table.fresh || lists->members >= LISTS_MAX)
		start_over(rel, snapshot);
	budgets = palloc(sizeof(Budget) * BUDGETS_MAX);
	if (any_budgets)
		read_list(rel, snapshot, requester, budgets, &count);
	list = lists_insert(lists, requester, &found);
	list->budgets = MemoryContextAlloc(list_context, sizeof(Budget) * Max(count, 1));
	memcpy(list->budgets, budgets, sizeof(Budget) * count);
	list->count = count;
	pfree(budgets);
	watch_end(&budget_table, rel, snapshot);
	return list;
}

/* a requester's budgets, or NULL; good until the next call */
static const BudgetList *
budgets_of(int64 requester)
{
	bool		fresh = watch_fresh(&budget_table);
	const BudgetList *list = NULL;

	if (likely(fresh && !any_budgets))
		return NULL;
	if (fresh)
		list = lists_lookup(lists, requester);
	if (list == NULL)
		list = read_budgets(requester);
	return list->count > 0 ? list : NULL;
}

/* ---- accounts ---- */

/* the account of the period in which a time lies, by days and months of UTC */
static int64
account_of(int64 id, char period, TimestampTz at)
{
	int64		number = 0;

	if (period != 'n')
	{
		number = at / USECS_PER_DAY;
		if (at % USECS_PER_DAY < 0)
			number--;
	}
	if (period == 'm')
	{
		int			year;
		int			month;
		int			day;

		j2date((int) number + POSTGRES_EPOCH_JDATE, &year, &month, &day);
		number = (int64) year * MONTHS_PER_YEAR + month;
	}
	return -((id << PERIOD_BITS) | (number & PERIOD_MASK));
}

int64
ledger_period_account(int64 budget_id, char period, TimestampTz at)
{
	return account_of(budget_id, period, at);
}

PG_FUNCTION_INFO_V1(taskex_budget_account);

/* _taskex.budget_account(budget_id, period, at) -> account id */
Datum
taskex_budget_account(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(account_of(PG_GETARG_INT64(0), text_to_cstring(PG_GETARG_TEXT_PP(1))[0],
							   PG_GETARG_TIMESTAMPTZ(2)));
}

/* one entry: what was spent rises by amount, which may be negative */
static void
write_entry(const UserHome *requester, int64 account, int64 amount, int64 subject)
{
	SpiScope	scope;
	Entry		entry = {
		.partition = requester->partition,
		.account = account,
		.kind = ENTRY_BUDGET,
		.available = -amount,
		.held = amount,
		.counterparty = requester->user_id,
		.subject = subject
	};

	spi_begin(&scope);
	entry.transfer_id = entry_ids(requester->partition, 1);
	entry_insert(&entry, 1);
	spi_end(&scope);
}

/* ---- charging ---- */

static void
fail_exceeded(const Budget *budget, int64 left, int64 amount)
{
	const char *period = budget->period == 'd' ? " a day" : budget->period == 'm' ? " a month" : "";
	const char *type = budget->task_type == 0 ? "" : psprintf(" for task type %lld", (long long) budget->task_type);

	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_BUDGET_EXCEEDED),
			 errmsg("budget exceeded"),
			 errdetail("The budget is %s%s%s; left are %s, needed are %s.",
					   amount_text(budget->amount), period, type, amount_text(left), amount_text(amount)),
			 errhint("Use taskex.set_budget() to raise the budget, or wait until held money is released.")));
}

/*
 * Takes the amount from each budget that it falls under; false if the requester
 * has none at all.
 */
static bool
charge_budgets(const UserHome *requester, int64 task_type, int64 amount, int64 subject, Charge *charge)
{
	const BudgetList *list = budgets_of(requester->user_id);
	Budget		hits[CHARGE_MAX];
	TimestampTz now;

	memset(charge, 0, sizeof(Charge));
	charge->amount = amount;
	if (likely(list == NULL))
		return false;
	if (amount == 0)
		return true;

	/* golden tasks have their type's number, negative */
	if (task_type < 0)
		task_type = -task_type;
	for (int i = 0; i < list->count && charge->count < CHARGE_MAX; i++)
		if (list->budgets[i].task_type == 0 || list->budgets[i].task_type == task_type)
			hits[charge->count++] = list->budgets[i];
	now = clock_now();
	for (int i = 0; i < charge->count; i++)
	{
		int64		account = account_of(hits[i].id, hits[i].period, now);
		int64		left;

		if (!funds_take(account, requester->partition, amount, -hits[i].amount, &left))
			fail_exceeded(&hits[i], left, amount);
		write_entry(requester, account, amount, subject);
		charge->accounts[i] = account;
	}
	return true;
}

void
budget_charge(const UserHome *requester, int64 task_type, int64 amount, int64 subject)
{
	Charge		charge;

	(void) charge_budgets(requester, task_type, amount, subject, &charge);
}

void
budget_charge_tasks(const UserHome *requester, int64 task_type, int64 amount,
					int64 first, int64 last)
{
	Charge		charge;

	if (charge_budgets(requester, task_type, amount, first, &charge) && charge.count > 0)
		charge_supplied(requester, &charge, first, last);
}

void
budget_charge_more(const UserHome *requester, int64 task_type, int64 amount, int64 task)
{
	Charge		charge;

	/* one without any budget gets nothing back anyway, here and below */
	if (charge_budgets(requester, task_type, amount, task, &charge))
		charge_added(requester, &charge, task);
}

void
budget_charge_moved(const UserHome *requester, int64 task_type, int64 amount, int64 task)
{
	Charge		charge;

	if (charge_budgets(requester, task_type, amount, task, &charge))
		charge_moved(requester, &charge, task);
}

/* ---- returning ---- */

/* those of budgets that were dropped, and of periods that are over, no longer count */
static bool
still_counts(const UserHome *requester, int64 account, TimestampTz now)
{
	const BudgetList *list = budgets_of(requester->user_id);

	for (int i = 0; list != NULL && i < list->count; i++)
		if (account_of(list->budgets[i].id, list->budgets[i].period, now) == account)
			return true;
	return false;
}

void
budget_return(const UserHome *requester, int64 amount, int64 task)
{
	TimestampTz now;

	if (likely(budgets_of(requester->user_id) == NULL))
		return;
	now = clock_now();
	while (amount > 0)
	{
		Charge		charge = charge_take(requester, amount, task);

		for (int i = 0; i < charge.count; i++)
			if (still_counts(requester, charge.accounts[i], now))
			{
				write_entry(requester, charge.accounts[i], -charge.amount, task);
				funds_earn(charge.accounts[i], charge.amount);
			}
		amount -= charge.amount;
	}
}
