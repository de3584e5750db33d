package Split;

# The benchmark "split": a computation in parts by one executor and by two, beside the same code
# by one plain session and by two; what recommend_parts expected, and what it took; and runs that
# are watched, beside those of executors that do not look at statements while nobody looks at them.

use strict;
use warnings;

use Bench;
use FindBin;
use Sessions qw(rows_of scalar_of run_sql);
use Time::HiRes qw(time sleep);

my $rounds = $opt{quick} ? 3 : 7;
my $db = 'taskex_bench_split';
my $inputs = $opt{quick} ? 256 : 512;
my $parts = 16;

# an exchange, a customer who is a role of the server, and what its programs call
sub begin
{
	exchange($db, $few);
	run_sql(q{
		do $$ begin
			if not exists (select from pg_roles where rolname = 'taskex_bench') then create role taskex_bench login; end if;
		end $$;
		grant taskex_user to taskex_bench;
		select taskex.register_user('c1', '{"db_role": "taskex_bench"}', 'p1');
		create table public.one (id int primary key, v int);
		insert into public.one select g, g from generate_series(1, 100) g;
		vacuum analyze public.one;
		grant select on public.one to public;
		-- steps that need nothing but the processor; statements that read a row each
		create function public.burn(n int) returns bigint language plpgsql as $$
			declare s bigint := 7;
			begin for i in 1 .. n loop s := (s * 31 + i) % 1000003; end loop; return s; end $$;
		create function public.look(n int) returns bigint language plpgsql as $$
			declare s bigint := 0; x int;
			begin for i in 1 .. n loop select v into x from public.one where id = 1 + i % 100; s := s + x; end loop; return s; end $$;
		-- how many of them take a second
		create function public.pace(f text) returns float8 language plpgsql as $$
			declare best float8; at timestamptz; took float8;
			begin
				for i in 1 .. 10 loop
					at := clock_timestamp();
					execute format('select public.%I(20000)', f);
					took := extract(epoch from clock_timestamp() - at);
					best := least(best, took);
				end loop;
				return 20000 / best;
			end $$});
	return;
}

sub environment
{
	my ($name, $executors, $more) = @_;
	run_sql(qq{select taskex.create_environment('$name', 'plpgsql', options => '{"customers": ["c1"], "idle_time": "10 min",
		"min_executors": $executors, "max_executors": $executors @{[ $more // '' ]}}')});
	return;
}

sub publish
{
	my ($name, $environment, $code) = @_;
	run_sql("select taskex.publish_program('c1', '$name', '$environment', \$p\$ begin $code end \$p\$)");
	return;
}

sub end
{
	drop($db);
	run_sql('drop role taskex_bench');
	return;
}

# ---- in parts

# whole(PROGRAM, PARTS, INPUT): seconds until its result is there, and from the first part's start to the last one's end
sub whole
{
	my ($program, $n, $input) = @_;
	my $start = time;
	my $text = run_sql("select taskex.submit_split('c1', '$program', 'select $input from generate_series(1, $inputs)', $n, options => '{\"speculate\": null}') as id \\gset\n"
		  . "select :id, jsonb_array_length(taskex.wait_for_run(:id, '10 min'));\n");
	my $took = time - $start;
	my ($id, $results) = split /\s+/, $text;
	die "a run in $n parts has the result of $results\n" if $results != $n;
	return ($took, scalar_of("select extract(epoch from max(finished_at) - min(started_at)) from _taskex.run where split_id = $id and part is not null"));
}

sub expected
{
	my ($program, $n, $workers) = @_;
	return scalar_of("select extract(epoch from expected_time) from taskex.recommend_parts('c1', '$program', $inputs, $workers) where parts = $n");
}

sub scaling
{
	note('runs in parts');
	begin();
	environment("e$_", $_) for 1, 2;
	publish("squares_$_", "e$_", q{return (select to_jsonb(sum(public.burn(i::int))) from jsonb_array_elements(data -> 'inputs') i);}) for 1, 2;
	my $input = int(scalar_of(q{select public.pace('burn')}) * 0.004);
	scalar_of("select taskex.measure_program('c1', 'squares_$_', 'select $input from generate_series(1, $inputs)', 64) as id \\gset\nselect taskex.wait_for_run(:id, '10 min')") for 1, 2;
	my (%whole, %of_parts, %plain, %expected);
	for my $round (0 .. $rounds)
	{
		for my $n ($round % 2 ? (1, 2) : (2, 1))
		{
			my $expected = expected("squares_$n", $parts, $n);
			my ($whole, $of_parts) = whole("squares_$n", $parts, $input);
			my $plain = $inputs / pgbench("select public.burn($input);\n", $n, '-t', $inputs / $n);
			next if !$round;
			push @{ $whole{$n} }, $whole;
			push @{ $of_parts{$n} }, $of_parts;
			push @{ $plain{$n} }, $plain;
			push @{ $expected{$n} }, $expected;
		}
	}
	my %speed = map { $_ => $inputs / median(@{ $of_parts{$_} }) } 1, 2;
	my $scaling = median(map { $of_parts{1}[$_] / $of_parts{2}[$_] } 0 .. $rounds - 1);
	my $possible = median(map { $plain{1}[$_] / $plain{2}[$_] } 0 .. $rounds - 1);
	result("a run in $parts parts, 2 executors", $speed{2}, 'inputs/s', '1 executor', $speed{1}, undef, $scaling);
	result('the same code, 2 plain sessions', $inputs / median(@{ $plain{2} }), 'inputs/s', '1 session', $inputs / median(@{ $plain{1} }), undef, $possible);
	result('speed of 2 executors beside 1', $scaling, '', 'of 2 plain sessions beside 1', $possible, 0.9);
	for my $n (1, 2)
	{
		result("parts by $n executor" . ($n > 1 ? 's' : ''), median(@{ $of_parts{$n} }), 's', 'the same code, plain', median(@{ $plain{$n} }), undef,
			median(map { $of_parts{$n}[$_] / $plain{$n}[$_] } 0 .. $rounds - 1));
		result("submit_split to its result, $n executor" . ($n > 1 ? 's' : ''), median(@{ $whole{$n} }), 's', 'recommend_parts expected', median(@{ $expected{$n} }), undef,
			median(map { $whole{$n}[$_] / $expected{$n}[$_] } 0 .. $rounds - 1));
	}
	for my $n (1, 2, 4, 64, $inputs)
	{
		my $expected = expected('squares_2', $n, 2);
		my @took = sort { $a <=> $b } map { (whole('squares_2', $n, $input))[0] } 1 .. ($opt{quick} ? 1 : 3);
		result("the same in $n part" . ($n > 1 ? 's' : '') . ', 2 executors', median(@took), 's', 'recommend_parts expected', $expected);
	}
	my ($best) = rows_of("select parts from taskex.recommend_parts('c1', 'squares_2', $inputs, 2) where recommended");
	note("  recommended: $best->[0] parts");
	end();
	return;
}

# ---- watched

# the processor's time that the server and all its processes have had
sub server_time
{
	my $postmaster = scalar_of(q{select split_part(pg_read_file('postmaster.pid'), E'\n', 1)});
	my $ticks = 0;
	for my $file (glob '/proc/[0-9]*/stat')
	{
		open my $f, '<', $file or next;
		my $line = <$f> // next;
		close $f;
		my ($pid, $rest) = $line =~ /^(\d+) \(.*\) (.*)$/ or next;
		my @field = split ' ', $rest;
		if ($pid == $postmaster) { $ticks += $_ for @field[ 11 .. 14 ] }
		elsif ($field[1] == $postmaster) { $ticks += $_ for @field[ 11, 12 ] }
	}
	return $ticks / 100;
}

# work(PROGRAM, ARGUMENT): eight runs: seconds, the processor's time that they had, and that the server had
sub work
{
	my ($program, $argument) = @_;
	my $before = server_time();
	my $ids = join ',', map { $_->[0] } rows_of("select taskex.submit_runs('c1', '$program', array_fill('$argument'::jsonb, array[8]))");
	run_sql("select taskex.wait_for_run(r, '10 min') from unnest(array[$ids]) r");
	my $server = server_time() - $before;
	my ($row) = rows_of(qq{select count(*), extract(epoch from max(finished_at) - min(started_at)), sum((measured ->> 'cpu_us')::float8) / 1e6
		from _taskex.run where run_id in ($ids) and state = 'succeeded'});
	die "$row->[0] of 8 runs have succeeded\n" if $row->[0] != 8;
	return (@$row[1, 2], $server);
}

# somebody who looks each second: what runs, added up, and whether something is wrong
my $look = "select count(*), sum(cpu_time), sum(memory) from taskex.run_monitor;\nselect count(*) from taskex.run_totals;\n"
  . "select count(*) from taskex.health where not ok;\n\\sleep 1 s\n";

# watcher(): begins; his process, who can be stopped and continued
sub watcher
{
	open my $f, '>', "$Bench::tmp/look.sql" or die "$!\n";
	print $f $look;
	close $f;
	my $pid = fork // die "fork: $!\n";
	return $pid if $pid;
	require POSIX;
	open STDOUT, '>', '/dev/null';
	open STDERR, '>&', \*STDOUT;
	exec 'pgbench', '-n', '-c', 1, '-T', 3600, '-f', "$Bench::tmp/look.sql", $ENV{PGDATABASE} or POSIX::_exit(127);
}

# watch(PROCESS, ON): he looks, and there are alerts and a policy; or not
sub watch
{
	my ($pid, $on) = @_;
	run_sql($on ? q{select taskex.set_alert('long', 'run_time', 3600), taskex.set_alert('memory', 'memory', 1e12), taskex.set_alert('queue', 'queue_age', 3600);
		select taskex.set_throttle_policy('watched', '1 hour', 'slow')}
	  : q{select taskex.drop_alert(a) from unnest('{long,memory,queue}'::text[]) a; select taskex.set_throttle_policy('watched', null)});
	kill $on ? 'CONT' : 'STOP', $pid;
	return;
}

sub watching
{
	my $library = library('unwatched');
	note('runs that are watched');
	if (!defined $library) { skipped('runs that are watched', 'not watched', 'there is no C compiler'); return }
	begin();
	environment('watched', 2);
	environment('unwatched', 2, qq{, "libraries": ["$library"]});
	for my $code (qw(burn look))
	{
		publish("${code}_$_", $_, "return to_jsonb(public.$code(data::int));") for qw(watched unwatched);
	}
	my $watcher = watcher();
	sleep 3;
	for my $of ([ 'burn', 'computing' ], [ 'look', 'a statement for each row' ])
	{
		my ($code, $what) = @$of;
		# of eight runs on two executors
		my $n = int(scalar_of("select public.pace('$code')") * ($opt{quick} ? 0.3 : 0.6));
		my %figure;
		for my $round (0 .. 2 * $rounds)
		{
			for my $how ($round % 2 ? qw(watched unwatched) : qw(unwatched watched))
			{
				watch($watcher, $how eq 'watched');
				my @figures = work("${code}_$how", $n);
				next if !$round;
				push @{ $figure{$_}{$how} }, shift @figures for qw(wall cpu server);
			}
		}
		for my $which ([ 'wall', 'by the clock' ], [ 'cpu', "processor's time of the runs" ], [ 'server', "processor's time of the server" ])
		{
			my ($with, $without) = @{ $figure{ $which->[0] } }{qw(watched unwatched)};
			result("watched runs, $what, $which->[1]", 8 * $n / median(@$with), 'steps/s', 'not watched', 8 * $n / median(@$without), 0.97,
				median(map { $without->[$_] / $with->[$_] } 0 .. $#$with));
		}
	}
	kill $_, $watcher for qw(CONT TERM);
	waitpid $watcher, 0;
	end();
	return;
}

# ---- watched, by instructions

sub counts
{
	my $library = library('watched');
	note('statements that are watched, by instructions');
	for my $missing (defined $library ? () : 'there is no C compiler', system('command -v valgrind > /dev/null') == 0 ? () : 'valgrind is not installed')
	{
		skipped('steps that are watched', 'not watched', $missing);
		return;
	}
	my $text = `'$FindBin::Bin/watching' '$library'`;
	die "counting failed\n" if $?;
	my %count;
	for my $line (split /\n/, $text)
	{
		my ($step, $how, $count) = split /\t/, $line;
		$count{$step}{$how} = $count;
	}
	for my $of ([ 'burn', 'computing' ], [ 'look', 'a statement for each row' ])
	{
		my ($with, $without) = @{ $count{ $of->[0] } }{qw(watched unwatched)};
		result("watched steps, $of->[1]", 1e6 / $with, 'steps/1M instructions', 'not watched', 1e6 / $without, 0.97, $without / $with);
	}
	return;
}

sub bench
{
	counts();
	if (scalar_of('show taskex.max_executors') < 4) { skipped('runs in parts', '', 'taskex.max_executors is less than 4'); return }
	scaling();
	watching();
	return;
}

1;
