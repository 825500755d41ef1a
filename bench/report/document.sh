#!/bin/bash
# Writes docs/performance.md from the JSON in docs/performance/, which bench/run.sh --document and bench/sim/run.sh
# --document record: measured.json, simulated.json and simulated_calls.json.
#
#     bench/report/document.sh [--check] [--plots] [--build=FOLDER]
#
# --check writes nothing, and fails if docs/performance.md has a line that differs from what the JSON gives. Without
# measured.json the measured part stays as it is, and is not checked. --plots draws the simulated plots again.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

build=build/bench check='' plots=''
for argument in "$@"; do
    case $argument in
    --check) check=yes ;;
    --plots) plots=yes ;;
    --build=*) build=${argument#*=} ;;
    *)
        echo "usage: bench/report/document.sh [--check] [--plots] [--build=FOLDER]" >&2
        exit 2
        ;;
    esac
done
page=docs/performance.md recorded=docs/performance head=bench/report/performance_head.md
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
report() { "$build/bench/bench_report" --published=bench/report/published.json --output=/dev/null "$@"; }

for part in simulated simulated_calls; do
    [ -e $recorded/$part.json ] || { echo "document.sh: $recorded/$part.json is missing" >&2; exit 1; }
done
simulated="$recorded/simulated.json $recorded/simulated_calls.json"
if [ -e $recorded/measured.json ]; then
    {
        sed -n 1,2p $head # the title
        report --measured --summary $recorded/measured.json
        sed 1,2d $head
        report --measured --plots=performance $recorded/measured.json
    } >"$made/page.md"
else
    echo "document.sh: $recorded/measured.json is missing: the measured part is left as it is" >&2
    sed '/^## Simulation$/,$d' $page | sed -e :a -e '/^\n*$/{$d;N;ba' -e '}' >"$made/page.md"
fi
# shellcheck disable=SC2086 # two files
report --simulated --plots=performance $simulated >>"$made/page.md"

if [ -n "$plots" ]; then
    mkdir "$made/plots"
    # shellcheck disable=SC2086
    report --simulated --data="$made/plots" $simulated >/dev/null
    gnuplot -e "folder='$made/plots'" bench/report/plots.gp
    cp "$made/plots"/*.svg $recorded/
fi
if [ -n "$check" ]; then
    diff "$page" "$made/page.md" || { echo "document.sh: $page differs from what the recorded JSON gives" >&2; exit 1; }
    echo "$page: $(grep -c '^|' "$page") lines of tables, as the recorded JSON gives"
else
    cp "$made/page.md" $page
    echo "$page is written"
fi
