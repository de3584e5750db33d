package Runs;

# The benchmark "runs": submit_run beside an insert; pull_runs + complete_run, one by one
# and 100 at a time, beside other queues in the same rounds; what waits, how many environments
# there are, and a transaction that is held open; runs by executors, and how long one takes.

use strict;
use warnings;

use Bench;
use FindBin;
use Queue;
use Sessions qw(rows_of scalar_of run_sql run_sql_in commas);
use Supply ();
use Time::HiRes qw(time sleep);

# all of it takes ten minutes on a quiet machine; each part can be had alone
my $rounds = $opt{quick} ? 2 : 3;
my $warm = 1;		# seconds of a slice that do not count
my $db = 'taskex_bench_runs';

# ---- submit

sub submit
{
	note('submit_run');
	exchange($db, $few);
	customers(1);
	run_sql('create table plain_run (id bigint generated always as identity primary key, customer text, environment int, priority int,'
		. ' submitted_at timestamptz, data jsonb, claimed timestamptz); create index on plain_run (priority, id) where claimed is null');
	my $values = q{'c1', 1, 0, now(), '} . $input . q{'};
	for my $clients (1, 8)
	{
		my ($ours, $theirs, $ratio) = versus($clients, [ map { submit_one($_) } 1 .. 8 ],
			"insert into plain_run (customer, environment, priority, submitted_at, data) values ($values) returning id;\n");
		result("submit_run one by one, $clients client" . ($clients > 1 ? 's' : ''), $ours, '/s', 'insert of a row', $theirs, 0.7, $ratio);
	}
	for my $n (1000, 10_000)
	{
		run_sql("drop table if exists inputs; create table inputs as select array_fill('$input'::jsonb, array[$n]) as a");
		my ($ours, $theirs, $ratio) = versus(2,
			[ map { "select count(*) from inputs, taskex.submit_runs('c$_', null, a, options => '{\"environment\": \"e\"}');\n" } 1 .. 8 ],
			"insert into plain_run (customer, environment, priority, submitted_at, data)"
			  . " select 'c1', 1, 0, now(), x from inputs, unnest(a) x;\n");
		result('submit_runs, ' . commas($n) . ' at a time', $n * $ours, 'runs/s', 'insert ... select', $n * $theirs, undef, $ratio);
		result_rate('submit_runs, ' . commas($n) . ' at a time', $n * $ours, 'runs/s', 100_000);
	}
	drop($db);
	return;
}

# ---- pull and complete, beside other queues

# work(CLIENTS, SCRIPT, EACH): runs a second
my %rate_of = (1 => 15_000, 100 => 150_000);	# more than can be, so that nothing runs dry
sub work
{
	my ($clients, $script, $each) = @_;
	stock(100 * $clients + 1.4 * $rate_of{$each} * ($seconds + $Supply::warm + 1));
	my $rate = $each * Supply::slice($script, $clients);
	$rate_of{$each} = $rate if $rate > $rate_of{$each};
	return $rate;
}

my $plain_left = 0;
sub plain
{
	my ($clients, $each) = @_;
	my $need = ($each == 1 ? 20_000 : 200_000) * ($seconds + $Supply::warm);
	if ($plain_left < $need)
	{
		run_sql("insert into plain_queue (payload) select '$input' from generate_series(1, $need); vacuum analyze plain_queue");
		$plain_left += $need;
	}
	my $script = $each == 1 ? "${claim}delete from plain_queue where id = :id;\n"
	  : "begin;\nselect array_agg(id) as ids from (select id from plain_queue order by id for update skip locked limit $each) q \\gset\n"
	  . "delete from plain_queue where id = any (:ids);\nend;\n";
	my $rate = $each * Supply::slice($script, $clients);
	$plain_left -= $each * $Bench::transactions;
	return $rate;
}

# rates(CLIENTS...)
sub rates
{
	my @clients = @_;
	note('pull_runs + complete_run beside other queues');
	exchange($db, $few);
	customers(1);
	create_plain();
	$plain_left = 0;
	my $pgq = scalar_of(q{select count(*) from pg_available_extensions where name = 'pgq'});
	Supply::pgq_create() if $pgq;
	my $no_node = Supply::prepare_node();
	my @others = ([ 'SKIP LOCKED claim + delete', sub { plain($_[0], 1) } ], [ 'SKIP LOCKED, 100 at a time', sub { plain($_[0], 100) } ]);
	my @missing;
	if ($pgq) { push @others, [ 'PgQ, a queue for each client, batches of 1,000', \&Supply::pgq ] }
	else { push @missing, [ 'PgQ', 'there is no package of it' ] }
	for my $o ([ 'graphile-worker', 'graphile' ], [ 'graphile-worker, local queue of 500', 'graphile-local' ], [ 'pg-boss', 'pgboss-1' ],
		[ 'pg-boss, 100 at a time', 'pgboss-100' ])
	{
		my ($name, $kind) = @$o;
		if (defined $no_node) { push @missing, [ $name, $no_node ] }
		else { push @others, [ $name, sub { Supply::node($kind, @_) }, 'node' ] }
	}
	my @ours = ([ 'one by one', sub { work($_[0], $one, 1) } ], [ '100 at a time', sub { work($_[0], $hundred, 100) } ]);
	$_->[1]->(8) for @ours;		# caches and plans
	for my $clients (@clients)
	{
		my (%rate, %cpu, @turn);
		@turn = (@ours, @others);
		for my $round (1 .. $rounds)
		{
			# a worker in Node.js takes long to begin, and others are far from it: two rounds are enough
			for my $who (grep { !$_->[2] || $round <= 2 } @turn)
			{
				undef $Supply::cpu;
				push @{ $rate{ $who->[0] } }, $who->[1]->($clients);
				push @{ $cpu{ $who->[0] } }, $Supply::cpu / ($who->[0] =~ /100/ ? 100 : 1) if defined $Supply::cpu;
			}
			push @turn, splice @turn, 0, 3;
		}
		my %m = map { $_ => median(@{ $rate{$_} }) } keys %rate;
		my $target = { 8 => 1.8, 32 => 3 }->{$clients};
		result("pull_runs + complete_run, $clients clients", $m{'one by one'}, 'runs/s', $_, $m{$_}, /SKIP/ ? $target : undef)
		  for grep { exists $m{$_} } 'SKIP LOCKED claim + delete', 'graphile-worker', 'pg-boss';
		my @batched = sort { $m{$b} <=> $m{$a} } grep { exists $m{$_} } 'SKIP LOCKED, 100 at a time', 'graphile-worker, local queue of 500', 'pg-boss, 100 at a time';
		result("the same, 100 at a time, $clients clients", $m{'100 at a time'}, 'runs/s', $_, $m{$_}, $_ eq $batched[0] ? 1.3 : undef) for @batched;
		result("the same, 100 at a time, $clients clients", $m{'100 at a time'}, 'runs/s', $_, $m{$_}) for grep { /PgQ/ } keys %m;
		my %used = map { $_ => median(@{ $cpu{$_} }) } keys %cpu;
		for my $pair ([ 'one by one', 'SKIP LOCKED claim + delete' ], [ '100 at a time', 'SKIP LOCKED, 100 at a time' ])
		{
			my ($us, $them) = @$pair;
			result("$us, processor time of the server, $clients clients", $used{$us}, 'us a run', $them, $used{$them}, undef, $used{$them} / $used{$us});
		}
		skipped("pull_runs + complete_run, $clients clients", @$_) for @missing;
	}
	drop($db);
	return;
}

# ---- what waits, and environments

# several(WHAT, [NAME, DATABASE, PULL], ...): submit, pull and complete in turn at 8 clients, each beside the first
sub several
{
	my ($what, @of) = @_;
	my (%rate, %pages);
	for my $round (0 .. $rounds)
	{
		for my $o ($round % 2 ? @of : reverse @of)
		{
			local $ENV{PGDATABASE} = $o->{db};
			my $rate = Supply::slice($o->{script}, 8);
			push @{ $rate{ $o->{name} } }, $rate if $round;
		}
	}
	for my $o (@of)
	{
		local $ENV{PGDATABASE} = $o->{db};
		$pages{$_}{ $o->{name} } = buffers($o->{$_}, sub { 2 + $_[0] % 20 }) for qw(pull submit);
	}
	my $base = $of[0]{name};
	for my $name (map { $_->{name} } @of[ 1 .. $#of ])
	{
		result("$what, submit + pull + complete: $name", median(@{ $rate{$name} }), '/s', $base, median(@{ $rate{$base} }), 0.9);
		result("  pages that $_ touches", $pages{$_}{$name}, '', $base, $pages{$_}{$base}) for qw(pull submit);
	}
	drop($_->{db}) for @of;
	return;
}

sub waiting
{
	note('how much waits');
	my @of;
	for my $n (1000, $opt{quick} ? 100_000 : 1_000_000)
	{
		exchange("taskex_bench_$n", $few);
		customers(1);
		my $each = $n / 8;
		my $size = $each > 2500 ? 2500 : $each;
		my $calls = $each / $size;
		run_sql(join '', map { "select count(r) from generate_series(1, $calls) i, lateral taskex.submit_runs('c$_', null,"
			  . " array_fill('$input'::jsonb, array[$size + 0 * i]), options => '{\"environment\": \"e\"}') r;\n" } 1 .. 8);
		run_sql('vacuum analyze');
		push @of, { name => commas($n) . ' runs', db => "taskex_bench_$n", script => [ map { submit_one($_) . $one } 1 .. 8 ],
			pull => q{select * from taskex.pull_runs('w', 'e')}, submit => submit_one(1) =~ s/;\n//r };
	}
	several('waiting runs', @of);
	return;
}

sub environments
{
	note('how many environments there are');
	my @of;
	for my $n (1, 1000)
	{
		exchange("taskex_bench_$n", $few);
		customers($n);
		run_sql("select count(r) from generate_series(1, $n) i, lateral taskex.submit_runs('c1', null, array_fill('$input'::jsonb, array[1000 / $n + 10]),"
			. " options => jsonb_build_object('environment', case i when 1 then 'e' else 'e' || i end)) r; vacuum analyze");
		my $e = $n == 1 ? q{'e'} : q{'e' || :e};
		my $set = $n == 1 ? '' : "\\set e random(2, $n)\n";
		my $named = $n == 1 ? 'e' : 'e%d';
		push @of, { name => commas($n) . ' environment' . ($n > 1 ? 's' : ''), db => "taskex_bench_$n",
			script => [ map { my $c = $_; $set . "select taskex.submit_run('c$c', null, '$input', options => jsonb_build_object('environment', $e));\n"
				  . "select run_id, lease_token from taskex.pull_runs('w', $e) \\gset\n"
				  . "select taskex.complete_run(:run_id, :lease_token, '{\"label\": \"dog\"}');\n" } 1 .. 8 ],
			pull => "select * from taskex.pull_runs('w', '$named')", submit => submit_one(1, $named) =~ s/;\n//r };
	}
	several('environments', @of);
	return;
}

# ---- beside a transaction held open

sub held
{
	my ($rounds, $each) = (10, $opt{quick} ? 1000 : 4000);
	note("submit, pull, complete: $rounds rounds of $each beside a transaction held open");
	exchange($db, $few);
	customers(1);
	run_sql('create table plain_log (id bigint generated always as identity primary key, payload jsonb)');
	stock(1000);
	my $ours = [ map { submit_one($_) . $one } 1 .. 8 ];
	# three commits too, and nothing that dead rows could slow down
	my $inserts = "insert into plain_log (payload) values ('$input');\n" x 3;
	my $round = sub { return pgbench($_[0], 8, '-t', $each / 8) };
	$round->($_) for $ours, $inserts;
	my $holder = Sessions->new(1, "begin isolation level repeatable read;\nselect txid_current(), count(*) from pg_class;\n");
	my (@ours, @relative, @pages);
	for my $n (1 .. $rounds)
	{
		my $before = $round->($inserts);
		push @ours, $round->($ours);
		push @relative, $ours[-1] / (($before + $round->($inserts)) / 2);
		if ($n == 1 || $n == $rounds)
		{
			stock(1000);
			push @pages, buffers(q{select * from taskex.pull_runs('w', 'e')});
		}
		note(sprintf '  round %2d  taskex %7s/s (%.2f of plain inserts)', $n, commas($ours[-1]), $relative[-1]);
	}
	$holder->run(['commit;']);
	$holder->finish;
	result('runs, held transaction: round 10', $ours[-1], '/s', 'round 1', $ours[0], undef);
	result('the same, relative to inserts beside it', $relative[-1], '', 'round 1', $relative[0], 0.95);
	result('last three rounds, relative to inserts', median(@relative[-3 .. -1]), '', 'first three', median(@relative[0 .. 2]), 0.95);
	result('pages that pull_runs touches, round 1', $pages[0], '', 'round 10', $pages[1], undef);
	drop($db);
	return;
}

# ---- executors

my $trivial = '"environment": "inside", "code": "begin return data; end"';

# idle(): waits until nothing waits or runs
sub idle
{
	for (1 .. 60_000)
	{
		return if scalar_of(q{select coalesce(sum(waiting + running), 0) from _taskex.lanes()}) eq '0';
		sleep 0.01;
	}
	die "the runs do not end\n";
}

# latencies(CALLS, SCRIPT): milliseconds of each, sorted
sub latencies
{
	my ($calls, $script) = @_;
	my $prefix = "$Bench::tmp/latency";
	unlink glob "$prefix.*";
	pgbench($script, 1, '-t', $calls, '-l', "--log-prefix=$prefix");
	my @ms;
	for my $file (glob "$prefix.*")
	{
		open my $f, '<', $file or die "$file: $!\n";
		push @ms, map { (split ' ')[2] / 1000 } <$f>;
	}
	return sort { $a <=> $b } @ms;
}

sub executors
{
	note('runs by executors');
	if (scalar_of('show taskex.max_executors') eq '0') { skipped('trivial runs by executors', '', 'taskex.max_executors is 0'); return }
	exchange($db, $few);
	run_sql(qq{
		do \$\$ begin
			if not exists (select from pg_roles where rolname = 'taskex_bench') then create role taskex_bench login; end if;
		end \$\$;
		select taskex.register_user('c' || i, '{"db_role": "taskex_bench"}', 'p' || i) from generate_series(1, 8) i;
		select taskex.create_environment('inside', 'plpgsql', options => '{"min_executors": 2, "max_executors": 4, "customers": ["c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8"]}')});
	my $n = $opt{quick} ? 10_000 : 32_000;
	my @rate;
	for my $round (0 .. $rounds)
	{
		# from the first submission to the last result
		my $start = time;
		run_sql(join '', map { "select count(r) from taskex.submit_runs('c$_', null, array_fill('1'::jsonb, array[$n / 8]), options => '{$trivial}') r;\n" } 1 .. 8);
		idle();
		push @rate, $n / (time - $start) if $round;
	}
	my ($wrong) = rows_of(q{select count(*) filter (where state = 'succeeded' and result = '1'), count(*) from _taskex.run});
	die "$wrong->[0] of $wrong->[1] runs have succeeded\n" if $wrong->[0] != $wrong->[1];
	result_rate('trivial runs by executors, submission to result', median(@rate), 'runs/s', 10_000);

	my $script = "select taskex.submit_run('c1', null, '1', 9, options => '{$trivial}') as id \\gset\nselect taskex.wait_for_run(:id, '30 s');\n";
	my $calls = $opt{quick} ? 200 : 1000;
	latencies(50, $script);
	my %ms = (idle => [ latencies($calls, $script) ]);
	# others submit a hundred at a time, as fast as these are done
	open my $f, '>', "$Bench::tmp/load.sql" or die "$!\n";
	print $f "select max(r) as id from taskex.submit_runs('c' || 2 + :client_id, null, array_fill('1'::jsonb, array[100]), 0, options => '{$trivial}') r \\gset\n",
	  "select taskex.wait_for_run(:id, '30 s');\n";
	close $f;
	my $pid = fork // die "fork: $!\n";
	if (!$pid)
	{
		require POSIX;
		open STDOUT, '>', '/dev/null';
		open STDERR, '>&', \*STDOUT;
		exec 'pgbench', '-n', '-c', 2, '-T', 600, '-f', "$Bench::tmp/load.sql", $ENV{PGDATABASE} or POSIX::_exit(127);
	}
	sleep 2;
	$ms{load} = [ latencies($calls, $script) ];
	kill 'TERM', $pid;
	waitpid $pid, 0;
	for my $when (qw(idle load))
	{
		my @ms = @{ $ms{$when} };
		my $what = $when eq 'idle' ? 'submit_run to result, executors idle' : 'submit_run to result, others submit 100 at a time';
		result("$what: p50", $ms[ 0.5 * $#ms ], 'ms', 'p99', $ms[ 0.99 * $#ms ]);
	}
	cron(median(@rate));
	drop($db);
	run_sql('drop role taskex_bench');
	return;
}

# the same job by pg_cron, which looks for jobs that are due once a minute: many are due at once
sub cron
{
	my ($rate) = @_;
	if (scalar_of(q{select count(*) from pg_available_extensions where name = 'pg_cron'}) eq '0')
	{
		skipped('trivial runs by executors', 'pg_cron', 'the extension is not installed');
		return;
	}
	if (scalar_of('show shared_preload_libraries') !~ /pg_cron/)
	{
		skipped('trivial runs by executors', 'pg_cron', 'it is not in shared_preload_libraries');
		return;
	}
	my $jobs = $opt{quick} ? 100 : 200;
	local $ENV{PGDATABASE} = scalar_of('show cron.database_name');
	run_sql(qq{set client_min_messages = warning; create extension pg_cron;
		select count(cron.schedule('bench' || i, '* * * * *', 'select 1')) from generate_series(1, $jobs) i});
	for (1 .. 180)
	{
		last if scalar_of(q{select count(distinct jobid) from cron.job_run_details where status in ('succeeded', 'failed')}) eq $jobs;
		sleep 1;
	}
	my ($row) = rows_of(q{select count(*) filter (where status = 'succeeded'), extract(epoch from max(end_time) - min(start_time))
		from (select distinct on (jobid) * from cron.job_run_details where end_time is not null order by jobid, runid) r});
	run_sql('select count(cron.unschedule(jobid)) from cron.job; drop extension pg_cron');
	die "pg_cron has done $row->[0] of $jobs jobs\n" if $row->[0] != $jobs;
	result('trivial runs by executors', $rate, 'runs/s', "pg_cron, $jobs jobs due at once", $jobs / $row->[1]);
	return;
}

# the parts, each of which is a benchmark of its own, too
my @parts = ([ 'submit', \&submit ], [ 'rates-8', sub { rates(8) } ], [ 'rates-32', sub { rates(32) } ], [ 'waiting', \&waiting ],
	[ 'environments', \&environments ], [ 'held', \&held ], [ 'executors', \&executors ]);

sub part
{
	my ($part) = @_;
	my $start = time;
	local $Supply::warm = $warm;
	local $Bench::slices = 3;
	$part->[1]->();
	note(sprintf '  (%s: %.0f s)', $part->[0], time - $start);
	return;
}

our %parts = map { my $part = $_; ("runs-$part->[0]" => sub { part($part) }) } @parts;

sub bench { part($_) for @parts; return }

1;
