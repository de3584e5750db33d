-- journal.sql: the journal of acts, its dispatch to consumers, and the feed of
-- events for users. Pairs with src/journal, whose README.md tells how it works.

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
        'performers: how many in addition; expires_at'),
    ('cancelled', 120, true, false, true, 'a task was cancelled', 'given back to the requester', 'slots, as for expired'),
    ('decided', 130, true, false, true, 'a task has its answer; its free slots are given up', 'given back to the requester', 'slots, as for expired'),
    ('completed', 140, true, false, true, 'all results of a task are judged', NULL, NULL),
    ('disposed', 150, true, false, true, 'a task was removed from its requester''s lists', NULL, NULL),
    ('type_changed', 160, true, false, true, 'a task got another type', 'held in addition, or less than 0', 'from'),
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

-- subscriptions ---------------------------------------------------------------

CREATE TABLE _taskex.subscription (
    user_id bigint PRIMARY KEY,
    kinds text[],
    channel text,
    subscribed_at timestamptz NOT NULL
);
COMMENT ON TABLE _taskex.subscription IS 'Who gets events: kinds (NULL: all that are so by default), and the channel of NOTIFY or NULL.';

-- Sessions know who wants accepts (src/journal/wanted.c).
CREATE FUNCTION _taskex.subscription_changed() RETURNS trigger
    LANGUAGE C AS 'MODULE_PATHNAME', 'taskex_subscription_changed';
COMMENT ON FUNCTION _taskex.subscription_changed() IS 'Tells all sessions at commit that subscriptions have changed.';
CREATE TRIGGER subscription_changed AFTER INSERT OR UPDATE OR DELETE ON _taskex.subscription
    FOR EACH STATEMENT EXECUTE FUNCTION _taskex.subscription_changed();
ALTER TABLE _taskex.subscription ENABLE ALWAYS TRIGGER subscription_changed;

SELECT pg_catalog.pg_extension_config_dump('_taskex.subscription', '');

-- consumers -------------------------------------------------------------------

CREATE TABLE _taskex.journal_consumer (
    position int PRIMARY KEY,
    name name NOT NULL UNIQUE
);
COMMENT ON TABLE _taskex.journal_consumer IS
'Who gets what was journaled: the functions _taskex.NAME(batch _taskex.journal_act[]), called in the order of their
positions, in the transaction that moves the cursor on. They are set-based, write to tables that nobody else
writes to, and never wait for users'' row locks. Filled by the install script alone.';

-- summaries -------------------------------------------------------------------

-- Summaries are folded from the journal by the dispatch alone; what the last
-- moments brought is not in them yet. A transaction that is held open for hours
-- keeps all versions of a row; so that the newest is found first, version, the
-- last column of each key, goes down by one with each change. Readers do not
-- see that: of each key there is one row.

CREATE TABLE _taskex.standing (
    partition_id int NOT NULL,
    performer_id bigint NOT NULL,
    version bigint NOT NULL,
    submitted bigint NOT NULL,
    approved bigint NOT NULL,
    rejected bigint NOT NULL,
    returned bigint NOT NULL,
    abandoned bigint NOT NULL,
    agreed bigint NOT NULL,
    compared bigint NOT NULL,
    last_at timestamptz NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.standing IS
    'What a performer has done in all, on his partition: counts of his assignments by what became of them.';
COMMENT ON COLUMN _taskex.standing.submitted IS 'Delivered, whether judged or not.';
COMMENT ON COLUMN _taskex.standing.agreed IS 'Of the compared results: those that agreed with the answer of the task.';

CREATE TABLE _taskex.earning (
    partition_id int NOT NULL,
    day date NOT NULL,
    performer_id bigint NOT NULL,
    task_type_id bigint NOT NULL,
    version bigint NOT NULL,
    approved bigint NOT NULL,
    reward bigint NOT NULL,
    bonus bigint NOT NULL,
    last_at timestamptz NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.earning IS
    'What a performer has earned by day (UTC) and task type, on his partition; nano-units. Type 0: none.';

CREATE TABLE _taskex.progress (
    partition_id int NOT NULL,
    requester_id bigint NOT NULL,
    task_type_id bigint NOT NULL,
    version bigint NOT NULL,
    tasks bigint NOT NULL,
    slots bigint NOT NULL,
    submitted bigint NOT NULL,
    approved bigint NOT NULL,
    rejected bigint NOT NULL,
    released_slots bigint NOT NULL,
    returned bigint NOT NULL,
    abandoned bigint NOT NULL,
    held bigint NOT NULL,
    paid bigint NOT NULL,
    fees bigint NOT NULL,
    bonuses bigint NOT NULL,
    bonus_fees bigint NOT NULL,
    released bigint NOT NULL,
    rate float8 NOT NULL,
    rate_at timestamptz NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.progress IS
    'How far a requester''s work of a type has come, on his partition; nano-units. Type 0: none.';
COMMENT ON COLUMN _taskex.progress.slots IS 'Assignments wanted: those of supplied tasks, and those added later.';
COMMENT ON COLUMN _taskex.progress.released_slots IS 'Of the slots: those given up by closed tasks.';
COMMENT ON COLUMN _taskex.progress.held IS 'All that was ever set aside; held - paid - fees - released is so now.';
COMMENT ON COLUMN _taskex.progress.rate IS
    'Submissions an hour, exponentially decayed (time constant one hour), as of rate_at; _taskex.decayed() tells what it is now.';

CREATE TABLE _taskex.working (
    partition_id int NOT NULL,
    requester_id bigint NOT NULL,
    performer_id bigint NOT NULL,
    version bigint NOT NULL,
    submitted bigint NOT NULL,
    approved bigint NOT NULL,
    rejected bigint NOT NULL,
    returned bigint NOT NULL,
    abandoned bigint NOT NULL,
    paid bigint NOT NULL,
    last_at timestamptz NOT NULL
) PARTITION BY LIST (partition_id);
COMMENT ON TABLE _taskex.working IS
    'What a performer has done for a requester, on the requester''s partition; paid: rewards and bonuses, nano-units.';

INSERT INTO _taskex.child_table VALUES
    ('standing', 60, 100, ARRAY['PRIMARY KEY (performer_id, version)'], '{}'),
    ('earning', 61, 100, ARRAY['PRIMARY KEY (performer_id, day, task_type_id, version)'], '{}'),
    ('progress', 62, 100, ARRAY['PRIMARY KEY (requester_id, task_type_id, version)'], '{}'),
    ('working', 63, 100, ARRAY['PRIMARY KEY (requester_id, performer_id, version)'], '{}');

-- An exponentially decayed counter: each event counts exp(-age / tau). Divided by
-- tau it estimates the rate of events; the sum is kept up to date by decaying it
-- when something is added. Cormode, Korn, Tirthapura: Exponentially decayed
-- aggregates on data streams (ICDE 2008), section 1; tau is one hour here.
CREATE FUNCTION _taskex.decayed(rate float8, since interval) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    'SELECT CASE WHEN since > interval ''100 hours'' THEN 0 ELSE rate * exp(-greatest(extract(epoch FROM since), 0)::float8 / 3600) END';
COMMENT ON FUNCTION _taskex.decayed(float8, interval) IS
    'What is left of a decayed hourly rate after a time; a time below 0 counts as none.';

-- What was ever held grows with each task that is supplied and cancelled again, so
-- a requester could drive it beyond bigint, where every later batch would fail.
CREATE FUNCTION _taskex.clamped(total numeric) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    'SELECT greatest(least(total, 9000000000000000000), -9000000000000000000)::bigint';
COMMENT ON FUNCTION _taskex.clamped(numeric) IS 'A sum of amounts in nano-units, or what is nearest to it between -9e18 and 9e18.';

CREATE FUNCTION _taskex.add_to_summary(summary name, partition int, keys text[], sums text[], stamps text[], deltas anyarray)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    others text := CASE WHEN 'rate' = ANY (stamps) THEN 'rate, rate_at, first_at, last_at' ELSE 'last_at' END;
    columns text := array_to_string('{partition_id}' || keys || sums, ', ') || ', ' || others;
BEGIN
    EXECUTE format('MERGE INTO _taskex.%1$s s USING (SELECT d.*, o.version AS old FROM unnest($1) d'
        ' LEFT JOIN LATERAL (SELECT o.version FROM _taskex.%1$s o WHERE %2$s ORDER BY o.version LIMIT 1) o ON true) d'
        ' ON %3$s AND s.version = d.old'
        ' WHEN MATCHED THEN UPDATE SET version = s.version - 1, %4$s, %5$s'
        ' WHEN NOT MATCHED THEN INSERT (%6$s, version) VALUES (%7$s, 0)',
        summary || '_' || partition,
        (SELECT string_agg(format('o.%1$s = d.%1$s', k), ' AND ') FROM unnest(keys) k),
        (SELECT string_agg(format('s.%1$s = d.%1$s', k), ' AND ') FROM unnest(keys) k),
        (SELECT string_agg(format(CASE WHEN 'rate' = ANY (stamps) THEN '%1$s = _taskex.clamped(s.%1$s::numeric + d.%1$s)'
            ELSE '%1$s = s.%1$s + d.%1$s' END, c), ', ') FROM unnest(sums) c),
        CASE WHEN 'rate' = ANY (stamps) THEN
            'rate = _taskex.decayed(s.rate, d.rate_at - s.rate_at) + _taskex.decayed(d.rate, s.rate_at - d.rate_at),'
            ' rate_at = greatest(s.rate_at, d.rate_at), first_at = least(s.first_at, d.first_at), ' ELSE '' END
            || 'last_at = greatest(s.last_at, d.last_at)',
        columns, 'd.' || replace(columns, ', ', ', d.'))
    USING deltas;
END $$;
COMMENT ON FUNCTION _taskex.add_to_summary(name, int, text[], text[], text[], anyarray) IS
'Adds rows to a summary on a partition. summary: table without partition. keys, sums: its columns. stamps: its
other columns, {last_at} or those of progress. deltas: rows of the table''s type, one for each key; version is not looked at.';

-- consumers: summaries ------------------------------------------------------------

CREATE FUNCTION _taskex.fold_standing(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int;
    deltas _taskex.standing[];
BEGIN
    FOR home, deltas IN
        SELECT n.partition_id, array_agg(n::_taskex.standing) FROM (
            SELECT d.partition_id, b.performer_id, 0::bigint AS version,
                count(*) FILTER (WHERE b.kind = 'submitted') AS submitted,
                count(*) FILTER (WHERE b.kind IN ('approved', 'overridden')) AS approved,
                count(*) FILTER (WHERE b.kind = 'rejected') - count(*) FILTER (WHERE b.kind = 'overridden') AS rejected,
                count(*) FILTER (WHERE b.kind = 'returned') AS returned,
                count(*) FILTER (WHERE b.kind = 'abandoned') AS abandoned,
                0::bigint AS agreed, 0::bigint AS compared, max(b.at) AS last_at
            FROM unnest(batch) b JOIN _taskex.directory d ON d.user_id = b.performer_id
            WHERE b.kind IN ('submitted', 'approved', 'overridden', 'rejected', 'returned', 'abandoned')
            GROUP BY 1, 2) n
        GROUP BY 1
    LOOP
        PERFORM _taskex.add_to_summary('standing', home, '{performer_id}',
            '{submitted, approved, rejected, returned, abandoned, agreed, compared}', '{last_at}', deltas);
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.fold_standing(_taskex.journal_act[]) IS 'Consumer of the journal: fills _taskex.standing.';

CREATE FUNCTION _taskex.fold_earning(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int;
    deltas _taskex.earning[];
BEGIN
    FOR home, deltas IN
        SELECT n.partition_id, array_agg(n::_taskex.earning) FROM (
            SELECT d.partition_id, (b.at AT TIME ZONE 'UTC')::date AS day, b.performer_id,
                coalesce(b.task_type_id, 0) AS task_type_id, 0::bigint AS version,
                count(*) FILTER (WHERE b.kind IN ('approved', 'overridden')) AS approved,
                coalesce(sum(b.amount) FILTER (WHERE b.kind IN ('approved', 'overridden')), 0)::bigint AS reward,
                coalesce(sum(b.amount) FILTER (WHERE b.kind IN ('bonus', 'paid')), 0)::bigint AS bonus, max(b.at) AS last_at
            FROM unnest(batch) b JOIN _taskex.directory d ON d.user_id = b.performer_id
            WHERE b.kind IN ('approved', 'overridden', 'bonus', 'paid')
            GROUP BY 1, 2, 3, 4) n
        GROUP BY 1
    LOOP
        PERFORM _taskex.add_to_summary('earning', home, '{performer_id, day, task_type_id}',
            '{approved, reward, bonus}', '{last_at}', deltas);
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.fold_earning(_taskex.journal_act[]) IS 'Consumer of the journal: fills _taskex.earning.';

CREATE FUNCTION _taskex.fold_progress(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int;
    deltas _taskex.progress[];
BEGIN
    FOR home, deltas IN
        SELECT n.partition_id, array_agg(n::_taskex.progress) FROM (
            SELECT b.partition_id, b.requester_id, b.type AS task_type_id, 0::bigint AS version,
                coalesce(sum((b.detail->>'count')::bigint) FILTER (WHERE b.kind = 'created'), 0)::bigint AS tasks,
                coalesce(sum((b.detail->>'performers')::bigint * coalesce((b.detail->>'count')::bigint, 1))
                    FILTER (WHERE b.kind IN ('created', 'extended')), 0)::bigint AS slots,
                count(*) FILTER (WHERE b.kind = 'submitted') AS submitted,
                count(*) FILTER (WHERE b.kind IN ('approved', 'overridden')) AS approved,
                count(*) FILTER (WHERE b.kind = 'rejected') - count(*) FILTER (WHERE b.kind = 'overridden') AS rejected,
                coalesce(sum((b.detail->>'slots')::bigint) FILTER (WHERE b.kind IN
                    ('expired', 'cancelled', 'decided', 'returned', 'abandoned')), 0)::bigint AS released_slots,
                count(*) FILTER (WHERE b.kind = 'returned') AS returned,
                count(*) FILTER (WHERE b.kind = 'abandoned') AS abandoned,
                _taskex.clamped(coalesce(sum(CASE WHEN b.kind = 'overridden' THEN (b.detail->>'held')::bigint ELSE b.amount END) FILTER
                    (WHERE b.kind IN ('created', 'extended', 'type_changed', 'overridden')), 0)) AS held,
                _taskex.clamped(coalesce(sum(b.amount) FILTER (WHERE b.kind IN ('approved', 'overridden')), 0)) AS paid,
                _taskex.clamped(coalesce(sum((b.detail->>'fee')::bigint) FILTER (WHERE b.kind IN
                    ('approved', 'overridden')), 0)) AS fees,
                _taskex.clamped(coalesce(sum(b.amount) FILTER (WHERE b.kind IN ('bonus', 'paid')), 0)) AS bonuses,
                _taskex.clamped(coalesce(sum((b.detail->>'fee')::bigint) FILTER (WHERE b.kind IN ('bonus', 'paid')), 0)) AS bonus_fees,
                _taskex.clamped(coalesce(sum(b.amount) FILTER (WHERE b.kind IN ('expired', 'cancelled', 'decided', 'returned',
                    'abandoned', 'rejected', 'released')), 0)) AS released,
                coalesce(sum(_taskex.decayed(1, b.newest - b.at)) FILTER (WHERE b.kind = 'submitted'), 0) AS rate,
                max(b.newest) AS rate_at, min(b.at) AS first_at, max(b.at) AS last_at
            FROM (SELECT a.*, coalesce(a.task_type_id, 0) AS type, d.partition_id,
                    max(a.at) OVER (PARTITION BY a.requester_id, coalesce(a.task_type_id, 0)) AS newest
                FROM unnest(batch) a JOIN _taskex.directory d ON d.user_id = a.requester_id
                WHERE a.kind IN ('created', 'extended', 'type_changed', 'submitted', 'approved', 'overridden', 'rejected',
                    'returned', 'abandoned', 'expired', 'cancelled', 'decided', 'released', 'bonus', 'paid')) b
            GROUP BY 1, 2, 3) n
        GROUP BY 1
    LOOP
        PERFORM _taskex.add_to_summary('progress', home, '{requester_id, task_type_id}',
            '{tasks, slots, submitted, approved, rejected, released_slots, returned, abandoned, held, paid, fees, bonuses, bonus_fees, released}',
            '{rate, rate_at, first_at, last_at}', deltas);
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.fold_progress(_taskex.journal_act[]) IS 'Consumer of the journal: fills _taskex.progress.';

CREATE FUNCTION _taskex.fold_working(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int;
    deltas _taskex.working[];
BEGIN
    FOR home, deltas IN
        SELECT n.partition_id, array_agg(n::_taskex.working) FROM (
            SELECT d.partition_id, b.requester_id, b.performer_id, 0::bigint AS version,
                count(*) FILTER (WHERE b.kind = 'submitted') AS submitted,
                count(*) FILTER (WHERE b.kind IN ('approved', 'overridden')) AS approved,
                count(*) FILTER (WHERE b.kind = 'rejected') - count(*) FILTER (WHERE b.kind = 'overridden') AS rejected,
                count(*) FILTER (WHERE b.kind = 'returned') AS returned,
                count(*) FILTER (WHERE b.kind = 'abandoned') AS abandoned,
                coalesce(sum(b.amount) FILTER (WHERE b.kind IN ('approved', 'overridden', 'bonus', 'paid')), 0)::bigint AS paid,
                max(b.at) AS last_at
            FROM unnest(batch) b JOIN _taskex.directory d ON d.user_id = b.requester_id
            WHERE b.performer_id IS NOT NULL AND b.kind IN ('submitted', 'approved', 'overridden', 'rejected',
                'returned', 'abandoned', 'bonus', 'paid')
            GROUP BY 1, 2, 3) n
        GROUP BY 1
    LOOP
        PERFORM _taskex.add_to_summary('working', home, '{requester_id, performer_id}',
            '{submitted, approved, rejected, returned, abandoned, paid}', '{last_at}', deltas);
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.fold_working(_taskex.journal_act[]) IS 'Consumer of the journal: fills _taskex.working.';

INSERT INTO _taskex.journal_consumer VALUES
    (10, 'fold_standing'), (20, 'fold_earning'), (30, 'fold_progress'), (40, 'fold_working'), (900, 'fold_events');


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

CREATE TABLE _taskex.segment_mark (
    segment name PRIMARY KEY,
    last_xid xid8,
    marked_by xid8 NOT NULL
);
COMMENT ON TABLE _taskex.segment_mark IS
    'Segments that can be truncated when no snapshot is older than the transaction marked_by and nothing was added meanwhile.';

SELECT pg_catalog.pg_extension_config_dump('_taskex.event', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.event_0', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.event_1', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.event_2', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.event_turn', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.event_floor', '');
-- a mark means nothing elsewhere, where ids of transactions are others
SELECT pg_catalog.pg_extension_config_dump('_taskex.segment_mark', 'WHERE false');

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
    size int NOT NULL,
    next_try timestamptz NOT NULL,
    message text NOT NULL
);
COMMENT ON TABLE _taskex.journal_trouble IS 'Consumers that failed: what was for them waits in _taskex.journal_failed.';

CREATE TABLE _taskex.journal_failed (
    consumer name NOT NULL,
    position bigint GENERATED ALWAYS AS IDENTITY,
    act _taskex.journal_act NOT NULL,
    given_up boolean NOT NULL DEFAULT false,
    PRIMARY KEY (consumer, position)
);
COMMENT ON TABLE _taskex.journal_failed IS
'Acts that a consumer has not had, because it failed. They are tried again in order, in ever smaller parts; one that
fails alone ten times is given up until somebody sets given_up to false.';

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

CREATE FUNCTION _taskex.journal_hand(consumer name, batch _taskex.journal_act[], OUT failure text)
    RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('SELECT _taskex.%I($1)', consumer) USING batch;
EXCEPTION WHEN OTHERS THEN
    failure := format('%s (%s)', SQLERRM, SQLSTATE);
    RAISE LOG 'taskex: consumer % of the journal failed with % acts: %', consumer, cardinality(batch), failure;
END $$;
COMMENT ON FUNCTION _taskex.journal_hand(name, _taskex.journal_act[]) IS
    'Hands a batch to a consumer, all or nothing; why that failed, or NULL.';

-- A consumer that is behind gets what it missed first; what is new waits behind it.
CREATE FUNCTION _taskex.journal_give(consumer name, batch _taskex.journal_act[])
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    failure text;
BEGIN
    IF NOT EXISTS (SELECT FROM _taskex.journal_trouble t WHERE t.consumer = journal_give.consumer) THEN
        failure := _taskex.journal_hand(consumer, batch);
        IF failure IS NULL THEN
            RETURN;
        END IF;
        INSERT INTO _taskex.journal_trouble
            VALUES (consumer, clock_timestamp(), 1, cardinality(batch), clock_timestamp() + interval '1 second', failure);
    END IF;
    INSERT INTO _taskex.journal_failed (consumer, act)
        SELECT journal_give.consumer, batch[i] FROM generate_subscripts(batch, 1) i ORDER BY i;
END $$;
COMMENT ON FUNCTION _taskex.journal_give(name, _taskex.journal_act[]) IS
    'Hands a batch to a consumer, or puts it aside if that fails or earlier acts wait for it.';

-- One attempt for each consumer in trouble whose time has come.
CREATE FUNCTION _taskex.journal_retry() RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t _taskex.journal_trouble;
    places bigint[];
    failure text;
BEGIN
    FOR t IN SELECT * FROM _taskex.journal_trouble WHERE next_try <= clock_timestamp() LOOP
        places := array(SELECT f.position FROM _taskex.journal_failed f
            WHERE f.consumer = t.consumer AND NOT f.given_up ORDER BY f.position LIMIT t.size);
        failure := NULL;
        IF cardinality(places) > 0 THEN
            failure := _taskex.journal_hand(t.consumer, array(SELECT f.act FROM _taskex.journal_failed f
                WHERE f.consumer = t.consumer AND f.position = ANY (places) ORDER BY f.position));
        END IF;
        IF failure IS NULL THEN
            DELETE FROM _taskex.journal_failed f WHERE f.consumer = t.consumer AND f.position = ANY (places);
            IF EXISTS (SELECT FROM _taskex.journal_failed f WHERE f.consumer = t.consumer AND NOT f.given_up) THEN
                UPDATE _taskex.journal_trouble u SET tries = 0, size = least(2 * t.size, 20000) WHERE u.consumer = t.consumer;
            ELSE
                DELETE FROM _taskex.journal_trouble u WHERE u.consumer = t.consumer;
            END IF;
        ELSE
            IF cardinality(places) = 1 AND t.tries >= 10 THEN
                UPDATE _taskex.journal_failed f SET given_up = true WHERE f.consumer = t.consumer AND f.position = places[1];
                RAISE LOG 'taskex: an act is given up for consumer % of the journal: %', t.consumer, failure;
            END IF;
            UPDATE _taskex.journal_trouble u SET message = failure,
                tries = CASE WHEN cardinality(places) = 1 AND t.tries >= 10 THEN 0 ELSE t.tries + 1 END,
                size = greatest(cardinality(places) / 2, 1),
                next_try = clock_timestamp() + least(interval '1 second' * 2 ^ least(t.tries, 10), interval '1 minute')
                WHERE u.consumer = t.consumer;
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.journal_retry() IS 'Hands to consumers in trouble what they missed, if it is time to try again.';

-- While a dump is restored its rows come first and its sequences last. What the
-- conductor wrote in between would be in the way of the rows to come.
CREATE FUNCTION _taskex.journal_begun() RETURNS boolean
    LANGUAGE sql STABLE AS 'SELECT is_called FROM _taskex.journal_id_seq';
COMMENT ON FUNCTION _taskex.journal_begun() IS 'Has any id of an act been taken here, or restored?';

-- What has ended as of a snapshot is fixed: its acts are the batch. What has not
-- ended and is below the new bound becomes "pending", and is looked for by its id
-- until it has ended: so nothing is read twice, and an open transaction delays its
-- own acts only. Our own transaction has not ended either.
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
        IF NOT _taskex.journal_begun() THEN
            RETURN 0;
        END IF;
        PERFORM _taskex.journal_adopt(c.number);
        RETURN max_acts;    -- its acts are dispatched next, when they are committed
    END IF;
    IF EXISTS (SELECT FROM _taskex.journal_trouble) THEN
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
        FOR target IN SELECT k.name FROM _taskex.journal_consumer k ORDER BY k.position LOOP
            PERFORM _taskex.journal_give(target, batch);
        END LOOP;
    END IF;
    RETURN CASE WHEN complete THEN cardinality(batch) ELSE max_acts END;
END $$;
COMMENT ON FUNCTION _taskex.dispatch(int) IS
'Hands what was committed since the last time to all consumers: up to max_acts acts, in the order of their ids, and moves
the cursor, all in this transaction, which must be READ COMMITTED. Result: the number of acts; max_acts: there may be more.';

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
        INSERT INTO _taskex.event_turn SELECT 0, _taskex.now() WHERE _taskex.journal_begun();
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
    WHERE (SELECT _taskex.caller_trusted()) OR s.user_id = ANY ((SELECT _taskex.caller_ids())::bigint[]);
COMMENT ON VIEW taskex.subscriptions IS 'Who gets events: those of the users for whom the caller may act.';

-- checks ------------------------------------------------------------------------------

CREATE FUNCTION _taskex.journal_lag(OUT acts bigint, OUT seconds numeric, OUT failing bigint, OUT message text)
    RETURNS record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT t.acts, t.seconds, f.failing, f.message
    FROM (SELECT count(*) AS acts, greatest(round(extract(epoch FROM _taskex.now() - min(j.at)), 1), 0) AS seconds
            FROM _taskex.journal_tail() j) t,
        (SELECT count(*) AS failing, (SELECT max(format('%s: %s', u.consumer, u.message)) FROM _taskex.journal_trouble u) AS message
            FROM _taskex.journal_failed) f
$$;
COMMENT ON FUNCTION _taskex.journal_lag() IS
    'How far the dispatch is behind: acts, seconds since the oldest of them, acts that consumers failed with, and why.';

-- Summaries and what is still to be folded into them must give what the tables
-- say, in one snapshot.
CREATE FUNCTION _taskex.check_journal(OUT what text, OUT wrong bigint) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH tail AS MATERIALIZED (
        SELECT j.kind, j.requester_id, j.performer_id, j.amount, j.detail, k.name AS consumer
        FROM _taskex.journal_tail() j CROSS JOIN _taskex.journal_consumer k WHERE k.name ^@ 'fold_'
        UNION ALL
        SELECT (f.act).kind, (f.act).requester_id, (f.act).performer_id, (f.act).amount, (f.act).detail, f.consumer
        FROM _taskex.journal_failed f
    ), counted AS MATERIALIZED (
        SELECT consumer, requester_id, performer_id, count(*) FILTER (WHERE kind = 'submitted') AS submitted,
            count(*) FILTER (WHERE kind IN ('approved', 'overridden')) AS approved,
            count(*) FILTER (WHERE kind = 'rejected') - count(*) FILTER (WHERE kind = 'overridden') AS rejected,
            count(*) FILTER (WHERE kind = 'returned') AS returned,
            count(*) FILTER (WHERE kind = 'abandoned') AS abandoned,
            coalesce(sum(amount) FILTER (WHERE kind IN ('approved', 'overridden')), 0) AS reward,
            coalesce(sum((detail->>'count')::bigint) FILTER (WHERE kind = 'created'), 0) AS tasks
        FROM tail GROUP BY 1, 2, 3
    ), standing AS (
        SELECT performer_id, sum(submitted) AS submitted, sum(approved) AS approved, sum(rejected) AS rejected,
            sum(returned) AS returned, sum(abandoned) AS abandoned
        FROM (SELECT performer_id, submitted, approved, rejected, returned, abandoned FROM _taskex.standing
            UNION ALL SELECT performer_id, submitted, approved, rejected, returned, abandoned FROM counted
            WHERE consumer = 'fold_standing' AND performer_id IS NOT NULL) s
        GROUP BY 1
    ), earning AS (
        SELECT performer_id, sum(approved) AS approved, sum(reward) AS reward
        FROM (SELECT performer_id, approved, reward FROM _taskex.earning
            UNION ALL SELECT performer_id, approved, reward FROM counted
            WHERE consumer = 'fold_earning' AND performer_id IS NOT NULL) s
        GROUP BY 1
    ), progress AS (
        SELECT requester_id, sum(submitted) AS submitted, sum(approved) AS approved, sum(rejected) AS rejected,
            sum(tasks) AS tasks
        FROM (SELECT requester_id, submitted, approved, rejected, tasks FROM _taskex.progress
            UNION ALL SELECT requester_id, submitted, approved, rejected, tasks FROM counted
            WHERE consumer = 'fold_progress' AND requester_id IS NOT NULL) s
        GROUP BY 1
    ), working AS (
        SELECT requester_id, performer_id, sum(submitted) AS submitted, sum(approved) AS approved, sum(rejected) AS rejected,
            sum(returned) AS returned, sum(abandoned) AS abandoned
        FROM (SELECT requester_id, performer_id, submitted, approved, rejected, returned, abandoned FROM _taskex.working
            UNION ALL SELECT requester_id, performer_id, submitted, approved, rejected, returned, abandoned FROM counted
            WHERE consumer = 'fold_working' AND requester_id IS NOT NULL AND performer_id IS NOT NULL) s
        GROUP BY 1, 2
    ), assignments AS MATERIALIZED (
        SELECT requester_id, performer_id,
            count(*) FILTER (WHERE state IN ('submitted', 'approved', 'rejected')) AS submitted,
            count(*) FILTER (WHERE state = 'approved') AS approved, count(*) FILTER (WHERE state = 'rejected') AS rejected,
            count(*) FILTER (WHERE state = 'returned') AS returned, count(*) FILTER (WHERE state = 'abandoned') AS abandoned,
            coalesce(sum(reward) FILTER (WHERE state = 'approved'), 0) AS reward
        FROM _taskex.assignment GROUP BY 1, 2
    ), by_performer AS (
        SELECT performer_id, sum(submitted) AS submitted, sum(approved) AS approved, sum(rejected) AS rejected,
            sum(returned) AS returned, sum(abandoned) AS abandoned, sum(reward) AS reward FROM assignments GROUP BY 1
    ), by_requester AS (
        SELECT requester_id, sum(submitted) AS submitted, sum(approved) AS approved, sum(rejected) AS rejected,
            sum(tasks) AS tasks
        FROM (SELECT requester_id, submitted, approved, rejected, 0 AS tasks FROM assignments
            UNION ALL SELECT requester_id, 0, 0, 0, count(*) FROM _taskex.task GROUP BY 1) r
        GROUP BY 1
    )
    SELECT 'performers whose standing', count(*) FROM standing s FULL JOIN by_performer b USING (performer_id)
        WHERE (coalesce(s.submitted, 0), coalesce(s.approved, 0), coalesce(s.rejected, 0), coalesce(s.returned, 0), coalesce(s.abandoned, 0))
            <> (coalesce(b.submitted, 0), coalesce(b.approved, 0), coalesce(b.rejected, 0), coalesce(b.returned, 0), coalesce(b.abandoned, 0))
    UNION ALL
    SELECT 'performers whose earnings', count(*) FROM earning s FULL JOIN by_performer b USING (performer_id)
        WHERE (coalesce(s.approved, 0), coalesce(s.reward, 0)) <> (coalesce(b.approved, 0), coalesce(b.reward, 0))
    UNION ALL
    SELECT 'requesters whose progress', count(*) FROM progress s FULL JOIN by_requester b USING (requester_id)
        WHERE (coalesce(s.submitted, 0), coalesce(s.approved, 0), coalesce(s.rejected, 0), coalesce(s.tasks, 0))
            <> (coalesce(b.submitted, 0), coalesce(b.approved, 0), coalesce(b.rejected, 0), coalesce(b.tasks, 0))
    UNION ALL
    SELECT 'pairs of requester and performer whose record', count(*)
        FROM working s FULL JOIN assignments b USING (requester_id, performer_id)
        WHERE (coalesce(s.submitted, 0), coalesce(s.approved, 0), coalesce(s.rejected, 0), coalesce(s.returned, 0), coalesce(s.abandoned, 0))
            <> (coalesce(b.submitted, 0), coalesce(b.approved, 0), coalesce(b.rejected, 0), coalesce(b.returned, 0), coalesce(b.abandoned, 0))
    UNION ALL
    SELECT 'subscribers whose numbers of events', count(*) FROM (
        SELECT e.user_id FROM _taskex.event e GROUP BY 1 HAVING count(*) <> max(e.number) - min(e.number) + 1) g
$$;
COMMENT ON FUNCTION _taskex.check_journal() IS
    'Compares the summaries, with what is still to be folded into them, with the tables: a row for each, and how many are wrong.';
