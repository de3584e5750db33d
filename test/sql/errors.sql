-- Bad input: each gets an error of its own, and changes nothing.
\set SHOW_CONTEXT never
SET client_min_messages = warning;
SET timezone = 'UTC';
SET datestyle = 'ISO, YMD';
SET taskex.exchange_fee = 0.2;
SET taskex.clock = '2105-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE errors_space LOCATION '';
SELECT taskex.add_partition('errors_1') > 0 AS added, taskex.add_partition('errors_3') > 0 AS other;
SELECT taskex.register_user('e_req', partition => 'errors_1') > 0 AS req,
    taskex.register_user('e_per', partition => 'errors_1') > 0 AS per,
    taskex.register_user('e_oth', partition => 'errors_1') > 0 AS oth;
SELECT taskex.deposit('e_req', 100, 'start') > 0 AS deposited;
SELECT taskex.subscribe('e_req') AS events;

\getenv tests PG_ABS_SRCDIR
\set refused :tests '/sql/include/refused.sql'
\set ECHO none
\i :refused
\set ECHO all
-- what the statements below refer to
INSERT INTO thing VALUES ('type', taskex.create_task_type('e_req', 'Errors', 1));
INSERT INTO thing VALUES ('open', taskex.create_task('e_req', pg_temp.id('type'), '"open"', idempotency_key => 'used')),
    ('accepted task', taskex.create_task('e_req', pg_temp.id('type'), '1')),
    ('submitted task', taskex.create_task('e_req', pg_temp.id('type'), '2', 2)),
    ('approved task', taskex.create_task('e_req', pg_temp.id('type'), '3')),
    ('rejected task', taskex.create_task('e_req', pg_temp.id('type'), '4')),
    ('other rejected task', taskex.create_task('e_req', pg_temp.id('type'), '4')),
    ('returned task', taskex.create_task('e_req', pg_temp.id('type'), '5')),
    ('abandoned task', taskex.create_task('e_req', pg_temp.id('type'), '6')),
    ('closed', taskex.create_task('e_req', pg_temp.id('type'), '7')),
    ('counted', taskex.create_task('e_req', taskex.create_task_type('e_req', 'Counted', 0), '8', consensus => 'one_coin'));
INSERT INTO thing SELECT 'abandoned', assignment_id FROM taskex.accept_task('e_per', pg_temp.id('abandoned task'));
SET taskex.clock = '2105-01-01 02:00:00+00';
INSERT INTO thing SELECT replace(name, ' task', ''), (taskex.accept_task('e_per', id)).assignment_id
    FROM thing WHERE name ~ '^(accepted|submitted|approved|rejected|other rejected|returned) task';
DO $$
BEGIN
    PERFORM taskex.submit_assignment('e_per', id, '1') FROM thing WHERE name IN ('submitted', 'approved', 'rejected', 'other rejected');
    PERFORM taskex.approve_assignment('e_req', pg_temp.id('approved'));
    PERFORM taskex.reject_assignment('e_req', pg_temp.id('rejected'), 'no');
    PERFORM taskex.reject_assignment('e_req', pg_temp.id('other rejected'), 'no');
    PERFORM taskex.return_assignment('e_per', pg_temp.id('returned'));
    PERFORM taskex.expire_task('e_req', pg_temp.id('closed'));
    PERFORM taskex.run_due();
END $$;
INSERT INTO thing SELECT 'token', lease_token FROM _taskex.assignment WHERE assignment_id = pg_temp.id('accepted');
INSERT INTO thing SELECT 'dispute', taskex.open_dispute('e_per', pg_temp.id('rejected'), 'why');
INSERT INTO thing VALUES ('qualification', taskex.create_qualification('e_req', 'Errors', test => '{"questions": [{"id": "a"}]}', retry_delay => '0')),
    ('timed', taskex.create_qualification('e_req', 'Timed', test => '{"questions": [{"id": "a"}]}', test_duration => '1 hour'));
INSERT INTO thing SELECT 'request', request_id FROM taskex.request_qualification('e_per', pg_temp.id('qualification'), '{"a": 1}');
INSERT INTO thing SELECT 'policy', taskex.create_policy('e_req', 'agreement', '{"thresholds": [{"less_than": 0, "action": {"do": "suspend"}}]}');
INSERT INTO thing SELECT 'late', (taskex.accept_task('e_oth', id)).assignment_id FROM thing WHERE name = 'submitted task';

DO $$ BEGIN PERFORM taskex.save_search('e_per', 'kept'), taskex.create_layout('e_req', 'kept', '"${input}"'), taskex.announce('kept', '1'); END $$;
INSERT INTO thing SELECT 'intention', taskex.declare_intention('e_per', ARRAY[pg_temp.id('type')], 5, '[2105-01-01, 2105-01-05)');

SELECT taskex.add_partition('errors_2', storage_class => 'temporary') > 0 AS added;
SELECT taskex.start_anonymous('{"is": "e_anonymous"}') IS NOT NULL AS started;
CREATE FUNCTION pg_temp.anonymous() RETURNS text LANGUAGE sql STABLE AS
    $$ SELECT login FROM taskex.anonymous_users WHERE profile ->> 'is' = 'e_anonymous' $$;
-- (no mover takes it)
WITH m AS (SELECT taskex.migrate_user('e_oth', 'errors_3') AS id) INSERT INTO thing SELECT 'migration', id FROM m;
UPDATE _taskex.migration SET not_before = 'infinity' WHERE migration_id = pg_temp.id('migration');
-- runs
CREATE ROLE regress_errors_code LOGIN;
DO $$
BEGIN
    PERFORM taskex.register_user('e_code', '{"db_role": "regress_errors_code"}', 'errors_1'), taskex.create_environment('e_pl', 'plpgsql'),
        taskex.publish_program('e_code', 'piece', 'e_pl', 'BEGIN RETURN data; END');
    PERFORM taskex.create_environment('e_env', 'external', options => '{"max_attempts": 1}'), taskex.create_environment('e_retired', 'external'),
        taskex.publish_program('e_req', 'kept', 'e_env', 'x');
    PERFORM taskex.retire_environment('e_retired'), taskex.submit_run('e_req', 'kept');
END $$;
SELECT count(taskex.complete_run(run_id, lease_token)) FROM taskex.pull_runs('w', 'e_env');
CALL pg_temp.make_runs('e_req', 'e_env');

INSERT INTO thing SELECT 'split', taskex.submit_parts('e_req', 'kept', ARRAY['1', '2']::jsonb[], 2);

-- everything that the exchange has on record, and what shared memory makes of it
CREATE FUNCTION pg_temp.state() RETURNS text LANGUAGE sql AS $$
    SELECT md5(pg_temp.on_record('directory', 'profile', 'task_type', 'task', 'supply', 'assignment', 'result', 'dispute', 'rating', 'message', 'review_policy', 'entry', 'partition', 'node',
        'qualification_type', 'qualification', 'qualification_request', 'block', 'environment', 'program', 'program_version', 'run', 'run_attempt', 'run_wait', 'run_link', 'run_key', 'run_limit', 'run_stop', 'run_held', 'split', 'split_part', 'split_open', 'run_alert', 'throttle', 'throttle_policy', 'rate', 'usage', 'usage_correction', 'billing_terms', 'run_budget', 'closing', 'unclosed', 'invoice', 'invoice_line',
        'budget', 'budget_charge', 'budget_layer', 'fee_rule', 'bonus', 'payout', 'payout_item', 'saved_search', 'layout', 'layout_use', 'announcement', 'migration', 'drain')
        || (SELECT string_agg(b::text, ',') FROM unnest(ARRAY['e_req', 'e_per', 'e_oth']) l, taskex.balance(l) b)) $$;
SELECT pg_temp.state() AS before \gset

-- NULL for each argument of each function
CREATE TEMP TABLE good_call (name text PRIMARY KEY, args text[]);
INSERT INTO good_call VALUES
    ('start_anonymous', ARRAY['''{}''']),
    ('identify', ARRAY['pg_temp.anonymous()', '''e_per''']),
    ('set_preferences', ARRAY['''e_per''', '''{"pace": 3}''']),
    ('declare_intention', ARRAY['''e_per''', 'ARRAY[pg_temp.id(''type'')]', '3', '''[2105-01-01, 2105-01-10)''']),
    ('cancel_intention', ARRAY['''e_per''', 'pg_temp.id(''intention'')']),
    ('forecast_accepts', ARRAY['''partition:errors_1''', 'pg_temp.id(''type'')', '''1 hour''']),
    ('acceptance_probability', ARRAY['''partition:errors_1''', 'ARRAY[pg_temp.id(''type'')]', 'ARRAY[1]', '''1 hour''']),
    ('drop_search', ARRAY['''e_per''', '''kept''']),
    ('history', ARRAY['''e_per''', '1000', '10']),
    ('preview_task', ARRAY['''e_oth''', 'pg_temp.id(''open'')']),
    ('queue', ARRAY['''e_per''']),
    ('run_search', ARRAY['''e_per''', '''kept''', '10', '0']),
    ('save_search', ARRAY['''e_per''', '''new''', '''words''', '''{}''', 'true']),
    ('announce', ARRAY['''new''', '''1''', '''{"contains": {"a": 1}}''', '''2105-01-01''', '''2106-01-01''', '1']), ('withdraw_announcement', ARRAY['''kept''']),
    ('create_layout', ARRAY['''e_req''', '''new''', '''"${input}"''', '''{}''', '''text''']), ('drop_layout', ARRAY['''e_req''', '''kept''']),
    ('use_layout', ARRAY['''e_req''', 'pg_temp.id(''type'')', '''kept''', '1']), ('render_layout', ARRAY['''e_req''', '''kept''', '''{}''', '''{}''', '1']),
    ('render_task', ARRAY['''e_oth''', 'pg_temp.id(''open'')', '''{}''']),
    ('recommend_tasks', ARRAY['''e_oth''', '10']), ('send_recommendations', ARRAY['''1 day''::interval', '3', '10']),
    ('search_tasks', ARRAY['''e_oth''', '''errors''', '10', '0', '9', '''e_req''', 'ARRAY[pg_temp.id(''type'')]', 'true', '''US''', '''phone''', '''reward''', '0']),
    ('accept_next', ARRAY['''e_oth''', 'pg_temp.id(''type'')', '1']),
    ('accept_task', ARRAY['''e_oth''', 'pg_temp.id(''open'')']),
    ('add_node', ARRAY['''e_node''', 'NULL', 'NULL', '''standard''', '''{}''']),
    ('add_partition', ARRAY['''e_part''', 'NULL', '''local''', '''ssd''', '''{}''', 'NULL', 'NULL']),
    ('answer_dispute', ARRAY['''e_req''', 'pg_temp.id(''dispute'')', '''no''']),
    ('approve_assignment', ARRAY['''e_req''', 'pg_temp.id(''submitted'')', '''fine''', 'false']),
    ('approve_assignments', ARRAY['''e_req''', 'ARRAY[pg_temp.id(''submitted'')]', '''fine''']),
    ('approve_task', ARRAY['''e_req''', 'pg_temp.id(''submitted task'')', '''fine''']),
    ('balance', ARRAY['''e_req''']),
    ('block_performer', ARRAY['''e_req''', '''e_per''', '''careless''', '''2106-01-01''']),
    ('check_qualifications', ARRAY['''e_per''', 'pg_temp.id(''type'')']),
    ('create_qualification', ARRAY['''e_req''', '''name''', '''text''', '''{}''', '''{"questions": [{"id": "a"}]}''', '''{"questions": [{"id": "a", "options": []}]}''', '''1 hour''', '''1 hour''', 'false', '1', 'true', 'false']),
    ('delete_qualification', ARRAY['''e_req''', 'pg_temp.id(''qualification'')']),
    ('grant_qualification', ARRAY['''e_req''', 'pg_temp.id(''qualification'')', '''e_oth''', '7', 'true']),
    ('grant_request', ARRAY['''e_req''', 'pg_temp.id(''request'')', '7']),
    ('performer_qualifications', ARRAY['''e_per''', '0', '10']),
    ('qualification_holders', ARRAY['''e_req''', 'pg_temp.id(''qualification'')', '''granted''', '0', '10']),
    ('qualification_requests', ARRAY['''e_req''', 'pg_temp.id(''qualification'')', '''pending''', '0', '10']),
    ('qualification_score', ARRAY['''e_req''', 'pg_temp.id(''qualification'')', '''e_per''']),
    ('reject_request', ARRAY['''e_req''', 'pg_temp.id(''request'')', '''no''']),
    ('request_qualification', ARRAY['''e_oth''', 'pg_temp.id(''qualification'')', '''{"a": 1}''']),
    ('resume_performer', ARRAY['''e_per''']),
    ('retry_failed_acts', ARRAY['NULL']),
    ('revoke_qualification', ARRAY['''e_req''', 'pg_temp.id(''qualification'')', '''e_per''', '''no''']),
    ('start_qualification_test', ARRAY['''e_oth''', 'pg_temp.id(''timed'')']),
    ('suspend_performer', ARRAY['''e_per''', '''careless''', '''2106-01-01''']),
    ('unblock_performer', ARRAY['''e_req''', '''e_per''']),
    ('update_qualification', ARRAY['''e_req''', 'pg_temp.id(''qualification'')', '''{"description": "new"}''']),
    ('check_ledger', '{}'), ('check_market', '{}'), ('run_due', '{}'),
    ('create_golden_task', ARRAY['''e_req''', 'pg_temp.id(''type'')', '''1''', '''1''', '1', '''1 day''', '''key''', '''note''', 'NULL']),
    ('create_golden_tasks', ARRAY['''e_req''', 'pg_temp.id(''type'')', 'ARRAY[''1''::jsonb]', 'ARRAY[''1''::jsonb]', '1', '''1 day''', '''key''', '''note''', 'NULL']),
    ('set_golden_rate', ARRAY['''e_req''', 'pg_temp.id(''type'')', '0.1']),
    ('create_payout', ARRAY['''e-payout''', '1', '''{e_per}''', '10']),
    ('create_task', ARRAY['''e_req''', 'pg_temp.id(''type'')', '''1''', '1', '''1 day''', '''mean''', '''key''', 'NULL', 'NULL', '''note''']),
    ('create_tasks', ARRAY['''e_req''', 'pg_temp.id(''type'')', 'ARRAY[''1''::jsonb]', '1', '''1 day''', '''mean''', '''key''', 'NULL', 'NULL', '''note''']),
    ('create_task_type', ARRAY['''e_req''', '''title''', '1', '''text''', '''{}''', '''1 hour''', '''1 hour''', '''[]''', 'NULL']),
    ('deposit', ARRAY['''e_req''', '1', '''more''']),
    ('drain_node', ARRAY['''local''']), ('drain_partition', ARRAY['''errors_1''', 'true']), ('move_partition', ARRAY['''errors_3''', '''errors_space''']),
    ('migrate_user', ARRAY['''e_req''', '''errors_3''', '''why''']), ('migrate_users', ARRAY['ARRAY[''e_req'']', '''errors_3''', '''why''']),
    ('cancel_migration', ARRAY['pg_temp.id(''migration'')']), ('undo_migration', ARRAY['pg_temp.id(''migration'')']),
    ('drop_budget', ARRAY['''e_req''', '''none''', 'NULL']), ('drop_fee', ARRAY['0']),
    ('replenish', ARRAY['''partition:errors_1''']), ('wait_for_task', ARRAY['''e_per''', '''0 s''', 'NULL']),
    ('add_factor', ARRAY['''e_factor''', '''pg_catalog.length(text)''', '''''']), ('drop_factor', ARRAY['''cpu''']), ('drop_fitness', ARRAY['''default''']),
    ('alter_node', ARRAY['''local''', '''{}''']), ('alter_partition', ARRAY['''errors_1''', '''{}''']),
    ('plan_rebalance', ARRAY['''default''', '10']), ('rebalance', ARRAY['''default''', '10']), ('score_partitions', ARRAY['''e_req''', '''default''']),
    ('set_fitness', ARRAY['''e_fitness''', '''{"cpu": 1}''']), ('schedule_rebalance', ARRAY['''0 3 * * *''', '''default''', '10']), ('unschedule_rebalance', ARRAY['''default''']),
    ('measure_load', '{}'), ('propose_moves', ARRAY['10']), ('push_tasks', ARRAY['''e_req''']),
    ('create_group', ARRAY['''e_group''', 'ARRAY[''e_per'']', 'NULL', 'ARRAY[''errors_1'']', '''shared''', '1', 'NULL', 'NULL', 'NULL']),
    ('update_group', ARRAY['''partition:errors_1''', '''{"weight": 2}''']), ('drop_group', ARRAY['''nothing''']), ('set_requester_weight', ARRAY['''e_req''', '2']),
    ('add_group_members', ARRAY['''nothing''', 'ARRAY[''e_per'']']), ('remove_group_members', ARRAY['''nothing''', 'ARRAY[''e_per'']']),
    ('drop_node', ARRAY['''nowhere''']), ('drop_partition', ARRAY['''nowhere''']),
    ('expire_task', ARRAY['''e_req''', 'pg_temp.id(''open'')']),
    ('extend_assignment', ARRAY['''e_per''', 'pg_temp.id(''accepted'')', '''1 hour''']),
    ('mark_messages', ARRAY['''e_per''', '''{}''']), ('messages', ARRAY['''e_per''', 'false', '1', '10']),
    ('create_policy', ARRAY['''e_req''', '''agreement''', '''{"thresholds": [{"less_than": 0, "action": {"do": "suspend"}}]}''', 'pg_temp.id(''type'')']),
    ('update_policy', ARRAY['''e_req''', 'pg_temp.id(''policy'')', '''{"thresholds": [{"less_than": 0, "action": {"do": "suspend"}}]}''']),
    ('pause_policy', ARRAY['''e_req''', 'pg_temp.id(''policy'')']), ('resume_policy', ARRAY['''e_req''', 'pg_temp.id(''policy'')']),
    ('delete_policy', ARRAY['''e_req''', 'pg_temp.id(''policy'')']), ('notify_performers', ARRAY['''e_req''', '''{e_nobody}''', '''x''', '''x''']),
    ('open_dispute', ARRAY['''e_per''', 'pg_temp.id(''other rejected'')', '''why''']),
    ('rate_requester', ARRAY['''e_per''', 'pg_temp.id(''submitted'')', '5', '''good''']),
    ('resolve_dispute', ARRAY['pg_temp.id(''dispute'')', 'false', '''no''']),
    ('withdraw_dispute', ARRAY['''e_per''', 'pg_temp.id(''dispute'')']),
    ('quote', ARRAY['''e_req''', 'pg_temp.id(''type'')', '1', '1']),
    ('read_events', ARRAY['''e_req''', '0', '10']),
    ('register_user', ARRAY['''e_new''', '''{}''', '''errors_1''']),
    ('reject_assignment', ARRAY['''e_req''', 'pg_temp.id(''submitted'')', '''bad''', 'false']),
    ('resume_node', ARRAY['''local''']), ('resume_partition', ARRAY['''errors_1''']),
    ('return_assignment', ARRAY['''e_per''', 'pg_temp.id(''accepted'')']),
    ('route', ARRAY['''e_req''']),
    ('send_bonus', ARRAY['''e_req''', 'pg_temp.id(''submitted'')', '1', '''good''', '''key''']),
    ('set_budget', ARRAY['''e_req''', '100', '''day''', 'pg_temp.id(''type'')']),
    ('set_fee', ARRAY['0.2', '0.01', '''e_req''', 'pg_temp.id(''type'')', '1', '''reward''', '''2100-01-01''']),
    ('settle_payout_item', ARRAY['''e-payout''', '''e_per''', '''paid''', '''bank''', '''error''']),
    ('statement', ARRAY['''e_req''', '''2000-01-01''', '10']),
    ('submit_assignment', ARRAY['''e_per''', 'pg_temp.id(''accepted'')', '''1''', 'pg_temp.id(''token'')']),
    ('submit_assignments', ARRAY['''e_per''', 'ARRAY[pg_temp.id(''accepted'')]', 'ARRAY[''1''::jsonb]']),
    ('subscribe', ARRAY['''e_req''', 'NULL', 'NULL']),
    ('task_answer', ARRAY['''e_req''', 'pg_temp.id(''counted'')']),
    ('task_answers', ARRAY['''e_req''', 'pg_temp.id(''type'')', '0', '10']),
    ('infer_performers', ARRAY['''SELECT 1 AS worker, 2 AS task, 3 AS label''', '''majority''', '''{}''']),
    ('infer_truth', ARRAY['''SELECT 1 AS worker, 2 AS task, 3 AS label''', '''majority''', '''{}''']),
    ('task_consensus', ARRAY['''e_req''', 'pg_temp.id(''open'')']),
    ('task_results', ARRAY['''e_req''', 'pg_temp.id(''open'')']),
    ('test_event', ARRAY['''e_req''']), ('unsubscribe', ARRAY['''e_req''']),
    ('update_user', ARRAY['''e_req''', '''{}''']),
    ('add_performers', ARRAY['''e_req''', 'pg_temp.id(''open'')', '1', '''more''']),
    ('annotate_task', ARRAY['''e_req''', 'pg_temp.id(''open'')', '''note''']),
    ('attach', ARRAY['''e_req''', '''file''', '''https://x.example''', 'pg_temp.id(''open'')', 'NULL', '''text/plain''', '1', 'sha256(''x'')']),
    ('attachment_url', ARRAY['''e_req''', 'pg_temp.id(''submitted'')', '''file''']),
    ('attachments', ARRAY['''e_req''', 'pg_temp.id(''open'')', 'NULL']),
    ('create_task_from_template', ARRAY['''e_req''', '''none''', 'pg_temp.id(''type'')', '''{}''', '1', '''1 day''', '''mean''', '''key''', 'NULL', 'NULL', '''note''', 'NULL']),
    ('create_tasks_from_template', ARRAY['''e_req''', '''none''', 'pg_temp.id(''type'')', 'ARRAY[''{}''::jsonb]', '1', '''1 day''', '''mean''', '''key''', 'NULL', 'NULL', '''note''', 'NULL']),
    ('create_template', ARRAY['''e_req''', '''new''', '''"${a}"''', '''{"a": {}}''', '''text''']),
    ('detach', ARRAY['''e_req''', '''none''', 'pg_temp.id(''open'')', 'NULL']),
    ('drop_template', ARRAY['''e_req''', '''none''']),
    ('render_template', ARRAY['''e_req''', '''none''', '''{}''', 'NULL']),
    ('cancel_task', ARRAY['''e_req''', 'pg_temp.id(''open'')']),
    ('cancel_tasks', ARRAY['''e_req''', 'NULL', 'ARRAY[pg_temp.id(''open'')]']),
    ('change_task_type', ARRAY['''e_req''', 'pg_temp.id(''open'')', 'pg_temp.id(''type'')']),
    ('dispose_task', ARRAY['''e_req''', 'pg_temp.id(''closed'')']),
    ('dispose_tasks', ARRAY['''e_req''', '''1 hour''', '0', '10']),
    ('prune', ARRAY['''policy_action''', '''1 year''', '10']),
    ('get_assignment', ARRAY['''e_per''', 'pg_temp.id(''accepted'')']),
    ('get_task', ARRAY['''e_req''', 'pg_temp.id(''open'')']),
    ('list_assignments', ARRAY['''e_req''', 'pg_temp.id(''submitted task'')', '''submitted''', '0', '10']),
    ('list_tasks', ARRAY['''e_req''', '''available''', 'pg_temp.id(''type'')', '9000000000000000000', '10']),
    ('reviewable_results', ARRAY['''e_req''', 'pg_temp.id(''type'')', '0', '10']),
    ('reviewable_tasks', ARRAY['''e_req''', 'pg_temp.id(''type'')', '''reviewable''', '0', '10']),
    ('set_expiry', ARRAY['''e_req''', 'pg_temp.id(''open'')', '''2105-01-20''']),
    ('set_review_status', ARRAY['''e_req''', 'pg_temp.id(''approved task'')', '''reviewing''']),
    ('validate_result', ARRAY['pg_temp.id(''type'')', '''1''']),
    ('alter_environment', ARRAY['''e_env''', '''{"max_executors": 1}''']),
    ('acknowledge_run', ARRAY['pg_temp.id(''waiting run'')']),
    ('cancel_run', ARRAY['pg_temp.id(''waiting run'')']),
    ('check_workload', '{}'),
    ('drain_executors', ARRAY['''0''']),
    ('complete_run', ARRAY['pg_temp.id(''running'')', 'pg_temp.id(''run token'')', 'NULL']),
    ('complete_runs', ARRAY['ARRAY[pg_temp.id(''running'')]', 'ARRAY[pg_temp.id(''run token'')]', 'NULL']),
    ('create_environment', ARRAY['''e_new''', '''external''', '''1''', '''{}''']),
    ('data_checksum', ARRAY['''{"query": "SELECT 1"}''']),
    ('deprecate_program', ARRAY['''e_req''', '''kept''', 'NULL']),
    ('fail_run', ARRAY['pg_temp.id(''running'')', 'pg_temp.id(''run token'')', '''{}''', 'true']),
    ('heartbeat_run', ARRAY['pg_temp.id(''running'')', 'pg_temp.id(''run token'')', '''1 minute''', 'NULL', 'NULL']),
    ('limit_customer', ARRAY['''e_req''', 'NULL', 'NULL', '''1 minute''']),
    ('limit_key', ARRAY['''e_req''', '''key''', '2']),
    ('pause_environment', ARRAY['''e_env''']), ('pause_runs', ARRAY['''e_req''']),
    ('publish_chain', ARRAY['''e_code''', '''new''', '''{piece,piece}''', '0', 'false']),
    ('publish_program', ARRAY['''e_req''', '''new''', '''e_env''', '''x''', '0', 'false']),
    ('schedule_run', ARRAY['''e_req''', '''new''', '''0 3 * * *''', 'NULL', 'NULL', '0', '''{"environment": "e_env"}''']),
    ('search_programs', ARRAY['NULL', 'NULL', 'NULL', '10']), ('unretire_environment', ARRAY['''e_env''']), ('undeprecate_program', ARRAY['''e_req''', '''kept''', 'NULL']), ('unschedule_run', ARRAY['''e_req''', '''none''']),
    ('pull_runs', ARRAY['''w''', '''e_env''', '1', '''1 minute''', '''0''']),
    ('redrive_runs', ARRAY['''e_req''', 'NULL', '1', '10']),
    ('release_run', ARRAY['pg_temp.id(''running'')', 'pg_temp.id(''run token'')']),
    ('remove_runs', ARRAY['''1 day''', '10']),
    ('resume_environment', ARRAY['''e_env''']), ('resume_runs', ARRAY['''e_req''']), ('retire_environment', ARRAY['''e_env''']),
    ('retry_run', ARRAY['pg_temp.id(''dead run'')', '1']),
    ('resume_executors', '{}'),
    ('run_due_runs', '{}'),
    ('run_result', ARRAY['pg_temp.id(''succeeded run'')']),
    ('run_status', ARRAY['pg_temp.id(''running'')']),
    ('submit_run', ARRAY['''e_req''', 'NULL', 'NULL', '0', 'NULL', '''{"environment": "e_env"}''']),
    ('submit_runs', ARRAY['''e_req''', 'NULL', 'ARRAY[''1''::jsonb]', '0', 'NULL', '''{"environment": "e_env"}''']),
    ('wait_for_run', ARRAY['pg_temp.id(''succeeded run'')', '''0''']),
    ('withdraw', ARRAY['''e_req''', '1', '''back''']);
-- billing
INSERT INTO good_call VALUES
    ('check_billing', '{}'), ('sample_usage', '{}'), ('unschedule_billing', '{}'),
    ('close_invoices', ARRAY['''2105-01-01''', '2']),
    ('correct_usage', ARRAY['pg_temp.usage()', '5', '''why''']),
    ('credit_invoice', ARRAY['0', '1', '''why''', 'NULL']),
    ('draft_invoice', ARRAY['''e_req''', '''2106-01-01''', '2']),
    ('drop_run_budget', ARRAY['''e_req''', '''none''', 'NULL']),
    ('estimate_cost', ARRAY['''e_req''', '''kept''', '0', 'NULL', '1']),
    ('explain_charge', ARRAY['pg_temp.usage()']),
    ('remove_usage', ARRAY['''1 day''', '10']),
    ('schedule_billing', ARRAY['''5 0 1 * *''', '''0 * * * *''', '''1 year''', '2']),
    ('set_billing_tier', ARRAY['''e_req''', '''gold''']),
    ('set_credit_limit', ARRAY['''e_req''', '10']),
    ('set_program_price', ARRAY['''e_req''', '''kept''', '1', '''use''']),
    ('set_rate', ARRAY['''run_time''', '1', '''{}''']),
    ('set_run_budget', ARRAY['''e_req''', '10', '''none''', 'NULL', '0.8']),
    ('usage_statement', ARRAY['''e_req''', '''2105-01-01''', '''2106-01-01''', '''day''']);
CREATE FUNCTION pg_temp.usage() RETURNS text LANGUAGE sql STABLE AS
    $$ SELECT usage_id FROM taskex.usage WHERE run_id = pg_temp.id('succeeded run') ORDER BY 1 LIMIT 1 $$;
-- (billing)
-- steering
INSERT INTO good_call VALUES
    ('checkpoint', ARRAY['''1''', 'NULL']),
    ('drop_alert', ARRAY['''kept''']),
    ('locate', ARRAY['''e_req''', 'NULL']),
    ('measure_inputs', ARRAY['''e_req''', '''kept''', 'ARRAY[''1'', ''2'']::jsonb[]']),
    ('measure_program', ARRAY['''e_req''', '''kept''', '''SELECT g FROM generate_series(1, 3) g''', '2']),
    ('progress', ARRAY['''1''']),
    ('recommend_parts', ARRAY['''e_req''', '''kept''', '10', 'NULL', '10']),
    ('resume_program', ARRAY['''e_req''', '''kept''']),
    ('resume_run', ARRAY['pg_temp.id(''running'')']),
    ('run_state', '{}'),
    ('set_alert', ARRAY['''new''', '''running''', '5', 'NULL', 'NULL', 'NULL']),
    ('set_parts', ARRAY['''e_req''', 'pg_temp.id(''split'')', '3']),
    ('set_throttle_policy', ARRAY['''e_env''', 'NULL', '''yield''', '''1 minute''']),
    ('should_yield', ARRAY['pg_temp.id(''running'')', 'pg_temp.id(''run token'')']),
    ('submit_parts', ARRAY['''e_req''', '''kept''', 'ARRAY[''1'', ''2'']::jsonb[]', '2', 'NULL', '''{}''']),
    ('submit_split', ARRAY['''e_req''', '''kept''', '''SELECT 1''', '1', 'NULL', '''{}''']),
    ('suspend_customer', ARRAY['''e_req''', '''1 minute''']),
    ('suspend_program', ARRAY['''e_req''', '''kept''', '''1 minute''']),
    ('suspend_run', ARRAY['pg_temp.id(''running'')', '''1 minute''']),
    ('throttle', ARRAY['''environment''', '''e_env''', '''{"nice": 5}''', 'NULL']),
    ('unthrottle', ARRAY['''environment''', '''e_env''']),
    ('yield_run', ARRAY['pg_temp.id(''running'')', 'pg_temp.id(''run token'')', 'NULL', 'NULL']);
-- (steering)
-- (all functions are here)
SELECT p.oid::regprocedure FROM pg_proc p LEFT JOIN good_call g ON g.name = p.proname
    WHERE p.pronamespace = 'taskex'::regnamespace AND cardinality(g.args) IS DISTINCT FROM p.pronargs;
SELECT name, pg_temp.try(format('SELECT * FROM taskex.%I(%s)', name, array_to_string(args, ', '))) AS with_good_arguments
    FROM good_call ORDER BY name COLLATE "C";
SELECT g.name, p.proargnames[i] AS null_argument, pg_temp.try(format('SELECT * FROM taskex.%I(%s)', g.name,
        (SELECT string_agg(CASE WHEN n = i THEN 'NULL' ELSE a END, ', ' ORDER BY n) FROM unnest(args) WITH ORDINALITY u (a, n)))) AS says
    FROM good_call g JOIN pg_proc p ON p.proname = g.name AND p.pronamespace = 'taskex'::regnamespace,
        generate_series(1, cardinality(args)) i
    WHERE args[i] <> 'NULL' ORDER BY g.name COLLATE "C", i;
SELECT pg_temp.state() = :'before' AS nothing_changed;

-- unknown users, in each function that names one
SELECT g.name, p.proargnames[1] AS who, pg_temp.try(format('SELECT * FROM taskex.%I(''e_nobody''%s)', g.name,
        (SELECT string_agg(', ' || a, '' ORDER BY n) FROM unnest(args) WITH ORDINALITY u (a, n) WHERE n > 1))) AS says
    FROM good_call g JOIN pg_proc p ON p.proname = g.name AND p.pronamespace = 'taskex'::regnamespace
    WHERE p.proargnames[1] IN ('requester', 'performer', 'login', 'customer') AND g.name <> 'register_user' ORDER BY 1;
-- the ledger's own accounts are no users
SELECT g.name, who, pg_temp.try(format('SELECT * FROM taskex.%I(%L%s)', g.name, who,
        (SELECT string_agg(', ' || a, '' ORDER BY n) FROM unnest(args) WITH ORDINALITY u (a, n) WHERE n > 1))) AS says
    FROM good_call g JOIN pg_proc p ON p.proname = g.name AND p.pronamespace = 'taskex'::regnamespace, unnest(ARRAY['exchange', 'outside']) who
    WHERE p.proargnames[1] IN ('requester', 'performer', 'login', 'customer') AND NOT (g.name = 'withdraw' AND who = 'exchange') ORDER BY 1, 2;

-- something that does not exist for each argument: what is not refused (free texts and ends of pages are left out)
SELECT * FROM (SELECT g.name, p.proargnames[i] AS argument, pg_temp.try(format('SELECT * FROM taskex.%I(%s)', g.name,
        (SELECT string_agg(CASE WHEN n = i THEN CASE p.proargtypes[i - 1] WHEN 'text'::regtype THEN '''no such''' WHEN 'bigint'::regtype THEN '900000000'
            WHEN 'text[]'::regtype THEN 'ARRAY[''no such'']' ELSE 'ARRAY[900000000]' END ELSE a END, ', ' ORDER BY n) FROM unnest(args) WITH ORDINALITY u (a, n)))) AS says
    FROM good_call g JOIN pg_proc p ON p.proname = g.name AND p.pronamespace = 'taskex'::regnamespace,
        generate_series(1, cardinality(args)) i
    WHERE p.proargtypes[i - 1] IN ('text'::regtype, 'bigint'::regtype, 'text[]'::regtype, 'bigint[]'::regtype)
        AND p.proargnames[i] NOT IN ('after', 'annotation', 'answer', 'before', 'comment', 'conninfo', 'description', 'feedback', 'idempotency_key', 'keywords', 'location',
            'message', 'query', 'reason', 'reference', 'resolution', 'source', 'storage_class', 'subject', 'tier', 'title')
        AND (g.name || ' ' || p.proargnames[i]) !~ '^((add|create|publish|save)_\w+|set_alert|set_fitness) name$|^register_user login$') s
    WHERE says = 'accepted' ORDER BY name COLLATE "C", argument;

-- values
CREATE TEMP TABLE bad_call (number int GENERATED ALWAYS AS IDENTITY, call text);
INSERT INTO bad_call (call) VALUES
    -- events
    ('subscribe(''e_req'', ''{}'')'), ('subscribe(''e_req'', ''{created, nothing}'')'), ('subscribe(''e_req'', ''{created, NULL}'')'),
    ('subscribe(''e_req'', ''{{created}, {test}}'')'), ('subscribe(''e_req'', NULL, '''')'), ('subscribe(''e_req'', NULL, ''Upper'')'),
    ('subscribe(''e_req'', NULL, ''1st'')'), ('subscribe(''e_req'', NULL, ''a b'')'), ('subscribe(''e_req'', NULL, ''a'' || chr(10))'),
    ('subscribe(''e_req'', NULL, repeat(''x'', 64))'), ('subscribe(''e_req'', NULL, repeat(''x'', 63))'),
    ('read_events(''e_req'', -1)'), ('read_events(''e_req'', 9223372036854775807)'), ('read_events(''e_req'', 0, 0)'), ('read_events(''e_req'', 0, -1)'),
    ('read_events(''e_req'', 0, 10001)'), ('read_events(''e_per'')'), ('unsubscribe(''e_per'')'), ('test_event(''e_per'')'),
    -- times that there are not, arrays of arrays
    ('dispose_tasks(''e_req'', ''178000000 years'')'), ('dispose_tasks(''e_req'', ''-178000000 years'')'), ('prune(''policy_action'', ''2147483647 days'')'),
    ('remove_runs(''2147483647 days'')'), ('remove_usage(''178000000 years'')'), ('limit_customer(''e_req'', rate => 1, per => ''178000000 years'')'),
    ('notify_performers(''e_req'', ''{{e_per,e_oth}}'', ''x'', ''x'')'), ('create_payout(''2d'', logins => ''{{e_per,e_oth}}'')'), ('create_group(''2d'', ''{{e_per,e_oth}}'')'),
    ('acceptance_probability(''partition:errors_1'', ARRAY[pg_temp.id(''type'')], ''{{1}}'', ''1 hour'')'), ('wait_for_task(''e_per'', ''0'', 0)'),
    -- amounts
    ('create_task_type(''e_req'', ''t'', -1)'), ('create_task_type(''e_req'', ''t'', ''NaN'')'),
    ('create_task_type(''e_req'', ''t'', ''Infinity'')'), ('create_task_type(''e_req'', ''t'', ''-Infinity'')'),
    ('create_task_type(''e_req'', ''t'', 0.0000000001)'), ('create_task_type(''e_req'', ''t'', 9000000000)'),
    ('create_task_type(''e_req'', ''t'', 1e300)'), ('create_task_type(''e_req'', ''t'', 8999999999.999999999)'),
    ('create_task_type(''e_req'', ''t'', 1.0000000000000000000)'),
    ('create_task(''e_req'', taskex.create_task_type(''e_req'', ''t'', 8000000000), ''1'')'),
    ('create_task(''e_req'', taskex.create_task_type(''e_req'', ''t'', 7600000000), ''1'')'),
    ('create_task(''e_req'', taskex.create_task_type(''e_req'', ''t'', 8999999999), ''1'', 100000)'),
    ('create_task(''e_req'', taskex.create_task_type(''e_req'', ''t'', 1000000), ''1'', 10000)'),
    ('migrate_user(''e_req'', ''errors_1'')'), ('migrate_user(''e_req'', ''nowhere'')'), ('migrate_user(''e_oth'', ''errors_3'')'), ('migrate_user(''e_req'', ''errors_3'', '''')'),
    ('migrate_user(''e_req'', ''errors_3'', repeat(''x'', 256))'), ('migrate_users(''{}'', ''errors_3'')'), ('migrate_users(ARRAY[''e_req'', NULL], ''errors_3'')'),
    ('migrate_users(ARRAY[''e_req'', ''e_req''], ''errors_3'')'), ('migrate_users(ARRAY[''e_req'', ''e_nobody''], ''errors_3'')'), ('migrate_users(ARRAY[[''e_req''], [''e_per'']], ''errors_3'')'),
    ('cancel_migration(0)'), ('undo_migration(-1)'), ('move_partition(''errors_1'', ''nowhere'')'), ('move_partition(''errors_1'', NULL)'), ('move_partition(''nowhere'', NULL)'),
    ('create_task(''e_req'', pg_temp.id(''type''), ''1'', 100)'),
    ('create_tasks(''e_req'', pg_temp.id(''type''), array_fill(''1''::jsonb, ARRAY[100]))'),
    ('deposit(''e_req'', -1, ''x'')'), ('deposit(''e_req'', 0, ''x'')'), ('deposit(''e_req'', ''NaN'', ''x'')'),
    ('deposit(''e_req'', 1e-10, ''x'')'), ('deposit(''e_req'', 1, '''')'), ('deposit(''e_req'', 2, ''start'')'),
    ('withdraw(''e_req'', -1)'), ('withdraw(''e_req'', 0)'), ('withdraw(''e_req'', 1000)'), ('withdraw(''e_req'', ''Infinity'')'),
    -- titles, texts, arrays
    ('create_task_type(''e_req'', '''', 1)'), ('create_task_type(''e_req'', repeat(''t'', 257), 1)'),
    ('create_task_type(''e_req'', repeat(U&''\00e9'', 256), 1)'),
    ('create_task_type(''e_req'', ''t'', 1, keywords => ''{a,NULL}'')'), ('create_task_type(''e_req'', ''t'', 1, keywords => ''{{a},{b}}'')'),
    ('create_task_type(''e_req'', ''t'', 1, qualifications => ''{}'')'), ('create_task_type(''e_req'', ''t'', 1, qualifications => ''1'')'),
    ('create_task_type(''e_req'', ''t'', 1, qualifications => ''["masters"]'')'),
    ('create_task_type(''e_req'', ''t'', 1, repeat(U&''\00e9'', 10000))'),
    ('create_task_type(''e_req'', ''t'', 1, '''', array_fill(repeat(U&''\00e9'', 100), ARRAY[100]))'),
    ('create_task_type(''e_req'', ''t'', 1, repeat(''d'', 10001))'), ('create_task_type(''e_req'', ''t'', 1, repeat(''d'', 10 * 1024 * 1024))'),
    ('create_task_type(''e_req'', ''t'', 1, keywords => array_fill(''k''::text, ARRAY[101]))'),
    ('create_task_type(''e_req'', ''t'', 1, keywords => ARRAY[''k'', repeat(''k'', 101)])'),
    ('register_user(''e_new'', jsonb_build_object(''x'', repeat(''x'', 10 * 1024 * 1024)), ''errors_1'')'),
    ('update_user(''e_req'', jsonb_build_object(''x'', repeat(''x'', 10 * 1024 * 1024)))'),
    -- intervals
    ('create_task_type(''e_req'', ''t'', 1, lease => ''0'')'), ('create_task_type(''e_req'', ''t'', 1, lease => ''-1 s'')'),
    ('create_task_type(''e_req'', ''t'', 1, lease => ''0.9 ms'')'), ('create_task_type(''e_req'', ''t'', 1, lease => ''1 ms'')'),
    ('create_task_type(''e_req'', ''t'', 1, lease => ''366 days'')'), ('create_task_type(''e_req'', ''t'', 1, lease => ''367 days'')'),
    ('create_task_type(''e_req'', ''t'', 1, lease => ''100000000 years'')'), ('create_task_type(''e_req'', ''t'', 1, auto_approve => ''-1 s'')'),
    ('create_task_type(''e_req'', ''t'', 1, auto_approve => ''0'')'), ('create_task_type(''e_req'', ''t'', 1, auto_approve => ''2 years'')'),
    ('create_task(''e_req'', pg_temp.id(''type''), ''1'', expires_in => ''0'')'), ('create_task(''e_req'', pg_temp.id(''type''), ''1'', expires_in => ''-1 day'')'),
    ('create_task(''e_req'', pg_temp.id(''type''), ''1'', expires_in => ''11 years'')'),
    -- (the calendar makes these negative: a year is longer than 360 days)
    ('create_task(''e_req'', pg_temp.id(''type''), ''1'', expires_in => ''-12 months 361 days'')'),
    ('extend_assignment(''e_per'', pg_temp.id(''accepted''), ''-12 months 361 days'')'),
    ('extend_assignment(''e_per'', pg_temp.id(''accepted''), ''1 day -23:30'')'),
    ('extend_assignment(''e_per'', pg_temp.id(''accepted''), ''367 days'')'),
    -- numbers
    ('create_task(''e_req'', pg_temp.id(''type''), ''1'', 0)'), ('create_task(''e_req'', pg_temp.id(''type''), ''1'', -1)'),
    ('create_task(''e_req'', pg_temp.id(''type''), ''1'', 100001)'), ('create_task(''e_req'', pg_temp.id(''type''), ''1'', 2147483647)'),
    ('accept_next(''e_oth'', pg_temp.id(''type''), 0)'), ('accept_next(''e_oth'', pg_temp.id(''type''), -1)'),
    ('accept_next(''e_oth'', pg_temp.id(''type''), 1001)'), ('statement(''e_req'', NULL, 0)'), ('statement(''e_req'', NULL, -5)'),
    -- searches
    ('recommend_tasks(''e_oth'', 0)'), ('recommend_tasks(''e_oth'', 101)'), ('recommend_tasks(''e_nobody'')'), ('send_recommendations(''-1 day'')'), ('send_recommendations(''1 day'', 0)'),
    ('propose_moves(0)'), ('propose_moves(1001)'), ('search_tasks(''e_oth'', max_rows => 0)'), ('search_tasks(''e_oth'', max_rows => 1001)'), ('search_tasks(''e_oth'', skip => -1)'), ('search_tasks(''e_oth'', skip => 1001)'),
    ('search_tasks(''e_oth'', sort => ''best'')'), ('search_tasks(''e_oth'', sort => ''relevance'')'), ('search_tasks(''e_oth'', ''"'', sort => ''relevance'')'),
    ('search_tasks(''e_oth'', ''& | ! ( " '''' \ <-> :*'')'), ('search_tasks(''e_oth'', repeat(''w'', 1001))'), ('search_tasks(''e_oth'', from_requester => ''e_nobody'')'),
    ('search_tasks(''e_oth'', min_reward => ''NaN'')'), ('search_tasks(''e_oth'', min_reward => ''-Infinity'', max_reward => ''Infinity'')'), ('search_tasks(''e_oth'', task_types => ''{NULL,-1}'')'),
    ('search_tasks(''e_oth'', task_types => ''{}'')'), ('save_search(''e_per'', '''')'), ('save_search(''e_per'', repeat(''n'', 101))'), ('save_search(''e_per'', ''n'', repeat(''w'', 1001))'),
    ('save_search(''e_per'', ''n'', filters => ''[]'')'), ('save_search(''e_per'', ''n'', filters => ''{"colour": 1}'')'), ('save_search(''e_per'', ''n'', filters => ''{"min_reward": "1"}'')'),
    ('save_search(''e_per'', ''n'', filters => ''{"task_types": [1, "2"]}'')'), ('save_search(''e_per'', ''n'', filters => ''{"task_types": [1.5]}'')'), ('save_search(''e_per'', ''n'', filters => ''{"task_types": [1e30]}'')'),
    ('save_search(''e_per'', ''n'', filters => ''{"sort": "best"}'')'), ('save_search(''e_per'', ''n'', filters => ''{"sort": "relevance"}'')'), ('save_search(''e_per'', ''n'', filters => ''{"from_requester": "e_nobody"}'')'),
    ('run_search(''e_per'', ''kept'', 0)'), ('run_search(''e_per'', ''none'')'), ('drop_search(''e_per'', ''none'')'), ('drop_search(''e_oth'', ''kept'')'),
    ('history(''e_per'', NULL, 0)'), ('history(''e_per'', NULL, 1001)'), ('preview_task(''e_oth'', 0)'), ('preview_task(''e_oth'', -9223372036854775808)'), ('preview_task(''e_oth'', pg_temp.id(''closed''))'),
    -- forecasts
    ('set_preferences(''e_per'', ''[]'')'), ('set_preferences(''e_per'', ''null'')'), ('set_preferences(''e_per'', ''{"colour": 1}'')'), ('set_preferences(''e_per'', ''{"types": 1}'')'),
    ('set_preferences(''e_per'', ''{"types": ["1"]}'')'), ('set_preferences(''e_per'', ''{"types": [1.5]}'')'), ('set_preferences(''e_per'', ''{"types": [1e30]}'')'), ('set_preferences(''e_per'', ''{"types": []}'')'),
    ('set_preferences(''e_per'', ''{"types": [999999999]}'')'), ('set_preferences(''e_per'', ''{"types": [-1]}'')'), ('set_preferences(''e_per'', ''{"hours": []}'')'), ('set_preferences(''e_per'', ''{"hours": [24]}'')'),
    ('set_preferences(''e_per'', ''{"hours": [8.5]}'')'), ('set_preferences(''e_per'', ''{"hours": 8}'')'), ('set_preferences(''e_per'', ''{"time_zone": "Mars"}'')'), ('set_preferences(''e_per'', ''{"time_zone": 1}'')'),
    ('set_preferences(''e_per'', ''{"pace": 0}'')'), ('set_preferences(''e_per'', ''{"pace": "fast"}'')'), ('set_preferences(''e_per'', ''{"pace": 1e9}'')'), ('set_preferences(''e_per'', ''{"maximum": 0}'')'), ('set_preferences(''e_per'', ''{"maximum": null}'')'),
    ('declare_intention(''e_per'', ''{}'', 1, ''[2105-01-02, 2105-01-03)'')'), ('declare_intention(''e_per'', ARRAY[pg_temp.id(''type''), NULL], 1, ''[2105-01-02, 2105-01-03)'')'),
    ('declare_intention(''e_per'', ARRAY[[pg_temp.id(''type'')]], 1, ''[2105-01-02, 2105-01-03)'')'), ('declare_intention(''e_per'', ''{0}'', 1, ''[2105-01-02, 2105-01-03)'')'),
    ('declare_intention(''e_per'', array_fill(pg_temp.id(''type''), ARRAY[101]), 1, ''[2105-01-02, 2105-01-03)'')'),
    ('declare_intention(''e_per'', ARRAY[pg_temp.id(''type'')], 0, ''[2105-01-02, 2105-01-03)'')'), ('declare_intention(''e_per'', ARRAY[pg_temp.id(''type'')], 1000001, ''[2105-01-02, 2105-01-03)'')'),
    ('declare_intention(''e_per'', ARRAY[pg_temp.id(''type'')], 1, ''empty'')'), ('declare_intention(''e_per'', ARRAY[pg_temp.id(''type'')], 1, ''[2105-01-02,)'')'),
    ('declare_intention(''e_per'', ARRAY[pg_temp.id(''type'')], 1, ''[-infinity, 2105-01-02)'')'), ('declare_intention(''e_per'', ARRAY[pg_temp.id(''type'')], 1, ''[2104-01-01, 2104-01-02)'')'),
    ('declare_intention(''e_per'', ARRAY[pg_temp.id(''type'')], 1, ''[2105-01-02, 2105-03-02)'')'), ('declare_intention(''e_per'', ARRAY[pg_temp.id(''type'')], 1, ''[2107-01-01, 2107-01-02)'')'),
    ('cancel_intention(''e_per'', 0)'),
    ('forecast_accepts(''nothing'')'), ('forecast_accepts(''partition:errors_1'', 0)'), ('forecast_accepts(''partition:errors_1'', horizon => ''0'')'), ('forecast_accepts(''partition:errors_1'', horizon => ''31 days'')'),
    ('forecast_accepts(''partition:errors_1'', horizon => ''-1 hour'')'),
    ('acceptance_probability(''nothing'', ARRAY[pg_temp.id(''type'')], ''{1}'', ''1 hour'')'), ('acceptance_probability(''partition:errors_1'', ''{}'', ''{}'', ''1 hour'')'),
    ('acceptance_probability(''partition:errors_1'', ARRAY[pg_temp.id(''type'')], ''{1,2}'', ''1 hour'')'), ('acceptance_probability(''partition:errors_1'', ARRAY[pg_temp.id(''type'')], ''{NULL}'', ''1 hour'')'),
    ('acceptance_probability(''partition:errors_1'', ARRAY[pg_temp.id(''type'')], ''{-1}'', ''1 hour'')'), ('acceptance_probability(''partition:errors_1'', ARRAY[pg_temp.id(''type'')], ''{1000001}'', ''1 hour'')'),
    ('acceptance_probability(''partition:errors_1'', ''{0}'', ''{1}'', ''1 hour'')'), ('acceptance_probability(''partition:errors_1'', ARRAY[pg_temp.id(''type'')], ''{1}'', ''1 year'')'),
    -- JSON, keys, consensus
    ('create_task(''e_req'', pg_temp.id(''type''), ''null'')'), ('create_task(''e_req'', pg_temp.id(''type''), ''[]'')'),
    ('create_tasks(''e_req'', pg_temp.id(''type''), ARRAY[''1'', NULL]::jsonb[])'), ('create_tasks(''e_req'', pg_temp.id(''type''), ARRAY[[''1'', ''2'']]::jsonb[])'),
    ('create_tasks(''e_req'', pg_temp.id(''type''), array_fill(''1''::jsonb, ARRAY[100001]))'),
    ('create_task(''e_req'', pg_temp.id(''type''), ''1'', consensus => ''vote'')'), ('create_task(''e_req'', pg_temp.id(''type''), ''1'', consensus => '''')'),
    ('create_task(''e_req'', pg_temp.id(''type''), ''1'', idempotency_key => '''')'), ('create_task(''e_req'', pg_temp.id(''type''), ''1'', idempotency_key => repeat(''k'', 256))'),
    ('create_task(''e_req'', pg_temp.id(''type''), ''1'', idempotency_key => ''used'')'),
    ('create_task(''e_req'', pg_temp.id(''type''), to_jsonb(repeat(''x'', 10 * 1024 * 1024)))'),
    ('create_tasks(''e_req'', pg_temp.id(''type''), ARRAY[''1'', to_jsonb(repeat(''x'', 10 * 1024 * 1024))])'),
    ('submit_assignment(''e_per'', pg_temp.id(''accepted''), to_jsonb(repeat(''x'', 10 * 1024 * 1024)))'),
    ('submit_assignments(''e_per'', ARRAY[pg_temp.id(''accepted'')], ARRAY[to_jsonb(repeat(''x'', 10 * 1024 * 1024))])'),
    ('submit_assignments(''e_per'', ARRAY[pg_temp.id(''accepted'')], ''{}'')'),
    ('submit_assignments(''e_per'', array_fill(1::bigint, ARRAY[10001]), array_fill(''1''::jsonb, ARRAY[10001]))'),
    ('reject_assignment(''e_req'', pg_temp.id(''submitted''), '''')'), ('reject_assignment(''e_req'', pg_temp.id(''submitted''), repeat(''r'', 10001))'),
    ('approve_assignment(''e_req'', pg_temp.id(''submitted''), repeat(''f'', 10001))'),
    -- unknown things
    ('create_task(''e_req'', 0, ''1'')'), ('create_task(''e_req'', -1, ''1'')'), ('create_tasks(''e_req'', 9223372036854775807, ARRAY[''1'']::jsonb[])'),
    ('accept_next(''e_oth'', 0)'), ('accept_next(''e_oth'', -7)'), ('accept_task(''e_oth'', 0)'), ('accept_task(''e_oth'', 9223372036854775807)'),
    ('accept_task(''e_oth'', -9223372036854775808)'), ('expire_task(''e_req'', 0)'), ('task_results(''e_req'', 0)'), ('task_consensus(''e_req'', 0)'),
    ('submit_assignment(''e_per'', 0, ''1'')'), ('return_assignment(''e_per'', -1)'), ('extend_assignment(''e_per'', 9223372036854775807, ''1 s'')'),
    ('approve_assignment(''e_req'', 0)'), ('reject_assignment(''e_req'', -1, ''no'')'),
    -- not one's own
    ('accept_task(''e_req'', pg_temp.id(''open''))'), ('expire_task(''e_oth'', pg_temp.id(''open''))'), ('task_results(''e_oth'', pg_temp.id(''submitted task''))'),
    ('task_consensus(''e_oth'', pg_temp.id(''open''))'), ('submit_assignment(''e_oth'', pg_temp.id(''accepted''), ''1'')'),
    ('submit_assignments(''e_oth'', ARRAY[pg_temp.id(''accepted'')], ARRAY[''1'']::jsonb[])'), ('return_assignment(''e_oth'', pg_temp.id(''accepted''))'),
    ('extend_assignment(''e_oth'', pg_temp.id(''accepted''), ''1 s'')'), ('approve_assignment(''e_oth'', pg_temp.id(''submitted''))'),
    ('approve_assignment(''e_per'', pg_temp.id(''submitted''))'), ('reject_assignment(''e_oth'', pg_temp.id(''submitted''), ''no'')'),
    -- wrong state, for each function
    ('accept_task(''e_oth'', pg_temp.id(''closed''))'), ('accept_task(''e_oth'', pg_temp.id(''accepted task''))'), ('accept_task(''e_per'', pg_temp.id(''returned task''))'),
    ('accept_task(''e_per'', pg_temp.id(''abandoned task''))'), ('expire_task(''e_req'', pg_temp.id(''closed''))'), ('expire_task(''e_req'', pg_temp.id(''approved task''))'),
    ('submit_assignment(''e_per'', pg_temp.id(''accepted''), ''1'', 0)'), ('submit_assignment(''e_per'', pg_temp.id(''accepted''), ''1'', -1)'),
    ('task_consensus(''e_req'', pg_temp.id(''open''))');
INSERT INTO bad_call (call)
    SELECT format(f, s) FROM unnest(ARRAY['submit_assignment(''e_per'', pg_temp.id(%L), ''1'')', 'return_assignment(''e_per'', pg_temp.id(%L))',
            'extend_assignment(''e_per'', pg_temp.id(%L), ''1 s'')']) WITH ORDINALITY u (f, i),
        unnest(ARRAY['submitted', 'approved', 'rejected', 'returned', 'abandoned']) WITH ORDINALITY v (s, j) ORDER BY i, j;
INSERT INTO bad_call (call)
    SELECT format(f, s) FROM unnest(ARRAY['approve_assignment(''e_req'', pg_temp.id(%L))', 'reject_assignment(''e_req'', pg_temp.id(%L), ''no'', true)']) WITH ORDINALITY u (f, i),
        unnest(ARRAY['accepted', 'approved', 'rejected', 'returned', 'abandoned']) WITH ORDINALITY v (s, j) ORDER BY i, j;
SELECT call, pg_temp.try('SELECT * FROM taskex.' || call) AS says FROM bad_call ORDER BY number;
-- past the end of the lease
SET taskex.clock = '2105-01-01 03:00:00+00';
SELECT call, pg_temp.try('SELECT * FROM taskex.' || call) AS says FROM (VALUES ('submit_assignment(''e_per'', pg_temp.id(''accepted''), ''1'')'),
    ('submit_assignments(''e_per'', ARRAY[pg_temp.id(''accepted'')], ARRAY[''1'']::jsonb[])'),
    ('extend_assignment(''e_per'', pg_temp.id(''accepted''), ''1 hour'')'), ('return_assignment(''e_per'', pg_temp.id(''accepted''))')) v (call);
SET taskex.clock = '2105-01-01 02:00:00+00';
-- past the end of time
SET taskex.clock = '294276-12-31 00:00:00+00';
SELECT pg_temp.try('SELECT taskex.create_task(''e_req'', pg_temp.id(''type''), ''1'')') AS says;
SET taskex.clock = '2105-01-01 02:00:00+00';
SET taskex.clock = 'yesterday noon or so';
SET taskex.clock = 'infinity';
SELECT _taskex.now();

-- with no savepoint around them, too: the transaction is over and the next one works
\set VERBOSITY sqlstate
SELECT taskex.create_task('e_req', pg_temp.id('type'), '1', 1000);
SELECT taskex.accept_task('e_oth', pg_temp.id('closed'));
SELECT taskex.submit_assignments('e_oth', ARRAY[pg_temp.id('late'), 0], ARRAY['1', '2']::jsonb[]);
SELECT taskex.create_tasks('e_req', pg_temp.id('type'), ARRAY['1', NULL]::jsonb[]);
SELECT 1 / (taskex.create_task('e_req', pg_temp.id('type'), '1') - taskex.create_task('e_req', pg_temp.id('type'), '1') + 1024);
SELECT 1 / (count(*) - 1) FROM taskex.accept_next('e_oth', pg_temp.id('type'));
SELECT 1 / (taskex.submit_assignments('e_oth', ARRAY[pg_temp.id('late')], ARRAY['1']::jsonb[]) - 1);

-- in a read-only transaction everything that writes is refused, and reading goes on
BEGIN READ ONLY;
SELECT name, left(pg_temp.try(format('SELECT * FROM taskex.%I(%s)', name, array_to_string(args, ', '))), 5) AS says
    FROM good_call ORDER BY name COLLATE "C";
SELECT count(*) FROM taskex.tasks WHERE requester = 'e_req';
SELECT count(*) FROM taskex.assignments WHERE performer = 'e_per';
COMMIT;
\set VERBOSITY default

-- nothing of all this has left a trace
SELECT pg_temp.state() = :'before' AS nothing_changed;
SELECT p.available = b.available AS purse_is_right, p.inflight, p.pins, p.loading FROM taskex.balance('e_req') b, _taskex.purse('e_req') p;
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.check_market() WHERE NOT ok;
-- ... and everything goes on where it was
SELECT taskex.cancel_migration(pg_temp.id('migration')), taskex.drop_partition('errors_3');
DROP TABLESPACE errors_space;
SELECT count(*) FROM taskex.accept_next('e_oth', pg_temp.id('type'), 10);
SELECT taskex.submit_assignment('e_oth', pg_temp.id('late'), '1');
SELECT taskex.submit_assignment('e_per', pg_temp.id('accepted'), '1', pg_temp.id('token'));
SELECT taskex.approve_assignment('e_req', pg_temp.id('submitted'));

-- large values, where they are allowed
SET taskex.max_input_size = '20MB';
SELECT taskex.create_task('e_req', pg_temp.id('type'), jsonb_build_array(to_jsonb(repeat('x', 10 * 1024 * 1024)))) AS large \gset
SELECT length(input ->> 0), assignment_id AS large_assignment FROM taskex.accept_task('e_oth', :large) \gset large_
SELECT :large_length AS length;
SELECT taskex.submit_assignment('e_oth', :large_large_assignment, to_jsonb(repeat('y', 10 * 1024 * 1024)));
RESET taskex.max_input_size;
SELECT length(result #>> '{}') FROM taskex.task_results('e_req', :large);
-- exactly as large as allowed, and one more
SET taskex.max_input_size = '1kB';
SELECT pg_temp.try(format('SELECT taskex.create_task(''e_req'', pg_temp.id(''type''), to_jsonb(repeat(''x'', %s)))', 1024 - n)) AS says
    FROM generate_series(11, 13) n;
RESET taskex.max_input_size;

SET taskex.clock = '2108-01-01 00:00:00+00';
SELECT count(*) FROM taskex.run_due();
SELECT count(taskex.expire_task('e_req', task_id)) FROM taskex.tasks WHERE requester = 'e_req' AND state = 'available';
SELECT * FROM taskex.balance('e_req');
SELECT * FROM taskex.check_ledger() WHERE NOT ok;
SELECT * FROM taskex.check_market() WHERE NOT ok;
