#!/bin/sh
# Runs the simulator over the scenarios of this folder and writes its JSON. The largest scenario gets a file of its own:
# OUTPUT_mesh.json.
#
#     bench/sim/run.sh [--quick] [--build=FOLDER] [--output=FILE]
set -eu
cd "$(dirname "$0")/../.."

build=build/bench
output=bench/results/sim.json
scenarios="slow_of_four beyond_round_robin faults joining prequal_ramp"
large="ten_thousand ten_thousand_uneven" # at a tenth of their duration: 600,000 calls each
mesh=full_mesh mesh_kb=6000000
for argument in "$@"; do
    case $argument in
    --quick) scenarios="slow_of_four beyond_round_robin" large='' mesh='' ;;
    --build=*) build=${argument#--build=} ;;
    --output=*) output=${argument#--output=} ;;
    *)
        echo "usage: bench/sim/run.sh [--quick] [--build=FOLDER] [--output=FILE]" >&2
        exit 2
        ;;
    esac
done

mkdir -p "$(dirname "$output")"
files=
for scenario in $scenarios; do
    files="$files bench/sim/$scenario.cfg"
done
if [ -n "$large" ]; then
    files="$files --scale=0.1"
    for scenario in $large; do
        files="$files bench/sim/$scenario.cfg"
    done
fi
# The largest scenario runs in parallel with the others. Figures are in virtual and in processor time, so the two runs
# do not distort each other.
mesh_process=
if [ -n "$mesh" ]; then
    free_kb=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
    if [ "${free_kb:-0}" -ge $mesh_kb ]; then
        "$build/bench/bench_sim" --output="${output%.json}_mesh.json" bench/sim/$mesh.cfg &
        mesh_process=$!
    else
        echo "bench/sim/run.sh: $mesh is skipped: it needs $mesh_kb KB of memory, ${free_kb:-0} are available" >&2
    fi
fi
status=0
# shellcheck disable=SC2086 # a list of words without spaces
"$build/bench/bench_sim" --output="$output" $files || status=1
[ -z "$mesh_process" ] || wait "$mesh_process" || status=1
exit $status
