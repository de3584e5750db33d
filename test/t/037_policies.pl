# Review policies through crashes: what the dispatch has decided is carried out,
# each action once, whenever the conductor is killed.
#
# TASKEX_KILL_ROUNDS sets the number of rounds.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{TASKEX_KILL_ROUNDS} // 4;

my $node = new_cluster('main', conf => q{
restart_after_crash = on
log_min_messages = warning
taskex.conductor_interval = 20ms
});
make_partitions($node, 2, in_place => 1);
my $type = make_market($node);
$node->safe_psql('postgres', qq{
	select taskex.create_policy('req', 'agreement', '{"thresholds": [
		{"of": "assignment", "at_least": 0, "action": {"do": "approve"}},
		{"of": "assignment", "at_least": 0, "action": {"do": "notify", "subject": "one", "message": "one"}}]}')});

# N tasks are supplied and performed
sub work
{
	my $n = shift;
	$node->safe_psql('postgres', qq{
		do \$\$ begin
			perform taskex.submit_assignment('perf', (taskex.accept_task('perf', t)).assignment_id, '1')
				from taskex.create_tasks('req', $type, array_fill('1'::jsonb, array[$n])) t;
		end \$\$});
	return;
}

sub kill_conductor { return kill_backend($node, conductor_pid($node, 'postgres')) }

my $work_done = q{select count(*) filter (where state = 'done') = 2 * %d and count(*) = 2 * %d from taskex.policy_actions};

sub ok_once
{
	my ($n, $name) = @_;
	await($node, 'postgres', sprintf($work_done, $n, $n), "$name: all is carried out");
	is($node->safe_psql('postgres', q{
		select count(*), count(distinct (assignment_id, act)) from taskex.policy_actions}), 2 * $n . '|' . 2 * $n, "$name: one action each");
	is($node->safe_psql('postgres', q{
		select count(*), count(distinct subject_id), sum(available) / 1000000000.0 from _taskex.entry where kind = 'reward' and available > 0}),
		sprintf('%d|%d|%.16f', $n, $n, $n / 2), "$name: each is paid once");
	is($node->safe_psql('postgres', q{select count(*) from _taskex.message}), $n, "$name: and notified of once");
	return ok_checks($node, 'postgres', "$name: the books are right");
}

# between dispatch and execution
$node->safe_psql('postgres', q{alter system set taskex.wait_point = 'carry_out'});
my $gate = $node->background_psql('postgres');
$gate->query_safe('select pg_advisory_lock(7411)');
$node->reload;
ok(await_rounds($node, 'postgres'), 'the conductor is at the gate');
work(10);
await($node, 'postgres', q{select count(*) = 20 from taskex.policy_actions where state = 'pending'}, 'decided, not done');
ok(kill_conductor(), 'the conductor is killed');
eval { $gate->quit };
$node->safe_psql('postgres', q{alter system reset taskex.wait_point});
$node->reload;
ok_once(10, 'after the crash');

# and at any moment
my $n = 10;
for my $round (1 .. $rounds)
{
	work(25);
	$n += 25;
	usleep(int rand 150_000);
	kill_conductor();
	await_conductor($node, 'postgres', "round $round: the conductor is back");
}
ok_once($n, 'in the end');
$node->stop;

done_testing();
