package Queue;

# What the benchmarks of runs and of billing share: eight customers on as many
# partitions, environments, runs that wait, and how workers pull and complete them.

use strict;
use warnings;

use Bench;
use Exporter 'import';
use Sessions qw(scalar_of run_sql);

our @EXPORT = qw($one $hundred customers submit_one stock);

our $one = <<'END';
select run_id, lease_token from taskex.pull_runs('w', 'e') \gset
select taskex.complete_run(:run_id, :lease_token, '{"label": "dog"}');
END
our $hundred = <<'END';
select array_agg(run_id) as ids, array_agg(lease_token) as tokens from taskex.pull_runs('w', 'e', 100) \gset
select 1 / (taskex.complete_runs(:ids, :tokens, array_fill('{"label": "dog"}'::jsonb, array[100])) = 100)::int;
END

# customers(ENVIRONMENTS): on each partition one, and so many environments: e, e2, e3, ...
sub customers
{
	my ($environments) = @_;
	run_sql(qq{
		select taskex.register_user('c' || i, '{}', 'p' || 1 + (i - 1) % $few) from generate_series(1, 8) i;
		select taskex.create_environment('e', 'external');
		select taskex.create_environment('e' || i, 'external') from generate_series(2, $environments) i});
	return;
}

sub submit_one
{
	my ($customer, $environment) = @_;
	return "select taskex.submit_run('c$customer', null, '$input', options => '{\"environment\": \"@{[ $environment // 'e' ]}\"}');\n";
}

# stock(RUNS): so many wait at least
sub stock
{
	my ($n) = @_;
	my $waiting = scalar_of(q{select coalesce(sum(waiting), 0) from _taskex.lanes()});
	my $each = int(($n - $waiting) / 8 / 1000) + 1;
	return if $waiting >= $n;
	run_sql(join '', map {
		"select count(r) from generate_series(1, $each) i, lateral taskex.submit_runs('c$_', null, array_fill('$input'::jsonb, array[1000 + 0 * i]),"
		  . " options => '{\"environment\": \"e\"}') r;\n" } 1 .. 8);
	return;
}

1;
