-- what, value, whether it is as it must be
select what, value, ok from (
select 1, 'share of the work of the most active tenth',
	round(100 * sum(n) filter (where i <= all_n / 10.0) / sum(n)) || ' %', true
from (select count(a.performer) as n, row_number() over (order by count(a.performer) desc) as i, count(*) over () as all_n
	from demo.performer p left join taskex.assignments a on a.performer = p.login group by p.login) x
union all
select 2, 'the zoo''s feed of events', max(event) || ', numbered without a gap: ' ||
	string_agg(n || ' ' || kind, ', ' order by n desc) filter (where i <= 3) || ' ...', sum(n) = max(event)
from (select kind, count(*) as n, row_number() over (order by count(*) desc) as i, max(event) as event
	from taskex.read_events('zoo', max_rows => 10000) group by kind) e
union all
select 3, 'performers who had the webshop''s work unqualified', count(*)::text, count(*) = 0
from taskex.assignments a join taskex.qualifications q using (requester)
	left join lateral taskex.qualification_score('webshop', q.qualification_id, a.performer) s on true
where coalesce(s.score, 0) < 80
union all
select 4, 'payments of one assignment more than once', count(*)::text, count(*) = 0
from (select from taskex.transfers where kind = 'reward' and available > 0 group by subject_id having count(*) > 1) d
union all
select 5, 'sum of all accounts, the outside world''s too', sum(available + held)::numeric(20, 9)::text, sum(available + held) = 0
from taskex.transfers
union all
select 6, 'still held for finished work', sum(held)::numeric(20, 9)::text, sum(held) = 0
from demo.requester cross join lateral taskex.balance(login)
union all
select 7, 'checks of the ledger and the market', case when bool_and(ok) then count(*) || ', all ok'
	else string_agg(check_name || ': ' || detail, '; ') filter (where not ok) end, bool_and(ok)
from (select * from taskex.check_ledger() union all select * from taskex.check_market()) c
) x(i, what, value, ok) order by i;
