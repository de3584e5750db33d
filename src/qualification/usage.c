/*
 * usage.c
 *	  Who may use which qualifications in his task types.
 *
 * Task types belong to nobody: whoever makes one with equal properties gets the
 * same.  A qualification belongs to the requester who made it, so what he has
 * not made public can be required, and tasks with it be supplied, by him alone.
 */
#include "postgres.h"

#include "qualification/requirement.h"
#include "base/errcodes.h"
#include "infra/spi.h"

#include "catalog/pg_type.h"
#include "utils/builtins.h"

static Statement select_qualification = {
	"SELECT requester_id, is_public, state FROM _taskex.qualification_type"
	" WHERE qualification_type_id = $1",
	1, {INT8OID}
};

static void
check_usable(int64 id, int64 requester, bool in_new_type)
{
	Datum		value = Int64GetDatum(id);
	bool		isnull;
	const char *state;

	if (spi_run(&select_qualification, 0, &value, NULL, SPI_VIEW_CURRENT, 1) == 0)
		state = "deleted";
	else
		state = TextDatumGetCString(spi_value(0, 3, &isnull));
	if (strcmp(state, "deleted") == 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_QUALIFICATION),
				 errmsg("qualification %lld does not exist", (long long) id),
				 errhint("The view taskex.qualifications lists them.")));
	if (spi_int64(0, 1) != requester && !DatumGetBool(spi_value(0, 2, &isnull)))
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_UNKNOWN_QUALIFICATION),
				 errmsg("qualification %lld cannot be required", (long long) id),
				 errdetail("It is another requester's, and not public.")));
	if (in_new_type && strcmp(state, "active") != 0)
		ereport(ERROR,
				(tx_errcode(ERRCODE_TX_WRONG_STATE),
				 errmsg("qualification %lld is %s", (long long) id, state),
				 errhint("taskex.update_qualification() makes it active again.")));
}

static void
check_all(const Requirements *requirements, int64 requester, bool in_new_type)
{
	SpiScope	scope;
	int64		checked = 0;

	if (requirements == NULL)
		return;
	spi_begin(&scope);
	for (int i = 0; i < requirements->count; i++)
	{
		const Requirement *requirement = &requirements->items[i];

		if (requirement->subject == SUBJECT_QUALIFICATION && requirement->qualification != checked)
			check_usable(requirement->qualification, requester, in_new_type);
		checked = requirement->qualification;
	}
	spi_end(&scope);
}

void
requirements_check_usable(const Requirements *requirements, int64 requester)
{
	check_all(requirements, requester, true);
}

void
requirements_check_supply(const Requirements *requirements, int64 requester)
{
	check_all(requirements, requester, false);
}
