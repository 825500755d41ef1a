#!/bin/bash
# Adds forbidden includes, one at a time, to a copy of the sources, and checks that check_layers.sh finds each.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
failed=0

mkdir "$copy/kept"
top=$copy/top
mkdir "$top"
cp -r "$here/../lb" "$here/../resolver" "$here/../include" "$top"

# add FILE LINE: add a line to a file of the copy, which may be new, in a new folder.
add()
{
    mkdir -p "$top/$(dirname "$1")"
    [ ! -e "$top/$1" ] || cp "$top/$1" "$copy/kept/${1//\//,}"
    printf '%s\n' "$2" >>"$top/$1"
}

# restore FILE: make the file what it was before add(). A new folder, which is then empty, is removed.
restore()
{
    if [ -e "$copy/kept/${1//\//,}" ]; then
        mv "$copy/kept/${1//\//,}" "$top/$1"
    else
        rm "$top/$1"
        rmdir --ignore-fail-on-non-empty "$top/$(dirname "$1")"
    fi
}

# plant_line FILE LINE EXPECTED: add the line to the file; the check must fail and print EXPECTED.
plant_line()
{
    local said
    add "$1" "$2"
    if said=$("$here/check_layers.sh" "$top" 2>&1) || ! grep -qF "$3" <<<"$said"; then
        printf 'not found: %s in %s; the check said:\n%s\n' "$2" "$1" "$said"
        failed=1
    fi
    restore "$1"
}

# plant FILE INCLUDE EXPECTED: the same with an ordinary #include.
plant() { plant_line "$1" "#include $2" "$3"; }

plant lb/policy/random.c '"lb/channel/channel_internal.h"' 'lb/policy/ may not include "lb/channel/channel_internal.h"'
plant lb/base/status.c '"lb/runtime/clock.h"' 'lb/base/ may not include "lb/runtime/clock.h"'
plant lb/channel/pick.c '<grpc/grpc.h>' 'lb/channel/ may not include <grpc/grpc.h>'
plant resolver/list.h '"resolver/dns/name.h"' 'resolver/ may not include "resolver/dns/name.h"'
plant lb/policy/random.c '<lb/channel/channel_internal.h>' 'inner headers are included as'
plant lb/policy/random.c '"lb/policy/round_robin.c"' 'write it as'
plant lb/policy/address_order.h '"lb/policy/address_order.h"' 'includes itself'
plant include/evener/policy.h '"lb/channel/channel_internal.h"' 'include/evener/ may not include'
plant include/evener/policy.h '<grpc/grpc.h>' 'include/evener/ may not include <grpc/grpc.h>'
plant lb/policy/random.c '<uv.h>' 'lb/policy/ may not include <uv.h>'
plant lb/call/rpc.c '<jansson.h>' 'lb/call/ may not include <jansson.h>'
plant lb/policy/random.inc '"lb/channel/channel_internal.h"' 'neither a .c nor a .h file'
# Other libraries, and public headers that hide one.
plant lb/policy/random.c '<curl/curl.h>' '<curl/curl.h> is a library'
plant lb/channel/pick.c '<grpc.h>' '<grpc.h> is a library'
plant lb/channel/pick.c '<evener/grpc.h>' 'lb/channel/ may not include <evener/grpc.h>'
plant lb/channel/pick.c '<evener/evener.h>' 'include the headers of the nouns'
plant lb/channel/pick.c '<evener/../../lb/call/rpc.h>' 'without ".."'
# Other spellings of the directive.
for line in '#include  "lb/channel/channel_internal.h"' '# include "lb/channel/channel_internal.h"' \
    ' #include <grpc/grpc.h>' '#include"lb/channel/channel_internal.h"' '#include HEADER' '#include_next <stdio.h>' \
    '/* */ #include "lb/channel/channel_internal.h"' '%:include <grpc/grpc.h>' '#\' '#inc\' \
    '#/**/include "lb/channel/channel_internal.h"' ' */ #include "lb/channel/channel_internal.h"'; do
    plant_line lb/policy/random.c "$line" 'write it as'
done
plant lb/new_floor/thing.c '<stddef.h>' 'the folder has no rule'

# plant_circle ONE INCLUDE_OF_TWO TWO INCLUDE_OF_ONE: two headers that include each other.
plant_circle()
{
    local said
    add "$1" "#include $2"
    add "$3" "#include $4"
    said=$("$here/check_layers.sh" "$top" 2>&1 || true)
    if ! grep -q 'files include each other in a circle' <<<"$said"; then
        printf 'a circle of %s and %s was not found; the check said:\n%s\n' "$1" "$3" "$said"
        failed=1
    fi
    restore "$1"
    restore "$3"
}
plant_circle lb/runtime/reclaim.h '"lb/runtime/slab.h"' lb/runtime/slab.h '"lb/runtime/reclaim.h"'
plant_circle include/evener/lane.h '<evener/backoff.h>' include/evener/backoff.h '<evener/lane.h>'
for folder in lb resolver include; do
    diff -r "$here/../$folder" "$top/$folder" || { echo "a planted line is left"; failed=1; }
done
[ $failed -ne 0 ] || echo "each planted include was found"
exit $failed
