# A tablespace is gone, as when a disk is not mounted: the users on it get errors, and all
# others go on: their work is done, what becomes due is handled, they can be moved.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => "taskex.conductor_interval = 50ms\nallow_in_place_tablespaces = on");
await_conductor($node, 'postgres', 'there is an exchange');
$node->safe_psql('postgres', q{create tablespace lost location ''});
$node->safe_psql('postgres', q{
	select taskex.add_partition('there'), taskex.add_partition('new'), taskex.add_partition('lost', 'lost');
	select taskex.register_user('req', partition => 'there'), taskex.register_user('per', partition => 'there'), taskex.register_user('gone', partition => 'lost');
	select taskex.deposit('req', 100, 'a'), taskex.deposit('gone', 100, 'b');
	select count(taskex.create_task(u, taskex.create_task_type('req', u, 1), '1', 2)) from unnest(array['req', 'gone']) u});
my $short = $node->safe_psql('postgres', q{select taskex.create_task('req', 1, '"short"', 1, '1 second')});

my $space = $node->data_dir . '/pg_tblspc/' . $node->safe_psql('postgres', q{select oid from pg_tablespace where spcname = 'lost'});
my ($within) = glob("$space/PG_*");
$node->stop;
rename $within, $node->data_dir . '/hidden' or die "cannot rename $within: $!";
$node->start;

my ($status, undef, $error) = $node->psql('postgres', q{select taskex.create_task('gone', 1, '1')}, extra_params => ['-v', 'VERBOSITY=verbose']);
isnt($status, 0, 'who lives there cannot work');
like($error, qr/58P01: +could not open file/, '... and is told why');
is($node->safe_psql('postgres', q{select count(*) from taskex.accept_next('per', 1)}), 1, 'others have work');
ok($node->poll_query_until('postgres', "select state <> 'open' from _taskex.task_1 where task_id = $short"), 'what becomes due elsewhere is handled');
$node->safe_psql('postgres', q{select taskex.migrate_user('req', 'new')});
ok($node->poll_query_until('postgres', q{select partition = 'new' from taskex.route('req')}), 'others can be moved');

$node->stop;
rename $node->data_dir . '/hidden', $within or die "cannot rename it back: $!";
$node->start;
ok($node->poll_query_until('postgres', q{select taskex.create_task('gone', 1, '1') > 0}), 'it is back, and so is who lives there');
is($node->safe_psql('postgres', q{select count(*) from (select * from taskex.check_market() union all select * from taskex.check_ledger()) c where not ok}), 0,
	'all is right in the end');

done_testing();
