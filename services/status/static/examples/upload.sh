#!/bin/sh
# Uploads products.csv, follows it to its end and saves the output CSV. Needs curl 7.84 or newer.
set -eu
url=${HALFTONE_URL:-http://127.0.0.1:8080}
call() { curl -sS --fail-with-body ${HALFTONE_API_KEY:+-H "Authorization: Bearer $HALFTONE_API_KEY"} "$@"; }

request=$(call -o answer.json -w '%header{location}' -F file=@products.csv -F quality=60 "$url/v1/requests") ||
  { cat answer.json; exit 1; }
call -N "$request/events"
call -o output.csv "$request/output.csv"
