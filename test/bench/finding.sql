-- finding.sql: fills a storage partition of the benchmark "search" in bulk, as if the work had been done by calls.
-- Variables: partition, requester (id), types, available, finished. One finished task in five was done and
-- approved by some performer, the others expired. Rewards of tasks are 0, so no money is held.
\set ON_ERROR_STOP 1
set synchronous_commit = off;
create temporary table own as select task_type_id, row_number() over (order by task_type_id) - 1 as n
	from bench_type where partition_id = :partition;
create temporary table worker as select user_id, partition_id, row_number() over (order by user_id) - 1 as n
	from _taskex.directory where login like 'w%' and partition_id = :partition;
select count(*) as own_types from own \gset
select count(*) as workers from worker \gset

insert into _taskex.task_:partition (partition_id, performers, task_id, task_type_id, requester_id, reward, fee, created_at,
		expires_at, live, judged, released, state, input)
	select :partition, 1, i * 1024 + :partition, o.task_type_id, :requester, 0, 0,
		now() - interval '40 days' + i * interval '30 days' / :finished, now() - interval '33 days' + i * interval '30 days' / :finished,
		(i % 5 = 0)::int, (i % 5 = 0)::int, (i % 5 <> 0)::int, case when i % 5 = 0 then 'complete' else 'expired' end,
		'{"question": 12345, "text": "Which animal is in the picture?"}'
	from generate_series(1, :finished::bigint) i join own o on o.n = (i / 5) % :own_types;
insert into _taskex.task_:partition (partition_id, performers, task_id, task_type_id, requester_id, reward, fee, created_at,
		expires_at, input)
	select :partition, 1, (:finished + i) * 1024 + :partition, o.task_type_id, :requester, 0, 0,
		now() - interval '1 day' + i * interval '1 day' / :available, now() + interval '30 days',
		'{"question": 12345, "text": "Which animal is in the picture?"}'
	from generate_series(1, :available::bigint) i join own o on o.n = i % :own_types;
-- results and assignments: the performers live where the requester does
insert into _taskex.assignment_:partition (partition_id, assignment_id, performer_id, task_id, task_type_id, requester_id, reward,
		lease_token, accepted_at, lease_until, finished_at, state)
	select :partition, (i / 5) * 8 + :partition, w.user_id, i * 1024 + :partition, o.task_type_id, :requester, 0,
		(i / 5) * 8 + :partition, at, at + interval '1 hour', at + interval '10 minutes', 'approved'
	from generate_series(5, :finished::bigint, 5) i join own o on o.n = (i / 5) % :own_types
		join worker w on w.n = (i / 5) % :workers,
		lateral (select now() - interval '39 days' + i * interval '30 days' / :finished as at) t;
insert into _taskex.result_:partition (partition_id, assignment_id, task_id, task_type_id, requester_id, performer_id, submitted_at,
		auto_approve_at, judged_at, state, result)
	select partition_id, assignment_id, task_id, task_type_id, requester_id, performer_id, finished_at,
		finished_at + interval '3 days', finished_at + interval '1 day', 'approved', '{"label": "dog"}'
	from _taskex.assignment_:partition;

-- what the conductor would have made of it
insert into _taskex.due_cursor as c (partition_id, kind, handled_until) select :partition, kind, now() - interval '1 hour' from generate_series(0, 2) kind
	on conflict (partition_id, kind) do update set handled_until = greatest(c.handled_until, excluded.handled_until);
insert into _taskex.offer (task_type_id, partition_id, low)
	select task_type_id, :partition, :finished::bigint * 1024 + :partition from own;
insert into _taskex.catalogue (task_type_id, requester_id, reward, tasks, slots, used, last_task_id, supplied_at, magnitude)
	select t.task_type_id, :requester, y.reward, t.tasks, t.tasks, t.tasks - t.open, t.last, now() - interval '1 day' * random(),
		_taskex.magnitude(t.open)
	from (select task_type_id, count(*) as tasks, count(*) filter (where state = 'open') as open, max(task_id) as last
			from _taskex.task_:partition group by 1) t join _taskex.task_type y using (task_type_id);
insert into _taskex.progress_:partition (partition_id, requester_id, task_type_id, version, tasks, slots, submitted, approved, rejected,
		released_slots, returned, abandoned, held, paid, fees, bonuses, bonus_fees, released, rate, rate_at, first_at, last_at)
	select :partition, :requester, task_type_id, 0, count(*), count(*), sum(judged), sum(judged), 0, sum(released), 0, 0, 0, 0, 0, 0, 0, 0,
		0, now(), min(created_at), max(created_at)
	from _taskex.task_:partition group by task_type_id;
insert into _taskex.standing_:partition (partition_id, performer_id, version, submitted, approved, rejected, returned, abandoned, agreed,
		compared, last_at)
	select :partition, performer_id, 0, count(*), count(*), 0, 0, 0, 0, 0, max(finished_at) from _taskex.assignment_:partition group by 2;
insert into _taskex.working_:partition (partition_id, requester_id, performer_id, version, submitted, approved, rejected, returned,
		abandoned, paid, last_at)
	select :partition, requester_id, performer_id, 0, count(*), count(*), 0, 0, 0, 0, max(finished_at)
	from _taskex.assignment_:partition group by 2, 3;
insert into _taskex.earning_:partition (partition_id, day, performer_id, task_type_id, version, approved, reward, bonus, last_at)
	select :partition, (finished_at at time zone 'UTC')::date, performer_id, task_type_id, 0, count(*), 0, 0, max(finished_at)
	from _taskex.assignment_:partition group by 2, 3, 4;
vacuum analyze _taskex.task_:partition, _taskex.assignment_:partition, _taskex.result_:partition, _taskex.progress_:partition,
	_taskex.earning_:partition, _taskex.standing_:partition, _taskex.working_:partition;
