/*
 * pieces.h
 *	  What runs one after the other when a program is run: itself or, of a chain,
 *	  its pieces.  Versions never change, so a process reads each once.
 */
#ifndef TASKEX_WORKLOAD_PIECES_H
#define TASKEX_WORKLOAD_PIECES_H

#include "postgres.h"

typedef struct Piece
{
	int64		program_id;
	int64		owner_id;
	int32		version;
} Piece;

typedef struct Pieces
{
	int			count;			/* 0: there is no such version */
	Piece	   *pieces;
} Pieces;

/* good until the next call */
extern const Pieces *pieces_of(int64 program_id, int32 version);

#endif							/* TASKEX_WORKLOAD_PIECES_H */
