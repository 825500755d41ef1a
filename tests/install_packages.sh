#!/bin/sh
# Installs the Debian packages needed to build and test evener. Calls apt only if one is missing.
set -eu

packages="
    build-essential cmake ninja-build pkg-config
    libgrpc-dev libc-ares-dev libconfig-dev libuv1-dev liburcu-dev libjansson-dev libssl-dev
    libcriterion-dev libprotobuf-c-dev protobuf-c-compiler protobuf-compiler
    clang clang-format clang-tidy libclang-rt-14-dev valgrind
    dnsmasq-base openssl ca-certificates gnuplot-nox doxygen"

missing=""
for package in $packages; do
    case $(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null || true) in
    ii*) ;;
    *) missing="$missing $package" ;;
    esac
done
if [ -z "$missing" ]; then
    exit 0
fi

echo "installing:$missing"
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "install_packages.sh: needs root to install:$missing" >&2
        exit 1
    fi
    as_root="sudo"
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -q </dev/null
# shellcheck disable=SC2086 # a list of words
$as_root apt-get install -q -y --no-install-recommends $missing </dev/null
