-- Golden tasks: mixed in at a rate, and nobody can tell.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET taskex.exchange_fee = 0.2;
SET taskex.clock = '2107-01-01 00:00:00+00';
SELECT taskex.add_partition('golden_' || i) > 0 AS added FROM generate_series(1, 2) i;
SELECT count(taskex.register_user('go_' || i, partition => 'golden_' || 1 + i % 2)) FROM generate_series(1, 9) i;
SELECT count(taskex.register_user(r, partition => 'golden_1')) FROM unnest(ARRAY['go_req', 'go_two']) r;
SELECT count(taskex.deposit(r, 1000, 'golden')) FROM unnest(ARRAY['go_req', 'go_two']) r;
SELECT taskex.create_task_type('go_req', 'Golden', 1, lease => '1 hour', result_schema => '{"type": "string"}') AS type \gset
CREATE VIEW pg_temp.broken AS SELECT * FROM taskex.check_market() WHERE NOT ok UNION ALL SELECT * FROM taskex.check_ledger() WHERE NOT ok;
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    EXECUTE statement;
    RETURN 'accepted';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    RETURN regexp_replace(concat_ws(' | ', SQLSTATE || ' ' || SQLERRM, nullif(detail, '')), '(task|type) -?\d+', '\1 N', 'g');
END $$;

-- what cannot be asked for
CREATE TEMP TABLE bad (number int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO bad (call) VALUES ('create_golden_task(''go_req'', %s, ''1'', ''1'')'), ('create_golden_task(''go_req'', %s, ''1'', ''"a"'', 0)'),
    ('create_golden_task(''go_req'', %s, ''1'', ''"a"'', 100001)'), ('create_golden_task(''go_req'', %s, ''1'', ''"a"'', 1, ''0'')'),
    ('create_golden_task(''go_req'', -%s, ''1'', ''"a"'')'), ('create_golden_task(''go_req'', 0 * %s, ''1'', ''"a"'')'),
    ('create_golden_task(''go_req'', %s, ''1'', ''"a"'', 10000)'), ('create_golden_task(''go_req'', %s, ''1'', ''"a"'', idempotency_key => '''')'),
    ('create_golden_task(''go_req'', %s, ''1'', to_jsonb(repeat(''x'', 2000000)))'),
    ('create_golden_task(''go_req'', %s, ''1'', ''"a"'', annotation => repeat(''x'', 1025))'),
    ('set_golden_rate(''go_req'', %s, -0.1)'), ('set_golden_rate(''go_req'', %s, 1.1)'), ('set_golden_rate(''go_req'', %s, ''NaN'')'),
    ('set_golden_rate(''go_req'', -%s, 0.1)'), ('set_golden_rate(''go_req'', 0 * %s, 0.1)'),
    ('accept_next(''go_1'', -%s)'), ('create_task(''go_req'', -%s, ''1'')');
SELECT call, pg_temp.try('SELECT taskex.' || format(call, :type)) AS says FROM bad ORDER BY number;
SELECT held FROM taskex.balance('go_req');

-- two requesters have tasks, and golden tasks, of one type
SELECT array_agg(t) AS plain FROM taskex.create_tasks('go_req', :type, ARRAY['"p1"', '"p2"', '"p3"', '"p4"']::jsonb[], 9) t \gset
SELECT taskex.create_golden_task('go_two', :type, '"not mine"', '"no"') AS foreign_golden \gset
SELECT taskex.create_golden_task('go_req', :type, '"g1"', '"yes"', 2, idempotency_key => 'g1', annotation => 'easy') AS g1 \gset
SELECT taskex.create_golden_task('go_req', :type, '"g1"', '"yes"', 2, idempotency_key => 'g1', annotation => 'easy') = :g1 AS same;
SELECT pg_temp.try(format('SELECT taskex.create_golden_task(''go_req'', %s, ''"g1"'', ''"no"'', 2, idempotency_key => ''g1'', annotation => ''easy'')', :type));
SELECT taskex.create_golden_task('go_req', :type, '"g2"', '"no"', 3) AS g2 \gset
SELECT held FROM taskex.balance('go_req');
-- ids look alike, and the task list of the requester leaves them out
SELECT :g1 % 1024 = (:'plain'::bigint[])[1] % 1024 AS alike, :g1 > 0 AS positive;
SELECT count(*) FROM taskex.tasks WHERE task_id IN (:g1, :g2);

-- nobody gets them before a rate is set
SELECT input, task_type = :type AS type FROM taskex.accept_next('go_1', :type);
SELECT count(*) FROM taskex.accept_next('go_1', :type, 10);
SELECT count(*) FROM taskex.accept_next('go_1', NULL, 10) WHERE task_id IN (:g1, :g2);
-- at the rate 1 they come first; what a performer sees is as with others
BEGIN;
SELECT taskex.set_golden_rate('go_req', :type, 1);
ROLLBACK;
SELECT input FROM taskex.accept_next('go_2', :type);
SELECT taskex.set_golden_rate('go_req', :type, 1);
SELECT task_id = :g1 AS golden, task_type = :type AS type, input, reward, lease_token > 0 AS token, lease_until FROM taskex.accept_next('go_2', :type);
SELECT task_type_id = :type AS type, requester, state, reward FROM taskex.assignments WHERE performer = 'go_2' AND task_id = :g1;
SELECT input FROM taskex.accept_next('go_2', :type, 10);
-- nobody has one twice, and plurality holds
SELECT input FROM taskex.accept_next('go_3', :type, 3);
SELECT input FROM taskex.accept_next('go_4', :type, 3);
SELECT pg_temp.try(format('SELECT taskex.accept_task(''go_4'', %s)', :g1));
-- a slot that is given back is offered again, by the row's own type
SELECT assignment_id AS back FROM taskex.assignments WHERE performer = 'go_3' AND task_id = :g1 \gset
SELECT taskex.return_assignment('go_3', :back);
SELECT input FROM taskex.accept_next('go_3', :type, 1);
SELECT input FROM taskex.accept_next('go_5', :type, 2);
-- one can be had by its id, too; the requester not at all
SELECT taskex.create_golden_task('go_req', :type, '"g3"', '"maybe"', 2) AS g3 \gset
SELECT task_type = :type AS type, input FROM taskex.accept_task('go_6', :g3);
SELECT pg_temp.try(format('SELECT taskex.accept_task(''go_req'', %s)', :g3));
SELECT count(*) FROM taskex.accept_next('go_req', :type, 100);

-- others' golden tasks are his who set the rate for them; none is lost to a performer because he passed it
SELECT array_agg(t) AS other FROM taskex.create_tasks('go_two', :type, ARRAY['"o1"', '"o2"']::jsonb[], 9) t \gset
SELECT taskex.set_golden_rate('go_two', :type, 1);
SELECT input FROM taskex.accept_next('go_6', :type, 10);
SELECT input FROM taskex.accept_next('go_5', :type, 10);

-- at a rate between, some do
SELECT taskex.set_golden_rate('go_two', :type, 0);
SELECT taskex.set_golden_rate('go_req', :type, 0.3);
SELECT count(taskex.create_golden_task('go_req', :type, to_jsonb(i), '"x"', 1)) FROM generate_series(1, 60) i;
SELECT count(*) FROM taskex.create_tasks('go_req', :type, array(SELECT to_jsonb(i) FROM generate_series(1001, 1200) i));
SELECT count(*) AS had, count(*) FILTER (WHERE input BETWEEN '1' AND '60') BETWEEN 10 AND 55 AS about_30
    FROM taskex.accept_next('go_7', :type, 100);

-- how they were answered; a rejected one leaves its slot to others
SELECT taskex.submit_assignment(performer, assignment_id, CASE performer WHEN 'go_2' THEN '"yes"' ELSE '"wrong"' END::jsonb)
    FROM taskex.assignments WHERE task_id IN (:g1, :g3) AND state = 'accepted' ORDER BY assignment_id;
SELECT task_id = :g1 AS g1, requester, task_type_id = :type AS type, title, state, performers, free_slots, answered, answered_right, rate, reward, fee,
    expires_at, annotation, known_answer, input FROM taskex.golden_tasks WHERE requester = 'go_req' AND jsonb_typeof(input) = 'string' ORDER BY task_id;
SELECT performer, state, result FROM taskex.task_results('go_req', :g1) ORDER BY performer;
SELECT taskex.reject_assignment('go_req', assignment_id, 'wrong', true) FROM taskex.task_results('go_req', :g1) WHERE result = '"wrong"';
SELECT taskex.set_golden_rate('go_req', :type, 1);
SELECT input FROM taskex.accept_next('go_8', :type);
SELECT taskex.expire_task('go_req', :g3);
SELECT state FROM taskex.golden_tasks WHERE task_id = :g3;
SELECT pg_temp.try(format('SELECT taskex.accept_task(''go_9'', %s)', :g3));
SELECT * FROM pg_temp.broken;

-- their time ends as that of others, and all money comes back
SET taskex.clock = '2107-03-01 00:00:00+00';
SELECT what, count > 0 AS some FROM taskex.run_due() WHERE what LIKE ANY ('{leases%,tasks%}') ORDER BY 1;
SELECT DISTINCT state FROM taskex.golden_tasks WHERE requester LIKE 'go\_%' ORDER BY 1;
SELECT what FROM taskex.run_due() WHERE what = 'results approved';
SELECT held FROM taskex.balance('go_req');
SELECT count(*) AS negative_types_shown FROM taskex.assignments WHERE task_type_id < 0;
SELECT * FROM pg_temp.broken;
