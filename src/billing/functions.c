/*
 * functions.c
 *	  Rates, terms and money for the functions of sql/billing.sql and sql/invoice.sql.
 */
#include "postgres.h"

#include "billing/rate.h"
#include "billing/terms.h"
#include "billing/writers.h"
#include "base/args.h"
#include "base/errcodes.h"
#include "infra/spi.h"
#include "ledger/ledger.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

static Statement explain = {
	"SELECT step, what, value FROM _taskex.explain_charge($1)",
	1, {TEXTOID}
};

static const Rate *
require_rate(int64 rate_id)
{
	const Rate *rate = rate_by_id(rate_id);

	if (rate == NULL)
		elog(ERROR, "rate " INT64_FORMAT " is missing", rate_id);
	return rate;
}

PG_FUNCTION_INFO_V1(taskex_rate_for);

/* _taskex.rate_for(meter, environment_id, program_id, tier, at) -> bigint */
Datum
taskex_rate_for(PG_FUNCTION_ARGS)
{
	RateKey		key = {PG_GETARG_INT32(0), PG_GETARG_INT32(1), PG_GETARG_INT64(2), text_to_cstring(PG_GETARG_TEXT_PP(3)),
	PG_GETARG_TIMESTAMPTZ(4)};
	const Rate *rate = rate_find(&key);

	if (rate == NULL)
		PG_RETURN_NULL();
	PG_RETURN_INT64(rate->rate_id);
}

PG_FUNCTION_INFO_V1(taskex_usage_billed);

/* _taskex.usage_billed(rate_id, quantity, outcome) -> bigint */
Datum
taskex_usage_billed(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(rate_billed(require_rate(PG_GETARG_INT64(0)), PG_GETARG_INT64(1), PG_GETARG_INT32(2)));
}

PG_FUNCTION_INFO_V1(taskex_usage_charge);

/* _taskex.usage_charge(rate_id, priority, billed) -> numeric */
Datum
taskex_usage_charge(PG_FUNCTION_ARGS)
{
	int32		priority = PG_GETARG_INT32(1);

	if (priority < 0 || priority >= RATE_PRIORITIES)
		elog(ERROR, "no rate has a priority %d", priority);
	PG_RETURN_NUMERIC(rate_charge(require_rate(PG_GETARG_INT64(0)), priority, PG_GETARG_INT64(2)));
}

PG_FUNCTION_INFO_V1(taskex_customer_tier);

/* _taskex.customer_tier(customer_id) -> text */
Datum
taskex_customer_tier(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(terms_of(PG_GETARG_INT64(0))->tier));
}

PG_FUNCTION_INFO_V1(taskex_usage_bound);

/* _taskex.usage_bound() -> (bound, late): see writers_bound() */
Datum
taskex_usage_bound(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	int64	   *late;
	Datum	   *numbers;
	int			count;

	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("invoices are closed in the isolation level READ COMMITTED only"),
				 errdetail("What is committed while they are closed must be seen.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "usage_bound() must return a row");
	values[0] = Int64GetDatum(writers_bound(&late, &count));
	numbers = palloc(sizeof(Datum) * Max(count, 1));
	for (int i = 0; i < count; i++)
		numbers[i] = Int64GetDatum(late[i]);
	values[1] = PointerGetDatum(construct_array(numbers, count, INT8OID, 8, true, TYPALIGN_DOUBLE));
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

static Statement select_beyond = {
	"SELECT (coalesce((SELECT sum(e.held) FROM _taskex.entry_%p e WHERE e.account_id = $1 AND e.kind IN ('usage', 'usage_ahead', 'usage_return')), 0)"
	" - coalesce((SELECT sum(u.accrued) FROM _taskex.usage_%p u CROSS JOIN _taskex.closed_for($1) c"
	" WHERE u.customer_id = $1 AND NOT (u.at < c.until AND u.seq <= c.bound AND u.seq <> ALL (c.late))), 0))::bigint",
	1, {INT8OID}
};

/* what is set aside for the customer, without what he has used that is on no invoice of an earlier closing */
static int64
read_beyond(const UserHome *customer)
{
	Datum		value = Int64GetDatum(customer->user_id);
	SpiScope	scope;
	int64		beyond;

	spi_begin(&scope);
	if (spi_run(&select_beyond, customer->partition, &value, NULL, SPI_VIEW_CURRENT, 1) != 1)
		elog(ERROR, "what is set aside for user " INT64_FORMAT " cannot be read", customer->user_id);
	beyond = spi_int64(0, 1);
	spi_end(&scope);
	return beyond;
}

PG_FUNCTION_INFO_V1(taskex_charge_invoice);

/* _taskex.charge_invoice(customer_id, invoice_id, accrued, total, owners, amounts) */
Datum
taskex_charge_invoice(PG_FUNCTION_ARGS)
{
	UserHome	customer;
	OwnerShare *shares;
	Datum	   *owners;
	Datum	   *amounts;
	int			owner_count;
	int			count;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(4), INT8OID, 8, true, TYPALIGN_DOUBLE, &owners, NULL, &owner_count);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(5), INT8OID, 8, true, TYPALIGN_DOUBLE, &amounts, NULL, &count);
	if (owner_count != count)
		elog(ERROR, "every owner has an amount");
	shares = palloc0(sizeof(OwnerShare) * Max(count, 1));
	for (int i = 0; i < count; i++)
	{
		directory_home_by_id(DatumGetInt64(owners[i]), &shares[i].owner);
		shares[i].amount = DatumGetInt64(amounts[i]);
	}
	directory_home_by_id(PG_GETARG_INT64(0), &customer);
	if (PG_GETARG_INT64(2) > 0)
		ledger_recover(&customer, read_beyond);
	ledger_charge(&customer, PG_GETARG_INT64(2), PG_GETARG_INT64(3), shares, count, PG_GETARG_INT64(1));
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(taskex_usage_seq);

/* _taskex.usage_seq() -> bigint: for rows that are inserted in this transaction */
Datum
taskex_usage_seq(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(writers_seq());
}

/* may the caller act for the customer, whose number is what a usage_id begins with? */
static bool
may_see(const char *usage_id)
{
	UserHome	home;
	int64		customer = strtol(usage_id, NULL, 10);

	return customer > 0 && directory_find_home_by_id(customer, &home) &&
		(directory_caller_trusted() || (OidIsValid(home.db_role) && has_privs_of_role(GetUserId(), home.db_role)));
}

PG_FUNCTION_INFO_V1(taskex_explain_charge);

/* explain_charge(usage_id) -> setof (step, what, value) */
Datum
taskex_explain_charge(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	SpiScope	scope;
	char	   *usage_id;
	uint64		count = 0;

	require_arg(fcinfo, 0, "usage_id");
	usage_id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	InitMaterializedSRF(fcinfo, 0);
	if (may_see(usage_id))
	{
		Datum		value = PG_GETARG_DATUM(0);

		spi_begin(&scope);
		count = spi_run(&explain, 0, &value, NULL, SPI_VIEW_CURRENT, 0);
		for (uint64 i = 0; i < count; i++)
		{
			Datum		row[3];
			bool		nulls[3];

			for (int j = 0; j < 3; j++)
				row[j] = spi_value(i, j + 1, &nulls[j]);
			tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, row, nulls);
		}
		spi_end(&scope);
	}
	if (count == 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_USAGE),
				 errmsg("usage \"%s\" does not exist", usage_id),
				 errdetail("Or it is not one of a customer for whom the caller may act."),
				 errhint("The view taskex.usage lists them.")));
	return (Datum) 0;
}
