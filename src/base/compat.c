/*
 * compat.c
 *	  The parts of compat.h that need code.
 */
#include "base/compat.h"

#include "access/heapam.h"
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

TU_UpdateIndexes
update_heap_tuple(Relation rel, ItemPointer tid, HeapTuple tuple)
{
#if PG_VERSION_NUM >= 160000
	TU_UpdateIndexes update_indexes;

	simple_heap_update(rel, tid, tuple, &update_indexes);
	return update_indexes;
#else
	simple_heap_update(rel, tid, tuple);
	return HeapTupleIsHeapOnly(tuple) ? TU_None : TU_All;
#endif
}

bool
try_update_heap_tuple(Relation rel, ItemPointer tid, HeapTuple tuple, bool wait, TU_UpdateIndexes *which)
{
	TM_FailureData failure;
	LockTupleMode mode;
	TM_Result	result;

#if PG_VERSION_NUM >= 160000
	result = heap_update(rel, tid, tuple, GetCurrentCommandId(true), InvalidSnapshot, wait, &failure, &mode, which);
#else
	result = heap_update(rel, tid, tuple, GetCurrentCommandId(true), InvalidSnapshot, wait, &failure, &mode);
	*which = HeapTupleIsHeapOnly(tuple) ? TU_None : TU_All;
#endif
	return result == TM_Ok;
}
