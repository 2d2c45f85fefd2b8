#!/usr/bin/env bash
# Benchmarks of the ledger: installs and builds what is missing, then measures. ../../BENCHMARKS.md says what and why.
#
#   tests/bench/ledger.sh                     everything, about 40 minutes and 12 GB of disk
#   tests/bench/ledger.sh calls commits       these parts only
#   tests/bench/ledger.sh queries --rows 10000000
#   tests/bench/ledger.sh --help              the parts and options
#
# TOLLGATE_BENCH_TOOLS names a folder with the gateway and the benches that are built already, by their names: tollgate, ledger, ...
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/tollgate/target}

"$here/../setup.sh" debian "$here/debian.txt"
"$here/../setup.sh" debian "$here/debian-profile.txt"
# DuckDB comes with the clients of the end-to-end tests.
"$here/../setup.sh"
python=$("$here/../setup.sh" paths | sed -n 's/^python=//p')

tools=${TOLLGATE_BENCH_TOOLS:-}
if [ -z "$tools" ]; then
  tools=$CARGO_TARGET_DIR/bench/tools
  mkdir -p "$tools"
  # With the binary's package, so that dependencies have the same features and are built once.
  (cd "$root" && cargo build --release -p tollgate -p tollgate-usage-store --bin tollgate --bench ledger --bench dataset --bench parquet \
    --message-format json-render-diagnostics) | "$python" -B "$here/executables.py" "$tools"
fi

paced=$CARGO_TARGET_DIR/bench/paced
if [ ! -x "$paced" ] || [ "$here/paced.rs" -nt "$paced" ]; then
  mkdir -p "$(dirname "$paced")"
  rustc --edition 2024 -O "$here/paced.rs" -o "$paced"
fi

ulimit -n "$(ulimit -Hn)"
exec "$python" -B "$here/ledger_bench.py" --tools "$tools" --paced "$paced" "$@"
