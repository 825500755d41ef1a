#!/bin/bash
# check_install.sh BUILD_FOLDER: install the build to a temporary folder. Then build a program outside the tree against
# it, with pkg-config and with find_package, and run it.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix
cmake --install "$1" --prefix "$prefix" >"$scratch/install.log" || { cat "$scratch/install.log"; exit 1; }

# The program opens a channel by its name in a factory file and makes calls; exit status 0 if all succeed.
cat >"$scratch/program.c" <<'EOF'
#include <stdio.h>
#include <evener/evener.h>

int main(int argc, char **argv)
{
    evener_factory *factory;
    evener_channel *channel;
    evener_status status;
    int failed = 0;
    if (argc < 2) {
        puts(evener_version_string());
        return 0;
    }
    if (evener_factory_open(argv[1], NULL, &factory, &status) != EVENER_STATUS_OK ||
        evener_factory_channel(factory, "demo", &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return 1;
    }
    for (int i = 0; i < 100; i++) {
        const evener_call_options options = {.size = sizeof options, .timeout_ms = 10000};
        if (evener_unary_call(channel, "/grpcdemo.GrpcDemo/DemoImport", NULL, &options, NULL, &status) !=
            EVENER_STATUS_OK) {
            fprintf(stderr, "%s\n", status.message);
            failed = 1;
        }
    }
    evener_channel_unref(channel);
    evener_factory_close(factory);
    return failed;
}
EOF
pc=$(dirname "$(find "$prefix" -name evener.pc)")
export PKG_CONFIG_PATH=$pc
# shellcheck disable=SC2046 # flags are words
cc "$scratch/program.c" -o "$scratch/program" $(pkg-config --cflags --libs evener) -Wl,-rpath,"${pc%/pkgconfig}"
[ "$("$scratch/program")" = "$(pkg-config --modversion evener)" ]
demo_server=$1/examples/demo_server
if [ -x "$demo_server" ]; then
    "$demo_server" 0 0 0 >"$scratch/servers" &
    server=$!
    trap 'kill $server; rm -rf "$scratch"' EXIT
    for _ in $(seq 200); do
        [ "$(grep -c listening "$scratch/servers")" -ne 3 ] || break
        sleep 0.05
    done
    backends=$(sed -n 's/.*:\([0-9]*\)$/127.0.0.1:\1/p' "$scratch/servers" | paste -sd, -)
    printf 'channels = { demo = { target = "static:%s"; credentials = "insecure"; policy = "round_robin"; }; };\n' \
        "$backends" >"$scratch/demo.cfg"
    "$scratch/program" "$scratch/demo.cfg"
fi
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
for library in evener evener_static; do
    "$scratch/package/build/with_$library" >/dev/null
    [ ! -e "$scratch/demo.cfg" ] || "$scratch/package/build/with_$library" "$scratch/demo.cfg"
done
echo "find_package: ok"
