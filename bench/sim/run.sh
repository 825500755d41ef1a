#!/bin/sh
# Runs the simulator over the scenarios of this folder and writes its JSON. The same command gives the same JSON on every
# machine.
#
#     bench/sim/run.sh [--quick | --document | --further] [--build=FOLDER] [--output=FILE] [--keep=FILE] [SCENARIO...]
#
# Scenarios of whole channels run in bench_sim_calls, which writes the same JSON beside it, to FILE with "_calls" before
# its ending.
#
# Without an option all scenarios but the largest run with a few seeds each. --quick leaves out more. --document runs all
# with the seeds that docs/performance.md is made of (an hour or more of one core; 6 GB), and writes
# docs/performance/simulated.json and simulated_calls.json; with names of scenarios only those run, and the rows of the
# others stay. --further runs 20 other seeds of those scenarios that were published with 10 or more, and fails if a median
# lies outside of the published range. --keep keeps the figures of each seed in FILE (and FILE.calls): a run that was
# stopped goes on from there.
set -eu
cd "$(dirname "$0")/../.."

published=docs/performance/simulated.json
build=build/bench
output=bench/results/sim.json
small="slow_of_four beyond_round_robin faults joining prequal_ramp stopped_once one_of_eleven" large="ten_thousand ten_thousand_uneven"
mesh=full_mesh mesh_kb=6000000
calls="hedging_hang retry_unavailable" calls_mesh=channel_mesh
seeds=5 large_seeds=1 further='' further_calls='' update='' update_calls='' keep='' names=''
for argument in "$@"; do
    case $argument in
    --quick) small="slow_of_four beyond_round_robin" large='' mesh='' calls_mesh='' seeds=3 ;;
    --document) seeds=20 large_seeds=20 output=$published
        update="--update=$published" update_calls="--update=${published%.json}_calls.json" ;;
    --further) seeds=20 large_seeds=20 further="--skip-seeds=20 --check=$published"
        further_calls="--skip-seeds=20 --check=${published%.json}_calls.json" ;;
    --build=*) build=${argument#--build=} ;;
    --output=*) output=${argument#--output=} ;;
    --keep=*) keep=${argument#--keep=} ;;
    [!-]*) names="$names $argument" ;;
    *)
        echo "usage: bench/sim/run.sh [--quick | --document | --further] [--build=FOLDER] [--output=FILE] [--keep=FILE]" \
            "[SCENARIO...]" >&2
        exit 2
        ;;
    esac
done

# chosen NAME...: print those that are to run.
chosen()
{
    for scenario; do
        case "${names:- $* } " in
        *" $scenario "*) echo "$scenario" ;;
        esac
    done
}
for scenario in $names; do
    [ -e "bench/sim/$scenario.cfg" ] || { echo "bench/sim/run.sh: there is no bench/sim/$scenario.cfg" >&2; exit 2; }
done
# shellcheck disable=SC2086,SC2046 # lists of words without spaces
{
    small=$(chosen $small) large=$(chosen $large) mesh=$(chosen $mesh)
    calls=$(chosen $calls) calls_mesh=$(chosen $calls_mesh)
}

mkdir -p "$(dirname "$output")"
if [ -n "$mesh" ]; then
    free_kb=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
    if [ "${free_kb:-0}" -lt $mesh_kb ]; then
        echo "bench/sim/run.sh: $mesh is skipped: it needs $mesh_kb KB of memory, ${free_kb:-0} are available" >&2
        mesh=''
    fi
fi
files="--seeds=$seeds"
for scenario in $small; do
    files="$files bench/sim/$scenario.cfg"
done
files="$files --seeds=$large_seeds"
for scenario in $large $mesh; do
    files="$files bench/sim/$scenario.cfg"
done
calls_files="--seeds=$seeds"
for scenario in $calls; do
    calls_files="$calls_files bench/sim/$scenario.cfg"
done
for scenario in $calls_mesh; do
    calls_files="$calls_files --seeds=$large_seeds bench/sim/$scenario.cfg"
done
# Large pages: without them much of the time of the largest scenarios goes to the page tables.
GLIBC_TUNABLES=glibc.malloc.hugetlb=1
export GLIBC_TUNABLES
status=0
# shellcheck disable=SC2086
[ -z "$small$large$mesh" ] ||
    "$build/bench/bench_sim" --output="$output" $further $update ${keep:+"--keep=$keep"} $files || status=1
# shellcheck disable=SC2086
[ -z "$calls$calls_mesh" ] ||
    "$build/bench/bench_sim_calls" --output="${output%.json}_calls.json" $further_calls $update_calls \
        ${keep:+"--keep=$keep.calls"} $calls_files || status=1
exit $status
