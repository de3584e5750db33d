-- Runs in parts: submitted, done, combined; failures, stragglers, other numbers of parts; how many are best.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.clock = '2150-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due_runs();
SELECT taskex.add_partition('split_1') > 0 AS added;
SELECT taskex.register_user('sp_ann', partition => 'split_1') > 0 AS ann;
SELECT taskex.create_environment('sp_ext', 'external') > 0 AS ext, taskex.create_environment('sp_sum', 'external') > 0 AS sum;
SELECT taskex.publish_program('sp_ann', 'square', 'sp_ext', 'x'), taskex.publish_program('sp_ann', 'sum', 'sp_sum', 'x');
CREATE TEMP VIEW broken AS SELECT * FROM taskex.check_workload() WHERE NOT ok;
CREATE TEMP VIEW s AS SELECT state, parts, waiting, running, suspended, done, failed, spares, inputs, inputs_done FROM taskex.splits WHERE customer = 'sp_ann' ORDER BY split_id DESC LIMIT 1;
CREATE TABLE pg_temp.numbers AS SELECT g AS n FROM generate_series(1, 10) g;
CREATE TABLE pg_temp.taken (run_id bigint, lease_token bigint, data jsonb);
CREATE FUNCTION pg_temp.pull(n int = 1) RETURNS TABLE (part int, inputs jsonb) LANGUAGE sql AS
    $$ WITH p AS (INSERT INTO pg_temp.taken SELECT run_id, lease_token, data FROM taskex.pull_runs('w', 'sp_ext', n, '1 day') RETURNING *)
       SELECT (data -> 'part')::int, data -> 'inputs' FROM p $$;
-- does the parts of these numbers
CREATE FUNCTION pg_temp.finish(VARIADIC parts int[]) RETURNS bigint LANGUAGE sql AS
    $$ WITH t AS (DELETE FROM pg_temp.taken WHERE (data -> 'part')::int = ANY (parts) RETURNING *)
       SELECT count(taskex.complete_run(run_id, lease_token, (SELECT to_jsonb(array_agg(i::int * i::int)) FROM jsonb_array_elements(data -> 'inputs') i))) FROM t $$;
CREATE FUNCTION pg_temp.step() RETURNS void LANGUAGE plpgsql AS 'BEGIN PERFORM * FROM taskex.run_due_runs(); END';

-- the main line: parts, a program that combines, the result
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers ORDER BY n', 3, 'sum') AS id \gset
SELECT * FROM s;
SELECT * FROM broken;
SELECT * FROM pg_temp.pull(9);
SELECT * FROM s;
SELECT pg_temp.finish(3, 1);
SELECT pg_temp.step();
SELECT * FROM s;
SELECT (taskex.run_status(:id)).state, count(*) FROM taskex.pull_runs('w', 'sp_sum');
SET taskex.clock = '2150-01-01 00:00:05+00';
SELECT pg_temp.finish(2);
SELECT inputs_per_second, expected_at IS NULL AS no_end, run_time FROM taskex.splits WHERE split_id = :id;
SELECT pg_temp.step();
SELECT * FROM broken;
SELECT run_id = :id AS whole, data FROM taskex.pull_runs('w', 'sp_sum') \gx
SELECT taskex.complete_run(:id, lease_token, '385') FROM _taskex.run WHERE run_id = :id;
SELECT taskex.run_result(:id);
SELECT * FROM s;
SELECT * FROM broken;
SELECT attempt, outcome FROM taskex.run_attempts WHERE run_id = :id;

-- without combining; several columns; options
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n, -n AS minus FROM numbers ORDER BY n LIMIT 2', 5, options => '{"priority": 4, "max_attempts": 7, "deduplication_key": "once"}') AS id \gset
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n, -n AS minus FROM numbers ORDER BY n LIMIT 2', 5, options => '{"priority": 4, "max_attempts": 7, "deduplication_key": "once"}') = :id AS the_same;
SELECT priority, max_attempts, data, split_id = :id AS of_it, part FROM taskex.runs WHERE split_id = :id ORDER BY part NULLS FIRST;
SELECT count(taskex.complete_run(run_id, lease_token, data -> 'part')) FROM taskex.pull_runs('w', 'sp_ext', 9);
SELECT pg_temp.step();
SELECT taskex.run_result(:id);
SELECT * FROM broken;

-- a key that stands for something else
\set VERBOSITY terse
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers', 5, options => '{"priority": 4, "max_attempts": 7, "deduplication_key": "once"}');
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n, -n AS minus FROM numbers ORDER BY n LIMIT 2', 5, options => '{"priority": 4, "max_attempts": 8, "deduplication_key": "once"}');
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n, -n AS minus FROM numbers ORDER BY n LIMIT 2', 4, options => '{"priority": 4, "max_attempts": 7, "deduplication_key": "once"}');
SELECT taskex.submit_run('sp_ann', 'square', priority => 4, options => '{"deduplication_key": "once"}');
SELECT taskex.submit_run('sp_ann', 'square', options => '{"deduplication_key": "alone"}') AS alone \gset
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT 1', 1, options => '{"deduplication_key": "alone"}');
SELECT taskex.cancel_run(:alone);
\set VERBOSITY default
-- a query may end as queries do
BEGIN;
SELECT taskex.submit_split('sp_ann', 'square', E'SELECT n FROM numbers; \n', 1, options => '{"priority": 1.0}') > 0 AS semicolon, taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers -- all', 1) > 0 AS comment;
ROLLBACK;

-- a part that fails for good ends the whole; the others wait for its retry
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers', 3, options => '{"max_attempts": 1}') AS id \gset
SELECT * FROM pg_temp.pull(1);
SELECT taskex.fail_run(run_id, lease_token, '{"message": "no"}') FROM taken;
TRUNCATE taken;
SELECT pg_temp.step();
SELECT state, error - 'run_id' AS error FROM taskex.run_status(:id);
SELECT * FROM s;
SELECT count(*) FROM pg_temp.pull(9);
SELECT * FROM broken;
SELECT taskex.retry_run(:id);
SELECT * FROM s;
SELECT count(*) FROM pg_temp.pull(9);
SELECT pg_temp.finish(1, 2, 3);
SELECT pg_temp.step();
SELECT taskex.run_result(:id);
SELECT * FROM broken;

-- a straggler is run once more, and the first result counts
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers', 4) AS id \gset
SELECT count(*) FROM pg_temp.pull(9);
SET taskex.clock = '2150-01-01 00:00:15+00';
SELECT pg_temp.step();
SELECT spares AS before_half_are_done FROM s;
SELECT pg_temp.finish(1, 2);
SET taskex.clock = '2150-01-01 00:00:20+00';
SELECT pg_temp.step();
SELECT spares FROM s;
SET taskex.clock = '2150-01-01 00:01:20+00';
SELECT pg_temp.step();
SELECT * FROM s;
CREATE TABLE pg_temp.slow AS SELECT * FROM taken;
TRUNCATE taken;
SELECT count(*) FROM pg_temp.pull(9);
SELECT pg_temp.finish(3);
INSERT INTO taken SELECT * FROM slow WHERE data -> 'part' = '4';
DELETE FROM taken WHERE data -> 'part' = '4' AND run_id NOT IN (SELECT run_id FROM slow);
SELECT pg_temp.finish(4);
SELECT pg_temp.step();
SELECT * FROM s;
SELECT taskex.run_result(:id);
SELECT part, state, count(*) FROM taskex.runs WHERE split_id = :id AND part >= 3 GROUP BY 1, 2 ORDER BY 1, 2;
SELECT * FROM broken;
TRUNCATE taken;

-- of the runs with one key as many run at a time as may, stragglers among them
SELECT taskex.limit_key('sp_ann', 'narrow', 3);
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers', 3, options => '{"concurrency_key": "narrow"}') AS id \gset
SELECT count(*) FROM pg_temp.pull(9);
SELECT pg_temp.finish(1, 2);
SELECT taskex.limit_key('sp_ann', 'narrow', 1);
SET taskex.clock = '2150-01-01 00:01:21.2+00';
SELECT pg_temp.step();
SELECT waiting, running, spares FROM s;
SELECT count(*) FROM pg_temp.pull(9);
SELECT pg_temp.finish(3);
SELECT pg_temp.step();
SELECT state FROM s;
SELECT count(*) FROM pg_temp.pull(9);
SET taskex.clock = '2150-01-01 00:01:20+00';

-- a part is kept until the whole can do without it
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers', 2, options => '{"max_attempts": 1, "retention": "3000 days"}') AS id \gset
SELECT count(*) FROM pg_temp.pull(9);
SELECT pg_temp.finish(1);
SELECT taskex.remove_runs('0') > 0 AS removed;
SELECT taskex.fail_run(run_id, lease_token, '{}') FROM taken;
TRUNCATE taken;
SELECT pg_temp.step();
SELECT removed FROM _taskex.prune_runs((SELECT partition_id FROM _taskex.directory WHERE login = 'sp_ann'), 0, 0);
SELECT taskex.remove_runs('0');
SELECT taskex.retry_run(:id);
SELECT count(*) FROM pg_temp.pull(9);
SELECT pg_temp.finish(2);
SELECT pg_temp.step();
SELECT taskex.run_result(:id);
UPDATE _taskex.run SET options = NULL WHERE run_id = :id;
SELECT * FROM broken;

-- where a part may not be run once more, the others end nevertheless
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers', 4) AS id \gset
SELECT count(*) FROM pg_temp.pull(9);
SELECT pg_temp.finish(1, 2);
SELECT taskex.retire_environment('sp_ext');
SET taskex.clock = '2150-01-01 00:01:21.5+00';
SELECT pg_temp.step();
SELECT * FROM s;
SELECT taskex.unretire_environment('sp_ext');
SELECT pg_temp.finish(3, 4);
SELECT pg_temp.step();
SELECT taskex.run_result(:id);
SELECT * FROM broken;
SET taskex.clock = '2150-01-01 00:01:20+00';

-- other numbers of parts while it runs
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers', 2) AS id \gset
SELECT count(*) FROM pg_temp.pull(1);
SELECT taskex.set_parts('sp_ann', :id, 4);
SELECT part, state, data -> 'inputs' AS inputs FROM taskex.runs WHERE split_id = :id ORDER BY run_id;
SELECT * FROM s;
SELECT taskex.set_parts('sp_ann', :id, 2);
SELECT taskex.set_parts('sp_ann', :id, 1);
SELECT count(*) FROM pg_temp.pull(9);
SELECT taskex.set_parts('sp_ann', :id, 5);
SELECT pg_temp.finish(1, 6);
SELECT pg_temp.step();
SELECT taskex.run_result(:id);
\set VERBOSITY sqlstate
SELECT taskex.set_parts('sp_ann', :id, 5);
SELECT * FROM broken;
\set VERBOSITY default

-- the whole is suspended, resumed, cancelled
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers', 3, 'sum') AS id \gset
SELECT count(*) FROM pg_temp.pull(1);
SELECT taskex.suspend_run(:id);
SELECT * FROM s;
SELECT taskex.set_parts('sp_ann', :id, 4);
SELECT count(*) FROM pg_temp.pull(9);
SELECT * FROM broken;
SELECT taskex.resume_run(:id);
SELECT * FROM s;
SELECT taskex.cancel_run(:id), taskex.cancel_run(:id);
SELECT state, count(*) FROM taskex.runs WHERE split_id = :id GROUP BY 1;
SELECT * FROM broken;
TRUNCATE taken;
-- it ends while it is suspended
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers', 1, 'sum') AS id \gset
SELECT count(*) FROM pg_temp.pull(1);
SELECT taskex.suspend_run(:id);
SELECT pg_temp.finish(1);
SELECT pg_temp.step();
SELECT (taskex.run_status(:id)).state, count(*) FROM taskex.pull_runs('w', 'sp_sum');
SELECT taskex.resume_run(:id);
SELECT data FROM taskex.pull_runs('w', 'sp_sum');
SELECT taskex.complete_run(:id, lease_token, '385') FROM _taskex.run WHERE run_id = :id;
SELECT * FROM broken;

-- a part is cancelled: the whole fails, and when it is tried again another run gets the same inputs
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT n FROM numbers', 3) AS id \gset
SELECT taskex.cancel_run(run_id) FROM taskex.runs WHERE split_id = :id AND part = 2;
SELECT pg_temp.step();
SELECT state, waiting, suspended, failed FROM s;
SELECT taskex.retry_run(:id);
SELECT part, state, data -> 'inputs' AS inputs FROM taskex.runs WHERE split_id = :id AND part > 0 ORDER BY run_id;
SELECT count(*) FROM pg_temp.pull(9);
SELECT pg_temp.finish(1, 2, 3);
SELECT pg_temp.step();
SELECT taskex.run_result(:id);
-- it has ended, and does so once; what is gone is looked after no more
SELECT _taskex.split_end(:id, 'failed', '{}'), (taskex.run_status(:id)).state;
INSERT INTO _taskex.split_open SELECT 1, user_id FROM taskex.route('sp_ann');
SELECT _taskex.split_step(1, user_id) FROM taskex.route('sp_ann');
SELECT count(*) FROM _taskex.split_open WHERE split_id = 1;
SELECT * FROM broken;

-- how many parts: a program that takes 2 s, and 1 s for each input
SELECT taskex.register_user('sp_bob', partition => 'split_1') > 0 AS bob;
SELECT taskex.publish_program('sp_bob', 'slow', 'sp_ext', 'x');
SELECT * FROM taskex.recommend_parts('sp_bob', 'slow', 100);
SELECT taskex.submit_split('sp_bob', 'slow', 'SELECT n FROM numbers');
SELECT taskex.measure_program('sp_bob', 'slow', 'SELECT n FROM numbers', 7) AS id \gset
SELECT part, data -> 'inputs' AS inputs FROM taskex.runs WHERE split_id = :id AND part > 0 ORDER BY part;
DO $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT * FROM taskex.pull_runs('w', 'sp_ext', 9, '1 day') LOOP
        PERFORM set_config('taskex.clock', ('2150-01-01 00:01:22+00'::timestamptz + make_interval(secs => jsonb_array_length(r.data -> 'inputs')))::text, false);
        PERFORM taskex.complete_run(r.run_id, r.lease_token, '1');
    END LOOP;
END $$;
-- (3 s until the whole goes on are for any run in parts)
SELECT set_config('taskex.clock', (current_setting('taskex.clock')::timestamptz + interval '3 s')::text, false) IS NULL AS x;
SELECT pg_temp.step();
SELECT taskex.run_result(:id);
SELECT * FROM taskex.recommend_parts('sp_bob', 'slow', 100, 4);
SELECT taskex.submit_split('sp_bob', 'slow', 'SELECT n FROM numbers') AS id \gset
SELECT * FROM taskex.recommend_parts('sp_bob', 'slow', 10) WHERE recommended;
SELECT parts FROM taskex.splits WHERE split_id = :id;
SELECT taskex.cancel_run(:id);

-- errors change nothing
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT 1 WHERE false', 2);
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT 1', 0);
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT 1', 2, 'none');
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT nothing', 2);
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT 1) q UNION ALL SELECT NULL::jsonb FROM (SELECT 1', 2);
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT 1) q UNION ALL SELECT ''"x"''::jsonb FROM (SELECT 1', 2);
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT 1) q; SELECT 77::bigint FROM (SELECT 1', 2);
-- the name of a column is nobody's business
BEGIN;
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT NULL::int AS q', 1) IS NOT NULL AS named_q;
ROLLBACK;
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT 1', 2, options => '{"speculate": 0}');
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT 1', 2, options => '{"code": "x"}');
SELECT taskex.submit_split('sp_ann', 'square', 'SELECT 1', 2, options => '{"priority": 10}');
\set VERBOSITY sqlstate
SELECT taskex.set_parts('sp_bob', :id, 3);
\set VERBOSITY default
SELECT taskex.set_parts('sp_ann', 1, 3);
SELECT taskex.measure_program('sp_ann', 'square', 'SELECT 1');
SELECT * FROM taskex.recommend_parts('sp_bob', 'slow', 0);
SELECT * FROM taskex.recommend_parts('sp_bob', 'slow', 10, 0);
SELECT * FROM broken;
SELECT count(*) FROM _taskex.split_open o JOIN _taskex.run r ON r.run_id = o.split_id WHERE r.customer_id IN (SELECT user_id FROM taskex.users WHERE login LIKE 'sp\_%');
SELECT taskex.remove_runs('0') > 0 AS removed;
SELECT count(*) FROM _taskex.split WHERE customer_id IN (SELECT user_id FROM taskex.users WHERE login LIKE 'sp\_%');

-- where a user's data are
SELECT * FROM taskex.locate('sp_ann');
SELECT epoch_now FROM taskex.locate('sp_ann', 0);
SELECT * FROM taskex.locate('sp_ann', 7);
SET taskex.epoch = 0;
SELECT taskex.pause_runs('sp_ann'), taskex.resume_runs('sp_ann');
SET taskex.epoch = 1;
SELECT taskex.pause_runs('sp_ann');
SELECT * FROM taskex.locate('sp_nobody');
