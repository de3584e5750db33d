-- What operators do while an exchange is in use: draining and resuming, dropping
-- partitions. In a database of its own, for others' partitions and users count.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set regression :DBNAME
CREATE DATABASE regress_operations TEMPLATE template0;
\c regress_operations
SET client_min_messages = warning;
CREATE EXTENSION taskex;

-- a drained partition can be resumed
SELECT taskex.add_partition('p1'), taskex.add_partition('p2'), taskex.add_partition('p3');
SELECT taskex.drain_partition('p1', false), taskex.drain_partition('p2', false), taskex.drain_partition('p3', false);
SELECT ok, detail FROM taskex.health WHERE check_name = 'partitions';
SELECT taskex.register_user('ann');
SELECT taskex.resume_partition('p2');
SELECT taskex.resume_partition('p2');
SELECT name, state FROM taskex.partitions ORDER BY name;
SELECT ok, detail FROM taskex.health WHERE check_name = 'partitions';
SELECT taskex.register_user('ann') > 0 AS registered;
SELECT partition FROM taskex.route('ann');
SELECT taskex.resume_partition('none');
SELECT taskex.resume_partition(NULL);
-- a node likewise; its partitions keep their own state
SELECT taskex.drain_node('local');
SELECT ok, detail FROM taskex.health WHERE check_name = 'partitions';
SELECT taskex.register_user('bob');
SELECT taskex.register_user('bob', partition => 'p2');
SELECT taskex.resume_node('local');
SELECT name, state FROM taskex.nodes;
SELECT ok, detail FROM taskex.health WHERE check_name = 'partitions';
SELECT taskex.register_user('bob', partition => 'p1');
SELECT taskex.register_user('bob') > 0 AS registered;
SELECT taskex.resume_node('none');
SELECT taskex.resume_node(NULL);

-- the exchange earns on p2, where its users live, and withdraws on p1: one
-- withdrawal before p2 is folded, one after
SET taskex.exchange_fee = 0.2;
SELECT taskex.deposit('ann', 12, 'start') > 0 AS deposited;
SELECT taskex.create_task_type('ann', 'Sort', 10) AS type \gset
SELECT taskex.create_task('ann', :type, '1') AS task \gset
SELECT assignment_id AS assignment FROM taskex.accept_task('bob', :task) \gset
SELECT taskex.submit_assignment('bob', :assignment, '1');
SELECT taskex.approve_assignment('ann', :assignment);
SELECT taskex.withdraw('exchange', 0.5, 'first') AS first \gset
DO $$
BEGIN
    WHILE (SELECT count(*) FROM _taskex.balance WHERE account_id = 0) < 2 LOOP
        PERFORM _taskex.fold_ledger();
    END LOOP;
END $$;
SELECT taskex.withdraw('exchange', 0.25, 'second') AS second \gset
SELECT name, account_id, available FROM _taskex.balance JOIN _taskex.partition USING (partition_id) ORDER BY 1, 2;
SELECT name, account_id, kind, available FROM _taskex.entry JOIN _taskex.partition USING (partition_id)
    WHERE account_id = 0 ORDER BY transfer_id;
INSERT INTO _taskex.due_cursor SELECT partition_id, 2, now() FROM _taskex.partition ON CONFLICT DO NOTHING;
INSERT INTO _taskex.offer SELECT :type, partition_id, 0 FROM _taskex.partition ON CONFLICT DO NOTHING;

-- accounts of the exchange itself are for operators
CREATE ROLE regress_operations_admin;
CREATE ROLE regress_operations_app;
CREATE ROLE regress_operations_bob;
GRANT taskex_admin TO regress_operations_admin;
GRANT taskex_app TO regress_operations_app;
GRANT taskex_user TO regress_operations_bob;
SELECT taskex.update_user('bob', '{"db_role": "regress_operations_bob"}');
SET ROLE regress_operations_admin;
SELECT login, kind, available, held, counterparty FROM taskex.transfers ORDER BY transfer_id, login;
SET ROLE regress_operations_app;
SELECT login, kind, available, held, counterparty FROM taskex.transfers ORDER BY transfer_id, login;
SELECT * FROM taskex.statement('exchange');
SET ROLE regress_operations_bob;
SELECT login, kind, available, held, counterparty FROM taskex.transfers ORDER BY transfer_id, login;
RESET ROLE;

-- a profile cannot grow for ever, however small the changes are
SET taskex.max_input_size = '1kB';
SELECT taskex.update_user('bob', jsonb_build_object('x', repeat('x', 600)));
SELECT taskex.update_user('bob', jsonb_build_object('y', repeat('y', 600)));
SELECT taskex.update_user('bob', jsonb_build_object('x', repeat('y', 700)));
SELECT taskex.update_user('bob', jsonb_build_object('x', repeat('y', 1100)));
SELECT taskex.update_user('bob', '{"x": null}');
RESET taskex.max_input_size;
SELECT profile FROM taskex.users WHERE login = 'bob';

-- refused: with users, without a place for what must stay, with an old snapshot
SELECT taskex.drop_partition('p2');
BEGIN;
SELECT taskex.add_node('far');
UPDATE _taskex.partition SET node_id = (SELECT node_id FROM _taskex.node WHERE name = 'far') WHERE name <> 'p1';
SELECT taskex.drop_partition('p1');
ROLLBACK;
BEGIN;
DELETE FROM _taskex.directory;
SELECT taskex.drop_partition('p2');
ROLLBACK;
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT taskex.drop_partition('p3');
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT taskex.drop_partition('p3');
ROLLBACK;
-- undone
BEGIN;
SELECT taskex.drop_partition('p1');
SELECT * FROM taskex.balance('exchange');
ROLLBACK;
SELECT * FROM taskex.balance('exchange');

-- dropped: the money is where it was, no withdrawal happens twice
SET session_replication_role = replica;  -- makes no difference
SELECT taskex.drop_partition('p1');
RESET session_replication_role;
SELECT taskex.drop_partition('p1');
SELECT * FROM taskex.balance('exchange');
SELECT * FROM taskex.balance('outside');
SELECT name, account_id, available FROM _taskex.balance JOIN _taskex.partition USING (partition_id) ORDER BY 1, 2;
SELECT name, account_id, kind, available FROM _taskex.entry JOIN _taskex.partition USING (partition_id)
    WHERE account_id = 0 ORDER BY transfer_id;
SELECT taskex.withdraw('exchange', 0.5, 'first') = :first AS same, taskex.withdraw('exchange', 0.25, 'second') = :second AS same;
SELECT taskex.withdraw('exchange', 1.5);
SELECT taskex.withdraw('exchange', 1.25) > 0 AS withdrawn;
SELECT * FROM taskex.balance('exchange');
SELECT check_name, ok FROM taskex.check_ledger();
SELECT check_name, ok FROM taskex.check_market();
-- nothing of the partition is left; one without entries needs no other place
SELECT (SELECT count(*) FROM _taskex.due_cursor WHERE partition_id NOT IN (SELECT partition_id FROM _taskex.partition)) AS cursors,
    (SELECT count(*) FROM _taskex.offer WHERE partition_id NOT IN (SELECT partition_id FROM _taskex.partition)) AS offers,
    (SELECT count(*) FROM pg_class WHERE relnamespace = '_taskex'::regnamespace AND relname ~ '_1$' AND relname !~ '^(journal|event)_') AS tables;
SELECT taskex.drop_partition('p3');
SELECT name, users FROM taskex.partitions;
-- folding goes on
SELECT _taskex.fold_ledger() IS NOT NULL AS folded;
SELECT check_name, ok FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.balance('exchange');

\c :regression
DROP DATABASE regress_operations;
DROP ROLE regress_operations_admin, regress_operations_app, regress_operations_bob;
