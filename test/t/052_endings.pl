# Code that does not end, and code that ends what it runs in: loops that look at no
# interrupts, signals, exit. Each time the attempt of that run, and of no other, has failed.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => q{
restart_after_crash = on
taskex.conductor_interval = 50ms
taskex.executor_batch_time = 500ms
taskex.run_grace = 300ms
max_worker_processes = 30
});
my $p = 'postgres';
my $sharedir = `pg_config --sharedir`;
chomp $sharedir;

sub sql { return $node->safe_psql($p, $_[0]) }

# asks while the server comes up again
sub ask { return patiently($node, $p, $_[0]) }

sql(q{
	create role ann login; grant taskex_user to ann;
	create table seen (n int, xid text); grant all on seen to ann;
	select taskex.add_partition('p1'), taskex.register_user('ann', '{"db_role": "ann"}')});

my %options = (plpython3u => q(, "customers": ["ann"]));
my @there;
for my $language (qw(plpgsql plperl pltcl plpython3u))
{
	next if $language ne 'plpgsql' && !-e "$sharedir/extension/$language.control";
	sql("create extension $language") if $language ne 'plpgsql';
	sql(qq{select taskex.create_environment('$language', '$language',
		options => '{"max_executors": 1, "max_attempts": 1, "idle_time": "1 hour"@{[ $options{$language} // '' ]}}')});
	push @there, $language;
}

# submit(LANGUAGE, CODE, DATA => [...], OPTIONS): the runs' ids
sub submit
{
	my ($language, $code, $data, $options) = @_;
	my $array = join ',', map { "'$_'" } @{ $data // ['1'] };
	return split /\n/, ask(qq{select taskex.submit_runs('ann', null, array[$array]::jsonb[],
		options => jsonb_build_object('environment', '$language', 'code', \$code\$$code\$code\$) || '{"backoff": {"initial": "0"}@{[ $options ? ", $options" : '' ]}}')});
}

# an option: when whoever submits it has got his answer
sub soon { return '"run_at": "' . sql(q{select clock_timestamp() + '700 ms'}) . '"' }

sub await_end
{
	my $ids = join ',', @_;
	# the server may go while it is asked
	until_true(sub { ask("select count(*) from taskex.runs where run_id in ($ids) and finished_at is null") eq '0' }) or die "runs do not end: $ids";
	return;
}

# state, SQLSTATE, outcomes and message of a run that has ended
sub ended
{
	my $id = shift;
	await_end($id);
	return ask(qq{select concat_ws(' ', r.state, error ->> 'sqlstate', (select string_agg(outcome, ',' order by attempt) from taskex.run_attempts a where a.run_id = r.run_id),
		r.error ->> 'message') from taskex.runs r where run_id = $id});
}

sub result { my ($id) = @_; await_end($id); return ask("select result from taskex.runs where run_id = $id") }

sub crashes { my $log = slurp_file($node->logfile); my $n = () = $log =~ /terminating any other active server processes/g; return $n }

my $gone = 'the run went on after its timeout, and its executor was ended';

# what takes no time, and says who runs it
my %pid = (
	plpgsql => 'begin return to_jsonb(pg_backend_pid()); end',
	plperl => q{return spi_exec_query('select pg_backend_pid() as p')->{rows}[0]{p};},
	pltcl => q{spi_exec "select pg_backend_pid() as p"; return $p},
	plpython3u => q{return str(plpy.execute("select pg_backend_pid() as p")[0]["p"])});

# ---- code that does not end ----

my %loop = (
	plpgsql => { 'a loop' => 'loop end loop;', 'a loop that catches all' => 'loop begin perform pg_sleep(0.01); exception when query_canceled then null; end; end loop;' },
	plperl => { 'a loop' => 'while (1) { }', 'a loop that takes and gives memory' => 'while (1) { my %h = map { $_ => [1 .. 20] } 1 .. 200; }',
		'a loop that catches all' => q{while (1) { eval { spi_exec_query('select 1') }; }} },
	pltcl => { 'a loop' => 'while {1} {}', 'a loop that takes and gives memory' => 'while {1} {set l [lrepeat 100 [list [clock clicks] a b c]]}',
		'a loop that catches all' => 'while {1} {catch {spi_exec "select 1"}}' },
	plpython3u => { 'a loop' => "while True: pass", 'a loop that takes and gives memory' => "while True: x = {str(i): bytearray(2000) for i in range(200)}",
		'a loop that catches all' => "while True:\n    try:\n        plpy.execute('select 1')\n    except BaseException:\n        pass",
		'a sleep' => "import time\ntime.sleep(1000)" });

for my $language (@there)
{
	my $before = result(submit($language, $pid{$language}));
	for my $what (sort keys %{ $loop{$language} })
	{
		# what is not stopped by a cancellation costs the executor
		my $soft = $language eq 'plpgsql' && $what eq 'a loop';
		my $code = $loop{$language}{$what};
		my $looping = $language eq 'plpgsql' ? "begin if data = '7' then $code end if; return data; end"
		  : $language eq 'plperl' ? "if (\$_[0] == 7) { $code } return \$_[0];"
		  : $language eq 'pltcl' ? "if {\$1 == 7} {$code}\nreturn \$1"
		  : "if data == '7':\n" . join('', map { "    $_\n" } split /\n/, $code) . 'return data';

		# by its timeout, beside others that were taken with it
		await_end(submit($language, $looping, ['1'])) for 1 .. 2;
		$before = result(submit($language, $pid{$language}));
		my @ids = submit($language, $looping, [ 1 .. 20 ], '"timeout": "500 ms"');
		await_end(@ids);
		my $ids = join ',', @ids;
		like(ended($ids[6]), $soft ? qr/^dead TX630 failed/ : qr/^dead crashed $gone/, "$language, $what: ended after its timeout");
		is(sql("select string_agg(concat_ws(' ', n, state, attempts), ', ') from (select state, attempts, count(*) n from taskex.runs where run_id in ($ids) group by 1, 2 order by 1) u"),
			'1 dead 1, 19 succeeded 1', '... no other');

		# by who cancels it
		my ($id) = submit($language, $looping, ['7']);
		await($node, $p, "select count(*) = 1 from taskex.executors where run_id = $id", '... another one runs');
		my $runs_it = sql("select pid from taskex.executors where run_id = $id");
		is(sql("select taskex.cancel_run($id)"), 't', '... and is cancelled');
		my $after = result(submit($language, $pid{$language}));
		$soft ? is($after, $runs_it, '... its executor does others') : isnt($after, $runs_it, '... another executor does others');
		like(ended($id), qr/^cancelled/, '... it stays cancelled');
	}
}
is(crashes(), 0, 'for none of it the server had to begin anew');

# ---- pg_cancel_backend ----

my $first = result(submit('plpgsql', $pid{plpgsql}));
my ($sleeper) = submit('plpgsql', 'begin perform pg_sleep(60); return 1; end');
await($node, $p, "select count(*) = 1 from taskex.executors where run_id = $sleeper", 'a run sleeps');
is(sql('select pg_cancel_backend(pid) from taskex.executors where run_id = ' . $sleeper), 't', 'its executor is cancelled');
like(ended($sleeper), qr/^dead 57014 failed/, '... the attempt fails');
is(result(submit('plpgsql', $pid{plpgsql})), $first, '... the executor goes on');
sql("select pg_cancel_backend($first)");
like(result(submit('plpgsql', $pid{plpgsql})), qr/^\d+$/, '... cancelled while it rests, it or another one does');

# ---- code that ends the process ----

my @deadly = (
	[ 'plpython3u', 'os.kill, SIGSEGV', "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)" ],
	[ 'plpython3u', 'os.kill, SIGKILL', "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)" ],
	[ 'plpython3u', 'os.abort', "import os\nos.abort()" ],
	[ 'plpython3u', 'os._exit(0)', "import os\nos._exit(0)" ]);
my $short = q{begin insert into seen values (data::int, pg_current_xact_id()); return data; end};
await_end(submit('plpgsql', $short)) for 1 .. 3;
for my $d (grep { my $l = $_->[0]; grep { $_ eq $l } @there } @deadly)
{
	my ($language, $what, $code) = @$d;
	my $before = crashes();
	my ($id) = submit($language, $code, ['1'], soon());
	my @others = submit('plpgsql', $short, [ 1 .. 30 ], '"max_attempts": 3, ' . soon());
	like(ended($id), qr/^dead crashed the server ended while/, "$what: the attempt has crashed");
	await_end(@others);
	my $ids = join ',', @others;
	is(sql("select count(*) from taskex.runs where run_id in ($ids) and state = 'succeeded'"), 30, '... others go on');
	cmp_ok(crashes(), '>', $before, '... the server began anew');
}

SKIP:
{
	skip 'language plpython3u is not installed', 9 if !grep { $_ eq 'plpython3u' } @there;
	like(ended(submit('plpython3u', "import sys\nsys.exit(0)")), qr/^dead \w{5} failed/, 'sys.exit is an error');

	# one that makes the server crash, among others that are taken with it: the first time nobody knows
	# which one it was; then they are taken one by one, and its attempts count
	my $deadly = "import os\nif data == '7': os.abort()\nreturn data";
	$node->restart;
	await_end(submit('plpython3u', $deadly)) for 1 .. 3;
	my $before = crashes();
	my @ids = submit('plpython3u', $deadly, [ 1 .. 20 ], '"max_attempts": 2, ' . soon());
	my $ids = join ',', @ids;
	is(ended($ids[6]), 'dead crashed,crashed the server ended while an executor ran the run', 'a run that crashes the server is a dead letter');
	await_end(@ids);
	is(sql("select string_agg(concat_ws(' ', n, state, attempts), ', ') from (select state, attempts, count(*) n from taskex.runs where run_id in ($ids) group by 1, 2 order by 1) u"),
		'1 dead 2, 19 succeeded 1', '... those beside it are not, and none of their attempts counts');
	is(crashes() - $before, 3, '... after three crashes, of which the first is not counted');

	# careful: each run has a transaction of its own, though they are short
	sql('truncate seen');
	await_end(submit('plpgsql', $short, [ 1 .. 40 ]));
	is(sql('select count(*), count(distinct xid) from seen'), '40|40', 'after a crash runs are taken one by one');
	$node->restart;
	await_end(submit('plpgsql', $short)) for 1 .. 3;
	sql('truncate seen');
	await_end(submit('plpgsql', $short, [ 1 .. 40 ]));
	is(sql('select count(*), count(distinct xid) < 20 from seen'), '40|t', '... and together again when the server has been started again');
	is(sql("select count(*) from taskex.executors where state not in ('idle', 'busy', 'starting')"), 0, 'executors are well');
}
is(sql('select count(*) from taskex.check_workload() where not ok'), 0, 'the queue is whole');
is(sql('select count(*) from taskex.check_billing() where not ok'), 0, 'and what was billed');
$node->stop;

done_testing();
