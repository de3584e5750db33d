# A market under the hammer is killed again and again, at random moments: one of
# its sessions, its conductor, its supplier, or the postmaster; with supplies on, and
# now and then switched off. After each restart every act that
# a client was told of is there and none is half there; at the end all work that
# is left can be done, policies have done all once, and each event was heard once.
# Qualifications and blocks change, and events are read, while that goes on.
#
# TASKEX_KILL_ROUNDS sets the number of rounds, TASKEX_KILL_SEED what happens.

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

my $rounds = $ENV{TASKEX_KILL_ROUNDS} // 12;
my $seed = $ENV{TASKEX_KILL_SEED} // time & 0xffff;
srand($seed);
note("TASKEX_KILL_SEED=$seed");

# a killed process loses nothing that the kernel has: fsync may stay off
my $node = new_cluster('main', conf => q{
restart_after_crash = on
log_min_messages = warning
taskex.conductor_interval = 20ms
taskex.supply_interval = 50ms
taskex.supply_lease = 5s
});
my @types = hammer_market($node, 3);
push @types, everything_market($node);

# acknowledged acts
my %acts;
my %truth = everything_truth();

sub lost
{
	my $lost = '';
	for my $act (sort keys %truth)
	{
		my @ids = sort keys %{ $acts{$act} // {} } or next;
		my $ids = join ',', map { qq{"$_"} } @ids;
		my $missing = $node->safe_psql('postgres',
			"select string_agg(id, ', ') from unnest('{$ids}'::text[]) u (id) where not exists ($truth{$act})");
		$lost .= "$act $missing; " if $missing ne '';
	}
	return $lost;
}

my %hit;
my $done = 0;
for my $round (1 .. $rounds)
{
	my $victim = (qw(session conductor supplier postmaster))[ $round <= 4 ? $round - 1 : rand 4 ];
	$node->append_conf('postgresql.conf', 'taskex.supply = ' . ($round % 4 == 0 ? 'off' : 'on'));
	$node->reload;
	my @clients = hammer_start($node,
		map { hammer_script(types => \@types, name => "r${round}c$_", turns => 400,
			more => \&everything_turns) } 1 .. 8);
	my @helpers = everything_helpers($node, time + 20);

	# once they are at work, any moment is right
	hammer_busy(@clients);
	usleep(int rand 1_000_000);

	my $name = "round $round, a $victim";
	if ($victim eq 'postmaster')
	{
		hammer_kill_server($node);
		$hit{$victim}++;
	}
	else
	{
		my $find = 'select pid from pg_stat_activity where '
		  . ($victim eq 'session' ? q{application_name = 'hammer' order by random() limit 1} : "backend_type = 'taskex $victim' and datname = 'postgres'");

		# with supplies off there may be no supplier
		my $pid = $round <= 4 ? hammer_victim($node, $find) : $node->safe_psql('template1', $find);
		$hit{$victim}++ if kill_backend($node, $pid);
	}
	everything_stop($node, @helpers);
	my $acknowledged = hammer_finish(@clients);
	for my $act (keys %$acknowledged)
	{
		$acts{$act}{$_} = 1 for keys %{ $acknowledged->{$act} };
	}
	my $errors = hammer_errors(everything_errors(), @clients);
	$errors = '' if $errors =~ /^(57P0[123]: [^,]*(, )?)*$/;	# the server is going or coming
	is($errors, '', "$name: no error of another kind");

	ok($victim eq 'postmaster' ? hammer_start_server($node) : $node->poll_query_until('template1', 'select true'), "$name: back");
	is(lost(), '', "$name: every acknowledged act is there");
	ok_hammered($node, $name);
}
is_deeply([ sort keys %hit ], [ sort((qw(session conductor supplier postmaster))[ 0 .. ($rounds < 4 ? $rounds - 1 : 3) ]) ],
	'all kinds of victims were hit');
note(join ', ', map { scalar(keys %{ $acts{$_} }) . " $_" } sort keys %acts);
cmp_ok(scalar keys %{ $acts{submitted} // {} }, '>', 5 * $rounds, 'work was done between the crashes');

await_conductor($node, 'postgres', 'the conductor is back');
everything_rest($node, 'at rest');
hammer_drain($node, 'the drain');
everything_rest($node, 'in the end');
hammer_finish(hammer_start($node, 'call hear(0)'));
ok_everything($node, 'in the end');
ok_hammered($node, 'in the end', drained => 1);
is(lost(), '', 'every acknowledged act is there in the end');
$node->stop;

done_testing();
