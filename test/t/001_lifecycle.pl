# The extension's life around the exchange's work: without preload, dropped and
# made again under a running conductor, databases dropped, copied, dumped and
# restored, settings reloaded.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

# A statement that must end soon; returns the error text.
sub prompt
{
	my ($node, $db, $sql) = @_;
	my ($out, $err);
	my $timed_out = 0;
	$node->psql($db, $sql, stdout => \$out, stderr => \$err,
		timeout => $PostgreSQL::Test::Utils::timeout_default / 3, timed_out => \$timed_out);
	return $timed_out ? "timed out: $sql" : $err;
}

sub balances
{
	my ($node, $db) = @_;
	return $node->safe_psql($db, q{select login, b.available, b.held
		from taskex.users u, taskex.balance(u.login) b order by login});
}

#
# Without shared_preload_libraries
#
my $bare = new_cluster('bare', preload => 0, extension => 0);
# in two databases at the same moment: the second waits for the roles that both make
$bare->safe_psql('postgres', 'create database other');
for my $made ('the roles', 'their memberships')
{
	my @both = map { $bare->background_psql($_, on_error_stop => 0) } qw(postgres other);
	$both[0]->query_safe('begin; create extension taskex');
	$both[1]->query_until(qr/begun/, "\\echo begun\ncreate extension taskex;\n");
	await($bare, 'template1', q{select count(*) = 1 from pg_stat_activity where datname = 'other' and wait_event_type = 'Lock'}, "waits for $made");
	$both[0]->query_safe('commit');
	is($both[1]->query(q{select count(*) from pg_extension where extname = 'taskex'}), 1, "$made are made by two databases at once");
	$_->quit for @both;
	is($bare->safe_psql('postgres', q{select count(*) from pg_auth_members where roleid::regrole::text ~ '^taskex_'}), 2, '... and once');
	$bare->safe_psql($_, 'drop extension taskex') for qw(postgres other);
	$bare->safe_psql('postgres', 'revoke taskex_user from taskex_app; revoke taskex_app from taskex_admin');
}
is(prompt($bare, 'postgres', 'create extension taskex'), '', 'installs without preload');
is(sqlstate_of($bare, 'postgres', q{select * from taskex.route('nobody')}), 'TX000',
	'a function that needs shared memory has its own error');
my ($out, $err);
$bare->psql('postgres', q{select taskex.register_user('someone')}, stdout => \$out, stderr => \$err);
like($err, qr/HINT: .*shared_preload_libraries/, 'which says what to do');
is($bare->safe_psql('postgres', q{select ok, detail from taskex.health where check_name = 'loaded'}),
	'f|add taskex to shared_preload_libraries and restart the server', 'as does taskex.health');
is($bare->safe_psql('postgres', 'select count(*) from taskex.users where false'), '0', 'views can be read');
$bare->command_ok([ 'pg_dump', '-f', $bare->basedir . '/bare.sql', 'postgres' ], 'can be dumped without preload');
is(prompt($bare, 'postgres', 'drop extension taskex'), '', 'and dropped');
$bare->stop;

#
# One exchange
#
my $node = new_cluster('main', extension => 0);
$node->safe_psql('postgres', 'create database shop');
is(conductor_pid($node, 'shop'), '', 'no conductor without the extension');
$node->safe_psql('shop', 'create extension taskex');
await_conductor($node, 'shop', 'a conductor comes by itself');
make_partitions($node, 2, db => 'shop');
my $type = make_market($node, db => 'shop');
ok(round_trip($node, $type, db => 'shop'), 'the exchange works');

# DROP EXTENSION under the conductor, with sessions that have cached everything
my $session = $node->background_psql('shop', on_error_stop => 0);
$session->query(q{select * from taskex.route('req')});
is(prompt($node, 'shop', 'begin; drop extension taskex cascade; rollback'), '', 'DROP EXTENSION rolled back');
ok(round_trip($node, $type, db => 'shop'), 'leaves the exchange as it was');
is(prompt($node, 'shop', 'drop extension taskex'), '', 'DROP EXTENSION while the conductor runs');
is($node->safe_psql('shop', q{select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace
	where nspname in ('taskex', '_taskex')}), '0', 'leaves nothing behind');
await($node, 'template1', q{select count(*) = 0 from pg_stat_activity
	where backend_type = 'taskex conductor' and datname = 'shop'}, 'the conductor goes');
is(prompt($node, 'shop', 'create extension taskex'), '', 'CREATE EXTENSION again');
await_conductor($node, 'shop', 'the conductor comes again');
is(sqlstate_of($node, 'shop', q{select * from taskex.route('req')}), 'TX001', 'nobody of before is known');
make_partitions($node, 2, db => 'shop');
$type = make_market($node, db => 'shop');
ok(round_trip($node, $type, db => 'shop'), 'the new exchange works');
is($session->query(q{select partition from taskex.route('req')}),
	$node->safe_psql('shop', q{select partition from taskex.route('req')}),
	'a session of before sees the new one');
$session->quit;

# an exchange that is made before the launcher has noticed that the conductor ended without one
$node->safe_psql('postgres', 'create database anew');
$node->safe_psql('anew', 'create extension taskex');
await_conductor($node, 'anew', 'another exchange has a conductor');
my $launcher = $node->safe_psql('postgres', q{select pid from pg_stat_activity where backend_type = 'taskex launcher'});
kill 'STOP', $launcher or die "the launcher is not there\n";
is(prompt($node, 'anew', 'drop extension taskex'), '', 'DROP EXTENSION while the launcher does not look');
await($node, 'template1', q{select count(*) = 0 from pg_stat_activity
	where backend_type = 'taskex conductor' and datname = 'anew'}, 'the conductor ends');
is(prompt($node, 'anew', 'create extension taskex'), '', 'CREATE EXTENSION before it looks');
kill 'CONT', $launcher;
await_conductor($node, 'anew', 'the new exchange has its conductor');
is(prompt($node, 'postgres', 'drop database anew'), '', 'and can be dropped');

#
# Reload
#
my $due = sub {
	return $node->safe_psql('shop', qq{
		select taskex.create_task('req', $type, '{}', expires_in => '1 millisecond') });
};
# the table, not the view, which tells the state that a task should have
my $expired = sub { return "select state = 'expired' from _taskex.task where task_id = $_[0]" };

sub set_conf { $node->append_conf('postgresql.conf', join "\n", @_); return }

set_conf('taskex.conductor = off');
$node->reload;
ok(await_rounds($node, 'shop'), 'the conductor, switched off, still comes round');
my $task = $due->();
await_rounds($node, 'shop');
is($node->safe_psql('shop', $expired->($task)), 'f', 'but nothing expires');
$node->safe_psql('shop', 'select * from taskex.run_due()');
is($node->safe_psql('shop', $expired->($task)), 't', 'unless run_due is called');
$task = $due->();
set_conf('taskex.conductor = on');
$node->reload;
await($node, 'shop', $expired->($task), 'switched on again, it does what became due');

# the reload itself wakes it once, more rounds come from the interval
set_conf('taskex.conductor = off', 'taskex.conductor_interval = 1h');
$node->restart;
await_conductor($node, 'shop', 'a conductor with a long interval');
set_conf('taskex.conductor_interval = 50ms');
$node->reload;
ok(await_rounds($node, 'shop'), 'takes over a shorter one');
set_conf('taskex.conductor = on');
$node->reload;
await($node, 'shop', $expired->($due->()), 'and works');

#
# Dump and restore
#
my $open = $node->safe_psql('shop', qq{select taskex.create_task('req', $type, '{"left": "open"}', performers => 2)});
my $taken = $node->safe_psql('shop', qq{select assignment_id from taskex.accept_task('perf', $open)});
my $before = balances($node, 'shop');
my $dump = $node->basedir . '/shop.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'shop' ], 'pg_dump');
$node->safe_psql('postgres', 'create database restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', $dump ], 'pg_restore');
await_conductor($node, 'restored', 'the restored exchange gets a conductor');
is(balances($node, 'restored'), $before, 'with the same balances');
is($node->safe_psql('restored', q{select partition from taskex.route('perf')}),
	$node->safe_psql('shop', q{select partition from taskex.route('perf')}), 'the same homes');
is($node->safe_psql('restored', q{select count(*) from _taskex.child_table}),
	$node->safe_psql('shop', q{select count(*) from _taskex.child_table}),
	'nothing of the extension twice');
is(sqlstate_of($node, 'restored', qq{select taskex.submit_assignment('perf', $taken, '{"answer": 2}')}), '',
	'work begun before the dump is submitted after it');
ok(round_trip($node, $type, db => 'restored'), 'and everything goes on');
is(prompt($node, 'restored', q{do $$ begin perform taskex.register_user('new'); end $$}), '', 'with new users');
is(prompt($node, 'restored', q{create tablespace ts9 location ''}), '', '...');
is(prompt($node, 'restored', q{do $$ begin perform taskex.add_partition('p9', 'ts9'); end $$}), '', 'and partitions');
ok_checks($node, 'restored', 'its books are right');
ok_checks($node, 'shop', 'as are those of the original');

# Parallel jobs restore in any order, so here by hand the worst one: sequences and
# what is due come first, events and nodes last. The conductor must wait for the end.
$node->safe_psql('shop', q{select taskex.subscribe('req')});
# what belongs together comes in any order too, and nothing is done twice
$node->safe_psql('shop', q{
	select taskex.register_user('english', '{"tongue": "en"}');
	select taskex.create_group('speakers', '{req}', '{"contains": {"tongue": "en"}}');
	select _taskex.count_accepts(group_id, 1, now(), 5) from _taskex.performer_group;
	select _taskex.compute_targets();
});
my $groups = q{select (select count(*) from _taskex.group_member), (select count(*) from _taskex.accept_hour),
	(select count(*) from _taskex.accept_series), (select count(*) > 0 from _taskex.supply_target)};
like($node->safe_psql('shop', $groups), qr/^2\|\d+\|\d+\|t$/, 'there are groups of performers');
ok(round_trip($node, $type, db => 'shop'), 'there are events');
await($node, 'shop', q{select count(*) > 3 from _taskex.event}, '(the conductor has made them)');
set_conf('taskex.conductor = off');
$node->reload;
ok(await_rounds($node, 'shop'), 'the conductor rests');
$task = $due->();
$node->command_ok([ 'pg_dump', '-Fd', '-j', '2', '-f', "$dump.d", 'shop' ], 'pg_dump --jobs');
set_conf('taskex.conductor = on');
$node->reload;
$node->safe_psql('postgres', 'create database parallel');
$node->safe_psql('postgres', 'create database pieces');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-j', '2', '-d', 'parallel', "$dump.d" ], 'pg_restore --jobs');
my ($list) = run_command([ 'pg_restore', '-l', "$dump.d" ]);
my $last = qr/(?:TABLE DATA _taskex (?:event|node)|MATERIALIZED VIEW DATA)/;
my @first = grep { !/$last/ } split /\n/, $list;
my @data = reverse grep { /TABLE DATA/ } @first;
append_to_file("$dump.first", join '', map { "$_\n" } map { /TABLE DATA/ ? shift @data : $_ } @first);
append_to_file("$dump.last", join '', map { "$_\n" } grep { /$last/ } split /\n/, $list);
$node->command_ok([ 'pg_restore', '--exit-on-error', '-L', "$dump.first", '-d', 'pieces', "$dump.d" ], 'most of a dump');
await_conductor($node, 'pieces', 'has a conductor');
ok(await_rounds($node, 'pieces'), 'that comes round');
is($node->safe_psql('pieces', $expired->($task)), 'f', 'but does nothing');
is($node->safe_psql('pieces', q{select ok from taskex.health where check_name = 'complete'}), 'f', 'and taskex.health says why');
is(sqlstate_of($node, 'pieces', 'select * from taskex.run_due()'), '55000', 'nor can it be done by hand');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-L', "$dump.last", '-d', 'pieces', "$dump.d" ], 'nothing is in the way of the rest');
for my $db ('parallel', 'pieces')
{
	await($node, $db, $expired->($task), "$db: then it does what is due");
	await($node, $db, qq{select count(*) = 1 from _taskex.event where kind = 'expired' and task_id = $task}, "$db: of which there is an event");
	ok_checks($node, $db, "$db: the books are right");
	is($node->safe_psql($db, $groups), $node->safe_psql('shop', $groups), "$db: and the groups of performers");
	$node->safe_psql('template1', "drop database $db");
}

#
# Copies and ends of databases that have a conductor
#
$before = balances($node, 'shop');
is(prompt($node, 'postgres', 'create database copy template shop'), '', 'CREATE DATABASE ... TEMPLATE');
await_conductor($node, 'copy', 'the copy gets a conductor');
await_conductor($node, 'shop', 'the original keeps one');
is(balances($node, 'copy'), $before, 'the copy has the balances');
ok(round_trip($node, $type, db => 'copy'), 'the copy works');
is(balances($node, 'shop'), $before, 'on its own');

is(prompt($node, 'postgres', 'alter database copy rename to twin'), '', 'ALTER DATABASE ... RENAME');
await_conductor($node, 'twin', 'the renamed one has a conductor');
ok(round_trip($node, $type, db => 'twin'), 'and works');

for my $db (qw(twin restored))
{
	is(prompt($node, 'postgres', "drop database $db"), '', "DROP DATABASE $db");
}
await_conductor($node, 'shop', 'the rest goes on');

# a database of the same name, again
is(prompt($node, 'postgres', 'create database twin'), '', 'a new database of an old name');
is(prompt($node, 'twin', 'create extension taskex'), '', '...');
await_conductor($node, 'twin', 'has its own exchange');
is(sqlstate_of($node, 'twin', q{select * from taskex.route('req')}), 'TX001', 'which is empty');
is(prompt($node, 'postgres', 'drop database twin with (force)'), '', 'DROP DATABASE ... WITH (FORCE)');

#
# A restart
#
$before = balances($node, 'shop');
$node->restart;
await_conductor($node, 'shop', 'after a restart the conductor is there');
is(balances($node, 'shop'), $before, 'the balances are');
ok(round_trip($node, $type, db => 'shop'), 'and all goes on');
ok_checks($node, 'shop', 'the books are right');

$node->stop;
is(scalar(() = slurp_file($node->logfile) =~ /PANIC|TRAP|terminated by signal (?:6|11)/g), 0, 'nothing crashed');

done_testing();
