#!/usr/bin/env bash
# The real-peer suite: SIPp, Kamailio, baresip, linphone, tcpdump, PostgreSQL, all on loopback addresses. Debian as root.
# Installs what is missing. What cannot be had fails the run when CI=true; elsewhere it skips it and says why.
set -euo pipefail
cd "$(dirname "$0")/../.."

policy=''
networks=()
silero_folder=''
clean_up() {
  [ -z "$policy" ] || rm -f "$policy"
  [ -z "$silero_folder" ] || rm -rf "$silero_folder"
  for network in "${networks[@]}"; do ip netns del "$network"; done
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
# Silero's runtime is no dependency (288 MB): where it can be had, the real model is tried too.
silero_folder=$(mktemp -d)
if npm install --prefix "$silero_folder" --no-save --no-audit --no-fund --ignore-scripts --loglevel=error \
  onnxruntime-node@1.30.0 @ricky0123/vad-web@0.0.31 >/dev/null 2>&1; then
  export CALLYARD_ONNXRUNTIME="$silero_folder/node_modules/onnxruntime-node"
  export CALLYARD_SILERO_MODEL="$silero_folder/node_modules/@ricky0123/vad-web/dist/silero_vad_v5.onnx"
else
  echo "test:interop: no Silero: its runtime could not be installed" >&2
fi

# Files share the loopback addresses and two cores, so they run one after the other: first those that measure time, with
# one call of five minutes beside them. Then, each lane in a network of its own: those that take minutes and little else,
# phones of other codecs, the rest.
timed=()
recording=test/interop/recording.test.ts
long=()
phones=()
rest=()
for file in test/interop/*.test.ts; do
  case "$file" in
    "$recording") ;;
    */leak.test.ts | */websocket-talk.test.ts | */campaign*.test.ts) long+=("$file") ;;
    */answers.test.ts | */barge-in.test.ts | */waterfall.test.ts | */load.test.ts | */database-outage.test.ts | */impairment.test.ts) timed+=("$file") ;;
    */codecs.test.ts | */transcoding.test.ts | */silero.test.ts) phones+=("$file") ;;
    *) rest+=("$file") ;;
  esac
done
# A network of its own: loopback, and one address that is not, as machines have them.
open_network() {
  ip netns add "$1" 2>/dev/null || return 1
  networks+=("$1")
  ip -n "$1" link set lo up
  ip -n "$1" link add own0 type dummy 2>/dev/null || ip -n "$1" link add own0 type veth peer name own1
  ip -n "$1" addr add 192.0.2.2/24 dev own0
  ip -n "$1" link set own0 up
}
# in_network NAME FILES
in_network() {
  ip netns exec "$1" bash test/run.sh 1 --test-timeout=900000 "${@:2}"
}
lanes="callyard-$$"
if ! open_network "$lanes-a" || ! open_network "$lanes-b" || ! open_network "$lanes-c"; then
  run 1 "${timed[@]}" "${rest[@]}" "${phones[@]}" "$recording"
  run 2 "${long[@]}"
  exit
fi

failed=0
in_network "$lanes-a" "$recording" &
recording_pid=$!
run 1 "${timed[@]}" || failed=1
run 2 "${long[@]}" &
long_pid=$!
in_network "$lanes-b" "${phones[@]}" &
phones_pid=$!
in_network "$lanes-c" "${rest[@]}" || failed=1
for lane in "$recording_pid" "$phones_pid" "$long_pid"; do
  wait "$lane" || failed=1
done
exit "$failed"
