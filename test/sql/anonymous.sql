-- Anonymous users: started, identified as known or new users, removed.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET TimeZone = 'UTC';
SET taskex.clock = '2104-03-01 12:00+00';

-- (other tests may have some)
CREATE TEMP TABLE others AS SELECT name FROM taskex.partitions WHERE storage_class = 'temporary' AND state = 'active';
DO $$ BEGIN PERFORM taskex.drain_partition(name) FROM others; END $$;
-- without a partition for them there are none
SELECT taskex.start_anonymous();
SELECT taskex.add_partition('anon_home') AS home \gset
SELECT taskex.add_partition('anon_other', storage_class => 'temporary') AS other \gset
SELECT taskex.start_anonymous(NULL);
SELECT taskex.start_anonymous('[]');
SELECT taskex.start_anonymous('{"tier": 3}');
SELECT taskex.start_anonymous('{"tier": "glod"}');
SELECT taskex.start_anonymous('{"required": "all"}');
SELECT taskex.start_anonymous(jsonb_build_object('x', repeat('y', 2000000)));
SELECT taskex.start_anonymous('{"languages": ["en"], "age": 30}') AS a \gset
SELECT :'a' ~ '^anonymous:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$' AS unguessable;
SELECT partition, epoch FROM taskex.route(:'a');
SELECT partition, profile, started_at, login = :'a' AS he FROM taskex.anonymous_users WHERE partition = 'anon_other';
-- his partition is for anonymous users alone, and they have logins of their own
SELECT taskex.register_user('anonymous:me');
SELECT taskex.register_user('anon_req', partition => 'anon_home') AS req, taskex.register_user('anon_known', '{"age": 40}', 'anon_home') AS known,
    taskex.register_user('anon_rival', partition => 'anon_home') AS rival \gset
SELECT taskex.register_user('anon_somewhere') IS NOT NULL AS registered;
SELECT partition <> 'anon_other' AS elsewhere FROM taskex.route('anon_somewhere');
SELECT taskex.drain_partition('anon_other');
SELECT taskex.start_anonymous();
SELECT taskex.resume_partition('anon_other');

-- he can do all that others can
SELECT taskex.deposit('anon_req', 1000, 'anon 1') IS NOT NULL AS deposited;
SELECT taskex.create_task_type('anon_req', 'Anonymous work', 2) AS type \gset
SELECT array_agg(t) AS tasks FROM taskex.create_tasks('anon_req', :type, array(SELECT to_jsonb(i) FROM generate_series(1, 12) i), 2) t \gset
SELECT (:'tasks'::bigint[])[1] AS t1, (:'tasks'::bigint[])[2] AS t2, (:'tasks'::bigint[])[3] AS t3, (:'tasks'::bigint[])[4] AS t4 \gset
SELECT (taskex.accept_task(:'a', :t1)).assignment_id AS a1 \gset
SELECT (taskex.accept_task(:'a', :t2)).assignment_id AS a2 \gset
SELECT (taskex.accept_task(:'a', :t3)).assignment_id AS a3, (taskex.accept_task(:'a', :t4)).assignment_id AS a4 \gset
SELECT x.assignment_id AS a4, x.lease_token AS token FROM taskex.get_assignment(:'a', :a4) g CROSS JOIN LATERAL (SELECT a.assignment_id, a.lease_token FROM _taskex.assignment a WHERE a.assignment_id = :a4) x \gset
SELECT taskex.submit_assignment(:'a', :a1, '"one"'), taskex.submit_assignment(:'a', :a2, '"two"'), taskex.submit_assignment(:'a', :a3, '"three"');
SELECT taskex.approve_assignment('anon_req', :a1), taskex.reject_assignment('anon_req', :a3, 'no');
SELECT taskex.open_dispute(:'a', :a3, 'why') IS NOT NULL AS disputed;
SELECT taskex.rate_requester(:'a', :a1, 4, 'fair');
SELECT taskex.send_bonus('anon_req', :a1, 0.5, 'well done') IS NOT NULL AS bonus;
SELECT taskex.attach(:'a', 'notes', 'https://example.org/notes', assignment_id => :a4);
SELECT taskex.deposit(:'a', 3, 'anon own') IS NOT NULL AS deposited;
SELECT taskex.create_qualification('anon_req', 'Anonymous skill', 'x') AS q1, taskex.create_qualification('anon_req', 'Revoked skill', 'x') AS q2,
    taskex.create_qualification('anon_req', 'Higher skill', 'x') AS q3 \gset
SELECT taskex.grant_qualification('anon_req', :q1, :'a', 7), taskex.grant_qualification('anon_req', :q2, :'a', 7), taskex.grant_qualification('anon_req', :q3, :'a', 9);
SELECT taskex.grant_qualification('anon_req', :q2, 'anon_known', 8), taskex.revoke_qualification('anon_req', :q2, 'anon_known', 'cheated'),
    taskex.grant_qualification('anon_req', :q3, 'anon_known', 5);
SELECT taskex.block_performer('anon_rival', :'a', 'rude');
SELECT taskex.subscribe(:'a'), taskex.save_search(:'a', 'mine', 'anonymous'), taskex.save_search('anon_known', 'mine', 'work');
SELECT taskex.set_preferences(:'a', '{"pace": 3}');
SELECT taskex.declare_intention(:'a', ARRAY[:type], 2, '[2104-03-02, 2104-03-03)') IS NOT NULL AS intends;
SELECT taskex.create_group('anon_group', ARRAY[:'a']) IS NOT NULL AS grouped;
SELECT count(*) FROM taskex.run_due();
SELECT available, held FROM taskex.balance(:'a');

-- who cannot be identified, and as whom not
SELECT taskex.identify('anon_req', 'anon_known');
SELECT taskex.identify('anonymous:nobody', 'anon_known');
SELECT taskex.identify(:'a', 'anonymous:nobody');
SELECT taskex.identify(:'a', '');
SELECT taskex.identify(:'a', 'exchange');
SELECT taskex.identify(NULL, 'anon_known');
SELECT taskex.identify(:'a', NULL);
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT taskex.identify(:'a', 'anon_known');
ROLLBACK;

-- conflicts: nothing is changed
\set VERBOSITY default
CREATE FUNCTION pg_temp.try_identify(anonymous text, login text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    d text;
BEGIN
    PERFORM taskex.identify(anonymous, login);
    RETURN 'identified';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS d = PG_EXCEPTION_DETAIL;
    RETURN SQLSTATE || ' ' || regexp_replace(regexp_replace(replace(SQLERRM, anonymous, 'anonymous:...') || '; ' || d, 'task [0-9]+', 'task ...'), 'has [0-9]+', 'has ...');
END $$;
BEGIN;
SELECT (taskex.accept_task('anon_known', :t1)).task_id = :t1 AS accepted;
SELECT pg_temp.try_identify(:'a', 'anon_known');
ROLLBACK;
SELECT pg_temp.try_identify(:'a', 'anon_req');
BEGIN;
SELECT taskex.block_performer('anon_req', 'anon_known', 'lazy');
SELECT pg_temp.try_identify(:'a', 'anon_known');
ROLLBACK;
BEGIN;
SELECT taskex.suspend_performer('anon_known', 'lazy');
SELECT pg_temp.try_identify(:'a', 'anon_known');
-- an end that has passed does not count
SELECT taskex.resume_performer('anon_known');
SELECT taskex.suspend_performer('anon_known', 'lazy', '2104-03-01 13:00+00');
SET LOCAL taskex.clock = '2104-03-01 13:00+00';
SELECT pg_temp.try_identify(:'a', 'anon_known');
ROLLBACK;
BEGIN;
SELECT taskex.create_task(:'a', :type, '"his own"') IS NOT NULL AS supplied;
SELECT pg_temp.try_identify(:'a', 'anon_known');
ROLLBACK;
SELECT count(*) FROM taskex.assignments WHERE performer = :'a';

-- a savepoint takes it back
BEGIN;
SAVEPOINT s;
SELECT taskex.identify(:'a', 'anon_known') = :known AS known;
\set VERBOSITY sqlstate
SELECT taskex.balance(:'a');
\set VERBOSITY default
ROLLBACK TO s;
SELECT available FROM taskex.balance(:'a');
COMMIT;
SELECT * FROM taskex.balance('anon_known');

-- all that is his becomes the known user's
SELECT taskex.identify(:'a', 'anon_known') = :known AS known;
SELECT task_id = ANY (:'tasks') AS one, state, reward FROM taskex.assignments WHERE performer = 'anon_known' ORDER BY assignment_id;
SELECT kind, available, held, counterparty FROM taskex.transfers WHERE login = 'anon_known' ORDER BY transfer_id, available, held;
-- with what he earned while he was anonymous, and each transfer has all its sides and its act
SELECT count(*) AS uneven FROM (SELECT FROM taskex.transfers WHERE transfer_id IN (SELECT transfer_id FROM taskex.transfers WHERE login = 'anon_known')
    GROUP BY transfer_id HAVING sum(available + held) <> 0) t;
SELECT kind, available, counterparty FROM taskex.transfers WHERE login = 'anon_req' AND kind IN ('reward', 'bonus') ORDER BY transfer_id;
SELECT kind, act, explained FROM taskex.audit WHERE login = 'anon_known' ORDER BY transfer_id;
SELECT rewards_earned, bonuses_earned, deposited FROM taskex.yearly_statements WHERE login = 'anon_known' ORDER BY year;
SELECT * FROM taskex.balance('anon_known');
SELECT qualification_type_id - :q1 AS qualification, score, state, reason FROM _taskex.qualification WHERE performer_id = :known ORDER BY 1;
SELECT requester, reason FROM taskex.blocks WHERE performer = 'anon_known';
SELECT profile FROM taskex.users WHERE login = 'anon_known';
SELECT regexp_replace(name, '\(\d+\)', '(...)') AS name, query FROM taskex.saved_searches WHERE performer = 'anon_known' ORDER BY query;
SELECT login, kinds FROM taskex.subscriptions WHERE login LIKE 'anon%';
SELECT performer, state FROM taskex.disputes WHERE performer LIKE 'anon%';
SELECT performer, amount FROM taskex.bonuses WHERE performer LIKE 'anon%';
SELECT taskex.remove_group_members('anon_group', '{anon_known}');
SELECT name FROM taskex.attachments('anon_known', assignment_id => :a4);
SELECT * FROM taskex.check_market() WHERE NOT ok;
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT count(*) FROM taskex.run_due();
SELECT * FROM taskex.check_market() WHERE NOT ok;
SELECT submitted, approved, rejected FROM _taskex.standing WHERE performer_id = :known;
SELECT count(*), sum(submitted) AS submitted, sum(paid) / 1e9 AS paid FROM _taskex.working WHERE requester_id = :req AND performer_id = :known;
SELECT kind, detail - 'anonymous' AS detail FROM taskex.read_events('anon_known') WHERE kind = 'identified';
SELECT consumer, message FROM taskex.failed_acts;

-- what was under way goes on
SELECT taskex.submit_assignment('anon_known', :a4, '"four"', :token);
SELECT taskex.approve_assignment('anon_req', :a4), taskex.approve_assignment('anon_req', :a2);
SELECT available FROM taskex.balance('anon_known');
SELECT taskex.create_payout('anon payout', logins => '{anon_known}') IS NOT NULL AS payout;
SELECT login, amount FROM taskex.payout_items WHERE reference = 'anon payout';
\set VERBOSITY sqlstate
SELECT (taskex.accept_task('anon_known', :t1)).task_id;
\set VERBOSITY default

-- the same again; as somebody else; under the old name
SELECT taskex.identify(:'a', 'anon_known') = :known AS known;
SELECT pg_temp.try_identify(:'a', 'anon_rival');
SELECT pg_temp.try_identify(:'a', 'anon_new');
\set VERBOSITY sqlstate
SELECT taskex.accept_next(:'a');
SELECT taskex.update_user(:'a', '{}');
\set VERBOSITY default
SELECT anonymous = :'a' AS he, login, is_new FROM taskex.identified_users WHERE login LIKE 'anon%';
SELECT count(*) FROM taskex.anonymous_users WHERE partition = 'anon_other';

-- blocks and suspensions come along
SELECT taskex.start_anonymous() AS b \gset
SELECT taskex.suspend_performer(:'b', 'spam'), taskex.block_performer('anon_rival', :'b', 'worse', '2104-04-01');
SELECT taskex.identify(:'b', 'anon_known') = :known AS known;
SELECT requester, reason, until FROM taskex.blocks WHERE performer = 'anon_known' ORDER BY 1;
SELECT * FROM taskex.accept_next('anon_known');
SELECT taskex.resume_performer('anon_known');

-- or he becomes a new user
SELECT taskex.start_anonymous('{"age": 20}') AS c \gset
SELECT (taskex.accept_task(:'c', :t1)).assignment_id AS c1 \gset
SELECT user_id AS c_id FROM taskex.route(:'c') \gset
SELECT taskex.identify(:'c', 'anon_new') = :c_id AS same;
SELECT taskex.identify(:'c', 'anon_new') = :c_id AS again;
SELECT taskex.submit_assignment('anon_new', :c1, '"c"');
SELECT login, profile FROM taskex.users WHERE login = 'anon_new';
SELECT pg_temp.try_identify(:'c', 'anon_known');
SELECT is_new FROM taskex.identified_users WHERE login = 'anon_new';
-- and moves to where users live
SELECT m.reason, s.name AS source, t.storage_class <> 'temporary' AS ordinary FROM _taskex.migration m JOIN _taskex.partition s ON s.partition_id = m.source
    JOIN _taskex.partition t ON t.partition_id = m.target WHERE m.user_id = :c_id;

-- who has supplied tasks is merged where he lives
SELECT taskex.register_user('anon_boss', partition => 'anon_other') AS boss \gset
SELECT taskex.start_anonymous() AS d \gset
SELECT user_id AS d_id FROM taskex.route(:'d') \gset
SELECT taskex.deposit(:'d', 100, 'anon d') IS NOT NULL AS deposited, taskex.deposit('anon_boss', 10, 'anon boss') IS NOT NULL AS too;
SELECT taskex.create_template(:'d', 'layout', '{"a": "${x}"}', '{"x": {"type": "string"}}'), taskex.create_template('anon_boss', 'layout', '{"b": 1}');
SELECT taskex.set_budget(:'d', 90, 'month'), taskex.set_budget('anon_boss', 5, 'day'), taskex.set_golden_rate(:'d', :type, 0.5);
SELECT taskex.create_task(:'d', :type, '"d1"', 2, idempotency_key => 'k') AS d1, taskex.create_task(:'d', :type, '"d2"', 3) AS d2,
    taskex.create_task('anon_boss', :type, '"b"', idempotency_key => 'k') AS b1 \gset
SELECT (taskex.accept_task('anon_rival', :d1)).assignment_id AS r1 \gset
SELECT (taskex.accept_task('anon_known', :d1)).assignment_id AS r2 \gset
SELECT (taskex.accept_task('anon_new', :d2)).assignment_id AS r3 \gset
SELECT taskex.submit_assignment('anon_rival', :r1, '"x"'), taskex.submit_assignment('anon_new', :r3, '"y"');
SELECT taskex.approve_assignment(:'d', :r1), taskex.block_performer(:'d', 'anon_new', 'slow');
SELECT taskex.rate_requester('anon_rival', :r1, 5);
SELECT count(*) FROM taskex.run_due();
SELECT * FROM taskex.balance(:'d');
SELECT pg_temp.try_identify(:'d', 'anon_known');
SELECT taskex.identify(:'d', 'anon_boss') = :boss AS boss;
SELECT * FROM taskex.check_market() WHERE NOT ok;
SELECT * FROM taskex.balance('anon_boss');
SELECT count(*) FROM taskex.run_due();
SELECT * FROM taskex.check_market() WHERE NOT ok;
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT consumer, message FROM taskex.failed_acts;
SELECT task_id - :d1 AS task, state, free_slots FROM taskex.tasks WHERE requester = 'anon_boss' ORDER BY 1;
SELECT count(*) FROM taskex.assignments WHERE requester = 'anon_boss';
SELECT task_type_id = :type AS type, tasks, slots FROM _taskex.catalogue WHERE requester_id = :boss;
SELECT tasks, slots, submitted FROM _taskex.progress WHERE requester_id = :boss;
SELECT regexp_replace(name, '\([0-9a-f]{8}\)', '(...)') AS name FROM taskex.templates WHERE requester = 'anon_boss' ORDER BY 1;
SELECT period, amount, spent FROM taskex.budgets WHERE requester = 'anon_boss' ORDER BY 1;
SELECT taskex.create_task('anon_boss', :type, '"b"', idempotency_key => 'k') = :b1 AS his_key;
SELECT taskex.submit_assignment('anon_known', :r2, '"z"'), taskex.approve_assignment('anon_boss', :r2), taskex.approve_assignment('anon_boss', :r3);
SELECT taskex.cancel_task('anon_boss', :d2);
SELECT * FROM taskex.balance('anon_boss');
\set VERBOSITY sqlstate
SELECT taskex.accept_task('anon_boss', :d2);
\set VERBOSITY default
SELECT performer FROM taskex.blocks WHERE requester = 'anon_boss';
-- what has been spent of his budgets goes with the known user from now on
SELECT count(*) FROM _taskex.entry WHERE account_id < -1 AND counterparty = :d_id;
SELECT period, amount, spent FROM taskex.budgets WHERE requester = 'anon_boss' ORDER BY 1;
BEGIN;
SELECT taskex.migrate_user('anon_boss', 'anon_home') IS NOT NULL AS moving;
UPDATE _taskex.migration SET not_before = 'infinity' WHERE user_id = :boss AND finished_at IS NULL;
COMMIT;
DO $$
BEGIN
    FOR i IN 1 .. 1000 LOOP
        EXIT WHEN _taskex.move_step((SELECT max(migration_id) FROM taskex.migrations WHERE login = 'anon_boss')) = 'done';
        COMMIT;
    END LOOP;
END $$;
SELECT period, amount, spent FROM taskex.budgets WHERE requester = 'anon_boss' ORDER BY 1;
SELECT count(*) FROM _taskex.entry e JOIN taskex.partitions p USING (partition_id) WHERE e.account_id < -1 AND e.counterparty = :boss AND p.name <> 'anon_home';
SELECT * FROM taskex.check_ledger() WHERE NOT ok;

-- who may: a role for its own users, so many at a time
CREATE ROLE regress_anon IN ROLE taskex_user;
SET ROLE regress_anon;
SET taskex.anonymous_limit = 2;
RESET ROLE;
SET taskex.anonymous_limit = 2;
SET ROLE regress_anon;
SELECT taskex.start_anonymous() AS e \gset
SELECT db_role FROM taskex.anonymous_users;
SELECT taskex.start_anonymous('{"db_role": "postgres"}');
SELECT taskex.start_anonymous('{"db_role": "taskex_app"}');
SELECT taskex.start_anonymous('{"db_role": "regress_anon"}') IS NOT NULL AS second;
SELECT taskex.start_anonymous();
SELECT pg_temp.try_identify(:'e', 'anon_known');
SELECT pg_temp.try_identify(:'e', 'anon_fresh');
SELECT count(*) FROM taskex.identified_users;
RESET ROLE;
SELECT taskex.start_anonymous() AS f \gset
SELECT taskex.register_user('anon_mine', '{"db_role": "regress_anon"}', 'anon_home') AS mine \gset
SET ROLE regress_anon;
SELECT pg_temp.try_identify(:'f', 'anon_mine');
SELECT taskex.identify(:'e', 'anon_mine') = :mine AS mine;
SELECT taskex.identify(:'e', 'anon_mine') = :mine AS again;
SELECT count(*) FROM taskex.identified_users;
SELECT count(*) FROM taskex.anonymous_users;
RESET ROLE;
RESET taskex.anonymous_limit;

-- the unused are removed, completely
SELECT taskex.start_anonymous() AS g \gset
SELECT (taskex.accept_task(:'g', :t4)).assignment_id AS g1 \gset
SELECT taskex.return_assignment(:'g', :g1), taskex.subscribe(:'g'), taskex.save_search(:'g', 'x', 'y');
SELECT taskex.start_anonymous() AS h \gset
SELECT taskex.deposit(:'h', 1, 'anon h') IS NOT NULL AS deposited;
SELECT taskex.start_anonymous() AS i \gset
SELECT (taskex.accept_task(:'i', :t4)).assignment_id AS i1 \gset
SELECT user_id AS g_id FROM taskex.route(:'g') \gset
SELECT count(*) FROM taskex.run_due();
SELECT count(*) FROM taskex.anonymous_users WHERE partition = 'anon_other';
SELECT _taskex.remove_anonymous('', 1000, '1 day');
SELECT count(*) FROM taskex.anonymous_users WHERE partition = 'anon_other';
SET taskex.clock = '2104-03-02 12:30+00';
SELECT _taskex.remove_anonymous('', 1, '1 day') IS NOT NULL AS more;
SELECT _taskex.remove_anonymous('', 1000, '1 day');
-- i has a task yet, h money, g a lease that might have lasted until now
SELECT login IN (:'g', :'h', :'i') AS kept, count(*) FROM taskex.anonymous_users WHERE partition = 'anon_other' GROUP BY 1;
SET taskex.clock = '2104-03-03 12:30+00';
-- not before who moves him is done
INSERT INTO _taskex.migration (user_id, source, target, reason, requested_at, not_before) VALUES (:g_id, :other, :home, 'test', now(), 'infinity');
SELECT _taskex.remove_anonymous('', 1000, '1 day');
SELECT count(*) FROM taskex.anonymous_users WHERE login = :'g';
DELETE FROM _taskex.migration WHERE user_id = :g_id;
SELECT _taskex.remove_anonymous('', 1000, '1 day');
SELECT login = :'h' AS h, login = :'i' AS i FROM taskex.anonymous_users WHERE partition = 'anon_other' ORDER BY 1;
-- (the second hands over what the first has done)
SELECT count(*) FROM taskex.run_due();
SELECT count(*) FROM taskex.run_due();
SELECT _taskex.remove_anonymous('', 1000, '1 day');
SELECT login = :'h' AS h FROM taskex.anonymous_users WHERE partition = 'anon_other' ORDER BY 1;
SELECT count(*) FROM _taskex.assignment WHERE performer_id = :g_id;
SELECT * FROM taskex.check_market() WHERE NOT ok;
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT pg_temp.try_identify(:'g', 'anon_known');

-- every column that names a user is on the list, and nothing else
SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relnamespace = '_taskex'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname !~ '^(journal|event)_\d'
        AND a.atttypid IN ('bigint'::regtype, 'bigint[]'::regtype)
        AND a.attname ~ '^(user|performer|requester|account|sender|owner|anonymous|blocker|holder)s?(_ids?)?$|^counterparty$|^accounts$|_(user|performer|requester|account)(_id)?$'
        AND (a.atttypid = 'bigint[]'::regtype OR a.attname !~ 's$')     -- (how many)
        AND NOT EXISTS (SELECT FROM _taskex.user_column u WHERE u.table_name = c.relname AND u.column_name = a.attname);
SELECT u.table_name, u.column_name FROM _taskex.user_column u WHERE NOT EXISTS (SELECT FROM pg_attribute a
    WHERE a.attrelid = to_regclass('_taskex.' || u.table_name) AND a.attname = u.column_name AND NOT a.attisdropped);
-- each table with users' data lies with one of them, and says so there too
SELECT t.table_name, t.owner FROM _taskex.child_table t WHERE NOT EXISTS (SELECT FROM _taskex.user_column u
    WHERE u.table_name = t.table_name AND u.column_name = t.owner AND (u.way IN ('owner', 'dispatch', 'special') OR t.table_name IN ('entry', 'balance')));

SELECT taskex.drain_partition('anon_other');
DO $$ BEGIN PERFORM taskex.resume_partition(name) FROM others; END $$;
DROP OWNED BY regress_anon;
DROP ROLE regress_anon;
