-- The tables of the demo's summary: "-- table: TITLE" and a query each.
-- table: Where everything lives
select p.name as partition, p.tablespace, p.users, count(a.assignment_id) as "assignments of its users",
	(select string_agg(r.login, ', ') from demo.requester r where r.partition = p.name) as requesters,
	(select count(*) from taskex.tasks t join demo.requester r on r.login = t.requester
		where r.partition = p.name) as "their tasks"
from taskex.partitions p
	left join taskex.users u on u.partition = p.name
	left join taskex.assignments a on a.performer = u.login
group by 1, 2, 3 order by 1;
-- table: What the requesters got: the majority of the answers against the generated truth
with answer as (
	select t.requester, (t.input ->> 'question')::int as n, a.result ->> 'label' as label
	from taskex.tasks t cross join lateral taskex.task_results(t.requester, t.task_id) a
	where a.state = 'approved'),
vote as (
	select requester, n, label, count(*) = max(count(*)) over (partition by n) as top from answer group by 1, 2, 3),
decided as (
	select v.requester, v.n, avg((v.label = q.truth)::int) as hit
	from vote v join demo.question q using (n) where v.top group by 1, 2)
select r.login as requester, r.title as "asks", r.performers as "performers a task",
	count(*) as tasks,
	(select round(100 * avg((a.label = q.truth)::int), 1) from answer a join demo.question q using (n)
		where a.requester = r.login) as "one answer, % right",
	round(100 * avg(d.hit), 1) as "majority, % right"
from demo.requester r join decided d on d.requester = r.login
group by r.login, r.title, r.performers order by 1;
-- table: Money
select login, (b.available + b.held)::numeric(20, 2) as "has now", b.held::numeric(20, 2) as "of this held",
	coalesce(t.paid, 0)::numeric(20, 2) as "paid to performers"
from (select login from demo.requester union all select 'exchange') u
	cross join lateral taskex.balance(login) b
	left join lateral (select sum(k.reward) as paid from taskex.assignments a join taskex.tasks k using (task_id)
		where a.requester = u.login and a.state = 'approved') t on true
order by 1;
-- table: Who earned most
select a.performer, u.partition, count(*) as approved, b.available as earned,
	round(100 * p.skill) as "skill, %"
from taskex.assignments a join taskex.users u on u.login = a.performer
	join demo.performer p on p.login = a.performer
	cross join lateral taskex.balance(a.performer) b
where a.state = 'approved'
group by a.performer, u.partition, b.available, p.skill order by b.available desc limit 10;
