# Results are handed to a function of the customer, which inserts a row, while executors, the
# conductor and the server are killed: in the end each result has been taken exactly once.
#
# TASKEX_KILL_ROUNDS sets the number of rounds, TASKEX_KILL_SEED what happens.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Hammer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{TASKEX_KILL_ROUNDS} // 6;
my $seed = $ENV{TASKEX_KILL_SEED} // time & 0xffff;
srand($seed);
note("TASKEX_KILL_SEED=$seed");

my $node = new_cluster('main', conf => q{
restart_after_crash = on
log_min_messages = warning
taskex.conductor_interval = 50ms
taskex.max_executors = 4
});
make_partitions($node, 2, in_place => 1);
$node->safe_psql('postgres', q{
	create role ann login; create role bob login;
	create table taken (run_id bigint, result jsonb, who text); grant insert on taken to ann, bob;
	create function public.take(run_id bigint, result jsonb) returns void language sql as 'insert into public.taken values ($1, $2, current_user)';
	-- one of ten times it has done its work, and fails
	create function public.try_to_take(run_id bigint, result jsonb) returns void language plpgsql as $$
	begin
		insert into public.taken values (run_id, result, current_user);
		if random() < 0.1 then raise exception 'not now'; end if;
	end $$;
	select taskex.register_user('ann', '{"db_role": "ann"}', 'p1'), taskex.register_user('bob', '{"db_role": "bob"}', 'p2');
	select taskex.create_environment('inside', 'plpgsql', options => '{"max_attempts": 1000, "min_executors": 1, "customers": ["ann", "bob"]}')});

my $each = 150;
my (%hit, $runs);
for my $round (1 .. $rounds)
{
	my $victim = (qw(executor terminate conductor postmaster))[ $round <= 4 ? $round - 1 : int rand 4 ];
	my $before = hammer_patiently($node, 'select count(*) from taken');
	for my $who (qw(ann bob))
	{
		for my $function (qw(take try_to_take))
		{
			$runs += $each;
			hammer_patiently($node, qq{select count(taskex.submit_run('$who', null, to_jsonb(g),
				options => '{"environment": "inside", "code": "begin return to_jsonb(2 * data::int); end", "backoff": {"initial": "0"}, "result_function": "public.$function"}')) from generate_series(1, $each) g});
		}
	}
	# amidst the calls
	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if hammer_patiently($node, 'select count(*) from taken') > $before + $each;
		usleep(10_000);
	}
	usleep(int rand 150_000);
	if ($victim eq 'postmaster')
	{
		hammer_kill_server($node);
		$hit{$victim}++;
		hammer_start_server($node) or BAIL_OUT('the server does not start');
	}
	else
	{
		my $type = $victim eq 'terminate' ? 'executor' : $victim;
		my $pid = hammer_victim($node, qq{select pid from pg_stat_activity where backend_type = 'taskex $type' order by state = 'active' desc, random() limit 1});
		$hit{$victim}++ if $pid =~ /^\d+$/ && kill $victim eq 'terminate' ? 'TERM' : 'KILL', $pid;
	}
	is(hammer_patiently($node, 'select count(*) from (select run_id from taken group by 1 having count(*) > 1) x'), 0, "round $round, $victim: no result was taken twice");
}
note(join ', ', map { "$_: $hit{$_}" } sort keys %hit);
is(scalar(keys %hit), $rounds < 4 ? $rounds : 4, 'all kinds of victims were hit');

hammer_patiently($node, 'select 1');
my $left = 1;
for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
{
	last if ($left = hammer_patiently($node, 'select count(*) from _taskex.run where not _taskex.run_ended(state)')) == 0;
	usleep(100_000);
}
is($left, 0, 'all runs end');
is($node->safe_psql('postgres', q{select count(*) from _taskex.run where code is not null and state = 'succeeded' and result = to_jsonb(2 * data::int)}), $runs, '... with success');
is($node->safe_psql('postgres', q{
	select count(*), count(distinct t.run_id), count(*) filter (where t.result = r.result and t.who = d.login) from taken t
		join _taskex.run r using (run_id) join _taskex.directory d on d.user_id = r.customer_id}), "$runs|$runs|$runs", 'each result was taken once, as the customer');
note($node->safe_psql('postgres', q{select 'attempts of the calls that did not succeed: ' || string_agg(outcome || ' ' || n, ', ' order by outcome) from (
	select outcome, count(*) as n from _taskex.run_attempt group by 1) a}));
is($node->safe_psql('postgres', 'select count(*) from taskex.check_workload() where not ok'), 0, 'the queue is whole');
$node->stop;

done_testing();
