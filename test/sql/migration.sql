-- Users move to other storage partitions. Step by step here, where no mover takes
-- the migration; the movers' own work is in test/t/041_migration.pl.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SELECT setval('_taskex.migration_migration_id_seq', 1000);
SELECT taskex.add_partition('mig_1') > 0 AS one, taskex.add_partition('mig_2') > 0 AS two;
SELECT taskex.register_user('mig_req', '{"name": "Req"}', partition => 'mig_1') > 0 AS req, taskex.register_user('mig_per', partition => 'mig_1') > 0 AS per;
SELECT taskex.deposit('mig_req', 100, 'start') > 0 AS deposited;
SELECT taskex.create_task_type('mig_req', 'Moving', 0.1) AS type \gset
SELECT count(*) FROM taskex.create_tasks('mig_req', :type, array_fill('{"x": 1}'::jsonb, ARRAY[10]), 1, idempotency_key => 'once');
SELECT taskex.set_budget('mig_req', 50);
SELECT count(*) FROM taskex.create_tasks('mig_req', :type, array_fill('{"x": 2}'::jsonb, ARRAY[5]), 1);
SELECT taskex.create_task('mig_req', :type, to_jsonb(repeat('long ', 100000))) AS long \gset
SELECT array_agg(assignment_id ORDER BY assignment_id) AS had FROM taskex.accept_next('mig_per', :type, 4) \gset
SELECT taskex.submit_assignment('mig_per', a, '{"y": 1}') FROM unnest((:'had'::bigint[])[1:2]) a;
SELECT taskex.attach('mig_req', 'file', 'https://a.example/file', task_id => :long);

-- what a user has, wherever he lives
CREATE FUNCTION pg_temp.holdings(who text) RETURNS text LANGUAGE sql AS $$
    SELECT format('%s tasks, %s assignments, balance %s, input %s, budget %s',
        (SELECT count(*) FROM taskex.tasks WHERE requester = who), (SELECT count(*) FROM taskex.assignments WHERE performer = who),
        (SELECT b FROM taskex.balance(who) b), (SELECT sum(length(input::text)) FROM taskex.tasks WHERE requester = who),
        (SELECT spent FROM taskex.budgets WHERE requester = who)) $$;
-- rows of his that lie on a partition
CREATE FUNCTION pg_temp.rows_on(who text, place text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    t record;
    n bigint;
    total bigint := 0;
BEGIN
    FOR t IN SELECT * FROM _taskex.child_table LOOP
        EXECUTE format('SELECT count(*) FROM _taskex.%I x WHERE %s', t.table_name || '_' || (SELECT p.partition_id FROM taskex.partitions p WHERE p.name = place),
            coalesce(t.owned, format('x.%I = $1', t.owner))) INTO n USING (SELECT user_id FROM taskex.users WHERE login = who);
        total := total + n;
    END LOOP;
    RETURN total;
END $$;
-- a migration that no mover takes, and its steps: each state that it comes through
CREATE PROCEDURE pg_temp.queue(who text, place text, INOUT id bigint) LANGUAGE plpgsql AS $$
BEGIN
    id := taskex.migrate_user(who, place);
    UPDATE _taskex.migration SET not_before = 'infinity' WHERE migration_id = id;
END $$;
CREATE PROCEDURE pg_temp.go(id bigint, upto text) LANGUAGE plpgsql AS $$
DECLARE
    state text;
    before text := '';
BEGIN
    FOR i IN 1 .. 30000 LOOP
        state := _taskex.move_step(id);
        COMMIT;
        IF state <> before AND state <> 'preparing' THEN
            RAISE NOTICE '%', state;
            before := state;
        END IF;
        EXIT WHEN state IN (upto, 'done', 'cancelled', 'failed');
        PERFORM pg_sleep(0.002);
    END LOOP;
END $$;
SET client_min_messages = notice;
SELECT pg_temp.holdings('mig_req') AS before \gset
SELECT :'before';
SELECT pg_temp.holdings('mig_per') AS per_before \gset

-- the whole way
CALL pg_temp.queue('mig_req', 'mig_2', NULL) \gset
SELECT login, source, target, reason, state, error FROM taskex.migrations WHERE migration_id = :id;
CALL pg_temp.go(:id, 'preparing');
SELECT pg_temp.holdings('mig_req') = :'before' AS same;
CALL pg_temp.go(:id, 'following');
SELECT pg_temp.holdings('mig_req') = :'before' AS same, pg_temp.rows_on('mig_req', 'mig_2') > 20 AS copied;
SELECT partition, epoch FROM taskex.users WHERE login = 'mig_req';
-- what is written now is followed
SELECT taskex.create_task('mig_req', :type, '"while moving"') > 0 AS created;
SELECT taskex.update_user('mig_req', '{"name": "Moving"}');
SELECT taskex.approve_assignment('mig_req', (:'had'::bigint[])[1]);
SELECT taskex.submit_assignment('mig_per', (:'had'::bigint[])[3], '{"y": 2}');
SELECT pg_temp.holdings('mig_req') AS before \gset
CALL pg_temp.go(:id, 'cleaning');
SELECT pg_temp.holdings('mig_req') = :'before' AS same;
SELECT partition, epoch, profile FROM taskex.users WHERE login = 'mig_req';
SELECT taskex.cancel_migration(:id);
CALL pg_temp.go(:id, 'done');
SELECT pg_temp.holdings('mig_req') = :'before' AS same, pg_temp.rows_on('mig_req', 'mig_1') AS left_behind;
SELECT state, rows > 0 AS copied, cleaned >= rows AS cleaned, longest_stall < '1 s' AS short, error FROM taskex.migrations WHERE migration_id = :id;
-- he goes on: the key, the assignment, the budget
SELECT count(*) FROM taskex.create_tasks('mig_req', :type, array_fill('{"x": 1}'::jsonb, ARRAY[10]), 1, idempotency_key => 'once');
SELECT pg_temp.holdings('mig_req') = :'before' AS same;
SELECT taskex.submit_assignment('mig_per', (:'had'::bigint[])[4], '{"y": 3}');
SELECT taskex.approve_assignments('mig_req', (:'had'::bigint[])[2:4]) AS approved;
SELECT count(*) FROM taskex.accept_task('mig_per', :long);
SELECT count(*) FROM taskex.attachments('mig_req', task_id => :long);
SELECT taskex.migrate_user('mig_req', 'mig_2');

-- cancelled while it copies
SELECT pg_temp.holdings('mig_req') AS before \gset
CALL pg_temp.queue('mig_req', 'mig_1', NULL) \gset
CALL pg_temp.go(:id, 'copying');
SELECT taskex.migrate_user('mig_req', 'mig_1');
CALL pg_temp.go(:id, 'following');
BEGIN;
SELECT taskex.undo_migration(:id) = :id AS the_same;
UPDATE _taskex.migration SET not_before = 'infinity' WHERE migration_id = :id;
COMMIT;
CALL pg_temp.go(:id, 'cancelled');
SELECT pg_temp.holdings('mig_req') = :'before' AS same, pg_temp.rows_on('mig_req', 'mig_1') AS left_behind;
SELECT taskex.cancel_migration(:id);
SELECT taskex.undo_migration(:id);
SELECT partition, epoch FROM taskex.users WHERE login = 'mig_req';
-- cancelled before it began
CALL pg_temp.queue('mig_req', 'mig_1', NULL) \gset
SELECT taskex.cancel_migration(:id);
SELECT state FROM taskex.migrations WHERE migration_id = :id;

-- moved, and undone; a second one waits for the cleaning of the first
CALL pg_temp.queue('mig_per', 'mig_2', NULL) \gset
CALL pg_temp.go(:id, 'cleaning');
BEGIN;
SELECT taskex.undo_migration(:id) AS back \gset
UPDATE _taskex.migration SET not_before = 'infinity' WHERE migration_id = :back;
COMMIT;
SELECT _taskex.move_step(:back);
CALL pg_temp.go(:id, 'done');
CALL pg_temp.go(:back, 'done');
SELECT undo_of = :id AS undone, reason, source, target, state FROM taskex.migrations WHERE migration_id = :back;
SELECT partition, epoch FROM taskex.users WHERE login = 'mig_per';
SELECT taskex.undo_migration(:id);

-- back again
CALL pg_temp.queue('mig_req', 'mig_1', NULL) \gset
CALL pg_temp.go(:id, 'cleaning');
SELECT pg_temp.holdings('mig_req') = :'before' AS same;
-- all of a partition to another tablespace, but not to that where it is
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE mig_space LOCATION '';
BEGIN;
SELECT taskex.move_partition('mig_1', 'pg_default');
ROLLBACK;
BEGIN;
SELECT taskex.move_partition('mig_1', NULL);
ROLLBACK;
BEGIN;
-- a partition that goes to another tablespace keeps what placement looks at
SAVEPOINT far;
SELECT taskex.add_partition('mig_far', storage_class => 'hdd', capacity => '{"users": 5}', tier => 'gold', location => '48.2,16.37') > 0 AS added;
SELECT taskex.move_partition('mig_far', 'mig_space') > 0 AS moved;
SELECT storage_class, capacity, tier, location FROM taskex.partitions WHERE name = 'mig_far';
ROLLBACK TO far;
SELECT taskex.move_partition('mig_1', 'mig_space') > 0 AS moved;
SELECT regexp_replace(name, '~.*', '~N') AS name, tablespace, state, users FROM taskex.partitions WHERE name ~ '^mig_1' ORDER BY name;
SELECT regexp_replace(partition, '~.*', '~N') AS partition, target, users, users_left, drop_empty FROM taskex.drains WHERE partition LIKE 'mig%';
SELECT regexp_replace(name, '~.*', '~N') AS name FROM taskex.performer_groups WHERE name ~ 'mig_1' ORDER BY 1;
ROLLBACK;
-- the target is kept while somebody moves from or to it, and takes nobody when it is drained
SELECT taskex.drop_partition('mig_2');
SELECT count(*) > 0 AS forwarded FROM _taskex.forward WHERE owner_id = (SELECT user_id FROM taskex.users WHERE login = 'mig_req');
CALL pg_temp.go(:id, 'done');
-- at home again: what the ids tell is true again
SELECT count(*) FROM _taskex.forward WHERE owner_id = (SELECT user_id FROM taskex.users WHERE login = 'mig_req');
DROP TABLESPACE mig_space;
SELECT taskex.drain_partition('mig_2', NULL);
SELECT taskex.drain_partition('mig_2', false);
SELECT * FROM taskex.drains WHERE partition LIKE 'mig%';
SELECT taskex.migrate_user('mig_req', 'mig_2');
SELECT taskex.resume_partition('mig_2');
CALL pg_temp.queue('mig_req', 'mig_2', NULL) \gset
CALL pg_temp.go(:id, 'copying');
BEGIN;
SELECT taskex.drain_partition('mig_2');
UPDATE _taskex.migration SET not_before = 'infinity' WHERE migration_id = :id;
COMMIT;
SELECT partition, target, users, users_left, moving, failed, drop_empty, error FROM taskex.drains WHERE partition LIKE 'mig%';
CALL pg_temp.go(:id, 'cancelled');
SELECT taskex.drop_partition('mig_2');
SELECT * FROM taskex.drains WHERE partition LIKE 'mig%';

-- a change of tier moves him, and back
SELECT taskex.add_partition('mig_gold') > 0 AS added;
SELECT taskex.alter_partition('mig_gold', '{"tier": "gold"}');
BEGIN;
SELECT taskex.update_user('mig_per', '{"tier": "gold"}');
SELECT login, target, reason, state FROM taskex.migrations WHERE login = 'mig_per' AND finished_at IS NULL;
SELECT migration_id AS id FROM taskex.migrations WHERE login = 'mig_per' AND finished_at IS NULL \gset
UPDATE _taskex.migration SET not_before = 'infinity' WHERE migration_id = :id;
COMMIT;
CALL pg_temp.go(:id, 'done');
SELECT partition, tier FROM taskex.users WHERE login = 'mig_per';
BEGIN;
SELECT taskex.update_user('mig_per', '{"tier": null}');
SELECT login, source, reason, state FROM taskex.migrations WHERE login = 'mig_per' AND finished_at IS NULL;
SELECT migration_id AS id FROM taskex.migrations WHERE login = 'mig_per' AND finished_at IS NULL \gset
UPDATE _taskex.migration SET not_before = 'infinity' WHERE migration_id = :id;
COMMIT;
CALL pg_temp.go(:id, 'done');
SELECT partition = 'mig_gold' AS there, tier FROM taskex.users WHERE login = 'mig_per';
-- but no anonymous one, before he is identified
BEGIN;
SELECT taskex.add_partition('mig_temp', storage_class => 'temporary') > 0 AS added;
SELECT taskex.start_anonymous('{"is": "mig"}') AS anonymous \gset
SELECT taskex.update_user(:'anonymous', '{"tier": "gold"}');
SELECT count(*) FROM taskex.migrations WHERE login = :'anonymous';
-- where they would go from drained partitions: temporary ones are for the anonymous, and the others for the others
SELECT taskex.add_partition('mig_temp_2', storage_class => 'temporary') > 0 AS added;
SELECT p.storage_class FROM _taskex.partition p WHERE p.partition_id = _taskex.refuge(_taskex.user_id(:'anonymous'), _taskex.home(_taskex.user_id(:'anonymous')));
SELECT p.storage_class <> 'temporary' AS lasting FROM _taskex.partition p WHERE p.partition_id = _taskex.refuge(_taskex.user_id('mig_per'), _taskex.home(_taskex.user_id('mig_per')));
UPDATE _taskex.partition SET state = 'draining' WHERE storage_class <> 'temporary';
SELECT _taskex.refuge(_taskex.user_id('mig_per'), _taskex.home(_taskex.user_id('mig_per'))) IS NULL AS nowhere;
ROLLBACK;
-- a tier that no partition has is refused, unless it was his before
SELECT taskex.update_user('mig_per', '{"tier": "glod", "language": "de"}');
SELECT tier, profile FROM taskex.users WHERE login = 'mig_per';
SELECT taskex.drain_partition('mig_gold');
SELECT taskex.update_user('mig_per', '{"tier": "gold"}');
SELECT taskex.alter_partition('mig_gold', '{"tier": "silver"}');
SELECT taskex.update_user('mig_per', '{"tier": "gold", "language": "de"}');
SELECT tier, profile FROM taskex.users WHERE login = 'mig_per';
-- (nobody can move there now, and it is not long ago that he was moved)
SET taskex.rebalance_cooldown = 0;
SELECT taskex.alter_partition('mig_gold', '{"tier": "gold"}');
SELECT count(*) FROM taskex.migrations WHERE login = 'mig_per' AND finished_at IS NULL;
SELECT count(*) FROM taskex.plan_rebalance(max_moves => 1000000) WHERE login = 'mig_per';
SELECT taskex.resume_partition('mig_gold');
SELECT login, target, reason ~ '^he cannot stay' AS must FROM taskex.plan_rebalance(max_moves => 1000000) WHERE login = 'mig_per';
RESET taskex.rebalance_cooldown;
SELECT taskex.update_user('mig_per', '{"tier": null, "language": null}');
SELECT count(*) FROM taskex.migrations WHERE login = 'mig_per' AND finished_at IS NULL;

-- more is written while his rows are compared than a pass applies
SELECT taskex.register_user('mig_busy', partition => 'mig_1') > 0 AS busy;
SELECT taskex.deposit('mig_busy', 1000, 'start') > 0 AS deposited;
SELECT taskex.create_task_type('mig_busy', 'Busy', 0.1) AS busy \gset
CALL pg_temp.queue('mig_busy', 'mig_gold', NULL) \gset
CALL pg_temp.go(:id, 'following');
SELECT _taskex.move_step(:id);
SELECT count(*) FROM taskex.create_tasks('mig_busy', :busy, array_fill('1'::jsonb, ARRAY[2500]));
SELECT count(*) > 2000 AS many FROM _taskex.migration_log WHERE migration_id = :id;
SET statement_timeout = '120s';
CALL pg_temp.go(:id, 'cleaning');
CALL pg_temp.go(:id, 'done');
RESET statement_timeout;
SELECT state, error, pg_temp.rows_on('mig_busy', 'mig_1') AS left_behind, (SELECT count(*) FROM taskex.tasks WHERE requester = 'mig_busy') AS tasks FROM taskex.migrations WHERE migration_id = :id;
-- what is written while the source is cleaned is known by its key, however sessions write a date
SELECT taskex.register_user('mig_paid', partition => 'mig_1') > 0 AS paid;
SELECT array_agg(assignment_id ORDER BY assignment_id) AS had FROM taskex.accept_next('mig_paid', :busy, 2) \gset
SELECT taskex.submit_assignment('mig_paid', a, '{"y": 1}') FROM unnest(:'had'::bigint[]) a;
SELECT taskex.approve_assignments('mig_busy', (:'had'::bigint[])[1:1]) AS approved;
SELECT count(*) >= 0 AS dispatched FROM taskex.run_due();
CALL pg_temp.queue('mig_paid', 'mig_gold', NULL) \gset
CALL pg_temp.go(:id, 'cleaning');
SELECT taskex.approve_assignments('mig_busy', (:'had'::bigint[])[2:2]) AS approved;
SET datestyle = 'German';
SELECT count(*) >= 0 AS dispatched FROM taskex.run_due();
SET datestyle = 'SQL, MDY';
CALL pg_temp.go(:id, 'done');
RESET datestyle;
SELECT state, error, pg_temp.rows_on('mig_paid', 'mig_1') AS left_behind, (SELECT sum(approved) FROM taskex.earnings WHERE performer = 'mig_paid') AS approved FROM taskex.migrations WHERE migration_id = :id;
SELECT taskex.cancel_tasks('mig_busy', :busy) AS cancelled;

SELECT taskex.add_node('mig_far', 'host=far');
SELECT taskex.add_partition('mig_3', node => 'mig_far') > 0 AS added;
SELECT taskex.migrate_user('mig_req', 'mig_3');
SELECT taskex.drop_partition('mig_3'), taskex.drop_node('mig_far');
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.check_market() WHERE NOT ok;
SELECT count(*) FROM _taskex.migration_log;
-- what ended long ago is no more
BEGIN;
UPDATE _taskex.migration m SET finished_at = finished_at - interval '100 days' FROM taskex.users u WHERE u.user_id = m.user_id AND u.login = 'mig_per';
SELECT taskex.prune('migration', '90 days', 1) AS one, taskex.prune('migration', '90 days') > 1 AS some, taskex.prune('migration', '90 days') AS none;
SELECT count(*) FILTER (WHERE login = 'mig_per') AS pruned, count(*) FILTER (WHERE login = 'mig_req') > 0 AS kept FROM taskex.migrations;
SET LOCAL taskex.rebalance_cooldown = '300 d';
UPDATE _taskex.migration SET finished_at = finished_at - interval '100 days';
SELECT taskex.prune('migration', '90 days') AS rest;
ROLLBACK;
