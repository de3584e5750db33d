/*
 * rows.c
 *	  The table run, column by column, for infra/child.h.
 */
#include "postgres.h"

#include "workload/rows.h"

#include "utils/builtins.h"

static const char *const run_columns[RUN_COLUMNS] = {
	"partition_id", "environment_id", "run_id", "customer_id", "submitted_at",
	"priority", "followed", "attempts", "max_attempts", "blockers", "program_id",
	"version", "deadline", "run_at", "started_at", "lease_until", "finished_at",
	"lease_token", "state", "worker", "concurrency_key", "code", "data", "data_ref",
	"options", "progress", "result", "error", "measured", "state_data", "split_id", "part",
	"suspensions", "asked", "output"
};

const ChildTable run_table = {"run", RUN_COLUMNS, run_columns, 1, {{RUN_RUN_ID}}};

char *
run_text(Child *run, int column)
{
	bool		isnull;
	Datum		value = slot_getattr(run->slot, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

bool
run_is(Child *run, int column, const char *value)
{
	return !run_is_null(run, column) && child_text_is(run, column, value);
}

bool
run_is_null(Child *run, int column)
{
	bool		isnull;

	(void) slot_getattr(run->slot, column, &isnull);
	return isnull;
}
