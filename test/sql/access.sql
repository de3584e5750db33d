-- Who may do what: nobody, a member of taskex_user for himself and for another,
-- taskex_app, taskex_admin; in every function, view and table.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET taskex.exchange_fee = 0.2;
SET taskex.clock = '2115-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT taskex.add_partition('access_1') > 0 AS added;
CREATE ROLE regress_access_nobody;
CREATE ROLE regress_access_user;
CREATE ROLE regress_access_idle;
CREATE ROLE regress_access_heir;
CREATE ROLE regress_access_stranger NOINHERIT;
CREATE ROLE regress_access_app;
CREATE ROLE regress_access_admin;
GRANT taskex_user TO regress_access_user, regress_access_idle, regress_access_heir, regress_access_stranger;
GRANT taskex_app TO regress_access_app;
GRANT taskex_admin TO regress_access_admin;
GRANT regress_access_user TO regress_access_heir, regress_access_stranger;

SELECT taskex.register_user('a_own', '{"db_role": "regress_access_user"}', 'access_1') > 0 AS own,
    taskex.register_user('a_oth', '{"db_role": null}', 'access_1') > 0 AS oth,
    taskex.register_user('a_third', partition => 'access_1') > 0 AS third;
SELECT taskex.deposit('a_own', 100, 'start') > 0 AS own, taskex.deposit('a_oth', 100, 'start') > 0 AS oth;

-- for both users: an open task, one they have accepted, one that they may judge
CREATE TEMP TABLE thing (name text PRIMARY KEY, id bigint);
INSERT INTO thing VALUES ('type', taskex.create_task_type('a_third', 'Access', 1));
GRANT SELECT ON thing TO PUBLIC;
CREATE FUNCTION pg_temp.id(which text) RETURNS bigint LANGUAGE sql STABLE AS 'SELECT id FROM thing WHERE name = which';
INSERT INTO thing SELECT 'open of ' || u, taskex.create_task(u, pg_temp.id('type'), to_jsonb(u), consensus => 'mean') FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing SELECT 'task for ' || u, taskex.create_task(CASE u WHEN 'a_own' THEN 'a_oth' ELSE 'a_own' END, pg_temp.id('type'), to_jsonb(u))
    FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing SELECT 'accepted by ' || u, (taskex.accept_task(u, pg_temp.id('task for ' || u))).assignment_id FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing SELECT 'judged of ' || u, taskex.create_task(u, pg_temp.id('type'), '1') FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing SELECT 'submitted to ' || u, (taskex.accept_task('a_third', pg_temp.id('judged of ' || u))).assignment_id FROM unnest(ARRAY['a_own', 'a_oth']) u;
SELECT count(taskex.submit_assignment('a_third', id, '1')) FROM thing WHERE name LIKE 'submitted to%';
INSERT INTO thing SELECT 'rejected of ' || u, taskex.create_task(u, pg_temp.id('type'), '2') FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing SELECT 'rejected by ' || u, (taskex.accept_task('a_third', pg_temp.id('rejected of ' || u))).assignment_id FROM unnest(ARRAY['a_own', 'a_oth']) u;
SELECT count(taskex.submit_assignment('a_third', id, '1')) FROM thing WHERE name LIKE 'rejected by%';
SELECT count(taskex.reject_assignment(u, pg_temp.id('rejected by ' || u), 'no')) FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing SELECT 'dispute with ' || u, taskex.open_dispute('a_third', pg_temp.id('rejected by ' || u), 'why') FROM unnest(ARRAY['a_own', 'a_oth']) u;
SELECT count(taskex.rate_requester('a_third', pg_temp.id('rejected by ' || u), 1)) FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing SELECT 'golden of ' || u, taskex.create_golden_task(u, pg_temp.id('type'), '1', '1', 1) FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing SELECT 'qualification of ' || u, taskex.create_qualification(u, 'Access', test => '{"questions": [{"id": "a"}]}', answer_key => '{"questions": [{"id": "a", "options": []}]}',
    test_duration => '1 hour') FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing SELECT 'request to ' || u, (taskex.request_qualification('a_third', taskex.create_qualification(u, 'Asked for'))).request_id FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing VALUES ('public qualification', taskex.create_qualification('a_third', 'Access')),
    ('test', taskex.create_qualification('a_third', 'Test', test => '{"questions": [{"id": "a"}]}', test_duration => '1 hour'));
SELECT count(taskex.block_performer(u, 'a_third', 'Access')) FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing SELECT 'policy of ' || u, taskex.create_policy(u, 'agreement', '{"thresholds": [{"less_than": 0, "action": {"do": "suspend"}}]}') FROM unnest(ARRAY['a_own', 'a_oth']) u;
SELECT count(taskex.create_layout(u, l || u, '"${input}"')) FROM unnest(ARRAY['a_own', 'a_oth']) u, unnest(ARRAY['l of ', 'used of ']) l;
SELECT count(taskex.use_layout(u, pg_temp.id('type'), 'used of ' || u)) FROM unnest(ARRAY['a_own', 'a_oth']) u;
SELECT taskex.announce('a_announcement', '1');
SELECT count(taskex.create_template(u, 't of ' || u, '1')), count(taskex.attach(u, 'f of ' || u, 'https://x.example', pg_temp.id('open of ' || u))) FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO thing VALUES ('free', taskex.create_task('a_third', taskex.create_task_type('a_third', 'Free', 0), '1', 9));

SELECT taskex.create_environment('a_env', 'external', options => '{"max_attempts": 1}') > 0 AS made;
SELECT count(taskex.publish_program(u, 'p of ' || u, 'a_env', 'x')) FROM unnest(ARRAY['a_own', 'a_oth']) u;
SELECT count(taskex.submit_run(u, 'p of ' || u)) FROM unnest(ARRAY['a_own', 'a_oth']) u, generate_series(1, 4);
INSERT INTO thing SELECT w || ' of ' || p.customer, p.run_id FROM (SELECT r.*, row_number() OVER (PARTITION BY customer ORDER BY run_id) AS n
    FROM taskex.pull_runs('w', 'a_env', 6, '7 days') r) p, unnest(ARRAY['running', 'dead', 'succeeded']) WITH ORDINALITY AS u (w, n) WHERE p.n = u.n;
INSERT INTO thing SELECT 'token of ' || (SELECT login FROM _taskex.directory WHERE user_id = customer_id), lease_token FROM _taskex.run WHERE run_id IN (SELECT id FROM thing WHERE name ~ '^running of');
SELECT count(taskex.fail_run(run_id, lease_token, '{}')) FROM _taskex.run WHERE run_id IN (SELECT id FROM thing WHERE name ~ '^dead of');
SELECT count(taskex.complete_run(run_id, lease_token, '1')) FROM _taskex.run WHERE run_id IN (SELECT id FROM thing WHERE name ~ '^succeeded of');
INSERT INTO thing SELECT 'waiting of ' || (SELECT login FROM _taskex.directory WHERE user_id = customer_id), run_id FROM _taskex.run
    WHERE state = 'ready' AND environment_id = (SELECT environment_id FROM _taskex.environment WHERE name = 'a_env');
INSERT INTO thing SELECT 'split of ' || u, taskex.submit_parts(u, 'p of ' || u, ARRAY['1', '2']::jsonb[], 2) FROM unnest(ARRAY['a_own', 'a_oth']) u;

SELECT taskex.subscribe('a_own') AS own, taskex.subscribe('a_oth') AS oth;

INSERT INTO thing SELECT 'intention of ' || u, taskex.declare_intention(u, ARRAY[pg_temp.id('type')], 5, '[2115-01-01, 2115-01-03)') FROM unnest(ARRAY['a_own', 'a_oth']) u;
SELECT count(taskex.set_preferences(u, '{"pace": 5}')) FROM unnest(ARRAY['a_own', 'a_oth']) u;
SELECT count(taskex.save_search(u, 'kept')) FROM unnest(ARRAY['a_own', 'a_oth']) u;
SELECT count(*) > 0 AS ran FROM taskex.run_due();

-- an anonymous user for the role of each
SELECT taskex.add_partition('access_temporary', storage_class => 'temporary') > 0 AS added;
CREATE TEMP TABLE anonymous_of AS SELECT d.login AS known, taskex.start_anonymous(jsonb_strip_nulls(jsonb_build_object('db_role', d.db_role::text))) AS login
    FROM taskex.users d WHERE d.login IN ('a_own', 'a_oth');
CREATE FUNCTION pg_temp.anonymous(known text) RETURNS text LANGUAGE sql STABLE SECURITY DEFINER AS 'SELECT a.login FROM anonymous_of a WHERE a.known = $1';

-- what a role gets when it tries a statement, which is undone
CREATE FUNCTION pg_temp.try(role name, statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('role', role, true);
    EXECUTE statement;
    RAISE 'undo' USING ERRCODE = 'ZZ999';
EXCEPTION
    WHEN SQLSTATE 'ZZ999' THEN RETURN 'yes';
    WHEN insufficient_privilege THEN RETURN CASE WHEN SQLERRM LIKE 'permission denied for%' THEN 'no' ELSE 'not he' END;
    WHEN OTHERS THEN RETURN SQLSTATE;
END $$;

-- %1$s is the login
CREATE TEMP TABLE call (name text PRIMARY KEY, call text);
INSERT INTO call VALUES
    ('accept_next', 'accept_next(''%1$s'', NULL, 1)'), ('accept_task', 'accept_task(''%1$s'', pg_temp.id(''free''))'),
    ('block_performer', 'block_performer(''%1$s'', ''a_third'', ''careless'')'), ('unblock_performer', 'unblock_performer(''%1$s'', ''a_third'')'),
    ('suspend_performer', 'suspend_performer(''a_third'', ''careless'')'), ('resume_performer', 'resume_performer(''a_third'')'),
    ('check_qualifications', 'check_qualifications(''%1$s'', pg_temp.id(''type''))'), ('create_qualification', 'create_qualification(''%1$s'', ''new'')'),
    ('delete_qualification', 'delete_qualification(''%1$s'', pg_temp.id(''qualification of %1$s''))'),
    ('update_qualification', 'update_qualification(''%1$s'', pg_temp.id(''qualification of %1$s''), ''{"description": "new"}'')'),
    ('grant_qualification', 'grant_qualification(''%1$s'', pg_temp.id(''qualification of %1$s''), ''a_third'')'),
    ('revoke_qualification', 'revoke_qualification(''%1$s'', pg_temp.id(''qualification of %1$s''), ''a_third'')'),
    ('grant_request', 'grant_request(''%1$s'', pg_temp.id(''request to %1$s''))'), ('reject_request', 'reject_request(''%1$s'', pg_temp.id(''request to %1$s''))'),
    ('request_qualification', 'request_qualification(''%1$s'', pg_temp.id(''public qualification''))'),
    ('start_qualification_test', 'start_qualification_test(''%1$s'', pg_temp.id(''test''))'),
    ('performer_qualifications', 'performer_qualifications(''%1$s'')'), ('qualification_holders', 'qualification_holders(''%1$s'', pg_temp.id(''qualification of %1$s''))'),
    ('qualification_requests', 'qualification_requests(''%1$s'')'), ('qualification_score', 'qualification_score(''%1$s'', pg_temp.id(''qualification of %1$s''), ''a_third'')'),
    ('add_node', 'add_node(''a_node'')'), ('add_partition', 'add_partition(''a_part'')'),
    ('approve_assignment', 'approve_assignment(''%1$s'', pg_temp.id(''submitted to %1$s''))'),
    ('approve_assignments', 'approve_assignments(''%1$s'', ARRAY[pg_temp.id(''submitted to %1$s'')])'),
    ('approve_task', 'approve_task(''%1$s'', pg_temp.id(''judged of %1$s''))'),
    ('answer_dispute', 'answer_dispute(''%1$s'', pg_temp.id(''dispute with %1$s''), ''no'')'),
    ('create_policy', 'create_policy(''%1$s'', ''agreement'', ''{"thresholds": [{"less_than": 0, "action": {"do": "suspend"}}]}'')'),
    ('update_policy', 'update_policy(''%1$s'', 0, ''{}'')'), ('pause_policy', 'pause_policy(''%1$s'', 0)'), ('resume_policy', 'resume_policy(''%1$s'', 0)'),
    ('delete_policy', 'delete_policy(''%1$s'', pg_temp.id(''policy of %1$s''))'), ('notify_performers', 'notify_performers(''%1$s'', ''{}'', ''x'', ''x'')'),
    ('mark_messages', 'mark_messages(''%1$s'')'), ('messages', 'messages(''%1$s'')'),
    ('open_dispute', 'open_dispute(''%1$s'', 0, ''why'')'), ('rate_requester', 'rate_requester(''%1$s'', 0, 1)'),
    ('resolve_dispute', 'resolve_dispute(0, true)'), ('withdraw_dispute', 'withdraw_dispute(''%1$s'', 0)'),
    ('balance', 'balance(''%1$s'')'), ('check_ledger', 'check_ledger()'), ('check_market', 'check_market()'),
    ('create_task', 'create_task(''%1$s'', pg_temp.id(''type''), ''1'')'), ('create_task_type', 'create_task_type(''%1$s'', ''new'', 1)'),
    ('create_tasks', 'create_tasks(''%1$s'', pg_temp.id(''type''), ARRAY[''1'']::jsonb[])'), ('deposit', 'deposit(''%1$s'', 1, ''more'')'),
    ('drain_node', 'drain_node(''local'')'), ('drain_partition', 'drain_partition(''access_1'')'), ('move_partition', 'move_partition(''access_1'', NULL)'),
    ('migrate_user', 'migrate_user(''%1$s'', ''access_1'')'), ('migrate_users', 'migrate_users(ARRAY[''%1$s''], ''access_1'')'), ('cancel_migration', 'cancel_migration(0)'), ('undo_migration', 'undo_migration(0)'),
    ('create_payout', 'create_payout(''a-payout'')'), ('settle_payout_item', 'settle_payout_item(''a-payout'', ''%1$s'', ''paid'')'),
    ('set_fee', 'set_fee(0.1)'), ('drop_fee', 'drop_fee(0)'), ('set_budget', 'set_budget(''%1$s'', 100)'), ('drop_budget', 'drop_budget(''%1$s'', ''day'')'),
    ('quote', 'quote(''%1$s'', pg_temp.id(''type''))'), ('send_bonus', 'send_bonus(''%1$s'', pg_temp.id(''submitted to %1$s''), 1, ''good'')'),
    ('create_group', 'create_group(''a_group'')'), ('propose_moves', 'propose_moves()'), ('measure_load', 'measure_load()'),
    ('alter_node', 'alter_node(''local'', ''{}'')'), ('alter_partition', 'alter_partition(''access_1'', ''{}'')'), ('add_factor', 'add_factor(''cpu'', ''pg_catalog.length(text)'')'),
    ('drop_factor', 'drop_factor(''cpu'')'), ('drop_fitness', 'drop_fitness(''default'')'), ('set_fitness', 'set_fitness(''a_fitness'', ''{"cpu": 1}'')'),
    ('plan_rebalance', 'plan_rebalance()'), ('rebalance', 'rebalance()'), ('schedule_rebalance', 'schedule_rebalance(''0 3 * * *'')'), ('unschedule_rebalance', 'unschedule_rebalance()'),
    ('score_partitions', 'score_partitions(''%1$s'')'), ('push_tasks', 'push_tasks(''%1$s'')'), ('update_group', 'update_group(''partition:access_1'', ''{}'')'), ('drop_group', 'drop_group(''a_nothing'')'),
    ('set_requester_weight', 'set_requester_weight(''a_nobody'', 2)'),
    ('set_preferences', 'set_preferences(''%1$s'', ''{"pace": 3}'')'), ('declare_intention', 'declare_intention(''%1$s'', ARRAY[pg_temp.id(''type'')], 3, ''[2115-01-01, 2115-01-02)'')'),
    ('cancel_intention', 'cancel_intention(''%1$s'', pg_temp.id(''intention of %1$s''))'),
    ('forecast_accepts', 'forecast_accepts(''partition:access_1'')'), ('acceptance_probability', 'acceptance_probability(''partition:access_1'', ARRAY[pg_temp.id(''type'')], ARRAY[1], ''1 hour'')'),
    ('replenish', 'replenish(''partition:access_1'')'), ('wait_for_task', 'wait_for_task(''%1$s'', ''0 s'')'),
    ('add_group_members', 'add_group_members(''a_nothing'', ARRAY[''a_own''])'), ('remove_group_members', 'remove_group_members(''a_nothing'', ARRAY[''a_own''])'),
    ('drop_node', 'drop_node(''a_nowhere'')'), ('drop_partition', 'drop_partition(''a_nowhere'')'),
    ('resume_node', 'resume_node(''local'')'), ('resume_partition', 'resume_partition(''access_1'')'),
    ('expire_task', 'expire_task(''%1$s'', pg_temp.id(''open of %1$s''))'),
    ('extend_assignment', 'extend_assignment(''%1$s'', pg_temp.id(''accepted by %1$s''), ''1 s'')'),
    ('read_events', 'read_events(''%1$s'')'), ('subscribe', 'subscribe(''%1$s'')'),
    ('test_event', 'test_event(''%1$s'')'), ('unsubscribe', 'unsubscribe(''%1$s'')'),
    ('register_user', 'register_user(''a_new'')'),
    ('reject_assignment', 'reject_assignment(''%1$s'', pg_temp.id(''submitted to %1$s''), ''no'')'),
    ('return_assignment', 'return_assignment(''%1$s'', pg_temp.id(''accepted by %1$s''))'),
    ('route', 'route(''%1$s'')'), ('retry_failed_acts', 'retry_failed_acts()'), ('run_due', 'run_due()'), ('statement', 'statement(''%1$s'')'),
    ('submit_assignment', 'submit_assignment(''%1$s'', pg_temp.id(''accepted by %1$s''), ''1'')'),
    ('submit_assignments', 'submit_assignments(''%1$s'', ARRAY[pg_temp.id(''accepted by %1$s'')], ARRAY[''1'']::jsonb[])'),
    ('create_golden_task', 'create_golden_task(''%1$s'', pg_temp.id(''type''), ''1'', ''1'', 1)'),
    ('create_golden_tasks', 'create_golden_tasks(''%1$s'', pg_temp.id(''type''), ARRAY[''1'']::jsonb[], ARRAY[''1'']::jsonb[], 1)'), ('set_golden_rate', 'set_golden_rate(''%1$s'', pg_temp.id(''type''), 0.1)'),
    ('task_answer', 'task_answer(''%1$s'', pg_temp.id(''open of %1$s''))'), ('task_answers', 'task_answers(''%1$s'', pg_temp.id(''type''))'),
    ('infer_performers', 'infer_performers(''SELECT 1 AS worker, 2 AS task, 3 AS label'', ''majority'')'),
    ('infer_truth', 'infer_truth(''SELECT 1 AS worker, login AS task, 3 AS label FROM _taskex.directory'', ''majority'')'),
    ('task_consensus', 'task_consensus(''%1$s'', pg_temp.id(''open of %1$s''))'),
    ('task_results', 'task_results(''%1$s'', pg_temp.id(''open of %1$s''))'),
    ('add_performers', 'add_performers(''%1$s'', pg_temp.id(''open of %1$s''), 1)'), ('annotate_task', 'annotate_task(''%1$s'', pg_temp.id(''open of %1$s''), ''x'')'),
    ('attach', 'attach(''%1$s'', ''x'', ''https://x.example'', pg_temp.id(''open of %1$s''))'), ('attachment_url', 'attachment_url(''%1$s'', pg_temp.id(''submitted to %1$s''), ''x'')'),
    ('attachments', 'attachments(''%1$s'', pg_temp.id(''open of %1$s''))'), ('create_task_from_template', 'create_task_from_template(''%1$s'', ''t of %1$s'', pg_temp.id(''type''))'),
    ('create_tasks_from_template', 'create_tasks_from_template(''%1$s'', ''t of %1$s'', pg_temp.id(''type''), ARRAY[''{}'']::jsonb[])'), ('create_template', 'create_template(''%1$s'', ''new'', ''1'')'),
    ('detach', 'detach(''%1$s'', ''f of %1$s'', pg_temp.id(''open of %1$s''))'), ('drop_template', 'drop_template(''%1$s'', ''t of %1$s'')'), ('render_template', 'render_template(''%1$s'', ''t of %1$s'')'),
    ('cancel_task', 'cancel_task(''%1$s'', pg_temp.id(''open of %1$s''))'), ('cancel_tasks', 'cancel_tasks(''%1$s'', pg_temp.id(''type''))'),
    ('change_task_type', 'change_task_type(''%1$s'', pg_temp.id(''open of %1$s''), pg_temp.id(''type''))'),
    ('dispose_task', 'dispose_task(''%1$s'', pg_temp.id(''open of %1$s''))'), ('dispose_tasks', 'dispose_tasks(''%1$s'', ''1 day'')'),
    ('prune', 'prune(''policy_action'', ''1 year'')'),
    ('get_assignment', 'get_assignment(''%1$s'', pg_temp.id(''accepted by %1$s''))'), ('get_task', 'get_task(''%1$s'', pg_temp.id(''open of %1$s''))'),
    ('list_assignments', 'list_assignments(''%1$s'', pg_temp.id(''open of %1$s''))'), ('list_tasks', 'list_tasks(''%1$s'')'),
    ('reviewable_results', 'reviewable_results(''%1$s'')'), ('reviewable_tasks', 'reviewable_tasks(''%1$s'')'),
    ('set_expiry', 'set_expiry(''%1$s'', pg_temp.id(''open of %1$s''), ''2115-02-01'')'),
    ('set_review_status', 'set_review_status(''%1$s'', pg_temp.id(''judged of %1$s''), ''reviewing'')'),
    ('validate_result', 'validate_result(pg_temp.id(''type''), ''1'')'),
    ('search_tasks', 'search_tasks(''%1$s'')'), ('preview_task', 'preview_task(''%1$s'', pg_temp.id(''free''))'), ('queue', 'queue(''%1$s'')'),
    ('save_search', 'save_search(''%1$s'', ''new'')'), ('drop_search', 'drop_search(''%1$s'', ''kept'')'), ('run_search', 'run_search(''%1$s'', ''kept'')'),
    ('history', 'history(''%1$s'')'),
    ('create_layout', 'create_layout(''%1$s'', ''new'', ''"${input}"'')'), ('drop_layout', 'drop_layout(''%1$s'', ''l of %1$s'')'), ('use_layout', 'use_layout(''%1$s'', pg_temp.id(''type''), ''l of %1$s'')'),
    ('render_layout', 'render_layout(''%1$s'', ''l of %1$s'')'), ('render_task', 'render_task(''%1$s'', pg_temp.id(''free''))'),
    ('announce', 'announce(''a_new'', ''1'')'), ('withdraw_announcement', 'withdraw_announcement(''a_announcement'')'),
    ('recommend_tasks', 'recommend_tasks(''%1$s'')'), ('send_recommendations', 'send_recommendations()'),
    ('start_anonymous', 'start_anonymous()'), ('identify', 'identify(pg_temp.anonymous(''%1$s''), ''%1$s'')'),
    ('alter_environment', 'alter_environment(''a_env'', ''{}'')'), ('acknowledge_run', 'acknowledge_run(pg_temp.id(''waiting of %1$s''))'), ('cancel_run', 'cancel_run(pg_temp.id(''waiting of %1$s''))'), ('check_workload', 'check_workload()'), ('drain_executors', 'drain_executors(''0'')'),
    ('complete_run', 'complete_run(pg_temp.id(''running of %1$s''), pg_temp.id(''token of %1$s''))'),
    ('complete_runs', 'complete_runs(ARRAY[pg_temp.id(''running of %1$s'')], ARRAY[pg_temp.id(''token of %1$s'')])'), ('create_environment', 'create_environment(''a_new'', ''external'')'),
    ('data_checksum', 'data_checksum(''{"query": "SELECT 1"}'')'),
    ('deprecate_program', 'deprecate_program(''%1$s'', ''p of %1$s'')'), ('fail_run', 'fail_run(pg_temp.id(''running of %1$s''), pg_temp.id(''token of %1$s''), ''{}'')'),
    ('heartbeat_run', 'heartbeat_run(pg_temp.id(''running of %1$s''), pg_temp.id(''token of %1$s''))'), ('limit_customer', 'limit_customer(''%1$s'', 5)'), ('limit_key', 'limit_key(''%1$s'', ''k'', 5)'),
    ('pause_environment', 'pause_environment(''a_env'')'), ('pause_runs', 'pause_runs(''%1$s'')'), ('schedule_run', 'schedule_run(''%1$s'', ''s'', ''0 3 * * *'', ''p of %1$s'')'), ('search_programs', 'search_programs()'), ('unretire_environment', 'unretire_environment(''a_env'')'), ('undeprecate_program', 'undeprecate_program(''%1$s'', ''p of %1$s'')'), ('unschedule_run', 'unschedule_run(''%1$s'', ''s of %1$s'')'),
    ('publish_chain', 'publish_chain(''%1$s'', ''c of %1$s'', ''{p of %1$s,p of %1$s}'')'), ('publish_program', 'publish_program(''%1$s'', ''p of %1$s'', ''a_env'', ''y'')'),
    ('pull_runs', 'pull_runs(''w'', ''a_env'')'), ('redrive_runs', 'redrive_runs(''%1$s'')'), ('release_run', 'release_run(pg_temp.id(''running of %1$s''), pg_temp.id(''token of %1$s''))'),
    ('remove_runs', 'remove_runs(''1 day'')'), ('resume_environment', 'resume_environment(''a_env'')'), ('resume_runs', 'resume_runs(''%1$s'')'), ('retire_environment', 'retire_environment(''a_env'')'),
    ('retry_run', 'retry_run(pg_temp.id(''dead of %1$s''))'), ('resume_executors', 'resume_executors()'), ('run_due_runs', 'run_due_runs()'), ('run_result', 'run_result(pg_temp.id(''succeeded of %1$s''))'),
    ('run_status', 'run_status(pg_temp.id(''waiting of %1$s''))'), ('submit_run', 'submit_run(''%1$s'', ''p of %1$s'')'), ('submit_runs', 'submit_runs(''%1$s'', ''p of %1$s'', ''{1,2}'')'),
    ('wait_for_run', 'wait_for_run(pg_temp.id(''succeeded of %1$s''), ''0'')'),
    ('update_user', 'update_user(''%1$s'', ''{"colour": "red"}'')'), ('withdraw', 'withdraw(''%1$s'', 1)');
-- billing
INSERT INTO call VALUES
    ('check_billing', 'check_billing()'), ('sample_usage', 'sample_usage()'), ('unschedule_billing', 'unschedule_billing()'),
    ('close_invoices', 'close_invoices()'),
    ('correct_usage', 'correct_usage(pg_temp.usage(''%1$s''), 5, ''why'')'),
    ('credit_invoice', 'credit_invoice(0, 1, ''why'')'),
    ('draft_invoice', 'draft_invoice(''%1$s'')'),
    ('drop_run_budget', 'drop_run_budget(''%1$s'')'),
    ('estimate_cost', 'estimate_cost(''%1$s'', environment => ''a_env'')'),
    ('explain_charge', 'explain_charge(pg_temp.usage(''%1$s''))'),
    ('remove_usage', 'remove_usage(''1 day'')'),
    ('schedule_billing', 'schedule_billing()'),
    ('set_billing_tier', 'set_billing_tier(''%1$s'', ''gold'')'),
    ('set_credit_limit', 'set_credit_limit(''%1$s'', 10)'),
    ('set_program_price', 'set_program_price(''%1$s'', ''p of %1$s'', 1)'),
    ('set_rate', 'set_rate(''run_time'', 1)'),
    ('set_run_budget', 'set_run_budget(''%1$s'', 10)'),
    ('usage_statement', 'usage_statement(''%1$s'', ''2000-01-01'', ''2200-01-01'')');
CREATE TEMP TABLE used AS SELECT customer, min(usage_id) AS usage_id FROM taskex.usage WHERE run_id = pg_temp.id('succeeded of ' || customer) GROUP BY 1;
GRANT SELECT ON used TO PUBLIC;
CREATE FUNCTION pg_temp.usage(whose text) RETURNS text LANGUAGE sql STABLE AS 'SELECT usage_id FROM pg_temp.used WHERE customer = whose';
-- (billing)
-- steering
INSERT INTO call VALUES
    ('checkpoint', 'checkpoint(''1'')'),
    ('drop_alert', 'drop_alert(''a_none'')'),
    ('locate', 'locate(''%1$s'')'),
    ('measure_inputs', 'measure_inputs(''%1$s'', ''p of %1$s'', ARRAY[''1'', ''2'']::jsonb[])'),
    ('measure_program', 'measure_program(''%1$s'', ''p of %1$s'', ''SELECT g FROM generate_series(1, 3) g'')'),
    ('progress', 'progress(''1'')'),
    ('recommend_parts', 'recommend_parts(''%1$s'', ''p of %1$s'', 10)'),
    ('resume_program', 'resume_program(''%1$s'', ''p of %1$s'')'),
    ('resume_run', 'resume_run(pg_temp.id(''running of %1$s''))'),
    ('run_state', 'run_state()'),
    ('set_alert', 'set_alert(''a_new'', ''running'', 5)'),
    ('set_parts', 'set_parts(''%1$s'', pg_temp.id(''split of %1$s''), 3)'),
    ('set_throttle_policy', 'set_throttle_policy(''a_env'', NULL)'),
    ('should_yield', 'should_yield(pg_temp.id(''running of %1$s''), pg_temp.id(''token of %1$s''))'),
    ('submit_parts', 'submit_parts(''%1$s'', ''p of %1$s'', ARRAY[''1'', ''2'']::jsonb[], 2)'),
    ('submit_split', 'submit_split(''%1$s'', ''p of %1$s'', ''SELECT 1'', 1)'),
    ('suspend_customer', 'suspend_customer(''%1$s'')'),
    ('suspend_program', 'suspend_program(''%1$s'', ''p of %1$s'')'),
    ('suspend_run', 'suspend_run(pg_temp.id(''waiting of %1$s''))'),
    ('throttle', 'throttle(''environment'', ''a_env'', ''{}'')'),
    ('unthrottle', 'unthrottle(''environment'', ''a_env'')'),
    ('yield_run', 'yield_run(pg_temp.id(''running of %1$s''), pg_temp.id(''token of %1$s''))');
-- (steering)
SELECT p.oid::regprocedure AS missing_here FROM pg_proc p LEFT JOIN call c ON c.name = p.proname
    WHERE p.pronamespace = 'taskex'::regnamespace AND c.name IS NULL;

-- "no": the function is closed to him; "not he": he may not act for that user
SELECT name, pg_temp.try('regress_access_nobody', s.own) AS nobody,
    pg_temp.try('regress_access_user', s.own) AS himself, pg_temp.try('regress_access_user', s.oth) AS another,
    pg_temp.try('regress_access_idle', s.own) AS no_db_role, pg_temp.try('regress_access_heir', s.own) AS heir,
    pg_temp.try('regress_access_stranger', s.own) AS noinherit,
    pg_temp.try('regress_access_app', s.oth) AS app, pg_temp.try('regress_access_admin', s.oth) AS admin
    FROM call, LATERAL (SELECT 'SELECT * FROM taskex.' || format(call, 'a_own') AS own, 'SELECT * FROM taskex.' || format(call, 'a_oth') AS oth) s
    ORDER BY name COLLATE "C";
-- all requesters' tasks are those of whom may act for all
SELECT r, pg_temp.try('regress_access_' || r, 'SELECT taskex.push_tasks()') AS all_tasks FROM unnest(ARRAY['nobody', 'user', 'app', 'admin']) r;
-- an own login with somebody else's things gains nothing
SELECT call, pg_temp.try('regress_access_user', 'SELECT taskex.' || call) AS himself, pg_temp.try('regress_access_app', 'SELECT taskex.' || call) AS app FROM (VALUES
    ('update_qualification(''a_own'', pg_temp.id(''qualification of a_oth''), ''{}'')'), ('grant_qualification(''a_own'', pg_temp.id(''qualification of a_oth''), ''a_third'')'),
    ('revoke_qualification(''a_own'', pg_temp.id(''qualification of a_oth''), ''a_third'')'), ('grant_request(''a_own'', pg_temp.id(''request to a_oth''))'),
    ('reject_request(''a_own'', pg_temp.id(''request to a_oth''))'), ('delete_qualification(''a_own'', pg_temp.id(''qualification of a_oth''))'),
    ('qualification_score(''a_own'', pg_temp.id(''qualification of a_oth''), ''a_third'')'),
    ('add_performers(''a_own'', pg_temp.id(''open of a_oth''), 1)'), ('annotate_task(''a_own'', pg_temp.id(''open of a_oth''), ''x'')'),
    ('attach(''a_own'', ''x'', ''https://x.example'', pg_temp.id(''open of a_oth''))'), ('attachments(''a_own'', pg_temp.id(''open of a_oth''))'), ('attachment_url(''a_own'', pg_temp.id(''submitted to a_oth''), ''x'')'),
    ('render_layout(''a_own'', ''l of a_oth'')'), ('use_layout(''a_own'', pg_temp.id(''type''), ''l of a_oth'')'), ('drop_layout(''a_own'', ''l of a_oth'')'), ('render_task(''a_own'', pg_temp.id(''judged of a_oth''))'),
    ('detach(''a_own'', ''f of a_oth'', pg_temp.id(''open of a_oth''))'), ('render_template(''a_own'', ''t of a_oth'')'), ('drop_template(''a_own'', ''t of a_oth'')'),
    ('cancel_task(''a_own'', pg_temp.id(''open of a_oth''))'), ('cancel_tasks(''a_own'', NULL, ARRAY[pg_temp.id(''open of a_oth'')])'),
    ('change_task_type(''a_own'', pg_temp.id(''open of a_oth''), pg_temp.id(''type''))'), ('dispose_task(''a_own'', pg_temp.id(''open of a_oth''))'),
    ('get_assignment(''a_own'', pg_temp.id(''accepted by a_oth''))'), ('get_task(''a_own'', pg_temp.id(''open of a_oth''))'),
    ('list_assignments(''a_own'', pg_temp.id(''judged of a_oth''))'), ('reviewable_results(''a_own'', NULL, pg_temp.id(''submitted to a_oth''))'),
    ('set_expiry(''a_own'', pg_temp.id(''open of a_oth''), now())'), ('set_review_status(''a_own'', pg_temp.id(''judged of a_oth''), ''reviewing'')'),
    ('approve_assignment(''a_own'', pg_temp.id(''submitted to a_oth''))'), ('reject_assignment(''a_own'', pg_temp.id(''submitted to a_oth''), ''no'')'),
    ('expire_task(''a_own'', pg_temp.id(''open of a_oth''))'), ('task_results(''a_own'', pg_temp.id(''judged of a_oth''))'),
    ('task_consensus(''a_own'', pg_temp.id(''open of a_oth''))'), ('submit_assignment(''a_own'', pg_temp.id(''accepted by a_oth''), ''1'')'),
    ('send_bonus(''a_own'', pg_temp.id(''submitted to a_oth''), 1, ''good'')'), ('return_assignment(''a_own'', pg_temp.id(''accepted by a_oth''))'), ('extend_assignment(''a_own'', pg_temp.id(''accepted by a_oth''), ''1 s'')')) v (call);

-- money of both users for the views below, and schedules (without pg_cron)
INSERT INTO _taskex.schedule (customer_id, name, cron, priority, overlap, missed, created_at, due_at, options)
    SELECT user_id, 's of ' || login, '* * * * *', 0, 'skip', 'skip', now(), now(), '{}' FROM _taskex.directory WHERE login IN ('a_own', 'a_oth');
SELECT taskex.set_budget(u, 90) FROM unnest(ARRAY['a_own', 'a_oth']) u;
SELECT taskex.set_fee(0.2, requester => u) > 0 AS set FROM unnest(ARRAY['a_own', 'a_oth']) u;
SELECT taskex.send_bonus(u, pg_temp.id('submitted to ' || u), 1, 'good') > 0 AS sent FROM unnest(ARRAY['a_own', 'a_oth']) u;
INSERT INTO _taskex.payout_item (partition_id, payout_id, performer_id, amount, transfer_id)
    SELECT _taskex.home(_taskex.user_id(u)), taskex.create_payout('a-payout', logins => '{}'), _taskex.user_id(u), 1, 0 FROM unnest(ARRAY['a_own', 'a_oth']) u;

DO $$
DECLARE
    type bigint := taskex.create_task_type('a_third', 'Access earnings', 0.1);
BEGIN
    PERFORM taskex.deposit('a_third', 1, 'earnings');
    PERFORM taskex.create_task('a_third', type, '1', 2);
    PERFORM taskex.submit_assignment(u, (taskex.accept_task(u, task_id)).assignment_id, '1')
        FROM taskex.tasks t, unnest(ARRAY['a_own', 'a_oth']) u WHERE t.task_type_id = type;
    PERFORM taskex.approve_assignment('a_third', assignment_id) FROM taskex.assignments WHERE task_type_id = type;
END $$;
-- bills
SELECT taskex.set_run_budget(u, 90) FROM unnest(ARRAY['a_own', 'a_oth']) u;
DO $$
DECLARE
    r record;
BEGIN
    FOR r IN SELECT d.* FROM unnest(ARRAY['a_own', 'a_oth']) u, _taskex.directory d WHERE d.login = u LOOP
        INSERT INTO _taskex.invoice (partition_id, invoice_id, customer_id, closed_at, total, accrued, digits, kind, carried, denominator)
            VALUES (r.partition_id, -r.user_id, r.user_id, now(), 0, 0, 2, 'invoice', 0, 1);
        INSERT INTO _taskex.invoice_line VALUES (-r.user_id, r.user_id, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0, r.partition_id, 0, 0, 0, 1);
    END LOOP;
END $$;
-- the journal is dispatched by another transaction than the one that wrote it
SELECT count(*) FROM taskex.run_due();

-- views: who sees whom
CREATE FUNCTION pg_temp.sees(role name, what text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    seen text;
BEGIN
    BEGIN
        PERFORM set_config('role', role, true);
        EXECUTE what INTO seen;
        RAISE '%', seen USING ERRCODE = 'ZZ999';
    EXCEPTION
        WHEN SQLSTATE 'ZZ999' THEN RETURN nullif(SQLERRM, '<NULL>');
        WHEN insufficient_privilege THEN RETURN 'no';
    END;
END $$;
SELECT what, pg_temp.sees('regress_access_nobody', query) AS nobody, pg_temp.sees('regress_access_user', query) AS himself,
    pg_temp.sees('regress_access_idle', query) AS no_db_role, pg_temp.sees('regress_access_heir', query) AS heir,
    pg_temp.sees('regress_access_stranger', query) AS noinherit,
    pg_temp.sees('regress_access_app', query) AS app, pg_temp.sees('regress_access_admin', query) AS admin
    FROM (VALUES
    ('disputes', 'SELECT string_agg(requester, '' '' ORDER BY requester) FROM taskex.disputes WHERE performer = ''a_third'''),
    ('policies', 'SELECT string_agg(requester, '' '' ORDER BY requester) FROM taskex.policies WHERE requester LIKE ''a\_%'''),
    ('policy_actions', 'SELECT count(*) >= 0 FROM taskex.policy_actions'), ('policy_results', 'SELECT count(*) >= 0 FROM taskex.policy_results'),
    ('policy_tallies', 'SELECT count(*) >= 0 FROM taskex.policy_tallies'), ('requester_ratings', 'SELECT count(*) >= 0 FROM taskex.requester_ratings'),
    ('ratings', 'SELECT string_agg(requester, '' '' ORDER BY requester) FROM taskex.ratings WHERE performer = ''a_third'''),
    ('anonymous_users', 'SELECT count(*) FROM taskex.anonymous_users WHERE login IN (pg_temp.anonymous(''a_own''), pg_temp.anonymous(''a_oth''))'),
    ('identified_users', 'SELECT string_agg(login, '' '' ORDER BY login) FROM taskex.identified_users WHERE login LIKE ''a\_%'''),
    ('users', 'SELECT string_agg(login, '' '' ORDER BY login) FROM taskex.users WHERE login LIKE ''a\_%'''),
    ('golden_tasks', 'SELECT string_agg(DISTINCT requester, '' '') FROM taskex.golden_tasks WHERE requester LIKE ''a\_%'''),
    ('tasks', 'SELECT string_agg(DISTINCT requester, '' '') FROM taskex.tasks WHERE requester LIKE ''a\_%'''),
    ('layouts', 'SELECT string_agg(DISTINCT requester, '' '') FROM taskex.layouts WHERE requester LIKE ''a\_%'''), ('layout_uses', 'SELECT string_agg(DISTINCT requester, '' '') FROM taskex.layout_uses WHERE requester LIKE ''a\_%'''),
    ('announcements', 'SELECT count(*) FROM taskex.announcements WHERE name = ''a_announcement'''),
    ('templates', 'SELECT string_agg(DISTINCT requester, '' '') FROM taskex.templates WHERE requester LIKE ''a\_%'''),
    ('assignments', 'SELECT string_agg(DISTINCT performer || ''<'' || requester, '' '') FROM taskex.assignments WHERE requester LIKE ''a\_%'''),
    ('transfers', 'SELECT string_agg(DISTINCT login || ''>'' || counterparty, '' '') FROM taskex.transfers WHERE login LIKE ''a\_%'''),
    ('transfers of the exchange', 'SELECT string_agg(DISTINCT login, '' '') FROM taskex.transfers WHERE counterparty LIKE ''a\_%'' AND login NOT LIKE ''a\_%'''),
    ('audit', 'SELECT string_agg(DISTINCT login || ''>'' || counterparty, '' '') FROM taskex.audit WHERE login LIKE ''a\_%'''),
    ('audit of the exchange', 'SELECT string_agg(DISTINCT login, '' '') FROM taskex.audit WHERE counterparty LIKE ''a\_%'' AND login NOT LIKE ''a\_%'''),
    ('bonuses', 'SELECT string_agg(requester || ''>'' || performer, '' '' ORDER BY requester) FROM taskex.bonuses WHERE requester LIKE ''a\_%'''),
    ('budgets', 'SELECT string_agg(requester, '' '' ORDER BY requester) FROM taskex.budgets WHERE requester LIKE ''a\_%'''),
    ('earnings', 'SELECT string_agg(performer, '' '' ORDER BY performer) FROM taskex.earnings WHERE title = ''Access earnings'''),
    ('fee_rules', 'SELECT string_agg(requester, '' '' ORDER BY requester) FROM taskex.fee_rules WHERE requester LIKE ''a\_%'''),
    ('payouts', 'SELECT count(*) FROM taskex.payouts WHERE reference = ''a-payout'''),
    ('payout_items', 'SELECT string_agg(login, '' '' ORDER BY login) FROM taskex.payout_items WHERE reference = ''a-payout'''),
    ('yearly_statements', 'SELECT string_agg(login, '' '' ORDER BY login) FROM taskex.yearly_statements WHERE login LIKE ''a\_%'''),
    ('saved_searches', 'SELECT string_agg(performer, '' '' ORDER BY performer) FROM taskex.saved_searches WHERE performer LIKE ''a\_%'''),
    ('batches', 'SELECT string_agg(DISTINCT requester, '' '') FROM taskex.batches WHERE requester LIKE ''a\_%'''),
    ('reviewable', 'SELECT string_agg(DISTINCT requester, '' '') FROM taskex.reviewable WHERE requester LIKE ''a\_%'''),
    ('requester_performers', 'SELECT string_agg(DISTINCT requester, '' '') FROM taskex.requester_performers WHERE requester LIKE ''a\_%'''),
    ('work_history', 'SELECT string_agg(DISTINCT performer, '' '') FROM taskex.work_history WHERE performer LIKE ''a\_%'''),
    ('performer_profile', 'SELECT string_agg(performer, '' '' ORDER BY performer) FROM taskex.performer_profile WHERE performer LIKE ''a\_%'''),
    ('task_catalogue', 'SELECT count(*) FROM taskex.task_catalogue WHERE title = ''Free'''),
    ('task_types', 'SELECT count(*) FROM taskex.task_types WHERE title = ''Access'''),
    ('qualifications', 'SELECT string_agg(requester || '':'' || (test IS NOT NULL) || (answer_key IS NOT NULL), '' '' ORDER BY requester) FROM taskex.qualifications WHERE name = ''Access'' AND has_test'),
    ('blocks', 'SELECT string_agg(requester || ''>'' || performer, '' '' ORDER BY requester) FROM taskex.blocks WHERE requester LIKE ''a\_%'''),
    ('subscriptions', 'SELECT string_agg(login, '' '' ORDER BY login) FROM taskex.subscriptions WHERE login LIKE ''a\_%'''),
    ('event_kinds', 'SELECT count(*) > 10 FROM taskex.event_kinds'),
    ('usage', 'SELECT string_agg(DISTINCT customer, '' '') FROM taskex.usage WHERE customer LIKE ''a\_%'''),
    ('invoices', 'SELECT string_agg(DISTINCT customer, '' '') FROM taskex.invoices WHERE customer LIKE ''a\_%'''),
    ('invoice_lines', 'SELECT string_agg(DISTINCT customer, '' '') FROM taskex.invoice_lines WHERE customer LIKE ''a\_%'''),
    ('run_budgets', 'SELECT string_agg(DISTINCT customer, '' '') FROM taskex.run_budgets WHERE customer LIKE ''a\_%'''),
    ('rates', 'SELECT count(*) >= 0 FROM taskex.rates'), ('meters', 'SELECT count(*) > 5 FROM taskex.meters'),
    ('errors', 'SELECT count(*) > 10 FROM taskex.errors'),
    ('nodes', 'SELECT count(*) FROM taskex.nodes WHERE name = ''local'''),
    ('drains', 'SELECT count(*) >= 0 FROM taskex.drains'), ('migrations', 'SELECT count(*) FROM taskex.migrations WHERE login LIKE ''a\_%'''),
    ('partitions', 'SELECT count(*) FROM taskex.partitions WHERE name = ''access_1'''),
    ('supplies', 'SELECT count(*) >= 0 FROM taskex.supplies'), ('supply_history', 'SELECT count(*) >= 0 FROM taskex.supply_history'),
    ('performer_groups', 'SELECT count(*) FROM taskex.performer_groups WHERE name = ''partition:access_1'''),
    ('group_members', 'SELECT count(*) >= 0 FROM taskex.group_members'),
    ('recommendation_factors', 'SELECT count(*) > 2 FROM taskex.recommendation_factors'),
    ('intentions', 'SELECT string_agg(performer, '','' ORDER BY performer) FROM taskex.intentions WHERE performer LIKE ''a\_%'''),
    ('preferences', 'SELECT string_agg(performer, '','' ORDER BY performer) FROM taskex.preferences WHERE performer LIKE ''a\_%'''),
    ('hot_spots', 'SELECT count(*) >= 0 FROM taskex.hot_spots'), ('requester_weights', 'SELECT count(*) >= 0 FROM taskex.requester_weights'), ('pushes', 'SELECT count(*) >= 0 FROM taskex.pushes'),
    ('supply_targets', 'SELECT count(*) >= 0 FROM taskex.supply_targets'),
    ('user_load', 'SELECT string_agg(login, '' '' ORDER BY login) FROM taskex.user_load WHERE login LIKE ''a\_%'' AND metric = ''calls'''),
    ('partition_load', 'SELECT count(*) FROM taskex.partition_load WHERE partition = ''access_1'''), ('node_load', 'SELECT count(*) FROM taskex.node_load WHERE node = ''local'''),
    ('factors', 'SELECT count(*) > 10 FROM taskex.factors'), ('fitnesses', 'SELECT count(*) > 0 FROM taskex.fitnesses'),
    ('placement_scores', 'SELECT count(*) > 0 FROM taskex.placement_scores WHERE login LIKE ''a\_%'''),
    ('environments', 'SELECT count(*) FROM taskex.environments WHERE name = ''a_env'''),
    ('schedules', 'SELECT string_agg(name, '','' ORDER BY name) FROM taskex.schedules WHERE customer LIKE ''a\_%'''),
    ('programs', 'SELECT string_agg(name, '','' ORDER BY name) FROM taskex.programs WHERE owner LIKE ''a\_%'''),
    ('runs', 'SELECT string_agg(DISTINCT customer, '','') FROM taskex.runs WHERE customer LIKE ''a\_%'''),
    ('dead_letters', 'SELECT string_agg(customer, '','' ORDER BY customer) FROM taskex.dead_letters WHERE customer LIKE ''a\_%'''),
    ('executors', 'SELECT count(*) FROM taskex.executors'),
    ('run_attempts', 'SELECT string_agg(DISTINCT customer, '','') FROM taskex.run_attempts WHERE customer LIKE ''a\_%'''),
    ('run_monitor', 'SELECT string_agg(customer, '','' ORDER BY customer) FROM taskex.run_monitor WHERE customer LIKE ''a\_%'''),
    ('run_totals', 'SELECT string_agg(name, '','' ORDER BY name) FROM taskex.run_totals WHERE name LIKE ''a\_o%'''),
    ('throttles', 'SELECT count(*) >= 0 FROM taskex.throttles'),
    ('splits', 'SELECT string_agg(customer, '','' ORDER BY customer) FROM taskex.splits WHERE customer LIKE ''a\_%'''),
    ('queue', 'SELECT string_agg(customer, '','' ORDER BY customer) FROM taskex.queue WHERE customer LIKE ''a\_%'''),
    ('health', 'SELECT count(*) > 2 FROM taskex.health'),
    ('failed_acts', 'SELECT count(*) >= 0 FROM taskex.failed_acts'),
    ('inferences', 'SELECT count(*) FROM taskex.inferences'),
    ('activity', 'SELECT count(*) >= 0 FROM taskex.activity')) v (what, query);
SELECT c.relname AS missing_above FROM pg_class c WHERE c.relnamespace = 'taskex'::regnamespace AND c.relkind = 'v'
    AND c.relname NOT IN ('disputes', 'golden_tasks', 'ratings', 'users', 'tasks', 'assignments', 'transfers', 'task_types', 'errors', 'nodes', 'partitions', 'failed_acts', 'health', 'inferences', 'activity', 'drains', 'migrations')
    AND c.relname NOT IN ('performer_groups', 'group_members', 'recommendation_factors', 'intentions', 'preferences', 'supply_targets')
    AND c.relname NOT IN ('performer_groups', 'group_members', 'hot_spots', 'pushes', 'requester_weights', 'supplies', 'supply_history')
    AND c.relname NOT IN ('policies', 'policy_actions', 'policy_results', 'policy_tallies', 'requester_ratings')
    AND c.relname NOT IN ('node_load', 'partition_load', 'user_load')
    AND c.relname NOT IN ('factors', 'fitnesses', 'placement_scores')
    AND c.relname NOT IN ('dead_letters', 'environments', 'executors', 'programs', 'queue', 'run_attempts', 'runs', 'schedules', 'splits', 'run_monitor', 'run_totals', 'throttles')
    AND c.relname NOT IN ('usage', 'invoices', 'invoice_lines', 'run_budgets', 'rates', 'meters')
    AND c.relname NOT IN ('announcements', 'layouts', 'layout_uses', 'templates')
    AND c.relname NOT IN ('anonymous_users', 'identified_users')
    AND c.relname NOT IN ('blocks', 'qualifications')
    AND c.relname NOT IN ('audit', 'bonuses', 'budgets', 'earnings', 'fee_rules', 'payouts', 'payout_items', 'yearly_statements')
    AND c.relname NOT IN ('event_kinds', 'subscriptions', 'saved_searches', 'batches', 'reviewable', 'requester_performers', 'work_history', 'performer_profile', 'task_catalogue');
-- a condition of his own is not shown the others' rows
CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE WARNING 'leaked: %', regexp_replace($1, 'anonymous:.*', 'anonymous'); RETURN true; END $$;
SET ROLE regress_access_user;
-- each column of each view that he may read can be read by him
DO $$
DECLARE
    v name;
BEGIN
    FOR v IN SELECT relname FROM pg_class WHERE relnamespace = 'taskex'::regnamespace AND relkind = 'v' AND has_table_privilege(oid, 'SELECT')
    LOOP
        EXECUTE format('SELECT count(x::text) FROM taskex.%I x', v);
    END LOOP;
END $$;
SELECT count(*) FROM taskex.users WHERE pg_temp.leak(login);
SELECT count(*) > 0 AS some FROM taskex.tasks WHERE requester <> 'a_own' OR NOT pg_temp.leak('tasks of ' || requester);
SELECT DISTINCT true AS none FROM taskex.transfers WHERE login <> 'a_own';
-- all columns of the view, for one who has no rights on the schema behind it
SELECT count(state) > 0 AS some FROM (SELECT * FROM taskex.tasks) t;
SELECT count(*) FROM taskex.payout_items WHERE pg_temp.leak(login);
RESET ROLE;

DELETE FROM _taskex.payout_item WHERE transfer_id = 0;
SELECT count(taskex.drop_fee(rule_id)) FROM taskex.fee_rules WHERE requester LIKE 'a\_%';

-- nothing is written or read but through functions and views
SELECT role, string_agg(c.oid::regclass || ': ' || p, ', ') AS rights
    FROM unnest(ARRAY['regress_access_nobody', 'regress_access_user', 'regress_access_app', 'regress_access_admin']) role,
        pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
    WHERE c.relnamespace = '_taskex'::regnamespace AND c.relkind IN ('r', 'p') AND has_table_privilege(role, c.oid, p) GROUP BY role;
SELECT role, string_agg(c.oid::regclass || ': ' || p, ', ') AS rights
    FROM unnest(ARRAY['regress_access_nobody', 'regress_access_user', 'regress_access_app', 'regress_access_admin']) role,
        pg_class c, unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) p
    WHERE c.relnamespace = '_taskex'::regnamespace AND c.relkind = 'S' AND has_sequence_privilege(role, c.oid, p) GROUP BY role;
SET ROLE regress_access_admin;
SELECT count(*) FROM _taskex.directory;
UPDATE _taskex.task SET reward = 0;
INSERT INTO taskex.nodes (name) VALUES ('a_node');
DELETE FROM taskex.tasks;
SELECT nextval('_taskex.user_id_seq');
SELECT _taskex.fail('unknown_user', 'x');
SELECT _taskex.create_children(1, NULL);
CREATE TABLE taskex.t ();
CREATE TABLE _taskex.t ();
DROP FUNCTION taskex.route(text);
ALTER TABLE _taskex.task DISABLE TRIGGER ALL;
SET taskex.clock = '2000-01-01';
SET taskex.wait_point = 'submit';
SET taskex.exchange_fee = 0;
SET taskex.max_input_size = '1GB';
SET taskex.plan_cache_size = 64;
RESET taskex.plan_cache_size;
RESET ROLE;

-- the role that counts is the current one: SET ROLE, SECURITY DEFINER both ways
SET SESSION AUTHORIZATION regress_access_user;
SELECT available > 0 AS rich FROM taskex.balance('a_own');
SET SESSION AUTHORIZATION regress_access_stranger;
SELECT available > 0 AS rich FROM taskex.balance('a_own');
SET ROLE regress_access_user;
SELECT available > 0 AS rich FROM taskex.balance('a_own');
RESET ROLE;
SET SESSION AUTHORIZATION regress_access_app;
SET ROLE taskex_user;
SELECT available > 0 AS rich FROM taskex.balance('a_oth');
SELECT count(*) FROM taskex.users WHERE login LIKE 'a\_%';
RESET ROLE;
SELECT available > 0 AS rich FROM taskex.balance('a_oth');
RESET SESSION AUTHORIZATION;
CREATE FUNCTION pg_temp.mine() RETURNS boolean LANGUAGE sql SECURITY DEFINER AS $$ SELECT available > 0 FROM taskex.balance('a_own') $$;
ALTER FUNCTION pg_temp.mine() OWNER TO regress_access_user;
CREATE FUNCTION pg_temp.theirs() RETURNS boolean LANGUAGE sql SECURITY DEFINER AS $$ SELECT available > 0 FROM taskex.balance('a_oth') $$;
ALTER FUNCTION pg_temp.theirs() OWNER TO regress_access_user;
SET ROLE regress_access_nobody;
SELECT pg_temp.mine();
SELECT pg_temp.theirs();
SET ROLE regress_access_app;
SELECT pg_temp.mine();
SELECT pg_temp.theirs();
RESET ROLE;
-- a view of an operator's does not lend his eyes
CREATE VIEW public.access_all AS SELECT login FROM taskex.users WHERE login LIKE 'a\_%';
ALTER VIEW public.access_all OWNER TO regress_access_admin;
GRANT SELECT ON public.access_all TO PUBLIC;
SET ROLE regress_access_user;
SELECT * FROM public.access_all;
SET ROLE regress_access_nobody;
SELECT * FROM public.access_all;
RESET ROLE;
DROP VIEW public.access_all;

-- the functions do not look for their parts where the caller says
CREATE SCHEMA regress_access AUTHORIZATION regress_access_user;
SET ROLE regress_access_user;
CREATE FUNCTION regress_access.trap(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE 'ran as %', current_user; END $$;
CREATE OPERATOR regress_access.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = regress_access.trap);
CREATE OPERATOR regress_access.> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = regress_access.trap);
CREATE FUNCTION regress_access.now() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN RAISE 'ran as %', current_user; END $$;
CREATE TEMP TABLE directory (login text);
CREATE TEMP TABLE task (task_id bigint);
SET search_path = regress_access, pg_temp, pg_catalog;
SELECT partition FROM taskex.route('a_own');
SELECT taskex.create_task('a_own', pg_temp.id('type'), '"path"') IS NULL AS failed;
SELECT input FROM taskex.accept_next('a_own', pg_temp.id('type')) WHERE input = '"a_oth"';
SELECT count(*) IS NULL AS failed FROM taskex.tasks;
SELECT count(*) IS NULL AS failed FROM taskex.statement('a_own');
SHOW search_path;
SET ROLE regress_access_admin;
SELECT bool_and(ok) FROM taskex.check_ledger();
SELECT bool_and(ok) FROM taskex.check_market();
SELECT taskex.add_partition('access_2') IS NULL AS failed;
SELECT taskex.drop_partition('access_2');
SELECT count(*) IS NULL AS failed FROM taskex.run_due();
RESET ROLE;
RESET search_path;
DROP TABLE pg_temp.directory, pg_temp.task;
DROP SCHEMA regress_access CASCADE;

-- a role that goes away leaves nobody who may act
SELECT taskex.update_user('a_own', '{"db_role": null}');
SELECT pg_temp.try('regress_access_user', 'SELECT taskex.balance(''a_own'')') AS himself;
DROP FUNCTION pg_temp.mine(), pg_temp.theirs();
DROP ROLE regress_access_nobody, regress_access_user, regress_access_idle, regress_access_heir, regress_access_stranger,
    regress_access_app, regress_access_admin;
SELECT count(taskex.expire_task(requester, task_id)) > 0 AS closed FROM taskex.tasks WHERE requester LIKE 'a\_%' AND state = 'available';
SET taskex.clock = '2118-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.check_market() WHERE NOT ok;
