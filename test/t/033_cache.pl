# Shared memory is a cache: a crash wipes it and the tables fill it again, and
# where it is much too small everything still works, only slower.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Hammer;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

# a session that stays open: say(SQL) waits until it is done
sub session
{
	my ($node) = @_;
	my $s = { in => '', out => '', err => '', n => 0 };
	$s->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$s->{in}, '>', \$s->{out}, '2>', \$s->{err},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return $s;
}

sub say_to
{
	my ($s, $sql) = @_;
	my $mark = 'done ' . ++$s->{n};
	my $from = length $s->{out};
	$s->{in} .= "$sql\n\\echo $mark\n";
	$s->{run}->pump until $s->{out} =~ /^$mark$/m;
	my $out = substr $s->{out}, $from;
	$out =~ s/\n?$mark\n$//;
	return $out;
}

#
# After a crash everything that is available is offered.
#

my $node = new_cluster('main', conf => q{
taskex.conductor_interval = 50ms
autovacuum = off
});
make_partitions($node, 2, in_place => 1);
hammer_here($node);
my $type = make_market($node);
my $short = $node->safe_psql('postgres', q{select taskex.create_task_type('req', 'Short', 0.5, lease => '100 ms')});
my $users = join ' ', map { "perform taskex.register_user('p$_');" } 1 .. 9;
$node->safe_psql('postgres', "do \$\$ begin $users perform taskex.deposit('req', 100000, 'more'); end \$\$");

# everything that is there, as the performer gets it, in the order of ids
sub offered
{
	my ($performer, $of) = @_;
	return $node->safe_psql('postgres', qq{
		select string_agg(task_id::text, ' ' order by task_id) from taskex.accept_next('$performer', $of, 1000)});
}

sub task
{
	my ($of) = @_;
	return $node->safe_psql('postgres', qq{select taskex.create_task('req', $of, '{}')});
}

# done from supply to payment, with n tasks
sub work_off
{
	my ($n) = @_;
	$node->safe_psql('postgres', qq{
		select count(*) from taskex.create_tasks('req', $type, array_fill('{}'::jsonb, array[$n]));
		select taskex.submit_assignments('p9', array_agg(assignment_id), array_agg('{}'::jsonb))
			from taskex.accept_next('p9', $type, $n);
		select count(taskex.approve_assignment('req', assignment_id)) from taskex.assignments where state = 'submitted';
	});
	return;
}

# a late one: its id is lower than those of thousands that were done before it
# was committed
my $late_session = session($node);
my $late = say_to($late_session, "begin; select taskex.create_task('req', $type, '{}');");
work_off(1000) for 1 .. 3;
ok($node->poll_query_until('postgres', 'select not exists (select from _taskex.offer_note)'), 'the offer is on record');
$node->safe_psql('postgres', 'select * from taskex.run_due()') for 1 .. 5;
say_to($late_session, 'commit;');
$late_session->{run}->finish;

my @open = ($late);
push @open, task($type);
my $returned = task($type);
$node->safe_psql('postgres', qq{
	select taskex.return_assignment('p1', assignment_id) from taskex.accept_task('p1', $returned)});
push @open, $returned;
my $rejected = task($type);
$node->safe_psql('postgres', qq{
	select assignment_id as a from taskex.accept_task('p1', $rejected) \\gset
	select taskex.submit_assignment('p1', :a, '{}');
	select taskex.reject_assignment('req', :a, 'again', true)});
push @open, $rejected;
my $gone = task($type);
$node->safe_psql('postgres', qq{select taskex.submit_assignment('p1', assignment_id, '{}') from taskex.accept_task('p1', $gone)});
my $abandoned = task($short);
my $leased = $node->safe_psql('postgres', qq{select assignment_id from taskex.accept_task('p1', $abandoned)});
await($node, 'postgres', qq{select state = 'abandoned' from _taskex.assignment where assignment_id = $leased}, 'a lease ends');
my $leaving = task($short);
$node->safe_psql('postgres', qq{select taskex.accept_task('p1', $leaving)});
$node->stop('immediate');
$node->start;

is($node->safe_psql('postgres', qq{
	with a as (select * from taskex.accept_next('p2', $type, 1000)) select string_agg(task_id::text, ' ' order by task_id) from a}),
	join(' ', sort { $a <=> $b } @open), 'after a crash all that is available is offered: also late, returned and reopened tasks');
my $both = join ' ', sort { $a <=> $b } $abandoned, $leaving;
await($node, 'postgres', qq{select count(*) = 0 from _taskex.assignment where task_id in ($abandoned, $leaving) and state = 'accepted'},
	'a lease that ran out while the server was down ends');
is(offered('p2', $short), $both, 'abandoned tasks are offered');
is(offered('p3', $type), '', 'nothing is offered twice');
$node->safe_psql('postgres', q{
	select count(taskex.return_assignment('p2', assignment_id)) from taskex.assignments
	where performer = 'p2' and state = 'accepted' and lease_until > now() + interval '1 minute'});
is(offered('p3', $type), join(' ', sort { $a <=> $b } @open), 'what p2 gave back is offered to p3');
$node->safe_psql('postgres', q{
	select count(taskex.submit_assignment('p3', assignment_id, '{}')) from taskex.assignments
	where performer = 'p3' and state = 'accepted' and lease_until > now() + interval '1 minute';
	select count(taskex.approve_assignment('req', assignment_id)) from taskex.assignments where state = 'submitted'});

# what is stored of the feed follows, so that a restart does not read all that was done
work_off(1000) for 1 .. 2;
await($node, 'postgres', qq{select bool_and(low >= $late) from _taskex.offer where task_type_id = $type},
	'the stored beginning of the shelf moves past what is closed');
my $last = task($type);
$node->restart;
is(offered('p4', $type), $last, 'after an orderly restart, too');
ok_hammered($node, 'after the crash');
$node->stop;

#
# Settings that are far too small
#

my ($types, $requesters, $performers, $partitions, $idle) = (100, 1000, 200, 40, 8800);
my $tiny = new_cluster('tiny', conf => q{
taskex.feed_size = 16
taskex.directory_cache_size = 64kB
taskex.purse_cache_size = 128
taskex.plan_cache_size = 16
taskex.max_partitions = 64
taskex.conductor_interval = 100ms
max_locks_per_transaction = 512
});
make_partitions($tiny, $partitions, in_place => 1);
hammer_here($tiny);
$tiny->safe_psql('postgres', qq{
	do \$\$ begin
		for i in 1 .. $requesters loop
			perform taskex.register_user('req' || i);
			perform taskex.deposit('req' || i, 10, 'start');
		end loop;
		for i in 1 .. $performers loop perform taskex.register_user('perf' || i); end loop;
		for i in 1 .. $idle loop perform taskex.register_user('user' || i); end loop;
		for i in 1 .. $types loop
			perform taskex.create_task_type('req1', 'Type ' || i, 0.5);
		end loop;
	end \$\$;
	create table type as select row_number() over (order by task_type_id) as n, task_type_id from taskex.task_types;
	create procedure supply(client int, clients int) language plpgsql as \$\$
	begin
		for i in 1 .. $requesters loop
			continue when i % clients <> client;
			perform taskex.create_task('req' || i, task_type_id, '{}', 1 + i % 3) from type where n = 1 + i % $types;
			commit;
		end loop;
	end \$\$;
	create procedure perform_all(client int, clients int) language plpgsql as \$\$
	declare
		got int := 1;
		a record;
	begin
		while got > 0 loop
			got := 0;
			for p in 1 .. $performers loop
				continue when p % clients <> client;
				for a in select * from taskex.accept_next('perf' || p, null, 1 + p % 5) loop
					perform taskex.submit_assignment('perf' || p, a.assignment_id, '{}', a.lease_token);
					got := got + 1;
				end loop;
				commit;
			end loop;
		end loop;
	end \$\$;
});
is($tiny->safe_psql('postgres', qq{
	select count(distinct d.user_id), bool_and(r.user_id = d.user_id)
	from _taskex.directory d, taskex.route(login) r where d.user_id > 0}), ($requesters + $performers + $idle) . '|t',
	'all users are found through a cache of 64 kB');

sub all_clients
{
	my ($call, $name) = @_;
	my @clients = hammer_start($tiny, map { "\\set VERBOSITY verbose\ncall $call($_, 4);\n" } 0 .. 3);
	hammer_finish(@clients);
	return is(hammer_errors(0, @clients), '', $name);
}

all_clients('supply', 'four sessions supply a hundred types from a thousand requesters');

sub return_all
{
	$tiny->safe_psql('postgres', q{
		do $$ declare a record; begin
			for a in select performer, assignment_id from taskex.assignments where state = 'accepted' loop
				perform taskex.return_assignment(a.performer, a.assignment_id);
			end loop;
		end $$});
	return;
}

# whoever asks gets something, as long as there is anything
my $wanted = $tiny->safe_psql('postgres', q{select sum(performers) from _taskex.task});
is($tiny->safe_psql('postgres', qq{
	select count(*) from generate_series(1, 150) i, taskex.accept_next('perf' || 1 + i % 10, null)}), 150,
	'many shelves in one transaction');
return_all();
is($tiny->safe_psql('postgres', q{
	do $$ declare r record; got int := 0; begin
		for r in select * from type where n <= 90 loop
			got := got + (select count(*) from taskex.accept_next('perf11', r.task_type_id));
			commit;
		end loop;
		if got <> 90 then raise 'only %', got; end if;
	end $$;
	select 'all'}), 'all', 'one of each type');
return_all();
$tiny->stop('immediate');
$tiny->start;
all_clients('perform_all', 'four sessions perform');
hammer_finish(hammer_start($tiny, 'call perform_all(0, 1);'));
is($tiny->safe_psql('postgres', q{select count(*) from _taskex.assignment where state = 'submitted'}), $wanted,
	'everything is done, though the feed has room for few shelves');
ok_hammered($tiny, 'tiny', drained => 1);
$tiny->safe_psql('postgres', q{
	do $$ declare r record; begin
		for r in select login, assignment_id from _taskex.result join _taskex.directory on user_id = requester_id loop
			perform taskex.approve_assignment(r.login, r.assignment_id);
		end loop;
	end $$});
is($tiny->safe_psql('postgres', qq{
	select count(*), trim_scale(sum(available)), trim_scale(sum(held)) from generate_series(1, $requesters) i, taskex.balance('req' || i)}),
	"$requesters|" . (10 * $requesters - 0.6 * $wanted) . '|0', 'a thousand requesters have paid through 128 purses');
is($tiny->safe_psql('postgres', q{select state, count(*) from _taskex.task group by 1}), "complete|$requesters",
	'all tasks are complete');
ok_hammered($tiny, 'tiny, paid', drained => 1);
unlike(slurp_file($tiny->logfile), qr/PANIC|TRAP|terminated by signal|ERROR/, 'no error in the log');
$tiny->stop;

done_testing();
