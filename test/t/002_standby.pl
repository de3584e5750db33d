# A standby reads and writes nothing; promoted, it is an exchange.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $primary = new_cluster('primary', init => [ allows_streaming => 1 ]);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->append_conf('postgresql.conf', 'taskex.conductor = off');
$primary->reload;

make_partitions($primary, 2, in_place => 1);
my $type = make_market($primary);
ok(round_trip($primary, $type), 'the primary works');
my $open = $primary->safe_psql('postgres', qq{select taskex.create_task('req', $type, '{}', performers => 2)});
my $taken = $primary->safe_psql('postgres', qq{select assignment_id from taskex.accept_task('perf', $open)});
my $due = $primary->safe_psql('postgres', qq{select taskex.create_task('req', $type, '{}', expires_in => '1 millisecond')});

is($standby->safe_psql('postgres', 'select coalesce(sum(waiting), 0) from taskex.queue'), '0', 'the queue is empty at first');

# runs for executors, which the primary has none of while it has no conductor
$primary->safe_psql('postgres', q{
	create role ann login;
	select taskex.register_user('ann', '{"db_role": "ann"}'), taskex.create_environment('inside', 'plpgsql'), taskex.create_environment('outside', 'external')});
my @runs = split /\n/, $primary->safe_psql('postgres', q{select taskex.submit_runs('ann', null, array(select to_jsonb(g) from generate_series(1, 20) g),
	options => '{"environment": "inside", "code": "begin return to_jsonb(array[2 * data::int, pg_backend_pid()]); end"}')});
my ($pulled, $token) = split /\|/, $primary->safe_psql('postgres', q{select taskex.submit_run('ann', options => '{"environment": "outside"}') as id \gset
	select run_id, lease_token from taskex.pull_runs('w', 'outside', lease => '1 hour')});

sub caught_up { $primary->wait_for_catchup('standby', 'replay', $primary->lsn('insert')); return }
caught_up();

# reading
ok($standby->poll_query_until('postgres', q{select sum(waiting) = 20 from taskex.queue}), 'the queue is that of the primary');
is($standby->safe_psql('postgres', q{select available, held from taskex.balance('req')}),
	$primary->safe_psql('postgres', q{select available, held from taskex.balance('req')}), 'balances are read');
is($standby->safe_psql('postgres', 'select users, calls from _taskex.meter()'), '0|0', 'what that costs is not counted');
is($standby->safe_psql('postgres', q{select * from taskex.route('perf')}),
	$primary->safe_psql('postgres', q{select * from taskex.route('perf')}), 'users are routed');
is(sqlstate_of($standby, 'postgres', q{select * from taskex.route('later')}), 'TX001', 'a login unknown as yet');
$primary->safe_psql('postgres', q{select taskex.register_user('later')});
caught_up();
is($standby->safe_psql('postgres', q{select * from taskex.route('later')}),
	$primary->safe_psql('postgres', q{select * from taskex.route('later')}), 'is routed when it has arrived');
ok_checks($standby, 'postgres', 'the checks run');

# what the standby has cached must not outlive a change on the primary
$primary->safe_psql('postgres', q{begin; select taskex.register_user('undone'); rollback});
caught_up();
is(sqlstate_of($standby, 'postgres', q{select * from taskex.route('undone')}), 'TX001', 'a rolled back login is unknown');

# writing
my %write = (
	register_user => q{taskex.register_user('x')},
	deposit => q{taskex.deposit('req', 1, 'x')},
	withdraw => q{taskex.withdraw('req', 1, 'x')},
	create_task_type => q{taskex.create_task_type('req', 'Other', 1)},
	create_task => qq{taskex.create_task('req', $type, '{}')},
	accept_task => qq{taskex.accept_task('later', $open)},
	accept_next => q{taskex.accept_next('later')},
	submit_assignment => qq{taskex.submit_assignment('perf', $taken, '{}')},
	return_assignment => qq{taskex.return_assignment('perf', $taken)},
	extend_assignment => qq{taskex.extend_assignment('perf', $taken, '1 hour')},
	run_due => q{taskex.run_due()},
	submit_run => q{taskex.submit_run('ann', options => '{"environment": "outside"}')},
	pull_runs => q{taskex.pull_runs('w', 'outside')},
	complete_run => qq{taskex.complete_run($pulled, $token)},
	add_partition => q{taskex.add_partition('p3')},
);
for my $f (sort keys %write)
{
	is(sqlstate_of($standby, 'postgres', "select $write{$f}"), '25006', "$f is refused on a standby");
}
is($standby->safe_psql('postgres', q{select count(*) from pg_stat_activity where backend_type like 'taskex%'}), '0',
	'no worker runs on a standby');

# promotion
my $last = $primary->safe_psql('postgres', q{select taskex.submit_run('ann', data => '21', options => '{"environment": "inside", "code": "begin return to_jsonb(array[2 * data::int, pg_backend_pid()]); end"}')});
my $balances = q{select login, b.available, b.held from taskex.users u, taskex.balance(u.login) b order by 1};
my $primary_sum = $primary->safe_psql('postgres', qq{select sum(available + held) from ($balances) b});
caught_up();
$primary->stop('immediate');
$standby->promote;
await_conductor($standby, 'postgres', 'after promotion the conductor starts by itself');
is($standby->safe_psql('postgres', qq{select sum(available + held) from ($balances) b}),
	$primary_sum, 'the money is that of the primary');
is(sqlstate_of($standby, 'postgres', qq{select taskex.submit_assignment('perf', $taken, '{}')}), '',
	'work accepted on the primary is submitted');
ok(round_trip($standby, $type), 'the exchange works');
is($standby->safe_psql('postgres', qq{select count(*) from (select task_id from taskex.tasks group by 1 having count(*) > 1) x}),
	'0', 'no id is used twice');
is(sqlstate_of($standby, 'postgres', q{select taskex.register_user('after')}), '', 'with new users');
await($standby, 'postgres', qq{select state = 'expired' from _taskex.task where task_id = $due},
	'the conductor does what became due before');
my $runs = join ',', @runs, $last;
await($standby, 'postgres', "select count(*) = 21 from taskex.runs where run_id in ($runs) and state = 'succeeded' and result ->> 0 = (2 * data::int)::text",
	'executors start, and do what was queued on the primary');
is($standby->safe_psql('postgres', "select usename, backend_type from pg_stat_activity where pid = (select (result ->> 1)::int from taskex.runs where run_id = $runs[0])"),
	'ann|taskex executor', 'as the customer');
is(sqlstate_of($standby, 'postgres', "select taskex.complete_run($pulled, $token)"), '', 'a run that was pulled on the primary is completed');
is($standby->safe_psql('postgres', 'select count(*) from taskex.check_workload() where not ok'), '0', 'the queue is whole');
ok_checks($standby, 'postgres', 'the books are right');
$standby->stop;

done_testing();
