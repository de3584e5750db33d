# What the code of a run has said of it outlives its failure, kill -9 of its
# executor and the server's restart; it stops where it is asked to, and goes on.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => q{
taskex.max_executors = 2
restart_after_crash = on
});
sub q1 { return $node->safe_psql('postgres', $_[0]) }
sub is_true { my ($query, $what) = @_; local $Test::Builder::Level = $Test::Builder::Level + 1; return await($node, 'postgres', $query, $what) }

q1(q{
	create role runner login in role taskex_user;
	select taskex.add_partition('p1');
	select taskex.register_user('ann', '{"db_role": "runner"}');
	select taskex.create_environment('pl', 'plpgsql', options => '{"limits": {"slice": "1 h"}}');
	create table public.wrote (run_id bigint, n int);
	grant select, insert on public.wrote to runner;
});

# steps through 1 .. data -> 'to' with a checkpoint each; where a file of its number is missing it waits
q1(q{
	create table public.allowed (n int primary key);
	grant select on public.allowed to runner;
	select taskex.publish_program('ann', 'steps', 'pl', $p$
		declare
			done int := coalesce((taskex.run_state() ->> 'done')::int, 0);
			first int := done;
		begin
			while done < (data ->> 'to')::int loop
				while not exists (select from public.allowed where n = done + 1) loop
					if taskex.should_yield() and data ? 'polite' then
						insert into public.wrote values (0, done);
						perform taskex.yield_run(state => jsonb_build_object('done', done));
						return null;
					end if;
					perform pg_sleep(0.05);
					continue when data ? 'polite';
					perform taskex.checkpoint(jsonb_build_object('done', done), to_jsonb(done));
				end loop;
				done := done + 1;
				perform taskex.checkpoint(jsonb_build_object('done', done), to_jsonb(done));
				if data ->> 'fail_at' = done::text and first < done then
					raise 'failed on purpose';
				end if;
			end loop;
			return jsonb_build_object('first', first, 'done', done);
		end $p$);
});

# a failure
my $id = q1(q{insert into public.allowed select generate_series(1, 3);
	select taskex.submit_run('ann', 'steps', '{"to": 3, "fail_at": 2}', options => '{"backoff": {"initial": "0"}}')});
is(q1("select taskex.wait_for_run($id, '3 minutes')"), '{"done": 3, "first": 2}', 'after a failure it goes on from its checkpoint');
is(q1("select string_agg(outcome, ' ' order by attempt) from taskex.run_attempts where run_id = $id"), 'failed succeeded', '... and the attempts say so');
cmp_ok(q1("select progress from taskex.run_status($id)"), '>=', 2, 'its progress is at least what was noted when it failed');

# what was said last is there when it has succeeded, though the conductor may not have come to it
$id = q1(q{select taskex.publish_program('ann', 'quick', 'pl', $p$ begin perform taskex.progress('1'), taskex.checkpoint('{"done": 1}');
		perform taskex.checkpoint('{"done": 2}', '2'), taskex.progress('3'); return '3'; end $p$) \g /dev/null
	select min(id) from taskex.submit_runs('ann', 'quick', array_fill('1'::jsonb, array[30])) id});
is_true("select count(*) = 30 from taskex.runs where program = 'quick' and state = 'succeeded'", 'thirty quick ones');
is(q1("select string_agg(distinct format('%s %s', progress, checkpoint), ', ') from taskex.runs where program = 'quick'"), '3 {"done": 2}', '... have the progress and the checkpoint that were said last');

# it does not ask itself to stop
is(q1(q{select taskex.publish_program('ann', 'itself', 'pl', $p$ begin perform taskex.checkpoint('1');
		begin perform taskex.suspend_run((select run_id from taskex.executors where pid = pg_backend_pid())); exception when sqlstate 'TX109' then end;
		perform taskex.suspend_customer('ann'); perform taskex.checkpoint('2'); return '3'; end $p$)}), '1', 'a program that would suspend itself');
$id = q1("select taskex.submit_run('ann', 'itself', options => '{\"max_attempts\": 1}')");
is(q1("select taskex.wait_for_run($id, '3 minutes')"), '3', '... is not stopped by what is not committed');
is(q1("select attempts from taskex.run_status($id)"), '1', '... and runs once');
q1("select taskex.resume_runs('ann')");

# kill -9 of the executor: the server starts again
$id = q1(q{delete from public.allowed where n > 1; select taskex.submit_run('ann', 'steps', '{"to": 3}', options => '{"backoff": {"initial": "0"}}')});
is_true("select checkpoint = '{\"done\": 1}' from taskex.runs where run_id = $id", 'the conductor has written the checkpoint of a run whose transaction is open');
ok(kill_process($node, "select pid from taskex.executors where run_id = $id"), 'its executor is killed');
q1('insert into public.allowed values (2), (3)');
is(q1("select taskex.wait_for_run($id, '3 minutes')"), '{"done": 3, "first": 1}', 'after kill -9 of its executor it goes on from there');
is(q1("select string_agg(outcome, ' ' order by attempt) from taskex.run_attempts where run_id = $id"), 'crashed succeeded', '... in a second attempt');

# asked to stop: at its next checkpoint; the lost transaction's state is there
$id = q1(q{delete from public.allowed where n > 1; select taskex.submit_run('ann', 'steps', '{"to": 3}')});
is_true("select checkpoint = '{\"done\": 1}' from taskex.runs where run_id = $id", 'it runs');
is(q1("select taskex.suspend_run($id)"), 'running', 'it is asked to stop');
is_true("select (taskex.run_status($id)).state = 'suspended'", '... and does at its next checkpoint');
is(q1("select attempts, max_attempts, state_data, asked from _taskex.run where run_id = $id"), '1|4|{"done": 1}|', 'that is no attempt that counts');
q1("insert into public.allowed values (2), (3); select taskex.resume_run($id)");
is(q1("select taskex.wait_for_run($id, '3 minutes')"), '{"done": 3, "first": 1}', 'resumed it goes on');

# by force: a program that says nothing
$id = q1(q{select taskex.submit_run('ann', null, null, options => '{"environment": "pl", "code": "begin perform pg_sleep(600); return null; end"}')});
is_true("select count(*) = 1 from taskex.executors where run_id = $id", 'a run that listens to nobody');
q1("select taskex.suspend_run($id, '0.3 s')");
is_true("select (taskex.run_status($id)).state = 'suspended'", '... is stopped by force');
is_true("select count(*) = 0 from taskex.executors where run_id = $id", '... and its executor does something else');
is(q1("select taskex.cancel_run($id)"), 't', '... and is cancelled');

# giving way: what it has written is committed with its state
$id = q1(q{delete from public.allowed where n > 1; select taskex.submit_run('ann', 'steps', '{"to": 3, "polite": true}')});
is_true("select checkpoint = '{\"done\": 1}' from taskex.runs where run_id = $id", 'a polite one runs');
q1("select taskex.suspend_customer('ann')");
is_true("select (taskex.run_status($id)).state = 'waiting'", '... and gives way');
is(q1('select n from public.wrote'), '1', 'what it had written is there');
q1("insert into public.allowed values (2), (3); select taskex.resume_runs('ann')");
is(q1("select taskex.wait_for_run($id, '3 minutes')"), '{"done": 3, "first": 1}', '... and goes on');

# its turn is over: it gives way by itself, and goes on from there
q1(q{select taskex.create_environment('turns', 'plpgsql', options => '{"limits": {"slice": "300 ms"}}');
	select taskex.publish_program('ann', 'turns', 'turns', $p$
		declare
			done int := coalesce((taskex.run_state() ->> 'done')::int, 0);
			turns jsonb := coalesce(taskex.run_state() -> 'turns', '[]') || to_jsonb(done);
		begin
			while done < 10 loop
				perform pg_sleep(0.1);
				done := done + 1;
				if taskex.should_yield() and done < 10 then
					perform taskex.yield_run(state => jsonb_build_object('done', done, 'turns', turns));
					return null;
				end if;
			end loop;
			return turns;
		end $p$)});
$id = q1(q{select taskex.submit_run('ann', 'turns', options => '{"max_attempts": 1}')});
my $turns = q1("select taskex.wait_for_run($id, '3 minutes')");
like($turns, qr/^\[0, [1-9]\d*(, \d+)*\]$/, 'after its slice it goes on where it was');
is($turns, q1("select to_jsonb(array_agg(x order by x)) from jsonb_array_elements('$turns') x"), '... each time further');
is(q1("select count(*) from taskex.run_attempts where run_id = $id and outcome = 'suspended'"), q1("select jsonb_array_length('$turns') - 1"), '... and no slice counts as an attempt');

# one that gives way for ever leaves no record of each time
q1(q{select taskex.publish_program('ann', 'again', 'pl', $p$
	begin
		if (data #>> '{}')::int > coalesce(taskex.run_state()::int, 0) then
			perform taskex.yield_run(state => to_jsonb(coalesce(taskex.run_state()::int, 0) + 1));
		end if;
		return '"done"';
	end $p$)});
$id = q1(q{select taskex.submit_run('ann', 'again', '130')});
is(q1("select taskex.wait_for_run($id, '1 minute')"), '"done"', 'a run that gives way 130 times');
is(q1("select attempts, suspensions from _taskex.run where run_id = $id"), '131|130', '... ends');
is(q1("select count(*), max(attempt), count(distinct outcome) from _taskex.run_attempt where run_id = $id"), '100|130|1', '... and the last hundred times are on record');
is(q1('select count(*) from taskex.check_workload() where not ok'), '0', '... and all is well');
is(q1('select count(*) from taskex.check_billing() where not ok'), '0', '... with what it used');

# a part of a run in parts has a state of its own
q1(q{select taskex.publish_program('ann', 'part', 'pl', $p$
		begin
			if taskex.run_state() is null then
				perform taskex.checkpoint(data -> 'inputs');
				raise 'failed on purpose';
			end if;
			return jsonb_build_array(taskex.run_state(), data -> 'inputs');
		end $p$)});
$id = q1(q{select taskex.submit_split('ann', 'part', 'select generate_series(1, 4)', 2, options => '{"backoff": {"initial": "0"}}')});
is(q1("select taskex.wait_for_run($id, '3 minutes')"), '[[[1, 2], [1, 2]], [[3, 4], [3, 4]]]', 'parts that are tried again have their own state, and their inputs');

# kill -9 of the postmaster: of a run in an executor, and of one that a worker outside has
q1(q{select taskex.create_environment('ext', 'external')});
my $outside = q1(q{select taskex.submit_run('ann', null, options => '{"environment": "ext", "backoff": {"initial": "0"}}')});
$id = q1(q{delete from public.allowed where n > 1; select taskex.submit_run('ann', 'steps', '{"to": 3}', options => '{"backoff": {"initial": "0"}}')});
is_true("select checkpoint = '{\"done\": 1}' from taskex.runs where run_id = $id", 'a run has a checkpoint');
q1(q{select taskex.heartbeat_run(run_id, lease_token, '1 s', state => '{"frame": 7}') from taskex.pull_runs('w', 'ext')});
ok(kill_and_start($node), 'kill -9 of the server');
is_true("select state = 'waiting' from taskex.run_status($outside)", 'after kill -9 of the server the lease of a worker ends');
is(q1(q{select state from taskex.pull_runs('w', 'ext')}), '{"frame": 7}', '... and the next one gets the state');
q1('insert into public.allowed values (2), (3)');
is(q1("select taskex.wait_for_run($id, '3 minutes')"), '{"done": 3, "first": 1}', '... as the next attempt in an executor does');

# in each language: what an attempt has said is there in the next one, not in this one's failure
my $sharedir = `pg_config --sharedir`;
chomp $sharedir;
my %code = (
	sql => q{select case when taskex.run_state() is null then to_jsonb(1 / length(taskex.checkpoint('{"n": 7}')::text)) else taskex.run_state() end},
	plperl => q{my $s = spi_exec_query('select taskex.run_state() as s')->{rows}[0]{s}; return $s if defined $s;
		spi_exec_query(q(select taskex.checkpoint('{"n": 7}'))); elog(ERROR, 'failed on purpose');},
	pltcl => q{spi_exec "select coalesce(taskex.run_state()::text, '') as s"; if {$s ne ""} {return $s}
		spi_exec {select taskex.checkpoint('{"n": 7}')}; elog ERROR "failed on purpose"},
	plpython3u => qq{s = plpy.execute("select taskex.run_state() as s")[0]["s"]\nif s is not None:\n    return s\n}
	  . qq{plpy.execute("select taskex.checkpoint('{\\"n\\": 7}')")\nplpy.error("failed on purpose")});
for my $language (sort keys %code)
{
  SKIP:
	{
		skip "language $language is not installed", 2 if $language =~ /^pl/ && !-e "$sharedir/extension/$language.control";
		my $named = $language =~ /u$/ ? '{"customers": ["ann"]}' : '{}';
		q1("create extension $language") if $language =~ /^pl/;
		q1("select taskex.create_environment('in_$language', '$language', options => '$named'); select taskex.publish_program('ann', 'in_$language', 'in_$language', \$p\$$code{$language}\$p\$)");
		$id = q1("select taskex.submit_run('ann', 'in_$language', options => '{\"backoff\": {\"initial\": \"0\"}}')");
		is(q1("select taskex.wait_for_run($id, '3 minutes')"), '{"n": 7}', "$language: the next attempt gets the state");
		is(q1("select string_agg(outcome, ' ' order by attempt) from taskex.run_attempts where run_id = $id"), 'failed succeeded', '... of the one that failed');
	}
}

# nobody else may say anything; too much is refused
for my $call ('checkpoint(\'1\')', 'progress(\'1\')', 'run_state()', 'should_yield()', 'yield_run()')
{
	my ($out, $err);
	$node->psql('postgres', "\\set VERBOSITY sqlstate\nselect taskex.$call", stdout => \$out, stderr => \$err);
	like($err, qr/TX662/, "$call is for the code of runs");
}
$id = q1(q{select taskex.submit_run('ann', null, null, options => '{"environment": "pl", "max_attempts": 1, "code": "begin perform taskex.checkpoint(to_jsonb(repeat(''x'', 100000))); return null; end"}')});
is_true("select state = 'dead' from taskex.run_status($id)", 'a checkpoint that is too large fails the run');
is(q1("select error ->> 'sqlstate' from taskex.run_status($id)"), 'TX111', '... and says why') if q1("select error ? 'sqlstate' from taskex.run_status($id)") eq 't';
is(q1(q{select string_agg(check_name || ': ' || detail, '; ') from taskex.check_workload() where not ok}), '', 'all checks hold');

$node->stop;
done_testing();
