# What calls cost is stored once, whatever fails or is killed; a crash forgets what
# was not stored yet, and no more.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IPC::Run qw(start finish);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => "taskex.max_loaded_users = 64\ntaskex.load_interval = 1h\nrestart_after_crash = on\n");
$node->safe_psql('postgres', q{
	select taskex.add_partition('p1'), taskex.add_partition('p2');
	select count(taskex.register_user('u' || i, partition => 'p' || 1 + i % 2)) from generate_series(1, 300) i;
});
my $p = 'postgres';

sub stored { return $node->safe_psql($p, "select coalesce(sum(calls), 0) from _taskex.load_hour where kind = '" . ($_[0] // 'p') . "'") }
sub waiting { return $node->safe_psql($p, 'select calls from _taskex.meter()') }
sub call { my ($n) = @_; $node->safe_psql($p, "select count(taskex.balance('u1')) from generate_series(1, $n)"); return }
sub interval { my ($t) = @_; $node->safe_psql('postgres', "alter system set taskex.load_interval = '$t'"); $node->reload; return }
sub await_stored
{
	my ($n, $name) = @_;
	return await($node, $p, "select coalesce(sum(calls), 0) = $n from _taskex.load_hour where kind = 'p'", $name);
}

# more users than there are places
$node->safe_psql($p, q{select count(taskex.balance('u' || i)) from generate_series(1, 300) i});
is(waiting(), '300', 'all calls are counted');
my ($named, $unnamed, $lost) = split /\|/, $node->safe_psql($p, 'select users, unnamed, lost from _taskex.meter()');
cmp_ok($named, '<=', 64, 'no more users than places');
cmp_ok($named, '>', 32, 'most places are used');
is($named + $unnamed, 300, 'the others are counted for their partitions');
is($lost, '0', 'none is lost');
is($node->safe_psql($p, q{select ok, detail from taskex.health where check_name = 'load'}),
	"t|$unnamed calls were counted for storage partitions only; raise taskex.max_loaded_users", 'health tells');
interval('1s');
await_stored(300, 'the conductor stores all of it');
is(stored('u'), $named, 'of users what is theirs');
is($node->safe_psql($p, q{select string_agg(calls::text, ',' order by id) from _taskex.load_hour where kind = 'p'}), '150,150', 'of partitions all');
is(waiting(), '0', 'nothing is left');

# calls of many sessions while it is stored: not one is lost or doubled
{
	my $script = $node->basedir . '/calls.sql';
	append_to_file($script, "\\set n random(1, 3)\nselect taskex.balance('u' || :n);\n");
	$node->command_ok([ 'pgbench', '-n', '-c', 6, '-t', 1000, '-f', $script, $p ], 'six sessions call');
	await_stored(6300, 'all of their calls are stored');
}

# a table that is locked: what was taken comes back, and is stored later
{
	my $locker = $node->background_psql($p, on_error_stop => 1);
	$locker->query_safe('begin; lock table _taskex.load_hour in access exclusive mode');
	call(50);
	ok(await_rounds($node, $p), 'the conductor goes on');
	# (it takes it each second, and gives it back when it has waited for the lock for 100 ms)
	await($node, $p, 'select calls = 50 from _taskex.meter()', 'what cannot be stored waits');
	$locker->query_safe('commit');
	$locker->quit;
	await_stored(6350, 'and is stored once');
}

# who stores is ended, or killed with all of the server, between taking and storing
interval('1h');
sub stop_at_store
{
	my ($calls) = @_;
	my $locker = $node->background_psql($p, on_error_stop => 1);
	$locker->query_safe('select pg_advisory_lock(7411)');
	call($calls);
	my $storing = start([ 'psql', '-X', '-q', '-d', $node->connstr($p) . ' application_name=storing', '-c',
		"set taskex.wait_point = 'store_load'; select taskex.measure_load()" ], '<', \undef, '>', \my $out, '2>', \my $err);
	$node->poll_query_until($p, q{select count(*) = 1 from pg_locks l join pg_stat_activity a using (pid)
		where locktype = 'advisory' and not granted and application_name = 'storing'}) or die 'nobody comes to the wait point';
	is(waiting(), '0', 'the calls are taken');
	return ($locker, $storing, $node->safe_psql($p, q{select pid from pg_stat_activity where application_name = 'storing'}));
}
{
	my ($locker, $storing, $pid) = stop_at_store(70);
	$node->safe_psql($p, "select pg_terminate_backend($pid)");
	finish($storing);
	is(waiting(), '70', 'what was taken comes back');
	$locker->query_safe('select pg_advisory_unlock_all()');
	$locker->quit;
	is($node->safe_psql($p, 'select calls from taskex.measure_load()'), '70', 'and is stored by the next one');
	is(stored(), '6420', 'once');
}
{
	my ($locker, $storing, $pid) = stop_at_store(80);
	is(stored(), '6420', 'nothing of it is stored');
	ok(kill_process($node, "select $pid"), 'who stores is killed');
	finish($storing);
	eval { $locker->quit };
	await_conductor($node, $p, 'after a crash');
	is(waiting(), '0', 'what was not stored is forgotten');
	is(stored(), '6420', 'and nothing else');
	interval('1s');
	call(5);
	await_stored(6425, 'what comes then is counted on top of it');
	is($node->safe_psql($p, q{select ok from taskex.health where check_name = 'load'}), 't', 'all is well');
}

# an exchange that is made anew finds nothing of the old one
interval('1h');
call(9);
cmp_ok(waiting(), '>=', 9, 'calls wait');
$node->safe_psql($p, q{drop extension taskex cascade; create extension taskex});
$node->safe_psql($p, q{select taskex.add_partition('q1'); select taskex.register_user('u1')});
is(waiting(), '0', 'they were the old exchange\'s');
call(3);
is($node->safe_psql($p, 'select users, calls from taskex.measure_load()'), '1|3', 'the new one has its own');

$node->stop;
done_testing();
