/*
 * spi.h
 *	  Kept SPI plans, run as the extension's owner with a locked search_path.
 *
 * A Statement is a static variable with its SQL text and argument types.  In
 * the text "%p" stands for the id of a storage partition: such a statement has
 * one plan per partition, of which a session keeps at most
 * taskex.plan_cache_size.  Values are always parameters.
 */
#ifndef TASKEX_SPI_H
#define TASKEX_SPI_H

#include "postgres.h"

#include "base/compat.h"
#include "executor/spi.h"

#define STATEMENT_MAX_ARGS 16

typedef struct Statement
{
	const char *sql;
	int			nargs;
	Oid			argtypes[STATEMENT_MAX_ARGS];
	/* kept by spi.c */
	SPIPlanPtr	plan;
	uint32		number;
} Statement;

typedef struct SpiScope
{
	Oid			user;
	int			security_context;
	SearchPathScope search_path;
} SpiScope;

/* which rows a statement sees */
typedef enum SpiView
{
	SPI_VIEW_CURRENT,			/* as any statement of the caller; may write */
	SPI_VIEW_LATEST,			/* what is committed now, whatever the caller's
								 * isolation level, without his own changes */
	SPI_VIEW_NOW,				/* the same with his own changes; reads only */
	SPI_VIEW_SNAPSHOT,			/* as the statement that called us, for STABLE
								 * functions; reads only */
} SpiView;

extern void spi_begin(SpiScope *scope);
extern void spi_end(SpiScope *scope);

/*
 * Runs the statement (on the given partition's children; 0 for statements
 * without %p) and returns the number of rows; results are in SPI_tuptable
 * until the next statement.  nulls may be NULL.  limit 0: all rows.
 */
extern uint64 spi_run(Statement *statement, int partition,
					  Datum *values, const char *nulls,
					  SpiView view, long limit);

/* column (1..) of row (0..) of the last result */
extern Datum spi_value(uint64 row, int column, bool *isnull);
extern int64 spi_int64(uint64 row, int column);
extern int32 spi_int32(uint64 row, int column);

#endif							/* TASKEX_SPI_H */
