#!/bin/sh
# Fills in the two configurations and runs both daemons; when one ends, so does the container.
# ADDRESS: of this edge. NODES: URIs of Callyard nodes, separated by spaces. CARRIER: URI of the carrier's host.
set -eu
: "${ADDRESS:?address of this edge}" "${NODES:?URIs of the Callyard nodes}" "${CARRIER:?URI of the carrier}"
edge=${EDGE_FOLDER:-/edge}
run=$(mktemp -d)
carrier_host=$(printf '%s' "$CARRIER" | sed 's/^sips\{0,1\}://; s/[:;].*$//')
for node in $NODES; do echo "1 $node 0 0 weight=50"; done >"$run/nodes.list"
for file in kamailio.cfg rtpengine.conf; do
  sed -e "s|@RUN@|$run|g" -e "s|@NODES@|$run/nodes.list|g" -e "s|@RTPENGINE@|$ADDRESS:2223|g" \
    -e "s|@CARRIER_HOST@|$carrier_host|g" -e "s|@CARRIER@|$CARRIER|g" -e "s|@ADDRESS@|$ADDRESS|g" \
    "$edge/$file" >"$run/$file"
done
rtpengine --foreground --config-file "$run/rtpengine.conf" --pidfile "$run/rtpengine.pid" &
rtpengine=$!
# Kamailio asks for it once at the start, and does without it for a while when it is not there: 2223 is 08AF.
until grep -q ':08AF ' /proc/net/udp; do
  kill -0 "$rtpengine" || exit 1
  sleep 0.1
done
kamailio -f "$run/kamailio.cfg" -DD -E -Y "$run" -m 64 -M 8 &
kamailio=$!
trap 'kill "$rtpengine" "$kamailio" 2>/dev/null' EXIT INT TERM
# `wait -n` is not in every shell: look once a second.
while kill -0 "$rtpengine" 2>/dev/null && kill -0 "$kamailio" 2>/dev/null; do sleep 1; done
exit 1
