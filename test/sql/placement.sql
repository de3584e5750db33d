-- Fitness functions, scores, placement of new users, plans.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set regression :DBNAME
CREATE DATABASE regress_placement TEMPLATE template0;
\c regress_placement
SET client_min_messages = warning;
CREATE EXTENSION taskex;
CREATE ROLE regress_place_op;
GRANT taskex_admin TO regress_place_op;

-- capacity: known keys, numbers
SELECT taskex.add_partition('place_x', capacity => '{"disk": 5}');
SELECT taskex.add_partition('place_x', capacity => '{"storage": "5 GB"}');
SELECT taskex.add_partition('place_x', capacity => '{"cpu": 0}');
SELECT taskex.add_partition('place_x', tier => '');
SELECT taskex.add_node('place_x', capacity => '{"users": 5}');
SELECT taskex.alter_partition('place_none', '{}');
SELECT taskex.alter_node('place_none', '{}');

SELECT taskex.add_partition('place_1', capacity => '{"users": 1000}') AS p1 \gset
SELECT taskex.add_partition('place_2', tier => 'gold', location => '48.2,16.37') AS p2 \gset
SELECT taskex.add_partition('place_3', storage_class => 'hdd', location => '59.91,10.75') AS p3 \gset
SELECT taskex.add_partition('place_4', capacity => '{"storage": 1000000, "cpu": 2}') AS p4 \gset
SELECT taskex.alter_partition('place_1', '{"color": "red"}');
SELECT taskex.alter_partition('place_1', '{"tier": 1}');
SELECT taskex.alter_partition('place_1', '{"storage_class": null}');
SELECT taskex.alter_partition('place_1', '{"capacity": {"cpu": -1}}');
SELECT taskex.alter_partition('place_3', '{"tier": "silver"}');
SELECT taskex.alter_partition('place_3', '{"tier": null, "location": "59.91,10.75"}');
SELECT name, tier, location, storage_class, capacity FROM taskex.partitions WHERE name LIKE 'place_%' ORDER BY 1;
-- what a partition does not say itself is a share of what its node has left
SELECT taskex.alter_node('local', '{"capacity": {"cpu": 8, "io": 400}}');
SELECT count(*) AS n FROM _taskex.partition \gset
SELECT name, capacities[1] = CASE name WHEN 'place_4' THEN 2 ELSE 6.0 / (:n - 1) END AS cpu, capacities[3] = 400.0 / :n AS io, capacities[5]
FROM _taskex.place WHERE name LIKE 'place_%' ORDER BY 1;
SELECT taskex.alter_node('local', '{"capacity": {}}');

-- fitness functions
SELECT taskex.set_fitness('place', '{"cpu": 1, "speed": 1}');
SELECT taskex.set_fitness('place', '{"cpu": -1}');
SELECT taskex.set_fitness('place', '{"cpu": "much"}');
SELECT taskex.set_fitness('place', '{"cpu": 0}');
SELECT taskex.set_fitness('place', '[]');
SELECT taskex.set_fitness('', '{"cpu": 1}');
SELECT taskex.score_partitions('place_nobody');
SELECT taskex.drop_fitness('place');
SELECT taskex.plan_rebalance('place');
SELECT taskex.set_fitness('place', '{"tier": 3, "location": 1, "storage_class": 0}');
SELECT name, weights, built_in FROM taskex.fitnesses ORDER BY 1;

-- who is where
SELECT taskex.register_user('place_ann', '{"tier": "gold", "location": "48.21,16.4"}') > 0 AS registered;
SELECT taskex.register_user('place_bob', '{"location": "60,11", "required": ["location"], "storage_class": "hdd"}') > 0 AS registered;
SELECT taskex.register_user('place_cy', '{"storage_class": "hdd", "required": ["storage_class"]}') > 0 AS registered;
SELECT taskex.register_user('place_dan') > 0 AS registered;
SELECT login, partition FROM taskex.users WHERE login LIKE 'place_%' ORDER BY 1;
SELECT partition, round(score::numeric, 4) AS score, factors FROM taskex.score_partitions('place_ann', 'place') WHERE partition LIKE 'place_%';
SELECT partition, round(score::numeric, 4) AS score, factors->'excluded' AS excluded FROM taskex.score_partitions('place_bob', 'place') WHERE partition LIKE 'place_%' ORDER BY 1;
SELECT login, home, partition, factors->'excluded' AS excluded FROM taskex.placement_scores WHERE login = 'place_cy' ORDER BY 3;
-- nobody has what he asks for; what makes no sense
SELECT taskex.register_user('place_x', '{"tier": "platinum"}');
SELECT taskex.register_user('place_x', '{"expected": {"cpus": 4}}');
SELECT taskex.register_user('place_x', '{"expected": {"cpu": -4}}');
SELECT taskex.register_user('place_x', '{"expected": {"cpu": 100001}}');
SELECT taskex.register_user('place_x', '{"expected": {"storage": 1e400}}');
SELECT taskex.register_user('place_x', '{"expected": {"hours": [25]}}');
SELECT taskex.register_user('place_x', jsonb_build_object('expected', jsonb_build_object('hours', (SELECT jsonb_agg(0) FROM generate_series(1, 25)))));
SELECT taskex.register_user('place_x', '{"expected": {"task_types": ["all"]}}');
SELECT taskex.register_user('place_x', '{"required": ["speed"]}');
SELECT taskex.register_user('place_x', '{"storage_class": 5}');
SELECT taskex.update_user('place_dan', '{"expected": 5}');
-- what he expects must find room: place_4 has 1 MB and two cores
SELECT taskex.set_fitness('default', '{"storage": 1}');
SELECT excluded FROM _taskex.score('place_x', NULL, NULL, '{"expected": {"storage": 2000000}}', '{"storage": 1}') WHERE partition = 'place_4';
SELECT round(score::numeric, 3) AS score FROM _taskex.score('place_x', NULL, NULL, '{"expected": {"storage": 250000, "cpu": 1.5, "hours": [3]}}', '{"storage": 1, "cpu": 3}')
    WHERE partition = 'place_4';
-- not where the last one goes already
SELECT taskex.alter_partition('place_1', '{"capacity": {"users": 1}}');
SELECT excluded FROM _taskex.score('place_x', NULL, NULL, '{}', '{"users": 1}') WHERE partition = 'place_1';
SELECT taskex.alter_partition('place_1', '{"capacity": {}}');
SELECT taskex.drop_fitness('default');

-- near: by distance or name
SELECT round(_taskex.nearness('48.2,16.37', '59.91,10.75')::numeric, 3) AS vienna_oslo, _taskex.nearness('48.2,16.37', '48.2, 16.37') AS same,
    _taskex.nearness('Oslo', 'Oslo') AS name, _taskex.nearness('Oslo', '59.91,10.75') AS other, _taskex.nearness('Oslo', NULL) AS anywhere, _taskex.nearness(NULL, 'Oslo') AS nothing;

-- factors of operators: they run as their owner, and must give a number from 0 to 1
CREATE SCHEMA regress_place;
GRANT ALL ON SCHEMA regress_place TO regress_place_op;
SET ROLE regress_place_op;
CREATE FUNCTION regress_place.odd(login text, partition text) RETURNS float8 LANGUAGE plpgsql AS $$
BEGIN
    IF current_user <> 'regress_place_op' THEN
        RAISE EXCEPTION 'run as %', current_user;
    END IF;
    RETURN CASE partition WHEN 'place_1' THEN 0.25 WHEN 'place_4' THEN 1 ELSE 0 END;
END $$;
CREATE FUNCTION regress_place.bad(login text, partition text) RETURNS float8 LANGUAGE sql AS $$ SELECT 1.5::float8 $$;
CREATE FUNCTION regress_place.nothing(login text, partition text) RETURNS float8 LANGUAGE sql AS $$ SELECT NULL::float8 $$;
CREATE FUNCTION regress_place.thief(login text, partition text) RETURNS float8 LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM _taskex.directory;
    RETURN 1;
END $$;
SELECT taskex.add_factor('odd', 'regress_place.odd(text,text)', 'place_4, or a little place_1');
SELECT taskex.add_factor('odd', 'regress_place.odd(text,text)');
SELECT taskex.add_factor('cpu', 'regress_place.odd(text,text)');
SELECT taskex.add_factor('len', 'pg_catalog.length(text)');
-- nor can one be had executed that the operator may not execute
RESET ROLE;
CREATE FUNCTION regress_place.secret(login text, partition text) RETURNS float8 LANGUAGE sql AS $$ SELECT 1::float8 $$;
REVOKE EXECUTE ON FUNCTION regress_place.secret(text, text) FROM public;
SET ROLE regress_place_op;
SELECT taskex.add_factor('secret', 'regress_place.secret(text,text)');
SELECT taskex.add_factor('bad', 'regress_place.bad(text,text)'), taskex.add_factor('none', 'regress_place.nothing(text,text)'), taskex.add_factor('thief', 'regress_place.thief(text,text)');
SELECT taskex.set_fitness('odd', '{"odd": 1}'), taskex.set_fitness('bad', '{"bad": 1}'), taskex.set_fitness('none', '{"none": 1}'), taskex.set_fitness('thief', '{"thief": 1}');
SELECT partition, score FROM taskex.score_partitions('place_dan', 'odd') WHERE partition LIKE 'place_%' ORDER BY 1;
SELECT taskex.score_partitions('place_dan', 'bad');
SELECT taskex.score_partitions('place_dan', 'none');
SELECT taskex.score_partitions('place_dan', 'thief');
SELECT taskex.drop_factor('odd');
SELECT taskex.drop_factor('cpu');
SELECT taskex.drop_factor('even');
SELECT login, source, target, round(gain::numeric, 3) AS gain, reason FROM taskex.plan_rebalance('odd') WHERE login = 'place_dan';
SELECT name, built_in, function, description FROM taskex.factors WHERE NOT built_in ORDER BY 1;
SELECT taskex.drop_fitness(f) FROM unnest('{odd,bad,none,thief}'::text[]) f;
SELECT taskex.drop_factor(f) FROM unnest('{odd,bad,none,thief}'::text[]) f;
RESET ROLE;

-- dealings: dan's partners live on place_4
SELECT taskex.register_user('place_req', '{}', 'place_4') AS req \gset
SELECT user_id AS dan FROM taskex.users WHERE login = 'place_dan' \gset
INSERT INTO _taskex.appeal VALUES ('u:' || :dan, 77, :req, 0, 1, 1, 5, 1, _taskex.now(), _taskex.now(), _taskex.now());
SELECT partition, factors->'dealings' AS dealings FROM taskex.score_partitions('place_dan') WHERE partition IN ('place_1', 'place_4') ORDER BY 1;
DELETE FROM _taskex.appeal WHERE whose = 'u:' || :dan;
-- expected: whoever is like him does what is supplied on place_4
INSERT INTO _taskex.appeal VALUES ('location:Ulm', 77, 0, 0, 1, 1, 5, 1, _taskex.now(), _taskex.now(), _taskex.now());
INSERT INTO _taskex.catalogue VALUES (77, :req, 1000, 10, 10, 0, 0, _taskex.now(), 1);
SELECT * FROM _taskex.expected_types('{"location": "Ulm"}');
SELECT partition_id = :p4 AS there, share FROM _taskex.expected_places('{"location": "Ulm"}');
SELECT partition_id = :p4 AS there, share FROM _taskex.expected_places('{"expected": {"task_types": [77]}}');
SELECT taskex.register_user('place_ulm', '{"location": "Ulm"}') > 0 AS registered;
SELECT login, partition FROM taskex.users WHERE login = 'place_ulm';
DELETE FROM _taskex.appeal WHERE whose = 'location:Ulm';
DELETE FROM _taskex.catalogue WHERE task_type_id = 77;

-- the planner ------------------------------------------------------------------

-- loads of stored bytes alone, or of CPU by hour
CREATE FUNCTION regress_place.flat(bytes float8[]) RETURNS float8[] LANGUAGE sql AS
    $$ SELECT array_agg(array_fill(0::float8, ARRAY[96]) || b ORDER BY i) FROM unnest(bytes) WITH ORDINALITY x (b, i) $$;
CREATE FUNCTION regress_place.plan(homes int[], demands float8[], partitions int, max_moves int, target float8 = 0, start float8 = 0, capacities float8[] = NULL,
        open boolean[] = NULL, fixed boolean[] = NULL, gain_least float8 = 0)
    RETURNS TABLE (step int, user_number int, source int, target_number int, reason text, resource text, hour int, before float8, after float8, fit float8, gain float8)
    LANGUAGE sql AS $$
    SELECT * FROM _taskex.plan_moves(homes, demands, coalesce(fixed, array_fill(false, ARRAY[cardinality(homes)])), coalesce(open, array_fill(true, ARRAY[partitions])),
        coalesce(capacities, array_fill(0::float8, ARRAY[partitions * 5])), '{1,1,1,1,1}', array_fill(1, ARRAY[cardinality(homes)]), array_fill(0::float8, ARRAY[partitions]),
        '{}', '{}', '{}', array_fill(0::float8, ARRAY[cardinality(homes)]), 1, start, target, gain_least, max_moves) $$;

-- 1,000 users of Zipf(0.8) on 16 partitions: at most 1.01 times the least possible, and no worse than largest first
CREATE TABLE regress_place.zipf AS SELECT i AS u, (1e6 / i ^ 0.8)::float8 AS load, 1 + (i * 7919 + i / 7) % 16 AS home FROM generate_series(1, 1000) i;
CREATE FUNCTION regress_place.largest_first(loads float8[], partitions int) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    sums float8[] := array_fill(0::float8, ARRAY[partitions]);
    x float8;
    best int;
BEGIN
    FOR x IN SELECT l FROM unnest(loads) l ORDER BY 1 DESC LOOP
        SELECT i INTO best FROM unnest(sums) WITH ORDINALITY s (v, i) ORDER BY v, i LIMIT 1;
        sums[best] := sums[best] + x;
    END LOOP;
    RETURN (SELECT max(v) FROM unnest(sums) v);
END $$;
CREATE FUNCTION regress_place.highest(homes int[], loads float8[], partitions int, max_moves int = 100000) RETURNS float8 LANGUAGE sql AS $$
    WITH plan AS (SELECT * FROM regress_place.plan(homes, regress_place.flat(loads), partitions, max_moves))
    SELECT max(s) FROM (SELECT sum(l) AS s FROM unnest(homes, loads) WITH ORDINALITY x (h, l, i) LEFT JOIN plan p ON p.user_number = i GROUP BY coalesce(p.target_number, h)) m $$;
CREATE FUNCTION regress_place.bound(loads float8[], partitions int) RETURNS float8 LANGUAGE sql AS $$
    SELECT greatest(sum(l) / partitions, max(l), (SELECT sum(v) FROM (SELECT v FROM unnest(loads) v ORDER BY 1 DESC OFFSET partitions - 1 LIMIT 2) two)) FROM unnest(loads) l $$;
SELECT regress_place.highest(h, l, 16) / regress_place.bound(l, 16) <= 1.01 AS within_one_percent,
    regress_place.highest(h, l, 16) <= regress_place.largest_first(l, 16) * 1.000001 AS not_worse_than_greedy
FROM (SELECT array_agg(home ORDER BY u) AS h, array_agg(load ORDER BY u) AS l FROM regress_place.zipf) z;
-- few users of all sizes, where it is hard
SELECT count(*) AS tried, count(*) FILTER (WHERE ours > greedy * 1.000001) AS worse, count(*) FILTER (WHERE ours < greedy * 0.999) > 5 AS often_better
FROM (SELECT regress_place.highest(array_agg((1 + (i * 31 + s) % p)::int), array_agg(l), p) AS ours, regress_place.largest_first(array_agg(l), p) AS greedy
    FROM generate_series(1, 20) s, LATERAL (SELECT 3 + s % 4 AS p) q, generate_series(1, 10 + s) i, LATERAL (SELECT (1 + (i * 7907 + s * 104729 + i * i * s) % 997)::float8 AS l) x
    GROUP BY s, p) t;

-- each step improves: after it the higher peak of its partitions is lower, or loads are more even; nobody moves twice
CREATE TABLE regress_place.steps AS SELECT m.* FROM (SELECT array_agg(home ORDER BY u) AS h, array_agg(load ORDER BY u) AS l FROM regress_place.zipf) z,
    regress_place.plan(h, regress_place.flat(l), 16, 100000) m;
SELECT count(*) > 10 AS many, count(*) - count(DISTINCT user_number) AS twice, min(gain) > 0 AS all_gain, bool_and(source <> target_number) AS elsewhere FROM regress_place.steps;
WITH RECURSIVE sums AS (
    SELECT 0 AS step, array_agg(s ORDER BY h) AS sums FROM (SELECT h, coalesce(sum(load), 0) AS s FROM generate_series(1, 16) h LEFT JOIN regress_place.zipf ON home = h GROUP BY 1) x
    UNION ALL
    SELECT n.step, ARRAY(SELECT v + coalesce((SELECT sum(CASE WHEN m.target_number = i THEN z.load ELSE -z.load END) FROM regress_place.steps m JOIN regress_place.zipf z ON z.u = m.user_number
            WHERE m.step = n.step AND i IN (m.source, m.target_number)), 0) FROM unnest(s.sums) WITH ORDINALITY y (v, i) ORDER BY i)
    FROM sums s JOIN (SELECT DISTINCT step FROM regress_place.steps) n ON n.step = s.step + 1
), measures AS (
    SELECT step, (SELECT max(v) FROM unnest(sums) v) AS highest, (SELECT sum(v * v) FROM unnest(sums) v) AS squares FROM sums
)
SELECT count(*) FILTER (WHERE highest > before * 1.000001) AS peaks_raised, count(*) FILTER (WHERE highest >= before AND squares >= squares_before * 0.999999999) AS nothing_better
FROM (SELECT *, lag(highest) OVER w AS before, lag(squares) OVER w AS squares_before FROM measures WINDOW w AS (ORDER BY step)) m WHERE step > 0;

-- a limit on moves: each of a short plan is worth more than those of a long one
SELECT count(*) AS moves, bool_and(after < before) AS better FROM (SELECT array_agg(home ORDER BY u) AS h, array_agg(load ORDER BY u) AS l FROM regress_place.zipf) z,
    regress_place.plan(h, regress_place.flat(l), 16, 5) m;
-- the same question, the same answer
SELECT count(*) AS different FROM (SELECT * FROM regress_place.steps EXCEPT SELECT m.* FROM (SELECT array_agg(home ORDER BY u) AS h, array_agg(load ORDER BY u) AS l FROM regress_place.zipf) z,
    regress_place.plan(h, regress_place.flat(l), 16, 100000) m) d;

-- peak hours, not totals: two by day and two by night, on two partitions, all with the same total
CREATE FUNCTION regress_place.day(first int, last int, load float8) RETURNS float8[] LANGUAGE sql AS
    $$ SELECT array_agg(CASE WHEN h BETWEEN first AND last THEN load ELSE 0 END ORDER BY h) || array_fill(0::float8, ARRAY[73]) FROM generate_series(0, 23) h $$;
SELECT step, user_number, source, target_number, reason, resource, hour, round(before::numeric, 3) AS before, round(after::numeric, 3) AS after
FROM regress_place.plan('{1,1,2,2}', ARRAY[regress_place.day(8, 15, 1), regress_place.day(8, 15, 1), regress_place.day(20, 23, 2), regress_place.day(20, 23, 2)], 2, 10);
-- hysteresis: a fifth above an even share is tolerated, a little more is not
SELECT count(*) FROM regress_place.plan('{1,1,1,1,1,1,2,2,2,2}', regress_place.flat('{1,1,1,1,1,1,1,1,1,1}'), 2, 10, start => 0.21);
SELECT count(*) FROM regress_place.plan('{1,1,1,1,1,1,2,2,2,2}', regress_place.flat('{1,1,1,1,1,1,1,1,1,1}'), 2, 10, start => 0.19);
-- capacity: the larger partition takes more, and a full one takes nobody
SELECT array_agg(target_number ORDER BY user_number) FROM regress_place.plan('{1,1,1,1,1,1}', regress_place.flat('{1,1,1,1,1,1}'), 2, 10, capacities => '{0,0,0,0,4,0,0,0,0,2}');
SELECT count(*) FROM regress_place.plan('{1,1,1}', regress_place.flat('{5,5,5}'), 2, 10, capacities => '{0,0,0,0,100,0,0,0,0,4}');
-- one that is not open is left; who may not move stays
SELECT user_number, target_number, reason FROM regress_place.plan('{1,1,2,3}', regress_place.flat('{2,1,1,1}'), 3, 10, open => '{f,t,t}', fixed => '{f,t,f,f}');
-- nobody, nothing, nonsense
SELECT count(*) FROM regress_place.plan('{}', '{}', 2, 10);
SELECT count(*) FROM regress_place.plan('{1,1}', regress_place.flat('{0,0}'), 2, 10);
SELECT regress_place.plan('{1,3}', regress_place.flat('{0,0}'), 2, 10);
SELECT regress_place.plan('{1,1}', regress_place.flat('{-1,0}'), 2, 10);
SELECT regress_place.plan('{1,1}', regress_place.flat('{1}'), 2, 10);

-- plans of what was measured -----------------------------------------------------

SELECT count(taskex.register_user('place_u' || i, '{}', 'place_1')) FROM generate_series(1, 8) i;
INSERT INTO _taskex.load_mean SELECT 'u', d.user_id, date_trunc('hour', _taskex.now()) - interval '10 days', date_trunc('hour', _taskex.now()) - interval '1 hour', z, z, z, z, z, z[1:3] || 3.6e9::real || z[1:20]
    FROM _taskex.directory d, (SELECT array_fill(0::real, ARRAY[24]) AS z) z WHERE d.login LIKE 'place\_u_';
SELECT taskex.set_fitness('place', '{"cpu": 1}');
SELECT taskex.plan_rebalance('place', 0);
SELECT taskex.plan_rebalance('place', NULL);
SELECT login, source, target, gain > 0 AS gains, reason, step FROM taskex.plan_rebalance('place') WHERE login LIKE 'place\_u%';
-- who was moved of late, or is being moved, stays
INSERT INTO _taskex.migration (user_id, source, target, reason, state, requested_at, switched_at, finished_at, not_before)
    SELECT user_id, :p4, :p1, 'test', 'done', _taskex.now(), _taskex.now() - interval '2 hours', _taskex.now() - interval '1 hour', _taskex.now() FROM _taskex.directory WHERE login LIKE 'place\_u%';
SELECT count(*) FROM taskex.plan_rebalance('place') WHERE login LIKE 'place\_u%';
SET taskex.rebalance_cooldown = '90min';
SELECT count(*) > 0 AS again FROM taskex.plan_rebalance('place') WHERE login LIKE 'place\_u%';
RESET taskex.rebalance_cooldown;
DELETE FROM _taskex.migration WHERE reason = 'test';

-- pg_cron is not in this database
SELECT taskex.schedule_rebalance('0 3 * * *');
SELECT taskex.schedule_rebalance(NULL);
SELECT taskex.schedule_rebalance('0 3 * * *', 'nope');
SELECT taskex.unschedule_rebalance();

SELECT taskex.drop_fitness('place');
DROP SCHEMA regress_place CASCADE;
DROP OWNED BY regress_place_op;
\c :regression
DROP DATABASE regress_placement WITH (FORCE);
DROP ROLE regress_place_op;
