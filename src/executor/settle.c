/*
 * settle.c
 *	  Runs whose executors have ended without ending them.
 */
#include "postgres.h"

#include "executor/internal.h"
#include "infra/ids.h"
#include "workload/run.h"

#include "utils/timestamp.h"

static int
compare_held(const void *a, const void *b)
{
	return ids_compare(&((const HeldRun *) a)->run_id, &((const HeldRun *) b)->run_id);
}

/* the attempt of the locked run, if it is still the one of the token (0: of whoever has no time) */
static void
settle_run(Child *run, const UserHome *home, int64 token, bool crashed, const char *reason)
{
	AttemptEnd	end = {.outcome = "crashed",.retry = true};

	if (!child_text_is(run, RUN_STATE, "running") || (token != 0 && child_int64(run, RUN_LEASE_TOKEN) != token) ||
		child_int64(run, RUN_LEASE_UNTIL) != LEASE_OF_EXECUTOR)
		return;
	if (!crashed)
	{
		attempt_release(run, 0.0001);
		return;
	}
	end.error = run_error(reason);
	(void) attempt_end(run, home, &end);
}

void
settle(void *arg)
{
	Settlement *settlement = arg;
	HeldRun		held[EXECUTOR_RUNS_MAX];
	int64		crashed = settlement->current >= 0 ? settlement->held[settlement->current].run_id : 0;
	RunTables	tables;

	memcpy(held, settlement->held, sizeof(HeldRun) * settlement->count);
	qsort(held, settlement->count, sizeof(HeldRun), compare_held);
	run_tables_begin(&tables);
	for (int i = 0; i < settlement->count; i++)
	{
		UserHome	home;
		Child	   *run = run_lock(&tables, held[i].run_id, true, &home, NULL);

		if (run)
			settle_run(run, &home, held[i].token, held[i].run_id == crashed, settlement->reason);
	}
	run_tables_end(&tables);
}

/* ---- after a start ---- */

typedef struct LostRun
{
	int64		run_id;
	char	   *worker;
	bool		together;		/* with others: an executor holds the runs of one take */
} LostRun;

static int
compare_lost(const void *a, const void *b)
{
	const LostRun *x = a;
	const LostRun *y = b;
	int			order = strcmp(x->worker, y->worker);

	if (order != 0)
		return order;
	return x->run_id < y->run_id ? -1 : x->run_id > y->run_id;
}

static int
compare_lost_ids(const void *a, const void *b)
{
	return ids_compare(&((const LostRun *) a)->run_id, &((const LostRun *) b)->run_id);
}

/*
 * Which of the runs that were taken together was being executed is not known
 * any more: none counts.  From a start after a crash on they are taken one by
 * one (pool_careful), so one that makes the server crash has its attempts counted.
 */
void
settle_server(void *unused)
{
	int64	   *ids;
	int32		count = queue_unlimited(&ids);
	LostRun    *lost = palloc(sizeof(LostRun) * Max(count, 1));
	int			found = 0;
	RunTables	tables;

	run_tables_begin(&tables);
	for (int32 i = 0; i < count; i++)
	{
		UserHome	home;
		Child	   *run = run_read(&tables, ids[i], &home);

		if (run == NULL || !child_text_is(run, RUN_STATE, "running"))
			continue;
		lost[found].run_id = ids[i];
		lost[found].worker = run_text(run, RUN_WORKER);
		lost[found++].together = false;
	}
	qsort(lost, found, sizeof(LostRun), compare_lost);
	for (int i = 1; i < found; i++)
		if (strcmp(lost[i].worker, lost[i - 1].worker) == 0)
			lost[i].together = lost[i - 1].together = true;
	qsort(lost, found, sizeof(LostRun), compare_lost_ids);
	for (int i = 0; i < found; i++)
	{
		UserHome	home;
		Child	   *run = run_lock(&tables, lost[i].run_id, true, &home, NULL);

		if (run)
			settle_run(run, &home, 0, !lost[i].together, "the server ended while an executor ran the run");
	}
	run_tables_end(&tables);
}
