/*
 * wanted.c
 *	  Whose accepts are written to the journal.
 *
 * Accepting is the hottest act, and hardly anybody wants to hear of each
 * accept, so accepts of those alone are written who have asked for them
 * (_taskex.subscription with "accepted" among its kinds).  A session keeps the
 * ids of all of them, and watches the table.
 */
#include "postgres.h"

#include "journal/journal.h"
#include "infra/spi.h"
#include "infra/watch.h"

#include "utils/hsearch.h"

static Statement select_wanting = {
	"SELECT user_id FROM _taskex.subscription WHERE 'accepted' = ANY (kinds)", 0, {0}
};

static TableWatch subscriptions = {"subscription"};
static HTAB *wanting = NULL;	/* NULL: nobody */

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
	Snapshot	snapshot;
	Relation	rel = watch_begin(&subscriptions, &snapshot);
	SpiScope	scope;
	uint64		count;

	forget();
	spi_begin(&scope);
	count = spi_run(&select_wanting, 0, NULL, NULL, SPI_VIEW_NOW, 0);
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
	watch_end(&subscriptions, rel, snapshot);
}

bool
journal_wants_accepted(int64 requester_id, int64 performer_id)
{
	if (unlikely(!watch_fresh(&subscriptions)))
		learn();
	return wanting != NULL &&
		(hash_search(wanting, &requester_id, HASH_FIND, NULL) != NULL ||
		 hash_search(wanting, &performer_id, HASH_FIND, NULL) != NULL);
}
