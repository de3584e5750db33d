/*
 * heap.c
 *	  Pairing heaps whose nodes are elements of arrays in shared memory.
 */
#include "postgres.h"

#include "workload/heap.h"

static int32
merge(const HeapKind *kind, int32 a, int32 b)
{
	HeapNode   *parent;

	if (a < 0 || b < 0)
		return a < 0 ? b : a;
	if (kind->before(b, a))
	{
		int32		other = a;

		a = b;
		b = other;
	}
	parent = kind->node(a);
	kind->node(b)->next = parent->child;
	if (parent->child >= 0)
		kind->node(parent->child)->previous = b;
	kind->node(b)->previous = a;
	parent->child = b;
	parent->next = -1;
	parent->previous = -1;
	return a;
}

/* one heap of these siblings: pairs from the left, then all from the right */
static int32
merge_siblings(const HeapKind *kind, int32 first)
{
	int32		pairs = -1;		/* linked by next */
	int32		root = -1;

	while (first >= 0)
	{
		int32		second = kind->node(first)->next;
		int32		rest = second >= 0 ? kind->node(second)->next : -1;
		int32		pair;

		kind->node(first)->next = kind->node(first)->previous = -1;
		if (second >= 0)
			kind->node(second)->next = kind->node(second)->previous = -1;
		pair = merge(kind, first, second);
		kind->node(pair)->next = pairs;
		pairs = pair;
		first = rest;
	}
	while (pairs >= 0)
	{
		int32		rest = kind->node(pairs)->next;

		kind->node(pairs)->next = -1;
		root = merge(kind, root, pairs);
		pairs = rest;
	}
	return root;
}

int32
heap_add(const HeapKind *kind, int32 root, int32 element)
{
	HeapNode   *node = kind->node(element);

	node->child = node->next = node->previous = -1;
	return merge(kind, root, element);
}

int32
heap_remove(const HeapKind *kind, int32 root, int32 element)
{
	HeapNode   *node = kind->node(element);
	int32		children = merge_siblings(kind, node->child);

	if (element != root)
	{
		HeapNode   *before = kind->node(node->previous);

		if (before->child == element)
			before->child = node->next;
		else
			before->next = node->next;
		if (node->next >= 0)
			kind->node(node->next)->previous = node->previous;
		children = merge(kind, root, children);
	}
	node->child = node->next = node->previous = -1;
	return children;
}
