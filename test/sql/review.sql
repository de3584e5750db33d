-- Overriding rejections, several judgements at once, disputes, ratings, messages.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.exchange_fee = 0.2;
SET taskex.clock = '2125-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('review_1') > 0 AS one, taskex.add_partition('review_2') > 0 AS two;
SELECT taskex.register_user('r_req', partition => 'review_1') > 0 AS req,
    taskex.register_user('r_ann', partition => 'review_1') > 0 AS ann,
    taskex.register_user('r_bob', partition => 'review_2') > 0 AS bob,
    taskex.register_user('r_cat', partition => 'review_2') > 0 AS cat;
SELECT taskex.deposit('r_req', 12, 'start') > 0 AS deposited;
CREATE TEMP TABLE thing (name text PRIMARY KEY, id bigint);
CREATE FUNCTION pg_temp.id(which text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT id FROM thing WHERE name = which';
\getenv tests PG_ABS_SRCDIR
\set try :tests '/sql/include/try.sql'
\set ECHO none
\i :try
\set ECHO all
-- a task of so many performers, and what those who are named submit
CREATE FUNCTION pg_temp.work(task text, plurality int, performers text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    p text;
BEGIN
    INSERT INTO thing VALUES (task, taskex.create_task('r_req', pg_temp.id('type'), to_jsonb(task), plurality));
    FOREACH p IN ARRAY performers LOOP
        INSERT INTO thing VALUES (task || ' ' || p, (taskex.accept_task('r_' || p, pg_temp.id(task))).assignment_id);
        PERFORM taskex.submit_assignment('r_' || p, pg_temp.id(task || ' ' || p), to_jsonb(p));
    END LOOP;
END $$;
CREATE FUNCTION pg_temp.look(task text) RETURNS TABLE (performer text, state text, feedback text, reopened boolean, task_state text, live int, judged int)
    LANGUAGE sql AS $$
    SELECT d.login, r.state, r.feedback, r.reopened, t.state, t.live, t.judged FROM _taskex.result r JOIN _taskex.task t USING (task_id)
    JOIN _taskex.directory d ON d.user_id = r.performer_id WHERE t.task_id = pg_temp.id(task) ORDER BY 1 $$;
CREATE VIEW pg_temp.broken AS SELECT * FROM taskex.check_ledger() WHERE NOT ok UNION ALL SELECT * FROM taskex.check_market() WHERE NOT ok;
INSERT INTO thing VALUES ('type', taskex.create_task_type('r_req', 'Review', 1));

-- a rejection is overridden: paid out of what is available
SELECT pg_temp.work('one', 1, '{ann}');
SELECT taskex.reject_assignment('r_req', pg_temp.id('one ann'), 'blurred');
SELECT * FROM taskex.balance('r_req');
SELECT pg_temp.try_call($$taskex.approve_assignment('r_req', pg_temp.id('one ann'))$$);
SELECT taskex.approve_assignment('r_req', pg_temp.id('one ann'), 'sorry', override => true);
SELECT * FROM pg_temp.look('one');
SELECT * FROM taskex.balance('r_req');
SELECT available FROM taskex.balance('r_ann');
SELECT state FROM taskex.assignments WHERE assignment_id = pg_temp.id('one ann');
SELECT pg_temp.try_call($$taskex.approve_assignment('r_req', pg_temp.id('one ann'), override => true)$$);
SELECT kind, amount, detail FROM _taskex.journal_act WHERE assignment_id = pg_temp.id('one ann') AND kind ~ 'reject|overr' ORDER BY id;
-- whose slot was offered again is paid besides those who have the slots
SELECT pg_temp.work('two', 1, '{ann}');
SELECT taskex.reject_assignment('r_req', pg_temp.id('two ann'), 'no', true);
SELECT * FROM pg_temp.look('two');
INSERT INTO thing SELECT 'two bob', assignment_id FROM taskex.accept_task('r_bob', pg_temp.id('two'));
SELECT taskex.submit_assignment('r_bob', pg_temp.id('two bob'), '2');
SELECT taskex.approve_assignment('r_req', pg_temp.id('two ann'), override => true);
SELECT taskex.approve_assignment('r_req', pg_temp.id('two bob'), override => true);
SELECT * FROM pg_temp.look('two');
SELECT * FROM taskex.balance('r_req');
SELECT * FROM pg_temp.broken;
-- no money, and then nothing has changed
SELECT pg_temp.work('three', 1, '{ann}');
SELECT taskex.reject_assignment('r_req', pg_temp.id('three ann'), 'no');
BEGIN;
SELECT taskex.withdraw('r_req', (SELECT available FROM taskex.balance('r_req')), 'all') > 0 AS withdrawn;
SAVEPOINT s;
SELECT pg_temp.try_call($$taskex.approve_assignment('r_req', pg_temp.id('three ann'), override => true)$$);
ROLLBACK TO s;
SELECT * FROM pg_temp.look('three');
ROLLBACK;
-- within the period, to the microsecond
SET taskex.clock = '2125-01-31 00:00:00.000001+00';
SELECT pg_temp.try_call($$taskex.approve_assignment('r_req', pg_temp.id('three ann'), override => true)$$);
SET taskex.clock = '2125-01-31 00:00:00+00';
BEGIN;
SELECT pg_temp.try_call($$taskex.approve_assignment('r_req', pg_temp.id('three ann'), override => true)$$);
ROLLBACK;
SET taskex.override_period = '1 d';
SELECT pg_temp.try_call($$taskex.approve_assignment('r_req', pg_temp.id('three ann'), override => true)$$);
RESET taskex.override_period;
SET taskex.clock = '2125-01-02 00:00:00+00';

-- several at once, all or none
SELECT pg_temp.work('four', 3, '{ann,bob,cat}');
SELECT pg_temp.try_call($$taskex.approve_assignments('r_req', ARRAY[pg_temp.id('four cat'), pg_temp.id('four ann'), pg_temp.id('one ann')], 'good')$$);
SELECT state FROM pg_temp.look('four');
SELECT taskex.approve_assignments('r_req', ARRAY[pg_temp.id('four cat'), pg_temp.id('four ann')], 'good');
SELECT taskex.approve_task('r_req', pg_temp.id('four'), 'all');
SELECT taskex.approve_task('r_req', pg_temp.id('four'));
SELECT * FROM pg_temp.look('four');
SELECT taskex.approve_assignments('r_req', '{}');
SELECT pg_temp.try_call($$taskex.approve_assignments('r_req', ARRAY[pg_temp.id('four cat'), NULL])$$);
SELECT pg_temp.try_call($$taskex.approve_assignments('r_req', array_fill(1::bigint, ARRAY[10001]))$$);
SELECT pg_temp.try_call($$taskex.approve_task('r_ann', pg_temp.id('four'))$$);
SELECT pg_temp.try_call($$taskex.approve_task('r_req', -5)$$);
SELECT * FROM pg_temp.broken;

-- disputes
SELECT pg_temp.work('five', 4, '{ann,bob,cat}');
SELECT pg_temp.try_call($$taskex.open_dispute('r_ann', pg_temp.id('five ann'), 'why?')$$);
SELECT taskex.reject_assignment('r_req', id, 'no') FROM thing WHERE name LIKE 'five %';
SELECT pg_temp.try_call($$taskex.open_dispute('r_ann', pg_temp.id('five bob'), 'why?')$$);
SELECT pg_temp.try_call($$taskex.open_dispute('r_ann', pg_temp.id('five ann'), '')$$);
INSERT INTO thing SELECT 'd ' || p, taskex.open_dispute('r_' || p, pg_temp.id('five ' || p), 'because of ' || p) FROM unnest('{ann,bob,cat}'::text[]) p;
SELECT pg_temp.try_call($$taskex.open_dispute('r_ann', pg_temp.id('five ann'), 'again')$$);
SELECT pg_temp.id('d ann') % 1024 = (SELECT partition_id % 1024 FROM taskex.partitions WHERE name = 'review_1') AS id_tells_home;
SELECT taskex.answer_dispute('r_req', pg_temp.id('d ann'), 'it is blurred');
SELECT taskex.answer_dispute('r_req', pg_temp.id('d ann'), 'it is very blurred');
SELECT pg_temp.try_call($$taskex.answer_dispute('r_bob', pg_temp.id('d bob'), 'hm')$$);
SELECT pg_temp.try_call($$taskex.withdraw_dispute('r_req', pg_temp.id('d cat'))$$);
SELECT pg_temp.try_call($$taskex.withdraw_dispute('r_cat', pg_temp.id('d cat'))$$);
SELECT pg_temp.try_call($$taskex.withdraw_dispute('r_cat', pg_temp.id('d cat'))$$);
SELECT pg_temp.try_call($$taskex.answer_dispute('r_req', pg_temp.id('d cat'), 'hm')$$);
SELECT pg_temp.try_call($$taskex.open_dispute('r_cat', pg_temp.id('five cat'), 'again')$$);
SELECT pg_temp.try_call($$taskex.resolve_dispute(pg_temp.id('d cat'), true)$$);
SELECT pg_temp.try_call($$taskex.resolve_dispute(-1, true)$$);
SELECT pg_temp.try_call($$taskex.resolve_dispute(NULL, true)$$);
SELECT pg_temp.try_call($$taskex.resolve_dispute(pg_temp.id('d bob'), NULL)$$);
SELECT taskex.resolve_dispute(pg_temp.id('d bob'), false, 'it is wrong');
-- upheld long after the override period
SET taskex.clock = '2126-01-02 00:00:00+00';
SELECT available AS before FROM taskex.balance('r_ann') \gset
SELECT taskex.resolve_dispute(pg_temp.id('d ann'), true, 'it is not blurred');
SELECT available - :before AS paid FROM taskex.balance('r_ann');
SELECT requester, performer, state, reason, answer, resolution, opened_at, answered_at, resolved_at FROM taskex.disputes WHERE requester = 'r_req' ORDER BY performer;
SELECT * FROM pg_temp.look('five');
SELECT kind, detail - 'dispute' AS detail FROM _taskex.journal_act WHERE task_id = pg_temp.id('five') AND kind ~ 'dispute|overr' ORDER BY id;
-- too late to begin one
SELECT pg_temp.try_call($$taskex.open_dispute('r_ann', pg_temp.id('three ann'), 'late')$$);
SET taskex.clock = '2125-01-03 00:00:00+00';
-- the requester gives in
INSERT INTO thing SELECT 'd three', taskex.open_dispute('r_ann', pg_temp.id('three ann'), 'in time');
SELECT pg_temp.try_call($$taskex.approve_assignment('r_req', pg_temp.id('three ann'), override => true)$$);
SELECT state, resolution FROM taskex.disputes WHERE dispute_id = pg_temp.id('d three');
SELECT pg_temp.try_call($$taskex.resolve_dispute(pg_temp.id('d three'), false)$$);
SELECT detail - 'dispute' AS detail FROM _taskex.journal_act WHERE assignment_id = pg_temp.id('three ann') AND kind = 'dispute_closed';
SELECT * FROM pg_temp.broken;

-- ratings: once for each assignment that has a result
SELECT taskex.rate_requester('r_ann', pg_temp.id('one ann'), 5, 'kind');
SELECT pg_temp.try_call($$taskex.rate_requester('r_ann', pg_temp.id('one ann'), 1)$$);
SELECT taskex.rate_requester('r_bob', pg_temp.id('five bob'), 2);
SELECT pg_temp.try_call($$taskex.rate_requester('r_bob', pg_temp.id('five cat'), 2)$$);
SELECT pg_temp.try_call($$taskex.rate_requester('r_bob', pg_temp.id('four bob'), 6)$$);
SELECT pg_temp.try_call($$taskex.rate_requester('r_bob', pg_temp.id('four bob'), 0)$$);
SELECT pg_temp.try_call($$taskex.rate_requester('r_bob', pg_temp.id('four bob'), 3, repeat('x', 4001))$$);
INSERT INTO thing SELECT 'six', taskex.create_task('r_req', pg_temp.id('type'), '6');
INSERT INTO thing SELECT 'six ann', assignment_id FROM taskex.accept_task('r_ann', pg_temp.id('six'));
SELECT pg_temp.try_call($$taskex.rate_requester('r_ann', pg_temp.id('six ann'), 3)$$);
SELECT taskex.return_assignment('r_ann', pg_temp.id('six ann'));
SELECT pg_temp.try_call($$taskex.rate_requester('r_ann', pg_temp.id('six ann'), 3)$$);
SELECT requester, performer, stars, comment, rated_at FROM taskex.ratings WHERE requester = 'r_req' ORDER BY performer;

-- the end
SELECT count(taskex.expire_task('r_req', task_id)) FROM taskex.tasks WHERE requester = 'r_req' AND state = 'available';
SELECT * FROM taskex.balance('r_req');
SELECT * FROM pg_temp.broken;
