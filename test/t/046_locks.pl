# More storage partitions than there is room for locks are refused in one transaction, with an
# error that tells what to raise, and are added one by one.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $node = new_cluster('main', conf => q{
max_locks_per_transaction = 40
max_connections = 20
max_prepared_transactions = 0
});
$node->safe_psql('postgres', q{select taskex.add_partition('first')});

sub error_of
{
	my ($sql) = @_;
	my (undef, undef, $error) = $node->psql('postgres', $sql, extra_params => ['-v', 'VERBOSITY=verbose']);
	return $error;
}

my $state = q{select (select count(*) from taskex.partitions), (select count(*) from pg_class where relkind in ('r', 'p', 'i', 'I', 't'))};
my $before = $node->safe_psql('postgres', $state);

my $error = error_of(q{begin; select taskex.add_partition('many' || n) from generate_series(1, 39) n; commit});
like($error, qr/ERROR:  53400: storage partition "many\d+" cannot be added in this transaction: out of shared memory/, 'too many in one transaction are refused');
like($error, qr/DETAIL:  Each one is \d{2,} tables with their indexes, which stay locked/, '... it is said why');
like($error, qr/HINT:  .*transactions of their own, or raise max_locks_per_transaction/, '... and what to do');
is($node->safe_psql('postgres', $state), $before, '... and nothing is left of any of them');

# a transaction that catches the error keeps those that there was room for
my ($status, $kept) = $node->psql('postgres', q{
	do $$
	begin
		for i in 1 .. 39 loop
			begin
				perform taskex.add_partition('some' || i);
			exception when configuration_limit_exceeded then
				exit;
			end;
		end loop;
	end $$;
	select count(*) from taskex.partitions});
is($status, 0, 'a transaction goes on after it');
cmp_ok($kept, '>', 1, '... with what it had added');
cmp_ok($kept, '<', 40, '... which is not all');
is($node->safe_psql('postgres', q{select count(*) from taskex.partitions p where to_regclass('_taskex.task_' || partition_id) is null or to_regclass('_taskex.entry_' || partition_id) is null}),
	0, '... each of them whole');

$node->safe_psql('postgres', "select taskex.add_partition('single$_')") for 1 .. 3;
is($node->safe_psql('postgres', q{select count(*) from taskex.partitions}), $kept + 3, 'in transactions of their own there is room for more');
$node->safe_psql('postgres', q{select taskex.register_user('ada', partition => 'single1'), taskex.deposit('ada', 1, 'x')});
is($node->safe_psql('postgres', q{select available from taskex.balance('ada')}), 1, 'they work');

done_testing();
