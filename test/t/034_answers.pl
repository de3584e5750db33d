# Answers, decided tasks and golden tasks when the server crashes, starts again,
# or has shared memory for a few shelves only.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => q{
taskex.feed_size = 16
taskex.conductor_interval = 50ms
autovacuum = off
});
make_partitions($node, 2, in_place => 1);
my $type = make_market($node);
my $users = join ' ', map { "perform taskex.register_user('p$_');" } 1 .. 9;
$node->safe_psql('postgres', "do \$\$ begin $users perform taskex.deposit('req', 100000, 'more'); end \$\$");

sub run { return $node->safe_psql('postgres', $_[0]) }

sub answer
{
	my ($performer, $task, $result) = @_;
	return "select taskex.submit_assignment('$performer', assignment_id, '$result') from taskex.accept_task('$performer', $task);";
}

sub state_of
{
	my ($task) = @_;
	return run("select state, live, released, answer, tally ->> 'results' from _taskex.task where task_id = $task");
}

#
# A slot that comes back on a shelf that had given way while nothing was to be had there
#
sub four_looks
{
	my ($of) = @_;
	run("select task_id from taskex.accept_next('$_', $of);") for qw(p1 p2 p3 p4);
	return;
}
my @busy = split ' ', run(q{select string_agg(taskex.create_task_type('req', 'Busy ' || n, 0.1)::text, ' ' order by n) from generate_series(1, 3) n});
for my $busy (@busy)
{
	run(qq{select taskex.create_task('req', $busy, '{}', 5, consensus => 'majority', min_performers => 1)});
	four_looks($busy);
}
# all others, one after the other, are taken wholly and idle when the next one comes
for my $n (1 .. 20)
{
	my $other = run("select taskex.create_task_type('req', 'Other $n', 0)");
	run("select taskex.create_task('req', $other, '{}')");
	four_looks($other);
}
run(qq{select taskex.return_assignment('p1', assignment_id) from taskex.assignments where performer = 'p1' and task_type_id in ($busy[0], $busy[1])});
run(qq{select taskex.submit_assignment(performer, assignment_id, to_jsonb(performer)) from taskex.assignments where task_type_id = $busy[2] and performer <> 'p1'});
is(run("select count(*) from taskex.accept_next('p5', $busy[0])"), '1', 'what is returned on a shelf that has given way is found by type');
is(run("select count(*) from taskex.accept_next('p5', $busy[2])"), '1', 'so is what is asked for besides');
like(run("select task_type from taskex.accept_next('p6')"), qr/^(?:$busy[0]|$busy[1]|$busy[2])$/, 'and by who takes whatever there is');
run(q{select taskex.return_assignment(performer, assignment_id) from taskex.assignments where state = 'accepted'});
run(q{select taskex.expire_task('req', task_id) from taskex.tasks where state in ('available', 'reviewable') and free_slots > 0});

#
# A decision is there after a crash if its transaction was committed, and not at all if not.
#
my ($decided, $open) = map {
	run(qq{select taskex.create_task('req', $type, '{}', 5, consensus => 'majority', min_performers => 2)}) } 1 .. 2;
run(answer('p1', $_, '1') . answer('p2', $_, '1')) for $decided, $open;
# (as if one more had been asked)
run(qq{update _taskex.task set wanted = performers where task_id = $decided; select taskex.accept_task('p4', $decided)});
my $held = run(q{select held from taskex.balance('req')});
my %psql = (in => "begin;\n" . answer('p3', $open, '1') . "select state from _taskex.task where task_id = $open;\n", out => '', err => '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$psql{in}, '>', \$psql{out}, '2>', \$psql{err},
	IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
$session->pump until $psql{out} =~ /decided/;
run(answer('p3', $decided, '1'));
$node->stop('immediate');
eval { $session->finish };
$node->start;

is(state_of($decided), 'decided|4|1|1|3', 'after a crash a committed decision is there');
is(state_of($open), 'open|2|0|1|2', 'one that was not committed is not');
is(run(qq{select $held - held = 0.6 from taskex.balance('req')}), 't', 'and the money of one slot is back');
is(run(qq{select string_agg(task_id::text, ' ') from taskex.accept_next('p5', $type, 10)}), $open, 'the open one is offered, the decided one is not');
run(qq{select taskex.submit_assignment('p4', assignment_id, '2') from taskex.assignments where performer = 'p4'});
run(q{select taskex.approve_assignment('req', assignment_id) from taskex.assignments where state = 'submitted'});
is(state_of($decided), 'complete|4|1|1|4', 'who was under way when it crashed could submit, and is paid');
ok_checks($node, 'postgres', 'after the crash');

#
# A slot that is wanted after all is found, also when the shelf has given way
# because nothing was to be had there
#
my @few = split ' ', run(q{
	select string_agg(taskex.create_task_type('req', 'Few ' || n, 0.1)::text, ' ' order by n) from generate_series(1, 40) n});
run(qq{select taskex.create_task('req', $_, '{}', 5, consensus => 'majority', min_performers => 1)}) for @few;
few("p$_") for 1 .. 3;

# (a transaction keeps the shelves from which it took something)
sub few
{
	my ($performer) = @_;
	return scalar(() = run(join "\n", map { "select task_id from taskex.accept_next('$performer', $_);" } @few) =~ /\d+/g);
}
is(few('p4'), 0, 'three of five are enough at first');
run(q{select taskex.return_assignment('p1', assignment_id) from taskex.assignments where performer = 'p1' and state = 'accepted'});
is(few('p4'), 40, 'on more shelves than there is room for, what is returned is found');
run(q{select taskex.submit_assignment(performer, assignment_id, to_jsonb(performer)) from taskex.assignments where state = 'accepted' and performer in ('p2', 'p3')});
is(scalar(() = run(join "\n", (q{select task_id from taskex.accept_next('p5');}) x 45) =~ /\d+/g), 40, 'and what is asked for besides, by one who takes whatever there is');
ok_checks($node, 'postgres', 'after all were found');
run(q{select taskex.return_assignment(performer, assignment_id) from taskex.assignments where state = 'accepted'});
run(q{select taskex.expire_task('req', task_id) from taskex.tasks where state in ('available', 'reviewable') and title like 'Few%' and free_slots > 0});

#
# What eight at a time cost: hardly more results than one after the other
#
run(q{
	create procedure crowd(type bigint, at_a_time int) language plpgsql as $$
	declare
		held bigint[] := array_fill(null::bigint, array[at_a_time]);
		who text[] := array_fill(''::text, array[at_a_time]);
		turn int := 0;
		idle int := 0;
		a record;
	begin
		while idle < 40 loop
			turn := turn + 1;
			a := null;
			if held[turn % at_a_time + 1] is not null then
				perform taskex.submit_assignment(who[turn % at_a_time + 1], held[turn % at_a_time + 1],
					to_jsonb(hashtext(who[turn % at_a_time + 1] || t.input) % 5 <> 0))
					from taskex.assignments x join _taskex.task t using (task_id) where x.assignment_id = held[turn % at_a_time + 1];
				held[turn % at_a_time + 1] := null;
				commit;
			end if;
			who[turn % at_a_time + 1] := 'c' || turn % 40;
			select * into a from taskex.accept_next('c' || turn % 40, type);
			held[turn % at_a_time + 1] := a.assignment_id;
			idle := case when a.assignment_id is null then idle + 1 else 0 end;
			commit;
		end loop;
	end $$});
run(q{select count(taskex.register_user('c' || n)) from generate_series(0, 39) n});
for ([ q{5, consensus => 'majority', min_performers => 1}, 0.3 ], [ q{10, consensus => 'one_coin', confidence => 0.99}, 2 ])
{
	my ($consensus, $more) = @$_;
	my %labels;
	for my $at_a_time (1, 8)
	{
		my $t = run(qq{select taskex.create_task_type('req', \$\$$at_a_time: $consensus\$\$, 0, result_schema => '{"type": "boolean"}')});
		run(qq{select count(*) from taskex.create_tasks('req', $t, array(select to_jsonb('q' || i) from generate_series(1, 100) i), $consensus)});
		run("call crowd($t, $at_a_time)");
		$labels{$at_a_time} = run(qq{select avg(results)::numeric(6, 3) from taskex.task_answers('req', $t, 0, 1000)});
		is(run(qq{select count(*) from taskex.task_answers('req', $t, 0, 1000) where not final}), '0', 'all are answered');
	}
	note("$consensus: $labels{1} results a task one by one, $labels{8} by eight at a time");
	cmp_ok($labels{8}, '<', $labels{1} + $more, 'eight at a time give hardly more results than one after the other');
}

#
# Golden tasks after a restart, and on more shelves than there is room for
#
my @types = split ' ', run(q{
	select string_agg(taskex.create_task_type('req', 'Type ' || n, 0.1)::text, ' ') from generate_series(1, 30) n});
for my $t (@types)
{
	run(qq{
		select taskex.create_task('req', $t, '"plain"', 9);
		select taskex.create_golden_task('req', $t, '"golden"', '1', 2);
		select taskex.set_golden_rate('req', $t, 1)});
}
sub take
{
	my ($performer) = @_;
	return join ' ', map { run(qq{
		select string_agg(substr(input #>> '{}', 1, 1), '' order by task_id desc) from taskex.accept_next('$performer', $_, 1)}) } @types;
}
is(take('p1'), join(' ', ('g') x 30), 'in 30 types with room for 16 shelves, each gives its golden task first');
# (a transaction keeps the shelves from which it took something)
my $any = run(join "\n", (q{select input #>> '{}' from taskex.accept_next('p2');}) x 70);
is(scalar(() = $any =~ /golden/g), 30, 'also to one who takes whatever there is');
$node->restart;
is(take('p1'), join(' ', ('p') x 30), 'after a restart, nobody gets one again');
is(take('p3'), join(' ', ('p') x 30), 'nor one that as many have as it wants');
run(qq{select taskex.return_assignment('p2', assignment_id) from taskex.assignments join _taskex.task using (task_id)
	where performer = 'p2' and known_answer is not null and assignments.state = 'accepted'});
$node->stop('immediate');
$node->start;
is(take('p4'), join(' ', ('g') x 30), 'what was given back is there after a crash');
ok_checks($node, 'postgres', 'after the golden tasks');

#
# A shelf of golden tasks goes off the record when all are closed, and comes back
#
run(q{select taskex.expire_task('req', task_id) from taskex.golden_tasks where state = 'available'});
run('select * from taskex.run_due()') for 1 .. 5;
my $again = run(qq{select taskex.create_golden_task('req', $types[0], '"new"', '1', 2)});
$node->restart;
is(run(qq{select task_id from taskex.accept_next('p5', $types[0])}), $again, 'a golden task that was supplied after all others were closed');
is(run("select count(*) from _taskex.task t where t.task_type_id < 0 and t.state = 'open'"), '1', 'is the only one left');
ok_checks($node, 'postgres', 'at the end');
$node->stop;

done_testing();
