/*
 * budget.c
 *	  Memory of one inference.
 *
 * All of it hangs on one context below that of the calling function, so an
 * error leaves nothing.
 */
#include "postgres.h"

#include "truth/budget.h"
#include "base/guc.h"

#include "utils/memutils.h"

Budget *
budget_create(void)
{
	Budget	   *budget = palloc0(sizeof(Budget));

	budget->context = AllocSetContextCreate(CurrentMemoryContext, "taskex inference",
											ALLOCSET_SMALL_SIZES);
	return budget;
}

static void
budget_spend(Budget *budget, Size size)
{
	Size		limit = (Size) guc_max_inference_memory * 1024;

	if (size > limit || budget->used > limit - size)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("the inference needs more memory than taskex.max_inference_memory"),
				 errdetail("%zu kB are in use for %llu labels, and %zu kB more are needed.",
						   budget->used / 1024, (unsigned long long) budget->labels, size / 1024 + 1),
				 errhint("Raise taskex.max_inference_memory, infer parts of the tasks one after the other, or use a method that needs less.")));
	budget->used += size;
}

void *
budget_alloc(Budget *budget, Size size)
{
	budget_spend(budget, size);
	return MemoryContextAllocHuge(budget->context, Max(size, 1));
}

void *
budget_alloc_zero(Budget *budget, Size size)
{
	return memset(budget_alloc(budget, size), 0, size);
}

void *
budget_grow(Budget *budget, void *piece, Size old_size, Size new_size)
{
	/* while it is copied there are both */
	budget_spend(budget, new_size);
	piece = repalloc_huge(piece, new_size);
	budget->used -= old_size;
	return piece;
}

void
budget_free(Budget *budget, void *piece, Size size)
{
	pfree(piece);
	budget->used -= size;
}
