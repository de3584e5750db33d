-- Meters, rates, budgets, invoices.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.clock = '2140-01-01 00:00:00+00';
SELECT taskex.add_partition('billing_1') > 0 AS one, taskex.add_partition('billing_2') > 0 AS two;
SELECT count(taskex.register_user(u, partition => CASE WHEN u < 'b_c' THEN 'billing_1' ELSE 'billing_2' END)) FROM unnest('{b_ann,b_ben,b_cat,b_dan}'::text[]) u;
SELECT taskex.create_environment('b_env', 'external') IS NOT NULL AS made, taskex.create_environment('b_dear', 'external') IS NOT NULL AS dear;
CREATE TEMP VIEW broken AS SELECT * FROM taskex.check_billing() WHERE NOT ok UNION ALL SELECT * FROM taskex.check_ledger() WHERE NOT ok
    UNION ALL SELECT * FROM taskex.check_market() WHERE NOT ok AND check_name = 'audit';

-- runs that take so long: submitted, pulled, and completed when the time has come
CREATE PROCEDURE pg_temp.run(customer text, took interval, options jsonb = '{"environment": "b_env"}', program text = NULL, priority int = 0, ends text = 'succeeded') LANGUAGE plpgsql AS $$
DECLARE
    r record;
    began timestamptz := current_setting('taskex.clock')::timestamptz;
BEGIN
    PERFORM taskex.submit_run(customer, program, NULL, priority, NULL, options);
    COMMIT;
    SELECT * INTO STRICT r FROM taskex.pull_runs('w', coalesce(options ->> 'environment', 'b_env'), 1, '5 days');
    COMMIT;
    PERFORM set_config('taskex.clock', (began + took)::text, false);
    IF ends = 'succeeded' THEN
        PERFORM taskex.complete_run(r.run_id, r.lease_token);
    ELSIF ends = 'failed' THEN
        PERFORM taskex.fail_run(r.run_id, r.lease_token, '{"message": "no"}', false);
    ELSIF ends = 'cancelled' THEN
        PERFORM taskex.cancel_run(r.run_id);
    ELSE
        PERFORM set_config('taskex.clock', (began + interval '6 days')::text, false);
        PERFORM taskex.run_due_runs();
        PERFORM taskex.cancel_run(r.run_id);
    END IF;
END $$;
CREATE FUNCTION pg_temp.later(by interval) RETURNS boolean LANGUAGE sql AS
    $$ SELECT set_config('taskex.clock', (current_setting('taskex.clock')::timestamptz + by)::text, false) IS NOT NULL $$;
-- (how many invoices of the customers here: others may have some, too)
CREATE FUNCTION pg_temp.close() RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    before int := (SELECT count(*) FROM taskex.invoices WHERE customer LIKE 'b\_%');
BEGIN
    PERFORM pg_temp.later('1 s'), taskex.close_invoices();
    RETURN (SELECT count(*) FROM taskex.invoices WHERE customer LIKE 'b\_%') - before;
END $$;
\getenv tests PG_ABS_SRCDIR
\set refused :tests '/sql/include/refused.sql'
\set ECHO none
\i :refused
\set ECHO all
CREATE TEMP VIEW latest AS SELECT u.meter, u.outcome, u.quantity, u.billed, u.amount FROM taskex.usage u
    WHERE u.run_id = (SELECT max(run_id) FROM taskex.runs WHERE customer LIKE 'b\_%') ORDER BY u.meter;

-- nothing has a rate: it is free, and noted
CALL pg_temp.run('b_ann', '90 s');
SELECT * FROM latest;

-- rates: a general one, by environment, by tier, by priority, with steps and a minimum
SELECT taskex.set_rate('run_time', 0.36, '{"unit": "hour", "granularity": "1 s", "minimum": "10 s", "priority": {"9": 2.5}}') > 0 AS general;
CALL pg_temp.run('b_ann', '1500 ms');
SELECT * FROM latest;
CALL pg_temp.run('b_ann', '60.2 s', priority => 9);
SELECT * FROM latest;
SELECT taskex.set_rate('run_time', 1, '{"environment": "b_dear"}') > 0 AS by_environment, taskex.set_rate('run_time', 0.18, '{"unit": "hour", "tier": "gold"}') > 0 AS by_tier;
CALL pg_temp.run('b_ann', '2.5 s', '{"environment": "b_dear"}');
SELECT * FROM latest;
SELECT taskex.set_billing_tier('b_cat', 'gold');
CALL pg_temp.run('b_cat', '3600 s');
SELECT * FROM latest;
CALL pg_temp.run('b_cat', '2 s', '{"environment": "b_dear"}');
SELECT * FROM latest;
-- brackets, by size of one usage
SELECT taskex.set_rate('run_time', 1, '{"environment": "b_dear", "brackets": [{"upto": 10, "price": 4}, {"upto": 20, "price": 2}]}') > 0 AS graduated;
CALL pg_temp.run('b_ann', '10 s', '{"environment": "b_dear"}');
SELECT * FROM latest;
CALL pg_temp.run('b_ann', '25 s', '{"environment": "b_dear"}');
SELECT * FROM latest;
SELECT taskex.set_rate('run_time', 1, '{"environment": "b_dear", "brackets": [{"upto": 10, "price": 4}, {"upto": 20, "price": 2}], "bracket_kind": "volume"}') > 0 AS volume;
CALL pg_temp.run('b_ann', '25 s', '{"environment": "b_dear"}');
SELECT * FROM latest;
CALL pg_temp.run('b_ann', '20 s', '{"environment": "b_dear"}');
SELECT * FROM latest;
-- a rate that ends, and one that begins later; it counts when an attempt began
SELECT taskex.set_rate('run_time', NULL, '{"environment": "b_dear"}') > 0 AS ended;
SELECT taskex.set_rate('run_time', 7, jsonb_build_object('environment', 'b_dear', 'from', taskex_clock + interval '1 hour')) > 0 AS later
    FROM (SELECT current_setting('taskex.clock')::timestamptz AS taskex_clock) c;
CALL pg_temp.run('b_ann', '10 s', '{"environment": "b_dear"}');
SELECT * FROM latest;
CALL pg_temp.run('b_ann', '2 hours', '{"environment": "b_dear"}');
SELECT * FROM latest;
CALL pg_temp.run('b_ann', '1 s', '{"environment": "b_dear"}');
SELECT * FROM latest;

-- who pays for what failed
CALL pg_temp.run('b_ann', '100 s', ends => 'failed');
SELECT * FROM latest;
CALL pg_temp.run('b_ann', '100 s', ends => 'cancelled');
SELECT * FROM latest;
CALL pg_temp.run('b_ann', '100 s', ends => 'expired');
SELECT * FROM latest;

-- programs: to their owner
SELECT taskex.publish_program('b_dan', 'double', 'b_env', 'x', 0.05, true) AS version;
CALL pg_temp.run('b_ben', '10 s', '{}', 'b_dan/double');
SELECT * FROM latest;
SET taskex.program_share = 0.5;
SELECT taskex.set_program_price('b_dan', 'double', 0.6, 'minute');
RESET taskex.program_share;
CALL pg_temp.run('b_ben', '10 s', '{}', 'b_dan/double');
SELECT * FROM latest;
CALL pg_temp.run('b_ben', '10 s', '{}', 'b_dan/double', ends => 'failed');
SELECT * FROM latest;
CALL pg_temp.run('b_dan', '10 s', '{}', 'double');
SELECT * FROM latest;
SELECT * FROM taskex.estimate_cost('b_ben', 'b_dan/double', runs => 100);
SELECT * FROM taskex.estimate_cost('b_ann', 'b_dan/double', 9);
SELECT * FROM taskex.estimate_cost('b_ann', environment => 'b_dear');
SELECT meter, environment, program, tier, price, unit, brackets, bracket_kind, priority, owner_share, valid_to IS NULL AS last FROM taskex.rates WHERE program IS NULL OR program LIKE 'b\_%' ORDER BY rate_id;

-- a draft, then the invoice: lines add up, the rest is carried
SELECT line, meter, environment, program, priority, usages, billed, exact, amount, total FROM taskex.draft_invoice('b_ben');
SELECT pg_temp.close() AS closed;
SELECT customer, total, carried FROM taskex.invoices WHERE customer LIKE 'b\_%' ORDER BY 1;
SELECT customer, line, meter, environment, program, priority, usages, billed, exact, amount FROM taskex.invoice_lines WHERE customer LIKE 'b\_%' ORDER BY 1, 2;
SELECT l, b.* FROM unnest('{b_ann,b_ben,b_cat,b_dan}'::text[]) l, taskex.balance(l) b;
SELECT * FROM broken;
SELECT pg_temp.close() AS again;
-- what was carried is on the next one
CALL pg_temp.run('b_ben', '100 s', '{}', 'b_dan/double');
SELECT pg_temp.close() AS closed;
SELECT line, meter, exact, amount FROM taskex.invoice_lines WHERE invoice_id = (SELECT max(invoice_id) FROM taskex.invoices) ORDER BY 1;
SELECT * FROM broken;

-- corrections are new rows, on the next invoice
SELECT usage_id AS long FROM taskex.usage WHERE customer = 'b_cat' AND amount = 0.18 \gset
SELECT taskex.correct_usage(:'long', 1800000000, 'half of it was ours') = :'long' || '-2' AS corrected;
SELECT taskex.correct_usage(:'long', 900000000, 'a quarter') = :'long' || '-4' AS corrected;
SELECT correction, quantity, billed, amount, closed FROM taskex.usage WHERE customer = 'b_cat' AND usage_id LIKE :'long' || '%' ORDER BY 1 NULLS FIRST;
SELECT step, what, regexp_replace(value, 'number \d+', 'number N') AS value FROM taskex.explain_charge(:'long' || '-4');
SELECT pg_temp.close() AS closed;
SELECT line, meter, usages, billed, exact, amount FROM taskex.invoice_lines WHERE invoice_id = (SELECT max(invoice_id) FROM taskex.invoices) ORDER BY 1;
SELECT total, carried FROM taskex.invoices WHERE customer = 'b_cat' ORDER BY invoice_id;
SELECT * FROM taskex.balance('b_cat');
SELECT * FROM broken;

-- credit notes
SELECT max(invoice_id) AS invoice FROM taskex.invoices WHERE customer = 'b_ben' AND total > 0.1 \gset
SELECT taskex.credit_invoice(:invoice, 0.1, 'sorry', 'c1') AS note \gset
SELECT taskex.credit_invoice(:invoice, 0.1, 'sorry', 'c1') = :note AS same;
SELECT kind, credits = :invoice AS of_it, total, reason FROM taskex.invoices WHERE invoice_id = :note;
SELECT taskex.credit_invoice(:invoice, 1000, 'all of it');
SELECT taskex.credit_invoice(:invoice, 0.2, 'sorry', 'c1');
SELECT pg_temp.try(format('SELECT taskex.credit_invoice(%s, 0.1, ''sorry'')', :note));
SELECT * FROM broken;

-- statements and export
SELECT * FROM taskex.usage_statement('b_ben', '2140-01-01', '2141-01-01', 'program');
SELECT key, meter, amount FROM taskex.usage_statement('b_ann', '2140-01-01', '2141-01-01', 'environment');
SELECT key, meter, amount FROM taskex.usage_statement('b_cat', '2140-01-01', '2141-01-01', 'day');
COPY (SELECT customer, line, meter, amount FROM taskex.invoice_lines WHERE invoice_id = :invoice ORDER BY line) TO STDOUT (FORMAT csv, HEADER);
SELECT jsonb_agg(jsonb_build_object('meter', meter, 'amount', amount) ORDER BY line) FROM taskex.invoice_lines WHERE invoice_id = :invoice;

-- step by step
SELECT u.meter, x.step, x.what, regexp_replace(x.value, 'number \d+', 'number N') AS value FROM taskex.usage u, taskex.explain_charge(u.usage_id) x
    WHERE u.run_id = (SELECT max(run_id) FROM taskex.usage WHERE customer = 'b_ben') ORDER BY 1, 2;

-- credit: nobody starts what he cannot pay
SELECT taskex.set_credit_limit('b_ann', 0);
SELECT taskex.submit_run('b_ann', options => '{"environment": "b_env"}');
SELECT taskex.deposit('b_ann', 51000, 'b1') > 0 AS paid;
CALL pg_temp.run('b_ann', '10 hours');
SELECT available, held FROM taskex.balance('b_ann');
SELECT taskex.set_credit_limit(NULL, 5);
CALL pg_temp.run('b_ben', '1 hour');
CALL pg_temp.run('b_ben', '100 hours');
SELECT taskex.submit_run('b_ben', options => '{"environment": "b_env"}');
SELECT taskex.set_credit_limit(NULL, NULL);
SELECT * FROM broken;
SELECT pg_temp.close() AS closed;
SELECT available, held FROM taskex.balance('b_ann');
SELECT * FROM broken;

-- budgets: warned, then stopped; a waiting run does not start
SELECT taskex.set_run_budget('b_cat', 1, 'day');
SELECT taskex.set_run_budget('b_cat', 0.5, 'none', 'b_dan/double');
CALL pg_temp.run('b_cat', '5 hours');
SET client_min_messages = notice;
CALL pg_temp.run('b_cat', '3600 s', '{}', 'b_dan/double');
SELECT customer, program, period, amount, spent, remaining, state FROM taskex.run_budgets WHERE customer LIKE 'b\_%' ORDER BY period;
SELECT taskex.submit_run('b_cat', 'b_dan/double');
SELECT taskex.submit_run('b_cat', options => '{"environment": "b_env"}');
SELECT taskex.set_run_budget('b_cat', 100, 'day');
SELECT taskex.submit_run('b_cat', 'b_dan/double');
SELECT taskex.submit_run('b_cat', options => '{"environment": "b_env"}') > 0 AS submitted;
SELECT taskex.set_run_budget('b_cat', 0.1, 'day');
SELECT count(*) AS started FROM taskex.pull_runs('w', 'b_env', 10);
SELECT taskex.set_run_budget('b_cat', 100, 'day');
SELECT count(*) AS rests FROM taskex.pull_runs('w', 'b_env', 10);
SELECT pg_temp.later('6 s');
SELECT count(taskex.cancel_run(run_id)) AS started FROM taskex.pull_runs('w', 'b_env', 10);
-- of one program: its runs wait, others go on
SELECT taskex.drop_run_budget('b_cat', 'none', 'b_dan/double');
SELECT count(taskex.submit_run('b_cat', 'b_dan/double')) FROM generate_series(1, 3);
SELECT taskex.set_run_budget('b_cat', 0, 'none', 'b_dan/double');
SELECT taskex.submit_run('b_cat', options => '{"environment": "b_env"}') > 0 AS submitted;
SELECT count(*) AS started, bool_and(program IS NULL) AS other FROM taskex.pull_runs('w', 'b_env', 10);
SELECT taskex.drop_run_budget('b_cat', 'none', 'b_dan/double');
SELECT pg_temp.later('11 minutes');
SELECT count(*) > 0 AS due FROM taskex.run_due_runs();
SELECT count(taskex.cancel_run(run_id)) AS started FROM taskex.pull_runs('w', 'b_env', 10);
SELECT * FROM taskex.check_workload() WHERE NOT ok;
SELECT * FROM broken;

-- what is stored, and fees for tasks, which are paid already
SELECT taskex.set_rate('storage', 0.72, '{"unit": "GB hour"}') > 0 AS set;
SELECT count(*) >= 0 AS begun FROM taskex.sample_usage();
DELETE FROM _taskex.load_bytes WHERE user_id = _taskex.user_id('b_dan');
INSERT INTO _taskex.load_bytes SELECT _taskex.user_id('b_dan'), 100, 0, 1, 1073741824;
SELECT pg_temp.later('100 minutes');
SELECT taskex.deposit('b_dan', 10, 'b2') > 0 AS paid;
SELECT taskex.create_task('b_dan', taskex.create_task_type('b_dan', 'Billing', 1), '1') AS task \gset
SELECT taskex.approve_assignment('b_dan', assignment_id) FROM (SELECT assignment_id, taskex.submit_assignment('b_cat', assignment_id, '1')
    FROM (SELECT (taskex.accept_task('b_cat', :task)).assignment_id) a OFFSET 0) a;
SELECT pg_temp.later('1 s');
SELECT count(*) > 0 AS sampled FROM (SELECT taskex.sample_usage() AS n) s WHERE n > 0;
SELECT taskex.sample_usage() AS at_once;
SELECT customer, meter, quantity, amount FROM taskex.usage WHERE meter IN ('storage', 'task_fees') AND customer = 'b_dan' ORDER BY meter;
SELECT pg_temp.close() > 0 AS closed;
SELECT meter, usages, amount FROM taskex.invoice_lines WHERE customer = 'b_dan' AND meter IN ('storage', 'task_fees') ORDER BY 1;
SELECT * FROM broken;

-- whoever's invoice cannot be made stops nobody, and gets it when it can be made
SELECT taskex.set_billing_tier('b_ben', 'absurd'), taskex.set_rate('run_time', 1e9, '{"unit": "microsecond", "granularity": "3 h", "tier": "absurd", "environment": "b_env"}') > 0 AS set;
SELECT pg_temp.later('1 s');
CALL pg_temp.run('b_ann', '1 s');
CALL pg_temp.run('b_ben', '1 s');
SET client_min_messages = error;
SELECT pg_temp.close() AS closed;
SELECT pg_temp.close() AS closed;
SET client_min_messages = warning;
SELECT ok, regexp_replace(detail, 'since .*: the', 'since ...: the') AS detail FROM taskex.health WHERE check_name = 'invoices';
SELECT customer, count(*) AS open FROM taskex.usage WHERE NOT closed AND customer IN ('b_ann', 'b_ben') GROUP BY 1;
SELECT taskex.remove_usage('0 s') >= 0 AS removed;
SELECT * FROM broken;
SELECT count(taskex.correct_usage(usage_id, 0, 'absurd')) AS corrected FROM taskex.usage WHERE NOT closed AND customer = 'b_ben';
SELECT pg_temp.close() AS closed;
SELECT ok FROM taskex.health WHERE check_name = 'invoices';
SELECT count(*) AS open FROM taskex.usage WHERE NOT closed AND customer IN ('b_ann', 'b_ben');
SELECT * FROM broken;
SELECT taskex.set_billing_tier('b_ben', NULL), taskex.set_rate('run_time', NULL, '{"tier": "absurd", "environment": "b_env"}') > 0 AS ended;

-- a program's price is that of when a run was submitted
SELECT taskex.publish_program('b_dan', 'dear', 'b_env', 'x', 0.5, true) AS version;
SELECT pg_temp.later('1 s');
SELECT taskex.submit_run('b_ann', 'b_dan/dear') > 0 AS submitted;
SELECT pg_temp.later('1 s');
SELECT taskex.set_program_price('b_dan', 'dear', 99), taskex.set_program_price('b_dan', 'dear', 99, 'second');
SELECT pg_temp.later('1 s');
SELECT taskex.submit_run('b_ann', 'b_dan/dear') > 0 AS submitted;
SELECT count(taskex.complete_run(run_id, lease_token)) AS completed FROM taskex.pull_runs('w', 'b_env', 2);
SELECT meter, amount FROM taskex.usage WHERE program = 'b_dan/dear' AND meter LIKE 'program%' ORDER BY run_id, meter;
SELECT x.value LIKE '%when the run was submitted' AS told FROM taskex.usage u, taskex.explain_charge(u.usage_id) x WHERE u.program = 'b_dan/dear' AND u.meter = 'program_use' AND x.what = 'rate';
SELECT pg_temp.close() AS closed;
SELECT * FROM broken;

-- what owners earn is checked: each use of a program, their shares, what they were paid
BEGIN;
DELETE FROM _taskex.entry e USING _taskex.directory d WHERE d.login = 'b_dan' AND e.account_id = d.user_id AND e.kind = 'program' AND e.transfer_id = (SELECT max(x.transfer_id) FROM _taskex.entry x WHERE x.account_id = d.user_id AND x.kind = 'program');
SELECT check_name, detail FROM broken;
ROLLBACK;
BEGIN;
UPDATE _taskex.invoice_line l SET owner_amount = owner_amount - 1 WHERE l.owner_id <> 0 AND l.invoice_id = (SELECT max(invoice_id) FROM taskex.invoices WHERE customer = 'b_ann') AND l.line = (SELECT max(x.line) FROM _taskex.invoice_line x WHERE x.invoice_id = l.invoice_id);
SELECT check_name, detail FROM broken;
ROLLBACK;
BEGIN;
DELETE FROM _taskex.usage u USING _taskex.directory d WHERE d.login = 'b_ann' AND u.customer_id = d.user_id AND u.partition_id = d.partition_id AND u.meter = 8;
SELECT check_name, detail FROM broken WHERE check_name LIKE 'owners%';
ROLLBACK;

-- retention: only what is closed, and whose run is gone
SELECT count(*) AS runs_before FROM taskex.usage WHERE customer LIKE 'b\_%' AND meter = 'run_time' \gset
SELECT pg_temp.later('2 days');
CALL pg_temp.run('b_ann', '1 s');
SELECT taskex.remove_usage('1 hour') >= 0 AS removed;
SELECT count(*) = :runs_before + 1 AS all_there FROM taskex.usage WHERE customer LIKE 'b\_%' AND meter = 'run_time';
SELECT taskex.remove_runs('1 hour') > 0 AS runs_removed;
SELECT taskex.remove_usage('1 hour') > 0 AS removed;
SELECT customer, meter, closed FROM taskex.usage WHERE customer LIKE 'b\_%' AND meter <> 'storage';
SELECT * FROM broken;

-- bad input changes nothing
\pset format unaligned
SELECT call, pg_temp.try('SELECT count(*) FROM taskex.' || call) AS says FROM (VALUES
    ('set_rate(''nonesuch'', 1)'), ('set_rate(''run_time'', -1)'), ('set_rate(''run_time'', ''NaN'')'), ('set_rate(''run_time'', ''Infinity'')'), ('set_rate(''run_time'', 1e10)'),
    ('set_rate(''run_time'', 0.0000000000001)'), ('set_rate(''run_time'', 0)'), ('set_rate(''program_use'', 1)'), ('set_rate(''task_fees'', 1)'),
    ('set_rate(''run_time'', 1, ''[]'')'), ('set_rate(''run_time'', 1, ''{"colour": 1}'')'), ('set_rate(''run_time'', 1, ''{"unit": "GB"}'')'),
    ('set_rate(''run_time'', 1, ''{"granularity": "0 s"}'')'), ('set_rate(''run_time'', 1, ''{"granularity": "-1 s"}'')'), ('set_rate(''run_time'', 1, ''{"granularity": 0.0000001}'')'),
    ('set_rate(''run_time'', 1, ''{"minimum": "-1 s"}'')'), ('set_rate(''run_time'', 1, ''{"minimum": "99999999 years"}'')'), ('set_rate(''rows'', 1, ''{"minimum": "1 s"}'')'),
    ('set_rate(''run_time'', 1, ''{"environment": "nonesuch"}'')'), ('set_rate(''run_time'', 1, ''{"tier": ""}'')'),
    ('set_rate(''run_time'', 1, ''{"priority": {"10": 1}}'')'), ('set_rate(''run_time'', 1, ''{"priority": {"1": -1}}'')'), ('set_rate(''run_time'', 1, ''{"priority": 2}'')'),
    ('set_rate(''run_time'', 1, ''{"brackets": [{"upto": 5, "price": 1}, {"upto": 5, "price": 1}]}'')'), ('set_rate(''run_time'', 1, ''{"brackets": [{"upto": 5}]}'')'),
    ('set_rate(''run_time'', 1, ''{"brackets": [{"upto": 5, "price": -1}]}'')'), ('set_rate(''run_time'', 1, ''{"brackets": 5}'')'), ('set_rate(''run_time'', 1, ''{"bracket_kind": "x"}'')'),
    ('set_rate(''run_time'', 1, ''{"charge": ["won"]}'')'), ('set_rate(''run_time'', 1, ''{"from": "2020-01-01"}'')'), ('set_rate(''run_time'', 1, ''{"from": "infinity"}'')'),
    ('set_rate(''run_time'', 1, ''{"from": "soon"}'')'), ('set_rate(''rows'', NULL)'), ('set_rate(''run_time'', NULL, ''{"minimum": "1 s"}'')'),
    ('set_program_price(''b_dan'', ''nonesuch'', 1)'), ('set_program_price(''b_dan'', ''double'', -1)'), ('set_program_price(''b_dan'', ''double'', 1, ''year'')'),
    ('set_credit_limit(''b_ann'', -1)'), ('set_credit_limit(''b_nobody'', 1)'), ('set_billing_tier(''b_nobody'', ''x'')'),
    ('set_run_budget(''b_ann'', -1)'), ('set_run_budget(''b_ann'', 1, ''year'')'), ('set_run_budget(''b_ann'', 1, ''day'', ''nonesuch'')'), ('set_run_budget(''b_ann'', 1, ''day'', NULL, 2)'),
    ('drop_run_budget(''b_ann'', ''month'')'),
    ('estimate_cost(''b_ann'')'), ('estimate_cost(''b_ann'', ''nonesuch'')'), ('estimate_cost(''b_ann'', NULL, 0, ''nonesuch'')'), ('estimate_cost(''b_ann'', NULL, 10, ''b_env'')'),
    ('estimate_cost(''b_ann'', NULL, 0, ''b_env'', 0)'),
    ('close_invoices(''2150-01-01'')'), ('close_invoices(''2140-01-01'')'), ('close_invoices(''-infinity'')'), ('close_invoices(NULL, 10)'), ('close_invoices(NULL, -1)'),
    ('draft_invoice(''b_ann'', NULL, 10)'), ('usage_statement(''b_ann'', ''2140-01-01'', ''2141-01-01'', ''colour'')'), ('usage_statement(''b_ann'', ''2141-01-01'', ''2140-01-01'')'),
    ('explain_charge(''nonesuch'')'), ('explain_charge('''')'), ('explain_charge(''1-1-1-1-1-1'')'), ('explain_charge(''99999999999999999999999-1-1-1'')'),
    ('set_rate(''storage'', 1, ''{"environment": "b_env"}'')'), ('set_rate(''storage'', 1, ''{"priority": {"9": 2}}'')'),
    ('correct_usage(''nonesuch'', 1, ''x'')'), ('correct_usage(''1-1-1-1'', -1, ''x'')'), ('correct_usage(''1-1-1-1'', 1000000000000000001, ''x'')'), ('credit_invoice(0, 1, ''x'')'), ('credit_invoice(1, 0, '''')'),
    ('remove_usage(''-1 s'')'), ('remove_usage(''1 s'', 0)'), ('schedule_billing(digits => 10)'), ('schedule_billing(retention => ''-1 s'')')) v (call);
\pset format aligned
-- what was not used costs nothing, whatever the minimum
SELECT taskex.set_rate('run_time', 1, '{"unit": "second", "granularity": "3 s", "minimum": "10 s", "environment": "b_dear"}') > 0 AS set;
CALL pg_temp.run('b_cat', '1 s', '{"environment": "b_dear"}');
SELECT usage_id AS short FROM taskex.usage WHERE meter = 'run_time' AND run_id = (SELECT max(run_id) FROM taskex.runs WHERE customer = 'b_cat') \gset
SELECT taskex.correct_usage(:'short', 0, 'it was another') = :'short' || '-2' AS corrected;
SELECT taskex.correct_usage(:'short', 1000000000000000000, 'too much') = :'short' || '-4' AS corrected;
SELECT taskex.correct_usage(:'short', 0, 'it was another') = :'short' || '-6' AS corrected;
SELECT correction, quantity, billed, amount FROM taskex.usage WHERE usage_id LIKE :'short' || '%' ORDER BY 1 NULLS FIRST;
SELECT step, what, value FROM taskex.explain_charge(:'short' || '-6');
SELECT what FROM taskex.explain_charge(:'short' || '-5');
SELECT * FROM broken;
-- nothing can be billed twice: the same attempt has one row of each meter, whoever writes it
DO $$
BEGIN
    INSERT INTO _taskex.usage SELECT u.* FROM _taskex.usage u JOIN _taskex.directory d ON d.user_id = u.customer_id WHERE d.login = 'b_ann' LIMIT 1;
    RAISE 'billed twice';
EXCEPTION
    WHEN unique_violation THEN NULL;
END $$;
-- who uses much has something set aside ahead: not each attempt needs an entry; what is not used comes back
SELECT taskex.deposit('b_dan', 1000000, 'ahead') > 0 AS paid, taskex.set_credit_limit('b_dan', 0), taskex.set_run_budget('b_dan', 1000000);
CREATE FUNCTION pg_temp.set_aside() RETURNS TABLE (kind text, entries bigint, held numeric) LANGUAGE sql AS $$
    SELECT e.kind, count(*), trim_scale(sum(e.held) * 0.000000001) FROM _taskex.entry e JOIN _taskex.directory d ON d.user_id = e.counterparty AND d.partition_id = e.partition_id
    WHERE d.login = 'b_dan' AND e.kind IN ('usage', 'usage_ahead', 'run_budget') GROUP BY 1 ORDER BY 1 $$;
-- (of 36 s each)
CREATE PROCEDURE pg_temp.run_many(count int) LANGUAGE plpgsql AS $$ BEGIN FOR i IN 1 .. count LOOP CALL pg_temp.run('b_dan', '36 s'); END LOOP; END $$;
CALL pg_temp.run_many(16);
SELECT * FROM pg_temp.set_aside();
CALL pg_temp.run_many(11);
SELECT * FROM pg_temp.set_aside();
SELECT count(*), sum(accrued) AS used FROM _taskex.usage u JOIN _taskex.directory d ON d.user_id = u.customer_id AND d.partition_id = u.partition_id WHERE d.login = 'b_dan' AND u.accrued > 0;
SELECT * FROM broken;
-- what is undone was not used
SELECT taskex.submit_run('b_dan', options => '{"environment": "b_env"}') > 0 AS submitted;
SELECT run_id AS ahead_run, lease_token AS ahead_token FROM taskex.pull_runs('w', 'b_env') \gset
SELECT pg_temp.later('36 s');
BEGIN;
SELECT taskex.complete_run(:ahead_run, :ahead_token);
ROLLBACK;
BEGIN;
SAVEPOINT a;
SELECT taskex.complete_run(:ahead_run, :ahead_token);
ROLLBACK TO a;
SELECT _taskex.give_back_ahead();
ROLLBACK;
SELECT taskex.complete_run(:ahead_run, :ahead_token);
SELECT _taskex.give_back_ahead();
SELECT _taskex.give_back_ahead();
SELECT * FROM pg_temp.set_aside();
SELECT spent FROM taskex.run_budgets WHERE customer = 'b_dan';
-- with an invoice, too; what is needed later is set aside anew
CALL pg_temp.run_many(2);
SELECT pg_temp.close() AS closed;
SELECT held FROM taskex.balance('b_dan');
SELECT * FROM broken;
SELECT taskex.drop_run_budget('b_dan'), taskex.set_credit_limit('b_dan', NULL);
SELECT taskex.set_rate(m, NULL) > 0 AS ended FROM unnest('{run_time,storage}'::text[]) m;
SELECT taskex.set_rate('run_time', NULL, '{"environment": "b_dear"}') > 0 AS ended;
SELECT pg_temp.close() >= 0 AS closed;
SELECT * FROM broken;
RESET taskex.clock;
