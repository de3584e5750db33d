/*
 * eligibility.c
 *	  What a performer is qualified for, and who has blocked him.
 *
 * Blocks and grants are read with each accept that needs them, so they go
 * straight to the tables.  No lock is held on what was read: a revocation that
 * has committed before the accept begins is honoured, one that comes later is
 * not waited for.
 */
#include "postgres.h"

#include "qualification/eligibility.h"
#include "base/errcodes.h"
#include "infra/child.h"
#include "infra/spi.h"

#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

/* ---- tables: the order is that of sql/qualification.sql and sql/block.sql ---- */

enum BlockColumn
{
	BLOCK_PARTITION_ID = 1,
	BLOCK_PERFORMER_ID,
	BLOCK_REQUESTER_ID,
	BLOCK_BLOCKED_AT,
	BLOCK_UNTIL,
	BLOCK_REASON,
	BLOCK_COLUMNS = BLOCK_REASON
};

static const char *const block_columns[BLOCK_COLUMNS] = {
	"partition_id", "performer_id", "requester_id", "blocked_at", "until", "reason"
};

static const ChildTable block_table = {
	"block", BLOCK_COLUMNS, block_columns,
	1, {{BLOCK_PERFORMER_ID, BLOCK_REQUESTER_ID}}
};

enum QualificationColumn
{
	QUALIFICATION_PARTITION_ID = 1,
	QUALIFICATION_SCORE,
	QUALIFICATION_PERFORMER_ID,
	QUALIFICATION_TYPE_ID,
	QUALIFICATION_GRANTED_AT,
	QUALIFICATION_CHANGED_AT,
	QUALIFICATION_STATE,
	QUALIFICATION_REASON,
	QUALIFICATION_COLUMNS = QUALIFICATION_REASON
};

static const char *const qualification_columns[QUALIFICATION_COLUMNS] = {
	"partition_id", "score", "performer_id", "qualification_type_id", "granted_at",
	"changed_at", "state", "reason"
};

static const ChildTable qualification_table = {
	"qualification", QUALIFICATION_COLUMNS, qualification_columns,
	1, {{QUALIFICATION_PERFORMER_ID, QUALIFICATION_TYPE_ID}}
};

static Statement select_standing = {
	"SELECT submitted, approved, rejected, returned, abandoned"
	" FROM _taskex.standing_%p WHERE performer_id = $1",
	1, {INT8OID}
};

static Statement select_profile = {
	"SELECT location, registered_at,"
	" CASE jsonb_typeof(profile -> 'devices') WHEN 'array' THEN"
	"  (SELECT array_agg(d) FROM jsonb_array_elements_text(profile -> 'devices') d WHERE d IS NOT NULL)"
	" END || CASE jsonb_typeof(profile -> 'device') WHEN 'string' THEN ARRAY[profile ->> 'device'] END"
	" FROM _taskex.profile_%p WHERE user_id = $1",
	1, {INT8OID}
};

void
eligibility_begin(Eligibility *eligibility, const UserHome *performer, TimestampTz now)
{
	memset(eligibility, 0, sizeof(Eligibility));
	eligibility->performer = *performer;
	eligibility->now = now;
	eligibility->context = CurrentMemoryContext;
}

/* ---- reading ---- */

/* room for one more element of an array that grows to powers of two */
static void *
grow(void *array, int count, Size size)
{
	if (count < 4 || (count & (count - 1)) != 0)
		return array;
	return repalloc(array, count * 2 * size);
}

static void
add_block(Eligibility *eligibility, Child *child)
{
	Block	   *block;
	bool		isnull;
	Datum		until = slot_getattr(child->slot, BLOCK_UNTIL, &isnull);

	if (!isnull && DatumGetTimestampTz(until) <= eligibility->now)
		return;
	eligibility->blocks = grow(eligibility->blocks, eligibility->block_count, sizeof(Block));
	block = &eligibility->blocks[eligibility->block_count++];
	block->requester = child_int64(child, BLOCK_REQUESTER_ID);
	block->until = isnull ? DT_NOEND : DatumGetTimestampTz(until);
	block->reason = TextDatumGetCString(slot_getattr(child->slot, BLOCK_REASON, &isnull));
	if (block->requester != 0)
		eligibility->blocks_mark = hash_bytes_uint32_extended(eligibility->blocks_mark, block->requester) | 1;
}

static void
read_blocks(Eligibility *eligibility)
{
	MemoryContext old = MemoryContextSwitchTo(eligibility->context);
	Child		child;
	ChildScan	scan;

	eligibility->blocks = palloc(4 * sizeof(Block));
	child_open_mode(&child, &block_table, eligibility->performer.partition, AccessShareLock);

	/* where nobody has been blocked yet, a look at the size of the table is enough */
	if (!child_is_void(&child))
	{
		child_scan_latest(&scan, &child, 0, eligibility->performer.user_id);
		while (child_scan_next(&scan))
			add_block(eligibility, &child);
		child_scan_end(&scan);
	}
	child_close(&child);
	MemoryContextSwitchTo(old);
}

static void
read_grants(Eligibility *eligibility)
{
	MemoryContext old = MemoryContextSwitchTo(eligibility->context);
	Child		child;
	ChildScan	scan;

	eligibility->grants = palloc(4 * sizeof(Grant));
	child_open_mode(&child, &qualification_table, eligibility->performer.partition, AccessShareLock);
	child_scan_latest(&scan, &child, 0, eligibility->performer.user_id);
	while (child_scan_next(&scan))
		if (child_text_is(&child, QUALIFICATION_STATE, "granted"))
		{
			Grant	   *grant;

			eligibility->grants = grow(eligibility->grants, eligibility->grant_count, sizeof(Grant));
			grant = &eligibility->grants[eligibility->grant_count++];
			grant->qualification = child_int64(&child, QUALIFICATION_TYPE_ID);
			grant->score = child_int32(&child, QUALIFICATION_SCORE);
		}
	child_scan_end(&scan);
	child_close(&child);
	MemoryContextSwitchTo(old);
}

static void
set_percent(Eligibility *eligibility, Subject subject, double part, double whole, double otherwise)
{
	eligibility->known[subject] = whole > 0;
	eligibility->numbers[subject] = whole > 0 ? 100.0 * part / whole : otherwise;
}

/* who has done nothing yet has the benefit of the doubt */
static void
read_standing(Eligibility *eligibility)
{
	Datum		id = Int64GetDatum(eligibility->performer.user_id);
	double		count[5] = {0};
	double		ended;
	SpiScope	scope;

	spi_begin(&scope);
	if (spi_run(&select_standing, eligibility->performer.partition, &id, NULL, SPI_VIEW_NOW, 1) == 1)
		for (int i = 0; i < 5; i++)
			count[i] = (double) spi_int64(0, i + 1);
	spi_end(&scope);

	eligibility->numbers[SUBJECT_SUBMITTED] = count[0];
	eligibility->numbers[SUBJECT_APPROVED] = count[1];
	eligibility->known[SUBJECT_SUBMITTED] = eligibility->known[SUBJECT_APPROVED] = true;
	ended = count[0] + count[3] + count[4];
	set_percent(eligibility, SUBJECT_APPROVAL_PERCENT, count[1], count[1] + count[2], 100);
	set_percent(eligibility, SUBJECT_RETURN_PERCENT, count[3], ended, 0);
	set_percent(eligibility, SUBJECT_ABANDON_PERCENT, count[4], ended, 0);
	eligibility->standing_read = true;
}

static void
read_devices(Eligibility *eligibility, ArrayType *array)
{
	Datum	   *values;
	int			count;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, NULL, &count);
	eligibility->devices = palloc(count * sizeof(char *));
	for (int i = 0; i < count; i++)
	{
		eligibility->devices[i] = TextDatumGetCString(values[i]);
		subject_fold(SUBJECT_DEVICE, eligibility->devices[i]);
	}
	eligibility->device_count = count;
}

static void
read_profile(Eligibility *eligibility)
{
	Datum		id = Int64GetDatum(eligibility->performer.user_id);
	MemoryContext old;
	SpiScope	scope;

	spi_begin(&scope);
	if (spi_run(&select_profile, eligibility->performer.partition, &id, NULL, SPI_VIEW_NOW, 1) == 1)
	{
		bool		nowhere;
		bool		no_time;
		bool		no_devices;
		Datum		location = spi_value(0, 1, &nowhere);
		Datum		registered = spi_value(0, 2, &no_time);
		Datum		devices = spi_value(0, 3, &no_devices);

		old = MemoryContextSwitchTo(eligibility->context);
		if (!nowhere)
		{
			eligibility->location = TextDatumGetCString(location);
			subject_fold(SUBJECT_LOCATION, eligibility->location);
		}
		if (!no_devices)
			read_devices(eligibility, DatumGetArrayTypeP(devices));
		eligibility->numbers[SUBJECT_MEMBER_SINCE] =
			Max(0.0, (double) (eligibility->now - DatumGetTimestampTz(registered))) / (double) USECS_PER_DAY;
		eligibility->known[SUBJECT_MEMBER_SINCE] = true;
		MemoryContextSwitchTo(old);
	}
	spi_end(&scope);
	eligibility->profile_read = true;
}

/* ---- requirements ---- */

static const Grant *
find_grant(Eligibility *eligibility, int64 qualification)
{
	int			low = 0;
	int			high;

	if (eligibility->grants == NULL)
		read_grants(eligibility);
	high = eligibility->grant_count;
	while (low < high)
	{
		int			middle = (low + high) / 2;
		const Grant *grant = &eligibility->grants[middle];

		if (grant->qualification == qualification)
			return grant;
		if (grant->qualification < qualification)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static void
read_for(Eligibility *eligibility, Subject subject)
{
	if (subject == SUBJECT_LOCATION || subject == SUBJECT_DEVICE || subject == SUBJECT_MEMBER_SINCE)
	{
		if (!eligibility->profile_read)
			read_profile(eligibility);
	}
	else if (!eligibility->standing_read)
		read_standing(eligibility);
}

bool
eligibility_meets_one(Eligibility *eligibility, const Requirement *requirement)
{
	Subject		subject = requirement->subject;

	if (subject == SUBJECT_QUALIFICATION)
	{
		const Grant *grant = find_grant(eligibility, requirement->qualification);

		if (grant == NULL)
			return requirement->comparator == COMPARE_NOT_EXISTS;
		return requirement_number_met(requirement, grant->score, true);
	}
	read_for(eligibility, subject);
	if (subject == SUBJECT_LOCATION)
		return requirement_strings_met(requirement, &eligibility->location, eligibility->location ? 1 : 0);
	if (subject == SUBJECT_DEVICE)
		return requirement_strings_met(requirement, eligibility->devices, eligibility->device_count);
	return requirement_number_met(requirement, eligibility->numbers[subject], eligibility->known[subject]);
}

bool
eligibility_meets(Eligibility *eligibility, const Requirements *requirements, Guard act)
{
	for (int i = 0; requirements && i < requirements->count; i++)
		if (requirements->items[i].guard <= act &&
			!eligibility_meets_one(eligibility, &requirements->items[i]))
			return false;
	return true;
}

char *
eligibility_value(Eligibility *eligibility, const Requirement *requirement)
{
	Subject		subject = requirement->subject;
	StringInfoData text;

	if (subject == SUBJECT_QUALIFICATION)
	{
		const Grant *grant = find_grant(eligibility, requirement->qualification);

		return grant ? psprintf("%d", grant->score) : NULL;
	}
	read_for(eligibility, subject);
	if (subject == SUBJECT_LOCATION)
		return eligibility->location;
	if (subject != SUBJECT_DEVICE)
		return eligibility->known[subject] ? number_text(eligibility->numbers[subject]) : NULL;
	if (eligibility->device_count == 0)
		return NULL;
	initStringInfo(&text);
	for (int i = 0; i < eligibility->device_count; i++)
		appendStringInfo(&text, "%s%s", i > 0 ? ", " : "", eligibility->devices[i]);
	return text.data;
}

void
eligibility_require(Eligibility *eligibility, const Requirements *requirements, const char *what)
{
	StringInfoData missing;

	if (eligibility_meets(eligibility, requirements, GUARD_ACCEPT))
		return;
	initStringInfo(&missing);
	for (int i = 0; i < requirements->count; i++)
	{
		const Requirement *requirement = &requirements->items[i];
		const char *value = eligibility_value(eligibility, requirement);

		if (!eligibility_meets_one(eligibility, requirement))
			appendStringInfo(&missing, "%s%s is required, and he has %s.", missing.len > 0 ? "\n" : "",
							 requirement_text(requirement), value ? value : "none");
	}
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_NOT_QUALIFIED),
			 errmsg("the performer is not qualified for %s", what),
			 errdetail("%s", missing.data),
			 errhint("taskex.check_qualifications() shows all requirements of a task type.")));
}

/* ---- blocks ---- */

static int
compare_block(const void *key, const void *element)
{
	int64		requester = *(const int64 *) key;
	const Block *block = element;

	return requester < block->requester ? -1 : requester > block->requester;
}

const Block *
eligibility_block(Eligibility *eligibility, int64 requester)
{
	if (eligibility->blocks == NULL)
		read_blocks(eligibility);
	if (likely(eligibility->block_count == 0))
		return NULL;
	if (eligibility->blocks[0].requester == 0)
		return &eligibility->blocks[0];
	return bsearch(&requester, eligibility->blocks, eligibility->block_count, sizeof(Block), compare_block);
}

void
eligibility_require_unblocked(Eligibility *eligibility, int64 requester)
{
	const Block *block = eligibility_block(eligibility, requester);

	if (likely(block == NULL))
		return;
	ereport(ERROR,
			(tx_errcode(ERRCODE_TX_PERFORMER_BLOCKED),
			 errmsg(block->requester == 0 ? "the performer is suspended" : "the requester has blocked the performer"),
			 TIMESTAMP_IS_NOEND(block->until) ?
			 errdetail("Reason: %s", block->reason) :
			 errdetail("Until %s. Reason: %s", timestamptz_to_str(block->until), block->reason)));
}

uint32
eligibility_blocks_mark(Eligibility *eligibility)
{
	if (eligibility->blocks == NULL)
		read_blocks(eligibility);
	return eligibility->blocks_mark;
}
