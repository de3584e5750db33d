-- For tests of what is refused, and changes nothing.

-- what statements refer to, by name
CREATE TEMP TABLE thing (name text PRIMARY KEY, id bigint);
CREATE FUNCTION pg_temp.id(which text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT id FROM thing WHERE name = which';

-- tries a statement and undoes it: what it says, with numbers of ids left out
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
BEGIN
    EXECUTE statement;
    RAISE 'undo' USING ERRCODE = 'ZZ999';
EXCEPTION
    WHEN SQLSTATE 'ZZ999' THEN RETURN 'accepted';
    WHEN OTHERS THEN
        GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
        RETURN regexp_replace(format('%s %s%s', SQLSTATE, SQLERRM, ' | ' || nullif(detail, '')),
            '(task|assignment|dispute|qualification|request|[Mm]igration|id|run|invoice) \d+', '\1 N', 'g');
END $$;

-- what the exchange has on record in these tables
CREATE FUNCTION pg_temp.on_record(VARIADIC tables text[]) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    t text;
    one text;
    all_of_it text := '';
BEGIN
    FOREACH t IN ARRAY tables LOOP
        EXECUTE format('SELECT md5(string_agg(r::text, chr(10) ORDER BY r::text)) FROM _taskex.%I r', t) INTO one;
        all_of_it := all_of_it || coalesce(one, '') || '/';
    END LOOP;
    RETURN md5(all_of_it);
END $$;

-- runs of the customer, one in each state, and the token of the running one, as things. The environment has max_attempts 1, and nobody else works in it.
CREATE PROCEDURE pg_temp.make_runs(customer text, environment text) LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    FOR i IN 1 .. 5 LOOP
        PERFORM taskex.submit_run(customer, options => jsonb_build_object('environment', environment));
    END LOOP;
    COMMIT;
    FOR r IN SELECT p.*, n FROM taskex.pull_runs('w', environment, 4, '1 day') WITH ORDINALITY AS p (run_id, lease_token, lease_until, customer, priority, attempt, program, version,
            code, data, data_ref, timeout, progress, state, n) LOOP
        INSERT INTO thing VALUES ((ARRAY['running', 'succeeded run', 'dead run', 'cancelled run'])[r.n], r.run_id);
        IF r.n = 1 THEN
            INSERT INTO thing VALUES ('run token', r.lease_token);
        ELSIF r.n = 2 THEN
            PERFORM taskex.complete_run(r.run_id, r.lease_token, '1');
        ELSIF r.n = 3 THEN
            PERFORM taskex.fail_run(r.run_id, r.lease_token, '{"message": "no"}');
        ELSE
            PERFORM taskex.cancel_run(r.run_id);
        END IF;
    END LOOP;
    INSERT INTO thing SELECT 'waiting run', run_id FROM _taskex.run WHERE state = 'ready' AND customer_id = (SELECT user_id FROM _taskex.directory WHERE login = make_runs.customer);
END $$;
