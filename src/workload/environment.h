/*
 * environment.h
 *	  What a session knows of environments.
 */
#ifndef TASKEX_WORKLOAD_ENVIRONMENT_H
#define TASKEX_WORKLOAD_ENVIRONMENT_H

#include "postgres.h"

#include "datatype/timestamp.h"
#include "directory/directory.h"

typedef struct KnownEnvironment
{
	int32		environment_id;
	char		name[NAMEDATALEN];
	bool		paused;
	bool		retired;		/* takes no new runs */
	Oid			worker_role;	/* whose members may pull; InvalidOid: trusted callers only */
	int32		max_attempts;	/* unless a run says otherwise */
	char		language[NAMEDATALEN];
	bool		external;		/* workers outside run the code, and may know it themselves */
	bool		set_up;			/* executors run SQL first */
	int32		generation;		/* raised by each change of what executors begin with */
	int32		min_executors;
	int32		max_executors;
	int64		idle_us;
	bool		restricted;		/* to these customers */
	int			customer_count;
	int64	   *customers;
} KnownEnvironment;

/* by name; raises unknown_environment.  Valid until the next call */
extern const KnownEnvironment *environment_get(const text *name);

/* by id, which is that of a run */
extern const KnownEnvironment *environment_by_id(int32 environment_id);

/* all of them, until the next call; in the order of their names */
extern int	environment_list(const KnownEnvironment **environments);

/* may the caller work for it? */
extern bool environment_has_worker(const KnownEnvironment *environment);

/* raises insufficient_privilege unless he may */
extern void environment_require_worker(const KnownEnvironment *environment);

/* raises an error unless the customer may have a new run in it */
extern void environment_require_customer(const KnownEnvironment *environment, int64 customer_id);

/* has the operator named the customer? false too if everybody may have runs in it */
extern bool environment_names(const KnownEnvironment *environment, int64 customer_id);

/*
 * In src/executor: raises an error unless this code may be run in the environment
 * as the customer, whose it is.
 */
extern void (*environment_check_code) (const UserHome *customer, const KnownEnvironment *environment, const text *code);

#endif							/* TASKEX_WORKLOAD_ENVIRONMENT_H */
