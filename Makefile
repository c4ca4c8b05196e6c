# SPDX-License-Identifier: Apache-2.0
# Short names for what Meson and the scripts under tools/ do. Each target needs nothing before it.
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60
SOAK_SECONDS ?= 600
ARGS ?=

all: build/build.ninja
	@ninja -C build

# The same by a profile of an edge under load: takes three times as long.
trained: build/build.ninja
	@tools/train build

build/build.ninja: | deps-build
	meson setup build --buildtype=debugoptimized -Doptimization=3 -Dtests=false -Db_lto=true

build-test/build.ninja: | deps-test
	meson setup build-test -Db_sanitize=address,undefined -Dfault_points=true \
	  -Dslow_checks=true -Db_lundef=false

deps-%:
	@tools/install-deps $*

# Tests run side by side; with ARGS (pytest's arguments) one after another.
test check: deps-test build-test/build.ninja
	@ninja -C build-test
	@tools/run-tests build-test $(ARGS)

# Races: everything again under ThreadSanitizer, the edges with two workers. Some ten minutes.
tsan: deps-test
	@[ -d build-tsan ] || meson setup build-tsan -Db_sanitize=thread -Dfault_points=true \
	  -Db_lundef=false
	@ninja -C build-tsan
	@FRESHET_WORKERS=2 FRESHET_TEST_PATIENCE=60 tools/run-tests build-tsan $(ARGS)

fuzz-replay: deps-test build-test/build.ninja
	@ninja -C build-test
	@tools/run-tests build-test --only fuzz

tidy: deps-test
	@tools/tidy

fuzz: deps-fuzz
	@tools/fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

# `make test` has a minute of it.
soak: deps-test build/build.ninja
	@ninja -C build
	@FRESHET="$(CURDIR)/build/freshet" SOAK_SECONDS=$(SOAK_SECONDS) tools/run-tests build \
	  --only integration -s tests/integration/test_soak.py $(ARGS)

bench: deps-bench build/build.ninja
	@tools/train --once build
	@ninja -C build all benchmarks
	@bench/run $(ARGS)

# The public HTTP cache test-suite against the shipped binary; needs node and npm. `make test` does
# without: tests/conformance/cache has a table of its own.
cache-conformance: all
	@mkdir -p build/cache-suite
	@cp tests/conformance/cache/suite/*.json build/cache-suite/
	@cd build/cache-suite && npm ci --ignore-scripts --no-audit --no-fund --silent
	@/usr/bin/python3 tests/conformance/cache/run_suite.py --suite build/cache-suite \
	  --freshet build/freshet --output docs/conformance/cache.md $(ARGS)

demo: all
	@build/freshet demo $(ARGS)

install: all
	@tools/install build "$(PREFIX)" "$(DESTDIR)"

format: deps-format
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-test build-tsan build-fuzz

.PHONY: all trained test check tsan fuzz-replay tidy fuzz soak bench demo cache-conformance \
  install format clean
