# A market at work is killed again and again: one of its sessions, its conductor,
# the postmaster, or all at once. Every act that a client was told of is there
# afterwards, none is half there, and everything goes on.
#
# TASKEX_CRASH_ROUNDS sets the number of rounds.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{TASKEX_CRASH_ROUNDS} // 20;
my $clients = 6;
srand($ENV{TASKEX_CRASH_SEED} // 20240);

# killed processes lose nothing that the kernel has: fsync may stay off
my $node = new_cluster('main', conf => q{
restart_after_crash = on
log_min_messages = warning
});
make_partitions($node, 3);
my $dir = $node->basedir;
my ($types) = $node->safe_psql('postgres', qq{
	do \$\$ begin
		for i in 1 .. $clients loop
			perform taskex.register_user('perf' || i);
			perform taskex.register_user('req' || i);
			perform taskex.deposit('req' || i, 1000000, 'start');
		end loop;
	end \$\$;
	select string_agg(taskex.create_task_type('req1', 'Plurality', 0.25 * n,
		lease => case when n = 1 then interval '1 second' else interval '1 hour' end)::text, ' ' order by n)
	from generate_series(1, 3) n;
});
my @types = split ' ', $types;
is(scalar @types, 3, 'a market with three types of task');

# What each client does over and over. A line is printed when the act was
# acknowledged, and only then; psql forgets the variables of the last turn.
for my $c (1 .. $clients)
{
	my $script = '';
	for my $turn (1 .. 400)
	{
		my $type = $types[ $turn % 3 ];
		my $want = (1, 3, 5)[ $turn % 3 ];
		my $peer = 1 + ($c % $clients);
		$script .= <<"END";
\\unset task
\\unset a
select taskex.create_task('req$c', $type, '{"turn": $turn}', $want) as task \\gset
select 'created ' || :task;
select assignment_id as a, task_id as of from taskex.accept_next('perf$peer', $type) \\gset
select 'submitted ' || :a from (select taskex.submit_assignment('perf$peer', :a, '{"by": $c}')) x;
END
		$script .= <<"END" if $turn % 4 == 0;
\\unset a
select assignment_id as a from taskex.accept_next('perf$c') \\gset
select 'returned ' || :a from (select taskex.return_assignment('perf$c', :a)) x;
\\unset a
select assignment_id as a from taskex.accept_next('perf$c') \\gset
begin;
select taskex.submit_assignment('perf$c', :a, '{"never": 1}') is null as x \\gset
rollback;
END
		$script .= <<"END" if $turn % 2 == 0;
\\unset a
select assignment_id as a from taskex.assignments where requester = 'req$c' and state = 'submitted' limit 1 \\gset
select 'approved ' || :a from (select taskex.approve_assignment('req$c', :a)) x;
END
	}
	append_to_file("$dir/client$c.sql", $script);
}

sub progress { return sum0(map { -s "$dir/out$_" // 0 } 1 .. $clients) }

sub run_clients
{
	my @running;
	unlink glob("$dir/out*");
	for my $c (1 .. $clients)
	{
		push @running, IPC::Run::start(
			[ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', "$dir/client$c.sql" ],
			'<', \undef, '>', "$dir/out$c", '2>', "$dir/err$c");
	}
	return @running;
}

my %acknowledged;

sub collect
{
	for my $c (1 .. $clients)
	{
		for (split /\n/, slurp_file("$dir/out$c"))
		{
			$acknowledged{$1}{$2} = 1 if /^(created|submitted|returned|approved) (\d+)$/;
		}
	}
	return;
}

# The acknowledged acts that the tables do not show.
sub lost
{
	my ($what, $view, $id, $states) = @_;
	my @ids = keys %{ $acknowledged{$what} };
	return '' if !@ids;
	return $node->safe_psql('postgres', qq{
		select string_agg(x.id || ' is ' || coalesce(t.state::text, 'missing'), ', ')
		from unnest('{@{[ join ',', @ids ]}}'::bigint[]) x(id) left join taskex.$view t on t.$id = x.id
		where t.state is null or not t.state::text = any('{$states}') });
}

my @victims = ('session', 'conductor', 'postmaster', 'everything');
my %hit;
for my $round (1 .. $rounds)
{
	my $victim = $victims[ ($round - 1) % @victims ];
	my @running = run_clients();
	my $until = 200 + int rand 6000;	# bytes of acknowledgements
	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if progress() >= $until || !grep { $_->pumpable } @running;
		usleep(10_000);
	}

	if ($victim eq 'session' || $victim eq 'conductor')
	{
		my $pid = $victim eq 'conductor' ? conductor_pid($node, 'postgres')
		  : $node->safe_psql('template1', q{select pid from pg_stat_activity where application_name = 'psql'
				and datname = 'postgres' and state <> 'idle' limit 1});
		$pid = $node->safe_psql('template1', q{select pid from pg_stat_activity
			where datname = 'postgres' and backend_type = 'client backend' limit 1}) if $pid eq '';
		$hit{$victim}++ if kill_backend($node, $pid);
		$_->finish for @running;
		ok($node->poll_query_until('template1', 'select true'), "round $round: back after a $victim was killed");
	}
	else
	{
		$hit{$victim}++;
		if ($victim eq 'postmaster')
		{
			ok(kill_and_start($node), "round $round: starts after the postmaster was killed");
		}
		else
		{
			$node->stop('immediate');
			ok($node->start, "round $round: starts after an immediate stop");
		}
		$_->finish for @running;
	}
	collect();

	is(lost('created', 'tasks', 'task_id', 'available,reviewable,complete,expired'), '', 'every supplied task is there');
	is(lost('submitted', 'assignments', 'assignment_id', 'submitted,approved'), '', 'every submitted result is there');
	is(lost('approved', 'assignments', 'assignment_id', 'approved'), '', 'every approval is there');
	is(lost('returned', 'assignments', 'assignment_id', 'returned'), '', 'every return is there');
	ok_checks($node, 'postgres', 'the books are right');
}
is_deeply([ sort keys %hit ], [ sort @victims[ 0 .. ($rounds < 4 ? $rounds - 1 : 3) ] ], 'all victims were hit');
note(join ', ', map { scalar(keys %{ $acknowledged{$_} }) . " $_" } sort keys %acknowledged);
cmp_ok(scalar keys %{ $acknowledged{submitted} // {} }, '>', $rounds, 'work was done between the crashes');

# from outside, not by the exchange's own checks
is($node->safe_psql('postgres', q{
	select count(*) from (
		select t.task_id from taskex.tasks t join taskex.assignments a using (task_id)
		where a.state in ('accepted', 'submitted', 'approved', 'rejected')
		group by t.task_id, t.performers having count(*) > t.performers) x}),
	'0', 'no task has more assignments than wanted');
is($node->safe_psql('postgres', q{
	select count(*) from (select task_id, performer from taskex.assignments
		group by 1, 2 having count(*) > 1) x}), '0', 'no performer got a task twice');
is($node->safe_psql('postgres', q{
	select count(*) filter (where r.result @> '{"never": 1}') || ' of ' || (count(*) > 0)
	from taskex.tasks t, taskex.task_results(t.requester, t.task_id) r}), '0 of true', 'nothing of a rolled back submission');
my $paid = $node->safe_psql('postgres', q{
	select sum(b.available) - (select sum(reward) from taskex.assignments where state = 'approved')
	from taskex.users u, taskex.balance(u.login) b where login like 'perf%'});
cmp_ok($paid, '==', 0, 'performers have what the approved work earns');

# nothing is stuck
await_conductor($node, 'postgres', 'the conductor is back');
await($node, 'postgres', q{select not exists (select from taskex.assignments
	where state = 'accepted' and lease_until < now() - interval '5 seconds')}, 'leases that ran out are ended');
for my $c (1 .. $clients)
{
	my $type = $types[ $c % 3 ];
	is($node->safe_psql('postgres', qq{
		select taskex.create_task('req$c', $type, '{"last": 1}') as task \\gset
		select assignment_id as a from taskex.accept_task('perf$c', :task) \\gset
		select taskex.submit_assignment('perf$c', :a, '{}') as x \\gset
		select taskex.approve_assignment('req$c', :a) as x \\gset
		select state from taskex.assignments where assignment_id = :a}), 'approved', "client $c works on");
}
ok_checks($node, 'postgres', 'the books are right at the end');
$node->stop;

done_testing();
