package Everything;

# The rest of the market under the hammer: review policies, qualifications, blocks,
# overrides, disputes, bonuses, budgets, changes of tasks, and events read by cursor,
# beside all that Hammer does. What came of it is counted from the tables alone.

use strict;
use warnings;

use Exporter 'import';
use Hammer;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT = qw(everything_market everything_turns everything_helpers everything_stop everything_rest ok_everything everything_errors everything_truth);

my $requesters = 8;
my $performers = 64;

# what a client must expect besides, when others grant, revoke, block and spend
sub everything_errors { return 'TX11[23]|TX203' }

# for each kind of act that clients tell of, what the tables say about its ids
sub everything_truth
{
	return (
		created => q{select 1 from here.task where task_id = id::bigint},
		# what was expired may have been opened again, but the act stays
		expired => q{select 1 from _taskex.journal_act where task_id = u.id::bigint and kind = 'expired'},
		extended => q{select 1 from _taskex.journal_act where task_id = u.id::bigint and kind = 'extended'},
		cancelled => q{select 1 from here.task where task_id = id::bigint and state = 'cancelled'},
		added => q{select 1 from added where key = id},
		bonus => q{select 1 from here.bonus join here.entry e on e.transfer_id = bonus_id where idempotency_key = id and e.kind = 'bonus' having count(*) = 2},
		disputed => q{select 1 from here.dispute where assignment_id = id::bigint},
		overridden => q{select 1 from here.result where assignment_id = id::bigint and state = 'approved'},
		submitted => q{select 1 from here.assignment join here.result r using (assignment_id)
			where assignment_id = id::bigint and r.state in ('submitted', 'approved', 'rejected')},
		returned => q{select 1 from here.assignment where assignment_id = id::bigint and state = 'returned'},
		approved => q{select 1 from here.result where assignment_id = id::bigint and state = 'approved'},
		rejected => q{select 1 from here.result where assignment_id = id::bigint and (state = 'rejected' or feedback ~ 'override')},
		deposited => q{select 1 from here.entry where reference = id and available = 1000000000 and account_id > 0});
}

# everything_market(NODE): on top of hammer_market; returns the ids of task types
# that require a qualification. All are subscribed before anything is done.
sub everything_market
{
	my ($node) = @_;
	my @guarded = split ' ', $node->safe_psql('postgres', q{
		create table guarded (task_type bigint, requester text, qualification bigint);
		create table did (kind text, requester text, performer text, at timestamptz default clock_timestamp());
		create table violation (performer text, how text, lost_at timestamptz, accepted_at timestamptz, assignment_id bigint);
		create table added (key text primary key, task_id bigint, performers int);
		create table heard (login text, event bigint, kind text, at timestamptz, task_id bigint, task_type_id bigint,
			assignment_id bigint, requester text, performer text, amount numeric, detail jsonb, primary key (login, event));
		do $$ declare q bigint; begin
			perform taskex.set_fee(0.2, 0.003);
			perform taskex.subscribe(login, array(select kind from taskex.event_kinds)) from taskex.users;
			perform taskex.set_budget('req7', 400);
			perform taskex.set_budget('req8', 200);
			for r in 1 .. 2 loop
				q := taskex.create_qualification('req' || r, 'Guard', is_public => true);
				insert into guarded values (taskex.create_task_type('req' || r, 'Guarded ' || r, 0.333333333, lease => '200 ms', qualifications =>
					format('[{"qualification": %s, "comparator": ">=", "value": 50}]', q)::jsonb), 'req' || r, q);
				perform taskex.grant_qualification('req' || r, q, login, 50) from taskex.users where login ^@ 'perf';
			end loop;
		end $$;

		-- review policies of all requesters
		do $$ declare
			req text;
			q bigint;
		begin
			for r in 1 .. 8 loop
				req := 'req' || r;
				q := taskex.create_qualification(req, 'Trusted');
				perform taskex.create_policy(req, 'known_answer', format('{"history_size": 6, "thresholds": [
					{"of": "assignment", "at_least": 100, "action": {"do": "approve"}},
					{"of": "assignment", "less_than": 100, "action": {"do": "reject", "reason": "again: golden", "reopen": true}},
					{"at_least": 60, "min_answers": 2, "action": {"do": "grant", "qualification": %1$s, "score": 60}},
					{"less_than": 40, "min_answers": 2, "action": {"do": "revoke", "qualification": %1$s}},
					{"less_than": 40, "min_answers": 3, "action": {"do": "suspend", "for": "200 milliseconds"}}]}', q)::jsonb);
				if r % 2 = 0 then
					perform taskex.create_policy(req, 'agreement', '{"thresholds": [
						{"of": "task", "less_than": 60, "action": {"do": "extend", "max_performers": 12}},
						{"of": "assignment", "at_least": 100, "action": {"do": "approve"}},
						{"of": "assignment", "less_than": 1, "action": {"do": "reject", "reason": "again: differs", "reopen": true}}]}');
				end if;
				perform taskex.create_policy(req, 'minimum_time', '{"seconds": 0.01, "thresholds": [
					{"at_least": 5, "action": {"do": "suspend", "for": "100 milliseconds", "reason": "too fast"}}]}');
				perform taskex.create_policy(req, 'skips_in_a_row', '{"thresholds": [
					{"at_least": 4, "action": {"do": "suspend", "for": "150 milliseconds"}}]}');
				perform taskex.create_policy(req, 'income_cap', '{"period": "month", "thresholds": [
					{"at_least": 2, "action": {"do": "suspend", "for": "100 milliseconds"}},
					{"at_least": 2, "action": {"do": "notify", "subject": "income", "message": "cap"}}]}');
				perform taskex.create_policy(req, 'submitted_count', '{"thresholds": [
					{"at_least": 3, "action": {"do": "notify", "to": "performer", "subject": "count", "message": "third"}}]}');
			end loop;
		end $$;

		-- Takes away, and gives back: what was accepted in between, by an accept that
		-- began after the commit of the one and ended before the other, is a violation.
		-- Each performer belongs to one client.
		create procedure take_away(client int, clients int, ending float8) language plpgsql as $$
		declare
			g guarded;
			who text;
			how text;
			lost timestamptz;
		begin
			while extract(epoch from clock_timestamp()) < ending loop
				who := 'perf' || 1 + client + clients * (random() * (64 / clients - 1))::int;
				how := (array['revoke', 'lower', 'block', 'suspend'])[1 + floor(random() * 4)];
				select * into g from guarded order by random() limit 1;
				case how
					when 'revoke' then
						insert into did select 'qualification_revoked', g.requester, who
							where taskex.revoke_qualification(g.requester, g.qualification, who);
					when 'lower' then
						perform taskex.grant_qualification(g.requester, g.qualification, who, 49);
						insert into did values ('qualification_granted', g.requester, who);
					when 'block' then
						g.requester := 'req' || 1 + floor(random() * 8);
						perform taskex.block_performer(g.requester, who, 'hammer');
						insert into did values ('blocked', g.requester, who);
					when 'suspend' then
						perform taskex.suspend_performer(who, 'hammer', clock_timestamp() + interval '1 hour');
						insert into did values ('blocked', null, who);
				end case;
				commit;
				lost := clock_timestamp();
				perform pg_sleep(random() * 0.04);
				commit;
				insert into violation select who, how, lost, a.accepted_at, a.assignment_id
					from here.assignment a join _taskex.directory d on d.user_id = a.performer_id
						join _taskex.directory q on q.user_id = a.requester_id
					where d.login = who and a.accepted_at > lost and case how when 'suspend' then true
						when 'block' then q.login = g.requester else a.task_type_id = g.task_type end;
				commit;
				case how
					when 'block' then
						if taskex.unblock_performer(g.requester, who) then
							insert into did values ('unblocked', g.requester, who);
						else
							insert into violation values (who, 'no block is left', lost);
						end if;
					when 'suspend' then
						if taskex.resume_performer(who) then
							insert into did values ('unblocked', null, who);
						else
							insert into violation values (who, 'no suspension is left', lost);
						end if;
					else
						perform taskex.grant_qualification(g.requester, g.qualification, who, 50 + floor(random() * 3)::int);
						insert into did values ('qualification_granted', g.requester, who);
				end case;
				commit;
				perform pg_sleep(random() * 0.01);
				commit;
			end loop;
		end $$;

		-- Reads everybody's events by cursor.
		create procedure hear(ending float8) language plpgsql as $$
		declare
			who text;
			had bigint;
			n int;
		begin
			loop
				for who in select login from taskex.subscriptions order by login loop
					loop
						had := coalesce((select max(event) from heard where login = who), 0);
						insert into heard select who, * from taskex.read_events(who, had, 50);
						get diagnostics n = row_count;
						commit;
						exit when n < 50;
					end loop;
				end loop;
				exit when extract(epoch from clock_timestamp()) >= ending;
				perform pg_sleep(0.01);	-- where a backend without its postmaster ends
				commit;
			end loop;
		end $$;

		select string_agg(task_type::text, ' ') from guarded});
	return @guarded;
}

sub pick { return $_[ rand @_ ] }

# Turns of a client for hammer_script(more => \&everything_turns).
sub everything_turns
{
	my (%o) = @_;
	my $key = $o{key};
	my $skip = int rand 10;
	my $task = sub { my ($where) = @_; return "select task_id as t, login as q from here.task join _taskex.directory on user_id = requester_id"
		  . " where task_type_id > 0 and $where offset $skip limit 1 \\gset\n"; };
	my $result = sub { my ($where) = @_; return "select r.assignment_id as r, q.login as q, p.login as p, coalesce(r.feedback, 'fine') as f"
		  . " from here.result r join _taskex.directory q on q.user_id = r.requester_id join _taskex.directory p on p.user_id = r.performer_id"
		  . " where $where offset $skip limit 1 \\gset\n"; };
	my $if = sub { my ($var, @acts) = @_; return "\\if :{?$var}\n" . join('', @acts) . "\\endif\n" };
	my $block = "begin;\nselect set_config('hammer.block', 'yes', true) as x \\gset\n";
	my $inside = "current_setting('hammer.block', true) = 'yes'";
	my $more = 1 + int rand 2;
	my $addable = $task->("state in ('open', 'complete', 'decided') and performers < 12");
	my $add = "insert into added select '$key', :t, $more from (select taskex.add_performers(:'q', :t, $more, '$key')) x on conflict do nothing;\n";
	my $dispute = "select d.dispute_id as r, q.login as q, p.login as p from here.dispute d join _taskex.directory q on q.user_id = d.requester_id"
	  . " join _taskex.directory p on p.user_id = d.performer_id where d.state in ('open', 'answered') offset " . int(rand 3) . " limit 1 \\gset\n";
	my $bonus = "taskex.send_bonus(:'q', :r, 0.013000007, 'good', '$key')";
	return (
		add => $addable . $if->('t', $add, $add, "select 'added ' || key from added where key = '$key';\n"),
		add_undone => $addable . $if->('t', $block, "select taskex.add_performers(:'q', :t, 1) as x where $inside \\gset\n", "rollback;\n"),
		# nothing is done if the task has ended meanwhile
		expiry_now => $task->("state = 'open'") . $if->('t', "\\unset e\nbegin;\nselect taskex.set_expiry(:'q', :t, now() - interval '1 s') is null as x \\gset\n",
			"select 1 as e from _taskex.journal_act where xid = pg_current_xact_id() and task_id = :t and kind = 'expired' \\gset\n",
			"commit;\n\\if :ERROR\n\\else\n", $if->('e', "select 'expired ' || :t;\n"), "\\endif\n"),
		expiry_soon => $task->("state = 'open'") . $if->('t', "select taskex.set_expiry(:'q', :t, clock_timestamp() + interval '50 ms') is null as x \\gset\n"),
		expiry_later => $task->("state = 'expired'") . $if->('t', "select 'extended ' || :t from (select taskex.set_expiry(:'q', :t, now() + interval '1 day')) x;\n"),
		expiry_undone => $task->("state = 'expired'") . $if->('t', $block,
			"select taskex.set_expiry(:'q', :t, now() + interval '1 day') is null as x where $inside \\gset\n", "rollback;\n"),
		cancel => $task->("state in ('open', 'expired')") . $if->('t', "select 'cancelled ' || :t from (select taskex.cancel_task(:'q', :t)) x;\n"),
		cancel_undone => $task->("state = 'open'") . $if->('t', $block,
			"select taskex.cancel_tasks(:'q', task_ids => array[:t]) is null as x where $inside \\gset\n", "rollback;\n"),
		retype => $task->("state = 'open' and live = 0") . $if->('t',
			"select taskex.change_task_type(:'q', :t, @{[ pick(@{ $o{types} }) ]}) is null as x \\gset\n"),
		override => $result->("r.state = 'rejected'") . $if->('r',
			"select 'overridden ' || :r from (select taskex.approve_assignment(:'q', :r, :'f' || ' override', true)) x;\n"),
		override_undone => $result->("r.state = 'rejected'") . $if->('r', $block,
			"select taskex.approve_assignment(:'q', :r, 'never', true) is null as x where $inside \\gset\n", "rollback;\n"),
		dispute => $result->("r.state = 'rejected'") . $if->('r', "select 'disputed ' || :r from (select taskex.open_dispute(:'p', :r, 'unfair')) x;\n"),
		dispute_answer => $dispute . $if->('r', "select taskex.answer_dispute(:'q', :r, 'no') is null as x \\gset\n"),
		dispute_withdraw => $dispute . $if->('r', "select taskex.withdraw_dispute(:'p', :r) is null as x \\gset\n"),
		# the words of the rejection go on
		dispute_resolve => $dispute . $if->('r', "select taskex.resolve_dispute(:r, @{[ pick('true', 'true', 'false') ]}, r.feedback || ' override') is null as x"
			  . " from here.dispute d join here.result r using (assignment_id) where d.dispute_id = :r \\gset\n"),
		bonus => $result->('true') . $if->('r', "select 'bonus $key' from (select $bonus) x;\n", "select 'bonus $key' from (select $bonus) x;\n"),
		bonus_undone => $result->('true') . $if->('r', $block, "select $bonus as x where $inside \\gset\n", "rollback;\n"),
		rate => $result->('true') . $if->('r', "select taskex.rate_requester(:'p', :r, @{[ 1 + int rand 5 ]}) is null as x \\gset\n"));
}

# The clients that take away and give back, and the one that reads events
sub everything_helpers
{
	my ($node, $until) = @_;
	return hammer_start($node, map({ "\\set VERBOSITY verbose\nset application_name = 'everything';\ncall take_away($_, 2, $until);\n" } 0 .. 1),
		"\\set VERBOSITY verbose\nset application_name = 'everything';\ncall hear($until);\n");
}

# Ends them, wherever they are; the server may be down.
sub everything_stop
{
	my ($node, @helpers) = @_;
	IPC::Run::run([ 'psql', '-XqAt', '-d', $node->connstr('template1'), '-c',
			q{select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'everything'} ],
		'<', \undef, '>', \my $out, '2>', \my $err);
	return hammer_finish(@helpers);
}

# Lets policies do what they have decided, then ends them, lifts all blocks, and
# gives everybody what tasks require.
sub everything_rest
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $quiet = q{select acts = 0 and failing = 0 from _taskex.journal_lag()};
	my $done = q{select not exists (select from here.policy_action where state = 'pending')};
	for (1 .. 2)	# what policies do can be what others look at
	{
		await($node, 'postgres', $quiet, "$name: all acts are dispatched");
		await($node, 'postgres', $done, "$name: policies have done what they decided");
	}
	return $node->safe_psql('postgres', q{
		do $$ declare r record; begin
			perform taskex.pause_policy(requester, policy_id) from taskex.policies where state = 'active' and kind <> 'known_answer' and kind <> 'submitted_count'
				and not (kind = 'income_cap');
			for r in select b.performer_id, b.requester_id, d.login as performer, q.login as requester
					from here.block b join _taskex.directory d on d.user_id = performer_id left join _taskex.directory q on q.user_id = requester_id loop
				if r.requester is null then
					perform taskex.resume_performer(r.performer);
				else
					perform taskex.unblock_performer(r.requester, r.performer);
				end if;
				insert into did values ('unblocked', r.requester, r.performer);
			end loop;
			-- a policy's suspension may come yet, but is short
			for r in select g.*, u.login from guarded g, taskex.users u where u.login ^@ 'perf' loop
				perform taskex.grant_qualification(r.requester, r.qualification, r.login, 50);
				insert into did values ('qualification_granted', r.requester, r.login);
			end loop;
			-- and budgets are no reason to leave something undone
			perform taskex.set_budget(login, 1000000) from unnest('{req7,req8}'::text[]) login;
		end $$});
}

# Counts, at rest: all is dispatched and policies have done all.
sub ok_everything
{
	my ($node, $name) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $done = "a.state = 'done'";
	my @wrong = (
		'an accept by one who was not qualified, or blocked' => q{select v::text from violation v},
		'an action that is not done' => q{select a::text from here.policy_action a where state = 'pending'},
		'an action that failed' => q{
			select a::text from here.policy_action a where state = 'failed' and error !~ '^(TX109|TX104|TX201|TX203)'},
		'a judgement that was decided twice' => q{
			select min(a::text) from here.policy_action a where assignment_id is not null and action ->> 'do' in ('approve', 'reject')
			group by policy_id, assignment_id having count(*) > 1},
		'a judgement of a policy without its action' => qq{
			select r::text from here.result r where r.judged_by > 0 and (select count(*) from here.policy_action a where a.assignment_id = r.assignment_id
				and a.policy_id = r.judged_by and $done and a.action ->> 'do' = case r.state when 'approved' then 'approve' else 'reject' end) <> 1},
		'a judgement that was done without a trace' => qq{
			select a::text from here.policy_action a join here.result r using (assignment_id)
			where $done and a.action ->> 'do' in ('approve', 'reject')
				and not (r.judged_by is not distinct from a.policy_id or r.feedback ~ 'override')},
		'an assignment judged by two policies' => qq{
			select min(a::text) from here.policy_action a where $done and a.action ->> 'do' in ('approve', 'reject') group by assignment_id having count(*) > 1},
		'messages of a policy that are not its actions' => q{
			select m.subject || ' ' || d.login || ' ' || m.n from (select user_id, subject, count(*) as n from here.message group by 1, 2) m
				full join (select case action ->> 'to' when 'performer' then performer_id else requester_id end as user_id, action ->> 'subject' as subject,
					count(*) as n from here.policy_action where action ->> 'do' = 'notify' and state = 'done' group by 1, 2) a using (user_id, subject)
				left join _taskex.directory d using (user_id)
			where m.n is distinct from a.n},
		'a third result that was not noticed once' => q{
			select r.requester_id || ' ' || r.performer_id from (select requester_id, performer_id, count(*) as n from here.result group by 1, 2) r
				full join (select a.requester_id, a.performer_id, count(*) as n from here.policy_action a join _taskex.review_policy p using (policy_id)
					where p.kind = 'submitted_count' group by 1, 2) a using (requester_id, performer_id)
			where coalesce(a.n, 0) <> (r.n >= 3)::int or r.n is null},
		'an income that was not capped once' => q{
			select r.requester_id || ' ' || r.performer_id from (select r.requester_id, r.performer_id, sum(y.reward) as income from here.result r
					join _taskex.task_type y on y.task_type_id = r.task_type_id group by 1, 2) r
				full join (select a.requester_id, a.performer_id, count(*) as n from here.policy_action a join _taskex.review_policy p using (policy_id)
					where p.kind = 'income_cap' group by 1, 2) a using (requester_id, performer_id)
			where coalesce(a.n, 0) <> case when r.income >= 2000000000 then 2 else 0 end},
		'a tally that is not what was submitted' => q{
			select t::text from (select requester_id, performer_id, count(*) as n from here.result group by 1, 2) r
				full join (select p.requester_id, t.performer_id, t.counted from here.policy_tally t join _taskex.review_policy p using (policy_id)
					where p.kind = 'submitted_count') t using (requester_id, performer_id)
			where r.n is distinct from t.counted},
		'a golden result without its score' => q{
			select r::text from here.result r join here.task t using (task_id)
				join _taskex.review_policy p on p.requester_id = r.requester_id and p.kind = 'known_answer'
				left join here.policy_result s on s.policy_id = p.policy_id and s.subject = r.assignment_id
			where t.known_answer is not null and s.score is distinct from case when r.result = t.known_answer then 100 else 0 end},
		'a score of something else' => q{
			select s::text from here.policy_result s join _taskex.review_policy p using (policy_id) left join here.task t using (task_id)
			where p.kind = 'known_answer' and t.known_answer is null},
		'performers that nobody added, or not once' => q{
			select q.login || ' ' || h.n || '|' || h.performers || ', by himself ' || a.n || '|' || a.performers || ', by policies ' || x.n
			from _taskex.directory q
				cross join lateral (select count(*) as n, coalesce(sum((detail ->> 'performers')::int), 0) as performers from heard h
					where h.login = q.login and h.requester = q.login and kind = 'extended' and detail ? 'performers'
						and not detail ? 'expires_at') h	-- those that are wanted again
				cross join lateral (select count(*) as n, coalesce(sum(a.performers), 0) as performers from added a join here.task t using (task_id)
					where t.requester_id = q.user_id) a
				cross join lateral (select count(*) as n from here.policy_action a where a.requester_id = q.user_id
					and action ->> 'do' = 'extend' and state = 'done') x
			where (h.n, h.performers) is distinct from (a.n + x.n, a.performers + x.n)},
		'a key of two bonuses' => q{select idempotency_key from here.bonus group by requester_id, idempotency_key having count(*) > 1},
		'a bonus that is not paid once' => q{
			select b::text from here.bonus b full join (select transfer_id as bonus_id, account_id as performer_id, available as paid from here.entry
				where kind = 'bonus' and available > 0) e using (bonus_id) where b.amount is distinct from e.paid or b.performer_id is distinct from e.performer_id},
		'a performer with another balance than he earned' => q{
			select d.login || ' has ' || b.available || ', earned ' || e.earned from _taskex.directory d cross join lateral taskex.balance(d.login) b
				cross join lateral (select (coalesce((select sum(reward) from here.assignment a where a.performer_id = d.user_id and a.state = 'approved'), 0)
					+ coalesce((select sum(amount) from here.bonus a where a.performer_id = d.user_id), 0)) / 1000000000.0 as earned) e
			where d.login ^@ 'perf' and (b.available <> e.earned or b.held <> 0)},
		'a budget that is overspent, or does not say what was spent' => q{
			select b::text || s.spent from taskex.budgets b cross join lateral (select -sum(available) / 1000000000.0 as spent from here.entry join _taskex.directory d
				on d.user_id = account_id where d.login = b.requester and (kind in ('hold', 'release') or kind in ('bonus', 'bonus_fee', 'reward', 'fee') and available < 0)) s
			where b.spent > b.amount or b.spent is distinct from s.spent},
		# events
		'numbers of events with gaps' => q{
			select login from heard group by 1 having count(*) <> max(event) or min(event) <> 1},
		'events that were not heard' => q{
			select user_id || ' ' || number from _taskex.event e join _taskex.directory d using (user_id)
				full join heard h on h.login = d.login and h.event = e.number
			where (h.kind, h.assignment_id, h.task_id) is distinct from (e.kind, e.assignment_id, e.task_id)},
		'an assignment whose events are not its life' => q{
			select l.login || ' ' || l.assignment_id || ' ' || l.life || ' heard ' || coalesce(h.life, 'nothing')
			from (select d.login, a.assignment_id, case a.state when 'accepted' then 'accepted' when 'returned' then 'accepted returned'
					when 'abandoned' then 'accepted abandoned' else 'accepted submitted'
					|| case when a.state = 'rejected' then ' rejected' when a.state = 'submitted' then ''
						when r.feedback ~ 'override' then ' rejected overridden' else ' approved' end end as life
				from here.assignment a left join here.result r using (assignment_id)
					join _taskex.directory d on d.user_id in (a.requester_id, a.performer_id)) l
			full join (select login, assignment_id, string_agg(kind, ' ' order by event) as life from heard
				where kind in ('accepted', 'returned', 'abandoned', 'submitted', 'approved', 'rejected', 'overridden') group by 1, 2) h using (login, assignment_id)
			where l.life is distinct from h.life},
		'tasks that were not announced once' => q{
			select q.login || ' ' || t.n || ' ' || h.n from (select requester_id, count(*) as n from here.task group by 1) t
				join _taskex.directory q on q.user_id = t.requester_id
				left join (select login, sum((detail ->> 'count')::int) as n from heard where kind = 'created' group by 1) h using (login)
			where t.n is distinct from h.n},
		'a cancelled task without its event' => q{
			select t.task_id::text from (select task_id from here.task where state = 'cancelled') t full join
				(select task_id, count(*) as n from heard where kind = 'cancelled' group by 1) h using (task_id) where t.task_id is null or h.n is distinct from 1},
		'bonuses that were not announced once to both' => q{
			select coalesce(b.assignment_id, h.assignment_id)::text from (select assignment_id, 2 * count(*) as n from here.bonus group by 1) b
				full join (select assignment_id, count(*) as n from heard where kind = 'bonus' group by 1) h using (assignment_id) where b.n is distinct from h.n},
		'disputes that were not announced once to both' => q{
			select d.dispute_id || ' ' || d.state || ' ' || h.opened || ' ' || h.closed from here.dispute d
				full join (select (detail ->> 'dispute')::bigint as dispute_id, count(*) filter (where kind = 'dispute_opened') as opened,
					count(*) filter (where kind = 'dispute_closed') as closed from heard where kind ~ '^dispute_' group by 1) h using (dispute_id)
			where (h.opened, h.closed) is distinct from (2, case when d.state in ('upheld', 'denied', 'withdrawn') then 2 else 0 end)},
		'an upheld dispute over what is not paid' => q{
			select d.dispute_id::text from here.dispute d join here.result r using (assignment_id) where d.state = 'upheld' and r.state <> 'approved'},
		'ratings that are not announced, or not summed' => q{
			select 'ratings' where (select count(*) from here.rating) is distinct from (select count(*) from heard where kind = 'rated')
				or (select count(*) from here.rating) is distinct from (select coalesce(sum(ratings), 0) from here.rating_total)},
		'grants, revocations and blocks that a performer did not hear of once' => q{
			select d.kind || ' ' || d.performer || ' ' || coalesce(d.n, 0) || ' heard ' || coalesce(h.n, 0) from (
				select kind, performer, count(*) as n from (
					select kind, performer from did
					union all select 'qualification_granted', login from taskex.users, generate_series(1, 2) where login ^@ 'perf'
					union all select case a.action ->> 'do' when 'grant' then 'qualification_granted' when 'revoke' then 'qualification_revoked' else 'blocked' end, d.login
					from here.policy_action a join _taskex.directory d on d.user_id = a.performer_id
					where a.action ->> 'do' in ('grant', 'revoke', 'suspend') and a.state = 'done') x group by 1, 2) d
				full join (select kind, login as performer, count(*) as n from heard
					where kind in ('qualification_granted', 'qualification_revoked', 'blocked', 'unblocked') and (login ^@ 'perf' or login = performer) group by 1, 2) h using (kind, performer)
			where d.n is distinct from h.n},
		'actions of policies that were not announced once' => q{
			select q.login from (select requester_id, count(*) as n from here.policy_action where state <> 'pending' group by 1) a
				join _taskex.directory q on q.user_id = a.requester_id
				left join (select login, count(*) as n from heard where kind = 'policy_acted' group by 1) h using (login) where a.n is distinct from h.n});
	my $sql = '';
	while (my ($what, $query) = splice @wrong, 0, 2)
	{
		$sql .= ($sql eq '' ? '' : ' union all ')
		  . "select '$what: ' || string_agg(coalesce(w.what, '?'), ', ') from (select what from ($query) q (what) limit 3) w having count(*) > 0";
	}
	return is($node->safe_psql('postgres', "set jit = off; set enable_nestloop = off; $sql"), '', "$name: policies, events and money, counted independently");
}

1;
