-- Answers and reliabilities out of what several performers said.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET datestyle = 'ISO, YMD';
CREATE TEMP TABLE said (worker text, task int, label text);
-- a and b are mostly right, c guesses; of task 5 only c knows anything
INSERT INTO said SELECT w, t, l FROM (VALUES
    ('a', 1, 'x'), ('b', 1, 'x'), ('c', 1, 'y'),
    ('a', 2, 'y'), ('b', 2, 'y'), ('c', 2, 'y'),
    ('a', 3, 'x'), ('b', 3, 'x'), ('c', 3, 'x'),
    ('a', 4, 'y'), ('b', 4, 'y'), ('c', 4, 'x'),
    ('c', 5, 'x'), ('a', 6, 'x'), ('c', 6, 'y')) v (w, t, l);
CREATE TEMP TABLE method (name text, place serial);
INSERT INTO method (name) VALUES ('majority'), ('weighted_majority'), ('dawid_skene'), ('zencrowd'), ('one_coin'), ('glad');

SELECT name, string_agg(format('%s:%s %s', i.task, CASE WHEN i.confidence > 0.51 THEN i.label ELSE '?' END, round(i.confidence::numeric, 3)), ', ' ORDER BY i.task) AS answers
    FROM method, taskex.infer_truth('SELECT * FROM said', name) i GROUP BY name, place ORDER BY place;
SELECT name, i.performer, round(i.reliability::numeric, 3) AS reliability, i.answers,
        regexp_replace(i.parameters::text, '(\d\.\d\d\d)\d+', '\1', 'g') AS parameters
    FROM method, taskex.infer_performers('SELECT * FROM said', name) i ORDER BY place, i.performer;

-- Dawid-Skene by hand, one round: of task 1, x has 0.7 * 0.7 * 0.3 of what y has 0.3 * 0.3 * 0.7
SELECT round(confidence::numeric, 6), round(0.7 * 0.7 * 0.3 / (0.7 * 0.7 * 0.3 + 0.3 * 0.3 * 0.7), 6) AS by_hand
    FROM taskex.infer_truth('SELECT * FROM said', 'dawid_skene', '{"rounds": 1}') WHERE task = '1';
-- and ZenCrowd: 0.8 and 0.2
SELECT round(confidence::numeric, 6), round(0.8 * 0.8 * 0.2 / (0.8 * 0.8 * 0.2 + 0.2 * 0.2 * 0.8), 6) AS by_hand
    FROM taskex.infer_truth('SELECT * FROM said', 'zencrowd', '{"rounds": 1}') WHERE task = '1';
-- ... of ten possible labels
SELECT round(confidence::numeric, 6), round(0.8 * 0.8 * 0.2 / 9 / (0.8 * 0.8 * 0.2 / 9 + 0.2 * 0.2 / 81 * 0.8 + 8 * 0.2 ^ 3 / 729), 6) AS by_hand
    FROM taskex.infer_truth('SELECT * FROM said', 'zencrowd', '{"rounds": 1, "possible": 10}') WHERE task = '1';
-- a prior that outweighs everything leaves the start as it is
SELECT name, count(*) FILTER (WHERE abs(i.reliability - CASE name WHEN 'dawid_skene' THEN 0.6 ELSE 0.75 END) < 1e-6) AS unmoved
    FROM unnest(ARRAY['dawid_skene', 'zencrowd', 'one_coin']) name,
        taskex.infer_performers('SELECT * FROM said', name,
            jsonb_build_object('prior_weight', 1e9, 'reliability', CASE name WHEN 'dawid_skene' THEN 0.6 ELSE 0.75 END)) i
    GROUP BY name ORDER BY name;
-- more rounds are made until nothing changes any more, or too little
SELECT count(*) FROM taskex.infer_truth('SELECT * FROM said', 'one_coin', '{"rounds": 1000000, "tolerance": 0.001}');
SELECT count(*) FROM taskex.infer_truth('SELECT * FROM said', 'weighted_majority', '{"rounds": 1000000}');

-- ties: task 6 is undecided for the majority
SELECT ties, i.* FROM unnest(ARRAY['first', 'all', 'none']) ties,
    taskex.infer_truth('SELECT * FROM said', 'majority', jsonb_build_object('ties', ties)) i WHERE i.task = '6' ORDER BY 1, 3;
SELECT DISTINCT label FROM generate_series(1, 5) n,
    taskex.infer_truth('SELECT * FROM said ORDER BY random()', 'majority') i WHERE i.task = '6';
-- who is always wrong says what is right; a label that nobody gave can be the answer
SELECT i.task, i.label, i.confidence > 0.8 AS sure FROM taskex.infer_truth($$
    SELECT w AS worker, t AS task, CASE WHEN w = 4 THEN 'no' WHEN t % 2 = 0 THEN 'no' ELSE 'yes' END AS label
        FROM generate_series(1, 4) w, generate_series(1, 40) t WHERE w = 4 OR t <= 39
    UNION ALL SELECT 5, t, CASE t % 2 WHEN 0 THEN 'yes' ELSE 'no' END FROM generate_series(1, 41) t $$, 'zencrowd') i
    WHERE i.task IN ('39', '41') ORDER BY 1;

-- no order of rows, and no number of times that a row comes, changes the answers
SELECT name, count(DISTINCT a) AS different FROM method, generate_series(1, 5) n, LATERAL (
    SELECT string_agg(format('%s %s %s', task, CASE WHEN confidence > 0.51 THEN label END, round(confidence::numeric, 9)), ',' ORDER BY task) AS a
    FROM taskex.infer_truth(CASE n WHEN 1 THEN 'SELECT * FROM said' WHEN 2 THEN 'SELECT * FROM said ORDER BY label, worker'
        WHEN 3 THEN 'SELECT s.* FROM said s, generate_series(1, 3)' ELSE 'SELECT * FROM said ORDER BY md5(worker || task || ' || n || ')' END, name)) i
    GROUP BY name ORDER BY name;

-- any types, further columns, rows without a label
SELECT * FROM taskex.infer_truth($$ SELECT 1.5 AS worker, DATE '2020-02-29' AS task, true AS label, 'more' AS comment
    UNION ALL SELECT 2.5, DATE '2020-02-29', NULL, '' UNION ALL SELECT 3, DATE '2021-01-01', NULL, '' $$, 'majority');
SELECT i.* FROM taskex.infer_truth($$ SELECT 'w'::name AS worker, jsonb '[1, 2]' AS task, ARRAY['é', ''] AS label $$, 'dawid_skene') i;
SELECT i.* FROM taskex.infer_truth($$ SELECT 1::smallint AS worker, -1::bigint AS task, repeat('long ', 20000)::varchar AS label $$, 'majority') i
    WHERE i.label <> repeat('long ', 20000);
SELECT count(*), min(length(task)), max(length(task)) FROM taskex.infer_truth(
    'SELECT 1 AS worker, repeat(''t'', t * 37) AS task, t AS label FROM generate_series(1, 1000) t', 'majority');
-- nothing at all
SELECT count(*) FROM method, taskex.infer_truth('SELECT * FROM said WHERE false', name);
SELECT count(*) FROM method, taskex.infer_performers('SELECT * FROM said WHERE false', name);
SELECT m, count(i) FROM unnest(ARRAY['mean', 'median']) m, taskex.infer_truth('SELECT * FROM said WHERE label IS NULL', m) i GROUP BY m;
-- one label
SELECT m, i.* FROM unnest(ARRAY['majority', 'weighted_majority', 'mean', 'median', 'dawid_skene', 'zencrowd', 'one_coin', 'glad']) m,
    taskex.infer_truth('SELECT 1 AS worker, 2 AS task, 3 AS label', m) i ORDER BY 1;

-- numbers
CREATE TEMP TABLE score AS SELECT w AS worker, t AS task, t * 10 + (w - 2) * CASE t WHEN 3 THEN 4 ELSE 1 END AS label
    FROM generate_series(1, 3) w, generate_series(1, 5) t;
INSERT INTO score VALUES (4, 1, 1000), (4, 2, 21.5);
SELECT m, i.task, i.label, round(i.confidence::numeric, 3) AS confidence FROM unnest(ARRAY['mean', 'median']) m,
    taskex.infer_truth('SELECT * FROM score', m) i ORDER BY m, i.task;
SELECT m, i.performer, round(i.reliability::numeric, 3) AS reliability, answers, (parameters ->> 'bias')::numeric(9, 3) AS bias,
    (parameters ->> 'deviation')::numeric(9, 3) AS deviation
    FROM unnest(ARRAY['mean', 'median']) m, taskex.infer_performers('SELECT * FROM score', m) i ORDER BY m, i.performer;
-- the confidence of the mean by hand
WITH t AS (SELECT task, avg(label) AS mean, var_pop(label) * count(*) AS s, count(*) AS n FROM score WHERE worker < 4 GROUP BY 1),
    w AS (SELECT sum(s) / (sum(n) - count(*)) AS w2, var_samp(mean) AS answers FROM t),
    v AS (SELECT task, (s + w2) / n ^ 2 AS v, answers FROM t, w), a AS (SELECT max(answers) - avg(v) AS a FROM v)
    SELECT count(*) AS tasks, max(abs(a / (a + v) - i.confidence)) < 1e-9 AS equal
    FROM v, a, taskex.infer_truth('SELECT * FROM score WHERE worker < 4', 'mean') i WHERE i.task = v.task::text;
SELECT * FROM taskex.infer_truth('SELECT w AS worker, t AS task, 7 AS label FROM generate_series(1, 2) w, generate_series(1, 2) t', 'mean') ORDER BY 1;

-- bad input
CREATE FUNCTION pg_temp.try(query text, method text = 'majority', options jsonb = '{}') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    rows bigint;
    detail text;
    hint text;
BEGIN
    SELECT count(*) INTO rows FROM taskex.infer_truth(query, method, options);
    RETURN rows || ' rows';
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RETURN concat_ws(' | ', SQLSTATE, SQLERRM, nullif(detail, ''), nullif(hint, ''));
END $$;
CREATE TEMP TABLE target (n int);
CREATE FUNCTION pg_temp.write() RETURNS int LANGUAGE plpgsql AS $$
    BEGIN CREATE TABLE public.truth_leak (); RETURN 1; END $$;
CREATE FUNCTION pg_temp.write_more() RETURNS int LANGUAGE plpgsql AS $$
    BEGIN SET transaction_read_only = off; CREATE TABLE public.truth_leak (); RETURN 1; END $$;
SELECT q, pg_temp.try(q) FROM (VALUES (''), ('-- nothing'), ('SELECT 1; SELECT 2'), ('selec'), ('SELECT * FROM nowhere'), ('SELECT $1'),
    ('DELETE FROM said RETURNING *'), ('WITH d AS (DELETE FROM said RETURNING *) SELECT * FROM d'), ('SELECT * FROM said FOR UPDATE'),
    ('SELECT * FROM (SELECT * FROM said FOR SHARE) s'), ('SELECT * INTO copied FROM said'), ('TABLE said'), ('EXPLAIN SELECT * FROM said'), ('SHOW ALL'),
    ('COMMIT'), ('CREATE TABLE truth_leak ()'), ('COPY said TO STDOUT'), ('DO $x$ BEGIN END $x$'), ('SET search_path = public'),
    ('SELECT 1 AS worker, 2 AS task'), ('SELECT 1 AS worker, 2 AS task, 3 AS "Label"'), ('SELECT 1 AS worker, 2 AS task, 3 AS label, 4 AS task'), ('SELECT'),
    ('SELECT 1 / 0 AS worker, 2 AS task, 3 AS label'), ('SELECT 1 / (g - 900) AS worker, g AS task, 3 AS label FROM generate_series(1, 1000) g'),
    ('SELECT pg_temp.write() AS worker, 2 AS task, 3 AS label'), ('SELECT pg_temp.write_more() AS worker, 2 AS task, 3 AS label'),
    ('SELECT nextval(''_taskex.task_id_seq'') AS worker, 2 AS task, 3 AS label'),
    ('SELECT NULL AS worker, 2 AS task, 3 AS label'), ('SELECT 1 AS worker, NULL AS task, 3 AS label'), ('SELECT 1 AS worker, NULL AS task, NULL AS label'),
    ('SELECT worker, task, label FROM taskex.infer_truth(''SELECT * FROM said'', ''majority''), (SELECT 1 AS worker) w')) v (q);
SELECT m, o, pg_temp.try('SELECT * FROM said', m, o::jsonb) FROM (VALUES ('mode', '{}'), ('', '{}'), ('Majority', '{}'), ('majority', '[]'), ('majority', '1'),
    ('majority', '{"rounds": 3}'), ('mean', '{"ties": "all"}'), ('glad', '{"reliability": 0.5}'), ('dawid_skene', '{"possible": 5}'), ('zencrowd', '{"seed": 1}'),
    ('zencrowd', '{"rounds": 0}'), ('zencrowd', '{"rounds": 2.5}'), ('zencrowd', '{"rounds": "2"}'), ('zencrowd', '{"rounds": 1e400}'), ('zencrowd', '{"rounds": [2]}'),
    ('zencrowd', '{"rounds": null}'), ('zencrowd', '{"tolerance": -1}'), ('zencrowd', '{"tolerance": {"a": 1}, "rounds": 1}'), ('zencrowd', '{"reliability": 1}'),
    ('zencrowd', '{"prior_weight": -1}'), ('zencrowd', '{"possible": 1}'), ('zencrowd', '{"ties": "random"}'), ('zencrowd', '{"ties": 1}')) v (m, o);
SELECT l, m, pg_temp.try(format('SELECT w AS worker, 1 AS task, %L AS label FROM generate_series(1, 2) w', l), m)
    FROM (VALUES ('x'), (''), ('1 '), ('0x10'), ('NaN'), ('Infinity'), ('1e999'), ('1.7e308'), ('-12.5'), (repeat('ä', 100))) v (l), unnest(ARRAY['mean', 'median']) m;
-- more than it may take: while reading, and for the matrices
SELECT pg_temp.try('SELECT 1 AS worker, 2 AS task, repeat(''x'', 100 * 1024) AS label') AS fits;
SET taskex.max_inference_memory = '64kB';
SELECT pg_temp.try('SELECT 1 AS worker, g AS task, 3 AS label FROM generate_series(1, 100000) g') ~ '^53400 .*for \d+ labels.*Raise taskex.max_inference_memory' AS refused;
SET taskex.max_inference_memory = '1MB';
SELECT pg_temp.try('SELECT 1 AS worker, 2 AS task, repeat(''x'', 2 * 1024 * 1024) AS label') ~ '^53400 ' AS refused;
SELECT m, pg_temp.try('SELECT g AS worker, 1 AS task, g % 50 AS label FROM generate_series(1, 1000) g', m) ~ '^53400 ' AS refused
    FROM unnest(ARRAY['majority', 'dawid_skene', 'zencrowd']) m;
RESET taskex.max_inference_memory;
-- cancelled
SET statement_timeout = '50ms';
SELECT * FROM taskex.infer_truth('SELECT 1 AS worker, 2 AS task, 3 AS label FROM pg_sleep(60)', 'majority');
RESET statement_timeout;
-- nothing was written, nothing is left, and the transaction can write again
SELECT to_regclass('public.truth_leak'), to_regclass('copied'), (SELECT count(*) FROM said) AS said, (SELECT count(*) FROM taskex.inferences) AS inferences;
BEGIN;
SELECT pg_temp.try('SELECT 1 / 0 AS worker, 2 AS task, 3 AS label');
SELECT count(*) FROM taskex.infer_truth('SELECT * FROM said', 'majority');
SHOW transaction_read_only;
INSERT INTO target VALUES (1);
COMMIT;
BEGIN READ ONLY;
SELECT count(*) FROM taskex.infer_truth('SELECT * FROM said', 'glad');
COMMIT;

-- the caller's rights, his rows, his search_path, his snapshot
CREATE ROLE regress_truth_user;
GRANT taskex_user TO regress_truth_user;
CREATE SCHEMA truth_own AUTHORIZATION regress_truth_user;
CREATE TABLE truth_said (worker text, task text, label text, owner name);
INSERT INTO truth_said VALUES ('a', '1', 'mine', 'regress_truth_user'), ('b', '1', 'other', 'postgres'), ('c', '1', 'other', 'postgres');
SET ROLE regress_truth_user;
SELECT * FROM taskex.infer_truth('SELECT * FROM truth_said', 'majority');
RESET ROLE;
GRANT SELECT ON truth_said TO regress_truth_user;
ALTER TABLE truth_said ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON truth_said USING (owner = current_user);
SET ROLE regress_truth_user;
SELECT * FROM taskex.infer_truth('SELECT * FROM truth_said', 'majority');
CREATE TABLE truth_own.truth_said AS SELECT 'a' AS worker, 'own' AS task, 1 AS label;
SET search_path = truth_own;
SELECT * FROM taskex.infer_truth('SELECT * FROM truth_said', 'majority');
RESET search_path;
-- one's own inference is seen, and what it does
SELECT task, label FROM taskex.infer_truth($$ SELECT role AS worker, method AS task, phase || ' ' || labels AS label FROM taskex.inferences $$, 'majority');
SELECT count(*) FROM taskex.inferences;
SET taskex.max_inference_memory = '1GB';
RESET ROLE;
DROP TABLE truth_said, truth_own.truth_said;
DROP SCHEMA truth_own;
DROP ROLE regress_truth_user;

-- an inference over inferences
SELECT task, label FROM taskex.infer_truth($$ SELECT m AS worker, i.task, i.label
    FROM unnest(ARRAY['majority', 'dawid_skene', 'glad']) m, taskex.infer_truth('SELECT * FROM said', m) i $$, 'majority') WHERE task <> '5' ORDER BY task;

-- one-coin, label by label
SELECT _taskex.one_coin_reliability(0, 0) AS unknown, _taskex.one_coin_reliability(95, 95) AS right, _taskex.one_coin_reliability(0, 95) AS wrong;
-- 0.8 ^ 2 * 0.2 against 0.2 ^ 2 * 0.8
SELECT label, round(posterior::numeric, 6) FROM _taskex.one_coin_posterior('{x,y,x}', '{0.8,0.8,0.8}');
SELECT label, round(posterior::numeric, 6), round(0.8 / 9 / (0.8 / 9 + 0.2 * 9 / 9 / 9), 6) AS by_hand FROM _taskex.one_coin_posterior('{x}', '{0.8}', 10);
-- nobody decides alone; who guesses or worse says nothing
SELECT label, round(posterior::numeric, 6) FROM _taskex.one_coin_posterior('{x,y}', '{1,0.5}');
SELECT label, round(posterior::numeric, 6) FROM _taskex.one_coin_posterior('{x,y}', '{0.6,0}');
-- thousands of votes are no more than 1
SELECT label, posterior FROM _taskex.one_coin_posterior(array_fill('x'::text, ARRAY[5000]) || array_fill('y'::text, ARRAY[4000]), array_fill(0.99::float8, ARRAY[9000]));
SELECT count(*) FROM _taskex.one_coin_posterior('{}', '{}');
-- what the others say of each
SELECT array_agg(round(a::numeric, 6)) FROM unnest(_taskex.one_coin_agreement('{x,y,x}', '{0.8,0.8,0.8}')) a;
SELECT array_agg(round(a::numeric, 6)) FROM unnest(_taskex.one_coin_agreement('{x,x}', '{0.8,0.9}', 10)) a;
SELECT _taskex.one_coin_agreement('{x}', '{0.8}') IS NULL AS nobody_to_compare;
