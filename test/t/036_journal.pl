# The journal under the hammer, with kill -9: each act counts exactly once in the
# summaries and events; a transaction that is held open makes no round of the
# dispatch read more; dumps and copies go on where they were; segments are given back.
#
# TASKEX_JOURNAL_ROUNDS sets the number of kills.

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
use Time::HiRes qw(usleep);

my $rounds = $ENV{TASKEX_JOURNAL_ROUNDS} // 5;

my $node = new_cluster('main', conf => q{
restart_after_crash = on
autovacuum = off
taskex.conductor_interval = 20ms
});
my @types = hammer_market($node, 3);
$node->safe_psql('postgres', q{select count(taskex.subscribe(login)) from taskex.users});

my $check = q{select check_name || ': ' || detail from taskex.check_market() where not ok};

# no act is left: what was dispatched is all there is
sub drained
{
	my ($db) = @_;
	return await($node, $db, 'select acts = 0 and failing = 0 from _taskex.journal_lag()', "$db: all acts are dispatched");
}

# ---- kill -9 ----

for my $round (1 .. $rounds)
{
	my @clients = hammer_start($node, map { hammer_script(types => \@types, name => "j${round}c$_", turns => 3000, until => time + 60) } 1 .. 4);
	hammer_busy(@clients);
	usleep(500_000 + int rand 1_000_000);
	my $pid = hammer_victim($node, $round % 2 ? q{select pid from pg_stat_activity where backend_type = 'taskex conductor' and datname = 'postgres'}
		: q{select pid from pg_stat_activity where application_name = 'hammer' limit 1});
	ok($pid ne '' && kill('KILL', $pid), "round $round: a process is killed");
	hammer_finish(@clients);
	ok($node->poll_query_until('template1', 'select true'), "round $round: back");
	is($node->safe_psql('postgres', $check), '', "round $round: summaries and tail are what the tables say");
}
await_conductor($node, 'postgres', 'the conductor is back');
drained('postgres');
is($node->safe_psql('postgres', $check), '', 'when all is dispatched, the summaries alone are');

# events: each act of a kind once for each subscriber that it concerns
my $events = q{
	select string_agg(t.kind || ' ' || t.n || ' ' || e.n, ', ') from (
		select 'submitted' as kind, count(*) as n from _taskex.result
		union all select 'returned', count(*) from _taskex.assignment where state = 'returned'
		union all select 'approved', count(*) from _taskex.result where state = 'approved'
		union all select 'rejected', count(*) from _taskex.result where state = 'rejected') t
	cross join lateral (select count(*) as n from _taskex.event e where e.kind = t.kind and e.user_id = e.requester_id) e
	where t.n <> e.n};
is($node->safe_psql('postgres', $events), '', 'each act is one event of its requester');
cmp_ok($node->safe_psql('postgres', q{select count(*) from _taskex.event where kind = 'submitted'}), '>', 100, '(there are some)');

# ---- a dispatch by hand in a transaction that stays open ----

# the conductor sleeps for an hour unless somebody wakes it
$node->safe_psql('postgres', q{alter system set taskex.conductor_interval = '1h'});
$node->reload;
my $tested = q{select count(*) from _taskex.event where kind = 'test'};
my $one = q{select taskex.test_event(login) from taskex.subscriptions order by login limit 1};
# (the setting may reach it one round late)
$node->safe_psql('postgres', 'select count(*) from taskex.run_due()') for 1 .. 3;
my $heard = $node->safe_psql('postgres', $tested);
$node->safe_psql('postgres', $one);
$node->safe_psql('postgres', 'select count(*) from taskex.run_due()');
is($node->safe_psql('postgres', $tested), $heard + 1, 'run_due() has waited for a round of the conductor');
my $long = { in => "begin;\n$one;\nselect count(*) from taskex.run_due();\n\\echo held\n", out => '', err => '' };
$long->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$long->{in}, '>', \$long->{out}, '2>', \$long->{err},
	IPC::Run::timeout(5 * $PostgreSQL::Test::Utils::timeout_default));
$long->{run}->pump until $long->{out} =~ /held/ || !$long->{run}->pumpable;
$node->safe_psql('postgres', $one);
$node->safe_psql('postgres', 'select count(*) from taskex.run_due()');
is($node->safe_psql('postgres', $tested), $heard + 2, 'a transaction that has called it, and is open, stops no dispatch');
$long->{in} .= "commit;\n\\q\n";
$long->{run}->finish;
is($long->{err}, '', '(it had no error)');
$node->safe_psql('postgres', 'select count(*) from taskex.run_due()');
is($node->safe_psql('postgres', $tested), $heard + 3, 'its own act comes when it has committed');
$node->safe_psql('postgres', q{alter system reset taskex.conductor_interval});
$node->reload;

# ---- dump and restore, and a copy: with acts that are not dispatched ----

$node->append_conf('postgresql.conf', 'taskex.conductor = off');
$node->restart;
my $submitted = 'select sum(submitted) || \' \' || sum(approved) from _taskex.standing';
my $before = $node->safe_psql('postgres', $submitted);
my @clients = hammer_start($node, map { hammer_script(types => \@types, name => "dump$_", turns => 50) } 1 .. 2);
hammer_finish(@clients);
cmp_ok($node->safe_psql('postgres', 'select acts from _taskex.journal_lag()'), '>', 50, 'acts wait');
is($node->safe_psql('postgres', $submitted), $before, 'and are in no summary');

my $dump = $node->basedir . '/dump.sql';
$node->command_ok([ 'pg_dump', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('template1', 'create database restored');
$node->safe_psql('template1', 'create database copied template postgres');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', $dump, $node->connstr('restored') ], 'restored');
for my $db ('copied', 'restored')
{
	is($node->safe_psql($db, $check), '', "$db: nothing is missing before the first dispatch");
	$node->safe_psql($db, q{select taskex.test_event(login) from taskex.subscriptions limit 1});
	$node->safe_psql($db, 'select count(*) from taskex.run_due()') for 1 .. 3;
	is($node->safe_psql($db, q{select count(*) from _taskex.journal_tail() where kind in ('submitted', 'test')}), '0', "$db: all is dispatched");
	is($node->safe_psql($db, $check), '', "$db: once");
	is($node->safe_psql($db, $events), '', "$db: also as events");
	isnt($node->safe_psql($db, $submitted), $before, "$db: the summaries have moved");
}

# ---- a transaction that is held open ----

$node->safe_psql('postgres', 'select count(*) from taskex.run_due()') for 1 .. 3;
my $s = { in => "begin isolation level repeatable read;\nselect count(taskex.test_event(login)) from taskex.subscriptions;\n\\echo held\n", out => '', err => '' };
$s->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$s->{in}, '>', \$s->{out}, '2>', \$s->{err},
	IPC::Run::timeout(5 * $PostgreSQL::Test::Utils::timeout_default));
$s->{run}->pump until $s->{out} =~ /held/ || !$s->{run}->pumpable;

# one performer and one requester: the same rows of the summaries change each time
my $act = q{select count(_taskex.journal('submitted', r.user_id, p.user_id, 1, 1, n, 0, null)) from generate_series(1, 20) n,
	(select min(user_id) as user_id from taskex.users) r, (select max(user_id) as user_id from taskex.users) p};
my @hits;
for my $round (1 .. 300)
{
	my $plan = $node->safe_psql('postgres', qq{$act; explain (analyze, buffers, costs off, timing off) select _taskex.dispatch(20000)})
	  if $round <= 5 || $round > 295;
	$node->safe_psql('postgres', join ';', map { ($act, 'select _taskex.dispatch(20000)') } 1 .. 10) if !defined $plan;
	push @hits, $plan =~ /Buffers: shared hit=(\d+)/ if defined $plan;
}
note("buffers of a dispatch: @hits");
my ($first, $last) = (0, 0);
$first += $_ for @hits[ 0 .. 4 ];
$last += $_ for @hits[ -5 .. -1 ];
cmp_ok($last, '<', 1.3 * $first, 'held open: after 2,900 rounds a dispatch touches no more than at first');
is($node->safe_psql('postgres', q{select count(*) from _taskex.journal_tail()}), '0', 'held open: nothing waits but its own acts');
my $tests = q{select count(*) from _taskex.event where kind = 'test'};
my $had = $node->safe_psql('postgres', $tests);
$s->{in} .= "commit;\n\\q\n";
$s->{run}->finish;
$node->safe_psql('postgres', 'select _taskex.dispatch(20000)');
cmp_ok($node->safe_psql('postgres', $tests), '>', $had, 'they come when it commits');

# ---- a crash while transactions have ids and have written nothing ----

# Ids that no record of the WAL tells of are given again after the crash, to
# transactions that write: the cursor must not have passed them.
my $idle = q{begin; select pg_current_xact_id();};
my @open = map
{
	my $o = { in => "$idle\n\\echo held\n", out => '', err => '' };
	$o->{run} = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ], '<', \$o->{in}, '>', \$o->{out}, '2>', \$o->{err},
		IPC::Run::timeout(5 * $PostgreSQL::Test::Utils::timeout_default));
	$o->{run}->pump until $o->{out} =~ /held/ || !$o->{run}->pumpable;
	# some end, and that is not flushed
	$node->safe_psql('postgres', "set synchronous_commit = off; $idle rollback");
	$o;
} 1 .. 4;
$node->safe_psql('postgres', "set synchronous_commit = off; $one");
# its own id is the highest, and is not passed
$node->safe_psql('postgres', "begin; select pg_current_xact_id(); select _taskex.dispatch(20000); commit");
$node->safe_psql('postgres', "set synchronous_commit = off; select _taskex.dispatch(20000)") for 1 .. 2;
cmp_ok($node->safe_psql('postgres', q{select cardinality(pending) from _taskex.journal_cursor order by number desc limit 1}), '>=', 4,
	'ids are pending that may come again');
$node->stop('immediate');
$_->{run}->finish for @open;
$node->start;
is($node->safe_psql('postgres', q{select c.upto <= pg_snapshot_xmax(pg_current_snapshot()) from _taskex.journal_cursor c order by number desc limit 1}), 't',
	'after a crash the cursor is not ahead of the ids');
my $told = $node->safe_psql('postgres', $tests);
$node->safe_psql('postgres', $one) for 1 .. 12;
$node->safe_psql('postgres', 'select _taskex.dispatch(20000)') for 1 .. 2;
is($node->safe_psql('postgres', $tests), $told + 12, 'and what is done then is told of');

# ---- segments are given back ----

my $size = q{select sum(pg_relation_size('_taskex.journal_' || n)) from generate_series(0, 2) n};
my $segment = q{(pg_snapshot_xmax(pg_current_snapshot())::text::bigint >> 18) % 3};
my $used = $node->safe_psql('postgres', "select $segment");
# ids of subtransactions count too
$node->safe_psql('postgres', q{create table ids (id int);
	create procedure use_ids() language plpgsql as $$ begin
		for i in 1 .. 60 loop
			for j in 1 .. 5000 loop
				begin
					insert into ids values (1);
				exception when division_by_zero then null;
				end;
			end loop;
			rollback;
		end loop;
	end $$;
	call use_ids()});
isnt($node->safe_psql('postgres', "select $segment"), $used, 'the next segment is in use');
my $full = $node->safe_psql('postgres', $size);
$node->safe_psql('postgres', "$act; select _taskex.dispatch(20000)");
await($node, 'postgres', "select _taskex.journal_retire() >= 0 and pg_relation_size('_taskex.journal_$used') = 0", 'the old one is truncated');
cmp_ok($node->safe_psql('postgres', $size), '<', $full, 'the journal is smaller');
$node->stop;

done_testing();
