#!/bin/bash
# Checks who includes whom below lb/, resolver/ and include/. Every folder includes itself, the folders of its line here,
# the public headers (evener/grpc.h only with it in its line), and headers of the system. Only the folders with a library
# in their line use that library. Neither files nor folders include each other in a circle. docs/architecture.md has the
# same table.
# check_layers.sh [TOP]: the checkout; this one by default.
set -euo pipefail
export LC_ALL=C
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

# folder: folders that it may include, besides itself; `<grpc/` and the like: libraries that only such folders include
# (base: OpenSSL, which lb/base/openssl.h loads for all)
rules='
include/evener: <evener/grpc.h
lb/base: <openssl/
lb/runtime: lb/base <uv <urcu
lb/policy: lb/base lb/runtime <jansson
lb/backend: lb/base lb/runtime
lb/channel: lb/base lb/runtime lb/policy lb/backend resolver <jansson
lb/call: lb/base lb/runtime lb/channel
lb/call/grpc: lb/base lb/runtime lb/channel lb/call lb/transport/grpc <grpc/ <evener/grpc.h
lb/transport: lb/backend lb/transport/http2
lb/transport/grpc: lb/base lb/runtime <grpc/ <evener/grpc.h
lb/transport/http2: lb/base lb/runtime <nghttp2/ <zlib <urcu
lb/protobuf: lb/base <protobuf-c/
lb/protobuf/plugin: lb/protobuf <evener_plugin/ <protobuf-c/
lb/factory: lb/base lb/runtime lb/channel <jansson <libconfig
resolver: lb/base lb/runtime <uv <libconfig
resolver/etcd: lb/base lb/runtime <jansson
resolver/dns: lb/base lb/runtime resolver <ares <uv <jansson
'
# headers of the C library, the compiler and the kernel, which every folder may include
system_headers='
arpa/ linux/ net/ netinet/ sanitizer/ sys/
assert ctype cpuid dirent dlfcn errno fcntl float inttypes limits locale malloc math netdb poll pthread sched search semaphore
signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib string strings time unistd wchar x86intrin
'
top_folders='bench build docs examples include lb resolver tests'

edges=$(mktemp)
trap 'rm -f "$edges"' EXIT
status=0

# Sources are .c and .h files; everything else that a compiler would take is refused, as it would escape the rules.
stray=$(find lb resolver include -type f ! -name '*.[ch]' ! -name CMakeLists.txt ! -path 'lb/packaging/*' \
    ! -path lb/protobuf/plugin/plugin.proto)
[ -z "$stray" ] || { printf 'neither a .c nor a .h file:\n%s\n' "$stray"; status=1; }
if [ -e CMakeLists.txt ]; then
    for folder in */; do
        grep -qw "${folder%/}" <<<"$top_folders" || { echo "${folder}: no folder of the top level"; status=1; }
    done
fi

find lb resolver include -name '*.[ch]' | sort | xargs awk -v rules="$rules" -v system_headers="$system_headers" '
    function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
    BEGIN {
        words = split(system_headers, word)
        for (i = 1; i <= words; i++) of_system[word[i] ~ /\/$/ ? word[i] : word[i] ".h"] = 1
        lines = split(rules, line, "\n")
        for (i = 1; i <= lines; i++) {
            if (split(line[i], half, ":") < 2) continue
            known[half[1]] = 1
            allowed[half[1], half[1]] = 1
            words = split(half[2], word, " ")
            for (j = 1; j <= words; j++) {
                allowed[half[1], word[j]] = 1
                if (word[j] ~ /^</) libraries[word[j]] = 1
            }
        }
    }
    function complain(text) { printf "%s:%d: %s\n", FILENAME, FNR, text; bad = 1 }
    FNR == 1 && !(folder(FILENAME) in known) { complain("the folder has no rule in tests/check_layers.sh") }
    # An include has one spelling, so that nothing escapes: other forms of the directive are refused.
    /^[ \t]*\*/ && !/\*\/.*#/ { next } # inside a comment
    /(#|%:|\?\?=)[ \t]*(include|import|embed|\/\*|[a-z]*\\$)/ &&
        !/^#include ("[a-z0-9_\/.]+\.h"|<[A-Za-z0-9_\/.+-]+>)([ \t]*\/\*.*\*\/)?$/ {
        complain("write it as #include \"folder/file.h\" or #include <file.h>")
        next
    }
    /^#include "/ {
        split($0, part, "\""); to = part[2]; from = folder(FILENAME)
        if (to == FILENAME) complain(to " includes itself")
        if (!allowed[from, folder(to)]) complain(from "/ may not include \"" to "\"")
        print "file", FILENAME, to > "/dev/fd/3"
        if (folder(to) != from) print "folder", from, folder(to) > "/dev/fd/3"
    }
    /^#include </ {
        split($0, part, /[<>]/); to = part[2]; from = folder(FILENAME)
        if (to ~ /^(lb|resolver|tests|bench|examples)\//) complain("inner headers are included as \"" to "\"")
        if (to ~ /\.\./) complain("write <" to "> without \"..\"")
        if (to == "evener/evener.h") complain("include the headers of the nouns instead of <" to ">")
        known_library = 0
        for (l in libraries) if (index("<" to, l) == 1) {
            known_library = 1
            if (!allowed[from, l]) complain(from "/ may not include <" to ">")
        }
        if (to ~ /^evener\//) print "file", FILENAME, "include/" to > "/dev/fd/3"
        else if (!known_library && !(to in of_system) && !((folder(to) "/") in of_system))
            complain("<" to "> is a library, or missing in system_headers in tests/check_layers.sh")
    }
    END { exit bad }' 3>"$edges" || status=1

# tsort names the members of each circle.
for kind in file folder; do
    if ! circle=$(awk -v kind=$kind '$1 == kind && $2 != $3 { print $2, $3 }' "$edges" | sort -u |
        tsort 2>&1 >/dev/null); then
        printf 'these %ss include each other in a circle:\n%s\n' "$kind" "$(sed 's/^tsort: //' <<<"$circle")"
        status=1
    fi
done
files=$(find lb resolver include -name '*.[ch]' | wc -l)
[ $status -ne 0 ] || echo "layers: $files files, each includes only what its folder may"
exit $status
