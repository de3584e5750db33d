package Billed;

# Runs that are paid for while everything is killed: rates, terms, closings, and an
# independent computation, in exact numerics and from the attempts alone, of what there
# must be in the end.

use strict;
use warnings;

use Exporter 'import';
use Hammer;
use Test::More;

our @EXPORT = qw(billed_terms billed_change billed_closer billed_wrong);

my $time = '"unit": "hour", "granularity": "10 ms", "minimum": "50 ms", "priority": {"3": 1.37, "9": 0.001}';

# billed_terms(NODE): customers c1 .. c10 pay by several kinds of rates; for some of them
# money is set aside at once, so attempts' ends write to their accounts
sub billed_terms
{
	my ($node) = @_;
	$node->safe_psql('postgres', qq{
		select taskex.set_rate('run_time', 0.1, '{$time}');
		select taskex.set_rate('run_time', 0.03, '{"unit": "hour", "granularity": "1 ms", "tier": "gold", "charge": ["succeeded"]}');
		select taskex.set_rate('run_time', 0.0000007, '{"unit": "microsecond", "environment": "inside", "brackets": [{"upto": 300, "price": 0.000003}],
			"charge": ["succeeded", "failed", "expired", "crashed", "cancelled", "suspended"]}');
		select taskex.set_rate('cpu_time', 0.36, '{"unit": "hour"}');
		select taskex.set_rate('rows', 0.013, '{"unit": "thousand"}');
		select taskex.set_rate('wal_bytes', 0.000000001, '{"unit": "byte", "bracket_kind": "volume", "brackets": [{"upto": 200, "price": 0}]}');
		select taskex.set_credit_limit('c' || i, 1000000) from generate_series(1, 3) i;
		select taskex.set_run_budget('c4', 1000000);
		select taskex.set_billing_tier('c' || i, 'gold') from generate_series(3, 5) i});
	return;
}

# billed_change(NODE): the general rate of the time is another one soon. Not at once: what ends before that is
# committed is still charged by the old rate, and nobody could compute when that was.
sub billed_change
{
	my ($node) = @_;
	hammer_patiently($node, qq{select taskex.set_rate('run_time', 0.2, ('{$time, "from": "' || clock_timestamp() + '2 s' || '"}')::jsonb)});
	return;
}

# billed_closer(): a script that closes invoices some times
sub billed_closer { return "select from taskex.close_invoices(digits => 4);\nselect from pg_sleep(0.4);\n" x 4 }

# what each attempt used, and what that costs in parts of 1 / 3600000000, which come out even
my $exact = q{
	create temp table attempt as
		select r.customer_id, r.run_id, a.attempt, r.environment_id, r.priority, a.started_at, a.finished_at, a.outcome, a.measured
			from _taskex.run_attempt a join _taskex.run r using (run_id)
		union all
		select customer_id, run_id, attempts, environment_id, priority, started_at, finished_at, state, measured from _taskex.run where state = 'succeeded';
	create temp table used as
		select a.*, m.meter, m.quantity, e.language <> 'external' as inside, d.login in ('c3', 'c4', 'c5') as gold,
				a.started_at >= coalesce((select min(valid_from) from _taskex.rate where prices[1] = 0.2), 'infinity') as dearer
			from attempt a join _taskex.environment e using (environment_id) join _taskex.directory d on d.user_id = a.customer_id,
			lateral (values (1, coalesce((measured ->> 'wall_us')::numeric, (extract(epoch from a.finished_at) - extract(epoch from a.started_at)) * 1000000)),
				(2, (measured ->> 'cpu_us')::numeric), (3, (measured ->> 'rows')::numeric), (4, (measured ->> 'blocks_read')::numeric),
				(5, (measured ->> 'blocks_written')::numeric), (6, (measured ->> 'wal_bytes')::numeric)) m (meter, quantity)
			where m.meter = 1 or m.quantity > 0;
	create temp table cost as
		select u.*, case
			when meter = 1 and inside then (least(quantity, 300) * 0.000003 + greatest(quantity - 300, 0) * 0.0000007) * 3600000000
			when meter = 1 and gold then case when outcome = 'succeeded' then ceil(quantity / 1000) * 1000 * 0.03 else 0 end
			when outcome in ('expired', 'crashed') then 0
			when meter = 1 then ceil(greatest(quantity, 50000) / 10000) * 10000 * case when dearer then 0.2 else 0.1 end * case priority when 3 then 1.37 when 9 then 0.001 else 1 end
			when meter = 2 then quantity * 0.36
			when meter = 3 then quantity * 0.013 * 3600000
			when meter = 6 then case when quantity > 200 then quantity * 0.000000001 * 3600000000 else 0 end
			else 0 end as exact
		from used u};

my @wrong = (
	'a run that succeeded without usage' => q{
		select run_id, attempts from _taskex.run where state = 'succeeded' except select source_id, attempt from _taskex.usage where meter = 1},
	'usage that is there twice' => q{select source_id, attempt, meter, count(*) from _taskex.usage group by 1, 2, 3 having count(*) > 1},
	'an attempt whose usage is not there, usage without its attempt, or another quantity' => q{
		select c.run_id, c.attempt, c.meter, c.outcome, c.quantity, u.source_id, u.attempt, u.meter, u.quantity from cost c
			full join _taskex.usage u on u.source_id = c.run_id and u.attempt = c.attempt and u.meter = c.meter
			where (c.customer_id, c.quantity, c.started_at) is distinct from (u.customer_id, u.quantity::numeric, u.started_at) or u.correction <> 0},
	'a customer whose invoices differ from the exact computation' => q{
		select customer_id, c.exact, b.total, b.carried from (select customer_id, sum(exact) as exact from cost group by 1) c
			full join (select customer_id, sum(total) * 3.6 as total, (array_agg(carried * 3600000000 / denominator order by invoice_id desc))[1] as carried
				from _taskex.invoice group by 1) b using (customer_id)
			where c.exact is distinct from b.total + b.carried},
	'a customer who paid something else, or for whom something is still set aside' => q{
		select login, b.* from _taskex.directory d, lateral taskex.balance(login) b
			where login ~ '^c' and (b.available <> - (select coalesce(sum(total), 0) / 1e9 from _taskex.invoice i where i.customer_id = d.user_id) or b.held <> 0)},
	'a budget that spent something else' => q{
		select b.spent, c.*, a.* from taskex.run_budgets b,
			(select sum(exact) / 3600000000 as least, sum(exact) / 3600000000 + count(*) * 1e-9 as most from cost join _taskex.directory on user_id = customer_id where login = 'c4') c,
			-- what a crash has left of that counts as spent
			(select coalesce(sum(held), 0) / 1e9 as ahead from _taskex.entry where kind = 'run_budget' and subject_id is null) a
			where b.spent < c.least or b.spent - a.ahead > c.most},
	'a check that fails' => q{select * from taskex.check_billing() where not ok union all select * from taskex.check_ledger() where not ok});

# billed_wrong(NODE): closes, and tests that none of this is so
sub billed_wrong
{
	my ($node) = @_;
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$node->safe_psql('postgres', 'select taskex.close_invoices(digits => 4)');
	$node->safe_psql('postgres', 'analyze');
	my @queries = @wrong;
	while (my ($what, $query) = splice @queries, 0, 2)
	{
		is($node->safe_psql('postgres', "set client_min_messages = warning;\n$exact;\nselect q::text from ($query) q limit 5"), '', "none is $what");
	}
	note($node->safe_psql('postgres', "$exact;\n" . q{
		select format('billed: %s attempts (%s), %s rows of usage, %s of %s rates, %s closings, %s invoices, %s in all', count(*) filter (where meter = 1),
			(select string_agg(outcome || ' ' || n, ', ' order by outcome) from (select outcome, count(*) as n from attempt group by 1) o), count(*),
			(select count(distinct rate_id) from _taskex.usage where rate_id <> 0), (select count(*) from _taskex.rate), (select count(*) from _taskex.closing),
			(select count(*) from _taskex.invoice), (select sum(total) / 1e9 from _taskex.invoice)) from cost}));
	return;
}

1;
