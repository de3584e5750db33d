-- Money: deposits, withdrawals, balances, statements, what they refuse.
SET client_min_messages = warning;
SELECT taskex.add_partition('ledger_1') > 0 AS added, taskex.add_partition('ledger_2') > 0 AS added;
SELECT taskex.register_user('ledger_anna', partition => 'ledger_1') > 0 AS registered,
    taskex.register_user('ledger_boris', '{"db_role": null}', 'ledger_2') > 0 AS registered;

-- a deposit happens once
SELECT taskex.deposit('ledger_anna', 100, 'first') AS id \gset
SELECT taskex.deposit('ledger_anna', 100.000, 'first') = :id AS same;
SELECT taskex.deposit('ledger_boris', 100, 'first') = :id AS same;
SELECT * FROM taskex.balance('ledger_anna');
\set VERBOSITY default
SELECT taskex.deposit('ledger_anna', 100.5, 'first');
\set VERBOSITY sqlstate
SELECT taskex.deposit('ledger_anna', 100.5, 'first');

-- amounts
\set VERBOSITY default
SELECT taskex.deposit('ledger_anna', 0, 'x');
SELECT taskex.deposit('ledger_anna', -1, 'x');
SELECT taskex.deposit('ledger_anna', 'NaN', 'x');
SELECT taskex.deposit('ledger_anna', 'Infinity', 'x');
SELECT taskex.deposit('ledger_anna', 0.0000000001, 'x');
SELECT taskex.deposit('ledger_anna', 9000000000, 'x');
SELECT taskex.deposit('ledger_anna', 1e1000, 'x');
SELECT taskex.deposit('ledger_anna', NULL, 'x');
SELECT taskex.deposit(NULL, 1, 'x');
SELECT taskex.deposit('ledger_anna', 1, NULL);
SELECT taskex.deposit('ledger_anna', 1, '');
SELECT taskex.deposit('ledger_anna', 1, repeat('x', 1025));
SELECT taskex.deposit('ledger_nobody', 1, 'x');
SELECT taskex.deposit('exchange', 1, 'x');
SELECT taskex.withdraw('ledger_anna', NULL);
SELECT taskex.withdraw('ledger_anna', -1);
SELECT taskex.withdraw('outside', 1);
SELECT taskex.balance(NULL);
SELECT taskex.balance('ledger_nobody');
SELECT taskex.statement(NULL);
SELECT taskex.statement('ledger_anna', max_rows => 0);
SELECT taskex.statement('ledger_anna', max_rows => NULL);
SELECT _taskex.amount(1500000000), _taskex.amount(1), _taskex.amount(-1000000000);

-- withdrawals
SELECT taskex.withdraw('ledger_anna', 30.000000001, 'out') AS id \gset
SELECT taskex.withdraw('ledger_anna', 30.000000001, 'out') = :id AS same;
SELECT taskex.withdraw('ledger_anna', 30, 'out');
SELECT taskex.withdraw('ledger_anna', 70);
\set VERBOSITY sqlstate
SELECT taskex.withdraw('ledger_anna', 70);
\set VERBOSITY default
SELECT taskex.withdraw('ledger_anna', 69.999999999) > :id AS withdrawn;
SELECT * FROM taskex.balance('ledger_anna');
SELECT taskex.withdraw('ledger_anna', 0.000000001);

-- own earnings are spent first, and go with their savepoint
BEGIN;
SELECT taskex.deposit('ledger_anna', 10, 'own') > 0 AS deposited;
SAVEPOINT a;
SELECT taskex.withdraw('ledger_anna', 4) > 0 AS withdrawn;
SAVEPOINT b;
SELECT taskex.withdraw('ledger_anna', 7);
ROLLBACK TO b;
SELECT taskex.withdraw('ledger_anna', 6) > 0 AS withdrawn;
ROLLBACK TO a;
SELECT taskex.withdraw('ledger_anna', 10) > 0 AS withdrawn;
COMMIT;
SELECT * FROM taskex.balance('ledger_anna');
BEGIN;
SAVEPOINT a;
SELECT taskex.deposit('ledger_anna', 10, 'gone') > 0 AS deposited;
SELECT taskex.withdraw('ledger_anna', 1) > 0 AS withdrawn;
ROLLBACK TO a;
SELECT taskex.withdraw('ledger_anna', 1);
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT taskex.deposit('ledger_anna', 10, 'kept') > 0 AS deposited;
RELEASE a;
SELECT taskex.withdraw('ledger_anna', 7) > 0 AS withdrawn;
COMMIT;
SELECT b.available, p.available AS purse, p.inflight, p.pins, p.loading
    FROM taskex.balance('ledger_anna') b, _taskex.purse('ledger_anna') p;

-- several savepoints publish one net amount
BEGIN;
SELECT taskex.deposit('ledger_anna', 5, 'net') > 0 AS deposited;
SAVEPOINT a;
SELECT taskex.withdraw('ledger_anna', 7) > 0 AS withdrawn;
RELEASE a;
SAVEPOINT b;
SELECT taskex.deposit('ledger_anna', 2, 'more') > 0 AS deposited;
RELEASE b;
COMMIT;
SELECT b.available, p.available AS purse, p.inflight, p.pins, p.loading
    FROM taskex.balance('ledger_anna') b, _taskex.purse('ledger_anna') p;

-- part from the purse, part own; all given back
BEGIN;
SELECT taskex.deposit('ledger_anna', 2, 'part') > 0 AS deposited;
SELECT taskex.withdraw('ledger_anna', 5) > 0 AS withdrawn;
SELECT available, inflight, pins FROM _taskex.purse('ledger_anna');
ROLLBACK;
SELECT available, inflight, pins FROM _taskex.purse('ledger_anna');

-- other kinds of transactions
BEGIN READ ONLY;
SELECT taskex.withdraw('ledger_anna', 1);
ROLLBACK;
BEGIN ISOLATION LEVEL SERIALIZABLE;
SELECT taskex.deposit('ledger_anna', 1, 'serializable') > 0 AS deposited;
SELECT taskex.withdraw('ledger_anna', 4) > 0 AS withdrawn;
COMMIT;
BEGIN;
SELECT taskex.deposit('ledger_anna', 1, 'prepared') > 0 AS deposited;
PREPARE TRANSACTION 'ledger';

-- statements
SELECT kind, available, held, counterparty, subject_id, reference
    FROM taskex.statement('ledger_anna');
SELECT kind, available FROM taskex.statement('ledger_anna', max_rows => 2);
SELECT count(*) FROM taskex.statement('ledger_anna', since => 'infinity');
SELECT count(*) FROM taskex.statement('ledger_anna', since => now());
SET taskex.clock = '2001-01-01 12:00+00';
SELECT taskex.deposit('ledger_boris', 5, 'dated') > 0 AS deposited;
RESET taskex.clock;
SELECT at = '2001-01-01 12:00+00' AS dated, available, counterparty, reference
    FROM taskex.statement('ledger_boris', max_rows => 1);
SELECT count(*) FROM taskex.statement('ledger_boris', since => '2001-01-02');

-- a task's money: held, paid with a fee, the rest given back
SELECT taskex.deposit('ledger_anna', 2, 'task') > 0 AS deposited;
SET taskex.exchange_fee = 0.2;
SELECT taskex.create_task_type('ledger_anna', 'Ledger', 0.5) AS type \gset
SELECT available AS fees FROM taskex.balance('exchange') \gset
SELECT taskex.create_task('ledger_anna', :type, '{}', performers => 4);
SELECT taskex.create_task('ledger_anna', :type, '{}', performers => 3) AS task \gset
SELECT * FROM taskex.balance('ledger_anna');
SELECT assignment_id AS assignment FROM taskex.accept_task('ledger_boris', :task) \gset
SELECT taskex.submit_assignment('ledger_boris', :assignment, '{}') AS x \gset
SELECT taskex.approve_assignment('ledger_anna', :assignment) AS x \gset
SELECT * FROM taskex.balance('ledger_anna');
SELECT taskex.expire_task('ledger_anna', :task) AS x \gset
SELECT * FROM taskex.balance('ledger_anna');
SELECT kind, available, held, counterparty,
    CASE subject_id WHEN :task THEN 'task' WHEN :assignment THEN 'assignment' END AS subject
    FROM taskex.statement('ledger_anna', max_rows => 5);
SELECT kind, available, held, counterparty, subject_id = :assignment AS paid
    FROM taskex.statement('ledger_boris', max_rows => 1);
SELECT kind, available, held, counterparty, subject_id = :assignment AS paid
    FROM taskex.statement('exchange', max_rows => 1);
SELECT login, kind, available, held, counterparty FROM taskex.transfers
    WHERE subject_id = :assignment ORDER BY kind, login;
SELECT available - :fees AS fee FROM taskex.balance('exchange');
\set VERBOSITY terse
SELECT taskex.withdraw('exchange', 1000000000);
\set VERBOSITY default
SELECT taskex.withdraw('exchange', 0.1, 'ledger fee') AS id \gset
SELECT taskex.withdraw('exchange', 0.1, 'ledger fee') = :id AS same;
SELECT available - :fees AS fee FROM taskex.balance('exchange');
RESET taskex.exchange_fee;

-- folding changes no balance
SELECT available FROM taskex.balance('outside') \gset
SELECT _taskex.fold_ledger() >= 0 AS folded;
SELECT available = :available AS same FROM taskex.balance('outside');
SELECT available FROM taskex.balance('ledger_anna');
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT _taskex.fold_ledger();
ROLLBACK;
-- a long account is folded too, and read the same
SELECT count(taskex.deposit('ledger_boris', 0.001, 'many ' || i)) FROM generate_series(1, 1200) i;
SELECT available FROM taskex.balance('ledger_boris');
-- (the conductor may be at it too)
DO $$
BEGIN
    FOR i IN 1..2000 LOOP
        PERFORM taskex.balance('ledger_boris');
        PERFORM _taskex.fold_ledger();
        EXIT WHEN EXISTS (SELECT FROM _taskex.balance b JOIN taskex.users u ON u.user_id = b.account_id
            WHERE u.login = 'ledger_boris');
        PERFORM pg_sleep(0.05);
    END LOOP;
END $$;
SELECT b.available FROM _taskex.balance b JOIN taskex.users u ON u.user_id = b.account_id
    WHERE u.login = 'ledger_boris';
SELECT available FROM taskex.balance('ledger_boris');
SELECT taskex.withdraw('ledger_boris', 106.7) > 0 AS withdrawn;
SELECT taskex.withdraw('ledger_boris', 0.1);
SELECT count(*) FROM taskex.statement('ledger_boris', since => '2000-01-01', max_rows => 5000);
SELECT * FROM taskex.check_ledger() WHERE NOT ok;

-- who may
CREATE ROLE regress_ledger_anna;
CREATE ROLE regress_ledger_app;
GRANT taskex_user TO regress_ledger_anna;
GRANT taskex_app TO regress_ledger_app;
SELECT taskex.update_user('ledger_anna', '{"db_role": "regress_ledger_anna"}');
SET ROLE regress_ledger_anna;
SELECT * FROM taskex.balance('ledger_anna');
SELECT * FROM taskex.balance('ledger_boris');
SELECT * FROM taskex.balance('exchange');
SELECT * FROM taskex.balance('outside');
SELECT taskex.deposit('ledger_anna', 1, 'mine');
SELECT taskex.withdraw('exchange', 1);
SELECT taskex.withdraw('ledger_boris', 1);
SELECT count(*) FROM taskex.statement('ledger_anna');
SELECT count(*) FROM taskex.statement('ledger_boris');
SELECT DISTINCT login, counterparty FROM taskex.transfers;
SELECT * FROM taskex.check_ledger();
SELECT _taskex.fold_ledger();
SELECT count(*) FROM _taskex.entry;
SET ROLE regress_ledger_app;
SELECT * FROM taskex.balance('ledger_anna');
SELECT taskex.deposit('ledger_anna', 1, 'mine');
SELECT taskex.balance('exchange');
SELECT count(DISTINCT login) FROM taskex.transfers WHERE login LIKE 'ledger%';
RESET ROLE;
SELECT taskex.update_user('ledger_anna', '{"db_role": null}');
DROP ROLE regress_ledger_anna;
DROP ROLE regress_ledger_app;
