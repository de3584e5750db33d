/*
 * names.h
 *	  Texts as numbers 0, 1, 2... in the order in which they were first seen.
 */
#ifndef TASKEX_NAMES_H
#define TASKEX_NAMES_H

#include "postgres.h"

#include "truth/budget.h"

typedef struct NameText
{
	uint32		length;
	char		bytes[FLEXIBLE_ARRAY_MEMBER];
} NameText;

typedef struct Names
{
	Budget	   *budget;
	uint32		count;
	uint32		capacity;
	NameText	  **name;			/* by number */
	uint32	   *hash;			/* by number */
	uint32	   *slot;			/* hash table: number + 1, or 0 */
	uint32		slots;			/* a power of 2 */
	char	   *chunk;			/* where the next name goes */
	Size		left;
} Names;

extern void names_init(Names *names, Budget *budget);
extern uint32 names_number(Names *names, const char *bytes, uint32 length);

/* no more names will be looked up: frees what only that needs */
extern void names_seal(Names *names);

/* order by bytes, the shorter first: less than 0, 0, more than 0 */
extern int	names_compare(const Names *names, uint32 a, uint32 b);

/* as a palloc'd text value, or string */
extern Datum names_text(const Names *names, uint32 number);
extern char *names_cstring(const Names *names, uint32 number);

#endif							/* TASKEX_NAMES_H */
