package Billing;

# The benchmark "billing": pull_runs + complete_run with metering, with rates and with money that is
# set aside, beside sessions that meter nothing; and how long it takes to close a million rows of usage.

use strict;
use warnings;

use Bench;
use FindBin;
use Queue;
use Sessions qw(scalar_of run_sql commas seconds_of);
use Time::HiRes qw(time);

my $rounds = $opt{quick} ? 3 : 5;
my $db = 'taskex_bench_billing';
# metering and billing may take 15 % on top
my $target = 0.87;

my $set_rates = q{select taskex.set_rate('run_time', 0.36, '{"unit": "hour", "granularity": "10 ms", "priority": {"9": 2}}')};
my $set_limits = q{select taskex.set_credit_limit('c' || i, 1000000), taskex.set_run_budget('c' || i, 1000000) from generate_series(1, 8) i};

# ---- by rate

sub rates
{
	my ($library) = @_;
	note('metering and billing, by rate');
	exchange($db, $few);
	customers(1);
	my %need = (1 => 20_000 * $seconds, 100 => 130_000 * $seconds);
	my $work = sub {
		my ($each, $how) = @_;
		local $ENV{PGOPTIONS} = $how eq 'unmetered' ? "-c session_preload_libraries=$library" : '';
		return $each * pgbench($each == 1 ? $one : $hundred, 8, '-T', $seconds);
	};
	for my $with ([ 'metered, no rates', '' ], [ 'with rates', $set_rates ], [ 'with rates, limits and budgets', $set_limits ])
	{
		my ($name, $sql) = @$with;
		run_sql($sql) if $sql ne '';
		for my $each (1, 100)
		{
			my %rate;
			for my $round (0 .. $rounds)
			{
				for my $how ($round % 2 ? qw(metered unmetered) : qw(unmetered metered))
				{
					stock(2000 + $need{$each});
					my $rate = $work->($each, $how);
					$need{$each} = 2 * $rate * $seconds if 2 * $rate * $seconds > $need{$each};
					push @{ $rate{$how} }, $rate if $round;
				}
			}
			result('pull + complete, ' . ($each == 1 ? 'one by one' : '100 at a time') . ", 8 clients, $name", median(@{ $rate{metered} }), 'runs/s',
				'not metered', median(@{ $rate{unmetered} }), $target, median(map { $rate{metered}[$_] / $rate{unmetered}[$_] } 0 .. $rounds - 1));
		}
	}
	drop($db);
	return;
}

# ---- by instructions and WAL

sub counts
{
	my ($library) = @_;
	note('metering and billing, by instructions');
	if (system('command -v valgrind > /dev/null') != 0) { skipped('instructions of pull + complete', 'not metered', 'valgrind is not installed'); return }
	my $text = `'$FindBin::Bin/metering' '$library'`;
	die "counting failed\n" if $?;
	my %figure;
	for my $line (split /\n/, $text)
	{
		my ($each, $what, $unit, $figure) = split /\t/, $line;
		$figure{$each}{$unit}{$what} = $figure;
	}
	for my $each (1, 100)
	{
		for my $what ([ 'metered, no rates', 'metered' ], [ 'with rates', 'rates' ], [ 'with rates, limits and budgets', 'limits' ])
		{
			for my $unit (qw(instructions wal))
			{
				my ($with, $without) = @{ $figure{$each}{$unit} }{ $what->[1], 'unmetered' };
				# calls only, without what the server does to get there: for orientation
				result(($each == 1 ? 'one by one' : '100 at a time') . ", $what->[0]", $with, $unit eq 'wal' ? 'bytes of WAL' : 'instructions',
					'not metered', $without, undef, $without / $with);
			}
		}
	}
	return;
}

# ---- closing

sub closing
{
	my $rows = $opt{quick} ? 100_000 : 1_000_000;
	note('closing ', commas($rows), ' rows of usage');
	exchange($db, $few);
	my $customers = 1000;
	run_sql(qq{
		select count(taskex.register_user('c' || i, '{}', 'p' || 1 + i % $few)) from generate_series(1, $customers) i;
		select taskex.create_environment('e', 'external');
		select taskex.set_rate('run_time', 0.36, '{"unit": "hour", "granularity": "10 ms", "priority": {"9": 2}}');
		-- as meter.c writes them: a second each, of ten priorities
		do \$\$ begin
			for home in 1 .. $few loop
				execute format('insert into _taskex.usage_%1\$s (customer_id, source_id, at, started_at, quantity, billed, accrued, rate_id, program_id, seq, attempt, meter, correction,'
					' environment_id, partition_id, priority, outcome) select d.user_id, 1000000000 + n, now(), now(), 995000 + n, 1000000 + n / 10000 * 10000, 0, r.rate_id, 0,'
					' _taskex.usage_seq(), 1, 1, 0, 1, %1\$s, n %% 10, 1 from _taskex.rate r, _taskex.directory d, generate_series(1, $rows / $customers) n where d.partition_id = %1\$s and d.login like ''c%%''', home);
			end loop;
		end \$\$;
		vacuum analyze});
	my $found = scalar_of('select count(*) from _taskex.usage');
	die "there are $found rows of usage\n" if $found < $rows;
	my $start = time;
	my $made = scalar_of('select taskex.close_invoices()');
	my $took = time - $start;
	my $right = scalar_of(q{select (select sum(l.billed) from _taskex.invoice_line l) = (select sum(billed) from _taskex.usage)});
	die "$made invoices, and the sums of lines " . ($right eq 't' ? 'are right' : 'are wrong') . "\n" if $made != $customers || $right ne 't';
	result_rate('closing ' . commas($found) . ' rows of usage, ' . commas($made) . ' invoices (' . seconds_of($took) . ')', $found / $took, 'rows/s', 100_000);
	$start = time;
	scalar_of('select taskex.close_invoices()');
	result('closing again: nothing is new (' . seconds_of(time - $start) . ')', 1 / (time - $start), '/s', '', undef);
	my $wrong = scalar_of(q{select string_agg(check_name, ', ') from taskex.check_billing() where not ok and check_name not like '%metered'});
	die "the books are wrong: $wrong\n" if $wrong ne '';
	drop($db);
	return;
}

sub bench
{
	my $library = library('unmetered');
	closing();
	if (defined $library) { rates($library); counts($library) }
	else { skipped('pull + complete, metered', 'not metered', 'there is no C compiler') }
	return;
}

1;
