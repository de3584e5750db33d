# Executors run code in each language that is there; chains of several owners, data that a run
# points to, and functions that get results.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $sharedir = `pg_config --sharedir`;
chomp $sharedir;
my $node = new_cluster('main', conf => "taskex.conductor_interval = 50ms\ntaskex.run_grace = 200ms\nmax_worker_processes = 30\n");
my $p = 'postgres';
$node->safe_psql($p, q{
	create role ann login; create role bob login; grant taskex_user to ann, bob;
	create table datum (i int, t text); insert into datum values (2, 'b'), (1, 'a'); grant select on datum to ann;
	create table taken (run_id bigint, result jsonb, who text); grant select, insert on taken to ann;
	create function public.take(run_id bigint, result jsonb) returns void language sql as 'insert into taken values ($1, $2, current_user)';
	create function public.refuse(result jsonb) returns void language plpgsql as 'begin raise exception ''not today''; end';
	select taskex.add_partition('p1'), taskex.register_user('ann', '{"db_role": "ann"}'), taskex.register_user('bob', '{"db_role": "bob"}');
	select taskex.create_environment('sql', 'sql'), taskex.create_environment('plpgsql', 'plpgsql'), taskex.create_environment('ext', 'external'),
		taskex.create_environment('once', 'plpgsql', options => '{"max_attempts": 1}')});

# waits for the end; returns its state and result, or message
sub ended
{
	my $id = shift;
	$node->poll_query_until($p, "select finished_at is not null from taskex.run_status($id)") or die "run $id does not end";
	return $node->safe_psql($p, "select concat_ws(' ', state, result, error ->> 'sqlstate', error ->> 'message') from taskex.runs where run_id = $id");
}
sub run { my $arguments = shift; return ended($node->safe_psql($p, "select taskex.submit_run('ann', $arguments)")) }

# the same program in each: the greatest of the numbers, and who runs it
my %code = (
	sql => q{SELECT jsonb_build_object('max', max(n::int), 'who', current_user) FROM jsonb_array_elements_text(data -> 'numbers') n},
	plpgsql => q{DECLARE m int; BEGIN SELECT max(n::int) INTO m FROM jsonb_array_elements_text(data -> 'numbers') n;
		RETURN jsonb_build_object('max', m, 'who', current_user); END},
	plperl => q{my ($data) = @_; my ($list) = $data =~ /"numbers": \[([\d, ]*)\]/; my $max; for (split /, /, $list) { $max = $_ if !defined $max || $_ > $max }
		my $who = spi_exec_query('SELECT current_user AS u')->{rows}[0]{u}; return qq({"max": $max, "who": "$who"});},
	pltcl => q{regexp {"numbers": \[([0-9, ]*)\]} $1 all list; set max [tcl::mathfunc::max {*}[split [string map {" " ""} $list] ,]]
		spi_exec "SELECT current_user AS u"; return "{\"max\": $max, \"who\": \"$u\"}"},
	plpython3u => qq{import json\nnumbers = json.loads(data)["numbers"]\nwho = plpy.execute("SELECT current_user AS u")[0]["u"]\nreturn json.dumps({"max": max(numbers), "who": who})});
my %broken = (sql => 'SELECT 1', plpgsql => 'BEGIN RETRUN 1; END', plperl => 'retrun {{ 1;', plpython3u => "x = 1\nretrun 1");
my %divide = (sql => q{SELECT to_jsonb(1 / (data ->> 'zero')::int)}, plpgsql => q{BEGIN RETURN 1 / (data ->> 'zero')::int; END},
	plperl => q{spi_exec_query('SELECT 1 / 0'); return '1';}, pltcl => q{spi_exec "SELECT 1 / 0"; return 1}, plpython3u => q{plpy.execute("SELECT 1 / 0")});

for my $language (qw(sql plpgsql plperl pltcl plpython3u))
{
  SKIP:
	{
		skip "language $language is not installed", 5 if $language =~ /^pl(?!pgsql)/ && !-e "$sharedir/extension/$language.control";
		if ($language =~ /^pl(?!pgsql)/)
		{
			my $named = $language =~ /u$/ ? q{, options => '{"customers": ["ann"]}'} : '';
			$node->safe_psql($p, "create extension $language");
			if ($named)
			{
				my (undef, undef, $err) = $node->psql($p, "select taskex.create_environment('$language', '$language')");
				like($err, qr/needs the option "customers"/, "$language: for customers who are named");
			}
			$node->safe_psql($p, "select taskex.create_environment('$language', '$language'$named)");
		}
		is($node->safe_psql($p, "select taskex.publish_program('ann', '$language', '$language', \$code\$$code{$language}\$code\$)"), '1', "$language: published");
		is(run("'$language', '{\"numbers\": [3, 17, 5]}'"), 'succeeded {"max": 17, "who": "ann"}', "$language: run as the customer");
		my $options = "options => jsonb_build_object('environment', '$language', 'max_attempts', 1, 'code', \$code\$%s\$code\$)";
		is(run("data => '{\"numbers\": [1, 2]}', " . sprintf($options, $code{$language})), 'succeeded {"max": 2, "who": "ann"}', "$language: code that comes with the run");
		like(run("data => '{\"zero\": 0}', " . sprintf($options, $divide{$language})), qr/^dead \w{5} .*division by zero/, "$language: an error");
		next if !$broken{$language};
		my (undef, undef, $err) = $node->psql($p, "select taskex.publish_program('ann', 'broken', '$language', \$code\$$broken{$language}\$code\$)");
		like($err, qr/does not compile in language "$language"/, "$language: what does not compile is refused");
		$err =~ /DETAIL:(.*?)(CONTEXT|$)/s and note $1;
		if ($language =~ /u$/)
		{
			(undef, undef, $err) = $node->psql($p, "select taskex.publish_program('bob', 'no', '$language', 'return data')");
			like($err, qr/permission denied for code in environment/, "$language: others may not write code");
			$node->safe_psql($p, "select taskex.alter_environment('$language', '{\"customers\": [\"ann\", \"bob\"]}'); select taskex.publish_program('bob', 'was named', '$language', 'return data', 0, true);
				select taskex.alter_environment('$language', '{\"customers\": [\"ann\"]}')");
			like(run("'bob/was named', '1', options => '{\"max_attempts\": 1}'"), qr/^dead 42501 /, "$language: nor is code run of who is named no more");
		}
	}
}

# what runs while code is compiled leaves nothing in the caller's session, and takes nothing away
SKIP:
{
	skip 'language plperl is not installed', 1 if !-e "$sharedir/extension/plperl.control";
	my (undef, $out, $err) = $node->psql($p, "select pg_advisory_lock(1);\nselect taskex.publish_program('ann', 'locks', 'plperl', 'BEGIN { spi_exec_query(\"SELECT pg_advisory_lock(2)\"); } return 1;');\n"
		. "select 'left ' || string_agg(objid::text, ',') from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", on_error_stop => 0);
	like("$err$out", qr/does not compile.*left 1$/s, 'a BEGIN block calls no SQL');
}

# and what never ends is ended with its session
SKIP:
{
	skip 'language plperl is not installed', 2 if !-e "$sharedir/extension/plperl.control";
	my (undef, undef, $err) = $node->psql($p, q{set statement_timeout = '200 ms'; select taskex.publish_program('ann', 'endless', 'plperl', 'BEGIN { while (1) {} } return 1;')},
		timeout => $PostgreSQL::Test::Utils::timeout_default);
	like($err, qr/code that runs while it is compiled does not end/, 'an endless BEGIN block is ended by statement_timeout');
	is($node->safe_psql($p, q{select count(*) from taskex.programs where name = 'endless'}), '0', 'and nothing is published');
}

# what code leaves in an interpreter does not reach the code of others
for my $test ([ 'plperl', 'my $was = $_SHARED{left} // 0; $_SHARED{left}++; return $was;' ], [ 'pltcl', 'if {![info exists GD(left)]} {set GD(left) 0}; set was $GD(left); incr GD(left); return $was' ],
	[ 'plpython3u', "GD['left'] = GD.get('left', -1) + 1\nreturn str(GD['left'])" ])
{
	my ($language, $code) = @$test;
  SKIP:
	{
		skip "language $language is not installed", 7 if !-e "$sharedir/extension/$language.control";
		my $named = $language =~ /u$/ ? ', "customers": ["ann", "bob"]' : '';
		$node->safe_psql($p, qq{select taskex.create_environment('left $language', '$language', options => '{"max_executors": 1$named}');
			select taskex.publish_program('ann', 'own $language', 'left $language', \$c\$$code\$c\$), taskex.publish_program('bob', 'theirs $language', 'left $language', \$c\$$code\$c\$, 0, true)});
		my @ends = map { run("'$_', '1'") } "own $language", "own $language", "bob/theirs $language", "own $language";
		is("@ends[0, 1]", 'succeeded 0 succeeded 1', "$language: what one's code has left is there for his own");
		is("@ends[2, 3]", 'succeeded 0 succeeded 0', '... and not for that of others, nor theirs for his');
		# in one batch, too
		my $ids = $node->safe_psql($p, qq{select taskex.pause_environment('left $language');
			select string_agg(taskex.submit_run('ann', case when i % 2 = 0 then 'own $language' else 'bob/theirs $language' end, '1')::text, ',') from generate_series(1, 4) i});
		$ids =~ s/^\s+//;
		$node->safe_psql($p, "select taskex.resume_environment('left $language')");
		like(ended($_), qr/^succeeded 0/, '... taken together, too') for split /,/, $ids;
		# nor after a chain of several owners, for the last of them
		$node->safe_psql($p, qq{select taskex.publish_chain('ann', 'both $language', '{own $language,bob/theirs $language}')});
		@ends = map { run("'$_', '1'") } "both $language", "bob/theirs $language";
		is($ends[1], 'succeeded 0', '... and what a chain of several has left is there for nobody');
	}
}

# nor does a connection
SKIP:
{
	skip 'dblink is not installed', 2 if !-e "$sharedir/extension/dblink.control";
	$node->safe_psql($p, 'create extension dblink; grant execute on function dblink_connect_u(text, text) to ann');
	my $connect = sprintf q{begin perform dblink_connect_u('c', 'host=%s port=%s dbname=postgres user=' || current_user); return to_jsonb(dblink_get_connections()); end}, $node->host, $node->port;
	my $inline = sub { run("options => jsonb_build_object('environment', 'once', 'code', \$c\$$_[0]\$c\$)") };
	is($inline->($connect), 'succeeded ["c"]', 'a connection is made');
	is($inline->('begin return coalesce(to_jsonb(dblink_get_connections()), to_jsonb(0)); end'), 'succeeded 0', '... and is not there in the next run');
}

# chains: each piece as the customer, whoever has written it
$node->safe_psql($p, q{
	select taskex.publish_program('ann', 'plus', 'sql', 'select to_jsonb((data #>> ''{}'')::int + 1)'),
		taskex.publish_program('bob', 'twice', 'sql', 'select to_jsonb((data #>> ''{}'')::int * 2)', 0.5, true),
		taskex.publish_program('bob', 'who', 'sql', 'select jsonb_build_object(''data'', data, ''who'', current_user)', 0.5, true);
	select taskex.publish_chain('ann', 'chain', '{plus,bob/twice,plus,bob/who}')});
is(run(q{'chain', '5'}), 'succeeded {"who": "ann", "data": 13}', 'a chain of two owners');
is(run(q{'chain', '7'}), 'succeeded {"who": "ann", "data": 17}', 'again, with the functions that are there');
like(run(q{'chain', '"x"', options => '{"max_attempts": 1}'}), qr/^dead 22P02/, 'the error of a piece');
my $paid = q{select string_agg(format('%s %s', program, trim_scale(amount)), ', ' order by program) from (select program, sum(amount) as amount
	from taskex.usage where customer = 'ann' and meter = 'program_use' group by program) u};
is($node->safe_psql($p, $paid), 'bob/twice 1, bob/who 1', 'each piece of another owner costs its price where the run succeeds');
is($node->safe_psql($p, q{select mean from taskex.estimate_cost('ann', 'chain')}) > 0, 1, 'estimates have them');
is($node->safe_psql($p, q{select (select what || ' ' || left(value, 8) from taskex.explain_charge(u.usage_id) where step = 2) from taskex.usage u
	where customer = 'ann' and program = 'bob/who' order by run_id limit 1}), 'as a piece number 4', 'and so does the explanation');
$node->safe_psql($p, q{select taskex.correct_usage((select usage_id from taskex.usage where customer = 'ann' and program = 'bob/who' order by run_id limit 1), q, 'a gift') from unnest('{3,0}'::int[]) q});
is($node->safe_psql($p, $paid), 'bob/twice 1, bob/who 0.5', 'one piece is corrected without the others');
is($node->safe_psql($p, q{select string_agg(correction::text, ',' order by correction) from taskex.usage where customer = 'ann' and program = 'bob/who' and correction > 0}), '1,2,3,4', 'with corrections of its own');
$node->safe_psql($p, 'select taskex.close_invoices()');
is($node->safe_psql($p, q{select b.available from taskex.balance('bob') b}), '1.2', 'the owner is paid with the invoice');
is($node->safe_psql($p, q{select string_agg(check_name, ',') from taskex.check_billing() where not ok}), '', 'the books are right');
is($node->safe_psql($p, q{begin; delete from _taskex.usage where meter = 8 and correction = 2 * 65536 and source_id = (select max(source_id) from _taskex.usage where meter = 8 and correction = 2 * 65536);
	select string_agg(check_name, ',') from taskex.check_billing() where not ok and check_name like 'owners%'; rollback}), 'owners earn by each use', '... and would be wrong without the use of one piece');

# a price for time is for a piece's own time
$node->safe_psql($p, q{
	select taskex.publish_program('bob', 'slow', 'sql', 'select data from pg_sleep(0.3)', 0, true), taskex.publish_program('bob', 'quick', 'sql', 'select data', 0, true),
		taskex.publish_program('bob', 'fails', 'sql', 'select to_jsonb(1 / (data #>> ''{}'')::int) from pg_sleep(0.2)', 0, true);
	select taskex.set_program_price('bob', p, 1, 'hour') from unnest('{slow,quick,fails}'::text[]) p;
	select taskex.publish_chain('ann', 'timed', '{bob/quick,bob/slow,bob/fails,bob/quick}')});
my $times = q{select string_agg(program || ' ' || case when quantity < 150000 then 'soon' when quantity < 290000 then 'after 0.2 s' else 'after 0.3 s' end, ', ' order by split_part(usage_id, '-', 5)::int)
	from taskex.usage where customer = 'ann' and meter = 'program_time' and run_id = (select max(run_id) from taskex.runs where customer = 'ann')};
is(run(q{'timed', '1'}), 'succeeded 1', 'a chain whose pieces have prices for time');
is($node->safe_psql($p, $times), 'bob/quick soon, bob/slow after 0.3 s, bob/fails after 0.2 s, bob/quick soon', 'each costs the time that it took');
like(run(q{'timed', '0', options => '{"max_attempts": 1}'}), qr/^dead 22012/, 'one piece fails');
is($node->safe_psql($p, $times), 'bob/quick soon, bob/slow after 0.3 s, bob/fails after 0.2 s', '... and those after it cost nothing');

# data that a run points to, read at the start as the customer
my $echo = q{'environment', 'once', 'code', 'begin return data; end', 'data_ref', };
is(run("options => jsonb_build_object($echo jsonb_build_object('table', 'datum'))"), 'succeeded [{"i": 1, "t": "a"}, {"i": 2, "t": "b"}]', 'a table');
is(run("options => jsonb_build_object($echo jsonb_build_object('query', 'select max(i) as m, current_user as u from datum'))"), 'succeeded [{"m": 2, "u": "ann"}]', 'a query');
$node->safe_psql($p, q{select lo_from_bytea(4711, '{"a": [1]}'); grant select on large object 4711 to ann; select lo_from_bytea(4712, '{}'); create table secret (i int)});
is(run("options => jsonb_build_object($echo jsonb_build_object('object', '4711'))"), 'succeeded {"a": [1]}', 'an object');
like(run("options => jsonb_build_object($echo jsonb_build_object('object', '4712'))"), qr/^dead 42501 /, 'not his object');
like(run("options => jsonb_build_object($echo jsonb_build_object('table', 'secret'))"), qr/^dead 42501 permission denied for table secret/, 'not his table');
my $sum = $node->safe_psql($p, q{select taskex.data_checksum('{"table": "datum"}')});
like(run("options => jsonb_build_object($echo jsonb_build_object('table', 'datum', 'checksum', '$sum'))"), qr/^succeeded/, 'pinned');
$node->safe_psql($p, 'update datum set i = 3 where i = 1');
like(run("options => jsonb_build_object($echo jsonb_build_object('table', 'datum', 'checksum', '$sum'))"), qr/^dead TX639 .*changed/, 'and changed');

# a function gets the result, as the customer, once
my $id = $node->safe_psql($p, q{select taskex.submit_run('ann', 'chain', '1', options => '{"result_function": "public.take"}')});
like(ended($id + 1024), qr/^succeeded/, 'a result is taken');
is($node->safe_psql($p, "select result, who from taken where run_id = $id"), '{"who": "ann", "data": 5}|ann', 'by the function, as the customer');
is($node->safe_psql($p, 'select count(*) from taken'), '1', 'once');
$id = $node->safe_psql($p, q{select taskex.submit_run('ann', options => '{"environment": "ext", "result_function": "public.refuse", "result_environment": "once"}')});
$node->safe_psql($p, q{select taskex.complete_run(run_id, lease_token, '1') from taskex.pull_runs('w', 'ext')});
like(ended($id + 1024), qr/^dead P0001 not today/, 'a function that fails is a dead letter');
is($node->safe_psql($p, "select state from taskex.run_status($id)"), 'succeeded', 'the run itself has its result');
$node->safe_psql($p, "create or replace function public.refuse(result jsonb) returns void language sql as 'insert into taken values (null, \$1, current_user)'; select taskex.retry_run($id + 1024)");
like(ended($id + 1024), qr/^succeeded/, 'and tried again by hand');

# who watches sees which run an executor is at
$id = $node->safe_psql($p, q{select taskex.submit_run('ann', options => '{"environment": "once", "code": "begin perform pg_sleep(60); return data; end"}')});
await($node, $p, "select count(*) = 1 from taskex.activity where activity = 'run $id' and state = 'active'", 'the run is in the view activity');
$node->safe_psql($p, "select taskex.cancel_run($id)");

# NOTIFY on request
is($node->safe_psql($p, q{listen done; select taskex.submit_run('ann', options => '{"environment": "ext", "notify": "done"}') > 0;
	select taskex.complete_run(run_id, lease_token, '1') from taskex.pull_runs('w', 'ext')}) =~ /Asynchronous notification "done" with payload "\{"run_id": \d+, "state": "succeeded"\}"/ ? 1 : 0, 1, 'a notification, if asked for');

is($node->safe_psql($p, 'select count(*) from taskex.check_workload() where not ok'), '0', 'the queue is whole');
$node->stop;
done_testing();
