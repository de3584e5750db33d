-- What the directory does for moves of users between storage partitions, and what
-- it refuses. (How writers and readers fare meanwhile: test/specs/move.spec.)
\set VERBOSITY verbose
\set SHOW_CONTEXT never
SET client_min_messages = warning;
CREATE FUNCTION pg_temp.publish(bigint, bigint, int, int) RETURNS void LANGUAGE c AS '$libdir/taskex', 'taskex_move_publish';
CREATE FUNCTION pg_temp.fence(bigint, int) RETURNS boolean LANGUAGE c AS '$libdir/taskex', 'taskex_move_fence';
CREATE FUNCTION pg_temp.switch(bigint, bigint, int, int) RETURNS void LANGUAGE c AS '$libdir/taskex', 'taskex_move_switch';
CREATE FUNCTION pg_temp.stop(bigint) RETURNS void LANGUAGE c AS '$libdir/taskex', 'taskex_move_end';
CREATE FUNCTION pg_temp.lives(bigint, int) RETURNS boolean LANGUAGE c AS '$libdir/taskex', 'taskex_move_lives';
-- numbers of users, partitions and moves differ from run to run
CREATE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    EXECUTE statement INTO result;
    RETURN coalesce(result, 'done');
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ': ' || regexp_replace(SQLERRM, '[0-9]+', 'N', 'g');
END $$;

SELECT taskex.add_partition('moves_1') AS here \gset
SELECT taskex.add_partition('moves_2') AS there \gset
SELECT taskex.register_user('moves_a', partition => 'moves_1') AS a \gset
SELECT taskex.register_user('moves_b', partition => 'moves_2') AS b \gset

-- every kind of thing whose id tells a partition is found through one table, and is written down when it moves
SELECT table_name, forwarded, owner FROM _taskex.child_table WHERE forwarded IS NOT NULL ORDER BY position;
SELECT k, _taskex.place_of(k, 5) AS nowhere FROM unnest(ARRAY['task', 'dispute', 'request']) k;
SELECT pg_temp.try('SELECT _taskex.place_of(''house'', 5)');
SELECT pg_temp.try('SELECT taskex.preview_task(''moves_a'', -5)'), pg_temp.try('SELECT taskex.accept_task(''moves_a'', -5)'),
    pg_temp.try('SELECT taskex.preview_task(''moves_a'', 0)'), pg_temp.try('SELECT taskex.accept_task(''moves_a'', 9223372036854775807)'),
    pg_temp.try('SELECT taskex.answer_dispute(''moves_a'', -1, ''no'')'), pg_temp.try('SELECT taskex.reject_request(''moves_a'', -1, ''no'')');

-- he must live there, and move one time at once
SELECT pg_temp.try(format('SELECT pg_temp.publish(1000001, %s, %s, %s)', :b, :here, :there)) AS elsewhere,
    pg_temp.try(format('SELECT pg_temp.publish(1000001, 0, %s, %s)', :here, :there)) AS nobody,
    pg_temp.try(format('SELECT pg_temp.publish(1000001, %s, %s, %s)', :a, :here, :here)) AS nowhere;
-- (he has a summary, the key of which will change)
SELECT taskex.create_task_type('moves_b', 'Moves', 0) AS type \gset
SELECT count(taskex.create_task('moves_b', :type, '1')) AS tasks FROM generate_series(1, 2);
SELECT taskex.return_assignment('moves_a', assignment_id) AS returned FROM taskex.accept_next('moves_a', :type);
SELECT count(*) FROM taskex.run_due();
-- (the movers keep off)
INSERT INTO _taskex.migration (migration_id, user_id, source, target, reason, state, requested_at, not_before)
    VALUES (1000001, :a, :here, :there, 'test', 'copying', now(), 'infinity');
SELECT pg_temp.publish(1000001, :a, :here, :there);
SELECT pg_temp.try(format('SELECT pg_temp.publish(1000002, %s, %s, %s)', :a, :here, :there)) AS twice,
    pg_temp.try(format('SELECT pg_temp.publish(1000001, %s, %s, %s)', :a, :here, :there)) AS the_same;
-- only that move can be switched, and one that is known be ended
SELECT pg_temp.try(format('SELECT pg_temp.switch(1000002, %s, %s, %s)', :a, :here, :there)) AS unknown,
    pg_temp.try(format('SELECT pg_temp.switch(1000001, %s, %s, %s)', :b, :here, :there)) AS other_user,
    pg_temp.try(format('SELECT pg_temp.switch(1000001, %s, %s, %s)', :a, :here, :here)) AS other_place,
    pg_temp.try('SELECT pg_temp.stop(1000002)') AS not_there;
SELECT partition, epoch FROM taskex.route('moves_a');
-- what is written for him is logged, by what writes it, and goes with what is rolled back
SELECT taskex.deposit('moves_a', 5, 'moves') > 0 AS deposited, taskex.update_user('moves_a', '{"note": "x"}');
BEGIN;
SELECT taskex.deposit('moves_a', 5, 'moves 2') > 0 AS deposited;
ROLLBACK;
SELECT c.table_name, l.migration_id, l.key[1] = :a::text AS his, cardinality(l.key) AS columns
    FROM _taskex.migration_log l JOIN _taskex.child_table c USING (position) ORDER BY c.position;
-- where a key has changed, the old one too
DELETE FROM _taskex.migration_log WHERE migration_id = 1000001;
SELECT taskex.return_assignment('moves_a', assignment_id) AS returned FROM taskex.accept_next('moves_a', :type);
SELECT count(*) FROM taskex.run_due();
SELECT DISTINCT c.table_name, l.key[2] AS version FROM _taskex.migration_log l JOIN _taskex.child_table c USING (position) WHERE c.table_name = 'standing' ORDER BY 2;
-- a row that would lie where he does not live
SELECT pg_temp.try(format('INSERT INTO _taskex.message VALUES (%s, 1, %s, 0, now(), NULL, ''s'', ''m'')', :there, :a)) AS ghost;
SELECT pg_temp.lives(:a, :here) AS here, pg_temp.lives(:a, :there) AS there, pg_temp.lives(:b, :here) AS of_others;
-- until the transaction ends nobody else has him
BEGIN;
SELECT pg_temp.fence(:a, 0) AS fenced, pg_temp.fence(:a, 1000) AS again;
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 7412 AND objid = :a AND mode = 'ExclusiveLock';
ROLLBACK;
UPDATE _taskex.migration SET state = 'cancelled', finished_at = now() WHERE migration_id = 1000001;
SELECT pg_temp.stop(1000001);
SELECT pg_temp.try(format('SELECT pg_temp.switch(1000001, %s, %s, %s)', :a, :here, :there)) AS ended;
DELETE FROM _taskex.migration_log WHERE migration_id = 1000001;
SELECT taskex.deposit('moves_a', 5, 'moves 3') > 0 AS deposited;
SELECT count(*) AS logged FROM _taskex.migration_log WHERE migration_id = 1000001;

-- there is room for so many, and those that come to nothing take none
BEGIN;
SELECT count(taskex.register_user('moves_' || i, partition => 'moves_1')) FROM generate_series(1, 260) i;
SELECT pg_temp.try(format('SELECT count(pg_temp.publish(2000000 + user_id, user_id, %s, %s)) FROM _taskex.directory WHERE partition_id = %1$s', :here, :there));
ROLLBACK;
BEGIN;
SELECT count(taskex.register_user('moves_' || i, partition => 'moves_1')) FROM generate_series(1, 200) i;
SELECT count(pg_temp.publish(2000000 + user_id, user_id, :here, :there)) FROM _taskex.directory WHERE partition_id = :here;
ROLLBACK;
BEGIN;
SELECT count(taskex.register_user('moves_' || i, partition => 'moves_1')) FROM generate_series(1, 200) i;
SELECT count(pg_temp.publish(2000000 + user_id, user_id, :here, :there)) FROM _taskex.directory WHERE partition_id = :here;
ROLLBACK;
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
