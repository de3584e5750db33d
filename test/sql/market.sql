-- The main loop: types, supply, accept, extend, return, abandon, submit, judge,
-- expire, pay. Time is taskex.clock, far ahead, so that the conductor of the
-- database, who lives in real time, finds nothing to do here.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET taskex.exchange_fee = 0.2;
SET taskex.clock = '2101-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('market_1') > 0 AS added, taskex.add_partition('market_2') > 0 AS added;
SELECT taskex.register_user('m_req', partition => 'market_1') > 0 AS req,
    taskex.register_user('m_ann', partition => 'market_1') > 0 AS ann,
    taskex.register_user('m_bob', partition => 'market_2') > 0 AS bob,
    taskex.register_user('m_cid', partition => 'market_2') > 0 AS cid,
    taskex.register_user('m_poor', partition => 'market_2') > 0 AS poor;
SELECT taskex.deposit('m_req', 1000, 'start') > 0 AS deposited;
-- a view of everybody's money to look at again and again
CREATE TEMP VIEW money AS
    SELECT u.login, b.available, b.held FROM (VALUES ('m_req'), ('m_ann'), ('m_bob'), ('m_cid')) u (login),
        taskex.balance(u.login) b ORDER BY 1;
CREATE TEMP VIEW broken AS
    SELECT * FROM taskex.check_ledger() WHERE NOT ok UNION ALL SELECT * FROM taskex.check_market() WHERE NOT ok;
SELECT available AS fees FROM taskex.balance('exchange') \gset

-- types: equal properties, the same id, whoever asks
SELECT taskex.create_task_type('m_req', 'Label a picture', 1.5, 'What is on it?', '{image,label}', '1 hour', '1 day') AS type \gset
SELECT taskex.create_task_type('m_req', 'Label a picture', 1.50, 'What is on it?', '{image,label}', '60 minutes', '1 day') = :type AS same;
SELECT taskex.create_task_type('m_poor', 'Label a picture', 1.5, 'What is on it?', '{image,label}', '1 hour', '1 day', '[]') = :type AS same;
SELECT taskex.create_task_type('m_req', 'Label a picture', 1.5, 'What is on it?', '{image,label}', '1 hour', '2 days') = :type AS other_approval,
    taskex.create_task_type('m_req', 'Label a picture', 1.5, 'What is on it?', '{image,label}', '2 hours', '1 day') = :type AS other_lease,
    taskex.create_task_type('m_req', 'Label a picture', 1.5, 'What is on it?', '{label,image}', '1 hour', '1 day') = :type AS other_keywords,
    taskex.create_task_type('m_req', 'Label a picture', 1.5, 'What is it?', '{image,label}', '1 hour', '1 day') = :type AS other_description,
    taskex.create_task_type('m_req', 'Label a picture', 1.500000001, 'What is on it?', '{image,label}', '1 hour', '1 day') = :type AS other_reward,
    taskex.create_task_type('m_req', 'label a picture', 1.5, 'What is on it?', '{image,label}', '1 hour', '1 day') = :type AS other_title;
-- ... and neighbouring texts are not run together
SELECT taskex.create_task_type('m_req', 'ab', 1, 'c') = taskex.create_task_type('m_req', 'a', 1, 'bc') AS same;
SELECT title, reward, description, keywords, lease, auto_approve, created_at FROM taskex.task_types WHERE task_type_id = :type;
SELECT title, reward, description, keywords, lease, auto_approve FROM taskex.task_types
    WHERE task_type_id = taskex.create_task_type('m_req', 'Defaults', 0);
BEGIN;
SELECT taskex.create_task_type('m_req', 'Gone', 1) AS gone \gset
SELECT taskex.create_task('m_req', :gone, '1') > 0 AS created;
ROLLBACK;
SELECT count(*) FROM taskex.task_types WHERE task_type_id = :gone;
\set VERBOSITY sqlstate
SELECT taskex.create_task('m_req', :gone, '1');
\set VERBOSITY default

-- supply: reward and fee are held
SELECT taskex.create_task('m_req', :type, '{"picture": 1}', performers => 2, expires_in => '2 days',
    consensus => 'majority') AS t1 \gset
SELECT requester, title, state, performers, free_slots, in_progress, submitted, judged, reward, fee, consensus,
    created_at, expires_at, input FROM taskex.tasks WHERE task_id = :t1;
SELECT * FROM money;
SELECT array_agg(id) AS bulk FROM taskex.create_tasks('m_req', :type, ARRAY['{"picture": 2}', '{"picture": 3}', '{"picture": 4}']::jsonb[],
    expires_in => '3 days') id \gset
SELECT i AS position, t.input, t.performers, t.expires_at, t.task_id > :t1 AS later
    FROM unnest(:'bulk'::bigint[]) WITH ORDINALITY u (id, i) JOIN taskex.tasks t ON t.task_id = u.id ORDER BY i;
SELECT * FROM money WHERE login = 'm_req';
SELECT count(*) FROM taskex.create_tasks('m_req', :type, '{}');
SELECT kind, available, held FROM taskex.statement('m_req', max_rows => 2);
-- the fee is fixed when the task is supplied
SET taskex.exchange_fee = 0;
SELECT taskex.create_task('m_req', :type, '"free of fee"') AS t0 \gset
SET taskex.exchange_fee = 0.2;
SELECT reward, fee FROM taskex.tasks WHERE task_id = :t0;
-- a fee is rounded down to the nano-unit
SELECT taskex.create_task_type('m_req', 'Tiny', 0.000000009) AS tiny \gset
SELECT taskex.create_task('m_req', :tiny, '1', 7) AS tiny_task \gset
SELECT reward, fee FROM taskex.tasks WHERE task_id = :tiny_task;
SELECT held FROM money WHERE login = 'm_req';
SELECT taskex.expire_task('m_req', :tiny_task);
SELECT held FROM money WHERE login = 'm_req';

-- idempotency keys
SELECT taskex.create_task('m_req', :type, '"once"', idempotency_key => 'k1') AS k1 \gset
SELECT taskex.create_task('m_req', :type, '"once"', idempotency_key => 'k1') = :k1 AS same;
SELECT taskex.create_task('m_req', :type, ' "once" ', 1, '1 week', NULL, 'k1') = :k1 AS same;
SELECT * FROM money WHERE login = 'm_req';
SELECT taskex.create_task('m_req', :type, '"twice"', idempotency_key => 'k1');
SELECT taskex.create_task('m_req', :type, '"once"', 2, idempotency_key => 'k1');
SELECT taskex.create_task('m_req', :type, '"once"', consensus => 'mean', idempotency_key => 'k1');
SELECT taskex.create_task('m_req', :type, '"once"', expires_in => '1 day', idempotency_key => 'k1');
SELECT taskex.create_task('m_req', :tiny, '"once"', idempotency_key => 'k1');
SELECT * FROM taskex.create_tasks('m_req', :type, ARRAY['"once"']::jsonb[], idempotency_key => 'k1');
SELECT array_agg(id) AS k2 FROM taskex.create_tasks('m_req', :type, ARRAY['1', '2']::jsonb[], idempotency_key => 'k2') id \gset
SELECT array_agg(id) = :'k2'::bigint[] AS same FROM taskex.create_tasks('m_req', :type, ARRAY['1', '2']::jsonb[], idempotency_key => 'k2') id;
SELECT * FROM taskex.create_tasks('m_req', :type, ARRAY['2', '1']::jsonb[], idempotency_key => 'k2');
SELECT * FROM taskex.create_tasks('m_req', :type, ARRAY['1', '2', '3']::jsonb[], idempotency_key => 'k2');
-- in the same transaction, and after a rollback
BEGIN;
SELECT taskex.create_task('m_req', :type, '"t"', idempotency_key => 'k3') AS k3 \gset
SELECT taskex.create_task('m_req', :type, '"t"', idempotency_key => 'k3') = :k3 AS same;
ROLLBACK;
SELECT taskex.create_task('m_req', :type, '"other"', idempotency_key => 'k3') <> :k3 AS new;
-- another requester's keys are his own
SELECT taskex.deposit('m_poor', 1.8, 'poor') > 0 AS deposited;
SELECT taskex.create_task('m_poor', :type, '"poor"', idempotency_key => 'k1') <> :k1 AS own;
-- who cannot pay gets an error, unless it is done already
SELECT taskex.create_task('m_poor', :type, '"poor"', idempotency_key => 'k1') <> :k1 AS own;
SELECT taskex.create_task('m_poor', :type, '"poor"');
SELECT taskex.create_task('m_poor', taskex.create_task_type('m_poor', 'For nothing', 0), '1', 100000) > 0 AS created;
SELECT * FROM taskex.balance('m_poor');
SELECT * FROM broken;
-- all of these are out of the way again
SELECT count(taskex.expire_task(requester, task_id)) FROM taskex.tasks
    WHERE requester LIKE 'm\_%' AND state = 'available' AND task_id <> :t1 AND task_id <> ALL (:'bulk'::bigint[]);
SELECT * FROM money WHERE login = 'm_req';
SELECT * FROM taskex.balance('m_poor');

-- accept a given task
SELECT assignment_id AS a1, lease_token AS tok1 FROM taskex.accept_task('m_ann', :t1) \gset
SELECT task_id = :t1 AS t1, task_type = :type AS type, input, reward, lease_until, assignment_id > :a1 AS newer, lease_token > :tok1 AS newer_token
    FROM taskex.accept_task('m_bob', :t1);
SELECT performer, requester, state, reward, accepted_at, lease_until, finished_at FROM taskex.assignments WHERE task_id = :t1 ORDER BY 1;
SELECT state, performers, free_slots, in_progress, submitted, judged FROM taskex.tasks WHERE task_id = :t1;
\set VERBOSITY sqlstate
SELECT taskex.accept_task('m_cid', :t1);
SELECT taskex.accept_task('m_ann', :t1);
SELECT taskex.accept_task('m_req', :t1);
SELECT taskex.accept_task('m_req', (:'bulk'::bigint[])[1]);
SELECT taskex.accept_task('m_ann', :t0);
SELECT taskex.accept_task('m_ann', 1);
SELECT taskex.accept_task('m_ann', -:t1);
SELECT taskex.accept_task('m_ann', 9223372036854775807);
\set VERBOSITY default

-- accept the next one: in the order of supply, each once to each performer, never one's own
SELECT task_id = (:'bulk'::bigint[])[1] AS first, input FROM taskex.accept_next('m_ann', :type);
SELECT task_id = ANY (:'bulk'::bigint[]) AS ours, input FROM taskex.accept_next('m_ann', :type, 10);
SELECT * FROM taskex.accept_next('m_ann', :type);
SELECT * FROM taskex.accept_next('m_bob', :type, 1000);
SELECT * FROM taskex.accept_next('m_req', :type);
SELECT * FROM taskex.accept_next('m_cid', :tiny);
SELECT state, free_slots, in_progress FROM taskex.tasks WHERE task_id = ANY (:'bulk'::bigint[]) ORDER BY task_id;
-- more are found as they come; of any type
SELECT taskex.create_task('m_req', :type, '{"picture": 5}') AS t5 \gset
SELECT task_id = :t5 AS t5 FROM taskex.accept_next('m_ann', :type);
SELECT taskex.create_task('m_req', taskex.create_task_type('m_req', 'Any', 1), '{"any": 6}') AS t6 \gset
SELECT count(*) FROM taskex.accept_next('m_cid', NULL, 1000) WHERE task_id = :t6;
SELECT count(*) FROM taskex.accept_next('m_cid', NULL, 1000) WHERE task_id = :t6;
SELECT count(taskex.return_assignment('m_cid', assignment_id)) > 0 AS returned
    FROM taskex.assignments WHERE performer = 'm_cid' AND state = 'accepted';
SELECT * FROM broken;

-- extending
SELECT taskex.extend_assignment('m_ann', :a1, '30 minutes');
SELECT lease_until FROM taskex.assignments WHERE assignment_id = :a1;
SELECT taskex.extend_assignment('m_ann', :a1, '366 days');
SELECT taskex.extend_assignment('m_ann', :a1, '0.001 s');
\set VERBOSITY sqlstate
SELECT taskex.extend_assignment('m_ann', :a1, '0');
SELECT taskex.extend_assignment('m_ann', :a1, '-1 hour');
SELECT taskex.extend_assignment('m_ann', :a1, '1000 years');
SELECT taskex.extend_assignment('m_bob', :a1, '1 hour');
\set VERBOSITY default

-- returning: the slot is there for others, not for him
SELECT assignment_id AS a2, task_id AS t2 FROM taskex.assignments WHERE performer = 'm_ann' AND task_id = (:'bulk'::bigint[])[1] \gset
SELECT taskex.return_assignment('m_ann', :a2);
SELECT state, finished_at FROM taskex.assignments WHERE assignment_id = :a2;
SELECT state, free_slots FROM taskex.tasks WHERE task_id = :t2;
\set VERBOSITY sqlstate
SELECT taskex.return_assignment('m_ann', :a2);
SELECT taskex.accept_task('m_ann', :t2);
SELECT taskex.submit_assignment('m_ann', :a2, '1');
SELECT taskex.extend_assignment('m_ann', :a2, '1 hour');
\set VERBOSITY default
SELECT * FROM taskex.accept_next('m_ann', :type);
SELECT task_id = :t2 AS returned_one FROM taskex.accept_next('m_bob', :type);
SELECT * FROM taskex.accept_next('m_cid', :type);
SELECT count(taskex.extend_assignment('m_bob', assignment_id, '2 hours'))
    FROM taskex.assignments WHERE performer = 'm_bob' AND state = 'accepted';

-- lease end: not a moment before, and whoever comes late is refused
SELECT assignment_id AS a3, task_id AS t3, lease_token AS tok3 FROM taskex.assignments JOIN _taskex.assignment USING (assignment_id, task_id)
    WHERE performer = 'm_ann' AND task_id = (:'bulk'::bigint[])[2] \gset
SET taskex.clock = '2101-01-01 00:59:59.999999+00';
SELECT * FROM taskex.run_due();
SELECT taskex.extend_assignment('m_ann', :a3, '1 s');
SET taskex.clock = '2101-01-01 01:00:00.999999+00';
SELECT what, count FROM taskex.run_due() WHERE what = 'leases ended';
SELECT state FROM taskex.assignments WHERE assignment_id = :a3;
SET taskex.clock = '2101-01-01 01:00:01+00';
-- over, although nobody has looked yet
\set VERBOSITY sqlstate
SELECT taskex.submit_assignment('m_ann', :a3, '1', :tok3);
SELECT taskex.extend_assignment('m_ann', :a3, '1 hour');
SELECT taskex.return_assignment('m_ann', :a3);
SELECT * FROM taskex.submit_assignments('m_ann', ARRAY[:a3], ARRAY['1']::jsonb[]);
\set VERBOSITY default
SELECT * FROM taskex.run_due();
SELECT * FROM taskex.run_due();
SELECT state, finished_at FROM taskex.assignments WHERE assignment_id = :a3;
SELECT state, free_slots, in_progress FROM taskex.tasks WHERE task_id = :t3;
\set VERBOSITY sqlstate
SELECT taskex.submit_assignment('m_ann', :a3, '1', :tok3);
SELECT taskex.return_assignment('m_ann', :a3);
SELECT taskex.accept_task('m_ann', :t3);
\set VERBOSITY default
SELECT performer, state, count(*) FROM taskex.assignments WHERE performer IN ('m_ann', 'm_bob') GROUP BY 1, 2 ORDER BY 1, 2;
SELECT count(*) FROM taskex.accept_next('m_ann', :type, 10);
SELECT array_agg(task_id ORDER BY task_id) = ARRAY[(:'bulk'::bigint[])[2], (:'bulk'::bigint[])[3], :t5] AS abandoned_ones
    FROM taskex.accept_next('m_bob', :type, 10);
SELECT * FROM money;
SELECT * FROM broken;

-- submitting
\set VERBOSITY sqlstate
SELECT taskex.submit_assignment('m_ann', :a1, '"cat"', :tok1 + 1);
\set VERBOSITY default
SELECT state FROM taskex.assignments WHERE assignment_id = :a1;
SELECT taskex.submit_assignment('m_ann', :a1, '"cat"', :tok1);
SELECT state, finished_at FROM taskex.assignments WHERE assignment_id = :a1;
SELECT state, free_slots, in_progress, submitted, judged FROM taskex.tasks WHERE task_id = :t1;
\set VERBOSITY sqlstate
SELECT taskex.submit_assignment('m_ann', :a1, '"dog"', :tok1);
SELECT taskex.return_assignment('m_ann', :a1);
SELECT taskex.extend_assignment('m_ann', :a1, '1 hour');
\set VERBOSITY default
SELECT performer, state, submitted_at, judged_at, result, feedback FROM taskex.task_results('m_req', :t1);
SELECT taskex.task_consensus('m_req', :t1);
-- in bulk, all or none
SELECT array_agg(assignment_id) AS bobs FROM taskex.assignments WHERE performer = 'm_bob' AND state = 'accepted' \gset
SELECT cardinality(:'bobs'::bigint[]);
\set VERBOSITY sqlstate
SELECT taskex.submit_assignments('m_bob', :'bobs', ARRAY['1', '2']::jsonb[]);
SELECT taskex.submit_assignments('m_bob', (:'bobs'::bigint[])[1:2] || :a1, ARRAY['1', '2', '3']::jsonb[]);
SELECT taskex.submit_assignments('m_bob', (:'bobs'::bigint[])[1:2] || (:'bobs'::bigint[])[1], ARRAY['1', '2', '3']::jsonb[]);
SELECT taskex.submit_assignments('m_bob', ARRAY[(:'bobs'::bigint[])[1], NULL], ARRAY['1', '2']::jsonb[]);
SELECT taskex.submit_assignments('m_bob', (:'bobs'::bigint[])[1:2], ARRAY['1', NULL]::jsonb[]);
\set VERBOSITY default
SELECT count(*) FROM taskex.assignments WHERE performer = 'm_bob' AND state = 'submitted';
SELECT taskex.submit_assignments('m_bob', '{}', '{}');
-- (in any order: each result goes to its id)
SELECT taskex.submit_assignments('m_bob', array_agg(id ORDER BY id DESC), array_agg(to_jsonb('r' || id) ORDER BY id DESC))
    FROM unnest(:'bobs'::bigint[]) id;
SELECT state, count(*), bool_and(result = to_jsonb('r' || assignment_id)) AS own_result
    FROM _taskex.result WHERE assignment_id = ANY (:'bobs') GROUP BY 1;
SELECT state, free_slots, in_progress, submitted FROM taskex.tasks WHERE task_id = :t1;
SELECT * FROM broken;

-- approving: paid at once, once
SELECT taskex.approve_assignment('m_req', :a1, 'well done');
SELECT * FROM money;
SELECT trim_scale(available - :fees) AS earned_fees FROM taskex.balance('exchange');
SELECT state, judged FROM taskex.tasks WHERE task_id = :t1;
SELECT performer, state, judged_at, feedback FROM taskex.task_results('m_req', :t1) ORDER BY performer;
\set VERBOSITY sqlstate
SELECT taskex.approve_assignment('m_req', :a1);
SELECT taskex.reject_assignment('m_req', :a1, 'too late');
SELECT taskex.approve_assignment('m_ann', :a1);
\set VERBOSITY default
SELECT kind, available, held, counterparty, subject_id = :a1 AS of_a1 FROM taskex.statement('m_ann');
SELECT kind, available, held, counterparty, subject_id = :a1 AS of_a1 FROM taskex.statement('m_req', max_rows => 2) ORDER BY kind;

-- rejecting: the money goes back
SELECT assignment_id AS b2 FROM taskex.assignments WHERE performer = 'm_bob' AND task_id = :t2 \gset
SELECT taskex.reject_assignment('m_req', :b2, 'not a picture');
SELECT performer, state, feedback FROM taskex.task_results('m_req', :t2);
SELECT state, free_slots, judged FROM taskex.tasks WHERE task_id = :t2;
SELECT * FROM money;
\set VERBOSITY sqlstate
SELECT taskex.approve_assignment('m_req', :b2);
SELECT taskex.accept_task('m_cid', :t2);
\set VERBOSITY default
-- ... or the slot is offered again
SELECT assignment_id AS b3 FROM taskex.assignments WHERE performer = 'm_bob' AND task_id = :t3 \gset
SELECT taskex.reject_assignment('m_req', :b3, 'again, please', reopen => true);
SELECT state, free_slots, judged FROM taskex.tasks WHERE task_id = :t3;
SELECT * FROM money;
SELECT * FROM taskex.accept_next('m_bob', :type);
SELECT task_id = :t3 AS reopened, assignment_id AS c3 FROM taskex.accept_next('m_cid', :type) \gset
SELECT :'reopened' AS reopened;
SELECT taskex.submit_assignment('m_cid', :c3, '"c"');
SELECT performer, state, feedback FROM taskex.task_results('m_req', :t3);
SELECT * FROM broken;

-- automatic approval, one day after submission
SET taskex.clock = '2101-01-02 01:00:00.999999+00';
SELECT what, count FROM taskex.run_due() WHERE what = 'results approved';
SET taskex.clock = '2101-01-02 01:00:01+00';
SELECT what, count FROM taskex.run_due() WHERE what = 'results approved';
SELECT what, count FROM taskex.run_due() WHERE what = 'results approved';
SELECT performer, state, count(*) FROM taskex.assignments WHERE requester = 'm_req' GROUP BY 1, 2 ORDER BY 1, 2;
SELECT performer, state, judged_at, feedback FROM taskex.task_results('m_req', :t3) ORDER BY 1;
SELECT * FROM money;
SELECT state, judged FROM taskex.tasks WHERE task_id IN (:t1, :t2, :t3) ORDER BY task_id;
SELECT * FROM broken;

-- expiry: nobody gets it, what is under way may be finished
SELECT taskex.create_task('m_req', :type, '"e"', 3, '30 minutes') AS e1 \gset
SELECT assignment_id AS ea FROM taskex.accept_task('m_ann', :e1) \gset
SELECT assignment_id AS eb FROM taskex.accept_task('m_bob', :e1) \gset
SELECT held FROM money WHERE login = 'm_req';
SET taskex.clock = '2101-01-02 01:30:01+00';
SELECT state, free_slots FROM taskex.tasks WHERE task_id = :e1;
\set VERBOSITY sqlstate
SELECT taskex.accept_task('m_cid', :e1);
\set VERBOSITY default
SELECT * FROM taskex.accept_next('m_cid', :type);
SELECT what, count FROM taskex.run_due() WHERE what = 'tasks expired';
SELECT held FROM money WHERE login = 'm_req';
SELECT state, performers, free_slots, in_progress FROM taskex.tasks WHERE task_id = :e1;
SELECT taskex.submit_assignment('m_ann', :ea, '"late but right"');
SELECT state FROM taskex.tasks WHERE task_id = :e1;
SELECT taskex.return_assignment('m_bob', :eb);
SELECT held FROM money WHERE login = 'm_req';
SELECT taskex.reject_assignment('m_req', :ea, 'no', reopen => true);
SELECT held FROM money WHERE login = 'm_req';
SELECT state FROM taskex.tasks WHERE task_id = :e1;
\set VERBOSITY sqlstate
SELECT taskex.accept_task('m_cid', :e1);
\set VERBOSITY default
SELECT * FROM broken;

-- expire_task: the same, at once
SELECT taskex.create_task('m_req', :type, '"x"', 2) AS x1 \gset
SELECT assignment_id AS xa FROM taskex.accept_next('m_ann', :type) \gset
SELECT taskex.expire_task('m_req', :x1);
SELECT state, free_slots, in_progress FROM taskex.tasks WHERE task_id = :x1;
\set VERBOSITY sqlstate
SELECT taskex.expire_task('m_req', :x1);
SELECT taskex.expire_task('m_ann', :x1);
SELECT taskex.accept_task('m_bob', :x1);
\set VERBOSITY default
SELECT * FROM taskex.accept_next('m_bob', :type);
SELECT taskex.submit_assignment('m_ann', :xa, '1');
SELECT taskex.approve_assignment('m_req', :xa);
SELECT state, judged FROM taskex.tasks WHERE task_id = :x1;
SELECT * FROM money;
-- a lease that ends after the task has expired gives its money back
SELECT taskex.create_task('m_req', :type, '"y"') AS y1 \gset
SELECT assignment_id AS ya FROM taskex.accept_task('m_ann', :y1) \gset
SELECT taskex.expire_task('m_req', :y1);
SELECT held FROM money WHERE login = 'm_req';
SET taskex.clock = '2101-01-03 00:00:00+00';
SELECT what, count FROM taskex.run_due() WHERE what = 'leases ended';
SELECT held FROM money WHERE login = 'm_req';
-- tasks of no reward go the same way
SELECT taskex.create_task_type('m_req', 'Volunteers', 0, auto_approve => '0') AS nothing \gset
SELECT taskex.create_task('m_req', :nothing, '1', 4, '1 day') AS n1 \gset
SELECT assignment_id AS na FROM taskex.accept_task('m_ann', :n1) \gset
SELECT assignment_id AS nb FROM taskex.accept_task('m_bob', :n1) \gset
SELECT assignment_id AS nc FROM taskex.accept_task('m_cid', :n1) \gset
SELECT taskex.submit_assignment('m_ann', :na, '1'), taskex.submit_assignment('m_bob', :nb, '1'), taskex.submit_assignment('m_cid', :nc, '1');
SELECT taskex.approve_assignment('m_req', :na);
SELECT taskex.reject_assignment('m_req', :nb, 'no');
SELECT what, count FROM taskex.run_due() WHERE what = 'results approved';
SET taskex.clock = '2101-01-04 00:00:00+00';
SELECT what, count FROM taskex.run_due() WHERE what = 'tasks expired';
SELECT performer, state FROM taskex.task_results('m_req', :n1) ORDER BY 1;
SELECT * FROM broken;

-- plurality is a hard bound, and rejected slots count for good unless reopened
SELECT taskex.create_task('m_req', :type, '"p"', 2) AS p1 \gset
SELECT assignment_id AS pa FROM taskex.accept_task('m_ann', :p1) \gset
SELECT taskex.submit_assignment('m_ann', :pa, '1');
SELECT taskex.reject_assignment('m_req', :pa, 'no');
SELECT free_slots, judged, state FROM taskex.tasks WHERE task_id = :p1;
SELECT assignment_id AS pb FROM taskex.accept_task('m_bob', :p1) \gset
\set VERBOSITY sqlstate
SELECT taskex.accept_task('m_cid', :p1);
\set VERBOSITY default
SELECT taskex.submit_assignment('m_bob', :pb, '1');
SELECT state FROM taskex.tasks WHERE task_id = :p1;
SELECT taskex.approve_assignment('m_req', :pb);
SELECT state, judged FROM taskex.tasks WHERE task_id = :p1;
SELECT * FROM broken;

-- consensus
CREATE FUNCTION pg_temp.answered(method text, VARIADIC answers jsonb[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    type bigint := taskex.create_task_type('m_req', 'Consensus', 0);
    task bigint := taskex.create_task('m_req', type, '1', 10, consensus => method);
BEGIN
    FOR i IN 1..cardinality(answers) LOOP
        BEGIN
            PERFORM taskex.register_user('m_c' || i, partition => 'market_' || 1 + i % 2);
        EXCEPTION WHEN SQLSTATE 'TX002' THEN NULL;
        END;
        PERFORM taskex.submit_assignment('m_c' || i, a.assignment_id, answers[i], a.lease_token)
            FROM taskex.accept_task('m_c' || i, task) a;
    END LOOP;
    RETURN task;
END $$;
SELECT method, answers, taskex.task_consensus('m_req', pg_temp.answered(method, VARIADIC answers)) AS consensus
    FROM (VALUES ('majority', ARRAY['1', '2', '1']::jsonb[]), ('majority', ARRAY['1', '2']::jsonb[]),
        ('majority', ARRAY['{"a": 1, "b": [2]}', '{"b": [2], "a": 1.0}', '"x"']::jsonb[]),
        ('majority', ARRAY['null', 'null', '0']::jsonb[]), ('majority', ARRAY['1']::jsonb[]),
        ('majority', ARRAY['1', '1', '2', '2', '3']::jsonb[]),
        ('mean', ARRAY['1', '2', '4.5']::jsonb[]), ('mean', ARRAY['1', '"text"', '[9]', '3']::jsonb[]), ('mean', ARRAY['"text"']::jsonb[]),
        ('median', ARRAY['1', '100', '3']::jsonb[]), ('median', ARRAY['1', '2', '3', '100']::jsonb[]), ('median', ARRAY['true']::jsonb[]))
    v (method, answers);
-- one absurd number does not spoil a median
SELECT taskex.task_consensus('m_req', pg_temp.answered('median', '1e400', '2', '3.5')) AS consensus;
-- rejected results do not count
SELECT pg_temp.answered('majority', '1', '1', '2') AS cons \gset
SELECT taskex.reject_assignment('m_req', assignment_id, 'no') FROM taskex.task_results('m_req', :cons) WHERE performer = 'm_c1';
SELECT taskex.task_consensus('m_req', :cons);
SELECT taskex.reject_assignment('m_req', assignment_id, 'no') FROM taskex.task_results('m_req', :cons) WHERE performer = 'm_c2';
SELECT taskex.task_consensus('m_req', :cons);
SELECT taskex.create_task('m_req', :nothing, '1', 10) AS none, taskex.create_task('m_req', :nothing, '1', 10, consensus => 'mean') AS empty \gset
SELECT taskex.task_consensus('m_req', :empty);
\set VERBOSITY sqlstate
SELECT taskex.task_consensus('m_req', :none);
SELECT taskex.task_consensus('m_ann', :empty);
SELECT * FROM taskex.task_results('m_ann', :empty);
\set VERBOSITY default
SELECT * FROM taskex.task_results('m_req', :empty);

-- a long performance: hundreds of tasks through all performers, out of order
SELECT count(*) FROM taskex.create_tasks('m_req', :nothing, (SELECT array_agg(to_jsonb(i)) FROM generate_series(1, 400) i), 3);
DO $$
DECLARE
    who text;
    kind bigint := (SELECT task_type_id FROM taskex.task_types WHERE title = 'Volunteers');
    a record;
    got int;
BEGIN
    FOR round IN 1..60 LOOP
        got := 0;
        FOREACH who IN ARRAY ARRAY['m_ann', 'm_bob', 'm_cid', 'm_c1', 'm_c2', 'm_c3'] LOOP
            FOR a IN SELECT * FROM taskex.accept_next(who, kind, 1 + round % 30) LOOP
                got := got + 1;
                IF (a.input::int * 3 + ascii(right(who, 1))) % 7 = 0 THEN
                    PERFORM taskex.return_assignment(who, a.assignment_id);
                ELSE
                    PERFORM taskex.submit_assignment(who, a.assignment_id, to_jsonb(who), a.lease_token);
                END IF;
            END LOOP;
            COMMIT;
        END LOOP;
        EXIT WHEN got = 0;
    END LOOP;
END $$;
-- nobody who could have a free slot was passed by
SELECT count(*) AS passed_by FROM taskex.tasks t JOIN taskex.task_types y USING (task_type_id),
        unnest(ARRAY['m_ann', 'm_bob', 'm_cid', 'm_c1', 'm_c2', 'm_c3']) who
    WHERE y.title = 'Volunteers' AND t.performers = 3 AND t.free_slots > 0
        AND NOT EXISTS (SELECT FROM taskex.assignments a WHERE a.task_id = t.task_id AND a.performer = who);
SELECT count(*) > 390 AS most_are_taken FROM taskex.tasks t JOIN taskex.task_types y USING (task_type_id)
    WHERE y.title = 'Volunteers' AND t.performers = 3 AND t.free_slots = 0;
SELECT what, count > 1000 AS many FROM taskex.run_due() WHERE what = 'results approved';
SELECT * FROM broken;

-- the end: everything is paid or back
SELECT count(taskex.expire_task(requester, task_id)) > 0 AS closed FROM taskex.tasks WHERE requester LIKE 'm\_%' AND state = 'available';
SET taskex.clock = '2104-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT * FROM money;
SELECT trim_scale(sum(available) + sum(held) + (SELECT available - :fees FROM taskex.balance('exchange'))) AS total FROM money;
SELECT state, count(*) FROM taskex.tasks WHERE requester = 'm_req' AND state NOT IN ('complete', 'expired') GROUP BY 1;
SELECT * FROM broken;
