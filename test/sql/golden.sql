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
\getenv tests PG_ABS_SRCDIR
\set try :tests '/sql/include/try.sql'
\set ECHO none
\i :try
\set ECHO all

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

-- many at once, all or none
SELECT held AS before FROM taskex.balance('go_req') \gset
INSERT INTO bad (call) VALUES ('create_golden_tasks(''go_req'', %s, ARRAY[''1'', ''2'']::jsonb[], ARRAY[''"a"'']::jsonb[])'),
    ('create_golden_tasks(''go_req'', %s, ARRAY[''1'', ''2'']::jsonb[], ARRAY[''"a"'', NULL]::jsonb[])'),
    ('create_golden_tasks(''go_req'', %s, ARRAY[''1'', NULL]::jsonb[], ARRAY[''"a"'', ''"b"'']::jsonb[])'),
    ('create_golden_tasks(''go_req'', %s, ARRAY[''1'', ''2'']::jsonb[], ARRAY[''"a"'', ''2'']::jsonb[])'),
    ('create_golden_tasks(''go_req'', %s, ARRAY[''1'']::jsonb[], ARRAY[[''"a"'']]::jsonb[])');
SELECT call, pg_temp.try('SELECT taskex.' || format(call, :type)) AS says FROM bad WHERE call LIKE '%tasks(%ARRAY%' ORDER BY number;
SELECT held - :before AS held FROM taskex.balance('go_req');
SELECT count(*) FROM taskex.create_golden_tasks('go_req', :type, '{}', '{}');
SELECT array_agg(t) AS many FROM taskex.create_golden_tasks('go_req', :type, ARRAY['"m1"', '"m2"', '"m3"']::jsonb[], ARRAY['"A"', '"B"', '"C"']::jsonb[], 2,
    idempotency_key => 'many', annotation => 'bulk', match => '{"ignore_case": true}') t \gset
SELECT held - :before AS held FROM taskex.balance('go_req');
SELECT task_id = (:'many'::bigint[])[1] AS first, state, performers, expires_at, annotation, known_answer, match, input FROM taskex.golden_tasks WHERE task_id = ANY (:'many') ORDER BY task_id;
SELECT array_agg(t) = :'many' AS same FROM taskex.create_golden_tasks('go_req', :type, ARRAY['"m1"', '"m2"', '"m3"']::jsonb[], ARRAY['"A"', '"B"', '"C"']::jsonb[], 2,
    idempotency_key => 'many', annotation => 'bulk', match => '{"ignore_case": true}') t;
SELECT pg_temp.try(format($$SELECT taskex.create_golden_tasks('go_req', %s, ARRAY['"m1"', '"m2"', '"m3"']::jsonb[], ARRAY['"A"', '"B"', '"C"']::jsonb[], 2,
    idempotency_key => 'many', annotation => 'bulk')$$, :type));
-- they are given like others
SELECT input FROM taskex.accept_next('go_9', :type, 100) WHERE input IN ('"m1"', '"m2"', '"m3"');

-- what counts as right
SELECT result, known, rule, round(_taskex.answer_score(result::jsonb, known::jsonb, rule::jsonb), 4) AS score FROM (VALUES
    ('1', '1.0', NULL), ('"a"', '"A"', NULL), ('"a"', '"A"', '{}'), ('"a"', '"A"', '{"ignore_case": true}'),
    ('"b"', '"A"', '{"ignore_case": true}'), ('1.5', '1', '{"tolerance": 0.5}'), ('1.51', '1', '{"tolerance": 0.5}'), ('"1.5"', '1', '{"tolerance": 0.5}'),
    ('[1, [2.1]]', '[1.05, [2]]', '{"tolerance": 0.1}'), ('[1]', '[1, 2]', '{"tolerance": 10}'), ('{"a": {"b": "X"}}', '{"a": {"b": "x"}}', '{"ignore_case": true}'),
    ('{"x": 1, "y": 2}', '{"x": 1, "y": 3}', NULL), ('{"x": 1, "y": 2, "z": 0}', '{"x": 1, "y": 2}', NULL), ('{"x": 1}', '{}', NULL), ('[1]', '{"x": 1}', NULL),
    ('{"x": 1, "y": 2}', '{"x": 1, "y": 3}', '{"keys": ["x"]}'), ('{"y": 3}', '{"x": 1, "y": 3}', '{"keys": ["x"]}'), ('7', '{"x": 1}', '{"keys": ["x"]}'),
    ('{"x": 1, "y": 9, "z": "A"}', '{"x": 1.1, "y": 3, "z": "a"}', '{"keys": ["x", "z", "y"], "tolerance": 0.2, "ignore_case": true}'),
    ('2', '[1, 2, 3]', '{"any": true}'), ('4', '[1, 2, 3]', '{"any": true}'), ('[1, 2, 3]', '[1, 2, 3]', '{"any": true}'), ('[1]', '[[1], [2]]', '{"any": true}'),
    ('3.2', '[1, 3]', '{"any": true, "tolerance": 0.25}'), ('[1]', '[1]', '{"any": false}'), ('{"x": 1, "y": 2}', '[{"x": 0, "y": 0}, {"x": 0, "y": 2}]', '{"any": true}'),
    ('9e131071', '-9e131071', '{"tolerance": 1e15}'), ('null', 'null', NULL), ('true', 'false', '{"tolerance": 1}'), (NULL, '1', NULL)) v (result, known, rule);
-- rules are checked, with what is known
SELECT taskex.create_task_type('go_req', 'Free', 0) AS free \gset
SELECT known, rule, pg_temp.try(format('SELECT taskex.create_golden_task(''go_req'', %s, ''1'', %L, match => %L)', :free, known, rule)) AS says FROM (VALUES
    ('1', '[]'), ('1', '1'), ('1', '{"near": 1}'), ('1', '{"any": 1}'), ('1', '{"any": true}'), ('[]', '{"any": true}'), ('{"a": 1}', '{"any": true}'),
    ('1', '{"tolerance": "1"}'), ('1', '{"tolerance": -1}'), ('1', '{"tolerance": 1e16}'), ('"a"', '{"tolerance": 1}'), ('1', '{"ignore_case": null}'), ('1', '{"ignore_case": true}'),
    ('{"x": 1}', '{"keys": []}'), ('{"x": 1}', '{"keys": "x"}'), ('{"x": 1}', '{"keys": [1]}'), ('{"x": 1}', '{"keys": ["x", "x"]}'), ('{"x": 1}', '{"keys": ["y"]}'),
    ('1', '{"keys": ["x"]}'), ('[{"x": 1}, {"y": 1}]', '{"any": true, "keys": ["x"]}'), ('{"x": "a", "y": 1}', '{"keys": ["x"], "tolerance": 1}'),
    ('{"x": "a", "y": 1}', '{"keys": ["y"], "tolerance": 1}'), ('[1, "a"]', '{"any": true, "tolerance": 1, "ignore_case": true}')) v (known, rule);
SELECT pg_temp.try(format($$SELECT taskex.create_golden_task('go_req', %s, '1', '["a", 1]', match => '{"any": true}')$$, :type)) AS of_the_format,
    pg_temp.try(format($$SELECT taskex.create_golden_task('go_req', %s, '1', '["a", "b"]', match => '{"any": true}')$$, :type)) AS each;
-- they hold wherever results are compared: policies, reliabilities, and the requester's view
SELECT taskex.create_policy('go_req', 'known_answer', '{"thresholds": [{"of": "assignment", "less_than": 60, "action": {"do": "reject", "reason": "wrong"}}]}', :free) > 0 AS policy;
SELECT taskex.create_golden_task('go_req', :free, '1', '[{"x": 10, "y": "yes"}, {"x": 20, "y": "no"}]', 4, match => '{"any": true, "tolerance": 1, "ignore_case": true}') AS g \gset
SELECT count(taskex.submit_assignment(who, (taskex.accept_task(who, :g)).assignment_id, result)) FROM (VALUES ('go_1', '{"x": 10.5, "y": "YES"}'::jsonb), ('go_2', '{"x": 19, "y": "No"}'),
    ('go_3', '{"x": 10, "y": "no"}'), ('go_4', '"no"')) v (who, result);
SELECT count(*) FROM taskex.run_due();
SELECT answered, answered_right FROM taskex.golden_tasks WHERE task_id = :g;
SELECT performer, score FROM taskex.policy_results WHERE task_id = :g ORDER BY performer;
SELECT performer, state FROM taskex.task_results('go_req', :g) ORDER BY performer;
SELECT d.login, r.agreed, r.compared FROM _taskex.reliability r JOIN _taskex.directory d ON d.user_id = r.performer_id WHERE r.task_type_id = :free ORDER BY 1;
SELECT * FROM pg_temp.broken;

-- a long answer takes no longer because there are many short right ones
SET statement_timeout = '30s';
SELECT trunc(_taskex.answer_score(to_jsonb(repeat('Xy', 2000000) || n), jsonb_agg(repeat('A', n) || i), '{"any": true, "ignore_case": true}')) AS score
    FROM generate_series(1, 1000) i, (VALUES (1), (2)) n (n) GROUP BY n ORDER BY n;
RESET statement_timeout;

-- their time ends as that of others, and all money comes back
SET taskex.clock = '2107-03-01 00:00:00+00';
SELECT what, count > 0 AS some FROM taskex.run_due() WHERE what LIKE ANY ('{leases%,tasks%}') ORDER BY 1;
SELECT DISTINCT state FROM taskex.golden_tasks WHERE requester LIKE 'go\_%' ORDER BY 1;
SELECT what FROM taskex.run_due() WHERE what = 'results approved';
SELECT held FROM taskex.balance('go_req');
SELECT count(*) AS negative_types_shown FROM taskex.assignments WHERE task_type_id < 0;
SELECT * FROM pg_temp.broken;
