-- Recommendations: what is shown, what is learned from what is chosen, what is forgotten.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.exchange_fee = 0;
SET taskex.clock = '2129-01-01 00:00:00+00';
SELECT count(*) > 0 AS ran FROM taskex.run_due();
-- other tests have worked too
DELETE FROM _taskex.shown;
DELETE FROM _taskex.appeal;
DELETE FROM _taskex.recommend_model;
SELECT taskex.add_partition('recommend_1') > 0 AS p1, taskex.add_partition('recommend_2') > 0 AS p2;
SELECT count(taskex.register_user(l, profile, partition)) FROM (VALUES ('re_zoo', '{}'::jsonb, 'recommend_1'), ('re_bank', '{}', 'recommend_2'),
    ('re_ann', '{"location": "FR", "age": 30}', 'recommend_1'), ('re_bob', '{"location": "FR"}', 'recommend_2'),
    ('re_cid', '{"location": "US", "age": 30}', 'recommend_1'), ('re_dan', '{"age": [1]}', 'recommend_1')) u (l, profile, partition);
SELECT count(taskex.deposit(l, 100000, l)) FROM unnest(ARRAY['re_zoo', 're_bank']) l;
CREATE TEMP TABLE kind (name text PRIMARY KEY, id bigint);
INSERT INTO kind VALUES ('cats', taskex.create_task_type('re_zoo', 'Re cats', 30)), ('dogs', taskex.create_task_type('re_zoo', 'Re dogs', 20)),
    ('bills', taskex.create_task_type('re_bank', 'Re bills', 10)),
    ('secret', taskex.create_task_type('re_bank', 'Re secret', 40, qualifications => '[{"qualification": "location", "comparator": "=", "value": "US-MOON"}]'));
CREATE FUNCTION pg_temp.kind(which text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT id FROM kind WHERE name = which';
SELECT count(t) FROM kind, taskex.create_tasks(CASE WHEN name IN ('cats', 'dogs') THEN 're_zoo' ELSE 're_bank' END, id, array_fill('1'::jsonb, ARRAY[100]), 3,
    '200 days') t;
SELECT count(*) > 0 AS ran FROM taskex.run_due();

-- what is there of ours, in order
CREATE FUNCTION pg_temp.first(who text, max_rows int = 100) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s/%s', title, requester), ', ' ORDER BY rank) FROM taskex.recommend_tasks(who, max_rows) WHERE title LIKE 'Re %' $$;
CREATE FUNCTION pg_temp.do(who text, what text) RETURNS void LANGUAGE sql AS $$
    SELECT taskex.submit_assignment(who, assignment_id, '1') FROM taskex.accept_next(who, pg_temp.kind(what)) $$;
CREATE FUNCTION pg_temp.learned() RETURNS bigint LANGUAGE sql AS 'SELECT choices FROM _taskex.recommend_state()';
CREATE FUNCTION pg_temp.pass(period interval) RETURNS void LANGUAGE sql AS
    $$ SELECT set_config('taskex.clock', (_taskex.now() + period)::text, false); SELECT count(*) FROM taskex.run_due() $$;

-- nothing is known: by reward. Not what he may not accept, not his own.
SELECT pg_temp.first('re_ann');
SELECT pg_temp.first('re_zoo') AS not_his_own;
SELECT title, reward, available, task_id IS NOT NULL AS task, score BETWEEN 0 AND 1 AS score,
        (SELECT count(*) FROM jsonb_object_keys(factors)) AS factors, factors -> 'novelty' ->> 'value' AS novelty
    FROM taskex.recommend_tasks('re_ann', 100) WHERE title = 'Re cats';
SELECT max(rank) <= 2 AS limited FROM taskex.recommend_tasks('re_ann', 2);
SELECT sum(score) BETWEEN 0.1 AND 1.000001 AS chances FROM taskex.recommend_tasks('re_ann', 100);

-- what he chose from what he was shown is learned, and first the next time
SELECT pg_temp.do('re_ann', 'bills');
SELECT pg_temp.learned() AS not_yet;
SELECT pg_temp.pass('1 minute');
SELECT pg_temp.learned();
SELECT whose = '' AS everybody, y.title, d.login, shown, round(chosen::numeric, 3) AS chosen, round(done::numeric, 3) AS done
    FROM _taskex.appeal JOIN taskex.task_types y USING (task_type_id) LEFT JOIN _taskex.directory d ON d.user_id = requester_id
    WHERE y.title LIKE 'Re %' AND whose IN ('', 'location:FR') ORDER BY 1 DESC, 2, 3 NULLS FIRST;
SELECT pg_temp.first('re_ann');
SELECT factors -> 'own_rate' ->> 'effect' > '0' AS own, factors -> 'own_recent' ->> 'value' AS recent, factors -> 'own_requester' ->> 'value' AS requester,
    task_id IS NULL AS had FROM taskex.recommend_tasks('re_ann', 100) WHERE title = 'Re bills';
-- those who are like him get it too, more than others
SELECT _taskex.circles(_taskex.user_id(l)) AS circles FROM unnest(ARRAY['re_ann', 're_bob', 're_cid', 're_dan']) l;
SELECT pg_temp.first('re_bob') AS alike;
SELECT (SELECT score FROM taskex.recommend_tasks('re_bob', 100) WHERE title = 'Re bills')
    > (SELECT score FROM taskex.recommend_tasks('re_cid', 100) WHERE title = 'Re bills') AS more;
SET taskex.supply_alike = ' age ,location';
SELECT _taskex.circles(_taskex.user_id('re_ann'));
RESET taskex.supply_alike;
SELECT taskex.create_group('re_group', ARRAY['re_cid']) > 0 AS made;
SELECT _taskex.circles(_taskex.user_id('re_cid')) = ARRAY['location:US', 'group:' || _taskex.group_id('re_group')] AS with_group;
SELECT taskex.drop_group('re_group');

-- one list teaches once; not what was accepted before it, more than an hour after it, or found elsewhere
CREATE FUNCTION pg_temp.accepted(who text, what text) RETURNS bigint LANGUAGE sql AS
    'SELECT assignment_id FROM taskex.accept_next(who, pg_temp.kind(what))';
SELECT pg_temp.do('re_ann', 'dogs');
SELECT pg_temp.pass('1 minute');
SELECT pg_temp.learned() AS from_the_last_list;
SELECT pg_temp.do('re_ann', 'dogs');
SELECT pg_temp.pass('1 minute');
SELECT pg_temp.learned() AS once;
SELECT pg_temp.accepted('re_cid', 'dogs') AS early \gset
SELECT pg_temp.pass('1 minute');
SELECT count(*) > 2 AS shown FROM taskex.recommend_tasks('re_cid', 100);
SELECT taskex.submit_assignment('re_cid', :early, '1');
SELECT pg_temp.pass('1 minute');
-- (dogs were on an earlier list of his)
SELECT pg_temp.learned() AS from_the_earlier_list;
SELECT pg_temp.pass('2 hours');
SELECT pg_temp.do('re_cid', 'cats');
SELECT pg_temp.pass('1 minute');
SELECT pg_temp.learned() AS too_late;
SELECT count(*) AS shown FROM taskex.recommend_tasks('re_dan', 1);
SELECT pg_temp.do('re_dan', 'dogs');
SELECT pg_temp.pass('1 minute');
SELECT pg_temp.learned() AS one_is_no_choice;
-- what was given back was chosen too
SELECT count(*) > 2 AS shown FROM taskex.recommend_tasks('re_dan', 100);
SELECT taskex.return_assignment('re_dan', pg_temp.accepted('re_dan', 'cats'));
SELECT pg_temp.pass('1 minute');
SELECT pg_temp.learned() AS given_back;
-- nothing of it if it is undone
BEGIN;
SELECT count(*) > 2 AS shown FROM taskex.recommend_tasks('re_bob', 100);
ROLLBACK;
SELECT count(*) FROM _taskex.shown WHERE performer_id = _taskex.user_id('re_bob');

-- at most 20 lists of a performer, none in a transaction that only reads
SELECT count(*) FROM generate_series(1, 25) i, LATERAL (SELECT count(*) FROM taskex.recommend_tasks('re_bob', 3 + 0 * i)) n;
SELECT count(*) FROM _taskex.shown WHERE performer_id = _taskex.user_id('re_bob');
DELETE FROM _taskex.shown;
BEGIN READ ONLY;
SELECT count(*) AS shown FROM taskex.recommend_tasks('re_bob', 3);
COMMIT;
SELECT count(*) FROM _taskex.shown;

-- as events, to those who ask for them
SELECT taskex.subscribe('re_bob', '{recommended}'), taskex.subscribe('re_dan');
SELECT taskex.send_recommendations(max_rows => 2) AS sent;
SELECT taskex.send_recommendations(max_rows => 2) AS not_again;
SELECT pg_temp.pass('1 minute');
SELECT event, kind, jsonb_array_length(detail -> 'tasks') AS tasks, detail -> 'tasks' -> 0 ? 'title' AS title FROM taskex.read_events('re_bob');
SELECT taskex.send_recommendations('1 hour') AS too_early;
SELECT pg_temp.pass('1 hour');
SELECT taskex.send_recommendations('1 hour') AS again;
SELECT taskex.unsubscribe('re_bob'), taskex.unsubscribe('re_dan');

-- forgotten: lists after a week, counters after two months
SELECT pg_temp.pass('8 days');
SELECT count(*) > 0 AS lists FROM _taskex.shown;
SELECT pg_temp.do('re_ann', 'dogs');
SELECT pg_temp.pass('2 minutes');
SELECT count(*) AS lists FROM _taskex.shown;
SELECT count(*) > 0 AS kept FROM _taskex.appeal WHERE whose = 'location:FR';
SELECT count(*) > 0 AS faded FROM _taskex.appeal_now('location:FR', pg_temp.kind('bills'), 0, _taskex.now()) WHERE chosen BETWEEN 0.2 AND 0.4;
SELECT _taskex.fold_choices(ARRAY[ROW(1, '3', _taskex.now() + '61 days', _taskex.user_id('re_zoo'), _taskex.user_id('re_ann'),
    pg_temp.kind('cats'), 1, 1, 0, 'submitted', NULL)::_taskex.journal_act]);
SELECT count(*) AS kept FROM _taskex.appeal WHERE whose = 'location:FR';

-- where nobody asks, nothing is counted
DELETE FROM _taskex.appeal;
SELECT pg_temp.do('re_ann', 'dogs');
SELECT pg_temp.pass('1 minute');
SELECT (SELECT count(*) FROM _taskex.shown) AS lists, (SELECT count(*) FROM _taskex.appeal) AS counters;

-- learning stays in bounds, whatever comes in
SELECT _taskex.logit_chances('{1, 0}', '{0, 5, 0, 7}') AS equal;
SELECT round(c[1]::numeric, 4) AS more FROM _taskex.logit_chances('{1}', '{1, 0}') c;
SELECT _taskex.logit_chances('{NaN, Infinity}', '{NaN, 0, Infinity, 0}') AS no_number;
SELECT _taskex.logit_chances('{20}', '{Infinity, -Infinity}') AS far;
SELECT s[1] > 0 AS up, s[2] = 0 AS same, s[3] > 1 AS learned, s[4] AS not_learned FROM _taskex.logit_learn('{0, 0, 1, 1}', '{1, 3, 0, 3}', 1) s;
SELECT s[1] BETWEEN 0.2 AND 0.3 AS w1, s[2] BETWEEN 19 AND 20 AS w2, s[3] AS s1, s[4] AS s2
    FROM _taskex.logit_learn('{NaN, Infinity, NaN, -5}', '{NaN, 1e300, 2, -1e300}', 2) s;
-- extreme values, again and again
DO $$
DECLARE
    state float8[] := '{0, 0, 1, 1}';
BEGIN
    FOR i IN 1 .. 100000 LOOP
        state := _taskex.logit_learn(state, '{-20, 20, 20, 20}', CASE WHEN i % 2 = 0 THEN 2 ELSE 1 END);
    END LOOP;
    IF NOT abs(state[1]) < 1 OR abs(state[2]) > 1e-6 OR state[3] > 1000 THEN
        RAISE EXCEPTION 'out of bounds: %', state;
    END IF;
END $$;
SELECT _taskex.logit_learn('{0, 1}', '{1, 2}', 3);
SELECT _taskex.logit_learn('{0, 1}', '{}', 1);
SELECT _taskex.logit_chances('{1, 2}', '{1, 2, 3}');
-- a model of other factors (from another release) is not used
INSERT INTO _taskex.recommend_model SELECT max(number) + 1, '{1, 2, 3, 4}', 7, _taskex.now(), _taskex.now() FROM _taskex.recommend_model;
SELECT cardinality(state) > 4 AS prior, choices FROM _taskex.recommend_state();
SELECT name, weight = prior AS prior, choices FROM taskex.recommendation_factors WHERE name IN ('own_rate', 'busy');
DELETE FROM _taskex.recommend_model WHERE choices = 7;

-- bad input
SELECT taskex.recommend_tasks('re_nobody');
SELECT taskex.recommend_tasks(NULL);
SELECT taskex.recommend_tasks('re_ann', 0);
SELECT taskex.recommend_tasks('re_ann', 101);
SELECT taskex.recommend_tasks('re_ann', NULL);
SELECT taskex.send_recommendations('1 second');
SELECT taskex.send_recommendations(max_rows => 21);
SELECT taskex.send_recommendations(max_performers => 0);
SELECT taskex.send_recommendations(NULL);
SET taskex.supply_alike = 'a,b,c,d,e,f,g,h,i';
SET taskex.supply_alike = E'a\nb';
SELECT count(*) AS failed FROM taskex.failed_acts WHERE consumer = 'fold_choices';
SELECT count(taskex.cancel_tasks(r, id)) FROM kind CROSS JOIN unnest(ARRAY['re_zoo', 're_bank']) r;
SELECT count(*) > 0 AS ran FROM taskex.run_due();
