-- load.sql: what users' calls and rows cost, stored from what src/directory/meter.c
-- counts. Pairs with src/placement, whose README.md tells how it works.

-- None of these is a child of storage partitions: a user who moves takes no load
-- with him that would have to be copied, and whoever plans reads one table.

CREATE TABLE _taskex.load_hour (
    hour timestamptz NOT NULL,
    kind "char" NOT NULL,
    id bigint NOT NULL,
    calls float8 NOT NULL,
    blocks_hit float8 NOT NULL,
    blocks_read float8 NOT NULL,
    blocks_written float8 NOT NULL,
    wal_bytes float8 NOT NULL,
    cpu_us float8 NOT NULL,
    PRIMARY KEY (hour, kind, id)
) WITH (fillfactor = 80);
CREATE INDEX load_hour_id_idx ON _taskex.load_hour (kind, id, hour);
COMMENT ON TABLE _taskex.load_hour IS
    'Load of users and storage partitions in single hours (UTC); an hour without load has no row. Kept for taskex.load_history.';
COMMENT ON COLUMN _taskex.load_hour.kind IS 'u: a user, p: a storage partition, with all that users did while they lived there.';

CREATE TABLE _taskex.load_mean (
    kind "char" NOT NULL,
    id bigint NOT NULL,
    since timestamptz NOT NULL,
    as_of timestamptz NOT NULL,
    calls real[] NOT NULL,
    blocks_hit real[] NOT NULL,
    blocks_read real[] NOT NULL,
    blocks_written real[] NOT NULL,
    wal_bytes real[] NOT NULL,
    cpu_us real[] NOT NULL,
    PRIMARY KEY (kind, id)
) WITH (fillfactor = 70);
COMMENT ON TABLE _taskex.load_mean IS
'The hours folded into one row for each user and storage partition: by hour of the day (UTC) the sum of that hour of all days, which
fades with taskex.load_half_life. _taskex.load_means() makes means of the sums.';
COMMENT ON COLUMN _taskex.load_mean.since IS 'The first hour in it.';
COMMENT ON COLUMN _taskex.load_mean.as_of IS 'The last hour in it, as of which the sums are.';

CREATE TABLE _taskex.load_state (
    one boolean PRIMARY KEY CHECK (one),
    stored_at timestamptz NOT NULL,
    hour timestamptz NOT NULL,
    kind "char" NOT NULL,
    id bigint NOT NULL,
    swept_to bigint NOT NULL
);
COMMENT ON TABLE _taskex.load_state IS 'One row, from the first time that load is stored on. Whoever stores or folds locks it.';
COMMENT ON COLUMN _taskex.load_state.stored_at IS 'When load was stored last, by the real clock.';
COMMENT ON COLUMN _taskex.load_state.hour IS 'With kind and id: the row of load_hour that was folded last. What comes later is later than this hour.';
COMMENT ON COLUMN _taskex.load_state.swept_to IS 'Block of load_mean at which the search for faded rows goes on.';

CREATE TABLE _taskex.load_bytes (
    user_id bigint NOT NULL,
    position int NOT NULL,
    partition_id int NOT NULL,
    round bigint NOT NULL,
    bytes float8 NOT NULL,
    PRIMARY KEY (user_id, position)
) WITH (fillfactor = 80);
COMMENT ON TABLE _taskex.load_bytes IS
    'What users have stored in each registered table, as samples of it showed; _taskex.stored_bytes makes sums of it.';
COMMENT ON COLUMN _taskex.load_bytes.position IS 'Of the table, in _taskex.child_table.';
COMMENT ON COLUMN _taskex.load_bytes.round IS 'Which sample of the table on this partition he was seen in last.';
COMMENT ON COLUMN _taskex.load_bytes.bytes IS 'Then: his share of the table with its TOAST and indexes.';

CREATE TABLE _taskex.load_sampled (
    partition_id int NOT NULL,
    position int NOT NULL,
    at timestamptz NOT NULL,
    changes bigint NOT NULL,
    round bigint NOT NULL,
    whole boolean NOT NULL,
    PRIMARY KEY (partition_id, position)
) WITH (fillfactor = 70);
COMMENT ON TABLE _taskex.load_sampled IS 'When the tables of the storage partitions were sampled for load_bytes.';
COMMENT ON COLUMN _taskex.load_sampled.changes IS 'Rows inserted, updated and deleted until then, as the statistics tell.';
COMMENT ON COLUMN _taskex.load_sampled.whole IS 'Was the last sample all of it? Else users that it had not fade by a quarter with each one.';

CREATE TABLE _taskex.load_partition_bytes (
    partition_id int PRIMARY KEY,
    bytes bigint NOT NULL,
    at timestamptz NOT NULL
) WITH (fillfactor = 70);
COMMENT ON TABLE _taskex.load_partition_bytes IS 'Size of all tables of a storage partition with their TOAST and indexes, as of at.';

SELECT pg_catalog.pg_extension_config_dump('_taskex.load_hour', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.load_mean', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.load_state', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.load_bytes', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.load_sampled', '');
SELECT pg_catalog.pg_extension_config_dump('_taskex.load_partition_bytes', '');

-- means by hour of the day ------------------------------------------------------------

CREATE FUNCTION _taskex.load_one(hour timestamptz, value float8) RETURNS real[]
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_load_one';
COMMENT ON FUNCTION _taskex.load_one(timestamptz, float8) IS 'Sums by hour of the day (UTC) that have the value in the place of one hour.';

CREATE FUNCTION _taskex.load_merge(a real[], a_as_of timestamptz, b real[], b_as_of timestamptz) RETURNS real[]
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_load_merge';
COMMENT ON FUNCTION _taskex.load_merge(real[], timestamptz, real[], timestamptz) IS
    'Adds two arrays of sums; the older one fades until the newer.';

CREATE FUNCTION _taskex.load_means(sums real[], since timestamptz, as_of timestamptz, at timestamptz) RETURNS float8[]
    LANGUAGE C STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_load_means';
COMMENT ON FUNCTION _taskex.load_means(real[], timestamptz, timestamptz, timestamptz) IS
'The mean of each hour of the day (24 elements, the first is 00:00 to 01:00 UTC) over the days from since to the last hour that
is over at "at". Days weigh half as much with each taskex.load_half_life; hours without load count as 0.';

-- storing ------------------------------------------------------------------------------

CREATE FUNCTION _taskex.lock_load_state() RETURNS _taskex.load_state
    LANGUAGE plpgsql AS $$
DECLARE
    state _taskex.load_state;
BEGIN
    INSERT INTO _taskex.load_state VALUES (true, clock_timestamp(), '-infinity', 'p', 0, 0) ON CONFLICT DO NOTHING;
    SELECT * INTO state FROM _taskex.load_state FOR UPDATE;
    RETURN state;
END $$;
COMMENT ON FUNCTION _taskex.lock_load_state() IS 'Keeps others from storing and folding load until the transaction ends.';

-- One statement for many users. The row of an hour has no index on what changes.
CREATE FUNCTION _taskex.store_load(users bigint[], partitions int[], calls float8[], blocks_hit float8[], blocks_read float8[],
        blocks_written float8[], wal_bytes float8[], cpu_us float8[])
    RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state _taskex.load_state := _taskex.lock_load_state();
    -- an hour that was folded takes no more, whatever taskex.clock says
    this_hour timestamptz := greatest(date_trunc('hour', _taskex.now(), 'UTC'), state.hour + interval '1 hour');
    stored bigint;
BEGIN
    WITH counted AS (
        SELECT * FROM unnest(users, partitions, calls, blocks_hit, blocks_read, blocks_written, wal_bytes, cpu_us)
            AS c (user_id, partition_id, calls, blocks_hit, blocks_read, blocks_written, wal_bytes, cpu_us)
    ), owners AS (
        SELECT 'u'::"char" AS kind, c.user_id AS id, c.* FROM counted c WHERE c.user_id > 0
        UNION ALL
        SELECT 'p'::"char", c.partition_id, c.* FROM counted c
    ), written AS (
        INSERT INTO _taskex.load_hour AS h
            SELECT this_hour, o.kind, o.id, sum(o.calls), sum(o.blocks_hit), sum(o.blocks_read), sum(o.blocks_written),
                sum(o.wal_bytes), sum(o.cpu_us)
            FROM owners o GROUP BY o.kind, o.id ORDER BY o.kind, o.id
            ON CONFLICT (hour, kind, id) DO UPDATE SET calls = h.calls + excluded.calls,
                blocks_hit = h.blocks_hit + excluded.blocks_hit, blocks_read = h.blocks_read + excluded.blocks_read,
                blocks_written = h.blocks_written + excluded.blocks_written, wal_bytes = h.wal_bytes + excluded.wal_bytes,
                cpu_us = h.cpu_us + excluded.cpu_us
            RETURNING h.kind
    )
    SELECT count(*) INTO stored FROM written w WHERE w.kind = 'u';
    UPDATE _taskex.load_state SET stored_at = clock_timestamp();
    RETURN stored;
END $$;
COMMENT ON FUNCTION _taskex.store_load(bigint[], int[], float8[], float8[], float8[], float8[], float8[], float8[]) IS
'Adds what was counted to the present hour of users and storage partitions. User 0: only for the partition. Result: number of users.';

CREATE FUNCTION _taskex.fold_load(upto timestamptz = date_trunc('hour', _taskex.now(), 'UTC'), max_rows bigint = NULL)
    RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state _taskex.load_state := _taskex.lock_load_state();
    next_hour timestamptz;
    folded bigint := 0;
    n bigint;
BEGIN
    LOOP
        SELECT l.hour INTO next_hour FROM _taskex.load_hour l
            WHERE (l.hour, l.kind, l.id) > (state.hour, state.kind, state.id) AND l.hour < upto
            ORDER BY l.hour, l.kind, l.id LIMIT 1;
        EXIT WHEN NOT FOUND OR folded >= max_rows;
        IF next_hour > state.hour THEN
            state.kind := 'a';
            state.id := -1;
        END IF;
        WITH batch AS MATERIALIZED (
            SELECT l.* FROM _taskex.load_hour l WHERE l.hour = next_hour AND (l.kind, l.id) > (state.kind, state.id)
            ORDER BY l.kind, l.id LIMIT least(1000, max_rows - folded)
        ), sums AS (
            INSERT INTO _taskex.load_mean AS m
                SELECT b.kind, b.id, b.hour, b.hour, _taskex.load_one(b.hour, b.calls), _taskex.load_one(b.hour, b.blocks_hit),
                    _taskex.load_one(b.hour, b.blocks_read), _taskex.load_one(b.hour, b.blocks_written),
                    _taskex.load_one(b.hour, b.wal_bytes), _taskex.load_one(b.hour, b.cpu_us)
                FROM batch b
                ON CONFLICT (kind, id) DO UPDATE SET since = least(m.since, excluded.since),
                    as_of = greatest(m.as_of, excluded.as_of),
                    calls = _taskex.load_merge(m.calls, m.as_of, excluded.calls, excluded.as_of),
                    blocks_hit = _taskex.load_merge(m.blocks_hit, m.as_of, excluded.blocks_hit, excluded.as_of),
                    blocks_read = _taskex.load_merge(m.blocks_read, m.as_of, excluded.blocks_read, excluded.as_of),
                    blocks_written = _taskex.load_merge(m.blocks_written, m.as_of, excluded.blocks_written, excluded.as_of),
                    wal_bytes = _taskex.load_merge(m.wal_bytes, m.as_of, excluded.wal_bytes, excluded.as_of),
                    cpu_us = _taskex.load_merge(m.cpu_us, m.as_of, excluded.cpu_us, excluded.as_of)
        )
        SELECT b.hour, b.kind, b.id, count(*) OVER () INTO state.hour, state.kind, state.id, n
            FROM batch b ORDER BY b.kind DESC, b.id DESC LIMIT 1;
        folded := folded + n;
    END LOOP;
    IF folded > 0 THEN
        UPDATE _taskex.load_state s SET hour = state.hour, kind = state.kind, id = state.id;
    END IF;
    RETURN folded;
END $$;
COMMENT ON FUNCTION _taskex.fold_load(timestamptz, bigint) IS
'Folds hours before upto that are not folded yet into the means, in their order, max_rows (NULL: all) rows of load_hour at most.
Result: how many rows.';

CREATE FUNCTION _taskex.prune_load(max_rows int) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    state _taskex.load_state := _taskex.lock_load_state();
    before timestamptz := least(_taskex.now() - current_setting('taskex.load_history')::interval, state.hour);
    faded timestamptz := _taskex.now() - 10 * current_setting('taskex.load_half_life')::interval;
    pruned bigint;
    swept bigint := 0;
BEGIN
    DELETE FROM _taskex.load_hour WHERE ctid = ANY (ARRAY(
        SELECT h.ctid FROM _taskex.load_hour h WHERE h.hour < before ORDER BY h.hour LIMIT max_rows));
    GET DIAGNOSTICS pruned = ROW_COUNT;

    -- what is left after ten half-lives is a thousandth; as many blocks a round as bound the work
    DELETE FROM _taskex.load_mean m WHERE m.ctid >= format('(%s,0)', state.swept_to)::tid
        AND m.ctid < format('(%s,0)', state.swept_to + 64)::tid AND m.as_of < faded;
    GET DIAGNOSTICS swept = ROW_COUNT;
    UPDATE _taskex.load_state s SET swept_to =
        CASE WHEN (state.swept_to + 64) * current_setting('block_size')::int < pg_relation_size('_taskex.load_mean')
            THEN state.swept_to + 64 ELSE 0 END
        WHERE s.swept_to <> 0 OR pg_relation_size('_taskex.load_mean') > 64 * current_setting('block_size')::int;
    RETURN pruned + swept;
END $$;
COMMENT ON FUNCTION _taskex.prune_load(int) IS
    'Removes hours that are older than taskex.load_history, max_rows at most, and means that have faded. Result: how many.';

-- what is stored ----------------------------------------------------------------------

CREATE FUNCTION _taskex.load_faded(bytes float8, round bigint, last_round bigint, whole boolean) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
'SELECT CASE WHEN round >= last_round THEN bytes WHEN whole THEN 0 ELSE bytes * 0.75 ^ (last_round - round) END';
COMMENT ON FUNCTION _taskex.load_faded(float8, bigint, bigint, boolean) IS
'What a row of load_bytes says after further samples in which the user was not seen: nothing if those were of the whole table.';

CREATE VIEW _taskex.stored_bytes AS
    SELECT b.user_id,
        -- of a table that was not sampled yet since he moved he has what he had
        sum(CASE WHEN b.partition_id = d.partition_id THEN _taskex.load_faded(b.bytes, b.round, s.round, s.whole) ELSE b.bytes END) AS bytes
    FROM _taskex.load_bytes b JOIN _taskex.directory d USING (user_id)
        LEFT JOIN _taskex.load_sampled s ON s.partition_id = b.partition_id AND s.position = b.position
    GROUP BY b.user_id;
COMMENT ON VIEW _taskex.stored_bytes IS 'What users have stored, as far as samples have shown it.';

-- The rows of a sample of one child, by their owners. Its columns of variable
-- size are weighed, also what is out of line, and nothing of it is read.
CREATE FUNCTION _taskex.sample_child(child regclass, owner text, home int, place int, blocks bigint, share float8, sampled bigint)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    size bigint := pg_total_relation_size(child);
    weight text := (SELECT concat_ws(' + ', 28 + sum(a.attlen) FILTER (WHERE a.attlen > 0),
            string_agg(format('coalesce(pg_column_size(r.%I), 0)', a.attname), ' + ') FILTER (WHERE a.attlen = -1))
        FROM pg_attribute a WHERE a.attrelid = child AND a.attnum > 0 AND NOT a.attisdropped);
    last _taskex.load_sampled := (SELECT s FROM _taskex.load_sampled s WHERE s.partition_id = home AND s.position = place);
    part float8 := CASE WHEN share >= 100 OR last IS NULL THEN 1 ELSE 0.25 END;
BEGIN
    EXECUTE format(
        'WITH seen AS MATERIALIZED (SELECT r.%1$I AS user_id, sum(%2$s) AS weight FROM %3$s r TABLESAMPLE SYSTEM ($1) GROUP BY 1),'
        ' total AS (SELECT sum(n.weight) AS weight FROM seen n)'
        ' INSERT INTO _taskex.load_bytes AS b (user_id, position, partition_id, round, bytes)'
        ' SELECT n.user_id, $2, $3, $4, $5 * n.weight / t.weight * $6 FROM seen n'
        ' JOIN _taskex.directory d ON d.user_id = n.user_id AND d.partition_id = $3 CROSS JOIN total t'
        ' ON CONFLICT (user_id, position) DO UPDATE SET partition_id = excluded.partition_id, round = excluded.round,'
        ' bytes = excluded.bytes + (1 - $6) * CASE WHEN b.partition_id = $3'
        ' THEN _taskex.load_faded(b.bytes, b.round, $4 - 1, $7) ELSE b.bytes END',
        owner, weight, child)
        USING share, place, home, sampled, size, part, coalesce(last.whole, false);
END $$;
COMMENT ON FUNCTION _taskex.sample_child(regclass, text, int, int, bigint, float8, bigint) IS
'Spreads the size of a child table over the users who have rows in a sample of it and live on its storage partition. share: how much
of its blocks is looked at, in percent. sampled: number of this sample.';

CREATE FUNCTION _taskex.sample_storage(max_blocks int) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    block bigint := current_setting('block_size')::bigint;
    rest bigint := max_blocks;
    sampled bigint := 0;
    blocks bigint;
    present bigint;
    share float8;
    child regclass;
    t record;
BEGIN
    PERFORM _taskex.lock_load_state();
    FOR t IN SELECT p.partition_id, c.position, c.table_name, c.owner, s.round, s.changes
            FROM _taskex.partition p CROSS JOIN _taskex.child_table c
                LEFT JOIN _taskex.load_sampled s ON s.partition_id = p.partition_id AND s.position = c.position
            WHERE p.node_id = 0 AND _taskex.readable(p.partition_id)
            ORDER BY s.at NULLS FIRST, p.partition_id, c.position LIMIT 256 LOOP
        EXIT WHEN rest <= 0;
        child := to_regclass(format('_taskex.%I', t.table_name || '_' || t.partition_id));
        CONTINUE WHEN child IS NULL;
        present := pg_stat_get_tuples_inserted(child) + pg_stat_get_tuples_updated(child) + pg_stat_get_tuples_deleted(child);
        rest := rest - 1;
        IF present IS DISTINCT FROM t.changes THEN
            blocks := greatest(pg_relation_size(child) / block, 1);
            -- a large one gets a round's worth
            EXIT WHEN blocks > rest AND rest < max_blocks / 2;
            share := 100.0 * least(blocks, rest) / blocks;
            PERFORM _taskex.sample_child(child, t.owner, t.partition_id, t.position, blocks, share, coalesce(t.round, 0) + 1);
            rest := rest - least(blocks, rest);
            sampled := sampled + 1;
            INSERT INTO _taskex.load_sampled VALUES (t.partition_id, t.position, clock_timestamp(), present, 1, share >= 100)
                ON CONFLICT (partition_id, position) DO UPDATE
                SET at = excluded.at, changes = excluded.changes, round = load_sampled.round + 1, whole = excluded.whole;
        ELSE
            UPDATE _taskex.load_sampled s SET at = clock_timestamp()
                WHERE s.partition_id = t.partition_id AND s.position = t.position;
        END IF;
    END LOOP;
    RETURN sampled;
END $$;
COMMENT ON FUNCTION _taskex.sample_storage(int) IS
'Looks at samples of the tables that were not looked at for longest and have changed since, max_blocks blocks in all. Result: how many tables.';

CREATE FUNCTION _taskex.measure_partitions(max_partitions int) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    n bigint;
BEGIN
    PERFORM _taskex.lock_load_state();
    INSERT INTO _taskex.load_partition_bytes AS b
        SELECT p.partition_id, sum(coalesce(pg_total_relation_size(to_regclass(
                format('_taskex.%I', c.table_name || '_' || p.partition_id))), 0)), clock_timestamp()
        FROM (SELECT q.partition_id FROM _taskex.partition q LEFT JOIN _taskex.load_partition_bytes o USING (partition_id)
                WHERE q.node_id = 0 AND _taskex.readable(q.partition_id) ORDER BY o.at NULLS FIRST, 1 LIMIT max_partitions) p
            CROSS JOIN _taskex.child_table c
        GROUP BY p.partition_id
        ON CONFLICT (partition_id) DO UPDATE SET bytes = excluded.bytes, at = excluded.at;
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END $$;
COMMENT ON FUNCTION _taskex.measure_partitions(int) IS
    'Measures the size of the storage partitions that were not measured for longest. Result: how many.';

CREATE FUNCTION _taskex.forget_load() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    DELETE FROM _taskex.load_partition_bytes b WHERE b.partition_id = OLD.partition_id;
    DELETE FROM _taskex.load_sampled s WHERE s.partition_id = OLD.partition_id;
    DELETE FROM _taskex.load_mean m WHERE m.kind = 'p' AND m.id = OLD.partition_id;
    RETURN NULL;
END $$;
COMMENT ON FUNCTION _taskex.forget_load() IS 'Removes the measurements of a storage partition that is dropped; its hours go with their age.';
CREATE TRIGGER forget_load AFTER DELETE ON _taskex.partition FOR EACH ROW EXECUTE FUNCTION _taskex.forget_load();

-- An anonymous user who turns out to be a known one.
CREATE FUNCTION _taskex.merge_load(source bigint, target bigint) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    WITH gone AS (DELETE FROM _taskex.load_hour h WHERE h.kind = 'u' AND h.id = source RETURNING h.*)
        INSERT INTO _taskex.load_hour AS h
            SELECT g.hour, 'u', target, g.calls, g.blocks_hit, g.blocks_read, g.blocks_written, g.wal_bytes, g.cpu_us FROM gone g
            ON CONFLICT (hour, kind, id) DO UPDATE SET calls = h.calls + excluded.calls, blocks_hit = h.blocks_hit + excluded.blocks_hit,
                blocks_read = h.blocks_read + excluded.blocks_read, blocks_written = h.blocks_written + excluded.blocks_written,
                wal_bytes = h.wal_bytes + excluded.wal_bytes, cpu_us = h.cpu_us + excluded.cpu_us;
    WITH gone AS (DELETE FROM _taskex.load_mean m WHERE m.kind = 'u' AND m.id = source RETURNING m.*)
        INSERT INTO _taskex.load_mean AS m
            SELECT 'u', target, g.since, g.as_of, g.calls, g.blocks_hit, g.blocks_read, g.blocks_written, g.wal_bytes, g.cpu_us FROM gone g
            ON CONFLICT (kind, id) DO UPDATE SET since = least(m.since, excluded.since), as_of = greatest(m.as_of, excluded.as_of),
                calls = _taskex.load_merge(m.calls, m.as_of, excluded.calls, excluded.as_of),
                blocks_hit = _taskex.load_merge(m.blocks_hit, m.as_of, excluded.blocks_hit, excluded.as_of),
                blocks_read = _taskex.load_merge(m.blocks_read, m.as_of, excluded.blocks_read, excluded.as_of),
                blocks_written = _taskex.load_merge(m.blocks_written, m.as_of, excluded.blocks_written, excluded.as_of),
                wal_bytes = _taskex.load_merge(m.wal_bytes, m.as_of, excluded.wal_bytes, excluded.as_of),
                cpu_us = _taskex.load_merge(m.cpu_us, m.as_of, excluded.cpu_us, excluded.as_of);
    -- the next samples see whose the rows are now
    DELETE FROM _taskex.load_bytes b WHERE b.user_id = source;
END $$;
COMMENT ON FUNCTION _taskex.merge_load(bigint, bigint) IS
'Makes what was measured of a user another''s. What the calls of the last taskex.load_interval cost stays with the number of the first.';

-- for whoever plans -----------------------------------------------------------------

CREATE FUNCTION _taskex.user_loads(at timestamptz = _taskex.now())
    RETURNS TABLE (user_id bigint, partition_id int, stored_bytes float8, since timestamptz, calls float8[], blocks_hit float8[],
        blocks_read float8[], blocks_written float8[], wal_bytes float8[], cpu_us float8[])
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.user_id, d.partition_id, coalesce(b.bytes, 0), m.since, _taskex.load_means(m.calls, m.since, m.as_of, at),
        _taskex.load_means(m.blocks_hit, m.since, m.as_of, at), _taskex.load_means(m.blocks_read, m.since, m.as_of, at),
        _taskex.load_means(m.blocks_written, m.since, m.as_of, at), _taskex.load_means(m.wal_bytes, m.since, m.as_of, at),
        _taskex.load_means(m.cpu_us, m.since, m.as_of, at)
    FROM _taskex.directory d
        LEFT JOIN _taskex.load_mean m ON m.kind = 'u' AND m.id = d.user_id
        LEFT JOIN _taskex.stored_bytes b ON b.user_id = d.user_id
    WHERE m.id IS NOT NULL OR b.user_id IS NOT NULL
$$;
COMMENT ON FUNCTION _taskex.user_loads(timestamptz) IS
'For each user of whom something is known: where he lives, what he has stored, and the mean load of each hour of the day (24 elements,
the first is 00:00 to 01:00 UTC; per hour) as of "at". NULL: none was measured.';

CREATE FUNCTION _taskex.partition_loads(at timestamptz = _taskex.now())
    RETURNS TABLE (partition_id int, stored_bytes bigint, since timestamptz, calls float8[], blocks_hit float8[],
        blocks_read float8[], blocks_written float8[], wal_bytes float8[], cpu_us float8[])
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT p.partition_id, coalesce(b.bytes, 0), m.since, _taskex.load_means(m.calls, m.since, m.as_of, at),
        _taskex.load_means(m.blocks_hit, m.since, m.as_of, at), _taskex.load_means(m.blocks_read, m.since, m.as_of, at),
        _taskex.load_means(m.blocks_written, m.since, m.as_of, at), _taskex.load_means(m.wal_bytes, m.since, m.as_of, at),
        _taskex.load_means(m.cpu_us, m.since, m.as_of, at)
    FROM _taskex.partition p
        LEFT JOIN _taskex.load_mean m ON m.kind = 'p' AND m.id = p.partition_id
        LEFT JOIN _taskex.load_partition_bytes b ON b.partition_id = p.partition_id
$$;
COMMENT ON FUNCTION _taskex.partition_loads(timestamptz) IS
    'For each storage partition the same; of the load what was measured of users while they lived there.';

CREATE FUNCTION _taskex.load_profile(user_id bigint, metric text) RETURNS float8[]
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m _taskex.load_mean := (SELECT l FROM _taskex.load_mean l WHERE l.kind = 'u' AND l.id = load_profile.user_id);
BEGIN
    IF metric IS NULL OR metric NOT IN ('calls', 'blocks_hit', 'blocks_read', 'blocks_written', 'wal_bytes', 'cpu_us') THEN
        PERFORM _taskex.bad_value(format('"%s" is not a measure of load', metric), NULL,
            'Use calls, blocks_hit, blocks_read, blocks_written, wal_bytes or cpu_us.');
    END IF;
    RETURN _taskex.load_means(CASE metric WHEN 'calls' THEN m.calls WHEN 'blocks_hit' THEN m.blocks_hit
        WHEN 'blocks_read' THEN m.blocks_read WHEN 'blocks_written' THEN m.blocks_written
        WHEN 'wal_bytes' THEN m.wal_bytes ELSE m.cpu_us END, m.since, m.as_of, _taskex.now());
END $$;
COMMENT ON FUNCTION _taskex.load_profile(bigint, text) IS
'One measure of a user''s load by hour of the day: 24 means per hour, the first for 00:00 to 01:00 UTC; NULL: none was measured.';

-- to look at ------------------------------------------------------------------------

CREATE TABLE _taskex.load_metric (
    metric text PRIMARY KEY,
    position int NOT NULL UNIQUE,
    unit text NOT NULL,
    description text NOT NULL
);
COMMENT ON TABLE _taskex.load_metric IS 'What is measured, in which units. Filled by the install script alone.';
INSERT INTO _taskex.load_metric VALUES
    ('stored_bytes', 1, 'bytes', 'tables, their TOAST and indexes; of users what samples have shown'),
    ('calls', 2, 'calls/h', 'calls of functions that act for a user'),
    ('blocks_hit', 3, 'blocks/h', 'blocks that calls found in shared memory'),
    ('blocks_read', 4, 'blocks/h', 'blocks that calls had read'),
    ('blocks_written', 5, 'blocks/h', 'blocks that calls changed first, so that they are to be written, or wrote themselves'),
    ('wal_bytes', 6, 'bytes/h', 'WAL that calls wrote, without the record of the commit'),
    ('cpu_us', 7, 'us/h', 'CPU time of calls, in microseconds; one call in sixteen is looked at');

-- means are of hours that are over; this_hour has what was stored of the present one
CREATE VIEW taskex.user_load WITH (security_barrier) AS
    SELECT d.login, p.name::text AS partition, l.metric, l.unit,
        CASE WHEN l.position = 1 THEN coalesce(b.bytes, 0) ELSE (SELECT avg(x) FROM unnest(v.by_hour) x) END AS level,
        (SELECT max(x) FROM unnest(v.by_hour) x) AS peak,
        array_position(v.by_hour, (SELECT max(x) FROM unnest(v.by_hour) x)) - 1 AS peak_hour,
        CASE WHEN l.position > 1 THEN coalesce(v.this_hour, 0) END AS this_hour, v.by_hour
    FROM _taskex.directory d
        JOIN _taskex.partition p USING (partition_id)
        LEFT JOIN _taskex.load_mean m ON m.kind = 'u' AND m.id = d.user_id
        LEFT JOIN _taskex.load_hour h ON h.kind = 'u' AND h.id = d.user_id AND h.hour = (SELECT date_trunc('hour', _taskex.now(), 'UTC'))
        CROSS JOIN _taskex.load_metric l
        CROSS JOIN LATERAL (SELECT _taskex.load_means(CASE l.metric WHEN 'calls' THEN m.calls WHEN 'blocks_hit' THEN m.blocks_hit WHEN 'blocks_read' THEN m.blocks_read
                WHEN 'blocks_written' THEN m.blocks_written WHEN 'wal_bytes' THEN m.wal_bytes WHEN 'cpu_us' THEN m.cpu_us END, m.since, m.as_of, _taskex.now()) AS by_hour,
            CASE l.metric WHEN 'calls' THEN h.calls WHEN 'blocks_hit' THEN h.blocks_hit WHEN 'blocks_read' THEN h.blocks_read
                WHEN 'blocks_written' THEN h.blocks_written WHEN 'wal_bytes' THEN h.wal_bytes WHEN 'cpu_us' THEN h.cpu_us END AS this_hour) v
        LEFT JOIN LATERAL (SELECT s.bytes FROM _taskex.stored_bytes s WHERE s.user_id = d.user_id) b ON l.position = 1
    WHERE _taskex.visible(d.user_id) AND _taskex.narrow(d.partition_id, d.user_id, d.login, NULL);
COMMENT ON VIEW taskex.user_load IS
'What users'' calls cost and what they have stored, a line for each measure: level (the mean of an hour, or the bytes), peak and
peak_hour (the busiest hour of the day, UTC), this_hour (stored so far), by_hour (24 means, the first of 00:00 to 01:00 UTC). Days
weigh half as much with each taskex.load_half_life. NULL: not measured yet. A member of taskex_user sees those whose db_role it is.';

CREATE VIEW taskex.partition_load AS
    SELECT p.name::text AS partition, n.name::text AS node, l.metric, l.unit,
        CASE WHEN l.position = 1 THEN coalesce(b.bytes, 0) ELSE (SELECT avg(x) FROM unnest(v.by_hour) x) END AS level,
        (SELECT max(x) FROM unnest(v.by_hour) x) AS peak,
        array_position(v.by_hour, (SELECT max(x) FROM unnest(v.by_hour) x)) - 1 AS peak_hour,
        CASE WHEN l.position > 1 THEN coalesce(v.this_hour, 0) END AS this_hour, v.by_hour
    FROM _taskex.partition p
        JOIN _taskex.node n USING (node_id)
        LEFT JOIN _taskex.load_mean m ON m.kind = 'p' AND m.id = p.partition_id
        LEFT JOIN _taskex.load_hour h ON h.kind = 'p' AND h.id = p.partition_id AND h.hour = (SELECT date_trunc('hour', _taskex.now(), 'UTC'))
        CROSS JOIN _taskex.load_metric l
        CROSS JOIN LATERAL (SELECT _taskex.load_means(CASE l.metric WHEN 'calls' THEN m.calls WHEN 'blocks_hit' THEN m.blocks_hit WHEN 'blocks_read' THEN m.blocks_read
                WHEN 'blocks_written' THEN m.blocks_written WHEN 'wal_bytes' THEN m.wal_bytes WHEN 'cpu_us' THEN m.cpu_us END, m.since, m.as_of, _taskex.now()) AS by_hour,
            CASE l.metric WHEN 'calls' THEN h.calls WHEN 'blocks_hit' THEN h.blocks_hit WHEN 'blocks_read' THEN h.blocks_read
                WHEN 'blocks_written' THEN h.blocks_written WHEN 'wal_bytes' THEN h.wal_bytes WHEN 'cpu_us' THEN h.cpu_us END AS this_hour) v
        LEFT JOIN _taskex.load_partition_bytes b ON l.position = 1 AND b.partition_id = p.partition_id;
COMMENT ON VIEW taskex.partition_load IS
'The load of storage partitions: lines as in taskex.user_load, of all that users did while they lived there. stored_bytes: all of its
tables with their TOAST and indexes.';

CREATE VIEW taskex.node_load AS
    SELECT n.name::text AS node, l.metric, l.unit, s.level,
        (SELECT max(x) FROM unnest(v.by_hour) x) AS peak,
        array_position(v.by_hour, (SELECT max(x) FROM unnest(v.by_hour) x)) - 1 AS peak_hour, s.this_hour, v.by_hour
    FROM _taskex.node n CROSS JOIN _taskex.load_metric l
        JOIN (SELECT p.node, p.metric, sum(p.level) AS level, sum(p.this_hour) AS this_hour FROM taskex.partition_load p
            GROUP BY 1, 2) s ON s.node = n.name AND s.metric = l.metric
        CROSS JOIN LATERAL (SELECT array_agg(e.sum ORDER BY e.hour) AS by_hour FROM (
            SELECT x.hour, sum(x.value) FROM taskex.partition_load p CROSS JOIN unnest(p.by_hour) WITH ORDINALITY x (value, hour)
            WHERE p.node = n.name AND p.metric = l.metric GROUP BY x.hour) e) v;
COMMENT ON VIEW taskex.node_load IS 'The load of nodes: the sums of their storage partitions'', lines as in taskex.user_load.';

CREATE FUNCTION taskex.measure_load(OUT users bigint, OUT calls bigint, OUT hours bigint, OUT tables bigint)
    RETURNS record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_measure_load';
COMMENT ON FUNCTION taskex.measure_load() IS
'Does at once what the conductor does each taskex.load_interval: stores the load that was counted in shared memory, folds hours that
are over, looks at samples of what is stored, removes what is older than taskex.load_history. Result: users whose load was stored,
calls of theirs and of others, rows of hours that were folded, tables that were sampled. Operators only.';

CREATE FUNCTION _taskex.meter(OUT users bigint, OUT calls bigint, OUT unnamed bigint, OUT lost bigint)
    RETURNS record LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_meter';
COMMENT ON FUNCTION _taskex.meter() IS
'What waits in shared memory to be stored: users and calls; and calls since the start of the server for whose users there was no place
(unnamed: counted for the storage partition; lost: not at all). NULL where taskex is not preloaded.';

CREATE FUNCTION _taskex.load_lag(OUT since timestamptz, OUT late boolean, OUT calls bigint, OUT unnamed bigint, OUT lost bigint)
    RETURNS record LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.since, coalesce(m.calls > 0 AND current_setting('taskex.conductor')::boolean AND NOT pg_is_in_recovery()
            AND s.since < clock_timestamp() - 3 * current_setting('taskex.load_interval')::interval - interval '1 minute', false),
        m.calls, m.unnamed, m.lost
    FROM _taskex.meter() m
        CROSS JOIN (SELECT greatest((SELECT l.stored_at FROM _taskex.load_state l), (SELECT max(a.backend_start) FROM pg_stat_activity a
            WHERE a.datname = current_database() AND a.backend_type = 'taskex conductor')) AS since) s
$$;
COMMENT ON FUNCTION _taskex.load_lag() IS
'Since when the load that was counted should have been stored, whether it is late, and how much there is; and calls for whose users there
was no place.';
