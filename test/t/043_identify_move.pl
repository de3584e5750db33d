# An anonymous user is identified while he, or who he is, is being moved: it works, or a
# clear error says why not now; and then works when the move has gone on. Nothing is lost or doubled.

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
taskex.anonymous_lifetime = 0
taskex.max_movers = 3
log_min_messages = warning
});
make_partitions($node, 2, in_place => 1);
sub sql { return $node->safe_psql('postgres', $_[0]) }
my $type = sql(q{
	select taskex.add_partition('v1', storage_class => 'temporary') as x, taskex.add_partition('v2', storage_class => 'temporary') as y \gset
	do $$ begin
		perform taskex.register_user(u, partition => 'p1') from unnest('{req,known}'::text[]) u;
		perform taskex.deposit('req', 100000, 'start');
	end $$;
	select taskex.create_task_type('req', 'Type', 1, lease => '1 hour')});
sql("select count(*) from generate_series(1, 4) i, lateral taskex.create_tasks('req', $type, array_fill('1'::jsonb, array[500 + 0 * i])) t");

# somebody anonymous who has 4 assignments, one of them approved, and 3 of his own: worth 4
my $people = 0;
sub visitor
{
	my $before_work = shift;
	$people++;
	my $who = sql('select taskex.start_anonymous()');
	$before_work->($who) if $before_work;
	return sql(qq{
		\\set who $who
		select count(*) as x from taskex.accept_next(:'who', $type, 4) \\gset
		select count(taskex.submit_assignment(:'who', assignment_id, '1')) as x
			from (select assignment_id from taskex.assignments where performer = :'who' order by 1 limit 2) a \\gset
		select count(taskex.approve_assignment('req', assignment_id)) as x
			from (select assignment_id from taskex.assignments where performer = :'who' and state = 'submitted' limit 1) a \\gset
		select taskex.deposit(:'who', 3, 'own ' || :'who') as x \\gset
		select :'who'});
}

sub identify { return sqlstate_of($node, 'postgres', "select taskex.identify('$_[0]', 'known')") }
sub home { return sql("select partition from taskex.route('$_[0]')") }
sub elsewhere { return home($_[0]) =~ s/\d/3 - $&/er }
sub setting
{
	my ($name, $value) = @_;
	sql("alter system set $name = '$value'");
	sql('select pg_reload_conf()');
	return;
}

# all that was ever brought is his
sub right
{
	my $name = shift;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is(sql(q{select (select count(*) from taskex.assignments where performer = 'known'), (select count(*) from taskex.assignments where performer = 'known' and state = 'approved'),
			b.available::int, b.held::int from taskex.balance('known') b}), join('|', 4 * $people, $people, 4 * $people, 0), "$name: he has all that $people brought");
	is(sql(q{select count(*) from taskex.users where login like 'anonymous:%'}), '0', "$name: who are gone");
	sql('select count(*) from taskex.run_due()') for 1 .. 2;
	ok_checks($node, 'postgres', $name);
	return;
}

# ---- at each boundary of a move

# stopped(POINT, WHO): his move comes to the wait point, where the mover waits for 100 ms,
# then undoes the step, and comes again later; returns what is to be called to let it go on
sub stopped
{
	my ($point, $who) = @_;
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('select pg_advisory_lock(7411)');
	setting('taskex.wait_point', $point);
	await($node, 'postgres', "select current_setting('taskex.wait_point') = '$point'", "$point is set");
	my $move = sql("select taskex.migrate_user('$who', '" . elsewhere($who) . "')");
	ok($node->poll_query_until('postgres', q{select count(*) > 0 from pg_stat_activity where backend_type = 'taskex mover' and wait_event = 'advisory'}), "$point: there he is");
	return sub {
		setting('taskex.wait_point', '');
		$holder->query_safe('select pg_advisory_unlock(7411)');
		$holder->quit;
		ok($node->poll_query_until('postgres', "select finished_at is not null from taskex.migrations where migration_id = $move"), "$point: the move goes on");
		is(sql("select state || coalesce(': ' || error, '') from taskex.migrations where migration_id = $move"), 'done', "$point: to the end");
	};
}

for my $point (qw(move_preparing move_copying move_following move_switching move_cleaning move_done))
{
	# the known user; at move_cleaning nobody may write for him, until the mover gives up
	my $who = visitor();
	my $go_on = stopped($point, 'known');
	my $began = time;
	is(identify($who), '', sprintf '%s of the known user', $point);
	note(sprintf 'it took %.1f s', time - $began);
	$go_on->();
	right("$point of the known user");

	# the anonymous one
	$who = visitor();
	$go_on = stopped($point, $who);
	is(identify($who), 'TX523', "$point of the anonymous user");
	my (undef, undef, $error) = $node->psql('postgres', "select taskex.identify('$who', 'known')");
	like($error, qr/is being moved to another|cannot be identified at this moment/, "$point: the error says why");
	$go_on->();
	is(identify($who), '', "$point: then it works");
	right("$point of the anonymous user");
}

# ---- the move comes while he is being identified

{
	my $who = visitor();
	my $session = $node->background_psql('postgres');
	$session->query_safe("begin; select taskex.identify('$who', 'known')");
	my $move = sql("select taskex.migrate_user('known', '" . elsewhere('known') . "')");
	my $mover = $node->background_psql('postgres', on_error_stop => 0);
	$mover->query_until(qr/begun/, "\\echo begun\n\\set VERBOSITY sqlstate\nselect taskex.migrate_user('$who', 'v1');\n");
	ok($node->poll_query_until('postgres', "select attempts > 0 or state = 'preparing' and cardinality(waits_for) > 0 from taskex.migrations where migration_id = $move"),
		'the move of the known user waits for it');
	ok($node->poll_query_until('postgres', q{select count(*) = 1 from pg_stat_activity where wait_event_type = 'Lock' and query like '%migrate_user(%anonymous%'}),
		'whoever wants to move the anonymous one, too');
	$session->query_safe('commit');
	$session->quit;
	$mover->query('select 1');
	like($mover->{stderr}, qr/40001|TX522/, 'and hears that he was identified');
	$mover->{stderr} = '';
	$mover->quit;
	ok($node->poll_query_until('postgres', "select state = 'done' from taskex.migrations where migration_id = $move"), 'then the known user moves');
	is(sqlstate_of($node, 'postgres', "select taskex.migrate_user('$who', 'v1')"), 'TX522', 'who is gone is not moved');
	right('identified before the move');
}

# ---- he is identified while a consumer of the journal gets what it had missed

{
	my ($locker, $session, $hand) = map { $node->background_psql('postgres', on_error_stop => 0) } 1 .. 3;
	my $id;
	my $who = visitor(sub {
		$id = sql("select user_id from taskex.route('$_[0]')");
		$locker->query_safe('begin; lock table _taskex.standing in share row exclusive mode');
	});
	await($node, 'postgres', "select count(*) = 3 from _taskex.journal_failed where consumer = 'fold_summaries' and (act).performer_id = $id", 'what he has done waits for a consumer');
	$session->query_safe("begin; select taskex.identify('$who', 'known')");
	$locker->query_safe('rollback');
	$hand->query_until(qr/begun/, "\\echo begun\nbegin; lock table _taskex.journal_consumer in share update exclusive mode; delete from _taskex.journal_trouble; select _taskex.dispatch(1000);\n");
	await($node, 'postgres', q{select exists (select from pg_stat_activity where wait_event = 'advisory' and query like '%dispatch(%')}, 'which waits for him');
	$session->query_safe('commit');
	$hand->query('commit');
	like($hand->{stderr}, qr/identified during the dispatch/, 'who has another number then');
	$hand->{stderr} = '';
	$_->quit for $locker, $session, $hand;
	right('identified during the dispatch');
}

# ---- all at once

{
	my $ending = time + ($ENV{TASKEX_HAMMER_SECONDS} // 8);
	my @movers = map { $node->background_psql('postgres') } 1, 2;
	sql(q{create procedure move_about(who text, ending float8) language plpgsql as $$
		declare
			r record;
		begin
			while extract(epoch from clock_timestamp()) < ending loop
				for r in select u.login, p.name from taskex.users u join taskex.partitions p on left(p.name, 1) = left(u.partition, 1) and p.name <> u.partition
						where u.login like who loop
					begin
						perform taskex.migrate_user(r.login, r.name);
					exception when sqlstate 'TX501' or sqlstate 'TX502' or sqlstate 'TX522' or sqlstate 'TX001' or serialization_failure then null;
					end;
					commit;
				end loop;
				perform pg_sleep(0.01);
				commit;
			end loop;
		end $$});
	$movers[0]->query_until(qr/begun/, "\\echo begun\ncall move_about('known', $ending);\n");
	$movers[1]->query_until(qr/begun/, "\\echo begun\ncall move_about('anonymous:%', $ending);\n");
	my %states;
	my $before = $people;
	while (time < $ending)
	{
		my $who = visitor();
		for (1 .. 200)
		{
			my $state = identify($who);
			$states{$state}++;
			last if $state eq '';
			usleep(5_000);
		}
	}
	$_->query_safe('select 1') for @movers;
	$_->quit for @movers;
	note(join ', ', map { "$_: $states{$_}" } sort keys %states);
	is(join(' ', grep { $_ !~ /^(TX523)?$/ } sort keys %states), '', 'no other error than that he is busy');
	is($states{''}, $people - $before, 'all were identified');
	ok($node->poll_query_until('postgres', 'select not exists (select from taskex.migrations where finished_at is null)'), 'all moves end');
	is(sql(q{select string_agg(error, ', ') from taskex.migrations where state = 'failed'}), '', 'and well');
	cmp_ok(sql(q{select count(*) from taskex.migrations where state = 'done' and login = 'known'}), '>', 6, 'he has moved');
	right('moved all the time');
	is(sql('select count(*) from _taskex.migration_log'), '0', 'nothing is left to follow');
	is(sql(q{select count(*) from _taskex.assignment a where not exists (select from _taskex.directory d where d.user_id = a.performer_id and d.partition_id = a.partition_id)}),
		'0', 'no assignment is left behind');
}

$node->stop;
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|XX000/, 'nothing worse in the log');
done_testing();
