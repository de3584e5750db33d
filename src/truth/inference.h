/*
 * inference.h
 *	  One inference: labels, a method with its options, and what it finds.
 *
 * A method has parameters (of performers, of tasks) and two operations: judge
 * a task by the present parameters (E step), and a round that judges all tasks
 * and makes new parameters of that (E and M step).  README.md has formulas and
 * sources.
 */
#ifndef TASKEX_INFERENCE_H
#define TASKEX_INFERENCE_H

#include "postgres.h"

#include "truth/label_set.h"

#include "utils/jsonb.h"

typedef enum Ties
{
	TIES_FIRST,					/* the first in the order of bytes */
	TIES_ALL,					/* a row for each */
	TIES_NONE					/* a row without label */
} Ties;

typedef struct TruthOptions
{
	int			rounds;
	double		tolerance;
	double		reliability;	/* of a performer, before anything is known */
	double		prior_weight;	/* how many labels that counts for */
	int			possible;		/* labels that could have been given; 0: those that were */
	Ties		ties;
} TruthOptions;

/* which of them a method takes */
#define OPTION_ROUNDS		0x01	/* and tolerance */
#define OPTION_RELIABILITY	0x02	/* and prior_weight */
#define OPTION_POSSIBLE		0x04
#define OPTION_TIES			0x08

/*
 * What is found about one task: scores, then posteriors, of some labels; the
 * others that are possible have "rest" each.  position[l] < count and
 * label[position[l]] == l tell whether label l is among them, so there is
 * nothing to clear between tasks.
 */
typedef struct Tally
{
	uint32		count;
	uint32	   *label;
	double	   *score;
	double		rest;
	uint32	   *position;		/* by label */
	/* of numeric methods instead */
	double		value;
	double		confidence;		/* NaN: cannot be told */
} Tally;

typedef struct Inference
{
	const struct TruthMethod *method;
	TruthOptions options;
	LabelSet   *set;
	int64		possible;		/* labels, seen or not; at least 2 */
	Tally		tally;
	uint32	   *order;			/* labels in the order of their bytes, or NULL */
	void	   *state;			/* the method's own */
} Inference;

typedef struct TruthMethod
{
	const char *name;
	int			takes;			/* OPTION_* */
	bool		numeric;		/* the answer is a number, not one of the labels */
	bool		dense;			/* tallies have all labels */
	TruthOptions defaults;
	void		(*start) (Inference *inference);
	/* fills the tally */
	void		(*judge) (Inference *inference, uint32 task);
	/* returns the largest change of a parameter */
	double		(*round) (Inference *inference);
	/* after a round; NaN: cannot be told */
	double		(*reliability) (Inference *inference, uint32 performer);
	/* NULL: there is nothing else to tell */
	Jsonb	   *(*parameters) (Inference *inference, uint32 performer);
} TruthMethod;

extern const TruthMethod method_majority,
			method_weighted_majority,
			method_mean,
			method_median,
			method_dawid_skene,
			method_zencrowd,
			method_one_coin,
			method_glad;

/* options.c */
extern const TruthMethod *method_named(const char *name);
extern void options_read(Jsonb *json, const TruthMethod *method, TruthOptions *options);

/* tally.c */
extern void tally_init(Inference *inference);
extern double *tally_score(Tally *tally, uint32 label);
extern void tally_softmax(Inference *inference);

/* two posteriors nearer than this are a tie */
#define TIE_TOLERANCE 1e-9

/* jsonb {"key": value} out of pairs */
extern Jsonb *numbers_json(int count, const char *const *keys, const double *values);

#endif							/* TASKEX_INFERENCE_H */
