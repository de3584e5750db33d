# What runs do to the executor that runs them: attacks, limits, and things that are left behind.
# One executor has them all, one after the other, so that what one leaves would meet the next.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => q{
taskex.conductor_interval = 50ms
taskex.executor_batch = 64
taskex.executor_batch_time = 500ms
taskex.run_grace = 300ms
taskex.run_output_size = 8kB
log_min_messages = warning
});
$node->safe_psql('postgres', q{
	create role cust login;
	create role stranger;
	grant taskex_user to cust;
	create table mine (n int, xid text);
	create table parent (id int primary key);
	create table child (id int references parent deferrable initially deferred);
	create sequence numbers;
	create function owner() returns text language sql security definer as 'select current_user::text';
	grant all on mine, parent, child, numbers to cust;
	create table secret (n int);
	select taskex.add_partition('p1');
	select taskex.register_user('c', '{"db_role": "cust"}'), taskex.register_user('other');
	select taskex.create_environment('pl', 'plpgsql', options => '{"max_executors": 1, "max_attempts": 2, "idle_time": "1 hour",
		"setup": "prepare of_setup as select 1; create temp table of_setup (n int)"}');
	select taskex.create_environment('sq', 'sql', options => '{"max_executors": 1, "max_attempts": 1}');
	select taskex.create_environment('short', 'plpgsql', options => '{"max_executors": 1, "max_attempts": 1, "limits": {"timeout": "1 s", "temp_files": "100 TB"}}');
	select taskex.create_environment('tight', 'plpgsql', options => '{"max_executors": 1, "max_attempts": 1,
		"limits": {"memory": "100MB", "temp_files": "1MB", "rows": 1000, "result_size": "10kB"}}')});

my $now = '"backoff": {"initial": "0"}';

# submits a run; the arguments are named: environment, data, options
sub submit
{
	my ($code, %o) = @_;
	my $environment = $o{environment} // 'pl';
	my $data = $o{data} // '{}';
	my $options = $o{options} ? ", $o{options}" : '';
	return $node->safe_psql('postgres', qq{select taskex.submit_run('c', data => '$data',
		options => jsonb_build_object('environment', '$environment', 'code', \$code\$$code\$code\$) || '{$now$options}')});
}

# waits for its end; returns its state and result, or the SQLSTATE and message of its error
sub ended
{
	my $id = shift;
	$node->poll_query_until('postgres', "select finished_at is not null from taskex.run_status($id)") or die "run $id does not end";
	return $node->safe_psql('postgres', qq{
		select concat_ws(' ', state, result, error ->> 'sqlstate', error ->> 'message') from taskex.runs where run_id = $id});
}

sub run
{
	my ($code, %o) = @_;
	return ended(submit($code, %o));
}

my $pid = q{return pg_backend_pid()};
my $executor = sub { my ($n) = run("begin $pid; end", @_) =~ /(\d+)$/; return $n };

# ---- what is left behind ----

my ($seeded) = $node->safe_psql('postgres', 'select setseed(0.25); select random()') =~ /([\d.e-]+)$/;

my @leave = (
	['temporary tables', q{create temp table left_over as select 1 as a; create temp sequence left_seq; create function pg_temp.f() returns int language sql as 'select 1'},
		q{(select count(*) from pg_class where relnamespace = pg_my_temp_schema() and relname <> 'of_setup') + (select count(*) from pg_proc where pronamespace = pg_my_temp_schema() and proname = 'f')}],
	['prepared statements', q{execute 'prepare p as select 1'}, q{(select count(*) from pg_prepared_statements where name <> 'of_setup')}],
	['cursors', q{execute 'declare c cursor with hold for select 1'; execute 'declare d cursor for select 1'}, q{(select count(*) from pg_cursors)}],
	['advisory locks', q{perform pg_advisory_lock(4711); perform pg_advisory_lock_shared(4712)},
		q{(select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid())}],
	['parameters', q{perform set_config('work_mem', '9MB', false); set local datestyle = 'german, dmy'; perform set_config('search_path', 'nowhere', false);
			perform set_config('my.setting', 'x', false)},
		q{concat_ws('/', current_setting('work_mem'), current_setting('datestyle'), current_setting('search_path'), nullif(current_setting('my.setting', true), ''))}],
	['roles', q{execute 'set role cust'; execute 'set session authorization cust'}, q{concat(current_user, session_user, current_setting('role'))}],
	['lastval', q{perform nextval('numbers')}, q{pg_temp.last()}],
	['random numbers', q{perform setseed(0.25)}, "random() = $seeded"],
	['descriptors of large objects', q{perform lo_creat(-1); perform lo_open(oid, 262144) from pg_largeobject_metadata where lomowner = current_user::regrole limit 1}, q{pg_temp.descriptor()}],
	['channels', q{begin execute 'listen ch'; exception when feature_not_supported then null; end}, q{(select count(*) from pg_listening_channels())}],
);

# what one sees: functions that catch what a clean session has to say
my $see = q{create function pg_temp.last() returns text language plpgsql as $$ begin return lastval(); exception when object_not_in_prerequisite_state then return 'none'; end $$;
	create function pg_temp.descriptor() returns text language plpgsql as $$ begin return lo_tell(0); exception when undefined_object then return 'none'; end $$;};

sub look
{
	my $what = shift;
	return qq{declare v text; begin $see select $what into v; return jsonb_build_object('pid', pg_backend_pid(), 'sees', v); end};
}

for my $l (@leave)
{
	my ($what, $leave, $sees) = @$l;
	my $clean = run(look($sees));
	my ($first) = $clean =~ /"pid": (\d+)/;
	my $end = run("begin $leave; return 1; end");
	is($end, 'succeeded 1', "a run leaves $what");
	is(run(look($sees)), $clean, '... which the next one, in the same process, does not see');
	like(run("begin $leave; raise exception 'own'; end"), qr/^dead P0001 own/, "... one that fails does the same");
	is(run(look($sees)), $clean, '... nor that');
}
like(run(q{begin execute 'execute of_setup'; insert into of_setup values (1); return (select count(*) from of_setup); end}), qr/^succeeded 1/,
	'what the set-up has made stays');

my $before = $executor->();
is(run(q{begin execute 'deallocate all'; return 1; end}), 'succeeded 1', 'a run destroys what the set-up has made');
isnt($executor->(), $before, '... and its process is replaced');
is(run(q{begin execute 'execute of_setup'; return 1; end}), 'succeeded 1', '... by one that has been set up');
$before = $executor->();
is(run(q{begin drop table of_setup; return 1; end}), 'succeeded 1', 'a run drops a table of the set-up');
isnt($executor->(), $before, '... the same');
$before = $executor->();
is(run(q{begin execute 'discard temp'; return 1; end}), 'succeeded 1', 'a run discards all that is temporary, its own code too');
isnt($executor->(), $before, '... the same');

# ---- rights ----

like(run(q{begin reset role; execute 'reset session authorization'; perform 1 from secret; return 1; end}), qr/^dead 42501 .*secret/, 'RESET ROLE and RESET SESSION AUTHORIZATION gain nothing');
like(run(q{begin execute 'set session authorization ' || (select rolname from pg_roles where rolsuper limit 1); return 1; end}), qr/^dead 42501/, 'nor does SET SESSION AUTHORIZATION');
like(run(q{begin set role stranger; return 1; end}), qr/^dead 42501/, 'nor SET ROLE');
like(run(q{begin delete from _taskex.run; return 1; end}), qr/^dead 42501/, 'a run cannot touch the tables of the exchange');
like(run(q{begin perform taskex.submit_run('other', options => '{"environment": "pl", "code": "begin end"}'); return 1; end}), qr/^dead 42501/, '... or act for somebody else');
like(run(q{begin return to_jsonb(taskex.submit_run('c', options => '{"environment": "sq", "code": "select to_jsonb(5)"}')); end}), qr/^succeeded \d+/, '... but for its customer');
like(run(q{begin return to_jsonb(public.owner()); end}), qr/^succeeded "(?!cust)/, 'functions that are SECURITY DEFINER work');
like(run(q{begin set temp_file_limit = -1; return 1; end}), qr/^dead 42501/, 'limits cannot be changed');
like(run(q{declare f text; begin select oid::regprocedure into strict f from pg_proc where pronamespace = pg_my_temp_schema() and proname like 'code%' order by oid desc limit 1;
	execute 'drop function ' || f; return 1; end}), qr/^dead 42501 must be owner/, 'a run cannot drop its program');
like(run(q{begin create temp table run (a int); create temp table run_1 (a int); create temp table run_attempt_1 (a int);
	create function pg_temp.now() returns timestamptz language plpgsql as $$ begin raise exception 'mine'; end $$;
	create operator pg_temp.= (leftarg = bigint, rightarg = bigint, function = int8ne);
	perform set_config('search_path', 'pg_temp, pg_catalog', false); raise exception 'own'; end}), qr/^dead P0001 own/, 'temporary objects do not shadow those of the exchange');

# ---- transactions ----

like(run(q{begin insert into mine values (0); commit; return 1; end}), qr/^dead 2D000/, 'COMMIT is an error');
like(run(q{begin rollback; return 1; end}), qr/^dead 2D000/, '... and so is ROLLBACK');
like(run(q{begin execute 'rollback'; return 1; end}), qr/^dead 0A000/, '... also when it is executed');
is($node->safe_psql('postgres', 'select count(*) from mine'), 0, 'nothing of a failed run stays');
like(run(q{begin insert into child values (1); return 1; end}), qr/^dead 23503/, 'a deferred constraint is checked with the run');
is(run(q{begin insert into child values (2); insert into parent values (2); return 1; end}), 'succeeded 1', '... at its end');
is(run(q{begin insert into child values (3); set constraints all immediate; return 1; exception when foreign_key_violation then return 2; end}), 'succeeded 2', 'SET CONSTRAINTS works');
is(run(q{begin insert into child values (4); insert into parent values (4); return 1; end}), 'succeeded 1', '... and reaches no other run');
is(run('select data', environment => 'sq', data => '{"a": 1}'), 'succeeded {"a": 1}', 'a run in sql');
like(run('select 1 / 0; select data', environment => 'sq'), qr/^dead 22012/, '... that fails');
is(run('begin return null; end'), 'succeeded', 'a result may be null');

# small runs share a commit, and nothing else
my $small = q{begin insert into mine values ((data ->> 0)::int, pg_current_xact_id()); if data = '[13]' then raise exception 'unlucky'; end if; return data; end};
run($small, data => '[0]') for 1 .. 3;
$node->safe_psql('postgres', 'truncate mine');
my $ids = $node->safe_psql('postgres', qq{select string_agg(id::text, ',') from taskex.submit_runs('c', null, array(select jsonb_build_array(g) from generate_series(1, 100) g),
	options => jsonb_build_object('environment', 'pl', 'code', \$code\$$small\$code\$, 'max_attempts', 1)) id});
ok($node->poll_query_until('postgres', "select count(*) = 100 from taskex.runs where run_id in ($ids) and finished_at is not null"), 'many small runs end');
is($node->safe_psql('postgres', "select string_agg(state || ' ' || n, ', ' order by state) from (select state, count(*) n from taskex.runs where run_id in ($ids) group by state) u"),
	'dead 1, succeeded 99', '... all but one with success');
is($node->safe_psql('postgres', 'select count(*), count(*) filter (where n = 13), count(distinct xid) < 20 from mine'), '99|0|t', '... they share commits, and not their fate');

# ---- limits ----

my $long = submit('begin perform pg_sleep(60); return 1; end', options => '"timeout": "200 ms", "max_attempts": 1');
like(ended($long), qr/^dead TX630/, 'a timeout of the run');
like(run('begin perform pg_sleep(60); return 1; end', environment => 'short'), qr/^dead TX630/, '... of the environment');
like(run('begin loop end loop; end', environment => 'short'), qr/^dead TX630/, '... of an endless loop');
like(run('begin perform pg_sleep(60); return 1; exception when query_canceled then return 2; end', environment => 'short'), qr/^dead TX630/, '... of one that catches the cancellation');
$before = $executor->(environment => 'short');
my $stubborn = submit('begin loop begin perform pg_sleep(60); exception when query_canceled then null; end; end loop; end', environment => 'short');
like(ended($stubborn), qr/^dead /, '... of one that goes on');
is($node->safe_psql('postgres', "select outcome from taskex.run_attempts where run_id = $stubborn"), 'crashed', '... the process is ended');
is($node->safe_psql('postgres', "select error ->> 'message' from taskex.run_attempts where run_id = $stubborn"),
	'the run went on after its timeout, and its executor was ended', '... and the attempt says why');
isnt($executor->(environment => 'short'), $before, '... and replaced');
like(run(q{begin return to_jsonb(repeat('x', 20000)); end}, environment => 'tight'), qr/^dead TX631/, 'a result that is too large');
like(run(q{begin return to_jsonb(repeat('x', 2000000)); end}, options => '"max_attempts": 1'), qr/^dead TX631/, '... without a limit of the environment');
like(run(q{begin return to_jsonb(repeat('x', 1100000000)); end}, options => '"max_attempts": 1'), qr/^dead (54000|XX000)/, '... a gigabyte of it');
like(run(q{declare a text[]; begin for i in 1 .. 1000 loop a := a || repeat('x', 1000000); end loop; return 1; end}, environment => 'tight'), qr/^dead 53200/, 'memory');
like(run(q{begin return to_jsonb(length(repeat('x', 10000000))); end}, environment => 'tight'), qr/^succeeded/, '... which the next one has');
like(run(q{begin perform from (select repeat('x', 100) || g from generate_series(1, 100000) g order by 1 offset 0) u; return 1; end}, environment => 'tight'), qr/^dead 53400/, 'temporary files');
$node->safe_psql('postgres', 'insert into mine select g from generate_series(1, 3000) g');
like(run('begin perform 1 from mine; return 1; end', environment => 'tight'), qr/^dead TX632/, 'rows');
like(run(q{begin begin update mine set n = n + 1; exception when others then null; end; return 1; end}, environment => 'tight'), qr/^dead TX632/, '... also if the code catches the error');
like(run('begin perform 1 from mine limit 900; return 1; end', environment => 'tight'), qr/^succeeded 1/, '... fewer are fine');

# ---- messages, errors, measures ----

my $log = -s $node->logfile;
my $loud = submit(q{begin raise notice 'first'; for i in 1 .. 20000 loop raise notice '%', repeat('x', 100); raise warning 'w'; raise log 'l'; end loop; return 1; end});
is(ended($loud), 'succeeded 1', 'a run that says much');
is($node->safe_psql('postgres', "select octet_length(output) between 8000 and 9000, output like E'NOTICE:  first\\n%more)\\n' from taskex.run_attempts where run_id = $loud"), 't|t',
	'... of which as much is kept as is to be');
cmp_ok((-s $node->logfile) - $log, '<', 5000, '... and nothing is in the log');
my $wrong = submit(q{begin raise notice 'before'; raise exception using message = 'm', detail = 'd', hint = 'h', errcode = 'ZZ123', table = 't'; end}, options => '"max_attempts": 1');
ended($wrong);
is($node->safe_psql('postgres', "select error - 'context', rtrim(output, E'\n') from taskex.run_attempts where run_id = $wrong"),
	qq({"hint": "h", "table": "t", "detail": "d", "message": "m", "sqlstate": "ZZ123"}|NOTICE:  before), 'an error is kept with all its fields, and what was said before');
like($node->safe_psql('postgres', "select error ->> 'context' from taskex.run_attempts where run_id = $wrong"), qr/line 1 at RAISE/, '... and its context');
my $work = submit(q{begin insert into mine select g from generate_series(1, 2500) g; perform pg_sleep(0.1); return 1; end});
ended($work);
is($node->safe_psql('postgres', qq{select (measured ->> 'rows')::int between 2500 and 2510, (measured ->> 'wall_us')::int between 100000 and 10000000,
	(measured ->> 'cpu_us')::int between 1 and 1000000, (measured ->> 'wal_bytes')::int > 2500 * 30, (measured ->> 'blocks_written')::int > 5
	from taskex.run_attempts where run_id = $work}), 't|t|t|t|t', 'what a run uses is measured');
my $large = submit(q{declare t text := repeat('x', 50000000); begin return to_jsonb(length(t)); end});
ended($large);
is($node->safe_psql('postgres', "select coalesce((measured ->> 'memory')::int > 40000000, true) from taskex.run_attempts where run_id = $large"), 't', '... its memory, too');

# ---- the end of the process ----

my $killer = submit('begin perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(10); return 1; end');
like(ended($killer), qr/^dead /, 'a run that ends its executor');
is($node->safe_psql('postgres', "select string_agg(outcome, ',') from taskex.run_attempts where run_id = $killer"), 'crashed,crashed', '... each of its attempts');
like(run("begin $pid; end"), qr/^succeeded \d/, '... others go on');
my $batch = q{begin if data = '[7]' then perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(10); end if; return data; end};
run($batch, data => '[0]') for 1 .. 3;
$ids = $node->safe_psql('postgres', qq{select string_agg(id::text, ',') from taskex.submit_runs('c', null, array(select jsonb_build_array(g) from generate_series(1, 40) g),
	options => jsonb_build_object('environment', 'pl', 'code', \$code\$$batch\$code\$) || '{$now}') id});
ok($node->poll_query_until('postgres', "select count(*) = 40 from taskex.runs where run_id in ($ids) and finished_at is not null"), 'many runs of which one ends the executor');
is($node->safe_psql('postgres', "select string_agg(concat_ws(' ', n, state, attempts), ', ' order by n) from (select state, attempts, count(*) n from taskex.runs where run_id in ($ids) group by 1, 2) u"),
	'1 dead 2, 39 succeeded 1', '... only its attempts count');
like(run(q{begin perform taskex.cancel_run(run_id) from taskex.runs where state = 'running' and code like '%this one%'; return 1; end}), qr/^dead TX108/, 'a run that cancels itself');
cmp_ok($node->safe_psql('postgres', q{select coalesce((measured ->> 'wall_us')::bigint, -1) from taskex.run_attempts
	where error ->> 'sqlstate' = 'TX108' order by run_id desc limit 1}), '>', 0, 'what it used is known, though it is undone');
my $sleeper = submit('begin perform pg_sleep(60); return 1; end');
$node->poll_query_until('postgres', "select state = 'running' from taskex.run_status($sleeper)");
is($node->safe_psql('postgres', "select taskex.cancel_run($sleeper)"), 't', 'a run is cancelled');
like(run("begin $pid; end"), qr/^succeeded \d/, '... its executor does others at once');
is(ended($sleeper), 'cancelled', '... and it stays cancelled');
is($node->safe_psql('postgres', q{select count(*) from taskex.check_workload() where not ok}), 0, 'all is right in the end');

done_testing();
