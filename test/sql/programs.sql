-- Programs: compiled as their owner when they are published, chained, found,
-- deprecated. Code that comes with a run; data that a run points to.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.clock = '2132-01-01 00:00:00+00';
SELECT taskex.add_partition('programs_1') > 0 AS added;
CREATE ROLE regress_programs_ann LOGIN;
CREATE ROLE regress_programs_bob LOGIN;
GRANT taskex_user TO regress_programs_ann, regress_programs_bob;
SELECT taskex.register_user('pr_ann', '{"db_role": "regress_programs_ann"}', 'programs_1') > 0 AS ann,
    taskex.register_user('pr_bob', '{"db_role": "regress_programs_bob"}', 'programs_1') > 0 AS bob, taskex.register_user('pr_none', '{}', 'programs_1') > 0 AS none;
SELECT taskex.create_environment('pr_sql', 'sql') > 0 AS sql, taskex.create_environment('pr_pl', 'plpgsql') > 0 AS pl, taskex.create_environment('pr_ext', 'external') > 0 AS ext,
    taskex.create_environment('pr_set_up', 'sql', options => '{"setup": "CREATE TEMP TABLE made (i int)"}') > 0 AS set_up;

-- what does not compile is not published; the line is told
SELECT taskex.publish_program('pr_ann', 'p', 'pr_pl', E'BEGIN\n\n  RETRUN 1;\nEND');
SELECT taskex.publish_program('pr_ann', 'p', 'pr_sql', E'SELECT\n none(1)');
SELECT taskex.publish_program('pr_ann', 'p', 'pr_sql', 'SELECT 1');
SELECT taskex.publish_program('pr_ann', 'p', 'pr_sql', 'SELECT i FROM made');
SELECT taskex.publish_program('pr_none', 'p', 'pr_pl', 'BEGIN RETURN 1; END');
SELECT count(*) FROM taskex.programs WHERE owner LIKE 'pr\_%';
SELECT taskex.publish_program('pr_none', 'p', 'pr_ext', 'anything');
-- names may be there when the environment has been set up; syntax is syntax
SELECT taskex.publish_program('pr_ann', 'made', 'pr_set_up', 'SELECT to_jsonb(i) FROM made');
SELECT taskex.publish_program('pr_ann', 'made', 'pr_set_up', 'SELECT FROM FROM made');
-- compiled as the owner: his search path, his rights on schemas; and nothing stays
CREATE SCHEMA regress_programs_ann AUTHORIZATION regress_programs_ann;
CREATE SCHEMA regress_programs_bob AUTHORIZATION regress_programs_bob;
CREATE TABLE regress_programs_ann.own (i int);
CREATE TABLE regress_programs_bob.other (i int);
SELECT taskex.publish_program('pr_ann', 'own', 'pr_sql', 'SELECT to_jsonb(i) FROM own');
SELECT taskex.publish_program('pr_bob', 'own', 'pr_sql', 'SELECT to_jsonb(i) FROM own');
SELECT taskex.publish_program('pr_bob', 'own', 'pr_sql', 'SELECT to_jsonb(i) FROM regress_programs_ann.own');
ALTER ROLE regress_programs_bob SET search_path = 'regress_programs_ann';
GRANT USAGE ON SCHEMA regress_programs_ann TO regress_programs_bob;
SELECT taskex.publish_program('pr_bob', 'own', 'pr_sql', 'SELECT to_jsonb(i) FROM own');
SELECT count(*) FROM pg_proc WHERE proname LIKE 'code\_of\_process%';
SELECT current_user = session_user AS same_user, current_setting('check_function_bodies');
REVOKE USAGE ON LANGUAGE sql FROM PUBLIC;
SELECT taskex.publish_program('pr_ann', 'p', 'pr_sql', 'SELECT to_jsonb(2)');
GRANT USAGE ON LANGUAGE sql TO PUBLIC;
-- the default privileges of the extension's owner do not matter
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
SELECT taskex.publish_program('pr_ann', 'p', 'pr_sql', 'SELECT to_jsonb(3)');
ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;

-- code that comes with a run
SELECT taskex.submit_run('pr_ann', options => '{"environment": "pr_pl", "code": "BEGIN RETURN 1; ENDE"}');
SELECT taskex.submit_run('pr_ann', options => '{"environment": "pr_pl", "code": "BEGIN RETURN 1; END"}') > 0 AS submitted,
    taskex.submit_run('pr_ann', options => '{"environment": "pr_pl", "code": "BEGIN RETURN 1; END"}') > 0 AS again;
SELECT count(*) FROM taskex.submit_runs('pr_ann', NULL, '{1,2}', options => '{"environment": "pr_pl", "code": "BEGIN RETURN data; END"}');
SELECT taskex.submit_runs('pr_ann', NULL, '{1,2}', options => '{"environment": "pr_pl", "code": "BEGIN"}');
SELECT taskex.submit_run('pr_none', options => '{"environment": "pr_ext", "code": "anything"}') > 0 AS submitted;

-- chains
SELECT taskex.publish_program('pr_ann', 'plus', 'pr_sql', 'SELECT to_jsonb((data #>> ''{}'')::int + 1)', 0.1);
SELECT taskex.publish_program('pr_bob', 'twice', 'pr_sql', 'SELECT to_jsonb((data #>> ''{}'')::int * 2)', 0.5, true),
    taskex.publish_program('pr_bob', 'twice', 'pr_sql', 'SELECT to_jsonb((data #>> ''{}'')::int * 2 + 0)', 0.6, true),
    taskex.publish_program('pr_bob', 'private', 'pr_sql', 'SELECT data'), taskex.publish_program('pr_bob', 'other', 'pr_pl', 'BEGIN RETURN data; END', 0, true);
SELECT taskex.publish_chain('pr_ann', 'both', '{plus,pr_bob/twice,pr_bob/twice@1}', is_public => true);
SELECT taskex.publish_chain('pr_ann', 'both', '{both,plus@1}', 0.25, true);
SELECT version, is_newest, price, source FROM taskex.programs WHERE owner = 'pr_ann' AND name = 'both' ORDER BY version;
SELECT s.step, p.name, s.version, _taskex.login(s.owner_id) AS owner
    FROM _taskex.program p2, _taskex.program_steps(p2.program_id, 2) s JOIN _taskex.program p USING (program_id) WHERE p2.name = 'both' ORDER BY s.step;
SELECT s.step, p.name, s.version
    FROM _taskex.program p2, _taskex.program_steps(p2.program_id, 1) s JOIN _taskex.program p USING (program_id) WHERE p2.name = 'twice' ORDER BY s.step;
SELECT taskex.publish_chain('pr_ann', 'bad', '{plus}');
SELECT taskex.publish_chain('pr_ann', 'bad', '{plus,NULL}');
SELECT taskex.publish_chain('pr_ann', 'bad', '{plus,plus@x}');
SELECT taskex.publish_chain('pr_ann', 'bad', '{plus,plus@9}');
SELECT taskex.publish_chain('pr_ann', 'bad', '{plus,pr_bob/private}');
SELECT taskex.publish_chain('pr_ann', 'bad', '{plus,pr_bob/other}');
SELECT taskex.publish_chain('pr_none', 'bad', '{p,p}');
SELECT taskex.publish_chain('pr_ann', 'plus', '{plus,plus}');
SELECT taskex.publish_program('pr_ann', 'both', 'pr_sql', 'SELECT data');
SELECT taskex.publish_chain('pr_ann', 'bad', array_fill('plus'::text, '{101}'));
SELECT taskex.submit_run('pr_bob', 'pr_ann/both', '1') > 0 AS submitted;
-- whose piece is withdrawn, withdraws it from chains of others, too
SELECT taskex.publish_program('pr_bob', 'twice', 'pr_sql', 'SELECT data', 0.6, false);
SELECT taskex.submit_run('pr_none', 'pr_ann/both', '1');
SELECT taskex.publish_program('pr_bob', 'twice', 'pr_sql', 'SELECT data', 0.6, true);

-- data that a run points to: with whose rights, and what they are
CREATE TABLE regress_programs_ann.datum (i int, t text);
ALTER TABLE regress_programs_ann.datum OWNER TO regress_programs_ann;
INSERT INTO regress_programs_ann.datum VALUES (2, 'b'), (1, 'a');
SELECT taskex.data_checksum('{"table": "regress_programs_ann.datum"}') AS sum \gset
SELECT :'sum' = encode(sha256('[{"i": 1, "t": "a"}, {"i": 2, "t": "b"}]'), 'hex') AS sorted,
    taskex.data_checksum('{"query": "SELECT * FROM regress_programs_ann.datum ORDER BY i -- all;"}') = :'sum' AS same,
    taskex.data_checksum('{"query": "SELECT 1 AS x; "}') = encode(sha256('[{"x": 1}]'), 'hex') AS one;
-- a column of the name that the query has in ours, and a query that goes on after ours
SELECT taskex.data_checksum('{"query": "SELECT NULL::int AS q"}') = encode(sha256('[{"q": null}]'), 'hex') AS same_name;
SELECT taskex.data_checksum('{"query": "SELECT 1) q UNION ALL SELECT NULL::jsonb FROM (SELECT 1"}');
SELECT taskex.data_checksum(jsonb_build_object('table', 'regress_programs_ann.datum', 'checksum', :'sum')) = :'sum' AS pinned;
UPDATE regress_programs_ann.datum SET i = 3 WHERE i = 1;
SELECT taskex.data_checksum(jsonb_build_object('table', 'regress_programs_ann.datum', 'checksum', :'sum'));
SET ROLE regress_programs_bob;
SELECT taskex.data_checksum('{"table": "datum"}');
RESET ROLE;
SELECT taskex.data_checksum('{"table": "no.such"}');
SELECT taskex.data_checksum('{"table": "a b"}');
SELECT taskex.data_checksum('{"query": "DELETE FROM regress_programs_ann.datum RETURNING i"}');
SET taskex.max_input_size = '16kB';
SELECT taskex.data_checksum('{"query": "SELECT g FROM generate_series(1, 100000) g"}');
SELECT lo_from_bytea(513201, '{"a": 1}'), lo_from_bytea(513202, '\x00ff'), lo_from_bytea(513203, 'text'), lo_from_bytea(513204, convert_to(repeat('x', 16385), 'UTF8'));
SELECT taskex.data_checksum('{"object": "513201"}') = encode(sha256('{"a": 1}'), 'hex') AS json,
    taskex.data_checksum('{"object": "513203", "format": "text"}') = encode(sha256('"text"'), 'hex') AS text,
    taskex.data_checksum('{"object": "513202", "format": "base64"}') = encode(sha256('"AP8="'), 'hex') AS base64;
SELECT taskex.data_checksum('{"object": "513202"}');
SELECT taskex.data_checksum('{"object": "513203"}');
SELECT taskex.data_checksum('{"object": "513204", "format": "text"}');
SELECT taskex.data_checksum('{"object": "1"}');
SET ROLE regress_programs_bob;
SELECT taskex.data_checksum('{"object": "513201"}');
RESET ROLE;
RESET taskex.max_input_size;
SELECT count(lo_unlink(l)) FROM generate_series(513201, 513204) l;

-- languages that can do everything are for customers who are named
UPDATE pg_language SET lanpltrusted = false WHERE lanname = 'plpgsql';
SELECT taskex.create_environment('pr_all', 'plpgsql');
SELECT taskex.create_environment('pr_all', 'plpgsql', options => '{"customers": ["pr_ann"]}') > 0 AS made;
SELECT taskex.alter_environment('pr_all', '{"customers": null}');
SELECT taskex.publish_program('pr_ann', 'all', 'pr_all', 'BEGIN RETURN data; END'), taskex.submit_run('pr_ann', 'all') > 0 AS submitted;
SELECT taskex.publish_program('pr_bob', 'all', 'pr_all', 'BEGIN RETURN data; END');
SELECT taskex.submit_run('pr_bob', options => '{"environment": "pr_all", "code": "BEGIN RETURN data; END"}');
UPDATE pg_language SET lanpltrusted = true WHERE lanname = 'plpgsql';

-- found, deprecated, and back
SELECT owner, name, environment, version, total_price, is_public, is_chain FROM taskex.search_programs('PR_ann') ORDER BY 1, 2;
SELECT name, total_price FROM taskex.search_programs('pr_ sql', max_price => 0.9);
SELECT name FROM taskex.search_programs(environment => 'pr_pl');
SET ROLE regress_programs_bob;
SELECT owner, name FROM taskex.search_programs('pr_');
RESET ROLE;
SELECT taskex.search_programs(max_rows => 0);
SELECT taskex.deprecate_program('pr_bob', 'twice', 4), taskex.deprecate_program('pr_ann', 'plus');
SELECT name, version FROM taskex.search_programs('pr_') WHERE name IN ('plus', 'twice');
SELECT taskex.undeprecate_program('pr_bob', 'twice'), taskex.undeprecate_program('pr_bob', 'twice'), taskex.undeprecate_program('pr_ann', 'plus', 1);
SELECT name, version FROM taskex.search_programs('pr_') WHERE name IN ('plus', 'twice');
SELECT taskex.undeprecate_program('pr_bob', 'none');

-- a function that gets the result: a run of its own, which comes after
SELECT taskex.submit_run('pr_ann', NULL, '1', 7, options => '{"environment": "pr_ext", "result_function": "own.taken", "result_environment": "pr_pl", "retention": "0", "deduplication_key": "k"}') AS first \gset
SELECT taskex.submit_run('pr_ann', NULL, '1', 7, options => '{"environment": "pr_ext", "result_function": "own.taken", "result_environment": "pr_pl", "retention": "0", "deduplication_key": "k"}') = :first AS same;
SELECT run_id - :first AS n, environment, state, priority, attempts, options - 'result_of' AS options, options ->> 'result_of' = :'first' AS its_own FROM taskex.runs WHERE run_id IN (:first, :first + 1024) ORDER BY 1;
SELECT count(taskex.complete_run(run_id, lease_token, '{"ok": true}')) FROM taskex.pull_runs('w', 'pr_ext', 100);
SELECT run_id - :first AS n, state FROM taskex.runs WHERE run_id IN (:first, :first + 1024) ORDER BY 1;
-- (the result is kept for it)
SELECT taskex.remove_runs('0') > 0 AS others, count(*) FROM taskex.runs WHERE run_id = :first;
SELECT taskex.cancel_run(:first + 1024);
SELECT taskex.remove_runs('0') > 0 AS removed;
SELECT count(*) FROM taskex.runs WHERE run_id = :first;
SELECT taskex.submit_run('pr_ann', options => '{"environment": "pr_ext", "result_function": "own.taken"}');
SELECT taskex.submit_run('pr_ann', options => '{"environment": "pr_pl", "code": "BEGIN RETURN 1; END", "result_function": "a b"}');
SELECT taskex.submit_run('pr_ann', options => '{"environment": "pr_ext", "result_environment": "pr_pl"}');
SELECT taskex.submit_run('pr_ann', options => '{"environment": "pr_ext", "result_function": "f", "result_environment": "pr_none"}');
SELECT taskex.submit_run('pr_ann', options => '{"environment": "pr_ext", "result_of": 1}');
SELECT taskex.submit_runs('pr_ann', NULL, '{1}', options => '{"environment": "pr_ext", "result_function": "f", "result_environment": "pr_pl"}');
-- whose run is cancelled or fails, gets nothing
SELECT taskex.submit_run('pr_ann', options => '{"environment": "pr_ext", "result_function": "f", "result_environment": "pr_pl"}') AS second \gset
SELECT taskex.cancel_run(:second), (taskex.run_status(:second + 1024)).state;

-- dead letters are told
SELECT taskex.subscribe('pr_ann', '{run_failed}') IS NOT NULL AS subscribed;
SELECT taskex.submit_run('pr_ann', options => '{"environment": "pr_ext", "max_attempts": 2, "backoff": {"initial": "0"}}') AS third \gset
SELECT taskex.fail_run(run_id, lease_token, '{"message": "first"}') FROM taskex.pull_runs('w', 'pr_ext');
SELECT taskex.fail_run(run_id, lease_token, '{"message": "no", "sqlstate": "22012"}') FROM taskex.pull_runs('w', 'pr_ext');
SELECT count(*) FROM taskex.run_due();
SELECT kind, requester, performer, detail - 'run_id' AS detail, detail ->> 'run_id' = :'third' AS its_id FROM taskex.read_events('pr_ann');

-- times of schedules
SELECT cron, to_jsonb(ARRAY(SELECT to_char(t, 'MM-DD HH24:MI') FROM _taskex.cron_times(cron, '2024-02-28 12:00+00', '2024-03-04 12:00+00') t LIMIT 5)) AS first,
    (SELECT count(*) FROM _taskex.cron_times(cron, '2024-02-28 12:00+00', '2024-03-04 12:00+00')) AS times FROM (VALUES
    ('* * * * *'), ('*/20 3 * * *'), ('0 0 29 2 *'), ('5,10-12 1-23/11 * * *'), ('0 12 * feb thu'), ('0 9 1 * fri'), ('0 6 * * 7'), ('0 6 * * sun-tue'), ('@daily'), ('@monthly')) c (cron);
SELECT * FROM _taskex.cron_times('61 * * * *', now(), now());
SELECT * FROM _taskex.cron_times('* * * *', now(), now());
SELECT * FROM _taskex.cron_times('whenever', now(), now());
SELECT * FROM _taskex.cron_times('5-1 * * * *', now(), now());
SELECT taskex.schedule_run('pr_ann', 'nightly', '0 3 * * *', 'plus', '1');
SELECT taskex.unschedule_run('pr_ann', 'nightly');

-- (nothing is left in the queue)
SELECT count(taskex.cancel_run(run_id)) FROM taskex.runs WHERE customer LIKE 'pr\_%' AND finished_at IS NULL;
