# The memory of the queue is full: nobody's runs keep others from being taken, and what is gone gives its place back.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => q{
taskex.ready_runs = 64
taskex.max_lanes = 64
taskex.conductor_interval = 200ms
});

sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]) }
sub submit
{
	my ($who, $environment, $count, $delay, $more) = @_;
	return sql("select count(*) from taskex.submit_runs('$who', null, array_fill('1'::jsonb, array[$count]), 5, $delay, options => '{\"environment\": \"$environment\"$more}')");
}
sub work
{
	my ($environment, $count) = @_;
	return sql("with p as materialized (select * from taskex.pull_runs('w', '$environment', $count)) select count(*), count(taskex.complete_run(run_id, lease_token, data)) from p");
}
# until so many have been done, and no more; an entry is free when what was pulled has ended, or a round of the conductor later
sub work_all
{
	my ($environment, $wanted, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $done = 0;
	for (1 .. 500)
	{
		my $more = (split /\|/, work($environment, 20))[0];
		$done += $more;
		last if $done >= $wanted;
		select undef, undef, undef, 0.05 if $more == 0;
	}
	return is($done, $wanted, $name);
}
sub drain
{
	for (1 .. 200) { sql("select taskex.cancel_run(run_id) from taskex.runs where state = 'waiting' limit 500"); last if sql("select count(*) from taskex.runs where state = 'waiting'") eq '0' }
	is(sql('select count(*) from taskex.check_workload() where not ok'), '0', 'the queue is well');
}
my $exchange = q{select taskex.add_partition('p1'); select taskex.create_environment('e1', 'external'), taskex.create_environment('e2', 'external');
	select count(taskex.register_user('c' || i)) from generate_series(1, 70) i};
sql($exchange);

# runs with deadlines
submit('c1', 'e1', 200, "'1 day'", '');
submit('c2', 'e2', 10, 'null', '');
is(work('e2', 10), '10|10', 'runs with deadlines leave room for others');
work_all('e1', 200, 'and are taken themselves, all of them');
drain();

# a few with deadlines stay while others fill the memory: who has come late is seen when its time is over
sql(q{select count(r) from generate_series(1, 20) c, lateral taskex.submit_runs('c' || c, null, array_fill('1'::jsonb, array[20]), 5, options => '{"environment": "e1"}') r});
sql(q{select count(r) from taskex.submit_runs('c50', null, array_fill('"late"'::jsonb, array[6]), 0, '50 ms', options => '{"environment": "e1"}') r});
sql(q{select count(r) from generate_series(21, 40) c, lateral taskex.submit_runs('c' || c, null, array_fill('1'::jsonb, array[20]), 5, options => '{"environment": "e1"}') r});
sql('select pg_sleep(0.1)');
is(sql(q{select count(*) from taskex.pull_runs('w', 'e1', 6) where data = '"late"'}), '6', 'runs whose deadline is over come first, though the memory is full');
sql(q{select taskex.complete_run(run_id, lease_token, '1') from _taskex.run where state = 'running'});
drain();

# runs behind one key
submit('c1', 'e1', 200, 'null', ', "concurrency_key": "k"');
is(work('e1', 10), '1|1', 'of runs with one key one is taken');
submit('c2', 'e2', 10, 'null', '');
is(work('e2', 10), '10|10', 'the others leave room for other environments');
submit('c2', 'e1', 10, 'null', '');
for (1 .. 40) { work('e1', 20); last if sql("select count(*) from taskex.runs where customer = 'c2' and state = 'succeeded'") == 20; select undef, undef, undef, 0.05 }
is(sql("select count(*) from taskex.runs where customer = 'c2' and state = 'waiting'"), '0', 'and for other customers of the same');
my $left = sql("select count(*) from taskex.runs where customer = 'c1' and state = 'waiting'");
cmp_ok($left, '>', 20, 'of those with the key many wait');
work_all('e1', $left, 'and come one after the other');
drain();

# more lanes than entries
sql(q{select count(taskex.submit_run('c' || c, null, '1', c % 10, options => '{"environment": "e1"}')) from generate_series(1, 60) c, generate_series(1, 3)});
work_all('e1', 180, 'with more lanes than entries all are taken');
drain();

# a database is dropped
sql('create database other');
sql("create extension taskex; $exchange", 'other');
sql(q{select count(*) from taskex.submit_runs('c1', null, array_fill('1'::jsonb, array[200]), options => '{"environment": "e1"}')}, 'other');
is(sql('select free_entries from _taskex.queue_state()'), '0', 'another database fills the memory');
sql('drop database other');
await($node, 'postgres', 'select free_entries = 64 from _taskex.queue_state()', 'which is free when it is dropped');

done_testing();
