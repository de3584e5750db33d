# A move to a tablespace that is full: it is undone and has failed, nothing of it is left,
# and the user goes on working where he was. Needs a file system of its own for the tablespace,
# and so a namespace in which one can be mounted (unshare, from util-linux).

use strict;
use warnings;

# the mount is this process's and its children's: so this test runs once more, in there,
# before PostgreSQL::Test::Utils takes the standard output
BEGIN
{
	if (!$ENV{TASKEX_SMALL_DISK})
	{
		require File::Temp;
		my $place = File::Temp::tempdir(CLEANUP => 1);
		my @inside = qw(unshare --map-current-user --mount --keep-caps sh -c);
		if (system(@inside, 'mount -t tmpfs -o size=1m none "$0" 2>/dev/null', $place) != 0)
		{
			print "1..0 # SKIP no small file system can be mounted here\n";
			exit 0;
		}
		$ENV{TASKEX_SMALL_DISK} = $place;
		exit(system(@inside, 'mount -t tmpfs -o size=12m,mode=0700 none "$0" && exec setpriv --inh-caps=-all --ambient-caps=-all "$@"',
			$place, $^X, (map { "-I$_" } @INC), $0) >> 8);
	}
}

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => "log_min_messages = warning\ntaskex.conductor_interval = 50ms");
await_conductor($node, 'postgres', 'there is an exchange');
$node->safe_psql('postgres', "create tablespace small location '$ENV{TASKEX_SMALL_DISK}'");
$node->safe_psql('postgres', q{
	select taskex.add_partition('here'), taskex.add_partition('small', 'small');
	select taskex.register_user('req', partition => 'here'), taskex.deposit('req', 10000, 'a')});
my $type = $node->safe_psql('postgres', q{select taskex.create_task_type('req', 'Type', 0.01)});
# 20 MB that do not shrink
$node->safe_psql('postgres', qq{select count(*) from generate_series(1, 20) i, lateral taskex.create_tasks('req', $type,
	array(select to_jsonb((select string_agg(md5(random()::text || i || n || k), '') from generate_series(1, 300) k)) from generate_series(1, 100) n))});
my $id = $node->safe_psql('postgres', q{select taskex.migrate_user('req', 'small')});
my $written = 0;
for (1 .. 600)
{
	$written += $node->safe_psql('postgres', qq{select (taskex.create_task('req', $type, '1') > 0)::int});
	last if $node->safe_psql('postgres', "select finished_at is not null from taskex.migrations where migration_id = $id") eq 't';
}
await($node, 'postgres', "select state = 'failed' and error ~ 'No space left' from taskex.migrations where migration_id = $id", 'the move has failed, and tells why');
is($node->safe_psql('postgres', q{select partition from taskex.route('req')}), 'here', 'he is where he was');
is($node->safe_psql('postgres', q{select count(*) from taskex.tasks where requester = 'req'}), 2000 + $written, 'with all that he has written meanwhile');
my $p = $node->safe_psql('postgres', q{select partition_id from taskex.partitions where name = 'small'});
# (what a writer logged while the move ended goes a little later)
await($node, 'postgres', "select (select count(*) from _taskex.task_$p) + (select count(*) from _taskex.entry_$p) + (select count(*) from _taskex.profile_$p)
	+ (select count(*) from _taskex.migration_log) + (select count(*) from _taskex.forward) = 0", 'nothing is left of the copies');
is($node->safe_psql('postgres', q{select count(*) from (select * from taskex.check_market() union all select * from taskex.check_ledger()) c where not ok}), 0, 'all is right');

$node->stop;
done_testing();
