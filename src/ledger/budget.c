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
#include "ledger/entry.h"
#include "ledger/funds.h"
#include "ledger/internal.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "infra/spi.h"
#include "infra/watch.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

/* requesters that a session remembers */
#define LISTS_MAX 4096

/* budgets that one charge can fall under: of all types and of one, each of three periods */
#define HITS_MAX 6

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

static Statement insert_charge = {
	"INSERT INTO _taskex.budget_charge_%p (partition_id, first_task_id, last_task_id, accounts)"
	" VALUES ($1, $2, $3, $4)",
	4, {INT4OID, INT8OID, INT8OID, INT8ARRAYOID}
};

/*
 * $2: one task, taken out of the range that it was supplied with: the rest of
 * that begins behind it.
 */
static Statement move_charge = {
	"WITH rest AS (INSERT INTO _taskex.budget_charge_%p (partition_id, first_task_id, last_task_id, accounts)"
	"  SELECT $1, $2 + 1, c.last_task_id, c.accounts FROM (SELECT * FROM _taskex.budget_charge_%p"
	"   WHERE first_task_id <= $2 ORDER BY first_task_id DESC LIMIT 1) c WHERE c.last_task_id > $2"
	"  ON CONFLICT (first_task_id) DO NOTHING)"
	" INSERT INTO _taskex.budget_charge_%p (partition_id, first_task_id, last_task_id, accounts)"
	" VALUES ($1, $2, $2, $3)"
	" ON CONFLICT (first_task_id) DO UPDATE SET last_task_id = excluded.last_task_id, accounts = excluded.accounts",
	3, {INT4OID, INT8OID, INT8ARRAYOID}
};

/*
 * Ids of the tasks of one call stand together, so ranges do not overlap, but for
 * those of tasks that were moved: of two that have a task the later one counts.
 */
static Statement select_charge = {
	"SELECT last_task_id, accounts FROM _taskex.budget_charge_%p"
	" WHERE first_task_id <= $1 ORDER BY first_task_id DESC LIMIT 1",
	1, {INT8OID}
};

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
			(errcode(ERRCODE_TX_BUDGET_EXCEEDED),
			 errmsg("budget exceeded"),
			 errdetail("The budget is %s%s%s; left are %s, needed are %s.",
					   amount_text(budget->amount), period, type, amount_text(left), amount_text(amount)),
			 errhint("Use taskex.set_budget() to raise the budget, or wait until held money is released.")));
}

/* charges and tells the accounts that were; returns their number */
static int
charge_budgets(const UserHome *requester, int64 task_type, int64 amount, int64 subject, int64 *accounts)
{
	const BudgetList *list = budgets_of(requester->user_id);
	Budget		hits[HITS_MAX];
	int			count = 0;
	TimestampTz now;

	if (likely(list == NULL) || amount == 0)
		return 0;

	/* golden tasks have their type's number, negative */
	if (task_type < 0)
		task_type = -task_type;
	for (int i = 0; i < list->count && count < HITS_MAX; i++)
		if (list->budgets[i].task_type == 0 || list->budgets[i].task_type == task_type)
			hits[count++] = list->budgets[i];
	now = clock_now();
	for (int i = 0; i < count; i++)
	{
		int64		left;

		accounts[i] = account_of(hits[i].id, hits[i].period, now);
		if (!funds_take(accounts[i], requester->partition, amount, -hits[i].amount, &left))
			fail_exceeded(&hits[i], left, amount);
		write_entry(requester, accounts[i], amount, subject);
	}
	return count;
}

void
budget_charge(const UserHome *requester, int64 task_type, int64 amount, int64 subject)
{
	int64		accounts[HITS_MAX];

	(void) charge_budgets(requester, task_type, amount, subject, accounts);
}

static Datum
account_array(const int64 *accounts, int count)
{
	Datum		elements[HITS_MAX];

	for (int i = 0; i < count; i++)
		elements[i] = Int64GetDatum(accounts[i]);
	return PointerGetDatum(construct_array(elements, count, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

void
budget_charge_tasks(const UserHome *requester, int64 task_type, int64 amount,
					int64 first, int64 last)
{
	int64		accounts[HITS_MAX];
	int			count = charge_budgets(requester, task_type, amount, first, accounts);
	SpiScope	scope;
	Datum		values[4] = {Int32GetDatum(requester->partition), Int64GetDatum(first), Int64GetDatum(last)};

	if (count == 0)
		return;
	spi_begin(&scope);
	values[3] = account_array(accounts, count);
	spi_run(&insert_charge, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

void
budget_charge_moved(const UserHome *requester, int64 task_type, int64 amount, int64 task)
{
	int64		accounts[HITS_MAX];
	int			count = charge_budgets(requester, task_type, amount, task, accounts);
	SpiScope	scope;
	Datum		values[3] = {Int32GetDatum(requester->partition), Int64GetDatum(task)};

	/* whose budgets are all dropped gets nothing back anyway */
	if (budgets_of(requester->user_id) == NULL)
		return;
	spi_begin(&scope);
	values[2] = account_array(accounts, count);
	spi_run(&move_charge, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

/* ---- returning ---- */

/* the accounts that tasks of a range were charged to; 0 if there are none */
static int
charged_accounts(const UserHome *requester, int64 task, int64 *accounts)
{
	Datum		value = Int64GetDatum(task);
	Datum	   *elements;
	SpiScope	scope;
	int			count = 0;
	bool		isnull;

	spi_begin(&scope);
	if (spi_run(&select_charge, requester->partition, &value, NULL, SPI_VIEW_CURRENT, 1) == 1 &&
		spi_int64(0, 1) >= task)
	{
		deconstruct_array(DatumGetArrayTypeP(spi_value(0, 2, &isnull)), INT8OID, sizeof(int64),
						  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, NULL, &count);
		count = Min(count, HITS_MAX);
		for (int i = 0; i < count; i++)
			accounts[i] = DatumGetInt64(elements[i]);
	}
	spi_end(&scope);
	return count;
}

void
budget_return(const UserHome *requester, int64 amount, int64 task)
{
	const BudgetList *list = budgets_of(requester->user_id);
	int64		accounts[HITS_MAX];
	int64		returned[HITS_MAX];
	int			count = 0;
	int			charged;
	TimestampTz now;

	if (likely(list == NULL) || amount == 0)
		return;

	/* those of budgets that were dropped, and of periods that are over, no longer count */
	now = clock_now();
	charged = charged_accounts(requester, task, accounts);
	list = budgets_of(requester->user_id);
	for (int i = 0; list != NULL && i < list->count; i++)
	{
		int64		account = account_of(list->budgets[i].id, list->budgets[i].period, now);

		for (int j = 0; j < charged; j++)
			if (accounts[j] == account)
				returned[count++] = account;
	}
	for (int i = 0; i < count; i++)
	{
		write_entry(requester, returned[i], -amount, task);
		funds_earn(returned[i], amount);
	}
}
