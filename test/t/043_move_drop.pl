# The exchange is dropped while its users are moved, and made anew at once: the movers
# of the old one end, nothing of it is left, and what has the same numbers in the new one
# is moved as if there had been no other.

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
taskex.conductor_interval = 50ms
log_min_messages = info
});

sub sql { return $node->safe_psql('postgres', $_[0]) }

# a user with much, and others; all of them live on p1
sub market
{
	my $who = shift;
	make_partitions($node, 2, in_place => 1);
	return sql(qq{
		do \$\$ begin
			perform taskex.register_user(u, partition => 'p1') from unnest('{$who,third}'::text[]) u;
			perform taskex.deposit('$who', 1000, 'start');
		end \$\$;
		select taskex.create_task_type('$who', 'Move', 0.01) as t \\gset
		select count(*) as x from generate_series(1, 8) i, lateral taskex.create_tasks('$who', :t, array_fill('{"x": 1}'::jsonb, array[500 + 0 * i])) t \\gset
		select :t});
}

sub setting
{
	my ($name, $value) = @_;
	sql("alter system set $name = '$value'");
	sql('select pg_reload_conf()');
	await($node, 'postgres', "select current_setting('$name') = '$value'", "$name is $value");
	return;
}

my $movers = q{select string_agg(pid::text, ',') from pg_stat_activity where backend_type = 'taskex mover'};
my $again = q{drop extension taskex cascade; create extension taskex};

# dropped(NAME, STATE, RATE, HOW): the exchange goes when a move is in STATE, by the statements HOW
sub dropped
{
	my ($name, $state, $rate, $how) = @_;
	market('old');
	setting('taskex.move_rate', $rate);
	my $move = sql(q{select taskex.migrate_user('old', 'p2')});
	ok($node->poll_query_until('postgres', "select state = '$state' and rows > 0 from taskex.migrations where migration_id = $move"), "$name: it is $state")
		or diag(sql('select m::text from taskex.migrations m'));
	my $pids = sql($movers);
	like($pids, qr/^\d/, "$name: by a mover");
	sql($how);
	my $began = time;
	ok(until_true(sub { sql("select count(*) from pg_stat_activity where pid in ($pids) and backend_type = 'taskex mover'") == 0 }), "$name: its mover has ended");
	note(sprintf '%s: %.2f s later', $name, time - $began);

	# the same number, another user
	my $type = market('new');
	setting('taskex.move_rate', 0);
	$began = time;
	is(sql(q{select taskex.migrate_user('new', 'p2')}), $move, "$name: a move of the same number");
	ok($node->poll_query_until('postgres', "select finished_at is not null from taskex.migrations where migration_id = $move"), "$name: it ends");
	note(sprintf '%s: after %.2f s', $name, time - $began);
	is(sql("select state || coalesce(': ' || error, '') from taskex.migrations"), 'done', "$name: well");
	is(sql(q{select partition, (select count(*) from taskex.tasks where requester = 'new') from taskex.route('new')}), 'p2|4000', "$name: with all he has");
	is(sql(q{select partition from taskex.route('third')}), 'p1', "$name: and nobody else");
	like(sql("select taskex.create_task('new', $type, '{}')"), qr/^\d+$/, "$name: he goes on");
	is(sql('select count(*) from _taskex.migration_log'), '0', "$name: nothing is left to follow");
	is(sql(q{select count(*) from _taskex.task where partition_id <> 2}), '0', "$name: nothing is left behind");
	is(sql(q{select count(*) from pg_locks l where locktype = 'advisory' and not exists (select from pg_stat_activity a where a.pid = l.pid)}), '0', "$name: no lock either");
	ok_checks($node, 'postgres', $name);
	sql($again);
	return;
}

sql($again);
dropped('while it is copied', 'copying', '500kB', $again);
dropped('in one transaction', 'copying', '500kB', "begin; $again; commit");
dropped('while it waits for room', 'copying', '100kB', $again);
dropped('gone for long', 'copying', '500kB', 'drop extension taskex cascade; select pg_sleep(0.5); create extension taskex');
dropped('while it is cleaned', 'cleaning', '500kB', $again);

$node->stop;
my $log = slurp_file($node->logfile);
unlike($log, qr/PANIC|TRAP|XX000|terminated by signal/, 'nothing worse in the log');
note(join '', $log =~ /(?:LOG|WARNING|ERROR|FATAL):  .*(?:migration|moved|moving|cache lookup|relation).*\n/g);
done_testing();
