#!/bin/sh
# test_examples.sh FOLDER: run the example programs in FOLDER against demo_server on three free ports.
set -eu
folder=$1
work=$(mktemp -d)
"$folder/demo_server" 0 0 0 >"$work/listening" &
server=$!
trap 'kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; rm -r "$work"' EXIT
tries=0
until [ "$(grep -c '^listening on' "$work/listening")" -eq 3 ]; do
    tries=$((tries + 1))
    if [ "$tries" -gt 200 ]; then
        echo "the servers did not start" >&2
        exit 1
    fi
    sleep 0.05
done
ports=$(sed 's/.*://' "$work/listening" | tr '\n' ' ')
# shellcheck disable=SC2086 # a list of ports
set -- $ports

# expect STATUS PATTERN PROGRAM ARGUMENT...: check the program's exit status and that a line of its output matches.
expect()
{
    wanted=$1 pattern=$2
    shift 2
    status=0
    "$@" >"$work/output" 2>&1 || status=$?
    if [ "$status" -ne "$wanted" ] || ! grep -q -E "$pattern" "$work/output"; then
        echo "$*: exit status $status, expected $wanted and a line like: $pattern; output:" >&2
        cat "$work/output" >&2
        exit 1
    fi
}

expect 0 "^name: example, served by ipv4:127.0.0.1:$1\$" "$folder/unary" "$1"
expect 1 "^NOT_FOUND: not found\$" "$folder/unary" "$1" zhangsan
expect 1 "^UNKNOWN: this is custom error\$" "$folder/unary" "$1" lisi
expect 0 '^PushData: "part 0 part 1 part 2 "$' "$folder/streams" "$1"
expect 0 "^Exchange: Grace " "$folder/streams" "$1"
expect 0 "^$1: [0-9]+ calls\$" "$folder/async" "$1" "$2" "$3"
expect 0 "^$3: [0-9]+ calls\$" "$folder/async" "$1" "$2" "$3"
expect 0 "^status 0, [1-9][0-9]* bytes\$" "$folder/create_call" "$1"
expect 0 "^demo: ok \([0-9]+ calls, 0 failed\)\$" "$folder/demo_client" --fast "$1" "$2" "$3"
expect 0 "^[0-9]{4}/[0-9]{2}/[0-9]{2} [0-9:]{8} resp custom_message:\"$3\"\$" \
    "$folder/demo_client" --fast "$1" "$2" "$3"
expect 1 "^demo: no backend: .*Connection refused" "$folder/demo_client" --fast 1 1 1
expect 2 "^usage: " "$folder/unary"
