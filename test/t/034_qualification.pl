# Performers accept as fast as they can while their qualifications are granted and
# revoked, and while they are blocked and unblocked. Nobody gets a task in an
# accept that began after he lost it and ended before he got it back.
#
# Who takes away notes the time after his commit; before he gives back he takes an
# id from the assignments' block. An assignment that began (accepted_at) after
# the one and has an id below the other is wrong.
#
# TASKEX_HAMMER_SECONDS sets the length.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $seconds = $ENV{TASKEX_HAMMER_SECONDS} // 10;
my $performers = 6;
my $node = new_cluster('main', conf => 'max_connections = 60');
make_partitions($node, 2);
$node->safe_psql('postgres', qq{
	create table lost (performer text, after bigint, before_id bigint, how text);
	create table market as select null::bigint as type, null::bigint as qualification;
	do \$\$ declare q bigint; begin
		perform taskex.register_user('req', partition => 'p1');
		perform taskex.register_user('marker', partition => 'p1');
		perform taskex.register_user('per' || n, partition => 'p' || (n % 2 + 1)) from generate_series(1, $performers) n;
		q := taskex.create_qualification('req', 'Hammer');
		update market set qualification = q, type = taskex.create_task_type('req', 'Hammer', 0, qualifications =>
			format('[{"qualification": %s, "comparator": ">=", "value": 50}]', q)::jsonb);
		perform taskex.create_tasks('req', (select type from market), array_fill('1'::jsonb, array[100000]));
		perform taskex.create_tasks('req', taskex.create_task_type('req', 'Marker', 0), array_fill('1'::jsonb, array[20000]));
		perform taskex.grant_qualification('req', q, 'per' || n, 50) from generate_series(1, $performers) n;
	end \$\$;
});
my ($type, $q, $marker) = split /\|/, $node->safe_psql('postgres', q{
	select type, qualification, (select task_type_id from taskex.task_types where title = 'Marker') from market});

# \sleep gives the performers time to go wrong
my $take = sub { my ($lose, $regain, $how) = @_; return qq{
	\\set n random(1, $performers)
	select pg_advisory_lock(:n);
	$lose;
	select (extract(epoch from clock_timestamp()) * 1000000)::bigint as lost_at \\gset
	\\sleep 10 ms
	select assignment_id as marker_id from taskex.accept_next('marker', $marker) \\gset
	insert into lost values ('per' || :n, :lost_at, :marker_id, '$how');
	$regain;
	select pg_advisory_unlock(:n);
	\\sleep 5 ms
} };
my %script = (
	next => qq{select count(*) from taskex.accept_next('per' || (:client_id % $performers + 1), $type);},
	many => qq{select count(*) from taskex.accept_next('per' || (:client_id % $performers + 1), null, 3);},
	revoke => $take->("select taskex.revoke_qualification('req', $q, 'per' || :n)", "select taskex.grant_qualification('req', $q, 'per' || :n, 50)", 'revoked'),
	lower => $take->("select taskex.grant_qualification('req', $q, 'per' || :n, 49)", "select taskex.grant_qualification('req', $q, 'per' || :n, 51)", 'lowered'),
	block => $take->("select taskex.block_performer('req', 'per' || :n, 'why')", "select taskex.unblock_performer('req', 'per' || :n)", 'blocked'),
);

my $dir = PostgreSQL::Test::Utils::tempdir('scripts');
my @running;
for my $run ([ 'next', $performers, '' ], [ 'many', $performers, '' ],
	[ 'next', $performers, '-c default_transaction_isolation=repeatable\ read' ],
	[ 'revoke', 2, '' ], [ 'lower', 2, '' ], [ 'block', 2, '' ])
{
	my ($name, $clients, $options) = @$run;
	append_to_file("$dir/$name.sql", $script{$name}) unless -e "$dir/$name.sql";
	local $ENV{PGOPTIONS} = $options;
	my $out = '';
	push @running, [ IPC::Run::start([ 'pgbench', '-n', '--max-tries', 100, '-c', $clients, '-T', $seconds, '-f', "$dir/$name.sql",
			'-h', $node->host, '-p', $node->port, 'postgres' ], '>', \$out, '2>&1'), $name, \$out ];
}
for my $r (@running)
{
	IPC::Run::finish($r->[0]);
	is($r->[0]->result(0), 0, "$r->[1] ends well") or note(${ $r->[2] });
}

my $took = $node->safe_psql('postgres', qq{select count(*) from taskex.assignments where task_type_id = $type});
my $lost = $node->safe_psql('postgres', q{select string_agg(how || ' ' || n, ', ') from (select how, count(*) n from lost group by 1) l});
note("$took tasks taken; $lost");
cmp_ok($took, '>', 5 * $seconds, 'tasks were taken');
is($node->safe_psql('postgres', "select count(distinct how) from lost having count(*) > $seconds"), '3', 'and performers lost what they had, each way');
is($node->safe_psql('postgres', qq{
	select a.performer, l.how, a.accepted_at from taskex.assignments a join lost l using (performer)
	where a.task_type_id = $type and extract(epoch from a.accepted_at) * 1000000 > l.after and a.assignment_id < l.before_id}), '',
	'nobody took a task while he had lost what it requires');
ok_checks($node, 'postgres', 'the books are right');
unlike(slurp_file($node->logfile), qr/PANIC|TRAP|terminated by signal|XX000/, 'no crash in the log');
$node->stop;

done_testing();
