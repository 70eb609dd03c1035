#!/usr/bin/env bash
# The real-peer suite: SIPp, Kamailio, baresip, linphone, tcpdump, PostgreSQL, all on loopback addresses. Debian as root.
# Installs what is missing. What cannot be had fails the run when CI=true; elsewhere it skips it and says why.
set -euo pipefail
cd "$(dirname "$0")/../.."

give_up() {
  echo "test:interop: $1" >&2
  [ "${CI:-}" = true ] && exit 1
  echo "test:interop: skipped" >&2
  exit 0
}

PACKAGES=(
  sip-tester kamailio kamailio-extra-modules kamailio-utils-modules baresip-core linphone-cli
  espeak-ng sox tshark tcpdump iproute2 postgresql-15
)

[ "$(uname -s)" = Linux ] || give_up "needs Debian, this is $(uname -s)"
command -v apt-get >/dev/null || give_up "needs Debian's apt-get"
[ "$(id -u)" = 0 ] || give_up "needs root (packet capture, package installation)"

missing=()
for package in "${PACKAGES[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "test:interop: installing ${missing[*]}" >&2
  # The packages' own services must not start: they would take the very ports the tests need.
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    trap 'rm -f "$policy"' EXIT
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2 || give_up "apt-get update failed"
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 || give_up "cannot install ${missing[*]}"
fi

run() {
  node_modules/.bin/node --test --test-concurrency="$1" --test-timeout=900000 "${@:2}"
}

if [ $# -gt 0 ]; then
  run 1 "$@"
  exit
fi
# Minutes long and light, on addresses of their own: two of them at a time.
long=()
files=()
for file in test/interop/*.test.ts; do
  case "$file" in
    */leak.test.ts | */websocket-talk.test.ts | */campaign*.test.ts) long+=("$file") ;;
    *) files+=("$file") ;;
  esac
done
# One file after the other: they share the loopback addresses, and two cores.
run 1 "${files[@]}"
run 2 "${long[@]}"
