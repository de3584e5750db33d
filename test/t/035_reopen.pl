# A task that was closed and is open again lies where a restart would not look:
# it is found after a crash all the same, whatever the background work on its
# shelf was about to store when it was opened.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

# the rounds of background work are the test's own
my $node = new_cluster('main', conf => q{
taskex.conductor = off
autovacuum = off
});
make_partitions($node, 1, in_place => 1);
make_market($node);
my $users = join ' ', map { "perform taskex.register_user('p$_');" } 1 .. 9;
$node->safe_psql('postgres', "do \$\$ begin $users end \$\$");

sub sql { return $node->safe_psql('postgres', join("\n", @_)) }

# a round of background work
sub tidy { return sql('select count(*) from taskex.run_due()') }

my $n = 0;

# a task type of its own with three tasks that are complete
sub finished
{
	my $type = sql("select taskex.create_task_type('req', 'Reopen " . ++$n . "', 0.5)");
	my @tasks = split /\n/, sql("select taskex.create_tasks('req', $type, array['1', '2', '3']::jsonb[])");
	sql("select taskex.submit_assignments('p1', array_agg(assignment_id), array_agg('1'::jsonb)) from taskex.accept_next('p1', $type, 9);",
		"select count(taskex.approve_assignment('req', assignment_id)) from taskex.assignments where state = 'submitted'");
	return ($type, @tasks);
}

sub stored { return sql("select low, idle from _taskex.offer where task_type_id = $_[0]") }

sub crash
{
	$node->stop('immediate');
	$node->start;
	return;
}

# what a newcomer is offered, and that all is well
sub offered_is
{
	my ($performer, $type, $tasks, $name) = @_;
	is(sql("select coalesce(string_agg(task_id::text, ' ' order by task_id), 'nothing') from taskex.accept_next('$performer', $type, 9)"),
		$tasks, $name);
	ok_checks($node, 'postgres', "$name: all is well");
	return;
}

# a session that stays at the wait point, in its background work, until let_go
my $gate;

sub hold
{
	my ($run, $in, $out, $err) = (undef, '', '', '');
	$gate = { in => "select pg_advisory_lock(7411);\n", out => '' };
	$gate->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$gate->{in}, '>', \$gate->{out});
	$gate->{run}->pump_nb;
	await($node, 'postgres', q{select count(*) = 1 from pg_locks where locktype = 'advisory' and granted}, 'the gate is closed');
	my $tidy = { in => "set taskex.wait_point = 'store_low'; select count(*) from taskex.run_due();\n\\q\n", out => '', err => '' };
	$tidy->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
		'<', \$tidy->{in}, '>', \$tidy->{out}, '2>', \$tidy->{err}, IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	$tidy->{run}->pump_nb;
	await($node, 'postgres', q{select count(*) = 1 from pg_locks where locktype = 'advisory' and not granted}, 'background work is about to store the low');
	return $tidy;
}

sub let_go
{
	my $tidy = shift;
	$gate->{in} .= "\\q\n";
	$gate->{run}->finish;
	$tidy->{run}->finish;
	is($tidy->{err}, '', 'background work went on');
	return;
}

#
# One after the other
#

my ($type, @tasks) = finished();
tidy() for 1 .. 2;
is(stored($type), "$tasks[2]|t", 'all is closed on record, and the shelf rests');
sql("select taskex.add_performers('req', $tasks[1], 1)");
crash();
offered_is('p2', $type, $tasks[1], 'a task with more performers is found after a crash');

($type, @tasks) = finished();
tidy() for 1 .. 2;
sql("select taskex.add_performers('req', $tasks[0], 1)");
tidy() for 1 .. 3;
is(stored($type), ($tasks[0] - 1) . '|f', 'the stored low has gone back');
crash();
offered_is('p2', $type, $tasks[0], 'also when the note of it was merged');

# ... and is closed again, so that it can be passed again
sql("select taskex.submit_assignment('p2', assignment_id, '1') from taskex.assignments where performer = 'p2' and task_id = $tasks[0]",
	"; select count(taskex.approve_assignment('req', assignment_id)) from taskex.assignments where state = 'submitted'");
finished();						# ids are allocated: those before are decided
sql(('select count(*) from taskex.run_due();') x 70);	# a shelf that rests is looked at now and then
is(stored($type), "$tasks[2]|t", 'it moves on when the task is closed again');

# an expired one, and one that comes from another type
$type = sql("select taskex.create_task_type('req', 'Expired', 0.5)");
my $other = sql("select taskex.create_task_type('req', 'Other', 0.25)");
my $expired = sql("select taskex.create_task('req', $type, '1')");
sql("select taskex.accept_next('p9', $other)");
sql("select taskex.accept_next('p9', $type)", "; select taskex.expire_task('req', $expired)",
	"; select taskex.return_assignment('p9', assignment_id) from taskex.assignments where task_id = $expired");
tidy() for 1 .. 2;
is(stored($type), "$expired|t", 'an expired task is passed');
sql("select taskex.set_expiry('req', $expired, now() + interval '1 day')");
crash();
offered_is('p3', $type, $expired, 'one with more time is found');
my $moved = sql("select taskex.create_task('req', $type, '2')");
sql("select taskex.change_task_type('req', $moved, $other)");
crash();
offered_is('p3', $other, $moved, 'one that has another type is found there');
offered_is('p4', $type, 'nothing', '... and not where it was');

#
# While the low is being moved
#

# a task is opened while a round, returned, is about to store that all is closed
sub raced
{
	crash();					# it comes to no other shelf
	($type, @tasks) = finished();
	tidy();
	my $tidy = hold();
	sql("select taskex.add_performers('req', $tasks[0], 1)");
	return $tidy;
}

# the low is stored after the task was opened, and nothing more happens
my $tidy = raced();
let_go($tidy);
is(stored($type), "$tasks[2]|t", 'the low is stored, too high, and the shelf taken off the record');
crash();
offered_is('p2', $type, $tasks[0], 'opened while the low was about to be stored: found');

# ... and further rounds come
$tidy = raced();
let_go($tidy);
tidy() for 1 .. 3;
is(stored($type), ($tasks[0] - 1) . '|f', 'the stored low has gone back after all');
crash();
offered_is('p2', $type, $tasks[0], '... found after further rounds');

# another one merges the note before the low is stored
$tidy = raced();
$node->append_conf('postgresql.conf', 'taskex.conductor = on');
$node->reload;
await($node, 'postgres', 'select count(*) = 0 from _taskex.offer_note', 'the conductor has merged the note');
let_go($tidy);
cmp_ok((split /\|/, stored($type))[0], '<', $tasks[0], 'what was about to be stored is out of date');
crash();
offered_is('p2', $type, $tasks[0], '... found');

# an opening that was not committed has not happened
($type, @tasks) = finished();
my ($in, $out, $err) = ("begin; select taskex.add_performers('req', $tasks[0], 1);\n", '', '');
my $open = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$in, '>', \$out, '2>', \$err);
$open->pump_nb;
await($node, 'postgres', q{select count(*) = 1 from pg_stat_activity where state = 'idle in transaction'}, 'a task is open again, not committed');
crash();
$open->kill_kill;
offered_is('p2', $type, 'nothing', 'an opening that was not committed is forgotten');

$node->stop;
done_testing();
