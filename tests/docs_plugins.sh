#!/bin/bash
# Checks that the wrapping policy in docs/writing-plugins.md is examples/limit_policy.c, which
# tests/policy/test_wrapping.c runs, and that it has at most 60 lines and includes public headers only.
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

[ "$failures" -eq 0 ] && echo "ok"
exit "$failures"
