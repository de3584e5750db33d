package Supply;

# The benchmark "supply": accept_next + submit_assignment with tasks at hand and
# without, beside four other queues in the same rounds; what groups, available
# tasks and performers cost; and where the time goes ("profile").

use strict;
use warnings;

use Bench;
use FindBin;
use JSON::PP qw(decode_json);
use Sessions qw(rows_of scalar_of run_sql run_sql_in commas);
use Time::HiRes qw(time sleep);

my $rounds = $opt{quick} ? 2 : $opt{long} ? 7 : 3;
our $warm = $opt{quick} ? 1 : 3;		# seconds of a slice that do not count
my ($on, $off) = ('taskex_bench_on', 'taskex_bench_off');

# Somebody may find nothing: what is left may be kept for others.
sub pair
{
	my ($create) = @_;
	return ($create // '') . <<"END";
\\set p random(1, :performers)
\\set assignment_id 0
select assignment_id from taskex.accept_next(:p) \\aset
\\if :assignment_id > 0
select taskex.submit_assignment(:p, :assignment_id, '{"label": "dog"}');
\\else
select nextval('found_nothing');
\\endif
END
}

my $hundred = <<"END";
\\set p random(1, 1000)
select array_agg(assignment_id) as ids, count(*) as n from taskex.accept_next(:p, null, 100) \\gset
\\if :n > 0
select taskex.submit_assignments(:p, :ids, array_fill('{"label": "dog"}'::jsonb, array[:n::int]));
\\endif
END

# market(DATABASE, SUPPLY, PERFORMERS): an exchange, and what is known about it here
sub market
{
	my ($db, $supply, $performers) = @_;
	exchange($db, $few, "taskex.supply = $supply");
	run_sql('create sequence found_nothing');
	my @r = requesters(8);
	add_users(1, $performers, $few);
	return { db => $db, supply => $supply eq 'on', requesters => \@r, performers => $performers, left => 0, rate => 6000 };
}

# begin(MARKET): some work, until supplies are there if there are to be any
sub begin
{
	my ($m, $script) = @_;
	for my $try (1 .. 10)
	{
		work($m, 8, $script);
		return if !$m->{supply} || in($m, sub { scalar_of('select sum(ready) > 0 from taskex.supplies') }) eq 't';
	}
	die "the supplier of $m->{db} keeps nothing at hand\n";
}

sub in
{
	my ($m, $what) = @_;
	local $ENV{PGDATABASE} = $m->{db};
	return $what->();
}

# stock(MARKET, TASKS): so many are available at least
sub stock
{
	my ($m, $n) = @_;
	return if $m->{left} >= $n;
	my $add = 8000 * (1 + int(($n - $m->{left}) / 8000));
	fill($add, @{ $m->{requesters} });
	$m->{left} += $add;
	return;
}

# counts(MARKET): accepts from supplies, past them, and calls that found nothing
sub counts
{
	my $m = shift;
	my $supplies = $m->{supply} ? 'select sum(hits), sum(misses) from taskex.supplies' : 'select 0, 0';
	my ($row) = rows_of("select coalesce(h, 0), coalesce(m, 0), nextval('found_nothing') from ($supplies) s (h, m)");
	return @$row;
}

# work(MARKET, CLIENTS, SCRIPT): pairs a second, those that found nothing left out
sub work
{
	my ($m, $clients, $script) = @_;
	return in($m, sub {
		# what groups hold is not for all; and no slice should end for lack of tasks
		stock($m, 60_000 + 1.5 * $m->{rate} * ($seconds + $warm + 1)) if !$script;
		my @before = counts($m);
		my $rate = slice($script // pair(), $clients, '-D', "performers=$m->{performers}");
		my @after = counts($m);
		my $nothing = $after[2] - $before[2] - 1;
		$m->{$_->[0]} += $_->[1] for [ hits => $after[0] - $before[0] ], [ misses => $after[1] - $before[1] ],
			[ nothing => $nothing ], [ calls => $Bench::transactions ];
		$m->{left} -= $Bench::transactions - $nothing;
		$rate *= 1 - $nothing / $Bench::transactions;
		$m->{rate} = $rate if $rate > $m->{rate};
		return $rate;
	});
}

sub work_hundred
{
	my ($m, $clients) = @_;
	return in($m, sub {
		stock($m, 60_000 + 1.5 * ($m->{hundred} // 20_000) * ($seconds + $warm + 1));
		my $before = scalar_of('select count(*) from _taskex.assignment');
		my $calls = slice($hundred, $clients);
		my $done = scalar_of('select count(*) from _taskex.assignment') - $before;
		my $rate = $calls * $done / $Bench::transactions;
		$m->{left} -= $done;
		$m->{hundred} = $rate if $rate > ($m->{hundred} // 0);
		return $rate;
	});
}

our $cpu;	# microseconds that the server used for each transaction of the last slice

sub slice
{
	my ($script, $clients, @how) = @_;
	local $Bench::skip = $warm;
	my $before = server_cpu();
	my $rate = pgbench($script, $clients, '-P', 1, '-T', $seconds + $warm + 1, @how);
	$cpu = 1e6 * (server_cpu() - $before) / $Bench::transactions;
	return $rate;
}

# ---- the others, in the database of the exchange without supplies

my $plain_left = 0;

sub plain
{
	my ($clients) = @_;
	my $need = 20_000 * ($seconds + $warm);
	if ($plain_left < $need)
	{
		run_sql("insert into plain_queue (payload) select '$input' from generate_series(1, $need); vacuum analyze plain_queue");
		$plain_left += $need;
	}
	my $rate = slice("${claim}delete from plain_queue where id = :id;\n", $clients);
	$plain_left -= $Bench::transactions;
	return $rate;
}

# Whoever reads a queue of PgQ gets all of its events, by batches. So each client has a queue
# of his own, with batches of 1,000 that are ready.
my $queues = 32;

sub pgq_create
{
	run_sql(q{create extension pgq;
		create procedure pgq_fill(queues int, batches int, event text) language plpgsql as $$
		begin
			for b in 1 .. batches loop
				for q in 0 .. queues - 1 loop
					perform pgq.insert_event('q' || q, 'task', event) from generate_series(1, 1000);
					commit;
					perform pgq.ticker('q' || q);
					commit;
				end loop;
			end loop;
		end $$;} . join '', map { qq{select pgq.create_queue('q$_'); select pgq.set_queue_config('q$_', 'ticker_max_count', '1'),
		pgq.set_queue_config('q$_', 'ticker_max_lag', '0'); select pgq.register_consumer('q$_', 'c');\n} } 0 .. $queues - 1);
	return;
}

sub pgq
{
	my ($clients) = @_;
	my $batches = int(($opt{quick} ? 32 : 128) / $clients);
	run_sql("call pgq_fill($clients, $batches, '$input')");
	return 1000 * pgbench(<<'END', $clients, '-t', $batches);
begin;
select pgq.next_batch('q' || :client_id, 'c') as b \gset
select 1 / (count(*) = 1000)::int from pgq.get_batch_events(:b);
select pgq.finish_batch(:b);
end;
END
}

my ($node, %jobs);

# prepare_node(): why there is none, or undef
sub prepare_node
{
	chomp($node = `$FindBin::Bin/node-setup`);
	return $? ? $node : undef;
}

# node(KIND, CLIENTS): see queues.js. No more jobs wait than it needs: fetching from a long queue of pg-boss takes long.
sub node
{
	my ($kind, $clients) = @_;
	$jobs{$kind} //= ($kind =~ /local|100/ ? 5_000 : 500) * ($seconds + $warm);
	for (1 .. 8)
	{
		my $line = `$node $FindBin::Bin/queues.js $kind $clients $warm $seconds $jobs{$kind}`;
		die "the worker of $kind failed\n" if $?;
		my $did = decode_json($line);
		my $rate = $did->{jobs} / $did->{seconds};
		return $rate if !$did->{dry};
		$jobs{$kind} *= 2;
	}
	die "$kind has never enough jobs\n";
}

# ---- rates

sub rates
{
	note('accept_next + submit_assignment beside other queues');
	my $without = market($off, 'off', 1000);
	create_plain();
	my ($pgq) = map { $_ eq '1' } scalar_of(q{select count(*) from pg_available_extensions where name = 'pgq'});
	pgq_create() if $pgq;
	my $no_node = prepare_node();
	my $with = market($on, 'on', 1000);
	begin($_) for $with, $without;

	my @others = ([ 'SKIP LOCKED claim + delete', \&plain ]);
	my @missing;
	if ($pgq) { push @others, [ 'PgQ, a queue for each client, batches of 1,000', \&pgq ] }
	else { push @missing, [ 'PgQ', 'there is no package of it' ] }
	for my $o ([ 'graphile-worker', 'graphile' ], [ 'graphile-worker, local queue of 500', 'graphile-local' ], [ 'pg-boss', 'pgboss-1' ], [ 'pg-boss, 100 at a time', 'pgboss-100' ])
	{
		my ($name, $kind) = @$o;
		if (defined $no_node) { push @missing, [ $name, $no_node ] }
		else { push @others, [ $name, sub { node($kind, @_) } ] }
	}
	my @ours = ([ 'supply on', sub { work($with, @_) } ], [ 'supply off', sub { work($without, @_) } ],
		[ 'supply on, 100 at a time', sub { work_hundred($with, @_) } ]);
	push @ours, [ 'supply on, from Node.js', sub {
		my ($clients) = @_;
		in($with, sub { stock($with, 90_000); my $rate = node('taskex', $clients); $with->{left} -= $rate * ($seconds + $warm + 1) * 1.2; $rate }) } ]
	  if !defined $no_node;

	for my $clients (1, 8, 32)
	{
		# the more sessions there are, the longer it takes until all know the tables
		local $warm = { 1 => 1, 8 => 2, 32 => 3 }->{$clients} if !$opt{quick} && !$opt{long};
		my (%rate, %cpu, @turn);
		@turn = (@ours, @others);
		@$with{qw(hits misses nothing calls)} = (0) x 4;
		for my $round (1 .. $rounds)
		{
			for my $who (@turn)
			{
				local $ENV{PGDATABASE} = $off;
				undef $cpu;
				push @{ $rate{ $who->[0] } }, $who->[1]->($clients);
				push @{ $cpu{ $who->[0] } }, $cpu // ();
			}
			# each round begins with another
			push @turn, splice @turn, 0, 3;
		}
		my %m = map { $_ => median(@{ $rate{$_} }) } keys %rate;
		my $n = "$clients client" . ($clients > 1 ? 's' : '');
		my $beside = sub {
			my ($what, $mine, $target, @names) = @_;
			for my $name (grep { defined $m{$_} } @names)
			{
				result("$what, $n", $m{$mine}, 'pairs/s', $name, $m{$name}, $name =~ /SKIP/ ? $target : undef);
			}
		};
		my $target = { 8 => 1.8, 32 => 3 }->{$clients};
		my ($skip_locked, @rest) = map { $_->[0] } @others;
		$beside->('supply on', 'supply on', $target, 'supply off', $skip_locked, @rest);
		$beside->('supply off', 'supply off', $target, $skip_locked);
		my %used = map { $_ => median(@{ $cpu{$_} }) } 'supply on', 'supply off', $skip_locked;
		result("$_, processor time of the server, $n", $used{$_}, 'us a pair', $skip_locked, $used{$skip_locked}, undef,
			$used{$skip_locked} / $used{$_})
		  for 'supply on', 'supply off';
		$beside->('supply on, 100 at a time', 'supply on, 100 at a time', undef, grep { /PgQ|local|100/ } @rest);
		$beside->('supply on, from Node.js', 'supply on, from Node.js', undef, grep { /^(graphile-worker|pg-boss)$/ } @rest)
		  if defined $m{'supply on, from Node.js'};
		skipped("supply on, $n", @$_) for @missing;
		my $served = $with->{hits} + $with->{misses};
		result("accepts from the supply, $n", 100 * $with->{hits} / ($served || 1), '%', '', undef);
		note(sprintf '  calls that found nothing: %s of %s', commas($with->{nothing}), commas($with->{calls}));
	}
	drop($_) for $on, $off;
	return;
}

# ---- what the numbers of groups, tasks and performers cost

# several(WHAT, SCRIPT, [NAME, MARKET], ...): in turn at 8 clients, each beside the first
sub several
{
	my ($what, $script, @of) = @_;
	my (%rate, %pages);
	begin($_->[1], $script && $script->($_->[1])) for @of;
	for my $round (1 .. $rounds)
	{
		for my $o ($round % 2 ? @of : reverse @of)
		{
			push @{ $rate{ $o->[0] } }, work($o->[1], 8, $script && $script->($o->[1]));
		}
	}
	for my $o (@of)
	{
		# five performers, whom the session knows then
		my $each = $o->[1]{performers} / 5;
		$pages{ $o->[0] } = in($o->[1], sub { buffers("select * from taskex.accept_next('%d')", sub { 1 + $each * ($_[0] % 5) }) });
		note("  $o->[0]: calls that found nothing: ", commas($o->[1]{nothing}), ' of ', commas($o->[1]{calls}));
	}
	my $base = $of[0][0];
	for my $name (map { $_->[0] } @of[ 1 .. $#of ])
	{
		result("$what: $name", median(@{ $rate{$name} }), 'pairs/s', $base, median(@{ $rate{$base} }), 0.9);
		result('  pages that accept_next touches', $pages{$name}, '', $base, $pages{$base});
	}
	drop($_->[1]{db}) for @of;
	return;
}

sub cost
{
	note('accept_next + submit_assignment, 8 clients: what groups, tasks and performers cost, supply on');
	my @of;
	for my $groups (1, 10, 100)
	{
		my $m = market("taskex_bench_$groups", 'on', 1000);
		run_sql("select count(taskex.create_group('g' || g, array(select i::text from generate_series(g + 1, 1000, $groups) i))) from generate_series(0, $groups - 1) g");
		push @of, [ $groups . ' group' . ($groups > 1 ? 's' : ''), $m ];
	}
	several('groups', undef, @of);

	# what is done is supplied anew, so their number stays
	@of = ();
	for my $tasks (1000, $opt{quick} ? 100_000 : 1_000_000)
	{
		my $m = market("taskex_bench_$tasks", 'on', 1000);
		for (my $made = 0; $made < $tasks; $made += 100_000)
		{
			my $each = ($tasks < 100_000 ? $tasks : 100_000) / 8;
			run_sql(join '', map { "select count(*) from taskex.create_tasks('$_->{login}', $_->{type}, array_fill('$input'::jsonb, array[$each]));\n" } @{ $m->{requesters} });
		}
		push @of, [ commas($tasks) . ' tasks', $m ];
	}
	several('available tasks, with create_task', sub { [ map { pair(create_one($_)) } @{ $_[0]{requesters} } ] }, @of);

	@of = map { [ commas($_) . ' performers', market("taskex_bench_$_", 'on', $_) ] } 10, 10_000;
	several('performers', undef, @of);
	return;
}

# ---- where the time goes

# cpu_seconds(): of each kind of the server's processes
sub cpu_seconds
{
	my %s;
	for my $row (rows_of(q{select pid, backend_type from pg_stat_activity}))
	{
		open my $f, '<', "/proc/$row->[0]/stat" or next;
		my @stat = split ' ', (<$f> // '') =~ s/^.*\) //r;
		$s{"$row->[1] $row->[0]"} = ($stat[11] + $stat[12]) / 100 if @stat > 12;
	}
	return \%s;
}

sub profile_of
{
	my ($m, $clients, $time) = @_;
	begin($m);
	local $ENV{PGDATABASE} = $m->{db};
	stock($m, 60_000 + 20_000 * ($time + $warm + 3));
	note("\n$clients clients, supply ", $m->{supply} ? 'on' : 'off');
	my $pid = fork // die "fork: $!\n";
	if (!$pid)
	{
		my ($status, $text) = (0, '');
		eval {
			pgbench(pair(), $clients, '-r', '-T', $time + $warm + 2, '-D', "performers=$m->{performers}");
			print "\n  milliseconds of each statement, as a client sees it\n",
				map { /^\s+([0-9.]+)\s.*\b(accept_next|submit_assignment)\(/ ? "    $1  $2\n" : () } split /\n/, $Bench::output;
			1;
		} or print $@;
		require POSIX;
		POSIX::_exit(0);
	}
	sleep $warm + 1;
	my @pids = map { $_->[0] } rows_of("select pid from pg_stat_activity where datname = '$m->{db}' and application_name = 'pgbench'");
	my $data = "$Bench::tmp/perf.data";
	my $perf = grep { -x "$_/perf" } split /:/, $ENV{PATH};
	my $recorder;
	if ($perf)
	{
		$recorder = fork // die "fork: $!\n";
		if (!$recorder)
		{
			open STDERR, '>', "$Bench::tmp/perf.log";
			open STDOUT, '>&', \*STDERR;
			exec 'perf', 'record', '-F', 499, '-o', $data, '-p', join(',', @pids), '--', 'sleep', $time or exit 127;
		}
	}
	my $before = cpu_seconds();
	run_sql(qq{
		create unlogged table if not exists waits (kind text, event text);
		do \$\$
		begin
			for i in 1 .. ${\ int($time * 40) } loop
				insert into waits select backend_type, case when state = 'idle' then 'the client''s turn'
						else coalesce(wait_event_type || ': ' || wait_event, 'runs, or waits for a processor') end
					from pg_stat_activity where application_name = 'pgbench' and datname = current_database();
				perform pg_stat_clear_snapshot(), pg_sleep(0.025);
			end loop;
		end \$\$});
	my $after = cpu_seconds();
	waitpid $recorder, 0 if $recorder;
	my $recorded = $recorder && !$?;
	waitpid $pid, 0;

	my %spent;
	for my $who (grep { defined $before->{$_} } keys %$after)
	{
		$spent{ $who =~ s/ \d+$//r } += $after->{$who} - $before->{$who};
	}
	print "\n  processor seconds in $time s\n";
	printf "    %6.2f  %s\n", $spent{$_}, $_ for grep { $spent{$_} > 0 } sort { $spent{$b} <=> $spent{$a} } keys %spent;
	print "\n  what the clients' backends were at, percent of samples\n";
	printf "    %6.1f  %s\n", @$_ for rows_of(q{select 100.0 * count(*) / sum(count(*)) over (), event from waits group by event order by 1 desc limit 12});
	run_sql('drop table waits');
	if (!$perf) { note("\n  there is no perf: which functions is not known") }
	elsif (!$recorded) { note("\n  perf may not look at the server's processes; run it as root or the server's user") }
	else
	{
		for my $by ([ 'dso', 6 ], [ 'dso,symbol', 30 ])
		{
			my @lines = grep { /^\s+\d/ } split /\n/, `perf report -i $data --stdio --no-children -F overhead,$by->[0] 2>/dev/null`;
			splice @lines, $by->[1] if @lines > $by->[1];
			print "\n  the clients' backends' processor time by $by->[0]\n", map { '  ' . s/\s+$//r . "\n" } @lines;
		}
	}
	return;
}

sub profile
{
	my $time = $opt{quick} ? 5 : 20;
	for my $supply ('on', 'off')
	{
		my $m = market('taskex_bench_profile', $supply, 1000);
		profile_of($m, 8, $time);
		drop($m->{db});
	}
	return;
}

1;
