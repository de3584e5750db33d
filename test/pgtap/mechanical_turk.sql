-- Each of the 39 operations of Mechanical Turk's requester interface, done here:
-- docs/from-mechanical-turk.md is the table.
begin;
select plan(42);
set local taskex.clock = '2106-05-01 00:00:00+00';
set local taskex.exchange_fee = 0.2;
select taskex.add_partition('turk_1') > 0, taskex.add_partition('turk_2') > 0 \g /dev/null
select taskex.register_user('turk_req', partition => 'turk_1') > 0,
    taskex.register_user('turk_ann', '{"location": "US-WA"}', 'turk_2') > 0,
    taskex.register_user('turk_bob', '{"location": "DE"}', 'turk_1') > 0,
    taskex.deposit('turk_req', 100, 'turk') > 0 \g /dev/null
create temporary table thing (name text primary key, id bigint);
create function pg_temp.id(which text) returns bigint language sql stable as 'select id from thing where name = which';

-- UpdateNotificationSettings and SendTestEventNotification first, so that the rest is heard of
select lives_ok($$ select taskex.subscribe('turk_req') $$, 'UpdateNotificationSettings: subscribe');
select lives_ok($$ select taskex.test_event('turk_req') $$, 'SendTestEventNotification: test_event');
select is((select available from taskex.balance('turk_req')), 100.0, 'GetAccountBalance: balance');

-- qualifications
insert into thing values ('qualification', taskex.create_qualification('turk_req', 'animals', 'Knows animals', '{fox,owl}'));
select is((select name from taskex.qualifications where qualification_id = pg_temp.id('qualification')), 'animals',
    'CreateQualificationType, GetQualificationType: create_qualification, view qualifications');
select taskex.update_qualification('turk_req', pg_temp.id('qualification'), '{"description": "Knows wild animals"}');
select is((select array_agg(description) from taskex.qualifications where requester = 'turk_req'), array['Knows wild animals'],
    'UpdateQualificationType, ListQualificationTypes: update_qualification, view qualifications');
insert into thing select 'request ' || p, (taskex.request_qualification(p, pg_temp.id('qualification'))).request_id
    from unnest(array['turk_ann', 'turk_bob']) p;
select results_eq($$ select performer from taskex.qualification_requests('turk_req', pg_temp.id('qualification')) order by 1 $$,
    array['turk_ann', 'turk_bob'], 'ListQualificationRequests: qualification_requests');
select taskex.grant_request('turk_req', pg_temp.id('request turk_ann'), 80);
select taskex.reject_request('turk_req', pg_temp.id('request turk_bob'), 'not yet');
select is((select score from taskex.qualification_score('turk_req', pg_temp.id('qualification'), 'turk_ann')), 80,
    'AcceptQualificationRequest, GetQualificationScore: grant_request, qualification_score');
select is((select state from taskex.performer_qualifications('turk_bob')), 'rejected', 'RejectQualificationRequest: reject_request');
select taskex.grant_qualification('turk_req', pg_temp.id('qualification'), 'turk_bob', 90);
select results_eq($$ select performer from taskex.qualification_holders('turk_req', pg_temp.id('qualification')) order by 1 $$,
    array['turk_ann', 'turk_bob'], 'AssociateQualificationWithWorker, ListWorkersWithQualificationType: grant_qualification, qualification_holders');
select taskex.revoke_qualification('turk_req', pg_temp.id('qualification'), 'turk_bob', 'expired') \g /dev/null
select results_eq($$ select performer from taskex.qualification_holders('turk_req', pg_temp.id('qualification')) $$,
    array['turk_ann'], 'DisassociateQualificationFromWorker: revoke_qualification');

-- HITs
insert into thing values ('type', taskex.create_task_type('turk_req', 'Which animal?', 0.5, 'Look at the picture', '{picture}', '1 hour', '3 days',
    jsonb_build_array(jsonb_build_object('qualification', pg_temp.id('qualification'), 'comparator', '>=', 'value', 50))));
select is(taskex.create_task_type('turk_req', 'Which animal?', 0.5, 'Look at the picture', '{picture}', '1 hour', '3 days',
    jsonb_build_array(jsonb_build_object('qualification', pg_temp.id('qualification'), 'comparator', '>=', 'value', 50))), pg_temp.id('type'),
    'CreateHITType: create_task_type, and equal properties make the same type');
insert into thing values ('task', taskex.create_task('turk_req', pg_temp.id('type'), '{"picture": 1}', 2, annotation => 'batch 1'));
select is(taskex.get_task('turk_req', pg_temp.id('task')) ->> 'annotation', 'batch 1', 'CreateHITWithHITType, GetHIT: create_task, get_task');
insert into thing values ('free', taskex.create_task('turk_req', taskex.create_task_type('turk_req', 'For all', 0.1), '{"picture": 2}'));
select is((select count(*) from taskex.list_tasks('turk_req')), 2::bigint, 'CreateHIT, ListHITs: create_task(create_task_type()), list_tasks');
select results_eq($$ select task_id from taskex.tasks join taskex.task_types using (task_type_id) where requester = 'turk_req'
    and qualifications @> jsonb_build_array(jsonb_build_object('qualification', pg_temp.id('qualification'))) $$,
    $$ select pg_temp.id('task') $$, 'ListHITsForQualificationType: the views tasks and task_types');
select throws_ok($$ select taskex.accept_task('turk_bob', pg_temp.id('task')) $$, 'TX112', null, 'and the requirement holds');
insert into thing values ('assignment', (taskex.accept_task('turk_ann', pg_temp.id('task'))).assignment_id);
select taskex.attach('turk_ann', 'drawing', 'https://files.example/fox.png', assignment_id => pg_temp.id('assignment'));
select taskex.submit_assignment('turk_ann', pg_temp.id('assignment'), '"fox"');
select is((select result from taskex.list_assignments('turk_req', pg_temp.id('task'))), '"fox"', 'ListAssignmentsForHIT: list_assignments');
select is(taskex.get_assignment('turk_req', pg_temp.id('assignment')) ->> 'state', 'submitted', 'GetAssignment: get_assignment');
select is(taskex.attachment_url('turk_req', pg_temp.id('assignment'), 'drawing'), 'https://files.example/fox.png', 'GetFileUploadURL: attachment_url');
select taskex.set_expiry('turk_req', pg_temp.id('task'), '2106-05-02 00:00:00+00');
select is((select expires_at from taskex.tasks where task_id = pg_temp.id('task')), '2106-05-02 00:00:00+00', 'UpdateExpirationForHIT: set_expiry');
select is(taskex.add_performers('turk_req', pg_temp.id('task'), 3), 5, 'CreateAdditionalAssignmentsForHIT: add_performers');
insert into thing values ('other type', taskex.create_task_type('turk_req', 'For all, dearer', 0.2));
select taskex.change_task_type('turk_req', pg_temp.id('free'), pg_temp.id('other type'));
select is((select task_type_id from taskex.tasks where task_id = pg_temp.id('free')), pg_temp.id('other type'), 'UpdateHITTypeOfHIT: change_task_type');
select taskex.set_expiry('turk_req', pg_temp.id('task'), '2106-05-01 00:00:00+00');
select results_eq($$ select task_id from taskex.reviewable_tasks('turk_req') $$, $$ select pg_temp.id('task') $$, 'ListReviewableHITs: reviewable_tasks');
select taskex.set_review_status('turk_req', pg_temp.id('task'), 'reviewing');
select is((select status from taskex.reviewable_tasks('turk_req')), 'reviewing', 'UpdateHITReviewStatus: set_review_status');

-- judging and paying
select taskex.reject_assignment('turk_req', pg_temp.id('assignment'), 'It is an owl.');
select is(taskex.get_assignment('turk_ann', pg_temp.id('assignment')) ->> 'state', 'rejected', 'RejectAssignment: reject_assignment');
select taskex.approve_assignment('turk_req', pg_temp.id('assignment'), 'It is a fox.', override => true);
select is((select available from taskex.balance('turk_ann')), 0.5, 'ApproveAssignment with OverrideRejection: approve_assignment');
select isnt(taskex.send_bonus('turk_req', pg_temp.id('assignment'), 0.25, 'sharp eyes', 'bonus-1'), null, 'SendBonus: send_bonus');
select is(taskex.send_bonus('turk_req', pg_temp.id('assignment'), 0.25, 'sharp eyes', 'bonus-1'),
    (select bonus_id from taskex.bonuses where assignment_id = pg_temp.id('assignment')), 'ListBonusPayments: the view bonuses; the token makes a repetition harmless');
select is((select available from taskex.balance('turk_ann')), 0.75, 'and it is paid once');
select taskex.dispose_task('turk_req', pg_temp.id('task'));
select is((select count(*) from taskex.list_tasks('turk_req')), 1::bigint, 'DeleteHIT: dispose_task');

-- review policies
insert into thing values ('policy', taskex.create_policy('turk_req', 'known_answer',
    '{"thresholds": [{"of": "assignment", "at_least": 100, "action": {"do": "approve"}}]}', pg_temp.id('other type')));
insert into thing values ('golden', taskex.create_golden_task('turk_req', pg_temp.id('other type'), '{"picture": 3}', '"owl"'));
insert into thing values ('answered', (taskex.accept_task('turk_bob', pg_temp.id('golden'))).assignment_id);
select taskex.submit_assignment('turk_bob', pg_temp.id('answered'), '"owl"');
commit;
begin;
set local taskex.clock = '2106-05-01 00:00:00+00';
select count(*) from taskex.run_due() \g /dev/null
commit;
begin;
set local taskex.clock = '2106-05-01 00:00:00+00';
select count(*) from taskex.run_due() \g /dev/null
select is((select state from taskex.policy_actions where task_id = pg_temp.id('golden')), 'done', 'ListReviewPolicyResultsForHIT: the view policy_actions');
select is((select score from taskex.policy_results where task_id = pg_temp.id('golden')), 100::numeric, 'and the view policy_results');
select is((select available from taskex.balance('turk_bob')), 0.2, 'and the policy has paid him');

-- workers
select lives_ok($$ select taskex.block_performer('turk_req', 'turk_bob', 'spam') $$, 'CreateWorkerBlock: block_performer');
select is((select reason from taskex.blocks where requester = 'turk_req' and performer = 'turk_bob'), 'spam', 'ListWorkerBlocks: the view blocks');
select throws_ok($$ select taskex.accept_task('turk_bob', pg_temp.id('free')) $$, 'TX113', null, 'and the block holds');
select is(taskex.unblock_performer('turk_req', 'turk_bob'), true, 'DeleteWorkerBlock: unblock_performer');
select lives_ok($$ select taskex.accept_task('turk_bob', pg_temp.id('free')) $$, 'and it is lifted');
select results_eq($$ select performer, notified from taskex.notify_performers('turk_req', '{turk_ann,turk_bob}', 'News', 'More foxes tomorrow') order by 1 $$,
    $$ values ('turk_ann', true), ('turk_bob', true) $$, 'NotifyWorkers: notify_performers');
select is((select array_agg(subject) from taskex.messages('turk_ann')), array['News'], 'and the message has come');
select lives_ok($$ select taskex.delete_qualification('turk_req', pg_temp.id('qualification')) $$, 'DeleteQualificationType: delete_qualification');

select results_eq($$ select distinct kind from taskex.read_events('turk_req', 0, 1000) where kind in ('test', 'created', 'submitted', 'rejected', 'bonus', 'disposed') order by 1 $$,
    array['bonus', 'created', 'disposed', 'rejected', 'submitted', 'test'], 'and the requester has heard of it all');
select is_empty($$ select * from taskex.check_ledger() where not ok union all select * from taskex.check_market() where not ok $$, 'and the books are right');
select * from finish();
commit;
