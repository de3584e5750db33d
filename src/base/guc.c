/*
 * guc.c
 *	  Definition of the settings, in alphabetical order.
 */
#include "postgres.h"

#include "base/guc.h"

#include <limits.h>

#include "miscadmin.h"

int			guc_anonymous_lifetime = 86400;
int			guc_anonymous_limit = 100;
bool		guc_async_accept = true;
int			guc_checkpoint_size = 64;
bool		guc_conductor = true;
int			guc_conductor_interval = 1000;
int			guc_directory_cache_size = 64 * 1024;
int			guc_dispute_period = 30 * 86400;
int			guc_epoch = -1;
int			guc_event_retention = 7 * 86400;
double		guc_exchange_fee = 0.2;
int			guc_executor_batch = 64;
int			guc_executor_batch_time = 10;
int			guc_executor_slice = 1000;
int			guc_feed_size = 4096;
int			guc_load_half_life = 7 * 86400;
int			guc_load_history = 30 * 86400;
int			guc_load_interval = 60 * 1000;
int			guc_load_sample = 512;
int			guc_max_databases = 16;
int			guc_max_executors = 8;
int			guc_max_inference_memory = 1024 * 1024;
int			guc_max_input_size = 1024;
int			guc_max_lanes = 8192;
int			guc_max_loaded_users = 65536;
int			guc_max_movers = 2;
int			guc_max_partitions = 1024;
bool		guc_measure_load = true;
int			guc_max_supplies = 1024;
int			guc_move_rate = 0;
int			guc_move_stall = 10;
char	   *guc_move_window = NULL;
int			guc_override_period = 30 * 86400;
int			guc_plan_cache_size = 256;
double		guc_program_share = 0.2;
int			guc_purse_cache_size = 16384;
int			guc_rebalance_cooldown = 86400;
double		guc_rebalance_gain = 0.02;
double		guc_rebalance_start = 0.2;
double		guc_rebalance_target = 0.05;
int			guc_ready_runs = 65536;
int			guc_run_grace = 5000;
int			guc_run_output_size = 64;
int			guc_run_retention = 7 * 86400;
bool		guc_supply = false;
char	   *guc_supply_alike = NULL;
double		guc_supply_certainty = 0.9;
int			guc_supply_horizon = 900;
int			guc_supply_input = 512;
int			guc_supply_interval = 1000;
int			guc_supply_lease = 600;
int			guc_supply_limit = 500;
int			guc_supply_size = 16384;
char	   *guc_wait_point = NULL;

static char *guc_clock = NULL;

/* a list of at most eight names, of what a key of a profile may have */
static bool
alike_check(char **newval, void **extra, GucSource source)
{
	int			names = 1;

	for (const char *c = *newval; *c; c++)
	{
		if (*c == ',')
			names++;
		else if ((unsigned char) *c < ' ')
		{
			GUC_check_errdetail("It must have no control characters.");
			return false;
		}
	}
	if (names > 8)
	{
		GUC_check_errdetail("It must name at most eight attributes.");
		return false;
	}
	return true;
}

bool
guc_parse_window(const char *window, int *from, int *to)
{
	int			hours[2];
	int			minutes[2];
	int			end = 0;

	*from = *to = 0;
	if (window[0] == '\0')
		return true;
	if (sscanf(window, "%2d:%2d-%2d:%2d%n", &hours[0], &minutes[0], &hours[1], &minutes[1], &end) != 4 ||
		window[end] != '\0')
		return false;
	for (int i = 0; i < 2; i++)
		if (hours[i] < 0 || minutes[i] < 0 || minutes[i] > 59 || hours[i] * 60 + minutes[i] > 24 * 60)
			return false;
	*from = hours[0] * 60 + minutes[0];
	*to = hours[1] * 60 + minutes[1];
	return *from != *to;
}

static bool
window_check(char **newval, void **extra, GucSource source)
{
	int			from;
	int			to;

	if (guc_parse_window(*newval, &from, &to))
		return true;
	GUC_check_errdetail("It must be two different times of the day, as in \"22:00-06:00\", or empty.");
	return false;
}

static void
define_postmaster_sizes(void)
{
	DefineCustomIntVariable("taskex.checkpoint_size",
							"How large a checkpoint of a run in an executor may be, with its progress.",
							"So much shared memory is reserved for each executor (taskex.max_executors).",
							&guc_checkpoint_size,
							64, 1, 1024 * 1024,
							PGC_POSTMASTER, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.directory_cache_size",
							"Size of the shared cache of the directory of users.",
							"A user takes about 128 bytes (one entry by login, one by id). The least used entries give way.",
							&guc_directory_cache_size,
							64 * 1024, 64, MAX_KILOBYTES,
							PGC_POSTMASTER, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.feed_size",
							"Number of shelves (task type on a partition) that shared memory follows.",
							NULL,
							&guc_feed_size,
							4096, 16, 1024 * 1024,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.max_databases",
							"Number of databases of this server that can hold an exchange.",
							NULL,
							&guc_max_databases,
							16, 1, 1024,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.max_executors",
							"Number of executors, processes that run code, that the server can have at a time.",
							"Of all its databases together; each takes one of max_worker_processes. 0: none.",
							&guc_max_executors,
							8, 0, 1000,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.max_lanes",
							"Number of lanes (customer, environment and priority) of runs that shared memory holds.",
							"Also of environments, of customers with runs, and of concurrency keys.",
							&guc_max_lanes,
							8192, 64, 1024 * 1024,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.max_loaded_users",
							"Number of users whose load is told apart between two looks at it.",
							"What others do meanwhile counts for their storage partitions only.",
							&guc_max_loaded_users,
							65536, 64, 16 * 1024 * 1024,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.max_partitions",
							"Number of storage partitions that an exchange can have.",
							NULL,
							&guc_max_partitions,
							1024, 1, 65536,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.max_supplies",
							"Number of supplies (task type for a group of performers) that shared memory holds.",
							NULL,
							&guc_max_supplies,
							1024, 16, 64 * 1024,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.purse_cache_size",
							"Number of accounts whose spendable funds are kept in shared memory.",
							NULL,
							&guc_purse_cache_size,
							16384, 128, 16 * 1024 * 1024,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.ready_runs",
							"Number of runs, ready or running, that shared memory holds.",
							"What is running must have its place there. Further ready runs wait in their tables.",
							&guc_ready_runs,
							65536, 64, 16 * 1024 * 1024,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.supply_input",
							"Largest input of a task that is kept in shared memory with it.",
							"A larger one is read from its table when the task is accepted.",
							&guc_supply_input,
							512, 0, 64 * 1024,
							PGC_POSTMASTER, GUC_UNIT_BYTE,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.supply_size",
							"Number of tasks that shared memory holds for all supplies.",
							NULL,
							&guc_supply_size,
							16384, 64, 16 * 1024 * 1024,
							PGC_POSTMASTER, 0,
							NULL, NULL, NULL);
}

void
guc_define(void)
{
	DefineCustomIntVariable("taskex.anonymous_lifetime",
							"Time after which anonymous users are removed who have nothing that lasts.",
							"It is counted from their start, or from the end of the last lease that they had. 0: they stay.",
							&guc_anonymous_lifetime,
							86400, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.anonymous_limit",
							"Number of anonymous users that a role which acts for its own users alone can have at a time.",
							"Members of taskex_app are not limited.",
							&guc_anonymous_limit,
							100, 0, INT_MAX,
							PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("taskex.async_accept",
							 "Lets an accept that is a transaction of its own commit without waiting for the disk.",
							 "A crash may forget the accepts of the last moments, whole; submitted work is never forgotten.",
							 &guc_async_accept,
							 true,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomStringVariable("taskex.clock",
							   "Sets the time of the exchange, for tests and replays.",
							   "A timestamp with time zone; empty means real time.",
							   &guc_clock,
							   "",
							   PGC_SUSET, 0,
							   clock_check, clock_assign, NULL);
	DefineCustomBoolVariable("taskex.conductor",
							 "Lets the conductors do their periodic work.",
							 "While off, nothing expires and nothing is approved unless taskex.run_due() is called.",
							 &guc_conductor,
							 true,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.conductor_interval",
							"Longest time between two rounds of a conductor.",
							NULL,
							&guc_conductor_interval,
							1000, 10, 3600 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.dispute_period",
							"Time after a rejection in which the performer can open a dispute.",
							NULL,
							&guc_dispute_period,
							30 * 86400, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.epoch",
							"The epoch of the users for whom this session acts, as taskex.locate() told it.",
							"Calls for a user who has moved since are refused, and told where he lives. -1: whatever it is.",
							&guc_epoch,
							-1, -1, INT_MAX,
							PGC_USERSET, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.event_retention",
							"How long events are kept for those who read them.",
							"They are given up in segments, so they may be kept for half as long again.",
							&guc_event_retention,
							7 * 86400, 1, 3660 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomRealVariable("taskex.exchange_fee",
							 "The exchange's fee, as a share of the reward.",
							 "It is fixed for a task when the task is supplied.",
							 &guc_exchange_fee,
							 0.2, 0.0, 1.0,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.executor_batch",
							"Number of runs that an executor takes at a time, at most.",
							"Small ones share a commit, and nothing else.",
							&guc_executor_batch,
							64, 1, 256,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.executor_batch_time",
							"An executor takes no more runs at a time than this is expected to be enough for.",
							NULL,
							&guc_executor_batch_time,
							10, 1, 10000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.executor_slice",
							"Time for which the executor of a role goes on while another role has none.",
							"When there are more roles with work than executors.",
							&guc_executor_slice,
							1000, 10, 3600 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.load_half_life",
							"Time after which a day counts half as much in the mean load of users and storage partitions.",
							NULL,
							&guc_load_half_life,
							7 * 86400, 3600, 3660 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.load_history",
							"How long the load of single hours is kept.",
							NULL,
							&guc_load_history,
							30 * 86400, 3600, 3660 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.load_interval",
							"Time after which the load that was counted in shared memory is stored.",
							"A crash forgets what was counted since.",
							&guc_load_interval,
							60 * 1000, 1000, 3600 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.load_sample",
							"Number of blocks that are read at most in a round to find what users have stored.",
							"0: nothing is read, and what they have stored is not known.",
							&guc_load_sample,
							512, 0, 1024 * 1024,
							PGC_SIGHUP, GUC_UNIT_BLOCKS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.max_inference_memory",
							"Most memory that one inference of answers takes.",
							"A label takes about 20 bytes, a name of a task about 40.",
							&guc_max_inference_memory,
							1024 * 1024, 64, MAX_KILOBYTES,
							PGC_SUSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.max_input_size",
							"Largest input of a task, result of an assignment and profile of a user.",
							NULL,
							&guc_max_input_size,
							1024, 1, 256 * 1024,
							PGC_SUSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.max_movers",
							"Number of users that an exchange moves between storage partitions at a time.",
							"0: none is moved; what has begun rests.",
							&guc_max_movers,
							2, 0, MAX_MOVERS,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("taskex.measure_load",
							 "Counts what users' calls cost.",
							 NULL,
							 &guc_measure_load,
							 true,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.move_rate",
							"What all moves of users together write to the WAL in a second, at most.",
							"0: as much as the disk takes while others do not wait for it.",
							&guc_move_rate,
							0, 0, MAX_KILOBYTES,
							PGC_SIGHUP, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.move_stall",
							"Time for which a move waits for a user's open transactions when his home changes.",
							"His other writes wait meanwhile. If it is not enough, the move tries again later.",
							&guc_move_stall,
							10, 1, 60 * 1000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomStringVariable("taskex.move_window",
							   "Time of the day at which users are moved, as in '22:00-06:00'.",
							   "In the server's time zone. Outside of it no move begins, and none copies. Empty: at all times.",
							   &guc_move_window,
							   "",
							   PGC_SIGHUP, 0,
							   window_check, NULL, NULL);
	DefineCustomIntVariable("taskex.override_period",
							"Time after a rejection in which the requester can approve the assignment after all.",
							NULL,
							&guc_override_period,
							30 * 86400, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.plan_cache_size",
							"Number of plans for storage partitions that a session keeps.",
							NULL,
							&guc_plan_cache_size,
							256, 16, 65536,
							PGC_USERSET, 0,
							NULL, NULL, NULL);
	DefineCustomRealVariable("taskex.program_share",
							 "The exchange's share of what others pay for a program.",
							 "It is fixed for a price when the price is set.",
							 &guc_program_share,
							 0.2, 0.0, 1.0,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.rebalance_cooldown",
							"Time after a move in which plans leave a user where he is.",
							NULL,
							&guc_rebalance_cooldown,
							86400, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomRealVariable("taskex.rebalance_gain",
							 "Least gain of a planned move that is not needed to lower a peak.",
							 "1: what the score of one average user may change at most.",
							 &guc_rebalance_gain,
							 0.02, 0, 1000,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomRealVariable("taskex.rebalance_start",
							 "Plans lower loads if a storage partition's busiest hour exceeds an even share by this part of it.",
							 NULL,
							 &guc_rebalance_start,
							 0.2, 0, 100,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomRealVariable("taskex.rebalance_target",
							 "Plans lower peaks until they exceed the least possible by this part of it.",
							 NULL,
							 &guc_rebalance_target,
							 0.05, 0, 100,
							 PGC_USERSET, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.run_grace",
							"Time after which the executor of a run that goes on, though it was stopped, is ended.",
							NULL,
							&guc_run_grace,
							5000, 100, 600000,
							PGC_SIGHUP, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.run_output_size",
							"Size of the messages of a run in an executor that are kept.",
							NULL,
							&guc_run_output_size,
							64, 1, 1024,
							PGC_SIGHUP, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.run_retention",
							"Time for which a run is kept after it has ended, with its result.",
							"A run can have its own. 0: for ever.",
							&guc_run_retention,
							7 * 86400, 0, INT_MAX,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("taskex.supply",
							 "Keeps tasks at hand for groups of performers.",
							 "While off, what is kept goes back to the requesters.",
							 &guc_supply,
							 false,
							 PGC_SUSET, 0,
							 NULL, NULL, NULL);
	DefineCustomStringVariable("taskex.supply_alike",
							   "Attributes of profiles by which performers are taken to be alike.",
							   "What those do who share a value counts when tasks are recommended. At most eight, separated by commas.",
							   &guc_supply_alike,
							   "location",
							   PGC_SUSET, 0,
							   alike_check, NULL, NULL);
	DefineCustomRealVariable("taskex.supply_certainty",
							 "How certainly the tasks that are kept for a group of performers are to last for the horizon.",
							 NULL,
							 &guc_supply_certainty,
							 0.9, 0.5, 0.999,
							 PGC_SIGHUP, 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.supply_horizon",
							"Time for which a group of performers has tasks at hand, as far as its past tells.",
							"A group can have its own.",
							&guc_supply_horizon,
							900, 1, 30 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.supply_interval",
							"Time between two rounds of a supplier.",
							"0: there is none, and only taskex.replenish() leases tasks and gives them back.",
							&guc_supply_interval,
							1000, 0, 3600 * 1000,
							PGC_SUSET, GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.supply_lease",
							"Time for which a group of performers has tasks, unless that is prolonged.",
							"A group can have its own.",
							&guc_supply_lease,
							600, 1, 30 * 86400,
							PGC_SIGHUP, GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("taskex.supply_limit",
							"Most tasks of a type that are kept at hand for a group of performers.",
							NULL,
							&guc_supply_limit,
							500, 1, 1000,
							PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomStringVariable("taskex.wait_point",
							   "Makes the session stop at the named wait point until an advisory lock is free, for tests of races.",
							   NULL,
							   &guc_wait_point,
							   "",
							   PGC_SUSET, GUC_NOT_IN_SAMPLE | GUC_NO_SHOW_ALL,
							   NULL, NULL, NULL);
	if (process_shared_preload_libraries_in_progress)
		define_postmaster_sizes();

	MarkGUCPrefixReserved("taskex");
}
