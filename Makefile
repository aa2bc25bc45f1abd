# What everyone runs. Each target shows its progress, ends by itself and returns non-zero on failure.

.PHONY: help demo test down status build crds fmt lint
.DEFAULT_GOAL := help

RELEASE = $(or $(CARGO_TARGET_DIR),target)/release
DEBUG = $(or $(CARGO_TARGET_DIR),target)/debug

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: prerequisites ## Bring up a real cluster with Penstock and the seed's Services, and show who answers (as root)
	cargo build --release --workspace --bins
	$(RELEASE)/penstock-e2e demo

down: prerequisites ## Remove every trace of the demo's and the tests' clusters (as root)
	cargo build --release -p penstock-e2e
	$(RELEASE)/penstock-e2e down
	$(RELEASE)/penstock-e2e down --name penstock-test

status: prerequisites ## Show the demo's processes and nodes
	cargo build --release -p penstock-e2e
	$(RELEASE)/penstock-e2e status

# `cargo test` brings up the cluster `penstock-test` by itself; whatever its outcome, nothing of it is left.
test: prerequisites ## Run all tests: pure ones, on a real API server, with real packets, on a real cluster (as root)
	cargo build --workspace --bins
	$(DEBUG)/penstock-e2e prepare
	cargo test --workspace --no-fail-fast; outcome=$$?; \
	$(DEBUG)/penstock-e2e down --name penstock-test && exit $$outcome

build: prerequisites ## Build all programs
	cargo build --release --workspace --bins

crds: prerequisites ## Generate the YAML of our kinds anew
	cargo run -p penstock-crds --example generate

fmt: ## Format
	cargo fmt --all

lint: prerequisites ## Check format and lints as CI does
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# Whatever else is missing is installed or named by the harness; without Rust there is no harness.
.PHONY: prerequisites
prerequisites:
	@command -v cargo >/dev/null || { echo "cargo is missing: install Rust 1.90 or later" >&2; exit 1; }
