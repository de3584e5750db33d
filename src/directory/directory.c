/*
 * directory.c
 *	  Look-up of users, and who may act for whom.
 *
 * See README.md for how the table _taskex.directory, the cache in shared
 * memory and a transaction's own changes fit together.
 */
#include "postgres.h"

#include "directory/directory.h"
#include "directory/cache.h"
#include "directory/internal.h"
#include "base/args.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "directory/meter.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/xact.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/syscache.h"

static Statement select_by_login = {
	"SELECT user_id, partition_id, epoch, coalesce(db_role::oid, 0), starts_with(login, '" ANONYMOUS_PREFIX "')"
	" FROM _taskex.directory WHERE login = $1",
	1, {TEXTOID}
};

static Statement select_by_id = {
	"SELECT user_id, partition_id, epoch, coalesce(db_role::oid, 0), starts_with(login, '" ANONYMOUS_PREFIX "')"
	" FROM _taskex.directory WHERE user_id = $1",
	1, {INT8OID}
};

/* ---- changes made by this transaction ---- */

typedef struct DirtyUser
{
	CacheKey	login_key;
	CacheKey	id_key;
} DirtyUser;

static void
dirty_commit(void *record)
{
	DirtyUser  *dirty = record;

	cache_forget(&dirty->login_key);
	cache_forget(&dirty->id_key);
}

static void
dirty_abort(void *record)
{
}

static const XactKind dirty_kind = {dirty_commit, dirty_abort};

static bool
dirty_matches(void *record, void *arg)
{
	DirtyUser  *dirty = record;
	CacheKey   *key = arg;
	const CacheKey *own = key->kind == dirty->id_key.kind ? &dirty->id_key : &dirty->login_key;

	return own->kind == key->kind && memcmp(own->bytes, key->bytes, CACHE_KEY_SIZE) == 0;
}

void
directory_changed(const text *login, int64 user_id)
{
	DirtyUser  *dirty = xact_add(&dirty_kind, sizeof(DirtyUser));

	cache_key_login(&dirty->login_key, login);
	cache_key_id(&dirty->id_key, user_id);
}

/* ---- look-up ---- */

static bool
select_home(Statement *statement, Datum value, SpiView view, UserHome *home)
{
	SpiScope	scope;
	bool		found;

	spi_begin(&scope);
	found = spi_run(statement, 0, &value, NULL, view, 1) == 1;
	if (found)
	{
		bool		isnull;

		home->user_id = spi_int64(0, 1);
		home->partition = spi_int32(0, 2);
		home->epoch = (uint32) spi_int64(0, 3);
		home->db_role = DatumGetObjectId(spi_value(0, 4, &isnull));
		home->anonymous = DatumGetBool(spi_value(0, 5, &isnull));
	}
	spi_end(&scope);
	return found;
}

/*
 * The cache, else the committed row, which may be cached, else a row that only
 * this transaction sees.  A standby's cache would not hear of changes: there
 * the table answers.
 */
static bool
find(CacheKey *key, Statement *statement, Datum value, HomeView view, UserHome *home)
{
	uint32		version;

	if (unlikely(RecoveryInProgress()))
		return select_home(statement, value, view == HOME_SEEN ? SPI_VIEW_SNAPSHOT : SPI_VIEW_CURRENT, home);
	if (unlikely(xact_scan(&dirty_kind, dirty_matches, key)))
	{
		if (!select_home(statement, value, SPI_VIEW_CURRENT, home))
			return false;
	}
	else if (unlikely(!cache_find(key, home, &version)))
	{
		if (select_home(statement, value, SPI_VIEW_LATEST, home))
			cache_fill(key, home, version);
		else if (!select_home(statement, value, SPI_VIEW_CURRENT, home))
			return false;
	}
	moves_settle(home, view);
	return true;
}

/*
 * The same.  For who writes an anonymous user stays who he is until this
 * transaction ends; who waited for him to be identified finds him no more.
 */
static bool
look_up(CacheKey *key, Statement *statement, Datum value, HomeView view, UserHome *home)
{
	if (!find(key, statement, value, view, home))
		return false;
	if (likely(!home->anonymous || view != HOME_KEPT) || RecoveryInProgress() || anonymous_hold(home->user_id))
		return true;
	return select_home(statement, value, SPI_VIEW_NOW, home);
}

bool
directory_find_home(const text *login, bool hold, UserHome *home)
{
	CacheKey	key;
	Size		length = VARSIZE_ANY_EXHDR(login);

	if (length == 0 || length > LOGIN_MAX)
		return false;
	cache_key_login(&key, login);
	return (hold ? look_up : find) (&key, &select_by_login, PointerGetDatum(login), HOME_KEPT, home);
}

static void
look_up_login(const text *login, HomeView view, UserHome *home)
{
	CacheKey	key;
	Size		length = VARSIZE_ANY_EXHDR(login);

	if (length > 0 && length <= LOGIN_MAX)
	{
		cache_key_login(&key, login);
		if (look_up(&key, &select_by_login, PointerGetDatum(login), view, home))
			return;
	}
	anonymous_gone(login);
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_UNKNOWN_USER),
			 errmsg("user \"%s\" does not exist", text_to_cstring(login)),
			 errhint("Use taskex.register_user() to register users.")));
}

void
directory_home(const text *login, UserHome *home)
{
	look_up_login(login, HOME_KEPT, home);
}

void
directory_seen_home(const text *login, UserHome *home)
{
	look_up_login(login, HOME_SEEN, home);
}

static bool
look_up_id(int64 user_id, HomeView view, UserHome *home)
{
	CacheKey	key;

	cache_key_id(&key, user_id);
	return look_up(&key, &select_by_id, Int64GetDatum(user_id), view, home);
}

static void
require_user(bool found, int64 user_id)
{
	if (likely(found))
		return;
	anonymous_gone_by_id(user_id);
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_UNKNOWN_USER),
			 errmsg("user with id %lld does not exist", (long long) user_id)));
}

bool
directory_find_home_by_id(int64 user_id, UserHome *home)
{
	return look_up_id(user_id, HOME_KEPT, home);
}

void
directory_home_by_id(int64 user_id, UserHome *home)
{
	require_user(look_up_id(user_id, HOME_KEPT, home), user_id);
}

void
directory_seen_home_by_id(int64 user_id, UserHome *home)
{
	require_user(look_up_id(user_id, HOME_SEEN, home), user_id);
}

static HomeView
steady_view(void)
{
	return IsolationUsesXactSnapshot() ? HOME_SEEN : HOME_KEPT;
}

void
directory_steady_home_by_id(int64 user_id, UserHome *home)
{
	require_user(look_up_id(user_id, steady_view(), home), user_id);
}

void
directory_present_home_by_id(int64 user_id, UserHome *home)
{
	require_user(look_up_id(user_id, HOME_PRESENT, home), user_id);
}

/* ---- who may act ---- */

typedef enum CallerRank
{
	CALLER_UNKNOWN,
	CALLER_PLAIN,
	CALLER_APP,
	CALLER_ADMIN
} CallerRank;

static Oid	ranked_role = InvalidOid;
static CallerRank rank = CALLER_UNKNOWN;
static bool rank_callback_registered = false;
static uint32 role_changes = 0; /* that this session has heard of */

static void
roles_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	rank = CALLER_UNKNOWN;
	role_changes++;
	visible_roles_changed();
}

static bool
has_role(Oid caller, const char *name)
{
	Oid			role = get_role_oid(name, true);

	return OidIsValid(role) && has_privs_of_role(caller, role);
}

/* the rank of the current user, remembered until a role changes */
static CallerRank
caller_rank(void)
{
	Oid			caller = GetUserId();
	uint32		changes;
	CallerRank	found;

	if (likely(rank != CALLER_UNKNOWN && ranked_role == caller))
		return rank;

	if (!rank_callback_registered)
	{
		CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, roles_changed, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, roles_changed, (Datum) 0);
		rank_callback_registered = true;
	}
	/* an error on the way, or a change, leaves nothing that looks known */
	rank = CALLER_UNKNOWN;
	ranked_role = caller;
	changes = role_changes;
	if (superuser_arg(caller) || has_role(caller, "taskex_admin"))
		found = CALLER_ADMIN;
	else if (has_role(caller, "taskex_app"))
		found = CALLER_APP;
	else
		found = CALLER_PLAIN;
	if (changes == role_changes)
		rank = found;
	return found;
}

bool
directory_caller_trusted(void)
{
	return caller_rank() >= CALLER_APP;
}

void
directory_require_trusted(const char *what)
{
	if (caller_rank() < CALLER_APP)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to %s", what),
				 errdetail("Only roles with privileges of taskex_app or taskex_admin may do this."),
				 errhint("An operator uses GRANT taskex_app TO the role of a trusted application.")));
}

void
directory_require_admin(const char *what)
{
	if (caller_rank() < CALLER_ADMIN)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to %s", what),
				 errdetail("Only roles with privileges of taskex_admin may do this."),
				 errhint("A superuser uses GRANT taskex_admin TO the role of an operator.")));
}

void
directory_check_may_act(const text *login, const UserHome *home)
{
	if (likely(caller_rank() >= CALLER_APP))
		return;
	if (OidIsValid(home->db_role) && has_privs_of_role(GetUserId(), home->db_role))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("permission denied to act for user \"%s\"", text_to_cstring(login)),
			 errdetail("A database role acts for the users whose profile names it as db_role; members of taskex_app act for any user."),
			 errhint("The view taskex.users lists those whom you may act for; an operator names a role with taskex.update_user(), key \"db_role\".")));
}

static void
look_up_actor(const text *login, HomeView view, UserHome *home)
{
	look_up_login(login, view, home);
	directory_check_may_act(login, home);
	if (unlikely(guc_epoch >= 0) && home->epoch != (uint32) guc_epoch)
		directory_report_moved(login, home, guc_epoch);
	partition_require_local(home->partition, login);
	meter_user(home->user_id, home->partition);
	wait_point("home_found");
}

void
directory_actor(const text *login, UserHome *home)
{
	look_up_actor(login, HOME_KEPT, home);
}

void
directory_reader(const text *login, UserHome *home)
{
	look_up_actor(login, HOME_SEEN, home);
}

void
directory_steady_reader(const text *login, UserHome *home)
{
	look_up_actor(login, steady_view(), home);
}

/* ---- SQL ---- */

PG_FUNCTION_INFO_V1(taskex_route);

/* route(login) -> (user_id, partition, node, epoch) */
Datum
taskex_route(PG_FUNCTION_ARGS)
{
	static TupleDesc desc = NULL;
	UserHome	home;
	Datum		values[4];
	bool		nulls[4] = {false, false, false, false};
	const PartitionInfo *info;
	text	   *login;

	require_arg(fcinfo, 0, "login");
	login = PG_GETARG_TEXT_PP(0);
	directory_seen_home(login, &home);
	directory_check_may_act(login, &home);
	info = partition_info(home.partition);

	if (unlikely(desc == NULL))
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		desc = CreateTemplateTupleDesc(4);
		TupleDescInitEntry(desc, 1, "user_id", INT8OID, -1, 0);
		TupleDescInitEntry(desc, 2, "partition", TEXTOID, -1, 0);
		TupleDescInitEntry(desc, 3, "node", TEXTOID, -1, 0);
		TupleDescInitEntry(desc, 4, "epoch", INT8OID, -1, 0);
		BlessTupleDesc(desc);
		MemoryContextSwitchTo(old);
	}
	values[0] = Int64GetDatum(home.user_id);
	values[1] = CStringGetTextDatum(info->name);
	values[2] = CStringGetTextDatum(info->node);
	values[3] = Int64GetDatum(home.epoch);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(desc, values, nulls)));
}

PG_FUNCTION_INFO_V1(taskex_caller_trusted);

Datum
taskex_caller_trusted(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(directory_caller_trusted());
}

PG_FUNCTION_INFO_V1(taskex_caller_admin);

Datum
taskex_caller_admin(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(caller_rank() >= CALLER_ADMIN);
}
