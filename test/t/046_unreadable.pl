# A tablespace is gone, as when a disk is not mounted: the users on it get errors, and all
# others go on: they search and take tasks, their runs are done, what becomes due is handled,
# they can be moved, and get their invoices. When it is back, so is what was on it.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => "taskex.conductor_interval = 50ms\nallow_in_place_tablespaces = on\ntaskex.load_interval = 1s");
await_conductor($node, 'postgres', 'there is an exchange');
$node->safe_psql('postgres', q{create tablespace lost location ''});
$node->safe_psql('postgres', q{
	select taskex.add_partition('there'), taskex.add_partition('new'), taskex.add_partition('lost', 'lost');
	select taskex.register_user('req', partition => 'there'), taskex.register_user('per', partition => 'there'), taskex.register_user('gone', partition => 'lost'), taskex.register_user('away', partition => 'lost');
	select taskex.deposit('req', 100, 'a'), taskex.deposit('gone', 100, 'b');
	select taskex.add_partition('gold', tier => 'gold'), taskex.add_partition('leaving');
	select taskex.register_user('leaver' || n, partition => 'leaving') from generate_series(1, 10) n;
	select taskex.register_user('climber', '{"location": "here"}', partition => 'there')});
my $type = $node->safe_psql('postgres', q{select taskex.create_task_type('req', 'Type', 1)});
my $other = $node->safe_psql('postgres', q{select taskex.create_task_type('gone', 'Other type', 2)});
# the tasks of him who is gone pay better, so they would be found first
$node->safe_psql('postgres', qq{select taskex.create_tasks('gone', $other, '{1,2,3}', 2), taskex.create_tasks('gone', $type, '{1,2,3}', 2), taskex.create_tasks('req', $type, '{1,2,3}', 3)});
$node->safe_psql('postgres', q{select taskex.create_environment('box', 'external'), taskex.set_alert('much', 'running', 1000)});
my ($kept, $lost) = map { $node->safe_psql("postgres", qq{select taskex.submit_run('$_', null, '{}', options => '{"environment": "box"}')}) } qw(req gone);
my $running = $node->safe_psql('postgres', q{select taskex.submit_run('gone', null, '{}', 9, options => '{"environment": "box"}')});
is($node->safe_psql('postgres', q{select run_id from taskex.pull_runs('worker', 'box')}), $running, 'a run is under way that will be out of reach');
$node->safe_psql('postgres', q{
	create role runner login in role taskex_user;
	select taskex.register_user('carl', '{"db_role": "runner"}', 'there');
	select taskex.create_environment('inside', 'plpgsql', options => '{"max_executors": 1}'), taskex.set_throttle_policy('inside', '0.1 s', 'yield', '1 hour')});
# runs cost 1; payer also pays somebody who will be out of reach
$node->safe_psql('postgres', q{
	select taskex.register_user('payer', partition => 'there');
	select taskex.create_environment('paid', 'external'), taskex.set_rate('run_time', 1, '{"unit": "hour", "granularity": "1 hour", "environment": "paid"}');
	select taskex.publish_program('gone', 'p', 'paid', 'x', 0.5, true)});
sub used
{
	$node->safe_psql('postgres', q{select taskex.submit_run(c, options => '{"environment": "paid"}') from unnest('{req,gone,payer}'::text[]) c; select taskex.submit_run('payer', 'gone/p')});
	return $node->safe_psql('postgres', q{select count(taskex.complete_run(run_id, lease_token)) from taskex.pull_runs('worker', 'paid', 10)});
}
is(used(), 4, 'runs are done that cost something');
await($node, 'postgres', q{select count(*) = 2 from _taskex.stored_bytes join _taskex.directory using (user_id) where login in ('req', 'gone') and bytes > 0}, 'what users have stored is known');
$node->safe_psql('postgres', 'select taskex.sample_usage()');
await($node, 'postgres', q{select acts = 0 from _taskex.journal_lag()}, 'what was done is known to all');

# loads for which somebody should leave each of the two partitions where users live
$node->safe_psql('postgres', q{
	insert into _taskex.load_mean select 'u', user_id, date_trunc('hour', now()) - interval '10 days', date_trunc('hour', now()) - interval '1 hour',
		z, z, z, z, z, array_fill((case when login in ('gone', 'away') then 5 else 3 end * 3.6e9)::real, array[24])
		from _taskex.directory, (select array_fill(0::real, array[24]) as z) z where login in ('req', 'per', 'gone', 'away')
		on conflict (kind, id) do update set since = excluded.since, as_of = excluded.as_of, cpu_us = excluded.cpu_us;
	select taskex.set_fitness('cpu', '{"cpu": 1}'), taskex.set_fitness('all', '{"cpu": 1, "dealings": 0.01, "task_types": 0.01, "hot_spots": 0.01, "similar": 0.01,
		"expected": 0.01, "location": 0.01}')});
my $sources = q{select string_agg(distinct source, ',' order by source) from taskex.plan_rebalance('%s')};
like($node->safe_psql('postgres', sprintf($sources, 'cpu')), qr/lost/, 'somebody should leave the storage partition that will be lost');

my $space = $node->data_dir . '/pg_tblspc/' . $node->safe_psql('postgres', q{select oid from pg_tablespace where spcname = 'lost'});
my ($within) = glob("$space/PG_*");

sub hide
{
	$node->stop;
	rename $within, $node->data_dir . '/hidden' or die "cannot rename $within: $!";
	$node->start;
	return;
}

sub bring_back
{
	$node->stop;
	rename $node->data_dir . '/hidden', $within or die "cannot rename it back: $!";
	$node->start;
	return;
}

sub error_of
{
	my ($sql) = @_;
	my (undef, undef, $error) = $node->psql('postgres', $sql, extra_params => ['-v', 'VERBOSITY=verbose']);
	return $error;
}

hide();
await($node, 'postgres', q{select not ok and detail ~ 'storage partition "lost" in tablespace "lost" cannot be read since .*: No such file'
	from taskex.health where check_name = 'storage'}, 'health tells which storage partition cannot be read, and where it is');
my $at = -s $node->logfile;

for my $sql (qq{select taskex.create_task('gone', $type, '1')}, q{select count(*) from taskex.tasks where requester = 'gone'}, "select taskex.run_status($lost)")
{
	like(error_of($sql), qr/58P01: +could not open file/, "who lives there cannot work, and is told why: $sql");
}
like(error_of('select count(*) from taskex.tasks'), qr/58P01: +could not open file/, 'a view of everything is no view of a part');

is($node->safe_psql('postgres', qq{select string_agg(requester, ',') from taskex.search_tasks('per', max_rows => 10)}), 'req', 'who searches finds what can be had');
is($node->safe_psql('postgres', q{select count(*) from taskex.accept_next('per')}), 1, 'who takes what there is, takes that');
is($node->safe_psql('postgres', q{select count(*) from taskex.accept_next('per', count => 10)}), 2, '... all of it');
# a run that holds up others is asked to give way, by the policy of its environment: one round after the other
my $long = $node->safe_psql('postgres', q{select taskex.submit_run('carl', null, null, options => '{"environment": "inside",
	"code": "begin while not taskex.should_yield() loop perform pg_sleep(0.02); end loop; perform taskex.yield_run(); return null; end"}')});
for my $n (1 .. 8)
{
	ok($node->poll_query_until('postgres', "select count(*) = 1 from taskex.executors where run_id = $long"), "a run is executed, $n");
	my $urgent = $node->safe_psql('postgres', q{select taskex.submit_run('carl', null, null, 9, options => '{"environment": "inside", "code": "begin return 1; end"}')});
	is($node->safe_psql('postgres', "select taskex.wait_for_run($urgent, '3 minutes')"), 1, '... and gives way to one that waits');
}
$node->safe_psql('postgres', "select taskex.cancel_run($long)");
# a program and a customer are suspended: runs that were being taken are looked for where that can be
$node->safe_psql('postgres', q{select taskex.suspend_customer('carl'), taskex.suspend_customer('gone')});
ok($node->poll_query_until('postgres', q{select string_agg(scope, ',') = 'customer' from _taskex.run_sweep}), 'who is suspended has nothing that was missed, but who is out of reach');
$node->safe_psql('postgres', q{select taskex.resume_runs('carl'), taskex.resume_runs('gone')});
my $short = $node->safe_psql('postgres', qq{select taskex.create_task('req', $type, '"short"', 1, '1 second')});
is($node->safe_psql('postgres', qq{select taskex.get_task('req', $short) ->> 'task_id'}), $short, 'new tasks are supplied, and looked at');
is($node->safe_psql('postgres', qq{select count(*) from taskex.accept_next('per', $other)}), 0, 'of a type of which all is out of reach, nothing is there');

is($node->safe_psql('postgres', q{select string_agg(run_id::text, ',') from taskex.pull_runs('worker', 'box', 10)}), $kept, 'runs of those who are there are done');
is($node->safe_psql('postgres', q{select taskex.register_user('newcomer' || n) > 0 from generate_series(1, 6) n group by 1}), 't', 'new users find a place elsewhere')
	or diag(error_of(q{select taskex.register_user('newcomer' || n) from generate_series(1, 6) n}));
is($node->safe_psql('postgres', q{select users from taskex.partitions where name = 'lost'}), 2, '... all of them');
# more often than a plan is made anew for the same statement of a session
my $hinted = qq{select taskex.register_user('hinted' || n, '{"location": "here", "storage_class": "hdd", "expected": {"cpu": 1, "task_types": [$type]}}') > 0 from generate_series(1, 12) n};
is($node->safe_psql('postgres', "select distinct ok from ($hinted) h (ok)"), 't', 'so do those whose profiles say where they should live') or diag(error_of($hinted));
is($node->safe_psql('postgres', q{select users from taskex.partitions where name = 'lost'}), 2, '... none of them there');
my $scored = q{select distinct (select string_agg(partition || ' ' || (factors ->> 'excluded'), ', ' order by partition) from taskex.placement_scores where login = '%1$s' and score is null)
	from generate_series(1, 12) n};
is($node->safe_psql('postgres', sprintf($scored, 'per')), 'gold ["tier"], lost ["unreadable"]', 'the scores of others go without it');
is($node->safe_psql('postgres', q{select bool_and(score > 0) from taskex.placement_scores where login = 'per' and partition not in ('gold', 'lost')}), 't', '... and have all that can be read');
like($node->safe_psql('postgres', sprintf($scored, 'gone')), qr/there \["home"\]/, 'who lives there cannot be moved');
is($node->safe_psql('postgres', q{select count(distinct login) = (select count(*) from _taskex.directory) from taskex.placement_scores}), 't',
	'everybody has scores');
# twelve times: a plan that is kept for later calls would name all partitions
for my $fitness (qw(cpu all))
{
	is($node->safe_psql('postgres', "select string_agg(distinct s, ',') from (" . join(' union all ', ("select ($sources)") x 12) =~ s/%s/$fitness/gr . ') x (s)'), 'there',
		"a plan by $fitness moves nobody off what cannot be read, and others");
}
is($node->safe_psql('postgres', q{select count(*) from taskex.propose_moves()}), 0, 'and hot spots are proposed without it');
ok($node->poll_query_until('postgres', "select state <> 'open' from _taskex.task_1 where task_id = $short"), 'what becomes due elsewhere is handled');
$node->safe_psql('postgres', q{select taskex.migrate_user('req', 'new')});
ok($node->poll_query_until('postgres', q{select partition = 'new' from taskex.route('req')}), 'others can be moved');
ok($node->poll_query_until('postgres', q{select bool_and(state = 'done') from taskex.migrations}), '... to the end');
$node->safe_psql('postgres', q{select taskex.update_user('climber', '{"tier": "gold"}')});
ok($node->poll_query_until('postgres', q{select partition = 'gold' from taskex.route('climber')}), '... also by a change of tier');
$node->safe_psql('postgres', q{select taskex.drain_partition('lost'), taskex.drain_partition('leaving')});
ok($node->poll_query_until('postgres', q{select users = 0 from taskex.partitions where name = 'leaving'}), 'a partition can be emptied');
await($node, 'postgres', q{select users_left = 2 and moving = 0 and failed = 0 and error = 'the storage partition cannot be read' from taskex.drains where partition = 'lost'},
	'... but the one that cannot be read, which says so');
$node->safe_psql('postgres', q{select taskex.resume_partition('lost')});
# those who are together on one partition have much to do
$node->safe_psql('postgres', q{insert into _taskex.load_mean select 'u', d.user_id, m.since, m.as_of, m.calls, m.blocks_hit, m.blocks_read, m.blocks_written, m.wal_bytes, array_fill(9e9::real, array[24])
	from _taskex.directory d, _taskex.load_mean m
	where d.partition_id = (select partition_id from _taskex.directory where login = 'newcomer1') and d.login !~ '^(req|per)$'
		and m.kind = 'u' and m.id = (select user_id from _taskex.directory where login = 'req')
	on conflict (kind, id) do update set cpu_us = excluded.cpu_us});
cmp_ok($node->safe_psql('postgres', q{select taskex.rebalance('cpu')}), '>', 0, 'users are moved to where there is room');
ok($node->poll_query_until('postgres', q{select bool_and(state = 'done') from taskex.migrations}), '... to the end')
	or diag($node->safe_psql('postgres', q{select login, source, target, state, error from taskex.migrations where state <> 'done'}));
is($node->safe_psql('postgres', q{select string_agg(check_name || coalesce(' ' || substring(detail from 'cannot be told'), ''), ',' order by check_name) from taskex.health where not ok}), 'alert much cannot be told,storage',
	'an alert of runs there says that it does not know; nothing else is wrong');

# the workers do not run into it again and again
my $log = substr(slurp_file($node->logfile), $at);
my %failed;
$failed{$1}++ while $log =~ /taskex \w+ failed while (.*?):/g;
$failed{"consumer $1"}++ while $log =~ /consumer (\w+) of the journal failed/g;
is_deeply(\%failed, {}, 'no worker fails') or diag(explain(\%failed));

# invoices are closed, and storage is sampled, but of those who are out of reach, or whose owners of programs are
my $bills = q{select string_agg(login || ' ' || array_to_string(totals, '+'), ', ' order by login) from (select d.login, array_agg(i.total / 1e9::float8 order by i.invoice_id) as totals
	from _taskex.invoice i join _taskex.directory d on d.user_id = i.customer_id and d.partition_id = i.partition_id where %s group by 1) b};
my $reached = 'i.partition_id <> ' . $node->safe_psql('postgres', q{select partition_id from taskex.partitions where name = 'lost'});
my $waiting = q{select string_agg(login || ' ' || sqlstate, ', ' order by login) from _taskex.unclosed join _taskex.directory on customer_id = user_id};
my $sampled = q{select count(*), count(distinct started_at) from _taskex.usage u join _taskex.directory d on d.user_id = u.customer_id and d.partition_id = u.partition_id where d.login = '%s' and meter = 7};
is($node->safe_psql('postgres', 'select taskex.close_invoices()'), 1, 'invoices are closed');
is($node->safe_psql('postgres', sprintf($bills, $reached)), 'req 1', '... of those who are there');
is($node->safe_psql('postgres', $waiting), 'away 58P01, gone 58P01, payer 58P01', '... and others wait');
like($node->safe_psql('postgres', q{select detail from taskex.health where check_name = 'invoices'}), qr/^3 customers wait for an invoice, /, 'health tells of them');
cmp_ok($node->safe_psql('postgres', q{select taskex.sample_usage()}), '>', 0, 'storage is sampled');
is($node->safe_psql('postgres', q{select count(*) from _taskex.billing_state, jsonb_object_keys(missed)}), 1, '... and what cannot be is remembered');
is($node->safe_psql('postgres', q{select taskex.remove_usage('1 day')}), 0, 'old usage is removed');

bring_back();
await($node, 'postgres', q{select ok from taskex.health where check_name = 'storage'}, 'health tells that it is back');
is($node->safe_psql('postgres', 'select taskex.close_invoices()'), 2, 'who waited gets his invoice');
is($node->safe_psql('postgres', sprintf($bills, 'true')), 'gone 1, payer 2.5, req 1', '... of all');
$node->safe_psql('postgres', 'select pg_sleep(1.1), taskex.sample_usage()');
is($node->safe_psql('postgres', sprintf($sampled, 'req')), '2|2', 'what is stored was sampled twice');
is($node->safe_psql('postgres', sprintf($sampled, 'gone')), '1|1', '... and of whom nothing could be read, once');
is($node->safe_psql('postgres', q{select count(distinct t) from (select min(u.started_at) as t from _taskex.usage u join _taskex.directory d on d.user_id = u.customer_id and d.partition_id = u.partition_id
	where d.login in ('req', 'gone') and meter = 7 group by d.login) s}), 1, '... for all of the time');

# ... also when nobody has noticed yet that it is gone
is(used(), 4, 'runs are done again');
$node->append_conf('postgresql.conf', 'taskex.conductor = off');
hide();
is($node->safe_psql('postgres', 'select taskex.close_invoices()'), 1, 'invoices are closed');
is($node->safe_psql('postgres', sprintf($bills, $reached)), 'payer 2.5, req 1+1', '... of those who are there');
$node->append_conf('postgresql.conf', 'taskex.conductor = on');
bring_back();
await_conductor($node, 'postgres', 'it is back');
is($node->safe_psql('postgres', 'select taskex.close_invoices()'), 2, 'who waited gets his invoice');
is($node->safe_psql('postgres', sprintf($bills, 'true')), 'gone 1+1, payer 2.5+2.5, req 1+1', '... of all');
is($node->safe_psql('postgres', q{select string_agg(check_name || ': ' || detail, '; ') from taskex.check_billing() where not ok}), '', 'and the bills are right');
is($node->safe_psql('postgres', q{select ok from taskex.health where check_name = 'invoices'}), 't', 'nobody waits any more');
ok($node->poll_query_until('postgres', qq{select taskex.create_task('gone', $type, '1') > 0}), 'it is back, and so is who lives there');
is($node->safe_psql('postgres', q{select count(*) from taskex.accept_next('per', count => 10)}), 7, 'his tasks can be had');
is($node->safe_psql('postgres', q{select string_agg(run_id::text, ',') from taskex.pull_runs('worker', 'box', 10)}), $lost, 'so can his run');
is($node->safe_psql('postgres', q{select count(*) from (select * from taskex.check_market() union all select * from taskex.check_ledger()) c where not ok}), 0,
	'all is right in the end');

done_testing();
