# Operators and others around a running exchange: what they see of its workers,
# who can send them away, what a dump takes along.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', extension => 0, conf => 'taskex.max_databases = 8');
$node->safe_psql('postgres', 'create database shop');
$node->safe_psql('shop', 'create extension taskex');
await_conductor($node, 'shop', 'there is an exchange');
make_partitions($node, 1, db => 'shop', in_place => 1);

#
# An operator needs no right of PostgreSQL's own to look after it
#
$node->safe_psql('postgres', 'create role operator; create role app');
$node->safe_psql('shop', 'grant taskex_admin to operator; grant taskex_app to app');
is($node->safe_psql('shop', 'set role operator; select check_name, ok, detail from taskex.health order by 1'),
	"complete|t|no restore of a dump is under way\nconductor|t|running\nexecutors|t|0 of 8 run, 0 roles wait for one\ninvoices|t|the last closing has passed nobody by\njournal|t|all acts are dispatched\nload|t|load is measured\nloaded|t|taskex is in shared_preload_libraries\nmetering|t|no run has succeeded lately\nmoves|t|0 moves are under way or queued\npartitions|t|1 active\nqueue|t|0 run, 65536 of 65536 places are free\nroles|t|no run waits for a role\nstorage|t|all storage partitions can be read\nsupplier|t|supplies are off",
	'an operator sees the health of the exchange');
is($node->safe_psql('shop', q{set role operator;
	select worker, pid is not null, state is not null, activity is not null from taskex.activity order by 1}),
	"taskex conductor|t|t|t\ntaskex launcher|t|t|t", 'and what its workers do');
is($node->safe_psql('postgres', 'create extension taskex; select count(*) from taskex.activity where pid = '
	. conductor_pid($node, 'shop')), '0', 'not those of another');
$node->safe_psql('postgres', 'alter system set taskex.supply = on');
$node->safe_psql('postgres', 'select pg_reload_conf()');
ok($node->poll_query_until('shop', q{select ok and detail = 'running' from taskex.health where check_name = 'supplier'}),
	'with supplies a supplier runs');
ok($node->poll_query_until('shop', q{select count(*) = 1 from taskex.activity where worker = 'taskex supplier'}), 'and is shown');

# what a conductor has started ends with it: the next one starts its own, and a database can be had alone
my $workers = q{select pid from pg_stat_activity where datname = 'shop' and backend_type in ('taskex supplier', 'taskex mover')};
$node->safe_psql('postgres', q{alter system set taskex.move_rate = '1kB'});
$node->safe_psql('postgres', 'select pg_reload_conf()');
$node->safe_psql('shop', q{
	select taskex.add_partition('there');
	select taskex.register_user('moved', partition => 'there'), taskex.deposit('moved', 10, 'start');
	select taskex.create_task_type('moved', 'long', 0.01) as type \gset
	select count(*) from taskex.create_tasks('moved', :type, array_fill('{"x": 1}'::jsonb, array[500]));
	select taskex.migrate_user('moved', name) from taskex.partitions where name <> 'there';});
ok($node->poll_query_until('shop', "select count(*) = 2 from ($workers) w"), 'a supplier and a mover run');
my $old = join ',', split /\n/, $node->safe_psql('shop', $workers);
$node->safe_psql('shop', 'select pg_terminate_backend(' . conductor_pid($node, 'shop') . ')');
ok($node->poll_query_until('shop', "select count(*) = 0 from ($workers) w where pid in ($old)"), 'they end with the conductor');
isnt($node->safe_psql('shop', 'select state from taskex.migrations'), 'done', 'and not because there is nothing to do');
await_conductor($node, 'shop', 'another one begins');
ok($node->poll_query_until('shop', "select count(*) > 0 from ($workers) w"), 'with a supplier of its own');
is(sqlstate_of($node, 'postgres', 'alter database shop rename to mine'), '', 'a database that has a supplier can be had alone');
is(sqlstate_of($node, 'postgres', 'alter database mine rename to shop'), '', 'again');
await_conductor($node, 'shop', 'and the conductor is back');
$node->safe_psql('postgres', 'alter system reset taskex.move_rate');
$node->safe_psql('postgres', 'alter system set taskex.supply_interval = 0');
$node->safe_psql('postgres', 'select pg_reload_conf()');
ok($node->poll_query_until('shop', q{select ok and detail like 'none is to run%' from taskex.health where check_name = 'supplier'}),
	'nor does it miss one that is not to run');
ok($node->poll_query_until('shop', q{select count(*) = 0 from taskex.activity where worker = 'taskex supplier'}), 'it ends when none is to run');
$node->safe_psql('shop', q{
	insert into _taskex.group_lease (group_id, task_type_id, watermark, task_ids, requester_ids, slots, taken_at, lease_until)
	select -1, 1, 0, '{}', '{}', '{}', now() - interval '1 hour', now() - interval '2 minutes'});
is($node->safe_psql('shop', q{select ok, detail from taskex.health where check_name = 'supplier'}),
	'f|1 leases of groups are over since a minute and have not gone back', 'health tells of leases that should be gone');
$node->safe_psql('shop', 'delete from _taskex.group_lease');
$node->safe_psql('postgres', 'alter system reset taskex.supply_interval');
$node->safe_psql('postgres', 'alter system reset taskex.supply');
$node->safe_psql('postgres', 'select pg_reload_conf()');
for my $view (qw(health activity))
{
	is(sqlstate_of($node, 'shop', "set role app; select * from taskex.$view"), '42501', "an application does not see taskex.$view");
}

#
# A conductor leaves only for those who may have its database
#
$node->safe_psql('postgres', q{
	create role joe;
	create role maker createdb;
	create role owner;
	create database other;
	create tablespace elsewhere location '';
	grant create on tablespace elsewhere to joe, maker, owner;
});
my $pid = conductor_pid($node, 'shop');
my %wanted = (
	'DROP DATABASE' => 'drop database shop',
	'DROP DATABASE WITH (FORCE)' => 'drop database shop with (force)',
	'ALTER DATABASE RENAME' => 'alter database shop rename to mine',
	'ALTER DATABASE SET TABLESPACE' => 'alter database shop set tablespace elsewhere',
	'CREATE DATABASE TEMPLATE' => 'create database mine template shop',
);
for my $who (qw(joe maker))
{
	for my $what (sort keys %wanted)
	{
		is(sqlstate_of($node, 'postgres', "set role $who; $wanted{$what}"), '42501', "$what is not for $who");
		is(conductor_pid($node, 'shop'), $pid, 'and leaves the conductor where it is');
	}
}
$node->safe_psql('postgres', 'alter database shop owner to owner');
for my $what ('ALTER DATABASE RENAME', 'CREATE DATABASE TEMPLATE')
{
	is(sqlstate_of($node, 'postgres', "set role owner; $wanted{$what}"), '42501', "$what is for creators of databases");
	is(conductor_pid($node, 'shop'), $pid, 'and leaves the conductor where it is');
}
is(sqlstate_of($node, 'postgres', "set role owner; $wanted{'ALTER DATABASE SET TABLESPACE'}"), '',
	'an owner has it for himself');
await_conductor($node, 'shop', 'and the conductor comes back');
$node->safe_psql('postgres', 'alter role owner createdb');
is(sqlstate_of($node, 'postgres', "set role owner; $wanted{'CREATE DATABASE TEMPLATE'}"), '', 'an owner copies it');
is(sqlstate_of($node, 'postgres', 'set role owner; drop database mine'), '', 'drops the copy');
is(sqlstate_of($node, 'postgres', "set role owner; $wanted{'ALTER DATABASE RENAME'}"), '', 'and renames it');
$node->safe_psql('postgres', 'alter database mine rename to shop');
await_conductor($node, 'shop', 'the exchange goes on');

#
# A conductor outlives what invalidates its knowledge, whenever that happens
# (as a vacuum of the directory does)
#
$node->append_conf('postgresql.conf', 'taskex.conductor_interval = 10ms');
$node->reload;
$pid = conductor_pid($node, 'shop');
$node->safe_psql('shop', q{
	do $$ declare
		until timestamptz := clock_timestamp() + interval '4 seconds';
	begin
		while clock_timestamp() < until loop
			alter table _taskex.directory set (fillfactor = 100);
			commit;
		end loop;
	end $$;
});
is(conductor_pid($node, 'shop'), $pid, 'the conductor outlives changes of the tables');

#
# Databases that the launcher never looked into take nobody's place, and one that
# nobody can connect to is left alone
#
my $databases = '';
$databases .= "create database d$_ template template0 allow_connections false;\ndrop database d$_;\n" for 1 .. 45;
$node->safe_psql('postgres', $databases);
$node->safe_psql('postgres', 'create database invalid template template0');
$node->safe_psql('postgres', "update pg_database set datconnlimit = -2 where datname = 'invalid'");
$node->safe_psql('postgres', 'create database late');
$node->safe_psql('late', 'create extension taskex');
await_conductor($node, 'late', 'a new exchange finds room for its conductor');
my $log = -s $node->logfile;
ok(await_rounds($node, 'late'), 'which works');
unlike(slurp_file($node->logfile, $log), qr/invalid database/, 'no conductor tries an invalid database');
$node->safe_psql('postgres', 'drop database invalid');

#
# What is set for all sessions of a database does not stop its conductor
#
my $type = make_market($node, db => 'shop');
$node->safe_psql('postgres', q{alter database shop set default_transaction_read_only = on;
	alter database shop set default_transaction_isolation = 'serializable'});
$node->safe_psql('postgres', 'select pg_terminate_backend(' . conductor_pid($node, 'shop') . ')');
$node->safe_psql('shop', "set default_transaction_read_only = off; select taskex.create_task('req', $type, '1', expires_in => '1 second')");
await($node, 'shop', q{select held = 0 from taskex.balance('req')}, 'a task expires in a database that is read-only by default');
$node->safe_psql('postgres', 'alter database shop reset all');

#
# Who may create in the schema public puts nothing of his into the extension
#
$node->safe_psql('postgres', 'create database open; create role guest');
$node->safe_psql('open', q{
	grant create on schema public to guest;
	set role guest;
	create function public.times(bigint, numeric) returns numeric language plpgsql as
		'begin raise exception $$run as %$$, current_user; end';
	create operator public.* (leftarg = bigint, rightarg = numeric, function = public.times);
	reset role;
	create extension taskex;
	select taskex.add_partition('p1');
});
make_market($node, db => 'open');
is($node->safe_psql('open', q{select available from taskex.transfers where login = 'req'}), '1000', 'an operator of a guest is not called');
is($node->safe_psql('open', q{select count(*) from pg_depend d join pg_operator o on d.refobjid = o.oid
	where d.refclassid = 'pg_operator'::regclass and o.oprnamespace = 'public'::regnamespace}), '0', 'nor referred to');

#
# A dump has what was changed of the local node
#
my $topology = q{select name, location, tier, capacity, state from taskex.nodes order by 1};
$node->safe_psql('shop', q{
	do $$ begin
		perform taskex.add_node('far', 'host=far', 'Oslo', 'gold', '{"cpu": 8}');
		perform taskex.drain_node('local');
	end $$;
	update _taskex.node set location = 'here', capacity = '{"cpu": 2}' where name = 'local';
});
my $before = $node->safe_psql('shop', $topology);
my $dump = $node->basedir . '/shop.dump';
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, 'shop' ], 'pg_dump');
$node->safe_psql('postgres', 'create database restored');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'restored', $dump ], 'pg_restore');
is($node->safe_psql('restored', $topology), $before, 'the nodes are as they were');
is(sqlstate_of($node, 'restored', q{select taskex.register_user('new')}), 'TX004', 'the local one is still drained');
is(sqlstate_of($node, 'restored', q{select taskex.resume_node('local'); select taskex.register_user('new')}), '',
	'until it is resumed');
is($node->safe_psql('restored', q{select taskex.add_node('next'); select max(node_id) from _taskex.node}) + 0, 2,
	'and others come after those there are');


# a role that was dropped is nobody where a dump is restored, though another one may have its number
$node->safe_psql('postgres', 'create database roles');
$node->safe_psql('roles', q{create extension taskex; select taskex.add_partition('p1'); create role "123" login; create role gone login;
	select taskex.register_user('numbered', '{"db_role": "123"}'), taskex.register_user('orphan', '{"db_role": "gone"}'),
		taskex.create_environment('for gone', 'external', options => '{"worker_role": "gone"}'), taskex.create_environment('for 123', 'external', options => '{"worker_role": "123"}')});
my $gone = $node->safe_psql('roles', q{select 'gone'::regrole::oid});
$node->safe_psql('roles', 'drop role gone');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dump.roles", 'roles' ], 'pg_dump after DROP ROLE');
$node->safe_psql('postgres', qq{create database heirs; create role heir login; set allow_system_table_mods = on; update pg_authid set oid = $gone where rolname = 'heir'});
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'heirs', "$dump.roles" ], 'pg_restore');
is($node->safe_psql('heirs', q{select login, db_role from taskex.users order by 1}), qq{numbered|"123"\norphan|}, 'who has lost his role has none');
is($node->safe_psql('heirs', q{select name, worker_role from taskex.environments order by 1}), qq{for 123|"123"\nfor gone|}, '... nor does an environment get workers');
$node->safe_psql('heirs', q{select taskex.update_user('orphan', '{"db_role": "heir"}')});
is($node->safe_psql('heirs', q{select db_role from taskex.users where login = 'orphan'}), 'heir', '... but those that are given to it');

$node->stop;

done_testing();
