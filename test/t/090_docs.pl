# The documents keep up with the code: docs/reference.md names every function,
# view, setting and SQLSTATE, what other pages call exists, their links lead
# somewhere, and the README's SQL works when pasted.

use strict;
use warnings;

use FindBin;
use lib "$FindBin::Bin/lib";
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use TaskexTest;
use Test::More;

my $top = "$FindBin::Bin/../..";
my $node = new_cluster('main', conf => 'taskex.max_databases = 64');

my $reference = -e "$top/docs/reference.md" ? slurp_file("$top/docs/reference.md") : '';
ok($reference ne '', 'docs/reference.md exists');

# The names that QUERY yields and the reference lacks.
sub undocumented
{
	my $query = shift;
	return join ' ', grep { $_ ne '' && $reference !~ /(?<![\w.])\Q$_\E(?!\w)/ }
	  split /\n/, $node->safe_psql('postgres', $query);
}

is(undocumented(q{select distinct 'taskex.' || proname from pg_proc where pronamespace = 'taskex'::regnamespace order by 1}),
	'', 'every function is in the reference');
is(undocumented(q{select 'taskex.' || relname from pg_class where relnamespace = 'taskex'::regnamespace
	and relkind in ('v', 'r', 'm', 'p', 'c') order by 1}), '', 'every view and type is');
is(undocumented(q{select name from pg_settings where name like 'taskex.%' order by 1}), '', 'every setting is');
is(undocumented(q{select sqlstate from taskex.errors order by 1}), '', 'every SQLSTATE is');
is(undocumented(q{select name from taskex.errors order by 1}), '', 'and its name is');
is(undocumented(q{select rolname from pg_roles where rolname like 'taskex\_%' order by 1}), '', 'every role is');

# each view's part names its columns, or says of which other view they are
my %section = $reference =~ /^### taskex\.(\w+)\n(.*?)(?=^###? |\z)/msg;
my %of = (audit => 'transfers', node_load => 'user_load', partition_load => 'user_load', supply_history => 'supplies');
my @columns;
for (split /\n/, $node->safe_psql('postgres', q{select c.relname || ' ' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
	where c.relnamespace = 'taskex'::regnamespace and c.relkind in ('v', 'c') and a.attnum > 0 order by 1}))
{
	my ($view, $column) = split / /;
	push @columns, "$view.$column" if !grep { ($section{$_} // '') =~ /`$column`/ } $view, $of{$view} // ();
}
is(join(' ', @columns), '', 'with all its columns');

# and nothing that is not there
my %exists = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', q{
	select proname from pg_proc where pronamespace = 'taskex'::regnamespace
	union select relname from pg_class where relnamespace = 'taskex'::regnamespace
	union select typname from pg_type where typnamespace = 'taskex'::regnamespace
	union select substr(name, 8) from pg_settings where name like 'taskex.%'});
my %named = map { $_ => 1 } $reference =~ /^#+ .*?\btaskex\.(\w+)/mg;
is(join(' ', grep { !$exists{$_} } sort keys %named), '', 'no heading of the reference is about what does not exist');
my %states = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', 'select sqlstate from taskex.errors');
my %codes = map { $_ => 1 } $reference =~ /\b(TX[0-9A-Z]{3})\b/g;
is(join(' ', grep { !$states{$_} } sort keys %codes), '', 'nor an SQLSTATE');

# whatever a page calls taskex.NAME is there; a page of reading links to each
my @pages = map { $_ =~ s{^\Q$top\E/}{}r } "$top/README.md", glob("$top/docs/*.md");
my (@unknown, @broken, %linked);
for my $page (@pages)
{
	my $text = slurp_file("$top/$page");
	push @unknown, map { "$page: $_" } grep { !$exists{$_} && $_ !~ /^(control|wait_point)$/ && !/_$/ } $text =~ /(?<![\w\/])taskex\.(\w+)\b(?!\.\w)/g;
	for my $link ($text =~ /\]\(([^)#:]*(?:#[^)]*)?)\)/g)
	{
		my ($file, $anchor) = split /#/, $link, 2;
		my $target = ($file // '') eq '' ? $page : ($page =~ m{^(.*/)} ? $1 : '') . $file;
		1 while $target =~ s{[^/.]+/\.\./}{};
		$linked{$target} = 1 if $page eq 'README.md';
		next if $target !~ m{^docs/} && !-d "$top/src";    # tests run on a copy without the rest
		if (!-e "$top/$target") { push @broken, "$page: $link"; next }
		next if !defined $anchor;
		my %anchors = map { (lc($_) =~ s/[^\w\- ]//gr =~ s/ /-/gr) => 1 } slurp_file("$top/$target") =~ /^#+ +(.*?)\s*$/mg;
		push @broken, "$page: $link" if !$anchors{$anchor};
	}
}
is(join(' ', @unknown), '', 'the pages name nothing that is not there');
is(join(' ', @broken), '', 'no link is broken');
is(join(' ', grep { m{^docs/} && !$linked{$_} } @pages), '', 'the README links all pages');

# the README's SQL, one block after the other, in a fresh database
my $readme = -e "$top/README.md" ? slurp_file("$top/README.md") : '';
my $sql = join "\n", $readme =~ /^```sql\n(.*?)^```/msg;
SKIP:
{
	ok($sql ne '', 'the README has SQL to paste') or skip 'no SQL', 3;
	$node->safe_psql('postgres', 'create database pasted');
	$node->safe_psql('pasted', 'create extension taskex') if $sql !~ /create\s+extension/i;
	my ($out, $err);
	my $status = $node->psql('pasted', $sql, stdout => \$out, stderr => \$err, on_error_stop => 0);
	is($status, 0, 'psql takes it');
	unlike($err, qr/ERROR|FATAL|WARNING/, 'without an error');
	note($out);
	ok_checks($node, 'pasted', 'and leaves the books right');
}

# The SQL of a page, in psql after the README's first block: fenced or indented, and what a
# comment "<!-- sql: ... -->" gives it to work on. After "<!-- fragment -->" a block is left out.
sub examples
{
	my $text = shift;
	my @found;
	while ($text =~ /(<!--\ fragment\ -->\n+)? (?: ^```sql\n(.*?)^``` | ^<!--\ sql:\ (.*?)-->$ | (?<=\n\n)((?:^\ {4}[^\n]*\n|^\n(?=\ {4}))+) )/gmsx)
	{
		my ($fragment, $block) = ($1, $2 // $3 // $4);
		next if defined $fragment || (defined $4 && $block !~ /^ {4}(?:select|begin|set|create|alter)\b/i);
		push @found, $block;
	}
	return @found;
}

my ($first) = $readme =~ /^```sql\n(.*?)^```/ms;
my %executed;
for my $page (grep { m{^docs/} } @pages)
{
	my @blocks = examples(slurp_file("$top/$page")) or next;
	my $db = $page =~ s{^docs/(.*)\.md}{page_$1}r =~ tr/-/_/r;
	my ($out, $err);
	$node->safe_psql('postgres', "create database $db");
	my $status = $node->psql($db, join("\n", "set client_min_messages = warning;\n$first", @blocks) =~ s{'/path/to/disk'}{''}r,
		stdout => \$out, stderr => \$err, on_error_stop => 0);
	is($err, '', "$page: all " . @blocks . ' examples work');
	ok_checks($node, $db, "$page: and leave the books right");
	$executed{$page} = 1;
}
cmp_ok(keys %executed, '>=', 6, 'pages with examples: ' . join ' ', sort keys %executed);
$node->stop;

done_testing();
