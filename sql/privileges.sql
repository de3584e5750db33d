-- privileges.sql: who may do what, all of it on this page.
--
--   taskex_user   acts for the users whose profile names the role as db_role
--   taskex_app    acts for any user, and registers users
--   taskex_admin  operates the exchange: topology, deposits, checks
--
-- Each includes the one above. EXECUTE opens the door; for whom the caller may
-- act is checked inside the functions, at each call. Views show the rows of
-- those for whom the caller may act. Nobody has rights on the tables.

-- (another database may be granting the same, as in header.sql)
DO $$
BEGIN
    IF NOT pg_catalog.pg_has_role('taskex_app', 'taskex_user', 'MEMBER') THEN
        GRANT taskex_user TO taskex_app;
    END IF;
    IF NOT pg_catalog.pg_has_role('taskex_admin', 'taskex_app', 'MEMBER') THEN
        GRANT taskex_app TO taskex_admin;
    END IF;
EXCEPTION WHEN unique_violation THEN
    GRANT taskex_user TO taskex_app;
    GRANT taskex_app TO taskex_admin;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA taskex, _taskex FROM PUBLIC;
GRANT USAGE ON SCHEMA taskex TO taskex_user;

-- users: everything that is checked inside
GRANT EXECUTE ON FUNCTION
    taskex.add_performers(text, bigint, int, text),
    taskex.annotate_task(text, bigint, text),
    taskex.attach(text, text, text, bigint, bigint, text, bigint, bytea),
    taskex.attachment_url(text, bigint, text),
    taskex.attachments(text, bigint, bigint),
    taskex.create_task_from_template(text, text, bigint, jsonb, int, interval, text, text, int, float8, text, int),
    taskex.create_tasks_from_template(text, text, bigint, jsonb[], int, interval, text, text, int, float8, text, int),
    taskex.create_template(text, text, jsonb, jsonb, text),
    taskex.detach(text, text, bigint, bigint),
    taskex.drop_search(text, text),
    taskex.drop_template(text, text),
    taskex.history(text, bigint, int),
    taskex.preview_task(text, bigint),
    taskex.queue(text),
    taskex.render_template(text, text, jsonb, int),
    taskex.cancel_task(text, bigint),
    taskex.cancel_tasks(text, bigint, bigint[]),
    taskex.change_task_type(text, bigint, bigint),
    taskex.dispose_task(text, bigint),
    taskex.dispose_tasks(text, interval, bigint, int),
    taskex.get_assignment(text, bigint),
    taskex.get_task(text, bigint),
    taskex.list_assignments(text, bigint, text, bigint, int),
    taskex.list_tasks(text, text, bigint, bigint, int),
    taskex.reviewable_results(text, bigint, bigint, int),
    taskex.reviewable_tasks(text, bigint, text, bigint, int),
    taskex.run_search(text, text, int, int),
    taskex.save_search(text, text, text, jsonb, boolean),
    taskex.search_tasks(text, text, int, numeric, numeric, text, bigint[], boolean, text, text, text, int),
    taskex.set_expiry(text, bigint, timestamptz),
    taskex.set_review_status(text, bigint, text),
    taskex.accept_next(text, bigint, int),
    taskex.accept_task(text, bigint),
    taskex.answer_dispute(text, bigint, text),
    taskex.approve_assignment(text, bigint, text, boolean),
    taskex.approve_assignments(text, bigint[], text),
    taskex.approve_task(text, bigint, text),
    taskex.balance(text),
    taskex.create_golden_task(text, bigint, jsonb, jsonb, int, interval, text, text, jsonb),
    taskex.create_golden_tasks(text, bigint, jsonb[], jsonb[], int, interval, text, text, jsonb),
    taskex.block_performer(text, text, text, timestamptz),
    taskex.check_qualifications(text, bigint),
    taskex.create_qualification(text, text, text, text[], jsonb, jsonb, interval, interval, boolean, int, boolean, boolean),
    taskex.create_task(text, bigint, jsonb, int, interval, text, text, int, float8, text),
    taskex.create_task_type(text, text, numeric, text, text[], interval, interval, jsonb, jsonb),
    taskex.create_tasks(text, bigint, jsonb[], int, interval, text, text, int, float8, text),
    taskex.delete_qualification(text, bigint),
    taskex.drop_budget(text, text, bigint),
    taskex.expire_task(text, bigint),
    taskex.extend_assignment(text, bigint, interval),
    taskex.identify(text, text),
    taskex.infer_performers(text, text, jsonb),
    taskex.infer_truth(text, text, jsonb),
    taskex.mark_messages(text, bigint[]),
    taskex.messages(text, boolean, bigint, int),
    taskex.open_dispute(text, bigint, text),
    taskex.push_tasks(text),
    taskex.quote(text, bigint, int, int),
    taskex.rate_requester(text, bigint, int, text),
    taskex.grant_qualification(text, bigint, text, int, boolean),
    taskex.grant_request(text, bigint, int),
    taskex.performer_qualifications(text, bigint, int),
    taskex.qualification_holders(text, bigint, text, bigint, int),
    taskex.qualification_requests(text, bigint, text, bigint, int),
    taskex.qualification_score(text, bigint, text),
    taskex.read_events(text, bigint, int),
    taskex.reject_assignment(text, bigint, text, boolean),
    taskex.reject_request(text, bigint, text),
    taskex.request_qualification(text, bigint, jsonb),
    taskex.return_assignment(text, bigint),
    taskex.revoke_qualification(text, bigint, text, text),
    taskex.locate(text, bigint),
    taskex.route(text),
    taskex.send_bonus(text, bigint, numeric, text, text),
    taskex.set_budget(text, numeric, text, bigint),
    taskex.set_golden_rate(text, bigint, float8),
    taskex.start_anonymous(jsonb),
    taskex.start_qualification_test(text, bigint),
    taskex.statement(text, timestamptz, int),
    taskex.submit_assignment(text, bigint, jsonb, bigint),
    taskex.submit_assignments(text, bigint[], jsonb[]),
    taskex.subscribe(text, text[], text),
    taskex.task_answer(text, bigint),
    taskex.task_answers(text, bigint, bigint, int),
    taskex.task_consensus(text, bigint),
    taskex.task_results(text, bigint),
    taskex.unblock_performer(text, text),
    taskex.update_qualification(text, bigint, jsonb),
    taskex.test_event(text),
    taskex.unsubscribe(text),
    taskex.update_user(text, jsonb),
    taskex.validate_result(bigint, jsonb),
    taskex.wait_for_task(text, interval, bigint),
    taskex.withdraw(text, numeric, text),
    taskex.withdraw_dispute(text, bigint)
    TO taskex_user;

-- what the views call
GRANT EXECUTE ON FUNCTION
    _taskex.amount(bigint),
    _taskex.answer_score(jsonb, jsonb, jsonb),
    _taskex.asked(text, bigint),
    _taskex.budget_account(bigint, text, timestamptz),
    _taskex.caller_admin(),
    _taskex.caller_ids(),
    _taskex.caller_trusted(),
    _taskex.decayed(float8, interval),
    _taskex.errors(),
    _taskex.glance(bigint, bigint, bigint, bigint),
    _taskex.inferences(),
    _taskex.narrow(int, bigint, text, bigint),
    _taskex.now(),
    _taskex.own(bigint),
    _taskex.shelf_is_live(bigint, bigint, bigint),
    _taskex.visible(bigint),
    _taskex.visible(bigint, bigint)
    TO taskex_user;

GRANT EXECUTE ON FUNCTION _taskex.task_state(text, timestamptz, int, int, int, int, boolean) TO taskex_user;

GRANT SELECT ON taskex.templates TO taskex_user;

GRANT SELECT ON
    taskex.anonymous_users,
    taskex.assignments,
    taskex.batches,
    taskex.blocks,
    taskex.disputes,
    taskex.errors,
    taskex.event_kinds,
    taskex.golden_tasks,
    taskex.identified_users,
    taskex.inferences,
    taskex.performer_profile,
    taskex.qualifications,
    taskex.ratings,
    taskex.requester_performers,
    taskex.reviewable,
    taskex.saved_searches,
    taskex.subscriptions,
    taskex.task_catalogue,
    taskex.task_types,
    taskex.tasks,
    taskex.transfers,
    taskex.users,
    taskex.work_history
    TO taskex_user;

GRANT SELECT ON
    taskex.audit, taskex.bonuses, taskex.budgets, taskex.earnings, taskex.fee_rules, taskex.payout_items,
    taskex.yearly_statements
    TO taskex_user;

-- review policies, messages to performers
GRANT EXECUTE ON FUNCTION
    taskex.create_policy(text, text, jsonb, bigint),
    taskex.delete_policy(text, bigint),
    taskex.notify_performers(text, text[], text, text),
    taskex.pause_policy(text, bigint),
    taskex.resume_policy(text, bigint),
    taskex.update_policy(text, bigint, jsonb)
    TO taskex_user;
GRANT SELECT ON
    taskex.policies, taskex.policy_actions, taskex.policy_results, taskex.policy_tallies, taskex.requester_ratings
    TO taskex_user;

-- load
GRANT EXECUTE ON FUNCTION
    _taskex.load_faded(float8, bigint, bigint, boolean),
    _taskex.load_means(real[], timestamptz, timestamptz, timestamptz)
    TO taskex_user;
GRANT SELECT ON taskex.user_load TO taskex_user;
GRANT EXECUTE ON FUNCTION taskex.measure_load() TO taskex_admin;
GRANT SELECT ON taskex.node_load, taskex.partition_load TO taskex_admin;

-- placement
GRANT EXECUTE ON FUNCTION
    _taskex.builtin_factors(),
    taskex.add_factor(text, regprocedure, text),
    taskex.drop_factor(text),
    taskex.drop_fitness(text),
    taskex.plan_rebalance(text, int),
    taskex.rebalance(text, int),
    taskex.schedule_rebalance(text, text, int),
    taskex.score_partitions(text, text),
    taskex.set_fitness(text, jsonb),
    taskex.unschedule_rebalance(text)
    TO taskex_admin;
GRANT SELECT ON taskex.factors, taskex.fitnesses, taskex.placement_scores TO taskex_admin;

-- recommendations
GRANT EXECUTE ON FUNCTION taskex.recommend_tasks(text, int) TO taskex_user;
GRANT EXECUTE ON FUNCTION taskex.send_recommendations(interval, int, int) TO taskex_admin;
GRANT SELECT ON taskex.recommendation_factors TO taskex_admin;

-- forecasts of accepts, preferences
GRANT EXECUTE ON FUNCTION
    taskex.acceptance_probability(text, bigint[], int[], interval),
    taskex.cancel_intention(text, bigint),
    taskex.declare_intention(text, bigint[], int, tstzrange),
    taskex.forecast_accepts(text, bigint, interval),
    taskex.set_preferences(text, jsonb)
    TO taskex_user;
GRANT SELECT ON taskex.intentions, taskex.preferences TO taskex_user;

-- layouts
GRANT EXECUTE ON FUNCTION
    taskex.create_layout(text, text, jsonb, jsonb, text),
    taskex.drop_layout(text, text),
    taskex.render_layout(text, text, jsonb, jsonb, int),
    taskex.render_task(text, bigint, jsonb),
    taskex.use_layout(text, bigint, text, int)
    TO taskex_user;
GRANT SELECT ON taskex.layout_uses, taskex.layouts TO taskex_user;
GRANT EXECUTE ON FUNCTION
    taskex.announce(text, jsonb, jsonb, timestamptz, timestamptz, int),
    taskex.withdraw_announcement(text)
    TO taskex_admin;
GRANT SELECT ON taskex.announcements TO taskex_admin;

-- programs and runs; who may pull is checked for each environment
GRANT EXECUTE ON FUNCTION
    taskex.acknowledge_run(bigint),
    taskex.cancel_run(bigint),
    taskex.checkpoint(jsonb, jsonb),
    taskex.complete_run(bigint, bigint, jsonb),
    taskex.complete_runs(bigint[], bigint[], jsonb[]),
    taskex.data_checksum(jsonb),
    taskex.deprecate_program(text, text, int),
    taskex.fail_run(bigint, bigint, jsonb, boolean),
    taskex.heartbeat_run(bigint, bigint, interval, jsonb, jsonb),
    taskex.limit_key(text, text, int),
    taskex.pause_runs(text),
    taskex.publish_chain(text, text, text[], numeric, boolean),
    taskex.publish_program(text, text, text, text, numeric, boolean),
    taskex.pull_runs(text, text, int, interval, interval),
    taskex.redrive_runs(text, text, int, int),
    taskex.release_run(bigint, bigint),
    taskex.resume_program(text, text),
    taskex.progress(jsonb),
    taskex.resume_run(bigint),
    taskex.run_state(),
    taskex.resume_runs(text),
    taskex.schedule_run(text, text, text, text, jsonb, int, jsonb),
    taskex.search_programs(text, text, numeric, int),
    taskex.undeprecate_program(text, text, int),
    taskex.unschedule_run(text, text),
    taskex.retry_run(bigint, int),
    taskex.run_result(bigint),
    taskex.run_status(bigint),
    taskex.should_yield(bigint, bigint),
    taskex.submit_run(text, text, jsonb, int, interval, jsonb),
    taskex.submit_runs(text, text, jsonb[], int, interval, jsonb),
    taskex.measure_inputs(text, text, jsonb[]),
    taskex.measure_program(text, text, text, int),
    taskex.recommend_parts(text, text, int, int, int),
    taskex.set_parts(text, bigint, int),
    taskex.submit_parts(text, text, jsonb[], int, text, jsonb),
    taskex.submit_split(text, text, text, int, text, jsonb),
    taskex.suspend_customer(text, interval),
    taskex.suspend_program(text, text, interval),
    taskex.suspend_run(bigint, interval),
    taskex.wait_for_run(bigint, interval),
    taskex.yield_run(bigint, bigint, jsonb, jsonb)
    TO taskex_user;
GRANT EXECUTE ON FUNCTION _taskex.executor_slots(), _taskex.lanes(), _taskex.run_ended(text), _taskex.run_state(text) TO taskex_user;
GRANT SELECT ON
    taskex.dead_letters, taskex.environments, taskex.executors, taskex.programs, taskex.queue, taskex.run_attempts, taskex.runs, taskex.schedules, taskex.splits
    TO taskex_user;
GRANT EXECUTE ON FUNCTION
    taskex.alter_environment(text, jsonb),
    taskex.check_workload(),
    taskex.create_environment(text, name, text, jsonb),
    taskex.limit_customer(text, int, int, interval),
    taskex.pause_environment(text),
    taskex.remove_runs(interval, int),
    taskex.resume_environment(text),
    taskex.retire_environment(text),
    taskex.unretire_environment(text),
    taskex.run_due_runs(),
    taskex.drain_executors(interval),
    taskex.resume_executors(),
    _taskex.mover_health(),
    _taskex.pool_health(),
    _taskex.queue_health(),
    _taskex.role_health(),
    _taskex.unreadable_partitions()
    TO taskex_admin;

-- trusted applications
GRANT EXECUTE ON FUNCTION taskex.register_user(text, jsonb, text) TO taskex_app;

-- operators
GRANT EXECUTE ON FUNCTION
    taskex.add_group_members(text, text[]),
    taskex.add_node(text, text, text, text, jsonb),
    taskex.add_partition(text, name, text, text, jsonb, text, text),
    taskex.alter_node(text, jsonb),
    taskex.alter_partition(text, jsonb),
    taskex.check_ledger(),
    taskex.check_market(),
    taskex.create_group(text, text[], jsonb, text[], text, float8, interval, interval, int),
    taskex.create_payout(text, numeric, text[], int),
    taskex.deposit(text, numeric, text),
    taskex.drain_node(text),
    taskex.cancel_migration(bigint),
    taskex.drain_partition(text, boolean),
    taskex.migrate_user(text, text, text),
    taskex.migrate_users(text[], text, text),
    taskex.move_partition(text, name),
    taskex.undo_migration(bigint),
    taskex.drop_fee(bigint),
    taskex.drop_group(text),
    taskex.drop_node(text),
    taskex.drop_partition(text),
    taskex.remove_group_members(text, text[]),
    taskex.propose_moves(int),
    taskex.prune(text, interval, int),
    taskex.resolve_dispute(bigint, boolean, text),
    taskex.resume_node(text),
    taskex.resume_partition(text),
    taskex.resume_performer(text),
    taskex.retry_failed_acts(text),
    taskex.run_due(),
    taskex.set_fee(numeric, numeric, text, bigint, int, text, timestamptz),
    taskex.set_requester_weight(text, int),
    taskex.settle_payout_item(text, text, text, text, text),
    taskex.replenish(text),
    taskex.suspend_performer(text, text, timestamptz),
    taskex.update_group(text, jsonb)
    TO taskex_admin;

-- what their views call
GRANT EXECUTE ON FUNCTION
    _taskex.journal_lag(),
    _taskex.loaded(),
    _taskex.proficiency_score(float8, float8, float8, float8, float8),
    _taskex.load_lag(),
    _taskex.recommend_state(),
    _taskex.supplier_state(),
    _taskex.workers()
    TO taskex_admin;

GRANT SELECT ON taskex.activity, taskex.drains, taskex.failed_acts, taskex.health, taskex.nodes, taskex.partitions TO taskex_admin;
GRANT SELECT ON taskex.group_members, taskex.hot_spots, taskex.performer_groups, taskex.pushes, taskex.requester_weights, taskex.supplies, taskex.supply_history TO taskex_admin;
GRANT SELECT ON taskex.migrations TO taskex_user;
GRANT EXECUTE ON FUNCTION _taskex.move_progress() TO taskex_user;
GRANT EXECUTE ON FUNCTION _taskex.supply_list() TO taskex_admin;
GRANT EXECUTE ON FUNCTION _taskex.at_hand(bigint) TO taskex_user;
GRANT SELECT ON taskex.payouts TO taskex_admin;
GRANT SELECT ON taskex.supply_targets TO taskex_admin;

-- billing
GRANT EXECUTE ON FUNCTION
    taskex.draft_invoice(text, timestamptz, int),
    taskex.drop_run_budget(text, text, text),
    taskex.estimate_cost(text, text, int, text, int),
    taskex.explain_charge(text),
    taskex.set_program_price(text, text, numeric, text),
    taskex.set_run_budget(text, numeric, text, text, numeric),
    taskex.usage_statement(text, timestamptz, timestamptz, text)
    TO taskex_user;
-- what views are made of
GRANT EXECUTE ON FUNCTION
    _taskex.meter_units(),
    _taskex.outcome_names(),
    _taskex.usage_charge(bigint, int, bigint),
    _taskex.usage_key(bigint, bigint, int, int, int)
    TO taskex_user;
GRANT SELECT ON
    taskex.invoice_lines, taskex.invoices, taskex.meters, taskex.rates, taskex.run_budgets, taskex.usage
    TO taskex_user;
GRANT EXECUTE ON FUNCTION
    _taskex.metering_health(),
    taskex.check_billing(),
    taskex.close_invoices(timestamptz, int),
    taskex.correct_usage(text, bigint, text),
    taskex.credit_invoice(bigint, numeric, text, text),
    taskex.remove_usage(interval, int),
    taskex.sample_usage(),
    taskex.schedule_billing(text, text, interval, int),
    taskex.set_billing_tier(text, text),
    taskex.set_credit_limit(text, numeric),
    taskex.set_rate(text, numeric, jsonb),
    taskex.unschedule_billing()
    TO taskex_admin;

-- watching and slowing down what runs
GRANT EXECUTE ON FUNCTION _taskex.executor_waits(), _taskex.running_runs(boolean) TO taskex_user;
GRANT SELECT ON taskex.run_monitor, taskex.run_totals TO taskex_user;
GRANT EXECUTE ON FUNCTION
    taskex.drop_alert(text),
    taskex.set_alert(text, text, float8, text, text, text),
    taskex.set_throttle_policy(text, interval, text, interval),
    taskex.throttle(text, text, jsonb, interval),
    taskex.unthrottle(text, text),
    _taskex.alert_health()
    TO taskex_admin;
GRANT SELECT ON taskex.throttles TO taskex_admin;
