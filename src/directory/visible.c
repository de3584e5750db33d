/*
 * visible.c
 *	  What views show to whom: conditions that the planner can use.
 *
 * A view says once whose rows it has, by _taskex.visible(user_id) and the like.
 * As a function that is true of each row for a trusted caller and of few for
 * others, and useless to an index.  So these functions have a planner support
 * function, which puts in their place what they mean for the present caller;
 * and narrow(), which is always true, looks what else the statement asks for and
 * adds what follows from it.  See "Views" in README.md.
 */
#include "postgres.h"

#include "directory/directory.h"
#include "directory/internal.h"
#include "infra/spi.h"

#include "access/stratnum.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_opfamily_d.h"
#include "catalog/pg_proc_d.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "nodes/pathnodes.h"
#include "nodes/supportnodes.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

/* a task's id is counter * ID_STEP + partition_id mod ID_STEP; so is a dispute's */
#define ID_STEP 1024

/* operators of pg_catalog: = of bigint, int and text */
#define INT8_EQUAL 410
#define INT4_EQUAL 96
#define TEXT_EQUAL 98

/* ---- for whom the caller may act ---- */

static Statement select_caller_ids = {
	/* the roles that he is a member of, then those of them whose rights he has */
	"WITH RECURSIVE role (id) AS (SELECT $1 UNION SELECT m.roleid FROM pg_auth_members m JOIN role ON m.member = role.id)"
	" SELECT coalesce(array_agg(user_id), '{}') FROM _taskex.directory WHERE db_role IS NOT NULL AND db_role = ANY ("
	"ARRAY(SELECT id::regrole FROM role WHERE pg_has_role($1, id, 'USAGE')"
	" UNION SELECT oid FROM pg_roles WHERE rolname = 'pg_database_owner' AND pg_has_role($1, oid, 'USAGE')))",
	1, {OIDOID}
};

/*
 * The ids as last asked for.  A plan asks once for each index that it looks
 * into, under one snapshot: two snapshots with the same bounds and numbers show
 * the same, for between the bounds transactions only end.  Only what the own
 * transaction has written can be rolled back without any of them being changed.
 */
static struct
{
	Datum		ids;			/* bigint[], in TopMemoryContext; 0: none is kept */
	Oid			caller;
	TransactionId xmin;
	TransactionId xmax;
	uint32		xcnt;
	int32		subxcnt;
	CommandId	curcid;
	/* of whose changes it may be made up, which may be rolled back: 0 if nothing was written */
	TransactionId writer;
	SubTransactionId level;
} kept;

static bool planned = false;	/* a plan of this session depends on the caller's roles */

void
visible_roles_changed(void)
{
	kept.caller = InvalidOid;
	/* what was put into plans for the roles as they were */
	if (planned)
		ResetPlanCache();
	planned = false;
}

static SubTransactionId
level_of(TransactionId writer)
{
	return TransactionIdIsValid(writer) ? GetCurrentSubTransactionId() : InvalidSubTransactionId;
}

static bool
kept_for(Oid caller, Snapshot snapshot)
{
	TransactionId writer = GetTopTransactionIdIfAny();

	return kept.ids != 0 && kept.caller == caller && kept.xmin == snapshot->xmin && kept.xmax == snapshot->xmax &&
		kept.xcnt == snapshot->xcnt && kept.subxcnt == snapshot->subxcnt && kept.curcid == snapshot->curcid &&
		kept.writer == writer && kept.level == level_of(writer);
}

/* in the session's memory until the next call */
static Datum
caller_ids(void)
{
	Oid			caller = GetUserId();
	Snapshot	snapshot = GetActiveSnapshot();
	SpiScope	scope;
	Datum		argument = ObjectIdGetDatum(caller);
	MemoryContext old;
	Datum		old_ids = kept.ids;
	bool		isnull;

	if (kept_for(caller, snapshot))
		return kept.ids;

	kept.caller = InvalidOid;
	spi_begin(&scope);
	spi_run(&select_caller_ids, 0, &argument, NULL, SPI_VIEW_SNAPSHOT, 1);
	old = MemoryContextSwitchTo(TopMemoryContext);
	kept.ids = PointerGetDatum(DatumGetArrayTypePCopy(spi_value(0, 1, &isnull)));
	MemoryContextSwitchTo(old);
	spi_end(&scope);
	if (old_ids != 0)
		pfree(DatumGetPointer(old_ids));
	kept.caller = caller;
	kept.xmin = snapshot->xmin;
	kept.xmax = snapshot->xmax;
	kept.xcnt = snapshot->xcnt;
	kept.subxcnt = snapshot->subxcnt;
	kept.curcid = snapshot->curcid;
	kept.writer = GetTopTransactionIdIfAny();
	kept.level = level_of(kept.writer);
	return kept.ids;
}

static bool
may_act_for(int64 user_id)
{
	ArrayType  *ids = DatumGetArrayTypeP(caller_ids());
	int64	   *elements = (int64 *) ARR_DATA_PTR(ids);
	int			n = ArrayGetNItems(ARR_NDIM(ids), ARR_DIMS(ids));

	for (int i = 0; i < n; i++)
		if (elements[i] == user_id)
			return true;
	return false;
}

PG_FUNCTION_INFO_V1(taskex_caller_ids);

/* _taskex.caller_ids(): ids of the users for whom the caller may act by db_role */
Datum
taskex_caller_ids(PG_FUNCTION_ARGS)
{
	/* a copy: who asked may still have it when the roles change */
	PG_RETURN_ARRAYTYPE_P(DatumGetArrayTypePCopy(caller_ids()));
}

/* ---- the functions as such ---- */

PG_FUNCTION_INFO_V1(taskex_own);

/* own(user_id [, user_id]): may the caller act for one of them, not being trusted? */
Datum
taskex_own(PG_FUNCTION_ARGS)
{
	if (directory_caller_trusted())
		PG_RETURN_BOOL(false);
	for (int i = 0; i < PG_NARGS(); i++)
		if (!PG_ARGISNULL(i) && may_act_for(PG_GETARG_INT64(i)))
			PG_RETURN_BOOL(true);
	PG_RETURN_BOOL(false);
}

PG_FUNCTION_INFO_V1(taskex_visible);

/* visible(user_id [, user_id]): is he trusted, or may he act for one of them? */
Datum
taskex_visible(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(directory_caller_trusted() || DatumGetBool(taskex_own(fcinfo)));
}

PG_FUNCTION_INFO_V1(taskex_narrow);

Datum
taskex_narrow(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(true);
}

PG_FUNCTION_INFO_V1(taskex_asked);

Datum
taskex_asked(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(false);
}

/* ---- what the planner gets in their place ---- */

/* the caller may use the function, but not the schema in which it would be looked up */
static Expr *
our_call(const char *name)
{
	Oid			function = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
										   PointerGetDatum(buildoidvector(NULL, 0)),
										   ObjectIdGetDatum(get_namespace_oid("_taskex", false)));

	if (!OidIsValid(function))
		elog(ERROR, "function _taskex.%s does not exist", name);
	return (Expr *) makeFuncExpr(function, get_func_rettype(function), NIL, InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
}

static Expr *
any_of(Node *value, Oid operator, Expr *array)
{
	ScalarArrayOpExpr *any = makeNode(ScalarArrayOpExpr);

	any->opno = operator;
	any->opfuncid = get_opcode(operator);
	any->useOr = true;
	any->args = list_make2(copyObject(value), array);
	any->location = -1;
	return (Expr *) any;
}

static Expr *
equals(Node *value, Oid operator, Oid type, Datum constant)
{
	int16		length;
	bool		by_value;

	get_typlenbyval(type, &length, &by_value);
	return make_opclause(operator, BOOLOID, false, (Expr *) copyObject(value),
						 (Expr *) makeConst(type, -1, InvalidOid, length, constant, false, by_value),
						 InvalidOid, InvalidOid);
}

static bool
given(Node *argument)
{
	return !(IsA(argument, Const) && ((Const *) argument)->constisnull);
}

/* user_id = ANY (caller_ids()), for each of the arguments */
static Node *
acts_for(List *users)
{
	List	   *choice = NIL;
	ListCell   *cell;

	foreach(cell, users)
		choice = lappend(choice, any_of(lfirst(cell), INT8_EQUAL, our_call("caller_ids")));
	return list_length(choice) == 1 ? linitial(choice) : (Node *) makeBoolExpr(OR_EXPR, choice, -1);
}

static Node *
strip(Node *node)
{
	while (node && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	return node;
}

/*
 * What a condition wants an expression to be equal to, or NULL. The condition is
 * a WHERE (with its FROM), ON or HAVING, and all must hold for a row to be seen.
 */
static Node *
wanted_by(Node *node, Node *target)
{
	Node	   *found = NULL;
	ListCell   *cell;

	if (node == NULL)
		return NULL;
	check_stack_depth();
	if (IsA(node, FromExpr))
	{
		FromExpr   *from = (FromExpr *) node;

		found = wanted_by(from->quals, target);
		if (found == NULL)
			found = wanted_by((Node *) from->fromlist, target);
	}
	else if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		if (join->jointype == JOIN_INNER)
		{
			found = wanted_by(join->quals, target);
			if (found == NULL)
				found = wanted_by(join->rarg, target);
		}
		if (found == NULL && (join->jointype == JOIN_INNER || join->jointype == JOIN_LEFT))
			found = wanted_by(join->larg, target);
	}
	else if (IsA(node, List) || is_andclause(node))
	{
		foreach(cell, IsA(node, List) ? (List *) node : ((BoolExpr *) node)->args)
			if (found == NULL)
				found = wanted_by(lfirst(cell), target);
	}
	else if (is_opclause(node) && list_length(((OpExpr *) node)->args) == 2)
	{
		OpExpr	   *clause = (OpExpr *) node;
		Node	   *left = strip(linitial(clause->args));
		Node	   *right = strip(lsecond(clause->args));

		/* a collation for which different texts are equal wants others too */
		if ((clause->opno == TEXT_EQUAL && get_collation_isdeterministic(clause->inputcollid)) ||
			get_op_opfamily_strategy(clause->opno, INTEGER_BTREE_FAM_OID) == BTEqualStrategyNumber)
			found = equal(left, target) ? right : equal(right, target) ? left : NULL;
		if (found != NULL && (contain_var_clause(found) || contain_volatile_functions(found)))
			found = NULL;
	}
	return found;
}

/* the same for a whole statement */
static Node *
wanted(PlannerInfo *root, Node *target)
{
	Node	   *found;

	if (!given(target))
		return NULL;
	target = strip(target);
	found = wanted_by((Node *) root->parse->jointree, target);
	/* conditions on what is grouped by */
	if (found == NULL && root->parse->groupingSets == NIL)
		found = wanted_by(root->parse->havingQual, target);
	return found;
}

/* if it is a constant, or a parameter whose value is known */
static Const *
wanted_value(PlannerInfo *root, Node *target)
{
	Node	   *value = wanted(root, target);

	if (value == NULL)
		return NULL;
	value = strip(eval_const_expressions(root, copyObject(value)));
	return IsA(value, Const) && !((Const *) value)->constisnull ? (Const *) value : NULL;
}

/* the home of the user with the login in that view, 0: there is none; and whether he is being moved */
static int32
home_in(Datum login, SpiView view, int64 *user_id, bool *moving)
{
	static Statement select_home = {
		"SELECT d.user_id, d.partition_id, EXISTS (SELECT FROM _taskex.migration m WHERE m.user_id = d.user_id"
		" AND m.finished_at IS NULL AND m.switched_at IS NULL AND m.state <> 'queued')"
		" FROM _taskex.directory d WHERE d.login = $1",
		1, {TEXTOID}
	};
	SpiScope	scope;
	int32		home = 0;
	bool		isnull;

	spi_begin(&scope);
	if (spi_run(&select_home, 0, &login, NULL, view, 1) == 1)
	{
		*user_id = spi_int64(0, 1);
		home = spi_int32(0, 2);
		*moving = DatumGetBool(spi_value(0, 3, &isnull));
	}
	spi_end(&scope);
	return home;
}

/*
 * The user whose login is wanted, and his home if that may be put into a plan,
 * else 0.  The snapshot may be older than what the plan will be used with.
 */
static bool
find_user(const Const *login, int64 *user_id, int32 *partition)
{
	bool		moving = false;

	*user_id = 0;
	if (login == NULL || (login->consttype != TEXTOID && login->consttype != VARCHAROID))
		return false;
	*partition = home_in(login->constvalue, SPI_VIEW_SNAPSHOT, user_id, &moving);
	if (home_in(login->constvalue, SPI_VIEW_LATEST, user_id, &moving) != *partition || moving)
		*partition = 0;
	return *user_id != 0;
}

/* an id, as a type of integer */
static bool
find_id(const Const *id, int64 *value)
{
	if (id == NULL)
		return false;
	switch (id->consttype)
	{
		case INT8OID:
			*value = DatumGetInt64(id->constvalue);
			break;
		case INT4OID:
			*value = DatumGetInt32(id->constvalue);
			break;
		case INT2OID:
			*value = DatumGetInt16(id->constvalue);
			break;
		default:
			return false;
	}
	return *value >= 0;
}

/*
 * The partitions on which what has an id can be: those that the id tells and,
 * if it has moved, its owner's home; and where owners of things on these are
 * being moved to.  int[], or NULL.
 */
static ArrayType *
find_homes(const Const *id)
{
	static Statement select_partitions = {
		"WITH told AS (SELECT partition_id FROM _taskex.partition WHERE partition_id % 1024 = $1::bigint % 1024"
		" UNION SELECT d.partition_id FROM _taskex.forward f JOIN _taskex.directory d ON d.user_id = f.owner_id WHERE f.id = $1)"
		" SELECT array_agg(partition_id) FROM (SELECT partition_id FROM told UNION SELECT m.target FROM _taskex.migration m"
		" JOIN told ON told.partition_id = m.source"
		" WHERE m.finished_at IS NULL AND m.switched_at IS NULL AND m.state <> 'queued'"
		" UNION SELECT unnest($2)) p",
		2, {INT8OID, INT4ARRAYOID}
	};
	MemoryContext context = CurrentMemoryContext;
	ArrayType  *homes = NULL;
	int64		value;

	StaticAssertStmt(ID_STEP == 1024, "select_partitions spells out ID_STEP");
	if (!find_id(id, &value))
		return NULL;

	/* the snapshot may be older than what the plan will be used with */
	for (int now = 0; now <= 1; now++)
	{
		Datum		values[2] = {Int64GetDatum(value), PointerGetDatum(homes)};
		SpiScope	scope;
		Datum		array;
		bool		isnull;

		spi_begin(&scope);
		spi_run(&select_partitions, 0, values, homes ? NULL : " n", now ? SPI_VIEW_LATEST : SPI_VIEW_SNAPSHOT, 1);
		array = spi_value(0, 1, &isnull);
		if (!isnull)
		{
			MemoryContext old = MemoryContextSwitchTo(context);

			homes = DatumGetArrayTypePCopy(array);
			MemoryContextSwitchTo(old);
		}
		spi_end(&scope);
	}
	return homes;
}

/* the plan is made anew when users begin to move from the partition, or have moved */
static void
depend_on_partition(PlannerInfo *root, int32 partition)
{
	Oid			anchor = moves_anchor(partition);

	if (OidIsValid(anchor))
		root->glob->relationOids = lappend_oid(root->glob->relationOids, anchor);
}

/*
 * narrow(partition_id, user_id, login, id): if the statement wants a login, then
 * also that user_id and his partition_id; if it wants an id, the partitions that
 * it can be on.
 *
 * What is put into the plan is committed and stays true as long as the plan is
 * used: users are not deleted, partitions come and go with an invalidation of the
 * parents, and the plan depends on the partitions whose users' homes it spells out
 * (moves_publish).  A user who is being moved has no home that can be put there.
 */
static Node *
narrowed(PlannerInfo *root, List *args)
{
	Node	   *partition = linitial(args);
	Node	   *user = lsecond(args);
	Node	   *login = lthird(args);
	Node	   *id = lfourth(args);
	List	   *clauses = NIL;
	int64		user_id;
	int32		home;

	if (!directory_caller_trusted() || !ActiveSnapshotSet() || TransactionIdIsValid(GetTopTransactionIdIfAny()))
		return makeBoolConst(true, false);

	if (find_user(wanted_value(root, login), &user_id, &home))
	{
		if (given(user))
			clauses = lappend(clauses, equals(user, INT8_EQUAL, INT8OID, Int64GetDatum(user_id)));
		if (given(partition) && home != 0)
		{
			clauses = lappend(clauses, equals(partition, INT4_EQUAL, INT4OID, Int32GetDatum(home)));
			depend_on_partition(root, home);
		}
	}
	if (given(partition))
	{
		ArrayType  *homes = find_homes(wanted_value(root, id));

		if (homes != NULL)
		{
			int32	   *partitions = (int32 *) ARR_DATA_PTR(homes);

			clauses = lappend(clauses,
							  any_of(partition, INT4_EQUAL,
									 (Expr *) makeConst(INT4ARRAYOID, -1, InvalidOid, -1, PointerGetDatum(homes), false, false)));
			for (int i = 0; i < ArrayGetNItems(ARR_NDIM(homes), ARR_DIMS(homes)); i++)
				depend_on_partition(root, partitions[i]);
		}
	}
	if (clauses == NIL)
		return makeBoolConst(true, false);
	return list_length(clauses) == 1 ? linitial(clauses) : (Node *) makeBoolExpr(AND_EXPR, clauses, -1);
}

static bool with_views = false; /* the statement being planned has views of ours */

/* the plan is good only for the present role, and as long as its memberships are */
static void
depend_on_caller(PlannerInfo *root)
{
	root->glob->dependsOnRole = true;
	planned = true;
	with_views = true;
}

static planner_hook_type previous_planner = NULL;

/*
 * The cost of a view is that of all partitions, of which most are not looked
 * at: compiling for it would take longer than any of its plans runs.
 */
static PlannedStmt *
plan_without_jit(Query *parse, const char *query_string, int cursor_options, ParamListInfo params)
{
	bool		around = with_views;
	PlannedStmt *plan;

	with_views = false;
	plan = (previous_planner ? previous_planner : standard_planner) (parse, query_string, cursor_options, params);
	if (with_views)
		plan->jitFlags = PGJIT_NONE;
	with_views = around;
	return plan;
}

void
visible_install(void)
{
	previous_planner = planner_hook;
	planner_hook = plan_without_jit;
}

static SupportRequestSimplify *
simplification(Node *request)
{
	SupportRequestSimplify *simplify = (SupportRequestSimplify *) request;

	if (!IsA(request, SupportRequestSimplify) || simplify->root == NULL)
		return NULL;
	depend_on_caller(simplify->root);
	return simplify;
}

PG_FUNCTION_INFO_V1(taskex_trusted_support);
PG_FUNCTION_INFO_V1(taskex_own_support);
PG_FUNCTION_INFO_V1(taskex_visible_support);
PG_FUNCTION_INFO_V1(taskex_narrow_support);
PG_FUNCTION_INFO_V1(taskex_asked_support);

/* caller_trusted(): false for who is not; asked again at each execution for who is */
Datum
taskex_trusted_support(PG_FUNCTION_ARGS)
{
	SupportRequestSimplify *request = simplification((Node *) PG_GETARG_POINTER(0));

	if (request == NULL || directory_caller_trusted())
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(makeBoolConst(false, false));
}

Datum
taskex_own_support(PG_FUNCTION_ARGS)
{
	SupportRequestSimplify *request = simplification((Node *) PG_GETARG_POINTER(0));

	if (request == NULL)
		PG_RETURN_POINTER(NULL);
	if (directory_caller_trusted())
		PG_RETURN_POINTER(makeBoolConst(false, false));
	PG_RETURN_POINTER(acts_for(request->fcall->args));
}

Datum
taskex_visible_support(PG_FUNCTION_ARGS)
{
	SupportRequestSimplify *request = simplification((Node *) PG_GETARG_POINTER(0));

	if (request == NULL)
		PG_RETURN_POINTER(NULL);
	if (directory_caller_trusted())
		PG_RETURN_POINTER(our_call("caller_trusted"));
	PG_RETURN_POINTER(acts_for(request->fcall->args));
}

Datum
taskex_narrow_support(PG_FUNCTION_ARGS)
{
	SupportRequestSimplify *request = simplification((Node *) PG_GETARG_POINTER(0));

	if (request == NULL)
		PG_RETURN_POINTER(NULL);
	PG_RETURN_POINTER(narrowed(request->root, request->fcall->args));
}

/* asked(...): does a trusted caller's statement want a value of one of the arguments? */
Datum
taskex_asked_support(PG_FUNCTION_ARGS)
{
	SupportRequestSimplify *request = simplification((Node *) PG_GETARG_POINTER(0));
	ListCell   *cell;

	if (request == NULL)
		PG_RETURN_POINTER(NULL);
	if (directory_caller_trusted())
		foreach(cell, request->fcall->args)
			if (wanted(request->root, lfirst(cell)) != NULL)
				PG_RETURN_POINTER(makeBoolConst(true, false));
	PG_RETURN_POINTER(makeBoolConst(false, false));
}
