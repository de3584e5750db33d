-- events.sql: the feed of events for users, written by a consumer of the journal.
-- Pairs with src/journal.

-- subscriptions ---------------------------------------------------------------

CREATE TABLE _taskex.subscription (
    user_id bigint PRIMARY KEY,
    kinds text[],
    channel text,
    subscribed_at timestamptz NOT NULL
);
COMMENT ON TABLE _taskex.subscription IS 'Who gets events: kinds (NULL: all that are so by default), and the channel of NOTIFY or NULL.';

-- Sessions remember who wants accepts (src/journal/wanted.c).
CREATE TRIGGER table_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON _taskex.subscription
    FOR EACH STATEMENT EXECUTE FUNCTION _taskex.table_changed();
ALTER TABLE _taskex.subscription ENABLE ALWAYS TRIGGER table_changed;

SELECT pg_catalog.pg_extension_config_dump('_taskex.subscription', '');

-- events ----------------------------------------------------------------------------

-- One row for each event and user who subscribes to it. Only inserted; given back
-- by truncating a segment, so reading by a cursor meets no dead rows.
CREATE TABLE _taskex.event (
    user_id bigint NOT NULL,
    number bigint NOT NULL,
    at timestamptz NOT NULL,
    requester_id bigint,
    performer_id bigint,
    task_type_id bigint,
    task_id bigint,
    assignment_id bigint,
    amount bigint NOT NULL,
    kind text NOT NULL,
    detail jsonb,
    PRIMARY KEY (user_id, number)
);
COMMENT ON TABLE _taskex.event IS 'Events for subscribers. It has no rows of its own, the segments have.';
COMMENT ON COLUMN _taskex.event.number IS 'For each user 1, 2, 3... without gaps.';
CREATE TABLE _taskex.event_0 (PRIMARY KEY (user_id, number)) INHERITS (_taskex.event);
CREATE TABLE _taskex.event_1 (PRIMARY KEY (user_id, number)) INHERITS (_taskex.event);
CREATE TABLE _taskex.event_2 (PRIMARY KEY (user_id, number)) INHERITS (_taskex.event);
COMMENT ON TABLE _taskex.event_0 IS 'First segment of events.';
COMMENT ON TABLE _taskex.event_1 IS 'Second segment of events.';
COMMENT ON TABLE _taskex.event_2 IS 'Third segment of events.';

CREATE TABLE _taskex.event_turn (
    turn bigint PRIMARY KEY,
    started_at timestamptz NOT NULL
);
COMMENT ON TABLE _taskex.event_turn IS 'When each segment of events was begun; the last one is written to: segment turn modulo 3.';

CREATE TABLE _taskex.event_floor (
    user_id bigint PRIMARY KEY,
    number bigint NOT NULL
);
COMMENT ON TABLE _taskex.event_floor IS 'The highest number of each user whose event is gone, or about to go.';

SELECT pg_catalog.pg_extension_config_dump('_taskex.event', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.event_0', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.event_1', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.event_2', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.event_turn', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.event_floor', '');

CREATE FUNCTION _taskex.last_event(user_id bigint) RETURNS bigint
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    SELECT greatest(0, (SELECT f.number FROM _taskex.event_floor f WHERE f.user_id = $1),
        (SELECT e.number FROM _taskex.event_0 e WHERE e.user_id = $1 ORDER BY e.number DESC LIMIT 1),
        (SELECT e.number FROM _taskex.event_1 e WHERE e.user_id = $1 ORDER BY e.number DESC LIMIT 1),
        (SELECT e.number FROM _taskex.event_2 e WHERE e.user_id = $1 ORDER BY e.number DESC LIMIT 1))
$$;
COMMENT ON FUNCTION _taskex.last_event(bigint) IS 'The number of a user''s last event; 0: he has had none.';

-- A task becomes reviewable when the last of the results that it will ever have
-- comes: by a submission, or because nobody else may have it any more. Of several
-- submissions in one moment the newest one counts.
CREATE FUNCTION _taskex.became_reviewable(batch _taskex.journal_act[], requesters bigint[])
    RETURNS SETOF _taskex.journal_act LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    home int;
    acts _taskex.journal_act[];
BEGIN
    FOR home, acts IN
        SELECT d.partition_id, array_agg(n::_taskex.journal_act) FROM (
            SELECT DISTINCT ON (b.task_id) b.* FROM unnest(batch) b
            WHERE b.requester_id = ANY (requesters)
                AND b.kind IN ('submitted', 'returned', 'abandoned', 'expired', 'cancelled', 'decided')
            -- a closing act counts whatever was submitted last
            ORDER BY b.task_id, b.kind = 'submitted', b.id DESC) n
        JOIN _taskex.directory d ON d.user_id = n.requester_id
        GROUP BY 1
    LOOP
        RETURN QUERY EXECUTE format('SELECT a.id, a.xid, a.at, a.requester_id, NULL::bigint, a.task_type_id, a.task_id,'
            ' NULL::bigint, 0::bigint, ''reviewable'', NULL::jsonb FROM unnest($1) a'
            ' CROSS JOIN LATERAL (SELECT t.* FROM _taskex.task_%1$s t WHERE t.task_id = a.task_id LIMIT 1) t'
            ' CROSS JOIN LATERAL (SELECT count(*) FILTER (WHERE r.state = ''submitted'') AS waiting,'
            '  (array_agg(r.assignment_id ORDER BY r.submitted_at DESC, r.assignment_id DESC))[1] AS newest'
            '  FROM _taskex.result_%1$s r WHERE r.task_id = a.task_id) r'
            ' WHERE r.waiting > 0 AND t.live - t.judged = r.waiting AND (t.state <> ''open'' OR t.live = t.performers)'
            ' AND (a.kind <> ''submitted'' OR a.assignment_id = r.newest)', home) USING acts;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.became_reviewable(_taskex.journal_act[], bigint[]) IS
    'Tasks of these requesters that are reviewable now and became so by an act of the batch, as acts of the kind reviewable.';

CREATE FUNCTION _taskex.fold_events(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
DECLARE
    subscribers _taskex.subscription[];
    acts _taskex.journal_act[];
    said record;
BEGIN
    subscribers := array(SELECT s FROM (
            SELECT b.requester_id AS id FROM unnest(batch) b UNION SELECT b.performer_id FROM unnest(batch) b) u
        JOIN _taskex.subscription s ON s.user_id = u.id);
    IF cardinality(subscribers) = 0 THEN
        RETURN;
    END IF;
    acts := batch
        || array(SELECT r::_taskex.journal_act FROM _taskex.became_reviewable(batch, array(SELECT s.user_id FROM unnest(subscribers) s
                WHERE s.kinds IS NULL OR 'reviewable' = ANY (s.kinds))) r)
        || array(SELECT ROW(b.id, b.xid, b.at, b.requester_id, NULL, b.task_type_id, b.task_id, NULL, 0, 'completed', NULL)::_taskex.journal_act
            FROM unnest(batch) b WHERE b.detail @> '{"completed": true}');
    FOR said IN EXECUTE format('WITH heard AS ('
        '  SELECT s.user_id, a.* FROM unnest($1) a'
        '   JOIN _taskex.event_kind k ON k.kind = a.kind AND k.to_requester'
        '   JOIN unnest($2) s ON s.user_id = a.requester_id'
        '   WHERE CASE WHEN s.kinds IS NULL THEN k.by_default ELSE a.kind = ANY (s.kinds) END'
        '  UNION ALL SELECT s.user_id, a.* FROM unnest($1) a'
        '   JOIN _taskex.event_kind k ON k.kind = a.kind AND k.to_performer'
        '   JOIN unnest($2) s ON s.user_id = a.performer_id'
        '   WHERE CASE WHEN s.kinds IS NULL THEN k.by_default ELSE a.kind = ANY (s.kinds) END'
        '    AND NOT (k.to_requester AND a.performer_id IS NOT DISTINCT FROM a.requester_id)'
        -- the last number of each, looked for once and not once for each event
        ' ), latest AS MATERIALIZED ('
        '  SELECT u.user_id, greatest(0, (SELECT f.number FROM _taskex.event_floor f WHERE f.user_id = u.user_id),'
        '   (SELECT e.number FROM _taskex.event_0 e WHERE e.user_id = u.user_id ORDER BY e.number DESC LIMIT 1),'
        '   (SELECT e.number FROM _taskex.event_1 e WHERE e.user_id = u.user_id ORDER BY e.number DESC LIMIT 1),'
        '   (SELECT e.number FROM _taskex.event_2 e WHERE e.user_id = u.user_id ORDER BY e.number DESC LIMIT 1)) AS number'
        '  FROM (SELECT DISTINCT user_id FROM heard) u'
        ' ), added AS ('
        '  INSERT INTO _taskex.event_%s (user_id, number, at, requester_id, performer_id, task_type_id, task_id,'
        '   assignment_id, amount, kind, detail)'
        '  SELECT h.user_id, l.number + row_number() OVER (PARTITION BY h.user_id ORDER BY h.id, k.position), h.at,'
        '   h.requester_id, h.performer_id, h.task_type_id, h.task_id, h.assignment_id, h.amount, h.kind, h.detail'
        '  FROM heard h JOIN _taskex.event_kind k USING (kind)'
        '   JOIN latest l USING (user_id)'
        '  RETURNING user_id, number)'
        ' SELECT s.channel, d.login, max(a.number) AS number FROM added a JOIN unnest($2) s USING (user_id)'
        '  JOIN _taskex.directory d USING (user_id) WHERE s.channel IS NOT NULL GROUP BY 1, 2',
        coalesce((SELECT t.turn FROM _taskex.event_turn t ORDER BY t.turn DESC LIMIT 1), 0) % 3)
        USING acts, subscribers
    LOOP
        -- a full queue (a listener that stands still) must not stop the dispatch
        IF pg_notification_queue_usage() < 0.9 THEN
            PERFORM pg_notify(said.channel, jsonb_build_object('login', said.login, 'event', said.number)::text);
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.fold_events(_taskex.journal_act[]) IS
    'Consumer of the journal: writes the events of subscribers and notifies their channels, once for a batch and subscriber.';

INSERT INTO _taskex.journal_consumer VALUES (900, 'fold_events');

-- Each segment takes events for half of the retention, and the oldest of three is
-- emptied when the next one is begun: events stay for at least the retention.
CREATE FUNCTION _taskex.event_retire() RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    t _taskex.event_turn;
    target name;
BEGIN
    LOCK TABLE _taskex.journal_consumer IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT * INTO t FROM _taskex.event_turn ORDER BY turn DESC LIMIT 1;
    IF NOT FOUND THEN
        INSERT INTO _taskex.event_turn VALUES (0, _taskex.now());
        RETURN 0;
    END IF;
    IF t.started_at > _taskex.now() - current_setting('taskex.event_retention')::interval / 2 THEN
        RETURN 0;
    END IF;
    target := 'event_' || (t.turn + 1) % 3;
    IF pg_relation_size('_taskex.' || target) > 0 THEN
        IF NOT EXISTS (SELECT FROM _taskex.segment_mark k WHERE k.segment = target) THEN
            -- who looks for what is about to go must learn it, and numbers go on
            EXECUTE format('INSERT INTO _taskex.event_floor AS f SELECT e.user_id, max(e.number) FROM _taskex.%I e GROUP BY 1'
                ' ON CONFLICT (user_id) DO UPDATE SET number = greatest(f.number, excluded.number)', target);
        END IF;
        IF NOT _taskex.segment_ripe(target, NULL) THEN
            RETURN 0;
        END IF;
        BEGIN
            EXECUTE format('TRUNCATE _taskex.%I', target);
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            RETURN 0;   -- later
        END;
        DELETE FROM _taskex.segment_mark k WHERE k.segment = target;
    END IF;
    INSERT INTO _taskex.event_turn VALUES (t.turn + 1, _taskex.now());
    DELETE FROM _taskex.event_turn d WHERE d.turn = t.turn;
    RETURN 1;
END $$;
COMMENT ON FUNCTION _taskex.event_retire() IS
    'Begins the next segment of events if it is time, and gives up what the segment had. Result: 1 if it did.';

-- for users ----------------------------------------------------------------------------

CREATE FUNCTION taskex.subscribe(login text, kinds text[] = NULL, channel text = NULL)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.subscribe(text, text[], text) IS
'Keeps events for a user from now on, as requester and as performer; or changes what is kept.
kinds: from taskex.event_kinds; NULL: all of which it says so. channel: of NOTIFY, lower-case letters, digits and
underscores, at most 63, not beginning with a digit; NULL: none. Each batch of events is announced once, with
{"login": ..., "event": number of the last one}.
Result: the number of the last event so far, after which taskex.read_events() finds the new ones.
Errors: unknown_user (TX001), invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.subscribe(user_id bigint, kinds text[], channel text) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    unknown text;
BEGIN
    IF cardinality(kinds) = 0 OR array_ndims(kinds) > 1 OR array_position(kinds, NULL) IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'kinds must be a list of kinds of events, without nulls',
            HINT = 'The view taskex.event_kinds lists them. NULL stands for the usual ones.';
    END IF;
    SELECT k INTO unknown FROM unnest(kinds) k WHERE k NOT IN (SELECT e.kind FROM _taskex.event_kind e) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('there are no events of kind "%s"', unknown),
            HINT = 'The view taskex.event_kinds lists the kinds.';
    END IF;
    IF channel !~ '^[a-z_][a-z0-9_]{0,62}$' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('"%s" is not a name for a channel', channel),
            DETAIL = 'It has 1 to 63 lower-case letters, digits and underscores, and does not begin with a digit.',
            HINT = 'Give a name that can be used with LISTEN as it is.';
    END IF;
    -- each kind once: the dispatch goes through them for each act
    IF kinds IS NOT NULL THEN
        kinds := array(SELECT e.kind FROM _taskex.event_kind e WHERE e.kind = ANY (kinds) ORDER BY e.position);
    END IF;
    INSERT INTO _taskex.subscription AS s VALUES (subscribe.user_id, subscribe.kinds, subscribe.channel, _taskex.now())
        ON CONFLICT ON CONSTRAINT subscription_pkey DO UPDATE SET kinds = excluded.kinds, channel = excluded.channel;
    RETURN _taskex.last_event(subscribe.user_id);
END $$;
COMMENT ON FUNCTION _taskex.subscribe(bigint, text[], text) IS 'Body of taskex.subscribe().';

CREATE FUNCTION taskex.unsubscribe(login text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.unsubscribe(text) IS
'Ends a user''s subscription: no more events are kept for him. If he subscribes again, numbers go on.
Errors: unknown_user (TX001), not_subscribed (TX302).';

CREATE FUNCTION _taskex.require_subscription(user_id bigint) RETURNS void
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM _taskex.subscription s WHERE s.user_id = require_subscription.user_id) THEN
        PERFORM _taskex.fail('not_subscribed', format('user "%s" has no subscription to events', _taskex.login(user_id)),
            NULL, 'Use taskex.subscribe() first.');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.require_subscription(bigint) IS 'Raises not_subscribed unless the user has a subscription.';

CREATE FUNCTION _taskex.unsubscribe(user_id bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.require_subscription(user_id);
    DELETE FROM _taskex.subscription s WHERE s.user_id = unsubscribe.user_id;
END $$;
COMMENT ON FUNCTION _taskex.unsubscribe(bigint) IS 'Body of taskex.unsubscribe().';

CREATE FUNCTION taskex.read_events(login text, after bigint = 0, max_rows int = 100)
    RETURNS TABLE (event bigint, kind text, at timestamptz, task_id bigint, task_type_id bigint, assignment_id bigint,
        requester text, performer text, amount numeric, detail jsonb)
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.read_events(text, bigint, int) IS
'A user''s events in order, oldest first. They are numbered 1, 2, 3... without gaps: who goes on after the last
number that he has seen misses none. An event appears within moments of the commit of its cause.
after: the last number seen. max_rows: 1 to 10000. kind, and what amount and detail mean: taskex.event_kinds.
Errors: unknown_user (TX001), not_subscribed (TX302), event_gone (TX301) when events after this one are older than
taskex.event_retention and gone; the detail says which is the first that is left.';

CREATE FUNCTION _taskex.event_detail(detail jsonb) RETURNS jsonb
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN detail ?| '{fee, held, released}' THEN detail || (
            SELECT jsonb_object_agg(d.key, _taskex.amount(d.value::bigint))
            FROM jsonb_each_text(detail) d WHERE d.key IN ('fee', 'held', 'released'))
        ELSE detail END
$$;
COMMENT ON FUNCTION _taskex.event_detail(jsonb) IS 'The detail of an act with its amounts in units.';

CREATE FUNCTION _taskex.read_events(user_id bigint, after bigint, max_rows int)
    RETURNS TABLE (event bigint, kind text, at timestamptz, task_id bigint, task_type_id bigint, assignment_id bigint,
        requester text, performer text, amount numeric, detail jsonb)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off SET enable_bitmapscan = off AS $$
DECLARE
    e record;
BEGIN
    IF max_rows NOT BETWEEN 1 AND 10000 OR after < 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = CASE WHEN after < 0 THEN 'after must not be negative' ELSE 'max_rows must be between 1 and 10000' END;
    END IF;
    PERFORM _taskex.require_subscription(user_id);
    event := after;
    -- one statement: the floor and the events are of one snapshot
    FOR e IN SELECT v.*, coalesce(f.number, 0) AS floor
        FROM (SELECT 1) one LEFT JOIN _taskex.event_floor f ON f.user_id = read_events.user_id
            LEFT JOIN LATERAL (SELECT * FROM _taskex.event v WHERE v.user_id = read_events.user_id AND v.number > after
                ORDER BY v.number LIMIT max_rows) v ON true
        ORDER BY v.number
    LOOP
        IF e.floor > after OR e.number - 1 > event THEN
            PERFORM _taskex.fail('event_gone', format('events after number %s are gone', after),
                format('The first one that is left has number %s.', greatest(e.floor, e.number - 1) + 1),
                'Look at the tables for what happened meanwhile; go on after the number before that one.');
        END IF;
        EXIT WHEN e.number IS NULL;
        event := e.number;
        kind := e.kind;
        at := e.at;
        task_id := e.task_id;
        task_type_id := e.task_type_id;
        assignment_id := e.assignment_id;
        requester := _taskex.login(e.requester_id);
        performer := _taskex.login(e.performer_id);
        amount := _taskex.amount(e.amount);
        -- what the exchange earns on his work is between it and the requester
        detail := nullif(_taskex.event_detail(e.detail
            - CASE WHEN e.requester_id IS NOT DISTINCT FROM user_id THEN '{}' ELSE '{fee, held, released}'::text[] END), '{}');
        IF user_id IS DISTINCT FROM e.requester_id AND e.kind IN ('returned', 'abandoned', 'rejected') THEN
            amount := 0;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.read_events(bigint, bigint, int) IS 'Body of taskex.read_events().';

CREATE FUNCTION taskex.test_event(login text)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.test_event(text) IS
'Makes an event of kind test for the user, to see whether events arrive; his subscription must have that kind.
Errors: unknown_user (TX001), not_subscribed (TX302).';

CREATE FUNCTION _taskex.test_event(user_id bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.require_subscription(user_id);
    PERFORM _taskex.journal('test', user_id, NULL, NULL, NULL, NULL, NULL, NULL);
END $$;
COMMENT ON FUNCTION _taskex.test_event(bigint) IS 'Body of taskex.test_event().';

CREATE VIEW taskex.event_kinds AS
    SELECT kind, to_requester, to_performer, by_default, description, amount, detail
    FROM _taskex.event_kind ORDER BY position;
COMMENT ON VIEW taskex.event_kinds IS
'Kinds of events: who gets them, whether a subscription without kinds has them, and what amount and detail mean.';

CREATE VIEW taskex.subscriptions WITH (security_barrier) AS
    SELECT d.login, s.kinds, s.channel, s.subscribed_at
    FROM _taskex.subscription s JOIN _taskex.directory d USING (user_id)
    WHERE _taskex.visible(s.user_id) AND _taskex.narrow(NULL, s.user_id, d.login, NULL);
COMMENT ON VIEW taskex.subscriptions IS 'Who gets events: those of the users for whom the caller may act.';
