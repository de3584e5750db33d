/*
 * options.h
 *	  The options of submit_run.
 */
#ifndef TASKEX_WORKLOAD_OPTIONS_H
#define TASKEX_WORKLOAD_OPTIONS_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

#define AFTER_MAX 1000

/* those that the queue itself needs; what is not given is NULL or 0 */
typedef struct RunOptions
{
	text	   *environment;
	text	   *code;
	int32		version;
	Jsonb	   *data_ref;
	TimestampTz run_at;			/* DT_NOBEGIN: not given */
	int32		max_attempts;
	text	   *deduplication_key;
	text	   *concurrency_key;
	char	   *result_function;	/* who gets the result */
	text	   *result_environment; /* where it is called */
	int			after_count;
	int64	   *after;			/* in the order of their ids */
	Jsonb	   *rest;			/* timeout, backoff, notify, ...: kept with the run; or NULL */
} RunOptions;

/* raises invalid_parameter_value for what is not an option, or not one's value */
extern void run_options_read(Jsonb *options, RunOptions *result);

/* the same for where data are to be had */
extern void check_data_ref(Jsonb *data_ref);

/* the rows of a user's query as jsonb; more than one query is for the caller to refuse */
extern char *rows_of_query(const char *query);

/* how long to wait after a failed attempt, in microseconds */
extern int64 run_options_backoff(Jsonb *rest, int32 attempt);

/* is an error of this SQLSTATE to be tried again? */
extern bool run_options_retryable(Jsonb *rest, const char *sqlstate);

/* the channel of option notify, or NULL */
extern char *run_options_notify(Jsonb *rest);

/* how long its executor is kept for the customer after it has ended, in microseconds; 0: it is not */
extern int64 run_options_dedicated(Jsonb *rest);

/* a value of a JSON object, or NULL; memory of the object's */
extern JsonbValue *json_field(Jsonb *object, const char *name, JsonbValue *value);

/* how long an interval is, with days of 24 hours and months of 30 days */
extern int64 interval_us(const Interval *interval);

/* raises invalid_parameter_value unless low <= interval <= high; returns its length */
extern int64 check_duration(const Interval *interval, const char *name, int64 low_us, int64 high_us);

#endif							/* TASKEX_WORKLOAD_OPTIONS_H */
