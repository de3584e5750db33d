-- The tables of the demo's summary: "-- table: TITLE" and a query each.
-- table: What the requesters got: labels and answers, against the generated truth
with answer as (
	select r.login, a.answer #>> '{}' as label, q.truth, a.results
	from demo.requester r cross join lateral taskex.task_answers(r.login, r.task_type_id, max_rows => 10000) a
		join taskex.tasks t using (task_id) join demo.question q on q.n = (t.input ->> 'question')::int),
one as (
	select q.requester as login, avg((s.result #>> '{}' = q.truth)::int) as hit
	from taskex.tasks t cross join lateral taskex.task_results(t.requester, t.task_id) s
		join demo.question q on q.n = (t.input ->> 'question')::int
	group by 1)
select r.login as requester, r.consensus || coalesce(' ' || r.confidence, '') as "decided by",
	concat_ws(' to ', r.least, r.performers) || case when r.golden > 0 then ', some golden'
		when t.qualifications <> '[]' then ', who passed a test' else '' end as performers,
	count(*) as tasks, sum(a.results) as "labels used", count(*) * r.performers as "at most",
	round(100 * o.hit, 1) as "one label, % right", round(100 * avg(coalesce(a.label = a.truth, false)::int), 1) as "answer, % right"
from demo.requester r join answer a using (login) join one o using (login) join taskex.task_types t using (task_type_id)
group by r.login, t.qualifications, o.hit order by 1;
-- table: How far they had come at 16:00
select requester, slots, done, pending, available + coalesce(in_progress, 0) as open, cost, held, "an hour", ready from demo.progress order by 1;
-- table: Whom the zoo's policy has blocked, after what they said to its golden tasks
select b.performer, round(100 * p.skill) as "skill, %", l.counted as "golden tasks", round(l.measure) as "right, %",
	(select count(*) from taskex.assignments a where a.performer = b.performer and a.requester = 'zoo'
		and a.state in ('submitted', 'approved', 'rejected')) as "all for the zoo",
	to_char(b.blocked_at at time zone 'UTC', 'HH24:MI') as blocked, b.reason
from taskex.blocks b join demo.performer p on p.login = b.performer
	join taskex.policy_tallies l using (requester, performer) order by l.counted desc, 1 limit 5;
-- table: The webshop's test
select case when score >= 80 then 'passed' else 'failed' end as test, count(*) as performers,
	round(100 * avg(skill)) as "mean skill, %", count(*) filter (where skill < 0.55) as "of these guess"
from demo.performer cross join lateral taskex.performer_qualifications(login) group by 1 order by 1 desc;
-- table: Where everything lives, and the money
select p.name as partition, p.tablespace, p.users, n.assignments, r.login as requester, (b.available + b.held)::numeric(20, 2) as "has now",
	coalesce(-e.rewards, 0)::numeric(20, 2) as "paid performers", coalesce(-e.bonuses, 0)::numeric(20, 2) as bonuses
from taskex.partitions p
	join demo.requester r on r.partition = p.name
	cross join lateral taskex.balance(r.login) b
	cross join lateral (select sum(available + held) filter (where kind = 'reward') as rewards,
		sum(available + held) filter (where kind = 'bonus') as bonuses
		from taskex.transfers t where t.login = r.login) e
	cross join lateral (select count(*) as assignments from taskex.users u
		join taskex.assignments a on a.performer = u.login where u.partition = p.name) n
order by 1;
-- table: Who earned most
select a.performer, count(*) as approved, b.available as earned, coalesce(s.bonus, 0) as "of this bonus", round(100 * p.skill) as "skill, %"
from taskex.assignments a join demo.performer p on p.login = a.performer
	cross join lateral taskex.balance(a.performer) b
	left join (select performer, sum(amount) as bonus from taskex.bonuses group by 1) s on s.performer = a.performer
where a.state = 'approved'
group by a.performer, b.available, s.bonus, p.skill order by b.available desc limit 5;
