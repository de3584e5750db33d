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
	{ERRCODE_TX_NOT_LOADED, "not_loaded",
	"the server runs without taskex in shared_preload_libraries",
	"Add taskex to shared_preload_libraries and restart the server."},
	{ERRCODE_TX_UNKNOWN_USER, "unknown_user",
	"no user has this login",
	"The view taskex.users lists those you may see; taskex.register_user() registers users."},
	{ERRCODE_TX_DUPLICATE_LOGIN, "duplicate_login",
	"the login is registered already, or reserved",
	"Choose another login; taskex.route() returns the id of a user who is registered."},
	{ERRCODE_TX_UNKNOWN_PARTITION, "unknown_partition",
	"no storage partition has this name",
	"The view taskex.partitions lists them; taskex.add_partition() makes one."},
	{ERRCODE_TX_PARTITION_NOT_ACTIVE, "partition_not_active",
	"the storage partition takes no new users, or there is none that does",
	"The view taskex.partitions shows their states; taskex.resume_partition() and taskex.resume_node() make them active."},
	{ERRCODE_TX_UNKNOWN_NODE, "unknown_node",
	"no node has this name",
	"The view taskex.nodes lists them; taskex.add_node() adds one."},
	{ERRCODE_TX_OTHER_NODE, "other_node",
	"the user or partition is on another node",
	"Connect to that node; taskex.locate() tells where a user lives, the view taskex.partitions where a storage partition is."},
	{ERRCODE_TX_DUPLICATE_NAME, "duplicate_name",
	"something of this kind with this name exists",
	"Choose another name."},
	{ERRCODE_TX_STILL_IN_USE, "still_in_use",
	"the node or partition still has something on it",
	"Move or remove what is still there first."},
	/* TX1xx: tasks and assignments */
	{ERRCODE_TX_UNKNOWN_TASK_TYPE, "unknown_task_type",
	"no task type has this id",
	"The view taskex.task_types lists them; taskex.create_task_type() makes one."},
	{ERRCODE_TX_UNKNOWN_TASK, "unknown_task",
	"no task has this id, or it is somebody else's",
	"taskex.list_tasks() lists a requester's tasks, taskex.search_tasks() those that a performer can take."},
	{ERRCODE_TX_UNKNOWN_ASSIGNMENT, "unknown_assignment",
	"no assignment has this id, or it is somebody else's",
	"taskex.list_assignments() lists the assignments of a requester's task, the view taskex.assignments those of performers."},
	{ERRCODE_TX_TASK_NOT_AVAILABLE, "task_not_available",
	"the task is taken, closed or past its expiry",
	"taskex.search_tasks() finds tasks that are available; taskex.accept_next() takes one."},
	{ERRCODE_TX_OWN_TASK, "own_task",
	"a requester cannot perform his own task",
	"Another user performs it; taskex.accept_next() passes a performer's own tasks by."},
	{ERRCODE_TX_ALREADY_ASSIGNED, "already_assigned",
	"the performer had this task before",
	"taskex.accept_next() takes a task that the performer has not had; the view taskex.assignments shows those that he has."},
	{ERRCODE_TX_LEASE_EXPIRED, "lease_expired",
	"the lease on the assignment has run out",
	"Take the work anew; a lease is made longer before it ends."},
	{ERRCODE_TX_STALE_TOKEN, "stale_token",
	"the lease token is not that of the present lease",
	"Use the lease_token that came with the work when it was last taken."},
	{ERRCODE_TX_WRONG_STATE, "wrong_state",
	"the task, assignment or other thing is not in a state that allows this",
	NULL},
	{ERRCODE_TX_IDEMPOTENCY_MISMATCH, "idempotency_mismatch",
	"the idempotency key or reference was used for something else",
	"Use a new key or reference for something new."},
	{ERRCODE_TX_INPUT_TOO_LARGE, "input_too_large",
	"an input, result or profile is larger than taskex.max_input_size",
	"Store large data elsewhere and refer to them, or raise taskex.max_input_size."},
	{ERRCODE_TX_NOT_QUALIFIED, "not_qualified",
	"the performer lacks a qualification that the task requires",
	"taskex.check_qualifications() shows all requirements of a task type."},
	{ERRCODE_TX_PERFORMER_BLOCKED, "performer_blocked",
	"the performer is blocked by the requester, or suspended by the exchange",
	"The view taskex.blocks lists blocks; taskex.unblock_performer() takes one of a requester back, taskex.resume_performer() one of the exchange."},
	{ERRCODE_TX_RESULT_INVALID, "result_invalid",
	"the result is not of the format that the task type asks for",
	"taskex.validate_result() tells of a result what is wrong with it."},
	{ERRCODE_TX_UNKNOWN_QUALIFICATION, "unknown_qualification",
	"no qualification, or request of one, has this name or id",
	"The view taskex.qualifications lists them."},
	{ERRCODE_TX_QUALIFICATION_REFUSED, "qualification_refused",
	"the qualification cannot be requested now",
	"The view taskex.qualifications shows how a qualification is requested."},
	{ERRCODE_TX_UNKNOWN_POLICY, "unknown_policy",
	"no review policy has this id, or it is somebody else's",
	"The view taskex.policies lists them; taskex.create_policy() makes one."},
	{ERRCODE_TX_UNKNOWN_TEMPLATE, "unknown_template",
	"the requester has no template of this name",
	"The view taskex.templates lists them; taskex.create_template() makes one."},
	{ERRCODE_TX_UNKNOWN_DISPUTE, "unknown_dispute",
	"no dispute has this id, or it is somebody else's",
	"The view taskex.disputes lists them."},
	{ERRCODE_TX_UNKNOWN_SEARCH, "unknown_search",
	"the performer has saved no search of this name",
	"The view taskex.saved_searches lists them; taskex.save_search() keeps one."},
	{ERRCODE_TX_UNKNOWN_ATTACHMENT, "unknown_attachment",
	"no attachment has this name",
	"taskex.attachments() lists them."},
	{ERRCODE_TX_TOO_LATE, "too_late",
	"the time in which this could be done is over",
	"taskex.dispute_period and taskex.override_period are the times in which rejections can be changed."},
	/* TX2xx: money */
	{ERRCODE_TX_INSUFFICIENT_FUNDS, "insufficient_funds",
	"the available balance does not cover the amount",
	"Use taskex.deposit() to bring money in, or wait until held money is released."},
	{ERRCODE_TX_AMOUNT_OUT_OF_RANGE, "amount_out_of_range",
	"an amount of money is negative, too large or finer than a nano-unit",
	"Amounts of money are below 9000000000 and have at most 9 decimals."},
	{ERRCODE_TX_BUDGET_EXCEEDED, "budget_exceeded",
	"the amount is more than what is left of the requester's budget",
	"Use taskex.set_budget() to raise the budget, or wait until held money is released."},
	{ERRCODE_TX_UNKNOWN_PAYOUT, "unknown_payout",
	"no payout has this reference",
	"The view taskex.payouts lists them; taskex.create_payout() makes one."},
	{ERRCODE_TX_UNKNOWN_BUDGET, "unknown_budget",
	"the requester has no such budget",
	"The views taskex.budgets and taskex.run_budgets list them."},
	{ERRCODE_TX_UNKNOWN_FEE, "unknown_fee",
	"no rule of fees has this id",
	"The view taskex.fee_rules lists them; taskex.set_fee() makes one."},
	/* TX3xx: events */
	{ERRCODE_TX_EVENT_GONE, "event_gone",
	"events after this one are older than taskex.event_retention",
	"Look at the views for what happened meanwhile, and go on after the last event that is gone."},
	{ERRCODE_TX_NOT_SUBSCRIBED, "not_subscribed",
	"the user has no subscription to events",
	"Use taskex.subscribe() first; the view taskex.subscriptions lists the subscriptions."},
	/* TX4xx: supplies of groups of performers */
	{ERRCODE_TX_UNKNOWN_GROUP, "unknown_group",
	"no group of performers has this name",
	"The view taskex.performer_groups lists them; taskex.create_group() makes one."},
	{ERRCODE_TX_DEFAULT_GROUP, "default_group",
	"this cannot be done to the group of a storage partition",
	"Make a group with taskex.create_group()."},
	{ERRCODE_TX_EXCLUSIVE_SUPPLY, "exclusive_supply",
	"the task is kept for another group of performers",
	"taskex.accept_next() takes a task that is available."},
	{ERRCODE_TX_UNKNOWN_INTENTION, "unknown_intention",
	"the performer has no intention of this number",
	"The view taskex.intentions lists them; taskex.declare_intention() makes one."},
	{ERRCODE_TX_UNKNOWN_LAYOUT, "unknown_layout",
	"the requester has no layout of this name",
	"The view taskex.layouts lists them; taskex.create_layout() makes one."},
	/* TX5xx: moves of users between storage partitions */
	{ERRCODE_TX_UNKNOWN_MIGRATION, "unknown_migration",
	"no migration has this id",
	"The view taskex.migrations lists them."},
	{ERRCODE_TX_ALREADY_MOVING, "already_moving",
	"the user has another migration that has not moved him yet",
	"Let the other migration end, or cancel it with taskex.cancel_migration()."},
	{ERRCODE_TX_LIVES_THERE, "lives_there",
	"the user lives on the storage partition already",
	"The view taskex.users shows where users live."},
	{ERRCODE_TX_UNKNOWN_FITNESS, "unknown_fitness",
	"no fitness function has this name",
	"The view taskex.fitnesses lists them; taskex.set_fitness() makes one."},
	{ERRCODE_TX_UNKNOWN_FACTOR, "unknown_factor",
	"no factor of fitness has this name",
	"The view taskex.factors lists them; taskex.add_factor() adds one."},
	{ERRCODE_TX_FACTOR_FAILED, "factor_failed",
	"the function of a factor of fitness gives no number between 0 and 1",
	"Change the function, or give the fitness functions that have its factor other weights with taskex.set_fitness()."},
	{ERRCODE_TX_NO_SUITABLE_PARTITION, "no_suitable_partition",
	"no storage partition has what the user's profile requires",
	"The view taskex.partitions shows tiers and locations; taskex.score_partitions() tells why each is excluded."},
	{ERRCODE_TX_NO_SCHEDULER, "no_scheduler",
	"pg_cron is not installed in the database",
	"Use CREATE EXTENSION pg_cron in the database that cron.database_name names."},
	{ERRCODE_TX_IDENTITY_CONFLICT, "identity_conflict",
	"what an anonymous user has done does not go together with what the known one has",
	"He stays anonymous, and nothing has changed."},
	{ERRCODE_TX_NOT_ANONYMOUS, "not_anonymous",
	"a user who is not anonymous was to be identified, or somebody as one who is",
	"taskex.start_anonymous() makes anonymous users; the view taskex.anonymous_users lists them."},
	{ERRCODE_TX_ALREADY_IDENTIFIED, "already_identified",
	"the anonymous user has been identified, and has that login no more",
	"Use the login that he has now."},
	{ERRCODE_TX_USER_BUSY, "user_busy",
	"others are at work with what an anonymous user has; to be tried again",
	"Try again when they have ended."},
	{ERRCODE_TX_TOO_MANY_ANONYMOUS, "too_many_anonymous",
	"the role has as many anonymous users as it may",
	"Identify those that are there, or raise taskex.anonymous_limit."},
	/* TX6xx: programs that are queued and run */
	{ERRCODE_TX_UNKNOWN_RUN, "unknown_run",
	"the run does not exist, or is not one of the user's",
	"The view taskex.runs lists them; taskex.submit_run() makes one."},
	{ERRCODE_TX_RUN_FAILED, "run_failed",
	"the run has ended without a result",
	"The view taskex.run_attempts tells what each attempt came to."},
	{ERRCODE_TX_UNKNOWN_ENVIRONMENT, "unknown_environment",
	"no environment has this name",
	"The view taskex.environments lists them; taskex.create_environment() makes one."},
	{ERRCODE_TX_ENVIRONMENT_RETIRED, "environment_retired",
	"the environment takes no new runs",
	"taskex.resume_environment() takes it into use again; the view taskex.environments lists others."},
	{ERRCODE_TX_UNKNOWN_PROGRAM, "unknown_program",
	"the user can run no program of this name and version",
	"The view taskex.programs lists them; a public program of another user is called \"owner/name\"."},
	{ERRCODE_TX_RUN_TIMEOUT, "run_timeout",
	"the run took longer than it may",
	"Let the code do less, split the run, or raise the option \"timeout\" of the run or of its environment's limits."},
	{ERRCODE_TX_RESULT_TOO_LARGE, "result_too_large",
	"the result of the run is larger than its environment allows",
	"Store large results in a table or a large object, and return where they are."},
	{ERRCODE_TX_ROWS_LIMIT_EXCEEDED, "rows_limit_exceeded",
	"the run processed more rows than its environment allows",
	"Let the code do less, split the run, or raise \"rows\" of the environment's limits with taskex.alter_environment()."},
	{ERRCODE_TX_EXECUTOR_FAILED, "executor_failed",
	"no executor can be made ready: its libraries or its set-up fail",
	"The view taskex.executors and the server's log tell what failed; taskex.alter_environment() changes libraries and set-up."},
	{ERRCODE_TX_NO_EXECUTOR_ROLE, "no_executor_role",
	"the customer has no database role that executors can log in as",
	"Name a role that may log in with taskex.update_user(), key \"db_role\"."},
	{ERRCODE_TX_SERVER_ENVIRONMENT, "server_environment",
	"executors of the server run the environment's code, not workers outside",
	"Submit runs with taskex.submit_run() and let executors run them; workers outside pull from environments of the language \"external\"."},
	{ERRCODE_TX_CODE_INVALID, "code_invalid",
	"the code does not compile in its environment's language",
	"Correct the code."},
	{ERRCODE_TX_DATA_UNAVAILABLE, "data_unavailable",
	"what the run's data_ref points to is not what it should be",
	"Correct data_ref, and what it points to."},
	{ERRCODE_TX_STALE_EPOCH, "stale_epoch",
	"the user's data are not where they were any more",
	"taskex.locate() tells where he lives now, and in which epoch."},
	{ERRCODE_TX_NOT_MEASURED, "not_measured",
	"nothing is known of what the program takes",
	"taskex.measure_program() runs it on some inputs."},
	{ERRCODE_TX_CREDIT_EXHAUSTED, "credit_exhausted",
	"what the customer has paid in, and his credit, are used up",
	"Use taskex.deposit() to bring money in; an operator can raise the credit limit with taskex.set_credit_limit()."},
	{ERRCODE_TX_RUN_BUDGET_EXCEEDED, "run_budget_exceeded",
	"a budget for runs is used up",
	"Use taskex.set_run_budget() to raise it, or wait for its next period."},
	{ERRCODE_TX_UNKNOWN_METER, "unknown_meter",
	"no meter has this name",
	"The view taskex.meters lists them."},
	{ERRCODE_TX_UNKNOWN_RATE, "unknown_rate",
	"there is no rate for this",
	"The view taskex.rates lists them; an operator sets rates with taskex.set_rate()."},
	{ERRCODE_TX_UNKNOWN_USAGE, "unknown_usage",
	"no usage has this id",
	"The view taskex.usage lists them."},
	{ERRCODE_TX_UNKNOWN_INVOICE, "unknown_invoice",
	"no invoice has this id",
	"The view taskex.invoices lists them."},
	{ERRCODE_TX_INVOICES_CLOSED, "invoices_closed",
	"invoices are closed up to a later time",
	"Usage that came late is on the next invoice."},
	{ERRCODE_TX_NOT_EXECUTED, "not_executed",
	"the caller is not the code of a run that an executor runs",
	"Workers outside give the run's id and lease_token."},
	{ERRCODE_TX_RUN_SUSPENDED, "run_suspended",
	"the run stops at this checkpoint, because it was asked to",
	"Let the code end here; taskex.resume_run() has it go on."},
};

const int	tx_errors_count = lengthof(tx_errors);

const char *
tx_errhint(int sqlerrcode)
{
	for (int i = 0; i < tx_errors_count; i++)
		if (tx_errors[i].sqlerrcode == sqlerrcode)
			return tx_errors[i].hint;
	return NULL;
}

int
tx_errcode(int sqlerrcode)
{
	const char *hint = tx_errhint(sqlerrcode);

	if (hint)
		errhint("%s", hint);
	return errcode(sqlerrcode);
}

PG_FUNCTION_INFO_V1(taskex_errors);

/* errors() -> setof (sqlstate, name, description, hint) */
Datum
taskex_errors(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < tx_errors_count; i++)
	{
		Datum		values[4];
		bool		nulls[4] = {false, false, false, tx_errors[i].hint == NULL};

		values[0] = CStringGetTextDatum(unpack_sql_state(tx_errors[i].sqlerrcode));
		values[1] = CStringGetTextDatum(tx_errors[i].name);
		values[2] = CStringGetTextDatum(tx_errors[i].description);
		values[3] = nulls[3] ? (Datum) 0 : CStringGetTextDatum(tx_errors[i].hint);
		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(taskex_fail);

/*
 * _taskex.fail(name, message, detail, hint): raises an error of the table
 * above from SQL, so that PL/pgSQL spells no SQLSTATE of its own. Without a
 * hint it has that of the table.
 */
Datum
taskex_fail(PG_FUNCTION_ARGS)
{
	const char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	const char *message = text_to_cstring(PG_GETARG_TEXT_PP(1));

	for (int i = 0; i < tx_errors_count; i++)
		if (strcmp(tx_errors[i].name, name) == 0)
			ereport(ERROR,
					(tx_errcode(tx_errors[i].sqlerrcode),
					 errmsg("%s", message),
					 PG_ARGISNULL(2) ? 0 : errdetail("%s", text_to_cstring(PG_GETARG_TEXT_PP(2))),
					 PG_ARGISNULL(3) ? 0 : errhint("%s", text_to_cstring(PG_GETARG_TEXT_PP(3)))));
	elog(ERROR, "no error is named \"%s\"", name);
}
