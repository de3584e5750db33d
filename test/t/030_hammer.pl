# Sixteen sessions hammer a market whose leases run out all the time, while others
# are cancelled and killed. No task gets more performers than it wants, none is
# lost, none gets stuck, and the money is right. Without supplies, and with supplies
# whose leases run out all the time, too.
#
# TASKEX_HAMMER_SECONDS sets the length, TASKEX_HAMMER_SEED what the clients do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Hammer;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(time usleep);

my $seconds = $ENV{TASKEX_HAMMER_SECONDS} // 12;
my $seed = $ENV{TASKEX_HAMMER_SEED} // time & 0xffff;
srand($seed);
note("TASKEX_HAMMER_SEED=$seed");

for my $supply ('off', 'on')
{
	my $node = new_cluster("supply_$supply", conf => qq{
	taskex.supply = $supply
	taskex.supply_interval = 50ms
	taskex.supply_lease = 3s
	taskex.conductor_interval = 20ms
	max_connections = 60
	autovacuum_naptime = 1s
	});
	my @types = hammer_market($node, 4);
	is(scalar @types, 4, 'a market');

	my @clients;
	my $acts = {};
	my $looks = 0;
	my $overshoots = '';
	my $hits = 0;

	# once; a machine that had no time for it tries again
	for my $turn (1 .. 10)
	{
		my $until = time + $seconds;
		my @now = hammer_start($node,
			map { hammer_script(types => \@types, name => "t${turn}c$_", turns => 150 * $seconds, until => $until) } 1 .. 16);
		my ($canceller) = hammer_start($node, "call cancel_some($until)");
		while (time < $until)
		{
			$looks++;
			my $look = $node->safe_psql('postgres', q{
				set jit = off;
				select a.task_id, count(*), t.performers from here.assignment a join here.task t using (task_id)
					left join here.result r using (assignment_id)
				where a.state in ('accepted', 'submitted', 'approved')
					or a.state = 'rejected' and r.feedback is distinct from 'again'
				group by a.task_id, t.performers having count(*) > t.performers
				union all select null, null, null where exists (select from taskex.check_ledger() where not ok)});
			$overshoots .= "$look\n" if $look ne '';
			usleep(50_000);
		}
		hammer_finish($canceller);
		my $done = hammer_finish(@now);
		@{ $acts->{$_} }{ keys %{ $done->{$_} } } = values %{ $done->{$_} } for keys %$done;
		push @clients, @now;
		$hits = $node->safe_psql('postgres', 'select count(*) from here.assignment where group_lease_id is not null');
		last if ($supply eq 'off' || $hits > $seconds) && keys %{ $acts->{submitted} // {} } > 5 * $seconds;
	}
	is($overshoots, '', "nothing wrong in any of $looks looks");
	is(hammer_errors(1, @clients), '', 'only errors that a client must expect');
	note(join(', ', map { scalar(keys %{ $acts->{$_} }) . " $_" } sort keys %$acts));
	note('errors: ' . hammer_errors(0, @clients));
	note("$hits accepts from supplies");
	cmp_ok($hits, $supply eq 'on' ? '>' : '==', $supply eq 'on' ? $seconds : 0, 'supplies were used, or not');
	cmp_ok(scalar keys %{ $acts->{submitted} // {} }, '>', 5 * $seconds, 'much was done');

	ok_hammered($node, 'after the hammer');
	hammer_drain($node, 'the drain');
	ok_hammered($node, 'after the drain', drained => 1);

	# judge all: nothing stays in escrow
	$node->safe_psql('postgres', q{
		do $$ declare r record; begin
			for r in select login, assignment_id from here.result join _taskex.directory on user_id = requester_id
				where result.state = 'submitted' loop
				perform taskex.approve_assignment(r.login, r.assignment_id);
			end loop;
		end $$;
	});
	is($node->safe_psql('postgres', q{select count(*) from here.task where state = 'open'}), '0', 'all tasks are closed');
	is($node->safe_psql('postgres', q{select sum(b.held) from taskex.users u, taskex.balance(u.login) b}) + 0, 0,
		'nothing stays in escrow');
	ok_hammered($node, 'at the end', drained => 1);
	my $log = slurp_file($node->logfile);
	unlike($log, qr/PANIC|TRAP|terminated by signal|XX000/, 'no crash in the log');
	await($node, 'postgres', q{select count(*) = 0 from _taskex.group_lease l where l.lease_until < now() - interval '5 s'}, 'nothing is stranded');
	$node->stop;

}

done_testing();
