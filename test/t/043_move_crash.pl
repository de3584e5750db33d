# A crash just after users have moved: what is open, what is due and what is at hand is
# found on the new storage partition, where all of the type was closed and forgotten.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => q{
taskex.conductor_interval = 20ms
taskex.supply = on
taskex.supply_interval = 0
});
make_partitions($node, 2, in_place => 1);
my ($type, $short, $kept) = split ' ', $node->safe_psql('postgres', q{
	do $$ begin
		perform taskex.register_user(u, partition => 'p1'), taskex.deposit(u, 100, 'start') from unnest('{req,perf,other,late}'::text[]) u;
		perform taskex.register_user(u, partition => 'p2'), taskex.deposit(u, 100, 'start') from unnest('{stays,stayer}'::text[]) u;
	end $$;
	select concat_ws(' ', taskex.create_task_type('req', 'Moved', 0.5, lease => '20 s'), taskex.create_task_type('req', 'Short', 0.5),
		taskex.create_task_type('req', 'Kept', 0.5))});
$node->safe_psql('postgres', qq{
	select taskex.create_task('req', $type, '1') from generate_series(1, 5);
	select taskex.create_task('stays', $type, '1') from generate_series(1, 5);
	-- only those of who stays are done
	select taskex.block_performer('req', 'stayer', 'for a while');
	select taskex.submit_assignment('stayer', assignment_id, '1') from taskex.accept_next('stayer', $type, 100);
	select taskex.approve_assignment('stays', assignment_id) from taskex.assignments where requester = 'stays'});
await($node, 'postgres', qq{select idle from _taskex.offer o join taskex.partitions p using (partition_id) where task_type_id = $type and p.name = 'p2'},
	'nothing is left there, and on record as that');

# what is at hand, what is leased, what expires
my $at_hand = $node->safe_psql('postgres', qq{
	select taskex.create_group('kept', '{other,late}') as x \\gset
	select count(taskex.create_task('req', $kept, '1', 2)) as x from generate_series(1, 4) \\gset
	select _taskex.supply_acquire(_taskex.group_id('kept'), $kept, 8)});
is($at_hand, '8', 'a group has tasks at hand');
my $leased = $node->safe_psql('postgres', qq{select assignment_id from taskex.accept_next('perf', $type)});
$node->safe_psql('postgres', qq{select taskex.create_task('req', $short, '1', expires_in => '4 s')});
$node->safe_psql('postgres', q{select taskex.migrate_users('{req,perf}', 'p2')});
await($node, 'postgres', q{select count(*) = 2 from taskex.migrations where switched_at is not null}, 'they have moved');
$node->stop('immediate');
$node->start;

is($node->safe_psql('postgres', qq{select count(*) from taskex.accept_next('late', $type, 10)}), '4', 'what is open is offered');
$node->safe_psql('postgres', qq{select * from taskex.accept_next('other', $kept, 10)});
is($node->safe_psql('postgres', q{select count(distinct task_id), count(group_lease_id) from _taskex.assignment join _taskex.directory on user_id = performer_id
	where login = 'other'}), '4|4', 'what was at hand still is');
await($node, 'postgres', qq{select state = 'abandoned' from taskex.assignments where assignment_id = $leased}, 'a lease ends');
await($node, 'postgres', qq{select state = 'expired' from taskex.tasks where task_type_id = $short}, 'a task expires');
await($node, 'postgres', q{select not exists (select from taskex.migrations where finished_at is null)}, 'the moves end');
ok_checks($node, 'postgres', 'after the crash');

$node->append_conf('postgresql.conf', 'taskex.supply_interval = 50ms');

# back again: what is at hand goes with the requester, and what is left of it goes back
$node->safe_psql('postgres', q{select taskex.migrate_users('{req,perf}', 'p1')});
await($node, 'postgres', q{select count(*) = 4 from taskex.migrations where state = 'done'}, 'and back');
is($node->safe_psql('postgres', qq{select count(*) from taskex.accept_next('late', $kept, 2)}), '2', 'what is at hand is there');
$node->reload;	# a supplier runs
$node->safe_psql('postgres', q{select taskex.drop_group('kept')});
await($node, 'postgres', qq{select sum(live) = 6 from _taskex.task_at_home where task_type_id = $kept}, 'the rest goes back to the tasks');
ok_checks($node, 'postgres', 'in the end');
$node->stop;

done_testing();
