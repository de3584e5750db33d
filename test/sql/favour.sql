-- What is at hand for a performer's groups comes first in what he is shown.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
\set regression :DBNAME
CREATE DATABASE regress_favour TEMPLATE template0;
\c regress_favour
SET client_min_messages = warning;
CREATE EXTENSION taskex;
SET taskex.exchange_fee = 0;
SET taskex.clock = '2032-01-01 00:00:00+00';
SELECT taskex.add_partition('p1'), taskex.add_partition('p2');
SELECT count(taskex.register_user(u, partition => 'p1')) FROM unnest(ARRAY['rich', 'ann', 'bob', 'cid']) u;
SELECT taskex.register_user('far', partition => 'p2') > 0 AS far;
SELECT taskex.deposit('rich', 10000, 'x') > 0 AS rich;
SELECT taskex.create_task_type('rich', 'Glue paper', 1) AS glue \gset
SELECT taskex.create_task_type('rich', 'Cut paper', 1) AS cut \gset
SELECT taskex.create_task_type('rich', 'Fold paper', 1) AS fold \gset
SELECT count(*) FROM unnest(ARRAY[:fold, :cut, :glue]) y, taskex.create_tasks('rich', y, ARRAY['1', '2', '3']::jsonb[], 4) t;
SELECT count(*) > 0 AS ran FROM taskex.run_due();
CREATE FUNCTION found(who text) RETURNS text LANGUAGE sql AS
    $$ SELECT string_agg(format('%s (%s)', title, available), ', ' ORDER BY o) FROM taskex.search_tasks(who, 'paper') WITH ORDINALITY t (a, title, c, d, e, f, g, available, i, j, k, l, o) $$;
CREATE FUNCTION favoured(who text) RETURNS text LANGUAGE sql AS $$
    SELECT string_agg(format('%s: %s %s', title, _taskex.supply_level(_taskex.user_id(who), task_type_id),
        _taskex.supply_favour(_taskex.user_id(who), task_type_id)), ', ' ORDER BY title)
    FROM taskex.task_types WHERE title LIKE '% paper' $$;
SELECT found('ann'), favoured('ann');
SELECT taskex.create_group('gluers', ARRAY['cid'], sharing => 'exclusive', weight => 2) > 0 AS made;
SELECT taskex.accept_next('cid', :glue) IS NOT NULL AS glue, taskex.accept_next('ann', :cut) IS NOT NULL AS cut;
SELECT g.group_id AS gluers, h.group_id AS p1 FROM taskex.performer_groups g, taskex.performer_groups h WHERE g.name = 'gluers' AND h.name = 'partition:p1' \gset
INSERT INTO _taskex.push SELECT g, t, 15, '{}', _taskex.now(), 'infinity' FROM unnest(ARRAY[:gluers, :p1], ARRAY[:glue, :cut]) u (g, t);
SELECT taskex.replenish('gluers') > 0 AS gluers, _taskex.supply_acquire(:gluers, :glue, 8);
SELECT taskex.replenish('partition:p1') > 0 AS p1, _taskex.supply_acquire(:p1, :cut, 8);
SELECT group_name, title, ready, target FROM taskex.supplies WHERE title LIKE '% paper' AND ready > 0 ORDER BY 1, 2;
SELECT found('ann') AS ann, favoured('ann');
SELECT found('cid') AS cid, favoured('cid');
SELECT found('far') AS far, favoured('far');
SELECT factors -> 'supply' ->> 'value' AS supply, title FROM taskex.recommend_tasks('ann', 100) WHERE title LIKE '% paper' ORDER BY 2;
SELECT (SELECT score FROM taskex.recommend_tasks('ann', 100) WHERE title = 'Fold paper')
    > (SELECT score FROM taskex.recommend_tasks('far', 100) WHERE title = 'Fold paper') AS better;
-- all is at hand, and he gets it
SELECT input FROM taskex.accept_next('cid', :glue, 3);
SELECT found('cid') AS cid, favoured('cid');
-- what one statement asks is of one moment, the next one sees what has changed
BEGIN;
SELECT _taskex.supply_level(_taskex.user_id('ann'), :cut) AS before;
SELECT count(*) FROM taskex.accept_next('ann', :cut, 2);
SELECT _taskex.supply_level(_taskex.user_id('ann'), :cut) AS after;
COMMIT;
-- a group that is left takes its supplies along
SELECT taskex.remove_group_members('gluers', ARRAY['cid']);
SELECT favoured('cid');

-- nothing changes without supplies
SET taskex.supply = off;
SELECT found('ann') AS ann, favoured('ann');
SELECT factors -> 'supply' ->> 'value' AS supply FROM taskex.recommend_tasks('ann', 100) WHERE title LIKE '% paper' GROUP BY 1;
SELECT strpos(_taskex.search_statement('paper', 10, false, false, false, 'relevance', false), 'supply_') AS asked;

\c :regression
DROP DATABASE regress_favour WITH (FORCE);
