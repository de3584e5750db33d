# Inferences that others watch, cancel, and kill: what is shown is true, nothing
# of it is left, and the memory that one takes is bounded. They work on a standby, and
# without preload.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use IPC::Run;
use Time::HiRes qw(time);

my $node = new_cluster('main', init => [ allows_streaming => 1 ], conf => 'restart_after_crash = on');
my $long = $PostgreSQL::Test::Utils::timeout_default;

# 400,000 labels of 40,000 tasks; the truth is 0 for even tasks, and seven of ten labels are true
$node->safe_psql('postgres', q{
	create role watcher; grant taskex_user to watcher;
	create role operator; grant taskex_admin to operator;
	create table said as select 'performer ' || (t * 7 + w * w) % 500 as worker, t as task,
			case when (t * 31 + w * 17) % 10 < 7 then t % 2 else 1 - t % 2 end as label
		from generate_series(1, 40000) t, generate_series(1, 10) w;
	grant select on said to public});
my $query = 'select worker, task, label from said';

# a session that infers without end, in the background, once its phase is seen
sub begin_inference
{
	my ($sql, $phase) = @_;
	my ($out, $err) = ('', '');
	my $run = IPC::Run::start([ 'psql', '-XqAt', '-d', $node->connstr('postgres'), map { ('-c', $_) } @$sql ],
		'<', \undef, '>', \$out, '2>', \$err);
	await($node, 'postgres', "select count(*) = 1 from taskex.inferences where phase = '$phase' and coalesce(round, 2) > 1",
		"an inference is $phase");
	return { run => $run, out => \$out, err => \$err };
}

sub end_inference
{
	my ($session) = @_;
	IPC::Run::finish($session->{run});
	return ${ $session->{err} };
}

# never at rest: the parameters move by more than nothing, for very many rounds
my $endless = qq{select count(*) from taskex.infer_truth('$query', 'glad', '{"rounds": 1000000, "tolerance": 0}')};
my $asleep = q{select count(*) from taskex.infer_truth('select 1 as worker, g as task, g % 3 as label, pg_sleep(case g when 20000 then 600 else 0 end)
	from generate_series(1, 20000) g', 'dawid_skene')};

# reading: how many labels so far
my $session = begin_inference([ 'set role watcher', $asleep ], 'reading');
await($node, 'postgres', q{select labels > 8000 from taskex.inferences}, 'labels are counted while they are read');
is($node->safe_psql('postgres', q{select role, method, labels < 20000, round is null, tasks is null, started_at < now() from taskex.inferences}),
	'watcher|dawid_skene|t|t|t|t', 'and what is not known yet is not shown');
is($node->safe_psql('postgres', 'set role watcher; select count(*) from taskex.inferences'), 1, 'he whose it is sees it');
is($node->safe_psql('postgres', 'set role operator; select count(*) from taskex.inferences'), 1, 'an operator too');
is($node->safe_psql('postgres', 'create role other; grant taskex_user to other; set role other; select count(*) from taskex.inferences'), 0, 'nobody else');
$node->safe_psql('postgres', 'create database another');
is($node->safe_psql('another', 'create extension taskex; select count(*) from taskex.inferences'), 0, 'nor another database');
$node->safe_psql('postgres', 'select pg_cancel_backend(pid) from taskex.inferences');
like(end_inference($session), qr/canceling statement due to user request/, 'cancelled while it reads');
is($node->safe_psql('postgres', 'select count(*) from taskex.inferences'), 0, 'nothing is left');

# inferring
$session = begin_inference([ $endless ], 'inferring');
is($node->safe_psql('postgres', q{select method, labels, tasks, performers, rounds from taskex.inferences}),
	'glad|' . $node->safe_psql('postgres', 'select count(*), count(distinct task), count(distinct worker) from (select distinct worker, task, label from said) d') . '|1000000',
	'counts are those of the distinct labels');
my $start = time;
$node->safe_psql('postgres', 'select pg_cancel_backend(pid) from taskex.inferences');
like(end_inference($session), qr/canceling statement due to user request/, 'cancelled in its rounds');
cmp_ok(time - $start, '<', $long / 10, 'at once');
is($node->safe_psql('postgres', 'select count(*) from taskex.inferences'), 0, 'nothing is left');

$session = begin_inference([ $endless ], 'inferring');
$node->safe_psql('postgres', 'select pg_terminate_backend(pid, 10000) from taskex.inferences');
like(end_inference($session), qr/terminating connection/, 'terminated');
is($node->safe_psql('postgres', 'select count(*) from taskex.inferences'), 0, 'nothing is left');

$session = begin_inference([ $endless ], 'inferring');
my $pid = $node->safe_psql('postgres', 'select pid from taskex.inferences');
ok(kill_backend($node, $pid), 'it is killed');
end_inference($session);
is($node->safe_psql('postgres', 'select count(*) from taskex.inferences'), 0, 'nothing is left after a crash');

# an error in a subtransaction, and an inference inside another
is($node->safe_psql('postgres', qq{
	begin;
	do \$\$ begin
		perform * from taskex.infer_truth('select 1 / 0 as worker, 1 as task, 1 as label', 'majority');
	exception when division_by_zero then null; end \$\$;
	select count(*) from taskex.inferences;
	select label from taskex.infer_truth('select 1 as worker, 1 as task, count(*) as label from taskex.infer_truth(''$query'', ''majority'')', 'median');
	select method from taskex.infer_truth('select 1 as worker, 1 as task, 1 as label', 'majority'), taskex.inferences;
	select label from taskex.infer_truth('select 1 as worker, 1 as task, (select count(*) from taskex.infer_truth(''select 1 as worker, 2 as task, 3 as label'', ''mean''))
		|| i.method as label from taskex.inferences i', 'glad');
	select count(*) from taskex.inferences;
	commit}), "0\n40000\n1glad\n0", 'the outer inference is shown again when an inner one has ended');

# memory: at most what is allowed, and what the documents say is enough
my $needed = 40 * 400_000 / 1024;
is($node->safe_psql('postgres', "set taskex.max_inference_memory = ${\ int($needed)}; select count(*) from taskex.infer_truth('$query', 'dawid_skene')"),
	40000, 'documented memory is enough');
my ($status, $out, $err) = $node->psql('postgres', qq{set taskex.max_inference_memory = '4MB'; select count(*) from taskex.infer_truth('$query', 'majority')});
like($err, qr/the inference needs more memory than taskex.max_inference_memory.*for [1-9]\d* labels.*HINT:/s, 'less is refused');
my $grown = $node->safe_psql('postgres', qq{
	select count(*) from taskex.infer_truth('$query', 'majority');
	create temp table before as select sum(total_bytes) as bytes from pg_backend_memory_contexts;
	do \$\$ begin for i in 1 .. 10 loop
		begin
			perform count(*) from taskex.infer_truth('$query', 'majority', case when i % 2 = 0 then '{}'::jsonb else '{"ties": "none"}' end);
			perform count(*) from taskex.infer_truth('select worker, task, 1 / (40000 - task) as label from said', 'zencrowd');
		exception when division_by_zero then null; end;
	end loop; end \$\$;
	select sum(total_bytes) - max(bytes) < 4 * 1024 * 1024 from pg_backend_memory_contexts, before});
is($grown, "40000\nt", 'no memory is kept, with or without errors');

# on a standby
my $backup = $node->backup('b');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'b', has_streaming => 1);
$standby->start;
is($standby->safe_psql('postgres', "select count(*) from taskex.infer_truth('$query', 'one_coin')"), 40000, 'it works on a standby');
$standby->stop;

# without preload
$node->append_conf('postgresql.conf', q{shared_preload_libraries = ''});
$node->restart;
is($node->safe_psql('postgres', "select count(*) from taskex.infer_truth('$query', 'one_coin'); select count(*) from taskex.inferences"),
	"40000\n0", 'it works without preload, unseen');
$node->stop;

done_testing();
