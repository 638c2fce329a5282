# The two commands are `make run` and `make test`; `make help` lists the rest.
SHELL := /bin/bash
export PATH := $(HOME)/.cargo/bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help run test test-long check fix bench

help: ## This list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

run: ## Set up what is missing, build, and start a node on 127.0.0.1:5433
	@scripts/setup.sh run
	@# Quiet when there is little to do; the first build shows how far it is.
	@quiet=; [ -x "$$(scripts/target-dir.sh)/debug/stratos" ] && quiet=--quiet \
	    || echo "building stratos: about half an hour the first time, seconds after that"; \
	    cargo build $$quiet --locked --bin stratos
	@exec "$$(scripts/target-dir.sh)/debug/stratos" dev

test: ## Set up what is missing, then every test
	@scripts/setup.sh test
	@# The tests start the node as a process of its own, so it is built first, with the tests' features.
	cargo build --locked --workspace --all-targets
	cargo test --locked --workspace

test-long: ## The long versions of the crash, simulation and fuzzing tests
	@scripts/setup.sh test
	cargo build --locked --workspace --all-targets
	STRATOS_TEST_LONG=1 cargo test --locked --workspace

check: ## Format, lints, docs, dependency audit, crate arrows; changes nothing
	@scripts/setup.sh check
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps --document-private-items
	cargo deny --locked check licenses bans sources

fix: ## Repair what `make check` can repair
	@scripts/setup.sh run
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged

bench: ## Speed against PostgreSQL 15 on this machine, in the same run
	@scripts/setup.sh test
	cargo build --release --locked --bin stratos
	@scripts/bench.py
