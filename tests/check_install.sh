#!/bin/bash
# check_install.sh BUILD_FOLDER: installs the build into a scratch folder; a program outside the tree then builds and
# runs against it with pkg-config and with find_package.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix
cmake --install "$1" --prefix "$prefix" >"$scratch/install.log" || { cat "$scratch/install.log"; exit 1; }

cat >"$scratch/program.c" <<'EOF'
#include <stdio.h>
#include <evener/evener.h>

int main(void)
{
    puts(evener_version_string());
    return 0;
}
EOF
pc=$(dirname "$(find "$prefix" -name evener.pc)")
export PKG_CONFIG_PATH=$pc
# shellcheck disable=SC2046 # flags are words
cc "$scratch/program.c" -o "$scratch/program" $(pkg-config --cflags --libs evener) -Wl,-rpath,"${pc%/pkgconfig}"
[ "$("$scratch/program")" = "$(pkg-config --modversion evener)" ]
echo "pkg-config: ok"

mkdir "$scratch/package"
cat >"$scratch/package/CMakeLists.txt" <<'EOF'
cmake_minimum_required(VERSION 3.25)
project(outside C)
find_package(evener REQUIRED)
foreach(library evener evener_static)
    add_executable(with_${library} ../program.c)
    target_link_libraries(with_${library} evener::${library})
endforeach()
EOF
cmake -S "$scratch/package" -B "$scratch/package/build" -DCMAKE_PREFIX_PATH="$prefix" >"$scratch/cmake.log" 2>&1 &&
    cmake --build "$scratch/package/build" >>"$scratch/cmake.log" 2>&1 || { cat "$scratch/cmake.log"; exit 1; }
"$scratch/package/build/with_evener" >/dev/null
"$scratch/package/build/with_evener_static" >/dev/null
echo "find_package: ok"
