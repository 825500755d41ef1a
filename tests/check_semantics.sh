#!/bin/bash
# Checks that each test named in docs/semantics.md and docs/limits.md exists: `folder/test_x.c::name` is a Test(..., name) in
# that file.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")"
named=$(grep -oh '`[a-z0-9_/]*\.c::[a-z0-9_]*`' ../docs/semantics.md ../docs/limits.md | tr -d '\`' | sort -u)
[ -n "$named" ] || { echo "docs/semantics.md names no test"; exit 1; }
status=0
while IFS= read -r test; do
    file=${test%%::*} name=${test##*::}
    if ! grep -qE "^(Test|ParameterizedTest)\(.*[ ,]$name[,)]" "$file" 2>/dev/null; then
        echo "docs/semantics.md or docs/limits.md: no test $name in tests/$file"
        status=1
    fi
done <<<"$named"
[ $status -ne 0 ] || echo "$(wc -l <<<"$named") tests named by docs/semantics.md and docs/limits.md, all there"
exit $status
