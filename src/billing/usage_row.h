/*
 * usage_row.h
 *	  The table usage, column by column, for infra/child.h.
 *
 * The order is that of sql/billing.sql.
 */
#ifndef TASKEX_BILLING_USAGE_ROW_H
#define TASKEX_BILLING_USAGE_ROW_H

#include "postgres.h"

/* by so much the numbers of corrections of a chain's next piece are higher */
#define USAGE_STEP 65536

enum UsageColumn
{
	USAGE_CUSTOMER_ID = 1,
	USAGE_SOURCE_ID,
	USAGE_AT,
	USAGE_STARTED_AT,
	USAGE_QUANTITY,
	USAGE_BILLED,
	USAGE_ACCRUED,
	USAGE_RATE_ID,
	USAGE_PROGRAM_ID,
	USAGE_SEQ,
	USAGE_ATTEMPT,
	USAGE_METER,
	USAGE_CORRECTION,
	USAGE_ENVIRONMENT_ID,
	USAGE_PARTITION_ID,
	USAGE_PRIORITY,
	USAGE_OUTCOME,
	USAGE_COLUMNS = USAGE_OUTCOME
};

#endif							/* TASKEX_BILLING_USAGE_ROW_H */
