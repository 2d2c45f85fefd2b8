#!/usr/bin/env bash
# What metering adds to a frame of a stream: instructions and allocations, format by format. ../../BENCHMARKS.md says what and why.
#
#   tests/bench/meter.sh                every format, about 3 minutes
#   tests/bench/meter.sh anthropic      this one only
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$HOME/.cache/tollgate/target}

"$here/../setup.sh" debian "$here/debian-profile.txt"
built=$(cd "$root" && cargo bench -p tollgate-codec --bench meter --no-run --message-format=json)
exec python3 -B "$here/meter.py" "$@" <<<"$built"
