-- What groups of performers will accept: the forecast, preferences and intentions,
-- targets.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET taskex.clock = '2125-01-01 00:00:00+00';
SET timezone = 'UTC';
SELECT taskex.add_partition('forecast_1') > 0 AS one, taskex.add_partition('forecast_2') > 0 AS two;
SELECT taskex.register_user('f_own', partition => 'forecast_2') > 0 AS req, taskex.register_user('f_ann', partition => 'forecast_1') > 0 AS ann,
    taskex.register_user('f_bob', partition => 'forecast_1') > 0 AS bob, taskex.register_user('f_cid', partition => 'forecast_1') > 0 AS cid;
CREATE TEMP TABLE kind (name text PRIMARY KEY, id bigint);
INSERT INTO kind SELECT n, taskex.create_task_type('f_own', 'Forecast ' || n, 0) FROM unnest(ARRAY['often', 'seldom', 'never', 'new']) n;
CREATE FUNCTION pg_temp.kind(which text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT id FROM kind WHERE name = which';
CREATE FUNCTION pg_temp.team() RETURNS int LANGUAGE sql STABLE AS 'SELECT _taskex.group_id(''partition:forecast_1'')';
CREATE FUNCTION pg_temp.targets() RETURNS TABLE (title text, target int, expected numeric, declared numeric, active int, soon int, trial boolean) LANGUAGE sql AS $$
    SELECT title, target, expected, (explained ->> 'declared')::numeric, (explained ->> 'active')::int, (explained ->> 'soon')::int, (explained ->> 'trial')::boolean
    FROM taskex.supply_targets WHERE group_name = 'partition:forecast_1' AND title LIKE 'Forecast %' ORDER BY title $$;

-- the forecast itself: a new series, and a steady one
SELECT _taskex.forecast_within(_taskex.forecast_count('{}', '2125-01-01', '{}'), '2125-01-01', 3600);
SELECT round(_taskex.forecast_within(s, '2125-01-03 00:00', 3600)::numeric, 2) AS hour, round(_taskex.forecast_within(s, '2125-01-03 00:00', 7200)::numeric, 2) AS two,
    round(_taskex.forecast_within(s, '2125-01-03 00:30', 1800, 10)::numeric, 2) AS half, _taskex.forecast_within(s, '2125-01-03', 0) AS none
    FROM _taskex.forecast_count('{}', '2125-01-01', array_fill(20::float8, ARRAY[48])) s;
-- counted at once or one by one
SELECT _taskex.forecast_count(_taskex.forecast_count('{}', '2125-01-01 05:00', ARRAY[3, 9]), '2125-01-01 07:00', ARRAY[1])
    = _taskex.forecast_count('{}', '2125-01-01 05:00', ARRAY[3, 9, 1]) AS same;
-- a busy hour of the day; before 2000 as after
WITH s AS (SELECT _taskex.forecast_count('{}', d, array_agg(CASE WHEN h % 24 = 9 THEN 50.0 ELSE 5.0 END ORDER BY h)) AS series, d
    FROM generate_series(0, 24 * 14 - 1) h, unnest(ARRAY['2125-01-01'::timestamptz, '1999-12-25']) d GROUP BY d)
SELECT round((_taskex.forecast_facts(series, d + interval '9 hours')).profile::numeric, 2) AS nine,
    round((_taskex.forecast_facts(series, d + interval '10 hours')).profile::numeric, 2) AS ten,
    _taskex.forecast_within(series, d + interval '14 days 9 hours', 3600) > 3 * _taskex.forecast_within(series, d + interval '14 days', 3600) AS busier FROM s ORDER BY d;
-- it goes up with the pace of the last minutes, and stays above 0 without
SELECT round(_taskex.forecast_within(s, '2125-01-03', 600, 0, 0)::numeric, 2) AS idle, round(_taskex.forecast_within(s, '2125-01-03', 600, 0, 20)::numeric, 2) AS usual,
    round(_taskex.forecast_within(s, '2125-01-03', 600, 0, 200)::numeric, 2) AS busy, _taskex.forecast_within(s, '2125-01-03', 86400, 0, 0) > 100 AS tomorrow
    FROM _taskex.forecast_count('{}', '2125-01-01', array_fill(20::float8, ARRAY[48])) s;
-- silence is believed by and by
SELECT n, _taskex.forecast_within(t, '2125-01-03', 3600) < 20 * share AS hour, _taskex.forecast_within(t, '2125-01-03', 86400) / 480 < share AS day
    FROM (VALUES (24, 0.5), (24 * 28, 0.05)) v (n, share),
    LATERAL _taskex.forecast_count(_taskex.forecast_count('{}', '2125-01-01', array_fill(20::float8, ARRAY[48])), '2125-01-03', array_fill(0::float8, ARRAY[n])) t;
SELECT round(_taskex.forecast_within(s, '2125-01-03', 3600)::numeric, 2) AS before
    FROM _taskex.forecast_count('{}', '2125-01-01', array_fill(20::float8, ARRAY[48])) s;

-- distributions: geometric, against sums of negative binomial probabilities, large means
SELECT _taskex.negbin_quantile(1, 1, 0.5) AS a, _taskex.negbin_quantile(1, 1, 0.51) AS b, _taskex.negbin_quantile(1, 1, 0.9) AS c, _taskex.negbin_quantile(0, 1, 0.9) AS d,
    _taskex.negbin_quantile(999.9, 0.02, 0.5), _taskex.negbin_quantile(1000.1, 0.02, 0.5), round(_taskex.negbin_quantile(1e9, 0.5, 0.9) / 1e6) AS large;
SELECT n, round(_taskex.counts_reach(ARRAY[1.0], ARRAY[n], 1)::numeric, 6) AS geometric, round(_taskex.counts_reach(ARRAY[40.0], ARRAY[n * 10.0], 0.1)::numeric, 6) AS ten,
    round(1 - coalesce((WITH RECURSIVE p AS (SELECT 0 AS i, (1 / 5.0) ^ 10 AS p UNION ALL SELECT i + 1, p * (10.0 + i) / (i + 1) * 0.8 FROM p WHERE i < n * 10 - 1)
        SELECT sum(p) FROM p WHERE n > 0), 0)::numeric, 6) AS ten_summed
    FROM unnest(ARRAY[0, 1, 2, 5, 8]) n;
-- one pace: both are more likely than if they did not go together, and less than each
SELECT _taskex.counts_reach('{20,20}', '{20,20}', 0.5) BETWEEN _taskex.counts_reach('{20}', '{20}', 0.5) ^ 2 AND _taskex.counts_reach('{20}', '{20}', 0.5) AS between,
    _taskex.counts_reach('{0,1}', '{0,1}', 1) = _taskex.counts_reach('{1}', '{1}', 1) AS nothing, _taskex.counts_reach('{0}', '{1}', 1) AS never,
    round(_taskex.counts_reach('{1000000}', '{1000000}', 0.02)::numeric, 2) AS many;
-- what cannot be
SELECT _taskex.forecast_count('{}', '2125-01-01 00:30', '{1}');
SELECT _taskex.forecast_count('{}', '2125-01-01', '{-1}');
SELECT _taskex.forecast_count('{}', '2125-01-01', '{NaN}');
SELECT _taskex.forecast_count('{}', '2125-01-01', '{NULL}');
SELECT _taskex.forecast_count('{1,2}', '2125-01-01', '{1}');
SELECT _taskex.forecast_count('{}', 'infinity', '{1}');
SELECT _taskex.forecast_within(_taskex.forecast_count('{}', '2125-01-01', '{}'), '2125-01-01', 1e9);
SELECT _taskex.forecast_within(_taskex.forecast_count('{}', '2125-01-01', '{}'), 'infinity', 1);
SELECT _taskex.forecast_within(NULL, '2125-01-01', 1) IS NULL AS unknown;
SELECT _taskex.negbin_quantile(1, 0, 0.5);
SELECT _taskex.counts_reach('{1}', '{1,2}', 0.5);

-- a day of work of a group
DO $$ BEGIN
    FOR h IN 0 .. 23 LOOP
        PERFORM set_config('taskex.clock', ('2125-01-01 00:00:00+00'::timestamptz + h * interval '1 hour 0.1 seconds')::text, false);
        PERFORM _taskex.count_accepts(pg_temp.team(), pg_temp.kind('often'), _taskex.now(), 30);
        PERFORM _taskex.count_accepts(pg_temp.team(), pg_temp.kind('often'), _taskex.now(), 30);
        PERFORM _taskex.count_accepts(pg_temp.team(), pg_temp.kind('seldom'), _taskex.now(), (h % 12 = 0)::int);
    END LOOP;
END $$;
SELECT task_type_id = 0 AS all, sum(accepts), count(*) FROM _taskex.accept_hour WHERE group_id = pg_temp.team() GROUP BY task_type_id ORDER BY 2;
SET taskex.clock = '2125-01-02 00:30:00+00';
SELECT _taskex.compute_targets() > 0 AS written;
SELECT * FROM pg_temp.targets();
-- nothing new, nothing written
CREATE FUNCTION pg_temp.place() RETURNS tid LANGUAGE sql AS 'SELECT ctid FROM _taskex.supply_target WHERE group_id = pg_temp.team() AND task_type_id = pg_temp.kind(''often'')';
SELECT pg_temp.place() AS place \gset
SELECT _taskex.compute_targets(pg_temp.team()) >= 0 AS computed, pg_temp.place() = :'place' AS same;
-- series are brought up to date an hour later, the first minute waits for latecomers
SELECT DISTINCT counted_until FROM _taskex.accept_series WHERE group_id = pg_temp.team();
SET taskex.clock = '2125-01-02 01:00:30+00';
SELECT _taskex.compute_targets() > 0 AS written;
SELECT DISTINCT counted_until FROM _taskex.accept_series WHERE group_id = pg_temp.team();
SET taskex.clock = '2125-01-02 01:01:00+00';
SELECT _taskex.compute_targets() > 0 AS written;
SELECT DISTINCT counted_until FROM _taskex.accept_series WHERE group_id = pg_temp.team();
-- what reading finds does not depend on that
SELECT count(DISTINCT x) FROM (SELECT _taskex.series_at(group_id, task_type_id, '{}', '2125-01-01', '2125-01-02 01:00') AS x FROM _taskex.accept_series
    WHERE group_id = pg_temp.team() AND task_type_id = pg_temp.kind('often') UNION ALL SELECT series FROM _taskex.accept_series
    WHERE group_id = pg_temp.team() AND task_type_id = pg_temp.kind('often')) x;

-- forecasts for users
SELECT expected BETWEEN 20 AND 60 AS expected, low < expected AND expected < high AS between, explained ?& ARRAY['history', 'level', 'usual', 'hour_of_day', 'weights'] AS explained
    FROM taskex.forecast_accepts('partition:forecast_1', pg_temp.kind('often'), '1 hour');
SELECT a.expected > b.expected AS more FROM taskex.forecast_accepts('partition:forecast_1') a, taskex.forecast_accepts('partition:forecast_1', pg_temp.kind('seldom')) b;
SELECT expected > 0 AS some, explained -> 'trial' AS trial FROM taskex.forecast_accepts('partition:forecast_1', pg_temp.kind('never'));
SELECT * FROM taskex.forecast_accepts('partition:forecast_2', pg_temp.kind('never'), '1 hour');
SELECT taskex.acceptance_probability('partition:forecast_1', ARRAY[pg_temp.kind('often')], ARRAY[n], '2 hours') BETWEEN low AND high AS fits
    FROM (VALUES (0, 1, 1), (10, 0.95, 1), (60, 0.2, 0.8), (1000, 0, 0.001)) v (n, low, high);
-- of a type named twice, both are wanted
SELECT taskex.acceptance_probability('partition:forecast_1', ARRAY[pg_temp.kind('often'), pg_temp.kind('often')], ARRAY[40, 40], '2 hours')
    = taskex.acceptance_probability('partition:forecast_1', ARRAY[pg_temp.kind('often')], ARRAY[80], '2 hours') AS same;
SELECT taskex.acceptance_probability('partition:forecast_2', ARRAY[pg_temp.kind('often')], ARRAY[1], '2 hours') AS nobody;

-- performers: who works now, who is likely to come
SET taskex.clock = '2125-01-01 01:30:00+00';
INSERT INTO kind SELECT 'task ' || n, taskex.create_task('f_own', pg_temp.kind('seldom'), '1', 9, '30 days') FROM generate_series(1, 2) n;
CREATE FUNCTION pg_temp.work(who text, task text) RETURNS void LANGUAGE sql AS
    $$ SELECT taskex.submit_assignment(who, (taskex.accept_task(who, pg_temp.kind(task))).assignment_id, '1') $$;
SELECT pg_temp.work('f_cid', 'task 1');
SET taskex.clock = '2125-01-02 01:20:00+00';
SELECT pg_temp.work('f_ann', 'task 1'), pg_temp.work('f_bob', 'task 1');
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT login, submitted, hour FROM _taskex.work_hour JOIN _taskex.directory ON user_id = performer_id WHERE task_type_id = pg_temp.kind('seldom') ORDER BY 1;
SELECT _taskex.compute_targets() > 0 AS written;
SELECT * FROM pg_temp.targets();
-- a quarter of an hour later they are gone, and cid has come
SET taskex.clock = '2125-01-02 01:36:00+00';
SELECT pg_temp.work('f_cid', 'task 2');
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT _taskex.compute_targets() > 0 AS written;
SELECT title, active, soon FROM pg_temp.targets() WHERE title = 'Forecast seldom';

-- intentions
CREATE FUNCTION pg_temp.cancel(who text, id bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM taskex.cancel_intention(who, id);
    RETURN 'cancelled';
EXCEPTION WHEN OTHERS THEN
    RETURN sqlstate || ' ' || replace(sqlerrm, id::text, 'N');
END $$;
-- a single moment is no time
SELECT taskex.declare_intention('f_ann', ARRAY[pg_temp.kind('never')], 60, '[2125-01-02 01:36+00, 2125-01-02 01:36+00]');
SELECT taskex.declare_intention('f_ann', ARRAY[pg_temp.kind('never'), pg_temp.kind('seldom')], 60, '[2125-01-02 01:36+00, 2125-01-02 02:36+00)') AS intention \gset
SELECT performer, cardinality(task_types) AS types, quantity, done, during FROM taskex.intentions WHERE intention_id = :intention;
SET taskex.clock = '2125-01-02 01:40:00+00';
SELECT _taskex.compute_targets() > 0 AS written;
-- 24 of each are believed, the horizon has 15 of the 56 minutes left
SELECT title, declared FROM pg_temp.targets();
SELECT round(expected) AS never FROM taskex.forecast_accepts('partition:forecast_1', pg_temp.kind('never'), '1 hour');
-- work for it lessens what is left
SELECT pg_temp.work('f_ann', 'task 2');
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT done FROM taskex.intentions WHERE intention_id = :intention;
SELECT pg_temp.cancel('f_bob', :intention);
SELECT pg_temp.cancel('f_ann', :intention);
SELECT pg_temp.cancel('f_ann', :intention);
-- who does not do what he says is believed less
SELECT taskex.declare_intention('f_bob', ARRAY[pg_temp.kind('never')], 90, '[2125-01-02 01:40+00, 2125-01-02 01:50+00)') > 0 AS said;
SET taskex.clock = '2125-01-02 01:59:00+00';
SELECT _taskex.compute_targets() > 0 AS written;
SELECT intended, kept FROM taskex.preferences WHERE performer = 'f_bob';
SELECT performer, quantity, done FROM taskex.intentions WHERE performer LIKE 'f\_%';
SELECT taskex.declare_intention('f_bob', ARRAY[pg_temp.kind('never')], 100, '[2125-01-02 01:59+00, 2125-01-02 02:14+00)') AS said \gset
SET taskex.clock = '2125-01-02 02:00:00+00';
SELECT round(expected) AS eight FROM taskex.forecast_accepts('partition:forecast_1', pg_temp.kind('never'), '15 minutes');
SELECT pg_temp.cancel('f_bob', :said);

-- preferences count while one works
SELECT taskex.set_preferences('f_cid', jsonb_build_object('types', jsonb_build_array(pg_temp.kind('never')), 'pace', 60, 'hours', '[3, 4]'::jsonb, 'time_zone', 'Europe/Berlin'));
SELECT preferences - 'types' AS preferences FROM taskex.preferences WHERE performer = 'f_cid';
SET taskex.clock = '2125-01-02 01:45:00+00';
SELECT round(declared::numeric, 2) AS from_three_on FROM _taskex.declared_accepts(_taskex.now(), 3600) WHERE task_type_id = pg_temp.kind('never');
SELECT taskex.set_preferences('f_cid', jsonb_build_object('types', jsonb_build_array(pg_temp.kind('never')), 'pace', 60, 'maximum', 11));
SELECT round(declared::numeric, 2) AS ten_more FROM _taskex.declared_accepts(_taskex.now(), 3600) WHERE task_type_id = pg_temp.kind('never');
-- a session goes on until an hour without work
SELECT _taskex.session_of(_taskex.user_id('f_cid'), at) FROM unnest(ARRAY['2125-01-02 02:50+00', '2125-01-02 03:10+00', '2125-01-01 01:40+00', '2125-01-01 00:40+00']::timestamptz[]) at;
SET taskex.clock = '2125-01-02 03:45:00+00';
SELECT count(*) AS gone FROM _taskex.declared_accepts(_taskex.now(), 3600);
SELECT taskex.set_preferences('f_cid', '{}');

-- types that the group has not met: some are kept once it works
INSERT INTO kind VALUES ('task 3', taskex.create_task('f_own', pg_temp.kind('new'), '1'));
SELECT count(*) > 0 AS ran FROM taskex.run_due();
-- (tests before this one may have supplied more at later times)
UPDATE _taskex.catalogue SET supplied_at = '2300-01-01' WHERE task_type_id = pg_temp.kind('new');
SELECT _taskex.count_accepts(pg_temp.team(), pg_temp.kind('often'), _taskex.now(), 60);
SELECT _taskex.compute_targets() > 0 AS written;
SELECT title, target > 0 AS some, trial FROM pg_temp.targets() WHERE title ~ 'new|often';
SELECT taskex.expire_task('f_own', pg_temp.kind('task 3'));
-- no more than the group may have
SELECT taskex.update_group('partition:forecast_1', '{"max_slots": 5}');
SELECT _taskex.compute_targets(pg_temp.team()) > 0 AS written;
SELECT sum(target) <= 5 AS few FROM pg_temp.targets();
SELECT taskex.update_group('partition:forecast_1', '{"max_slots": null, "horizon": "5 hours"}');
SELECT _taskex.compute_targets(pg_temp.team()) > 0 AS written;
SELECT sum(target) > 100 AS many FROM pg_temp.targets();

-- four weeks later all of it is forgotten
SET taskex.clock = '2125-01-31 05:00:00+00';
SELECT _taskex.compute_targets() > 0 AS written;
SELECT count(*) FROM pg_temp.targets();
SELECT (SELECT count(*) FROM _taskex.accept_series WHERE group_id = pg_temp.team()) AS series, (SELECT count(*) FROM _taskex.accept_hour WHERE group_id = pg_temp.team()) AS hours,
    (SELECT count(*) FROM _taskex.work_hour WHERE task_type_id IN (SELECT id FROM kind)) AS work;
SET taskex.clock = '2125-02-28 05:00:00+00';
SELECT _taskex.compute_targets() >= 0 AS computed;
SELECT count(*) AS intentions FROM taskex.intentions WHERE performer LIKE 'f\_%';

-- a group that is dropped takes all with it
SELECT taskex.create_group('f_group') AS id \gset
SELECT _taskex.count_accepts(:id, pg_temp.kind('often'), _taskex.now(), 10), _taskex.compute_targets(:id) > 0 AS written;
SELECT taskex.drop_group('f_group');
SELECT count(*) FROM _taskex.accept_hour h FULL JOIN _taskex.accept_series USING (group_id) FULL JOIN _taskex.supply_target USING (group_id) WHERE group_id = :id;
SELECT _taskex.count_accepts(:id, pg_temp.kind('often'), _taskex.now(), 10);
SELECT _taskex.count_accepts(pg_temp.team(), pg_temp.kind('often'), _taskex.now(), -1);
SELECT _taskex.count_accepts(pg_temp.team(), 0, _taskex.now(), 1);

-- Who intends to do a million tasks of each of many types is believed as much as anybody can do in the time.
SELECT taskex.create_task_type('f_own', 'lie ' || i, 1) IS NOT NULL AS made FROM generate_series(1, 5) i;
SELECT count(taskex.register_user('f_liar' || i, partition => 'forecast_1')) FROM generate_series(1, 3) i;
SELECT count(taskex.declare_intention('f_liar' || i, ARRAY[task_type_id], 1000000, tstzrange(_taskex.now(), _taskex.now() + interval '1 hour')))
    FROM generate_series(1, 3) i, taskex.task_types WHERE title LIKE 'lie %';
SELECT count(*), round(sum(declared)::numeric, 2) AS all_of_them FROM _taskex.declared_accepts(_taskex.now(), 1800)
    WHERE task_type_id IN (SELECT task_type_id FROM taskex.task_types WHERE title LIKE 'lie %');
-- who has done 80 in an hour is believed 120
INSERT INTO _taskex.work_hour SELECT _taskex.user_id('f_liar1'), pg_temp.kind('often'), date_trunc('hour', _taskex.now(), 'UTC') - interval '2 days', 80, _taskex.now() - interval '2 days';
SELECT round(sum(declared)::numeric, 2) AS all_of_them FROM _taskex.declared_accepts(_taskex.now(), 1800)
    WHERE task_type_id IN (SELECT task_type_id FROM taskex.task_types WHERE title LIKE 'lie %');
