-- placement.sql: which storage partition suits a user: fitness functions, their factors,
-- and the placement of new users. Pairs with src/placement.

-- what partitions can do ------------------------------------------------------------

CREATE FUNCTION _taskex.resources() RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT '{cpu,memory,io,network,storage}'::text[] $$;
COMMENT ON FUNCTION _taskex.resources() IS 'The resources, in the order of a demand (src/placement/demand.h).';

-- A partition without a capacity of its own has its share of what its node has left.
-- 0: nothing is known.
CREATE VIEW _taskex.place AS
    SELECT p.partition_id, p.name::text AS name, p.node_id, coalesce(p.tier, n.tier) AS tier,
        coalesce(p.location, n.location) AS location, p.storage_class,
        -- temporary ones are for anonymous users, who are not placed by fitness
        p.state = 'active' AND n.state = 'active' AND p.storage_class <> 'temporary'
            AND _taskex.readable(p.partition_id) AS active,
        (SELECT array_agg(coalesce((p.capacity ->> r)::float8,
                CASE WHEN n.capacity ? r THEN (SELECT greatest((n.capacity ->> r)::float8 - coalesce(sum((q.capacity ->> r)::float8), 0), 0)
                    / count(*) FILTER (WHERE NOT q.capacity ? r) FROM _taskex.partition q WHERE q.node_id = p.node_id) END, 0) ORDER BY i)
            FROM unnest(_taskex.resources()) WITH ORDINALITY x (r, i)) AS capacities,
        (p.capacity ->> 'users')::float8 AS max_users,
        -- for whom it is: users without a tier are kept off the others, where there is one for them
        coalesce(p.tier, n.tier) <> 'standard' AND bool_or(p.state = 'active' AND n.state = 'active' AND p.node_id = 0
            AND p.storage_class <> 'temporary' AND coalesce(p.tier, n.tier) = 'standard') OVER () AS reserved,
        _taskex.readable(p.partition_id) AS can_be_read
    FROM _taskex.partition p JOIN _taskex.node n USING (node_id);
COMMENT ON VIEW _taskex.place IS 'Storage partitions as placement sees them.';

-- demands ---------------------------------------------------------------------------

CREATE FUNCTION _taskex.demand(stored_bytes float8, cpu_us float8[], blocks_hit float8[], blocks_read float8[],
        blocks_written float8[], wal_bytes float8[])
    RETURNS float8[] LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_demand';
COMMENT ON FUNCTION _taskex.demand(float8, float8[], float8[], float8[], float8[], float8[]) IS
'A demand, out of what was measured by hour of the day: cores, bytes of memory, blocks and bytes a second, each by hour, then
the stored bytes.';

CREATE FUNCTION _taskex.demand_add(sum float8[], demand float8[])
    RETURNS float8[] LANGUAGE C IMMUTABLE PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_demand_add';
COMMENT ON FUNCTION _taskex.demand_add(float8[], float8[]) IS 'The sum of two demands; NULL counts as nothing.';
CREATE AGGREGATE _taskex.demand_sum(float8[]) (SFUNC = _taskex.demand_add, STYPE = float8[]);
COMMENT ON AGGREGATE _taskex.demand_sum(float8[]) IS 'The sum of demands.';

CREATE FUNCTION _taskex.demand_peaks(demand float8[], more float8[], sign int)
    RETURNS float8[] LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_demand_peaks';
COMMENT ON FUNCTION _taskex.demand_peaks(float8[], float8[], int) IS 'Of each resource the busiest hour of demand + sign * more.';

CREATE FUNCTION _taskex.demand_likeness(one float8[], other float8[], sign int)
    RETURNS float8 LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'taskex_demand_likeness';
COMMENT ON FUNCTION _taskex.demand_likeness(float8[], float8[], int) IS
'How alike two demands are by hour of the day: the correlation, -1 to 1; NULL if one has no hours. sign -1: one is a part of
other, and is taken out.';

CREATE FUNCTION _taskex.no_demand() RETURNS float8[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS 'SELECT array_fill(0::float8, ARRAY[97])';
COMMENT ON FUNCTION _taskex.no_demand() IS 'The demand of nothing.';

-- The key "expected" of a profile: numbers, the hours in which they are meant, and task types.
-- No user needs more, and no server has it: what is more is a mistake in the unit.
CREATE FUNCTION _taskex.most_expected(resource text) RETURNS numeric
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE $1 WHEN 'cpu' THEN 1e5 WHEN 'io' THEN 1e9 WHEN 'network' THEN 1e12 WHEN 'memory' THEN 1e14 WHEN 'storage' THEN 1e16 END
$$;
COMMENT ON FUNCTION _taskex.most_expected(text) IS 'The most of a resource that a profile may expect: cores, blocks and bytes a second, bytes.';

CREATE FUNCTION _taskex.check_expected(expected jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k text;
    v jsonb;
BEGIN
    IF expected IS NULL OR expected = 'null' THEN
        RETURN;
    END IF;
    PERFORM _taskex.check_keys(expected, 'profile key "expected"', _taskex.resources() || '{hours,task_types}'::text[]);
    FOR k, v IN SELECT * FROM jsonb_each(expected) LOOP
        IF k = 'hours' THEN
            IF jsonb_typeof(v) <> 'array' OR jsonb_array_length(v) NOT BETWEEN 1 AND 24
                    OR EXISTS (SELECT FROM jsonb_array_elements(v) h WHERE h #>> '{}' !~ '^(\d|1\d|2[0-3])$' OR jsonb_typeof(h) <> 'number') THEN
                PERFORM _taskex.bad_value('"hours" of profile key "expected" must be an array of hours of the day, 0 to 23');
            END IF;
        ELSIF k = 'task_types' THEN
            IF jsonb_typeof(v) <> 'array' OR jsonb_array_length(v) > 100
                    OR EXISTS (SELECT FROM jsonb_array_elements(v) t WHERE t #>> '{}' !~ '^\d{1,18}$' OR jsonb_typeof(t) <> 'number') THEN
                PERFORM _taskex.bad_value('"task_types" of profile key "expected" must be an array of at most 100 ids');
            END IF;
        ELSIF jsonb_typeof(v) <> 'number' OR NOT (v #>> '{}')::numeric BETWEEN 0 AND _taskex.most_expected(k) THEN
            PERFORM _taskex.bad_value(format('"%s" of profile key "expected" must be a number between 0 and %s', k, _taskex.most_expected(k)));
        END IF;
    END LOOP;
END $$;
COMMENT ON FUNCTION _taskex.check_expected(jsonb) IS 'Checks the key "expected" of a profile.';

CREATE FUNCTION _taskex.check_hints(profile jsonb) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.check_expected(profile -> 'expected');
    IF jsonb_typeof(profile -> 'storage_class') NOT IN ('string', 'null') THEN
        PERFORM _taskex.bad_value('profile key "storage_class" must be a string');
    END IF;
    IF jsonb_typeof(profile -> 'required') NOT IN ('array', 'null')
            OR NOT coalesce(profile -> 'required', 'null') IN ('null', '[]') AND NOT profile -> 'required' <@ '["tier", "location", "storage_class"]' THEN
        PERFORM _taskex.bad_value('profile key "required" must be an array with some of "tier", "location" and "storage_class"');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.check_hints(jsonb) IS 'Checks what a profile says for placement: expected, required, storage_class.';

CREATE FUNCTION _taskex.expected_demand(expected jsonb) RETURNS float8[]
    LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN jsonb_typeof($1) = 'object' THEN ARRAY(
        SELECT CASE WHEN NOT $1 ? 'hours' OR $1 -> 'hours' @> to_jsonb(h) THEN coalesce(($1 ->> r)::float8, 0) ELSE 0 END
        FROM unnest(_taskex.resources()) WITH ORDINALITY x (r, i), generate_series(0, 23) h WHERE r <> 'storage' ORDER BY i, h)
        || coalesce(($1 ->> 'storage')::float8, 0) END
$$;
COMMENT ON FUNCTION _taskex.expected_demand(jsonb) IS 'The demand that a profile expects; NULL: none.';

CREATE FUNCTION _taskex.user_demand(user_id bigint) RETURNS float8[]
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN m.cpu_us IS NOT NULL OR s.bytes IS NOT NULL THEN
        _taskex.demand(s.bytes, m.cpu_us, m.blocks_hit, m.blocks_read, m.blocks_written, m.wal_bytes) END
    FROM (SELECT _taskex.load_profile($1, 'cpu_us') AS cpu_us, _taskex.load_profile($1, 'blocks_hit') AS blocks_hit,
            _taskex.load_profile($1, 'blocks_read') AS blocks_read, _taskex.load_profile($1, 'blocks_written') AS blocks_written,
            _taskex.load_profile($1, 'wal_bytes') AS wal_bytes) m,
        (SELECT sum(b.bytes) AS bytes FROM _taskex.load_bytes b WHERE b.user_id = $1) s
$$;
COMMENT ON FUNCTION _taskex.user_demand(bigint) IS 'What was measured of a user, as a demand; NULL: nothing.';

-- factors -----------------------------------------------------------------------------

CREATE FUNCTION _taskex.builtin_factors(OUT name text, OUT weight float8, OUT description text) RETURNS SETOF record
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    VALUES ('storage', 1::float8, 'free storage: 1 - stored bytes, his with them, over the capacity in bytes'),
        ('cpu', 2, 'free CPU in the busiest hour of the day: 1 - cores in use over cores'),
        ('memory', 0.5, 'free memory in the busiest hour: 1 - bytes touched over bytes'),
        ('io', 1, 'free IO in the busiest hour: 1 - blocks of 8 kB read and written a second over the capacity'),
        ('network', 0.5, 'free network in the busiest hour: 1 - bytes a second over the capacity'),
        ('users', 0.5, 'few users: 0.5 where there are as many as elsewhere, 1 where there are none'),
        ('tier', 2, 'the partition''s tier is his (standard, if he has none)'),
        ('location', 1, 'near: 1 where the locations are equal; of two "latitude,longitude" 500 / (500 + km); 0.5 where the partition has none'),
        ('storage_class', 1, 'the partition''s storage class is the one that he asks for'),
        ('dealings', 1, 'the share of those with whom he has dealt that live there, by results'),
        ('task_types', 1, 'the share that is done and supplied there of the task types that he does and supplies'),
        ('expected', 1, 'the share of tasks supplied there of the types that he is expected to do: those his profile names, or those that users like him do'),
        ('hot_spots', 0.5, 'taskex.propose_moves() would move him there'),
        ('similar', 0, 'the partition is busy in the hours in which he is: (1 + correlation) / 2'),
        ('complementary', 0.5, 'the partition is busy in other hours than he: (1 - correlation) / 2'),
        ('move_cost', 1, 'he need not be moved: 1 where he lives, elsewhere 64 MiB / (64 MiB + stored bytes)')
$$;
COMMENT ON FUNCTION _taskex.builtin_factors() IS 'The factors that are built in, with their weights in the fitness function "default".';

CREATE TABLE _taskex.factor (
    name text PRIMARY KEY COLLATE "C",
    -- not regprocedure, for pg_upgrade
    function text NOT NULL,
    description text NOT NULL
);
COMMENT ON TABLE _taskex.factor IS 'Factors of fitness that operators have added.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.factor', '');

CREATE FUNCTION _taskex.call_factor(function regprocedure, login text, partition text) RETURNS float8
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_call_factor';
COMMENT ON FUNCTION _taskex.call_factor(regprocedure, text, text) IS
'Calls a factor''s function with the rights of its owner. Errors: factor_failed (TX512) unless it gives a number between 0 and 1.';

CREATE FUNCTION taskex.add_factor(name text, function regprocedure, description text = '')
    RETURNS void LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_add_factor';
COMMENT ON FUNCTION taskex.add_factor(text, regprocedure, text) IS
'Adds a factor that fitness functions can weigh. name: 1 to 63 bytes. function: (login text, partition text) -> float8, between 0
(bad) and 1 (good), which the caller may execute; called with the rights of its owner, for each partition that is scored, and in plans for each user and
partition. description: for taskex.factors.
Errors: duplicate_name (TX007), insufficient_privilege (42501), invalid_parameter_value (22023) for another kind of function. Operators only.';

CREATE FUNCTION _taskex.add_factor(name text, function regprocedure, description text)
    RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM _taskex.check_text(name, 'the name of a factor', 63);
    PERFORM _taskex.check_text(description, 'the description of a factor', 1000, true);
    IF NOT EXISTS (SELECT FROM pg_proc p WHERE p.oid = function AND p.prokind = 'f' AND NOT p.proretset
            AND p.proargtypes = '25 25' AND p.prorettype = 'float8'::regtype) THEN
        PERFORM _taskex.bad_value(format('function %s cannot be a factor', function),
            'A factor is a function (login text, partition text) that returns float8.');
    END IF;
    IF EXISTS (SELECT FROM _taskex.builtin_factors() b WHERE b.name = add_factor.name) THEN
        PERFORM _taskex.fail('duplicate_name', format('factor "%s" is built in', name));
    END IF;
    INSERT INTO _taskex.factor VALUES (name, function::text, description) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM _taskex.fail('duplicate_name', format('factor "%s" exists already', name), NULL,
            'taskex.drop_factor() removes it.');
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.add_factor(text, regprocedure, text) IS 'Body of taskex.add_factor.';

CREATE FUNCTION taskex.drop_factor(name text)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    used_by text;
BEGIN
    IF name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name must not be null';
    ELSIF EXISTS (SELECT FROM _taskex.builtin_factors() b WHERE b.name = drop_factor.name) THEN
        PERFORM _taskex.bad_value(format('factor "%s" is built in', name), NULL, 'Give it no weight in taskex.set_fitness().');
    END IF;
    -- against taskex.set_fitness() meanwhile
    PERFORM FROM _taskex.factor f WHERE f.name = drop_factor.name FOR UPDATE;
    SELECT f.name INTO used_by FROM _taskex.fitness f WHERE f.weights ? drop_factor.name ORDER BY 1 LIMIT 1;
    IF FOUND THEN
        PERFORM _taskex.fail('still_in_use', format('factor "%s" is in use', name),
            format('Fitness function "%s" weighs it.', used_by));
    END IF;
    DELETE FROM _taskex.factor f WHERE f.name = drop_factor.name;
    IF NOT FOUND THEN
        PERFORM _taskex.fail('unknown_factor', format('factor "%s" does not exist', name), NULL, 'The view taskex.factors lists them.');
    END IF;
END $$;
COMMENT ON FUNCTION taskex.drop_factor(text) IS
'Removes a factor that was added. Errors: unknown_factor (TX511), still_in_use (TX008), invalid_parameter_value (22023) for one that is
built in. Operators only.';

CREATE VIEW taskex.factors AS
    SELECT b.name, true AS built_in, NULL::regprocedure AS function, b.description FROM _taskex.builtin_factors() b
    UNION ALL
    SELECT f.name, false, to_regprocedure(f.function), f.description FROM _taskex.factor f;
COMMENT ON VIEW taskex.factors IS 'Factors of which fitness functions are made: each gives 0 (bad) to 1 (good) for a user and a partition. Operators only.';

-- fitness functions ---------------------------------------------------------------------

CREATE TABLE _taskex.fitness (
    name text PRIMARY KEY COLLATE "C",
    weights jsonb NOT NULL,
    changed_at timestamptz NOT NULL
);
COMMENT ON TABLE _taskex.fitness IS 'Fitness functions that operators have made; "default", where it is not here, is built in.';
SELECT pg_catalog.pg_extension_config_dump('_taskex.fitness', '');

CREATE FUNCTION _taskex.default_weights() RETURNS jsonb
    LANGUAGE sql IMMUTABLE AS 'SELECT jsonb_object_agg(b.name, b.weight) FROM _taskex.builtin_factors() b WHERE b.weight > 0';
COMMENT ON FUNCTION _taskex.default_weights() IS 'The weights of the fitness function "default" as long as nobody sets others.';

CREATE FUNCTION _taskex.fitness_weights(fitness text) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    weights jsonb;
BEGIN
    IF fitness IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'the name of a fitness function must not be null';
    END IF;
    SELECT f.weights INTO weights FROM _taskex.fitness f WHERE f.name = fitness;
    IF weights IS NULL THEN
        IF fitness <> 'default' THEN
            PERFORM _taskex.fail('unknown_fitness', format('fitness function "%s" does not exist', fitness), NULL,
                'The view taskex.fitnesses lists them; taskex.set_fitness() makes one.');
        END IF;
        weights := _taskex.default_weights();
    END IF;
    RETURN weights;
END $$;
COMMENT ON FUNCTION _taskex.fitness_weights(text) IS 'The weights of a fitness function, or the error unknown_fitness.';

CREATE FUNCTION taskex.set_fitness(name text, weights jsonb)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    k text;
    v jsonb;
BEGIN
    IF name IS NULL OR weights IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'name and weights must not be null';
    END IF;
    PERFORM _taskex.check_text(name, 'the name of a fitness function', 63);
    IF jsonb_typeof(weights) <> 'object' THEN
        PERFORM _taskex.bad_value('weights must be a JSON object', NULL, 'Its keys are factors, its values their weights: {"cpu": 2, "location": 1}.');
    END IF;
    FOR k, v IN SELECT * FROM jsonb_each(weights) LOOP
        IF NOT EXISTS (SELECT FROM _taskex.builtin_factors() b WHERE b.name = k) THEN
            PERFORM FROM _taskex.factor f WHERE f.name = k FOR SHARE;
            IF NOT FOUND THEN
                PERFORM _taskex.fail('unknown_factor', format('factor "%s" does not exist', left(k, 60)), NULL,
                    'The view taskex.factors lists them; taskex.add_factor() adds one.');
            END IF;
        END IF;
        IF jsonb_typeof(v) <> 'number' OR NOT (v #>> '{}')::numeric BETWEEN 0 AND 1e6 THEN
            PERFORM _taskex.bad_value(format('the weight of factor "%s" must be a number between 0 and 1000000', k));
        END IF;
    END LOOP;
    weights := coalesce((SELECT jsonb_object_agg(e.key, e.value) FROM jsonb_each(weights) e WHERE (e.value #>> '{}')::float8 > 0), '{}');
    IF weights = '{}' THEN
        PERFORM _taskex.bad_value('a fitness function must have a factor with a weight above 0');
    END IF;
    INSERT INTO _taskex.fitness VALUES (name, weights, _taskex.now())
        ON CONFLICT ON CONSTRAINT fitness_pkey DO UPDATE SET weights = excluded.weights, changed_at = excluded.changed_at;
END $$;
COMMENT ON FUNCTION taskex.set_fitness(text, jsonb) IS
'Makes a fitness function, or gives one other weights. name: 1 to 63 bytes; "default" is used where none is named, and by the
placement of new users. weights: {factor: weight}, weights from 0 to 1000000, at least one above 0; only their proportions matter.
Errors: unknown_factor (TX511), invalid_parameter_value (22023). Operators only.';

CREATE FUNCTION taskex.drop_fitness(name text)
    RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF name IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'the name of a fitness function must not be null';
    END IF;
    DELETE FROM _taskex.fitness f WHERE f.name = drop_fitness.name;
    IF NOT FOUND AND name <> 'default' THEN
        PERFORM _taskex.fitness_weights(name);
    END IF;
END $$;
COMMENT ON FUNCTION taskex.drop_fitness(text) IS
'Drops a fitness function; "default" gets back the weights that are built in. Errors: unknown_fitness (TX510). Operators only.';

CREATE VIEW taskex.fitnesses AS
    SELECT f.name, f.weights, false AS built_in, f.changed_at FROM _taskex.fitness f
    UNION ALL
    SELECT 'default', (SELECT jsonb_object_agg(b.name, b.weight) FROM _taskex.builtin_factors() b WHERE b.weight > 0), true, NULL WHERE NOT EXISTS (SELECT FROM _taskex.fitness f WHERE f.name = 'default');
COMMENT ON VIEW taskex.fitnesses IS 'Fitness functions and their weights. Operators only.';

-- affinity --------------------------------------------------------------------------------

-- with whom he has dealt in four weeks, by where they live; shares of 1
CREATE FUNCTION _taskex.dealings(user_id bigint) RETURNS TABLE (partition_id int, share float8)
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    since timestamptz := _taskex.now() - interval '28 days';
BEGIN
    RETURN QUERY EXECUTE format(
        'SELECT d.partition_id, (sum(w.n) / sum(sum(w.n)) OVER ())::float8 FROM ('
        ' SELECT w.performer_id AS other, w.submitted::float8 AS n FROM _taskex.working_%s w WHERE w.requester_id = $1 AND w.last_at > $2'
        ' UNION ALL'
        ' SELECT a.requester_id, sum(a.done) FROM _taskex.appeal a WHERE a.whose = $3 AND a.requester_id <> 0 AND a.at > $2 GROUP BY 1'
        ') w JOIN _taskex.directory d ON d.user_id = w.other WHERE w.n > 0 GROUP BY 1', _taskex.home(user_id))
        USING user_id, since, 'u:' || user_id;
END $$;
COMMENT ON FUNCTION _taskex.dealings(bigint) IS 'With whom a user has dealt in four weeks, by storage partition; shares of 1.';

-- what users do of task types: results that performers submitted, and that requesters were given
CREATE VIEW _taskex.doing AS
    SELECT k.partition_id, k.performer_id AS user_id, k.task_type_id, k.approved::float8 AS n, k.standing_partition_id FROM _taskex.skill k
    UNION ALL
    SELECT g.partition_id, g.requester_id, g.task_type_id, g.submitted, g.partition_id FROM _taskex.progress g
    WHERE g.task_type_id > 0 AND g.submitted > 0 AND g.last_at > _taskex.now() - interval '28 days';
COMMENT ON VIEW _taskex.doing IS 'What performers and requesters have done of late, by task type.';

CREATE FUNCTION _taskex.readable_doing() RETURNS SETOF _taskex.doing
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM _taskex.unreadable_partitions()) THEN
        -- planned for these partitions alone, each time
        RETURN QUERY EXECUTE 'SELECT * FROM _taskex.doing d WHERE d.partition_id = ANY ($1) AND d.standing_partition_id = ANY ($1)'
            USING _taskex.readable_partitions();
    ELSE
        RETURN QUERY SELECT * FROM _taskex.doing;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.readable_doing() IS 'The same, of those who live where it can be read.';

-- where his task types are done and supplied by others; 0 to 1
CREATE FUNCTION _taskex.common_types(user_id bigint) RETURNS TABLE (partition_id int, share float8)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH doing AS MATERIALIZED (
        SELECT d.* FROM _taskex.readable_doing() d
    ), mine AS (
        SELECT d.task_type_id, sum(d.n) / sum(sum(d.n)) OVER () AS share FROM doing d WHERE d.user_id = $1 GROUP BY 1
    ), place AS (
        SELECT d.task_type_id, d.partition_id, sum(d.n) / sum(sum(d.n)) OVER (PARTITION BY d.task_type_id) AS share
        FROM doing d WHERE d.user_id <> $1 AND d.task_type_id IN (SELECT m.task_type_id FROM mine m) GROUP BY 1, 2
    )
    SELECT p.partition_id, sum(m.share * p.share)::float8 FROM mine m JOIN place p USING (task_type_id) GROUP BY 1
$$;
COMMENT ON FUNCTION _taskex.common_types(bigint) IS 'How much of a user''s task types is done and supplied by others, by storage partition.';

-- The types that his profile names, else those that users do who share an attribute of
-- taskex.supply_alike with him; and where tasks of these types are supplied.
CREATE FUNCTION _taskex.expected_types(profile jsonb) RETURNS TABLE (task_type_id bigint, share float8)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH named AS (
        SELECT DISTINCT (t #>> '{}')::bigint AS task_type_id
        FROM jsonb_array_elements(CASE WHEN jsonb_typeof($1 #> '{expected,task_types}') = 'array' THEN $1 #> '{expected,task_types}' END) t
    ), alike AS (
        SELECT a.task_type_id, sum(a.done) AS done
        FROM unnest(regexp_split_to_array(btrim(current_setting('taskex.supply_alike')), '\s*,\s*')) k
            JOIN _taskex.appeal a ON a.whose = left(k || ':' || ($1 ->> k), 200)
        WHERE jsonb_typeof($1 -> k) IN ('string', 'number', 'boolean') AND a.requester_id = 0
            AND NOT EXISTS (SELECT FROM named)
        GROUP BY 1 HAVING sum(a.done) > 0 ORDER BY 2 DESC LIMIT 20
    )
    SELECT n.task_type_id, 1.0 / count(*) OVER () FROM named n
    UNION ALL
    SELECT a.task_type_id, a.done / sum(a.done) OVER () FROM alike a
$$;
COMMENT ON FUNCTION _taskex.expected_types(jsonb) IS 'The task types that a user with this profile is expected to do; shares of 1.';

CREATE FUNCTION _taskex.expected_places(profile jsonb) RETURNS TABLE (partition_id int, share float8)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.partition_id, sum(s.share)::float8 FROM (
        SELECT d.partition_id, e.share * sum(c.slots - c.used) / sum(sum(c.slots - c.used)) OVER (PARTITION BY e.task_type_id) AS share
        FROM _taskex.expected_types($1) e JOIN _taskex.catalogue c USING (task_type_id)
            JOIN _taskex.directory d ON d.user_id = c.requester_id
        WHERE c.slots > c.used GROUP BY d.partition_id, e.task_type_id, e.share) s
    GROUP BY 1
$$;
COMMENT ON FUNCTION _taskex.expected_places(jsonb) IS 'Where tasks are supplied of the types that a user with this profile is expected to do; shares of 1.';

-- "48.2,16.37": degrees north and east
CREATE FUNCTION _taskex.nearness(here text, there text) RETURNS float8
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    a text[] := regexp_match(here, '^\s*(-?\d{1,3}(?:\.\d{1,12})?)\s*,\s*(-?\d{1,3}(?:\.\d{1,12})?)\s*$');
    b text[] := regexp_match(there, '^\s*(-?\d{1,3}(?:\.\d{1,12})?)\s*,\s*(-?\d{1,3}(?:\.\d{1,12})?)\s*$');
BEGIN
    IF here IS NULL THEN
        RETURN NULL;
    ELSIF there IS NULL THEN
        RETURN 0.5;
    ELSIF a IS NULL OR b IS NULL THEN
        RETURN CASE WHEN here = there THEN 1 ELSE 0 END;
    END IF;
    -- the haversine formula on a sphere of 6,371 km
    RETURN 500 / (500 + 2 * 6371 * asin(least(1, sqrt(sind((b[1]::float8 - a[1]::float8) / 2) ^ 2
        + cosd(a[1]::float8) * cosd(b[1]::float8) * sind((b[2]::float8 - a[2]::float8) / 2) ^ 2))));
END $$;
COMMENT ON FUNCTION _taskex.nearness(text, text) IS
'How near a partition''s location is to a user''s, 0 to 1; NULL if he has none. Two "latitude,longitude" are compared by their distance,
other ones by equality.';

-- scores -----------------------------------------------------------------------------------

CREATE FUNCTION _taskex.partition_users(OUT partition_id int, OUT users bigint) RETURNS SETOF record
    LANGUAGE C VOLATILE AS 'MODULE_PATHNAME', 'taskex_partition_users';
COMMENT ON FUNCTION _taskex.partition_users() IS 'How many users live on each storage partition, out of shared memory.';

CREATE FUNCTION _taskex.required(profile jsonb, what text) RETURNS boolean
    LANGUAGE sql IMMUTABLE AS $$ SELECT CASE WHEN jsonb_typeof($1 -> 'required') = 'array' THEN $1 -> 'required' ? $2 ELSE false END $$;
COMMENT ON FUNCTION _taskex.required(jsonb, text) IS 'Does the profile require that a partition has this, tier, location or storage_class?';

-- user_id and home: NULL for one who is not there yet. A factor of which nothing is known for
-- him is NULL everywhere, and does not count.
-- One plan is kept for all users: making one takes longer than running it, and compiling it, or
-- what it calls (taskex.propose_moves), seconds.
CREATE FUNCTION _taskex.score(login text, user_id bigint, home int, profile jsonb, weights jsonb)
    RETURNS TABLE (partition_id int, partition text, score float8, factors jsonb, excluded text[])
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    mine float8[] := coalesce(CASE WHEN user_id IS NOT NULL THEN _taskex.user_demand(user_id) END,
        _taskex.expected_demand(profile -> 'expected'), _taskex.no_demand());
    hot jsonb := '{}';
    deals jsonb;
    types jsonb;
    wanted jsonb;
    here boolean := home IS NULL OR _taskex.readable(home);
BEGIN
    IF weights ? 'dealings' AND user_id IS NOT NULL AND here THEN
        deals := (SELECT jsonb_object_agg(d.partition_id, d.share) FROM _taskex.dealings(user_id) d);
    END IF;
    IF weights ? 'task_types' AND user_id IS NOT NULL THEN
        types := (SELECT jsonb_object_agg(c.partition_id, c.share) FROM _taskex.common_types(user_id) c);
    END IF;
    IF weights ? 'expected' THEN
        wanted := (SELECT jsonb_object_agg(e.partition_id, e.share) FROM _taskex.expected_places(profile) e);
    END IF;
    IF weights ? 'hot_spots' AND user_id IS NOT NULL THEN
        hot := (SELECT jsonb_object_agg(m.target, 1) FROM taskex.propose_moves(1000) m WHERE m.login = score.login);
    END IF;
    RETURN QUERY
    WITH place AS MATERIALIZED (
        SELECT p.*, coalesce(u.users, 0) AS users, d.demand, _taskex.demand_peaks(d.demand, mine, CASE WHEN p.partition_id = home THEN 0 ELSE 1 END) AS peaks
        FROM _taskex.place p LEFT JOIN _taskex.partition_users() u USING (partition_id)
            LEFT JOIN _taskex.partition_loads() l USING (partition_id)
            CROSS JOIN LATERAL (SELECT CASE WHEN l.partition_id IS NULL THEN _taskex.no_demand() ELSE
                _taskex.demand(l.stored_bytes, l.cpu_us, l.blocks_hit, l.blocks_read, l.blocks_written, l.wal_bytes) END AS demand) d
    ), usual AS (
        SELECT ARRAY(SELECT avg(p.peaks[i]) FROM place p, generate_series(1, 5) i WHERE p.node_id = 0 AND p.active GROUP BY i ORDER BY i) AS peaks,
            (SELECT avg(p.users)::float8 FROM place p WHERE p.node_id = 0 AND p.active) AS users
    ), plain AS (
        SELECT p.partition_id, p.name, f.* FROM place p CROSS JOIN usual u CROSS JOIN LATERAL (
            SELECT r AS factor, CASE WHEN p.capacities[i] > 0 THEN greatest(1 - p.peaks[i] / p.capacities[i], 0)
                WHEN u.peaks[i] > 0 THEN greatest(1 - p.peaks[i] / (2 * u.peaks[i]), 0) ELSE 1 END AS value
                FROM unnest(_taskex.resources()) WITH ORDINALITY x (r, i) WHERE weights ? r
            UNION ALL SELECT 'users', CASE WHEN u.users > 0 THEN greatest(1 - p.users / (2 * u.users), 0) ELSE 1 END
            UNION ALL SELECT 'tier', CASE WHEN p.tier = coalesce(profile ->> 'tier', 'standard') THEN 1 ELSE 0 END
            UNION ALL SELECT 'location', CASE WHEN weights ? 'location' THEN _taskex.nearness(profile ->> 'location', p.location) END
            UNION ALL SELECT 'storage_class', CASE WHEN p.storage_class = profile ->> 'storage_class' THEN 1 WHEN profile ? 'storage_class' THEN 0 END
            UNION ALL SELECT 'dealings', CASE WHEN deals IS NOT NULL THEN coalesce((deals ->> p.partition_id::text)::float8, 0) END
            UNION ALL SELECT 'task_types', CASE WHEN types IS NOT NULL THEN coalesce((types ->> p.partition_id::text)::float8, 0) END
            UNION ALL SELECT 'expected', CASE WHEN wanted IS NOT NULL THEN coalesce((wanted ->> p.partition_id::text)::float8, 0) END
            UNION ALL SELECT 'hot_spots', CASE WHEN hot <> '{}' THEN CASE WHEN hot ? p.name THEN 1 ELSE 0 END END
            UNION ALL SELECT 'similar', CASE WHEN weights ? 'similar' AND _taskex.demand_likeness(mine, mine, 1) IS NOT NULL
                THEN (1 + coalesce(_taskex.demand_likeness(mine, p.demand, CASE WHEN p.partition_id = home THEN -1 ELSE 1 END), 0)) / 2 END
            UNION ALL SELECT 'complementary', CASE WHEN weights ? 'complementary' AND _taskex.demand_likeness(mine, mine, 1) IS NOT NULL
                THEN (1 - coalesce(_taskex.demand_likeness(mine, p.demand, CASE WHEN p.partition_id = home THEN -1 ELSE 1 END), 0)) / 2 END
            UNION ALL SELECT 'move_cost', CASE WHEN p.partition_id = home THEN 1 WHEN home IS NOT NULL THEN 67108864 / (67108864 + greatest(mine[97], 0)) END
            UNION ALL SELECT c.name, _taskex.call_factor(coalesce(to_regprocedure(c.function), 0::regprocedure), login, p.name) FROM _taskex.factor c WHERE weights ? c.name) f
        WHERE weights ? f.factor AND f.value IS NOT NULL
    ), weighed AS (
        SELECT f.partition_id, sum(f.value * (weights ->> f.factor)::float8) / sum((weights ->> f.factor)::float8) AS score,
            jsonb_object_agg(f.factor, jsonb_build_object('value', round(f.value::numeric, 4),
                'weight', round(((weights ->> f.factor)::float8 / f.all_weights)::numeric, 4))) AS factors
        FROM (SELECT f.*, sum((weights ->> f.factor)::float8) OVER (PARTITION BY f.partition_id) AS all_weights FROM plain f) f GROUP BY 1
    ), barred AS (
        SELECT p.partition_id, array_remove(ARRAY[
            CASE WHEN NOT here THEN 'home' END,
            CASE WHEN NOT p.can_be_read THEN 'unreadable' WHEN NOT p.active THEN 'state' END,
            CASE WHEN p.node_id <> 0 THEN 'node' END,
            CASE WHEN p.partition_id IS DISTINCT FROM home AND (p.users >= p.max_users
                OR EXISTS (SELECT FROM generate_series(1, 5) i WHERE p.capacities[i] > 0 AND p.peaks[i] > p.capacities[i]))
                THEN 'capacity' END,
            CASE WHEN p.tier <> profile ->> 'tier' OR (p.reserved AND profile ->> 'tier' IS NULL) THEN 'tier' END,
            CASE WHEN _taskex.required(profile, 'location') AND _taskex.nearness(profile ->> 'location', p.location) <= 0.5 THEN 'location' END,
            CASE WHEN _taskex.required(profile, 'storage_class') AND p.storage_class <> profile ->> 'storage_class' THEN 'storage_class' END
            ], NULL) AS excluded FROM place p
    )
    SELECT p.partition_id, p.name, CASE WHEN b.excluded = '{}' THEN coalesce(w.score, 0) END, coalesce(w.factors, '{}'), b.excluded
    FROM place p JOIN barred b USING (partition_id) LEFT JOIN weighed w USING (partition_id)
    ORDER BY 3 DESC NULLS LAST, p.users, p.partition_id;
END $$;
COMMENT ON FUNCTION _taskex.score(text, bigint, int, jsonb, jsonb) IS 'Body of taskex.score_partitions(), also for users who are not registered yet.';

CREATE FUNCTION _taskex.profile_of(user_id bigint) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    home int := (SELECT d.partition_id FROM _taskex.directory d JOIN _taskex.partition p USING (partition_id)
        WHERE d.user_id = profile_of.user_id AND p.node_id = 0);
    profile jsonb;
BEGIN
    IF _taskex.readable(home) THEN
        -- the child alone: a plan of the parent looks at the files of all
        EXECUTE format('SELECT f.profile FROM _taskex.profile_%s f WHERE f.user_id = $1', home) INTO profile USING user_id;
    END IF;
    RETURN profile;
END $$;
COMMENT ON FUNCTION _taskex.profile_of(bigint) IS 'The profile of a user; NULL while the storage partition where he lives cannot be read, or if it is on another node.';

CREATE FUNCTION taskex.score_partitions(login text, fitness text = 'default')
    RETURNS TABLE (partition text, score float8, factors jsonb)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
    weights jsonb := _taskex.fitness_weights(fitness);
    id bigint := _taskex.user_id(login);
BEGIN
    RETURN QUERY SELECT s.partition, s.score,
            s.factors || CASE WHEN s.excluded <> '{}' THEN jsonb_build_object('excluded', to_jsonb(s.excluded)) ELSE '{}' END
        FROM _taskex.score(login, id, (SELECT d.partition_id FROM _taskex.directory d WHERE d.user_id = id), _taskex.profile_of(id), weights) s;
END $$;
COMMENT ON FUNCTION taskex.score_partitions(text, text) IS
'How well a user would live on each storage partition, the best first. score: 0 to 1, the weighted mean of the factors; NULL
where he cannot live. factors: of each factor its value (0 to 1) and its weight (they add up to 1); "excluded": why he cannot live there
(state, node, capacity, tier, location, storage_class; unreadable: its files cannot be read; home: those of his present home cannot, so that
he cannot be moved, and what is known of him only there does not count). fitness: a fitness function. A factor of which nothing is known for him is left out everywhere.
Errors: unknown_user (TX001), unknown_fitness (TX510), factor_failed (TX512). Operators only.';

CREATE VIEW taskex.placement_scores AS
    SELECT d.login, h.name::text AS home, s.partition, s.score, s.factors
    FROM _taskex.directory d JOIN _taskex.partition h USING (partition_id) CROSS JOIN LATERAL taskex.score_partitions(d.login) s;
COMMENT ON VIEW taskex.placement_scores IS
'taskex.score_partitions() with the fitness function "default" of each user, beside where he lives; to be asked with a condition on
login. Operators only.';

-- placement -----------------------------------------------------------------------------------

CREATE FUNCTION _taskex.best_partition(user_id bigint, fitness text = 'default') RETURNS int
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
    SELECT s.partition_id FROM _taskex.directory d,
        LATERAL _taskex.score(d.login, d.user_id, d.partition_id, _taskex.profile_of(d.user_id), _taskex.fitness_weights($2)) s
    WHERE d.user_id = $1 AND s.excluded = '{}' ORDER BY s.score DESC, s.partition_id = d.partition_id DESC, s.partition_id LIMIT 1
$$;
COMMENT ON FUNCTION _taskex.best_partition(bigint, text) IS 'Where a user would live best; NULL if he can live nowhere.';

CREATE FUNCTION _taskex.place_user(login text, profile jsonb) RETURNS int
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    best record;
BEGIN
    SELECT s.partition_id, s.excluded INTO best
        FROM _taskex.score(login, NULL, NULL, profile, _taskex.fitness_weights('default')) s LIMIT 1;
    IF best.excluded <> '{}' THEN
        PERFORM _taskex.fail('no_suitable_partition', format('no storage partition suits user "%s"', login),
            (SELECT string_agg(format('%s: %s', e.reason, e.n), ', ' ORDER BY e.n DESC, e.reason) || ' partitions excluded.'
                FROM (SELECT r.reason, count(*) AS n FROM _taskex.score(login, NULL, NULL, profile, '{}') s, unnest(s.excluded) r (reason)
                    GROUP BY 1) e),
            'Add a suitable one with taskex.add_partition(), or name the partition when registering the user.');
    END IF;
    RETURN best.partition_id;
END $$;
COMMENT ON FUNCTION _taskex.place_user(text, jsonb) IS
'Where a new user is to live whose profile says something about it; NULL where there is no partition. Errors: no_suitable_partition (TX513).';
