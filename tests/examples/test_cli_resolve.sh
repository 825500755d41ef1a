#!/bin/bash
# test_cli_resolve.sh EVENER: `evener resolve` prints a channel's addresses, watches a file, and reports errors.
set -uo pipefail
evener=$1
folder=$(mktemp -d)
watching=
trap 'if [ -n "$watching" ]; then kill "$watching" 2>/dev/null; fi; rm -rf "$folder"' EXIT
failures=0

fail() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

# expect NAME STATUS PATTERN FILE: check the last command's exit status and that a line of FILE matches.
expect() {
    [ "$result" -eq "$2" ] || fail "$1: exit status $result, not $2"
    grep -qE -- "$3" "$folder/$4" || fail "$1: no line like \"$3\" in $4: $(cat "$folder/$4")"
}

run() {
    "$evener" "$@" >"$folder/out" 2>"$folder/err"
    result=$?
}

# wait_for PATTERN FILE: wait up to 10 s for a matching line.
wait_for() {
    for _ in $(seq 200); do
        grep -qE -- "$1" "$folder/$2" && return
        sleep 0.05
    done
    fail "no line like \"$1\" appeared: $(cat "$folder/$2")"
}

run resolve 'static:10.0.0.1:80;weight=3;zone=a,[::1]:81'
expect "a list" 0 '^2 addresses from static list$' out
expect "a list" 0 '^  10\.0\.0\.1:80  weight=3 zone=a$' out
expect "a list" 0 '^  \[::1\]:81$' out

run resolve --json 'static:10.0.0.1:80;weight=3'
expect "JSON" 0 '"addresses":\[\{"address":"10.0.0.1:80","attributes":\{"weight":"3"\}\}\]' out

run resolve 'static:10.0.0.1'
expect "a bad list" 1 'item 1 of the list, at byte 0: address "10.0.0.1": no port' err
run resolve "file://$folder/none"
expect "a missing file" 1 'NOT_FOUND: .*/none: No such file' err
printf '10.0.0.1:80\nhost\n' >"$folder/bad"
run resolve "file://$folder/bad"
expect "a bad file" 1 '/bad:2: host "host": no port' err
run resolve --resolver-option file.poll_ms=x "file://$folder/bad"
expect "a bad option" 1 'option file.poll_ms = "x"' err

run resolve
expect "no target" 2 'no target' err
run resolve --nonsense x
expect "a wrong argument" 2 "unrecognized option '--nonsense'" err
run resolve --timeout 1 'static:10.0.0.1:80'
expect "a timeout" 0 '10.0.0.1:80' out
run nonsense
expect "a wrong command" 2 'unknown command' err
run resolve --help
expect "help" 0 '^usage: evener resolve' out
run --version
expect "the version" 0 '^evener [0-9]+\.[0-9]+' out

printf '10.0.0.1:80\n10.0.0.2:80 weight=1\n' >"$folder/list"
"$evener" resolve --watch "file://$folder/list" >"$folder/out" 2>"$folder/err" &
watching=$!
wait_for '^[0-9-]+ [0-9:.]+[+-][0-9]{4}  2 addresses from file ' out
printf '10.0.0.2:80 weight=2\n10.0.0.3:80\n' >"$folder/new"
mv "$folder/new" "$folder/list"
wait_for '^\+ 10\.0\.0\.3:80$' out
wait_for '^- 10\.0\.0\.1:80$' out
wait_for '^~ 10\.0\.0\.2:80  weight=2  \(was:  weight=1\)$' out
printf 'nonsense\n' >"$folder/new"
mv "$folder/new" "$folder/list"
wait_for 'INVALID_ARGUMENT: file .*/list:1: ' err
kill -INT "$watching"
wait "$watching"
result=$?
watching=
expect "an interrupted watch" 0 . out

[ "$failures" -eq 0 ] && echo "ok"
exit "$failures"
