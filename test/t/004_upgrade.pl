# pg_upgrade takes an exchange along, and no worker disturbs it. (Old and new are
# the same version here, which pg_upgrade allows as long as no tablespace is used.)

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $old = new_cluster('old');
$old->safe_psql('postgres', q{select taskex.add_partition('p' || i) from generate_series(1, 2) i});
my $type = make_market($old);
ok(round_trip($old, $type), 'the old exchange works');
my $open = $old->safe_psql('postgres', qq{select taskex.create_task('req', $type, '{}')});
my $taken = $old->safe_psql('postgres', qq{select assignment_id from taskex.accept_task('perf', $open)});
my $state = q{select login, partition, epoch, b.available, b.held
	from taskex.users u, taskex.balance(u.login) b order by login};
my $before = $old->safe_psql('postgres', $state);
$old->stop;

my $new = new_cluster('new', extension => 0);
$new->stop;
my $bindir = $new->config_data('--bindir');
chomp $bindir;
chdir $new->basedir or die;
command_ok([ 'pg_upgrade', '--no-sync', '-b', $bindir, '-B', $bindir, '-d', $old->data_dir, '-D', $new->data_dir,
		'-s', $new->host, '-p', $old->port, '-P', $new->port ], 'pg_upgrade');

$new->start;
await_conductor($new, 'postgres', 'the new server has a conductor');
is($new->safe_psql('postgres', $state), $before, 'users and balances are those of before');
is(sqlstate_of($new, 'postgres', qq{select taskex.submit_assignment('perf', $taken, '{}')}), '',
	'work begun before is submitted after');
ok(round_trip($new, $type), 'the exchange works');
$new->safe_psql('postgres', q{do $$ begin perform taskex.register_user('later'); perform taskex.add_partition('p3'); end $$});
ok_checks($new, 'postgres', 'the books are right');
$new->stop;

done_testing();
