/*
 * consensus.c
 *	  The answer of a task: its results combined as its consensus says.
 *
 * Whoever submits a result of such a task computes the answer in his
 * transaction, under the lock of the task's row, from all results: one that
 * submits at the same time waits, and then sees this one.  With a dynamic
 * plurality the task is decided as soon as the answer is sure enough: nobody
 * can accept it any more, and the money of its free slots goes back.  Until then
 * only so many slots are offered as are enough if all agree.
 */
#include "postgres.h"

#include <math.h>

#include "market/consensus.h"
#include "base/errcodes.h"
#include "journal/journal.h"
#include "ledger/ledger.h"
#include "market/market.h"
#include "market/match.h"
#include "market/rows.h"
#include "market/source.h"
#include "market/votes.h"
#include "truth/one_coin.h"

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

typedef enum Method
{
	METHOD_MAJORITY,
	METHOD_ONE_COIN,
	METHOD_MEAN,
	METHOD_MEDIAN,
	METHODS
} Method;

static const char *const method_names[METHODS] = {"majority", "one_coin", "mean", "median"};

/* the task whose row is locked, and what its results say */
typedef struct Ballot
{
	const UserHome *requester;
	int64		task_id;
	Child		tasks;			/* its row is in the slot */
	Child		results;
	Method		method;
	bool		open;
	bool		dynamic;
	bool		was_final;		/* all results, or enough, had come before */
	int32		remaining;		/* results that may still come */
	float8		target;			/* 0: none */
	Votes		votes;
	double	   *reliability;	/* of the performers of the votes, as known now */
	double	   *probability;	/* of the labels, or NULL */
	/* what comes of it */
	int			leader;			/* label of the answer, or -1 */
	int			needed;			/* further results for the leading label that are enough */
	bool		has_confidence;
	float8		confidence;
	bool		sure;			/* no further result is needed */
} Ballot;

/* ---- majorities ---- */

/* does a leader with so many of all votes have what is asked for? */
static bool
passes(const Ballot *ballot, int leader, int all)
{
	return ballot->target == 0 ? leader * 2 > all : leader >= ballot->target * all - 1e-9;
}

/*
 * Does the most frequent result stay the answer, whatever the others are that
 * may come after "more" of the same?
 */
static bool
unbeatable(const Ballot *ballot, int most, int second, int more)
{
	return most + more > second + ballot->remaining - more &&
		passes(ballot, most + more, ballot->votes.count + ballot->remaining);
}

/* how many more of the most frequent result make it unbeatable */
static int
majority_needed(const Ballot *ballot, int most, int second)
{
	int			needed = 0;

	while (needed < ballot->remaining && !unbeatable(ballot, most, second, needed))
		needed++;
	return needed;
}

/* ---- what the requester may ask for ---- */

static Method
method_of(const text *name)
{
	char	   *wanted = text_to_cstring(name);

	for (int method = 0; method < METHODS; method++)
		if (strcmp(wanted, method_names[method]) == 0)
			return method;
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("consensus \"%s\" is unknown", wanted),
			 errhint("It is majority, one_coin, mean or median, or NULL for none.")));
	return METHODS;				/* keep the compiler quiet */
}

static void
check_target(Method method, const ConsensusWish *wish)
{
	if (!(wish->target > 0 && wish->target <= 1) ||
		(method == METHOD_ONE_COIN && wish->target == 1))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("confidence must be greater than 0 and %s 1",
						method == METHOD_ONE_COIN ? "less than" : "at most"),
				 method == METHOD_ONE_COIN ?
				 errdetail("A posterior probability never is 1.") : 0));
}

void
consensus_check(ConsensusWish *wish)
{
	Method		method = wish->method ? method_of(wish->method) : METHODS;
	bool		votes = method == METHOD_MAJORITY || method == METHOD_ONE_COIN;

	if (wish->method && wish->performers > CONSENSUS_MAX_PERFORMERS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a task with a consensus can have at most %d performers", CONSENSUS_MAX_PERFORMERS),
				 errdetail("Each result is combined with all the others when it is submitted."),
				 errhint("Supply the task without one, and combine its results with taskex.infer_truth().")));
	if ((wish->min_performers != 0 || wish->target != 0) && !votes)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("min_performers and confidence need consensus majority or one_coin")));
	if (wish->target != 0)
		check_target(method, wish);
	else if (method == METHOD_ONE_COIN && wish->min_performers != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("min_performers with consensus one_coin needs a confidence"),
				 errhint("With 0.99, about one answer of a hundred is wrong if the model holds.")));
	if (method == METHOD_ONE_COIN && wish->target != 0 && wish->min_performers == 0)
		wish->min_performers = Min(ONE_COIN_MIN_LABELS, wish->performers);
	if (wish->min_performers < 0 || wish->min_performers > wish->performers)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("min_performers must be between 1 and performers")));
	wish->wanted = wish->min_performers;
	if (wish->wanted != 0 && method == METHOD_MAJORITY)
	{
		Ballot		empty = {.remaining = wish->performers,.target = wish->target};

		wish->wanted = Max(wish->wanted, majority_needed(&empty, 0, 0));
	}
}

int32
consensus_wanted(Child *tasks)
{
	bool		isnull;
	int32		wanted = DatumGetInt32(slot_getattr(tasks->slot, TASK_WANTED, &isnull));

	return isnull ? child_int32(tasks, TASK_PERFORMERS) : wanted;
}

bool
consensus_counts(Child *tasks)
{
	bool		isnull;

	/* results of golden tasks are compared with the known answer */
	if (child_int64(tasks, TASK_TASK_TYPE_ID) < 0)
		return true;
	(void) slot_getattr(tasks->slot, TASK_CONSENSUS, &isnull);
	return !isnull;
}

/* ---- reliabilities ---- */

static double
reliability_in(Child *rows, int64 performer, int64 task_type)
{
	int64		keys[2] = {performer, task_type};
	bool		isnull;

	if (!child_find(rows, 0, 2, keys))
		return one_coin_reliability(0, 0);
	return one_coin_reliability(DatumGetFloat8(slot_getattr(rows->slot, RELIABILITY_AGREED, &isnull)),
								DatumGetFloat8(slot_getattr(rows->slot, RELIABILITY_COMPARED, &isnull)));
}

double
consensus_reliability(const UserHome *performer, int64 task_type)
{
	Child		rows;
	double		reliability;

	child_open(&rows, &reliability_table, performer->partition);
	reliability = reliability_in(&rows, performer->user_id, task_type);
	child_close(&rows);
	return reliability;
}

/*
 * Of all that have submitted, as it is known now: who has turned out to be
 * wrong since counts for less.
 */
static void
read_reliabilities(Ballot *ballot)
{
	int64		task_type = Abs(child_int64(&ballot->tasks, TASK_TASK_TYPE_ID));
	Child		rows;
	int32		partition = -1;

	ballot->reliability = palloc(sizeof(double) * (ballot->votes.count + 1));
	for (int i = 0; i < ballot->votes.count; i++)
	{
		UserHome	performer;

		directory_home_by_id(ballot->votes.votes[i].performer_id, &performer);
		if (performer.partition != partition)
		{
			if (partition >= 0)
				child_close(&rows);
			partition = performer.partition;
			child_open(&rows, &reliability_table, partition);
		}
		ballot->reliability[i] = reliability_in(&rows, performer.user_id, task_type);
	}
	if (partition >= 0)
		child_close(&rows);
}

static OneCoinVotes
one_coin_votes(Ballot *ballot)
{
	int		   *labels = palloc(sizeof(int) * (ballot->votes.count + 1));
	OneCoinVotes votes = {.count = ballot->votes.count, .label = labels,
	.reliability = ballot->reliability, .seen = ballot->votes.nlabels};

	votes.possible = task_type_get(Abs(child_int64(&ballot->tasks, TASK_TASK_TYPE_ID)))->labels;

	for (int i = 0; i < ballot->votes.count; i++)
		labels[i] = ballot->votes.votes[i].label;
	return votes;
}

/* ---- methods ---- */

static void
count_majority(Ballot *ballot)
{
	const Votes *votes = &ballot->votes;
	int			leader = votes_leader(votes);
	int			most = 0;
	int			second = 0;

	for (int i = 0; i < votes->nlabels; i++)
	{
		if (votes->labels[i].votes > most)
		{
			second = most;
			most = votes->labels[i].votes;
		}
		else
			second = Max(second, votes->labels[i].votes);
	}
	ballot->needed = majority_needed(ballot, most, second);
	if (votes->count == 0)
		return;
	ballot->has_confidence = true;
	ballot->confidence = (double) most / votes->count;
	if (leader >= 0 && passes(ballot, most, votes->count))
		ballot->leader = leader;

	/*
	 * Whatever the results are that may still come: the leader stays where he
	 * is, or nobody gets there any more.
	 */
	ballot->sure = (ballot->leader >= 0 && unbeatable(ballot, most, second, 0)) ||
		!passes(ballot, most + ballot->remaining, votes->count + ballot->remaining);
}

/*
 * How reliable whoever comes next may be: as the best of those who were here, or
 * as one of whom nothing is known.
 */
static double
hoped_reliability(const Ballot *ballot)
{
	double		most = one_coin_reliability(0, 0);

	for (int i = 0; i < ballot->votes.count; i++)
		most = Max(most, ballot->reliability[i]);
	return most;
}

static void
weigh_one_coin(Ballot *ballot)
{
	OneCoinVotes votes;
	int			best = 0;
	int			equal = 0;

	if (ballot->votes.count == 0)
		return;
	read_reliabilities(ballot);
	votes = one_coin_votes(ballot);
	ballot->probability = palloc(sizeof(double) * votes.seen);
	one_coin_posterior(&votes, ballot->probability);
	for (int i = 1; i < votes.seen; i++)
		if (ballot->probability[i] > ballot->probability[best])
			best = i;
	for (int i = 0; i < votes.seen; i++)
		equal += ballot->probability[i] > ballot->probability[best] - 1e-12;
	ballot->leader = equal == 1 ? best : -1;
	ballot->has_confidence = true;
	ballot->confidence = ballot->probability[best];
	ballot->sure = ballot->target != 0 && ballot->confidence >= ballot->target;
	if (ballot->dynamic)
		ballot->needed = one_coin_needed(&votes, best, hoped_reliability(ballot), ballot->target, ballot->remaining);
}

/* ---- what others are told ---- */

static void
journal(int64 requester, int64 task_type, int64 task_id, const char *kind, int64 amount, Jsonb *detail)
{
	JournalAct	act = {.kind = kind, .requester_id = requester, .task_type_id = task_type,
	.task_id = task_id, .amount = amount, .detail = detail};

	journal_write(&act);
}

/* {"agreed": {"performer's id": 0.9, ...}} */
typedef struct AgreementDetail
{
	JsonbParseState *state;
} AgreementDetail;

static void
detail_key(AgreementDetail *detail, const char *name)
{
	JsonbValue	key;

	key.type = jbvString;
	key.val.string.val = unconstify(char *, name);
	key.val.string.len = strlen(name);
	pushJsonbValue(&detail->state, WJB_KEY, &key);
}

static void
detail_begin(AgreementDetail *detail)
{
	detail->state = NULL;
	pushJsonbValue(&detail->state, WJB_BEGIN_OBJECT, NULL);
	detail_key(detail, "agreed");
	pushJsonbValue(&detail->state, WJB_BEGIN_OBJECT, NULL);
}

static void
detail_add(AgreementDetail *detail, int64 performer, double agreed)
{
	Datum		number = DirectFunctionCall1(float8_numeric, Float8GetDatum(agreed));
	JsonbValue	value;

	detail_key(detail, psprintf("%lld", (long long) performer));
	value.type = jbvNumeric;
	value.val.numeric = DatumGetNumeric(DirectFunctionCall2(numeric_round, number, Int32GetDatum(6)));
	pushJsonbValue(&detail->state, WJB_VALUE, &value);
}

static Jsonb *
detail_end(AgreementDetail *detail)
{
	pushJsonbValue(&detail->state, WJB_END_OBJECT, NULL);
	return JsonbValueToJsonb(pushJsonbValue(&detail->state, WJB_END_OBJECT, NULL));
}

/* ---- the task's row ---- */

static bool
tally_is_final(Child *tasks)
{
	bool		isnull;
	Datum		tally = slot_getattr(tasks->slot, TASK_TALLY, &isnull);
	JsonbValue	value;

	if (isnull)
		return false;
	return getKeyJsonValueFromContainer(&DatumGetJsonbP(tally)->root, "final", 5, &value) &&
		value.type == jbvBool && value.val.boolean;
}

/* what the task's row, just locked, says */
static void
read_task(Ballot *ballot)
{
	Child	   *tasks = &ballot->tasks;
	bool		isnull;
	bool		any;

	ballot->method = method_of(DatumGetTextPP(slot_getattr(tasks->slot, TASK_CONSENSUS, &isnull)));
	ballot->open = child_text_is(tasks, TASK_STATE, "open");
	(void) slot_getattr(tasks->slot, TASK_MIN_PERFORMERS, &isnull);
	ballot->dynamic = !isnull;
	ballot->target = DatumGetFloat8(slot_getattr(tasks->slot, TASK_TARGET, &isnull));
	if (isnull)
		ballot->target = 0;
	any = ballot->method == METHOD_MEAN || ballot->method == METHOD_MEDIAN;
	votes_read(&ballot->votes, &ballot->results, ballot->task_id, any);
	ballot->remaining = child_int32(tasks, TASK_PERFORMERS) - child_int32(tasks, TASK_RELEASED) -
		child_int32(tasks, TASK_JUDGED) - ballot->votes.waiting;

	/* not any more if a slot was added since, or is offered again */
	ballot->was_final = tally_is_final(tasks) && !(ballot->open && ballot->remaining > 0);
}

/* the answer as it is to be stored */
static Datum
answer_of(Ballot *ballot, bool *isnull)
{
	Datum		answer = (Datum) 0;

	if (ballot->method == METHOD_MEAN)
		*isnull = !votes_mean(&ballot->votes, &answer);
	else if (ballot->method == METHOD_MEDIAN)
		*isnull = !votes_median(&ballot->votes, &answer);
	else if (ballot->leader < 0)
		*isnull = true;
	else
	{
		*isnull = false;
		answer = votes_value(&ballot->votes, &ballot->results, ballot->leader);
	}
	return answer;
}

/*
 * How many slots may be taken: those whose results are there, and as many as
 * are needed at least.  Where none is needed, but nothing was submitted that
 * could decide the task, it waits for one more.
 */
static int32
wanted(Ballot *ballot)
{
	Child	   *tasks = &ballot->tasks;
	bool		isnull;
	int32		least = DatumGetInt32(slot_getattr(tasks->slot, TASK_MIN_PERFORMERS, &isnull));
	int32		needed = Max(Max(ballot->needed, least - ballot->votes.count), 1);

	return child_int32(tasks, TASK_JUDGED) + ballot->votes.waiting + Min(needed, ballot->remaining);
}

/* stores what the results say; decided: and that no more are wanted */
static void
store(Ballot *ballot, bool decided, bool final)
{
	static const int columns[6] = {TASK_ANSWER, TASK_CONFIDENCE, TASK_TALLY, TASK_WANTED, TASK_RELEASED, TASK_STATE};
	Child	   *tasks = &ballot->tasks;
	int32		live = child_int32(tasks, TASK_LIVE);
	int32		offered = wanted(ballot);
	bool		offer = ballot->open && ballot->dynamic && !decided && live >= consensus_wanted(tasks) && live < offered;
	int32		unused = child_int32(tasks, TASK_PERFORMERS) - live;
	int64		amount = (child_int64(tasks, TASK_REWARD) + child_int64(tasks, TASK_FEE)) * unused;
	int64		task_type = child_int64(tasks, TASK_TASK_TYPE_ID);
	Datum		values[6];
	bool		nulls[6] = {false};

	values[0] = answer_of(ballot, &nulls[0]);
	values[1] = Float8GetDatum(ballot->confidence);
	nulls[1] = !ballot->has_confidence;
	values[2] = votes_tally(&ballot->votes, ballot->probability, final);
	values[3] = Int32GetDatum(offered);
	nulls[3] = !ballot->dynamic;
	values[4] = Int32GetDatum(child_int32(tasks, TASK_RELEASED) + unused);
	values[5] = CStringGetTextDatum("decided");
	child_update(tasks, decided ? 6 : 4, columns, values, nulls);
	if (offer)
		feed_reoffer(task_type, ballot->requester->partition, ballot->task_id);
	if (decided)
	{
		feed_took(task_type, ballot->requester->partition, ballot->task_id, 0);
		if (amount > 0)
			ledger_release(ballot->requester, amount, ballot->task_id);
		journal(ballot->requester->user_id, task_type, ballot->task_id, "decided", amount,
				journal_slots(unused));
	}
}

/* ---- comparing performers ---- */

/*
 * All of them when the answer is final, and who comes later alone, by how
 * probably each is right as far as the others tell.
 */
static void
compare(Ballot *ballot, int64 performer)
{
	OneCoinVotes votes;
	double	   *agreement;
	AgreementDetail detail;

	if (ballot->votes.nlabels == 0)
		return;					/* numbers */
	if (ballot->reliability == NULL)
		read_reliabilities(ballot);
	votes = one_coin_votes(ballot);
	agreement = palloc(sizeof(double) * (votes.count + 1));
	if (!one_coin_agreement(&votes, agreement))
		return;
	detail_begin(&detail);
	for (int i = 0; i < votes.count; i++)
		if (!ballot->was_final || ballot->votes.votes[i].performer_id == performer)
			detail_add(&detail, ballot->votes.votes[i].performer_id, agreement[i]);
	journal(ballot->requester->user_id, child_int64(&ballot->tasks, TASK_TASK_TYPE_ID), ballot->task_id,
			"compared", 0, detail_end(&detail));
}

/* who answered a golden task is compared with the known answer alone */
static void
compare_golden(Ballot *ballot, int64 performer, int64 assignment_id)
{
	bool		isnull;
	Jsonb	   *known = DatumGetJsonbP(slot_getattr(ballot->tasks.slot, TASK_KNOWN_ANSWER, &isnull));
	Datum		rule = slot_getattr(ballot->tasks.slot, TASK_MATCH, &isnull);
	Jsonb	   *match = isnull ? NULL : DatumGetJsonbP(rule);
	Jsonb	   *value;
	MatchScore	score;
	AgreementDetail detail;

	if (!child_find(&ballot->results, RESULT_BY_ID, 1, &assignment_id))
		elog(ERROR, "result of assignment %lld is missing", (long long) assignment_id);
	value = DatumGetJsonbP(slot_getattr(ballot->results.slot, RESULT_RESULT, &isnull));
	score = match_score(value, known, match);
	detail_begin(&detail);
	detail_add(&detail, performer, (double) score.right / score.parts);
	journal(ballot->requester->user_id, child_int64(&ballot->tasks, TASK_TASK_TYPE_ID), ballot->task_id,
			"compared", 0, detail_end(&detail));
}

static void
combine(Ballot *ballot, int64 performer)
{
	bool		isnull;
	bool		decided;
	bool		final;

	read_task(ballot);
	ballot->leader = -1;
	if (ballot->method == METHOD_MAJORITY)
		count_majority(ballot);
	else if (ballot->method == METHOD_ONE_COIN)
		weigh_one_coin(ballot);

	decided = ballot->open && ballot->dynamic && ballot->sure && performer != 0 &&
		ballot->votes.count >= DatumGetInt32(slot_getattr(ballot->tasks.slot, TASK_MIN_PERFORMERS, &isnull));
	if (decided)
		(void) source_recall_locked(&ballot->tasks, ballot->task_id);
	final = ballot->was_final || decided || ballot->remaining == 0;
	store(ballot, decided, final);
	if (final && performer != 0)
		compare(ballot, performer);
}

void
consensus_update(const UserHome *requester, int64 task_id, int64 performer, int64 assignment_id)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext, "taskex consensus", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Ballot		ballot = {.requester = requester, .task_id = task_id};
	bool		isnull;

	child_open(&ballot.tasks, &task_table, requester->partition);
	child_open(&ballot.results, &result_table, requester->partition);
	if (!child_find(&ballot.tasks, TASK_BY_ID, 1, &task_id))
		elog(ERROR, "task %lld is missing", (long long) task_id);
	(void) slot_getattr(ballot.tasks.slot, TASK_CONSENSUS, &isnull);
	if (!isnull)
	{
		if (child_lock(&ballot.tasks, task_id, true) != ROW_LOCKED)
			elog(ERROR, "task %lld is missing", (long long) task_id);
		combine(&ballot, performer);
	}
	else if (performer != 0 && child_int64(&ballot.tasks, TASK_TASK_TYPE_ID) < 0)
		compare_golden(&ballot, performer, assignment_id);
	child_close(&ballot.results);
	child_close(&ballot.tasks);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

PG_FUNCTION_INFO_V1(taskex_count_results);

/* count_results(requester_id, task_id) */
Datum
taskex_count_results(PG_FUNCTION_ARGS)
{
	UserHome	requester;

	directory_home_by_id(PG_GETARG_INT64(0), &requester);
	consensus_update(&requester, PG_GETARG_INT64(1), 0, 0);
	PG_RETURN_VOID();
}
