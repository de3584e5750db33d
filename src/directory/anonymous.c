/*
 * anonymous.c
 *	  Users without a name: started, identified, removed.
 *
 * An anonymous user is a user like others whose login begins with
 * ANONYMOUS_PREFIX and who lives on a partition that is for such users alone.
 * To be identified means that he gets a login, or that all that is his becomes
 * that of a user who has one: then his number is gone.
 *
 * So whoever looks an anonymous user up holds him: a lock on his number, shared,
 * until the transaction ends.  To identify or remove him takes the lock
 * exclusively.  What is written under his number is written by those who
 * hold him, or is found by a row that they have locked (sql/anonymous.sql).
 */
#include "postgres.h"

#include "directory/directory.h"
#include "directory/internal.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "base/guc.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"
#include "infra/worker.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"
#include "utils/wait_event.h"

/* others are given way to this often, and are waited for so long each time */
#define TRIES 50
#define LOCK_TIMEOUT "20ms"
#define PAUSE_MS 20

/* how often, and how many at a time, unused ones are looked for */
#define MAINTAIN_MS 10000
#define MAINTAIN_USERS 200

static Statement count_anonymous = {
	"SELECT count(*) FROM _taskex.directory WHERE db_role = $1 AND starts_with(login, '" ANONYMOUS_PREFIX "')",
	1, {REGROLEOID}
};

static Statement select_identified = {
	"SELECT user_id FROM _taskex.identified WHERE login = $1", 1, {TEXTOID}
};

static Statement select_identified_by_id = {
	"SELECT user_id FROM _taskex.identified WHERE anonymous_id = $1", 1, {INT8OID}
};

static Statement give_login = {
	"SELECT _taskex.name_anonymous($1, $2, $3)", 3, {INT8OID, TEXTOID, INT4OID}
};

static Statement merge_users = {
	"SELECT _taskex.merge_anonymous($1, $2)", 2, {INT8OID, INT8OID}
};

static Statement remove_unused = {
	"SELECT _taskex.remove_anonymous($1, $2, make_interval(secs => $3))", 3, {TEXTOID, INT4OID, FLOAT8OID}
};

/* ---- held and gone ---- */

#define ANONYMOUS_LOCK 0x74787531

static void
user_tag(LOCKTAG *tag, int64 user_id)
{
	/* two numbers that share a lock only wait for each other */
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, ANONYMOUS_LOCK ^ (uint32) ((uint64) user_id >> 32), (uint32) user_id, 4);
}

bool
anonymous_hold(int64 user_id)
{
	LOCKTAG		tag;
	LockAcquireResult result;

	user_tag(&tag, user_id);
	result = LockAcquire(&tag, ShareLock, false, false);
	return result == LOCKACQUIRE_ALREADY_HELD || result == LOCKACQUIRE_ALREADY_CLEAR;
}

static void
hold_exclusively(int64 user_id)
{
	LOCKTAG		tag;

	user_tag(&tag, user_id);
	(void) LockAcquire(&tag, ExclusiveLock, false, false);
}

/* the user whom somebody has been identified as, or 0 */
static int64
identified_as(Statement *statement, Datum value)
{
	SpiScope	scope;
	int64		user_id = 0;

	spi_begin(&scope);
	if (spi_run(statement, 0, &value, NULL, RecoveryInProgress() ? SPI_VIEW_CURRENT : SPI_VIEW_NOW, 1) == 1)
		user_id = spi_int64(0, 1);
	spi_end(&scope);
	return user_id;
}

static bool
is_anonymous(const text *login)
{
	return VARSIZE_ANY_EXHDR(login) > strlen(ANONYMOUS_PREFIX) &&
		memcmp(VARDATA_ANY(login), ANONYMOUS_PREFIX, strlen(ANONYMOUS_PREFIX)) == 0;
}

void
anonymous_gone(const text *login)
{
	if (is_anonymous(login) && identified_as(&select_identified, PointerGetDatum(login)) != 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_ALREADY_IDENTIFIED),
				 errmsg("user \"%s\" has been identified", text_to_cstring(login)),
				 errhint("Use the login that he has now.")));
}

void
anonymous_gone_by_id(int64 user_id)
{
	if (identified_as(&select_identified_by_id, Int64GetDatum(user_id)) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
				 errmsg("an anonymous user was identified at this moment"),
				 errhint("The transaction might succeed if retried.")));
}

/* ---- start ---- */

/* the role that acts for a new anonymous user, which the caller may start */
static Oid
role_for_new(Jsonb *profile)
{
	Oid			db_role = user_db_role(profile);
	Datum		value = ObjectIdGetDatum(GetUserId());
	SpiScope	scope;
	int64		count;

	if (directory_caller_trusted())
		return db_role;
	if (OidIsValid(db_role) && db_role != GetUserId())
		directory_require_trusted("start an anonymous user for another role");
	spi_begin(&scope);
	spi_run(&count_anonymous, 0, &value, NULL, SPI_VIEW_CURRENT, 1);
	count = spi_int64(0, 1);
	spi_end(&scope);
	if (count >= guc_anonymous_limit)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_TOO_MANY_ANONYMOUS),
				 errmsg("role \"%s\" has too many anonymous users", GetUserNameFromId(GetUserId(), false)),
				 errdetail("It has %lld, the limit is %d.", (long long) count, guc_anonymous_limit),
				 errhint("Identify those that are there, or raise taskex.anonymous_limit. Those who are not used go by themselves.")));
	return GetUserId();
}

/* he moves to a partition of his tier when he is identified: one must have it */
static void
require_tier(Jsonb *profile)
{
	static Statement statement = {"SELECT _taskex.require_tier($1 ->> 'tier')", 1, {JSONBOID}};
	Datum		value = JsonbPGetDatum(profile);
	SpiScope	scope;

	if (JB_ROOT_COUNT(profile) == 0)
		return;
	spi_begin(&scope);
	spi_run(&statement, 0, &value, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

PG_FUNCTION_INFO_V1(taskex_start_anonymous);

/* start_anonymous(profile) -> login */
Datum
taskex_start_anonymous(PG_FUNCTION_ARGS)
{
	Jsonb	   *profile;
	text	   *login;
	Oid			db_role;
	char	   *id;

	require_arg(fcinfo, 0, "profile");
	PreventCommandIfReadOnly("start_anonymous()");
	check_json_size(PG_GETARG_DATUM(0), "profile");
	profile = PG_GETARG_JSONB_P(0);
	if (!JB_ROOT_IS_OBJECT(profile))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a profile must be a JSON object")));
	db_role = role_for_new(profile);
	user_check_hints(profile);

	/* 122 bits of strong randomness: the login is all that its holder has to show */
	id = DatumGetCString(DirectFunctionCall1(uuid_out, DirectFunctionCall1(gen_random_uuid, (Datum) 0)));
	login = cstring_to_text(psprintf("%s%s", ANONYMOUS_PREFIX, id));
	directory_lock_partitions();
	(void) user_register(login, profile, db_role, partition_for_new_user(NULL, 0, true));
	require_tier(profile);
	PG_RETURN_TEXT_P(login);
}

/* ---- identify ---- */

typedef struct Identity
{
	const text *anonymous;
	const text *login;
	UserHome	home;			/* of the anonymous user */
	UserHome	known;			/* who he is, if known.user_id is not 0 */
	int64		result;
} Identity;

/* an earlier call has done it: its result, or an error if that was another identity */
static bool
done_before(Identity *identity)
{
	UserHome	known;
	int64		user_id = identified_as(&select_identified, PointerGetDatum(identity->anonymous));

	if (user_id == 0)
		return false;
	if (!directory_find_home(identity->login, true, &known) || known.user_id != user_id)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_ALREADY_IDENTIFIED),
				 errmsg("user \"%s\" has been identified as another user", text_to_cstring(identity->anonymous)),
				 errhint("An anonymous user is identified once.")));
	directory_check_may_act(identity->login, &known);
	identity->result = user_id;
	return true;
}

/* the anonymous user as he is while we hold him exclusively; false: it was done */
static bool
take(Identity *identity)
{
	if (done_before(identity))
		return false;
	if (directory_find_home(identity->anonymous, false, &identity->home))
	{
		wait_point("identify");
		hold_exclusively(identity->home.user_id);
		if (done_before(identity))
			return false;
	}
	if (!directory_find_home(identity->anonymous, false, &identity->home))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_USER),
				 errmsg("user \"%s\" does not exist", text_to_cstring(identity->anonymous)),
				 errhint("taskex.start_anonymous() makes anonymous users; those who are not used go after taskex.anonymous_lifetime.")));
	directory_check_may_act(identity->anonymous, &identity->home);
	return true;
}

static void
become_new_user(Identity *identity)
{
	SpiScope	scope;
	Datum		values[3] = {Int64GetDatum(identity->home.user_id), PointerGetDatum(identity->login)};

	directory_require_trusted("identify an anonymous user as a new one");
	user_check_login(identity->login);
	directory_lock_partitions();
	values[2] = Int32GetDatum(identity->home.partition);
	spi_begin(&scope);
	spi_run(&give_login, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
	directory_changed(identity->anonymous, identity->home.user_id);
	directory_changed(identity->login, identity->home.user_id);
	identity->result = identity->home.user_id;
}

static void
become_known_user(Identity *identity)
{
	SpiScope	scope;
	Datum		values[2] = {Int64GetDatum(identity->home.user_id), Int64GetDatum(identity->known.user_id)};

	directory_check_may_act(identity->login, &identity->known);
	partition_require_local(identity->known.partition, identity->login);
	spi_begin(&scope);
	spi_run(&merge_users, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
	directory_changed(identity->anonymous, identity->home.user_id);
	partition_user_left(identity->home.partition);
	identity->result = identity->known.user_id;
}

static void
identify_once(Identity *identity)
{
	if (!take(identity))
		return;
	partition_require_local(identity->home.partition, identity->anonymous);
	if (directory_find_home(identity->login, true, &identity->known))
		become_known_user(identity);
	else
		become_new_user(identity);
}

/* an error that tells of others who were faster, or are at it */
static bool
passes(int sqlerrcode)
{
	return sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE || sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE || sqlerrcode == ERRCODE_UNIQUE_VIOLATION;
}

/*
 * One attempt, undone if a lock cannot be had at once: whoever has it may wait
 * for the anonymous user, whom we hold.  False: others were in the way.
 */
static bool
try_identify(Identity *identity)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	volatile bool done = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		int			settings = NewGUCNestLevel();

		(void) set_config_option("lock_timeout", LOCK_TIMEOUT, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		(void) set_config_option("jit", "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
		identify_once(identity);
		AtEOXact_GUC(true, settings);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
		if (!passes(error->sqlerrcode))
			ReThrowError(error);
		FreeErrorData(error);
		done = false;
	}
	PG_END_TRY();
	return done;
}

static void
pause_a_moment(void)
{
	(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, PAUSE_MS, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

PG_FUNCTION_INFO_V1(taskex_identify);

/* identify(anonymous, login) -> user_id */
Datum
taskex_identify(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"anonymous", "login", NULL};
	Identity	identity = {0};

	require_args(fcinfo, names);
	PreventCommandIfReadOnly("identify()");
	if (IsolationUsesXactSnapshot())
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("anonymous users are identified in READ COMMITTED transactions only")));
	identity.anonymous = PG_GETARG_TEXT_PP(0);
	identity.login = PG_GETARG_TEXT_PP(1);
	if (!is_anonymous(identity.anonymous))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_NOT_ANONYMOUS),
				 errmsg("user \"%s\" is not anonymous", text_to_cstring(identity.anonymous)),
				 errhint("taskex.start_anonymous() makes anonymous users.")));
	if (is_anonymous(identity.login))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_NOT_ANONYMOUS),
				 errmsg("nobody can be identified as \"%s\", who is anonymous", text_to_cstring(identity.login))));

	for (int i = 0; !try_identify(&identity); i++)
	{
		if (i == TRIES)
			ereport(ERROR,
					(tx_errcode(ERRCODE_TX_USER_BUSY),
					 errmsg("user \"%s\" cannot be identified at this moment", text_to_cstring(identity.anonymous)),
					 errdetail("Other transactions are at work with what he or \"%s\" has.", text_to_cstring(identity.login)),
					 errhint("Try again when they have ended.")));
		pause_a_moment();
	}
	PG_RETURN_INT64(identity.result);
}

/* ---- for functions written in PL/pgSQL ---- */

PG_FUNCTION_INFO_V1(taskex_hold_anonymous);

/* _taskex.hold_anonymous(user_id): exclusively, if he is to be had at once */
Datum
taskex_hold_anonymous(PG_FUNCTION_ARGS)
{
	LOCKTAG		tag;

	user_tag(&tag, PG_GETARG_INT64(0));
	PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, false, true) != LOCKACQUIRE_NOT_AVAIL);
}

PG_FUNCTION_INFO_V1(taskex_anonymous_removed);

/* _taskex.anonymous_removed(login, user_id, partition_id) */
Datum
taskex_anonymous_removed(PG_FUNCTION_ARGS)
{
	directory_changed(PG_GETARG_TEXT_PP(0), PG_GETARG_INT64(1));
	partition_user_left(PG_GETARG_INT32(2));
	PG_RETURN_VOID();
}

/* ---- removal ---- */

static char *passed = NULL;		/* the last login that was looked at */

static void
remove_some(void *arg)
{
	Datum		values[3] = {CStringGetTextDatum(passed ? passed : ""), Int32GetDatum(MAINTAIN_USERS),
	Float8GetDatum(guc_anonymous_lifetime)};
	SpiScope	scope;
	char	   *last;
	Datum		value;
	bool		isnull;

	spi_begin(&scope);
	spi_run(&remove_unused, 0, values, NULL, SPI_VIEW_CURRENT, 1);
	value = spi_value(0, 1, &isnull);
	last = isnull ? NULL : MemoryContextStrdup(TopMemoryContext, TextDatumGetCString(value));
	spi_end(&scope);
	if (passed)
		pfree(passed);
	passed = last;
}

void
anonymous_maintain(void)
{
	static TimestampTz looked_at = 0;
	TimestampTz now = GetCurrentTimestamp();

	if (guc_anonymous_lifetime == 0 ||
		(passed == NULL && !TimestampDifferenceExceeds(looked_at, now, MAINTAIN_MS)))
		return;
	looked_at = now;

	/* of whom anybody's rows speak stays, and some of these cannot be read */
	if (!directory_all_readable())
		return;
	if (!worker_try_transaction("removing unused anonymous users", remove_some, NULL) && passed)
	{
		pfree(passed);
		passed = NULL;
	}
}
