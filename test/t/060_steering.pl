# What runs is watched and slowed down, and goes as fast as it can again; what
# holds up others is asked to give way; suspension under kill -9.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use List::Util qw(min);
use Test::More;
use Time::HiRes qw(time);

my $node = new_cluster('main', conf => q{
taskex.max_executors = 2
restart_after_crash = on
});
sub q1 { return $node->safe_psql('postgres', $_[0]) }
sub is_true { my ($query, $what) = @_; local $Test::Builder::Level = $Test::Builder::Level + 1; return await($node, 'postgres', $query, $what) }
sub nice_of
{
	my $pid = shift;
	# it may end at any time
	my $stat = eval { slurp_file("/proc/$pid/stat") } // return 'gone';
	return (split ' ', ($stat =~ /\) (.*)$/s)[0])[16];
}

q1(q{
	create role runner login in role taskex_user;
	select taskex.add_partition('p1');
	select taskex.register_user('ann', '{"db_role": "runner"}');
	select taskex.create_environment('pl', 'plpgsql', options => '{"max_executors": 1}');
	create table public.go (n int);
	create table public.big as select g as n, repeat('x', 500) as t from generate_series(1, 20000) g;
	grant select on public.go, public.big to runner;
	grant update on public.go to runner;
	insert into public.go values (0);
	select taskex.publish_program('ann', 'spin', 'pl', $p$
		declare
			steps int := coalesce((taskex.run_state() #>> '{}')::int, 0);
		begin
			loop
				steps := steps + 1;
				perform count(*) from public.big where big.n < 100;
				exit when exists (select from public.go g where g.n > 0);
				perform pg_sleep(0.01);
				if taskex.should_yield() then
					perform taskex.yield_run(state => to_jsonb(steps));
					return null;
				end if;
			end loop;
			return to_jsonb(steps);
		end $p$);
});

# watched
my $id = q1(q{select taskex.submit_run('ann', 'spin')});
is_true("select cpu_time > '0' from taskex.run_monitor where run_id = $id", 'what a run uses is seen while it runs');
is_true("select pid is not null and customer = 'ann' and program = 'spin' from taskex.run_monitor where run_id = $id", 'it is watched');
is(q1("select running from taskex.run_totals where of_what = 'program' and name = 'spin'"), '1', '... and added up');
my $pid = q1("select pid from taskex.run_monitor where run_id = $id");

# slowed down, and not any more when the time is over
SKIP:
{
	skip 'there is no /proc', 3 unless -e "/proc/$pid/stat";
	my $usual = nice_of($pid);
	is($usual, nice_of((split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0]), 'it has the priority of the server');
	my $throttle = q{select taskex.throttle('program', 'ann/spin', '{"nice": 7, "io_rate": 50}', '%s')};
	q1(sprintf $throttle, '1 hour');
	ok(until_true(sub { nice_of($pid) eq min($usual + 7, 19) }), 'a throttle is obeyed while it runs');
	q1(sprintf $throttle, '1 s');
	is_true("select count(*) = 0 from taskex.throttles", 'it ends by itself');
	ok(until_true(sub { !-e "/proc/$pid/stat" || nice_of($pid) eq $usual || q1("select state = 'stopping' from taskex.executors where pid = $pid") eq 't' }), '... and the executor is as before, or gives way to another');
}

# one that holds up others
q1("select taskex.set_throttle_policy('pl', '0.5 s', 'yield', '10 s')");
my $other = q1(q{select taskex.submit_run('ann', null, null, 9, options => '{"environment": "pl", "code": "begin return 1; end"}')});
is(q1("select taskex.wait_for_run($other, '3 minutes')"), '1', 'who holds up others is asked to give way');
cmp_ok(q1("select count(*) from taskex.run_attempts where run_id = $id and outcome = 'suspended'"), '>=', 1, '... and that is on record');
q1("select taskex.set_throttle_policy('pl', null)");

# many short runs, of which none lasts until the next round: slowed down, and fast again
q1("select taskex.suspend_run($id)");
is_true("select (taskex.run_status($id)).state = 'suspended'", 'it makes room');
q1("select taskex.throttle('customer', 'ann', '{\"pause\": 300}')");
my @ids = split /\n/, q1(q{select taskex.submit_runs('ann', null, array_fill('1'::jsonb, array[400]), options => '{"environment": "pl", "code": "begin perform pg_sleep(0.02); return data; end"}')});
is_true("select bool_or(pause > 0) from taskex.throttles", 'a pause is on record');
is_true("select count(*) > 3 from taskex.runs where customer = 'ann' and run_id >= $ids[0] and state = 'succeeded'", 'some short runs are done');
# a pause of 300 ms after each transaction, of 10 ms of runs
my $seen = sub { return q1("select count(*) from taskex.runs where run_id between $ids[0] and $ids[-1] and state = 'succeeded'") };
my $began = time;
my $count = $seen->();
sleep 3;
my $slow = $seen->() - $count;
cmp_ok($slow, '<', 20 * (time - $began), 'short runs rest in between');
q1("select taskex.unthrottle('customer', 'ann')");
is(q1("select taskex.wait_for_run($ids[-1], '3 minutes')"), '1', 'when the throttle is lifted they are fast again');
is_true("select count(*) = 400 from taskex.runs where run_id between $ids[0] and $ids[-1] and state = 'succeeded'", '... all of them');
q1("select taskex.resume_run($id)");

# suspended, killed, resumed: nothing is lost
is_true("select count(*) = 1 from taskex.run_monitor where run_id = $id", 'it goes on');
q1("select taskex.suspend_run($id)");
is_true("select (taskex.run_status($id)).state = 'suspended'", 'it is suspended');
my $before = q1("select checkpoint from taskex.runs where run_id = $id");
cmp_ok($before, '>', 0, '... with its state');
my $second = q1("select taskex.submit_run('ann', 'spin')");
is_true("select count(*) = 1 from taskex.run_monitor where run_id = $second and pid is not null", 'another one runs');
ok(kill_process($node, "select pid from taskex.run_monitor where run_id = $second"), 'its executor is killed');
await_conductor($node, 'postgres', 'the server is back');
is(q1("select (taskex.run_status($id)).state"), 'suspended', 'after kill -9 what was suspended still is');
q1("update public.go set n = 1; select taskex.resume_run($id)");
cmp_ok(q1("select taskex.wait_for_run($id, '3 minutes')"), '>', $before, '... and goes on from its state');
is_true("select state = 'succeeded' from taskex.run_status($second)", 'what was killed is tried again');

# kill -9 of the conductor and of the server: who was asked to stop is stopped, what is slowed down stays so until it ends,
# and what was missed of a program that was suspended is asked
my $deaf = q1(q{select taskex.publish_program('ann', 'deaf', 'pl', 'begin perform pg_sleep(600); return null; end');
	select taskex.submit_run('ann', 'deaf', options => '{"backoff": {"initial": "0"}}')});
$deaf = (split /\n/, $deaf)[-1];
for my $victim (qw(conductor postmaster))
{
	is_true("select count(*) = 1 from taskex.run_monitor where run_id = $deaf and pid is not null", "a run that listens to nobody, before kill -9 of the $victim");
	q1("select taskex.throttle('program', 'ann/deaf', '{\"nice\": 3}', '1 hour')");
	q1("select taskex.suspend_program('ann', 'deaf', '2 s')");
	if ($victim eq 'postmaster') { ok(kill_and_start($node), 'kill -9 of the server') }
	else { ok(kill_process($node, "select pid from pg_stat_activity where backend_type = 'taskex conductor'"), 'kill -9 of the conductor') }
	is_true("select (taskex.run_status($deaf)).state = 'suspended'", '... does not run any more');
	is(q1("select count(*) from _taskex.run_held where run_id = $deaf"), '1', '... because of its program');
	is(q1('select name from taskex.throttles'), 'ann/deaf', '... which is slowed down still');
	q1("select taskex.resume_program('ann', 'deaf')");
	ok(!-e "/proc/$$/stat" || until_true(sub {
		my $pid = q1("select coalesce(max(pid), 0) from taskex.run_monitor where run_id = $deaf");
		return $pid > 0 && -e "/proc/$pid/stat" && nice_of($pid) eq min(nice_of((split /\n/, slurp_file($node->data_dir . '/postmaster.pid'))[0]) + 3, 19);
	}), '... also when it goes on');
}
q1("select taskex.unthrottle('program', 'ann/deaf'); select taskex.cancel_run($deaf)");
is(q1(q{select string_agg(check_name || ': ' || detail, '; ') from taskex.check_workload() where not ok}), '', 'all checks hold');

$node->stop;
done_testing();
