/*
 * rate.h
 *	  What things cost: the rates that a session knows.
 */
#ifndef TASKEX_BILLING_RATE_H
#define TASKEX_BILLING_RATE_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "utils/numeric.h"

/* numbers of _taskex.meter */
typedef enum Meter
{
	METER_NONE,
	METER_RUN_TIME,
	METER_CPU_TIME,
	METER_ROWS,
	METER_BLOCKS_READ,
	METER_BLOCKS_WRITTEN,
	METER_WAL_BYTES,
	METER_STORAGE,
	METER_PROGRAM_USE,
	METER_PROGRAM_TIME,
	METER_TASK_FEES
} Meter;

#define TIER_MAX 64
#define RATE_PRIORITIES 10

/* bits of Rate.outcomes, in the order of outcome_bit() */
#define OUTCOMES_ALL 63

typedef struct Rate
{
	int64		rate_id;
	int64		program_id;		/* 0: any */
	int64		owner_id;		/* of the program; 0: the exchange earns it all */
	int64		per;			/* base units that the price is for */
	int64		granularity;
	int64		minimum;
	TimestampTz valid_from;
	int32		meter;
	int32		environment_id; /* 0: any */
	int32		outcomes;		/* those that are charged */
	bool		ended;			/* from then on there is none */
	bool		graduated;		/* brackets: each part by its own; else all by the last */
	char		tier[TIER_MAX]; /* empty: any */
	int			brackets;		/* 1: no brackets */
	int64	   *upto;
	Numeric    *prices;			/* [bracket * RATE_PRIORITIES + priority], factors included */
	int64	   *units;			/* the same times 10^digits; NULL: they are not that small */
	int			digits;
} Rate;

/* what the rate has to fit */
typedef struct RateKey
{
	int32		meter;
	int32		environment_id;
	int64		program_id;
	const char *tier;
	TimestampTz at;
} RateKey;

/*
 * The rate that holds then: that of the program before that of the environment
 * before that of the tier; NULL: it is free.  Good until the next call.
 */
extern const Rate *rate_find(const RateKey *key);

/* has the program any? */
extern bool rate_any(int32 meter);

/* by its number; NULL: there is none */
extern const Rate *rate_by_id(int64 rate_id);

/* what of the quantity is charged for */
extern int64 rate_billed(const Rate *rate, int64 quantity, int outcome_bit);

/* what that costs, times rate->per: exact */
extern Numeric rate_charge(const Rate *rate, int priority, int64 billed);

/* the same in nano-units, not less than it is */
extern int64 rate_charge_nano(const Rate *rate, int priority, int64 billed);

/* 1 for succeeded, 2 failed, 4 expired, 8 crashed, 16 cancelled, 32 suspended */
extern int	outcome_bit(const char *outcome);

#endif							/* TASKEX_BILLING_RATE_H */
