-- find.sql: finding work: the catalogue, search, previews, and what performers and
-- requesters see of their own. Pairs with src/market/find.c.

-- the catalogue ---------------------------------------------------------------

-- A column of task_type, so that its rows are found by an index. The configuration
-- is fixed: a stored column cannot follow a setting.
CREATE FUNCTION _taskex.search_vector(title text, keywords text[], description text)
    RETURNS tsvector LANGUAGE sql IMMUTABLE AS $$
    -- a word that is of 255 characters or more is none
    SELECT setweight(to_tsvector('pg_catalog.english', regexp_replace(title, '\S{255,}', ' ', 'g')), 'A')
        || setweight(to_tsvector('pg_catalog.english', array_to_string(keywords, ' ')), 'B')
        || setweight(to_tsvector('pg_catalog.english', regexp_replace(description, '\S{255,}', ' ', 'g')), 'C')
$$;
COMMENT ON FUNCTION _taskex.search_vector(text, text[], text) IS
'The words by which a task type is found: of its title (weight A), keywords (B) and description (C), by the
text search configuration pg_catalog.english.';
ALTER TABLE _taskex.task_type ADD COLUMN search tsvector
    GENERATED ALWAYS AS (_taskex.search_vector(title, keywords, description)) STORED;
CREATE INDEX task_type_search_idx ON _taskex.task_type USING gin (search);

-- What each requester offers of each type, written by fold_catalogue() alone, so
-- with the conductor's delay. Of the indexed columns reward never changes,
-- supplied_at at most once a minute and magnitude when the number of open slots
-- has changed by a fifth or so: most counting up and down is HOT. Types of which all is taken
-- are in no index but the primary key.
CREATE TABLE _taskex.catalogue (
    task_type_id bigint NOT NULL,
    requester_id bigint NOT NULL,
    reward bigint NOT NULL,
    tasks bigint NOT NULL,
    slots bigint NOT NULL,
    used bigint NOT NULL,
    last_task_id bigint NOT NULL,
    supplied_at timestamptz NOT NULL,
    magnitude smallint NOT NULL,
    golden boolean NOT NULL DEFAULT false,
    PRIMARY KEY (task_type_id, requester_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE _taskex.catalogue IS 'What each requester offers of each task type: counts of tasks and slots.';
COMMENT ON COLUMN _taskex.catalogue.slots IS 'Performers wanted, over all tasks that were supplied.';
COMMENT ON COLUMN _taskex.catalogue.used IS 'Of these: submitted and not offered again, or given up. The rest can be had, or is under way.';
COMMENT ON COLUMN _taskex.catalogue.golden IS 'There are golden tasks too, which are not counted.';
COMMENT ON COLUMN _taskex.catalogue.magnitude IS 'How many slots - used is, roughly: _taskex.magnitude(); -1: none is left.';
CREATE INDEX catalogue_reward_idx ON _taskex.catalogue (reward DESC, task_type_id, requester_id) WHERE magnitude >= 0;
CREATE INDEX catalogue_newest_idx ON _taskex.catalogue (supplied_at DESC, task_type_id, requester_id) WHERE magnitude >= 0;
CREATE INDEX catalogue_magnitude_idx ON _taskex.catalogue (magnitude DESC, task_type_id, requester_id) WHERE magnitude >= 0;
SELECT pg_catalog.pg_extension_config_dump('_taskex.catalogue', '');

CREATE FUNCTION _taskex.magnitude(n bigint) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN n <= 0 THEN -1 ELSE floor(4 * ln(n::float8) / ln(2.0::float8) + 1e-9) END::smallint
$$;
COMMENT ON FUNCTION _taskex.magnitude(bigint) IS 'Four times the binary logarithm of a number, rounded down: steps of 19 %. -1 of 0 and less.';

CREATE FUNCTION _taskex.shelf_is_live(task_type_id bigint, requester_id bigint, performer_id bigint = -1) RETURNS boolean
    LANGUAGE C VOLATILE STRICT COST 10 AS 'MODULE_PATHNAME', 'taskex_shelf_is_live';
COMMENT ON FUNCTION _taskex.shelf_is_live(bigint, bigint, bigint) IS
'Is there something to be had of the task type where the requester lives, as far as the feed knows, or at hand for the performer
(-1: for one who is in no group; 0: for anybody)? Where the feed does not know (on a
standby, or if taskex.feed_size is too small for all shelves): true.';

CREATE FUNCTION _taskex.glance(task_type_id bigint, requester_id bigint, last_task_id bigint, performer_id bigint = 0,
        OUT task_id bigint, OUT slots bigint, OUT exact boolean)
    RETURNS record LANGUAGE C VOLATILE STRICT COST 1000 AS 'MODULE_PATHNAME', 'taskex_glance';
COMMENT ON FUNCTION _taskex.glance(bigint, bigint, bigint, bigint) IS
'Looks at the first tasks (some 64) that the feed would give out of a type where the requester lives, and at what of them is at
hand for the performer (256 tasks; performer 0: for anybody; -1: for nobody). Result: the first one of
the requester that can be had, or his last_task_id if that can, or NULL; how many slots are free among those that
were looked at, and whether (exact) these are all.';

-- Which of the tasks that acts are about are golden: they are looked up, but only those
-- of types and requesters that have some.
CREATE FUNCTION _taskex.golden_among(batch _taskex.journal_act[]) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    home int;
    ids bigint[];
    these bigint[];
    golden bigint[] := '{}';
BEGIN
    FOR home, ids IN SELECT _taskex.home(a.requester_id), array_agg(DISTINCT a.task_id)
            FROM unnest(batch) a JOIN _taskex.catalogue c USING (task_type_id, requester_id)
            WHERE c.golden AND a.kind <> 'created' GROUP BY 1 LOOP
        EXECUTE format('SELECT array_agg(task_id) FROM _taskex.task_%s WHERE task_id = ANY ($1) AND task_type_id < 0', home)
            INTO these USING ids;
        golden := golden || these;
    END LOOP;
    RETURN golden;
END $$;
COMMENT ON FUNCTION _taskex.golden_among(_taskex.journal_act[]) IS 'The golden ones among the tasks that a batch of acts is about.';

CREATE FUNCTION _taskex.fold_catalogue(batch _taskex.journal_act[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    golden_ids bigint[];
BEGIN
    INSERT INTO _taskex.catalogue (task_type_id, requester_id, reward, tasks, slots, used, last_task_id, supplied_at,
            magnitude, golden)
        SELECT DISTINCT ON (1, 2) a.task_type_id, a.requester_id, y.reward, 0, 0, 0, 0, a.at, -1, true
        FROM unnest(batch) a JOIN _taskex.task_type y USING (task_type_id)
        WHERE a.kind = 'created' AND a.detail ? 'golden'
        ON CONFLICT (task_type_id, requester_id) DO UPDATE SET golden = true WHERE NOT catalogue.golden;
    golden_ids := _taskex.golden_among(batch);
    WITH delta AS (
        SELECT a.task_type_id, a.requester_id,
            sum(CASE a.kind WHEN 'created' THEN (a.detail ->> 'count')::bigint WHEN 'type_changed' THEN 1 ELSE 0 END)::bigint AS tasks,
            sum(CASE a.kind WHEN 'created' THEN (a.detail ->> 'count')::bigint * (a.detail ->> 'performers')::bigint
                WHEN 'extended' THEN coalesce((a.detail ->> 'performers')::bigint * coalesce((a.detail ->> 'count')::bigint, 1), 0)
                WHEN 'type_changed' THEN coalesce((a.detail ->> 'slots')::bigint, 1) ELSE 0 END)::bigint AS slots,
            sum(CASE WHEN a.kind = 'submitted' THEN 1
                WHEN a.kind = 'rejected' THEN CASE WHEN a.detail ? 'reopened' THEN -1 ELSE 0 END
                WHEN a.kind IN ('created', 'extended', 'type_changed') THEN 0
                ELSE coalesce((a.detail ->> 'slots')::bigint, 0) END)::bigint AS used,
            max(CASE a.kind WHEN 'created' THEN (a.detail ->> 'last_task_id')::bigint WHEN 'type_changed' THEN a.task_id END) AS last_task_id,
            max(a.at) AS supplied_at
        FROM (SELECT * FROM unnest(batch)
            -- the type that a task was moved from
            UNION ALL SELECT id, xid, at, requester_id, performer_id, (detail ->> 'from')::bigint, task_id, assignment_id, amount,
                'left', jsonb_build_object('slots', coalesce(detail -> 'slots', '1'))
            FROM unnest(batch) WHERE kind = 'type_changed') a
        WHERE a.task_type_id IS NOT NULL AND a.requester_id IS NOT NULL
            AND (a.kind IN ('created', 'extended', 'type_changed', 'submitted', 'rejected') OR a.detail ? 'slots')
            AND NOT coalesce(a.detail ? 'golden', false) AND NOT coalesce(a.task_id = ANY (golden_ids), false)
        GROUP BY 1, 2
    ), before AS (
        SELECT c.task_type_id, c.requester_id, c.magnitude FROM _taskex.catalogue c JOIN delta USING (task_type_id, requester_id)
    ), after AS (
        INSERT INTO _taskex.catalogue AS c (task_type_id, requester_id, reward, tasks, slots, used, last_task_id,
                supplied_at, magnitude)
            SELECT task_type_id, requester_id, y.reward, d.tasks, d.slots, d.used, coalesce(d.last_task_id, 0),
                d.supplied_at, _taskex.magnitude(d.slots - d.used)
            FROM delta d JOIN _taskex.task_type y USING (task_type_id)
            ON CONFLICT (task_type_id, requester_id) DO UPDATE SET
                tasks = c.tasks + excluded.tasks,
                slots = c.slots + excluded.slots,
                used = c.used + excluded.used,
                last_task_id = greatest(c.last_task_id, excluded.last_task_id),
                supplied_at = CASE WHEN excluded.slots > 0 AND excluded.supplied_at >= c.supplied_at + interval '1 minute'
                    THEN excluded.supplied_at ELSE c.supplied_at END,
                magnitude = _taskex.magnitude(c.slots + excluded.slots - c.used - excluded.used)
            RETURNING c.task_type_id, c.requester_id, c.magnitude
    )
    INSERT INTO _taskex.appearance (task_type_id, requester_id, at)
        SELECT task_type_id, requester_id, delta.supplied_at
        FROM after JOIN delta USING (task_type_id, requester_id) LEFT JOIN before USING (task_type_id, requester_id)
        WHERE after.magnitude >= 0 AND coalesce(before.magnitude, -1) < 0
            AND EXISTS (SELECT FROM _taskex.saved_search WHERE notify)
        ON CONFLICT DO NOTHING;
END $$;
COMMENT ON FUNCTION _taskex.fold_catalogue(_taskex.journal_act[]) IS
'Journal consumer: keeps the catalogue''s counts, and notes for fold_searches() what appeared: had no open slot and has
some now.';

CREATE VIEW taskex.task_catalogue WITH (security_barrier) AS
    SELECT c.task_type_id, y.title, d.login AS requester, _taskex.amount(c.reward) AS reward,
        c.tasks, c.slots - c.used AS available, c.supplied_at AS newest
    FROM _taskex.catalogue c
        JOIN _taskex.task_type y USING (task_type_id)
        JOIN _taskex.directory d ON d.user_id = c.requester_id
    WHERE c.magnitude >= 0
        -- or at hand for a group alone, for who is in it, or may see all of it
        AND (_taskex.shelf_is_live(c.task_type_id, c.requester_id)
            OR _taskex.shelf_is_live(c.task_type_id, c.requester_id, 0)
                AND ((SELECT _taskex.caller_trusted()) OR c.requester_id = ANY ((SELECT _taskex.caller_ids())::bigint[])
                    OR EXISTS (SELECT FROM unnest((SELECT _taskex.caller_ids())::bigint[]) u
                        WHERE _taskex.shelf_is_live(c.task_type_id, c.requester_id, u))))
        AND (NOT y.qualifications @> '[{"guard": "discover"}]' OR (SELECT _taskex.caller_trusted())
            OR c.requester_id = ANY ((SELECT _taskex.caller_ids())::bigint[]));
COMMENT ON VIEW taskex.task_catalogue IS
'What can be had: a row per task type and requester. tasks: supplied so far. available: slots that are neither
submitted nor given up, as of the conductor''s last round; it counts those under way, and those kept for groups, exclusive ones too, so it is
an upper bound that is the same for all; taskex.search_tasks() tells what one performer can have. A type of
which nothing is left by the feed''s count, or only for members of an exclusive group who are not the caller''s, is not shown, nor one whose
discovery is guarded; trusted callers and its requesters see these. newest: when something was supplied last, to the minute.';

INSERT INTO _taskex.journal_consumer VALUES (80, 'fold_catalogue');

-- who may find what -----------------------------------------------------------

CREATE FUNCTION _taskex.may_find(performer_id bigint, requester_id bigint, task_type_id bigint, guard text,
        location text, device text)
    RETURNS boolean LANGUAGE C VOLATILE COST 20 AS 'MODULE_PATHNAME', 'taskex_may_find';
COMMENT ON FUNCTION _taskex.may_find(bigint, bigint, bigint, text, text, text) IS
'May the performer discover, preview or accept (guard) tasks of the type and requester? Blocks count as what guards
acceptance does. location, device: as if he were there, or used it; NULL: as his profile says. What is known of the
performer is read once per statement.';

CREATE FUNCTION _taskex.missing(performer_id bigint, requester_id bigint, task_type_id bigint,
        location text = NULL, device text = NULL)
    RETURNS jsonb LANGUAGE C VOLATILE COST 20 AS 'MODULE_PATHNAME', 'taskex_missing';
COMMENT ON FUNCTION _taskex.missing(bigint, bigint, bigint, text, text) IS
'What keeps the performer from accepting tasks of the type and requester: a JSON array of requirements, each with what
he has, and of {"blocked": reason}; [] if nothing does. location, device: as in may_find().';

CREATE FUNCTION _taskex.require_preview(performer_id bigint, requester_id bigint, task_type_id bigint, task_id bigint)
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_require_preview';
COMMENT ON FUNCTION _taskex.require_preview(bigint, bigint, bigint, bigint) IS
'Raises not_qualified (TX112) or performer_blocked (TX113) unless the performer may see the task of the type and requester.';

-- search ----------------------------------------------------------------------

CREATE FUNCTION taskex.search_tasks(performer text, query text = NULL, max_rows int = 20,
        min_reward numeric = NULL, max_reward numeric = NULL, from_requester text = NULL, task_types bigint[] = NULL,
        only_qualified boolean = true, location text = NULL, device text = NULL, sort text = NULL, skip int = 0)
    RETURNS TABLE (task_type_id bigint, title text, description text, requester text, reward numeric, keywords text[],
        lease interval, available bigint, newest timestamptz, qualified boolean, missing jsonb, task_id bigint)
    LANGUAGE C VOLATILE ROWS 20 AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.search_tasks(text, text, int, numeric, numeric, text, bigint[], boolean, text, text, text, int) IS
'Finds work for a performer: a row per task type and requester that has something for him.
query: words as in a web search ("exact words", or, -without), looked for in titles, keywords and descriptions by the
text search configuration pg_catalog.english; NULL: all. max_rows: 1 to 1000. min_reward, max_reward: bounds of the
reward. from_requester: of this one alone. task_types: of these alone. only_qualified: false: also what he may not accept,
with what is missing. location, device: as if he were there, or used it; NULL: as his profile says. sort: reward (highest
first), newest, available (most first, in steps of a fifth), relevance (with a query alone); NULL: relevance with a query, else reward. skip: so
many rows are passed by, 0 to 1000.
His own tasks, and types whose discovery is guarded from him, are not shown.
Result: available: slots; exact if a look at the first 64 tasks of the type sees all of them, else as in
taskex.task_catalogue. newest: to the minute. qualified: he may accept it; missing: what keeps him from it. task_id: one
that can be had, or NULL if none was seen at a glance; he may have had it himself.
By relevance the first 2000 that match can be found. With supplies on, what is at hand for his groups counts for up to a
quarter more then, what is kept for others for up to a quarter less. New supplies appear after the
conductor''s next round. Errors: unknown_user (TX001), unknown_task_type (TX101), invalid_parameter_value (22023).';

-- The conditions that are asked for, and the order, in one statement of which the
-- planner knows the values: it walks an index in the order asked for and tests the
-- rest row by row, or begins with the words that are looked for.
CREATE FUNCTION _taskex.search_statement(query tsquery, max_rows int, bounds boolean, of_requester boolean,
        of_types boolean, sort text, favour boolean)
    RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    -- $1 performer, $2 query, $3 min_reward, $4 max_reward, $5 requester, $6 task types, $7 guard, $8 location,
    -- $9 device, $10 max_rows, $11 skip
    conditions text := 'c.magnitude >= 0 AND c.requester_id <> $1';
    tests constant text := '_taskex.shelf_is_live(c.task_type_id, c.requester_id, $1)'
        ' AND _taskex.may_find($1, c.requester_id, c.task_type_id, $7, $8, $9)';
    ordering text;
    found text;
BEGIN
    IF query IS NOT NULL THEN
        conditions := conditions || ' AND y.search @@ $2';
    END IF;
    IF bounds THEN
        conditions := conditions || ' AND c.reward BETWEEN $3 AND $4';
    END IF;
    IF of_requester THEN
        conditions := conditions || ' AND c.requester_id = $5';
    END IF;
    IF of_types THEN
        conditions := conditions || ' AND c.task_type_id = ANY ($6)';
    END IF;
    ordering := CASE sort WHEN 'reward' THEN 'reward DESC, task_type_id, requester_id'
        WHEN 'newest' THEN 'supplied_at DESC, task_type_id, requester_id'
        WHEN 'available' THEN 'magnitude DESC, task_type_id, requester_id'
        ELSE 'rank DESC, task_type_id, requester_id' END;
    found := format('SELECT c.*, y.title, y.description, y.keywords, y.lease, %s AS rank'
        ' FROM _taskex.catalogue c JOIN _taskex.task_type y USING (task_type_id) WHERE %s',
        CASE WHEN sort <> 'relevance' THEN '0'
            -- what is at hand for him comes before what is as relevant
            WHEN favour THEN 'ts_rank(y.search, $2) * (1 + 0.25 * _taskex.supply_favour($1, c.task_type_id))'
            ELSE 'ts_rank(y.search, $2)' END, conditions);
    IF sort = 'relevance' THEN
        -- all must be ranked, but only the first ones are tested
        found := format('SELECT * FROM (%s ORDER BY %s LIMIT 2000) c WHERE %s LIMIT $10 + $11 + 100', found, ordering, tests);
    ELSE
        found := format('%s AND %s ORDER BY %s LIMIT $10 + $11 + 100', found, tests, ordering);
    END IF;
    -- what turns out to be gone at a glance is left out: some more are looked at; with
    -- nothing to join, rows keep their order and those behind the page are not looked at
    RETURN format('SELECT f.task_type_id, f.title, f.description, (SELECT u.login FROM _taskex.directory u WHERE u.user_id = f.requester_id),'
        ' _taskex.amount(f.reward), f.keywords, f.lease, CASE WHEN g.exact THEN g.slots ELSE f.slots - f.used END, f.supplied_at,'
        ' m.missing = ''[]'', m.missing, g.task_id'
        ' FROM (%s) f,'
        ' LATERAL _taskex.glance(f.task_type_id, f.requester_id, f.last_task_id, $1) g,'
        ' LATERAL (SELECT _taskex.missing($1, f.requester_id, f.task_type_id, $8, $9)) m (missing)'
        ' WHERE NOT g.exact OR g.slots > 0 LIMIT $10 OFFSET $11', found);
END $$;
COMMENT ON FUNCTION _taskex.search_statement(tsquery, int, boolean, boolean, boolean, text, boolean) IS
'The statement that search_tasks() runs, with parameters $1 to $11.';

CREATE FUNCTION _taskex.check_range(name text, value bigint, low bigint, high bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF value NOT BETWEEN low AND high THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('%s must be between %s and %s', name, low, high);
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_range(text, bigint, bigint, bigint) IS
    'Raises invalid_parameter_value unless the value is in its range.';

CREATE FUNCTION _taskex.search_words(query text) RETURNS tsquery LANGUAGE plpgsql STABLE AS $$
DECLARE
    words tsquery;
BEGIN
    IF length(query) > 1000 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'query must have at most 1000 characters';
    END IF;
    words := websearch_to_tsquery('pg_catalog.english', query);
    RETURN CASE WHEN numnode(words) > 0 THEN words END;
END $$;
COMMENT ON FUNCTION _taskex.search_words(text) IS
    'What a query looks for; NULL: everything, because it has no words that count.';

CREATE FUNCTION _taskex.search_tasks(performer bigint, query text, max_rows int, min_reward numeric, max_reward numeric,
        from_requester text, task_types bigint[], only_qualified boolean, location text, device text, sort text, skip int)
    RETURNS TABLE (task_type_id bigint, title text, description text, requester text, reward numeric, keywords text[],
        lease interval, available bigint, newest timestamptz, qualified boolean, missing jsonb, task_id bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    words tsquery := _taskex.search_words(query);
    ordering text := coalesce(sort, CASE WHEN words IS NULL THEN 'reward' ELSE 'relevance' END);
BEGIN
    PERFORM _taskex.check_range('max_rows', max_rows, 1, 1000);
    PERFORM _taskex.check_range('skip', skip, 0, 1000);
    PERFORM _taskex.require_task_types(task_types);
    IF ordering NOT IN ('reward', 'newest', 'available', 'relevance') THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = format('sort "%s" is unknown', ordering),
            HINT = 'It is reward, newest, available or relevance.';
    ELSIF ordering = 'relevance' AND words IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value',
            MESSAGE = 'sort by relevance needs a query';
    END IF;
    RETURN QUERY EXECUTE _taskex.search_statement(words, max_rows, min_reward IS NOT NULL OR max_reward IS NOT NULL,
            from_requester IS NOT NULL, task_types IS NOT NULL, ordering, current_setting('taskex.supply')::boolean)
        USING performer, words, _taskex.bound(min_reward, 0), _taskex.bound(max_reward, 9223372036854775807),
            CASE WHEN from_requester IS NOT NULL THEN _taskex.user_id(from_requester) END, task_types,
            CASE WHEN only_qualified THEN 'accept' ELSE 'discover' END, location, device, max_rows, skip;
END $$;
COMMENT ON FUNCTION _taskex.search_tasks(bigint, text, int, numeric, numeric, text, bigint[], boolean, text, text, text, int) IS
    'Body of taskex.search_tasks().';

CREATE FUNCTION _taskex.bound(amount numeric, otherwise bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF amount IS NULL THEN
        RETURN otherwise;
    ELSIF amount = 'NaN' THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', MESSAGE = 'a bound of the reward must be a number';
    END IF;
    RETURN (greatest(least(amount, 9000000000), -1) * 1000000000)::bigint;
END $$;
COMMENT ON FUNCTION _taskex.bound(numeric, bigint) IS 'A bound of rewards in nano-units; NULL means otherwise.';

-- previews --------------------------------------------------------------------

CREATE FUNCTION taskex.preview_task(performer text, task_id bigint)
    RETURNS TABLE (task_type_id bigint, title text, description text, keywords text[], requester text,
        reward numeric, lease interval, auto_approve interval, expires_at timestamptz, free_slots int, input jsonb,
        qualified boolean, missing jsonb)
    LANGUAGE C VOLATILE ROWS 1 AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.preview_task(text, bigint) IS
'Shows a performer a task as he would get it, without taking it. Only what can be had, his own tasks, and what he has
or had, is shown. free_slots: to others than the requester 1, or 0 of what they have or had. qualified: he may accept tasks of this type; missing: what keeps him from it.
Errors: unknown_task (TX102), task_not_available (TX104), not_qualified (TX112) if previews are guarded from him,
performer_blocked (TX113).';

-- context: instead of attributes of the performer's profile, where a layout asks for them
CREATE FUNCTION _taskex.preview(performer bigint, task_id bigint, context jsonb)
    RETURNS TABLE (task_type_id bigint, title text, description text, keywords text[], requester text,
        reward numeric, lease interval, auto_approve interval, expires_at timestamptz, free_slots int, input jsonb,
        qualified boolean, missing jsonb)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    t record;
    had timestamptz;
    shown timestamptz;
    home int := _taskex.place_of('task', preview.task_id);
    seen boolean := false;
BEGIN
    IF home IS NOT NULL THEN
        EXECUTE format('SELECT task_id, abs(task_type_id) AS type, task_type_id < 0 AS golden, requester_id, reward, expires_at, input,'
            ' performers - live + _taskex.at_hand(task_id) AS free, state = ''open'' AND expires_at > _taskex.now()'
            ' AND (live < coalesce(wanted, performers) OR _taskex.offered(task_id, $2) > 0) AS available'
            ' FROM _taskex.task_%s WHERE task_id = $1', home) INTO t USING preview.task_id, performer;
        seen := t.task_id IS NOT NULL;
    END IF;
    IF NOT seen THEN
        PERFORM _taskex.fail('unknown_task', format('task %s does not exist', preview.task_id));
    END IF;
    EXECUTE format('SELECT accepted_at FROM _taskex.assignment_%s WHERE performer_id = $1 AND task_id = $2',
        _taskex.home(performer)) INTO had USING performer, preview.task_id;
    IF had IS NULL AND t.requester_id <> performer THEN
        PERFORM _taskex.require_preview(performer, t.requester_id, t.type, preview.task_id);
        IF NOT t.available THEN
            PERFORM _taskex.fail('task_not_available', format('task %s is not available', preview.task_id),
                NULL, 'taskex.search_tasks() finds tasks that are.');
        END IF;
    END IF;
    -- golden tasks live longer: shown is the end of what he might have got instead
    IF t.golden AND t.requester_id <> performer THEN
        EXECUTE format('SELECT n.expires_at FROM (SELECT * FROM _taskex.task_%s WHERE task_type_id = $1 ORDER BY task_id DESC LIMIT 1000) n'
            ' WHERE n.requester_id = $2 AND n.created_at <= $3 AND n.expires_at > $3 ORDER BY n.task_id DESC LIMIT 1', home)
            INTO shown USING t.type, t.requester_id, coalesce(had, _taskex.now());
    END IF;
    RETURN QUERY SELECT y.task_type_id, y.title, y.description, y.keywords, u.login, _taskex.amount(t.reward), y.lease,
            y.auto_approve, coalesce(shown, t.expires_at::timestamptz),
            -- golden tasks want many performers: how many, nobody else is told
            CASE WHEN t.requester_id = performer THEN greatest(t.free, 0) WHEN had IS NOT NULL THEN 0 ELSE 1 END::int,
            _taskex.laid_out(performer, t.requester_id, t.type, t.input, coalesce(had, _taskex.now()), context, true), m.m = '[]', m.m
        FROM _taskex.task_type y JOIN _taskex.directory u ON u.user_id = t.requester_id,
            LATERAL (SELECT _taskex.missing(performer, t.requester_id, t.type)) m (m)
        WHERE y.task_type_id = t.type;
END $$;
COMMENT ON FUNCTION _taskex.preview(bigint, bigint, jsonb) IS 'What taskex.preview_task() and taskex.render_task() show.';

CREATE FUNCTION _taskex.preview_task(performer bigint, task_id bigint)
    RETURNS TABLE (task_type_id bigint, title text, description text, keywords text[], requester text,
        reward numeric, lease interval, auto_approve interval, expires_at timestamptz, free_slots int, input jsonb,
        qualified boolean, missing jsonb)
    LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT * FROM _taskex.preview(performer, task_id, '{}')
$$;
COMMENT ON FUNCTION _taskex.preview_task(bigint, bigint) IS 'Body of taskex.preview_task().';

-- a performer's own -----------------------------------------------------------

CREATE FUNCTION _taskex.queue_floor(performer_id bigint, OUT floor bigint, OUT decided bigint, OUT open bigint[])
    RETURNS record LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_queue_floor';
COMMENT ON FUNCTION _taskex.queue_floor(bigint) IS
'From where to read a performer''s assignments: all up to floor are finished but, perhaps, the open ones. Up to decided (0: not
known) none will appear any more that is not seen by who reads now.';
CREATE FUNCTION _taskex.queue_seen(performer_id bigint, floor bigint, open bigint[])
    RETURNS void LANGUAGE C VOLATILE STRICT AS 'MODULE_PATHNAME', 'taskex_queue_seen';
COMMENT ON FUNCTION _taskex.queue_seen(bigint, bigint, bigint[]) IS
    'All of the performer''s assignments up to the floor are finished, for good, but the open ones, in order.';

CREATE FUNCTION taskex.queue(performer text)
    RETURNS TABLE (assignment_id bigint, task_id bigint, task_type_id bigint, title text, requester text, reward numeric,
        input jsonb, lease_token bigint, accepted_at timestamptz, lease_until timestamptz, time_left interval)
    LANGUAGE C VOLATILE ROWS 10 AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.queue(text) IS
'What a performer has accepted and not finished yet, the next deadline first. lease_token: for submit_assignment.
time_left: until the lease ends; those whose lease is over are not shown.
Errors: unknown_user (TX001).';

CREATE FUNCTION _taskex.queue(performer bigint)
    RETURNS TABLE (assignment_id bigint, task_id bigint, task_type_id bigint, title text, requester text, reward numeric,
        input jsonb, lease_token bigint, accepted_at timestamptz, lease_until timestamptz, time_left interval)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    known record := _taskex.queue_floor(performer);
    own _taskex.assignment[];
    a _taskex.assignment;
    given jsonb;
    now timestamptz := _taskex.now();
BEGIN
    EXECUTE format('SELECT array_agg(a::_taskex.assignment ORDER BY lease_until, assignment_id) FROM ('
        'SELECT * FROM _taskex.assignment_%1$s WHERE performer_id = $1 AND assignment_id > $2 AND state = ''accepted'''
        ' UNION ALL SELECT * FROM _taskex.assignment_%1$s WHERE assignment_id = ANY ($3) AND performer_id = $1 AND state = ''accepted'') a',
        _taskex.home(performer)) INTO own USING performer, known.floor, known.open;
    IF known.decided > known.floor THEN
        PERFORM _taskex.queue_seen(performer, known.decided,
            ARRAY(SELECT o.assignment_id FROM unnest(own) o WHERE o.assignment_id <= known.decided ORDER BY 1));
    END IF;
    FOREACH a IN ARRAY coalesce(own, '{}') LOOP
        CONTINUE WHEN a.lease_until <= now;
        EXECUTE format('SELECT input FROM _taskex.task_%s WHERE task_id = $1', _taskex.home(a.requester_id))
            INTO given USING a.task_id;
        given := _taskex.laid_out(performer, a.requester_id, a.task_type_id, given, a.accepted_at, '{}', false);
        RETURN QUERY SELECT a.assignment_id, a.task_id, y.task_type_id, y.title, u.login, _taskex.amount(a.reward), given,
                a.lease_token, a.accepted_at, a.lease_until, a.lease_until - now
            FROM _taskex.task_type y, _taskex.directory u
            WHERE y.task_type_id = a.task_type_id AND u.user_id = a.requester_id;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.queue(bigint) IS 'Body of taskex.queue().';

CREATE FUNCTION taskex.history(performer text, before bigint = NULL, max_rows int = 100)
    RETURNS TABLE (assignment_id bigint, task_id bigint, task_type_id bigint, title text, requester text, state text,
        reward numeric, accepted_at timestamptz, finished_at timestamptz, judged_at timestamptz, feedback text)
    LANGUAGE C VOLATILE ROWS 100 AS 'MODULE_PATHNAME', 'taskex_act';
COMMENT ON FUNCTION taskex.history(text, bigint, int) IS
'A performer''s finished assignments, those accepted last first. before: only those with a lower assignment_id, for
the next page. max_rows: 1 to 1000. feedback: what the requester said. The view taskex.work_history has the same
rows without pages. Errors: unknown_user (TX001), invalid_parameter_value (22023).';

CREATE FUNCTION _taskex.history(performer bigint, before bigint, max_rows int)
    RETURNS TABLE (assignment_id bigint, task_id bigint, task_type_id bigint, title text, requester text, state text,
        reward numeric, accepted_at timestamptz, finished_at timestamptz, judged_at timestamptz, feedback text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a _taskex.assignment;
    judged record;
BEGIN
    PERFORM _taskex.check_range('max_rows', max_rows, 1, 1000);
    FOR a IN EXECUTE format('SELECT * FROM _taskex.assignment_%s WHERE performer_id = $1 AND assignment_id < $2'
            ' AND state <> ''accepted'' ORDER BY assignment_id DESC LIMIT $3', _taskex.home(performer))
            USING performer, coalesce(before, 9223372036854775807), max_rows LOOP
        IF a.state IN ('submitted', 'approved', 'rejected') THEN
            EXECUTE format('SELECT judged_at, feedback FROM _taskex.result_%s WHERE assignment_id = $1', _taskex.home(a.requester_id))
                INTO judged USING a.assignment_id;
        ELSE
            SELECT NULL::timestamptz AS judged_at, NULL::text AS feedback INTO judged;
        END IF;
        RETURN QUERY SELECT a.assignment_id, a.task_id, y.task_type_id, y.title, u.login, a.state, _taskex.amount(a.reward),
                a.accepted_at, a.finished_at, judged.judged_at, judged.feedback
            FROM _taskex.task_type y, _taskex.directory u
            WHERE y.task_type_id = a.task_type_id AND u.user_id = a.requester_id;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.history(bigint, bigint, int) IS 'Body of taskex.history().';

-- views of both sides ---------------------------------------------------------

-- Rows are looked for on the home partition of their user alone (see "Views" in
-- src/directory/README.md), and what lies with another one by one: LATERAL, LIMIT 1.

CREATE VIEW taskex.batches WITH (security_barrier) AS
    SELECT d.login AS requester, p.task_type_id, y.title, _taskex.amount(y.reward) AS reward, p.tasks, p.slots,
        p.approved + p.rejected AS done, p.submitted - p.approved - p.rejected AS pending,
        CASE WHEN g.exact THEN g.slots ELSE o.open END AS available,
        CASE WHEN o.open = 0 THEN 0 WHEN g.exact THEN greatest(o.open - g.slots, 0) END AS in_progress,
        p.approved, p.rejected, p.returned, p.abandoned, p.released_slots AS given_up,
        trim_scale((p.paid::numeric + p.fees + p.bonuses + p.bonus_fees) * 0.000000001) AS cost,
        -- a sum that has stopped (src/journal/fold.c) tells nothing of what is left
        CASE WHEN p.held < 9000000000000000000 AND p.released < 9000000000000000000
            THEN _taskex.amount(p.held - p.paid - p.fees - p.released) END AS cost_to_come,
        round(r.rate::numeric, 2) AS rate,
        CASE WHEN o.open > 0 AND r.rate > 0.01 AND o.open / r.rate < 876000 THEN _taskex.now() + o.open / r.rate * interval '1 hour' END AS eta,
        p.first_at, p.last_at
    FROM _taskex.directory d
        JOIN _taskex.progress p ON p.partition_id = d.partition_id AND p.requester_id = d.user_id
        JOIN _taskex.task_type y USING (task_type_id)
        LEFT JOIN _taskex.catalogue c ON c.task_type_id = p.task_type_id AND c.requester_id = p.requester_id
        CROSS JOIN LATERAL (SELECT greatest(coalesce(c.slots - c.used, 0), 0) AS open) o
        LEFT JOIN LATERAL _taskex.glance(c.task_type_id, c.requester_id, c.last_task_id) g ON o.open > 0
        CROSS JOIN LATERAL (SELECT _taskex.decayed(p.rate, _taskex.now() - p.rate_at) AS rate) r
    WHERE _taskex.visible(d.user_id) AND _taskex.visible(p.requester_id)
        AND _taskex.narrow(p.partition_id, p.requester_id, d.login, NULL);
COMMENT ON VIEW taskex.batches IS
'How far each requester''s work of a type has come, from summaries: as of the conductor''s last round. slots: assignments
wanted. done: judged. pending: submitted and not judged. available, in_progress: open slots; where the first 64 tasks are
not all of them in_progress is not known (NULL) and counted as available. given_up: slots of closed tasks. cost: what was paid
so far, with fees and bonuses; cost_to_come: what is held; NULL: too much was ever. rate: submissions an hour, recently. eta: when the open slots
will be submitted at that rate; NULL: none are open, or next to nothing is submitted.';

CREATE VIEW taskex.reviewable WITH (security_barrier) AS
    SELECT d.login AS requester, r.assignment_id, r.task_id, r.task_type_id, y.title, p.login AS performer,
        r.submitted_at, r.auto_approve_at, r.result
    FROM _taskex.directory d
        LEFT JOIN _taskex.due_cursor c ON c.partition_id = d.partition_id AND c.kind = 1
        -- all that was due by then is approved, so what waits is due later
        JOIN _taskex.result r ON r.partition_id = d.partition_id AND r.requester_id = d.user_id
            AND r.auto_approve_at >= coalesce(c.handled_until, '-infinity')
        JOIN _taskex.task_type y ON y.task_type_id = r.task_type_id
        JOIN _taskex.directory p ON p.user_id = r.performer_id
    WHERE r.state = 'submitted'
        AND _taskex.visible(d.user_id) AND _taskex.visible(r.requester_id)
        AND _taskex.narrow(r.partition_id, r.requester_id, d.login, r.task_id)
    ORDER BY r.auto_approve_at, r.assignment_id;
COMMENT ON VIEW taskex.reviewable IS
'Results that wait to be judged, and when each is approved if nobody does, the next one first. Looks at what was submitted
within the time of automatic approval; taskex.reviewable_results() gives pages.';

CREATE VIEW taskex.work_history WITH (security_barrier) AS
    SELECT d.login AS performer, a.assignment_id, a.task_id, a.task_type_id, y.title, q.login AS requester, a.state,
        _taskex.amount(a.reward) AS reward, a.accepted_at, a.finished_at, r.judged_at, r.feedback
    FROM _taskex.directory d
        JOIN _taskex.assignment a ON a.partition_id = d.partition_id AND a.performer_id = d.user_id
        JOIN _taskex.task_type y ON y.task_type_id = a.task_type_id
        JOIN _taskex.directory q ON q.user_id = a.requester_id
        LEFT JOIN LATERAL (SELECT r.judged_at, r.feedback FROM _taskex.result r
            WHERE r.partition_id = q.partition_id AND r.assignment_id = a.assignment_id LIMIT 1) r ON true
    WHERE a.state <> 'accepted'
        AND _taskex.visible(d.user_id) AND _taskex.visible(a.performer_id)
        AND _taskex.narrow(a.partition_id, a.performer_id, d.login, NULL);
COMMENT ON VIEW taskex.work_history IS
'Finished assignments of the performers for whom the caller may act, with what their requesters said. taskex.history()
gives them in pages.';

CREATE VIEW taskex.performer_profile WITH (security_barrier) AS
    SELECT d.login AS performer, f.registered_at AS member_since, coalesce(s.submitted, 0) AS submitted,
        coalesce(s.submitted - s.approved - s.rejected, 0) AS pending, coalesce(s.approved, 0) AS approved,
        coalesce(s.rejected, 0) AS rejected, coalesce(s.returned, 0) AS returned, coalesce(s.abandoned, 0) AS abandoned,
        round(100.0 * s.approved / nullif(s.approved + s.rejected, 0), 2) AS approval_percent,
        round(100.0 * s.agreed / nullif(s.compared, 0), 2) AS agreement_percent, s.last_at
    FROM _taskex.directory d
        JOIN _taskex.profile f ON f.partition_id = d.partition_id AND f.user_id = d.user_id
        LEFT JOIN _taskex.standing s ON s.partition_id = d.partition_id AND s.performer_id = d.user_id
    WHERE _taskex.visible(d.user_id) AND _taskex.narrow(f.partition_id, d.user_id, d.login, NULL);
COMMENT ON VIEW taskex.performer_profile IS
'What users have done as performers, as of the conductor''s last round. approval_percent: of the judged results;
agreement_percent: of those that were compared with an answer.';

CREATE VIEW taskex.requester_performers WITH (security_barrier) AS
    SELECT d.login AS requester, p.login AS performer, w.submitted, w.submitted - w.approved - w.rejected AS pending,
        w.approved, w.rejected, w.returned, w.abandoned,
        round(100.0 * w.approved / nullif(w.approved + w.rejected, 0), 2) AS approval_percent,
        _taskex.amount(w.paid) AS paid, w.last_at
    FROM _taskex.directory d
        JOIN _taskex.working w ON w.partition_id = d.partition_id AND w.requester_id = d.user_id
        JOIN _taskex.directory p ON p.user_id = w.performer_id
    WHERE _taskex.visible(d.user_id) AND _taskex.visible(w.requester_id)
        AND _taskex.narrow(w.partition_id, w.requester_id, d.login, NULL);
COMMENT ON VIEW taskex.requester_performers IS
'Who has worked for the requesters for whom the caller may act, and with what result; paid: rewards and bonuses.';
