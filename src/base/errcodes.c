/*
 * errcodes.c
 *	  The table of SQLSTATEs of class TX, and its SQL face.
 */
#include "postgres.h"

#include "base/errcodes.h"

#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

const TxError tx_errors[] = {
	/* TX0xx: the exchange, its users and where they live */
	{ERRCODE_TX_NOT_LOADED, "not_loaded", "the server runs without taskex in shared_preload_libraries"},
	{ERRCODE_TX_UNKNOWN_USER, "unknown_user", "no user has this login"},
	{ERRCODE_TX_DUPLICATE_LOGIN, "duplicate_login", "the login is registered already, or reserved"},
	{ERRCODE_TX_UNKNOWN_PARTITION, "unknown_partition", "no storage partition has this name"},
	{ERRCODE_TX_PARTITION_NOT_ACTIVE, "partition_not_active", "the storage partition takes no new users, or there is none that does"},
	{ERRCODE_TX_UNKNOWN_NODE, "unknown_node", "no node has this name"},
	{ERRCODE_TX_OTHER_NODE, "other_node", "the user or partition is on another node"},
	{ERRCODE_TX_DUPLICATE_NAME, "duplicate_name", "something of this kind with this name exists"},
	{ERRCODE_TX_STILL_IN_USE, "still_in_use", "the node or partition still has something on it"},
	/* TX1xx: tasks and assignments */
	{ERRCODE_TX_UNKNOWN_TASK_TYPE, "unknown_task_type", "no task type has this id"},
	{ERRCODE_TX_UNKNOWN_TASK, "unknown_task", "no task has this id, or it is somebody else's"},
	{ERRCODE_TX_UNKNOWN_ASSIGNMENT, "unknown_assignment", "no assignment has this id, or it is somebody else's"},
	{ERRCODE_TX_TASK_NOT_AVAILABLE, "task_not_available", "the task is taken, closed or past its expiry"},
	{ERRCODE_TX_OWN_TASK, "own_task", "a requester cannot perform his own task"},
	{ERRCODE_TX_ALREADY_ASSIGNED, "already_assigned", "the performer had this task before"},
	{ERRCODE_TX_LEASE_EXPIRED, "lease_expired", "the lease on the assignment has run out"},
	{ERRCODE_TX_STALE_TOKEN, "stale_token", "the lease token is not that of the present lease"},
	{ERRCODE_TX_WRONG_STATE, "wrong_state", "the task, assignment or other thing is not in a state that allows this"},
	{ERRCODE_TX_IDEMPOTENCY_MISMATCH, "idempotency_mismatch", "the idempotency key or reference was used for something else"},
	{ERRCODE_TX_INPUT_TOO_LARGE, "input_too_large", "an input, result or profile is larger than taskex.max_input_size"},
	{ERRCODE_TX_NOT_QUALIFIED, "not_qualified", "the performer lacks a qualification that the task requires"},
	{ERRCODE_TX_PERFORMER_BLOCKED, "performer_blocked", "the performer is blocked by the requester, or suspended by the exchange"},
	{ERRCODE_TX_RESULT_INVALID, "result_invalid", "the result is not of the format that the task type asks for"},
	{ERRCODE_TX_UNKNOWN_QUALIFICATION, "unknown_qualification", "no qualification, or request of one, has this name or id"},
	{ERRCODE_TX_QUALIFICATION_REFUSED, "qualification_refused", "the qualification cannot be requested now"},
	{ERRCODE_TX_UNKNOWN_POLICY, "unknown_policy", "no review policy has this id, or it is somebody else's"},
	{ERRCODE_TX_UNKNOWN_TEMPLATE, "unknown_template", "the requester has no template of this name"},
	{ERRCODE_TX_UNKNOWN_DISPUTE, "unknown_dispute", "no dispute has this id, or it is somebody else's"},
	{ERRCODE_TX_UNKNOWN_SEARCH, "unknown_search", "the performer has saved no search of this name"},
	{ERRCODE_TX_UNKNOWN_ATTACHMENT, "unknown_attachment", "no attachment has this name"},
	{ERRCODE_TX_TOO_LATE, "too_late", "the time in which this could be done is over"},
	/* TX2xx: money */
	{ERRCODE_TX_INSUFFICIENT_FUNDS, "insufficient_funds", "the available balance does not cover the amount"},
	{ERRCODE_TX_AMOUNT_OUT_OF_RANGE, "amount_out_of_range", "an amount of money is negative, too large or finer than a nano-unit"},
	{ERRCODE_TX_BUDGET_EXCEEDED, "budget_exceeded", "the amount is more than what is left of the requester's budget"},
	{ERRCODE_TX_UNKNOWN_PAYOUT, "unknown_payout", "no payout has this reference"},
	{ERRCODE_TX_UNKNOWN_BUDGET, "unknown_budget", "the requester has no such budget"},
	{ERRCODE_TX_UNKNOWN_FEE, "unknown_fee", "no rule of fees has this id"},
	/* TX3xx: events */
	{ERRCODE_TX_EVENT_GONE, "event_gone", "events after this one are older than taskex.event_retention"},
	{ERRCODE_TX_NOT_SUBSCRIBED, "not_subscribed", "the user has no subscription to events"},
	/* TX4xx: supplies of groups of performers */
	{ERRCODE_TX_UNKNOWN_GROUP, "unknown_group", "no group of performers has this name"},
	{ERRCODE_TX_DEFAULT_GROUP, "default_group", "this cannot be done to the group of a storage partition"},
	{ERRCODE_TX_EXCLUSIVE_SUPPLY, "exclusive_supply", "the task is kept for another group of performers"},
	{ERRCODE_TX_UNKNOWN_INTENTION, "unknown_intention", "the performer has no intention of this number"},
	{ERRCODE_TX_UNKNOWN_LAYOUT, "unknown_layout", "the requester has no layout of this name"},
	/* TX5xx: moves of users between storage partitions */
	{ERRCODE_TX_UNKNOWN_MIGRATION, "unknown_migration", "no migration has this id"},
	{ERRCODE_TX_ALREADY_MOVING, "already_moving", "the user has another migration that has not moved him yet"},
	{ERRCODE_TX_LIVES_THERE, "lives_there", "the user lives on the storage partition already"},
	{ERRCODE_TX_UNKNOWN_FITNESS, "unknown_fitness", "no fitness function has this name"},
	{ERRCODE_TX_UNKNOWN_FACTOR, "unknown_factor", "no factor of fitness has this name"},
	{ERRCODE_TX_FACTOR_FAILED, "factor_failed", "the function of a factor of fitness gives no number between 0 and 1"},
	{ERRCODE_TX_NO_SUITABLE_PARTITION, "no_suitable_partition", "no storage partition has what the user's profile requires"},
	{ERRCODE_TX_NO_SCHEDULER, "no_scheduler", "pg_cron is not installed in the database"},
	{ERRCODE_TX_IDENTITY_CONFLICT, "identity_conflict",
	"what an anonymous user has done does not go together with what the known one has"},
	{ERRCODE_TX_NOT_ANONYMOUS, "not_anonymous",
	"a user who is not anonymous was to be identified, or somebody as one who is"},
	{ERRCODE_TX_ALREADY_IDENTIFIED, "already_identified",
	"the anonymous user has been identified, and has that login no more"},
	{ERRCODE_TX_USER_BUSY, "user_busy",
	"others are at work with what an anonymous user has; to be tried again"},
	{ERRCODE_TX_TOO_MANY_ANONYMOUS, "too_many_anonymous",
	"the role has as many anonymous users as it may"},
	/* TX6xx: programs that are queued and run */
	{ERRCODE_TX_UNKNOWN_RUN, "unknown_run", "the run does not exist, or is not one of the user's"},
	{ERRCODE_TX_RUN_FAILED, "run_failed", "the run has ended without a result"},
	{ERRCODE_TX_UNKNOWN_ENVIRONMENT, "unknown_environment", "no environment has this name"},
	{ERRCODE_TX_ENVIRONMENT_RETIRED, "environment_retired", "the environment takes no new runs"},
	{ERRCODE_TX_UNKNOWN_PROGRAM, "unknown_program", "the user can run no program of this name and version"},
	{ERRCODE_TX_RUN_TIMEOUT, "run_timeout", "the run took longer than it may"},
	{ERRCODE_TX_RESULT_TOO_LARGE, "result_too_large", "the result of the run is larger than its environment allows"},
	{ERRCODE_TX_ROWS_LIMIT_EXCEEDED, "rows_limit_exceeded", "the run processed more rows than its environment allows"},
	{ERRCODE_TX_EXECUTOR_FAILED, "executor_failed", "no executor can be made ready: its libraries or its set-up fail"},
	{ERRCODE_TX_NO_EXECUTOR_ROLE, "no_executor_role", "the customer has no database role that executors can log in as"},
	{ERRCODE_TX_SERVER_ENVIRONMENT, "server_environment", "executors of the server run the environment's code, not workers outside"},
	{ERRCODE_TX_CODE_INVALID, "code_invalid", "the code does not compile in its environment's language"},
	{ERRCODE_TX_DATA_UNAVAILABLE, "data_unavailable", "what the run's data_ref points to is not what it should be"},
	{ERRCODE_TX_STALE_EPOCH, "stale_epoch", "the user's data are not where they were any more"},
	{ERRCODE_TX_NOT_MEASURED, "not_measured", "nothing is known of what the program takes"},
	{ERRCODE_TX_CREDIT_EXHAUSTED, "credit_exhausted", "what the customer has paid in, and his credit, are used up"},
	{ERRCODE_TX_RUN_BUDGET_EXCEEDED, "run_budget_exceeded", "a budget for runs is used up"},
	{ERRCODE_TX_UNKNOWN_METER, "unknown_meter", "no meter has this name"},
	{ERRCODE_TX_UNKNOWN_RATE, "unknown_rate", "there is no rate for this"},
	{ERRCODE_TX_UNKNOWN_USAGE, "unknown_usage", "no usage has this id"},
	{ERRCODE_TX_UNKNOWN_INVOICE, "unknown_invoice", "no invoice has this id"},
	{ERRCODE_TX_INVOICES_CLOSED, "invoices_closed", "invoices are closed up to a later time"},
	{ERRCODE_TX_NOT_EXECUTED, "not_executed", "the caller is not the code of a run that an executor runs"},
	{ERRCODE_TX_RUN_SUSPENDED, "run_suspended", "the run stops at this checkpoint, because it was asked to"},
};

const int	tx_errors_count = lengthof(tx_errors);

PG_FUNCTION_INFO_V1(taskex_errors);

/* errors() -> setof (sqlstate, name, description) */
Datum
taskex_errors(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < tx_errors_count; i++)
	{
		Datum		values[3];
		bool		nulls[3] = {false, false, false};

		values[0] = CStringGetTextDatum(unpack_sql_state(tx_errors[i].sqlerrcode));
		values[1] = CStringGetTextDatum(tx_errors[i].name);
		values[2] = CStringGetTextDatum(tx_errors[i].description);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(taskex_fail);

/*
 * _taskex.fail(name, message, detail, hint): raises an error of the table
 * above from SQL, so that PL/pgSQL spells no SQLSTATE of its own.
 */
Datum
taskex_fail(PG_FUNCTION_ARGS)
{
	const char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *message = text_to_cstring(PG_GETARG_TEXT_PP(1));

	for (int i = 0; i < tx_errors_count; i++)
		if (strcmp(tx_errors[i].name, name) == 0)
			ereport(ERROR,
					(errcode(tx_errors[i].sqlerrcode),
					 errmsg("%s", message),
					 PG_ARGISNULL(2) ? 0 : errdetail("%s", text_to_cstring(PG_GETARG_TEXT_PP(2))),
					 PG_ARGISNULL(3) ? 0 : errhint("%s", text_to_cstring(PG_GETARG_TEXT_PP(3)))));
	elog(ERROR, "no error is named \"%s\"", name);
}
