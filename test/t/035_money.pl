# Budgets, bonuses and payouts while the server is killed under them: every act
# that a client was told of is there once, no budget is overspent, and what is
# repeated afterwards changes nothing.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use List::Util qw(sum0);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(usleep);

my $rounds = $ENV{TASKEX_CRASH_ROUNDS} // 4;
my $clients = 4;
srand($ENV{TASKEX_CRASH_SEED} // 4711);

my $node = new_cluster('main', conf => "restart_after_crash = on\n");
make_partitions($node, 2, in_place => 1);
my $dir = $node->basedir;

# all clients spend from one requester's budgets; perf1 .. perfN have a result each
my $type = $node->safe_psql('postgres', qq{
	select taskex.register_user('req', partition => 'p1') is null;
	select taskex.deposit('req', 1000000, 'start') is null;
	do \$\$ begin
		for i in 1 .. $clients loop
			perform taskex.register_user('perf' || i, partition => case when i % 2 = 0 then 'p1' else 'p2' end);
			perform taskex.create_task('req', taskex.create_task_type('req', 'Done', 1), '1', 1, '30 days');
		end loop;
	end \$\$;
	select taskex.create_task_type('req', 'Budget', 1);
}) =~ s/.*\n//sr;
$node->safe_psql('postgres', qq{
	do \$\$ declare a bigint; begin
		for i in 1 .. $clients loop
			select assignment_id into a from taskex.accept_next('perf' || i, taskex.create_task_type('req', 'Done', 1));
			perform taskex.submit_assignment('perf' || i, a, '1');
			perform taskex.approve_assignment('req', a);
		end loop;
	end \$\$;
	select taskex.set_budget('req', 300), taskex.set_budget('req', 200, 'month', $type);
});
my %assignment = map { split /\|/ } split /\n/,
  $node->safe_psql('postgres', q{select performer, assignment_id from taskex.assignments where state = 'approved'});
is(scalar keys %assignment, $clients, 'each performer has an approved assignment');

sub script
{
	my ($round, $c) = @_;
	my $sql = '';
	for my $turn (1 .. 300)
	{
		my $key = "$round-$c-$turn";
		$sql .= <<"END";
select 'created ' || taskex.create_task('req', $type, '1', 1, '1 day', null, 'task $key');
select 'bonus $key' from (select taskex.send_bonus('req', $assignment{"perf$c"}, 0.01, 'good', '$key')) x;
END
		$sql .= <<"END" if $turn % 3 == 0;
\\unset t
select task_id as t from taskex.tasks where requester = 'req' and state = 'available' limit 1 \\gset
select 'expired ' || :t from (select taskex.expire_task('req', :t)) x;
END
		$sql .= <<"END" if $turn % 5 == 0;
select 'payout $key' from (select taskex.create_payout('$key', logins => array['perf1', 'perf2', 'perf3', 'perf4'])) x;
\\unset who
select login as who from taskex.payout_items where reference = '$key' limit 1 \\gset
select 'failed $key ' || :'who' from (select taskex.settle_payout_item('$key', :'who', 'failed')) x;
END
	}
	return $sql;
}

my (%bonus, %payout, %failed);
for my $round (1 .. $rounds)
{
	my @running;
	for my $c (1 .. $clients)
	{
		PostgreSQL::Test::Utils::append_to_file("$dir/$round-$c.sql", script($round, $c));
		push @running, IPC::Run::start(
			[ 'psql', '-XqAt', '-d', $node->connstr('postgres'), '-f', "$dir/$round-$c.sql" ],
			'<', \undef, '>', "$dir/$round-$c.out", '2>', "$dir/$round-$c.err");
	}
	my $until = 1000 + int rand 4000;
	for (1 .. 100 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if sum0(map { -s "$dir/$round-$_.out" // 0 } 1 .. $clients) >= $until || !grep { $_->pumpable } @running;
		usleep(10_000);
	}
	if ($round % 2)
	{
		my $pid = $node->safe_psql('template1', q{select pid from pg_stat_activity
			where datname = 'postgres' and backend_type = 'client backend' limit 1});
		kill_backend($node, $pid);
		$_->finish for @running;
		ok($node->poll_query_until('template1', 'select true'), "round $round: back after a session was killed");
	}
	else
	{
		$node->stop('immediate');
		$_->finish for @running;
		ok($node->start, "round $round: starts after everything was killed");
	}
	for my $c (1 .. $clients)
	{
		for (split /\n/, slurp_file("$dir/$round-$c.out"))
		{
			$bonus{$1} = $c if /^bonus (\S+)$/;
			$payout{$1} = 1 if /^payout (\S+)$/;
			$failed{"$1 $2"} = 1 if /^failed (\S+) (\S+)$/;
		}
		unlike(slurp_file("$dir/$round-$c.err"), qr/deadlock|was used for|internal|is missing|does not match/, "round $round: client $c met no surprise");
	}

	ok_checks($node, 'postgres', "round $round: the books are right");
	is($node->safe_psql('postgres', q{select count(*) from taskex.budgets where spent > amount or spent < 0}), '0',
		'no budget is overspent');
	is($node->safe_psql('postgres', qq{select spent = (select -sum(t.available) from taskex.audit t where t.login = 'req'
			and t.task_type_id = $type and t.kind in ('hold', 'release')) from taskex.budgets where period = 'month'}), 't',
		'what the budget of the type counts is what the ledger has');
}

# what was acknowledged is there, once; again, it changes nothing
cmp_ok(scalar keys %bonus, '>', 20, 'bonuses were sent');
cmp_ok(scalar keys %payout, '>', 3, 'payouts were made');
my $books = q{select string_agg(l || b.available || ' ' || b.held, ',') from unnest(array['req', 'perf1', 'perf2', 'perf3', 'perf4']) l, taskex.balance(l) b};
my $before = $node->safe_psql('postgres', $books);
is($node->safe_psql('postgres', join '', map {
	"select taskex.send_bonus('req', $assignment{\"perf$bonus{$_}\"}, 0.01, 'good', '$_') is null;"
} sort keys %bonus) =~ s/f\n?//gr, '', 'every bonus is sent again with its key');
is($node->safe_psql('postgres', join '', map {
	"select taskex.create_payout('$_', logins => array['perf1', 'perf2', 'perf3', 'perf4']) is null;"
} sort keys %payout) =~ s/f\n?//gr, '', 'every payout with its reference');
is($node->safe_psql('postgres', join '', map { my ($k, $who) = split / /; "select taskex.settle_payout_item('$k', '$who', 'failed') is null;"
} sort keys %failed) =~ s/[ft]?\n?//gr, '', 'and what failed fails again');
is($node->safe_psql('postgres', $books), $before, 'nobody has more or less');
is($node->safe_psql('postgres', q{select count(*) - count(distinct idempotency_key) from _taskex.bonus}), '0', 'no key stands for two bonuses');
ok_checks($node, 'postgres', 'the books are right in the end');
$node->stop;

done_testing();
