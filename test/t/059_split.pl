# Runs in parts by executors, while executors and the conductor are killed: each
# part's result is in the whole's once, and the whole ends once.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => q{
taskex.max_executors = 2
restart_after_crash = on
});
sub q1 { return $node->safe_psql('postgres', $_[0]) }
sub ask { return patiently($node, 'postgres', $_[0]) }

q1(q{
	create role runner login in role taskex_user;
	select taskex.add_partition('p1');
	select taskex.register_user('ann', '{"db_role": "runner"}');
	select taskex.create_environment('pl', 'plpgsql', options => '{"max_attempts": 20}');
	create table public.go (n int);
	grant select on public.go to runner;
	-- the second half of the inputs waits, so that there is somebody to be killed
	select taskex.publish_program('ann', 'squares', 'pl', $p$
		begin
			perform pg_sleep(0.05);
			while (data -> 'inputs' ->> 0)::int > 500 and not exists (select from public.go) loop
				perform pg_sleep(0.02);
			end loop;
			return (select to_jsonb(sum(i::numeric * i::numeric)) from jsonb_array_elements_text(data -> 'inputs') i);
		end $p$);
	select taskex.publish_program('ann', 'total', 'pl', $p$
		begin
			return (select to_jsonb(sum(r::numeric)) from jsonb_array_elements_text(data -> 'results') r);
		end $p$);
});
my $id = q1(q{select taskex.submit_split('ann', 'squares', 'select g from generate_series(1, 1000) g', 40, 'total',
	'{"backoff": {"initial": "0.1 s"}, "speculate": 5}')});
for my $victim (qw(executor conductor postmaster executor))
{
	select undef, undef, undef, 0.4;
	if ($victim eq 'postmaster')
	{
		ok(kill_and_start($node), 'kill -9 of the server');
		next;
	}
	ok(kill_process($node, "select pid from pg_stat_activity where backend_type = 'taskex $victim' limit 1"), "kill -9 of the $victim");
}
ask('insert into public.go values (1)');
is(until_true(sub { ask("select taskex.wait_for_run($id, '1 s')") }), '333833500', 'the whole has the result of all inputs');
is(ask("select state, parts, done, failed, inputs_done from taskex.splits where split_id = $id"), 'succeeded|40|40|0|1000', '... and all parts are done');
is(ask("select count(*) from taskex.runs where split_id = $id and part is not null and state not in ('succeeded', 'cancelled')"), '0', '... nothing of it is left over');
is(ask(q{select count(*) from _taskex.split_open}), '0', '... nor looked after any more');

# results that no value has room for end the whole
q1(q{select taskex.create_environment('out', 'external'), taskex.publish_program('ann', 'long', 'out', 'x')});
my $long = q1(q{select taskex.submit_split('ann', 'long', 'values (1), (2)', 2)});
q1(q{set taskex.max_input_size = '200MB';
	select count(taskex.complete_run(run_id, lease_token, to_jsonb(repeat('x', 140000000)))) from taskex.pull_runs('w', 'out', 2)});
is(until_true(sub { ask("select error ->> 'message' from taskex.run_status($long) where state = 'failed'") }),
	'the results of the parts are too large together', 'results that are too large together make the whole fail');
is(ask(q{select string_agg(check_name || ': ' || detail, '; ') from taskex.check_workload() where not ok}), '', 'all checks hold');
is(ask(q{select string_agg(check_name || ': ' || detail, '; ') from (select check_name, ok, detail from taskex.check_billing()
	union all select check_name, ok, detail from taskex.health where check_name = 'metering') c where not ok}), '', '... those of billing, too');

$node->stop;
done_testing();
