-- What a requester changes about tasks that he has supplied, and his lists.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.exchange_fee = 0.2;
SET taskex.clock = '2118-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('tasks_1') > 0 AS added, taskex.add_partition('tasks_2') > 0 AS added;
SELECT taskex.register_user('k_req', partition => 'tasks_1') > 0 AS req, taskex.register_user('k_other', partition => 'tasks_1') > 0 AS other,
    taskex.register_user('k_ann', partition => 'tasks_1') > 0 AS ann, taskex.register_user('k_bob', partition => 'tasks_2') > 0 AS bob,
    taskex.register_user('k_cid', partition => 'tasks_2') > 0 AS cid;
SELECT taskex.deposit('k_req', 1000, 'start') > 0 AS deposited;
SELECT taskex.create_task_type('k_req', 'One', 1, auto_approve => '3 days') AS one, taskex.create_task_type('k_req', 'Two', 2.5, auto_approve => '1 day') AS two \gset
CREATE TEMP VIEW money AS SELECT * FROM taskex.balance('k_req');
CREATE TEMP VIEW broken AS SELECT * FROM taskex.check_ledger() WHERE NOT ok UNION ALL SELECT * FROM taskex.check_market() WHERE NOT ok;
CREATE FUNCTION pg_temp.look(bigint) RETURNS text LANGUAGE sql AS
    $$ SELECT format('%s: %s wanted, %s free, %s in progress, %s submitted, %s approved, %s rejected; held %s', t ->> 'state', t ->> 'performers', t ->> 'free_slots',
        t ->> 'in_progress', t ->> 'submitted', t ->> 'approved', t ->> 'rejected', trim_scale((t ->> 'held')::numeric)) FROM taskex.get_task('k_req', $1) t $$;
-- takes, submits and, perhaps, judges
CREATE FUNCTION pg_temp.work(performer text, task bigint, upto text = 'approved') RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    a bigint := (taskex.accept_task(performer, task)).assignment_id;
BEGIN
    IF upto <> 'accepted' THEN PERFORM taskex.submit_assignment(performer, a, to_jsonb(performer)); END IF;
    IF upto = 'approved' THEN PERFORM taskex.approve_assignment('k_req', a); END IF;
    IF upto = 'rejected' THEN PERFORM taskex.reject_assignment('k_req', a, 'no'); END IF;
    RETURN a;
END $$;
\getenv tests PG_ABS_SRCDIR
\set try :tests '/sql/include/try.sql'
\set ECHO none
\i :try
\set ECHO all

-- more performers: of an open task
SELECT taskex.create_task('k_req', :one, '"open"', 1, '7 days') AS t \gset
SELECT pg_temp.work('k_ann', :t, 'accepted') > 0 AS taken, pg_temp.look(:t);
SELECT * FROM taskex.accept_next('k_bob', :one);
SELECT taskex.add_performers('k_req', :t, 2), pg_temp.look(:t);
SELECT held FROM money;
SELECT input FROM taskex.accept_next('k_bob', :one);
SELECT pg_temp.work('k_cid', :t), pg_temp.look(:t) \gset c_
SELECT :'c_look';
-- ... of a complete one, which is open again, and found
SELECT taskex.create_task('k_req', :one, '"complete"') AS t \gset
SELECT pg_temp.work('k_ann', :t) > 0 AS worked, pg_temp.look(:t);
SELECT taskex.add_performers('k_req', :t, 1), pg_temp.look(:t);
SELECT input FROM taskex.accept_next('k_cid', :one);
SELECT * FROM taskex.accept_next('k_ann', :one);
SELECT pg_temp.look(:t);
-- ... of one closed by hand: just those that are added; what was under way goes on
SELECT taskex.create_task('k_req', :one, '"closed"', 5) AS t \gset
SELECT pg_temp.work('k_ann', :t) > 0 AS worked, pg_temp.work('k_bob', :t, 'accepted') AS b, pg_temp.look(:t) \gset
SELECT taskex.expire_task('k_req', :t), pg_temp.look(:t);
SELECT taskex.add_performers('k_req', :t, 1), pg_temp.look(:t);
SELECT taskex.return_assignment('k_bob', :b), pg_temp.look(:t);
SELECT input FROM taskex.accept_next('k_cid', :one, 5);
-- ... of one whose time is over: not before it has more of it
SET taskex.clock = '2118-01-03 00:00:00+00';
SELECT taskex.create_task('k_req', :one, '"late"', 2, '1 day') AS t \gset
SET taskex.clock = '2118-01-05 00:00:00+00';
SELECT pg_temp.try(format('SELECT taskex.add_performers(''k_req'', %s, 1)', :t)) AS not_handled_yet;
SELECT count(*) FROM taskex.run_due();
SELECT pg_temp.try(format('SELECT taskex.add_performers(''k_req'', %s, 1)', :t)) AS says, pg_temp.look(:t);
-- the same key, once
SELECT taskex.create_task('k_req', :one, '"key"') AS t \gset
SELECT taskex.add_performers('k_req', :t, 2, 'more') AS added, taskex.add_performers('k_req', :t, 2, 'more') AS again, pg_temp.look(:t);
SELECT pg_temp.try(format('SELECT taskex.add_performers(''k_req'', %s, 3, ''more'')', :t)) AS other_count,
    pg_temp.try(format('SELECT taskex.create_task(''k_req'', %s, ''1'', idempotency_key => ''more'')', :one)) AS other_act,
    pg_temp.try(format('SELECT taskex.add_performers(''k_req'', %s, 3, '''')', :t)) AS empty_key;
-- undone
BEGIN;
SELECT taskex.add_performers('k_req', :t, 10);
ROLLBACK;
SELECT pg_temp.look(:t), (SELECT count(*) FROM broken) AS broken;
-- bounds, money, other people's
SELECT pg_temp.try(format('SELECT taskex.add_performers(%L, %s, %s)', who, task, n)) AS says FROM (VALUES ('k_req', :t, 0), ('k_req', :t, -1), ('k_req', :t, 100000),
    ('k_req', :t, 100001), ('k_req', :t, 5000), ('k_other', :t, 1), ('k_req', 1, 1), ('k_req', -:t, 1)) v (who, task, n);
SELECT taskex.create_task('k_req', :one, '"combined"', 1, consensus => 'majority') AS combined \gset
SELECT pg_temp.try(format('SELECT taskex.add_performers(''k_req'', %s, 1000)', :combined)) AS combined;
SELECT taskex.cancel_tasks('k_req', :one) AS cancelled, (SELECT count(*) FROM broken) AS broken;

-- a decided task that is to have more results is not decided again before it has them
SELECT taskex.create_task('k_req', :one, '"decided"', 3, consensus => 'majority', min_performers => 2) AS t \gset
SELECT taskex.submit_assignment('k_ann', (taskex.accept_task('k_ann', :t)).assignment_id, '"x"'), taskex.submit_assignment('k_bob', (taskex.accept_task('k_bob', :t)).assignment_id, '"x"');
SELECT pg_temp.look(:t), final, results FROM taskex.task_answer('k_req', :t);
SELECT taskex.add_performers('k_req', :t, 1), pg_temp.look(:t);
SELECT final, results FROM taskex.task_answer('k_req', :t);
SELECT taskex.submit_assignment('k_cid', (taskex.accept_next('k_cid', :one)).assignment_id, '"y"');
SELECT pg_temp.look(:t), final, results FROM taskex.task_answer('k_req', :t);
SELECT count(taskex.approve_assignment('k_req', assignment_id)) FROM taskex.reviewable_results('k_req');
SELECT pg_temp.look(:t), (SELECT count(*) FROM broken) AS broken;

-- expiry: later, earlier, now
SELECT taskex.create_task('k_req', :one, '"expiry"', 3, '1 day') AS t \gset
SELECT taskex.set_expiry('k_req', :t, '2118-01-20'), pg_temp.look(:t), taskex.get_task('k_req', :t) ->> 'expires_at' AS expires_at;
SELECT taskex.set_expiry('k_req', :t, '2118-01-05 12:00'), pg_temp.look(:t);
SET taskex.clock = '2118-01-05 13:00:00+00';
SELECT * FROM taskex.run_due() WHERE what = 'tasks expired';
SELECT pg_temp.look(:t), (SELECT held FROM money);
-- open again: the money is held again, and it is found
SELECT taskex.set_expiry('k_req', :t, '2118-01-06'), pg_temp.look(:t);
SELECT held FROM money;
SELECT input FROM taskex.accept_next('k_ann', :one);
SELECT taskex.set_expiry('k_req', :t, '2118-01-01'), pg_temp.look(:t);
\set VERBOSITY sqlstate
SELECT taskex.set_expiry('k_req', :t, '-infinity'), pg_temp.look(:t);
\set VERBOSITY default
SELECT taskex.set_expiry('k_req', :t, '2118-01-06'), pg_temp.look(:t);
-- a task that performers have passed because its time was over
SELECT taskex.create_task('k_req', :two, '"passed"', 2, '1 hour') AS t2 \gset
SELECT input FROM taskex.accept_next('k_ann', :two);
SET taskex.clock = '2118-01-05 15:00:00+00';
SELECT * FROM taskex.accept_next('k_bob', :two);
SELECT taskex.set_expiry('k_req', :t2, '2118-01-07');
SELECT input FROM taskex.accept_next('k_bob', :two);
-- all judged: complete, whatever the time
SELECT taskex.create_task('k_req', :two, '"judged"', 1, '1 hour') AS t2 \gset
SELECT pg_temp.work('k_ann', :t2, 'accepted') AS a \gset
SELECT taskex.expire_task('k_req', :t2), taskex.submit_assignment('k_ann', :a, '1'), taskex.approve_assignment('k_req', :a), pg_temp.look(:t2);
SELECT taskex.set_expiry('k_req', :t2, '2118-01-08'), pg_temp.look(:t2);
SELECT taskex.set_expiry('k_req', :t2, '2118-01-09'), pg_temp.look(:t2), taskex.get_task('k_req', :t2) ->> 'expires_at' AS expires_at;
SELECT pg_temp.try(format('SELECT taskex.set_expiry(%L, %s, %L)', who, task, at)) AS says FROM (VALUES ('k_req', :t, 'infinity'), ('k_req', :t, '2128-01-08'), ('k_req', :t, '2128-01-07'),
    ('k_other', :t, '2118-01-08'), ('k_req', 7, '2118-01-08')) v (who, task, at);
-- without the money it stays closed
SELECT taskex.expire_task('k_req', :t);
SELECT taskex.withdraw('k_req', (SELECT available FROM money)) > 0 AS poor;
SELECT pg_temp.try(format('SELECT taskex.set_expiry(''k_req'', %s, ''2118-01-08'')', :t)) AS says, pg_temp.look(:t);
SELECT taskex.deposit('k_req', 1000, 'again') > 0 AS deposited, (SELECT count(*) FROM broken) AS broken;

-- cancelling: for good
SELECT taskex.create_task('k_req', :one, '"cancel"', 3) AS t \gset
SELECT pg_temp.work('k_ann', :t, 'accepted') AS a, pg_temp.work('k_bob', :t, 'submitted') AS b \gset
SELECT taskex.cancel_task('k_req', :t), pg_temp.look(:t);
SELECT pg_temp.try(format('SELECT taskex.accept_task(''k_cid'', %s)', :t)) AS accept, pg_temp.try(format('SELECT taskex.set_expiry(''k_req'', %s, ''2118-02-01'')', :t)) AS expiry,
    pg_temp.try(format('SELECT taskex.add_performers(''k_req'', %s, 1)', :t)) AS more, pg_temp.try(format('SELECT taskex.cancel_task(''k_req'', %s)', :t)) AS again,
    pg_temp.try(format('SELECT taskex.expire_task(''k_req'', %s)', :t)) AS expire;
SELECT taskex.submit_assignment('k_ann', :a, '1'), taskex.approve_assignment('k_req', :a), taskex.reject_assignment('k_req', :b, 'no', true), pg_temp.look(:t);
SELECT pg_temp.try(format('SELECT taskex.cancel_task(''k_req'', %s)', :t2)) AS complete, pg_temp.try(format('SELECT taskex.cancel_task(''k_other'', %s)', :t)) AS not_his;
SELECT array_agg(t) AS many FROM taskex.create_tasks('k_req', :two, ARRAY['1', '2', '3', '4']::jsonb[], 2) t \gset
SELECT taskex.cancel_tasks('k_req', task_ids => (:'many'::bigint[])[1:2] || (:'many'::bigint[])[1]) AS two_of_them, taskex.cancel_tasks('k_req', :two) AS rest, taskex.cancel_tasks('k_req', :two) AS none;
SELECT DISTINCT pg_temp.look(t) FROM unnest(:'many'::bigint[]) t;
BEGIN;
SELECT taskex.create_task('k_req', :two, '"mine"') AS mine \gset
SELECT taskex.cancel_tasks('k_req', :two) AS own_of_this_transaction;
ROLLBACK;
SELECT pg_temp.try(s) AS says FROM unnest(ARRAY['SELECT taskex.cancel_tasks(''k_req'')', format('SELECT taskex.cancel_tasks(''k_req'', %s, ''{}'')', :two), 'SELECT taskex.cancel_tasks(''k_req'', 900000000)',
    'SELECT taskex.cancel_tasks(''k_req'', task_ids => ''{NULL}'')', 'SELECT taskex.cancel_tasks(''k_req'', task_ids => ''{5}'')', format('SELECT taskex.cancel_tasks(''k_other'', task_ids => %L)', :'many')]) s;
SELECT * FROM money;
SELECT * FROM broken;

-- another type
SELECT taskex.create_task('k_req', :one, '"type"', 2) AS t, taskex.create_task('k_req', :two, '"later"') AS later \gset
SELECT taskex.accept_next('k_ann', :two) IS NOT NULL AS took_later;
SELECT taskex.change_task_type('k_req', :t, :two), pg_temp.look(:t), (SELECT title FROM taskex.tasks WHERE task_id = :t);
SELECT * FROM taskex.accept_next('k_bob', :one);
SELECT input, reward FROM taskex.accept_next('k_bob', :two);
SELECT pg_temp.try(format('SELECT taskex.change_task_type(''k_req'', %s, %s)', :t, :one)) AS under_way;
SELECT taskex.return_assignment('k_bob', assignment_id) FROM taskex.assignments WHERE task_id = :t;
SELECT taskex.change_task_type('k_req', :t, :one), pg_temp.look(:t);
SELECT input, reward FROM taskex.accept_next('k_cid', :one);
SELECT taskex.change_task_type('k_req', taskex.create_task('k_req', :two, '"same type"'), :two);
SELECT input FROM taskex.accept_next('k_cid', :two);
SELECT pg_temp.try(format('SELECT taskex.change_task_type(%L, %s, %s)', who, task, type)) AS says FROM (VALUES ('k_req', :later, :one), ('k_req', :t2, :one), ('k_req', :t, 900000000), ('k_req', :t, -:two), ('k_other', :t, :two), ('k_req', 5, :two)) v (who, task, type);
BEGIN;
SELECT taskex.create_task('k_req', :one, '"undone"') AS undone \gset
SELECT taskex.change_task_type('k_req', :undone, :two);
ROLLBACK;
SELECT * FROM taskex.accept_next('k_cid', :two);
SELECT * FROM broken;
-- not while somebody may yet be paid what the old type promised
BEGIN;
SELECT taskex.create_task('k_req', :one, '"overridden"') AS overridden \gset
SELECT assignment_id AS a FROM taskex.accept_task('k_ann', :overridden) \gset
SELECT taskex.submit_assignment('k_ann', :a, '1'), taskex.reject_assignment('k_req', :a, 'no', true);
SELECT pg_temp.try(format('SELECT taskex.change_task_type(''k_req'', %s, %s)', :overridden, :two)) AS rejected;
-- all performers together cost what can be counted
SELECT taskex.deposit('k_req', 8000000000, 'much') > 0 AS one, taskex.deposit('k_req', 8000000000, 'as much again') > 0 AS two;
SELECT taskex.create_task('k_req', taskex.create_task_type('k_req', 'Dear', 6000000000), '"dear"') AS dear \gset
SELECT pg_temp.try(format('SELECT taskex.add_performers(''k_req'', %s, 1)', :dear)) AS two;
-- nobody has many performers for the fee of few
SELECT taskex.set_fee(0.2) > 0 AS few, taskex.set_fee(0.4, performers => 3) > 0 AS many;
SELECT taskex.create_task('k_req', :one, '"fee"') AS fee \gset
SELECT taskex.add_performers('k_req', :fee, 1) AS two, pg_temp.try(format('SELECT taskex.add_performers(''k_req'', %s, 1)', :fee)) AS three;
-- ... but what became dearer for all does not for this task
SELECT taskex.set_fee(0.4) > 0 AS few;
SELECT taskex.add_performers('k_req', :fee, 1) AS three;
ROLLBACK;

-- annotations, review status
SELECT taskex.annotate_task('k_req', :t, 'batch 7'), taskex.get_task('k_req', :t) ->> 'annotation' AS annotation, (SELECT annotation FROM taskex.tasks WHERE task_id = :t);
SELECT taskex.annotate_task('k_req', :t), taskex.get_task('k_req', :t) ->> 'annotation' AS annotation;
SELECT taskex.create_task('k_req', :one, '"review"', annotation => 'first') AS t \gset
SELECT pg_temp.try(format('SELECT taskex.set_review_status(''k_req'', %s, ''reviewing'')', :t)) AS too_early;
SELECT pg_temp.work('k_ann', :t, 'submitted') AS a \gset
SELECT taskex.set_review_status('k_req', :t, 'reviewing'), pg_temp.look(:t);
SELECT title, status, submitted FROM taskex.reviewable_tasks('k_req', status => 'reviewing');
SELECT count(*) FROM taskex.reviewable_tasks('k_req', status => 'reviewable');
SELECT taskex.set_review_status('k_req', :t, 'reviewable'), pg_temp.look(:t);
SELECT pg_temp.try(s) AS says FROM unnest(ARRAY[format('SELECT taskex.set_review_status(''k_req'', %s, ''done'')', :t), format('SELECT taskex.set_review_status(''k_other'', %s, ''reviewing'')', :t),
    format('SELECT taskex.annotate_task(''k_other'', %s, ''x'')', :t), format('SELECT taskex.annotate_task(''k_req'', %s, repeat(''x'', 1025))', :t)]) s;
-- one task, one assignment
SELECT jsonb_object_agg(key, value) FROM jsonb_each(taskex.get_task('k_req', :t)) WHERE key NOT IN ('task_id', 'task_type');
SELECT jsonb_object_agg(key, value) AS by_requester FROM jsonb_each(taskex.get_assignment('k_req', :a)) WHERE key NOT IN ('task_id', 'task_type', 'assignment_id');
SELECT taskex.get_assignment('k_ann', :a) = taskex.get_assignment('k_req', :a) AS same_for_performer;
SELECT pg_temp.work('k_bob', taskex.create_task('k_req', :one, '1'), 'accepted') AS b \gset
SELECT jsonb_object_agg(key, value) AS accepted FROM jsonb_each(taskex.get_assignment('k_bob', :b)) WHERE key NOT IN ('task_id', 'task_type', 'assignment_id');
SELECT pg_temp.try(format('SELECT taskex.get_assignment(%L, %s)', who, a)) AS says FROM (VALUES ('k_req', :b), ('k_cid', :b), ('k_other', :a), ('k_ann', 5)) v (who, a);
SELECT taskex.approve_assignment('k_req', :a);

-- lists
SELECT taskex.register_user('k_list', partition => 'tasks_1') > 0 AS registered, taskex.deposit('k_list', 1000, 'list') > 0 AS deposited;
SELECT array_agg(t) AS listed FROM taskex.create_tasks('k_list', :one, (SELECT array_agg(to_jsonb(n)) FROM generate_series(1, 6) n), annotation => 'list') t \gset
DO $$ BEGIN PERFORM taskex.submit_assignment('k_ann', assignment_id, t.input), taskex.approve_assignment('k_list', assignment_id) FROM taskex.tasks t, LATERAL taskex.accept_task('k_ann', t.task_id)
    WHERE requester = 'k_list' AND t.input IN ('1', '2'); END $$;
SELECT taskex.submit_assignment('k_ann', assignment_id, t.input) FROM (SELECT * FROM taskex.tasks ORDER BY task_id) t, LATERAL taskex.accept_task('k_ann', t.task_id) WHERE requester = 'k_list' AND t.input IN ('3', '4');
SELECT taskex.expire_task('k_list', (:'listed'::bigint[])[5]), taskex.create_task('k_list', :two, '"seven"') IS NULL AS x;
CREATE TEMP VIEW shown AS SELECT t.task_id, t.input AS shown FROM taskex.tasks t WHERE requester = 'k_list';
SELECT shown, title, state, performers, free_slots, in_progress, submitted, judged, reward, annotation FROM taskex.list_tasks('k_list') JOIN shown USING (task_id) ORDER BY task_id DESC;
SELECT state, array_agg(shown ORDER BY task_id) FROM unnest(ARRAY['available', 'reviewable', 'complete', 'expired', 'cancelled', 'decided', 'reviewing', 'disposed']) s, LATERAL taskex.list_tasks('k_list', s) JOIN shown USING (task_id) GROUP BY 1 ORDER BY 1;
SELECT array_agg(shown ORDER BY task_id DESC) AS first_page, min(task_id) AS last FROM taskex.list_tasks('k_list', max_rows => 3) JOIN shown USING (task_id) \gset
SELECT :'first_page' AS first_page, (SELECT array_agg(shown ORDER BY task_id DESC) FROM taskex.list_tasks('k_list', before => :last, max_rows => 3) JOIN shown USING (task_id)) AS second_page,
    (SELECT array_agg(shown) FROM taskex.list_tasks('k_list', task_type => :two) JOIN shown USING (task_id)) AS of_type;
-- what waits for judgement: what is due first comes first
SET taskex.clock = '2118-01-05 16:00:00+00';
SELECT taskex.submit_assignment('k_bob', assignment_id, '"bob"') FROM taskex.tasks t, LATERAL taskex.accept_task('k_bob', t.task_id) WHERE requester = 'k_list' AND t.input = '"seven"';
SELECT taskex.add_performers('k_list', (:'listed'::bigint[])[3], 2);
SELECT shown, performer, auto_approve_at, result FROM taskex.reviewable_results('k_list') JOIN shown USING (task_id) ORDER BY auto_approve_at, assignment_id;
SELECT shown, title, status, submitted, auto_approve_at FROM taskex.reviewable_tasks('k_list') JOIN shown USING (task_id) ORDER BY auto_approve_at;
SELECT assignment_id AS first FROM taskex.reviewable_results('k_list', max_rows => 1) \gset
SELECT next_after FROM taskex.reviewable_tasks('k_list', max_rows => 1) \gset
SELECT (SELECT array_agg(shown) FROM taskex.reviewable_results('k_list', after => :first) JOIN shown USING (task_id)) AS second_page,
    (SELECT array_agg(shown) FROM taskex.reviewable_tasks('k_list', after => :next_after) JOIN shown USING (task_id)) AS of_tasks,
    (SELECT array_agg(shown) FROM taskex.reviewable_tasks('k_list', task_type => :one) JOIN shown USING (task_id)) AS of_type;
SELECT taskex.submit_assignment('k_bob', (taskex.accept_task('k_bob', (:'listed'::bigint[])[3])).assignment_id, '"bob"');
SELECT performer, state, submitted_at, judged_at, result FROM taskex.list_assignments('k_list', (:'listed'::bigint[])[3]);
SELECT (SELECT count(*) FROM taskex.list_assignments('k_list', (:'listed'::bigint[])[1], 'approved')) AS approved, (SELECT count(*) FROM taskex.list_assignments('k_list', (:'listed'::bigint[])[1], 'rejected')) AS rejected,
    (SELECT string_agg(performer, ' ') FROM taskex.list_assignments('k_list', (:'listed'::bigint[])[3], after => (SELECT min(assignment_id) FROM taskex.list_assignments('k_list', (:'listed'::bigint[])[3])))) AS second_page;
SELECT pg_temp.try('SELECT * FROM taskex.' || s) AS says FROM unnest(ARRAY['list_tasks(''k_list'', ''open'')', 'list_tasks(''k_list'', task_type => 900000000)', 'list_tasks(''k_list'', max_rows => 0)', 'list_tasks(''k_list'', max_rows => 10001)',
    'reviewable_tasks(''k_list'', status => ''x'')', 'reviewable_tasks(''k_list'', after => 5)', 'reviewable_results(''k_list'', after => 5)', 'reviewable_results(''k_list'', max_rows => -1)', 'reviewable_tasks(''k_list'', 900000000)', 'reviewable_results(''k_list'', 900000000)',
    format('list_assignments(''k_list'', %s, ''accepted'')', (:'listed'::bigint[])[1]), format('list_assignments(''k_req'', %s)', (:'listed'::bigint[])[1])]) s;
-- approved in time: not listed any more
SET taskex.clock = '2118-01-10 00:00:00+00';
SELECT * FROM taskex.run_due() WHERE what = 'results approved';
SELECT count(*) FROM taskex.reviewable_results('k_list');

-- disposing
SELECT pg_temp.try(format('SELECT taskex.dispose_task(''k_req'', %s)', task)) AS says FROM (VALUES (:t), (taskex.create_task('k_req', :one, '"open"')), (5)) v (task);
SELECT taskex.create_task('k_req', :one, '"dispose"', 3, annotation => 'note', consensus => 'majority') AS t \gset
SELECT pg_temp.work('k_ann', :t) AS a, pg_temp.work('k_bob', :t, 'submitted') AS b, taskex.expire_task('k_req', :t) \gset
SELECT pg_temp.try(format('SELECT taskex.dispose_task(''k_req'', %s)', :t)) AS not_judged, pg_temp.try(format('SELECT taskex.dispose_task(''k_other'', %s)', :t)) AS not_his;
SELECT taskex.reject_assignment('k_req', :b, 'bad');
BEGIN;
SELECT taskex.dispose_task('k_req', :t);
ROLLBACK;
SELECT count(*) FROM taskex.task_results('k_req', :t);
SELECT taskex.dispose_task('k_req', :t);
SELECT state, input, answer, tally, annotation FROM _taskex.task WHERE task_id = :t;
SELECT state, result, feedback FROM _taskex.result WHERE task_id = :t ORDER BY 1;
SELECT pg_temp.look(:t), (SELECT count(*) FROM taskex.tasks WHERE task_id = :t) AS shown, (SELECT count(*) FROM taskex.list_tasks('k_req') WHERE task_id = :t) AS listed,
    (SELECT count(*) FROM taskex.list_tasks('k_req', 'disposed') WHERE task_id = :t) AS when_asked_for, (SELECT count(*) FROM taskex.assignments WHERE task_id = :t) AS history;
SELECT pg_temp.try(s) AS says FROM unnest(ARRAY[format('SELECT taskex.dispose_task(''k_req'', %s)', :t), format('SELECT taskex.task_results(''k_req'', %s)', :t), format('SELECT taskex.list_assignments(''k_req'', %s)', :t),
    format('SELECT taskex.annotate_task(''k_req'', %s, ''x'')', :t), format('SELECT taskex.add_performers(''k_req'', %s, 1)', :t), format('SELECT taskex.set_expiry(''k_req'', %s, ''2118-03-01'')', :t),
    format('SELECT taskex.cancel_task(''k_req'', %s)', :t), format('SELECT taskex.accept_task(''k_cid'', %s)', :t)]) s;
SELECT * FROM broken;
SELECT taskex.cancel_tasks('k_req', :one) + taskex.cancel_tasks('k_req', :two) + taskex.cancel_tasks('k_list', :one) + taskex.cancel_tasks('k_list', :two) > 0 AS cleared;

-- the journal of it
BEGIN;
SELECT taskex.create_task('k_req', :one, '"journal"', 2) AS t \gset
SELECT taskex.add_performers('k_req', :t, 3), taskex.change_task_type('k_req', :t, :two), taskex.set_expiry('k_req', :t, '2118-03-01'), taskex.expire_task('k_req', :t),
    taskex.set_expiry('k_req', :t, '2118-03-02'), taskex.cancel_task('k_req', :t), taskex.dispose_task('k_req', :t);
SELECT kind, amount, task_type_id = :one AS one, detail - 'from' - 'last_task_id' AS detail FROM _taskex.journal_act WHERE xid = pg_current_xact_id() AND task_id = :t ORDER BY id;
SELECT * FROM broken;
ROLLBACK;
