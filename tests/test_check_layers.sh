#!/bin/bash
# Adds forbidden includes, one at a time, to a copy of the sources, and checks that check_layers.sh finds each.
set -euo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
failed=0

# plant FILE INCLUDE EXPECTED: add the include to the file; the check must fail and print EXPECTED.
plant()
{
    rm -rf "${copy:?}"/*
    cp -r "$here/../lb" "$here/../resolver" "$copy"
    mkdir -p "$copy/$(dirname "$1")"
    echo "#include $2" >>"$copy/$1"
    local said
    if said=$("$here/check_layers.sh" "$copy" 2>&1) || ! grep -qF "$3" <<<"$said"; then
        printf 'not found: #include %s in %s; the check said:\n%s\n' "$2" "$1" "$said"
        failed=1
    fi
}

plant lb/policy/random.c '"lb/channel/channel_internal.h"' 'lb/policy/ may not include "lb/channel/channel_internal.h"'
plant lb/base/status.c '"lb/runtime/clock.h"' 'lb/base/ may not include "lb/runtime/clock.h"'
plant lb/channel/pick.c '<grpc/grpc.h>' 'lb/channel/ may not include <grpc/grpc.h>'
plant resolver/list.h '"resolver/dns/name.h"' 'resolver/ may not include "resolver/dns/name.h"'
plant lb/new_floor/thing.c '<stddef.h>' 'the folder has no rule'
rm -rf "${copy:?}"/*
cp -r "$here/../lb" "$here/../resolver" "$copy"
echo '#include "lb/runtime/slab.h"' >>"$copy/lb/runtime/reclaim.h"
echo '#include "lb/runtime/reclaim.h"' >>"$copy/lb/runtime/slab.h"
said=$("$here/check_layers.sh" "$copy" 2>&1 || true)
if ! grep -q 'files include each other in a circle' <<<"$said"; then
    printf 'a circle of two headers was not found; the check said:\n%s\n' "$said"
    failed=1
fi
[ $failed -ne 0 ] || echo "each planted include was found"
exit $failed
