# The two commands are `make run`, which starts a bus on this machine, and `make test`, which tests everything. Both install
# what they need (Debian's package names). `make check` is what a change must pass.
#
# The program is linked with this machine's OpenSSL and SQLite here. A static binary that carries its own is built by
# `cargo build --release`.

CARGO ?= cargo
FEATURES ?= --no-default-features
RUN_ROOT ?= target/run
RUN_PORT ?= 11883
BUILD := $(or $(CARGO_TARGET_DIR),target)
FOSQUITTO ?= $(BUILD)/release/fosquitto

BUILD_PACKAGES := gcc libc6-dev pkg-config libssl-dev libsqlite3-dev
RUN_PACKAGES := mosquitto-clients
TEST_PACKAGES := mosquitto mosquitto-clients python3 python3-venv busybox shellcheck valgrind lua5.1 zopfli
LUCI_PACKAGES := nodejs npm chromium fonts-dejavu-core openssl
ORACLE_PACKAGES := cmake libclang-dev
FUZZ_PACKAGES := g++

# What builds for a router: Rust with the source of its library, which rustup's lacks for some processors, and tools for any kind of binary.
CROSS_PACKAGES := rustc-web cargo-web rust-web-src llvm patch perl python3 python3-venv xz-utils zopfli
CROSS_TEST_PACKAGES := qemu-user

# The routers' processors (cross/targets): one, or those of `make packages`, `make sizes` and `make cross-test`.
TARGET ?= mips-unknown-linux-musl
TARGETS ?= $(shell awk '!/^#/ { print $$1 }' cross/targets)
PACKAGES ?= target/packages

# Those that `make test` builds and tests, with the short list of tests: one of each byte order.
SHORT_TARGETS ?= mips-unknown-linux-musl armv7-unknown-linux-musleabihf

VENVS := paho-1 paho-2
SHELL_FILES := .ci/run $(wildcard tests/make/*) openwrt/pack $(addprefix cross/,vendor compilers libraries build sizes test) openwrt/fosquitto/test.sh $(filter-out %/router,$(wildcard tests/openwrt/*)) \
	$(wildcard files/etc/init.d/* files/etc/hotplug.d/*/* files/etc/uci-defaults/* files/usr/libexec/rpcd/*)

# The examples of the documentation come first, so that the summary that closes the run is that of the real tests.
define TESTS
$(CARGO) test --locked $(FEATURES) --doc
$(CARGO) test --locked $(FEATURES) --no-fail-fast --lib --bins --tests
endef

# Options of the load generator: make bench BENCH='--case durable-*'
BENCH ?= --rounds 5

# How long all fuzz targets together are fuzzed, and which; all of them without a name.
SECONDS ?= 60
FUZZ ?=

.PHONY: run start test check setup venvs oracle corpus fuzz bench bench-instructions luci-test fmt clippy doc tidy shellcheck \
	cross cross-setup sizes packages cross-test

run:
	@tests/make/setup $(BUILD_PACKAGES) $(RUN_PACKAGES)
	$(CARGO) build --locked --release $(FEATURES)
	@exec $(MAKE) --no-print-directory start

# What `make run` does after set-up and build; the tests call it with a root, a port and a program of their own.
start:
	@exec tests/make/start '$(FOSQUITTO)' '$(RUN_ROOT)' '$(RUN_PORT)'

setup:
	@tests/make/setup $(BUILD_PACKAGES) $(RUN_PACKAGES) $(TEST_PACKAGES)
	@$(MAKE) --no-print-directory venvs

venvs:
	@for name in $(VENVS); do tests/make/venv "target/python/$$name" "tests/python/requirements-$$name.txt" || exit 1; done

test: setup oracle corpus bench-instructions luci-test
	@$(MAKE) --no-print-directory cross-test TARGETS='$(SHORT_TARGETS)' CROSS_TEST=--short
	$(TESTS)

check: setup fmt clippy tidy shellcheck doc oracle corpus bench-instructions luci-test
	$(TESTS)

# libuci itself against the UCI reader: a crate of its own, whose lock has the program's versions and a few more. In the one
# target folder what both need is built once.
oracle:
	@tests/make/setup $(ORACLE_PACKAGES)
	$(CARGO) test --locked --manifest-path tests/uci-oracle/Cargo.toml --target-dir '$(BUILD)'

# The fuzz targets as ordinary tests: on the inputs that are kept, and on random changes of them.
corpus:
	$(CARGO) test --locked --manifest-path tests/fuzz/Cargo.toml --target-dir '$(BUILD)'

# LuCI's pages in a browser, with a bus of the debug build behind them. SHOTS=FOLDER keeps a picture of each page.
luci-test:
	@tests/make/luci $(LUCI_PACKAGES)
	$(CARGO) build --locked $(FEATURES)
	cd tests/luci && FOSQUITTO='$(abspath $(BUILD))/debug/fosquitto' node --test *.test.mjs

# The same targets under libFuzzer, so many seconds in all: make fuzz SECONDS=600. A finding ends it with an error and the path of the input.
fuzz:
	@tests/make/setup $(BUILD_PACKAGES) $(FUZZ_PACKAGES)
	@CARGO='$(CARGO)' tests/make/fuzz '$(SECONDS)' '$(BUILD)' $(FUZZ)

bench:
	@tests/make/setup $(BUILD_PACKAGES) mosquitto strace
	$(CARGO) bench --locked $(FEATURES) --bench bus -- $(BENCH)

# The release binary is what is counted, since a quicker profile would count another program; the load generator needs no such build.
bench-instructions:
	@tests/make/setup $(BUILD_PACKAGES) valgrind
	$(CARGO) build --locked --release $(FEATURES)
	$(CARGO) bench --locked $(FEATURES) --profile dev --bench bus -- --instructions --only fosquitto --fosquitto '$(FOSQUITTO)'

# For routers. `make cross TARGET=armv7-unknown-linux-musleabihf` leaves a static binary in target/cross/TARGET/fosquitto; the others take
# TARGETS='...', or all: where the bytes are, the packages and indexes of a feed for every name that OpenWrt has for these processors,
# and the daemon's tests against the foreign binaries, under emulation (CROSS_TEST=--short: one of each).
cross-setup:
	@tests/make/setup $(BUILD_PACKAGES) $(CROSS_PACKAGES)

cross: cross-setup
	@cross/build '$(TARGET)'

sizes: cross-setup
	@for target in $(TARGETS); do cross/build "$$target" || exit 1; done
	@cross/sizes $(TARGETS)

packages: cross-setup
	@for target in $(TARGETS); do cross/build "$$target" || exit 1; done
	@openwrt/pack '$(PACKAGES)' $(TARGETS)

cross-test: cross-setup setup
	@tests/make/setup $(CROSS_TEST_PACKAGES)
	@for target in $(TARGETS); do cross/build "$$target" || exit 1; done
	@CARGO='$(CARGO)' cross/test $(CROSS_TEST) $(TARGETS)

fmt:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path tests/fuzz/Cargo.toml

clippy:
	$(CARGO) clippy --locked $(FEATURES) --all-targets -- --deny warnings
	$(CARGO) clippy --locked --manifest-path tests/fuzz/Cargo.toml --target-dir '$(BUILD)' --all-targets -- --deny warnings

doc:
	RUSTDOCFLAGS='--deny warnings' $(CARGO) doc --locked $(FEATURES) --no-deps

tidy:
	$(CARGO) test --locked $(FEATURES) --test it -- tidy:: readme::

shellcheck:
	shellcheck --external-sources --source-path=SCRIPTDIR $(SHELL_FILES)
