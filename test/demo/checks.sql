-- what, value, whether it is as it must be
select what, value, ok from (
select 1, 'share of the work of the most active tenth',
	round(100 * sum(n) filter (where i <= all_n / 10.0) / sum(n)) || ' %', true
from (select count(a.performer) as n, row_number() over (order by count(a.performer) desc) as i, count(*) over () as all_n
	from demo.performer p left join taskex.assignments a on a.performer = p.login group by p.login) x
union all
select 2, 'payments of one assignment more than once', count(*)::text, count(*) = 0
from (select from taskex.transfers where kind = 'reward' and available > 0 group by subject_id having count(*) > 1) d
union all
select 3, 'sum of all accounts, the outside world''s too', sum(available + held)::numeric(20, 9)::text, sum(available + held) = 0
from taskex.transfers
union all
select 4, 'still held for finished work', sum(held)::numeric(20, 9)::text, sum(held) = 0
from demo.requester cross join lateral taskex.balance(login)
union all
select 5, check_name, case when ok then 'ok' else detail end, ok
from (select * from taskex.check_ledger() union all select * from taskex.check_market()) c
) x(i, what, value, ok) order by i;
