/*
 * execute.c
 *	  Runs that an executor has taken, executed.
 */
#include "postgres.h"

#include "executor/execute.h"
#include "executor/pool.h"
#include "base/clock.h"
#include "workload/run.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

void
execute_prepare(void)
{
}

static const TakenRun *executing = NULL;

bool
execute_worn(void)
{
	return false;
}

const TakenRun *
execute_current(void)
{
	return executing;
}

/* the code as the body of a function, called with the data; an error message, or NULL */
static char *
call(const TakenRun *run, Jsonb **result)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *volatile message = NULL;
	Oid			types[1] = {JSONBOID};
	Datum		values[1] = {PointerGetDatum(run->data)};
	char		nulls[1] = {run->data ? ' ' : 'n'};

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		bool		isnull;
		Datum		value;

		SPI_connect();
		SPI_execute(psprintf("CREATE OR REPLACE FUNCTION pg_temp.taskex_run(data jsonb) RETURNS jsonb LANGUAGE %s AS %s",
							 quote_identifier(executor_setup()->language), quote_literal_cstr(text_to_cstring(run->code))), false, 0);
		SPI_execute_with_args("SELECT pg_temp.taskex_run($1)", 1, types, values, nulls, false, 1);
		value = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		*result = isnull ? NULL : (Jsonb *) SPI_datumTransfer(value, false, -1);
		SPI_finish();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		message = error->message;
	}
	PG_END_TRY();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return message;
}

static void
execute_one(const TakenRun *run)
{
	RunTables	tables;
	UserHome	home;
	Child	   *row;
	Jsonb	   *result = NULL;
	RunUsage	usage = {-1, -1, -1, -1, -1, -1, -1};
	char	   *message;

	if (!executor_begin_run(run))
		return;
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	message = call(run, &result);
	usage.wall_us = clock_now() - run->started_at;
	run_tables_begin(&tables);
	row = run_lock(&tables, run->run_id, true, &home, NULL);
	if (row && child_text_is(row, RUN_STATE, "running") && child_int64(row, RUN_LEASE_TOKEN) == run->token)
	{
		AttemptEnd	end = {.outcome = "failed",.usage = &usage,.retry = true};

		if (message == NULL)
			attempt_succeed(&tables, row, &home, PointerGetDatum(result), result == NULL, &usage);
		else
		{
			end.error = run_error(message);
			(void) attempt_end(row, &home, &end);
		}
		run_tables_end(&tables);
		PopActiveSnapshot();
		CommitTransactionCommand();
	}
	else
	{
		run_tables_end(&tables);
		AbortCurrentTransaction();
	}
	executor_end_run();
}

void
execute_runs(const TakenRun *runs, int count)
{
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		executing = &runs[i];
		execute_one(executing);
		executing = NULL;
	}
}
