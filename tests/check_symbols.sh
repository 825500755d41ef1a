#!/bin/bash
# check_symbols.sh SHARED_LIBRARY: check that the library exports exactly the symbols that its headers declare.
set -euo pipefail
export LC_ALL=C
headers=$(dirname "${BASH_SOURCE[0]}")/../include/evener

exported=$(nm -D --defined-only "$1" | awk '$2 ~ /[TDBRVW]/ { print $3 }' |
    grep -v -E '^(__bss_start|_edata|_end)$' | sort -u) # the linker's own marks
# A declaration may span several lines: join them, then take the name before the first parenthesis, or the last word of
# an object's declaration.
declared=$(cat "$headers"/*.h | tr '\n' ' ' | grep -o 'EVENER_API [^;{]*' | grep -v '^EVENER_API __attribute' |
    sed -E 's/\(.*//; s/\[.*//; s/ *$//; s/.*[ *]//' | grep -E '^[a-z]' | sort -u)

status=0
more=$(comm -23 <(echo "$exported") <(echo "$declared"))
less=$(comm -13 <(echo "$exported") <(echo "$declared"))
if [ -n "$more" ]; then
    echo "exported, but declared in no public header:" $more
    status=1
fi
if [ -n "$less" ]; then
    echo "declared with EVENER_API, but not in the library:" $less
    status=1
fi
[ $status -ne 0 ] || echo "$(echo "$exported" | wc -l) symbols, all declared"
exit $status
