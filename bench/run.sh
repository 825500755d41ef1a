#!/bin/bash
# Installs missing packages, builds with optimisation, runs all benches and plots the results: about 11 minutes, with
# --quick under one, without the build. The results go to bench/results/: latest.json, latest.md and the plots. Exits
# non-zero if a bench's own check fails (a failed call, an allocation in a pick, a wrong share) or latest.json has a
# wrong shape.
set -euo pipefail
export LC_ALL=C

quick="" document="" keep="" peers="" build=build/bench
for argument in "$@"; do
    case $argument in
    --quick) quick=--quick ;;
    --document) document=yes ;;
    --keep=*) keep=$argument ;;
    --peers) peers=yes ;;
    --build=*) build=${argument#*=} ;;
    *)
        echo "usage: bench/run.sh [--quick] [--document] [--keep=FILE] [--peers] [--build=FOLDER]" >&2
        echo "  --document  run the simulator with all its seeds (more than an hour), and write docs/performance.md" >&2
        echo "  --keep      with --document: keep each seed's figures in FILE, and take those that are there" >&2
        echo "  --peers     also measure grpc-go and go-zero (bench/peers), where Go is installed" >&2
        exit 2
        ;;
    esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
results=bench/results
parts=$results/parts
say() { printf '\n== %s\n' "$*" >&2; }

say "packages"
sh tests/install_packages.sh

say "build: $build"
mkdir -p "$build"
build_absolute=$(cd "$build" && pwd)
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DEVENER_BUILD_BENCH=ON >"$build/configure.log" 2>&1 || {
    cat "$build/configure.log" >&2
    exit 1
}
ninja -C "$build" --quiet bench_all >&2

rm -rf "$parts"
mkdir -p "$parts"
status=0
# part NAME PROGRAM ARGUMENT...: run one bench; its JSON becomes part of latest.json.
part()
{
    local name=$1 program=$2
    shift 2
    local began=$SECONDS
    say "$name"
    "$build/bench/$program" "$@" --output="$parts/$name.json" || {
        echo "bench/run.sh: $name failed" >&2
        status=1
    }
    echo "$name: $((SECONDS - began)) s" >&2
}

# count FEW MANY PROGRAM ARGUMENT...: print the instructions per operation, which do not depend on the machine: the
# difference of two runs under callgrind with --count=FEW and --count=MANY. Print nothing if they fail.
count()
{
    local few=$1 many=$2 counted=() operations
    shift 2
    for operations in "$few" "$many"; do
        valgrind --tool=callgrind --callgrind-out-file=/dev/null "$build/bench/$1" --count="$operations" "${@:2}" \
            --output=/dev/null >"$parts/callgrind-$operations.txt" 2>&1 &
    done
    wait
    mapfile -t counted < <(sed -nE 's/.*Collected : ([0-9]+).*/\1/p' \
        "$parts/callgrind-$few.txt" "$parts/callgrind-$many.txt")
    [ -z "${counted[1]:-}" ] || echo $(((counted[1] - counted[0]) / (many - few)))
}

# put ARRAY ROW: write the row as a part of its own.
put()
{
    local array=$1 row=$2
    echo "$row" >&2
    echo "{\"$array\": [$row]}" >"$parts/$array-$((rows_put++)).json"
}
rows_put=1000 # so that the names sort in order of creation

pick_instructions()
{
    local policy backends counted
    for policy in $1; do
        for backends in $2; do
            counted=$(count 50000 250000 bench_picker --policy="$policy" --backends="$backends")
            [ -z "$counted" ] || put instructions \
                "{\"policy\": \"$policy\", \"backends\": $backends, \"instructions\": $counted}"
        done
    done
}

call_instructions()
{
    local policy client counted
    for policy in $1; do
        for client in evener http2 core; do
            counted=$(count 500 1500 bench_rpc --policy="$policy" --client=$client)
            [ -z "$counted" ] || put rpc_instructions \
                "{\"client\": \"$client\", \"policy\": \"$policy\", \"instructions\": $counted}"
        done
    done
}

part machine bench_machine
part picker bench_picker $quick
say "instructions"
if [ -n "$quick" ]; then
    pick_instructions "round_robin p2c_ewma" 10
else
    pick_instructions "pick_first round_robin random weighted_round_robin least_request p2c_ewma" 10
    call_instructions "round_robin pick_first"
fi
part update bench_update $quick
part resolver bench_resolver $quick
part connected bench_connected $quick
part connected_picks bench_connected_picks $quick
part scale bench_scale $quick
part rpc bench_rpc $quick
part refused bench_refused $quick
part tail bench_tail $quick
say "simulation"
if [ -n "$document" ]; then
    bench/sim/run.sh --document ${keep:+"$keep"} --build="$build" || status=1
    cp docs/performance/simulated.json "$parts/sim.json"
    cp docs/performance/simulated_calls.json "$parts/sim_calls.json"
else
    bench/sim/run.sh $quick --build="$build" --output="$parts/sim.json" || status=1
fi
part machine_at_end bench_machine --at-end
if [ -n "$peers" ]; then
    say "peers"
    if ! command -v go >/dev/null; then
        echo "peers: not measured, as Go is not installed; the table shows figures of another machine" >&2
    elif (cd bench/peers && go build -o "$build_absolute/peers" .) && ninja -C "$build" --quiet demo_server >&2; then
        "$build/peers" ${quick:+-quick} -server "$build/examples/demo_server" -output "$parts/peers.json" || {
            echo "bench/run.sh: peers failed" >&2
            status=1
        }
    else
        echo "bench/run.sh: bench/peers does not build" >&2
        status=1
    fi
fi

say "results"
report()
{
    "$build/bench/bench_report" --published=bench/report/published.json "$@" "$parts"/*.json
}
report --output=$results/latest.json --data=$results >$results/latest.md || status=1
cat $results/latest.md
gnuplot -e "folder='$results'" bench/report/plots.gp >&2 || status=1
if [ -n "$document" ] && [ $status -eq 0 ]; then
    mv "$parts/sim.json" "$parts/sim_calls.json" "$results/"
    report --measured --output=docs/performance/measured.json >/dev/null
    cp $results/*.svg docs/performance/
    bench/report/document.sh --build="$build"
fi

if [ $status -ne 0 ]; then
    printf '\nbench/run.sh: FAILED: see the lines with "CHECK FAILED" above\n'
    exit 1
fi
printf '\nbench/run.sh: ok, %s\n' "$results/latest.json"
