#!/bin/sh
# Uploads products.csv, follows it to its end and saves the output CSV. Needs curl 7.84 or newer.
set -eu
url=${HALFTONE_URL:-http://127.0.0.1:8080}
# By standard input, because everybody on the machine may read the arguments of a command.
header() { printf 'Authorization: Bearer %s\n' "${HALFTONE_API_KEY:-}"; }
call() { header | curl -sS --fail-with-body ${HALFTONE_API_KEY:+-H @-} "$@"; }

request=$(call -o answer.json -w '%header{location}' -F file=@products.csv -F quality=60 "$url/v1/requests") ||
  { cat answer.json; exit 1; }
call -N "$request/events"
call -o output.csv "$request/output.csv"
