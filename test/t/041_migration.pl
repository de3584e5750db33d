# The movers at work: killed at each boundary between two states and within a batch,
# with a reader whose snapshot is old, with transactions that stay open and prepared
# ones, cancelled, out of hours; partitions drained, dropped and moved while they are used;
# a table that cannot be written. Nothing is doubled, lost or left behind.

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
log_min_messages = warning
taskex.conductor_interval = 50ms
# an eighth of it is the ring that a mover's copies go through
shared_buffers = 16MB
});
make_partitions($node, 3);

sub sql { return $node->safe_psql('postgres', $_[0]) }

sql(q{
	do $$ begin
		perform taskex.register_user(u, partition => 'p1') from unnest(array['req', 'perf', 'other']) u;
		perform taskex.deposit('req', 1000, 'start'), taskex.deposit('other', 10, 'start');
	end $$;
	create table held (n serial, task bigint);
	-- what the user has, wherever he lives
	create function holdings(who text) returns text language sql as $f$
		select format('%s tasks, sum %s, balance %s, %s assignments', (select count(*) from taskex.tasks where requester = who),
			(select sum(task_id) from taskex.tasks where requester = who), (select b from taskex.balance(who) b),
			(select count(*) from taskex.assignments where performer = who)) $f$;
	-- rows of the user that lie where he does not live
	create function left_behind(who bigint) returns bigint language plpgsql as $f$
	declare
		t record;
		n bigint;
		total bigint := 0;
	begin
		for t in select c.*, p.partition_id from _taskex.child_table c, _taskex.partition p
				where p.partition_id <> (select partition_id from _taskex.directory where user_id = who) loop
			execute format('select count(*) from _taskex.%I x where %s', t.table_name || '_' || t.partition_id,
				coalesce(t.owned, format('x.%I = $1', t.owner))) into n using who;
			total := total + n;
		end loop;
		return total;
	end $f$;
});
sql(q{select taskex.create_environment('later', 'external')});
my $type = sql(q{select taskex.create_task_type('req', 'Move', 0.01)});
my $id = sql(q{select user_id from taskex.users where login = 'req'});
sql("select count(*) from generate_series(1, 4) i, lateral taskex.create_tasks('req', $type, array_fill('{\"x\": 1}'::jsonb, array[500 + 0 * i])) t");
sql("select count(*) from taskex.accept_next('perf', $type, 50)");

sub home { return sql(q{select partition from taskex.users where login = 'req'}) }
sub elsewhere { return home() eq 'p1' ? 'p2' : 'p1' }
sub state_of { return sql("select state from taskex.migrations where migration_id = $_[0]") }
sub ended
{
	my ($m, $state, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->poll_query_until('postgres', "select finished_at is not null from taskex.migrations where migration_id = $m");
	return is(sql("select state || coalesce(': ' || error, '') from taskex.migrations where migration_id = $m"), $state, $name);
}
sub whole
{
	my ($before, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql("select holdings('req')"), $before, "$name: he has what he had");
	is(sql("select left_behind($id)"), '0', "$name: nothing is left behind");
	return;
}
sub setting
{
	my ($name, $value) = @_;
	sql("alter system set $name = '$value'");
	sql('select pg_reload_conf()');
	return;
}

# ---- killed everywhere

sub killed_at
{
	my ($point, $cancel) = @_;
	my $what = $point . ($cancel ? ', cancelled' : '');
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('select pg_advisory_lock(7411)');
	setting('taskex.move_rate', '100kB') if $cancel;
	setting('taskex.wait_point', $point);
	my $m = sql("select taskex.migrate_user('req', '" . elsewhere() . "')");
	if ($cancel)
	{
		$node->poll_query_until('postgres', "select state = 'copying' from taskex.migrations where migration_id = $m");
		sql("select taskex.cancel_migration($m)");
		setting('taskex.move_rate', 0);
	}
	ok($node->poll_query_until('postgres', q{select count(*) > 0 from pg_stat_activity where backend_type = 'taskex mover'
		and wait_event = 'advisory'}), "$what: the mover is there");
	# somebody works meanwhile; where the switch is held he must wait
	sql("select taskex.create_task('req', $type, '{\"x\": 2}')") if $point !~ /cleaning/;
	my $before = sql("select holdings('req')");
	ok(kill_process($node, q{select pid from pg_stat_activity where backend_type = 'taskex mover' and wait_event = 'advisory' limit 1}), "$what: it is killed");
	my $killed = time;
	$holder->quit if eval { $holder->query('select 1'); 1 };
	setting('taskex.wait_point', '');
	ok(until_true(sub { state_of($m) =~ /done|cancelled|failed/ }), sprintf '%s: it has ended', $what);
	note(sprintf '%.1f s after the kill', time - $killed);
	is(state_of($m), $cancel ? 'cancelled' : 'done', "$what: as it should");
	whole($before, $what);
	return;
}

killed_at($_) for qw(move_preparing move_copying move_batch move_following move_switching move_cleaning move_done);
killed_at('move_undoing', 1);
ok_checks($node, 'postgres', 'after the kills');

# ---- an old snapshot, and transactions that stay open

my $before = sql("select holdings('req')");
my $reader = $node->background_psql('postgres', on_error_stop => 0);
$reader->query_safe("begin isolation level repeatable read; select holdings('req');");
my $m = sql("select taskex.migrate_user('req', '" . elsewhere() . "')");
ended($m, 'done', 'a reader with an old snapshot holds up nothing');
sql("select taskex.create_task('req', $type, '{\"x\": 3}')");
is($reader->query("select holdings('req')"), $before, 'he sees what he saw');
$reader->query("select taskex.create_task('req', $type, '{\"x\": 3}')");
like($reader->{stderr}, qr/ERROR/, 'and may not write with it');
$reader->query('rollback');
$reader->{stderr} = '';

$before = sql("select holdings('req')");
my $partition = sql("select partition_id from taskex.partitions where name = '" . home() . "'");
sql("begin; select count(*) from (select from _taskex.task_$partition limit 1 for update) t; prepare transaction 'plain'");
$m = sql("select taskex.migrate_user('req', '" . elsewhere() . "')");
await($node, 'postgres', "select state = 'preparing' and waits_for = '{0}' from taskex.migrations where migration_id = $m", 'a prepared transaction is waited for, and named');
sql("commit prepared 'plain'");
ended($m, 'done', 'when it has ended the move goes on');

my $writer = $node->background_psql('postgres');
$m = sql("select taskex.migrate_user('req', '" . elsewhere() . "')");
setting('taskex.max_movers', 0);
$writer->query_safe('select 1');
setting('taskex.max_movers', 2);
$writer->query_safe("begin; select taskex.create_task('req', $type, '{\"x\": 4}')");
$node->poll_query_until('postgres', "select attempts > 0 or state in ('done', 'cleaning', 'preparing') from taskex.migrations where migration_id = $m");
my $began = time;
sql("select taskex.create_task('req', $type, '{\"x\": 5}')");
ok(time - $began < 20, 'who writes beside an open transaction waits for no longer than the switch tries');
$writer->query_safe('commit');
ended($m, 'done', 'an open transaction of his is waited for');

# of a subtransaction that is under way at the switch, rows at the new home bear the number
setting('taskex.max_movers', 0);
my $hand = $node->background_psql('postgres', on_error_stop => 0);
$m = sql("select taskex.migrate_user('req', '" . elsewhere() . "')");
sub go { my $upto = shift; return until_true(sub { $hand->query_safe("select _taskex.move_step($m)") eq $upto }) }
ok(go('following'), 'all is copied');
$writer->query_safe("begin; savepoint s; select taskex.create_task('other', $type, '1')");
ok(go('cleaning'), 'he is switched while somebody else writes in a subtransaction');
$writer->query_safe("select taskex.cancel_task('req', (select max(task_id) from taskex.tasks where requester = 'req' and state = 'available')); commit");
ok(eval { go('done') }, 'what that writes of his then is no difference') || diag($hand->{stderr});

# the same with one that is younger than whatever has ended by then
setting('taskex.move_stall', '60s');
$m = sql("select taskex.migrate_user('req', '" . elsewhere() . "')");
ok(go('switching'), 'all is copied again');
$writer->query_safe("begin; select taskex.create_task('other', $type, '2')");
my $holder = $node->background_psql('postgres');
$holder->query_safe("begin; select taskex.create_task('req', $type, '3')");
$hand->query_until(qr/begun/, 
	"\\echo begun\ndo \$\$ declare s text := ''; begin while s <> 'cleaning' loop s := _taskex.move_step($m); commit; end loop; end \$\$;\n");
await($node, 'postgres', q{select exists (select from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock' and not granted)}, 'the switch waits for who writes');
$writer->query_safe("savepoint s; select taskex.create_task('other', $type, '4')");
$holder->query_safe('commit');
is($hand->query_safe("select state from taskex.migrations where migration_id = $m"), 'cleaning', 'he is switched while somebody else has begun a subtransaction meanwhile');
$writer->query_safe("select taskex.cancel_task('req', (select max(task_id) from taskex.tasks where requester = 'req' and state = 'available')); commit");
ok(eval { go('done') }, 'what that writes of his then is no difference, either') || diag($hand->{stderr});
sql('alter system reset taskex.move_stall'); sql('select pg_reload_conf()');
$holder->quit;

# nor of one of so many that snapshots do not know them all; but what differs for no reason is seen, also if it was
# copied after that began
$writer->query_safe(q{begin; do $$ begin for i in 1 .. 80 loop begin insert into held (task) values (i); exception when others then raise; end; end loop; end $$});
$m = sql("select taskex.migrate_user('req', '" . elsewhere() . "')");
my $source = sql("select partition_id from taskex.partitions where name = '" . home() . "'");
ok(go('following'), 'all is copied again');
$writer->query_safe("savepoint s; select taskex.create_task('other', $type, '1')");
ok(go('cleaning'), 'he is switched while somebody else has 81 subtransactions');
$writer->query_safe("select taskex.cancel_task('req', (select max(task_id) from taskex.tasks where requester = 'req' and state = 'available')); commit");
my $one = sql("select min(task_id) from _taskex.task_$source where requester_id = $id");
sql(q{create function c_as_mover() returns void language c as '$libdir/taskex', 'taskex_move_as_mover'});
my $spoil = "begin; select c_as_mover(); update _taskex.task_$source set performers = performers %s 1 where task_id = $one; commit";
sql(sprintf $spoil, '+');
ok(!eval { go('done') }, 'a row left behind that its copy does not equal is not deleted');
like($@, qr/the copy of a row of table "task_$source" differs/, 'that is told');
$hand->{stderr} = '';
is(sql("select count(*) from _taskex.task_$source where task_id = $one"), '1', 'it is there');
sql(sprintf $spoil, '-');
ok(eval { go('done') }, 'what the subtransaction wrote is no difference') || diag($hand->{stderr});

# keys of rows are known whatever the time zones and the styles of dates of those who write, and of the mover
my @runs = map { sql("select taskex.submit_run('req', null, '1', options => '{\"environment\": \"later\", \"run_at\": \"2100-01-01T00:0$_:00Z\"}')") } 1 .. 6;
my @far = map { $node->background_psql('postgres') } 1, 2;
$far[0]->query_safe(q{set timezone = 'Asia/Kolkata'; set datestyle = 'German'});
$far[1]->query_safe(q{set timezone = 'America/St_Johns'; set datestyle = 'SQL, MDY'});
$hand->query_safe(q{set timezone = 'Pacific/Chatham'; set datestyle = 'Postgres, DMY'});
$m = sql("select taskex.migrate_user('req', '" . elsewhere() . "')");
for my $state (qw(following cleaning done))
{
	ok(eval { go($state) }, "$state, in another time zone") || diag($hand->{stderr});
	next if $state eq 'done';
	my $lives = sql("select partition_id from _taskex.directory where user_id = $id");
	for my $far (@far)
	{
		my $run = shift @runs;
		$far->query_safe("delete from _taskex.run_wait where run_id = $run and partition_id = $lives; select taskex.cancel_run($run)");
	}
}
is(sql("select count(*) from _taskex.run_wait where customer_id = $id"), '2', 'what two sessions in other time zones took away is gone, the rest is there');
$_->quit for @far;
sql("select taskex.cancel_run($_)") for @runs;
setting('taskex.max_movers', 2);
$hand->quit;
$writer->quit;
$reader->quit;
whole(sql("select holdings('req')"), 'after open transactions');

# ---- limits

setting('taskex.move_window', sql(q{select to_char(now() + interval '2 h', 'HH24:MI') || '-' || to_char(now() + interval '3 h', 'HH24:MI')}));
$m = sql("select taskex.migrate_user('req', '" . elsewhere() . "')");
usleep(1_500_000);
is(state_of($m), 'queued', 'outside of the window nothing begins');
setting('taskex.move_window', '');
ended($m, 'done', 'in it, it does');
setting('taskex.move_rate', '100kB');
$m = sql("select taskex.migrate_user('req', '" . elsewhere() . "')");
await($node, 'postgres', "select state = 'copying' and rows > 0 and rows < rows_total and eta > now() from taskex.migrations where migration_id = $m", 'with a low rate it copies for long, and tells until when');
$before = sql("select holdings('req')");
sql("select taskex.cancel_migration($m)");
setting('taskex.move_rate', 0);
ended($m, 'cancelled', 'it is cancelled');
whole($before, 'cancelled');

# the next file of the WAL is made before somebody would have to wait for it
my $next = q{select count(*) from pg_ls_waldir() where name ~ '^[0-9A-F]{24}$' and name > pg_walfile_name(pg_current_wal_insert_lsn())};
for (1 .. 100)
{
	last if sql($next) eq '0';
	sql('select pg_current_xact_id(); select pg_switch_wal()');
}
is(sql($next), '0', 'no file of the WAL is kept');
$m = sql("select taskex.migrate_user('req', '" . elsewhere() . "')");
ended($m, 'done', 'he moves');
is(sql($next), '1', 'the mover has made the next one');

# at most taskex.max_movers at once, however they came to be
my $movers = q{select count(*) from pg_stat_activity where backend_type = 'taskex mover'};
sub most
{
	my ($most, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	await($node, 'postgres', "select ($movers) = $most", "$most are at work");
	my %seen;
	for (1 .. 40) { $seen{ sql($movers) }++; usleep(25_000) }
	return is((sort { $b <=> $a } keys %seen)[0], $most, $name);
}
sql("select taskex.register_user('many' || i, partition => 'p1'), taskex.deposit('many' || i, 10, 'start') from generate_series(1, 8) i");
sql("select count(*) from generate_series(1, 8) i, lateral taskex.create_tasks('many' || i, $type, array_fill('1'::jsonb, array[200])) t");
setting('taskex.move_rate', '10kB');
sql("select taskex.migrate_user('many' || i, 'p2') from generate_series(1, 8) i");
most(2, 'and no more, though there are eight to be moved');
setting('taskex.max_movers', 3);
most(3, 'and no more, where another may be');
my $conductor = conductor_pid($node, 'postgres');
sql("select pg_terminate_backend($conductor)");
await($node, 'postgres', "select count(*) = 1 from pg_stat_activity where backend_type = 'taskex conductor' and pid <> $conductor", 'there is another conductor');
most(3, 'and no more, though it has started none of them');
setting('taskex.max_movers', 1);
most(1, 'where one may be the others end');
is(sql(q{select count(*) > 0 from taskex.migrations where login like 'many%' and finished_at is null}), 't', 'all that time there was work');
setting('taskex.move_rate', 0);
$node->poll_query_until('postgres', q{select count(*) = 8 from taskex.migrations where login like 'many%' and state = 'done'});
is(sql(q{select count(*) from taskex.users where login like 'many%' and partition = 'p2'}), '8', 'all have moved');
setting('taskex.max_movers', 2);

# what is copied takes the place of little else in memory
sql(q{create extension pg_buffercache});
sql(q{select taskex.register_user('wide', partition => 'p1'), taskex.deposit('wide', 1000, 'start')});
sql("select count(*) from taskex.create_tasks('wide', $type, array_fill(to_jsonb((select string_agg(md5(i::text), '') from generate_series(1, 40) i)), array[1000]))") for 1 .. 5;
{
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('select pg_advisory_lock(7411)');
	setting('taskex.wait_point', 'move_following');
	$m = sql(q{select taskex.migrate_user('wide', 'p3')});
	await($node, 'postgres', q{select count(*) > 0 from pg_stat_activity where backend_type = 'taskex mover' and wait_event = 'advisory'}, 'all is copied');
	my $target = '_taskex.task_' . sql(q{select partition_id from taskex.partitions where name = 'p3'});
	my ($pages, $kept) = split /\|/, sql("select pg_relation_size('$target') / 8192, count(*) from pg_buffercache
		where relfilenode = pg_relation_filenode('$target') and relforknumber = 0 and reldatabase = (select oid from pg_database where datname = 'postgres')");
	cmp_ok($pages, '>', 600, 'these are many pages');
	cmp_ok($kept, '<', 320, 'they went through an eighth of the shared buffers');
	$holder->quit;
	setting('taskex.wait_point', '');
	ended($m, 'done', 'he moves');
}

# whose home has changed is cleared away in turns with those who have not moved yet; each page of his is written whole
setting('taskex.max_movers', 1);
sql('checkpoint');
my $gate = $node->background_psql('postgres');
$gate->query_safe('select pg_advisory_lock(7411)');
setting('taskex.wait_point', 'move_cleaning');
my $slow = sql(q{select taskex.migrate_user('wide', 'p1')});
await($node, 'postgres', q{select count(*) > 0 from pg_stat_activity where backend_type = 'taskex mover' and wait_event = 'advisory'}, 'one is to be cleared away');
setting('taskex.move_rate', '1MB');
my $soon = sql("select taskex.migrate_user('many1', case partition when 'p1' then 'p2' else 'p1' end) from taskex.users where login = 'many1'");
setting('taskex.wait_point', '');
$gate->quit;
$node->poll_query_until('postgres', "select switched_at is not null from taskex.migrations where migration_id = $soon");
setting('taskex.move_rate', 0);
ended($_, 'done', 'both end') for $slow, $soon;
is(sql("select s.switched_at < l.finished_at from taskex.migrations s, taskex.migrations l where s.migration_id = $soon and l.migration_id = $slow"),
	't', 'another one moves meanwhile, though there is one mover');
setting('taskex.max_movers', 2);

# all movers together keep to taskex.move_rate; what is written besides is little
sql("select taskex.deposit('other', 100, 'more')");
sql("select count(*) from generate_series(1, 3) i, lateral taskex.create_tasks('other', $type, array_fill('{\"x\": 1}'::jsonb, array[500 + 0 * i])) t");
sql('checkpoint');
$node->poll_query_until('postgres', "select ($movers) = 0");
my $rate = 400;
setting('taskex.move_rate', $rate . 'kB');
my $wal = sql('select pg_current_wal_insert_lsn()');
my $from = time;
my @both = map { sql("select taskex.migrate_user('$_', case (select partition from taskex.users where login = '$_') when 'p1' then 'p2' else 'p1' end)") } qw(req other);
ended($_, 'done', 'he moves at a limited rate') for @both;
my $took = time - $from;
my $least = sql("select pg_current_wal_insert_lsn() - '$wal'") / 1024 / $rate;
ok($took > 0.7 * $least && $took < 1.5 * $least + 10, sprintf 'two who moved together took %.1f s, at the rate that is %.1f s', $took, $least);
ok($least > 3, 'that was long enough to tell');
setting('taskex.move_rate', 0);

# ---- a table of the target that cannot be written

SKIP:
{
	my $file = $node->data_dir . '/' . sql("select pg_relation_filepath('_taskex.profile_' || partition_id) from taskex.partitions where name = 'p3'");
	$before = sql("select holdings('req')");
	chmod 0, $file or skip 'permissions cannot be taken away', 7;
	if (-r $file) { chmod 0600, $file; skip 'permissions mean nothing to this user', 7 }
	$m = sql(q{select taskex.migrate_user('req', 'p3')});
	my $other = sql(q{select taskex.migrate_user('other', case (select partition from taskex.users where login = 'other') when 'p2' then 'p1' else 'p2' end)});
	ended($other, 'done', 'others go on moving');
	await($node, 'postgres', "select error ~ 'Permission denied' from taskex.migrations where migration_id = $m", 'the error says what is wrong');
	is(sql("select holdings('req')"), $before, 'he goes on where he was');
	await($node, 'postgres', "select attempts > 2 from _taskex.migration where migration_id = $m", 'it is tried again');
	my $told = () = slurp_file($node->logfile) =~ /migration $m failed in a step.*Permission denied/g;
	is($told, 1, 'but logged once');
	chmod 0600, $file;
	$node->poll_query_until('postgres', "select finished_at is not null from taskex.migrations where migration_id = $m");
	is(state_of($m), 'done', 'when it is mended he moves');
	whole($before, 'mended');
}

# ---- whole partitions

sql("select taskex.register_user('u' || i, partition => 'p1') from generate_series(1, 30) i");
sql(q{create table type_of as select taskex.create_task_type('u' || i, 'Drained', 0) t, 'u' || i u from generate_series(1, 30) i});
sql(q{create procedure work() language plpgsql as $$
	declare
		r record;
	begin
		for i in 1 .. 10 loop
			for r in select * from type_of loop
				perform taskex.create_task(r.u, r.t, to_jsonb(i));
				commit;
			end loop;
		end loop;
	end $$});
sql("select taskex.drain_partition('p1')");
sql('call work()');
await($node, 'postgres', q{select users_left = 0 and moving = 0 from taskex.drains where partition = 'p1'}, 'a partition is drained under load');
is(sql(q{select count(*) from taskex.tasks where requester ~ '^u'}), 300, 'no task was refused');
is(sql(q{select count(*) from taskex.users where partition = 'p1'}), 0, 'nobody is there any more');
sql("select taskex.drop_partition('p1')");
is(sql(q{select count(*) from taskex.partitions where name = 'p1'}), 0, 'so it can be dropped');

my $users = sql(q{select count(*) from taskex.users where partition = 'p2'});
sql("select taskex.move_partition('p2', 'ts1')");
sql('call work()');
await($node, 'postgres', q{select count(*) = 0 from taskex.drains where drop_empty}, 'a partition is moved under load');
is(sql(q{select tablespace || ' ' || state from taskex.partitions where name ~ '^p2'}), 'ts1 active', 'to the other tablespace, under its name');
is(sql(q{select count(*) from taskex.users where partition = 'p2'}), $users, 'with all its users');
is(sql(q{select count(*) from taskex.tasks where requester ~ '^u'}), 600, 'no task was refused');
is(sql('select count(*) from _taskex.migration_log'), 0, 'nothing is in the log');
ok_checks($node, 'postgres', 'at the end');

# ---- no worker slot: there is none beside PostgreSQL's, the launcher's and the conductor's

$node->append_conf('postgresql.conf', 'max_worker_processes = 3');
$node->restart;
$m = sql("select taskex.migrate_user('req', 'p2')");
my $moves = "from taskex.health where check_name = 'moves'";
await($node, 'postgres', "select not ok and detail like '1 moves wait: no worker slot is free%' $moves", 'health tells that there is no worker slot for a mover');
usleep(500_000);
my $told = () = slurp_file($node->logfile) =~ /could not start a mover: no worker slot is free/g;
is($told, 1, 'the log does so once');
setting('taskex.max_movers', 0);
await($node, 'postgres', "select ok and detail = '1 moves wait: taskex.max_movers is 0' $moves", 'not where none is to work');
setting('taskex.max_movers', 2);
$node->append_conf('postgresql.conf', 'max_worker_processes = 16');
$node->restart;
ended($m, 'done', 'with a slot he moves');
is(sql("select ok $moves"), 't', 'and all is well');

done_testing();
