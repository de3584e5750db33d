/*
 * requirement.h
 *	  What a task type requires of its performers.
 *
 * A requirement compares something of the performer, his score in a
 * qualification or something built in, with values, and guards an act.  The
 * JSON in which users write it is described in docs/qualifications.md.
 */
#ifndef TASKEX_REQUIREMENT_H
#define TASKEX_REQUIREMENT_H

#include "postgres.h"

#include "utils/jsonb.h"

/* what is compared; names of the built-in ones in requirement.c */
typedef enum Subject
{
	SUBJECT_QUALIFICATION,		/* the score that a requester granted */
	SUBJECT_SUBMITTED,
	SUBJECT_APPROVED,
	SUBJECT_APPROVAL_PERCENT,
	SUBJECT_RETURN_PERCENT,
	SUBJECT_ABANDON_PERCENT,
	SUBJECT_LOCATION,
	SUBJECT_DEVICE,
	SUBJECT_MEMBER_SINCE,
	SUBJECTS
} Subject;

typedef enum Comparator
{
	COMPARE_LESS,
	COMPARE_LESS_EQUAL,
	COMPARE_EQUAL,
	COMPARE_NOT_EQUAL,
	COMPARE_GREATER_EQUAL,
	COMPARE_GREATER,
	COMPARE_IN,
	COMPARE_NOT_IN,
	COMPARE_EXISTS,
	COMPARE_NOT_EXISTS,
	COMPARATORS
} Comparator;

/*
 * What is guarded.  Who may not discover a task may not preview it, and who may
 * not preview it may not accept it: an act is guarded by the requirements whose
 * guard is up to it.
 */
typedef enum Guard
{
	GUARD_DISCOVER,
	GUARD_PREVIEW,
	GUARD_ACCEPT,
	GUARDS
} Guard;

typedef struct Requirement
{
	Subject		subject;
	int64		qualification;	/* of SUBJECT_QUALIFICATION, else 0 */
	Comparator	comparator;
	Guard		guard;
	int			count;			/* of values: sorted, each once */
	double	   *numbers;		/* NULL if they are strings */
	char	  **strings;
} Requirement;

typedef struct Requirements
{
	int			count;
	Requirement items[FLEXIBLE_ARRAY_MEMBER];
} Requirements;

#define REQUIREMENTS_MAX 20
#define REQUIREMENT_VALUES_MAX 300

extern const char *const guard_names[GUARDS + 1];

/* the place of a name in a list that ends with NULL, or -1 */
extern int	name_index(const char *const *names, const char *name, int length);

/*
 * Reads a JSON array of requirements; a clear error where it is wrong.  The
 * result, in the current memory context, is in canonical order, so that what
 * means the same is the same.  NULL: there are none.
 */
extern Requirements *requirements_parse(Jsonb *json);

/* the same as JSON, in one spelling only */
extern Jsonb *requirements_json(const Requirements *requirements);
extern Jsonb *requirement_json(const Requirement *requirement);

/* raises an error unless the requester may use all qualifications in new types */
extern void requirements_check_usable(const Requirements *requirements, int64 requester);

/* ... or may supply tasks of a type that exists */
extern void requirements_check_supply(const Requirements *requirements, int64 requester);

/* is this what the requirement wants?  NULL or 0 strings: nothing is known */
extern bool requirement_number_met(const Requirement *requirement, double number, bool known);
extern bool requirement_strings_met(const Requirement *requirement, char *const *have, int count);

extern bool subject_is_text(Subject subject);
extern bool subject_is_integer(Subject subject);

/* how strings of a subject are compared, in place: without regard to case */
extern void subject_fold(Subject subject, char *string);

/* "approval_percent >= 95" */
extern char *requirement_text(const Requirement *requirement);
extern char *number_text(double number);

#endif							/* TASKEX_REQUIREMENT_H */
