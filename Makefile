# SecBeat: `make demo` shows it, `make test` proves it. `make help` lists the rest.
# Everything is one cargo or script call that can be typed by hand; the recipes below are the list of them.

CARGO ?= cargo
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
# make demo MODE=syn|tcp|l7|fleet; further options of the demonstration in DEMO_ARGS.
MODE ?= syn
DEMO_ARGS ?=
# make fuzz TARGET=net_wire SECONDS=60; without TARGET, every target in turn.
TARGET ?=
SECONDS ?= 30

# cargo installed by rustup is found even where the login shell does not say so.
export PATH := $(PATH):$(HOME)/.cargo/bin
STEP := scripts/step.sh
INSTALLED := secbeat-node secbeat-orchestrator secbeat secbeat-bench
PROGRAMS := -p secbeat-node -p secbeat-orchestrator -p secbeat-cli -p secbeat-bench

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build release test unit lint fmt fmt-check doc docs docs-check loom asan miri fuzz deny \
        test-syn test-tcp test-l7 test-waf test-fleet test-slow test-idle demo bench bench-waf install uninstall clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | awk -F'\t' '{ printf "  %-12s %s\n", $$1, $$2 }'

setup: ## install what the build, the lab and the tests need (does nothing when all is there)
	@scripts/setup.sh

build: setup ## compile everything, unoptimised
	$(CARGO) build --workspace --all-targets

release: setup ## compile the programs as they ship
	$(CARGO) build --release $(PROGRAMS)

test: setup ## everything that must hold, as continuous integration runs it
	@$(STEP) begin
	@$(STEP) "formatting" $(MAKE) --no-print-directory fmt-check
	@$(STEP) "clippy" $(MAKE) --no-print-directory lint
	@$(STEP) "dependency rules, tidiness, generated documents" $(MAKE) --no-print-directory docs-check
	@$(STEP) "dependencies: licences, bans, sources, advisories" $(MAKE) --no-print-directory deny
	@$(STEP) "unit tests, corpus replay, 200 simulated seeds" $(MAKE) --no-print-directory unit
	@$(STEP) "loom: queues and limiter in every interleaving" $(MAKE) --no-print-directory loom
	@$(STEP) "address sanitizer: hugepages and pktio" $(MAKE) --no-print-directory asan
	@$(STEP) "programs as they ship" $(MAKE) --no-print-directory release
	@$(STEP) "end to end, mode syn" $(MAKE) --no-print-directory test-syn
	@$(STEP) "end to end, mode tcp" $(MAKE) --no-print-directory test-tcp
	@$(STEP) "end to end, mode l7" $(MAKE) --no-print-directory test-l7
	@$(STEP) "the WAF: regression tests, rates, reloads" $(MAKE) --no-print-directory test-waf
	@$(STEP) "a fleet: orchestrator, three nodes, REST under schemathesis" $(MAKE) --no-print-directory test-fleet
	@$(STEP) end

unit: ## all tests that cargo runs: unit, integration, corpus replay, simulation
	$(CARGO) test --workspace --quiet

lint: ## clippy, warnings denied
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

fmt: ## format the sources
	$(CARGO) fmt --all

fmt-check:
	$(CARGO) fmt --all --check

docs: ## render docs/metrics.md and docs/configuration.md from the code
	$(CARGO) xtask docs

docs-check:
	$(CARGO) xtask arch
	$(CARGO) xtask tidy
	$(CARGO) xtask docs --check

doc: ## the API documentation of every crate, private items included
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --document-private-items

deny: ## licences, bans, sources; advisories where the database can be reached
	scripts/deny.sh

loom: ## model-check the lock-free parts
	scripts/loom.sh

asan: ## the crates with unsafe code under AddressSanitizer (nightly compiler; skipped without)
	scripts/sanitize.sh address

miri: ## hugepages under Miri (nightly compiler with the miri component; skipped without)
	scripts/sanitize.sh miri

fuzz: ## run fuzz targets: make fuzz TARGET=net_wire SECONDS=60
	scripts/fuzz.sh "$(SECONDS)" $(TARGET)

test-syn: release ## real programs through the node in syn mode, in network namespaces (root)
	tests/end_to_end.sh syn

test-tcp: release ## the same in tcp mode, on AF_XDP and on sockets
	tests/end_to_end.sh tcp

test-l7: release ## the same in l7 mode, on AF_XDP and on sockets; TLS by openssl, curl and sslscan
	tests/end_to_end_l7.sh xdp
	tests/end_to_end_l7.sh socket
	tests/tcp_probes/run.sh
	tests/tls/end_to_end.sh target/release/secbeat-node
	$$(tests/http2/setup.sh) tests/http2/run.py --node target/release/secbeat-node
	tests/export.sh

test-waf: release ## the WAF on real requests: regression tests of the OWASP Core Rule Set (CRS_DIR: a checkout), rates, reloads
	tests/waf/run.sh
	tests/waf/verdicts.sh 4 1 --min-percent 99
	tests/waf/verdicts.sh 3 2 --min-percent 99
	tests/waf/rates.sh
	tests/waf/reload.sh 20

test-fleet: release ## an orchestrator and three nodes, killed and started again; the REST API under schemathesis
	@if [ "$$(id -u)" = 0 ]; then target/release/secbeat-bench demo --mode fleet; \
	else echo "not root: the fleet in network namespaces is left out"; fi
	SECONDS_MAX=60 tests/controlplane/schemathesis.sh target/release/secbeat-orchestrator

test-slow: release ## what takes minutes: a gigabyte over a bad link, goodput under a flood, thousands of idle connections
	@$(STEP) begin
	@$(STEP) "one connection over a bad link, beside the kernel's TCP" env BAD_LINK_ROUNDS=3 tests/bad_link.sh 128 1
	@$(STEP) "a gigabyte each way over a bad link, beside the kernel's TCP" tests/bad_link.sh 1024 96
	@$(STEP) "200 rule sets replaced under load" tests/waf/reload.sh 200
	@$(STEP) "an orchestrator's store killed 200 times" env STORE_KILL_ROUNDS=200 $(CARGO) test -p secbeat-orchestrator --test store_kill
	@$(STEP) "bans on fifty real nodes" tests/controlplane/many_nodes.sh 50 20
	@$(STEP) "one orchestrator, 200 agents, 10,000 rules, a million events" target/release/secbeat-bench fleet --check
	@$(STEP) "goodput over HTTPS during 200,000 SYN/s" tests/l7_flood.sh
	@$(STEP) "10,000 idle connections, and 20,000 on AF_XDP" $(MAKE) --no-print-directory test-idle
	@$(STEP) end

test-idle:
	target/release/secbeat-bench idle --results target/results
	target/release/secbeat-bench idle --front xdp --only plain --connections 20000 --results target/results

demo: release ## protect nginx from a flood, live: make demo MODE=tcp DEMO_ARGS="--kind ack --family 6"
	@scripts/as_root.sh target/release/secbeat-bench demo --mode $(MODE) $(DEMO_ARGS)

bench: release ## measure this machine: ceilings of AF_XDP and what the node reaches of them (root)
	@scripts/as_root.sh target/release/secbeat-bench compare-limit

bench-waf: release ## measure the node with a rule set beside nginx with libmodsecurity
	bench/waf/compare.sh

install: ## install programs and example configuration below $(DESTDIR)$(PREFIX) and $(DESTDIR)$(SYSCONFDIR)
	$(CARGO) build --release $(PROGRAMS)
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(SYSCONFDIR)/secbeat" "$(DESTDIR)$(PREFIX)/share/doc/secbeat"
	for program in $(INSTALLED); do install -m 755 "target/release/$$program" "$(DESTDIR)$(PREFIX)/bin/"; done
	@for file in config/*.toml; do \
	    case $$file in */Cargo.toml) continue ;; esac; \
	    install -m 644 "$$file" "$(DESTDIR)$(PREFIX)/share/doc/secbeat/"; \
	done
	install -m 644 config/waf_rules.json "$(DESTDIR)$(PREFIX)/share/doc/secbeat/"
	@if [ ! -e "$(DESTDIR)$(SYSCONFDIR)/secbeat/orchestrator.toml" ]; then \
	    install -m 640 config/orchestrator.toml "$(DESTDIR)$(SYSCONFDIR)/secbeat/orchestrator.toml"; \
	else echo "install: $(SYSCONFDIR)/secbeat/orchestrator.toml is kept as it is"; fi
	install -d "$(DESTDIR)$(PREFIX)/share/doc/secbeat/crs"
	install -m 644 config/crs/before.conf config/crs/after.conf "$(DESTDIR)$(PREFIX)/share/doc/secbeat/crs/"
	install -m 644 dataplane/waf/src/libinjection/COPYING "$(DESTDIR)$(PREFIX)/share/doc/secbeat/COPYING.libinjection"
	@if [ ! -e "$(DESTDIR)$(SYSCONFDIR)/secbeat/node.toml" ]; then \
	    install -m 640 config/safe.toml "$(DESTDIR)$(SYSCONFDIR)/secbeat/node.toml"; \
	else echo "install: $(SYSCONFDIR)/secbeat/node.toml is kept as it is"; fi
	install -m 644 README.md LICENSE CHANGELOG.md "$(DESTDIR)$(PREFIX)/share/doc/secbeat/"

uninstall: ## remove what install put there; configuration is kept
	for program in $(INSTALLED); do rm -f "$(DESTDIR)$(PREFIX)/bin/$$program"; done
	rm -rf "$(DESTDIR)$(PREFIX)/share/doc/secbeat"

clean: ## remove everything that was built
	$(CARGO) clean
	rm -rf fuzz/target fuzz/artifacts
