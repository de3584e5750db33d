select * from taskex.route('you');
select * from taskex.accept_next('you', count => 3,
    task_type => (select task_type_id from taskex.task_types where title ~ 'animal'));
select taskex.submit_assignment('you', assignment_id, '{"label": "fox"}')
    from taskex.assignments where performer = 'you' and state = 'accepted';
select taskex.approve_assignment(requester, assignment_id, 'a fox, indeed')
    from taskex.assignments where performer = 'you' and state = 'submitted';
select * from taskex.statement('you');
