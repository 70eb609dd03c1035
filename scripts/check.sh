#!/bin/sh
# Types, lint, format. The three tools come as optional platform packages: `npm ci --omit=optional` leaves them out, and
# the tests must pass then too, so what cannot be checked is said aloud. With CI=true it is a failure.
set -eu
cd "$(dirname "$0")/.."
for tool in tsc oxlint oxfmt; do
  if ! "node_modules/.bin/$tool" --version >/dev/null 2>&1; then
    echo "callyard: types, lint and format are NOT checked: $tool has no package for this platform (npm ci --omit=optional?)" >&2
    [ "${CI:-}" = true ] && exit 1
    exit 0
  fi
done
node_modules/.bin/tsc
node_modules/.bin/oxlint --type-aware src test bench
node_modules/.bin/oxfmt --check src test bench
