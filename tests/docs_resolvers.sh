#!/bin/bash
# docs_resolvers.sh OWN_RESOLVER DEMO_SERVER: check that the example in docs/resolvers.md is examples/own_resolver.c,
# and that it works.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
own_resolver=$1
demo_server=$2
folder=$(mktemp -d)
server=
trap 'if [ -n "$server" ]; then kill "$server" 2>/dev/null; fi; rm -rf "$folder"' EXIT
failures=0

fail() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

sed -n '/^```c$/,/^```$/p' "$root/docs/resolvers.md" | sed '1d;$d' >"$folder/shown.c"
diff "$folder/shown.c" "$root/examples/own_resolver.c" >&2 || fail "docs/resolvers.md shows another program"

says() {
    [[ "$output" == *"$1"* ]] || fail "not \"$1\" but \"$output\""
}

# Each of these two waits 10 s for its backends: both at the same time.
ORDERS='10.0.0.1:80 nonsense' "$own_resolver" env:ORDERS >"$folder/nonsense" 2>&1 &
nonsense=$!
output=$("$own_resolver" env:EVENER_NOT_SET 2>&1) && fail "no variable is taken"
says 'no backend in the variable EVENER_NOT_SET'
wait $nonsense && fail "nonsense is taken"
output=$(cat "$folder/nonsense")
says 'address "nonsense"'

"$demo_server" 0 >"$folder/server" 2>&1 &
server=$!
for _ in $(seq 100); do
    grep -q listening "$folder/server" && break
    sleep 0.05
done
backend=$(sed -n 's/^listening on //p' "$folder/server")
output=$(ORDERS="$backend" "$own_resolver" env:ORDERS 2>&1) || fail "exit status $?"
says 'ready'

[ "$failures" -eq 0 ] && echo "ok"
exit "$failures"
