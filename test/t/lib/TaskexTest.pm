package TaskexTest;

# What the TAP tests of taskex share: clusters that have it, partitions on disk,
# a small market, and questions that are asked until the answer is right.

use strict;
use warnings;

use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(new_cluster make_partitions make_market round_trip sqlstate_of
	conductor_pid await await_conductor await_rounds ok_checks kill_backend kill_process kill_and_start patiently until_true);

# new_cluster(NAME, conf => TEXT, preload => 0, extension => 0, init => [...]):
# a running server with taskex preloaded, and created in the database postgres.
# max_prepared_transactions is on, commits are durable against killed processes.
sub new_cluster
{
	my ($name, %o) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(@{ $o{init} // [] });
	$node->append_conf('postgresql.conf', <<"END");
shared_preload_libraries = '@{[ ($o{preload} // 1) ? 'taskex' : '' ]}'
max_worker_processes = 16
max_prepared_transactions = 10
allow_in_place_tablespaces = on
log_line_prefix = '%m [%p] %q%a %d '
log_statement = none
END
	$node->append_conf('postgresql.conf', 'taskex.conductor_interval = 100ms') if $o{preload} // 1;
	$node->append_conf('postgresql.conf', $o{conf}) if defined $o{conf};
	$node->start;
	$node->safe_psql('postgres', 'create extension taskex') if $o{extension} // 1;
	return $node;
}

# until_true(TEST): asks again and again, as long as PostgreSQL's own tests wait; what it said last
sub until_true
{
	my ($test) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	while (1)
	{
		my $true = $test->();
		return $true if $true || time > $end;
		usleep(50_000);
	}
}

# patiently(NODE, DB, QUERY): asks while the server comes up again
sub patiently
{
	my ($node, $db, $query) = @_;
	my ($answered, $out);
	until_true(sub { ($answered, $out) = $node->psql($db, $query, stderr => \my $err); $answered == 0 })
	  or die "no answer: $query";
	return $out;
}

# kill_backend(NODE, PID): kills -9 a process of the server, and waits until the server, which
# begins anew because of that, can be asked again. False: it had ended.
sub kill_backend
{
	my ($node, $pid) = @_;
	my $at = -s $node->logfile;
	return 0 if $pid !~ /^[1-9]\d*$/ || !kill 'KILL', $pid;

	# one that had ended by itself at this moment is never told of
	my ($told, $last) = (0, time);
	until_true(sub {
		$told = slurp_file($node->logfile, $at) =~ /\(PID $pid\) was terminated by signal 9/;
		$last = time if kill 0, $pid;
		return $told || time > $last + 10;
	});
	$node->wait_for_log(qr/was terminated by signal 9.*database system is ready to accept connections/s, $at) if $told;
	return $told;
}

# kill_process(NODE, QUERY): the same with the process that QUERY finds, which may take a
# while to be there. False: there was nobody to be killed.
sub kill_process
{
	my ($node, $query) = @_;
	return until_true(sub { kill_backend($node, patiently($node, 'postgres', $query)) });
}

# kill_and_start(NODE): kills the postmaster and starts the server again: as soon as its
# process is gone, while those that it had started may still be ending. False: it does not start.
sub kill_and_start
{
	my ($node) = @_;
	my ($pid) = split /\n/, slurp_file($node->data_dir . '/postmaster.pid');
	$node->kill9;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		# a dead process that nobody has asked after looks alive to PostgreSQL
		my $dead = !kill(0, $pid)
		  || (-r "/proc/$pid/stat" && slurp_file("/proc/$pid/stat") =~ /\) Z/);
		if ($dead)
		{
			unlink $node->data_dir . '/postmaster.pid' if kill(0, $pid);
			return 1 if $node->start(fail_ok => 1);
			$node->{_pid} = undef;
		}
		select undef, undef, undef, 0.1;
	}
	return 0;
}

# make_partitions(NODE, N, db => NAME, in_place => 1): N partitions p1 .. pN, each
# in a tablespace of its own, ts1 .. tsN, made where they are missing.
sub make_partitions
{
	my ($node, $n, %o) = @_;
	my $db = $o{db} // 'postgres';
	for my $i (1 .. $n)
	{
		if ($node->safe_psql($db, "select count(*) from pg_tablespace where spcname = 'ts$i'") eq '0')
		{
			my $dir = $o{in_place} ? '' : PostgreSQL::Test::Utils::tempdir("ts$i");
			$node->safe_psql($db, "create tablespace ts$i location '$dir'");
		}
		$node->safe_psql($db, "select taskex.add_partition('p$i', 'ts$i')");
	}
	return;
}

# make_market(NODE, db => NAME): users "req" (who has 1000) and "perf", and a task
# type with a reward of 0.5; returns its id.
sub make_market
{
	my ($node, %o) = @_;
	return $node->safe_psql($o{db} // 'postgres', q{
		do $$ begin
			perform taskex.register_user('req');
			perform taskex.register_user('perf');
			perform taskex.deposit('req', 1000, 'start');
		end $$;
		select taskex.create_task_type('req', 'Test', 0.5, lease => '1 hour');
	});
}

# round_trip(NODE, TYPE, db => NAME): one task supplied, performed and paid.
# True when that paid the performer 0.5.
sub round_trip
{
	my ($node, $type, %o) = @_;
	my $paid = $node->safe_psql($o{db} // 'postgres', qq{
		select available as before from taskex.balance('perf') \\gset
		select taskex.create_task('req', $type, '{"question": 1}') as task \\gset
		select assignment_id as assignment from taskex.accept_task('perf', :task) \\gset
		select taskex.submit_assignment('perf', :assignment, '{"answer": 1}') as x \\gset
		select taskex.approve_assignment('req', :assignment) as x \\gset
		select available - :before = 0.5 from taskex.balance('perf');
	});
	return $paid eq 't';
}

# sqlstate_of(NODE, DB, SQL): of the first error, or '' for none.
sub sqlstate_of
{
	my ($node, $db, $sql) = @_;
	my ($out, $err);
	$node->psql($db, "\\set VERBOSITY verbose\n$sql", stdout => \$out, stderr => \$err);
	return $err =~ /(?:ERROR|FATAL):  (\w{5}):/ ? $1 : '';
}

# The process number of the database's conductor, or ''.
sub conductor_pid
{
	my ($node, $db) = @_;
	return $node->safe_psql('template1', "select pid from pg_stat_activity
		where backend_type = 'taskex conductor' and datname = '$db'");
}

# await(NODE, DB, QUERY, NAME): passes when the query yields "t" before long.
sub await
{
	my ($node, $db, $query, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok($node->poll_query_until($db, $query), $name);
}

sub await_conductor
{
	my ($node, $db, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return await($node, 'template1', "select count(*) = 1 from pg_stat_activity
		where backend_type = 'taskex conductor' and datname = '$db'", $name);
}

# await_rounds(NODE, DB): waits until the conductor has gone through at least one
# whole round from now on; false when it does not come round.
sub await_rounds
{
	my ($node, $db) = @_;
	for (1 .. 3)
	{
		my $from = $node->safe_psql('template1', 'select clock_timestamp()');
		return 0 unless $node->poll_query_until('template1', "select count(*) = 1 from pg_stat_activity
			where backend_type = 'taskex conductor' and datname = '$db'
			and state_change > '$from'::timestamptz + interval '200 ms'");
	}
	return 1;
}

# ok_checks(NODE, DB, NAME): the exchange's own checks find nothing wrong.
sub ok_checks
{
	my ($node, $db, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is($node->safe_psql($db, q{
		select check_name, detail from taskex.check_ledger() where ok is not true
		union all
		select check_name, detail from taskex.check_market() where ok is not true
	}), '', $name);
}

1;
