/*
 * match.h
 *	  How right a result is, beside one that is known to be right.
 *
 * What counts as equal is a rule, data beside the known answer:
 *
 *		any			true: the known answer is an array of answers, each of them right
 *		keys		of objects, only these keys count
 *		tolerance	numbers are equal if they differ by this at most
 *		ignore_case	true: so are texts that differ in upper and lower case
 *
 * Without a rule, or key of it, values are equal as jsonb.
 */
#ifndef TASKEX_MATCH_H
#define TASKEX_MATCH_H

#include "postgres.h"

#include "market/market.h"
#include "utils/jsonb.h"

/* so many of the parts that are compared are right; whole answers have one part */
typedef struct MatchScore
{
	int			right;
	int			parts;
} MatchScore;

/*
 * Raises invalid_parameter_value unless rule (or NULL) is one that can be
 * applied to the known answer, and result_invalid unless what it holds are
 * results of the type.
 */
extern void match_check(const TaskType *type, Jsonb *rule, Jsonb *known);

/* of objects, unless they are equal, each key of the known answer is a part */
extern MatchScore match_score(Jsonb *result, Jsonb *known, Jsonb *rule);

#endif							/* TASKEX_MATCH_H */
