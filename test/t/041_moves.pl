# What outlives a session: moves of users on a standby, through a crash, with a
# prepared transaction around. The mover is driven by hand (src/directory/byhand.c).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $primary = new_cluster('primary', init => [ allows_streaming => 1 ]);
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->append_conf('postgresql.conf', 'taskex.conductor = off');
$primary->reload;

make_partitions($primary, 2, in_place => 1);
my $type = make_market($primary);
my $task = $primary->safe_psql('postgres', qq{select taskex.create_task('req', $type, '{}')});
my ($user, $home) = split /\|/, $primary->safe_psql('postgres', q{select user_id, partition_id from _taskex.directory where login = 'req'});
my $other = 3 - $home;

$primary->safe_psql('postgres', q{
	create function publish(bigint, bigint, int, int) returns void language c as '$libdir/taskex', 'taskex_move_publish';
	create function as_mover() returns void language c as '$libdir/taskex', 'taskex_move_as_mover';
	create function fence(bigint, int) returns boolean language c as '$libdir/taskex', 'taskex_move_fence';
	create function switch(bigint, bigint, int, int) returns void language c as '$libdir/taskex', 'taskex_move_switch';
	create function finish(bigint) returns void language c as '$libdir/taskex', 'taskex_move_end';
	create function lives(bigint, int) returns boolean language c as '$libdir/taskex', 'taskex_move_lives';

	create function copy(usr bigint, source int, target int) returns void language plpgsql as $$
	declare
		t record;
		columns text;
		own text;
	begin
		perform as_mover();
		for t in select * from _taskex.child_table order by position loop
			own := coalesce(t.owned, format('x.%I = $1', t.owner));
			columns := (select string_agg(case attname when 'partition_id' then target::text else 'x.' || quote_ident(attname) end, ', ' order by attnum)
				from pg_attribute where attrelid = format('_taskex.%I', t.table_name)::regclass and attnum > 0);
			execute format('delete from _taskex.%I x where %s', t.table_name || '_' || target, own) using usr;
			execute format('insert into _taskex.%I select %s from _taskex.%I x where %s', t.table_name || '_' || target, columns,
				t.table_name || '_' || source, own) using usr;
		end loop;
	end $$;
	create function clean(usr bigint, source int) returns void language plpgsql as $$
	declare
		t record;
	begin
		perform as_mover();
		for t in select * from _taskex.child_table order by position desc loop
			execute format('delete from _taskex.%I x where %s', t.table_name || '_' || source, coalesce(t.owned, format('x.%I = $1', t.owner))) using usr;
		end loop;
	end $$;
});

sub caught_up { $primary->wait_for_catchup('standby', 'replay', $primary->lsn('insert')); return }

# what is to be seen of him: his home, his money, his task by his name and by its id
sub seen
{
	my ($node) = @_;
	return $node->safe_psql('postgres', qq{select r.partition, (b.available + b.held)::int, (select count(*) from taskex.tasks where requester = 'req'),
		(select count(*) from taskex.tasks where task_id = $task) from taskex.route('req') r, taskex.balance('req') b});
}

sub begin_move
{
	my ($id, $source, $target) = @_;
	$primary->safe_psql('postgres', qq{begin;
		insert into _taskex.migration (migration_id, user_id, source, target, reason, state, requested_at, not_before)
			values ($id, $user, $source, $target, 'test', 'copying', now(), 'infinity');
		select publish($id, $user, $source, $target); commit});
	return;
}

sub switch_home
{
	my ($id, $source, $target) = @_;
	return $primary->safe_psql('postgres', qq{begin;
		select fence($user, 10000);
		select copy($user, $source, $target);
		insert into _taskex.forward select task_id, requester_id, 'task' from _taskex.task where partition_id = $target
			and requester_id = $user and task_id % 1024 <> $target % 1024 on conflict do nothing;
		delete from _taskex.migration_log;
		update _taskex.migration set state = 'cleaning', switched_at = now() where migration_id = $id;
		select switch($id, $user, $source, $target); commit});
}

sub end_move
{
	my ($id, $source) = @_;
	$primary->safe_psql('postgres', qq{begin; select clean($user, $source); delete from _taskex.migration_log;
		update _taskex.migration set state = 'done', finished_at = now() where migration_id = $id; select finish($id); commit});
	return;
}

sub logged { return $primary->safe_psql('postgres', q{select count(*) from _taskex.migration_log}) }

my $deposits = 0;
sub deposit { my $n = ++$deposits; return $primary->safe_psql('postgres', qq{select taskex.deposit('req', 1, 'more $n') > 0}) }
sub money { return 1000 + $deposits }

#
# A standby sees each row once, at every step; also by an old snapshot, and by a plan that was made before.
#

my $reader = $standby->background_psql('postgres');
caught_up();
is(seen($standby), "p$home|1000|1|1", 'the standby sees him');
$reader->query_safe(q{prepare his as select count(*) from taskex.tasks where requester = 'req'});
$reader->query_safe(qq{prepare this as select count(*) from taskex.tasks where task_id = $task});
is($reader->query_safe('execute his; execute this'), "1\n1", '... by prepared statements');
begin_move(1, $home, $other);
$primary->safe_psql('postgres', "select copy($user, $home, $other)");
caught_up();
is(seen($standby), "p$home|1000|1|1", '... while he is copied');
is($reader->query_safe('execute his; execute this'), "1\n1", '... by prepared statements');
my $old = $standby->background_psql('postgres');
$old->query_safe('begin isolation level repeatable read; select 1');
switch_home(1, $home, $other);
caught_up();
is(seen($standby), "p$other|1000|1|1", '... when he has moved');
is($reader->query_safe('execute his; execute this'), "1\n1", '... by prepared statements');
is($old->query_safe(qq{select r.partition, (b.available + b.held)::int, (select count(*) from taskex.tasks where requester = 'req')
	from taskex.route('req') r, taskex.balance('req') b}), "p$home|1000|1", '... and by an old snapshot as it was');
$old->query_safe('commit');
end_move(1, $home);
caught_up();
is(seen($standby), "p$other|1000|1|1", '... and in the end');
is($reader->query_safe('execute his; execute this'), "1\n1", '... by prepared statements');
$reader->quit;
$old->quit;

#
# A prepared transaction that wrote for him keeps him where he is.
#

begin_move(2, $other, $home);
$primary->safe_psql('postgres', qq{begin; update _taskex.profile set profile = profile || '{"a": 1}' where user_id = $user and partition_id = $other;
	prepare transaction 'held'});
is($primary->safe_psql('postgres', "select fence($user, 20)"), 'f', 'a prepared transaction keeps him from moving');
is(deposit(), 't', '... and others do not wait for long');
$primary->safe_psql('postgres', q{commit prepared 'held'});
is($primary->safe_psql('postgres', "select fence($user, 10000)"), 't', '... until it is committed');
is(logged(), 2, 'what it wrote was logged, and what others did');

#
# After a crash moves are known before anything is written.
#

$primary->stop('immediate');
$primary->start;
is(deposit(), 't', 'after a crash he can be written for');
is(logged(), 3, '... and it is logged');
is($primary->safe_psql('postgres', "select lives($user, $other), lives($user, $home)"), 't|f', '... where he lives');
is(switch_home(2, $other, $home), "t\n\n", 'the move goes on');
is(seen($primary), "p$home|" . money() . '|1|1', '... and he lives there');

$primary->stop('immediate');
$primary->start;
# the first of all looks is a write by plain SQL
is(sqlstate_of($primary, 'postgres', qq{insert into _taskex.message values ($other, 1, $user, 0, now(), null, 's', 'm')}), '40001',
	'after a crash nothing is written where he has lived');
is($primary->safe_psql('postgres', "select lives($user, $other), lives($user, $home)"), 'f|t', '... for he lives elsewhere');
is(seen($primary), "p$home|" . money() . '|1|1', 'each row of his is seen once');
end_move(2, $other);
is(deposit(), 't', 'he works where he is');
is(logged(), 0, '... unnoticed, for the move has ended');
ok_checks($primary, 'postgres', 'the checks pass');

#
# A promoted standby goes on with the move.
#

begin_move(3, $home, $other);
caught_up();
$primary->stop;
$standby->promote;
$primary = $standby;
is(deposit(), 't', 'a promoted standby writes for him');
# (its conductor may have written for him, too)
cmp_ok(logged(), '>=', 1, '... and knows that he is being moved');
is(switch_home(3, $home, $other), "t\n\n", '... and moves him');
end_move(3, $home);
is(seen($primary), "p$other|" . money() . '|1|1', '... to the end');

done_testing();
