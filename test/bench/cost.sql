-- cost.sql: an exchange with some past, and procedures that make calls and tell what they cost; for test/bench/cost.
\set ON_ERROR_STOP 1
set client_min_messages = warning;
set synchronous_commit = off;
create extension taskex;
select taskex.add_partition('p' || i) is null from generate_series(1, 8) i;
select taskex.register_user('r' || i, '{}', 'p' || i) is null from generate_series(1, 8) i;
select taskex.register_user(i::text, '{}', 'p' || 1 + i % 8) is null from generate_series(1, 500) i;
select taskex.deposit('r' || i, 1000000, 'bench') is null from generate_series(1, 8) i;
create table type as select i as n, taskex.create_task_type('r' || i, 'bench ' || i, 0.02) as id from generate_series(1, 8) i;
create table input as select '{"question": 12345, "text": "Which animal is in the picture?", "labels": ["cat", "dog", "fox", "owl"]}'::jsonb as input;

create table cost (call text, buffers bigint, records bigint, bytes bigint);

create procedure past(performers int, each int) language plpgsql as $$
declare
	held bigint[];
begin
	perform taskex.create_tasks('r' || t.n, t.id, array_fill(input, array[1 + 2 * performers * each / 8])) from type t, input;
	commit;
	for p in 1 .. performers loop
		held := array(select assignment_id from taskex.accept_next(p::text, count => each));
		perform taskex.submit_assignments(p::text, held, array_fill('{"label": "dog"}'::jsonb, array[cardinality(held)]));
		commit;
	end loop;
end $$;

create function note_cost(call text, statement text) returns void language plpgsql as $$
declare
	plan json;
begin
	execute 'explain (analyze, buffers, wal, timing off, format json) ' || statement into plan;
	plan := plan -> 0 -> 'Plan';
	insert into cost values (call, (plan ->> 'Shared Hit Blocks')::bigint + (plan ->> 'Shared Read Blocks')::bigint,
		(plan ->> 'WAL Records')::bigint, (plan ->> 'WAL Bytes')::bigint);
end $$;

-- each call is a transaction of its own, and a performer keeps to one type (a free choice is random now and then);
-- told: what it costs is noted
create procedure calls(first int, count int, told boolean) language plpgsql as $$
declare
	login text;
	type bigint;
	held bigint[];
begin
	for i in first .. first + count - 1 loop
		if told then
			perform note_cost('create_task', format('select taskex.create_task(%L, %s, %L)', 'r' || t.n, t.id, input)) from type t, input where t.n = 1 + i % 8;
		else
			perform taskex.create_task('r' || t.n, t.id, input) from type t, input where t.n = 1 + i % 8;
		end if;
		commit;
	end loop;
	for i in first .. first + count - 1 loop
		login := 1 + i % 40;
		type := (select t.id from type t where t.n = 1 + i % 8);
		if told then
			perform note_cost('accept_next', format('select * from taskex.accept_next(%L, %s)', login, type));
			held := held || (select max(assignment_id) from _taskex.assignment);
		else
			held := held || (select assignment_id from taskex.accept_next(login, type));
		end if;
		commit;
	end loop;
	for i in first .. first + count - 1 loop
		login := 1 + i % 40;
		if told then
			perform note_cost('submit_assignment', format('select taskex.submit_assignment(%L, %s, %L)', login, held[1 + i - first], '{"label": "dog"}'));
		else
			perform taskex.submit_assignment(login, held[1 + i - first], '{"label": "dog"}');
		end if;
		commit;
	end loop;
end $$;
