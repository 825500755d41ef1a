#!/bin/bash
# Measures the tests by small deliberate faults: takes places of the sources at random (tests/mutate.awk), makes one fault
# at a time in a copy of the tree, builds, and runs the tests until one fails. A fault that no test notices has survived.
# The same seed and sources give the same faults. Prints a line per fault, then the score per folder; exits non-zero if
# it could not run.
set -euo pipefail
export LC_ALL=C

usage()
{
    cat <<'TEXT'
usage: tests/mutate.sh [OPTION...] [FILE...]
  --count N        how many faults (default: 20)
  --seed S         which faults (default: 1)
  --near           only the tests of the same part of the tree, not all: faster, and a lower score
  --build FOLDER   where the copy and its build are (default: build/mutate)
  --jobs N         processes at a time (default: the processors)
  --list           print the faults, run nothing
FILE: sources to make faults in (default: all of lb/ and resolver/)
Survivors that tests/mutate.accepted lists with a reason are counted apart.
TEXT
}

count=20 seed=1 near="" build=build/mutate jobs=$(nproc) list="" files=()
while [ $# -gt 0 ]; do
    case $1 in
    --count) count=${2:?} && shift ;;
    --seed) seed=${2:?} && shift ;;
    --build) build=${2:?} && shift ;;
    --jobs) jobs=${2:?} && shift ;;
    --near) near=yes ;;
    --list) list=yes ;;
    -h | --help) usage && exit 0 ;;
    -*) echo "mutate.sh: unknown option $1" >&2 && usage >&2 && exit 2 ;;
    *) files+=("$1") ;;
    esac
    shift
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
accepted=$PWD/tests/mutate.accepted
places=$PWD/tests/mutate.awk
mkdir -p "$build"
build=$(cd "$build" && pwd)
tree=$build/tree
[ ${#files[@]} -gt 0 ] || mapfile -t files < <(git ls-files 'lb/*.c' 'lb/*.h' 'resolver/*.c' 'resolver/*.h')

# drawn: print all places in an order that depends on the seed only.
drawn()
{
    awk -f "$places" "${files[@]}" | awk -v seed="$seed" '
        # A generator of its own: rand() differs between the awks. Products stay below 2^53, so they are exact.
        function next_random() { state = (state * 48271) % 2147483647; return state }
        BEGIN { state = (seed * 7919 + 12345) % 2147483646 + 1; for (i = 0; i < 10; i++) next_random() }
        { line[NR] = $0 }
        END {
            for (i = NR; i > 1; i--) {
                j = next_random() % i + 1
                kept = line[i]; line[i] = line[j]; line[j] = kept
            }
            for (i = 1; i <= NR; i++)
                print line[i]
        }'
}

# put_fault SOURCE TARGET LINE COLUMN LENGTH NEW: copy a file with one replacement.
put_fault()
{
    awk -v line="$3" -v column="$4" -v length_="$5" -v new="$6" '
        NR == line { $0 = substr($0, 1, column - 1) new substr($0, column + length_) }
        { print }' "$1" >"$2"
}

# near_folders FILE: print the folders of tests that know most of a source.
near_folders()
{
    case $1 in
    lb/policy/*) echo policy ;;
    lb/channel/* | lb/backend/*) echo channel ;;
    lb/call/*) echo call grpc ;;
    lb/factory/*) echo factory ;;
    lb/runtime/*) echo runtime channel ;;
    lb/transport/http2/*) echo http2 ;;
    lb/transport/*) echo grpc ;;
    lb/protobuf/*) echo protobuf ;;
    resolver/dns/*) echo dns ;;
    resolver/etcd/*) echo etcd ;;
    resolver/*) echo resolver dns ;;
    *) echo runtime resolver factory ;;
    esac
}

# first_failure FOLDER: run the tests of a folder of the build until one fails; print its name, or nothing.
first_failure()
{
    ctest --test-dir "$1" -LE check -j "$jobs" --timeout 120 --stop-on-failure --no-tests=ignore >"$build/tests.log" 2>&1 ||
        sed -nE 's/.*Test +#[0-9]+: ([^ ]+) .*(\*\*\*|Exception).*/\1/p' "$build/tests.log" | head -n 1
}

# judge FILE: print the name of a test that fails, `cannot be built`, or nothing if all pass. A folder will do.
judge()
{
    local folder test=""
    for folder in $(near_folders "$1"); do
        [ -d "$build/out/tests/$folder" ] || continue
        ninja -C "$build/out" -j "$jobs" "tests/$folder/all" >"$build/build.log" 2>&1 || { echo "cannot be built"; return; }
        test=$(first_failure "$build/out/tests/$folder")
        [ -z "$test" ] || { echo "$test"; return; }
    done
    [ -z "$near" ] || return 0
    ninja -C "$build/out" -j "$jobs" >"$build/build.log" 2>&1 || { echo "cannot be built"; return; }
    first_failure "$build/out"
}

# reason FILE SOURCE OLD NEW: print why this survivor is accepted, or nothing. Lines move, so the text is compared.
reason()
{
    [ -f "$accepted" ] || return 0
    file=$1 text=$2 old=$3 new=$4 awk -F '\t' '
        $1 == ENVIRON["file"] && $2 == ENVIRON["text"] && $3 == ENVIRON["old"] && $4 == ENVIRON["new"] { print $5; exit }
        ' "$accepted"
}

if [ -n "$list" ]; then
    drawn | awk -v count="$count" 'NR <= count'
    exit 0
fi

echo "== copy and build: $build"
mkdir -p "$tree"
git ls-files -z | grep -zvE '^bench/peers/' | while IFS= read -r -d '' file; do
    cmp -s "$file" "$tree/$file" 2>/dev/null || { mkdir -p "$tree/$(dirname "$file")" && cp -p "$file" "$tree/$file"; }
done
cmake -S "$tree" -B "$build/out" -G Ninja -DEVENER_BUILD_TESTS=ON -DEVENER_BUILD_EXAMPLES=ON -DEVENER_BUILD_BENCH=ON \
    -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-O1 >"$build/configure.log" 2>&1 || { cat "$build/configure.log" && exit 1; }
echo "== the tests without a fault"
broken=""
for file in $(printf '%s\n' "${files[@]}" | sed 's,[^/]*$,,' | sort -u); do
    broken=$(judge "$file")
    [ -z "$broken" ] || break
    [ -n "$near" ] || break # the first has run them all
done
[ -z "$broken" ] || { tail -n 40 "$build/build.log" && echo "mutate.sh: without a fault: $broken" >&2 && exit 1; }

results=$build/results-$seed.tsv
: >"$results"
made=0
while IFS=$'\t' read -r file line column length kind old new && [ "$made" -lt "$count" ]; do
    put_fault "$file" "$tree/$file" "$line" "$column" "$length" "$new"
    test=$(judge "$file")
    cp "$file" "$tree/$file"
    [ "$test" != "cannot be built" ] || continue
    made=$((made + 1))
    text=$(sed -n "${line}s/^ *//p" "$file")
    verdict=killed
    if [ -z "$test" ]; then
        test=$(reason "$file" "$text" "$old" "$new")
        verdict=$([ -n "$test" ] && echo accepted || echo survived)
    fi
    printf '%-8s %s:%s: %s: %s -> %s%s\n' "$verdict" "$file" "$line" "$kind" "$old" "${new:-nothing}" "${test:+ ($test)}"
    printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$verdict" "$file" "$line" "$text" "$old" "$new" >>"$results"
done < <(drawn)

echo "== score of $made faults, seed $seed"
awk -F '\t' '
    {
        parts = split($2, part, "/")
        folder = part[1]
        for (i = 2; i < parts && i < 4; i++)
            folder = folder "/" part[i]
        all[folder]++; all["all"]++
        if ($1 != "survived") { killed[folder]++; killed["all"]++ }
        if ($1 == "accepted") accepted[folder]++
    }
    END { for (f in all) printf "%-24s %3d of %3d  %3.0f %%%s\n", f, killed[f], all[f], 100 * killed[f] / all[f],
        accepted[f] ? "  (" accepted[f] " accepted)" : "" }' "$results" | sort
