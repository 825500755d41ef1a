#!/bin/sh
# The demo: three servers on 8898, 8899 and 8897, and a client whose custom resolver lists two of them first and the third
# later. One call per second and the third server after 20 s; with --fast 50 ms and 1 s. Prints one line per call. On
# success the last line is `demo: ok (N calls, 0 failed)` and the exit status is 0; otherwise the last line is the reason.
set -eu
case "${1:-}" in
"" | --fast) ;;
*)
    echo "usage: $0 [--fast]" >&2
    exit 2
    ;;
esac
cd "$(dirname "$0")/.."
tests/install_packages.sh
mkdir -p build
if ! { cmake -S . -B build/demo -G Ninja && cmake --build build/demo --target demo_client demo_server; } \
    >build/demo.log 2>&1; then
    cat build/demo.log >&2
    echo "demo: the build failed" >&2
    exit 1
fi

listening=build/demo/listening
build/demo/examples/demo_server 8898 8899 8897 >"$listening" 2>&1 &
server=$!
trap 'kill "$server" 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
tries=0
until [ "$(grep -c '^listening on' "$listening")" -eq 3 ]; do
    tries=$((tries + 1))
    if ! kill -0 "$server" 2>/dev/null || [ "$tries" -gt 100 ]; then
        cat "$listening" >&2
        echo "demo: the servers do not start" >&2
        exit 1
    fi
    sleep 0.1
done

build/demo/examples/demo_client ${1:+"$1"}
