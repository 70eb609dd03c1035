#!/bin/sh
# Runs before every npm script that needs the dependencies: installs them on first use, and only then.
# The embedded database comes as an optional platform package; `npm ci --omit=optional` leaves it out together with the
# GPL voice, so it is then installed beside node_modules, at the version package.json pins.
set -eu
cd "$(dirname "$0")/.."
if [ ! -x node_modules/.bin/node ]; then
  echo "callyard: installing dependencies (first use)" >&2
  npm ci --no-fund --no-audit --loglevel=error >&2
fi
if [ -z "${DATABASE_URL:-}" ]; then
  node_modules/.bin/node scripts/prepare-postgres.mjs
fi
