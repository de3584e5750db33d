-- recommend.sql: what a performer would take next. Pairs with src/supply/recommend.c;
-- src/supply/README.md tells how.

-- counters --------------------------------------------------------------------

-- All of a kind: what was shown and chosen, and what was done, of a task type and
-- requester (0: of all), by a performer, by those who are like him, by all. Written
-- by fold_choices() alone. Counts fade with the time constant of faded(), so a row
-- is kept up to date by fading it when something is added. version: as in
-- summaries.sql.
CREATE TABLE _taskex.appeal (
    whose text NOT NULL,
    task_type_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    version bigint NOT NULL,
    shown float8 NOT NULL,
    chosen float8 NOT NULL,
    done float8 NOT NULL,
    busy float8 NOT NULL,
    at timestamptz NOT NULL,
    done_at timestamptz,
    began_at timestamptz NOT NULL,
    PRIMARY KEY (whose, task_type_id, requester_id, version)
);
COMMENT ON TABLE _taskex.appeal IS
'How a task type and requester (0: any) appeal to whom: to all (empty), a performer (u:id), or those who share a value in
their profiles (attribute:value) or a group (group:id).';
COMMENT ON COLUMN _taskex.appeal.shown IS 'How often it was among what was recommended when a choice was made; faded, as of at.';
COMMENT ON COLUMN _taskex.appeal.chosen IS 'How often it was chosen then; faded.';
COMMENT ON COLUMN _taskex.appeal.done IS 'Submissions; faded.';
COMMENT ON COLUMN _taskex.appeal.busy IS 'Submissions, faded with a time constant of one hour.';
COMMENT ON COLUMN _taskex.appeal.began_at IS 'When it was begun, or begun again after a day without anything.';
-- for what nobody touches any more
CREATE INDEX appeal_at_idx ON _taskex.appeal (at);
SELECT pg_catalog.pg_extension_config_dump('_taskex.appeal', '');

CREATE FUNCTION _taskex.faded(n float8, since interval) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
    'SELECT CASE WHEN since > interval ''300 days'' OR n < 1e-200 THEN 0 ELSE n * exp(-greatest(extract(epoch FROM since), 0)::float8 / 604800) END';
COMMENT ON FUNCTION _taskex.faded(float8, interval) IS
    'What is left of a count after a time, with a time constant of one week; a time below 0 counts as none.';

CREATE FUNCTION _taskex.appeal_now(whose text, task_type_id bigint, requester_id bigint, now timestamptz)
    RETURNS TABLE (shown float8, chosen float8, done float8, busy float8, done_at timestamptz, began_at timestamptz)
    LANGUAGE sql STABLE AS $$
    SELECT coalesce(_taskex.faded(a.shown, $4 - a.at), 0), coalesce(_taskex.faded(a.chosen, $4 - a.at), 0),
        coalesce(_taskex.faded(a.done, $4 - a.at), 0), coalesce(_taskex.decayed(a.busy, $4 - a.at), 0), a.done_at, a.began_at
    FROM (SELECT 1) one LEFT JOIN LATERAL (SELECT * FROM _taskex.appeal p
        WHERE p.whose = $1 AND p.task_type_id = $2 AND p.requester_id = $3 ORDER BY p.version LIMIT 1) a ON true
$$;
COMMENT ON FUNCTION _taskex.appeal_now(text, bigint, bigint, timestamptz) IS 'One row: an appeal as of now; began_at is NULL if there is none.';

CREATE FUNCTION _taskex.circles(performer_id bigint) RETURNS text[]
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    circles text[];
BEGIN
    EXECUTE format('SELECT array(SELECT left(k || '':'' || (p.profile ->> k), 200) FROM unnest($2) k'
        ' WHERE jsonb_typeof(p.profile -> k) IN (''string'', ''number'', ''boolean'') ORDER BY 1)'
        ' FROM _taskex.profile_%s p WHERE p.user_id = $1', _taskex.home(performer_id)) INTO circles
        USING performer_id, regexp_split_to_array(btrim(current_setting('taskex.supply_alike')), '\s*,\s*');
    -- the group of his storage partition says nothing about him
    RETURN coalesce(circles, '{}') || array(SELECT 'group:' || g FROM unnest(_taskex.groups_of(performer_id)) g WHERE g > 0);
END $$;
COMMENT ON FUNCTION _taskex.circles(bigint) IS
'Whom a performer is like, as in appeal.whose: attribute:value for each attribute of taskex.supply_alike that his profile
has, and group:id for each group that he belongs to.';

-- the model -------------------------------------------------------------------

CREATE TABLE _taskex.recommend_factor (
    position int PRIMARY KEY,
    name text NOT NULL UNIQUE,
    prior float8 NOT NULL,
    description text NOT NULL
);
COMMENT ON TABLE _taskex.recommend_factor IS 'The factors of recommendations, in the order of weigh(). Filled by the install script alone.';
INSERT INTO _taskex.recommend_factor VALUES
    (1, 'own_rate', 1, 'how often he chose this task type when it was recommended to him (log; towards type_rate while little is known)'),
    (2, 'own_share', 0, 'the type''s share in what he has done in the last weeks'),
    (3, 'own_recent', 0, '1 if he has just done this type, fading within hours'),
    (4, 'own_requester', 0, 'how much he has done for this requester in the last weeks; towards 1'),
    (5, 'novelty', 0, '1 if he has neither been shown nor done this type'),
    (6, 'type_rate', 0, 'how often anybody chose this type when it was recommended (log)'),
    (7, 'circle_type', 0, 'the same among those like him (of his groups, and by taskex.supply_alike)'),
    (8, 'circle_rate', 0.5, 'how often those like him chose it from this requester (log; towards everybody''s rate)'),
    (9, 'volume', 0, 'how much is done of this type for this requester, in the last weeks (log)'),
    (10, 'busy', 0, 'how much of it is done in the last hour (log)'),
    (11, 'age', 0, 'hours since it began to be done (log)'),
    (12, 'reward', 0, 'the reward (log)'),
    (13, 'supply', 0.25, 'what is at hand of the type for his groups: 1 if all that they are to have, down to -1 if it is kept for others alone; 0 without supplies');

CREATE FUNCTION _taskex.logit_chances(weights float8[], "values" float8[]) RETURNS float8[]
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_logit_chances';
COMMENT ON FUNCTION _taskex.logit_chances(float8[], float8[]) IS
    'The chance of each alternative to be chosen. values: those of all factors of the first alternative, of the second...';

CREATE FUNCTION _taskex.logit_learn(state float8[], "values" float8[], chosen int) RETURNS float8[]
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_logit_learn';
COMMENT ON FUNCTION _taskex.logit_learn(float8[], float8[], int) IS
'One step of learning from a choice. state: weights, then sums of squared gradients. chosen: 1 for the first of the alternatives.';

-- One row: each batch that taught something replaces it, under the next number.
CREATE TABLE _taskex.recommend_model (
    number bigint PRIMARY KEY,
    state float8[] NOT NULL,
    choices bigint NOT NULL,
    at timestamptz NOT NULL,
    pruned_at timestamptz NOT NULL
);
COMMENT ON TABLE _taskex.recommend_model IS 'What was learned of choices: state as of logit_learn(), with the factors of recommend_factor.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.recommend_model', '');

CREATE FUNCTION _taskex.recommend_state() RETURNS _taskex.recommend_model
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    m _taskex.recommend_model;
BEGIN
    SELECT * INTO m FROM _taskex.recommend_model ORDER BY number DESC LIMIT 1;
    -- nothing yet, or (from a dump) learned of other factors
    IF m.state IS NULL OR cardinality(m.state) <> 2 * (SELECT count(*) FROM _taskex.recommend_factor) THEN
        m := ROW(coalesce(m.number, 0), (SELECT array_agg(f.prior ORDER BY f.position) || array_agg(1::float8) FROM _taskex.recommend_factor f),
            0, _taskex.now(), '-infinity');
    END IF;
    RETURN m;
END $$;
COMMENT ON FUNCTION _taskex.recommend_state() IS 'The model; before anything was learned, that with the weights prior.';

-- Counts are taken as if 2 more were known: of what the next wider circle does.
CREATE FUNCTION _taskex.weigh(performer_id bigint, circles text[], types bigint[], requesters bigint[], rewards bigint[],
        now timestamptz)
    RETURNS float8[] LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off
    SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    me text := 'u:' || performer_id;
    total float8 := (SELECT n.done FROM _taskex.appeal_now(me, 0, 0, now) n);
    factors float8[];
BEGIN
    SELECT array_agg(v.value ORDER BY a.place, v.position) INTO factors
    FROM unnest(types, requesters, rewards) WITH ORDINALITY a (type, requester, reward, place)
        CROSS JOIN LATERAL _taskex.appeal_now('', a.type, 0, now) y
        CROSS JOIN LATERAL (SELECT (y.chosen + 1) / (y.shown + 3) AS p) type
        CROSS JOIN LATERAL _taskex.appeal_now('', a.type, a.requester, now) j
        CROSS JOIN LATERAL (SELECT (j.chosen + 2 * type.p) / (j.shown + 2) AS p) offer
        CROSS JOIN LATERAL _taskex.appeal_now(me, a.type, 0, now) o
        CROSS JOIN LATERAL _taskex.appeal_now(me, 0, a.requester, now) r
        LEFT JOIN LATERAL (SELECT avg(ln((t.chosen + 2 * type.p) / (t.shown + 2))) AS type,
                avg(ln((k.chosen + 2 * offer.p) / (k.shown + 2))) AS offer
            FROM unnest(circles) c (c) CROSS JOIN LATERAL _taskex.appeal_now(c, a.type, 0, now) t
                CROSS JOIN LATERAL _taskex.appeal_now(c, a.type, a.requester, now) k) alike ON true
        CROSS JOIN LATERAL (VALUES
            (1, ln((o.chosen + 2 * type.p) / (o.shown + 2))),
            (2, (o.done + 0.5) / (total + 2)),
            (3, CASE WHEN o.done_at IS NULL THEN 0 ELSE _taskex.decayed(1, now - o.done_at) END),
            (4, r.done / (r.done + 1)),
            (5, CASE WHEN o.began_at IS NULL THEN 1 ELSE 0 END),
            (6, ln(type.p)),
            (7, coalesce(alike.type, ln(type.p))),
            (8, coalesce(alike.offer, ln(offer.p))),
            (9, ln(1 + j.done)),
            (10, ln(1 + j.busy)),
            (11, ln(0.1 + greatest(coalesce(extract(epoch FROM now - j.began_at)::float8 / 3600, 0), 0))),
            (12, ln(0.001 + a.reward / 1e9::float8)),
            (13, _taskex.supply_favour(performer_id, a.type))) v (position, value);
    RETURN factors;
END $$;
COMMENT ON FUNCTION _taskex.weigh(bigint, text[], bigint[], bigint[], bigint[], timestamptz) IS
'The values of all factors for alternatives (task types, their requesters and rewards) that a performer who is like
circles has: those of the first alternative, of the second...';

-- what was shown --------------------------------------------------------------

-- Inserted by recommend_tasks(); removed by the performer's later calls when there
-- are more than 20 of his, and by fold_choices() when it is too old.
CREATE TABLE _taskex.shown (
    shown_id bigint NOT NULL GENERATED ALWAYS AS IDENTITY,
    performer_id bigint NOT NULL,
    at timestamptz NOT NULL,
    circles text[] NOT NULL,
    types bigint[] NOT NULL,
    requesters bigint[] NOT NULL,
    factors float8[] NOT NULL,
    learned boolean NOT NULL DEFAULT false,
    PRIMARY KEY (performer_id, shown_id)
);
COMMENT ON TABLE _taskex.shown IS
    'What was recommended to whom lately, with the values of the factors: the first 20 of each list.';
COMMENT ON COLUMN _taskex.shown.learned IS 'A choice from it was learned from; one list teaches once.';
CREATE INDEX shown_at_idx ON _taskex.shown (at);
SELECT pg_catalog.pg_extension_config_dump('_taskex.shown', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.shown_shown_id_seq', '');

CREATE FUNCTION _taskex.record_shown(performer_id bigint, circles text[], types bigint[], requesters bigint[], factors float8[],
        at timestamptz)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
BEGIN
    -- one alternative is no choice; and it must work where nothing can be written
    IF cardinality(types) < 2 OR current_setting('transaction_read_only')::boolean THEN
        RETURN;
    END IF;
    -- who holds such a row has done the same, or learns from it
    DELETE FROM _taskex.shown s WHERE s.performer_id = record_shown.performer_id AND s.shown_id IN (
        SELECT o.shown_id FROM _taskex.shown o WHERE o.performer_id = record_shown.performer_id
            AND o.shown_id <= (SELECT l.shown_id FROM _taskex.shown l WHERE l.performer_id = record_shown.performer_id
                ORDER BY l.shown_id DESC OFFSET 19 LIMIT 1)
        FOR UPDATE SKIP LOCKED);
    INSERT INTO _taskex.shown (performer_id, at, circles, types, requesters, factors)
        VALUES (record_shown.performer_id, record_shown.at, record_shown.circles, types[1:20], requesters[1:20],
            factors[1:20 * (cardinality(factors) / cardinality(types))]);
END $$;
COMMENT ON FUNCTION _taskex.record_shown(bigint, text[], bigint[], bigint[], float8[], timestamptz) IS
    'Keeps what was shown to a performer, so that his choice can be learned from; factors as of weigh().';

-- learning --------------------------------------------------------------------

CREATE TYPE _taskex.choice AS (
    shown_id bigint,
    performer_id bigint,
    at timestamptz,
    circles text[],
    types bigint[],
    requesters bigint[],
    factors float8[],
    chosen int
);
COMMENT ON TYPE _taskex.choice IS 'What was shown, which of it was chosen (1: the first), and when that became known.';

-- An accept is no act of the journal, but what ends it is. The list that he had
-- before his eyes is the last one within the hour before the accept.
CREATE FUNCTION _taskex.choices_among(batch _taskex.journal_act[]) RETURNS SETOF _taskex.choice
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    home int;
    acts _taskex.journal_act[];
BEGIN
    FOR home, acts IN SELECT _taskex.home(d.user_id), array_agg(b::_taskex.journal_act)
            FROM unnest(batch) b JOIN _taskex.directory d ON d.user_id = b.performer_id
            WHERE b.kind IN ('submitted', 'returned', 'abandoned')
                AND EXISTS (SELECT FROM _taskex.shown s WHERE s.performer_id = b.performer_id AND NOT s.learned)
                AND EXISTS (SELECT FROM _taskex.partition p WHERE p.partition_id = d.partition_id AND p.node_id = 0)
            GROUP BY 1 LOOP
        RETURN QUERY EXECUTE format('SELECT DISTINCT ON (s.shown_id) s.shown_id, s.performer_id, a.at, s.circles, s.types, s.requesters,'
            ' s.factors, s.chosen::int FROM unnest($1) a JOIN _taskex.assignment_%s n USING (assignment_id)'
            ' CROSS JOIN LATERAL (SELECT l.* FROM _taskex.shown l WHERE l.performer_id = a.performer_id AND l.at <= n.accepted_at'
            '  AND l.at > n.accepted_at - interval ''1 hour'' ORDER BY l.shown_id DESC LIMIT 1) l'
            ' CROSS JOIN LATERAL (SELECT l.*, u.place AS chosen FROM unnest(l.types, l.requesters) WITH ORDINALITY u (type, requester, place)'
            '  WHERE u.type = a.task_type_id AND u.requester = a.requester_id LIMIT 1) s'
            ' WHERE NOT s.learned ORDER BY s.shown_id, n.accepted_at, n.assignment_id', home) USING acts;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.choices_among(_taskex.journal_act[]) IS
    'What performers chose from what was shown to them, as far as acts of the batch tell; one choice for each list.';

-- Several additions to one row are faded to the time of the last of them.
CREATE FUNCTION _taskex.add_appeals(batch _taskex.journal_act[], choices _taskex.choice[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
    SET plan_cache_mode = force_generic_plan SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    MERGE INTO _taskex.appeal s USING (
        WITH added AS (
            SELECT w.whose, u.type, w.requester, c.at, 1 AS shown, (u.place = c.chosen)::int AS chosen, 0 AS done
            FROM unnest(choices) c
                CROSS JOIN LATERAL unnest(c.types, c.requesters) WITH ORDINALITY u (type, requester, place)
                CROSS JOIN LATERAL (SELECT k, r FROM unnest(array_prepend(''::text, c.circles)) k, unnest(ARRAY[0, u.requester]) r
                    UNION ALL SELECT 'u:' || c.performer_id, 0) w (whose, requester)
            UNION ALL
            SELECT w.whose, w.type, w.requester, b.at, 0, 0, 1
            FROM unnest(batch) b CROSS JOIN LATERAL (VALUES ('', b.task_type_id, b.requester_id), ('u:' || b.performer_id, b.task_type_id, 0),
                ('u:' || b.performer_id, 0, b.requester_id), ('u:' || b.performer_id, 0, 0)) w (whose, type, requester)
            WHERE b.kind = 'submitted' AND b.performer_id IS NOT NULL AND b.requester_id IS NOT NULL AND b.task_type_id IS NOT NULL
        ), delta AS (
            SELECT a.whose, a.type, a.requester, max(a.at) AS at, max(a.at) FILTER (WHERE a.done > 0) AS done_at, min(a.at) AS began_at,
                sum(_taskex.faded(a.shown, a.last - a.at)) AS shown, sum(_taskex.faded(a.chosen, a.last - a.at)) AS chosen,
                sum(_taskex.faded(a.done, a.last - a.at)) AS done, sum(_taskex.decayed(a.done, a.last - a.at)) AS busy
            FROM (SELECT *, max(at) OVER (PARTITION BY whose, type, requester) AS last FROM added) a
            GROUP BY 1, 2, 3
        )
        SELECT d.*, o.version AS old FROM delta d LEFT JOIN LATERAL (SELECT p.version FROM _taskex.appeal p
            WHERE p.whose = d.whose AND p.task_type_id = d.type AND p.requester_id = d.requester ORDER BY p.version LIMIT 1) o ON true) d
    ON s.whose = d.whose AND s.task_type_id = d.type AND s.requester_id = d.requester AND s.version = d.old
    WHEN MATCHED THEN UPDATE SET version = s.version - 1,
        shown = _taskex.faded(s.shown, d.at - s.at) + _taskex.faded(d.shown, s.at - d.at),
        chosen = _taskex.faded(s.chosen, d.at - s.at) + _taskex.faded(d.chosen, s.at - d.at),
        done = _taskex.faded(s.done, d.at - s.at) + _taskex.faded(d.done, s.at - d.at),
        busy = _taskex.decayed(s.busy, d.at - s.at) + _taskex.decayed(d.busy, s.at - d.at),
        at = greatest(s.at, d.at),
        done_at = greatest(s.done_at, d.done_at),
        began_at = CASE WHEN d.began_at > s.at + interval '1 day' THEN d.began_at ELSE s.began_at END
    WHEN NOT MATCHED THEN INSERT (whose, task_type_id, requester_id, version, shown, chosen, done, busy, at, done_at, began_at)
        VALUES (d.whose, d.type, d.requester, 0, d.shown, d.chosen, d.done, d.busy, d.at, d.done_at, d.began_at);
END $$;
COMMENT ON FUNCTION _taskex.add_appeals(_taskex.journal_act[], _taskex.choice[]) IS
    'Adds choices, and the submissions of a batch, to the counters.';

-- A thousand rows of each at a time; what is left goes a minute later.
CREATE FUNCTION _taskex.prune_appeals(now timestamptz) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
BEGIN
    DELETE FROM _taskex.shown s WHERE (s.performer_id, s.shown_id) IN (SELECT o.performer_id, o.shown_id FROM _taskex.shown o
        WHERE o.at < now - interval '7 days' ORDER BY o.at LIMIT 1000 FOR UPDATE SKIP LOCKED);
    DELETE FROM _taskex.appeal a WHERE (a.whose, a.task_type_id, a.requester_id, a.version) IN (
        SELECT o.whose, o.task_type_id, o.requester_id, o.version FROM _taskex.appeal o
        WHERE o.at < now - interval '60 days' ORDER BY o.at LIMIT 1000);
END $$;
COMMENT ON FUNCTION _taskex.prune_appeals(timestamptz) IS
    'Forgets lists of which nothing was chosen within a week, and counters that were not touched for 60 days.';

CREATE FUNCTION _taskex.fold_choices(batch _taskex.journal_act[]) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    used boolean := EXISTS (SELECT FROM _taskex.shown);
    m _taskex.recommend_model;
    last_at timestamptz := (SELECT max(b.at) FROM unnest(batch) b);
    choices _taskex.choice[] := '{}';
    c _taskex.choice;
    prune boolean;
BEGIN
    -- where nobody asked for recommendations within a week, nothing is counted
    IF NOT used AND NOT EXISTS (SELECT FROM _taskex.appeal) THEN
        RETURN;
    END IF;
    m := _taskex.recommend_state();
    prune := last_at NOT BETWEEN m.pruned_at AND m.pruned_at + interval '1 minute';
    IF used THEN
        choices := array(SELECT o FROM _taskex.choices_among(batch) o ORDER BY o.at, o.shown_id);
    END IF;
    FOREACH c IN ARRAY choices LOOP
        -- of other factors: shown before an update of the extension
        CONTINUE WHEN cardinality(c.factors) * 2 <> cardinality(m.state) * cardinality(c.types);
        m.state := _taskex.logit_learn(m.state, c.factors, c.chosen);
        m.choices := m.choices + 1;
    END LOOP;
    IF used THEN
        PERFORM _taskex.add_appeals(batch, choices);
    END IF;
    IF cardinality(choices) > 0 THEN
        -- what its performer is just removing is not waited for
        UPDATE _taskex.shown s SET learned = true FROM (SELECT o.performer_id, o.shown_id FROM unnest(choices) k
            JOIN _taskex.shown o USING (performer_id, shown_id) FOR UPDATE OF o SKIP LOCKED) o
            WHERE s.performer_id = o.performer_id AND s.shown_id = o.shown_id;
    END IF;
    IF prune THEN
        PERFORM _taskex.prune_appeals(last_at);
        m.pruned_at := last_at;
    END IF;
    IF prune OR cardinality(choices) > 0 THEN
        INSERT INTO _taskex.recommend_model VALUES (m.number + 1, m.state, m.choices, last_at, m.pruned_at);
        DELETE FROM _taskex.recommend_model d WHERE d.number = m.number;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.fold_choices(_taskex.journal_act[]) IS
'Consumer of the journal: learns from what was chosen among what was recommended, counts that and what was done, and
forgets what is old. Nothing is counted while no list is remembered.';

INSERT INTO _taskex.journal_consumer VALUES (600, 'fold_choices');

-- recommending ----------------------------------------------------------------

CREATE FUNCTION taskex.recommend_tasks(performer text, max_rows int = 10)
    RETURNS TABLE (rank int, task_type_id bigint, title text, requester text, reward numeric, available bigint, task_id bigint,
        score float8, factors jsonb)
    LANGUAGE C VOLATILE ROWS 10 AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.recommend_tasks(text, int) IS
'What the performer would take next: a row per task type and requester that has something for him and that he may accept,
what he will choose most probably first. max_rows: 1 to 100.
Result: available: as of search_tasks. task_id: one that can be had, or NULL if none was seen at a glance that he has not
had. score: the chance that he chooses it, out of all that was looked at. factors: for each factor of
taskex.recommendation_factors its value and its effect: by how much it raises (lowers, if below 0) the logarithm of the
odds, compared to the mean of what was looked at.
Looked at is what he did lately, and what is newest, best paid and most plentiful. What is shown is remembered, and what he
accepts within the next hour is learned from. Errors: unknown_user (TX001), invalid_parameter_value (22023).';

-- Some hundred alternatives: of the types that he knows, and from the front of each
-- order of the catalogue. At most 1000 rows of each are tested, and 100 taken.
CREATE FUNCTION _taskex.offers(performer_id bigint) RETURNS SETOF _taskex.catalogue
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    tested text := '(SELECT * FROM (%s LIMIT 1000) c WHERE c.requester_id <> $1'
        ' AND _taskex.shelf_is_live(c.task_type_id, c.requester_id, $1)'
        ' AND _taskex.may_find($1, c.requester_id, c.task_type_id, ''accept'', NULL, NULL) LIMIT 100)';
    front text := 'SELECT * FROM _taskex.catalogue c WHERE c.magnitude >= 0 ORDER BY c.%s DESC, c.task_type_id, c.requester_id';
BEGIN
    RETURN QUERY EXECUTE concat_ws(' UNION ',
            format(tested, 'SELECT c.* FROM (SELECT DISTINCT a.task_type_id FROM _taskex.appeal a WHERE a.whose = $2 AND a.task_type_id > 0'
                ' LIMIT 100) k CROSS JOIN LATERAL (SELECT * FROM _taskex.catalogue c WHERE c.task_type_id = k.task_type_id'
                ' AND c.magnitude >= 0 LIMIT 50) c'),
            format(tested, format(front, 'supplied_at')), format(tested, format(front, 'reward')), format(tested, format(front, 'magnitude')))
        USING performer_id, 'u:' || performer_id;
END $$;
COMMENT ON FUNCTION _taskex.offers(bigint) IS 'What of the catalogue recommendations for a performer are chosen from.';

-- What turns out to be gone at a glance is left out, so a few more are looked at.
CREATE FUNCTION _taskex.recommend_tasks(performer bigint, max_rows int)
    RETURNS TABLE (rank int, task_type_id bigint, title text, requester text, reward numeric, available bigint, task_id bigint,
        score float8, factors jsonb)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
DECLARE
    now timestamptz := _taskex.now();
    circles text[] := _taskex.circles(performer);
    m _taskex.recommend_model := _taskex.recommend_state();
    n int := cardinality(m.state) / 2;
    offers _taskex.catalogue[];
    weighed float8[];
    chances float8[];
    means float8[];
    shown_types bigint[] := '{}';
    shown_requesters bigint[] := '{}';
    shown_factors float8[] := '{}';
    r record;
BEGIN
    PERFORM _taskex.check_range('max_rows', max_rows, 1, 100);
    offers := array(SELECT o FROM _taskex.offers(performer) o);
    IF cardinality(offers) = 0 THEN
        RETURN;
    END IF;
    SELECT _taskex.weigh(performer, circles, array_agg(o.task_type_id ORDER BY i), array_agg(o.requester_id ORDER BY i),
            array_agg(o.reward ORDER BY i), now) INTO weighed
        FROM unnest(offers) WITH ORDINALITY o (task_type_id, requester_id, reward, tasks, slots, used, last_task_id, supplied_at,
            magnitude, golden, i);
    chances := _taskex.logit_chances(m.state[1:n], weighed);
    means := array(SELECT avg(v) FROM unnest(weighed) WITH ORDINALITY w (v, i) GROUP BY (i - 1) % n ORDER BY (i - 1) % n);
    rank := 0;
    FOR r IN SELECT o.*, c.chance, c.i, y.title, u.login, g.task_id, CASE WHEN g.exact THEN g.slots ELSE o.slots - o.used END AS left_over
            FROM (SELECT * FROM unnest(chances) WITH ORDINALITY c (chance, i)
                ORDER BY chance DESC, (offers[i]).reward DESC, (offers[i]).supplied_at DESC, i LIMIT max_rows + 50) c
                CROSS JOIN LATERAL (SELECT (offers[c.i]).*) o
                JOIN _taskex.task_type y ON y.task_type_id = o.task_type_id
                JOIN _taskex.directory u ON u.user_id = o.requester_id
                CROSS JOIN LATERAL _taskex.glance(o.task_type_id, o.requester_id, o.last_task_id, performer) g
            WHERE NOT g.exact OR g.slots > 0
            ORDER BY c.chance DESC, o.reward DESC, o.supplied_at DESC, c.i LIMIT max_rows LOOP
        rank := rank + 1;
        task_type_id := r.task_type_id;
        title := r.title;
        requester := r.login;
        reward := _taskex.amount(r.reward);
        available := r.left_over;
        task_id := r.task_id;
        IF task_id IS NOT NULL AND _taskex.has_had(performer, task_id) THEN
            task_id := NULL;
        END IF;
        score := r.chance;
        factors := (SELECT jsonb_object_agg(f.name, jsonb_build_object('value', round(weighed[(r.i - 1) * n + f.position]::numeric, 3),
                'effect', round((m.state[f.position] * (weighed[(r.i - 1) * n + f.position] - means[f.position]))::numeric, 3)))
            FROM _taskex.recommend_factor f);
        shown_types := shown_types || r.task_type_id;
        shown_requesters := shown_requesters || r.requester_id;
        shown_factors := shown_factors || weighed[(r.i - 1) * n + 1:r.i * n];
        RETURN NEXT;
    END LOOP;
    PERFORM _taskex.record_shown(performer, circles, shown_types, shown_requesters, shown_factors, now);
END $$;
COMMENT ON FUNCTION _taskex.recommend_tasks(bigint, int) IS 'Body of taskex.recommend_tasks().';

CREATE FUNCTION _taskex.has_had(performer_id bigint, task_id bigint) RETURNS boolean
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    had boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM _taskex.assignment_%s WHERE performer_id = $1 AND task_id = $2)',
        _taskex.home(performer_id)) INTO had USING performer_id, task_id;
    RETURN had;
END $$;
COMMENT ON FUNCTION _taskex.has_had(bigint, bigint) IS 'Has the performer accepted the task, ever?';

CREATE VIEW taskex.recommendation_factors AS
    SELECT f.name, f.description, round(m.weight::numeric, 4) AS weight, f.prior, m.choices, m.at
    FROM _taskex.recommend_factor f, LATERAL (SELECT s.state[f.position] AS weight, s.choices, s.at FROM _taskex.recommend_state() s) m
    ORDER BY f.position;
COMMENT ON VIEW taskex.recommendation_factors IS
'The factors of recommendations. weight: by how much a factor''s value of 1 raises the logarithm of the odds; learned from
choices choices, the last one at at. prior: its weight before anything was learned.';

-- recommendations as events ---------------------------------------------------

INSERT INTO _taskex.event_kind VALUES
    ('recommended', 510, false, true, false, 'what he would take next, of taskex.send_recommendations(); only for those who ask for this kind by name',
        NULL, 'tasks: the first of taskex.recommend_tasks(): task_type_id, title, requester, reward, available, task_id');

CREATE TABLE _taskex.recommended (
    user_id bigint PRIMARY KEY,
    at timestamptz NOT NULL
);
COMMENT ON TABLE _taskex.recommended IS 'When a subscriber was last looked at by send_recommendations().';
SELECT pg_catalog.pg_extension_config_dump('_taskex.recommended', '');

CREATE FUNCTION taskex.send_recommendations(every interval = '1 day', max_rows int = 3, max_performers int = 1000)
    RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    u bigint;
    sent int := 0;
    first_rows jsonb;
BEGIN
    IF every IS NULL OR max_rows IS NULL OR max_performers IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'every, max_rows and max_performers must not be null';
    ELSIF every < interval '1 minute' THEN
        PERFORM _taskex.bad_value('every must be at least one minute');
    END IF;
    PERFORM _taskex.check_range('max_rows', max_rows, 1, 20);
    PERFORM _taskex.check_range('max_performers', max_performers, 1, 100000);
    -- two calls at once share the work
    FOR u IN SELECT s.user_id FROM _taskex.subscription s LEFT JOIN _taskex.recommended r USING (user_id)
            WHERE s.kinds @> '{recommended}' AND (r.at IS NULL OR r.at <= _taskex.now() - every)
            ORDER BY r.at NULLS FIRST, s.user_id LIMIT max_performers LOOP
        CONTINUE WHEN NOT _taskex.claim_job('recommendations', u);
        INSERT INTO _taskex.recommended AS r VALUES (u, _taskex.now())
            ON CONFLICT (user_id) DO UPDATE SET at = excluded.at WHERE r.at <= _taskex.now() - every;
        CONTINUE WHEN NOT FOUND;
        first_rows := (SELECT jsonb_agg(jsonb_build_object('task_type_id', t.task_type_id, 'title', t.title, 'requester', t.requester,
                'reward', t.reward, 'available', t.available, 'task_id', t.task_id) ORDER BY t.rank)
            FROM _taskex.recommend_tasks(u, max_rows) t);
        CONTINUE WHEN first_rows IS NULL;
        PERFORM _taskex.journal('recommended', NULL, u, NULL, NULL, NULL, NULL, jsonb_build_object('tasks', first_rows));
        sent := sent + 1;
    END LOOP;
    RETURN sent;
END $$;
COMMENT ON FUNCTION taskex.send_recommendations(interval, int, int) IS
'Sends an event "recommended" to performers who subscribe to that kind by name and have had none since so long (every):
the first max_rows of taskex.recommend_tasks(). To be called now and then (pg_cron). max_rows: 1 to 20. max_performers: as
many are looked at, who waited longest first. Result: how many events; none goes to whom nothing can be recommended.
Errors: invalid_parameter_value (22023).';
