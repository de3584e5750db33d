/*
 * one_coin.c
 *	  Posterior of the labels of one task in the one-coin model.
 *
 * A performer of reliability p gives the right one of k labels with
 * probability p, and each wrong one with (1 - p) / (k - 1); all labels are
 * equally likely beforehand.  Then
 *
 *		posterior(c)  ~  product over votes of c of  p (k - 1) / (1 - p)
 *
 * that is, votes weighted by the logarithm of their odds: the optimal rule of
 * Nitzan and Paroush, "Optimal decision rules in uncertain dichotomous choice
 * situations", Int. Economic Review 23 (1982), for k labels; the E step of
 * ZenCrowd (Demartini, Difallah, Cudre-Mauroux, WWW 2012).
 */
#include "postgres.h"

#include "truth/one_coin.h"

#include <math.h>

#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

double
one_coin_reliability(double agreed, double compared)
{
	return (ONE_COIN_PRIOR_AGREED + agreed) /
		(ONE_COIN_PRIOR_AGREED + ONE_COIN_PRIOR_DISAGREED + compared);
}

static int
possible_labels(const OneCoinVotes *votes)
{
	return Max(Max(votes->possible, votes->seen), 2);
}

/* who is right less often than by guessing tells nothing */
static double
weight(double reliability, int k)
{
	double		p = Min(reliability, ONE_COIN_MAX_RELIABILITY);

	if (!(p > 1.0 / k))
		return 0.0;
	return log(p * (k - 1) / (1.0 - p));
}

/* score[c]: sum of the weights of the votes for c; that of unseen labels is 0 */
static void
add_scores(const OneCoinVotes *votes, int k, double *score)
{
	memset(score, 0, votes->seen * sizeof(double));
	for (int i = 0; i < votes->count; i++)
	{
		Assert(votes->label[i] >= 0 && votes->label[i] < votes->seen);
		score[votes->label[i]] += weight(votes->reliability[i], k);
	}
}

/*
 * The logarithm of the sum of exp(score) over all k labels, of which label
 * "changed" has another score than the array says; -1: none has.
 */
static double
log_total(const double *score, int seen, int k, int changed, double other)
{
	double		highest = 0.0;
	double		sum = 0.0;

	/* scores are not negative, so 0 will do where no label is unseen too */
	for (int c = 0; c < seen; c++)
		highest = Max(highest, c == changed ? other : score[c]);
	for (int c = 0; c < seen; c++)
		sum += exp((c == changed ? other : score[c]) - highest);
	sum += (k - seen) * exp(-highest);
	return highest + log(sum);
}

void
one_coin_posterior(const OneCoinVotes *votes, double *posterior)
{
	int			k = possible_labels(votes);
	double		total;

	add_scores(votes, k, posterior);
	total = log_total(posterior, votes->seen, k, -1, 0.0);
	for (int c = 0; c < votes->seen; c++)
		posterior[c] = exp(posterior[c] - total);
}

int
one_coin_needed(const OneCoinVotes *votes, int c, double reliability, double target, int most)
{
	int			k = possible_labels(votes);
	double		each = weight(reliability, k);
	double	   *score = palloc(votes->seen * sizeof(double));
	int			needed = 0;

	add_scores(votes, k, score);
	while (needed < most)
	{
		double		then = score[c] + needed * each;

		if (exp(then - log_total(score, votes->seen, k, c, then)) >= target)
			break;
		needed++;
	}
	pfree(score);
	return needed;
}

bool
one_coin_agreement(const OneCoinVotes *votes, double *agreement)
{
	int			k = possible_labels(votes);
	double	   *score;

	if (votes->count < 2)
		return false;
	score = palloc(votes->seen * sizeof(double));
	add_scores(votes, k, score);
	for (int i = 0; i < votes->count; i++)
	{
		int			c = votes->label[i];
		double		others = Max(score[c] - weight(votes->reliability[i], k), 0.0);

		agreement[i] = exp(others - log_total(score, votes->seen, k, c, others));
	}
	pfree(score);
	return true;
}

/* ---- the same in SQL, for functions in PL/pgSQL ---- */

typedef struct VoteArrays
{
	OneCoinVotes votes;
	Datum	   *seen;			/* the labels, in the order of their first vote */
} VoteArrays;

static int
label_number(VoteArrays *arrays, Datum label)
{
	OneCoinVotes *votes = &arrays->votes;

	for (int c = 0; c < votes->seen; c++)
		if (DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, arrays->seen[c], label)))
			return c;
	arrays->seen[votes->seen] = label;
	return votes->seen++;
}

/* arguments (labels text[], reliabilities float8[], possible int) */
static void
read_votes(FunctionCallInfo fcinfo, VoteArrays *arrays)
{
	Datum	   *labels;
	Datum	   *reliabilities;
	int			nlabels;
	int			nreliabilities;
	int		   *number;
	double	   *reliability;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT,
					  &labels, NULL, &nlabels);
	deconstruct_array(PG_GETARG_ARRAYTYPE_P(1), FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE,
					  &reliabilities, NULL, &nreliabilities);
	if (nlabels != nreliabilities)
		elog(ERROR, "%d labels, but %d reliabilities", nlabels, nreliabilities);

	arrays->seen = palloc((nlabels + 1) * sizeof(Datum));
	arrays->votes.seen = 0;
	number = palloc((nlabels + 1) * sizeof(int));
	reliability = palloc((nlabels + 1) * sizeof(double));
	for (int i = 0; i < nlabels; i++)
	{
		number[i] = label_number(arrays, labels[i]);
		reliability[i] = DatumGetFloat8(reliabilities[i]);
	}
	arrays->votes.count = nlabels;
	arrays->votes.label = number;
	arrays->votes.reliability = reliability;
	arrays->votes.possible = PG_GETARG_INT32(2);
}

PG_FUNCTION_INFO_V1(taskex_one_coin_posterior);

/* one_coin_posterior(labels, reliabilities, possible) -> setof (label, posterior) */
Datum
taskex_one_coin_posterior(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	VoteArrays	arrays;
	double	   *posterior;

	InitMaterializedSRF(fcinfo, 0);
	read_votes(fcinfo, &arrays);
	posterior = palloc((arrays.votes.seen + 1) * sizeof(double));
	one_coin_posterior(&arrays.votes, posterior);
	for (int c = 0; c < arrays.votes.seen; c++)
	{
		Datum		values[2] = {arrays.seen[c], Float8GetDatum(posterior[c])};
		bool		nulls[2] = {false, false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(taskex_one_coin_agreement);

/* one_coin_agreement(labels, reliabilities, possible) -> float8[], NULL if nothing can be compared */
Datum
taskex_one_coin_agreement(PG_FUNCTION_ARGS)
{
	VoteArrays	arrays;
	double	   *agreement;
	Datum	   *values;

	read_votes(fcinfo, &arrays);
	agreement = palloc((arrays.votes.count + 1) * sizeof(double));
	if (!one_coin_agreement(&arrays.votes, agreement))
		PG_RETURN_NULL();
	values = palloc(arrays.votes.count * sizeof(Datum));
	for (int i = 0; i < arrays.votes.count; i++)
		values[i] = Float8GetDatum(agreement[i]);
	PG_RETURN_ARRAYTYPE_P(construct_array(values, arrays.votes.count, FLOAT8OID, sizeof(float8),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

PG_FUNCTION_INFO_V1(taskex_one_coin_reliability);

/* one_coin_reliability(agreed, compared) -> float8 */
Datum
taskex_one_coin_reliability(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(one_coin_reliability(PG_GETARG_FLOAT8(0), PG_GETARG_FLOAT8(1)));
}
