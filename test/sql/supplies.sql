-- What is kept at hand for groups: leased, accepted from, recalled, given back. The
-- configuration has supplies on and no supplier, so only replenish() leases.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set regression :DBNAME
CREATE DATABASE regress_supplies TEMPLATE template0;
\c regress_supplies
SET client_min_messages = warning;
CREATE EXTENSION taskex;
SET taskex.exchange_fee = 0;
SET taskex.clock = '2030-01-01 00:00:00+00';
SELECT taskex.add_partition('p1'), taskex.add_partition('p2');
SELECT count(taskex.register_user(u, partition => 'p1')) FROM unnest(ARRAY['req', 'rich', 'ann', 'bob', 'cid']) u;
SELECT taskex.register_user('far', partition => 'p2') > 0 AS far;
SELECT taskex.deposit('req', 1000, 'x') > 0 AS req, taskex.deposit('rich', 10000, 'x') > 0 AS rich;
SELECT taskex.create_task_type('req', 'Sort', 1) AS type, taskex.create_task_type('req', 'Weigh', 2) AS other \gset
CREATE VIEW supplies AS SELECT group_name, title, tasks, ready, reserved, pending, ended, target, hits, misses, leased, returned FROM taskex.supplies ORDER BY 1, 2;
CREATE VIEW broken AS SELECT * FROM taskex.check_market() WHERE NOT ok UNION ALL SELECT * FROM taskex.check_ledger() WHERE NOT ok;
-- as if two members worked, and 15 slots were pushed
CREATE FUNCTION wish(of_group int, type bigint) RETURNS void LANGUAGE sql AS $$
    INSERT INTO _taskex.push VALUES (of_group, type, 15, '{}', _taskex.now(), 'infinity');
    INSERT INTO _taskex.work_hour SELECT user_id, type, _taskex.now(), 1, _taskex.now() FROM _taskex.directory WHERE login IN ('ann', 'bob') $$;
SELECT wish(-partition_id, :type) FROM _taskex.partition WHERE name = 'p1';
CREATE FUNCTION lived() RETURNS bigint LANGUAGE sql AS 'SELECT sum(live) FROM _taskex.task';

-- nothing is at hand at first; who is given a task all the same shows what is wanted
SELECT count(*) FROM taskex.create_tasks('req', :type, ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 40) i), 2);
SELECT input FROM taskex.accept_next('ann', :type);
SELECT * FROM supplies;
SELECT taskex.replenish('partition:p1');
SELECT * FROM supplies;
SELECT lived();
-- requesters see no difference
SELECT sum(free_slots) AS free, sum(in_progress) AS in_progress FROM taskex.tasks;
SELECT sum((taskex.get_task('req', task_id) ->> 'free_slots')::int) AS free FROM taskex.tasks;
SELECT * FROM broken;

-- accepted from what is at hand: oldest first, nothing twice, and several at once
SELECT input FROM taskex.accept_next('bob', :type);
SELECT input FROM taskex.accept_next('ann', :type, 3);
SELECT input FROM taskex.accept_next('bob', :type, 2);
SELECT performer, count(*), count(a.group_lease_id) AS from_lease FROM taskex.assignments JOIN _taskex.assignment a USING (assignment_id) GROUP BY 1 ORDER BY 1;
SELECT * FROM supplies;
SELECT * FROM broken;

-- undone, by a savepoint and by the transaction
BEGIN;
SELECT input FROM taskex.accept_next('cid', :type);
SAVEPOINT s;
SELECT input FROM taskex.accept_next('cid', :type, 2);
SELECT ready, reserved FROM supplies;
ROLLBACK TO s;
SELECT ready, reserved FROM supplies;
ROLLBACK;
SELECT ready, reserved FROM supplies;
SELECT input FROM taskex.accept_next('cid', :type);

-- what is leased in a transaction that is undone is nobody's
BEGIN;
SELECT taskex.replenish('partition:p1') > 0 AS moved;
SELECT pending > 0 AS pending FROM supplies;
ROLLBACK;
SELECT ready, pending, reserved FROM supplies;
SELECT * FROM broken;

-- a given task: a slot of the ninth is at hand, the other one is not
SELECT task_id AS ninth FROM taskex.tasks WHERE input = '9' \gset
SELECT free_slots FROM taskex.tasks WHERE task_id = :ninth;
SELECT live FROM _taskex.task WHERE task_id = :ninth;
SELECT input FROM taskex.accept_task('ann', :ninth);
SELECT taskex.accept_task('ann', :ninth);
SELECT taskex.accept_task('req', :ninth);
SELECT input FROM taskex.accept_task('far', :ninth);
SELECT taskex.accept_task('cid', :ninth);

-- cancelled, expired, changed: what is at hand of a task is its requester's again
SELECT task_id AS eighth FROM taskex.tasks WHERE input = '8' \gset
SELECT task_id AS sixth FROM taskex.tasks WHERE input = '6' \gset
SELECT task_id AS fifth FROM taskex.tasks WHERE input = '5' \gset
SELECT task_id, live, _taskex.at_hand(task_id) FROM _taskex.task WHERE task_id IN (:fifth, :sixth, :eighth) ORDER BY 1;
SELECT available, held FROM taskex.balance('req');
SELECT taskex.cancel_task('req', :eighth);
SELECT taskex.expire_task('req', :sixth);
SELECT taskex.set_expiry('req', :fifth, '2030-01-05');
SELECT task_id, state, live, released, _taskex.at_hand(task_id) FROM _taskex.task WHERE task_id IN (:fifth, :sixth, :eighth) ORDER BY 1;
SELECT available, held FROM taskex.balance('req');
SELECT * FROM supplies;
BEGIN;
SELECT taskex.cancel_tasks('req', :type);
SELECT ready, reserved, ended FROM supplies;
ROLLBACK;
SELECT ready, reserved, ended FROM supplies;
SELECT * FROM broken;
SELECT wish(-partition_id, :other) FROM _taskex.partition WHERE name = 'p1';
SELECT * FROM taskex.create_task('req', :other, '"moves"') AS moves \gset
SELECT input FROM taskex.accept_next('bob', :other);
SELECT taskex.create_task('req', :other, '"moves"') AS moves \gset
SELECT taskex.replenish('partition:p1') > 0 AS moved;
SELECT live FROM _taskex.task WHERE task_id = :moves;
SELECT taskex.change_task_type('req', :moves, :type);
SELECT live, task_type_id = :type AS moved FROM _taskex.task WHERE task_id = :moves;
SELECT * FROM supplies;
SELECT * FROM broken;

-- whom a requester blocks gets nothing of his; nobody gets his own
SELECT taskex.create_task_type('rich', 'Draw', 3) AS draw \gset
SELECT wish(-partition_id, :draw) FROM _taskex.partition WHERE name = 'p1';
DELETE FROM _taskex.target_round;
SELECT count(*) FROM taskex.create_tasks('rich', :draw, ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 20) i));
SELECT count(*) FROM taskex.create_tasks('req', :draw, ARRAY(SELECT to_jsonb(-i) FROM generate_series(1, 5) i));
SELECT count(*) FROM taskex.run_due();
SELECT count(*) FROM taskex.accept_next('cid', :draw);
SELECT taskex.replenish('partition:p1') > 0 AS moved;
-- both requesters have their share
SELECT d.login, count(*) FROM _taskex.task t JOIN _taskex.directory d ON user_id = requester_id WHERE t.task_type_id = :draw AND _taskex.at_hand(t.task_id) > 0 GROUP BY 1 ORDER BY 1;
SELECT taskex.block_performer('rich', 'ann', 'no');
SELECT count(*), bool_and(a.input < '0') AS req_only FROM taskex.accept_next('ann', :draw, 30) a;
SELECT count(*), bool_and(a.input > '0') AS rich_only FROM taskex.accept_next('req', :draw, 3) a;
SELECT * FROM broken;

-- a group for itself: strangers are refused, or get nothing
SELECT taskex.create_group('few', ARRAY['bob'], sharing => 'exclusive', weight => 2, lease => '5 minutes') > 0 AS made;
SELECT taskex.create_task_type('rich', 'Guard', 1) AS guard \gset
SELECT count(*) FROM taskex.create_tasks('rich', :guard, ARRAY(SELECT to_jsonb(i) FROM generate_series(1, 10) i));
SELECT input FROM taskex.accept_next('bob', :guard);
SELECT wish(group_id, :guard) FROM taskex.performer_groups WHERE name = 'few';
SELECT taskex.replenish('few');
SELECT count(*) FROM taskex.accept_next('cid', :guard);
SELECT taskex.accept_task('cid', (SELECT max(task_id) FROM _taskex.task WHERE task_type_id = :guard)) IS NULL AS refused;
SELECT input FROM taskex.accept_next('bob', :guard);
-- shared, from now on
SELECT taskex.update_group('few', '{"sharing": "shared"}');
SET taskex.clock = '2030-01-01 00:02:00+00';
SELECT input FROM taskex.accept_next('bob', :guard);
-- the lease is over: nobody gets them from it, and they go back
SET taskex.clock = '2030-01-01 00:05:01+00';
SELECT count(*) FROM taskex.accept_next('bob', :guard);
SELECT group_name, title, ready, ended FROM supplies WHERE group_name = 'few';
SELECT taskex.replenish('few') > 0 AS moved;
SELECT * FROM broken;
SELECT count(*) FROM taskex.accept_next('cid', :guard);
SELECT * FROM broken;

-- an input that is too large to be kept is read when it is wanted
SELECT taskex.create_task_type('rich', 'Large', 1) AS large \gset
SELECT count(*) FROM taskex.create_tasks('rich', :large, ARRAY(SELECT to_jsonb(repeat(i::text, 2000)) FROM generate_series(1, 3) i));
SELECT length(input::text) FROM taskex.accept_next('cid', :large);
SELECT taskex.replenish('partition:p1') > 0 AS moved;
SELECT length(input::text), left(input::text, 3) FROM taskex.accept_next('cid', :large);

-- dropped groups, and supplies that are switched off: all goes back
SELECT taskex.drop_group('few');
SET taskex.supply = off;
SELECT input FROM taskex.accept_next('ann', :type);
SELECT taskex.replenish('partition:p1') > 0 AS moved;
SELECT taskex.replenish('partition:p2');
SELECT group_name, title, tasks, ready, ended, target FROM supplies WHERE tasks > 0;
SELECT * FROM broken;
SELECT group_name, sum(hits) AS hits, sum(misses) AS misses, sum(leased) AS leased, sum(returned) AS returned FROM taskex.supply_history GROUP BY 1 ORDER BY 1;
-- what was counted is written once, also by a transaction that does so twice
SET taskex.supply = on;
SELECT count(*) FROM taskex.accept_next('bob', :type);
BEGIN;
SELECT count(taskex.replenish(g)) FROM unnest(ARRAY['partition:p1', 'partition:p2']) g;
COMMIT;
SELECT count(taskex.replenish(g)) FROM unnest(ARRAY['partition:p1', 'partition:p2']) g;
SELECT s.group_name, s.title FROM taskex.supplies s LEFT JOIN (SELECT group_name, task_type_id, sum(hits) AS hits, sum(misses) AS misses,
        sum(leased) AS leased, sum(returned) AS returned FROM taskex.supply_history GROUP BY 1, 2) h USING (group_name, task_type_id)
    WHERE s.group_name IS NOT NULL AND (s.hits, s.misses, s.leased, s.returned) IS DISTINCT FROM (coalesce(h.hits, 0), coalesce(h.misses, 0), coalesce(h.leased, 0), coalesce(h.returned, 0));
-- what is old goes, and only that
SELECT count(*) AS hours FROM _taskex.supply_statistics \gset
INSERT INTO _taskex.supply_statistics SELECT -1, i, _taskex.now() - interval '90 days', 1, 1, 1, 1, 1, 1 FROM generate_series(1001, 1003) i;
SELECT taskex.prune('supply_statistics', '89 days', 2) AS two, taskex.prune('supply_statistics', '89 days') AS one, taskex.prune('supply_statistics', '89 days') AS none;
SELECT count(*) = :hours AS kept FROM _taskex.supply_statistics;
SET taskex.supply = off;
SELECT taskex.replenish('none');
SELECT taskex.replenish(NULL);
-- a refill changes all rows of a page: their new versions find room there, so that no index gets an entry
SELECT taskex.create_task_type('rich', 'Count', 0.01) AS many \gset
SELECT count(*) FROM taskex.create_tasks('rich', :many, ARRAY(SELECT jsonb_build_object('n', i, 'text', repeat('x', 100)) FROM generate_series(1, 200) i));
CREATE VIEW changed AS SELECT pg_stat_get_xact_tuples_updated(c.oid) AS rows, pg_stat_get_xact_tuples_hot_updated(c.oid) AS on_their_page
    FROM _taskex.partition p JOIN pg_class c ON c.oid = to_regclass('_taskex.task_' || p.partition_id) WHERE p.name = 'p1';
BEGIN;
SELECT rows AS rows_before, on_their_page AS before FROM changed \gset
SELECT _taskex.supply_acquire(-partition_id, :many, 200) AS leased FROM _taskex.partition WHERE name = 'p1';
SELECT rows - :rows_before AS changed, on_their_page - :before AS on_their_page FROM changed;
ROLLBACK;
\c :regression
DROP DATABASE regress_supplies;
