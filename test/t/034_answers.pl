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
# A decision is there after a crash if its transaction was committed, and not at all if not.
#
my ($decided, $open) = map {
	run(qq{select taskex.create_task('req', $type, '{}', 5, consensus => 'majority', min_performers => 2)}) } 1 .. 2;
run(answer('p1', $_, '1') . answer('p2', $_, '1')) for $decided, $open;
run(qq{select taskex.accept_task('p4', $decided)});
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
cmp_ok(run(q{select held from taskex.balance('req')}), '==', $held - 0.6, 'and the money of one slot is back');
is(run(qq{select string_agg(task_id::text, ' ') from taskex.accept_next('p5', $type, 10)}), $open, 'the open one is offered, the decided one is not');
run(qq{select taskex.submit_assignment('p4', assignment_id, '2') from taskex.assignments where performer = 'p4'});
run(q{select taskex.approve_assignment('req', assignment_id) from taskex.assignments where state = 'submitted'});
is(state_of($decided), 'complete|4|1|1|4', 'who was under way when it crashed could submit, and is paid');
ok_checks($node, 'postgres', 'after the crash');

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
