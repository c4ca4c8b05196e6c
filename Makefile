# SPDX-License-Identifier: Apache-2.0
# Short names for what Meson and the scripts under tools/ do. Each target needs nothing before it.
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 60
ARGS ?=

all: build/build.ninja
	@ninja -C build

build/build.ninja: | deps-build
	meson setup build --buildtype=debugoptimized -Dtests=false

build-test/build.ninja: | deps-test
	meson setup build-test -Db_sanitize=address,undefined -Dfault_points=true \
	  -Dslow_checks=true -Db_lundef=false

deps-%:
	@tools/install-deps $*

test check: deps-test build-test/build.ninja
	@ninja -C build-test
	@tools/run-tests build-test $(ARGS)

fuzz-replay: deps-test build-test/build.ninja
	@ninja -C build-test
	@tools/run-tests build-test --only fuzz

tidy: deps-test
	@tools/tidy

fuzz: deps-fuzz
	@tools/fuzz --seconds $(FUZZ_SECONDS) $(ARGS)

bench: deps-bench build/build.ninja
	@ninja -C build
	@bench/run $(ARGS)

demo: all
	@build/freshet demo $(ARGS)

install: all
	@tools/install build "$(PREFIX)" "$(DESTDIR)"

format: deps-format
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-test build-fuzz

.PHONY: all test check fuzz-replay tidy fuzz bench demo install format clean
