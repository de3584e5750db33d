/*
 * compat.h
 *	  The newest PostgreSQL spelling, made to work on 15 to 18.
 *
 * Code elsewhere is written for the newest release; whatever an older one
 * lacks is supplied here and nowhere else.
 */
#ifndef TASKEX_COMPAT_H
#define TASKEX_COMPAT_H

#include "postgres.h"

#include "access/genam.h"
#include "access/htup.h"
#include "access/tableam.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_database.h"
#include "utils/acl.h"
#include "utils/relcache.h"
#include "utils/guc.h"

/*
 * RestrictSearchPath() (17) pins search_path to a safe value until the GUC
 * nest level is popped.  Before 17 an override path does it.
 */
typedef struct SearchPathScope
{
	int			guc_level;
} SearchPathScope;

extern void search_path_lock(SearchPathScope *scope);
extern void search_path_unlock(SearchPathScope *scope);

/* one ownership check for all kinds of objects since 16; here for databases and relations */
#if PG_VERSION_NUM < 160000
#define object_ownercheck(classid, objectid, roleid) \
	((classid) == DatabaseRelationId ? pg_database_ownercheck(objectid, roleid) : \
	 (AssertMacro((classid) == RelationRelationId), pg_class_ownercheck(objectid, roleid)))
#endif

/* and one check of privileges; here for languages and functions */
#if PG_VERSION_NUM < 160000
#define object_aclcheck(classid, objectid, roleid, mode) \
	((classid) == LanguageRelationId ? pg_language_aclcheck(objectid, roleid, mode) : \
	 (AssertMacro((classid) == ProcedureRelationId), pg_proc_aclcheck(objectid, roleid, mode)))
#endif

/* names may be refused softly since 16 */
#if PG_VERSION_NUM < 160000
#define qualified_name_list(string) stringToQualifiedNameList(string)
#else
#define qualified_name_list(string) stringToQualifiedNameList(string, NULL)
#endif

/* functions depend on transforms since 18; here they have none */
#if PG_VERSION_NUM < 180000
#define procedure_create ProcedureCreate
#else
#define procedure_create(name, schema, replace, set, type, owner, language, validator, source, binary, body, kind, \
						 definer, leakproof, strict, volatility, parallel, types, all_types, modes, names, defaults, \
						 transforms, config, support, cost, rows) \
	ProcedureCreate(name, schema, replace, set, type, owner, language, validator, source, binary, body, kind, \
					definer, leakproof, strict, volatility, parallel, types, all_types, modes, names, defaults, \
					transforms, NIL, config, support, cost, rows)
#endif

/* scans can be instrumented since 18 */
#if PG_VERSION_NUM < 180000
#define index_beginscan(heap, index, snapshot, instrument, nkeys, norderbys) \
	index_beginscan(heap, index, snapshot, nkeys, norderbys)
#endif

/* what an interrupted DROP DATABASE leaves is marked since 15.4 */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB (-2)
#endif

/* a GUC's extra data come from guc_malloc() since 16 */
#if PG_VERSION_NUM < 160000
#define guc_malloc(elevel, size) malloc(size)
#endif

/*
 * simple_heap_update() tells since 16 which indexes need new entries: none, all,
 * or only those that summarize blocks.
 */
#if PG_VERSION_NUM < 160000
typedef enum TU_UpdateIndexes
{
	TU_None,
	TU_All,
	TU_Summarizing
} TU_UpdateIndexes;
#define index_info_summarizing(info) false
#else
#define index_info_summarizing(info) ((info)->ii_Summarizing)
#endif

extern TU_UpdateIndexes update_heap_tuple(Relation rel, ItemPointer tid, HeapTuple tuple);

/*
 * The same of a row that is not locked; false: there is a newer version of it, or
 * none, or, unless it is to wait, somebody has it locked.
 */
extern bool try_update_heap_tuple(Relation rel, ItemPointer tid, HeapTuple tuple, bool wait, TU_UpdateIndexes *which);

/* is the page still in that buffer?  Then it is pinned. */
#if PG_VERSION_NUM < 160000
#define read_recent_buffer(rel, block, buffer) \
	(BufferIsValid(buffer) && ReadRecentBuffer((rel)->rd_node, MAIN_FORKNUM, block, buffer))
#else
#define read_recent_buffer(rel, block, buffer) \
	(BufferIsValid(buffer) && ReadRecentBuffer((rel)->rd_locator, MAIN_FORKNUM, block, buffer))
#endif

/* releases what an index keeps between insertions, since 17 */
#if PG_VERSION_NUM < 170000
#define index_insert_cleanup(index, info) ((void) 0)
#endif

/*
 * Enters a row into all indexes of its table.  The list of what is to be checked
 * again later is nobody's here: no index is deferred.
 */
#if PG_VERSION_NUM < 160000
#define insert_index_tuples(info, slot, estate) \
	ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL)
#else
#define insert_index_tuples(info, slot, estate) \
	ExecInsertIndexTuples(info, slot, estate, false, false, NULL, NIL, false)
#endif

/* has no unique index a row already that is equal? */
#if PG_VERSION_NUM < 180000
#define check_index_constraints(info, slot, estate, other) \
	ExecCheckIndexConstraints(info, slot, estate, other, NIL)
#else
#define check_index_constraints(info, slot, estate, other) \
	ExecCheckIndexConstraints(info, slot, estate, other, &(slot)->tts_tid, NIL)
#endif

/* the process of a virtual transaction; 0: it is prepared, or has ended */
#if PG_VERSION_NUM < 170000
#define vxid_proc(vxid) \
	((vxid).backendId == InvalidBackendId ? NULL : BackendIdGetProc((vxid).backendId))
#else
#define vxid_proc(vxid) \
	((vxid).procNumber == INVALID_PROC_NUMBER ? NULL : ProcNumberGetProc((vxid).procNumber))
#endif

/* which backend this is: 0 .. MaxBackends - 1, since 17 */
#if PG_VERSION_NUM < 170000
#define MyProcNumber (MyProc->pgprocno)
#endif

/* a deferrable primary key is none that others may refer to, since 18 */
#if PG_VERSION_NUM < 180000
#define primary_key_index(rel) RelationGetPrimaryKeyIndex(rel)
#else
#define primary_key_index(rel) RelationGetPrimaryKeyIndex(rel, false)
#endif

/* the number of this session's present transaction, within the session, since 17 there */
#if PG_VERSION_NUM < 170000
#define MyLocalXid (MyProc->lxid)
#else
#define MyLocalXid (MyProc->vxid.lxid)
#endif

/* whether a statement is executed once is no argument since 18 */
#if PG_VERSION_NUM < 180000
#define EXECUTOR_RUN_ONCE_ARG , bool execute_once
#define EXECUTOR_RUN_ONCE , execute_once
#else
#define EXECUTOR_RUN_ONCE_ARG
#define EXECUTOR_RUN_ONCE
#endif

#endif							/* TASKEX_COMPAT_H */
