#!/bin/bash
# check_install.sh BUILD_FOLDER: install the build to a temporary folder. Then build programs outside the tree against
# it, with pkg-config and with find_package, with and without libevener-grpc, and run them.
# check_install.sh --packages: the same against the libraries that are installed in this system.
set -euo pipefail
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
prefix=$scratch/prefix
demo_server=""
if [ "$1" = --packages ]; then
    pc=$(pkg-config --variable=pcfiledir evener)
    [[ $pc == /usr/lib/*/pkgconfig ]] || { echo "evener.pc of a package is needed, not of \"$pc\""; exit 1; }
else
    cmake --install "$1" --prefix "$prefix" >"$scratch/install.log" || { cat "$scratch/install.log"; exit 1; }
    pc=$(dirname "$(find "$prefix" -name evener.pc)")
    demo_server=$1/examples/demo_server
    [ -f "$prefix/share/zsh/site-functions/_evener" ] && [ ! -e "$prefix/share/zsh/vendor-completions" ] ||
        { echo "zsh's completion is not in share/zsh/site-functions"; exit 1; }
fi

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
# Prints the default transport: "http2", or "grpc" if that is registered and the default.
cat >"$scratch/transport.c" <<'EOF'
#include <stdio.h>
#include <evener/evener.h>

static const evener_transport_vtable *of_channel(const char *name)
{
    evener_credentials *insecure;
    evener_channel *channel;
    evener_status status;
    evener_channel_options options = {.size = sizeof options, .transport_name = name};
    evener_credentials_create_insecure(&insecure, NULL);
    options.credentials = insecure;
    if (evener_channel_create("static:127.0.0.1:1", &options, &channel, &status) != EVENER_STATUS_OK) {
        fprintf(stderr, "%s\n", status.message);
        return NULL;
    }
    evener_credentials_destroy(insecure);
    const evener_transport_vtable *vtable = evener_channel_transport(channel)->vtable;
    evener_channel_unref(channel);
    return vtable;
}

int main(void)
{
    const int has_grpc = evener_transport_find("grpc") != NULL;
    const evener_transport_vtable *of_default = of_channel(NULL);
    if (of_default == NULL) return 1;
    puts(of_default == of_channel("http2") ? "http2" : has_grpc && of_default == of_channel("grpc") ? "grpc" : "?");
    return 0;
}
EOF
unset EVENER_TRANSPORT
# expect TRANSPORT PROGRAM: it prints that.
expect()
{
    local found
    found=$("$2")
    [ "$found" = "$1" ] || { echo "$2: the default transport is \"$found\", not \"$1\""; exit 1; }
}

export PKG_CONFIG_PATH=$pc
# shellcheck disable=SC2046 # flags are words
cc "$scratch/program.c" -o "$scratch/program" $(pkg-config --cflags --libs evener) -Wl,-rpath,"${pc%/pkgconfig}"
[ "$("$scratch/program")" = "$(pkg-config --modversion evener)" ]
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
# Linkers of some distributions drop libraries without a used function; this one has none.
for module_transport in evener:http2 evener-grpc:grpc; do
    # shellcheck disable=SC2046 # flags are words
    cc -Wl,--as-needed "$scratch/transport.c" -o "$scratch/transport" \
        $(pkg-config --cflags --libs "${module_transport%:*}") -Wl,-rpath,"${pc%/pkgconfig}"
    expect "${module_transport#*:}" "$scratch/transport"
done
if ldd "${pc%/pkgconfig}/libevener.so" | grep -E 'grpc|absl|upb|protobuf|libssl|libcrypto'; then
    echo "libevener.so needs the gRPC C core, protobuf-c or OpenSSL"
    exit 1
fi
# OpenSSL is loaded with the first TLS credentials. Where it cannot be, they say so.
cat >"$scratch/tls.c" <<'EOF'
#include <stdio.h>
#include <evener/evener.h>

int main(void)
{
    evener_credentials *tls = NULL;
    evener_status status;
    const evener_status_code code = evener_credentials_create_tls(NULL, &tls, &status);
    evener_credentials_destroy(tls);
    printf("%s %s\n", evener_status_code_name(code), status.message);
    return 0;
}
EOF
# shellcheck disable=SC2046 # flags are words
cc "$scratch/tls.c" -o "$scratch/tls" $(pkg-config --cflags --libs evener) -Wl,-rpath,"${pc%/pkgconfig}"
mkdir "$scratch/no_openssl" && echo "not a library" >"$scratch/no_openssl/libssl.so.3"
"$scratch/tls" | grep -q '^OK ' || { "$scratch/tls"; exit 1; }
LD_LIBRARY_PATH=$scratch/no_openssl "$scratch/tls" >"$scratch/tls.out"
grep -q '^FAILED_PRECONDITION .*TLS needs OpenSSL 3 (libssl.so.3, package libssl3)' "$scratch/tls.out" ||
    { cat "$scratch/tls.out"; exit 1; }
# Types of a descriptor set, by libevener-protobuf-c.
cat >"$scratch/types.c" <<'EOF'
#include <stdio.h>
#include <evener/descriptors.h>

int main(void)
{
    static const char set[] = "\n\x12\n\x03x.p\"\x03\n\x01M" "b\x06proto3"; /* x.p: message M, proto3 */
    evener_descriptors *types = NULL;
    evener_status status;
    if (evener_descriptors_create(&types, &status) == EVENER_STATUS_OK &&
        evener_descriptors_add_set(types, set, sizeof set - 1, &status) == EVENER_STATUS_OK)
        puts(evener_descriptors_message(types, "M")->full_name);
    else
        puts(status.message);
    evener_descriptors_destroy(types);
    return 0;
}
EOF
# shellcheck disable=SC2046 # flags are words
cc "$scratch/types.c" -o "$scratch/types" $(pkg-config --cflags --libs evener-protobuf-c) -Wl,-rpath,"${pc%/pkgconfig}"
expect M "$scratch/types"
# The resolver of etcd, by libevener-etcd.
cat >"$scratch/etcd.c" <<'EOF'
#include <stdio.h>
#include <evener/etcd.h>

int main(void)
{
    evener_status status;
    if (evener_etcd_register_resolver(&status) != EVENER_STATUS_OK) return 1;
    puts(evener_resolver_find(NULL, "etcd")->scheme);
    return 0;
}
EOF
# shellcheck disable=SC2046 # flags are words
cc "$scratch/etcd.c" -o "$scratch/etcd" $(pkg-config --cflags --libs evener-etcd) -Wl,-rpath,"${pc%/pkgconfig}"
expect etcd "$scratch/etcd"
echo "pkg-config: ok"

mkdir "$scratch/package"
cat >"$scratch/package/CMakeLists.txt" <<'EOF'
cmake_minimum_required(VERSION 3.25)
project(outside C)
find_package(evener REQUIRED COMPONENTS grpc protobuf-c etcd)
foreach(library evener evener_static evener_grpc evener_grpc_static)
    foreach(program program transport)
        add_executable(${program}_${library} ../${program}.c)
        target_link_options(${program}_${library} PRIVATE LINKER:--as-needed)
        target_link_libraries(${program}_${library} evener::${library})
    endforeach()
endforeach()
foreach(library evener_protobuf_c evener_protobuf_c_static)
    add_executable(types_${library} ../types.c)
    target_link_libraries(types_${library} evener::${library})
    add_executable(typed_${library} ../typed.c)
    evener_generate(typed_${library} PROTOS part/demo.proto IMPORT_DIRS ../protos)
    target_link_libraries(typed_${library} evener::${library})
endforeach()
foreach(library evener_etcd evener_etcd_static)
    add_executable(etcd_${library} ../etcd.c)
    target_link_libraries(etcd_${library} evener::${library})
endforeach()
EOF
# A typed call of a method of the demo server, by evener_generate().
mkdir -p "$scratch/protos/part"
cat >"$scratch/protos/part/demo.proto" <<'EOF'
syntax = "proto3";
package grpcdemo;
message Nothing {}
message UnaryCallResp { string username = 1; }
service GrpcDemo { rpc UnaryCall(Nothing) returns (UnaryCallResp); }
EOF
cat >"$scratch/typed.c" <<'EOF'
#include <stdio.h>
#include <part/demo.evener.h>

int main(int argc, char **argv)
{
    evener_credentials *insecure;
    evener_channel *channel;
    evener_status status;
    evener_credentials_create_insecure(&insecure, NULL);
    const evener_channel_options channel_options = {.size = sizeof channel_options, .credentials = insecure};
    const evener_call_options options = {.size = sizeof options, .timeout_ms = 10000};
    Grpcdemo__UnaryCallResp *response;
    if (argc < 2) return 2;
    if (evener_channel_create(argv[1], &channel_options, &channel, &status) != EVENER_STATUS_OK ||
        grpcdemo_grpc_demo_unary_call(channel, NULL, &options, &response, &status) != EVENER_STATUS_OK) {
        puts(status.message);
        return 1;
    }
    puts(response->username);
    grpcdemo__unary_call_resp__free_unpacked(response, NULL);
    evener_channel_unref(channel);
    evener_credentials_destroy(insecure);
    return 0;
}
EOF
cmake -S "$scratch/package" -B "$scratch/package/build" -DCMAKE_PREFIX_PATH="$prefix" >"$scratch/cmake.log" 2>&1 &&
    cmake --build "$scratch/package/build" >>"$scratch/cmake.log" 2>&1 || { cat "$scratch/cmake.log"; exit 1; }
for library_transport in evener:http2 evener_static:http2 evener_grpc:grpc evener_grpc_static:grpc; do
    library=${library_transport%:*}
    "$scratch/package/build/program_$library" >/dev/null
    [ ! -e "$scratch/demo.cfg" ] || "$scratch/package/build/program_$library" "$scratch/demo.cfg"
    expect "${library_transport#*:}" "$scratch/package/build/transport_$library"
done
for library in evener_protobuf_c evener_protobuf_c_static; do
    expect M "$scratch/package/build/types_$library"
    [ ! -e "$scratch/demo.cfg" ] || [ "$("$scratch/package/build/typed_$library" "static:$backends")" = demo ]
done
for library in evener_etcd evener_etcd_static; do
    expect etcd "$scratch/package/build/etcd_$library"
done
echo "find_package: ok"
