package Move;

# The benchmark "moving": looking users up while as many move as can. The benchmark "move": a user with many rows is moved to another tablespace while he
# is written to 1,000 times a second and read; beside it pg_repack moves the table with the same rows.

use strict;
use warnings;

use Bench;
use File::Temp ();
use Sessions qw(rows_of scalar_of run_sql run_sql_in commas);
use Time::HiRes qw(time sleep);

my $tasks = $opt{tasks} // ($opt{quick} ? 80_000 : 800_000);	# 1.1 kB each
my $calm = $opt{quick} ? 10 : 30;		# seconds without a move
my $rate = 1000;						# writes in a second

# rows that do not compress
my $fill = <<'END';
create procedure fill(n bigint, type bigint) language plpgsql as $$
declare
	inputs jsonb[] := (select array_agg(jsonb_build_object('text', (select string_agg(md5(i || '.' || k), '') from generate_series(1, 31) k)))
		from generate_series(1, 1000) i);
begin
	for i in 1 .. n / 1000 loop
		perform count(t) from taskex.create_tasks('big', type, inputs) t;
		commit;
	end loop;
end $$;
END

# starts pgbench, with scripts in turn, and a log of its latencies
sub start
{
	my ($what, $clients, $scripts, @how) = @_;
	my $dir = File::Temp->newdir;
	for my $i (0 .. $#$scripts)
	{
		open my $f, '>', "$dir/script$i.sql" or die $!;
		print $f $scripts->[$i];
		close $f;
		push @how, '-f', "script$i.sql";
	}
	my $pid = fork // die;
	if (!$pid)
	{
		open STDOUT, '>', "$dir/out";
		open STDERR, '>&', \*STDOUT;
		chdir $dir;
		exec 'pgbench', '-n', '-M', 'prepared', '-c', $clients, '-j', 1, '-T', 3600, '-l', @how, $ENV{PGDATABASE} or exit 127;
	}
	return { what => $what, dir => $dir, pid => $pid };
}

sub stop
{
	my ($run) = @_;
	my $alive = !waitpid($run->{pid}, 1);
	kill 'INT', $run->{pid} if $alive;
	waitpid $run->{pid}, 0 if $alive;
	open my $out, '<', "$run->{dir}/out";
	$run->{said} = do { local $/; <$out> };
	$run->{failed} = () = $run->{said} =~ /ERROR|FATAL/g;
	my @all;
	for my $log (glob "$run->{dir}/pgbench_log.*")
	{
		open my $f, '<', $log;
		while (my $line = <$f>)
		{
			# client, number, microseconds, script, second, microsecond of the end [, behind the schedule]
			my @c = split ' ', $line;
			next if @c < 6;
			push @all, [ $c[4] + $c[5] / 1e6, ($c[2] - ($c[6] // 0)) / 1000 ];
		}
	}
	$run->{all} = [ sort { $a->[0] <=> $b->[0] } @all ];
	return $run;
}

# latencies between two moments: median, 99 %, longest, in milliseconds; and how many
sub between
{
	my ($run, $from, $to) = @_;
	my @l = sort { $a <=> $b } map { $_->[1] } grep { $_->[0] >= $from && $_->[0] < $to } @{ $run->{all} };
	return (0, 0, 0, 0) if !@l;
	return ($l[ @l / 2 ], $l[ @l * 0.99 ], $l[-1], scalar @l);
}

sub say_latency
{
	my ($what, $run, @periods) = @_;
	while (my ($when, $from, $to) = splice @periods, 0, 3)
	{
		my ($p50, $p99, $max, $n) = between($run, $from, $to);
		note(sprintf '  %s %s: %.2f ms, 99 %% %.2f ms, longest %.1f ms (%s, %s/s)', $what, $when, $p50, $p99, $max, commas($n), commas($n / ($to - $from)));
		push @result, [ "$what, $when: median, 99 %, longest", sprintf('%.2f, %.2f, %.1f ms', $p50, $p99, $max), '', '', '', '', '' ];
	}
	return;
}

# each is one write and one commit, so a latency is that of a write
my @writes = (<<'END', <<'END');
\set n random(0, :tasks - 1)
select taskex.annotate_task('big', :first + 1024 * :n, 'seen ' || :n);
END
select taskex.create_task('big', :type, '{"question": 1}');
END

my $read = <<'END';
\set n random(0, :tasks - 1)
select taskex.get_task('big', :first + 1024 * :n);
select taskex.balance('big');
END

sub load
{
	my ($type, $first) = @_;
	my @set = map { ('-D', $_) } "tasks=$tasks", "first=$first", "type=$type";
	return (start('writes', 4, \@writes, '-R', $rate, @set), start('reads', 1, [$read], '-R', 100, @set));
}

sub wait_for
{
	my ($id, @states) = @_;
	for (1 .. 36000)
	{
		my $state = scalar_of("select state from taskex.migrations where migration_id = $id");
		return time if grep { $_ eq $state } @states;
		die "the move has failed: " . scalar_of("select error from taskex.migrations where migration_id = $id") if $state =~ /failed|undoing|cancelled/;
		sleep 0.05;
	}
	die "the move does not end\n";
}

sub bench
{
	note('moving a user of ' . commas($tasks) . ' tasks under ' . commas($rate) . ' writes/s on him');
	exchange('taskex_bench_move', 1);
	if (!defined $ENV{TASKEX_TABLESPACES})
	{
		skipped('move a user', 'pg_repack', 'the server has no folders for tablespaces');
		return;
	}
	for my $i (15, 16)
	{
		run_sql("create tablespace bench_move_$i location '$ENV{TASKEX_TABLESPACES}/ts$i'");
		run_sql("select taskex.add_partition('move_$i', 'bench_move_$i')");
	}
	run_sql("select taskex.register_user('big', partition => 'move_15'); select taskex.deposit('big', 1000000000, 'x');");
	my $type = scalar_of("select taskex.create_task_type('big', 'Move', 0.001)");
	run_sql($fill);
	run_sql("call fill($tasks, $type)");
	run_sql('vacuum analyze; checkpoint');
	my $first = scalar_of('select min(task_id) from _taskex.task');
	my $partition = scalar_of("select partition_id from taskex.partitions where name = 'move_15'");
	note('  the table: ', scalar_of("select pg_size_pretty(pg_total_relation_size('_taskex.task_$partition'))"));

	my ($writes, $reads) = load($type, $first);
	sleep 3;
	my $began = time;
	sleep $calm;
	my $asked = time;
	my $id = scalar_of("select taskex.migrate_user('big', 'move_16')");
	my $copying = wait_for($id, qw(preparing copying following switching cleaning done));
	my @phases;
	for my $next (qw(following switching))
	{
		push @phases, [ "until $next", sprintf '%.1f', wait_for($id, $next, $next eq 'following' ? 'switching' : (), 'cleaning', 'done') - $copying ];
	}
	my $switched = wait_for($id, qw(cleaning done));
	push @phases, [ 'until cleaning', sprintf '%.1f', $switched - $copying ];
	my $cleaned = wait_for($id, 'done');
	sleep 1;
	stop($_) for $writes, $reads;
	my ($bytes, $seconds, $clean, $stall) = map { @$_ } rows_of("select bytes / 1e6, extract(epoch from switched_at - started_at),
		extract(epoch from finished_at - switched_at), extract(epoch from longest_stall) * 1000 from taskex.migrations where migration_id = $id");
	result_rate(sprintf('move a user, %.0f MB of rows, until the switch', $bytes), $bytes / $seconds, 'MB/s', 40);
	note(sprintf '  seconds of each phase: %s', join ', ', map { "$_->[0] $_->[1]" } @phases);
	result_rate('move a user, until all is cleaned', $bytes / ($seconds + $clean), 'MB/s', 0);
	say_latency('writes', $writes, 'calm', $began, $asked, 'while he moves', $copying, $switched, 'while it cleans', $switched, $cleaned);
	say_latency('reads', $reads, 'calm', $began, $asked, 'while he moves', $copying, $cleaned);
	my $longest = (between($writes, $copying, $cleaned))[2];
	push @result, [ 'longest write', sprintf('%.1f ms', $longest), 'held up by the switch', sprintf('%.1f ms', $stall), '', '<= 40 ms', $longest <= 40 ? 'yes' : 'NO' ];
	push @result, [ 'failed writes', $writes->{failed}, '', '', '', '0', $writes->{failed} ? 'NO' : 'yes' ];
	note("  longest write $longest ms, switch $stall ms, failed writes $writes->{failed}");
	note($writes->{said}) if $writes->{failed};

	repack($type, $first);
	run_sql_in('postgres', 'drop database taskex_bench_move with (force)');
	run_sql_in('postgres', "drop tablespace bench_move_$_") for 15, 16;
	return;
}

# Keeps all movers busy with users who have little, so that homes change all the time: that
# is the most that a look-up meets.
my $keep_moving = <<'END';
create procedure keep_moving() language plpgsql as $$
begin
	loop
		perform taskex.migrate_user(login, target) from (
			select d.login, (select name from taskex.partitions p where p.partition_id <> d.partition_id order by random(), d.user_id limit 1) as target
				from _taskex.directory d where not exists (select from _taskex.migration m where m.user_id = d.user_id and m.finished_at is null)
				order by random() limit 200) d
			where (select count(*) from _taskex.migration where finished_at is null) < 200;
		commit;
		perform pg_sleep(0.05);
		commit;
	end loop;
end $$;
END

sub route
{
	my $users = $opt{quick} ? 1_000 : 10_000;
	note('route() while users move');
	exchange('taskex_bench_moving', $few);
	add_users(1, $users, $few);
	run_sql($keep_moving);
	run_sql("select count(taskex.route(i::text)) from generate_series(1, $users) i");
	my ($ours, $nothing) = ("\\set n random(1, $users)\nselect * from taskex.route(:n);\n", "\\set n random(1, $users)\nselect 1;\n");
	# beside a statement that does nothing, since the movers take their part of the processors
	my @calm = versus(8, $ours, $nothing, undef, 1);
	result('route, nobody moves', $calm[0], '/s', 'select 1', $calm[1], undef, $calm[2]);

	my $mover = fork // die;
	if (!$mover)
	{
		open STDERR, '>', '/dev/null';
		exec 'psql', '-XqAt', '-d', $ENV{PGDATABASE}, '-c', 'call keep_moving()' or exit 127;
	}
	my $switched = 'select count(*) from _taskex.migration where switched_at is not null';
	sleep 2;
	my ($before, $began) = (scalar_of($switched), time);
	my @moving = versus(8, $ours, $nothing, undef, 1);
	my $rate = (scalar_of($switched) - $before) / (time - $began);
	run_sql(q{select pg_terminate_backend(pid) from pg_stat_activity where query like 'call keep_moving%'});
	waitpid $mover, 0;
	result(sprintf('route, %.0f users move in a second', $rate), $moving[0], '/s', 'select 1', $moving[1], undef, $moving[2]);
	result('route, flat: while users move against calm (ratios)', $moving[2], '', 'calm', $calm[2], 0.9, $moving[2] / $calm[2]);
	die "nobody moves\n" if $rate < 1;
	drop('taskex_bench_moving');
	return;
}

# pg_repack moves the table with those rows to the tablespace where they came from
sub repack
{
	my ($type, $first) = @_;
	if (!eval { run_sql('create extension pg_repack'); 1 } || !grep { -x "$_/pg_repack" } split /:/, $ENV{PATH})
	{
		skipped('move a table', 'pg_repack', 'it is not installed');
		return;
	}
	my $partition = scalar_of("select partition_id from taskex.partitions where name = 'move_16'");
	my $bytes = scalar_of("select sum(pg_column_size(t.*)) / 1e6 from _taskex.task_$partition t");
	run_sql('vacuum analyze; checkpoint');
	my ($writes, $reads) = load($type, $first);
	sleep 3;
	my $began = time;
	my $said = `pg_repack -k -t _taskex.task_$partition -s bench_move_15 -S -d $ENV{PGDATABASE} 2>&1`;
	my $ended = time;
	my $failed = $?;
	note($said) if $failed;
	sleep 1;
	stop($_) for $writes, $reads;
	push @result, [ sprintf('pg_repack, the table alone, %.0f MB of rows', $bytes), sprintf('%.0f MB/s', $bytes / ($ended - $began)), '', '', '', '', $failed ? 'failed' : '' ];
	note('  ', join '  ', @{ $result[-1] });
	say_latency('writes', $writes, 'while pg_repack moves the table', $began, $ended);
	say_latency('reads', $reads, 'while pg_repack moves the table', $began, $ended);
	note("  failed writes $writes->{failed}");
	return;
}

1;
