-- steering.sql: runs that are suspended and give way. Pairs with src/workload/suspend.c.

CREATE TABLE _taskex.run_stop (
    run_id bigint PRIMARY KEY,
    force_at timestamptz NOT NULL
);
COMMENT ON TABLE _taskex.run_stop IS 'Runs that are running and are stopped by force if they do not give way in time.';

CREATE TABLE _taskex.run_held (
    run_id bigint PRIMARY KEY,
    program_id bigint NOT NULL
);
COMMENT ON TABLE _taskex.run_held IS 'Runs that are suspended because their program was when their turn came.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.run_stop', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.run_held', '');

-- runs ------------------------------------------------------------------------

CREATE FUNCTION taskex.suspend_run(run_id bigint, stop_after interval = '1 minute')
    RETURNS text LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_suspend_run';
COMMENT ON FUNCTION taskex.suspend_run(bigint, interval) IS
'Suspends a run until resume_run. One that waits is suspended at once. One that is running is asked to stop: it stops, with its state, at its next
checkpoint or when it gives way (yield_run), and by force, with its last checkpoint, after stop_after (0 to 366 days; 0: at once; NULL: never).
The attempt ends as suspended and does not count against max_attempts. What comes after the run waits for it. Result: suspended, or
running: it was asked. Errors: unknown_run (TX600), wrong_state (TX109): it has ended, invalid_parameter_value (22023).';

CREATE FUNCTION taskex.resume_run(run_id bigint)
    RETURNS text LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_resume_run';
COMMENT ON FUNCTION taskex.resume_run(bigint) IS
'A run that is suspended waits again, in its old place and with its state; one that was asked to stop, and runs still, is to go on. Result: its
state, waiting or running. Errors: unknown_run (TX600), wrong_state (TX109): it has ended.';

CREATE FUNCTION taskex.should_yield(run_id bigint = NULL, lease_token bigint = NULL)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_should_yield';
COMMENT ON FUNCTION taskex.should_yield(bigint, bigint) IS
'Should the run give way: was it asked to, or has it run for as long as its environment''s limit "slice" says? lease_token: as pull_runs
gave it; the code of a run in an executor gives neither. Errors: not_executed (TX662), unknown_run (TX600), lease_expired (TX107), stale_token (TX108), wrong_state (TX109).';

CREATE FUNCTION taskex.yield_run(run_id bigint = NULL, lease_token bigint = NULL, state jsonb = NULL, progress jsonb = NULL)
    RETURNS text LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_yield_run';
COMMENT ON FUNCTION taskex.yield_run(bigint, bigint, jsonb, jsonb) IS
'The run gives way, to go on later with this state (NULL: its last checkpoint). lease_token: as pull_runs gave it. progress: how far it is (NULL: as it was).
The attempt ends as suspended and does not count against max_attempts. The code of a run in an executor gives neither run_id nor lease_token, and then
returns: what it has written is committed together with the state. Result: waiting, or suspended if that was asked for (running: in an executor).
Errors: not_executed (TX662), unknown_run (TX600), lease_expired (TX107), stale_token (TX108), wrong_state (TX109), input_too_large (TX111).';

CREATE FUNCTION taskex.checkpoint(state jsonb, progress jsonb = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_checkpoint';
COMMENT ON FUNCTION taskex.checkpoint(jsonb, jsonb) IS
'For the code of a run, in an executor: from where its next attempt can go on (state; run_state gives it), and how far it is (progress, for people). It outlives the attempt, however that ends, although what
the run has written does not: so it is for what is not in tables; yield_run keeps both. On disk it is within a moment (a round of the conductor).
If the run was asked to stop, it does here, with the error run_suspended (TX663), which is not to be caught. Errors: not_executed (TX662), input_too_large
(TX111): larger than taskex.checkpoint_size.';

CREATE FUNCTION taskex.progress(progress jsonb)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_progress';
COMMENT ON FUNCTION taskex.progress(jsonb) IS
'For the code of a run, in an executor: how far it is (progress; run_status shows it). Errors: not_executed (TX662), input_too_large (TX111).';

CREATE FUNCTION taskex.run_state()
    RETURNS jsonb LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_run_state';
COMMENT ON FUNCTION taskex.run_state() IS
'For the code of a run, in an executor: its last checkpoint, of this attempt or an earlier one; NULL: there is none. Errors: not_executed (TX662).';

-- programs and customers --------------------------------------------------------

CREATE FUNCTION _taskex.running_runs(OUT run_id bigint, OUT customer_id bigint, OUT environment_id int)
    RETURNS SETOF record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_running_runs';
COMMENT ON FUNCTION _taskex.running_runs() IS 'What is running, as the queue knows it.';

CREATE FUNCTION _taskex.ask_run(run_id bigint, program_id bigint, stop_after interval)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_ask_run';
COMMENT ON FUNCTION _taskex.ask_run(bigint, bigint, interval) IS
'Asks a run to give way, if it is running, and one of this program (NULL: any).';

CREATE FUNCTION _taskex.unhold_run(run_id bigint)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_unhold_run';
COMMENT ON FUNCTION _taskex.unhold_run(bigint) IS 'A run that is suspended goes on. false: it is not suspended any more.';

CREATE FUNCTION taskex.suspend_program(owner text, name text, stop_after interval = '1 minute')
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.suspend_program(text, text, interval) IS
'No run of the program, whoever''s it is, is started until resume_program; one whose turn comes is suspended. Those that run are asked to give way, and stopped
by force after stop_after (0 to 366 days). Runs are still taken in. Result: how many were asked.
Errors: unknown_program (TX622), invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.lock_program(owner bigint, name text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
BEGIN
    SELECT x.program_id INTO id FROM _taskex.program x WHERE x.owner_id = owner AND x.name = lock_program.name FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM _taskex.fail('unknown_program', format('the user has no program "%s"', name));
    END IF;
    RETURN id;
END $$;
COMMENT ON FUNCTION _taskex.lock_program(bigint, text) IS 'The id of a user''s program, locked, or the error unknown_program.';

CREATE FUNCTION _taskex.check_stop_after(stop_after interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT stop_after BETWEEN '0' AND '366 days' THEN
        PERFORM _taskex.bad_value('stop_after must be between 0 and 366 days');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_stop_after(interval) IS 'Checks the time after which a run is stopped by force; NULL is fine.';

CREATE FUNCTION _taskex.suspend_program(owner bigint, name text, stop_after interval)
    RETURNS int LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint := _taskex.lock_program(owner, name);
    r bigint;
    asked int := 0;
BEGIN
    PERFORM _taskex.check_stop_after(stop_after);
    UPDATE _taskex.program x SET suspended = true WHERE x.program_id = id AND NOT suspended;
    FOR r IN SELECT x.run_id FROM _taskex.running_runs() x ORDER BY 1 LOOP
        asked := asked + _taskex.ask_run(r, id, stop_after)::int;
    END LOOP;
    RETURN asked;
END $$;
COMMENT ON FUNCTION _taskex.suspend_program(bigint, text, interval) IS 'Body of taskex.suspend_program.';

CREATE FUNCTION taskex.resume_program(owner text, name text)
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.resume_program(text, text) IS
'Ends suspend_program: runs that were suspended because of it wait again. Result: how many these are. Errors: unknown_program (TX622).';

CREATE FUNCTION _taskex.resume_program(owner bigint, name text)
    RETURNS int LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint := _taskex.lock_program(owner, name);
    r bigint;
    resumed int := 0;
BEGIN
    UPDATE _taskex.program x SET suspended = false WHERE x.program_id = id AND suspended;
    FOR r IN SELECT h.run_id FROM _taskex.run_held h WHERE h.program_id = id ORDER BY 1 LOOP
        resumed := resumed + _taskex.unhold_run(r)::int;
    END LOOP;
    DELETE FROM _taskex.run_held h WHERE h.program_id = id;
    RETURN resumed;
END $$;
COMMENT ON FUNCTION _taskex.resume_program(bigint, text) IS 'Body of taskex.resume_program.';

CREATE FUNCTION taskex.suspend_customer(customer text, stop_after interval = '1 minute')
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.suspend_customer(text, interval) IS
'Does what pause_runs does, and asks those of the customer''s runs that are running to give way; they are stopped by force after
stop_after (0 to 366 days). resume_runs ends it: they go on with their state. Result: how many were asked. Errors: invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.suspend_customer(customer bigint, stop_after interval)
    RETURNS int LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    r bigint;
    asked int := 0;
BEGIN
    PERFORM _taskex.check_stop_after(stop_after);
    PERFORM _taskex.pause_runs(customer);
    FOR r IN SELECT x.run_id FROM _taskex.running_runs() x WHERE x.customer_id = customer ORDER BY 1 LOOP
        asked := asked + _taskex.ask_run(r, NULL, stop_after)::int;
    END LOOP;
    RETURN asked;
END $$;
COMMENT ON FUNCTION _taskex.suspend_customer(bigint, interval) IS 'Body of taskex.suspend_customer.';
