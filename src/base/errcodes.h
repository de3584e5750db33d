/*
 * errcodes.h
 *	  SQLSTATEs of class TX: one table, in errcodes.c.
 *
 * What PostgreSQL already has a code for (22023, 22004, 42501...) is raised
 * with that code; class TX holds what only a task exchange can say.
 */
#ifndef TASKEX_ERRCODES_H
#define TASKEX_ERRCODES_H

#include "postgres.h"

#define TX_CODE(a, b, c) MAKE_SQLSTATE('T', 'X', a, b, c)

#define ERRCODE_TX_NOT_LOADED				TX_CODE('0', '0', '0')
#define ERRCODE_TX_UNKNOWN_USER				TX_CODE('0', '0', '1')
#define ERRCODE_TX_DUPLICATE_LOGIN			TX_CODE('0', '0', '2')
#define ERRCODE_TX_UNKNOWN_PARTITION		TX_CODE('0', '0', '3')
#define ERRCODE_TX_PARTITION_NOT_ACTIVE		TX_CODE('0', '0', '4')
#define ERRCODE_TX_UNKNOWN_NODE				TX_CODE('0', '0', '5')
#define ERRCODE_TX_OTHER_NODE				TX_CODE('0', '0', '6')
#define ERRCODE_TX_DUPLICATE_NAME			TX_CODE('0', '0', '7')
#define ERRCODE_TX_STILL_IN_USE				TX_CODE('0', '0', '8')
#define ERRCODE_TX_UNKNOWN_TASK_TYPE		TX_CODE('1', '0', '1')
#define ERRCODE_TX_UNKNOWN_TASK				TX_CODE('1', '0', '2')
#define ERRCODE_TX_UNKNOWN_ASSIGNMENT		TX_CODE('1', '0', '3')
#define ERRCODE_TX_TASK_NOT_AVAILABLE		TX_CODE('1', '0', '4')
#define ERRCODE_TX_OWN_TASK					TX_CODE('1', '0', '5')
#define ERRCODE_TX_ALREADY_ASSIGNED			TX_CODE('1', '0', '6')
#define ERRCODE_TX_LEASE_EXPIRED			TX_CODE('1', '0', '7')
#define ERRCODE_TX_STALE_TOKEN				TX_CODE('1', '0', '8')
#define ERRCODE_TX_WRONG_STATE				TX_CODE('1', '0', '9')
#define ERRCODE_TX_IDEMPOTENCY_MISMATCH		TX_CODE('1', '1', '0')
#define ERRCODE_TX_INPUT_TOO_LARGE			TX_CODE('1', '1', '1')
#define ERRCODE_TX_NOT_QUALIFIED			TX_CODE('1', '1', '2')
#define ERRCODE_TX_PERFORMER_BLOCKED		TX_CODE('1', '1', '3')
#define ERRCODE_TX_RESULT_INVALID			TX_CODE('1', '1', '4')
#define ERRCODE_TX_UNKNOWN_QUALIFICATION	TX_CODE('1', '1', '5')
#define ERRCODE_TX_QUALIFICATION_REFUSED	TX_CODE('1', '1', '6')
#define ERRCODE_TX_UNKNOWN_POLICY			TX_CODE('1', '1', '7')
#define ERRCODE_TX_UNKNOWN_TEMPLATE			TX_CODE('1', '1', '8')
#define ERRCODE_TX_UNKNOWN_DISPUTE			TX_CODE('1', '1', '9')
#define ERRCODE_TX_UNKNOWN_SEARCH			TX_CODE('1', '2', '0')
#define ERRCODE_TX_UNKNOWN_ATTACHMENT		TX_CODE('1', '2', '1')
#define ERRCODE_TX_TOO_LATE					TX_CODE('1', '2', '2')
#define ERRCODE_TX_INSUFFICIENT_FUNDS		TX_CODE('2', '0', '1')
#define ERRCODE_TX_AMOUNT_OUT_OF_RANGE		TX_CODE('2', '0', '2')
#define ERRCODE_TX_BUDGET_EXCEEDED			TX_CODE('2', '0', '3')
#define ERRCODE_TX_UNKNOWN_PAYOUT			TX_CODE('2', '0', '4')
#define ERRCODE_TX_UNKNOWN_BUDGET			TX_CODE('2', '0', '5')
#define ERRCODE_TX_UNKNOWN_FEE				TX_CODE('2', '0', '6')
#define ERRCODE_TX_EVENT_GONE				TX_CODE('3', '0', '1')
#define ERRCODE_TX_NOT_SUBSCRIBED			TX_CODE('3', '0', '2')
#define ERRCODE_TX_UNKNOWN_GROUP			TX_CODE('4', '0', '1')
#define ERRCODE_TX_DEFAULT_GROUP			TX_CODE('4', '0', '2')
#define ERRCODE_TX_EXCLUSIVE_SUPPLY			TX_CODE('4', '0', '3')
#define ERRCODE_TX_UNKNOWN_INTENTION		TX_CODE('4', '1', '0')
#define ERRCODE_TX_UNKNOWN_LAYOUT			TX_CODE('4', '1', '9')
/* TX5xx: moves of users between storage partitions */
#define ERRCODE_TX_UNKNOWN_MIGRATION		TX_CODE('5', '0', '0')
#define ERRCODE_TX_ALREADY_MOVING			TX_CODE('5', '0', '1')
#define ERRCODE_TX_LIVES_THERE				TX_CODE('5', '0', '2')
#define ERRCODE_TX_UNKNOWN_FITNESS			TX_CODE('5', '1', '0')
#define ERRCODE_TX_UNKNOWN_FACTOR			TX_CODE('5', '1', '1')
#define ERRCODE_TX_FACTOR_FAILED			TX_CODE('5', '1', '2')
#define ERRCODE_TX_NO_SUITABLE_PARTITION	TX_CODE('5', '1', '3')
#define ERRCODE_TX_NO_SCHEDULER				TX_CODE('5', '1', '4')
#define ERRCODE_TX_IDENTITY_CONFLICT		TX_CODE('5', '2', '0')
#define ERRCODE_TX_NOT_ANONYMOUS			TX_CODE('5', '2', '1')
#define ERRCODE_TX_ALREADY_IDENTIFIED		TX_CODE('5', '2', '2')
#define ERRCODE_TX_USER_BUSY				TX_CODE('5', '2', '3')
#define ERRCODE_TX_TOO_MANY_ANONYMOUS		TX_CODE('5', '2', '4')
#define ERRCODE_TX_UNKNOWN_RUN				TX_CODE('6', '0', '0')
#define ERRCODE_TX_RUN_FAILED				TX_CODE('6', '0', '1')
#define ERRCODE_TX_UNKNOWN_ENVIRONMENT		TX_CODE('6', '2', '0')
#define ERRCODE_TX_ENVIRONMENT_RETIRED		TX_CODE('6', '2', '1')
#define ERRCODE_TX_UNKNOWN_PROGRAM			TX_CODE('6', '2', '2')
#define ERRCODE_TX_RUN_TIMEOUT				TX_CODE('6', '3', '0')
#define ERRCODE_TX_RESULT_TOO_LARGE			TX_CODE('6', '3', '1')
#define ERRCODE_TX_ROWS_LIMIT_EXCEEDED		TX_CODE('6', '3', '2')
#define ERRCODE_TX_EXECUTOR_FAILED			TX_CODE('6', '3', '5')
#define ERRCODE_TX_NO_EXECUTOR_ROLE			TX_CODE('6', '3', '6')
#define ERRCODE_TX_SERVER_ENVIRONMENT		TX_CODE('6', '3', '7')
#define ERRCODE_TX_CODE_INVALID				TX_CODE('6', '3', '8')
#define ERRCODE_TX_DATA_UNAVAILABLE			TX_CODE('6', '3', '9')
#define ERRCODE_TX_STALE_EPOCH				TX_CODE('6', '6', '0')
#define ERRCODE_TX_NOT_MEASURED				TX_CODE('6', '6', '1')
/* TX64x: billing */
#define ERRCODE_TX_CREDIT_EXHAUSTED			TX_CODE('6', '4', '0')
#define ERRCODE_TX_RUN_BUDGET_EXCEEDED		TX_CODE('6', '4', '1')
#define ERRCODE_TX_UNKNOWN_METER			TX_CODE('6', '4', '2')
#define ERRCODE_TX_UNKNOWN_RATE				TX_CODE('6', '4', '3')
#define ERRCODE_TX_UNKNOWN_USAGE			TX_CODE('6', '4', '4')
#define ERRCODE_TX_UNKNOWN_INVOICE			TX_CODE('6', '4', '5')
#define ERRCODE_TX_INVOICES_CLOSED			TX_CODE('6', '4', '6')
#define ERRCODE_TX_NOT_EXECUTED				TX_CODE('6', '6', '2')
#define ERRCODE_TX_RUN_SUSPENDED			TX_CODE('6', '6', '3')

typedef struct TxError
{
	int			sqlerrcode;
	const char *name;			/* as in taskex.errors and in the docs */
	const char *description;
	const char *hint;			/* for errors that give none of their own; NULL: none */
} TxError;

extern const TxError tx_errors[];
extern const int tx_errors_count;

/* the hint of the table, or NULL */
extern const char *tx_errhint(int sqlerrcode);

/*
 * In place of errcode() in ereport(), for codes of this class: sets the hint of
 * the table, too. An errhint() after it takes its place.
 */
extern int	tx_errcode(int sqlerrcode);

#endif							/* TASKEX_ERRCODES_H */
