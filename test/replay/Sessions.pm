package Sessions;

# Several psql sessions at once, each fed with scripts of its own, and the
# small things that the replay, the demo and the benchmarks share.
#
# Every act is a statement of its own that a client sends: what is measured is
# what a client sees. An error does not end a session; it is in its log, with
# its SQLSTATE, and the caller counts it.

use strict;
use warnings;

use Exporter 'import';
use File::Temp ();
use IO::Select;
use IPC::Open3;

our @EXPORT_OK = qw(scalar_of rows_of run_sql run_sql_in copy_in literal commas
	conductor_off conductor_restore setting_change create_exchange seconds_of);

my @psql = ('psql', '-X', '-q', '-A', '-t', '-v', 'VERBOSITY=verbose');

# literal(TEXT): as an SQL string constant.
sub literal
{
	my $s = shift;
	$s =~ s/'/''/g;
	return $s =~ /\\/ ? " E'" . ($s =~ s/\\/\\\\/gr) . "'" : "'$s'";
}

# commas(N): 1234567 as 1,234,567.
sub commas
{
	my $n = reverse sprintf('%.0f', shift);
	$n =~ s/(\d{3})(?=\d)/$1,/g;
	return scalar reverse $n;
}

sub seconds_of { return sprintf('%.1f s', shift) }

# run_sql_in(DATABASE, SQL): the output, or death with psql's message.
sub run_sql_in
{
	my ($db, $sql) = @_;
	local $ENV{PGOPTIONS} = ($ENV{PGOPTIONS} // '') . ' -c client_min_messages=error';
	my $file = File::Temp->new;
	print $file $sql;
	close $file;
	my $pid = open3(my $in, my $out, undef, @psql, "-F", "\t", "-v", "ON_ERROR_STOP=1",
		"-d", $db, "-f", $file->filename);
	close $in;
	my $text = do { local $/; <$out> } // '';
	waitpid $pid, 0;
	die "psql failed in database $db:\n$text" if $?;
	return $text;
}

sub run_sql { return run_sql_in($ENV{PGDATABASE}, @_) }

sub rows_of { return map { [ split /\t/, $_, -1 ] } split /\n/, run_sql(@_) }

sub scalar_of
{
	my $text = run_sql(@_);
	chomp $text;
	return $text;
}

# copy_in(COMMAND, NEXT): feeds what NEXT->() returns to COPY ... FROM STDIN.
sub copy_in
{
	my ($command, $next) = @_;
	open(my $copy, '|-', @psql, '-v', 'ON_ERROR_STOP=1', '-d', $ENV{PGDATABASE}, '-c', $command)
		or die "cannot start psql: $!\n";
	while (defined(my $text = $next->())) { print $copy $text }
	close $copy or die "COPY failed\n";
}

# create_exchange(DATABASE, PARTITIONS, SETTING...): a new database with these settings, the
# extension and partitions p1.., each in a tablespace of its own if TASKEX_TABLESPACES, a
# directory of the server, is set and has room. Everything after speaks to it.
sub create_exchange
{
	my ($db, $partitions, @settings) = @_;
	my $dir = $ENV{TASKEX_TABLESPACES} // '';
	run_sql_in('postgres', qq{drop database if exists "$db" with (force)});
	run_sql_in('postgres', qq{create database "$db"});
	run_sql_in('postgres', qq{alter database "$db" set $_}) for @settings;
	$ENV{PGDATABASE} = $db;
	run_sql('create extension taskex');
	my %known = map { $_->[0] => 1 } rows_of('select spcname from pg_tablespace');
	my $sql = '';
	for my $n (1 .. $partitions)
	{
		my $name = $dir ne '' && -d "$dir/ts$n" ? "taskex_ts$n" : undef;
		$sql .= "create tablespace $name location " . literal("$dir/ts$n") . ";\n"
		  if defined $name && !$known{$name};
		$sql .= "select taskex.add_partition('p$n'" . (defined $name ? ", '$name'" : '') . ");\n";
	}
	run_sql($sql);
	return;
}

# A replay in recorded time does the conductor's work itself, by that time:
# the conductor, which lives in real time, has to keep out. conductor_off
# returns what conductor_restore needs.
sub conductor_off
{
	my $set = run_sql_in('postgres', q{select setting from pg_file_settings
		where name = 'taskex.conductor' and sourcefile ~ 'postgresql\.auto\.conf$'
		order by seqno desc limit 1});
	chomp $set;
	run_sql_in('postgres', 'alter system set taskex.conductor = off');
	reload_until('taskex.conductor', 'off');
	return $set eq '' ? 'default' : $set;
}

sub conductor_restore
{
	my $set = shift;
	run_sql_in('postgres', $set eq 'default'
		? 'alter system reset taskex.conductor'
		: "alter system set taskex.conductor = $set");
	run_sql_in('postgres', 'select pg_reload_conf()');
	return;
}

# setting_change(NAME, VALUE): changes a setting of the server and waits until it
# is in force; undef: as it was before such changes.
sub setting_change
{
	my ($name, $value) = @_;
	run_sql_in('postgres', defined $value ? "alter system set $name = $value" : "alter system reset $name");
	return run_sql_in('postgres', 'select pg_reload_conf()') if !defined $value;
	reload_until($name, $value);
	return;
}

sub reload_until
{
	my ($name, $wanted) = @_;
	run_sql_in('postgres', 'select pg_reload_conf()');
	for (1 .. 100)
	{
		my $is = run_sql_in('postgres', "show $name");
		chomp $is;
		return if $is eq $wanted;
		select undef, undef, undef, 0.05;
	}
	die "the setting $name does not become $wanted: it is set elsewhere\n";
}

# new(N, INIT): N sessions on PGDATABASE that have run the script INIT.
sub new
{
	my ($class, $n, $init) = @_;
	my $self = bless {
		dir => File::Temp->newdir,
		session => [],
	}, $class;
	for my $i (1 .. $n)
	{
		open my $log, '>', "$self->{dir}/log$i" or die "$self->{dir}: $!\n";
		my $pid = open3(my $in, my $out, '>&' . fileno($log), @psql, '-d', $ENV{PGDATABASE});
		$in->autoflush(1);
		push @{ $self->{session} }, { in => $in, out => $out, pid => $pid, n => $i, log => "$self->{dir}/log$i" };
	}
	$self->run([ ($init) x $n ]);
	my @wrong = $self->errors;
	die "a session does not start:\n$wrong[0]{text}\n" if @wrong;
	return $self;
}

# run(SCRIPTS, ON_LINE): runs a script in each session, all at once; returns
# when all are done. ON_LINE->(session, line) sees what they print.
sub run
{
	my ($self, $scripts, $on_line) = @_;
	my $select = IO::Select->new;
	my %of;
	for my $s (@{ $self->{session} })
	{
		my $script = $scripts->[ $s->{n} - 1 ] // '';
		$s->{file} = "$self->{dir}/script$s->{n}";
		open my $f, '>', $s->{file} or die "$s->{file}: $!\n";
		print $f $script;
		close $f or die "$s->{file}: $!\n";
		$s->{text} = $script;
	}
	for my $s (@{ $self->{session} })
	{
		print { $s->{in} } "\\i $s->{file}\n\\echo __done__\n";
		$s->{rest} = '';
		$select->add($s->{out});
		$of{ fileno $s->{out} } = $s;
	}
	while ($select->count)
	{
		for my $out ($select->can_read)
		{
			my $s = $of{ fileno $out };
			if (!sysread $out, my $bytes, 65536)
			{
				die "session $s->{n} ended early:\n" . $self->log_of($s);
			}
			else { $s->{rest} .= $bytes }
			while ($s->{rest} =~ s/\A([^\n]*)\n//)
			{
				if ($1 eq '__done__') { $select->remove($out) }
				elsif ($on_line) { $on_line->($s->{n}, $1) }
			}
		}
	}
	return;
}

sub log_of
{
	my ($self, $s) = @_;
	open my $f, '<', $s->{log} or return '';
	local $/;
	return <$f> // '';
}

# errors(): what went wrong since the last call: session, line of its last
# script, SQLSTATE and text. A message of psql itself has the SQLSTATE 'psql'.
sub errors
{
	my $self = shift;
	my @found;
	for my $s (@{ $self->{session} })
	{
		open my $f, '<', $s->{log} or die "$s->{log}: $!\n";
		seek $f, $s->{seen} // 0, 0;
		while (my $line = <$f>)
		{
			chomp $line;
			if ($line =~ /^psql:.*?:(\d+): (?:ERROR|FATAL|PANIC):\s+(\w{5}): (.*)/)
			{
				push @found, { session => $s->{n}, line => $1, sqlstate => $2, text => $3 };
			}
			elsif ($line =~ /^psql:.*?:(\d+): error: (.*)/ || $line =~ /^psql: ()error: (.*)/)
			{
				push @found, { session => $s->{n}, line => $1, sqlstate => 'psql', text => $2 };
			}
		}
		$s->{seen} = tell $f;
	}
	return @found;
}

# statement(ERROR): the text of the script that the error was in.
sub statement
{
	my ($self, $error) = @_;
	my @lines = split /\n/, $self->{session}[ $error->{session} - 1 ]{text};
	return $error->{line} ? $lines[ $error->{line} - 1 ] : '';
}

sub finish
{
	my $self = shift;
	for my $s (@{ $self->{session} })
	{
		close $s->{in};
		waitpid $s->{pid}, 0;
	}
	$self->{session} = [];
	return;
}

1;
