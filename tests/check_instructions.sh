#!/bin/bash
# check_instructions.sh PROGRAM BASELINE: count the instructions per call of PROGRAM (count_instructions) with callgrind
# and compare them with BASELINE. Fails above 10 % more than recorded; says when 10 % less should be recorded. Counts
# depend on the compiler and on nghttp2, so another setting than the recorded one is skipped (exit status 77).
#
# BASELINE: lines "SETTING IN_FLIGHT INSTRUCTIONS". Print the lines for this machine: --record PROGRAM.
set -euo pipefail
export LC_ALL=C

few=2048 many=6144
record=""
[ "${1:-}" != --record ] || { record=yes; shift; }
program=$1 baseline=${2:-/dev/null}
command -v valgrind >/dev/null || { echo "check_instructions: no valgrind: skipped"; exit 77; }

setting=$(uname -m)/gcc-$(gcc -dumpfullversion)/nghttp2-$(pkg-config --modversion libnghttp2)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# instructions CALLS IN_FLIGHT
instructions()
{
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" >"$folder/$1" 2>&1 || {
        cat "$folder/$1" >&2
        exit 1
    }
    sed -nE 's/.*Collected : ([0-9]+).*/\1/p' "$folder/$1"
}

status=0 compared=0
for in_flight in 1 16; do
    counted=$((($(instructions $many $in_flight) - $(instructions $few $in_flight)) / (many - few)))
    if [ -n "$record" ]; then
        echo "$setting $in_flight $counted"
        continue
    fi
    recorded=$(awk -v s="$setting" -v n="$in_flight" '$1 == s && $2 == n { print $3 }' "$baseline")
    [ -n "$recorded" ] || continue
    compared=$((compared + 1))
    echo "$in_flight in flight: $counted instructions per call, recorded: $recorded"
    if ((counted * 10 > recorded * 11)); then
        echo "check_instructions: FAILED: above 10 % more than $baseline says for $setting"
        status=1
    elif ((counted * 10 < recorded * 9)); then
        echo "check_instructions: 10 % less than recorded: record it (--record)"
    fi
done
[ -n "$record" ] || [ $compared -gt 0 ] || { echo "check_instructions: nothing recorded for $setting: skipped"; exit 77; }
exit $status
