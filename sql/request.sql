-- request.sql: tests of qualifications, and requests. Pairs with src/qualification.

CREATE SEQUENCE _taskex.qualification_request_id_seq;

CREATE TABLE _taskex.qualification_request (
    partition_id int NOT NULL,
    score int,
    request_id bigint NOT NULL,
    performer_id bigint NOT NULL,
    qualification_type_id bigint NOT NULL,
    started_at timestamptz NOT NULL,
    answer_until timestamptz,
    requested_at timestamptz,
    decided_at timestamptz,
    state text NOT NULL,
    reason text,
    answers jsonb
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.qualification_request IS
    'Requests of qualifications, on the performers'' partitions; state: started (a test), pending, granted, rejected, expired.';
-- one that is not decided keeps others away
INSERT INTO _taskex.child_table VALUES ('qualification_request', 220, 80, ARRAY['PRIMARY KEY (request_id)'],
    ARRAY['(performer_id, qualification_type_id, request_id)', '(qualification_type_id, request_id)',
        'UNIQUE (performer_id, qualification_type_id) WHERE state IN (''started'', ''pending'')'], 'performer_id', NULL, 'request');

SELECT pg_catalog.pg_extension_config_dump('_taskex.qualification_request_id_seq', '');

-- tests -------------------------------------------------------------------------

CREATE FUNCTION _taskex.check_test(test jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    question jsonb;
    seen text[] := '{}';
BEGIN
    PERFORM _taskex.check_size(test, 'test');
    IF jsonb_typeof(test) <> 'object' OR jsonb_typeof(test -> 'questions') IS DISTINCT FROM 'array'
            OR jsonb_array_length(test -> 'questions') NOT BETWEEN 1 AND 1000 THEN
        PERFORM _taskex.bad_value('test must be a JSON object with "questions", an array of 1 to 1000');
    END IF;
    FOR question IN SELECT * FROM jsonb_array_elements(test -> 'questions') LOOP
        IF jsonb_typeof(question) <> 'object' OR jsonb_typeof(question -> 'id') IS DISTINCT FROM 'string'
                OR octet_length(question ->> 'id') NOT BETWEEN 1 AND 100 THEN
            PERFORM _taskex.bad_value('each question of test must be a JSON object with an "id" of 1 to 100 bytes');
        ELSIF question ->> 'id' = ANY (seen) THEN
            PERFORM _taskex.bad_value(format('test has two questions with the id "%s"', question ->> 'id'));
        END IF;
        seen := seen || (question ->> 'id');
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.check_test(jsonb) IS 'Checks a test: {"questions": [{"id": ...}, ...]}; what else is in it is free.';

CREATE FUNCTION _taskex.check_answer_key(key jsonb, test jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    part jsonb;
    choice jsonb;
    seen text[] := '{}';
    questions text[] := ARRAY(SELECT q ->> 'id' FROM jsonb_array_elements(test -> 'questions') q);
BEGIN
    IF test IS NULL THEN
        PERFORM _taskex.bad_value('an answer_key needs a test');
    END IF;
    PERFORM _taskex.check_size(key, 'answer_key');
    PERFORM _taskex.check_keys(key, 'answer_key', ARRAY['questions', 'percent_of', 'ranges']);
    IF jsonb_typeof(key -> 'questions') IS DISTINCT FROM 'array' OR jsonb_array_length(key -> 'questions') = 0 THEN
        PERFORM _taskex.bad_value('answer_key must have "questions", an array that is not empty');
    END IF;
    FOR part IN SELECT * FROM jsonb_array_elements(key -> 'questions') LOOP
        PERFORM _taskex.check_keys(part, 'a question of answer_key', ARRAY['id', 'options', 'default']);
        IF jsonb_typeof(part -> 'id') IS DISTINCT FROM 'string' OR (part ->> 'id') <> ALL (questions) THEN
            PERFORM _taskex.bad_value('each question of answer_key must have the "id" of a question of test');
        ELSIF part ->> 'id' = ANY (seen) THEN
            PERFORM _taskex.bad_value(format('answer_key has two questions with the id "%s"', part ->> 'id'));
        ELSIF jsonb_typeof(part -> 'options') IS DISTINCT FROM 'array' THEN
            PERFORM _taskex.bad_value(format('question "%s" of answer_key must have "options", an array', part ->> 'id'));
        END IF;
        seen := seen || (part ->> 'id');
        IF part ? 'default' THEN
            PERFORM _taskex.json_int(part -> 'default', 'a "default" of answer_key');
        END IF;
        FOR choice IN SELECT * FROM jsonb_array_elements(part -> 'options') LOOP
            PERFORM _taskex.check_keys(choice, 'an option of answer_key', ARRAY['answer', 'score']);
            IF NOT choice ? 'answer' THEN
                PERFORM _taskex.bad_value('each option of answer_key must have an "answer"');
            END IF;
            PERFORM _taskex.json_int(choice -> 'score', 'a "score" of answer_key');
        END LOOP;
    END LOOP;
    IF key ? 'percent_of' AND _taskex.json_int(key -> 'percent_of', '"percent_of" of answer_key') < 1 THEN
        PERFORM _taskex.bad_value('"percent_of" of answer_key must be 1 or more');
    END IF;
    IF key ? 'ranges' THEN
        IF jsonb_typeof(key -> 'ranges') <> 'array' OR key ? 'percent_of' THEN
            PERFORM _taskex.bad_value('"ranges" of answer_key must be an array, and not be there together with "percent_of"');
        END IF;
        FOR part IN SELECT * FROM jsonb_array_elements(key -> 'ranges') LOOP
            PERFORM _taskex.check_keys(part, 'a range of answer_key', ARRAY['from', 'to', 'score']);
            PERFORM _taskex.json_int(part -> 'score', 'the "score" of a range of answer_key');
            IF _taskex.json_int(part -> 'from', '"from" of a range of answer_key')
                    > _taskex.json_int(part -> 'to', '"to" of a range of answer_key') THEN
                PERFORM _taskex.bad_value('"from" of a range of answer_key must not be more than its "to"');
            END IF;
        END LOOP;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_answer_key(jsonb, jsonb) IS
'Checks an answer key: {"questions": [{"id", "options": [{"answer", "score"}, ...], "default"}, ...]} and either "percent_of" or
"ranges": [{"from", "to", "score"}, ...].';

-- several answers to one question are a set
CREATE FUNCTION _taskex.as_set(answer jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(answer) = 'array'
        THEN (SELECT coalesce(jsonb_agg(DISTINCT e), '[]') FROM jsonb_array_elements(answer) e) ELSE answer END
$$;
COMMENT ON FUNCTION _taskex.as_set(jsonb) IS 'A JSON array without order and repetition; another value as it is.';

CREATE FUNCTION _taskex.test_score(key jsonb, answers jsonb) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    total bigint;
    result numeric;
BEGIN
    SELECT coalesce(sum(coalesce(
            (SELECT (o ->> 'score')::numeric FROM jsonb_array_elements(q -> 'options') WITH ORDINALITY AS u (o, n)
                WHERE _taskex.as_set(o -> 'answer') = _taskex.as_set(answers -> (q ->> 'id')) ORDER BY n LIMIT 1),
            (q ->> 'default')::numeric, 0)), 0)
        INTO total FROM jsonb_array_elements(key -> 'questions') q;
    result := total;
    IF key ? 'percent_of' THEN
        result := floor(100.0 * total / (key ->> 'percent_of')::numeric);
    ELSIF key ? 'ranges' THEN
        result := coalesce((SELECT (r ->> 'score')::numeric FROM jsonb_array_elements(key -> 'ranges') WITH ORDINALITY AS u (r, n)
            WHERE total BETWEEN (r ->> 'from')::numeric AND (r ->> 'to')::numeric ORDER BY n LIMIT 1), 0);
    END IF;
    RETURN greatest(least(result, 2147483647), -2147483648)::int;
END $$;
COMMENT ON FUNCTION _taskex.test_score(jsonb, jsonb) IS
    'What the answers to a test are worth by its key: the sum over the questions, as a percentage or by ranges if the key says so.';

-- requests --------------------------------------------------------------------

CREATE FUNCTION _taskex.refuse_request(message text, detail text = NULL, hint text = NULL)
    RETURNS void LANGUAGE sql AS $$ SELECT _taskex.fail('qualification_refused', message, detail, hint) $$;
COMMENT ON FUNCTION _taskex.refuse_request(text, text, text) IS 'Raises qualification_refused.';

-- The performer's request that runs: made if he may make one. His profile's row is
-- locked, so that he makes one at a time.
CREATE FUNCTION _taskex.open_request(home int, asker_id bigint, q _taskex.qualification_type)
    RETURNS _taskex.qualification_request LANGUAGE plpgsql AS $$
DECLARE
    r _taskex.qualification_request;
    id bigint := q.qualification_type_id;
    now timestamptz := _taskex.now();
    held boolean;
    again timestamptz;
BEGIN
    EXECUTE format('SELECT FROM _taskex.profile_%s WHERE user_id = $1 FOR NO KEY UPDATE', home) USING asker_id;
    IF q.state <> 'active' OR NOT q.requestable THEN
        PERFORM _taskex.refuse_request(format('qualification %s cannot be asked for', id),
            CASE WHEN q.state <> 'active' THEN format('It is %s.', q.state) ELSE 'Its requester grants it to whom he chooses.' END);
    END IF;
    EXECUTE format('SELECT EXISTS (SELECT FROM _taskex.qualification_%s'
            ' WHERE performer_id = $1 AND qualification_type_id = $2 AND state = ''granted'')', home)
        INTO held USING asker_id, id;
    IF held THEN
        PERFORM _taskex.refuse_request(format('the performer has qualification %s already', id));
    END IF;

    EXECUTE format('SELECT * FROM _taskex.qualification_request_%s'
            ' WHERE performer_id = $1 AND qualification_type_id = $2 ORDER BY request_id DESC LIMIT 1', home)
        INTO r USING asker_id, id;
    IF r.state = 'pending' THEN
        PERFORM _taskex.refuse_request(format('the performer has asked for qualification %s already', id),
            'The request waits for the requester''s decision.');
    ELSIF r.state = 'started' AND coalesce(r.answer_until >= now, true) THEN
        RETURN r;
    ELSIF r.request_id IS NOT NULL THEN
        again := r.started_at + q.retry_delay;
        IF again IS NULL THEN
            PERFORM _taskex.refuse_request(format('qualification %s can be asked for once', id),
                format('The performer asked for it at %s.', r.started_at));
        ELSIF again > now THEN
            PERFORM _taskex.refuse_request(format('it is too early to ask for qualification %s again', id),
                format('The performer can ask for it again at %s.', again));
        END IF;
        EXECUTE format('UPDATE _taskex.qualification_request_%s SET state = ''expired'' WHERE request_id = $1 AND state = ''started''', home)
            USING r.request_id;
    END IF;

    r := NULL;
    -- as of a task, the id tells where the row is
    r.request_id := nextval('_taskex.qualification_request_id_seq') * 1024 + home % 1024;
    r.partition_id := home;
    r.performer_id := asker_id;
    r.qualification_type_id := id;
    r.started_at := now;
    r.answer_until := now + q.test_duration;
    r.state := 'started';
    EXECUTE format('INSERT INTO _taskex.qualification_request_%s SELECT ($1).*', home) USING r;
    RETURN r;
END $$;
COMMENT ON FUNCTION _taskex.open_request(int, bigint, _taskex.qualification_type) IS
    'A performer''s attempt at a qualification: the one under way, or a new one, or the error qualification_refused.';

CREATE FUNCTION taskex.start_qualification_test(performer text, qualification bigint, OUT request_id bigint, OUT test jsonb,
        OUT answer_until timestamptz)
    RETURNS record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.start_qualification_test(text, bigint) IS
'Begins the test of a qualification that has a test_duration; from then on its time runs. Called again meanwhile it tells the same.
Result: the test, and until when request_qualification takes the answers.
Errors: unknown_qualification (TX115), qualification_refused (TX116), wrong_state (TX109) if it has no test with a duration.';

CREATE FUNCTION _taskex.start_qualification_test(asker_id bigint, qualification_id bigint, OUT request_id bigint, OUT test jsonb,
        OUT answer_until timestamptz)
    RETURNS record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    q _taskex.qualification_type := _taskex.hold_qualification(qualification_id);
    r _taskex.qualification_request;
BEGIN
    IF q.test_duration IS NULL THEN
        PERFORM _taskex.fail('wrong_state', format('qualification %s has no test that runs against time', qualification_id), NULL,
            'taskex.request_qualification() asks for it.');
    END IF;
    r := _taskex.open_request(_taskex.home(asker_id), asker_id, q);
    request_id := r.request_id;
    test := q.test;
    answer_until := r.answer_until;
END $$;
COMMENT ON FUNCTION _taskex.start_qualification_test(bigint, bigint) IS 'Body of taskex.start_qualification_test.';

CREATE FUNCTION _taskex.check_answers(q _taskex.qualification_type, answers jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF q.test IS NULL THEN
        IF answers IS NOT NULL THEN
            PERFORM _taskex.bad_value(format('qualification %s has no test to answer', q.qualification_type_id));
        END IF;
        RETURN;
    ELSIF answers IS NULL THEN
        PERFORM _taskex.bad_value(format('qualification %s has a test: answers are needed', q.qualification_type_id), NULL,
            'Give a JSON object with the answers by the questions'' ids.');
    END IF;
    PERFORM _taskex.check_size(answers, 'answers');
    PERFORM _taskex.check_keys(answers, 'answers',
        ARRAY(SELECT t ->> 'id' FROM jsonb_array_elements(q.test -> 'questions') t));
END $$;
COMMENT ON FUNCTION _taskex.check_answers(_taskex.qualification_type, jsonb) IS 'Checks that answers fit the test of a qualification.';

CREATE FUNCTION taskex.request_qualification(performer text, qualification bigint, answers jsonb = NULL,
        OUT request_id bigint, OUT state text, OUT score int)
    RETURNS record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.request_qualification(text, bigint, jsonb) IS
'Asks for a qualification. answers: to its test, a JSON object by the questions'' ids; else NULL. If the test runs against time,
start_qualification_test comes first.
Result: state granted with the score (the test has an answer key, or it is granted automatically) or pending.
Errors: unknown_qualification (TX115), qualification_refused (TX116), input_too_large (TX111), invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.request_qualification(asker_id bigint, qualification_id bigint, its_answers jsonb,
        OUT request_id bigint, OUT state text, OUT score int)
    RETURNS record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int := _taskex.home(asker_id);
    q _taskex.qualification_type := _taskex.hold_qualification(qualification_id);
    r _taskex.qualification_request;
    now timestamptz := _taskex.now();
    fresh boolean;
BEGIN
    PERFORM _taskex.check_answers(q, its_answers);
    EXECUTE format('SELECT FROM _taskex.profile_%s WHERE user_id = $1 FOR NO KEY UPDATE', home) USING asker_id;
    IF q.test_duration IS NOT NULL THEN
        EXECUTE format('SELECT * FROM _taskex.qualification_request_%s'
                ' WHERE performer_id = $1 AND qualification_type_id = $2 AND state = ''started''', home)
            INTO r USING asker_id, qualification_id;
        IF r.answer_until < now THEN
            PERFORM _taskex.refuse_request(format('the time for the test of qualification %s is over', qualification_id),
                format('It ended at %s.', r.answer_until));
        END IF;
    END IF;
    fresh := r.request_id IS NULL;
    r := _taskex.open_request(home, asker_id, q);
    IF q.test_duration IS NOT NULL AND fresh THEN
        PERFORM _taskex.refuse_request(format('the test of qualification %s has not been started', qualification_id),
            NULL, 'taskex.start_qualification_test() does that.');
    END IF;
    request_id := r.request_id;
    state := 'pending';
    IF q.answer_key IS NOT NULL THEN
        score := _taskex.test_score(q.answer_key, its_answers);
        state := 'granted';
    ELSIF q.auto_grant THEN
        score := q.auto_grant_score;
        state := 'granted';
    END IF;
    EXECUTE format('UPDATE _taskex.qualification_request_%s SET state = $2, score = $3, answers = $4, requested_at = $5,'
            ' decided_at = CASE WHEN $2 = ''granted'' THEN $5 END WHERE request_id = $1', home)
        USING r.request_id, state, score, its_answers, now;
    PERFORM _taskex.journal('qualification_requested', q.requester_id, asker_id, NULL, NULL, NULL, NULL,
        jsonb_build_object('qualification', qualification_id, 'request', r.request_id));
    IF state = 'granted' THEN
        PERFORM _taskex.give_qualification(home, asker_id, qualification_id, score, true);
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.request_qualification(bigint, bigint, jsonb) IS 'Body of taskex.request_qualification.';

-- the partition of a request of one of the requester's qualifications
CREATE FUNCTION _taskex.request_home(owner_id bigint, request bigint) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    home int := _taskex.place_of('request', request);
    found_it boolean;
BEGIN
    IF home IS NOT NULL THEN
        EXECUTE format('SELECT EXISTS (SELECT FROM _taskex.qualification_request_%s r'
                ' JOIN _taskex.qualification_type t USING (qualification_type_id)'
                ' WHERE r.request_id = $1 AND t.requester_id = $2)', home)
            INTO found_it USING request, owner_id;
        IF found_it THEN
            RETURN home;
        END IF;
    END IF;
    PERFORM _taskex.fail('unknown_qualification', format('there is no request %s of a qualification of user "%s"',
        request, _taskex.login(owner_id)), NULL, 'taskex.qualification_requests() lists them.');
END $$;
COMMENT ON FUNCTION _taskex.request_home(bigint, bigint) IS
    'The storage partition where a request lies, or the error unknown_qualification.';

CREATE FUNCTION _taskex.decide_request(home int, request bigint, owner_id bigint, decision text, its_score int, why text)
    RETURNS _taskex.qualification_request LANGUAGE plpgsql AS $$
DECLARE
    r _taskex.qualification_request;
BEGIN
    EXECUTE format('SELECT * FROM _taskex.qualification_request_%s WHERE request_id = $1 FOR UPDATE', home) INTO r USING request;
    IF r.state NOT IN ('started', 'pending') OR (r.state = 'started' AND decision = 'granted') THEN
        PERFORM _taskex.fail('wrong_state', format('request %s does not wait for a decision', request),
            format('Its state is "%s".', r.state));
    END IF;
    EXECUTE format('UPDATE _taskex.qualification_request_%s SET state = $2, score = $3, reason = $4, decided_at = $5'
            ' WHERE request_id = $1', home)
        USING request, decision, its_score, why, _taskex.now();
    IF decision = 'rejected' THEN
        PERFORM _taskex.journal('qualification_rejected', owner_id, r.performer_id, NULL, NULL, NULL, NULL,
            jsonb_build_object('qualification', r.qualification_type_id, 'request', request, 'reason', why));
    END IF;
    RETURN r;
END $$;
COMMENT ON FUNCTION _taskex.decide_request(int, bigint, bigint, text, int, text) IS
    'Records what was decided on a request that waits, or the error wrong_state.';

CREATE FUNCTION taskex.grant_request(requester text, request_id bigint, score int = 1)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.grant_request(text, bigint, int) IS
'Grants what a performer asked for, with a score. request_id: from qualification_requests. Errors: unknown_qualification (TX115) if it is no request of a qualification of
one''s own, wrong_state (TX109) if it is decided.';

CREATE FUNCTION _taskex.grant_request(owner_id bigint, request bigint, its_score int)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int := _taskex.request_home(owner_id, request);
    r _taskex.qualification_request := _taskex.decide_request(home, request, owner_id, 'granted', its_score, NULL);
BEGIN
    PERFORM _taskex.give_qualification(home, r.performer_id, r.qualification_type_id, its_score, true);
END $$;
COMMENT ON FUNCTION _taskex.grant_request(bigint, bigint, int) IS 'Body of taskex.grant_request.';

CREATE FUNCTION taskex.reject_request(requester text, request_id bigint, reason text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.reject_request(text, bigint, text) IS
'Rejects a request of a qualification. request_id: from qualification_requests. reason: what the performer is told, 1 to 10000 bytes, or NULL.
Errors: unknown_qualification (TX115) if it is no request of a qualification of one''s own, wrong_state (TX109) if it is decided.';

CREATE FUNCTION _taskex.reject_request(owner_id bigint, request bigint, why text)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int := _taskex.request_home(owner_id, request);
BEGIN
    PERFORM _taskex.check_text(why, 'reason', 10000);
    PERFORM _taskex.decide_request(home, request, owner_id, 'rejected', NULL, why);
END $$;
COMMENT ON FUNCTION _taskex.reject_request(bigint, bigint, text) IS 'Body of taskex.reject_request.';

CREATE FUNCTION taskex.qualification_requests(requester text, qualification bigint = NULL, state text = 'pending',
        after bigint = 0, max_rows int = 100)
    RETURNS TABLE (request_id bigint, qualification_id bigint, name text, performer text, request_state text,
        started_at timestamptz, requested_at timestamptz, answers jsonb, score int, reason text, decided_at timestamptz)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.qualification_requests(text, bigint, text, bigint, int) IS
'Requests of one''s own qualifications, by request_id. qualification NULL: of all of them. state: started, pending, granted,
rejected or expired. after: the last request_id of the page before. max_rows: 1 to 10000.
Errors: unknown_qualification (TX115).';

CREATE FUNCTION _taskex.qualification_requests(owner_id bigint, qualification_id bigint, its_state text, after_id bigint, max_rows int)
    RETURNS TABLE (request_id bigint, its_qualification bigint, name text, performer text, request_state text,
        started_at timestamptz, requested_at timestamptz, answers jsonb, score int, reason text, decided_at timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ids bigint[];
BEGIN
    PERFORM _taskex.check_rows(max_rows);
    IF its_state NOT IN ('started', 'pending', 'granted', 'rejected', 'expired') THEN
        PERFORM _taskex.bad_value('state must be "started", "pending", "granted", "rejected" or "expired"');
    END IF;
    IF qualification_id IS NOT NULL THEN
        PERFORM _taskex.check_owner(owner_id, qualification_id, true);
        ids := ARRAY[qualification_id];
    ELSE
        ids := ARRAY(SELECT t.qualification_type_id FROM _taskex.qualification_type t WHERE t.requester_id = owner_id);
    END IF;
    RETURN QUERY SELECT q.request_id, q.qualification_type_id, t.name, d.login, its_state, q.started_at, q.requested_at,
            q.answers, q.score, q.reason, q.decided_at
        FROM (SELECT r.* FROM unnest(ids) i (id) CROSS JOIN LATERAL
                (SELECT u.* FROM _taskex.qualification_request u
                        JOIN _taskex.directory h ON h.user_id = u.performer_id AND h.partition_id = u.partition_id
                    WHERE u.qualification_type_id = i.id AND u.request_id > after_id
                        AND CASE WHEN u.state = 'started' AND u.answer_until < _taskex.now() THEN 'expired' ELSE u.state END = its_state
                    ORDER BY u.request_id LIMIT max_rows) r
                ORDER BY r.request_id LIMIT max_rows) q
            JOIN _taskex.qualification_type t USING (qualification_type_id)
            JOIN _taskex.directory d ON d.user_id = q.performer_id ORDER BY 1;
END $$;
COMMENT ON FUNCTION _taskex.qualification_requests(bigint, bigint, text, bigint, int) IS 'Body of taskex.qualification_requests.';
