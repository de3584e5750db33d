-- The interface that users rely on, spelled out once more: functions with their
-- parameters, defaults, results and volatility, views with their columns, types,
-- settings and SQLSTATEs. What is missing here, or has changed, fails.
begin;
select no_plan();

create temporary table expected (name text, arguments text, result text, volatile boolean);
insert into expected values
    -- billing
    ('check_billing', 'OUT check_name text, OUT ok boolean, OUT detail text', 'SETOF record', true),
    ('close_invoices', 'until timestamp with time zone DEFAULT NULL::timestamp with time zone, digits integer DEFAULT 2', 'integer', true),
    ('correct_usage', 'usage_id text, quantity bigint, reason text', 'text', true),
    ('credit_invoice', 'invoice_id bigint, amount numeric, reason text, reference text DEFAULT NULL::text', 'bigint', true),
    ('draft_invoice', 'customer text, until timestamp with time zone DEFAULT NULL::timestamp with time zone, digits integer DEFAULT 2', 'TABLE(line integer, meter text, environment text, program text, priority integer, usages bigint, quantity numeric, billed numeric, unit text, rate_id bigint, exact numeric, amount numeric, total numeric)', true),
    ('drop_run_budget', 'customer text, period text DEFAULT ''none''::text, program text DEFAULT NULL::text', 'void', true),
    ('estimate_cost', 'customer text, program text DEFAULT NULL::text, priority integer DEFAULT 0, environment text DEFAULT NULL::text, runs integer DEFAULT 1, OUT samples bigint, OUT mean numeric, OUT median numeric, OUT high numeric, OUT total numeric', 'record', true),
    ('explain_charge', 'usage_id text, OUT step integer, OUT what text, OUT value text', 'SETOF record', true),
    ('remove_usage', 'older_than interval, max_rows integer DEFAULT 10000', 'bigint', true),
    ('sample_usage', '', 'bigint', true),
    ('schedule_billing', 'closing text DEFAULT ''5 0 1 * *''::text, sampling text DEFAULT ''0 * * * *''::text, retention interval DEFAULT NULL::interval, digits integer DEFAULT 2', 'SETOF bigint', true),
    ('set_billing_tier', 'customer text, tier text', 'void', true),
    ('set_credit_limit', 'customer text, amount numeric', 'void', true),
    ('set_program_price', 'owner text, program text, price numeric, unit text DEFAULT ''use''::text', 'void', true),
    ('set_rate', 'meter text, price numeric, options jsonb DEFAULT ''{}''::jsonb', 'bigint', true),
    ('set_run_budget', 'customer text, amount numeric, period text DEFAULT ''none''::text, program text DEFAULT NULL::text, warn numeric DEFAULT 0.8', 'void', true),
    ('unschedule_billing', '', 'boolean', true),
    ('usage_statement', 'customer text, since timestamp with time zone, until timestamp with time zone, by text DEFAULT ''day''::text', 'TABLE(key text, meter text, usages bigint, quantity numeric, billed numeric, unit text, amount numeric)', true),
    -- topology
    ('add_node', 'name text, conninfo text DEFAULT NULL::text, location text DEFAULT NULL::text, tier text DEFAULT ''standard''::text, capacity jsonb DEFAULT ''{}''::jsonb', 'void', true),
    ('add_partition', 'name text, tablespace name DEFAULT NULL::name, node text DEFAULT ''local''::text, storage_class text DEFAULT ''ssd''::text, capacity jsonb DEFAULT ''{}''::jsonb, tier text DEFAULT NULL::text, location text DEFAULT NULL::text', 'integer', true),
    ('create_group', 'name text, members text[] DEFAULT ''{}''::text[], selector jsonb DEFAULT NULL::jsonb, partitions text[] DEFAULT ''{}''::text[], sharing text DEFAULT ''shared''::text, weight double precision DEFAULT 1, horizon interval DEFAULT NULL::interval, lease interval DEFAULT NULL::interval, max_slots integer DEFAULT NULL::integer', 'integer', true),
    ('replenish', 'group_name text', 'integer', true),
    ('measure_load', 'OUT users bigint, OUT calls bigint, OUT hours bigint, OUT tables bigint', 'record', true),
    ('push_tasks', 'requester text DEFAULT NULL::text', 'integer', true),
    ('wait_for_task', 'performer text, timeout interval DEFAULT ''00:00:30''::interval, task_type bigint DEFAULT NULL::bigint', 'boolean', true),
    ('update_group', 'name text, changes jsonb', 'void', true),
    ('drop_group', 'name text', 'void', true),
    ('set_requester_weight', 'requester text, weight integer', 'void', true),
    ('add_group_members', 'name text, members text[]', 'integer', true),
    ('remove_group_members', 'name text, members text[]', 'integer', true),
    ('set_preferences', 'performer text, preferences jsonb', 'void', true),
    ('declare_intention', 'performer text, task_types bigint[], quantity integer, during tstzrange', 'bigint', true),
    ('cancel_intention', 'performer text, intention_id bigint', 'void', true),
    ('forecast_accepts', 'group_name text, task_type bigint DEFAULT NULL::bigint, horizon interval DEFAULT NULL::interval, OUT expected numeric, OUT low bigint, OUT high bigint, OUT explained jsonb', 'record', true),
    ('acceptance_probability', 'group_name text, task_types bigint[], quantities integer[], within interval', 'double precision', true),
    ('drain_node', 'name text', 'void', true),
    ('cancel_migration', 'id bigint', 'void', true),
    ('drain_partition', 'name text, move boolean DEFAULT true', 'void', true),
    ('migrate_user', 'login text, partition text, reason text DEFAULT ''manual''::text', 'bigint', true),
    ('migrate_users', 'logins text[], partition text, reason text DEFAULT ''manual''::text', 'SETOF bigint', true),
    ('move_partition', 'name text, tablespace name', 'integer', true),
    ('undo_migration', 'id bigint', 'bigint', true),
    ('drop_node', 'name text', 'void', true),
    ('drop_partition', 'name text', 'void', true),
    ('resume_node', 'name text', 'void', true),
    ('resume_partition', 'name text', 'void', true),
    -- users
    ('register_user', 'login text, profile jsonb DEFAULT ''{}''::jsonb, partition text DEFAULT NULL::text', 'bigint', true),
    ('start_anonymous', 'profile jsonb DEFAULT ''{}''::jsonb', 'text', true),
    ('identify', 'anonymous text, login text', 'bigint', true),
    ('update_user', 'login text, changes jsonb', 'void', true),
    ('route', 'login text, OUT user_id bigint, OUT partition text, OUT node text, OUT epoch bigint', 'record', false),
    -- supplying
    ('create_task_type', 'requester text, title text, reward numeric, description text DEFAULT ''''::text, keywords text[] DEFAULT ''{}''::text[], lease interval DEFAULT ''01:00:00''::interval, auto_approve interval DEFAULT ''3 days''::interval, qualifications jsonb DEFAULT ''[]''::jsonb, result_schema jsonb DEFAULT NULL::jsonb', 'bigint', true),
    ('create_golden_task', 'requester text, task_type bigint, input jsonb, known_answer jsonb, performers integer DEFAULT 100, expires_in interval DEFAULT ''30 days''::interval, idempotency_key text DEFAULT NULL::text, annotation text DEFAULT NULL::text, match jsonb DEFAULT NULL::jsonb', 'bigint', true),
    ('create_golden_tasks', 'requester text, task_type bigint, inputs jsonb[], known_answers jsonb[], performers integer DEFAULT 100, expires_in interval DEFAULT ''30 days''::interval, idempotency_key text DEFAULT NULL::text, annotation text DEFAULT NULL::text, match jsonb DEFAULT NULL::jsonb', 'SETOF bigint', true),
    ('set_golden_rate', 'requester text, task_type bigint, rate double precision', 'void', true),
    ('create_task', 'requester text, task_type bigint, input jsonb, performers integer DEFAULT 1, expires_in interval DEFAULT ''7 days''::interval, consensus text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, min_performers integer DEFAULT NULL::integer, confidence double precision DEFAULT NULL::double precision, annotation text DEFAULT NULL::text', 'bigint', true),
    ('create_tasks', 'requester text, task_type bigint, inputs jsonb[], performers integer DEFAULT 1, expires_in interval DEFAULT ''7 days''::interval, consensus text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, min_performers integer DEFAULT NULL::integer, confidence double precision DEFAULT NULL::double precision, annotation text DEFAULT NULL::text', 'SETOF bigint', true),
    ('expire_task', 'requester text, task_id bigint', 'void', true),
    ('add_performers', 'requester text, task_id bigint, count integer, idempotency_key text DEFAULT NULL::text', 'integer', true),
    ('annotate_task', 'requester text, task_id bigint, annotation text DEFAULT NULL::text', 'void', true),
    ('attach', 'login text, name text, uri text, task_id bigint DEFAULT NULL::bigint, assignment_id bigint DEFAULT NULL::bigint, media_type text DEFAULT NULL::text, size bigint DEFAULT NULL::bigint, sha256 bytea DEFAULT NULL::bytea', 'void', true),
    ('attachment_url', 'requester text, assignment_id bigint, name text', 'text', true),
    ('attachments', 'login text, task_id bigint DEFAULT NULL::bigint, assignment_id bigint DEFAULT NULL::bigint', 'TABLE(name text, uri text, media_type text, size bigint, sha256 bytea, created_at timestamp with time zone)', true),
    ('create_task_from_template', 'requester text, template text, task_type bigint, parameters jsonb DEFAULT ''{}''::jsonb, performers integer DEFAULT 1, expires_in interval DEFAULT ''7 days''::interval, consensus text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, min_performers integer DEFAULT NULL::integer, confidence double precision DEFAULT NULL::double precision, annotation text DEFAULT NULL::text, version integer DEFAULT NULL::integer', 'bigint', true),
    ('create_tasks_from_template', 'requester text, template text, task_type bigint, parameters jsonb[], performers integer DEFAULT 1, expires_in interval DEFAULT ''7 days''::interval, consensus text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text, min_performers integer DEFAULT NULL::integer, confidence double precision DEFAULT NULL::double precision, annotation text DEFAULT NULL::text, version integer DEFAULT NULL::integer', 'SETOF bigint', true),
    ('create_template', 'requester text, name text, body jsonb, parameters jsonb DEFAULT NULL::jsonb, description text DEFAULT ''''::text', 'integer', true),
    ('detach', 'login text, name text, task_id bigint DEFAULT NULL::bigint, assignment_id bigint DEFAULT NULL::bigint', 'void', true),
    ('drop_template', 'requester text, name text', 'void', true),
    ('render_template', 'requester text, template text, parameters jsonb DEFAULT ''{}''::jsonb, version integer DEFAULT NULL::integer', 'jsonb', true),
    ('cancel_task', 'requester text, task_id bigint', 'void', true),
    ('cancel_tasks', 'requester text, task_type bigint DEFAULT NULL::bigint, task_ids bigint[] DEFAULT NULL::bigint[]', 'integer', true),
    ('change_task_type', 'requester text, task_id bigint, task_type bigint', 'void', true),
    ('dispose_task', 'requester text, task_id bigint', 'void', true),
    ('dispose_tasks', 'requester text, older_than interval, after bigint DEFAULT 0, max_rows integer DEFAULT 1000, OUT disposed bigint, OUT last_task_id bigint', 'record', true),
    ('prune', 'kind text, older_than interval, max_rows integer DEFAULT 10000', 'bigint', true),
    ('get_assignment', 'login text, assignment_id bigint', 'jsonb', true),
    ('get_task', 'requester text, task_id bigint', 'jsonb', true),
    ('list_assignments', 'requester text, task_id bigint, state text DEFAULT NULL::text, after bigint DEFAULT 0, max_rows integer DEFAULT 100', 'TABLE(assignment_id bigint, performer text, state text, submitted_at timestamp with time zone, auto_approve_at timestamp with time zone, judged_at timestamp with time zone, feedback text, result jsonb)', true),
    ('list_tasks', 'requester text, state text DEFAULT NULL::text, task_type bigint DEFAULT NULL::bigint, before bigint DEFAULT NULL::bigint, max_rows integer DEFAULT 100', 'TABLE(task_id bigint, task_type_id bigint, title text, state text, performers integer, free_slots integer, in_progress integer, submitted integer, judged integer, reward numeric, created_at timestamp with time zone, expires_at timestamp with time zone, annotation text)', true),
    ('reviewable_results', 'requester text, task_type bigint DEFAULT NULL::bigint, after bigint DEFAULT 0, max_rows integer DEFAULT 100', 'TABLE(assignment_id bigint, task_id bigint, task_type_id bigint, performer text, submitted_at timestamp with time zone, auto_approve_at timestamp with time zone, result jsonb)', true),
    ('reviewable_tasks', 'requester text, task_type bigint DEFAULT NULL::bigint, status text DEFAULT NULL::text, after bigint DEFAULT 0, max_rows integer DEFAULT 100', 'TABLE(task_id bigint, task_type_id bigint, title text, status text, submitted integer, auto_approve_at timestamp with time zone, next_after bigint)', true),
    ('set_expiry', 'requester text, task_id bigint, expires_at timestamp with time zone', 'void', true),
    ('set_review_status', 'requester text, task_id bigint, status text', 'void', true),
    ('validate_result', 'task_type bigint, result jsonb', 'TABLE(path text, problem text)', true),
    -- performing
    ('accept_task', 'performer text, task_id bigint', 'taskex.assignment', true),
    ('accept_next', 'performer text, task_type bigint DEFAULT NULL::bigint, count integer DEFAULT 1', 'SETOF taskex.assignment', true),
    ('extend_assignment', 'performer text, assignment_id bigint, by interval', 'timestamp with time zone', true),
    ('return_assignment', 'performer text, assignment_id bigint', 'void', true),
    ('submit_assignment', 'performer text, assignment_id bigint, result jsonb, lease_token bigint DEFAULT NULL::bigint', 'void', true),
    ('submit_assignments', 'performer text, assignment_ids bigint[], results jsonb[]', 'integer', true),
    -- judging
    ('approve_assignment', 'requester text, assignment_id bigint, feedback text DEFAULT NULL::text, override boolean DEFAULT false', 'void', true),
    ('approve_assignments', 'requester text, assignment_ids bigint[], feedback text DEFAULT NULL::text', 'integer', true),
    ('approve_task', 'requester text, task_id bigint, feedback text DEFAULT NULL::text', 'integer', true),
    ('open_dispute', 'performer text, assignment_id bigint, reason text', 'bigint', true),
    ('answer_dispute', 'requester text, dispute_id bigint, answer text', 'void', true),
    ('withdraw_dispute', 'performer text, dispute_id bigint', 'void', true),
    ('resolve_dispute', 'dispute_id bigint, upheld boolean, resolution text DEFAULT NULL::text', 'void', true),
    ('rate_requester', 'performer text, assignment_id bigint, stars integer, comment text DEFAULT NULL::text', 'void', true),
    ('messages', 'login text, unread boolean DEFAULT false, before bigint DEFAULT NULL::bigint, max_rows integer DEFAULT 100', 'TABLE(message_id bigint, sender text, subject text, message text, sent_at timestamp with time zone, read_at timestamp with time zone)', true),
    ('mark_messages', 'login text, message_ids bigint[] DEFAULT NULL::bigint[]', 'integer', true),
    ('reject_assignment', 'requester text, assignment_id bigint, reason text, reopen boolean DEFAULT false', 'void', true),
    ('task_results', 'requester text, task_id bigint', 'TABLE(assignment_id bigint, performer text, state text, submitted_at timestamp with time zone, judged_at timestamp with time zone, result jsonb, feedback text)', true),
    ('task_answer', 'requester text, task_id bigint', 'TABLE(answer jsonb, confidence double precision, results integer, final boolean, tally jsonb)', true),
    ('task_answers', 'requester text, task_type bigint, after bigint DEFAULT 0, max_rows integer DEFAULT 100', 'TABLE(task_id bigint, state text, answer jsonb, confidence double precision, results integer, final boolean)', true),
    ('task_consensus', 'requester text, task_id bigint', 'jsonb', true),
    ('infer_performers', 'query text, method text, options jsonb DEFAULT ''{}''::jsonb, OUT performer text, OUT reliability double precision, OUT answers bigint, OUT parameters jsonb', 'SETOF record', false),
    ('infer_truth', 'query text, method text, options jsonb DEFAULT ''{}''::jsonb, OUT task text, OUT label text, OUT confidence double precision', 'SETOF record', false),
    -- money
    ('deposit', 'login text, amount numeric, reference text', 'bigint', true),
    ('withdraw', 'login text, amount numeric, reference text DEFAULT NULL::text', 'bigint', true),
    ('balance', 'login text, OUT available numeric, OUT held numeric', 'record', false),
    ('statement', 'login text, since timestamp with time zone DEFAULT NULL::timestamp with time zone, max_rows integer DEFAULT 100', 'TABLE(transfer_id bigint, at timestamp with time zone, kind text, available numeric, held numeric, counterparty text, subject_id bigint, reference text)', false),
    ('create_payout', 'reference text, minimum numeric DEFAULT 0, logins text[] DEFAULT NULL::text[], max_items integer DEFAULT 1000', 'bigint', true),
    ('drop_budget', 'requester text, period text DEFAULT ''none''::text, task_type bigint DEFAULT NULL::bigint', 'void', true),
    ('drop_fee', 'rule_id bigint', 'void', true),
    ('quote', 'requester text, task_type bigint, count integer DEFAULT 1, performers integer DEFAULT 1, OUT reward numeric, OUT fee numeric, OUT total numeric', 'record', true),
    ('send_bonus', 'requester text, assignment_id bigint, amount numeric, reason text, idempotency_key text DEFAULT NULL::text', 'bigint', true),
    ('set_budget', 'requester text, amount numeric, period text DEFAULT ''none''::text, task_type bigint DEFAULT NULL::bigint', 'void', true),
    ('set_fee', 'share numeric, minimum numeric DEFAULT 0, requester text DEFAULT NULL::text, task_type bigint DEFAULT NULL::bigint, performers integer DEFAULT 1, kind text DEFAULT ''reward''::text, valid_from timestamp with time zone DEFAULT NULL::timestamp with time zone', 'bigint', true),
    ('settle_payout_item', 'reference text, login text, state text, external_reference text DEFAULT NULL::text, error text DEFAULT NULL::text', 'void', true),
    -- operation
    ('retry_failed_acts', 'consumer text DEFAULT NULL::text', 'bigint', true),
    ('run_due', 'OUT what text, OUT count bigint', 'SETOF record', true),
    ('check_ledger', 'OUT check_name text, OUT ok boolean, OUT detail text', 'SETOF record', false),
    ('check_market', 'OUT check_name text, OUT ok boolean, OUT detail text', 'SETOF record', false);

-- qualifications and blocks
insert into expected values
    ('block_performer', 'requester text, performer text, reason text, until timestamp with time zone DEFAULT NULL::timestamp with time zone', 'void', true),
    ('check_qualifications', 'performer text, task_type bigint', 'TABLE(requirement jsonb, value text, met boolean)', true),
    ('create_qualification', 'requester text, name text, description text DEFAULT ''''::text, keywords text[] DEFAULT ''{}''::text[], test jsonb DEFAULT NULL::jsonb, answer_key jsonb DEFAULT NULL::jsonb, test_duration interval DEFAULT NULL::interval, retry_delay interval DEFAULT NULL::interval, auto_grant boolean DEFAULT false, auto_grant_score integer DEFAULT 1, requestable boolean DEFAULT true, is_public boolean DEFAULT false', 'bigint', true),
    ('delete_qualification', 'requester text, qualification bigint', 'void', true),
    ('grant_qualification', 'requester text, qualification bigint, performer text, score integer DEFAULT 1, notify boolean DEFAULT true', 'void', true),
    ('grant_request', 'requester text, request_id bigint, score integer DEFAULT 1', 'void', true),
    ('performer_qualifications', 'performer text, after bigint DEFAULT 0, max_rows integer DEFAULT 100', 'TABLE(qualification_id bigint, name text, requester text, state text, score integer, granted_at timestamp with time zone, requested_at timestamp with time zone, reason text, retry_at timestamp with time zone)', true),
    ('qualification_holders', 'requester text, qualification bigint, state text DEFAULT ''granted''::text, after bigint DEFAULT 0, max_rows integer DEFAULT 100', 'TABLE(user_id bigint, performer text, score integer, holder_state text, granted_at timestamp with time zone, changed_at timestamp with time zone, reason text)', true),
    ('qualification_requests', 'requester text, qualification bigint DEFAULT NULL::bigint, state text DEFAULT ''pending''::text, after bigint DEFAULT 0, max_rows integer DEFAULT 100', 'TABLE(request_id bigint, qualification_id bigint, name text, performer text, request_state text, started_at timestamp with time zone, requested_at timestamp with time zone, answers jsonb, score integer, reason text, decided_at timestamp with time zone)', true),
    ('qualification_score', 'login text, qualification bigint, performer text DEFAULT NULL::text', 'TABLE(performer_login text, score integer, state text, granted_at timestamp with time zone, changed_at timestamp with time zone, reason text)', true),
    ('reject_request', 'requester text, request_id bigint, reason text DEFAULT NULL::text', 'void', true),
    ('request_qualification', 'performer text, qualification bigint, answers jsonb DEFAULT NULL::jsonb, OUT request_id bigint, OUT state text, OUT score integer', 'record', true),
    ('resume_performer', 'performer text', 'boolean', true),
    ('revoke_qualification', 'requester text, qualification bigint, performer text, reason text DEFAULT NULL::text', 'boolean', true),
    ('start_qualification_test', 'performer text, qualification bigint, OUT request_id bigint, OUT test jsonb, OUT answer_until timestamp with time zone', 'record', true),
    ('suspend_performer', 'performer text, reason text, until timestamp with time zone DEFAULT NULL::timestamp with time zone', 'void', true),
    ('unblock_performer', 'requester text, performer text', 'boolean', true),
    ('update_qualification', 'requester text, qualification bigint, changes jsonb', 'void', true);
-- events
insert into expected values
    ('subscribe', 'login text, kinds text[] DEFAULT NULL::text[], channel text DEFAULT NULL::text', 'bigint', true),
    ('unsubscribe', 'login text', 'void', true),
    ('read_events', 'login text, after bigint DEFAULT 0, max_rows integer DEFAULT 100', 'TABLE(event bigint, kind text, at timestamp with time zone, task_id bigint, task_type_id bigint, assignment_id bigint, requester text, performer text, amount numeric, detail jsonb)', true),
    ('test_event', 'login text', 'void', true);

insert into expected values
    ('create_policy', 'requester text, kind text, parameters jsonb, task_type bigint DEFAULT NULL::bigint', 'bigint', true),
    ('update_policy', 'requester text, policy_id bigint, parameters jsonb', 'void', true),
    ('pause_policy', 'requester text, policy_id bigint', 'void', true),
    ('resume_policy', 'requester text, policy_id bigint', 'void', true),
    ('delete_policy', 'requester text, policy_id bigint', 'void', true),
    ('notify_performers', 'requester text, performers text[], subject text, message text', 'TABLE(performer text, notified boolean, reason text)', true);

-- finding work
insert into expected values
    ('announce', 'name text, content jsonb, audience jsonb DEFAULT NULL::jsonb, shown_from timestamp with time zone DEFAULT NULL::timestamp with time zone, shown_until timestamp with time zone DEFAULT NULL::timestamp with time zone, priority integer DEFAULT 0', 'void', true),
    ('create_layout', 'requester text, name text, core jsonb, slots jsonb DEFAULT ''{}''::jsonb, description text DEFAULT ''''::text', 'integer', true),
    ('drop_layout', 'requester text, name text', 'void', true),
    ('render_layout', 'requester text, layout text, input jsonb DEFAULT ''{}''::jsonb, profile jsonb DEFAULT ''{}''::jsonb, version integer DEFAULT NULL::integer', 'jsonb', true),
    ('render_task', 'performer text, task_id bigint, context jsonb DEFAULT ''{}''::jsonb', 'jsonb', true),
    ('use_layout', 'requester text, task_type bigint, layout text DEFAULT NULL::text, version integer DEFAULT NULL::integer', 'void', true),
    ('withdraw_announcement', 'name text', 'void', true),
    ('recommend_tasks', 'performer text, max_rows integer DEFAULT 10', 'TABLE(rank integer, task_type_id bigint, title text, requester text, reward numeric, available bigint, task_id bigint, score double precision, factors jsonb)', true),
    ('add_factor', 'name text, function regprocedure, description text DEFAULT ''''::text', 'void', true),
    ('alter_node', 'name text, changes jsonb', 'void', true),
    ('alter_partition', 'name text, changes jsonb', 'void', true),
    ('drop_factor', 'name text', 'void', true),
    ('drop_fitness', 'name text', 'void', true),
    ('plan_rebalance', 'fitness text DEFAULT ''default''::text, max_moves integer DEFAULT 10', 'TABLE(login text, source text, target text, gain double precision, reason text, step integer)', true),
    ('rebalance', 'fitness text DEFAULT ''default''::text, max_moves integer DEFAULT 10', 'integer', true),
    ('schedule_rebalance', 'cron text, fitness text DEFAULT ''default''::text, max_moves integer DEFAULT 10', 'bigint', true),
    ('score_partitions', 'login text, fitness text DEFAULT ''default''::text', 'TABLE(partition text, score double precision, factors jsonb)', true),
    ('set_fitness', 'name text, weights jsonb', 'void', true),
    ('unschedule_rebalance', 'fitness text DEFAULT ''default''::text', 'boolean', true),
    ('propose_moves', 'max_moves integer DEFAULT 10', 'TABLE(login text, source text, target text, task_type_id bigint, gain double precision, reason text)', true),
    ('send_recommendations', 'every interval DEFAULT ''1 day''::interval, max_rows integer DEFAULT 3, max_performers integer DEFAULT 1000', 'integer', true),
    ('search_tasks', 'performer text, query text DEFAULT NULL::text, max_rows integer DEFAULT 20, min_reward numeric DEFAULT NULL::numeric, max_reward numeric DEFAULT NULL::numeric, from_requester text DEFAULT NULL::text, task_types bigint[] DEFAULT NULL::bigint[], only_qualified boolean DEFAULT true, location text DEFAULT NULL::text, device text DEFAULT NULL::text, sort text DEFAULT NULL::text, skip integer DEFAULT 0', 'TABLE(task_type_id bigint, title text, description text, requester text, reward numeric, keywords text[], lease interval, available bigint, newest timestamp with time zone, qualified boolean, missing jsonb, task_id bigint)', true),
    ('preview_task', 'performer text, task_id bigint', 'TABLE(task_type_id bigint, title text, description text, keywords text[], requester text, reward numeric, lease interval, auto_approve interval, expires_at timestamp with time zone, free_slots integer, input jsonb, qualified boolean, missing jsonb)', true),
    ('save_search', 'performer text, name text, query text DEFAULT NULL::text, filters jsonb DEFAULT ''{}''::jsonb, notify boolean DEFAULT true', 'void', true),
    ('drop_search', 'performer text, name text', 'void', true),
    ('run_search', 'performer text, name text, max_rows integer DEFAULT 20, skip integer DEFAULT 0', 'TABLE(task_type_id bigint, title text, description text, requester text, reward numeric, keywords text[], lease interval, available bigint, newest timestamp with time zone, qualified boolean, missing jsonb, task_id bigint)', true),
    ('queue', 'performer text', 'TABLE(assignment_id bigint, task_id bigint, task_type_id bigint, title text, requester text, reward numeric, input jsonb, lease_token bigint, accepted_at timestamp with time zone, lease_until timestamp with time zone, time_left interval)', true),
    ('history', 'performer text, before bigint DEFAULT NULL::bigint, max_rows integer DEFAULT 100', 'TABLE(assignment_id bigint, task_id bigint, task_type_id bigint, title text, requester text, state text, reward numeric, accepted_at timestamp with time zone, finished_at timestamp with time zone, judged_at timestamp with time zone, feedback text)', true);

-- runs
insert into expected values
    ('alter_environment', 'name text, options jsonb', 'void', true),
    ('acknowledge_run', 'run_id bigint', 'boolean', true),
    ('cancel_run', 'run_id bigint', 'boolean', true),
    ('drain_executors', 'timeout interval DEFAULT ''00:01:00''::interval', 'integer', true),
    ('check_workload', 'OUT check_name text, OUT ok boolean, OUT detail text', 'SETOF record', true),
    ('complete_run', 'run_id bigint, lease_token bigint, result jsonb DEFAULT NULL::jsonb', 'void', true),
    ('complete_runs', 'run_ids bigint[], lease_tokens bigint[], results jsonb[] DEFAULT NULL::jsonb[]', 'integer', true),
    ('create_environment', 'name text, language name, version text DEFAULT ''1''::text, options jsonb DEFAULT ''{}''::jsonb', 'integer', true),
    ('data_checksum', 'data_ref jsonb', 'text', true),
    ('deprecate_program', 'owner text, name text, version integer DEFAULT NULL::integer', 'integer', true),
    ('fail_run', 'run_id bigint, lease_token bigint, error jsonb, retry boolean DEFAULT true', 'text', true),
    ('heartbeat_run', 'run_id bigint, lease_token bigint, lease interval DEFAULT ''00:01:00''::interval, progress jsonb DEFAULT NULL::jsonb, state jsonb DEFAULT NULL::jsonb', 'timestamp with time zone', true),
    ('limit_customer', 'customer text, max_running integer DEFAULT NULL::integer, rate integer DEFAULT NULL::integer, per interval DEFAULT ''00:01:00''::interval', 'void', true),
    ('limit_key', 'customer text, concurrency_key text, max_running integer', 'void', true),
    ('pause_environment', 'name text', 'void', true),
    ('pause_runs', 'customer text', 'void', true),
    ('publish_chain', 'owner text, name text, pieces text[], price numeric DEFAULT 0, is_public boolean DEFAULT false', 'integer', true),
    ('publish_program', 'owner text, name text, environment text, source text, price numeric DEFAULT 0, is_public boolean DEFAULT false', 'integer', true),
    ('schedule_run', 'customer text, name text, cron text, program text DEFAULT NULL::text, data jsonb DEFAULT NULL::jsonb, priority integer DEFAULT 0, options jsonb DEFAULT ''{}''::jsonb', 'bigint', true),
    ('search_programs', 'query text DEFAULT NULL::text, environment text DEFAULT NULL::text, max_price numeric DEFAULT NULL::numeric, max_rows integer DEFAULT 100', 'SETOF taskex.programs', false),
    ('unretire_environment', 'name text', 'void', true),
    ('undeprecate_program', 'owner text, name text, version integer DEFAULT NULL::integer', 'integer', true),
    ('unschedule_run', 'customer text, name text', 'boolean', true),
    ('pull_runs', 'worker text, environment text, count integer DEFAULT 1, lease interval DEFAULT ''00:01:00''::interval, wait interval DEFAULT ''00:00:00''::interval', 'SETOF taskex.leased_run', true),
    ('redrive_runs', 'customer text, environment text DEFAULT NULL::text, attempts integer DEFAULT 1, max_runs integer DEFAULT 1000', 'integer', true),
    ('release_run', 'run_id bigint, lease_token bigint', 'void', true),
    ('remove_runs', 'older_than interval, max_rows integer DEFAULT 10000', 'bigint', true),
    ('resume_environment', 'name text', 'void', true),
    ('resume_runs', 'customer text', 'void', true),
    ('retire_environment', 'name text', 'void', true),
    ('retry_run', 'run_id bigint, attempts integer DEFAULT 1', 'void', true),
    ('resume_executors', '', 'void', true),
    ('run_due_runs', 'OUT what text, OUT count bigint', 'SETOF record', true),
    ('run_result', 'run_id bigint', 'jsonb', true),
    ('run_status', 'run_id bigint, OUT state text, OUT attempts integer, OUT max_attempts integer, OUT priority integer, OUT worker text, OUT submitted_at timestamp with time zone, OUT run_at timestamp with time zone, OUT started_at timestamp with time zone, OUT lease_until timestamp with time zone, OUT finished_at timestamp with time zone, OUT progress jsonb, OUT error jsonb', 'record', true),
    ('submit_run', 'customer text, program text DEFAULT NULL::text, data jsonb DEFAULT NULL::jsonb, priority integer DEFAULT 0, max_delay interval DEFAULT NULL::interval, options jsonb DEFAULT ''{}''::jsonb', 'bigint', true),
    ('submit_runs', 'customer text, program text, data jsonb[], priority integer DEFAULT 0, max_delay interval DEFAULT NULL::interval, options jsonb DEFAULT ''{}''::jsonb', 'SETOF bigint', true),
    ('wait_for_run', 'run_id bigint, timeout interval DEFAULT ''00:01:00''::interval', 'jsonb', true);

-- steering
insert into expected values
    ('resume_program', 'owner text, name text', 'integer', true),
    ('resume_run', 'run_id bigint', 'text', true),
    ('should_yield', 'run_id bigint DEFAULT NULL::bigint, lease_token bigint DEFAULT NULL::bigint', 'boolean', true),
    ('suspend_customer', 'customer text, stop_after interval DEFAULT ''00:01:00''::interval', 'integer', true),
    ('suspend_program', 'owner text, name text, stop_after interval DEFAULT ''00:01:00''::interval', 'integer', true),
    ('suspend_run', 'run_id bigint, stop_after interval DEFAULT ''00:01:00''::interval', 'text', true),
    ('yield_run', 'run_id bigint DEFAULT NULL::bigint, lease_token bigint DEFAULT NULL::bigint, state jsonb DEFAULT NULL::jsonb, progress jsonb DEFAULT NULL::jsonb', 'text', true),
    ('locate', 'login text, epoch bigint DEFAULT NULL::bigint, OUT node text, OUT conninfo text, OUT location text, OUT partition text, OUT epoch_now bigint', 'record', false),
    ('measure_inputs', 'customer text, program text, inputs jsonb[]', 'bigint', true),
    ('measure_program', 'customer text, program text, inputs text, sample integer DEFAULT 12', 'bigint', true),
    ('recommend_parts', 'customer text, program text, inputs integer, workers integer DEFAULT NULL::integer, max_parts integer DEFAULT 1000, OUT parts integer, OUT workers_used integer, OUT expected_time interval, OUT expected_run_time interval, OUT expected_cost numeric, OUT measured_runs bigint, OUT recommended boolean', 'SETOF record', true),
    ('set_parts', 'customer text, split_id bigint, parts integer', 'integer', true),
    ('submit_parts', 'customer text, program text, inputs jsonb[], parts integer DEFAULT NULL::integer, combine text DEFAULT NULL::text, options jsonb DEFAULT ''{}''::jsonb', 'bigint', true),
    ('submit_split', 'customer text, program text, inputs text, parts integer DEFAULT NULL::integer, combine text DEFAULT NULL::text, options jsonb DEFAULT ''{}''::jsonb', 'bigint', true),
    ('checkpoint', 'state jsonb, progress jsonb DEFAULT NULL::jsonb', 'void', true),
    ('progress', 'progress jsonb', 'void', true),
    ('run_state', '', 'jsonb', true),
    ('drop_alert', 'name text', 'boolean', true),
    ('set_alert', 'name text, metric text, threshold double precision, environment text DEFAULT NULL::text, customer text DEFAULT NULL::text, program text DEFAULT NULL::text', 'void', true),
    ('set_throttle_policy', 'environment text, after interval, action text DEFAULT ''yield''::text, lasting interval DEFAULT ''00:01:00''::interval', 'void', true),
    ('throttle', 'scope text, name text, settings jsonb, lasting interval DEFAULT NULL::interval', 'void', true),
    ('unthrottle', 'scope text, name text', 'boolean', true);
-- (steering)
select bag_eq($$ select proname::text from pg_proc where pronamespace = 'taskex'::regnamespace $$,
    'select name from expected', 'schema taskex has these functions, one of each name');
select unnest(array[is(pg_get_function_arguments(p.oid), e.arguments, 'parameters of ' || e.name),
    is(pg_get_function_result(p.oid), e.result, 'result of ' || e.name),
    is(p.provolatile, case when e.volatile then 'v' else 's' end::"char", 'volatility of ' || e.name)])
from expected e join pg_proc p on p.proname = e.name and p.pronamespace = 'taskex'::regnamespace order by e.name;
select is_empty($$ select p.oid::regprocedure from pg_proc p where pronamespace = 'taskex'::regnamespace and (proisstrict or proparallel <> 'u') $$,
    'none is STRICT (a NULL is an error, not a NULL result), none parallel');
select is_empty($$ select p.oid::regprocedure from pg_proc p where pronamespace in ('taskex'::regnamespace, '_taskex'::regnamespace)
        and prolang = (select oid from pg_language where lanname = 'c') and prosecdef $$,
    'functions in C change the user themselves and are not SECURITY DEFINER');
select is_empty($$ select p.oid::regprocedure from pg_proc p where pronamespace in ('taskex'::regnamespace, '_taskex'::regnamespace)
        and prosecdef and array_to_string(proconfig, ',') not in ('search_path=pg_catalog, pg_temp', 'search_path=pg_catalog, pg_temp,jit=off', 'search_path=pg_catalog, pg_temp,jit=off,enable_nestloop=off',
            'search_path=pg_catalog, pg_temp,plan_cache_mode=force_custom_plan', 'search_path=pg_catalog, pg_temp,enable_seqscan=off') $$,
    'each SECURITY DEFINER function has this search_path and no other setting, but those of plans');
select is_empty($$ select p.oid::regprocedure from pg_proc p where pronamespace = '_taskex'::regnamespace
        and prolang in (select oid from pg_language where lanname in ('sql', 'plpgsql')) and prosecdef
        and proname not in ('alert_health', 'executor_waits', 'workers', 'journal_lag', 'load_lag', 'metering_health', 'mover_health', 'pool_health', 'queue_health', 'recommend_state', 'role_health', 'supplier_state') $$,
    'of the internal functions only those that views of operators call are SECURITY DEFINER');
select is_empty($$ select p.oid::regprocedure from pg_proc p where pronamespace in ('taskex'::regnamespace, '_taskex'::regnamespace)
        and coalesce(obj_description(p.oid, 'pg_proc'), '') = '' $$,
    'every function has a comment, also the internal ones');
select is_empty($$ select p.oid::regprocedure from pg_proc p, unnest(p.proargnames[1:p.pronargs]) parameter
        where pronamespace = 'taskex'::regnamespace and parameter not in ('requester', 'performer', 'login', 'name', 'task_id', 'assignment_id', 'customer', 'owner', 'run_id')
        and obj_description(p.oid, 'pg_proc') !~ ('\m' || parameter || '\M') and proname not in ('create_tasks', 'create_golden_tasks', 'submit_assignments') $$,
    'a function''s comment tells of each parameter that its name does not explain');

-- views and types
create temporary table expected_column (relation text, columns text);
insert into expected_column values
    ('announcements', 'name text, content jsonb, audience jsonb, shown_from timestamp with time zone, shown_until timestamp with time zone, priority integer, changed_at timestamp with time zone'),
    ('layout_uses', 'requester text, task_type_id bigint, layout text, version integer, since timestamp with time zone, until timestamp with time zone'),
    ('layouts', 'requester text, name text, version integer, description text, core jsonb, slots jsonb, created_at timestamp with time zone'),
    ('recommendation_factors', 'name text, description text, weight numeric, prior double precision, choices bigint, at timestamp with time zone'),
    ('performer_groups', 'name text, group_id integer, is_default boolean, sharing text, weight double precision, selector jsonb, partitions text[], members bigint, horizon interval, lease interval, max_slots integer, accept_push boolean, created_at timestamp with time zone'),
    ('requester_weights', 'requester text, weight integer'),
    ('pushes', 'group_name text, task_type_id bigint, title text, slots integer, declined text, explained jsonb, at timestamp with time zone, until timestamp with time zone'),
    ('intentions', 'intention_id bigint, performer text, task_types bigint[], quantity integer, done integer, during tstzrange, declared_at timestamp with time zone'),
    ('preferences', 'performer text, preferences jsonb, intended bigint, kept bigint, changed_at timestamp with time zone'),
    ('hot_spots', 'group_name text, task_type_id bigint, title text, performers bigint, approved bigint, share numeric, quotient numeric, success numeric, volume numeric, longevity numeric, reputation numeric, score numeric'),
    ('supply_targets', 'group_name text, task_type_id bigint, title text, target integer, expected numeric, explained jsonb, computed_at timestamp with time zone'),
    ('group_members', 'group_name text, login text, origin text'),
    ('supplies', 'group_name text, task_type_id bigint, title text, tasks integer, ready integer, reserved integer, pending integer, ended integer, target integer, pace double precision, hits bigint, misses bigint, leased bigint, returned bigint, refills bigint, hit_rate numeric, waste numeric, time_to_accept interval'),
    ('supply_history', 'group_name text, task_type_id bigint, hour timestamp with time zone, hits bigint, misses bigint, leased bigint, returned bigint, refills bigint, hit_rate numeric, waste numeric, time_to_accept interval'),
    ('factors', 'name text, built_in boolean, function regprocedure, description text'),
    ('fitnesses', 'name text, weights jsonb, built_in boolean, changed_at timestamp with time zone'),
    ('placement_scores', 'login text, home text, partition text, score double precision, factors jsonb'),
    ('user_load', 'login text, partition text, metric text, unit text, level double precision, peak double precision, peak_hour integer, this_hour double precision, by_hour double precision[]'),
    ('partition_load', 'partition text, node text, metric text, unit text, level double precision, peak double precision, peak_hour integer, this_hour double precision, by_hour double precision[]'),
    ('node_load', 'node text, metric text, unit text, level double precision, peak double precision, peak_hour integer, this_hour double precision, by_hour double precision[]'),
    ('activity', 'pid integer, worker text, state text, activity text, wait_event_type text, wait_event text, xact_start timestamp with time zone'),
    ('assignment', 'assignment_id bigint, task_id bigint, task_type bigint, input jsonb, reward numeric, lease_token bigint, lease_until timestamp with time zone'),
    ('assignments', 'assignment_id bigint, task_id bigint, task_type_id bigint, performer text, requester text, state text, reward numeric, accepted_at timestamp with time zone, lease_until timestamp with time zone, finished_at timestamp with time zone'),
    ('disputes', 'dispute_id bigint, requester text, performer text, assignment_id bigint, task_id bigint, state text, reason text, answer text, resolution text, opened_at timestamp with time zone, answered_at timestamp with time zone, resolved_at timestamp with time zone'),
    ('errors', 'sqlstate text, name text, description text, hint text'),
    ('ratings', 'requester text, performer text, assignment_id bigint, task_type_id bigint, stars integer, comment text, rated_at timestamp with time zone'),
    ('audit', 'transfer_id bigint, at timestamp with time zone, login text, kind text, available numeric, held numeric, counterparty text, act text, cause text, policy_id bigint, task_id bigint, task_type_id bigint, assignment_id bigint, reference text, reason text, explained boolean'),
    ('bonuses', 'bonus_id bigint, assignment_id bigint, task_id bigint, task_type_id bigint, requester text, performer text, amount numeric, fee numeric, reason text, sent_at timestamp with time zone'),
    ('budgets', 'requester text, task_type_id bigint, period text, amount numeric, spent numeric, remaining numeric, since timestamp with time zone'),
    ('earnings', 'performer text, day date, task_type_id bigint, title text, approved bigint, reward numeric, bonus numeric'),
    ('fee_rules', 'rule_id bigint, kind text, requester text, task_type_id bigint, performers integer, share numeric, minimum numeric, valid_from timestamp with time zone'),
    ('drains', 'partition text, target text, users bigint, users_left bigint, moving bigint, failed bigint, drop_empty boolean, started_at timestamp with time zone, error text'),
    ('migrations', 'migration_id bigint, login text, source text, target text, reason text, state text, rows bigint, rows_total bigint, bytes bigint, bytes_total bigint, cleaned bigint, eta timestamp with time zone, longest_stall interval, waits_for integer[], mover integer, attempts integer, cancelling boolean, undo_of bigint, error text, requested_at timestamp with time zone, not_before timestamp with time zone, started_at timestamp with time zone, switched_at timestamp with time zone, finished_at timestamp with time zone'),
    ('failed_acts', 'consumer text, act_id bigint, kind text, at timestamp with time zone, requester text, performer text, task_id bigint, assignment_id bigint, set_aside boolean, message text'),
    ('health', 'check_name text, ok boolean, detail text'),
    ('inferences', 'pid integer, role name, method text, phase text, round integer, rounds integer, labels bigint, tasks bigint, performers bigint, started_at timestamp with time zone'),
    ('nodes', 'name text, remote boolean, location text, tier text, capacity jsonb, state text'),
    ('partitions', 'name text, node text, tablespace text, storage_class text, capacity jsonb, state text, users bigint, partition_id integer, tier text, location text'),
    ('task_types', 'task_type_id bigint, title text, reward numeric, description text, keywords text[], lease interval, auto_approve interval, qualifications jsonb, created_at timestamp with time zone, result_schema jsonb'),
    ('payout_items', 'reference text, login text, amount numeric, state text, created_at timestamp with time zone, settled_at timestamp with time zone, external_reference text, error text'),
    ('payouts', 'reference text, payout_id bigint, created_at timestamp with time zone, minimum numeric, items bigint, pending bigint, paid bigint, failed bigint, amount numeric'),
    ('yearly_statements', 'login text, year integer, rewards_earned numeric, bonuses_earned numeric, withdrawn numeric, deposited numeric, rewards_paid numeric, bonuses_paid numeric, fees_paid numeric'),
    ('golden_tasks', 'task_id bigint, requester text, task_type_id bigint, title text, state text, performers integer, free_slots integer, answered integer, answered_right integer, rate double precision, reward numeric, fee numeric, created_at timestamp with time zone, expires_at timestamp with time zone, annotation text, known_answer jsonb, input jsonb, match jsonb'),
    ('tasks', 'task_id bigint, requester text, task_type_id bigint, title text, state text, performers integer, free_slots integer, in_progress integer, submitted integer, judged integer, reward numeric, fee numeric, consensus text, created_at timestamp with time zone, expires_at timestamp with time zone, input jsonb, annotation text'),
    ('templates', 'requester text, name text, version integer, description text, parameters jsonb, body jsonb, created_at timestamp with time zone'),
    ('transfers', 'transfer_id bigint, at timestamp with time zone, login text, kind text, available numeric, held numeric, counterparty text, subject_id bigint, reference text'),
    ('anonymous_users', 'login text, user_id bigint, partition text, db_role regrole, profile jsonb, started_at timestamp with time zone'),
    ('identified_users', 'anonymous text, login text, identified_at timestamp with time zone, is_new boolean'),
    ('users', 'login text, user_id bigint, partition text, node text, epoch bigint, db_role regrole, tier text, location text, profile jsonb, registered_at timestamp with time zone');
insert into expected_column values
    ('blocks', 'requester text, performer text, reason text, blocked_at timestamp with time zone, until timestamp with time zone, active boolean'),
    ('qualifications', 'qualification_id bigint, requester text, name text, description text, keywords text[], state text, requestable boolean, is_public boolean, auto_grant boolean, test_duration interval, retry_delay interval, has_test boolean, test jsonb, answer_key jsonb, auto_grant_score integer, created_at timestamp with time zone, changed_at timestamp with time zone');
insert into expected_column values
    ('event_kinds', 'kind text, to_requester boolean, to_performer boolean, by_default boolean, description text, amount text, detail text'),
    ('subscriptions', 'login text, kinds text[], channel text, subscribed_at timestamp with time zone');
-- review policies
insert into expected_column values
    ('policies', 'policy_id bigint, requester text, kind text, task_type_id bigint, parameters jsonb, state text, created_at timestamp with time zone, changed_at timestamp with time zone'),
    ('policy_actions', 'action_id bigint, policy_id bigint, kind text, requester text, act text, task_id bigint, assignment_id bigint, performer text, measure numeric, action jsonb, state text, error text, created_at timestamp with time zone, finished_at timestamp with time zone'),
    ('policy_results', 'policy_id bigint, kind text, requester text, task_id bigint, assignment_id bigint, performer text, score numeric, scored_at timestamp with time zone'),
    ('policy_tallies', 'policy_id bigint, kind text, requester text, performer text, counted bigint, measure numeric, period timestamp with time zone'),
    ('requester_ratings', 'requester text, ratings bigint, stars numeric, last_at timestamp with time zone');
insert into expected_column values
    ('batches', 'requester text, task_type_id bigint, title text, reward numeric, tasks bigint, slots bigint, done bigint, pending bigint, available bigint, in_progress bigint, approved bigint, rejected bigint, returned bigint, abandoned bigint, given_up bigint, cost numeric, cost_to_come numeric, rate numeric, eta timestamp with time zone, first_at timestamp with time zone, last_at timestamp with time zone'),
    ('performer_profile', 'performer text, member_since timestamp with time zone, submitted bigint, pending bigint, approved bigint, rejected bigint, returned bigint, abandoned bigint, approval_percent numeric, agreement_percent numeric, last_at timestamp with time zone'),
    ('requester_performers', 'requester text, performer text, submitted bigint, pending bigint, approved bigint, rejected bigint, returned bigint, abandoned bigint, approval_percent numeric, paid numeric, last_at timestamp with time zone'),
    ('reviewable', 'requester text, assignment_id bigint, task_id bigint, task_type_id bigint, title text, performer text, submitted_at timestamp with time zone, auto_approve_at timestamp with time zone, result jsonb'),
    ('saved_searches', 'performer text, name text, query text, filters jsonb, notify boolean, saved_at timestamp with time zone'),
    ('task_catalogue', 'task_type_id bigint, title text, requester text, reward numeric, tasks bigint, available bigint, newest timestamp with time zone'),
    ('work_history', 'performer text, assignment_id bigint, task_id bigint, task_type_id bigint, title text, requester text, state text, reward numeric, accepted_at timestamp with time zone, finished_at timestamp with time zone, judged_at timestamp with time zone, feedback text');
insert into expected_column values
    ('executors', 'pid integer, environment text, role text, state text, since timestamp with time zone, started_at timestamp with time zone, customer text, run_id bigint, attempt integer, run_since timestamp with time zone, taken bigint, runs bigint, reserved_for text, reserved_until timestamp with time zone, cpu_time interval, rows bigint, blocks_read bigint, wal_bytes bigint, memory bigint'),
    ('dead_letters', 'run_id bigint, customer text, environment text, state text, attempts integer, max_attempts integer, finished_at timestamp with time zone, message text, error jsonb, version integer, code text, data jsonb, data_ref jsonb'),
    ('environments', 'name text, language text, version text, state text, paused boolean, resource_class text, limits jsonb, max_attempts integer, libraries text[], min_executors integer, max_executors integer, idle_time interval, worker_role text, created_at timestamp with time zone'),
    ('leased_run', 'run_id bigint, lease_token bigint, lease_until timestamp with time zone, customer text, priority integer, attempt integer, program text, version integer, code text, data jsonb, data_ref jsonb, timeout interval, progress jsonb, state jsonb'),
    ('schedules', 'customer text, name text, cron text, program text, data jsonb, priority integer, options jsonb, overlap text, missed text, created_at timestamp with time zone, last_due timestamp with time zone, last_run bigint, runs bigint, skipped bigint, missed_times bigint, failed bigint, last_error text'),
    ('programs', 'owner text, name text, environment text, version integer, is_newest boolean, deprecated boolean, price numeric, is_public boolean, published_at timestamp with time zone, source text, language text, is_chain boolean, total_price numeric'),
    ('queue', 'environment text, customer text, priority integer, waiting bigint, running integer, oldest timestamp with time zone, age interval, blocked boolean'),
    ('run_attempts', 'run_id bigint, customer text, attempt integer, worker text, version integer, started_at timestamp with time zone, finished_at timestamp with time zone, outcome text, error jsonb, measured jsonb, output text'),
    ('run_monitor', 'run_id bigint, customer text, environment text, program text, version integer, priority integer, attempt integer, worker text, pid integer, started_at timestamp with time zone, run_time interval, cpu_time interval, rows bigint, blocks_read bigint, wal_bytes bigint, memory bigint, wait_event_type text, wait_event text, progress jsonb, asked text, split_id bigint, part integer'),
    ('run_totals', 'of_what text, name text, running bigint, longest interval, run_time interval, cpu_time interval, rows numeric, blocks_read numeric, wal_bytes numeric, memory numeric'),
    ('throttles', 'scope text, name text, nice integer, pause integer, io_rate integer, until timestamp with time zone, reason text'),
    ('splits', 'split_id bigint, customer text, program text, combine text, state text, parts bigint, waiting bigint, running bigint, suspended bigint, done bigint, failed bigint, spares bigint, inputs integer, inputs_done bigint, submitted_at timestamp with time zone, started_at timestamp with time zone, finished_at timestamp with time zone, inputs_per_second double precision, expected_at timestamp with time zone, run_time interval'),
    ('invoice_lines', 'invoice_id bigint, customer text, line integer, meter text, environment text, program text, priority integer, usages bigint, quantity numeric, billed numeric, unit text, rate_id bigint, exact numeric, amount numeric'),
    ('invoices', 'invoice_id bigint, customer text, kind text, credits bigint, since timestamp with time zone, until timestamp with time zone, closed_at timestamp with time zone, total numeric, carried numeric, reason text, reference text'),
    ('meters', 'meter text, unit text, units text[], description text'),
    ('rates', 'rate_id bigint, meter text, environment text, program text, tier text, price numeric, unit text, per bigint, granularity bigint, minimum bigint, brackets jsonb, bracket_kind text, priority jsonb, charge text[], owner_share numeric, valid_from timestamp with time zone, valid_to timestamp with time zone, set_by text'),
    ('run_budgets', 'customer text, program text, period text, amount numeric, spent numeric, remaining numeric, state text, since timestamp with time zone'),
    ('usage', 'usage_id text, customer text, meter text, run_id bigint, attempt integer, outcome text, environment text, program text, priority integer, started_at timestamp with time zone, at timestamp with time zone, quantity bigint, billed bigint, unit text, rate_id bigint, amount numeric, correction integer, closed boolean'),
    ('runs', 'run_id bigint, customer text, environment text, program text, version integer, priority integer, state text, attempts integer, max_attempts integer, worker text, concurrency_key text, submitted_at timestamp with time zone, run_at timestamp with time zone, deadline timestamp with time zone, started_at timestamp with time zone, lease_until timestamp with time zone, finished_at timestamp with time zone, code text, data jsonb, data_ref jsonb, options jsonb, progress jsonb, result jsonb, error jsonb, checkpoint jsonb, split_id bigint, part integer');
select bag_eq($$ select c.relname::text, string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' order by attnum)
        from pg_class c join pg_attribute a on a.attrelid = c.oid
        where c.relnamespace = 'taskex'::regnamespace and attnum > 0 and not attisdropped group by c.relname $$,
    'select * from expected_column', 'views and row types have these columns');
select is(c.relkind::text, case when c.relname in ('assignment', 'leased_run') then 'c' else 'v' end, c.relname || ' is a view or a row type')
from pg_class c where c.relnamespace = 'taskex'::regnamespace order by c.relname;
select is_empty($$ select c.relname from pg_class c where c.relnamespace = 'taskex'::regnamespace and c.relkind = 'v'
        and c.relname in ('invoice_lines', 'invoices', 'rates', 'run_budgets', 'usage', 'dead_letters', 'executors', 'programs', 'schedules', 'queue', 'run_attempts', 'run_monitor', 'run_totals', 'runs', 'splits', 'layouts', 'layout_uses', 'batches', 'performer_profile', 'requester_performers', 'reviewable', 'saved_searches', 'task_catalogue', 'work_history', 'blocks', 'subscriptions', 'qualifications', 'disputes', 'policies', 'policy_actions', 'policy_results', 'policy_tallies', 'inferences', 'ratings', 'users', 'anonymous_users', 'identified_users', 'tasks', 'assignments', 'transfers') and not coalesce('security_barrier=true' = any (c.reloptions), false) $$,
    'views that hide rows are security barriers');
select is_empty($$ select c.relname from pg_class c where c.relnamespace = 'taskex'::regnamespace and c.relkind = 'v'
        and c.relname in ('audit', 'bonuses', 'budgets', 'earnings', 'fee_rules', 'payout_items', 'yearly_statements') and not coalesce('security_barrier=true' = any (c.reloptions), false) $$,
    'so are those of money');

-- settings
select results_eq($$ select name::text, vartype::text, context::text, coalesce(unit, '') from pg_settings where name like 'taskex.%' order by name collate "C" $$,
    $$ values ('taskex.anonymous_lifetime', 'integer', 'sighup', 's'), ('taskex.anonymous_limit', 'integer', 'superuser', ''), ('taskex.async_accept', 'bool', 'user', ''), ('taskex.checkpoint_size', 'integer', 'postmaster', 'kB'), ('taskex.clock', 'string', 'superuser', ''), ('taskex.conductor', 'bool', 'sighup', ''), ('taskex.conductor_interval', 'integer', 'sighup', 'ms'),
        ('taskex.directory_cache_size', 'integer', 'postmaster', 'kB'), ('taskex.dispute_period', 'integer', 'superuser', 's'), ('taskex.epoch', 'integer', 'user', ''), ('taskex.event_retention', 'integer', 'sighup', 's'), ('taskex.exchange_fee', 'real', 'superuser', ''), ('taskex.executor_batch', 'integer', 'sighup', ''), ('taskex.executor_batch_time', 'integer', 'sighup', 'ms'), ('taskex.executor_slice', 'integer', 'sighup', 'ms'), ('taskex.feed_size', 'integer', 'postmaster', ''),
        ('taskex.load_half_life', 'integer', 'sighup', 's'), ('taskex.load_history', 'integer', 'sighup', 's'), ('taskex.load_interval', 'integer', 'sighup', 'ms'), ('taskex.load_sample', 'integer', 'sighup', '8kB'),
        ('taskex.max_databases', 'integer', 'postmaster', ''), ('taskex.max_executors', 'integer', 'postmaster', ''), ('taskex.max_inference_memory', 'integer', 'superuser', 'kB'), ('taskex.max_input_size', 'integer', 'superuser', 'kB'), ('taskex.max_lanes', 'integer', 'postmaster', ''), ('taskex.max_loaded_users', 'integer', 'postmaster', ''), ('taskex.max_movers', 'integer', 'sighup', ''), ('taskex.max_partitions', 'integer', 'postmaster', ''), ('taskex.max_supplies', 'integer', 'postmaster', ''), ('taskex.measure_load', 'bool', 'superuser', ''), ('taskex.move_rate', 'integer', 'sighup', 'kB'), ('taskex.move_stall', 'integer', 'sighup', 'ms'), ('taskex.move_window', 'string', 'sighup', ''), ('taskex.override_period', 'integer', 'superuser', 's'),
        ('taskex.plan_cache_size', 'integer', 'user', ''), ('taskex.program_share', 'real', 'superuser', ''), ('taskex.purse_cache_size', 'integer', 'postmaster', ''), ('taskex.ready_runs', 'integer', 'postmaster', ''), ('taskex.rebalance_cooldown', 'integer', 'user', 's'), ('taskex.rebalance_gain', 'real', 'user', ''),
        ('taskex.rebalance_start', 'real', 'user', ''), ('taskex.rebalance_target', 'real', 'user', ''), ('taskex.run_grace', 'integer', 'sighup', 'ms'), ('taskex.run_output_size', 'integer', 'sighup', 'kB'), ('taskex.run_retention', 'integer', 'sighup', 's'),
        ('taskex.supply', 'bool', 'superuser', ''), ('taskex.supply_alike', 'string', 'superuser', ''), ('taskex.supply_certainty', 'real', 'sighup', ''), ('taskex.supply_horizon', 'integer', 'sighup', 's'), ('taskex.supply_input', 'integer', 'postmaster', 'B'), ('taskex.supply_interval', 'integer', 'superuser', 'ms'), ('taskex.supply_lease', 'integer', 'sighup', 's'),
        ('taskex.supply_limit', 'integer', 'sighup', ''), ('taskex.supply_size', 'integer', 'postmaster', '') $$,
    'the settings, who may change them, and their units (wait_point is not shown)');
select lives_ok('set local taskex.wait_point = ''nowhere''', 'a superuser may set taskex.wait_point');
select throws_ok('set taskex.no_such_setting = 1', null, null, 'the prefix is reserved');
select throws_ok('set taskex.clock = ''soon''', '22023', null, 'the clock is a time');
select throws_ok('set taskex.exchange_fee = 1.1', '22023', null, 'the fee is a share');
select throws_ok('set taskex.exchange_fee = -0.1', '22023', null, 'the fee is not negative');

-- SQLSTATEs
select results_eq('select sqlstate, name from taskex.errors order by sqlstate collate "C"', $$ values
    ('TX000', 'not_loaded'), ('TX001', 'unknown_user'), ('TX002', 'duplicate_login'), ('TX003', 'unknown_partition'), ('TX004', 'partition_not_active'),
    ('TX005', 'unknown_node'), ('TX006', 'other_node'), ('TX007', 'duplicate_name'), ('TX008', 'still_in_use'),
    ('TX101', 'unknown_task_type'), ('TX102', 'unknown_task'), ('TX103', 'unknown_assignment'), ('TX104', 'task_not_available'), ('TX105', 'own_task'),
    ('TX106', 'already_assigned'), ('TX107', 'lease_expired'), ('TX108', 'stale_token'), ('TX109', 'wrong_state'), ('TX110', 'idempotency_mismatch'), ('TX111', 'input_too_large'),
    ('TX112', 'not_qualified'),
    ('TX113', 'performer_blocked'),
    ('TX114', 'result_invalid'),
    ('TX115', 'unknown_qualification'),
    ('TX116', 'qualification_refused'),
    ('TX117', 'unknown_policy'),
    ('TX118', 'unknown_template'),
    ('TX119', 'unknown_dispute'),
    ('TX120', 'unknown_search'),
    ('TX121', 'unknown_attachment'),
    ('TX122', 'too_late'),
    ('TX201', 'insufficient_funds'), ('TX202', 'amount_out_of_range'),
    ('TX203', 'budget_exceeded'),
    ('TX204', 'unknown_payout'),
    ('TX205', 'unknown_budget'),
    ('TX206', 'unknown_fee'),
    ('TX301', 'event_gone'),
    ('TX302', 'not_subscribed'),
    ('TX401', 'unknown_group'), ('TX402', 'default_group'), ('TX403', 'exclusive_supply'),
    ('TX410', 'unknown_intention'),
    ('TX419', 'unknown_layout'), ('TX500', 'unknown_migration'), ('TX501', 'already_moving'), ('TX502', 'lives_there'), ('TX510', 'unknown_fitness'), ('TX511', 'unknown_factor'), ('TX512', 'factor_failed'), ('TX513', 'no_suitable_partition'), ('TX514', 'no_scheduler'), ('TX520', 'identity_conflict'), ('TX521', 'not_anonymous'), ('TX522', 'already_identified'), ('TX523', 'user_busy'), ('TX524', 'too_many_anonymous'),
    ('TX600', 'unknown_run'), ('TX601', 'run_failed'), ('TX620', 'unknown_environment'), ('TX621', 'environment_retired'), ('TX622', 'unknown_program'), ('TX630', 'run_timeout'), ('TX631', 'result_too_large'), ('TX632', 'rows_limit_exceeded'), ('TX635', 'executor_failed'), ('TX636', 'no_executor_role'), ('TX637', 'server_environment'),
    ('TX638', 'code_invalid'), ('TX639', 'data_unavailable'),
    ('TX640', 'credit_exhausted'), ('TX641', 'run_budget_exceeded'), ('TX642', 'unknown_meter'), ('TX643', 'unknown_rate'), ('TX644', 'unknown_usage'), ('TX645', 'unknown_invoice'),
    ('TX646', 'invoices_closed'), ('TX660', 'stale_epoch'), ('TX661', 'not_measured'), ('TX662', 'not_executed'), ('TX663', 'run_suspended') $$, 'class TX');
select is_empty('select * from taskex.errors where coalesce(description, '''') = ''''', 'each has a description');
select throws_ok(format('select _taskex.fail(%L, ''message'')', name), sqlstate, 'message', name || ' is raised with its SQLSTATE') from taskex.errors;

select * from finish();
rollback;
