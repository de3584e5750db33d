-- Qualifications: types, tests, requests, grants; requirements of task types and
-- each comparator; guards; blocks and suspensions. Time is taskex.clock.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET taskex.clock = '2120-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('qualification_1') > 0 AS added, taskex.add_partition('qualification_2') > 0 AS added;
SELECT taskex.register_user('q_req', partition => 'qualification_1') > 0 AS req,
    taskex.register_user('q_oth', partition => 'qualification_2') > 0 AS oth,
    taskex.register_user('q_ann', '{"location": "us-ca", "device": "Phone"}', 'qualification_1') > 0 AS ann,
    taskex.register_user('q_bob', '{"location": "USA", "devices": ["desktop", "tablet", 7, null]}', 'qualification_2') > 0 AS bob,
    taskex.register_user('q_cid', '{"device": {"odd": 1}, "devices": "odd"}', 'qualification_2') > 0 AS cid;
SELECT taskex.deposit('q_req', 1000, 'start') > 0 AS deposited;
SELECT taskex.subscribe('q_bob', ARRAY(SELECT kind FROM taskex.event_kinds WHERE kind ~ 'qualification|block'));

\getenv tests PG_ABS_SRCDIR
\set refused :tests '/sql/include/refused.sql'
\set ECHO none
\i :refused
\set ECHO all
-- a type with these requirements, each time another one
CREATE FUNCTION pg_temp.type(requirements jsonb) RETURNS bigint LANGUAGE sql AS
    $$ SELECT taskex.create_task_type('q_req', 'Qualification', 0, qualifications => requirements) $$;

-- qualifications --------------------------------------------------------------
INSERT INTO thing VALUES ('plain', taskex.create_qualification('q_req', 'Plain')),
    ('auto', taskex.create_qualification('q_req', 'Auto', 'For the asking', '{easy}', auto_grant => true, auto_grant_score => 7, retry_delay => '1 day')),
    ('test', taskex.create_qualification('q_req', 'Test', test => '{"intro": "Well?", "questions": [{"id": "a", "text": "1 + 1"}, {"id": "b"}, {"id": "c"}]}',
        answer_key => '{"questions": [{"id": "a", "options": [{"answer": 2, "score": 10}, {"answer": "two", "score": 5}]},
            {"id": "b", "options": [{"answer": ["x", "y"], "score": 20}, {"answer": ["x"], "score": 4}], "default": -3}], "percent_of": 30}',
        retry_delay => '1 hour')),
    ('timed', taskex.create_qualification('q_req', 'Timed', test => '{"questions": [{"id": "a"}]}', test_duration => '10 minutes', retry_delay => '1 day')),
    ('invited', taskex.create_qualification('q_req', 'Invited', requestable => false)),
    ('public', taskex.create_qualification('q_oth', 'Plain', is_public => true)),
    ('other', taskex.create_qualification('q_oth', 'Other'));
SELECT requester, name, description, keywords, state, requestable, is_public, auto_grant, test_duration, retry_delay, has_test, test, answer_key, auto_grant_score, created_at
    FROM taskex.qualifications WHERE requester IN ('q_req', 'q_oth') ORDER BY qualification_id;
SELECT pg_temp.try($$SELECT taskex.create_qualification('q_req', 'Plain')$$);
-- bad input
SELECT call, pg_temp.try('SELECT taskex.create_qualification(''q_req'', ' || call || ')') AS says FROM (VALUES
    ('NULL'), (''''''), ('repeat(''x'', 256)'), ('''n'', NULL'), ('''n'', repeat(''x'', 10001)'), ('''n'', keywords => ''{{a}}'''), ('''n'', keywords => ''{{a},{b}}'''),
    ('''n'', keywords => ''{a,NULL}'''), ('''n'', keywords => array_fill(''k''::text, ARRAY[101])'),
    ('''n'', test => ''1'''), ('''n'', test => ''{}'''), ('''n'', test => ''{"questions": []}'''), ('''n'', test => ''{"questions": [1]}'''),
    ('''n'', test => ''{"questions": [{"text": "?"}]}'''), ('''n'', test => ''{"questions": [{"id": 1}]}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}, {"id": "a"}]}'''),
    ('''n'', test => jsonb_build_object(''questions'', jsonb_build_array(jsonb_build_object(''id'', ''a'', ''x'', repeat(''x'', 2000000))))'),
    ('''n'', answer_key => ''{"questions": []}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''[]'''), ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''{"a": 1}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''{"questions": []}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''{"questions": [{"id": "b", "options": []}]}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''{"questions": [{"id": "a"}]}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''{"questions": [{"id": "a", "options": [{"score": 1}]}]}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''{"questions": [{"id": "a", "options": [{"answer": 1}]}]}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''{"questions": [{"id": "a", "options": [{"answer": 1, "score": 1.5}]}]}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''{"questions": [{"id": "a", "options": []}, {"id": "a", "options": []}]}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''{"questions": [{"id": "a", "options": [], "default": "x"}]}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''{"questions": [{"id": "a", "options": []}], "percent_of": 0}'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', answer_key => ''{"questions": [{"id": "a", "options": []}], "ranges": [{"from": 2, "to": 1, "score": 1}]}'''),
    ('''n'', test_duration => ''1 hour'''), ('''n'', test => ''{"questions": [{"id": "a"}]}'', test_duration => ''0'''), ('''n'', retry_delay => ''-1 s'''),
    ('''n'', test => ''{"questions": [{"id": "a"}]}'', auto_grant => true'), ('''n'', is_public => NULL')) v (call);

SELECT taskex.update_qualification('q_req', pg_temp.id('plain'), '{"description": "Changed", "keywords": ["k"], "retry_delay": "2 hours", "auto_grant_score": 3}');
SELECT description, keywords, retry_delay, auto_grant_score, changed_at FROM taskex.qualifications WHERE qualification_id = pg_temp.id('plain');
SELECT taskex.update_qualification('q_req', pg_temp.id('plain'), '{"retry_delay": null}');
SELECT description, retry_delay FROM taskex.qualifications WHERE qualification_id = pg_temp.id('plain');
SELECT call, pg_temp.try('SELECT taskex.update_qualification(''q_req'', ' || call || ')') AS says FROM (VALUES
    ('0, ''{}'''), ('pg_temp.id(''other''), ''{}'''), ('pg_temp.id(''plain''), ''[]'''), ('pg_temp.id(''plain''), ''{"name": "x"}'''),
    ('pg_temp.id(''plain''), ''{"description": null}'''), ('pg_temp.id(''plain''), ''{"retry_delay": "soon"}'''), ('pg_temp.id(''plain''), ''{"auto_grant": "maybe"}'''),
    ('pg_temp.id(''plain''), ''{"auto_grant_score": 1e10}'''), ('pg_temp.id(''plain''), ''{"state": "deleted"}'''), ('pg_temp.id(''plain''), ''{"answer_key": {}}'''),
    ('pg_temp.id(''test''), ''{"test": null}'''), ('pg_temp.id(''test''), ''{"test": null, "answer_key": null}''')) v (call);
SELECT pg_temp.try($$SELECT taskex.update_qualification('q_oth', pg_temp.id('public'), '{"is_public": false}')$$);

-- requests ----------------------------------------------------------------------
SELECT state, score FROM taskex.request_qualification('q_ann', pg_temp.id('auto'));
SELECT * FROM taskex.qualification_score('q_ann', pg_temp.id('auto'));
SELECT pg_temp.try($$SELECT taskex.request_qualification('q_ann', pg_temp.id('auto'))$$);
SELECT taskex.revoke_qualification('q_req', pg_temp.id('auto'), 'q_ann', 'Lost');
SELECT taskex.revoke_qualification('q_req', pg_temp.id('auto'), 'q_ann', 'Lost');
SELECT * FROM taskex.qualification_score('q_req', pg_temp.id('auto'), 'q_ann');
SELECT pg_temp.try($$SELECT taskex.request_qualification('q_ann', pg_temp.id('auto'))$$);
SET taskex.clock = '2120-01-02 00:00:00+00';
SELECT state, score FROM taskex.request_qualification('q_ann', pg_temp.id('auto'));
-- waits for the requester
CREATE TEMP TABLE asked AS SELECT * FROM taskex.request_qualification('q_ann', pg_temp.id('plain'));
SELECT state, score FROM asked;
INSERT INTO thing SELECT 'ann request', request_id FROM asked UNION ALL SELECT 'bob request', request_id FROM taskex.request_qualification('q_bob', pg_temp.id('plain'));
SELECT pg_temp.try($$SELECT taskex.request_qualification('q_ann', pg_temp.id('plain'))$$);
SELECT name, performer, request_state, started_at, requested_at, answers, score FROM taskex.qualification_requests('q_req');
SELECT count(*) FROM taskex.qualification_requests('q_req', pg_temp.id('plain'), after => pg_temp.id('ann request'));
SELECT count(*) FROM taskex.qualification_requests('q_oth');
SELECT call, pg_temp.try(format('SELECT taskex.%s', call)) AS says FROM (VALUES
    ('grant_request(''q_oth'', pg_temp.id(''ann request''))'), ('grant_request(''q_req'', 0)'), ('grant_request(''q_req'', -5)'),
    ('grant_request(''q_req'', 9223372036854775807)'), ('reject_request(''q_oth'', pg_temp.id(''ann request''))'), ('reject_request(''q_req'', pg_temp.id(''ann request''), '''')'),
    ('qualification_requests(''q_req'', pg_temp.id(''other''))'), ('qualification_requests(''q_req'', NULL, ''odd'')'), ('qualification_requests(''q_req'', max_rows => 0)'),
    ('qualification_holders(''q_req'', pg_temp.id(''plain''), ''odd'')'), ('qualification_holders(''q_oth'', pg_temp.id(''plain''))'),
    ('qualification_holders(''q_req'', pg_temp.id(''plain''), max_rows => 10001)'), ('performer_qualifications(''q_ann'', 0, 0)'),
    ('qualification_score(''q_req'', pg_temp.id(''other''), ''q_ann'')'), ('qualification_score(''q_ann'', 0)'),
    ('request_qualification(''q_ann'', 0)'), ('request_qualification(''q_ann'', pg_temp.id(''invited''))'), ('request_qualification(''q_ann'', pg_temp.id(''other''), ''{}'')'),
    ('start_qualification_test(''q_ann'', pg_temp.id(''test''))'), ('start_qualification_test(''q_ann'', -1)'),
    ('grant_qualification(''q_oth'', pg_temp.id(''plain''), ''q_ann'')'), ('grant_qualification(''q_req'', pg_temp.id(''plain''), ''q_nobody'')'),
    ('revoke_qualification(''q_oth'', pg_temp.id(''plain''), ''q_ann'')'), ('revoke_qualification(''q_req'', pg_temp.id(''plain''), ''q_ann'', '''')')) v (call);
SELECT taskex.grant_request('q_req', pg_temp.id('ann request'), 60);
SELECT taskex.reject_request('q_req', pg_temp.id('bob request'), 'Not yet');
SELECT pg_temp.try(format('SELECT taskex.grant_request(''q_req'', %s)', r)) FROM unnest(ARRAY[pg_temp.id('ann request'), pg_temp.id('bob request')]) r;
SELECT pg_temp.try(format('SELECT taskex.reject_request(''q_req'', %s)', r)) FROM unnest(ARRAY[pg_temp.id('ann request'), pg_temp.id('bob request')]) r;
SELECT pg_temp.try($$SELECT taskex.request_qualification('q_bob', pg_temp.id('plain'))$$) AS once;
SELECT name, state, score, granted_at, requested_at, reason, retry_at FROM taskex.performer_qualifications('q_bob');
-- what is granted settles the request that waits
SELECT taskex.update_qualification('q_req', pg_temp.id('plain'), '{"retry_delay": "0"}');
SELECT state FROM taskex.request_qualification('q_bob', pg_temp.id('plain'));
SELECT taskex.grant_qualification('q_req', pg_temp.id('plain'), 'q_bob', -5, false);
SELECT count(*) FROM taskex.qualification_requests('q_req');
SELECT performer, score, holder_state FROM taskex.qualification_holders('q_req', pg_temp.id('plain'));
SELECT performer FROM taskex.qualification_holders('q_req', pg_temp.id('plain'), after => (SELECT min(user_id) FROM taskex.qualification_holders('q_req', pg_temp.id('plain'))), max_rows => 1);
-- tests with a key
SELECT answers, pg_temp.try(format('SELECT taskex.request_qualification(''q_cid'', pg_temp.id(''test''), %L)', answers)) AS says
    FROM (VALUES (NULL), ('[]'), ('{"d": 1}')) v (answers);
SELECT pg_temp.try($$SELECT taskex.request_qualification('q_cid', pg_temp.id('plain'), '{}')$$) AS no_test;
SELECT answers, _taskex.test_score(q.answer_key, answers) FROM taskex.qualifications q, (VALUES ('{}'::jsonb), ('{"a": 2}'), ('{"a": 2, "b": ["y", "x", "x"]}'), ('{"a": "two", "b": ["x"]}'),
    ('{"a": 3, "b": ["x", "y", "z"], "c": 1}'), ('{"a": [2], "b": "x"}')) v (answers) WHERE qualification_id = pg_temp.id('test');
-- numbers that are whole, however they are written
SELECT _taskex.test_score('{"questions": [{"id": "a", "options": [{"answer": 1, "score": 10.0}], "default": 1.0}], "percent_of": 20.0}', '{"a": 1}') AS percent,
    _taskex.test_score('{"questions": [{"id": "a", "options": [], "default": 1.0}], "ranges": [{"from": 1.0, "to": 2.0, "score": 3.0}]}', '{}') AS range;
SELECT total, _taskex.test_score('{"questions": [{"id": "a", "options": [{"answer": 1, "score": 10}, {"answer": 2, "score": 25}]}], "ranges": [{"from": 0, "to": 10, "score": 1}, {"from": 11, "to": 30, "score": 2}]}',
    jsonb_build_object('a', total)) FROM generate_series(0, 3) total;
SELECT state, score FROM taskex.request_qualification('q_cid', pg_temp.id('test'), '{"a": 2, "b": ["y", "x"]}');
SELECT state, score FROM taskex.request_qualification('q_bob', pg_temp.id('test'), '{}');
-- against time
SELECT pg_temp.try($$SELECT taskex.request_qualification('q_ann', pg_temp.id('timed'), '{"a": 1}')$$) AS not_started;
SELECT test, answer_until FROM taskex.start_qualification_test('q_ann', pg_temp.id('timed'));
SET taskex.clock = '2120-01-02 00:10:00+00';
SELECT test, answer_until FROM taskex.start_qualification_test('q_ann', pg_temp.id('timed'));
SELECT answer_until FROM taskex.start_qualification_test('q_bob', pg_temp.id('timed'));
SELECT state, score FROM taskex.request_qualification('q_ann', pg_temp.id('timed'), '{"a": 1}');
SET taskex.clock = '2120-01-02 00:20:00.001+00';
SELECT pg_temp.try($$SELECT taskex.request_qualification('q_bob', pg_temp.id('timed'), '{"a": 1}')$$) AS late;
SELECT pg_temp.try($$SELECT taskex.start_qualification_test('q_bob', pg_temp.id('timed'))$$) AS again;
SELECT performer, request_state, answers FROM taskex.qualification_requests('q_req', pg_temp.id('timed'), 'expired');
SELECT name, state, score, requested_at, retry_at FROM taskex.performer_qualifications('q_bob');
SELECT count(*) FROM taskex.performer_qualifications('q_bob', max_rows => 1);
SET taskex.clock = '2120-01-03 00:10:00+00';
SELECT answer_until FROM taskex.start_qualification_test('q_bob', pg_temp.id('timed'));
SELECT performer, request_state FROM taskex.qualification_requests('q_req', pg_temp.id('timed'), s) JOIN unnest(ARRAY['started', 'pending', 'expired']) s ON true;

-- requirements ------------------------------------------------------------------
SELECT qualifications, pg_temp.try(format('SELECT pg_temp.type(replace(replace(%L, ''$plain'', pg_temp.id(''plain'')::text), ''$other'', pg_temp.id(''other'')::text)::jsonb)', qualifications)) AS says FROM (VALUES
    ('{}'), ('1'), ('"masters"'), ('[1]'), ('["masters"]'), ('[[]]'), ('[{}]'), ('[{"qualification": "location"}]'), ('[{"comparator": "exists"}]'),
    ('[{"qualification": "masters", "comparator": "exists"}]'), ('[{"qualification": true, "comparator": "exists"}]'), ('[{"qualification": 0, "comparator": "exists"}]'),
    ('[{"qualification": 1.5, "comparator": "exists"}]'), ('[{"qualification": -1, "comparator": "exists"}]'), ('[{"qualification": 1e30, "comparator": "exists"}]'),
    ('[{"qualification": 9000000000000000000, "comparator": "exists"}]'), ('[{"qualification": $other, "comparator": "exists"}]'),
    ('[{"qualification": $plain, "comparator": "is", "value": 1}]'), ('[{"qualification": $plain, "comparator": 1}]'), ('[{"qualification": $plain, "comparator": null}]'),
    ('[{"qualification": $plain, "comparator": "="}]'), ('[{"qualification": $plain, "comparator": "=", "value": "1"}]'), ('[{"qualification": $plain, "comparator": "=", "value": 1.5}]'),
    ('[{"qualification": $plain, "comparator": "=", "value": 2147483648}]'), ('[{"qualification": $plain, "comparator": "=", "value": 1e400}]'), ('[{"qualification": $plain, "comparator": "=", "values": [1]}]'),
    ('[{"qualification": $plain, "comparator": "=", "value": [1]}]'),
    ('[{"qualification": $plain, "comparator": "in", "value": 1}]'), ('[{"qualification": $plain, "comparator": "in"}]'), ('[{"qualification": $plain, "comparator": "in", "values": 1}]'),
    ('[{"qualification": $plain, "comparator": "in", "values": []}]'), ('[{"qualification": $plain, "comparator": "in", "values": [1, "2"]}]'), ('[{"qualification": $plain, "comparator": "in", "values": [[1]]}]'),
    ('[{"qualification": $plain, "comparator": "exists", "value": 1}]'), ('[{"qualification": $plain, "comparator": "not exists", "values": [1]}]'),
    ('[{"qualification": $plain, "comparator": "exists", "guard": "look"}]'), ('[{"qualification": $plain, "comparator": "exists", "guard": 1}]'), ('[{"qualification": $plain, "comparator": "exists", "score": 1}]'),
    ('[{"qualification": "approval_percent", "comparator": ">", "value": 101}]'), ('[{"qualification": "approval_percent", "comparator": ">", "value": -1}]'),
    ('[{"qualification": "approval_percent", "comparator": ">", "value": "95"}]'), ('[{"qualification": "assignments_approved", "comparator": ">", "value": 1.5}]'),
    ('[{"qualification": "location", "comparator": ">", "value": "US"}]'), ('[{"qualification": "location", "comparator": "=", "value": 1}]'), ('[{"qualification": "location", "comparator": "=", "value": ""}]'),
    ('[{"qualification": "device", "comparator": "<", "value": "phone"}]'), ('[{"qualification": "member_since", "comparator": ">=", "value": 100000}]'),
    ('[{"qualification": $plain, "comparator": ">", "value": 1}, {"qualification": $plain, "comparator": ">", "value": 2}]'),
    ('[{"qualification": "location", "comparator": "exists"}, {"qualification": "location", "comparator": "exists", "guard": "discover"}]'),
    ('[{"qualification": $plain, "comparator": ">", "value": 1}, {"qualification": $plain, "comparator": "<", "value": 9}]')) v (qualifications);
SELECT pg_temp.try(format('SELECT pg_temp.type(%L)', jsonb_agg(jsonb_build_object('qualification', n, 'comparator', 'exists')))) FROM generate_series(1, 21) n;
SELECT pg_temp.try(format('SELECT pg_temp.type(%L)', jsonb_build_array(jsonb_build_object('qualification', 'assignments_approved', 'comparator', 'in', 'values', jsonb_agg(n))))) FROM generate_series(1, 301) n;
-- equal requirements make the same type, however they are written
SELECT pg_temp.type('[{"qualification": "location", "comparator": "in", "values": ["us", "DE", "US"]}, {"qualification": "approval_percent", "comparator": ">=", "value": 95.0}]')
    = pg_temp.type('[{"value": 95, "comparator": ">=", "guard": "accept", "qualification": "approval_percent"}, {"qualification": "location", "comparator": "in", "values": ["DE", "US"]}]') AS same,
    pg_temp.type('[{"qualification": "location", "comparator": "exists"}]') = pg_temp.type('[{"qualification": "location", "comparator": "exists", "guard": "preview"}]') AS other_guard,
    pg_temp.type('[{"qualification": "location", "comparator": "exists"}]') = pg_temp.type('[]') AS none;
INSERT INTO thing VALUES ('canonical', pg_temp.type('[{"qualification": "location", "comparator": "in", "values": ["us", "DE", "US"]}, {"qualification": "approval_percent", "comparator": ">=", "value": 95.50}, {"qualification": "device", "comparator": "not exists", "guard": "discover"}]'));
SELECT qualifications FROM taskex.task_types WHERE task_type_id = pg_temp.id('canonical');
-- of another requester: only if it is public, also where the type is there
SELECT taskex.create_task_type('q_req', 'Public', 0, qualifications => jsonb_build_array(jsonb_build_object('qualification', pg_temp.id('public'), 'comparator', 'exists'))) > 0 AS made;
INSERT INTO thing VALUES ('type other', taskex.create_task_type('q_oth', 'Other', 0, qualifications => jsonb_build_array(jsonb_build_object('qualification', pg_temp.id('other'), 'comparator', 'exists'))));
SELECT pg_temp.try($$SELECT taskex.create_task('q_req', pg_temp.id('type other'), '1')$$);
SELECT pg_temp.try($$SELECT taskex.create_tasks('q_req', pg_temp.id('type other'), ARRAY['1']::jsonb[])$$);
SELECT pg_temp.try($$SELECT taskex.change_task_type('q_req', taskex.create_task('q_req', pg_temp.type('[]'), '1'), pg_temp.id('type other'))$$);
SELECT taskex.update_qualification('q_oth', pg_temp.id('other'), '{"is_public": true}');
SELECT pg_temp.try($$SELECT taskex.create_task('q_req', pg_temp.id('type other'), '1')$$);

-- each comparator, for scores: ann has 60, bob -5, cid none
CREATE TEMP TABLE case_of (number int GENERATED ALWAYS AS IDENTITY, requirement jsonb);
CREATE TEMP VIEW met AS
    SELECT number, requirement - 'guard' - 'qualification' AS requirement, requirement -> 'qualification' AS subject, who,
        (SELECT CASE WHEN met THEN 'yes' ELSE 'no' END || coalesce(' (' || value || ')', '') FROM taskex.check_qualifications(who, pg_temp.type(jsonb_build_array(requirement)))) AS met
    FROM case_of, unnest(ARRAY['q_ann', 'q_bob', 'q_cid']) who;
INSERT INTO case_of (requirement) SELECT jsonb_build_object('qualification', pg_temp.id('plain'), 'comparator', c, 'value', v)
    FROM unnest(ARRAY['<', '<=', '=', '!=', '>=', '>']) c, unnest(ARRAY[-5, 60]) v;
INSERT INTO case_of (requirement) SELECT jsonb_build_object('qualification', pg_temp.id('plain'), 'comparator', c, 'values', '[7, -5, 8]'::jsonb) FROM unnest(ARRAY['in', 'not in']) c;
INSERT INTO case_of (requirement) SELECT jsonb_build_object('qualification', pg_temp.id('plain'), 'comparator', c) FROM unnest(ARRAY['exists', 'not exists']) c;
SELECT requirement, string_agg(met, ', ' ORDER BY who) AS "ann, bob, cid" FROM met GROUP BY number, requirement ORDER BY number;
-- location, device
TRUNCATE case_of RESTART IDENTITY;
INSERT INTO case_of (requirement) SELECT jsonb_build_object('qualification', q, 'comparator', c, 'value', v)
    FROM (VALUES ('location', 'US'), ('location', 'US-CA'), ('location', 'us-c'), ('location', 'US-CA-SF'), ('device', 'phone'), ('device', 'tablet')) s (q, v), unnest(ARRAY['=', '!=']) c;
INSERT INTO case_of (requirement) SELECT jsonb_build_object('qualification', q, 'comparator', c, 'values', v)
    FROM (VALUES ('location', '["DE", "US"]'::jsonb), ('device', '["tablet", "Phone"]')) s (q, v), unnest(ARRAY['in', 'not in']) c;
INSERT INTO case_of (requirement) SELECT jsonb_build_object('qualification', q, 'comparator', c) FROM unnest(ARRAY['location', 'device']) q, unnest(ARRAY['exists', 'not exists']) c;
SELECT subject, requirement, string_agg(met, ', ' ORDER BY who) AS "ann, bob, cid" FROM met GROUP BY number, subject, requirement ORDER BY number;
SELECT taskex.update_user('q_cid', '{"location": "US", "devices": ["phone", "vr"], "device": "watch"}');
SELECT subject, requirement, string_agg(met, ', ' ORDER BY who) AS cid FROM met WHERE who = 'q_cid' GROUP BY number, subject, requirement ORDER BY number;
-- counts: what ann has done, as far as it has been added up
INSERT INTO thing VALUES ('work', taskex.create_task_type('q_req', 'Work', 0, auto_approve => '30 days')),
    ('short', taskex.create_task_type('q_req', 'Short', 0, lease => '1 ms'));
SELECT count(*) FROM taskex.create_tasks('q_req', pg_temp.id('work'), array_fill('1'::jsonb, ARRAY[8]));
SELECT count(*) FROM taskex.create_tasks('q_req', pg_temp.id('short'), array_fill('1'::jsonb, ARRAY[2]));
CREATE TEMP TABLE work AS SELECT assignment_id, row_number() OVER () AS n FROM taskex.accept_next('q_ann', pg_temp.id('work'), 8);
SELECT count(taskex.submit_assignment('q_ann', assignment_id, '1')) FROM work WHERE n <= 4;
SELECT count(taskex.approve_assignment('q_req', assignment_id)) FROM work WHERE n <= 3;
SELECT count(taskex.reject_assignment('q_req', assignment_id, 'no')) FROM work WHERE n = 4;
SELECT count(taskex.return_assignment('q_ann', assignment_id)) FROM work WHERE n > 4;
SELECT count(*) FROM taskex.accept_next('q_ann', pg_temp.id('short'), 2);
SET taskex.clock = '2120-01-03 00:10:01+00';
SELECT count(*) > 0 AS due FROM taskex.run_due();
SELECT count(*) > 0 AS due FROM taskex.run_due();
TRUNCATE case_of RESTART IDENTITY;
INSERT INTO case_of (requirement) SELECT jsonb_build_object('qualification', q, 'comparator', c, 'value', v)
    FROM (VALUES ('assignments_submitted', '>=', 4), ('assignments_submitted', '<', 4), ('assignments_approved', '=', 3), ('approval_percent', '>=', 75), ('approval_percent', '>', 75),
        ('return_percent', '<=', 40), ('return_percent', '<', 40), ('abandon_percent', '=', 20), ('abandon_percent', '=', 0), ('member_since', '>=', 2), ('member_since', '>', 2.006), ('member_since', '<=', 2.007)) s (q, c, v);
INSERT INTO case_of (requirement) SELECT jsonb_build_object('qualification', q, 'comparator', c)
    FROM unnest(ARRAY['assignments_submitted', 'approval_percent', 'return_percent', 'abandon_percent', 'member_since']) q, unnest(ARRAY['exists', 'not exists']) c;
INSERT INTO case_of (requirement) VALUES ('{"qualification": "assignments_approved", "comparator": "in", "values": [3, 4]}'), ('{"qualification": "approval_percent", "comparator": "not in", "values": [75]}');
SELECT subject, requirement, string_agg(met, ', ' ORDER BY who) AS "ann, bob" FROM met WHERE who IN ('q_ann', 'q_bob') GROUP BY number, subject, requirement ORDER BY number;

-- enforced ----------------------------------------------------------------------
CREATE FUNCTION pg_temp.needs(subject jsonb, comparator text, value int, guard text = 'accept') RETURNS jsonb LANGUAGE sql AS
    $$ SELECT jsonb_build_array(jsonb_build_object('qualification', subject, 'comparator', comparator, 'value', value, 'guard', guard)) $$;
INSERT INTO thing VALUES ('hard', pg_temp.type(pg_temp.needs(to_jsonb(pg_temp.id('plain')), '>=', 50) || '[{"qualification": "location", "comparator": "=", "value": "US"}, {"qualification": "device", "comparator": "not in", "values": ["pager", "fax"]}]'));
INSERT INTO thing SELECT 'hard task ' || n, t FROM taskex.create_tasks('q_req', pg_temp.id('hard'), ARRAY['1', '2', '3', '4', '5', '6', '7', '8']::jsonb[]) WITH ORDINALITY u (t, n);
SELECT who, pg_temp.try(format('SELECT taskex.accept_task(%L, pg_temp.id(''hard task 1''))', who)) FROM unnest(ARRAY['q_ann', 'q_bob', 'q_cid']) who;
SELECT who, (SELECT count(*) FROM taskex.accept_next(who, pg_temp.id('hard'))) AS took FROM unnest(ARRAY['q_ann', 'q_bob', 'q_cid']) who;
SELECT requirement - 'qualification' AS requirement, value, met FROM taskex.check_qualifications('q_bob', pg_temp.id('hard'));
SELECT count(*) FROM taskex.check_qualifications('q_bob', pg_temp.type('[]'));
SELECT pg_temp.try('SELECT taskex.check_qualifications(''q_bob'', 0)');
-- as soon as he is qualified, also for what he was passed by before; as soon as he is not, no more
SELECT taskex.grant_qualification('q_req', pg_temp.id('plain'), 'q_cid', 50);
SELECT input FROM taskex.accept_next('q_cid', pg_temp.id('hard'));
SELECT taskex.revoke_qualification('q_req', pg_temp.id('plain'), 'q_cid');
SELECT count(*) FROM taskex.accept_next('q_cid', pg_temp.id('hard'));
SELECT taskex.grant_qualification('q_req', pg_temp.id('plain'), 'q_cid', 49);
SELECT count(*) FROM taskex.accept_next('q_cid', pg_temp.id('hard'));
SELECT score, state FROM taskex.qualification_score('q_cid', pg_temp.id('plain'));
SELECT taskex.update_user('q_ann', '{"location": "DE"}');
SELECT count(*) FROM taskex.accept_next('q_ann', pg_temp.id('hard'));
SELECT taskex.update_user('q_ann', '{"location": "US"}');
-- in one transaction, of any isolation level, with his own changes; undone, they do not count
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT taskex.grant_qualification('q_req', pg_temp.id('plain'), 'q_cid', 51);
SELECT input FROM taskex.accept_next('q_cid', pg_temp.id('hard'));
ROLLBACK;
SELECT count(*) FROM taskex.accept_next('q_cid', pg_temp.id('hard'));
-- what others may look at
SELECT guard, act, _taskex.qualifies(_taskex.user_id('q_cid'), pg_temp.type(pg_temp.needs(to_jsonb(pg_temp.id('plain')), '>=', 50, guard)), act)
    FROM unnest(ARRAY['discover', 'preview', 'accept']) guard, unnest(ARRAY['discover', 'preview', 'accept']) act;
SELECT _taskex.qualifies(_taskex.user_id('q_cid'), 0, 'accept');
-- a type that is not committed yet, and one that is gone
BEGIN;
INSERT INTO thing VALUES ('own', taskex.create_task_type('q_req', 'Own', 0, qualifications => pg_temp.needs(to_jsonb(pg_temp.id('plain')), '=', 49)));
INSERT INTO thing VALUES ('own task', taskex.create_task('q_req', pg_temp.id('own'), '1', 2));
SELECT pg_temp.try('SELECT taskex.accept_task(''q_ann'', pg_temp.id(''own task''))');
SELECT input FROM taskex.accept_task('q_cid', pg_temp.id('own task'));
ROLLBACK;
SELECT count(*) FROM taskex.accept_next('q_cid', pg_temp.id('hard'));

-- an inactive qualification stays with those who have it
SELECT taskex.update_qualification('q_req', pg_temp.id('plain'), '{"state": "inactive"}');
SELECT pg_temp.try('SELECT pg_temp.type(pg_temp.needs(to_jsonb(pg_temp.id(''plain'')), ''<'', 99))');
SELECT pg_temp.try('SELECT taskex.request_qualification(''q_oth'', pg_temp.id(''plain''))');
SELECT input FROM taskex.accept_next('q_ann', pg_temp.id('hard'));
SELECT taskex.update_qualification('q_req', pg_temp.id('plain'), '{"state": "active"}');
-- a deleted one too, but no more tasks are made with it, and requests are rejected
SELECT state FROM taskex.request_qualification('q_oth', pg_temp.id('plain'));
SELECT taskex.delete_qualification('q_req', pg_temp.id('plain'));
SELECT pg_temp.try('SELECT taskex.delete_qualification(''q_req'', pg_temp.id(''plain''))');
SELECT pg_temp.try('SELECT taskex.delete_qualification(''q_oth'', pg_temp.id(''auto''))');
SELECT state, name FROM taskex.qualifications WHERE qualification_id = pg_temp.id('plain');
SELECT performer, reason FROM taskex.qualification_requests('q_req', pg_temp.id('plain'), 'rejected') WHERE performer = 'q_oth';
SELECT pg_temp.try('SELECT taskex.create_task(''q_req'', pg_temp.id(''hard''), ''9'')');
SELECT pg_temp.try('SELECT pg_temp.type(pg_temp.needs(to_jsonb(pg_temp.id(''plain'')), ''<'', 99))');
SELECT pg_temp.try('SELECT taskex.grant_qualification(''q_req'', pg_temp.id(''plain''), ''q_oth'')');
SELECT pg_temp.try('SELECT taskex.request_qualification(''q_oth'', pg_temp.id(''plain''))');
SELECT input FROM taskex.accept_next('q_ann', pg_temp.id('hard'));
SELECT performer, score FROM taskex.qualification_holders('q_req', pg_temp.id('plain'));
SELECT taskex.revoke_qualification('q_req', pg_temp.id('plain'), 'q_ann');
SELECT count(*) FROM taskex.accept_next('q_ann', pg_temp.id('hard'));
SELECT taskex.create_qualification('q_req', 'Plain') > 0 AS name_is_free;

-- blocks ------------------------------------------------------------------------
INSERT INTO thing VALUES ('free', taskex.create_task_type('q_req', 'Free', 0));
INSERT INTO thing SELECT 'free task ' || n, t FROM taskex.create_tasks('q_req', pg_temp.id('free'), ARRAY['1', '2', '3', '4', '5', '6']::jsonb[]) WITH ORDINALITY u (t, n);
SELECT input FROM taskex.accept_next('q_bob', pg_temp.id('free'));
SELECT taskex.block_performer('q_req', 'q_bob', 'Careless');
SELECT count(*) FROM taskex.accept_next('q_bob', pg_temp.id('free'));
SELECT pg_temp.try('SELECT taskex.accept_task(''q_bob'', pg_temp.id(''free task 2''))');
-- what he has he keeps, and others' tasks he gets
SELECT taskex.submit_assignment('q_bob', assignment_id, '1') FROM taskex.assignments WHERE performer = 'q_bob' AND state = 'accepted' ORDER BY assignment_id LIMIT 1;
SELECT taskex.create_task('q_oth', pg_temp.id('free'), '"of another"') > 0 AS made;
SELECT input FROM taskex.accept_next('q_bob', pg_temp.id('free'));
SELECT count(*) FROM taskex.accept_next('q_bob', pg_temp.id('free'));
SELECT requester, performer, reason, blocked_at, until, active FROM taskex.blocks WHERE performer = 'q_bob';
-- unblocked, he gets what he was passed by
SELECT taskex.unblock_performer('q_req', 'q_bob'), taskex.unblock_performer('q_req', 'q_bob'), taskex.unblock_performer('q_oth', 'q_bob');
SELECT input FROM taskex.accept_next('q_bob', pg_temp.id('free'));
-- until a time
SELECT taskex.block_performer('q_req', 'q_bob', 'Careless', '2120-01-03 01:00:00+00');
SELECT taskex.block_performer('q_req', 'q_bob', 'Still careless', '2120-01-03 02:00:00+00');
SELECT pg_temp.try('SELECT taskex.accept_task(''q_bob'', pg_temp.id(''free task 3''))');
SELECT count(*) FROM taskex.accept_next('q_bob', pg_temp.id('free'));
SELECT reason, until, active FROM taskex.blocks WHERE performer = 'q_bob';
SET taskex.clock = '2120-01-03 02:00:00+00';
SELECT active FROM taskex.blocks WHERE performer = 'q_bob';
SELECT input FROM taskex.accept_next('q_bob', pg_temp.id('free'));
-- by the exchange
SELECT taskex.suspend_performer('q_bob', 'Two accounts', '2120-01-04 00:00:00+00');
SELECT pg_temp.try('SELECT taskex.accept_task(''q_bob'', pg_temp.id(''free task 4''))');
SELECT pg_temp.try('SELECT taskex.accept_next(''q_bob'')');
SELECT requester, reason, until FROM taskex.blocks WHERE performer = 'q_bob' AND active;
SELECT _taskex.is_blocked(_taskex.user_id('q_bob'), _taskex.user_id('q_oth')), _taskex.is_blocked(_taskex.user_id('q_ann'), _taskex.user_id('q_oth'));
SELECT taskex.suspend_performer('q_bob', 'Three accounts');
SELECT pg_temp.try('SELECT taskex.accept_next(''q_bob'')');
SELECT taskex.resume_performer('q_bob'), taskex.resume_performer('q_bob');
SELECT input FROM taskex.accept_next('q_bob', pg_temp.id('free'));
SELECT call, pg_temp.try('SELECT taskex.' || call) AS says FROM (VALUES
    ('block_performer(''q_req'', ''q_bob'', '''')'), ('block_performer(''q_req'', ''q_bob'', repeat(''x'', 10001))'), ('block_performer(''q_req'', ''q_nobody'', ''x'')'),
    ('block_performer(''q_req'', ''q_bob'', ''x'', ''2120-01-03 02:00:00+00'')'), ('block_performer(''q_req'', ''q_bob'', ''x'', ''infinity'')'), ('block_performer(''q_req'', ''q_req'', ''x'')'),
    ('unblock_performer(''q_req'', ''q_nobody'')'), ('suspend_performer(''q_nobody'', ''x'')'), ('suspend_performer(''q_bob'', '''')'),
    ('suspend_performer(''q_bob'', NULL)'), ('suspend_performer(NULL, ''x'')'), ('resume_performer(''q_nobody'')')) v (call);

-- many qualifications, many blocks of one performer
SELECT count(taskex.grant_qualification('q_req', taskex.create_qualification('q_req', 'Many ' || n), 'q_ann', n)) FROM generate_series(1, 40) n;
SELECT count(*) FROM taskex.qualifications WHERE name LIKE 'Many%' AND EXISTS (SELECT FROM taskex.check_qualifications('q_ann',
    pg_temp.type(pg_temp.needs(to_jsonb(qualification_id), '=', substr(name, 6)::int))) WHERE met);
SELECT count(taskex.register_user('q_many_' || n, partition => 'qualification_1')), count(taskex.block_performer('q_many_' || n, 'q_ann', 'n')) FROM generate_series(1, 40) n;
SELECT count(*) FROM generate_series(1, 40) n WHERE _taskex.is_blocked(_taskex.user_id('q_ann'), _taskex.user_id('q_many_' || n));
SELECT input FROM taskex.accept_next('q_ann', pg_temp.id('free'));

-- what bob has heard of all this
SELECT count(*) > 0 AS due FROM taskex.run_due();
SELECT kind, coalesce(requester, 'exchange') AS requester, at, detail - 'qualification' - 'request' AS detail FROM taskex.read_events('q_bob') ORDER BY event;
SELECT taskex.unsubscribe('q_bob');
SELECT count(taskex.expire_task(requester, task_id)) > 0 AS closed FROM taskex.tasks WHERE requester LIKE 'q\_%' AND state = 'available';
SET taskex.clock = '2122-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT * FROM taskex.check_market() WHERE NOT ok;
