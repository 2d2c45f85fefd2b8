#!/usr/bin/env bash
# Says where the time of scenario `json` goes: instructions a request, and the functions that use most.
#
#   tests/bench/profile.sh              with perf where it works, else with callgrind
#   tests/bench/profile.sh callgrind    exact numbers of instructions, also where the machine does not let perf count them; slow
#   tests/bench/profile.sh perf         samples at full speed, the kernel's part included
#   tests/bench/profile.sh --budgets    scenario `budgets` instead
#
# TOLLGATE_BENCH_BINARY names a gateway that is built already.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export TOLLGATE_BENCH_MAIN=profile.py
"$here/../setup.sh" debian "$here/debian-profile.txt"
exec "$here/run.sh" "$@"
