-- run.sql: runs: submitted, pulled, ended. Pairs with src/workload; states and
-- locks are drawn in src/workload/README.md.

CREATE SEQUENCE _taskex.run_id_seq INCREMENT 131072;
SELECT pg_catalog.pg_extension_config_dump('_taskex.run_id_seq', '');

-- The order of columns is that of src/workload/rows.h; those that an update compares,
-- because they are in an index, are before all that may be null. state: blocked, delayed,
-- ready, running, suspended, succeeded, failed, cancelled, dead. What changes is in no index, so
-- updates are HOT. No CHECK constraints: taskex.check_workload() checks.
CREATE TABLE _taskex.run (
    partition_id int NOT NULL,
    environment_id int NOT NULL,
    run_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    submitted_at timestamptz NOT NULL,
    priority int NOT NULL,
    followed boolean NOT NULL,
    attempts int NOT NULL,
    max_attempts int NOT NULL,
    blockers int NOT NULL,
    program_id bigint,
    version int,
    deadline timestamptz,
    run_at timestamptz,
    started_at timestamptz,
    lease_until timestamptz,
    finished_at timestamptz,
    lease_token bigint,
    state text NOT NULL,
    worker text,
    concurrency_key text,
    code text,
    data jsonb,
    data_ref jsonb,
    options jsonb,
    progress jsonb,
    result jsonb,
    error jsonb,
    measured jsonb,
    state_data jsonb,
    split_id bigint,
    part int,
    suspensions int,
    asked text,
    output text
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.run IS 'Runs, on their customers'' partitions, each with its latest attempt.';
COMMENT ON COLUMN _taskex.run.followed IS 'Runs come after it: they are in run_link.';
COMMENT ON COLUMN _taskex.run.blockers IS 'So many runs must succeed first.';
COMMENT ON COLUMN _taskex.run.run_at IS 'Not before; of a run that is tried again, when.';
COMMENT ON COLUMN _taskex.run.deadline IS 'From then on it is the next one of its environment.';
COMMENT ON COLUMN _taskex.run.version IS 'Of the program; NULL: the newest when it starts.';
COMMENT ON COLUMN _taskex.run.output IS 'What the attempt that succeeded said (RAISE), as far as it is kept.';
COMMENT ON COLUMN _taskex.run.options IS 'Options that the queue does not need: timeout, backoff, retryable, notify, retention.';
COMMENT ON COLUMN _taskex.run.state_data IS 'The last checkpoint: what the next attempt goes on from.';
COMMENT ON COLUMN _taskex.run.split_id IS 'Of a part, and of the whole itself: the run that stands for the whole.';
COMMENT ON COLUMN _taskex.run.suspensions IS 'Attempts that ended as suspended; each has raised max_attempts by one. NULL: none.';
COMMENT ON COLUMN _taskex.run.asked IS 'While it is running: to be suspended (suspend), or to give way (yield), at its next checkpoint.';
INSERT INTO _taskex.child_table VALUES ('run', 600, 40, ARRAY['PRIMARY KEY (run_id)'],
    ARRAY['(customer_id, environment_id, priority, run_id)'], 'customer_id', NULL, 'run', true);

CREATE TABLE _taskex.run_attempt (
    partition_id int NOT NULL,
    attempt int NOT NULL,
    run_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    started_at timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    version int,
    outcome text NOT NULL,
    worker text NOT NULL,
    error jsonb,
    measured jsonb,
    output text
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.run_attempt IS 'Attempts that did not succeed. outcome: failed, expired, crashed, cancelled, suspended.';
INSERT INTO _taskex.child_table VALUES ('run_attempt', 605, 100, ARRAY['PRIMARY KEY (run_id, attempt)'], '{}', 'customer_id');

-- Read by a cursor (DUE_RUN) that goes forward only.
CREATE TABLE _taskex.run_wait (
    partition_id int NOT NULL,
    due_at timestamptz NOT NULL,
    run_id bigint NOT NULL,
    customer_id bigint NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.run_wait IS 'Runs that are ready at a time.';
INSERT INTO _taskex.child_table VALUES ('run_wait', 610, 100, ARRAY['PRIMARY KEY (due_at, run_id)'], '{}', 'customer_id');

CREATE TABLE _taskex.run_link (
    partition_id int NOT NULL,
    run_id bigint NOT NULL,
    follower_id bigint NOT NULL,
    customer_id bigint NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.run_link IS 'Which runs wait for a run to succeed; both are one customer''s.';
INSERT INTO _taskex.child_table VALUES ('run_link', 615, 100, ARRAY['PRIMARY KEY (run_id, follower_id)'], ARRAY['(follower_id)'], 'customer_id');

CREATE TABLE _taskex.run_key (
    partition_id int NOT NULL,
    run_count int NOT NULL,
    run_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    deduplication_key text NOT NULL,
    request_hash bytea NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.run_key IS 'Deduplication keys: which runs, the first and how many, a key stands for.';
INSERT INTO _taskex.child_table VALUES ('run_key', 620, 100, ARRAY['PRIMARY KEY (customer_id, deduplication_key)'], ARRAY['(run_id)'], 'customer_id');

CREATE TABLE _taskex.run_limit (
    customer_id bigint NOT NULL,
    key_hash bigint NOT NULL DEFAULT 0,
    concurrency_key text,
    max_running int,
    rate int,
    rate_us bigint,
    paused boolean NOT NULL DEFAULT false,
    PRIMARY KEY (customer_id, key_hash)
);
COMMENT ON TABLE _taskex.run_limit IS
'How many runs of a customer, or with one of his concurrency keys, may run at a time; at most rate are started in rate_us microseconds.';

CREATE TABLE _taskex.run_low (
    partition_id int PRIMARY KEY,
    low bigint NOT NULL
);
COMMENT ON TABLE _taskex.run_low IS 'All runs of the partition up to this one have ended, but those in run_open.';

-- No key: a run may be added while the conductor removes it.
CREATE TABLE _taskex.run_open (
    partition_id int NOT NULL,
    run_id bigint NOT NULL
);
CREATE INDEX run_open_idx ON _taskex.run_open (partition_id, run_id);
COMMENT ON TABLE _taskex.run_open IS 'Runs up to run_low that have not ended, and some that have.';

SELECT pg_catalog.pg_extension_config_dump('_taskex.run_limit', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.run_low', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.run_open', '');

CREATE FUNCTION _taskex.forget_runs() RETURNS trigger
    LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM _taskex.run_low l WHERE l.partition_id = OLD.partition_id;
    DELETE FROM _taskex.run_open o WHERE o.partition_id = OLD.partition_id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION _taskex.forget_runs() IS 'Nobody lives on a partition that is dropped, so it has no runs.';
CREATE TRIGGER forget_runs AFTER DELETE ON _taskex.partition
    FOR EACH ROW EXECUTE FUNCTION _taskex.forget_runs();

CREATE FUNCTION _taskex.queue_role() RETURNS trigger LANGUAGE C AS 'MODULE_PATHNAME', 'taskex_queue_role';
COMMENT ON FUNCTION _taskex.queue_role() IS 'Runs that wait are those of the customer''s new role.';
CREATE TRIGGER queue_role AFTER UPDATE OF db_role ON _taskex.directory
    FOR EACH ROW EXECUTE FUNCTION _taskex.queue_role();

CREATE FUNCTION _taskex.run_ended(state text) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT state IN ('succeeded', 'failed', 'cancelled', 'dead') $$;
COMMENT ON FUNCTION _taskex.run_ended(text) IS 'Has a run in this state ended?';

CREATE FUNCTION _taskex.run_state(state text) RETURNS text
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT CASE WHEN state IN ('blocked', 'delayed', 'ready') THEN 'waiting' ELSE state END $$;
COMMENT ON FUNCTION _taskex.run_state(text) IS 'The state of a run as users see it.';

-- submit ----------------------------------------------------------------------

CREATE FUNCTION taskex.submit_run(customer text, program text = NULL, data jsonb = NULL, priority int = 0,
        max_delay interval = NULL, options jsonb = '{}')
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_submit_run';
COMMENT ON FUNCTION taskex.submit_run(text, text, jsonb, int, interval, jsonb) IS
'Queues a run. program: one of the customer''s, or "owner/name" of a public one; NULL: options give the environment, and perhaps the code.
data: what it works on. priority: 0 to 9, 9 is first. max_delay: when it has waited so long it is the next one of its environment.
options: environment, code, version (of the program; else the newest when it starts), data_ref (instead of data; an object of one of query, table
and object, where object is a large object with JSON or, with format "text" or "base64", anything, and perhaps checksum; read at start as the customer''s role),
run_at (not before), timeout, max_attempts, backoff (initial, factor, max, jitter), retryable (SQLSTATEs or classes), deduplication_key
(a key that was used stands for the run that has it), after (ids of the customer''s runs that must succeed first), concurrency_key (of
the runs with it one runs at a time, or as limit_key says), notify (a channel), retention (how long it is kept when it has ended),
dedicated (how long its executor is kept for the customer when it has ended, up to a day, unless acknowledge_run is called before),
result_function (schema.name of a function of (run_id bigint, result jsonb) or (result jsonb), which gets the result when the run has succeeded, called by
an executor as the customer in a run of its own), result_environment (where; the run''s own if executors run its code).
Executors run code as the customer''s db_role, which must be one with LOGIN.
Result: the run''s id. Errors: unknown_environment (TX620), environment_retired (TX621), unknown_program (TX622), unknown_run (TX600),
no_executor_role (TX636), idempotency_mismatch (TX110), input_too_large (TX111), code_invalid (TX638), insufficient_privilege (42501), invalid_parameter_value (22023).';

CREATE FUNCTION taskex.submit_runs(customer text, program text, data jsonb[], priority int = 0,
        max_delay interval = NULL, options jsonb = '{}')
    RETURNS SETOF bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_submit_runs';
COMMENT ON FUNCTION taskex.submit_runs(text, text, jsonb[], int, interval, jsonb) IS
'Queues a run for each element of data (at most 100000), with otherwise the same properties. A deduplication key stands for all of them.
program, priority, max_delay, options (without data_ref) and errors: as submit_run. Result: their ids, in the order of data.';

CREATE FUNCTION taskex.data_checksum(data_ref jsonb) RETURNS text
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_data_checksum';
COMMENT ON FUNCTION taskex.data_checksum(jsonb) IS
'The checksum of what a data_ref points to, read with the caller''s rights: with it as its "checksum" a run fails if the data have changed when it starts.
data_ref: as of submit_run. Result: the SHA-256 of the data''s text. Errors: data_unavailable (TX639), invalid_parameter_value (22023), those of reading.';

-- what submit needs of programs, and pull of their versions
CREATE FUNCTION _taskex.find_program(customer_id bigint, name text, wanted int, OUT program_id bigint, OUT environment text)
    RETURNS record LANGUAGE plpgsql STABLE AS $$
DECLARE
    slash int := length(name) - strpos(reverse(name), '/') + 1;
    found record;
BEGIN
    IF strpos(name, '/') > 0 THEN
        SELECT p.*, e.name AS environment INTO found FROM _taskex.directory d JOIN _taskex.program p ON p.owner_id = d.user_id
            JOIN _taskex.environment e USING (environment_id)
            WHERE d.login = left(find_program.name, slash - 1) AND p.name = substr(find_program.name, slash + 1)
                AND (p.is_public OR p.owner_id = find_program.customer_id);
    ELSE
        SELECT p.*, e.name AS environment INTO found FROM _taskex.program p JOIN _taskex.environment e USING (environment_id)
            WHERE p.owner_id = find_program.customer_id AND p.name = find_program.name;
    END IF;
    IF found IS NULL THEN
        PERFORM _taskex.fail('unknown_program', format('program "%s" does not exist', name), NULL,
            'A public program of another user is called "owner/name"; the view taskex.programs lists them.');
    ELSIF wanted IS NULL AND found.newest IS NULL THEN
        PERFORM _taskex.fail('unknown_program', format('all versions of program "%s" are deprecated', name));
    ELSIF wanted IS NOT NULL AND NOT EXISTS (SELECT FROM _taskex.program_version v
            WHERE v.program_id = found.program_id AND v.version = wanted AND NOT v.deprecated) THEN
        PERFORM _taskex.fail('unknown_program', format('program "%s" has no version %s, or it is deprecated', name, wanted));
    END IF;
    IF found.is_chain AND EXISTS (SELECT FROM _taskex.program_steps(found.program_id, coalesce(wanted, found.newest)) s JOIN _taskex.program p USING (program_id)
            WHERE NOT p.is_public AND p.owner_id NOT IN (found.owner_id, customer_id)) THEN
        PERFORM _taskex.fail('unknown_program', format('a piece of program "%s" is not public any more', name));
    END IF;
    program_id := found.program_id;
    environment := found.environment;
END $$;
COMMENT ON FUNCTION _taskex.find_program(bigint, text, int) IS 'A program that a customer may run, or the error unknown_program.';

-- workers ---------------------------------------------------------------------

CREATE TYPE taskex.leased_run AS (
    run_id bigint,
    lease_token bigint,
    lease_until timestamptz,
    customer text,
    priority int,
    attempt int,
    program text,
    version int,
    code text,
    data jsonb,
    data_ref jsonb,
    timeout interval,
    progress jsonb,
    state jsonb
);
COMMENT ON TYPE taskex.leased_run IS 'A run that a worker has: what to run, on what, and until when it is his.';

CREATE FUNCTION taskex.pull_runs(worker text, environment text, count int = 1, lease interval = '1 minute', wait interval = '0')
    RETURNS SETOF taskex.leased_run LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_pull_runs';
COMMENT ON FUNCTION taskex.pull_runs(text, text, int, interval, interval) IS
'Takes the next runs of an environment, at most count (1 to 1000): those whose deadline is over, then by priority, fairly between customers,
and in order of one customer. worker: a name, for people. lease: one second to 7 days; until it is over, or prolonged by heartbeat_run, the runs are the
worker''s, who passes each one''s lease_token to complete_run, fail_run or release_run. wait: if there is none, wait so long (at most an
hour) for one. Result: the runs; code is that of the program''s version, if it has one. In a transaction of its own the pull is
not waited for by a commit: a crash of the server may forget it, and its tokens are refused then.
Errors: unknown_environment (TX620), server_environment (TX637): executors run its code, insufficient_privilege (42501), invalid_parameter_value (22023).';

CREATE FUNCTION taskex.heartbeat_run(run_id bigint, lease_token bigint, lease interval = '1 minute', progress jsonb = NULL,
        state jsonb = NULL)
    RETURNS timestamptz LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_heartbeat_run';
COMMENT ON FUNCTION taskex.heartbeat_run(bigint, bigint, interval, jsonb, jsonb) IS
'Prolongs the lease of a run to so long from now, and notes how far it is (progress; NULL: as it was).
lease: one second to 7 days. lease_token: as pull_runs gave it. state: a checkpoint, from which the next attempt can go on (column state of
leased_run); it is on disk when the call''s transaction is. Result: until when the lease lasts; -infinity: there was a state, and the run was to be
suspended: it is now, with this state, and is not the worker''s any more.
Errors: unknown_run (TX600), lease_expired (TX107), stale_token (TX108), wrong_state (TX109): it was cancelled, input_too_large (TX111).';

CREATE FUNCTION taskex.complete_run(run_id bigint, lease_token bigint, result jsonb = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_complete_run';
COMMENT ON FUNCTION taskex.complete_run(bigint, bigint, jsonb) IS
'The run has succeeded, with this result. lease_token: as pull_runs gave it. Errors: unknown_run (TX600), lease_expired (TX107), stale_token (TX108), wrong_state (TX109), input_too_large (TX111).';

CREATE FUNCTION taskex.complete_runs(run_ids bigint[], lease_tokens bigint[], results jsonb[] = NULL)
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_complete_runs';
COMMENT ON FUNCTION taskex.complete_runs(bigint[], bigint[], jsonb[]) IS
'Does what complete_run does for several runs, all of them or none. The arrays run_ids, lease_tokens and results 
have the same length, at most 10000; results may be NULL, and
so may be its elements. Result: how many. Errors: those of complete_run, array_subscript_error (2202E).';

CREATE FUNCTION taskex.fail_run(run_id bigint, lease_token bigint, error jsonb, retry boolean = true)
    RETURNS text LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_fail_run';
COMMENT ON FUNCTION taskex.fail_run(bigint, bigint, jsonb, boolean) IS
'The attempt has failed. lease_token: as pull_runs gave it. error: an object, with message and, where there is one, sqlstate; kept with the attempt. The run is tried again, after its
backoff, if attempts are left, retry is true and its retryable (if given) has the sqlstate; else it is a dead letter: dead if no attempt was left,
failed otherwise. Result: the run''s state. Errors: those of complete_run, invalid_parameter_value (22023).';

CREATE FUNCTION taskex.release_run(run_id bigint, lease_token bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_release_run';
COMMENT ON FUNCTION taskex.release_run(bigint, bigint) IS
'Gives a run back, as if it had not been pulled: the attempt does not count. lease_token: as pull_runs gave it. Errors: those of complete_run.';

-- customers -------------------------------------------------------------------

CREATE FUNCTION taskex.cancel_run(run_id bigint)
    RETURNS boolean LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_cancel_run';
COMMENT ON FUNCTION taskex.cancel_run(bigint) IS
'Cancels a run, and those that come after it. One that is running is cancelled at once: its worker''s next call is refused. Result: false
if it was cancelled already. Errors: unknown_run (TX600), wrong_state (TX109): it has ended.';

CREATE FUNCTION taskex.retry_run(run_id bigint, attempts int = 1)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_retry_run';
COMMENT ON FUNCTION taskex.retry_run(bigint, int) IS
'Queues a run that is a dead letter (failed or dead) again. attempts: so many more, 1 to 1000.
Errors: unknown_run (TX600), wrong_state (TX109), environment_retired (TX621), invalid_parameter_value (22023).';

CREATE FUNCTION taskex.run_status(run_id bigint, OUT state text, OUT attempts int, OUT max_attempts int, OUT priority int, OUT worker text,
        OUT submitted_at timestamptz, OUT run_at timestamptz, OUT started_at timestamptz, OUT lease_until timestamptz, OUT finished_at timestamptz,
        OUT progress jsonb, OUT error jsonb)
    RETURNS record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_run_status';
COMMENT ON FUNCTION taskex.run_status(bigint) IS
'How a run is: state (waiting, running, suspended, succeeded, failed, cancelled, dead), its latest attempt, progress, and the last error.
Errors: unknown_run (TX600).';

CREATE FUNCTION taskex.run_result(run_id bigint)
    RETURNS jsonb LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_run_result';
COMMENT ON FUNCTION taskex.run_result(bigint) IS
'The result of a run that has succeeded; NULL if it has none, or has not ended. Errors: unknown_run (TX600), run_failed (TX601): it has failed, is
dead or was cancelled.';

CREATE FUNCTION taskex.wait_for_run(run_id bigint, timeout interval = '1 minute')
    RETURNS jsonb LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_wait_for_run';
COMMENT ON FUNCTION taskex.wait_for_run(bigint, interval) IS
'The same, but waits until the run has ended. timeout: at most so long, an hour at most. NULL: it has not ended yet, or its result is NULL; run_status tells. Errors, besides: wrong_state (TX109): the same transaction has submitted the run, so it cannot end before the commit.';

CREATE FUNCTION _taskex.requeue_run(run_id bigint, attempts int) RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_requeue_run';
COMMENT ON FUNCTION _taskex.requeue_run(bigint, int) IS 'retry_run for any customer; false: it is no dead letter any more.';

CREATE FUNCTION taskex.redrive_runs(customer text, environment text = NULL, attempts int = 1, max_runs int = 1000)
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.redrive_runs(text, text, int, int) IS
'Does what retry_run does for the dead letters of a customer, the oldest first. environment: only those of one; NULL: those of all that are not retired. attempts: so many more for each, 1 to 1000. max_runs: 1 to 10000. Result: how many.
Errors: unknown_environment (TX620), environment_retired (TX621), invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.redrive_runs(customer bigint, environment text, attempts int, max_runs int)
    RETURNS int LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    wanted int;
    id bigint;
    done int := 0;
BEGIN
    IF attempts NOT BETWEEN 1 AND 1000 THEN
        PERFORM _taskex.bad_value('attempts must be between 1 and 1000');
    ELSIF max_runs NOT BETWEEN 1 AND 10000 THEN
        PERFORM _taskex.bad_value('max_runs must be between 1 and 10000');
    END IF;
    IF environment IS NOT NULL THEN
        wanted := (_taskex.lock_environment(environment)).environment_id;
    END IF;
    FOR id IN EXECUTE format('SELECT run_id FROM _taskex.run_%s WHERE customer_id = $1 AND CASE WHEN $2 IS NULL'
            ' THEN environment_id NOT IN (SELECT e.environment_id FROM _taskex.environment e WHERE e.retired) ELSE environment_id = $2 END'
            ' AND state IN (''failed'', ''dead'') ORDER BY run_id LIMIT $3', _taskex.home(customer)) USING customer, wanted, max_runs LOOP
        done := done + _taskex.requeue_run(id, attempts)::int;
    END LOOP;
    RETURN done;
END $$;
COMMENT ON FUNCTION _taskex.redrive_runs(bigint, text, int, int) IS 'Body of taskex.redrive_runs.';

-- limits ----------------------------------------------------------------------

CREATE FUNCTION _taskex.limits_changed(customer_id bigint, key text) RETURNS void
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_limits_changed';
COMMENT ON FUNCTION _taskex.limits_changed(bigint, text) IS 'Tells the queue, at commit, what run_limit says of a customer or (not NULL) one of his keys.';

CREATE FUNCTION _taskex.key_hash(key text) RETURNS bigint
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'taskex_key_hash';
COMMENT ON FUNCTION _taskex.key_hash(text) IS 'The hash of a concurrency key.';

CREATE FUNCTION taskex.limit_customer(customer text, max_running int = NULL, rate int = NULL, per interval = '1 minute')
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint := _taskex.user_id(customer);
BEGIN
    IF max_running NOT BETWEEN 1 AND 1000000 OR rate NOT BETWEEN 1 AND 1000000000 THEN
        PERFORM _taskex.bad_value('max_running must be between 1 and 1000000, rate between 1 and 1000000000');
    ELSIF per IS NULL OR per NOT BETWEEN '1 millisecond' AND '366 days' THEN
        PERFORM _taskex.bad_value('per must be between a millisecond and 366 days');
    END IF;
    INSERT INTO _taskex.run_limit AS l (customer_id, max_running, rate, rate_us) VALUES (id, limit_customer.max_running, limit_customer.rate, (extract(epoch FROM per) * 1000000)::bigint)
        ON CONFLICT (customer_id, key_hash) DO UPDATE SET max_running = excluded.max_running, rate = excluded.rate, rate_us = excluded.rate_us;
    PERFORM _taskex.limits_changed(id, NULL);
END $$;
COMMENT ON FUNCTION taskex.limit_customer(text, int, int, interval) IS
'How many runs of a customer may run at a time (max_running), and how many may be started in a time (rate in per, in the long run, and so many at once; one that is given back by release_run does not count); NULL: any number. Runs that run already go
on. Errors: unknown_user (TX001), invalid_parameter_value (22023). Operators only.';

CREATE FUNCTION taskex.limit_key(customer text, concurrency_key text, max_running int)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.limit_key(text, text, int) IS
'How many runs of the customer with this concurrency_key may run at a time (max_running: 1 to 1000000); without it is 1. Errors: invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.limit_key(customer bigint, concurrency_key text, max_running int)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.check_text(concurrency_key, 'concurrency_key', 255);
    IF max_running NOT BETWEEN 1 AND 1000000 THEN
        PERFORM _taskex.bad_value('max_running must be between 1 and 1000000');
    END IF;
    INSERT INTO _taskex.run_limit (customer_id, key_hash, concurrency_key, max_running)
        VALUES (customer, _taskex.key_hash(limit_key.concurrency_key), limit_key.concurrency_key, limit_key.max_running)
        ON CONFLICT (customer_id, key_hash) DO UPDATE SET max_running = excluded.max_running;
    PERFORM _taskex.limits_changed(customer, concurrency_key);
END $$;
COMMENT ON FUNCTION _taskex.limit_key(bigint, text, int) IS 'Body of taskex.limit_key.';

CREATE FUNCTION taskex.pause_runs(customer text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.pause_runs(text) IS
'No run of the customer is started until resume_runs; those that run go on, and new ones are taken in.';
CREATE FUNCTION taskex.resume_runs(customer text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.resume_runs(text) IS 'Ends pause_runs.';

CREATE FUNCTION _taskex.pause_runs(customer bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO _taskex.run_limit (customer_id, paused) VALUES (customer, true)
        ON CONFLICT (customer_id, key_hash) DO UPDATE SET paused = true;
    PERFORM _taskex.limits_changed(customer, NULL);
END $$;
COMMENT ON FUNCTION _taskex.pause_runs(bigint) IS 'Body of taskex.pause_runs.';
CREATE FUNCTION _taskex.resume_runs(customer bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE _taskex.run_limit l SET paused = false WHERE l.customer_id = customer AND l.key_hash = 0;
    DELETE FROM _taskex.run_sweep x WHERE x.scope = 'customer' AND x.scope_id = customer;
    PERFORM _taskex.limits_changed(customer, NULL);
END $$;
COMMENT ON FUNCTION _taskex.resume_runs(bigint) IS 'Body of taskex.resume_runs.';

-- background ------------------------------------------------------------------

CREATE FUNCTION _taskex.store_run_low(partition_id int, bound bigint) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    low bigint := coalesce((SELECT l.low FROM _taskex.run_low l WHERE l.partition_id = store_run_low.partition_id), 0);
    page record;
BEGIN
    FOR i IN 1 .. 100 LOOP
        EXECUTE format('SELECT count(*) AS runs, count(*) FILTER (WHERE NOT _taskex.run_ended(state)) AS open, max(run_id) AS last FROM ('
            'SELECT run_id, state FROM _taskex.run_%s WHERE run_id > $1 AND run_id <= $2 ORDER BY run_id LIMIT 1000) u', partition_id)
            INTO page USING low, bound;
        EXIT WHEN page.open * 10 > page.runs;
        IF page.open > 0 THEN
            EXECUTE format('INSERT INTO _taskex.run_open SELECT partition_id, run_id FROM _taskex.run_%s'
                ' WHERE run_id > $1 AND run_id <= $2 AND NOT _taskex.run_ended(state)', partition_id) USING low, page.last;
        END IF;
        low := CASE WHEN page.runs < 1000 THEN greatest(low, bound) ELSE page.last END;
        EXIT WHEN page.runs < 1000;
    END LOOP;
    INSERT INTO _taskex.run_low AS l VALUES (partition_id, low)
        ON CONFLICT ON CONSTRAINT run_low_pkey DO UPDATE SET low = excluded.low WHERE l.low < excluded.low;
    EXECUTE format('DELETE FROM _taskex.run_open o WHERE o.partition_id = $1 AND NOT EXISTS ('
        'SELECT FROM _taskex.run_%s r WHERE r.run_id = o.run_id AND NOT _taskex.run_ended(r.state))', partition_id) USING partition_id;
    RETURN low;
END $$;
COMMENT ON FUNCTION _taskex.store_run_low(int, bigint) IS
'Moves run_low of a partition over pages of runs of which less than a tenth is open; all ids up to the bound are decided.';

-- Who may need it: what takes its result to a function, which is the run with the next id (src/workload/submit.c); the whole of which it is a
-- part; those that come after it, when it is a dead letter (they go on after retry_run).
CREATE FUNCTION _taskex.run_needed(partition_id int, run_id bigint, split_id bigint) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    needed boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM _taskex.run_%1$s WHERE run_id = $1 AND (options ->> ''result_of'')::bigint = $2 AND NOT _taskex.run_ended(state))'
            ' OR EXISTS (SELECT FROM _taskex.run_%1$s WHERE run_id = $3 AND run_id <> $2 AND state NOT IN (''succeeded'', ''cancelled''))'
            ' OR EXISTS (SELECT FROM _taskex.run_link_%1$s WHERE run_id = $2)', partition_id)
        INTO needed USING run_id + 1024, run_id, split_id;
    RETURN needed;
END $$;
COMMENT ON FUNCTION _taskex.run_needed(int, bigint, bigint) IS 'Does something that has not ended, or may be tried again, need this run, which has ended?';

-- One page of 1000 runs; last: where to go on, NULL at the end.
CREATE FUNCTION _taskex.prune_runs(partition_id int, after bigint, retention int, OUT removed bigint, OUT last bigint)
    RETURNS record LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz := _taskex.now();
    looked bigint;
    ids bigint[];
BEGIN
    EXECUTE format('SELECT count(*), max(run_id), array_agg(run_id) FILTER (WHERE _taskex.run_ended(state) AND _taskex.lives(customer_id, partition_id)'
            ' AND finished_at <= $2 - coalesce((options ->> ''retention'')::interval, $3)'
            ' AND NOT (coalesce(split_id IS NOT NULL OR state <> ''succeeded'' OR options ? ''result_function'', false) AND _taskex.run_needed(partition_id, run_id, split_id))) FROM ('
            'SELECT run_id, state, finished_at, options, customer_id, partition_id, split_id FROM _taskex.run_%s WHERE run_id > $1 ORDER BY run_id LIMIT 1000) u', partition_id)
        INTO looked, last, ids USING after, now, make_interval(secs => retention);
    IF looked < 1000 THEN
        last := NULL;
    END IF;
    removed := _taskex.remove_these(partition_id, ids);
END $$;
COMMENT ON FUNCTION _taskex.prune_runs(int, bigint, int) IS
'Removes what has ended longer ago than its retention (seconds, unless it has its own) of the next 1000 runs. last: the last of them, NULL: there are no more.';

CREATE FUNCTION _taskex.remove_these(partition_id int, ids bigint[]) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    removed bigint := 0;
BEGIN
    IF ids IS NOT NULL THEN
        EXECUTE format('WITH gone AS (DELETE FROM _taskex.run_%1$s r WHERE r.run_id = ANY ($1) AND _taskex.run_ended(r.state) RETURNING r.run_id),'
            ' attempts AS (DELETE FROM _taskex.run_attempt_%1$s a USING gone g WHERE a.run_id = g.run_id),'
            ' links AS (DELETE FROM _taskex.run_link_%1$s l USING gone g WHERE l.run_id = g.run_id),'
            ' keys AS (DELETE FROM _taskex.run_key_%1$s k USING gone g WHERE k.run_id = g.run_id),'
            ' splits AS (DELETE FROM _taskex.split_%1$s s USING gone g WHERE s.split_id = g.run_id),'
            ' parts AS (DELETE FROM _taskex.split_part_%1$s p USING gone g WHERE p.split_id = g.run_id),'
            ' held AS (DELETE FROM _taskex.run_held h USING gone g WHERE h.run_id = g.run_id)'
            ' SELECT count(*) FROM gone', partition_id) INTO removed USING ids;
    END IF;
    RETURN removed;
END $$;
COMMENT ON FUNCTION _taskex.remove_these(int, bigint[]) IS 'Removes runs that have ended, with all that belongs to them.';

CREATE FUNCTION taskex.remove_runs(older_than interval, max_rows int = 10000)
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    before timestamptz := _taskex.ago(older_than);
    home int;
    rest bigint := max_rows;
    removed bigint;
BEGIN
    IF older_than IS NULL OR max_rows IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'arguments of remove_runs() must not be null';
    ELSIF older_than < '0'::interval THEN
        PERFORM _taskex.bad_value('older_than must not be negative');
    ELSIF max_rows NOT BETWEEN 1 AND 1000000 THEN
        PERFORM _taskex.bad_value('max_rows must be between 1 and 1000000');
    END IF;
    FOR home IN SELECT p.partition_id FROM _taskex.partition p WHERE p.node_id = 0 ORDER BY 1 LOOP
        EXECUTE format('SELECT _taskex.remove_these($1, ARRAY(SELECT o.run_id FROM _taskex.run_%s o WHERE _taskex.run_ended(o.state) AND _taskex.lives(o.customer_id, o.partition_id)'
            ' AND o.finished_at <= least($2, $4 - (o.options ->> ''retention'')::interval)'
            ' AND NOT (coalesce(o.split_id IS NOT NULL OR o.state <> ''succeeded'' OR o.options ? ''result_function'', false) AND _taskex.run_needed(o.partition_id, o.run_id, o.split_id)) ORDER BY o.run_id LIMIT $3))', home)
            INTO removed USING home, before, rest, _taskex.now();
        rest := rest - removed;
        EXIT WHEN rest <= 0;
    END LOOP;
    RETURN max_rows - rest;
END $$;
COMMENT ON FUNCTION taskex.remove_runs(interval, int) IS
'Removes runs that ended longer ago than older_than, and whose own retention is over, at most max_rows (1 to 1000000), in one transaction, with their attempts, results
and deduplication keys; but no part of a whole that has not ended or can be retried, and no dead letter that others come after. Result: how many; less than max_rows: there are no more. Errors: invalid_parameter_value (22023). Operators only.';

CREATE FUNCTION taskex.run_due_runs(OUT what text, OUT count bigint) RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_run_due_runs';
COMMENT ON FUNCTION taskex.run_due_runs() IS
'Does now, in the caller''s transaction, what the conductor does for runs: ends leases that are over, and makes ready what has waited for its time. Result: how much
of each. Operators only.';

INSERT INTO _taskex.event_kind VALUES
    ('run_failed', 600, true, false, true, 'a run of the customer became a dead letter', NULL, 'run_id; state: failed or dead; environment; message and sqlstate of its last error');

-- views -----------------------------------------------------------------------

CREATE VIEW taskex.runs WITH (security_barrier) AS
    SELECT r.run_id, d.login AS customer, e.name AS environment,
        CASE WHEN p.owner_id = r.customer_id THEN p.name ELSE o.login || '/' || p.name END AS program, r.version,
        r.priority, _taskex.run_state(r.state) AS state, r.attempts, r.max_attempts, r.worker, r.concurrency_key,
        r.submitted_at, r.run_at, r.deadline, r.started_at, r.lease_until, r.finished_at,
        r.code, r.data, r.data_ref, r.options, r.progress, r.result, r.error, r.state_data AS checkpoint, r.split_id, r.part
    FROM _taskex.directory d
        JOIN _taskex.run r ON r.partition_id = d.partition_id AND r.customer_id = d.user_id
        JOIN _taskex.environment e USING (environment_id)
        LEFT JOIN _taskex.program p USING (program_id)
        LEFT JOIN _taskex.directory o ON o.user_id = p.owner_id
    WHERE _taskex.visible(d.user_id) AND _taskex.visible(r.customer_id)
        AND _taskex.narrow(r.partition_id, r.customer_id, d.login, r.run_id);
COMMENT ON VIEW taskex.runs IS 'Runs of the customers for whom the caller may act, with their latest attempts.';

CREATE VIEW taskex.dead_letters WITH (security_barrier) AS
    SELECT r.run_id, d.login AS customer, e.name AS environment, r.state, r.attempts, r.max_attempts, r.finished_at,
        r.error ->> 'message' AS message, r.error, r.version, r.code, r.data, r.data_ref
    FROM _taskex.directory d
        JOIN _taskex.run r ON r.partition_id = d.partition_id AND r.customer_id = d.user_id
        JOIN _taskex.environment e USING (environment_id)
    WHERE r.state IN ('failed', 'dead') AND _taskex.visible(d.user_id) AND _taskex.visible(r.customer_id)
        AND _taskex.narrow(r.partition_id, r.customer_id, d.login, r.run_id);
COMMENT ON VIEW taskex.dead_letters IS
'Runs that failed for good, with what they ran on and the last error. retry_run and redrive_runs queue them again.';

CREATE VIEW taskex.run_attempts WITH (security_barrier) AS
    SELECT * FROM (
        SELECT a.run_id, d.login AS customer, a.attempt, a.worker, a.version, a.started_at, a.finished_at, a.outcome, a.error, a.measured, a.output
        FROM _taskex.directory d
            JOIN _taskex.run_attempt a ON a.partition_id = d.partition_id AND a.customer_id = d.user_id
        WHERE _taskex.visible(d.user_id) AND _taskex.visible(a.customer_id)
            AND _taskex.narrow(a.partition_id, a.customer_id, d.login, a.run_id)
        UNION ALL
        SELECT r.run_id, d.login, r.attempts, r.worker, r.version, r.started_at, r.finished_at, r.state, NULL, r.measured, r.output
        FROM _taskex.directory d
            JOIN _taskex.run r ON r.partition_id = d.partition_id AND r.customer_id = d.user_id
        WHERE r.state IN ('running', 'succeeded') AND r.attempts > 0 AND _taskex.visible(d.user_id) AND _taskex.visible(r.customer_id)
            AND _taskex.narrow(r.partition_id, r.customer_id, d.login, r.run_id)) u;
COMMENT ON VIEW taskex.run_attempts IS
'Attempts at runs. outcome: running, succeeded, failed, expired, crashed, cancelled, suspended. error: of what failed in an executor sqlstate, message,
detail, hint, context and the like. measured: wall_us, cpu_us, rows, blocks_read, blocks_written, wal_bytes, memory (bytes), as far as they are
known. output: messages (RAISE) in an executor, as far as they are kept. Of a run that gives way again and again the last 100 times are on record.';

CREATE FUNCTION _taskex.lanes(OUT environment_id int, OUT customer_id bigint, OUT priority int, OUT waiting bigint, OUT running int,
        OUT in_memory int, OUT oldest timestamptz, OUT blocked boolean, OUT virtual_time float8)
    RETURNS SETOF record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_lanes';
COMMENT ON FUNCTION _taskex.lanes() IS 'The lanes of the queue, as they are in shared memory. oldest: of those in memory.';

CREATE FUNCTION _taskex.queue_state(OUT entries int, OUT free_entries int, OUT lanes int, OUT running bigint, OUT crowded boolean, OUT late bigint)
    RETURNS record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_queue_state';
COMMENT ON FUNCTION _taskex.queue_state() IS
'How full the queue in shared memory is. crowded: runs wait for a lane; late: leases that are over since a minute.';

-- without shared memory, or on a standby, there is none
CREATE FUNCTION _taskex.queue_health(OUT entries int, OUT free_entries int, OUT running bigint, OUT crowded boolean, OUT late bigint)
    RETURNS record LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    entries := 0;
    free_entries := 1;
    running := 0;
    crowded := false;
    late := 0;
    IF _taskex.loaded() AND NOT pg_is_in_recovery() THEN
        SELECT q.entries, q.free_entries, q.running, q.crowded, q.late INTO entries, free_entries, running, crowded, late
            FROM _taskex.queue_state() q;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.queue_health() IS 'queue_state for the view taskex.health, which is there without shared memory too.';

CREATE VIEW taskex.queue WITH (security_barrier) AS
    SELECT e.name AS environment, d.login AS customer, l.priority, l.waiting, l.running,
        CASE WHEN l.waiting > 0 THEN l.oldest END AS oldest, _taskex.now() - CASE WHEN l.waiting > 0 THEN l.oldest END AS age, l.blocked
    FROM _taskex.lanes() l
        JOIN _taskex.environment e USING (environment_id)
        JOIN _taskex.directory d ON d.user_id = l.customer_id
    WHERE (l.waiting > 0 OR l.running > 0) AND _taskex.visible(l.customer_id);
COMMENT ON VIEW taskex.queue IS
'What is ready and what runs, by environment, customer and priority. oldest: when the first of those that are ready was submitted. blocked:
the customer is paused, or has reached a limit. Without runs that wait for a time or for others.';

-- checks ----------------------------------------------------------------------

CREATE FUNCTION _taskex.in_queue(run_id bigint, customer_id bigint, environment_id int, priority int, state text) RETURNS boolean
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_in_queue';
COMMENT ON FUNCTION _taskex.in_queue(bigint, bigint, int, int, text) IS 'Has the queue an entry of the run, or (if it is ready) is it in its lane''s window?';

CREATE FUNCTION taskex.check_workload(OUT check_name text, OUT ok boolean, OUT detail text)
    RETURNS SETOF record LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
    WITH run AS (
        SELECT r.* FROM _taskex.run r JOIN _taskex.directory d ON d.user_id = r.customer_id AND d.partition_id = r.partition_id
    ), checks (check_name, wrong, what) AS (
        SELECT 'states', count(*), 'runs in an unknown state, or with parts of another' FROM run
            WHERE state NOT IN ('blocked', 'delayed', 'ready', 'running', 'suspended', 'succeeded', 'failed', 'cancelled', 'dead')
                OR (state = 'running') <> (lease_token IS NOT NULL) OR (state = 'running') <> (lease_until IS NOT NULL)
                OR _taskex.run_ended(state) <> (finished_at IS NOT NULL)
                OR (state <> 'succeeded' AND result IS NOT NULL) OR (state = 'succeeded' AND attempts = 0 AND split_id IS DISTINCT FROM run_id)
                OR (asked IS NOT NULL AND state NOT IN ('running', 'succeeded', 'cancelled'))
        UNION ALL
        SELECT 'attempts', count(*), 'runs with more attempts than allowed, or without a record of one' FROM run r
            WHERE attempts > max_attempts OR attempts < 0
                OR (SELECT count(*) FROM _taskex.run_attempt a WHERE a.partition_id = r.partition_id AND a.run_id = r.run_id)
                    NOT BETWEEN attempts - (state IN ('running', 'succeeded') AND attempts > 0)::int - greatest(coalesce(suspensions, 0) - 100, 0)
                        AND attempts - (state IN ('running', 'succeeded') AND attempts > 0)::int
        UNION ALL
        SELECT 'blocked', count(*), 'runs whose blockers differ from what they come after' FROM run r
            WHERE blockers <> CASE WHEN state IN ('blocked', 'suspended') THEN (SELECT count(*) FROM _taskex.run_link l WHERE l.partition_id = r.partition_id AND l.follower_id = r.run_id) ELSE 0 END
                OR (state = 'blocked' AND blockers = 0 AND split_id IS DISTINCT FROM run_id)
        UNION ALL
        SELECT 'links', count(*), 'links of runs that have succeeded, or were cancelled' FROM _taskex.run_link l JOIN run r USING (partition_id, run_id)
            WHERE r.state IN ('succeeded', 'cancelled') OR NOT r.followed
        UNION ALL
        SELECT 'delayed', count(*), 'delayed runs that nothing will make ready' FROM run r
            WHERE state = 'delayed' AND NOT EXISTS (SELECT FROM _taskex.run_wait w WHERE w.partition_id = r.partition_id AND w.run_id = r.run_id AND w.due_at = r.run_at)
        UNION ALL
        SELECT 'low', count(*), 'open runs that a start would not find' FROM run r JOIN _taskex.run_low l USING (partition_id)
            WHERE r.run_id <= l.low AND NOT _taskex.run_ended(r.state)
                AND NOT EXISTS (SELECT FROM _taskex.run_open o WHERE o.partition_id = r.partition_id AND o.run_id = r.run_id)
        UNION ALL
        SELECT 'queue', count(*), 'ready or running runs that the queue does not have' FROM run r
            WHERE r.state IN ('ready', 'running') AND NOT _taskex.in_queue(r.run_id, r.customer_id, r.environment_id, r.priority, r.state)
        UNION ALL
        SELECT 'counts', count(*), 'lanes whose counts differ from the runs' FROM (
            SELECT environment_id, customer_id, priority, waiting, running FROM _taskex.lanes()) l
            FULL JOIN (SELECT environment_id, customer_id, priority, count(*) FILTER (WHERE state = 'ready') AS waiting,
                count(*) FILTER (WHERE state = 'running') AS running FROM run WHERE state IN ('ready', 'running') GROUP BY 1, 2, 3) r
                USING (environment_id, customer_id, priority)
            WHERE coalesce(l.waiting, 0) <> coalesce(r.waiting, 0) OR coalesce(l.running, 0) <> coalesce(r.running, 0)
    )
    SELECT check_name, wrong = 0, CASE WHEN wrong = 0 THEN 'no ' ELSE wrong || ' ' END || what FROM checks
$$;
COMMENT ON FUNCTION taskex.check_workload() IS
'Checks what must always hold of runs, by reading everything. Exact when no call is under way: queue and counts compare with shared memory.
Result: a row per check with ok and a detail. Operators only.';
