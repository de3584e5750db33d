# Performers wait for tasks: each task that appears is had by one of them soon, the
# others sleep on. Without supplies and with them.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IPC::Run qw(start finish timeout);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(time usleep);

my $waiters = 12;
my $node = new_cluster('main', conf => "max_connections = 60\ntaskex.supply_interval = 50ms\n");
$node->safe_psql('postgres', q{
	select taskex.add_partition('p1');
	select taskex.register_user('req'), taskex.register_user('idle'), taskex.register_user('other');
	select taskex.deposit('req', 1000, 'x'); });

for my $supply ('off', 'on')
{
	$node->safe_psql('postgres', "alter system set taskex.supply = $supply");
	$node->reload;
	my $type = $node->safe_psql('postgres', "select taskex.create_task_type('req', 'Wait $supply', 1)");
	my $done = "select count(*) from _taskex.assignment where task_type_id = $type";

	my $began = time;
	is($node->safe_psql('postgres', "select taskex.wait_for_task('idle', '300 ms', $type)"), 'f', "supply $supply: nothing comes");
	cmp_ok(time - $began, '>=', 0.3, 'it was waited for');

	my @waiting;
	for my $i (1 .. $waiters)
	{
		my $name = "w_${supply}_$i";
		$node->safe_psql('postgres', "select taskex.register_user('$name')");
		my $out = '';
		# somebody else may be faster: then he waits again
		my $sql = "do \$\$ begin loop perform taskex.wait_for_task('$name', '60 s', $type); commit;"
		  . " exit when exists (select from taskex.accept_next('$name', $type)); commit; end loop; end \$\$";
		push @waiting, start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', $sql ], '>', \$out, '2>&1', timeout(90));
	}
	ok($node->poll_query_until('postgres',
			"select count(*) = $waiters from pg_stat_activity where query like 'do%wait_for_task%' and wait_event = 'Extension'"),
		'all sleep');

	# one task, then several at once
	my $given = 0;
	for my $n (1, 1, 4, $waiters - 6)
	{
		$node->safe_psql('postgres', "select count(*) from taskex.create_tasks('req', $type, array_fill('1'::jsonb, array[$n]))");
		$given += $n;
		my $at = time;
		ok($node->poll_query_until('postgres', "$done having count(*) = $given", $given), "supply $supply: $given tasks are had");
		cmp_ok(time - $at, '<', 10, 'soon');
	}
	finish($_) for @waiting;

	# a task that comes back wakes too
	my $assignment = $node->safe_psql('postgres', "select assignment_id from _taskex.assignment join _taskex.directory d on d.user_id = performer_id
		where login = 'w_${supply}_1' and task_type_id = $type");
	is($node->safe_psql('postgres', "select count(*) from taskex.accept_next('other', $type)"), '0',
		'who has not looked yet may be told to; he has, and there is nothing');
	my $out = '';
	my $again = start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "select taskex.wait_for_task('other', '60 s', $type)" ],
		'>', \$out, '2>&1', timeout(90));
	ok($node->poll_query_until('postgres', "select count(*) = 1 from pg_stat_activity where query like '%other%60 s%' and pid <> pg_backend_pid() and wait_event = 'Extension'"), 'one sleeps');
	$node->safe_psql('postgres', "select taskex.return_assignment('w_${supply}_1', $assignment)");
	finish($again);
	is($out, "t\n", "supply $supply: a slot that is given back wakes him");
}

# who is ended while he waits leaves nothing behind
my $none = $node->safe_psql('postgres', "select taskex.create_task_type('req', 'Wait for nothing', 1)");
my $out = '';
my $ended = start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "select taskex.wait_for_task('idle', '60 s', $none)" ], '>', \$out, '2>&1', timeout(90));
ok($node->poll_query_until('postgres', q{select count(pg_terminate_backend(pid)) = 1 from pg_stat_activity where query like '%idle%60 s%' and pid <> pg_backend_pid() and wait_event = 'Extension'}), 'a waiter is ended');
finish($ended);
is($node->safe_psql('postgres', q{select count(*) from taskex.check_market() where not ok}), '0', 'the market is as it should be');
$node->stop;

done_testing();
