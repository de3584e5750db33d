-- Runs: submitted, pulled, completed, failed, tried again; order, limits and
-- dependencies; what savepoints do to the queue.
\set SHOW_CONTEXT never
\set VERBOSITY sqlstate
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.clock = '2130-01-01 00:00:00+00';
-- (other tests left leases)
SELECT count(*) FROM taskex.run_due_runs();
SELECT taskex.add_partition('work_1') > 0 AS added, taskex.add_partition('work_2') > 0 AS added;
CREATE ROLE regress_workload LOGIN;
SELECT taskex.register_user('w_ann', '{"db_role": "regress_workload"}', 'work_1') > 0 AS ann,
    taskex.register_user('w_bob', '{"db_role": "regress_workload"}', 'work_2') > 0 AS bob;
SELECT taskex.create_environment('w_ext', 'external') > 0 AS ext,
    taskex.create_environment('w_pl', 'external', '15', '{"max_attempts": 2, "limits": {"timeout": "1 minute", "memory": "64MB", "rows": 100}}') > 0 AS pl;
CREATE TEMP VIEW broken AS SELECT * FROM taskex.check_workload() WHERE NOT ok;
CREATE FUNCTION pg_temp.submit(who text, what jsonb, priority int = 0, options jsonb = '{}', max_delay interval = NULL) RETURNS bigint LANGUAGE sql AS
    $$ SELECT taskex.submit_run(who, NULL, what, priority, max_delay, '{"environment": "w_ext"}' || options) $$;
-- what a pull brings, in its order
CREATE FUNCTION pg_temp.pull(n int = 1) RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(data #>> '{}', ' ' ORDER BY o) FROM taskex.pull_runs('w', 'w_ext', n) WITH ORDINALITY AS p (run_id, lease_token, lease_until, customer, priority,
        attempt, program, version, code, data, data_ref, timeout, progress, state, o) $$;
CREATE FUNCTION pg_temp.token(id bigint) RETURNS bigint LANGUAGE sql AS 'SELECT lease_token FROM _taskex.run WHERE run_id = id';
CREATE FUNCTION pg_temp.customers() RETURNS bigint[] LANGUAGE sql AS $$ SELECT array_agg(user_id) FROM taskex.users WHERE login LIKE 'w\_%' $$;
-- ends all that runs
CREATE FUNCTION pg_temp.finish() RETURNS bigint LANGUAGE sql AS
    $$ SELECT count(taskex.complete_run(run_id, lease_token, data)) FROM _taskex.run WHERE state = 'running' AND customer_id = ANY (pg_temp.customers()) $$;
-- gives all that runs back
CREATE FUNCTION pg_temp.give_back() RETURNS bigint LANGUAGE sql AS
    $$ SELECT count(taskex.release_run(run_id, lease_token)::text) FROM _taskex.run WHERE state = 'running' AND customer_id = ANY (pg_temp.customers()) $$;

-- the main line
SELECT pg_temp.submit('w_ann', '"one"') AS one \gset
SELECT state, attempts, max_attempts, submitted_at FROM taskex.run_status(:one);
SELECT customer, priority, attempt, program, code, data, lease_until, timeout FROM taskex.pull_runs('me', 'w_ext', lease => '30 s');
SELECT state, attempts, worker, started_at, lease_until FROM taskex.run_status(:one);
SELECT taskex.run_result(:one) IS NULL AS none_yet;
SELECT taskex.heartbeat_run(:one, pg_temp.token(:one), '2 minutes', '{"done": 0.5}');
SELECT lease_until, progress FROM taskex.run_status(:one);
SELECT taskex.complete_run(:one, pg_temp.token(:one), '{"ok": true}');
SELECT state, lease_until, finished_at FROM taskex.run_status(:one);
SELECT taskex.run_result(:one), taskex.wait_for_run(:one, '0');
SELECT taskex.complete_run(:one, 1, '2');
SELECT * FROM broken;

-- order: priority, then fairly between customers, then as submitted
SELECT count(pg_temp.submit('w_ann', to_jsonb('a' || g))) FROM generate_series(1, 4) g;
SELECT count(pg_temp.submit('w_bob', to_jsonb('b' || g))) FROM generate_series(1, 4) g;
SELECT count(pg_temp.submit('w_bob', '"high"', 9));
SELECT pg_temp.pull(1), pg_temp.pull(1), pg_temp.pull(3), pg_temp.pull(99), pg_temp.pull(1);
SELECT environment, customer, priority, waiting, running FROM taskex.queue WHERE environment LIKE 'w\_%' ORDER BY 1, 2, 3;
SELECT pg_temp.finish();
SELECT * FROM broken;

-- a run that has just become ready is pulled without a look into an index; where rows went elsewhere, by the index
SELECT '_taskex.run_' || partition_id AS child FROM _taskex.run WHERE run_id = :one \gset
CREATE FUNCTION pg_temp.scans(child regclass) RETURNS numeric LANGUAGE sql AS
    $$ SELECT coalesce(sum(pg_stat_get_xact_numscans(indexrelid)), 0) FROM pg_index WHERE indrelid = child $$;
SELECT count(pg_temp.submit('w_ann', to_jsonb('here' || g))) FROM generate_series(1, 3) g;
BEGIN;
SELECT pg_temp.scans(:'child') AS before \gset
SELECT pg_temp.pull(2);
SELECT pg_temp.scans(:'child') - :before AS scans;
COMMIT;
SELECT count(pg_temp.submit('w_ann', to_jsonb('there' || g))) FROM generate_series(1, 60) g;
VACUUM FULL :child;
SELECT pg_temp.pull(4), length(pg_temp.pull(99));
SELECT pg_temp.finish();
-- one that is not ready any more is not pulled, also if the queue has not heard of it
SELECT pg_temp.submit('w_ann', '"gone"') AS gone \gset
UPDATE _taskex.run SET state = 'cancelled', finished_at = submitted_at WHERE run_id = :gone;
SELECT pg_temp.pull(1);
SELECT * FROM broken;

-- max_delay: over, it goes before every priority
SELECT pg_temp.submit('w_ann', '"low"', 0, max_delay => '10 s'), pg_temp.submit('w_ann', '"high"', 9) \g /dev/null
SET taskex.clock = '2130-01-01 00:00:09+00';
SELECT pg_temp.submit('w_ann', '"higher"', 9) \g /dev/null
SELECT pg_temp.pull(1);
SET taskex.clock = '2130-01-01 00:00:10+00';
SELECT pg_temp.pull(1), pg_temp.pull(1);
SELECT pg_temp.finish();

-- who has submitted it waits for nothing until he has committed
SELECT taskex.wait_for_run(pg_temp.submit('w_ann', '"mine"'), '1 hour');
BEGIN;
SAVEPOINT s;
SELECT pg_temp.submit('w_ann', '"mine"') AS mine \gset
RELEASE s;
SELECT taskex.wait_for_run(:mine, '0');
SELECT taskex.wait_for_run(:mine, '1 hour');
ROLLBACK;

-- not before a time
SELECT pg_temp.submit('w_ann', '"later"', options => '{"run_at": "2130-01-01 00:01:00+00"}') AS later \gset
SELECT pg_temp.pull(1), (taskex.run_status(:later)).state;
SELECT * FROM taskex.run_due_runs();
SELECT pg_temp.pull(1);
SET taskex.clock = '2130-01-01 00:01:00+00';
SELECT * FROM taskex.run_due_runs();
SELECT pg_temp.pull(1);
SELECT pg_temp.finish(), (SELECT count(*) FROM _taskex.run_wait WHERE customer_id = ANY (pg_temp.customers()));
SELECT * FROM broken;

-- failure: backoff, attempts, dead letters, and back
SELECT pg_temp.submit('w_ann', '"fails"', options => '{"max_attempts": 2, "backoff": {"initial": "10 s", "factor": 3, "jitter": 0}}') AS f \gset
SELECT pg_temp.pull(1);
SELECT taskex.fail_run(:f, pg_temp.token(:f), '{"message": "first", "sqlstate": "22012"}');
SELECT state, attempts, run_at, error FROM taskex.run_status(:f);
SELECT taskex.complete_run(:f, 1);
SET taskex.clock = '2130-01-01 00:01:10+00';
SELECT * FROM taskex.run_due_runs();
SELECT pg_temp.pull(1);
SELECT taskex.fail_run(:f, pg_temp.token(:f), '{"message": "second"}');
SELECT customer, environment, state, attempts, message, data FROM taskex.dead_letters WHERE customer LIKE 'w\_%';
SELECT taskex.run_result(:f);
SELECT attempt, worker, started_at, finished_at, outcome, error FROM taskex.run_attempts WHERE run_id = :f ORDER BY attempt;
SELECT taskex.retry_run(:f);
SELECT pg_temp.pull(1), (taskex.run_status(:f)).max_attempts;
SELECT taskex.fail_run(:f, pg_temp.token(:f), '{"message": "third"}');
SELECT taskex.retire_environment('w_ext');
SELECT taskex.redrive_runs('w_ann');
SELECT taskex.redrive_runs('w_ann', 'w_ext');
SELECT taskex.unretire_environment('w_ext');
SELECT taskex.redrive_runs('w_ann', 'w_pl'), taskex.redrive_runs('w_ann', 'w_ext', 2), taskex.redrive_runs('w_ann');
SELECT pg_temp.pull(1);
SELECT taskex.fail_run(:f, pg_temp.token(:f), '{"message": "fourth"}', retry => false);
SELECT state, attempts, max_attempts FROM taskex.run_status(:f);
SELECT pg_temp.submit('w_ann', '"once"', options => '{"retryable": ["40", "53200"], "backoff": {"initial": "0"}}') AS f \gset
SELECT pg_temp.pull(1);
SELECT taskex.fail_run(:f, pg_temp.token(:f), '{"sqlstate": "40001"}');
SELECT pg_temp.pull(1);
SELECT taskex.fail_run(:f, pg_temp.token(:f), '{"sqlstate": "42501"}');
SELECT state, attempts, max_attempts FROM taskex.run_status(:f);
SELECT * FROM broken;

-- a lease that ends; the token of before is refused
SELECT pg_temp.submit('w_ann', '"held"', options => '{"backoff": {"initial": "0"}}') AS h \gset
SELECT lease_token AS old FROM taskex.pull_runs('slow', 'w_ext', lease => '10 s') \gset
SET taskex.clock = '2130-01-01 00:01:20+00';
SELECT taskex.complete_run(:h, :old);
SELECT taskex.heartbeat_run(:h, :old);
SELECT * FROM taskex.run_due_runs();
SELECT taskex.complete_run(:h, :old);
SELECT pg_temp.pull(1), (taskex.run_status(:h)).attempts;
SELECT taskex.complete_run(:h, :old);
SELECT attempt, worker, outcome, error FROM taskex.run_attempts WHERE run_id = :h ORDER BY attempt;
-- given back: the attempt does not count
SELECT taskex.release_run(:h, pg_temp.token(:h));
SELECT state, attempts FROM taskex.run_status(:h);
SELECT pg_temp.pull(1);
SELECT pg_temp.finish();
SELECT * FROM broken;

-- cancelled: waiting, running, ended
SELECT pg_temp.submit('w_ann', '"c1"') AS c1, pg_temp.submit('w_ann', '"c2"') AS c2 \gset
SELECT taskex.cancel_run(:c1), taskex.cancel_run(:c1);
SELECT pg_temp.pull(9);
SELECT taskex.cancel_run(:c2);
SELECT taskex.heartbeat_run(:c2, 1);
SELECT taskex.complete_run(:c2, 1);
SELECT taskex.run_result(:c2);
SELECT taskex.cancel_run(:one);
SELECT taskex.retry_run(:c2);
SELECT * FROM broken;

-- dependencies
SELECT pg_temp.submit('w_ann', '"d1"') AS d1, pg_temp.submit('w_ann', '"d2"') AS d2 \gset
SELECT pg_temp.submit('w_ann', '"d3"', options => jsonb_build_object('after', jsonb_build_array(:d1, :d2, :one))) AS d3 \gset
SELECT pg_temp.submit('w_ann', '"d4"', options => jsonb_build_object('after', jsonb_build_array(:d3), 'run_at', '2130-01-01 00:02:00+00')) AS d4 \gset
SELECT pg_temp.pull(9), (taskex.run_status(:d3)).state, (SELECT blockers FROM _taskex.run WHERE run_id = :d3);
SELECT taskex.complete_run(:d1, pg_temp.token(:d1));
SELECT pg_temp.pull(9), (SELECT blockers FROM _taskex.run WHERE run_id = :d3);
SELECT * FROM broken;
SELECT taskex.complete_run(:d2, pg_temp.token(:d2));
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();
SELECT pg_temp.pull(9);
SET taskex.clock = '2130-01-01 00:02:00+00';
SELECT * FROM taskex.run_due_runs();
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();
SELECT pg_temp.submit('w_ann', '"e1"') AS e1 \gset
SELECT pg_temp.submit('w_ann', '"e2"', options => jsonb_build_object('after', jsonb_build_array(:e1))) AS e2 \gset
SELECT pg_temp.submit('w_ann', '"e3"', options => jsonb_build_object('after', jsonb_build_array(:e1, :e2))) AS e3 \gset
SELECT taskex.cancel_run(:e1);
SELECT data, state, regexp_replace(error ->> 'message', '\d+', 'N') AS message FROM taskex.runs WHERE run_id IN (:e1, :e2, :e3) ORDER BY run_id;
SELECT taskex.submit_run('w_ann', options => jsonb_build_object('environment', 'w_ext', 'after', jsonb_build_array(:e1))) IS NULL AS x;
SELECT taskex.submit_run('w_bob', options => jsonb_build_object('environment', 'w_ext', 'after', jsonb_build_array(:one))) IS NULL AS x;
SELECT * FROM broken;

-- deduplication: the key stands for the run
SELECT pg_temp.submit('w_ann', '"k"', options => '{"deduplication_key": "key"}') AS k \gset
SELECT pg_temp.submit('w_ann', '"k"', options => '{"deduplication_key": "key"}') = :k AS same,
    pg_temp.submit('w_bob', '"k"', options => '{"deduplication_key": "key"}') = :k AS not_anothers;
SELECT pg_temp.submit('w_ann', '"l"', options => '{"deduplication_key": "key"}');
SELECT array_agg(i) AS ids FROM taskex.submit_runs('w_ann', NULL, ARRAY['1', '2']::jsonb[], options => '{"environment": "w_ext", "deduplication_key": "two"}') i \gset
SELECT array_agg(i) = :'ids' AS same FROM taskex.submit_runs('w_ann', NULL, ARRAY['1', '2']::jsonb[], options => '{"environment": "w_ext", "deduplication_key": "two"}') i;
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();

-- concurrency keys: one at a time, or as many as the customer says
SELECT count(pg_temp.submit('w_ann', to_jsonb('k' || g), options => '{"concurrency_key": "disk"}')) FROM generate_series(1, 4) g;
SELECT pg_temp.submit('w_ann', '"free"') \g /dev/null
SELECT pg_temp.pull(9), (SELECT waiting FROM taskex.queue WHERE customer = 'w_ann');
SELECT * FROM broken;
SELECT pg_temp.finish();
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();
SELECT taskex.limit_key('w_ann', 'disk', 2);
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();
SELECT pg_temp.pull(9);
SELECT * FROM broken;

-- limits of a customer: how many run, how many start in a time, paused
SELECT taskex.limit_customer('w_bob', 2);
SELECT count(pg_temp.submit('w_bob', to_jsonb(g))) FROM generate_series(1, 8) g;
SELECT pg_temp.pull(9), (SELECT blocked FROM taskex.queue WHERE customer = 'w_bob'), pg_temp.pull(9);
SELECT pg_temp.finish();
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();
SELECT taskex.limit_customer('w_bob', NULL, 1, '10 s');
SELECT pg_temp.pull(9);
SELECT pg_temp.pull(9);
-- what is given back has not been started, also if it was pulled in the same transaction, and if the giving back is undone it has
SELECT pg_temp.give_back();
SELECT pg_temp.pull(9);
BEGIN;
SAVEPOINT s;
SELECT pg_temp.give_back();
ROLLBACK TO s;
COMMIT;
SELECT pg_temp.pull(9);
SELECT pg_temp.give_back();
BEGIN;
SELECT pg_temp.pull(9), pg_temp.give_back();
COMMIT;
SELECT pg_temp.pull(9);
SELECT pg_temp.pull(9);
BEGIN;
SELECT pg_temp.give_back();
ROLLBACK;
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();
SET taskex.clock = '2130-01-01 00:02:11+00';
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();
SELECT taskex.limit_customer('w_bob'), taskex.pause_runs('w_bob');
SELECT pg_temp.pull(9);
SELECT taskex.resume_runs('w_bob');
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();
SELECT taskex.pause_environment('w_ext');
SELECT pg_temp.submit('w_bob', '"paused"') \g /dev/null
SELECT pg_temp.pull(9);
SELECT taskex.resume_environment('w_ext');
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();
SELECT taskex.retire_environment('w_ext');
SELECT pg_temp.submit('w_bob', '"retired"');
SELECT taskex.resume_environment('w_ext');
-- one that is retired may be paused, and is retired after it
SELECT taskex.unretire_environment('w_ext'), pg_temp.submit('w_bob', '"both"') IS NOT NULL, taskex.retire_environment('w_ext'), taskex.pause_environment('w_ext');
SELECT state, paused FROM taskex.environments WHERE name = 'w_ext';
SELECT pg_temp.pull(9);
SELECT taskex.resume_environment('w_ext');
SELECT state, paused FROM taskex.environments WHERE name = 'w_ext';
SELECT pg_temp.submit('w_bob', '"retired"');
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();
-- and one that is paused may be retired, and is paused after it
SELECT taskex.unretire_environment('w_ext'), taskex.pause_environment('w_ext'), taskex.retire_environment('w_ext'), taskex.unretire_environment('w_ext');
SELECT state, paused FROM taskex.environments WHERE name = 'w_ext';
SELECT taskex.resume_environment('w_ext');
SELECT * FROM broken;

-- many: what has no room in memory waits in the table, in its order
SELECT count(*) FROM taskex.submit_runs('w_ann', NULL, ARRAY(SELECT to_jsonb(g) FROM generate_series(1, 3000) g), options => '{"environment": "w_ext"}');
SELECT waiting, (SELECT max(in_memory) FROM _taskex.lanes()) < 2000 AS some_in_the_table FROM taskex.queue WHERE environment LIKE 'w\_%';
SELECT * FROM broken;
SELECT pg_temp.submit('w_ann', '"urgent"', 1) \g /dev/null
SELECT pg_temp.pull(1);
DO $$
DECLARE
    expected int := 0;
    got int;
BEGIN
    FOR i IN 1 .. 31 LOOP
        FOR got IN SELECT data::int FROM taskex.pull_runs('w', 'w_ext', 100) LOOP
            expected := expected + 1;
            IF got <> expected THEN
                RAISE 'got % instead of %', got, expected;
            END IF;
        END LOOP;
    END LOOP;
    RAISE WARNING '% in order', expected;
END $$;
SELECT * FROM broken;
SELECT taskex.complete_runs(array_agg(run_id), array_agg(lease_token)) FROM _taskex.run WHERE state = 'running' AND customer_id = ANY (pg_temp.customers());
SELECT * FROM broken;

-- savepoints and aborts give back what was taken, and keep nothing that was submitted
BEGIN;
SELECT pg_temp.submit('w_ann', '"s0"') \g /dev/null
SELECT pg_temp.pull(9);
ROLLBACK;
SELECT count(pg_temp.submit('w_ann', to_jsonb('s' || g))) FROM generate_series(1, 4) g;
BEGIN;
SELECT pg_temp.pull(1);
SAVEPOINT s;
SELECT pg_temp.pull(2);
ROLLBACK TO s;
SELECT pg_temp.pull(1);
SAVEPOINT s;
SELECT pg_temp.finish();
ROLLBACK TO s;
COMMIT;
SELECT environment, customer, waiting, running FROM taskex.queue WHERE environment LIKE 'w\_%';
SELECT * FROM broken;
-- pulled and ended in one transaction
BEGIN;
SELECT pg_temp.finish(), pg_temp.pull(1), pg_temp.finish();
SELECT pg_temp.pull(1);
SELECT taskex.release_run(run_id, lease_token) FROM _taskex.run WHERE state = 'running' AND customer_id = ANY (pg_temp.customers());
COMMIT;
SELECT environment, customer, waiting, running FROM taskex.queue WHERE environment LIKE 'w\_%';
SELECT * FROM broken;
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();
-- submitted and cancelled in one
BEGIN;
SELECT taskex.cancel_run(pg_temp.submit('w_ann', '"never"'));
COMMIT;
SELECT pg_temp.pull(9);
SELECT * FROM broken;
BEGIN;
SELECT pg_temp.submit('w_ann', '"prepared"') \g /dev/null
PREPARE TRANSACTION 'p';
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM taskex.runs WHERE customer = 'nobody';
SELECT pg_temp.submit('w_ann', '"own"') \g /dev/null
SELECT pg_temp.pull(9);
COMMIT;
SELECT pg_temp.pull(9);
SELECT pg_temp.finish();

-- programs: versions, other people's, deprecated
SELECT taskex.publish_program('w_ann', 'double', 'w_pl', 'BEGIN RETURN data; END', 0.5, true);
SELECT taskex.submit_run('w_bob', 'w_ann/double', '1') AS newest, taskex.submit_run('w_ann', 'double', '2', options => '{"version": 1}') AS pinned \gset
SELECT taskex.publish_program('w_ann', 'double', 'w_pl', 'BEGIN RETURN data || data; END', 0.5, true);
SELECT customer, program, version, code, data FROM taskex.pull_runs('w', 'w_pl', 9) ORDER BY data;
SELECT customer, program, version, state FROM taskex.runs WHERE environment = 'w_pl' ORDER BY data;
SELECT owner, name, environment, version, is_newest, deprecated, price, is_public, source FROM taskex.programs WHERE owner = 'w_ann' ORDER BY version;
SELECT taskex.deprecate_program('w_ann', 'double', 2), taskex.deprecate_program('w_ann', 'double'), taskex.deprecate_program('w_ann', 'double');
SELECT taskex.submit_run('w_ann', 'double');
SELECT taskex.submit_run('w_ann', 'double', options => '{"version": 1}');
SELECT taskex.submit_run('w_bob', 'double');
SELECT taskex.publish_program('w_ann', 'double', 'w_ext', 'x');
SELECT taskex.submit_run('w_ann', options => '{"environment": "w_pl", "code": "BEGIN RETURN 1; END", "notify": "w_done"}') AS code \gset
SELECT code, data, timeout FROM taskex.pull_runs('w', 'w_pl', 9);
SELECT pg_temp.finish();
SELECT name, language, version, state, limits, max_attempts FROM taskex.environments WHERE name LIKE 'w\_%' ORDER BY 1;

-- what has ended long ago goes
SELECT taskex.remove_runs('1 day', 1000000) >= 0 AS of_other_tests;
SELECT count(*) > 3000 AS many FROM taskex.runs;
SELECT taskex.remove_runs('1 hour'), taskex.remove_runs('0', 100);
SELECT taskex.submit_run('w_ann', NULL, '1', options => '{"environment": "w_ext", "retention": "1 day"}') AS kept \gset
SELECT pg_temp.submit('w_ann', '"far"') \g /dev/null
SELECT pg_temp.pull(1);
SELECT pg_temp.finish();
SELECT taskex.remove_runs('0') > 2900 AS removed;
-- (the table is shorter now than where it was)
SELECT pg_relation_size(:'child') AS size \gset
VACUUM FULL :child;
SELECT pg_relation_size(:'child') < :size AS shorter;
SELECT pg_temp.pull(1);
SELECT pg_temp.finish();
SET taskex.clock = '2130-01-02 00:02:10+00';
SELECT taskex.remove_runs('0'), (taskex.run_status(:kept)).state;
SET taskex.clock = '2130-01-02 00:03:00+00';
SELECT taskex.remove_runs('0');
SELECT taskex.run_status(:kept) IS NULL AS x;
-- but no dead letter that others come after
SELECT pg_temp.submit('w_ann', '"dead"', options => '{"max_attempts": 1}') AS dead \gset
SELECT pg_temp.submit('w_ann', '"later"', options => jsonb_build_object('after', jsonb_build_array(:dead))) AS later \gset
SELECT pg_temp.pull(1);
SELECT taskex.fail_run(:dead, pg_temp.token(:dead), '{}');
SELECT taskex.remove_runs('0'), (SELECT removed FROM _taskex.prune_runs((SELECT partition_id FROM _taskex.run WHERE run_id = :dead), 0, 0));
SELECT * FROM broken;
SELECT taskex.cancel_run(:later);
SELECT taskex.remove_runs('0');
SELECT count(*) AS runs, (SELECT count(*) FROM _taskex.run_attempt WHERE customer_id = ANY (pg_temp.customers())) AS attempts,
        (SELECT count(*) FROM _taskex.run_key WHERE customer_id = ANY (pg_temp.customers())) AS keys, (SELECT count(*) FROM _taskex.run_link WHERE customer_id = ANY (pg_temp.customers())) AS links
    FROM _taskex.run WHERE customer_id = ANY (pg_temp.customers());
SELECT * FROM broken;
SELECT check_name, ok FROM taskex.health WHERE check_name = 'queue';
