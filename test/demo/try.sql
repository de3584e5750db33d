select * from taskex.route('ada01');
select * from taskex.accept_next('you', count => 3);
select taskex.submit_assignment('you', assignment_id, '{"label": "dog"}')
    from taskex.assignments where performer = 'you' and state = 'accepted';
select * from taskex.partitions;
select * from taskex.balance('zoo');
