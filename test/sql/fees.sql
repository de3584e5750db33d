-- Fees: by requester, type and plurality, with a minimum, from a time on.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.exchange_fee = 0.25;
SET taskex.clock = '2200-01-01 00:00:00+00';
SELECT taskex.add_partition('fees_1') > 0 AS added;
SELECT taskex.register_user('f_req', partition => 'fees_1') > 0 AS req, taskex.register_user('f_vip', partition => 'fees_1') > 0 AS vip;
SELECT taskex.deposit('f_req', 1000, 'start') > 0 AS req, taskex.deposit('f_vip', 1000, 'start') > 0 AS vip;
SELECT taskex.create_task_type('f_req', 'Fees: a dollar', 1) AS dollar, taskex.create_task_type('f_req', 'Fees: a cent', 0.01) AS cent,
    taskex.create_task_type('f_req', 'Fees: nothing', 0) AS free \gset

-- no rule: the setting
SELECT * FROM taskex.quote('f_req', :dollar, 3, 10);
SELECT count(*) FROM taskex.fee_rules;

-- Mechanical Turk's schedule: 20 %, 40 % from 10 assignments, at least 0.01 each; 20 % of bonuses
SELECT taskex.set_fee(0.2, 0.01) AS general, taskex.set_fee(0.4, 0.01, performers => 10) AS many,
    taskex.set_fee(0.2, 0.01, kind => 'bonus') AS bonus \gset
SELECT kind, requester, task_type_id, performers, share, minimum, valid_from FROM taskex.fee_rules ORDER BY rule_id;
SELECT p AS performers, q.* FROM (VALUES (1), (9), (10), (100000)) v (p), taskex.quote('f_req', :dollar, 1, p) q;
SELECT p AS performers, q.* FROM (VALUES (1), (10)) v (p), taskex.quote('f_req', :cent, 2, p) q;
SELECT * FROM taskex.quote('f_req', :free, 1, 1);
-- what is quoted is what is held, and fixed for the task
SELECT taskex.create_task('f_req', :dollar, '1', 9) AS nine, taskex.create_task('f_req', :dollar, '1', 10) AS ten,
    taskex.create_task('f_req', :cent, '1', 1) AS cheap, taskex.create_task('f_req', :free, '1', 2) AS gift \gset
SELECT performers, reward, fee, performers * (reward + fee) AS held FROM taskex.tasks WHERE requester = 'f_req' ORDER BY task_id;
SELECT * FROM taskex.balance('f_req');
-- rounded down to the nano-unit
SELECT taskex.set_fee(0.333333) > 0 AS set;
SELECT fee FROM taskex.quote('f_req', taskex.create_task_type('f_req', 'Fees: odd', 0.000000001), 1, 1);
SELECT fee FROM taskex.quote('f_req', taskex.create_task_type('f_req', 'Fees: odd', 1.000000007), 1, 1);

-- a time that has not come yet
SELECT taskex.set_fee(0.1, valid_from => '2200-02-01') > 0 AS later;
SELECT fee FROM taskex.quote('f_req', :dollar);
SET taskex.clock = '2200-02-01 00:00:00+00';
SELECT fee FROM taskex.quote('f_req', :dollar);
SELECT performers, fee FROM taskex.tasks WHERE task_id = :nine;
-- the most particular rule counts: requester and type, requester, type, general; the plurality only among one's like
SELECT taskex.set_fee(0.15, task_type => :dollar) > 0 AS of_type;
SELECT requester, performers, (taskex.quote(requester, :dollar, 1, performers)).fee FROM (VALUES ('f_req', 1), ('f_req', 10), ('f_vip', 10)) v (requester, performers);
SELECT taskex.set_fee(0.05, requester => 'f_vip') > 0 AS of_requester;
SELECT requester, (taskex.quote(requester, :dollar, 1, 10)).fee FROM (VALUES ('f_req'), ('f_vip')) v (requester);
SELECT taskex.set_fee(0, requester => 'f_vip', task_type => :dollar, performers => 5) AS particular \gset
SELECT performers, (taskex.quote('f_vip', :dollar, 1, performers)).fee FROM (VALUES (4), (5)) v (performers);
-- dropped: the next one takes its place; the same scope and time again changes a rule
SELECT taskex.drop_fee(:particular);
SELECT (taskex.quote('f_vip', :dollar, 1, 5)).fee;
SELECT taskex.set_fee(0.06, requester => 'f_vip') = taskex.set_fee(0.07, requester => 'f_vip') AS same;
SELECT (taskex.quote('f_vip', :dollar, 1, 5)).fee;

-- rules come and go with their transactions, for the session itself
BEGIN;
SELECT taskex.set_fee(0.5, requester => 'f_req', task_type => :dollar) > 0 AS set;
SELECT (taskex.quote('f_req', :dollar)).fee;
SAVEPOINT one;
SELECT taskex.set_fee(0.6, requester => 'f_req', task_type => :dollar) > 0 AS set;
SELECT (taskex.quote('f_req', :dollar)).fee;
ROLLBACK TO one;
SELECT (taskex.quote('f_req', :dollar)).fee;
SELECT taskex.create_task('f_req', :dollar, '1') AS half \gset
SELECT fee FROM taskex.tasks WHERE task_id = :half;
ROLLBACK;
SELECT (taskex.quote('f_req', :dollar)).fee;
-- ... and with TRUNCATE, for those who may
BEGIN;
TRUNCATE _taskex.fee_rule;
SELECT (taskex.quote('f_req', :dollar)).fee;
ROLLBACK;
SELECT (taskex.quote('f_req', :dollar)).fee;
-- bad input
SELECT taskex.set_fee(1.000001); SELECT taskex.set_fee(-0.1); SELECT taskex.set_fee('NaN'); SELECT taskex.set_fee(0.0000001);
SELECT taskex.set_fee(0.1, -1); SELECT taskex.set_fee(0.1, 'Infinity'); SELECT taskex.set_fee(0.1, performers => 0);
SELECT taskex.set_fee(0.1, performers => 100001); SELECT taskex.set_fee(0.1, kind => 'gift'); SELECT taskex.set_fee(0.1, performers => 2, kind => 'bonus');
SELECT taskex.set_fee(0.1, requester => 'f_nobody'); SELECT taskex.set_fee(0.1, task_type => 0); SELECT taskex.set_fee(0.1, valid_from => 'infinity');
SELECT taskex.drop_fee(0);
SELECT * FROM taskex.quote('f_req', 0); SELECT * FROM taskex.quote('f_req', :dollar, 0); SELECT * FROM taskex.quote('f_req', :dollar, 1, 0);

-- leave nothing behind for the tests that follow
SELECT count(taskex.drop_fee(rule_id)) > 5 AS dropped FROM taskex.fee_rules;
SELECT * FROM taskex.quote('f_req', :dollar);
SET taskex.clock = '2200-04-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT * FROM taskex.balance('f_req');
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.check_market() WHERE NOT ok;
