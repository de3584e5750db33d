-- tasks.sql: what a requester changes about his tasks, and his lists of them.
-- Pairs with src/market/change.c.

CREATE FUNCTION taskex.add_performers(requester text, task_id bigint, count int, idempotency_key text = NULL)
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_add_performers';
COMMENT ON FUNCTION taskex.add_performers(text, bigint, int, text) IS
'Wants so many more performers of a task; reward and fee for them are held. A task that is complete, decided or
was closed before its expires_at is opened again, for just these. count: 1 to 100000, of which a task has at
most so many in all (1000 with a consensus), and only as many as do not make the fee of an assignment higher by the rules
of now: for more, supply a new task. idempotency_key: a repeated call with the same key and arguments adds nothing.
Result: how many performers the task wants now. Errors: unknown_task (TX102), wrong_state (TX109) if it has expired or was
cancelled, idempotency_mismatch (TX110), insufficient_funds (TX201), budget_exceeded (TX203).';

CREATE FUNCTION taskex.set_expiry(requester text, task_id bigint, expires_at timestamptz)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_set_expiry';
COMMENT ON FUNCTION taskex.set_expiry(text, bigint, timestamptz) IS
'Lets a task end earlier or later. expires_at: at most 3660 days from now. A time that is over closes it at once, as
expire_task does. An expired task is opened again with the slots that it had left, and their money is held again;
of a complete or decided one only the time changes.
Errors: unknown_task (TX102), wrong_state (TX109) if it was cancelled, or is closed already and the time is over, insufficient_funds (TX201), budget_exceeded (TX203).';

CREATE FUNCTION taskex.cancel_task(requester text, task_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_cancel_task';
COMMENT ON FUNCTION taskex.cancel_task(text, bigint) IS
'Closes a task for good: as expire_task, but it cannot be opened again. Work that is under way may still be submitted, and
is paid. Errors: unknown_task (TX102), wrong_state (TX109) if it is complete or was cancelled.';

CREATE FUNCTION taskex.cancel_tasks(requester text, task_type bigint = NULL, task_ids bigint[] = NULL)
    RETURNS int LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_cancel_tasks';
COMMENT ON FUNCTION taskex.cancel_tasks(text, bigint, bigint[]) IS
'Cancels the requester''s open tasks of a type, or those of the given ones that are open; at most 100000, all or none.
task_type, task_ids: one of the two. Result: how many were cancelled.
Errors: unknown_task_type (TX101), unknown_task (TX102), program_limit_exceeded (54000).';

CREATE FUNCTION taskex.change_task_type(requester text, task_id bigint, task_type bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_change_task_type';
COMMENT ON FUNCTION taskex.change_task_type(text, bigint, bigint) IS
'Gives an open task that nobody has another type: another reward, lease and so on. task_type: from create_task_type.
What is held is adjusted; the fee is that of now. Errors: unknown_task_type (TX101), unknown_task (TX102), wrong_state (TX109)
also if it has results already, which were rejected,
insufficient_funds (TX201), budget_exceeded (TX203).';

CREATE FUNCTION taskex.dispose_task(requester text, task_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_dispose_task';
COMMENT ON FUNCTION taskex.dispose_task(text, bigint) IS
'Erases what a closed task contains when all its work is judged: input, results, feedback, answer, annotation and
attachments. It is in no list any more; what was paid, and who had it, stays on record.
Errors: unknown_task (TX102), wrong_state (TX109).';

-- one task --------------------------------------------------------------------

-- what people are shown of the state of a task; waiting: results to be judged.
-- The view taskex.tasks has it, so it is parsed here and not by its readers, who
-- have no rights on the schema.
CREATE FUNCTION _taskex.task_state(state text, expires_at timestamptz, performers int, judged int, released int,
        waiting int, reviewing boolean)
    RETURNS text LANGUAGE sql STABLE
    RETURN CASE WHEN state IN ('open', 'expired', 'decided') AND waiting > 0
                AND (state <> 'open' OR waiting + judged + released = performers)
            THEN CASE WHEN reviewing THEN 'reviewing' ELSE 'reviewable' END
        WHEN state = 'open' AND expires_at <= _taskex.now() THEN 'expired'
        WHEN state = 'open' THEN 'available'
        ELSE state END;
COMMENT ON FUNCTION _taskex.task_state(text, timestamptz, int, int, int, int, boolean) IS
    'The state of a task as people are shown it.';

-- Locks a task of the requester, and says what its state is for people.
CREATE FUNCTION _taskex.lock_task(requester bigint, task_id bigint) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result text;
BEGIN
    EXECUTE format('SELECT _taskex.task_state(t.state, t.expires_at, t.performers, t.judged, t.released,
            (SELECT count(*)::int FROM _taskex.result_%1$s r WHERE r.task_id = t.task_id AND r.state = ''submitted''), t.reviewing)
        FROM _taskex.task_%1$s t WHERE t.task_id = $1 AND t.requester_id = $2 FOR UPDATE OF t', _taskex.home(requester))
        INTO result USING task_id, requester;
    IF result IS NULL THEN
        PERFORM _taskex.fail('unknown_task', format('the requester has no task %s', task_id));
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION _taskex.lock_task(bigint, bigint) IS
    'Locks the row of a requester''s task and returns its state as people are shown it, or raises unknown_task.';

CREATE FUNCTION taskex.set_review_status(requester text, task_id bigint, status text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.set_review_status(text, bigint, text) IS
'Notes that somebody is looking at the results of a reviewable task, so that others do not start. status: reviewing,
or reviewable to take that back. Errors: unknown_task (TX102), wrong_state (TX109) unless it is one of the two.';
CREATE FUNCTION _taskex.set_review_status(requester bigint, task_id bigint, status text)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    now text := _taskex.lock_task(requester, task_id);
BEGIN
    IF status NOT IN ('reviewable', 'reviewing') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('review status "%s" is unknown', status), HINT = 'It is reviewable or reviewing.';
    ELSIF now NOT IN ('reviewable', 'reviewing') THEN
        PERFORM _taskex.fail('wrong_state', format('task %s is not reviewable', task_id),
            format('Its state is "%s".', now));
    END IF;
    EXECUTE format('UPDATE _taskex.task_%s SET reviewing = $2 WHERE task_id = $1', _taskex.home(requester))
        USING task_id, status = 'reviewing';
END $$;
COMMENT ON FUNCTION _taskex.set_review_status(bigint, bigint, text) IS 'The body of taskex.set_review_status.';

CREATE FUNCTION taskex.annotate_task(requester text, task_id bigint, annotation text = NULL)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.annotate_task(text, bigint, text) IS
'Changes what the requester notes on a task for himself. annotation: at most 1024 bytes, NULL: nothing.
Errors: unknown_task (TX102), wrong_state (TX109) if it is disposed.';
CREATE FUNCTION _taskex.annotate_task(requester bigint, task_id bigint, annotation text)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF octet_length(annotation) > 1024 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'annotation must have at most 1024 bytes';
    ELSIF _taskex.lock_task(requester, task_id) = 'disposed' THEN
        PERFORM _taskex.fail('wrong_state', format('task %s is disposed', task_id));
    END IF;
    EXECUTE format('UPDATE _taskex.task_%s SET annotation = $2 WHERE task_id = $1', _taskex.home(requester))
        USING task_id, annotation;
END $$;
COMMENT ON FUNCTION _taskex.annotate_task(bigint, bigint, text) IS 'The body of taskex.annotate_task.';

CREATE FUNCTION taskex.get_task(requester text, task_id bigint)
    RETURNS jsonb LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.get_task(text, bigint) IS
'Everything about a task, as one JSON object: task_id, task_type, title, golden, state, performers, free_slots, offered, in_progress,
submitted, approved, rejected, released, reward, fee, held, consensus, min_performers, target, answer, confidence,
annotation, created_at, expires_at, input. Amounts are in units. Errors: unknown_task (TX102).';
CREATE FUNCTION _taskex.get_task(requester bigint, task_id bigint)
    RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    result jsonb;
BEGIN
    EXECUTE format('SELECT jsonb_build_object(''task_id'', t.task_id, ''task_type'', y.task_type_id, ''title'', y.title,
            ''golden'', t.task_type_id < 0,
            ''state'', _taskex.task_state(t.state, t.expires_at, t.performers, t.judged, t.released, r.waiting, t.reviewing),
            ''performers'', t.performers, ''free_slots'', CASE WHEN t.state = ''open'' THEN t.performers - t.live + h.at_hand ELSE 0 END,
            ''offered'', CASE WHEN t.state = ''open'' AND t.expires_at > _taskex.now() THEN greatest(coalesce(t.wanted, t.performers) - t.live, 0) + h.at_hand ELSE 0 END,
            ''in_progress'', t.live - h.at_hand - r.waiting - t.judged, ''submitted'', r.waiting, ''approved'', r.approved,
            ''rejected'', r.rejected, ''released'', t.released, ''reward'', _taskex.amount(t.reward), ''fee'', _taskex.amount(t.fee),
            ''held'', _taskex.amount((t.reward + t.fee) * (t.performers - t.judged - t.released)))
        || jsonb_build_object(''consensus'', t.consensus, ''min_performers'', t.min_performers, ''target'', t.target,
            ''answer'', t.answer, ''confidence'', t.confidence, ''annotation'', t.annotation,
            ''created_at'', t.created_at, ''expires_at'', t.expires_at, ''input'', t.input)
        FROM _taskex.task_%1$s t JOIN _taskex.task_type y ON y.task_type_id = abs(t.task_type_id)
            CROSS JOIN LATERAL (SELECT _taskex.at_hand(t.task_id)) h (at_hand)
            CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE r.state = ''submitted'')::int AS waiting,
                    count(*) FILTER (WHERE r.state = ''approved'')::int AS approved,
                    count(*) FILTER (WHERE r.state = ''rejected'')::int AS rejected
                FROM _taskex.result_%1$s r WHERE r.task_id = t.task_id) r
        WHERE t.task_id = $1 AND t.requester_id = $2', _taskex.home(requester)) INTO result USING task_id, requester;
    IF result IS NULL THEN
        PERFORM _taskex.fail('unknown_task', format('the requester has no task %s', task_id));
    END IF;
    RETURN result;
END $$;
COMMENT ON FUNCTION _taskex.get_task(bigint, bigint) IS 'The body of taskex.get_task.';

-- lists -----------------------------------------------------------------------

CREATE FUNCTION _taskex.check_page(max_rows int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF max_rows < 1 OR max_rows > 10000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'max_rows must be between 1 and 10000';
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_page(int) IS 'Raises an error unless a list may have so many rows.';

-- From the newest backward by (requester_id, task_id): a page costs what it has.
CREATE FUNCTION taskex.list_tasks(requester text, state text = NULL, task_type bigint = NULL, before bigint = NULL,
        max_rows int = 100)
    RETURNS TABLE (task_id bigint, task_type_id bigint, title text, state text, performers int, free_slots int,
        in_progress int, submitted int, judged int, reward numeric, created_at timestamptz, expires_at timestamptz,
        annotation text)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.list_tasks(text, text, bigint, bigint, int) IS
'A page of the requester''s tasks, newest first, without golden ones. state: only those in this state (as the view tasks
has it); NULL: all but disposed ones. task_type: only of this type. before: only those older than this task (the last of
the page before). max_rows: 1 to 10000. A page without state costs what it shows; with one, also what it passes by.
Errors: unknown_task_type (TX101).';
CREATE FUNCTION _taskex.list_tasks(requester bigint, wanted text, task_type bigint, before bigint, max_rows int)
    RETURNS TABLE (task_id bigint, task_type_id bigint, title text, state text, performers int, free_slots int,
        in_progress int, submitted int, judged int, reward numeric, created_at timestamptz, expires_at timestamptz,
        annotation text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.check_page(max_rows);
    IF wanted NOT IN ('available', 'reviewable', 'reviewing', 'decided', 'complete', 'expired', 'cancelled', 'disposed') THEN
        PERFORM _taskex.bad_value(format('task state "%s" is unknown', wanted), NULL,
            'The states are available, reviewable, reviewing, decided, complete, expired, cancelled and disposed.');
    END IF;
    PERFORM _taskex.require_task_type(task_type);
    RETURN QUERY EXECUTE format('SELECT t.task_id, t.task_type_id, y.title, s.state, t.performers,
            CASE WHEN t.state = ''open'' THEN t.performers - t.live + h.at_hand ELSE 0 END, t.live - h.at_hand - r.waiting - t.judged, r.waiting,
            t.judged, _taskex.amount(t.reward), t.created_at, t.expires_at, t.annotation
        FROM _taskex.task_%1$s t JOIN _taskex.task_type y USING (task_type_id)
            CROSS JOIN LATERAL (SELECT CASE WHEN t.live = t.judged THEN 0 ELSE _taskex.at_hand(t.task_id) END) h (at_hand)
            CROSS JOIN LATERAL (SELECT CASE WHEN t.live = t.judged THEN 0 ELSE
                (SELECT count(*)::int FROM _taskex.result_%1$s r WHERE r.task_id = t.task_id AND r.state = ''submitted'') END AS waiting) r
            CROSS JOIN LATERAL _taskex.task_state(t.state, t.expires_at, t.performers, t.judged, t.released,
                r.waiting, t.reviewing) s (state)
        WHERE t.requester_id = $1 AND t.task_id < $4 AND t.task_type_id > 0'
        || CASE WHEN task_type IS NOT NULL THEN ' AND t.task_type_id = $3' ELSE '' END
        || CASE WHEN wanted IS NULL THEN ' AND t.state <> ''disposed'''
            WHEN wanted IN ('complete', 'cancelled', 'disposed') THEN ' AND t.state = $2'
            WHEN wanted = 'available' THEN ' AND t.state = ''open'' AND s.state = $2'
            WHEN wanted = 'expired' THEN ' AND t.state IN (''open'', ''expired'') AND s.state = $2'
            ELSE ' AND t.state IN (''open'', ''expired'', ''decided'') AND t.live > t.judged AND s.state = $2' END
        || ' ORDER BY t.task_id DESC LIMIT $5', _taskex.home(requester))
        USING requester, wanted, task_type, coalesce(before, 9223372036854775807), max_rows;
END $$;
COMMENT ON FUNCTION _taskex.list_tasks(bigint, text, bigint, bigint, int) IS 'The body of taskex.list_tasks.';

-- The conductor has approved everything that was due by due_cursor's time, so what
-- waits for judgement is after it, however much is finished.
CREATE FUNCTION _taskex.waiting_since(partition_id int, requester bigint, after bigint)
    RETURNS timestamptz LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    due timestamptz;
    result timestamptz := coalesce((SELECT c.handled_until FROM _taskex.due_cursor c
        WHERE c.partition_id = waiting_since.partition_id AND c.kind = 1), '-infinity');
BEGIN
    IF after <> 0 THEN
        EXECUTE format('SELECT auto_approve_at FROM _taskex.result_%s WHERE assignment_id = $1 AND requester_id = $2', partition_id)
            INTO due USING after, requester;
        IF due IS NULL THEN
            PERFORM _taskex.fail('unknown_assignment', format('no result of assignment %s was submitted to the requester', after));
        END IF;
    END IF;
    RETURN greatest(result, due);
END $$;
COMMENT ON FUNCTION _taskex.waiting_since(int, bigint, bigint) IS
    'From which auto_approve_at on results of a requester wait for judgement, on a page that begins after an assignment (0: the first page).';

CREATE FUNCTION taskex.reviewable_results(requester text, task_type bigint = NULL, after bigint = 0, max_rows int = 100)
    RETURNS TABLE (assignment_id bigint, task_id bigint, task_type_id bigint, performer text, submitted_at timestamptz,
        auto_approve_at timestamptz, result jsonb)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.reviewable_results(text, bigint, bigint, int) IS
'A page of results that wait for the requester''s judgement, what is approved by itself next first. task_type: only of this
type. after: only those after this assignment (the last of the page before). max_rows: 1 to 10000.
Errors: unknown_task_type (TX101), unknown_assignment (TX103).';
CREATE FUNCTION _taskex.reviewable_results(requester bigint, task_type bigint, after bigint, max_rows int)
    RETURNS TABLE (assignment_id bigint, task_id bigint, task_type_id bigint, performer text, submitted_at timestamptz,
        auto_approve_at timestamptz, result jsonb)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int := _taskex.home(requester);
BEGIN
    PERFORM _taskex.check_page(max_rows);
    PERFORM _taskex.require_task_type(task_type);
    RETURN QUERY EXECUTE format('SELECT r.assignment_id, r.task_id, r.task_type_id, d.login, r.submitted_at, r.auto_approve_at, r.result
        FROM _taskex.result_%s r JOIN _taskex.directory d ON d.user_id = r.performer_id
        WHERE r.requester_id = $1 AND r.auto_approve_at >= $2 AND (r.auto_approve_at, r.assignment_id) > ($2, $3)
            AND r.state = ''submitted'' AND ($4 IS NULL OR r.task_type_id = $4)
        ORDER BY r.auto_approve_at, r.assignment_id LIMIT $5', home)
        USING requester, _taskex.waiting_since(home, requester, after), after, task_type, max_rows;
END $$;
COMMENT ON FUNCTION _taskex.reviewable_results(bigint, bigint, bigint, int) IS 'The body of taskex.reviewable_results.';

CREATE FUNCTION taskex.reviewable_tasks(requester text, task_type bigint = NULL, status text = NULL, after bigint = 0,
        max_rows int = 100)
    RETURNS TABLE (task_id bigint, task_type_id bigint, title text, status text, submitted int, auto_approve_at timestamptz,
        next_after bigint)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.reviewable_tasks(text, bigint, text, bigint, int) IS
'A page of tasks that wait for nothing but the requester''s judgement, what is approved by itself next first.
task_type: only of this type. status: reviewable or reviewing; NULL: both. after: next_after of the page before''s last row.
max_rows: 1 to 10000. Errors: unknown_task_type (TX101), unknown_assignment (TX103).';
CREATE FUNCTION _taskex.reviewable_tasks(requester bigint, task_type bigint, wanted text, after bigint, max_rows int)
    RETURNS TABLE (task_id bigint, task_type_id bigint, title text, status text, submitted int, auto_approve_at timestamptz,
        next_after bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int := _taskex.home(requester);
BEGIN
    PERFORM _taskex.check_page(max_rows);
    IF wanted NOT IN ('reviewable', 'reviewing') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('review status "%s" is unknown', wanted), HINT = 'It is reviewable or reviewing.';
    END IF;
    PERFORM _taskex.require_task_type(task_type);
    -- each task at its first waiting result
    RETURN QUERY EXECUTE format('SELECT t.task_id, y.task_type_id, y.title, s.state, w.waiting, r.auto_approve_at, r.assignment_id
        FROM _taskex.result_%1$s r JOIN _taskex.task_%1$s t ON t.task_id = r.task_id
            JOIN _taskex.task_type y ON y.task_type_id = abs(t.task_type_id)
            CROSS JOIN LATERAL (SELECT count(*)::int AS waiting,
                    bool_and((o.auto_approve_at, o.assignment_id) >= (r.auto_approve_at, r.assignment_id)) AS first
                FROM _taskex.result_%1$s o WHERE o.task_id = r.task_id AND o.state = ''submitted'') w
            CROSS JOIN LATERAL _taskex.task_state(t.state, t.expires_at, t.performers, t.judged, t.released,
                w.waiting, t.reviewing) s (state)
        WHERE r.requester_id = $1 AND r.auto_approve_at >= $2 AND (r.auto_approve_at, r.assignment_id) > ($2, $3)
            AND r.state = ''submitted'' AND ($4 IS NULL OR r.task_type_id = $4) AND w.first
            AND s.state = ANY (CASE WHEN $5 IS NULL THEN ARRAY[''reviewable'', ''reviewing''] ELSE ARRAY[$5] END)
        ORDER BY r.auto_approve_at, r.assignment_id LIMIT $6', home)
        USING requester, _taskex.waiting_since(home, requester, after), after, task_type, wanted, max_rows;
END $$;
COMMENT ON FUNCTION _taskex.reviewable_tasks(bigint, bigint, text, bigint, int) IS 'The body of taskex.reviewable_tasks.';

CREATE FUNCTION taskex.list_assignments(requester text, task_id bigint, state text = NULL, after bigint = 0, max_rows int = 100)
    RETURNS TABLE (assignment_id bigint, performer text, state text, submitted_at timestamptz, auto_approve_at timestamptz,
        judged_at timestamptz, feedback text, result jsonb)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.list_assignments(text, bigint, text, bigint, int) IS
'A page of what was submitted for a task, in the order in which it was accepted. state: submitted, approved or rejected;
NULL: all. after: only those after this assignment (the last of the page before). max_rows: 1 to 10000.
Errors: unknown_task (TX102).';
CREATE FUNCTION _taskex.list_assignments(requester bigint, task bigint, wanted text, after bigint, max_rows int)
    RETURNS TABLE (assignment_id bigint, performer text, state text, submitted_at timestamptz, auto_approve_at timestamptz,
        judged_at timestamptz, feedback text, result jsonb)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    is_his boolean;
BEGIN
    PERFORM _taskex.check_page(max_rows);
    IF wanted NOT IN ('submitted', 'approved', 'rejected') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('result state "%s" is unknown', wanted), HINT = 'It is submitted, approved or rejected.';
    END IF;
    EXECUTE format('SELECT true FROM _taskex.task_%s WHERE task_id = $1 AND requester_id = $2 AND state <> ''disposed''',
        _taskex.home(requester)) INTO is_his USING task, requester;
    IF is_his IS NULL THEN
        PERFORM _taskex.fail('unknown_task', format('the requester has no task %s', task));
    END IF;
    RETURN QUERY EXECUTE format('SELECT r.assignment_id, d.login, r.state, r.submitted_at, r.auto_approve_at, r.judged_at, r.feedback, r.result
        FROM _taskex.result_%s r JOIN _taskex.directory d ON d.user_id = r.performer_id
        WHERE r.task_id = $1 AND r.assignment_id > $2 AND ($3 IS NULL OR r.state = $3)
        ORDER BY r.assignment_id LIMIT $4', _taskex.home(requester)) USING task, after, wanted, max_rows;
END $$;
COMMENT ON FUNCTION _taskex.list_assignments(bigint, bigint, text, bigint, int) IS 'The body of taskex.list_assignments.';

CREATE FUNCTION taskex.get_assignment(login text, assignment_id bigint)
    RETURNS jsonb LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.get_assignment(text, bigint) IS
'Everything about an assignment, as one JSON object, for its performer or, once it is submitted, for the task''s
requester: assignment_id, task_id, task_type, title, requester, performer, state, reward, accepted_at, lease_until, finished_at;
and when it is submitted submitted_at, auto_approve_at, judged_at, feedback, result. Errors: unknown_assignment (TX103).';
CREATE FUNCTION _taskex.get_assignment(login bigint, assignment_id bigint)
    RETURNS jsonb LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    performer bigint;
    requester bigint;
    answer jsonb;
    taken jsonb;
BEGIN
    EXECUTE format('SELECT performer_id, requester_id FROM _taskex.result_%s WHERE assignment_id = $1 AND requester_id = $2', _taskex.home(login))
        INTO performer, requester USING assignment_id, login;
    EXECUTE format('SELECT a.performer_id, a.requester_id, jsonb_build_object(''assignment_id'', a.assignment_id, ''task_id'', a.task_id,
            ''task_type'', a.task_type_id, ''title'', y.title, ''requester'', _taskex.login(a.requester_id),
            ''performer'', _taskex.login(a.performer_id), ''state'', a.state, ''reward'', _taskex.amount(a.reward),
            ''accepted_at'', a.accepted_at, ''lease_until'', a.lease_until, ''finished_at'', a.finished_at)
        FROM _taskex.assignment_%s a JOIN _taskex.task_type y USING (task_type_id)
        WHERE a.assignment_id = $1 AND a.performer_id = $2', _taskex.home(coalesce(performer, login)))
        INTO performer, requester, taken USING assignment_id, coalesce(performer, login);
    IF taken IS NULL THEN
        PERFORM _taskex.fail('unknown_assignment', format('the user has no assignment %s', assignment_id));
    END IF;
    EXECUTE format('SELECT jsonb_build_object(''submitted_at'', submitted_at, ''auto_approve_at'', auto_approve_at,
            ''judged_at'', judged_at, ''feedback'', feedback, ''result'', result)
        FROM _taskex.result_%s WHERE assignment_id = $1', _taskex.home(requester)) INTO answer USING assignment_id;
    RETURN taken || coalesce(answer, '{}');
END $$;
COMMENT ON FUNCTION _taskex.get_assignment(bigint, bigint) IS 'The body of taskex.get_assignment.';
