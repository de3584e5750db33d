-- policy.sql: review policies: rules of a requester's that judge work and
-- performers by themselves: their parameters, and how they are kept. docs/quality.md
-- shows how to use them; policy_work.sql carries them out.

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
    PERFORM _taskex.require_task_type(task_type);
    IF (SELECT count(*) FROM _taskex.review_policy p
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
