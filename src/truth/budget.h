/*
 * budget.h
 *	  Memory of one inference: counted, large pieces, at most
 *	  taskex.max_inference_memory.
 */
#ifndef TASKEX_BUDGET_H
#define TASKEX_BUDGET_H

#include "postgres.h"

typedef struct Budget
{
	MemoryContext context;
	Size		used;
	uint64		labels;			/* read so far, for the error message */
} Budget;

extern Budget *budget_create(void);
extern void *budget_alloc(Budget *budget, Size size);
extern void *budget_alloc_zero(Budget *budget, Size size);
extern void *budget_grow(Budget *budget, void *piece, Size old_size, Size new_size);
extern void budget_free(Budget *budget, void *piece, Size size);

/* memory for count things of the given size */
#define budget_array(budget, type, count) \
	((type *) budget_alloc(budget, sizeof(type) * (Size) (count)))
#define budget_array_zero(budget, type, count) \
	((type *) budget_alloc_zero(budget, sizeof(type) * (Size) (count)))

#endif							/* TASKEX_BUDGET_H */
