# SecBeat: `make demo` shows it, `make test` proves it. `make help` lists the rest.
# Everything is one cargo or script call that can be typed by hand; the recipes below are the list of them.

CARGO ?= cargo
PREFIX ?= /usr/local
SYSCONFDIR ?= /etc
DESTDIR ?=
# Where the programs to be installed are. make install RELEASE_DIR=... takes them as they are and builds nothing.
RELEASE_DIR ?= target/release
# make health-check WANT="node orchestrator": those that must run.
WANT ?=
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
        test-syn test-tcp test-l7 test-waf test-fleet test-install test-ansible test-export test-deploy lint-deploy test-load test-slow \
        test-idle demo bench peers bench-waf install install-systemd uninstall health-check deb clean

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
	@$(STEP) "what is shipped for operating it" $(MAKE) --no-print-directory lint-deploy
	@$(STEP) "unit tests, corpus replay, 200 simulated seeds" $(MAKE) --no-print-directory unit
	@$(STEP) "loom: queues and limiter in every interleaving" $(MAKE) --no-print-directory loom
	@$(STEP) "programs as they ship" $(MAKE) --no-print-directory release
	@$(STEP) "the README's figures are those of the report" target/release/secbeat-bench report --check --readme README.md
	@$(STEP) "end to end, mode syn" $(MAKE) --no-print-directory test-syn
	@$(STEP) "end to end, mode tcp" $(MAKE) --no-print-directory test-tcp
	@$(STEP) "end to end, mode l7" $(MAKE) --no-print-directory test-l7
	@$(STEP) "the WAF: regression tests, rates, reloads" $(MAKE) --no-print-directory test-waf
	@$(STEP) "a fleet: orchestrator, three nodes, REST under schemathesis" $(MAKE) --no-print-directory test-fleet
	@$(STEP) "security events at a real rsyslog" $(MAKE) --no-print-directory test-export
	@$(STEP) "what make install puts where" tests/install.sh
	@$(STEP) "units: as written, how exposed they are" tests/systemd.sh written
	@$(STEP) "every query of dashboards and alerts finds its metrics" tests/monitoring.sh
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
	tests/xdp_cookies.sh

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
	SECONDS_MAX=40 tests/controlplane/schemathesis.sh target/release/secbeat-orchestrator

lint-deploy: setup ## rules, dashboards, image recipe, manifests, Terraform: checked without running any of it
	tests/deploy.sh

test-deploy: release ## dashboards and rules against real programs and Prometheus; log rotation; images in a chroot (root)
	tests/monitoring.sh
	tests/deploy/logrotate.sh
	tests/container.sh

test-export: release ## security events in every format at a real rsyslog; receivers that are away or do not read
	tests/export.sh

test-ansible: release ## the Ansible collection: linters, then everything on three Debian machines in namespaces (root)
	tests/ansible/run.sh

test-load: release ## what needs the machine to itself for two minutes: goodput under a flood, a full fleet, a store killed
	@$(STEP) begin
	@$(STEP) "an orchestrator's store killed 200 times" env STORE_KILL_ROUNDS=200 $(CARGO) test -p secbeat-orchestrator --test store_kill
	@$(STEP) "one orchestrator, 200 agents, 10,000 rules, a million events" target/release/secbeat-bench fleet --check
	@$(STEP) "goodput over HTTPS during 200,000 SYN/s" tests/l7_flood.sh
	@$(STEP) end

test-slow: test-load ## that, and what takes longer: packages, a gigabyte over a bad link, idle connections, fifty nodes
	@$(STEP) begin
	@$(STEP) "address sanitizer: hugepages and pktio" $(MAKE) --no-print-directory asan
	@$(STEP) "installing: units under a real systemd, packages" $(MAKE) --no-print-directory test-install
	@$(STEP) "log rotation, images" $(MAKE) --no-print-directory test-deploy
	@$(STEP) "10,000 idle connections, and 20,000 on AF_XDP" $(MAKE) --no-print-directory test-idle
	@$(STEP) "three rounds of one connection over a bad link" env BAD_LINK_ROUNDS=3 tests/bad_link.sh 128 1
	@$(STEP) "a gigabyte each way over a bad link, beside the kernel's TCP" tests/bad_link.sh 1024 96
	@$(STEP) "200 rule sets replaced under load" tests/waf/reload.sh 200
	@$(STEP) "bans on fifty real nodes" tests/controlplane/many_nodes.sh 50 20
	@$(STEP) end

test-idle:
	target/release/secbeat-bench idle --results target/results
	target/release/secbeat-bench idle --front xdp --only plain --connections 20000 --results target/results

demo: release ## protect nginx from a flood, live: make demo MODE=tcp DEMO_ARGS="--kind ack --family 6"
	@scripts/as_root.sh target/release/secbeat-bench demo --mode $(MODE) $(DEMO_ARGS)

bench: release ## measure this machine: ceilings of AF_XDP and what the node reaches of them (root)
	@scripts/as_root.sh target/release/secbeat-bench compare-limit

peers: release ## the report beside the kernel, SYNPROXY, HAProxy, nginx, ModSecurity: half an hour on an idle machine (root)
	@scripts/as_root.sh target/release/secbeat-bench peers
	target/release/secbeat-bench report --readme README.md

bench-waf: release ## measure the node with a rule set beside nginx with libmodsecurity
	bench/waf/compare.sh

install: ## install programs and example configuration below $(DESTDIR)$(PREFIX) and $(DESTDIR)$(SYSCONFDIR)
	$(if $(filter file,$(origin RELEASE_DIR)),$(CARGO) build --release $(PROGRAMS))
	install -d "$(DESTDIR)$(PREFIX)/bin" "$(DESTDIR)$(SYSCONFDIR)/secbeat" "$(DESTDIR)$(PREFIX)/share/doc/secbeat/crs"
	for program in $(INSTALLED); do install -m 755 "$(RELEASE_DIR)/$$program" "$(DESTDIR)$(PREFIX)/bin/"; done
	@for file in config/*.toml; do \
	    case $$file in */Cargo.toml) continue ;; esac; \
	    install -m 644 "$$file" "$(DESTDIR)$(PREFIX)/share/doc/secbeat/"; \
	done
	install -m 644 config/waf_rules.json README.md LICENSE CHANGELOG.md "$(DESTDIR)$(PREFIX)/share/doc/secbeat/"
	install -m 644 config/crs/before.conf config/crs/after.conf "$(DESTDIR)$(PREFIX)/share/doc/secbeat/crs/"
	install -m 644 dataplane/waf/src/libinjection/COPYING "$(DESTDIR)$(PREFIX)/share/doc/secbeat/COPYING.libinjection"
	@scripts/install_config.sh config/safe.toml "$(DESTDIR)$(SYSCONFDIR)/secbeat/node.toml"
	@scripts/install_config.sh config/orchestrator.toml "$(DESTDIR)$(SYSCONFDIR)/secbeat/orchestrator.toml"
	install -d "$(DESTDIR)$(PREFIX)/share/bash-completion/completions" "$(DESTDIR)$(PREFIX)/share/zsh/site-functions" \
	    "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d"
	$(RELEASE_DIR)/secbeat completion bash >"$(DESTDIR)$(PREFIX)/share/bash-completion/completions/secbeat"
	$(RELEASE_DIR)/secbeat completion zsh >"$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_secbeat"
	$(RELEASE_DIR)/secbeat completion fish >"$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/secbeat.fish"

install-systemd: ## install the systemd units, their user and directories; enables and starts nothing
	@scripts/systemd_units.sh install "$(DESTDIR)" "$(PREFIX)"

uninstall: ## remove what install and install-systemd put there; configuration and state are kept
	@scripts/systemd_units.sh uninstall "$(DESTDIR)" "$(PREFIX)"
	for program in $(INSTALLED); do rm -f "$(DESTDIR)$(PREFIX)/bin/$$program"; done
	rm -rf "$(DESTDIR)$(PREFIX)/share/doc/secbeat"
	rm -f "$(DESTDIR)$(PREFIX)/share/bash-completion/completions/secbeat" \
	    "$(DESTDIR)$(PREFIX)/share/zsh/site-functions/_secbeat" \
	    "$(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/secbeat.fish"

health-check: ## ask the node and the orchestrator of this machine whether they are well: make health-check WANT=node
	@scripts/health_check.sh $(WANT)

deb: release ## Debian packages of the four programs, into target/debian
	scripts/cargo_deb.sh

test-install: release ## install, uninstall, units under a real systemd, packages in a chroot (the latter two need root)
	tests/install.sh
	tests/systemd.sh
	tests/packages.sh

clean: ## remove everything that was built
	$(CARGO) clean
	rm -rf fuzz/target fuzz/artifacts
