#!/bin/sh
# Runs the simulator over the scenarios of this folder and writes its JSON.
#
#     bench/sim/run.sh [--quick] [--build=FOLDER] [--output=FILE]
set -eu
cd "$(dirname "$0")/../.."

build=build/bench
output=bench/results/sim.json
scenarios="slow_of_four beyond_round_robin faults joining prequal_ramp"
large="ten_thousand ten_thousand_uneven" # at a fifth of their length: two million calls each
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
    files="$files --scale=0.2"
    for scenario in $large; do
        files="$files bench/sim/$scenario.cfg"
    done
fi
if [ -n "$mesh" ]; then
    free_kb=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
    if [ "${free_kb:-0}" -ge $mesh_kb ]; then
        files="$files --scale=1 bench/sim/$mesh.cfg"
    else
        echo "bench/sim/run.sh: $mesh is left out: it takes $mesh_kb KB of memory, ${free_kb:-0} are free" >&2
    fi
fi
# shellcheck disable=SC2086 # a list of words without spaces
exec "$build/bench/bench_sim" --output="$output" $files
