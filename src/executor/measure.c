/*
 * measure.c
 *	  What a run uses: time, rows, blocks, WAL, memory.
 *
 * Time, blocks and WAL are differences of counters that the process has anyway.
 * Rows are those that statements returned or changed, also statements inside
 * of functions and triggers.  Memory is what the process had at most, less what
 * it had when the run began; the kernel keeps that peak, and is told to forget
 * it only after a run that has raised it.
 */
#include "postgres.h"

#include "executor/measure.h"
#include "base/compat.h"
#include "base/errcodes.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "commands/trigger.h"
#include "executor/executor.h"
#include "executor/instrument.h"
#include "nodes/execnodes.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

typedef struct Counters
{
	TimestampTz at;
	struct rusage rusage;
	BufferUsage buffers;
	WalUsage	wal;
} Counters;

/* a statement that is being executed */
typedef struct RunningStatement
{
	struct RunningStatement *outer;
	EState	   *estate;
} RunningStatement;

static ExecutorRun_hook_type previous_run = NULL;
static ExecutorFinish_hook_type previous_finish = NULL;
static bool measuring = false;
static Counters begun;
static RunningStatement *volatile statements = NULL;
static volatile uint64 rows_ended = 0;	/* of statements that are done */
static int64 rows_limit = 0;
static bool deferrable = false;
static int	clear_refs = -1;	/* /proc/self/clear_refs */
static long peak = -1;			/* kB; the kernel's peak when the last run ended */

/* ---- statements ---- */

static void
note_statement(QueryDesc *queryDesc, RunningStatement *statement)
{
	rows_ended += queryDesc->estate->es_processed;
	statements = statement->outer;
}

static void
on_executor_run(QueryDesc *queryDesc, ScanDirection direction, uint64 count EXECUTOR_RUN_ONCE_ARG)
{
	RunningStatement statement;

	if (!measuring)
	{
		(previous_run ? previous_run : standard_ExecutorRun) (queryDesc, direction, count EXECUTOR_RUN_ONCE);
		return;
	}
	statement.outer = statements;
	statement.estate = queryDesc->estate;
	statements = &statement;
	PG_TRY();
	{
		(previous_run ? previous_run : standard_ExecutorRun) (queryDesc, direction, count EXECUTOR_RUN_ONCE);
	}
	PG_FINALLY();
	{
		note_statement(queryDesc, &statement);
	}
	PG_END_TRY();
	measure_check_rows();
}

static bool
has_deferrable(List *results)
{
	ListCell   *cell;

	foreach(cell, results)
	{
		TriggerDesc *triggers = ((ResultRelInfo *) lfirst(cell))->ri_TrigDesc;

		for (int i = 0; triggers && i < triggers->numtriggers; i++)
			if (triggers->triggers[i].tgdeferrable)
				return true;
	}
	return false;
}

static void
on_executor_finish(QueryDesc *queryDesc)
{
	EState	   *estate = queryDesc->estate;

	if (measuring && !deferrable)
		deferrable = has_deferrable(estate->es_opened_result_relations) ||
			has_deferrable(estate->es_tuple_routing_result_relations) ||
			has_deferrable(estate->es_trig_target_relations);
	(previous_finish ? previous_finish : standard_ExecutorFinish) (queryDesc);
}

void
measure_install(void)
{
	previous_run = ExecutorRun_hook;
	ExecutorRun_hook = on_executor_run;
	previous_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = on_executor_finish;
	clear_refs = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
}

bool
measure_deferrable(void)
{
	return deferrable;
}

/* ---- counters ---- */

static void
count(Counters *counters)
{
	counters->at = GetCurrentTimestamp();
	(void) getrusage(RUSAGE_SELF, &counters->rusage);
	counters->buffers = pgBufferUsage;
	counters->wal = pgWalUsage;
}

static int64
cpu_of(const struct rusage *rusage)
{
	return (rusage->ru_utime.tv_sec + rusage->ru_stime.tv_sec) * INT64CONST(1000000) +
		rusage->ru_utime.tv_usec + rusage->ru_stime.tv_usec;
}

static uint64
rows_now(void)
{
	uint64		rows = rows_ended;

	for (RunningStatement *statement = statements; statement; statement = statement->outer)
		rows += statement->estate->es_processed;
	return rows;
}

static void
difference(RunUsage *usage, const Counters *now)
{
	const BufferUsage *a = &begun.buffers;
	const BufferUsage *b = &now->buffers;

	usage->wall_us = now->at - begun.at;
	usage->cpu_us = cpu_of(&now->rusage) - cpu_of(&begun.rusage);
	usage->rows = rows_now();
	usage->blocks_read = (b->shared_blks_read - a->shared_blks_read) + (b->local_blks_read - a->local_blks_read) +
		(b->temp_blks_read - a->temp_blks_read);
	usage->blocks_written = (b->shared_blks_dirtied - a->shared_blks_dirtied) +
		(b->local_blks_dirtied - a->local_blks_dirtied) + (b->temp_blks_written - a->temp_blks_written);
	usage->wal_bytes = now->wal.wal_bytes - begun.wal.wal_bytes;
	usage->pieces = 0;
	usage->memory = peak < 0 ? -1 : Max(now->rusage.ru_maxrss - peak, 0) * INT64CONST(1024);
}

/* the peak is what the process has now; false: the kernel does not let us */
static bool
forget_peak(void)
{
	return clear_refs >= 0 && pwrite(clear_refs, "5", 1, 0) == 1;
}

void
measure_begin(int64 max_rows)
{
	if (peak < 0 && forget_peak())
		peak = 0;
	count(&begun);
	if (peak >= 0)
		peak = begun.rusage.ru_maxrss;
	statements = NULL;
	rows_ended = 0;
	rows_limit = max_rows;
	deferrable = false;
	measuring = true;
}

void
measure_end(RunUsage *usage)
{
	Counters	now;

	measuring = false;
	count(&now);
	difference(usage, &now);
	statements = NULL;
	if (usage->memory > 0 && !forget_peak())
		peak = -1;
}

void
measure_live(RunUsage *usage)
{
	Counters	now;

	if (!measuring)
		return;
	count(&now);
	difference(usage, &now);
}

/* ---- the limit of rows ---- */

bool
measure_too_many_rows(void)
{
	return measuring && rows_limit > 0 && rows_now() > rows_limit;
}

void
measure_check_rows(void)
{
	if (rows_limit > 0 && rows_now() > rows_limit)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_ROWS_LIMIT_EXCEEDED),
				 errmsg("the run has processed too many rows"),
				 errdetail("The limit of its environment is %lld.", (long long) rows_limit)));
}
