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

-- consumers of the journal -------------------------------------------------------------

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

-- The journal writes the type of golden tasks as that of others. Where a requester has
-- supplied some of a type, which progress knows by then, the tasks of the acts are looked up.
CREATE FUNCTION _taskex.golden_tasks_among(batch _taskex.journal_act[]) RETURNS bigint[]
    LANGUAGE plpgsql AS $$
DECLARE
    home int;
    acts _taskex.journal_act[];
    these bigint[];
    golden bigint[] := '{}';
BEGIN
    FOR home, acts IN SELECT d.partition_id, array_agg(b) FROM unnest(batch) b JOIN _taskex.directory d ON d.user_id = b.requester_id
            WHERE b.task_id IS NOT NULL AND b.task_type_id IS NOT NULL GROUP BY 1 LOOP
        EXECUTE format('WITH pair AS MATERIALIZED (SELECT b.requester_id, b.task_type_id FROM unnest($1) b GROUP BY 1, 2'
            '  HAVING bool_or(b.detail ? ''golden'') OR EXISTS (SELECT FROM _taskex.progress_%1$s p'
            '   WHERE p.requester_id = b.requester_id AND p.task_type_id = -b.task_type_id))'
            ' SELECT array_agg(DISTINCT b.task_id) FROM unnest($1) b JOIN pair USING (requester_id, task_type_id)'
            ' WHERE EXISTS (SELECT FROM _taskex.task_%1$s t WHERE t.task_id = b.task_id AND t.task_type_id < 0 OFFSET 0)', home)
            INTO these USING acts;
        golden := golden || these;
    END LOOP;
    RETURN golden;
END $$;
COMMENT ON FUNCTION _taskex.golden_tasks_among(_taskex.journal_act[]) IS 'The golden ones among the tasks that a batch of acts is about.';

CREATE FUNCTION _taskex.fold_progress(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int;
    deltas _taskex.progress[];
    golden bigint[] := _taskex.golden_tasks_among(batch);
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
            FROM (SELECT a.*, y.type, d.partition_id,
                    max(a.at) OVER (PARTITION BY a.requester_id, y.type) AS newest
                FROM unnest(batch) a JOIN _taskex.directory d ON d.user_id = a.requester_id
                    CROSS JOIN LATERAL (SELECT coalesce(CASE WHEN a.task_id = ANY (golden) THEN -a.task_type_id ELSE a.task_type_id END, 0) AS type) y
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
    (10, 'fold_standing'), (20, 'fold_earning'), (30, 'fold_progress'), (40, 'fold_working');

-- checks ------------------------------------------------------------------------------

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
