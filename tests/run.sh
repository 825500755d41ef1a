#!/bin/bash
# Installs missing packages, builds evener and runs its tests. The last two lines are the counts, `N passed, N failed`,
# and the verdict. The exit status is 0 only if at least one test ran and none failed.
set -euo pipefail
export LC_ALL=C

usage()
{
    cat <<'EOF'
usage: tests/run.sh [OPTION...]
  --sanitize=LIST   build with sanitizers: address,undefined or thread (then only the stress programs run)
  --fuzz            build the fuzz targets with clang's libFuzzer and run only them
  --filter=REGEX    only the tests whose name matches
  --build=FOLDER    where to build (default: build/test, or build/SANITIZER)
  --repeat=N        N rounds of all tests; one that failed leaves its log in the build folder, as failed-round-N.log
  --stress          beside a busy loop per processor (stress-ng)
  --jobs=N          N tests at a time (default: one per processor; as most of them wait most of the time, three per
                    processor are faster)
  --werror          warnings are errors
  --build-only      do not run the tests
  --locale=NAME     run the tests in this locale, made in the build folder if need be: de_DE.UTF-8
EOF
}

sanitize="" fuzz="" filter="" build="" werror=OFF build_only="" locale="" rounds=1 stress="" at_a_time=""
for argument in "$@"; do
    case $argument in
    --sanitize=*) sanitize=${argument#*=} ;;
    --fuzz) fuzz=yes ;;
    --filter=*) filter=${argument#*=} ;;
    --build=*) build=${argument#*=} ;;
    --repeat=[1-9]*) rounds=${argument#*=} ;;
    --stress) stress=yes ;;
    --jobs=[1-9]*) at_a_time=${argument#*=} ;;
    --werror) werror=ON ;;
    --build-only) build_only=yes ;;
    --locale=*) locale=${argument#*=} ;;
    -h | --help) usage; exit 0 ;;
    *) echo "run.sh: unknown option $argument" >&2; usage >&2; exit 2 ;;
    esac
done

cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=$(nproc)
say() { printf '\n== %s\n' "$*"; }
fail() { printf '\n%s\nrun.sh: FAILED\n' "$*"; exit 1; }

say "packages"
sh tests/install_packages.sh tests ${fuzz:+fuzz} ${stress:+stress} || fail "the packages could not be installed"

options=(-DEVENER_BUILD_TESTS=ON -DEVENER_BUILD_EXAMPLES=ON -DEVENER_BUILD_BENCH=ON -DEVENER_WERROR=$werror
    -DEVENER_SANITIZE="$sanitize")
name=test
[ -z "$sanitize" ] || name=${sanitize//,/-}
if [ -n "$fuzz" ]; then
    name=fuzz
    sanitize=${sanitize:-address,undefined}
    options=(-DEVENER_BUILD_TESTS=ON -DEVENER_BUILD_BENCH=OFF -DEVENER_WERROR=$werror -DEVENER_SANITIZE="$sanitize"
        -DEVENER_FUZZ=ON -DCMAKE_C_COMPILER=clang)
fi
build=${build:-build/$name}
at_a_time=${at_a_time:-$jobs}

say "configure: $build ${options[*]}"
mkdir -p "$build"
# -U: a default that an older checkout left in the cache is computed again
cmake -S . -B "$build" -G Ninja -U CMAKE_INSTALL_LIBDIR "${options[@]}" >"$build/configure.log" 2>&1 || {
    cat "$build/configure.log"
    fail "configuring failed"
}
say "build"
ninja -C "$build" -j "$jobs" --quiet || fail "building failed"
[ -z "$build_only" ] || { printf '\nrun.sh: built\n'; exit 0; }

if [ -n "$locale" ]; then
    say "locale $locale"
    mkdir -p "$build/locale"
    localedef -i "${locale%.*}" -f "${locale#*.}" "$build/locale/$locale" || [ -d "$build/locale/$locale" ] ||
        fail "the locale could not be made"
    export LOCPATH="$PWD/$build/locale" LC_ALL="$locale"
fi

# What runs in the background ends with this shell, after a signal too; ctest and stress-ng even if the shell is killed.
# Each has a process group (set -m), as ctest leaves its tests running when it gets a signal.
end_jobs()
{
    local job
    for job in $(jobs -pr); do
        kill -TERM -- "-$job" || true
    done
    wait
}
trap 'end_jobs 2>/dev/null' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

if [ -n "$stress" ]; then
    set -m
    setpriv --pdeathsig TERM stress-ng --cpu "$jobs" --quiet &
    stress=$!
    set +m
fi

# A Criterion suite counts with its number of cases, any other program as one.
count='
    / Testing: / { passing = 0; failing = 0; cases = 0 }
    /^\[====\].*: [0-9]+ \|.*: [0-9]+ \|/ { # in any language
        gsub(/[^0-9|]/, ""); split($0, n, "|"); passing += n[2]; failing += n[3] + n[4]; cases = 1
    }
    /^Test Passed\./ { passed += cases ? passing : 1; failed += failing }
    /^Test Failed\./ { passed += passing; failed += failing ? failing : 1 }
    END { print passed + 0, failed + 0 }'
log=$build/Testing/Temporary/LastTest.log
passed=0 failed=0
rm -f "$build"/failed-round-*.log
for round in $(seq "$rounds"); do
    say "tests$([ "$rounds" -eq 1 ] || echo ", round $round of $rounds")"
    began=$SECONDS
    rm -f "$log"
    status=0
    set -m
    setpriv --pdeathsig TERM ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$at_a_time" \
        ${filter:+-R "$filter"} </dev/null &
    set +m
    wait $! || status=$?
    [ -f "$log" ] || fail "no test ran"
    [ -z "$stress" ] || kill -0 "$stress" 2>/dev/null || fail "stress-ng has ended: the tests did not run beside it"
    read -r now_passed now_failed < <(LC_ALL=C awk "$count" "$log")
    [ "$status" -eq 0 ] || [ "$now_failed" -ne 0 ] || now_failed=1
    passed=$((passed + now_passed)) failed=$((failed + now_failed))
    [ "$rounds" -gt 1 ] || continue
    printf '\nround %d of %d: %d passed, %d failed, %d s\n' "$round" "$rounds" "$now_passed" "$now_failed" \
        $((SECONDS - began))
    [ "$now_failed" -eq 0 ] || cp "$log" "$build/failed-round-$round.log"
done
printf '\n%d passed, %d failed\n' "$passed" "$failed"
if [ "$failed" -ne 0 ]; then
    echo "run.sh: FAILED"
    exit 1
fi
echo "run.sh: ok"
