# Billing under fire: every completion is replayed and billed once; invoices of a generated
# trace are those of an independent computation in exact numerics; rates change in the
# middle; two closings at once, one of which is killed; the server is killed; a budget holds
# under 32 who submit and work; a customer moves with his usage.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(usleep);

my $node = new_cluster('main', conf => "max_connections = 60\nrestart_after_crash = on\n");
make_partitions($node, 2, in_place => 1);
$node->safe_psql('postgres', q{
	select taskex.register_user('c' || i, partition => 'p' || 1 + i % 2) from generate_series(1, 6) i;
	select taskex.register_user('owner', partition => 'p1');
	select taskex.create_environment('e', 'external'), taskex.create_environment('dear', 'external');
	select taskex.publish_program('owner', 'p', 'e', 'x', 0.0123, true), taskex.set_program_price('owner', 'p', 0.7, 'hour');
	select taskex.set_rate('run_time', 0.1, '{"unit": "hour", "granularity": "10 ms", "minimum": "50 ms", "priority": {"3": 1.37, "9": 0.001}}');
	select taskex.set_rate('run_time', 0.000000000007, '{"unit": "microsecond", "environment": "dear", "brackets": [{"upto": 20000, "price": 0.00000001}, {"upto": 90000, "price": 0.00000000003}]}');
	select taskex.deposit('c1', 100, 'x'), taskex.set_credit_limit('c1', 0)});

sub checks { return $node->safe_psql('postgres', q{select string_agg(check_name || ': ' || detail, '; ') from
	(select * from taskex.check_billing() union all select * from taskex.check_ledger() union all select * from taskex.check_workload()
	union all select * from taskex.check_market() where check_name = 'audit') c where not ok}) }

# a trace: 3000 runs of six customers, completed in batches, some failed
sub trace
{
	my $n = shift;
	$node->safe_psql('postgres', qq{
		select count(taskex.submit_run('c' || 1 + i % 6, case when i % 3 = 0 then 'owner/p' end, null, i % 10, null,
			case when i % 3 = 0 then '{}' else jsonb_build_object('environment', (array['e', 'dear'])[1 + i % 2], 'max_attempts', 1) end)) from generate_series(1, $n) i});
	$node->safe_psql('postgres', q{
		create table if not exists told (run_id bigint, token bigint);
		create or replace procedure work(environment text) language plpgsql as $$
		declare ids bigint[]; tokens bigint[];
		begin
			loop
				select array_agg(run_id), array_agg(lease_token) into ids, tokens from taskex.pull_runs('w', environment, 40);
				exit when ids is null;
				commit;
				perform pg_sleep(random() * 0.1);
				perform taskex.fail_run(ids[1], tokens[1], '{"message": "no"}', false);
				perform taskex.complete_runs(ids[2:], tokens[2:]);
				insert into told select unnest(ids), unnest(tokens);
				commit;
			end loop;
		end $$});
	$node->safe_psql('postgres', "call work('$_')") for qw(e dear);
	return;
}
trace(1500);
is(checks(), '', 'a trace leaves the books right');

# ---- replayed: every completion again, and by others
my $before = $node->safe_psql('postgres', 'select count(*), sum(billed) from _taskex.usage');
is($node->safe_psql('postgres', q{
	create function replay(run_id bigint, token bigint) returns int language plpgsql as $$
	begin
		begin perform taskex.complete_run(run_id, token); return 1; exception when sqlstate 'TX108' or sqlstate 'TX109' or sqlstate 'TX107' then end;
		begin perform taskex.fail_run(run_id, token, '{}'); return 1; exception when sqlstate 'TX108' or sqlstate 'TX109' or sqlstate 'TX107' then end;
		begin perform taskex.complete_runs(array[run_id], array[token]); return 1; exception when sqlstate 'TX108' or sqlstate 'TX109' or sqlstate 'TX107' then end;
		return 0;
	end $$;
	select count(*) > 1000, sum(replay(run_id, token)) from told}), 't|0', 'no completion is taken twice');
is($node->safe_psql('postgres', 'select count(*), sum(billed) from _taskex.usage'), $before, 'or billed twice');

# ---- the independent computation: from the runs themselves and the cards, in numerics
my $exact = q{
	with attempt as (
		select r.customer_id, r.environment_id, r.program_id, r.priority, (extract(epoch from a.finished_at) - extract(epoch from a.started_at)) * 1000000 as us, a.started_at, 'failed' as outcome
			from _taskex.run_attempt a join _taskex.run r using (run_id)
		union all
		select customer_id, environment_id, program_id, priority, (extract(epoch from finished_at) - extract(epoch from started_at)) * 1000000, started_at, 'succeeded'
			from _taskex.run where state = 'succeeded'),
	cost (customer_id, exact) as (
		select customer_id, ceil(greatest(us, 50000) / 10000) * 10000 * 0.1 * case priority when 3 then 1.37 when 9 then 0.001 else 1 end * 10
				* case when started_at >= coalesce((select min(valid_from) from _taskex.rate where prices[1] = 0.2), 'infinity') then 2 else 1 end
			from attempt where environment_id = 1
		union all select customer_id, (least(us, 20000) * 0.00000001 + least(greatest(us - 20000, 0), 70000) * 0.00000000003 + greatest(us - 90000, 0) * 0.000000000007) * 36000000000
			from attempt where environment_id = 2
		union all select customer_id, 0.0123 * 36000000000 from attempt where program_id is not null and outcome = 'succeeded'
		union all select customer_id, us * 0.7 * 10 from attempt where program_id is not null),
	-- in parts of 1 / 36000000000, which come out even
	bill as (select customer_id, sum(total) * 36 as total, (array_agg(carried * 36000000000 / denominator order by invoice_id desc))[1] as carried from _taskex.invoice where kind = 'invoice' group by 1)
	select count(*), string_agg(format('%s: %s', customer_id, exact - total - carried), ', ') from (select customer_id, sum(exact) as exact from cost group by 1) c
		full join bill b using (customer_id) where exact is distinct from total + carried};
$node->safe_psql('postgres', 'select taskex.close_invoices()');
is($node->safe_psql('postgres', $exact), '0|', 'drift is 0 after a closing');

# ---- a rate changes while runs run; what was charged stays
my $charged = $node->safe_psql('postgres', 'select sum(amount) from taskex.usage');
my $psql = IPC::Run::start([ 'psql', '-X', '-q', '-d', $node->connstr('postgres'), '-c',
	"select count(taskex.submit_run('c' || 1 + i % 6, null, null, i % 10, null, '{\"environment\": \"e\", \"max_attempts\": 1}')) from generate_series(1, 1000) i", '-c', "call work('e')" ], '<', \'', '>', \my $out, '2>', \my $err);
usleep(400_000);
$node->safe_psql('postgres', q{select taskex.set_rate('run_time', 0.2, '{"unit": "hour", "granularity": "10 ms", "minimum": "50 ms", "priority": {"3": 1.37, "9": 0.001}}')});
$psql->finish;
$node->safe_psql('postgres', q{select taskex.submit_run('c1', options => '{"environment": "e"}'); call work('e')});
is($err, '', 'nobody minds a rate that changes');
is($node->safe_psql('postgres', "select sum(amount) from taskex.usage where closed"), $charged, 'what was charged is what it was');
is($node->safe_psql('postgres', q{select count(distinct rate_id) from _taskex.usage where meter = 1 and environment_id = 1}), 2, 'both rates were used');
is(checks(), '', 'and the books are right');

# ---- two closings at once while others write; then one is killed, then the server
trace(300);
for my $what ('two', 'a backend', 'the server')
{
	my @closers = map { my %c = (out => '', err => ''); $c{run} = IPC::Run::start([ 'psql', '-X', '-At', '-d', $node->connstr('postgres'), '-c', "select taskex.close_invoices(digits => 4)" ], '<', \'', '>', \$c{out}, '2>', \$c{err}); \%c } 1 .. 2;
	usleep(int rand 60_000);
	if ($what eq 'a backend')
	{
		my $pid = $node->safe_psql('postgres', q{select coalesce(max(pid), 0) from pg_stat_activity where query like '%close_invoices%' and pid <> pg_backend_pid()});
		kill_backend($node, $pid);
	}
	elsif ($what eq 'the server')
	{
		$node->stop('immediate');
	}
	# a killed one fails, and psql tells of it
	eval { $_->{run}->finish } for @closers;
	if ($what eq 'two')
	{
		is($closers[0]{err} . $closers[1]{err}, '', 'two closings at once');
	}
	$node->start if $what eq 'the server';
	$node->poll_query_until('postgres', 'select true') or BAIL_OUT('the server is gone');
	$node->safe_psql('postgres', 'select taskex.close_invoices(digits => 4)');
	is($node->safe_psql('postgres', $exact), '0|', "$what: drift is 0");
	is(checks(), '', '... and the books are right');
	trace(60);
}

# ---- a customer moves: his usage and invoices go with him
$node->safe_psql('postgres', q{select taskex.migrate_user('c2', 'p2')});
ok($node->poll_query_until('postgres', q{select state = 'done' from taskex.migrations where login = 'c2'}), 'a customer with usage and invoices moves');
$node->safe_psql('postgres', 'select taskex.close_invoices(digits => 4)');
is($node->safe_psql('postgres', $exact), '0|', 'drift is 0 after a move');
is(checks(), '', '... and the books are right');

# ---- a budget under 32 who submit and work
$node->safe_psql('postgres', q{
	select taskex.register_user('b', partition => 'p1');
	select taskex.create_environment('one', 'external');
	select taskex.set_rate('run_time', 1, '{"unit": "second", "environment": "one", "granularity": "1 hour"}');
	select taskex.set_run_budget('b', 3600 * 100, 'none', warn => 0)});
append_to_file($node->basedir . '/budget.sql', <<'END');
select taskex.submit_run('b', options => '{"environment": "one"}');
select run_id as id, lease_token as token from taskex.pull_runs('w', 'one') \gset
\if :{?id}
select taskex.complete_run(:id, :token);
\unset id
\endif
END
my $script = (slurp_file($node->basedir . '/budget.sql')) x 20;
my @clients = map { my %c = (out => '', err => '', in => "\\set VERBOSITY sqlstate\n$script"); $c{run} = IPC::Run::start([ 'psql', '-X', '-At', '-q', '-d', $node->connstr('postgres') ], '<', \$c{in}, '>', \$c{out}, '2>', \$c{err}); \%c } 1 .. 32;
$_->{run}->finish for @clients;
my %errors = map { $_ => 1 } map { $_->{err} =~ /ERROR:  (\w+)/g } @clients;
is(join(' ', sort keys %errors), 'TX641', '32 who submit are stopped by the budget, with its error alone');
my $ended = $node->safe_psql('postgres', q{select count(*) from taskex.runs where customer = 'b' and state = 'succeeded'});
cmp_ok($ended, '>=', 100, "the budget was used up ($ended of 100 runs)");
cmp_ok($ended, '<', 100 + 32, 'and exceeded by less than what can run at a time');
is($node->safe_psql('postgres', q{select spent = 3600 * (select count(*) from taskex.runs where customer = 'b' and state = 'succeeded') from taskex.run_budgets}), 't', 'what was spent is exact');
is($node->safe_psql('postgres', q{select count(*) from taskex.pull_runs('w', 'one', 100)}), 0, 'what waits does not start');
is(checks(), '', 'and the books are right');

# ---- what is set aside ahead: by several at once, and the server is killed
$node->safe_psql('postgres', q{
	select taskex.register_user('a', partition => 'p1');
	select taskex.create_environment('many', 'external');
	select taskex.set_rate('run_time', 1, '{"unit": "second", "environment": "many", "granularity": "1 hour"}');
	select taskex.deposit('a', 1e9, 'a'), taskex.set_credit_limit('a', 0), taskex.set_run_budget('a', 3600 * 40000, 'none', warn => 0)});
my $of_a = q{(select count(*) from taskex.runs where customer = 'a' and state = 'succeeded')};
append_to_file($node->basedir . '/many.sql', ($script =~ s/'b'/'a'/gr =~ s/\bone\b/many/gr) x 5);
for my $what ('eight at once', 'the server is killed')
{
	my $before = $node->safe_psql('postgres', "select $of_a");
	my @workers = map { my %c = (out => '', err => ''); $c{run} = IPC::Run::start([ 'psql', '-X', '-At', '-q', '-d', $node->connstr('postgres'), '-f', $node->basedir . '/many.sql' ], '<', \'', '>', \$c{out}, '2>', \$c{err}); \%c } 1 .. 8;
	if ($what eq 'the server is killed')
	{
		$node->poll_query_until('postgres', "select $of_a > $before + 60");
		$node->stop('immediate');
		eval { $_->{run}->finish } for @workers;
		$node->start;
	}
	else { $_->{run}->finish for @workers; unlike(join('', map { $_->{err} } @workers), qr/ERROR/, 'nobody fails') }
	is(checks(), '', "$what: the books are right");
	is($node->safe_psql('postgres', qq{select held >= 3600 * $of_a, held < 3600 * $of_a + 1e9 / 1000 from taskex.balance('a')}), 't|t', '... as much is set aside as was used, and little more');
	is($node->safe_psql('postgres', qq{select spent >= 3600 * $of_a, spent < 3600 * $of_a + 3600 * 40 from taskex.run_budgets where customer = 'a'}), 't|t', '... so it is with the budget');
	cmp_ok($node->safe_psql('postgres', q{select count(*) from _taskex.entry where kind = 'usage' and account_id = (select user_id from taskex.users where login = 'a')}),
		'<', $node->safe_psql('postgres', "select $of_a") / 2, '... with fewer entries than runs');
	$node->safe_psql('postgres', 'select _taskex.give_back_ahead()');
	is($node->safe_psql('postgres', qq{select held = 3600 * $of_a, (select spent from taskex.run_budgets where customer = 'a') = 3600 * $of_a from taskex.balance('a')}), 't|t', '... and exactly that after the rest came back')
		if $what ne 'the server is killed';
}
$node->safe_psql('postgres', 'select taskex.close_invoices(digits => 4)');
is($node->safe_psql('postgres', q{select held from taskex.balance('a')}), 0, 'what the crash left set aside came back with the invoice');
is(checks(), '', 'and the books are right');
$node->stop;

done_testing();
