#!/bin/sh
# install_packages.sh [GROUP...]: install the missing Debian packages of some groups; of all groups without arguments.
# Calls apt only if one is missing.
#   library   build the library and the command-line program
#   demo      library, and build the examples
#   tests     demo, and build and run the tests; etcd, if it can be installed
#   bench     demo, and run the benches
#   style     clang-format, clang-tidy
#   fuzz      tests, and clang with libFuzzer
#   stress    stress-ng, for tests/run.sh --stress
#   check     doxygen, man, lintian, abidiff, chromium: the tests that use them say when they are missing
set -eu

library="build-essential cmake ninja-build pkg-config libgrpc-dev libc-ares-dev libconfig-dev libuv1-dev liburcu-dev
    libjansson-dev libnghttp2-dev libprotobuf-c-dev libssl-dev protobuf-c-compiler zlib1g-dev"
demo="$library libmicrohttpd-dev protobuf-compiler"
tests="$demo libcriterion-dev curl dnsmasq-base locales openssl ca-certificates procps file"
bench="$demo valgrind gnuplot-nox"
style="clang-format clang-tidy"
fuzz="$tests clang"

# require PACKAGE...: install those that are missing.
require()
{
    missing=""
    for package in "$@"; do
        case $(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null || true) in
        ii*) ;;
        *) missing="$missing $package" ;;
        esac
    done
    [ -n "$missing" ] || return 0
    echo "installing:$missing"
    as_root=""
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "install_packages.sh: needs root to install:$missing" >&2
            exit 1
        fi
        as_root="sudo"
    fi
    $as_root apt-get update -q </dev/null
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing </dev/null
}

[ $# -gt 0 ] || set -- tests bench style fuzz check
wanted=""
for group in "$@"; do
    case $group in
    library) wanted="$wanted $library" ;;
    demo) wanted="$wanted $demo" ;;
    tests) wanted="$wanted $tests" ;;
    bench) wanted="$wanted $bench" ;;
    style) wanted="$wanted $style" ;;
    fuzz) wanted="$wanted $fuzz" ;;
    stress) wanted="$wanted stress-ng" ;;
    check) wanted="$wanted doxygen man-db lintian abigail-tools" ;;
    *)
        echo "install_packages.sh: unknown group $group" >&2
        exit 2
        ;;
    esac
done
# shellcheck disable=SC2086 # a list of words
require $wanted
# etcd is for tests that say when it is missing. Its service is not wanted: policy-rc.d would forbid its start, but is not
# ours to write; so it is stopped where systemd has started it.
case " $* " in
*" tests "*)
    if ! command -v etcd >/dev/null || ! command -v etcdctl >/dev/null; then
        (require etcd-server etcd-client) || echo "install_packages.sh: no etcd here: tests with a real one are skipped"
        if [ -d /run/systemd/system ] && command -v etcd >/dev/null; then
            systemctl disable --now etcd >/dev/null 2>&1 || true
        fi
    fi
    ;;
esac
case " $* " in
*" check "*) (require chromium) || echo "install_packages.sh: no chromium here: the page of the gateway is not tried" ;;
esac
case " $* " in
*" fuzz "*) require "libclang-rt-$(clang -dumpversion | sed 's/\..*//')-dev" ;; # libFuzzer of that clang
esac
