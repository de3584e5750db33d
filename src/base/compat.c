/*
 * compat.c
 *	  The parts of compat.h that need code.
 */
#include "base/compat.h"

#include "nodes/pg_list.h"

void
search_path_lock(SearchPathScope *scope)
{
#if PG_VERSION_NUM >= 170000
	scope->guc_level = NewGUCNestLevel();
	RestrictSearchPath();
#else
	OverrideSearchPath path = {0};

	/* only pg_catalog: every other name in our statements is qualified */
	path.addCatalog = true;
	PushOverrideSearchPath(&path);
	scope->guc_level = 0;
#endif
}

void
search_path_unlock(SearchPathScope *scope)
{
#if PG_VERSION_NUM >= 170000
	AtEOXact_GUC(false, scope->guc_level);
#else
	PopOverrideSearchPath();
#endif
}
