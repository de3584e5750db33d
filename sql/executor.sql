-- executor.sql: processes that run code inside the server. Pairs with src/executor,
-- whose README.md draws their states.

CREATE FUNCTION _taskex.executor_slots(OUT pid int, OUT environment_id int, OUT role oid, OUT state text, OUT started_at timestamptz,
        OUT since timestamptz, OUT held int, OUT run_id bigint, OUT attempt int, OUT customer_id bigint, OUT run_since timestamptz,
        OUT taken bigint, OUT ended bigint, OUT reserved_for bigint, OUT reserved_until timestamptz,
        OUT cpu_us bigint, OUT "rows" bigint, OUT blocks_read bigint, OUT wal_bytes bigint, OUT memory bigint,
        OUT last_run_id bigint, OUT last_customer_id bigint)
    RETURNS SETOF record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_executor_slots';
COMMENT ON FUNCTION _taskex.executor_slots() IS
'The executors of this exchange, as they are in shared memory. last_run_id: of one that is busy, also between two of its runs.';

CREATE VIEW taskex.executors WITH (security_barrier) AS
    SELECT s.pid, e.name AS environment, s.role::regrole::text AS role, s.state, s.since, s.started_at,
        d.login AS customer, s.run_id, s.attempt, s.run_since, s.taken, s.ended AS runs, r.login AS reserved_for, s.reserved_until,
        make_interval(secs => s.cpu_us / 1000000.0) AS cpu_time, s."rows", s.blocks_read, s.wal_bytes, s.memory
    FROM _taskex.executor_slots() s
        JOIN _taskex.environment e USING (environment_id)
        LEFT JOIN _taskex.directory d ON d.user_id = s.customer_id AND _taskex.visible(d.user_id)
        LEFT JOIN _taskex.directory r ON r.user_id = s.reserved_for AND _taskex.visible(r.user_id)
    WHERE _taskex.caller_trusted() OR EXISTS (SELECT FROM pg_roles p WHERE p.oid = s.role AND pg_has_role(p.oid, 'USAGE'));
COMMENT ON VIEW taskex.executors IS
'Processes that run code: in which environment, as which role. state: starting, idle, busy, reserved (for a customer who has not
acknowledged his result), stopping (ends when it has done what it does), dead (it has ended; its runs are about to be tried again). since: in this state.
run_id, attempt, run_since, cpu_time to memory: the run that it executes, and what that has used so far. taken, runs: taken from the queue, and executed,
since it was started. Members of taskex_user see those of their roles.';

CREATE FUNCTION taskex.drain_executors(timeout interval = '1 minute') RETURNS int
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_drain_executors';
COMMENT ON FUNCTION taskex.drain_executors(interval) IS
'Before a restart of the server: executors of this exchange take no more runs and end when they have done what they have. Waits until they have,
for timeout (0 to a day) at most. It lasts until the server restarts, or taskex.resume_executors().
Result: how many are left. Errors: invalid_parameter_value (22023). Operators only.';

CREATE FUNCTION taskex.resume_executors() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_resume_executors';
COMMENT ON FUNCTION taskex.resume_executors() IS 'Ends drain_executors. Operators only.';

CREATE FUNCTION _taskex.wake_executors() RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_wake_executors';
COMMENT ON FUNCTION _taskex.wake_executors() IS 'From the commit on executors of this exchange that sleep look for runs again.';

CREATE FUNCTION taskex.acknowledge_run(run_id bigint) RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_acknowledge_run';
COMMENT ON FUNCTION taskex.acknowledge_run(bigint) IS
'The customer has what he wanted of a run with the option dedicated: from the commit on its executor is for anybody again, unless others of his runs keep it that he has not acknowledged.
Result: true if it kept one. Errors: unknown_run (TX600).';

-- health ----------------------------------------------------------------------

CREATE FUNCTION _taskex.pool_state(OUT places int, OUT used int, OUT draining boolean, OUT wanting int, OUT no_worker boolean,
        OUT failing int, OUT environment_id int, OUT message text)
    RETURNS record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_pool_state';
COMMENT ON FUNCTION _taskex.pool_state() IS
'places and used: of the server. wanting: roles of this exchange that have runs waiting and no executor. failing: kinds of executors that could not be made ready, and the worst of them.';

-- without shared memory, or on a standby, there is none
CREATE FUNCTION _taskex.pool_health(OUT ok boolean, OUT detail text)
    RETURNS record LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    s record;
BEGIN
    ok := true;
    IF pg_is_in_recovery() THEN
        detail := 'this is a standby';
        RETURN;
    ELSIF NOT _taskex.loaded() THEN
        detail := 'there are none';
        RETURN;
    END IF;
    SELECT * INTO s FROM _taskex.pool_state();
    IF s.places = 0 THEN
        detail := 'there are none: taskex.max_executors is 0';
    ELSIF s.failing > 0 THEN
        ok := false;
        detail := format('%s kinds of executors cannot be made ready; environment %s: %s', s.failing,
            (SELECT quote_literal(e.name) FROM _taskex.environment e WHERE e.environment_id = s.environment_id), s.message);
    ELSIF s.no_worker THEN
        ok := false;
        detail := 'no worker slot was free for an executor: raise max_worker_processes';
    ELSIF s.draining THEN
        ok := false;
        detail := 'they take no runs: taskex.drain_executors() was called';
    ELSE
        detail := format('%s of %s run, %s roles wait for one', s.used, s.places, s.wanting);
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.pool_health() IS 'pool_state for the view taskex.health, which is there without shared memory too.';

-- runs that wait in environments with executors, of customers as whom none can log in
CREATE FUNCTION _taskex.role_health(OUT ok boolean, OUT detail text)
    RETURNS record LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_is_in_recovery() OR NOT _taskex.loaded() THEN
        ok := true;
        detail := CASE WHEN pg_is_in_recovery() THEN 'this is a standby' ELSE 'there are no runs' END;
        RETURN;
    END IF;
    SELECT count(*) = 0, CASE WHEN count(*) = 0 THEN 'no run waits for a role' ELSE format('%s runs of %s customers wait until their customers have a role that may log in: "%s" %s',
                sum(w.waiting), count(*), (array_agg(w.login ORDER BY w.waiting DESC, w.login))[1], (array_agg(w.reason ORDER BY w.waiting DESC, w.login))[1]) END
        INTO ok, detail
        FROM (SELECT d.login, sum(l.waiting) AS waiting, CASE WHEN d.db_role IS NULL THEN 'has no db_role' WHEN r.oid IS NULL THEN 'has a db_role that was dropped'
                ELSE format('has the db_role %I, which may not log in', r.rolname) END AS reason
            FROM _taskex.lanes() l
                JOIN _taskex.environment e USING (environment_id)
                JOIN _taskex.directory d ON d.user_id = l.customer_id
                LEFT JOIN pg_roles r ON r.oid = d.db_role::oid
            WHERE l.waiting > 0 AND e.language <> 'external' AND r.rolcanlogin IS NOT TRUE
            GROUP BY d.login, d.db_role, r.oid, r.rolname) w;
END $$;
COMMENT ON FUNCTION _taskex.role_health() IS 'Does a run wait that no executor can ever take? For the view taskex.health.';
