-- The access matrix of sql/privileges.sql, spelled out independently: who may
-- execute and read what, and that there is nothing else.
begin;
select no_plan();

-- the least role that may; '' is nobody but the owner
create temporary table may_execute (name text, role text);
insert into may_execute
    select unnest(array['accept_next', 'accept_task', 'approve_assignment', 'balance', 'create_golden_task', 'create_golden_tasks', 'create_task', 'create_task_type', 'create_tasks', 'expire_task',
        'extend_assignment', 'reject_assignment', 'return_assignment', 'route', 'start_anonymous', 'identify', 'set_golden_rate', 'statement', 'submit_assignment', 'submit_assignments', 'task_answer', 'task_answers', 'task_consensus',
        'task_results', 'update_user', 'withdraw']), 'taskex_user'
    union all select 'register_user', 'taskex_app'
    union all select unnest(array['add_node', 'add_partition', 'check_ledger', 'check_market', 'deposit', 'cancel_migration', 'drain_node', 'drain_partition', 'drop_node', 'migrate_user', 'migrate_users', 'move_partition', 'undo_migration',
        'drop_partition', 'resume_node', 'prune', 'resume_partition', 'retry_failed_acts', 'run_due']), 'taskex_admin';
-- review
insert into may_execute select unnest(array['answer_dispute', 'approve_assignments', 'approve_task', 'mark_messages', 'messages', 'open_dispute',
        'rate_requester', 'withdraw_dispute']), 'taskex_user';
insert into may_execute values ('resolve_dispute', 'taskex_admin');
insert into may_execute select unnest(array['create_policy', 'delete_policy', 'notify_performers', 'pause_policy', 'resume_policy', 'update_policy']), 'taskex_user';
-- formats and changes of tasks
insert into may_execute select unnest(array['add_performers', 'annotate_task', 'attach', 'attachment_url', 'attachments', 'create_task_from_template', 'create_tasks_from_template',
    'create_template', 'detach', 'drop_template', 'render_template', 'cancel_task', 'cancel_tasks', 'change_task_type', 'dispose_task', 'dispose_tasks', 'get_assignment',
    'get_task', 'list_assignments', 'list_tasks', 'reviewable_results', 'reviewable_tasks', 'set_expiry', 'set_review_status', 'validate_result']), 'taskex_user';
-- truth
insert into may_execute select unnest(array['infer_performers', 'infer_truth']), 'taskex_user';
-- events
insert into may_execute select unnest(array['read_events', 'subscribe', 'test_event', 'unsubscribe']), 'taskex_user';
create temporary table may_execute_internal (name text, role text);
insert into may_execute_internal
    select unnest(array['amount', 'answer_score', 'caller_admin', 'caller_ids', 'caller_trusted', 'errors', 'inferences', 'now']), 'taskex_user'
    union all select unnest(array['loaded', 'proficiency_score', 'recommend_state', 'supplier_state', 'workers']), 'taskex_admin';
insert into may_execute_internal values ('task_state', 'taskex_user');
insert into may_execute_internal select unnest(array['asked', 'narrow', 'own', 'visible', 'visible']), 'taskex_user';
insert into may_execute_internal values ('journal_lag', 'taskex_admin');
create temporary table may_read (name text, role text);
insert into may_read
    select unnest(array['assignments', 'disputes', 'errors', 'inferences', 'ratings', 'task_types', 'tasks', 'transfers', 'users', 'anonymous_users', 'identified_users']), 'taskex_user'
    union all select unnest(array['activity', 'drains', 'failed_acts', 'health', 'nodes', 'partitions']), 'taskex_admin';

-- load
insert into may_execute values ('measure_load', 'taskex_admin');
insert into may_execute_internal values ('builtin_factors', 'taskex_admin'), ('load_faded', 'taskex_user'), ('load_means', 'taskex_user'), ('load_lag', 'taskex_admin');
insert into may_read values ('user_load', 'taskex_user'), ('partition_load', 'taskex_admin'), ('node_load', 'taskex_admin');

-- layouts
insert into may_execute select unnest(array['create_layout', 'drop_layout', 'render_layout', 'render_task', 'use_layout']), 'taskex_user'
    union all select unnest(array['announce', 'withdraw_announcement']), 'taskex_admin';
insert into may_read select unnest(array['layout_uses', 'layouts']), 'taskex_user' union all select 'announcements', 'taskex_admin';
-- placement
insert into may_execute select unnest(array['add_factor', 'alter_node', 'alter_partition', 'drop_factor', 'drop_fitness', 'plan_rebalance', 'rebalance', 'schedule_rebalance',
    'score_partitions', 'set_fitness', 'unschedule_rebalance']), 'taskex_admin';
insert into may_read select unnest(array['factors', 'fitnesses', 'placement_scores']), 'taskex_admin';
-- recommendations
insert into may_execute values ('recommend_tasks', 'taskex_user'), ('send_recommendations', 'taskex_admin');
insert into may_read values ('recommendation_factors', 'taskex_admin');
-- groups
insert into may_execute values ('wait_for_task', 'taskex_user'), ('push_tasks', 'taskex_user');
insert into may_execute select unnest(array['add_group_members', 'create_group', 'drop_group', 'propose_moves', 'remove_group_members', 'replenish', 'set_requester_weight', 'update_group']), 'taskex_admin';
insert into may_read select unnest(array['group_members', 'hot_spots', 'performer_groups', 'pushes', 'requester_weights', 'supplies', 'supply_history']), 'taskex_admin';
insert into may_execute_internal values ('supply_list', 'taskex_admin'), ('at_hand', 'taskex_user'), ('move_progress', 'taskex_user'), ('mover_health', 'taskex_admin');
insert into may_read values ('migrations', 'taskex_user');

-- runs
insert into may_execute select unnest(array['acknowledge_run', 'cancel_run', 'complete_run', 'complete_runs', 'data_checksum', 'deprecate_program', 'fail_run', 'heartbeat_run', 'limit_key', 'pause_runs', 'publish_chain', 'publish_program',
        'pull_runs', 'redrive_runs', 'release_run', 'resume_runs', 'retry_run', 'run_result', 'run_status', 'submit_run', 'submit_runs', 'schedule_run', 'search_programs', 'undeprecate_program', 'unschedule_run', 'wait_for_run']), 'taskex_user'
    union all select unnest(array['alter_environment', 'check_workload', 'create_environment', 'drain_executors', 'resume_executors', 'limit_customer', 'pause_environment', 'remove_runs', 'resume_environment', 'retire_environment', 'unretire_environment', 'run_due_runs']), 'taskex_admin';
insert into may_read select unnest(array['dead_letters', 'environments', 'executors', 'programs', 'queue', 'run_attempts', 'runs', 'schedules']), 'taskex_user';
insert into may_execute_internal select unnest(array['executor_slots', 'lanes', 'run_ended', 'run_state']), 'taskex_user' union all values ('pool_health', 'taskex_admin'), ('queue_health', 'taskex_admin'), ('role_health', 'taskex_admin'), ('unreadable_partitions', 'taskex_admin');

-- billing
insert into may_execute select unnest(array['draft_invoice', 'drop_run_budget', 'estimate_cost', 'explain_charge', 'set_program_price', 'set_run_budget', 'usage_statement']), 'taskex_user'
    union all select unnest(array['check_billing', 'close_invoices', 'correct_usage', 'credit_invoice', 'remove_usage', 'sample_usage', 'schedule_billing', 'set_billing_tier', 'set_credit_limit', 'set_rate', 'unschedule_billing']), 'taskex_admin';
insert into may_read select unnest(array['invoice_lines', 'invoices', 'meters', 'rates', 'run_budgets', 'usage']), 'taskex_user';
insert into may_execute_internal select unnest(array['meter_units', 'outcome_names', 'usage_charge', 'usage_key']), 'taskex_user' union all values ('metering_health', 'taskex_admin');
-- (billing)
-- steering
insert into may_execute select unnest(array['checkpoint', 'locate', 'measure_inputs', 'measure_program', 'progress', 'recommend_parts', 'resume_program', 'resume_run', 'run_state', 'set_parts', 'should_yield', 'submit_parts', 'submit_split', 'suspend_customer', 'suspend_program', 'suspend_run', 'yield_run']), 'taskex_user';
insert into may_read select unnest(array['splits', 'run_monitor', 'run_totals']), 'taskex_user';
insert into may_execute select unnest(array['drop_alert', 'set_alert', 'set_throttle_policy', 'throttle', 'unthrottle']), 'taskex_admin';
insert into may_read select unnest(array['throttles']), 'taskex_admin';
insert into may_execute_internal values ('executor_waits', 'taskex_user'), ('running_runs', 'taskex_user'), ('alert_health', 'taskex_admin');
-- (steering)
-- forecasts
insert into may_execute select unnest(array['acceptance_probability', 'cancel_intention', 'declare_intention', 'forecast_accepts', 'set_preferences']), 'taskex_user';
insert into may_read select unnest(array['intentions', 'preferences']), 'taskex_user' union all values ('supply_targets', 'taskex_admin');

-- finance
insert into may_execute select unnest(array['drop_budget', 'quote', 'send_bonus', 'set_budget']), 'taskex_user'
    union all select unnest(array['create_payout', 'drop_fee', 'set_fee', 'settle_payout_item']), 'taskex_admin';
insert into may_execute_internal values ('budget_account', 'taskex_user');
insert into may_read select unnest(array['audit', 'bonuses', 'budgets', 'earnings', 'fee_rules', 'payout_items', 'yearly_statements']), 'taskex_user'
    union all select 'payouts', 'taskex_admin';

-- answers and golden tasks
insert into may_read values ('golden_tasks', 'taskex_user');
insert into may_read values ('event_kinds', 'taskex_user'), ('subscriptions', 'taskex_user');

-- qualifications and blocks
insert into may_execute
    select unnest(array['block_performer', 'check_qualifications', 'create_qualification', 'delete_qualification', 'grant_qualification', 'grant_request',
        'performer_qualifications', 'qualification_holders', 'qualification_requests', 'qualification_score', 'reject_request', 'request_qualification',
        'revoke_qualification', 'start_qualification_test', 'unblock_performer', 'update_qualification']), 'taskex_user'
    union all select unnest(array['resume_performer', 'suspend_performer']), 'taskex_admin';
insert into may_read select unnest(array['blocks', 'qualifications']), 'taskex_user';

insert into may_read select unnest(array['policies', 'policy_actions', 'policy_results', 'policy_tallies', 'requester_ratings']), 'taskex_user';
insert into may_read values ('templates', 'taskex_user');
-- finding work
insert into may_execute select unnest(array['drop_search', 'history', 'preview_task', 'queue', 'run_search', 'save_search', 'search_tasks']), 'taskex_user';
insert into may_execute_internal select unnest(array['glance', 'shelf_is_live', 'decayed']), 'taskex_user';
insert into may_read select unnest(array['batches', 'performer_profile', 'requester_performers', 'reviewable', 'saved_searches', 'task_catalogue', 'work_history']), 'taskex_user';

create function pg_temp.least(can_user boolean, can_app boolean, can_admin boolean) returns text language sql as $$
    select case when can_user and can_app and can_admin then 'taskex_user' when can_app and can_admin and not can_user then 'taskex_app'
        when can_admin and not can_app and not can_user then 'taskex_admin' when not can_admin and not can_app and not can_user then '' else 'odd' end $$;

select bag_eq($$ select proname::text, pg_temp.least(has_function_privilege('taskex_user', oid, 'execute'), has_function_privilege('taskex_app', oid, 'execute'),
        has_function_privilege('taskex_admin', oid, 'execute')) from pg_proc where pronamespace = 'taskex'::regnamespace $$,
    'select * from may_execute', 'who may execute the functions');
select bag_eq($$ select proname::text, pg_temp.least(has_function_privilege('taskex_user', oid, 'execute'), has_function_privilege('taskex_app', oid, 'execute'),
        has_function_privilege('taskex_admin', oid, 'execute')) from pg_proc where pronamespace = '_taskex'::regnamespace
        and (proname in (select name from may_execute_internal) or has_function_privilege('taskex_admin', oid, 'execute')) $$,
    'select * from may_execute_internal', 'who may execute the internal functions');
select bag_eq($$ select relname::text, pg_temp.least(has_table_privilege('taskex_user', oid, 'select'), has_table_privilege('taskex_app', oid, 'select'),
        has_table_privilege('taskex_admin', oid, 'select')) from pg_class where relnamespace = 'taskex'::regnamespace and relkind <> 'c' $$,
    'select * from may_read', 'who may read the views');
select is_empty($$ select v.oid::regclass, d.refobjid::regprocedure, r.role from may_read r join pg_class v on v.relname = r.name and v.relnamespace = 'taskex'::regnamespace
        join pg_rewrite w on w.ev_class = v.oid join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_proc'::regclass
        where not has_function_privilege(r.role, d.refobjid, 'execute') $$, 'who may read a view may execute what it calls');
create function pg_temp.unreadable_views() returns setof text language plpgsql as $$
declare
    v record;
begin
    for v in select name, role from may_read order by name loop
        execute format('set local role %I', v.role);
        begin
            execute format('select count(v) from taskex.%I v', v.name);
        exception when insufficient_privilege then
            return next format('%s: %s', v.name, sqlerrm);
        end;
        reset role;
    end loop;
end $$;
select is_empty('select pg_temp.unreadable_views()', '... and can read it');

-- a role that has nothing to do with it
create role pgtap_stranger;
select is_empty($$ select p.oid::regprocedure from pg_proc p where pronamespace in ('taskex'::regnamespace, '_taskex'::regnamespace)
        and has_function_privilege('pgtap_stranger', p.oid, 'execute') $$, 'a stranger may execute nothing');
select is_empty($$ select c.oid::regclass from pg_class c where relnamespace in ('taskex'::regnamespace, '_taskex'::regnamespace) and relkind in ('r', 'p', 'v', 'm', 'f')
        and has_table_privilege('pgtap_stranger', c.oid, 'select, insert, update, delete, truncate, references, trigger') $$, 'a stranger may read and write nothing');
select ok(not has_schema_privilege('pgtap_stranger', 'taskex', 'usage') and not has_schema_privilege('pgtap_stranger', '_taskex', 'usage'),
    'a stranger may not even look into the schemas');

-- a new partition's tables too
select lives_ok('select taskex.add_partition(''pgtap_privileges'')', 'a partition is added');
select is_empty($$ select role, c.oid::regclass, p from unnest(array['taskex_user', 'taskex_app', 'taskex_admin']) role, pg_class c,
        unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) p
        where c.relnamespace = '_taskex'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and (has_table_privilege(role, c.oid, p)
            or (p in ('select', 'insert', 'update', 'references') and has_any_column_privilege(role, c.oid, p))) $$,
    'nobody has any right on a table of _taskex, whole or by columns');
select is_empty($$ select role, c.oid::regclass from unnest(array['taskex_user', 'taskex_app', 'taskex_admin']) role, pg_class c
        where c.relnamespace = 'taskex'::regnamespace and c.relkind = 'v' and has_table_privilege(role, c.oid, 'insert, update, delete, truncate, references, trigger') $$,
    'nobody has a right on a view but SELECT');
select is_empty($$ select role, c.oid::regclass from unnest(array['taskex_user', 'taskex_app', 'taskex_admin']) role, pg_class c
        where c.relnamespace = '_taskex'::regnamespace and c.relkind = 'S' and has_sequence_privilege(role, c.oid, 'usage, select, update') $$,
    'nobody has a right on a sequence');
select is_empty($$ select role, s, p from unnest(array['taskex_user', 'taskex_app', 'taskex_admin']) role, unnest(array['taskex', '_taskex']) s, unnest(array['usage', 'create']) p
        where has_schema_privilege(role, s, p) and not (s = 'taskex' and p = 'usage') $$,
    'roles may use schema taskex and nothing else');
select bag_eq($$ select r.role, has_schema_privilege(r.role, 'taskex', 'usage') from unnest(array['taskex_user', 'taskex_app', 'taskex_admin']) r (role) $$,
    $$ values ('taskex_user', true), ('taskex_app', true), ('taskex_admin', true) $$, 'all three use schema taskex');
select is_empty($$ select p.oid::regprocedure, a.grantee::regrole from pg_proc p, aclexplode(p.proacl) a
        where pronamespace in ('taskex'::regnamespace, '_taskex'::regnamespace) and a.is_grantable and a.grantee <> p.proowner $$, 'nobody may pass a right on');
select is_empty($$ select c.oid::regclass, a.grantee::regrole from pg_class c, aclexplode(c.relacl) a
        where relnamespace in ('taskex'::regnamespace, '_taskex'::regnamespace) and a.is_grantable and a.grantee <> c.relowner $$, 'nor one on a view');

-- the roles: each includes the one below it, and is a group only
select bag_eq($$ select m.rolname::text as member, g.rolname::text as role, a.admin_option from pg_auth_members a join pg_roles m on m.oid = a.member join pg_roles g on g.oid = a.roleid
        where g.rolname like 'taskex\_%' and m.rolname like 'taskex\_%' $$,
    $$ values ('taskex_app', 'taskex_user', false), ('taskex_admin', 'taskex_app', false) $$, 'admin includes app, app includes user');
select is_empty($$ select rolname from pg_roles where rolname like 'taskex\_%' and (rolcanlogin or rolsuper or rolcreatedb or rolcreaterole or rolreplication or rolbypassrls) $$,
    'they can do nothing else');

-- one owner for everything
select is_empty($$ select c.oid::regclass from pg_class c, pg_extension e where e.extname = 'taskex' and c.relnamespace in ('taskex'::regnamespace, '_taskex'::regnamespace) and c.relowner <> e.extowner $$,
    'the extension''s owner owns all relations, also those of the new partition');
select is_empty($$ select p.oid::regprocedure from pg_proc p, pg_extension e where e.extname = 'taskex' and pronamespace in ('taskex'::regnamespace, '_taskex'::regnamespace) and proowner <> e.extowner $$,
    '... and all functions');

select * from finish();
rollback;
