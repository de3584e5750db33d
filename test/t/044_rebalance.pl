# pg_cron really rebalances: what it is told by schedule_rebalance() queues moves,
# and the users arrive.

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
(undef, undef, $err) = $node->psql($p, "select taskex.schedule_rebalance('* * * * *')");
like($err, qr/pg_cron is not installed in this database/, 'a clear error without the extension');
like($err, qr/HINT:.*CREATE EXTENSION pg_cron/, 'with a hint');

$node->safe_psql($p, q{
	create extension pg_cron;
	select taskex.add_partition('p1'), taskex.add_partition('p2');
	select count(taskex.register_user('u' || i, partition => 'p1')) from generate_series(1, 8) i;
	insert into _taskex.load_mean select 'u', user_id, date_trunc('hour', now()) - interval '10 days', date_trunc('hour', now()) - interval '1 hour',
		z, z, z, z, z, array_fill(3.6e9::real, array[24]) from _taskex.directory, (select array_fill(0::real, array[24]) as z) z;
	select taskex.set_fitness('cpu', '{"cpu": 1}');
});
is($node->safe_psql($p, q{select count(*), count(distinct target) from taskex.plan_rebalance('cpu')}), '4|1', 'half of the users should move');
(undef, undef, $err) = $node->psql($p, "select taskex.schedule_rebalance('whenever', 'cpu')");
like($err, qr/invalid schedule/, 'pg_cron checks the schedule');
my $job = $node->safe_psql($p, q{select taskex.schedule_rebalance('0 3 * * *', 'cpu')});
is($node->safe_psql($p, q{select taskex.schedule_rebalance('* * * * *', 'cpu', 3)}), $job, 'a second schedule takes the place of the first');
is($node->safe_psql($p, q{select schedule, command from cron.job}), q{* * * * *|SELECT taskex.rebalance('cpu', 3)}, 'the job');
await($node, $p, q{select count(*) >= 3 from taskex.migrations where reason like 'rebalance: %'}, 'pg_cron queues the moves');
is($node->safe_psql($p, q{select taskex.unschedule_rebalance('cpu'), taskex.unschedule_rebalance('cpu')}), 't|f', 'the schedule ends, once');
await($node, $p, q{select count(*) >= 3 from taskex.users where partition = 'p2'}, 'the users arrive');
is($node->safe_psql($p, q{select bool_and(status = 'succeeded') from cron.job_run_details where status <> 'running'}), 't', 'every run succeeded');
is($node->safe_psql($p, q{select count(*) from taskex.plan_rebalance('cpu') m join taskex.migrations g using (login)}), '0', 'who was moved rests');

$node->stop;
done_testing();
