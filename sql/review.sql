-- review.sql: judging several results at once, overriding rejections, disputes,
-- ratings, messages. The state of a dispute and the order of row locks:
-- src/market/README.md. Review policies are in policy.sql.

CREATE SEQUENCE _taskex.dispute_id_seq;
CREATE SEQUENCE _taskex.message_id_seq;
SELECT pg_catalog.pg_extension_config_dump('_taskex.dispute_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.message_id_seq', '');

-- As with tasks, the id tells the storage partition: counter * 1024 + partition_id mod 1024.
CREATE TABLE _taskex.dispute (
    partition_id int NOT NULL,
    dispute_id bigint NOT NULL,
    assignment_id bigint NOT NULL,
    task_id bigint NOT NULL,
    task_type_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    performer_id bigint NOT NULL,
    opened_at timestamptz NOT NULL,
    answered_at timestamptz,
    resolved_at timestamptz,
    state text NOT NULL DEFAULT 'open',
    reason text NOT NULL,
    answer text,
    resolution text
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.dispute IS
    'Objections of performers to rejections, on the requesters'' partitions: one for each assignment.';
INSERT INTO _taskex.child_table VALUES ('dispute', 410, 80, ARRAY['PRIMARY KEY (dispute_id)'],
    ARRAY['UNIQUE (assignment_id)', '(requester_id)', '(performer_id)'], 'requester_id', NULL, 'dispute');

CREATE TABLE _taskex.rating (
    partition_id int NOT NULL,
    assignment_id bigint NOT NULL,
    task_type_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    performer_id bigint NOT NULL,
    rated_at timestamptz NOT NULL,
    stars int NOT NULL,
    comment text
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.rating IS 'What performers think of requesters, on the requesters'' partitions. Only inserted.';
INSERT INTO _taskex.child_table VALUES ('rating', 411, 100, ARRAY['PRIMARY KEY (assignment_id)'],
    ARRAY['(requester_id)', '(performer_id)'], 'requester_id');

CREATE TABLE _taskex.message (
    partition_id int NOT NULL,
    message_id bigint NOT NULL,
    user_id bigint NOT NULL,
    sender_id bigint NOT NULL,
    sent_at timestamptz NOT NULL,
    read_at timestamptz,
    subject text NOT NULL,
    message text NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.message IS 'Messages, on their recipients'' partitions.';
COMMENT ON COLUMN _taskex.message.sender_id IS 'A user, or 0: the exchange.';
INSERT INTO _taskex.child_table VALUES ('message', 412, 80, ARRAY['PRIMARY KEY (user_id, message_id)'], '{}', 'user_id');

INSERT INTO _taskex.event_kind VALUES
    ('rated', 460, true, false, true, 'a performer rated the requester', NULL, 'stars, comment');

-- A summary as those of summaries.sql.
CREATE TABLE _taskex.rating_total (
    partition_id int NOT NULL,
    requester_id bigint NOT NULL,
    version bigint NOT NULL,
    ratings bigint NOT NULL,
    stars bigint NOT NULL,
    last_at timestamptz NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.rating_total IS 'Number and sum of the ratings of a requester, on his partition.';
INSERT INTO _taskex.child_table VALUES ('rating_total', 413, 100, ARRAY['PRIMARY KEY (requester_id, version)'], '{}', 'requester_id');

CREATE FUNCTION _taskex.fold_ratings(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int;
    deltas _taskex.rating_total[];
BEGIN
    FOR home, deltas IN
        SELECT n.partition_id, array_agg(n::_taskex.rating_total) FROM (
            SELECT _taskex.home(d.user_id) AS partition_id, b.requester_id, 0::bigint AS version, count(*) AS ratings,
                sum((b.detail ->> 'stars')::bigint)::bigint AS stars, max(b.at) AS last_at
            FROM unnest(batch) b JOIN _taskex.directory d ON d.user_id = b.requester_id
            WHERE b.kind = 'rated' GROUP BY 1, 2) n
        GROUP BY 1
    LOOP
        PERFORM _taskex.add_to_summary('rating_total', home, '{requester_id}', '{ratings,stars}', deltas);
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.fold_ratings(_taskex.journal_act[]) IS 'Consumer of the journal: fills _taskex.rating_total.';
INSERT INTO _taskex.journal_consumer VALUES (61, 'fold_ratings');

-- judging -------------------------------------------------------------------

CREATE FUNCTION taskex.approve_assignments(requester text, assignment_ids bigint[], feedback text = NULL)
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_approve_assignments';
COMMENT ON FUNCTION taskex.approve_assignments(text, bigint[], text) IS
'Approves and pays submitted assignments, all or none; see approve_assignment.
assignment_ids: at most 10000, each once. feedback: what all the performers are told, or NULL.
Result: their number. Errors: unknown_assignment (TX103), wrong_state (TX109).';

CREATE FUNCTION taskex.approve_task(requester text, task_id bigint, feedback text = NULL)
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_approve_task';
COMMENT ON FUNCTION taskex.approve_task(text, bigint, text) IS
'Approves and pays all results of a task that wait for a judgement.
feedback: what the performers are told, or NULL. Result: how many were approved. Errors: unknown_task (TX102).';

CREATE FUNCTION _taskex.judge(requester bigint, assignment_id bigint, state text, feedback text,
        reopen boolean, policy_id bigint)
    RETURNS boolean LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_judge';
COMMENT ON FUNCTION _taskex.judge(bigint, bigint, text, text, boolean, bigint) IS
'Approves or rejects for a review policy; false: the assignment is not submitted (any more).';

CREATE FUNCTION _taskex.override(requester bigint, assignment_id bigint, feedback text)
    RETURNS boolean LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_override';
COMMENT ON FUNCTION _taskex.override(bigint, bigint, text) IS
'Approves and pays what was rejected, however long ago; false: the assignment is not rejected (any more).';

CREATE FUNCTION _taskex.check_length(value text, name text, low int, high int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF length(value) NOT BETWEEN low AND high THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s must have between %s and %s characters', name, low, high),
            DETAIL = format('It has %s.', length(value));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_length(text, text, int, int) IS
    'Raises invalid_parameter_value unless a text has so many characters; NULL passes.';

-- An assignment of the performer's, wherever the requester lives.
CREATE FUNCTION _taskex.own_assignment(performer bigint, assignment_id bigint,
        OUT requester_id bigint, OUT task_id bigint, OUT task_type_id bigint, OUT state text)
    RETURNS record LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT requester_id, task_id, task_type_id, state FROM _taskex.assignment_%s'
        ' WHERE assignment_id = $1 AND performer_id = $2', _taskex.home(performer))
        INTO requester_id, task_id, task_type_id, state USING assignment_id, performer;
    IF requester_id IS NULL THEN
        PERFORM _taskex.fail('unknown_assignment',
            format('user "%s" has no assignment %s', _taskex.login(performer), assignment_id));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.own_assignment(bigint, bigint) IS
    'What a performer''s assignment is, or the error unknown_assignment.';

-- disputes ------------------------------------------------------------------

CREATE FUNCTION taskex.open_dispute(performer text, assignment_id bigint, reason text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.open_dispute(text, bigint, text) IS
'Objects to the rejection of an assignment, once, within taskex.dispute_period.
reason: 1 to 4000 characters, for the requester and the operators.
Result: the dispute''s id. Errors: unknown_assignment (TX103), wrong_state (TX109) unless it is
rejected and not disputed yet, too_late (TX122).';
CREATE FUNCTION _taskex.open_dispute(performer bigint, assignment_id bigint, reason text)
    RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a record;
    r record;
    home int;
    id bigint;
BEGIN
    PERFORM _taskex.check_length(reason, 'reason', 1, 4000);
    a := _taskex.own_assignment(performer, assignment_id);
    home := _taskex.home(a.requester_id);
    -- the result's lock keeps an override out until the dispute is there
    EXECUTE format('SELECT state, judged_at FROM _taskex.result_%s WHERE assignment_id = $1 FOR SHARE', home)
        INTO r USING assignment_id;
    IF r.state IS DISTINCT FROM 'rejected' THEN
        PERFORM _taskex.fail('wrong_state', format('assignment %s is not rejected', assignment_id),
            format('Its state is "%s".', coalesce(r.state, a.state)));
    ELSIF r.judged_at < _taskex.now() - current_setting('taskex.dispute_period')::interval THEN
        PERFORM _taskex.fail('too_late', format('the rejection of assignment %s is final', assignment_id),
            format('It was rejected at %s.', r.judged_at),
            'taskex.dispute_period is the time in which a dispute can be opened.');
    END IF;
    id := nextval('_taskex.dispute_id_seq') * 1024 + home % 1024;
    EXECUTE format('INSERT INTO _taskex.dispute_%s (partition_id, dispute_id, assignment_id, task_id, task_type_id,'
        ' requester_id, performer_id, opened_at, reason) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)'
        ' ON CONFLICT (assignment_id) DO NOTHING RETURNING dispute_id', home)
        INTO id USING home, id, assignment_id, a.task_id, a.task_type_id, a.requester_id, performer, _taskex.now(), reason;
    IF id IS NULL THEN
        PERFORM _taskex.fail('wrong_state', format('assignment %s was disputed already', assignment_id),
            'There is one dispute for an assignment.');
    END IF;
    PERFORM _taskex.journal('dispute_opened', a.requester_id, performer, a.task_type_id, a.task_id, assignment_id, NULL,
        jsonb_build_object('dispute', id, 'text', reason));
    RETURN id;
END $$;
COMMENT ON FUNCTION _taskex.open_dispute(bigint, bigint, text) IS 'Body of taskex.open_dispute.';

-- Moves a dispute on.
CREATE FUNCTION _taskex.move_dispute(dispute_id bigint, requester bigint, performer bigint,
        from_states text[], to_state text, note text)
    RETURNS _taskex.dispute LANGUAGE plpgsql AS $$
DECLARE
    home int := _taskex.place_of('dispute', dispute_id);
    d _taskex.dispute;
BEGIN
    IF home IS NOT NULL THEN
        EXECUTE format('SELECT * FROM _taskex.dispute_%s WHERE dispute_id = $1'
            ' AND requester_id = coalesce($2, requester_id) AND performer_id = coalesce($3, performer_id)'
            ' FOR NO KEY UPDATE', home) INTO d USING dispute_id, requester, performer;
    END IF;
    IF d.dispute_id IS NULL THEN
        PERFORM _taskex.fail('unknown_dispute', CASE WHEN requester IS NULL AND performer IS NULL
            THEN format('there is no dispute %s', dispute_id)
            ELSE format('user "%s" has no dispute %s', _taskex.login(coalesce(requester, performer)), dispute_id) END,
            NULL, 'The view taskex.disputes lists them.');
    ELSIF NOT d.state = ANY (from_states) THEN
        PERFORM _taskex.fail('wrong_state', format('dispute %s cannot be %s', dispute_id, to_state),
            format('Its state is "%s".', d.state));
    END IF;
    d.state := to_state;
    IF to_state = 'answered' THEN
        d.answered_at := _taskex.now();
        d.answer := note;
    ELSE
        d.resolved_at := _taskex.now();
        d.resolution := note;
    END IF;
    EXECUTE format('UPDATE _taskex.dispute_%s SET state = $2, answered_at = $3, answer = $4, resolved_at = $5,'
        ' resolution = $6 WHERE dispute_id = $1', home)
        USING dispute_id, d.state, d.answered_at, d.answer, d.resolved_at, d.resolution;
    PERFORM _taskex.journal(CASE to_state WHEN 'answered' THEN 'dispute_answered' ELSE 'dispute_closed' END,
        d.requester_id, d.performer_id, d.task_type_id, d.task_id, d.assignment_id, NULL,
        jsonb_strip_nulls(jsonb_build_object('dispute', dispute_id, 'text', note,
            'outcome', nullif(to_state, 'answered'))));
    RETURN d;
END $$;
COMMENT ON FUNCTION _taskex.move_dispute(bigint, bigint, bigint, text[], text, text) IS
'Changes the state of a dispute of the given requester or performer (NULL: of anybody), under its row lock.';

CREATE FUNCTION taskex.answer_dispute(requester text, dispute_id bigint, answer text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.answer_dispute(text, bigint, text) IS
'The requester says why he stays with the rejection; to give in he approves the assignment with override.
dispute_id: from the view taskex.disputes. answer: 1 to 4000 characters; a later one replaces it.
Errors: unknown_dispute (TX119), wrong_state (TX109) if it is decided or withdrawn.';
CREATE FUNCTION _taskex.answer_dispute(requester bigint, dispute_id bigint, answer text)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.check_length(answer, 'answer', 1, 4000);
    PERFORM _taskex.move_dispute(dispute_id, requester, NULL, '{open,answered}', 'answered', answer);
END $$;
COMMENT ON FUNCTION _taskex.answer_dispute(bigint, bigint, text) IS 'Body of taskex.answer_dispute.';

CREATE FUNCTION taskex.withdraw_dispute(performer text, dispute_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.withdraw_dispute(text, bigint) IS
'The performer takes his objection back, for good. dispute_id: from open_dispute.
Errors: unknown_dispute (TX119), wrong_state (TX109) if it is decided or withdrawn.';
CREATE FUNCTION _taskex.withdraw_dispute(performer bigint, dispute_id bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.move_dispute(dispute_id, NULL, performer, '{open,answered}', 'withdrawn', NULL);
END $$;
COMMENT ON FUNCTION _taskex.withdraw_dispute(bigint, bigint) IS 'Body of taskex.withdraw_dispute.';

CREATE FUNCTION taskex.resolve_dispute(dispute_id bigint, upheld boolean, resolution text = NULL)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    d _taskex.dispute;
BEGIN
    IF dispute_id IS NULL OR upheld IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed',
            MESSAGE = CASE WHEN dispute_id IS NULL THEN 'dispute_id' ELSE 'upheld' END || ' must not be null';
    END IF;
    PERFORM _taskex.check_length(resolution, 'resolution', 1, 4000);
    d := _taskex.move_dispute(dispute_id, NULL, NULL, '{open,answered}',
        CASE WHEN upheld THEN 'upheld' ELSE 'denied' END, resolution);
    IF upheld AND NOT _taskex.override(d.requester_id, d.assignment_id,
            coalesce(resolution, 'approved by the exchange after a dispute')) THEN
        PERFORM _taskex.fail('wrong_state', format('assignment %s is not rejected', d.assignment_id));
    END IF;
END $$;
COMMENT ON FUNCTION taskex.resolve_dispute(bigint, boolean, text) IS
'An operator decides a dispute. dispute_id: from the view taskex.disputes. upheld: true: the assignment is approved
and paid from the requester''s available funds; false: the rejection stays.
resolution: 1 to 4000 characters for both sides, or NULL. Errors: unknown_dispute (TX119),
wrong_state (TX109) if it is decided or withdrawn, insufficient_funds (TX201). Operators only.';

CREATE VIEW taskex.disputes WITH (security_barrier) AS
    SELECT d.dispute_id, q.login AS requester, p.login AS performer, d.assignment_id, d.task_id,
        d.state, d.reason, d.answer, d.resolution, d.opened_at, d.answered_at, d.resolved_at
    FROM _taskex.dispute d
        JOIN _taskex.directory q ON q.partition_id = d.partition_id AND q.user_id = d.requester_id
        JOIN _taskex.directory p ON p.user_id = d.performer_id
    WHERE _taskex.visible(d.performer_id, d.requester_id)
        AND _taskex.narrow(d.partition_id, d.requester_id, q.login, d.dispute_id)
        AND _taskex.narrow(d.partition_id, NULL, NULL, d.task_id) AND _taskex.narrow(NULL, d.performer_id, p.login, NULL);
COMMENT ON VIEW taskex.disputes IS
'Disputes over rejections, of the performers and requesters for whom the caller may act.
state: open, answered, upheld, denied, withdrawn.';

-- ratings -------------------------------------------------------------------

CREATE FUNCTION taskex.rate_requester(performer text, assignment_id bigint, stars int, comment text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.rate_requester(text, bigint, int, text) IS
'The performer of a submitted, approved or rejected assignment says what he thinks of the requester, once.
stars: 1 to 5. comment: 1 to 4000 characters, or NULL.
Errors: unknown_assignment (TX103), wrong_state (TX109) if it has no result or was rated already.';
CREATE FUNCTION _taskex.rate_requester(performer bigint, assignment_id bigint, stars int, comment text)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a record;
    home int;
    added bigint;
BEGIN
    IF stars NOT BETWEEN 1 AND 5 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'stars must be between 1 and 5';
    END IF;
    PERFORM _taskex.check_length(comment, 'comment', 1, 4000);
    a := _taskex.own_assignment(performer, assignment_id);
    IF a.state NOT IN ('submitted', 'approved', 'rejected') THEN
        PERFORM _taskex.fail('wrong_state', format('assignment %s has no result', assignment_id),
            format('Its state is "%s".', a.state));
    END IF;
    home := _taskex.home(a.requester_id);
    EXECUTE format('INSERT INTO _taskex.rating_%s (partition_id, assignment_id, task_type_id, requester_id, performer_id,'
        ' rated_at, stars, comment) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)'
        ' ON CONFLICT (assignment_id) DO NOTHING RETURNING assignment_id', home)
        INTO added USING home, assignment_id, a.task_type_id, a.requester_id, performer, _taskex.now(), stars, comment;
    IF added IS NULL THEN
        PERFORM _taskex.fail('wrong_state', format('assignment %s was rated already', assignment_id));
    END IF;
    PERFORM _taskex.journal('rated', a.requester_id, performer, a.task_type_id, a.task_id, assignment_id, NULL,
        jsonb_strip_nulls(jsonb_build_object('stars', stars, 'comment', comment)));
END $$;
COMMENT ON FUNCTION _taskex.rate_requester(bigint, bigint, int, text) IS 'Body of taskex.rate_requester.';

CREATE VIEW taskex.ratings WITH (security_barrier) AS
    SELECT q.login AS requester, p.login AS performer, r.assignment_id, r.task_type_id, r.stars, r.comment, r.rated_at
    FROM _taskex.rating r
        JOIN _taskex.directory q ON q.partition_id = r.partition_id AND q.user_id = r.requester_id
        JOIN _taskex.directory p ON p.user_id = r.performer_id
    WHERE _taskex.visible(r.performer_id, r.requester_id)
        AND _taskex.narrow(r.partition_id, r.requester_id, q.login, NULL) AND _taskex.narrow(NULL, r.performer_id, p.login, NULL);
COMMENT ON VIEW taskex.ratings IS
'What performers think of requesters, for those of both for whom the caller may act. Averages: taskex.requester_ratings.';

CREATE VIEW taskex.requester_ratings AS
    SELECT d.login AS requester, t.ratings, round(t.stars::numeric / t.ratings, 2) AS stars, t.last_at
    FROM _taskex.rating_total t JOIN _taskex.directory d ON d.partition_id = t.partition_id AND d.user_id = t.requester_id;
COMMENT ON VIEW taskex.requester_ratings IS
    'How performers rate each requester on average, and how many have. What was rated moments ago follows.';

-- messages ------------------------------------------------------------------

CREATE FUNCTION _taskex.send_message(user_id bigint, sender bigint, subject text, message text)
    RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    id bigint := nextval('_taskex.message_id_seq');
    home int := _taskex.home(user_id);
BEGIN
    EXECUTE format('INSERT INTO _taskex.message_%s (partition_id, message_id, user_id, sender_id, sent_at, subject, message)'
        ' VALUES ($1, $2, $3, $4, $5, $6, $7)', home)
        USING home, id, user_id, sender, _taskex.now(), subject, message;
END $$;
COMMENT ON FUNCTION _taskex.send_message(bigint, bigint, text, text) IS
    'Puts a message of a user, or of the exchange (0), into another user''s box.';

CREATE FUNCTION taskex.notify_performers(requester text, performers text[], subject text, message text)
    RETURNS TABLE (performer text, notified boolean, reason text)
    LANGUAGE C VOLATILE ROWS 10 AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.notify_performers(text, text[], text, text) IS
'Sends a message to performers who have worked for the requester. performers: at most 100 logins.
subject: 1 to 200 characters. message: 1 to 4096 characters.
Result: a row for each performer; notified false: he was not, for the reason given (unknown user, or never
worked for the requester). What was done moments ago counts as soon as the conductor has seen it.';
CREATE FUNCTION _taskex.notify_performers(requester bigint, performers text[], subject text, message text)
    RETURNS TABLE (performer text, notified boolean, reason text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    id bigint;
    home int := _taskex.home(requester);
BEGIN
    PERFORM _taskex.check_length(subject, 'subject', 1, 200);
    PERFORM _taskex.check_length(message, 'message', 1, 4096);
    PERFORM _taskex.check_vector(performers, 'performers');
    IF cardinality(performers) > 100 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded',
            MESSAGE = format('too many performers: %s', cardinality(performers)),
            HINT = 'Notify at most 100 with one call.';
    END IF;
    FOR performer IN SELECT u.login FROM unnest(performers) WITH ORDINALITY u (login, n) GROUP BY 1 ORDER BY min(u.n) LOOP
        id := (SELECT d.user_id FROM _taskex.directory d WHERE d.login = performer COLLATE "C");
        notified := false;
        IF id IS NULL THEN
            reason := 'unknown user';
        ELSE
            EXECUTE format('SELECT true FROM _taskex.working_%s WHERE requester_id = $1 AND performer_id = $2', home)
                INTO notified USING requester, id;
            notified := coalesce(notified, false);
            reason := CASE WHEN NOT notified THEN 'has not worked for the requester' END;
        END IF;
        IF notified THEN
            PERFORM _taskex.send_message(id, requester, subject, message);
            PERFORM _taskex.journal('message', requester, id, NULL, NULL, NULL, NULL,
                jsonb_build_object('subject', subject, 'text', message));
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.notify_performers(bigint, text[], text, text) IS 'Body of taskex.notify_performers.';

CREATE FUNCTION taskex.messages(login text, unread boolean = false, before bigint = NULL, max_rows int = 100)
    RETURNS TABLE (message_id bigint, sender text, subject text, message text, sent_at timestamptz, read_at timestamptz)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.messages(text, boolean, bigint, int) IS
'A user''s messages, newest first. unread: only those not marked. before: only those older than this
message_id. max_rows: 1 to 10000. sender: a login, or exchange.';
CREATE FUNCTION _taskex.messages(login bigint, unread boolean, before bigint, max_rows int)
    RETURNS TABLE (message_id bigint, sender text, subject text, message text, sent_at timestamptz, read_at timestamptz)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF max_rows NOT BETWEEN 1 AND 10000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be between 1 and 10000';
    END IF;
    RETURN QUERY EXECUTE format('SELECT m.message_id, CASE m.sender_id WHEN 0 THEN ''exchange'' ELSE _taskex.login(m.sender_id) END,'
        ' m.subject, m.message, m.sent_at, m.read_at FROM _taskex.message_%s m'
        ' WHERE m.user_id = $1 AND m.message_id < coalesce($2, 9223372036854775807) AND (NOT $3 OR m.read_at IS NULL)'
        ' ORDER BY m.message_id DESC LIMIT $4', _taskex.home(login)) USING login, before, unread, max_rows;
END $$;
COMMENT ON FUNCTION _taskex.messages(bigint, boolean, bigint, int) IS 'Body of taskex.messages.';

CREATE FUNCTION taskex.mark_messages(login text, message_ids bigint[] = NULL)
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.mark_messages(text, bigint[]) IS
'Marks messages as read. message_ids: those of the user''s that are meant; NULL: all. Result: how many were unread.';
CREATE FUNCTION _taskex.mark_messages(login bigint, message_ids bigint[])
    RETURNS int LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    marked int;
BEGIN
    EXECUTE format('UPDATE _taskex.message_%s m SET read_at = $3 WHERE m.user_id = $1 AND m.read_at IS NULL'
        ' AND ($2 IS NULL OR m.message_id = ANY ($2))', _taskex.home(login)) USING login, message_ids, _taskex.now();
    GET DIAGNOSTICS marked = ROW_COUNT;
    RETURN marked;
END $$;
COMMENT ON FUNCTION _taskex.mark_messages(bigint, bigint[]) IS 'Body of taskex.mark_messages.';
