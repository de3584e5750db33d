-- Budgets, bonuses, payouts, statements, audit.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.exchange_fee = 0.2;
SET taskex.clock = '2205-12-31 22:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('finance_1') > 0 AS one, taskex.add_partition('finance_2') > 0 AS two;
SELECT taskex.register_user('fin_req', partition => 'finance_1') > 0 AS req, taskex.register_user('fin_free', partition => 'finance_1') > 0 AS free,
    taskex.register_user('fin_ann', partition => 'finance_1') > 0 AS ann, taskex.register_user('fin_ben', partition => 'finance_2') > 0 AS ben;
SELECT taskex.deposit('fin_req', 1000, 'start') > 0 AS req, taskex.deposit('fin_free', 50, 'start') > 0 AS free,
    taskex.deposit('fin_ben', 7, 'start') > 0 AS ben;
SELECT taskex.create_task_type('fin_req', 'Finance: one', 1, auto_approve => '1 hour') AS one,
    taskex.create_task_type('fin_req', 'Finance: ten', 10) AS ten \gset

-- budgets: a bound for all, one for a type, one for a day
SELECT taskex.set_budget('fin_req', 30);
SELECT taskex.set_budget('fin_req', 5, task_type => :one);
SELECT taskex.set_budget('fin_req', 26.4, 'day');
SELECT requester, task_type_id = :one AS of_type, period, amount, spent, remaining FROM taskex.budgets WHERE requester = 'fin_req' ORDER BY 2, 3;
SELECT min(t) AS task FROM taskex.create_tasks('fin_req', :one, ARRAY['1', '2']::jsonb[], 2) t \gset pair_
SELECT taskex.create_task('fin_req', :ten, '1', 1, '1 hour') AS ten_task \gset
SELECT task_type_id = :one AS of_type, period, spent, remaining FROM taskex.budgets WHERE requester = 'fin_req' ORDER BY 1, 2;
-- each of them can be the one that says no, and nothing is changed
\set VERBOSITY terse
SELECT taskex.create_task('fin_req', :one, '1');
\set VERBOSITY default
SELECT taskex.create_task('fin_req', :ten, '1');
SELECT taskex.set_budget('fin_req', 1000, 'day');
SELECT taskex.create_task('fin_req', :ten, '1', 2);
SELECT task_type_id = :one AS of_type, period, spent, remaining FROM taskex.budgets WHERE requester = 'fin_req' ORDER BY 1, 2;
SELECT * FROM taskex.balance('fin_req');
-- whoever has none is not bound
SELECT taskex.create_task('fin_free', :ten, '1', 1, '1 hour') > 0 AS created;

-- what expires comes back, and what a rollback undoes
BEGIN;
SELECT taskex.expire_task('fin_req', :ten_task);
SELECT period, spent FROM taskex.budgets WHERE requester = 'fin_req' AND task_type_id IS NULL ORDER BY 1;
SAVEPOINT one;
SELECT taskex.create_task('fin_req', :ten, '1', 2) > 0 AS created;
SELECT period, spent FROM taskex.budgets WHERE requester = 'fin_req' AND task_type_id IS NULL ORDER BY 1;
ROLLBACK TO one;
SELECT period, spent FROM taskex.budgets WHERE requester = 'fin_req' AND task_type_id IS NULL ORDER BY 1;
ROLLBACK;
SELECT period, spent FROM taskex.budgets WHERE requester = 'fin_req' AND task_type_id IS NULL ORDER BY 1;
-- a changed amount counts at once, in the transaction that changes it, and until it is undone
BEGIN;
SELECT taskex.set_budget('fin_req', 1000);
SELECT taskex.create_task('fin_req', :ten, '1', 2) > 0 AS created;
ROLLBACK;
SELECT taskex.create_task('fin_req', :ten, '1', 2);
-- lowered below what was spent: nothing is left
SELECT taskex.set_budget('fin_req', 3);
SELECT amount, spent, remaining FROM taskex.budgets WHERE requester = 'fin_req' AND period = 'none' AND task_type_id IS NULL;
SELECT taskex.create_task('fin_req', :ten, '1');
SELECT taskex.set_budget('fin_req', 40);

-- work: one approved, one rejected; the rejected one's money comes back
SELECT assignment_id AS ann_1 FROM taskex.accept_task('fin_ann', :pair_task) \gset
SELECT assignment_id AS ben_1 FROM taskex.accept_task('fin_ben', :pair_task) \gset
SELECT taskex.submit_assignment('fin_ann', :ann_1, '1');
SELECT taskex.submit_assignment('fin_ben', :ben_1, '1');
SELECT taskex.approve_assignment('fin_req', :ann_1, 'well done');
SELECT taskex.reject_assignment('fin_req', :ben_1, 'no');
SELECT task_type_id = :one AS of_type, period, spent, remaining FROM taskex.budgets WHERE requester = 'fin_req' ORDER BY 1, 2;

-- the next day: its budget is new, and what comes back from the day before does not count there
SET taskex.clock = '2206-01-01 00:00:00+00';
SELECT period, spent FROM taskex.budgets WHERE requester = 'fin_req' AND task_type_id IS NULL ORDER BY 1;
SELECT taskex.set_budget('fin_req', 100, 'month');
SELECT count(*) FROM taskex.run_due();
SELECT state FROM taskex.tasks WHERE task_id = :ten_task;
SELECT period, spent FROM taskex.budgets WHERE requester = 'fin_req' AND task_type_id IS NULL ORDER BY 1;
SELECT taskex.create_task('fin_req', :ten, '1', 1) > 0 AS created;
SELECT period, spent FROM taskex.budgets WHERE requester = 'fin_req' AND task_type_id IS NULL ORDER BY 1;
-- a budget that is dropped and set again counts anew, and gets nothing back of what it did not count
SELECT taskex.drop_budget('fin_req');
SELECT taskex.drop_budget('fin_req');
SELECT taskex.set_budget('fin_req', 20);
SELECT taskex.expire_task('fin_req', task_id) FROM taskex.tasks WHERE requester = 'fin_req' AND state = 'available' ORDER BY task_id;
SELECT period, spent FROM taskex.budgets WHERE requester = 'fin_req' AND task_type_id IS NULL ORDER BY 1;

-- bonuses
SELECT taskex.send_bonus('fin_req', :ann_1, 2.5, 'quick and right', 'first') AS bonus \gset
SELECT taskex.send_bonus('fin_req', :ann_1, 2.50, 'quick and right', 'first') = :bonus AS same;
\set VERBOSITY sqlstate
SELECT taskex.send_bonus('fin_req', :ann_1, 2.6, 'quick and right', 'first');
SELECT taskex.send_bonus('fin_req', :ann_1, 2.5, 'quick', 'first');
SELECT taskex.send_bonus('fin_req', :ben_1, 2.5, 'quick and right', 'first');
\set VERBOSITY default
SELECT taskex.send_bonus('fin_req', :ben_1, 0.3, 'for the trouble') > 0 AS sent, taskex.send_bonus('fin_req', :ben_1, 0.3, 'for the trouble') > 0 AS again;
SELECT requester, performer, amount, fee, reason, sent_at FROM taskex.bonuses WHERE requester = 'fin_req' ORDER BY bonus_id;
SELECT kind, available, held, counterparty, subject_id = :ann_1 AS of_it FROM taskex.statement('fin_req') WHERE transfer_id IN (:bonus, :bonus + 1);
SELECT kind, available, held, counterparty, subject_id = :ann_1 AS of_it FROM taskex.statement('fin_ann', max_rows => 1);
SELECT l AS login, b.* FROM unnest(ARRAY['fin_req', 'fin_ann', 'fin_ben']) l, taskex.balance(l) b;
-- under the budget
SELECT period, spent, remaining FROM taskex.budgets WHERE requester = 'fin_req' AND task_type_id IS NULL ORDER BY 1;
SELECT taskex.send_bonus('fin_req', :ann_1, 20, 'too much');
\set VERBOSITY terse
SELECT taskex.send_bonus('fin_req', :ann_1, 4.9, 'too much for the type');
\set VERBOSITY default
SELECT taskex.drop_budget('fin_req', 'none', :one), taskex.drop_budget('fin_req'), taskex.drop_budget('fin_req', 'day'), taskex.drop_budget('fin_req', 'month');
-- without funds
SELECT taskex.send_bonus('fin_req', :ann_1, 2000, 'too much');
-- with its fee, more than can be counted
SELECT taskex.send_bonus('fin_req', :ann_1, 8999999999.999999999, 'too much');
-- a rule of its own
SELECT taskex.set_fee(0.5, 1, kind => 'bonus') AS rule \gset
BEGIN;
SELECT taskex.send_bonus('fin_req', :ann_1, 1, 'a minimum of 1') AS low, taskex.send_bonus('fin_req', :ann_1, 4, 'the half') AS high \gset
SELECT amount, fee FROM taskex.bonuses WHERE bonus_id IN (:low, :high) ORDER BY bonus_id;
ROLLBACK;
SELECT taskex.drop_fee(:rule);
-- bad input
SELECT taskex.send_bonus('fin_req', :ann_1, 0, 'nothing'); SELECT taskex.send_bonus('fin_req', :ann_1, -1, 'less'); SELECT taskex.send_bonus('fin_req', :ann_1, 'NaN', 'what');
SELECT taskex.send_bonus('fin_req', :ann_1, 1, ''); SELECT taskex.send_bonus('fin_req', :ann_1, 1, repeat('x', 10001)); SELECT taskex.send_bonus('fin_req', :ann_1, 1, 'x', '');
SELECT taskex.send_bonus('fin_req', :ann_1, 1, 'x', repeat('k', 256)); SELECT taskex.send_bonus('fin_req', 0, 1, 'x');
\set VERBOSITY sqlstate
SELECT taskex.send_bonus('fin_free', :ann_1, 1, 'x');
\set VERBOSITY default
SELECT taskex.set_budget('fin_req', -1); SELECT taskex.set_budget('fin_req', 1, 'week'); SELECT taskex.set_budget('fin_req', 1, task_type => 0); SELECT taskex.drop_budget('fin_req', 'week');

-- payouts: what was earned, never what was deposited
SELECT login, amount FROM (SELECT _taskex.login(user_id) AS login, _taskex.amount(amount) AS amount FROM _taskex.payable(NULL, 0, 10000)) p WHERE login LIKE 'fin\_%' ORDER BY 1;
SELECT taskex.create_payout('fin-1', 1, ARRAY['fin_ben', 'fin_ann', 'fin_ann']) AS payout \gset
SELECT taskex.create_payout('fin-1', 1, ARRAY['fin_ann', 'fin_ben']) = :payout AS same;
SELECT taskex.create_payout('fin-1', 2, ARRAY['fin_ann', 'fin_ben']);
SELECT taskex.create_payout('fin-1', 1);
SELECT taskex.create_payout('fin-2', logins => ARRAY['fin_ben', 'fin_req']) > 0 AS made;
SELECT taskex.create_payout('fin-3', logins => ARRAY['fin_ben', 'fin_ann', 'fin_req']) > 0 AS empty;
SELECT taskex.create_payout('fin-4', logins => '{}') > 0 AS empty;
SELECT reference, created_at, minimum, items, pending, paid, failed, amount FROM taskex.payouts WHERE reference LIKE 'fin-%' ORDER BY 1;
SELECT reference, login, amount, state FROM taskex.payout_items WHERE reference LIKE 'fin-%' ORDER BY 1, 2;
SELECT l AS login, b.* FROM unnest(ARRAY['fin_ann', 'fin_ben']) l, taskex.balance(l) b;
-- settled once; what failed is back
SELECT taskex.settle_payout_item('fin-1', 'fin_ann', 'paid', 'bank 17');
SELECT taskex.settle_payout_item('fin-1', 'fin_ann', 'paid', 'bank 17');
SELECT taskex.settle_payout_item('fin-1', 'fin_ann', 'paid', 'bank 18');
SELECT taskex.settle_payout_item('fin-1', 'fin_ann', 'failed');
SELECT taskex.settle_payout_item('fin-2', 'fin_ben', 'failed', error => 'no such account');
SELECT taskex.settle_payout_item('fin-2', 'fin_ben', 'failed', error => 'no such account');
SELECT taskex.settle_payout_item('fin-2', 'fin_ben', 'paid');
SELECT reference, login, amount, state, settled_at, external_reference, error FROM taskex.payout_items WHERE reference LIKE 'fin-%' ORDER BY 1, 2;
SELECT reference, items, pending, paid, failed, amount FROM taskex.payouts WHERE reference LIKE 'fin-%' ORDER BY 1;
SELECT * FROM taskex.balance('fin_ben');
SELECT kind, available, counterparty, reference FROM taskex.statement('fin_ben', max_rows => 2);
SELECT taskex.create_payout('fin-5', logins => ARRAY['fin_ben']) > 0 AS again;
SELECT login, amount FROM taskex.payout_items WHERE reference = 'fin-5';
SELECT taskex.settle_payout_item('fin-5', 'fin_ben', 'failed');
-- bad input
SELECT taskex.create_payout(''); SELECT taskex.create_payout(repeat('x', 1025)); SELECT taskex.create_payout('fin-x', -1); SELECT taskex.create_payout('fin-x', max_items => 0);
SELECT taskex.create_payout('fin-x', max_items => 10001); SELECT taskex.create_payout('fin-x', logins => ARRAY['fin_ann', NULL]); SELECT taskex.create_payout('fin-x', logins => ARRAY['fin_nobody']);
SELECT taskex.settle_payout_item('fin-x', 'fin_ann', 'paid'); SELECT taskex.settle_payout_item('fin-2', 'fin_ann', 'paid'); SELECT taskex.settle_payout_item('fin-2', 'fin_nobody', 'paid');
SELECT taskex.settle_payout_item('fin-2', 'fin_ben', 'pending'); SELECT taskex.settle_payout_item('fin-2', 'fin_ben', 'paid', ''); SELECT count(*) FROM taskex.payouts WHERE reference = 'fin-x';

-- years: by UTC, and equal to the ledger
SELECT * FROM taskex.yearly_statements WHERE login LIKE 'fin\_%' ORDER BY login, year;
SELECT login, sum(rewards_earned + bonuses_earned + deposited - withdrawn - rewards_paid - bonuses_paid - fees_paid)
        = (SELECT b.available + b.held FROM taskex.balance(y.login) b) AS equals_balance
    FROM taskex.yearly_statements y WHERE login LIKE 'fin\_%' GROUP BY login ORDER BY login;
SELECT sum(rewards_earned) = sum(rewards_paid) AS rewards, sum(bonuses_earned) = sum(bonuses_paid) AS bonuses,
    sum(fees_paid) = (SELECT b.available - coalesce(sum(t.available), 0) FROM taskex.transfers t WHERE t.login = 'exchange' AND t.kind = 'withdrawal') AS fees
    FROM taskex.yearly_statements, taskex.balance('exchange') b GROUP BY b.available;

-- earnings by day and type, and equal to the ledger
SELECT count(*) FROM taskex.run_due();
SELECT performer, day, title, approved, reward, bonus FROM taskex.earnings WHERE performer LIKE 'fin\_%' ORDER BY 1, 2;
SELECT e.performer, e.reward = y.rewards AND e.bonus = y.bonuses AS equal
    FROM (SELECT performer, sum(reward) AS reward, sum(bonus) AS bonus FROM taskex.earnings GROUP BY 1) e
        JOIN (SELECT login, sum(rewards_earned) AS rewards, sum(bonuses_earned) AS bonuses FROM taskex.yearly_statements GROUP BY 1) y ON y.login = e.performer
    WHERE performer LIKE 'fin\_%' ORDER BY 1;

-- every transfer has an act
SELECT act, cause, kind, count(*), bool_and(explained) AS explained, count(reason) AS reasons,
        bool_and(task_id IS NOT NULL) AS task, bool_and(assignment_id IS NOT NULL) AS assignment
    FROM taskex.audit WHERE login LIKE 'fin\_%' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;
SELECT count(*) = (SELECT count(*) FROM taskex.transfers) AS all_transfers FROM taskex.audit;
-- one that has none is found
BEGIN;
UPDATE _taskex.bonus SET amount = amount + 1 WHERE bonus_id = :bonus;
SELECT login, kind, explained FROM taskex.audit WHERE transfer_id = :bonus ORDER BY 1;
SELECT check_name, detail FROM taskex.check_market() WHERE NOT ok ORDER BY 1;
ROLLBACK;
BEGIN;
DELETE FROM _taskex.entry WHERE kind = 'reward' AND subject_id = :ann_1;
SELECT check_name, detail FROM taskex.check_market() WHERE NOT ok ORDER BY 1;
ROLLBACK;
BEGIN;
UPDATE _taskex.entry SET available = available - 100, held = held + 100 WHERE kind = 'release' AND account_id = _taskex.user_id('fin_req');
UPDATE _taskex.entry SET available = available + 9000000000000, held = held - 9000000000000 WHERE kind = 'budget' AND counterparty = _taskex.user_id('fin_req');
SELECT check_name FROM taskex.check_ledger() WHERE NOT ok;
ROLLBACK;
-- a budget with many charges is folded like any account, and read the same
SELECT taskex.create_task_type('fin_free', 'Finance: small', 0.01) AS small \gset
SELECT taskex.set_budget('fin_free', 13.3);
SELECT count(taskex.create_task('fin_free', :small, to_jsonb(i))) FROM generate_series(1, 1100) i;
SELECT spent, remaining FROM taskex.budgets WHERE requester = 'fin_free';
DO $$
DECLARE
    type bigint := (SELECT task_type_id FROM taskex.task_types WHERE title = 'Finance: small');
BEGIN
    FOR i IN 1..2000 LOOP
        -- too much: that reads the entries, and notes how many they are
        BEGIN
            PERFORM taskex.create_task('fin_free', type, '1', 100);
        EXCEPTION WHEN SQLSTATE 'TX203' THEN
            PERFORM _taskex.fold_ledger();
        END;
        EXIT WHEN EXISTS (SELECT FROM _taskex.balance b WHERE b.account_id < -1);
        PERFORM pg_sleep(0.05);
    END LOOP;
END $$;
SELECT count(*) AS folded, sum(b.available + b.held) AS sum FROM _taskex.balance b WHERE b.account_id < -1;
SELECT spent, remaining FROM taskex.budgets WHERE requester = 'fin_free';
SELECT taskex.create_task('fin_free', :small, '1', 9);
SELECT taskex.create_task('fin_free', :small, '1', 8) > 0 AS created;
SELECT spent, remaining FROM taskex.budgets WHERE requester = 'fin_free';

-- a task with another type is another budget's from then on; those beside it are not
BEGIN;
SELECT taskex.set_budget('fin_req', 10, task_type => :one), taskex.set_budget('fin_req', 100, task_type => :ten);
CREATE TEMP TABLE moved AS SELECT t, row_number() OVER (ORDER BY t) FROM taskex.create_tasks('fin_req', :one, ARRAY['1', '2', '3']::jsonb[]) t;
CREATE FUNCTION pg_temp.spent() RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(t.title || ' ' || b.spent, ', ' ORDER BY b.since, t.task_type_id) FROM taskex.budgets b JOIN taskex.task_types t USING (task_type_id) WHERE requester = 'fin_req' $$;
SELECT pg_temp.spent();
SELECT taskex.change_task_type('fin_req', t, :ten), pg_temp.spent() FROM moved WHERE row_number = 2;
SELECT taskex.change_task_type('fin_req', t, :ten), pg_temp.spent() FROM moved WHERE row_number = 1;
SELECT taskex.change_task_type('fin_req', t, :one), pg_temp.spent() FROM moved WHERE row_number = 1;
SELECT taskex.cancel_task('fin_req', t), pg_temp.spent() FROM moved WHERE row_number = 3;
SELECT taskex.cancel_task('fin_req', t), pg_temp.spent() FROM moved WHERE row_number = 2;
SELECT taskex.cancel_task('fin_req', t), pg_temp.spent() FROM moved WHERE row_number = 1;
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
ROLLBACK;

SET taskex.clock = '2206-03-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.check_market() WHERE NOT ok;

-- whatever happens to a task, its budgets count what was taken from them and is held or paid:
-- the model keeps a stack of what was charged for each task, and who gets back is who paid last
SET taskex.clock = '2206-04-20 12:00:00+00';
SET taskex.override_period = '300 d';
SELECT count(taskex.register_user(p, partition => 'finance_2')) AS users FROM unnest('{fin_stack,fin_p1,fin_p2,fin_p3}'::text[]) p;
SELECT taskex.deposit('fin_stack', 1000000, 'stack') > 0 AS deposited, taskex.set_budget('fin_stack', 1000000);
SELECT taskex.create_task_type('fin_stack', 'Finance: three', 3, auto_approve => '90 days') AS three, taskex.create_task_type('fin_stack', 'Finance: seven', 7, auto_approve => '90 days') AS seven \gset
CREATE TEMP TABLE stack (n serial, task bigint, type bigint, accounts bigint[], amount numeric);
CREATE TEMP TABLE paid (accounts bigint[], amount numeric);
CREATE FUNCTION pg_temp.accounts(type bigint) RETURNS bigint[] LANGUAGE sql AS $$
    SELECT coalesce(array_agg(_taskex.budget_account(budget_id, period, _taskex.now()) ORDER BY task_type_id, period), '{}')
    FROM _taskex.budget WHERE requester_id = _taskex.user_id('fin_stack') AND task_type_id IN (0, type)
$$;
CREATE FUNCTION pg_temp.model_hold(task bigint, slots int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO stack (task, type, accounts, amount) SELECT t.task_id, t.task_type_id, pg_temp.accounts(t.task_type_id), t.reward + t.fee
        FROM taskex.tasks t, generate_series(1, slots) WHERE t.task_id = task
$$;
CREATE FUNCTION pg_temp.model_release(of_task bigint, count int) RETURNS void LANGUAGE sql AS $$
    DELETE FROM stack WHERE n IN (SELECT n FROM stack WHERE task = of_task ORDER BY n DESC LIMIT count)
$$;
-- what each present budget counts: the model's figure beside the view's
CREATE FUNCTION pg_temp.wrong() RETURNS TABLE (budget bigint, spent numeric, expected numeric) LANGUAGE sql AS $$
    SELECT b.budget_id, v.spent, e.expected FROM _taskex.budget b
        JOIN taskex.budgets v ON v.requester = 'fin_stack' AND v.period = b.period AND coalesce(v.task_type_id, 0) = b.task_type_id
        CROSS JOIN LATERAL (SELECT _taskex.budget_account(b.budget_id, b.period, _taskex.now()) AS id) a
        CROSS JOIN LATERAL (SELECT coalesce((SELECT sum(s.amount) FROM stack s WHERE a.id = ANY (s.accounts)), 0)
            + coalesce((SELECT sum(p.amount) FROM paid p WHERE a.id = ANY (p.accounts)), 0) AS expected) e
    WHERE b.requester_id = _taskex.user_id('fin_stack') AND v.spent IS DISTINCT FROM e.expected
$$;
CREATE FUNCTION pg_temp.one_act(act int, three bigint, seven bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    t record;
    r record;
    slots int;
    other bigint;
    chance bigint := floor(random() * 1000000000);
BEGIN
    SELECT k.*, s.state AS inner_state, s.performers AS wanted, s.live, s.released, s.judged INTO t
        FROM taskex.tasks k JOIN _taskex.task s USING (task_id)
        WHERE k.requester = 'fin_stack' AND s.state IN ('open', 'complete', 'expired')
        ORDER BY hashint8extended(task_id, chance) LIMIT 1;
    IF act < 12 OR t IS NULL THEN
        FOR r IN SELECT task_id FROM taskex.create_tasks('fin_stack', CASE WHEN random() < 0.5 THEN three ELSE seven END, ARRAY['1', '2', '3']::jsonb[], 2, '30 days') task_id LOOP
            PERFORM pg_temp.model_hold(r.task_id, 2);
        END LOOP;
        RETURN 'supply';
    ELSIF act < 30 THEN
        IF t.expires_at <= _taskex.now() OR t.wanted > 20 THEN RETURN 'no add'; END IF;
        PERFORM taskex.add_performers('fin_stack', t.task_id, 1 + act % 2);
        PERFORM pg_temp.model_hold(t.task_id, 1 + act % 2);
        RETURN 'add';
    ELSIF act < 38 THEN
        IF t.inner_state NOT IN ('open', 'expired') THEN RETURN 'no cancel'; END IF;
        slots := CASE t.inner_state WHEN 'open' THEN t.wanted - t.live ELSE 0 END;
        PERFORM taskex.cancel_task('fin_stack', t.task_id);
        PERFORM pg_temp.model_release(t.task_id, slots);
        RETURN 'cancel';
    ELSIF act < 46 THEN
        IF t.inner_state <> 'open' THEN RETURN 'no expiry'; END IF;
        PERFORM taskex.expire_task('fin_stack', t.task_id);
        PERFORM pg_temp.model_release(t.task_id, t.wanted - t.live);
        RETURN 'expire';
    ELSIF act < 54 THEN
        IF t.inner_state <> 'expired' THEN RETURN 'no reopening'; END IF;
        PERFORM taskex.set_expiry('fin_stack', t.task_id, _taskex.now() + '30 days');
        PERFORM pg_temp.model_hold(t.task_id, t.released);
        RETURN 'reopen';
    ELSIF act < 60 THEN
        IF t.inner_state <> 'open' OR t.live > 0 OR t.expires_at <= _taskex.now() OR EXISTS (SELECT FROM _taskex.result x WHERE x.task_id = t.task_id) THEN
            RETURN 'no move';
        END IF;
        other := CASE t.task_type_id WHEN three THEN seven ELSE three END;
        PERFORM taskex.change_task_type('fin_stack', t.task_id, other);
        PERFORM pg_temp.model_release(t.task_id, t.wanted), pg_temp.model_hold(t.task_id, t.wanted);
        RETURN 'move';
    ELSIF act < 80 THEN
        SELECT p INTO r FROM unnest('{fin_p1,fin_p2,fin_p3}'::text[]) p OFFSET chance % 3 LIMIT 1;
        BEGIN
            PERFORM taskex.submit_assignment(r.p, (SELECT assignment_id FROM taskex.accept_task(r.p, t.task_id)), '1');
        EXCEPTION WHEN OTHERS THEN RETURN 'no work';
        END;
        RETURN 'work';
    ELSE
        SELECT x.*, k.reward + k.fee AS price INTO r FROM _taskex.result x JOIN taskex.tasks k USING (task_id)
            WHERE k.requester = 'fin_stack' AND x.state IN ('submitted', 'rejected')
            ORDER BY hashint8extended(assignment_id, chance) LIMIT 1;
        IF r IS NULL THEN RETURN 'no result';
        ELSIF r.state = 'rejected' THEN
            PERFORM taskex.approve_assignment('fin_stack', r.assignment_id, override => true);
            INSERT INTO paid VALUES (pg_temp.accounts(r.task_type_id), r.price);
            RETURN 'override';
        ELSIF act < 86 THEN
            -- it stays with those that were charged, held before and paid now
            PERFORM taskex.approve_assignment('fin_stack', r.assignment_id);
            RETURN 'approve';
        ELSE
            PERFORM taskex.reject_assignment('fin_stack', r.assignment_id, 'no', reopen => act < 93);
            IF (SELECT s.reopened FROM _taskex.result s WHERE s.assignment_id = r.assignment_id) THEN
                RETURN 'reject and reopen';
            END IF;
            PERFORM pg_temp.model_release(r.task_id, 1);
            RETURN 'reject';
        END IF;
    END IF;
END $$;
CREATE TEMP TABLE done (act text, wrong bigint);
CREATE FUNCTION pg_temp.acts(count int, three bigint, seven bigint) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    act text;
    what text;
BEGIN
    FOR i IN 1..count LOOP
        act := pg_temp.one_act(floor(random() * 100)::int, three, seven);
        INSERT INTO done VALUES (act);
        IF act NOT LIKE 'no %' THEN
            SELECT string_agg(w::text, ' ') INTO what FROM pg_temp.wrong() w;
            IF what IS NULL THEN
                -- and without any model: what was taken from the first budget is what is not there any more
                SELECT format('spent %s of %s', b.spent, 1000000 - c.available) INTO what
                    FROM taskex.budgets b, taskex.balance('fin_stack') c
                    WHERE b.requester = 'fin_stack' AND b.period = 'none' AND b.task_type_id IS NULL AND b.spent <> 1000000 - c.available;
            END IF;
            IF what IS NOT NULL THEN
                RETURN format('after %s: %s', act, what);
            END IF;
        END IF;
    END LOOP;
    RETURN 'right';
END $$;
SELECT setseed(0.3);
SELECT pg_temp.acts(150, :three, :seven);
SELECT taskex.set_budget('fin_stack', 100000, 'day');
SELECT pg_temp.acts(150, :three, :seven);
SET taskex.clock = '2206-04-21 12:00:00+00';
SELECT pg_temp.acts(150, :three, :seven);
SELECT taskex.set_budget('fin_stack', 100000, 'month', :three), taskex.set_budget('fin_stack', 100000, 'none', :seven);
SELECT pg_temp.acts(150, :three, :seven);
-- the last days of what was supplied first: it expires by itself
SET taskex.clock = '2206-06-01 00:00:00+00';
CREATE TEMP TABLE before AS SELECT t.task_id, t.performers - t.live AS free FROM _taskex.task t WHERE t.requester_id = _taskex.user_id('fin_stack') AND t.state = 'open';
SELECT count(*) FROM taskex.run_due();
SELECT count(*) > 0 AS expired, count(pg_temp.model_release(task_id, free)) AS nothing FROM before JOIN _taskex.task t USING (task_id) WHERE t.state = 'expired';
SELECT count(*) AS wrong FROM pg_temp.wrong();
SELECT pg_temp.acts(150, :three, :seven);
SELECT DISTINCT act FROM done WHERE act NOT LIKE 'no %' ORDER BY 1;
-- in the end nothing is held, and each budget counts what was paid from it
SELECT count(taskex.reject_assignment('fin_stack', assignment_id, 'no')) > 0 AS rejected FROM _taskex.result WHERE requester_id = _taskex.user_id('fin_stack') AND state = 'submitted';
SELECT count(taskex.cancel_task('fin_stack', task_id)) > 0 AS cancelled FROM _taskex.task WHERE requester_id = _taskex.user_id('fin_stack') AND state = 'open';
SELECT held FROM taskex.balance('fin_stack');
SELECT count(*) FROM taskex.run_due();
SELECT y.title, c.slots - c.used AS open FROM _taskex.catalogue c JOIN taskex.task_types y USING (task_type_id) WHERE c.requester_id = _taskex.user_id('fin_stack') ORDER BY 1;
SELECT b.spent = s.sum AS right, b.spent > 0 AS anything FROM taskex.budgets b,
    (SELECT sum(k.reward + k.fee) FROM _taskex.result x JOIN taskex.tasks k USING (task_id) WHERE k.requester = 'fin_stack' AND x.state = 'approved') s
    WHERE b.requester = 'fin_stack' AND b.period = 'none' AND b.task_type_id IS NULL;
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.check_market() WHERE NOT ok;
RESET taskex.override_period;
