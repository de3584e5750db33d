-- split.sql: one program run over a set of inputs, in parts. Pairs with src/workload/split.c.
-- The whole is a run too, which is blocked until its parts have ended.

CREATE TABLE _taskex.split (
    partition_id int NOT NULL,
    split_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    inputs int NOT NULL,
    speculate float8,
    priority int NOT NULL,
    program text NOT NULL,
    combine text,
    options jsonb NOT NULL,
    submitted_at timestamptz NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.split IS 'Runs in parts. split_id: the run that stands for the whole, and does the combining. options: of the parts.';
INSERT INTO _taskex.child_table VALUES ('split', 625, 100, ARRAY['PRIMARY KEY (split_id)'], ARRAY['(customer_id)'], 'customer_id');

CREATE TABLE _taskex.split_part (
    partition_id int NOT NULL,
    part int NOT NULL,
    split_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    first_input int NOT NULL,
    inputs int NOT NULL,
    run_id bigint NOT NULL,
    spare_id bigint,
    winner bigint
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.split_part IS 'Parts of runs. spare_id: a second run of a part that took long. winner: which of them has succeeded first.';
INSERT INTO _taskex.child_table VALUES ('split_part', 630, 80, ARRAY['PRIMARY KEY (split_id, part)'], '{}', 'customer_id');

CREATE TABLE _taskex.split_open (
    split_id bigint PRIMARY KEY,
    customer_id bigint NOT NULL
);
COMMENT ON TABLE _taskex.split_open IS 'Runs in parts that the conductor looks after.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.split_open', '');

CREATE FUNCTION _taskex.split_end(split_id bigint, outcome text, value jsonb)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_split_end';
COMMENT ON FUNCTION _taskex.split_end(bigint, text, jsonb) IS
'All parts have ended: the whole has this result (succeeded), this error (failed), or these data to combine (ready). false: it has ended.';

-- Parts of these sizes, from the inputs in their order; number: the first one's.
CREATE FUNCTION _taskex.add_parts(s _taskex.split, number int, first_input int, inputs jsonb[], sizes int[])
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    data jsonb[];
    ids bigint[];
    o jsonb := s.options - '{priority,max_delay}'::text[];
BEGIN
    SELECT array_agg(jsonb_build_object('part', number + n - 1, 'parts', number + cardinality(sizes) - 1,
            'inputs', to_jsonb(inputs[before + 1 : before + size])) ORDER BY n) INTO data
        FROM (SELECT n, size, sum(size) OVER (ORDER BY n) - size AS before FROM unnest(sizes) WITH ORDINALITY u (size, n)) u;
    ids := ARRAY(SELECT taskex.submit_runs(_taskex.login(s.customer_id), s.program, data, s.priority, (s.options ->> 'max_delay')::interval, o));
    EXECUTE format('UPDATE _taskex.run_%1$s r SET split_id = $1, part = $2 + u.n - 1 FROM unnest($3) WITH ORDINALITY u (id, n) WHERE r.run_id = u.id', s.partition_id)
        USING s.split_id, number, ids;
    EXECUTE format('INSERT INTO _taskex.split_part_%1$s (partition_id, part, split_id, customer_id, first_input, inputs, run_id)'
            ' SELECT %1$s, $1 + n - 1, $2, $3, $4 + sum(size) OVER (ORDER BY n) - size, size, id FROM unnest($5, $6) WITH ORDINALITY u (size, id, n)', s.partition_id)
        USING number, s.split_id, s.customer_id, first_input, sizes, ids;
END $$;
COMMENT ON FUNCTION _taskex.add_parts(_taskex.split, int, int, jsonb[], int[]) IS 'Queues parts of a run, of these sizes.';

-- sizes that differ by one at most
CREATE FUNCTION _taskex.even_sizes(inputs int, parts int) RETURNS int[] LANGUAGE sql IMMUTABLE AS
    $$ SELECT array_agg((p::bigint * inputs / parts - (p - 1)::bigint * inputs / parts)::int ORDER BY p) FROM generate_series(1, parts) p $$;
COMMENT ON FUNCTION _taskex.even_sizes(int, int) IS 'How many inputs each part has.';

CREATE FUNCTION _taskex.deduplicated() RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_deduplicated';
COMMENT ON FUNCTION _taskex.deduplicated() IS 'Has the last submit_run of this session made nothing, because its deduplication key was used?';

-- parts: how many were asked for; NULL: sizes are as recommended
CREATE FUNCTION _taskex.make_split(customer bigint, program text, inputs jsonb[], parts int, sizes int[], combine text, options jsonb)
    RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    s _taskex.split;
    login text := _taskex.login(customer);
    home int := _taskex.home(customer);
    own text[] := '{notify,retention,deduplication_key}';
    request jsonb;      -- by these data submit_run tells requests with the same deduplication key apart
BEGIN
    IF options ->> 'deduplication_key' IS NOT NULL THEN
        request := to_jsonb(hash_array_extended(inputs, jsonb_hash_extended(jsonb_build_array(program, combine, parts, options), 0)));
    END IF;
    s.split_id := taskex.submit_run(login, coalesce(combine, program), request, coalesce((options ->> 'priority')::numeric::int, 0), NULL,
        coalesce((SELECT jsonb_object_agg(key, value) FROM jsonb_each(options) WHERE key = ANY (own)), '{}'));
    IF _taskex.deduplicated() THEN
        RETURN s.split_id;
    END IF;
    -- nobody is to take it before its parts have ended
    PERFORM taskex.suspend_run(s.split_id);
    EXECUTE format('UPDATE _taskex.run_%s SET state = ''blocked'', split_id = run_id, data = NULL WHERE run_id = $1', home) USING s.split_id;
    s.partition_id := home;
    s.customer_id := customer;
    s.inputs := cardinality(inputs);
    s.speculate := CASE WHEN options ? 'speculate' THEN (nullif(options -> 'speculate', 'null'))::float8 ELSE 2 END;
    s.priority := coalesce((options ->> 'priority')::numeric::int, 0);
    s.program := program;
    s.combine := combine;
    s.options := options - own - 'speculate';
    s.submitted_at := _taskex.now();
    EXECUTE format('INSERT INTO _taskex.split_%s SELECT $1.*', home) USING s;
    PERFORM _taskex.add_parts(s, 1, 1, inputs, sizes);
    INSERT INTO _taskex.split_open VALUES (s.split_id, customer);
    RETURN s.split_id;
END $$;
COMMENT ON FUNCTION _taskex.make_split(bigint, text, jsonb[], int, int[], text, jsonb) IS 'Queues a run in parts of these sizes.';

CREATE FUNCTION taskex.submit_parts(customer text, program text, inputs jsonb[], parts int = NULL, combine text = NULL, options jsonb = '{}')
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.submit_parts(text, text, jsonb[], int, text, jsonb) IS
'Does what submit_split does, over given inputs (1 to 1000000). program, parts, combine and options: as there. Result: the id of the run that stands for the whole.
Errors: those of submit_split.';

CREATE FUNCTION _taskex.check_split(inputs jsonb[], parts int, options jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(inputs) NOT BETWEEN 1 AND 1000000 OR array_ndims(inputs) <> 1 THEN
        PERFORM _taskex.bad_value('a run in parts needs between 1 and 1000000 inputs');
    ELSIF parts NOT BETWEEN 1 AND 10000 THEN
        PERFORM _taskex.bad_value('parts must be between 1 and 10000');
    END IF;
    PERFORM _taskex.check_keys(options, 'options', '{after,backoff,concurrency_key,deduplication_key,max_attempts,max_delay,notify,priority,retention,retryable,run_at,speculate,timeout,version}');
    IF options ? 'speculate' AND options -> 'speculate' <> 'null' AND (jsonb_typeof(options -> 'speculate') <> 'number' OR NOT (options -> 'speculate')::numeric BETWEEN 1 AND 1000) THEN
        PERFORM _taskex.bad_value('option "speculate" must be a number from 1 to 1000, or null');
    ELSIF options ? 'priority' AND _taskex.json_int(options -> 'priority', 'option "priority"') NOT BETWEEN 0 AND 9 THEN
        PERFORM _taskex.bad_value('priority must be between 0 and 9');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_split(jsonb[], int, jsonb) IS 'Checks the arguments of submit_parts.';

CREATE FUNCTION _taskex.submit_parts(customer bigint, program text, inputs jsonb[], parts int, combine text, options jsonb)
    RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    number int := parts;
BEGIN
    PERFORM _taskex.check_split(inputs, parts, options);
    IF number IS NULL THEN
        SELECT r.parts INTO number FROM _taskex.recommend_parts(customer, program, cardinality(inputs), NULL, 10000) r WHERE r.recommended;
    END IF;
    RETURN _taskex.make_split(customer, program, inputs, parts, _taskex.even_sizes(cardinality(inputs), least(number, cardinality(inputs))), combine, options);
END $$;
COMMENT ON FUNCTION _taskex.submit_parts(bigint, text, jsonb[], int, text, jsonb) IS 'Body of taskex.submit_parts.';

CREATE FUNCTION taskex.submit_split(customer text, program text, inputs text, parts int = NULL, combine text = NULL, options jsonb = '{}')
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_submit_split';
COMMENT ON FUNCTION taskex.submit_split(text, text, text, int, text, jsonb) IS
'Runs a program over a set of inputs, in parts: each is a run of its own, with data {"part", "parts", "inputs": [...]}, which is tried again by itself.
inputs: a query, run now with the caller''s rights; each row is an input (a single column as it is, several as an object). parts: how many (1 to
10000); NULL: as recommend_parts says. combine: a program that gets {"results": [...]}, the parts'' results in their order, and whose result is
that of the whole; NULL: the results themselves are. options: those of submit_run but code, environment, data_ref, dedicated, result_function and result_environment; priority and max_delay;
speculate (a part that runs so many times longer than half of the others did is run once more, and the first result counts; 2; null: never). notify,
retention and deduplication_key are those of the whole. Result: the id of the run that stands for the whole: run_status, wait_for_run, run_result,
cancel_run, suspend_run and resume_run work with it. Errors: those of submit_run, of the query, not_measured (TX661), invalid_parameter_value (22023).';

-- the whole goes on -----------------------------------------------------------

CREATE FUNCTION _taskex.split_row(customer bigint, id bigint) RETURNS _taskex.split LANGUAGE plpgsql AS $$
DECLARE
    s _taskex.split;
BEGIN
    EXECUTE format('SELECT * FROM _taskex.split_%s WHERE split_id = $1 AND customer_id = $2', _taskex.home(customer)) INTO s USING id, customer;
    IF s.split_id IS NULL THEN
        PERFORM _taskex.fail('unknown_run', format('the customer has no run in parts of number %s', id), NULL, 'The view taskex.splits lists them.');
    END IF;
    RETURN s;
END $$;
COMMENT ON FUNCTION _taskex.split_row(bigint, bigint) IS 'A run in parts, or the error unknown_run.';

CREATE FUNCTION _taskex.split_runs(home int, id bigint, OUT part int, OUT first_input int, OUT inputs int, OUT run_id bigint, OUT spare_id bigint, OUT winner bigint,
        OUT state text, OUT spare_state text, OUT started_at timestamptz, OUT finished_at timestamptz, OUT spare_finished_at timestamptz, OUT attempts int)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    RETURN QUERY EXECUTE format('SELECT p.part, p.first_input, p.inputs, p.run_id, p.spare_id, p.winner, r.state, s.state, r.started_at, r.finished_at, s.finished_at, r.attempts'
            ' FROM _taskex.split_part_%1$s p LEFT JOIN _taskex.run_%1$s r ON r.run_id = p.run_id LEFT JOIN _taskex.run_%1$s s ON s.run_id = p.spare_id'
            ' WHERE p.split_id = $1 ORDER BY p.part', home) USING id;
END $$;
COMMENT ON FUNCTION _taskex.split_runs(int, bigint) IS 'Parts of a run, and how their runs are.';

-- Results that are there win, and the other run of the part ends.
CREATE FUNCTION _taskex.split_settle(s _taskex.split) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    p record;
    won bigint;
BEGIN
    FOR p IN SELECT * FROM _taskex.split_runs(s.partition_id, s.split_id) x WHERE x.winner IS NULL AND 'succeeded' IN (x.state, x.spare_state) LOOP
        won := CASE WHEN p.spare_state IS DISTINCT FROM 'succeeded' THEN p.run_id WHEN p.state <> 'succeeded' THEN p.spare_id
            WHEN p.finished_at <= p.spare_finished_at THEN p.run_id ELSE p.spare_id END;
        EXECUTE format('UPDATE _taskex.split_part_%s SET winner = $1 WHERE split_id = $2 AND part = $3', s.partition_id) USING won, s.split_id, p.part;
        IF won = p.run_id AND p.spare_id IS NOT NULL AND NOT _taskex.run_ended(p.spare_state) THEN
            PERFORM taskex.cancel_run(p.spare_id);
        ELSIF won = p.spare_id AND NOT _taskex.run_ended(p.state) THEN
            PERFORM taskex.cancel_run(p.run_id);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.split_settle(_taskex.split) IS 'Notes which parts have a result.';

-- Half of the parts are done: what takes much longer than they did is run once more.
CREATE FUNCTION _taskex.split_speculate(s _taskex.split) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    p record;
    pace float8;
    spare bigint;
    now timestamptz := _taskex.now();
BEGIN
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM x.finished_at - x.started_at)::float8 / x.inputs)
        INTO pace FROM _taskex.split_runs(s.partition_id, s.split_id) x WHERE x.winner = x.run_id
        HAVING 2 * count(*) >= (SELECT count(*) FROM _taskex.split_runs(s.partition_id, s.split_id));
    IF pace IS NULL THEN
        RETURN;
    END IF;
    FOR p IN SELECT x.*, r.data, r.options FROM _taskex.split_runs(s.partition_id, s.split_id) x
            JOIN _taskex.run r ON r.partition_id = s.partition_id AND r.run_id = x.run_id
            WHERE x.winner IS NULL AND x.spare_id IS NULL AND x.state = 'running'
                AND extract(epoch FROM now - x.started_at)::float8 > greatest(1, s.speculate * pace * x.inputs) LOOP
        spare := taskex.submit_run(_taskex.login(s.customer_id), s.program, p.data, s.priority, NULL, s.options - '{priority,max_delay,run_at,after}'::text[]);
        EXECUTE format('UPDATE _taskex.run_%s SET split_id = $1, part = $2 WHERE run_id = $3', s.partition_id) USING s.split_id, p.part, spare;
        EXECUTE format('UPDATE _taskex.split_part_%s SET spare_id = $1 WHERE split_id = $2 AND part = $3', s.partition_id) USING spare, s.split_id, p.part;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.split_speculate(_taskex.split) IS 'Runs parts once more that take long.';

-- every run of a part that has no result yet
CREATE FUNCTION _taskex.split_steer(id bigint, customer bigint, what text, stop_after interval) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    home int := _taskex.home(customer);
    r record;
BEGIN
    FOR r IN SELECT u.id, u.state FROM _taskex.split_runs(home, split_steer.id) x, LATERAL (VALUES (x.run_id, x.state), (x.spare_id, x.spare_state)) u (id, state)
            WHERE u.id IS NOT NULL AND NOT _taskex.run_ended(u.state) ORDER BY 1 LOOP
        CASE what
            WHEN 'suspend' THEN PERFORM taskex.suspend_run(r.id, stop_after);
            WHEN 'resume' THEN PERFORM taskex.resume_run(r.id);
            ELSE PERFORM taskex.cancel_run(r.id);
        END CASE;
    END LOOP;
    IF what = 'cancel' THEN
        DELETE FROM _taskex.split_open o WHERE o.split_id = split_steer.id;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.split_steer(bigint, bigint, text, interval) IS 'Suspends, resumes or cancels all parts of a run that have not ended.';

-- What the conductor does for a run in parts, reading the storage partition of its customer alone. true: nothing is left to do.
CREATE FUNCTION _taskex.split_step(id bigint, customer bigint) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    home int := _taskex.home(customer);
    s _taskex.split;
    whole text;
    failed record;
    results jsonb;
BEGIN
    EXECUTE format('SELECT state FROM _taskex.run_%s WHERE run_id = $1 FOR NO KEY UPDATE', home) INTO whole USING id;
    IF whole IS NULL OR whole NOT IN ('blocked', 'suspended') THEN
        DELETE FROM _taskex.split_open o WHERE o.split_id = id;
        RETURN true;
    END IF;
    s := _taskex.split_row(customer, id);
    PERFORM _taskex.split_settle(s);
    SELECT x.part, x.run_id INTO failed FROM _taskex.split_runs(home, id) x WHERE x.winner IS NULL
        AND x.state IN ('failed', 'dead', 'cancelled') AND coalesce(x.spare_state, 'dead') IN ('failed', 'dead', 'cancelled') LIMIT 1;
    IF FOUND THEN
        -- the rest waits for retry_run of the whole
        PERFORM _taskex.split_steer(id, customer, 'suspend', '1 minute');
        PERFORM _taskex.split_end(id, 'failed', jsonb_build_object('message', format('part %s has failed', failed.part), 'part', failed.part, 'run_id', failed.run_id,
            'error', (SELECT r.error FROM _taskex.run r WHERE r.partition_id = home AND r.run_id = failed.run_id)));
        DELETE FROM _taskex.split_open o WHERE o.split_id = id;
        RETURN true;
    ELSIF NOT EXISTS (SELECT FROM _taskex.split_runs(home, id) x WHERE x.winner IS NULL) THEN
        BEGIN
            SELECT jsonb_agg(r.result ORDER BY x.first_input, x.part) INTO results FROM _taskex.split_runs(home, id) x
                JOIN _taskex.run r ON r.partition_id = home AND r.run_id = x.winner;
            PERFORM CASE WHEN s.combine IS NULL THEN _taskex.split_end(id, 'succeeded', results)
                ELSE _taskex.split_end(id, 'ready', jsonb_build_object('results', results)) END;
        EXCEPTION WHEN program_limit_exceeded OR out_of_memory THEN
            PERFORM _taskex.split_end(id, 'failed', jsonb_build_object('message', 'the results of the parts are too large together', 'sqlstate', SQLSTATE, 'detail', SQLERRM));
        END;
        DELETE FROM _taskex.split_open o WHERE o.split_id = id;
        RETURN true;
    ELSIF s.speculate IS NOT NULL AND whole = 'blocked' THEN
        BEGIN
            PERFORM _taskex.split_speculate(s);
        EXCEPTION
            WHEN lock_not_available OR transaction_rollback OR operator_intervention THEN
                RAISE;
            WHEN OTHERS THEN
                -- his budget is used up, for instance; the parts go on without
                RAISE LOG 'taskex runs no part of run % once more: % %', id, SQLSTATE, SQLERRM;
                EXECUTE format('UPDATE _taskex.split_%s SET speculate = NULL WHERE split_id = $1', home) USING id;
        END;
    END IF;
    RETURN false;
END $$;
COMMENT ON FUNCTION _taskex.split_step(bigint, bigint) IS 'Looks after a run in parts: results, failures, stragglers, the end.';

-- retry_run of the whole, when it has failed
CREATE FUNCTION _taskex.split_again(id bigint, customer bigint, attempts int) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    s _taskex.split := _taskex.split_row(customer, id);
    p record;
    fresh bigint;
BEGIN
    FOR p IN SELECT x.*, r.data FROM _taskex.split_runs(s.partition_id, id) x JOIN _taskex.run r ON r.partition_id = s.partition_id AND r.run_id = x.run_id
            WHERE x.winner IS NULL ORDER BY x.run_id LOOP
        IF p.state IN ('failed', 'dead') THEN
            PERFORM _taskex.requeue_run(p.run_id, attempts);
        ELSIF p.state = 'cancelled' THEN
            fresh := taskex.submit_run(_taskex.login(customer), s.program, p.data, s.priority, NULL, s.options - '{priority,max_delay,run_at,after}'::text[]);
            EXECUTE format('UPDATE _taskex.run_%s SET split_id = $1, part = $2 WHERE run_id = $3', s.partition_id) USING id, p.part, fresh;
            EXECUTE format('UPDATE _taskex.split_part_%s SET run_id = $1 WHERE split_id = $2 AND part = $3', s.partition_id) USING fresh, id, p.part;
        ELSIF NOT _taskex.run_ended(p.state) THEN
            PERFORM taskex.resume_run(p.run_id);
        END IF;
    END LOOP;
    INSERT INTO _taskex.split_open VALUES (id, customer) ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION _taskex.split_again(bigint, bigint, int) IS 'Parts that failed are queued again, and those that were suspended go on.';

CREATE FUNCTION taskex.set_parts(customer text, split_id bigint, parts int)
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.set_parts(text, bigint, int) IS
'Changes the number of parts of a run that is under way (split_id): those that have not been started give way to others, among which their inputs are divided anew. parts: of the whole, those that have been
started among them. Result: how many parts wait now. Errors: unknown_run (TX600), wrong_state (TX109): it has ended, invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.set_parts(customer bigint, split_id bigint, parts int)
    RETURNS int LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    s _taskex.split := _taskex.split_row(customer, split_id);
    whole text;
    p record;
    inputs jsonb[] := '{}';
    first_input int;
    started int := 0;
    last_part int := 0;
    number int;
BEGIN
    IF parts NOT BETWEEN 1 AND 10000 THEN
        PERFORM _taskex.bad_value('parts must be between 1 and 10000');
    END IF;
    EXECUTE format('SELECT state FROM _taskex.run_%s WHERE run_id = $1 FOR NO KEY UPDATE', s.partition_id) INTO whole USING split_id;
    IF whole NOT IN ('blocked', 'suspended') OR NOT EXISTS (SELECT FROM _taskex.split_open o WHERE o.split_id = split_id) THEN
        PERFORM _taskex.fail('wrong_state', format('the parts of run %s have ended', split_id));
    END IF;
    -- who takes one meanwhile has it
    FOR p IN EXECUTE format('SELECT p.part, p.first_input, r.run_id, r.data, r.attempts = 0 AND NOT _taskex.run_ended(r.state) AND r.state <> ''running'' AS fresh FROM _taskex.split_part_%1$s p'
            ' JOIN _taskex.run_%1$s r ON r.run_id = p.run_id WHERE p.split_id = $1 ORDER BY r.run_id FOR NO KEY UPDATE OF r', s.partition_id) USING split_id LOOP
        last_part := greatest(last_part, p.part);
        IF NOT p.fresh THEN
            started := started + 1;
            CONTINUE;
        END IF;
        first_input := least(first_input, p.first_input);
        inputs := inputs || ARRAY(SELECT jsonb_array_elements(p.data -> 'inputs'));
        PERFORM taskex.cancel_run(p.run_id);
        EXECUTE format('DELETE FROM _taskex.split_part_%s WHERE split_id = $1 AND part = $2', s.partition_id) USING split_id, p.part;
    END LOOP;
    IF cardinality(inputs) = 0 THEN
        RETURN 0;
    ELSIF parts <= started THEN
        PERFORM _taskex.bad_value(format('%s parts have been started already', started), NULL, 'Give a greater number: the inputs that are left need a part.');
    END IF;
    number := least(parts - started, cardinality(inputs));
    PERFORM _taskex.add_parts(s, last_part + 1, first_input, inputs, _taskex.even_sizes(cardinality(inputs), number));
    IF whole = 'suspended' THEN
        PERFORM _taskex.split_steer(split_id, customer, 'suspend', NULL);
    END IF;
    RETURN number;
END $$;
COMMENT ON FUNCTION _taskex.set_parts(bigint, bigint, int) IS 'Body of taskex.set_parts.';

CREATE VIEW taskex.splits WITH (security_barrier) AS
    SELECT s.split_id, d.login AS customer, s.program, s.combine,
        CASE WHEN r.state = 'blocked' AND f.running + f.done > 0 THEN 'running' ELSE _taskex.run_state(r.state) END AS state,
        f.parts, f.waiting, f.running, f.suspended, f.done, f.failed, f.spares, s.inputs, f.inputs_done, s.submitted_at, f.started_at, r.finished_at,
        f.inputs_done / nullif(extract(epoch FROM coalesce(r.finished_at, _taskex.now()) - f.started_at)::float8, 0) AS inputs_per_second,
        CASE WHEN r.finished_at IS NULL AND f.inputs_done > 0 AND f.started_at IS NOT NULL
            THEN _taskex.now() + (_taskex.now() - f.started_at) * ((s.inputs - f.inputs_done) / f.inputs_done::float8) END AS expected_at,
        f.run_time
    FROM _taskex.directory d
        JOIN _taskex.split s ON s.partition_id = d.partition_id AND s.customer_id = d.user_id
        JOIN _taskex.run r ON r.partition_id = s.partition_id AND r.run_id = s.split_id
        CROSS JOIN LATERAL (SELECT count(DISTINCT p.part) AS parts,
            count(DISTINCT p.part) FILTER (WHERE p.winner IS NULL AND x.state IN ('blocked', 'delayed', 'ready')) AS waiting,
            count(DISTINCT p.part) FILTER (WHERE p.winner IS NULL AND x.state = 'running') AS running,
            count(DISTINCT p.part) FILTER (WHERE p.winner IS NULL AND x.state = 'suspended') AS suspended,
            count(*) FILTER (WHERE x.run_id = p.winner) AS done,
            count(*) FILTER (WHERE p.winner IS NULL AND x.run_id = p.run_id AND x.state IN ('failed', 'dead', 'cancelled')) AS failed,
            count(*) FILTER (WHERE x.run_id = p.spare_id) AS spares,
            coalesce(sum(p.inputs) FILTER (WHERE x.run_id = p.winner), 0) AS inputs_done, min(x.started_at) AS started_at,
            coalesce(sum(coalesce(x.finished_at, _taskex.now()) - x.started_at), '0') AS run_time
            FROM _taskex.split_part p JOIN _taskex.run x ON x.partition_id = s.partition_id AND x.run_id IN (p.run_id, p.spare_id)
            WHERE p.partition_id = s.partition_id AND p.split_id = s.split_id) f
    WHERE _taskex.visible(d.user_id) AND _taskex.visible(s.customer_id)
        AND _taskex.narrow(s.partition_id, s.customer_id, d.login, s.split_id);
COMMENT ON VIEW taskex.splits IS
'Runs in parts of the customers for whom the caller may act. waiting, running, suspended, done, failed: parts; spares: parts that were run once more.
inputs_per_second: so far. expected_at: when the parts have ended, at that rate. run_time: of all attempts'' runs together.';

-- how many parts ------------------------------------------------------------------

CREATE FUNCTION _taskex.program_pace(customer bigint, program text, OUT runs bigint, OUT mean float8, OUT start_up float8, OUT per_input float8, OUT around float8, OUT workers int, OUT environment_id int)
    RETURNS record LANGUAGE plpgsql STABLE AS $$
DECLARE
    known record := _taskex.find_program(customer, program, NULL);
    external boolean;
    least_inputs float8;
    most_inputs float8;
    average float8;
BEGIN
    SELECT e.environment_id, e.max_executors, e.language = 'external' INTO environment_id, workers, external FROM _taskex.environment e WHERE e.name = known.environment;
    EXECUTE format('SELECT count(*), avg(seconds), regr_slope(seconds, n), regr_intercept(seconds, n), min(n), max(n), avg(seconds / n), count(DISTINCT worker) FROM ('
            ' SELECT extract(epoch FROM r.finished_at - r.started_at)::float8 AS seconds, r.worker,'
            ' greatest(CASE WHEN r.part IS NOT NULL THEN jsonb_array_length(r.data -> ''inputs'') ELSE 1 END, 1)::float8 AS n'
            ' FROM _taskex.run_%s r WHERE r.customer_id = $1 AND r.environment_id = $2 AND r.program_id = $3 AND r.state = ''succeeded'' AND r.attempts > 0'
            ' AND r.split_id IS DISTINCT FROM r.run_id ORDER BY r.run_id DESC LIMIT 1000) u', _taskex.home(customer))
        INTO runs, mean, per_input, start_up, least_inputs, most_inputs, average, workers USING customer, environment_id, known.program_id;
    IF NOT external THEN
        SELECT e.max_executors INTO workers FROM _taskex.environment e WHERE e.environment_id = program_pace.environment_id;
    END IF;
    -- runs of one size, or nothing but chance: all of it is for the inputs
    IF most_inputs = least_inputs OR per_input <= 0 OR start_up < 0 THEN
        start_up := 0;
        per_input := average;
    END IF;
    -- until the first part starts, and after the last one has ended
    EXECUTE format('SELECT coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds), 0) FROM ('
            ' SELECT greatest(extract(epoch FROM min(p.started_at) - s.submitted_at), 0) + greatest(extract(epoch FROM w.finished_at - max(p.finished_at)), 0) AS seconds'
            ' FROM (SELECT * FROM _taskex.split_%1$s x WHERE x.customer_id = $1 AND x.program = $2 ORDER BY x.split_id DESC LIMIT 20) s'
            ' JOIN _taskex.run_%1$s w ON w.run_id = s.split_id AND w.state = ''succeeded'' JOIN _taskex.split_part_%1$s t ON t.split_id = s.split_id'
            ' JOIN _taskex.run_%1$s p ON p.run_id = t.winner GROUP BY s.split_id, s.submitted_at, w.finished_at) u', _taskex.home(customer))
        INTO around USING customer, program;
END $$;
COMMENT ON FUNCTION _taskex.program_pace(bigint, text) IS
'What runs of a program have taken, of the customer''s last 1000: seconds for each run and for each input; around: seconds of runs in parts in which none of the parts ran;
workers: how many did them, or may.';

CREATE FUNCTION taskex.recommend_parts(customer text, program text, inputs int, workers int = NULL, max_parts int = 1000,
        OUT parts int, OUT workers_used int, OUT expected_time interval, OUT expected_run_time interval, OUT expected_cost numeric, OUT measured_runs bigint, OUT recommended boolean)
    RETURNS SETOF record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.recommend_parts(text, text, int, int, int) IS
'Into how many parts a run over so many inputs is best divided, by what the customer''s runs of the program have taken (measure_program makes some).
workers: how many work at it; NULL: as many as its environment''s max_executors, or as did so far. max_parts: 1 to 10000. Result: a row for each choice: the time until the whole is done (with what starting and
combining the customer''s last ones has taken), how long its runs run together, what they cost by the present rates (NULL: nothing has a rate), from how many runs this is known, and which is recommended: of those that take at most a tenth longer than the
fastest the one with the least run time. Errors: unknown_program (TX622), not_measured (TX661), invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.recommend_parts(customer bigint, program text, inputs int, workers int, max_parts int,
        OUT parts int, OUT workers_used int, OUT expected_time interval, OUT expected_run_time interval, OUT expected_cost numeric, OUT measured_runs bigint, OUT recommended boolean)
    RETURNS SETOF record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
    pace record;
    w int;
    most int;
    price numeric;          -- of a second
BEGIN
    IF inputs NOT BETWEEN 1 AND 1000000 THEN
        PERFORM _taskex.bad_value('inputs must be between 1 and 1000000');
    ELSIF workers NOT BETWEEN 1 AND 10000 OR max_parts NOT BETWEEN 1 AND 10000 THEN
        PERFORM _taskex.bad_value('workers and max_parts must be between 1 and 10000');
    END IF;
    pace := _taskex.program_pace(customer, program);
    IF pace.runs = 0 THEN
        PERFORM _taskex.fail('not_measured', format('no run of program "%s" has succeeded yet', program), NULL,
            'taskex.measure_program() runs it on some inputs; or name the number of parts.');
    END IF;
    IF pace.mean > 0 AND EXISTS (SELECT FROM _taskex.rate) THEN
        BEGIN
            price := (_taskex.estimate_cost(customer, program, 0, NULL, 1)).mean / pace.mean::numeric;
        EXCEPTION WHEN SQLSTATE 'TX643' THEN
            price := NULL;      -- none of these rates is for it
        END;
    END IF;
    w := greatest(coalesce(workers, pace.workers), 1);
    most := least(max_parts, inputs);
    RETURN QUERY WITH choice AS (
        SELECT DISTINCT least(c.n, most) AS p FROM (SELECT (2 ^ g)::int AS n FROM generate_series(0, 13) g UNION SELECT w * g FROM generate_series(1, 4) g UNION SELECT most) c
    ), estimate AS (
        SELECT c.p, least(w, c.p) AS used, pace.around + ceil(c.p::float8 / w) * (pace.start_up + pace.per_input * ceil(inputs::float8 / c.p)) AS seconds,
            c.p * pace.start_up + inputs * pace.per_input AS together
        FROM choice c
    ), best AS (
        SELECT e.p FROM estimate e WHERE e.seconds <= 1.1 * (SELECT min(f.seconds) FROM estimate f) ORDER BY e.together, e.p LIMIT 1
    )
    SELECT e.p, e.used, make_interval(secs => e.seconds), make_interval(secs => e.together), round(price * e.together::numeric, 6), pace.runs, e.p = (SELECT b.p FROM best b)
    FROM estimate e ORDER BY 1;
END $$;
COMMENT ON FUNCTION _taskex.recommend_parts(bigint, text, int, int, int) IS 'Body of taskex.recommend_parts.';

CREATE FUNCTION taskex.measure_program(customer text, program text, inputs text, sample int = 12)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_measure_program';
COMMENT ON FUNCTION taskex.measure_program(text, text, text, int) IS
'Runs the program on some inputs (sample: so many at most, 2 to 1000, of the query''s first rows), in parts of different sizes, so that recommend_parts knows what a run and an
input take. Result: the id of the run that stands for the whole (wait_for_run). Errors: those of submit_split.';

CREATE FUNCTION taskex.measure_inputs(customer text, program text, inputs jsonb[])
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.measure_inputs(text, text, jsonb[]) IS
'Does what measure_program does, with given inputs (2 to 1000). program: as there. Result: the id of the run that stands for the whole. Errors: those of submit_split.';

CREATE FUNCTION _taskex.measure_inputs(customer bigint, program text, inputs jsonb[])
    RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n int := cardinality(inputs);
    sizes int[] := '{1}';
BEGIN
    IF n NOT BETWEEN 2 AND 1000 OR array_ndims(inputs) <> 1 THEN
        PERFORM _taskex.bad_value('a measurement needs between 2 and 1000 inputs');
    END IF;
    -- 1, 2, 4, ... and the rest
    n := n - 1;
    WHILE n > 0 LOOP
        sizes := sizes || least(n, 2 * sizes[cardinality(sizes)]);
        n := n - sizes[cardinality(sizes)];
    END LOOP;
    RETURN _taskex.make_split(customer, program, inputs, NULL, sizes, NULL, '{"speculate": null}');
END $$;
COMMENT ON FUNCTION _taskex.measure_inputs(bigint, text, jsonb[]) IS 'Body of taskex.measure_inputs.';
