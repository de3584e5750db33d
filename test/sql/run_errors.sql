-- Runs: bad input gets an error of its own, and changes nothing.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.clock = '2131-01-01 00:00:00+00';
SELECT taskex.add_partition('run_errors_1') > 0 AS added;
SELECT taskex.register_user('re_req', partition => 'run_errors_1') > 0 AS req, taskex.register_user('re_per', partition => 'run_errors_1') > 0 AS per;
\getenv tests PG_ABS_SRCDIR
\set refused :tests '/sql/include/refused.sql'
\set ECHO none
\i :refused
\set ECHO all
CREATE ROLE regress_run_nologin;
-- runs
DO $$
BEGIN
    PERFORM taskex.create_environment('r_env', 'external', options => '{"max_attempts": 1}'), taskex.create_environment('r_retired', 'external'),
        taskex.publish_program('re_req', 'kept', 'r_env', 'x'), taskex.create_environment('r_inside', 'plpgsql'),
        taskex.register_user('r_nologin', '{"db_role": "regress_run_nologin"}', 'run_errors_1');
    PERFORM taskex.retire_environment('r_retired');
END $$;
CALL pg_temp.make_runs('re_req', 'r_env');

CREATE FUNCTION pg_temp.state() RETURNS text LANGUAGE sql AS $$
    SELECT md5(pg_temp.on_record('environment', 'program', 'program_version', 'run', 'run_attempt', 'run_wait', 'run_link', 'run_key', 'run_limit', 'run_stop', 'run_held')
        || coalesce((SELECT string_agg(l::text, ';' ORDER BY l::text) FROM (SELECT environment_id, customer_id, priority, waiting, running FROM _taskex.lanes()) l
            WHERE waiting > 0 OR running > 0), '')) $$;
CREATE TEMP TABLE before AS SELECT pg_temp.state() AS state;
\set QUIET
\pset format unaligned
SELECT call, pg_temp.try('SELECT count(*) FROM taskex.' || call) AS says FROM (VALUES
    ('create_environment('''', ''external'')'),
    ('create_environment(''r_x'', ''nonesuch'')'),
    ('create_environment(''r_x'', ''c'')'),
    ('create_environment(''r_env'', ''external'')'),
    ('create_environment(''r_x'', ''external'', '''')'),
    ('create_environment(''r_x'', ''external'', options => ''[]'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"colour": 1}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"libraries": [1]}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"libraries": ["nonesuch"]}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"max_attempts": 0}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"min_executors": 5}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"max_executors": 1001}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"idle_time": "2 days"}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"worker_role": "e nobody"}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"customers": ["r_nobody"]}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"limits": {"speed": 1}}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"limits": {"rows": 1.5}}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"limits": {"memory": "1 bean"}}'')'),
    ('create_environment(''r_x'', ''external'', options => ''{"limits": {"timeout": "-1 s"}}'')'),
    ('alter_environment(''r_none'', ''{}'')'),
    ('pause_environment(''r_none'')'),
    ('resume_environment(''r_retired'')'),
    ('unretire_environment(''r_none'')'),
    ('publish_program(''re_req'', ''a/b'', ''r_env'', ''x'')'),
    ('publish_program(''re_req'', ''a@1'', ''r_env'', ''x'')'),
    ('publish_program(''re_req'', '''', ''r_env'', ''x'')'),
    ('publish_program(''re_req'', ''a'', ''r_none'', ''x'')'),
    ('publish_program(''re_req'', ''a'', ''r_retired'', ''x'')'),
    ('publish_program(''re_req'', ''a'', ''r_env'', ''x'', -1)'),
    ('publish_program(''re_req'', ''a'', ''r_env'', repeat(''x'', 2000000))'),
    ('deprecate_program(''re_req'', ''none'')'),
    ('deprecate_program(''re_req'', ''kept'', 2)'),
    ('submit_run(''re_req'')'),
    ('submit_run(''re_req'', ''none'')'),
    ('submit_run(''re_req'', ''r_nobody/kept'')'),
    ('submit_run(''re_per'', ''re_req/kept'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"version": 2}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"environment": "r_env"}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"code": "x"}'')'),
    ('submit_run(''re_req'', options => ''{"environment": "r_none"}'')'),
    ('submit_run(''re_req'', options => ''{"environment": "r_retired"}'')'),
    ('submit_run(''re_req'', options => ''{"environment": "r_env", "version": 1}'')'),
    ('submit_run(''re_req'', options => ''{"environment": "r_inside", "code": "BEGIN RETURN 1; END"}'')'),
    ('submit_run(''r_nologin'', options => ''{"environment": "r_inside", "code": "BEGIN RETURN 1; END"}'')'),
    ('submit_run(''re_req'', options => ''[]'')'),
    ('submit_run(''re_req'', options => ''{"environment": 1}'')'),
    ('submit_run(''re_req'', ''kept'', priority => -1)'),
    ('submit_run(''re_req'', ''kept'', priority => 10)'),
    ('submit_run(''re_req'', ''kept'', max_delay => ''-1 s'')'),
    ('submit_run(''re_req'', ''kept'', max_delay => ''100000000 years'')'),
    ('submit_run(''re_req'', ''kept'', max_delay => ''1 day -1 hour'')'),
    ('submit_run(''re_req'', ''kept'', to_jsonb(repeat(''x'', 2000000)))'),
    ('submit_run(''re_req'', ''kept'', ''1'', options => ''{"data_ref": {"table": "t"}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"data_ref": {}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"data_ref": {"table": "t", "query": "q"}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"data_ref": {"table": 1}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"data_ref": {"table": "t", "colour": "red"}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"data_ref": {"table": "t", "checksum": "abc"}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"data_ref": {"table": "t", "format": "json"}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"data_ref": {"object": "x"}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"data_ref": {"object": "1", "format": "xml"}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"colour": 1}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"run_at": "infinity"}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"run_at": "soon"}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"timeout": "0"}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"timeout": 5}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"dedicated": "2 days"}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"dedicated": true}'')'),
    ('submit_run(''re_req'', ''kept'', max_delay => ''3660 days'', options => ''{"run_at": "294276-12-30"}'')'),
    ('submit_run(''re_req'', ''kept'', max_delay => ''1 day'', options => ''{"run_at": "infinity"}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"max_attempts": 0}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"max_attempts": 1.5}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"max_attempts": 1e30}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"backoff": 1}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"backoff": {"factor": 0.5}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"backoff": {"jitter": "x"}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"backoff": {"speed": 1}}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"retryable": "40001"}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"retryable": ["4000"]}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"retryable": ["4000x"]}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"deduplication_key": ""}'')'),
    ('submit_run(''re_req'', ''kept'', options => jsonb_build_object(''concurrency_key'', repeat(''x'', 256)))'),
    ('submit_run(''re_req'', ''kept'', options => ''{"after": 1}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"after": [0]}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"after": ["1"]}'')'),
    ('submit_run(''re_req'', ''kept'', options => ''{"after": [9000000000000]}'')'),
    ('submit_run(''re_req'', ''kept'', options => jsonb_build_object(''after'', pg_temp.id(''cancelled run'')))'),
    ('submit_run(''re_req'', ''kept'', options => jsonb_build_object(''after'', ARRAY[pg_temp.id(''cancelled run'')]))'),
    ('submit_run(''re_per'', options => jsonb_build_object(''environment'', ''r_env'', ''after'', ARRAY[pg_temp.id(''running'')]))'),
    ('submit_runs(''re_req'', ''kept'', ARRAY[[''1'', ''2'']]::jsonb[])'),
    ('submit_runs(''re_req'', ''kept'', array_fill(''1''::jsonb, ARRAY[100001]))'),
    ('submit_runs(''re_req'', ''kept'', ''{}'')'),
    ('submit_runs(''re_req'', ''kept'', ARRAY[''1'', NULL]::jsonb[])'),
    ('submit_runs(''re_req'', ''kept'', ''{1}'', options => ''{"data_ref": {"table": "t"}}'')'),
    ('pull_runs('''', ''r_env'')'),
    ('pull_runs(''w'', ''r_none'')'),
    ('pull_runs(''w'', ''r_inside'')'),
    ('pull_runs(''w'', ''r_env'', 0)'),
    ('pull_runs(''w'', ''r_env'', 1001)'),
    ('pull_runs(''w'', ''r_env'', lease => ''0'')'),
    ('pull_runs(''w'', ''r_env'', lease => ''8 days'')'),
    ('pull_runs(''w'', ''r_env'', wait => ''-1 s'')'),
    ('pull_runs(''w'', ''r_env'', wait => ''2 hours'')'),
    ('complete_run(0, 1)'),
    ('complete_run(-9223372036854775808, 1)'),
    ('complete_run(pg_temp.id(''running''), 0)'),
    ('complete_run(pg_temp.id(''waiting run''), 1)'),
    ('complete_run(pg_temp.id(''succeeded run''), 1)'),
    ('complete_run(pg_temp.id(''dead run''), 1)'),
    ('complete_run(pg_temp.id(''cancelled run''), 1)'),
    ('complete_run(pg_temp.id(''running''), pg_temp.id(''run token''), to_jsonb(repeat(''x'', 2000000)))'),
    ('complete_runs(''{}'', ''{}'')'),
    ('complete_runs(''{1}'', ''{}'')'),
    ('complete_runs(''{1}'', ''{1}'', ''{}'')'),
    ('complete_runs(''{{1},{2}}'', ''{{1},{1}}'')'),
    ('complete_runs(''{1,2}'', ''{1,1}'', ARRAY[[''1''::jsonb,''2'']])'),
    ('complete_runs(''{5,3,5}'', ''{1,2,1}'')'),
    ('complete_runs(''{NULL}'', ''{1}'')'),
    ('complete_runs(ARRAY[pg_temp.id(''running''), pg_temp.id(''running'')], ARRAY[pg_temp.id(''run token''), pg_temp.id(''run token'')])'),
    ('fail_run(pg_temp.id(''running''), pg_temp.id(''run token''), ''[]'')'),
    ('fail_run(pg_temp.id(''running''), 0, ''{}'')'),
    ('heartbeat_run(pg_temp.id(''running''), pg_temp.id(''run token''), ''0'')'),
    ('heartbeat_run(pg_temp.id(''running''), 0)'),
    ('release_run(pg_temp.id(''waiting run''), 0)'),
    ('acknowledge_run(0)'),
    ('drain_executors(''-1 s'')'),
    ('drain_executors(''2 days'')'),
    ('cancel_run(0)'),
    ('cancel_run(pg_temp.id(''succeeded run''))'),
    ('cancel_run(pg_temp.id(''cancelled run''))'),
    ('retry_run(pg_temp.id(''running''))'),
    ('retry_run(pg_temp.id(''dead run''), 0)'),
    ('run_result(pg_temp.id(''dead run''))'),
    ('run_result(0)'),
    ('run_status(9223372036854775807)'),
    ('wait_for_run(pg_temp.id(''succeeded run''), ''2 hours'')'),
    ('redrive_runs(''re_req'', ''r_none'')'),
    ('redrive_runs(''re_req'', attempts => 0)'),
    ('redrive_runs(''re_req'', max_runs => 0)'),
    ('limit_customer(''re_req'', 0)'),
    ('limit_customer(''re_req'', 1, 0)'),
    ('limit_customer(''re_req'', 1, 1, ''0'')'),
    ('limit_key(''re_req'', '''', 1)'),
    ('limit_key(''re_req'', ''k'', 0)'),
    ('remove_runs(''-1 s'')'),
    ('remove_runs(''1 day'', 0)')) c (call);
\pset format aligned
\set QUIET off
SELECT b.state = pg_temp.state() AS unchanged FROM before b;
SELECT * FROM taskex.check_workload() WHERE NOT ok;
SELECT taskex.update_user('r_nologin', '{"db_role": null}');
DROP ROLE regress_run_nologin;
