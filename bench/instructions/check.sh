#!/bin/bash
# check.sh [--update] BUILD: count the instructions of a pick and its end with callgrind, per policy, and of an update of
# one address per backend of its list (`one_changed`), and compare them with bench/instructions/expected.tsv. Fails when
# one takes 3 % more; --update writes the counts of this build instead.
# BUILD is the folder of a Release build with the compiler of Debian 12: counts of another compiler differ.
set -euo pipefail
export LC_ALL=C
here=$(dirname "${BASH_SOURCE[0]}")
update=""
if [ "${1:-}" = --update ]; then
    update=yes
    shift
fi
build=${1:?usage: check.sh [--update] BUILD}
few=50000 many=250000

# total POLICY PICKS: print the instructions of a whole run.
total()
{
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$build/bench/bench_instructions" "$1" "$2" 2>&1 </dev/null |
        sed -nE 's/.*Collected : ([0-9]+).*/\1/p'
}

passed=0 failed=0 counts=""
while read -r policy expected; do
    first=$(total "$policy" $few) second=$(total "$policy" $many)
    if [ -z "$first" ] || [ -z "$second" ]; then
        echo "$policy: bench_instructions failed under valgrind"
        failed=$((failed + 1))
        continue
    fi
    counted=$(awk "BEGIN { printf \"%.1f\", ($second - $first) / ($many - $few) }")
    counts+="$policy $counted"$'\n'
    if awk "BEGIN { exit !($counted <= $expected * 1.03) }"; then
        passed=$((passed + 1))
        echo "$policy: $counted instructions, expected $expected"
    else
        failed=$((failed + 1))
        echo "$policy: $counted instructions: more than 3 % above $expected"
    fi
done <"$here/expected.tsv"
if [ -n "$update" ]; then
    printf '%s' "$counts" >"$here/expected.tsv"
    echo "$here/expected.tsv is written"
    exit 0
fi
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
