-- While a user moves, his rows are on two storage partitions. Of these only those count that
-- are where the directory says that he lives: in every view, check, search and scan, before
-- the change of his home and after it.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set regression :DBNAME
CREATE DATABASE regress_ghosts TEMPLATE template0;
\c regress_ghosts
SET client_min_messages = warning;
CREATE EXTENSION taskex;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET intervalstyle = 'postgres';
SET taskex.exchange_fee = 0.2;
SET taskex.clock = '2215-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('ghosts_1') AS first, taskex.add_partition('ghosts_2') AS second, taskex.add_partition('ghosts_3') AS third \gset
-- g_req and g_per will move; the others stay where they are
SELECT count(taskex.register_user(l, jsonb_build_object('language', 'en', 'tier', 'gold'), p)) AS users FROM (VALUES
    ('g_req', 'ghosts_1'), ('g_per', 'ghosts_1'), ('g_near', 'ghosts_1'), ('g_there', 'ghosts_2'), ('g_far', 'ghosts_3')) u (l, p);
SELECT count(taskex.deposit(l, 1000, 'ghosts ' || l)) AS deposits FROM unnest('{g_req,g_near,g_there,g_per}'::text[]) l;
SELECT count(taskex.subscribe(l)) AS subscriptions FROM unnest('{g_req,g_per}'::text[]) l;

-- Something in every table that has children.
CREATE TEMP TABLE thing (name text PRIMARY KEY, id bigint);
CREATE FUNCTION pg_temp.id(which text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT id FROM thing WHERE name = which';
INSERT INTO thing VALUES ('type', taskex.create_task_type('g_req', 'Ghosts', 1, lease => '1 hour', auto_approve => '2 days')),
    ('other type', taskex.create_task_type('g_req', 'Other ghosts', 2, lease => '1 hour', auto_approve => '2 days'));
SELECT taskex.set_budget('g_req', 500), taskex.set_budget('g_req', 400, 'day'), taskex.set_budget('g_req', 300, 'month', pg_temp.id('type'));
INSERT INTO thing SELECT n, taskex.create_task('g_req', pg_temp.id('type'), to_jsonb(n), 2, consensus => 'majority', idempotency_key => n)
    FROM unnest('{open,started,submitted,approved,rejected,overridden,returned,abandoned,leased}'::text[]) n;
INSERT INTO thing SELECT n, taskex.create_task('g_near', pg_temp.id('type'), to_jsonb(n), 2) FROM unnest('{near,his near}'::text[]) n;
INSERT INTO thing SELECT n, taskex.create_task('g_there', pg_temp.id('type'), to_jsonb(n), 2) FROM unnest('{there}'::text[]) n;
INSERT INTO thing VALUES ('cancelled', taskex.create_task('g_req', pg_temp.id('other type'), '1')), ('disposed', taskex.create_task('g_req', pg_temp.id('type'), '2')),
    ('decided', taskex.create_task('g_req', pg_temp.id('type'), '3', 5, consensus => 'majority', min_performers => 2)),
    ('golden', taskex.create_golden_task('g_req', pg_temp.id('type'), '1', '1', 5)),
    ('free', taskex.create_task('g_req', taskex.create_task_type('g_req', 'Free ghosts', 0), '1', 3));
SELECT taskex.set_golden_rate('g_req', pg_temp.id('type'), 0.001);
DO $$ BEGIN
    PERFORM taskex.create_policy('g_req', 'agreement', '{"thresholds": [{"of": "assignment", "at_least": 0, "action": {"do": "notify", "subject": "s", "message": "m"}}]}', pg_temp.id('type'));
    PERFORM taskex.create_policy('g_req', 'submitted_count', '{"thresholds": [{"at_least": 1, "action": {"do": "notify", "to": "performer", "subject": "s", "message": "m"}}]}', pg_temp.id('type'));
END $$;
INSERT INTO thing SELECT 'abandoned by ' || p, (taskex.accept_task(p, pg_temp.id('abandoned'))).assignment_id FROM unnest('{g_per,g_far}'::text[]) p;
SET taskex.clock = '2215-01-01 02:00:00+00';
SELECT count(*) FROM taskex.run_due();
INSERT INTO thing SELECT n || ' by ' || p, (taskex.accept_task(p, pg_temp.id(n))).assignment_id
    FROM unnest('{started,submitted,approved,rejected,overridden,returned,decided,his near}'::text[]) n, unnest('{g_per,g_far}'::text[]) p;
DO $$ BEGIN
    PERFORM taskex.submit_assignment(p, pg_temp.id(n || ' by ' || p), '"yes"')
        FROM unnest('{submitted,approved,rejected,overridden,decided,his near}'::text[]) n, unnest('{g_per,g_far}'::text[]) p;
    PERFORM taskex.return_assignment(p, pg_temp.id('returned by ' || p)) FROM unnest('{g_per,g_far}'::text[]) p;
    PERFORM taskex.approve_assignment('g_req', pg_temp.id('approved by ' || p)) FROM unnest('{g_per,g_far}'::text[]) p;
    PERFORM taskex.approve_assignment('g_near', pg_temp.id('his near by g_per'));
    PERFORM taskex.reject_assignment('g_req', pg_temp.id(n || ' by ' || p), 'no') FROM unnest('{rejected,overridden}'::text[]) n, unnest('{g_per,g_far}'::text[]) p;
    PERFORM taskex.approve_assignment('g_req', pg_temp.id('overridden by g_per'), 'yes', true);
    PERFORM taskex.rate_requester(p, pg_temp.id('rejected by ' || p), 2) FROM unnest('{g_per,g_far}'::text[]) p;
    PERFORM taskex.send_bonus('g_req', pg_temp.id('approved by g_per'), 1.5, 'good', 'bonus');
    PERFORM taskex.cancel_task('g_req', pg_temp.id('cancelled'));
    PERFORM taskex.cancel_task('g_req', pg_temp.id('disposed'));
    PERFORM taskex.dispose_task('g_req', pg_temp.id('disposed'));
    PERFORM taskex.add_performers('g_req', pg_temp.id('open'), 2);
    PERFORM taskex.attach('g_req', 'file', 'https://x.example', pg_temp.id('open'));
    PERFORM taskex.notify_performers('g_req', '{g_per}', 'subject', 'message');
    PERFORM taskex.block_performer('g_req', 'g_there', 'careless'), taskex.block_performer('g_near', 'g_per', 'careless');
END $$;
INSERT INTO thing SELECT 'dispute of ' || p, taskex.open_dispute(p, pg_temp.id('rejected by ' || p), 'why') FROM unnest('{g_per,g_far}'::text[]) p;
INSERT INTO thing VALUES ('qualification', taskex.create_qualification('g_req', 'Ghosts')), ('asked', taskex.create_qualification('g_near', 'Asked')),
    ('taken back', taskex.create_qualification('g_near', 'Taken back'));
SELECT taskex.grant_qualification('g_req', pg_temp.id('qualification'), 'g_per', 5), taskex.grant_qualification('g_req', pg_temp.id('qualification'), 'g_far', 6);
SELECT count(taskex.request_qualification('g_per', pg_temp.id(q))) AS asked FROM unnest('{asked,taken back}'::text[]) q;
-- budgets of another day: what comes later is a layer of its own
SET taskex.clock = '2215-01-02 00:30:00+00';
SELECT taskex.add_performers('g_req', pg_temp.id('open'), 1) AS wanted;
SELECT taskex.create_payout('ghosts', 0.5, '{g_per,g_far}') > 0 AS payout;
SELECT count(taskex.settle_payout_item('ghosts', 'g_far', 'failed')) AS settled;
SELECT taskex.create_group('ghosts', selector => '{"attribute": "language", "comparator": "=", "value": "en"}') IS NOT NULL AS grouped,
    taskex.create_group('ghosts here', partitions => '{ghosts_1}') IS NOT NULL AS here;
SELECT taskex.save_search('g_there', 'ghosts', 'ghosts') IS NOT NULL AS saved;
SELECT count(*) FROM taskex.run_due();
SELECT count(*) FROM taskex.run_due();
DO $$ BEGIN PERFORM _taskex.purse(l) FROM unnest('{g_req,g_per}'::text[]) l; PERFORM _taskex.fold_ledger(); END $$;
-- balances, of users and of a budget, as folding would make them
INSERT INTO _taskex.balance (partition_id, account_id, available, held, folded_to)
    SELECT e.partition_id, e.account_id, sum(e.available), sum(e.held), max(e.transfer_id) FROM _taskex.entry e
    WHERE e.partition_id = :first AND (e.account_id > 0 OR e.account_id < -1) GROUP BY 1, 2;
-- (nothing is missing, but what runs of programs leave)
CREATE FUNCTION pg_temp.empty(home int) RETURNS SETOF name LANGUAGE plpgsql AS $$
DECLARE
    t name;
    found boolean;
BEGIN
    FOR t IN SELECT c.table_name FROM _taskex.child_table c ORDER BY position LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM _taskex.%I)', t || '_' || home) INTO found;
        IF NOT found THEN
            RETURN NEXT t;
        END IF;
    END LOOP;
END $$;
SELECT e FROM pg_temp.empty(:first) e WHERE e !~ '^(run|split|usage|invoice)';
SELECT check_name, detail FROM taskex.check_market() WHERE NOT ok UNION ALL SELECT check_name, detail FROM taskex.check_ledger() WHERE NOT ok;

-- what anybody sees: each row of each view, but for where the users are and how they move
CREATE TEMP TABLE seen (stage text, what text, line text);
CREATE FUNCTION pg_temp.look(the_stage text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v name;
    q text;
BEGIN
    FOR v IN SELECT table_name FROM information_schema.views WHERE table_schema = 'taskex' AND table_name NOT IN
            ('activity', 'health', 'migrations', 'drains', 'partitions', 'supplies') AND table_name !~ 'load|placement|rebalance|fitness' ORDER BY 1 LOOP
        EXECUTE format($q$INSERT INTO seen SELECT $1, $2, (to_jsonb(v) - $3)::text FROM taskex.%I v$q$, v) USING the_stage, v,
            -- (what others had claimed and gave back is counted by hand no more)
            CASE v WHEN 'batches' THEN '{in_progress}' ELSE '{partition,epoch}'::text[] END;
    END LOOP;
    FOR q IN SELECT * FROM probe LOOP
        INSERT INTO seen SELECT the_stage, q, l FROM pg_temp.undone(q) l;
    END LOOP;
END $$;
-- the rows of a query, of which nothing is left behind
CREATE FUNCTION pg_temp.undone(query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    lines text[];
BEGIN
    BEGIN
        EXECUTE format('SELECT array_agg(l::text) FROM (%s) l', query) INTO lines;
        RAISE 'undo' USING ERRCODE = 'ZZ999';
    EXCEPTION WHEN SQLSTATE 'ZZ999' THEN NULL;
    END;
    RETURN QUERY SELECT * FROM unnest(lines);
END $$;
CREATE FUNCTION pg_temp.at(clock timestamptz, query text) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('taskex.clock', clock::text, true);
    RETURN QUERY EXECUTE format('SELECT l::text FROM (%s) l', query);
END $$;
CREATE TEMP TABLE probe (query text);
INSERT INTO probe VALUES
    ($$SELECT * FROM taskex.check_market()$$), ($$SELECT * FROM taskex.check_ledger()$$),
    ($$SELECT * FROM taskex.tasks WHERE requester = 'g_req'$$), ($$SELECT * FROM taskex.tasks WHERE task_id = pg_temp.id('open')$$),
    ($$SELECT * FROM taskex.assignments WHERE performer = 'g_per'$$), ($$SELECT * FROM taskex.assignments WHERE requester = 'g_req'$$),
    ($$SELECT * FROM taskex.transfers WHERE login = 'g_per'$$), ($$SELECT l, taskex.balance(l) FROM unnest('{g_req,g_per,exchange,outside}'::text[]) l$$),
    ($$SELECT * FROM taskex.statement('g_req')$$), ($$SELECT * FROM taskex.queue('g_per')$$), ($$SELECT * FROM taskex.history('g_per')$$),
    ($$SELECT * FROM taskex.messages('g_per')$$), ($$SELECT * FROM taskex.list_tasks('g_req')$$), ($$SELECT * FROM taskex.task_results('g_req', pg_temp.id('submitted'))$$),
    ($$SELECT * FROM taskex.qualification_holders('g_req', pg_temp.id('qualification'))$$), ($$SELECT * FROM taskex.qualification_requests('g_near', pg_temp.id('asked'))$$),
    ($$SELECT * FROM taskex.performer_qualifications('g_per')$$), ($$SELECT taskex.delete_qualification('g_near', pg_temp.id('taken back'))$$),
    ($$SELECT taskex.task_answer('g_req', pg_temp.id('decided'))$$), ($$SELECT * FROM taskex.preview_task('g_there', pg_temp.id('near'))$$),
    ($$SELECT task_type_id, requester, available, task_id FROM taskex.search_tasks('g_far')$$),
    ($$SELECT task_type_id, requester, available, task_id FROM taskex.search_tasks('g_there')$$),
    ($$SELECT task_type_id, requester, available, task_id FROM taskex.recommend_tasks('g_far')$$),
    ($$SELECT task_type, task_id FROM taskex.accept_next('g_far', NULL, 100) ORDER BY 2$$),
    ($$SELECT task_type, task_id FROM taskex.accept_next('g_there', pg_temp.id('type'), 100) ORDER BY 2$$),
    ($$SELECT (taskex.accept_task('g_far', pg_temp.id('near'))).task_id$$), ($$SELECT (taskex.accept_task('g_far', pg_temp.id('open'))).task_id$$),
    ($$SELECT * FROM pg_temp.at('2215-01-02 04:00:00+00', 'SELECT * FROM taskex.run_due()')$$),
    ($$SELECT * FROM pg_temp.at('2215-03-01 00:00:00+00', 'SELECT * FROM taskex.run_due()')$$),
    ($$SELECT k, pg_temp.at('2216-01-01 00:00:00+00', format('SELECT taskex.prune(%L, ''60 days'')', k)) FROM unnest('{policy_action,policy_result,budget_charge}'::text[]) k$$),
    ($$SELECT user_id, amount FROM _taskex.payable(NULL, 1, 100)$$), ($$SELECT taskex.create_payout('more') > 0$$),
    ($$SELECT _taskex.supply_acquire(_taskex.group_id('ghosts'), pg_temp.id('type'), 100)$$),
    ($$SELECT _taskex.supply_acquire_of(_taskex.group_id('ghosts'), pg_temp.id('type'), 3, 1, _taskex.user_id('g_req'))$$),
    ($$SELECT * FROM taskex.dispose_tasks('g_req', '0')$$), ($$SELECT * FROM taskex.cancel_tasks('g_req', task_type => pg_temp.id('type')) c$$),
    ($$SELECT user_id, group_id, origin FROM _taskex.group_member WHERE group_id = _taskex.group_id('ghosts')$$),
    ($$SELECT taskex.update_group('ghosts', '{"selector": {"attribute": "language", "comparator": "exists"}}') IS NULL$$);
SELECT pg_temp.look('before');
SELECT count(DISTINCT what) > 60 AS looked_at_much, count(*) > 500 AS saw_much FROM seen;

-- Steps of a move are done here, one transaction each, until it is in the state.
CREATE PROCEDURE pg_temp.step_until(id bigint, goal text, last int = 10000) LANGUAGE plpgsql AS $$
DECLARE
    state text;
BEGIN
    FOR i IN 1 .. last LOOP
        state := _taskex.move_step(id);
        COMMIT;
        EXIT WHEN state = goal;
    END LOOP;
    IF state <> goal AND last = 10000 THEN
        RAISE EXCEPTION 'it is %', state;
    END IF;
END $$;
-- what differs from what was seen before anybody moved
CREATE FUNCTION pg_temp.compare(the_stage text) RETURNS TABLE (what text, gone text, new text) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_temp.look(the_stage);
    RETURN QUERY SELECT coalesce(o.what, n.what), o.line, n.line
        FROM (SELECT s.what, s.line, row_number() OVER (PARTITION BY s.what, s.line) AS i FROM seen s WHERE s.stage = 'before') o
            FULL JOIN (SELECT s.what, s.line, row_number() OVER (PARTITION BY s.what, s.line) AS i FROM seen s WHERE s.stage = the_stage) n
                USING (what, line, i)
        WHERE o.what IS NULL OR n.what IS NULL ORDER BY 1, 2, 3;
END $$;
SELECT * FROM pg_temp.compare('again');
-- (no mover takes them)
BEGIN;
SELECT taskex.migrate_user('g_req', 'ghosts_2') AS req, taskex.migrate_user('g_per', 'ghosts_2') AS per \gset
UPDATE _taskex.migration SET not_before = 'infinity' WHERE migration_id IN (:req, :per);
COMMIT;
CALL pg_temp.step_until(:req, 'following');
CALL pg_temp.step_until(:per, 'following');
SELECT * FROM pg_temp.compare('copied');
SELECT e FROM pg_temp.empty(:second) e WHERE e !~ '^(run|split|usage|invoice)';
CALL pg_temp.step_until(:req, 'cleaning');
SELECT * FROM pg_temp.compare('one has moved');
CALL pg_temp.step_until(:per, 'cleaning');
SELECT login, partition FROM taskex.users WHERE login IN ('g_req', 'g_per') ORDER BY 1;
SELECT * FROM pg_temp.compare('both have moved');
CALL pg_temp.step_until(:req, 'done');
CALL pg_temp.step_until(:per, 'done');
SELECT * FROM pg_temp.compare('cleaned');
\c :regression
DROP DATABASE regress_ghosts WITH (FORCE);
