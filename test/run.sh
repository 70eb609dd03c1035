#!/usr/bin/env bash
# run.sh CONCURRENCY [node options] FILES: `node --test`. Many of these tests run calls in real time, and a crowded machine
# can stop one for a second. So what fails beside others runs once more alone, and says so; what is broken fails twice.
set -uo pipefail
cd "$(dirname "$0")/.."
MOST_FILES=4

failed=$(mktemp)
trap 'rm -f "$failed"' EXIT
concurrency=$1
shift

options=()
while [[ $# -gt 0 && $1 == --* ]]; do
  options+=("$1")
  shift
done

node_modules/.bin/node "${options[@]}" --test --test-concurrency="$concurrency" \
  --test-reporter=spec --test-reporter-destination=stdout \
  --test-reporter=./test/_failed-files.ts --test-reporter-destination="$failed" "$@"
status=$?
mapfile -t files <"$failed"
if [ $status -eq 0 ] || [ ${#files[@]} -eq 0 ] || [ ${#files[@]} -gt $MOST_FILES ]; then
  exit $status
fi
printf 'failed beside others, once more alone: %s\n' "${files[@]}"
node_modules/.bin/node "${options[@]}" --test --test-concurrency=1 "${files[@]}"
