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

CREATE TABLE _taskex.run_sweep (
    scope text NOT NULL,
    scope_id bigint NOT NULL,
    force_at timestamptz,
    suspended_by xid8 NOT NULL,
    PRIMARY KEY (scope, scope_id)
);
COMMENT ON TABLE _taskex.run_sweep IS
'Programs and customers that were suspended, until their runs that were being taken at that moment have been asked to give way. force_at NULL: never by force.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.run_stop', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.run_held', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.run_sweep', '');

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

CREATE FUNCTION _taskex.running_runs(also_taken boolean = false, OUT run_id bigint, OUT customer_id bigint, OUT environment_id int)
    RETURNS SETOF record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_running_runs';
COMMENT ON FUNCTION _taskex.running_runs(boolean) IS 'What is running, as the queue knows it. also_taken: with what transactions that have not ended are taking.';

CREATE FUNCTION _taskex.ask_run(run_id bigint, program_id bigint, stop_after interval, wait boolean = true)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_ask_run';
COMMENT ON FUNCTION _taskex.ask_run(bigint, bigint, interval, boolean) IS
'Asks a run to give way, if it is running, and one of this program (NULL: any). wait false: only if it was not asked before; NULL: it is to be looked at again.';

CREATE FUNCTION _taskex.begin_sweep(scope text, scope_id bigint, stop_after interval) RETURNS void LANGUAGE sql AS $$
    INSERT INTO _taskex.run_sweep VALUES (scope, scope_id, _taskex.now() + stop_after, pg_current_xact_id())
        ON CONFLICT ON CONSTRAINT run_sweep_pkey DO UPDATE SET force_at = excluded.force_at, suspended_by = excluded.suspended_by
$$;
COMMENT ON FUNCTION _taskex.begin_sweep(text, bigint, interval) IS 'Runs of this program or customer that are being taken now are asked to give way, soon after the transaction has ended.';

-- Who suspends does not see what others are taking, and they do not see yet what he does. Both do afterwards: a run
-- that was reserved before is found here; one that is reserved later is not started, for who takes it looks at the
-- program when he has locked the run, and a customer who is paused has no turn in the queue. What is locked, is about to
-- be taken, or lies where nobody can read it, is looked at again in the next round.
CREATE FUNCTION _taskex.sweep_runs() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s _taskex.run_sweep;
    r record;
    asked boolean;
    complete boolean;
BEGIN
    FOR s IN SELECT * FROM _taskex.run_sweep ORDER BY 1, 2 FOR UPDATE SKIP LOCKED LOOP
        -- what a commit does to the queue comes after others see it, and before this lock is gone
        complete := NOT EXISTS (SELECT FROM pg_locks l WHERE l.locktype = 'transactionid' AND l.transactionid = s.suspended_by::xid AND l.granted)
            AND NOT EXISTS (SELECT FROM _taskex.unreadable_partitions() u
                WHERE s.scope = 'program' OR u.partition_id = (SELECT d.partition_id FROM _taskex.directory d WHERE d.user_id = s.scope_id));
        FOR r IN SELECT x.run_id, _taskex.readable(d.partition_id) AS readable FROM _taskex.running_runs(true) x JOIN _taskex.directory d ON d.user_id = x.customer_id
                WHERE s.scope = 'program' OR x.customer_id = s.scope_id ORDER BY 1 LOOP
            asked := CASE WHEN r.readable THEN _taskex.ask_run(r.run_id, CASE s.scope WHEN 'program' THEN s.scope_id END,
                CASE WHEN s.force_at IS NOT NULL THEN greatest(s.force_at - _taskex.now(), '0') END, false) END;
            complete := complete AND asked IS NOT NULL;
        END LOOP;
        IF complete THEN
            DELETE FROM _taskex.run_sweep x WHERE (x.scope, x.scope_id) = (s.scope, s.scope_id);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.sweep_runs() IS 'Asks runs to give way that were being taken when their program or customer was suspended. The conductor calls it.';

CREATE FUNCTION _taskex.unhold_run(run_id bigint)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_unhold_run';
COMMENT ON FUNCTION _taskex.unhold_run(bigint) IS 'A run that is suspended goes on. false: it is not suspended any more.';

CREATE FUNCTION taskex.suspend_program(owner text, name text, stop_after interval = '1 minute')
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.suspend_program(text, text, interval) IS
'No run of the program, whoever''s it is, is started until resume_program; one whose turn comes is suspended. Those that run are asked to give way, and stopped
by force after stop_after (0 to 366 days); those that are being taken at this moment, too, soon after the transaction has ended. Runs are still taken in. Result: how many were asked at once.
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
    PERFORM _taskex.begin_sweep('program', id, stop_after);
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
    DELETE FROM _taskex.run_sweep x WHERE x.scope = 'program' AND x.scope_id = id;
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
stop_after (0 to 366 days); those that are being taken at this moment, too, soon after the transaction has ended. resume_runs ends it: they go on
with their state. Result: how many were asked at once. Errors: invalid_parameter_value (22023).';

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
    PERFORM _taskex.begin_sweep('customer', customer, stop_after);
    RETURN asked;
END $$;
COMMENT ON FUNCTION _taskex.suspend_customer(bigint, interval) IS 'Body of taskex.suspend_customer.';
