#!/bin/bash
# Checks that each test named in docs/semantics.md and docs/limits.md exists: `folder/test_x.c::name` is a Test(..., name) in
# that file.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")"
named=$(grep -oh '`[a-z0-9_/]*\.c::[a-z0-9_]*`' ../docs/semantics.md ../docs/limits.md | tr -d '\`' | sort -u)
[ -n "$named" ] || { echo "docs/semantics.md names no test"; exit 1; }
status=0
# file.c::name of each test, one a line
there=$(cut -d: -f1 <<<"$named" | sort -u | while IFS= read -r file; do [ ! -f "$file" ] || echo "$file"; done |
    xargs -r awk '/^(Test|ParameterizedTest)\(/ {
        for (rest = $0; match(rest, /[ ,][a-z0-9_]+[,)]/); rest = substr(rest, RSTART + RLENGTH - 1))
            print FILENAME "::" substr(rest, RSTART + 1, RLENGTH - 2) }' | sort -u)
for test in $(comm -23 <(echo "$named") <(echo "$there")); do
    echo "docs/semantics.md or docs/limits.md: no test ${test##*::} in tests/${test%%::*}"
    status=1
done
[ $status -ne 0 ] || echo "$(wc -l <<<"$named") tests named by docs/semantics.md and docs/limits.md, all there"
exit $status
