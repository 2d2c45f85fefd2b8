#!/usr/bin/env bash
# Installs what the tests need and is missing, and says where it is.
#
#   tests/setup.sh            installs: Debian packages (debian.txt), a Python venv (requirements.txt), npm packages (package-lock.json)
#   tests/setup.sh debian F   installs the Debian packages of list F only
#   tests/setup.sh paths      prints `python=...` and `node_modules=...`; fails if they are not installed yet
#
# venv and npm packages live outside the checkout, in $TOLLGATE_TEST_CACHE (default ~/.cache/tollgate), each in a folder named by a hash of
# its pins: a clean checkout finds them again, another set of pins gets a folder of its own. A folder counts only once it is complete.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${TOLLGATE_TEST_CACHE:-$HOME/.cache/tollgate}

fail() { printf 'tests/setup.sh: %s\n' "$*" >&2; exit 1; }
pins() { cat "$@" | sha256sum | cut -c1-16; }

venv=$cache/venv/$(pins "$here/requirements.txt")
node=$cache/node/$(pins "$here/package.json" "$here/package-lock.json")

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else
    command -v sudo >/dev/null || fail "needs root or sudo for: $*"
    sudo "$@"
  fi
}

# A list has lines `probe | package`: the package is installed if the probe, a shell command, fails.
debian() {
  local missing=() probe package
  while IFS='|' read -r probe package; do
    package=$(tr -d '[:space:]' <<<"$package")
    [ -n "$package" ] || continue
    bash -c "$probe" >/dev/null 2>&1 || missing+=("$package")
  done < <(grep -v '^[[:space:]]*#' "$1")
  [ "${#missing[@]}" -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "install these first (no apt-get here): ${missing[*]}"
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

install_venv() {
  rm -rf "$venv"
  mkdir -p "$(dirname "$venv")"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 3.11 or later is needed, this is $(python3 --version)"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --no-deps --requirement "$here/requirements.txt"
  "$venv/bin/python" -m pip check
  touch "$venv/.complete"
}

install_node() {
  rm -rf "$node"
  mkdir -p "$node"
  cp "$here/package.json" "$here/package-lock.json" "$node/"
  (cd "$node" && npm ci --no-audit --no-fund --loglevel=error)
  "$node/node_modules/node/bin/node" --version >/dev/null || fail "the npm package \`node\` did not bring a node that runs"
  touch "$node/.complete"
}

case "${1:-install}" in
  install)
    mkdir -p "$cache"
    exec 9>"$cache/setup.lock"
    flock 9 # two checkouts may be set up at once
    debian "$here/debian.txt"
    [ -e "$venv/.complete" ] || install_venv
    [ -e "$node/.complete" ] || install_node
    ;;
  debian) debian "${2:?the list is missing}" ;;
  paths)
    [ -e "$venv/.complete" ] && [ -e "$node/.complete" ] || fail "the test clients are not installed: run \`make setup\`"
    printf 'python=%s\nnode_modules=%s\n' "$venv/bin/python" "$node/node_modules"
    ;;
  *) fail "unknown command \`$1\`" ;;
esac
