#!/bin/sh
# Runs the simulator over the scenarios of this folder and writes its JSON. The same command gives the same JSON on every
# machine.
#
#     bench/sim/run.sh [--quick | --document | --further] [--build=FOLDER] [--output=FILE]
#
# Scenarios of whole channels run in bench_sim_calls, which writes the same JSON beside it, to FILE with "_calls" before
# its ending.
#
# Without an option all scenarios but the largest run with a few seeds each. --quick leaves out more. --document runs all
# with the seeds that docs/performance.md is made of (an hour or more of one core; 6 GB), and writes
# docs/performance/simulated.json and simulated_calls.json. --further runs 20 other seeds of those scenarios that were
# published with 20, and fails if a median lies outside of the published range.
set -eu
cd "$(dirname "$0")/../.."

published=docs/performance/simulated.json
build=build/bench
output=bench/results/sim.json
small="slow_of_four beyond_round_robin faults joining prequal_ramp" large="ten_thousand ten_thousand_uneven"
mesh=full_mesh mesh_kb=6000000
calls="hedging_hang retry_unavailable" calls_mesh=channel_mesh
seeds=5 large_seeds=1 further='' further_calls=''
for argument in "$@"; do
    case $argument in
    --quick) small="slow_of_four beyond_round_robin" large='' mesh='' calls_mesh='' seeds=3 ;;
    --document) seeds=20 large_seeds=20 output=$published ;;
    --further) seeds=20 large_seeds=20 further="--skip-seeds=20 --check=$published"
        further_calls="--skip-seeds=20 --check=${published%.json}_calls.json" ;;
    --build=*) build=${argument#--build=} ;;
    --output=*) output=${argument#--output=} ;;
    *)
        echo "usage: bench/sim/run.sh [--quick | --document | --further] [--build=FOLDER] [--output=FILE]" >&2
        exit 2
        ;;
    esac
done

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
status=0
# shellcheck disable=SC2086 # lists of words without spaces
"$build/bench/bench_sim" --output="$output" $further $files || status=1
# shellcheck disable=SC2086
"$build/bench/bench_sim_calls" --output="${output%.json}_calls.json" $further_calls $calls_files || status=1
exit $status
