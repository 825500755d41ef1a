#!/bin/bash
# Checks that the wrapping policy in docs/writing-plugins.md is examples/limit_policy.c, which
# tests/policy/test_wrapping.c runs, and that the plug-ins in examples/ are short and include public headers only.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
example=$root/examples/limit_policy.c
failures=0

fail() {
    echo "FAILED: $*" >&2
    failures=$((failures + 1))
}

shown=$(awk '/^## A policy around another$/ { here = 1 } here && /^```$/ { exit } inside { print } here && /^```c$/ { inside = 1 }' \
    "$root/docs/writing-plugins.md")
diff <(echo "$shown") "$example" >&2 || fail "docs/writing-plugins.md shows another program"
lines=$(wc -l <"$example")
[ "$lines" -le 60 ] || fail "examples/limit_policy.c has $lines lines"
grep '^#include' "$example" | grep -v '<evener/' >&2 && fail "not a public header"
for plugin in polling_resolver tcp_transport; do
    lines=$(wc -l <"$root/examples/$plugin.c")
    [ "$lines" -le 100 ] || fail "examples/$plugin.c has $lines lines"
    grep -h '^#include "' "$root/examples/$plugin".[ch] | grep -v "\"$plugin.h\"" >&2 &&
        fail "examples/$plugin.c: not a public header"
done

[ "$failures" -eq 0 ] && echo "ok"
exit "$failures"
