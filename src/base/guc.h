/*
 * guc.h
 *	  The settings, all under taskex.
 */
#ifndef TASKEX_GUC_H
#define TASKEX_GUC_H

#include "postgres.h"

#include "utils/guc.h"

extern int	guc_anonymous_lifetime; /* s */
extern int	guc_anonymous_limit;
extern bool guc_async_accept;
extern int	guc_checkpoint_size;	/* kB */
extern bool guc_conductor;
extern int	guc_conductor_interval; /* ms */
extern int	guc_directory_cache_size;	/* kB */
extern int	guc_dispute_period; /* s */
extern int	guc_epoch;
extern int	guc_event_retention;	/* s */
extern double guc_exchange_fee;
extern int	guc_executor_batch;
extern int	guc_executor_batch_time;	/* ms */
extern int	guc_executor_slice; /* ms */
extern int	guc_feed_size;
extern int	guc_load_half_life; /* s */
extern int	guc_load_history;	/* s */
extern int	guc_load_interval;	/* ms */
extern int	guc_load_sample;
extern int	guc_max_databases;
extern int	guc_max_executors;
extern int	guc_max_inference_memory;	/* kB */
extern int	guc_max_input_size; /* kB */
extern int	guc_max_lanes;
extern int	guc_max_loaded_users;
extern int	guc_max_movers;
extern int	guc_max_partitions;
extern int	guc_max_supplies;
extern bool guc_measure_load;
extern int	guc_move_rate;		/* kB in a second; 0: any */
extern int	guc_move_stall;		/* ms */
extern char *guc_move_window;
extern int	guc_override_period;	/* s */
extern int	guc_plan_cache_size;
extern double guc_program_share;
extern int	guc_purse_cache_size;
extern int	guc_rebalance_cooldown; /* s */
extern double guc_rebalance_gain;
extern double guc_rebalance_start;
extern double guc_rebalance_target;
extern int	guc_ready_runs;
extern int	guc_run_grace;		/* ms */
extern int	guc_run_output_size;	/* kB */
extern int	guc_run_retention;	/* s */
extern bool guc_supply;
extern char *guc_supply_alike;
extern double guc_supply_certainty;
extern int	guc_supply_horizon; /* s */
extern int	guc_supply_input;	/* bytes */
extern int	guc_supply_interval;	/* ms */
extern int	guc_supply_lease;	/* s */
extern int	guc_supply_limit;
extern int	guc_supply_size;
extern char *guc_wait_point;

/* most movers that an exchange can have at a time */
#define MAX_MOVERS 32

/* minutes of the day; false: it is none.  Empty: the whole day, 0 to 0 */
extern bool guc_parse_window(const char *window, int *from, int *to);

extern void guc_define(void);

/* clock.c */
extern bool clock_check(char **newval, void **extra, GucSource source);
extern void clock_assign(const char *newval, void *extra);

#endif							/* TASKEX_GUC_H */
