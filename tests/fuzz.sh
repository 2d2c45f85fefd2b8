#!/usr/bin/env bash
# Runs the fuzz targets of tollgate-codec in turn, each with its corpus. ../docs/fuzzing.md says what they assert.
#
#   tests/fuzz.sh                       all of them, TOLLGATE_FUZZ_SECONDS (300) each
#   tests/fuzz.sh sse meter             these only
#   tests/fuzz.sh --minimize            no fuzzing: takes the inputs that reach most into the corpora, the longest 40 of at most 400 bytes
#
# What a run finds is kept in ~/.cache/tollgate/fuzz, and fails the script if it is a failure. No sanitizer is used: the gateway has no unsafe code.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TOLLGATE_TEST_CACHE:-$HOME/.cache/tollgate}/fuzz
seconds=${TOLLGATE_FUZZ_SECONDS:-300}
inputs_max=40
minimize=
if [ "${1:-}" = --minimize ]; then minimize=1; shift; fi

command -v cargo-fuzz >/dev/null || { echo "tests/fuzz.sh: cargo-fuzz is missing: cargo install cargo-fuzz" >&2; exit 1; }
export RUSTC_BOOTSTRAP=1 # coverage is counted by flags that a stable compiler keeps for nightly ones
cd "$here/../proxy/codec"
cargo fuzz build -O -s none
targets=${*:-$(cargo fuzz list)}
for target in $targets; do
  mkdir -p "$cache/$target"
  if [ -n "$minimize" ]; then
    merged=$(mktemp -d)
    cargo fuzz run -O -s none "$target" "$merged" "fuzz/corpus/$target" "$cache/$target" -- -set_cover_merge=1 -use_counters=0 -max_len=400
    # Inputs with a name were written by hand, or found and mended: they stay.
    find "fuzz/corpus/$target" -type f -regextype posix-extended -regex '.*/[0-9a-f]{40}' -delete
    find "$merged" -type f -printf '%s %p\n' | sort -rn | head -n "$inputs_max" | cut -d' ' -f2 | xargs -r cp -t "fuzz/corpus/$target"
    rm -rf "$merged"
  else
    cargo fuzz run -O -s none "$target" "$cache/$target" "fuzz/corpus/$target" -- \
      -max_total_time="$seconds" -max_len=2048 -timeout=25 -rss_limit_mb=3000 -dict=fuzz/words.dict
  fi
done
