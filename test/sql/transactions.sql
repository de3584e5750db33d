-- What savepoints, exception blocks and two-phase commit do to supply, accept,
-- submit, judgements and deposits, and to what shared memory knows of them.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET taskex.exchange_fee = 0.2;
SET taskex.clock = '2120-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('trans_1') > 0 AS added, taskex.add_partition('trans_2') > 0 AS added;
SELECT taskex.register_user('t_req', partition => 'trans_1') > 0 AS req,
    taskex.register_user('t_ann', partition => 'trans_1') > 0 AS ann,
    taskex.register_user('t_bob', partition => 'trans_2') > 0 AS bob;
SELECT taskex.deposit('t_req', 100, 'start') > 0 AS deposited;
SELECT taskex.create_task_type('t_req', 'Transactions', 1) AS type \gset
CREATE TEMP VIEW now_there AS
    SELECT (SELECT count(*) FROM taskex.tasks WHERE requester = 't_req') AS tasks,
        (SELECT sum(free_slots) FROM taskex.tasks WHERE requester = 't_req' AND state = 'available') AS free,
        (SELECT count(*) FROM taskex.assignments WHERE requester = 't_req') AS assignments,
        (SELECT count(*) FROM taskex.assignments WHERE requester = 't_req' AND state <> 'accepted') AS finished,
        b.available, b.held, p.available = b.available AS purse, p.inflight, p.pins
    FROM taskex.balance('t_req') b, _taskex.purse('t_req') p;
CREATE TEMP VIEW broken AS
    SELECT * FROM taskex.check_ledger() WHERE NOT ok UNION ALL SELECT * FROM taskex.check_market() WHERE NOT ok;

-- the main loop in one transaction
BEGIN;
SELECT taskex.create_task('t_req', :type, '"one"') AS one \gset
SELECT assignment_id AS a FROM taskex.accept_task('t_ann', :one) \gset
SELECT taskex.submit_assignment('t_ann', :a, '1');
SELECT taskex.approve_assignment('t_req', :a);
SELECT available FROM taskex.balance('t_ann');
SELECT taskex.withdraw('t_ann', 1) > 0 AS withdrawn;
ROLLBACK;
SELECT * FROM now_there;
SELECT * FROM taskex.balance('t_ann');
SELECT * FROM taskex.accept_next('t_ann', :type);
BEGIN;
SELECT taskex.create_task('t_req', :type, '"one"') AS one \gset
-- (accept_next looks at what is committed; by its id the task can be had at once)
SELECT count(*) FROM taskex.accept_next('t_ann', :type);
SELECT assignment_id AS a FROM taskex.accept_task('t_ann', :one) \gset
SELECT taskex.submit_assignment('t_ann', :a, '1');
SELECT taskex.approve_assignment('t_req', :a);
COMMIT;
SELECT * FROM now_there;
SELECT * FROM taskex.balance('t_ann');

-- every act inside a savepoint that is rolled back; then again, and it stays
BEGIN;
SAVEPOINT s;
SELECT taskex.create_task('t_req', :type, '"gone"') AS gone \gset
SELECT count(*) FROM taskex.create_tasks('t_req', :type, ARRAY['"gone"', '"gone"']::jsonb[]);
SELECT count((taskex.accept_task('t_ann', task_id)).task_id) FROM taskex.tasks WHERE requester = 't_req' AND input = '"gone"';
ROLLBACK TO s;
SELECT count(*) FROM taskex.accept_next('t_ann', :type, 9);
SELECT taskex.create_task('t_req', :type, '"two"') AS two \gset
COMMIT;
SELECT * FROM now_there;
BEGIN;
SAVEPOINT s2;
SELECT input FROM taskex.accept_next('t_ann', :type);
ROLLBACK TO s2;
SELECT input FROM taskex.accept_next('t_bob', :type);
ROLLBACK TO s2;
SELECT assignment_id AS a FROM taskex.accept_next('t_ann', :type) \gset
SAVEPOINT s3;
SELECT taskex.submit_assignment('t_ann', :a, '"wrong"');
ROLLBACK TO s3;
SELECT taskex.return_assignment('t_ann', :a);
ROLLBACK TO s3;
SELECT taskex.extend_assignment('t_ann', :a, '1 hour') IS NOT NULL AS extended;
ROLLBACK TO s3;
SELECT taskex.submit_assignment('t_ann', :a, '"right"');
SAVEPOINT s4;
SELECT taskex.reject_assignment('t_req', :a, 'no');
ROLLBACK TO s4;
SELECT taskex.reject_assignment('t_req', :a, 'no', true);
ROLLBACK TO s4;
SELECT taskex.approve_assignment('t_req', :a);
ROLLBACK TO s4;
SELECT taskex.expire_task('t_req', :two);
ROLLBACK TO s4;
SELECT state FROM taskex.task_results('t_req', :two);
RELEASE s4;
COMMIT;
SELECT result, state FROM taskex.task_results('t_req', :two);
SELECT * FROM now_there;
SELECT * FROM broken;

-- money that a savepoint brought and took
BEGIN;
SAVEPOINT s;
SELECT taskex.deposit('t_req', 1000, 'gone') > 0 AS deposited;
SELECT taskex.create_task('t_req', :type, '"rich"', 500) > 0 AS created;
ROLLBACK TO s;
SAVEPOINT s;
SELECT taskex.create_task('t_req', :type, '"rich"', 500);
ROLLBACK TO s;
SELECT taskex.withdraw('t_req', 90) > 0 AS withdrawn;
SAVEPOINT s;
SELECT taskex.create_task('t_req', :type, '"poor"', 10);
ROLLBACK TO s;
SELECT taskex.deposit('t_req', 90, 'back') > 0 AS deposited;
SELECT taskex.create_task('t_req', :type, '"many"', 10) AS many \gset
SAVEPOINT s;
SELECT taskex.expire_task('t_req', :many);
SELECT taskex.create_task('t_req', :type, '"all"', 80) > 0 AS created;
ROLLBACK TO s;
SELECT taskex.create_task('t_req', :type, '"all"', 80);
ROLLBACK;
SELECT * FROM now_there;
SELECT taskex.deposit('t_req', 1, 'gone') > 0 AS the_reference_is_free_again;

-- levels: an inner one released into one that is rolled back, and the other way round
SELECT taskex.create_task('t_req', :type, '"before"') > 0 AS created;
BEGIN;
SAVEPOINT a;
SAVEPOINT b;
SELECT taskex.create_task('t_req', :type, '"inner"') AS inner \gset
SELECT input FROM taskex.accept_next('t_ann', :type);
RELEASE b;
SELECT taskex.create_task('t_req', :type, '"outer"') AS outer \gset
ROLLBACK TO a;
SAVEPOINT b;
SELECT taskex.create_task('t_req', :type, '"kept"') AS kept \gset
SAVEPOINT c;
SELECT input FROM taskex.accept_next('t_ann', :type);
ROLLBACK TO c;
RELEASE b;
RELEASE a;
COMMIT;
SELECT input FROM taskex.accept_next('t_ann', :type, 9);
SELECT count(*) FROM taskex.tasks WHERE task_id IN (:inner, :outer);
SELECT * FROM broken;

-- several performers in one transaction
SELECT taskex.create_task('t_req', :type, '"wide"', 3) > 0 AS created;
BEGIN;
SELECT input FROM taskex.accept_next('t_ann', :type);
SAVEPOINT s;
SELECT input FROM taskex.accept_next('t_bob', :type);
SELECT input FROM taskex.accept_next('t_bob', :type);
ROLLBACK TO s;
SELECT input FROM taskex.accept_next('t_ann', :type);
SELECT input FROM taskex.accept_next('t_bob', :type);
COMMIT;
SELECT taskex.register_user('t_cid', partition => 'trans_2') > 0 AS cid, taskex.register_user('t_dan', partition => 'trans_2') > 0 AS dan;
SELECT input FROM taskex.accept_next('t_cid', :type);
SELECT input FROM taskex.accept_next('t_dan', :type);
SELECT performer, a.state FROM taskex.assignments a JOIN taskex.tasks t USING (task_id) WHERE t.input = '"wide"' ORDER BY 1;

-- many savepoints in one transaction, every other one rolled back
DO $$
DECLARE
    kind bigint := (SELECT task_type_id FROM taskex.task_types WHERE title = 'Transactions');
BEGIN
    FOR i IN 1..40 LOOP
        BEGIN
            PERFORM taskex.create_task('t_req', kind, to_jsonb(i));
            IF i % 2 = 0 THEN
                RAISE 'undo';
            END IF;
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
END $$;
SELECT * FROM now_there;
DO $$
DECLARE
    kind bigint := (SELECT task_type_id FROM taskex.task_types WHERE title = 'Transactions');
    a record;
    n int := 0;
BEGIN
    FOR i IN 1..60 LOOP
        BEGIN
            SELECT * INTO a FROM taskex.accept_next('t_bob', kind);
            EXIT WHEN a.assignment_id IS NULL;
            n := n + 1;
            IF i % 3 = 0 THEN
                RAISE 'undo';
            END IF;
            PERFORM taskex.submit_assignment('t_bob', a.assignment_id, a.input, a.lease_token);
        EXCEPTION WHEN raise_exception THEN NULL;
        END;
    END LOOP;
    RAISE WARNING '% tries', n;
END $$;
SELECT * FROM now_there;
SELECT count(*) FROM taskex.accept_next('t_bob', :type, 99);
SELECT * FROM now_there;
SELECT * FROM broken;

-- an exception block turns errors into values, and what came before it stays
CREATE FUNCTION pg_temp.accept_or_not(who text, task bigint) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM taskex.accept_task(who, task);
    RETURN 'accepted';
EXCEPTION
    WHEN SQLSTATE 'TX104' THEN RETURN 'taken';
    WHEN SQLSTATE 'TX106' THEN RETURN 'had';
    WHEN SQLSTATE 'TX105' THEN RETURN 'own';
    WHEN SQLSTATE 'TX102' THEN RETURN 'unknown';
END $$;
SELECT taskex.create_task('t_req', :type, '"block"') AS block \gset
BEGIN;
SELECT pg_temp.accept_or_not('t_req', :block), pg_temp.accept_or_not('t_ann', :block), pg_temp.accept_or_not('t_ann', :block),
    pg_temp.accept_or_not('t_bob', :block), pg_temp.accept_or_not('t_bob', 7);
COMMIT;
SELECT performer, state FROM taskex.assignments WHERE task_id = :block;

-- run_due() in a savepoint that is rolled back does it all again
SELECT taskex.create_task('t_req', :type, '"due"', expires_in => '1 hour') AS due \gset
SET taskex.clock = '2120-01-01 02:00:00+00';
BEGIN;
SAVEPOINT s;
SELECT what, count > 0 AS some FROM taskex.run_due() WHERE what <> 'results approved';
SELECT count(*) FROM taskex.run_due() WHERE count > 0;
ROLLBACK TO s;
SELECT count(*) > 0 AS again FROM taskex.run_due() WHERE count > 0;
ROLLBACK;
SELECT state FROM _taskex.task WHERE task_id = :due;
SELECT what, count > 0 AS some FROM taskex.run_due() WHERE what <> 'results approved';
SELECT state FROM _taskex.task WHERE task_id = :due;
SELECT count(*) FROM taskex.run_due() WHERE count > 0;
SELECT * FROM broken;

-- two-phase commit is refused for everything that shared memory has a part in
BEGIN;
SELECT taskex.create_task('t_req', :type, '1') > 0 AS created;
PREPARE TRANSACTION 'trans';
SELECT taskex.create_task('t_req', :type, '"2pc"') AS task \gset
BEGIN;
SELECT input FROM taskex.accept_next('t_bob', :type);
PREPARE TRANSACTION 'trans';
BEGIN;
SELECT assignment_id AS a FROM taskex.accept_task('t_ann', :task) \gset
PREPARE TRANSACTION 'trans';
SELECT assignment_id AS a FROM taskex.accept_task('t_ann', :task) \gset
BEGIN;
SELECT taskex.extend_assignment('t_ann', :a, '1 hour') IS NULL AS failed;
PREPARE TRANSACTION 'trans';
BEGIN;
SELECT taskex.submit_assignment('t_ann', :a, '1');
PREPARE TRANSACTION 'trans';
BEGIN;
SELECT taskex.return_assignment('t_ann', :a);
PREPARE TRANSACTION 'trans';
SELECT taskex.submit_assignment('t_ann', :a, '1');
BEGIN;
SELECT taskex.approve_assignment('t_req', :a);
PREPARE TRANSACTION 'trans';
BEGIN;
SELECT taskex.reject_assignment('t_req', :a, 'no', true);
PREPARE TRANSACTION 'trans';
BEGIN;
SELECT taskex.withdraw('t_req', 1) > 0 AS withdrawn;
PREPARE TRANSACTION 'trans';
-- ... also after a savepoint was rolled back that did nothing else, it is allowed again
BEGIN;
SAVEPOINT s;
SELECT taskex.create_task('t_req', :type, '1') > 0 AS created;
ROLLBACK TO s;
PREPARE TRANSACTION 'trans';
COMMIT PREPARED 'trans';
-- ... and for those who only read
BEGIN;
SELECT partition FROM taskex.route('t_req');
SELECT count(*) FROM taskex.tasks WHERE requester = 't_nobody';
SELECT available > 0 AS some FROM taskex.balance('t_req');
PREPARE TRANSACTION 'trans';
COMMIT PREPARED 'trans';
SELECT gid FROM pg_prepared_xacts;
SELECT state FROM taskex.assignments WHERE assignment_id = :a;
SELECT * FROM broken;

-- with the caller's own table
CREATE TEMP TABLE mine (task bigint, note text);
BEGIN;
INSERT INTO mine SELECT taskex.create_task('t_req', :type, '"mine"', idempotency_key => 'mine'), 'first';
ROLLBACK;
INSERT INTO mine SELECT taskex.create_task('t_req', :type, '"mine"', idempotency_key => 'mine'), 'second';
SELECT note, state FROM mine JOIN taskex.tasks ON task_id = task;
-- a trigger that acts, in a statement that fails in the end
CREATE FUNCTION pg_temp.supply() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.task := taskex.create_task('t_req', (SELECT task_type_id FROM taskex.task_types WHERE title = 'Transactions'), to_jsonb(NEW.note));
    RETURN NEW;
END $$;
CREATE TRIGGER supply BEFORE INSERT ON mine FOR EACH ROW WHEN (NEW.task IS NULL) EXECUTE FUNCTION pg_temp.supply();
ALTER TABLE mine ADD UNIQUE (note);
SELECT available, held FROM taskex.balance('t_req');
INSERT INTO mine (note) VALUES ('x'), ('y'), ('x');
SELECT available, held FROM taskex.balance('t_req');
INSERT INTO mine (note) VALUES ('x'), ('y'), ('z');
SELECT available, held FROM taskex.balance('t_req');
SELECT count(*) FROM taskex.accept_next('t_ann', :type, 99) WHERE input IN ('"x"', '"y"', '"z"');

SET taskex.clock = '2123-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT held FROM taskex.balance('t_req');
SELECT * FROM now_there;
SELECT * FROM broken;
