-- Answers: results combined when they are submitted, and plurality that ends when they are sure.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET taskex.exchange_fee = 0.2;
SET taskex.clock = '2106-01-01 00:00:00+00';
SELECT taskex.add_partition('answers_' || i) > 0 AS added FROM generate_series(1, 2) i;
SELECT count(taskex.register_user('an_' || i, partition => 'answers_' || 1 + i % 2)) FROM generate_series(1, 12) i;
SELECT taskex.register_user('an_req', partition => 'answers_1') > 0 AS req, taskex.register_user('an_oth', partition => 'answers_1') > 0 AS oth;
SELECT taskex.deposit('an_req', 1000, 'answers') > 0 AS deposited;
SELECT taskex.create_task_type('an_req', 'Answers', 1, lease => '1 hour') AS type \gset

-- what the requester sees, and what he has held
CREATE VIEW pg_temp.broken AS SELECT * FROM taskex.check_market() WHERE NOT ok UNION ALL SELECT * FROM taskex.check_ledger() WHERE NOT ok;
CREATE FUNCTION pg_temp.answer(task bigint, who int, result jsonb) RETURNS void LANGUAGE sql AS $$
    SELECT taskex.submit_assignment('an_' || who, (taskex.accept_task('an_' || who, task)).assignment_id, result);
$$;
-- the same of one who was asked besides those who were needed
CREATE FUNCTION pg_temp.answer_too(task bigint, who int, result jsonb) RETURNS void LANGUAGE sql AS $$
    UPDATE _taskex.task t SET wanted = performers WHERE t.task_id = $1;
    SELECT taskex.submit_assignment('an_' || who, (taskex.accept_task('an_' || who, task)).assignment_id, result);
$$;
CREATE FUNCTION pg_temp.look(task bigint, OUT state text, OUT free int, OUT in_progress int, OUT submitted int, OUT judged int,
        OUT answer jsonb, OUT confidence numeric, OUT results int, OUT final boolean, OUT held numeric) LANGUAGE sql AS $$
    SELECT t.state, t.free_slots, t.in_progress, t.submitted, t.judged, a.answer, round(a.confidence::numeric, 4), a.results, a.final, b.held
    FROM taskex.tasks t, taskex.task_answer('an_req', task) a, taskex.balance('an_req') b WHERE t.task_id = task;
$$;

-- what cannot be asked for
CREATE TEMP TABLE bad (number int GENERATED ALWAYS AS IDENTITY, args text);
INSERT INTO bad (args) VALUES ('consensus => ''vote'''), ('consensus => ''majority'', performers => 1001'), ('consensus => ''mean'', performers => 1001'),
    ('min_performers => 1'), ('confidence => 0.9'), ('consensus => ''mean'', confidence => 0.9'), ('consensus => ''median'', min_performers => 1'),
    ('consensus => ''majority'', performers => 3, min_performers => 4'), ('consensus => ''majority'', performers => 3, min_performers => 0'),
    ('consensus => ''majority'', performers => 3, min_performers => -1'), ('consensus => ''one_coin'', performers => 3, min_performers => 4, confidence => 0.9'),
    ('consensus => ''one_coin'', performers => 3, min_performers => 2'), ('consensus => ''majority'', confidence => 0'), ('consensus => ''majority'', confidence => 1.01'),
    ('consensus => ''majority'', confidence => -1'), ('consensus => ''majority'', confidence => ''NaN'''), ('consensus => ''one_coin'', confidence => 1'),
    ('consensus => ''one_coin'', confidence => ''Infinity''');
\getenv tests PG_ABS_SRCDIR
\set try :tests '/sql/include/try.sql'
\set ECHO none
\i :try
\set ECHO all
SELECT args, pg_temp.try(format('SELECT taskex.create_task(''an_req'', %s, ''1'', %s)', :type, args)) AS says FROM bad ORDER BY number;
SELECT args, pg_temp.try(format('SELECT taskex.create_tasks(''an_req'', %s, ARRAY[''1'']::jsonb[], %s)', :type, args)) AS says FROM bad ORDER BY number LIMIT 3;
SELECT held FROM taskex.balance('an_req');

-- a majority, as results come
SELECT taskex.create_task('an_req', :type, '1', 5, consensus => 'majority') AS t \gset
SELECT * FROM pg_temp.look(:t);
SELECT pg_temp.answer(:t, 1, '"cat"');
SELECT * FROM pg_temp.look(:t);
SELECT pg_temp.answer(:t, 2, '"dog"');
SELECT * FROM pg_temp.look(:t);
SELECT pg_temp.answer(:t, 3, '"dog"');
SELECT * FROM pg_temp.look(:t);
SELECT jsonb_pretty(tally) FROM taskex.task_answer('an_req', :t);
-- a rejection counts at once, and a slot that is offered again is used again
SELECT taskex.reject_assignment('an_req', assignment_id, 'no', true) FROM taskex.task_results('an_req', :t) WHERE performer = 'an_3';
SELECT * FROM pg_temp.look(:t);
SELECT pg_temp.answer(:t, 4, '"cat"');
SELECT pg_temp.answer(:t, 5, '"cat"');
SELECT pg_temp.answer(:t, 6, '{"other": [1.0]}');
SELECT * FROM pg_temp.look(:t);
SELECT taskex.task_consensus('an_req', :t);
SELECT jsonb_pretty(tally) FROM taskex.task_answer('an_req', :t);
SELECT count(*) AS approved FROM (SELECT taskex.approve_assignment('an_req', assignment_id) FROM taskex.task_results('an_req', :t) WHERE state = 'submitted') a;
SELECT * FROM pg_temp.look(:t);

-- a threshold: so large a share, or no answer
SELECT taskex.create_task('an_req', :type, '1', 4, consensus => 'majority', confidence => 0.75) AS t \gset
SELECT pg_temp.answer(:t, i, CASE i WHEN 2 THEN '"b"' ELSE '"a"' END::jsonb) FROM generate_series(1, 3) i;
SELECT * FROM pg_temp.look(:t);
SELECT pg_temp.answer(:t, 4, '"a"');
SELECT * FROM pg_temp.look(:t);
-- one below a half: the leader must still be alone
SELECT taskex.create_task('an_req', :type, '1', 5, consensus => 'majority', confidence => 0.4) AS t \gset
SELECT pg_temp.answer(:t, i, to_jsonb(i % 2)) FROM generate_series(1, 4) i;
SELECT * FROM pg_temp.look(:t);
SELECT pg_temp.answer(:t, 5, '7');
SELECT taskex.task_consensus('an_req', :t);

-- numbers are exact, also when all at once
SELECT taskex.create_task('an_req', :type, '1', 4, consensus => 'mean') AS t \gset
SELECT taskex.submit_assignments('an_1', array_agg(a.assignment_id), array_agg('0.1'::jsonb)) FROM taskex.accept_task('an_1', :t) a;
SELECT pg_temp.answer(:t, 2, '0.2');
SELECT pg_temp.answer(:t, 3, '1e400');
SELECT answer = ((1e400 + 0.3) / 3)::text::jsonb AS exact, confidence, results, final, tally FROM taskex.task_answer('an_req', :t);

-- a dynamic plurality by majority: 3 of 5 that agree are enough, the rest goes back
SELECT taskex.create_task('an_req', :type, '1', 5, consensus => 'majority', min_performers => 2) AS t \gset
SELECT pg_temp.answer(:t, 1, '"x"');
SELECT pg_temp.answer(:t, 2, '"x"');
SELECT * FROM pg_temp.look(:t);
SELECT (taskex.accept_task('an_9', :t)).assignment_id AS late \gset
SELECT available AS before FROM taskex.balance('an_req') \gset
SELECT pg_temp.answer_too(:t, 3, '"x"');
SELECT * FROM pg_temp.look(:t);
SELECT available - :before AS given_back FROM taskex.balance('an_req');
SELECT pg_temp.try(format('SELECT taskex.accept_task(''an_10'', %s)', :t));
SELECT pg_temp.try(format('SELECT taskex.expire_task(''an_req'', %s)', :t));
SELECT count(*) AS offered FROM taskex.accept_next('an_10', :type) a WHERE a.task_id = :t;
-- who was under way is welcome, and is paid
SELECT taskex.submit_assignment('an_9', :late, '"y"');
SELECT * FROM pg_temp.look(:t);
SELECT taskex.reject_assignment('an_req', assignment_id, 'no', true) FROM taskex.task_results('an_req', :t) WHERE performer = 'an_3';
SELECT * FROM pg_temp.look(:t);
SELECT count(*) AS approved FROM (SELECT taskex.approve_assignment('an_req', assignment_id) FROM taskex.task_results('an_req', :t) WHERE state = 'submitted') a;
SELECT * FROM pg_temp.look(:t);
SELECT * FROM pg_temp.broken;

-- never before the minimum; and decided too when nobody can win any more
SELECT taskex.create_task('an_req', :type, '1', 4, consensus => 'majority', min_performers => 4) AS t \gset
SELECT pg_temp.answer(:t, i, '1') FROM generate_series(1, 3) i;
SELECT * FROM pg_temp.look(:t);
SELECT taskex.create_task('an_req', :type, '1', 4, consensus => 'majority', min_performers => 1, confidence => 1) AS t \gset
SELECT pg_temp.answer(:t, 1, '1');
SELECT * FROM pg_temp.look(:t);
SELECT pg_temp.answer(:t, 2, '2');
SELECT * FROM pg_temp.look(:t);

-- returned and abandoned slots of a decided task are given up, the last one completes it
SELECT taskex.create_task('an_req', :type, '1', 5, consensus => 'majority', min_performers => 1) AS t \gset
SELECT (taskex.accept_task('an_7', :t)).assignment_id AS returned \gset
SELECT (taskex.accept_task('an_8', :t)).assignment_id AS abandoned \gset
SELECT pg_temp.answer_too(:t, i, '1') FROM generate_series(1, 3) i;
SELECT * FROM pg_temp.look(:t);
SELECT count(*) AS approved FROM (SELECT taskex.approve_assignment('an_req', assignment_id) FROM taskex.task_results('an_req', :t)) a;
SELECT * FROM pg_temp.look(:t);
SELECT taskex.return_assignment('an_7', :returned);
SELECT * FROM pg_temp.look(:t);
SELECT * FROM pg_temp.broken;
SET taskex.clock = '2106-01-01 02:00:00+00';
SELECT what, count > 0 AS some FROM taskex.run_due() WHERE what = 'leases ended';
SELECT * FROM pg_temp.look(:t);
SELECT * FROM pg_temp.broken;

-- so many are asked at a time as are enough if all agree: of five performers, three
CREATE FUNCTION pg_temp.offered(task bigint, OUT live int, OUT wanted int) LANGUAGE sql AS $$
    SELECT t.live, t.wanted FROM _taskex.task t WHERE t.task_id = $1;
$$;
CREATE FUNCTION pg_temp.accepts(task bigint, who int, OUT a bigint) LANGUAGE sql AS $$ SELECT (taskex.accept_task('an_' || who, task)).assignment_id $$;
SELECT taskex.create_task_type('an_req', 'Offered', 0) AS few \gset
SELECT taskex.create_task('an_req', :few, '1', 5, consensus => 'majority', min_performers => 1) AS t \gset
SELECT * FROM pg_temp.offered(:t);
SELECT a AS first FROM pg_temp.accepts(:t, 1) \gset
SELECT a AS second FROM pg_temp.accepts(:t, 2) \gset
SELECT a AS third FROM pg_temp.accepts(:t, 3) \gset
SELECT * FROM pg_temp.offered(:t);
SELECT count(*) FROM taskex.accept_next('an_4', :few);
SELECT pg_temp.try(format('SELECT taskex.accept_task(''an_4'', %s)', :t));
SELECT pg_temp.try(format('SELECT taskex.preview_task(''an_4'', %s)', :t));
-- one who agrees changes nothing, one who does not makes one more be asked, who has passed it before
SELECT taskex.submit_assignment('an_1', :first, '"a"');
SELECT count(*) FROM taskex.accept_next('an_4', :few);
SELECT taskex.submit_assignment('an_2', :second, '"b"');
SELECT * FROM pg_temp.offered(:t);
SELECT assignment_id AS fourth FROM taskex.accept_next('an_4', :few) \gset
SELECT count(*) FROM taskex.accept_next('an_5', :few);
-- a slot that is given back is offered again, and one whose lease ends
SELECT taskex.return_assignment('an_4', :fourth);
SELECT * FROM pg_temp.offered(:t);
SELECT task_id = :t AS this, assignment_id AS fifth FROM taskex.accept_next('an_5', :few) \gset
SELECT :'this' AS this;
SET taskex.clock = '2106-01-01 04:00:00+00';
SELECT what, count > 0 AS some FROM taskex.run_due() WHERE what = 'leases ended';
SELECT * FROM pg_temp.offered(:t);
SELECT a AS sixth FROM pg_temp.accepts(:t, 6) \gset
SELECT a AS seventh FROM pg_temp.accepts(:t, 7) \gset
SELECT count(*) FROM taskex.accept_next('an_8', :few);
-- who is rejected counts no more, whether or not his slot is offered again: two are needed, and at it
BEGIN;
SELECT taskex.reject_assignment('an_req', :first, 'no', true);
SELECT * FROM pg_temp.offered(:t);
ROLLBACK;
SELECT taskex.reject_assignment('an_req', :first, 'no');
SELECT * FROM pg_temp.offered(:t);
SELECT count(*) FROM taskex.accept_next('an_8', :few);
SELECT * FROM pg_temp.broken;
-- as many as there may be are asked for: more of them are
SELECT taskex.submit_assignment('an_6', :sixth, '"c"');
SELECT * FROM pg_temp.offered(:t);
SELECT taskex.add_performers('an_req', :t, 2);
SELECT * FROM pg_temp.offered(:t);
SELECT count(*) FROM taskex.accept_next('an_9', :few);
-- all results are in, and one more is asked for, or a slot is offered again: the answer is final no more, until that is in
SELECT taskex.create_task('an_req', :few, '1', 2, consensus => 'majority') AS t \gset
SELECT pg_temp.answer(:t, i, '1') FROM generate_series(1, 2) i;
SELECT final FROM taskex.task_answer('an_req', :t);
SELECT taskex.add_performers('an_req', :t, 1);
SELECT final FROM taskex.task_answer('an_req', :t);
SELECT pg_temp.answer(:t, 3, '1');
SELECT final FROM taskex.task_answer('an_req', :t);
SELECT taskex.reject_assignment('an_req', min(assignment_id), 'no', true) FROM taskex.task_results('an_req', :t);
SELECT final FROM taskex.task_answer('an_req', :t);
SELECT taskex.cancel_task('an_req', :t);
-- nobody is at it, and an override has made it sure: one more is asked, and then it is decided
SELECT taskex.create_task('an_req', :few, '1', 5, consensus => 'majority', min_performers => 1) AS t \gset
SELECT pg_temp.answer(:t, i, '1') FROM generate_series(1, 2) i;
SELECT taskex.reject_assignment('an_req', assignment_id, 'no', true) FROM taskex.task_results('an_req', :t);
SELECT * FROM pg_temp.offered(:t);
SELECT pg_temp.answer(:t, i, '1') FROM generate_series(3, 4) i;
SELECT taskex.approve_assignment('an_req', assignment_id, override => true) FROM taskex.task_results('an_req', :t) WHERE state = 'rejected';
SELECT * FROM pg_temp.offered(:t);
SELECT pg_temp.answer(:t, 5, '1');
SELECT state, wanted, live, released FROM _taskex.task WHERE task_id = :t;
-- with the one-coin model: the least, then what newcomers, or those who were here, make sure
SELECT taskex.create_task('an_req', :few, '1', 10, consensus => 'one_coin', confidence => 0.99) AS t \gset
SELECT * FROM pg_temp.offered(:t);
SELECT pg_temp.answer(:t, 1, 'true');
SELECT * FROM pg_temp.offered(:t);
SELECT pg_temp.answer(:t, 2, 'false');
SELECT * FROM pg_temp.offered(:t);
SELECT pg_temp.answer(:t, i, 'true') FROM generate_series(3, 4) i;
SELECT * FROM pg_temp.offered(:t);
-- never more than there may be; all at once if the least is so many
SELECT taskex.create_task('an_req', :few, '1', 3, consensus => 'one_coin', confidence => 0.999999, min_performers => 1) AS t \gset
SELECT pg_temp.answer(:t, 1, 'true');
SELECT * FROM pg_temp.offered(:t);
SELECT taskex.create_task('an_req', :few, '1', 4, consensus => 'majority', min_performers => 4) AS t \gset
SELECT * FROM pg_temp.offered(:t);
SELECT count(*) FROM taskex.create_tasks('an_req', :few, ARRAY['1', '2']::jsonb[], 7, consensus => 'majority', min_performers => 2, confidence => 0.8);
SELECT wanted, count(*) FROM _taskex.task WHERE task_type_id = :few AND performers = 7 AND live = 0 GROUP BY 1;
-- a task whose time was over is offered in the same way
SELECT taskex.create_task('an_req', :few, '1', 5, consensus => 'majority', min_performers => 1) AS t \gset
SELECT pg_temp.answer(:t, 1, '1');
SELECT taskex.expire_task('an_req', :t);
SELECT taskex.set_expiry('an_req', :t, '2106-02-01');
SELECT * FROM pg_temp.offered(:t);
SELECT * FROM pg_temp.broken;

-- undone with its transaction
SELECT taskex.create_task('an_req', :type, '1', 3, consensus => 'majority', min_performers => 1) AS t \gset
SELECT pg_temp.answer(:t, 1, '1');
BEGIN;
SELECT pg_temp.answer(:t, 2, '1');
SELECT * FROM pg_temp.look(:t);
ROLLBACK;
SELECT * FROM pg_temp.look(:t);
SELECT count(*) AS offered FROM taskex.accept_next('an_11', :type, 100) a WHERE a.task_id = :t;

-- one coin: performers of whom nothing is known are taken for 0.8 right (what they have been compared by is
-- counted by type: here, and below, a type for each task)
SELECT taskex.create_task_type('an_req', 'Coin 1', 1) AS coin1, taskex.create_task_type('an_req', 'Coin 2', 1) AS coin2 \gset
SELECT taskex.create_task('an_req', :coin1, '1', 10, consensus => 'one_coin', confidence => 0.95) AS t \gset
SELECT pg_temp.answer(:t, 1, '"yes"');
SELECT pg_temp.answer(:t, 2, '"no"');
SELECT * FROM pg_temp.look(:t);
SELECT pg_temp.answer(:t, 3, '"yes"');
SELECT * FROM pg_temp.look(:t);
SELECT pg_temp.answer(:t, 4, '"yes"');
SELECT * FROM pg_temp.look(:t);
SELECT pg_temp.answer(:t, 5, '"yes"');
SELECT * FROM pg_temp.look(:t);
SELECT jsonb_pretty(tally) FROM taskex.task_answer('an_req', :t);
SELECT DISTINCT reliability FROM _taskex.result WHERE task_id = :t;
-- three are asked at least unless it is said otherwise, and the default is part of the request
SELECT min_performers, target FROM _taskex.task WHERE task_id = :t;
SELECT taskex.create_task('an_req', :type, '1', 2, consensus => 'one_coin', confidence => 0.9) AS t2 \gset
SELECT min_performers, target FROM _taskex.task WHERE task_id = :t2;
-- a format tells how many answers are possible
SELECT taskex.create_task_type('an_req', 'Four', 0, result_schema => '{"enum": ["n", "e", "s", "w"]}') AS four \gset
SELECT taskex.create_task('an_req', :four, '1', 10, consensus => 'one_coin') AS t \gset
SELECT pg_temp.answer(:t, i, '"n"') FROM generate_series(1, 2) i;
SELECT round(confidence::numeric, 4) = round(144 / 147.0, 4) AS of_four FROM taskex.task_answer('an_req', :t);
-- without a confidence all are asked
SELECT taskex.create_task('an_req', :coin2, '1', 5, consensus => 'one_coin') AS t \gset
SELECT pg_temp.answer(:t, i, '1') FROM generate_series(1, 5) i;
SELECT * FROM pg_temp.look(:t);
-- an idempotency key stands for the plurality too
SELECT taskex.create_task('an_req', :type, '1', 5, consensus => 'majority', idempotency_key => 'dynamic', min_performers => 2) AS k \gset
SELECT taskex.create_task('an_req', :type, '1', 5, consensus => 'majority', idempotency_key => 'dynamic', min_performers => 2) = :k AS same;
SELECT pg_temp.try(format('SELECT taskex.create_task(''an_req'', %s, ''1'', 5, consensus => ''majority'', idempotency_key => ''dynamic'')', :type));
SELECT pg_temp.try(format('SELECT taskex.create_task(''an_req'', %s, ''1'', 5, consensus => ''majority'', idempotency_key => ''dynamic'', min_performers => 2, confidence => 0.6)', :type));
-- in bulk
SELECT count(*) FROM taskex.create_tasks('an_req', :type, ARRAY['1', '2']::jsonb[], 3, consensus => 'majority', min_performers => 1, confidence => 0.5);
SELECT count(*), min(min_performers), min(target) FROM _taskex.task WHERE input IN ('1', '2') AND target = 0.5;

-- long results are compared too, and left out of the tally
SELECT taskex.create_task('an_req', :type, '1', 3, consensus => 'majority') AS t \gset
SELECT pg_temp.answer(:t, i, to_jsonb(repeat('long ', 10000) || CASE i WHEN 2 THEN 2 ELSE 1 END)) FROM generate_series(1, 3) i;
SELECT length(answer ->> 0) AS length, right(answer ->> 0, 1) AS ending, round(confidence::numeric, 3) AS confidence, tally FROM taskex.task_answer('an_req', :t);

-- many at once
SELECT count(*) > 10 AS many, count(*) FILTER (WHERE state = 'decided') > 0 AS decided, bool_and(task_id > 0) AS ids
    FROM taskex.task_answers('an_req', :type);
SELECT task_id = :t AS this, state, length(answer ->> 0), results, final FROM taskex.task_answers('an_req', :type, :t - 1, 1);
SELECT count(*) FROM taskex.task_answers('an_oth', :type);
SELECT pg_temp.try(format('SELECT * FROM taskex.task_answer(''an_oth'', %s)', :t));
SELECT pg_temp.try('SELECT * FROM taskex.task_answer(''an_req'', 0)');
SELECT pg_temp.try(format('SELECT * FROM taskex.task_answer(''an_req'', %s)', taskex.create_task('an_req', :type, '1')));
SELECT pg_temp.try(format('SELECT * FROM taskex.task_answers(''an_req'', %s, 0, %s)', :type, rows)) FROM unnest(ARRAY[0, 10001]) rows;
SELECT pg_temp.try('SELECT * FROM taskex.task_answers(''an_req'', 0)');
SELECT * FROM pg_temp.broken;

-- how reliable performers are: what each is compared by, folded by the dispatch
CREATE FUNCTION pg_temp.reliable(type bigint) RETURNS TABLE (performer text, agreed numeric, compared float8) LANGUAGE sql AS $$
    SELECT d.login, round(r.agreed::numeric, 4), r.compared FROM _taskex.reliability r JOIN _taskex.directory d ON d.user_id = r.performer_id
    WHERE r.task_type_id = type ORDER BY 1;
$$;
SELECT taskex.create_task_type('an_req', 'Reliable', 0) AS rel \gset
-- a fixed plurality: all when the last result has come, nobody before
SELECT taskex.create_task('an_req', :rel, '1', 3, consensus => 'majority') AS t \gset
SELECT pg_temp.answer(:t, i, '"a"') FROM generate_series(1, 2) i;
SELECT count(*) >= 0 AS done FROM taskex.run_due();
SELECT * FROM pg_temp.reliable(:rel);
SELECT pg_temp.answer(:t, 3, '"b"');
SELECT count(*) >= 0 AS done FROM taskex.run_due();
SELECT * FROM pg_temp.reliable(:rel);
-- each as the others see him: of two newcomers one agrees and one does not; or both, at odds of 4 each, are against him
SELECT 0.5 AS of_two, round(1 / (1 + 4 * 4.0), 4) AS contradicted;
-- once: approving changes nothing, nor does a second dispatch; a rejection neither
SELECT count(*) FROM (SELECT taskex.reject_assignment('an_req', assignment_id, 'no') FROM taskex.task_results('an_req', :t) WHERE performer = 'an_3') r;
SELECT count(*) >= 0 AS done FROM taskex.run_due();
SELECT sum(compared) FROM pg_temp.reliable(:rel);
-- a dynamic one: when it is decided, and who comes later alone
SELECT taskex.create_task('an_req', :rel, '2', 5, consensus => 'majority', min_performers => 1) AS t \gset
SELECT (taskex.accept_task('an_5', :t)).assignment_id AS late \gset
SELECT pg_temp.answer_too(:t, i, '"a"') FROM generate_series(1, 3) i;
SELECT taskex.submit_assignment('an_5', :late, '"a"');
SELECT count(*) >= 0 AS done FROM taskex.run_due();
SELECT performer, compared, agreed > compared / 2 AS well FROM pg_temp.reliable(:rel);
-- golden tasks by the known answer
SELECT taskex.create_golden_task('an_req', :rel, '3', '"right"') AS g \gset
SELECT pg_temp.answer(:g, i, CASE i WHEN 6 THEN '"right"' ELSE '"wrong"' END::jsonb) FROM generate_series(6, 7) i;
SELECT count(*) >= 0 AS done FROM taskex.run_due();
SELECT * FROM pg_temp.reliable(:rel) WHERE performer IN ('an_6', 'an_7');
-- the next answers use it: one who was right outweighs a newcomer, who outweighs one who was wrong
SELECT taskex.create_task('an_req', :rel, '4', 3, consensus => 'one_coin') AS t \gset
SELECT pg_temp.answer(:t, 6, '"good"');
SELECT pg_temp.answer(:t, 7, '"bad"');
SELECT answer, round(confidence::numeric, 4) AS confidence, round(5 / (5 + 2.0), 4) AS odds_of_5_and_2 FROM taskex.task_answer('an_req', :t);
SELECT performer, round(reliability::numeric, 4) AS reliability FROM _taskex.result JOIN taskex.assignments USING (assignment_id) WHERE _taskex.result.task_id = :t ORDER BY 1;
-- numbers compare nobody
SELECT taskex.create_task('an_req', :rel, '5', 2, consensus => 'mean') AS t \gset
SELECT pg_temp.answer(:t, i, to_jsonb(i)) FROM generate_series(8, 9) i;
SELECT count(*) >= 0 AS done FROM taskex.run_due();
SELECT count(*) FROM pg_temp.reliable(:rel) WHERE performer IN ('an_8', 'an_9');
