-- Hot spots: which groups are good at what, and who would be better off elsewhere. In
-- a database of its own: shares are of all that is done.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set regression :DBNAME
CREATE DATABASE regress_hotspots TEMPLATE template0;
\c regress_hotspots
SET client_min_messages = warning;
CREATE EXTENSION taskex;
SET taskex.exchange_fee = 0;
SET taskex.clock = '2031-03-01 12:00:00+00';
SELECT taskex.add_partition('p1'), taskex.add_partition('p2');
SELECT count(taskex.register_user(u, partition => 'p1')) FROM unnest(ARRAY['req', 'ann', 'bob', 'cid']) u;
SELECT count(taskex.register_user(u, partition => 'p2')) FROM unnest(ARRAY['dan', 'eve', 'fay', 'gus']) u;
SELECT taskex.deposit('req', 10000, 'x') > 0 AS funds;
SELECT taskex.create_task_type('req', 'Cut', 1) AS cut, taskex.create_task_type('req', 'Sew', 1) AS sew \gset
SELECT count(*) FROM unnest(ARRAY[:cut, :sew]) y, taskex.create_tasks('req', y, array_fill('1'::jsonb, ARRAY[300]), 10, '200 days');
CREATE PROCEDURE work(who text, type bigint, count int, rejected int = 0) LANGUAGE plpgsql AS $$
DECLARE
    a record;
BEGIN
    FOR a IN SELECT row_number() OVER () AS n, * FROM taskex.accept_next(who, type, count) LOOP
        PERFORM taskex.submit_assignment(who, a.assignment_id, '1');
        IF a.n <= rejected THEN
            PERFORM taskex.reject_assignment('req', a.assignment_id, 'no', reopen => false);
        ELSE
            PERFORM taskex.approve_assignment('req', a.assignment_id);
        END IF;
    END LOOP;
END $$;

-- nobody has worked
SELECT * FROM taskex.hot_spots;
SELECT * FROM taskex.propose_moves();

-- at p1 they cut, at p2 they sew; but gus of p2 cuts
CALL work('ann', :cut, 40);
CALL work('bob', :cut, 30);
CALL work('bob', :sew, 3);
CALL work('cid', :cut, 5);
CALL work('dan', :sew, 40);
CALL work('eve', :sew, 40);
CALL work('gus', :cut, 20);
CALL work('gus', :sew, 2);
CALL work('fay', :sew, 19, 9);
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT group_name, title, performers, approved, share, quotient, success, volume, longevity, reputation, score FROM taskex.hot_spots;
SELECT count(*) AS wrong FROM taskex.hot_spots WHERE NOT (score BETWEEN 0 AND 1 AND success BETWEEN 0 AND 1 AND volume BETWEEN 0 AND 1
    AND longevity BETWEEN 0 AND 1 AND reputation BETWEEN 0 AND 1 AND share BETWEEN 0 AND 1);
SELECT login, source, target, task_type_id = :cut AS cut, round(gain::numeric, 4) AS gain, reason FROM taskex.propose_moves();
-- gain is what the concentrations really rise by
WITH before AS (SELECT group_id AS g, task_type_id AS y, approved AS n, of_type AS total FROM _taskex.proficiency),
    gus AS (SELECT task_type_id AS y, approved AS n FROM _taskex.skill WHERE performer_id = _taskex.user_id('gus'))
SELECT round(sum(((b.n + CASE WHEN b.g = -1 THEN 1 ELSE -1 END * gus.n) / b.total) ^ 2 - (b.n / b.total) ^ 2), 4) AS gain
    FROM before b JOIN gus USING (y);

-- who works on several days stays longer; a group by name; success counts
SELECT taskex.create_group('tailors', ARRAY['dan', 'eve'], weight => 2) > 0 AS made,
    taskex.create_group('careless', ARRAY['fay']) > 0 AS made_too;
SET taskex.clock = '2031-03-03 12:00:00+00';
CALL work('dan', :sew, 20);
CALL work('eve', :sew, 20);
CALL work('fay', :sew, 20, 10);
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT group_name, title, performers, approved, share, quotient, success, longevity, score FROM taskex.hot_spots ORDER BY score DESC;

-- several moves, the best first; at most so many
CALL work('fay', :cut, 60);
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT login, source, target, round(gain::numeric, 4) AS gain FROM taskex.propose_moves(5);
SELECT login FROM taskex.propose_moves(1);
-- nothing has been moved
SELECT partition, count(*) FROM taskex.users GROUP BY 1 ORDER BY 1;

-- who has not worked for nine days does not count
SET taskex.clock = '2031-03-11 12:00:00+00';
CALL work('ann', :cut, 1);
SELECT count(*) > 0 AS ran FROM taskex.run_due();
SELECT group_name, title, performers, approved FROM taskex.hot_spots;
SELECT performer_id = _taskex.user_id('bob') AS bob, count(*) FROM _taskex.skill GROUP BY 1;
SET taskex.clock = '2031-05-01 12:00:00+00';
SELECT * FROM taskex.hot_spots;
SELECT count(*) FROM taskex.propose_moves();

SELECT taskex.propose_moves(0);
SELECT taskex.propose_moves(1001);
SELECT taskex.propose_moves(NULL);

\c :regression
DROP DATABASE regress_hotspots WITH (FORCE);
