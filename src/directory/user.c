/*
 * user.c
 *	  Registering users and changing their profiles.
 */
#include "postgres.h"

#include "directory/directory.h"
#include "directory/internal.h"
#include "base/args.h"
#include "base/clock.h"
#include "base/errcodes.h"
#include "directory/meter.h"
#include "infra/ids.h"
#include "infra/realm.h"
#include "infra/spi.h"
#include "infra/waitpoint.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

static Statement insert_user = {
	"INSERT INTO _taskex.directory (user_id, login, partition_id, db_role)"
	" VALUES ($1, $2, $3, $4) ON CONFLICT (login) DO NOTHING",
	4, {INT8OID, TEXTOID, INT4OID, REGROLEOID}
};

static Statement insert_profile = {
	"INSERT INTO _taskex.profile_%p (partition_id, user_id, tier, location, profile, registered_at)"
	" VALUES ($1, $2, $3, $4, $5, $6)",
	6, {INT4OID, INT8OID, TEXTOID, TEXTOID, JSONBOID, TIMESTAMPTZOID}
};

static Statement update_directory = {
	"UPDATE _taskex.directory SET db_role = $2 WHERE user_id = $1"
	" AND db_role::oid IS DISTINCT FROM $2::oid",
	2, {INT8OID, REGROLEOID}
};

static Statement select_profile = {
	"SELECT profile, tier FROM _taskex.profile_%p WHERE user_id = $1 FOR NO KEY UPDATE",
	1, {INT8OID}
};

static Statement update_profile = {
	"UPDATE _taskex.profile_%p SET tier = $2, location = $3, profile = $4 WHERE user_id = $1",
	4, {INT8OID, TEXTOID, TEXTOID, JSONBOID}
};

static Statement check_hints = {
	"SELECT _taskex.check_hints($1)",
	1, {JSONBOID}
};

/* is anything known of users who are like him? */
static Statement select_alike = {
	"SELECT FROM unnest(regexp_split_to_array(btrim(current_setting('taskex.supply_alike')), '\\s*,\\s*')) k"
	" JOIN _taskex.appeal a ON a.whose = left(k || ':' || ($1 ->> k), 200) AND a.requester_id = 0 LIMIT 1",
	1, {JSONBOID}
};

static Statement place_user = {
	"SELECT _taskex.place_user($1, $2)",
	2, {TEXTOID, JSONBOID}
};

/* migration.sql: a partition of another tier may suit the user better */
static Statement follow_tier = {
	"SELECT _taskex.follow_tier($1, $2)",
	2, {INT8OID, TEXTOID}
};

/* logins of the ledger's system accounts */
static const char *const reserved_logins[] = {"exchange", "outside", NULL};

void
user_check_login(const text *login)
{
	Size		length = VARSIZE_ANY_EXHDR(login);
	const char *string = VARDATA_ANY(login);

	if (length == 0 || length > LOGIN_MAX)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a login must have between 1 and %d bytes", LOGIN_MAX)));
	for (Size i = 0; i < length; i++)
		if ((unsigned char) string[i] < 0x20 || string[i] == 0x7f)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("a login must not contain control characters")));
	for (const char *const *name = reserved_logins; *name; name++)
		if (length == strlen(*name) && memcmp(string, *name, length) == 0)
			ereport(ERROR,
					(tx_errcode(ERRCODE_TX_DUPLICATE_LOGIN),
					 errmsg("login \"%s\" is reserved", *name),
					 errdetail("It names a system account of the ledger.")));
	if (length >= strlen(ANONYMOUS_PREFIX) && memcmp(string, ANONYMOUS_PREFIX, strlen(ANONYMOUS_PREFIX)) == 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_DUPLICATE_LOGIN),
				 errmsg("logins that begin with \"%s\" are reserved", ANONYMOUS_PREFIX),
				 errdetail("They are those of anonymous users."),
				 errhint("taskex.start_anonymous() makes one.")));
}

/* a text member of the profile, or NULL when absent or null */
static text *
profile_text(Jsonb *profile, const char *key)
{
	JsonbValue *value = getKeyJsonValueFromContainer(&profile->root, key, strlen(key), NULL);

	if (value == NULL || value->type == jbvNull)
		return NULL;
	if (value->type != jbvString || value->val.string.len == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("profile key \"%s\" must be a non-empty string", key)));
	return cstring_to_text_with_len(value->val.string.val, value->val.string.len);
}

typedef struct Profile
{
	Jsonb	   *json;
	text	   *tier;
	text	   *location;
	Oid			db_role;
} Profile;

/* takes the keys that mean something out of a profile, except db_role */
static void
read_profile(Jsonb *json, Profile *profile)
{
	if (!JB_ROOT_IS_OBJECT(json))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a profile must be a JSON object")));
	profile->json = json;
	profile->tier = profile_text(json, "tier");
	profile->location = profile_text(json, "location");
}

/*
 * The role that a profile, or changes of one, name as db_role.  Whoever names
 * one lends that role's rights to the user's programs, so a superuser can be
 * named by a superuser only.
 */
Oid
user_db_role(Jsonb *json)
{
	text	   *role = profile_text(json, "db_role");
	Oid			db_role = role ? get_role_oid(text_to_cstring(role), false) : InvalidOid;

	if (OidIsValid(db_role) && superuser_arg(db_role) && !superuser())
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to name role \"%s\" as db_role", text_to_cstring(role)),
				 errdetail("Only a superuser may name a superuser."),
				 errhint("Use a role of the user's own; the code of his runs has its rights.")));
	return db_role;
}

static bool
has_key(Jsonb *json, const char *key)
{
	return getKeyJsonValueFromContainer(&json->root, key, strlen(key), NULL) != NULL;
}

/* the profile with the changes; the keys that are null there are removed */
static Datum
merge_profile(Datum profile, Jsonb *changes)
{
	ArrayBuildState *removed = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	JsonbIterator *iterator = JsonbIteratorInit(&changes->root);
	JsonbIteratorToken token;
	JsonbValue	key;
	JsonbValue	value;

	JsonbIteratorNext(&iterator, &key, true);	/* WJB_BEGIN_OBJECT */
	while ((token = JsonbIteratorNext(&iterator, &key, true)) == WJB_KEY)
		if (JsonbIteratorNext(&iterator, &value, true) == WJB_VALUE && value.type == jbvNull)
			accumArrayResult(removed,
							 PointerGetDatum(cstring_to_text_with_len(key.val.string.val, key.val.string.len)),
							 false, TEXTOID, CurrentMemoryContext);
	return DirectFunctionCall2(jsonb_delete_array,
							   DirectFunctionCall2(jsonb_concat, profile, JsonbPGetDatum(changes)),
							   makeArrayResult(removed, CurrentMemoryContext));
}

/* values for insert_profile and update_profile from the third argument on */
static void
profile_datums(const Profile *profile, Datum *values, char *nulls)
{
	values[0] = PointerGetDatum(profile->tier);
	nulls[0] = profile->tier ? ' ' : 'n';
	values[1] = PointerGetDatum(profile->location);
	nulls[1] = profile->location ? ' ' : 'n';
	values[2] = JsonbPGetDatum(profile->json);
	nulls[2] = ' ';
}

void
user_check_hints(Jsonb *json)
{
	Datum		value = JsonbPGetDatum(json);
	SpiScope	scope;

	if (!has_key(json, "expected") && !has_key(json, "required") && !has_key(json, "storage_class"))
		return;
	spi_begin(&scope);
	spi_run(&check_hints, 0, &value, NULL, SPI_VIEW_CURRENT, 0);
	spi_end(&scope);
}

/*
 * The partition that suits a new user, if his profile says anything that makes
 * a difference between partitions; else 0.  The fitness functions are a higher
 * module's (sql/placement.sql), asked by name.
 */
static int32
partition_by_fitness(const text *login, const Profile *profile)
{
	Datum		values[2] = {PointerGetDatum(login), JsonbPGetDatum(profile->json)};
	SpiScope	scope;
	int32		partition = 0;
	bool		isnull;

	if (JB_ROOT_COUNT(profile->json) == 0)
		return 0;
	spi_begin(&scope);
	if (has_key(profile->json, "expected") || has_key(profile->json, "required") ||
		partition_hints_matter(profile->tier, profile->location != NULL, has_key(profile->json, "storage_class")) ||
		spi_run(&select_alike, 0, &values[1], NULL, SPI_VIEW_CURRENT, 1) > 0)
	{
		spi_run(&place_user, 0, values, NULL, SPI_VIEW_CURRENT, 1);
		partition = DatumGetInt32(spi_value(0, 1, &isnull));
		if (isnull)
			partition = 0;
	}
	spi_end(&scope);
	return partition;
}

int64
user_register(const text *login, Jsonb *json, Oid db_role, int32 partition)
{
	Profile		profile;
	int64		user_id;
	SpiScope	scope;

	read_profile(json, &profile);
	profile.db_role = db_role;
	user_id = ids_next(ID_USER, 1);

	spi_begin(&scope);
	wait_point("register_user");
	{
		Datum		values[4] = {Int64GetDatum(user_id), PointerGetDatum(login),
		Int32GetDatum(partition), ObjectIdGetDatum(profile.db_role)};
		char		nulls[4] = {' ', ' ', ' ', OidIsValid(profile.db_role) ? ' ' : 'n'};

		if (spi_run(&insert_user, 0, values, nulls, SPI_VIEW_CURRENT, 0) == 0)
			ereport(ERROR,
					(tx_errcode(ERRCODE_TX_DUPLICATE_LOGIN),
					 errmsg("login \"%s\" is registered already", text_to_cstring(login)),
					 errhint("taskex.route() returns the user's id.")));
	}
	{
		Datum		values[6] = {Int32GetDatum(partition), Int64GetDatum(user_id)};
		char		nulls[6] = "      ";

		profile_datums(&profile, values + 2, nulls + 2);
		values[5] = TimestampTzGetDatum(clock_now());
		spi_run(&insert_profile, partition, values, nulls, SPI_VIEW_CURRENT, 0);
	}
	spi_end(&scope);
	return user_id;
}

PG_FUNCTION_INFO_V1(taskex_register_user);

/* register_user(login, profile, partition) -> user_id */
Datum
taskex_register_user(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"login", "profile", NULL};
	text	   *login;
	Jsonb	   *json;
	Profile		profile;
	int32		partition;

	require_args(fcinfo, names);
	PreventCommandIfReadOnly("register_user()");
	login = PG_GETARG_TEXT_PP(0);
	user_check_login(login);
	directory_require_trusted("register users");
	check_json_size(PG_GETARG_DATUM(1), "profile");
	json = PG_GETARG_JSONB_P(1);
	read_profile(json, &profile);
	profile.db_role = user_db_role(json);
	user_check_hints(json);
	directory_lock_partitions();
	if (PG_ARGISNULL(2))
		partition = partition_for_new_user(NULL, partition_by_fitness(login, &profile), false);
	else
		partition = partition_for_new_user(PG_GETARG_TEXT_PP(2), 0, false);
	PG_RETURN_INT64(user_register(login, json, profile.db_role, partition));
}

/*
 * update_user(login, changes): merges the keys of changes into the profile; a
 * null value removes a key.  What is inside the values is not looked at.
 */
METERED(taskex_update_user)
{
	static const char *const names[] = {"login", "changes", NULL};
	text	   *login;
	Jsonb	   *changes;
	UserHome	home;
	Profile		profile;
	SpiScope	scope;
	Datum		merged;
	Datum		id;
	Datum		tier;
	text	   *old_tier;
	bool		isnull;

	require_args(fcinfo, names);
	login = PG_GETARG_TEXT_PP(0);
	directory_actor(login, &home);
	check_json_size(PG_GETARG_DATUM(1), "the set of changes");
	changes = PG_GETARG_JSONB_P(1);
	if (!JB_ROOT_IS_OBJECT(changes))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("changes of a profile must be a JSON object")));

	spi_begin(&scope);
	id = Int64GetDatum(home.user_id);
	if (spi_run(&select_profile, home.partition, &id, NULL, SPI_VIEW_CURRENT, 1) == 0)
		elog(ERROR, "profile of user %lld is missing", (long long) home.user_id);
	merged = SPI_datumTransfer(merge_profile(spi_value(0, 1, &isnull), changes), false, -1);
	tier = spi_value(0, 2, &isnull);
	old_tier = isnull ? NULL : DatumGetTextPP(SPI_datumTransfer(tier, false, -1));
	spi_end(&scope);

	check_json_size(merged, "profile");
	read_profile(DatumGetJsonbP(merged), &profile);
	user_check_hints(profile.json);

	/* the name in the profile may be another role's by now: only a new one counts */
	profile.db_role = has_key(changes, "db_role") ? user_db_role(changes) : home.db_role;
	if (profile.db_role != home.db_role)
		directory_require_trusted("change a user's db_role");

	spi_begin(&scope);
	{
		Datum		values[4] = {id};
		char		nulls[4] = "    ";

		profile_datums(&profile, values + 1, nulls + 1);
		spi_run(&update_profile, home.partition, values, nulls, SPI_VIEW_CURRENT, 0);
	}
	if (profile.db_role != home.db_role)
	{
		Datum		values[2] = {id, ObjectIdGetDatum(profile.db_role)};
		char		nulls[2] = {' ', OidIsValid(profile.db_role) ? ' ' : 'n'};

		spi_run(&update_directory, 0, values, nulls, SPI_VIEW_CURRENT, 0);
		directory_changed(login, home.user_id);
	}
	if (shmem_ready() && has_key(changes, "tier"))
	{
		Datum		values[2] = {id, PointerGetDatum(old_tier)};
		char		nulls[2] = {' ', old_tier ? ' ' : 'n'};

		spi_run(&follow_tier, 0, values, nulls, SPI_VIEW_CURRENT, 0);
	}
	spi_end(&scope);
	PG_RETURN_VOID();
}
