-- What users' calls cost: counted, stored by hours, folded by hour of the day.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = postgres;
SET extra_float_digits = 0;
SET taskex.exchange_fee = 0.2;

-- what other tests have left is stored in an hour that is not looked at
SET taskex.clock = '2110-01-01 00:00:00+00';
SELECT users >= 0 AS stored FROM taskex.measure_load();
SET taskex.clock = '2110-01-01 10:20:00+00';
SELECT taskex.add_partition('load_1') AS load_1, taskex.add_partition('load_2') AS load_2 \gset
SELECT taskex.register_user('ld_req', partition => 'load_1') AS ld_req, taskex.register_user('ld_per', partition => 'load_2') AS ld_per,
    taskex.register_user('ld_idle', partition => 'load_2') AS ld_idle \gset
SELECT taskex.deposit('ld_req', 1000, 'load') > 0 AS deposited;
CREATE FUNCTION pg_temp.hours(logins text[]) RETURNS TABLE (hour timestamptz, who text, calls float8, wal boolean, hit boolean)
    LANGUAGE sql AS $$
    SELECT h.hour, coalesce(d.login, p.name), h.calls, h.wal_bytes > 0, h.blocks_hit > 0
    FROM _taskex.load_hour h LEFT JOIN _taskex.directory d ON h.kind = 'u' AND d.user_id = h.id
        LEFT JOIN _taskex.partition p ON h.kind = 'p' AND p.partition_id = h.id
    WHERE coalesce(d.login, p.name) = ANY (logins) ORDER BY 1, 2 $$;

-- each call counts once for who makes it, whatever it calls itself and however it ends
SELECT taskex.create_task_type('ld_req', 'Load', 1) AS type \gset
SELECT count(*) FROM taskex.create_tasks('ld_req', :type, array_fill('{}'::jsonb, ARRAY[20]));
SELECT count(*) FROM taskex.accept_next('ld_per', :type, 3);
SELECT taskex.balance('ld_per');
SELECT taskex.accept_task('ld_per', 0);
BEGIN;
SELECT taskex.balance('ld_per');
SAVEPOINT s;
SELECT taskex.balance('ld_per');
SELECT taskex.submit_assignment('ld_per', 0, '1');
ROLLBACK TO s;
ROLLBACK;
DO $$
BEGIN
    FOR i IN 1 .. 3 LOOP
        BEGIN
            PERFORM taskex.submit_assignment('ld_per', 0, '1');
        EXCEPTION WHEN OTHERS THEN
            NULL;
        END;
    END LOOP;
    PERFORM taskex.balance('ld_per');
END $$;
-- the body of dispose_tasks calls dispose_task
SELECT taskex.cancel_tasks('ld_req', :type) IS NOT NULL AS cancelled;
SET taskex.clock = '2110-01-03 10:40:00+00';
SELECT disposed FROM taskex.dispose_tasks('ld_req', '1 day');
-- these are not counted: nobody's, or without a look at a partition
SELECT taskex.balance('ld_nobody');
SELECT partition FROM taskex.route('ld_per');
SELECT taskex.deposit('ld_per', 1, 'load 2') > 0 AS deposited;
SET taskex.measure_load = off;
SELECT taskex.balance('ld_per');
RESET taskex.measure_load;
-- all of it is in one hour: that in which it is stored
SET taskex.clock = '2110-01-01 10:40:00+00';
SELECT users, calls, hours >= 0 AS folded FROM taskex.measure_load();
SELECT * FROM pg_temp.hours('{ld_req,ld_per,ld_idle,load_1,load_2}');
SELECT users, calls FROM taskex.measure_load();
SELECT login, metric, unit, level, peak, peak_hour, this_hour, by_hour FROM taskex.user_load WHERE login = 'ld_per' AND metric = 'calls';

-- what is counted is what PostgreSQL counts
CREATE FUNCTION pg_temp.compare(login text, statement text) RETURNS TABLE (wal boolean, blocks boolean, written boolean) LANGUAGE plpgsql AS $$
DECLARE
    plan json;
    before _taskex.load_hour;
    after _taskex.load_hour;
    who bigint := _taskex.user_id(login);
BEGIN
    PERFORM taskex.measure_load();
    SELECT * INTO before FROM _taskex.load_hour h WHERE h.kind = 'u' AND h.id = who AND h.hour = date_trunc('hour', _taskex.now(), 'UTC');
    EXECUTE 'EXPLAIN (ANALYZE, BUFFERS, WAL, TIMING off, FORMAT json) ' || statement INTO plan;
    plan := plan -> 0 -> 'Plan';
    PERFORM taskex.measure_load();
    SELECT * INTO after FROM _taskex.load_hour h WHERE h.kind = 'u' AND h.id = who AND h.hour = date_trunc('hour', _taskex.now(), 'UTC');
    wal := after.wal_bytes - coalesce(before.wal_bytes, 0) = (plan ->> 'WAL Bytes')::float8;
    blocks := after.blocks_hit + after.blocks_read - coalesce(before.blocks_hit + before.blocks_read, 0)
        = (plan ->> 'Shared Hit Blocks')::float8 + (plan ->> 'Shared Read Blocks')::float8;
    written := after.blocks_written - coalesce(before.blocks_written, 0) = (plan ->> 'Shared Dirtied Blocks')::float8;
    RETURN NEXT;
END $$;
SELECT * FROM pg_temp.compare('ld_req', format('SELECT taskex.create_task(''ld_req'', %s, ''{}'')', :type));
SELECT * FROM pg_temp.compare('ld_req', format('SELECT taskex.create_tasks(''ld_req'', %s, array_fill(''{}''::jsonb, ARRAY[500]))', :type));
SELECT * FROM pg_temp.compare('ld_per', format('SELECT * FROM taskex.accept_next(''ld_per'', %s)', :type));
SELECT * FROM pg_temp.compare('ld_per', 'SELECT * FROM taskex.history(''ld_per'')');

-- hours are folded when they are over, once, and days weigh less as they age: half after a half-life
SET taskex.clock = '2110-01-02 10:59:59+00';
SELECT count(taskex.balance('ld_idle')) FROM generate_series(1, 8);
SELECT users, calls FROM taskex.measure_load();
SELECT since FROM _taskex.load_mean WHERE kind = 'u' AND id = :ld_idle;
SET taskex.clock = '2110-01-02 11:00:00+00';
SELECT users, calls, hours FROM taskex.measure_load();
SELECT hours FROM taskex.measure_load();
SELECT level, peak, peak_hour, this_hour, by_hour FROM taskex.user_load WHERE login = 'ld_idle' AND metric = 'calls';
SELECT _taskex.load_profile(:ld_idle, 'calls');
-- a day on which nothing was done at that hour counts when the hour is over
SET taskex.clock = '2110-01-03 10:59:00+00';
SELECT peak FROM taskex.user_load WHERE login = 'ld_idle' AND metric = 'calls';
SET taskex.clock = '2110-01-03 11:00:00+00';
SELECT round(peak::numeric, 4) = round(8 * 2 ^ (-1 / 7.0) / (1 + 2 ^ (-1 / 7.0)), 4) AS faded FROM taskex.user_load WHERE login = 'ld_idle' AND metric = 'calls';
-- as the definition says, with days of which some are empty and several hours
CREATE TEMP TABLE seen AS SELECT timestamptz '2110-02-01 00:00+00' + make_interval(hours => h) AS hour, (h * 7919) % 101 + 1 AS calls
    FROM generate_series(0, 24 * 40 - 1) h WHERE (h * 31) % 7 < 3;
INSERT INTO _taskex.load_hour SELECT hour, 'u', :ld_idle + 1000000, calls, 0, 0, 0, 0, 0 FROM seen;
SELECT _taskex.fold_load('2110-03-11 12:00+00', 10);
SELECT _taskex.fold_load('2110-03-11 12:00+00') > 300 AS folded;
SET taskex.clock = '2110-03-11 12:30+00';
SELECT count(*), max(abs(m.mean - w.mean)) < 0.0001 AS same
    FROM unnest(_taskex.load_profile(:ld_idle + 1000000, 'calls')) WITH ORDINALITY m (mean, n)
        JOIN (SELECT extract(hour FROM t AT TIME ZONE 'UTC')::int AS hour,
                sum(coalesce(s.calls, 0) * 2 ^ (-extract(epoch FROM now.at - t) / (7 * 86400.0))) / sum(2 ^ (-extract(epoch FROM now.at - t) / (7 * 86400.0))) AS mean
            FROM (SELECT timestamptz '2110-03-11 12:00+00' AS at) now
                CROSS JOIN generate_series((SELECT min(hour) FROM seen), now.at - interval '1 hour', '1 hour') t LEFT JOIN seen s ON s.hour = t
            GROUP BY 1) w ON w.hour = m.n - 1;
-- the partition and the node have the sum; what is stored of partitions is what PostgreSQL says
SET taskex.clock = '2110-03-11 13:30+00';
SELECT count(taskex.balance('ld_req')) FROM generate_series(1, 5);
SELECT count(taskex.balance('ld_per')) FROM generate_series(1, 7);
SELECT users, calls FROM taskex.measure_load();
SELECT partition, this_hour FROM taskex.partition_load WHERE metric = 'calls' AND partition LIKE 'load%' ORDER BY 1;
SELECT this_hour, cardinality(by_hour) FROM taskex.node_load WHERE node = 'local' AND metric = 'calls';
-- (until nobody vacuums between the two)
CREATE FUNCTION pg_temp.sizes_differ() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    differ bigint := 1;
BEGIN
    FOR i IN 1 .. 50 LOOP
        PERFORM _taskex.measure_partitions(1000);
        SELECT count(*) INTO differ FROM taskex.partition_load l JOIN taskex.partitions p ON p.name = l.partition
            WHERE metric = 'stored_bytes' AND partition LIKE 'load%' AND level IS DISTINCT FROM (SELECT sum(pg_total_relation_size(i.inhrelid)) FROM pg_inherits i
                JOIN _taskex.child_table t ON i.inhparent = format('_taskex.%I', t.table_name)::regclass WHERE i.inhrelid::regclass::text ~ ('_' || p.partition_id || '$'));
        EXIT WHEN differ = 0;
    END LOOP;
    RETURN differ;
END $$;
SELECT pg_temp.sizes_differ();

-- a clock that is set back adds to the next hour that is not folded
SET taskex.clock = '2110-03-11 15:00+00';
SELECT hours >= 0 AS folded FROM taskex.measure_load();
SET taskex.clock = '2110-01-05 00:00+00';
SELECT count(taskex.balance('ld_idle')) FROM generate_series(1, 4);
SELECT users, calls, hours FROM taskex.measure_load();
SELECT * FROM pg_temp.hours('{ld_idle}') WHERE hour > '2110-03-01';

-- a transaction that is undone leaves what it would have stored to the next one
BEGIN;
SELECT count(taskex.balance('ld_idle')) FROM generate_series(1, 3);
SELECT users, calls FROM taskex.measure_load();
SELECT users, calls FROM _taskex.meter();
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT users, calls FROM taskex.measure_load();
ROLLBACK TO s;
SELECT users, calls FROM _taskex.meter();
COMMIT;
SELECT users, calls FROM taskex.measure_load();
SELECT users, calls FROM _taskex.meter();

-- two users who turn out to be one
BEGIN;
SELECT max(hour) AS hour FROM _taskex.load_hour WHERE kind = 'u' AND id = :ld_idle \gset
INSERT INTO _taskex.load_hour SELECT hour, 'u', :ld_per, calls, 1, 1, 1, 1, 1 FROM _taskex.load_hour WHERE kind = 'u' AND id = :ld_idle ON CONFLICT (hour, kind, id) DO UPDATE SET calls = 1;
SELECT sum(calls) AS before FROM _taskex.load_hour WHERE kind = 'u' AND id IN (:ld_idle, :ld_per) \gset
SELECT least(i.since, p.since) AS since, greatest(i.as_of, p.as_of) AS as_of FROM _taskex.load_mean i, _taskex.load_mean p WHERE i.kind = 'u' AND i.id = :ld_idle AND p.kind = 'u' AND p.id = :ld_per \gset
SELECT _taskex.merge_load(:ld_idle, :ld_per);
SELECT sum(calls) = :before AS all_hours FROM _taskex.load_hour WHERE kind = 'u' AND id = :ld_per;
SELECT since = :'since' AND as_of = :'as_of' AS spanned FROM _taskex.load_mean WHERE kind = 'u' AND id = :ld_per;
SELECT count(*) FROM _taskex.load_hour WHERE id = :ld_idle AND kind = 'u';
SELECT _taskex.load_profile(:ld_idle, 'calls') IS NULL AS gone;
ROLLBACK;
-- only so long
SET taskex.clock = '2110-04-01 00:00+00';
SELECT hours >= 0 AS folded FROM taskex.measure_load();
SELECT min(hour) >= '2110-03-02' AS pruned FROM _taskex.load_hour;
SELECT peak > 0 AS known FROM taskex.user_load WHERE login = 'ld_idle' AND metric = 'calls';
SET taskex.clock = '2110-06-01 00:00+00';
SELECT users FROM taskex.measure_load();
SELECT bool_and(_taskex.prune_load(10000) >= 0) AS swept FROM generate_series(0, pg_relation_size('_taskex.load_mean') / current_setting('block_size')::int / 64);
SELECT peak IS NULL AS forgotten FROM taskex.user_load WHERE login = 'ld_idle' AND metric = 'calls';
SELECT count(*) FROM _taskex.load_hour WHERE hour < '2111-01-01';

-- what is stored: the tables of a partition are spread over those who live there, by the bytes of their rows, also those out of line
SELECT taskex.register_user('ld_big', partition => 'load_1') AS ld_big \gset
SELECT taskex.deposit('ld_big', 1000, 'load') > 0 AS deposited;
CREATE TEMP TABLE noise AS SELECT to_jsonb(string_agg(md5(i::text), '')) AS input FROM generate_series(1, 400) i;
SELECT count(*) FROM (SELECT taskex.create_tasks('ld_big', :type, array_fill(input, ARRAY[20])) FROM noise) t;
SELECT pg_stat_force_next_flush();
-- (each look has 256 tables at most)
CREATE FUNCTION pg_temp.sample_all() RETURNS boolean LANGUAGE sql AS $$
    SELECT sum(_taskex.sample_storage(100000)) > 0
        FROM generate_series(0, ((SELECT count(*) FROM _taskex.child_table) * (SELECT count(*) FROM _taskex.partition) / 256)::int) $$;
SELECT pg_temp.sample_all() AS sampled;
SELECT sum(b.bytes) / pg_total_relation_size(format('_taskex.task_%s', :load_1)::regclass) BETWEEN 0.8 AND 1.25 AS all_of_it,
        count(*), max(b.bytes) FILTER (WHERE b.user_id = :ld_big) > 0.7 * sum(b.bytes) AS heavy
    FROM _taskex.load_bytes b JOIN _taskex.child_table c USING (position) WHERE c.table_name = 'task' AND b.partition_id = :load_1;
SELECT login, level > 20 * 6400 AS much FROM taskex.user_load WHERE login IN ('ld_big', 'ld_req', 'ld_idle') AND metric = 'stored_bytes' ORDER BY 1;
SELECT count(*) AS foreign_rows FROM _taskex.load_bytes b JOIN _taskex.directory d USING (user_id) WHERE b.partition_id <> d.partition_id;
-- nothing has changed, nothing is looked at
SELECT round FROM _taskex.load_sampled JOIN _taskex.child_table USING (position) WHERE table_name = 'task' AND partition_id = :load_1 \gset
UPDATE _taskex.load_sampled s SET at = '-infinity' WHERE partition_id = :load_1;
SELECT _taskex.sample_storage(100000) >= 0 AS sampled;
SELECT round = :round AS passed_by, at > '-infinity' AS looked_at FROM _taskex.load_sampled JOIN _taskex.child_table USING (position) WHERE table_name = 'task' AND partition_id = :load_1;
-- who has moved has what he had, and rows that he has left behind are nobody's
BEGIN;
SELECT round(level) AS before FROM taskex.user_load WHERE login = 'ld_big' AND metric = 'stored_bytes' \gset
UPDATE _taskex.directory SET partition_id = :load_2 WHERE login = 'ld_big';
UPDATE _taskex.load_sampled SET changes = -1, at = '-infinity' WHERE partition_id = :load_1;
SELECT pg_temp.sample_all() AS sampled;
SELECT round(level) = :before AS same FROM taskex.user_load WHERE login = 'ld_big' AND metric = 'stored_bytes';
ROLLBACK;
-- who is not seen in a sample of all rows has none; in one of some rows he fades
INSERT INTO _taskex.load_bytes SELECT :ld_idle, position, :load_2, 0, 1000000 FROM _taskex.child_table WHERE table_name = 'task';
SELECT level < 100000 AS gone FROM taskex.user_load WHERE login = 'ld_idle' AND metric = 'stored_bytes';
UPDATE _taskex.load_sampled s SET whole = false, round = 2 FROM _taskex.child_table c WHERE c.position = s.position AND c.table_name = 'task' AND s.partition_id = :load_2;
SELECT round(sum(_taskex.load_faded(b.bytes, b.round, s.round, s.whole))) FROM _taskex.load_bytes b JOIN _taskex.load_sampled s USING (partition_id, position)
    JOIN _taskex.child_table c USING (position) WHERE c.table_name = 'task' AND b.user_id = :ld_idle;
-- a sample of some blocks of a table is spread in the same way
SELECT taskex.deposit('ld_req', 10000, 'load 3') > 0 AS deposited;
SELECT count(*) FROM taskex.create_tasks('ld_req', :type, array_fill('{}'::jsonb, ARRAY[3000]));
SELECT _taskex.sample_child(format('_taskex.task_%s', :load_1)::regclass, 'requester_id', :load_1, (SELECT position FROM _taskex.child_table WHERE table_name = 'task'), 100, 50,
        (SELECT max(round) + 1 FROM _taskex.load_sampled));
SELECT b.bytes BETWEEN 0 AND 2.0 * pg_total_relation_size(format('_taskex.task_%s', :load_1)::regclass) AS plausible, count(*) OVER () FROM _taskex.load_bytes b
    JOIN _taskex.child_table c USING (position) WHERE c.table_name = 'task' AND b.partition_id = :load_1 AND b.user_id = :ld_req;
SELECT _taskex.sample_storage(0);

-- a user sees his own, operators all
SET taskex.clock = '2110-06-02 00:00+00';
CREATE ROLE regress_load_user IN ROLE taskex_user;
CREATE ROLE regress_load_app IN ROLE taskex_app;
SELECT taskex.update_user('ld_per', '{"db_role": "regress_load_user"}');
SELECT count(taskex.balance('ld_req')) FROM generate_series(1, 5);
SELECT users FROM taskex.measure_load();
SET ROLE regress_load_user;
SELECT login, partition, metric, this_hour > 0 AS seen FROM taskex.user_load WHERE metric = 'calls';
SELECT count(*) FROM taskex.user_load WHERE login = 'ld_req';
SELECT * FROM taskex.partition_load;
SELECT * FROM taskex.node_load;
SELECT * FROM _taskex.load_hour;
SELECT * FROM _taskex.user_loads();
SELECT * FROM taskex.measure_load();
RESET ROLE;
SET ROLE regress_load_app;
SELECT login, this_hour FROM taskex.user_load WHERE metric = 'calls' AND login IN ('ld_req', 'ld_per', 'ld_idle') ORDER BY 1;
SELECT count(*) FROM taskex.measure_load();
RESET ROLE;

-- bad input
SELECT _taskex.load_profile(:ld_per, 'nothing');
SELECT _taskex.load_profile(:ld_per, NULL);
SELECT _taskex.load_means('{1,2}', now(), now(), now());
SELECT _taskex.load_means(array_fill(NULL::real, ARRAY[24]), now(), now(), now());
SELECT _taskex.load_merge(array_fill(1::real, ARRAY[24]), '-infinity', array_fill(1::real, ARRAY[24]), now());
SELECT _taskex.load_profile(-1, 'calls');
BEGIN READ ONLY;
SELECT * FROM taskex.measure_load();
ROLLBACK;
-- what is dropped is forgotten
SELECT taskex.add_partition('load_3') AS load_3 \gset
SELECT _taskex.measure_partitions(1000) > 0 AS measured;
SELECT count(*) FROM _taskex.load_partition_bytes WHERE partition_id = :load_3;
SELECT taskex.drop_partition('load_3');
SELECT count(*) FROM _taskex.load_partition_bytes WHERE partition_id = :load_3;

DROP ROLE regress_load_app;
SELECT taskex.update_user('ld_per', '{"db_role": null}');
DROP ROLE regress_load_user;
