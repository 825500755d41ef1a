#!/bin/bash
# Runs a copy of run.sh on two tests that wait without end, beside a stress-ng that waits as well, and checks that
# nothing is left running after each signal that ends a program.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(mktemp -d)
trap 'rm -rf "$top"' EXIT

mkdir -p "$top/tests" "$top/bin" "$top/build"
cp "$here/run.sh" "$top/tests"
: >"$top/tests/install_packages.sh"
for program in cmake ninja; do
    printf '#!/bin/sh\n' >"$top/bin/$program"
done
# Descriptor 7 is a pipe, whose end comes when nothing is left.
printf '#!/bin/sh\necho busy >&7\nexec sleep 200\n' >"$top/bin/stress-ng"
printf '#!/bin/sh\necho test >&7\nsleep 200\necho went on >&7\n' >"$top/bin/waits"
chmod +x "$top"/bin/*
cat >"$top/build/CTestTestfile.cmake" <<TEXT
add_test(one "$top/bin/waits")
add_test(two "$top/bin/waits")
TEXT

for signal in HUP INT TERM; do
    mkfifo "$top/pipe"
    # What bash runs in the background ignores SIGINT, and what nohup runs ignores SIGHUP.
    PATH="$top/bin:$PATH" env --default-signal=HUP,INT,TERM "$top/tests/run.sh" --build=build --repeat=2 --stress \
        --jobs=2 >"$top/out" 2>&1 7>"$top/pipe" &
    run=$!
    exec 6<"$top/pipe"
    for _ in 1 2 3; do
        read -r -u 6 line || { echo "run.sh has ended:" && cat "$top/out" && exit 1; }
    done
    kill -s "$signal" "$run"
    status=0
    wait "$run" || status=$?
    left=$(timeout 60 cat <&6) || left="a process that was not ended"
    exec 6<&-
    rm "$top/pipe"
    if [ "$status" -ne $((128 + $(kill -l "$signal"))) ] || [ -n "$left" ]; then
        echo "after SIG$signal: status $status, left: $left"
        cat "$top/out"
        exit 1
    fi
done
echo "test_run.sh: ok"
