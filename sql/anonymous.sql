-- anonymous.sql: users without a name: started, identified, removed. Pairs with
-- src/directory/anonymous.c; docs/anonymous.md tells the rules.

CREATE FUNCTION taskex.start_anonymous(profile jsonb = '{}')
    RETURNS text LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_start_anonymous';
COMMENT ON FUNCTION taskex.start_anonymous(jsonb) IS
'Makes an anonymous user, who can do all that others can. He lives on the least loaded active storage partition of the
storage class temporary. profile: as for register_user. Result: his login, which cannot be guessed: whoever
knows it (and may act for the user) is the user. A role that is no member of taskex_app gets users for itself, at most taskex.anonymous_limit at a
time. Errors: partition_not_active (TX004) if there is no such partition, no_suitable_partition (TX513) for a tier that no partition has, input_too_large (TX111), too_many_anonymous (TX524).';

CREATE FUNCTION taskex.identify(anonymous text, login text)
    RETURNS bigint LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_identify';
COMMENT ON FUNCTION taskex.identify(text, text) IS
'Says who an anonymous user is. If the login is registered, all that he has done, holds and has earned becomes that user''s,
and the anonymous login is gone; if not, he has that login from now on (members of taskex_app only). Best in a transaction of its own. The same
again changes nothing. Result: the user''s id. Errors: unknown_user (TX001), identity_conflict (TX520) when both have had one task, one has worked for
the other, or the known one is blocked where the other has work; not_anonymous (TX521), already_identified (TX522) as somebody else,
user_busy (TX523) while others are at work with his rows, program_limit_exceeded (54000) beyond 10000 assignments and tasks, active_sql_transaction (25001) if
not READ COMMITTED, feature_not_supported (0A000) if he has supplied tasks and lives on another partition than the known user: move him there first.';

-- what names users --------------------------------------------------------------

CREATE TABLE _taskex.user_column (
    table_name name NOT NULL,
    column_name name NOT NULL,
    way text NOT NULL CHECK (way IN ('owner', 'other', 'special', 'dispatch', 'kept')),
    unused text NOT NULL CHECK (unused IN ('removed', 'keeps', 'kept')),
    rule text,
    found_by text,
    PRIMARY KEY (table_name, column_name)
);
COMMENT ON TABLE _taskex.user_column IS
'Columns that name users, and what becomes of them when an anonymous user is identified as another. Filled by the install script alone.';
COMMENT ON COLUMN _taskex.user_column.way IS
'owner: the row moves to the known user and his partition; other: the number is replaced where the row is; special: the rule says what happens;
dispatch: likewise, by the dispatch of the journal, which is the only writer; kept: the number stays, and views show the known user.';
COMMENT ON COLUMN _taskex.user_column.unused IS
'Of an anonymous user who was never used: removed with him; keeps him; or kept.';
COMMENT ON COLUMN _taskex.user_column.rule IS 'What happens where both have a row of the same key. NULL: cannot be.';
COMMENT ON COLUMN _taskex.user_column.found_by IS
'A condition that leads to the rows by an index, where none is on the column: $3 his assignments, $4 their requesters, $5 his tasks, $6 when he
was started. By $5 and $6 is looked only if he has supplied tasks.';

INSERT INTO _taskex.user_column VALUES
    ('directory', 'user_id', 'special', 'removed', 'the anonymous login is gone', NULL),
    ('profile', 'user_id', 'special', 'removed', 'keys that the known user has not are added, but db_role, tier and location', NULL),
    ('identified', 'anonymous_id', 'kept', 'kept', NULL, NULL),
    ('identified', 'user_id', 'kept', 'kept', NULL, NULL),
    ('identified', 'requesters', 'kept', 'kept', NULL, NULL),
    -- what he does
    ('assignment', 'performer_id', 'owner', 'kept', 'an error: both have had the task', NULL),
    ('result', 'performer_id', 'special', 'kept', NULL, NULL),
    ('attachment', 'user_id', 'special', 'keeps', NULL, NULL),
    ('qualification', 'performer_id', 'owner', 'removed', 'one that was revoked from either stays so; else the higher score', NULL),
    ('qualification_request', 'performer_id', 'owner', 'removed', 'of two that are not decided his expires', NULL),
    ('block', 'performer_id', 'owner', 'removed', 'the one that lasts longer; of each other: none', NULL),
    ('message', 'user_id', 'owner', 'removed', NULL, NULL),
    ('payout_item', 'performer_id', 'owner', 'keeps', 'an error: both are in one payout', NULL),
    ('dispute', 'performer_id', 'other', 'keeps', NULL, NULL),
    ('rating', 'performer_id', 'other', 'keeps', NULL, NULL),
    ('bonus', 'performer_id', 'other', 'keeps', NULL, NULL),
    ('saved_search', 'user_id', 'other', 'removed', 'his gets its number added to its name', NULL),
    ('subscription', 'user_id', 'other', 'removed', 'the known user''s', NULL),
    ('preference', 'performer_id', 'special', 'removed', 'the known user''s keys win; counts are added', NULL),
    ('intention', 'performer_id', 'other', 'removed', NULL, NULL),
    ('group_member', 'user_id', 'special', 'removed', 'listed in either: listed', NULL),
    ('shown', 'performer_id', 'other', 'removed', NULL, NULL),
    ('recommended', 'user_id', 'other', 'removed', 'the known user''s', NULL),
    -- his money
    ('entry', 'account_id', 'kept', 'keeps', 'his account is closed by transfers to the known user''s', NULL),
    ('entry', 'counterparty', 'special', 'kept', 'of accounts of his budgets: the known user; else it stays', NULL),
    ('balance', 'account_id', 'kept', 'kept', NULL, NULL),
    ('budget_charge', 'accounts', 'kept', 'kept', 'accounts of budgets', NULL),
    ('budget_layer', 'accounts', 'kept', 'kept', 'accounts of budgets', NULL),
    -- what he has supplied
    ('task', 'requester_id', 'owner', 'keeps', NULL, NULL),
    ('supply', 'requester_id', 'owner', 'kept', 'the known user''s key', NULL),
    ('result', 'requester_id', 'owner', 'kept', NULL, NULL),
    ('assignment', 'requester_id', 'other', 'kept', NULL, 'lease_until >= $6'),
    ('bonus', 'requester_id', 'owner', 'kept', 'his loses its key', NULL),
    ('dispute', 'requester_id', 'owner', 'kept', NULL, NULL),
    ('rating', 'requester_id', 'owner', 'kept', NULL, NULL),
    ('block', 'requester_id', 'other', 'keeps', 'the one that lasts longer', NULL),
    ('message', 'sender_id', 'other', 'kept', NULL, 'user_id IN (SELECT r.performer_id FROM _taskex.result r WHERE r.task_id = ANY ($5))'),
    ('budget_charge', 'requester_id', 'owner', 'kept', NULL, NULL),
    ('budget_layer', 'requester_id', 'owner', 'kept', NULL, NULL),
    ('forward', 'owner_id', 'special', 'removed', NULL, NULL),
    ('migration', 'user_id', 'kept', 'kept', NULL, NULL),
    ('budget', 'requester_id', 'other', 'keeps', 'the known user''s', NULL),
    ('fee_rule', 'requester_id', 'other', 'keeps', 'the known user''s', NULL),
    ('golden_rate', 'requester_id', 'other', 'keeps', 'the known user''s', NULL),
    ('requester_weight', 'requester_id', 'other', 'keeps', 'the known user''s', NULL),
    ('layout', 'requester_id', 'other', 'keeps', 'his gets the beginning of his login added to its name', NULL),
    ('layout_use', 'requester_id', 'other', 'kept', 'the known user''s', NULL),
    ('template', 'requester_id', 'other', 'keeps', 'his gets the beginning of his login added to its name', NULL),
    ('qualification_type', 'requester_id', 'other', 'keeps', 'his gets the beginning of his login added to its name', NULL),
    ('review_policy', 'requester_id', 'other', 'keeps', NULL, NULL),
    ('saved_search', 'requester_id', 'special', 'kept', NULL, NULL),
    ('group_lease', 'requester_ids', 'special', 'kept', NULL, NULL),
    ('shown', 'requesters', 'special', 'kept', NULL, NULL),
    -- runs and programs: an anonymous user has none
    ('run', 'customer_id', 'special', 'keeps', 'an anonymous user has none', NULL),
    ('run_attempt', 'customer_id', 'special', 'kept', 'an anonymous user has none', NULL),
    ('run_wait', 'customer_id', 'special', 'kept', 'an anonymous user has none', NULL),
    ('run_link', 'customer_id', 'special', 'kept', 'an anonymous user has none', NULL),
    ('run_key', 'customer_id', 'special', 'kept', 'an anonymous user has none', NULL),
    ('run_limit', 'customer_id', 'kept', 'removed', 'the known user''s', NULL),
    ('split', 'customer_id', 'special', 'kept', 'an anonymous user has none', NULL),
    ('split_part', 'customer_id', 'special', 'kept', 'an anonymous user has none', NULL),
    ('split_open', 'customer_id', 'kept', 'kept', 'an anonymous user has none', NULL),
    ('program', 'owner_id', 'kept', 'keeps', 'an anonymous user has none', NULL),
    ('usage', 'customer_id', 'special', 'kept', 'an anonymous user has none', NULL),
    ('usage_correction', 'customer_id', 'kept', 'kept', 'an anonymous user has none', NULL),
    ('usage_removed', 'customer_id', 'kept', 'kept', 'an anonymous user has none', NULL),
    ('unclosed', 'customer_id', 'kept', 'kept', 'an anonymous user has none', NULL),
    ('rate', 'owner_id', 'kept', 'kept', 'an anonymous user has none', NULL),
    ('billing_terms', 'customer_id', 'kept', 'kept', 'an anonymous user has none', NULL),
    ('run_budget', 'customer_id', 'kept', 'kept', 'an anonymous user has none', NULL),
    ('invoice', 'customer_id', 'special', 'kept', 'an anonymous user has none', NULL),
    ('invoice_line', 'customer_id', 'special', 'kept', 'an anonymous user has none', NULL),
    ('invoice_line', 'owner_id', 'kept', 'kept', 'an anonymous user has none', NULL),
    ('environment', 'customers', 'kept', 'kept', NULL, NULL),
    -- what the dispatch writes
    ('standing', 'performer_id', 'dispatch', 'removed', 'sums', NULL),
    ('earning', 'performer_id', 'dispatch', 'removed', 'sums', NULL),
    ('reliability', 'performer_id', 'dispatch', 'removed', 'sums', NULL),
    ('working', 'performer_id', 'dispatch', 'kept', 'sums', NULL),
    ('working', 'requester_id', 'dispatch', 'kept', 'sums', NULL),
    ('progress', 'requester_id', 'dispatch', 'kept', 'sums', NULL),
    ('rating_total', 'requester_id', 'dispatch', 'kept', 'sums', NULL),
    ('work_hour', 'performer_id', 'dispatch', 'removed', 'sums', NULL),
    ('appeal', 'requester_id', 'dispatch', 'kept', 'sums of faded counts', NULL),
    ('catalogue', 'requester_id', 'dispatch', 'kept', 'sums', NULL),
    ('appearance', 'requester_id', 'dispatch', 'kept', 'the known user''s', NULL),
    ('notice', 'requester_id', 'dispatch', 'kept', 'the known user''s', NULL),
    ('policy_tally', 'performer_id', 'dispatch', 'removed', 'counts are added, the history is put before the known user''s', NULL),
    ('policy_tally', 'requester_id', 'dispatch', 'kept', NULL, NULL),
    ('policy_result', 'performer_id', 'dispatch', 'kept', NULL, NULL),
    ('policy_result', 'requester_id', 'dispatch', 'kept', NULL, NULL),
    ('policy_action', 'performer_id', 'dispatch', 'kept', NULL, NULL),
    ('policy_action', 'requester_id', 'dispatch', 'kept', NULL, NULL),
    ('load_hour', 'id', 'dispatch', 'kept', 'sums; what is stored later stays until it is too old', NULL),
    ('load_mean', 'id', 'dispatch', 'kept', 'sums', NULL),
    ('load_bytes', 'user_id', 'dispatch', 'removed', 'the known user''s: the next sample has his', NULL),
    ('event', 'user_id', 'dispatch', 'removed', 'his follow those of the known user', NULL),
    ('event_floor', 'user_id', 'dispatch', 'removed', 'the known user''s', NULL),
    ('event', 'requester_id', 'kept', 'kept', NULL, NULL),
    ('event', 'performer_id', 'kept', 'kept', NULL, NULL),
    ('journal_act', 'requester_id', 'kept', 'kept', 'the dispatch reads the known user''s number', NULL),
    ('journal_act', 'performer_id', 'kept', 'kept', 'the dispatch reads the known user''s number', NULL),
    ('push_turn', 'requester_id', 'kept', 'kept', NULL, NULL);

-- what goes together ------------------------------------------------------------------

-- Whose the anonymous user's work is, and for whom it was; locked.
CREATE TYPE _taskex.merge AS (
    old_id bigint,
    new_id bigint,
    source int,
    target int,
    assignments bigint[],
    tasks bigint[],
    requesters bigint[],
    running bigint[],
    own_tasks bigint[],
    started_at timestamptz
);
COMMENT ON TYPE _taskex.merge IS
'What an anonymous user has: assignments with their tasks and requesters, which of these are of work not judged (running), tasks that he has supplied.';

CREATE FUNCTION _taskex.lock_merge(old_id bigint, new_id bigint) RETURNS _taskex.merge
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m _taskex.merge;
    t bigint;
    busy boolean;
BEGIN
    m.old_id := old_id;
    m.new_id := new_id;
    m.source := _taskex.home(old_id);
    m.target := _taskex.home(new_id);
    IF EXISTS (SELECT FROM _taskex.migration g WHERE g.user_id = old_id AND g.finished_at IS NULL) THEN
        PERFORM _taskex.fail('user_busy', format('user "%s" is being moved to another storage partition', _taskex.login(old_id)),
            NULL, 'Try again when that is done; the view taskex.migrations shows it.');
    END IF;
    -- one at a time becomes the known user
    PERFORM FROM _taskex.profile p WHERE p.partition_id = m.target AND p.user_id = new_id FOR UPDATE;
    SELECT p.registered_at INTO STRICT m.started_at FROM _taskex.profile p WHERE p.partition_id = m.source AND p.user_id = old_id FOR UPDATE;
    IF (SELECT count(*) FROM (SELECT FROM _taskex.assignment a WHERE a.partition_id = m.source AND a.performer_id = old_id
            UNION ALL SELECT FROM _taskex.task t WHERE t.partition_id = m.source AND t.requester_id = old_id LIMIT 10001) n) > 10000 THEN
        RAISE EXCEPTION USING ERRCODE = 'program_limit_exceeded',
            MESSAGE = format('user "%s" has too much to be merged into another', _taskex.login(old_id)),
            DETAIL = 'He has more than 10000 assignments and tasks.', HINT = 'He can become a new user.';
    END IF;

    -- results before assignments before tasks, as everywhere
    SELECT coalesce(array_agg(a.assignment_id ORDER BY a.assignment_id), '{}'), coalesce(array_agg(a.requester_id ORDER BY a.assignment_id), '{}')
        INTO m.assignments, m.requesters FROM _taskex.assignment a WHERE a.partition_id = m.source AND a.performer_id = old_id;
    -- whoever they are for stays where he is until the end
    PERFORM _taskex.home(u.requester_id) FROM (SELECT DISTINCT r AS requester_id FROM unnest(m.requesters) r ORDER BY 1) u;
    PERFORM FROM unnest(m.assignments, m.requesters) u (assignment_id, requester_id) JOIN _taskex.directory d ON d.user_id = u.requester_id
        JOIN _taskex.result r ON r.partition_id = d.partition_id AND r.assignment_id = u.assignment_id FOR UPDATE OF r;
    SELECT coalesce(array_agg(a.assignment_id ORDER BY a.assignment_id), '{}'), coalesce(array_agg(a.task_id ORDER BY a.assignment_id), '{}'),
            coalesce(array_agg(a.requester_id ORDER BY a.assignment_id), '{}'),
            coalesce(array_agg(DISTINCT a.requester_id) FILTER (WHERE a.state IN ('accepted', 'submitted')), '{}')
        INTO m.assignments, m.tasks, m.requesters, m.running
        FROM (SELECT * FROM _taskex.assignment a WHERE a.partition_id = m.source AND a.performer_id = old_id ORDER BY a.assignment_id FOR UPDATE) a;
    m.own_tasks := ARRAY(SELECT t.task_id FROM _taskex.task t WHERE t.partition_id = m.source AND t.requester_id = old_id ORDER BY t.task_id FOR UPDATE);

    IF m.own_tasks <> '{}' AND m.source <> m.target THEN
        RAISE EXCEPTION USING ERRCODE = 'feature_not_supported',
            MESSAGE = format('user "%s" has supplied tasks, and lives on another storage partition than "%s"',
                _taskex.login(old_id), _taskex.login(new_id)),
            HINT = 'Move him there with taskex.migrate_user() first.';
    END IF;
    -- what groups have leased of his tasks is his again; whoever is just taking some of it has locked nothing
    FOREACH t IN ARRAY m.own_tasks LOOP
        PERFORM _taskex.recall_slots(m.source, t);
    END LOOP;
    IF m.own_tasks <> '{}' THEN
        SELECT EXISTS (SELECT FROM _taskex.task t LEFT JOIN (SELECT a.task_id, count(*) AS n FROM _taskex.assignment a
                    LEFT JOIN _taskex.result r ON r.partition_id = m.source AND r.assignment_id = a.assignment_id
                    WHERE a.lease_until >= m.started_at AND a.requester_id = old_id AND a.state IN ('accepted', 'submitted', 'approved', 'rejected')
                        AND r.reopened IS NOT TRUE GROUP BY 1) a USING (task_id)
                WHERE t.partition_id = m.source AND t.requester_id = old_id AND t.live <> coalesce(a.n, 0)) INTO busy;
        IF busy THEN
            RAISE EXCEPTION USING ERRCODE = 'lock_not_available', MESSAGE = 'a task is being accepted';
        END IF;
    END IF;
    RETURN m;
END $$;
COMMENT ON FUNCTION _taskex.lock_merge(bigint, bigint) IS
'Locks what an anonymous user, whom the caller holds, has with others, and says what it is. Errors: program_limit_exceeded, feature_not_supported;
lock_not_available while somebody is about to take one of his tasks.';

CREATE FUNCTION _taskex.identity_conflict(m _taskex.merge, detail text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM _taskex.fail('identity_conflict', format('user "%s" cannot be identified as "%s"', _taskex.login(m.old_id), _taskex.login(m.new_id)),
        detail, 'He stays anonymous, and nothing has changed.');
END $$;
COMMENT ON FUNCTION _taskex.identity_conflict(_taskex.merge, text) IS 'Raises identity_conflict.';

CREATE FUNCTION _taskex.check_merge(m _taskex.merge) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    task bigint;
    blocker bigint;
    reference text;
BEGIN
    SELECT a.task_id INTO task FROM unnest(m.tasks) u (task_id)
        JOIN _taskex.assignment a ON a.partition_id = m.target AND a.performer_id = m.new_id AND a.task_id = u.task_id LIMIT 1;
    IF task IS NOT NULL THEN
        PERFORM _taskex.identity_conflict(m, format('Both have had task %s, which is for different performers.', task));
    END IF;
    SELECT u.task_id INTO task FROM unnest(m.tasks, m.requesters) u (task_id, requester_id) WHERE u.requester_id = m.new_id LIMIT 1;
    IF task IS NULL THEN
        SELECT a.task_id INTO task FROM unnest(m.own_tasks) u (task_id)
            JOIN _taskex.assignment a ON a.partition_id = m.target AND a.performer_id = m.new_id AND a.task_id = u.task_id LIMIT 1;
    END IF;
    IF task IS NOT NULL THEN
        PERFORM _taskex.identity_conflict(m, format('One has had task %s of the other, and nobody can have his own.', task));
    END IF;
    SELECT b.requester_id INTO blocker FROM _taskex.block b
        WHERE b.partition_id = m.target AND b.performer_id = m.new_id AND (b.until IS NULL OR b.until > _taskex.now())
            AND (b.requester_id = ANY (m.running) OR b.requester_id = 0 AND m.running <> '{}') ORDER BY 1 LIMIT 1;
    IF FOUND THEN
        PERFORM _taskex.identity_conflict(m, CASE blocker WHEN 0 THEN 'The known user is suspended, and the other has work that is not judged.'
            ELSE format('User "%s" has blocked the known user, and the other has work of his that is not judged.', _taskex.login(blocker)) END);
    END IF;
    SELECT p.reference INTO reference FROM _taskex.payout_item i JOIN _taskex.payout_item k USING (payout_id) JOIN _taskex.payout p USING (payout_id)
        WHERE i.partition_id = m.source AND i.performer_id = m.old_id AND k.partition_id = m.target AND k.performer_id = m.new_id LIMIT 1;
    IF FOUND THEN
        PERFORM _taskex.identity_conflict(m, format('Both are in payout "%s".', reference));
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_merge(_taskex.merge) IS 'The error identity_conflict if what two users have done does not go together.';

-- where both have a row of one key ------------------------------------------------------

CREATE FUNCTION _taskex.settle_performer(m _taskex.merge) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    merged jsonb;
BEGIN
    -- the profile; a trigger looks again which groups want him
    SELECT (a.profile - '{db_role,tier,location}'::text[]) || k.profile INTO merged FROM _taskex.profile a JOIN _taskex.profile k
            ON k.partition_id = m.target AND k.user_id = m.new_id
        WHERE a.partition_id = m.source AND a.user_id = m.old_id AND NOT k.profile @> (a.profile - '{db_role,tier,location}'::text[]);
    IF octet_length(merged::text) <= pg_size_bytes(current_setting('taskex.max_input_size')) THEN
        UPDATE _taskex.profile k SET profile = merged WHERE k.partition_id = m.target AND k.user_id = m.new_id;
    END IF;
    INSERT INTO _taskex.group_member AS g SELECT m.new_id, o.group_id, o.origin FROM _taskex.group_member o WHERE o.user_id = m.old_id AND o.origin = 'listed'
        ON CONFLICT (user_id, group_id) DO UPDATE SET origin = 'listed' WHERE g.origin <> 'listed';
    DELETE FROM _taskex.group_member g WHERE g.user_id = m.old_id;

    UPDATE _taskex.qualification k SET score = greatest(k.score, a.score), granted_at = least(k.granted_at, a.granted_at),
            changed_at = greatest(k.changed_at, a.changed_at), state = CASE WHEN 'revoked' IN (a.state, k.state) THEN 'revoked' ELSE k.state END,
            reason = CASE WHEN a.state = 'revoked' AND k.state <> 'revoked' THEN a.reason ELSE k.reason END
        FROM _taskex.qualification a WHERE a.partition_id = m.source AND a.performer_id = m.old_id AND k.partition_id = m.target AND k.performer_id = m.new_id
            AND k.qualification_type_id = a.qualification_type_id;
    DELETE FROM _taskex.qualification a WHERE a.partition_id = m.source AND a.performer_id = m.old_id AND EXISTS (SELECT FROM _taskex.qualification k
        WHERE k.partition_id = m.target AND k.performer_id = m.new_id AND k.qualification_type_id = a.qualification_type_id);
    UPDATE _taskex.qualification_request a SET state = 'expired', decided_at = _taskex.now(), reason = 'he has asked for it as another user, too'
        WHERE a.partition_id = m.source AND a.performer_id = m.old_id AND a.state IN ('started', 'pending') AND EXISTS (SELECT FROM _taskex.qualification_request k
            WHERE k.partition_id = m.target AND k.performer_id = m.new_id AND k.qualification_type_id = a.qualification_type_id AND k.state IN ('started', 'pending'));

    DELETE FROM _taskex.block b WHERE b.partition_id IN (m.source, m.target) AND (b.performer_id, b.requester_id) IN ((m.old_id, m.new_id), (m.new_id, m.old_id));
    UPDATE _taskex.block k SET until = a.until, reason = a.reason, blocked_at = a.blocked_at
        FROM _taskex.block a WHERE a.partition_id = m.source AND a.performer_id = m.old_id AND k.partition_id = m.target AND k.performer_id = m.new_id
            AND k.requester_id = a.requester_id AND k.until < coalesce(a.until, 'infinity');
    DELETE FROM _taskex.block a WHERE a.partition_id = m.source AND a.performer_id = m.old_id AND EXISTS (SELECT FROM _taskex.block k
        WHERE k.partition_id = m.target AND k.performer_id = m.new_id AND k.requester_id = a.requester_id);

    UPDATE _taskex.saved_search a SET name = left(a.name, 200) || ' (' || a.search_id || ')' WHERE a.user_id = m.old_id
        AND EXISTS (SELECT FROM _taskex.saved_search k WHERE k.user_id = m.new_id AND k.name = a.name);
    DELETE FROM _taskex.subscription a WHERE a.user_id = m.old_id AND EXISTS (SELECT FROM _taskex.subscription k WHERE k.user_id = m.new_id);
    DELETE FROM _taskex.recommended a WHERE a.user_id = m.old_id AND EXISTS (SELECT FROM _taskex.recommended k WHERE k.user_id = m.new_id);
    INSERT INTO _taskex.preference AS k SELECT m.new_id, a.preferences, a.intended, a.kept, a.changed_at FROM _taskex.preference a WHERE a.performer_id = m.old_id
        ON CONFLICT (performer_id) DO UPDATE SET preferences = excluded.preferences || k.preferences, intended = k.intended + excluded.intended,
            kept = k.kept + excluded.kept, changed_at = greatest(k.changed_at, excluded.changed_at);
    DELETE FROM _taskex.preference a WHERE a.performer_id = m.old_id;
END $$;
COMMENT ON FUNCTION _taskex.settle_performer(_taskex.merge) IS
    'Applies the rules of _taskex.user_column where the anonymous and the known user have rows of the same key, as performers.';

CREATE FUNCTION _taskex.settle_requester(m _taskex.merge) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    mark text := ' (' || substr(_taskex.login(m.old_id), 11, 8) || ')';
BEGIN
    UPDATE _taskex.block k SET until = a.until, reason = a.reason, blocked_at = a.blocked_at
        FROM _taskex.block a WHERE a.requester_id = m.old_id AND k.requester_id = m.new_id AND k.performer_id = a.performer_id
            AND k.until < coalesce(a.until, 'infinity');
    DELETE FROM _taskex.block a WHERE a.requester_id = m.old_id
        AND EXISTS (SELECT FROM _taskex.block k WHERE k.requester_id = m.new_id AND k.performer_id = a.performer_id);
    DELETE FROM _taskex.budget a WHERE a.requester_id = m.old_id AND EXISTS (SELECT FROM _taskex.budget k
        WHERE k.requester_id = m.new_id AND k.task_type_id = a.task_type_id AND k.period = a.period);
    DELETE FROM _taskex.fee_rule a WHERE a.requester_id = m.old_id AND EXISTS (SELECT FROM _taskex.fee_rule k WHERE k.requester_id = m.new_id
        AND (k.kind, k.task_type_id, k.min_performers, k.valid_from) = (a.kind, a.task_type_id, a.min_performers, a.valid_from));
    DELETE FROM _taskex.golden_rate a WHERE a.requester_id = m.old_id AND EXISTS (SELECT FROM _taskex.golden_rate k
        WHERE k.requester_id = m.new_id AND k.task_type_id = a.task_type_id);
    DELETE FROM _taskex.requester_weight a WHERE a.requester_id = m.old_id AND EXISTS (SELECT FROM _taskex.requester_weight k WHERE k.requester_id = m.new_id);
    DELETE FROM _taskex.layout_use a WHERE a.requester_id = m.old_id AND EXISTS (SELECT FROM _taskex.layout_use k
        WHERE k.requester_id = m.new_id AND k.task_type_id = a.task_type_id AND k.since = a.since);
    UPDATE _taskex.layout a SET name = left(a.name, 200) || mark WHERE a.requester_id = m.old_id
        AND EXISTS (SELECT FROM _taskex.layout k WHERE k.requester_id = m.new_id AND k.name = a.name);
    UPDATE _taskex.template a SET name = left(a.name, 200) || mark WHERE a.requester_id = m.old_id
        AND EXISTS (SELECT FROM _taskex.template k WHERE k.requester_id = m.new_id AND k.name = a.name);
    UPDATE _taskex.qualification_type a SET name = left(a.name, 200) || mark WHERE a.requester_id = m.old_id AND a.state <> 'deleted'
        AND EXISTS (SELECT FROM _taskex.qualification_type k WHERE k.requester_id = m.new_id AND k.name = a.name AND k.state <> 'deleted');
    IF m.own_tasks = '{}' THEN
        RETURN;
    END IF;
    DELETE FROM _taskex.supply a WHERE a.partition_id = m.source AND a.requester_id = m.old_id AND EXISTS (SELECT FROM _taskex.supply k
        WHERE k.partition_id = m.target AND k.requester_id = m.new_id AND k.idempotency_key = a.idempotency_key);
    UPDATE _taskex.bonus a SET idempotency_key = NULL WHERE a.partition_id = m.source AND a.requester_id = m.old_id AND EXISTS (SELECT FROM _taskex.bonus k
        WHERE k.partition_id = m.target AND k.requester_id = m.new_id AND k.idempotency_key = a.idempotency_key);
    UPDATE _taskex.saved_search s SET requester_id = m.new_id, anchors = array_replace(s.anchors, 'r' || m.old_id, 'r' || m.new_id) WHERE s.requester_id = m.old_id;
    UPDATE _taskex.group_lease l SET requester_ids = array_replace(l.requester_ids, m.old_id, m.new_id) WHERE l.requester_ids @> ARRAY[m.old_id];
    UPDATE _taskex.shown s SET requesters = array_replace(s.requesters, m.old_id, m.new_id) WHERE s.requesters @> ARRAY[m.old_id];
    UPDATE _taskex.attachment a SET user_id = m.new_id WHERE a.partition_id = m.source AND a.subject_id = ANY (m.own_tasks) AND a.user_id = m.old_id;
END $$;
COMMENT ON FUNCTION _taskex.settle_requester(_taskex.merge) IS 'The same for what they are as requesters.';

-- identification ------------------------------------------------------------------------

CREATE FUNCTION _taskex.lease_moved(partition_id int, lease_until timestamptz) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_lease_moved';
COMMENT ON FUNCTION _taskex.lease_moved(int, timestamptz) IS 'At commit the conductor hears of a lease that was moved to the partition.';

CREATE FUNCTION _taskex.recall_slots(partition_id int, task_id bigint) RETURNS int
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_recall_slots';
COMMENT ON FUNCTION _taskex.recall_slots(int, bigint) IS 'Frees what groups have leased of an open task, and locks it. Result: slots.';

CREATE FUNCTION _taskex.merge_account(from_id bigint, to_id bigint, earned bigint, available bigint, held bigint) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_merge_account';
COMMENT ON FUNCTION _taskex.merge_account(bigint, bigint, bigint, bigint, bigint) IS
    'Transfers all that an account has to another: what can be paid out (earned, part of available) apart from the rest. Nano-units.';

CREATE FUNCTION _taskex.merge_money(m _taskex.merge) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    b record;
BEGIN
    SELECT coalesce(sum(e.available), 0)::bigint AS available, coalesce(sum(e.held), 0)::bigint AS held,
            coalesce(sum(e.available) FILTER (WHERE e.kind IN ('reward', 'bonus') AND e.available > 0
                OR e.kind IN ('withdrawal', 'payout', 'payout_return')), 0)::bigint AS earned
        INTO b FROM _taskex.entry e WHERE e.partition_id = m.source AND e.account_id = m.old_id;
    PERFORM _taskex.merge_account(m.old_id, m.new_id, least(b.available, greatest(b.earned, 0)), b.available, b.held);

    -- accounts of budgets are those of the requester whom their entries name, and move with him
    IF m.own_tasks <> '{}' THEN
        WITH charged AS (UPDATE _taskex.entry e SET counterparty = m.new_id
                WHERE e.partition_id = m.source AND e.account_id < -1 AND e.counterparty = m.old_id RETURNING e.account_id)
            -- if the known user is being moved, the mover hears of them
            UPDATE _taskex.balance k SET folded_to = k.folded_to WHERE k.partition_id = m.source AND k.account_id IN (SELECT c.account_id FROM charged c);
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.merge_money(_taskex.merge) IS
    'Closes the account of an anonymous user in favour of the known one, and makes those of his budgets that one''s.';

CREATE FUNCTION _taskex.merge_rows(m _taskex.merge) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c _taskex.user_column;
    owner name;
BEGIN
    -- their ids tell where they were made
    IF m.source <> m.target THEN
        INSERT INTO _taskex.forward AS f SELECT q.request_id, m.new_id, 'request' FROM _taskex.qualification_request q
            WHERE q.partition_id = m.source AND q.performer_id = m.old_id
            ON CONFLICT (id, kind) DO UPDATE SET owner_id = excluded.owner_id;
    END IF;
    IF EXISTS (SELECT FROM _taskex.migration g WHERE g.user_id = m.old_id) THEN
        UPDATE _taskex.forward f SET owner_id = m.new_id WHERE f.owner_id = m.old_id;
    END IF;
    UPDATE _taskex.result r SET performer_id = m.new_id FROM unnest(m.assignments, m.requesters) u (assignment_id, requester_id)
            JOIN _taskex.directory d ON d.user_id = u.requester_id
        WHERE r.partition_id = d.partition_id AND r.assignment_id = u.assignment_id AND r.performer_id = m.old_id;
    UPDATE _taskex.attachment a SET user_id = m.new_id, partition_id = m.target
        WHERE a.partition_id = m.source AND a.subject_id = ANY (m.assignments) AND NOT a.is_task AND a.user_id = m.old_id;
    FOR c IN SELECT * FROM _taskex.user_column u WHERE u.way IN ('owner', 'other') ORDER BY u.table_name, u.column_name LOOP
        CONTINUE WHEN c.found_by IS NOT NULL AND m.own_tasks = '{}';
        -- of a row that lies with somebody else the one that counts
        SELECT t.owner INTO owner FROM _taskex.child_table t WHERE t.table_name = c.table_name;
        EXECUTE format('UPDATE _taskex.%1$I x SET %2$I = $2 %3$s WHERE x.%2$I = $1 %4$s %5$s', c.table_name, c.column_name,
                CASE c.way WHEN 'owner' THEN ', partition_id = $8' END,
                CASE WHEN c.way = 'owner' THEN 'AND x.partition_id = $7'
                    WHEN owner IS NOT NULL THEN format('AND EXISTS (SELECT FROM _taskex.directory d WHERE d.user_id = x.%I AND d.partition_id = x.partition_id)', owner) END,
                'AND ' || c.found_by)
            USING m.old_id, m.new_id, m.assignments, m.requesters, m.own_tasks, m.started_at, m.source, m.target;
    END LOOP;
    -- leases go on: their new partition's conductor must know
    PERFORM _taskex.lease_moved(m.target, a.lease_until) FROM _taskex.assignment a
        WHERE m.source <> m.target AND a.partition_id = m.target AND a.assignment_id = ANY (m.assignments) AND a.state = 'accepted';
END $$;
COMMENT ON FUNCTION _taskex.merge_rows(_taskex.merge) IS 'Puts the known user''s number in the place of the anonymous one''s, and moves what lies with him.';

CREATE FUNCTION _taskex.merge_anonymous(old_id bigint, new_id bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m _taskex.merge := _taskex.lock_merge(old_id, new_id);
    anonymous text := _taskex.login(old_id);
BEGIN
    PERFORM _taskex.check_merge(m), _taskex.settle_performer(m), _taskex.settle_requester(m), _taskex.merge_rows(m), _taskex.merge_money(m);
    INSERT INTO _taskex.identified VALUES (old_id, new_id, anonymous, _taskex.now(), m.source, m.tasks,
        ARRAY(SELECT DISTINCT r FROM unnest(m.requesters) r));
    DELETE FROM _taskex.profile p WHERE p.partition_id = m.source AND p.user_id = old_id;
    DELETE FROM _taskex.directory d WHERE d.user_id = old_id;
    PERFORM _taskex.journal('identified', NULL, new_id, NULL, NULL, NULL, NULL, jsonb_build_object('anonymous', anonymous));
END $$;
COMMENT ON FUNCTION _taskex.merge_anonymous(bigint, bigint) IS
    'Makes all that an anonymous user has the known user''s; the caller holds him exclusively. What the dispatch writes follows with the act.';

CREATE FUNCTION _taskex.name_anonymous(user_id bigint, login text, home int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    anonymous text := _taskex.login(user_id);
    target int;
BEGIN
    UPDATE _taskex.directory d SET login = name_anonymous.login WHERE d.user_id = name_anonymous.user_id;
    INSERT INTO _taskex.identified VALUES (user_id, user_id, anonymous, _taskex.now(), home, NULL, NULL);
    PERFORM _taskex.journal('identified', NULL, user_id, NULL, NULL, NULL, NULL, jsonb_build_object('anonymous', anonymous));
    -- he stays where he is if there is nowhere else, or if he is on his way already
    IF EXISTS (SELECT FROM _taskex.partition p WHERE p.partition_id = home AND p.storage_class = 'temporary')
            AND NOT EXISTS (SELECT FROM _taskex.migration g WHERE g.user_id = name_anonymous.user_id AND g.finished_at IS NULL) THEN
        target := _taskex.best_partition(user_id);
        IF EXISTS (SELECT FROM _taskex.partition p WHERE p.partition_id = target AND p.storage_class <> 'temporary') THEN
            PERFORM _taskex.queue_migration(user_id, target, 'identified');
        END IF;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.name_anonymous(bigint, text, int) IS
    'Gives an anonymous user a login: he is a user like others, and moves to where these live, in the background.';

-- what the dispatch writes ----------------------------------------------------------------

INSERT INTO _taskex.event_kind VALUES
    ('identified', 520, false, true, true, 'an anonymous user turned out to be this one, or to become him', NULL, 'anonymous: the login that he had');

-- A summary whose rows of the anonymous user are added to those of the known one.
CREATE FUNCTION _taskex.merge_summary(summary name, whose text, old_id bigint, new_id bigint, source int, target int, keys text[], sums text[], condition text = 'true')
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    EXECUTE format('SELECT _taskex.add_to_summary(%1$L, $4, $5, $6, array(SELECT jsonb_populate_record(s, jsonb_build_object(%2$L, $2, ''partition_id'', $4))'
            ' FROM _taskex.%1$I s WHERE s.partition_id = $3 AND s.%2$I = $1 AND %3$s))', summary, whose, condition)
        USING old_id, new_id, source, target, keys, sums;
    EXECUTE format('DELETE FROM _taskex.%1$I s WHERE s.partition_id = $2 AND s.%2$I = $1 AND %3$s', summary, whose, condition)
        USING old_id, source;
END $$;
COMMENT ON FUNCTION _taskex.merge_summary(name, text, bigint, bigint, int, int, text[], text[], text) IS
    'Adds the rows of a summary that name old_id (in the column whose), on the partition source, to those of new_id on target.';

CREATE FUNCTION _taskex.forget_user_load(of_user bigint) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM _taskex.load_hour h WHERE h.kind = 'u' AND h.id = of_user;
    DELETE FROM _taskex.load_mean m WHERE m.kind = 'u' AND m.id = of_user;
    DELETE FROM _taskex.load_bytes b WHERE b.user_id = of_user;
END $$;
COMMENT ON FUNCTION _taskex.forget_user_load(bigint) IS 'Removes what was measured of a user.';

CREATE FUNCTION _taskex.merge_performer_summaries(i _taskex.identified, home int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    place int;
    names bigint[];
    last bigint;
BEGIN
    PERFORM _taskex.merge_summary('standing', 'performer_id', i.anonymous_id, i.user_id, i.partition_id, home, '{performer_id}',
        '{submitted,approved,rejected,returned,abandoned,agreed,compared}');
    PERFORM _taskex.merge_summary('earning', 'performer_id', i.anonymous_id, i.user_id, i.partition_id, home, '{performer_id,day,task_type_id}', '{approved,reward,bonus}');
    PERFORM _taskex.merge_summary('reliability', 'performer_id', i.anonymous_id, i.user_id, i.partition_id, home, '{performer_id,task_type_id}', '{agreed,compared}');
    FOR place, names IN SELECT d.partition_id, array_agg(d.user_id) FROM _taskex.directory d WHERE d.user_id = ANY (i.requesters) GROUP BY 1 LOOP
        PERFORM _taskex.merge_summary('working', 'performer_id', i.anonymous_id, i.user_id, place, place, '{requester_id,performer_id}',
            '{submitted,approved,rejected,returned,abandoned,paid}', format('s.requester_id = ANY (%L)', names));
    END LOOP;
    INSERT INTO _taskex.work_hour AS w SELECT i.user_id, o.task_type_id, o.hour, o.submitted, o.last_at FROM _taskex.work_hour o WHERE o.performer_id = i.anonymous_id
        ON CONFLICT (performer_id, task_type_id, hour) DO UPDATE SET submitted = w.submitted + excluded.submitted, last_at = greatest(w.last_at, excluded.last_at);
    DELETE FROM _taskex.work_hour o WHERE o.performer_id = i.anonymous_id;

    PERFORM _taskex.merge_load(i.anonymous_id, i.user_id);

    -- what review policies know of him
    UPDATE _taskex.policy_result r SET performer_id = i.user_id WHERE r.task_id = ANY (i.tasks) AND r.performer_id = i.anonymous_id;
    UPDATE _taskex.policy_action a SET performer_id = i.user_id WHERE a.requester_id = ANY (i.requesters) AND a.performer_id = i.anonymous_id;
    UPDATE _taskex.policy_tally k SET turn = k.turn - 1, counted = k.counted + a.counted, amount = coalesce(k.amount + a.amount, k.amount, a.amount),
            history = (a.history || k.history)[greatest(1, cardinality(a.history) + cardinality(k.history) - greatest(cardinality(a.history), cardinality(k.history)) + 1):],
            fired = ARRAY(SELECT DISTINCT f FROM unnest(k.fired || a.fired) f ORDER BY 1)
        FROM _taskex.policy_tally a, _taskex.review_policy p WHERE p.requester_id = ANY (i.requesters) AND a.policy_id = p.policy_id AND a.performer_id = i.anonymous_id
            AND k.partition_id = a.partition_id AND k.policy_id = p.policy_id AND k.performer_id = i.user_id;
    DELETE FROM _taskex.policy_tally a USING _taskex.policy_tally k, _taskex.review_policy p WHERE p.requester_id = ANY (i.requesters) AND a.policy_id = p.policy_id
        AND a.performer_id = i.anonymous_id AND k.partition_id = a.partition_id AND k.policy_id = p.policy_id AND k.performer_id = i.user_id;
    UPDATE _taskex.policy_tally a SET performer_id = i.user_id FROM _taskex.review_policy p
        WHERE p.requester_id = ANY (i.requesters) AND a.policy_id = p.policy_id AND a.performer_id = i.anonymous_id;

    -- events get the next numbers, in the present segment: its numbers must be the highest
    last := _taskex.last_event(i.user_id);
    EXECUTE format('WITH gone AS (DELETE FROM _taskex.event WHERE user_id = $1 RETURNING *)'
        ' INSERT INTO _taskex.event_%s (user_id, number, at, requester_id, performer_id, task_type_id, task_id, assignment_id, amount, kind, detail)'
        ' SELECT $2, $3 + row_number() OVER (ORDER BY g.number), g.at, nullif(CASE g.requester_id WHEN $1 THEN $2 ELSE g.requester_id END, 0),'
        '  CASE g.performer_id WHEN $1 THEN $2 ELSE g.performer_id END, g.task_type_id, g.task_id, g.assignment_id, g.amount, g.kind, g.detail FROM gone g',
        coalesce((SELECT t.turn FROM _taskex.event_turn t ORDER BY t.turn DESC LIMIT 1), 0) % 3) USING i.anonymous_id, i.user_id, last;
    DELETE FROM _taskex.event_floor f WHERE f.user_id = i.anonymous_id;
END $$;
COMMENT ON FUNCTION _taskex.merge_performer_summaries(_taskex.identified, int) IS
    'Makes what the dispatch has written of an anonymous user as a performer the known user''s, who lives on the partition.';

-- counts of appeal fade: they are added as of the later moment
CREATE FUNCTION _taskex.merge_appeal(i _taskex.identified, of_requester boolean) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a _taskex.appeal;
    k _taskex.appeal;
    new_whose text;
    new_requester bigint;
BEGIN
    FOR a IN SELECT * FROM _taskex.appeal p WHERE p.whose = 'u:' || i.anonymous_id
            UNION ALL SELECT * FROM _taskex.appeal p WHERE of_requester AND p.requester_id = i.anonymous_id AND p.whose <> 'u:' || i.anonymous_id LOOP
        new_whose := CASE WHEN a.whose = 'u:' || i.anonymous_id THEN 'u:' || i.user_id ELSE a.whose END;
        new_requester := CASE a.requester_id WHEN i.anonymous_id THEN i.user_id ELSE a.requester_id END;
        SELECT * INTO k FROM _taskex.appeal p WHERE p.whose = new_whose AND p.task_type_id = a.task_type_id AND p.requester_id = new_requester ORDER BY p.version LIMIT 1;
        DELETE FROM _taskex.appeal p WHERE (p.whose, p.task_type_id, p.requester_id) = (a.whose, a.task_type_id, a.requester_id)
            OR (p.whose, p.task_type_id, p.requester_id) = (new_whose, a.task_type_id, new_requester);
        INSERT INTO _taskex.appeal (whose, task_type_id, requester_id, version, shown, chosen, done, busy, at, done_at, began_at)
            SELECT new_whose, a.task_type_id, new_requester, coalesce(k.version, a.version) - 1,
                coalesce(_taskex.faded(k.shown, g.at - k.at), 0) + _taskex.faded(a.shown, g.at - a.at),
                coalesce(_taskex.faded(k.chosen, g.at - k.at), 0) + _taskex.faded(a.chosen, g.at - a.at),
                coalesce(_taskex.faded(k.done, g.at - k.at), 0) + _taskex.faded(a.done, g.at - a.at),
                coalesce(_taskex.decayed(k.busy, g.at - k.at), 0) + _taskex.decayed(a.busy, g.at - a.at),
                g.at, greatest(k.done_at, a.done_at), least(k.began_at, a.began_at)
            FROM (SELECT greatest(k.at, a.at)) g (at);
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.merge_appeal(_taskex.identified, boolean) IS 'Adds the counts of recommendations; of_requester: also those of tasks that he has supplied.';

CREATE FUNCTION _taskex.merge_requester_summaries(i _taskex.identified, home int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.merge_summary('working', 'requester_id', i.anonymous_id, i.user_id, i.partition_id, home, '{requester_id,performer_id}',
        '{submitted,approved,rejected,returned,abandoned,paid}');
    PERFORM _taskex.merge_summary('rating_total', 'requester_id', i.anonymous_id, i.user_id, i.partition_id, home, '{requester_id}', '{ratings,stars}');
    UPDATE _taskex.progress k SET version = k.version - 1, tasks = k.tasks + a.tasks, slots = k.slots + a.slots, submitted = k.submitted + a.submitted,
            approved = k.approved + a.approved, rejected = k.rejected + a.rejected, released_slots = k.released_slots + a.released_slots,
            returned = k.returned + a.returned, abandoned = k.abandoned + a.abandoned, held = k.held + a.held, paid = k.paid + a.paid, fees = k.fees + a.fees,
            bonuses = k.bonuses + a.bonuses, bonus_fees = k.bonus_fees + a.bonus_fees, released = k.released + a.released,
            rate = _taskex.decayed(k.rate, a.rate_at - k.rate_at) + _taskex.decayed(a.rate, k.rate_at - a.rate_at), rate_at = greatest(k.rate_at, a.rate_at),
            first_at = least(k.first_at, a.first_at), last_at = greatest(k.last_at, a.last_at)
        FROM _taskex.progress a WHERE a.partition_id = i.partition_id AND a.requester_id = i.anonymous_id
            AND k.partition_id = home AND k.requester_id = i.user_id AND k.task_type_id = a.task_type_id;
    DELETE FROM _taskex.progress a WHERE a.partition_id = i.partition_id AND a.requester_id = i.anonymous_id AND EXISTS (SELECT FROM _taskex.progress k
        WHERE k.partition_id = home AND k.requester_id = i.user_id AND k.task_type_id = a.task_type_id);
    UPDATE _taskex.progress a SET partition_id = home, requester_id = i.user_id WHERE a.partition_id = i.partition_id AND a.requester_id = i.anonymous_id;

    UPDATE _taskex.catalogue k SET tasks = k.tasks + a.tasks, slots = k.slots + a.slots, used = k.used + a.used, last_task_id = greatest(k.last_task_id, a.last_task_id),
            supplied_at = greatest(k.supplied_at, a.supplied_at), golden = k.golden OR a.golden,
            magnitude = _taskex.magnitude(k.slots + a.slots - k.used - a.used)
        FROM _taskex.catalogue a WHERE a.requester_id = i.anonymous_id AND k.requester_id = i.user_id AND k.task_type_id = a.task_type_id;
    DELETE FROM _taskex.catalogue a WHERE a.requester_id = i.anonymous_id
        AND EXISTS (SELECT FROM _taskex.catalogue k WHERE k.requester_id = i.user_id AND k.task_type_id = a.task_type_id);
    UPDATE _taskex.catalogue a SET requester_id = i.user_id WHERE a.requester_id = i.anonymous_id;
    DELETE FROM _taskex.appearance a WHERE a.requester_id = i.anonymous_id
        AND EXISTS (SELECT FROM _taskex.appearance k WHERE k.requester_id = i.user_id AND k.task_type_id = a.task_type_id);
    UPDATE _taskex.appearance a SET requester_id = i.user_id WHERE a.requester_id = i.anonymous_id;
    DELETE FROM _taskex.notice a WHERE a.requester_id = i.anonymous_id
        AND EXISTS (SELECT FROM _taskex.notice k WHERE k.requester_id = i.user_id AND k.task_type_id = a.task_type_id AND k.search_id = a.search_id);
    UPDATE _taskex.notice a SET requester_id = i.user_id WHERE a.requester_id = i.anonymous_id;
    UPDATE _taskex.policy_tally t SET requester_id = i.user_id FROM _taskex.review_policy p
        WHERE p.requester_id = i.user_id AND t.policy_id = p.policy_id AND t.requester_id = i.anonymous_id;
    UPDATE _taskex.policy_result r SET requester_id = i.user_id WHERE r.requester_id = i.anonymous_id;
    UPDATE _taskex.policy_action a SET requester_id = i.user_id WHERE a.requester_id = i.anonymous_id;
END $$;
COMMENT ON FUNCTION _taskex.merge_requester_summaries(_taskex.identified, int) IS 'The same of him as a requester.';

CREATE FUNCTION _taskex.fold_identified(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    i _taskex.identified;
    home int;
    supplied boolean;
BEGIN
    FOR i IN SELECT t.* FROM unnest(batch) b JOIN _taskex.identified t ON t.login = b.detail ->> 'anonymous'
            WHERE b.kind = 'identified' AND t.user_id <> t.anonymous_id LOOP
        home := _taskex.home(i.user_id);
        supplied := EXISTS (SELECT FROM _taskex.progress p WHERE p.partition_id = i.partition_id AND p.requester_id = i.anonymous_id);
        PERFORM _taskex.merge_performer_summaries(i, home), _taskex.merge_appeal(i, supplied);
        IF supplied THEN
            PERFORM _taskex.merge_requester_summaries(i, home);
        END IF;
        UPDATE _taskex.identified t SET tasks = NULL, requesters = NULL WHERE t.anonymous_id = i.anonymous_id;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.fold_identified(_taskex.journal_act[]) IS
'Consumer of the journal: merges what the dispatch has written of anonymous users who were identified. Later acts name the known user (known_acts).';
INSERT INTO _taskex.journal_consumer VALUES (3, 'fold_identified');

-- removal --------------------------------------------------------------------------------

CREATE FUNCTION _taskex.hold_anonymous(user_id bigint) RETURNS boolean
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_hold_anonymous';
COMMENT ON FUNCTION _taskex.hold_anonymous(bigint) IS 'Keeps all others from acting for an anonymous user until the transaction ends; false: somebody does.';

CREATE FUNCTION _taskex.anonymous_removed(login text, user_id bigint, partition_id int) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_anonymous_removed';
COMMENT ON FUNCTION _taskex.anonymous_removed(text, bigint, int) IS 'All sessions forget the user at commit.';

-- Has he earned or paid something, or does somebody else need his rows?
CREATE FUNCTION _taskex.anonymous_is_used(of_user bigint, home int, since timestamptz) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c _taskex.user_column;
    used boolean;
BEGIN
    used := EXISTS (SELECT FROM _taskex.assignment a LEFT JOIN _taskex.group_lease l ON l.lease_id = a.group_lease_id
        WHERE a.partition_id = home AND a.performer_id = of_user
            AND (a.state NOT IN ('returned', 'abandoned') OR a.lease_until >= since OR l.lease_id IS NOT NULL));
    FOR c IN SELECT * FROM _taskex.user_column u WHERE u.unused = 'keeps' LOOP
        EXIT WHEN used;
        EXECUTE format('SELECT EXISTS (SELECT FROM _taskex.%I WHERE %I = $1 %s)', c.table_name, c.column_name,
            CASE WHEN c.way = 'owner' OR c.table_name IN ('entry', 'attachment') THEN 'AND partition_id = $2' END) INTO used USING of_user, home;
    END LOOP;
    RETURN used;
END $$;
COMMENT ON FUNCTION _taskex.anonymous_is_used(bigint, int, timestamptz) IS
    'Has an anonymous user anything that lasts, or a task since then? What he has returned or let lapse does not last.';

CREATE FUNCTION _taskex.forget_anonymous(of_user bigint, home int) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    c _taskex.user_column;
    requesters bigint[] := ARRAY(SELECT DISTINCT a.requester_id FROM _taskex.assignment a WHERE a.partition_id = home AND a.performer_id = of_user);
BEGIN
    DELETE FROM _taskex.policy_tally t USING _taskex.review_policy p
        WHERE p.requester_id = ANY (requesters) AND t.policy_id = p.policy_id AND t.performer_id = of_user;
    DELETE FROM _taskex.working w USING _taskex.directory d WHERE d.user_id = ANY (requesters)
        AND w.partition_id = d.partition_id AND w.requester_id = d.user_id AND w.performer_id = of_user;
    DELETE FROM _taskex.appeal a WHERE a.whose = 'u:' || of_user;
    PERFORM _taskex.forget_user_load(of_user);
    DELETE FROM _taskex.assignment a WHERE a.partition_id = home AND a.performer_id = of_user;
    FOR c IN SELECT * FROM _taskex.user_column u WHERE u.unused = 'removed' AND u.table_name <> 'policy_tally' LOOP
        EXECUTE format('DELETE FROM _taskex.%I WHERE %I = $1 %s', c.table_name, c.column_name,
            CASE WHEN c.table_name <> 'directory' AND EXISTS (SELECT FROM _taskex.child_table t WHERE t.table_name = c.table_name) THEN 'AND partition_id = $2' END)
            USING of_user, home;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.forget_anonymous(bigint, int) IS 'Removes an anonymous user and all rows of his. The caller is the dispatch, or keeps it away.';

CREATE FUNCTION _taskex.remove_anonymous(after text, max_users int, lifetime interval) RETURNS text
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    since timestamptz := _taskex.now() - lifetime;
    seen int := 0;
    last text;
    named bigint[];
    u record;
BEGIN
    FOR u IN SELECT d.login, d.user_id, d.partition_id, p.registered_at FROM _taskex.directory d
            LEFT JOIN _taskex.profile p ON p.partition_id = d.partition_id AND p.user_id = d.user_id
            WHERE d.login > greatest(after, 'anonymous:') COLLATE "C" AND d.login < 'anonymous;' COLLATE "C" ORDER BY d.login LIMIT max_users LOOP
        seen := seen + 1;
        last := u.login;
        CONTINUE WHEN u.registered_at >= since OR NOT _taskex.hold_anonymous(u.user_id);
        -- the mover has copies of what is his
        CONTINUE WHEN EXISTS (SELECT FROM _taskex.migration m WHERE m.user_id = u.user_id AND m.finished_at IS NULL);
        CONTINUE WHEN _taskex.anonymous_is_used(u.user_id, u.partition_id, since);
        IF named IS NULL THEN
            LOCK TABLE _taskex.journal_consumer IN SHARE UPDATE EXCLUSIVE MODE;
            named := ARRAY(SELECT j.performer_id FROM _taskex.journal_tail() j UNION SELECT j.requester_id FROM _taskex.journal_tail() j
                UNION SELECT (f.act).performer_id FROM _taskex.journal_failed f);
        END IF;
        CONTINUE WHEN u.user_id = ANY (array_remove(named, NULL));
        PERFORM _taskex.forget_anonymous(u.user_id, u.partition_id), _taskex.anonymous_removed(u.login, u.user_id, u.partition_id);
    END LOOP;
    RETURN CASE WHEN seen = max_users THEN last END;
END $$;
COMMENT ON FUNCTION _taskex.remove_anonymous(text, int, interval) IS
'Looks at anonymous users with logins after this one, and removes those who were started that long ago and have nothing that lasts. Result: the
last login that was looked at; NULL: there are no more.';

CREATE VIEW taskex.anonymous_users WITH (security_barrier) AS
    SELECT d.login, d.user_id, p.name::text AS partition, nullif(d.db_role::oid, 0)::regrole AS db_role, f.profile, f.registered_at AS started_at
    FROM _taskex.directory d JOIN _taskex.partition p USING (partition_id)
        LEFT JOIN _taskex.profile f ON f.partition_id = d.partition_id AND f.user_id = d.user_id
    WHERE d.login >= 'anonymous:' COLLATE "C" AND d.login < 'anonymous;' COLLATE "C"
        AND _taskex.visible(d.user_id) AND _taskex.narrow(d.partition_id, d.user_id, d.login, NULL);
COMMENT ON VIEW taskex.anonymous_users IS 'Anonymous users for whom the caller may act.';

CREATE VIEW taskex.identified_users WITH (security_barrier) AS
    SELECT i.login AS anonymous, d.login, i.at AS identified_at, i.anonymous_id = i.user_id AS is_new
    FROM _taskex.identified i JOIN _taskex.directory d USING (user_id)
    WHERE _taskex.visible(i.user_id) AND _taskex.narrow(NULL, i.user_id, d.login, NULL);
COMMENT ON VIEW taskex.identified_users IS 'Which anonymous users were identified as the users for whom the caller may act. is_new: he got the login then.';
