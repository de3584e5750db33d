# Many sessions spend from the same accounts, and earn, roll back, are cancelled
# and killed: never is more spent than there is, and all of it can be spent.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;
use Time::HiRes qw(time usleep);

# far fewer purses than accounts, so that they are evicted and loaded all the time
my $accounts = 300;
my $node = new_cluster('main', conf => q{
max_connections = 60
taskex.purse_cache_size = 128
restart_after_crash = on
autovacuum_naptime = 1s
});
make_partitions($node, 2);
$node->safe_psql('postgres', qq{
	do \$\$ begin
		for i in 1 .. $accounts loop
			perform taskex.register_user('u' || i);
			perform taskex.deposit('u' || i, 20, 'start');
		end loop;
		perform taskex.register_user('rich');
	end \$\$;
});

# Every client with a session of its own; returns the handles of the sessions.
sub start_clients
{
	my ($n, $sql) = @_;
	return map {
		my $h = { out => '', err => '' };
		$h->{run} = IPC::Run::start(
			[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'set synchronous_commit = off', '-c', $sql ],
			'>', \$h->{out}, '2>', \$h->{err});
		$h
	} 1 .. $n;
}

sub finish_clients { $_->{run}->finish for @_; return; }

sub ok_at_rest
{
	my ($name) = @_;
	is($node->safe_psql('postgres', q{
		select check_name, detail from taskex.check_ledger() where ok is not true
	}), '', "$name: the ledger adds up");
	is($node->safe_psql('postgres', q{
		select u.login, b.available, p.* from taskex.users u,
			taskex.balance(u.login) b, _taskex.purse(u.login) p
		where p.pins is not null
			and (p.available > b.available or p.inflight <> 0 or p.pins <> 0 or p.loading <> 0)
	}), '', "$name: no purse holds more than the account, and nothing is left reserved");
	return;
}

# 32 sessions spend exactly what is there; one in ten rolls back
$node->safe_psql('postgres', q{
	select taskex.deposit('rich', 3200, 'start');
	create procedure spend() language plpgsql as $$
	begin
		loop
			begin
				perform taskex.withdraw('rich', 1);
			exception when sqlstate 'TX201' then
				exit when (select available from taskex.balance('rich')) < 1;
			end;
			if random() < 0.1 then rollback; else commit; end if;
		end loop;
	end $$;
});
my @spenders = start_clients(32, 'call spend()');
finish_clients(@spenders);
is(join('', map { $_->{err} } @spenders), '', '32 sessions spend from one account');
is($node->safe_psql('postgres', q{
	select b.available, (select count(*) from taskex.statement('rich', max_rows => 10000) where kind = 'withdrawal')
	from taskex.balance('rich') b
}), '0|3200', 'all is spent, and no more');
ok_at_rest('spending');

await($node, 'postgres', 'select count(*) > 0 from _taskex.balance where account_id = -1',
	'the conductor folds entries into balances');

# everything at once
$node->safe_psql('postgres', qq{
	create procedure mix(seconds float) language plpgsql as \$\$
	declare
		until timestamptz := clock_timestamp() + seconds * interval '1 second';
		u text;
		v text;
		a numeric;
		k text;
	begin
		while clock_timestamp() < until loop
			u := 'u' || 1 + floor(random() ^ 2 * $accounts);
			v := 'u' || 1 + floor(random() * $accounts);
			a := floor(1 + random() * 3000) / 100;
			k := gen_random_uuid();
			begin
				case floor(random() * 6)
				when 0 then
					perform taskex.withdraw(u, a);
					perform taskex.withdraw(v, a);
				when 1 then
					perform taskex.deposit(u, a, k);
					begin
						perform taskex.withdraw(u, a + 1);
						raise exception 'back';
					exception when raise_exception then null;
					end;
					perform taskex.withdraw(u, a);
				when 2 then
					perform taskex.withdraw(u, 2);
					begin
						perform taskex.deposit(u, a, k);
						perform taskex.withdraw(u, a);
						perform taskex.withdraw(v, a / 2);
						raise exception 'back';
					exception when raise_exception then null;
					end;
				when 3 then
					perform taskex.deposit(u, a, 'again ' || floor(random() * 100));
				when 4 then
					perform taskex.deposit(u, a, k);
					perform taskex.deposit(v, a, k || 'v');
				else
					perform taskex.withdraw(u, 1);
					perform taskex.deposit(u, a, k);
					perform taskex.withdraw(u, a);
				end case;
			exception
				when sqlstate 'TX201' or sqlstate 'TX110' then null;
			end;
			if random() < 0.15 then rollback; else commit; end if;
		end loop;
	end \$\$;
});

my $end = time + 8;
my @mixers;
my $seen = '';
while (time < $end)
{
	push @mixers, start_clients(12, 'call mix(2)');
	my $stop = time + 2;
	while (time < $stop)
	{
		$node->safe_psql('postgres', q{
			select case when random() < 0.5 then pg_cancel_backend(pid) else pg_terminate_backend(pid) end
			from pg_stat_activity where query like '%call mix%' and pid <> pg_backend_pid()
			order by random() limit 1;
			select _taskex.fold_ledger();
		});
		$seen .= $node->safe_psql('postgres', 'select check_name, detail from taskex.check_ledger() where ok is not true');
		usleep(100_000);
	}
	finish_clients(@mixers);
	$seen .= join "\n", grep { !/canceling statement|terminating connection|server closed|This probably means|before or while|connection to server was lost|CONTEXT|SQL statement|PL\/pgSQL|^\s*$/ }
		map { split /\n/, $_->{err} } @mixers;
	@mixers = ();
}
is($seen, '', 'while sessions are cancelled and killed the ledger adds up at every moment');
ok_at_rest('the mix');

# what a session had reserved when the server crashed is there again
$node->safe_psql('postgres', q{select taskex.deposit('rich', 10, 'again')});
my ($in, $out, $err) = ('', '', '');
my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
	'<', \$in, '>', \$out, '2>', \$err);
$in = "begin; select taskex.withdraw('rich', 8) > 0; select pg_backend_pid();\n";
$session->pump until $out =~ /t\n\d+\n/;
my ($pid) = $out =~ /t\n(\d+)\n/ or die "no process: $err";
is(sqlstate_of($node, 'postgres', q{select taskex.withdraw('rich', 3)}), 'TX201',
	'what another session has in flight is not there');
ok(kill_process($node, "select $pid"), 'the server is up after a crash');
$in = "\\q\n";
$session->finish;
is($node->safe_psql('postgres', q{
	select taskex.withdraw('rich', 10) > 0;
	select available from taskex.balance('rich');
}), "t\n0", 'after a crash all funds can be spent');
ok_at_rest('the crash');

$node->stop;
done_testing();
