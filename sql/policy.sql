-- policy.sql: review policies: rules of a requester's that judge work and
-- performers by themselves. docs/quality.md shows how to use them; how they are
-- evaluated and carried out is told in src/market/README.md.

CREATE SEQUENCE _taskex.policy_id_seq;
CREATE SEQUENCE _taskex.policy_action_id_seq;

CREATE TABLE _taskex.review_policy (
    policy_id bigint PRIMARY KEY,
    requester_id bigint NOT NULL,
    task_type_id bigint,
    kind text NOT NULL,
    state text NOT NULL DEFAULT 'active',
    version int NOT NULL DEFAULT 1,
    parameters jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL
);
CREATE INDEX review_policy_requester_idx ON _taskex.review_policy (requester_id);
COMMENT ON TABLE _taskex.review_policy IS 'Review policies: active, paused, or deleted (kept for what they have done).';
COMMENT ON COLUMN _taskex.review_policy.task_type_id IS 'NULL: all of the requester''s task types.';
COMMENT ON COLUMN _taskex.review_policy.version IS 'Counts changes of the parameters: thresholds begin anew.';

-- Written by the dispatch of the journal alone. As in the summaries of
-- summaries.sql, the last column of the key goes down with each change, so that
-- the newest version of a row is found first while old ones cannot be removed.
CREATE TABLE _taskex.policy_tally (
    partition_id int NOT NULL,
    version int NOT NULL,
    policy_id bigint NOT NULL,
    performer_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    turn bigint NOT NULL,
    counted bigint NOT NULL,
    period timestamptz,
    amount numeric,
    measure numeric,
    history numeric[],
    fired int[] NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.policy_tally IS
    'What a review policy knows of a performer, on the requester''s partition. Written by the dispatch alone.';
COMMENT ON COLUMN _taskex.policy_tally.amount IS 'Sum within the present period, or run.';
COMMENT ON COLUMN _taskex.policy_tally.history IS 'The last values, oldest first.';
COMMENT ON COLUMN _taskex.policy_tally.fired IS 'Numbers of the thresholds that are passed now.';
INSERT INTO _taskex.child_table VALUES ('policy_tally', 400, 100,
    ARRAY['PRIMARY KEY (policy_id, performer_id, turn)'], ARRAY['(requester_id)'], 'requester_id');

CREATE TABLE _taskex.policy_result (
    partition_id int NOT NULL,
    policy_id bigint NOT NULL,
    subject bigint NOT NULL,
    task_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    performer_id bigint,
    scored_at timestamptz NOT NULL,
    score numeric NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.policy_result IS
    'Scores that review policies gave, on the requesters'' partitions: each once. Only inserted, by the dispatch.';
COMMENT ON COLUMN _taskex.policy_result.subject IS
    'An assignment; or less than 0: the task as a whole, when its newest result was that of this assignment.';
INSERT INTO _taskex.child_table VALUES ('policy_result', 401, 100, ARRAY['PRIMARY KEY (policy_id, subject)'],
    ARRAY['(task_id)', '(requester_id)'], 'requester_id');

CREATE TABLE _taskex.policy_action (
    partition_id int NOT NULL,
    action_id bigint NOT NULL,
    policy_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    performer_id bigint,
    task_id bigint,
    assignment_id bigint,
    created_at timestamptz NOT NULL,
    finished_at timestamptz,
    state text NOT NULL DEFAULT 'pending',
    measure numeric NOT NULL,
    tries int NOT NULL DEFAULT 0,
    action jsonb NOT NULL,
    error text
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.policy_action IS
    'What review policies do, on the requesters'' partitions: inserted by the dispatch, done by the executor.';
COMMENT ON COLUMN _taskex.policy_action.tries IS 'How often the server had not what it takes (out of memory, of space, ...), or others were in the way (a deadlock): error says what.';
COMMENT ON COLUMN _taskex.policy_action.measure IS 'What passed the threshold.';
INSERT INTO _taskex.child_table VALUES ('policy_action', 402, 70, ARRAY['PRIMARY KEY (action_id)'],
    ARRAY['(task_id)', '(requester_id)'], 'requester_id');

-- The executor goes along the ids; what it has passed is deleted behind it, so
-- that finished actions are never searched.
CREATE TABLE _taskex.policy_pending (
    action_id bigint PRIMARY KEY,
    partition_id int NOT NULL
);
COMMENT ON TABLE _taskex.policy_pending IS 'Actions that may have to be done yet, in the order of their ids.';

CREATE TABLE _taskex.policy_cursor (
    handled_until bigint NOT NULL
);
INSERT INTO _taskex.policy_cursor VALUES (0);
COMMENT ON TABLE _taskex.policy_cursor IS 'Actions with ids up to this one are done. Stored from time to time, for the start after a crash.';

CREATE FUNCTION _taskex.replace_policy_cursor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM _taskex.policy_cursor;
    RETURN NEW;
END $$;
COMMENT ON FUNCTION _taskex.replace_policy_cursor() IS 'Lets the restored row take the place of the one made by the install script.';
CREATE TRIGGER replace_policy_cursor BEFORE INSERT ON _taskex.policy_cursor
    FOR EACH ROW EXECUTE FUNCTION _taskex.replace_policy_cursor();

CREATE FUNCTION _taskex.forget_policy_actions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- those of requesters who were moved away are done where these are now
    DELETE FROM _taskex.policy_pending p WHERE p.partition_id = OLD.partition_id
        AND NOT EXISTS (SELECT FROM _taskex.policy_action a WHERE a.action_id = p.action_id AND a.partition_id <> OLD.partition_id);
    RETURN NULL;
END $$;
COMMENT ON FUNCTION _taskex.forget_policy_actions() IS
    'Removes the pending actions of a storage partition that is dropped.';
CREATE TRIGGER forget_policy_actions AFTER DELETE ON _taskex.partition
    FOR EACH ROW EXECUTE FUNCTION _taskex.forget_policy_actions();
ALTER TABLE _taskex.partition ENABLE ALWAYS TRIGGER forget_policy_actions;

SELECT pg_catalog.pg_extension_config_dump('_taskex.policy_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.policy_action_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.review_policy', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.policy_pending', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.policy_cursor', '');

-- parameters ----------------------------------------------------------------

-- The kinds. of: to what thresholds can apply. unit: of the measure. acts: what
-- can be done with the assignment itself.
CREATE FUNCTION _taskex.policy_kinds(OUT kind text, OUT allowed text[], OUT required text[], OUT scopes text[],
        OUT unit text, OUT history_size int, OUT actions text[])
    RETURNS SETOF record LANGUAGE sql IMMUTABLE AS $$
    VALUES
    ('known_answer', '{history_size,thresholds}'::text[], '{}'::text[], '{performer,assignment}'::text[], 'percent', 100, '{approve,reject,extend}'::text[]),
    ('agreement', '{history_size,tolerance,thresholds}', '{}', '{performer,assignment,task}', 'percent', 100, '{approve,reject,extend}'),
    ('minimum_time', '{seconds,history_size,thresholds}', '{seconds}', '{performer}', 'count', 10, '{approve,reject}'),
    ('rejected_share', '{history_size,thresholds}', '{}', '{performer}', 'percent', 100, '{}'),
    ('skips_in_a_row', '{thresholds}', '{}', '{performer}', 'count', NULL, '{}'),
    ('income_cap', '{period,thresholds}', '{period}', '{performer}', 'amount', NULL, '{}'),
    ('submitted_count', '{period,thresholds}', '{}', '{performer}', 'count', NULL, '{}')
$$;
COMMENT ON FUNCTION _taskex.policy_kinds() IS 'The kinds of review policies and what their parameters may be.';

CREATE FUNCTION _taskex.policy_object(value jsonb, what text, allowed text[], required text[])
    RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    unknown text;
    missing text;
BEGIN
    IF jsonb_typeof(value) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('%s must be a JSON object', what);
    END IF;
    SELECT k INTO unknown FROM jsonb_object_keys(value) k WHERE NOT k = ANY (allowed) ORDER BY k COLLATE "C" LIMIT 1;
    SELECT k INTO missing FROM unnest(required) k WHERE NOT value ? k LIMIT 1;
    IF unknown IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('%s has an unknown key "%s"', what, unknown),
            HINT = format('The keys are %s.', array_to_string(allowed, ', '));
    ELSIF missing IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('%s lacks the key "%s"', what, missing),
            HINT = format('The keys are %s.', array_to_string(allowed, ', '));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.policy_object(jsonb, text, text[], text[]) IS
    'Raises invalid_parameter_value unless a value is an object with allowed and all required keys.';

CREATE FUNCTION _taskex.policy_number(object jsonb, key text, what text, low numeric, high numeric, whole boolean)
    RETURNS numeric LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    number numeric;
BEGIN
    IF NOT object ? key THEN
        RETURN NULL;
    ELSIF jsonb_typeof(object -> key) = 'number' THEN
        number := (object ->> key)::numeric;
    END IF;
    IF number IS NULL OR number NOT BETWEEN low AND high OR (whole AND scale(number) > 0) OR scale(number) > 9 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s.%s must be a %s between %s and %s', what, key, CASE WHEN whole THEN 'whole number' ELSE 'number' END, low, high),
            DETAIL = format('It is %s.', left((object -> key)::text, 60));
    END IF;
    RETURN number;
END $$;
COMMENT ON FUNCTION _taskex.policy_number(jsonb, text, text, numeric, numeric, boolean) IS
    'A number in an object, NULL if it is not there; raises invalid_parameter_value if it is out of range.';

CREATE FUNCTION _taskex.policy_text(object jsonb, key text, what text, longest int)
    RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF object ? key AND (jsonb_typeof(object -> key) <> 'string' OR length(object ->> key) NOT BETWEEN 1 AND longest) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s.%s must be a string of 1 to %s characters', what, key, longest);
    END IF;
    RETURN object ->> key;
END $$;
COMMENT ON FUNCTION _taskex.policy_text(jsonb, text, text, int) IS
    'A string in an object, NULL if it is not there; raises invalid_parameter_value if it is none, or too long.';

CREATE FUNCTION _taskex.policy_choice(object jsonb, key text, what text, choices text[])
    RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF object ? key AND NOT (jsonb_typeof(object -> key) = 'string' AND object ->> key = ANY (choices)) THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s.%s is not known', what, key), DETAIL = format('It is %s.', object -> key),
            HINT = format('It can be %s.', array_to_string(choices, ', '));
    END IF;
    RETURN object ->> key;
END $$;
COMMENT ON FUNCTION _taskex.policy_choice(jsonb, text, text, text[]) IS
    'One of several words in an object, NULL if it is not there; raises invalid_parameter_value if it is another.';

CREATE FUNCTION _taskex.policy_interval(object jsonb, key text, what text)
    RETURNS interval LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    value interval;
BEGIN
    IF NOT object ? key THEN
        RETURN NULL;
    END IF;
    BEGIN
        value := _taskex.policy_text(object, key, what, 100)::interval;
    EXCEPTION WHEN data_exception THEN
        value := NULL;
    END;
    IF value IS NULL OR value <= '0' OR value > '3660 days' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s.%s must be an interval greater than 0 and at most 3660 days', what, key);
    END IF;
    RETURN value;
END $$;
COMMENT ON FUNCTION _taskex.policy_interval(jsonb, text, text) IS
    'An interval in an object, NULL if it is not there; raises invalid_parameter_value if it is none.';

CREATE FUNCTION _taskex.check_policy_action(requester bigint, action jsonb, what text, actions text[])
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    act text;
BEGIN
    IF jsonb_typeof(action) IS DISTINCT FROM 'object' OR NOT action ? 'do' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('%s must be a JSON object with the key "do"', what);
    END IF;
    act := _taskex.policy_choice(action, 'do', what, actions);
    CASE act
        WHEN 'approve' THEN
            PERFORM _taskex.policy_object(action, what, '{do,feedback}', '{}');
            PERFORM _taskex.policy_text(action, 'feedback', what, 2000);
        WHEN 'reject' THEN
            PERFORM _taskex.policy_object(action, what, '{do,reason,reopen}', '{reason}');
            PERFORM _taskex.policy_text(action, 'reason', what, 2000);
            IF action ? 'reopen' AND jsonb_typeof(action -> 'reopen') <> 'boolean' THEN
                RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('%s.reopen must be true or false', what);
            END IF;
        WHEN 'extend' THEN
            PERFORM _taskex.policy_object(action, what, '{do,performers,max_performers}', '{max_performers}');
            PERFORM _taskex.policy_number(action, 'performers', what, 1, 100, true);
            PERFORM _taskex.policy_number(action, 'max_performers', what, 1, 100000, true);
        WHEN 'grant' THEN
            PERFORM _taskex.policy_object(action, what, '{do,qualification,score}', '{qualification}');
            PERFORM _taskex.policy_number(action, 'score', what, -2147483648, 2147483647, true);
        WHEN 'revoke' THEN
            PERFORM _taskex.policy_object(action, what, '{do,qualification,reason}', '{qualification}');
            PERFORM _taskex.policy_text(action, 'reason', what, 2000);
        WHEN 'suspend' THEN
            PERFORM _taskex.policy_object(action, what, '{do,for,reason}', '{}');
            PERFORM _taskex.policy_interval(action, 'for', what);
            PERFORM _taskex.policy_text(action, 'reason', what, 2000);
        WHEN 'notify' THEN
            PERFORM _taskex.policy_object(action, what, '{do,to,subject,message}', '{subject,message}');
            PERFORM _taskex.policy_choice(action, 'to', what, '{requester,performer}');
            PERFORM _taskex.policy_text(action, 'subject', what, 200);
            PERFORM _taskex.policy_text(action, 'message', what, 4096);
    END CASE;
    IF act IN ('grant', 'revoke') THEN
        PERFORM _taskex.policy_number(action, 'qualification', what, 1, 9223372036854775807, true);
        IF NOT EXISTS (SELECT FROM _taskex.qualification_type q
                WHERE q.qualification_type_id = (action ->> 'qualification')::bigint AND q.requester_id = requester) THEN
            PERFORM _taskex.fail('unknown_qualification', format('user "%s" has no qualification type %s',
                _taskex.login(requester), action ->> 'qualification'));
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_policy_action(bigint, jsonb, text, text[]) IS
    'Raises invalid_parameter_value or unknown_qualification unless a review policy can do this.';

CREATE FUNCTION _taskex.check_policy_threshold(requester bigint, k record, threshold jsonb, what text)
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    scope text;
    low numeric := CASE k.unit WHEN 'count' THEN 1 WHEN 'amount' THEN 0.000000001 ELSE 0 END;
    high numeric := CASE k.unit WHEN 'count' THEN 1000000000 WHEN 'amount' THEN 8999999999.999999999 ELSE 100 END;
    keys text[] := CASE WHEN k.unit = 'percent' THEN '{of,at_least,less_than,min_answers,action}'::text[]
        WHEN cardinality(k.scopes) > 1 THEN '{of,at_least,action}' ELSE '{at_least,action}' END;
BEGIN
    PERFORM _taskex.policy_object(threshold, what, keys, '{action}');
    scope := coalesce(_taskex.policy_choice(threshold, 'of', what, k.scopes), 'performer');
    IF NOT threshold ?| '{at_least,less_than}' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s lacks the key "%s"', what, 'at_least'),
            HINT = CASE WHEN k.unit = 'percent' THEN 'A threshold has at_least, less_than, or both.' END;
    END IF;
    PERFORM _taskex.policy_number(threshold, 'at_least', what, low, high, k.unit = 'count');
    PERFORM _taskex.policy_number(threshold, 'less_than', what, low, high, k.unit = 'count');
    PERFORM _taskex.policy_number(threshold, 'min_answers', what, 1, 1000, true);
    PERFORM _taskex.check_policy_action(requester, threshold -> 'action', what || '.action',
        CASE scope WHEN 'task' THEN '{approve,extend,notify}'::text[]
            ELSE k.actions || '{grant,revoke,suspend,notify}'::text[] END);
END $$;
COMMENT ON FUNCTION _taskex.check_policy_threshold(bigint, record, jsonb, text) IS
    'Raises invalid_parameter_value unless this is a threshold of the kind, a row of policy_kinds().';

CREATE FUNCTION _taskex.check_policy(requester bigint, kind text, parameters jsonb)
    RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    k record;
    n int;
BEGIN
    SELECT * INTO k FROM _taskex.policy_kinds() p WHERE p.kind = check_policy.kind;
    IF k.kind IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = format('no review policy is of the kind "%s"', kind),
            HINT = format('The kinds are %s.', (SELECT string_agg(p.kind, ', ') FROM _taskex.policy_kinds() p));
    ELSIF octet_length(parameters::text) > 65536 THEN
        PERFORM _taskex.fail('input_too_large', 'the parameters of a review policy must have at most 65536 bytes');
    END IF;
    PERFORM _taskex.policy_object(parameters, 'parameters', k.allowed, k.required || '{thresholds}'::text[]);
    IF jsonb_typeof(parameters -> 'thresholds') <> 'array' OR jsonb_array_length(parameters -> 'thresholds') NOT BETWEEN 1 AND 20 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'parameters.thresholds must be an array of 1 to 20 thresholds';
    END IF;
    PERFORM _taskex.policy_number(parameters, 'history_size', 'parameters', 1, 1000, true);
    PERFORM _taskex.policy_number(parameters, 'tolerance', 'parameters', 0, 1e15, false);
    PERFORM _taskex.policy_number(parameters, 'seconds', 'parameters', 0.001, 86400, false);
    PERFORM _taskex.policy_choice(parameters, 'period', 'parameters', '{hour,day,week,month}');
    FOR n IN 0 .. jsonb_array_length(parameters -> 'thresholds') - 1 LOOP
        PERFORM _taskex.check_policy_threshold(requester, k, parameters -> 'thresholds' -> n, format('parameters.thresholds[%s]', n));
    END LOOP;
    -- what the evaluation relies on
    RETURN CASE WHEN k.history_size IS NULL THEN '{}' ELSE jsonb_build_object('history_size', k.history_size) END || parameters;
END $$;
COMMENT ON FUNCTION _taskex.check_policy(bigint, text, jsonb) IS
    'The parameters of a review policy with defaults put in, or the error invalid_parameter_value.';

-- keeping policies ----------------------------------------------------------

CREATE FUNCTION taskex.create_policy(requester text, kind text, parameters jsonb, task_type bigint = NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.create_policy(text, text, jsonb, bigint) IS
'Makes a review policy: a rule that judges work and performers by itself.
kind: known_answer, agreement, minimum_time, rejected_share, skips_in_a_row, income_cap, submitted_count.
parameters: what to measure, thresholds and what to do when they are passed; docs/reference.md tells all keys.
task_type: for the requester''s tasks of this type; NULL: for all. Work submitted from now on counts.
Result: the policy''s id. Errors: invalid_parameter_value (22023), unknown_task_type (TX101),
unknown_qualification (TX115), input_too_large (TX111), program_limit_exceeded (54000) beyond 100 policies.';
CREATE FUNCTION _taskex.create_policy(requester bigint, kind text, parameters jsonb, task_type bigint)
    RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    checked jsonb := _taskex.check_policy(requester, kind, parameters);
    id bigint;
BEGIN
    IF task_type IS NOT NULL AND NOT EXISTS (SELECT FROM _taskex.task_type t WHERE t.task_type_id = task_type) THEN
        PERFORM _taskex.fail('unknown_task_type', format('task type %s does not exist', task_type),
            NULL, 'taskex.create_task_type() makes one.');
    ELSIF (SELECT count(*) FROM _taskex.review_policy p
            WHERE p.requester_id = requester AND p.state <> 'deleted') >= 100 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded', MESSAGE = 'a requester can have 100 review policies',
            HINT = 'taskex.delete_policy() deletes one.';
    END IF;
    INSERT INTO _taskex.review_policy (policy_id, requester_id, task_type_id, kind, parameters, created_at, changed_at)
        VALUES (nextval('_taskex.policy_id_seq'), requester, task_type, kind, checked, _taskex.now(), _taskex.now())
        RETURNING policy_id INTO id;
    RETURN id;
END $$;
COMMENT ON FUNCTION _taskex.create_policy(bigint, text, jsonb, bigint) IS 'Body of taskex.create_policy.';

CREATE FUNCTION _taskex.lock_policy(requester bigint, policy_id bigint)
    RETURNS _taskex.review_policy LANGUAGE plpgsql AS $$
DECLARE
    p _taskex.review_policy;
BEGIN
    SELECT * INTO p FROM _taskex.review_policy r WHERE r.policy_id = lock_policy.policy_id
        AND r.requester_id = requester AND r.state <> 'deleted' FOR NO KEY UPDATE;
    IF p.policy_id IS NULL THEN
        PERFORM _taskex.fail('unknown_policy', format('user "%s" has no review policy %s', _taskex.login(requester), policy_id),
            NULL, 'The view taskex.policies lists them.');
    END IF;
    RETURN p;
END $$;
COMMENT ON FUNCTION _taskex.lock_policy(bigint, bigint) IS
    'Locks a requester''s review policy that is not deleted, or raises unknown_policy.';

CREATE FUNCTION taskex.update_policy(requester text, policy_id bigint, parameters jsonb)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.update_policy(text, bigint, jsonb) IS
'Gives a review policy other parameters; they replace the old ones as a whole. What it has counted stays; a
threshold that is passed already is passed anew. policy_id: from create_policy. parameters: as there.
Errors: unknown_policy (TX117), and those of create_policy.';
CREATE FUNCTION _taskex.update_policy(requester bigint, policy_id bigint, parameters jsonb)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    p _taskex.review_policy := _taskex.lock_policy(requester, policy_id);
BEGIN
    UPDATE _taskex.review_policy r SET parameters = _taskex.check_policy(requester, p.kind, update_policy.parameters),
        version = version + 1, changed_at = _taskex.now() WHERE r.policy_id = p.policy_id;
END $$;
COMMENT ON FUNCTION _taskex.update_policy(bigint, bigint, jsonb) IS 'Body of taskex.update_policy.';

CREATE FUNCTION _taskex.set_policy_state(requester bigint, policy_id bigint, new_state text)
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    p _taskex.review_policy := _taskex.lock_policy(requester, policy_id);
BEGIN
    IF p.state <> new_state THEN
        UPDATE _taskex.review_policy r SET state = new_state, changed_at = _taskex.now() WHERE r.policy_id = p.policy_id;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.set_policy_state(bigint, bigint, text) IS 'Makes a review policy active, paused or deleted.';

CREATE FUNCTION taskex.pause_policy(requester text, policy_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.pause_policy(text, bigint) IS
'Lets a review policy rest: what is done meanwhile does not count. What it had decided is still carried out.
policy_id: from create_policy. Errors: unknown_policy (TX117).';
CREATE FUNCTION _taskex.pause_policy(requester bigint, policy_id bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.set_policy_state(requester, policy_id, 'paused');
END $$;
COMMENT ON FUNCTION _taskex.pause_policy(bigint, bigint) IS 'Body of taskex.pause_policy.';

CREATE FUNCTION taskex.resume_policy(requester text, policy_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.resume_policy(text, bigint) IS
'Lets a review policy work again. policy_id: from create_policy. Errors: unknown_policy (TX117).';
CREATE FUNCTION _taskex.resume_policy(requester bigint, policy_id bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.set_policy_state(requester, policy_id, 'active');
END $$;
COMMENT ON FUNCTION _taskex.resume_policy(bigint, bigint) IS 'Body of taskex.resume_policy.';

CREATE FUNCTION taskex.delete_policy(requester text, policy_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.delete_policy(text, bigint) IS
'Ends a review policy. It stays on record, with what it did. policy_id: from create_policy. Errors: unknown_policy (TX117).';
CREATE FUNCTION _taskex.delete_policy(requester bigint, policy_id bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.set_policy_state(requester, policy_id, 'deleted');
END $$;
COMMENT ON FUNCTION _taskex.delete_policy(bigint, bigint) IS 'Body of taskex.delete_policy.';

-- evaluating ----------------------------------------------------------------

CREATE TYPE _taskex.policy_fact AS (
    policy_id bigint,
    seq bigint,
    performer_id bigint,
    task_id bigint,
    assignment_id bigint,
    at timestamptz,
    value numeric,
    reset boolean
);
COMMENT ON TYPE _taskex.policy_fact IS 'One thing that counts for a review policy; reset: a run ends here.';

CREATE FUNCTION _taskex.seconds_taken(performer bigint, assignment_id bigint)
    RETURNS numeric LANGUAGE plpgsql STABLE AS $$
DECLARE
    seconds numeric;
BEGIN
    EXECUTE format('SELECT extract(epoch FROM finished_at - accepted_at) FROM _taskex.assignment_%s WHERE assignment_id = $1',
        _taskex.home(performer)) INTO seconds USING assignment_id;
    RETURN seconds;
END $$;
COMMENT ON FUNCTION _taskex.seconds_taken(bigint, bigint) IS 'How long a performer took for an assignment.';

-- Plans: what comes out of arrays is joined by hashing, for the planner cannot
-- know how much that is (fold_policies sets enable_nestloop); rows of tables are
-- looked up one by one in LATERAL subqueries with a LIMIT.
CREATE FUNCTION _taskex.plain_facts(acts _taskex.journal_act[], policies _taskex.review_policy[])
    RETURNS _taskex.policy_fact[] LANGUAGE sql STABLE AS $$
    SELECT array_agg(ROW(f.*)::_taskex.policy_fact) FROM (
        SELECT p.policy_id, b.id, b.performer_id, b.task_id, b.assignment_id, b.at,
            CASE p.kind
                WHEN 'minimum_time' THEN (_taskex.seconds_taken(b.performer_id, b.assignment_id) < (p.parameters ->> 'seconds')::numeric)::int
                WHEN 'skips_in_a_row' THEN (b.kind <> 'submitted')::int
                WHEN 'rejected_share' THEN CASE b.kind WHEN 'rejected' THEN 100 ELSE 0 END
                WHEN 'income_cap' THEN (SELECT _taskex.amount(y.reward) FROM _taskex.task_type y WHERE y.task_type_id = b.task_type_id)
                ELSE 1 END::numeric AS value,
            p.kind = 'skips_in_a_row' AND b.kind = 'submitted' AS reset
        FROM unnest(acts) b JOIN unnest(policies) p ON p.requester_id = b.requester_id
            AND (p.task_type_id IS NULL OR p.task_type_id = b.task_type_id)
        WHERE CASE b.kind
            WHEN 'submitted' THEN p.kind IN ('minimum_time', 'skips_in_a_row', 'income_cap', 'submitted_count')
            WHEN 'returned' THEN p.kind = 'skips_in_a_row'
            WHEN 'abandoned' THEN p.kind = 'skips_in_a_row'
            WHEN 'approved' THEN p.kind = 'rejected_share'
            WHEN 'overridden' THEN p.kind = 'rejected_share'
            WHEN 'rejected' THEN p.kind = 'rejected_share' END) f
    WHERE f.value IS NOT NULL
$$;
COMMENT ON FUNCTION _taskex.plain_facts(_taskex.journal_act[], _taskex.review_policy[]) IS
    'What counts for review policies that look at acts alone.';

CREATE FUNCTION _taskex.known_answer_facts(home int, acts _taskex.journal_act[], policies _taskex.review_policy[])
    RETURNS _taskex.policy_fact[] LANGUAGE plpgsql STABLE AS $$
DECLARE
    facts _taskex.policy_fact[];
BEGIN
    EXECUTE format($sql$
        SELECT array_agg(ROW(p.policy_id, b.id, b.performer_id, b.task_id, b.assignment_id, b.at,
            _taskex.answer_score(r.result, t.known_answer, t.match), false)::_taskex.policy_fact)
        FROM unnest($1) b JOIN unnest($2) p ON p.requester_id = b.requester_id AND p.kind = 'known_answer'
                AND (p.task_type_id IS NULL OR p.task_type_id = b.task_type_id)
            CROSS JOIN LATERAL (SELECT t.known_answer, t.match FROM _taskex.task_%1$s t WHERE t.task_id = b.task_id LIMIT 1) t
            CROSS JOIN LATERAL (SELECT r.result FROM _taskex.result_%1$s r WHERE r.assignment_id = b.assignment_id LIMIT 1) r
        WHERE b.kind = 'submitted' AND t.known_answer IS NOT NULL
        $sql$, home) INTO facts USING acts, policies;
    RETURN facts;
END $$;
COMMENT ON FUNCTION _taskex.known_answer_facts(int, _taskex.journal_act[], _taskex.review_policy[]) IS
    'How right the results of golden tasks are.';

-- A task counts when the last result that it will have is there, by an act of
-- the batch: of several submissions the newest. Its answer is the consensus, or the
-- one most frequent result. When agreement is so low that more performers are
-- asked, nobody is compared yet.
CREATE FUNCTION _taskex.agreement_facts(home int, acts _taskex.journal_act[], policies _taskex.review_policy[])
    RETURNS _taskex.policy_fact[] LANGUAGE plpgsql AS $$
DECLARE
    facts _taskex.policy_fact[];
BEGIN
    EXECUTE format($sql$
        WITH act AS MATERIALIZED (
            SELECT DISTINCT ON (p.policy_id, b.task_id) p.policy_id, p.requester_id, p.parameters, b.task_id, b.id, b.at, b.kind, b.assignment_id
            FROM unnest($1) b JOIN unnest($2) p ON p.requester_id = b.requester_id AND p.kind = 'agreement'
                AND (p.task_type_id IS NULL OR p.task_type_id = b.task_type_id)
            WHERE b.kind IN ('submitted', 'returned', 'abandoned', 'expired', 'cancelled', 'decided')
            ORDER BY p.policy_id, b.task_id, b.kind = 'submitted', b.id DESC
        ), complete AS MATERIALIZED (
            SELECT a.*, t.performers, t.state, r.newest, coalesce(t.answer, v.answer) AS answer, v.most
            FROM act a
                CROSS JOIN LATERAL (SELECT * FROM _taskex.task_%1$s t WHERE t.task_id = a.task_id LIMIT 1) t
                CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE r.state = 'submitted') AS waiting,
                        (array_agg(r.assignment_id ORDER BY r.submitted_at DESC, r.assignment_id DESC))[1] AS newest
                    FROM _taskex.result_%1$s r WHERE r.task_id = a.task_id) r
                CROSS JOIN LATERAL (SELECT max(v.share) AS most, (array_agg(v.result) FILTER (WHERE v.place = 1 AND v.ties = 1))[1] AS answer
                    FROM (SELECT w.result, w.n * 100.0 / sum(w.n) OVER () AS share, rank() OVER (ORDER BY w.n DESC) AS place,
                            count(*) OVER (PARTITION BY w.n) AS ties
                        FROM (SELECT r.result, count(*) AS n FROM _taskex.result_%1$s r
                            WHERE r.task_id = a.task_id AND r.state <> 'rejected' GROUP BY r.result) w) v) v
            WHERE t.task_type_id > 0 AND r.newest IS NOT NULL AND t.live - t.judged = r.waiting
                AND (t.state <> 'open' OR t.live = t.performers)
                AND (a.kind <> 'submitted' OR a.assignment_id = r.newest)
        ), vote AS MATERIALIZED (
            SELECT c.policy_id, c.task_id, r.performer_id, r.assignment_id,
                _taskex.answer_score(r.result, c.answer, jsonb_build_object('tolerance', coalesce(c.parameters -> 'tolerance', '0'))) AS score
            FROM complete c CROSS JOIN LATERAL (SELECT * FROM _taskex.result_%1$s r
                WHERE r.task_id = c.task_id AND r.state <> 'rejected' OFFSET 0) r
        ), mean AS (
            SELECT policy_id, task_id, avg(score) AS measure FROM vote GROUP BY 1, 2
        ), share AS MATERIALIZED (
            SELECT c.*, trim_scale(round(CASE WHEN c.answer IS NULL THEN c.most ELSE m.measure END, 4)) AS measure
            FROM complete c LEFT JOIN mean m USING (policy_id, task_id) WHERE c.most IS NOT NULL
        ), added AS (
            INSERT INTO _taskex.policy_result_%1$s (partition_id, policy_id, subject, task_id, requester_id, scored_at, score)
            SELECT %1$s, policy_id, -newest, task_id, requester_id, _taskex.now(), measure FROM share
            ON CONFLICT DO NOTHING RETURNING policy_id, task_id
        ), passed AS MATERIALIZED (
            SELECT s.policy_id, s.requester_id, s.task_id, s.id, s.measure, h.threshold -> 'action' AS action
            FROM share s JOIN added USING (policy_id, task_id)
                CROSS JOIN LATERAL jsonb_array_elements(s.parameters -> 'thresholds') h (threshold)
            WHERE h.threshold ->> 'of' = 'task'
                AND coalesce(s.measure >= (h.threshold ->> 'at_least')::numeric, true)
                AND coalesce(s.measure < (h.threshold ->> 'less_than')::numeric, true)
                AND (h.threshold #>> '{action,do}' <> 'extend' OR (s.state IN ('open', 'complete', 'decided')
                    AND s.performers < (h.threshold #>> '{action,max_performers}')::int))
        ), acted AS (
            INSERT INTO _taskex.policy_action_%1$s (partition_id, action_id, policy_id, requester_id, task_id, created_at, measure, action)
            SELECT %1$s, nextval('_taskex.policy_action_id_seq'), policy_id, requester_id, task_id, _taskex.now(), measure, action
            FROM (SELECT * FROM passed ORDER BY id, policy_id, task_id) o RETURNING action_id
        ), queued AS (
            INSERT INTO _taskex.policy_pending (action_id, partition_id) SELECT action_id, %1$s FROM acted
        )
        SELECT array_agg(ROW(v.policy_id, s.id, v.performer_id, v.task_id, v.assignment_id, s.at, v.score, false)::_taskex.policy_fact)
        FROM vote v JOIN share s USING (policy_id, task_id)
            LEFT JOIN (SELECT DISTINCT policy_id, task_id FROM passed WHERE action ->> 'do' = 'extend') x USING (policy_id, task_id)
        WHERE s.answer IS NOT NULL AND x.task_id IS NULL
        $sql$, home) INTO facts USING acts, policies;
    RETURN facts;
END $$;
COMMENT ON FUNCTION _taskex.agreement_facts(int, _taskex.journal_act[], _taskex.review_policy[]) IS
    'How far results agree with the answers of their tasks; queues what policies do with tasks as a whole.';

-- One statement: what each fact makes of its performer's tally, which thresholds
-- that passes, what is to be done, and the new tallies.
CREATE FUNCTION _taskex.count_facts(home int, facts _taskex.policy_fact[], policies _taskex.review_policy[])
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    tallies _taskex.policy_tally[];
BEGIN
    EXECUTE format($sql$
        WITH offered AS MATERIALIZED (
            SELECT f.*, p.requester_id, p.kind, p.version, p.parameters, p.kind IN ('known_answer', 'agreement') AS scored
            FROM unnest($1) f JOIN unnest($2) p USING (policy_id)
        ), added AS (
            INSERT INTO _taskex.policy_result_%1$s (partition_id, policy_id, subject, task_id, requester_id, performer_id, scored_at, score)
            SELECT %1$s, policy_id, assignment_id, task_id, requester_id, performer_id, _taskex.now(), trim_scale(round(value, 4))
            FROM offered WHERE scored
            ON CONFLICT DO NOTHING RETURNING policy_id, subject
        ), fact AS MATERIALIZED (
            SELECT f.*, (f.parameters ->> 'history_size')::int AS size, date_trunc(f.parameters ->> 'period', f.at, 'UTC') AS period,
                row_number() OVER (PARTITION BY f.policy_id, f.performer_id ORDER BY f.seq, f.assignment_id) AS n
            FROM offered f LEFT JOIN added a ON a.policy_id = f.policy_id AND a.subject = f.assignment_id
            WHERE NOT f.scored OR a.subject IS NOT NULL
        ), old AS MATERIALIZED (
            SELECT t.policy_id, t.performer_id, t.turn, t.period, t.amount, t.measure, t.history, k.size,
                CASE WHEN t.version = k.version THEN t.fired ELSE '{}' END AS fired
            FROM (SELECT DISTINCT policy_id, performer_id, version, size FROM fact) k
                CROSS JOIN LATERAL (SELECT * FROM _taskex.policy_tally_%1$s t
                    WHERE t.policy_id = k.policy_id AND t.performer_id = k.performer_id ORDER BY t.turn LIMIT 1) t

        -- the last values, with the old ones before them
        ), value AS MATERIALIZED (
            SELECT policy_id, performer_id, n, size, value FROM fact WHERE size IS NOT NULL
            UNION ALL SELECT o.policy_id, o.performer_id, h.n - cardinality(o.history), o.size, h.value
            FROM old o CROSS JOIN LATERAL unnest(o.history) WITH ORDINALITY h (value, n)
        ), summed AS (
            SELECT *, sum(value) OVER w AS total, row_number() OVER w AS place FROM value
            WINDOW w AS (PARTITION BY policy_id, performer_id ORDER BY n)
        ), recent AS (
            SELECT policy_id, performer_id, n, least(place, size) AS answers, total - coalesce(lag(total, size) OVER w, 0) AS total
            FROM summed WINDOW w AS (PARTITION BY policy_id, performer_id ORDER BY n)

        -- sums within a period or run
        ), run AS (
            SELECT f.*, count(*) FILTER (WHERE f.reset) OVER w AS run, greatest(max(f.period) OVER w, o.period) AS since,
                o.period AS old_since, o.amount
            FROM fact f LEFT JOIN old o USING (policy_id, performer_id) WHERE f.size IS NULL
            WINDOW w AS (PARTITION BY f.policy_id, f.performer_id ORDER BY f.n)

        ), measured AS MATERIALIZED (
            SELECT f.policy_id, f.performer_id, f.n, f.task_id, f.assignment_id, f.requester_id, f.version, f.parameters, f.value,
                NULL::timestamptz AS since, r.answers,
                CASE WHEN f.kind = 'minimum_time' THEN r.total ELSE trim_scale(round(r.total / r.answers, 4)) END AS measure
            FROM fact f JOIN recent r USING (policy_id, performer_id, n)
            UNION ALL SELECT policy_id, performer_id, n, task_id, assignment_id, requester_id, version, parameters, value, since, NULL,
                sum(value) OVER (PARTITION BY policy_id, performer_id, run, since ORDER BY n)
                    + CASE WHEN run = 0 AND since IS NOT DISTINCT FROM old_since THEN coalesce(amount, 0) ELSE 0 END
            FROM run
        ), last AS MATERIALIZED (
            SELECT DISTINCT ON (policy_id, performer_id) policy_id, performer_id, requester_id, n, version, since, measure
            FROM measured ORDER BY policy_id, performer_id, n DESC
        ), tested AS MATERIALIZED (
            SELECT m.*, h.i::int AS i, h.threshold -> 'action' AS action, h.threshold ->> 'of' = 'assignment' AS single,
                coalesce(m.answers >= (h.threshold ->> 'min_answers')::int, true)
                AND coalesce(s.measure >= (h.threshold ->> 'at_least')::numeric, true)
                AND coalesce(s.measure < (h.threshold ->> 'less_than')::numeric, true) AS passed
            FROM measured m CROSS JOIN LATERAL jsonb_array_elements(m.parameters -> 'thresholds') WITH ORDINALITY h (threshold, i)
                CROSS JOIN LATERAL (SELECT CASE h.threshold ->> 'of' WHEN 'assignment' THEN m.value ELSE m.measure END AS measure) s
            WHERE h.threshold ->> 'of' IS DISTINCT FROM 'task'

        -- was it passed before?
        ), turned AS (
            SELECT t.*, CASE WHEN t.n = 1 THEN coalesce(t.i = ANY (o.fired) AND o.period IS NOT DISTINCT FROM t.since, false)
                    ELSE lag(t.passed) OVER w AND lag(t.since) OVER w IS NOT DISTINCT FROM t.since END AS was,
                CASE WHEN t.n = 1 THEN o.measure ELSE lag(t.measure) OVER w END AS old_measure
            FROM tested t LEFT JOIN old o USING (policy_id, performer_id)
            WINDOW w AS (PARTITION BY t.policy_id, t.performer_id, t.i ORDER BY t.n)
        ), acted AS (
            INSERT INTO _taskex.policy_action_%1$s (partition_id, action_id, policy_id, requester_id, performer_id, task_id, assignment_id,
                created_at, measure, action)
            SELECT %1$s, nextval('_taskex.policy_action_id_seq'), policy_id, requester_id, performer_id, task_id, assignment_id, _taskex.now(),
                CASE WHEN single THEN trim_scale(round(value, 4)) ELSE measure END,
                CASE WHEN action ->> 'do' = 'suspend' AND since IS NOT NULL AND NOT action ? 'for'
                    THEN action || jsonb_build_object('until',
                        (since AT TIME ZONE 'UTC' + ('1 ' || (parameters ->> 'period'))::interval) AT TIME ZONE 'UTC')
                    ELSE action END
            FROM (SELECT * FROM turned WHERE passed AND CASE
                    WHEN single OR action ->> 'do' IN ('approve', 'reject', 'extend') THEN true
                    WHEN action ->> 'do' = 'grant' AND NOT action ? 'score' THEN NOT was OR round(measure) IS DISTINCT FROM round(old_measure)
                    ELSE NOT was END
                ORDER BY n, policy_id, performer_id, i) o RETURNING action_id
        ), queued AS (
            INSERT INTO _taskex.policy_pending (action_id, partition_id) SELECT action_id, %1$s FROM acted

        ), kept AS (
            SELECT v.policy_id, v.performer_id, array_agg(v.value ORDER BY v.n) AS history
            FROM value v JOIN last l USING (policy_id, performer_id) WHERE v.n > l.n - v.size GROUP BY 1, 2
        ), fired AS (
            SELECT x.policy_id, x.performer_id, array_agg(x.i ORDER BY x.i) AS numbers
            FROM tested x JOIN last l USING (policy_id, performer_id, n) WHERE x.passed GROUP BY 1, 2
        )
        SELECT array_agg(ROW(%1$s, l.version, l.policy_id, l.performer_id, l.requester_id, o.turn, l.n, l.since, l.measure, l.measure,
            k.history, coalesce(f.numbers, '{}'))::_taskex.policy_tally)
        FROM last l LEFT JOIN old o USING (policy_id, performer_id)
            LEFT JOIN kept k USING (policy_id, performer_id) LEFT JOIN fired f USING (policy_id, performer_id)
        $sql$, home) INTO tallies USING facts, policies;
    PERFORM _taskex.store_tallies(home, tallies);
END $$;
COMMENT ON FUNCTION _taskex.count_facts(int, _taskex.policy_fact[], _taskex.review_policy[]) IS
    'Brings tallies up to date and queues what passed thresholds demand.';

-- Here the nested loop along the index is right, if the planner only knew.
CREATE FUNCTION _taskex.store_tallies(home int, tallies _taskex.policy_tally[])
    RETURNS void LANGUAGE plpgsql SET enable_nestloop = on SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    EXECUTE format($sql$
        MERGE INTO _taskex.policy_tally_%s t USING unnest($1) n
            ON t.policy_id = n.policy_id AND t.performer_id = n.performer_id AND t.turn = n.turn
        WHEN MATCHED THEN UPDATE SET turn = t.turn - 1, version = n.version, counted = t.counted + n.counted, period = n.period,
            amount = n.amount, measure = n.measure, history = n.history, fired = n.fired
        WHEN NOT MATCHED THEN INSERT VALUES (n.partition_id, n.version, n.policy_id, n.performer_id, n.requester_id, 0, n.counted, n.period,
            n.amount, n.measure, n.history, n.fired)
        $sql$, home) USING tallies;
END $$;
COMMENT ON FUNCTION _taskex.store_tallies(int, _taskex.policy_tally[]) IS
    'Stores tallies: new ones where turn is NULL, else in place of those of that turn, with their counts added.';

CREATE FUNCTION _taskex.fold_policies(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_nestloop = off SET jit = off AS $$
DECLARE
    home int;
    acts _taskex.journal_act[];
    policies _taskex.review_policy[];
    facts _taskex.policy_fact[];
BEGIN
    FOR home, acts, policies IN
        WITH relevant AS MATERIALIZED (
            SELECT b FROM unnest(batch) b WHERE b.kind IN ('submitted', 'returned', 'abandoned', 'approved', 'rejected', 'overridden',
                'expired', 'cancelled', 'decided')
        ), requester AS MATERIALIZED (
            SELECT r.requester_id, d.partition_id, p.policies
            FROM (SELECT DISTINCT (b).requester_id FROM relevant) r
                CROSS JOIN LATERAL (SELECT array_agg(p) AS policies FROM _taskex.review_policy p
                    WHERE p.requester_id = r.requester_id AND p.state = 'active') p
                CROSS JOIN LATERAL (SELECT _taskex.home(d.user_id) AS partition_id FROM _taskex.directory d WHERE d.user_id = r.requester_id LIMIT 1) d
            WHERE p.policies IS NOT NULL
        )
        SELECT a.partition_id, a.acts, q.policies
        FROM (SELECT r.partition_id, array_agg(v.b ORDER BY (v.b).id) AS acts
                FROM relevant v JOIN requester r ON r.requester_id = (v.b).requester_id GROUP BY 1) a
            JOIN (SELECT r.partition_id, array_agg(p) AS policies FROM requester r, unnest(r.policies) p GROUP BY 1) q USING (partition_id)
        ORDER BY 1
    LOOP
        facts := _taskex.plain_facts(acts, policies) || _taskex.known_answer_facts(home, acts, policies)
            || _taskex.agreement_facts(home, acts, policies);
        IF cardinality(facts) > 0 THEN
            PERFORM _taskex.count_facts(home, facts, policies);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.fold_policies(_taskex.journal_act[]) IS
    'Evaluates review policies on what has happened. Called by the dispatch of the journal.';

INSERT INTO _taskex.journal_consumer VALUES (60, 'fold_policies');

-- carrying out --------------------------------------------------------------

INSERT INTO _taskex.event_kind VALUES
    ('policy_acted', 470, true, false, true, 'a review policy has done something, or failed to', NULL, 'policy, action, state, error');

CREATE FUNCTION _taskex.judge_for_policy(a _taskex.policy_action) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
    judged boolean := false;
    verdict text := CASE a.action ->> 'do' WHEN 'approve' THEN 'approved' ELSE 'rejected' END;
    feedback text := format('%s [review policy %s]', coalesce(a.action ->> 'feedback', a.action ->> 'reason', verdict), a.policy_id);
BEGIN
    IF a.assignment_id IS NOT NULL THEN
        RETURN _taskex.judge(a.requester_id, a.assignment_id, verdict, feedback, coalesce((a.action ->> 'reopen')::boolean, false), a.policy_id);
    END IF;
    FOR id IN EXECUTE format('SELECT assignment_id FROM _taskex.result_%s WHERE task_id = $1 AND state = ''submitted'''
            ' ORDER BY assignment_id', a.partition_id) USING a.task_id LOOP
        judged := _taskex.judge(a.requester_id, id, verdict, feedback, false, a.policy_id) OR judged;
    END LOOP;
    RETURN judged;
END $$;
COMMENT ON FUNCTION _taskex.judge_for_policy(_taskex.policy_action) IS
    'Approves or rejects an assignment, or approves all of a task; false: there is nothing to judge (any more).';

CREATE FUNCTION _taskex.extend_for_policy(a _taskex.policy_action) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    t record;
    more int;
BEGIN
    EXECUTE format('SELECT state, performers FROM _taskex.task_%s WHERE task_id = $1', a.partition_id) INTO t USING a.task_id;
    more := least(coalesce((a.action ->> 'performers')::int, 1), (a.action ->> 'max_performers')::int - t.performers);
    IF t.state IN ('open', 'complete', 'decided') AND more > 0 THEN
        PERFORM taskex.add_performers(_taskex.login(a.requester_id), a.task_id, more);
        RETURN true;
    END IF;
    RETURN false;
END $$;
COMMENT ON FUNCTION _taskex.extend_for_policy(_taskex.policy_action) IS
    'Asks more performers, up to the most that the policy allows; false: nobody more.';

CREATE FUNCTION _taskex.suspend_for_policy(a _taskex.policy_action) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz := _taskex.now();
    until timestamptz := coalesce((a.action ->> 'until')::timestamptz, now + (a.action ->> 'for')::interval);
BEGIN
    -- what the requester has decided himself is not shortened, even if he does so at this moment
    RETURN coalesce(until > now, true) AND _taskex.block(a.requester_id, a.performer_id,
        format('%s [review policy %s]', coalesce(a.action ->> 'reason', 'suspended'), a.policy_id), until, longer => true);
END $$;
COMMENT ON FUNCTION _taskex.suspend_for_policy(_taskex.policy_action) IS
    'Blocks a performer for a time; false: he is blocked for longer, or the time is over.';

CREATE FUNCTION _taskex.notify_for_policy(a _taskex.policy_action) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF a.action ->> 'to' = 'performer' AND a.performer_id IS NOT NULL THEN
        PERFORM _taskex.send_message(a.performer_id, a.requester_id, a.action ->> 'subject', a.action ->> 'message');
    ELSE
        PERFORM _taskex.send_message(a.requester_id, 0, a.action ->> 'subject',
            concat_ws(E'\n', a.action ->> 'message', format('[review policy %s]', a.policy_id),
                'performer: ' || _taskex.login(a.performer_id), 'task: ' || a.task_id, 'assignment: ' || a.assignment_id,
                'measured: ' || trim_scale(a.measure)));
    END IF;
    PERFORM _taskex.journal('message', a.requester_id, CASE WHEN a.action ->> 'to' = 'performer' THEN a.performer_id END,
        NULL, NULL, NULL, NULL, jsonb_build_object('subject', a.action ->> 'subject', 'text', a.action ->> 'message', 'policy', a.policy_id));
    RETURN true;
END $$;
COMMENT ON FUNCTION _taskex.notify_for_policy(_taskex.policy_action) IS 'Sends a policy''s message.';

CREATE FUNCTION _taskex.do_for_policy(a _taskex.policy_action) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    CASE a.action ->> 'do'
        WHEN 'approve', 'reject' THEN RETURN _taskex.judge_for_policy(a);
        WHEN 'extend' THEN RETURN _taskex.extend_for_policy(a);
        WHEN 'suspend' THEN RETURN _taskex.suspend_for_policy(a);
        WHEN 'notify' THEN RETURN _taskex.notify_for_policy(a);
        WHEN 'grant' THEN
            PERFORM _taskex.grant_qualification(a.requester_id, (a.action ->> 'qualification')::bigint, _taskex.login(a.performer_id),
                coalesce((a.action ->> 'score')::int, round(a.measure)::int), true);
            RETURN true;
        WHEN 'revoke' THEN
            RETURN _taskex.revoke_qualification(a.requester_id, (a.action ->> 'qualification')::bigint, _taskex.login(a.performer_id),
                format('%s [review policy %s]', coalesce(a.action ->> 'reason', 'revoked'), a.policy_id));
    END CASE;
END $$;
COMMENT ON FUNCTION _taskex.do_for_policy(_taskex.policy_action) IS
    'Does what an action says; false: there was nothing to do.';

-- Exactly once: the row's lock keeps a second executor out, and its state changes
-- together with what is done.
CREATE FUNCTION _taskex.carry_out(home int, action bigint) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    requester bigint;
    a _taskex.policy_action;
    outcome text;
    problem text;
    waiting boolean;
BEGIN
    -- while a dump is restored its tables come one by one
    IF to_regclass(format('_taskex.policy_action_%s', home)) IS NULL THEN
        RETURN 'busy';
    END IF;
    -- the requester may have been moved since the action was queued
    EXECUTE format('SELECT requester_id FROM _taskex.policy_action_%s WHERE action_id = $1', home) INTO requester USING action;
    IF requester IS NULL THEN
        SELECT p.requester_id INTO requester FROM _taskex.policy_action p WHERE p.action_id = carry_out.action LIMIT 1;
    END IF;
    IF requester IS NOT NULL THEN
        home := _taskex.home(requester);
    END IF;
    EXECUTE format('SELECT * FROM _taskex.policy_action_%s WHERE action_id = $1 AND state = ''pending'''
        ' FOR NO KEY UPDATE SKIP LOCKED', home) INTO a USING action;
    IF a.action_id IS NULL THEN
        EXECUTE format('SELECT state = ''pending'' FROM _taskex.policy_action_%s WHERE action_id = $1', home) INTO waiting USING action;
        RETURN CASE WHEN waiting IS FALSE THEN 'gone' ELSE 'busy' END;
    END IF;
    BEGIN
        outcome := CASE WHEN _taskex.do_for_policy(a) THEN 'done' ELSE 'void' END;
    EXCEPTION
        WHEN query_canceled THEN
            RAISE;          -- else the next line has it
        WHEN lock_not_available THEN
            RETURN 'busy';  -- somebody else's, not the action's fault: later
        WHEN insufficient_resources OR operator_intervention OR system_error OR transaction_rollback THEN
            -- perhaps not its fault either: tried for about a quarter of an hour, every ten seconds
            problem := SQLSTATE || ' ' || SQLERRM;
            IF a.tries < 99 THEN
                EXECUTE format('UPDATE _taskex.policy_action_%s SET tries = tries + 1, error = $2 WHERE action_id = $1', home)
                    USING action, problem;
                RETURN 'busy';
            END IF;
            outcome := 'failed';
        WHEN OTHERS THEN
            outcome := 'failed';
            problem := SQLSTATE || ' ' || SQLERRM;
    END;
    EXECUTE format('UPDATE _taskex.policy_action_%s SET state = $2, error = $3, finished_at = $4 WHERE action_id = $1', home)
        USING action, outcome, problem, _taskex.now();
    PERFORM _taskex.journal('policy_acted', a.requester_id, a.performer_id, NULL, a.task_id, a.assignment_id, NULL,
        jsonb_strip_nulls(jsonb_build_object('policy', a.policy_id, 'action', a.action ->> 'do', 'state', outcome, 'error', problem)));
    RETURN outcome;
END $$;
COMMENT ON FUNCTION _taskex.carry_out(int, bigint) IS
'Does an action of a review policy that is pending, in the caller''s transaction. home: where its requester lived when it was queued. Result: done; void (there was nothing to
do); failed (for good; the error is on record); busy (something is locked, or missing: later; what the server lacks, and deadlocks, are tried 100 times); gone (it is done already).';

-- views ---------------------------------------------------------------------

CREATE VIEW taskex.policies WITH (security_barrier) AS
    SELECT p.policy_id, d.login AS requester, p.kind, p.task_type_id, p.parameters, p.state, p.created_at, p.changed_at
    FROM _taskex.review_policy p JOIN _taskex.directory d ON d.user_id = p.requester_id
    WHERE _taskex.visible(p.requester_id) AND _taskex.narrow(NULL, p.requester_id, d.login, NULL);
COMMENT ON VIEW taskex.policies IS
    'Review policies of the requesters for whom the caller may act. state: active, paused, deleted.';

CREATE VIEW taskex.policy_results WITH (security_barrier) AS
    SELECT r.policy_id, k.kind, q.login AS requester, r.task_id, CASE WHEN r.subject > 0 THEN r.subject END AS assignment_id,
        p.login AS performer, r.score, r.scored_at
    FROM _taskex.policy_result r
        JOIN _taskex.review_policy k ON k.policy_id = r.policy_id
        JOIN _taskex.directory q ON q.partition_id = r.partition_id AND q.user_id = r.requester_id
        LEFT JOIN _taskex.directory p ON p.user_id = r.performer_id
    WHERE _taskex.visible(q.user_id) AND _taskex.visible(r.requester_id)
        AND _taskex.narrow(r.partition_id, r.requester_id, q.login, r.task_id);
COMMENT ON VIEW taskex.policy_results IS
'Scores (percent) that review policies gave to assignments and, where assignment_id is NULL, to tasks as a whole,
of the requesters for whom the caller may act.';

CREATE VIEW taskex.policy_actions WITH (security_barrier) AS
    SELECT a.action_id, a.policy_id, k.kind, q.login AS requester, a.action ->> 'do' AS act, a.task_id, a.assignment_id,
        p.login AS performer, a.measure, a.action, a.state, a.error, a.created_at, a.finished_at
    FROM _taskex.policy_action a
        JOIN _taskex.review_policy k ON k.policy_id = a.policy_id
        JOIN _taskex.directory q ON q.partition_id = a.partition_id AND q.user_id = a.requester_id
        LEFT JOIN _taskex.directory p ON p.user_id = a.performer_id
    WHERE _taskex.visible(q.user_id) AND _taskex.visible(a.requester_id)
        AND _taskex.narrow(a.partition_id, a.requester_id, q.login, a.task_id);
COMMENT ON VIEW taskex.policy_actions IS
'What review policies have done, of the requesters for whom the caller may act. measure: what passed the threshold.
state: pending (error: what the server lacked when it was tried last), done, void (there was nothing to do), failed (error says why).';

CREATE VIEW taskex.policy_tallies WITH (security_barrier) AS
    SELECT t.policy_id, k.kind, q.login AS requester, p.login AS performer, t.counted, t.measure, t.period
    FROM _taskex.policy_tally t
        JOIN _taskex.review_policy k ON k.policy_id = t.policy_id
        JOIN _taskex.directory q ON q.partition_id = t.partition_id AND q.user_id = k.requester_id
        JOIN _taskex.directory p ON p.user_id = t.performer_id
    WHERE _taskex.visible(k.requester_id) AND _taskex.narrow(t.partition_id, k.requester_id, q.login, NULL);
COMMENT ON VIEW taskex.policy_tallies IS
'What review policies measure of each performer now (percent, number or amount, as the kind says), of the requesters for
whom the caller may act. period: when the present one began.';
