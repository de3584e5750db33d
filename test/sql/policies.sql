-- Review policies: what is measured, which thresholds that passes, what is done.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.exchange_fee = 0;
-- the conductor's time is another: nothing here is for it
ALTER SYSTEM SET taskex.conductor = off;
DO $$
BEGIN
    PERFORM pg_reload_conf();
    FOR i IN 1 .. 3000 LOOP
        PERFORM pg_stat_clear_snapshot();
        EXIT WHEN EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'taskex conductor' AND datname = current_database()
            AND state = 'idle' AND query = 'looking for the exchange');
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SET taskex.clock = '2130-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('policies_1') > 0 AS one, taskex.add_partition('policies_2') > 0 AS two;
SELECT taskex.register_user('p_req', partition => 'policies_1') > 0 AS req, taskex.register_user('p_oth', partition => 'policies_2') > 0 AS oth,
    taskex.register_user('p_ann', partition => 'policies_1') > 0 AS ann, taskex.register_user('p_bob', partition => 'policies_2') > 0 AS bob,
    taskex.register_user('p_cat', partition => 'policies_2') > 0 AS cat;
SELECT taskex.deposit('p_req', 1000, 'start') > 0 AS deposited;
CREATE TEMP TABLE thing (name text PRIMARY KEY, id bigint);
CREATE FUNCTION pg_temp.id(which text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT id FROM thing WHERE name = which';
\getenv tests PG_ABS_SRCDIR
\set try :tests '/sql/include/try.sql'
\set ECHO none
\i :try
\set ECHO all
CREATE FUNCTION pg_temp.task(name text, plurality int = 1) RETURNS void LANGUAGE sql AS $$
    INSERT INTO thing VALUES (name, taskex.create_task('p_req', pg_temp.id('type'), to_jsonb(name), plurality)) $$;
-- he accepts, takes so many seconds, and submits (NULL: returns it)
CREATE PROCEDURE pg_temp.work(task text, performer text, seconds int, result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    clock timestamptz := current_setting('taskex.clock');
BEGIN
    INSERT INTO thing VALUES (task || ' ' || performer, (taskex.accept_task('p_' || performer, pg_temp.id(task))).assignment_id);
    PERFORM set_config('taskex.clock', (clock + make_interval(secs => seconds))::text, false);
    IF result IS NULL THEN
        PERFORM taskex.return_assignment('p_' || performer, pg_temp.id(task || ' ' || performer));
    ELSE
        PERFORM taskex.submit_assignment('p_' || performer, pg_temp.id(task || ' ' || performer), result);
    END IF;
END $$;
-- one task after the other for a performer
CREATE PROCEDURE pg_temp.works(series text, performer text, results jsonb[], seconds int = 60) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. cardinality(results) LOOP
        PERFORM pg_temp.task(series || i);
        CALL pg_temp.work(series || i, performer, seconds, results[i]);
    END LOOP;
END $$;
CREATE FUNCTION pg_temp.policy(name text, kind text, parameters jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO thing VALUES (name, taskex.create_policy('p_req', kind, parameters, pg_temp.id('type'))) $$;
CREATE FUNCTION pg_temp.acts(policy text) RETURNS TABLE (act text, thing text, performer text, measure numeric, state text, error text, until text)
    LANGUAGE sql AS $$
    SELECT a.act, t.name, a.performer, a.measure, a.state, regexp_replace(a.error, '(policy|task) \d+', '\1 N'), a.action ->> 'until' FROM taskex.policy_actions a
    LEFT JOIN thing t ON t.id = coalesce(a.assignment_id, a.task_id) AND t.name !~ '^(policy|type)' WHERE a.policy_id = pg_temp.id(policy) ORDER BY a.action_id $$;
CREATE FUNCTION pg_temp.tally(policy text) RETURNS TABLE (performer text, counted bigint, measure numeric, period timestamptz) LANGUAGE sql AS $$
    SELECT performer, counted, measure, period FROM taskex.policy_tallies WHERE policy_id = pg_temp.id(policy) ORDER BY 1 $$;
INSERT INTO thing VALUES ('type', taskex.create_task_type('p_req', 'Policies', 1, auto_approve => '100 days'));

-- keeping them
SELECT pg_temp.policy('policy a', 'skips_in_a_row', '{"thresholds": [{"at_least": 3, "action": {"do": "suspend", "for": "1 day", "reason": "skipping"}}]}');
SELECT requester, kind, task_type_id = pg_temp.id('type') AS type, parameters, state, created_at, changed_at FROM taskex.policies WHERE requester LIKE 'p\_%';
SELECT count(taskex.create_policy('p_oth', kind, parameters)) FROM (VALUES
    ('known_answer', '{"thresholds": [{"of": "assignment", "less_than": 50, "action": {"do": "reject", "reason": "wrong", "reopen": true}}]}'::jsonb),
    ('agreement', '{"thresholds": [{"at_least": 0, "less_than": 100, "min_answers": 1000, "action": {"do": "notify", "subject": "s", "message": "m"}}]}'),
    ('minimum_time', '{"seconds": 0.5, "thresholds": [{"at_least": 2, "action": {"do": "approve"}}]}'),
    ('rejected_share', '{"history_size": 1000, "thresholds": [{"at_least": 33.3, "action": {"do": "suspend"}}]}'),
    ('income_cap', '{"period": "month", "thresholds": [{"at_least": 0.000000001, "action": {"do": "suspend"}}]}'),
    ('submitted_count', '{"thresholds": [{"at_least": 1000000000, "action": {"do": "notify", "to": "performer", "subject": "s", "message": "m"}}]}')) k (kind, parameters);
SELECT kind, task_type_id, parameters - 'thresholds' AS defaults FROM taskex.policies WHERE requester = 'p_oth' ORDER BY 1;
-- bad ones: each says what is wrong with it
CREATE FUNCTION pg_temp.bad(kind text, parameters text) RETURNS text LANGUAGE sql AS $$
    SELECT pg_temp.try_call(format('taskex.create_policy(''p_req'', %L, %L)', kind, parameters)) $$;
SELECT kind, parameters, pg_temp.bad(kind, parameters) AS says FROM (VALUES
    ('', '{}'), ('known answer', '{}'), ('skips_in_a_row', '[]'), ('skips_in_a_row', 'null'), ('skips_in_a_row', '{}'), ('skips_in_a_row', '{"thresholds": {}}'),
    ('skips_in_a_row', '{"thresholds": []}'), ('skips_in_a_row', '{"thresholds": [1]}'), ('skips_in_a_row', '{"history_size": 5, "thresholds": [1]}'),
    ('minimum_time', '{"thresholds": []}'), ('minimum_time', '{"seconds": 0, "thresholds": [1]}'), ('minimum_time', '{"seconds": "5", "thresholds": [1]}'),
    ('minimum_time', '{"seconds": 1e-12, "thresholds": [1]}'), ('minimum_time', '{"seconds": 86401, "thresholds": [1]}'),
    ('known_answer', '{"rate": 0.1, "thresholds": [1]}'), ('known_answer', '{"history_size": 0, "thresholds": [1]}'),
    -- a whole number is one as it is written: it is read as such
    ('known_answer', '{"history_size": 10.0, "thresholds": [1]}'),
    ('known_answer', '{"history_size": 1.5, "thresholds": [1]}'), ('known_answer', '{"history_size": 1001, "thresholds": [1]}'),
    ('agreement', '{"tolerance": -1, "thresholds": [1]}'), ('agreement', '{"tolerance": true, "thresholds": [1]}'),
    ('income_cap', '{"thresholds": [1]}'), ('income_cap', '{"period": "year", "thresholds": [1]}'), ('income_cap', '{"period": 1, "thresholds": [1]}'),
    ('submitted_count', '{"period": null, "thresholds": [1]}')) v (kind, parameters);
SELECT kind, threshold, pg_temp.bad(kind, format('{%s"thresholds": [%s]}', CASE kind WHEN 'income_cap' THEN '"period": "day", ' END, threshold)) AS says FROM (VALUES
    ('agreement', '{}'), ('agreement', '{"action": {"do": "approve"}}'), ('agreement', '{"at_least": 101, "action": {"do": "approve"}}'),
    ('agreement', '{"at_least": "50", "action": {"do": "approve"}}'), ('agreement', '{"less_than": -1, "action": {"do": "approve"}}'),
    ('agreement', '{"of": "requester", "at_least": 50, "action": {"do": "approve"}}'), ('agreement', '{"at_least": 50, "min_answers": 0, "action": {"do": "approve"}}'),
    ('known_answer', '{"of": "task", "at_least": 50, "action": {"do": "approve"}}'), ('skips_in_a_row', '{"of": "performer", "at_least": 1, "action": {"do": "suspend"}}'),
    ('skips_in_a_row', '{"less_than": 3, "action": {"do": "suspend"}}'), ('skips_in_a_row', '{"at_least": 1.5, "action": {"do": "suspend"}}'),
    ('skips_in_a_row', '{"at_least": 0, "action": {"do": "suspend"}}'), ('income_cap', '{"at_least": 0, "action": {"do": "suspend"}}'),
    ('income_cap', '{"at_least": 1e-10, "action": {"do": "suspend"}}'), ('income_cap', '{"at_least": 9000000000, "action": {"do": "suspend"}}'),
    ('agreement', '{"at_least": 1, "when": 2, "action": {"do": "suspend"}}')) v (kind, threshold);
SELECT action, pg_temp.bad('agreement', format('{"thresholds": [{"at_least": 1, "action": %s}]}', action)) AS says FROM unnest(ARRAY['null', '"approve"', '{}', '{"do": "praise"}', '{"do": null}',
    '{"do": "approve", "reason": "x"}', '{"do": "approve", "feedback": ""}', '{"do": "approve", "feedback": 5}', '{"do": "reject"}', '{"do": "reject", "reason": null}',
    '{"do": "reject", "reason": "x", "reopen": "yes"}', '{"do": "extend"}', '{"do": "extend", "max_performers": 0}', '{"do": "extend", "max_performers": 5, "performers": 101}',
    '{"do": "grant"}', '{"do": "grant", "qualification": 0}', '{"do": "grant", "qualification": "x"}', '{"do": "grant", "qualification": 999999}',
    '{"do": "grant", "qualification": 1, "score": 1.5}', '{"do": "grant", "qualification": 1, "score": 3000000000}', '{"do": "revoke", "qualification": 999999}',
    '{"do": "suspend", "for": "soon"}', '{"do": "suspend", "for": "-1 day"}', '{"do": "suspend", "for": "0"}', '{"do": "suspend", "for": 5}', '{"do": "suspend", "for": "infinity"}',
    '{"do": "suspend", "for": "99999999 years"}', '{"do": "suspend", "until": "2200-01-01"}', '{"do": "notify", "subject": "x"}', '{"do": "notify", "subject": "", "message": "x"}',
    '{"do": "notify", "to": "all", "subject": "x", "message": "x"}']) action;
SELECT pg_temp.bad('agreement', '{"thresholds": [{"of": "task", "at_least": 1, "action": {"do": "suspend"}}]}') AS task, pg_temp.bad('income_cap',
    '{"period": "day", "thresholds": [{"at_least": 1, "action": {"do": "reject", "reason": "x"}}]}') AS nothing_to_reject;
SELECT pg_temp.bad('agreement', format('{"thresholds": [%s]}', repeat('{"at_least": 1, "action": {"do": "suspend"}},', 20) || '{"at_least": 1, "action": {"do": "suspend"}}')) AS many;
SELECT pg_temp.try_call(format('taskex.create_policy(''p_req'', ''agreement'', %L)', jsonb_build_object('thresholds', repeat('x', 70000)))) AS large;
-- what performers submit makes no evaluation fail, however large
SELECT a, b, _taskex.answer_score(a::jsonb, b::jsonb, '{"tolerance": 1}') FROM (VALUES ('1', '2'), ('1', '2.5'), ('9e131071', '-9e131071'), ('9e131071', '9e131071'),
    ('{"x": 9e131071, "y": "1"}', '{"x": -9e131071, "y": "1"}'), ('null', '1'), ('[]', '1'), ('"a"', '1'), ('{}', '{"x": 1}')) v (a, b);
SELECT pg_temp.try_call($$taskex.create_policy('p_req', 'agreement', '{"thresholds": [{"at_least": 1, "action": {"do": "suspend"}}]}', 0)$$) AS no_such_type;
DO $$ BEGIN PERFORM taskex.create_policy('p_oth', 'submitted_count', '{"thresholds": [{"at_least": 5, "action": {"do": "suspend"}}]}') FROM generate_series(1, 94); END $$;
SELECT pg_temp.try_call($$taskex.create_policy('p_oth', 'submitted_count', '{"thresholds": [{"at_least": 5, "action": {"do": "suspend"}}]}')$$) AS too_many;
SELECT count(taskex.delete_policy('p_oth', policy_id)) FROM taskex.policies WHERE requester = 'p_oth';
-- another's, and what is deleted
SELECT pg_temp.try_call(format('taskex.%s_policy(%L, %s%s)', f, u, CASE u WHEN 'p_req' THEN -1 ELSE pg_temp.id('policy a') END, CASE f WHEN 'update' THEN ', ''{}''' END)) AS says
    FROM unnest('{update,pause,resume,delete}'::text[]) f, unnest('{p_req,p_oth}'::text[]) u;
SELECT pg_temp.try_call(format('taskex.resume_policy(''p_oth'', %s)', min(policy_id))) AS deleted FROM taskex.policies WHERE requester = 'p_oth';
SELECT pg_temp.try_call(format('taskex.update_policy(''p_req'', %s, ''{}'')', pg_temp.id('policy a'))) AS bad_update;

-- skips in a row: a submission ends them; each run counts anew
CALL pg_temp.works('a', 'ann', ARRAY[NULL, NULL, '1', NULL, NULL, NULL, NULL]::jsonb[]);
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy a');
SELECT * FROM pg_temp.tally('policy a');
SELECT regexp_replace(reason, '\d+', 'N') AS reason, until - _taskex.now() AS rest FROM taskex.blocks WHERE performer = 'p_ann';
SELECT pg_temp.task('blocked');
SELECT pg_temp.try_call('taskex.accept_task(''p_ann'', pg_temp.id(''blocked''))');
-- counting goes on where it was, in small batches as in one
CALL pg_temp.works('b', 'bob', ARRAY[NULL, NULL]::jsonb[]);
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.tally('policy a');
CALL pg_temp.works('bb', 'bob', ARRAY[NULL, '1', NULL]::jsonb[]);
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy a');
SELECT * FROM pg_temp.tally('policy a');
-- not while it is paused, not after it is deleted
SELECT taskex.pause_policy('p_req', pg_temp.id('policy a'));
CALL pg_temp.works('bc', 'cat', ARRAY[NULL, NULL]::jsonb[]);
SELECT count(*) FROM taskex.run_due();
SELECT taskex.resume_policy('p_req', pg_temp.id('policy a'));
CALL pg_temp.works('bd', 'cat', ARRAY[NULL]::jsonb[]);
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.tally('policy a');
SELECT taskex.delete_policy('p_req', pg_temp.id('policy a'));
CALL pg_temp.works('be', 'cat', ARRAY[NULL, NULL, NULL]::jsonb[]);
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.tally('policy a');
SELECT state, count(*) FROM taskex.policies WHERE requester = 'p_req' GROUP BY 1;
SELECT taskex.unblock_performer('p_req', 'p_ann') AS ann, taskex.unblock_performer('p_req', 'p_bob') AS bob;

-- minimum time: so many of the last ones were fast
SELECT pg_temp.policy('policy b', 'minimum_time', '{"seconds": 5, "history_size": 4, "thresholds": [{"at_least": 2, "action": {"do": "reject", "reason": "too fast"}}, {"at_least": 3, "action": {"do": "suspend", "for": "1 hour"}}]}');
CALL pg_temp.works('c', 'ann', ARRAY['1']::jsonb[], 4);
CALL pg_temp.works('cc', 'ann', ARRAY['1', '1']::jsonb[], 5);
CALL pg_temp.works('cd', 'ann', ARRAY['1', '1']::jsonb[], 1);
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy b');
SELECT * FROM pg_temp.tally('policy b');
CALL pg_temp.works('ce', 'ann', ARRAY['1', '1']::jsonb[], 1);
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy b');
SELECT t.name, r.state, regexp_replace(r.feedback, '\d+', 'N') AS feedback, r.judged_by = pg_temp.id('policy b') AS by_policy FROM thing t JOIN _taskex.result r ON r.assignment_id = t.id
    WHERE name ~ '^c[de].* ' ORDER BY name;
SELECT detail - 'policy' AS detail, (detail ->> 'policy')::bigint = pg_temp.id('policy b') AS by_policy FROM _taskex.journal_act
    WHERE assignment_id = pg_temp.id('ce2 ann') AND kind IN ('rejected', 'policy_acted') ORDER BY id;
SELECT taskex.delete_policy('p_req', pg_temp.id('policy b'));
SELECT taskex.unblock_performer('p_req', 'p_ann');

-- what is submitted in a period: a cap ends with the period
SELECT pg_temp.policy('policy c', 'income_cap', '{"period": "day", "thresholds": [{"at_least": 3, "action": {"do": "suspend", "reason": "enough for today"}}]}');
SELECT pg_temp.policy('policy d', 'submitted_count', '{"period": "month", "thresholds": [{"at_least": 4, "action": {"do": "suspend"}}]}');
SELECT pg_temp.policy('policy e', 'submitted_count', '{"thresholds": [{"at_least": 5, "action": {"do": "notify", "subject": "five", "message": "five of them"}}, {"at_least": 4, "action": {"do": "notify", "to": "performer", "subject": "four", "message": "of them"}}]}');
SET taskex.clock = '2130-02-27 12:00:00+00';
CALL pg_temp.works('d', 'bob', ARRAY['1', '1', '1']::jsonb[]);
SELECT count(*) FROM taskex.run_due();
SELECT performer, regexp_replace(reason, '\d+', 'N') AS reason, until FROM taskex.blocks WHERE requester = 'p_req';
SET taskex.clock = '2130-02-27 23:59:59+00';
SELECT pg_temp.try_call('taskex.accept_task(''p_bob'', pg_temp.id(''blocked''))');
SET taskex.clock = '2130-02-28 00:00:00+00';
CALL pg_temp.works('dd', 'bob', ARRAY['1']::jsonb[]);
SELECT count(*) FROM taskex.run_due();
SET taskex.clock = '2130-03-01 00:00:00+00';
CALL pg_temp.works('de', 'bob', ARRAY['1', '1']::jsonb[]);
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy c') UNION ALL SELECT * FROM pg_temp.acts('policy d') UNION ALL SELECT * FROM pg_temp.acts('policy e');
SELECT * FROM pg_temp.tally('policy c') UNION ALL SELECT * FROM pg_temp.tally('policy d') UNION ALL SELECT * FROM pg_temp.tally('policy e');
SELECT sender, subject, regexp_replace(message, '(policy|task:|assignment:) \d+', '\1 N', 'g') AS message, read_at FROM taskex.messages('p_req') UNION ALL SELECT sender, subject, message, read_at FROM taskex.messages('p_bob');
-- a longer block of the requester's own is left alone
SELECT taskex.block_performer('p_req', 'p_cat', 'his own');
CALL pg_temp.works('df', 'bob', ARRAY['1']::jsonb[]);
SELECT taskex.unblock_performer('p_req', 'p_cat');
CALL pg_temp.works('dg', 'cat', ARRAY['1', '1', '1']::jsonb[]);
SELECT taskex.block_performer('p_req', 'p_cat', 'his own');
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy c');
SELECT performer, regexp_replace(reason, '\d+', 'N') AS reason, until FROM taskex.blocks WHERE requester = 'p_req' ORDER BY 1;
SELECT count(taskex.delete_policy('p_req', policy_id)) FROM taskex.policies WHERE requester = 'p_req' AND state = 'active';
SELECT taskex.unblock_performer('p_req', 'p_cat'), taskex.unblock_performer('p_req', 'p_bob');

-- agreement: of tasks, assignments and performers
INSERT INTO thing VALUES ('qualification', taskex.create_qualification('p_req', 'Agrees'));
SELECT pg_temp.policy('policy f', 'agreement', format('{"thresholds": [
    {"of": "task", "less_than": 60, "action": {"do": "extend", "max_performers": 3}},
    {"of": "assignment", "at_least": 100, "action": {"do": "approve"}}, {"of": "assignment", "less_than": 100, "action": {"do": "reject", "reason": "others say otherwise"}},
    {"min_answers": 2, "at_least": 0, "action": {"do": "grant", "qualification": %s}}, {"min_answers": 2, "less_than": 50, "action": {"do": "revoke", "qualification": %s}}]}',
    pg_temp.id('qualification'), pg_temp.id('qualification'))::jsonb);
SELECT pg_temp.task('f1', 2);
CALL pg_temp.work('f1', 'ann', 60, '"a"');
SELECT count(*) FROM taskex.run_due();
CALL pg_temp.work('f1', 'bob', 60, '"b"');
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy f');
SELECT performers, free_slots, state FROM taskex.tasks WHERE task_id = pg_temp.id('f1');
CALL pg_temp.work('f1', 'cat', 60, '"b"');
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy f');
SELECT performers, state FROM taskex.tasks WHERE task_id = pg_temp.id('f1');
SELECT performer, score FROM taskex.policy_results WHERE policy_id = pg_temp.id('policy f') ORDER BY scored_at, performer, score;
SELECT pg_temp.task('f2', 2);
CALL pg_temp.work('f2', 'ann', 60, '"x"');
CALL pg_temp.work('f2', 'bob', 60, '"x"');
SELECT pg_temp.task('f3', 1);
CALL pg_temp.work('f3', 'bob', 60, '"x"');
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy f') OFFSET 4;
SELECT * FROM pg_temp.tally('policy f');
SELECT d.login, q.score, q.state FROM _taskex.qualification q JOIN _taskex.directory d ON d.user_id = q.performer_id WHERE q.qualification_type_id = pg_temp.id('qualification') ORDER BY 1;
SELECT taskex.delete_policy('p_req', pg_temp.id('policy f'));

-- known answers: of single assignments (by keys) and of the last ones
SELECT pg_temp.policy('policy k', 'known_answer', '{"history_size": 2, "thresholds": [
    {"of": "assignment", "at_least": 100, "action": {"do": "approve", "feedback": "right"}},
    {"of": "assignment", "less_than": 50, "action": {"do": "reject", "reason": "wrong"}},
    {"less_than": 50, "min_answers": 2, "action": {"do": "suspend", "for": "30 days", "reason": "too many wrong answers"}}]}');
INSERT INTO thing SELECT 'k' || n, taskex.create_golden_task('p_req', pg_temp.id('type'), '"look"', a) FROM (VALUES
    (1, '"red"'::jsonb), (2, '"red"'), (3, '{"colour": "red", "size": 5}'), (4, '"red"')) v (n, a);
CALL pg_temp.work('k1', 'cat', 60, '"red"');
CALL pg_temp.work('k2', 'cat', 60, '"blue"');
CALL pg_temp.work('k3', 'cat', 60, '{"colour": "red", "size": 4, "more": 1}');
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy k');
SELECT * FROM pg_temp.tally('policy k');
SELECT t.name, r.performer, r.score FROM taskex.policy_results r JOIN thing t ON t.id = r.assignment_id WHERE policy_id = pg_temp.id('policy k') ORDER BY 1;
SELECT pg_temp.try_call('taskex.accept_task(''p_cat'', pg_temp.id(''k4''))');
SELECT taskex.delete_policy('p_req', pg_temp.id('policy k'));
SELECT taskex.unblock_performer('p_req', 'p_cat');

-- rejected share, with a new threshold while it runs
SELECT pg_temp.policy('policy g', 'rejected_share', '{"history_size": 4, "thresholds": [{"at_least": 50, "min_answers": 3, "action": {"do": "notify", "subject": "g", "message": "g"}}]}');
CALL pg_temp.works('g', 'cat', ARRAY['1', '1', '1', '1', '1']::jsonb[]);
SELECT taskex.reject_assignment('p_req', pg_temp.id('g1 cat'), 'no'), taskex.reject_assignment('p_req', pg_temp.id('g2 cat'), 'no');
SELECT count(*) FROM taskex.run_due();
SELECT taskex.approve_assignment('p_req', pg_temp.id('g3 cat')), taskex.approve_assignment('p_req', pg_temp.id('g4 cat'));
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy g');
SELECT * FROM pg_temp.tally('policy g');
SELECT taskex.update_policy('p_req', pg_temp.id('policy g'), '{"history_size": 2, "thresholds": [{"at_least": 50, "action": {"do": "suspend"}}]}');
SELECT taskex.approve_assignment('p_req', pg_temp.id('g1 cat'), override => true);
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.tally('policy g');
SELECT taskex.reject_assignment('p_req', pg_temp.id('g5 cat'), 'no');
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy g');
SELECT taskex.delete_policy('p_req', pg_temp.id('policy g'));
SELECT taskex.unblock_performer('p_req', 'p_cat');

-- what cannot be done is on record, and nothing of it has happened
SELECT pg_temp.policy('policy h', 'agreement', '{"thresholds": [{"of": "task", "at_least": 0, "action": {"do": "extend", "max_performers": 100}}]}');
SELECT pg_temp.policy('policy i', 'agreement', '{"thresholds": [{"of": "task", "at_least": 0, "action": {"do": "approve", "feedback": "fine"}}]}');
SELECT pg_temp.task('h1');
SELECT taskex.withdraw('p_req', available, 'all') > 0 AS all FROM taskex.balance('p_req');
SELECT pg_temp.try_call('taskex.create_task(''p_req'', pg_temp.id(''type''), ''1'')') AS poor;
CALL pg_temp.work('h1', 'ann', 60, '1');
SELECT count(*) FROM taskex.run_due();
SELECT * FROM pg_temp.acts('policy h') UNION ALL SELECT * FROM pg_temp.acts('policy i');
SELECT state, regexp_replace(feedback, '\d+', 'N') AS feedback FROM taskex.task_results('p_req', pg_temp.id('h1'));
-- nothing is done twice
SELECT count(*) FROM taskex.run_due();
SELECT count(*) AS not_pending FROM taskex.policy_actions WHERE requester = 'p_req' AND state <> 'pending';
SELECT count(*) AS pending FROM taskex.policy_actions WHERE requester = 'p_req' AND state = 'pending';
SELECT kind, act, state, count(*) FROM taskex.policy_actions WHERE requester = 'p_req' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

-- what is not there, as while a dump is restored, is waited for; a storage partition takes its own along
SELECT _taskex.carry_out(0, 1), _taskex.carry_out(partition_id, -1) FROM taskex.partitions WHERE name = 'policies_1';
SELECT taskex.add_partition('policies_3') AS third \gset
INSERT INTO _taskex.policy_pending VALUES (-1, :third);
SELECT taskex.drop_partition('policies_3');
SELECT count(*) FROM _taskex.policy_pending WHERE action_id = -1;

-- messages
SELECT taskex.mark_messages('p_req', ARRAY[(SELECT min(message_id) FROM taskex.messages('p_req')), -1]);
SELECT count(*) FROM taskex.messages('p_req', unread => true);
SELECT taskex.mark_messages('p_req');
SELECT count(*) AS unread FROM taskex.messages('p_req', true);
SELECT count(*) AS first_page FROM taskex.messages('p_req', max_rows => 1);
SELECT count(*) AS older FROM taskex.messages('p_req', before => (SELECT max(message_id) FROM taskex.messages('p_req')));
SELECT pg_temp.try_call('taskex.messages(''p_req'', max_rows => 0)'), pg_temp.try_call('taskex.messages(''p_req'', max_rows => 10001)');
-- what the server has not the means for is tried for a time, and then has failed
CREATE FUNCTION pg_temp.no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room' USING ERRCODE = 'disk_full'; END $$;
DO $$ BEGIN EXECUTE format('CREATE TRIGGER no_room BEFORE INSERT ON _taskex.message_%s FOR EACH ROW EXECUTE FUNCTION pg_temp.no_room()', _taskex.home(_taskex.user_id('p_req'))); END $$;
SELECT pg_temp.policy('policy full', 'submitted_count', '{"thresholds": [{"at_least": 1, "action": {"do": "notify", "subject": "full", "message": "full"}}]}');
SELECT taskex.deposit('p_req', 1, 'full') > 0 AS deposited;
CALL pg_temp.works('full', 'ann', ARRAY['1']::jsonb[]);
DO $$ BEGIN FOR i IN 1 .. 99 LOOP PERFORM taskex.run_due(); END LOOP; END $$;
SELECT a.state, a.error, p.tries FROM taskex.policy_actions a JOIN _taskex.policy_action p USING (action_id) WHERE a.policy_id = pg_temp.id('policy full');
SELECT count(*) FROM taskex.run_due();
SELECT a.state, a.error, p.tries FROM taskex.policy_actions a JOIN _taskex.policy_action p USING (action_id) WHERE a.policy_id = pg_temp.id('policy full');
-- so has one that always ends in a deadlock, or a conflict
CREATE OR REPLACE FUNCTION pg_temp.no_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE 'conflict' USING ERRCODE = CASE WHEN random() < 0.5 THEN 'deadlock_detected' ELSE 'serialization_failure' END; END $$;
SELECT taskex.deposit('p_req', 1, 'conflict') > 0 AS deposited;
CALL pg_temp.works('again', 'bob', ARRAY['1']::jsonb[]);
DO $$ BEGIN FOR i IN 1 .. 99 LOOP PERFORM taskex.run_due(); END LOOP; END $$;
SELECT a.state, p.tries FROM taskex.policy_actions a JOIN _taskex.policy_action p USING (action_id) WHERE a.policy_id = pg_temp.id('policy full') AND a.performer = 'p_bob';
SELECT count(*) FROM taskex.run_due();
SELECT a.state, a.error ~ '^40(001|P01) conflict' AS error, p.tries FROM taskex.policy_actions a JOIN _taskex.policy_action p USING (action_id) WHERE a.policy_id = pg_temp.id('policy full') AND a.performer = 'p_bob';
DO $$ BEGIN EXECUTE format('DROP TRIGGER no_room ON _taskex.message_%s', _taskex.home(_taskex.user_id('p_req'))); END $$;
SELECT taskex.delete_policy('p_req', pg_temp.id('policy full'));

SELECT * FROM taskex.notify_performers('p_req', ARRAY['p_bob', 'nobody', 'p_oth', 'p_bob', 'p_ann'], 'Thank you', 'More work comes on Monday.');
SELECT sender, subject, message FROM taskex.messages('p_ann');
SELECT pg_temp.try_call($$taskex.notify_performers('p_req', '{p_ann,NULL}', 'x', 'x')$$), pg_temp.try_call($$taskex.notify_performers('p_req', '{p_ann}', '', 'x')$$),
    pg_temp.try_call($$taskex.notify_performers('p_req', '{p_ann}', 'x', repeat('x', 4097))$$), pg_temp.try_call($$taskex.notify_performers('p_req', array_fill('p_ann'::text, ARRAY[101]), 'x', 'x')$$);
SELECT taskex.rate_requester('p_ann', pg_temp.id('a3 ann'), 5), taskex.rate_requester('p_bob', pg_temp.id('bb2 bob'), 2);
SELECT count(*) FROM taskex.run_due();
SELECT requester, ratings, stars FROM taskex.requester_ratings WHERE requester = 'p_req';

-- the end
SELECT count(taskex.delete_policy('p_req', policy_id)) FROM taskex.policies WHERE requester = 'p_req' AND state = 'active';
SET taskex.clock = '2131-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.check_market() WHERE NOT ok;

-- giving room back
SELECT pg_temp.try_call($$taskex.prune('task', '1 year')$$), pg_temp.try_call($$taskex.prune('policy_action', '1 hour')$$),
    pg_temp.try_call($$taskex.prune('policy_action', '1 year', 0)$$), pg_temp.try_call($$taskex.prune('policy_action', NULL)$$),
    pg_temp.try_call($$taskex.dispose_tasks('p_req', '-1 day')$$), pg_temp.try_call($$taskex.dispose_tasks('p_req', '1 day', max_rows => 0)$$);
SELECT taskex.deposit('p_req', 100, 'room') > 0 AS deposited, taskex.set_budget('p_req', 100);
CREATE TEMP TABLE room AS SELECT taskex.create_task('p_req', pg_temp.id('type'), '1', expires_in => '1 hour') AS task_id FROM generate_series(1, 3);
SELECT taskex.cancel_task('p_req', min(task_id)) FROM room;
SELECT taskex.set_budget('p_req', 100, 'day');
SELECT taskex.add_performers('p_req', task_id, 1) FROM room WHERE task_id > (SELECT min(task_id) FROM room);
SET taskex.clock = '2132-01-01 00:00:00+00';
CREATE VIEW pg_temp.left_over AS SELECT (SELECT count(*) FROM _taskex.policy_action WHERE requester_id = _taskex.user_id('p_req')) > 0 AS actions,
    (SELECT count(*) FROM _taskex.policy_result WHERE requester_id = _taskex.user_id('p_req')) > 0 AS results,
    (SELECT count(*) FROM _taskex.budget_charge WHERE first_task_id IN (SELECT task_id FROM room)) AS charges,
    (SELECT count(*) FROM _taskex.budget_layer WHERE task_id IN (SELECT task_id FROM room)) AS layers;
-- not yet: the executor has not come so far, and no task is disposed of
SELECT taskex.prune('policy_action', '60 days'), taskex.prune('policy_result', '60 days');
SELECT * FROM pg_temp.left_over;
UPDATE _taskex.policy_cursor SET handled_until = (SELECT max(action_id) FROM _taskex.policy_action);
SELECT disposed FROM taskex.dispose_tasks('p_req', '500 days', (SELECT min(task_id) FROM room) - 1);
SELECT disposed, last_task_id = (SELECT min(task_id) FROM room) AS goes_on FROM taskex.dispose_tasks('p_req', '60 days', (SELECT min(task_id) FROM room) - 1, 1);
SELECT taskex.prune('budget_charge', '60 days') > 0 AS charges;
SELECT * FROM pg_temp.left_over;
SELECT disposed > 0 AS disposed, last_task_id FROM taskex.dispose_tasks('p_req', '60 days', max_rows => 10000);
SELECT taskex.prune('policy_action', '60 days', 1) AS one, taskex.prune('policy_result', '60 days', 2) AS two;
SELECT taskex.prune('policy_action', '60 days') > 0 AS actions, taskex.prune('policy_result', '60 days') > 0 AS results;
SELECT * FROM pg_temp.left_over;
SELECT count(*) FROM taskex.run_due();
SELECT disposed > 0 AS disposed FROM taskex.dispose_tasks('p_req', '60 days', max_rows => 10000);
-- (layers, as what is paid leaves them)
INSERT INTO _taskex.budget_layer (partition_id, task_id, requester_id, layer, amount, accounts)
    SELECT t.partition_id, t.task_id, t.requester_id, 1, 5, '{}' FROM _taskex.task t JOIN room USING (task_id);
SELECT taskex.prune('budget_charge', '60 days', 1) AS one, taskex.prune('budget_charge', '60 days') > 2 AS charges;
SELECT * FROM pg_temp.left_over;
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.check_market() WHERE NOT ok;
ALTER SYSTEM RESET taskex.conductor;
SELECT pg_reload_conf();
