-- monitor.sql: what runs, watched while it does; alerts; slowing down. Pairs with src/executor/steer.c.

-- What PostgreSQL shows of processes to those with pg_read_all_stats.
CREATE FUNCTION _taskex.executor_waits(OUT pid int, OUT wait_event_type text, OUT wait_event text)
    RETURNS SETOF record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT pid, wait_event_type, wait_event FROM pg_stat_activity WHERE backend_type = 'taskex executor' AND datname = current_database()
$$;
COMMENT ON FUNCTION _taskex.executor_waits() IS 'What executors of this exchange wait for.';

CREATE VIEW taskex.run_monitor WITH (security_barrier) AS
    SELECT r.run_id, d.login AS customer, e.name AS environment,
        CASE WHEN p.owner_id = r.customer_id THEN p.name ELSE o.login || '/' || p.name END AS program, r.version, r.priority, r.attempts AS attempt, r.worker,
        s.pid, coalesce(s.run_since, r.started_at) AS started_at, _taskex.now() - r.started_at AS run_time,
        make_interval(secs => s.cpu_us / 1000000.0) AS cpu_time, s."rows", s.blocks_read, s.wal_bytes, s.memory, w.wait_event_type, w.wait_event,
        r.progress, r.asked, r.split_id, r.part
    FROM _taskex.running_runs() q
        JOIN _taskex.directory d ON d.user_id = q.customer_id
        -- OFFSET: each is looked up by itself, and where its customer lives only
        CROSS JOIN LATERAL (SELECT * FROM _taskex.run x WHERE x.partition_id = d.partition_id AND x.run_id = q.run_id OFFSET 0) r
        JOIN _taskex.environment e ON e.environment_id = r.environment_id
        LEFT JOIN _taskex.program p USING (program_id)
        LEFT JOIN _taskex.directory o ON o.user_id = p.owner_id
        LEFT JOIN _taskex.executor_slots() s ON s.run_id = r.run_id
        LEFT JOIN _taskex.executor_waits() w ON w.pid = s.pid
    WHERE r.state = 'running' AND _taskex.visible(d.user_id) AND _taskex.visible(r.customer_id);
COMMENT ON VIEW taskex.run_monitor IS
'What is running for the customers for whom the caller may act, and what it has used so far. pid, cpu_time to wait_event: in an executor. asked: to suspend, or to yield.';

CREATE VIEW taskex.run_totals WITH (security_barrier) AS
    SELECT CASE WHEN GROUPING(m.environment) = 0 THEN 'environment' WHEN GROUPING(m.customer) = 0 THEN 'customer' ELSE 'program' END AS of_what,
        coalesce(m.environment, m.customer, m.program) AS name, count(*) AS running, max(m.run_time) AS longest, sum(m.run_time) AS run_time, sum(m.cpu_time) AS cpu_time,
        sum(m."rows") AS "rows", sum(m.blocks_read) AS blocks_read, sum(m.wal_bytes) AS wal_bytes, sum(m.memory) AS memory
    FROM taskex.run_monitor m
    GROUP BY GROUPING SETS ((m.environment), (m.customer), (m.program))
    HAVING coalesce(m.environment, m.customer, m.program) IS NOT NULL;
COMMENT ON VIEW taskex.run_totals IS 'run_monitor, added up by environment, by customer and by program.';

-- alerts ----------------------------------------------------------------------------

CREATE TABLE _taskex.run_alert (
    name text PRIMARY KEY COLLATE "C",
    metric text NOT NULL,
    threshold float8 NOT NULL,
    environment text,
    customer text,
    program text
);
COMMENT ON TABLE _taskex.run_alert IS 'What taskex.health is to tell of runs. environment, customer, program: NULL: any.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.run_alert', '');

CREATE FUNCTION taskex.set_alert(name text, metric text, threshold float8, environment text = NULL, customer text = NULL, program text = NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF name IS NULL OR metric IS NULL OR threshold IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name, metric and threshold must not be null';
    END IF;
    PERFORM _taskex.check_text(name, 'the name of an alert', 63);
    IF metric NOT IN ('run_time', 'cpu_time', 'memory', 'wal_bytes', 'rows', 'running', 'waiting', 'queue_age') THEN
        PERFORM _taskex.bad_value(format('"%s" cannot be watched', metric), NULL, 'Metrics are run_time, cpu_time, memory, wal_bytes, rows, running, waiting and queue_age.');
    ELSIF NOT (threshold >= 0 AND threshold < 'Infinity') THEN
        PERFORM _taskex.bad_value('threshold must be a number, 0 at least');
    ELSIF metric IN ('waiting', 'queue_age') AND program IS NOT NULL THEN
        PERFORM _taskex.bad_value(format('"%s" is not known by program', metric));
    END IF;
    IF program IS NOT NULL AND NOT EXISTS (SELECT FROM _taskex.program p JOIN _taskex.directory d ON d.user_id = p.owner_id
            WHERE program IN (p.name, d.login || '/' || p.name)) THEN
        PERFORM _taskex.fail('unknown_program', format('program "%s" does not exist', program), NULL, 'Give it as "owner/name", or as "name" for all who have one of that name.');
    END IF;
    PERFORM CASE WHEN environment IS NOT NULL THEN _taskex.lock_environment(environment) END, CASE WHEN customer IS NOT NULL THEN _taskex.user_id(customer) END;
    INSERT INTO _taskex.run_alert AS a VALUES (set_alert.name, set_alert.metric, set_alert.threshold, set_alert.environment, set_alert.customer, set_alert.program)
        ON CONFLICT ON CONSTRAINT run_alert_pkey DO UPDATE SET metric = excluded.metric, threshold = excluded.threshold, environment = excluded.environment,
            customer = excluded.customer, program = excluded.program;
END $$;
COMMENT ON FUNCTION taskex.set_alert(text, text, float8, text, text, text) IS
'taskex.health tells, in a row of its own, when something is beyond a threshold (name: what the row is called, after "alert"). metric: run_time or cpu_time (seconds, of the run that has most), memory or
wal_bytes (bytes, the same), rows (the same), running (how many runs), waiting (how many), queue_age (seconds since the oldest of these was submitted). environment, customer, program: of these only;
a program as "owner/name", or as "name": those of customers who have one of this name.
Errors: unknown_environment (TX620), unknown_user (TX001), unknown_program (TX622), invalid_parameter_value (22023). Operators only.';

CREATE FUNCTION taskex.drop_alert(name text)
    RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name must not be null';
    END IF;
    DELETE FROM _taskex.run_alert a WHERE a.name = drop_alert.name;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION taskex.drop_alert(text) IS 'Ends an alert of set_alert. Result: was there one of this name? Operators only.';

-- without shared memory, or on a standby, nothing is known
CREATE FUNCTION _taskex.alert_health(OUT name text, OUT ok boolean, OUT detail text)
    RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a _taskex.run_alert;
    value float8;
BEGIN
    IF NOT _taskex.loaded() OR pg_is_in_recovery() THEN
        RETURN;
    END IF;
    FOR a IN SELECT * FROM _taskex.run_alert x ORDER BY x.name LOOP
        name := a.name;
        BEGIN
            IF a.metric IN ('waiting', 'queue_age') THEN
                SELECT CASE a.metric WHEN 'waiting' THEN sum(q.waiting) ELSE max(extract(epoch FROM q.age)) END INTO value FROM taskex.queue q
                    WHERE (a.environment IS NULL OR q.environment = a.environment) AND (a.customer IS NULL OR q.customer = a.customer);
            ELSE
                SELECT CASE a.metric WHEN 'run_time' THEN max(extract(epoch FROM m.run_time)) WHEN 'cpu_time' THEN max(extract(epoch FROM m.cpu_time))
                        WHEN 'memory' THEN max(m.memory) WHEN 'wal_bytes' THEN max(m.wal_bytes) WHEN 'rows' THEN max(m."rows") ELSE count(*) END INTO value
                    FROM taskex.run_monitor m WHERE (a.environment IS NULL OR m.environment = a.environment) AND (a.customer IS NULL OR m.customer = a.customer)
                        AND (a.program IS NULL OR a.program IN (m.program, m.customer || '/' || m.program));
            END IF;
            ok := coalesce(value, 0) <= a.threshold;
            detail := format('%s is %s, the threshold is %s', a.metric, round(coalesce(value, 0)::numeric, 3), a.threshold);
        EXCEPTION WHEN OTHERS THEN
            -- a partition cannot be read, for instance: the other rows of health are needed then
            ok := false;
            detail := format('%s cannot be told: %s', a.metric, SQLERRM);
        END;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.alert_health() IS 'How the alerts are, for the view taskex.health.';

-- slowing down ----------------------------------------------------------------------

CREATE TABLE _taskex.throttle (
    scope text NOT NULL,
    scope_id bigint NOT NULL,
    name text NOT NULL,
    nice int NOT NULL,
    pause_us int NOT NULL,
    io_rate int NOT NULL,
    until timestamptz,
    reason text NOT NULL,
    PRIMARY KEY (scope, scope_id)
);
COMMENT ON TABLE _taskex.throttle IS 'How executors of runs, programs, customers and environments are slowed down. until NULL: for good.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.throttle', '');

CREATE FUNCTION _taskex.throttle_scope(scope text, name text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    slash int := length(name) - strpos(reverse(name), '/') + 1;
    id bigint;
BEGIN
    IF scope = 'run' THEN
        IF name !~ '^[0-9]{1,18}$' THEN
            PERFORM _taskex.bad_value('the name of a run is its number');
        END IF;
        PERFORM taskex.run_status(name::bigint);
        RETURN name::bigint;
    ELSIF scope = 'customer' THEN
        RETURN _taskex.user_id(name);
    ELSIF scope = 'environment' THEN
        RETURN (_taskex.lock_environment(name)).environment_id;
    ELSIF scope = 'program' THEN
        SELECT p.program_id INTO id FROM _taskex.directory d JOIN _taskex.program p ON p.owner_id = d.user_id
            WHERE d.login = left(throttle_scope.name, slash - 1) AND p.name = substr(throttle_scope.name, slash + 1);
        IF id IS NULL THEN
            PERFORM _taskex.fail('unknown_program', format('program "%s" does not exist', name), NULL, 'Give it as "owner/name".');
        END IF;
        RETURN id;
    END IF;
    PERFORM _taskex.bad_value('scope must be run, program, customer or environment');
END $$;
COMMENT ON FUNCTION _taskex.throttle_scope(text, text) IS 'The id of what is slowed down.';

CREATE FUNCTION taskex.throttle(scope text, name text, settings jsonb, lasting interval = NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k text;
    v jsonb;
    id bigint;
    wanted jsonb := '{}';
    limits jsonb := '{"nice": 19, "pause": 60000, "io_rate": 1000000000}';
BEGIN
    IF scope IS NULL OR name IS NULL OR settings IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'scope, name and settings must not be null';
    END IF;
    id := _taskex.throttle_scope(scope, name);
    PERFORM _taskex.check_keys(settings, 'settings', '{nice,pause,io_rate}');
    FOR k, v IN SELECT * FROM jsonb_each(settings) LOOP
        IF _taskex.json_int(v, k) NOT BETWEEN 0 AND (limits ->> k)::int THEN
            PERFORM _taskex.bad_value(format('%s must be between 0 and %s', k, limits ->> k));
        END IF;
        wanted := wanted || jsonb_build_object(k, _taskex.json_int(v, k));
    END LOOP;
    IF lasting NOT BETWEEN '1 millisecond' AND '366 days' THEN
        PERFORM _taskex.bad_value('lasting must be between a millisecond and 366 days');
    END IF;
    INSERT INTO _taskex.throttle AS t VALUES (throttle.scope, id, throttle.name, coalesce((wanted ->> 'nice')::int, 0), coalesce((wanted ->> 'pause')::int, 0) * 1000,
            coalesce((wanted ->> 'io_rate')::int, 0), _taskex.now() + lasting, 'operator')
        ON CONFLICT ON CONSTRAINT throttle_pkey DO UPDATE SET nice = excluded.nice, pause_us = excluded.pause_us, io_rate = excluded.io_rate, until = excluded.until, reason = excluded.reason;
END $$;
COMMENT ON FUNCTION taskex.throttle(text, text, jsonb, interval) IS
'Slows down what executors run. scope and name: a run (its number), a program ("owner/name"), a customer, or an environment. settings: nice (0 to 19, added to the server''s: the executor''s priority for the processor;
others go before it), pause (milliseconds of rest between transactions, at most 60000), io_rate (pages read or written in a second, held at the end of each statement; 0: any). Of several that apply
the strictest counts. It begins within a round of the conductor. lasting: so long (at most 366 days), then it ends by itself; NULL: until unthrottle.
Errors: unknown_run (TX600), unknown_program (TX622), unknown_user (TX001), unknown_environment (TX620), invalid_parameter_value (22023). Operators only.';

CREATE FUNCTION taskex.unthrottle(scope text, name text)
    RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF scope IS NULL OR name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'scope and name must not be null';
    ELSIF scope NOT IN ('run', 'program', 'customer', 'environment') THEN
        PERFORM _taskex.bad_value('scope must be run, program, customer or environment');
    END IF;
    DELETE FROM _taskex.throttle t WHERE t.scope = unthrottle.scope AND t.name = unthrottle.name;
    RETURN FOUND;
END $$;
COMMENT ON FUNCTION taskex.unthrottle(text, text) IS 'Ends what throttle began. scope, name: as given there. Result: was there something? Errors: invalid_parameter_value (22023) for an unknown scope. Operators only.';

CREATE TABLE _taskex.throttle_policy (
    environment_id int PRIMARY KEY,
    after interval NOT NULL,
    action text NOT NULL,
    lasting interval NOT NULL
);
COMMENT ON TABLE _taskex.throttle_policy IS 'What is done with runs that hold up others for longer than "after".';
SELECT pg_catalog.pg_extension_config_dump('_taskex.throttle_policy', '');

CREATE FUNCTION taskex.set_throttle_policy(environment text, after interval, action text = 'yield', lasting interval = '1 minute')
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id int;
BEGIN
    IF environment IS NULL OR action IS NULL OR lasting IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'environment, action and lasting must not be null';
    END IF;
    id := (_taskex.lock_environment(environment)).environment_id;
    IF action NOT IN ('yield', 'slow') THEN
        PERFORM _taskex.bad_value('action must be yield or slow');
    ELSIF NOT lasting BETWEEN '1 millisecond' AND '366 days' OR NOT after BETWEEN '0' AND '366 days' THEN
        PERFORM _taskex.bad_value('after and lasting must be between 0 and 366 days');
    END IF;
    DELETE FROM _taskex.throttle_policy p WHERE p.environment_id = id;
    IF after IS NOT NULL THEN
        INSERT INTO _taskex.throttle_policy VALUES (id, after, action, lasting);
    END IF;
END $$;
COMMENT ON FUNCTION taskex.set_throttle_policy(text, interval, text, interval) IS
'What is done with runs of an environment that hold up others: that have been running for longer than "after" (NULL: nothing is done any more) while another session waits for a lock of theirs, or a run of the environment waits
that could begin. action: yield asks them to give way (and stops them by force after lasting); slow gives them nice 10 for lasting (it helps where they take the processor from others).
Errors: unknown_environment (TX620), invalid_parameter_value (22023). Operators only.';

CREATE FUNCTION _taskex.set_slot(pid int, nice int, pause_us int, io_rate int) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_set_slot';
COMMENT ON FUNCTION _taskex.set_slot(int, int, int, int) IS 'How fast an executor may be.';

-- Runs of executors that hold up others: each is looked up where its customer lives, so that
-- a storage partition that cannot be read concerns its own users only.
CREATE FUNCTION _taskex.apply_throttle_policies() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now timestamptz := _taskex.now();
    r record;
    late boolean;
BEGIN
    FOR r IN SELECT s.run_id, d.partition_id, p.* FROM _taskex.throttle_policy p JOIN _taskex.environment e USING (environment_id)
            JOIN _taskex.executor_slots() s USING (environment_id) JOIN _taskex.directory d ON d.user_id = s.customer_id
            WHERE _taskex.readable(d.partition_id) AND (EXISTS (SELECT FROM taskex.queue q WHERE q.environment = e.name AND q.waiting > 0 AND NOT q.blocked)
                OR EXISTS (SELECT FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock' AND s.pid = ANY (pg_blocking_pids(a.pid)))) LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM _taskex.run_%s x WHERE x.run_id = $1 AND x.state = ''running'' AND x.asked IS NULL AND x.started_at < $2)', r.partition_id)
            INTO late USING r.run_id, now - r.after;
        IF late AND r.action = 'yield' THEN
            PERFORM _taskex.ask_run(r.run_id, NULL, r.lasting);
        ELSIF late THEN
            INSERT INTO _taskex.throttle VALUES ('run', r.run_id, r.run_id::text, 10, 0, 0, now + r.lasting, 'policy') ON CONFLICT DO NOTHING;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.apply_throttle_policies() IS 'Asks runs to give way that hold up others, or slows them down.';

-- What the conductor does while there are throttles or policies, and once after.
CREATE FUNCTION _taskex.apply_throttles() RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now timestamptz := _taskex.now();
    r record;
    slow record;
BEGIN
    DELETE FROM _taskex.throttle t WHERE t.until <= now;
    PERFORM _taskex.apply_throttle_policies();

    -- an executor is slowed down as what it runs now, or has run last, until the next look; one that is idle is not
    FOR r IN SELECT s.pid, s.last_run_id AS run_id, d.partition_id FROM _taskex.executor_slots() s LEFT JOIN _taskex.directory d ON d.user_id = s.last_customer_id WHERE s.pid IS NOT NULL LOOP
        IF r.partition_id IS NULL THEN
            PERFORM _taskex.set_slot(r.pid, 0, 0, 0);
            CONTINUE;
        END IF;
        CONTINUE WHEN NOT _taskex.readable(r.partition_id);
        EXECUTE format($q$SELECT coalesce(max(t.nice), 0) AS nice, coalesce(max(t.pause_us), 0) AS pause_us,
                coalesce(min(t.io_rate) FILTER (WHERE t.io_rate > 0), 0) AS io_rate
            FROM _taskex.run_%s x JOIN _taskex.throttle t
                ON (t.scope, t.scope_id) IN (('run', x.run_id), ('program', x.program_id), ('customer', x.customer_id), ('environment', x.environment_id))
            WHERE x.run_id = $1 $q$, r.partition_id) INTO slow USING r.run_id;
        PERFORM _taskex.set_slot(r.pid, slow.nice, slow.pause_us, slow.io_rate);
    END LOOP;
    RETURN EXISTS (SELECT FROM _taskex.throttle) OR EXISTS (SELECT FROM _taskex.throttle_policy);
END $$;
COMMENT ON FUNCTION _taskex.apply_throttles() IS 'Slows executors down, or lets them go as fast as they can. false: nothing is slowed down.';

CREATE VIEW taskex.throttles AS
    SELECT t.scope, t.name, t.nice, t.pause_us / 1000 AS pause, t.io_rate, t.until, t.reason FROM _taskex.throttle t WHERE t.until IS NULL OR t.until > _taskex.now();
COMMENT ON VIEW taskex.throttles IS 'What is slowed down. reason: operator, or policy (set_throttle_policy).';
