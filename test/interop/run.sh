#!/usr/bin/env bash
# The real-peer suite: SIPp, Kamailio, baresip, linphone, tcpdump, PostgreSQL, all on loopback addresses. Debian as root.
# Installs what is missing. What cannot be had fails the run when CI=true; elsewhere it skips it and says why.
set -euo pipefail
cd "$(dirname "$0")/../.."

policy=''
network=''
clean_up() {
  [ -z "$policy" ] || rm -f "$policy"
  [ -z "$network" ] || ip netns del "$network"
}
trap clean_up EXIT

give_up() {
  echo "test:interop: $1" >&2
  [ "${CI:-}" = true ] && exit 1
  echo "test:interop: skipped" >&2
  exit 0
}

PACKAGES=(
  sip-tester kamailio kamailio-extra-modules kamailio-utils-modules baresip-core linphone-cli
  espeak-ng sox tshark tcpdump iproute2 postgresql-15 rtpengine-daemon ffmpeg opus-tools
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
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    policy=/usr/sbin/policy-rc.d
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2 || give_up "apt-get update failed"
  apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2 || give_up "cannot install ${missing[*]}"
fi

run() {
  bash test/run.sh "$1" --test-timeout=900000 "${@:2}"
}

if [ $# -gt 0 ]; then
  run 1 "$@"
  exit
fi
# Files share the loopback addresses and two cores, so they run one after the other: first those that measure time.
# Then those that take minutes and little else, on addresses of their own, beside the rest in a network of its own.
timed=()
long=()
rest=()
for file in test/interop/*.test.ts; do
  case "$file" in
    */leak.test.ts | */recording.test.ts | */websocket-talk.test.ts | */campaign*.test.ts) long+=("$file") ;;
    */answers.test.ts | */barge-in.test.ts | */waterfall.test.ts | */load.test.ts | */database-outage.test.ts) timed+=("$file") ;;
    *) rest+=("$file") ;;
  esac
done
run 1 "${timed[@]}"

# A network of its own: loopback, and one address that is not, as machines have them.
network="callyard-test-$$"
if ! ip netns add "$network" 2>/dev/null; then
  network=''
  run 1 "${rest[@]}"
  run 2 "${long[@]}"
  exit
fi
ip -n "$network" link set lo up
ip -n "$network" link add own0 type dummy 2>/dev/null || ip -n "$network" link add own0 type veth peer name own1
ip -n "$network" addr add 192.0.2.2/24 dev own0
ip -n "$network" link set own0 up

run 2 "${long[@]}" &
long_pid=$!
failed=0
ip netns exec "$network" bash test/run.sh 1 --test-timeout=900000 "${rest[@]}" || failed=1
wait "$long_pid" || failed=1
exit "$failed"
