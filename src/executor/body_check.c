/*
 * body_check.c
 *	  Code is compiled before it is kept.
 *
 * It is compiled in a subtransaction that is rolled back, as its owner's role,
 * in a restricted operation: some languages run parts of the code meanwhile.  Where
 * such a part never ends, and looks at no interrupts, a cancel ends the session.
 */
#include "postgres.h"

#include "executor/body.h"
#include "base/args.h"
#include "base/compat.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "executor/interpreter.h"
#include "executor/limits.h"
#include "infra/spi.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/proclang.h"
#include "common/hashfn.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/portal.h"
#include "utils/resowner.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "tcop/pquery.h"

/* the path that sessions of a role begin with, as far as the database says it */
static Statement select_path = {
	"SELECT (SELECT substr(c, 13) FROM unnest(s.setconfig) c WHERE c LIKE 'search\\_path=%') FROM pg_catalog.pg_db_role_setting s"
	" WHERE s.setrole IN (0, $1) AND s.setdatabase IN (0, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()))"
	" AND EXISTS (SELECT FROM unnest(s.setconfig) c WHERE c LIKE 'search\\_path=%')"
	" ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1",
	1, {OIDOID}
};

static char *
path_of(Oid role)
{
	Datum		value = ObjectIdGetDatum(role);
	MemoryContext old = CurrentMemoryContext;
	char	   *path = "\"$user\", public";
	SpiScope	scope;
	bool		isnull;

	spi_begin(&scope);
	if (spi_run(&select_path, 0, &value, NULL, SPI_VIEW_CURRENT, 1) == 1)
		path = MemoryContextStrdup(old, TextDatumGetCString(spi_value(0, 1, &isnull)));
	spi_end(&scope);
	return path;
}

/* ---- compiling ---- */

static void
set_up(Oid role, const char *path)
{
	Oid			user;
	int			security_context;

	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(role, security_context | SECURITY_LOCAL_USERID_CHANGE | SECURITY_RESTRICTED_OPERATION);
	(void) set_config_option("search_path", path, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	(void) set_config_option("check_function_bodies", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

/* ---- a compiler that runs code which does not end ---- */

#define TICK_MS 100

static TimeoutId tick;
static bool tick_known = false;
static volatile TimestampTz asked_at;	/* since when the statement is to end; 0: it is not */

/* called by the signal handler of timeouts, for as long as the compiler is at it */
static void
on_tick(void)
{
	if (!QueryCancelPending && !ProcDiePending)
		asked_at = 0;
	else if (asked_at == 0)
		asked_at = GetCurrentTimestamp();
	else if (GetCurrentTimestamp() - asked_at >= guc_run_grace * INT64CONST(1000) &&
			 InterruptHoldoffCount == 1 && CritSectionCount == 0 && interrupted_may_leave())
	{
		/* what others would say of the place is of no use, and may not be asked here */
		error_context_stack = NULL;
		ereport(FATAL,
				(errcode(ERRCODE_QUERY_CANCELED),
				 errmsg("terminating connection because code that runs while it is compiled does not end"),
				 errdetail("The statement was to be cancelled, and the code does not listen.")));
	}
}

static void
watch_compiler(void)
{
	if (!tick_known)
		tick = RegisterTimeout(USER_TIMEOUT, on_tick);
	tick_known = true;
	interrupted_install();
	interrupted_begin();
	asked_at = 0;
	enable_timeout_every(tick, GetCurrentTimestamp() + TICK_MS * INT64CONST(1000), TICK_MS);
}

static void
leave_compiler(void)
{
	if (tick_known)
		disable_timeout(tick, false);
}

/* ---- all of it ---- */

/* what the compiler says; NULL: nothing */
static ErrorData *
compile(const char *language, Oid role, const char *source)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner resources = CurrentResourceOwner;
	Portal		portal = ActivePortal;
	char	   *path = path_of(role);
	ErrorData  *error = NULL;
	Oid			user;
	int			security_context;

	GetUserIdAndSecContext(&user, &security_context);
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		set_up(role, path);
		/* else compilers look for the place of an error in the text of the caller's query */
		ActivePortal = NULL;
		if (interpreter_keeps(get_language_oid(language, true)))
			watch_compiler();
		(void) body_create(language, get_namespace_oid("_taskex", false), psprintf("code_of_process_%d", MyProcPid), source);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
	}
	PG_END_TRY();
	leave_compiler();
	ActivePortal = portal;
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = resources;
	SetUserIdAndSecContext(user, security_context);
	return error;
}

/* ---- errors ---- */

/* the line that an error is on, 0: it does not say */
static int
line_of(const ErrorData *error)
{
	const char *text = error->internalquery;
	int			line = 1;

	if (text == NULL || error->internalpos <= 0)
		return 0;
	for (int i = 1; i < error->internalpos && *text; i++)
	{
		line += *text == '\n';
		text += pg_mblen(text);
	}
	return line;
}

/* PL/Python puts a line before the first */
static char *
python_detail(const char *detail)
{
	const char *line = strstr(detail, ", line ");
	char	   *rest;
	long		number;

	if (line == NULL)
		return pstrdup(detail);
	number = strtol(line + strlen(", line "), &rest, 10);
	return psprintf("%.*s, line %ld%s", (int) (line - detail), detail, number - 1, rest);
}

static void
report(const char *language, const ErrorData *error)
{
	StringInfoData detail;
	int			line = line_of(error);

	initStringInfo(&detail);
	if (line > 0)
		appendStringInfo(&detail, "Line %d: ", line);
	appendStringInfoString(&detail, error->message);
	if (error->detail)
		appendStringInfo(&detail, "\n%s", strncmp(language, "plpython", strlen("plpython")) == 0 ? python_detail(error->detail) : error->detail);
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_CODE_INVALID),
			 errmsg("the code does not compile in language \"%s\"", language),
			 errdetail_internal("%s", detail.data),
			 error->hint ? errhint("%s", error->hint) : 0));
}

/* is it an error of something else than the code? */
static bool
is_foreign(const ErrorData *error)
{
	int			category = ERRCODE_TO_CATEGORY(error->sqlerrcode);

	return category == ERRCODE_OPERATOR_INTERVENTION || category == ERRCODE_INSUFFICIENT_RESOURCES ||
		category == ERRCODE_SYSTEM_ERROR || category == ERRCODE_TRANSACTION_ROLLBACK;
}

/* may it be there when the environment has been set up? */
static bool
may_be_set_up(const ErrorData *error)
{
	switch (error->sqlerrcode)
	{
		case ERRCODE_UNDEFINED_TABLE:
		case ERRCODE_UNDEFINED_FUNCTION:
		case ERRCODE_UNDEFINED_OBJECT:
		case ERRCODE_UNDEFINED_COLUMN:
		case ERRCODE_UNDEFINED_SCHEMA:
			return true;
		default:
			return false;
	}
}

/* ---- code that compiled in this session ---- */

typedef struct Checked
{
	uint64		hash[2];
	int32		environment_id;
	Oid			role;
} Checked;

#define CHECKED_MAX 64

static Checked checked[CHECKED_MAX];
static int	next_checked = 0;

static Checked
checked_key(Oid role, const KnownEnvironment *environment, const char *source)
{
	Checked		key;
	Size		length = strlen(source);

	memset(&key, 0, sizeof(key));
	key.hash[0] = hash_bytes_extended((const unsigned char *) source, length, length);
	key.hash[1] = hash_bytes_extended((const unsigned char *) source, length, ~key.hash[0]);
	key.environment_id = environment->environment_id;
	key.role = role;
	return key;
}

static bool
is_checked(const Checked *key)
{
	for (int i = 0; i < CHECKED_MAX; i++)
		if (memcmp(&checked[i], key, sizeof(Checked)) == 0)
			return true;
	return false;
}

/* ---- what others call ---- */

void
body_check(const UserHome *owner, const KnownEnvironment *environment, const char *source)
{
	KnownEnvironment known = *environment;	/* compiling may read it anew */
	Checked		key;
	ErrorData  *error;

	if (known.external)
		return;
	if (body_untrusted(known.language) && !environment_names(environment, owner->user_id))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for code in environment \"%s\"", known.name),
				 errdetail("Code in language \"%s\" can do all that the server can.", known.language),
				 errhint("The operator names who may have code in it with option \"customers\" of taskex.alter_environment().")));
	if (!OidIsValid(owner->db_role))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_NO_EXECUTOR_ROLE),
				 errmsg("the user has no role as which code in environment \"%s\" could be compiled", known.name),
				 errdetail("His profile names no db_role."),
				 errhint("Name a role with taskex.update_user(), key \"db_role\".")));
	key = checked_key(owner->db_role, &known, source);
	if (is_checked(&key))
		return;
	error = compile(known.language, owner->db_role, source);
	if (error && is_foreign(error))
		ReThrowError(error);
	if (error && !(known.set_up && may_be_set_up(error)))
		report(known.language, error);
	checked[next_checked++ % CHECKED_MAX] = key;
}

void
body_check_submitted(const UserHome *customer, const KnownEnvironment *environment, const text *code)
{
	body_check(customer, environment, text_to_cstring(code));
}

PG_FUNCTION_INFO_V1(taskex_check_body);

/* check_body(owner, environment's id, source) */
Datum
taskex_check_body(PG_FUNCTION_ARGS)
{
	UserHome	owner;

	directory_home_by_id(PG_GETARG_INT64(0), &owner);
	body_check(&owner, environment_by_id(PG_GETARG_INT32(1)), text_to_cstring(PG_GETARG_TEXT_PP(2)));
	PG_RETURN_VOID();
}
