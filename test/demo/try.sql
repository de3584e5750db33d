select title, requester, reward, available, missing from taskex.search_tasks('you', only_qualified => false);
select * from taskex.accept_next('you', count => 3,
    task_type => (select task_type_id from taskex.task_types where title ~ 'animal'));
select taskex.submit_assignment('you', assignment_id, '"fox"')
    from taskex.assignments where performer = 'you' and state = 'accepted';
select taskex.approve_assignment(requester, assignment_id, 'a fox, indeed')
    from taskex.assignments where performer = 'you' and state = 'submitted';
select * from taskex.statement('you');
select name, test from taskex.qualifications;             -- and then the webshop's test
select * from taskex.request_qualification('you', 1, '{"q1": "different", "q2": "same", "q3": "different", "q4": "same"}');
select * from taskex.batches;
select * from taskex.read_events('zoo', after => (select max(event) - 10 from taskex.read_events('zoo', max_rows => 10000)));
