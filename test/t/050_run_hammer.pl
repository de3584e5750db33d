# Runs of all priorities, with greatest delays, times, keys and dependencies, are submitted
# and worked off by workers outside and by executors, while workers, executors, the conductor
# and the server are killed.
# At the end each run that was submitted has ended once, with its result, each attempt is
# accounted for and was billed once, while rates change and invoices are closed, and the order in which
# they started is the one that was promised.
#
# TASKEX_HAMMER_RUNS sets how many runs, TASKEX_KILL_ROUNDS how often something is killed,
# TASKEX_HAMMER_SEED what the clients do. 100000 runs take a quarter of an hour.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Billed;
use Hammer;
use List::Util qw(max min);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(time usleep);

my $wanted = $ENV{TASKEX_HAMMER_RUNS} // 3000;
my $rounds = $ENV{TASKEX_KILL_ROUNDS} // max(5, min(25, int($wanted / 2000)));
my $seed = $ENV{TASKEX_HAMMER_SEED} // time & 0xffff;
srand($seed);
note("TASKEX_HAMMER_SEED=$seed");

# most runs wait in the tables
my $node = new_cluster('main', conf => q{
restart_after_crash = on
log_min_messages = warning
max_connections = 40
taskex.conductor_interval = 50ms
taskex.ready_runs = 1500
taskex.max_executors = 4
});
my $customers = 10;
my @victims = qw(worker backend conductor postmaster executor);
make_partitions($node, 3, in_place => 1);
$node->safe_psql('postgres', qq{
	create role hammer1 login; create role hammer2 login; create role hammer3 login;
	select taskex.register_user('c' || i, jsonb_build_object('db_role', 'hammer' || 1 + i % 3), 'p' || 1 + i % 3) from generate_series(1, $customers) i;
	select taskex.create_environment(name, language, options => '{"max_attempts": 1000}') from (values ('outside', 'external'), ('inside', 'plpgsql')) e (name, language);
	-- who takes runs in which order: workers of all, executors of those of their role
	create view queued as select r.*, e.name || case e.language when 'external' then '' else ' ' || d.db_role end as queue
		from _taskex.run r join _taskex.environment e using (environment_id) join _taskex.directory d on d.user_id = r.customer_id});
billed_terms($node);

# ---- what clients do: a line of output tells of what was acknowledged

my $serial = 0;
my @where = map { qq("backoff": {"initial": "0"}, $_) } '"environment": "outside"', '"environment": "inside", "code": "begin return to_jsonb(2 * data::int); end"';

# each run works on a number, of its own and negative if it has to wait for something else than its turn
sub submit_turn
{
	my $customer = 'c' . (1 + int rand $customers);
	my $priority = int rand 10;
	my $delay = rand() < 0.2 ? sprintf("'%d ms'", 100 + rand 3000) : 'null';
	my $options = $where[ rand @where ];
	my $luck = rand;
	$serial += 200;
	return "select 'sent ' || i from taskex.submit_runs('$customer', null, array(select to_jsonb(g) from generate_series($serial, $serial + 49) g), $priority, $delay, '{$options}') i;\n"
	  if $luck < 0.3;
	return "select 'sent ' || taskex.submit_run('$customer', null, '-$serial', $priority, $delay, ('{$options, \"run_at\": \"' || clock_timestamp() + '300 ms' || '\"}')::jsonb);\n"
	  if $luck < 0.4;
	my $keyed = "taskex.submit_run('$customer', null, '$serial', $priority, null, '{$options, \"deduplication_key\": \"$serial\"}')";
	return "select 'sent ' || $keyed;\nselect 'sent ' || $keyed;\n" if $luck < 0.5;
	return "select taskex.submit_run('$customer', null, '$serial', $priority, null, '{$options}') as first \\gset\n"
	  . "select 'sent ' || :first;\nselect 'sent ' || taskex.submit_run('$customer', null, '-$serial', $priority, null, ('{$options, \"after\": [' || :first || ']}')::jsonb);\n"
	  if $luck < 0.6;
	return "select 'sent ' || taskex.submit_run('$customer', null, '$serial', $priority, $delay, '{$options}');\n";
}

# now and then a worker fails a run, gives one back, or forgets it
my $one = <<'END';
select run_id as id, lease_token as token, data as n, random() as luck from taskex.pull_runs('one', 'outside', lease => '2 s', wait => '10 ms') \gset
\if :{?id}
select :luck < 0.01 as fail, :luck between 0.01 and 0.02 as release, :luck between 0.02 and 0.025 as forget \gset
\if :fail
select taskex.fail_run(:id, :token, '{"message": "unlucky"}') \g /dev/null
\elif :release
select taskex.release_run(:id, :token) \g /dev/null
\elif :forget
\else
select 'done ' || :id || complete_run from taskex.complete_run(:id, :token, to_jsonb(2 * :n));
\endif
\unset id
\endif
END
my $many = <<'END';
select coalesce(array_agg(run_id), '{}') as ids, coalesce(array_agg(lease_token), '{}') as tokens,
	coalesce(array_agg(to_jsonb(2 * data::int)), '{}') as results from taskex.pull_runs('many', 'outside', 20, lease => '2 s', wait => '10 ms') \gset
select 'done ' || unnest(:'ids'::bigint[]) from taskex.complete_runs(:'ids', :'tokens', :'results');
END

# how long a round lasts if it is not cut short
my $share = $wanted / $rounds;
my $length = 2 + $share / 1500;
my $head = "set application_name = 'hammer';\n\\set VERBOSITY verbose\n";

# again and again, until the round is over
sub turns
{
	my ($script, $count) = @_;
	my $over = sprintf "select clock_timestamp() > to_timestamp(%.3f) as over \\gset\n\\if :over\n\\q\n\\endif\n", time + $length;
	return $head . ($script x 10 . $over) x ($count / 10);
}

sub workers { return ((map { turns($one, 1000 * $length) } 1 .. 4), map { turns($many, 500 * $length) } 1 .. 3) }

sub submitters
{
	my $runs = shift;
	return map { my $script = $head; $script .= submit_turn() . "select from pg_sleep(0.005);\n" for 1 .. $runs / 30; $script } 1 .. 2;
}

# ---- the rounds

my (%done, %sent);

sub finish
{
	my @clients = @_;
	hammer_finish(@clients);
	for my $client (@clients)
	{
		$done{$_}++ for $client->{out} =~ /^done (\d+)$/mg;
		$sent{$_}++ for $client->{out} =~ /^sent (\d+)$/mg;
	}
	my $errors = hammer_errors('TX108', @clients);
	$errors = '' if $errors =~ /^((57P0[123]|08006|08P01): [^,]*(, )?)*$/;
	is($errors, '', '... no error but those of a server that goes');
	return;
}

sub left { return hammer_patiently($node, q{select count(*) from _taskex.run where not _taskex.run_ended(state)}) }

# what is wrong, while executors do nothing
sub checked
{
	hammer_patiently($node, q{select taskex.pause_environment('inside')});
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if hammer_patiently($node, q{select count(*) from queued where state = 'running' and queue <> 'outside'}) == 0;
		usleep(100_000);
	}
	my $wrong = hammer_queue_wrong($node);
	hammer_patiently($node, q{select taskex.resume_environment('inside')});
	return $wrong;
}

# half of them wait from the start
$node->safe_psql('postgres', qq{
	select count(r) from generate_series(1, 10) c, generate_series(0, 9) p, lateral taskex.submit_runs('c' || c, null,
		array(select to_jsonb((c * 10 + p) * 1000000 + $_ * 500000 + g) from generate_series(1, $wanted / 400) g), p, null, '{$where[$_]}') r}) for 0 .. $#where;

my (%hit, @crashed);
my $wished = $rounds;
my @due = @victims[ 0 .. min($rounds, scalar @victims) - 1 ];
for (my $round = 1; $round <= $rounds; $round++)
{
	my $victim = shift @due // $victims[ rand @victims ];
	my @clients = hammer_start($node, workers(), submitters($share / 2), billed_closer());
	billed_change($node) if $round == int($wished / 2);
	hammer_busy(@clients);
	usleep(int rand 600_000 * $length);
	push @crashed, sprintf '%.3f', time if $victim ne 'worker';
	if ($victim eq 'postmaster')
	{
		hammer_kill_server($node);
		$hit{$victim}++;
		hammer_start_server($node) or BAIL_OUT('the server does not start');
	}
	else
	{
		# a worker's session, or the process that serves one
		my $pid = $victim eq 'worker' ? $clients[ rand 7 ]{run}->{KIDS}[0]{PID} : hammer_victim($node, $victim eq 'backend'
			? q{select coalesce(max(pid)::text, 'none') from (select pid from pg_stat_activity where application_name = 'hammer' order by random() limit 1) a}
			: qq{select pid from pg_stat_activity where backend_type = 'taskex $victim' order by random() limit 1});
		$hit{$victim}++ if $pid =~ /^\d+$/ && kill 'KILL', $pid;
	}
	finish(@clients);

	# it had ended before it was to be killed: once more
	if (!$hit{$victim} && $round < 30)
	{
		push @due, $victim;
		$rounds++;
	}
	hammer_patiently($node, 'select 1') for 1 .. 3;
	my $acknowledged = join ',', keys %done;
	is(hammer_patiently($node, "select count(*) from unnest('{$acknowledged}'::bigint[]) i
		where not exists (select from _taskex.run r where r.run_id = i and r.state = 'succeeded')"), 0, "round $round, a $victim: what was acknowledged is done");
	is(checked(), '', '... and the queue is what the tables say');

	# what comes next; but what becomes ready at this very moment may be late
	is(hammer_patiently($node, q{
		begin;
		create temp table next on commit drop as select r.*, coalesce(r.deadline <= r.started_at, false) as urgent, n
			from rows from (taskex.pull_runs('probe', 'outside', 30)) with ordinality as p (id, t, u, c, q, a, pr, v, co, d, dr, ti, pg, n)
				join _taskex.run r on r.run_id = p.id;
		select string_agg(format('%s (%s) before %s (%s, attempt %s, submitted at %s)', priority, data, after_p, after_data, after_attempts, after_submitted), ', ') from (
			select *, lead(priority) over w as after_p, lead(urgent) over w as after_urgent, lead(attempts) over w as after_attempts,
				lead(data) over w as after_data, lead(submitted_at) over w as after_submitted from next window w as (order by n)) n
			where not urgent and (after_p > priority or after_urgent) and after_attempts = 1 and after_data::int > 0
				and after_submitted < started_at - interval '0.2 s';
		rollback}), '', '... in order');
}
is(join(q( ), sort keys %hit), join(' ', sort @victims[ 0 .. min($wished, scalar @victims) - 1 ]), 'all kinds of victims were hit');
note(join ', ', map { "$_: $hit{$_}" } sort keys %hit);

# the rest, when leases of what was forgotten have ended
my $left = 1;
for (1 .. 100)
{
	finish(hammer_start($node, workers()));
	last if ($left = left()) == 0;
}
is($left, 0, 'all runs end');

# ---- what came of it: queries that must find nothing

my $sent = join ',', keys %sent;

# what a session was just about to have, or had without its commit being on disk, begins anew after a crash
my $calm = 'not exists (select from unnest(\'{' . join(',', @crashed) . '}\'::float8[]) c where r.started_at between to_timestamp(c - 1) and to_timestamp(c + 1))';
my @wrong = (
	'a run that did not succeed' => q{select run_id, state from _taskex.run where state <> 'succeeded'},
	'a run without its result' => q{select run_id, data, result from _taskex.run where result is distinct from to_jsonb(2 * data::int)},
	'an attempt that is not accounted for' => q{
		select run_id, r.attempts, a.n from _taskex.run r left join (select run_id, count(*) as n, max(attempt) as last from _taskex.run_attempt group by 1) a using (run_id)
			where coalesce(a.n, 0) <> r.attempts - 1 or coalesce(a.last, 0) > r.attempts - 1},
	'a run that was lost' => "select i from unnest('{$sent}'::bigint[]) i where not exists (select from _taskex.run where run_id = i)",
	'two runs with one key' => q{select data, count(*) from _taskex.run where data::int > 0 group by 1 having count(*) > 1},
	'a run before what it comes after' => q{
		select a.run_id from _taskex.run a join _taskex.run b on b.data::int = - a.data::int
			where a.data::int < 0 and a.run_at is null and a.attempts = 1 and b.attempts = 1 and a.started_at < b.finished_at},
	'a run before its time' => q{select run_id from _taskex.run where run_at is not null and attempts = 1 and started_at < run_at},
	# Whoever pulls says when he began. So two seconds are allowed: for a transaction that submits and for one that pulls.
	'a run that started while one of a higher priority waited' => q{
		with waited as (select queue, priority, range_agg(tstzrange(submitted_at + '1 s', started_at - interval '1 s')) as times from queued
			where attempts = 1 and data::int > 0 and submitted_at + '2 s' < started_at group by 1, 2)
		select r.run_id, r.queue, r.priority, w.priority from queued r join waited w on w.queue = r.queue and w.priority > r.priority and r.started_at <@ w.times
			where r.attempts = 1 and (r.deadline is null or r.deadline > r.started_at) and } . $calm,
	'a run that started while one had waited too long, which followed more than a second later' => q{
		with waited as (select queue, range_agg(tstzrange(deadline, started_at - interval '1 s')) as times from queued
			where attempts = 1 and data::int > 0 and deadline + '1 s' < started_at group by 1)
		select r.run_id, r.queue, r.deadline, r.started_at from queued r join waited w on w.queue = r.queue and r.started_at <@ w.times
			where r.attempts = 1 and (r.deadline is null or r.deadline > r.started_at) and } . $calm);
while (my ($what, $query) = splice @wrong, 0, 2)
{
	is($node->safe_psql('postgres', "select q::text from ($query) q limit 5"), '', "none is $what");
}
is(join(' ', grep { $done{$_} > 1 } keys %done), '', 'none was told to be complete twice');
cmp_ok($node->safe_psql('postgres', 'select count(*) from _taskex.run'), '>=', 0.8 * $wanted, 'there were as many as were wanted');
is($node->safe_psql('postgres', q{select string_agg(check_name || ': ' || detail, '; ') from taskex.check_workload() where not ok}), '', 'all checks hold');
billed_wrong($node);
note($node->safe_psql('postgres', q{select queue || ': ' || count(*) || ' runs, ' || sum(attempts) || ' attempts, ' || count(deadline) || ' with a deadline, of which '
	|| count(*) filter (where started_at > deadline) || ' were over' from queued group by queue order by queue}));
$node->stop;

done_testing();
