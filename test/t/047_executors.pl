# Executors: started with the queue, kept warm, shared between roles, told to stop, ended,
# killed. What they do with the code is another test's (048).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(time usleep);

my $node = new_cluster('main', conf => q{
restart_after_crash = on
taskex.max_executors = 4
taskex.executor_slice = 200ms
});
my $db = 'postgres';

sub sql { return $node->safe_psql($db, $_[0]) }

make_partitions($node, 2);
sql(q{
	create role ann login; create role bob login; create role cid login; create role dan; create role eve login;
	select taskex.register_user(u, jsonb_build_object('db_role', u)) from unnest('{ann,bob,cid,dan,eve}'::text[]) u;
	select taskex.register_user('nobody');
	select taskex.create_environment('pl', 'plpgsql', options => '{"idle_time": "1 hour", "max_attempts": 3}');
});
my $nap = 'BEGIN PERFORM pg_sleep(coalesce(data::float8, 0)); RETURN to_jsonb(pg_backend_pid()); END';

sub options
{
	my ($environment, $more) = @_;
	return "jsonb_build_object('environment', '$environment', 'code', '$nap', 'backoff', '{\"initial\": \"0\"}'::jsonb)" . ($more ? " || '$more'::jsonb" : '');
}

# submits so many naps; the first one's id
sub naps
{
	my ($who, $seconds, $count, $environment, $more) = @_;
	return sql("select min(r) from taskex.submit_runs('$who', null, array_fill(to_jsonb($seconds), array[$count]), options => "
		. options($environment // 'pl', $more) . ") r");
}
sub nap { my ($who, $seconds, $environment, $more) = @_; return naps($who, $seconds, 1, $environment, $more) }
sub result { return sql("select taskex.wait_for_run($_[0], '3 minutes')") }
sub state { return sql("select state || coalesce(' ' || (error ->> 'message'), '') from taskex.run_status($_[0])") }
sub executors { return sql('select string_agg(role || \' \' || state, \', \' order by role, state) from taskex.executors where ' . ($_[0] // 'true')) }

sub await_idle
{
	my $name = shift;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return await($node, $db, "select not exists (select from taskex.queue) and not exists (select from taskex.executors where state not in ('idle', 'stopping'))", $name);
}

# ---- who may have one ----
is(sqlstate_of($node, $db, "select taskex.submit_run('nobody', options => " . options('pl') . ')'), 'TX636', 'who has no role has no runs here');
is(sqlstate_of($node, $db, "select taskex.submit_run('dan', options => " . options('pl') . ')'), 'TX636', 'nor has one whose role may not log in');
is(sqlstate_of($node, $db, "select taskex.pull_runs('w', 'pl')"), 'TX637', 'and workers outside pull none');
is(executors(), '', 'there is no executor before there is work');

# ---- warm ----
my $first = result(nap('ann', 0));
like($first, qr/^\d+$/, 'a run has its result');
is(result(nap('ann', 0)), $first, 'the next one runs in the same process');
is(sql("select usename from pg_stat_activity where pid = $first"), 'ann', 'which is connected as the role');
is(executors(), 'ann idle', 'and rests');
sql("select pg_sleep(1.5)");
my @latencies;
for (1 .. 30)
{
	push @latencies, sql("select clock_timestamp() as t \\gset\nselect taskex.submit_run('ann', data => '0', options => " . options('pl')
		. ") as r \\gset\nselect taskex.wait_for_run(:r) \\g /dev/null\nselect extract(epoch from clock_timestamp() - :'t') * 1000");
}
@latencies = sort { $a <=> $b } map { /([\d.]+)\s*$/ } @latencies;
note("from submit to result: p50 $latencies[15] ms, slowest $latencies[-1] ms");
# (one that is only looked for in each round is begun after half a second)
cmp_ok($latencies[15], '<', 300, 'which wakes at once');

# ---- cancelling interrupts that run and no other ----
my $long = nap('ann', 60);
await($node, $db, "select count(*) = 1 from taskex.executors where state = 'busy' and run_id = $long", 'a long run is shown');
my $next = nap('ann', 0);
sql("select taskex.cancel_run($long)");
is(result($next), $first, 'the next one is executed by the same process, and is not cancelled');
is(state($long), 'cancelled', 'the long one is cancelled');
await_idle('and all is done');

# ---- an executor that is ended: the attempt of its run crashed, others go back ----
my @victims = map { nap('ann', 60) } 1 .. 1;
await($node, $db, "select count(*) = 1 from taskex.executors where state = 'busy'", 'an executor is busy');
sql("select pg_terminate_backend(pid) from taskex.executors where state = 'busy'");
await($node, $db, "select attempts = 2 and state = 'running' from taskex.run_status($victims[0])", 'after its end the run is tried again');
is(sql("select string_agg(outcome, ',') from taskex.run_attempts where run_id = $victims[0] and attempt = 1"), 'crashed', 'the attempt crashed');
sql("select taskex.cancel_run($victims[0])");
await_idle('and all is done');
sql("select taskex.alter_environment('pl', '{\"max_attempts\": 2}')");
my $poison = nap('ann', 60);
for (1 .. 2)
{
	await($node, $db, "select attempts = $_ and state = 'running' from taskex.run_status($poison)", "attempt $_ runs");
	sql("select pg_terminate_backend(pid) from taskex.executors where run_id = $poison");
}
await($node, $db, "select state = 'dead' from taskex.run_status($poison)", 'without attempts left it is a dead letter');

# ---- grows with the queue, up to max_executors, and shrinks ----
my $many = naps('bob', 1, 12);
await($node, $db, "select count(*) >= 3 from taskex.executors where role = 'bob'", 'it grows with the queue');
await_idle('the queue is worked off');
is(sql("select count(*) from taskex.runs where customer = 'bob' and state = 'succeeded'"), '12', 'each run has ended');
cmp_ok(sql("select count(distinct result) from taskex.runs where customer = 'bob'"), '>', 2, 'in several processes');
sql("select taskex.alter_environment('pl', '{\"max_executors\": 2, \"idle_time\": \"0\"}')");
await($node, $db, 'select count(*) = 0 from taskex.executors', 'those that are idle for long end');
naps('bob', 1, 6);
await($node, $db, "select count(*) = 2 from taskex.executors where role = 'bob'", 'with a smaller max_executors it grows to that');
is(sql("select max(n) from (select count(*) n from taskex.executors) c"), '2', 'and no further');
await($node, $db, "select not exists (select from taskex.queue) and not exists (select from taskex.executors)", 'and shrinks');

# ---- more roles than slots: each has its turn ----
sql(q{select taskex.alter_environment('pl', '{"max_executors": 1, "idle_time": "1 hour"}')});
naps('ann', 0.1, 40);
await($node, $db, "select count(*) = 1 from taskex.executors where role = 'ann'", 'a role has the one place');
my @others = (nap('bob', 0), nap('cid', 0));
result($_) for @others;
cmp_ok(sql("select count(*) from taskex.runs where customer = 'ann' and state in ('waiting', 'running')"), '>', 0, 'others do not wait until its runs have ended');
await_idle('but do in the end');

# ---- prepared before there is work; idle ones give way ----
sql(q{
	select taskex.alter_environment('pl', '{"max_executors": 4, "idle_time": "0"}');
	select taskex.create_environment('warm', 'plpgsql', options => '{"min_executors": 1, "idle_time": "0", "customers": ["eve"]}')});
await($node, $db, "select count(*) = 1 from taskex.executors where environment = 'warm' and role = 'eve' and state = 'idle'", 'for a customer who is named an executor is prepared');
my $warm = sql("select pid from taskex.executors where environment = 'warm'");
is(result(nap('eve', 0, 'warm')), $warm, 'which runs his first run');
sql('select pg_sleep(0.5)');
is(sql("select pid from taskex.executors where environment = 'warm'"), $warm, 'and stays');
sql(q{select taskex.alter_environment('warm', '{"setup": "SET search_path = pg_catalog"}')});
await($node, $db, "select count(*) = 1 from taskex.executors where environment = 'warm' and state = 'idle' and pid <> $warm", 'after a change of its set-up another one comes');
sql(q{select taskex.pause_environment('warm')});
my $paused = nap('eve', 0, 'warm');
sql('select pg_sleep(1.5)');
is(state($paused), 'waiting', 'of a paused environment nothing runs');
sql(q{select taskex.resume_environment('warm')});
like(result($paused), qr/^\d+$/, 'until it is resumed');
sql(q{select taskex.retire_environment('warm')});
await($node, $db, "select count(*) = 0 from taskex.executors where environment = 'warm'", 'a retired one has no executors');

# ---- dedicated ----
sql(q{select taskex.alter_environment('pl', '{"max_executors": 1, "idle_time": "1 hour"}')});
my $mine = nap('ann', 0, 'pl', '{"dedicated": "1 hour"}');
my $place = result($mine);
await($node, $db, "select state = 'reserved' and reserved_for = 'ann' from taskex.executors where pid = $place", 'it is reserved');
my $waits = nap('bob', 0);
my (%takes, $began);
$began = time;
while (time - $began < 1.5) { $takes{ sql("select state_change from pg_stat_activity where pid = $place") }++; usleep(20_000) }
cmp_ok(scalar(keys %takes), '<', 3 + time - $began, 'it sleeps meanwhile');
is(result(nap('ann', 0)), $place, 'for the customer it works');
sql('select pg_sleep(1)');
is(state($waits), 'waiting', 'for others it does not');
is(sql("select taskex.acknowledge_run($mine)"), 't', 'until he acknowledges');
is(sql("select taskex.acknowledge_run($mine)"), 'f', 'once');
like(result($waits), qr/^\d+$/, 'and others have the place');
# several: each keeps it; also those that were taken together
my $kept = naps('ann', 0, 3, 'pl', '{"dedicated": "1 hour"}');
my @kept = map { $kept + 1024 * $_ } 0 .. 2;
result($_) for @kept;
$waits = nap('bob', 0);
is(sql("select taskex.acknowledge_run($kept[2])"), 't', 'of several the last one is acknowledged');
is(sql("select taskex.acknowledge_run($kept[0])"), 't', 'and the first one');
sql('select pg_sleep(1)');
is(state($waits), 'waiting', 'it is kept for the other one');
is(sql("select reserved_for from taskex.executors"), 'ann', 'for its customer');
is(sql("select taskex.acknowledge_run($kept[1])"), 't', 'until all are');
like(result($waits), qr/^\d+$/, 'and others have the place again');
result(nap('ann', 0, 'pl', '{"dedicated": "300 ms"}'));
like(result(nap('bob', 0)), qr/^\d+$/, 'or the time is over');

# ---- paused ----
my $sleeper = result(nap('ann', 0));
sql("select taskex.pause_environment('pl')");
my $held = nap('ann', 0);
%takes = ();
$began = time;
while (time - $began < 1.5) { $takes{ sql("select state_change from pg_stat_activity where pid = $sleeper") }++; usleep(20_000) }
cmp_ok(scalar(keys %takes), '<', 3 + time - $began, 'where the environment is paused an executor sleeps, too');
is(state($held), 'waiting', 'and its runs wait');
sql("select taskex.resume_environment('pl')");
is(result($held), $sleeper, 'until it goes on');

# ---- set-up that fails ----
sql(q{select taskex.create_environment('broken', 'plpgsql', options => '{"setup": "SELECT * FROM nonesuch", "max_attempts": 1}')});
my $broken = nap('cid', 0, 'broken');
await($node, $db, "select state = 'dead' from taskex.run_status($broken)", 'a run whose executor cannot be set up fails');
like(state($broken), qr/no executor could be made ready: the environment's set-up failed: 42P01: relation "nonesuch" does not exist/, 'and says why');
like(sql("select detail from taskex.health where check_name = 'executors' and not ok"), qr/'broken'.*nonesuch/, 'as does taskex.health');
my $tries = () = slurp_file($node->logfile) =~ /could not be made ready/g;
cmp_ok($tries, '<', 6, 'it is not tried for ever');
sql(q{select taskex.alter_environment('broken', '{"setup": null}')});
like(result(nap('cid', 0, 'broken')), qr/^\d+$/, 'mended, it works');
await($node, $db, "select ok from taskex.health where check_name = 'executors'", 'and is well');

# ---- roles ----
my $roles = "select ok || ' ' || detail from taskex.health where check_name = 'roles'";
is(sql($roles), 'true no run waits for a role', 'no run waits for a role');
sql('alter role cid nologin');
await($node, $db, "select count(*) = 0 from taskex.executors where role = 'cid'", 'the executor of a role that may not log in any more ends');
sql('alter role cid login');
# runs that came while there was a role, in an environment of another language as many
sql("select taskex.create_environment('out', 'external'), taskex.create_environment('later', 'plpgsql'), taskex.pause_environment('later')");
sql("create role gone login; select taskex.register_user('gone', '{\"db_role\": \"gone\"}')");
sql("create role dan2 login; select taskex.register_user('dan2', '{\"db_role\": \"dan2\"}')");
my @forlorn = map { naps($_, 0, 2, 'later') } qw(cid dan2 gone);
my $out_run = sql("select taskex.submit_run('gone', options => '{\"environment\": \"out\"}')");
is(sql($roles), 'true no run waits for a role', 'not while there is one');
sql("alter role dan2 nologin");
is(sql($roles), 'false 2 runs of 1 customers wait until their customers have a role that may log in: "dan2" has the db_role dan2, which may not log in', 'one that may not log in');
sql("alter role dan2 login; drop role gone");
is(sql($roles), 'false 2 runs of 1 customers wait until their customers have a role that may log in: "gone" has a db_role that was dropped', 'one that was dropped');
my ($code, $out, $err) = $node->psql($db, "select taskex.submit_run('gone', options => " . options('later') . ')');
like($err, qr/that was dropped/, 'a run that is submitted now is refused, and why');
sql(q{select taskex.update_user('gone', '{"db_role": null}')});
is(sql($roles), 'false 2 runs of 1 customers wait until their customers have a role that may log in: "gone" has no db_role', 'none at all');
sql(q{select taskex.resume_environment('later')});
like(result($forlorn[$_]), qr/^\d+$/, 'the others run') for 0, 1;
is(state($forlorn[2]), 'waiting', 'those wait');
sql(q{select taskex.update_user('gone', '{"db_role": "ann"}')});
is(sql("select usename from pg_stat_activity where pid = " . result($forlorn[2])), 'ann', 'until he has a role');
await($node, $db, "select ok from taskex.health where check_name = 'roles'", 'and all is well');
sql("select taskex.cancel_run($out_run)");
await_idle('and done');
sql("select taskex.retire_environment('later'), taskex.retire_environment('out')");
sql("select taskex.alter_environment('pl', '{\"max_executors\": 4}')");
sql('select taskex.drain_executors()');
my $moved = nap('cid', 0);
sql(q{select taskex.update_user('cid', '{"db_role": "eve"}'); select taskex.resume_executors()});
is(sql("select usename from pg_stat_activity where pid = " . result($moved)), 'eve', 'runs that wait follow their customer to another role');
sql(q{select taskex.update_user('cid', '{"db_role": null}'); select taskex.update_user('eve', '{"db_role": null}'); alter role eve nologin});
$node->poll_query_until($db, "select count(*) = 0 from taskex.executors where role = 'eve'");
sql('drop role eve');

# ---- draining ----
await_idle('all rest');
my $last = nap('ann', 4);
await($node, $db, "select state = 'running' from taskex.run_status($last)", 'one is busy');
is(sql("select taskex.drain_executors('0')") > 0, 1, 'draining says how many are left');
my $later = nap('ann', 0);
is(sql("select taskex.drain_executors('3 minutes')"), '0', 'and waits');
is(state($last), 'succeeded', 'for those that run');
is(state($later), 'waiting', 'nothing else is begun');
like(sql("select detail from taskex.health where check_name = 'executors'"), qr/drain_executors/, 'taskex.health tells of it');
$node->restart;
await($node, $db, "select state = 'succeeded' from taskex.run_status($later)", 'until the server is started again');

# ---- crashes ----
my $alone = nap('ann', 6);
await($node, $db, "select state = 'running' from taskex.run_status($alone)", 'one runs');
naps('bob', 0.01, 50);
ok(kill_process($node, "select pid from taskex.executors where run_id = $alone"), 'its executor is killed');
await($node, $db, "select count(*) = 51 from taskex.runs where state = 'succeeded' and (run_id = $alone or customer = 'bob' and data = '0.01')",
	'after the crash of an executor, and so of the server, all runs are tried again');
cmp_ok(sql("select attempts from taskex.run_status($alone)"), '<=', 2, 'the one that ran as often as it may');
is(sql("select count(*) from taskex.runs where customer = 'bob' and data = '0.01' and attempts > 2"), '0', 'and none too often');
ok_checks($node, $db, 'the exchange is well');
is(sql('select count(*) from taskex.check_workload() where not ok'), '0', 'and its queue');

# ---- databases are dropped ----
$node->safe_psql($db, 'create database other');
$node->safe_psql('other', q{create extension taskex; select taskex.add_partition('p'); select taskex.register_user('bob', '{"db_role": "bob"}');
	select taskex.create_environment('pl', 'plpgsql', options => '{"idle_time": "1 hour"}')});
$node->safe_psql('other', "select taskex.submit_run('bob', data => '0', options => " . options('pl') . ')');
await($node, 'other', "select count(*) = 1 from taskex.executors where state = 'idle'", 'another database has its own');

# two exchanges give the same ids and tokens to their runs
my $here = nap('bob', 60);
await($node, $db, "select state = 'running' from taskex.run_status($here)", 'a long run here');
my $token = sql("select lease_token from _taskex.run where run_id = $here");
$node->safe_psql('other', 'drop extension taskex cascade; create extension taskex');
$node->safe_psql('other', qq{select setval('_taskex.run_id_seq', $here / 1024, false), setval('_taskex.lease_token_seq', $token, false);
	select taskex.add_partition('p' || n) from generate_series(1, 2) n; select taskex.register_user('bob', '{"db_role": "bob"}', 'p' || ($here % 1024));
	select taskex.create_environment('pl', 'plpgsql', options => '{"idle_time": "1 hour"}')});
my $there = $node->safe_psql('other', "select taskex.submit_run('bob', data => '60', options => " . options('pl') . ')');
await($node, 'other', "select state = 'running' from taskex.run_status($there)", 'and one there');
is($node->safe_psql('other', "select run_id || ' ' || lease_token from _taskex.run"), "$here $token", 'with the same id and token');
my $usual = niceness($db);
$node->safe_psql('other', "select taskex.throttle('run', '$there', '{\"nice\": 7}')");
sub niceness
{
	my $pid = $node->safe_psql($_[0], "select pid from taskex.executors where run_id = $here");
	my $stat = slurp_file("/proc/$pid/stat");
	return (split ' ', ($stat =~ /\) (.*)$/s)[0])[16];
}
until_true(sub { niceness('other') > $usual });
cmp_ok(niceness('other'), '>', $usual, 'the one there is slowed down');
is(niceness($db), $usual, 'and not the one here');
$node->safe_psql('other', "select taskex.cancel_run($there)");
await($node, 'other', "select count(*) = 1 from taskex.executors where state = 'idle'", 'that there is cancelled');
is(state($here), 'running', 'and that here goes on');
sql("select taskex.cancel_run($here)");

$node->safe_psql('other', 'drop extension taskex cascade; create extension taskex');
await($node, 'template1', "select count(*) = 0 from pg_stat_activity where datname = 'other' and backend_type = 'taskex executor'", 'that of an exchange that is gone ends');
$node->safe_psql('other', q{select taskex.add_partition('p'); select taskex.register_user('bob', '{"db_role": "bob"}');
	select taskex.create_environment('pl', 'plpgsql', options => '{"idle_time": "1 hour"}')});
$node->safe_psql('other', "select taskex.submit_run('bob', data => '0', options => " . options('pl') . ')');
await($node, 'other', "select count(*) = 1 from taskex.executors where state = 'idle'", 'a new exchange has its own');
$node->safe_psql($db, 'drop database other');
pass('an idle executor does not keep a database from being dropped');

# ---- no worker slot: one is left beside PostgreSQL's, the launcher's and the conductor's ----
$node->append_conf('postgresql.conf', 'max_worker_processes = 4');
$node->restart;
my @starved = map { nap($_, 0.2) } ('ann', 'bob', 'ann', 'bob');
like(result($_), qr/^\d+$/, 'without free worker slots no run is lost') for @starved;
like(sql("select string_agg(detail, '') from taskex.health where check_name = 'executors'"), qr/max_worker_processes|of 4 run/, 'health is told');
my $log = slurp_file($node->logfile);
my $told = () = $log =~ /no worker slot is free/g;
cmp_ok($told, '<=', 4, 'nor is the log filled');

# ---- the server stops at once ----
nap('ann', 60);
await($node, $db, "select count(*) = 1 from taskex.executors where state = 'busy'", 'a long run');
my $start = time;
$node->stop('fast');
cmp_ok(time - $start, '<', 30, 'does not keep the server from stopping');

done_testing();
