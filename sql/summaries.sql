-- summaries.sql: summaries of what performers and requesters have done, folded from
-- the journal. Pairs with src/journal.

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
    'How far a requester''s work of a type has come, on his partition; nano-units. Type 0: none; less than 0: golden tasks of a type.';
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
    ('standing', 60, 100, ARRAY['PRIMARY KEY (performer_id, version)'], '{}', 'performer_id'),
    ('earning', 61, 100, ARRAY['PRIMARY KEY (performer_id, day, task_type_id, version)'], '{}', 'performer_id'),
    ('progress', 62, 100, ARRAY['PRIMARY KEY (requester_id, task_type_id, version)'], '{}', 'requester_id'),
    ('working', 63, 100, ARRAY['PRIMARY KEY (requester_id, performer_id, version)'], '{}', 'requester_id');

-- An exponentially decayed counter: each event counts exp(-age / tau). Divided by
-- tau it estimates the rate of events; the sum is kept up to date by decaying it
-- when something is added. Cormode, Korn, Tirthapura: Exponentially decayed
-- aggregates on data streams (ICDE 2008), section 1; tau is one hour here.
-- What is next to nothing is none: PostgreSQL takes a product that is too small for an error.
CREATE FUNCTION _taskex.decayed(rate float8, since interval) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    'SELECT CASE WHEN since > interval ''100 hours'' OR rate < 1e-200 THEN 0 ELSE rate * exp(-greatest(extract(epoch FROM since), 0)::float8 / 3600) END';
COMMENT ON FUNCTION _taskex.decayed(float8, interval) IS
    'What is left of a decayed hourly rate after a time; a time below 0 counts as none.';

CREATE FUNCTION _taskex.add_to_summary(summary name, partition int, keys text[], sums text[], deltas anyarray)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    columns text := array_to_string('{partition_id}' || keys || sums || '{last_at}', ', ');
BEGIN
    EXECUTE format('MERGE INTO _taskex.%1$s s USING (SELECT d.*, o.version AS old FROM unnest($1) d'
        ' LEFT JOIN LATERAL (SELECT o.version FROM _taskex.%1$s o WHERE %2$s ORDER BY o.version LIMIT 1) o ON true) d'
        ' ON %3$s AND s.version = d.old'
        ' WHEN MATCHED THEN UPDATE SET version = s.version - 1, %4$s, last_at = greatest(s.last_at, d.last_at)'
        ' WHEN NOT MATCHED THEN INSERT (%5$s, version) VALUES (%6$s, 0)',
        summary || '_' || partition,
        (SELECT string_agg(format('o.%1$s = d.%1$s', k), ' AND ') FROM unnest(keys) k),
        (SELECT string_agg(format('s.%1$s = d.%1$s', k), ' AND ') FROM unnest(keys) k),
        (SELECT string_agg(format('%1$s = s.%1$s + d.%1$s', c), ', ') FROM unnest(sums) c),
        columns, 'd.' || replace(columns, ', ', ', d.'))
    USING deltas;
END $$;
COMMENT ON FUNCTION _taskex.add_to_summary(name, int, text[], text[], anyarray) IS
'Adds rows to a summary on a partition. summary: table without partition; its last column is last_at. keys, sums: its
other columns. deltas: rows of the table''s type, one for each key; version is not looked at.';

-- consumers of the journal -------------------------------------------------------------

CREATE FUNCTION _taskex.fold_summaries(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_fold_summaries';
COMMENT ON FUNCTION _taskex.fold_summaries(_taskex.journal_act[]) IS
'Consumer of the journal: fills _taskex.standing, _taskex.earning, _taskex.progress and _taskex.working. Sums that would be
beyond 9e18 stay there.';

INSERT INTO _taskex.journal_consumer VALUES (10, 'fold_summaries');

-- checks ------------------------------------------------------------------------------

-- Summaries and what is still to be folded into them must give what the tables
-- say, in one snapshot.
CREATE FUNCTION _taskex.check_journal(OUT what text, OUT wrong bigint) RETURNS SETOF record
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH act AS MATERIALIZED (
        SELECT kind, requester_id, performer_id, amount, detail FROM _taskex.journal_tail()
        UNION ALL
        SELECT (f.act).kind, (f.act).requester_id, (f.act).performer_id, (f.act).amount, (f.act).detail
        FROM _taskex.journal_failed f WHERE f.consumer = 'fold_summaries'
    ), tail AS MATERIALIZED (
        SELECT t.kind, coalesce(q.user_id, t.requester_id) AS requester_id, coalesce(p.user_id, t.performer_id) AS performer_id, t.amount, t.detail
        FROM act t LEFT JOIN _taskex.identified q ON q.anonymous_id = t.requester_id LEFT JOIN _taskex.identified p ON p.anonymous_id = t.performer_id
    ), counted AS MATERIALIZED (
        SELECT requester_id, performer_id, count(*) FILTER (WHERE kind = 'submitted') AS submitted,
            count(*) FILTER (WHERE kind IN ('approved', 'overridden')) AS approved,
            count(*) FILTER (WHERE kind = 'rejected') - count(*) FILTER (WHERE kind = 'overridden') AS rejected,
            count(*) FILTER (WHERE kind = 'returned') AS returned,
            count(*) FILTER (WHERE kind = 'abandoned') AS abandoned,
            coalesce(sum(amount) FILTER (WHERE kind IN ('approved', 'overridden')), 0) AS reward,
            coalesce(sum((detail->>'count')::bigint) FILTER (WHERE kind = 'created'), 0) AS tasks
        FROM tail GROUP BY 1, 2
    ), standing AS (
        SELECT performer_id, sum(submitted) AS submitted, sum(approved) AS approved, sum(rejected) AS rejected,
            sum(returned) AS returned, sum(abandoned) AS abandoned
        FROM (SELECT h.user_id AS performer_id, submitted, approved, rejected, returned, abandoned FROM _taskex.standing
                JOIN _taskex.known_home h USING (partition_id) WHERE h.named_id = performer_id
            UNION ALL SELECT performer_id, submitted, approved, rejected, returned, abandoned FROM counted
            WHERE performer_id IS NOT NULL) s
        GROUP BY 1
    ), earning AS (
        SELECT performer_id, sum(approved) AS approved, sum(reward) AS reward
        FROM (SELECT h.user_id AS performer_id, approved, reward FROM _taskex.earning
                JOIN _taskex.known_home h USING (partition_id) WHERE h.named_id = performer_id
            UNION ALL SELECT performer_id, approved, reward FROM counted
            WHERE performer_id IS NOT NULL) s
        GROUP BY 1
    ), progress AS (
        SELECT requester_id, sum(submitted) AS submitted, sum(approved) AS approved, sum(rejected) AS rejected,
            sum(tasks) AS tasks
        FROM (SELECT h.user_id AS requester_id, submitted, approved, rejected, tasks FROM _taskex.progress
                JOIN _taskex.known_home h USING (partition_id) WHERE h.named_id = requester_id
            UNION ALL SELECT requester_id, submitted, approved, rejected, tasks FROM counted
            WHERE requester_id IS NOT NULL) s
        GROUP BY 1
    ), working AS (
        SELECT requester_id, performer_id, sum(submitted) AS submitted, sum(approved) AS approved, sum(rejected) AS rejected,
            sum(returned) AS returned, sum(abandoned) AS abandoned
        FROM (SELECT h.user_id AS requester_id, coalesce(i.user_id, performer_id) AS performer_id, submitted, approved, rejected, returned, abandoned
                FROM _taskex.working w JOIN _taskex.known_home h USING (partition_id) LEFT JOIN _taskex.identified i ON i.anonymous_id = performer_id
                WHERE h.named_id = requester_id
            UNION ALL SELECT requester_id, performer_id, submitted, approved, rejected, returned, abandoned FROM counted
            WHERE requester_id IS NOT NULL AND performer_id IS NOT NULL) s
        GROUP BY 1, 2
    ), assignments AS MATERIALIZED (
        SELECT requester_id, performer_id,
            count(*) FILTER (WHERE state IN ('submitted', 'approved', 'rejected')) AS submitted,
            count(*) FILTER (WHERE state = 'approved') AS approved, count(*) FILTER (WHERE state = 'rejected') AS rejected,
            count(*) FILTER (WHERE state = 'returned') AS returned, count(*) FILTER (WHERE state = 'abandoned') AS abandoned,
            coalesce(sum(reward) FILTER (WHERE state = 'approved'), 0) AS reward
        FROM _taskex.assignment_at_home GROUP BY 1, 2
    ), by_performer AS (
        SELECT performer_id, sum(submitted) AS submitted, sum(approved) AS approved, sum(rejected) AS rejected,
            sum(returned) AS returned, sum(abandoned) AS abandoned, sum(reward) AS reward FROM assignments GROUP BY 1
    ), by_requester AS (
        SELECT requester_id, sum(submitted) AS submitted, sum(approved) AS approved, sum(rejected) AS rejected,
            sum(tasks) AS tasks
        FROM (SELECT requester_id, submitted, approved, rejected, 0 AS tasks FROM assignments
            UNION ALL SELECT requester_id, 0, 0, 0, count(*) FROM _taskex.task_at_home GROUP BY 1) r
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
