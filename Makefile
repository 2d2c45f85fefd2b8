# What a developer types. Everything real happens in cargo and in tests/setup.sh.

export CARGO_TARGET_DIR ?= $(HOME)/.cache/tollgate/target

.PHONY: run test torture bench bench-ledger bench-meter fuzz release fmt setup

run: ## builds and starts the gateway with the quickstart configuration; needs Rust only
	cargo run -- quickstart

test: setup ## everything that must hold before a change is merged
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
	cargo test --workspace

torture: setup ## kills a loaded gateway 200 times and audits its books after each (TOLLGATE_TORTURE_SEED repeats a run); 10,000 rows for each kind of exporter while its far side is down
	TOLLGATE_TORTURE_ROUNDS=$${TOLLGATE_TORTURE_ROUNDS:-200} cargo test --workspace --test e2e -- torture
	TOLLGATE_TORTURE_ROWS=$${TOLLGATE_TORTURE_ROWS:-10000} cargo test -p tollgate-exporters --lib -- conformance

bench: bench-ledger bench-meter ## measures the optimised build; see BENCHMARKS.md
	tests/bench/run.sh

bench-ledger: ## the ledger's part of it: 12 GB of disk
	tests/bench/ledger.sh

bench-meter: ## what metering adds to a frame of a stream, in instructions
	tests/bench/meter.sh

fuzz: ## runs each fuzz target for TOLLGATE_FUZZ_SECONDS (300) with cargo-fuzz; see docs/fuzzing.md
	tests/fuzz.sh

release: ## the optimised binary
	cargo build --release

fmt: ## formats the code
	cargo fmt --all

setup: ## installs what the tests need and is missing
	tests/setup.sh
