-- rebalance.sql: plans that improve where users live, and carrying them out. Pairs with
-- src/placement.

-- Everything that a plan looks at, in arrays: users and partitions are numbers, in the order
-- of their ids.
CREATE FUNCTION _taskex.resting_users() RETURNS TABLE (user_id bigint)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT DISTINCT m.user_id FROM _taskex.migration m
    WHERE m.finished_at IS NULL
        OR m.switched_at > _taskex.now() - make_interval(secs => extract(epoch FROM current_setting('taskex.rebalance_cooldown')::interval))
$$;
COMMENT ON FUNCTION _taskex.resting_users() IS 'Users who are being moved, or were within taskex.rebalance_cooldown.';

CREATE FUNCTION _taskex.plan_moves(homes int[], demands float8[], fixed boolean[], open boolean[], capacities float8[], weights float8[],
        classes int[], class_fits float8[], pair_users int[], pair_partitions int[], pair_fits float8[], costs float8[],
        load_weight float8, start float8, target float8, least_gain float8, max_moves int)
    RETURNS TABLE (step int, user_number int, source int, target_number int, reason text, resource text, hour int,
        before float8, after float8, fit float8, gain float8)
    LANGUAGE C IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'taskex_plan_moves';
COMMENT ON FUNCTION _taskex.plan_moves(int[], float8[], boolean[], boolean[], float8[], float8[], int[], float8[], int[], int[], float8[],
        float8[], float8, float8, float8, float8, int) IS
'The planner (src/placement/balance.h): a function of its arguments alone. homes: a partition''s number for each user; demands:
a demand for each; fixed: who may not be moved. open, capacities (0: not known): of the partitions. weights: of the resources.
classes, class_fits: the fit of users by class and partition; pairs: fits that come on top; costs: what a move costs of fit.';

CREATE FUNCTION _taskex.pair_fits(weights jsonb) RETURNS TABLE (user_id bigint, partition_id int, fit float8)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    since timestamptz := _taskex.now() - interval '28 days';
    readable int[] := _taskex.readable_partitions();
BEGIN
    IF weights ? 'dealings' THEN
        RETURN QUERY
        SELECT w.user_id, w.partition_id, (weights ->> 'dealings')::float8 * sum(w.n) / sum(sum(w.n)) OVER (PARTITION BY w.user_id) FROM (
            SELECT w.requester_id AS user_id, d.partition_id, w.submitted::float8 AS n FROM _taskex.working w
                JOIN _taskex.directory d ON d.user_id = w.performer_id WHERE w.partition_id = ANY (readable) AND w.last_at > since AND w.submitted > 0
            UNION ALL
            SELECT w.performer_id, w.partition_id, w.submitted FROM _taskex.working w
                WHERE w.partition_id = ANY (readable) AND w.last_at > since AND w.submitted > 0) w
        GROUP BY 1, 2;
    END IF;
    IF weights ? 'task_types' THEN
        -- the three main types of a user, the four main places of a type
        RETURN QUERY
        WITH doing AS MATERIALIZED (
            SELECT d.* FROM _taskex.doing d WHERE d.partition_id = ANY (readable) AND d.standing_partition_id = ANY (readable)
        ), total AS (
            SELECT d.task_type_id, sum(d.n) AS n FROM doing d GROUP BY 1
        ), place AS (
            SELECT * FROM (SELECT d.task_type_id, d.partition_id, sum(d.n) AS n,
                    row_number() OVER (PARTITION BY d.task_type_id ORDER BY sum(d.n) DESC, d.partition_id) AS rank
                FROM doing d GROUP BY 1, 2) p WHERE p.rank <= 4
        ), mine AS (
            SELECT * FROM (SELECT d.user_id, d.partition_id, d.task_type_id, sum(d.n) AS n, sum(sum(d.n)) OVER (PARTITION BY d.user_id) AS all_n,
                    row_number() OVER (PARTITION BY d.user_id ORDER BY sum(d.n) DESC, d.task_type_id) AS rank
                FROM doing d GROUP BY 1, 2, 3) m WHERE m.rank <= 3
        )
        SELECT m.user_id, p.partition_id, (weights ->> 'task_types')::float8 * sum(m.n / m.all_n
                * (p.n - CASE WHEN p.partition_id = m.partition_id THEN m.n ELSE 0 END) / (t.n - m.n))::float8
            FROM mine m JOIN place p USING (task_type_id) JOIN total t USING (task_type_id) WHERE t.n > m.n GROUP BY 1, 2;
    END IF;
    IF weights ? 'hot_spots' THEN
        RETURN QUERY SELECT d.user_id, p.partition_id, (weights ->> 'hot_spots')::float8 FROM taskex.propose_moves(1000) m
            JOIN _taskex.directory d USING (login) JOIN _taskex.partition p ON p.name = m.target;
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.pair_fits(jsonb) IS 'The fit of users on partitions where it is not 0, of the factors dealings, task_types and hot_spots.';

-- Factors that must be asked for each user and partition.
CREATE FUNCTION _taskex.slow_fits(weights jsonb) RETURNS TABLE (user_id bigint, partition_id int, fit float8)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    readable int[] := _taskex.readable_partitions();
BEGIN
    RETURN QUERY SELECT d.user_id, p.partition_id, (weights ->> c.name)::float8 * _taskex.call_factor(coalesce(to_regprocedure(c.function), 0::regprocedure), d.login, p.name)
        FROM _taskex.factor c, _taskex.directory d, _taskex.place p
        WHERE weights ? c.name AND p.active AND p.node_id = 0 AND d.partition_id = ANY (readable);
    IF weights ? 'similar' THEN
        RETURN QUERY
        WITH demand AS MATERIALIZED (
            SELECT l.user_id, l.partition_id, _taskex.demand(l.stored_bytes, l.cpu_us, l.blocks_hit, l.blocks_read, l.blocks_written, l.wal_bytes) AS demand
            FROM _taskex.user_loads() l
        ), place AS MATERIALIZED (
            SELECT d.partition_id, _taskex.demand_sum(d.demand) AS demand FROM demand d GROUP BY 1
        )
        SELECT d.user_id, p.partition_id, (weights ->> 'similar')::float8
            * (1 + coalesce(_taskex.demand_likeness(d.demand, p.demand, CASE WHEN p.partition_id = d.partition_id THEN -1 ELSE 1 END), 0)) / 2
        FROM demand d, place p;
    END IF;
    IF weights ? 'expected' THEN
        RETURN QUERY SELECT f.user_id, e.partition_id, (weights ->> 'expected')::float8 * e.share
            FROM _taskex.profile f, LATERAL _taskex.expected_places(f.profile) e WHERE f.partition_id = ANY (readable) AND jsonb_typeof(f.profile #> '{expected,task_types}') = 'array';
    END IF;
END $$;
COMMENT ON FUNCTION _taskex.slow_fits(jsonb) IS 'The same of factors that are asked for each user and partition: those added by operators, and similar; and of expected types.';

CREATE FUNCTION taskex.plan_rebalance(fitness text = 'default', max_moves int = 10)
    RETURNS TABLE (login text, source text, target text, gain float8, reason text, step int)
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    weights jsonb := _taskex.fitness_weights(fitness);
    readable int[] := _taskex.readable_partitions();
    all_weights float8 := (SELECT sum(w.value::float8) FROM jsonb_each_text(weights) w);
    load_names text[] := _taskex.resources() || '{users,complementary}'::text[];
    load_weight float8 := (SELECT coalesce(sum(w.value::float8), 0) FROM jsonb_each_text(weights) w WHERE w.key = ANY (load_names));
    a record;
    q record;
BEGIN
    IF max_moves IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'max_moves must not be null';
    END IF;
    PERFORM _taskex.check_range('max_moves', max_moves, 1, 1000000);
    -- partitions: those of this node, also those that take nobody; from one that cannot be read nobody can be moved
    SELECT array_agg(p.partition_id ORDER BY p.partition_id) AS ids, array_agg(p.name ORDER BY p.partition_id) AS names,
            array_agg(p.active ORDER BY p.partition_id) AS open, array_agg(p.capacities ORDER BY p.partition_id) AS capacities
        INTO q FROM _taskex.place p WHERE p.node_id = 0 AND p.partition_id = ANY (readable);
    IF q.ids IS NULL THEN
        RETURN;
    END IF;
    WITH fits AS MATERIALIZED (
        SELECT * FROM _taskex.pair_fits(weights) UNION ALL SELECT * FROM _taskex.slow_fits(weights)
    ), users AS MATERIALIZED (
        -- by what they ask for, and what they need
        SELECT row_number() OVER (ORDER BY d.user_id)::int AS number, d.user_id, d.login, array_position(q.ids, d.partition_id) AS home,
            coalesce(_taskex.demand(l.stored_bytes, l.cpu_us, l.blocks_hit, l.blocks_read, l.blocks_written, l.wal_bytes),
                _taskex.expected_demand(f.profile -> 'expected'), _taskex.no_demand()) AS demand,
            coalesce(l.stored_bytes, 0) AS bytes, r.user_id IS NOT NULL OR d.login LIKE 'anonymous:%' AS fixed,
            jsonb_strip_nulls(jsonb_build_object('tier', f.tier, 'location', f.location, 'storage_class', f.profile -> 'storage_class',
                'required', f.profile -> 'required')) AS wishes
        FROM _taskex.directory d
            LEFT JOIN _taskex.user_loads() l ON l.user_id = d.user_id
            LEFT JOIN _taskex.profile f ON f.partition_id = ANY (q.ids) AND f.partition_id = d.partition_id AND f.user_id = d.user_id
            LEFT JOIN _taskex.resting_users() r ON r.user_id = d.user_id
        WHERE d.partition_id = ANY (q.ids)
    ), classes AS MATERIALIZED (
        SELECT w.wishes, row_number() OVER (ORDER BY w.wishes)::int AS class FROM (SELECT DISTINCT u.wishes FROM users u) w
    ), numbered AS (
        SELECT array_agg(u.login ORDER BY u.number) AS logins, array_agg(u.home ORDER BY u.number) AS homes,
            array_agg(u.demand ORDER BY u.number) AS demands, array_agg(u.fixed ORDER BY u.number) AS fixed,
            array_agg(k.class ORDER BY u.number) AS classes,
            array_agg(coalesce((weights ->> 'move_cost')::float8 / all_weights * (1 - 67108864 / (67108864 + u.bytes)), 0) ORDER BY u.number) AS costs
        FROM users u JOIN classes k USING (wishes)
    ), fitting AS (
        -- how each class fits on each partition
        SELECT array_agg(CASE WHEN p.tier <> k.wishes ->> 'tier' OR (p.reserved AND k.wishes ->> 'tier' IS NULL)
                    OR (_taskex.required(k.wishes, 'location') AND n.nearness <= 0.5)
                    OR (_taskex.required(k.wishes, 'storage_class') AND p.storage_class <> k.wishes ->> 'storage_class') THEN '-Infinity'
                ELSE (coalesce((weights ->> 'tier')::float8 * (p.tier = coalesce(k.wishes ->> 'tier', 'standard'))::int, 0)
                    + coalesce((weights ->> 'location')::float8 * n.nearness, 0)
                    + coalesce((weights ->> 'storage_class')::float8 * (p.storage_class = k.wishes ->> 'storage_class')::int, 0)) / all_weights END
                ORDER BY k.class, p.partition_id) AS class_fits
        FROM classes k, _taskex.place p CROSS JOIN LATERAL (SELECT _taskex.nearness(k.wishes ->> 'location', p.location) AS nearness) n
        WHERE p.partition_id = ANY (q.ids)
    ), paired AS (
        SELECT coalesce(array_agg(u.number), '{}') AS pair_users, coalesce(array_agg(array_position(q.ids, f.partition_id)), '{}') AS pair_partitions,
            coalesce(array_agg(f.fit / all_weights), '{}') AS pair_fits
        FROM fits f JOIN users u USING (user_id) WHERE f.partition_id = ANY (q.ids)
    )
    SELECT * INTO a FROM numbered, fitting, paired;
    IF a.homes IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT a.logins[m.user_number], q.names[m.source], q.names[m.target_number], m.gain,
        CASE m.reason
            WHEN 'must' THEN format('he cannot stay on %s', q.names[m.source])
            WHEN 'fit' THEN format('fits better on %s, by %s', q.names[m.target_number], round(m.fit::numeric, 3))
            WHEN 'spread' THEN format('spreads the load of %s and %s more evenly', q.names[m.source], q.names[m.target_number])
            ELSE format('%s%s: peak %s of the least possible, then %s', m.resource, ' at ' || lpad(m.hour::text, 2, '0') || ':00 UTC',
                round(m.before::numeric, 3), round(m.after::numeric, 3)) || CASE WHEN m.reason = 'together' THEN '; with the others of the step' ELSE '' END
        END, m.step
    FROM _taskex.plan_moves(a.homes, a.demands, a.fixed, q.open, q.capacities,
        ARRAY(SELECT coalesce((weights ->> r)::float8, 0) FROM unnest(_taskex.resources()) WITH ORDINALITY x (r, i) ORDER BY i),
        a.classes, a.class_fits, a.pair_users, a.pair_partitions, a.pair_fits, a.costs, load_weight / all_weights,
        current_setting('taskex.rebalance_start')::float8, current_setting('taskex.rebalance_target')::float8,
        current_setting('taskex.rebalance_gain')::float8, max_moves) m
    ORDER BY m.step, m.user_number;
END $$;
COMMENT ON FUNCTION taskex.plan_rebalance(text, int) IS
'Moves of users between storage partitions of this node that improve the whole, in the order in which to make them; nothing is
moved. A function of what was measured: the same measurements give the same plan. fitness: a fitness function. max_moves: 1 to
1000000.
Result: who; from and to which partition; gain, in what the score of one average user may change; why; moves with the same step help
only together. After each step things are better: a peak hour''s load is lower, loads are spread more evenly, or users fit better.
Peaks are lowered if one exceeds an even share by more than taskex.rebalance_start, until they exceed the least possible by
taskex.rebalance_target. Who was moved within taskex.rebalance_cooldown stays, and so does who lives on a partition that cannot be read.
Errors: unknown_fitness (TX510), factor_failed (TX512), invalid_parameter_value (22023). Operators only.';

CREATE FUNCTION taskex.rebalance(fitness text = 'default', max_moves int = 10)
    RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    m record;
    queued int := 0;
BEGIN
    -- whatever the plan will be
    IF current_setting('transaction_read_only')::boolean THEN
        RAISE EXCEPTION USING ERRCODE = 'read_only_sql_transaction', MESSAGE = 'cannot execute taskex.rebalance() in a read-only transaction';
    END IF;
    -- two at once would make the same plan
    IF NOT _taskex.claim_job('rebalance') THEN
        RETURN 0;
    END IF;
    -- before what lies there is read: taskex.drop_partition() locks in this order
    LOCK TABLE _taskex.partition IN ROW SHARE MODE;
    FOR m IN SELECT * FROM taskex.plan_rebalance(fitness, max_moves) LOOP
        PERFORM _taskex.queue_migration(_taskex.user_id(m.login), _taskex.partition_id(m.target), left('rebalance: ' || m.reason, 200));
        queued := queued + 1;
    END LOOP;
    RETURN queued;
END $$;
COMMENT ON FUNCTION taskex.rebalance(text, int) IS
'Queues the moves of taskex.plan_rebalance(); the view taskex.migrations shows them. Result: how many; 0 also while another session does
the same. fitness, max_moves: as there. Errors: as there. Operators only.';

-- pg_cron --------------------------------------------------------------------------------------

CREATE FUNCTION taskex.schedule_rebalance(cron text, fitness text = 'default', max_moves int = 10)
    RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF cron IS NULL OR max_moves IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'cron and max_moves must not be null';
    END IF;
    PERFORM _taskex.check_range('max_moves', max_moves, 1, 1000000);
    PERFORM _taskex.fitness_weights(fitness);
    PERFORM _taskex.require_cron();
    RETURN _taskex.cron_schedule('taskex rebalance ' || fitness, cron, format('SELECT taskex.rebalance(%L, %s)', fitness, max_moves));
END $$;
COMMENT ON FUNCTION taskex.schedule_rebalance(text, text, int) IS
'Lets pg_cron call taskex.rebalance() at these times; one schedule for each fitness function, a second one takes the place of the first.
cron: as of pg_cron, in its time zone: ''0 3 * * *''. fitness, max_moves: of taskex.plan_rebalance(). Result: the id of the job, as in cron.job.
Errors: no_scheduler (TX514) where pg_cron is missing, unknown_fitness (TX510), invalid_parameter_value (22023). Operators only.';

CREATE FUNCTION taskex.unschedule_rebalance(fitness text = 'default')
    RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF fitness IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'null_value_not_allowed', MESSAGE = 'the name of a fitness function must not be null';
    END IF;
    PERFORM _taskex.require_cron();
    RETURN _taskex.cron_unschedule('taskex rebalance ' || fitness);
END $$;
COMMENT ON FUNCTION taskex.unschedule_rebalance(text) IS
'Ends what taskex.schedule_rebalance() began. fitness: the one that it was given. Result: whether there was such a schedule. Errors: no_scheduler (TX514). Operators only.';
