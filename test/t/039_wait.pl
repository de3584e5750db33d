# Performers wait for tasks: each task that appears is had by one of them soon, the
# others sleep on. Without supplies and with them. Then 200 of them, and what they cost.

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
my $node = new_cluster('main', conf => "max_connections = 240\ntaskex.supply_interval = 50ms\n");
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
		push @waiting, start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', $sql ], '>', \$out, '2>&1', timeout($PostgreSQL::Test::Utils::timeout_default));
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
		cmp_ok(time - $at, '<', 30, 'soon');
	}
	finish($_) for @waiting;

	# a task that comes back wakes too
	my $assignment = $node->safe_psql('postgres', "select assignment_id from _taskex.assignment join _taskex.directory d on d.user_id = performer_id
		where login = 'w_${supply}_1' and task_type_id = $type");
	is($node->safe_psql('postgres', "select count(*) from taskex.accept_next('other', $type)"), '0',
		'who has not looked yet may be told to; he has, and there is nothing');
	my $out = '';
	my $again = start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "select taskex.wait_for_task('other', '60 s', $type)" ],
		'>', \$out, '2>&1', timeout($PostgreSQL::Test::Utils::timeout_default));
	ok($node->poll_query_until('postgres', "select count(*) = 1 from pg_stat_activity where query like '%other%60 s%' and pid <> pg_backend_pid() and wait_event = 'Extension'"), 'one sleeps');
	$node->safe_psql('postgres', "select taskex.return_assignment('w_${supply}_1', $assignment)");
	finish($again);
	is($out, "t\n", "supply $supply: a slot that is given back wakes him");
}

# who is ended while he waits leaves nothing behind
my $none = $node->safe_psql('postgres', "select taskex.create_task_type('req', 'Wait for nothing', 1)");
my $out = '';
my $ended = start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-c', "select taskex.wait_for_task('idle', '60 s', $none)" ], '>', \$out, '2>&1', timeout($PostgreSQL::Test::Utils::timeout_default));
ok($node->poll_query_until('postgres', q{select count(pg_terminate_backend(pid)) = 1 from pg_stat_activity where query like '%idle%60 s%' and pid <> pg_backend_pid() and wait_event = 'Extension'}), 'a waiter is ended');
finish($ended);

# 200 wait, each in one call, and leave the tasks that they are told of: so each task
# is to be told to one of them, and what a supply is filled with to as many again
my $many = 200;
$node->safe_psql('postgres', q{alter system set taskex.supply_interval = 0});
$node->reload;
my $type = $node->safe_psql('postgres', q{select taskex.create_task_type('req', 'Wait with many', 1)});
$node->safe_psql('postgres', qq{do \$\$ begin perform taskex.register_user('many_' || i) from generate_series(0, $many) i; end \$\$});
# the group works on the type, so its supply wants some
$node->safe_psql('postgres', qq{
	select count(*) from taskex.create_tasks('req', $type, array_fill('1'::jsonb, array[6]));
	select count(taskex.submit_assignment('many_$many', a.assignment_id, '1')) from taskex.accept_next('many_$many', $type, 6) a});
is(at_hand(), '0', 'nothing is at hand');
my @first = counts();

my $script = PostgreSQL::Test::Utils::tempdir_short() . '/wait.sql';
append_to_file($script, "select taskex.wait_for_task('many_' || :client_id, '300 s', $type);\n");
my $bench_out = '';
my $bench = start([ 'pgbench', '-n', '-c', $many, '-j', 2, '-t', 1, '-f', $script, $node->connstr('postgres') ],
	'>', \$bench_out, '2>&1', timeout(2 * $PostgreSQL::Test::Utils::timeout_default));
my $asleep = q{select count(*) from pg_stat_activity where query like '%wait_for_task%300 s%' and pid <> pg_backend_pid() and wait_event = 'Extension'};
await($node, 'postgres', "select ($asleep) = $many", "$many sleep");
is(join('|', counts()), join('|', $many, $first[1], $first[2] + $many), 'each has looked once, and nobody was told');

# nobody looks again, reads or computes while nothing happens
my $since = q{select count(*), max(state_change) from pg_stat_activity where query like '%wait_for_task%300 s%' and pid <> pg_backend_pid()};
my (@before, @later);
for (1 .. 5)
{
	# (they may have something to hear of from the server)
	@before = ($node->safe_psql('postgres', $since), cpu(), counts());
	usleep(2_000_000);
	@later = ($node->safe_psql('postgres', $since), cpu(), counts());
	last if "@later" eq "@before";
}
is("@later", "@before", 'who waits does nothing at all, on the clock of the processor neither');

my $left = $many;

# who cannot have it is told, and tells the next one: each once
$node->safe_psql('postgres', qq{select taskex.create_task_type('req', 'Wait for others', 1)});
my $woken = (counts())[1];
$node->safe_psql('postgres', q{select taskex.create_task('req', task_type_id, '1') from taskex.task_types where title = 'Wait for others'});
await($node, 'postgres', "select woken >= $woken + $left from _taskex.waiting()", 'a task of another type: all look');
usleep(500_000);
is((counts())[1] - $woken, $left, 'once');
is((counts())[0], $left, 'and sleep on');

# those who can, leave
told_by("count(*) from taskex.create_tasks('req', $type, array_fill('1'::jsonb, array[10]))", 10);
my $supply = told_by(q{sum(taskex.replenish(name)) from taskex.performer_groups});
cmp_ok($supply, '>=', 6, "a supply of $supply slots (some of what was given back above) wakes $supply");
is(at_hand(), '6', 'that is what it was filled with');

# those that appear while others are still being told of are told of, too
told_by("null; do \$\$ begin for i in 1 .. 12 loop perform count(*) from taskex.create_tasks('req', $type, array_fill('1'::jsonb, array[1 + i % 5])); commit; end loop; end \$\$", 35);

# the rest
$node->safe_psql('postgres', "select count(*) from taskex.create_tasks('req', $type, array_fill('1'::jsonb, array[$left]))");
ok(finish($bench), 'the rest is told') or diag $bench_out;
is((counts())[0], '0', 'nobody waits any more');
is($node->safe_psql('postgres', q{select count(*) from taskex.check_market() where not ok}), '0', 'the market is as it should be');
$node->stop;

# who waits, how many were told, and how often one looked
sub counts
{
	return split /\|/, $node->safe_psql('postgres', 'select * from _taskex.waiting()');
}

# what of the type is at hand
sub at_hand
{
	return $node->safe_psql('postgres', "select coalesce(sum(ready), 0) from taskex.supplies where task_type_id = $type");
}

# processor time of those who wait, in ticks; where the system does not tell, nothing
sub cpu
{
	my $ticks = 0;
	for my $pid (split /\n/, $node->safe_psql('postgres', "select pid from pg_stat_activity where query like '%wait_for_task%300 s%' and pid <> pg_backend_pid()"))
	{
		open my $stat, '<', "/proc/$pid/stat" or next;
		my @field = split / /, (split /\) /, <$stat>)[1];
		$ticks += $field[11] + $field[12];
	}
	return $ticks;
}

# does it, which makes so many slots available (or tells), and waits until as many were told; how many that were
sub told_by
{
	my ($what, $slots) = @_;
	my $woken = (counts())[1];
	my $result = $node->safe_psql('postgres', "select $what");
	$slots //= $result;
	$left -= $slots;
	await($node, 'postgres', "select waiters <= $left from _taskex.waiting()", "$slots are told");
	usleep(300_000);
	is((counts())[0], $left, 'the others sleep on');
	is((counts())[1] - $woken, $slots, "$slots and no more");
	return $slots;
}

done_testing();
