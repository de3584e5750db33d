/*
 * charge.c
 *	  Which budgets' accounts a task was charged to.
 *
 * The tasks of one call have one row of budget_charge for all their money.  A
 * task that was charged to other accounts later (more performers, opened again)
 * has layers above that, rows of budget_layer with their amounts; one that got
 * another type has a layer 0, without an amount, in place of what it was
 * supplied with.  What was charged last is released first.
 */
#include "postgres.h"

#include "ledger/charge.h"
#include "infra/spi.h"

#include "catalog/pg_type.h"
#include "utils/array.h"

static Statement insert_charge = {
	"INSERT INTO _taskex.budget_charge_%p (partition_id, first_task_id, last_task_id, accounts, requester_id)"
	" VALUES ($1, $2, $3, $4, $5)",
	5, {INT4OID, INT8OID, INT8OID, INT8ARRAYOID, INT8OID}
};

static Statement insert_layer = {
	"INSERT INTO _taskex.budget_layer_%p (partition_id, task_id, layer, amount, accounts, requester_id)"
	" VALUES ($1, $2, $3, $4, $5, $6)",
	6, {INT4OID, INT8OID, INT4OID, INT8OID, INT8ARRAYOID, INT8OID}
};

static Statement change_layer = {
	"UPDATE _taskex.budget_layer_%p SET amount = $3 WHERE task_id = $1 AND layer = $2",
	3, {INT8OID, INT4OID, INT8OID}
};

static Statement delete_layers = {
	"DELETE FROM _taskex.budget_layer_%p WHERE task_id = $1 AND layer >= $2",
	2, {INT8OID, INT4OID}
};

/*
 * What was charged last.  The ids of the tasks of one call stand together, so
 * ranges do not overlap.
 */
static Statement select_top = {
	"SELECT layer, amount, accounts FROM _taskex.budget_layer_%p WHERE task_id = $1"
	" UNION ALL SELECT -1, NULL, accounts FROM (SELECT last_task_id, accounts FROM _taskex.budget_charge_%p"
	"  WHERE first_task_id <= $1 ORDER BY first_task_id DESC LIMIT 1) c WHERE last_task_id >= $1"
	" ORDER BY layer DESC LIMIT 1",
	1, {INT8OID}
};

typedef struct Layer
{
	int32		number;			/* -1: what the task was supplied with */
	bool		bounded;		/* there is something below it */
	Charge		charge;
} Layer;

static Datum
account_array(const Charge *charge)
{
	Datum		elements[CHARGE_MAX];

	for (int i = 0; i < charge->count; i++)
		elements[i] = Int64GetDatum(charge->accounts[i]);
	return PointerGetDatum(construct_array(elements, charge->count, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
read_accounts(Datum array, Charge *charge)
{
	Datum	   *elements;
	int			count;

	deconstruct_array(DatumGetArrayTypeP(array), INT8OID, sizeof(int64),
					  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, NULL, &count);
	charge->count = Min(count, CHARGE_MAX);
	for (int i = 0; i < charge->count; i++)
		charge->accounts[i] = DatumGetInt64(elements[i]);
}

/* within an SpiScope, as all below */
static void
read_top(const UserHome *requester, int64 task, Layer *top)
{
	Datum		value = Int64GetDatum(task);
	bool		isnull;

	memset(top, 0, sizeof(Layer));
	top->number = -1;
	if (spi_run(&select_top, requester->partition, &value, NULL, SPI_VIEW_CURRENT, 1) == 0)
		return;					/* no budget was charged */
	top->number = spi_int32(0, 1);
	top->charge.amount = DatumGetInt64(spi_value(0, 2, &isnull));
	top->bounded = !isnull;
	read_accounts(spi_value(0, 3, &isnull), &top->charge);
}

static void
write_layer(const UserHome *requester, int64 task, int32 number, bool bounded, const Charge *charge)
{
	Datum		values[6] = {Int32GetDatum(requester->partition), Int64GetDatum(task), Int32GetDatum(number),
	Int64GetDatum(charge->amount), account_array(charge), Int64GetDatum(requester->user_id)};

	spi_run(&insert_layer, requester->partition, values, bounded ? NULL : "   n  ", SPI_VIEW_CURRENT, 0);
}

static void
set_amount(const UserHome *requester, int64 task, int32 number, int64 amount)
{
	Datum		values[3] = {Int64GetDatum(task), Int32GetDatum(number), Int64GetDatum(amount)};

	spi_run(&change_layer, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0);
}

static void
remove_layers(const UserHome *requester, int64 task, int32 lowest)
{
	Datum		values[2] = {Int64GetDatum(task), Int32GetDatum(lowest)};

	spi_run(&delete_layers, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0);
}

void
charge_supplied(const UserHome *requester, const Charge *charge, int64 first, int64 last)
{
	Datum		values[5] = {Int32GetDatum(requester->partition), Int64GetDatum(first), Int64GetDatum(last),
	0, Int64GetDatum(requester->user_id)};
	SpiScope	scope;

	spi_begin(&scope);
	values[3] = account_array(charge);
	spi_run(&insert_charge, requester->partition, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

void
charge_moved(const UserHome *requester, const Charge *charge, int64 task)
{
	SpiScope	scope;

	spi_begin(&scope);
	remove_layers(requester, task, 0);
	write_layer(requester, task, 0, false, charge);
	spi_end(&scope);
}

static bool
same_accounts(const Charge *a, const Charge *b)
{
	return a->count == b->count && memcmp(a->accounts, b->accounts, sizeof(int64) * a->count) == 0;
}

void
charge_added(const UserHome *requester, const Charge *charge, int64 task)
{
	SpiScope	scope;
	Layer		top;

	spi_begin(&scope);
	read_top(requester, task, &top);
	if (!same_accounts(charge, &top.charge))
		write_layer(requester, task, Max(top.number, 0) + 1, true, charge);
	else if (top.bounded)
		set_amount(requester, task, top.number, top.charge.amount + charge->amount);
	spi_end(&scope);
}

Charge
charge_take(const UserHome *requester, int64 amount, int64 task)
{
	SpiScope	scope;
	Layer		top;

	spi_begin(&scope);
	read_top(requester, task, &top);
	if (!top.bounded)
		top.charge.amount = amount;
	else if (top.charge.amount > amount)
	{
		set_amount(requester, task, top.number, top.charge.amount - amount);
		top.charge.amount = amount;
	}
	else
		remove_layers(requester, task, top.number);
	spi_end(&scope);
	return top.charge;
}
