-- Brings a recording (the view replay.recorded that run makes over the file) into
-- one form: who does which work when, on which task, for what. Settings of run:
-- replay.sessions, replay.windows, replay.grouped (one result holds the labels of
-- several items).
set timezone = 'UTC';

-- A row that repeats (worker, unit, item, label) is dropped. Of what remains, the
-- exchange gives a performer a task only once: the first is kept.
create table replay.label as
select d.*,
	row_number() over (partition by worker, unit, item order by line) = 1
		and part = first_value(part) over (partition by worker, unit order by line) as kept
from (select distinct on (worker, unit, item, label) * from replay.recorded
	order by worker, unit, item, label, line) d;

create table replay.summary as
select (select count(*) from replay.recorded) as rows,
	(select count(*) from replay.recorded) - count(*) as duplicates,
	count(*) filter (where not kept) as conflicting,
	bool_and(accepted is not null and submitted is not null) as timed,
	now() as finish
from replay.label;

-- One row an assignment.
create table replay.work as
select row_number() over (order by min(line))::int as work_id,
	worker, unit, min(type) as type, min(line) as line,
	min(accepted)::timestamptz as accepted,
	max(submitted)::timestamptz as submitted,
	max(judged)::timestamptz as judged,
	max(status) as status,
	case when current_setting('replay.grouped')::bool
		then jsonb_build_object('labels', jsonb_object_agg(item, label))
		else jsonb_build_object('label', max(label)) end::text as result
from replay.label where kept group by worker, unit;

alter table replay.work add fate text;
update replay.work set
	fate = case
		when status is null then case when work_id % 10 = 0 then 'auto' else 'approve' end
		when judged is null then 'auto'
		when status in ('approved', 'accepted', 'paid') then 'approve'
		when status = 'rejected' then 'reject'
		else 'auto' end,
	judged = greatest(submitted, coalesce(judged, submitted + interval '1 day'));
alter table replay.work add primary key (work_id);

-- The equal properties of tasks. A reward that is not recorded gets nine decimals,
-- to see them all arrive.
create table replay.type as
select t.type,
	'replay: ' || t.type as title,
	'requester' || (row_number() over (order by t.type) - 1) % 4 + 1 as requester,
	coalesce(l.reward, 0.012345679) as reward,
	coalesce(make_interval(secs => l.lease), greatest(interval '1 hour', t.longest + interval '1 second')) as lease,
	greatest(interval '3 days', date_trunc('day', t.lag) + interval '2 days') as auto_approve,
	t.first_at - interval '1 minute' as opens, t.last_at + interval '7 days' as closes,
	null::bigint as task_type_id
from (select type, max(submitted - accepted) as longest, max(judged - submitted) as lag,
		min(accepted) as first_at, max(submitted) as last_at
	from replay.work group by type) t
join (select type, max(reward)::numeric as reward, max(lease)::float8 as lease
	from replay.label group by type) l using (type);

-- Tasks: wanted from as many as the recording asked for, or else had.
create table replay.unit as
select w.unit, w.type, t.requester, t.reward, w.recorded,
	greatest(w.recorded, coalesce(l.wanted, 0))::int as performers,
	least(coalesce(l.created, t.opens), w.first_at) as created,
	greatest(coalesce(l.expires, t.closes), w.last_at + interval '1 second') as expires,
	w.last_at,
	null::bigint as task_id
from (select unit, min(type) as type, count(*) as recorded, min(accepted) as first_at, max(submitted) as last_at
	from replay.work group by unit) w
join (select unit, max(wanted)::int as wanted, min(created)::timestamptz as created,
		max(expires)::timestamptz as expires
	from replay.label group by unit) l using (unit)
join replay.type t using (type);
alter table replay.unit add primary key (unit);

-- Calls of create_tasks: equal tasks, at most 1,000 at once.
create table replay.call as
select row_number() over (order by created, type, performers, expires, part) as batch_id, *
from (select type, created, expires, performers, part,
		array_agg(unit order by unit) as units,
		array_agg(jsonb_build_object('unit', unit) order by unit) as inputs
	from (select *, (row_number() over (partition by type, created, expires, performers order by unit) - 1) / 1000 as part
		from replay.unit) u
	group by type, created, expires, performers, part) c;

create view replay.batch as
select c.batch_id, t.requester, t.task_type_id, c.inputs, c.units, c.performers, c.created,
	coalesce(c.expires - c.created, interval '7 days') as expires_in
from replay.call c join replay.type t using (type);

create table replay.login as
select worker as login from replay.work
union select requester from replay.type
union select 'intruder';

-- Exactly the money that it takes. A fee is rounded down to the nano-unit.
create function replay.fee(reward numeric) returns numeric language sql stable as
$$ select trunc(reward * current_setting('taskex.exchange_fee')::numeric, 9) $$;

create view replay.purse as
select requester, sum(performers * (reward + replay.fee(reward))) as funds
from replay.unit group by requester;

-- A performer stays with one session; the sessions get about the same work.
create table replay.worker as
select worker, (case when (n - 1) / s % 2 = 0 then (n - 1) % s else s - 1 - (n - 1) % s end + 1)::int as session
from (select worker, row_number() over (order by count(*) desc, worker) as n,
		current_setting('replay.sessions')::int as s
	from replay.work group by worker) w;

-- The acts. Without times, a performer's session has three leases in hand at once.
create table replay.act as
select a.*,
	ntile(current_setting('replay.windows')::int) over (order by at, key) as win,
	row_number() over (partition by session order by at, key, work_id) as pos
from (select s.session, w.work_id, k.kind, k.at, k.key
	from (select *, row_number() over (partition by session order by line) as r
		from replay.work join replay.worker using (worker)) s
	join replay.work w using (work_id)
	cross join lateral (values
		('accept', w.accepted, s.r::numeric),
		('submit', w.submitted, s.r + 2.5),
		(nullif(w.fate, 'auto'), case when w.submitted is not null then w.judged end, s.r + 5.3)) k(kind, at, key)
	where k.kind is not null) a;

-- All is over then.
update replay.summary set finish = interval '2 days' + case when timed
	then (select max(greatest(u.expires, w.judged, w.submitted + t.auto_approve))
		from replay.work w join replay.unit u using (unit) join replay.type t on t.type = u.type)
	else now() + interval '30 days' end;

create view replay.vote_recorded as select item, label from replay.label;
create view replay.vote_kept as select item, label from replay.label where kept;
analyze;
