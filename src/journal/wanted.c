/*
 * wanted.c
 *	  Whose accepts are written to the journal.
 *
 * Accepting is the hottest act, and hardly anybody wants to hear of each
 * accept, so accepts of those alone are written who have asked for them
 * (_taskex.subscription with "accepted" among its kinds).  A session keeps the
 * ids of all of them and reads them again after an invalidation of the table,
 * which a trigger sends with every change of a subscription.
 */
#include "postgres.h"

#include "journal/journal.h"
#include "infra/realm.h"
#include "infra/spi.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

static Statement select_wanting = {
	"SELECT user_id FROM _taskex.subscription WHERE 'accepted' = ANY (kinds)", 0, {0}
};

static HTAB *wanting = NULL;	/* NULL: nobody */
static uint32 known_realm = 0;
static Oid	anchor = InvalidOid;
static bool known = false;
static bool callback_registered = false;

static void
relation_changed(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == anchor)
		known = false;
}

static void
forget(void)
{
	if (wanting)
		hash_destroy(wanting);
	wanting = NULL;
}

static void
learn(void)
{
	SpiScope	scope;
	uint64		count;

	if (!callback_registered)
	{
		CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
		callback_registered = true;
	}
	forget();
	anchor = get_relname_relid("subscription", get_namespace_oid("_taskex", false));

	/*
	 * A change that we hear of while reading makes us read again next time; an
	 * old snapshot is good for this time only.
	 */
	known = !IsolationUsesXactSnapshot();
	known_realm = realm_current()->serial;
	spi_begin(&scope);
	count = spi_run(&select_wanting, 0, NULL, NULL, SPI_VIEW_CURRENT, 0);
	if (count > 0)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = ctl.entrysize = sizeof(int64);
		wanting = hash_create("taskex subscribers to accepts", (long) count, &ctl, HASH_ELEM | HASH_BLOBS);
		for (uint64 i = 0; i < count; i++)
		{
			int64		id = spi_int64(i, 1);

			hash_search(wanting, &id, HASH_ENTER, NULL);
		}
	}
	spi_end(&scope);
}

bool
journal_wants_accepted(int64 requester_id, int64 performer_id)
{
	if (unlikely(!known || known_realm != realm_current()->serial))
		learn();
	return wanting != NULL &&
		(hash_search(wanting, &requester_id, HASH_FIND, NULL) != NULL ||
		 hash_search(wanting, &performer_id, HASH_FIND, NULL) != NULL);
}

PG_FUNCTION_INFO_V1(taskex_subscription_changed);

/* trigger on _taskex.subscription, for each statement */
Datum
taskex_subscription_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "subscription_changed is a trigger function");
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	PG_RETURN_POINTER(NULL);
}
