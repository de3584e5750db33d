-- What is at hand for groups alone is found, shown and accepted by those who may have it; and
-- requesters take turns. The configuration has supplies on and no supplier.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set regression :DBNAME
CREATE DATABASE regress_supply_find TEMPLATE template0;
\c regress_supply_find
SET client_min_messages = warning;
CREATE EXTENSION taskex;
SET taskex.exchange_fee = 0;
SET taskex.clock = '2030-01-01 00:00:00+00';
SELECT taskex.add_partition('p1'), taskex.add_partition('p2');
SELECT count(taskex.register_user(u, partition => 'p1')) FROM unnest(ARRAY['req', 'huge', 'small', 'ann', 'bob']) u;
SELECT taskex.register_user('far', partition => 'p2') > 0 AS far;
SELECT count(taskex.deposit(u, 10000, 'x')) FROM unnest(ARRAY['req', 'huge', 'small']) u;
SELECT taskex.create_task_type('req', 'Sort', 1) AS type \gset
SELECT taskex.create_group('few', ARRAY['bob'], sharing => 'exclusive', weight => 2) AS few \gset
CREATE VIEW broken AS SELECT * FROM taskex.check_market() WHERE NOT ok UNION ALL SELECT * FROM taskex.check_ledger() WHERE NOT ok;
CREATE FUNCTION seen(performer text) RETURNS TABLE (found bigint, task text, recommended bigint) LANGUAGE sql AS $$
    SELECT s.available, (SELECT t.input::text FROM taskex.tasks t WHERE t.task_id = s.task_id),
        (SELECT r.available FROM taskex.recommend_tasks(performer, 5) r)
    FROM (SELECT 1) one LEFT JOIN taskex.search_tasks(performer, 'sort') s ON true $$;

-- shared: everybody finds it, as if nothing was leased
SELECT count(*) FROM taskex.create_tasks('req', :type, ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 10) i), 2);
SELECT count(*) FROM taskex.run_due();
SELECT u, s.* FROM unnest(ARRAY['ann', 'bob', 'far']) u, seen(u) s;
SELECT partition_id AS p1 FROM _taskex.partition WHERE name = 'p1' \gset
SELECT _taskex.supply_acquire(-:p1, :type, 100);
SELECT sum(performers - live) AS free FROM _taskex.task;
SELECT u, s.* FROM unnest(ARRAY['ann', 'bob', 'far']) u, seen(u) s;
SELECT title, available FROM taskex.task_catalogue;
SELECT available, in_progress FROM taskex.batches;
SELECT max(task_id) AS last FROM _taskex.task \gset
SELECT free_slots, input, qualified FROM taskex.preview_task('far', :last);
SELECT free_slots, input FROM taskex.preview_task('req', :last);
SELECT input FROM taskex.accept_task('far', :last);
SELECT free_slots, input FROM taskex.preview_task('req', :last);
-- what he has accepted is not at hand any more
SELECT input FROM taskex.accept_next('ann', :type);
SELECT u, s.* FROM unnest(ARRAY['ann', 'far']) u, seen(u) s;

-- exclusive: only its members do
SELECT _taskex.supply_give_back(-:p1, :type, 0);
SELECT _taskex.supply_acquire(:few, :type, 100);
SELECT u, s.* FROM unnest(ARRAY['ann', 'bob', 'far']) u, seen(u) s;
SELECT title, available FROM taskex.task_catalogue;
-- the catalogue shows it to them, to its requester and to operators
CREATE ROLE regress_supply_find;
GRANT taskex_user TO regress_supply_find;
CREATE FUNCTION shown(login text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    titles text;
BEGIN
    PERFORM taskex.update_user(login, '{"db_role": "regress_supply_find"}');
    SET LOCAL ROLE regress_supply_find;
    titles := (SELECT string_agg(title, ' ') FROM taskex.task_catalogue);
    RESET ROLE;
    PERFORM taskex.update_user(login, '{"db_role": null}');
    RETURN titles;
END $$;
SELECT count(*) FROM taskex.accept_next('far', :type);
SELECT count(*) FROM taskex.run_due();
SELECT shown('ann') AS ann;
SELECT shown('bob') AS bob;
SELECT shown('req') AS req;
DROP ROLE regress_supply_find;
SELECT free_slots FROM taskex.preview_task('far', (SELECT max(task_id) FROM _taskex.task WHERE task_id < :last));
SELECT free_slots FROM taskex.preview_task('bob', :last);
SELECT input FROM taskex.accept_task('bob', :last);
SELECT * FROM taskex.preview_task('ann', :last);

-- a lease that is over, and a task that has expired, are nobody's
SET taskex.clock = '2030-01-02 00:00:00+00';
SELECT u, s.* FROM unnest(ARRAY['ann', 'bob']) u, seen(u) s;
SELECT _taskex.supply_give_back(:few, :type, 0);
SELECT u, s.found > 0 AS found, s.task FROM unnest(ARRAY['ann', 'bob']) u, seen(u) s;
SELECT * FROM broken;

-- Who comes after a huge requester gets his share with the next batch.
SELECT taskex.create_task_type('req', 'Weigh', 1) AS weigh \gset
CREATE FUNCTION kept(task_type bigint) RETURNS TABLE (login text, slots bigint) LANGUAGE sql AS $$
    SELECT d.login, sum(_taskex.at_hand(t.task_id)) FROM _taskex.task t JOIN _taskex.directory d ON d.user_id = t.requester_id
    WHERE t.task_type_id = task_type GROUP BY 1 HAVING sum(_taskex.at_hand(t.task_id)) > 0 ORDER BY 2 DESC, 1 $$;
SELECT count(*) FROM taskex.create_tasks('huge', :weigh, ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 1000) i));
SELECT count(*) FROM taskex.run_due();
SELECT _taskex.supply_acquire(-:p1, :weigh, 20);
SELECT * FROM kept(:weigh);
SELECT count(*) FROM taskex.create_tasks('small', :weigh, ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 15) i));
SELECT count(*) FROM taskex.run_due();
SELECT _taskex.supply_acquire(-:p1, :weigh, 20);
SELECT * FROM kept(:weigh);
SELECT _taskex.supply_acquire(-:p1, :weigh, 20);
SELECT * FROM kept(:weigh);
-- of more requesters than a batch has slots all have their turn before one has two
SELECT count(taskex.register_user('r' || i, partition => 'p1')), count(taskex.deposit('r' || i, 10, 'x')) FROM generate_series(1, 19) i;
SELECT sum(n) FROM generate_series(1, 19) i, LATERAL (SELECT count(*) AS n FROM taskex.create_tasks('r' || i, :weigh, '{1,2,3}')) t;
SELECT count(*) FROM taskex.run_due();
CREATE FUNCTION kept_now() RETURNS TABLE (requesters bigint, most bigint) LANGUAGE sql AS $$
    SELECT count(*), max(slots) FROM kept((SELECT task_type_id FROM taskex.task_types WHERE title = 'Weigh')) WHERE login LIKE 'r%' $$;
SELECT _taskex.supply_acquire(-:p1, :weigh, 10);
SELECT * FROM kept_now();
SELECT _taskex.supply_acquire(-:p1, :weigh, 10);
SELECT * FROM kept_now();
-- shares follow the weights, also over batches that are smaller than a turn
SELECT taskex.set_requester_weight('huge', 5), taskex.set_requester_weight('small', 2);
SELECT * FROM taskex.requester_weights ORDER BY 1;
SELECT taskex.create_task_type('req', 'Count', 1) AS count \gset
SELECT count(taskex.deposit(u, 100, 'y')) FROM unnest(ARRAY['huge', 'small', 'r1', 'r2']) u;
SELECT u, n FROM unnest(ARRAY['huge', 'small', 'r1', 'r2']) u, LATERAL (SELECT count(*) AS n FROM taskex.create_tasks(u, :count, array_fill('1'::jsonb, ARRAY[CASE WHEN u = 'r1' THEN 3 ELSE 100 END]))) t;
SELECT count(*) FROM taskex.run_due();
SELECT sum(_taskex.supply_acquire(-:p1, :count, 4)) FROM generate_series(1, 9);
SELECT * FROM kept(:count);
-- r1 has no more
SELECT sum(_taskex.supply_acquire(-:p1, :count, 4)) FROM generate_series(1, 8);
SELECT * FROM kept(:count);
SELECT _taskex.supply_acquire(-:p1, :count, 80);
SELECT * FROM kept(:count);
SELECT taskex.set_requester_weight('huge', 1), taskex.set_requester_weight('small', 1);
SELECT * FROM taskex.requester_weights;
SELECT taskex.set_requester_weight('huge', 0);
SELECT taskex.set_requester_weight('huge', NULL);
SELECT taskex.set_requester_weight('nobody', 2);
SELECT * FROM broken;
\c :regression
DROP DATABASE regress_supply_find;
