# pg_cron really closes invoices, samples what is stored and removes old usage.

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
my $p = 'postgres';
$node->safe_psql($p, q{
	select taskex.add_partition('p1'), taskex.register_user('ann'), taskex.create_environment('e', 'external'),
		taskex.set_rate('run_time', 1, '{"unit": "hour", "granularity": "1 hour"}'), taskex.set_rate('storage', 1, '{"unit": "GB month"}')});
my (undef, undef, $err) = $node->psql($p, 'select taskex.schedule_billing()');
like($err, qr/pg_cron is not installed in this database/, 'a clear error without the extension');
$node->safe_psql($p, q{create extension pg_cron});

sub run_one { return $node->safe_psql($p, q{select taskex.submit_run('ann', options => '{"environment": "e"}'); select taskex.complete_run(run_id, lease_token) from taskex.pull_runs('w', 'e')}) }
run_one();
$node->safe_psql($p, q{insert into _taskex.load_bytes select _taskex.user_id('ann'), position, 0, 1, 1073741824 from _taskex.child_table limit 1});
is($node->safe_psql($p, q{select count(*) from taskex.schedule_billing('* * * * *', '* * * * *')}), '2', 'two jobs');
is($node->safe_psql($p, q{select string_agg(jobname || ' ' || schedule, ', ' order by jobname) from cron.job}), 'taskex closing * * * * *, taskex sampling * * * * *', 'as pg_cron shows');

await($node, $p, q{select count(*) = 1 from taskex.invoices where customer = 'ann' and total = 1}, 'an invoice is closed by itself');
run_one();
await($node, $p, q{select sum(total) = 2 from taskex.invoices where customer = 'ann'}, 'and the next one');
await($node, $p, q{select count(*) > 0 from taskex.usage where customer = 'ann' and meter = 'storage' and quantity > 0}, 'what is stored is sampled');
is($node->safe_psql($p, q{select count(*) from cron.job_run_details where status = 'failed'}), '0', 'no job has failed');

# a second call takes the place of the first; retention is hourly, so its command is run by hand, as pg_cron has it and by whom
is($node->safe_psql($p, q{select count(*) from taskex.schedule_billing(NULL, NULL, '0 s')}), '1', 'only what is asked for stays');
is($node->safe_psql($p, q{select string_agg(jobname || ' ' || schedule, ', ') from cron.job}), 'taskex usage retention 17 * * * *', '... with pg_cron, too');
$node->safe_psql($p, q{select taskex.close_invoices(), taskex.remove_runs('0 s')});
my ($who, $command) = split /\|/, $node->safe_psql($p, 'select username, command from cron.job');
$node->safe_psql($p, "set session authorization $who; $command");
is($node->safe_psql($p, q{select count(*) from taskex.usage where run_id is not null}), '0', "it removes old usage ($command)");
is($node->safe_psql($p, 'select taskex.unschedule_billing(); select count(*) from cron.job'), "t\n0", 'nothing is left with pg_cron');
is($node->safe_psql($p, q{select string_agg(check_name || ': ' || detail, '; ') from (select * from taskex.check_billing() union all select * from taskex.check_ledger()) c where not ok}), '', 'the books are right');

done_testing();
