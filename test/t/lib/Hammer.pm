package Hammer;

# A market under the hammer: clients that supply, accept, submit, return, extend,
# abandon and judge all at once, each a real session; and checks of the result
# that count by themselves instead of asking the exchange's own counters.

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use List::Util qw(sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(hammer_here hammer_market hammer_holding hammer_script hammer_start hammer_finish
	hammer_drain hammer_errors hammer_busy hammer_victim hammer_kill_server hammer_start_server hammer_patiently hammer_queue_wrong ok_hammered);

my $requesters = 8;
my $performers = 64;	# three times as many as the highest plurality can use up

# hammer_here(NODE): makes a schema "here" with the child tables' rows that count: those
# of users where they live, not the copies of who is being moved.
sub hammer_here
{
	my ($node) = @_;
	$node->safe_psql('postgres', q{
		create schema here;
		create view here.entry as select * from _taskex.entry_at_home;
		do $$ declare t record; begin
			for t in select * from _taskex.child_table where table_name not in ('entry', 'balance') loop
				execute format('create view here.%1$I as select x.* from _taskex.%1$I x join _taskex.directory d'
					' on d.user_id = x.%2$I and d.partition_id = x.partition_id', t.table_name, t.owner);
			end loop;
		end $$});
	return;
}

# hammer_market(NODE, PARTITIONS): users req1 .. req8 and perf1 .. perf64 on all
# partitions, four task types; returns the ids of the types.
sub hammer_market
{
	my ($node, $partitions) = @_;
	make_partitions($node, $partitions, in_place => 1);
	hammer_here($node);
	$node->safe_psql('postgres', qq{
		do \$\$ begin
			for i in 1 .. $requesters loop
				perform taskex.register_user('req' || i, partition => 'p' || 1 + i % $partitions);
				perform taskex.deposit('req' || i, 1000000, 'start');
			end loop;
			for i in 1 .. $performers loop
				perform taskex.register_user('perf' || i, partition => 'p' || 1 + i % $partitions);
			end loop;
		end \$\$;
		-- cancels what clients do, here and there
		create procedure cancel_some(ending float8) language plpgsql as \$\$
		begin
			while extract(epoch from clock_timestamp()) < ending loop
				perform pg_cancel_backend(pid) from (select pid from pg_stat_activity
					where application_name = 'hammer' and state = 'active' order by random() limit 2) x;
				commit;
				perform pg_sleep(0.02);
			end loop;
		end \$\$;
		-- takes and submits what is there for the performers of one client,
		-- until a whole pass finds nothing
		create procedure drain(client int, clients int, batch int) language plpgsql as \$\$
		declare
			got int := 1;
			a record;
		begin
			while got > 0 loop
				got := 0;
				for p in 1 .. $performers loop
					continue when p % clients <> client;
					loop
						for a in select * from taskex.accept_next('perf' || p, null, batch) loop
							got := got + 1;
							begin
								perform taskex.submit_assignment('perf' || p, a.assignment_id, '{"drained": 1}', a.lease_token);
							exception when sqlstate 'TX107' then null;
							end;
						end loop;
						exit when not found;
						commit;
					end loop;
					commit;
				end loop;
			end loop;
		end \$\$;
	});
	return split ' ', $node->safe_psql('postgres', q{
		select string_agg(taskex.create_task_type('req1', 'Lease of ' || l, 0.25 * n, lease => l)::text, ' ')
		from unnest('{50 milliseconds, 120 milliseconds, 300 milliseconds, 2 seconds}'::interval[]) with ordinality as t (l, n)
	});
}

sub pick { return $_[ rand @_ ] }

# of 1 .. 10 performers, or at most so many until the answer is sure; results
# below agree often enough for that
sub plurality
{
	my $want = pick(3, 5, 10);
	return "$want, consensus => " . pick(
		"'majority', min_performers => " . (1 + int rand $want),
		"'majority', min_performers => 1, confidence => " . pick('0.4', '0.8', '1'),
		"'majority', confidence => 0.6",
		"'one_coin', confidence => " . pick('0.7', '0.9', '0.99'),
		"'one_coin', min_performers => 1, confidence => 0.6",
		pick("'one_coin'", "'mean'", "'median'"));
}

# One turn of a client, as text for psql. A line of output tells of an act that was
# acknowledged, and is printed only after its transaction ended.
sub turn
{
	my (%o) = @_;
	my $perf = 'perf' . (1 + int rand $performers);
	my $req = 'req' . (1 + int rand $requesters);
	$perf = $req if rand() < 0.05;
	my $type = pick(@{ $o{types} });
	my $next = "accept_next('$perf', " . pick($type, 'null') . ')';
	my $want = pick(1, 1, 3, 10);
	my $key = "$o{name} " . ++${ $o{serial} };
	my $result = pick(qq({"by": "$key"}), '"a"', '"a"', '"a"', '"b"', '7');
	# what is to be undone is done only where a transaction block has begun: a
	# BEGIN may be cancelled
	my $block = "select set_config('hammer.block', 'yes', true) as x \\gset\n";
	my $inside = "current_setting('hammer.block', true) = 'yes'";
	my $accept = "select assignment_id as a, lease_token as k from taskex.$next \\gset\n";
	my $submit = "select 'submitted ' || :a from (select taskex.submit_assignment('$perf', :a, '$result', :k)) x;\n";
	my $give_back = "select 'returned ' || :a from (select taskex.return_assignment('$perf', :a)) x;\n";
	my $quiet_submit = "select taskex.submit_assignment('$perf', :a, '$result') is null as x \\gset\n";
	my $never = "select taskex.submit_assignment('$perf', :a, '{\"never\": 1}') is null as x where $inside \\gset\n";
	my $if_a = sub { "\\if :{?a}\n" . join('', @_) . "\\endif\n" };
	my $begin = 'begin' . pick('', '', '', ' isolation level repeatable read', ' isolation level serializable') . ";\n$block";
	my $some_task = "select task_id as t from here.task where state = 'open' and live < performers"
	  . " and task_type_id = $type offset " . int(rand 20) . " limit 1 \\gset\n";
	my $some_result = "select assignment_id as r, login as q from here.result join _taskex.directory on user_id = requester_id"
	  . " where here.result.state = 'submitted' offset " . int(rand 20) . " limit 1 \\gset\n";

	# acts of one transaction each
	my %turns = (
		supply => "select 'created ' || taskex.create_task('$req', $type, '{}', $want);\n",
		supply_key => "select taskex.create_task('$req', $type, '{}', $want, idempotency_key => '$key') as t \\gset\n"
		  . "\\if :{?t}\nselect 'created ' || taskex.create_task('$req', $type, '{}', $want, idempotency_key => '$key');\n\\endif\n",
		supply_many => "select 'created ' || t from taskex.create_tasks('$req', $type,"
		  . " array(select to_jsonb(i) from generate_series(1, @{[ 1 + int rand 12 ]}) i), $want) t;\n",
		supply_dynamic => "select 'created ' || taskex.create_task('$req', $type, '{}', @{[ plurality() ]});\n",
		supply_many_dynamic => "select 'created ' || t from taskex.create_tasks('$req', $type,"
		  . " array(select to_jsonb(i) from generate_series(1, @{[ 1 + int rand 5 ]}) i), @{[ plurality() ]}) t;\n",
		supply_golden => "select 'created ' || taskex.create_golden_task('$req', $type, '{}', '\"a\"', @{[ 1 + int rand 20 ]});\n",
		golden_rate => "select taskex.set_golden_rate('$req', $type, @{[ pick(0, 0.1, 0.5, 1) ]}) is null as x \\gset\n",
		supply_undone => "begin;\n${block}select taskex.create_task('$req', $type, '{\"never\": 1}', $want) as x where $inside \\gset\nrollback;\n",
		submit => $accept . $if_a->($submit),
		submit_many => "select array_agg(assignment_id) as a from taskex.accept_next('$perf', null, @{[ 2 + int rand 6 ]}) \\gset\n"
		  . $if_a->("select 'submitted ' || unnest(:'a'::bigint[]) from (select taskex.submit_assignments('$perf', :'a',"
			  . " array_fill('$result'::jsonb, array[cardinality(:'a'::bigint[])]))) x;\n"),
		give_back => $accept . $if_a->($give_back),
		leave => $accept,
		# the lease may have ended when he is ready
		slow => $accept . "select pg_sleep(@{[ rand 0.2 ]}) as x \\gset\n" . $if_a->(
			pick('', "select taskex.extend_assignment('$perf', :a, '30 ms') is null as x \\gset\n"), pick($submit, $give_back)),
		extend => $accept . $if_a->("select taskex.extend_assignment('$perf', :a, '@{[ 20 + int rand 200 ]} ms') is null as x \\gset\n", $submit),
		named => $some_task . "\\if :{?t}\nselect assignment_id as a, lease_token as k from taskex.accept_task('$perf', :t) \\gset\n"
		  . $if_a->($submit) . "\\endif\n",
		timeout => "set statement_timeout = @{[ 1 + int rand 6 ]};\n" . $accept . $if_a->($submit) . "set statement_timeout = 0;\n",
		timeout_many => "set statement_timeout = @{[ 1 + int rand 12 ]};\n"
		  . "select count(*) as x from taskex.accept_next('$perf', null, 40) \\gset\nset statement_timeout = 0;\n",
		undone => $begin . $accept . $if_a->($never) . "rollback;\n",
		undone_many => $begin . "select count(*) as x from taskex.accept_next('$perf', null, @{[ 10 + int rand 190 ]}) \\gset\nrollback;\n",
		# what a transaction saw of its own and undid is seen again
		undone_named => "begin;\n" . $some_task . "\\if :{?t}\nselect assignment_id as a from taskex.accept_task('$perf', :t) \\gset\n\\endif\n"
		  . "select count(*) as x from taskex.accept_next('$perf', null, 3) \\gset\nrollback;\n",
		undone_expiry => "begin;\n" . $some_task . "\\if :{?t}\nselect taskex.expire_task(login, task_id) is null as x"
		  . " from here.task join _taskex.directory on user_id = requester_id where task_id = :t \\gset\n\\endif\n"
		  . "select count(*) as x from taskex.accept_next('$perf', $type, 3) \\gset\nrollback;\n",
		undone_return => "begin;\n" . $accept . "savepoint s;\n"
		  . $if_a->("select taskex.return_assignment('$perf', :a) is null as x \\gset\n") . "rollback to s;\n"
		  . $if_a->($quiet_submit) . "commit;\n",
		savepoint => $begin . "savepoint s;\n" . $accept . $if_a->($never) . "rollback to s;\n\\unset a\n"
		  . $accept . "savepoint s2;\n" . $if_a->($quiet_submit) . "release s2;\ncommit;\n",
		savepoints => $begin . "savepoint s;\n" . $accept . "savepoint s2;\n"
		  . "select count(*) as x from taskex.accept_next('$perf', $type, 3) \\gset\n"
		  . "release s2;\nrollback to s;\ncommit;\n",
		approve => $some_result . "\\if :{?r}\nselect 'approved ' || :r from (select taskex.approve_assignment(:'q', :r)) x;\n\\endif\n",
		reject => $some_result . "\\if :{?r}\nselect 'rejected ' || :r from (select taskex.reject_assignment(:'q', :r, 'bad')) x;\n\\endif\n",
		reopen => $some_result . "\\if :{?r}\nselect 'rejected ' || :r from (select taskex.reject_assignment(:'q', :r, 'again', true)) x;\n\\endif\n",
		judge_undone => $some_result . "begin;\n$block\\if :{?r}\nselect taskex.@{[ pick(q{approve_assignment(:'q', :r)}, q{reject_assignment(:'q', :r, 'never', true)}) ]}"
		  . " is null as x where $inside \\gset\n\\endif\nrollback;\n",
		expire => $some_task . "\\if :{?t}\nselect 'expired ' || :t from (select taskex.expire_task(login, task_id)"
		  . " from here.task join _taskex.directory on user_id = requester_id where task_id = :t) x;\n\\endif\n",
		deposit => "select 'deposited ' || '$key' from (select taskex.deposit('$req', 1, '$key')) x;\n",
		$o{more} ? $o{more}->(%o, key => $key) : (),
	);
	my %weight = (submit => 10, give_back => 3, leave => 3, extend => 3, supply => 2, supply_dynamic => 3, supply_many => 1, supply_key => 1,
		approve => 4, reopen => 2, %{ $o{weight} // {} });
	my @lot = map { ($_) x ($weight{$_} // 1) } sort keys %turns;
	return "\\unset a\n\\unset t\n\\unset r\n" . $turns{ pick(@lot) };
}

# hammer_script(types => [...], name => TEXT, turns => N, until => TIME, weight => {...}):
# what one client does; it ends at the time (seconds since 1970), if given.
sub hammer_script
{
	my (%o) = @_;
	my $serial = 0;
	my $script = "\\set VERBOSITY verbose\nset application_name = 'hammer';\n";
	for my $n (1 .. $o{turns})
	{
		$script .= turn(%o, serial => \$serial);
		$script .= "select extract(epoch from clock_timestamp()) > $o{until} as late \\gset\n\\if :late\n\\q\n\\endif\n"
		  if $o{until} && $n % 4 == 0;
	}
	return $script;
}

# hammer_busy(CLIENTS): waits until they are at work: their output is longer than 500 bytes together
sub hammer_busy
{
	my @clients = @_;
	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if sum0(map { -s $_->{out} // 0 } @clients) > 500 || !grep { $_->{run}->pumpable } @clients;
		usleep(10_000);
	}
	return;
}

# hammer_victim(NODE, SQL): the process that SQL finds, which may take a while to be there; '' if it is never
sub hammer_victim
{
	my ($node, $find) = @_;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my $pid = $node->safe_psql('template1', $find);
		return $pid if $pid ne '';
		usleep(100_000);
	}
	return '';
}

# hammer_kill_server(NODE): kills the postmaster, and waits until it is gone
sub hammer_kill_server
{
	my $node = shift;
	my $pid = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/ ? $1 : die 'no postmaster';
	$node->kill9;
	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last unless kill 0, $pid;
		usleep(10_000);
	}
	return;
}

# hammer_start_server(NODE): starts it again; the last processes of the one before may still be ending
sub hammer_start_server
{
	my $node = shift;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return 1 if $node->start(fail_ok => 1);
		usleep(100_000);
	}
	return 0;
}

# hammer_patiently(NODE, SQL): asks while the server comes up again
sub hammer_patiently
{
	my ($node, $query) = @_;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		my ($status, $out) = $node->psql('postgres', $query);
		return $out if $status == 0;
		usleep(100_000);
	}
	die "no answer: $query";
}

# hammer_queue_wrong(NODE): what is wrong with the queue of runs. Rows and the queue are looked at one after the
# other, and a lease may end in between, or a commit be about to tell the queue: so it is wrong if it is so twice
# in a row and no row has changed from before the first look until after the second one.
sub hammer_queue_wrong
{
	my ($node) = @_;
	my $rows = q{select count(*) || ' ' || coalesce(sum(hashtextextended(concat_ws(' ', run_id, state, attempts, lease_token, lease_until), 0)), 0) from _taskex.run};
	my ($wrong, $same) = ('', 0);
	my $known = hammer_patiently($node, $rows);
	for (1 .. 200)
	{
		$wrong = hammer_patiently($node, q{select string_agg(check_name || ': ' || detail, '; ') from taskex.check_workload() where not ok});
		return '' if $wrong eq '';
		my $now = hammer_patiently($node, $rows);
		$same = $now eq $known ? $same + 1 : 0;
		return $wrong if $same == 2;
		$known = $now;
	}
	return $wrong;
}

# hammer_start(NODE, SCRIPT...): sessions that run the scripts
my $started = 0;
sub hammer_start
{
	my ($node, @scripts) = @_;
	my @clients;
	for my $script (@scripts)
	{
		my $file = $node->basedir . '/client' . ++$started;
		append_to_file("$file.sql", $script);
		push @clients, { out => "$file.out", err => "$file.err",
			run => IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', "$file.sql" ],
				'<', \undef, '>', "$file.out", '2>', "$file.err") };
	}
	return @clients;
}

# hammer_finish(CLIENT...): waits for them; returns what was acknowledged, as
# act => { id => 1 }
sub hammer_finish
{
	my %acts;
	for my $client (@_)
	{
		$client->{run}->finish;
		$client->{$_} = slurp_file($client->{$_}) for qw(out err);
		for (split /\n/, $client->{out})
		{
			$acts{$1}{$2} = 1 if /^(created|submitted|returned|approved|rejected|expired|deposited|added|extended|cancelled|overridden|disputed|bonus) (.+)$/;
		}
	}
	return \%acts;
}

# the SQLSTATEs that the clients met, with their numbers; those that a client
# must expect when others work beside him are left out if known is true, and those
# that it matches if it is more than that
sub hammer_errors
{
	my ($known, @clients) = @_;
	my %count;
	for (map { $_->{err} =~ /(?:ERROR|FATAL):  (.{5}:.*)/g } @clients)
	{
		my ($state) = /^(\w{5})/;
		next if $known && $state =~ /^(TX10[34567]|TX109|57014|25P0[12]|3B001|40001|40P01|$known)$/;
		$count{ $known ? $_ : $state }++;
	}
	return join ', ', map { "$_ ($count{$_})" } sort keys %count;
}

# Tasks that somebody could have now, counted from the assignments alone. A
# slot that was offered again at a rejection stays so, whatever becomes of the result.
my $holding = q{
	select a.task_id, count(*) as n from here.assignment a left join here.result r using (assignment_id)
	where a.state in ('accepted', 'submitted', 'approved', 'rejected') and not coalesce(r.reopened, false)
	group by a.task_id};
sub hammer_holding { return $holding }
my $free = qq{
	select t.task_id, t.performers - coalesce(h.n, 0) as free from here.task t left join ($holding) h using (task_id)
	where t.state = 'open' and t.task_type_id > 0 and coalesce(h.n, 0) < t.performers};

# Lets enough performers do all that is left, and waits until all is done. Golden
# tasks, which come with others only, are closed.
sub hammer_drain
{
	my ($node, $name) = @_;
	my $left;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	$node->safe_psql('postgres', q{
		select taskex.expire_task(login, task_id) from here.task join _taskex.directory on user_id = requester_id
		where task_type_id < 0 and state = 'open'});
	while (time < $end)
	{
		my @clients = hammer_start($node, map { "\\set VERBOSITY verbose\ncall drain($_, 4, @{[ 1 + 4 * $_ ]});\n" } 0 .. 3);
		hammer_finish(@clients);
		my $errors = hammer_errors(1, @clients);
		return fail("$name: $errors") if $errors ne '';
		$left = $node->safe_psql('postgres', qq{set jit = off;
			select (select count(*) from ($free) f), (select count(*) from here.assignment where state = 'accepted') });
		last if $left eq '0|0';
		usleep(50_000);
	}
	return is($left, '0|0', "$name: no task with a free slot and no lease is left") || diag($node->safe_psql('postgres',
		qq{select 'stuck: ' || t::text from ($free) f join here.task t using (task_id) limit 10}));
}

# Independent counts, at rest or not (one snapshot).
sub ok_hammered
{
	my ($node, $name, %o) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my @wrong = (
		'more assignments than wanted' => qq{
			select t.task_id::text from here.task t join ($holding) h using (task_id) where h.n > t.performers},
		'a performer with a task twice' => q{
			select task_id::text from here.assignment group by task_id, performer_id having count(*) > 1},
		'a performer with his own task' => q{
			select a.task_id::text from here.assignment a join here.task t using (task_id) where a.performer_id = t.requester_id},
		'something that was rolled back' => q{
			select task_id::text from here.result where result @> '{"never": 1}' or feedback = 'never'
			union all select task_id::text from here.task where input @> '{"never": 1}'},
		'a submission without a result, or the other way round' => q{
			select assignment_id::text from here.assignment a full join here.result r using (assignment_id)
			where (coalesce(a.state, '') in ('submitted', 'approved', 'rejected')) <> (r.assignment_id is not null)},
		'a reward that is not paid exactly once' => q{
			select assignment_id::text from (select assignment_id, reward from here.assignment where state = 'approved') a
				full join (select subject_id as assignment_id, sum(available) as paid, count(*) as n from here.entry
					where kind = 'reward' and available > 0 group by 1) e using (assignment_id)
			where n is distinct from 1 or paid is distinct from reward},
		'an assignment that tells of a golden task' => q{
			select task_id::text from here.assignment where task_type_id < 0 union all select task_id::text from here.result where task_type_id < 0},
		'an answer that is not what the results say' => q{
			select t.task_id::text from here.task t cross join lateral (
				select count(*) as n, (array_agg(v.result order by v.n desc))[1] as leader, max(v.n) as most,
					sum(v.n) as votes, count(*) filter (where v.n = v.top) as leaders
				from (select result, count(*) as n, max(count(*)) over () as top from here.result r
					where r.task_id = t.task_id and r.state <> 'rejected' group by result) v) v
			where t.consensus = 'majority' and t.answer is distinct from
				case when leaders = 1 and (target is null and most * 2 > votes or most >= target * votes - 1e-9) then leader end},
		'a mean that is not that of the results' => q{
			select t.task_id::text from here.task t cross join lateral (
				select to_jsonb(trim_scale(avg((result #>> '{}')::numeric))) as mean from here.result r
				where r.task_id = t.task_id and r.state <> 'rejected' and jsonb_typeof(r.result) = 'number') v
			where t.consensus = 'mean' and t.answer is distinct from v.mean},
		'a task that was decided too early' => q{
			select t.task_id::text from here.task t
			where (t.state = 'decided' or t.state = 'complete' and t.released > 0) and t.min_performers is distinct from null
				and t.min_performers > (select count(*) from here.result r where r.task_id = t.task_id and not (r.reopened and r.state = 'rejected'))},
		'a slot that nobody wanted to offer again' => q{
			select assignment_id::text from here.result where reopened and not coalesce(feedback, '') ^@ 'again'},
		'a task that was decided without being asked to' => q{
			select task_id::text from here.task where (state = 'decided' or state = 'complete' and released > 0) and min_performers is null},
		'a ledger that does not balance' => q{
			select sum(available)::text || ' ' || sum(held) from here.entry having sum(available::numeric + held) <> 0},
		'a transfer that does not balance' => q{
			select transfer_id::text from here.entry group by 1 having sum(available::numeric + held) <> 0});
	push @wrong, 'an open or complete task without all its assignments' => qq{
		select t.task_id || ' has ' || coalesce(h.n, 0) || ' of ' || t.performers
		from here.task t left join ($holding) h using (task_id)
		where t.task_type_id > 0 and coalesce(h.n, 0) <> t.performers
			and (t.state = 'open' or t.state = 'complete' and t.min_performers is null)} if $o{drained};
	my $sql = '';
	while (my ($what, $query) = splice @wrong, 0, 2)
	{
		$sql .= ($sql eq '' ? '' : ' union all ')
		  . "select '$what: ' || string_agg(w.what, ', ') from (select what from ($query) q (what) limit 5) w having count(*) > 0";
	}
	# (to compile it takes longer than to execute it)
	is($node->safe_psql('postgres', "set jit = off; $sql"), '', "$name: counted independently")
	  || diag($node->safe_psql('postgres', qq{
		with t as (select t.* from here.task t left join ($holding) h using (task_id)
			where h.n > t.performers or t.live not between 0 and t.performers
				or @{[ $o{drained} ? 1 : 0 ]} = 1 and t.state in ('open', 'complete') and coalesce(h.n, 0) <> t.performers
			limit 3)
		select t::text from t
		union all (select concat_ws(' ', a, 'result', r.state, r.feedback, r.judged_at)
			from t join here.assignment a using (task_id) left join here.result r using (assignment_id)
			order by a.task_id, a.assignment_id)}));
	return ok_checks($node, 'postgres', "$name: the exchange's own checks");
}

1;
