/*
 * limits.c
 *	  What a run may use, and how it is stopped.
 *
 * A run is stopped by a query cancel, which its code may catch.  It may go on
 * for taskex.run_grace then; after that the process ends, as
 * pg_terminate_backend() would have it, and the run's attempt with it.  Code
 * that looks at no interrupts (a loop in Perl or Python) is left from the
 * signal handler after the same time again, if the process is nowhere where
 * it must not be left (interrupted.c).
 */
#include "postgres.h"

#include "executor/limits.h"
#include "base/guc.h"
#include "executor/measure.h"
#include "executor/pool.h"
#include "executor/steer.h"
#include "workload/options.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

/* how often a run is looked at while it runs */
#define TICK_MS 100

static ExecutionLimits limits;
static TimeoutId run_timeout;
static TimeoutId tick_timeout;
static volatile bool executing = false;
static volatile StopCause stop_cause = STOP_NONE;
static volatile TimestampTz stopped_at;
static int	strikes;
static int64 run_us = 0;		/* what the run may take; 0: any time */
static int	statm = -1;			/* /proc/self/statm */
static struct rlimit address_space; /* as the process got it */

/* ---- stopping; these are called by signal handlers ---- */

static void
stop(StopCause cause)
{
	if (!executing || stop_cause != STOP_NONE)
		return;
	stop_cause = cause;
	stopped_at = GetCurrentTimestamp();
	strikes = 1;
	QueryCancelPending = true;
	InterruptPending = true;
	SetLatch(MyLatch);
}

/* it goes on in spite of having been stopped */
static void
insist(void)
{
	if (GetCurrentTimestamp() - stopped_at < strikes * guc_run_grace * INT64CONST(1000))
		return;
	if (strikes == 1)
	{
		executor_current()->overdue = stop_cause == STOP_TIMEOUT;
		strikes = 2;
		ProcDiePending = true;
		InterruptPending = true;
		SetLatch(MyLatch);
	}
	/* the one is of the handler of all timeouts, who has called us */
	else if (InterruptHoldoffCount == 1 && CritSectionCount == 0 && interrupted_may_leave())
		proc_exit(1);
}

static void
on_run_timeout(void)
{
	stop(STOP_TIMEOUT);
}

static void
on_tick(void)
{
	ExecutorSlot *slot = executor_current();

	if (!executing)
		return;
	if (stop_cause != STOP_NONE)
		insist();
	else if (slot->current >= 0 && slot->held[slot->current].revoked)
		stop(STOP_CANCELLED);
	else if (measure_too_many_rows())
		stop(STOP_ROWS);

	/* no lock: who reads it may see that of two moments */
	measure_live(&slot->usage);
	steer_obey();
}

/* ---- the environment's ---- */

static int64
size_of(const Jsonb *object, const char *name)
{
	JsonbValue	value;
	Datum		text;

	if (!json_field(unconstify(Jsonb *, object), name, &value))
		return 0;
	text = PointerGetDatum(cstring_to_text_with_len(value.val.string.val, value.val.string.len));
	return DatumGetInt64(DirectFunctionCall1(pg_size_bytes, text));
}

static int64
timeout_of(const Jsonb *object)
{
	JsonbValue	value;
	char	   *string;

	if (object == NULL || !json_field(unconstify(Jsonb *, object), "timeout", &value))
		return 0;
	string = pnstrdup(value.val.string.val, value.val.string.len);
	return interval_us(DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(string),
															 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1))));
}

static void
read_limits(const Jsonb *object)
{
	JsonbValue	value;

	limits.timeout_us = timeout_of(object);
	limits.memory = size_of(object, "memory");
	limits.temp_files = size_of(object, "temp_files");
	limits.result_size = size_of(object, "result_size");
	if (json_field(unconstify(Jsonb *, object), "rows", &value))
		limits.rows = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

void
limits_start(const Jsonb *object)
{
	if (object)
		read_limits(object);
	if (limits.result_size == 0)
		limits.result_size = guc_max_input_size * INT64CONST(1024);
	run_timeout = RegisterTimeout(USER_TIMEOUT, on_run_timeout);
	tick_timeout = RegisterTimeout(USER_TIMEOUT, on_tick);
	interrupted_install();

	/* the role cannot change it: only superusers can */
	if (limits.temp_files > 0)
		SetConfigOption("temp_file_limit", psprintf("%lldkB", (long long) Min(Max(limits.temp_files / 1024, 1), PG_INT32_MAX)),
						PGC_SUSET, PGC_S_OVERRIDE);
	if (limits.memory > 0)
	{
		statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
		if (statm < 0 || getrlimit(RLIMIT_AS, &address_space) != 0)
			ereport(ERROR,
					(errcode_for_file_access(),
					 errmsg("could not limit the memory of an executor: %m")));
	}
}

const ExecutionLimits *
limits_get(void)
{
	return &limits;
}

/* ---- memory ---- */

static void
limit_memory(void)
{
	char		buffer[64];
	ssize_t		length = pread(statm, buffer, sizeof(buffer) - 1, 0);
	struct rlimit now = address_space;

	if (length <= 0)
		elog(ERROR, "could not read the size of the process: %m");
	buffer[length] = '\0';
	now.rlim_cur = Min(address_space.rlim_max, strtoull(buffer, NULL, 10) * sysconf(_SC_PAGESIZE) + limits.memory);
	if (setrlimit(RLIMIT_AS, &now) != 0)
		elog(ERROR, "could not limit the memory of the process: %m");
}

static void
lift_memory(void)
{
	(void) setrlimit(RLIMIT_AS, &address_space);
}

/* ---- runs ---- */

void
limits_open(void)
{
	enable_timeout_every(tick_timeout, GetCurrentTimestamp() + TICK_MS * INT64CONST(1000), TICK_MS);
}

void
limits_close(void)
{
	disable_timeout(tick_timeout, false);
}

int64
limits_timeout(void)
{
	return run_us;
}

void
limits_begin(const TakenRun *run)
{
	run_us = timeout_of(run->options);
	if (run_us == 0)
		run_us = limits.timeout_us;
	stop_cause = STOP_NONE;
	strikes = 0;

	/* who asked to cancel meant another run */
	QueryCancelPending = false;
	interrupted_begin();
	executing = true;
	if (limits.memory > 0)
		limit_memory();
	if (run_us > 0)
		enable_timeout_at(run_timeout, GetCurrentTimestamp() + run_us);
}

StopCause
limits_end(void)
{
	if (!executing)
		return STOP_NONE;
	executing = false;
	if (run_us > 0)
		disable_timeout(run_timeout, false);
	QueryCancelPending = false;
	if (limits.memory > 0)
		lift_memory();
	return stop_cause;
}
