# Users move between storage partitions all the time, back and forth, while everybody
# works: supplies come and go, partitions are added and drained, and processes are
# killed, movers, the launcher and the whole server among them; and one session has users go where they fit better, all the
# time, also while that happens. No task gets more performers than it wants, nothing is lost or doubled, the money is right, no call fails for a move, and who looks sees all of each user in each moment.
#
# TASKEX_HAMMER_SECONDS sets the length, TASKEX_KILL_ROUNDS how often something is
# killed, TASKEX_HAMMER_SEED what the clients do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Everything;
use Hammer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(time usleep);

my $seconds = $ENV{TASKEX_HAMMER_SECONDS} // 12;
my $rounds = $ENV{TASKEX_KILL_ROUNDS} // 5;
my $seed = $ENV{TASKEX_HAMMER_SEED} // time & 0xffff;
srand($seed);
note("TASKEX_HAMMER_SEED=$seed");

my $node = new_cluster('main', conf => q{
restart_after_crash = on
max_connections = 60
autovacuum_naptime = 1s
log_min_messages = warning
taskex.conductor_interval = 20ms
taskex.supply_interval = 50ms
taskex.supply_lease = 3s
taskex.max_movers = 4
taskex.rebalance_cooldown = 0
taskex.rebalance_start = 0.01
taskex.rebalance_target = 0
taskex.rebalance_gain = 0
});
my @types = hammer_market($node, 4);
push @types, everything_market($node);
my @movers = ((map { "req$_" } 1 .. 4), map { "perf$_" } 1 .. 4);
my $movers = join ',', @movers;

# Keeps the eight users on their way to somewhere; now and then adds a partition, and
# empties one that was added.
$node->safe_psql('postgres', qq{
	create procedure move_about(ending float8) language plpgsql as \$\$
	declare
		who text;
		to_where text;
		n int := 0;
	begin
		while extract(epoch from clock_timestamp()) < ending loop
			for who in select u from unnest('{$movers}'::text[]) u order by random() loop
				select name into to_where from taskex.partitions p
					where p.state = 'active' and p.name <> (select partition from taskex.route(who)) order by random() limit 1;
				commit;
				begin
					perform taskex.migrate_user(who, to_where, 'hammer');
				exception when sqlstate 'TX501' or sqlstate 'TX502' or sqlstate 'TX003' or sqlstate 'TX004' then null;
				end;
				commit;
				perform pg_sleep(0.005);
				commit;
			end loop;
			-- some are called back on their way, or when they have come
			if random() < 0.1 then
				begin
					perform taskex.undo_migration(migration_id) from (select migration_id from taskex.migrations
						order by migration_id desc limit 4) m order by random() limit 1;
				exception when sqlstate 'TX109' or sqlstate 'TX501' or sqlstate 'TX502' or sqlstate 'TX003' or sqlstate 'TX004' then null;
				end;
				commit;
			end if;
			perform pg_sleep(0.02);
			commit;
		end loop;
	end \$\$;
	create sequence extra;
	create procedure change_ground(ending float8) language plpgsql as \$\$
	declare
		here text;
	begin
		while extract(epoch from clock_timestamp()) < ending loop
			here := 'x' || nextval('extra');
			perform taskex.add_partition(here);
			commit;
			perform pg_sleep(1);
			commit;
			perform taskex.drain_partition(here);
			commit;
			loop
				perform pg_sleep(0.05);
				commit;
				begin
					perform taskex.drop_partition(here);
					here := null;
				exception
					when sqlstate 'TX008' or lock_not_available or deadlock_detected then null;
				end;
				commit;
				exit when here is null or extract(epoch from clock_timestamp()) > ending + 30;
			end loop;
		end loop;
	end \$\$;

	-- Rebalances all the time. What was measured does not lie still: who is busy changes every time,
	-- so that there is always somebody to be moved.
	create table rebalanced (round int, queued int);
	create procedure rebalance_all(ending float8) language plpgsql as \$\$
	declare
		n int;
		turn int := 0;
	begin
		perform taskex.set_fitness('hammer', '{"cpu": 1}');
		commit;
		while extract(epoch from clock_timestamp()) < ending loop
			turn := turn + 1;
			insert into _taskex.load_mean select 'u', user_id, date_trunc('hour', now()) - interval '10 days', date_trunc('hour', now()) - interval '1 hour',
					z, z, z, z, z, array_fill((case when random() < 0.2 then 1e10 else 1e9 end)::real, array[24])
				from _taskex.directory, (select array_fill(0::real, array[24]) as z) z where login ~ '^(req|perf)[0-9]+\$'
				order by user_id
				on conflict (kind, id) do update set since = excluded.since, as_of = excluded.as_of, cpu_us = excluded.cpu_us;
			commit;
			begin
				n := taskex.rebalance('hammer', 5);
				insert into rebalanced values (turn, n);
			-- somebody else has begun to move one of them, or to empty or drop a partition, since the plan was made
			exception when sqlstate 'TX501' or sqlstate 'TX502' or sqlstate 'TX003' or sqlstate 'TX004' then
				insert into rebalanced values (turn, null);
			end;
			commit;
			perform pg_sleep(0.05);
			commit;
		end loop;
	end \$\$;

	-- What must hold in each snapshot, and what can only grow for each user.
	create table had (login text primary key, tasks bigint, assignments bigint, results bigint, transfers bigint, deposited numeric);
	create function look_at_all() returns setof text language plpgsql as \$\$
	declare
		r record;
		b record;
		old had;
	begin
		return query
			select 'two homes of ' || t.what from (
				select 'task ' || task_id from taskex.tasks group by task_id having count(*) > 1
				union all select 'assignment ' || assignment_id from taskex.assignments group by assignment_id having count(*) > 1
				union all select 'transfer ' || transfer_id || ' ' || login from taskex.transfers group by transfer_id, login having count(*) > 1
				union all select 'profile ' || login from taskex.users group by login having count(*) > 1) t (what);
		return query select 'the ledger: ' || sum(available + held) from taskex.transfers having sum(available + held) <> 0;
		return query select 'no profile: ' || login from taskex.users where profile is null;
		for r in select u.login, coalesce(t.n, 0) as tasks, coalesce(a.n, 0) as assignments, coalesce(w.n, 0) as results, coalesce(l.n, 0) as transfers,
				coalesce(l.deposited, 0) as deposited, coalesce(l.available, 0) as available, coalesce(l.held, 0) as held
			from taskex.users u
				left join (select requester as login, count(*) as n from taskex.tasks group by 1) t using (login)
				left join (select performer as login, count(*) as n from taskex.assignments group by 1) a using (login)
				left join (select requester as login, count(*) as n from taskex.assignments where state in ('submitted', 'approved', 'rejected') group by 1) w using (login)
				left join (select login, count(*) as n, sum(available) filter (where kind = 'deposit') as deposited, sum(available) as available,
					sum(held) as held from taskex.transfers group by 1) l using (login)
		loop
			select * into b from taskex.balance(r.login);
			if (b.available, b.held) is distinct from (r.available, r.held) then
				return next format('%s has %s and %s, by transfers %s and %s', r.login, b.available, b.held, r.available, r.held);
			end if;
			select * into old from had h where h.login = r.login;
			if r.tasks < old.tasks or r.assignments < old.assignments or r.results < old.results or r.transfers < old.transfers
					or r.deposited < old.deposited then
				return next format('less of %s: %s, had %s', r.login, r, old);
			end if;
			insert into had values (r.login, r.tasks, r.assignments, r.results, r.transfers, r.deposited)
				on conflict (login) do update set tasks = excluded.tasks, assignments = excluded.assignments, results = excluded.results,
					transfers = excluded.transfers, deposited = excluded.deposited;
		end loop;
	end \$\$});

my $holding = hammer_holding();
my $glance = qq{
	begin isolation level repeatable read;
	select 'task ' || task_id || ' has ' || h.n || ' of ' || t.performers from here.task t join ($holding) h using (task_id) where h.n > t.performers;
	select * from look_at_all();
	select c::text from taskex.check_ledger() c where not ok;
	commit;};
my $look = "$glance\nselect c::text from taskex.check_market() c where not ok";

# what is wrong: a report and drop_partition() may meet in a deadlock, and then it is run again (docs/operations.md)
sub seen
{
	my $sql = shift;
	for (1 .. 10)
	{
		my ($status, $out, $err) = $node->psql('postgres', $sql);
		return $out if $status == 0;
		die $err if $err !~ /deadlock detected/;
	}
	die 'nothing but deadlocks';
}

# all moves end, or what holds them up is told
sub moves_end
{
	my $name = shift;
	await($node, 'postgres', q{select not exists (select from taskex.migrations where finished_at is null)}, $name)
	  || diag($node->safe_psql('postgres', q{select m::text || e'\n' || (select format('%s %s', x.error, x.not_before) from _taskex.migration x where x.migration_id = m.migration_id)
		from taskex.migrations m where finished_at is null}));
	return;
}

# where errors that nobody must expect come from
sub unexpected
{
	return join '', (map { $_->{err} =~ /((?:ERROR|FATAL):  (?!TX10[34567]|TX109|57014|25P0[12]|3B001|40001|40P01|TX11[23]|TX203).*\n(?:(?!psql:).*\n)*)/g } @_)[0 .. 2];
}

sub begin_all
{
	my ($name, $until) = @_;
	return (
		[ map { hammer_start($node, hammer_script(types => \@types, name => "$name$_", turns => 50 * $seconds, until => $until,
				more => \&everything_turns, weight => { approve => 2, reject => 2 })) } 1 .. 8 ],
		[ everything_helpers($node, $until),
			map { hammer_start($node, "\\set VERBOSITY verbose\nset application_name = 'everything';\ncall $_($until);\n") } 'move_about', 'change_ground', 'rebalance_all' ]);
}

#
# Undisturbed: no call fails for it
#

my $rebalanced = q{from taskex.migrations where reason like 'rebalance: %'};
my ($looks, $wrong, $turn) = (0, '', 0);
my (@all_clients, @all_helpers, $clients, $helpers, %acts);

# whoever moves users, rebalances, and adds partitions has had the time for it
sub enough
{
	return $node->safe_psql('postgres', qq{select (select count(*) from taskex.migrations where switched_at is not null) > $seconds / 2
		and (select count(*) from rebalanced where queued > 0) > 2 and (select count(*) $rebalanced and switched_at is not null) > 2
		and (select is_called from extra)}) eq 't' && keys %{ $acts{submitted} // {} } > 5 * $seconds;
}

for my $try (1 .. 5)
{
	my $until = time + $seconds;
	($clients, $helpers) = begin_all("c$try", $until);
	while (time < $until)
	{
		my $seen = seen($looks % 10 ? $glance : $look);
		$wrong .= "$seen\n" if $seen ne '';
		$looks++;
		if ($looks % 5 == 0)
		{
			$node->append_conf('postgresql.conf', 'taskex.supply = ' . ($turn++ % 2 ? 'off' : 'on'));
			$node->reload;
		}
	}
	my $done = hammer_finish(@$clients);
	hammer_finish(@$helpers);
	push @all_clients, @$clients;
	push @all_helpers, @$helpers;
	for my $act (keys %$done)
	{
		$acts{$act}{$_} = 1 for keys %{ $done->{$act} };
	}
	last if enough();
	note("a machine with no time for it: once more");
}
is($wrong, '', "nothing wrong in any of $looks looks");
is(hammer_errors(everything_errors(), @all_clients), '', 'only errors that a client must expect')
  || diag(unexpected(@all_clients));
is(hammer_errors(0, @all_helpers), '', 'none of those who grant, block, read and move') || diag(map { $_->{err} } @all_helpers);
note(join(', ', map { scalar(keys %{ $acts{$_} }) . " $_" } sort keys %acts));
note('errors: ' . hammer_errors(0, @all_clients));
my $states = $node->safe_psql('postgres', q{select string_agg(state || ' ' || n, ', ') from (select state, count(*) as n from taskex.migrations group by 1 order by 1) s});
note("moves: $states");
note('moves took: ' . $node->safe_psql('postgres', q{select format('%s s to the switch, %s s to clean, longest stall %s ms, %s attempts', avg(extract(epoch from switched_at - started_at))::numeric(9, 3),
	avg(extract(epoch from finished_at - switched_at))::numeric(9, 3), (max(extract(epoch from longest_stall)) * 1000)::numeric(9, 1), sum(attempts)) from taskex.migrations}));
cmp_ok($node->safe_psql('postgres', q{select count(*) from taskex.migrations where switched_at is not null}), '>', $seconds / 2, 'users have moved');
# (a partition that was added may be emptied again before somebody has moved there)
my $failed = q{select string_agg(error, ', ') from taskex.migrations where state = 'failed' and error !~ '^storage partition "x\d+" takes no new users$'};
note('rebalancing: ' . $node->safe_psql('postgres', qq{select format('%s rounds, %s without a plan that could be carried out, %s moves queued, of which %s came to the switch',
	count(*), count(*) filter (where queued is null), sum(queued), (select count(*) $rebalanced and switched_at is not null)) from rebalanced}));
cmp_ok($node->safe_psql('postgres', q{select count(*) from rebalanced where queued > 0}), '>', 2, 'it was rebalanced again and again');
cmp_ok($node->safe_psql('postgres', "select count(*) $rebalanced and switched_at is not null"), '>', 2, 'users have moved by it');
is($node->safe_psql('postgres', q{select is_called from extra}), 't', 'partitions were added and emptied meanwhile');
is($node->safe_psql('postgres', $failed), '', 'no move has failed');
cmp_ok(scalar keys %{ $acts{submitted} // {} }, '>', 5 * $seconds, 'much was done');
ok_hammered($node, 'after the hammer');
is(seen($look), '', 'nothing wrong after the hammer');

#
# With kills
#

my %truth = everything_truth();
sub lost
{
	my $lost = '';
	for my $act (sort keys %truth)
	{
		my @ids = sort keys %{ $acts{$act} // {} } or next;
		my $ids = join ',', map { qq{"$_"} } @ids;
		my $missing = $node->safe_psql('postgres',
			"select string_agg(id, ', ') from unnest('{$ids}'::text[]) u (id) where not exists ($truth{$act})");
		$lost .= "$act $missing; " if $missing ne '';
	}
	return $lost;
}

$node->append_conf('postgresql.conf', 'taskex.supply = on');
$node->reload;
for my $round (1 .. $rounds)
{
	my $victim = (qw(mover postmaster launcher mover session conductor supplier))[ ($round - 1) % 7 ];
	my $name = "round $round, a $victim";
	my $moves = $node->safe_psql('postgres', 'select coalesce(max(migration_id), 0) from taskex.migrations');
	($clients, $helpers) = begin_all("r$round", time + 30);
	hammer_busy(@$clients);
	ok($node->poll_query_until('postgres', "select exists (select $rebalanced and migration_id > $moves and started_at is not null and finished_at is null)"),
		"$name: users are on their way by rebalancing");
	usleep(int rand 500_000);
	my $find = $victim eq 'session' ? q{select pid from pg_stat_activity where application_name = 'hammer' order by random() limit 1}
	  : qq{select pid from pg_stat_activity where backend_type = 'taskex $victim' order by random() limit 1};
	if ($victim eq 'postmaster')
	{
		hammer_kill_server($node);
		ok(hammer_start_server($node), "$name was killed, and another started");
	}
	else
	{
		my $pid = hammer_victim($node, $find);
		ok($pid ne '' && kill('KILL', $pid), "$name was killed");
	}
	everything_stop($node, @$helpers);
	my $acknowledged = hammer_finish(@$clients);
	for my $act (keys %$acknowledged)
	{
		$acts{$act}{$_} = 1 for keys %{ $acknowledged->{$act} };
	}
	my $errors = hammer_errors(everything_errors(), @$clients);
	$errors = '' if $errors =~ /^(57P0[123]: [^,]*(, )?)*$/;
	is($errors, '', "$name: no error of another kind") || diag(unexpected(@$clients));
	# psql that is refused may be gone before it has been given the query
	my $back = 0;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if $back = eval { $node->safe_psql('template1', 'select true') eq 't' };
		usleep(100_000);
	}
	ok($back, "$name: back");
	is(lost(), '', "$name: every acknowledged act is there");
	$node->safe_psql('postgres', 'truncate had');	# what was accepted asynchronously may be gone
	is(seen($look), '', "$name: nothing wrong");
	moves_end("$name: all moves end");
	cmp_ok($node->safe_psql('postgres', "select count(*) $rebalanced and migration_id > $moves and switched_at is not null"), '>', 0, "$name: users have moved by rebalancing");
	is($node->safe_psql('postgres', $failed), '', "$name: no move has failed");
}

#
# At rest
#

moves_end('all moves end');
is($node->safe_psql('postgres', q{
	select string_agg(t.table_name, ', ') from _taskex.child_table t where t.table_name <> 'entry' and t.table_name <> 'balance'
		and (xpath('//n/text()', query_to_xml(format('select count(*) as n from _taskex.%1$I x where not exists
			(select from _taskex.directory d where d.user_id = x.%2$I and d.partition_id = x.partition_id)', t.table_name, t.owner), false, true, '')))[1]::text <> '0'}),
	'', 'no copy is left behind');
is($node->safe_psql('postgres', q{select count(*) from _taskex.entry where account_id > 0 and (partition_id, account_id) not in
	(select partition_id, user_id from _taskex.directory)}), '0', 'nor of the ledger');
is($node->safe_psql('postgres', q{select count(*) from _taskex.migration_log}), '0', 'nothing is left to follow');
$node->append_conf('postgresql.conf', 'taskex.supply = on');
$node->reload;
note('workers said: ' . join '', slurp_file($node->logfile) =~ /(?<=\]) (?:LOG|WARNING|ERROR):  .*(?:step|taskex|relation|handling|looking).*\n/g);
await_conductor($node, 'postgres', 'the conductor is back');
everything_rest($node, 'at rest');
hammer_drain($node, 'the drain');
everything_rest($node, 'in the end');
hammer_finish(hammer_start($node, 'call hear(0)'));
ok_everything($node, 'in the end');
ok_hammered($node, 'in the end', drained => 1);
is(lost(), '', 'every acknowledged act is there in the end');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|XX000/, 'no assertion in the log');
$node->stop;

done_testing();
