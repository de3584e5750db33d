/*
 * pieces.c
 *	  Pieces of a program's version, as a process knows them.
 */
#include "postgres.h"

#include "workload/pieces.h"
#include "infra/realm.h"
#include "infra/spi.h"

#include "catalog/pg_type.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define PIECES_MAX 1024

/* no padding */
typedef struct PiecesKey
{
	int64		program_id;
	int64		version;
} PiecesKey;

typedef struct KnownPieces
{
	PiecesKey	key;
	Pieces		pieces;
} KnownPieces;

static HTAB *known = NULL;
static MemoryContext context = NULL;
static uint32 realm = 0;

static Statement select_pieces = {
	"SELECT program_id, version, owner_id FROM _taskex.program_steps($1, $2)", 2, {INT8OID, INT4OID}
};

static void
forget(void)
{
	HASHCTL		ctl = {.keysize = sizeof(PiecesKey),.entrysize = sizeof(KnownPieces)};

	if (context)
		MemoryContextDelete(context);
	known = NULL;
	context = AllocSetContextCreate(TopMemoryContext, "taskex pieces", ALLOCSET_SMALL_SIZES);
	ctl.hcxt = context;
	known = hash_create("taskex pieces", 64, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	realm = realm_current()->serial;
}

const Pieces *
pieces_of(int64 program_id, int32 version)
{
	PiecesKey	key = {program_id, version};
	Datum		values[2] = {Int64GetDatum(program_id), Int32GetDatum(version)};
	KnownPieces *entry;
	Pieces		found = {0, NULL};
	SpiScope	scope;

	if (known == NULL || realm != realm_current()->serial || hash_get_num_entries(known) >= PIECES_MAX)
		forget();
	entry = hash_search(known, &key, HASH_FIND, NULL);
	if (entry)
		return &entry->pieces;
	spi_begin(&scope);
	found.count = (int) spi_run(&select_pieces, 0, values, NULL, SPI_VIEW_CURRENT, 0);
	found.pieces = MemoryContextAlloc(context, sizeof(Piece) * Max(found.count, 1));
	for (int i = 0; i < found.count; i++)
		found.pieces[i] = (Piece) {spi_int64(i, 1), spi_int64(i, 3), spi_int32(i, 2)};
	spi_end(&scope);
	entry = hash_search(known, &key, HASH_ENTER, NULL);
	entry->pieces = found;
	return &entry->pieces;
}
