/*
 * byhand.c
 *	  Moves by hand, step by step, for tests.
 *
 * The extension declares none of these functions.  A test, as a superuser, does,
 * to stop a move where it likes.
 */
#include "postgres.h"

#include "directory/moves.h"

#include "fmgr.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(taskex_move_publish);
PG_FUNCTION_INFO_V1(taskex_move_as_mover);
PG_FUNCTION_INFO_V1(taskex_move_fence);
PG_FUNCTION_INFO_V1(taskex_move_switch);
PG_FUNCTION_INFO_V1(taskex_move_end);
PG_FUNCTION_INFO_V1(taskex_move_lives);

/* (migration_id, user_id, source, target) */
Datum
taskex_move_publish(PG_FUNCTION_ARGS)
{
	moves_publish(PG_GETARG_INT64(0), PG_GETARG_INT64(1), PG_GETARG_INT32(2), PG_GETARG_INT32(3));
	PG_RETURN_VOID();
}

/* () */
Datum
taskex_move_as_mover(PG_FUNCTION_ARGS)
{
	moves_act_as_mover();
	PG_RETURN_VOID();
}

/* (user_id, milliseconds) -> boolean */
Datum
taskex_move_fence(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(moves_fence_exclusive(PG_GETARG_INT64(0), PG_GETARG_INT32(1)));
}

/* (migration_id, user_id, source, target) */
Datum
taskex_move_switch(PG_FUNCTION_ARGS)
{
	moves_switch(PG_GETARG_INT64(0), PG_GETARG_INT64(1), PG_GETARG_INT32(2), PG_GETARG_INT32(3));
	PG_RETURN_VOID();
}

/* (migration_id) */
Datum
taskex_move_end(PG_FUNCTION_ARGS)
{
	moves_end(PG_GETARG_INT64(0));
	PG_RETURN_VOID();
}

/* (user_id, partition) -> boolean: for the calling statement's snapshot */
Datum
taskex_move_lives(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(moves_lives(PG_GETARG_INT64(0), PG_GETARG_INT32(1), GetActiveSnapshot()));
}
