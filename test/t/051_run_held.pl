# What a run costs does not depend on what else there is: a transaction that is held open
# while rounds of runs are submitted, pulled and completed; many runs that wait; a thousand
# environments. Buffers are counted, since time depends on what else the machine does; the
# time is printed.
#
# TASKEX_HELD_ROUNDS and TASKEX_HELD_TASKS set the size of the rounds, TASKEX_WAITING_RUNS
# how many runs wait.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(time);

my $rounds = $ENV{TASKEX_HELD_ROUNDS} // 10;
my $each = $ENV{TASKEX_HELD_TASKS} // 2000;
my $waiting = $ENV{TASKEX_WAITING_RUNS} // 100_000;

# nobody else reads or writes
my $node = new_cluster('main', conf => q{
autovacuum = off
shared_buffers = 512MB
max_wal_size = 4GB
fsync = off
taskex.conductor = off
taskex.ready_runs = 20000
taskex.max_lanes = 20000
});
make_partitions($node, 2, in_place => 1);
$node->safe_psql('postgres', q{
	select taskex.register_user('c' || i, partition => 'p' || 1 + i % 2) from generate_series(1, 4) i;
	select taskex.create_environment('e' || i, 'external') from generate_series(1, 1000) i;
	-- acts that are each a transaction of their own; each run is pulled before the next one is submitted, or from what waits
	create procedure work(n int, environments int, count int = 1) language plpgsql as $$
	declare
		env text;
		ids bigint[];
		tokens bigint[];
	begin
		for i in 1 .. n / count loop
			env := 'e' || 1 + i * 7 % environments;
			if count = 1 then
				perform taskex.submit_run('c' || 1 + i % 4, null, '1', i % 10, options => jsonb_build_object('environment', env));
			else
				perform count(*) from taskex.submit_runs('c' || 1 + i % 4, null, array_fill('1'::jsonb, array[count]), options => jsonb_build_object('environment', env));
			end if;
			commit;
			select array_agg(run_id), array_agg(lease_token) into strict ids, tokens from taskex.pull_runs('w', env, count);
			commit;
			if count = 1 then
				perform taskex.complete_run(ids[1], tokens[1], '2');
			elsif taskex.complete_runs(ids, tokens) <> count then
				raise 'not all are complete';
			end if;
			commit;
		end loop;
	end $$});

# buffers and seconds that a run takes
my $touched = q{select pg_stat_force_next_flush(); select blks_hit + blks_read from pg_stat_database where datname = 'postgres'};
sub cost
{
	my ($n, $environments, $count) = @_;
	my $start = time;
	my @touched = grep { /\d/ } split /\s+/, $node->safe_psql('postgres',
		"set statement_timeout = '120s'; call work(100, $environments, $count); $touched; call work($n, $environments, $count); $touched");
	return { buffers => ($touched[1] - $touched[0]) / $n, speed => $n / (time - $start) };
}

# alike(WHAT, BASE, NOW): within a tenth; indexes may be a level higher, which is told apart
sub alike
{
	my ($what, $base, $now, $more) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	note(sprintf '%s: %.2f buffers a run, before %.2f; %.0f/s, before %.0f/s (%.2f)', $what, $now->{buffers}, $base->{buffers},
		$now->{speed}, $base->{speed}, $now->{speed} / $base->{speed});
	cmp_ok($now->{buffers}, '<=', 1.1 * $base->{buffers} + ($more // 0), "$what: no more pages a run");
	return;
}

sub ok_workload
{
	my $what = shift;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($node->safe_psql('postgres', q{select string_agg(check_name || ': ' || detail, '; ') from taskex.check_workload() where not ok}), '', "$what: all checks hold");
	return;
}

# a transaction that is held open, with an id and a snapshot
cost($each, 1, 1);
my $s = { in => "begin isolation level repeatable read;\nselect pg_current_xact_id() is null;\nselect count(*) from _taskex.run where false;\n\\echo held\n", out => '', err => '' };
$s->{run} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres') ],
	'<', \$s->{in}, '>', \$s->{out}, '2>', \$s->{err}, IPC::Run::timeout(5 * $PostgreSQL::Test::Utils::timeout_default));
$s->{run}->pump until $s->{out} =~ /^held$/m || !$s->{run}->pumpable;
is($s->{err}, '', 'a transaction is held open');
for my $count (1, 100)
{
	my @round = map { cost($each, 1, $count) } 1 .. $rounds;
	note("$count at a time, buffers a run: " . join(' ', map { sprintf '%.2f', $_->{buffers} } @round));
	alike("held transaction, $count at a time, round $rounds", $round[0], $round[-1]);
}
$s->{in} .= "rollback;\n\\q\n";
$s->{run}->finish;
ok_workload('held transaction');

# environments: another one each time
# rows of more environments are read once by the session
alike('1,000 environments', cost($each, 1, 1), cost($each, 1000, 1), 1);

# what waits: first little, then much. Priority 0, so that what is submitted now and then comes before it
sub submit
{
	my ($n) = @_;
	$node->safe_psql('postgres', qq{select count(r) from generate_series(1, 4) c, lateral taskex.submit_runs('c' || c, null, array_fill('1'::jsonb, array[$n / 4]),
		options => '{"environment": "e1"}') r});
	return;
}
submit(1000);
my @few = map { cost($each, 1, $_) } 1, 100;
submit($waiting / 5) for 1 .. 5;
my @many = map { cost($each, 1, $_) } 1, 100;
# the index by run_id and that of lanes are a level higher at most: two visits of the submission, and one of each look-up
alike("$waiting runs wait, " . (1, 100)[$_] . ' at a time', $few[$_], $many[$_], 4) for 0, 1;
ok_workload('many runs wait');
is($node->safe_psql('postgres', q{select sum(waiting) from _taskex.lanes()}), 1000 + 5 * 4 * int($waiting / 20), 'many runs wait: each is still there');
$node->stop;

done_testing();
