#!/bin/sh
# The demo: three servers on 8898, 8899 and 8897, or on free ports if one of these is taken, and a client whose own
# resolver lists two of them first and the third later. One call per second and the third server after 20 s; with --fast
# 50 ms and 1 s. Prints one line per call. On success the last line is `demo: ok (N calls, 0 failed)` and the exit
# status is 0; otherwise the last line is the reason. Installs missing packages and builds what the demo needs.
set -eu
case "${1:-}" in
"" | --fast) ;;
*)
    echo "usage: $0 [--fast]" >&2
    exit 2
    ;;
esac
cd "$(dirname "$0")/.."
sh tests/install_packages.sh demo
mkdir -p build
if ! { cmake -S . -B build/demo -G Ninja -DEVENER_BUILD_EXAMPLES=ON &&
    cmake --build build/demo --target demo_client demo_server; } >build/demo.log 2>&1; then
    cat build/demo.log >&2
    echo "demo: the build failed" >&2
    exit 1
fi

server=""
listening=build/demo/listening
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM

# start PORT...: start the servers and wait until they listen. Fails if one of them cannot.
start()
{
    : >"$listening"
    build/demo/examples/demo_server "$@" >"$listening" 2>&1 &
    server=$!
    tries=0
    until [ "$(grep -c '^listening on' "$listening")" -eq 3 ]; do
        tries=$((tries + 1))
        if ! kill -0 "$server" 2>/dev/null || [ "$tries" -gt 100 ]; then
            return 1
        fi
        sleep 0.1
    done
}

if ! start 8898 8899 8897; then
    echo "demo: 8898, 8899 or 8897 cannot be used ($(tail -n 1 "$listening")): taking free ports"
    kill "$server" 2>/dev/null || true
    if ! start 0 0 0; then
        cat "$listening" >&2
        echo "demo: the servers do not start" >&2
        exit 1
    fi
fi

# shellcheck disable=SC2046 # three ports
build/demo/examples/demo_client ${1:+"$1"} $(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$listening")
