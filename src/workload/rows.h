/*
 * rows.h
 *	  The table run, column by column, for infra/child.h.
 *
 * The order is that of sql/run.sql; child.c checks the names when it first
 * opens a table.
 */
#ifndef TASKEX_WORKLOAD_ROWS_H
#define TASKEX_WORKLOAD_ROWS_H

#include "postgres.h"

#include "infra/child.h"

enum RunColumn
{
	RUN_PARTITION_ID = 1,
	RUN_ENVIRONMENT_ID,
	RUN_RUN_ID,
	RUN_CUSTOMER_ID,
	RUN_SUBMITTED_AT,
	RUN_PRIORITY,
	RUN_FOLLOWED,
	RUN_ATTEMPTS,
	RUN_MAX_ATTEMPTS,
	RUN_BLOCKERS,
	RUN_PROGRAM_ID,
	RUN_VERSION,
	RUN_DEADLINE,
	RUN_RUN_AT,
	RUN_STARTED_AT,
	RUN_LEASE_UNTIL,
	RUN_FINISHED_AT,
	RUN_LEASE_TOKEN,
	RUN_STATE,
	RUN_WORKER,
	RUN_CONCURRENCY_KEY,
	RUN_CODE,
	RUN_DATA,
	RUN_DATA_REF,
	RUN_OPTIONS,
	RUN_PROGRESS,
	RUN_RESULT,
	RUN_ERROR,
	RUN_MEASURED,
	RUN_STATE_DATA,
	RUN_SPLIT_ID,
	RUN_PART,
	RUN_SUSPENSIONS,
	RUN_ASKED,
	RUN_OUTPUT,
	RUN_COLUMNS = RUN_OUTPUT
};

extern const ChildTable run_table;

/* the text of a column, or NULL */
extern char *run_text(Child *run, int column);

/* is it not null, and this text? */
extern bool run_is(Child *run, int column, const char *value);

/* is the column null? */
extern bool run_is_null(Child *run, int column);

#endif							/* TASKEX_WORKLOAD_ROWS_H */
