#!/bin/bash
# test_missing_packages.sh GENERATOR: configure the project where no package is found. One message names all that the
# chosen options need.
set -euo pipefail
export LC_ALL=C
generator=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# check PACKAGES OPTION...: with these options, apt-get is to install these packages.
check()
{
    local expected=$1 found
    shift
    rm -rf "$scratch/build"
    if PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR=$scratch cmake -S "$root" -B "$scratch/build" -G "$generator" \
        -DEVENER_PROTOC=OFF -DEVENER_PROTOC_C=OFF "$@" >"$scratch/said" 2>&1; then
        echo "it is configured without packages: $*"
        failed=1
    fi
    found=$(sed -n '/On Debian: apt-get install/,/^ *$\|^Call/{/^ *$\|^Call/!p}' "$scratch/said" | tr -s ' \n' '  ')
    [ "$found" = " On Debian: apt-get install $expected " ] || {
        echo "expected with $*: $expected"
        cat "$scratch/said"
        failed=1
    }
}
library="libc-ares-dev libconfig-dev libuv1-dev liburcu-dev libjansson-dev libnghttp2-dev libssl-dev zlib1g-dev"
check "$library" -DEVENER_BUILD_GRPC=OFF -DEVENER_BUILD_PROTOBUF_C=OFF -DEVENER_BUILD_PLUGIN=OFF -DEVENER_BUILD_CLI=OFF
check "$library libgrpc-dev libprotobuf-c-dev protobuf-c-compiler"
examples="$library libgrpc-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libmicrohttpd-dev"
check "$examples" -DEVENER_BUILD_EXAMPLES=ON
check "$examples" -DEVENER_BUILD_BENCH=ON
check "$examples libcriterion-dev" -DEVENER_BUILD_TESTS=ON
[ $failed -ne 0 ] || echo "one message names all missing packages"
exit $failed
