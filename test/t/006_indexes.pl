# Operators work on the indexes of child tables while sessions use them: indexes
# are rebuilt, added, and built concurrently.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main');
make_partitions($node, 1, in_place => 1);
my $type = make_market($node);
my @tables = map { "_taskex.${_}_1" } qw(task assignment result entry);

# the same number by a look through the table and by the index
sub same_count
{
	my ($condition, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $count = "select count(*) from _taskex.task_1 where $condition";
	return is($node->safe_psql('postgres', "set enable_seqscan = off; set enable_bitmapscan = off; $count"),
		$node->safe_psql('postgres', "set enable_indexscan = off; set enable_indexonlyscan = off;
			set enable_bitmapscan = off; $count"), $name);
}

#
# A session that could not open a table at first opens it later
#
my $holder = $node->background_psql('postgres');
$holder->query_safe('begin; lock table _taskex.assignment_1 in access exclusive mode');
my $session = $node->background_psql('postgres', on_error_stop => 0);
$session->query("set lock_timeout = '100ms'; select * from taskex.accept_next('perf')");
$holder->query_safe('commit');
is($session->query("select count(*) from taskex.accept_next('perf')"), '0', 'a look after one that was cancelled');

#
# Indexes are rebuilt: they have other OIDs then
#
my $call = "select taskex.create_task('req', $type, '{\"n\": 1}') > 0";
is($session->query($call), 't', 'a session knows the tables');
is($session->query("select count(*) from taskex.accept_next('perf')"), '1', 'both of them');
$node->safe_psql('postgres', "reindex table concurrently $_") for @tables;
is($session->query($call), 't', 'it supplies after REINDEX CONCURRENTLY');
is($session->query("select count(*) from taskex.accept_next('perf')"), '1', 'and accepts');
$node->safe_psql('postgres', "vacuum full $_") for @tables;
is($session->query($call), 't', 'also after VACUUM FULL');

#
# An index is built concurrently, and waits for a transaction
#
$holder->query_safe('begin; lock table _taskex.task_1 in row exclusive mode');
my $builder = $node->background_psql('postgres');
$builder->query_until(qr/building/, "\\echo building\ncreate index concurrently late on _taskex.task_1 (created_at);\n");
$node->poll_query_until('postgres', "select count(*) = 1 from pg_index where indexrelid = to_regclass('_taskex.late')
	and not indisready");
is($session->query($call), 't', 'supplying goes on beside CREATE INDEX CONCURRENTLY');
$holder->query_safe('commit');
await($node, 'postgres', "select indisvalid from pg_index where indexrelid = '_taskex.late'::regclass", 'the index is built');
is($session->query($call), 't', 'and after it');
same_count('created_at is not null', 'all tasks are in the index');
$builder->quit;

#
# A session locks no indexes, so what drops or moves one waits for all who write to the table
#
$holder->query_safe('begin');
is($holder->query_safe($call), 't', 'a transaction that has written');
is($node->safe_psql('postgres', "select count(*) from pg_locks l join pg_index i on i.indexrelid = l.relation
	where i.indrelid = '_taskex.task_1'::regclass"), '0', 'has no lock of an index');
for my $command ('alter index _taskex.late set tablespace pg_default', 'alter table _taskex.late set tablespace pg_default',
	'alter index all in tablespace pg_default set tablespace pg_default', 'reindex index _taskex.late', 'drop index _taskex.late')
{
	is(sqlstate_of($node, 'postgres', "set lock_timeout = '200ms'; $command"), '55P03', "$command waits for it");
}
is(sqlstate_of($node, 'postgres', 'alter index all in tablespace pg_default set tablespace pg_default nowait'), '55P03', 'or does not, with NOWAIT');
my $dropper = $node->background_psql('postgres');
$dropper->query_until(qr/dropping/, "\\echo dropping\ndrop index concurrently _taskex.late;\n");
$node->poll_query_until('postgres', "select not indisvalid from pg_index where indexrelid = '_taskex.late'::regclass");
is($holder->query_safe($call), 't', 'it goes on beside DROP INDEX CONCURRENTLY');
is($session->query($call), 't', 'another session too');
$holder->query_safe('commit');
await($node, 'postgres', "select to_regclass('_taskex.late') is null", 'the index is dropped');
is($session->query($call), 't', 'and what is written after it');
$dropper->quit;

#
# Indexes with a predicate or an expression have what they should
#
$node->safe_psql('postgres', q{
	create index open_tasks on _taskex.task_1 (requester_id) where state = 'open';
	create index taken on _taskex.task_1 (requester_id) where live = 1;
	create index number on _taskex.task_1 ((input ->> 'n'));
	create index blocks on _taskex.task_1 using brin (created_at);
	create index backwards on _taskex.task_1 (task_type_id desc, task_id desc);
});
is($session->query($call), 't', 'supplying beside them') for 1 .. 3;
is($session->query("select count(*) from taskex.accept_next('perf', count => 2)"), '2', 'accepting beside them');
same_count("requester_id > 0 and state = 'open'", 'open tasks');
same_count('requester_id > 0 and live = 1', 'taken tasks');
same_count("input ->> 'n' = '1'", 'an expression');
ok(round_trip($node, $type), 'a task is paid');

$session->quit;
$holder->quit;
ok_checks($node, 'postgres', 'the exchange adds up');
$node->stop;

done_testing();
