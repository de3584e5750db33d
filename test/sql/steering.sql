-- Runs that give way: checkpoints, suspended and resumed, programs and customers.
\set SHOW_CONTEXT never
\set VERBOSITY sqlstate
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.clock = '2140-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due_runs();
SELECT taskex.add_partition('steer_1') > 0 AS added, taskex.add_partition('steer_2') > 0 AS added;
SELECT taskex.register_user('s_ann', partition => 'steer_1') > 0 AS ann, taskex.register_user('s_bob', partition => 'steer_2') > 0 AS bob;
SELECT taskex.create_environment('s_ext', 'external', options => '{"limits": {"slice": "10 s"}}') > 0 AS ext;
CREATE TEMP VIEW broken AS SELECT * FROM taskex.check_workload() WHERE NOT ok;
CREATE FUNCTION pg_temp.submit(who text, what jsonb, options jsonb = '{}') RETURNS bigint LANGUAGE sql AS
    $$ SELECT taskex.submit_run(who, NULL, what, options => '{"environment": "s_ext", "backoff": {"initial": "0"}}' || options) $$;
CREATE FUNCTION pg_temp.pull(n int = 1) RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(concat_ws(' from ', data, state), ', ') FROM taskex.pull_runs('w', 's_ext', n) $$;
CREATE FUNCTION pg_temp.token(id bigint) RETURNS bigint LANGUAGE sql AS 'SELECT lease_token FROM _taskex.run WHERE run_id = id';
CREATE FUNCTION pg_temp.row(id bigint) RETURNS TABLE (state text, attempts int, max_attempts int, suspensions int, asked text, checkpoint jsonb) LANGUAGE sql AS
    'SELECT state, attempts, max_attempts, suspensions, asked, state_data FROM _taskex.run WHERE run_id = id';

-- a checkpoint outlives a failure and a lease that ends
SELECT pg_temp.submit('s_ann', '"a"') AS a \gset
SELECT pg_temp.pull();
SELECT taskex.heartbeat_run(:a, pg_temp.token(:a), state => '{"done": 1}');
SELECT taskex.fail_run(:a, pg_temp.token(:a), '{}');
SELECT pg_temp.pull();
SELECT taskex.heartbeat_run(:a, pg_temp.token(:a), '10 s', '0.2', '{"done": 2}');
SET taskex.clock = '2140-01-01 00:00:10+00';
SELECT * FROM taskex.run_due_runs();
SELECT progress, checkpoint FROM taskex.runs WHERE run_id = :a;
SELECT pg_temp.pull();
-- it gives way by itself: that is no attempt that counts
SELECT taskex.should_yield(:a, pg_temp.token(:a));
SET taskex.clock = '2140-01-01 00:00:20+00';
SELECT taskex.should_yield(:a, pg_temp.token(:a));
SELECT taskex.yield_run(:a, pg_temp.token(:a), '{"done": 3}', '0.3');
SELECT * FROM pg_temp.row(:a);
SELECT pg_temp.pull();
SELECT taskex.yield_run(:a, pg_temp.token(:a));
SELECT pg_temp.pull();
SELECT attempt, outcome FROM taskex.run_attempts WHERE run_id = :a ORDER BY 1;
SELECT taskex.complete_run(:a, pg_temp.token(:a), '1');
SELECT * FROM broken;

-- suspended while it waits: ready, delayed, blocked
SELECT pg_temp.submit('s_ann', '"ready"') AS r, pg_temp.submit('s_ann', '"later"', '{"run_at": "2140-01-01 00:01:00+00"}') AS d \gset
SELECT pg_temp.submit('s_ann', '"after"', jsonb_build_object('after', jsonb_build_array(:r))) AS b \gset
SELECT taskex.suspend_run(:r), taskex.suspend_run(:d), taskex.suspend_run(:b), taskex.suspend_run(:r);
SELECT pg_temp.pull(9), (taskex.run_status(:r)).state;
SELECT * FROM broken;
SET taskex.clock = '2140-01-01 00:01:00+00';
SELECT * FROM taskex.run_due_runs();
SELECT taskex.resume_run(:r), taskex.resume_run(:d), taskex.resume_run(:d);
SELECT * FROM broken;
SELECT pg_temp.pull(9);
SELECT taskex.complete_run(:r, pg_temp.token(:r)), taskex.complete_run(:d, pg_temp.token(:d));
SELECT pg_temp.pull(9);
SELECT taskex.resume_run(:b);
SELECT pg_temp.pull(9);
SELECT taskex.complete_run(:b, pg_temp.token(:b));
SELECT taskex.suspend_run(:b);
SELECT taskex.resume_run(:b);
-- a delayed one that is resumed before its time, a blocked one before what it comes after; cancelled ones
SELECT pg_temp.submit('s_ann', '"later"', '{"run_at": "2140-01-01 00:02:00+00"}') AS d, pg_temp.submit('s_ann', '"first"') AS f \gset
SELECT pg_temp.submit('s_ann', '"after"', jsonb_build_object('after', jsonb_build_array(:f))) AS b \gset
SELECT taskex.suspend_run(i), taskex.resume_run(i) FROM unnest(ARRAY[:d, :b]) i;
SELECT state FROM pg_temp.row(:d) UNION ALL SELECT state FROM pg_temp.row(:b);
SELECT * FROM broken;
SELECT taskex.suspend_run(i), taskex.cancel_run(i) FROM unnest(ARRAY[:d, :b]) i;
SELECT * FROM broken;
SELECT taskex.suspend_run(:f), taskex.cancel_run(:f);
SELECT * FROM broken;

-- suspended while it is running: at its next checkpoint ...
SELECT pg_temp.submit('s_ann', '"run"', '{"max_attempts": 1}') AS r \gset
SELECT pg_temp.pull();
SELECT taskex.suspend_run(:r), taskex.should_yield(:r, pg_temp.token(:r));
SELECT taskex.heartbeat_run(:r, pg_temp.token(:r));
SELECT pg_temp.token(:r) AS t \gset
SELECT taskex.heartbeat_run(:r, :t, progress => '0.5', state => '{"done": 1}');
SELECT taskex.heartbeat_run(:r, :t);
SELECT * FROM pg_temp.row(:r);
SELECT count(*) FROM _taskex.run_stop;
SELECT * FROM broken;
SELECT taskex.resume_run(:r);
SELECT pg_temp.pull();
-- ... by force, with the checkpoint of before ...
SELECT taskex.suspend_run(:r, '5 s');
SELECT * FROM taskex.run_due_runs();
SET taskex.clock = '2140-01-01 00:01:05+00';
SELECT * FROM taskex.run_due_runs();
SELECT * FROM pg_temp.row(:r);
SELECT error FROM taskex.run_attempts WHERE run_id = :r AND attempt = 2;
SELECT taskex.resume_run(:r);
SELECT pg_temp.pull();
-- ... at once ...
SELECT taskex.suspend_run(:r, '0'), taskex.resume_run(:r);
SELECT pg_temp.pull();
-- ... or not after all
SELECT taskex.suspend_run(:r, NULL), taskex.resume_run(:r), taskex.heartbeat_run(:r, pg_temp.token(:r), state => '{"done": 2}');
SELECT * FROM broken;
-- all in one transaction: what counts is what was last
BEGIN;
SELECT taskex.yield_run(:r, pg_temp.token(:r));
SELECT taskex.suspend_run(:r), taskex.resume_run(:r), taskex.suspend_run(:r), taskex.resume_run(:r);
COMMIT;
SELECT * FROM broken;
BEGIN;
SELECT pg_temp.pull();
SELECT taskex.suspend_run(:r, '0'), taskex.resume_run(:r);
COMMIT;
SELECT * FROM broken;
SELECT pg_temp.pull();
-- one that is asked, and released, failed or completed
SELECT taskex.suspend_run(:r);
SELECT taskex.release_run(:r, pg_temp.token(:r));
SELECT * FROM pg_temp.row(:r);
SELECT taskex.resume_run(:r);
SELECT pg_temp.pull();
SELECT taskex.suspend_run(:r);
SELECT taskex.fail_run(:r, pg_temp.token(:r), '{}');
SELECT taskex.retry_run(:r, 2);
SELECT pg_temp.pull();
SELECT taskex.suspend_run(:r);
SELECT taskex.fail_run(:r, pg_temp.token(:r), '{}');
SELECT taskex.resume_run(:r);
SELECT pg_temp.pull();
SELECT taskex.suspend_run(:r);
SELECT taskex.complete_run(:r, pg_temp.token(:r), '1');
SELECT * FROM pg_temp.row(:r);
SET taskex.clock = '2140-01-01 00:05:00+00';
SELECT * FROM taskex.run_due_runs();
SELECT count(*) FROM _taskex.run_stop;
SELECT * FROM broken;

-- a savepoint takes it back
SELECT pg_temp.submit('s_ann', '"s"') AS s \gset
BEGIN;
SAVEPOINT x;
SELECT taskex.suspend_run(:s);
ROLLBACK TO x;
COMMIT;
SELECT pg_temp.pull();
SELECT taskex.complete_run(:s, pg_temp.token(:s));
SELECT * FROM broken;

-- a program, whoever's runs of it they are
SELECT taskex.publish_program('s_ann', 'p', 's_ext', 'x', is_public => true);
SELECT taskex.submit_run('s_ann', 'p', '"p1"') AS p1, taskex.submit_run('s_bob', 's_ann/p', '"p2"') AS p2 \gset
SELECT data FROM taskex.pull_runs('w', 's_ext') \gset
SELECT CASE :'data' WHEN '"p1"' THEN :p1 ELSE :p2 END AS taken \gset
SELECT taskex.submit_run('s_bob', 's_ann/p', '"p3"') AS p3, pg_temp.submit('s_bob', '"other"') AS o \gset
SELECT taskex.suspend_program('s_ann', 'p', '1 minute');
SELECT taskex.yield_run(:taken, pg_temp.token(:taken), '1');
SELECT pg_temp.pull(9);
SELECT data, state FROM taskex.runs WHERE run_id IN (:p1, :p2, :p3) ORDER BY 1;
SELECT * FROM broken;
SELECT taskex.suspend_run(:p3), taskex.resume_program('s_ann', 'p');
SELECT taskex.resume_run(:p3);
SELECT count(*) FROM taskex.pull_runs('w', 's_ext', 9);
-- alerts on it: his own runs are called "p", those of others "s_ann/p"
SELECT customer, program, count(*) FROM taskex.run_monitor WHERE program ~ 'p$' GROUP BY 1, 2 ORDER BY 1;
SELECT taskex.set_alert('all', 'running', 0, program => 's_ann/p'), taskex.set_alert('own', 'running', 0, program => 'p');
SELECT * FROM taskex.health WHERE check_name LIKE 'alert %' ORDER BY 1;
SELECT taskex.drop_alert('all'), taskex.drop_alert('own'), taskex.drop_alert('own');
SELECT taskex.complete_run(run_id, lease_token) FROM _taskex.run WHERE run_id IN (:p1, :p2, :p3, :o);
SELECT count(*) FROM _taskex.run_held;
SELECT taskex.suspend_program('s_ann', 'none');
SELECT taskex.resume_program('s_bob', 'p');
SELECT * FROM broken;

-- a customer
SELECT pg_temp.submit('s_bob', '"c1"') AS c1, pg_temp.submit('s_bob', '"c2"') AS c2 \gset
SELECT pg_temp.pull();
SELECT taskex.suspend_customer('s_bob', '10 s');
SELECT taskex.should_yield(:c1, pg_temp.token(:c1));
SELECT taskex.heartbeat_run(:c1, pg_temp.token(:c1), state => '7');
SELECT pg_temp.pull(9);
SELECT * FROM broken;
SELECT taskex.resume_runs('s_bob');
SELECT pg_temp.pull(9);
SELECT taskex.complete_run(run_id, lease_token) FROM _taskex.run WHERE run_id IN (:c1, :c2);
SELECT * FROM broken;

-- what runs, watched; alerts in health
SELECT pg_temp.submit('s_ann', '"m1"') AS m1, pg_temp.submit('s_ann', '"m2"') AS m2 \gset
SELECT pg_temp.pull();
SET taskex.clock = '2140-01-01 00:05:07+00';
SELECT customer, environment, attempt, worker, pid, run_time, progress, asked FROM taskex.run_monitor WHERE environment = 's_ext';
SELECT of_what, name, running, longest FROM taskex.run_totals WHERE name IN ('s_ann', 's_ext') ORDER BY 1;
SELECT taskex.set_alert('long', 'run_time', 5, 's_ext'), taskex.set_alert('old', 'queue_age', 100, customer => 's_ann'), taskex.set_alert('many', 'waiting', 0, 's_ext', 's_ann');
SELECT * FROM taskex.health WHERE check_name LIKE 'alert %' ORDER BY 1;
SELECT taskex.set_alert('long', 'run_time', 50, 's_ext'), taskex.drop_alert('many'), taskex.drop_alert('many');
SELECT * FROM taskex.health WHERE check_name LIKE 'alert %' ORDER BY 1;
SELECT taskex.drop_alert('long'), taskex.drop_alert('old');
SELECT taskex.set_alert('x', 'colour', 1);
SELECT taskex.set_alert('x', 'running', 'NaN');
SELECT taskex.set_alert('x', 'running', -1);
SELECT taskex.set_alert('x', 'waiting', 1, program => 'p');
SELECT taskex.set_alert('x', 'running', 1, 's_none');
SELECT taskex.set_alert('x', 'running', 1, program => 's_ann/none');
SELECT taskex.set_alert('x', 'running', 1, customer => 's_none');
-- slowing down: what is on record
SELECT taskex.throttle('customer', 's_ann', '{"nice": 5, "io_rate": 100}', '10 s'), taskex.throttle('program', 's_ann/p', '{"pause": 20}'), taskex.throttle('run', :m1::text, '{}', '1 minute');
SELECT scope, CASE scope WHEN 'run' THEN 'm1' ELSE name END AS name, nice, pause, io_rate, until, reason FROM taskex.throttles WHERE name LIKE 's\_%' OR name = :m1::text ORDER BY 1;
SET taskex.clock = '2140-01-01 00:05:20+00';
SELECT scope FROM taskex.throttles WHERE name LIKE 's\_%' ORDER BY 1;
SELECT taskex.unthrottle('program', 's_ann/p'), taskex.unthrottle('program', 's_ann/p'), taskex.unthrottle('customer', 's_ann'), taskex.unthrottle('run', :m1::text);
SELECT taskex.throttle('planet', 's_ann', '{}');
SELECT taskex.unthrottle('planet', 's_ann');
SELECT taskex.throttle('run', 'x', '{}');
SELECT taskex.throttle('customer', 's_ann', '{"nice": 1.0}', '1000000 years');
SELECT taskex.throttle('customer', 's_ann', '{"nice": 1.0}'), taskex.unthrottle('customer', 's_ann');
SELECT taskex.throttle('run', '0', '{}');
SELECT taskex.throttle('program', 's_ann/none', '{}');
SELECT taskex.throttle('environment', 's_none', '{}');
SELECT taskex.throttle('customer', 's_ann', '{"nice": 20}');
SELECT taskex.throttle('customer', 's_ann', '{"nice": -1}');
SELECT taskex.throttle('customer', 's_ann', '{"nice": "1"}');
SELECT taskex.throttle('customer', 's_ann', '{"speed": 1}');
SELECT taskex.throttle('customer', 's_ann', '{}', '0');
SELECT taskex.set_throttle_policy('s_ext', '1 s', 'stop');
SELECT taskex.set_throttle_policy('s_ext', '-1 s');
SELECT taskex.set_throttle_policy('s_none', '1 s');
SELECT taskex.checkpoint('1');
SELECT taskex.run_state();
SELECT taskex.should_yield();
SELECT taskex.yield_run();
SELECT taskex.complete_run(:m1, pg_temp.token(:m1));
SELECT taskex.cancel_run(:m2);
