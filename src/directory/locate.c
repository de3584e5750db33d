/*
 * locate.c
 *	  Where a user's data are served, for clients that go there directly; and who
 *	  goes by what he was told earlier.
 */
#include "postgres.h"

#include "directory/internal.h"
#include "base/args.h"
#include "base/errcodes.h"
#include "infra/spi.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

static Statement select_node = {
	"SELECT conninfo, location FROM _taskex.node WHERE node_id = $1",
	1, {INT4OID}
};

/* conninfo and location of a node, in the current memory context; NULL: none is given */
static void
read_node(int32 node_id, char **conninfo, char **location)
{
	MemoryContext context = CurrentMemoryContext;
	Datum		value = Int32GetDatum(node_id);
	SpiScope	scope;

	*conninfo = *location = NULL;
	spi_begin(&scope);
	if (spi_run(&select_node, 0, &value, NULL, SPI_VIEW_SNAPSHOT, 1) == 1)
	{
		MemoryContext old = MemoryContextSwitchTo(context);

		*conninfo = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1);
		*location = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
		*conninfo = *conninfo ? MemoryContextStrdup(context, *conninfo) : NULL;
		*location = *location ? MemoryContextStrdup(context, *location) : NULL;
		MemoryContextSwitchTo(old);
	}
	spi_end(&scope);
}

void
directory_report_moved(const text *login, const UserHome *home, int64 epoch)
{
	const PartitionInfo *info = partition_info(home->partition);
	char	   *conninfo;
	char	   *location;

	read_node(info->node_id, &conninfo, &location);
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_STALE_EPOCH),
			 errmsg("user \"%s\" is not where he was in epoch %lld", text_to_cstring(login), (long long) epoch),
			 errdetail("His epoch is %u.", home->epoch),
			 errhint("He lives on storage partition \"%s\" of node \"%s\"%s%s; taskex.locate() tells.", info->name, info->node,
					 conninfo ? ", to be reached with " : "", conninfo ? conninfo : "")));
}

PG_FUNCTION_INFO_V1(taskex_locate);

/* locate(login, epoch) -> (node, conninfo, location, partition, epoch) */
Datum
taskex_locate(PG_FUNCTION_ARGS)
{
	text	   *login;
	UserHome	home;
	const PartitionInfo *info;
	char	   *conninfo;
	char	   *location;
	TupleDesc	desc;
	Datum		values[5];
	bool		nulls[5] = {false};

	require_arg(fcinfo, 0, "login");
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	login = PG_GETARG_TEXT_PP(0);
	directory_seen_home(login, &home);
	directory_check_may_act(login, &home);
	if (!PG_ARGISNULL(1) && PG_GETARG_INT64(1) != home.epoch)
		directory_report_moved(login, &home, PG_GETARG_INT64(1));
	info = partition_info(home.partition);
	read_node(info->node_id, &conninfo, &location);
	values[0] = CStringGetTextDatum(info->node);
	values[1] = conninfo ? CStringGetTextDatum(conninfo) : 0;
	values[2] = location ? CStringGetTextDatum(location) : 0;
	values[3] = CStringGetTextDatum(info->name);
	values[4] = Int64GetDatum(home.epoch);
	nulls[1] = conninfo == NULL;
	nulls[2] = location == NULL;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
