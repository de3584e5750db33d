# A storage partition is dropped while the conductor is about to read it: the conductor
# goes on, and so does run_due().

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => 'taskex.conductor_interval = 50ms');
await_conductor($node, 'postgres', 'there is an exchange');
$node->safe_psql('postgres', q{select taskex.add_partition('stays')});

sub conductor
{
	my $how = shift;
	$node->safe_psql('postgres', "alter system set taskex.conductor = $how");
	$node->reload;
	$node->poll_query_until('postgres', "select current_setting('taskex.conductor') = '$how'") or die 'no reload';
}

# it lists the partition, and finds it locked by who drops it; then it is not there any more
my $pid = conductor_pid($node, 'postgres');
conductor('off');
$node->safe_psql('postgres', q{select taskex.add_partition('goes')});
my $dropper = $node->background_psql('postgres');
$dropper->query_safe(q{begin; select taskex.drop_partition('goes')});
conductor('on');
ok($node->poll_query_until('postgres', "select count(*) > 0 from pg_locks where pid = $pid and not granted"),
	'the conductor waits for a table that is being dropped');
$dropper->query_safe('commit');
$dropper->quit;
my $dropped = $node->safe_psql('postgres', 'select now()');
ok($node->poll_query_until('postgres', "select count(*) = 1 from pg_stat_activity
		where backend_type = 'taskex conductor' and datname = 'postgres' and state = 'idle' and state_change > timestamptz '$dropped' + interval '200 ms'"), 'rounds go on');
is(conductor_pid($node, 'postgres'), $pid, 'it is the same one afterwards');
is($node->safe_psql('postgres', q{select count(*) >= 0 from taskex.run_due()}), 't', 'and what is due can be done by hand');
unlike(slurp_file($node->logfile), qr/conductor.*exited with exit code/, 'none has ended');

$node->stop;
done_testing();
