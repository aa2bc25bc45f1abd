# What everyone runs. Each target shows its progress, ends by itself and returns non-zero on failure.

.PHONY: help demo test seed dns-oracle flows conformance chaos bench plots down status build crds fmt lint licences sbom
.DEFAULT_GOAL := help
SHELL := /bin/bash

RELEASE = $(or $(CARGO_TARGET_DIR),target)/release
DEBUG = $(or $(CARGO_TARGET_DIR),target)/debug

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: prerequisites machine ## Bring up a real cluster with Penstock and the seed's Services, and show who answers (as root)
	cargo build --release --workspace --bins
	$(RELEASE)/penstock-e2e demo

# With the whole workspace's features, so that nothing is compiled again after `make demo`.
down: prerequisites root ## Remove every trace of every cluster, the demo's and the tests' (as root)
	cargo build --release --workspace --bin penstock-e2e
	$(RELEASE)/penstock-e2e down --all

status: prerequisites root ## Show the demo's processes, nodes and Pods (as root)
	cargo build --release --workspace --bin penstock-e2e
	$(RELEASE)/penstock-e2e status

# `cargo test` brings up the cluster `penstock-test` by itself; whatever its outcome, nothing of it is left.
test: prerequisites machine ## Run all tests: pure ones, on a real API server, with real packets, on a real cluster (as root)
	cargo build --workspace --bins
	$(DEBUG)/penstock-e2e prepare
	log=$$(mktemp); cargo test --workspace --no-fail-fast 2>&1 | tee $$log; outcome=$${PIPESTATUS[0]}; \
	$(DEBUG)/penstock-e2e down --name penstock-test || outcome=1; \
	awk '/^test result:/ { passed += $$4; failed += $$6 } END { print passed + 0 " passed, " failed + 0 " failed" }' $$log; \
	rm -f $$log; exit $$outcome

# On the demo's cluster if it is up, else on one that goes again. SEED takes flags: SEED='--only LoadBalancer'.
seed: prerequisites machine ## Play the document that Penstock began with, section by section, on a real cluster (as root)
	cargo build --release --workspace --bins
	$(RELEASE)/penstock-e2e seed $(SEED)

# Nothing needs kubelets here, and both programs get a lab of their own. FLOWS takes flags: FLOWS='--only "eTP Local*Pod"',
# FLOWS='--proxy penstock', FLOWS=--list. MODE=iptables and MODE=ipvs are for agents that have these.
MODE = nftables
flows: prerequisites machine ## Send packets to Services of every kind through penstock-node and kube-proxy, and compare (as root)
	cargo build --workspace --bins
	$(DEBUG)/penstock-e2e flows --mode $(MODE) $(FLOWS)

# An API server and the DNS servers, in a network namespace of their own. ORACLE takes flags: ORACLE='--queries 2000 --seed 7'.
dns-oracle: prerequisites machine ## Ask CoreDNS and penstock-dns the same, and compare what they answer (as root)
	cargo build --workspace --bins
	$(DEBUG)/penstock-e2e dns-oracle $(ORACLE)

# A cluster of its own, which is taken down at the end. CONFORMANCE takes flags: CONFORMANCE='--group services',
# CONFORMANCE='--focus "session affinity"', CONFORMANCE='--proxy kube-proxy'.
conformance: prerequisites machine ## Run Kubernetes' own tests of Services and load balancers on a cluster with Penstock (as root)
	cargo build --workspace --bins
	$(DEBUG)/penstock-e2e conformance --mode $(MODE) $(CONFORMANCE)

# Nothing is written into the checkout. The operator's figures are taken on loopback; the dataplane's in a lab of network
# namespaces, which takes root and over an hour: the API server alone needs ten minutes to create 20,000 Services. BENCH takes
# an area and flags:
# make bench BENCH='operator --runs 1 --without-peer'
# make bench BENCH='dataplane --size 10kx5 --subject penstock --only event-to-rule --runs 1'
# make bench BENCH='aws --services 1000'
# make bench BENCH=providers (or hetzner, or digitalocean)
# make bench BENCH='announcer --runs 5'
# make bench BENCH='dns --runs 5'
CLOUDS = providers aws hetzner digitalocean
AREA = $(firstword $(BENCH))
bench: prerequisites $(if $(filter operator $(CLOUDS),$(AREA)),go,machine) ## Measure: the operator beside MetalLB, calls to clouds (BENCH=providers), the announcer's fail-over, the dataplane beside kube-proxy, the DNS beside CoreDNS (as root)
	$(if $(filter announcer,$(AREA)),,cargo build --release --workspace --bins)
	$(if $(filter announcer $(CLOUDS),$(AREA)),,$(RELEASE)/penstock-e2e bench $(BENCH))
	$(if $(filter-out $(CLOUDS),$(AREA)),,$(RELEASE)/penstock-provider-bench $(BENCH))
	$(if $(filter-out announcer,$(AREA)),,cargo bench -p penstock-announcer --bench announcer -- $(wordlist 2,$(words $(BENCH)),$(BENCH)))

plots: prerequisites ## Draw the pictures of docs/benchmarks.md from its committed results
	cargo run -p penstock-e2e --example plots

# Hours with the default QUIET=60 (seconds without a write that end a run), under one with QUIET=3. WORKERS=6 runs at a
# time, each with an API server of about 400 MB. ARGS="--only '...'" repeats one run, ARGS="--seed N" one seed,
# ARGS="--provider --scenario aws-change" plays only faults of the calls to AWS.
chaos: prerequisites go ## Crash the operator at every call, and change objects at random under faults (QUIET=60 WORKERS=6)
	cargo build --workspace --bin penstock-operator --bin penstock-chaos
	$(DEBUG)/penstock-chaos $(ARGS)

build: prerequisites ## Build all programs
	cargo build --release --workspace --bins

crds: prerequisites ## Generate the YAML of our kinds and docs/reference/ anew
	cargo run -p penstock-crds --example generate

fmt: ## Format
	cargo fmt --all

lint: prerequisites ## Check format and lints as CI does
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

CARGO_DENY = 0.20.2
CARGO_CYCLONEDX = 0.5.9
CACHE = $(or $(PENSTOCK_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/penstock)
SBOM = $(or $(CARGO_TARGET_DIR),target)/sbom

# Of every crate that is linked in: its licence, where it comes from, and what is banned (deny.toml). ADVISORIES=advisories
# asks RustSec's database too, which lies on GitHub.
licences: prerequisites $(CACHE)/cargo-deny-$(CARGO_DENY) ## Check the licences and sources of all dependencies (ADVISORIES=advisories: known vulnerabilities too)
	$(CACHE)/cargo-deny-$(CARGO_DENY)/bin/cargo-deny check licenses bans sources $(ADVISORIES)

# CycloneDX, one for each program that is shipped. The tool writes beside Cargo.toml only, and names the folder.
SHIPPED = operator/penstock-operator announcer/penstock-announcer dataplane/penstock-node dns/penstock-dns cli/kubectl-penstock
sbom: prerequisites $(CACHE)/cargo-cyclonedx-$(CARGO_CYCLONEDX) ## Write what each shipped program is made of into sbom/ of the build directory
	$(CACHE)/cargo-cyclonedx-$(CARGO_CYCLONEDX)/bin/cargo-cyclonedx cyclonedx --quiet --format json --spec-version 1.5 \
		--describe binaries --no-build-deps
	mkdir -p $(SBOM)
	for program in $(SHIPPED); do \
		sed "s|file://$(CURDIR)|file://.|g" $${program}_bin.cdx.json > $(SBOM)/$${program#*/}.cdx.json || exit 1; \
	done
	rm -f */*_bin.cdx.json
	@ls $(SBOM)/*.cdx.json

# Without what would make them fast: they run for a second.
$(CACHE)/cargo-deny-$(CARGO_DENY) $(CACHE)/cargo-cyclonedx-$(CARGO_CYCLONEDX): $(CACHE)/%:
	tool=$*; env -u CARGO_TARGET_DIR CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
		CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 cargo install "$${tool%-*}@$${tool##*-}" --locked --no-default-features --root $@.part
	mv $@.part $@

# What the harness cannot install is refused here, before a build of minutes. Whatever else is missing it installs.
.PHONY: prerequisites machine root go
at-least = [ "$$(printf '%s\n' $(1) "$$found" | sort -V | head -n 1)" = $(1) ]

prerequisites:
	@found=$$(cargo --version 2>/dev/null | cut -d ' ' -f 2); $(call at-least,1.90) || \
	{ echo "Rust 1.90 or later is needed and cargo is $${found:-missing}: install it and put it first on the PATH" >&2; exit 1; }
	@command -v cc >/dev/null || { echo "a C compiler is missing: apt-get install gcc libc6-dev" >&2; exit 1; }

machine: root go

root:
	@[ "$$(id -u)" = 0 ] || { echo "network namespaces need root: run this as root" >&2; exit 1; }

# Debian's own is older, and refuses the programs' go.mod in words that do not say why.
go:
	@found=$$(go version 2>/dev/null | sed -n 's/.*go\([0-9][0-9.]*\).*/\1/p'); $(call at-least,1.26) || \
	{ echo "Go 1.26 or later is needed and go is $${found:-missing}: install it and put it first on the PATH" >&2; exit 1; }
