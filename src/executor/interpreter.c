/*
 * interpreter.c
 *	  Whose code has run in an interpreter of this process.
 *
 * PL/Perl, PL/Tcl, PL/Python and the like have one interpreter for all that a role
 * runs in a session: variables, redefined functions and loaded modules of one
 * program are there for the next.  SQL and PL/pgSQL have nothing of the kind.  So a
 * process whose interpreters have seen code of one user runs no code of another.
 */
#include "postgres.h"

#include "executor/interpreter.h"

#include "catalog/pg_language.h"
#include "commands/proclang.h"

static int64 author = 0;		/* of the code that runs */
static int64 owner = 0;
static bool mixed = false;

bool
interpreter_keeps(Oid language)
{
	return language != INTERNALlanguageId && language != ClanguageId && language != SQLlanguageId &&
		language != get_language_oid("plpgsql", true);
}

void
interpreter_author(int64 user_id)
{
	author = user_id;
}

void
interpreter_used(void)
{
	mixed |= owner != 0 && owner != author;
	owner = author;
}

int64
interpreter_owner(void)
{
	return owner;
}

bool
interpreter_mixed(void)
{
	return mixed;
}
