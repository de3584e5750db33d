# Anonymous users who have a bit of everything: once identified, nothing that is
# on record names them any more, also after a crash; the unused are removed by the
# conductor, and a partition that they have left can be dropped.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => q{
taskex.supply = on
taskex.supply_interval = 0
taskex.conductor_interval = 50ms
taskex.anonymous_lifetime = 0
});

# numbers of users that are like no other number
$node->safe_psql('postgres', q{select setval('_taskex.user_id_seq', 7770000000000)});
$node->safe_psql('postgres', q{
	select taskex.add_partition('home'), taskex.add_partition('visitors', storage_class => 'temporary')});
my $type = make_market($node);

# How many rows of which tables have the number, anywhere in them. What keeps it
# by its nature (sql/anonymous.sql says why) is left out.
sub rows_with
{
	my ($id, $kept) = @_;
	$kept //= '';
	return $node->safe_psql('postgres', qq{
		create temp table found (t text, n bigint);
		do \$\$
		declare t text;
		begin
			for t in select relname from pg_class where relnamespace = '_taskex'::regnamespace and relkind in ('r', 'p') and not relispartition
					and relname !~ '^(identified|migration|entry|balance|load_hour|journal_(\\d|act)|event(_\\d)?)\$' and relname <> all (string_to_array('$kept', ' ')) loop
				execute format('insert into found select %L, count(*) from _taskex.%I x where x::text ~ %L', t, t, '(\\m|u:|r)$id\\M');
			end loop;
		end \$\$;
		select string_agg(t || ' ' || n, ', ' order by t) from found where n > 0});
}

sub id_of { return $node->safe_psql('postgres', "select user_id from taskex.route('$_[0]')") }

# acts of what was done so far are dispatched
sub dispatched
{
	$node->safe_psql('postgres', 'select count(*) from taskex.run_due()') for 1 .. 2;
	return;
}

# a performer with a bit of everything; returns his login
sub performer
{
	my $n = shift;
	my $login = $node->safe_psql('postgres', qq{select taskex.start_anonymous('{"n": $n}')});
	$node->safe_psql('postgres', qq{
		select array_agg(t) as t from taskex.create_tasks('req', $type, array['1', '2', '3', '4', '5', '6']::jsonb[], 2, consensus => 'majority') t \\gset
		select taskex.create_qualification('req', 'skill $n', 'x', test => '{"questions": [{"id": "q", "text": "?"}]}', test_duration => '1 hour') as q \\gset
		do \$\$ begin perform taskex.subscribe('$login', array['submitted', 'approved', 'identified', 'accepted']); end \$\$;
		select count(*) from taskex.recommend_tasks('$login');
		select assignment_id as a1 from taskex.accept_task('$login', (:'t'::bigint[])[1]) \\gset
		select assignment_id as a2 from taskex.accept_task('$login', (:'t'::bigint[])[2]) \\gset
		select assignment_id as a3 from taskex.accept_task('$login', (:'t'::bigint[])[3]) \\gset
		select assignment_id as a4 from taskex.accept_task('$login', (:'t'::bigint[])[4]) \\gset
		select assignment_id as a5 from taskex.accept_task('$login', (:'t'::bigint[])[5]) \\gset
		select assignment_id as p1 from taskex.accept_task('other', (:'t'::bigint[])[1]) \\gset
		select taskex.submit_assignment('$login', :a1, '1'), taskex.submit_assignment('$login', :a2, '2'), taskex.submit_assignment('$login', :a3, '3');
		select taskex.submit_assignment('other', :p1, '1');
		select taskex.return_assignment('$login', :a5);
		select taskex.approve_assignment('req', :a1), taskex.reject_assignment('req', :a3, 'no', true);
		select taskex.open_dispute('$login', :a3, 'why'), taskex.rate_requester('$login', :a1, 5), taskex.send_bonus('req', :a1, 0.25, 'good', 'bonus $n');
		select taskex.deposit('$login', 2, 'own $n'), taskex.withdraw('$login', 0.5, 'back $n');
		select taskex.create_payout('failed $n', logins => '{$login}');
		select taskex.settle_payout_item('failed $n', '$login', 'failed', error => 'no account');
		select taskex.attach('$login', 'notes', 'https://example.org/x', assignment_id => :a4);
		select taskex.start_qualification_test('$login', :q);
		select taskex.grant_qualification('req', taskex.create_qualification('req', 'granted $n', 'x'), '$login', 3);
		select taskex.block_performer('other', '$login', 'slow');
		select taskex.save_search('$login', 'mine', 'test'), taskex.save_search('$login', 'of req', filters => '{"from_requester": "req"}');
		select taskex.set_preferences('$login', '{"pace": 2}'), taskex.declare_intention('$login', array[$type]::bigint[], 3, tstzrange(now() + '1 hour', now() + '2 hours'));
		select taskex.create_group('group $n', array['$login'], '{"attribute": "n", "comparator": "=", "value": $n}');
	});
	dispatched();
	$node->safe_psql('postgres', qq{select * from taskex.notify_performers('req', array['$login'], 'hello', 'you')});
	return $login;
}

$node->safe_psql('postgres', q{
	select taskex.register_user('other', partition => 'home'), taskex.register_user('boss', partition => 'visitors');
	select taskex.create_policy('req', 'agreement', '{"thresholds": [{"of": "performer", "at_least": 0, "action": {"do": "notify", "subject": "s", "message": "m"}}]}')});

# a performer becomes a known one
{
	my $login = performer(1);
	my $id = id_of($login);
	my $before = rows_with($id);
	for my $table (qw(assignment result attachment qualification qualification_request block message dispute rating bonus payout_item saved_search
		subscription preference intention group_member standing earning working work_hour policy_tally policy_result profile directory))
	{
		like($before, qr/\b$table \d/, "he is in $table");
	}
	my $known = $node->safe_psql('postgres', "select taskex.identify('$login', 'perf')");
	is($known, id_of('perf'), 'he is identified');
	ok_checks($node, 'postgres', 'all adds up at once');
	dispatched();
	is(rows_with($id), '', 'and nothing names him once the dispatch has come');
	ok_checks($node, 'postgres', 'then, too');
	is($node->safe_psql('postgres', 'select count(*) from taskex.failed_acts'), '0', 'no act failed');
	is($node->safe_psql('postgres', "select count(*) > 5 and sum(available) = 0 and sum(held) = 0 from _taskex.entry where account_id = $id"), 't', 'his account is closed');
}

# a requester, with budgets, and tasks of which a group has leased slots
{
	my $login = $node->safe_psql('postgres', 'select taskex.start_anonymous()');
	my $id = id_of($login);
	$node->safe_psql('postgres', qq{
		select taskex.deposit('$login', 100, 'requester');
		select taskex.set_budget('$login', 50, 'month'), taskex.set_golden_rate('$login', $type, 0.5), taskex.set_fee(0.3, requester => '$login', task_type => $type);
		select taskex.create_template('$login', 'form', '{"a": 1}'), taskex.create_template('boss', 'form', '{"b": 1}');
		select taskex.create_layout('$login', 'look', '"\${input}"'), taskex.use_layout('$login', $type, 'look');
		select taskex.create_policy('$login', 'agreement', '{"thresholds": [{"of": "assignment", "at_least": 0, "action": {"do": "notify", "subject": "s", "message": "m"}}]}');
		select taskex.create_qualification('$login', 'his own', 'x');
		select array_agg(t) as t from taskex.create_tasks('$login', $type, array['1', '2', '3', '4']::jsonb[], 2, consensus => 'majority', idempotency_key => 'k') t \\gset
		select taskex.set_budget('$login', 40, 'day');
		select taskex.add_performers('$login', (:'t'::bigint[])[1], 2);
		select assignment_id as a1 from taskex.accept_task('other', (:'t'::bigint[])[1]) \\gset
		select assignment_id as a2 from taskex.accept_task('other', (:'t'::bigint[])[2]) \\gset
		select assignment_id as a3 from taskex.accept_task('perf', (:'t'::bigint[])[3]) \\gset
		select assignment_id as a4 from taskex.accept_task('other', (:'t'::bigint[])[3]) \\gset
		select taskex.submit_assignment('other', :a1, '1'), taskex.submit_assignment('perf', :a3, '1'), taskex.submit_assignment('other', :a4, '1');
		select taskex.approve_assignment('$login', :a1), taskex.send_bonus('$login', :a1, 1, 'good', 'k');
		select taskex.rate_requester('other', :a1, 2), taskex.block_performer('$login', 'perf', 'slow');
		select taskex.save_search('perf', 'his', filters => '{"from_requester": "$login"}');
		select taskex.attach('$login', 'guide', 'https://example.org/g', task_id => (:'t'::bigint[])[2]);
		select taskex.subscribe('$login');
	});
	dispatched();
	my $leased = $node->safe_psql('postgres', q{select _taskex.supply_acquire(group_id, } . $type . q{, 20) from _taskex.performer_group where name = 'partition:home'});
	cmp_ok($leased, '>', 0, 'a group has leased slots');
	$node->safe_psql('postgres', qq{select count(*) from taskex.recommend_tasks('other')});
	my $before = rows_with($id);
	for my $table (qw(task supply result assignment bonus rating block saved_search budget budget_charge budget_layer fee_rule golden_rate layout layout_use template
		review_policy qualification_type group_lease working progress rating_total catalogue policy_result policy_action attachment))
	{
		like($before, qr/\b$table \d/, "he is in $table");
	}
	is($node->safe_psql('postgres', "select taskex.identify('$login', 'boss')"), id_of('boss'), 'the requester is identified');
	ok_checks($node, 'postgres', 'all adds up at once');
	dispatched();
	is(rows_with($id), '', 'and nothing names him');
	ok_checks($node, 'postgres', 'then, too');
	is($node->safe_psql('postgres', 'select count(*) from taskex.failed_acts'), '0', 'no act failed');
	is(sqlstate_of($node, 'postgres', qq{select taskex.accept_next('boss', $type, 1000)}), '', 'his tasks are not given to himself');
	is($node->safe_psql('postgres', q{select count(*) from taskex.assignments where performer = 'boss' and requester = 'boss'}), '0', 'none of them');
}

# a crash between the call and the dispatch of its act
{
	my $login = performer(3);
	my $id = id_of($login);
	$node->safe_psql('postgres', q{alter system set taskex.conductor = off});
	$node->safe_psql('postgres', 'select pg_reload_conf()');
	await($node, 'postgres', "select current_setting('taskex.conductor') = 'off'", 'the conductor rests');
	$node->safe_psql('postgres', q{select taskex.register_user('third', partition => 'home')});
	# an act that the dispatch has not had
	$node->safe_psql('postgres', qq{
		select taskex.submit_assignment('$login', (taskex.accept_task('$login', taskex.create_task('req', $type, '"late"'))).assignment_id, '1')});
	my $third = $node->safe_psql('postgres', "select taskex.identify('$login', 'third')");
	$node->stop('immediate');
	$node->start;
	is($node->safe_psql('postgres', "select taskex.identify('$login', 'third')"), $third, 'after a crash he is who he was');
	like(rows_with($id), qr/standing/, 'his standing is still apart');
	ok_checks($node, 'postgres', 'which the checks know');
	$node->safe_psql('postgres', q{alter system reset taskex.conductor});
	$node->safe_psql('postgres', 'select pg_reload_conf()');
	await($node, 'postgres', "select count(*) = 1 and sum(submitted) = 4 from _taskex.standing where performer_id = $third",
		'then it is added, with what he did last');
	dispatched();
	is(rows_with($id), '', 'and nothing names him');
	ok_checks($node, 'postgres', 'all adds up');
	is($node->safe_psql('postgres', q{select count(taskex.submit_assignment('third', assignment_id, '1')) from taskex.assignments where performer = 'third' and state = 'accepted'}),
		'1', 'what was under way goes on');
}

# a lease ends where it was moved to
{
	my $short = $node->safe_psql('postgres', q{select taskex.create_task_type('req', 'Short', 0.5, lease => '1 s')});
	my $login = $node->safe_psql('postgres', 'select taskex.start_anonymous()');
	$node->safe_psql('postgres', qq{
		select taskex.accept_task('$login', taskex.create_task('req', $short, '1'));
		select taskex.identify('$login', 'third')});
	await($node, 'postgres', qq{select state = 'abandoned' from taskex.assignments where performer = 'third' and task_type_id = $short}, 'a lease ends where it was moved to');
}

# a new user moves to where users live, with all he has
{
	my $login = performer(4);
	is($node->safe_psql('postgres', "select taskex.identify('$login', 'fourth')"), id_of('fourth'), 'an anonymous user becomes a new one');
	await($node, 'postgres', q{select partition = 'home' from taskex.users where login = 'fourth'}, 'and is moved to an ordinary partition');
	is($node->safe_psql('postgres', q{select count(taskex.submit_assignment('fourth', assignment_id, '1')) from taskex.assignments where performer = 'fourth' and state = 'accepted'}),
		'1', 'where his work goes on');
	ok_checks($node, 'postgres', 'all adds up');
}

# others are at work with him, or he is being moved: later
{
	my $login = $node->safe_psql('postgres', 'select taskex.start_anonymous()');
	my $busy = $node->background_psql('postgres');
	$busy->query_safe("begin; select taskex.accept_next('$login')");
	is(sqlstate_of($node, 'postgres', "select taskex.identify('$login', 'perf')"), 'TX523', 'he is busy for too long');
	$busy->query_safe('rollback');
	$busy->quit;
	my $id = id_of($login);
	$node->safe_psql('postgres', "insert into _taskex.migration (user_id, source, target, reason, requested_at, not_before)
		values ($id, 2, 1, 'test', now(), now() + '1 day')");
	is(sqlstate_of($node, 'postgres', "select taskex.identify('$login', 'perf')"), 'TX523', 'he is to be moved');
	$node->safe_psql('postgres', "update _taskex.migration set finished_at = now(), state = 'cancelled'");
	is($node->safe_psql('postgres', "select taskex.identify('$login', 'perf')"), id_of('perf'), 'and then not');
}

# where only closed accounts are left the partition can go
{
	$node->safe_psql('postgres', q{
		select taskex.drain_partition('visitors');
		select taskex.add_partition('more', storage_class => 'temporary')});
	my $login = performer(5);
	is($node->safe_psql('postgres', "select partition from taskex.route('$login')"), 'more', 'one on a partition of his own');
	$node->safe_psql('postgres', q{select taskex.register_user('fifth', partition => 'home')});
	$node->safe_psql('postgres', "select taskex.identify('$login', 'fifth')");
	my $statement = $node->safe_psql('postgres', q{select * from taskex.yearly_statements where login = 'fifth'});
	dispatched();
	$node->safe_psql('postgres', q{select taskex.drop_partition('more')});
	ok_checks($node, 'postgres', 'all adds up without the partition');
	is($node->safe_psql('postgres', q{select * from taskex.yearly_statements where login = 'fifth'}), $statement, 'his yearly statement has what he earned there');
	is($node->safe_psql('postgres', q{select count(*) from taskex.failed_acts}), '0', 'no act failed');
	$node->safe_psql('postgres', q{select taskex.resume_partition('visitors')});
}

# the conductor removes the unused
{
	my $login = $node->safe_psql('postgres', 'select taskex.start_anonymous()');
	my $kept = $node->safe_psql('postgres', 'select taskex.start_anonymous()');
	$node->safe_psql('postgres', "select taskex.deposit('$kept', 1, 'kept')");
	my $id = id_of($login);
	$node->safe_psql('postgres', qq{
		select taskex.subscribe('$login'), taskex.save_search('$login', 'x'), taskex.set_preferences('$login', '{"pace": 1}');
		select taskex.add_group_members('group 1', array['$login']);
		select count(*) from taskex.recommend_tasks('$login');
		select taskex.return_assignment('$login', (taskex.accept_next('$login', $type)).assignment_id)});
	dispatched();
	$node->safe_psql('postgres', q{update _taskex.profile set registered_at = registered_at - interval '2 days'});
	$node->safe_psql('postgres', q{update _taskex.assignment set lease_until = lease_until - interval '2 days' where performer_id = } . $id);
	$node->safe_psql('postgres', q{alter system set taskex.anonymous_lifetime = '1d'});
	$node->safe_psql('postgres', 'select pg_reload_conf()');
	await($node, 'postgres', "select not exists (select from taskex.users where login = '$login')", 'who was not used is removed');
	is(rows_with($id), '', 'with all that named him');
	is($node->safe_psql('postgres', "select count(*) from taskex.users where login = '$kept'"), '1', 'who has something stays');
	ok_checks($node, 'postgres', 'all adds up');
	is(sqlstate_of($node, 'postgres', "select taskex.accept_next('$login')"), 'TX001', 'he is not known any more');
}

done_testing();
