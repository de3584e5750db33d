-- The journal: acts, their dispatch, summaries, events. The conductor dispatches
-- too, so all that is told here is what is there after run_due().
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.exchange_fee = 0.2;
SET taskex.clock = '2106-01-01 10:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('journal_p1') > 0 AS first, taskex.add_partition('journal_p2') > 0 AS second;
SELECT taskex.register_user('j_req', partition => 'journal_p1') > 0 AS req, taskex.register_user('j_one', partition => 'journal_p2') > 0 AS one,
    taskex.register_user('j_two', partition => 'journal_p1') > 0 AS two;
SELECT taskex.deposit('j_req', 100, 'start') > 0 AS deposited;
CREATE TEMP TABLE thing (name text PRIMARY KEY, id bigint);
CREATE FUNCTION pg_temp.id(which text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT id FROM thing WHERE name = which';
-- what the users of this test did, with ids that have names instead
CREATE FUNCTION pg_temp.events(login text, after bigint = 0) RETURNS TABLE (event bigint, kind text, task text, assignment text,
        requester text, performer text, amount numeric, detail jsonb) LANGUAGE sql AS $$
    SELECT e.event, e.kind, t.name, a.name, e.requester, e.performer, e.amount, e.detail - 'last_task_id'
    FROM taskex.read_events(login, after) e LEFT JOIN thing t ON t.id = e.task_id AND t.name LIKE 'task%'
        LEFT JOIN thing a ON a.id = e.assignment_id AND a.name LIKE 'assignment%' ORDER BY e.event $$;
CREATE FUNCTION pg_temp.dispatch() RETURNS bigint LANGUAGE sql AS 'SELECT sum(count) FROM taskex.run_due()';

-- subscribing ---------------------------------------------------------------
SELECT taskex.subscribe('j_req') AS events_so_far;
SELECT taskex.subscribe('j_one', '{accepted, submitted, approved, test}', 'j_channel') AS events_so_far;
SELECT login, kinds, channel, subscribed_at FROM taskex.subscriptions WHERE login LIKE 'j\_%' ORDER BY 1;
SELECT * FROM taskex.read_events('j_req');
SELECT * FROM taskex.read_events('j_two');
SELECT kind, to_requester, to_performer, by_default FROM taskex.event_kinds WHERE kind IN ('accepted', 'created', 'found', 'submitted') ORDER BY 1;

-- one of each act -----------------------------------------------------------
INSERT INTO thing VALUES ('type', taskex.create_task_type('j_req', 'Journal', 1));
INSERT INTO thing VALUES ('task 1', taskex.create_task('j_req', pg_temp.id('type'), '1', 2));
INSERT INTO thing SELECT 'task ' || 1 + n, id FROM taskex.create_tasks('j_req', pg_temp.id('type'), ARRAY['2', '3', '4']::jsonb[]) WITH ORDINALITY u (id, n);
INSERT INTO thing SELECT 'assignment 1', assignment_id FROM taskex.accept_task('j_one', pg_temp.id('task 1'));
INSERT INTO thing SELECT 'assignment 2', assignment_id FROM taskex.accept_task('j_two', pg_temp.id('task 1'));
INSERT INTO thing SELECT 'assignment 3', assignment_id FROM taskex.accept_task('j_one', pg_temp.id('task 2'));
INSERT INTO thing SELECT 'assignment 4', assignment_id FROM taskex.accept_task('j_two', pg_temp.id('task 3'));
SELECT taskex.submit_assignment('j_one', pg_temp.id('assignment 1'), '1');
SELECT taskex.return_assignment('j_one', pg_temp.id('assignment 3'));
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT * FROM pg_temp.events('j_req');
SELECT taskex.submit_assignment('j_two', pg_temp.id('assignment 2'), '1');
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT * FROM pg_temp.events('j_req', 4);
SELECT taskex.approve_assignment('j_req', pg_temp.id('assignment 1'));
SELECT taskex.reject_assignment('j_req', pg_temp.id('assignment 2'), 'no', true);
SELECT taskex.expire_task('j_req', pg_temp.id('task 4'));
SELECT taskex.test_event('j_one');
SET taskex.clock = '2106-01-01 11:30:00+00';
SELECT pg_temp.dispatch() >= 0 AS done, pg_temp.dispatch() >= 0 AS again;
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT * FROM pg_temp.events('j_req', 6);
SELECT * FROM pg_temp.events('j_one');
SELECT max_rows, array_agg(event) FROM (VALUES (1), (2)) m (max_rows), taskex.read_events('j_one', 1, max_rows) GROUP BY 1 ORDER BY 1;
SELECT count(*) FROM taskex.read_events('j_one', 1000);

-- what comes of it ----------------------------------------------------------
SELECT login, submitted, approved, rejected, returned, abandoned FROM _taskex.standing JOIN _taskex.directory ON user_id = performer_id
    WHERE login LIKE 'j\_%' ORDER BY 1;
SELECT login, day, approved, _taskex.amount(reward) AS reward, bonus FROM _taskex.earning JOIN _taskex.directory ON user_id = performer_id
    WHERE login LIKE 'j\_%' ORDER BY 1;
SELECT tasks, slots, submitted, approved, rejected, released_slots, returned, abandoned, _taskex.amount(held) AS held, _taskex.amount(paid) AS paid,
    _taskex.amount(fees) AS fees, _taskex.amount(released) AS released, round(rate::numeric, 4) AS rate, rate_at, first_at, last_at
    FROM _taskex.progress WHERE requester_id = _taskex.user_id('j_req');
SELECT p.held - p.paid - p.fees - p.released = b.held * 1000000000 AS held_adds_up
    FROM _taskex.progress p, taskex.balance('j_req') b WHERE requester_id = _taskex.user_id('j_req');
SELECT p.login, submitted, approved, rejected, returned, abandoned, _taskex.amount(paid) AS paid FROM _taskex.working JOIN _taskex.directory p ON p.user_id = performer_id
    WHERE requester_id = _taskex.user_id('j_req') ORDER BY 1;
SELECT * FROM taskex.check_market() WHERE check_name = 'journal';
-- the check sees what is wrong
BEGIN;
UPDATE _taskex.standing SET approved = approved + 1 WHERE performer_id = _taskex.user_id('j_one');
UPDATE _taskex.working SET paid = paid + 1, submitted = submitted - 1 WHERE performer_id = _taskex.user_id('j_one');
SELECT * FROM taskex.check_market() WHERE check_name = 'journal';
ROLLBACK;
-- a rate decays by its time constant, and does not grow when a clock goes back
SELECT round(_taskex.decayed(8, interval '1 hour')::numeric, 4) AS hour, _taskex.decayed(8, interval '-1 hour') AS back, _taskex.decayed(8, interval '1 year') AS year;
-- also what is touched for years ends at nothing
WITH RECURSIVE r (n, decayed, faded, pace) AS (
    SELECT 0, 8::float8, 8::float8, 8::float8
    UNION ALL SELECT n + 1, _taskex.decayed(decayed, '7 hours'), _taskex.faded(faded, '40 days'), _taskex.pace_left(pace, '1 hour')
    FROM r WHERE n < 300
) SELECT min(decayed) AS decayed, min(faded) AS faded, min(pace) AS pace FROM r;

-- one transaction -----------------------------------------------------------
BEGIN;
SELECT taskex.create_task('j_req', pg_temp.id('type'), '"undone"') > 0 AS created;
SAVEPOINT s;
SELECT taskex.test_event('j_req');
ROLLBACK TO s;
SELECT count(*) FROM taskex.run_due();
-- own acts are not dispatched before they are committed
SELECT count(*) FROM pg_temp.events('j_req', 10);
SELECT count(*) FROM _taskex.journal_tail() WHERE requester_id = _taskex.user_id('j_req');
COMMIT;
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT kind, performer FROM pg_temp.events('j_req', 10);
BEGIN;
SELECT taskex.test_event('j_req');
ROLLBACK;
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT taskex.subscribe('j_req', '{test}') AS events_so_far;

-- subscriptions change what comes after them --------------------------------
SELECT taskex.test_event('j_req');
INSERT INTO thing VALUES ('task 5', taskex.create_task('j_req', pg_temp.id('type'), '5'));
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT * FROM pg_temp.events('j_req', 11);
SELECT taskex.unsubscribe('j_req');
SELECT taskex.test_event('j_req');
SELECT taskex.read_events('j_req');
SELECT taskex.subscribe('j_req') AS events_so_far;
-- an accept is on record only for those who asked
INSERT INTO thing SELECT 'assignment 5', assignment_id FROM taskex.accept_task('j_two', pg_temp.id('task 5'));
SELECT count(*) FROM _taskex.journal_tail() WHERE kind = 'accepted' AND performer_id = _taskex.user_id('j_two');
-- what was ever held may be more than can be counted: the next batch does not fail
BEGIN;
CREATE FUNCTION pg_temp.hold(amount bigint) RETURNS void LANGUAGE sql AS $$
    SELECT _taskex.fold_summaries(array_agg(ROW(n, '1', '2100-01-01', d.user_id, NULL, NULL, NULL, NULL, amount, k, NULL)::_taskex.journal_act))
    FROM _taskex.directory d, unnest('{extended,released}'::text[]) WITH ORDINALITY u (k, n), generate_series(1, 2) WHERE d.login = 'j_req' $$;
SELECT pg_temp.hold(8000000000000000000), pg_temp.hold(8000000000000000000);
SELECT p.held, p.released FROM _taskex.progress p JOIN _taskex.directory d ON d.user_id = p.requester_id WHERE d.login = 'j_req' AND p.task_type_id = 0;
ROLLBACK;
-- a task of another type counts there, with its slots and its money; golden ones stay apart
BEGIN;
SELECT taskex.register_user('j_mover') > 0 AS mover, taskex.deposit('j_mover', 100, 'x') > 0 AS funds;
SELECT taskex.create_task_type('j_mover', 'From', 1) AS old, taskex.create_task_type('j_mover', 'To', 3) AS new \gset
SELECT task_id AS moves FROM taskex.create_tasks('j_mover', :old, '{1,2}', 2) task_id LIMIT 1 \gset
SELECT taskex.create_golden_task('j_mover', :old, '3', '3', 4) AS gold \gset
COMMIT;
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT taskex.change_task_type('j_mover', :moves, :new), taskex.change_task_type('j_mover', :gold, :new);
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT y.title, p.task_type_id < 0 AS golden, tasks, slots, _taskex.amount(held) AS held, _taskex.amount(p.released) AS released
    FROM _taskex.progress p LEFT JOIN _taskex.task_type y ON y.task_type_id = abs(p.task_type_id) WHERE requester_id = _taskex.user_id('j_mover') ORDER BY 1, 2;
SELECT taskex.change_task_type('j_mover', :moves, :old), taskex.change_task_type('j_mover', :gold, :old);
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT y.title, p.task_type_id < 0 AS golden, tasks, slots, _taskex.amount(held) AS held, _taskex.amount(p.released) AS released
    FROM _taskex.progress p LEFT JOIN _taskex.task_type y ON y.task_type_id = abs(p.task_type_id) WHERE requester_id = _taskex.user_id('j_mover') ORDER BY 1, 2;
-- each kind is kept once
SELECT taskex.subscribe('j_two', array_fill('test'::text, ARRAY[10000]) || '{accepted}') AS events_so_far;
SELECT kinds FROM taskex.subscriptions WHERE login = 'j_two';
SELECT taskex.subscribe('j_two', '{accepted}') AS events_so_far;
INSERT INTO thing VALUES ('task 6', taskex.create_task('j_req', pg_temp.id('type'), '6'));
INSERT INTO thing SELECT 'assignment 6', assignment_id FROM taskex.accept_task('j_two', pg_temp.id('task 6'));
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT * FROM pg_temp.events('j_two');

-- batches -------------------------------------------------------------------
SELECT count(taskex.test_event('j_req')) FROM generate_series(1, 25);
-- more than fit into one: the rest comes next, in order, also of one transaction
BEGIN;
SELECT _taskex.dispatch(10) <= 10 AS dispatched;
SELECT _taskex.dispatch(10) <= 10 AS dispatched;
SELECT * FROM taskex.check_market() WHERE check_name = 'journal';
COMMIT;
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT count(*), max(event) - min(event) AS span FROM taskex.read_events('j_req', 12) WHERE kind = 'test';
SELECT * FROM taskex.check_market() WHERE check_name = 'journal';
-- nothing is left, and a look changes nothing
SELECT count(*) FROM _taskex.journal_tail() WHERE requester_id = _taskex.user_id('j_req');

-- a consumer that fails -----------------------------------------------------
CREATE FUNCTION _taskex.fold_bad(batch _taskex.journal_act[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM unnest(batch) b WHERE b.detail @> '{"bad": true}') THEN
        RAISE 'cannot do this';
    END IF;
    INSERT INTO public.journal_seen SELECT b.id, b.detail FROM unnest(batch) b WHERE b.kind = 'test';
END $$;
CREATE TABLE public.journal_seen (id bigint PRIMARY KEY, detail jsonb);
INSERT INTO _taskex.journal_consumer VALUES (5, 'fold_bad');
-- some tests of acts, of which those whose number is n modulo m are bad; at once a batch
CREATE FUNCTION pg_temp.acts(first int, last int, n int, m int) RETURNS bigint LANGUAGE sql AS $$
    SELECT count(_taskex.journal('test', _taskex.user_id('j_req'), NULL, NULL, NULL, NULL, NULL, jsonb_build_object('n', i, 'bad', i % m = n)))
    FROM generate_series(first, last) i $$;
-- goes on until nothing more is done
CREATE PROCEDURE pg_temp.retry() LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1 .. 10 LOOP
        UPDATE _taskex.journal_trouble SET next_try = '-infinity';
        PERFORM taskex.run_due();
        COMMIT;
    END LOOP;
END $$;
SELECT pg_temp.acts(1, 5, 3, 5);
SELECT pg_temp.dispatch() >= 0 AS done;
-- the other consumers have had it all, and this one all but what it cannot do
SELECT array_agg(detail -> 'n' ORDER BY event) FROM pg_temp.events('j_req', 12) WHERE detail ? 'n';
SELECT array_agg(detail -> 'n' ORDER BY id) FROM public.journal_seen;
SELECT consumer, kind, requester, performer, set_aside, message FROM taskex.failed_acts;
SELECT check_name, ok, detail FROM taskex.health WHERE check_name = 'journal';
-- nobody waits for it
SELECT pg_temp.acts(6, 7, 3, 5);
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT array_agg(detail -> 'n' ORDER BY id) FROM public.journal_seen;
-- not mended: set aside again, as soon as another act tells it from a broken consumer
SELECT taskex.retry_failed_acts('fold_none');
SELECT taskex.retry_failed_acts('fold_summaries');
SELECT taskex.retry_failed_acts('fold_bad');
SELECT pg_temp.acts(9, 9, 3, 5);
CALL pg_temp.retry();
SELECT consumer, set_aside, message FROM taskex.failed_acts;
SELECT array_agg(detail -> 'n' ORDER BY id) FROM public.journal_seen;
-- many in one batch, more than are looked for at once
SELECT pg_temp.acts(11, 410, 1, 2);
CALL pg_temp.retry();
SELECT count(*), count(*) FILTER (WHERE detail @> '{"bad": true}') AS bad FROM public.journal_seen;
SELECT count(*), bool_and(set_aside) FROM taskex.failed_acts;
-- mended
CREATE OR REPLACE FUNCTION _taskex.fold_bad(batch _taskex.journal_act[]) RETURNS void LANGUAGE sql AS
    'INSERT INTO public.journal_seen SELECT b.id, b.detail FROM unnest(batch) b WHERE b.kind = ''test''';
SELECT taskex.retry_failed_acts();
CALL pg_temp.retry();
SELECT count(*), count(*) FILTER (WHERE detail @> '{"bad": true}') AS bad FROM public.journal_seen;
SELECT count(*) FROM taskex.failed_acts;
-- one that takes nothing at all is broken, or it is not because of the acts: all waits, in order
CREATE FUNCTION pg_temp.break(state text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE FUNCTION _taskex.fold_bad(batch _taskex.journal_act[]) RETURNS void LANGUAGE plpgsql AS %L',
        format('BEGIN IF EXISTS (SELECT FROM unnest(batch) b WHERE b.detail @> ''{"bad": true}'') OR %L = ''0A000'' THEN'
            ' RAISE ''broken'' USING ERRCODE = %L; END IF;'
            ' INSERT INTO public.journal_seen SELECT b.id, b.detail FROM unnest(batch) b WHERE b.kind = ''test''; END', state, state));
END $$;
SELECT pg_temp.break('0A000');
SELECT pg_temp.acts(501, 504, 2, 4);
CALL pg_temp.retry();
SELECT pg_temp.acts(505, 506, 2, 4);
CALL pg_temp.retry();
SELECT consumer, set_aside, message FROM taskex.failed_acts;
SELECT pg_temp.break('55P03');
CALL pg_temp.retry();
SELECT consumer, set_aside, message FROM taskex.failed_acts;
CREATE OR REPLACE FUNCTION _taskex.fold_bad(batch _taskex.journal_act[]) RETURNS void LANGUAGE sql AS
    'INSERT INTO public.journal_seen SELECT b.id, b.detail FROM unnest(batch) b WHERE b.kind = ''test''';
CALL pg_temp.retry();
SELECT array_agg(detail -> 'n' ORDER BY id) FROM public.journal_seen WHERE (detail -> 'n')::int > 500;
SELECT count(*) FROM _taskex.journal_failed;
SELECT count(*) FROM _taskex.journal_trouble;
DELETE FROM _taskex.journal_consumer WHERE name = 'fold_bad';
-- large batches take no more than their share of time: a minute means that something looks at all for each
BEGIN;
LOCK TABLE _taskex.journal_consumer IN SHARE UPDATE EXCLUSIVE MODE;
SET LOCAL statement_timeout = '30s';
CREATE TEMP TABLE large ON COMMIT DROP AS
    SELECT array_agg(ROW(1e15::bigint + i, pg_current_xact_id(), _taskex.now(), _taskex.user_id('j_req'),
        _taskex.user_id(CASE i % 3 WHEN 0 THEN 'j_one' ELSE 'j_two' END), pg_temp.id('type'), i, i, 1, k.kind,
        jsonb_build_object('n', i, 'bad', i = 12345, 'stars', 1))::_taskex.journal_act ORDER BY i) AS acts
    FROM generate_series(1, 20000) i
        JOIN (SELECT kind, row_number() OVER (ORDER BY position) - 1 AS n, count(*) OVER () AS kinds FROM _taskex.event_kind) k
            ON k.n = i % k.kinds;
DO $$
DECLARE
    target name;
BEGIN
    FOR target IN SELECT k.name FROM _taskex.journal_consumer k WHERE k.name <> 'fold_bad' ORDER BY k.position LOOP
        PERFORM _taskex.journal_give(target, (SELECT acts FROM large));
    END LOOP;
END $$;
SELECT count(*) FROM taskex.failed_acts;
-- a bad one in them, and one that is all bad
SELECT pg_temp.break('P0001');
SELECT _taskex.journal_give('fold_bad', acts) FROM large;
SELECT consumer, (act).detail, set_aside FROM _taskex.journal_failed LIMIT 10;
SELECT pg_temp.break('0A000');
SELECT _taskex.journal_give('fold_bad', acts) FROM large;
SELECT count(*), count(*) FILTER (WHERE set_aside) AS set_aside FROM _taskex.journal_failed;
ROLLBACK;
DROP FUNCTION _taskex.fold_bad(_taskex.journal_act[]);
DROP TABLE public.journal_seen;
SELECT * FROM taskex.check_market() WHERE check_name = 'journal';

SET taskex.clock = '2106-01-01 14:00:00+00';
SELECT count(taskex.expire_task(requester, task_id)) AS closed FROM taskex.tasks WHERE requester = 'j_req' AND state = 'available';
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT pg_temp.dispatch() >= 0 AS done;

-- retention -----------------------------------------------------------------
-- what was here: events of before; then half the retention, and again
SELECT taskex.subscribe('j_req') AS events_so_far \gset
INSERT INTO _taskex.event_turn SELECT 0, _taskex.now() WHERE NOT EXISTS (SELECT FROM _taskex.event_turn);
UPDATE _taskex.event_turn SET started_at = '2106-01-01 11:30:00+00';
CREATE PROCEDURE pg_temp.turn() LANGUAGE plpgsql AS $$
DECLARE
    before bigint := (SELECT turn FROM _taskex.event_turn);
BEGIN
    FOR i IN 1 .. 1000 LOOP
        PERFORM taskex.run_due();
        COMMIT;
        EXIT WHEN (SELECT turn FROM _taskex.event_turn) > before;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SET taskex.clock = '2106-01-05 12:00:00+00';
CALL pg_temp.turn();
SELECT taskex.test_event('j_req');
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT count(*) = :events_so_far + 1 AS all_there FROM taskex.read_events('j_req', 0, 10000);
SET taskex.clock = '2106-01-09 12:00:00+00';
CALL pg_temp.turn();
SELECT count(*) = :events_so_far + 1 AS all_there FROM taskex.read_events('j_req', 0, 10000);
SET taskex.clock = '2106-01-13 12:00:00+00';
CALL pg_temp.turn();
SELECT count(*) FROM taskex.read_events('j_req', 0);
SELECT kind FROM taskex.read_events('j_req', :events_so_far);
-- numbers go on after all are gone
SET taskex.clock = '2106-01-17 12:00:00+00';
CALL pg_temp.turn();
SET taskex.clock = '2106-01-21 12:00:00+00';
CALL pg_temp.turn();
SELECT count(*) FROM _taskex.event WHERE user_id = _taskex.user_id('j_req');
SELECT taskex.subscribe('j_req') = :events_so_far + 1 AS same;
SELECT taskex.test_event('j_req');
SELECT pg_temp.dispatch() >= 0 AS done;
SELECT event = :events_so_far + 2 AS next, kind FROM taskex.read_events('j_req', :events_so_far + 1);
SELECT * FROM taskex.check_market() WHERE check_name = 'journal';

SELECT count(taskex.unsubscribe(login)) FROM taskex.subscriptions WHERE login LIKE 'j\_%';
