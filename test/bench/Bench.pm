package Bench;

# What the benchmarks share: short slices in turn, databases, requesters and
# tasks, and the table of figures at the end.

use strict;
use warnings;

use Exporter 'import';
use File::Temp ();
use FindBin;
use Getopt::Long;
use POSIX qw(sysconf _SC_CLK_TCK);
use lib "$FindBin::Bin/../replay";
use Sessions qw(rows_of scalar_of run_sql run_sql_in commas seconds_of create_exchange);
use Time::HiRes qw(time);

our @EXPORT = qw(%opt @result $began $slices $seconds $few $input $accept_submit $claim
	note result result_rate skipped median pgbench versus exchange drop requesters add_users fill create_plain
	create_one buffers library server_cpu print_table);

our %opt;
GetOptions(\%opt, 'quick', 'long', 'tasks=i') or exit 2;
die "--quick or --long, not both\n" if $opt{quick} && $opt{long};
$| = 1;

our $slices = $opt{quick} ? 3 : 7;
our $seconds = $opt{quick} ? 1 : 2;
our $few = 8;						# storage partitions
our $input = q{{"question": 12345, "text": "Which animal is in the picture?", "labels": ["cat", "dog", "fox", "owl"]}};

our $accept_submit = <<"END";
\\set p random(1, 1000)
select assignment_id from taskex.accept_next(:p) \\gset
select taskex.submit_assignment(:p, :assignment_id, '{"label": "dog"}');
END

our $claim = <<"END";
update plain_queue set claimed = now() where id = (
	select id from plain_queue where claimed is null order by id for update skip locked limit 1)
	returning id \\gset
END

our $began = time;
our $tmp = File::Temp->newdir;
our @result;
my @made;

END
{
	my $status = $?;
	for my $db (@made)
	{
		eval { run_sql_in('postgres', qq{drop database if exists "$db" with (force)}) };
	}
	$? = $status;
}
$SIG{$_} = sub { exit 130 } for qw(INT TERM HUP);

sub note { print @_, "\n"; return }

# result(WHAT, OURS, UNIT, BESIDE, THEIRS, TARGET, RATIO): TARGET is the least
# ratio, or undef; RATIO is that of the figures unless given.
sub result
{
	my ($what, $ours, $unit, $beside, $theirs, $target, $ratio) = @_;
	$ratio //= $theirs ? $ours / $theirs : undef;
	push @result, [ $what, show($ours) . " $unit", $beside, defined $theirs ? show($theirs) : '',
		defined $ratio ? sprintf('%.2f', $ratio) : '',
		defined $target ? ">= $target" : '',
		defined $target ? ($ratio >= $target ? 'yes' : 'NO') : '' ];
	note('  ', join '  ', grep { $_ ne '' } @{ $result[-1] });
	return;
}

# result_rate(WHAT, OURS, UNIT, LEAST): against a rate that is asked for.
sub result_rate
{
	my ($what, $ours, $unit, $least) = @_;
	push @result, [ $what, show($ours) . " $unit", '', '', '', '>= ' . commas($least), $ours >= $least ? 'yes' : 'NO' ];
	note('  ', join '  ', grep { $_ ne '' } @{ $result[-1] });
	return;
}

# skipped(WHAT, BESIDE, WHY): a line of the table that says what is missing.
sub skipped
{
	my ($what, $beside, $why) = @_;
	push @result, [ $what, '', $beside, 'skipped', '', '', $why ];
	note("  $beside: skipped, $why");
	return;
}

sub show { return $_[0] < 10 ? sprintf('%.2f', $_[0]) : commas($_[0]) }

sub median
{
	my @s = sort { $a <=> $b } @_;
	return @s % 2 ? $s[ @s / 2 ] : ($s[ @s / 2 - 1 ] + $s[ @s / 2 ]) / 2;
}

# pgbench(SCRIPTS, CLIENTS, OPTION...): transactions a second. Scripts are mixed
# evenly. A client that fails ends the benchmark.
our $skip;						# seconds of a run that do not count
our ($transactions, $output);	# of the last run

sub pgbench
{
	my ($scripts, $clients, @how) = @_;
	my @files;
	for my $s (ref $scripts ? @$scripts : $scripts)
	{
		my $name = "$tmp/" . scalar(@files) . '.sql';
		open my $f, '>', $name or die "$name: $!\n";
		print $f $s;
		close $f;
		push @files, '-f', $name;
	}
	my @command = ('pgbench', '-n', '-M', 'prepared', '-c', $clients, '-j', $clients < 2 ? 1 : 2,
		@how, @files, $ENV{PGDATABASE});
	my $pid = open my $out, '-|';
	if (!$pid)
	{
		open STDERR, '>&', \*STDOUT;
		exec @command or exit 127;
	}
	my $text = do { local $/; <$out> };
	close $out;
	$output = $text;
	($transactions) = $text =~ /^number of transactions actually processed: (\d+)/m;
	my ($tps) = $text =~ /^tps = ([0-9.]+) \(without/m;
	die "pgbench failed: @command\n$text" if $? || !defined $tps || $text =~ /aborted|ERROR/;
	return $tps if !$skip;

	# "progress: 4.0 s, 98765.4 tps, ..."; on a busy machine the last line may be missing
	my @second = $text =~ /^progress: [0-9.]+ s, ([0-9.]+) tps/mg;
	die "pgbench was too short: @command\n$text" if @second < $skip;
	my $rest = $transactions;
	$rest -= $_ for @second[ 0 .. $skip - 1 ];
	return $rest / ($transactions / $tps - $skip);
}

# server_cpu(): seconds of processor time that the server has used so far, all its processes
# together; a process that has ended is counted with the one that started it.
sub server_cpu
{
	my ($postmaster) = split /\n/, scalar_of(q{select pg_read_file('postmaster.pid')});
	my $ticks = 0;
	for my $file (glob '/proc/[0-9]*/stat')
	{
		open my $f, '<', $file or next;
		my ($pid, $rest) = (<$f> // '') =~ /^(\d+) .*\) (.*)/ or next;
		my @stat = split ' ', $rest;
		if ($pid == $postmaster) { $ticks += $_ for @stat[ 11 .. 14 ] }
		elsif ($stat[1] == $postmaster) { $ticks += $_ for @stat[ 11, 12 ] }
	}
	return $ticks / sysconf(_SC_CLK_TCK);
}

# versus(CLIENTS, A, B, BEFORE, WARM): alternating slices of both; the median of each
# and of their ratio. With WARM the first seconds of each slice do not count, and
# slices are fewer: a new session touches each page of shared memory for the first
# time, which is no longer seen after some seconds of random look-ups.
sub versus
{
	my ($clients, $a, $b, $before, $warm) = @_;
	my @how = $warm ? ('-P', 1, '-T', $seconds + $warm) : ('-T', $seconds);
	my (@a, @b);
	local $skip = $warm;
	for my $slice (1 .. ($warm ? 4 : $slices))
	{
		$before->($slice) if $before;
		# none of the two is always the second
		my @order = $slice % 2 ? ([ $a, \@a ], [ $b, \@b ]) : ([ $b, \@b ], [ $a, \@a ]);
		push @{ $_->[1] }, pgbench($_->[0], $clients, @how) for @order;
	}
	return (median(@a), median(@b), median(map { $a[$_] / $b[$_] } 0 .. $#a));
}

sub exchange
{
	my ($db, $partitions, @settings) = @_;
	push @made, $db;
	local $ENV{TASKEX_TABLESPACES};
	create_exchange($db, $partitions, @settings);
	return;
}

sub drop
{
	my $db = shift;
	run_sql_in('postgres', qq{drop database "$db" with (force)});
	@made = grep { $_ ne $db } @made;
	$ENV{PGDATABASE} = 'postgres';
	return;
}

# Requesters r1..rN, each on the next partition, with a task type and money.
sub requesters
{
	my ($n) = @_;
	my @r;
	for my $row (rows_of(qq{
		select taskex.register_user('r' || i, '{}', 'p' || 1 + (i - 1) % $few) from generate_series(1, $n) i;
		select taskex.deposit('r' || i, 10000000, 'bench') from generate_series(1, $n) i;
		select 'type', 'r' || i, taskex.create_task_type('r' || i, 'bench ' || i, 0.02) from generate_series(1, $n) i}))
	{
		push @r, { login => $row->[1], type => $row->[2] } if @$row == 3;
	}
	return @r;
}

# Supplies at least N tasks in bulk, evenly.
sub fill
{
	my ($n, @r) = @_;
	my $each = 1 + int($n / @r / 1000);
	run_sql(join '', map {
		# the call has to depend on i, or it is made only once
		"select count(t) from generate_series(1, $each) i,"
		  . " lateral taskex.create_tasks('$_->{login}', $_->{type}, array_fill('$input'::jsonb, array[1000 + 0 * i])) t;\n" } @r);
	return;
}

sub create_plain
{
	run_sql(q{
		create table plain_task (id bigint generated always as identity primary key, requester text,
			task_type bigint, input jsonb, performers int, expires_at timestamptz);
		create table plain_queue (id bigint generated always as identity primary key,
			payload jsonb, claimed timestamptz);
		create index on plain_queue (id) where claimed is null;
	});
	return;
}

sub add_users
{
	my ($first, $last, $partitions) = @_;
	my $start = time;
	for (my $i = $first; $i <= $last; $i += 100_000)
	{
		my $upto = $i + 99_999 < $last ? $i + 99_999 : $last;
		run_sql("select count(taskex.register_user(i::text, '{}', 'p' || 1 + i % $partitions)) from generate_series($i, $upto) i");
	}
	my $took = time - $start;
	run_sql('analyze');
	return ($last - $first + 1) / $took;
}

sub create_one { my $r = shift; return "select taskex.create_task('$r->{login}', $r->{type}, '$input');\n" }

# buffers(CALL, WHO): how many pages a call touches, the median of twenty in a session
# that has its plans; %d in CALL is WHO->(number of the call). Noise does not move it.
sub buffers
{
	my ($call, $who) = @_;
	$who //= sub { 37 * $_[0] };
	my @lines = rows_of(join '', map { 'explain (analyze, buffers, costs off) ' . ($call =~ s/%d/$who->($_)/er) . ";\n" } 1 .. 25);
	my (@n, $next);
	for my $line (map { $_->[0] } @lines)
	{
		if ($line =~ /\(actual time/ && !defined $next) { $next = 1 }
		elsif ($next && $line =~ /Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?/)
		{
			push @n, ($1 // 0) + ($2 // 0);
			$next = 0;
		}
		elsif ($line =~ /^Execution Time/) { undef $next }
	}
	return median(@n[ -20 .. -1 ]);
}

# library(NAME): NAME.c, compiled; undef: there is no compiler
sub library
{
	my ($name) = @_;
	my $library = "$ENV{TASKEX_RUN}/$name.so";
	chomp(my $include = `"$ENV{TASKEX_BINDIR}/pg_config" --includedir-server`);
	my @command = ($ENV{CC} // 'cc', '-O2', '-fPIC', '-shared', "-I$include", "$FindBin::Bin/$name.c", '-o', $library);
	return system(@command) == 0 ? $library : undef;
}

# print_table(HEAD, ROWS, RIGHT): RIGHT matches the numbers of the columns that are numbers
sub print_table
{
	my ($head, $rows, $right) = @_;
	my @width = map { my $c = $_; (sort { $b <=> $a } map { length $_->[$c] } $head, @$rows)[0] } 0 .. $#$head;
	print "\n";
	for my $row ($head, @$rows)
	{
		print join('  ', map { $_ =~ $right ? sprintf("%*s", $width[$_], $row->[$_]) : sprintf("%-*s", $width[$_], $row->[$_]) } 0 .. $#$head)
		  =~ s/\s+$//r, "\n";
	}
	return;
}

1;
