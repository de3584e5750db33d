-- journal.sql: the journal of acts and its dispatch to consumers, which are in
-- summaries.sql, events.sql and elsewhere. Pairs with src/journal, whose README.md
-- tells how it works.

-- the journal ----------------------------------------------------------------

-- Columns are in the order that wastes no space for alignment, and that of
-- src/journal/write.c.
CREATE TABLE _taskex.journal_act (
    id bigint NOT NULL,
    xid xid8 NOT NULL,
    at timestamptz NOT NULL,
    requester_id bigint,
    performer_id bigint,
    task_type_id bigint,
    task_id bigint,
    assignment_id bigint,
    amount bigint NOT NULL,
    kind text NOT NULL,
    detail jsonb
);
COMMENT ON TABLE _taskex.journal_act IS
    'The journal: a row for each act, written in the transaction of the act. It has no rows of its own, the segments have.';
COMMENT ON COLUMN _taskex.journal_act.id IS 'Rises in the order of causes: it is taken after the row locks of the act.';
COMMENT ON COLUMN _taskex.journal_act.xid IS 'The top-level transaction, by which the dispatch finds what was committed.';
COMMENT ON COLUMN _taskex.journal_act.amount IS 'Nano-units; of what, _taskex.event_kind tells.';

-- Three segments in rotation (src/journal/write.c): what all consumers have had is
-- given back by truncating a segment, so nothing here leaves dead rows.
CREATE TABLE _taskex.journal_0 () INHERITS (_taskex.journal_act);
CREATE TABLE _taskex.journal_1 () INHERITS (_taskex.journal_act);
CREATE TABLE _taskex.journal_2 () INHERITS (_taskex.journal_act);
-- the parents have their indexes so that plans need no scan of an empty table
CREATE INDEX journal_act_xid_idx ON _taskex.journal_act (xid);
CREATE INDEX journal_0_xid_idx ON _taskex.journal_0 (xid);
CREATE INDEX journal_1_xid_idx ON _taskex.journal_1 (xid);
CREATE INDEX journal_2_xid_idx ON _taskex.journal_2 (xid);
COMMENT ON TABLE _taskex.journal_0 IS 'First segment of the journal.';
COMMENT ON TABLE _taskex.journal_1 IS 'Second segment of the journal.';
COMMENT ON TABLE _taskex.journal_2 IS 'Third segment of the journal.';

SELECT pg_catalog.pg_extension_config_dump('_taskex.journal_act', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.journal_0', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.journal_1', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.journal_2', '');

CREATE FUNCTION _taskex.journal(kind text, requester_id bigint, performer_id bigint, task_type_id bigint,
        task_id bigint, assignment_id bigint, amount bigint, detail jsonb)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_journal';
COMMENT ON FUNCTION _taskex.journal(text, bigint, bigint, bigint, bigint, bigint, bigint, jsonb) IS
'Writes one act to the journal, in the caller''s transaction. To be called after the row locks that the act
needs have been taken. kind: one of _taskex.event_kind, which tells what amount (nano-units; NULL: 0) and detail
mean. The ids and detail may be NULL. A negative task type (golden tasks) is written as the positive one.';

-- kinds of acts ---------------------------------------------------------------

CREATE TABLE _taskex.event_kind (
    kind text PRIMARY KEY,
    position int NOT NULL UNIQUE,
    to_requester boolean NOT NULL,
    to_performer boolean NOT NULL,
    by_default boolean NOT NULL,
    description text NOT NULL,
    amount text,
    detail text
);
COMMENT ON TABLE _taskex.event_kind IS 'Kinds of acts in the journal, and who gets them as events. Filled by the install script alone.';
COMMENT ON COLUMN _taskex.event_kind.by_default IS 'Do subscriptions that name no kinds have it?';
COMMENT ON COLUMN _taskex.event_kind.amount IS 'What the amount means; NULL: it is 0.';
COMMENT ON COLUMN _taskex.event_kind.detail IS 'What the detail has. The keys fee, held and released are amounts: nano-units in the journal, units in events.';

INSERT INTO _taskex.event_kind VALUES
    ('created', 10, true, false, true, 'tasks were supplied by one call; task_id: the first', 'held for them',
        'count, performers, last_task_id'),
    ('accepted', 20, true, true, false, 'a performer took a task; only for those who ask for this kind by name', NULL, NULL),
    ('returned', 30, true, true, true, 'a performer gave a task back', 'given back to the requester', 'slots: 1 if the task was closed and gave the slot up'),
    ('abandoned', 40, true, true, true, 'a lease ran out', 'given back to the requester', 'slots, as for returned'),
    ('submitted', 50, true, true, true, 'a result was delivered', NULL, NULL),
    ('reviewable', 60, true, false, true, 'all results of a task that will come have come, and some wait for judgement', NULL, NULL),
    ('approved', 70, true, true, true, 'a result was approved and paid', 'the reward',
        'fee; automatic: true if nobody judged in time; completed: true if it was the task''s last'),
    ('rejected', 80, true, true, true, 'a result was rejected', 'given back to the requester',
        'reopened: true if the slot is offered again; completed: true if it was the task''s last'),
    ('overridden', 90, true, true, true, 'a rejection was turned into an approval, which was paid', 'the reward',
        'fee; held: what was set aside for it again'),
    ('expired', 100, true, false, true, 'a task was closed, because its time was over or by its requester',
        'given back to the requester', 'slots: how many were given up'),
    ('extended', 110, true, false, true, 'a task wants more performers, or its expiry was moved', 'held in addition',
        'performers: how many in addition, or again; expires_at'),
    ('cancelled', 120, true, false, true, 'a task was cancelled', 'given back to the requester', 'slots, as for expired'),
    ('decided', 130, true, false, true, 'a task has its answer; its free slots are given up', 'given back to the requester', 'slots, as for expired'),
    ('completed', 140, true, false, true, 'all results of a task are judged', NULL, NULL),
    ('disposed', 150, true, false, true, 'a task was removed from its requester''s lists', NULL, NULL),
    ('type_changed', 160, true, false, true, 'a task got another type', 'held in addition, or less than 0', 'from, slots, held (for it as the other type)'),
    ('released', 170, true, false, true, 'money held for a task was given back for another reason', 'given back to the requester', NULL),
    ('paid', 180, true, true, true, 'a performer was paid besides rewards and bonuses', 'paid', 'fee'),
    ('bonus', 190, true, true, true, 'a performer was paid a bonus', 'the bonus', 'fee'),
    ('payout', 200, false, true, true, 'earnings were paid out', 'paid out', 'reference'),
    ('payout_returned', 210, false, true, true, 'a payout failed, and the money is back', 'given back to the performer', 'reference, error'),
    ('qualification_requested', 300, true, true, true, 'a performer asked for a qualification', NULL, 'qualification, request'),
    ('qualification_granted', 310, true, true, true, 'a performer was given a qualification, or another score', NULL, 'qualification, score; notify: false if he need not be told'),
    ('qualification_rejected', 320, true, true, true, 'a request of a qualification was rejected', NULL, 'qualification, request, reason'),
    ('qualification_revoked', 330, true, true, true, 'a qualification was taken away', NULL, 'qualification, reason'),
    ('blocked', 400, true, true, true, 'a performer was blocked by a requester, or suspended by the exchange (no requester)', NULL, 'reason, until, policy'),
    ('unblocked', 410, true, true, true, 'a block or suspension was lifted', NULL, 'reason'),
    ('message', 420, true, true, true, 'a message was sent', NULL, 'subject, text'),
    ('dispute_opened', 430, true, true, true, 'a performer disputes a rejection', NULL, 'dispute, text'),
    ('dispute_answered', 440, true, true, true, 'somebody answered in a dispute', NULL, 'dispute, text'),
    ('dispute_closed', 450, true, true, true, 'a dispute has ended', NULL, 'dispute, outcome'),
    ('found', 500, false, true, true, 'tasks appeared that a saved search looks for', NULL, 'search, count'),
    ('test', 900, true, true, true, 'taskex.test_event() was called', NULL, NULL);

-- consumers -------------------------------------------------------------------

CREATE TABLE _taskex.journal_consumer (
    position int PRIMARY KEY,
    name name NOT NULL UNIQUE
);
COMMENT ON TABLE _taskex.journal_consumer IS
'Who gets what was journaled: the functions _taskex.NAME(batch _taskex.journal_act[]), called in the order of their
positions, in the transaction that moves the cursor on. They are set-based, write to tables that nobody else
writes to, and never wait for users'' row locks. Filled by the install script alone.';

-- dispatch ----------------------------------------------------------------------------

CREATE FUNCTION _taskex.incarnation() RETURNS text
    LANGUAGE C STABLE AS 'MODULE_PATHNAME', 'taskex_incarnation';
COMMENT ON FUNCTION _taskex.incarnation() IS
    'Server and database in which ids of transactions mean something: system identifier / oid.';

CREATE FUNCTION _taskex.horizon() RETURNS xid8
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_horizon';
COMMENT ON FUNCTION _taskex.horizon() IS
    'What transactions before this one did is visible in all snapshots of this database.';

CREATE TABLE _taskex.journal_cursor (
    number bigint PRIMARY KEY,
    done_id bigint NOT NULL,
    max_id bigint NOT NULL,
    at timestamptz NOT NULL,
    upto xid8 NOT NULL,
    goal_upto xid8,
    pending xid8[] NOT NULL,
    goal_pending xid8[],
    incarnation text NOT NULL
);
COMMENT ON TABLE _taskex.journal_cursor IS
'How far the journal is dispatched; the row with the highest number counts. A move adds a row and removes the one before,
so that the newest is found at once, however long old versions are kept.';
COMMENT ON COLUMN _taskex.journal_cursor.upto IS 'Transactions before this one are dispatched, but those in pending.';
COMMENT ON COLUMN _taskex.journal_cursor.goal_upto IS 'While a large batch is done in parts: what upto and pending will be.';
COMMENT ON COLUMN _taskex.journal_cursor.done_id IS 'Of the batch that is done in parts: dispatched up to this act.';
COMMENT ON COLUMN _taskex.journal_cursor.max_id IS 'The highest id of an act dispatched so far.';
INSERT INTO _taskex.journal_cursor VALUES
    (0, 0, 0, _taskex.now(), pg_current_xact_id(), NULL, '{}', NULL, _taskex.incarnation());
-- the first row is made here, wherever the dump is restored
SELECT pg_catalog.pg_extension_config_dump('_taskex.journal_cursor', 'WHERE number > 0');

CREATE TABLE _taskex.journal_trouble (
    consumer name PRIMARY KEY,
    since timestamptz NOT NULL,
    tries int NOT NULL,
    next_try timestamptz NOT NULL,
    message text NOT NULL
);
COMMENT ON TABLE _taskex.journal_trouble IS
    'Consumers that failed with all they were given: what is for them waits in _taskex.journal_failed.';

CREATE TABLE _taskex.journal_failed (
    consumer name NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    act _taskex.journal_act NOT NULL,
    set_aside boolean NOT NULL DEFAULT false,
    message text,
    PRIMARY KEY (consumer, position)
);
CREATE INDEX journal_failed_waiting_idx ON _taskex.journal_failed (consumer, position) WHERE NOT set_aside;
COMMENT ON TABLE _taskex.journal_failed IS
'Acts that a consumer has not had, because it failed. They are tried again in order; what fails alone while the consumer
takes others is set aside until taskex.retry_failed_acts() is called.';

SELECT pg_catalog.pg_extension_config_dump('_taskex.journal_trouble', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.journal_failed', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.journal_failed_position_seq', '');

-- all that is committed and not dispatched, in the caller's snapshot
CREATE FUNCTION _taskex.journal_tail() RETURNS SETOF _taskex.journal_act
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
    WITH c AS (SELECT * FROM _taskex.journal_cursor ORDER BY number DESC LIMIT 1)
    SELECT (t.j).* FROM c CROSS JOIN LATERAL (
        SELECT j FROM _taskex.journal_act j WHERE j.xid >= c.upto
        UNION ALL
        SELECT j FROM unnest(c.pending) p JOIN _taskex.journal_act j ON j.xid = p
        UNION ALL
        -- restored from elsewhere: ids of transactions began anew
        SELECT j FROM _taskex.journal_act j WHERE j.xid < c.upto AND j.xid <> ALL (c.pending)
            AND (c.number = 0 OR (c.incarnation <> _taskex.incarnation() AND j.id > c.max_id))) t
    WHERE c.goal_upto IS NULL OR (t.j).id > c.done_id OR (t.j).xid >= c.goal_upto OR (t.j).xid = ANY (c.goal_pending)
$$;
COMMENT ON FUNCTION _taskex.journal_tail() IS 'Acts that are committed and not dispatched yet.';

-- After a restore, or in a copy of the database, ids of transactions are others:
-- all that was not dispatched becomes ours, and the cursor starts anew.
CREATE FUNCTION _taskex.journal_adopt(number bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    LOCK TABLE _taskex.journal_0, _taskex.journal_1, _taskex.journal_2 IN ACCESS EXCLUSIVE MODE;
    UPDATE _taskex.journal_act SET xid = pg_current_xact_id() WHERE id IN (SELECT t.id FROM _taskex.journal_tail() t);
    DELETE FROM _taskex.journal_act WHERE xid <> pg_current_xact_id();
    INSERT INTO _taskex.journal_cursor
        SELECT c.number + 1, 0, c.max_id, _taskex.now(), pg_current_xact_id(), NULL, '{}', NULL, _taskex.incarnation()
        FROM _taskex.journal_cursor c WHERE c.number = journal_adopt.number;
    DELETE FROM _taskex.journal_cursor c WHERE c.number = journal_adopt.number;
END $$;
COMMENT ON FUNCTION _taskex.journal_adopt(bigint) IS 'Starts the cursor of the journal anew, in another server or database.';

CREATE FUNCTION _taskex.journal_hand(consumer name, batch _taskex.journal_act[], OUT failure text, OUT passing boolean, OUT large boolean)
    RETURNS record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('SELECT _taskex.%I($1)', consumer) USING batch;
EXCEPTION WHEN OTHERS THEN
    failure := format('%s (%s)', SQLERRM, SQLSTATE);
    -- conflicts, locks, resources, operators, files: not because of the acts, but perhaps of their number
    passing := SQLSTATE ~ '^(40|53|55P03|57|58)';
    large := SQLSTATE = '53200';
END $$;
COMMENT ON FUNCTION _taskex.journal_hand(name, _taskex.journal_act[]) IS
    'Hands a batch to a consumer, all or nothing; why that failed, or NULL; whether the reason lies outside, or in the batch''s size.';

-- Halves what fails until it knows which acts fail alone. Those are set aside, if
-- the consumer takes others: if it takes none it is the consumer that is broken,
-- and all wait. The number of failures is bounded; what it did not come to waits.
CREATE FUNCTION _taskex.journal_share(consumer name, batch _taskex.journal_act[], OUT done int, OUT failure text)
    RETURNS record LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    ends int[] := ARRAY[cardinality(batch)];
    last int;
    outcome record;
    failures int := 0;
    taken boolean := false;
    bad _taskex.journal_failed[] := '{}';
    one _taskex.journal_failed;
BEGIN
    done := 0;
    WHILE done < cardinality(batch) LOOP
        last := ends[cardinality(ends)];
        outcome := _taskex.journal_hand(consumer, batch[done + 1 : last]);
        IF outcome.failure IS NULL THEN
            taken := true;
        ELSE
            failure := outcome.failure;
            failures := failures + 1;
            EXIT WHEN failures > 100 OR (outcome.passing AND (last = done + 1 OR NOT outcome.large));
            IF last > done + 1 THEN
                ends := ends || (done + last) / 2;
                CONTINUE;
            END IF;
            one.act := batch[last];
            one.message := failure;
            bad := bad || one;
        END IF;
        done := last;
        ends := trim_array(ends, 1);
    END LOOP;
    IF NOT taken THEN
        done := 0;
        RETURN;
    END IF;
    FOREACH one IN ARRAY bad LOOP
        INSERT INTO _taskex.journal_failed (consumer, act, set_aside, message)
            VALUES (journal_share.consumer, one.act, true, one.message);
        RAISE LOG 'taskex: consumer % of the journal failed with act %, which is set aside: %',
            consumer, (one.act).id, one.message;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.journal_share(name, _taskex.journal_act[]) IS
'Hands a batch to a consumer, in parts if need be. Result: how many of its acts are done with, which are had or set aside;
and if that is not all, why.';

-- A consumer that is behind gets what it missed first; what is new waits behind it.
CREATE FUNCTION _taskex.journal_give(consumer name, batch _taskex.journal_act[])
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    outcome record;
    done int := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM _taskex.journal_failed f WHERE f.consumer = journal_give.consumer AND NOT f.set_aside) THEN
        outcome := _taskex.journal_share(consumer, batch);
        done := outcome.done;
        IF done < cardinality(batch) THEN
            PERFORM _taskex.journal_missed(consumer, done, cardinality(batch) - done, outcome.failure);
        END IF;
    END IF;
    INSERT INTO _taskex.journal_failed (consumer, act)
        SELECT journal_give.consumer, b FROM unnest(batch[done + 1 :]) b ORDER BY b.id;
END $$;
COMMENT ON FUNCTION _taskex.journal_give(name, _taskex.journal_act[]) IS
    'Hands a batch to a consumer; what it fails with, or what has to wait for earlier acts, is kept for it.';

-- A consumer that does something goes on at once, else it is tried in the next round, and then after 1, 2, 4 ... 10 s.
CREATE FUNCTION _taskex.journal_missed(consumer name, done int, waiting int, failure text)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM _taskex.journal_trouble t WHERE done > 0 AND t.consumer = journal_missed.consumer;
    IF done > 0 THEN
        RETURN;
    END IF;
    INSERT INTO _taskex.journal_trouble AS t
        VALUES (consumer, clock_timestamp(), 1, clock_timestamp(), failure)
        ON CONFLICT ON CONSTRAINT journal_trouble_pkey DO UPDATE SET tries = t.tries + 1, message = excluded.message,
            next_try = clock_timestamp() + least(interval '1 second' * 2 ^ least(t.tries - 1, 10), interval '10 seconds');
    RAISE LOG 'taskex: consumer % of the journal failed with all of % acts, which wait: %', consumer, waiting, failure;
END $$;
COMMENT ON FUNCTION _taskex.journal_missed(name, int, int, text) IS
    'Says when a consumer is tried again that has not taken all it was given.';

-- One attempt for each consumer whose acts wait and whose time has come.
CREATE FUNCTION _taskex.journal_retry() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    target name;
    batch _taskex.journal_act[];
    places bigint[];
    outcome record;
BEGIN
    FOR target IN SELECT DISTINCT f.consumer FROM _taskex.journal_failed f WHERE NOT f.set_aside AND NOT EXISTS (
            SELECT FROM _taskex.journal_trouble t WHERE t.consumer = f.consumer AND t.next_try > clock_timestamp()) LOOP
        SELECT array_agg(w.act ORDER BY w.position), array_agg(w.position ORDER BY w.position) INTO batch, places
            FROM (SELECT f.act, f.position FROM _taskex.journal_failed f
                WHERE f.consumer = target AND NOT f.set_aside ORDER BY f.position LIMIT 20000) w;
        batch := _taskex.known_acts(batch);
        outcome := _taskex.journal_share(target, batch);
        PERFORM _taskex.require_known(batch);
        IF outcome.done > 0 THEN
            DELETE FROM _taskex.journal_failed f
                WHERE f.consumer = target AND NOT f.set_aside AND f.position <= places[outcome.done];
        END IF;
        PERFORM _taskex.journal_missed(target, outcome.done, cardinality(batch), outcome.failure);
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.journal_retry() IS 'Hands to consumers what they missed, if it is time to try again.';

-- What has ended as of a snapshot is fixed: its acts are the batch. What has not
-- ended and is below the new bound becomes "pending", and is looked for by its id
-- until it has ended: so nothing is read twice, and an open transaction delays its
-- own acts only. Our own transaction has not ended either.
-- Who was identified as another user is not known to consumers any more.
CREATE FUNCTION _taskex.known_acts(batch _taskex.journal_act[]) RETURNS _taskex.journal_act[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM _taskex.identified) THEN
        RETURN batch;
    ELSIF NOT EXISTS (SELECT FROM (SELECT b.requester_id AS id FROM unnest(batch) b UNION SELECT b.performer_id FROM unnest(batch) b
                UNION SELECT a::bigint FROM unnest(batch) b CROSS JOIN LATERAL jsonb_object_keys(b.detail -> 'agreed') a WHERE b.kind = 'compared') u
            JOIN _taskex.identified i ON i.anonymous_id = u.id WHERE i.user_id <> i.anonymous_id) THEN
        RETURN batch;
    END IF;
    RETURN ARRAY(SELECT ROW(b.id, b.xid, b.at, coalesce(q.user_id, b.requester_id), coalesce(p.user_id, b.performer_id), b.task_type_id,
                b.task_id, b.assignment_id, b.amount, b.kind, CASE WHEN b.kind = 'compared' THEN jsonb_set(b.detail, '{agreed}', (
                    SELECT jsonb_object_agg(coalesce(i.user_id::text, a.key), a.value) FROM jsonb_each(b.detail -> 'agreed') a
                        LEFT JOIN _taskex.identified i ON i.anonymous_id = a.key::bigint)) ELSE b.detail END)::_taskex.journal_act
        FROM unnest(batch) WITH ORDINALITY b (id, xid, at, requester_id, performer_id, task_type_id, task_id, assignment_id, amount, kind, detail, n)
            LEFT JOIN _taskex.identified q ON q.anonymous_id = b.requester_id
            LEFT JOIN _taskex.identified p ON p.anonymous_id = b.performer_id
        ORDER BY b.n);
END $$;
COMMENT ON FUNCTION _taskex.known_acts(_taskex.journal_act[]) IS 'A batch with the numbers that identified users have now.';

-- A consumer that comes to act after a user was identified finds nobody, and counts nothing.
CREATE FUNCTION _taskex.require_known(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF _taskex.known_acts(batch) IS DISTINCT FROM batch THEN
        RAISE EXCEPTION USING ERRCODE = 'serialization_failure', MESSAGE = 'an anonymous user was identified during the dispatch',
            HINT = 'The next round does it.';
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.require_known(_taskex.journal_act[]) IS
'Raises serialization_failure if somebody has been identified whom a batch, that consumers have just had, names by his old number.';

CREATE FUNCTION _taskex.dispatch(max_acts int) RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off SET enable_bitmapscan = off AS $$
DECLARE
    c _taskex.journal_cursor;
    seen pg_snapshot;
    busy xid8[];
    ended xid8[];
    cut xid8;
    first_xid xid8;
    batch _taskex.journal_act[];
    complete boolean := true;
    target name;
BEGIN
    -- one at a time; users' functions never ask for this lock
    LOCK TABLE _taskex.journal_consumer IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT * INTO STRICT c FROM _taskex.journal_cursor ORDER BY number DESC LIMIT 1;
    IF c.incarnation <> _taskex.incarnation() OR (c.number = 0 AND EXISTS (SELECT FROM _taskex.journal_act j
            WHERE j.xid < c.upto OR j.xid > pg_current_xact_id())) THEN
        PERFORM _taskex.journal_adopt(c.number);
        RETURN max_acts;    -- its acts are dispatched next, when they are committed
    END IF;
    IF EXISTS (SELECT FROM _taskex.journal_failed f WHERE NOT f.set_aside) THEN
        PERFORM _taskex.journal_retry();
    END IF;

    IF c.goal_upto IS NULL THEN
        seen := pg_current_snapshot();
        busy := array(SELECT x FROM pg_snapshot_xip(seen) x) || array_remove(ARRAY[pg_current_xact_id_if_assigned()], NULL);
        cut := greatest(pg_snapshot_xmax(seen), c.upto);
        ended := array(SELECT p FROM unnest(c.pending) p WHERE p <> ALL (busy));
        batch := array(SELECT t.j FROM (
                SELECT j FROM unnest(ended) p JOIN _taskex.journal_act j ON j.xid = p
                UNION ALL
                SELECT j FROM _taskex.journal_act j WHERE j.xid >= c.upto AND j.xid < cut AND j.xid <> ALL (busy)
                LIMIT max_acts + 1) t
            ORDER BY (t.j).id);
        IF cardinality(batch) = 0 AND cardinality(ended) = 0
                AND NOT EXISTS (SELECT FROM unnest(busy) b WHERE b >= c.upto AND b < cut) THEN
            RETURN 0;
        END IF;

        -- too many for one batch: fix which, ten batches at most if it is not one transaction
        IF cardinality(batch) > max_acts THEN
            SELECT j.xid INTO c.goal_upto FROM _taskex.journal_act j WHERE j.xid >= c.upto AND j.xid < cut
                ORDER BY j.xid OFFSET 10 * max_acts LIMIT 1;
            SELECT j.xid INTO first_xid FROM _taskex.journal_act j WHERE j.xid >= c.upto AND j.xid < cut ORDER BY j.xid LIMIT 1;
            IF c.goal_upto = first_xid THEN
                c.goal_upto := (first_xid::text::bigint + 1)::text::xid8;
            END IF;
            c.goal_upto := coalesce(c.goal_upto, cut);
            c.goal_pending := array(SELECT b FROM unnest(busy) b WHERE b < c.goal_upto);
            c.done_id := 0;
        ELSE
            c.upto := cut;
            c.pending := array(SELECT b FROM unnest(busy) b WHERE b < cut);
        END IF;
    END IF;
    IF c.goal_upto IS NOT NULL THEN
        batch := array(SELECT t.j FROM (
                SELECT j FROM unnest(c.pending) p JOIN _taskex.journal_act j ON j.xid = p
                UNION ALL
                SELECT j FROM _taskex.journal_act j WHERE j.xid >= c.upto AND j.xid < c.goal_upto) t
            WHERE (t.j).id > c.done_id AND (t.j).xid <> ALL (c.goal_pending)
            ORDER BY (t.j).id LIMIT max_acts);
        complete := cardinality(batch) < max_acts;
        IF complete THEN
            c.upto := c.goal_upto;
            c.pending := c.goal_pending;
            c.goal_upto := NULL;
            c.goal_pending := NULL;
            c.done_id := 0;
        ELSE
            c.done_id := batch[max_acts].id;
        END IF;
    END IF;

    INSERT INTO _taskex.journal_cursor VALUES (c.number + 1, c.done_id,
        greatest(c.max_id, (SELECT max(b.id) FROM unnest(batch) b)), _taskex.now(), c.upto, c.goal_upto,
        c.pending, c.goal_pending, c.incarnation);
    DELETE FROM _taskex.journal_cursor d WHERE d.number = c.number AND d.number > 0 OR d.number = 0 AND c.number = 1;
    IF cardinality(batch) > 0 THEN
        batch := _taskex.known_acts(batch);
        FOR target IN SELECT k.name FROM _taskex.journal_consumer k ORDER BY k.position LOOP
            PERFORM _taskex.journal_give(target, batch);
        END LOOP;
        PERFORM _taskex.require_known(batch);
    END IF;
    RETURN CASE WHEN complete THEN cardinality(batch) ELSE max_acts END;
END $$;
COMMENT ON FUNCTION _taskex.dispatch(int) IS
'Hands what was committed since the last time to all consumers: up to max_acts acts, in the order of their ids, and moves
the cursor, all in this transaction, which must be READ COMMITTED. Result: the number of acts; max_acts: there may be more.';

-- segments ----------------------------------------------------------------------------

CREATE TABLE _taskex.segment_mark (
    segment name PRIMARY KEY,
    last_xid xid8,
    marked_by xid8 NOT NULL
);
COMMENT ON TABLE _taskex.segment_mark IS
    'Segments that can be truncated when no snapshot is older than the transaction marked_by and nothing was added meanwhile.';
-- a mark means nothing elsewhere, where ids of transactions are others
SELECT pg_catalog.pg_extension_config_dump('_taskex.segment_mark', 'WHERE false');

-- Truncating is not seen through a snapshot, so it waits until all snapshots
-- (pg_dump's too) are newer than what made the segment superfluous.
CREATE FUNCTION _taskex.segment_ripe(segment name, last_xid xid8) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m _taskex.segment_mark;
BEGIN
    SELECT * INTO m FROM _taskex.segment_mark k WHERE k.segment = segment_ripe.segment;
    IF FOUND AND m.last_xid IS NOT DISTINCT FROM last_xid THEN
        RETURN m.marked_by < _taskex.horizon();
    END IF;
    DELETE FROM _taskex.segment_mark k WHERE k.segment = segment_ripe.segment;
    INSERT INTO _taskex.segment_mark VALUES (segment, last_xid, pg_current_xact_id());
    RETURN false;
END $$;
COMMENT ON FUNCTION _taskex.segment_ripe(name, xid8) IS
    'May the segment be truncated? Marks it at the first time, or when its newest transaction is another.';

CREATE FUNCTION _taskex.journal_retire() RETURNS int
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms' AS $$
DECLARE
    c _taskex.journal_cursor;
    current int := (pg_snapshot_xmax(pg_current_snapshot())::text::bigint >> 18) % 3;
    target name;
    last_xid xid8;
    again xid8;
    retired int := 0;
BEGIN
    LOCK TABLE _taskex.journal_consumer IN SHARE UPDATE EXCLUSIVE MODE;
    SELECT * INTO STRICT c FROM _taskex.journal_cursor ORDER BY number DESC LIMIT 1;
    FOR i IN 0 .. 2 LOOP
        target := 'journal_' || i;
        CONTINUE WHEN i = current OR c.goal_upto IS NOT NULL OR c.incarnation <> _taskex.incarnation()
            OR pg_relation_size('_taskex.' || target) = 0
            -- whoever is open and may have written there keeps it
            OR EXISTS (SELECT FROM unnest(c.pending) p WHERE (p::text::bigint >> 18) % 3 = i);
        EXECUTE format('SELECT xid FROM _taskex.%I ORDER BY xid DESC LIMIT 1', target) INTO last_xid;
        CONTINUE WHEN last_xid >= c.upto OR NOT _taskex.segment_ripe(target, last_xid);
        BEGIN
            EXECUTE format('LOCK TABLE _taskex.%I IN ACCESS EXCLUSIVE MODE', target);
            EXECUTE format('SELECT xid FROM _taskex.%I ORDER BY xid DESC LIMIT 1', target) INTO again;
            IF again IS NOT DISTINCT FROM last_xid THEN
                EXECUTE format('TRUNCATE _taskex.%I', target);
                DELETE FROM _taskex.segment_mark k WHERE k.segment = target;
                retired := retired + 1;
            END IF;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            NULL;   -- later
        END;
    END LOOP;
    RETURN retired;
END $$;
COMMENT ON FUNCTION _taskex.journal_retire() IS
    'Truncates segments of the journal that are dispatched and not written to any more. Result: how many.';

-- how far it is -----------------------------------------------------------------------

CREATE FUNCTION _taskex.journal_lag(OUT acts bigint, OUT seconds numeric, OUT failing bigint, OUT set_aside bigint, OUT message text)
    RETURNS record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.acts, t.seconds, f.failing, f.set_aside, format('%s: %s', w.consumer, w.message)
    FROM (SELECT count(*) AS acts, greatest(round(extract(epoch FROM _taskex.now() - min(j.at)), 1), 0) AS seconds
            FROM _taskex.journal_tail() j) t
        CROSS JOIN (SELECT count(*) AS failing, count(*) FILTER (WHERE set_aside) AS set_aside FROM _taskex.journal_failed) f
        LEFT JOIN (SELECT u.consumer, u.message FROM _taskex.journal_trouble u
            UNION ALL SELECT u.consumer, u.message FROM _taskex.journal_failed u WHERE u.set_aside LIMIT 1) w ON true
$$;
COMMENT ON FUNCTION _taskex.journal_lag() IS
'How far the dispatch is behind: acts, seconds since the oldest of them, acts that consumers failed with, how many of these
are set aside, and why (one of the reasons).';

CREATE VIEW taskex.failed_acts AS
    SELECT f.consumer::text AS consumer, (f.act).id AS act_id, (f.act).kind, (f.act).at, r.login AS requester, p.login AS performer,
        (f.act).task_id, (f.act).assignment_id, f.set_aside, coalesce(f.message, t.message) AS message
    FROM _taskex.journal_failed f
        LEFT JOIN _taskex.journal_trouble t USING (consumer)
        LEFT JOIN _taskex.directory r ON r.user_id = (f.act).requester_id
        LEFT JOIN _taskex.directory p ON p.user_id = (f.act).performer_id
    ORDER BY f.consumer, f.position;
COMMENT ON VIEW taskex.failed_acts IS
'Acts that a consumer of the journal (summaries, events, review policies) has not had because it failed, and why. set_aside: it
failed with this one alone, and has gone on without it; else it is tried again by itself. Operators only.';

CREATE FUNCTION taskex.retry_failed_acts(consumer text = NULL)
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    changed bigint;
BEGIN
    IF consumer NOT IN (SELECT k.name FROM _taskex.journal_consumer k) THEN
        PERFORM _taskex.bad_value(format('the journal has no consumer "%s"', consumer), NULL,
            'The view taskex.failed_acts tells whose acts are set aside.');
    END IF;
    UPDATE _taskex.journal_failed f SET set_aside = false, message = NULL
        WHERE f.set_aside AND f.consumer = coalesce(retry_failed_acts.consumer, f.consumer);
    GET DIAGNOSTICS changed = ROW_COUNT;
    RETURN changed;
END $$;
COMMENT ON FUNCTION taskex.retry_failed_acts(text) IS
'Has the next dispatch try again what was set aside because consumers of the journal failed with it: when the cause is mended.
consumer: NULL: all of them. Result: how many acts. What fails again is set aside again. Errors: invalid_parameter_value (22023).
Operators only.';
