-- Finding work: catalogue, search, previews, saved searches, the choice of
-- accept_next, and what both sides see of their own.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.exchange_fee = 0;
SET taskex.clock = '2130-01-01 00:00:00+00';
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT taskex.add_partition('find_1') > 0 AS p1, taskex.add_partition('find_2') > 0 AS p2;
SELECT count(taskex.register_user(l, profile, partition)) FROM (VALUES ('fi_zoo', '{}'::jsonb, 'find_1'), ('fi_bank', '{}', 'find_2'),
    ('fi_ann', '{"location": "US-CA"}', 'find_1'), ('fi_bob', '{}', 'find_2'), ('fi_cid', '{}', 'find_1')) u (l, profile, partition);
SELECT count(taskex.deposit(l, 10000, l)) FROM unnest(ARRAY['fi_zoo', 'fi_bank']) l;
CREATE FUNCTION pg_temp.found(VARIADIC args text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    r text;
BEGIN
    EXECUTE format('SELECT string_agg(format(''%%s/%%s:%%s%%s'', title, requester, available, CASE WHEN qualified THEN '''' ELSE ''!'' END), '', '' ORDER BY n)'
        ' FROM taskex.search_tasks(%s) WITH ORDINALITY t (task_type_id, title, description, requester, reward, keywords, lease, available,'
        ' newest, qualified, missing, task_id, n)', array_to_string(args, ', ')) INTO r;
    RETURN coalesce(r, '-');
END $$;

-- types and tasks, a minute apart
CREATE TEMP TABLE kind (name text PRIMARY KEY, id bigint);
INSERT INTO kind VALUES
    ('cats', taskex.create_task_type('fi_zoo', 'Label cats', 0.05, 'Say whether the picture shows a cat', '{animals,images}')),
    ('dogs', taskex.create_task_type('fi_zoo', 'Label dogs', 0.10, 'Say whether the picture shows a dog', '{animals,images}')),
    ('receipts', taskex.create_task_type('fi_bank', 'Transcribe receipts', 0.25, 'Type what the receipt says; no cats', '{text}')),
    ('audio', taskex.create_task_type('fi_bank', 'Transcribe speech', 0.50, 'Type what is said', '{audio}'));
CREATE FUNCTION pg_temp.kind(which text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT id FROM kind WHERE name = which';
SELECT count(*) FROM taskex.create_tasks('fi_zoo', pg_temp.kind('cats'), array_fill('{"cat": 1}'::jsonb, ARRAY[100]), 3);
SET taskex.clock = '2130-01-01 00:01:00+00';
SELECT count(*) FROM taskex.create_tasks('fi_zoo', pg_temp.kind('dogs'), array_fill('{"dog": 1}'::jsonb, ARRAY[4]));
SET taskex.clock = '2130-01-01 00:02:00+00';
SELECT count(*) FROM taskex.create_tasks('fi_bank', pg_temp.kind('receipts'), array_fill('{"receipt": 1}'::jsonb, ARRAY[10]), 2);
-- the same type from two requesters
SELECT taskex.create_task('fi_zoo', pg_temp.kind('receipts'), '{"receipt": "zoo"}') > 0 AS zoo;
SELECT count(*) > 0 AS ran FROM taskex.run_due();

-- search
SELECT pg_temp.found('''fi_ann''') AS by_reward;
SELECT pg_temp.found('''fi_ann''', 'sort => ''newest''') AS by_time;
SELECT pg_temp.found('''fi_ann''', 'sort => ''available''') AS by_number;
SELECT pg_temp.found('''fi_ann''', '''labels''') AS stemmed, pg_temp.found('''fi_ann''', '''"label cats"''') AS phrase,
    pg_temp.found('''fi_ann''', '''cat -receipts''') AS without, pg_temp.found('''fi_ann''', '''dog or audio or text''') AS alternatives,
    pg_temp.found('''fi_ann''', '''the''') AS no_word, pg_temp.found('''fi_ann''', '''horse''') AS none;
-- a title counts for more than a description
SELECT pg_temp.found('''fi_ann''', '''cat''') AS by_relevance, pg_temp.found('''fi_ann''', '''cat''', 'sort => ''reward''') AS by_reward;
SELECT pg_temp.found('''fi_ann''', 'min_reward => 0.1', 'max_reward => 0.2') AS reward, pg_temp.found('''fi_ann''', 'from_requester => ''fi_bank''') AS requester,
    pg_temp.found('''fi_ann''', format('task_types => ARRAY[%s, %s]', pg_temp.kind('cats'), pg_temp.kind('audio'))) AS types,
    pg_temp.found('''fi_ann''', 'max_rows => 2', 'skip => 1') AS page, pg_temp.found('''fi_ann''', 'max_reward => -1') AS nothing;
SELECT pg_temp.found('''fi_zoo''') AS not_his_own;
SELECT title, description, requester, reward, keywords, lease, available, newest, qualified, missing, task_id IS NOT NULL AS task
    FROM taskex.search_tasks('fi_ann', 'cats', 1);
SELECT title, requester, reward, tasks, available, newest FROM taskex.task_catalogue WHERE requester LIKE 'fi\_%' ORDER BY 1, 2;

-- what is gone is not found, even before the conductor has counted it
SELECT count(*) FROM taskex.accept_next('fi_bob', pg_temp.kind('dogs'), 10);
SELECT pg_temp.found('''fi_ann''', '''dog''');
SELECT count(taskex.return_assignment('fi_bob', assignment_id)) FROM taskex.queue('fi_bob');
SELECT pg_temp.found('''fi_ann''', '''dog''');
SELECT count(taskex.expire_task('fi_zoo', task_id)) FROM taskex.tasks WHERE requester = 'fi_zoo' AND task_type_id = pg_temp.kind('dogs');
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT pg_temp.found('''fi_ann''', '''dog''') AS found, (SELECT slots - used FROM _taskex.catalogue WHERE task_type_id = pg_temp.kind('dogs')) AS open;
-- submitted, rejected and offered again
SELECT assignment_id AS a FROM taskex.accept_next('fi_bob', pg_temp.kind('cats')) \gset
SELECT taskex.submit_assignment('fi_bob', :a, '1');
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT slots - used AS open FROM _taskex.catalogue WHERE task_type_id = pg_temp.kind('cats');
SELECT taskex.reject_assignment('fi_zoo', :a, 'no', true);
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT slots - used AS open FROM _taskex.catalogue WHERE task_type_id = pg_temp.kind('cats');

-- previews
SELECT task_id AS t FROM taskex.search_tasks('fi_ann', 'speech or receipts', sort => 'reward', from_requester => 'fi_zoo') \gset
SELECT title, requester, reward, lease, expires_at, free_slots, input, qualified, missing FROM taskex.preview_task('fi_ann', :t);
SELECT count(*) FROM taskex.assignments WHERE task_id = :t;
SELECT count(*) AS own FROM taskex.preview_task('fi_zoo', :t);
SELECT count(*) FROM taskex.accept_task('fi_bob', :t);
SELECT free_slots FROM taskex.preview_task('fi_bob', :t);
-- a golden task is not told by how many it wants
BEGIN;
SELECT taskex.create_golden_task('fi_zoo', task_type_id, '{"receipt": "golden"}', '1', 100) AS golden FROM taskex.tasks WHERE task_id = :t \gset
SELECT free_slots AS before FROM taskex.preview_task('fi_ann', :golden);
SELECT count(*) FROM taskex.accept_task('fi_ann', :golden);
SELECT free_slots AS after, (SELECT free_slots FROM taskex.preview_task('fi_zoo', :golden)) AS to_requester FROM taskex.preview_task('fi_ann', :golden);
ROLLBACK;
DO $$ BEGIN PERFORM taskex.preview_task('fi_ann', (SELECT task_id FROM taskex.assignments WHERE performer = 'fi_bob' AND state = 'accepted'));
    EXCEPTION WHEN SQLSTATE 'TX104' THEN RAISE WARNING '%', regexp_replace(SQLERRM, '\d+', 'N'); END $$;
SELECT * FROM taskex.preview_task('fi_ann', 0);

-- saved searches
SELECT taskex.save_search('fi_cid', 'speech', 'speech', '{"min_reward": 0.4}'), taskex.save_search('fi_cid', 'all', NULL),
    taskex.save_search('fi_cid', 'dear', 'transcribe', '{"min_reward": 0.6}'), taskex.save_search('fi_cid', 'or', 'horse or said', '{}'),
    taskex.save_search('fi_cid', 'quiet', 'speech', '{}', false), taskex.save_search('fi_cid', 'not', 'type -said', '{}'),
    taskex.save_search('fi_cid', 'bank', NULL, '{"from_requester": "fi_bank", "sort": "newest"}'),
    taskex.save_search('fi_cid', 'type', 'said', jsonb_build_object('task_types', jsonb_build_array(pg_temp.kind('audio')))),
    taskex.save_search('fi_bank', 'own', NULL);
SELECT performer, name, query, notify FROM taskex.saved_searches WHERE performer LIKE 'fi\_%' AND name <> 'type' ORDER BY name;
SELECT title FROM taskex.run_search('fi_cid', 'bank');
CREATE TEMP TABLE heard (id bigint);
-- (what was not told before)
CREATE FUNCTION pg_temp.notices() RETURNS text LANGUAGE sql AS $$
    WITH told AS (
        SELECT a.id, d.login, a.detail ->> 'search' AS search, a.detail ->> 'count' AS count
        FROM _taskex.journal_act a JOIN _taskex.directory d ON d.user_id = a.performer_id
        WHERE a.kind = 'found' AND d.login LIKE 'fi\_%' AND a.task_type_id = pg_temp.kind('audio') AND a.id NOT IN (SELECT h.id FROM heard h)
    ), noted AS (INSERT INTO heard SELECT id FROM told)
    SELECT coalesce(string_agg(format('%s: %s of %s', login, search, count), ', ' ORDER BY login, search), '-') FROM told
$$;
SELECT taskex.create_task('fi_bank', pg_temp.kind('audio'), '{"clip": 1}', 2) AS clip \gset
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT pg_temp.notices();
-- not again while there is some, nor within the hour
SET taskex.clock = '2130-01-01 00:30:00+00';
SELECT taskex.create_task('fi_bank', pg_temp.kind('audio'), '{"clip": 2}') > 0 AS more;
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT count(taskex.expire_task('fi_bank', task_id)) FROM taskex.tasks WHERE task_type_id = pg_temp.kind('audio') AND state = 'available';
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT taskex.create_task('fi_bank', pg_temp.kind('audio'), '{"clip": 3}') > 0 AS more;
SELECT taskex.save_search('fi_ann', 'late', 'speech');
-- a whole number is one however it is written; too many are refused
SELECT taskex.save_search('fi_ann', 'whole', NULL, '{"task_types": [1.0]}'), taskex.drop_search('fi_ann', 'whole');
SELECT taskex.save_search('fi_ann', 'many', NULL, jsonb_build_object('task_types', array_fill(1234567, ARRAY[2000])));
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT pg_temp.notices();
SELECT count(taskex.expire_task('fi_bank', task_id)) FROM taskex.tasks WHERE task_type_id = pg_temp.kind('audio') AND state = 'available';
SELECT count(*) > 0 AS ran FROM taskex.run_due();
-- an hour after the first notice: those who were told later wait longer
SET taskex.clock = '2130-01-01 01:10:00+00';
SELECT taskex.create_task('fi_bank', pg_temp.kind('audio'), '{"clip": 4}') > 0 AS more;
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT pg_temp.notices();
SELECT count(*) AS waiting FROM _taskex.appearance;
SELECT taskex.drop_search('fi_cid', 'all');
SELECT taskex.drop_search('fi_cid', 'all');
SELECT * FROM taskex.run_search('fi_cid', 'all');

-- a performer's queue
SELECT count(*) FROM taskex.accept_next('fi_cid', pg_temp.kind('cats'), 2);
SELECT count(*) FROM taskex.search_tasks('fi_cid', 'receipts', from_requester => 'fi_bank') s, LATERAL taskex.accept_task('fi_cid', s.task_id);
SELECT taskex.extend_assignment('fi_cid', assignment_id, '30 min') FROM taskex.queue('fi_cid') WHERE title = 'Transcribe receipts';
SELECT title, requester, reward, input, lease_until, time_left FROM taskex.queue('fi_cid');
SELECT count(taskex.submit_assignment('fi_cid', assignment_id, '"yes"', lease_token)) FROM (SELECT * FROM taskex.queue('fi_cid') LIMIT 1) q;
SET taskex.clock = '2130-01-01 02:20:00+00';
SELECT title, time_left FROM taskex.queue('fi_cid');
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT title, time_left FROM taskex.queue('fi_cid');
SELECT * FROM taskex.queue('fi_bank');

-- both sides' views
SELECT requester, title, performer, submitted_at, auto_approve_at, result FROM taskex.reviewable WHERE requester LIKE 'fi\_%';
SELECT taskex.approve_assignment(requester, assignment_id, 'thanks') FROM taskex.reviewable WHERE requester = 'fi_zoo';
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT requester, title, tasks, slots, done, pending, available, in_progress, approved, rejected, returned, abandoned, given_up, cost, cost_to_come, rate, eta IS NOT NULL AS eta
    FROM taskex.batches WHERE requester LIKE 'fi\_%' ORDER BY requester, title;
SELECT title, requester, state, reward, judged_at, feedback FROM taskex.history('fi_cid');
SELECT count(*) FROM taskex.history('fi_cid', max_rows => 1) h, taskex.history('fi_cid', h.assignment_id, 1000);
SELECT performer, title, state, feedback FROM taskex.work_history WHERE performer LIKE 'fi\_%' ORDER BY performer, assignment_id;
SELECT performer, submitted, pending, approved, rejected, returned, abandoned, approval_percent, last_at FROM taskex.performer_profile
    WHERE performer LIKE 'fi\_%' AND last_at IS NOT NULL ORDER BY 1;
SELECT requester, performer, submitted, pending, approved, rejected, returned, abandoned, approval_percent, paid FROM taskex.requester_performers
    WHERE requester LIKE 'fi\_%' ORDER BY 1, 2;

-- the choice of accept_next: twelve types, of which the oldest pays least
SELECT count(taskex.expire_task(requester, task_id)) > 0 AS closed FROM taskex.tasks WHERE state = 'available';
INSERT INTO kind SELECT 'choice ' || i, taskex.create_task_type('fi_zoo', 'Choice ' || i, 0.01 * i) FROM generate_series(1, 12) i;
SELECT count(*) FROM generate_series(1, 12) i, LATERAL taskex.create_tasks('fi_zoo', pg_temp.kind('choice ' || i), array_fill('1'::jsonb, ARRAY[400 + 0 * i]));
CREATE TEMP TABLE chosen (n int GENERATED ALWAYS AS IDENTITY, task_type bigint);
DO $$
BEGIN
    FOR i IN 1 .. 400 LOOP
        INSERT INTO chosen (task_type) SELECT task_type FROM taskex.accept_next('fi_cid');
    END LOOP;
END $$;
-- he stays with one type, but for one call in sixteen, which goes to the oldest or any
SELECT count(*) FILTER (WHERE task_type = pg_temp.kind('choice 1')) > 0 AS oldest_too,
    max(n) FILTER (WHERE task_type = favourite) > 300 AND count(*) FILTER (WHERE task_type = favourite) >= 340 AS stays,
    count(DISTINCT task_type) > 2 AS any_other, favourite <> pg_temp.kind('choice 1') AS pays_better
FROM chosen, (SELECT mode() WITHIN GROUP (ORDER BY task_type) AS favourite FROM chosen) f GROUP BY favourite;
-- he goes on to another one when it is exhausted, and comes to the end of all
SELECT count(*) FROM taskex.accept_next('fi_cid', NULL, 1000);
-- what he has done before is worth more to him than what pays a little more
SELECT count(taskex.expire_task('fi_zoo', task_id)) > 0 AS closed FROM taskex.tasks WHERE state = 'available' AND requester = 'fi_zoo';
SELECT count(*) FROM taskex.create_tasks('fi_zoo', pg_temp.kind('choice 11'), array_fill('1'::jsonb, ARRAY[500]));
SELECT array_agg(assignment_id) AS done FROM taskex.accept_next('fi_ann', pg_temp.kind('choice 11'), 500) \gset
SELECT taskex.submit_assignments('fi_ann', :'done', array_fill('1'::jsonb, ARRAY[500])), taskex.approve_assignments('fi_zoo', :'done');
-- (so that it is not what he did last)
SELECT taskex.create_task('fi_zoo', pg_temp.kind('cats'), '1') > 0 AS last;
SELECT count(*) FROM taskex.accept_next('fi_ann', pg_temp.kind('cats'));
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT count(*) FROM generate_series(1, 12) i, LATERAL taskex.create_task('fi_zoo', pg_temp.kind('choice ' || i), '1', 1000) WHERE i NOT IN (1, 2);
CREATE FUNCTION pg_temp.choices(performer text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    name text;
    names text[] := '{}';
BEGIN
    FOR i IN 1 .. 40 LOOP
        BEGIN
            SELECT k.name INTO name FROM taskex.accept_next(performer) a JOIN kind k ON k.id = a.task_type;
            RAISE 'undo' USING ERRCODE = 'ZZ999';
        EXCEPTION WHEN SQLSTATE 'ZZ999' THEN
            names := names || name;
        END;
    END LOOP;
    RETURN (SELECT mode() WITHIN GROUP (ORDER BY n) FROM unnest(names) n);
END $$;
SELECT pg_temp.choices('fi_ann') AS by_history, pg_temp.choices('fi_bank') AS by_pay;

-- a type that he is not qualified for is passed by, found only on demand, and not taken
INSERT INTO kind VALUES ('guarded', taskex.create_task_type('fi_zoo', 'Guarded dragons', 9, qualifications =>
    '[{"qualification": "assignments_approved", "comparator": ">=", "value": 1000000}, {"qualification": "location", "comparator": "=", "value": "US", "guard": "preview"}]')),
    ('hidden', taskex.create_task_type('fi_zoo', 'Hidden dragons', 9, qualifications =>
    '[{"qualification": "location", "comparator": "in", "values": ["US-CA", "DE"], "guard": "discover"}]')),
    ('mobile', taskex.create_task_type('fi_zoo', 'Mobile dragons', 8, qualifications =>
    '[{"qualification": "device", "comparator": "=", "value": "phone"}]'));
SELECT taskex.create_task('fi_zoo', id, '"dragon"', 9) > 0 AS made FROM kind WHERE name IN ('guarded', 'hidden', 'mobile');
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT pg_temp.found('''fi_ann''', '''dragon''') AS ann, pg_temp.found('''fi_bob''', '''dragon''') AS bob,
    pg_temp.found('''fi_ann''', '''dragon''', 'only_qualified => false') AS ann_all, pg_temp.found('''fi_bob''', '''dragon''', 'only_qualified => false') AS bob_all;
SELECT pg_temp.found('''fi_bob''', '''dragon''', 'location => ''DE''', 'device => ''phone''') AS there, pg_temp.found('''fi_ann''', '''dragon''', 'location => ''fr''') AS abroad;
SELECT title, qualified, missing FROM taskex.search_tasks('fi_bob', 'dragon', only_qualified => false) ORDER BY 1;
SELECT title FROM taskex.task_catalogue WHERE title LIKE '%dragons' ORDER BY 1;
CREATE FUNCTION pg_temp.preview(performer text, which text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    d text;
    id bigint := (SELECT max(t.task_id) FROM taskex.tasks t WHERE t.task_type_id = pg_temp.kind(which));
BEGIN
    RETURN (SELECT format('%s %s %s', p.input, p.qualified, p.missing) FROM taskex.preview_task(performer, id) p);
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
    RETURN format('%s %s | %s', SQLSTATE, regexp_replace(SQLERRM, '\d+', 'N'), d);
END $$;
SELECT which, pg_temp.preview('fi_ann', which) AS ann, pg_temp.preview('fi_bob', which) AS bob FROM unnest(ARRAY['guarded', 'hidden', 'mobile']) which;
-- nor what blocks him
SELECT taskex.block_performer('fi_zoo', 'fi_ann', 'spam');
SELECT pg_temp.found('''fi_ann''', '''dragon''') AS blocked, pg_temp.preview('fi_ann', 'hidden') AS preview;
SELECT title, missing FROM taskex.search_tasks('fi_ann', 'hidden', only_qualified => false);
SELECT taskex.unblock_performer('fi_zoo', 'fi_ann');
SELECT pg_temp.found('''fi_ann''', '''dragon''');
-- golden tasks are not told from others
SELECT taskex.create_golden_task('fi_zoo', pg_temp.kind('hidden'), '"gold"', '"known"') AS golden \gset
SELECT input, pg_temp.kind('hidden') = task_type_id AS type, expires_at AS shown, free_slots FROM taskex.preview_task('fi_ann', :golden);
SELECT DISTINCT expires_at AS of_others FROM taskex.tasks WHERE task_type_id = pg_temp.kind('hidden');
SELECT expires_at AS own FROM taskex.preview_task('fi_zoo', :golden);
SELECT assignment_id AS a FROM taskex.accept_task('fi_ann', :golden) \gset
SELECT taskex.submit_assignment('fi_ann', :a, '"known"');
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT pg_temp.found('''fi_bob''', '''hidden dragon''', 'location => ''DE''');
SELECT tasks, slots - used AS open, golden FROM _taskex.catalogue WHERE task_type_id = pg_temp.kind('hidden');
-- to their requester they are no part of the work
SELECT tasks, slots, done, pending, available, given_up, cost, cost_to_come FROM taskex.batches WHERE requester = 'fi_zoo' AND task_type_id = pg_temp.kind('hidden');
SELECT taskex.approve_assignment('fi_zoo', :a);
SELECT count(taskex.expire_task('fi_zoo', :golden));
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT tasks, slots, done, pending, available, given_up, cost, cost_to_come FROM taskex.batches WHERE requester = 'fi_zoo' AND task_type_id = pg_temp.kind('hidden');
-- sums that have stopped: a figure all the same, and none where it would be wrong
BEGIN;
UPDATE _taskex.progress SET held = 9000000000000000000, paid = 9000000000000000000, fees = 9000000000000000000, bonuses = 9000000000000000000
    WHERE requester_id = _taskex.user_id('fi_zoo') AND task_type_id = pg_temp.kind('hidden');
SELECT cost, cost_to_come FROM taskex.batches WHERE requester = 'fi_zoo' AND task_type_id = pg_temp.kind('hidden');
ROLLBACK;
SELECT tasks, slots, submitted, approved, released_slots, held > 0 AS held FROM _taskex.progress WHERE task_type_id = -pg_temp.kind('hidden');

-- what is decided gives up its slots
INSERT INTO kind VALUES ('decided', taskex.create_task_type('fi_zoo', 'Decide', 0));
SELECT taskex.create_task('fi_zoo', pg_temp.kind('decided'), '1', 5, consensus => 'majority', min_performers => 2) > 0 AS made;
SELECT count(taskex.submit_assignment(p, a.assignment_id, '"yes"')) FROM unnest(ARRAY['fi_ann', 'fi_bob', 'fi_cid']) p, LATERAL taskex.accept_next(p, pg_temp.kind('decided')) a;
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT slots, used FROM _taskex.catalogue WHERE task_type_id = pg_temp.kind('decided');

-- a search, the queue and the views do not read what is finished, however much it is
-- (one more than the queue remembers below its floor is open all the time)
SELECT count(taskex.return_assignment('fi_ann', assignment_id)) FROM taskex.queue('fi_ann');
INSERT INTO kind VALUES ('long', taskex.create_task_type('fi_zoo', 'Long work', 0, lease => '300 days'));
SELECT count(*) FROM taskex.create_tasks('fi_zoo', pg_temp.kind('long'), array_fill('"long"'::jsonb, ARRAY[17]));
SELECT count(*) FROM taskex.accept_next('fi_ann', pg_temp.kind('long'), 17);
INSERT INTO kind VALUES ('much', taskex.create_task_type('fi_zoo', 'Much work', 0));
SELECT count(*) FROM taskex.create_tasks('fi_zoo', pg_temp.kind('much'), array_fill('"old"'::jsonb, ARRAY[3000]));
DO $$
DECLARE
    done bigint[];
BEGIN
    FOR i IN 1 .. 3 LOOP
        done := ARRAY(SELECT assignment_id FROM taskex.accept_next('fi_ann', pg_temp.kind('much'), 1000));
        PERFORM taskex.submit_assignments('fi_ann', done, array_fill('1'::jsonb, ARRAY[1000]));
        PERFORM taskex.approve_assignments('fi_zoo', done);
    END LOOP;
END $$;
SELECT count(*) FROM taskex.create_tasks('fi_zoo', pg_temp.kind('much'), array_fill('"new"'::jsonb, ARRAY[10]));
VACUUM ANALYZE _taskex.task, _taskex.assignment, _taskex.result;
SELECT count(*) > 0 AS ran FROM taskex.run_due();
CREATE FUNCTION pg_temp.pages(statement text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ' || statement INTO plan;
    RETURN (plan -> 0 -> 'Plan' ->> 'Shared Hit Blocks')::int + (plan -> 0 -> 'Plan' ->> 'Shared Read Blocks')::int;
END $$;
SELECT input FROM taskex.accept_next('fi_ann', pg_temp.kind('much'));
-- (the second call: the first one of a session reads catalogs, and the queue finds out from where to read)
SELECT count(*) FROM taskex.queue('fi_ann'), taskex.search_tasks('fi_ann', 'much'), taskex.history('fi_ann', max_rows => 5);
SELECT count(*) FROM taskex.queue('fi_ann');
-- what was finished in a transaction that is undone is there again
BEGIN;
SELECT count(taskex.return_assignment('fi_ann', assignment_id)) FROM taskex.queue('fi_ann');
SELECT count(*) FROM taskex.queue('fi_ann');
SELECT count(*) FROM taskex.queue('fi_ann');
ROLLBACK;
SELECT count(*) FROM taskex.queue('fi_ann');
-- with 17 open the floor stays low, with 16 it is above all that is finished
CREATE FUNCTION pg_temp.floor(OUT open int, OUT above bigint) LANGUAGE sql AS $$
    SELECT cardinality(f.open), (SELECT count(*) FROM _taskex.assignment a WHERE a.performer_id = _taskex.user_id('fi_ann')
        AND a.assignment_id > f.floor AND a.state = 'approved') FROM _taskex.queue_floor(_taskex.user_id('fi_ann')) f
$$;
-- (it rises when transactions of others that wrote have ended)
CREATE PROCEDURE pg_temp.queue_often(most bigint) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 3000 LOOP
        PERFORM FROM taskex.queue('fi_ann');
        COMMIT;
        EXIT WHEN (SELECT f.open = 16 AND f.above <= most FROM pg_temp.floor() f);
        PERFORM pg_sleep(0.02);
    END LOOP;
END $$;
CALL pg_temp.queue_often(3000);
SELECT * FROM pg_temp.floor();
SELECT count(taskex.return_assignment('fi_ann', assignment_id)) FROM (SELECT * FROM taskex.queue('fi_ann') WHERE title = 'Long work' LIMIT 2) q;
CALL pg_temp.queue_often(0);
SELECT count(*) FROM taskex.queue('fi_ann');
SELECT * FROM pg_temp.floor();
SELECT what, p <= most AS few, CASE WHEN p > most THEN p END AS pages FROM (VALUES
        ('search', 400, 'SELECT * FROM taskex.search_tasks(''fi_ann'', ''much'')'),
        ('accept', 400, 'SELECT * FROM taskex.accept_next(''fi_ann'', pg_temp.kind(''much''))'),
        ('queue', 400, 'SELECT * FROM taskex.queue(''fi_ann'')'),
        ('history', 300, 'SELECT * FROM taskex.history(''fi_ann'', max_rows => 10)'),
        ('batches', 400, 'SELECT * FROM taskex.batches WHERE requester = ''fi_zoo'' AND title = ''Much work'''),
        ('profile', 100, 'SELECT * FROM taskex.performer_profile WHERE performer = ''fi_ann'''),
        ('performers', 100, 'SELECT * FROM taskex.requester_performers WHERE requester = ''fi_zoo'''),
        ('catalogue', 400, 'SELECT * FROM taskex.task_catalogue WHERE requester = ''fi_zoo''')) v (what, most, statement),
    LATERAL (SELECT pg_temp.pages(statement)) u (p);

-- all is right in the end
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT count(taskex.expire_task(requester, task_id)) > 0 AS closed FROM taskex.tasks WHERE state = 'available' AND requester LIKE 'fi\_%';
SET taskex.clock = '2131-06-01 00:00:00+00';
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT count(*) > 0 AS ran FROM taskex.run_due();
-- (the catalogue says what the tables say)
SELECT c.task_type_id, c.slots, c.used, t.* FROM _taskex.catalogue c FULL JOIN (
        SELECT task_type_id, requester_id, sum(performers - released - judged) AS open FROM _taskex.task WHERE task_type_id > 0 GROUP BY 1, 2) t USING (task_type_id, requester_id)
    WHERE requester_id IN (SELECT user_id FROM _taskex.directory WHERE login LIKE 'fi\_%') AND c.slots - c.used IS DISTINCT FROM t.open;
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.check_market() WHERE NOT ok;
