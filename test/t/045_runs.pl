# Runs under fire: sessions that pull and complete, one by one and in batches, while a
# session, the conductor or the postmaster is killed. At the end each run that was
# submitted has ended once, what was acknowledged as complete has its result, and the queue
# in shared memory is what the tables say. Then a transaction that stays open, and runs that
# are in the table only, after a start that begins behind run_low.
#
# TASKEX_KILL_ROUNDS sets the number of rounds, TASKEX_KILL_SEED what happens.

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
use Time::HiRes qw(time usleep);

my $rounds = $ENV{TASKEX_KILL_ROUNDS} // 6;
my $seed = $ENV{TASKEX_KILL_SEED} // time & 0xffff;
srand($seed);
note("TASKEX_KILL_SEED=$seed");

# a killed process loses nothing that the kernel has: fsync may stay off
my $node = new_cluster('main', conf => q{
restart_after_crash = on
log_min_messages = warning
taskex.conductor_interval = 50ms
taskex.ready_runs = 2000
});
my $customers = 10;
my $runs = 0;
$node->safe_psql('postgres', qq{
	select taskex.add_partition('p' || i) from generate_series(1, 3) i where not exists (select from taskex.partitions where name = 'p' || i);
	select taskex.register_user('c' || i, partition => 'p' || 1 + i % 3) from generate_series(1, $customers) i;
	select taskex.create_environment('e', 'external', options => '{"max_attempts": 1000}')});

sub submit
{
	my $each = shift;
	$runs += $customers * $each;
	hammer_patiently($node, qq{
		select count(*) from generate_series(1, $customers) c, generate_series(0, 1) p, lateral taskex.submit_runs('c' || c, null,
			array(select to_jsonb(g) from generate_series(1, $each / 2) g), p * 5, case p when 1 then interval '5 s' end,
			'{"environment": "e", "backoff": {"initial": "0"}}')});
	return;
}

# a worker: pulls and completes, and writes down what he was told is complete; now and then
# he fails a run, gives one back, or forgets it
my $worker = <<'END';
select run_id as id, lease_token as token, random() as luck from taskex.pull_runs('one', 'e', lease => '2 s') \gset
\if :{?id}
select :luck < 0.02 as fail, :luck between 0.02 and 0.04 as release, :luck between 0.04 and 0.05 as forget \gset
\if :fail
select taskex.fail_run(:id, :token, '{"message": "unlucky"}') \g /dev/null
\elif :release
select taskex.release_run(:id, :token) \g /dev/null
\elif :forget
\else
select 'done ' || :id || complete_run from taskex.complete_run(:id, :token, to_jsonb(:id));
\endif
\unset id
\endif
END
my $batch = <<'END';
select coalesce(array_agg(run_id), '{}') as ids, coalesce(array_agg(lease_token), '{}') as tokens from taskex.pull_runs('many', 'e', 20, lease => '2 s') \gset
select 'done ' || unnest(:'ids'::bigint[]) from taskex.complete_runs(:'ids', :'tokens', array(select to_jsonb(i) from unnest(:'ids'::bigint[]) i));
END

# with files, not pipes: nobody waits for what another has not read yet
my $dir = PostgreSQL::Test::Utils::tempdir('workers');
append_to_file("$dir/one.sql", $worker x 300);
append_to_file("$dir/many.sql", $batch x 60);

sub start_workers
{
	return map {
		my $out = "$dir/out$_";
		unlink $out;
		{ out => $out, run => IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-f', $_ <= 4 ? "$dir/one.sql" : "$dir/many.sql" ],
			'<', '/dev/null', '>', $out, '2>', '/dev/null') } } 1 .. 6;
}

my %done;
sub stop_workers
{
	for my $w (@_)
	{
		eval { $w->{run}->finish };
		$done{$_}++ for slurp_file($w->{out}) =~ /^done (\d+)$/mg;
	}
	return;
}

my %hit;
for my $round (1 .. $rounds)
{
	my $victim = (qw(session conductor postmaster backend))[ $round <= 4 ? $round - 1 : rand 4 ];
	submit(120);
	my @workers = start_workers();
	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if (grep { (-s $_->{out} // 0) > 100 } @workers) > 2;
		usleep(10_000);
	}
	usleep(int rand 300_000);
	if ($victim eq 'session') { $workers[0]{run}->signal('KILL') }
	elsif ($victim eq 'conductor')
	{
		kill_process($node, q{select pid from pg_stat_activity where backend_type = 'taskex conductor'}) or die 'there is no conductor';
	}
	elsif ($victim eq 'backend')
	{
		my $pid = $node->safe_psql('postgres', q{select coalesce(max(pid), 0) from (select pid from pg_stat_activity where backend_type = 'client backend'
			and pid <> pg_backend_pid() order by random() limit 1) a});
		kill_backend($node, $pid);
	}
	else
	{
		hammer_kill_server($node);
		hammer_start_server($node) or die 'it does not start';
	}
	$hit{$victim}++;
	stop_workers(@workers);
	hammer_patiently($node, 'select 1') for 1 .. 3;
	my $lost = hammer_patiently($node, 'select count(*) from unnest(\'{' . join(',', keys %done) . '}\'::bigint[]) i
		where not exists (select from _taskex.run r where r.run_id = i and r.state = \'succeeded\' and r.result = to_jsonb(i))');
	is($lost, 0, "round $round, a $victim: what was acknowledged is there");
	is((join ' ', grep { $done{$_} > 1 } keys %done), '', '... once');
	is(hammer_queue_wrong($node), '', '... and the queue is what the tables say');
}
note(join ', ', map { "$_: $hit{$_}" } sort keys %hit);

# the rest can be done, when leases of the forgotten ones have ended
my $left = 1;
until_true(sub {
	my @workers = start_workers();
	stop_workers(@workers);
	return ($left = $node->safe_psql('postgres', q{select count(*) from _taskex.run where not _taskex.run_ended(state)})) == 0;
});
is($left, 0, 'all runs end');
is($node->safe_psql('postgres', q{select count(*) from _taskex.run where state = 'succeeded'}), $runs, '... each with success');
is(scalar(grep { $done{$_} > 1 } keys %done), 0, '... and none was told to be complete twice');
is($node->safe_psql('postgres', q{select string_agg(check_name || ': ' || detail, '; ') from taskex.check_workload() where not ok}), '', 'all checks hold');

# a start looks behind run_low, and in run_open
$node->safe_psql('postgres', q{
	select taskex.submit_run('c1', null, '"open"', options => '{"environment": "e"}');
	select taskex.submit_run('c1', null, '"later"', options => '{"environment": "e", "run_at": "2100-01-01"}')});
$node->safe_psql('postgres', q{select _taskex.store_run_low(partition_id, (select max(run_id) from _taskex.run)) from _taskex.partition});
isnt($node->safe_psql('postgres', q{select max(low) from _taskex.run_low}), '0', 'low moves');
$node->restart('immediate');
is($node->safe_psql('postgres', q{select data from taskex.pull_runs('w', 'e', 5)}), '"open"', 'an open run before it is found after a start');
is($node->safe_psql('postgres', q{select string_agg(check_name || ': ' || detail, '; ') from taskex.check_workload() where not ok}), '', 'all checks hold after it');
is($node->safe_psql('postgres', q{select taskex.complete_run(run_id, lease_token) is null from _taskex.run where state = 'running'}), 'f', 'it is completed');

# who waits is told: for a run, for the result of one, by a notification
{
	my %w = (out => '', err => '');
	my $run = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "select data from taskex.pull_runs('w', 'e', wait => '10 minutes')" ],
		'<', \undef, '>', \$w{out}, '2>', \$w{err});
	$node->poll_query_until('postgres', q{select count(*) = 1 from pg_stat_activity where query like '%wait =>%' and pid <> pg_backend_pid() and wait_event_type = 'Extension'});
	my $start = time;
	my $id = $node->safe_psql('postgres', q{select taskex.submit_run('c1', null, '"waited for"', options => '{"environment": "e", "notify": "told"}')});
	$run->finish;
	is($w{out}, "\"waited for\"\n", 'a worker who waits gets the run');
	ok(time - $start < 60, '... at once');

	%w = (out => '', err => '');
	$run = IPC::Run::start([ 'psql', '-XAt', '-d', $node->connstr('postgres'), '-c', "select taskex.wait_for_run($id, '10 minutes')" ],
		'<', \undef, '>', \$w{out}, '2>', \$w{err});
	$node->poll_query_until('postgres', q{select count(*) = 1 from pg_stat_activity where query like '%wait_for_run%' and pid <> pg_backend_pid() and wait_event_type = 'Extension'});
	$start = time;
	my (undef, $told) = $node->psql('postgres', q{
		listen told;
		select taskex.complete_run(run_id, lease_token, '"result"') from _taskex.run where state = 'running'});
	$run->finish;
	like($w{out}, qr/^"result"$/m, 'who waits for a result gets it');
	ok(time - $start < 60, '... at once');
	like($told, qr/notification "told" with payload "\{"run_id": $id, "state": "succeeded"\}"/, 'and who listens is told');
}

$node->stop;
done_testing();
