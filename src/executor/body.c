/*
 * body.c
 *	  The code of runs as functions of this session.
 *
 * The functions are in the session's temporary schema and go with it.  They
 * belong to the extension's owner, so that neither the code nor what runs
 * before it can drop or replace them; they run with the rights of whoever calls
 * them.  What the session knows of one is checked against the catalog at each
 * use: a rolled back transaction, or DISCARD, may have taken it away.
 */
#include "postgres.h"

#include "executor/body.h"
#include "base/compat.h"
#include "infra/realm.h"
#include "infra/spi.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/proclang.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

/* so many functions a session keeps */
#define BODIES_MAX 256

typedef struct BodyKey
{
	int64		program_id;		/* 0: inline code */
	uint64		hash[2];		/* of inline code */
	int32		version;
	Oid			language;
} BodyKey;

typedef struct Body
{
	BodyKey		key;
	Oid			function;
	TransactionId xmin;			/* of its row, which nobody has changed */
	ItemPointerData tid;
	uint64		used;
} Body;

static HTAB *bodies = NULL;
static uint64 uses = 0;
static uint32 last_name = 0;

static Statement select_source = {
	"SELECT source FROM _taskex.program_version WHERE program_id = $1 AND version = $2",
	2, {INT8OID, INT4OID}
};

/* ---- languages ---- */

static HeapTuple
language_tuple(const char *language)
{
	HeapTuple	tuple = SearchSysCache1(LANGNAME, CStringGetDatum(language));

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("language \"%s\" does not exist", language),
				 errhint("Use CREATE EXTENSION to load the language into the database.")));
	return tuple;
}

bool
body_untrusted(const char *language)
{
	HeapTuple	tuple = language_tuple(language);
	bool		trusted = ((Form_pg_language) GETSTRUCT(tuple))->lanpltrusted;

	ReleaseSysCache(tuple);
	/* sql is no procedural language, and is marked as trusted */
	return !trusted;
}

/* ---- making a function ---- */

/* the owner's default privileges may keep everybody from calling his functions */
static void
grant_execute(Oid function, Oid schema, const char *name)
{
	ObjectWithArgs *object = makeNode(ObjectWithArgs);
	AccessPriv *privilege = makeNode(AccessPriv);
	RoleSpec   *everybody = makeNode(RoleSpec);
	GrantStmt  *grant = makeNode(GrantStmt);
	Oid			user;
	int			security_context;

	object->objname = list_make2(makeString(get_namespace_name(schema)), makeString(pstrdup(name)));
	object->objargs = list_make1(makeTypeNameFromOid(JSONBOID, -1));
	privilege->priv_name = "execute";
	everybody->roletype = ROLESPEC_PUBLIC;
	everybody->location = -1;
	grant->is_grant = true;
	grant->targtype = ACL_TARGET_OBJECT;
	grant->objtype = OBJECT_FUNCTION;
	grant->objects = list_make1(object);
	grant->privileges = list_make1(privilege);
	grant->grantees = list_make1(everybody);
	grant->behavior = DROP_RESTRICT;

	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(realm_owner(), security_context | SECURITY_LOCAL_USERID_CHANGE);
	ExecuteGrantStmt(grant);
	SetUserIdAndSecContext(user, security_context);
	CommandCounterIncrement();
}

/*
 * CREATE FUNCTION would refuse languages that are not trusted to everybody but
 * superusers; who may use one here is looked at in body_call.c and body_check.c.
 */
Oid
body_create(const char *language, Oid schema, const char *name, const char *source)
{
	HeapTuple	tuple = language_tuple(language);
	Oid			language_oid = ((Form_pg_language) GETSTRUCT(tuple))->oid;
	Oid			validator = ((Form_pg_language) GETSTRUCT(tuple))->lanvalidator;
	Oid			types[1] = {JSONBOID};
	Datum		names[1] = {CStringGetTextDatum("data")};
	ArrayType  *name_array = construct_array(names, 1, TEXTOID, -1, false, TYPALIGN_INT);
	AclResult	allowed;
	ObjectAddress address;

	ReleaseSysCache(tuple);
	allowed = object_aclcheck(LanguageRelationId, language_oid, GetUserId(), ACL_USAGE);
	if (allowed != ACLCHECK_OK)
		aclcheck_error(allowed, OBJECT_LANGUAGE, language);
	address = procedure_create(name, schema, false, false, JSONBOID, realm_owner(), language_oid, InvalidOid, source,
							   NULL, NULL, PROKIND_FUNCTION, false, false, false, PROVOLATILE_VOLATILE, PROPARALLEL_UNSAFE,
							   buildoidvector(types, 1), (Datum) 0, (Datum) 0, PointerGetDatum(name_array), NIL,
							   (Datum) 0, (Datum) 0, InvalidOid, 100, 0);
	CommandCounterIncrement();
	if (object_aclcheck(ProcedureRelationId, address.objectId, GetUserId(), ACL_EXECUTE) != ACLCHECK_OK)
		grant_execute(address.objectId, schema, name);
	if (OidIsValid(validator))
		OidFunctionCall1(validator, ObjectIdGetDatum(address.objectId));
	return address.objectId;
}

/* this session's own; its user need not have the right to make temporary objects */
static Oid
temporary_schema(void)
{
	Oid			user;
	int			security_context;
	Oid			schema;

	GetUserIdAndSecContext(&user, &security_context);
	SetUserIdAndSecContext(realm_owner(), security_context | SECURITY_LOCAL_USERID_CHANGE);
	schema = LookupCreationNamespace("pg_temp");
	SetUserIdAndSecContext(user, security_context);
	return schema;
}

/* a name that the session's user has not taken */
static char *
free_name(Oid schema, const BodyKey *key)
{
	Oid			types[1] = {JSONBOID};
	oidvector  *arguments = buildoidvector(types, 1);
	char	   *name;

	do
		name = key->program_id ? psprintf("program_%lld_v%d_%u", (long long) key->program_id, key->version, ++last_name)
			: psprintf("code_%u", ++last_name);
	while (SearchSysCacheExists3(PROCNAMEARGSNSP, CStringGetDatum(name), PointerGetDatum(arguments), ObjectIdGetDatum(schema)));
	return name;
}

static char *
program_source(int64 program_id, int32 version)
{
	Datum		values[2] = {Int64GetDatum(program_id), Int32GetDatum(version)};
	MemoryContext old = CurrentMemoryContext;
	SpiScope	scope;
	bool		isnull;
	char	   *source;

	spi_begin(&scope);
	if (spi_run(&select_source, 0, values, NULL, SPI_VIEW_CURRENT, 1) != 1)
		elog(ERROR, "version %d of program %lld is missing", version, (long long) program_id);
	source = MemoryContextStrdup(old, TextDatumGetCString(spi_value(0, 1, &isnull)));
	spi_end(&scope);
	return source;
}

/* ---- those of this session ---- */

static void
require_bodies(void)
{
	HASHCTL		ctl = {.keysize = sizeof(BodyKey),.entrysize = sizeof(Body)};

	if (bodies == NULL)
		bodies = hash_create("taskex bodies", BODIES_MAX, &ctl, HASH_ELEM | HASH_BLOBS);
}

/* is the function still there, as it was made? */
static bool
is_whole(Body *body)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(body->function));
	bool		whole;

	if (!HeapTupleIsValid(tuple))
		return false;
	whole = HeapTupleHeaderGetRawXmin(tuple->t_data) == body->xmin && ItemPointerEquals(&tuple->t_self, &body->tid);
	ReleaseSysCache(tuple);
	return whole;
}

/* the one that was not used for longest gives way */
static void
make_room(void)
{
	HASH_SEQ_STATUS scan;
	Body	   *body;
	Body	   *oldest = NULL;
	ObjectAddress address = {0};

	if (hash_get_num_entries(bodies) < BODIES_MAX)
		return;
	hash_seq_init(&scan, bodies);
	while ((body = hash_seq_search(&scan)) != NULL)
		if (oldest == NULL || body->used < oldest->used)
			oldest = body;
	ObjectAddressSet(address, ProcedureRelationId, oldest->function);
	if (is_whole(oldest))
		performDeletion(&address, DROP_CASCADE, PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY);
	hash_search(bodies, &oldest->key, HASH_REMOVE, NULL);
}

static void
remember(const BodyKey *key, Oid function)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Body	   *body;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "function %u is missing", function);
	make_room();
	body = hash_search(bodies, key, HASH_ENTER, NULL);
	body->function = function;
	body->xmin = HeapTupleHeaderGetRawXmin(tuple->t_data);
	body->tid = tuple->t_self;
	body->used = ++uses;
	ReleaseSysCache(tuple);
}

Oid
body_function(const char *language, int64 program_id, int32 version, const char *source)
{
	BodyKey		key;
	Body	   *body;
	Oid			schema;
	Oid			function;

	memset(&key, 0, sizeof(key));
	key.program_id = program_id;
	key.version = version;
	key.language = get_language_oid(language, false);
	if (program_id == 0)
	{
		Size		length = strlen(source);

		key.hash[0] = hash_bytes_extended((const unsigned char *) source, length, length);
		key.hash[1] = hash_bytes_extended((const unsigned char *) source, length, ~key.hash[0]);
	}
	require_bodies();
	body = hash_search(bodies, &key, HASH_FIND, NULL);
	if (body && is_whole(body))
	{
		body->used = ++uses;
		return body->function;
	}
	if (source == NULL)
		source = program_source(program_id, version);
	schema = temporary_schema();
	function = body_create(language, schema, free_name(schema, &key), source);
	remember(&key, function);
	return function;
}
