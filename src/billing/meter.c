/*
 * meter.c
 *	  What an attempt used becomes rows of usage, and money that is set aside.
 *
 * In the transaction that ends the attempt, so there is exactly one such row of
 * each meter: ends of attempts are made once, by the run's row lock, and a
 * second row would break the primary key.  Nothing here waits for anybody.
 */
#include "postgres.h"

#include "billing/billing.h"
#include "billing/rate.h"
#include "billing/terms.h"
#include "billing/usage_row.h"
#include "billing/writers.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "infra/child.h"
#include "ledger/ledger.h"
#include "workload/pieces.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* when a run is tried again that may not start */
#define CUSTOMER_WAITS_US (5 * USECS_PER_SEC)
#define RUN_WAITS_US (INT64CONST(600) * USECS_PER_SEC)

static const char *const usage_columns[USAGE_COLUMNS] = {
	"customer_id", "source_id", "at", "started_at", "quantity", "billed", "accrued", "rate_id", "program_id", "seq",
	"attempt", "meter", "correction", "environment_id", "partition_id", "priority", "outcome"
};

static const ChildTable usage_table = {
	"usage", USAGE_COLUMNS, usage_columns,
	1, {{USAGE_CUSTOMER_ID, USAGE_SOURCE_ID}}
};

/* its rows have no nulls, and are written together */
typedef struct UsageTable
{
	int32		partition;
	Child		child;
	int			count;
	int			room;
	Datum	  (*rows)[USAGE_COLUMNS];
} UsageTable;

/* children of usage that a call has open */
typedef struct UsageTables
{
	int			count;
	UsageTable *tables;
	int64		seq;			/* of all rows of the call */
} UsageTables;

/* what an attempt costs, or several of one customer and program */
typedef struct AttemptCost
{
	const UserHome *customer;
	int64		program_id;
	int64		amount;
	int64		subject;		/* the first one's run */
} AttemptCost;

/* ---- rows ---- */

static UsageTable *
table_of(UsageTables *tables, int32 partition)
{
	for (int i = 0; i < tables->count; i++)
		if (tables->tables[i].partition == partition)
			return &tables->tables[i];
	return NULL;
}

static Datum *
new_row(UsageTables *tables, int32 partition)
{
	UsageTable *table = table_of(tables, partition);

	if (table->count == table->room)
	{
		table->room = Max(4, 2 * table->room);
		table->rows = table->rows ? repalloc(table->rows, sizeof(*table->rows) * table->room) :
			palloc(sizeof(*table->rows) * table->room);
	}
	return table->rows[table->count++];
}

static void
fill_row(int row, Datum *values, bool *nulls, void *arg)
{
	const UsageTable *table = arg;

	memcpy(values, table->rows[row], sizeof(*table->rows));
	memset(nulls, false, sizeof(bool) * USAGE_COLUMNS);
}

static void
open_tables(UsageTables *tables, const AttemptFacts *facts, int32 count)
{
	int			room = 4;

	tables->count = 0;
	tables->tables = palloc(sizeof(UsageTable) * room);
	for (int i = 0; i < count; i++)
	{
		int32		partition = facts[i].customer->partition;

		if (table_of(tables, partition))
			continue;
		if (tables->count == room)
			tables->tables = repalloc(tables->tables, sizeof(UsageTable) * (room *= 2));
		memset(&tables->tables[tables->count], 0, sizeof(UsageTable));
		tables->tables[tables->count].partition = partition;
		child_open(&tables->tables[tables->count].child, &usage_table, partition);
		tables->count++;
	}
	tables->seq = writers_seq();
}

/* writes the rows */
static void
close_tables(UsageTables *tables)
{
	static const bool no_nulls[USAGE_COLUMNS] = {false};

	for (int i = 0; i < tables->count; i++)
	{
		UsageTable *table = &tables->tables[i];

		if (table->count == 1)
			child_insert(&table->child, table->rows[0], no_nulls);
		else
			child_insert_many(&table->child, table->count, fill_row, table);
		child_close(&table->child);
	}
	pfree(tables->tables);
}

/* the row of one meter of the step'th piece of a program (0: all of it); what it costs, if that is to be set aside */
static int64
write_row(UsageTables *tables, const AttemptFacts *facts, const Terms *terms, int64 program_id, int step, int meter,
		  int64 quantity)
{
	bool		for_program = meter == METER_PROGRAM_USE || meter == METER_PROGRAM_TIME;

	/* its owner must not make a program dearer for runs that wait already */
	RateKey		key = {meter, facts->environment_id, program_id, terms->tier,
	for_program ? facts->submitted_at : facts->started_at};
	const Rate *rate = rate_find(&key);
	int			bit = outcome_bit(facts->outcome);
	int64		billed = 0;
	int64		accrued = 0;
	Datum	   *row;

	/* who runs his own program owes nobody for it */
	if (for_program && (rate == NULL || rate->owner_id == facts->customer->user_id))
		return 0;
	if (rate)
	{
		billed = rate_billed(rate, quantity, bit);
		if (billed > 0 && (terms->limited || terms->budgets > 0))
			accrued = rate_charge_nano(rate, facts->priority, billed);
	}
	row = new_row(tables, facts->customer->partition);
#define SET(column, value) (row[(column) - 1] = (value))
	SET(USAGE_CUSTOMER_ID, Int64GetDatum(facts->customer->user_id));
	SET(USAGE_SOURCE_ID, Int64GetDatum(facts->run_id));
	SET(USAGE_AT, TimestampTzGetDatum(facts->finished_at));
	SET(USAGE_STARTED_AT, TimestampTzGetDatum(facts->started_at));
	SET(USAGE_QUANTITY, Int64GetDatum(quantity));
	SET(USAGE_BILLED, Int64GetDatum(billed));
	SET(USAGE_ACCRUED, Int64GetDatum(terms->limited ? accrued : 0));
	SET(USAGE_RATE_ID, Int64GetDatum(rate ? rate->rate_id : 0));
	SET(USAGE_PROGRAM_ID, Int64GetDatum(program_id));
	SET(USAGE_SEQ, Int64GetDatum(tables->seq));
	SET(USAGE_ATTEMPT, Int32GetDatum(facts->attempt));
	SET(USAGE_METER, Int32GetDatum(meter));
	SET(USAGE_CORRECTION, Int32GetDatum(step * USAGE_STEP));
	SET(USAGE_ENVIRONMENT_ID, Int32GetDatum(facts->environment_id));
	SET(USAGE_PARTITION_ID, Int32GetDatum(facts->customer->partition));
	SET(USAGE_PRIORITY, Int32GetDatum(facts->priority));
	SET(USAGE_OUTCOME, Int32GetDatum(bit));
#undef SET
	return accrued;
}

/* how long the step'th piece of a program took, -1: it was not reached; of what it is not known of, all of the attempt */
static int64
time_of(const RunUsage *usage, int step)
{
	if (step == 0 || step > usage->pieces)
		return Max(usage->wall_us, 0);
	return usage->piece_us[step - 1] > 0 ? usage->piece_us[step - 1] : -1;
}

/* what owners of programs get: that of the program and, of a chain, those of its pieces, each time that one is run */
static int64
write_program_rows(UsageTables *tables, const AttemptFacts *facts, const Terms *terms)
{
	bool		use = rate_any(METER_PROGRAM_USE) && strcmp(facts->outcome, "succeeded") == 0;
	bool		time = rate_any(METER_PROGRAM_TIME);
	const Pieces *pieces = use || time ? pieces_of(facts->program_id, facts->version) : NULL;
	int64		accrued = 0;

	if (pieces == NULL)
		return 0;
	for (int step = 0; step <= pieces->count; step++)
	{
		int64		program_id = step == 0 ? facts->program_id : pieces->pieces[step - 1].program_id;

		/* the only step of what is no chain */
		if (step > 0 && program_id == facts->program_id)
			continue;
		if (use)
			accrued += write_row(tables, facts, terms, program_id, step, METER_PROGRAM_USE, 1);
		if (time && time_of(facts->usage, step) >= 0)
			accrued += write_row(tables, facts, terms, program_id, step, METER_PROGRAM_TIME, time_of(facts->usage, step));
	}
	return accrued;
}

static int64
write_rows(UsageTables *tables, const AttemptFacts *facts, const Terms *terms)
{
	const RunUsage *usage = facts->usage;
	const struct
	{
		int			meter;
		int64		quantity;
	}			used[] = {
		{METER_CPU_TIME, usage->cpu_us}, {METER_ROWS, usage->rows}, {METER_BLOCKS_READ, usage->blocks_read},
		{METER_BLOCKS_WRITTEN, usage->blocks_written}, {METER_WAL_BYTES, usage->wal_bytes}
	};
	int64		accrued = write_row(tables, facts, terms, facts->program_id, 0, METER_RUN_TIME, Max(usage->wall_us, 0));

	/* the row of the time is always there: it says that the attempt was metered */
	for (int i = 0; i < (int) lengthof(used); i++)
		if (used[i].quantity > 0)
			accrued += write_row(tables, facts, terms, facts->program_id, 0, used[i].meter, used[i].quantity);
	if (facts->program_id != 0)
		accrued += write_program_rows(tables, facts, terms);
	return accrued;
}

/* ---- money ---- */

static int
compare_costs(const void *a, const void *b)
{
	const AttemptCost *x = a;
	const AttemptCost *y = b;

	if (x->customer->user_id != y->customer->user_id)
		return x->customer->user_id < y->customer->user_id ? -1 : 1;
	if (x->program_id != y->program_id)
		return x->program_id < y->program_id ? -1 : 1;
	return x->subject < y->subject ? -1 : x->subject > y->subject;
}

/* those of a customer and a program together; returns how many are left */
static int
add_up(AttemptCost *costs, int count)
{
	int			last = 0;

	if (count > 1)
		qsort(costs, count, sizeof(AttemptCost), compare_costs);
	for (int i = 1; i < count; i++)
	{
		if (costs[i].customer->user_id == costs[last].customer->user_id && costs[i].program_id == costs[last].program_id)
			costs[last].amount += costs[i].amount;
		else
			costs[++last] = costs[i];
	}
	return last + 1;
}

static void
settle(AttemptCost *costs, int count, TimestampTz now)
{
	Accrual    *accruals;
	int			accrual_count = 0;
	int			room = 16;

	if (count == 0)
		return;
	count = add_up(costs, count);
	accruals = palloc(sizeof(Accrual) * room);
	for (int i = 0; i < count; i++)
	{
		const AttemptCost *cost = &costs[i];
		const Terms *terms = terms_of(cost->customer->user_id);

		if (accrual_count + terms->budgets + 1 > room)
			accruals = repalloc(accruals, sizeof(Accrual) * (room = 2 * room + terms->budgets));
		if (terms->limited)
			accruals[accrual_count++] = (Accrual) {cost->customer, cost->customer->user_id, cost->amount, cost->subject,
			-terms->credit};
		for (int j = 0; j < terms->budgets; j++)
		{
			const RunBudget *budget = &terms->budget[j];

			if (budget_covers(budget, cost->program_id))
				accruals[accrual_count++] = (Accrual) {cost->customer, ledger_period_account(budget->budget_id, budget->period, now),
				cost->amount, cost->subject, -budget->amount};
		}
	}
	if (accrual_count > 0)
		ledger_accrue(accruals, accrual_count);
}

static void
attempts_ended(const AttemptFacts *facts, int32 count)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "taskex metering", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	AttemptCost *costs = palloc(sizeof(AttemptCost) * count);
	int			cost_count = 0;
	UsageTables tables;

	open_tables(&tables, facts, count);
	for (int i = 0; i < count; i++)
	{
		const Terms *terms = terms_of(facts[i].customer->user_id);
		int64		amount = write_rows(&tables, &facts[i], terms);

		if (amount > 0)
			costs[cost_count++] = (AttemptCost) {facts[i].customer, facts[i].program_id, amount, facts[i].run_id};
	}
	close_tables(&tables);
	settle(costs, cost_count, clock_now());
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

/* ---- who may use more ---- */

typedef enum Left
{
	LEFT_SOME,
	LEFT_NO_CREDIT,
	LEFT_NO_BUDGET
} Left;

typedef struct Look
{
	RunBudget	budget;			/* that is used up */
	int64		credit;
	bool		warned;
	RunBudget	warning;		/* that is nearly */
} Look;

static Left
look(const UserHome *customer, int64 program_id, TimestampTz now, bool warn, Look *result)
{
	const Terms *terms = terms_of(customer->user_id);
	int			count = terms->budgets;
	RunBudget  *budgets;
	int64		left;

	memset(result, 0, sizeof(Look));
	result->credit = terms->credit;
	if (likely(!terms->limited && count == 0))
		return LEFT_SOME;
	budgets = palloc(sizeof(RunBudget) * Max(count, 1));
	memcpy(budgets, terms->budget, sizeof(RunBudget) * count);
	if (terms->limited && !ledger_exceeds(customer->user_id, customer->partition, -result->credit, &left))
		return LEFT_NO_CREDIT;
	for (int i = 0; i < count; i++)
	{
		int64		account;

		if (!budget_covers(&budgets[i], program_id))
			continue;
		account = ledger_period_account(budgets[i].budget_id, budgets[i].period, now);
		if (!ledger_exceeds(account, customer->partition, -budgets[i].amount, &left))
		{
			result->budget = budgets[i];
			return LEFT_NO_BUDGET;
		}
		if (warn && budgets[i].warn > 0 && !result->warned &&
			!ledger_exceeds(account, customer->partition, -budgets[i].warn, &left))
		{
			result->warned = true;
			result->warning = budgets[i];
		}
	}
	pfree(budgets);
	return LEFT_SOME;
}

static const char *
amount_of(int64 nano)
{
	return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(ledger_numeric(nano))));
}

static const char *
describe(const RunBudget *budget)
{
	const char *period = budget->period == 'd' ? " a day" : budget->period == 'm' ? " a month" : "";

	return psprintf("%s%s%s", amount_of(budget->amount), period, budget->program_id != 0 ? " for this program" : "");
}

static void
submitting(const UserHome *customer, int32 environment_id, int64 program_id, int32 priority, int32 count)
{
	Look		found;

	switch (look(customer, program_id, clock_now(), true, &found))
	{
		case LEFT_SOME:
			if (found.warned)
				ereport(WARNING,
						(errcode(ERRCODE_WARNING),
						 errmsg("a budget for runs is nearly used up"),
						 errdetail("The budget is %s.", describe(&found.warning)),
						 errhint("The view taskex.run_budgets tells what is left.")));
			break;
		case LEFT_NO_CREDIT:
			ereport(ERROR,
					(tx_errcode(ERRCODE_TX_CREDIT_EXHAUSTED),
					 errmsg("the customer has no credit left"),
					 found.credit == 0 ?
					 errdetail("What was paid in is used up.") :
					 errdetail("What was paid in is used up, and so is the credit of %s.", amount_of(found.credit)),
					 errhint("Use taskex.deposit() to bring money in; an operator can raise the credit limit.")));
			break;
		case LEFT_NO_BUDGET:
			ereport(ERROR,
					(tx_errcode(ERRCODE_TX_RUN_BUDGET_EXCEEDED),
					 errmsg("the budget for runs is used up"),
					 errdetail("The budget is %s.", describe(&found.budget)),
					 errhint("Use taskex.set_run_budget() to raise it, or wait for its next period.")));
			break;
	}
}

/* when the period of a budget is over */
static TimestampTz
next_period(const RunBudget *budget, TimestampTz now)
{
	TimestampTz until = now + RUN_WAITS_US;

	if (budget->period == 'd')
		until = Min(until, now - now % USECS_PER_DAY + USECS_PER_DAY);
	return until;
}

static RunStart
starting(const UserHome *customer, int64 program_id, TimestampTz now, TimestampTz *until)
{
	Look		found;

	switch (look(customer, program_id, now, false, &found))
	{
		case LEFT_SOME:
			return RUN_STARTS;
		case LEFT_NO_BUDGET:
			if (found.budget.program_id != 0)
			{
				*until = next_period(&found.budget, now);
				return RUN_WAITS;
			}
			break;
		case LEFT_NO_CREDIT:
			break;
	}
	*until = now + CUSTOMER_WAITS_US;
	return RUN_CUSTOMER_WAITS;
}

const RunObserver billing_observer = {
	.starting = starting,
	.submitting = submitting,
	.attempts_ended = attempts_ended,
};
