/*
 * terms.c
 *	  The terms of customers: tier, credit, budgets.
 *
 * Remembered by the session until anybody's change; where nobody has any, that
 * costs the look at two flags.
 */
#include "postgres.h"

#include "billing/terms.h"
#include "infra/realm.h"
#include "infra/watch.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/stratnum.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#define TERMS_MAX 4096
#define BUDGETS_MAX 1000

/* columns of _taskex.billing_terms */
enum
{
	TERMS_CUSTOMER_ID = 1,
	TERMS_CREDIT,
	TERMS_TIER
};

/* columns of _taskex.run_budget */
enum
{
	BUDGET_CUSTOMER_ID = 1,
	BUDGET_PROGRAM_ID,
	BUDGET_ID,
	BUDGET_AMOUNT,
	BUDGET_WARN,
	BUDGET_PERIOD
};

#define SH_PREFIX terms
#define SH_ELEMENT_TYPE Terms
#define SH_KEY_TYPE int64
#define SH_KEY customer_id
#define SH_HASH_KEY(table, key) hash_bytes((const unsigned char *) &(key), sizeof(int64))
#define SH_EQUAL(table, a, b) ((a) == (b))
#define SH_SCOPE static inline
#define SH_DEFINE
#define SH_DECLARE
#include "lib/simplehash.h"

static TableWatch terms_table = {"billing_terms"};
static TableWatch budget_table = {"run_budget"};
static MemoryContext context = NULL;
static terms_hash *known = NULL;
static bool any_terms = false;
static bool any_budgets = false;
static uint32 realm = 0;
static Terms default_terms;		/* of everybody else */

static bool
any_rows(Relation rel, Snapshot snapshot)
{
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	TableScanDesc scan = table_beginscan(rel, snapshot, 0, NULL);
	bool		any = table_scan_getnextslot(scan, ForwardScanDirection, slot);

	table_endscan(scan);
	ExecDropSingleTupleTableSlot(slot);
	return any;
}

/* rows of a customer, by the primary key, which begins with him */
static SysScanDesc
scan_of(Relation rel, const char *key_name, Snapshot snapshot, ScanKey key, int64 customer_id)
{
	Oid			index = get_relname_relid(key_name, RelationGetNamespace(rel));

	ScanKeyInit(key, 1, BTEqualStrategyNumber, F_INT8EQ, Int64GetDatum(customer_id));
	return systable_beginscan(rel, index, OidIsValid(index), snapshot, 1, key);
}

/* false: he has none of his own */
static bool
read_terms(Relation rel, Snapshot snapshot, int64 customer_id, Terms *terms)
{
	ScanKeyData key;
	SysScanDesc scan = scan_of(rel, "billing_terms_pkey", snapshot, &key, customer_id);
	HeapTuple	tuple = systable_getnext(scan);
	bool		isnull;
	Datum		value;

	if (HeapTupleIsValid(tuple))
	{
		value = heap_getattr(tuple, TERMS_CREDIT, RelationGetDescr(rel), &isnull);
		terms->limited = !isnull;
		terms->credit = isnull ? 0 : DatumGetInt64(value);
		value = heap_getattr(tuple, TERMS_TIER, RelationGetDescr(rel), &isnull);
		strlcpy(terms->tier, TextDatumGetCString(value), TIER_MAX);
	}
	systable_endscan(scan);
	return HeapTupleIsValid(tuple);
}

static void
read_budgets(Relation rel, Snapshot snapshot, int64 customer_id, Terms *terms)
{
	ScanKeyData key;
	SysScanDesc scan = scan_of(rel, "run_budget_pkey", snapshot, &key, customer_id);
	RunBudget  *budgets = palloc(sizeof(RunBudget) * BUDGETS_MAX);
	HeapTuple	tuple;
	bool		isnull;

	while (terms->budgets < BUDGETS_MAX && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		RunBudget  *budget = &budgets[terms->budgets++];
		TupleDesc	desc = RelationGetDescr(rel);

		budget->budget_id = DatumGetInt64(heap_getattr(tuple, BUDGET_ID, desc, &isnull));
		budget->program_id = DatumGetInt64(heap_getattr(tuple, BUDGET_PROGRAM_ID, desc, &isnull));
		budget->amount = DatumGetInt64(heap_getattr(tuple, BUDGET_AMOUNT, desc, &isnull));
		budget->warn = DatumGetInt64(heap_getattr(tuple, BUDGET_WARN, desc, &isnull));
		budget->period = TextDatumGetCString(heap_getattr(tuple, BUDGET_PERIOD, desc, &isnull))[0];
	}
	systable_endscan(scan);
	terms->budget = MemoryContextAlloc(context, sizeof(RunBudget) * Max(terms->budgets, 1));
	memcpy(terms->budget, budgets, sizeof(RunBudget) * terms->budgets);
	pfree(budgets);
}

static const Terms *
read_all(int64 customer_id, bool again)
{
	Snapshot	snapshot;
	Relation	rel;
	Terms		terms = {customer_id};
	Terms	   *entry;
	bool		found;

	if (again || known->members >= TERMS_MAX)
	{
		if (context == NULL)
			context = AllocSetContextCreate(TopMemoryContext, "taskex terms", ALLOCSET_DEFAULT_SIZES);
		terms_table.fresh = budget_table.fresh = false; /* until all of this has gone well */
		known = NULL;
		MemoryContextReset(context);
		known = terms_create(context, 16, NULL);
		realm = realm_current()->serial;
	}
	rel = watch_begin(&terms_table, &snapshot);
	if (again)
	{
		any_terms = any_rows(rel, snapshot);
		memset(&default_terms, 0, sizeof(Terms));
		(void) read_terms(rel, snapshot, 0, &default_terms);
	}
	if (!read_terms(rel, snapshot, customer_id, &terms))
	{
		terms = default_terms;
		terms.customer_id = customer_id;
	}
	watch_end(&terms_table, rel, snapshot);
	rel = watch_begin(&budget_table, &snapshot);
	if (again)
		any_budgets = any_rows(rel, snapshot);
	read_budgets(rel, snapshot, customer_id, &terms);
	watch_end(&budget_table, rel, snapshot);

	entry = terms_insert(known, customer_id, &found);
	terms.status = entry->status;
	*entry = terms;
	return entry;
}

const Terms *
terms_of(int64 customer_id)
{
	bool		fresh = watch_fresh(&terms_table) && watch_fresh(&budget_table) && realm == realm_current()->serial;
	const Terms *terms;

	if (likely(fresh && !any_terms && !any_budgets))
		return &default_terms;
	if (!fresh)
		return read_all(customer_id, true);
	terms = terms_lookup(known, customer_id);
	return terms ? terms : read_all(customer_id, false);
}
