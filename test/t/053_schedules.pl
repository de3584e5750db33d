# pg_cron really submits runs: what customers schedule, what is skipped, missed or
# refused, and who may change whose schedule.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $sharedir = `pg_config --sharedir`;
chomp $sharedir;
plan skip_all => 'pg_cron is not installed' if !-e "$sharedir/extension/pg_cron.control";

my $node = new_cluster('main', conf => "shared_preload_libraries = 'taskex,pg_cron'\ncron.database_name = 'postgres'\ncron.use_background_workers = on\nmax_worker_processes = 20\n");
my ($p, $err) = ('postgres');
$node->safe_psql($p, q{
	create role ann login; create role bob login; grant taskex_user to ann, bob;
	select taskex.add_partition('p1'), taskex.register_user('ann', '{"db_role": "ann"}'), taskex.register_user('bob', '{"db_role": "bob"}'),
		taskex.create_environment('ext', 'external', options => '{"max_attempts": 1}');
	select taskex.publish_program('ann', 'own', 'ext', 'x'), taskex.publish_program('bob', 'public', 'ext', 'x', 0, true);
});
sub as { my ($role, $sql) = @_; return $node->psql($p, "set session authorization $role; $sql") }

(undef, undef, $err) = as('ann', "select taskex.schedule_run('ann', 'n', '* * * * *', 'own')");
like($err, qr/pg_cron is not installed in this database/, 'a clear error without the extension');
is($node->safe_psql($p, 'select count(*) from taskex.schedules'), '0', 'and no schedule');
$node->safe_psql($p, 'create extension pg_cron');

# what may be scheduled, by whom
for my $bad (
	[ "'ann', 'n', 'whenever', 'own'", 'invalid schedule', 'a schedule that is none' ],
	[ "'ann', 'n', '* * * * *', 'none'", 'does not exist', 'an unknown program' ],
	[ "'ann', 'n', '* * * * *', 'own', priority => 10", 'between 0 and 9', 'a bad priority' ],
	[ "'ann', '', '* * * * *', 'own'", 'name', 'no name' ],
	[ "'ann', 'n', '* * * * *', 'own', options => '{\"overlap\": \"stop\"}'", 'skip or queue', 'an unknown overlap' ],
	[ "'ann', 'n', '* * * * *', 'own', options => '{\"missed\": 1}'", 'skip or once', 'an unknown way with what was missed' ],
	[ "'ann', 'n', '* * * * *', 'own', options => '{\"after\": [1]}'", 'run_at, after', 'a run that comes after one' ],
	[ "'ann', 'n', '* * * * *', 'own', options => '{\"colour\": 1}'", 'not an option', 'an unknown option' ],
	[ "'bob', 'n', '* * * * *', 'public'", 'permission denied', 'somebody else' ])
{
	(undef, undef, $err) = as('ann', "select taskex.schedule_run($bad->[0])");
	like($err, qr/$bad->[1]/, "refused: $bad->[2]");
}
is($node->safe_psql($p, q{select (select count(*) from cron.job), (select count(*) from taskex.schedules), (select count(*) from _taskex.run)}), '0|0|0', 'nothing has changed');

as('ann', "select taskex.schedule_run('ann', 'each', '* * * * *', 'bob/public', '{\"n\": 1}', 3, '{\"retention\": \"1 day\"}')");
as('ann', "select taskex.schedule_run('ann', 'many', '* * * * *', 'own', options => '{\"overlap\": \"queue\"}')");
as('ann', "select taskex.schedule_run('ann', 'later', '0 0 29 2 *', 'own', options => '{\"missed\": \"once\"}')");
as('bob', "select taskex.schedule_run('bob', 'each', '0 3 * * *', 'public')");
is($node->safe_psql($p, q{select string_agg(schedule || ' ' || regexp_replace(command, '\d+', 'N') || ' ' || username, ',' order by jobid) from cron.job where jobname like 'taskex run %'}),
	join(',', map { "$_ SELECT _taskex.fire_schedule(N) " . $node->safe_psql($p, 'select current_user') } '* * * * *', '* * * * *', '0 0 29 2 *', '0 3 * * *'), 'the jobs are those of the owner');
is((as('ann', "select string_agg(name, ' ' order by name) from taskex.schedules"))[1], 'each later many', 'a customer sees his own');
is((as('bob', "select taskex.unschedule_run('bob', 'many')"))[1], 'f', 'and ends his own only');
(undef, undef, $err) = as('bob', "select taskex.unschedule_run('ann', 'each')");
like($err, qr/permission denied/, 'not those of others');
(undef, undef, $err) = as('ann', 'select _taskex.fire_schedule(1)');
like($err, qr/permission denied/, 'nobody fires by hand');

# a schedule of the same name takes the place of the first
my $id = $node->safe_psql($p, q{select schedule_id from _taskex.schedule where name = 'later'});
is((as('ann', "select taskex.schedule_run('ann', 'later', '0 0 29 2 *', 'own', '2', options => '{\"missed\": \"once\"}')"))[1], $id, 'replaced');
is($node->safe_psql($p, q{select count(*) from cron.job where schedule = '0 0 29 2 *'}), '1', 'with its job');

# pg_cron really does it
await($node, $p, q{select count(*) = 2 from taskex.schedules where runs = 1 and name in ('each', 'many')}, 'pg_cron submits the runs');
is($node->safe_psql($p, q{select program, data, priority, state, options from taskex.runs where run_id = (select last_run from taskex.schedules where name = 'each' and customer = 'ann')}),
	'bob/public|{"n": 1}|3|waiting|{"retention": "1 day"}', 'as they were asked for');

# what follows is fired by hand: a schedule's time is over when it says so
my $fire = sub {
	my ($name, $catch_up) = @_;
	return $node->safe_psql($p, qq{
		update _taskex.schedule set due_at = least(due_at, date_trunc('minute', now()) - interval '1 minute') where name = '$name' and customer_id = 1;
		select _taskex.fire_schedule(schedule_id) from _taskex.schedule where name = '$name' and customer_id = 1;});
};
$node->safe_psql($p, q{select cron.unschedule(jobid) from cron.job where schedule = '* * * * *'});
like($fire->('each'), qr/^skipped/, 'skipped while the run before has not ended');
like($fire->('many'), qr/^run \d+$/, 'or queued');
is($node->safe_psql($p, q{select _taskex.fire_schedule(schedule_id) from _taskex.schedule where name = 'many'}), 'nothing is due', 'twice in a minute is once');
is($node->safe_psql($p, q{select skipped > 0 from taskex.schedules where name = 'each' and customer = 'ann'}), 't', 'and counted');
$node->safe_psql($p, q{select taskex.complete_run(run_id, lease_token) from taskex.pull_runs('w', 'ext', 100)});
like($fire->('each'), qr/^run \d+$/, 'submitted again when it has ended');

# refused: kept with the schedule, which goes on
$node->safe_psql($p, q{select taskex.deprecate_program('bob', 'public'); select taskex.complete_run(run_id, lease_token) from taskex.pull_runs('w', 'ext', 100)});
like($fire->('each'), qr/^TX622 /, 'refused: the program is deprecated');
is($node->safe_psql($p, q{select failed, last_error ~ 'deprecated' from taskex.schedules where name = 'each' and customer = 'ann'}), '1|t', 'as the schedule shows');
$node->safe_psql($p, q{select taskex.undeprecate_program('bob', 'public')});
like($fire->('each'), qr/^run \d+$/, 'and it goes on');
is($node->safe_psql($p, q{select last_error is null from taskex.schedules where name = 'each' and customer = 'ann'}), 't', 'without the error');

# the server is down when it is time; pg_cron starts again
$node->safe_psql($p, q{update _taskex.schedule set due_at = now() - interval '5 years' where name = 'later'; update _taskex.schedule set due_at = now() - interval '2 days' where customer_id = 2});
$node->restart;
await($node, $p, q{select runs = 1 from taskex.schedules where name = 'later'}, 'a run for all that was missed') if $node->safe_psql($p, q{select count(*) > 0 from _taskex.cron_times('0 0 29 2 *', now() - interval '366 days', now())}) eq 't';
$node->safe_psql($p, q{select taskex.schedule_run('ann', 'hours', '0 * * * *', 'own', options => '{"missed": "once"}'); update _taskex.schedule set due_at = now() - interval '5 hours' where name = 'hours'});
$node->restart;
await($node, $p, q{select runs = 1 and missed_times in (5, 6) from taskex.schedules where name = 'hours'}, 'one run for five that were missed (or six, at the hour)');
is($node->safe_psql($p, q{select runs, missed_times from taskex.schedules where customer = 'bob'}), '0|0', 'or nothing');

is($node->safe_psql($p, q{select taskex.unschedule_run('ann', name) from taskex.schedules where customer = 'ann' and name = 'later'}), 't', 'a schedule ends');
$node->safe_psql($p, q{select taskex.unschedule_run(customer, name) from taskex.schedules});
is($node->safe_psql($p, q{select (select count(*) from cron.job), (select count(*) from taskex.schedules)}), '0|0', 'nothing is left with pg_cron');
is($node->safe_psql($p, q{select count(*) from taskex.check_workload() where not ok}), '0', 'the queue is whole');

$node->stop;
done_testing();
