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
    ('returned', 30, true, true, true, 'a performer gave a task back', 'given back to the requester, of a closed task', NULL),
    ('abandoned', 40, true, true, true, 'a lease ran out', 'given back to the requester, of a closed task', NULL),
    ('submitted', 50, true, true, true, 'a result was delivered', NULL, NULL),
    ('reviewable', 60, true, false, true, 'all results of a task that will come have come, and some wait for judgement', NULL, NULL),
    ('approved', 70, true, true, true, 'a result was approved and paid', 'the reward',
        'fee; automatic: true if nobody judged in time; completed: true if it was the task''s last'),
    ('rejected', 80, true, true, true, 'a result was rejected', 'given back to the requester',
        'reopened: true if the slot is offered again; completed: true if it was the task''s last'),
    ('overridden', 90, true, true, true, 'a rejection was turned into an approval, which was paid', 'the reward', 'fee'),
    ('expired', 100, true, false, true, 'a task was closed, because its time was over or by its requester',
        'given back to the requester', NULL),
    ('extended', 110, true, false, true, 'a task wants more performers, or its expiry was moved', 'held in addition',
        'performers: how many in addition; expires_at'),
    ('cancelled', 120, true, false, true, 'a task was cancelled', 'given back to the requester', NULL),
    ('decided', 130, true, false, true, 'a task has its answer; its free slots are given up', 'given back to the requester', NULL),
    ('completed', 140, true, false, true, 'all results of a task are judged', NULL, NULL),
    ('disposed', 150, true, false, true, 'a task was removed from its requester''s lists', NULL, NULL),
    ('type_changed', 160, true, false, true, 'a task got another type', 'held in addition, or less than 0', 'from'),
    ('released', 170, true, false, true, 'money held for a task was given back for another reason', 'given back to the requester', NULL),
    ('paid', 180, true, true, true, 'a performer was paid besides rewards and bonuses', 'paid', 'fee'),
    ('bonus', 190, true, true, true, 'a performer was paid a bonus', 'the bonus', 'fee'),
    ('payout', 200, false, true, true, 'earnings were paid out', 'paid out', 'reference'),
    ('payout_returned', 210, false, true, true, 'a payout failed, and the money is back', 'given back to the performer', 'reference, error'),
    ('qualification_requested', 300, true, true, true, 'a performer asked for a qualification', NULL, 'qualification'),
    ('qualification_granted', 310, true, true, true, 'a performer was given a qualification, or another score', NULL, 'qualification, score'),
    ('qualification_rejected', 320, true, true, true, 'a request of a qualification was rejected', NULL, 'qualification, reason'),
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

