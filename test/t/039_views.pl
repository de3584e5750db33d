# Each view, for each kind of caller, reads what is his or what he asks for, and not
# what others have finished: about the same buffers after others have done four times
# as much. Nobody sees more, whatever plan was kept. Prints a table.
#
# TASKEX_VIEWS_ROWS sets how many tasks others finish at first (10,000; later four times that).

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $rows = $ENV{TASKEX_VIEWS_ROWS} // 10_000;
my $partitions = 8;

my $node = new_cluster('main', conf => q{
autovacuum = off
taskex.conductor = off
fsync = off
max_wal_size = 4GB
});
$node->safe_psql('postgres', "select taskex.add_partition('p$_')") for 1 .. $partitions;

# On each partition a large requester, a small one and 12 performers; and those who
# look: acme supplies, bob performs, each with a role; page is an application.
$node->safe_psql('postgres', qq{
	create role acme in role taskex_user; create role bob in role taskex_user;
	create role page in role taskex_app; create role nobody in role taskex_user;
	do \$\$ begin
		perform taskex.register_user('acme', '{"db_role": "acme"}', 'p1');
		perform taskex.register_user('bob', '{"db_role": "bob"}', 'p2');
		for p in 1 .. $partitions loop
			perform taskex.register_user('big' || p, '{}', 'p' || p);
			perform taskex.register_user('small' || p, '{}', 'p' || p);
			for i in 1 .. 12 loop perform taskex.register_user(format('perf%s_%s', p, i), '{}', 'p' || p); end loop;
		end loop;
	end \$\$;
	select count(taskex.create_task_type('big1', 'Type ' || i, 0.5)) from generate_series(1, 10) i;
	select taskex.create_policy(login, 'minimum_time', '{"seconds": 0.5, "thresholds": [{"at_least": 2, "action": {"do": "approve"}}]}') from taskex.users where login ~ '^(acme|big|small)';
	select taskex.set_budget(login, 1000) from taskex.users where login ~ '^(acme|big|small)';
	select taskex.save_search(login, 'all', 'word') from taskex.users;
	select taskex.subscribe(login) from taskex.users;
	select taskex.create_template(login, 'one', '{}'::jsonb) from taskex.users where login ~ '^(acme|big|small)';
	select taskex.create_layout(login, 'one', '"\${input}"') from taskex.users where login ~ '^(acme|big|small)';
	select taskex.use_layout(login, t.task_type_id, 'one') from taskex.users, (select min(task_type_id) as task_type_id from taskex.task_types) t where login ~ '^(acme|big|small)';
	insert into _taskex.payout (reference, minimum, created_at, max_items) select 'batch ' || i, 0, now(), 1000 from generate_series(1, 10) i;

	-- n finished tasks of each of the requesters, one assignment each, by the performers
	-- in turn, in all tables that work leaves something in
	create sequence done;
	create procedure finish(n int, requesters text, performers text) language plpgsql as \$\$
	begin
		drop table if exists work;
		create temp table work as
			select d.i, q.user_id as requester, q.partition_id as rp, p.user_id as performer, p.partition_id as pp,
				(1000000 + d.i) * 1024 + q.partition_id % 1024 as task, 1000000 + d.i as assignment, 10000000 + 10 * d.i as transfer,
				(select min(task_type_id) from _taskex.task_type) + d.i % 10 as type, now() - interval '1 month' as at,
				(select min(policy_id) from _taskex.review_policy k where k.requester_id = q.user_id) as policy,
				case d.i % 10 when 0 then 'returned' when 1 then 'rejected' else 'approved' end as state
			from (select nextval('done') as i, q.* from _taskex.directory q, generate_series(1, n) where q.login ~ requesters) d
				join _taskex.directory q using (user_id)
				join (select p.*, row_number() over (order by user_id) as k, count(*) over () as of
					from _taskex.directory p where p.login ~ performers) p on p.k = 1 + (d.i / 10 + d.i) % p.of;
		insert into _taskex.task (partition_id, performers, task_id, task_type_id, requester_id, reward, fee, created_at, expires_at,
				live, judged, state, input)
			select rp, 1, task, case when i % 50 = 2 then -type else type end, requester, 500000000, 0, at, at + interval '7 days',
				1, 1, 'complete', '{"question": "how many?"}' from work;
		insert into _taskex.assignment (partition_id, assignment_id, performer_id, task_id, task_type_id, requester_id, reward, lease_token,
				accepted_at, lease_until, finished_at, state)
			select pp, assignment, performer, task, type, requester, 500000000, 1, at, at + interval '1 hour', at, state from work;
		insert into _taskex.result (partition_id, assignment_id, task_id, task_type_id, requester_id, performer_id, submitted_at,
				auto_approve_at, judged_at, state, result)
			select rp, assignment, task, type, requester, performer, at, at + interval '3 days', at, state, '"three"' from work where state <> 'returned';
		insert into _taskex.entry (account_id, transfer_id, available, held, counterparty, subject_id, at, partition_id, kind)
			select requester, transfer, -500000000, 500000000, requester, task, at, rp, 'hold' from work
			union all select requester, transfer + 1, 0, -500000000, performer, assignment, at, rp, 'reward' from work where state = 'approved'
			union all select performer, transfer + 1, 500000000, 0, requester, assignment, at, pp, 'reward' from work where state = 'approved'
			union all select 0, transfer + 2, 10000000, 0, requester, assignment, at, rp, 'fee' from work where state = 'approved';
		insert into _taskex.dispute (partition_id, dispute_id, assignment_id, task_id, task_type_id, requester_id, performer_id, opened_at, state, reason)
			select rp, task, assignment, task, type, requester, performer, at, 'withdrawn', 'why' from work where state = 'rejected';
		insert into _taskex.rating (partition_id, assignment_id, task_type_id, requester_id, performer_id, rated_at, stars)
			select rp, assignment, type, requester, performer, at, 5 from work where i % 10 < 3;
		insert into _taskex.bonus (bonus_id, requester_id, performer_id, assignment_id, task_id, task_type_id, amount, fee, at, partition_id, reason)
			select transfer + 5, requester, performer, assignment, task, type, 1, 0, at, rp, 'good' from work where i % 10 < 3;
		insert into _taskex.policy_result (partition_id, policy_id, subject, task_id, requester_id, performer_id, scored_at, score)
			select rp, policy, assignment, task, requester, performer, at, 100 from work;
		insert into _taskex.policy_action (partition_id, action_id, policy_id, requester_id, performer_id, task_id, assignment_id, created_at, state, measure, action)
			select rp, i, policy, requester, performer, task, assignment, at, 'done', 1, '{"do": "approve"}' from work where i % 10 < 3;
		insert into _taskex.policy_tally (partition_id, version, policy_id, performer_id, requester_id, turn, counted, fired)
			select rp, 0, policy, performer, requester, -max(i), 1, '{}' from work group by rp, policy, performer, requester;
		insert into _taskex.payout_item (payout_id, performer_id, amount, transfer_id, partition_id)
			select p.payout_id, performer, 1, max(transfer) + 7, pp from work, _taskex.payout p group by p.payout_id, pp, performer
			on conflict do nothing;
		insert into _taskex.earning (partition_id, performer_id, day, task_type_id, version, approved, reward, bonus, last_at)
			select pp, performer, '2020-01-01'::date + (i % 1000)::int, type, -max(i), count(*), 1, 0, max(at) from work group by pp, performer, i % 1000, type;
		insert into _taskex.standing (partition_id, performer_id, version, submitted, approved, rejected, returned, abandoned, compared, agreed, last_at)
			select pp, performer, -max(i), count(*), count(*), 0, 0, 0, 0, 0, max(at) from work w
			where not exists (select from _taskex.standing s where s.performer_id = w.performer) group by pp, performer;
		insert into _taskex.working (partition_id, requester_id, performer_id, version, submitted, approved, rejected, returned, abandoned, paid, last_at)
			select rp, requester, performer, -max(i), count(*), count(*), 0, 0, 0, 0, max(at) from work w
			where not exists (select from _taskex.working s where s.requester_id = w.requester and s.performer_id = w.performer) group by rp, requester, performer;
		insert into _taskex.block (partition_id, performer_id, requester_id, reason, blocked_at)
			select distinct pp, performer, requester, 'late', now() from work on conflict do nothing;
	end \$\$;
	insert into _taskex.due_cursor select partition_id, kind, now() from _taskex.partition, generate_series(0, 2) kind;
	call finish(60, '^acme', '^bob');
	call finish(40, '^acme', '^perf');
	call finish(5, '^(big|small)', '^bob');
	-- what is open
	insert into _taskex.task (partition_id, performers, task_id, task_type_id, requester_id, reward, fee, created_at, expires_at, live, state, input)
		select partition_id, 1, (100000 + i) * 1024 + partition_id % 1024, 1, user_id, 5, 0, now(), now() + interval '1 day', 1, 'open', '{}'
		from _taskex.directory, generate_series(1, 10) i where login = 'acme';
	insert into _taskex.assignment (partition_id, assignment_id, performer_id, task_id, task_type_id, requester_id, reward, lease_token, accepted_at, lease_until, state)
		select d.partition_id, 100000 + row_number() over (), user_id, task_id, 1, requester_id, 5, 1, now(), now() + interval '1 hour',
			case when task_id / 1024 % 2 = 0 then 'accepted' else 'submitted' end
		from _taskex.directory d, _taskex.task where login = 'bob' and task.state = 'open';
	insert into _taskex.result (partition_id, assignment_id, task_id, task_type_id, requester_id, performer_id, submitted_at, auto_approve_at, result)
		select task_id % 1024, assignment_id, task_id, 1, requester_id, performer_id, now(), now() + interval '3 days', '1'
		from _taskex.assignment where state = 'submitted';
	insert into _taskex.progress select d.partition_id, d.user_id, y.task_type_id, -1, 10, 10, 5, 2, 1, 1, 0, 0, 5, 2, 0, 0, 0, 0, 1, now(), now(), now()
		from _taskex.directory d, _taskex.task_type y where login ~ '^(acme|big|small)';
});

# ---- what is asked for ----

my ($task, $assignment) = split /\|/, $node->safe_psql('postgres', q{
	select task_id, assignment_id from _taskex.assignment join _taskex.directory on user_id = requester_id
	where login = 'acme' and state = 'rejected' order by assignment_id limit 1});
my $dispute = $task;

# view, columns of the requester and of the performer, columns with ids
my @views = (
	[ 'tasks', 'requester', undef, task_id => $task ],
	[ 'golden_tasks', 'requester', undef, task_id => $task ],
	[ 'assignments', 'requester', 'performer', assignment_id => $assignment ],
	[ "assignments where state in ('submitted', 'approved', 'rejected')", 'requester', 'performer', task_id => $task ],
	[ 'reviewable', 'requester', undef, task_id => $task ],
	[ 'work_history', undef, 'performer', assignment_id => $assignment ],
	[ 'disputes', 'requester', 'performer', dispute_id => $dispute, task_id => $task, assignment_id => $assignment ],
	[ 'ratings', 'requester', 'performer', assignment_id => $assignment ],
	[ 'bonuses', 'requester', 'performer', task_id => $task, assignment_id => $assignment ],
	[ 'payout_items', undef, 'login' ],
	[ 'policy_results', 'requester', undef, task_id => $task ],
	[ 'policy_actions', 'requester', undef, task_id => $task ],
	[ 'policy_tallies', 'requester', undef ],
	[ 'policies', 'requester', undef ],
	[ 'transfers', 'login', 'login' ],
	[ 'audit', 'login', 'login' ],
	[ 'yearly_statements', 'login', 'login' ],
	[ 'earnings', undef, 'performer' ],
	[ 'batches', 'requester', undef ],
	[ 'performer_profile', undef, 'performer' ],
	[ 'requester_performers', 'requester', undef ],
	[ 'blocks', 'requester', 'performer' ],
	[ 'budgets', 'requester', undef ],
	[ 'users', 'login', 'login' ],
	[ 'saved_searches', 'performer', 'performer' ],
	[ 'subscriptions', 'login', 'login' ],
	[ 'templates', 'requester', undef ],
	[ 'layouts', 'requester', undef ],
	[ 'layout_uses', 'requester', undef ],
);

my @questions;
for (@views)
{
	my ($view, $requester, $performer, @ids) = @$_;
	my $and = $view =~ / where / ? 'and' : 'where';
	push @questions, [ acme => "select * from taskex.$view" ], [ page => "select * from taskex.$view $and $requester = 'acme'" ] if $requester;
	push @questions, [ bob => "select * from taskex.$view" ], [ page => "select * from taskex.$view $and $performer = 'bob'" ] if $performer;
	while (my ($column, $value) = splice @ids, 0, 2)
	{
		push @questions, [ page => "select * from taskex.$view $and $column = $value" ];
	}
}
# a requester's in all states are looked for in all partitions: the view's comment says so
@questions = grep { $_->[1] ne q{select * from taskex.assignments where requester = 'acme'} } @questions;
push @questions, [ nobody => 'select * from taskex.tasks' ], [ nobody => 'select * from taskex.assignments' ], [ nobody => 'select * from taskex.audit' ];

# Buffers and rows of each question: [[buffers, rows], ...]
sub measure
{
	my $sql = join '', map { "set role $_->[0]; explain (analyze, buffers, timing off, format json) $_->[1];\n\\echo ----\n" } @questions;
	my @plans = split /^----\n?/m, $node->safe_psql('postgres', $sql);
	return map { my $top = decode_json($_)->[0]{Plan}; [ $top->{'Shared Hit Blocks'} + $top->{'Shared Read Blocks'}, $top->{'Actual Rows'} ] } @plans;
}

sub load
{
	my ($n) = @_;
	my $each = int $n / $partitions;
	$node->safe_psql('postgres', "call finish($each, '^big', '^perf'); call finish(20, '^small', '^perf'); vacuum analyze");
	return;
}

load($rows);
my @before = measure();
# ---- the rows are those that a plan without all this gives ----

# a digest of the rows
sub digest { my ($from) = @_; return "select md5(string_agg(v::text, ' ' order by v::text)) from $from v"; }

my $compare = '';
my @wrong;
for (@views)
{
	my ($view, $requester, $performer, @ids) = @$_;
	next if $view eq 'batches';    # has the time in it
	my @asked = ($requester ? "$requester = 'acme'" : (), $performer ? "$performer = 'bob'" : ());
	while (my ($column, $value) = splice @ids, 0, 2) { push @asked, "$column = $value" }
	for my $asked (@asked, $requester && $performer ? "$requester = 'acme' and $performer = 'bob'" : (), $requester ? "$requester in ('acme', 'big1')" : ())
	{
		my ($quick, $slow) = ("(select * from taskex.$view @{[ $view =~ / where / ? 'and' : 'where' ]} $asked)", "(select * from (select * from taskex.$view offset 0) x where $asked)");
		my $name = "$view: $asked" =~ s/'/''/gr;
		$compare .= "select '$name' where (@{[ digest($quick) ]}) is distinct from (@{[ digest($slow) ]});\n";
	}
}
is($node->safe_psql('postgres', "set role page;\n$compare"), '', 'an application that asks for a user or an id gets what it would find among all');

sub seen
{
	my ($who, $from) = @_;
	return $node->safe_psql('postgres', "set role $who; " . digest("(select * from taskex.$from)"));
}
for (@views)
{
	my ($view, $requester, $performer) = @$_;
	next if $view eq 'batches';
	my $and = $view =~ / where / ? 'and' : 'where';
	push @wrong, "acme: $view" if $requester && $view ne 'assignments' && seen(acme => $view) ne seen(page => "$view $and $requester = 'acme'");
	push @wrong, "bob: $view" if $performer && seen(bob => $view) ne seen(page => "$view $and $performer = 'bob'");
}
is(join("\n", @wrong), '', 'a user sees what an application finds by his login');

# ---- conditions of a caller see no rows of others ----

my $leaks = join '', map { "select count(*) from taskex.$_->[0] @{[ $_->[0] =~ / where / ? 'and' : 'where' ]} leak('@{[ $_->[0] =~ /(\w+)/ ]}', $_->[1]);\n" } grep { $_->[1] } @views;
$node->safe_psql('postgres', q{
	create function leak(text, text) returns boolean language plpgsql cost 0.0001 as $$ begin raise notice 'leak: % %', $1, $2; return true; end $$});
my $errors;
$node->psql('postgres', "set role acme;\n$leaks", stderr => \$errors, on_error_die => 1);
my %leaked = map { $_ => 1 } $errors =~ /leak: (\w+ \S+)/g;
is(join(' ', grep { !/ acme$/ } sort keys %leaked), '', 'a function in a condition is called for no rows of others');

# ---- plans that are kept ----

my $all = $node->safe_psql('postgres', 'select count(*) from taskex.tasks');
my $small = $node->safe_psql('postgres', q{select count(*) from taskex.tasks where requester = 'small1'});
is($node->safe_psql('postgres', q{
	grant taskex_user to page;
	prepare kept as select count(*) from taskex.tasks;
	set role page;
	execute kept; execute kept; execute kept; execute kept; execute kept; execute kept;
	set role acme; execute kept;
	set role nobody; execute kept;
	set role page; execute kept;
	reset role; revoke taskex_app from page; set role page; execute kept;
	reset role; grant taskex_app to page; set role page; execute kept;
	set role bob; execute kept; execute kept; execute kept; execute kept; execute kept; execute kept;
	reset role; select taskex.update_user('small1', '{"db_role": "bob"}'); set role bob; execute kept;
	reset role; select taskex.update_user('small1', '{"db_role": null}'); set role bob; execute kept;
	reset role; grant acme to bob; set role bob; execute kept;
	reset role; revoke acme from bob; set role bob; execute kept;
}), join("\n", ($all) x 6, 108, 0, $all, 0, $all, (0) x 6, '', $small, '', 0, 108, 0), 'a plan that is kept shows what the role may see now');

is($node->safe_psql('postgres', q{
	begin isolation level repeatable read;
	select count(*) > 0 from taskex.tasks;
	savepoint a;
	select taskex.update_user('small1', '{"db_role": "nobody"}');
	set local role nobody; select count(*) from taskex.tasks;
	rollback to a;
	set local role nobody; select count(*) from taskex.tasks;
	rollback;
}), join("\n", 't', '', $small, 0), 'what was rolled back is not seen, also under one snapshot');

SKIP:
{
	skip 'no ICU', 1 if $node->safe_psql('postgres', q{select count(*) from pg_collation where collprovider = 'i'}) == 0;
	$node->safe_psql('postgres', q{
		create collation any_case (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		select taskex.register_user('ACME', '{}', 'p3');
	});
	is($node->safe_psql('postgres', q{set role page; select count(*) from taskex.tasks where requester = 'ACME' collate any_case}), 108,
		'a collation for which several logins are equal finds all of them');
}

is($node->safe_psql('postgres', q{
	begin;
	select taskex.register_user('late', '{}', 'p3') > 0;
	prepare late as select partition from taskex.users where login = 'late';
	execute late; execute late;
	rollback;
	execute late;
	select taskex.register_user('later', '{}', 'p3') > 0, taskex.register_user('late', '{}', 'p4') > 0;
	execute late; execute late;
}), join("\n", 't', 'p3', 'p3', 't|t', 'p4', 'p4'), 'a kept plan finds a user who was registered again');

for my $mode (qw(auto force_generic_plan))
{
	is($node->safe_psql('postgres', qq{
		set plan_cache_mode = $mode; set role page;
		prepare by_login(text) as select count(*) from taskex.tasks where requester = \$1;
		prepare by_id(bigint) as select count(*), min(state) from taskex.assignments where task_id = \$1;
		execute by_login('acme'); execute by_login('big1'); execute by_login('acme'); execute by_login(null);
		execute by_login('acme'); execute by_login('acme'); execute by_login('acme'); execute by_login('nobody at all');
		execute by_id($task); execute by_id(-$task); execute by_id(null);
	}), join("\n", 108, $node->safe_psql('postgres', q{select count(*) from _taskex.task join _taskex.directory on user_id = requester_id
		where login = 'big1' and task_type_id > 0}), 108, 0, 108, 108, 108, 0, '1|rejected', '0|', '0|'), "parameters, plan_cache_mode $mode");
}

# ---- others do more ----

load(3 * $rows);
my @after = measure();

@wrong = ();
my $table = sprintf "%-8s %-96s %6s %8s %8s\n", 'caller', 'statement', 'rows', 'buffers', 'later';
for my $i (0 .. $#questions)
{
	my ($who, $what) = @{ $questions[$i] };
	my ($had, $has) = ($before[$i], $after[$i]);
	$table .= sprintf "%-8s %-96s %6d %8d %8d\n", $who, $what, $has->[1], $had->[0], $has->[0];
	# an index may have got another level: a page or two more for each row
	push @wrong, "$who: $what" if $had->[1] != $has->[1] || $has->[0] > 1.25 * $had->[0] + 40 + 2 * $has->[1];
}
diag("shared buffers, with $rows and " . 4 * $rows . " tasks that others have finished:\n$table") if $ENV{TEST_VERBOSE} || @wrong;
is(join("\n", @wrong), '', 'no view reads what others have finished');

# What users did before they were identified lies on any partition: for all of them it is looked for at once
my $unfiltered = q{set role page; explain (analyze, buffers, timing off, format json) select count(counterparty) from taskex.%s};
for my $view (qw(transfers audit))
{
	my $read = sub { my $top = decode_json($node->safe_psql('postgres', sprintf $unfiltered, $view))->[0]{Plan}; $top->{'Shared Hit Blocks'} + $top->{'Shared Read Blocks'} };
	my $none = $read->();
	$node->safe_psql('postgres', qq{
		insert into _taskex.identified select 1e12 + 1e6 * user_id + i, user_id, format('anonymous:%s %s', user_id, i), now(), partition_id
			from _taskex.directory, generate_series(1, 50) i where login ~ '^perf';
		analyze _taskex.identified});
	my $some = $read->();
	$node->safe_psql('postgres', 'delete from _taskex.identified; vacuum analyze _taskex.identified');
	cmp_ok($some, '<', 1.5 * $none + 200, "taskex.$view of 4,800 users who were anonymous reads each partition once") or diag("$none buffers without them");
}

done_testing();
