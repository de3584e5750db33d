# A transaction is held open, with an id and a snapshot, while others work: rounds
# of supply, accept and submit. No round touches more buffers than the first one,
# because nothing that is looked for lies behind dead rows.
#
# Buffers are counted instead of time, which depends on what else the machine
# does; the time is printed. TASKEX_HELD_ROUNDS and TASKEX_HELD_TASKS set the size;
# with TASKEX_HELD_SUPPLY=1 all of it is spent on what is at hand for a group.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(time);

my $rounds = $ENV{TASKEX_HELD_ROUNDS} // 10;
my $tasks = $ENV{TASKEX_HELD_TASKS} // 4000;
my $supply_only = $ENV{TASKEX_HELD_SUPPLY};

# autovacuum would read what it may not remove, and the conductor work, at moments
# of their own; each round has one of the conductor's instead
my $node = new_cluster('main', conf => q{
autovacuum = off
shared_buffers = 256MB
max_wal_size = 4GB
taskex.conductor = off
taskex.supply_interval = 0
});
make_partitions($node, 2, in_place => 1);
my $type = make_market($node);
$node->safe_psql('postgres', qq{
	do \$\$ begin
		perform taskex.register_user('p' || i) from generate_series(1, 8) i;
		perform taskex.deposit('req', 1000000, 'more');
	end \$\$;
	-- acts that are each a transaction of their own
	create procedure work(n int, judge boolean, type bigint = $type, plurality int = 2) language plpgsql as \$\$
	declare
		a taskex.assignment;
		p text;
	begin
		for i in 1 .. n loop
			p := 'p' || 1 + i % 8;
			perform taskex.create_task('req', type, '{"question": 1}', 1 + i % plurality);
			commit;
			select * into strict a from taskex.accept_next(p, type);
			commit;
			perform taskex.submit_assignment(p, a.assignment_id, '{"answer": 1}', a.lease_token);
			commit;
			if judge then
				perform taskex.approve_assignment('req', a.assignment_id);
				commit;
			end if;
		end loop;
	end \$\$;
});

# a session that holds a transaction open
sub hold
{
	my ($sql) = @_;
	my $s = { in => "begin isolation level repeatable read;\nselect pg_current_xact_id() is null;\n$sql\n\\echo held\n", out => '', err => '' };
	$s->{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
		'<', \$s->{in}, '>', \$s->{out}, '2>', \$s->{err},
		IPC::Run::timeout(5 * $PostgreSQL::Test::Utils::timeout_default));
	$s->{run}->pump until $s->{out} =~ /^held$/m || !$s->{run}->pumpable;
	is($s->{err}, '', 'a transaction is held open');
	return $s;
}

sub let_go
{
	my ($s, $end) = @_;
	$s->{in} .= "$end;\n\\q\n";
	$s->{run}->finish;
	return;
}

my $touched = q{select pg_stat_force_next_flush(); select blks_hit + blks_read from pg_stat_database where datname = 'postgres'};

# one round in a session of its own: buffers for each task, and tasks in a second
sub round_of
{
	my ($n, $judge) = @_;
	my $start = time;
	my @touched = grep { /\d/ } split /\s+/, $node->safe_psql('postgres', qq{
		set synchronous_commit = off;
		set statement_timeout = '120s';
		$touched;
		call work($n, $judge);
		select from taskex.run_due();
		$touched});
	return { buffers => ($touched[1] - $touched[0]) / $n, speed => $n / (time - $start) };
}

sub rounds_are_equal
{
	my ($name, $count, $n, $judge, $one) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$one //= \&round_of;
	my @round = map { $one->($n, $judge) } 1 .. $count;
	note("$name: buffers a task " . join(' ', map { sprintf '%.1f', $_->{buffers} } @round));
	note("$name: tasks a second " . join(' ', map { sprintf '%.0f', $_->{speed} } @round)
		. sprintf('; last / first %.2f', $round[-1]{speed} / $round[0]{speed}));
	cmp_ok($round[-1]{buffers}, '<=', 1.15 * $round[0]{buffers},
		"$name: the last of $count rounds of $n touches no more than the first");
	return;
}

my $held;
if (!$supply_only)
{
	# everything is warm, and indexes have their height
	round_of($tasks, 'false');

	$held = hold('select count(*) from _taskex.task where false;');
	rounds_are_equal('just open', $rounds, $tasks, 'false');
	let_go($held, 'rollback');
	ok_checks($node, 'postgres', 'just open');
}

# from what is at hand for a group, which is leased again and again
$node->safe_psql('postgres', 'alter system set taskex.supply = on');
$node->reload;
$node->safe_psql('postgres', q{
	create procedure work_at_hand(n int, type bigint) language plpgsql as $$
	declare
		a taskex.assignment;
	begin
		for i in 1 .. n / 200 loop
			perform count(*) from taskex.create_tasks('req', type, array_fill('{"question": 1}'::jsonb, array[200]));
			commit;
			perform taskex.replenish(name) from taskex.performer_groups where is_default;
			commit;
			for k in 1 .. 200 loop
				select * into strict a from taskex.accept_next('p' || 1 + k % 8, type);
				commit;
				perform taskex.submit_assignment('p' || 1 + k % 8, a.assignment_id, '{"answer": 1}', a.lease_token);
				commit;
			end loop;
		end loop;
	end $$;
});
my $kept = $node->safe_psql('postgres', q{select taskex.create_task_type('req', 'At hand', 0.5)});
my $at_hand = sub {
	my ($n) = @_;
	my $start = time;
	my @touched = grep { /\d/ } split /\s+/, $node->safe_psql('postgres', qq{
		set synchronous_commit = off;
		$touched;
		call work_at_hand($n, $kept);
		select from taskex.run_due();
		$touched});
	return { buffers => ($touched[1] - $touched[0]) / $n, speed => $n / (time - $start) };
};
my $batch = $supply_only ? $tasks : $tasks / 2;
$at_hand->($batch) for 1 .. 2;
$held = hold('select count(*) from _taskex.task where false;');
rounds_are_equal('at hand', $rounds, $batch, undef, $at_hand);
cmp_ok($node->safe_psql('postgres', "select avg((group_lease_id is not null)::int) from _taskex.assignment where task_type_id = $kept"), '>', 0.8,
	'at hand: most were');
let_go($held, 'rollback');
ok_checks($node, 'postgres', 'at hand');
if ($supply_only)
{
	$node->stop;
	done_testing();
	exit 0;
}
$node->safe_psql('postgres', 'alter system set taskex.supply = off');
$node->reload;
$node->safe_psql('postgres', 'select taskex.replenish(name) from taskex.performer_groups');

# transactions that hold something of the market itself; what they did is undone
# or comes true when they end
my $few = $tasks / 4;
my $other = $node->safe_psql('postgres', q{select taskex.create_task_type('req', 'First', 0.5)});
my $supplied = sub { $node->safe_psql('postgres', qq{select taskex.create_task('req', $type, '{}')}) };

my $second = $node->safe_psql('postgres', q{select taskex.create_task_type('req', 'Second', 0.5)});
my $before = $node->safe_psql('postgres', qq{select taskex.create_task('req', $second, '{}')});
$held = hold("select taskex.create_task('req', $type, '{}'); select taskex.create_task('req', $second, '{}');");
my $after = $node->safe_psql('postgres', qq{select taskex.create_task('req', $second, '{}')});
rounds_are_equal('a supply', 6, $few, 'true');
is($node->safe_psql('postgres', qq{select string_agg(task_id::text, ' ' order by task_id) from taskex.accept_next('perf', $second, 10)}),
	"$before $after", 'a supply: it is not offered while it may be undone');
let_go($held, 'commit');
is($node->safe_psql('postgres', qq{select count(*) from taskex.accept_next('perf', $second, 10) where task_id > $before and task_id < $after}),
	'1', 'a supply: it is offered when it is committed');

$held = hold("select taskex.create_task('req', $other, '{}');");
is($node->safe_psql('postgres', qq{
	set statement_timeout = '10s';
	select taskex.create_task('req', $other, '{}') > 0;
	select count(*) from taskex.accept_next('p1', $other)}), "t\n1", 'a first supply of a type: nobody waits for it');
let_go($held, 'rollback');

my $task = $supplied->();
$held = hold("select task_id from taskex.accept_task('perf', $task);");
rounds_are_equal('an accept', 6, $few, 'true');
let_go($held, 'rollback');
is($node->safe_psql('postgres', qq{select task_id from taskex.accept_task('p1', $task)}), $task, 'an accept: it is undone');

# a newcomer does not search all that was done behind a task that is held
for my $how ('accept_task', 'accept_next')
{
	my $new = $node->safe_psql('postgres', qq{select taskex.create_task_type('req', 'For $how', 0.5)});
	my $first = $node->safe_psql('postgres', qq{select taskex.create_task('req', $new, '{}')});
	$held = hold("select task_id from taskex.$how('perf', @{[ $how eq 'accept_task' ? $first : $new ]});");
	$node->safe_psql('postgres', "call work($tasks, false, $new, 1)");
	my $plan = $node->safe_psql('postgres', qq{
		select count(*) from taskex.run_due();	-- what the conductor does every second
		-- both partitions' tables become known to the session
		select count(*) from generate_series(1, 8) i, taskex.accept_next('p' || i, $new);
		select taskex.register_user('newcomer by $how');
		explain (analyze, buffers, costs off, timing off) select * from taskex.accept_next('newcomer by $how', $new)});
	my ($hit) = $plan =~ /Buffers: shared hit=(\d+)/;
	cmp_ok($hit, '<', 100, "$how held: a newcomer finds out soon that there is nothing");
	let_go($held, 'rollback');
	await($node, 'postgres', qq{select count(*) = 1 from taskex.accept_next('newcomer by $how', $new)}, "$how held: the task comes back");
}

$task = $supplied->();
my $assignment = $node->safe_psql('postgres', qq{
	select assignment_id as a from taskex.accept_task('p2', $task) \\gset
	select taskex.submit_assignment('p2', :a, '{}');
	select :a});
$assignment =~ s/^\s+//;
$held = hold("select taskex.approve_assignment('req', $assignment);");
rounds_are_equal('an approval', 6, $few, 'true');
let_go($held, 'commit');
is($node->safe_psql('postgres', qq{select state from taskex.assignments where assignment_id = $assignment}), 'approved',
	'an approval: it is there');

ok_checks($node, 'postgres', 'at the end');
$node->stop;

done_testing();
