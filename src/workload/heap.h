/*
 * heap.h
 *	  Pairing heaps whose nodes are elements of arrays in shared memory.
 *
 * A heap is known by its root, an index (-1: it is empty).  An element is in at
 * most one heap of a kind, and its caller knows whether it is.
 */
#ifndef TASKEX_WORKLOAD_HEAP_H
#define TASKEX_WORKLOAD_HEAP_H

#include "postgres.h"

typedef struct HeapNode
{
	int32		child;
	int32		next;
	int32		previous;		/* the sibling before, or of the first one the parent */
} HeapNode;

typedef struct HeapKind
{
	HeapNode   *(*node) (int32 element);
	bool		(*before) (int32 a, int32 b);
} HeapKind;

extern int32 heap_add(const HeapKind *kind, int32 root, int32 element);
extern int32 heap_remove(const HeapKind *kind, int32 root, int32 element);

#endif							/* TASKEX_WORKLOAD_HEAP_H */
