# taskex: build, install and test.
#
#   make              build for the PostgreSQL of PG_CONFIG (default: pg_config)
#   make install      install it there
#   make installcheck regression and isolation tests on a running server that
#                     has taskex in shared_preload_libraries
#   make test         everything, on private throw-away servers; nothing has to
#                     be set up before [KIND="regress tap ..." TESTS="name ..."]
#   make demo         a live exchange to watch, then to play with
#   make bench        the benchmarks [BENCH="name ..."]
#   make replay       replay recorded crowd work [DATA=folder]
#   make replay-supply  play recorded work with supplies off and on [DATA=folder of sets] [ROWS=accepts] [STEP=seconds]
#   make replay-recommend  hold recommendations to recorded choices [DATA=folder of sets]
#   make replay-balance  hold plans of moves to recorded load [DATA=folder]
#   make replay-jobs  play logs of batch jobs through the queue of runs [DATA=folder] [JOBS=number]
#   make replay-forecast  hold the forecast of accepts to recorded hours [DATA=folder]

EXTENSION = taskex
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" taskex.control)
MODULE_big = taskex
PGFILEDESC = "taskex - a task exchange in the database"

OBJS = $(patsubst %.c,%.o,$(sort $(wildcard src/*.c src/*/*.c)))
ALL_HEADERS = $(sort $(wildcard src/*.h src/*/*.h))

# The install script is the modules' scripts, lower layers first.
SQL_MODULES = header errors cron directory journal summaries events ledger truth qualification request block market find saved_search tasks template review policy policy_work group supply forecast recommend hotspots push migration load placement rebalance layout environment program run executor schedule steering monitor split billing invoice finance anonymous retention report launcher privileges
SQL_PARTS = $(SQL_MODULES:%=sql/%.sql)

# DATA means the recorded work on the command line ("make replay DATA=folder")
# and the files to install to PGXS, also in the makes started below it.
REPLAY_DATA := $(if $(filter command%,$(origin DATA)),$(DATA))
override DATA = $(wildcard sql/updates/*.sql)
DATA_built = $(EXTENSION)--$(EXTVERSION).sql

PG_CPPFLAGS = -I$(srcdir)/src
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare \
	-Wno-missing-field-initializers -Wno-clobbered
ifeq ($(WERROR),1)
PG_CFLAGS += -Werror
endif

REGRESS = $(shell sed -n 's/^test: *//p' test/sql/schedule)
REGRESS_OPTS = --inputdir=test --load-extension=$(EXTENSION)
ISOLATION = $(sort $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec)))
ISOLATION_OPTS = --inputdir=test --load-extension=$(EXTENSION)
NO_LOCALE = 1

EXTRA_CLEAN = src/.flags $(wildcard $(EXTENSION)--*.sql)

# No bitcode: it would need the very clang that the server was built with.
override with_llvm = no

# "make test" and its like find a PostgreSQL, or install one, by themselves;
# they are told only of a choice that the user has made.
ifneq ($(origin PG_CONFIG),undefined)
PG_CONFIG_GIVEN := $(PG_CONFIG)
endif
PG_CONFIG ?= pg_config
PGXS := $(if $(wildcard $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)/postgres.h),$(shell $(PG_CONFIG) --pgxs))

ifneq ($(PGXS),)
include $(PGXS)

$(OBJS): $(ALL_HEADERS) src/.flags

$(DATA_built): $(SQL_PARTS) taskex.control
	cat $(SQL_PARTS) > $@.tmp && mv $@.tmp $@

# Rebuild everything when the compiler flags or the server's version change.
FLAGS = $(CC) $(CPPFLAGS) $(CFLAGS) $(VERSION)
src/.flags: FORCE
	@echo '$(subst ','\'',$(FLAGS))' | cmp -s - $@ || echo '$(subst ','\'',$(FLAGS))' > $@

.PHONY: FORCE
FORCE:

clean: stop
else
.DEFAULT_GOAL := all
all install installcheck clean:
	@echo "$(PG_CONFIG) knows no PostgreSQL server headers: install postgresql-server-dev-15" >&2
	@echo "(or newer), or name another one: make PG_CONFIG=/path/to/pg_config" >&2
	@exit 1
endif

HARNESS = MAKE='$(MAKE)' PG_CONFIG='$(PG_CONFIG_GIVEN)'

.PHONY: test demo bench replay replay-balance replay-forecast replay-jobs replay-recommend replay-supply psql stop
test:
	@$(HARNESS) scripts/run-tests $(KIND)

demo:
	@$(HARNESS) scripts/with-server --name demo --keep -- test/demo/run

bench:
	@$(HARNESS) scripts/with-server --name bench --tools bench -- test/bench/run $(BENCH)

replay:
	@$(HARNESS) scripts/with-server --name replay -- test/replay/run '$(REPLAY_DATA)'

replay-balance:
	@$(HARNESS) scripts/with-server --name replay -- test/replay/balance '$(REPLAY_DATA)'

replay-recommend:
	@$(HARNESS) scripts/with-server --name replay -- test/replay/recommend '$(or $(REPLAY_DATA),../shared/data)/crowd_exchange'

replay-supply:
	@$(HARNESS) scripts/with-server --name replay -- test/replay/supply '$(REPLAY_DATA)' $(if $(ROWS),--rows $(ROWS)) $(if $(STEP),--step $(STEP))

replay-jobs:
	@$(HARNESS) scripts/with-server --name replay -- test/replay/jobs $(if $(JOBS),--jobs $(JOBS)) '$(REPLAY_DATA)'

replay-forecast:
	@$(HARNESS) scripts/with-server --name replay -- test/replay/forecast '$(REPLAY_DATA)'

# psql on the server that "make demo" left running
psql:
	@scripts/server psql demo

# stop and remove every server that was left running
stop:
	@scripts/server stop
