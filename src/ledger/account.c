/*
 * account.c
 *	  SQL: money that enters and leaves the exchange, and what is there.
 */
#include "postgres.h"

#include "ledger/entry.h"
#include "ledger/funds.h"
#include "ledger/internal.h"
#include "ledger/ledger.h"
#include "ledger/purse.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "directory/meter.h"
#include "infra/realm.h"
#include "infra/spi.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

/* longest reference, in bytes: it is in an index */
#define REFERENCE_MAX 1024

/*
 * Both sides of a transfer between an account and the outside.  The reference
 * is on the account's side, where it is unique.
 */
static Statement insert_outside = {
	"WITH mine AS (INSERT INTO _taskex.entry_%p (partition_id, at, account_id, transfer_id,"
	"  kind, available, held, counterparty, reference)"
	"  VALUES ($1, $2, $3, $4, $5, $6, 0, -1, $7)"
	"  ON CONFLICT (account_id, kind, reference) WHERE reference IS NOT NULL DO NOTHING"
	"  RETURNING transfer_id)"
	" INSERT INTO _taskex.entry_%p (partition_id, at, account_id, transfer_id,"
	"  kind, available, held, counterparty)"
	" SELECT $1, $2, -1, transfer_id, $5, -$6, 0, $3 FROM mine",
	7, {INT4OID, TIMESTAMPTZOID, INT8OID, INT8OID, TEXTOID, INT8OID, TEXTOID}
};

static Statement select_reference = {
	"SELECT transfer_id, available FROM _taskex.entry_%p"
	" WHERE account_id = $1 AND kind = $2 AND reference = $3",
	3, {INT8OID, TEXTOID, TEXTOID}
};

static Statement select_balance = {
	"SELECT trim_scale((coalesce(b.available, 0) + coalesce(e.available, 0)) * 0.000000001),"
	" trim_scale((coalesce(b.held, 0) + coalesce(e.held, 0)) * 0.000000001), e.n"
	" FROM (SELECT) one"
	" LEFT JOIN _taskex.balance_%p b ON b.account_id = $1"
	" CROSS JOIN LATERAL (SELECT sum(available) AS available, sum(held) AS held, count(*) AS n"
	"  FROM _taskex.entry_%p WHERE account_id = $1"
	"  AND transfer_id > coalesce(b.folded_to, 0)) e",
	1, {INT8OID}
};

/* a system account has a part on every partition */
static Statement select_system_balance = {
	"SELECT trim_scale((coalesce(sum(b.available), 0) + coalesce(sum(e.available), 0)) * 0.000000001),"
	" trim_scale((coalesce(sum(b.held), 0) + coalesce(sum(e.held), 0)) * 0.000000001), 0::bigint"
	" FROM _taskex.partition p"
	" LEFT JOIN _taskex.balance b ON b.partition_id = p.partition_id AND b.account_id = $1"
	" CROSS JOIN LATERAL (SELECT sum(available) AS available, sum(held) AS held"
	"  FROM _taskex.entry WHERE partition_id = p.partition_id AND account_id = $1"
	"  AND transfer_id > coalesce(b.folded_to, 0)) e",
	1, {INT8OID}
};

/* ---- whose account ---- */

static bool
named(const text *login, const char *name)
{
	return VARSIZE_ANY_EXHDR(login) == strlen(name) &&
		memcmp(VARDATA_ANY(login), name, strlen(name)) == 0;
}

bool
account_for_reading(const text *login, UserHome *home)
{
	bool		exchange = named(login, "exchange");

	if (!exchange && !named(login, "outside"))
	{
		directory_reader(login, home);
		return false;
	}
	directory_require_admin("read the exchange's own accounts");
	memset(home, 0, sizeof(UserHome));
	home->user_id = exchange ? ACCOUNT_EXCHANGE : ACCOUNT_OUTSIDE;
	return true;
}

/*
 * The account to withdraw from, and the partition of its funds: those of the
 * exchange are on all, and its withdrawals are written on the first.
 */
static int32
account_for_withdrawal(const text *login, UserHome *home)
{
	int32	   *partitions;

	if (!named(login, "exchange"))
	{
		directory_actor(login, home);
		return home->partition;
	}
	directory_require_admin("withdraw the exchange's earnings");
	memset(home, 0, sizeof(UserHome));
	home->user_id = ACCOUNT_EXCHANGE;

	/* a partition that is dropped meanwhile would be missing in the sum */
	directory_lock_partitions();
	if (directory_partitions(&partitions) == 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_PARTITION),
				 errmsg("the exchange has no storage partition")));
	home->partition = partitions[0];
	return 0;
}

static int64
magnitude(int64 change)
{
	return change < 0 ? -change : change;
}

/* ---- to and from the outside ---- */

static int64
positive_nano(Numeric amount)
{
	int64		nano = ledger_nano(amount, "amount");

	if (nano == 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_AMOUNT_OUT_OF_RANGE),
				 errmsg("amount must be greater than zero")));
	return nano;
}

static void
check_reference(const text *reference)
{
	Size		length = VARSIZE_ANY_EXHDR(reference);

	if (length == 0 || length > REFERENCE_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("reference must have 1 to %d bytes", REFERENCE_MAX)));
}

/* the transfer that has the reference already, or 0 */
static int64
find_reference(const UserHome *home, Datum kind, int64 change, const text *reference, SpiView view)
{
	Datum		values[3];

	values[0] = Int64GetDatum(home->user_id);
	values[1] = kind;
	values[2] = PointerGetDatum(reference);
	if (spi_run(&select_reference, home->partition, values, NULL, view, 1) == 0)
		return 0;
	if (spi_int64(0, 2) != change)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_IDEMPOTENCY_MISMATCH),
				 errmsg("reference \"%s\" was used for another amount", text_to_cstring(reference)),
				 errdetail("The amount was %s, now it is %s.",
						   amount_text(magnitude(spi_int64(0, 2))), amount_text(magnitude(change)))));
	return spi_int64(0, 1);
}

/*
 * Writes a transfer of "change" between an account and the outside, unless it
 * is there already under its reference.
 */
static int64
transfer_outside(const UserHome *home, const char *kind_name, int64 change,
				 const text *reference, bool *is_new)
{
	Datum		kind = CStringGetTextDatum(kind_name);
	Datum		values[7];
	char		nulls[7] = {' ', ' ', ' ', ' ', ' ', ' ', ' '};
	int64		id = 0;

	*is_new = false;
	if (reference != NULL)
		id = find_reference(home, kind, change, reference, SPI_VIEW_CURRENT);
	if (id != 0)
		return id;

	id = entry_ids(home->partition, 1);
	values[0] = Int32GetDatum(home->partition);
	values[1] = TimestampTzGetDatum(clock_now());
	values[2] = Int64GetDatum(home->user_id);
	values[3] = Int64GetDatum(id);
	values[4] = kind;
	values[5] = Int64GetDatum(change);
	values[6] = PointerGetDatum(reference);
	nulls[6] = reference == NULL ? 'n' : ' ';
	*is_new = spi_run(&insert_outside, home->partition, values, nulls, SPI_VIEW_CURRENT, 0) == 1;
	if (*is_new)
		return id;

	/* another session was faster, and has committed */
	id = find_reference(home, kind, change, reference, SPI_VIEW_LATEST);
	if (id == 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("reference \"%s\" is being used by another session", text_to_cstring(reference)),
				 errhint("The transaction might succeed if retried.")));
	return id;
}

PG_FUNCTION_INFO_V1(taskex_deposit);

/* deposit(login, amount, reference) -> transfer id */
Datum
taskex_deposit(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"login", "amount", "reference", NULL};
	SpiScope	scope;
	UserHome	home;
	text	   *reference;
	int64		nano;
	int64		id;
	bool		is_new;

	require_args(fcinfo, names);
	directory_require_admin("deposit money");
	reference = PG_GETARG_TEXT_PP(2);
	nano = positive_nano(PG_GETARG_NUMERIC(1));
	check_reference(reference);
	directory_actor(PG_GETARG_TEXT_PP(0), &home);

	spi_begin(&scope);
	id = transfer_outside(&home, "deposit", nano, reference, &is_new);
	spi_end(&scope);
	if (is_new)
		funds_earn(home.user_id, nano);
	PG_RETURN_INT64(id);
}

/* withdraw(login, amount, reference) -> transfer id */
METERED(taskex_withdraw)
{
	static const char *const names[] = {"login", "amount", NULL};
	SpiScope	scope;
	UserHome	home;
	text	   *reference = PG_ARGISNULL(2) ? NULL : PG_GETARG_TEXT_PP(2);
	int32		partition;
	int64		nano;
	int64		id;
	bool		is_new;

	require_args(fcinfo, names);
	nano = positive_nano(PG_GETARG_NUMERIC(1));
	if (reference != NULL)
		check_reference(reference);
	partition = account_for_withdrawal(PG_GETARG_TEXT_PP(0), &home);

	spi_begin(&scope);
	id = transfer_outside(&home, "withdrawal", -nano, reference, &is_new);
	spi_end(&scope);
	if (is_new)
		funds_spend(home.user_id, partition, nano);
	PG_RETURN_INT64(id);
}

/* ---- payouts: the batches of finance.sql; amounts in nano-units ---- */

/* writes one side of a payout; its reference is used for the first time */
static int64
transfer_payout(const UserHome *home, const char *kind, int64 change, const text *reference)
{
	SpiScope	scope;
	int64		id;
	bool		is_new;

	spi_begin(&scope);
	id = transfer_outside(home, kind, change, reference, &is_new);
	spi_end(&scope);
	if (!is_new)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_IDEMPOTENCY_MISMATCH),
				 errmsg("%s \"%s\" was made before", kind, text_to_cstring(reference))));
	return id;
}

PG_FUNCTION_INFO_V1(taskex_pay_out);

/* _taskex.pay_out(user_id, amount, reference) -> transfer id, or NULL */
Datum
taskex_pay_out(PG_FUNCTION_ARGS)
{
	int64		amount = PG_GETARG_INT64(1);
	int64		available;
	UserHome	home;

	directory_home_by_id(PG_GETARG_INT64(0), &home);
	if (!funds_take(home.user_id, home.partition, amount, 0, &available))
		PG_RETURN_NULL();
	PG_RETURN_INT64(transfer_payout(&home, "payout", -amount, PG_GETARG_TEXT_PP(2)));
}

PG_FUNCTION_INFO_V1(taskex_pay_back);

/* _taskex.pay_back(user_id, amount, reference) -> transfer id */
Datum
taskex_pay_back(PG_FUNCTION_ARGS)
{
	int64		amount = PG_GETARG_INT64(1);
	UserHome	home;
	int64		id;

	directory_home_by_id(PG_GETARG_INT64(0), &home);
	id = transfer_payout(&home, "payout_return", amount, PG_GETARG_TEXT_PP(2));
	funds_earn(home.user_id, amount);
	PG_RETURN_INT64(id);
}

/* ---- what is there ---- */

static Datum
copy_numeric(Datum value)
{
	return PointerGetDatum(DatumGetNumericCopy(value));
}

/* balance(login) -> (available, held) */
METERED(taskex_balance)
{
	MemoryContext context = CurrentMemoryContext;
	MemoryContext old;
	TupleDesc	desc;
	SpiScope	scope;
	UserHome	home;
	Datum		account;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	bool		isnull;
	bool		system;

	require_arg(fcinfo, 0, "login");
	system = account_for_reading(PG_GETARG_TEXT_PP(0), &home);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");

	account = Int64GetDatum(home.user_id);
	spi_begin(&scope);
	if (spi_run(system ? &select_system_balance : &select_balance, home.partition,
				&account, NULL, SPI_VIEW_SNAPSHOT, 1) != 1)
		elog(ERROR, "balance cannot be read");
	old = MemoryContextSwitchTo(context);
	values[0] = copy_numeric(spi_value(0, 1, &isnull));
	values[1] = copy_numeric(spi_value(0, 2, &isnull));
	MemoryContextSwitchTo(old);
	if (spi_int64(0, 3) > LONG_READ && shmem_ready())
		purse_note_long(realm_current()->serial, home.partition, home.user_id);
	spi_end(&scope);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

PG_FUNCTION_INFO_V1(taskex_purse);

/* _taskex.purse(login) -> (available, inflight, pins, loading), or NULL */
Datum
taskex_purse(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	UserHome	home;
	PurseView	view;
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};

	account_for_reading(PG_GETARG_TEXT_PP(0), &home);
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (!purse_peek(realm_current()->serial, home.user_id, &view))
		PG_RETURN_NULL();
	values[0] = NumericGetDatum(ledger_numeric(view.available));
	nulls[0] = !view.valid;
	values[1] = NumericGetDatum(ledger_numeric(view.inflight));
	values[2] = Int32GetDatum(view.pins);
	values[3] = Int32GetDatum(view.loading);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
