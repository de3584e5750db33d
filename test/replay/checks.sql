-- Counts what the exchange holds after a replay against what was recorded.
set timezone = 'UTC';

create temp table held as
select w.work_id, w.fate, w.worker, w.unit, assignment_id, a.task_id, a.performer, a.state, r.result
from taskex.assignments a
left join _taskex.result r using (assignment_id)
join replay.unit u on u.task_id = a.task_id
full join replay.work w on w.unit = u.unit and w.worker = a.performer;

create table replay.vote_held as
select l.key as item, l.value as label
from held cross join lateral jsonb_each_text(coalesce(result -> 'labels',
	jsonb_build_object(unit, result ->> 'label'))) l
where result is not null;

create temp table wage as
select w.worker, sum(u.reward) filter (where w.fate <> 'reject') as reward
from replay.work w join replay.unit u using (unit) group by w.worker;

select what, value from (values
('tasks', (select count(*) from taskex.tasks)::text),
('task_types', (select count(*) from taskex.task_types)::text),
('performers', (select count(distinct performer) from taskex.assignments)::text),
('assignments', (select count(*) from taskex.assignments)::text),
('missing', (select count(*) from held where assignment_id is null
	or state <> case fate when 'reject' then 'rejected' else 'approved' end)::text),
('additional', (select count(*) from held where work_id is null)::text),
('differing', (select count(*) from held join replay.work w using (work_id)
	where held.result is distinct from w.result::jsonb)::text),
('overshoots', (select count(*) from taskex.tasks t join
	(select task_id, count(*) as n from taskex.assignments
		where state in ('accepted', 'submitted', 'approved') group by task_id) a using (task_id)
	where a.n > t.performers)::text),
('repeated', (select count(*) from (select from taskex.assignments
	group by performer, task_id having count(*) > 1) r)::text),
('double_payments', (select count(*) from (select from _taskex.entry
	where kind in ('reward', 'fee') and available > 0 group by kind, subject_id having count(*) > 1) d)::text),
('unbalanced', (select count(*) from (select from _taskex.entry
	group by transfer_id having sum(available) + sum(held) <> 0) u)::text),
('balance', (select coalesce(sum(available) + sum(held), 0) from _taskex.entry)::text),
('expected_paid', (select sum(reward) from wage)::numeric(30, 9)::text),
('paid_otherwise', (select count(*) from wage, taskex.balance(worker) b
	where coalesce(wage.reward, 0) <> b.available or b.held <> 0)::text),
('paid', (select sum(b.available) from wage, taskex.balance(worker) b)::numeric(30, 9)::text),
('expected_fees', (select sum(replay.fee(u.reward)) filter (where w.fate <> 'reject')
	from replay.work w join replay.unit u using (unit))::numeric(30, 9)::text),
('expected_left_over', (select sum(p.funds) - (select sum(u.reward + replay.fee(u.reward)) filter (where w.fate <> 'reject')
		from replay.work w join replay.unit u using (unit))
	from replay.purse p)::numeric(30, 9)::text),
('left_over', (select sum(b.available) from replay.purse, taskex.balance(requester) b)::numeric(30, 9)::text),
('fees', (select available from taskex.balance('exchange'))::numeric(30, 9)::text),
('own_checks', (select coalesce(string_agg(check_name || ': ' || detail, '; '), '')
	from (select * from taskex.check_ledger() union all select * from taskex.check_market()) c where not ok)),
('held', (select sum(b.held) from replay.purse, taskex.balance(requester) b)::numeric(30, 9)::text)
) x(what, value);
