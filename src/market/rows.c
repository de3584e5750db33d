/*
 * rows.c
 *	  The market's partitioned tables, column by column, for infra/child.h.
 */
#include "postgres.h"

#include "market/rows.h"

static const char *const task_columns[TASK_COLUMNS] = {
	"partition_id", "performers", "task_id", "task_type_id", "requester_id",
	"reward", "fee", "created_at", "expires_at", "live", "judged", "released",
	"min_performers", "wanted", "target", "confidence", "state", "consensus", "input",
	"answer", "tally", "known_answer", "match", "annotation", "reviewing"
};

const ChildTable task_table = {
	"task", TASK_COLUMNS, task_columns,
	2, {[TASK_BY_ID] = {TASK_TASK_ID}, [TASK_BY_TYPE] = {TASK_TASK_TYPE_ID, TASK_TASK_ID}}
};

static const char *const assignment_columns[ASSIGNMENT_COLUMNS] = {
	"partition_id", "assignment_id", "performer_id", "task_id", "task_type_id",
	"requester_id", "reward", "lease_token", "accepted_at", "lease_until",
	"finished_at", "group_lease_id", "counted", "state"
};

const ChildTable assignment_table = {
	"assignment", ASSIGNMENT_COLUMNS, assignment_columns,
	2, {[ASSIGNMENT_BY_ID] = {ASSIGNMENT_ASSIGNMENT_ID},
	[ASSIGNMENT_BY_PERFORMER] = {ASSIGNMENT_PERFORMER_ID, ASSIGNMENT_TASK_ID}},
	.found_again = true
};

static const char *const result_columns[RESULT_COLUMNS] = {
	"partition_id", "assignment_id", "task_id", "task_type_id", "requester_id",
	"performer_id", "submitted_at", "auto_approve_at", "judged_at", "judged_by",
	"reliability", "reopened", "state", "feedback", "result"
};

const ChildTable result_table = {
	"result", RESULT_COLUMNS, result_columns,
	2, {[RESULT_BY_ID] = {RESULT_ASSIGNMENT_ID}, [RESULT_BY_TASK] = {RESULT_TASK_ID}}
};

static const char *const reliability_columns[RELIABILITY_COLUMNS] = {
	"partition_id", "performer_id", "task_type_id", "version", "agreed", "compared",
	"last_at"
};

const ChildTable reliability_table = {
	"reliability", RELIABILITY_COLUMNS, reliability_columns,
	1, {{RELIABILITY_PERFORMER_ID, RELIABILITY_TASK_TYPE_ID}}
};
