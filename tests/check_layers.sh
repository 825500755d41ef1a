#!/bin/bash
# Checks the includes in lb/ and resolver/. A folder may include itself, the folders of its line below, and the public
# headers. Only folders marked with a library may use that library. Neither files nor folders may include each other in
# a circle. docs/architecture.md has the same table. check_layers.sh [TOP]: the checkout; this one by default.
set -euo pipefail
export LC_ALL=C
cd "${1:-$(dirname "${BASH_SOURCE[0]}")/..}"

# folder: folders that it may include; `<grpc/` and similar: libraries that only folders marked with them may include
# (base: OpenSSL, to check PEM texts)
rules='
lb/base: <openssl/
lb/runtime: lb/base
lb/policy: lb/base lb/runtime
lb/backend: lb/base lb/runtime
lb/channel: lb/base lb/runtime lb/policy lb/backend resolver
lb/call: lb/base lb/runtime lb/channel
lb/call/grpc: lb/base lb/runtime lb/channel lb/call lb/transport/grpc <grpc/
lb/transport: lb/backend lb/transport/grpc lb/transport/http2
lb/transport/grpc: lb/base lb/runtime <grpc/
lb/transport/http2: lb/base lb/runtime <nghttp2/ <openssl/ <zlib
lb/factory: lb/base lb/runtime lb/channel
resolver: lb/base lb/runtime
resolver/dns: lb/base lb/runtime resolver <ares
'

edges=$(mktemp)
trap 'rm -f "$edges"' EXIT
find lb resolver -name '*.[ch]' | sort | xargs awk -v rules="$rules" '
    function folder(path) { sub(/\/[^\/]*$/, "", path); return path }
    BEGIN {
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
    /^#include "/ {
        split($0, part, "\""); to = part[2]; from = folder(FILENAME)
        if (!allowed[from, folder(to)]) complain(from "/ may not include \"" to "\"")
        print "file", FILENAME, to > "/dev/fd/3"
        if (folder(to) != from) print "folder", from, folder(to) > "/dev/fd/3"
    }
    /^#include </ {
        split($0, part, /[<>]/)
        for (l in libraries) if (index("<" part[2], l) == 1 && !allowed[folder(FILENAME), l])
            complain(folder(FILENAME) "/ may not include <" part[2] ">")
    }
    END { exit bad }' 3>"$edges" && status=0 || status=1

# tsort names the members of each circle.
for kind in file folder; do
    if ! circle=$(awk -v kind=$kind '$1 == kind { print $2, $3 }' "$edges" | sort -u | tsort 2>&1 >/dev/null); then
        printf 'these %ss include each other in a circle:\n%s\n' "$kind" "$(sed 's/^tsort: //' <<<"$circle")"
        status=1
    fi
done
[ $status -ne 0 ] || echo "layers: $(find lb resolver -name '*.[ch]' | wc -l) files, each includes only what its folder may"
exit $status
