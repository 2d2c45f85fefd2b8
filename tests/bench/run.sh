#!/usr/bin/env bash
# Benchmarks of the request path: installs and builds what is missing, then measures. ../../BENCHMARKS.md says what and why.
#
#   tests/bench/run.sh                  everything, about 17 minutes
#   tests/bench/run.sh json latency     these scenarios only
#   tests/bench/run.sh --help           the options
#
# TOLLGATE_BENCH_BINARY names a gateway that is built already; without it the optimised one is built here.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/tollgate/target}

main=$here/${TOLLGATE_BENCH_MAIN:-bench.py}
case " $* " in
  *" --help "* | *" -h "*) exec python3 -B "$main" --help ;;
esac

"$here/../setup.sh" debian "$here/debian.txt"

binary=${TOLLGATE_BENCH_BINARY:-}
if [ -z "$binary" ]; then
  (cd "$root" && cargo build --release --bin tollgate)
  binary=$CARGO_TARGET_DIR/release/tollgate
fi

# One file that needs the standard library only: the compiler is enough.
paced=$CARGO_TARGET_DIR/bench/paced
if [ ! -x "$paced" ] || [ "$here/paced.rs" -nt "$paced" ]; then
  mkdir -p "$(dirname "$paced")"
  rustc --edition 2024 -O "$here/paced.rs" -o "$paced"
fi

ulimit -n "$(ulimit -Hn)"
exec python3 -B "$main" --tollgate "$binary" --paced "$paced" "$@"
