# The whole market at once: sessions that supply, change, perform and judge tasks
# under review policies, while others are cancelled, qualifications and blocks
# change, and everybody's events are read. No task gets more performers than it
# wants, nobody accepts what he is not qualified for, everything is paid,
# done and told once.
#
# TASKEX_HAMMER_SECONDS sets the length, TASKEX_HAMMER_SEED what the clients do.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use Everything;
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

my $node = new_cluster('main', conf => q{
taskex.conductor_interval = 20ms
max_connections = 60
autovacuum_naptime = 1s
});
my @types = hammer_market($node, 3);
push @types, everything_market($node);
is(scalar @types, 6, 'a market');

my (@clients, @helpers);
my $acts = {};
my @kinds = qw(submitted added extended cancelled overridden disputed bonus);
my $looks = 0;
my $wrong = '';
my $holding = hammer_holding();
my $did = 0;

# once; a machine that had no time for it tries again
for my $turn (1 .. 10)
{
	my $until = time + $seconds;
	my @now = hammer_start($node,
		map { hammer_script(types => \@types, name => "t${turn}c$_", turns => 150 * $seconds, until => $until, more => \&everything_turns,
			weight => { approve => 2, reject => 2, add => 2, override => 2 }) } 1 .. 10);
	my @beside = (everything_helpers($node, $until), hammer_start($node, "call cancel_some($until)"));
	while (time < $until)
	{
		$looks++;
		my $look = $node->safe_psql('postgres', qq{set jit = off;
			select 'task ' || task_id || ' has ' || h.n || ' of ' || t.performers from here.task t join ($holding) h using (task_id) where h.n > t.performers
			union all select c::text from taskex.check_ledger() c where not ok
			union all select c::text from taskex.check_market() c where not ok});
		$wrong .= "$look\n" if $look ne '';
		usleep(300_000);
	}
	hammer_finish(@beside);
	my $done = hammer_finish(@now);
	@{ $acts->{$_} }{ keys %{ $done->{$_} } } = values %{ $done->{$_} } for keys %$done;
	push @clients, @now;
	push @helpers, @beside;
	$did = $node->safe_psql('postgres', q{select count(*) from did});
	last if $did > $seconds && !grep { !$acts->{$_} } @kinds;
}
is($wrong, '', "nothing wrong in any of $looks looks");
is(hammer_errors(everything_errors(), @clients), '', 'only errors that a client must expect');
is(hammer_errors(0, @helpers), '', 'none of those who grant, block and read');
note(join(', ', map { scalar(keys %{ $acts->{$_} }) . " $_" } sort keys %$acts));
note('errors: ' . hammer_errors(0, @clients));
note($node->safe_psql('postgres', q{select string_agg(kind || ' ' || n, ', ') from (select kind, count(*) as n from did group by 1) d}));
cmp_ok(scalar keys %{ $acts->{$_} // {} }, '>', 0, "some are $_") for @kinds;
cmp_ok($did, '>', $seconds, 'much was taken away and given back');
ok_hammered($node, 'after the hammer');

everything_rest($node, 'at rest');
hammer_drain($node, 'the drain');
ok_hammered($node, 'after the drain', drained => 1);
everything_rest($node, 'in the end');
hammer_finish(my @hear = hammer_start($node, 'call hear(0)'));
is(hammer_errors(0, @hear), '', 'events are read to the end');
note($node->safe_psql('postgres', q{select string_agg(concat_ws(' ', kind, act, state, n), ', ') from (
	select kind, act, state, count(*) as n from taskex.policy_actions group by 1, 2, 3 order by 1, 2, 3) a}));
ok_everything($node, 'in the end');
ok_hammered($node, 'in the end', drained => 1);
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|XX000/, 'no crash in the log');
$node->stop;

done_testing();
