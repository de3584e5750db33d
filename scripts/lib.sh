# Shared by the scripts here: where files go, who owns the servers, and private
# servers themselves. Sourced by bash.
#
# Tests never touch the system's PostgreSQL installation, and need no right to
# write there: every run gets a tree of its own, made of copies of the programs
# and links to all the rest. The programs find their files relative to their
# own place, so an extension installed in the tree is seen by them alone, and a
# later build does not change what a running server has.
#
# PostgreSQL refuses to run as root. Started by root, everything on the
# server's side runs as $runner, in a place that he can reach.

set -euo pipefail
umask 022

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
check=$top/tmp_check
make=${MAKE:-make}

# Nothing of the caller's make or libpq settings leaks into ours.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
for v in $(compgen -e PG || true); do
	case $v in PG_CONFIG | PG_TEST_*) ;; *) unset "$v" ;; esac
done
export LC_ALL=C.UTF-8

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

runner=
if [ "$(id -u)" = 0 ]; then
	if id postgres >/dev/null 2>&1; then runner=postgres; else runner=nobody; fi
fi

# as_runner COMMAND...: run it as the unprivileged user. The caller's working
# directory must be one that he can reach.
as_runner() {
	if [ -z "$runner" ]; then
		"$@"
	elif command -v setpriv >/dev/null; then
		setpriv --reuid="$runner" --regid="$(id -g "$runner")" --init-groups "$@"
	else
		runuser -u "$runner" -- "$@"
	fi
}

# A directory below which the runner can work.
workplace() {
	mkdir -p "$check"
	local d
	for d in "$check" "${TMPDIR:-/tmp}" /tmp /var/tmp; do
		case $d in *[[:space:]]*) continue ;; esac	# pg_isolation_regress does not quote
		if (cd / && as_runner test -x "$d") && [ -w "$d" ]; then
			echo "$d"
			return
		fi
	done
	die "$runner can reach no directory to work in"
}

# new_run NAME: sets $run, a new directory owned by the runner. It is reached
# as tmp_check/NAME... too.
new_run() {
	local place
	place=$(workplace)
	if [ "$place" = "$check" ]; then
		run=$(mktemp -d "$check/$1.XXXXXX")
		echo $$ > "$run/owner"
	else
		run=$(mktemp -d "$place/taskex-$1.XXXXXX")
		echo $$ > "$run/owner"	# before others see it, and sweep
		ln -s "$run" "$check/$1.${run##*.}"
	fi
	chmod 755 "$run"
	if [ -n "$runner" ]; then chown "$runner:$(id -g "$runner")" "$run"; fi
}

# remove_run DIRECTORY: stops its server, if any, and removes all of it.
remove_run() {
	local dir=$1 link
	stop_server "$dir"
	for link in "$check"/*; do
		if [ -L "$link" ] && [ "$(readlink "$link")" = "$dir" ]; then rm -f "$link"; fi
	done
	rm -rf "$dir"
}

# sweep NAME: removes what earlier runs of that name ("*": any) left, unless
# they go on.
sweep() {
	local d pid
	for d in "$check"/$1.*; do
		[ -e "$d" ] || { rm -f "$d"; continue; }
		pid=$(cat "$d/owner" 2>/dev/null || echo)
		if [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null; then continue; fi
		remove_run "$(cd "$d" && pwd -P)"
	done
}

# build PG_CONFIG: one at a time, however many sessions use this checkout.
build() {
	mkdir -p "$check"
	(
		flock 9
		cd "$top"
		"$make" -s -j"$(getconf _NPROCESSORS_ONLN)" PG_CONFIG="$1" all
	) 9> "$check/.lock"
}

# make_tree PG_CONFIG: the private installation, in $run/pg. Sets $bindir, PATH
# and PG_CONFIG to it, and $pgtest to where PGXS keeps the test programs.
make_tree() {
	local pgc=$1 bin lib share include
	bin=$("$pgc" --bindir) lib=$("$pgc" --pkglibdir) share=$("$pgc" --sharedir)
	bindir=$run/pg$bin
	echo "$bindir" > "$run/bindir"
	mkdir -p "$bindir" "$run/pg$lib" "$run/pg$share"
	cp -L "$bin"/* "$bindir"
	cp -as "$lib"/. "$run/pg$lib"
	cp -as "$share"/. "$run/pg$share"
	include=$("$pgc" --includedir)
	mkdir -p "$(dirname "$run/pg$include")"
	ln -s "$include" "$run/pg$include"
	rm -f "$run/pg$lib"/taskex.so "$run/pg$share"/extension/taskex*
	(
		flock 9
		cd "$top"
		"$make" -s PG_CONFIG="$pgc" DESTDIR="$run/pg" install
	) 9> "$check/.lock"
	export PATH=$bindir:$PATH PG_CONFIG=$bindir/pg_config
	pgtest=$(cd "$(dirname "$("$pgc" --pgxs)")/../test" && pwd)
}

# short_dir: a folder of the runner's with a name short enough for sockets; it
# goes when the server is stopped.
short_dir() {
	local d
	d=$(mktemp -d /tmp/taskex.XXXXXX)
	if [ -n "$runner" ]; then chown "$runner" "$d"; fi
	echo "$d" >> "$run/short"
	echo "$d"
}

# start_server CONF...: a server in $run/data with these settings files,
# reached by a socket only. Sets PGHOST and the like for the caller.
start_server() {
	local sock conf i
	sock=$(short_dir)
	echo "$sock" > "$run/socket"
	mkdir -p "$run/tablespaces"
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do mkdir "$run/tablespaces/ts$i"; done
	if [ -n "$runner" ]; then chown -R "$runner" "$run/tablespaces"; fi
	(
		cd "$run"
		as_runner "$bindir/initdb" -D data -U postgres -A trust --no-sync --no-locale \
			--encoding=UTF8 > initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
		{
			for conf in "$@"; do cat "$conf"; done
			echo "unix_socket_directories = '$sock'"
			echo "listen_addresses = ''"
		} | as_runner tee -a data/postgresql.conf > /dev/null
		as_runner "$bindir/pg_ctl" -D data -l server.log -w -t 60 start > /dev/null ||
			{ tail -n 30 server.log >&2; exit 1; }
	)
	export PGHOST=$sock PGPORT=5432 PGUSER=postgres PGDATABASE=postgres
}

# stop_server DIRECTORY: of a run, and those that its TAP tests left. Quietly
# does nothing when there is none.
stop_server() {
	local dir=$1 ctl pid d
	ctl=$(cat "$dir/bindir" 2>/dev/null || echo)/pg_ctl
	for pid in "$dir"/data/postmaster.pid "$dir"/stage/tmp_check/*/pgdata/postmaster.pid; do
		[ -e "$pid" ] || continue
		(
			cd "$dir"
			as_runner "$ctl" -D "$(dirname "$pid")" -m fast -w -t 30 stop ||
				as_runner "$ctl" -D "$(dirname "$pid")" -m immediate -w -t 30 stop
		) > /dev/null 2>&1 || true
	done
	for d in $(cat "$dir/short" 2>/dev/null); do
		case $d in /tmp/taskex.*) rm -rf "$d" ;; esac
	done
}
