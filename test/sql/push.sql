-- Pushed to groups: to whom, how much, and who declines. The configuration has supplies on
-- and no supplier.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set regression :DBNAME
CREATE DATABASE regress_push TEMPLATE template0;
\c regress_push
SET client_min_messages = warning;
CREATE EXTENSION taskex;
SET taskex.exchange_fee = 0;
SET taskex.clock = '2031-03-01 12:00:00+00';
SELECT taskex.add_partition('p1'), taskex.add_partition('p2'), taskex.add_partition('p3'), taskex.add_partition('p4');
SELECT count(taskex.register_user(u, partition => 'p1')) FROM unnest(ARRAY['req', 'other', 'ann', 'bob']) u;
SELECT count(taskex.register_user(u, partition => 'p2')) FROM unnest(ARRAY['dan', 'eve', 'hal']) u;
SELECT count(taskex.register_user(u, partition => 'p3')) FROM unnest(ARRAY['fay', 'gus']) u;
SELECT taskex.register_user('idle', partition => 'p4') > 0 AS idle;
SELECT taskex.deposit('req', 10000, 'x') > 0 AS funds, taskex.deposit('other', 10000, 'x') > 0 AS others;
SELECT taskex.create_task_type('req', 'Cut', 1) AS cut, taskex.create_task_type('req', 'Sew', 1) AS sew \gset
SELECT count(*) FROM unnest(ARRAY[:cut, :sew]) y, taskex.create_tasks('req', y, array_fill('1'::jsonb, ARRAY[60]), 3, '200 days');
CREATE PROCEDURE work(who text, type bigint, count int) LANGUAGE plpgsql AS $$
DECLARE
    a record;
BEGIN
    FOR a IN SELECT * FROM taskex.accept_next(who, type, count) LOOP
        PERFORM taskex.submit_assignment(who, a.assignment_id, '1');
        PERFORM taskex.approve_assignment('req', a.assignment_id);
    END LOOP;
END $$;
-- share counts slots as the catalogue has them, which may lag behind
CREATE VIEW pushed AS SELECT group_name, title, slots, declined, explained ->> 'score' AS score, explained ->> 'proficiency' AS proficiency, explained ->> 'qualified' AS qualified,
    explained ->> 'expected' AS expected, (explained ->> 'share')::int >= slots AS shared, until - at AS lasts FROM taskex.pushes ORDER BY 2, slots DESC, score DESC, 1;
CREATE VIEW kept AS SELECT group_name, title, ready + pending AS ready FROM taskex.supplies WHERE ready + pending > 0 ORDER BY 2, 1;
CREATE VIEW broken AS SELECT * FROM taskex.check_market() WHERE NOT ok UNION ALL SELECT * FROM taskex.check_ledger() WHERE NOT ok;
-- what was leased for the targets goes back: what follows is pushed
CREATE FUNCTION give_back() RETURNS bigint LANGUAGE sql AS 'SELECT sum(_taskex.supply_give_back(group_id, task_type_id, 0)) FROM _taskex.supply_list()';

-- nobody has worked: nobody is known to be good at anything
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT taskex.push_tasks();
SELECT * FROM pushed;

-- p1 cuts; p2 sews, and p3 does a little
CALL work('ann', :cut, 50);
CALL work('bob', :cut, 30);
CALL work('dan', :sew, 50);
CALL work('eve', :sew, 30);
CALL work('fay', :sew, 10);
CALL work('gus', :cut, 10);
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT count(taskex.replenish('partition:' || p)) FROM unnest(ARRAY['p1', 'p1', 'p2', 'p3', 'p4']) p;
SELECT give_back() > 0 AS gave;
SELECT * FROM kept;

-- nothing is new, nothing waits for long; a requester's own are pushed all the same
SELECT taskex.push_tasks();
SELECT taskex.push_tasks('other');
SET taskex.clock = '2031-03-01 12:06:00+00';
SELECT _taskex.score_groups();
SELECT taskex.push_tasks('req') > 0 AS pushed;
SELECT * FROM pushed;
SELECT * FROM kept;
SELECT * FROM broken;
-- what was pushed is kept as a target would be, and is accepted
SELECT g.name, title, _taskex.wanted_slots(g.group_id, task_type_id, 0) >= slots AS wanted FROM taskex.pushes p JOIN _taskex.performer_group g ON g.name = group_name WHERE slots > 0 ORDER BY 1, 2;
SELECT count(*) FROM taskex.accept_next('hal', :sew, 3);
SELECT count(group_lease_id) FROM _taskex.assignment WHERE state = 'accepted';
-- once more: it is not used up
SELECT taskex.push_tasks('req');

-- what waits: the best are asked first; who declines says why
SELECT give_back() > 0 AS gave;
SET taskex.clock = '2031-03-01 12:30:00+00';
SELECT taskex.update_group('partition:p2', '{"accept_push": false}');
SELECT taskex.update_group('partition:p3', '{"max_slots": 0}');
SELECT taskex.update_group('partition:p2', '{"accept_push": "maybe"}');
SELECT taskex.update_group('partition:p2', '{"accept_push": null}');
SELECT name, accept_push FROM taskex.performer_groups ORDER BY 1;
SELECT taskex.push_tasks() > 0 AS pushed;
SELECT * FROM pushed;
SELECT * FROM broken;

-- a type of which nobody has the qualification
SELECT taskex.update_group('partition:p2', '{"accept_push": true}'), taskex.update_group('partition:p3', '{"max_slots": null}');
SELECT taskex.create_qualification('other', 'pilot') AS pilot \gset
SELECT taskex.create_task_type('other', 'Fly', 1, qualifications => format('[{"qualification": %s, "comparator": "exists"}]', :pilot)::jsonb) AS fly \gset
SELECT taskex.create_task_type('other', 'Glue', 1) AS glue \gset
SELECT count(*) FROM unnest(ARRAY[:fly, :glue]) y, taskex.create_tasks('other', y, '{1,2,3,4,5,6,7,8}', 5, '200 days');
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT taskex.push_tasks() > 0 AS pushed;
SELECT * FROM pushed WHERE title IN ('Fly', 'Glue');
-- qualified now, but the group has just declined
SELECT taskex.grant_qualification('other', :pilot, 'dan');
SELECT taskex.push_tasks('other');
SET taskex.clock = '2031-03-01 12:32:00+00';
SELECT taskex.push_tasks('other') > 0 AS pushed;
SELECT * FROM pushed WHERE title = 'Fly';
SELECT * FROM kept WHERE title = 'Fly';
-- of groups of which nobody has worked of late others are asked about
BEGIN;
DELETE FROM _taskex.work_hour;
SELECT g.name, _taskex.share_qualified(g.group_id, (SELECT user_id FROM _taskex.directory WHERE login = 'other'), :fly) AS fly,
    _taskex.share_qualified(g.group_id, (SELECT user_id FROM _taskex.directory WHERE login = 'other'), :glue) AS glue FROM _taskex.performer_group g ORDER BY 1;
ROLLBACK;
-- only of that requester, though another has older ones
SELECT taskex.create_task_type('req', 'Knit', 1) AS knit \gset
SELECT count(*) FROM taskex.create_tasks('req', :knit, '{1,2,3}', 1, '200 days');
SELECT count(*) FROM taskex.create_tasks('other', :knit, '{4,5,6}', 1, '200 days');
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT taskex.push_tasks('other') > 0 AS pushed;
SELECT DISTINCT d.login FROM _taskex.task t JOIN _taskex.directory d ON d.user_id = t.requester_id WHERE t.task_type_id = :knit AND _taskex.at_hand(t.task_id) > 0;
SELECT * FROM broken;

-- His next turns make up for it, and until they have nobody's are pushed by name. Each other has his share meanwhile.
CREATE FUNCTION of_whom(task_type bigint) RETURNS TABLE (login text, slots bigint) LANGUAGE sql AS $$
    SELECT d.login, sum(_taskex.at_hand(t.task_id)) FROM _taskex.task t JOIN _taskex.directory d ON d.user_id = t.requester_id
    WHERE t.task_type_id = task_type GROUP BY 1 HAVING sum(_taskex.at_hand(t.task_id)) > 0 ORDER BY 1 $$;
SELECT taskex.create_task_type('req', 'Tie', 1) AS tie \gset
SELECT u, n FROM unnest(ARRAY['req', 'other']) u, LATERAL (SELECT count(*) AS n FROM taskex.create_tasks(u, :tie, array_fill('1'::jsonb, ARRAY[50]), 1, '200 days')) t;
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT partition_id AS p1 FROM _taskex.partition WHERE name = 'p1' \gset
SELECT _taskex.user_id('req') AS req, _taskex.user_id('other') AS other \gset
SELECT _taskex.supply_acquire(-:p1, :tie, 4);
SELECT _taskex.supply_acquire_of(-:p1, :tie, 6, 1, :other) AS ahead, _taskex.supply_acquire_of(-:p1, :tie, 6, 1, :other) AS again,
    _taskex.supply_acquire_of(-:p1, :tie, 6, 1, :req) AS another;
SELECT * FROM of_whom(:tie);
SELECT _taskex.supply_acquire(-:p1, :tie, 4);
SELECT * FROM of_whom(:tie);
SELECT _taskex.supply_acquire(-:p1, :tie, 4);
SELECT * FROM of_whom(:tie);
SELECT _taskex.supply_acquire(-:p1, :tie, 4);
SELECT * FROM of_whom(:tie);
SELECT _taskex.supply_acquire_of(-:p1, :tie, 2, 1, :req) AS another;
-- who is alone is ahead of nobody
SELECT _taskex.supply_acquire_of(-:p1, :sew, 1, 1, :req) AS alone, _taskex.supply_acquire_of(-:p1, :sew, 1, 1, :req) AS again;
SELECT * FROM broken;

-- in a transaction that is undone
BEGIN;
SELECT taskex.push_tasks('req') > 0 AS pushed;
ROLLBACK;
SELECT * FROM broken;
-- a group that is dropped, and errors
SELECT taskex.create_group('few', ARRAY['dan']) AS few \gset
INSERT INTO _taskex.push VALUES (:few, :cut, 1, '{}', now(), now());
INSERT INTO _taskex.push_score VALUES (:few, :cut, 1);
SELECT taskex.drop_group('few');
SELECT count(*) FROM _taskex.push WHERE group_id = :few;
SELECT count(*) FROM _taskex.push_score WHERE group_id = :few;
SELECT taskex.push_tasks('nobody');
SELECT count(taskex.replenish('partition:' || p)) FROM unnest(ARRAY['p1', 'p2', 'p3', 'p4']) p;
SET taskex.supply = off;
SELECT taskex.push_tasks();
SELECT check_name, ok, detail FROM taskex.health WHERE check_name = 'supplier';
SET taskex.supply = on;
SELECT check_name, ok, detail FROM taskex.health WHERE check_name = 'supplier';
-- leases that stay though they are over
SET taskex.clock = '2031-03-01 14:00:00+00';
SELECT check_name, ok FROM taskex.health WHERE check_name = 'supplier';
\c :regression
DROP DATABASE regress_push WITH (FORCE);
